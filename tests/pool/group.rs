//! Groups: membership, `join`, `kill`, and green threads that were spawned elsewhere.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use greenhub::pool::Group;
use greenhub::thread::{self, Killed};
use greenhub::{spawn, yield_now};

use super::support::TimeLimit;
use super::{Gauge, LIMIT, LONG, OnDrop, SHORT, Trace, settle};

#[test]
fn members_leave_however_they_end() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let returned = group.spawn(|| 1);
    let panicked = group.spawn(|| -> u32 { panic!("expected") });
    let killed = group.spawn(|| unreachable!("it is killed before it starts"));
    let parked = group.spawn(thread::park);
    assert_eq!(group.len(), 4);
    killed.kill_nowait();
    assert_eq!(group.len(), 4, "it has not ended yet");
    settle();
    assert_eq!(group.len(), 1);
    parked.thread().unpark();
    group.join();
    assert!(group.is_empty());
    assert_eq!(returned.join().unwrap(), 1);
    assert_eq!(
        *panicked.join().unwrap_err().downcast::<&str>().unwrap(),
        "expected"
    );
    assert!(killed.join().unwrap_err().is::<Killed>());
}

#[test]
fn a_member_has_left_only_when_its_destructors_have_run() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let inner = group.clone();
    let slow = OnDrop(move || {
        thread::sleep(SHORT);
        assert_eq!(inner.len(), 1);
    });
    let handle = group.spawn(move || drop(slow));
    group.join();
    assert!(handle.is_finished());
    handle.join().unwrap();
}

#[test]
fn join_waits_for_members_of_members() {
    let _limit = TimeLimit::start(LIMIT);
    fn descend(group: &Group, depth: usize, count: &Rc<Cell<usize>>) {
        let (inner, count) = (group.clone(), Rc::clone(count));
        group.spawn(move || {
            yield_now();
            count.set(count.get() + 1);
            if depth > 0 {
                descend(&inner, depth - 1, &count);
                descend(&inner, depth - 1, &count);
            }
        });
    }
    let group = Group::new();
    let count = Rc::new(Cell::new(0));
    descend(&group, 9, &count);
    group.join();
    assert_eq!(count.get(), 1023);
    assert_eq!(Rc::strong_count(&count), 1);
}

#[test]
fn everybody_who_joins_is_woken() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let member = group.spawn(thread::park);
    let joiners: Vec<_> = (0..5)
        .map(|_| {
            let group = group.clone();
            spawn(move || group.join())
        })
        .collect();
    settle();
    // One of them is killed: that ends its waiting, and nobody else's.
    joiners[2].kill();
    assert_eq!(group.len(), 1);
    assert!(joiners.iter().filter(|joiner| joiner.is_finished()).count() == 1);
    member.thread().unpark();
    let killed = greenhub::joinall(joiners)
        .iter()
        .filter(|result| result.is_err())
        .count();
    assert_eq!(killed, 1);
}

#[test]
fn joining_may_be_limited() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    assert!(group.join_timeout(Duration::ZERO), "nobody is there");
    let member = group.spawn(thread::park);
    assert!(!group.join_timeout(Duration::ZERO));
    let start = Instant::now();
    assert!(!group.join_timeout(SHORT));
    assert!(start.elapsed() >= SHORT);
    assert!(greenhub::timeout(SHORT, || group.join()).is_err());
    member.thread().unpark();
    assert!(group.join_timeout(Duration::MAX));
}

#[test]
fn a_member_cannot_join_its_own_group() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let (inner, other) = (group.clone(), Group::new());
    let member = group.spawn(move || {
        other.spawn(|| ());
        other.join();
        inner.join_timeout(LONG)
    });
    let payload = member.join().unwrap_err();
    let message = payload.downcast::<&str>().unwrap();
    assert!(
        message.contains("cannot wait for the end of its own group"),
        "{message}"
    );
    assert!(
        group.is_empty(),
        "the lock and the seat have been given back"
    );
}

#[test]
fn dropping_a_group_kills_nobody() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let member = group.spawn(|| {
        yield_now();
        42
    });
    drop(group);
    assert_eq!(member.join().unwrap(), 42);
}

#[test]
fn kill_waits_for_destructors() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let alive = Gauge::default();
    for _ in 0..10 {
        let alive = alive.enter();
        group.spawn(move || {
            let _slow = OnDrop(move || {
                thread::sleep(SHORT);
                let _ = &alive;
            });
            thread::park();
        });
    }
    yield_now();
    assert_eq!(alive.now(), 10);
    group.kill();
    assert_eq!(alive.now(), 0);
    assert!(group.is_empty());
    group.kill();
}

#[test]
fn what_is_spawned_into_a_dying_group_dies() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let late = Rc::new(RefCell::new(None));
    let (inner, handle) = (group.clone(), Rc::clone(&late));
    group.spawn(move || {
        let _spawns = OnDrop(|| {
            thread::sleep(SHORT);
            *handle.borrow_mut() = Some(inner.spawn(|| unreachable!("it never starts")));
        });
        thread::park();
    });
    yield_now();
    group.kill();
    assert!(group.is_empty());
    let late: thread::JoinHandle<()> = late.take().unwrap();
    assert!(late.join().unwrap_err().is::<Killed>());
    assert_eq!(
        group.spawn(|| 1).join().unwrap(),
        1,
        "the group is as good as new"
    );
}

#[test]
fn a_kill_may_be_limited() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let stubborn = group.spawn(|| thread::shielded(thread::park));
    yield_now();
    assert!(!group.kill_timeout(SHORT));
    assert_eq!(group.len(), 1);
    // The kill that was given up no longer counts for those who come now.
    assert_eq!(group.spawn(|| 7).join().unwrap(), 7);
    stubborn.thread().unpark();
    assert!(group.kill_timeout(LONG));
}

