//! A small elastic pool of OS threads for calls that the kernel cannot be asked to make without blocking: name look-ups.
//!
//! `run` hands a job to the pool and suspends the calling task until it is done. Threads are started as jobs queue up, to
//! at most `MAX_THREADS`, and end after `IDLE_EXPIRY` without a job. A thread without a job is `Harmless` to the decision
//! about deadlocks.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::hub::Harmless;
use crate::task::Reason;
use crate::wait_queue::WaitQueue;

/// Enough for the name look-ups of a crawler; a resolver that is slow for one name must not hold up the others.
const MAX_THREADS: usize = 16;

const IDLE_EXPIRY: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

static POOL: Pool = Pool {
    state: Mutex::new(State {
        jobs: VecDeque::new(),
        threads: 0,
        idle: 0,
    }),
    job_came: Condvar::new(),
};

struct Pool {
    state: Mutex<State>,
    job_came: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that wait for a job and have not been promised one.
    idle: usize,
}

/// Runs `job` on an OS thread of the pool and waits for its result; `what` names it in reports. A panic of the job is
/// resumed in the caller.
///
/// When the caller is cancelled, the job goes on and its result is dropped.
///
/// # Errors
///
/// No thread could be started, and there is none that the job could wait for.
pub(crate) fn run<T: Send + 'static>(
    what: &'static &'static str,
    job: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let slot = Arc::new(WaitQueue::<_>::shared(None));
    let result = Arc::clone(&slot);
    POOL.submit(Box::new(move || {
        let outcome = catch_unwind(AssertUnwindSafe(job));
        let mut slot = slot.lock();
        *slot = Some(outcome);
        slot.notify_all();
    }))?;
    loop {
        let mut result = result.lock();
        match result.take() {
            Some(Ok(value)) => return Ok(value),
            Some(Err(payload)) => {
                drop(result);
                resume_unwind(payload)
            }
            // Without a deadline a wait ends only when notified.
            None => drop(result.wait(Reason::Job(what), None)),
        }
    }
}

impl Pool {
    fn submit(&'static self, job: Job) -> io::Result<()> {
        let mut state = self.state.lock();
        state.jobs.push_back(job);
        if state.jobs.len() <= state.idle || state.threads == MAX_THREADS {
            self.job_came.notify_one();
            return Ok(());
        }
        let thread = std::thread::Builder::new().name("greenhub-blocking".into());
        match thread.spawn(|| self.work()) {
            Ok(_) => state.threads += 1,
            // The threads that there are will come to it.
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                state.jobs.pop_back();
                return Err(error);
            }
        }
        Ok(())
    }

    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.state.lock();
                continue;
            }
            let _harmless = Harmless::new();
            let expiry = Instant::now() + IDLE_EXPIRY;
            state.idle += 1;
            while state.jobs.is_empty() {
                if self.job_came.wait_until(&mut state, expiry).timed_out() {
                    break;
                }
            }
            state.idle -= 1;
            if state.jobs.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_green_threads_run_meanwhile() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let job = crate::spawn(move || run(&"a test", move || receiver.recv().unwrap()).unwrap());
        crate::spawn(move || sender.send(7).unwrap());
        assert_eq!(job.join().unwrap(), 7);
    }

    #[test]
    fn a_panic_is_resumed_in_the_caller() {
        let job = crate::spawn(|| run(&"a test", || panic!("in the job")));
        let payload = job.join().unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"in the job"));
    }

    #[test]
    fn more_jobs_than_threads_all_run() {
        let jobs: Vec<_> = (0..MAX_THREADS * 3)
            .map(|n| crate::spawn(move || run(&"a test", move || n).unwrap()))
            .collect();
        for (n, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.join().unwrap(), n);
        }
    }
}
