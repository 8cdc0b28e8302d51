//! An elastic pool of OS threads.
//!
//! A job is a task without a home: a closure with its result and those who wait for it. Jobs queue in the order of their
//! arrival. A thread is started for a job that no idle thread is there for, up to the pool's limit, and ends when it
//! has had none for a while, or the pool is gone. A thread without a job is `Harmless` to the decision about deadlocks.
//!
//! Everything here may be called from any thread. The lock is held for a few instructions and while a thread is started; jobs
//! run, and closures are dropped, without it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{Location, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::hub::Harmless;
use crate::task::TaskRef;
use crate::thread::{self, JoinHandle};

/// What those who join a job of the program wait for.
const JOB: &&str = &"a job";

/// A pool of OS threads for closures that block, or compute for long, with a limit of its own.
///
/// The functions of this module use one that is shared by the whole program; see [`shared`](super::shared).
///
/// Dropping a pool loses nothing: the jobs that it was given are still run, and its threads end after them.
///
/// # Examples
///
/// ```
/// use greenhub::blocking;
///
/// // At most two queries at a time, whoever asks for them.
/// let database = blocking::Builder::new().name("database").max_threads(2).build();
/// let query = |n: u64| move || n * n; // Think of a driver's blocking call.
/// let answers: Vec<_> = (0..10).map(|n| database.spawn(query(n))).collect();
/// let sum: u64 = answers.into_iter().map(|answer| answer.join().unwrap()).sum();
/// assert_eq!(sum, 285);
/// ```
pub struct Pool {
    shared: Arc<Shared>,
}

/// Configures a [`Pool`].
///
/// # Examples
///
/// ```
/// use std::num::NonZero;
///
/// let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
/// let pool = greenhub::blocking::Builder::new().name("codec").max_threads(cores).build();
/// assert_eq!(pool.run(|| [3, 1, 2].iter().max().copied()), Some(3));
/// ```
#[derive(Clone, Debug)]
#[must_use = "must eventually build the pool"]
pub struct Builder {
    name: String,
    max_threads: NonZeroUsize,
    keep_alive: Duration,
}

struct Shared {
    config: Builder,
    state: Mutex<State>,
}

struct State {
    /// Not empty only while there are threads: each looks here before it waits, or leaves.
    jobs: VecDeque<TaskRef>,
    threads: usize,
    /// Threads that wait for a job; the last to come is the first to be taken, so that those not needed expire.
    idle: Vec<Idle>,
    /// The `Pool` is gone: no job will come any more.
    closed: bool,
}

/// A thread that waits for a job.
struct Idle {
    thread: std::thread::Thread,
    /// Ends when the thread is summoned, not when it has woken up: a job that was handed over may wake anybody.
    harmless: Harmless,
}

impl Builder {
    /// A configuration with the name "greenhub-blocking", at most 512 threads, and 10 seconds of patience.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::blocking::Builder::new().build();
    /// assert_eq!(pool.run(|| 1), 1);
    /// ```
    pub fn new() -> Builder {
        const MAX_THREADS: NonZeroUsize = NonZeroUsize::new(512).unwrap();
        Builder {
            name: "greenhub-blocking".into(),
            max_threads: MAX_THREADS,
            keep_alive: Duration::from_secs(10),
        }
    }

    /// Names the pool's threads. Linux shows the first 15 bytes.
    ///
    /// # Panics
    ///
    /// Panics when the name contains a null byte.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::blocking::Builder::new().name("files").build();
    /// let name = pool.run(|| std::thread::current().name().map(String::from));
    /// assert_eq!(name.as_deref(), Some("files"));
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = name.into();
        assert!(
            !self.name.contains('\0'),
            "a thread's name must not contain a null byte"
        );
        self
    }

    /// Limits the jobs that run at once. Further ones wait for their turn.
    ///
    /// Jobs that wait for one another can only end if the limit lets them run at the same time.
    ///
    /// # Panics
    ///
    /// Panics when the limit is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// let one_at_a_time = greenhub::blocking::Builder::new().max_threads(1).build();
    /// assert_eq!(one_at_a_time.run(|| 1), 1);
    /// ```
    pub fn max_threads(mut self, limit: usize) -> Builder {
        self.max_threads = NonZeroUsize::new(limit).expect("a pool needs at least one thread");
        self
    }

    /// Sets how long a thread without a job waits for one before it ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = greenhub::blocking::Builder::new().keep_alive(Duration::from_millis(1)).build();
    /// pool.run(|| ());
    /// while pool.threads() > 0 {
    ///     greenhub::sleep(Duration::from_millis(1));
    /// }
    /// ```
    pub fn keep_alive(mut self, patience: Duration) -> Builder {
        self.keep_alive = patience;
        self
    }

    /// Makes the pool. Threads are started only when there are jobs for them.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::blocking::Builder::new().build();
    /// assert_eq!(pool.threads(), 0);
    /// ```
    #[must_use]
    pub fn build(self) -> Pool {
        Pool {
            shared: Arc::new(Shared {
                config: self,
                state: Mutex::new(State {
                    jobs: VecDeque::new(),
                    threads: 0,
                    idle: Vec::new(),
                    closed: false,
                }),
            }),
        }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Builder::new()
    }
}

