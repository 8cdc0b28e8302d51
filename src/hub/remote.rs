//! The part of a hub that other threads may touch: its inbox, its epoll instance, and whether it sleeps (see `doorbell`).
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Weak};

use crossbeam_queue::SegQueue;
use parking_lot::Mutex;
use rustix::process::Pid;

use super::doorbell::Doorbell;
use crate::poller::Poller;
use crate::task::{Farewell, Home, Task, TaskRef};

/// What other threads ask of a hub.
pub(super) enum Message {
    /// Put this task, whose wait the sender has ended, on the ready queue.
    Schedule(NonNull<Task>),
    /// Let go of the sink registered under this token.
    Forget(u64),
    /// Take over this task without a home.
    Adopt(TaskRef),
    /// Kill this task.
    Kill(TaskRef, Option<Farewell>),
}

// SAFETY: a task is `Sync`, and the receiving hub is the one that owns it; the rest is `Send`.
unsafe impl Send for Message {}

/// All hubs, for those who know one by its number only.
static HUBS: Mutex<BTreeMap<u64, Weak<Remote>>> = Mutex::new(BTreeMap::new());

/// A hub as seen from other threads. Kept alive by the hub and by every descriptor registered with it.
pub(crate) struct Remote {
    /// Itself, for a sender that has to keep it alive.
    this: Weak<Remote>,
    /// Unique in the process, never reused.
    pub(super) id: u64,
    /// The hub's OS thread.
    pub(super) thread: Pid,
    inbox: SegQueue<Message>,
    doorbell: Doorbell,
    pub(crate) poller: Poller,
}

impl Remote {
    pub(super) fn new() -> std::io::Result<Arc<Remote>> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let poller = Poller::new()?;
        let remote = Arc::new_cyclic(|this| Remote {
            this: Weak::clone(this),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            thread: rustix::thread::gettid(),
            inbox: SegQueue::new(),
            doorbell: Doorbell::new(),
            poller,
        });
        HUBS.lock().insert(remote.id, Arc::downgrade(&remote));
        Ok(remote)
    }

    /// The hub with this number, unless it has ended and nobody knows it any more.
    pub(super) fn find(id: u64) -> Option<Arc<Remote>> {
        HUBS.lock().get(&id)?.upgrade()
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn send(&self, message: Message) {
        self.inbox.push(message);
        fence(Ordering::SeqCst);
        self.rouse();
    }

    /// Wakes the hub if it sleeps and nobody else is about to wake it. Returns whether this call did.
    pub(super) fn rouse(&self) -> bool {
        let was_asleep = self.doorbell.has_to_ring();
        if was_asleep {
            let woken = self.poller.wake();
            debug_assert!(woken.is_ok(), "an eventfd can always be written to");
        }
        was_asleep
    }

    pub(super) fn receive(&self) -> Option<Message> {
        self.inbox.pop()
    }

    /// Announces that the hub is about to wait. Returns whether it may: nothing has been sent to it meanwhile.
    pub(super) fn fall_asleep(&self) -> bool {
        self.doorbell.fall_asleep(|| self.inbox.is_empty())
    }

    /// Notes that the hub is back. What was done before somebody woke it is visible after this.
    pub(super) fn wake_up(&self) {
        self.doorbell.wake_up();
    }

    /// Whether the hub waits and nobody has woken it.
    pub(super) fn is_asleep(&self) -> bool {
        self.doorbell.is_asleep()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        HUBS.lock().remove(&self.id);
    }
}

impl Home for Remote {
    fn schedule_remotely(&self, task: NonNull<Task>) {
        // The moment the message is in, the hub may run the task, end it, and end itself: the flag and the poller that
        // `send` touches afterwards must be kept alive by a count of our own.
        let this = self
            .this
            .upgrade()
            .expect("the hub of a live task is alive");
        this.send(Message::Schedule(task));
    }
}