#[test]
fn a_member_that_kills_its_group_dies_with_it() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let others: Vec<_> = (0..3).map(|_| group.spawn(thread::park)).collect();
    let inner = group.clone();
    let killer = group.spawn(move || {
        inner.kill();
        unreachable!("it unwinds at once");
    });
    group.join();
    let killer: thread::Result<()> = killer.join();
    assert!(killer.unwrap_err().is::<Killed>());
    for result in greenhub::joinall(others) {
        assert!(result.unwrap_err().is::<Killed>());
    }
}

#[test]
fn a_member_that_may_not_be_unwound_does_not_wait_for_itself() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let other = group.spawn(thread::park);
    let (inner, trace) = (group.clone(), Trace::default());
    let noted = trace.clone();
    group.spawn(move || {
        thread::shielded(|| {
            inner.kill();
            noted.note(1);
        });
        let _unwinding = OnDrop(|| {
            assert!(!inner.kill_timeout(LONG));
            noted.note(2);
        });
        thread::park();
        unreachable!("it has been killed");
    });
    group.join();
    assert!(other.join().is_err());
    assert_eq!(trace.take(), [1, 2]);
}

#[test]
fn killing_many_takes_time_in_proportion() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    for _ in 0..10_000 {
        group.spawn(thread::park);
    }
    yield_now();
    for _ in 0..100_000 {
        group.spawn(|| unreachable!("it never starts"));
    }
    let start = Instant::now();
    group.kill();
    assert!(group.is_empty());
    // To look at each for each would be ten thousand million looks.
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "took {:?}",
        start.elapsed()
    );
}

#[test]
fn members_leave_no_memory_behind() {
    let _limit = TimeLimit::start(LIMIT);
    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
    let group = Group::new();
    let serve = |times| {
        for i in 0..times {
            group.spawn(move || std::hint::black_box([i; 8]));
            if i % 100 == 0 {
                yield_now();
            }
        }
    };
    serve(10_000);
    let before = resident_kib();
    serve(500_000);
    // Half a million green threads that are held on to would be some 200 MiB. The tests beside this one use memory too.
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 150 << 10, "grown by {grown} KiB");
}

#[test]
fn a_green_thread_that_was_added_is_a_member_until_it_ends() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let first = spawn(thread::park);
    let thread = first.thread().clone();
    group.add(first);
    group.add(spawn(|| panic!("expected")));
    assert_eq!(group.len(), 2);
    let ended = spawn(|| 1);
    settle();
    assert_eq!(group.len(), 1, "the one that panicked has gone");
    group.add(ended);
    assert_eq!(group.len(), 2);
    settle();
    assert_eq!(group.len(), 1);
    thread.unpark();
    group.join();
}

#[test]
fn a_green_thread_that_was_added_is_killed_with_the_group() {
    let _limit = TimeLimit::start(LIMIT);
    for has_started in [true, false] {
        let group = Group::new();
        let alive = Gauge::default();
        let counted = alive.enter();
        group.add(spawn(move || {
            let _slow = OnDrop(move || {
                thread::sleep(SHORT);
                let _ = &counted;
            });
            thread::park();
        }));
        if has_started {
            settle();
        }
        group.kill();
        assert_eq!(alive.now(), 0);
    }
}

#[test]
fn a_green_thread_of_another_os_thread_may_be_added() {
    let _limit = TimeLimit::start(LIMIT);
    let (give, take) = mpsc::channel();
    let (dropped, is_dropped) = mpsc::channel();
    let other = std::thread::spawn(move || {
        let finished = spawn(|| ());
        let parked = spawn(move || {
            let _noticed = OnDrop(move || dropped.send(()).unwrap());
            thread::park();
        });
        let keep = parked.thread().clone();
        yield_now();
        give.send(finished).unwrap();
        give.send(parked).unwrap();
        // The hub of this thread has to run for the kill to arrive.
        while is_dropped.try_recv().is_err() {
            thread::sleep(SHORT);
        }
        drop(keep);
    });
    let group = Group::new();
    group.add(take.recv().unwrap());
    group.add(take.recv().unwrap());
    while group.len() > 1 {
        thread::sleep(SHORT);
    }
    group.kill();
    assert!(group.is_empty());
    other.join().unwrap();
}

#[test]
fn each_os_thread_has_groups_of_its_own() {
    let _limit = TimeLimit::start(LIMIT);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(|| {
                let group = Group::new();
                // Left behind: it is unwound with its OS thread, and leaves the group then.
                let left = group.clone();
                group.spawn(move || {
                    let _alone = OnDrop(move || assert_eq!(left.len(), 2));
                    thread::park();
                });
                group.spawn(thread::park);
                yield_now();
                group.map(0..100, |n| {
                    yield_now();
                    n
                })
            })
        })
        .collect();
    for thread in threads {
        assert!(thread.join().unwrap().into_iter().eq(0..100));
    }
}

#[test]
fn a_panic_in_a_destructor_gives_the_seat_back() {
    let _limit = TimeLimit::start(LIMIT);
    let group = Group::new();
    let bomb = OnDrop(|| panic!("expected"));
    let killed = group.spawn(move || drop(bomb));
    killed.kill_nowait();
    let bomb = OnDrop(|| panic!("expected"));
    let ran = group.spawn(move || drop(bomb));
    group.join();
    assert!(ran.join().is_err());
    assert!(killed.join().is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| group.kill())).is_ok());
}
