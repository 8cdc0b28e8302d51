//! Green threads: [`std::thread`] for the hub.
//!
//! The names, signatures and semantics are std's. A green thread runs on the OS thread that spawned it and is never moved,
//! so neither its closure nor its result has to be `Send`; green threads of one OS thread may share `Rc<RefCell<_>>`.
//! They run one at a time, in the order in which they became ready, and each until it waits for something or calls
//! [`yield_now`].
//!
//! Code that is not in a green thread (main, a test, a thread made by [`std::thread`]) is the *root* of its OS thread. All
//! functions work there too: while the root waits, the green threads of its OS thread run.
//!
//! # Differences from std
//!
//! - `spawn` needs neither `Send` nor enough memory for a stack: see [`spawn`].
//! - [`ThreadId`] is a type of its own, because std's cannot be made.
//! - [`JoinHandle::join_timeout`] and [`sleep_until`] exist.
//! - `thread_local!` variables belong to the OS thread, hence are shared by its green threads. Crates that keep a pointer to a
//!   local variable in one while a closure runs (`scoped_tls` and the like) count on nothing else running meanwhile, and
//!   must not be used around a call that waits.
//! - **The initialiser of a `thread_local!` variable must not wait.** std takes it for granted that nothing else on its OS thread runs
//!   meanwhile. If another green thread does, uses the variable, and waits while it does, then the value is replaced
//!   and dropped under it: memory that has been freed is read, without any unsafe code of the program's. Nothing in this crate can
//!   tell. An initialiser that is `const { .. }` never waits, and that of a [`green_local!`](crate::green_local) may.
//! - A green thread that still waits when its OS thread ends is unwound there; [`Killed`] is what its joiners get. That
//!   includes the main thread, also when its root calls [`std::process::exit`]. With `panic = "abort"` it is not unwound.
//! - A panic hook must not call anything of this crate that blocks.
//! - std counts panics per OS thread. While a green thread waits in a destructor, in the midst of unwinding, the panic of another
//!   one on its OS thread cannot be told from its: [`panicking`] is false in that one, it poisons no locks, and a kill or a time
//!   limit that ends a wait in one of its own destructors ends the process, as a panic in there would.

mod builder;
mod end;
mod join_handle;
mod link;
mod outcome;
mod packet;
mod scope;

use std::any::Any;
use std::fmt;
use std::num::NonZeroU64;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::time::{Duration, Instant};

use crate::hub;
use crate::park;
use crate::task::{Task, TaskRef};

pub use self::builder::Builder;
pub use self::join_handle::JoinHandle;
pub use self::outcome::{Ending, Killed, Outcome};
pub use self::scope::{Scope, ScopedJoinHandle, scope};
pub use std::thread::{AccessError, LocalKey, Result, available_parallelism};

pub(crate) use packet::Spawn;

use packet::Start;

impl Spawn {
    /// For a green thread that gets its stack when it first runs.
    pub(crate) fn lazily(scope: *const (), site: &'static Location<'static>) -> Spawn {
        Spawn {
            name: None,
            stack_size: None,
            reserve: false,
            start: Start::Soon,
            scope,
            inherit_locals: false,
            site,
        }
    }
}

/// Spawns a green thread on the calling OS thread. It begins to run when the caller next waits, after all that are ready.
///
/// Spawning takes no stack. A green thread gets one at its first turn; if the kernel refuses memory then, the green thread
/// waits until another one ends. [`Builder::spawn`] reports the refusal instead.
///
/// # Panics
///
/// Panics when this is the OS thread's first call and its hub cannot be created for want of descriptors or memory.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// let counter = Rc::new(Cell::new(0));
/// let shared = Rc::clone(&counter);
/// let handle = greenhub::thread::spawn(move || shared.set(shared.get() + 1));
/// assert_eq!(counter.get(), 0, "spawn does not switch");
/// handle.join().unwrap();
/// assert_eq!(counter.get(), 1);
/// ```
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    spawn_with(f, Spawn::lazily(ptr::null(), Location::caller()))
}

/// Spawns a green thread that begins to run after `delay`, measured from now.
///
/// # Panics
///
/// As [`spawn`].
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let later = greenhub::spawn_later(Duration::from_millis(5), Instant::now);
/// assert!(later.join().unwrap() - start >= Duration::from_millis(5));
/// ```
#[track_caller]
pub fn spawn_later<F, T>(delay: Duration, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let mut options = Spawn::lazily(ptr::null(), Location::caller());
    options.start = Start::At(after(delay));
    spawn_with(f, options)
}

