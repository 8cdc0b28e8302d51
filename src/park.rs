//! The one way to wait.
//!
//! Everything that blocks calls `park`: it opens a wait of the running task, lets the caller publish the `Waker` that ends
//! it, and suspends. Nothing else suspends a task. Called on the OS thread's own stack, it runs the hub's loop instead.
//!
//! A caller may hold a lock up to the moment it has published the waker, and must let go of it then: the task can be woken
//! before it has suspended, but not resumed, because its own hub does that and this code is what the hub is waiting for.
//! So there is no window to close, and no callback after the switch.
#![allow(unsafe_code)]

use std::any::Any;
use std::num::NonZeroU64;
use std::panic::resume_unwind;
use std::time::Instant;

use crate::hub::{self, Deadlock};
use crate::task::{Interruption, Limit, Outcome, Reason, Task, Wait, Waker};
use crate::unwind::require_unwinding;

/// The wait ended because its deadline had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedOut;

/// What a task unwinds with when it is killed.
pub(crate) struct Kill(#[expect(dead_code, reason = "it is there to be dropped")] Raised);

/// What a task unwinds with when the time limit of this number has passed.
pub(crate) struct Expired(
    pub(crate) NonZeroU64,
    #[expect(dead_code, reason = "it is there to be dropped")] Raised,
);

/// The part of a payload that tells, by being dropped, that the unwinding of the task with this number has been caught.
struct Raised(NonZeroU64);

impl Drop for Raised {
    fn drop(&mut self) {
        hub::note_caught(self.0);
    }
}

/// Suspends the running task until its wait is ended by the waker, by the deadline, or by an interruption: a kill, or a
/// time limit around the call.
///
/// `publish` makes the waker known to those who will use it. `retract` is called when something else ended the wait, and
/// must see to it that nobody will use the waker any more: after that the task may end.
///
/// An interruption unwinds from here, after `retract`; so does the panic that reports a deadlock to the root task.
#[inline(always)]
pub(crate) fn park(
    wait: Wait,
    reason: Reason,
    deadline: Option<Instant>,
    publish: impl FnOnce(Waker),
    retract: impl FnOnce(),
) -> Result<(), TimedOut> {
    let hub = hub::here();
    let task = hub.running();
    if task.interrupted.get() && may_be_unwound(&hub, task) {
        // It may hold a lock, and `unwind` may let others run.
        drop(publish);
        unwind(&hub, task);
    }
    match suspend(&hub, task, wait, reason, deadline, publish) {
        Ok(Outcome::Notified) => Ok(()),
        Ok(Outcome::TimedOut) => {
            retract();
            Err(TimedOut)
        }
        Ok(Outcome::Cancelled) => {
            retract();
            unwind(&hub, task)
        }
        Err(deadlock) => {
            retract();
            report_deadlock(deadlock)
        }
    }
}

/// As `park` without a deadline, but never unwinds: an interruption only ends the wait, with `false`, and is met again at
/// the next wait. A deadlock is returned.
pub(crate) fn park_shielded(
    wait: Wait,
    reason: Reason,
    publish: impl FnOnce(Waker),
    retract: impl FnOnce(),
) -> Result<bool, Deadlock> {
    let hub = hub::here();
    let outcome = suspend(&hub, hub.running(), wait, reason, None, publish);
    if !matches!(outcome, Ok(Outcome::Notified)) {
        retract();
    }
    outcome.map(|outcome| outcome == Outcome::Notified)
}

/// Unwinds the running task if it was killed, or has exceeded a time limit, and may be unwound.
pub(crate) fn unwind_if_interrupted() {
    let hub = hub::here();
    meet_interruption(&hub, hub.running());
}

/// Whether the running task was killed or has exceeded a time limit, and may be unwound.
pub(crate) fn is_interrupted() -> bool {
    let hub = hub::here();
    let task = hub.running();
    task.interrupted.get() && may_be_unwound(&hub, task)
}

/// As `unwind_if_interrupted`, for `task`, the running one.
#[inline(always)]
fn meet_interruption(hub: &hub::Hub, task: &Task) {
    if task.interrupted.get() && may_be_unwound(hub, task) {
        unwind(hub, task);
    }
}

/// Whether nothing keeps the running task, which was interrupted, from being unwound.
#[cold]
fn may_be_unwound(hub: &hub::Hub, task: &Task) -> bool {
    task.interruption().is_some() && !hub.is_unwinding(task)
}

/// Unwinds the running task. The caller must not hold a lock.
#[cold]
fn unwind(hub: &hub::Hub, task: &Task) -> ! {
    require_unwinding("a kill");
    if task.was_raised.replace(true) {
        // Somebody has caught it, and may go on to do so in a loop that never waits: the others get their turn.
        hub.let_others_run();
    }
    // Known from here on, even while another green thread is suspended in the middle of unwinding.
    task.unwinding.set(true);
    const NOBODYS: NonZeroU64 = NonZeroU64::MAX;
    let limit = match task.interruption() {
        Some(Interruption::Kill) => resume_unwind(kill_payload(task)),
        Some(Interruption::Limit(id)) => id,
        // A `Timeout` was dropped by another task after it had interrupted this one.
        None => NOBODYS,
    };
    resume_unwind(Box::new(Expired(limit, Raised(task.id))))
}

/// What a killed task unwinds with.
#[cold]
pub(crate) fn kill_payload(task: &Task) -> Box<dyn Any + Send> {
    Box::new(Kill(Raised(task.id)))
}

/// Runs `f` without letting a kill or a time limit from outside end its waits.
pub(crate) fn shielded<T>(f: impl FnOnce() -> T) -> T {
    struct Unlink<'a>(&'a Task, &'a Limit);

    impl Drop for Unlink<'_> {
        fn drop(&mut self) {
            self.0.unlink_limit(self.1);
        }
    }

    let hub = hub::here();
    let task = hub.running();
    let shield = Limit::shield();
    // SAFETY: it stays where it is, and whichever way this function is left, it is unlinked before.
    unsafe { task.link_limit(&shield) };
    let _unlink = Unlink(task, &shield);
    f()
}

/// As `shielded`, also for code that no task runs, on a thread that may have no hub.
pub(crate) fn shielded_if_running<T>(f: impl FnOnce() -> T) -> T {
    if hub::is_task_running() {
        shielded(f)
    } else {
        f()
    }
}

#[cold]
fn report_deadlock(deadlock: Deadlock) -> ! {
    panic!("{}", deadlock.0)
}

#[inline(always)]
fn suspend(
    hub: &hub::Hub,
    task: &Task,
    wait: Wait,
    reason: Reason,
    deadline: Option<Instant>,
    publish: impl FnOnce(Waker),
) -> Result<Outcome, Deadlock> {
    let waker = task.begin(wait);
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
    if deadline.is_some() {
        hub.disarm(task);
    }
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
        Wait::Park,
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
    let _ = park(Wait::Open, Reason::Sleep, Some(deadline), |_| (), || ());
}

/// Lets all tasks that are ready run before going on.
#[inline(always)]
pub(crate) fn yield_now() {
    let hub = hub::here();
    let task = hub.running();
    meet_interruption(&hub, task);
    hub.let_others_run();
}
