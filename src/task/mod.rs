//! Tasks: what a green thread is to the scheduler, from its spawn to its end.
//!
//! Owns the wait word, the queues that tasks stand in, and their memory. A task is one reference-counted allocation: this
//! header, and behind it whatever the creator needs (the closure, the result), reached through a `Vtable`. The hub holds
//! one reference until the task has ended; handles hold the others.
//!
//! # The wait word
//!
//! `Task::word` holds the number of the current wait (the epoch) and one of these states:
//!
//! | state       | meaning                                    | set by                      | may become                   |
//! |-------------|--------------------------------------------|-----------------------------|------------------------------|
//! | `RUNNING`   | not started, running, or ready to run      | its hub's thread            | one of the next three        |
//! | `WAITING`   | about to suspend, or suspended             | its hub's thread (`begin`)  | one of the last three        |
//! | `PARKED`    | the same, and `unpark` may end it          | its hub's thread (`begin`)  | one of the last three        |
//! | `ORDERLY`   | as `WAITING`, see below                    | its hub's thread (`begin`)  | one of the last three        |
//! | `NOTIFIED`  | what it waited for happened; scheduled     | any thread, by one CAS      | `RUNNING`, when resumed      |
//! | `TIMED_OUT` | its deadline passed; scheduled             | its hub's thread, by CAS    | `RUNNING`, when resumed      |
//! | `CANCELLED` | it has to unwind; scheduled                | any thread, by one CAS      | `RUNNING`, when resumed      |
//!
//! A wait is ended by exactly one successful compare-and-swap from (`epoch`, one of the states of waiting), and whoever makes
//! it schedules the task. That is the whole protocol: a waker of an earlier wait fails because the epoch has moved on, two
//! wakers of one wait cannot both succeed, and a task can never stand in a ready queue twice. A wake-up that arrives after
//! `begin` but before the suspension needs no care: it schedules the task, and only the task's own hub can resume it,
//! which cannot happen before that task has switched out.
//!
//! # Orderly waits
//!
//! Most waits are in one queue, and most are ended on the task's own thread, where an atomic read-modify-write costs as much as
//! the switch. Only these may end an `ORDERLY` wait: whoever holds the one lock under which its waker is kept, and the thread
//! of the task's hub (which alone can reach a waker that is kept without a lock). So the thread of the hub, if it holds
//! that lock or there is none, has no rival: others would need the lock, and timers and kills are handled on the same
//! thread. It ends the wait with a load and a store (`end_unrivalled`). Everybody else, timers and kills included, has a rival in
//! another thread that holds the lock, and uses the compare-and-swap.
//!
//! # Which thread may touch what
//!
//! `word`, `token`, `references`, `home_id` and the fields that never change are shared. Everything in a `Cell`, and the locals,
//! belong to the thread of the task's hub; before there is one, to whoever claims the task.
//!
//! # Tasks without a home
//!
//! A task of a `Send` closure may be made before it is known who will run it. Then `home_id` says who does:
//!
//! | `home_id`         | meaning                                                      | set by, once                          |
//! |-------------------|--------------------------------------------------------------|---------------------------------------|
//! | `UNCLAIMED`       | it is queued for the hub or the thread that will run it      | its creator                           |
//! | a hub's number    | it belongs to that hub, as if it had been spawned there      | its creator, or that hub (`adopt_by`) |
//! | `ON_OS_THREAD`    | a thread of the blocking pool runs it, or has run it         | that thread (`claim`)                 |
//! | `WITHDRAWN`       | it was killed before anybody claimed it; it never runs       | the killer (`claim`)                  |
//!
//! The three claims are made by one compare-and-swap from `UNCLAIMED`, so that exactly one succeeds; the closure belongs
//! to whoever made it. Those who queue for a task's end must do so where other threads may, until they see their own
//! hub's number.
#![allow(unsafe_code)]

mod limit;
mod locals;
mod ready_queue;
mod reason;
mod task_list;

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::panic::Location;
use std::ptr::NonNull;

use crate::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::coroutine::Worker;
use crate::stack::Class;
use crate::timer::TimerId;

