//! Closures that block their OS thread, or compute for long, on OS threads of their own.
//!
//! A green thread that calls a blocking function of a library holds up its hub, and with it all green threads of its OS
//! thread. [`run`] hands such a call to an elastic pool of OS threads and waits for its result, while the other green
//! threads go on; [`spawn`] returns a [`JoinHandle`] instead of waiting. What is shared with a job has to be `Send`.
//!
//! Jobs begin in the order in which they were given, each on an idle thread of the pool, or else on a new one. The pool that the
//! functions of this module use has at most 512 threads, as jobs mostly wait; further jobs queue. For those that compute, or
//! must not be too many at once, make a [`Pool`] with a limit of its own. A thread that has had no job for 10 seconds ends.
//! Name look-ups have a pool to themselves, so no job can keep them waiting.
//!
//! # Killing
//!
//! Code that runs on an OS thread cannot be interrupted. A kill, or a [`timeout`](crate::timeout), of the green thread that *waits*
//! for a job ends that wait at once; the job goes on to its end, and its result is dropped.
//!
//! [`JoinHandle::kill`] of the job's own handle also returns at once, and its joiners get a [`Killed`](crate::thread::Killed). If
//! the job has not begun, it never will, and its closure is dropped by the killer. If it has, it is abandoned: it goes on to
//! its end, and its result is dropped. So a kill does not tell that the job is over.
//!
//! # The end of the program
//!
//! As with std's threads, jobs that still run when `main` returns end with the process.

mod pool;

use std::io;
use std::panic::{Location, resume_unwind};
use std::sync::LazyLock;

use crate::thread::JoinHandle;

pub use pool::{Builder, Pool};

/// Runs `f` on an OS thread of the shared pool and returns a handle to its result.
///
/// The handle is like that of a green thread, which the job is not: in the job, [`thread::current`](crate::thread::current)
/// is the root of the pool's thread. A panic of `f` is what `join` returns; it is also logged. Dropping the
/// handle detaches the job.
///
/// # Panics
///
/// Panics when a thread is needed and none can be started. [`Pool::try_spawn`] of the [`shared`] pool reports that instead.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let job = greenhub::blocking::spawn(move || receiver.recv().unwrap());
/// // The job blocks an OS thread, but not this one.
/// greenhub::spawn(move || sender.send(7).unwrap());
/// assert_eq!(job.join().unwrap(), 7);
/// ```
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    shared().spawn(f)
}

/// Runs `f` on an OS thread of the shared pool and waits for its result; other green threads run meanwhile.
///
/// When the calling green thread is killed while it waits, or a timeout around the call passes, the job goes on to its end and
/// its result is dropped.
///
/// # Panics
///
/// Resumes the panic of `f`. Panics as [`spawn`].
///
/// # Examples
///
/// ```
/// let manifest = greenhub::blocking::run(|| std::fs::read_to_string("Cargo.toml"))?;
/// assert!(manifest.contains("greenhub"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn run<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    shared().run(f)
}

/// The pool that the functions of this module use.
///
/// # Examples
///
/// ```
/// greenhub::blocking::run(|| ());
/// assert!(greenhub::blocking::shared().threads() >= 1);
/// ```
#[must_use]
pub fn shared() -> &'static Pool {
    static SHARED: LazyLock<Pool> = LazyLock::new(|| Builder::new().build());
    &SHARED
}

/// Runs a job of the library itself and waits for its result; `what` names it in reports. A panic of the job is resumed in
/// the caller.
///
/// # Errors
///
/// No thread could be started, and there is none that the job could wait for.
pub(crate) fn run_named<T: Send + 'static>(
    what: &'static &'static str,
    job: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    /// Enough for the name look-ups of a crawler; a resolver that is slow for one name must not hold up the others.
    const MAX_THREADS: usize = 16;
    static OWN: LazyLock<Pool> = LazyLock::new(|| {
        Builder::new()
            .name("greenhub-lookup")
            .max_threads(MAX_THREADS)
            .build()
    });
    let job = OWN.submit(job, Location::caller(), what)?;
    Ok(job.join().unwrap_or_else(|payload| resume_unwind(payload)))
}
