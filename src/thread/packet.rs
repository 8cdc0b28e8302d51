//! A green thread's task together with its closure and its result: the one allocation behind a handle.
//!
//! # States
//!
//! `state` is a set of bits, each set once and never cleared:
//!
//! | bit        | set by                                  | promises                                                        |
//! |------------|-----------------------------------------|-----------------------------------------------------------------|
//! | `FINISHED` | the green thread, by `fetch_or`         | the result is written, and the green thread is done with it     |
//! | `DETACHED` | the handle when dropped, by `fetch_or`  | nobody will take the result                                     |
//! | `AWAITED`  | a joiner, under the lock of `joiners`   | somebody may wait in `joiners`: whoever sets `FINISHED` looks   |
//! | `DECIDED`  | of a job, who has its result, or killed | the one who set it, and nobody else, goes on to `FINISHED`      |
//! | `KILLED`   | with `FINISHED`                         | it was killed                                                   |
//! | `PANICKED` | with `FINISHED`                         | it panicked                                                     |
//!
//! Whoever sets the second of `FINISHED` and `DETACHED` drops the result: the green thread in its own context, or the handle
//! in that of its owner. So a result that is not `Send` never leaves its thread, although the memory may be freed by
//! another one that holds a `Thread`.
//!
//! # Packets without a home
//!
//! `without_home` makes a packet that no hub has yet, for `Send` closures and results: for `Hubs`, one of which adopts it, or as
//! a job for the pool of OS threads, which never becomes a green thread. Its joiners stand in `joiners` unless they see that
//! it has become a task of their own hub. A job that runs cannot be interrupted; whoever kills it decides its result
//! instead, and what it returns in the end is dropped.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::io;
use std::mem::ManuallyDrop;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use crate::hub::{self, Hub};
use crate::local;
use crate::park::{self, Expired, Kill, TimedOut};
use crate::stack::Class;
use crate::task::{Farewell, Locals, Origin, Reason, Task, TaskRef, Vtable, Wait, Waker};
use crate::timeout::Elapsed;
use crate::unwind::{contain, require_unwinding};
use crate::wait_queue::{Place, WaitQueue, Whom};

use super::end::{self, End};
use super::{Killed, Thread};

pub(super) const FINISHED: u8 = 1;
const DETACHED: u8 = 2;
pub(super) const AWAITED: u8 = 4;
const DECIDED: u8 = 8;
pub(super) const KILLED: u8 = 32;
pub(super) const PANICKED: u8 = 64;

/// What a green thread is spawned with.
pub(crate) struct Spawn {
    pub(super) name: Option<Box<str>>,
    pub(super) stack_size: Option<usize>,
    /// Fail now rather than wait later if there is no memory for the stack.
    pub(super) reserve: bool,
    pub(super) start: Start,
    pub(super) scope: *const (),
    /// Begin with copies of the locals of the spawner that are declared as `inherited`.
    pub(super) inherit_locals: bool,
    pub(super) site: &'static Location<'static>,
}

/// When a green thread starts.
#[derive(Clone, Copy)]
pub(super) enum Start {
    /// At its next turn.
    Soon,
    At(Instant),
    /// When the end of the green thread with this number, or whatever else gets hold of `Task::start_waker`, ends the wait for
    /// the start.
    After(NonZeroU64),
}

/// The part of a green thread's allocation that does not depend on the closure's type.
#[repr(C)]
pub(super) struct Packet<T> {
    /// First, so that a pointer to the task is one to the packet.
    task: Task,
    state: AtomicU8,
    /// A joiner on the same hub, which needs no lock. Hub's thread only.
    joiner: Cell<Option<Waker>>,
    /// Joiners on other threads, and further ones on the same hub.
    joiners: WaitQueue<()>,
    /// For a job of the pool of OS threads: what those who join it wait for.
    job: Option<&'static &'static str>,
    result: UnsafeCell<Option<super::Result<T>>>,
}

/// A packet with its closure.
#[repr(C)]
struct Spawned<F, T, E> {
    packet: Packet<T>,
    /// The closure, and what is called, with whether it panicked, when that and, if nobody wants it, the result are gone:
    /// then the scope's frame is no longer needed.
    closures: UnsafeCell<ManuallyDrop<(F, E)>>,
}

/// A reference to a packet, which keeps it alive.
pub(super) struct PacketRef<T> {
    thread: Thread,
    packet: NonNull<Packet<T>>,
}

