//! A value under a lock, and the tasks that wait for it to change, in the order of their arrival.
//!
//! Everything that is waited for by more than one task, or from more than one thread, is one of these: the value holds the
//! state (finished, permits, bytes), and whoever changes it notifies. The lock is held for a few instructions, in which no
//! code of the program runs, and never across a suspension. Waiting allocates nothing: the queue's nodes live on the
//! stacks of the waiting tasks.
//!
//! The tasks stand in one line, or in several if they wait for different things (room, items). Line 0 is meant where none
//! is named.
//!
//! # Handing something over
//!
//! A task that waits can lend out a pointer (its cargo) to something on its stack, from which the notifier takes, or into
//! which it puts, what the wait is about: an item reaches the one who waits for it and nobody else, and that one needs no
//! lock to pick it up. The notifier fills `first_in` before it calls `notify_first_in`, since the waiter may be running on
//! another thread right after that, and undoes it if that fails: a waiter whose wait something else has ended still has to
//! get past `retract`, so its stack is there for as long as the lock is held.
//!
//! # Why a node is never touched after it is gone
//!
//! A node is linked and unlinked under the lock. `notify_one` takes it out, and ends its task's wait, while holding the
//! lock. If that succeeds, the task cannot go on before it has been scheduled, by which time its node is no longer looked
//! at. If it fails, something else ended the wait; such a task takes the lock before it leaves (`retract`), hence
//! waits for the notifier to be done with it, and unlinks its node if that is still in the queue.
//!
//! That is also why no notification is lost: `notify_one` goes on to the next waiter until it has ended somebody's wait.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::time::Instant;

use crate::biased_lock::{self, BiasedLock};
use crate::hub;
use crate::park::{self, TimedOut};
use crate::task::{Reason, Wait, Waker};

/// See the module's documentation.
pub(crate) struct WaitQueue<T, const LINES: usize = 1> {
    inner: BiasedLock<Inner<T, LINES>>,
}

struct Inner<T, const LINES: usize> {
    lines: [Line; LINES],
    value: T,
}

struct Line {
    first: Option<NonNull<Node>>,
    last: Option<NonNull<Node>>,
}

struct Node {
    whom: Whom,
    line: usize,
    /// What the waiting task has lent out; null for nothing.
    cargo: *const (),
    previous: Cell<Option<NonNull<Node>>>,
    next: Cell<Option<NonNull<Node>>>,
    queued: Cell<bool>,
}

/// Who stands in a line.
#[derive(Clone, Copy)]
pub(crate) enum Whom {
    /// A task, in one of its waits, which a notification ends.
    Task(Waker),
    /// One that is told when its turn comes, and leaves the notification to the next in line.
    Observer(NonNull<dyn Observer>),
}

impl From<Waker> for Whom {
    fn from(waker: Waker) -> Whom {
        Whom::Task(waker)
    }
}

/// What wants to know of a notification without being a task that waits for it.
pub(crate) trait Observer {
    /// Called on any thread, under the lock of the queue, when the observer has been taken out of its line. It may take locks
    /// that are never held while that of such a queue is taken.
    fn notice(&self);
}

/// Where the node of a waiting task lives. Empty while it does not wait.
pub(crate) struct Place(Cell<Option<Node>>);

impl Place {
    pub(crate) const fn new() -> Place {
        Place(Cell::new(None))
    }

    fn node(&self) -> Option<&Node> {
        // SAFETY: a place is written to by `enqueue` alone, which borrows no node for longer than itself, and which must not be
        // called again while one is queued.
        unsafe { &*self.0.as_ptr() }.as_ref()
    }
}

impl<T, const LINES: usize> Inner<T, LINES> {
    const fn new(value: T) -> Self {
        Inner {
            lines: [const {
                Line {
                    first: None,
                    last: None,
                }
            }; LINES],
            value,
        }
    }
}

// SAFETY: nodes are reached under the lock only, from any thread, and a waker may be used on any thread.
unsafe impl<T: Send, const LINES: usize> Send for Inner<T, LINES> {}

/// The locked value.
pub(crate) struct Guard<'a, T, const LINES: usize = 1> {
    queue: &'a WaitQueue<T, LINES>,
    inner: biased_lock::Guard<'a, Inner<T, LINES>>,
}

