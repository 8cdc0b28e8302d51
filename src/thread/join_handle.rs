//! Handles to green threads.
#![allow(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use super::packet::PacketRef;
use super::{Ending, Result, Thread, link};
use crate::wait_queue::{Place, Whom};

/// An owned permission to join on a green thread: to wait for its end and take its result.
///
/// Dropping a handle detaches the green thread, which goes on running.
///
/// The handle of a green thread whose result is `Send` may be sent to other OS threads and joined there.
///
/// # Differences from std
///
/// The handle is `Send` only if `T` is, because `T` need not be. There is no `as_pthread_t`.
///
/// # Examples
///
/// ```
/// let handle = greenhub::spawn(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// ```
pub struct JoinHandle<T> {
    packet: PacketRef<T>,
}

// SAFETY: a handle gives access to the result (`Send`), to the `Thread` (`Send + Sync`), and to waiting, which the packet
// does without a lock only on the green thread's own OS thread.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: as above; through a shared handle one can wait, but not take the result.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    pub(super) fn new(packet: PacketRef<T>) -> Self {
        JoinHandle { packet }
    }

    /// The green thread that this handle belongs to.
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::spawn(greenhub::thread::park);
    /// handle.thread().unpark();
    /// handle.join().unwrap();
    /// ```
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.packet.thread()
    }

    /// Waits for the green thread to finish and returns its result.
    ///
    /// # Errors
    ///
    /// `Err` with the payload of the panic if the green thread panicked, or with a [`Killed`](super::Killed) if it was killed.
    /// [`Outcome`](super::Outcome) tells the two apart.
    ///
    /// # Panics
    ///
    /// Panics when a green thread joins itself, and in the root context when a deadlock is found (see the crate's
    /// documentation).
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::spawn(|| -> u32 { panic!("no result") });
    /// let payload = handle.join().unwrap_err();
    /// assert_eq!(*payload.downcast::<&str>().unwrap(), "no result");
    /// ```
    // Inlined for the sake of the processor's return prediction, as `Hub::switch_out` explains.
    #[inline(always)]
    pub fn join(self) -> Result<T> {
        let _ = self.packet.wait(None);
        self.packet.into_result()
    }

    /// As [`join`](JoinHandle::join), but waits no longer than `timeout`. A timeout that is too large to be represented as
    /// a point in time never passes.
    ///
    /// # Errors
    ///
    /// The outer `Err` gives the handle back when the green thread has not finished in time.
    ///
    /// # Panics
    ///
    /// As `join`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let handle = greenhub::spawn(|| greenhub::sleep(Duration::from_millis(20)));
    /// let handle = handle.join_timeout(Duration::from_millis(1)).expect_err("not finished yet");
    /// handle.join().unwrap();
    /// ```
    pub fn join_timeout(self, timeout: Duration) -> std::result::Result<Result<T>, Self> {
        match self.packet.wait(Instant::now().checked_add(timeout)) {
            Ok(()) => Ok(self.packet.into_result()),
            Err(_) => Err(self),
        }
    }

    /// Waits for the green thread to finish, and leaves the result where it is. gevent's `Greenlet.join`; that of this type
    /// is its `get`.
    ///
    /// # Panics
    ///
    /// As [`join`](JoinHandle::join).
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::spawn(|| 42);
    /// handle.wait();
    /// assert!(handle.is_finished());
    /// assert_eq!(handle.join().unwrap(), 42);
    /// ```
    #[inline(always)]
    pub fn wait(&self) {
        let _ = self.packet.wait(None);
    }

    /// As [`wait`](JoinHandle::wait), but no longer than `timeout`. Returns whether the green thread has finished. A timeout
    /// that is too large to be represented as a point in time never passes.
    ///
    /// # Panics
    ///
    /// As `join`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let handle = greenhub::spawn(|| greenhub::sleep(Duration::from_millis(20)));
    /// assert!(!handle.wait_timeout(Duration::from_millis(1)));
    /// assert!(handle.wait_timeout(Duration::from_secs(60)));
    /// ```
    #[must_use = "the green thread may go on"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        self.packet.wait(deadline).is_ok()
    }

    /// Has `f` called when the green thread has finished, or soon if it has.
    ///
    /// `f` runs once, in a green thread of its own on the OS thread that calls this method: it may block, and its panic is
    /// logged and ends nothing else. Links made by one OS thread start in the order in which they were made. Until then a link
    /// takes some hundred bytes and no stack. gevent's `link_value` and `link_exception` are a look at the [`Ending`].
    ///
    /// The handle that is returned is that of the link: to wait until it has run, or to [kill](JoinHandle::kill) it, which is
    /// gevent's `unlink`. It can also be dropped. A link that still waits when its OS thread ends does not run.
    ///
    /// # Panics
    ///
    /// As [`spawn`](super::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::thread::Ending;
    ///
    /// let worker = greenhub::spawn(|| "done");
    /// let link = worker.link(|worker, ending| (worker.id(), ending));
    /// assert_eq!(link.join().unwrap(), (worker.thread().id(), Ending::Returned));
    /// // The result is still there, and a late link runs as well.
    /// worker.link(|_, _| println!("it has ended"));
    /// assert_eq!(worker.join().unwrap(), "done");
    /// ```
    #[track_caller]
    pub fn link<F, U>(&self, f: F) -> JoinHandle<U>
    where
        F: FnOnce(&Thread, Ending) -> U + 'static,
        U: 'static,
    {
        link::link(&self.packet, f, Location::caller())
    }

    /// As [`PacketRef::watch`].
    ///
    /// # Safety
    ///
    /// As there.
    pub(crate) unsafe fn watch(&self, place: &Place, whom: Whom) -> bool {
        // SAFETY: the caller's contract.
        unsafe { self.packet.watch(place, whom) }
    }

    pub(crate) fn unwatch(&self, place: &Place) -> bool {
        self.packet.unwatch(place)
    }

    /// Whether it is a job of the pool of OS threads.
    pub(crate) fn is_job(&self) -> bool {
        self.packet.is_job()
    }

    /// Whether the green thread has finished, so that `join` would not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::spawn(|| ());
    /// assert!(!handle.is_finished(), "spawn does not run it yet");
    /// greenhub::yield_now();
    /// assert!(handle.is_finished());
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.packet.is_finished()
    }

    /// Kills the green thread and waits until it has ended.
    ///
    /// It unwinds from where it waits, or as soon as it waits, and its destructors run; they may block. What it holds is
    /// released, locks are poisoned as by a panic. Its joiners get a [`Killed`](super::Killed). If it has not started, it never
    /// runs. If it has finished, nothing happens. While it is in a [`shielded`](super::shielded) section or already
    /// unwinding, the kill is put off; if it catches the unwinding, it meets the kill again when it next waits. One that
    /// never waits again ends as it would have; one that catches the unwinding for ever goes on for ever.
    ///
    /// A green thread that kills itself unwinds at once.
    ///
    /// May be called more than once, and from any thread.
    ///
    /// # Panics
    ///
    /// Panics in programs that are built with `panic = "abort"`, and, as [`join`](JoinHandle::join), when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let token = Rc::new(());
    /// let shared = Rc::clone(&token);
    /// let handle = greenhub::spawn(move || {
    ///     let _held = shared;
    ///     greenhub::thread::park();
    /// });
    /// greenhub::yield_now();
    /// handle.kill();
    /// assert!(handle.is_finished());
    /// assert_eq!(Rc::strong_count(&token), 1, "its destructors have run");
    /// ```
    pub fn kill(&self) {
        self.packet.kill(None);
        let _ = self.packet.wait_for_death(None);
    }

    /// As [`kill`](JoinHandle::kill), with a payload for the joiners: see [`Killed::payload`](super::Killed::payload). That of the first kill counts.
    ///
    /// # Panics
    ///
    /// As `kill`.
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::spawn(greenhub::thread::park);
    /// handle.kill_with("enough");
    /// let killed = handle.join().unwrap_err().downcast::<greenhub::thread::Killed>().unwrap();
    /// assert!(killed.into_payload().unwrap().is::<&str>());
    /// ```
    pub fn kill_with(&self, payload: impl Any + Send) {
        self.packet.kill(Some(Box::new(payload)));
        let _ = self.packet.wait_for_death(None);
    }

    /// As [`kill`](JoinHandle::kill), but waits no longer than `timeout`. Returns whether the green thread has ended.
    ///
    /// # Panics
    ///
    /// As `kill`.
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::spawn(greenhub::thread::park);
    /// assert!(handle.kill_timeout(std::time::Duration::from_secs(5)));
    /// ```
    #[must_use = "the green thread may go on"]
    pub fn kill_timeout(&self, timeout: Duration) -> bool {
        self.packet.kill(None);
        let deadline = Instant::now().checked_add(timeout);
        self.packet.wait_for_death(deadline).is_ok()
    }

    /// As [`kill`](JoinHandle::kill), but does not wait. A green thread that calls it for itself goes on until it next waits.
    ///
    /// # Panics
    ///
    /// Panics in programs that are built with `panic = "abort"`.
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::spawn(|| unreachable!("it never starts"));
    /// handle.kill_nowait();
    /// assert!(handle.join().unwrap_err().is::<greenhub::thread::Killed>());
    /// ```
    pub fn kill_nowait(&self) {
        self.packet.kill(None);
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").finish_non_exhaustive()
    }
}
