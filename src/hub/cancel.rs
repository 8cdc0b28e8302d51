//! Killing green threads, ending what takes too long, and telling which of them are unwinding.
//!
//! std counts panics per OS thread. While one green thread is suspended in a destructor in the middle of unwinding,
//! [`std::thread::panicking`] is true for all others of that OS thread as well; so each task remembers what was known of
//! it when it last suspended or was unwound by the hub, and std is believed only while nobody is suspended so.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};
use std::time::Instant;

use super::remote::Message;
use super::{Hub, Remote, schedule};
use crate::task::{Farewell, Limit, Task, TaskRef};
use crate::unwind::contain;

impl Hub {
    /// Counts a task that suspends in the middle of unwinding. Returns whether it was counted.
    pub(super) fn note_unwinding(&self, task: &Task) -> bool {
        // While another one is suspended so, `std::thread::panicking` says nothing about this task.
        if self.unwinding.get() == 0 {
            task.unwinding.set(true);
        }
        if task.unwinding.get() {
            self.unwinding.set(self.unwinding.get() + 1);
        }
        task.unwinding.get()
    }

    /// Has the running task, which unwinds, run code in one of its destructors as if it did not: code that catches whatever
    /// it unwinds with itself. Ends with `take_unwinding_up`.
    ///
    /// # Safety
    ///
    /// `aside` must stay in place until then.
    pub(crate) unsafe fn put_unwinding_aside(&self, task: &Task, aside: &Limit) {
        // SAFETY: the caller's contract.
        unsafe { task.link_limit(aside) };
        task.unwinding.set(false);
        self.unwinding.set(self.unwinding.get() + 1);
    }

    pub(crate) fn take_unwinding_up(&self, task: &Task, aside: &Limit) {
        self.unwinding.set(self.unwinding.get() - 1);
        task.unwinding.set(true);
        task.unlink_limit(aside);
    }

    /// Whether the running task is unwinding, as far as can be told.
    pub(crate) fn is_unwinding(&self, task: &Task) -> bool {
        if self.unwinding.get() == 0 {
            task.unwinding.set(std::thread::panicking());
        }
        task.unwinding.get()
    }

    /// Kills the green threads of a scope, which is named by its address.
    pub(crate) fn kill_scope(&self, scope: *const ()) {
        for task in self.tasks.snapshot() {
            if ptr::eq(task.scope, scope) {
                self.kill(&task, None);
            }
        }
    }

    /// Makes a task of this hub unwind at its suspension point, or never start. Only the first call counts.
    pub(crate) fn kill(&self, task: &Task, farewell: Option<Farewell>) {
        if task.killed.replace(true) {
            contain(|| drop(farewell));
            return;
        }
        task.farewell.set(farewell.map(Box::new));
        self.interrupt(task);
    }

    /// Has a task unwind as soon as it may.
    ///
    /// One that is suspended in a destructor while it unwinds is left to finish: to unwind it once more would abort the
    /// process. It meets the interruption when it next waits after that, as does one in a section that must not be
    /// interrupted.
    pub(super) fn interrupt(&self, task: &Task) {
        task.interrupted.set(true);
        if !task.unwinding.get() && task.interruption().is_some() && task.cancel_wait() {
            // SAFETY: the wait was ended right here.
            unsafe { schedule(NonNull::from(task)) };
        }
    }

    /// Interrupts a task if one of its time limits has passed.
    pub(super) fn expire(&self, task: &Task) {
        if task.expire_limits(self.now()) {
            self.interrupt(task);
        }
    }

    /// Subjects `task`, the running one, to a time limit.
    ///
    /// # Safety
    ///
    /// The limit must stay in place until it has been unlinked: by `unset_limit`, or at the task's end.
    pub(crate) unsafe fn set_limit(&self, task: &Task, limit: &Limit) {
        // SAFETY: the caller's contract.
        unsafe { task.link_limit(limit) };
        let Some(deadline) = limit.deadline() else {
            return;
        };
        if deadline <= Instant::now() {
            limit.expired.set(true);
            task.interrupted.set(true);
        } else {
            limit.timer.set(Some(self.arm_limit(task, deadline)));
        }
    }

    /// Ends a time limit.
    pub(crate) fn unset_limit(&self, task: &Task, limit: &Limit) {
        if let Some(timer) = limit.timer.take() {
            self.withdraw_limit(timer);
        }
        task.unlink_limit(limit);
    }

    /// Ends the time limits that a task has left behind at its end.
    pub(super) fn unset_limits(&self, task: &Task) {
        while let Some(limit) = task.limits().next() {
            self.unset_limit(task, limit);
        }
    }
}

/// Ends a time limit of a task that belongs, or belonged, to the calling thread.
pub(crate) fn unset_limit(task: &Task, limit: &Limit) {
    match Hub::current() {
        Some(hub) if hub.remote.id == task.home_id() => hub.unset_limit(task, limit),
        // The hub has gone, and its timers with it.
        _ => task.unlink_limit(limit),
    }
}

/// Kills a task of whichever hub.
pub(crate) fn kill(task: &TaskRef, farewell: Option<Farewell>) {
    match Hub::current() {
        Some(hub) if hub.remote.id == task.home_id() => hub.kill(task, farewell),
        _ => {
            // A hub that is gone has ended all its tasks.
            if let Some(remote) = Remote::find(task.home_id()) {
                remote.send(Message::Kill(TaskRef::clone(task), farewell));
            }
        }
    }
}
