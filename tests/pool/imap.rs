//! `imap` and `imap_unordered`: order, bounds, and what is lost when (nothing).

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenhub::pool::{Group, IMap, Pool};
use greenhub::thread::{self, Killed};
use greenhub::{spawn, yield_now};

use super::support::TimeLimit;
use super::{Gauge, LIMIT, LONG, OnDrop, SHORT, settle};

/// What the panic of the next result says.
fn panic_of<T>(results: &mut IMap<T>) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| results.next())) else {
        panic!("the next result is no panic");
    };
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast::<&str>().unwrap().to_string(),
    }
}

#[test]
fn results_come_in_the_order_of_the_items() {
    let _limit = TimeLimit::start(LIMIT);
    let backwards = |n: u64| {
        thread::sleep(Duration::from_micros(100 * (30 - n)));
        n
    };
    assert!(Pool::new(4).imap(0..30, backwards).eq(0..30));
    assert!(Pool::new(1).imap(0..30, backwards).eq(0..30));
    assert!(Group::new().imap(0..30, usize::MAX, backwards).eq(0..30));
    assert!(Group::new().imap(0..30, 1, backwards).eq(0..30));
    assert_eq!(Group::new().imap([], 1, backwards).next(), None);
}

#[test]
fn unordered_results_come_as_they_are_there() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let delays = [40_u64, 1, 20];
    let results = group.imap_unordered(delays, 3, |n| {
        thread::sleep(Duration::from_millis(5 * n));
        n
    });
    assert!(results.eq([1, 20, 40]));
    let mut all: Vec<_> = Pool::new(3).imap_unordered(0..100, |n| n).collect();
    all.sort();
    assert!(all.into_iter().eq(0..100));
}

#[test]
fn a_result_is_given_out_while_the_input_waits() {
    let _limit = TimeLimit::start(LIMIT);
    let more = Rc::new(Cell::new(None));
    let wanted = Rc::clone(&more);
    let items = (0..2).inspect(move |&n| {
        if n == 1 {
            wanted.set(Some(thread::current()));
            thread::park();
        }
    });
    let pool = Pool::new(1);
    let mut results = pool.imap(items, |n| n);
    assert_eq!(results.next(), Some(0));
    settle();
    assert!(!pool.is_full(), "an input that waits takes no room");
    more.take().unwrap().unpark();
    assert_eq!(results.next(), Some(1));
    assert_eq!(results.next(), None);
    assert_eq!(results.next(), None);
}

#[test]
fn the_input_is_held_back() {
    let _limit = TimeLimit::start(LIMIT);
    for in_order in [true, false] {
        let (pool, gauge) = (Pool::new(3), Gauge::default());
        let (pulled, at_work) = (Rc::new(Cell::new(0)), gauge.clone());
        let counter = Rc::clone(&pulled);
        let items = (0_u32..).inspect(move |_| counter.set(counter.get() + 1));
        let work = move |n: u32| {
            let _at_work = at_work.enter();
            for _ in 0..=n % 4 {
                yield_now();
            }
            n
        };
        let mut results = match in_order {
            true => pool.imap(items, work),
            false => pool.imap_unordered(items, work),
        };
        assert_eq!(pulled.get(), 0, "nothing runs before the caller waits");
        for taken in 0..50 {
            for _ in 0..100 {
                yield_now();
            }
            assert_eq!(pulled.get(), taken + 6, "twice the size");
            assert!(results.next().is_some());
        }
        assert_eq!(gauge.most(), 3);
    }
}

#[test]
fn a_group_is_held_back_by_maxsize() {
    let _limit = TimeLimit::start(LIMIT);
    let (group, gauge) = (Group::new(), Gauge::default());
    let at_work = gauge.clone();
    let results = group.imap_unordered(0..1_000, 5, move |n| {
        let _at_work = at_work.enter();
        yield_now();
        n
    });
    assert_eq!(results.count(), 1_000);
    assert_eq!(gauge.most(), 5);
}

