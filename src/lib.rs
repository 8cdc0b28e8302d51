//! gevent for Rust: green threads with std-shaped, blocking-looking I/O on an epoll hub.

mod blocking;
mod coroutine;
mod hub;
mod park;
mod poller;
mod stack;
mod task;
mod timer;
mod wait_queue;

pub mod io;
pub mod net;
pub mod os;
pub mod sync;
pub mod thread;
pub mod time;

pub use thread::{sleep, spawn, spawn_later, yield_now};

/// Waits for all the green threads and returns their results in the order of the handles.
///
/// # Panics
///
/// In the root context, when a deadlock is found.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let sleepers = (0..100).map(|n| {
///     greenhub::spawn(move || {
///         greenhub::sleep(Duration::from_millis(20));
///         n
///     })
/// });
/// let results = greenhub::joinall(sleepers);
/// assert_eq!(results.into_iter().map(Result::unwrap).sum::<u32>(), 4950);
/// assert!(start.elapsed() < Duration::from_millis(1000), "they slept at the same time");
/// ```
pub fn joinall<T>(
    handles: impl IntoIterator<Item = thread::JoinHandle<T>>,
) -> Vec<thread::Result<T>> {
    // All are spawned before the first is joined, also by an iterator that spawns as it goes.
    let handles: Vec<_> = handles.into_iter().collect();
    handles.into_iter().map(thread::JoinHandle::join).collect()
}