impl Pool {
    /// As [`blocking::spawn`](super::spawn), on this pool.
    ///
    /// # Panics
    ///
    /// Panics when a thread is needed and none can be started; [`try_spawn`](Pool::try_spawn) reports that instead.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::blocking::Builder::new().build();
    /// assert_eq!(pool.spawn(|| 6 * 7).join().unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_spawn(f).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`spawn`](Pool::spawn), but reports that no thread could be started.
    ///
    /// # Errors
    ///
    /// The error of starting a thread, if the pool has none that would come to the job in time.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::blocking::Builder::new().build();
    /// let job = pool.try_spawn(|| "done")?;
    /// assert_eq!(job.join().unwrap(), "done");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn try_spawn<F, T>(&self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submit(f, Location::caller(), JOB)
    }

    /// As [`blocking::run`](super::run), on this pool.
    ///
    /// # Panics
    ///
    /// Resumes the panic of `f`; panics as `spawn`.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::blocking::Builder::new().build();
    /// assert_eq!(pool.run(|| 6 * 7), 42);
    /// ```
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let job = self.spawn(f);
        job.join().unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// The number of OS threads that the pool has at the moment.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::blocking::Builder::new().build();
    /// pool.run(|| ());
    /// assert_eq!(pool.threads(), 1);
    /// ```
    #[must_use]
    pub fn threads(&self) -> usize {
        self.shared.state.lock().threads
    }

    /// The number of jobs that no thread has come to yet.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::blocking::Builder::new().build();
    /// assert_eq!(pool.queued(), 0);
    /// ```
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.state.lock().jobs.len()
    }

    /// Queues a job; `what` is what those who join it wait for, as reports tell it.
    pub(super) fn submit<F, T>(
        &self,
        f: F,
        site: &'static Location<'static>,
        what: &'static &'static str,
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (job, handle) = thread::without_home(f, site, Some(what), |_, _| ());
        match Shared::submit(&self.shared, job) {
            Ok(()) => Ok(handle),
            Err((job, error)) => {
                let _ = job.withdraw(None);
                let message = format!("no thread could be started for a blocking job: {error}");
                Err(io::Error::new(error.kind(), message))
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        for idle in state.idle.drain(..) {
            idle.summon();
        }
    }
}

impl Shared {
    fn submit(this: &Arc<Shared>, job: TaskRef) -> Result<(), (TaskRef, io::Error)> {
        let mut state = this.state.lock();
        state.jobs.push_back(job);
        if let Some(idle) = state.idle.pop() {
            drop(state);
            idle.summon();
            return Ok(());
        }
        if state.threads == this.config.max_threads.get() {
            return Ok(());
        }
        let shared = Arc::clone(this);
        let thread = std::thread::Builder::new().name(this.config.name.clone());
        match thread.spawn(move || shared.work()) {
            Ok(_) => state.threads += 1,
            // The threads that there are will come to it.
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                let job = state.jobs.pop_back().expect("it was put there above");
                return Err((job, error));
            }
        }
        Ok(())
    }

    /// The life of a thread.
    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job.run_on_os_thread();
                drop(job);
                state = self.state.lock();
            } else if state.closed || !self.wait_for_summons(&mut state) {
                state.threads -= 1;
                return;
            }
        }
    }

    /// Stands among the idle threads. Returns whether it was summoned, as opposed to not having been needed for long.
    fn wait_for_summons(&self, state: &mut MutexGuard<'_, State>) -> bool {
        let idle = Idle {
            thread: std::thread::current(),
            harmless: Harmless::new(),
        };
        let id = idle.thread.id();
        state.idle.push(idle);
        let expiry = Instant::now().checked_add(self.config.keep_alive);
        loop {
            let patience = expiry.map(|expiry| expiry.saturating_duration_since(Instant::now()));
            MutexGuard::unlocked(state, || match patience {
                Some(patience) => std::thread::park_timeout(patience),
                None => std::thread::park(),
            });
            // Whoever summons it takes it out.
            let Some(place) = state.idle.iter().position(|idle| idle.thread.id() == id) else {
                return true;
            };
            if expiry.is_some_and(|expiry| expiry <= Instant::now()) {
                state.idle.remove(place);
                return false;
            }
        }
    }
}

impl Idle {
    fn summon(self) {
        let Idle { thread, harmless } = self;
        drop(harmless);
        thread.unpark();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        let (threads, idle, queued) = (state.threads, state.idle.len(), state.jobs.len());
        // What is written to belongs to the program: it may wait, or use this very pool.
        drop(state);
        f.debug_struct("Pool")
            .field("name", &self.shared.config.name)
            .field("threads", &threads)
            .field("idle", &idle)
            .field("queued", &queued)
            .finish_non_exhaustive()
    }
}
