//! What can keep an item from being put or got. Shaped after the errors of [`std::sync::mpsc`].

use std::error::Error;
use std::fmt;

use super::core::{Nothing, Refused};

const FULL: &str = "the queue is full";
const EMPTY: &str = "the queue is empty";
const PUT_CLOSED: &str = "the queue is closed";
const GET_CLOSED: &str = "the queue is empty and closed";
const PUT_TIMEOUT: &str = "the queue was full until the timeout";
const GET_TIMEOUT: &str = "the queue was empty until the timeout";

/// The error of `put`: the queue is closed. The item was not put, and is in here.
///
/// # Examples
///
/// ```
/// let queue = greenhub::queue::Queue::new();
/// queue.close();
/// let error = queue.put(7).unwrap_err();
/// assert_eq!(error.0, 7);
/// assert_eq!(error.to_string(), "the queue is closed");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PutError<T>(pub T);

/// The error of `try_put`. The item was not put, and is in here.
///
/// # Examples
///
/// ```
/// use greenhub::queue::{Queue, TryPutError};
///
/// let queue = Queue::bounded(1);
/// queue.put(1).unwrap();
/// assert_eq!(queue.try_put(2), Err(TryPutError::Full(2)));
/// queue.close();
/// assert_eq!(queue.try_put(2), Err(TryPutError::Closed(2)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TryPutError<T> {
    /// There is no room now.
    Full(T),
    /// The queue is closed.
    Closed(T),
}

/// The error of `put_timeout`. The item was not put, and is in here.
///
/// # Examples
///
/// ```
/// use greenhub::queue::{PutTimeoutError, Queue};
/// use std::time::Duration;
///
/// let queue = Queue::bounded(1);
/// queue.put(1).unwrap();
/// let error = queue.put_timeout(2, Duration::from_millis(1)).unwrap_err();
/// assert_eq!(error, PutTimeoutError::Timeout(2));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PutTimeoutError<T> {
    /// There was no room in time.
    Timeout(T),
    /// The queue is closed, or was while this waited.
    Closed(T),
}

/// The error of `get` and `peek`: the queue is closed, and everything that was in it has been taken out.
///
/// # Examples
///
/// ```
/// let queue = greenhub::queue::Queue::<u8>::new();
/// queue.close();
/// assert_eq!(queue.get(), Err(greenhub::queue::GetError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetError;

/// The error of `try_get` and `try_peek`.
///
/// # Examples
///
/// ```
/// use greenhub::queue::{Queue, TryGetError};
///
/// let queue = Queue::<u8>::new();
/// assert_eq!(queue.try_get(), Err(TryGetError::Empty));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryGetError {
    /// There is no item now.
    Empty,
    /// The queue is closed, and everything that was in it has been taken out.
    Closed,
}

/// The error of `get_timeout` and `peek_timeout`.
///
/// # Examples
///
/// ```
/// use greenhub::queue::{GetTimeoutError, Queue};
/// use std::time::Duration;
///
/// let queue = Queue::<u8>::new();
/// let error = queue.get_timeout(Duration::from_millis(1)).unwrap_err();
/// assert_eq!(error, GetTimeoutError::Timeout);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetTimeoutError {
    /// There was no item in time.
    Timeout,
    /// The queue is closed, and everything that was in it has been taken out.
    Closed,
}

impl<T> PutError<T> {
    /// The item.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenhub::queue::PutError(7).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> TryPutError<T> {
    /// The item.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenhub::queue::TryPutError::Full(7).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TryPutError::Full(item) | TryPutError::Closed(item) => item,
        }
    }
}

impl<T> PutTimeoutError<T> {
    /// The item.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenhub::queue::PutTimeoutError::Timeout(7).into_inner(), 7);
    /// ```
    #[inline(always)]
    pub fn into_inner(self) -> T {
        match self {
            PutTimeoutError::Timeout(item) | PutTimeoutError::Closed(item) => item,
        }
    }
}

// Items need not be `Debug`, as with std's channels.
impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PutError(..)")
    }
}

impl<T> fmt::Debug for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryPutError::Full(_) => "Full(..)",
            TryPutError::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Debug for PutTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutTimeoutError::Timeout(_) => "Timeout(..)",
            PutTimeoutError::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PUT_CLOSED)
    }
}

impl<T> fmt::Display for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryPutError::Full(_) => FULL,
            TryPutError::Closed(_) => PUT_CLOSED,
        })
    }
}

impl<T> fmt::Display for PutTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutTimeoutError::Timeout(_) => PUT_TIMEOUT,
            PutTimeoutError::Closed(_) => PUT_CLOSED,
        })
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(GET_CLOSED)
    }
}

impl fmt::Display for TryGetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryGetError::Empty => EMPTY,
            TryGetError::Closed => GET_CLOSED,
        })
    }
}

impl fmt::Display for GetTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GetTimeoutError::Timeout => GET_TIMEOUT,
            GetTimeoutError::Closed => GET_CLOSED,
        })
    }
}

impl<T> Error for PutError<T> {}
impl<T> Error for TryPutError<T> {}
impl<T> Error for PutTimeoutError<T> {}
impl Error for GetError {}
impl Error for TryGetError {}
impl Error for GetTimeoutError {}

impl<T> From<Refused<T>> for TryPutError<T> {
    #[inline(always)]
    fn from(refused: Refused<T>) -> Self {
        match refused {
            Refused::Full(item) => TryPutError::Full(item),
            Refused::Closed(item) => TryPutError::Closed(item),
        }
    }
}

impl<T> From<Refused<T>> for PutTimeoutError<T> {
    #[inline(always)]
    fn from(refused: Refused<T>) -> Self {
        match refused {
            Refused::Full(item) => PutTimeoutError::Timeout(item),
            Refused::Closed(item) => PutTimeoutError::Closed(item),
        }
    }
}

impl From<Nothing> for TryGetError {
    #[inline(always)]
    fn from(nothing: Nothing) -> Self {
        match nothing {
            Nothing::Empty => TryGetError::Empty,
            Nothing::Closed => TryGetError::Closed,
        }
    }
}

impl From<Nothing> for GetTimeoutError {
    #[inline(always)]
    fn from(nothing: Nothing) -> Self {
        match nothing {
            Nothing::Empty => GetTimeoutError::Timeout,
            Nothing::Closed => GetTimeoutError::Closed,
        }
    }
}

impl<T> From<PutError<T>> for TryPutError<T> {
    fn from(error: PutError<T>) -> Self {
        TryPutError::Closed(error.0)
    }
}

impl<T> From<PutError<T>> for PutTimeoutError<T> {
    fn from(error: PutError<T>) -> Self {
        PutTimeoutError::Closed(error.0)
    }
}

impl From<GetError> for TryGetError {
    fn from(GetError: GetError) -> Self {
        TryGetError::Closed
    }
}

impl From<GetError> for GetTimeoutError {
    fn from(GetError: GetError) -> Self {
        GetTimeoutError::Closed
    }
}
