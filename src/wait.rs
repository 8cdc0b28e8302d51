//! Waiting for several things without taking anything from them: gevent's `wait` and `iwait`.
//!
//! Each object gets an observer in its line, once; it stays there from one item of the iterator to the next. When an
//! object becomes ready, its observer appends the object's index to a list, which is what the iterator waits for. So waiting for n
//! objects takes a number of steps proportional to n, in however many turns.
#![allow(unsafe_code)]
#![allow(
    private_interfaces,
    reason = "the traits that seal the public ones cannot be named outside"
)]

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::{AsyncResult, Event};
use crate::queue::{JoinableQueue, LifoQueue, PriorityQueue, Queue};
use crate::sync::Semaphore;
use crate::task::Reason;
use crate::thread::{JoinHandle, ScopedJoinHandle};
use crate::wait_queue::{Observer, Place, WaitQueue, Whom};

pub(crate) use self::sealed::Watch;

/// What can be waited for together with others, by [`wait`], [`iwait`] and [`select!`](crate::select!): ready or not, and looking
/// changes nothing.
///
/// | type                                                                    | is ready when                  |
/// |-------------------------------------------------------------------------|--------------------------------|
/// | [`JoinHandle`], [`ScopedJoinHandle`]                                    | the green thread has finished  |
/// | [`Event`]                                                               | it is set, or was while this waited |
/// | [`AsyncResult`]                                                         | it has its value               |
/// | [`Semaphore`]                                                           | a permit can be had            |
/// | [`Queue`], [`LifoQueue`], [`PriorityQueue`], [`JoinableQueue`]          | there is an item, or it is closed |
///
/// References, `Rc` and `Arc` to such a type are waitable as well. The trait cannot be implemented outside of this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be waited for",
    note = "see `greenhub::Waitable` for what can"
)]
pub trait Waitable: Watch {}

mod sealed {
    use crate::wait_queue::{Place, Whom};

    /// What the waiting needs of an object.
    pub trait Watch {
        fn is_ready(&self) -> bool;

        /// Has `whom` notified when the object has become ready, unless it is: then returns false. Whoever is notified
        /// looks again, because others may have been faster, unless the object `is_momentary`.
        ///
        /// # Safety
        ///
        /// As for `enqueue` of a wait queue, with `unwatch` in place of `retract`.
        unsafe fn watch(&self, place: &Place, whom: Whom) -> bool;

        /// Takes back a `watch`. Returns whether nobody had been notified.
        fn unwatch(&self, place: &Place) -> bool;

        /// Whether it is enough to have been notified, even if the object is no longer ready.
        fn is_momentary(&self) -> bool {
            false
        }

        /// Whether the world outside the process's green threads can make it ready.
        fn is_external(&self) -> bool {
            false
        }
    }
}

/// Waits until `count` of the objects are ready, or all with `None`, or until `timeout` has passed, if there is one. Returns the
/// indices of those that are ready, in the order in which they became so.
///
/// The objects are left as they are: green threads can still be joined, permits are still there. More than `count` indices are not returned, even if more
/// objects are ready.
///
/// # Panics
///
/// In the root context, when a deadlock is found.
///
/// # Examples
///
/// ```
/// use greenhub::{Waitable, sleep, spawn, wait};
/// use std::time::Duration;
///
/// let handles = [30, 10, 20].map(|millis| spawn(move || sleep(Duration::from_millis(millis))));
/// assert_eq!(wait(&handles, Some(1), None), [1]);
/// assert_eq!(wait(&handles, None, Some(Duration::from_secs(60))), [1, 2, 0]);
///
/// // Several types at once:
/// let (event, queue) = (greenhub::event::Event::new(), greenhub::queue::Queue::new());
/// queue.put("an item").unwrap();
/// let objects: [&dyn Waitable; 3] = [&event, &queue, &handles[0]];
/// assert_eq!(wait(objects, Some(2), None), [1, 2]);
/// assert_eq!(queue.get(), Ok("an item"), "it was left there");
/// ```
pub fn wait<I>(objects: I, count: Option<usize>, timeout: Option<Duration>) -> Vec<usize>
where
    I: IntoIterator<Item: Waitable>,
{
    iwait(objects, count, timeout).collect()
}

