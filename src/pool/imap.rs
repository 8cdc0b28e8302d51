//! Results that are given out while the input is still being worked on.
//!
//! # Who does what
//!
//! The *feeder*, a green thread that is not a member of the group, takes items from the input, waits for a seat in the group for each
//! and spawns a *job*, which leaves its result in the buffer. The iterator takes it from there. All on one OS thread.
//!
//! `pending` counts the items between the input and the one who takes the results. The feeder touches the input only while
//! it is less than `maxsize`, and takes the item before it waits for a seat: an input that waits holds no seat meanwhile, and
//! may itself use the group.
//!
//! Each item has a `Ticket` from when it was taken. A job that ends without a result, even without having started, drops its
//! ticket, and that is the result then; likewise the feeder, whose end is always noticed. So the iterator never waits in vain.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::mem;
use std::panic::{
    AssertUnwindSafe, Location, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind,
};
use std::rc::Rc;

use crate::task::Reason;
use crate::thread::{self, JoinHandle};
use crate::wait_queue::WaitQueue;

use super::Failure;
use super::members::Members;

/// The line of the iterator.
const RESULTS: usize = 0;
/// The line of the feeder.
const ROOM: usize = 1;

/// An iterator over results that are still being worked out; made by [`Group::imap`](super::Group::imap),
/// [`Pool::imap`](super::Pool::imap) and their siblings.
///
/// `next` waits for the result. Whoever is killed or exceeds a time limit there loses no result: the next call returns it.
///
/// Dropping it kills what is at work, without waiting for its end; with `panic = "abort"`, what is at work runs to its end.
///
/// # Examples
///
/// ```
/// let pool = greenhub::pool::Pool::new(4);
/// let mut halves = pool.imap([2, 4, 5], |n| {
///     assert!(n % 2 == 0, "{n} is odd");
///     n / 2
/// });
/// assert_eq!(halves.next(), Some(1));
/// assert_eq!(halves.next(), Some(2));
/// let odd = std::panic::catch_unwind(move || halves.next());
/// assert_eq!(*odd.unwrap_err().downcast::<String>().unwrap(), "5 is odd");
/// ```
#[must_use = "dropping it kills what is at work"]
pub struct IMap<T> {
    shared: Rc<Shared<T>>,
    feeder: JoinHandle<()>,
}

struct Shared<T> {
    buffer: WaitQueue<Buffer<T>, 2>,
    /// The jobs, which are members of this as well as of the group.
    jobs: Rc<Members>,
    maxsize: usize,
    in_order: bool,
}

struct Buffer<T> {
    /// In order: one for each pending item. Otherwise: those that are there.
    results: VecDeque<Option<Result<T, Failure>>>,
    /// In order: the number of the item that comes next.
    first: usize,
    /// Items that have been taken from the input and whose results have not been given out.
    pending: usize,
    /// How the input ended.
    end: Option<Result<(), Failure>>,
    /// Nobody wants the results any more.
    is_abandoned: bool,
}

/// The place of an item's result.
struct Ticket<T> {
    shared: Rc<Shared<T>>,
    index: usize,
    is_used: bool,
}

/// Takes items from the input. The order of the fields is that in which they are dropped.
struct Feeder<I, F, T> {
    items: I,
    f: Rc<F>,
    members: Rc<Members>,
    site: &'static Location<'static>,
    end: End<T>,
}

/// Makes the end of the input known when it is dropped.
struct End<T>(Rc<Shared<T>>);

/// One call of the function. The order of the fields is that in which they are dropped if it never runs.
struct Job<F, I, T> {
    f: Rc<F>,
    item: I,
    ticket: Ticket<T>,
}

impl<T: 'static> IMap<T> {
    #[track_caller]
    pub(super) fn start<I, F>(
        members: &Rc<Members>,
        items: I,
        maxsize: usize,
        in_order: bool,
        f: F,
    ) -> IMap<T>
    where
        I: Iterator + 'static,
        F: Fn(I::Item) -> T + 'static,
    {
        assert!(maxsize > 0, "without room for a result none can be had");
        let site = Location::caller();
        let shared = Rc::new(Shared {
            buffer: WaitQueue::new(Buffer {
                results: VecDeque::new(),
                first: 0,
                pending: 0,
                end: None,
                is_abandoned: false,
            }),
            jobs: Members::new(usize::MAX),
            maxsize,
            in_order,
        });
        let feeder = Feeder {
            items,
            f: Rc::new(f),
            members: Rc::clone(members),
            site,
            end: End(Rc::clone(&shared)),
        };
        let feeder = thread::spawn_at(site, move || feeder.run());
        IMap { shared, feeder }
    }
}

