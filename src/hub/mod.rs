//! The hub: the loop that resumes the green threads of one OS thread.
//!
//! Owns the ready queue, the timers, the registered descriptors and the workers of its OS thread; it is the only module
//! that resumes a coroutine. A hub comes into being at the first call that needs one and ends with its thread.
//!
//! # Who runs the loop
//!
//! There is no runtime object and no thread of its own. Code on the OS thread's own stack (main, a test) is the *root*
//! task; when it has to wait, it runs `drive`, which resumes green threads until the root task's turn comes. A green
//! thread that has to wait suspends its worker and thereby returns into `drive`. So exactly one of these holds at any
//! moment: `current` is the root task and user code runs on the OS thread's stack; `current` is another task and its code
//! runs on a worker's stack, with `drive` below it on the OS thread's stack; `current` is empty and the hub itself runs.
//!
//! # The files
//!
//! `run` resumes tasks, for as long as `batch` allows; `poll` looks at events, messages and timers in between, and waits.
//! `current` finds the hub of a thread, `remote` with its `doorbell` is what other threads see. `root` makes the root task,
//! `cancel` and `exit` unwind tasks, `locals` destroys the variables that they leave, `deadlock` decides that nothing can
//! happen any more, `overflow` reports a stack that is too small. `injector` is where several hubs get fresh tasks from.
//! `workers` and `blocks` keep stacks and memory for reuse, `sinks` knows where events go.
//!
//! # Why a hub cannot be re-entered
//!
//! Everything here is reached by shared references; state is in `Cell`s, or in `RefCell`s whose borrows end before a task is
//! resumed, a waker is run by others, or user code is called. Events only fill the ready queue. A blocking call made
//! while `current` is empty, which could only come from code that the hub itself calls (a logger), is a panic.
#![allow(unsafe_code)]

mod batch;
mod blocks;
mod cancel;
mod current;
mod deadlock;
mod destructors;
mod doorbell;
mod exit;
mod injector;
mod locals;
mod overflow;
mod poll;
mod remote;
mod root;
mod run;
mod sinks;
mod workers;

use std::alloc::Layout;
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::coroutine::Worker;
use crate::poller::Events;
use crate::stack::Class;
use crate::task::{Home, ReadyQueue, Reason, Task, TaskList, TaskRef, Wait, Waker};
use crate::timer::{TimerId, Timers};

pub(crate) use cancel::{kill, unset_limit};
pub(crate) use current::{
    context, count_call, current_id, forget, free_task, here, id_for_task, is_interrupted,
    is_task_running, is_unwinding, note_caught, notify, schedule, try_here, wake,
};
pub(crate) use deadlock::{Deadlock, Harmless};
pub(crate) use exit::unwind_here;
pub(crate) use injector::{Injector, join_injector, place_in};
pub(crate) use locals::{clear_locals, destroy_locals};
pub(crate) use remote::Remote;
pub(crate) use sinks::Sink;

use batch::Batch;
use blocks::Blocks;
use current::CURRENT;
use deadlock::Watch;
use injector::Membership;
use root::{new_root, next_id};
use sinks::Sinks;
use workers::Workers;

/// The most calls that a green thread makes in one turn if none of them has to wait. A call takes between one and a few
/// microseconds for small messages and some twenty for large ones, so this bounds a turn to about two milliseconds.
const CALLS_AT_ONCE: u32 = 128;

/// What a timer does when it falls due.
#[derive(Clone, Copy, Debug)]
enum Alarm {
    /// Ends a wait.
    Wake(Waker),
    /// Has a task look at its time limits. It withdraws its alarms before it ends.
    Limit(NonNull<Task>),
}

/// The scheduler of one OS thread.
pub(crate) struct Hub {
    /// The number of the remote part, which is compared at each wake-up, without the detour.
    id: u64,
    remote: Arc<Remote>,
    root: TaskRef,
    /// The task whose code runs; empty while the hub itself runs.
    current: Cell<Option<NonNull<Task>>>,
    ready: ReadyQueue,
    /// Fresh tasks for which no stack could be had.
    starved: ReadyQueue,
    /// All tasks but the root that have not ended.
    tasks: TaskList,
    timers: RefCell<Timers<Alarm>>,
    sinks: RefCell<Sinks>,
    events: RefCell<Events>,
    workers: RefCell<Workers>,
    /// An idle worker of the default class that is not among those: what a green thread needs that is spawned and ends while
    /// others wait for it.
    spare: Cell<Option<NonNull<Worker>>>,
    /// Memory of tasks that have ended, for those to come.
    blocks: Blocks,
    batch: Batch,
    /// The zero of the hub's clock.
    start: Instant,
    /// The clock when the loop last looked at events.
    now: Cell<u64>,
    /// When memory was last given back by a busy hub.
    trimmed: Cell<u64>,
    /// Calls that did not have to wait since the running task got its turn.
    calls: Cell<u32>,
    /// Whether a quiet hub is in the middle of giving memory back.
    retiring: Cell<bool>,
    /// Whether a quiet hub has done what there is to do once, and nothing has run since.
    settled: Cell<bool>,
    /// Tasks that wait for something that the outside world can bring about.
    external_waits: Cell<usize>,
    /// Tasks that are suspended in the middle of unwinding, or have put an unwinding aside.
    unwinding: Cell<usize>,
    /// The unused part of the block of ids that this hub has taken.
    ids: Cell<(u64, u64)>,
    /// Stacks for green threads that did not ask for a size.
    default_class: Class,
    watch: RefCell<Watch>,
    /// What it takes fresh tasks from when it is idle, if it shares that with other hubs.
    membership: OnceCell<Membership>,
    exit: exit::Arming,
    /// Signal handlers of this thread run on it, if the thread had no stack for them.
    _signal_stack: Option<overflow::SignalStack>,
}

