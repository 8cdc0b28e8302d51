//! Arms that win when something has happened, which stays so: the end of a green thread, and whatever else is `Waitable`.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;

use super::Arm;
use super::sealed::Line;
use crate::task::Waker;
use crate::thread::{JoinHandle, Result, ScopedJoinHandle};
use crate::wait::{Waitable, Watch};
use crate::wait_queue::Place;

/// The arm of [`wait`].
pub struct Wait<'a> {
    object: &'a dyn Watch,
    place: Place,
    /// Whether the place is in use.
    is_enlisted: Cell<bool>,
    /// Whether it was notified of something that need not last.
    is_noticed: Cell<bool>,
    is_ready: Cell<bool>,
}

/// Wins when `object` is ready, and leaves it as it is.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let handle = greenhub::spawn(|| 7);
/// let is_done = greenhub::select! {
///     wait(&handle) => true,
///     after(Duration::from_secs(60)) => false,
/// };
/// assert!(is_done);
/// assert_eq!(handle.join().unwrap(), 7);
/// ```
pub fn wait<W: Waitable>(object: &W) -> Wait<'_> {
    Wait {
        object,
        place: Place::new(),
        is_enlisted: Cell::new(false),
        is_noticed: Cell::new(false),
        is_ready: Cell::new(false),
    }
}

impl Line for Wait<'_> {
    fn attempt(&self) -> bool {
        let is_ready = self.is_noticed.get() || self.object.is_ready();
        self.is_ready.set(is_ready);
        is_ready
    }

    unsafe fn enlist(&self, waker: Waker) -> bool {
        // SAFETY: the caller's contract.
        self.is_enlisted
            .set(unsafe { self.object.watch(&self.place, waker.into()) });
        self.is_enlisted.get()
    }

    fn withdraw(&self) -> bool {
        let is_noticed = self.is_enlisted.take() && !self.object.unwatch(&self.place);
        self.is_noticed
            .set(is_noticed && self.object.is_momentary());
        // All that were in line have been notified, and of what does not belong to one of them.
        false
    }

    fn is_external(&self) -> bool {
        self.object.is_external()
    }
}

impl Arm for Wait<'_> {
    type Output = ();

    fn into_output(self) -> Option<()> {
        self.is_ready.get().then_some(())
    }
}

/// What [`join`] accepts: a handle, or, to keep it when another arm wins, a mutable reference to an `Option` of one.
#[diagnostic::on_unimplemented(
    message = "`select!` cannot join `{Self}`",
    note = "`join` takes a handle, `&mut Option<handle>`, or `Option<handle>`; `wait(&handle)` leaves the handle alone"
)]
pub trait Joinable: joinable::Handle {}

mod joinable {
    use crate::thread::Result;
    use crate::wait::Watch;

    /// A handle, if it has not been joined.
    pub trait Handle {
        type Value;

        fn object(&self) -> Option<&dyn Watch>;

        fn into_result(self) -> Option<Result<Self::Value>>;
    }
}

/// The arm of [`join`].
pub struct Join<H> {
    handle: H,
    place: Place,
    has_finished: Cell<bool>,
}

/// Wins when the green thread of the handle has finished, with its result.
///
/// Given a handle, the arm consumes it: when another arm wins, the green thread is detached. Given `&mut Option<handle>`, it
/// takes the handle out when it wins, and leaves it otherwise; with `None` it cannot win. So a loop may join
/// each of several green threads once.
///
/// # Examples
///
/// ```
/// use greenhub::select;
///
/// let mut left = Some(greenhub::spawn(|| 1));
/// let mut right = Some(greenhub::spawn(|| 2));
/// let mut sum = 0;
/// while left.is_some() || right.is_some() {
///     sum += select! {
///         join(&mut left) -> result => result.unwrap(),
///         join(&mut right) -> result => result.unwrap(),
///     };
/// }
/// assert_eq!(sum, 3);
/// ```
pub fn join<H: Joinable>(handle: H) -> Join<H> {
    Join {
        handle,
        place: Place::new(),
        has_finished: Cell::new(false),
    }
}

impl<H: Joinable> Line for Join<H> {
    fn attempt(&self) -> bool {
        let object = self.handle.object();
        self.has_finished.set(object.is_some_and(Watch::is_ready));
        self.has_finished.get()
    }

    unsafe fn enlist(&self, waker: Waker) -> bool {
        match self.handle.object() {
            // SAFETY: the caller's contract.
            Some(object) => unsafe { object.watch(&self.place, waker.into()) },
            None => true,
        }
    }

    fn withdraw(&self) -> bool {
        if let Some(object) = self.handle.object() {
            object.unwatch(&self.place);
        }
        false
    }

    fn is_external(&self) -> bool {
        self.handle.object().is_some_and(Watch::is_external)
    }
}

impl<H: Joinable> Arm for Join<H> {
    type Output = Result<H::Value>;

    fn into_output(self) -> Option<Self::Output> {
        if self.has_finished.get() {
            self.handle.into_result()
        } else {
            None
        }
    }
}

macro_rules! joinable {
    ($([$($scope:lifetime)?] $handle:ty),*) => {
        $(
            impl<$($scope,)? T> Joinable for $handle {}
            impl<$($scope,)? T> Joinable for Option<$handle> {}
            impl<$($scope,)? T> Joinable for &mut Option<$handle> {}

            impl<$($scope,)? T> joinable::Handle for $handle {
                type Value = T;

                fn object(&self) -> Option<&dyn Watch> {
                    Some(self)
                }

                fn into_result(self) -> Option<Result<T>> {
                    Some(self.join())
                }
            }

            impl<$($scope,)? T> joinable::Handle for Option<$handle> {
                type Value = T;

                fn object(&self) -> Option<&dyn Watch> {
                    self.as_ref().map(|handle| handle as &dyn Watch)
                }

                fn into_result(self) -> Option<Result<T>> {
                    self.map(<$handle>::join)
                }
            }

            impl<$($scope,)? T> joinable::Handle for &mut Option<$handle> {
                type Value = T;

                fn object(&self) -> Option<&dyn Watch> {
                    self.as_ref().map(|handle| handle as &dyn Watch)
                }

                fn into_result(self) -> Option<Result<T>> {
                    self.take().map(<$handle>::join)
                }
            }
        )*
    };
}

joinable!([] JoinHandle<T>, ['scope] ScopedJoinHandle<'scope, T>);

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}

impl<H> fmt::Debug for Join<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").finish_non_exhaustive()
    }
}
