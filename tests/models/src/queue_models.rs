//! `wait_queue`: a notification ends exactly one wait, is never lost to a waiter that gives up, and touches no waiter that has
//! gone.

use std::sync::Arc;
use std::time::Instant;

use loom::thread::{self, JoinHandle};

use crate::hub::ModelTask;
use crate::task::Reason;
use crate::wait_queue::WaitQueue;
use crate::{Count, Model};

pub(crate) const MODELS: &[Model] = &[
    Model::new("queue: notified", None, || {
        hand_over(&[Waiter::Patient], true)
    }),
    Model::new("queue: notified or timed out", None, || {
        hand_over(&[Waiter::Hasty], true)
    }),
    Model::new("queue: notified or killed", None, || {
        hand_over(&[Waiter::Doomed], true)
    }),
    Model::new("queue: with a lock that is revoked", Some(4), || {
        hand_over(&[Waiter::Hasty], false);
    }),
    Model::new(
        "queue: the next one, if the first times out",
        Some(4),
        || {
            hand_over(&[Waiter::Hasty, Waiter::Patient], true);
        },
    ),
    Model::new(
        "queue: the next one, if the first is killed",
        Some(4),
        || {
            hand_over(&[Waiter::Doomed, Waiter::Patient], true);
        },
    ),
    Model::new(
        "queue: notified from its own hub and from another",
        Some(4),
        || {
            two_notifiers(Permits::shared(Count::new(0)), Waiter::Patient);
        },
    ),
    Model::new("queue: the same while the time runs out", Some(4), || {
        two_notifiers(Permits::shared(Count::new(0)), Waiter::Hasty);
    }),
    Model::new(
        "queue: the same with a lock that is revoked",
        Some(3),
        || {
            two_notifiers(Permits::new(Count::new(0)), Waiter::Hasty);
        },
    ),
    Model::new("queue: all at once", Some(4), notify_all),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiter {
    /// Waits until notified.
    Patient,
    /// Waits no longer than to some point in time.
    Hasty,
    /// Is killed at some point in time.
    Doomed,
}

/// Permits: whoever returns one gives it to a waiter, or leaves it in the queue.
type Permits = WaitQueue<Count>;

fn give(permits: &Permits) {
    let mut guard = permits.lock();
    if !guard.notify_one() {
        guard.add(1);
    }
}

/// Takes a permit. Returns whether it got one.
fn take(permits: &Permits, waiter: Waiter) -> bool {
    let guard = permits.lock();
    if guard.get() > 0 {
        guard.set(guard.get() - 1);
        return true;
    }
    let deadline = (waiter == Waiter::Hasty).then(Instant::now);
    guard.wait(Reason::Sleep, deadline).is_ok()
}

fn start(permits: &Arc<Permits>, waiter: Waiter) -> JoinHandle<()> {
    let permits = Arc::clone(permits);
    thread::spawn(move || {
        let task = match waiter {
            Waiter::Doomed => ModelTask::doomed(),
            _ => ModelTask::new(),
        };
        let got = task.run_and_end(|| take(&permits, waiter));
        if waiter == Waiter::Patient {
            assert_eq!(got, Ok(true));
        }
        if got == Ok(true) {
            give(&permits);
        }
    })
}

/// One permit is handed around by all who want it, and is there in the end.
fn hand_over(waiters: &[Waiter], shared: bool) {
    let permits = Arc::new(if shared {
        Permits::shared(Count::new(0))
    } else {
        Permits::new(Count::new(0))
    });
    let threads: Vec<_> = waiters
        .iter()
        .map(|&waiter| start(&permits, waiter))
        .collect();
    give(&permits);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(permits.lock().get(), 1);
    assert!(permits.lock().first_in(0).is_none());
}

/// Of two permits, given by another task of the waiter's hub and by another thread, the waiter gets one at most.
fn two_notifiers(permits: Permits, waiter: Waiter) {
    let permits = Arc::new(permits);
    let (local, remote) = (Arc::clone(&permits), Arc::clone(&permits));
    let thread = thread::spawn(move || give(&remote));
    let task = ModelTask::new().meanwhile(move || give(&local));
    let got = task.run_and_end(|| take(&permits, waiter)).unwrap();
    thread.join().unwrap();
    let left = permits.lock().get();
    // If it did not have to wait, there was one permit only.
    assert!(left + u32::from(got) == 2 || got && left == 0);
    assert!(got || waiter == Waiter::Hasty);
}

/// A value that is set once ends the waits of all.
fn notify_all() {
    let value = Arc::new(Permits::shared(Count::new(0)));
    let threads = [Waiter::Patient, Waiter::Hasty].map(|waiter| {
        let value = Arc::clone(&value);
        thread::spawn(move || {
            let deadline = (waiter == Waiter::Hasty).then(Instant::now);
            let seen = ModelTask::new().run_and_end(|| {
                let guard = value.lock();
                guard.get() > 0 || guard.wait(Reason::Sleep, deadline).is_ok()
            });
            if waiter == Waiter::Patient {
                assert_eq!(seen, Ok(true));
            }
        })
    });
    let mut guard = value.lock();
    guard.set(1);
    guard.notify_all();
    drop(guard);
    for thread in threads {
        thread.join().unwrap();
    }
}
