//! Random work, kills and time limits; afterwards all room must be there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use greenhub::pool::Pool;
use greenhub::thread::{self, JoinHandle};
use greenhub::{spawn, yield_now};

use super::support::TimeLimit;
use super::{Gauge, LIMIT};

/// A small generator of numbers that look random; the same every time.
#[derive(Clone)]
struct Random(Rc<Cell<u64>>);

impl Random {
    fn below(&self, bound: u64) -> u64 {
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.set(x);
        (x >> 11) % bound
    }

    fn pause(&self) {
        match self.below(4) {
            0 => {}
            1 => thread::sleep(Duration::from_micros(self.below(200))),
            _ => yield_now(),
        }
    }
}

/// What a client of the pool does; each waits somewhere in it.
fn visit(pool: &Pool, random: &Random, gauge: &Gauge, handles: &RefCell<Vec<JoinHandle<()>>>) {
    let (inner, at_work) = (random.clone(), gauge.clone());
    let work = move || {
        let _at_work = at_work.enter();
        inner.pause();
        inner.pause();
        assert!(inner.below(20) > 0, "one in twenty panics");
    };
    let limit = Duration::from_micros(random.below(300));
    match random.below(8) {
        0..3 => {
            let handle = pool.spawn(work);
            handles.borrow_mut().push(handle);
        }
        3 => drop(pool.spawn_timeout(limit, work)),
        4 => {
            let _ = greenhub::timeout(limit, || pool.spawn(work));
        }
        5 => {
            pool.wait_available();
            assert!(!pool.is_full());
            assert!(pool.try_spawn(work).is_ok());
        }
        6 => {
            let wanted = random.below(20) as usize;
            let (inner, at_work) = (random.clone(), gauge.clone());
            let results = pool.imap(0_u64..15, move |n| {
                let _at_work = at_work.enter();
                inner.pause();
                n
            });
            // Somebody may have killed one of those at work; then this panics.
            assert!(results.take(wanted).eq(0..wanted.min(15) as u64));
        }
        _ => {
            let squares = pool.map(0..5, |n| {
                let _at_work = gauge.enter();
                random.pause();
                n * n
            });
            assert_eq!(squares, [0, 1, 4, 9, 16]);
        }
    }
}

fn storm(seed: u64, size: usize, visitors: u64) {
    let random = Random(Rc::new(Cell::new(seed)));
    let (pool, gauge) = (Pool::new(size), Gauge::default());
    let handles = Rc::new(RefCell::new(Vec::new()));
    let mut clients = Vec::new();
    for _ in 0..visitors {
        let (pool, random) = (pool.clone(), random.clone());
        let (gauge, handles) = (gauge.clone(), Rc::clone(&handles));
        let visits = random.below(4);
        clients.push(spawn(move || {
            for _ in 0..=visits {
                visit(&pool, &random, &gauge, &handles);
            }
        }));
    }
    while clients.iter().any(|client| !client.is_finished()) {
        random.pause();
        match random.below(40) {
            0..10 => clients[random.below(visitors) as usize].kill_nowait(),
            10 => pool.kill_nowait(),
            11..20 => {
                let members = handles.borrow();
                if !members.is_empty() {
                    members[random.below(members.len() as u64) as usize].kill_nowait();
                }
            }
            _ => {}
        }
        assert!(pool.len() <= size);
    }
    pool.join();
    for _ in 0..20 {
        yield_now();
    }
    pool.join();
    assert_eq!(gauge.now(), 0, "seed {seed}");
    assert!(gauge.most() <= size, "seed {seed}");
    assert_eq!(pool.free_count(), size, "seed {seed}");
    assert_eq!(pool.map(0..size, |n| n).len(), size);
}

#[test]
fn no_room_is_lost_in_a_storm() {
    let _limit = TimeLimit::start(LIMIT);
    for seed in 1..=30 {
        storm(seed * 0x9E37_79B9, 1 + seed as usize % 5, 60);
    }
}

#[test]
fn storms_on_several_os_threads_do_not_meet() {
    let _limit = TimeLimit::start(LIMIT);
    let threads: Vec<_> = (100..103)
        .map(|seed| std::thread::spawn(move || storm(seed, 3, 100)))
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
