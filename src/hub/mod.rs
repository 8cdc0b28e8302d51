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
//! # Fairness
//!
//! After `BATCH_TURNS` turns, or after `BATCH_TIME`, the loop looks at events, messages and timers, whoever is still ready.
//! The count bounds the delay of I/O by cheap turns (1,024 of 10 ns are 10 us, against which the system call of about
//! half a microsecond is small); the time bounds it when turns are long. The clock is not read at every turn, which
//! would double the price of one: it is read after 1, 2, 4 ... 64 turns, and from 1 again when a stride took long.
//!
//! # Why a hub cannot be re-entered
//!
//! Everything here is reached by shared references; state is in `Cell`s, or in `RefCell`s whose borrows end before a task is
//! resumed, a waker is run by others, or user code is called. Events only fill the ready queue. A blocking call made
//! while `current` is empty, which could only come from code that the hub itself calls (a logger), is a panic.
#![allow(unsafe_code)]

mod blocks;
mod deadlock;
mod exit;
mod overflow;
mod remote;
mod workers;

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::io;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use slab::Slab;

use crate::coroutine::{Suspended, Worker};
use crate::poller::{Events, Readiness};
use crate::stack::Class;
use crate::task::{
    Home, Origin, Outcome, ReadyQueue, Reason, Task, TaskList, TaskRef, Vtable, Waker,
};
use crate::timer::Timers;

pub(crate) use deadlock::{Deadlock, Harmless};
pub(crate) use remote::Remote;

use blocks::Blocks;
use deadlock::Watch;
use remote::Message;
use workers::Workers;

/// The most turns between two looks at events, messages and timers.
const BATCH_TURNS: u32 = 1024;

/// The longest time between them, as far as green threads that do not let others run allow it.
const BATCH_TIME: u64 = 5_000_000;

/// The most turns between two readings of the clock, and the time in nanoseconds beyond which a stride was long.
const MAX_STRIDE: u32 = 64;
const LONG_STRIDE: u64 = 500_000;

/// How long a hub has had nothing to do before it gives memory back and looks for a deadlock, once.
const QUIET: Duration = Duration::from_millis(100);

/// How often a busy hub gives back memory that it has not needed.
const TRIM_INTERVAL: u64 = 1_000_000_000;

thread_local! {
    /// The hub of this thread. No destructor: it can be read at any time, also in a signal handler.
    static CURRENT: Cell<*const Hub> = const { Cell::new(ptr::null()) };
}

/// What a registered descriptor's events are delivered to.
pub(crate) trait Sink: Send + Sync {
    /// Notes the readiness and wakes who waits for it. Called on the hub's thread; must not block or call user code.
    fn deliver(&self, readiness: Readiness);
}

/// The scheduler of one OS thread.
pub(crate) struct Hub {
    remote: Arc<Remote>,
    root: TaskRef,
    /// The task whose code runs; empty while the hub itself runs.
    current: Cell<Option<NonNull<Task>>>,
    ready: ReadyQueue,
    /// Fresh tasks for which no stack could be had.
    starved: ReadyQueue,
    /// All tasks but the root that have not ended.
    tasks: TaskList,
    timers: RefCell<Timers<Waker>>,
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
    /// Whether a quiet hub has done what there is to do once, and nothing has run since.
    settled: Cell<bool>,
    /// Tasks that wait for something that the outside world can bring about.
    external_waits: Cell<usize>,
    /// Tasks that are suspended in the middle of unwinding.
    unwinding: Cell<usize>,
    /// The unused part of the block of ids that this hub has taken.
    ids: Cell<(u64, u64)>,
    /// Stacks for green threads that did not ask for a size.
    default_class: Class,
    watch: RefCell<Watch>,
    exit: exit::Arming,
    /// Signal handlers of this thread run on it, if the thread had no stack for them.
    _signal_stack: Option<overflow::SignalStack>,
}

/// The registered descriptors' sinks, by the lower half of their tokens.
struct Sinks {
    slots: Slab<(u32, Arc<dyn Sink>)>,
    /// The upper half of the next token: an event for a sink that is gone cannot be taken for its successor's.
    generation: u32,
}

/// How many turns are left before the loop has to look at events.
struct Batch {
    /// Turns before the clock has to be read.
    turns: Cell<u32>,
    /// Turns beyond those.
    left: Cell<u32>,
    stride: Cell<u32>,
    began: Cell<u64>,
    checked: Cell<u64>,
}