impl Hub {
    /// A hub for this thread, and what the program should be told about its settings.
    fn new() -> io::Result<(Hub, Option<String>)> {
        let remote = Remote::new()?;
        let mut workers = Workers::new(Hub::work);
        let (stack_size, complaint) = default_stack_size();
        let default_class = workers.class_of(stack_size)?;
        debug_assert_eq!(default_class, Class::FIRST);
        let ids = Cell::new((0, 0));
        let root = new_root(&remote, next_id(&ids), default_class);
        let hub = Hub {
            current: Cell::new(Some(root.as_ptr())),
            id: remote.id,
            remote,
            root,
            ready: ReadyQueue::new(),
            starved: ReadyQueue::new(),
            tasks: TaskList::new(),
            timers: RefCell::new(Timers::new()),
            sinks: RefCell::new(Sinks::new()),
            events: RefCell::new(Events::new()),
            workers: RefCell::new(workers),
            spare: Cell::new(None),
            blocks: Blocks::new(),
            batch: Batch::new(),
            start: Instant::now(),
            now: Cell::new(0),
            trimmed: Cell::new(0),
            calls: Cell::new(0),
            retiring: Cell::new(false),
            settled: Cell::new(false),
            external_waits: Cell::new(0),
            unwinding: Cell::new(0),
            ids,
            default_class,
            watch: RefCell::new(Watch::new()),
            membership: OnceCell::new(),
            exit: exit::Arming::new(),
            _signal_stack: overflow::install(),
        };
        Ok((hub, complaint))
    }

    pub(crate) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// The task whose code is running.
    ///
    /// # Panics
    ///
    /// Panics when the hub itself runs: what it calls must not block.
    #[inline(always)]
    pub(crate) fn running(&self) -> &Task {
        match self.try_running() {
            Some(task) => task,
            None => blocked_the_hub(),
        }
    }

    /// As `running`, for what may also be called by the hub itself.
    #[inline(always)]
    pub(crate) fn try_running(&self) -> Option<&Task> {
        // SAFETY: the running task cannot end while its code runs.
        self.current.get().map(|task| unsafe { &*task.as_ptr() })
    }

    pub(crate) fn default_class(&self) -> Class {
        self.default_class
    }

    /// The class of stacks with at least `size` usable bytes.
    pub(crate) fn class_of(&self, size: usize) -> io::Result<Class> {
        self.workers.borrow_mut().class_of(size)
    }

    /// A number that nothing else in the process has or ever had.
    pub(crate) fn next_id(&self) -> NonZeroU64 {
        next_id(&self.ids)
    }

    pub(crate) fn home(&self) -> (NonNull<dyn Home>, u64) {
        let home: &dyn Home = &*self.remote;
        (NonNull::from(home), self.id)
    }

