//! `park` and `unpark`: one token a thread, never more, and nothing but `park` takes it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::pair::pair;
use super::rt::thread;
use super::run;

/// Far longer than any test runs: a park that ends by this has missed its wake-up.
const LONG: Duration = Duration::from_secs(50);

/// Asserts that `wait` ends long before `LONG`.
fn ends_soon(wait: impl FnOnce()) {
    let start = Instant::now();
    wait();
    assert!(start.elapsed() < LONG / 2, "the wake-up was lost");
}

/// Asserts that `park_timeout` finds no token.
fn has_no_token() {
    let start = Instant::now();
    thread::park_timeout(Duration::from_millis(10));
    assert!(
        start.elapsed() >= Duration::from_millis(10),
        "there was a token"
    );
}

#[test]
fn unpark_before_park_is_remembered() {
    run(|| {
        for _ in 0..10 {
            thread::current().unpark();
            thread::park();
            thread::current().unpark();
            ends_soon(|| thread::park_timeout(LONG));
        }
    });
}

#[test]
fn tokens_do_not_add_up() {
    run(|| {
        for _ in 0..3 {
            thread::current().unpark();
        }
        thread::park();
        has_no_token();
    });
}

#[test]
fn park_timeout_never_ends_early() {
    run(|| {
        for _ in 0..10 {
            has_no_token();
        }
    });
}

#[test]
fn a_zero_park_takes_the_token() {
    run(|| {
        ends_soon(|| thread::park_timeout(Duration::ZERO));
        thread::current().unpark();
        thread::park_timeout(Duration::ZERO);
        has_no_token();
    });
}

#[test]
fn unpark_wakes_a_parked_thread() {
    run(|| {
        let root = thread::current();
        for bounded in [false, true] {
            let root = root.clone();
            let waker = thread::spawn(move || {
                thread::sleep(Duration::from_millis(5));
                root.unpark();
            });
            ends_soon(|| {
                if bounded {
                    thread::park_timeout(Duration::MAX);
                } else {
                    thread::park();
                }
            });
            waker.join().unwrap();
        }
    });
}

#[test]
fn unpark_before_the_thread_has_started_is_remembered() {
    run(|| {
        let handle = thread::spawn(|| ends_soon(|| thread::park_timeout(LONG)));
        handle.thread().unpark();
        handle.join().unwrap();
    });
}

#[test]
fn what_was_written_before_unpark_is_seen_after_park() {
    run(|| {
        let flag = Arc::new(AtomicBool::new(false));
        let waiter = thread::spawn({
            let flag = Arc::clone(&flag);
            move || {
                while !flag.load(Ordering::Acquire) {
                    thread::park();
                }
            }
        });
        thread::sleep(Duration::from_millis(2));
        // A wake-up without the flag must be survived.
        waiter.thread().unpark();
        thread::yield_now();
        flag.store(true, Ordering::Release);
        waiter.thread().unpark();
        waiter.join().unwrap();
    });
}

#[test]
fn a_hundred_parked_threads_wake() {
    run(|| {
        let parked = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..100)
            .map(|_| {
                let parked = Arc::clone(&parked);
                thread::spawn(move || {
                    parked.fetch_add(1, Ordering::AcqRel);
                    thread::park();
                })
            })
            .collect();
        while parked.load(Ordering::Acquire) < 100 {
            thread::yield_now();
        }
        for handle in &handles {
            handle.thread().unpark();
        }
        for handle in handles {
            handle.join().unwrap();
        }
    });
}

#[test]
fn two_threads_take_turns() {
    const ROUNDS: usize = 500;
    run(|| {
        let turn = Arc::new(AtomicUsize::new(0));
        let root = thread::current();
        let other = thread::spawn({
            let turn = Arc::clone(&turn);
            move || {
                for round in 0..ROUNDS {
                    while turn.load(Ordering::Acquire) != 2 * round + 1 {
                        thread::park();
                    }
                    turn.store(2 * round + 2, Ordering::Release);
                    root.unpark();
                }
            }
        });
        for round in 0..ROUNDS {
            turn.store(2 * round + 1, Ordering::Release);
            other.thread().unpark();
            while turn.load(Ordering::Acquire) != 2 * round + 2 {
                thread::park();
            }
        }
        other.join().unwrap();
    });
}

#[test]
fn a_sleep_neither_takes_the_token_nor_is_cut_short_by_it() {
    run(|| {
        thread::current().unpark();
        thread::sleep(Duration::from_millis(1));
        ends_soon(|| thread::park_timeout(LONG));

        let sleeper = thread::spawn(|| {
            let start = Instant::now();
            thread::sleep(Duration::from_millis(30));
            let slept = start.elapsed();
            ends_soon(|| thread::park_timeout(LONG));
            slept
        });
        thread::sleep(Duration::from_millis(5));
        sleeper.thread().unpark();
        assert!(sleeper.join().unwrap() >= Duration::from_millis(30));
    });
}

#[test]
fn a_join_neither_takes_the_token_nor_is_ended_by_it() {
    run(|| {
        let joiner = thread::spawn(|| {
            let target = thread::spawn(|| {
                thread::sleep(Duration::from_millis(20));
                9
            });
            assert_eq!(target.join().unwrap(), 9);
            ends_soon(|| thread::park_timeout(LONG));
        });
        thread::sleep(Duration::from_millis(5));
        joiner.thread().unpark();
        joiner.join().unwrap();
    });
}

#[test]
fn a_read_neither_takes_the_token_nor_is_ended_by_it() {
    run(|| {
        let (mut near, mut far) = pair();
        let reader = thread::spawn(move || {
            let mut byte = [0];
            assert_eq!(far.read(&mut byte).unwrap(), 1);
            ends_soon(|| thread::park_timeout(LONG));
        });
        thread::sleep(Duration::from_millis(5));
        reader.thread().unpark();
        thread::sleep(Duration::from_millis(5));
        assert!(!reader.is_finished());
        near.write_all(&[1]).unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn unpark_of_an_ended_thread_reaches_nobody_else() {
    run(|| {
        let ended = thread::spawn(|| ());
        let stale = ended.thread().clone();
        ended.join().unwrap();
        let other = thread::spawn(has_no_token);
        stale.unpark();
        thread::yield_now();
        stale.unpark();
        other.join().unwrap();
    });
}
