//! `Condvar`: notifications, time limits, and the state of the mutex afterwards.

use std::panic::{RefUnwindSafe, UnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::rt::sync::{Condvar, Mutex, WaitTimeoutResult};
use super::rt::thread;
use super::run;

/// Far longer than any test runs.
const LONG: Duration = Duration::from_secs(50);
const SHORT: Duration = Duration::from_millis(10);

type Pair<T> = Arc<(Mutex<T>, Condvar)>;

fn pair<T>(value: T) -> Pair<T> {
    Arc::new((Mutex::new(value), Condvar::new()))
}

#[test]
fn notifications_without_waiters_are_nothing() {
    run(|| {
        let condvar = Condvar::default();
        condvar.notify_one();
        condvar.notify_all();
        let mutex = Mutex::new(());
        let (_guard, result) = condvar.wait_timeout(mutex.lock().unwrap(), SHORT).unwrap();
        assert!(result.timed_out());
    });
}

#[test]
fn a_notification_ends_a_wait() {
    run(|| {
        let pair = pair(false);
        let guard = pair.0.lock().unwrap();
        let theirs = Arc::clone(&pair);
        let notifier = thread::spawn(move || {
            // Only possible once the waiter has let go.
            *theirs.0.lock().unwrap() = true;
            theirs.1.notify_one();
        });
        let mut guard = guard;
        while !*guard {
            guard = pair.1.wait(guard).unwrap();
        }
        assert!(pair.0.try_lock().is_err(), "the waiter has the mutex again");
        drop(guard);
        notifier.join().unwrap();
    });
}

#[test]
fn notify_all_ends_all_waits() {
    const WAITERS: usize = 10;
    run(|| {
        let pair = pair(0);
        let waiters: Vec<_> = (0..WAITERS)
            .map(|_| {
                let pair = Arc::clone(&pair);
                thread::spawn(move || {
                    let (mutex, condvar) = &*pair;
                    let mut arrived = mutex.lock().unwrap();
                    *arrived += 1;
                    if *arrived == WAITERS {
                        condvar.notify_all();
                    }
                    while *arrived < WAITERS {
                        arrived = condvar.wait(arrived).unwrap();
                    }
                })
            })
            .collect();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn each_notification_is_enough_for_one() {
    run(|| {
        let items = pair(0usize);
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let items = Arc::clone(&items);
                thread::spawn(move || {
                    for _ in 0..50 {
                        let left = items.0.lock().unwrap();
                        let mut left = items.1.wait_while(left, |left| *left == 0).unwrap();
                        *left -= 1;
                    }
                })
            })
            .collect();
        for round in 0..200 {
            *items.0.lock().unwrap() += 1;
            items.1.notify_one();
            if round % 3 == 0 {
                thread::yield_now();
            }
        }
        for taker in takers {
            taker.join().unwrap();
        }
        assert_eq!(*items.0.lock().unwrap(), 0);
    });
}

#[test]
fn wait_while_does_not_wait_when_there_is_nothing_to_wait_for() {
    run(|| {
        let (mutex, condvar) = (Mutex::new(1), Condvar::new());
        let guard = condvar.wait_while(mutex.lock().unwrap(), |value| {
            *value += 1;
            false
        });
        assert_eq!(*guard.unwrap(), 2);
    });
}

#[test]
fn a_time_limit_ends_a_wait() {
    run(|| {
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let start = Instant::now();
        // std may wake up for no reason.
        let mut guard = mutex.lock().unwrap();
        loop {
            let (again, result) = condvar.wait_timeout(guard, SHORT).unwrap();
            guard = again;
            if result.timed_out() {
                break;
            }
        }
        assert!(start.elapsed() >= SHORT);
        assert!(mutex.try_lock().is_err());
        let (_guard, result) = condvar.wait_timeout(guard, Duration::ZERO).unwrap();
        assert!(result.timed_out());
    });
}

#[test]
fn a_notification_in_time_is_no_timeout() {
    run(|| {
        for limit in [LONG, Duration::MAX] {
            let pair = pair(false);
            let guard = pair.0.lock().unwrap();
            let theirs = Arc::clone(&pair);
            let notifier = thread::spawn(move || {
                *theirs.0.lock().unwrap() = true;
                theirs.1.notify_all();
            });
            let mut guard = guard;
            while !*guard {
                let (again, result) = pair.1.wait_timeout(guard, limit).unwrap();
                assert!(!result.timed_out());
                guard = again;
            }
            drop(guard);
            notifier.join().unwrap();
        }
    });
}

#[test]
fn wait_timeout_while_counts_all_the_time() {
    run(|| {
        let (mutex, condvar) = (Mutex::new(0), Condvar::new());
        let start = Instant::now();
        let guard = mutex.lock().unwrap();
        let (guard, result) = condvar.wait_timeout_while(guard, SHORT, |_| true).unwrap();
        assert!(result.timed_out() && start.elapsed() >= SHORT);
        let (guard, result) = condvar.wait_timeout_while(guard, LONG, |_| false).unwrap();
        assert!(!result.timed_out());
        let none = Duration::ZERO;
        let (guard, result) = condvar.wait_timeout_while(guard, none, |_| false).unwrap();
        assert!(!result.timed_out(), "the condition counts first");
        drop(guard);
    });
}

#[test]
fn wait_timeout_while_ends_with_the_condition() {
    run(|| {
        let pair = pair(0);
        let guard = pair.0.lock().unwrap();
        let theirs = Arc::clone(&pair);
        let notifier = thread::spawn(move || {
            for _ in 0..3 {
                *theirs.0.lock().unwrap() += 1;
                theirs.1.notify_one();
                thread::yield_now();
            }
        });
        let ended = pair.1.wait_timeout_while(guard, LONG, |value| *value < 3);
        let (guard, result) = ended.unwrap();
        assert!(*guard >= 3 && !result.timed_out());
        drop(guard);
        notifier.join().unwrap();
    });
}

#[test]
#[allow(deprecated)]
fn the_old_form_says_whether_it_was_notified() {
    run(|| {
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let mut guard = mutex.lock().unwrap();
        loop {
            let (again, notified) = condvar.wait_timeout_ms(guard, 1).unwrap();
            guard = again;
            if !notified {
                break;
            }
        }
    });
}

#[test]
fn a_waiter_learns_of_the_poison() {
    run(|| {
        let pair = pair(0);
        let guard = pair.0.lock().unwrap();
        let theirs = Arc::clone(&pair);
        let notifier = thread::spawn(move || {
            let mut guard = theirs.0.lock().unwrap();
            *guard = 1;
            theirs.1.notify_one();
            resume_unwind(Box::new(()));
        });
        let guard = pair.1.wait(guard).unwrap_err().into_inner();
        assert_eq!(*guard, 1);
        let ended = pair.1.wait_timeout(guard, Duration::ZERO);
        let (guard, result) = ended.unwrap_err().into_inner();
        assert!(result.timed_out());
        drop(guard);
        assert!(notifier.join().is_err());
    });
}

#[test]
fn two_threads_take_turns() {
    const ROUNDS: usize = 300;
    run(|| {
        let turn = pair(0usize);
        let play = |turn: &(Mutex<usize>, Condvar), mine: usize| {
            for _ in 0..ROUNDS {
                let guard = turn.0.lock().unwrap();
                let mut guard = turn.1.wait_while(guard, |turn| *turn % 2 != mine).unwrap();
                *guard += 1;
                turn.1.notify_one();
            }
        };
        let theirs = Arc::clone(&turn);
        let other = thread::spawn(move || play(&theirs, 1));
        play(&turn, 0);
        other.join().unwrap();
        assert_eq!(*turn.0.lock().unwrap(), 2 * ROUNDS);
    });
}

#[test]
fn it_has_the_traits_of_std() {
    fn all<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    fn value<T: Copy + Eq + std::fmt::Debug>() {}
    run(|| {
        all::<Condvar>();
        value::<WaitTimeoutResult>();
        assert_eq!(format!("{:?}", Condvar::new()), "Condvar { .. }");
        let mutex = Mutex::new(());
        let (_guard, result) = Condvar::new()
            .wait_timeout_while(mutex.lock().unwrap(), SHORT, |_| false)
            .unwrap();
        assert_eq!(format!("{result:?}"), "WaitTimeoutResult(false)");
    });
}
