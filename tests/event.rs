//! Events and results: who waits goes on, whoever sets them and whenever they are cleared.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenhub::event::{AsyncResult, Event};
use greenhub::{joinall, spawn, thread, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(5);
/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(50);

/// Lets green threads that were spawned, or woken, run until they wait.
fn settle() {
    for _ in 0..3 {
        yield_now();
    }
}

#[test]
fn an_event_that_is_set_makes_nobody_wait() {
    let event = Event::new();
    assert!(!event.is_set());
    event.set();
    event.set();
    event.wait();
    assert!(event.wait_timeout(Duration::ZERO));
    assert!(event.is_set());
    event.clear();
    assert!(!event.is_set());
    assert_eq!(format!("{event:?}"), "Event { is_set: false }");
}

#[test]
fn set_wakes_all_who_wait_even_if_it_is_cleared_at_once() {
    let _limit = TimeLimit::start(LIMIT);
    let event = Rc::new(Event::new());
    let waiters: Vec<_> = (0..20)
        .map(|n| {
            let event = Rc::clone(&event);
            spawn(move || {
                if n % 2 == 0 {
                    event.wait();
                    true
                } else {
                    event.wait_timeout(LONG)
                }
            })
        })
        .collect();
    settle();
    event.set();
    event.clear();
    let late = spawn({
        let event = Rc::clone(&event);
        move || event.wait_timeout(SHORT)
    });
    assert!(joinall(waiters).into_iter().all(Result::unwrap));
    assert!(!late.join().unwrap(), "it came after that");
}

#[test]
fn a_wait_with_a_timeout_never_ends_early() {
    let _limit = TimeLimit::start(LIMIT);
    let event = Event::new();
    let start = Instant::now();
    assert!(!event.wait_timeout(SHORT));
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn those_who_are_killed_or_run_out_of_time_leave_the_others_alone() {
    let _limit = TimeLimit::start(LIMIT);
    let event = Rc::new(Event::new());
    let [killed, late, waiting] = [LONG, SHORT, Duration::MAX].map(|timeout| {
        let event = Rc::clone(&event);
        spawn(move || event.wait_timeout(timeout))
    });
    settle();
    killed.kill();
    assert!(killed.join().is_err());
    assert!(!late.join().unwrap());
    assert!(greenhub::timeout(SHORT, || event.wait()).is_err());
    event.set();
    assert!(waiting.join().unwrap());
}

#[test]
fn events_work_across_hubs_and_os_threads() {
    static START: Event = Event::new();
    let _limit = TimeLimit::start(LIMIT);
    let started = Arc::new(AtomicUsize::new(0));
    let arrived = Arc::new(Event::new());
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (started, arrived) = (Arc::clone(&started), Arc::clone(&arrived));
            std::thread::spawn(move || {
                let waiters: Vec<_> = (0..5).map(|_| spawn(|| START.wait())).collect();
                settle();
                if started.fetch_add(1, Ordering::AcqRel) == 2 {
                    arrived.set();
                }
                START.wait();
                joinall(waiters).iter().all(Result::is_ok)
            })
        })
        .collect();
    arrived.wait();
    START.set();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
}

#[test]
fn a_result_is_set_once_and_read_by_many() {
    let _limit = TimeLimit::start(LIMIT);
    let result = Rc::new(AsyncResult::new());
    assert_eq!(result.try_get(), None);
    assert!(!result.is_ready());
    let readers: Vec<_> = (0..10)
        .map(|_| {
            let result = Rc::clone(&result);
            // Neither `Send` nor `Clone` is asked of the value.
            spawn(move || {
                let value: &Cell<u32> = result.get();
                value.set(value.get() + 1);
            })
        })
        .collect();
    settle();
    result.set(Cell::new(0)).unwrap();
    assert_eq!(result.set(Cell::new(100)).unwrap_err().get(), 100);
    assert!(joinall(readers).iter().all(Result::is_ok));
    assert_eq!(result.get_timeout(Duration::ZERO).unwrap().get(), 10);
    assert_eq!(
        Rc::into_inner(result).unwrap().into_inner().unwrap().get(),
        10
    );
}

#[test]
fn a_result_that_does_not_come_in_time() {
    let _limit = TimeLimit::start(LIMIT);
    let result = AsyncResult::<u8>::new();
    let start = Instant::now();
    assert_eq!(result.get_timeout(SHORT), None);
    assert!(start.elapsed() >= SHORT);
    assert_eq!(format!("{result:?}"), "AsyncResult(None)");
}

#[test]
fn errors_are_values() {
    let result = AsyncResult::<Result<u8, &str>>::new();
    result.set_error("broken").unwrap();
    assert_eq!(result.set_ok(1), Err(1));
    assert_eq!(result.set_error("again"), Err("again"));
    assert_eq!(*result.get(), Err("broken"));
    let result = AsyncResult::<Result<u8, &str>>::new();
    result.set_ok(1).unwrap();
    assert_eq!(*result.get(), Ok(1));
    assert_eq!(*AsyncResult::from(5).get(), 5);
}

#[test]
fn a_reader_that_is_killed_leaves_the_result_to_others() {
    let _limit = TimeLimit::start(LIMIT);
    let result = Rc::new(AsyncResult::new());
    let [killed, waiting] = [(); 2].map(|()| {
        let result = Rc::clone(&result);
        spawn(move || *result.get())
    });
    settle();
    killed.kill();
    result.set(7).unwrap();
    assert!(killed.join().is_err());
    assert_eq!(waiting.join().unwrap(), 7);
}

#[test]
fn results_work_across_hubs() {
    let _limit = TimeLimit::start(LIMIT);
    for _ in 0..200 {
        let result = AsyncResult::new();
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        thread::scope(|inner| {
                            let reader = inner.spawn(|| *result.get());
                            reader.join().unwrap() + *result.get()
                        })
                    })
                })
                .collect();
            result.set(21).unwrap();
            for reader in readers {
                assert_eq!(reader.join().unwrap(), 42);
            }
        });
    }
}
