//! The sending sides of channels. They may be used from any thread if the messages are `Send`.

use std::fmt;
use std::sync::Arc;

use super::{SendError, Shared, TrySendError};
use crate::queue::container::Fifo;
use crate::queue::core::{Core, Patience, Refused};

/// The sending side of a [`channel`](super::channel). It can be cloned, sent and shared.
///
/// When the last one is dropped, the receiver gets what is in the channel and then an error.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = greenhub::sync::mpsc::channel();
/// let other = sender.clone();
/// greenhub::spawn(move || sender.send(1));
/// greenhub::spawn(move || other.send(2));
/// assert_eq!(receiver.iter().sum::<i32>(), 3);
/// ```
pub struct Sender<T> {
    pub(crate) shared: Arc<Shared<T>>,
}

/// The sending side of a [`sync_channel`](super::sync_channel). It can be cloned, sent and shared.
///
/// When the last one is dropped, the receiver gets what is in the channel and then an error.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = greenhub::sync::mpsc::sync_channel(0);
/// greenhub::spawn(move || sender.send("when somebody takes it"));
/// assert_eq!(receiver.recv(), Ok("when somebody takes it"));
/// ```
pub struct SyncSender<T> {
    pub(crate) shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Sender { shared }
    }

    pub(crate) fn core(&self) -> &Core<Fifo<T>> {
        &self.shared.core
    }

    /// Sends a message. Never waits.
    ///
    /// # Errors
    ///
    /// When the receiver is gone; the message is in the error. `Ok` does not mean that the message will be received: the
    /// receiver may go.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenhub::sync::mpsc::channel();
    /// sender.send(1).unwrap();
    /// drop(receiver);
    /// assert_eq!(sender.send(2).unwrap_err().0, 2);
    /// ```
    #[inline(always)]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        // There is always room, so this is the whole of `put` without its wait.
        self.shared
            .core
            .put(message, Patience::None)
            .map_err(|refused| SendError(refused.into_item()))
    }
}

impl<T> SyncSender<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        SyncSender { shared }
    }

    pub(crate) fn core(&self) -> &Core<Fifo<T>> {
        &self.shared.core
    }

    /// Sends a message, waiting while the channel is full; with a bound of 0, until the message has been received.
    ///
    /// # Errors
    ///
    /// When the receiver is gone, also when it goes while this waits; the message is in the error.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = greenhub::sync::mpsc::sync_channel(1);
    /// sender.send(1).unwrap();
    /// let waiting = greenhub::spawn(move || sender.send(2));
    /// greenhub::yield_now();
    /// drop(receiver);
    /// assert_eq!(waiting.join().unwrap().unwrap_err().0, 2);
    /// ```
    #[inline(always)]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.shared
            .core
            .put(message, Patience::Forever)
            .map_err(|refused| SendError(refused.into_item()))
    }

    /// Sends a message if that is possible without waiting: there is room, or somebody waits to receive.
    ///
    /// # Errors
    ///
    /// When there is no room, and when the receiver is gone; the message is in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::sync::mpsc::{TrySendError, sync_channel};
    ///
    /// let (sender, receiver) = sync_channel(1);
    /// sender.try_send(1).unwrap();
    /// assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    /// drop(receiver);
    /// assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));
    /// ```
    #[inline(always)]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.shared
            .core
            .put(message, Patience::None)
            .map_err(|refused| match refused {
                Refused::Full(message) => TrySendError::Full(message),
                Refused::Closed(message) => TrySendError::Disconnected(message),
            })
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender::new(self.shared.add_sender())
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> Self {
        SyncSender::new(self.shared.add_sender())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.remove_sender();
    }
}

impl<T> Drop for SyncSender<T> {
    fn drop(&mut self) {
        self.shared.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncSender").finish_non_exhaustive()
    }
}
