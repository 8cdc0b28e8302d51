//! Several hubs, each on an OS thread of its own, for work that one core is not enough for.
//!
//! [`Hubs::spawn`] hands a `Send` closure to whichever hub is idle first. There it runs as an ordinary green thread, with all
//! that this crate offers: it may spawn green threads of its own, which stay on its hub and share `Rc`s with it, wait
//! for sockets, and so on. Its handle can be joined and killed from any thread.
//!
//! # Who runs what
//!
//! Closures that have not started wait in one queue, from which a hub takes one when it has nothing else to do. So a hub that is
//! busy leaves the others' work to them. Once started, a green thread never moves: its hub is chosen by who is idle at
//! that moment, not by who will be later. [`Hubs::spawn_on`] chooses the hub itself.
//!
//! Green threads that compute let the others of their hub run only when they call [`yield_now`](crate::yield_now).
//!
//! # Deadlocks
//!
//! Hubs that have nothing to do keep nobody else's deadlock from being reported, and report none themselves: nobody waits on
//! their roots. When all that could still happen would have to happen there, it is the root that waits elsewhere which
//! gets the report.
//!
//! # Examples
//!
//! ```
//! use greenhub::Hubs;
//!
//! let hubs = Hubs::new(2);
//! let parts: Vec<_> = (0..10u64)
//!     .map(|part| hubs.spawn(move || (part * 1000..(part + 1) * 1000).sum::<u64>()))
//!     .collect();
//! let sum: u64 = greenhub::joinall(parts).into_iter().map(Result::unwrap).sum();
//! assert_eq!(sum, 9999 * 10_000 / 2);
//! ```

mod builder;
mod state;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::hub;
use crate::task::TaskRef;
use crate::thread::{self, JoinHandle};

use state::State;

pub use builder::Builder;

/// How long those that were killed may take to unwind before nobody waits for them any longer.
const UNWIND_LIMIT: Duration = Duration::from_secs(5);

/// Several OS threads with a hub each; see the [module](self).
///
/// # Dropping
///
/// Dropping it ends it as [`shutdown`](Hubs::shutdown) with a limit of zero does: everything that runs on the hubs is killed,
/// closures that have not started never run, and the drop waits until all have unwound, but no longer than 5 seconds.
/// Call [`join`](Hubs::join) or `shutdown` to let them finish. If it is dropped by code that runs on one of its own hubs,
/// which would have to wait for itself, then it does not wait, and that code is killed when it next waits.
///
/// In programs that are built with `panic = "abort"` nothing that has started can be killed: it is waited for as long, and then
/// left to itself.
pub struct Hubs {
    state: Arc<State>,
    /// Empty once they have been joined.
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    len: usize,
}

/// What [`Hubs::shutdown`] found and did.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let hubs = greenhub::Hubs::new(1);
/// hubs.spawn(|| 1).join().unwrap();
/// hubs.spawn(greenhub::thread::park);
/// let shutdown = hubs.shutdown(Duration::from_millis(20));
/// assert_eq!((shutdown.killed, shutdown.left), (1, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// Green threads, of those that were spawned through the `Hubs`, that did not end within the limit and were killed.
    pub killed: usize,
    /// Those that had not ended 5 seconds after they were killed: they do not wait for anything, or their destructors do.
    /// The OS threads of all hubs are left to end when these have.
    pub left: usize,
}

/// The error of spawning on [`Hubs`] that are being or have been shut down.
///
/// # Examples
///
/// ```
/// let hubs = greenhub::Hubs::new(1);
/// hubs.shutdown(std::time::Duration::ZERO);
/// let error = hubs.try_spawn(|| ()).unwrap_err();
/// assert_eq!(error.to_string(), "the hubs have been shut down");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed;

impl Hubs {
    /// Starts `len` hubs; [`Builder`] has names, a default for the number, and reports errors.
    ///
    /// # Panics
    ///
    /// Panics when `len` is zero, and when the OS threads or their hubs cannot be created.
    ///
    /// # Examples
    ///
    /// ```
    /// let hubs = greenhub::Hubs::new(2);
    /// assert_eq!(hubs.spawn(|| 6 * 7).join().unwrap(), 42);
    /// ```
    #[must_use]
    pub fn new(len: usize) -> Hubs {
        let hubs = Builder::new().hubs(len).build();
        hubs.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The number of hubs, at least one.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenhub::Hubs::new(3).len(), 3);
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The index of the hub that the caller runs on among its `Hubs`, or `None` if it runs elsewhere.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::Hubs;
    ///
    /// let hubs = Hubs::new(2);
    /// assert_eq!(hubs.spawn_on(1, Hubs::current).join().unwrap(), Some(1));
    /// assert_eq!(Hubs::current(), None);
    /// ```
    #[must_use]
    pub fn current() -> Option<usize> {
        hub::place_in(None)
    }

