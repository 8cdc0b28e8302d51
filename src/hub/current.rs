//! The hub of the calling thread: finding it, creating it, and what can be done from any thread.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::cell::Cell;
use std::io;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::os::fd::RawFd;
use std::ptr::{self, NonNull};

use super::remote::Message;
use super::root::single_id;
use super::{Hub, Remote, blocks};
use crate::task::{Outcome, Task, Waker};
use crate::unwind::contain;

thread_local! {
    /// The hub of this thread. No destructor: it can be read at any time, also in a signal handler.
    pub(super) static CURRENT: Cell<*const Hub> = const { Cell::new(ptr::null()) };
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
#[inline(always)]
pub(crate) fn current_id() -> Option<u64> {
    Hub::current().map(|hub| hub.id)
}

/// Whether the calling code is that of a task which was interrupted. Creates no hub.
#[inline]
pub(crate) fn is_interrupted() -> bool {
    let running = Hub::current().and_then(|hub| hub.current.get());
    // SAFETY: the running task cannot end while its code runs.
    running.is_some_and(|task| unsafe { task.as_ref() }.interrupted.get())
}

/// A number by which locks know their owner: that of the running green thread, or one for all the code of an OS thread
/// that is not in one. The hub itself has its own. Nobody else ever has the same, also after the owner has ended: it may
/// have leaked what it had locked. Creates no hub.
#[inline]
pub(crate) fn context() -> u64 {
    /// Keeps the hub apart from the root.
    const HUB: u64 = 1 << 63;
    match Hub::current().map(|hub| hub.current.get()) {
        // SAFETY: the running task cannot end while its code runs.
        Some(Some(task)) => match unsafe { task.as_ref() } {
            task if task.has_started() => task.id.get(),
            _ => thread_context(),
        },
        Some(None) => thread_context() | HUB,
        None => thread_context(),
    }
}

/// The number of the calling thread's root for `context`: not that of the root task, for a thread may have several hubs, one
/// after the other, or none.
#[inline]
fn thread_context() -> u64 {
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    match NUMBER.get() {
        0 => {
            NUMBER.set(single_id().get());
            NUMBER.get()
        }
        number => number,
    }
}

/// Notes that a call did not have to wait; see `Hub::count_call`.
#[inline]
pub(crate) fn count_call() {
    if let Some(hub) = Hub::current() {
        hub.count_call();
    }
}

/// Whether the code that calls this is unwinding, as far as can be told. Creates no hub.
pub(crate) fn is_unwinding() -> bool {
    match Hub::current() {
        Some(hub) if hub.current.get().is_some() => {
            let task = hub.running();
            hub.is_unwinding(task) || task.has_unwinding_aside()
        }
        _ => std::thread::panicking(),
    }
}

/// Whether the calling code is that of a task. Creates no hub.
pub(crate) fn is_task_running() -> bool {
    Hub::current().is_some_and(|hub| hub.current.get().is_some())
}

/// Notes that what the task with this number was unwinding with has been dropped: it has been caught, then.
pub(crate) fn note_caught(task: NonZeroU64) {
    if let Some(hub) = Hub::current()
        && hub.current.get().is_some()
        && hub.running().id == task
    {
        hub.running().unwinding.set(false);
    }
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
            Some(hub) if hub.id == task.as_ref().home_id() => hub.ready.push(task),
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

/// As `wake` with `Notified`, for one who has no rival if the wait is orderly; see `task`.
///
/// # Safety
///
/// As for [`Waker::end`]. The caller must hold the lock under which the waker is kept; without a lock, it must be on the thread
/// of the task's hub.
#[inline(always)]
pub(crate) unsafe fn notify(waker: Waker) -> bool {
    // SAFETY: the caller's contract.
    unsafe {
        match Hub::current() {
            Some(hub) if hub.id == waker.home_id() => match waker.end_unrivalled(Outcome::Notified)
            {
                Some(task) => {
                    hub.ready.push(task);
                    true
                }
                None => false,
            },
            _ => notify_remotely(waker),
        }
    }
}

#[cold]
unsafe fn notify_remotely(waker: Waker) -> bool {
    // SAFETY: the caller's contract.
    unsafe { wake(waker, Outcome::Notified) }
}

/// A number for a task that is made on any thread.
pub(crate) fn id_for_task() -> NonZeroU64 {
    match Hub::current() {
        Some(hub) => hub.next_id(),
        None => single_id(),
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
pub(crate) fn forget(remote: &Remote, fd: RawFd, token: u64) {
    // The descriptor may have duplicates, and then the kernel goes on reporting it after this one is closed. That fails
    // only for a descriptor that was closed behind our back, and then there is nothing to undo.
    let _ = remote.poller.deregister(fd);
    match Hub::current() {
        Some(hub) if hub.id == remote.id => hub.sinks.borrow_mut().forget(token),
        _ => remote.send(Message::Forget(token)),
    }
}

impl Hub {
    /// This thread's hub. It stays alive until the thread's end, when no green thread is left and the root task's code
    /// has returned, so it outlives every function that holds on to it and can still be running.
    #[inline(always)]
    pub(super) fn current() -> Option<HubRef> {
        NonNull::new(CURRENT.get().cast_mut()).map(HubRef)
    }

    #[cold]
    fn create() -> io::Result<HubRef> {
        let (hub, complaint) = Hub::new().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot create the hub of this thread: {error}"),
            )
        })?;
        let hub = HubRef(NonNull::from(Box::leak(Box::new(hub))));
        CURRENT.set(hub.0.as_ptr());
        hub.arm_exit();
        if let Some(complaint) = complaint {
            // Only now, because the logger may call what needs the hub.
            contain(|| log::error!("{complaint}"));
        }
        Ok(hub)
    }
}
