//! The end of a green thread as those see it who wait for it and do not take the result, on any thread.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};

use super::packet::{AWAITED, FINISHED, KILLED, PANICKED};
use super::{Ending, Killed, Result};
use crate::wait_queue::{Place, WaitQueue, Whom};

/// What a packet knows of its green thread's end, whatever the type of the result is.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    /// The packet's, with the bits that its module describes.
    state: &'a AtomicU8,
    joiners: &'a WaitQueue<()>,
}

impl<'a> End<'a> {
    pub(super) fn new(state: &'a AtomicU8, joiners: &'a WaitQueue<()>) -> End<'a> {
        End { state, joiners }
    }

    /// See `PacketRef::watch`.
    ///
    /// # Safety
    ///
    /// As there.
    pub(super) unsafe fn watch(self, place: &Place, whom: Whom) -> bool {
        let mut joiners = self.joiners.lock();
        // As in `wait_in_queue`.
        if self.state.fetch_or(AWAITED, Ordering::AcqRel) & FINISHED != 0 {
            return false;
        }
        // SAFETY: the caller's contract.
        unsafe { joiners.enqueue(0, place, whom) };
        true
    }

    pub(super) fn unwatch(self, place: &Place) -> bool {
        self.joiners.lock().retract(place)
    }

    /// How it has ended, if it has.
    pub(super) fn ending(self) -> Option<Ending> {
        let state = self.state.load(Ordering::Acquire);
        if state & FINISHED == 0 {
            None
        } else if state & KILLED != 0 {
            Some(Ending::Killed)
        } else if state & PANICKED != 0 {
            Some(Ending::Panicked)
        } else {
            Some(Ending::Returned)
        }
    }

    /// The same, for as long as the caller likes.
    ///
    /// # Safety
    ///
    /// A `Thread` of the packet must outlive what is returned.
    pub(super) unsafe fn detached(self) -> End<'static> {
        // SAFETY: the packet is alive while there is a `Thread` of it, by the caller's contract.
        unsafe {
            End {
                state: &*ptr::from_ref(self.state),
                joiners: &*ptr::from_ref(self.joiners),
            }
        }
    }
}

/// The bits that go with `FINISHED` for a result.
pub(super) fn bits<T>(result: &Result<T>) -> u8 {
    match result {
        Ok(_) => 0,
        Err(payload) if payload.is::<Killed>() => KILLED,
        Err(_) => PANICKED,
    }
}
