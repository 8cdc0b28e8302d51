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
//! Destructors of green threads use thread-locals: the program's, and those of libraries. The C library runs the
//! destructors of thread-locals in the reverse order of their registration, so the hub's has to be registered after
//! those that its green threads use, which appear at any time. Therefore it is registered again (which is a call of
//! `__cxa_thread_atexit_impl`, the function that std's thread-locals register with) when the root comes back from the
//! loop with green threads left, as soon as twice as many have been spawned as at the last registration. The first one
//! that the C library calls ends the hub; the others find nothing to do. A hub that is needed by a thread-local's
//! destructor after that is created anew and ended the same way.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{self, NonNull};

use super::{CURRENT, Hub};
use crate::task::{Reason, TaskRef};

/// When to register for the end of the thread.
pub(super) struct Arming {
    /// Green threads spawned so far.
    spawned: Cell<u64>,
    /// Register again when there have been as many.
    next: Cell<u64>,
}

impl Arming {
    pub(super) fn new() -> Self {
        Arming {
            spawned: Cell::new(0),
            next: Cell::new(1),
        }
    }

    pub(super) fn count_spawn(&self) {
        self.spawned.set(self.spawned.get() + 1);
    }
}

impl Hub {
    /// Has the hub ended with its thread.
    pub(super) fn arm_exit(&self) {
        register(NonNull::from(self));
    }

    /// Registers again if there may be thread-locals that are younger than the last registration.
    pub(super) fn rearm_exit(&self) {
        if self.tasks.len() > 0 && self.exit.spawned.get() >= self.exit.next.get() {
            self.exit.next.set(self.exit.spawned.get() * 2);
            self.arm_exit();
        }
    }

    /// Unwinds all green threads. Returns whether all have ended.
    fn unwind_all(&self) -> bool {
        self.current.set(None);
        let ended = loop {
            let tasks = self.tasks.snapshot();
            // None of those that have not started may do so while an older one unwinds.
            for task in tasks.iter().filter(|task| !task.has_started()) {
                task.cancelled.set(true);
            }
            for task in &tasks {
                if !task.cancelled.get() || task.reason.get() == Reason::Start {
                    self.cancel(task);
                    self.run_ready();
                }
            }
            self.run_ready();
            if self.tasks.len() == 0 {
                break true;
            }
            if let Err(deadlock) = self.poll() {
                log::error!(
                    "green threads of an ending thread cannot be unwound, and their memory is lost: {}",
                    deadlock.0
                );
                break false;
            }
        };
        self.current.set(Some(self.root.as_ptr()));
        ended
    }

    fn run_ready(&self) {
        while let Some(task) = self.next_turn() {
            self.resume(task);
        }
    }
}

/// Ends a hub; called by the C library at the end of its thread.
unsafe extern "C" fn end(hub: *mut c_void) {
    let hub = hub.cast::<Hub>();
    if !ptr::eq(CURRENT.get(), hub) {
        return;
    }
    // SAFETY: it is this thread's hub, which only this function destroys.
    let this = unsafe { &*hub };
    if this.current.get() != Some(this.root.as_ptr()) {
        // `exit` was called by a green thread: the process ends on that one's stack, and the hub with it.
        return;
    }
    // With panic = "abort" nothing can be unwound: what still waits is left as it is, and so is its memory.
    if cfg!(panic = "abort") && this.tasks.len() > 0 || !this.unwind_all() {
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

#[cfg(target_env = "gnu")]
fn register(hub: NonNull<Hub>) {
    unsafe extern "C" {
        safe static __dso_handle: u8;
        fn __cxa_thread_atexit_impl(
            destructor: unsafe extern "C" fn(*mut c_void),
            object: *mut c_void,
            dso: *mut c_void,
        ) -> i32;
    }
    // SAFETY: the function exists in every glibc since 2.18; `end` takes the pointer that is handed over, and checks that it
    // is still the thread's hub. The handle keeps a shared object that contains this code loaded until then.
    unsafe {
        let dso = (&raw const __dso_handle).cast_mut().cast();
        __cxa_thread_atexit_impl(end, hub.as_ptr().cast(), dso);
    }
}

/// Without glibc there is one registration, with std, at the creation of the hub.
#[cfg(not(target_env = "gnu"))]
fn register(hub: NonNull<Hub>) {
    struct Guard(Cell<*mut Hub>);
    impl Drop for Guard {
        fn drop(&mut self) {
            if !self.0.get().is_null() {
                // SAFETY: `end` checks that it is still the thread's hub.
                unsafe { end(self.0.get().cast()) };
            }
        }
    }
    thread_local! {
        static GUARD: Guard = const { Guard(Cell::new(ptr::null_mut())) };
    }
    // In a thread whose thread-locals are already gone nothing is left to register with, and the hub is lost.
    let _ = GUARD.try_with(|guard| guard.0.set(hub.as_ptr()));
}