    /// Nanoseconds since the hub's start.
    pub(crate) fn clock(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// The loop's last look at the clock, as a point in time.
    fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.now.get())
    }

    /// The clock as of the loop's last look, for what need not be exact.
    pub(crate) fn recent(&self) -> u64 {
        self.now.get()
    }

    /// Uninitialised memory for a task.
    pub(crate) fn allocate_task(&self, layout: Layout) -> NonNull<u8> {
        self.blocks.allocate(layout)
    }

    /// Takes over a fresh task, with the hub's reference to it, and queues it for its first turn. With `reserve`, a stack is
    /// set aside for it first.
    pub(crate) fn adopt(&self, task: &TaskRef, reserve: bool) -> io::Result<()> {
        if reserve {
            self.workers.borrow_mut().reserve(task.class)?;
            task.has_reservation.set(true);
        }
        self.list(task);
        self.ready.push(task.as_ptr());
        Ok(())
    }

    /// Takes over a fresh task that is to start at `deadline`.
    pub(crate) fn adopt_later(&self, task: &TaskRef, deadline: Instant) {
        self.list(task);
        task.reason.set(Reason::Start);
        let waker = task.begin(Wait::Open);
        self.arm(task, deadline, waker);
    }

    /// Takes over a fresh task that starts when its `start_waker` is used.
    pub(crate) fn adopt_dormant(&self, task: &TaskRef, reason: Reason) {
        self.list(task);
        task.reason.set(reason);
        task.begin(Wait::Open);
    }

    fn list(&self, task: &Task) {
        self.tasks.push(task);
        self.exit.count_spawn();
        task.since.set(self.recent());
    }

    /// Has `waker` end the task's wait at `deadline`, until `disarm`.
    pub(crate) fn arm(&self, task: &Task, deadline: Instant, waker: Waker) {
        let timer = self.set_alarm(deadline, Alarm::Wake(waker));
        task.timer.set(Some(timer));
    }

    fn set_alarm(&self, deadline: Instant, alarm: Alarm) -> TimerId {
        let deadline = deadline.saturating_duration_since(self.start).as_nanos();
        let deadline = u64::try_from(deadline).unwrap_or(u64::MAX);
        self.timers.borrow_mut().insert(deadline, alarm)
    }

    /// Has the hub look at the time limits of a task at `deadline`, until `withdraw_limit`.
    pub(crate) fn arm_limit(&self, task: &Task, deadline: Instant) -> TimerId {
        self.set_alarm(deadline, Alarm::Limit(NonNull::from(task)))
    }

    pub(crate) fn withdraw_limit(&self, timer: TimerId) {
        self.timers.borrow_mut().cancel(timer);
    }

    pub(crate) fn disarm(&self, task: &Task) {
        if let Some(timer) = task.timer.take() {
            self.timers.borrow_mut().cancel(timer);
        }
    }

    /// Counts a wait that the outside world can end, while it lasts.
    pub(crate) fn count_external_wait(&self, change: isize) {
        let waits = self.external_waits.get().wrapping_add_signed(change);
        self.external_waits.set(waits);
    }

    /// Registers a descriptor; its events go to `sink` until `forget`. Returns the token.
    pub(crate) fn register(&self, fd: RawFd, sink: Arc<dyn Sink>) -> io::Result<u64> {
        self.sinks
            .borrow_mut()
            .register(&self.remote.poller, fd, sink)
    }

    /// Queues the running task behind all that are ready and lets them run.
    #[inline(always)]
    pub(crate) fn let_others_run(&self) {
        let task = self.running();
        self.ready.push(NonNull::from(task));
        let switched = self.switch_out(task);
        debug_assert!(switched.is_ok(), "a ready task is no deadlock");
    }

    /// Counts a call that did not have to wait, and lets the others run after `CALLS_AT_ONCE` of them: a green thread whose
    /// peer is faster than itself would otherwise never wait.
    #[inline]
    pub(crate) fn count_call(&self) {
        let calls = self.calls.get() + 1;
        self.calls.set(calls);
        if calls >= CALLS_AT_ONCE && self.current.get().is_some() {
            self.let_others_run();
        }
    }

    /// Suspends the running task until it has been scheduled and its turn has come. Fails only for the root task, when
    /// that can never be.
    ///
    /// Inlined into the calls that block, down to the switch: a return instruction after a switch is mispredicted, because
    /// the processor's stack of return addresses is that of the hub, and costs as much as the switch itself.
    #[inline(always)]
    pub(crate) fn switch_out(&self, task: &Task) -> Result<(), Deadlock> {
        self.calls.set(0);
        let counted = if std::thread::panicking() {
            self.note_unwinding(task)
        } else {
            // Nobody on this OS thread unwinds; what this task was unwinding for has been caught.
            task.unwinding.set(false);
            false
        };
        let result = match task.worker.get() {
            Some(worker) => {
                // SAFETY: the task is the running one, so this code is on its worker's stack.
                unsafe { worker.as_ref().wait() };
                Ok(())
            }
            // Only the root task runs without a worker.
            None => self.drive(),
        };
        if counted {
            self.unwinding.set(self.unwinding.get() - 1);
        }
        result
    }
}

#[cold]
fn blocked_the_hub() -> ! {
    panic!(
        "a blocking call was made by code that runs on the hub itself, such as a logger: it would wait for itself; hand the \
         work to a green thread"
    );
}

/// `GREENHUB_STACK_SIZE` in bytes, or the default and what is wrong with the variable.
fn default_stack_size() -> (usize, Option<String>) {
    let default = crate::stack::DEFAULT_SIZE;
    let Some(value) = std::env::var_os("GREENHUB_STACK_SIZE") else {
        return (default, None);
    };
    match value.to_str().and_then(|value| value.parse().ok()) {
        Some(size) => (size, None),
        None => {
            let complaint = format!(
                "GREENHUB_STACK_SIZE is {value:?}, which is no number of bytes: using {default}"
            );
            (default, Some(complaint))
        }
    }
}
