//! Queues between green threads: gevent's `queue` module.
//!
//! | type              | order                                                        |
//! |-------------------|--------------------------------------------------------------|
//! | [`Queue`]         | first in, first out                                          |
//! | [`LifoQueue`]     | last in, first out                                           |
//! | [`PriorityQueue`] | the smallest first, and equal ones in the order they came in |
//! | [`JoinableQueue`] | first in, first out; one can wait until all items are done   |
//! | [`Channel`]       | no item is stored: `put` waits for a `get`                   |
//!
//! All are used by reference: green threads of one OS thread share them in an [`Rc`](std::rc::Rc), green threads of several, or OS
//! threads, in an [`Arc`](std::sync::Arc) or a `static`. Any number may put and get.
//!
//! # Fairness
//!
//! Who waits gets an item, or room for one, in the order of arrival, and nobody who comes later can take it away. An item that
//! is put while somebody waits for one is his from then on. Nothing is lost to somebody who has stopped waiting because of a
//! timeout or a kill.
//!
//! # Closing
//!
//! After `close` nothing can be put; what is there can still be taken out, after which `get` fails and the iterators end.
//! Dropping a queue needs no closing: it is only dropped when nobody can wait for it any more.
//!
//! # gevent
//!
//! | gevent                               | greenhub                                              |
//! |--------------------------------------|-------------------------------------------------------|
//! | `Queue()`, `Queue(n)`                | [`Queue::new`], [`Queue::bounded`]                    |
//! | `put(x)`, `put(x, timeout=t)`        | [`put`](Queue::put), [`put_timeout`](Queue::put_timeout) |
//! | `put_nowait(x)`, `Full`              | [`try_put`](Queue::try_put), [`TryPutError::Full`]    |
//! | `get()`, `get(timeout=t)`            | [`get`](Queue::get), [`get_timeout`](Queue::get_timeout) |
//! | `get_nowait()`, `Empty`              | [`try_get`](Queue::try_get), [`TryGetError::Empty`]   |
//! | `peek()`, `peek_nowait()`            | [`peek`](Queue::peek), [`try_peek`](Queue::try_peek)  |
//! | `qsize()`, `empty()`, `full()`       | [`len`](Queue::len), [`is_empty`](Queue::is_empty), [`is_full`](Queue::is_full) |
//! | `shutdown()`, `ShutDown`             | [`close`](Queue::close), [`PutError`], [`GetError`]   |
//! | `shutdown(immediate=True)`           | [`close_immediate`](Queue::close_immediate)           |
//! | `for x in queue`                     | `for x in &queue`, [`iter`](Queue::iter)              |
//! | `task_done()`, `join(t)`             | [`task_done`](JoinableQueue::task_done), [`join`](JoinableQueue::join), [`join_timeout`](JoinableQueue::join_timeout) |
//!
//! # Examples
//!
//! ```
//! use greenhub::queue::Queue;
//! use greenhub::thread;
//!
//! let jobs = Queue::bounded(2);
//! let total: u32 = thread::scope(|scope| {
//!     let workers: Vec<_> = (0..3).map(|_| scope.spawn(|| jobs.iter().sum::<u32>())).collect();
//!     for job in 0..100 {
//!         jobs.put(job).unwrap();
//!     }
//!     jobs.close();
//!     workers.into_iter().map(|worker| worker.join().unwrap()).sum()
//! });
//! assert_eq!(total, 4950);
//! ```

pub(crate) mod container;
pub(crate) mod core;
mod error;
mod joinable;
mod methods;

use std::fmt;
use std::time::Duration;

use self::container::{Container, Fifo, Heap, Lifo};
use self::core::{Core, Names, Patience};
use self::methods::{common_methods, storage_methods};

pub use self::error::{
    GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError,
};
pub use self::joinable::JoinableQueue;

const NAMES: Names = Names {
    get: "an item (queue)",
    put: "room for an item (queue)",
};

const CHANNEL_NAMES: Names = Names {
    get: "somebody who puts (queue::Channel)",
    put: "somebody who gets (queue::Channel)",
};