/// As [`spawn`], on behalf of the code at `site`.
pub(crate) fn spawn_at<F, T>(site: &'static Location<'static>, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    spawn_with(f, Spawn::lazily(ptr::null(), site))
}

#[allow(unsafe_code)]
pub(crate) fn spawn_with<F, T>(f: F, options: Spawn) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    // SAFETY: nothing is borrowed.
    match unsafe { packet::spawn(f, options, |_, _| ()) } {
        Ok(packet) => JoinHandle::new(packet),
        Err(error) => panic!("cannot spawn a green thread: {error}"),
    }
}

/// Makes a green thread that some hub is to adopt, or a job for the pool of OS threads (which `job` names in reports), and its
/// handle; see [`packet::without_home`]. `on_end` is called by whoever has run or withdrawn it.
pub(crate) fn without_home<F, T>(
    f: F,
    site: &'static Location<'static>,
    job: Option<&'static &'static str>,
    on_end: impl FnOnce(&Task, bool) + Send + 'static,
) -> (TaskRef, JoinHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (task, packet) = packet::without_home(f, site, job, on_end);
    (task, JoinHandle::new(packet))
}

/// The point in time `delay` from now. One beyond what the clock can tell becomes one in a hundred years.
pub(crate) fn after(delay: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(delay).unwrap_or_else(|| now + CENTURY)
}

/// The green thread that calls this, or, outside of one, the root of the OS thread.
///
/// # Examples
///
/// ```
/// let handle = greenhub::spawn(|| greenhub::thread::current().id());
/// let id = handle.thread().id();
/// assert_eq!(handle.join().unwrap(), id);
/// ```
#[must_use]
pub fn current() -> Thread {
    Thread::new(TaskRef::of(hub::here().running()))
}

/// Lets every other green thread that is ready run, then goes on.
///
/// A green thread that computes for long calls this from time to time, for the others' sake. Calling it in a loop starves
/// neither timers nor sockets.
///
/// # Examples
///
/// ```
/// let handle = greenhub::spawn(|| "ran");
/// greenhub::thread::yield_now();
/// assert!(handle.is_finished());
/// ```
#[inline(always)]
pub fn yield_now() {
    park::yield_now();
}

/// Waits for at least `duration`; never less. Zero means to let the others run once, as [`yield_now`].
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// greenhub::thread::sleep(Duration::from_micros(200));
/// assert!(start.elapsed() >= Duration::from_micros(200));
/// ```
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        yield_now();
    } else {
        park::sleep_until(after(duration));
    }
}

/// Waits until `deadline`; returns at once if it has passed.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let deadline = Instant::now() + Duration::from_millis(1);
/// greenhub::thread::sleep_until(deadline);
/// assert!(Instant::now() >= deadline);
/// ```
pub fn sleep_until(deadline: Instant) {
    if Instant::now() < deadline {
        park::sleep_until(deadline);
    }
}

/// Waits until the caller's token is made available by [`Thread::unpark`], and consumes it. Does not wait if it is there.
///
/// May be called by green threads and by the root, and unparked from any OS thread.
///
/// # Panics
///
/// In the root context, when a deadlock is found.
///
/// # Examples
///
/// ```
/// let main = greenhub::thread::current();
/// greenhub::spawn(move || main.unpark());
/// greenhub::thread::park();
/// ```
pub fn park() {
    park::park_for_token(None);
}

/// As [`park`], but waits no longer than `duration`.
///
/// # Examples
///
/// ```
/// greenhub::thread::park_timeout(std::time::Duration::from_millis(1));
/// ```
pub fn park_timeout(duration: Duration) {
    park::park_for_token(Some(after(duration)));
}

/// Whether the calling green thread is unwinding because of a panic or a cancellation.
///
/// [`std::thread::panicking`] answers for the OS thread, hence also while another green thread is suspended in a
/// destructor in the middle of unwinding. This function tells them apart, with one limit: while one is suspended so, a
/// green thread that begins to panic is not recognised as panicking.
///
/// # Examples
///
/// ```
/// assert!(!greenhub::thread::panicking());
/// ```
#[must_use]
pub fn panicking() -> bool {
    hub::is_unwinding()
}

