//! Pools: room, and who gets it.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenhub::net::{TcpListener, TcpStream};
use greenhub::pool::{Pool, PoolFull};
use greenhub::thread::{self, Killed};
use greenhub::{spawn, yield_now};

use super::support::TimeLimit;
use super::{Gauge, LIMIT, LONG, OnDrop, SHORT, Trace, settle};

#[test]
fn no_more_than_its_size_are_at_work() {
    let _limit = TimeLimit::start(LIMIT);
    let (pool, gauge) = (Pool::new(3), Gauge::default());
    for i in 0..100 {
        let gauge = gauge.clone();
        pool.spawn(move || {
            let _at_work = gauge.enter();
            for _ in 0..i % 7 {
                yield_now();
            }
        });
        assert!(pool.len() <= 3);
        assert_eq!(pool.len() + pool.free_count(), 3);
    }
    pool.join();
    assert_eq!(gauge.most(), 3);
    assert_eq!(pool.free_count(), 3);
}

#[test]
fn those_who_wait_get_room_in_their_order() {
    let _limit = TimeLimit::start(LIMIT);
    let (pool, trace) = (Pool::new(2), Trace::default());
    let holders: Vec<_> = (0..2).map(|_| pool.spawn(thread::park)).collect();
    for i in 0..6 {
        let (pool, trace) = (pool.clone(), trace.clone());
        spawn(move || {
            pool.spawn(move || {
                trace.note(i);
                yield_now();
            });
        });
    }
    settle();
    assert_eq!(trace.take(), [], "all of them wait, and this one does not");
    for holder in holders {
        holder.thread().unpark();
    }
    // One who comes now goes to the end of the line.
    let last = trace.clone();
    pool.spawn(move || last.note(6));
    pool.join();
    assert_eq!(trace.take(), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn room_that_was_given_to_one_who_waits_is_not_free() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = Pool::new(1);
    let holder = pool.spawn(thread::park);
    let waiting = pool.clone();
    let spawner = spawn(move || waiting.spawn(|| 1).join().unwrap());
    settle();
    holder.kill_nowait();
    yield_now();
    // The holder has ended, and the spawner has not had its turn.
    assert!(pool.is_empty());
    assert!(pool.is_full());
    let PoolFull(f) = pool.try_spawn(|| 2).unwrap_err();
    assert_eq!(f(), 2);
    assert_eq!(spawner.join().unwrap(), 1);
    assert_eq!(pool.free_count(), 1);
}

#[test]
fn a_spawner_that_is_killed_after_it_got_room_loses_none() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = Pool::new(1);
    let holder = pool.spawn(thread::park);
    let (waiting, ran) = (pool.clone(), Rc::new(Cell::new(false)));
    let flag = Rc::clone(&ran);
    let spawner = spawn(move || {
        waiting.spawn(move || flag.set(true));
        thread::park();
    });
    settle();
    holder.kill_nowait();
    yield_now();
    assert!(
        pool.is_empty() && pool.is_full(),
        "the spawner has not had its turn"
    );
    // Too late: what it waited for has happened. The next wait meets the kill.
    spawner.kill();
    pool.join();
    assert!(ran.get());
    assert!(spawner.join().unwrap_err().is::<Killed>());
    assert_eq!(pool.free_count(), 1);
}

#[test]
fn spawners_that_are_killed_or_give_up_lose_no_room() {
    let _limit = TimeLimit::start(LIMIT);
    let (pool, trace) = (Pool::new(1), Trace::default());
    let holder = pool.spawn(thread::park);
    let mut spawners: Vec<_> = (0..5)
        .map(|i| {
            let (pool, trace) = (pool.clone(), trace.clone());
            spawn(move || {
                let work = move || trace.note(i);
                match i {
                    1 => assert!(pool.spawn_timeout(SHORT, work).is_err()),
                    3 => assert!(greenhub::timeout(SHORT, || pool.spawn(work)).is_err()),
                    _ => drop(pool.spawn(work)),
                }
            })
        })
        .collect();
    settle();
    spawners.remove(2).kill();
    spawners.remove(0).kill();
    thread::sleep(SHORT * 2);
    holder.thread().unpark();
    while trace.0.borrow().is_empty() {
        yield_now();
    }
    pool.join();
    assert_eq!(trace.take(), [4]);
    assert_eq!(pool.free_count(), 1);
    for spawner in spawners {
        spawner.join().unwrap();
    }
}

#[test]
fn a_closure_that_found_no_room_is_given_back() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = Pool::new(1);
    let token = Rc::new(5);
    let holder = pool.spawn(thread::park);
    let full = pool.try_spawn(move || *token).unwrap_err();
    assert_eq!(full.to_string(), "the pool is full");
    let start = Instant::now();
    let PoolFull(f) = pool.spawn_timeout(SHORT, full.0).unwrap_err();
    assert!(start.elapsed() >= SHORT);
    let PoolFull(f) = pool.spawn_timeout(Duration::ZERO, f).unwrap_err();
    holder.kill();
    assert_eq!(
        pool.spawn_timeout(Duration::ZERO, f)
            .unwrap()
            .join()
            .unwrap(),
        5
    );
}