/// This thread's hub, as a function that runs on the thread sees it. See `Hub::current` for how long it lives.
///
/// A handle rather than a closure that gets a reference: whatever blocks has to be inlined down to the switch, and closures
/// are not always.
#[derive(Clone, Copy)]
pub(crate) struct HubRef(NonNull<Hub>);

impl Deref for HubRef {
    type Target = Hub;

    #[inline(always)]
    fn deref(&self) -> &Hub {
        // SAFETY: the handle stays on the hub's thread (it is not `Send`) and in functions that run on it, and the hub outlives
        // those.
        unsafe { self.0.as_ref() }
    }
}

/// This thread's hub, created at the first call.
///
/// # Panics
///
/// Panics when the hub cannot be created because descriptors or memory have run out.
#[inline(always)]
pub(crate) fn here() -> HubRef {
    match Hub::current() {
        Some(hub) => hub,
        None => Hub::create().unwrap_or_else(|error| panic!("{error}")),
    }
}

/// As `here`, but reports that no hub can be had.
pub(crate) fn try_here() -> io::Result<HubRef> {
    Hub::current().map_or_else(Hub::create, Ok)
}

/// The number of this thread's hub, if it has one.
pub(crate) fn current_id() -> Option<u64> {
    Hub::current().map(|hub| hub.remote.id)
}

/// Puts a task whose wait the caller has ended on its hub's ready queue, from any thread.
///
/// # Safety
///
/// The caller must have ended a wait of the task, and not have scheduled it yet.
pub(crate) unsafe fn schedule(task: NonNull<Task>) {
    // SAFETY: a task that has been woken but not scheduled cannot end, so it is alive; and so is this thread's hub.
    unsafe {
        match Hub::current() {
            Some(hub) if hub.remote.id == task.as_ref().home_id => hub.ready.push(task),
            _ => task.as_ref().schedule_remotely(),
        }
    }
}

/// Ends a wait and schedules its task. Returns whether this call ended it.
///
/// # Safety
///
/// As for [`Waker::end`].
pub(crate) unsafe fn wake(waker: Waker, outcome: Outcome) -> bool {
    // SAFETY: the caller's contract, and then that of the successful `end`.
    unsafe {
        match waker.end(outcome) {
            Some(task) => {
                schedule(task);
                true
            }
            None => false,
        }
    }
}

impl Hub {
    /// This thread's hub. It stays alive until the thread's end, when no green thread is left and the root task's code
    /// has returned, so it outlives every function that holds on to it and can still be running.
    #[inline(always)]
    fn current() -> Option<HubRef> {
        NonNull::new(CURRENT.get().cast_mut()).map(HubRef)
    }

