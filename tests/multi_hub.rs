//! `Hubs`: who takes what, wake-ups, and what works between hubs.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use greenhub::hubs::Builder;
use greenhub::net::{TcpListener, TcpStream};
use greenhub::thread::{self, JoinHandle, Killed, Thread};
use greenhub::{Hubs, joinall, sleep, spawn, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(100);

/// Counts its drops.
#[derive(Clone)]
struct Witness(Arc<AtomicUsize>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn is_killed<T>(result: thread::Result<T>) -> bool {
    result.is_err_and(|payload| payload.is::<Killed>())
}

/// Occupies a hub, without letting others run, until the sender is used or dropped.
fn occupy(hubs: &Hubs, index: usize) -> (mpsc::Sender<()>, JoinHandle<()>) {
    let (release, released) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let busy = hubs.spawn_on(index, move || {
        begin.send(()).unwrap();
        let _ = released.recv();
    });
    begun.recv().unwrap();
    (release, busy)
}

#[test]
fn anybody_may_spawn_and_join() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Arc::new(Hubs::new(2));
    let sum = |hubs: &Hubs| -> u64 {
        let parts = (0..100u64).map(|n| hubs.spawn(move || n));
        joinall(parts).into_iter().map(Result::unwrap).sum()
    };
    assert_eq!(sum(&hubs), 4950);
    let (green, plain, inside) = (Arc::clone(&hubs), Arc::clone(&hubs), Arc::clone(&hubs));
    let green = spawn(move || sum(&green));
    let plain = std::thread::spawn(move || sum(&plain));
    let inside = hubs.spawn(move || sum(&inside));
    assert_eq!(green.join().unwrap(), 4950);
    assert_eq!(inside.join().unwrap(), 4950);
    assert_eq!(plain.join().unwrap(), 4950);
    // A thread that never waits itself, hence has no hub, may spawn as well.
    let theirs = Arc::clone(&hubs);
    let handle = std::thread::spawn(move || theirs.spawn(|| 7))
        .join()
        .unwrap();
    assert_eq!(handle.join().unwrap(), 7);
}

#[test]
fn ids_are_unique_and_names_are_given() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Builder::new().name("tested").hubs(2).build().unwrap();
    let (sender, ids) = mpsc::channel();
    let handles: Vec<_> = (0..500)
        .map(|_| {
            let sender = sender.clone();
            hubs.spawn(move || {
                sender.send(thread::current().id()).unwrap();
                sender.send(spawn(|| ()).thread().id()).unwrap();
            })
        })
        .collect();
    let mut known: Vec<_> = handles.iter().map(|handle| handle.thread().id()).collect();
    drop(sender);
    hubs.join();
    for id in ids {
        known.push(id);
    }
    let distinct: std::collections::HashSet<_> = known.iter().collect();
    // Each green thread was seen from outside and from inside; each had a child.
    assert_eq!((known.len(), distinct.len()), (1500, 1000));
    for index in 0..2 {
        let name = hubs.spawn_on(index, || std::thread::current().name().map(String::from));
        assert_eq!(name.join().unwrap(), Some(format!("tested-{index}")));
    }
}

#[test]
fn the_default_is_a_hub_for_each_core() {
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(Builder::new().build().unwrap().len(), cores);
    assert!(catch_unwind(|| Hubs::new(0)).is_err());
}

#[test]
fn every_idle_hub_takes_its_share() {
    let _limit = TimeLimit::start(LIMIT);
    const HUBS: usize = 4;
    let hubs = Hubs::new(HUBS);
    // Each blocks its OS thread until the others are there: they can only meet on different hubs.
    for _ in 0..50 {
        let barrier = Arc::new(Barrier::new(HUBS));
        let meeting: Vec<_> = (0..HUBS)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                hubs.spawn(move || {
                    barrier.wait();
                    Hubs::current().unwrap()
                })
            })
            .collect();
        let mut met: Vec<_> = joinall(meeting).into_iter().map(Result::unwrap).collect();
        met.sort_unstable();
        assert_eq!(met, [0, 1, 2, 3]);
    }
}