pub(crate) use limit::{Interruption, Limit};
pub(crate) use locals::{Destroyed, Locals, Value};
pub(crate) use ready_queue::ReadyQueue;
pub(crate) use reason::Reason;
pub(crate) use task_list::TaskList;

const STATE_BITS: u32 = 3;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;
const RUNNING: u64 = 0;
const WAITING: u64 = 1;
const PARKED: u64 = 2;
const NOTIFIED: u64 = 3;
const TIMED_OUT: u64 = 4;
const CANCELLED: u64 = 5;
const ORDERLY: u64 = 6;

/// Values of `Task::home_id` that are no hub's number; see the table above.
const UNCLAIMED: u64 = 0;
const ON_OS_THREAD: u64 = u64::MAX;
const WITHDRAWN: u64 = u64::MAX - 1;

/// Who may end a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Wait {
    /// Whoever has the waker.
    Open = WAITING,
    /// As `Open`, and `unpark`.
    Park = PARKED,
    /// See "Orderly waits" in the module's documentation.
    Orderly = ORDERLY,
}

impl Wait {
    const STATES: [u64; 3] = [WAITING, PARKED, ORDERLY];
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Outcome {
    Notified = NOTIFIED,
    TimedOut = TIMED_OUT,
    Cancelled = CANCELLED,
}

/// A hub, as the tasks that belong to it and the wakers on other threads know it.
pub(crate) trait Home: Sync {
    /// Schedules a woken task from a thread that is not the hub's.
    fn schedule_remotely(&self, task: NonNull<Task>);
}

/// What a killer sends along; boxed once more to take one word in the task.
pub(crate) type Farewell = Box<dyn Any + Send>;

/// What a task's creator supplies.
pub(crate) struct Vtable {
    /// Runs the task to its end on the current stack, or, when it was cancelled before it started, only ends it. Called
    /// once, on the hub's thread; must not unwind.
    pub(crate) run: unsafe fn(NonNull<Task>),
    /// Frees the allocation when the last reference is gone, on any thread.
    pub(crate) free: unsafe fn(NonNull<Task>),
}

/// The header of a task.
pub(crate) struct Task {
    vtable: &'static Vtable,
    /// Handles plus one for the hub until the task has ended.
    references: AtomicUsize,
    /// See the state table above.
    word: AtomicU64,
    /// Set by `unpark`, consumed by `park`.
    token: AtomicBool,
    /// The hub that the task belongs to. Alive for as long as the task has not ended; see `Waker::wake`. Written once, before
    /// `home_id` says that there is a hub, and read only after that.
    home: Cell<NonNull<dyn Home>>,
    /// The hub's number, by which a thread recognises tasks of its own hub; numbers are never reused, addresses are. Or who
    /// else runs the task, see above.
    home_id: AtomicU64,
    pub(crate) id: NonZeroU64,
    pub(crate) name: Option<Box<str>>,
    /// Where it was spawned.
    pub(crate) site: &'static Location<'static>,
    /// The kind of stack it needs.
    pub(crate) class: Class,
    /// The scope it belongs to, by address; null for none.
    pub(crate) scope: *const (),
    /// What it runs on: from its first run until its end.
    pub(crate) worker: Cell<Option<NonNull<Worker>>>,
    /// Its deadline, while it waits with one.
    pub(crate) timer: Cell<Option<TimerId>>,
    /// What it waits for, and since when on the hub's clock.
    pub(crate) reason: Cell<Reason>,
    pub(crate) since: Cell<u64>,
    /// It was killed, or one of its time limits has passed: it has to unwind at its next suspension.
    pub(crate) interrupted: Cell<bool>,
    /// It was killed.
    pub(crate) killed: Cell<bool>,
    /// What its killer wants its joiners to get.
    pub(crate) farewell: Cell<Option<Box<Farewell>>>,
    /// It has been unwound for an interruption that still stands.
    pub(crate) was_raised: Cell<bool>,
    /// The innermost of the limits that it is subject to.
    pub(crate) limit: Cell<Option<NonNull<Limit>>>,
    /// Its green-thread locals.
    pub(crate) locals: Locals,
    /// It was unwinding when it last suspended.
    pub(crate) unwinding: Cell<bool>,
    /// A stack was set aside for its start.
    pub(crate) has_reservation: Cell<bool>,
    /// The neighbours in the hub's list of tasks that have not ended.
    older: Cell<Option<NonNull<Task>>>,
    younger: Cell<Option<NonNull<Task>>>,
}

// SAFETY: the fields in cells and the locals are touched by the hub's thread only, as the module's documentation demands; the rest is
// immutable or atomic. `home` is `Sync`; `scope` is compared, never followed.
unsafe impl Sync for Task {}
// SAFETY: as above; a task may be freed by any thread, and what it then holds (a name) is `Send`. Its locals are gone by then.
unsafe impl Send for Task {}

/// What `Task::new` needs to know.
pub(crate) struct Origin {
    pub(crate) id: NonZeroU64,
    pub(crate) name: Option<Box<str>>,
    pub(crate) site: &'static Location<'static>,
    pub(crate) class: Class,
    pub(crate) scope: *const (),
    pub(crate) locals: Locals,
}

impl Task {
    /// A header that already counts two references: the hub's and the creator's.
    pub(crate) fn new(
        vtable: &'static Vtable,
        home: NonNull<dyn Home>,
        home_id: u64,
        origin: Origin,
    ) -> Task {
        Task {
            vtable,
            references: AtomicUsize::new(2),
            word: AtomicU64::new(RUNNING),
            token: AtomicBool::new(false),
            home: Cell::new(home),
            home_id: AtomicU64::new(home_id),
            id: origin.id,
            name: origin.name,
            site: origin.site,
            class: origin.class,
            scope: origin.scope,
            worker: Cell::new(None),
            timer: Cell::new(None),
            reason: Cell::new(Reason::Turn),
            since: Cell::new(0),
            interrupted: Cell::new(false),
            killed: Cell::new(false),
            farewell: Cell::new(None),
            was_raised: Cell::new(false),
            limit: Cell::new(None),
            locals: origin.locals,
            unwinding: Cell::new(false),
            has_reservation: Cell::new(false),
            older: Cell::new(None),
            younger: Cell::new(None),
        }
    }

