//! The flag that tells the next owner of a lock that its last one was unwound.
//!
//! As in std, a lock is poisoned when a guard is dropped by an unwinding that began while the guard existed. std asks
//! [`std::thread::panicking`], which answers for the OS thread; here the hub is asked whether this very green thread
//! unwinds. Written and read by the owner of the lock, and read by `is_poisoned` from anywhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError};

use crate::hub;

/// Whether a lock is poisoned. `Relaxed` will do: the lock orders what its owners do.
pub(super) struct Flag(AtomicBool);

/// What a guard remembers: whether its green thread was unwinding already when it took the lock.
#[derive(Clone, Copy)]
pub(super) struct Guard {
    unwinding: bool,
}

impl Flag {
    pub(super) const fn new() -> Flag {
        Flag(AtomicBool::new(false))
    }

    #[inline]
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// For the one who has just taken the lock.
    #[inline]
    pub(super) fn guard(&self) -> Guard {
        Guard {
            unwinding: is_unwinding(),
        }
    }

    /// For the one who is about to let go of the lock.
    #[inline]
    pub(super) fn done(&self, guard: Guard) {
        if !guard.unwinding && is_unwinding() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// `value`, as an error if the flag is set.
    #[inline]
    pub(super) fn wrap<T>(&self, value: T) -> LockResult<T> {
        if self.get() {
            Err(PoisonError::new(value))
        } else {
            Ok(value)
        }
    }
}

/// Whether the caller's green thread, or root, unwinds. std's answer costs a load and is believed when it is no: then
/// nobody on this OS thread does.
#[inline]
fn is_unwinding() -> bool {
    std::thread::panicking() && hub::is_unwinding()
}
