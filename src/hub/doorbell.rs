//! How a hub that sleeps is woken by a message, and one that is awake is not.

use crate::atomic::{AtomicBool, Ordering, fence};

/// Beside an inbox: whether who puts something in has to wake the hub.
///
/// The flag is set by the hub before it waits, cleared by the hub when it is back, or by the one sender that thereby takes on
/// the duty to wake the poller. A message cannot be overlooked: the hub stores `true`, fences, and only then looks into
/// the inbox; a sender pushes, fences, and only then looks at the flag. Of two such sequences at least one sees the
/// other's store (both fences are sequentially consistent), so either the hub finds the message and does not
/// wait, or the sender finds `true` and wakes it. A hub that is awake costs a sender no system call.
pub(crate) struct Doorbell {
    /// Whether the hub may be waiting for events with an inbox that it found empty.
    asleep: AtomicBool,
}

impl Doorbell {
    pub(crate) fn new() -> Doorbell {
        Doorbell {
            asleep: AtomicBool::new(false),
        }
    }

    /// For a sender that has put something in, and has gone through a sequentially consistent fence: whether it has to wake the
    /// poller.
    #[must_use]
    pub(crate) fn has_to_ring(&self) -> bool {
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel)
    }

    /// Announces that the hub is about to wait. Returns whether it may: nothing has been put in meanwhile.
    #[must_use]
    pub(crate) fn fall_asleep(&self, is_empty: impl FnOnce() -> bool) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if is_empty() {
            return true;
        }
        self.wake_up();
        false
    }

    /// Notes that the hub is back. What was done before somebody woke it is visible after this.
    pub(crate) fn wake_up(&self) {
        self.asleep.swap(false, Ordering::Acquire);
    }

    /// Whether the hub waits and nobody has woken it.
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Acquire)
    }
}
