//! Handles to green threads.
#![allow(unsafe_code)]

use std::fmt;
use std::time::{Duration, Instant};

use super::packet::PacketRef;
use super::{Result, Thread};

/// An owned permission to join on a green thread: to wait for its end and take its result.
///
/// Dropping a handle detaches the green thread, which goes on running.
///
/// The handle of a green thread whose result is `Send` may be sent to other OS threads and joined there.
///
/// # Differences from std
///
/// The handle is `Send` only if `T` is, because `T` need not be. There is no `as_pthread_t`.
///
/// # Examples
///
/// ```
/// let handle = greenhub::spawn(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// ```
pub struct JoinHandle<T> {
    packet: PacketRef<T>,
}

// SAFETY: a handle gives access to the result (`Send`), to the `Thread` (`Send + Sync`), and to waiting, which the packet
// does without a lock only on the green thread's own OS thread.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: as above; through a shared handle one can wait, but not take the result.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    pub(super) fn new(packet: PacketRef<T>) -> Self {
        JoinHandle { packet }
    }

    /// The green thread that this handle belongs to.
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::spawn(greenhub::thread::park);
    /// handle.thread().unpark();
    /// handle.join().unwrap();
    /// ```
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.packet.thread()
    }

    /// Waits for the green thread to finish and returns its result.
    ///
    /// # Errors
    ///
    /// `Err` with the payload of the panic if the green thread panicked, or with a [`Killed`](super::Killed) if it was
    /// ended before it could finish.
    ///
    /// # Panics
    ///
    /// Panics when a green thread joins itself, and in the root context when a deadlock is found (see the crate's
    /// documentation).
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::spawn(|| -> u32 { panic!("no result") });
    /// let payload = handle.join().unwrap_err();
    /// assert_eq!(*payload.downcast::<&str>().unwrap(), "no result");
    /// ```
    // Inlined for the sake of the processor's return prediction, as `Hub::switch_out` explains.
    #[inline(always)]
    pub fn join(self) -> Result<T> {
        let _ = self.packet.wait(None);
        self.packet.into_result()
    }

    /// As [`join`](JoinHandle::join), but waits no longer than `timeout`. A timeout that is too large to be represented as
    /// a point in time never passes.
    ///
    /// # Errors
    ///
    /// The outer `Err` gives the handle back when the green thread has not finished in time.
    ///
    /// # Panics
    ///
    /// As `join`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let handle = greenhub::spawn(|| greenhub::sleep(Duration::from_millis(20)));
    /// let handle = handle.join_timeout(Duration::from_millis(1)).expect_err("not finished yet");
    /// handle.join().unwrap();
    /// ```
    pub fn join_timeout(self, timeout: Duration) -> std::result::Result<Result<T>, Self> {
        match self.packet.wait(Instant::now().checked_add(timeout)) {
            Ok(()) => Ok(self.packet.into_result()),
            Err(_) => Err(self),
        }
    }

    /// Whether the green thread has finished, so that `join` would not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::spawn(|| ());
    /// assert!(!handle.is_finished(), "spawn does not run it yet");
    /// greenhub::yield_now();
    /// assert!(handle.is_finished());
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.packet.is_finished()
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").finish_non_exhaustive()
    }
}