    /// A header without a home, which counts two references: that of whoever will run it, and the creator's.
    pub(crate) fn without_home(vtable: &'static Vtable, origin: Origin) -> Task {
        struct Nowhere;

        impl Home for Nowhere {
            fn schedule_remotely(&self, _: NonNull<Task>) {
                unreachable!("a task waits only after a hub has adopted it");
            }
        }

        let nowhere: &dyn Home = &Nowhere;
        Task::new(vtable, NonNull::from(nowhere), UNCLAIMED, origin)
    }

    /// The number of the task's hub, or one of the constants beside the table above.
    #[inline(always)]
    pub(crate) fn home_id(&self) -> u64 {
        self.home_id.load(Ordering::Acquire)
    }

    /// Settles who runs, or withdraws, a task without a home. Returns whether this call did.
    fn claim(&self, claimant: u64) -> bool {
        self.home_id
            .compare_exchange(UNCLAIMED, claimant, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// As `claim`, for the hub of the calling thread.
    ///
    /// # Safety
    ///
    /// The caller must hold the reference of whoever will run the task, of which there is one.
    pub(crate) unsafe fn adopt_by(&self, home: NonNull<dyn Home>, home_id: u64) -> bool {
        // Not raced: only the holder of that reference writes here, and others read after they have seen the claim.
        self.home.set(home);
        self.claim(home_id)
    }

    /// Runs a task without a home on the calling OS thread, which no hub will do then, unless it has been withdrawn.
    pub(crate) fn run_on_os_thread(&self) {
        if self.claim(ON_OS_THREAD) {
            // SAFETY: claimed, and only one claim succeeds.
            unsafe { self.run() };
        }
    }

    /// Kills a task without a home that nobody has claimed: it never runs, and its closure is dropped here. Otherwise gives
    /// the farewell back.
    pub(crate) fn withdraw(&self, farewell: Option<Farewell>) -> Result<(), Option<Farewell>> {
        if self.home_id() != UNCLAIMED || !self.claim(WITHDRAWN) {
            return Err(farewell);
        }
        self.killed.set(true);
        self.farewell.set(farewell.map(Box::new));
        // SAFETY: claimed, and only one claim succeeds.
        unsafe { self.run() };
        Ok(())
    }

    /// Closes the wait for its start, if it was spawned with one.
    pub(crate) fn start(&self) {
        let word = self.word.load(Ordering::Acquire);
        if word & STATE_MASK != RUNNING {
            self.finish_wait();
        }
    }

    /// Runs the task to its end.
    ///
    /// # Safety
    ///
    /// Only once: by the body of a worker of the task's hub, or by who has claimed a task without a home.
    pub(crate) unsafe fn run(&self) {
        // SAFETY: the caller's contract is that of the table's function.
        unsafe { (self.vtable.run)(NonNull::from(self)) }
    }

    /// Opens a wait and returns what ends it. The task must be the running one of the calling thread.
    #[inline(always)]
    pub(crate) fn begin(&self, wait: Wait) -> Waker {
        let word = self.word.load(Ordering::Relaxed);
        debug_assert_eq!(
            word & STATE_MASK,
            RUNNING,
            "a task waits for one thing at a time"
        );
        let epoch = (word >> STATE_BITS) + 1;
        let open = epoch << STATE_BITS | wait as u64;
        if wait == Wait::Park {
            // Ordered against `token` in `unpark`: of this store and the later load of the token here, and the store of the
            // token and the later load of the word there, one side sees the other's.
            self.word.store(open, Ordering::SeqCst);
        } else {
            self.word.store(open, Ordering::Release);
        }
        Waker {
            task: NonNull::from(self),
            epoch,
        }
    }

    /// What ends the wait that the task is in. The task must be one of the calling thread's hub that has not started.
    pub(crate) fn start_waker(&self) -> Waker {
        Waker {
            task: NonNull::from(self),
            epoch: self.word.load(Ordering::Relaxed) >> STATE_BITS,
        }
    }

    /// Closes the wait that the hub has just resumed the task from, and says how it ended.
    pub(crate) fn finish_wait(&self) -> Outcome {
        let word = self.word.load(Ordering::Acquire);
        self.word.store(word & !STATE_MASK, Ordering::Relaxed);
        match word & STATE_MASK {
            NOTIFIED => Outcome::Notified,
            TIMED_OUT => Outcome::TimedOut,
            CANCELLED => Outcome::Cancelled,
            state => unreachable!("a task was resumed in state {state}, before its wait ended"),
        }
    }

    /// Closes a wait that was opened but will not be suspended for. Fails when something has already ended it: the task is
    /// then scheduled, and has to suspend.
    pub(crate) fn abort_wait(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        Wait::STATES.contains(&(word & STATE_MASK))
            && self
                .word
                .compare_exchange(
                    word,
                    word & !STATE_MASK,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Ends whatever wait the task is in. Returns whether it was waiting.
    fn end_any_wait(&self, states: &[u64], outcome: Outcome) -> bool {
        let mut word = self.word.load(Ordering::SeqCst);
        while states.contains(&(word & STATE_MASK)) {
            let woken = word & !STATE_MASK | outcome as u64;
            match self
                .word
                .compare_exchange_weak(word, woken, Ordering::AcqRel, Ordering::SeqCst)
            {
                Ok(_) => return true,
                Err(current) => word = current,
            }
        }
        false
    }

    /// Makes the token available and ends a wait in `park`. Returns whether the caller has to schedule the task.
    pub(crate) fn unpark(&self) -> bool {
        // A store would do for the token, but not for two that unpark: whoever takes the token of the second must see what the
        // first one did as well, and only a chain of read-modify-writes hands that on.
        self.token.swap(true, Ordering::SeqCst);
        self.end_any_wait(&[PARKED], Outcome::Notified)
    }

    /// Takes the token, if it is there.
    pub(crate) fn take_token(&self) -> bool {
        self.token.load(Ordering::SeqCst) && self.token.swap(false, Ordering::SeqCst)
    }

    /// Ends the task's wait so that it unwinds. Returns whether the caller has to schedule it; a task that is not waiting
    /// meets its cancellation when it next suspends.
    pub(crate) fn cancel_wait(&self) -> bool {
        self.end_any_wait(&Wait::STATES, Outcome::Cancelled)
    }

    /// Whether the task has been run at least once. Hub's thread only.
    pub(crate) fn has_started(&self) -> bool {
        self.worker.get().is_some()
    }

    /// Has the task's hub schedule it, from another thread.
    ///
    /// # Safety
    ///
    /// The caller must have ended a wait of the task, and not have scheduled it yet.
    pub(crate) unsafe fn schedule_remotely(&self) {
        // SAFETY: a hub outlives its tasks, and this one cannot end before it has been scheduled by this very call.
        unsafe { self.home.get().as_ref() }.schedule_remotely(NonNull::from(self));
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "green thread {} '{name}'", self.id),
            None => write!(f, "green thread {}", self.id),
        }
    }
}

/// Ends one particular wait of one task. Holds no reference: see `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waker {
    task: NonNull<Task>,
    epoch: u64,
}

impl Waker {
    /// Ends the wait, unless it has already ended. Returns the task when this call ended it; the caller must schedule it.
    ///
    /// # Safety
    ///
    /// The task must not have been freed. It has not been while its wait is not closed, so it is enough that the waiting
    /// side has to get past the caller (a lock, or being on the same thread) before it returns from a wait that this
    /// waker did not end.
    pub(crate) unsafe fn end(self, outcome: Outcome) -> Option<NonNull<Task>> {
        // SAFETY: the caller's contract.
        let task = unsafe { self.task.as_ref() };
        let woken = self.epoch << STATE_BITS | outcome as u64;
        let mut word = task.word.load(Ordering::Relaxed);
        while self.is_open(word) {
            match task
                .word
                .compare_exchange_weak(word, woken, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Some(self.task),
                Err(current) => word = current,
            }
        }
        None
    }

