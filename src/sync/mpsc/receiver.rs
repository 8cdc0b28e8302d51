//! The receiving side of channels. It belongs to one task at a time, on any thread if the messages are `Send`.

use std::cell::Cell;
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::panic::RefUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use super::{RecvError, RecvTimeoutError, Shared, TryRecvError};
use crate::queue::container::Fifo;
use crate::queue::core::{Core, Nothing, Patience};

/// The receiving side of a [`channel`](super::channel) or [`sync_channel`](super::sync_channel).
///
/// When it is dropped, so are the messages that are in the channel, and senders get an error.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let (sender, receiver) = greenhub::sync::mpsc::channel();
/// greenhub::spawn(move || {
///     sender.send("now").unwrap();
///     greenhub::sleep(Duration::from_millis(1));
///     sender.send("later").unwrap();
/// });
/// assert_eq!(receiver.recv().unwrap(), "now");
/// assert_eq!(receiver.recv().unwrap(), "later");
/// ```
pub struct Receiver<T> {
    pub(crate) shared: Arc<Shared<T>>,
    /// Not `Sync`, as std's, which leaves open what more than one receiver would get.
    _one: PhantomData<Cell<()>>,
}

impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Receiver {
            shared,
            _one: PhantomData,
        }
    }

    pub(crate) fn core(&self) -> &Core<Fifo<T>> {
        &self.shared.core
    }

    /// Takes a message, if there is one.
    ///
    /// # Errors
    ///
    /// `Empty` when there is none now, `Disconnected` when there is none and all senders are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::sync::mpsc::{TryRecvError, channel};
    ///
    /// let (sender, receiver) = channel();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.send(1).unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    #[inline(always)]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.shared
            .core
            .get(Patience::None)
            .map_err(|nothing| match nothing {
                Nothing::Empty => TryRecvError::Empty,
                Nothing::Closed => TryRecvError::Disconnected,
            })
    }

    /// Waits for a message.
    ///
    /// # Errors
    ///
    /// When the channel is empty and all senders are gone, also when the last one goes while this waits.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenhub::sync::mpsc::channel();
    /// greenhub::spawn(move || sender.send(1));
    /// assert_eq!(receiver.recv(), Ok(1));
    /// assert!(receiver.recv().is_err());
    /// ```
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.shared
            .core
            .get(Patience::Forever)
            .map_err(|_| RecvError)
    }

    /// Waits for a message, but no longer than `timeout`. A timeout that is too large to be represented as a point in time
    /// never passes.
    ///
    /// # Errors
    ///
    /// `Timeout` when there was no message in time, `Disconnected` when the channel is empty and all senders are gone.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::sync::mpsc::{RecvTimeoutError, channel};
    /// use std::time::Duration;
    ///
    /// let (sender, receiver) = channel::<u8>();
    /// let timeout = Duration::from_millis(1);
    /// assert_eq!(receiver.recv_timeout(timeout), Err(RecvTimeoutError::Timeout));
    /// drop(sender);
    /// assert_eq!(receiver.recv_timeout(timeout), Err(RecvTimeoutError::Disconnected));
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        let patience = Patience::timeout(timeout);
        self.shared
            .core
            .get(patience)
            .map_err(|nothing| match nothing {
                Nothing::Empty => RecvTimeoutError::Timeout,
                Nothing::Closed => RecvTimeoutError::Disconnected,
            })
    }

    /// The messages as they come, until all senders are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenhub::sync::mpsc::channel();
    /// greenhub::spawn(move || (0..3).try_for_each(|n| sender.send(n)));
    /// assert!(receiver.iter().eq(0..3));
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// The messages that are there, without waiting for more.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenhub::sync::mpsc::channel();
    /// (0..3).try_for_each(|n| sender.send(n)).unwrap();
    /// assert!(receiver.try_iter().eq(0..3));
    /// assert_eq!(receiver.try_iter().next(), None);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // The messages are dropped here, outside of the channel's lock: they may have senders of it.
        drop(self.shared.core.close_immediately());
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

/// What [`Receiver::iter`] returns.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = greenhub::sync::mpsc::channel();
/// sender.send(1).unwrap();
/// drop(sender);
/// let mut messages = receiver.iter();
/// assert_eq!((messages.next(), messages.next()), (Some(1), None));
/// ```
#[derive(Debug)]
pub struct Iter<'a, T: 'a> {
    receiver: &'a Receiver<T>,
}

/// What [`Receiver::try_iter`] returns.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = greenhub::sync::mpsc::channel();
/// sender.send(1).unwrap();
/// let mut messages = receiver.try_iter();
/// assert_eq!((messages.next(), messages.next()), (Some(1), None));
/// ```
#[derive(Debug)]
pub struct TryIter<'a, T: 'a> {
    receiver: &'a Receiver<T>,
}

/// What a [`Receiver`] turns into in a `for` loop.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = greenhub::sync::mpsc::channel();
/// sender.send(1).unwrap();
/// drop(sender);
/// for message in receiver {
///     assert_eq!(message, 1);
/// }
/// ```
#[derive(Debug)]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

// Once all senders are gone there are none for good.
impl<T> FusedIterator for Iter<'_, T> {}
impl<T> FusedIterator for IntoIter<T> {}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}
