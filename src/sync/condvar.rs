//! Condition variables: a line of tasks that have let go of a mutex.
//!
//! A task gets into the line before it lets go of the mutex, so whoever takes the mutex next can notify it. It is that
//! moment which makes a notification be for those who waited, in the order of their arrival. All functions may be
//! called from any thread.

use std::fmt;
use std::mem::{self, ManuallyDrop};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

use super::MutexGuard;
use crate::park::TimedOut;
use crate::task::Reason;
use crate::wait_queue::WaitQueue;

const REASON: Reason = Reason::On(&"a notification (sync::Condvar)");

/// Lets green threads, and OS threads, wait for an event while they have let go of a [`Mutex`](super::Mutex):
/// [`std::sync::Condvar`].
///
/// A notification goes to who has waited longest and is still there: one that is killed or times out does not take it
/// along. That holds also for one that is killed after the notification, while it waits for the mutex; it passes it on.
///
/// # Differences from std
///
/// Waiting with different mutexes works; std reserves the right to panic there.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
/// use greenhub::sync::{Condvar, Mutex};
///
/// let pair = Rc::new((Mutex::new(false), Condvar::new()));
/// let theirs = Rc::clone(&pair);
/// greenhub::spawn(move || {
///     *theirs.0.lock().unwrap() = true;
///     theirs.1.notify_one();
/// });
/// let mut started = pair.0.lock().unwrap();
/// while !*started {
///     started = pair.1.wait(started).unwrap();
/// }
/// ```
pub struct Condvar {
    waiters: WaitQueue<()>,
}

impl UnwindSafe for Condvar {}
impl RefUnwindSafe for Condvar {}

/// Whether a wait with a time limit ended because of it: [`std::sync::WaitTimeoutResult`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenhub::sync::{Condvar, Mutex};
///
/// let mutex = Mutex::new(());
/// let guard = mutex.lock().unwrap();
/// let (_guard, result) = Condvar::new().wait_timeout(guard, Duration::from_millis(1)).unwrap();
/// assert!(result.timed_out());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time had passed before a notification came.
    ///
    /// # Examples
    ///
    /// See the type's.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// A condition variable that nobody waits for.
    ///
    /// # Examples
    ///
    /// ```
    /// static CHANGED: greenhub::sync::Condvar = greenhub::sync::Condvar::new();
    /// CHANGED.notify_all();
    /// ```
    #[must_use]
    #[inline]
    pub const fn new() -> Condvar {
        Condvar {
            waiters: WaitQueue::new(()),
        }
    }

    /// Lets go of the mutex, waits for a notification, and takes the mutex again.
    ///
    /// A green thread that is killed or times out here unwinds without the mutex, which is not poisoned by that.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned when it is taken again; the guard is in the error.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// See the type's.
    #[inline(always)]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        MutexGuard::retaken(self.wait_until(guard, None).0)
    }

    /// Waits, as [`wait`](Condvar::wait) does, while `condition` is true of the value.
    ///
    /// # Errors
    ///
    /// As `wait`.
    ///
    /// # Panics
    ///
    /// As `wait`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use greenhub::sync::{Condvar, Mutex};
    ///
    /// let pair = Rc::new((Mutex::new(true), Condvar::new()));
    /// let theirs = Rc::clone(&pair);
    /// greenhub::spawn(move || {
    ///     *theirs.0.lock().unwrap() = false;
    ///     theirs.1.notify_one();
    /// });
    /// let pending = pair.0.lock().unwrap();
    /// let pending = pair.1.wait_while(pending, |pending| *pending).unwrap();
    /// assert!(!*pending);
    /// ```
    pub fn wait_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait_timeout`](Condvar::wait_timeout), with the time in milliseconds; the `bool` is `false` if it passed.
    ///
    /// # Errors
    ///
    /// As `wait`.
    #[deprecated(
        since = "0.1.0",
        note = "replaced by `greenhub::sync::Condvar::wait_timeout`, as in std"
    )]
    pub fn wait_timeout_ms<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        ms: u32,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        match self.wait_timeout(guard, Duration::from_millis(ms.into())) {
            Ok((guard, result)) => Ok((guard, !result.timed_out())),
            Err(poisoned) => {
                let (guard, result) = poisoned.into_inner();
                Err(PoisonError::new((guard, !result.timed_out())))
            }
        }
    }

    /// As [`wait`](Condvar::wait), but waits for a notification no longer than `dur`. The mutex is taken again in
    /// either case, and that may take longer. A duration that is too long for a point in time never passes.
    ///
    /// # Errors
    ///
    /// As `wait`.
    ///
    /// # Panics
    ///
    /// As `wait`.
    ///
    /// # Examples
    ///
    /// See [`WaitTimeoutResult`].
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        dur: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let (guard, waited) = self.wait_until(guard, Instant::now().checked_add(dur));
        let result = WaitTimeoutResult(waited.is_err());
        match MutexGuard::retaken(guard) {
            Ok(guard) => Ok((guard, result)),
            Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), result))),
        }
    }

    /// As [`wait_while`](Condvar::wait_while), but no longer than `dur` in all.
    ///
    /// # Errors
    ///
    /// As `wait`.
    ///
    /// # Panics
    ///
    /// As `wait`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use greenhub::sync::{Condvar, Mutex};
    ///
    /// let mutex = Mutex::new(true);
    /// let guard = mutex.lock().unwrap();
    /// let (guard, result) = Condvar::new()
    ///     .wait_timeout_while(guard, Duration::from_millis(1), |pending| *pending)
    ///     .unwrap();
    /// assert!(*guard && result.timed_out());
    /// ```
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        dur: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        let start = Instant::now();
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            let Some(left) = dur.checked_sub(start.elapsed()) else {
                return Ok((guard, WaitTimeoutResult(true)));
            };
            guard = self.wait_timeout(guard, left)?.0;
        }
    }

    /// Ends the wait of the one that has waited longest, if there is one.
    ///
    /// # Examples
    ///
    /// See the type's.
    pub fn notify_one(&self) {
        self.waiters.lock().notify_one();
    }

    /// Ends the waits of all.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use greenhub::sync::{Condvar, Mutex};
    ///
    /// let pair = Rc::new((Mutex::new(()), Condvar::new()));
    /// let waiters: Vec<_> = (0..3)
    ///     .map(|_| {
    ///         let pair = Rc::clone(&pair);
    ///         greenhub::spawn(move || drop(pair.1.wait(pair.0.lock().unwrap()).unwrap()))
    ///     })
    ///     .collect();
    /// greenhub::yield_now();
    /// pair.1.notify_all();
    /// assert!(greenhub::joinall(waiters).iter().all(Result::is_ok));
    /// ```
    pub fn notify_all(&self) {
        self.waiters.lock().notify_all();
    }

    /// Waits, and returns the guard with the mutex taken again.
    #[inline(always)]
    fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, T>, Result<(), TimedOut>) {
        // Whatever unwinds below does so without the mutex.
        let guard = ManuallyDrop::new(guard);
        let (mutex, reason) = MutexGuard::raw(&guard);
        let waiters = self.waiters.lock();
        mutex.unlock_write();
        let waited = waiters.wait(REASON, deadline);
        if !mutex.try_write() {
            let notified = waited.is_ok().then_some(Notified(self));
            mutex.write(reason);
            mem::forget(notified);
        }
        (ManuallyDrop::into_inner(guard), waited)
    }
}

/// A notification whose receiver waits for the mutex. Dropped when it is cancelled there: somebody else may need to
/// know.
struct Notified<'a>(&'a Condvar);

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
