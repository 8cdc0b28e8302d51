//! Timers: never early, in order, precise, and gone when they are cancelled.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenhub::thread::{self, park_timeout, sleep_until};
use greenhub::{joinall, sleep, spawn, spawn_later, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);

/// Numbers that look random and are the same in every run.
fn scattered(below: u64) -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    })
}

#[test]
fn no_way_to_wait_ends_early() {
    let _limit = TimeLimit::start(LIMIT);
    let waits = scattered(50_000)
        .take(2_000)
        .enumerate()
        .map(|(i, micros)| {
            spawn(move || {
                let wanted = Duration::from_micros(micros);
                let start = Instant::now();
                match i % 4 {
                    0 => sleep(wanted),
                    1 => sleep_until(start + wanted),
                    2 => park_timeout(wanted),
                    _ => {
                        let never = spawn(thread::park);
                        let never = never.join_timeout(wanted).unwrap_err();
                        never.thread().unpark();
                    }
                }
                let waited = start.elapsed();
                assert!(waited >= wanted, "{waited:?} instead of {wanted:?}");
            })
        });
    for result in joinall(waits) {
        result.unwrap();
    }
}

#[test]
fn spawn_later_never_starts_early() {
    let _limit = TimeLimit::start(LIMIT);
    let starts = scattered(30_000).take(1_000).map(|micros| {
        let due = Instant::now() + Duration::from_micros(micros);
        spawn_later(Duration::from_micros(micros), move || {
            assert!(Instant::now() >= due);
        })
    });
    for result in joinall(starts) {
        result.unwrap();
    }
}

#[test]
fn equal_deadlines_end_in_the_order_of_the_waits() {
    let _limit = TimeLimit::start(LIMIT);
    let order = Rc::new(RefCell::new(Vec::new()));
    let deadline = Instant::now() + Duration::from_millis(50);
    let sleepers: Vec<_> = (0..500)
        .map(|i| {
            let order = Rc::clone(&order);
            spawn(move || {
                sleep_until(deadline);
                order.borrow_mut().push(i);
            })
        })
        .collect();
    yield_now();
    assert!(
        Instant::now() < deadline,
        "the machine is too slow for this test"
    );
    joinall(sleepers);
    assert_eq!(*order.borrow(), (0..500).collect::<Vec<_>>());
}

#[test]
fn deadlines_that_passed_meanwhile_end_in_their_order() {
    let _limit = TimeLimit::start(LIMIT);
    let order = Rc::new(RefCell::new(Vec::new()));
    let base = Instant::now() + Duration::from_millis(20);
    // 7 and 500 have no common factor, so this visits every number once.
    let sleepers: Vec<_> = (0..500u32)
        .map(|i| i * 7 % 500)
        .map(|i| {
            let order = Rc::clone(&order);
            spawn(move || {
                sleep_until(base + i * Duration::from_micros(10));
                order.borrow_mut().push(i);
            })
        })
        .collect();
    yield_now();
    // The hub sees them all at once, in one look at its timers.
    std::thread::sleep(Duration::from_millis(40));
    joinall(sleepers);
    assert_eq!(*order.borrow(), (0..500).collect::<Vec<_>>());
}

#[test]
fn waits_below_a_millisecond_are_possible() {
    let _limit = TimeLimit::start(LIMIT);
    let wanted = Duration::from_micros(200);
    // A loaded machine delays everything now and then; rounding to milliseconds would always fail.
    let precise = (0..20).any(|_| {
        let mut late: Vec<_> = (0..51)
            .map(|_| {
                let start = Instant::now();
                sleep(wanted);
                start.elapsed() - wanted
            })
            .collect();
        late.sort();
        late[25] < Duration::from_micros(400)
    });
    assert!(precise);
}

#[test]
fn a_zero_sleep_lets_the_others_run_once() {
    let _limit = TimeLimit::start(LIMIT);
    let turns = Rc::new(RefCell::new(0));
    let counter = Rc::clone(&turns);
    let other = spawn(move || {
        for _ in 0..3 {
            *counter.borrow_mut() += 1;
            yield_now();
        }
    });
    assert_eq!(*turns.borrow(), 0);
    sleep(Duration::ZERO);
    assert_eq!(*turns.borrow(), 1);
    other.join().unwrap();
}

#[test]
fn a_deadline_in_the_past_does_not_wait() {
    let _limit = TimeLimit::start(LIMIT);
    let past = Instant::now();
    std::thread::sleep(Duration::from_millis(1));
    let start = Instant::now();
    for _ in 0..100 {
        sleep_until(past);
    }
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn endless_waits_are_possible() {
    let _limit = TimeLimit::start(LIMIT);
    let sleeper = spawn(|| sleep(Duration::MAX));
    let parked = spawn(|| park_timeout(Duration::MAX));
    let never = spawn_later(Duration::MAX, || ());
    let target = spawn(|| sleep(Duration::from_millis(20)));
    assert!(target.join_timeout(Duration::MAX).unwrap().is_ok());
    assert!(!sleeper.is_finished() && !parked.is_finished() && !never.is_finished());
    parked.thread().unpark();
    parked.join().unwrap();
}

#[test]
fn join_timeout_gives_the_handle_back() {
    let _limit = TimeLimit::start(LIMIT);
    let slow = spawn(|| {
        sleep(Duration::from_millis(50));
        3
    });
    let slow = slow.join_timeout(Duration::ZERO).unwrap_err();
    let slow = slow.join_timeout(Duration::from_millis(5)).unwrap_err();
    assert!(!slow.is_finished());
    assert_eq!(
        slow.join_timeout(Duration::from_secs(50)).unwrap().unwrap(),
        3
    );

    let done = spawn(|| 4);
    yield_now();
    assert_eq!(done.join_timeout(Duration::ZERO).unwrap().unwrap(), 4);
    let panicked = spawn(|| panic!("in time")).join_timeout(Duration::from_secs(50));
    assert!(panicked.unwrap().is_err());
}

#[test]
fn a_wait_that_ended_otherwise_leaves_no_timer_behind() {
    let _limit = TimeLimit::start(LIMIT);
    // A stale timer would end the second wait of the same green thread early.
    let waiter = spawn(|| {
        park_timeout(Duration::from_millis(30));
        let start = Instant::now();
        park_timeout(Duration::from_millis(90));
        start.elapsed()
    });
    yield_now();
    waiter.thread().unpark();
    assert!(waiter.join().unwrap() >= Duration::from_millis(90));
}

#[test]
fn timers_fire_in_order_after_the_hub_was_blocked() {
    let _limit = TimeLimit::start(LIMIT);
    let order = Rc::new(RefCell::new(Vec::new()));
    let later = |millis, what| {
        let order = Rc::clone(&order);
        spawn_later(Duration::from_millis(millis), move || {
            order.borrow_mut().push(what)
        })
    };
    let handles = [later(30, "third"), later(10, "first"), later(20, "second")];
    std::thread::sleep(Duration::from_millis(50));
    joinall(handles);
    assert_eq!(*order.borrow(), ["first", "second", "third"]);
}
