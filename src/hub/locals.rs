//! The end of a task's locals.
#![allow(unsafe_code)]

use crate::task::{Limit, Task};
use crate::unwind::contain;

/// Destroys the locals of `task`, the running one, whose own code has ended, until none with a destructor is left. The
/// destructors may wait; like those that run while a task unwinds, they are not interrupted. Never unwinds.
#[inline]
pub(crate) fn destroy_locals(task: &Task) {
    if !task.locals.are_unused() {
        destroy_all(task);
    }
}

/// As `destroy_locals`, and gives up the locals without destructors as well. No code of the task may run after this.
#[inline]
pub(crate) fn clear_locals(task: &Task) {
    if !task.locals.are_unused() {
        destroy_all(task);
        task.locals.clear();
    }
}

#[cold]
fn destroy_all(task: &Task) {
    let shield = Limit::shield();
    // SAFETY: it stays in place until it is unlinked below, for nothing unwinds out of `contain`.
    unsafe { task.link_limit(&shield) };
    while let Some(value) = task.locals.take_for_destruction() {
        if !contain(|| drop(value)) {
            contain(|| log::error!("the destructor of a local of {task} panicked"));
        }
    }
    task.unlink_limit(&shield);
}