    /// The number of green threads that were spawned through this and have not ended. One whose handle has just been joined may
    /// still be counted; [`join`](Hubs::join) waits for that, too.
    ///
    /// # Examples
    ///
    /// ```
    /// let hubs = greenhub::Hubs::new(1);
    /// let parked = hubs.spawn(greenhub::thread::park);
    /// assert_eq!(hubs.tasks(), 1);
    /// parked.kill();
    /// hubs.join();
    /// assert_eq!(hubs.tasks(), 0);
    /// ```
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.state.tasks()
    }

    /// Spawns a green thread on the hub that is the first to be idle. Dropping the handle detaches it.
    ///
    /// A kill before it has started has the killer drop the closure.
    ///
    /// # Panics
    ///
    /// Panics when the hubs have been shut down; [`try_spawn`](Hubs::try_spawn) reports that instead.
    ///
    /// # Examples
    ///
    /// ```
    /// let hubs = greenhub::Hubs::new(2);
    /// let handle = hubs.spawn(|| {
    ///     // Neither this closure's locals nor its children have to be `Send`.
    ///     let shared = std::rc::Rc::new(5);
    ///     let child = std::rc::Rc::clone(&shared);
    ///     greenhub::spawn(move || *child * 2).join().unwrap()
    /// });
    /// assert_eq!(handle.join().unwrap(), 10);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_spawn(f)
            .unwrap_or_else(|closed| panic!("cannot spawn: {closed}"))
    }

    /// As [`spawn`](Hubs::spawn), but reports that the hubs have been shut down.
    ///
    /// # Errors
    ///
    /// [`Closed`] after [`shutdown`](Hubs::shutdown) has been called.
    ///
    /// # Examples
    ///
    /// ```
    /// let hubs = greenhub::Hubs::new(1);
    /// assert_eq!(hubs.try_spawn(|| 1)?.join().unwrap(), 1);
    /// # Ok::<(), greenhub::hubs::Closed>(())
    /// ```
    #[track_caller]
    pub fn try_spawn<F, T>(&self, f: F) -> Result<JoinHandle<T>, Closed>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (task, handle) = self.make(f, Location::caller())?;
        self.state.injector.push(task);
        Ok(handle)
    }

    /// As [`spawn`](Hubs::spawn), on the hub with this index, however busy it is. Green threads of one hub that were spawned so
    /// start in the order of these calls if one thread makes them.
    ///
    /// # Panics
    ///
    /// As `spawn`, and when there is no hub of this index.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::Hubs;
    ///
    /// let hubs = Hubs::new(2);
    /// let places = [0, 1, 0].map(|index| hubs.spawn_on(index, Hubs::current));
    /// let places = places.map(|place| place.join().unwrap());
    /// assert_eq!(places, [Some(0), Some(1), Some(0)]);
    /// ```
    #[track_caller]
    pub fn spawn_on<F, T>(&self, index: usize, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_spawn_on(index, f)
            .unwrap_or_else(|closed| panic!("cannot spawn: {closed}"))
    }

    /// As [`spawn_on`](Hubs::spawn_on), but reports that the hubs have been shut down.
    ///
    /// # Errors
    ///
    /// As [`try_spawn`](Hubs::try_spawn).
    ///
    /// # Panics
    ///
    /// When there is no hub of this index.
    ///
    /// # Examples
    ///
    /// ```
    /// let hubs = greenhub::Hubs::new(1);
    /// assert_eq!(hubs.try_spawn_on(0, || 1)?.join().unwrap(), 1);
    /// # Ok::<(), greenhub::hubs::Closed>(())
    /// ```
    #[track_caller]
    pub fn try_spawn_on<F, T>(&self, index: usize, f: F) -> Result<JoinHandle<T>, Closed>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        assert!(
            index < self.len,
            "there is no hub {index}: there are {}",
            self.len
        );
        let (task, handle) = self.make(f, Location::caller())?;
        self.state.injector.push_to(index, task);
        Ok(handle)
    }

    /// A task that counts, for one of the hubs to take.
    fn make<F, T>(
        &self,
        f: F,
        site: &'static Location<'static>,
    ) -> Result<(TaskRef, JoinHandle<T>), Closed>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.state.enter()?;
        let state = Arc::clone(&self.state);
        let on_end = move |task: &_, _| state.leave(task);
        Ok(thread::without_home(f, site, None, on_end))
    }

    /// Waits until all green threads that were spawned through this have ended, also those that are spawned meanwhile.
    /// The hubs go on.
    ///
    /// What these green threads have spawned on their own hubs does not count.
    ///
    /// # Panics
    ///
    /// Panics on one of these hubs, as it would wait for itself; and in the root context when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let hubs = greenhub::Hubs::new(2);
    /// let count = Arc::new(AtomicU32::new(0));
    /// for _ in 0..100 {
    ///     let count = Arc::clone(&count);
    ///     hubs.spawn(move || count.fetch_add(1, Ordering::Relaxed));
    /// }
    /// hubs.join();
    /// assert_eq!(count.load(Ordering::Relaxed), 100);
    /// ```
    pub fn join(&self) {
        self.assert_elsewhere();
        let _ = self.state.wait_for_tasks(None);
    }

    /// As [`join`](Hubs::join), but waits no longer than `timeout`. Returns whether all have ended.
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
    /// let hubs = greenhub::Hubs::new(1);
    /// let parked = hubs.spawn(greenhub::thread::park);
    /// assert!(!hubs.join_timeout(Duration::from_millis(1)));
    /// parked.thread().unpark();
    /// assert!(hubs.join_timeout(Duration::from_secs(5)));
    /// ```
    #[must_use = "some may not have ended"]
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.assert_elsewhere();
        let deadline = Instant::now().checked_add(timeout);
        self.state.wait_for_tasks(deadline).is_ok()
    }

    /// Ends the hubs: nothing can be spawned through this from now on. What was spawned before may go on until `limit` has
    /// passed; whatever is then left on the hubs, including what runs there without having been spawned through this, is
    /// killed and waited for, though no longer than 5 seconds: nothing can end a green thread that never waits.
    ///
    /// A limit that is too large to be represented as a point in time never passes. A further call waits as the first one does.
    /// A kill of the caller that comes before the limit has passed leaves the hubs as they are, closed.
    ///
    /// # Panics
    ///
    /// Panics on one of these hubs, as it would wait for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let hubs = greenhub::Hubs::new(2);
    /// let handle = hubs.spawn(|| greenhub::sleep(Duration::from_millis(5)));
    /// let shutdown = hubs.shutdown(Duration::from_secs(5));
    /// assert_eq!(shutdown.killed, 0);
    /// assert!(handle.is_finished());
    /// ```
    pub fn shutdown(&self, limit: Duration) -> Shutdown {
        self.assert_elsewhere();
        self.state.close();
        let deadline = Instant::now().checked_add(limit);
        let _ = self.state.wait_for_tasks(deadline);
        let before = self.state.killed();
        let left = self.end();
        Shutdown {
            killed: self.state.killed() - before,
            left,
        }
    }

    /// Kills what is left and waits for the hubs to end. Returns how many of the tasks have not.
    fn end(&self) -> usize {
        self.state.stop();
        if self
            .state
            .wait_for_hubs(Instant::now() + UNWIND_LIMIT)
            .is_err()
        {
            return self.state.tasks();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // Nothing of the program runs there any more but destructors of thread-locals. They may panic.
            let _ = thread.join();
        }
        0
    }

    fn assert_elsewhere(&self) {
        assert!(
            hub::place_in(Some(&self.state.injector)).is_none(),
            "code that runs on one of these hubs cannot wait for their end: it would wait for itself"
        );
    }
}

impl Drop for Hubs {
    fn drop(&mut self) {
        self.state.close();
        if hub::place_in(Some(&self.state.injector)).is_some() {
            self.state.stop();
            return;
        }
        let left = thread::shielded(|| self.end());
        if left > 0 {
            log::warn!(
                "{left} green threads of dropped Hubs were killed and have not ended within {UNWIND_LIMIT:?}"
            );
        }
    }
}

impl fmt::Debug for Hubs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hubs")
            .field("len", &self.len)
            .field("tasks", &self.tasks())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the hubs have been shut down")
    }
}

impl std::error::Error for Closed {}