impl<I, F, T> Feeder<I, F, T>
where
    I: Iterator + 'static,
    F: Fn(I::Item) -> T + 'static,
    T: 'static,
{
    fn run(self) {
        let Feeder {
            mut items,
            f,
            members,
            site,
            end,
        } = self;
        let shared = &end.0;
        let fed = catch_unwind(AssertUnwindSafe(move || {
            while shared.wait_for_room() {
                let Some(item) = items.next() else {
                    break;
                };
                let ticket = Shared::admit(shared);
                let seat = members.take_patiently();
                if shared.buffer.lock().is_abandoned {
                    break;
                }
                let own_seat = shared.jobs.take_patiently();
                let key = own_seat.key();
                let f = Rc::clone(&f);
                let job = Job { f, item, ticket };
                let job = own_seat.member(move || job.run());
                let handle = seat.spawn(site, move || job.run());
                shared.jobs.admit(key, handle.thread());
            }
        }));
        match fed {
            Ok(()) => shared.end(Ok(())),
            Err(payload) if thread::is_interruption(&*payload) => resume_unwind(payload),
            Err(payload) => shared.end(Err(Failure::Panicked(payload))),
        }
    }
}

impl<I, F: Fn(I) -> T, T> Job<F, I, T> {
    fn run(self) {
        let Job { f, item, ticket } = self;
        match catch_unwind(AssertUnwindSafe(|| f(item))) {
            Ok(value) => ticket.use_for(Ok(value)),
            Err(payload) if thread::is_interruption(&*payload) => resume_unwind(payload),
            Err(payload) => ticket.use_for(Err(Failure::Panicked(payload))),
        }
    }
}

impl<T> Shared<T> {
    /// Waits until another item may be taken. Returns whether somebody wants it.
    fn wait_for_room(&self) -> bool {
        loop {
            let buffer = self.buffer.lock();
            if buffer.is_abandoned || buffer.pending < self.maxsize {
                return !buffer.is_abandoned;
            }
            let reason = Reason::On(&"room among the results of an imap");
            let _ = buffer.wait_in(ROOM, reason, None);
        }
    }

    /// Counts an item that has been taken.
    fn admit(shared: &Rc<Self>) -> Ticket<T> {
        let mut buffer = shared.buffer.lock();
        let index = buffer.first + buffer.pending;
        buffer.pending += 1;
        if shared.in_order {
            buffer.results.push_back(None);
        }
        Ticket {
            shared: Rc::clone(shared),
            index,
            is_used: false,
        }
    }

    fn put(&self, index: usize, result: Result<T, Failure>) {
        let mut buffer = self.buffer.lock();
        if buffer.is_abandoned {
            drop(buffer);
            drop(result);
            return;
        }
        if self.in_order {
            let place = index - buffer.first;
            buffer.results[place] = Some(result);
        } else {
            buffer.results.push_back(Some(result));
        }
        if let Some(Some(_)) = buffer.results.front() {
            buffer.notify_one_in(RESULTS);
        }
    }

    /// Notes how the input ended, at the first call.
    fn end(&self, end: Result<(), Failure>) {
        let mut buffer = self.buffer.lock();
        let refused = if buffer.end.is_none() {
            buffer.end = Some(end);
            buffer.notify_one_in(RESULTS);
            None
        } else {
            Some(end)
        };
        drop(buffer);
        drop(refused);
    }
}

impl<T> Ticket<T> {
    fn use_for(mut self, result: Result<T, Failure>) {
        self.is_used = true;
        self.shared.put(self.index, result);
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        if !self.is_used {
            self.shared.put(self.index, Err(Failure::Killed));
        }
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        self.0.end(Err(Failure::Killed));
    }
}

impl<T> Iterator for IMap<T> {
    type Item = T;

    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        loop {
            let mut buffer = self.shared.buffer.lock();
            if let Some(Some(_)) = buffer.results.front() {
                let result = buffer.results.pop_front().flatten()?;
                buffer.first += 1;
                buffer.pending -= 1;
                buffer.notify_one_in(ROOM);
                drop(buffer);
                return Some(result.unwrap_or_else(|failure| failure.raise()));
            }
            if buffer.pending == 0 && buffer.end.is_some() {
                let end = buffer.end.replace(Ok(()));
                drop(buffer);
                if let Some(Err(failure)) = end {
                    failure.raise();
                }
                return None;
            }
            let _ = buffer.wait_in(RESULTS, Reason::On(&"a result of an imap"), None);
        }
    }
}

impl<T> FusedIterator for IMap<T> {}

impl<T> Drop for IMap<T> {
    fn drop(&mut self) {
        let mut buffer = self.shared.buffer.lock();
        buffer.is_abandoned = true;
        buffer.notify_one_in(ROOM);
        let results = mem::take(&mut buffer.results);
        let end = buffer.end.take();
        drop(buffer);
        if cfg!(not(panic = "abort")) {
            self.feeder.kill_nowait();
            self.shared.jobs.kill_nowait();
        }
        drop((results, end));
    }
}

impl<T> UnwindSafe for IMap<T> {}
impl<T> RefUnwindSafe for IMap<T> {}

impl<T> fmt::Debug for IMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As for a scope, not locked while it is formatted.
        let pending = self.shared.buffer.lock().pending;
        f.debug_struct("IMap")
            .field("pending", &pending)
            .finish_non_exhaustive()
    }
}
