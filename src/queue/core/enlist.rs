//! Standing in the lines of queues for a task that waits for several things at once. Called by that task, on its own thread.
#![allow(unsafe_code)]

use super::{Container, Core, GETTERS, PEEKERS, PUTTERS, Slot};
use crate::task::Waker;
use crate::wait_queue::{Place, Whom};

impl<C: Container> Core<C> {
    /// Makes a task that waits for several things stand in the line of the getters. Returns false, and does not, when
    /// `get` without patience has to be tried instead.
    ///
    /// When the task's wait has been ended from here, the slot has the item; if not, the queue is closed.
    ///
    /// # Safety
    ///
    /// As for `enqueue` of the wait queue, with `withdraw` in place of `retract`; and the slot must be empty, and neither move nor
    /// be looked at before that.
    pub(crate) unsafe fn enlist_getter(
        &self,
        place: &Place,
        slot: &Slot<C::Item>,
        waker: Waker,
    ) -> bool {
        let mut guard = self.state.lock();
        let wait = !guard.reserved
            && !guard.closed
            && guard.items.len() == 0
            && !guard.others_wait_in(PUTTERS, waker);
        if wait {
            // SAFETY: the caller's contract.
            unsafe { guard.enqueue_with(GETTERS, place, slot.cargo(), waker) };
        }
        wait
    }

    /// Makes a task that waits for several things stand in the line of the putters. Returns false, and does not, when
    /// `put` without patience has to be tried instead.
    ///
    /// When the task's wait has been ended from here, the slot is empty; if not, the queue is closed.
    ///
    /// # Safety
    ///
    /// As for `enlist_getter`, but the slot must have the item.
    pub(crate) unsafe fn enlist_putter(
        &self,
        place: &Place,
        slot: &Slot<C::Item>,
        waker: Waker,
    ) -> bool {
        let mut guard = self.state.lock();
        let wait = !guard.reserved
            && !guard.closed
            && guard.items.len() >= guard.capacity
            && !guard.others_wait_in(GETTERS, waker);
        if wait {
            // SAFETY: the caller's contract.
            unsafe { guard.enqueue_with(PUTTERS, place, slot.cargo(), waker) };
        }
        wait
    }

    /// Whether there is an item to get, or the queue is closed.
    pub(crate) fn is_ready(&self) -> bool {
        let guard = self.state.lock();
        guard.len() > 0 || guard.closed
    }

    /// Has somebody notified when there is an item to look at, or the queue is closed. Returns false, and does not, if that is
    /// so already.
    ///
    /// # Safety
    ///
    /// As for `enqueue` of the wait queue, with `withdraw` in place of `retract`.
    pub(crate) unsafe fn watch(&self, place: &Place, whom: Whom) -> bool {
        let mut guard = self.state.lock();
        let wait = guard.len() == 0 && !guard.closed;
        if wait {
            // SAFETY: the caller's contract.
            unsafe { guard.enqueue(PEEKERS, place, whom) };
        }
        wait
    }

    /// Takes a task out of the line in which it was enlisted. Returns whether it still stood there; if not, its wait was
    /// ended from here, which the slot tells, or was about to when something else had ended it.
    pub(crate) fn withdraw(&self, place: &Place) -> bool {
        self.state.lock().retract(place)
    }
}
