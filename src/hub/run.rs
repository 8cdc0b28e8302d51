//! Resuming green threads: the part of the hub's loop between two looks at events.
//!
//! # Workers and fresh tasks
//!
//! A fresh task gets a worker when its first turn comes. When it ends, its worker runs the next task in the queue itself,
//! if that is fresh too; otherwise it becomes idle and is kept for the next fresh task.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

use super::{Deadlock, Hub, here};
use crate::coroutine::{Suspended, Worker};
use crate::stack::Class;
use crate::task::{Reason, Task, TaskRef};
use crate::unwind::{AbortOnUnwind, contain};

impl Hub {
    /// Runs the others until the root task's turn.
    #[inline(never)]
    pub(super) fn drive(&self) -> Result<(), Deadlock> {
        let waiting = AbortOnUnwind("the hub itself panicked while the root was waiting");
        self.current.set(None);
        let result = loop {
            match self.next_turn() {
                Some(task) if task == self.root.as_ptr() => break Ok(()),
                Some(task) => self.resume(task),
                None => {
                    if let Err(deadlock) = self.poll() {
                        break Err(deadlock);
                    }
                }
            }
        };
        self.current.set(Some(self.root.as_ptr()));
        waiting.defuse();
        self.rearm_exit();
        result
    }

    /// The next task in the ready queue, unless it is time to look at events.
    #[inline(always)]
    pub(super) fn next_turn(&self) -> Option<NonNull<Task>> {
        if self.ready.is_empty() {
            return self.next_injected();
        }
        if !self.batch.take_turn(|| self.clock()) {
            return None;
        }
        self.ready.pop()
    }

    /// As `next_turn`, when nothing is ready. Apart, so that the usual way looks at the queue once.
    #[cold]
    fn next_injected(&self) -> Option<NonNull<Task>> {
        if !self.take_injected() || !self.batch.take_turn(|| self.clock()) {
            return None;
        }
        self.ready.pop()
    }

    /// Runs a task, and the fresh ones that follow on its worker, until the worker suspends.
    #[inline(always)]
    pub(super) fn resume(&self, task: NonNull<Task>) {
        // SAFETY: the task comes from the ready queue, hence has not ended.
        let fresh = unsafe { task.as_ref() };
        let worker = match fresh.worker.get() {
            Some(worker) => worker,
            None => match self.worker_for(fresh) {
                Some(worker) => worker,
                None => return,
            },
        };
        self.current.set(Some(task));
        // SAFETY: the worker is new, idle, or suspended by this task's wait, and this is the hub on the OS thread's stack.
        let suspended = unsafe { worker.as_ref().resume() };
        self.current.set(None);
        if suspended == Suspended::Idle {
            // SAFETY: workers live until they are retired.
            let class = unsafe { worker.as_ref() }.class();
            let older = if self.starved.is_empty() && class == self.default_class {
                self.spare.replace(Some(worker))
            } else {
                Some(worker)
            };
            if let Some(older) = older {
                self.take_in(older);
            }
        }
    }

    /// A worker for a fresh task. Without one, the task waits until another worker becomes idle.
    #[inline]
    fn worker_for(&self, task: &Task) -> Option<NonNull<Worker>> {
        if task.class == self.default_class
            && !task.has_reservation.get()
            && let Some(spare) = self.spare.take()
        {
            return Some(spare);
        }
        self.worker_from_cache(task)
    }

    fn worker_from_cache(&self, task: &Task) -> Option<NonNull<Worker>> {
        let reserved = task.has_reservation.take();
        let taken = self.workers.borrow_mut().take(task.class, reserved);
        taken.inspect_err(|error| self.starve(task, error)).ok()
    }

    /// Keeps an idle worker, or uses what it frees for a task that got none.
    fn take_in(&self, worker: NonNull<Worker>) {
        let mut workers = self.workers.borrow_mut();
        match self.starved.pop() {
            None => workers.put(worker),
            Some(task) => {
                // SAFETY: starved tasks have not ended, and this one is now in no queue; workers live until retired.
                unsafe {
                    if task.as_ref().class == worker.as_ref().class() {
                        workers.put(worker);
                    } else {
                        workers.retire(worker);
                    }
                    self.ready.push(task);
                }
            }
        }
    }

    /// Lets a task wait for another's stack because the kernel gives no more.
    #[cold]
    fn starve(&self, task: &Task, error: &io::Error) {
        let is_first = self.starved.is_empty();
        self.starved.push(NonNull::from(task));
        task.reason.set(Reason::Stack);
        if is_first {
            contain(|| log::warn!("green threads have to wait for others to end: {error}"));
        }
    }

    /// The body of every worker: runs fresh tasks one after another.
    pub(super) fn work(worker: &Worker) {
        loop {
            here().run_fresh_tasks(worker);
            // SAFETY: this is the worker's body.
            if !unsafe { worker.idle() } {
                return;
            }
        }
    }

    fn run_fresh_tasks(&self, worker: &Worker) {
        let mut next = self.current.get();
        while let Some(task) = next {
            // SAFETY: the task has not ended: it is only about to run. It is started once, since it now gets a worker.
            unsafe {
                let task = task.as_ref();
                task.worker.set(Some(NonNull::from(worker)));
                self.disarm(task);
                task.start();
                task.run();
                if task.limit.get().is_some() {
                    self.unset_limits(task);
                }
                self.tasks.remove(task);
            }
            // The task may be freed here, and a fault must not be taken for one of its own.
            self.current.set(None);
            // SAFETY: this is the hub's reference.
            drop(unsafe { TaskRef::from_raw(task) });
            next = self.next_fresh(worker.class());
            self.current.set(next);
        }
    }

    /// Takes the next task if it can run on the worker that has just become free, which saves leaving and entering it.
    fn next_fresh(&self, class: Class) -> Option<NonNull<Task>> {
        if self.ready.is_empty() && !self.take_injected() {
            return None;
        }
        let first = self.ready.first()?;
        // SAFETY: queued tasks have not ended.
        let task = unsafe { first.as_ref() };
        if task.has_started()
            || task.class != class
            || first == self.root.as_ptr()
            || !self.batch.take_turn(|| self.clock())
        {
            return None;
        }
        if task.has_reservation.take() {
            self.workers.borrow_mut().release_reservation(class);
        }
        self.ready.pop()
    }
}
