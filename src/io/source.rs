//! The one I/O loop: try the call, and wait only when the kernel says `WouldBlock`.
//!
//! A `Source` is what a descriptor needs to be waited for by any number of green threads, of any hub. A hub registers the
//! descriptor at the first `WouldBlock` that it meets there, once, for both directions and edge-triggered, and from
//! then on keeps what it knows of its readiness.
//!
//! # Readiness
//!
//! Per direction, a registered descriptor is either *maybe ready*, and the call is tried, or *drained*, and the caller waits
//! without trying. Events make it maybe ready. `WouldBlock` drains it, and so does a short read or write: the kernel gave
//! less than was asked for because there was no more, and whatever comes later is a new event. A server that
//! echoes small messages thus makes one `recv` and one `send` a message, and no call that fails.
//!
//! A hang-up is reported once and lasts. After it a short read proves nothing (the end of the stream, which was already
//! reported, may be next), so it does not drain; neither does it with urgent data about, at whose mark reads stop short.
//! `WouldBlock` drains in any case: it is the kernel's own word, and without believing it a caller would spin.
//!
//! # Fairness
//!
//! A call that never has to wait, because the peer is fast, would keep its green thread running for ever. Such calls are
//! counted, and after a number of them the others get their turn.
//!
//! # Several waiters in one direction
//!
//! An event wakes the one that has waited longest. When it leaves the loop with the direction still maybe ready (a full
//! buffer, an error, the end of the stream), it wakes the next. So all make progress, in order, without waking everybody for
//! each message.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::hub::{self, Remote, Sink};
use crate::park::{self, TimedOut};
use crate::poller::Readiness;
use crate::task::{Reason, Waker};
use crate::wait_queue::{Place, WaitQueue};

/// Which of a descriptor's two streams a call concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    fn ready(self) -> Readiness {
        match self {
            Direction::Read => Readiness::READABLE,
            Direction::Write => Readiness::WRITABLE,
        }
    }

    fn lasts(self) -> Readiness {
        match self {
            Direction::Read => Readiness::READ_LASTS,
            Direction::Write => Readiness::WRITE_LASTS,
        }
    }

    fn reason(self, fd: RawFd) -> Reason {
        match self {
            Direction::Read => Reason::Readable(fd),
            Direction::Write => Reason::Writable(fd),
        }
    }
}

/// What a call that did not fail leaves behind.
pub(crate) enum Done<T> {
    /// There may be more to do.
    Full(T),
    /// Less was done than asked for, so nothing is left to do.
    Short(T),
}

impl<T> Done<T> {
    pub(crate) fn into_inner(self) -> T {
        match self {
            Done::Full(value) | Done::Short(value) => value,
        }
    }
}

impl Done<usize> {
    /// A transfer of `done` out of `wanted` bytes.
    pub(crate) fn transfer(done: usize, wanted: usize) -> Done<usize> {
        if done < wanted {
            Done::Short(done)
        } else {
            Done::Full(done)
        }
    }
}

/// What a descriptor needs to be waited for. Its owner keeps it beside the descriptor and drops it before closing that.
pub(crate) struct Source {
    fd: RawFd,
    /// The registration with the first hub that waited: the only one for nearly all descriptors.
    first: OnceLock<Registration>,
}

/// A descriptor's registration with one hub.
struct Registration {
    hub: Arc<Remote>,
    token: u64,
    state: Arc<State>,
    /// The registration with another hub. The list only grows, so that looking at it needs no lock.
    next: OnceLock<Box<Registration>>,
}

/// What a hub knows of a registered descriptor, and who waits. Used on that hub's thread only; being shareable is for the
/// compiler.
struct State {
    readiness: AtomicU8,
    /// A line for each direction.
    waiters: WaitQueue<(), 2>,
}

impl Sink for State {
    fn deliver(&self, readiness: Readiness) {
        self.set(self.get().union(readiness));
        for direction in [Direction::Read, Direction::Write] {
            if readiness.contains(direction.ready()) {
                self.notify_one(direction);
            }
        }
    }
}

impl State {
    fn new() -> State {
        State {
            readiness: AtomicU8::new(Readiness::NONE.bits()),
            waiters: WaitQueue::new(()),
        }
    }

    fn get(&self) -> Readiness {
        Readiness::from_bits(self.readiness.load(Ordering::Relaxed))
    }

    fn set(&self, readiness: Readiness) {
        self.readiness.store(readiness.bits(), Ordering::Relaxed);
    }

    fn notify_one(&self, direction: Direction) {
        self.waiters.lock().notify_one_in(direction as usize);
    }

    fn is_drained(&self, direction: Direction) -> bool {
        !self.get().contains(direction.ready())
    }

    fn drain(&self, direction: Direction) {
        let gone = direction.ready().union(direction.lasts());
        self.set(self.get().without(gone));
    }

    /// Draws the conclusion from a call that transferred less than was asked for.
    fn drain_unless_lasting(&self, direction: Direction) {
        if !self.get().contains(direction.lasts()) {
            self.drain(direction);
        }
    }
}

impl Source {
    pub(crate) fn new(fd: RawFd) -> Source {
        Source {
            fd,
            first: OnceLock::new(),
        }
    }

