//! The end of a hub with its OS thread.
//!
//! A thread that ends unwinds the green threads that are still there, in the order of their spawn: each is resumed with a
//! cancellation at the place where it waits, and runs its destructors until it has ended or waits in one of them. Green
//! threads that have not started are dropped without running. Then the loop goes on until the last one has ended, so
//! that destructors may block, join and spawn.
//!
//! The C library calls this at the end of every thread that has a hub, also when the root calls `std::process::exit`. When a
//! green thread calls that, the process ends without unwinding anything, as it would from any other thread.
//!
//! # Thread-local variables
//!
//! A suspended green thread may hold a reference to a thread-local (it may be inside `KEY.with`), and its destructors use
//! thread-locals as anybody's do. So green threads have to be unwound before the thread's first thread-local is
//! destroyed; `destructors` sees to that where it can. Where it cannot, and a green thread has run since the last
//! registration, unwinding would be unsound, and the green threads are left as they are. A hub that is needed by a
//! thread-local's destructor after that is created anew and ended the same way.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{self, NonNull};

use super::{CURRENT, Hub, clear_locals, destroy_locals, destructors};
use crate::task::TaskRef;
use crate::unwind::contain;

/// What a hub has to know to be ended in time.
pub(super) struct Arming {
    /// Green threads spawned so far.
    spawned: Cell<u64>,
    /// Without interposition: register again when there have been as many.
    next: Cell<u64>,
    /// Without interposition: whether green threads have run since the last registration, and may have used thread-locals
    /// that are destroyed before the hub ends.
    is_late: Cell<bool>,
}

impl Arming {
    pub(super) fn new() -> Self {
        Arming {
            spawned: Cell::new(0),
            next: Cell::new(1),
            is_late: Cell::new(false),
        }
    }

    pub(super) fn count_spawn(&self) {
        self.spawned.set(self.spawned.get() + 1);
    }
}

impl Hub {
    /// Has the hub ended with its thread.
    pub(super) fn arm_exit(&self) {
        destructors::register(end, NonNull::from(self).cast());
    }

    /// Notes that green threads have run, when the root comes back from the loop.
    #[inline]
    pub(super) fn rearm_exit(&self) {
        if !destructors::are_followed() {
            self.rearm_exit_unfollowed();
        }
    }

    /// Registers again when twice as many green threads have been spawned as at the last registration: each takes memory
    /// until the thread ends.
    #[cold]
    fn rearm_exit_unfollowed(&self) {
        self.exit.is_late.set(true);
        if self.tasks.len() > 0 && self.exit.spawned.get() >= self.exit.next.get() {
            self.exit.next.set(self.exit.spawned.get() * 2);
            self.exit.is_late.set(false);
            self.arm_exit();
        }
    }

    /// Unwinds all green threads. Returns whether all have ended.
    fn unwind_all(&self) -> bool {
        if !self.may_unwind() {
            return false;
        }
        self.current.set(None);
        let mut killed = 0;
        let ended = loop {
            // What is spawned by destructors is ended as well.
            if killed < self.exit.spawned.get() {
                killed = self.exit.spawned.get();
                self.kill_all();
            }
            self.run_ready();
            if self.tasks.len() == 0 {
                break true;
            }
            if let Err(deadlock) = self.poll() {
                contain(|| {
                    log::error!(
                        "green threads of an ending thread cannot be unwound, and their memory is lost: {}",
                        deadlock.0
                    );
                });
                break false;
            }
        };
        self.current.set(Some(self.root.as_ptr()));
        ended
    }

    /// Destroys the locals of the root. Returns whether no green thread is left that their destructors have spawned.
    fn end_root(&self) -> bool {
        destroy_locals(&self.root);
        let ended = self.unwind_all();
        clear_locals(&self.root);
        ended
    }

    /// Sees to it that nothing is handed any more to green threads that are left as they are: whoever comes upon one in a line
    /// finds its wait ended, and turns to the next. None is scheduled, so none goes on.
    fn abandon_all(&self) {
        for task in self.tasks.snapshot() {
            task.cancel_wait();
        }
    }

    /// Whether the green threads that are left can be unwound: with `panic = "abort"` nothing can.
    fn may_unwind(&self) -> bool {
        self.tasks.len() == 0 || !(cfg!(panic = "abort") || self.exit.is_late.get())
    }

    /// Kills all green threads, oldest first, and lets each run until it has ended or waits in a destructor.
    fn kill_all(&self) {
        let tasks = self.tasks.snapshot();
        // None of those that have not started may do so while an older one unwinds.
        for task in tasks.iter().filter(|task| !task.has_started()) {
            task.killed.set(true);
            task.interrupted.set(true);
        }
        for task in &tasks {
            if task.has_started() {
                self.kill(task, None);
            } else {
                // It may wait for its start.
                self.interrupt(task);
            }
            self.run_ready();
        }
    }

    /// Runs the loop until nothing is ready.
    fn run_ready(&self) {
        while !self.ready.is_empty() {
            while let Some(task) = self.next_turn() {
                self.resume(task);
            }
            if !self.ready.is_empty() {
                let looked = self.poll();
                debug_assert!(looked.is_ok(), "what is ready is no deadlock");
            }
        }
    }
}

/// Unwinds all green threads of the calling thread, whose root this is, as its end would. The thread can go on.
pub(crate) fn unwind_here() {
    let hub = super::here();
    debug_assert_eq!(hub.current.get(), Some(hub.root.as_ptr()));
    hub.unwind_all();
}

/// Ends a hub; called by the C library at the end of its thread.
pub(super) unsafe extern "C" fn end(hub: *mut c_void) {
    let hub = hub.cast::<Hub>();
    if !ptr::eq(CURRENT.get(), hub) {
        return;
    }
    // SAFETY: it is this thread's hub, which only this function destroys.
    let this = unsafe { &*hub };
    if this.current.get() != Some(this.root.as_ptr()) {
        // `exit` was called by a green thread: the process ends on that one's stack. If a destructor of a thread-local waits,
        // it gets a hub of its own; this one cannot be used any more.
        CURRENT.set(ptr::null());
        return;
    }
    if !this.unwind_all() || !this.end_root() {
        // Their memory stays, and so does the hub, to which they belong.
        this.abandon_all();
        CURRENT.set(ptr::null());
        return;
    }
    this.end_watch();
    if let Some(spare) = this.spare.take() {
        this.workers.borrow_mut().put(spare);
    }
    this.workers.borrow_mut().retire_all();
    CURRENT.set(ptr::null());
    // SAFETY: the second reference that the root task began with; the hub drops the first one with itself.
    drop(unsafe { TaskRef::from_raw(this.root.as_ptr()) });
    // SAFETY: `Hub::create` leaked the box; no green thread is left, the root's code has returned, and `CURRENT` no longer
    // leads here.
    drop(unsafe { Box::from_raw(hub) });
}