    #[cold]
    fn create() -> io::Result<HubRef> {
        let hub = Hub::new().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot create the hub of this thread: {error}"),
            )
        })?;
        let hub = HubRef(NonNull::from(Box::leak(Box::new(hub))));
        CURRENT.set(hub.0.as_ptr());
        hub.arm_exit();
        Ok(hub)
    }

    fn new() -> io::Result<Hub> {
        let remote = Arc::new(Remote::new()?);
        let mut workers = Workers::new(Hub::work);
        let default_class = workers.class_of(default_stack_size())?;
        let ids = Cell::new((0, 0));
        let root = new_root(&remote, next_id(&ids), default_class);
        Ok(Hub {
            current: Cell::new(Some(root.as_ptr())),
            remote,
            root,
            ready: ReadyQueue::new(),
            starved: ReadyQueue::new(),
            tasks: TaskList::new(),
            timers: RefCell::new(Timers::new()),
            sinks: RefCell::new(Sinks {
                slots: Slab::new(),
                generation: 0,
            }),
            events: RefCell::new(Events::new()),
            workers: RefCell::new(workers),
            spare: Cell::new(None),
            blocks: Blocks::new(),
            batch: Batch::new(),
            start: Instant::now(),
            now: Cell::new(0),
            trimmed: Cell::new(0),
            settled: Cell::new(false),
            external_waits: Cell::new(0),
            unwinding: Cell::new(0),
            ids,
            default_class,
            watch: RefCell::new(Watch::new()),
            exit: exit::Arming::new(),
            _signal_stack: overflow::install(),
        })
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
        match self.current.get() {
            // SAFETY: the running task cannot end while its code runs.
            Some(task) => unsafe { &*task.as_ptr() },
            None => blocked_the_hub(),
        }
    }

    pub(crate) fn default_class(&self) -> Class {
        self.default_class
    }

    /// The class of stacks with at least `size` usable bytes.
    pub(crate) fn class_of(&self, size: usize) -> io::Result<Class> {
        self.workers.borrow_mut().class_of(size)
    }

    pub(crate) fn next_id(&self) -> NonZeroU64 {
        next_id(&self.ids)
    }

    pub(crate) fn home(&self) -> (NonNull<dyn Home>, u64) {
        let home: &dyn Home = &*self.remote;
        (NonNull::from(home), self.remote.id)
    }

    /// Nanoseconds since the hub's start.
    pub(crate) fn clock(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
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
        let waker = task.begin(false);
        self.arm(task, deadline, waker);
    }

    fn list(&self, task: &Task) {
        self.tasks.push(task);
        self.exit.count_spawn();
        task.since.set(self.recent());
    }

    /// Has `waker` end the task's wait at `deadline`, until `disarm`.
    pub(crate) fn arm(&self, task: &Task, deadline: Instant, waker: Waker) {
        let deadline = deadline.saturating_duration_since(self.start).as_nanos();
        let deadline = u64::try_from(deadline).unwrap_or(u64::MAX);
        let timer = self.timers.borrow_mut().insert(deadline, waker);
        task.timer.set(Some(timer));
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
    pub(crate) fn register(&self, fd: i32, sink: Arc<dyn Sink>) -> io::Result<u64> {
        let mut sinks = self.sinks.borrow_mut();
        sinks.generation = sinks.generation.wrapping_add(1) & (u32::MAX >> 1);
        let generation = sinks.generation;
        let slot = sinks.slots.insert((generation, sink));
        let token = u64::from(generation) << 32 | slot as u64;
        if let Err(error) = self.remote.poller.register(fd, token) {
            sinks.slots.remove(slot);
            return Err(error);
        }
        Ok(token)
    }

    /// Queues the running task behind all that are ready and lets them run.
    #[inline(always)]
    pub(crate) fn let_others_run(&self) {
        let task = self.running();
        self.ready.push(NonNull::from(task));
        let switched = self.switch_out(task);
        debug_assert!(switched.is_ok(), "a ready task is no deadlock");
    }

    /// Suspends the running task until it has been scheduled and its turn has come. Fails only for the root task, when
    /// that can never be.
    ///
    /// Inlined into the calls that block, down to the switch: a return instruction after a switch is mispredicted, because
    /// the processor's stack of return addresses is that of the hub, and costs as much as the switch itself.
    #[inline(always)]
    pub(crate) fn switch_out(&self, task: &Task) -> Result<(), Deadlock> {
        let counted = std::thread::panicking() && self.note_unwinding(task);
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

    /// Runs the others until the root task's turn.
    #[inline(never)]
    fn drive(&self) -> Result<(), Deadlock> {
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
        self.rearm_exit();
        result
    }

    /// The next task in the ready queue, unless it is time to look at events.
    #[inline(always)]
    fn next_turn(&self) -> Option<NonNull<Task>> {
        if self.ready.is_empty() || !self.batch.take_turn(|| self.clock()) {
            return None;
        }
        self.ready.pop()
    }

    /// Runs a task, and the fresh ones that follow on its worker, until the worker suspends.
    #[inline(always)]
    fn resume(&self, task: NonNull<Task>) {
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
            if self.starved.is_empty() && class == self.default_class && self.spare.get().is_none()
            {
                self.spare.set(Some(worker));
            } else {
                self.take_in(worker);
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
        if self.starved.is_empty() {
            log::warn!("green threads have to wait for others to end: {error}");
        }
        self.starved.push(NonNull::from(task));
        task.reason.set(Reason::Stack);
    }

    /// The body of every worker: runs fresh tasks one after another.
    fn work(worker: &Worker) {
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
                self.tasks.remove(task);
            }
            // SAFETY: this is the hub's reference.
            drop(unsafe { TaskRef::from_raw(task) });
            next = self.next_fresh(worker.class());
            if next.is_some() {
                self.current.set(next);
            }
        }
    }

    /// Takes the next task if it can run on the worker that has just become free, which saves leaving and entering it.
    fn next_fresh(&self, class: Class) -> Option<NonNull<Task>> {
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

    /// Looks at events, messages and timers; waits for them when nothing is ready.
    fn poll(&self) -> Result<(), Deadlock> {
        let (timeout, quiet) = self.poll_timeout();
        let may_sleep = timeout != Some(Duration::ZERO) && self.remote.fall_asleep();
        let timeout = if may_sleep {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        let mut events = self.events.borrow_mut();
        if let Err(error) = self.remote.poller.wait(&mut events, timeout) {
            // Every error that epoll documents is a misuse of it, none a condition of the system.
            panic!("cannot wait for events: {error}");
        }
        self.remote.wake_up();
        self.end_watch();
        self.now.set(self.clock());
        self.deliver(&events);
        drop(events);
        self.receive();
        self.fire_timers();
        self.batch.begin(self.now.get());
        if !self.ready.is_empty() {
            self.settled.set(false);
            self.trim();
        } else if quiet && may_sleep {
            self.settle()?;
        }
        Ok(())
    }

    /// How long the poller may wait, and whether the hub is quiet if nothing comes until then.
    fn poll_timeout(&self) -> (Option<Duration>, bool) {
        if !self.ready.is_empty() {
            return (Some(Duration::ZERO), false);
        }
        let next = self.timers.borrow().next_deadline();
        let timeout =
            next.map(|deadline| Duration::from_nanos(deadline.saturating_sub(self.clock())));
        let unsettled =
            !self.settled.get() && (self.is_stuck() || self.workers.borrow().has_surplus());
        if unsettled && timeout.is_none_or(|timeout| timeout > QUIET) {
            return (Some(QUIET), true);
        }
        (timeout, false)
    }

    /// Whether only another thread could still make a task ready.
    fn is_stuck(&self) -> bool {
        self.external_waits.get() == 0 && self.timers.borrow().is_empty() && self.ready.is_empty()
    }

    fn deliver(&self, events: &Events) {
        let sinks = self.sinks.borrow();
        for (token, readiness) in events.iter() {
            if token == deadlock::WATCH_TOKEN {
                self.settled.set(false);
                continue;
            }
            let (generation, slot) = ((token >> 32) as u32, token as u32 as usize);
            match sinks.slots.get(slot) {
                Some((current, sink)) if *current == generation => sink.deliver(readiness),
                // The descriptor was deregistered after the kernel had noted the event.
                _ => {}
            }
        }
    }

    fn receive(&self) {
        while let Some(message) = self.remote.receive() {
            match message {
                Message::Schedule(task) => self.ready.push(task),
                Message::Forget(token) => self.forget(token),
            }
        }
    }

    fn forget(&self, token: u64) {
        let mut sinks = self.sinks.borrow_mut();
        let (generation, slot) = ((token >> 32) as u32, token as u32 as usize);
        if sinks
            .slots
            .get(slot)
            .is_some_and(|(current, _)| *current == generation)
        {
            sinks.slots.remove(slot);
        }
    }

    fn fire_timers(&self) {
        let now = self.now.get();
        loop {
            let due = self.timers.borrow_mut().pop_due(now);
            let Some(waker) = due else { return };
            // SAFETY: a task disarms its timer before it closes the wait, on this thread: it is alive.
            unsafe { wake(waker, Outcome::TimedOut) };
        }
    }

    /// Gives back memory that a busy hub has not needed for a while.
    fn trim(&self) {
        if self.now.get() - self.trimmed.get() >= TRIM_INTERVAL {
            self.trimmed.set(self.now.get());
            self.workers.borrow_mut().retire_unneeded();
        }
    }

    /// What a hub does once after it has been quiet for a while, before it waits for as long as it takes.
    fn settle(&self) -> Result<(), Deadlock> {
        if self.workers.borrow_mut().retire_surplus() {
            return Ok(());
        }
        self.settled.set(true);
        self.ready.give_back_memory();
        self.blocks.give_back_memory();
        if self.is_stuck() {
            return self.check_deadlock();
        }
        Ok(())
    }

    /// Counts a task that suspends in the middle of unwinding. Returns whether it was counted.
    fn note_unwinding(&self, task: &Task) -> bool {
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

/// Takes back the memory of a task, on any thread.
///
/// # Safety
///
/// It must have come from `Hub::allocate_task`, and not be used any more.
pub(crate) unsafe fn free_task(memory: NonNull<u8>, layout: Layout) {
    // SAFETY: the caller's contract.
    unsafe {
        match Hub::current() {
            Some(hub) => hub.blocks.free(memory, layout),
            None => blocks::free(memory, layout),
        }
    }
}

/// Lets the hub that a descriptor was registered with forget it.
pub(crate) fn forget(remote: &Remote, fd: i32, token: u64) {
    // The descriptor may have duplicates, and then the kernel goes on reporting it after this one is closed. That fails
    // only for a descriptor that was closed behind our back, and then there is nothing to undo.
    let _ = remote.poller.deregister(fd);
    match Hub::current() {
        Some(hub) if hub.remote.id == remote.id => hub.forget(token),
        _ => remote.send(Message::Forget(token)),
    }
}

impl Batch {
    fn new() -> Self {
        Batch {
            turns: Cell::new(1),
            left: Cell::new(BATCH_TURNS - 1),
            stride: Cell::new(1),
            began: Cell::new(0),
            checked: Cell::new(0),
        }
    }

    fn begin(&self, now: u64) {
        let stride = self.stride.get();
        self.turns.set(stride);
        self.left.set(BATCH_TURNS - stride);
        self.began.set(now);
        self.checked.set(now);
    }

    #[inline]
    fn take_turn(&self, clock: impl FnOnce() -> u64) -> bool {
        match self.turns.get() {
            0 => self.next_stride(clock()),
            turns => {
                self.turns.set(turns - 1);
                true
            }
        }
    }

    #[cold]
    fn next_stride(&self, now: u64) -> bool {
        let was_long = now - self.checked.get() > LONG_STRIDE;
        let stride = if was_long {
            1
        } else {
            (self.stride.get() * 2).min(MAX_STRIDE)
        };
        self.stride.set(stride);
        self.checked.set(now);
        if self.left.get() == 0 || now - self.began.get() >= BATCH_TIME {
            return false;
        }
        let granted = stride.min(self.left.get());
        self.left.set(self.left.get() - granted);
        self.turns.set(granted - 1);
        true
    }
}

#[cold]
fn blocked_the_hub() -> ! {
    panic!(
        "a blocking call was made by code that runs on the hub itself, such as a logger: it would wait for itself; hand the \
         work to a green thread"
    );
}

fn next_id(ids: &Cell<(u64, u64)>) -> NonZeroU64 {
    /// Ids are handed to hubs in blocks, so that a spawn needs no atomic operation.
    const BLOCK: u64 = 4096;
    static NEXT_BLOCK: AtomicU64 = AtomicU64::new(1);

    let (mut next, mut end) = ids.get();
    if next == end {
        next = NEXT_BLOCK.fetch_add(BLOCK, Ordering::Relaxed);
        end = next + BLOCK;
    }
    ids.set((next + 1, end));
    NonZeroU64::new(next).expect("ids begin at 1")
}

/// `GREENHUB_STACK_SIZE` in bytes, or the default.
fn default_stack_size() -> usize {
    let Some(value) = std::env::var_os("GREENHUB_STACK_SIZE") else {
        return crate::stack::DEFAULT_SIZE;
    };
    let size = value.to_str().and_then(|value| value.parse().ok());
    size.unwrap_or_else(|| {
        log::error!(
            "GREENHUB_STACK_SIZE is {value:?}, which is no number of bytes: using {}",
            crate::stack::DEFAULT_SIZE
        );
        crate::stack::DEFAULT_SIZE
    })
}

/// The task that stands for the code on the OS thread's own stack.
fn new_root(remote: &Arc<Remote>, id: NonZeroU64, class: Class) -> TaskRef {
    unsafe fn run(_: NonNull<Task>) {
        unreachable!("the root task is never started: it is what runs the hub");
    }
    unsafe fn free(task: NonNull<Task>) {
        // SAFETY: `new_root` made the allocation, and this was the last reference.
        drop(unsafe { Box::from_raw(task.as_ptr()) });
    }
    static ROOT: Vtable = Vtable { run, free };

    let home: &dyn Home = &**remote;
    let origin = Origin {
        id,
        name: std::thread::current().name().map(Box::from),
        site: Location::caller(),
        class,
        scope: ptr::null(),
    };
    let task = Box::new(Task::new(&ROOT, NonNull::from(home), remote.id, origin));
    // SAFETY: one of the two references that a task begins with. The other one is never given up while the hub exists: it
    // is dropped in `exit`.
    unsafe { TaskRef::from_raw(NonNull::from(Box::leak(task))) }
}
