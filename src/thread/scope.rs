//! Scoped green threads, which may borrow from the stack of the one that spawns them.
//!
//! `scope` returns, or unwinds, only when every green thread of the scope has ended: also when its closure panics, when
//! the green thread that runs it is killed, and when it turns out that the scope can never end. In the last two cases
//! (in the last, the root waits for the scope, and nothing can ever happen again) the green threads of the scope are killed,
//! and only when they are gone does the unwinding go on from here.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, RefUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::packet::{self, PacketRef, Spawn};
use super::{Result, Thread};
use crate::hub;
use crate::park;
use crate::task::{Reason, Task};
use crate::unwind::{AbortOnUnwind, require_unwinding};
use crate::wait_queue::{Place, WaitQueue, Whom};

/// A scope to spawn green threads in; see [`scope`].
///
/// # Differences from std
///
/// It is not `Sync`: the green threads of a scope run on the OS thread that opened it, and can all reach it.
pub struct Scope<'scope, 'env: 'scope> {
    state: State,
    /// Invariant in both lifetimes, as std's, and bound to its OS thread.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<(&'env mut &'env (), *const ())>,
}

/// What the green threads of a scope and their handles know of it.
struct State {
    /// The green threads that have not ended.
    running: WaitQueue<usize>,
    /// Those that panicked and have not been joined.
    panics: AtomicUsize,
}

/// An owned permission to join on a scoped green thread.
///
/// # Examples
///
/// ```
/// let text = String::from("shared");
/// let length = greenhub::thread::scope(|scope| scope.spawn(|| text.len()).join().unwrap());
/// assert_eq!(length, 6);
/// ```
pub struct ScopedJoinHandle<'scope, T> {
    packet: PacketRef<T>,
    state: &'scope State,
}

// SAFETY: as for `JoinHandle`; of the state only an atomic is used.
unsafe impl<T: Send> Send for ScopedJoinHandle<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for ScopedJoinHandle<'_, T> {}

