//! A value under a lock, and the tasks that wait for it to change, in the order of their arrival.
//!
//! Everything that is waited for by more than one task, or from more than one thread, is one of these: the value holds the
//! state (finished, permits, bytes), and whoever changes it notifies. The lock is held for a few instructions and never
//! across a suspension. Waiting allocates nothing: the queue's nodes live on the stacks of the waiting tasks.
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
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use crate::hub;
use crate::park::{self, TimedOut};
use crate::task::{Outcome, Reason, Waker};

/// See the module's documentation.
pub(crate) struct WaitQueue<T> {
    inner: Mutex<Inner<T>>,
    /// Whether there are nodes. Written under the lock; read without it by those for whom an answer that is out of date will do,
    /// or cannot be, since all waiters are on their own thread.
    has_waiters: AtomicBool,
}

struct Inner<T> {
    first: Option<NonNull<Node>>,
    last: Option<NonNull<Node>>,
    value: T,
}

struct Node {
    waker: Waker,
    previous: Cell<Option<NonNull<Node>>>,
    next: Cell<Option<NonNull<Node>>>,
    queued: Cell<bool>,
}

// SAFETY: nodes are reached under the lock only, from any thread, and a waker may be used on any thread.
unsafe impl<T: Send> Send for Inner<T> {}

/// The locked value.
pub(crate) struct Guard<'a, T> {
    queue: &'a WaitQueue<T>,
    inner: MutexGuard<'a, Inner<T>>,
}

impl<T> WaitQueue<T> {
    pub(crate) const fn new(value: T) -> Self {
        WaitQueue {
            inner: Mutex::new(Inner {
                first: None,
                last: None,
                value,
            }),
            has_waiters: AtomicBool::new(false),
        }
    }

    /// Whether anybody waits, looked at without the lock.
    #[inline]
    pub(crate) fn has_waiters(&self) -> bool {
        self.has_waiters.load(Ordering::Relaxed)
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        Guard {
            queue: self,
            inner: self.inner.lock(),
        }
    }
}

impl<'a, T> Guard<'a, T> {
    /// Lets go of the lock and waits until notified, or until the deadline.
    #[inline(always)]
    pub(crate) fn wait(self, reason: Reason, deadline: Option<Instant>) -> Result<(), TimedOut> {
        let queue = self.queue;
        let node = Cell::new(None);
        park::park(
            reason,
            deadline,
            |waker| self.enqueue(&node, waker),
            || queue.lock().retract(&node),
        )
    }

    /// As `wait` without a deadline, but never unwinds; see [`park::park_shielded`].
    pub(crate) fn wait_shielded(self, reason: Reason) -> Result<bool, hub::Deadlock> {
        let queue = self.queue;
        let node = Cell::new(None);
        park::park_shielded(
            reason,
            |waker| self.enqueue(&node, waker),
            || queue.lock().retract(&node),
        )
    }

    fn enqueue(mut self, place: &Cell<Option<Node>>, waker: Waker) {
        place.set(Some(Node {
            waker,
            previous: Cell::new(self.inner.last),
            next: Cell::new(None),
            queued: Cell::new(true),
        }));
        // SAFETY: the place is on the stack of the waiting task and is not written to again before the wait has ended.
        let node = NonNull::from(unsafe { &*place.as_ptr() }.as_ref().expect("set above"));
        match self.inner.last.replace(node) {
            // SAFETY: queued nodes exist, see the module's documentation.
            Some(last) => unsafe { last.as_ref() }.next.set(Some(node)),
            None => self.inner.first = Some(node),
        }
        self.queue.has_waiters.store(true, Ordering::Relaxed);
    }

    fn retract(&mut self, place: &Cell<Option<Node>>) {
        // SAFETY: as in `enqueue`.
        if let Some(node) = unsafe { &*place.as_ptr() }
            && node.queued.get()
        {
            self.unlink(node);
        }
    }

    fn unlink(&mut self, node: &Node) {
        node.queued.set(false);
        let (previous, next) = (node.previous.get(), node.next.get());
        // SAFETY: the neighbours are queued, hence exist.
        unsafe {
            match previous {
                Some(previous) => previous.as_ref().next.set(next),
                None => self.inner.first = next,
            }
            match next {
                Some(next) => next.as_ref().previous.set(previous),
                None => self.inner.last = previous,
            }
        }
        let has_waiters = self.inner.first.is_some();
        self.queue.has_waiters.store(has_waiters, Ordering::Relaxed);
    }

    /// Ends the wait of the task that has waited longest. Returns whether there was one.
    pub(crate) fn notify_one(&mut self) -> bool {
        while let Some(first) = self.inner.first {
            // SAFETY: the node is queued, and its task cannot get past `retract` while the lock is held here.
            unsafe {
                let node = first.as_ref();
                let waker = node.waker;
                self.unlink(node);
                if hub::wake(waker, Outcome::Notified) {
                    return true;
                }
            }
        }
        false
    }

    /// Ends the waits of all tasks.
    pub(crate) fn notify_all(&mut self) {
        while self.notify_one() {}
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner.value
    }
}
