//! gevent for Rust: green threads with std-shaped, blocking-looking I/O on an epoll hub.
//!
//! Sequential code that blocks, thousands of pieces of it at once, on one OS thread:
//!
//! ```
//! use greenhub::net::{TcpListener, TcpStream};
//! use std::io::{Read, Write};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let server = greenhub::spawn(move || {
//!     let (mut stream, _) = listener.accept()?;
//!     let mut word = [0; 5];
//!     stream.read_exact(&mut word)?;
//!     stream.write_all(&word)
//! });
//! let mut stream = TcpStream::connect(address)?;
//! stream.write_all(b"hello")?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer)?;
//! assert_eq!(answer, "hello");
//! server.join().unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Green threads and their hub
//!
//! [`spawn`] makes a *green thread* on the calling OS thread, which never leaves it; so neither closures nor results have to be
//! `Send`, and green threads of one OS thread may share `Rc<RefCell<_>>`. They run one at a time, in the order in which
//! they became ready, each until it waits: in [`sleep`], in a [`JoinHandle::join`](thread::JoinHandle::join), in a read of a
//! [`net::TcpStream`]. Nothing is interrupted from outside; code that computes for long calls [`yield_now`] now and then.
//!
//! Code that is not in a green thread (main, a test, a thread of [`std::thread`]) is the *root* of its OS thread. Every
//! call works there as well; while the root waits, it runs the *hub*, the loop that resumes the green threads of that OS
//! thread. There is no runtime to start. Green threads make progress only while their root waits.
//!
//! Several OS threads may each have a hub, and [`Hubs`] starts some for work that one core is not enough for. Handles, locks,
//! queues, [`Thread::unpark`](thread::Thread::unpark) and streams work between them.
//!
//! When an OS thread ends, the green threads that are left on it are unwound, oldest first; see [`thread::Killed`].
//!
//! # std and gevent
//!
//! | std                                     | gevent                           | greenhub                                     |
//! |-----------------------------------------|----------------------------------|----------------------------------------------|
//! | `thread::spawn`, `JoinHandle::join`     | `gevent.spawn`, `g.get`          | [`spawn`], [`thread`]                        |
//! | `thread::sleep`, `yield_now`            | `gevent.sleep`                   | [`sleep`], [`yield_now`]                     |
//! |                                         | `g.kill`, `gevent.killall`       | [`JoinHandle::kill`](thread::JoinHandle::kill), [`killall`] |
//! |                                         | `gevent.Timeout`                 | [`timeout`](timeout()), [`Timeout`]          |
//! |                                         | `gevent.joinall`, `wait`, `iwait` | [`joinall`], [`wait`], [`iwait`], [`select!`] |
//! | `sync::{Mutex, mpsc, ..}`               | `gevent.lock`                    | [`sync`]                                     |
//! |                                         | `gevent.event`, `gevent.queue`   | [`event`], [`queue`]                         |
//! |                                         | `gevent.pool`, `.threadpool`     | [`pool`], [`blocking`]                       |
//! | `thread_local!`                         | `gevent.local`                   | [`local`]                                    |
//! |                                         | `greenlet`, `yield`              | [`greenlet`], [`generator`]                  |
//! | `net::{TcpStream, TcpListener}`         | `gevent.socket`                  | [`net`], [`io`]                              |
//! |                                         |                                  | [`Hubs`]                                     |
//!
//! The [`guide`] has all of it, with an example for each row, and programs that are translated from both.
//!
//! The modules re-export what does not block from std's modules of the same name, so `use std::...` can become
//! `use greenhub::...`.
//!
//! # Deadlocks
//!
//! When the root waits, no green thread is ready, no timer is pending, and none waits for a descriptor or for a job on another
//! thread, then only another OS thread can still wake somebody. If there is none, the root's call panics with a report of
//! every green thread: what it waits for, since when, and where it was spawned. "None" means that every other OS thread
//! of the process is either one whose root waits in the same situation, or an idle one of greenhub's own. A thread that greenhub
//! knows nothing about may do anything, so while there is one the hub waits, and decides again when it ends (on
//! Linux 6.9 and newer). The decision is made once the hub has had nothing to do for 100 ms.
//!
//! # Panics
//!
//! A panic ends its green thread only; [`join`](thread::JoinHandle::join) returns it. It is also logged, with the green
//! thread's name and number, through the [`log`](https://docs.rs/log) crate. A blocking call that is made by the hub itself,
//! which calls no code but that of the program's logger and allocator, is a panic.
//!
//! # Stacks
//!
//! A green thread has 256 KiB of stack unless [`Builder::stack_size`](thread::Builder::stack_size) or the environment variable
//! `GREENHUB_STACK_SIZE` say otherwise. Memory is committed as it is touched: a green thread that waits has a page or two.
//! An overflow ends the process with a message that names the green thread. Printing a panic with `RUST_BACKTRACE=full`
//! took less than 24 KiB of stack in both debug and release builds of small programs; larger programs need more.

mod atomic;
mod biased_lock;
mod coroutine;
mod handover;
mod hub;
mod membarrier;
mod park;
mod poller;
mod stack;
mod task;
mod timeout;
mod timer;
mod unwind;
mod wait;
mod wait_queue;

pub mod blocking;
pub mod event;
pub mod generator;
pub mod greenlet;
#[doc = include_str!("../GUIDE.md")]
pub mod guide {}
pub mod hubs;
pub mod io;
pub mod local;
pub mod net;
pub mod os;
pub mod pool;
pub mod queue;
pub mod select;
pub mod sync;
pub mod thread;
pub mod time;

pub use hubs::Hubs;
pub use thread::{sleep, spawn, spawn_later, yield_now};
pub use timeout::{Elapsed, Timeout, deadline, time_left, timeout};
pub use wait::{Iwait, Waitable, iwait, wait};

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

/// Kills all the green threads and waits until they have ended; each as [`JoinHandle::kill`](thread::JoinHandle::kill).
///
/// # Panics
///
/// As `JoinHandle::kill`.
///
/// # Examples
///
/// ```
/// let handles: Vec<_> = (0..3).map(|_| greenhub::spawn(greenhub::thread::park)).collect();
/// greenhub::killall(&handles);
/// assert!(handles.iter().all(|handle| handle.is_finished()));
/// ```
pub fn killall<'a, T: 'a>(handles: impl IntoIterator<Item = &'a thread::JoinHandle<T>>) {
    let handles: Vec<_> = handles.into_iter().collect();
    for handle in &handles {
        handle.kill_nowait();
    }
    for handle in handles {
        handle.kill();
    }
}
