//! The list of a hub's tasks, for whoever has to reach them all.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr::NonNull;

use super::{Task, TaskRef};

/// The tasks of a hub that have not ended, in the order of their spawn.
pub(crate) struct TaskList {
    oldest: Cell<Option<NonNull<Task>>>,
    youngest: Cell<Option<NonNull<Task>>>,
    len: Cell<usize>,
}

impl TaskList {
    pub(crate) const fn new() -> Self {
        TaskList {
            oldest: Cell::new(None),
            youngest: Cell::new(None),
            len: Cell::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    /// Adds a task that has just been spawned.
    pub(crate) fn push(&self, task: &Task) {
        let this = NonNull::from(task);
        task.older.set(self.youngest.get());
        match self.youngest.replace(Some(this)) {
            // SAFETY: listed tasks are alive: the hub takes each out before it lets go of its reference.
            Some(last) => unsafe { last.as_ref() }.younger.set(Some(this)),
            None => self.oldest.set(Some(this)),
        }
        self.len.set(self.len.get() + 1);
    }

    /// Takes out a task that has ended.
    pub(crate) fn remove(&self, task: &Task) {
        let (older, younger) = (task.older.take(), task.younger.take());
        // SAFETY: neighbours are listed, hence alive.
        unsafe {
            match older {
                Some(older) => older.as_ref().younger.set(younger),
                None => self.oldest.set(younger),
            }
            match younger {
                Some(younger) => younger.as_ref().older.set(older),
                None => self.youngest.set(older),
            }
        }
        self.len.set(self.len.get() - 1);
    }

    /// References to all tasks, oldest first.
    pub(crate) fn snapshot(&self) -> Vec<TaskRef> {
        let mut all = Vec::with_capacity(self.len());
        let mut next = self.oldest.get();
        while let Some(task) = next {
            // SAFETY: listed tasks are alive.
            let task = unsafe { task.as_ref() };
            all.push(TaskRef::of(task));
            next = task.younger.get();
        }
        all
    }
}
