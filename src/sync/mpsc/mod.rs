//! Channels: [`std::sync::mpsc`] for green threads.
//!
//! The names, signatures, semantics and error types are std's. Senders and receivers work between green threads of one
//! OS thread, green threads of several, and OS threads; a message goes to the receiver without waking anybody else, and
//! senders that wait for room get it in the order of their arrival.
//!
//! A green thread that is killed, or meets a timeout, while it waits in `recv` has received nothing; one that waits in `send`
//! has sent nothing, and drops its message.
//!
//! # Differences from std
//!
//! - `T` need not be `Send`: then both ends stay on their OS thread.
//! - A buffer of up to 16 KiB is allocated with the channel, a larger one grows to its bound as it is used.
//!
//! # Examples
//!
//! ```
//! use greenhub::sync::mpsc;
//!
//! let (sender, receiver) = mpsc::channel();
//! for n in 0..3 {
//!     let sender = sender.clone();
//!     greenhub::spawn(move || sender.send(n).unwrap());
//! }
//! drop(sender);
//! assert_eq!(receiver.iter().sum::<i32>(), 3);
//! ```

mod receiver;
mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::queue::container::{Container, Fifo};
use crate::queue::core::{Core, Names};

pub use self::receiver::{IntoIter, Iter, Receiver, TryIter};
pub use self::sender::{Sender, SyncSender};
pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

const NAMES: Names = Names {
    get: "a message (sync::mpsc)",
    put: "room in a channel (sync::mpsc)",
};

/// What the two sides of a channel share.
pub(crate) struct Shared<T> {
    pub(crate) core: Core<Fifo<T>>,
    /// How many senders there are. Whoever takes away the last one closes the channel.
    senders: AtomicUsize,
}

impl<T> Shared<T> {
    fn new(items: Fifo<T>, capacity: usize) -> Arc<Shared<T>> {
        Arc::new(Shared {
            core: Core::new(items, capacity, &NAMES),
            senders: AtomicUsize::new(1),
        })
    }

    fn add_sender(self: &Arc<Self>) -> Arc<Self> {
        self.senders.fetch_add(1, Ordering::Relaxed);
        Arc::clone(self)
    }

    /// Called once by each sender when it goes. What it has sent was sent under the channel's lock, which closing takes.
    fn remove_sender(&self) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.core.close();
        }
    }
}

/// Creates a channel whose buffer is as large as it has to be: [`send`](Sender::send) never waits.
///
/// # Examples
///
/// ```
/// use greenhub::sync::mpsc::channel;
///
/// let (sender, receiver) = channel();
/// greenhub::spawn(move || sender.send("hello").unwrap());
/// assert_eq!(receiver.recv().unwrap(), "hello");
/// assert!(receiver.recv().is_err(), "the sender is gone");
/// ```
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Shared::new(Fifo::EMPTY, usize::MAX);
    (Sender::new(Arc::clone(&shared)), Receiver::new(shared))
}

/// Creates a channel that holds up to `bound` messages: [`send`](SyncSender::send) waits while it is full.
///
/// With a bound of 0 it holds none: `send` waits until the message has been received.
///
/// # Examples
///
/// ```
/// use greenhub::sync::mpsc::sync_channel;
///
/// let (sender, receiver) = sync_channel(1);
/// sender.send(1).unwrap();
/// greenhub::spawn(move || {
///     // Waits until there is room.
///     sender.send(2).unwrap();
/// });
/// assert_eq!(receiver.recv().unwrap(), 1);
/// assert_eq!(receiver.recv().unwrap(), 2);
/// ```
#[must_use]
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let shared = Shared::new(Fifo::for_capacity(bound), bound);
    (SyncSender::new(Arc::clone(&shared)), Receiver::new(shared))
}