/// As [`wait`], but returns an iterator: it yields the index of each object as soon as that is ready, and ends after `count`
/// of them, or when `timeout` has passed since this call.
///
/// The whole takes time proportional to the number of the objects. Dropping the iterator ends the waiting.
///
/// # Panics
///
/// In the root context, when a deadlock is found while the iterator waits.
///
/// # Examples
///
/// ```
/// use greenhub::{iwait, sleep, spawn};
/// use std::time::Duration;
///
/// let handles: Vec<_> = [30, 10, 20]
///     .map(|millis| spawn(move || { sleep(Duration::from_millis(millis)); millis }))
///     .into();
/// let mut handles: Vec<_> = handles.into_iter().map(Some).collect();
/// let order: Vec<_> = iwait(handles.iter().flatten(), None, None).collect();
/// let results = order.into_iter().map(|index| handles[index].take().unwrap().join().unwrap());
/// assert!(results.eq([10, 20, 30]));
/// ```
pub fn iwait<I>(
    objects: I,
    count: Option<usize>,
    timeout: Option<Duration>,
) -> Iwait<<I as IntoIterator>::Item>
where
    I: IntoIterator<Item: Waitable>,
{
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let ready = Rc::new(WaitQueue::new(VecDeque::new()));
    let entries = objects
        .into_iter()
        .enumerate()
        .map(|(index, object)| Entry {
            object,
            place: Place::new(),
            watches: Cell::new(false),
            bell: Bell {
                index,
                ready: Rc::clone(&ready),
            },
        });
    let entries: Rc<[_]> = entries.collect();
    // Bells are rung where memory must not be allocated: under the locks of the objects.
    ready.lock().reserve(entries.len());
    let waiting = Iwait {
        left: count.unwrap_or(entries.len()).min(entries.len()),
        external: entries.iter().any(|entry| entry.object.is_external()),
        entries,
        ready,
        deadline,
        is_over: false,
    };
    for (index, entry) in waiting.entries.iter().enumerate() {
        if !entry.watch() {
            waiting.ready.lock().push_back(index);
        }
    }
    waiting
}

/// Yields the indices of objects as they become ready. [`iwait`] returns it.
pub struct Iwait<W: Waitable> {
    /// They stay where they are, whatever becomes of this value: if it is forgotten, so are they.
    entries: Rc<[Entry<W>]>,
    /// The indices of those that have become ready and have not been yielded.
    ready: Rc<Ready>,
    /// How many are still to be yielded.
    left: usize,
    external: bool,
    deadline: Option<Instant>,
    /// Whether the deadline has ended a wait.
    is_over: bool,
}

type Ready = WaitQueue<VecDeque<usize>>;

struct Entry<W> {
    object: W,
    place: Place,
    /// Whether the place may be in use.
    watches: Cell<bool>,
    bell: Bell,
}

/// What an object rings when it is ready.
struct Bell {
    index: usize,
    ready: Rc<Ready>,
}

impl Observer for Bell {
    fn notice(&self) {
        let mut ready = self.ready.lock();
        ready.push_back(self.index);
        ready.notify_one();
    }
}

