//! Several hubs, each on its own OS thread: wake-ups, joins and sockets between them.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use greenhub::net::{Shutdown, TcpListener, TcpStream};
use greenhub::thread::{self, JoinHandle, Thread};
use greenhub::{joinall, sleep, spawn, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(100);

/// Both ends of one connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

#[test]
fn hubs_work_side_by_side() {
    let _limit = TimeLimit::start(LIMIT);
    let threads: Vec<_> = (0..4u64)
        .map(|n| {
            std::thread::spawn(move || {
                let shared = Rc::new(Cell::new(0));
                let handles: Vec<_> = (0..200)
                    .map(|i| {
                        let shared = Rc::clone(&shared);
                        spawn(move || {
                            sleep(Duration::from_micros(i * n));
                            shared.set(shared.get() + i);
                        })
                    })
                    .collect();
                assert!(joinall(handles).iter().all(Result::is_ok));
                shared.get()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 199 * 200 / 2);
    }
}

#[test]
fn a_blocked_hub_does_not_block_another() {
    let _limit = TimeLimit::start(LIMIT);
    let (release, blocked) = mpsc::channel::<()>();
    let stuck = std::thread::spawn(move || {
        spawn(move || blocked.recv().unwrap()).join().unwrap();
    });
    assert_eq!(spawn(|| 5).join().unwrap(), 5);
    sleep(Duration::from_millis(5));
    assert!(!stuck.is_finished());
    release.send(()).unwrap();
    stuck.join().unwrap();
}

#[test]
fn ids_are_unique_across_hubs() {
    let _limit = TimeLimit::start(LIMIT);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let mut ids = vec![thread::current().id()];
                ids.extend((0..2_000).map(|_| spawn(|| ()).thread().id()));
                ids
            })
        })
        .collect();
    let ids: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    let distinct: std::collections::HashSet<_> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn no_wake_up_from_other_os_threads_is_lost() {
    const GREEN: usize = 50;
    const WAKES: usize = 2_000;
    const WAKERS: usize = 3;
    let _limit = TimeLimit::start(LIMIT);
    let counters: Arc<Vec<AtomicUsize>> =
        Arc::new((0..GREEN).map(|_| AtomicUsize::new(0)).collect());
    let waiters: Vec<_> = (0..GREEN)
        .map(|i| {
            let counters = Arc::clone(&counters);
            spawn(move || {
                let mut turns = 0;
                while counters[i].load(Ordering::Acquire) < WAKES * WAKERS {
                    thread::park();
                    turns += 1;
                }
                turns
            })
        })
        .collect();
    let targets: Vec<Thread> = waiters
        .iter()
        .map(|waiter| waiter.thread().clone())
        .collect();
    let wakers: Vec<_> = (0..WAKERS)
        .map(|n| {
            let (counters, targets) = (Arc::clone(&counters), targets.clone());
            std::thread::spawn(move || {
                for round in 0..WAKES {
                    for i in 0..GREEN {
                        let i = (i * 7 + n) % GREEN;
                        counters[i].fetch_add(1, Ordering::AcqRel);
                        targets[i].unpark();
                    }
                    if round % 64 == n {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                }
            })
        })
        .collect();
    for result in joinall(waiters) {
        // The last wake-up finds it either parked or about to look once more.
        assert!(result.unwrap() <= WAKES * WAKERS + 1);
    }
    for waker in wakers {
        waker.join().unwrap();
    }
}

#[test]
fn two_hubs_take_turns() {
    const ROUNDS: usize = 5_000;
    let _limit = TimeLimit::start(LIMIT);
    let turn = Arc::new(AtomicUsize::new(0));
    let (told, names) = mpsc::channel::<Thread>();
    let (tell, name) = mpsc::channel::<Thread>();
    let play = |mine: usize, turn: Arc<AtomicUsize>, other: Thread| {
        for round in 0..ROUNDS {
            while turn.load(Ordering::Acquire) != 2 * round + mine {
                thread::park();
            }
            turn.store(2 * round + mine + 1, Ordering::Release);
            other.unpark();
        }
    };
    let theirs = Arc::clone(&turn);
    let other = std::thread::spawn(move || {
        spawn(move || {
            told.send(thread::current()).unwrap();
            play(1, theirs, name.recv().unwrap());
        })
        .join()
        .unwrap();
    });
    let partner = names.recv().unwrap();
    spawn(move || {
        tell.send(thread::current()).unwrap();
        play(0, turn, partner);
    })
    .join()
    .unwrap();
    other.join().unwrap();
}

#[test]
fn handles_are_joined_by_other_os_threads() {
    let _limit = TimeLimit::start(LIMIT);
    for greenly in [false, true] {
        let handles: Vec<JoinHandle<u64>> = (0..100u64)
            .map(|i| {
                spawn(move || {
                    sleep(Duration::from_micros(i * 31 % 1_000));
                    i * i
                })
            })
            .collect();
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        let root = thread::current();
        let joiner = std::thread::spawn(move || {
            let sum = |handles: Vec<JoinHandle<u64>>| -> u64 {
                handles
                    .into_iter()
                    .map(|handle| handle.join().unwrap())
                    .sum()
            };
            let total = if greenly {
                spawn(move || sum(handles)).join().unwrap()
            } else {
                sum(handles)
            };
            flag.store(true, Ordering::Release);
            root.unpark();
            total
        });
        while !done.load(Ordering::Acquire) {
            thread::park();
        }
        assert_eq!(joiner.join().unwrap(), (0..100).map(|i| i * i).sum());
    }
}

#[test]
fn a_panic_is_joined_by_another_os_thread() {
    let _limit = TimeLimit::start(LIMIT);
    let handle = spawn(|| std::panic::resume_unwind(Box::new(77u8)));
    let joiner = std::thread::spawn(move || *handle.join().unwrap_err().downcast::<u8>().unwrap());
    while !joiner.is_finished() {
        yield_now();
    }
    assert_eq!(joiner.join().unwrap(), 77);
}

#[test]
fn one_socket_serves_two_hubs() {
    const BULK: usize = 4 << 20;
    let _limit = TimeLimit::start(LIMIT);
    let (near, far) = pair();
    let (near, far) = (Arc::new(near), Arc::new(far));
    // It has been waited for on this hub before it is on the other one.
    (&*near).write_all(&[1]).unwrap();
    (&*far).read_exact(&mut [0]).unwrap();
    let reading = Arc::clone(&far);
    let other = std::thread::spawn(move || {
        let mut total = 0;
        let mut buf = vec![0; 64 << 10];
        loop {
            let len = (&*reading).read(&mut buf).unwrap();
            if len == 0 {
                return total;
            }
            total += len;
        }
    });
    let writer = spawn(move || {
        (&*near).write_all(&vec![5; BULK]).unwrap();
        let mut answer = [0];
        near.shutdown(Shutdown::Write).unwrap();
        (&*near).read_exact(&mut answer).unwrap();
        answer
    });
    while !other.is_finished() {
        sleep(Duration::from_millis(1));
    }
    assert_eq!(other.join().unwrap(), BULK);
    (&*far).write_all(&[6]).unwrap();
    assert_eq!(writer.join().unwrap(), [6]);
}

#[test]
fn readers_on_two_hubs_share_one_socket() {
    let _limit = TimeLimit::start(LIMIT);
    let (near, far) = pair();
    let far = Arc::new(far);
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let far = Arc::clone(&far);
            std::thread::spawn(move || {
                let mut total = 0u64;
                let mut byte = [0];
                while (&*far).read(&mut byte).unwrap() == 1 {
                    total += u64::from(byte[0]);
                }
                total
            })
        })
        .collect();
    for round in 0..200u8 {
        (&near).write_all(&[round]).unwrap();
        if round % 16 == 0 {
            sleep(Duration::from_millis(1));
        }
    }
    drop(near);
    let total: u64 = readers
        .into_iter()
        .map(|reader| reader.join().unwrap())
        .sum();
    assert_eq!(total, (0..200).sum());
}

#[test]
fn a_shutdown_from_another_os_thread_wakes_a_reader() {
    let _limit = TimeLimit::start(LIMIT);
    let (near, _far) = pair();
    let near = Arc::new(near);
    let shuts = Arc::clone(&near);
    let reader = spawn(move || (&*near).read(&mut [0]).unwrap());
    yield_now();
    let other = std::thread::spawn(move || shuts.shutdown(Shutdown::Both).unwrap());
    assert_eq!(reader.join().unwrap(), 0);
    other.join().unwrap();
}