#[test]
fn a_busy_hub_holds_nothing_up_but_its_own() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(2);
    let (release, busy) = occupy(&hubs, 0);
    let own = hubs.spawn_on(0, Hubs::current);
    let taken: Vec<_> = (0..200).map(|_| hubs.spawn(Hubs::current)).collect();
    for place in joinall(taken) {
        assert_eq!(place.unwrap(), Some(1));
    }
    assert!(!own.is_finished());
    release.send(()).unwrap();
    assert_eq!(own.join().unwrap(), Some(0));
    busy.join().unwrap();
}

#[test]
fn work_is_taken_while_every_hub_is_busy_with_turns() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(2);
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..2)
        .map(|index| {
            let stop = Arc::clone(&stop);
            hubs.spawn_on(index, move || {
                while !stop.load(Ordering::Relaxed) {
                    yield_now();
                }
            })
        })
        .collect();
    let late: Vec<_> = (0..20).map(|n| hubs.spawn(move || n)).collect();
    let sum: i32 = joinall(late).into_iter().map(Result::unwrap).sum();
    assert_eq!(sum, 190);
    stop.store(true, Ordering::Relaxed);
    assert!(joinall(busy).iter().all(Result::is_ok));
}

#[test]
fn placed_work_starts_in_order() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(2);
    let order = Arc::new(Mutex::new(Vec::new()));
    for n in 0..500 {
        let order = Arc::clone(&order);
        hubs.spawn_on(1, move || {
            assert_eq!(Hubs::current(), Some(1));
            order.lock().unwrap().push(n);
        });
    }
    hubs.join();
    assert_eq!(*order.lock().unwrap(), (0..500).collect::<Vec<_>>());
    assert!(catch_unwind(AssertUnwindSafe(|| hubs.spawn_on(2, || ()))).is_err());
}

#[test]
fn no_wake_up_is_lost() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Arc::new(Hubs::new(2));
    // The hubs fall asleep, or are about to, each time.
    let producers: Vec<_> = (0..3)
        .map(|producer| {
            let hubs = Arc::clone(&hubs);
            std::thread::spawn(move || {
                for round in 0..4_000usize {
                    let handle = if (round + producer) % 5 == 0 {
                        hubs.spawn_on(round % 2, move || round)
                    } else {
                        hubs.spawn(move || round)
                    };
                    assert_eq!(handle.join().unwrap(), round);
                    for _ in 0..(round * 7 + producer) % 64 * 16 {
                        std::hint::spin_loop();
                    }
                }
            })
        })
        .collect();
    for producer in producers {
        producer.join().unwrap();
    }
    hubs.join();
    assert_eq!(hubs.tasks(), 0);
}

/// Times that the threads of this name have gone to sleep.
fn sleeps_of(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let statuses =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
    statuses
        .filter(|status| {
            status
                .lines()
                .next()
                .is_some_and(|line| line.contains(name))
        })
        .map(|status| {
            let line = status
                .lines()
                .find(|line| line.starts_with("voluntary_ctxt"))
                .unwrap();
            line.split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<usize>()
                .unwrap()
        })
        .sum()
}

#[test]
fn one_idle_hub_is_woken_not_all() {
    const ROUNDS: usize = 200;
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Builder::new().name("sleepers").hubs(6).build().unwrap();
    hubs.spawn(|| ()).join().unwrap();
    let before = sleeps_of("sleepers");
    for _ in 0..ROUNDS {
        hubs.spawn(|| ()).join().unwrap();
    }
    let sleeps = sleeps_of("sleepers") - before;
    assert!(sleeps > 0, "the name is that of the threads");
    assert!(sleeps < ROUNDS * 3, "{sleeps} in {ROUNDS} rounds");
    // Quiet ones are not woken at all.
    sleep(Duration::from_millis(300));
    let before = sleeps_of("sleepers");
    sleep(Duration::from_millis(300));
    assert_eq!(sleeps_of("sleepers"), before);
}