impl<T, const LINES: usize> WaitQueue<T, LINES> {
    /// A queue for what is mostly used by one OS thread: its lock costs that thread next to nothing, see `biased_lock`.
    pub(crate) const fn new(value: T) -> Self {
        WaitQueue::with_lock(BiasedLock::new(Inner::new(value)))
    }

    /// A queue for what is used by two OS threads, and a few times only.
    pub(crate) const fn shared(value: T) -> Self {
        WaitQueue::with_lock(BiasedLock::shared(Inner::new(value)))
    }

    const fn with_lock(inner: BiasedLock<Inner<T, LINES>>) -> Self {
        WaitQueue { inner }
    }

    #[inline(always)]
    pub(crate) fn lock(&self) -> Guard<'_, T, LINES> {
        Guard {
            queue: self,
            inner: self.inner.lock(),
        }
    }

    pub(crate) fn into_inner(self) -> T {
        self.inner.into_inner().value
    }
}

impl<'a, T, const LINES: usize> Guard<'a, T, LINES> {
    /// Lets go of the lock and waits until notified, or until the deadline.
    #[inline(always)]
    pub(crate) fn wait(self, reason: Reason, deadline: Option<Instant>) -> Result<(), TimedOut> {
        self.wait_in(0, reason, deadline)
    }

    /// As `wait`, in one of several lines.
    #[inline(always)]
    pub(crate) fn wait_in(
        self,
        line: usize,
        reason: Reason,
        deadline: Option<Instant>,
    ) -> Result<(), TimedOut> {
        self.wait_with(line, ptr::null(), reason, deadline)
    }

    /// As `wait_in`, and until the wait ends the holder of the lock may use `cargo`, by way of `first_in`. After `Ok` nobody
    /// uses it any more, nor after anything else.
    #[inline(always)]
    pub(crate) fn wait_with(
        self,
        line: usize,
        cargo: *const (),
        reason: Reason,
        deadline: Option<Instant>,
    ) -> Result<(), TimedOut> {
        let queue = self.queue;
        let place = Place::new();
        park::park(
            Wait::Orderly,
            reason,
            deadline,
            |waker| self.enqueue_and_unlock(line, &place, cargo, waker),
            || {
                queue.lock().retract(&place);
            },
        )
    }

    /// As `wait` without a deadline, but never unwinds; see [`park::park_shielded`].
    pub(crate) fn wait_shielded(self, reason: Reason) -> Result<bool, hub::Deadlock> {
        let queue = self.queue;
        let place = Place::new();
        park::park_shielded(
            Wait::Orderly,
            reason,
            |waker| self.enqueue_and_unlock(0, &place, ptr::null(), waker),
            || {
                queue.lock().retract(&place);
            },
        )
    }

    #[inline(always)]
    fn enqueue_and_unlock(mut self, line: usize, place: &Place, cargo: *const (), waker: Waker) {
        // SAFETY: `retract` is called unless the node has been notified, and the place outlives the wait, on whose stack it is.
        unsafe { self.enqueue_with(line, place, cargo, waker) };
    }

    /// Puts a waiting task, or an observer, at the end of a line.
    ///
    /// A task may stand in the lines of several queues for one wait, with a place in each. When it goes on, it has to
    /// `retract` all of them: others may have come upon its nodes after the wait had ended.
    ///
    /// # Safety
    ///
    /// The place must not move, and no node of it be queued. Before it is gone, the node must have been notified by a wake-up
    /// that ended the task's wait, or `retract` must have been called. An observer must bear being called by any thread until
    /// it has been called or `retract` has been.
    pub(crate) unsafe fn enqueue(&mut self, line: usize, place: &Place, whom: impl Into<Whom>) {
        // SAFETY: the caller's contract.
        unsafe { self.enqueue_with(line, place, ptr::null(), whom.into()) };
    }