    /// Makes a call that transfers in `direction`, waiting as often as it would block.
    ///
    /// `deadline` is asked for at the first wait, and may refuse it: then its error is returned.
    ///
    /// # Errors
    ///
    /// The call's own; `WouldBlock` when the deadline has passed, as std reports it; the error of registering the
    /// descriptor with the hub.
    pub(crate) fn transfer<T>(
        &self,
        direction: Direction,
        deadline: impl Fn() -> io::Result<Option<Instant>>,
        mut call: impl FnMut() -> io::Result<Done<T>>,
    ) -> io::Result<T> {
        let mut limit = None;
        // A green thread whose peers are fast would otherwise never wait, hence never meet a kill. Between the calls it is too
        // late: they have taken or sent something.
        if hub::is_interrupted() {
            park::unwind_if_interrupted();
        }
        loop {
            let state = self.state();
            if state.is_none_or(|state| !state.is_drained(direction)) {
                match call() {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if let Some(state) = state {
                            state.drain(direction);
                        }
                    }
                    result => {
                        let result = leave(state, direction, result);
                        hub::count_call();
                        return result;
                    }
                }
            }
            let limit = match limit {
                Some(limit) => limit,
                None => *limit.insert(deadline()?),
            };
            if self.wait(direction, limit)?.is_err() {
                return Err(io::Error::from_raw_os_error(libc::EAGAIN));
            }
        }
    }

    /// Waits until the descriptor may be ready in `direction`.
    #[inline(always)]
    pub(crate) fn wait(
        &self,
        direction: Direction,
        deadline: Option<Instant>,
    ) -> io::Result<Result<(), TimedOut>> {
        let state = match self.state() {
            Some(state) => state,
            None => self.register()?,
        };
        // Events are delivered by this very thread, when this task has switched out: there is no window between the look and
        // the wait.
        if !state.is_drained(direction) {
            return Ok(Ok(()));
        }
        let waiters = state.waiters.lock();
        Ok(waiters.wait_in(direction as usize, direction.reason(self.fd), deadline))
    }

    /// Has a task that waits for several things stand in the line for `direction`. Returns false, and does not, when the
    /// descriptor may be ready.
    ///
    /// # Safety
    ///
    /// As for `enqueue` of a wait queue, with `withdraw` in place of `retract`.
    pub(crate) unsafe fn enlist(
        &self,
        direction: Direction,
        place: &Place,
        waker: Waker,
    ) -> io::Result<bool> {
        let state = match self.state() {
            Some(state) => state,
            None => self.register()?,
        };
        // As in `wait`, there is no window.
        if !state.is_drained(direction) {
            return Ok(false);
        }
        // SAFETY: the caller's contract.
        unsafe {
            state
                .waiters
                .lock()
                .enqueue(direction as usize, place, waker)
        };
        Ok(true)
    }

    /// Takes back an `enlist`, on the same thread. An event that has ended the task's wait is not passed on to others.
    pub(crate) fn withdraw(&self, place: &Place) {
        if let Some(state) = self.state() {
            state.waiters.lock().retract(place);
        }
    }

    /// Forgets what was reported so far: the next `wait` waits for the next event.
    pub(crate) fn drain(&self, direction: Direction) {
        if let Some(state) = self.state() {
            state.drain(direction);
        }
    }

    /// What this thread's hub knows of the descriptor, if it is registered there.
    #[inline]
    fn state(&self) -> Option<&State> {
        let here = hub::current_id()?;
        self.registrations()
            .find(|registration| registration.hub.id() == here)
            .map(|registration| &*registration.state)
    }

    fn registrations(&self) -> impl Iterator<Item = &Registration> {
        std::iter::successors(self.first.get(), |registration| {
            registration.next.get().map(|next| &**next)
        })
    }

    #[cold]
    fn register(&self) -> io::Result<&State> {
        let state = Arc::new(State::new());
        let sink: Arc<dyn Sink> = Arc::clone(&state) as _;
        let hub = hub::try_here()?;
        let mut new = Registration {
            token: hub.register(self.fd, sink)?,
            hub: Arc::clone(hub.remote()),
            state,
            next: OnceLock::new(),
        };
        // Only this hub's thread adds a registration with this hub; those with others may be added at the same time.
        match self.first.set(new) {
            Ok(()) => return Ok(&self.first.get().expect("set above").state),
            Err(refused) => new = refused,
        }
        let mut new = Box::new(new);
        let mut last = self.first.get().expect("it was occupied");
        loop {
            match last.next.set(new) {
                Ok(()) => return Ok(&last.next.get().expect("set above").state),
                Err(refused) => new = refused,
            }
            last = last.next.get().expect("it was occupied");
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        for registration in self.registrations() {
            hub::forget(&registration.hub, self.fd, registration.token);
        }
    }
}

/// Leaves the loop with the result of a call, and wakes the next waiter if there may be something for it.
fn leave<T>(
    state: Option<&State>,
    direction: Direction,
    result: io::Result<Done<T>>,
) -> io::Result<T> {
    if let Some(state) = state {
        if let Ok(Done::Short(_)) = result {
            state.drain_unless_lasting(direction);
        }
        if !state.is_drained(direction) {
            state.notify_one(direction);
        }
    }
    result.map(Done::into_inner)
}
