//! Arms that win when their time has come: the earliest of their deadlines is that of the wait.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::Arm;
use super::sealed::Line;
use crate::task::Waker;

/// The arm of [`after`] and [`at`].
#[derive(Debug)]
pub struct Timer {
    deadline: Instant,
    is_due: Cell<bool>,
}

/// Wins when `duration` has passed since the `select!` began; never earlier. One that is too large to be represented as a
/// point in time never passes.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// greenhub::select! {
///     after(Duration::from_millis(2)) => {}
///     after(Duration::from_secs(60)) => unreachable!("the other one comes first"),
/// }
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
#[must_use]
pub fn after(duration: Duration) -> Timer {
    at(crate::thread::after(duration))
}

/// Wins at `deadline`, or at once if that has passed.
///
/// # Examples
///
/// A deadline for a whole loop:
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let end = Instant::now() + Duration::from_millis(5);
/// let mut rounds = 0;
/// loop {
///     greenhub::select! {
///         at(end) => break,
///         after(Duration::from_millis(1)) => rounds += 1,
///     }
/// }
/// assert!(rounds <= 5 && Instant::now() >= end);
/// ```
#[must_use]
pub fn at(deadline: Instant) -> Timer {
    Timer {
        deadline,
        is_due: Cell::new(false),
    }
}

impl Line for Timer {
    fn attempt(&self) -> bool {
        self.is_due.set(self.deadline <= Instant::now());
        self.is_due.get()
    }

    unsafe fn enlist(&self, _: Waker) -> bool {
        true
    }

    fn withdraw(&self) -> bool {
        false
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }
}

impl Arm for Timer {
    type Output = ();

    fn into_output(self) -> Option<()> {
        self.is_due.get().then_some(())
    }
}