impl<W: Waitable> Entry<W> {
    /// Has the bell rung when the object is ready, unless it is: then returns false.
    fn watch(&self) -> bool {
        let bell: &(dyn Observer + 'static) = &self.bell;
        // SAFETY: the entry stays where it is until `Iwait` is dropped, which calls `unwatch`, or for ever. Of the bell, other
        // threads use the queue, which is made for that, and the index.
        let watches = unsafe {
            self.object
                .watch(&self.place, Whom::Observer(NonNull::from(bell)))
        };
        self.watches.set(watches);
        watches
    }

    /// Whether an object that has become ready is to be reported. If not, its bell is hung up again.
    fn stays_ready(&self) -> bool {
        self.watches.set(false);
        self.object.is_momentary() || !self.watch()
    }
}

impl<W: Waitable> Iterator for Iwait<W> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.left > 0 {
            let mut ready = self.ready.lock();
            if let Some(index) = ready.pop_front() {
                drop(ready);
                if self.entries[index].stays_ready() {
                    self.left -= 1;
                    return Some(index);
                }
            } else if self.is_over {
                self.left = 0;
            } else {
                let external = self.external;
                let waited = ready.wait(Reason::First { external }, self.deadline);
                // What became ready until this task got its turn is still reported.
                self.is_over = waited.is_err();
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl<W: Waitable> FusedIterator for Iwait<W> {}

impl<W: Waitable> Drop for Iwait<W> {
    fn drop(&mut self) {
        for entry in self.entries.iter().filter(|entry| entry.watches.get()) {
            entry.object.unwatch(&entry.place);
        }
    }
}

impl<W: Waitable> fmt::Debug for Iwait<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iwait")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {
        $(
            impl<W: Waitable + ?Sized> Waitable for $pointer {}

            impl<W: Waitable + ?Sized> Watch for $pointer {
                fn is_ready(&self) -> bool {
                    (**self).is_ready()
                }

                unsafe fn watch(&self, place: &Place, whom: Whom) -> bool {
                    // SAFETY: the caller's contract.
                    unsafe { (**self).watch(place, whom) }
                }

                fn unwatch(&self, place: &Place) -> bool {
                    (**self).unwatch(place)
                }

                fn is_momentary(&self) -> bool {
                    (**self).is_momentary()
                }

                fn is_external(&self) -> bool {
                    (**self).is_external()
                }
            }
        )*
    };
}

forward!(&W, Rc<W>, Arc<W>);

macro_rules! handles {
    ($([$($scope:lifetime)?] $handle:ty),*) => {
        $(
            impl<$($scope,)? T> Waitable for $handle {}

            impl<$($scope,)? T> Watch for $handle {
                fn is_ready(&self) -> bool {
                    self.is_finished()
                }

                unsafe fn watch(&self, place: &Place, whom: Whom) -> bool {
                    // SAFETY: the caller's contract.
                    unsafe { <$handle>::watch(self, place, whom) }
                }

                fn unwatch(&self, place: &Place) -> bool {
                    <$handle>::unwatch(self, place)
                }

                fn is_external(&self) -> bool {
                    self.is_job()
                }
            }
        )*
    };
}

handles!([] JoinHandle<T>, ['scope] ScopedJoinHandle<'scope, T>);

macro_rules! queues {
    ($($queue:ident [$($bound:tt)*]),*) => {
        $(
            impl<T $($bound)*> Waitable for $queue<T> {}

            impl<T $($bound)*> Watch for $queue<T> {
                fn is_ready(&self) -> bool {
                    self.core.is_ready()
                }

                unsafe fn watch(&self, place: &Place, whom: Whom) -> bool {
                    // SAFETY: the caller's contract.
                    unsafe { self.core.watch(place, whom) }
                }

                fn unwatch(&self, place: &Place) -> bool {
                    self.core.withdraw(place)
                }
            }
        )*
    };
}

queues!(Queue [], LifoQueue [], PriorityQueue [: Ord], JoinableQueue []);

impl Waitable for Event {}

impl Watch for Event {
    fn is_ready(&self) -> bool {
        self.is_set()
    }

    unsafe fn watch(&self, place: &Place, whom: Whom) -> bool {
        let mut is_set = self.waiters().lock();
        let wait = !*is_set;
        if wait {
            // SAFETY: the caller's contract.
            unsafe { is_set.enqueue(0, place, whom) };
        }
        wait
    }

    fn unwatch(&self, place: &Place) -> bool {
        self.waiters().lock().retract(place)
    }

    fn is_momentary(&self) -> bool {
        // Who waits for an event goes on even if it is cleared before his turn comes.
        true
    }
}

impl<T> Waitable for AsyncResult<T> {}

impl<T> Watch for AsyncResult<T> {
    fn is_ready(&self) -> bool {
        self.is_ready()
    }

    unsafe fn watch(&self, place: &Place, whom: Whom) -> bool {
        let mut waiters = self.waiters().lock();
        // As in `get`.
        let wait = !self.is_ready();
        if wait {
            // SAFETY: the caller's contract.
            unsafe { waiters.enqueue(0, place, whom) };
        }
        wait
    }

    fn unwatch(&self, place: &Place) -> bool {
        self.waiters().lock().retract(place)
    }
}

impl Waitable for Semaphore {}

impl Watch for Semaphore {
    fn is_ready(&self) -> bool {
        self.is_ready()
    }

    unsafe fn watch(&self, place: &Place, whom: Whom) -> bool {
        // SAFETY: the caller's contract.
        unsafe { self.watch(place, whom) }
    }

    fn unwatch(&self, place: &Place) -> bool {
        self.unwatch(place)
    }
}
