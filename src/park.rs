//! The one way to wait.
//!
//! Everything that blocks calls `park`: it opens a wait of the running task, lets the caller publish the `Waker` that ends
//! it, and suspends. Nothing else suspends a task. Called on the OS thread's own stack, it runs the hub's loop instead.
//!
//! A caller may hold a lock up to the moment it has published the waker, and must let go of it then: the task can be woken
//! before it has suspended, but not resumed, because its own hub does that and this code is what the hub is waiting for.
//! So there is no window to close, and no callback after the switch.
#![allow(unsafe_code)]

use std::panic::resume_unwind;
use std::time::Instant;

use crate::hub::{self, Deadlock};
use crate::task::{Outcome, Reason, Task, Waker};

/// The wait ended because its deadline had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedOut;

/// What a green thread unwinds with when it is cancelled, and what its joiners get.
///
/// Green threads that are still waiting when their OS thread ends are cancelled: they unwind from where they wait, and
/// their destructors run. Whoever joins one of them from another thread gets an `Err` whose payload is this type.
///
/// # Examples
///
/// ```
/// let handle = std::thread::spawn(|| greenhub::spawn(greenhub::thread::park)).join().unwrap();
/// // The OS thread has ended, and with it the green thread that never got to run.
/// assert!(handle.join().unwrap_err().is::<greenhub::thread::Killed>());
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Killed;

/// Suspends the running task until its wait is ended by the waker, by the deadline, or by a cancellation.
///
/// `publish` makes the waker known to those who will use it. `retract` is called when something else ended the wait, and
/// must see to it that nobody will use the waker any more: after that the task may end.
///
/// Cancellation unwinds from here, after `retract`; so does the panic that reports a deadlock to the root task.
#[inline(always)]
pub(crate) fn park(
    reason: Reason,
    deadline: Option<Instant>,
    publish: impl FnOnce(Waker),
    retract: impl FnOnce(),
) -> Result<(), TimedOut> {
    let hub = hub::here();
    let task = hub.running();
    meet_cancellation(&hub, task);
    match suspend(&hub, task, reason, deadline, publish) {
        Ok(Outcome::Notified) => Ok(()),
        Ok(Outcome::TimedOut) => {
            retract();
            Err(TimedOut)
        }
        Ok(Outcome::Cancelled) => {
            retract();
            unwind_cancelled(task)
        }
        Err(deadlock) => {
            retract();
            report_deadlock(deadlock)
        }
    }
}

/// As `park` without a deadline, but never unwinds: a cancellation only ends the wait, with `false`, and is met again at
/// the next wait. A deadlock is returned.
pub(crate) fn park_shielded(
    reason: Reason,
    publish: impl FnOnce(Waker),
    retract: impl FnOnce(),
) -> Result<bool, Deadlock> {
    let hub = hub::here();
    let outcome = suspend(&hub, hub.running(), reason, None, publish);
    if !matches!(outcome, Ok(Outcome::Notified)) {
        retract();
    }
    outcome.map(|outcome| outcome == Outcome::Notified)
}

/// Unwinds the running task if it was cancelled and is not unwinding already.
pub(crate) fn unwind_if_cancelled() {
    let hub = hub::here();
    meet_cancellation(&hub, hub.running());
}

/// Unwinds `task`, the running one, if it was cancelled and is not unwinding already.
#[inline(always)]
fn meet_cancellation(hub: &hub::Hub, task: &Task) {
    if task.cancelled.get() && !hub.is_unwinding(task) {
        unwind_cancelled(task);
    }
}

#[cold]
fn unwind_cancelled(task: &Task) -> ! {
    // Known from here on, even while another green thread is suspended in the middle of unwinding.
    task.unwinding.set(true);
    resume_unwind(Box::new(Killed))
}

#[cold]
fn report_deadlock(deadlock: Deadlock) -> ! {
    panic!("{}", deadlock.0)
}

#[inline(always)]
fn suspend(
    hub: &hub::Hub,
    task: &Task,
    reason: Reason,
    deadline: Option<Instant>,
    publish: impl FnOnce(Waker),
) -> Result<Outcome, Deadlock> {
    let waker = task.begin(reason == Reason::Park);
    task.reason.set(reason);
    task.since.set(hub.recent());
    if let Some(deadline) = deadline {
        hub.arm(task, deadline, waker);
    }
    let external = isize::from(reason.is_external());
    hub.count_external_wait(external);
    publish(waker);
    let switched = hub.switch_out(task);
    hub.count_external_wait(-external);
    hub.disarm(task);
    task.reason.set(Reason::Turn);
    match switched {
        Ok(()) => Ok(task.finish_wait()),
        // Nobody is left who could end the wait, so this closes it.
        Err(deadlock) => {
            task.abort_wait();
            Err(deadlock)
        }
    }
}

/// Waits until `unpark` has been called since the last return from here, or until the deadline.
pub(crate) fn park_for_token(deadline: Option<Instant>) {
    let hub = hub::here();
    let task = hub.running();
    if task.take_token() {
        return;
    }
    // An `unpark` between the look above and the opening of the wait is seen by the second look, as `begin` says; one
    // after it ends the wait.
    let mut token_came = false;
    let _ = park(
        Reason::Park,
        deadline,
        |waker| {
            token_came = task.take_token();
            if token_came {
                // SAFETY: the task is running, hence alive.
                unsafe { hub::wake(waker, Outcome::Notified) };
            }
        },
        || (),
    );
    if !token_came {
        task.take_token();
    }
}

/// Makes the token of `task` available and wakes it if it is in `park_for_token`.
pub(crate) fn unpark(task: &Task) {
    if task.unpark() {
        // SAFETY: the wait was ended right here.
        unsafe { hub::schedule(std::ptr::NonNull::from(task)) };
    }
}

/// Waits until `deadline`.
pub(crate) fn sleep_until(deadline: Instant) {
    let _ = park(Reason::Sleep, Some(deadline), |_| (), || ());
}

/// Lets all tasks that are ready run before going on.
#[inline(always)]
pub(crate) fn yield_now() {
    let hub = hub::here();
    let task = hub.running();
    meet_cancellation(&hub, task);
    hub.let_others_run();
}
