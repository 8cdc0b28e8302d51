//! Events and results that any number of tasks may wait for: gevent's `event` module.
//!
//! | gevent                                | here                                                                    |
//! |---------------------------------------|-------------------------------------------------------------------------|
//! | `Event`: `set`, `clear`, `is_set`     | [`Event::set`], [`Event::clear`], [`Event::is_set`]                     |
//! | `Event.wait()`, `wait(timeout)`       | [`Event::wait`], [`Event::wait_timeout`]                                |
//! | `AsyncResult`: `set`, `set_exception` | [`AsyncResult::set`], [`set_ok`](AsyncResult::set_ok), [`set_error`](AsyncResult::set_error) |
//! | `AsyncResult.get()`, `get(timeout=t)` | [`AsyncResult::get`], [`AsyncResult::get_timeout`]                      |
//! | `get_nowait()`, `ready()`             | [`AsyncResult::try_get`], [`AsyncResult::is_ready`]                     |
//! | `successful()`, `exception`           | `is_ok`, `err` of the result that `get` returns a reference to          |
//!
//! Both may be used from any thread (`AsyncResult` if its value may), by reference: in an `Rc`, an `Arc`, a scope or a `static`.
//!
//! Each is a wait queue and a flag. The flag of an event is in the queue's value; that of a result is the `OnceLock` that holds it,
//! which is set before the lock is taken to notify, and looked at again under the lock before waiting.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::park::TimedOut;
use crate::task::Reason;
use crate::wait_queue::WaitQueue;

const SET: &str = "an event to be set (event::Event)";
const READY: &str = "a result (event::AsyncResult)";

/// A flag that one can wait for.
///
/// # Examples
///
/// ```
/// use greenhub::event::Event;
/// use std::rc::Rc;
///
/// let event = Rc::new(Event::new());
/// let waiters: Vec<_> = (0..3)
///     .map(|_| {
///         let event = Rc::clone(&event);
///         greenhub::spawn(move || event.wait())
///     })
///     .collect();
/// event.set();
/// greenhub::joinall(waiters);
/// ```
pub struct Event {
    is_set: WaitQueue<bool>,
}

// There is nothing that a panic could leave half done.
impl UnwindSafe for Event {}
impl RefUnwindSafe for Event {}

impl Event {
    /// An event that is not set.
    ///
    /// # Examples
    ///
    /// ```
    /// static READY: greenhub::event::Event = greenhub::event::Event::new();
    /// assert!(!READY.is_set());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Event {
            is_set: WaitQueue::new(false),
        }
    }

    /// Sets the flag. All who wait now go on, even if it is cleared before they run.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::event::Event;
    ///
    /// let event = Event::new();
    /// greenhub::thread::scope(|scope| {
    ///     scope.spawn(|| event.wait());
    ///     greenhub::yield_now();
    ///     event.set();
    ///     event.clear();
    /// });
    /// assert!(!event.is_set());
    /// ```
    pub fn set(&self) {
        let mut is_set = self.is_set.lock();
        *is_set = true;
        is_set.notify_all();
    }

    /// Clears the flag: who comes from now on waits.
    ///
    /// # Examples
    ///
    /// ```
    /// let event = greenhub::event::Event::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    pub fn clear(&self) {
        *self.is_set.lock() = false;
    }

    /// Whether the flag is set.
    ///
    /// # Examples
    ///
    /// ```
    /// let event = greenhub::event::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.is_set.lock()
    }

    /// Waits until the flag is set. Returns at once if it is.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let event = Rc::new(greenhub::event::Event::new());
    /// let setter = Rc::clone(&event);
    /// greenhub::spawn(move || setter.set());
    /// event.wait();
    /// ```
    #[inline(always)]
    pub fn wait(&self) {
        let _ = self.wait_until(None);
    }

    /// As [`wait`](Event::wait), but no longer than `timeout`. Returns whether the flag was set in time. A timeout that is too
    /// large to be represented as a point in time never passes.
    ///
    /// # Panics
    ///
    /// As `wait`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event = greenhub::event::Event::new();
    /// assert!(!event.wait_timeout(Duration::from_millis(1)));
    /// event.set();
    /// assert!(event.wait_timeout(Duration::ZERO));
    /// ```
    #[must_use = "the flag may not be set"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Instant::now().checked_add(timeout)).is_ok()
    }

    #[inline(always)]
    fn wait_until(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        let is_set = self.is_set.lock();
        if *is_set {
            return Ok(());
        }
        is_set.wait(Reason::On(&SET), deadline)
    }

    /// The flag, and those who wait for it to be set.
    pub(crate) fn waiters(&self) -> &WaitQueue<bool> {
        &self.is_set
    }
}

impl Default for Event {
    fn default() -> Self {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .finish()
    }
}

/// A value that is set once, and that any number of tasks may wait for.
///
/// `get` returns a reference, which lives as long as the result is borrowed, since the value never changes. What can fail is a
/// result of a `Result`: see [`set_ok`](AsyncResult::set_ok) and [`set_error`](AsyncResult::set_error).
///
/// Nothing tells those who wait that nobody is left who could set the value; with a limit on their patience they use
/// [`get_timeout`](AsyncResult::get_timeout).
///
/// # Differences from gevent
///
/// A value can be set once. gevent lets a later `set` replace an earlier one, which those who have got that may never learn.
///
/// # Examples
///
/// ```
/// use greenhub::event::AsyncResult;
/// use std::rc::Rc;
///
/// let answer = Rc::new(AsyncResult::new());
/// let readers: Vec<_> = (0..3)
///     .map(|_| {
///         let answer = Rc::clone(&answer);
///         greenhub::spawn(move || answer.get() + 1)
///     })
///     .collect();
/// answer.set(41).unwrap();
/// for reader in readers {
///     assert_eq!(reader.join().unwrap(), 42);
/// }
/// ```
pub struct AsyncResult<T> {
    value: OnceLock<T>,
    waiters: WaitQueue<()>,
}

