//! Cancelling green threads, and telling which of them are unwinding.
//!
//! std counts panics per OS thread. While one green thread is suspended in a destructor in the middle of unwinding,
//! [`std::thread::panicking`] is true for all others of that OS thread as well; so each task remembers what was known of
//! it when it last suspended or was unwound by the hub, and std is believed only while nobody is suspended so.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};

use super::{Hub, schedule};
use crate::task::Task;

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

    /// Whether the running task is unwinding, as far as can be told.
    pub(crate) fn is_unwinding(&self, task: &Task) -> bool {
        if self.unwinding.get() == 0 {
            task.unwinding.set(std::thread::panicking());
        }
        task.unwinding.get()
    }

    /// Cancels the green threads of a scope, which is named by its address.
    pub(crate) fn cancel_scope(&self, scope: *const ()) {
        for task in self.tasks.snapshot() {
            if ptr::eq(task.scope, scope) {
                self.cancel(&task);
            }
        }
    }

    /// Makes a task unwind at its suspension point, or never start.
    ///
    /// One that is suspended in a destructor while it unwinds is left to finish: to unwind it once more would abort the
    /// process.
    pub(crate) fn cancel(&self, task: &Task) {
        task.cancelled.set(true);
        if !task.unwinding.get() && task.cancel_wait() {
            // SAFETY: the wait was ended right here.
            unsafe { schedule(NonNull::from(task)) };
        }
    }
}
