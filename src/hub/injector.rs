//! Work for whichever of several hubs is idle: fresh tasks without a home, from any thread.
//!
//! # Who takes
//!
//! A hub takes from the shared queue when it has nothing ready of its own, one task at a time. A task that was taken belongs to its
//! hub for good, while one in the queue can still go to any hub that is idle earlier; and the price of taking, some tens
//! of nanoseconds, is in proportion to that of starting a task. So the largest batch that loses nothing is one.
//!
//! A hub that always has something ready takes one task at each look at events, unless it can wake a hub for it that sleeps:
//! injected tasks come late when every hub is busy, but they come.
//!
//! # Why no task is left lying while a hub sleeps
//!
//! The handshake is that of the inbox (see `Doorbell`), with this queue as a second inbox of every hub. A hub says that it
//! sleeps, fences, and only then looks at the queue; `push` puts the task in, fences, and only then looks for a hub that
//! sleeps. Of two such sequences one sees the other's store. So either the hub finds the task, or `push` finds the
//! hub; it then clears that hub's flag, which only one sender can do, and wakes it. One hub is woken, not all.
//!
//! The hub that was woken may have got work of its own at the same moment. That is why a hub that comes back from its
//! sleep with something ready, and sees an injected task, passes the call on to another one that sleeps. It does see the task
//! that it was woken for: it acquires what was released by whoever cleared its flag.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};

use crossbeam_queue::SegQueue;

use super::remote::Message;
use super::{Hub, Remote, try_here};
use crate::task::TaskRef;

/// What several hubs share.
pub(crate) struct Injector {
    fresh: SegQueue<TaskRef>,
    /// The hubs. Set before the first push.
    members: OnceLock<Box<[Arc<Remote>]>>,
    /// Where the next search for a hub that sleeps begins: behind the one that was woken last, so that hubs which are idle
    /// most of the time get equally many tasks.
    next: AtomicUsize,
    /// Set once: tasks that are taken from now on are killed instead of being run.
    killing: AtomicBool,
}

/// A hub's place among those that share an injector.
pub(super) struct Membership {
    injector: Arc<Injector>,
    index: usize,
}

impl Injector {
    pub(crate) fn new() -> Injector {
        Injector {
            fresh: SegQueue::new(),
            members: OnceLock::new(),
            next: AtomicUsize::new(0),
            killing: AtomicBool::new(false),
        }
    }

    /// Names the hubs, which have joined already.
    pub(crate) fn open(&self, members: Vec<Arc<Remote>>) {
        let opened = self.members.set(members.into());
        assert!(opened.is_ok(), "the hubs are named once");
    }

    fn members(&self) -> &[Arc<Remote>] {
        self.members.get().map_or(&[], |members| members)
    }

    /// Hands over a task without a home to the first hub that is idle.
    pub(crate) fn push(&self, task: TaskRef) {
        self.fresh.push(task);
        fence(Ordering::SeqCst);
        self.rouse_one();
    }

    /// Hands over a task without a home to one hub.
    pub(crate) fn push_to(&self, index: usize, task: TaskRef) {
        self.members()[index].send(Message::Adopt(task));
    }

    /// Has all tasks killed that are taken from now on.
    pub(crate) fn kill(&self) {
        self.killing.store(true, Ordering::Release);
    }

    fn is_empty(&self) -> bool {
        self.fresh.is_empty()
    }

    /// Wakes one hub that sleeps. Returns whether there was one.
    fn rouse_one(&self) -> bool {
        let members = self.members();
        let first = self.next.load(Ordering::Relaxed);
        for step in 0..members.len() {
            let index = (first + step) % members.len();
            if members[index].rouse() {
                self.next.store(index + 1, Ordering::Relaxed);
                return true;
            }
        }
        false
    }
}

/// Makes the hub of the calling thread one of those that take from `injector`.
pub(crate) fn join_injector(
    injector: &Arc<Injector>,
    index: usize,
) -> std::io::Result<Arc<Remote>> {
    let hub = try_here()?;
    let membership = Membership {
        injector: Arc::clone(injector),
        index,
    };
    let joined = hub.membership.set(membership);
    assert!(joined.is_ok(), "a hub takes from one injector");
    Ok(Arc::clone(&hub.remote))
}

/// The place of the calling thread's hub among those that share `injector`, or whatever injector it has if `None`.
pub(crate) fn place_in(injector: Option<&Arc<Injector>>) -> Option<usize> {
    let hub = Hub::current()?;
    let membership = hub.membership.get()?;
    match injector {
        Some(injector) if !Arc::ptr_eq(injector, &membership.injector) => None,
        _ => Some(membership.index),
    }
}

impl Hub {
    /// Whether this hub works for others, and nobody waits on its root.
    pub(super) fn is_member(&self) -> bool {
        self.membership.get().is_some()
    }

    /// Queues one injected task. Returns whether there was one.
    #[inline(always)]
    pub(super) fn take_injected(&self) -> bool {
        match self.membership.get() {
            Some(membership) => self.take_from(&membership.injector),
            None => false,
        }
    }

    fn take_from(&self, injector: &Injector) -> bool {
        // A hub that stands among the stuck ones has said that it sleeps; it has to go through `poll` to be back.
        if self.is_watching() {
            return false;
        }
        while let Some(task) = injector.fresh.pop() {
            if self.adopt_injected(task) {
                return true;
            }
        }
        false
    }

    /// Takes over a task without a home. Returns `false` if it has been withdrawn.
    pub(super) fn adopt_injected(&self, task: TaskRef) -> bool {
        let (home, home_id) = self.home();
        // SAFETY: a task is pushed with the one reference of who will run it.
        if !unsafe { task.adopt_by(home, home_id) } {
            return false;
        }
        if let Some(membership) = self.membership.get()
            && membership.injector.killing.load(Ordering::Acquire)
        {
            task.killed.set(true);
            task.interrupted.set(true);
        }
        self.list(&task);
        self.ready.push(task.as_ptr());
        // The reference is the hub's now.
        std::mem::forget(task);
        true
    }

    /// Whether there is an injected task to be taken; looked at after the hub has announced that it sleeps.
    pub(super) fn sees_injected(&self) -> bool {
        match self.membership.get() {
            Some(membership) => !membership.injector.is_empty(),
            None => false,
        }
    }

    /// Sees to it that injected tasks are not left to a hub which has work of its own, this one.
    pub(super) fn pass_injected_on(&self) {
        if let Some(Membership { injector, .. }) = self.membership.get()
            && !injector.is_empty()
            && !injector.rouse_one()
        {
            self.take_from(injector);
        }
    }
}
