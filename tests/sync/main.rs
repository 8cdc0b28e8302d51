//! What the locks promise beyond std: order, time limits, kills, and several hubs.

#[path = "../support/mod.rs"]
mod support;

mod hubs;
mod kills;
mod order;
mod storm;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenhub::sync::{
    Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, PoisonError, ReentrantLock, RwLock,
    RwLockWriteGuard, Semaphore, TryLockError,
};
use greenhub::thread::{self, JoinHandle, Killed};
use greenhub::{joinall, sleep, spawn, timeout, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(2);

/// Calls its function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    #[track_caller]
    fn says(&self, expected: &str) {
        assert_eq!(self.0.borrow().join(" "), expected);
    }
}

/// Lets all that is ready on this hub run until it waits for something that has not happened.
fn settle() {
    for _ in 0..20 {
        yield_now();
    }
}

/// Waits for an OS thread while this hub goes on.
fn join_os_thread<T>(thread: std::thread::JoinHandle<T>) -> T {
    while !thread.is_finished() {
        sleep(Duration::from_micros(200));
    }
    thread.join().unwrap()
}

fn is_locked<T>(mutex: &Mutex<T>) -> bool {
    matches!(mutex.try_lock(), Err(TryLockError::WouldBlock))
}