#[test]
#[should_panic(expected = "without room for a result")]
fn maxsize_is_not_zero() {
    let _ = Group::new().imap([1], 0, |n| n);
}

#[test]
fn dropping_it_half_way_kills_what_is_at_work() {
    let _limit = TimeLimit::start(LIMIT);
    let (pool, alive) = (Pool::new(3), Gauge::default());
    let (counted, results_alive) = (alive.clone(), Gauge::default());
    let held = results_alive.clone();
    let token = Rc::new(());
    let captured = Rc::clone(&token);
    let mut results = pool.imap(0_u32.., move |n| {
        let _captured = &captured;
        let _counted = counted.enter();
        if n % 2 == 1 {
            thread::park();
        }
        held.enter()
    });
    drop(results.next());
    settle();
    assert!(alive.now() > 0 && results_alive.now() > 0);
    drop(results);
    assert!(alive.now() > 0, "it does not wait");
    assert_eq!(results_alive.now(), 0, "what was there is dropped");
    pool.join();
    assert_eq!(alive.now(), 0);
    settle();
    assert_eq!(Rc::strong_count(&token), 1, "the feeder has ended, too");
    assert_eq!(pool.free_count(), 3);
}

#[test]
fn dropping_it_before_anything_ran_runs_nothing() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = Pool::new(2);
    let token = Rc::new(());
    let captured = Rc::clone(&token);
    let items = std::iter::repeat_with(|| unreachable!("no item is wanted"));
    drop(pool.imap(items, move |(): ()| drop(Rc::clone(&captured))));
    settle();
    assert_eq!(Rc::strong_count(&token), 1);
}

#[test]
fn dropping_it_while_the_feeder_gets_room_spawns_nothing_more() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = Pool::new(1);
    let holder = pool.spawn(thread::park);
    let has_run = Rc::new(Cell::new(false));
    let flag = Rc::clone(&has_run);
    let results = pool.imap(0.., move |_: u32| flag.set(true));
    settle();
    holder.kill_nowait();
    yield_now();
    assert!(
        pool.is_empty() && pool.is_full(),
        "the feeder has not had its turn"
    );
    drop(results);
    settle();
    assert!(!has_run.get());
    assert_eq!(Rc::strong_count(&has_run), 1);
    assert_eq!(pool.free_count(), 1);
}

#[test]
fn dropping_it_ends_an_input_that_waits() {
    let _limit = TimeLimit::start(LIMIT);
    let token = Rc::new(());
    let captured = Rc::clone(&token);
    let items = std::iter::from_fn(move || {
        let _captured = &captured;
        thread::park();
        Some(())
    });
    let results = Pool::new(1).imap(items, |()| ());
    settle();
    drop(results);
    settle();
    assert_eq!(Rc::strong_count(&token), 1);
}

#[test]
fn an_input_that_exceeds_a_limit_is_not_taken_for_one_that_ended() {
    let _limit = TimeLimit::start(LIMIT);
    let items = (0..9).inspect(|n| {
        let _limit = greenhub::Timeout::start(SHORT);
        if *n == 2 {
            thread::park();
        }
    });
    let mut results = Pool::new(1).imap(items, |n| n);
    assert_eq!((results.next(), results.next()), (Some(0), Some(1)));
    assert!(panic_of(&mut results).contains("was killed"));
    assert_eq!(results.next(), None);
}

#[test]
fn a_panic_comes_out_at_its_item_and_others_go_on() {
    let _limit = TimeLimit::start(LIMIT);
    let work = |n: u32| {
        assert!(n % 3 != 1, "item {n}");
        n
    };
    let pool = Pool::new(2);
    let mut results = pool.imap(0..5, work);
    assert_eq!(results.next(), Some(0));
    assert_eq!(panic_of(&mut results), "item 1");
    assert_eq!(results.next(), Some(2));
    assert_eq!(results.next(), Some(3));
    assert_eq!(panic_of(&mut results), "item 4");
    assert_eq!(results.next(), None);
    let mut results = pool.imap_unordered(1..3, work);
    assert_eq!(panic_of(&mut results), "item 1");
    assert_eq!(results.next(), Some(2));
    assert_eq!(results.next(), None);
}