    /// As `enqueue`, for a task that lends something out.
    ///
    /// # Safety
    ///
    /// As for `enqueue`.
    #[inline(always)]
    pub(crate) unsafe fn enqueue_with(
        &mut self,
        line: usize,
        place: &Place,
        cargo: *const (),
        whom: impl Into<Whom>,
    ) {
        let last = self.inner.lines[line].last;
        place.0.set(Some(Node {
            whom: whom.into(),
            line,
            cargo,
            previous: Cell::new(last),
            next: Cell::new(None),
            queued: Cell::new(true),
        }));
        let node = NonNull::from(place.node().expect("set above"));
        match last {
            // SAFETY: queued nodes exist, see the module's documentation.
            Some(last) => unsafe { last.as_ref() }.next.set(Some(node)),
            None => self.inner.lines[line].first = Some(node),
        }
        self.inner.lines[line].last = Some(node);
    }

    /// Takes a node out of its line. Returns whether it was still there: if not, it had been notified.
    pub(crate) fn retract(&mut self, place: &Place) -> bool {
        match place.node() {
            Some(node) if node.queued.get() => {
                self.unlink(node);
                true
            }
            _ => false,
        }
    }

    fn unlink(&mut self, node: &Node) {
        node.queued.set(false);
        let (previous, next) = (node.previous.get(), node.next.get());
        let line = &mut self.inner.lines[node.line];
        // SAFETY: the neighbours are queued, hence exist.
        unsafe {
            match previous {
                Some(previous) => previous.as_ref().next.set(next),
                None => line.first = next,
            }
            match next {
                Some(next) => next.as_ref().previous.set(previous),
                None => line.last = previous,
            }
        }
    }

    /// Ends the wait of the task that has waited longest. Returns whether there was one.
    #[inline]
    pub(crate) fn notify_one(&mut self) -> bool {
        self.notify_one_in(0)
    }

    /// As `notify_one`, in one of several lines.
    #[inline]
    pub(crate) fn notify_one_in(&mut self, line: usize) -> bool {
        while self.inner.lines[line].first.is_some() {
            if self.notify_first_in(line) {
                return true;
            }
        }
        false
    }

    /// What the task that has waited longest in a line has lent out, unless nobody stands there. It can be used until the lock
    /// is let go of or `notify_first_in` ends the task's wait, also if something else has ended that already.
    #[inline(always)]
    pub(crate) fn first_in(&self, line: usize) -> Option<*const ()> {
        // SAFETY: the node is queued, hence exists.
        self.inner.lines[line]
            .first
            .map(|first| unsafe { first.as_ref() }.cargo)
    }

    /// Takes the first task out of its line. Returns whether its wait was ended here, and not by something else before. An
    /// observer is told, and counts as somebody whose wait was not.
    #[inline(always)]
    pub(crate) fn notify_first_in(&mut self, line: usize) -> bool {
        let Some(first) = self.inner.lines[line].first else {
            return false;
        };
        // SAFETY: the node is queued, and its task, or the owner of the observer, cannot get past `retract` while the lock is
        // held here.
        unsafe {
            let node = first.as_ref();
            let whom = node.whom;
            debug_assert!(node.queued.get() && node.line == line && node.previous.get().is_none());
            node.queued.set(false);
            let next = node.next.get();
            self.inner.lines[line].first = next;
            match next {
                Some(next) => next.as_ref().previous.set(None),
                None => self.inner.lines[line].last = None,
            }
            match whom {
                Whom::Task(waker) => hub::notify(waker),
                Whom::Observer(observer) => {
                    observer.as_ref().notice();
                    false
                }
            }
        }
    }

    /// Whether anybody stands in a line but the task that is going to wait with `waker`.
    pub(crate) fn others_wait_in(&self, line: usize, waker: Waker) -> bool {
        let mut next = self.inner.lines[line].first;
        while let Some(node) = next {
            // SAFETY: the node is queued, hence exists.
            let node = unsafe { node.as_ref() };
            if !matches!(node.whom, Whom::Task(own) if own == waker) {
                return true;
            }
            next = node.next.get();
        }
        false
    }

    /// Ends the waits of all tasks.
    pub(crate) fn notify_all(&mut self) {
        self.notify_all_in(0);
    }

    /// As `notify_all`, in one of several lines.
    pub(crate) fn notify_all_in(&mut self, line: usize) {
        while self.notify_one_in(line) {}
    }
}

impl<T, const LINES: usize> Deref for Guard<'_, T, LINES> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner.value
    }
}

impl<T, const LINES: usize> DerefMut for Guard<'_, T, LINES> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner.value
    }
}
