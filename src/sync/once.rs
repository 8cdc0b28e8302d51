//! Doing something once: who does it is in `Status`, and the others wait in its line.
//!
//! | status            | becomes                                                         | by whom                    |
//! |-------------------|-----------------------------------------------------------------|----------------------------|
//! | `New`, `Poisoned` | `Running`                                                       | the one whose closure runs |
//! | `Running`         | `Complete` when the closure returns, `Poisoned` when it unwinds | the same                   |
//! | `Complete`        | nothing else                                                    |                            |
//!
//! `completed` repeats `Complete` for those who only look. It is set before the waiters are notified. All functions may
//! be called from any thread.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::hub;
use crate::task::Reason;
use crate::wait_queue::WaitQueue;

const REASON: Reason = Reason::On(&"an initialisation by another (sync::Once)");

/// Runs something once, whoever comes first: [`std::sync::Once`].
///
/// The closure may wait; others that come meanwhile are suspended until it is done. A closure that panics, is killed or
/// runs into a timeout poisons the `Once`, as std's.
///
/// # Differences from std
///
/// A closure that calls `call_once` for the same `Once` panics; std leaves open what happens.
///
/// # Examples
///
/// ```
/// use greenhub::sync::Once;
///
/// static START: Once = Once::new();
/// let mut runs = 0;
/// for _ in 0..2 {
///     START.call_once(|| runs += 1);
/// }
/// assert_eq!(runs, 1);
/// ```
pub struct Once {
    /// `Acquire` here, against `Release` there, shows what the closure has done.
    completed: AtomicBool,
    status: WaitQueue<Status>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    New,
    Poisoned,
    /// By this context.
    Running(u64),
    Complete,
}

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// What the closure of [`Once::call_once_force`] learns: [`std::sync::OnceState`].
///
/// # Examples
///
/// ```
/// greenhub::sync::Once::new().call_once_force(|state| assert!(!state.is_poisoned()));
/// ```
pub struct OnceState {
    poisoned: bool,
}

impl OnceState {
    /// Whether an earlier closure unwound.
    ///
    /// # Examples
    ///
    /// See [`Once::call_once_force`].
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

#[allow(clippy::new_without_default, reason = "as std's")]
impl Once {
    /// One for which nothing has run yet.
    ///
    /// # Examples
    ///
    /// See the type's.
    #[must_use]
    #[inline]
    pub const fn new() -> Once {
        Once {
            completed: AtomicBool::new(false),
            status: WaitQueue::new(Status::New),
        }
    }

    /// Runs `f` if this is the first call, or waits until the first call's closure has ended.
    ///
    /// # Panics
    ///
    /// If a closure has unwound before or does so now, if called by the closure of this same `Once`, and, in the root
    /// context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// See the type's.
    #[inline]
    #[track_caller]
    pub fn call_once<F>(&self, f: F)
    where
        F: FnOnce(),
    {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(false, &mut |_| f.take().expect("called once")());
        }
    }

    /// As [`call_once`](Once::call_once), but runs `f` also if a closure has unwound before.
    ///
    /// # Panics
    ///
    /// As `call_once`, but for that.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use greenhub::sync::Once;
    ///
    /// let once = Rc::new(Once::new());
    /// let theirs = Rc::clone(&once);
    /// let _ = greenhub::spawn(move || theirs.call_once(|| panic!("not this time"))).join();
    /// once.call_once_force(|state| assert!(state.is_poisoned()));
    /// assert!(once.is_completed());
    /// ```
    #[inline]
    #[track_caller]
    pub fn call_once_force<F>(&self, f: F)
    where
        F: FnOnce(&OnceState),
    {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(true, &mut |state| f.take().expect("called once")(state));
        }
    }

    /// Whether a closure has run to its end. What it has done is then visible to the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// let once = greenhub::sync::Once::new();
    /// once.call_once(|| assert!(!once.is_completed()));
    /// assert!(once.is_completed());
    /// ```
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.completed.load(Ordering::Acquire)
    }

    /// Waits until a closure has run to its end.
    ///
    /// # Panics
    ///
    /// If a closure has unwound before or does so meanwhile, if called by the closure, and, in the root context, when a
    /// deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use greenhub::sync::Once;
    ///
    /// let once = Rc::new(Once::new());
    /// let theirs = Rc::clone(&once);
    /// greenhub::spawn(move || theirs.call_once(|| greenhub::yield_now()));
    /// once.wait();
    /// assert!(once.is_completed());
    /// ```
    pub fn wait(&self) {
        if !self.is_completed() {
            self.wait_for_completion(false);
        }
    }

    /// As [`wait`](Once::wait), but goes on waiting when a closure unwinds: for one that does not.
    ///
    /// # Panics
    ///
    /// As `wait`, but for that.
    ///
    /// # Examples
    ///
    /// ```
    /// let once = greenhub::sync::Once::new();
    /// once.call_once(|| ());
    /// once.wait_force();
    /// ```
    pub fn wait_force(&self) {
        if !self.is_completed() {
            self.wait_for_completion(true);
        }
    }

    #[cold]
    #[track_caller]
    fn call(&self, force: bool, f: &mut dyn FnMut(&OnceState)) {
        let me = hub::context();
        let poisoned = loop {
            let mut status = self.status.lock();
            match *status {
                Status::Complete => return,
                Status::Poisoned if !force => {
                    drop(status);
                    panic_poisoned();
                }
                Status::New | Status::Poisoned => {
                    let poisoned = *status == Status::Poisoned;
                    *status = Status::Running(me);
                    break poisoned;
                }
                Status::Running(owner) if owner == me => {
                    drop(status);
                    panic_recursive();
                }
                Status::Running(_) => {
                    let _ = status.wait(REASON, None);
                }
            }
        };
        let mut running = Running {
            once: self,
            becomes: Status::Poisoned,
        };
        f(&OnceState { poisoned });
        running.becomes = Status::Complete;
    }

    #[cold]
    #[track_caller]
    fn wait_for_completion(&self, force: bool) {
        let me = hub::context();
        loop {
            let status = self.status.lock();
            match *status {
                Status::Complete => return,
                Status::Poisoned if !force => {
                    drop(status);
                    panic_poisoned();
                }
                Status::Running(owner) if owner == me => {
                    drop(status);
                    panic_recursive();
                }
                _ => {
                    let _ = status.wait(REASON, None);
                }
            }
        }
    }
}

/// Held by the one whose closure runs; its end, however it comes, is told to those who wait.
struct Running<'a> {
    once: &'a Once,
    becomes: Status,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut status = self.once.status.lock();
        *status = self.becomes;
        if self.becomes == Status::Complete {
            self.once.completed.store(true, Ordering::Release);
        }
        status.notify_all();
    }
}

#[cold]
#[track_caller]
fn panic_poisoned() -> ! {
    panic!("Once instance has previously been poisoned");
}

#[cold]
#[track_caller]
fn panic_recursive() -> ! {
    panic!(
        "an initialisation waits for its own end: the closure of a Once, OnceLock or LazyLock uses the same one"
    );
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl fmt::Debug for OnceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceState")
            .field("poisoned", &self.is_poisoned())
            .finish()
    }
}
