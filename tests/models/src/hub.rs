//! In the place of `crate::hub`: a thread of loom with one task, which suspends by blocking that thread.
//!
//! What a hub does between two turns of a task happens here when the task suspends: its timer fires, it is killed. As loom
//! tries every order of this and of what the other threads do, it comes too early, too late, and in between.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::time::Instant;

use crate::atomic::Local;
use crate::coroutine::Class;
use crate::park::Kill;
use crate::task::{Home, Locals, Origin, Outcome, Task, Vtable, Waker};

pub(crate) struct Deadlock(pub(crate) String);

/// A task, and what its hub knows. Never freed.
pub(crate) struct Hub {
    task: ManuallyDrop<Task>,
    mailbox: NonNull<Mailbox>,
    timer: Cell<Option<Waker>>,
    is_doomed: Cell<bool>,
    /// What another task of the same hub does while this one is suspended.
    meanwhile: Cell<Option<Box<dyn FnOnce()>>>,
}

/// Whether the task is in the ready queue.
struct Mailbox {
    is_ready: loom::sync::Mutex<bool>,
    filled: loom::sync::Condvar,
}

impl Home for Mailbox {
    fn schedule_remotely(&self, _: NonNull<Task>) {
        let was_ready = std::mem::replace(&mut *self.is_ready.lock().unwrap(), true);
        assert!(!was_ready, "a task stands in the ready queue twice");
        self.filled.notify_one();
    }
}

static CURRENT: Local<usize> = Local { first: 0 };

#[derive(Clone, Copy)]
pub(crate) struct HubRef(&'static Hub);

impl Deref for HubRef {
    type Target = Hub;

    fn deref(&self) -> &Hub {
        self.0
    }
}

pub(crate) fn here() -> HubRef {
    assert_ne!(CURRENT.get(), 0, "only tasks wait");
    // SAFETY: `Tasks::new` leaks it.
    HubRef(unsafe { &*(CURRENT.get() as *const Hub) })
}

/// A task that is going to run on some thread.
#[derive(Clone, Copy)]
pub(crate) struct ModelTask(&'static Hub);

// SAFETY: as a task, it is used on other threads only in the ways that are being checked.
unsafe impl Send for ModelTask {}
// SAFETY: as above.
unsafe impl Sync for ModelTask {}

pub(crate) fn origin() -> Origin {
    Origin {
        id: NonZeroU64::MIN,
        name: None,
        site: Location::caller(),
        class: Class,
        scope: std::ptr::null(),
        locals: Locals::new(),
    }
}

/// The task was killed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Killed;

impl ModelTask {
    pub(crate) fn new() -> ModelTask {
        const TABLE: &Vtable = &Vtable {
            run: |_| unreachable!("the model runs it"),
            free: |_| (),
        };
        let mailbox: &Mailbox = Box::leak(Box::new(Mailbox {
            is_ready: loom::sync::Mutex::new(false),
            filled: loom::sync::Condvar::new(),
        }));
        // Hubs are told apart by number. The addresses of what is never freed will do.
        let id = std::ptr::from_ref(mailbox).addr() as u64;
        let home = NonNull::from(mailbox as &dyn Home);
        ModelTask(Box::leak(Box::new(Hub {
            task: ManuallyDrop::new(Task::new(TABLE, home, id, origin())),
            mailbox: NonNull::from(mailbox),
            timer: Cell::new(None),
            is_doomed: Cell::new(false),
            meanwhile: Cell::new(None),
        })))
    }

    /// A task that is killed when it first suspends, or before.
    pub(crate) fn doomed() -> ModelTask {
        let task = ModelTask::new();
        task.0.is_doomed.set(true);
        task
    }

    /// What another task of the same hub does when this one has suspended.
    pub(crate) fn meanwhile(self, f: impl FnOnce() + 'static) -> ModelTask {
        self.0.meanwhile.set(Some(Box::new(f)));
        self
    }

    pub(crate) fn home(&self) -> &'static dyn Home {
        // SAFETY: it is leaked.
        unsafe { self.0.mailbox.as_ref() }
    }

    pub(crate) fn task(&self) -> &'static Task {
        &self.0.task
    }

    /// Runs the task on the calling thread to its end.
    pub(crate) fn run<T>(self, body: impl FnOnce() -> T) -> Result<T, Killed> {
        CURRENT.set(std::ptr::from_ref(self.0).addr());
        let result = catch_unwind(AssertUnwindSafe(body));
        CURRENT.set(0);
        result.map_err(|payload| match payload.downcast::<Kill>() {
            Ok(_) => Killed,
            Err(payload) => resume_unwind(payload),
        })
    }

    /// As `run`, and frees the task: no other thread may count on its being there.
    pub(crate) fn run_and_end<T>(self, body: impl FnOnce() -> T) -> Result<T, Killed> {
        let result = self.run(body);
        // SAFETY: as the task's memory is leaked, this does no more than have loom look whether the task was still in use.
        unsafe { std::ptr::read(&raw const *self.0.task) };
        result
    }
}

impl Hub {
    pub(crate) fn running(&self) -> &Task {
        &self.task
    }

    pub(crate) fn is_unwinding(&self, task: &Task) -> bool {
        task.unwinding.get()
    }

    pub(crate) fn recent(&self) -> u64 {
        0
    }

    pub(crate) fn count_external_wait(&self, _change: isize) {}

    pub(crate) fn arm(&self, _: &Task, _: Instant, waker: Waker) {
        self.timer.set(Some(waker));
    }

    pub(crate) fn disarm(&self, _: &Task) {
        self.timer.set(None);
    }

    pub(crate) fn let_others_run(&self) {
        loom::thread::yield_now();
    }

    pub(crate) fn switch_out(&self, task: &Task) -> Result<(), Deadlock> {
        if let Some(waker) = self.timer.take() {
            // SAFETY: this is the task's thread.
            unsafe { wake(waker, Outcome::TimedOut) };
        }
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile();
        }
        if self.is_doomed.take() {
            task.killed.set(true);
            task.interrupted.set(true);
            if task.cancel_wait() {
                // SAFETY: the wait was ended right here.
                unsafe { schedule(NonNull::from(task)) };
            }
        }
        // SAFETY: it is leaked.
        let mailbox = unsafe { self.mailbox.as_ref() };
        let mut is_ready = mailbox.is_ready.lock().unwrap();
        while !*is_ready {
            is_ready = mailbox.filled.wait(is_ready).unwrap();
        }
        *is_ready = false;
        Ok(())
    }
}

pub(crate) fn is_task_running() -> bool {
    CURRENT.get() != 0
}

pub(crate) fn note_caught(_: NonZeroU64) {}

pub(crate) unsafe fn schedule(task: NonNull<Task>) {
    // SAFETY: the caller's contract.
    unsafe { task.as_ref().schedule_remotely() };
}

pub(crate) unsafe fn wake(waker: Waker, outcome: Outcome) -> bool {
    // SAFETY: the caller's contract, and then that of the successful `end`.
    unsafe {
        let task = waker.end(outcome);
        task.inspect(|&task| schedule(task)).is_some()
    }
}

pub(crate) unsafe fn notify(waker: Waker) -> bool {
    // SAFETY: the caller's contract.
    unsafe {
        if !is_task_running() || here().task.home_id() != waker.home_id() {
            return wake(waker, Outcome::Notified);
        }
        let task = waker.end_unrivalled(Outcome::Notified);
        task.inspect(|&task| schedule(task)).is_some()
    }
}