impl<T: UnwindSafe> UnwindSafe for AsyncResult<T> {}
impl<T: UnwindSafe + RefUnwindSafe> RefUnwindSafe for AsyncResult<T> {}

impl<T> AsyncResult<T> {
    /// A result that is not there yet.
    ///
    /// # Examples
    ///
    /// ```
    /// static RESULT: greenhub::event::AsyncResult<u8> = greenhub::event::AsyncResult::new();
    /// assert!(!RESULT.is_ready());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        AsyncResult {
            value: OnceLock::new(),
            waiters: WaitQueue::new(()),
        }
    }

    /// Sets the value. All who wait for it go on.
    ///
    /// # Errors
    ///
    /// When it has been set before; `value` is given back.
    ///
    /// # Examples
    ///
    /// ```
    /// let result = greenhub::event::AsyncResult::new();
    /// assert_eq!(result.set(1), Ok(()));
    /// assert_eq!(result.set(2), Err(2));
    /// assert_eq!(*result.get(), 1);
    /// ```
    pub fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)?;
        self.waiters.lock().notify_all();
        Ok(())
    }

    /// Waits for the value. Returns at once if it is there.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let result = Rc::new(greenhub::event::AsyncResult::new());
    /// let setter = Rc::clone(&result);
    /// greenhub::spawn(move || setter.set("value"));
    /// assert_eq!(*result.get(), "value");
    /// ```
    #[inline(always)]
    pub fn get(&self) -> &T {
        loop {
            if let Ok(value) = self.get_until(None) {
                return value;
            }
        }
    }

    /// As [`get`](AsyncResult::get), but waits no longer than `timeout`; `None` when it has passed. A timeout that is too large
    /// to be represented as a point in time never passes.
    ///
    /// # Panics
    ///
    /// As `get`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let result = greenhub::event::AsyncResult::new();
    /// assert_eq!(result.get_timeout(Duration::from_millis(1)), None);
    /// result.set(1).unwrap();
    /// assert_eq!(result.get_timeout(Duration::ZERO), Some(&1));
    /// ```
    #[must_use]
    pub fn get_timeout(&self, timeout: Duration) -> Option<&T> {
        self.get_until(Instant::now().checked_add(timeout)).ok()
    }

    /// The value, if it is there.
    ///
    /// # Examples
    ///
    /// ```
    /// let result = greenhub::event::AsyncResult::new();
    /// assert_eq!(result.try_get(), None);
    /// result.set(1).unwrap();
    /// assert_eq!(result.try_get(), Some(&1));
    /// ```
    #[must_use]
    pub fn try_get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Whether the value is there.
    ///
    /// # Examples
    ///
    /// ```
    /// let result = greenhub::event::AsyncResult::new();
    /// result.set(1).unwrap();
    /// assert!(result.is_ready());
    /// ```
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.value.get().is_some()
    }

    /// The value, if it is there.
    ///
    /// # Examples
    ///
    /// ```
    /// let result = greenhub::event::AsyncResult::new();
    /// result.set(String::from("value")).unwrap();
    /// assert_eq!(result.into_inner().unwrap(), "value");
    /// ```
    #[must_use]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    #[inline(always)]
    fn get_until(&self, deadline: Option<Instant>) -> Result<&T, TimedOut> {
        loop {
            if let Some(value) = self.value.get() {
                return Ok(value);
            }
            let waiters = self.waiters.lock();
            // Whoever has set the value takes the lock after that, so it is seen here or notified for.
            if self.value.get().is_none() {
                waiters.wait(Reason::On(&READY), deadline)?;
            }
        }
    }

    /// Those who wait for the value.
    pub(crate) fn waiters(&self) -> &WaitQueue<()> {
        &self.waiters
    }
}

impl<T, E> AsyncResult<Result<T, E>> {
    /// Sets the value to `Ok(value)`, as [`set`](AsyncResult::set).
    ///
    /// # Errors
    ///
    /// When a value or an error has been set before; `value` is given back.
    ///
    /// # Examples
    ///
    /// ```
    /// let result = greenhub::event::AsyncResult::<Result<i32, String>>::new();
    /// result.set_ok(1).unwrap();
    /// assert_eq!(result.get(), &Ok(1));
    /// ```
    pub fn set_ok(&self, value: T) -> Result<(), T> {
        self.set(Ok(value)).map_err(|value| match value {
            Ok(value) => value,
            Err(_) => unreachable!("what is given back is what was given"),
        })
    }

    /// Sets the value to `Err(error)`: gevent's `set_exception`.
    ///
    /// # Errors
    ///
    /// When a value or an error has been set before; `error` is given back.
    ///
    /// # Examples
    ///
    /// ```
    /// let result = greenhub::event::AsyncResult::<Result<i32, String>>::new();
    /// result.set_error(String::from("no")).unwrap();
    /// assert_eq!(result.get().as_ref().unwrap_err(), "no");
    /// ```
    pub fn set_error(&self, error: E) -> Result<(), E> {
        self.set(Err(error)).map_err(|value| match value {
            Err(error) => error,
            Ok(_) => unreachable!("what is given back is what was given"),
        })
    }
}

impl<T> Default for AsyncResult<T> {
    fn default() -> Self {
        AsyncResult::new()
    }
}

impl<T> From<T> for AsyncResult<T> {
    /// A result that is there already.
    fn from(value: T) -> Self {
        let result = AsyncResult::new();
        let _ = result.value.set(value);
        result
    }
}

impl<T: fmt::Debug> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncResult").field(&self.try_get()).finish()
    }
}
