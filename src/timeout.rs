//! Time limits around any blocking code.
//!
//! When a limit passes, the task that is subject to it unwinds from where it waits, with a payload that names the limit, and
//! the owner of the limit catches that payload and no other. So limits nest in any order: an inner one never takes what
//! was meant for an outer one, and of several that have passed the outermost is unwound to.
#![allow(unsafe_code)]

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::hub;
use crate::park::Expired;
use crate::task::{Limit, TaskRef};
use crate::unwind::require_unwinding;

/// A time limit has passed before the code it was set for had finished.
///
/// Converts into an [`io::Error`] of kind `TimedOut`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let result = greenhub::timeout(Duration::from_millis(1), greenhub::thread::park);
/// let error: std::io::Error = result.unwrap_err().into();
/// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit has passed")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}

/// Runs `f`, but for no longer than `limit`: a [`Duration`], or an `Option` of one, where `None` means without limit.
///
/// When the limit passes while `f` waits, in whatever call, `f` is unwound from there, destructors run, and the result is
/// `Err(Elapsed)`. Code that computes is not interrupted; it meets the limit when it next waits. A limit of zero is met
/// at the first call that waits or lets others run, and `f` still returns `Ok` if it makes none. When `f` returns, its
/// value is the result, however late.
///
/// Limits may be nested in any order, each returns `Elapsed` only for itself. A kill of the green thread passes through. Locks
/// whose guards `f` held are poisoned, as by a panic.
///
/// While the green thread unwinds, limits from outside of the destructor that runs are put off, as they are in a
/// [`shielded`](crate::thread::shielded) section. Those set inside count: a destructor may bound what it does.
///
/// # Errors
///
/// [`Elapsed`] when the limit has passed.
///
/// # Panics
///
/// Resumes the panic of `f`. Panics in programs that are built with `panic = "abort"`, because `f` could not be unwound.
///
/// # Examples
///
/// ```
/// use greenhub::{sleep, timeout};
/// use std::time::Duration;
///
/// const SHORT: Duration = Duration::from_millis(2);
/// const LONG: Duration = Duration::from_secs(60);
///
/// assert_eq!(timeout(LONG, || 42), Ok(42));
/// assert!(timeout(SHORT, || sleep(LONG)).is_err());
/// // The outer limit passes: the inner one does not take it for its own.
/// assert!(timeout(SHORT, || timeout(LONG, || sleep(LONG))).is_err());
/// assert_eq!(timeout(LONG, || timeout(SHORT, || sleep(LONG)).is_err()), Ok(true));
/// ```
pub fn timeout<T>(limit: impl Into<Option<Duration>>, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    let end = limit
        .into()
        .and_then(|limit| Instant::now().checked_add(limit));
    match end {
        Some(end) => deadline(end, f),
        None => Ok(f()),
    }
}

/// As [`timeout`], with a point in time.
///
/// # Errors
///
/// As `timeout`.
///
/// # Panics
///
/// As `timeout`.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let end = Instant::now() + Duration::from_millis(2);
/// let result = greenhub::deadline(end, || greenhub::sleep(Duration::from_secs(60)));
/// assert!(result.is_err());
/// assert!(Instant::now() >= end);
/// ```
pub fn deadline<T>(deadline: Instant, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    require_unwinding("a time limit");
    let hub = hub::here();
    let task = hub.running();
    let limit = Limit::time(hub.next_id(), deadline);
    let was_unwinding = hub.is_unwinding(task);
    let aside = Limit::aside();
    if was_unwinding {
        // A destructor bounds what it does. It may be unwound up to here, as nothing of that leaves the destructor.
        // SAFETY: it stays where it is until it is taken up again below, which nothing gets past.
        unsafe { hub.put_unwinding_aside(task, &aside) };
    }
    // SAFETY: the limit stays where it is until `unset_limit` below, which nothing gets past, and which unlinks it.
    unsafe { hub.set_limit(task, &limit) };
    let result = catch_unwind(AssertUnwindSafe(f));
    hub.unset_limit(task, &limit);
    if was_unwinding {
        hub.take_unwinding_up(task, &aside);
    }
    match result {
        Ok(value) => Ok(value),
        Err(payload) if is_for(&*payload, &limit) => {
            drop(payload);
            task.unwinding.set(was_unwinding);
            Err(Elapsed)
        }
        Err(payload) => resume_unwind(payload),
    }
}

fn is_for(payload: &(dyn Any + Send), limit: &Limit) -> bool {
    payload
        .downcast_ref::<Expired>()
        .is_some_and(|expired| Some(expired.0) == limit.id())
}