#[test]
fn green_threads_stay_on_their_hub_and_share_what_is_not_send() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(3);
    let handles: Vec<_> = (0..30)
        .map(|_| {
            hubs.spawn(|| {
                let place = Hubs::current();
                let thread = std::thread::current().id();
                let shared = Rc::new(Cell::new(0));
                let children: Vec<_> = (0..10)
                    .map(|n| {
                        let shared = Rc::clone(&shared);
                        spawn(move || {
                            sleep(Duration::from_micros(n * 50));
                            shared.set(shared.get() + n);
                            std::thread::current().id()
                        })
                    })
                    .collect();
                assert!(
                    joinall(children)
                        .into_iter()
                        .all(|id| id.unwrap() == thread)
                );
                assert_eq!(Hubs::current(), place);
                shared.get()
            })
        })
        .collect();
    for sum in joinall(handles) {
        assert_eq!(sum.unwrap(), 45);
    }
}

#[test]
fn a_tree_of_spawns_is_joined() {
    fn grow(hubs: &Arc<Hubs>, leaves: &Arc<AtomicUsize>, depth: u32) {
        if depth == 0 {
            leaves.fetch_add(1, Ordering::Relaxed);
            return;
        }
        for _ in 0..3 {
            let (ours, theirs) = (Arc::clone(hubs), Arc::clone(leaves));
            hubs.spawn(move || grow(&ours, &theirs, depth - 1));
        }
    }
    let _limit = TimeLimit::start(LIMIT);
    let (hubs, leaves) = (Arc::new(Hubs::new(2)), Arc::default());
    grow(&hubs, &leaves, 7);
    hubs.join();
    assert_eq!(leaves.load(Ordering::Relaxed), 3usize.pow(7));
    assert_eq!(hubs.tasks(), 0);
}

#[test]
fn a_handle_is_finished_when_the_join_of_all_returns() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(2);
    for _ in 0..2_000 {
        let handle = hubs.spawn(|| ());
        hubs.join();
        assert!(handle.is_finished());
    }
}

#[test]
fn panics_are_contained() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(1);
    let payload = hubs.spawn(|| panic!("of a task")).join().unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"of a task"));
    hubs.spawn(|| std::panic::resume_unwind(Box::new(Witness(Arc::default()))));
    assert_eq!(hubs.spawn(|| 5).join().unwrap(), 5);
    assert_eq!(hubs.shutdown(LIMIT).killed, 0);
}

#[test]
fn handles_work_between_hubs() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Arc::new(Hubs::new(2));
    // Joined by the other hub: before it has started, while it waits, and after its end.
    for delay in [0, 50, 2_000] {
        let task = hubs.spawn_on(0, move || {
            sleep(Duration::from_micros(500));
            8
        });
        let joiner = hubs.spawn_on(1, move || {
            sleep(Duration::from_micros(delay));
            task.join().unwrap()
        });
        assert_eq!(joiner.join().unwrap(), 8);
    }
    // Joiners that time out or are killed leave it as it is.
    let parked = Arc::new(hubs.spawn_on(0, thread::park));
    let impatient = hubs.spawn_on(1, || {
        let task = spawn(thread::park);
        let task = task.join_timeout(Duration::from_millis(1)).unwrap_err();
        task.kill();
        is_killed(task.join())
    });
    assert!(impatient.join().unwrap());
    let (other, begun) = (Arc::clone(&parked), Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&begun);
    let joiner = hubs.spawn_on(1, move || {
        flag.store(true, Ordering::Release);
        // Holds the handle, and with it the other one, until it is killed.
        let _held = other;
        thread::park();
        thread::park();
    });
    while !begun.load(Ordering::Acquire) {
        sleep(Duration::from_micros(100));
    }
    joiner.kill();
    assert!(is_killed(joiner.join()));
    assert!(!parked.is_finished());
    parked.thread().unpark();
    Arc::into_inner(parked).unwrap().join().unwrap();
}