/// Makes a green thread and hands it to the hub of the calling thread.
///
/// # Safety
///
/// The caller must see to it that what `F` and `T` borrow outlives the call of `on_end`, and for `T` the packet's last use.
pub(super) unsafe fn spawn<F, T, E>(f: F, options: Spawn, on_end: E) -> io::Result<PacketRef<T>>
where
    F: FnOnce() -> T,
    E: FnOnce(&Task, bool),
{
    let hub = hub::try_here()?;
    let class = match options.stack_size {
        Some(size) => hub.class_of(size)?,
        None => hub.default_class(),
    };
    let (reserve, start) = (options.reserve, options.start);
    let task = Spawned::allocate(&hub, f, options, class, on_end);
    // SAFETY: of the two references that a new task counts, this one is for the handle.
    let task = unsafe { TaskRef::from_raw(task) };
    match start {
        Start::At(deadline) => hub.adopt_later(&task, deadline),
        Start::After(id) => hub.adopt_dormant(&task, Reason::Join(id)),
        Start::Soon => {
            if let Err(error) = hub.adopt(&task, reserve) {
                // SAFETY: the hub has not taken its reference, nor will it run the closure.
                unsafe {
                    drop(TaskRef::from_raw(task.as_ptr()));
                    drop(Spawned::<F, T, E>::take_closures(task.as_ptr()));
                }
                return Err(error);
            }
        }
    }
    let packet = task.as_ptr().cast();
    let thread = Thread::new(task);
    Ok(PacketRef { thread, packet })
}

