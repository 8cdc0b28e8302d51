//! Handing the turn from one task to another of the same OS thread, and waiting to get it back.
//!
//! What generators and greenlets are made of. A seat belongs to one task, which waits in it; others of its OS thread, which
//! know what the seat is for, wake it. There is no lock, because a seat never leaves its OS thread.
#![allow(unsafe_code)]

use std::cell::Cell;

use crate::hub;
use crate::park;
use crate::task::{Reason, Wait, Waker};

/// Where one task at a time waits for its turn.
pub(crate) struct Seat(Cell<Option<Waker>>);

impl Seat {
    pub(crate) const fn new() -> Seat {
        Seat(Cell::new(None))
    }

    /// Whether a task waits here and has not been woken.
    pub(crate) fn is_taken(&self) -> bool {
        let waker = self.0.get();
        waker.is_some()
    }

    /// Calls `hand_over`, which wakes somebody else, and waits to be woken. An interruption unwinds from here, before or after
    /// `hand_over`.
    #[inline(always)]
    pub(crate) fn wait(&self, reason: Reason, hand_over: impl FnOnce()) {
        let woken = park::park(
            Wait::Orderly,
            reason,
            None,
            |waker| {
                self.0.set(Some(waker));
                hand_over();
            },
            || self.0.set(None),
        );
        debug_assert!(woken.is_ok(), "there is no deadline");
    }

    /// Wakes the task that waits here. Returns whether there was one.
    #[inline(always)]
    pub(crate) fn wake(&self) -> bool {
        match self.0.take() {
            // SAFETY: a task whose wait ends in another way takes its waker out of here before it goes on, and does so on this
            // thread, which is the only one that reaches a `Cell`.
            Some(waker) => unsafe { hub::notify(waker) },
            None => false,
        }
    }
}