#[test]
fn unparks_cross_hubs() {
    const ROUNDS: usize = 5_000;
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(2);
    let turn = Arc::new(AtomicUsize::new(0));
    let play = |mine: usize, turn: Arc<AtomicUsize>, other: Thread| {
        for round in 0..ROUNDS {
            while turn.load(Ordering::Acquire) != 2 * round + mine {
                thread::park();
            }
            turn.store(2 * round + mine + 1, Ordering::Release);
            other.unpark();
        }
    };
    let (tell, told) = mpsc::channel::<Thread>();
    let theirs = Arc::clone(&turn);
    let first = hubs.spawn_on(0, move || {
        // Blocks the hub, which has nothing else to do.
        let other = told.recv().unwrap();
        play(0, theirs, other);
    });
    let first_thread = first.thread().clone();
    let second = hubs.spawn_on(1, move || {
        tell.send(thread::current()).unwrap();
        play(1, turn, first_thread);
    });
    first.join().unwrap();
    second.join().unwrap();
}

#[test]
fn sockets_move_to_hubs() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Accepted here, served there; the clients are elsewhere again.
    let clients: Vec<_> = (0..40u8)
        .map(|n| {
            hubs.spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                for round in 0..20 {
                    stream.write_all(&[n, round]).unwrap();
                    let mut answer = [0; 2];
                    stream.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, [n, round]);
                }
            })
        })
        .collect();
    for _ in 0..clients.len() {
        let (mut stream, _) = listener.accept().unwrap();
        hubs.spawn(move || {
            let mut word = [0; 2];
            while stream.read_exact(&mut word).is_ok() {
                stream.write_all(&word).unwrap();
            }
        });
    }
    assert!(joinall(clients).iter().all(Result::is_ok));
    hubs.join();
}

#[test]
fn channels_and_events_work_between_hubs() {
    use greenhub::event::Event;
    use greenhub::sync::mpsc;
    const ROUNDS: usize = 2_000;
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(2);
    // To and fro, so that each waits for the other.
    let (there, at_there) = mpsc::channel::<usize>();
    let (back, at_back) = mpsc::sync_channel(0);
    hubs.spawn_on(0, move || {
        for item in at_there {
            back.send(item + 1).unwrap();
        }
    });
    let near = hubs.spawn_on(1, move || {
        for item in 0..ROUNDS {
            there.send(item).unwrap();
            assert_eq!(at_back.recv(), Ok(item + 1));
        }
    });
    near.join().unwrap();
    // From everywhere to one, and one to all.
    let (sender, receiver) = mpsc::sync_channel(4);
    let go = Arc::new(Event::new());
    for producer in 0..20 {
        let (sender, go) = (sender.clone(), Arc::clone(&go));
        hubs.spawn(move || {
            go.wait();
            for item in 0..50 {
                sender.send(producer * 50 + item).unwrap();
            }
        });
    }
    drop(sender);
    let consumer = hubs.spawn(move || {
        let mut items: Vec<_> = receiver.iter().collect();
        items.sort_unstable();
        items
    });
    go.set();
    assert_eq!(consumer.join().unwrap(), (0..1_000).collect::<Vec<_>>());
    hubs.join();
}

#[test]
fn locks_are_shared_between_hubs() {
    use greenhub::sync::{Condvar, Mutex, Semaphore};
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(2);
    let (count, permits) = (
        Arc::new((Mutex::new(0), Condvar::new())),
        Arc::new(Semaphore::new(3)),
    );
    let inside = Arc::new(AtomicUsize::new(0));
    for n in 0..40 {
        let (count, permits, inside) = (
            Arc::clone(&count),
            Arc::clone(&permits),
            Arc::clone(&inside),
        );
        hubs.spawn_on(n % 2, move || {
            for _ in 0..25 {
                let permit = permits.acquire();
                assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                yield_now();
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(permit);
                // Held across a switch.
                let mut count_now = count.0.lock().unwrap();
                let before = *count_now;
                yield_now();
                *count_now = before + 1;
                count.1.notify_one();
            }
        });
    }
    let all = count
        .1
        .wait_while(count.0.lock().unwrap(), |count| *count < 1_000);
    assert_eq!(*all.unwrap(), 1_000);
}
