//! How a green thread ended, as its joiners see it.

use std::any::Any;
use std::fmt;

use super::Result;

/// What the joiners of a killed green thread get: the payload of the `Err`.
///
/// Green threads are killed by [`JoinHandle::kill`](super::JoinHandle::kill) and its siblings, with their scope, and at the
/// end of their OS thread. They unwind from where they wait, and their destructors run.
///
/// # Examples
///
/// ```
/// use greenhub::thread::{self, Killed};
///
/// let handle = greenhub::spawn(thread::park);
/// handle.kill();
/// assert!(handle.join().unwrap_err().is::<Killed>());
/// ```
pub struct Killed {
    payload: Option<Box<dyn Any + Send>>,
}

impl Killed {
    pub(crate) fn new(payload: Option<Box<dyn Any + Send>>) -> Killed {
        Killed { payload }
    }

    /// What was passed to [`JoinHandle::kill_with`](super::JoinHandle::kill_with), or an [`Elapsed`](crate::Elapsed) when it
    /// was a [`Timeout`](crate::Timeout) that ended the green thread.
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::spawn(greenhub::thread::park);
    /// handle.kill_with("no longer needed");
    /// let killed = handle.join().unwrap_err().downcast::<greenhub::thread::Killed>().unwrap();
    /// assert_eq!(killed.payload().unwrap().downcast_ref(), Some(&"no longer needed"));
    /// ```
    #[must_use]
    pub fn payload(&self) -> Option<&(dyn Any + Send)> {
        self.payload.as_deref()
    }

    /// As [`payload`](Killed::payload), by value.
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::spawn(greenhub::thread::park);
    /// handle.kill();
    /// let killed = handle.join().unwrap_err().downcast::<greenhub::thread::Killed>().unwrap();
    /// assert!(killed.into_payload().is_none());
    /// ```
    #[must_use]
    pub fn into_payload(self) -> Option<Box<dyn Any + Send>> {
        self.payload
    }
}

impl fmt::Debug for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Killed")
            .field("has_payload", &self.payload.is_some())
            .finish()
    }
}

/// The three ways in which a green thread can end, told apart from the result of a `join`.
///
/// # Examples
///
/// ```
/// use greenhub::thread::Outcome;
///
/// let handle = greenhub::spawn(|| 42);
/// match handle.join().into() {
///     Outcome::Returned(value) => assert_eq!(value, 42),
///     Outcome::Killed(_) => unreachable!("nobody kills it"),
///     Outcome::Panicked(_) => unreachable!("it does not panic"),
/// }
/// ```
#[derive(Debug)]
pub enum Outcome<T> {
    /// It ran to its end; here is its result.
    Returned(T),
    /// It was killed before it got there.
    Killed(Killed),
    /// It panicked, with this payload.
    Panicked(Box<dyn Any + Send>),
}

/// How a green thread ended, as its links see it: they get no result, because that belongs to the one who joins.
///
/// # Examples
///
/// ```
/// use greenhub::thread::Ending;
///
/// let handle = greenhub::spawn(greenhub::thread::park);
/// handle.link(|_, ending| assert_eq!(ending, Ending::Killed));
/// handle.kill();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It ran to its end.
    Returned,
    /// It was killed before it got there.
    Killed,
    /// It panicked.
    Panicked,
}

impl<T> From<Result<T>> for Outcome<T> {
    fn from(result: Result<T>) -> Outcome<T> {
        match result {
            Ok(value) => Outcome::Returned(value),
            Err(payload) => match payload.downcast() {
                Ok(killed) => Outcome::Killed(*killed),
                Err(payload) => Outcome::Panicked(payload),
            },
        }
    }
}
