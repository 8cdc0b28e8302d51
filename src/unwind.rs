//! Keeping unwinding where it belongs: inside the green thread that it started in.
//!
//! The hub and the frames at the base of a worker must not be unwound: a root task that got away from its wait would leave
//! wakers behind that point into its frames, and a scope would end with green threads that borrow from it.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the program (a destructor, a logger) that may panic. Returns whether it ended without unwinding.
///
/// The payload of a panic has a destructor too. It is dropped as often as that panics in turn, a few times, and then leaked.
pub(crate) fn contain(f: impl FnOnce()) -> bool {
    let Err(mut payload) = catch_unwind(AssertUnwindSafe(f)) else {
        return true;
    };
    for _ in 0..4 {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return false,
            Err(next) => payload = next,
        }
    }
    std::mem::forget(payload);
    false
}

/// Refuses what can only be done by unwinding in a program that cannot unwind.
#[inline(always)]
#[track_caller]
pub(crate) fn require_unwinding(what: &str) {
    if cfg!(panic = "abort") {
        panic!(
            "{what} ends code by unwinding it, and this program is built with panic = \"abort\""
        );
    }
}

/// Ends the process, saying why, when it is dropped, which only unwinding does: the other way out is `defuse`.
pub(crate) struct AbortOnUnwind(pub(crate) &'static str);

impl AbortOnUnwind {
    pub(crate) fn defuse(self) {
        std::mem::forget(self);
    }
}

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        eprintln!("fatal: {}, aborting", self.0);
        std::process::abort();
    }
}