/// Makes a packet for which it is not settled who will run it. Returns the reference of who will, and that of the handle.
///
/// The former must be run, or adopted by a hub, or withdrawn; merely dropped, it would leave its joiners waiting.
pub(super) fn without_home<F, T, E>(
    f: F,
    site: &'static Location<'static>,
    job: Option<&'static &'static str>,
    on_end: E,
) -> (TaskRef, PacketRef<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
    E: FnOnce(&Task, bool) + Send + 'static,
{
    let origin = Origin {
        id: hub::id_for_task(),
        name: None,
        site,
        class: Class::FIRST,
        scope: ptr::null(),
        // Whoever runs it may be on another OS thread, which values cannot be taken to.
        locals: Locals::new(),
    };
    let task = Task::without_home(const { &Spawned::<F, T, E>::VTABLE_WITHOUT_HOME }, origin);
    // Not from a hub's blocks: they would pile up where such tasks end, and never come back to where they are made.
    let spawned = Box::new(Spawned::new(task, job, f, on_end));
    let packet = NonNull::from(Box::leak(spawned)).cast::<Packet<T>>();
    // SAFETY: of the two references that a new task counts, one is for who will run it and one for the handle.
    let (task, handle) = unsafe {
        (
            TaskRef::from_raw(packet.cast()),
            TaskRef::from_raw(packet.cast()),
        )
    };
    let thread = Thread::new(handle);
    (task, PacketRef { thread, packet })
}

impl<F: FnOnce() -> T, T, E: FnOnce(&Task, bool)> Spawned<F, T, E> {
    const VTABLE: Vtable = Vtable {
        run: Self::run,
        free: Self::free,
    };

    const VTABLE_WITHOUT_HOME: Vtable = Vtable {
        run: Self::run,
        free: Self::free_boxed,
    };

    fn allocate(hub: &Hub, f: F, options: Spawn, class: Class, on_end: E) -> NonNull<Task> {
        let origin = Origin {
            id: hub.next_id(),
            name: options.name,
            site: options.site,
            class,
            scope: options.scope,
            locals: local::for_child(options.inherit_locals),
        };
        let (home, home_id) = hub.home();
        let place = hub.allocate_task(Layout::new::<Self>()).cast::<Self>();
        let task = Task::new(const { &Self::VTABLE }, home, home_id, origin);
        // SAFETY: the place was just allocated for it.
        unsafe { place.write(Self::new(task, None, f, on_end)) };
        place.cast()
    }

    fn new(task: Task, job: Option<&'static &'static str>, f: F, on_end: E) -> Spawned<F, T, E> {
        Spawned {
            packet: Packet {
                task,
                state: AtomicU8::new(0),
                joiner: Cell::new(None),
                joiners: WaitQueue::shared(()),
                job,
                result: UnsafeCell::new(None),
            },
            closures: UnsafeCell::new(ManuallyDrop::new((f, on_end))),
        }
    }

    /// # Safety
    ///
    /// Once, by whoever is going to run or drop the closure.
    unsafe fn take_closures(task: NonNull<Task>) -> (F, E) {
        // SAFETY: the task is the head of a `Spawned<F, T, E>`, and the closures are still there, by the caller's contract.
        unsafe { ManuallyDrop::take(&mut *task.cast::<Self>().as_ref().closures.get()) }
    }

    unsafe fn run(task: NonNull<Task>) {
        // SAFETY: the function is in the table of tasks that `allocate` made.
        let this = unsafe { task.cast::<Self>().as_ref() };
        // SAFETY: tasks are run once.
        let (f, on_end) = unsafe { Self::take_closures(task) };
        let task = &this.packet.task;
        // A large result is moved as seldom as can be: each move is a copy on this stack in builds that are not optimised.
        let mut result = if task.killed.get() {
            Err(drop_unstarted(task, f))
        } else {
            catch_unwind(AssertUnwindSafe(f))
        };
        let panicked = match &mut result {
            Ok(_) => {
                drop_farewell(task);
                false
            }
            Err(payload) => settle_error(task, payload),
        };
        hub::destroy_locals(task);
        this.packet.finish(result);
        hub::clear_locals(task);
        on_end(task, panicked);
    }

    unsafe fn free(task: NonNull<Task>) {
        let this = task.cast::<Self>();
        // SAFETY: the allocation is still there.
        drop_farewell(unsafe { task.as_ref() });
        // SAFETY: `allocate` made it, and this was the last reference. The closure is gone, `ManuallyDrop` says so.
        unsafe {
            this.drop_in_place();
            hub::free_task(this.cast(), Layout::new::<Self>());
        }
    }

    unsafe fn free_boxed(task: NonNull<Task>) {
        // SAFETY: the allocation is still there.
        drop_farewell(unsafe { task.as_ref() });
        // SAFETY: `without_home` made the box, and this was the last reference. The closure is gone, as above.
        drop(unsafe { Box::from_raw(task.cast::<Self>().as_ptr()) });
    }
}

impl<T> Packet<T> {
    fn is_finished(&self) -> bool {
        self.state.load(Ordering::Acquire) & FINISHED != 0
    }

    /// Stores the result and wakes the joiners.
    fn finish(&self, result: super::Result<T>) {
        if self.job.is_some() && self.state.fetch_or(DECIDED, Ordering::AcqRel) & DECIDED != 0 {
            // It was killed meanwhile, and its joiners know.
            let mut result = Some(result);
            self.drop_contained(|| result = None);
            return;
        }
        let finished = FINISHED | end::bits(&result);
        // SAFETY: nobody else touches the result before `FINISHED` is set: the green thread alone does, or who has set `DECIDED`.
        unsafe { *self.result.get() = Some(result) };
        let before = self.state.fetch_or(finished, Ordering::AcqRel);
        if let Some(joiner) = self.joiner.take() {
            // SAFETY: the joiner is on this thread and takes its waker out of here before it leaves.
            unsafe { hub::notify(joiner) };
        }
        if before & AWAITED != 0 {
            self.joiners.lock().notify_all();
        }
        if before & DETACHED != 0 {
            self.drop_result();
        }
    }

    /// Drops the result of a finished, detached green thread.
    fn drop_result(&self) {
        // SAFETY: both bits are set, and the one who set the second, this caller, owns the result.
        let result = unsafe { &mut *self.result.get() };
        self.drop_contained(|| *result = None);
    }

    /// Runs what drops a result. Whoever does may have been killed; that must not end a destructor that waits.
    fn drop_contained(&self, drop_it: impl FnOnce()) {
        if !contain(|| park::shielded_if_running(drop_it)) {
            contain(|| log::error!("dropping the result of {} panicked", self.task));
        }
    }

    #[inline(always)]
    fn wait_on_same_hub(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        park::park(
            Wait::Orderly,
            Reason::Join(self.task.id),
            deadline,
            |waker| self.joiner.set(Some(waker)),
            || self.joiner.set(None),
        )
    }

    #[cold]
    fn wait_in_queue(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        let joiners = self.joiners.lock();
        // Whoever sets `FINISHED` after this sees `AWAITED` and takes the lock, which this holds until it is queued.
        if self.state.fetch_or(AWAITED, Ordering::AcqRel) & FINISHED != 0 {
            return Ok(());
        }
        let reason = self.job.map_or(Reason::Join(self.task.id), Reason::Job);
        joiners.wait(reason, deadline)
    }
}

impl<T> PacketRef<T> {
    fn packet(&self) -> &Packet<T> {
        // SAFETY: `thread` keeps the allocation alive.
        unsafe { self.packet.as_ref() }
    }

    pub(super) fn thread(&self) -> &Thread {
        &self.thread
    }

    pub(super) fn is_finished(&self) -> bool {
        self.packet().is_finished()
    }

    /// Waits until the green thread has finished.
    #[inline(always)]
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        let packet = self.packet();
        let task = &packet.task;
        while !packet.is_finished() {
            if hub::current_id() != Some(task.home_id()) || packet.joiner.get().is_some() {
                packet.wait_in_queue(deadline)?;
                continue;
            }
            assert!(
                !self.is_own(),
                "{task} cannot join itself: it would wait for ever"
            );
            packet.wait_on_same_hub(deadline)?;
        }
        Ok(())
    }

    /// Has `whom` notified when the green thread has finished, unless it has: then returns false.
    ///
    /// # Safety
    ///
    /// As for `enqueue` of a wait queue, with `unwatch` in place of `retract`.
    pub(super) unsafe fn watch(&self, place: &Place, whom: Whom) -> bool {
        // SAFETY: the caller's contract.
        unsafe { self.end().watch(place, whom) }
    }

    /// Takes back a `watch`. Returns whether nobody had been notified.
    pub(super) fn unwatch(&self, place: &Place) -> bool {
        self.end().unwatch(place)
    }

    /// Whether it is a job of the pool of OS threads.
    pub(super) fn is_job(&self) -> bool {
        self.packet().job.is_some()
    }

    /// The end of the green thread, apart from its result.
    pub(super) fn end(&self) -> End<'_> {
        let packet = self.packet();
        End::new(&packet.state, &packet.joiners)
    }

    /// Has the green thread unwind; see `JoinHandle::kill`.
    #[track_caller]
    pub(super) fn kill(&self, farewell: Option<Farewell>) {
        require_unwinding("a kill");
        if self.is_finished() {
            contain(|| drop(farewell));
            return;
        }
        let packet = self.packet();
        match packet.task.withdraw(farewell) {
            Ok(()) => {}
            Err(farewell) if packet.job.is_some() => {
                packet.finish(Err(Box::new(Killed::new(farewell))));
            }
            Err(farewell) => hub::kill(&self.thread.task, farewell),
        }
    }

    /// Waits for the end of the green thread after a kill. Does not come back if it is the caller's own.
    pub(super) fn wait_for_death(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        if !self.is_own() {
            return self.wait(deadline);
        }
        // A caller that may not be unwound now will be when it next may.
        park::unwind_if_interrupted();
        Err(TimedOut)
    }

    /// Whether it is the calling green thread.
    fn is_own(&self) -> bool {
        let task = &self.packet().task;
        hub::current_id() == Some(task.home_id()) && ptr::eq(hub::here().running(), task)
    }

    /// Takes the result of a green thread that has finished.
    pub(super) fn into_result(self) -> super::Result<T> {
        assert!(self.is_finished());
        // SAFETY: the green thread is done with the result, and this is the handle, which is consumed.
        let result = unsafe { (*self.packet().result.get()).take() };
        let this = ManuallyDrop::new(self);
        // SAFETY: the field is moved out once; without `drop`, the green thread is not detached again.
        drop(unsafe { ptr::read(&this.thread) });
        result.expect("the result is taken once")
    }
}