/// Opens a scope in which green threads may borrow local variables, runs `f` in it, and waits for all of them.
///
/// A green thread that is killed, or exceeds a time limit, in `f` or while it waits here unwinds after the scope has ended; the
/// green threads of the scope are killed then, so that it does. A panic of `f` lets them finish, as in std.
///
/// # Panics
///
/// Resumes the panic of `f`, if it panicked. Panics with "a scoped thread panicked" if a green thread of the scope panicked
/// and was not joined. In the root context, panics with a report when the scope can never end because of a deadlock;
/// the green threads of the scope are killed first.
///
/// # Examples
///
/// ```
/// let mut numbers = vec![1, 2, 3];
/// let mut sum = 0;
/// greenhub::thread::scope(|scope| {
///     scope.spawn(|| sum = numbers.iter().sum());
/// });
/// numbers.push(sum);
/// assert_eq!(numbers, [1, 2, 3, 6]);
/// ```
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        state: State {
            running: WaitQueue::new(0),
            panics: AtomicUsize::new(0),
        },
        scope: PhantomData,
        env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    // The green threads of the scope borrow from frames that must not be left before they have ended.
    let waiting = AbortOnUnwind("a scope could not wait for its green threads");
    // A `Timeout` that has passed may have been dropped on the way.
    let was_interrupted = matches!(&result, Err(payload) if super::is_interruption(&**payload));
    let deadlock = scope.wait(was_interrupted);
    waiting.defuse();
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if deadlock.is_some() => panic!("{}", deadlock.unwrap_or_default()),
        Ok(_) if scope.state.panics.load(Ordering::Relaxed) > 0 => {
            panic!("a scoped thread panicked")
        }
        Ok(value) => {
            // An interruption that came while this waited is not put off any further: the caller may count on what the green
            // threads of the scope have done.
            park::unwind_if_interrupted();
            value
        }
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Spawns a green thread that may borrow what outlives the scope. Like [`spawn`](super::spawn), it does not switch.
    ///
    /// # Panics
    ///
    /// Panics when this is the OS thread's first call and its hub cannot be created.
    ///
    /// # Examples
    ///
    /// ```
    /// let greeting = String::from("hello");
    /// greenhub::thread::scope(|scope| {
    ///     scope.spawn(|| assert_eq!(greeting, "hello"));
    ///     scope.spawn(|| assert_eq!(greeting.len(), 5));
    /// });
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        self.spawn_at(Location::caller(), f)
    }

    /// As `spawn`, on behalf of the code at `site`.
    pub(crate) fn spawn_at<F, T>(
        &'scope self,
        site: &'static Location<'static>,
        f: F,
    ) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let options = Spawn::lazily(self.address(), site);
        self.adopt(f, options)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn adopt<F, T>(
        &'scope self,
        f: F,
        options: Spawn,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        // SAFETY: what `F` and `T` borrow outlives `'scope`, which ends after `wait`, hence after `State::leave` for every
        // green thread of the scope. The handle cannot outlive `'scope`.
        let packet = unsafe { packet::spawn(f, options, State::leave) }?;
        *self.state.running.lock() += 1;
        Ok(ScopedJoinHandle {
            packet,
            state: &self.state,
        })
    }

    /// Kills all green threads of the scope that have not ended, without waiting; the scope itself waits for them.
    ///
    /// The one that calls it, if it is in the scope, goes on until it next waits. What is spawned afterwards is not affected.
    ///
    /// # Panics
    ///
    /// Panics in programs that are built with `panic = "abort"`.
    ///
    /// # Examples
    ///
    /// The first to find the answer ends the search:
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::time::Duration;
    ///
    /// let answer = Cell::new(None);
    /// greenhub::thread::scope(|scope| {
    ///     for n in [100_000, 1, 200_000] {
    ///         let answer = &answer;
    ///         scope.spawn(move || {
    ///             greenhub::sleep(Duration::from_millis(n));
    ///             answer.set(Some(n));
    ///             scope.kill();
    ///         });
    ///     }
    /// });
    /// assert_eq!(answer.get(), Some(1));
    /// ```
    pub fn kill(&self) {
        require_unwinding("a kill");
        hub::here().kill_scope(self.address());
    }

    /// What the tasks of this scope have in `Task::scope`.
    pub(crate) fn address(&self) -> *const () {
        ptr::from_ref(&self.state).cast()
    }

    /// Waits until all green threads have ended. Returns the report if there was a deadlock.
    fn wait(&self, was_interrupted: bool) -> Option<String> {
        let mut report = None;
        let mut has_killed = false;
        loop {
            if !has_killed && (was_interrupted || park::is_interrupted()) {
                has_killed = true;
                self.kill();
            }
            let running = self.state.running.lock();
            if *running == 0 {
                return report;
            }
            match running.wait_shielded(Reason::Scope) {
                Ok(_) => {}
                Err(deadlock) if cfg!(panic = "abort") => panic!("{}", deadlock.0),
                Err(deadlock) if report.is_none() => {
                    report = Some(*deadlock.0);
                    self.kill();
                }
                Err(deadlock) => {
                    // The destructors of a killed green thread wait for ever. Its frames borrow from this one, which can
                    // neither return nor unwind.
                    log::error!("{}", deadlock.0);
                    eprintln!(
                        "{}\nfatal: a scope can neither end nor unwind, aborting",
                        deadlock.0
                    );
                    std::process::abort();
                }
            }
        }
    }
}

impl State {
    /// Notes that a green thread of the scope has ended.
    fn leave(task: &Task, panicked: bool) {
        // SAFETY: `adopt` set the address, and the scope has not ended because this green thread had not. It does not end
        // before this function has returned: the one that waits for it is resumed by the hub that this runs on.
        let state = unsafe { &*task.scope.cast::<State>() };
        if panicked {
            state.panics.fetch_add(1, Ordering::Relaxed);
        }
        let mut running = state.running.lock();
        *running -= 1;
        if *running == 0 {
            running.notify_all();
        }
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// The green thread that this handle belongs to.
    ///
    /// # Examples
    ///
    /// ```
    /// greenhub::thread::scope(|scope| {
    ///     let handle = scope.spawn(greenhub::thread::park);
    ///     handle.thread().unpark();
    /// });
    /// ```
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.packet.thread()
    }