/// A queue: first in, first out.
///
/// # Examples
///
/// ```
/// let queue = greenhub::queue::Queue::new();
/// (1..=3).try_for_each(|n| queue.put(n)).unwrap();
/// assert_eq!(queue.get(), Ok(1));
/// assert_eq!(queue.get(), Ok(2));
/// ```
pub struct Queue<T> {
    pub(crate) core: Core<Fifo<T>>,
}

common_methods!(Queue, "Queue::<i32>::bounded(2)", []);
storage_methods!(Queue, Fifo, "the first item", []);

/// A queue that returns the item that was put last: a stack.
///
/// # Examples
///
/// ```
/// let queue = greenhub::queue::LifoQueue::new();
/// (1..=3).try_for_each(|n| queue.put(n)).unwrap();
/// assert_eq!(queue.get(), Ok(3));
/// assert_eq!(queue.get(), Ok(2));
/// ```
pub struct LifoQueue<T> {
    pub(crate) core: Core<Lifo<T>>,
}

common_methods!(LifoQueue, "LifoQueue::<i32>::bounded(2)", []);
storage_methods!(LifoQueue, Lifo, "the last item", []);

/// A queue that returns the smallest item; of equal ones the one that was put first.
///
/// Wrap items in [`Reverse`](std::cmp::Reverse) to get the greatest first.
///
/// Items are compared while no lock is held. A comparison may even wait for something, in which case other calls on the queue,
/// the non-blocking ones included, wait until it is done; it must not make such calls itself. If one panics, the call in
/// which it does panics, no item is lost, and the order of those that are in the queue is unspecified from then on.
///
/// # Examples
///
/// ```
/// let queue = greenhub::queue::PriorityQueue::new();
/// queue.put((2, "wash up")).unwrap();
/// queue.put((1, "eat")).unwrap();
/// assert_eq!(queue.get(), Ok((1, "eat")));
/// ```
pub struct PriorityQueue<T> {
    pub(crate) core: Core<Heap<T>>,
}

common_methods!(PriorityQueue, "PriorityQueue::<i32>::bounded(2)", [: Ord]);
storage_methods!(PriorityQueue, Heap, "the smallest item", [: Ord]);

/// A queue that stores nothing: `put` returns when somebody has taken the item.
///
/// # Examples
///
/// ```
/// use greenhub::queue::{Channel, TryPutError};
/// use std::rc::Rc;
///
/// let channel = Rc::new(Channel::new());
/// assert_eq!(channel.try_put(1), Err(TryPutError::Full(1)), "nobody waits for it");
/// greenhub::spawn({
///     let channel = Rc::clone(&channel);
///     move || channel.put(1)
/// });
/// assert_eq!(channel.get(), Ok(1));
/// ```
pub struct Channel<T> {
    pub(crate) core: Core<Fifo<T>>,
}

common_methods!(Channel, "Channel::<i32>::new()", []);

impl<T> Channel<T> {
    /// A channel.
    ///
    /// # Examples
    ///
    /// ```
    /// static CHANNEL: greenhub::queue::Channel<i32> = greenhub::queue::Channel::new();
    /// greenhub::spawn(|| CHANNEL.put(1));
    /// assert_eq!(CHANNEL.get(), Ok(1));
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Channel {
            core: Core::new(Fifo::NEW, 0, &CHANNEL_NAMES),
        }
    }
}

impl<T> Default for Channel<T> {
    fn default() -> Self {
        Channel::new()
    }
}

impl<T> fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Takes items out of a queue until it is empty and closed. The queues' `iter` returns it.
///
/// # Examples
///
/// ```
/// let queue = greenhub::queue::Queue::new();
/// (1..=3).try_for_each(|n| queue.put(n)).unwrap();
/// queue.close();
/// assert!(queue.iter().eq(1..=3));
/// ```
#[derive(Debug)]
pub struct Iter<'a, Q> {
    queue: &'a Q,
}