impl<T> Drop for PacketRef<T> {
    fn drop(&mut self) {
        let packet = self.packet();
        if packet.state.fetch_or(DETACHED, Ordering::AcqRel) & FINISHED != 0 {
            packet.drop_result();
        }
    }
}

/// Drops the closure of a green thread that was killed before it started. Its destructors may wait, as those of one that
/// unwinds.
fn drop_unstarted<F>(task: &Task, closure: F) -> Box<dyn Any + Send> {
    let mut closure = Some(closure);
    let drop_it = || park::shielded_if_running(|| closure = None);
    match catch_unwind(AssertUnwindSafe(drop_it)) {
        Ok(()) => park::kill_payload(task),
        Err(payload) => payload,
    }
}

/// Makes what a task has unwound with into what its joiners get. Returns whether it was a panic, and logs that.
fn settle_error(task: &Task, payload: &mut Box<dyn Any + Send>) -> bool {
    if payload.is::<Kill>() {
        let farewell = task.farewell.take().map(|farewell| *farewell);
        *payload = Box::new(Killed::new(farewell));
        return false;
    }
    drop_farewell(task);
    if payload.is::<Expired>() {
        // Nobody caught what a `Timeout` sent.
        *payload = Box::new(Killed::new(Some(Box::new(Elapsed))));
        return false;
    }
    if payload.is::<Killed>() {
        // It has joined one that was killed, and passes that on.
        return false;
    }
    // The logger is the program's: what it does must not keep the joiners from the result.
    contain(|| log_panic(task, &**payload));
    true
}

/// Drops what a kill that came too late has left behind, which is the program's, too.
fn drop_farewell(task: &Task) {
    let farewell = task.farewell.take();
    contain(|| drop(farewell));
}

#[cold]
fn log_panic(task: &Task, payload: &(dyn Any + Send)) {
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a payload that is no string");
    log::error!("{task} (spawned at {}) panicked: {message}", task.site);
}
