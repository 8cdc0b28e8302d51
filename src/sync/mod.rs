//! Locks and other meeting points: [`std::sync`] for green threads, with gevent's semaphores.
//!
//! The names, signatures and semantics are std's, poisoning included. All of it works between green threads of one hub,
//! of several hubs, and OS threads that have none: whoever has to wait is suspended, or, if it is the root of its OS
//! thread, runs the hub meanwhile. What is waited for is handed out in the order in which it was asked for. A waiter
//! that is killed, or runs into a timeout, takes nothing with it.
//!
//! Between green threads of one OS thread, `Rc`, `Cell` and `RefCell` do what locks do between OS threads: no other
//! green thread runs before the running one waits. Locks are for what must not change during a wait.
//!
//! # Differences from std
//!
//! - The locks are fair. Under contention each unlock passes the lock to the first in line.
//! - Being killed, or running into a timeout, while one holds a guard poisons the lock as a panic does.
//! - [`Semaphore`] and [`ReentrantLock`] exist.

mod barrier;
mod condvar;
mod lazy_lock;
pub mod mpsc;
mod mutex;
mod once;
mod once_lock;
mod poison;
mod raw_lock;
mod reentrant_lock;
mod rwlock;
mod semaphore;

pub use self::barrier::{Barrier, BarrierWaitResult};
pub use self::condvar::{Condvar, WaitTimeoutResult};
pub use self::lazy_lock::LazyLock;
pub use self::mutex::{Mutex, MutexGuard};
pub use self::once::{Once, OnceState};
pub use self::once_lock::OnceLock;
pub use self::reentrant_lock::{ReentrantLock, ReentrantLockGuard};
pub use self::rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use self::semaphore::{Semaphore, SemaphoreGuard};
pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, Weak, atomic};