/// Runs `f` as a section that is not to be interrupted: while it runs, neither a kill nor a [`timeout`](crate::timeout)
/// around the call ends its waits.
///
/// The green thread meets the interruption when it next waits outside. So a section should be short, or be bound to end by
/// itself: whoever kills the green thread waits for it, and so does the end of the OS thread. Time limits set inside
/// of the section count, and are the way to bound it.
///
/// Code that must not be unwound, such as a callback that C code calls and that waits, belongs into such a section.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use std::time::Duration;
///
/// let committed = Rc::new(Cell::new(false));
/// let flag = Rc::clone(&committed);
/// let handle = greenhub::spawn(move || {
///     greenhub::thread::shielded(|| {
///         greenhub::sleep(Duration::from_millis(5));
///         flag.set(true);
///     });
///     greenhub::thread::park();
/// });
/// greenhub::yield_now();
/// handle.kill();
/// assert!(committed.get());
/// ```
pub fn shielded<T>(f: impl FnOnce() -> T) -> T {
    park::shielded(f)
}

/// Whether `payload`, which came out of [`catch_unwind`](std::panic::catch_unwind), is no panic but a green thread on its way
/// out: killed, or beyond a time limit.
///
/// Code that catches panics should [resume](std::panic::resume_unwind) those. If it does not, the green thread meets the
/// interruption again when it next waits.
///
/// # Examples
///
/// ```
/// use std::panic::{catch_unwind, resume_unwind};
/// use std::time::Duration;
///
/// fn guarded(f: fn()) {
///     if let Err(payload) = catch_unwind(f) {
///         if greenhub::thread::is_interruption(&*payload) {
///             resume_unwind(payload);
///         }
///         println!("it panicked");
///     }
/// }
///
/// let limit = Duration::from_millis(1);
/// assert!(greenhub::timeout(limit, || guarded(greenhub::thread::park)).is_err());
/// ```
#[must_use]
pub fn is_interruption(payload: &(dyn Any + Send)) -> bool {
    payload.is::<park::Kill>() || payload.is::<park::Expired>()
}

/// A handle to a green thread, or to the root of an OS thread.
///
/// # Examples
///
/// ```
/// let root = greenhub::thread::current();
/// std::thread::spawn(move || root.unpark());
/// greenhub::thread::park();
/// ```
#[derive(Clone)]
pub struct Thread {
    task: TaskRef,
}

impl Thread {
    fn new(task: TaskRef) -> Thread {
        Thread { task }
    }

    /// Whether it belongs to the calling OS thread, and its hub has not ended.
    pub(crate) fn is_at_home(&self) -> bool {
        hub::current_id() == Some(self.task.home_id())
    }

    /// Whether it is the one that calls this.
    pub(crate) fn is_current(&self) -> bool {
        let is_running = |task: &_| ptr::eq(task, &*self.task);
        self.is_at_home() && hub::here().try_running().is_some_and(is_running)
    }

    /// Kills the green thread, for those who have no handle, without waiting; see [`JoinHandle::kill_nowait`]. Runs no code of
    /// the program.
    pub(crate) fn kill_nowait(&self) {
        hub::kill(&self.task, None);
    }

    /// Makes the thread's token available; if it waits in [`park`], it goes on. Callable from any OS thread.
    ///
    /// # Examples
    ///
    /// ```
    /// greenhub::thread::current().unpark();
    /// greenhub::thread::park(); // Returns at once.
    /// ```
    pub fn unpark(&self) {
        park::unpark(&self.task);
    }

    /// A number that no other green thread or root of this process has or ever had.
    ///
    /// # Examples
    ///
    /// ```
    /// let other = greenhub::spawn(|| ());
    /// assert_ne!(greenhub::thread::current().id(), other.thread().id());
    /// ```
    #[must_use]
    pub fn id(&self) -> ThreadId {
        ThreadId(self.task.id)
    }

    /// The name given by [`Builder::name`]; for a root, that of the OS thread.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenhub::spawn(|| ()).thread().name(), None);
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.task.name.as_deref()
    }
}

impl UnwindSafe for Thread {}
impl RefUnwindSafe for Thread {}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// Identifies a green thread, or the root of an OS thread, among all of this process.
///
/// # Examples
///
/// ```
/// let id = greenhub::thread::current().id();
/// assert_eq!(id, greenhub::thread::current().id());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThreadId(NonZeroU64);