    /// As `end`, for one who has no rival if the wait is orderly.
    ///
    /// # Safety
    ///
    /// As for `end`. The caller must be on the thread of the task's hub and hold the lock under which the waker is kept, if
    /// there is one.
    #[inline(always)]
    pub(crate) unsafe fn end_unrivalled(self, outcome: Outcome) -> Option<NonNull<Task>> {
        // SAFETY: the caller's contract.
        let task = unsafe { self.task.as_ref() };
        let open = self.epoch << STATE_BITS;
        if task.word.load(Ordering::Relaxed) == open | ORDERLY {
            // Read by this thread, and otherwise only by those who compare and find the wait ended.
            task.word.store(open | outcome as u64, Ordering::Relaxed);
            return Some(self.task);
        }
        // SAFETY: the caller's contract.
        unsafe { self.end(outcome) }
    }

    /// The number of the task's hub.
    ///
    /// # Safety
    ///
    /// As for `end`.
    #[inline(always)]
    pub(crate) unsafe fn home_id(self) -> u64 {
        // SAFETY: the caller's contract.
        unsafe { self.task.as_ref() }.home_id()
    }

    fn is_open(self, word: u64) -> bool {
        word >> STATE_BITS == self.epoch && Wait::STATES.contains(&(word & STATE_MASK))
    }
}

/// A counted reference to a task.
pub(crate) struct TaskRef(NonNull<Task>);

// SAFETY: a task is `Send` and `Sync`, and its count is atomic.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    /// # Safety
    ///
    /// The caller must own one of the references that the task counts, and gives it up.
    pub(crate) unsafe fn from_raw(task: NonNull<Task>) -> TaskRef {
        TaskRef(task)
    }

    pub(crate) fn as_ptr(&self) -> NonNull<Task> {
        self.0
    }

    /// A reference to a task that the caller knows to be alive.
    pub(crate) fn of(task: &Task) -> TaskRef {
        task.references.fetch_add(1, Ordering::Relaxed);
        TaskRef(NonNull::from(task))
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        TaskRef::of(self)
    }
}

impl Deref for TaskRef {
    type Target = Task;

    fn deref(&self) -> &Task {
        // SAFETY: the reference that this value counts for keeps the task alive.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        // A sole owner cannot be raced by anybody: no read-modify-write is needed. `Acquire` and `Release` make what other
        // owners did before they let go visible to the one that frees.
        if self.references.load(Ordering::Acquire) != 1
            && self.references.fetch_sub(1, Ordering::AcqRel) != 1
        {
            return;
        }
        // SAFETY: this was the last reference.
        unsafe { (self.vtable.free)(self.0) };
    }
}