#[test]
fn a_panic_of_the_input_comes_after_the_last_result() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = Pool::new(2);
    let items = (0..9).inspect(|n| assert!(*n < 3, "no more items"));
    let mut results = pool.imap(items, |n| {
        thread::sleep(SHORT);
        n
    });
    for n in 0..3 {
        assert_eq!(results.next(), Some(n));
    }
    assert_eq!(panic_of(&mut results), "no more items");
    assert_eq!(results.next(), None);
}

#[test]
fn an_item_that_is_killed_by_others_has_no_result() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = Pool::new(2);
    let mut results = pool.imap(0..4, |n| {
        if n < 2 {
            thread::park();
        }
        n
    });
    settle();
    pool.kill_nowait();
    for _ in 0..2 {
        assert!(panic_of(&mut results).contains("was killed"));
    }
    assert!(results.eq([2, 3]));
}

#[test]
fn waiting_for_a_result_may_be_limited_and_loses_none() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = Pool::new(2);
    let mut results = pool.imap(0..20, |n| {
        thread::sleep(SHORT);
        n
    });
    let mut seen = Vec::new();
    while seen.len() < 20 {
        match greenhub::timeout(Duration::from_micros(300), || results.next()) {
            Ok(result) => seen.push(result.unwrap()),
            Err(_) => continue,
        }
    }
    assert!(seen.into_iter().eq(0..20));
    assert_eq!(results.next(), None);
}

#[test]
fn killing_the_one_who_takes_the_results_kills_the_work() {
    let _limit = TimeLimit::start(LIMIT);
    let (pool, alive) = (Pool::new(2), Gauge::default());
    let (mapping, counted) = (pool.clone(), alive.clone());
    let taker = spawn(move || {
        let results = mapping.imap(0.., move |_: u32| {
            let _counted = counted.enter();
            thread::sleep(LONG);
        });
        results.count()
    });
    settle();
    assert_eq!(alive.now(), 2);
    taker.kill();
    pool.join();
    assert_eq!(alive.now(), 0);
    assert!(taker.join().unwrap_err().is::<Killed>());
    settle();
    assert_eq!(pool.free_count(), 2);
}

#[test]
fn one_may_feed_another_through_the_same_pool() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = Pool::new(1);
    let first = pool.imap(0..50, |n| {
        yield_now();
        n + 1
    });
    let second = pool.imap_unordered(first, |n| {
        yield_now();
        n * 2
    });
    let third = pool.imap(second, |n| n - 2);
    assert!(third.eq((0..50).map(|n| n * 2)));
    assert_eq!(pool.free_count(), 1);
}

#[test]
fn several_share_a_pool_fairly() {
    let _limit = TimeLimit::start(LIMIT);
    let (pool, gauge) = (Pool::new(2), Gauge::default());
    let takers: Vec<_> = (0..5)
        .map(|_| {
            let (pool, gauge) = (pool.clone(), gauge.clone());
            spawn(move || {
                let work = move |n: u32| {
                    let _at_work = gauge.enter();
                    yield_now();
                    n
                };
                pool.imap(0..100, work).sum::<u32>()
            })
        })
        .collect();
    for taker in takers {
        assert_eq!(taker.join().unwrap(), 4950);
    }
    assert_eq!(gauge.most(), 2);
}

#[test]
fn results_with_destructors_that_wait_are_dropped_in_peace() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = Pool::new(2);
    let mut results = pool.imap(0..10, |_| OnDrop(yield_now));
    drop(results.next());
    settle();
    drop(results);
    pool.join();
    assert_eq!(pool.free_count(), 2);
}
