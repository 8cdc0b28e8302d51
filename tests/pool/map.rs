//! `map` and `apply`: results in order, panics, and that nothing is left at work.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenhub::pool::{Group, Pool};
use greenhub::thread::{self, Killed};
use greenhub::{spawn, yield_now};

use super::support::TimeLimit;
use super::{Gauge, LIMIT, LONG, OnDrop, SHORT, settle};

fn message(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast::<&str>().unwrap().to_string(),
    }
}

#[test]
fn results_are_in_order() {
    let _limit = TimeLimit::start(LIMIT);
    let backwards = |n: u64| {
        thread::sleep(Duration::from_micros(100 * (20 - n)));
        n * n
    };
    let expected: Vec<_> = (0..20).map(|n| n * n).collect();
    assert_eq!(Group::new().map(0..20, backwards), expected);
    assert_eq!(Pool::new(7).map(0..20, backwards), expected);
    assert_eq!(Pool::new(1).map(0..20, backwards), expected);
    assert_eq!(Group::new().map([], backwards), []);
    assert_eq!(
        spawn(move || Pool::new(2).map(0..20, backwards))
            .join()
            .unwrap(),
        expected
    );
}

#[test]
fn what_is_mapped_may_borrow() {
    let _limit = TimeLimit::start(LIMIT);
    let mut numbers = vec![3, 1, 2];
    let seen = RefCell::new(Vec::new());
    let pool = Pool::new(2);
    let doubled = pool.map(&mut numbers, |number| {
        yield_now();
        *number *= 2;
        seen.borrow_mut().push(*number);
        &*number
    });
    assert_eq!(doubled, [&6, &2, &4]);
    assert_eq!(numbers, [6, 2, 4]);
    let text = String::from("borrowed");
    assert_eq!(pool.apply(|| text.as_str()), "borrowed");
    assert!(pool.is_empty());
}

#[test]
fn a_pool_bounds_the_work() {
    let _limit = TimeLimit::start(LIMIT);
    let (pool, gauge) = (Pool::new(3), Gauge::default());
    let pulled = Cell::new(0);
    let done = Cell::new(0);
    let items = (0..50).inspect(|_| pulled.set(pulled.get() + 1));
    pool.map(items, |n| {
        let _at_work = gauge.enter();
        assert!(
            pulled.get() <= done.get() + 4,
            "one more than are at work waits for room"
        );
        thread::sleep(Duration::from_micros(n % 5));
        done.set(done.get() + 1);
    });
    assert_eq!((gauge.most(), pulled.get(), done.get()), (3, 50, 50));
}

#[test]
fn the_first_panic_ends_the_rest() {
    let _limit = TimeLimit::start(LIMIT);
    for size in [1, 4, usize::MAX] {
        let (pool, alive) = (Pool::new(size), Gauge::default());
        let started = Cell::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.map(0..100, |n| {
                started.set(started.get() + 1);
                let counted = alive.enter();
                let _slow = OnDrop(move || {
                    yield_now();
                    let _ = &counted;
                });
                if n == 3 {
                    thread::sleep(SHORT);
                    panic!("item {n}");
                }
                if n > 3 {
                    thread::sleep(LONG);
                }
            })
        }));
        assert_eq!(message(result.unwrap_err()), "item 3");
        assert_eq!(alive.now(), 0, "nothing is left");
        assert!(pool.is_empty());
        assert_eq!(pool.free_count(), size);
        assert!(size == usize::MAX || started.get() <= 4 + size);
    }
}

#[test]
fn a_panic_of_the_input_ends_the_rest() {
    let _limit = TimeLimit::start(LIMIT);
    let (pool, alive) = (Pool::new(3), Gauge::default());
    let items = (0..3).inspect(|&n| {
        yield_now();
        assert!(n < 2, "no more items");
    });
    let result = catch_unwind(AssertUnwindSafe(|| {
        pool.map(items, |_| {
            let _counted = alive.enter();
            thread::park();
        })
    }));
    assert_eq!(message(result.unwrap_err()), "no more items");
    assert_eq!((alive.now(), alive.most()), (0, 2));
    assert_eq!(pool.free_count(), 3);
}

#[test]
fn killing_the_caller_kills_the_work() {
    let _limit = TimeLimit::start(LIMIT);
    for items in [2, 3, 10] {
        let (pool, alive) = (Pool::new(3), Gauge::default());
        let (mapping, counted) = (pool.clone(), alive.clone());
        let caller = spawn(move || {
            mapping.map(0..items, |_| {
                let _counted = counted.enter();
                thread::park();
            })
        });
        settle();
        assert_eq!(alive.now(), items.min(3));
        caller.kill();
        assert_eq!(alive.now(), 0);
        assert!(caller.join().unwrap_err().is::<Killed>());
        assert_eq!(pool.free_count(), 3);
        assert!(greenhub::timeout(SHORT, || pool.map(0..items, |_| thread::sleep(LONG))).is_err());
        assert_eq!(pool.free_count(), 3);
    }
}

#[test]
fn work_that_is_killed_by_others_has_no_result() {
    let _limit = TimeLimit::start(LIMIT);
    for (items, pool) in [
        (4, Pool::new(2)),
        (1_000_000_000, Pool::new(2)),
        (4, Pool::new(4)),
    ] {
        let mapping = pool.clone();
        let caller = spawn(move || mapping.map(0..items, |_| thread::park()));
        settle();
        pool.kill();
        assert_eq!(
            message(caller.join().unwrap_err()),
            "a green thread was killed before it had a result"
        );
        assert_eq!(pool.free_count(), pool.size());
    }
}

#[test]
fn applying_is_waiting_for_one() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let caller = thread::current().id();
    let id = group.apply(|| {
        assert_eq!(group.len(), 1);
        thread::current().id()
    });
    assert_ne!(id, caller);
    let token = Rc::new(());
    let moved = Rc::clone(&token);
    let result = catch_unwind(AssertUnwindSafe(|| {
        group.apply(move || {
            let _moved = moved;
            panic!("of one")
        })
    }));
    let result: std::thread::Result<()> = result;
    assert_eq!(message(result.unwrap_err()), "of one");
    assert_eq!(Rc::strong_count(&token), 1);
}
