//! What the code is made of that several threads run at once: the models in `tests/models` build the same files on loom's
//! atomics, locks and threads, by putting a module of this name in the place of this one.

use std::time::Duration;

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub(crate) use std::thread_local;

pub(crate) use parking_lot::{Mutex, MutexGuard};

/// Lets time pass in a loop that waits for another thread to get on: the more, the longer it has waited.
pub(crate) fn back_off(round: u32) {
    match round {
        0..100 => std::hint::spin_loop(),
        100..120 => std::thread::yield_now(),
        _ => std::thread::sleep(Duration::from_micros(50)),
    }
}