/// How long the caller may still take: until the first of the time limits that it is subject to passes. `None` without
/// limit, zero when one has passed.
///
/// For callees that can do with less time than they would like, or that pass their limit on to another process.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(greenhub::time_left(), None);
/// let limit = Duration::from_secs(5);
/// let left = greenhub::timeout(limit, greenhub::time_left).unwrap();
/// assert!(left.unwrap() <= limit);
/// ```
#[must_use]
pub fn time_left() -> Option<Duration> {
    let hub = hub::here();
    let first = hub.running().first_deadline()?;
    Some(first.saturating_duration_since(Instant::now()))
}

/// A time limit for the rest of a block, in gevent's form: it counts from [`start`](Timeout::start) until the value is
/// dropped.
///
/// When it passes, the green thread that started it unwinds from where it waits. [`timeout`] catches that by itself and is
/// what most code wants; with this type, the catching is up to the code around: see [`caught`](Timeout::caught). A green
/// thread that does not catch it ends as if it were [killed](crate::thread::Killed) with an [`Elapsed`] as payload.
///
/// It belongs to the green thread that started it, also when another one drops it; forgetting it does not stop it. In
/// the root, where nobody is left to catch it, it ends the OS thread, as a panic without a message.
///
/// Started while a destructor runs in the midst of unwinding, it counts only inside of a [`timeout`] there.
///
/// # Examples
///
/// ```
/// use greenhub::thread::Killed;
/// use std::time::Duration;
///
/// let handle = greenhub::spawn(|| {
///     let _limit = greenhub::Timeout::start(Duration::from_millis(2));
///     greenhub::sleep(Duration::from_secs(60));
/// });
/// let killed = handle.join().unwrap_err().downcast::<Killed>().unwrap();
/// assert!(killed.payload().unwrap().is::<greenhub::Elapsed>());
/// ```
#[must_use = "the limit ends when the value is dropped"]
pub struct Timeout {
    /// Made by a box, but not kept in one: a box would claim that nobody else reaches the limit, as its task does.
    limit: NonNull<Limit>,
    task: TaskRef,
    /// It is used on the thread of its task's hub only.
    not_send: PhantomData<*const ()>,
}

impl Timeout {
    /// Starts a time limit for the calling green thread, or root.
    ///
    /// # Panics
    ///
    /// As [`timeout`].
    ///
    /// # Examples
    ///
    /// ```
    /// let limit = greenhub::Timeout::start(std::time::Duration::from_secs(5));
    /// greenhub::yield_now();
    /// drop(limit);
    /// ```
    pub fn start(limit: Duration) -> Timeout {
        require_unwinding("a time limit");
        let hub = hub::here();
        let task = TaskRef::of(hub.running());
        let limit = Limit::time(hub.next_id(), crate::thread::after(limit));
        let limit = NonNull::from(Box::leak(Box::new(limit)));
        // SAFETY: the limit stays until `drop`, which unlinks it; if that is forgotten, for ever.
        unsafe { hub.set_limit(&task, limit.as_ref()) };
        Timeout {
            limit,
            task,
            not_send: PhantomData,
        }
    }

    /// Whether the limit has passed.
    ///
    /// # Examples
    ///
    /// ```
    /// let limit = greenhub::Timeout::start(std::time::Duration::from_secs(5));
    /// assert!(!limit.is_expired());
    /// ```
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.limit().expired.get() || self.deadline() <= Instant::now()
    }

    /// Whether `payload`, which came out of [`catch_unwind`](std::panic::catch_unwind), was sent by this limit. What was not
    /// should be resumed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::panic::{catch_unwind, resume_unwind};
    /// use std::time::Duration;
    ///
    /// let limit = greenhub::Timeout::start(Duration::from_millis(2));
    /// match catch_unwind(|| greenhub::sleep(Duration::from_secs(60))) {
    ///     Ok(()) => unreachable!("nobody sleeps for so long"),
    ///     Err(payload) if limit.caught(&*payload) => drop(limit),
    ///     Err(payload) => resume_unwind(payload),
    /// }
    /// greenhub::yield_now();
    /// ```
    #[must_use]
    pub fn caught(&self, payload: &(dyn Any + Send)) -> bool {
        is_for(payload, self.limit())
    }

    fn limit(&self) -> &Limit {
        // SAFETY: it stays until `drop`.
        unsafe { self.limit.as_ref() }
    }

    fn deadline(&self) -> Instant {
        self.limit().deadline().expect("it is a limit in time")
    }
}

impl Drop for Timeout {
    fn drop(&mut self) {
        // The hub of this thread is that of the task, because the value never leaves the thread. Without a hub, the thread is
        // ending and the limit has been unlinked.
        hub::unset_limit(&self.task, self.limit());
        // SAFETY: `start` made the box, and nobody reaches the limit any more.
        drop(unsafe { Box::from_raw(self.limit.as_ptr()) });
    }
}

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("deadline", &self.deadline())
            .field("expired", &self.limit().expired.get())
            .finish_non_exhaustive()
    }
}