#[test]
fn there_is_room_only_when_a_member_has_ended() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = Pool::new(1);
    pool.spawn(|| {
        let _slow = OnDrop(|| thread::sleep(SHORT));
        thread::park();
    })
    .kill_nowait();
    assert!(
        pool.is_full(),
        "it has been killed before its start, and is still there"
    );
    pool.wait_available();
    let in_destructor = Rc::new(Cell::new(false));
    let flag = Rc::clone(&in_destructor);
    let member = pool.spawn(move || {
        let _slow = OnDrop(|| {
            flag.set(true);
            thread::park();
        });
        panic!("expected");
    });
    while !in_destructor.get() {
        yield_now();
    }
    assert!(pool.is_full(), "it is on its way out, but has not ended");
    member.thread().unpark();
    assert_eq!(pool.spawn(|| 1).join().unwrap(), 1);
    assert!(member.is_finished());
}

#[test]
fn waiting_for_room_takes_none() {
    let _limit = TimeLimit::start(LIMIT);
    let (pool, trace) = (Pool::new(1), Trace::default());
    let holder = pool.spawn(thread::park);
    for i in 0..3 {
        let (pool, trace) = (pool.clone(), trace.clone());
        spawn(move || {
            pool.wait_available();
            let Ok(_) = pool.try_spawn(thread::park) else {
                panic!("there was room");
            };
            trace.note(i);
        });
    }
    let (killed, limited) = (pool.clone(), pool.clone());
    let killed = spawn(move || killed.wait_available());
    let limited = spawn(move || limited.wait_available_timeout(SHORT));
    settle();
    killed.kill();
    assert!(!limited.join().unwrap());
    holder.thread().unpark();
    settle();
    assert_eq!(trace.take(), [0], "the others saw that it was taken");
    for i in 1..3 {
        pool.kill_nowait();
        settle();
        assert_eq!(trace.take(), [i]);
    }
    pool.kill();
    assert!(pool.wait_available_timeout(Duration::ZERO));
    assert_eq!(pool.free_count(), 1);
}

#[test]
fn those_who_spawn_come_before_those_who_look() {
    let _limit = TimeLimit::start(LIMIT);
    let (pool, trace) = (Pool::new(1), Trace::default());
    let holder = pool.spawn(thread::park);
    let (looking, noted) = (pool.clone(), trace.clone());
    let looker = spawn(move || {
        looking.wait_available();
        noted.note(2);
    });
    yield_now();
    let (spawning, noted) = (pool.clone(), trace.clone());
    spawn(move || spawning.spawn(move || noted.note(1)));
    yield_now();
    holder.thread().unpark();
    looker.join().unwrap();
    assert_eq!(trace.take(), [1, 2]);
}

#[test]
fn adding_waits_for_room() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = Pool::new(1);
    let first = spawn(thread::park);
    let thread = first.thread().clone();
    pool.add(first);
    assert!(pool.is_full());
    let adding = pool.clone();
    let adder = spawn(move || adding.add(spawn(|| ())));
    settle();
    assert!(!adder.is_finished());
    thread.unpark();
    adder.join().unwrap();
    pool.join();
    assert_eq!(pool.free_count(), 1);
}

#[test]
#[should_panic(expected = "a pool without room")]
fn a_pool_has_room() {
    let _ = Pool::new(0);
}

#[test]
fn a_server_stops_accepting_while_its_pool_is_full() {
    let _limit = TimeLimit::start(LIMIT);
    const CLIENTS: usize = 12;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (pool, gauge) = (Pool::new(2), Gauge::default());
    let accepted = Rc::new(Cell::new(0));
    let server = {
        let (pool, gauge, accepted) = (pool.clone(), gauge.clone(), Rc::clone(&accepted));
        spawn(move || {
            loop {
                pool.wait_available();
                let (mut stream, _) = listener.accept().unwrap();
                accepted.set(accepted.get() + 1);
                let connection = gauge.enter();
                let served = pool.try_spawn(move || {
                    let _connection = connection;
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    stream.write_all(&byte).unwrap();
                });
                assert!(served.is_ok(), "nobody else spawns into this pool");
            }
        })
    };
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for (served, client) in clients.iter_mut().enumerate() {
        // The clients say nothing until it is their turn, so exactly two are being served.
        while accepted.get() < CLIENTS.min(served + 2) {
            thread::sleep(SHORT);
        }
        settle();
        assert_eq!(accepted.get(), CLIENTS.min(served + 2));
        client.write_all(&[7]).unwrap();
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
    }
    server.kill();
    pool.join();
    assert_eq!(gauge.most(), 2);
    assert_eq!(pool.free_count(), 2);
    assert!(greenhub::timeout(LONG, || pool.spawn(|| ()).join()).is_ok());
}
