//! What a `Hubs`, its OS threads and its tasks share: the count of tasks, and how far the end has come.
//!
//! # The count
//!
//! `tasks` counts those that have been spawned and have not ended, from before they can be taken until after their result is
//! there. Its lowest bit says that the hubs are closed. The hubs end only when it has come to zero after that: so a
//! spawn which found them open, and is about to hand over its task, can rely on a hub that takes it.
//!
//! Those that wait for zero look at the count under the lock of `phase` and are queued before they let go of it. Whoever brings
//! it to zero takes the lock after that, and so finds them, or they find zero.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::hub::{self, Injector, Remote};
use crate::park::TimedOut;
use crate::task::{Reason, Task};
use crate::wait_queue::WaitQueue;

use super::Closed;

const CLOSED: usize = 1;
const ONE_TASK: usize = 2;

/// Who waits in the lines of `phase`.
const JOINERS: usize = 0;
const ROOTS: usize = 1;

pub(super) struct State {
    pub(super) injector: Arc<Injector>,
    tasks: AtomicUsize,
    /// Tasks that were killed, by whomever.
    killed: AtomicUsize,
    phase: WaitQueue<Phase, 2>,
}

struct Phase {
    /// What is left is to be killed.
    stopping: bool,
    /// Hubs that have not ended.
    serving: usize,
}

impl State {
    pub(super) fn new() -> State {
        State {
            injector: Arc::new(Injector::new()),
            tasks: AtomicUsize::new(0),
            killed: AtomicUsize::new(0),
            phase: WaitQueue::shared(Phase {
                stopping: false,
                serving: 0,
            }),
        }
    }

    pub(super) fn tasks(&self) -> usize {
        self.tasks.load(Ordering::Acquire) / ONE_TASK
    }

    pub(super) fn killed(&self) -> usize {
        self.killed.load(Ordering::Relaxed)
    }

    /// Counts a task that is about to be handed over.
    pub(super) fn enter(&self) -> Result<(), Closed> {
        if self.tasks.fetch_add(ONE_TASK, Ordering::AcqRel) & CLOSED == 0 {
            return Ok(());
        }
        self.count_out();
        Err(Closed)
    }

    /// Counts a task out that has ended.
    pub(super) fn leave(&self, task: &Task) {
        if task.killed.get() {
            self.killed.fetch_add(1, Ordering::Relaxed);
        }
        self.count_out();
    }

    fn count_out(&self) {
        let before = self.tasks.fetch_sub(ONE_TASK, Ordering::AcqRel);
        if before / ONE_TASK == 1 {
            let mut phase = self.phase.lock();
            phase.notify_all_in(JOINERS);
            // Otherwise the roots would be woken for nothing, and each its hub.
            if phase.stopping {
                phase.notify_all_in(ROOTS);
            }
        }
    }

    /// Lets nobody enter any more.
    pub(super) fn close(&self) {
        self.tasks.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Has the hubs kill everything and end.
    pub(super) fn stop(&self) {
        self.injector.kill();
        let mut phase = self.phase.lock();
        phase.stopping = true;
        phase.notify_all_in(ROOTS);
    }

    pub(super) fn wait_for_tasks(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        const TASKS: Reason = Reason::On(&"the green threads of its Hubs");
        loop {
            let phase = self.phase.lock();
            if self.tasks() == 0 {
                return Ok(());
            }
            phase.wait_in(JOINERS, TASKS, deadline)?;
        }
    }

    pub(super) fn wait_for_hubs(&self, deadline: Instant) -> Result<(), TimedOut> {
        loop {
            let phase = self.phase.lock();
            if phase.serving == 0 {
                return Ok(());
            }
            phase.wait_in(JOINERS, Reason::On(&"the end of its Hubs"), Some(deadline))?;
        }
    }

    /// Makes the calling OS thread one of the hubs.
    pub(super) fn join(&self, index: usize) -> std::io::Result<Arc<Remote>> {
        let remote = hub::join_injector(&self.injector, index)?;
        self.phase.lock().serving += 1;
        Ok(remote)
    }

    /// The root's part in the life of a hub: to wait for the end, and then to bring it about.
    pub(super) fn serve(&self) {
        self.wait_as_root(|phase| phase.stopping);
        loop {
            if cfg!(panic = "unwind") {
                hub::unwind_here();
            }
            // What comes until then is killed when it is taken.
            if self.tasks() == 0 {
                break;
            }
            self.wait_as_root(|_| self.tasks() == 0);
        }
        let mut phase = self.phase.lock();
        phase.serving -= 1;
        phase.notify_all_in(JOINERS);
    }

    fn wait_as_root(&self, is_over: impl Fn(&Phase) -> bool) {
        loop {
            let phase = self.phase.lock();
            if is_over(&phase) {
                return;
            }
            // Without a deadline, and with nobody who could kill the root, this ends only when notified.
            let _ = phase.wait_in(ROOTS, Reason::On(&"work for its Hubs"), None);
        }
    }
}