    /// Waits for the green thread to finish and returns its result.
    ///
    /// # Errors
    ///
    /// `Err` with the payload of the panic if the green thread panicked; the scope then does not panic for it.
    ///
    /// # Panics
    ///
    /// As [`JoinHandle::join`](super::JoinHandle::join).
    ///
    /// # Examples
    ///
    /// ```
    /// greenhub::thread::scope(|scope| {
    ///     let handle = scope.spawn(|| panic!("caught by join"));
    ///     assert!(handle.join().is_err());
    /// });
    /// ```
    pub fn join(self) -> Result<T> {
        let _ = self.packet.wait(None);
        let result = self.packet.into_result();
        if let Err(payload) = &result
            && !payload.is::<super::Killed>()
        {
            self.state.panics.fetch_sub(1, Ordering::Relaxed);
        }
        result
    }

    /// Waits for the green thread to finish, and leaves the result where it is.
    ///
    /// # Panics
    ///
    /// As [`JoinHandle::join`](super::JoinHandle::join).
    ///
    /// # Examples
    ///
    /// ```
    /// greenhub::thread::scope(|scope| {
    ///     let handle = scope.spawn(|| 42);
    ///     handle.wait();
    ///     assert!(handle.is_finished());
    /// });
    /// ```
    pub fn wait(&self) {
        let _ = self.packet.wait(None);
    }

    /// As [`wait`](ScopedJoinHandle::wait), but no longer than `timeout`. Returns whether the green thread has finished.
    ///
    /// # Panics
    ///
    /// As `wait`.
    ///
    /// # Examples
    ///
    /// ```
    /// greenhub::thread::scope(|scope| {
    ///     let handle = scope.spawn(greenhub::thread::park);
    ///     assert!(!handle.wait_timeout(std::time::Duration::from_millis(1)));
    ///     handle.thread().unpark();
    /// });
    /// ```
    #[must_use = "the green thread may go on"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        self.packet.wait(deadline).is_ok()
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
    /// greenhub::thread::scope(|scope| {
    ///     let handle = scope.spawn(|| ());
    ///     greenhub::yield_now();
    ///     assert!(handle.is_finished());
    /// });
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.packet.is_finished()
    }

    /// Kills the green thread and waits until it has ended; see [`JoinHandle::kill`](super::JoinHandle::kill). The scope does
    /// not panic for it.
    ///
    /// # Panics
    ///
    /// As `JoinHandle::kill`.
    ///
    /// # Examples
    ///
    /// ```
    /// greenhub::thread::scope(|scope| {
    ///     let handle = scope.spawn(greenhub::thread::park);
    ///     handle.kill();
    ///     assert!(handle.is_finished());
    /// });
    /// ```
    pub fn kill(&self) {
        self.packet.kill(None);
        let _ = self.packet.wait_for_death(None);
    }

    /// As [`kill`](ScopedJoinHandle::kill), but does not wait.
    ///
    /// # Panics
    ///
    /// Panics in programs that are built with `panic = "abort"`.
    ///
    /// # Examples
    ///
    /// ```
    /// greenhub::thread::scope(|scope| scope.spawn(greenhub::thread::park).kill_nowait());
    /// ```
    pub fn kill_nowait(&self) {
        self.packet.kill(None);
    }
}

impl RefUnwindSafe for Scope<'_, '_> {}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not locked while it is formatted: what is written to belongs to the program, and may wait.
        let running = *self.state.running.lock();
        f.debug_struct("Scope")
            .field("running", &running)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").finish_non_exhaustive()
    }
}
