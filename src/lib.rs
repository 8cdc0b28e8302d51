//! gevent for Rust: green threads with std-shaped, blocking-looking I/O on an epoll hub.

mod coroutine;
mod hub;
mod park;
mod poller;
mod stack;
mod task;
mod timer;
mod wait_queue;

pub mod sync;
pub mod thread;
pub mod time;

pub use thread::{sleep, spawn, spawn_later, yield_now};
