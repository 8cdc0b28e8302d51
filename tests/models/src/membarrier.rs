//! In the place of `crate::membarrier`: what it promises is what a pair of fences does.

use std::cell::Cell;

use loom::sync::atomic::{Ordering, fence};

thread_local! {
    /// Whether the fences do nothing, to see that the models notice.
    pub(crate) static MISSING: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn is_available() -> bool {
    true
}

pub(crate) fn light() {
    if !MISSING.get() {
        fence(Ordering::SeqCst);
    }
}

pub(crate) fn heavy() {
    light();
}
