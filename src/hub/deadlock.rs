//! Deciding that nothing can ever happen again, and saying what everybody waits for.
//!
//! A hub is *stuck* when no task is ready, no timer is pending, and no task waits for a descriptor or a job: only another
//! thread can still wake one of its tasks. The verdict is *deadlock* when no such thread is left. Every thread of the
//! process counts as one that could, except
//!
//! - the hubs' own threads that are stuck as well and have not been sent anything, and
//! - the hubs that work for others (`Hubs`), when they are stuck as well, and
//! - threads that declared themselves `Harmless`: they do nothing until a hub asks them to.
//!
//! So the report is never wrong about a thread that greenhub knows nothing about; in return, a process that keeps a thread
//! of its own gets no report. A stuck hub that finds another thread alive waits without a time limit, but lets the kernel
//! tell it when that thread ends (a pidfd of the thread, Linux 6.9), and then decides again. On older kernels a hub that
//! was stuck while another thread lived is not looked at again.
//!
//! Two hubs that get stuck at the same moment do not overlook each other: each first marks itself as asleep and then
//! enters `STUCK` and counts under its lock, so that the later one sees the earlier one asleep, or woken, in which case
//! that one runs and will decide for itself.
//!
//! A hub that works for others has nobody on its root to whom a deadlock could be reported. When it is the last one to get stuck,
//! it wakes the stuck hubs of other kind, which then decide again.

use std::fmt::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags};

use super::{Hub, Remote};
use crate::task::{Reason, Task};

/// The token of the event that tells that a watched thread has ended.
pub(super) const WATCH_TOKEN: u64 = u64::MAX - 1;

/// `PIDFD_THREAD`: the descriptor is of a thread, not of a process.
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(rustix::fs::OFlags::EXCL.bits());

/// The hubs that are stuck.
static STUCK: Mutex<Vec<Stuck>> = Mutex::new(Vec::new());

struct Stuck {
    hub: Arc<Remote>,
    /// Somebody waits on its root, who can be told.
    reports: bool,
}

/// The ids of threads that wake nobody of their own accord.
static HARMLESS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Declares, while it exists, that the thread that made it wakes no green thread before a hub gives it work.
pub(crate) struct Harmless(Pid);

impl Harmless {
    pub(crate) fn new() -> Harmless {
        let thread = rustix::thread::gettid();
        HARMLESS.lock().push(thread);
        Harmless(thread)
    }
}

impl Drop for Harmless {
    fn drop(&mut self) {
        HARMLESS.lock().retain(|thread| *thread != self.0);
    }
}

/// Nothing can ever happen again on this hub; holds the report, boxed to make the `Result` of a switch one word.
#[derive(Debug)]
#[allow(clippy::box_collection)]
pub(crate) struct Deadlock(pub(crate) Box<String>);

/// A stuck hub's view of the threads that could still wake it.
pub(super) struct Watch {
    /// Whether the hub stands in `STUCK`.
    listed: bool,
    /// The pidfd of one of those threads.
    thread: Option<OwnedFd>,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch {
            listed: false,
            thread: None,
        }
    }
}

impl Hub {
    /// Decides whether a stuck hub is deadlocked.
    pub(super) fn check_deadlock(&self) -> Result<(), Deadlock> {
        if !self.remote.fall_asleep() {
            return Ok(());
        }
        let mut stuck = STUCK.lock();
        let others = living_threads().map(|threads| {
            let harmless = HARMLESS.lock();
            let mut others = threads.into_iter().filter(|thread| {
                *thread != self.remote.thread
                    && !harmless.contains(thread)
                    && !stuck
                        .iter()
                        .any(|stuck| stuck.hub.thread == *thread && stuck.hub.is_asleep())
            });
            others.next()
        });
        let is_last = matches!(others, Some(None));
        if is_last && !self.is_member() {
            self.remote.wake_up();
            // Whoever survives the report and waits again gets another one.
            self.settled.set(false);
            return Err(Deadlock(Box::new(self.report())));
        }
        if is_last {
            for other in stuck.iter().filter(|other| other.reports) {
                other.hub.rouse();
            }
        }
        stuck.push(Stuck {
            hub: Arc::clone(&self.remote),
            reports: !self.is_member(),
        });
        drop(stuck);
        let mut watch = self.watch.borrow_mut();
        watch.listed = true;
        watch.thread = others
            .flatten()
            .and_then(|thread| self.watch_thread(thread));
        Ok(())
    }

    /// Whether `check_deadlock` has set something up that `end_watch` has not withdrawn.
    pub(super) fn is_watching(&self) -> bool {
        self.watch.borrow().listed
    }

    /// Withdraws what `check_deadlock` has set up, because the hub is awake again.
    pub(super) fn end_watch(&self) {
        let mut watch = self.watch.borrow_mut();
        if !watch.listed {
            return;
        }
        watch.listed = false;
        STUCK
            .lock()
            .retain(|stuck| !Arc::ptr_eq(&stuck.hub, &self.remote));
        if let Some(thread) = watch.thread.take() {
            // Closing would do it too, the descriptor has no duplicates.
            let _ = self.remote.poller.deregister(thread.as_raw_fd());
        }
        self.settled.set(false);
    }

    /// Has the end of a thread reported as an event. `None` when the kernel cannot, or when the thread has just ended: its
    /// descriptor then cannot be opened, so the hub decides again after another quiet while.
    fn watch_thread(&self, thread: Pid) -> Option<OwnedFd> {
        match rustix::process::pidfd_open(thread, PIDFD_THREAD) {
            Ok(fd) => {
                self.remote
                    .poller
                    .register(fd.as_raw_fd(), WATCH_TOKEN)
                    .ok()?;
                Some(fd)
            }
            Err(rustix::io::Errno::SRCH) => {
                self.settled.set(false);
                None
            }
            Err(_) => None,
        }
    }

    /// Names every task that waits, what for, since when, and where it was spawned.
    fn report(&self) -> String {
        let mut report = String::from(
            "deadlock: all green threads of this thread wait, and nothing is left that could wake one of them",
        );
        let now = self.clock();
        let waited = |task: &Task| Duration::from_nanos(now.saturating_sub(task.since.get()));
        let root = &self.root;
        let _ = write!(
            report,
            "\n  the root ({}) {}, for {:.1?}",
            root.name.as_deref().unwrap_or("unnamed thread"),
            root.reason.get(),
            waited(root),
        );
        for task in self.tasks.snapshot() {
            let _ = write!(
                report,
                "\n  {} {}, for {:.1?}; spawned at {}",
                *task,
                task.reason.get(),
                waited(&task),
                task.site,
            );
        }
        if self.root.reason.get() == Reason::Turn {
            report.push_str(
                "\n  (the root is ending its thread and unwinds the green threads that are left)",
            );
        }
        report
    }
}

/// The threads of this process, or `None` when /proc does not tell.
fn living_threads() -> Option<Vec<Pid>> {
    let entries = std::fs::read_dir("/proc/self/task").ok()?;
    let threads = entries.filter_map(|entry| {
        let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Pid::from_raw(id)
    });
    let threads: Vec<_> = threads.collect();
    (!threads.is_empty()).then_some(threads)
}
