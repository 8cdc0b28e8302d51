//! `Hubs`: kills, time limits, and the end.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use greenhub::hubs::{Builder, Closed};
use greenhub::thread::{self, JoinHandle, Killed};
use greenhub::{Hubs, joinall, sleep, spawn, timeout, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(100);

/// Longer than anything here takes on an overloaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// The number of OS threads whose name begins so.
fn threads_called(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|comm| comm.starts_with(name))
        .count()
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
fn a_kill_before_the_start() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(1);
    let (release, busy) = occupy(&hubs, 0);
    let drops = Arc::new(AtomicUsize::new(0));
    let witness = Witness(Arc::clone(&drops));
    let queued = hubs.spawn(move || drop(witness));
    let witness = Witness(Arc::clone(&drops));
    let placed = hubs.spawn_on(0, move || drop(witness));
    let joined = spawn(move || {
        queued.kill_with(3u8);
        placed.kill();
        (queued.join(), placed.join())
    });
    let (queued, placed) = joined.join().unwrap();
    let killed = queued.unwrap_err().downcast::<Killed>().unwrap();
    assert_eq!(*killed.into_payload().unwrap().downcast::<u8>().unwrap(), 3);
    assert!(is_killed(placed));
    assert_eq!(drops.load(Ordering::SeqCst), 2);
    assert_eq!(hubs.tasks(), 1, "the one that keeps the hub busy");
    release.send(()).unwrap();
    busy.join().unwrap();
    assert_eq!(hubs.spawn(|| 5).join().unwrap(), 5);
}

#[test]
fn kills_and_starts_race() {
    const ROUNDS: usize = 4_000;
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(2);
    let (drops, ran) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (mut returned, mut killed) = (0, 0);
    for round in 0..ROUNDS {
        let (witness, count) = (Witness(Arc::clone(&drops)), Arc::clone(&ran));
        let handle = hubs.spawn(move || {
            let _held = witness;
            count.fetch_add(1, Ordering::SeqCst);
            if round % 2 == 0 {
                yield_now();
            }
        });
        for _ in 0..round % 128 * 8 {
            std::hint::spin_loop();
        }
        if round % 3 == 0 {
            handle.kill();
            assert!(handle.is_finished());
        } else {
            handle.kill_nowait();
        }
        match handle.join() {
            Ok(()) => returned += 1,
            payload => {
                assert!(is_killed(payload));
                killed += 1;
            }
        }
    }
    assert_eq!(returned + killed, ROUNDS);
    assert!(ran.load(Ordering::SeqCst) >= returned);
    hubs.join();
    assert_eq!(drops.load(Ordering::SeqCst), ROUNDS);
    assert_eq!(hubs.tasks(), 0);
}

#[test]
fn a_join_of_all_can_time_out_and_be_killed() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Arc::new(Hubs::new(1));
    let parked = hubs.spawn(thread::park);
    let start = Instant::now();
    assert!(!hubs.join_timeout(Duration::from_millis(5)));
    assert!(start.elapsed() >= Duration::from_millis(5));
    let theirs = Arc::clone(&hubs);
    let joiner = spawn(move || theirs.join());
    yield_now();
    joiner.kill();
    assert!(is_killed(joiner.join()));
    assert!(timeout(Duration::from_millis(1), || hubs.join()).is_err());
    parked.thread().unpark();
    hubs.join();
    assert!(hubs.join_timeout(Duration::ZERO));
}

#[test]
fn a_shutdown_lets_finish() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(2);
    let handles: Vec<_> = (0..50)
        .map(|n| hubs.spawn(move || sleep(Duration::from_micros(n * 100))))
        .collect();
    let shutdown = hubs.shutdown(PATIENCE);
    assert_eq!((shutdown.killed, shutdown.left), (0, 0));
    assert!(joinall(handles).iter().all(Result::is_ok));
    let _: Closed = hubs.try_spawn(|| ()).unwrap_err();
    let _: Closed = hubs.try_spawn_on(0, || ()).unwrap_err();
    let refused = catch_unwind(AssertUnwindSafe(|| hubs.spawn(|| ())));
    let message = refused.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("shut down"), "{message}");
    // Once more: nothing happens.
    let shutdown = hubs.shutdown(Duration::ZERO);
    assert_eq!((shutdown.killed, shutdown.left), (0, 0));
    hubs.join();
}

#[test]
fn a_shutdown_kills_what_is_left() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(2);
    let drops = Arc::new(AtomicUsize::new(0));
    let begun = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = (0..20)
        .map(|n| {
            let (witness, begun) = (Witness(Arc::clone(&drops)), Arc::clone(&begun));
            hubs.spawn(move || {
                // Destructors may wait, and a child that nobody counts holds something, too.
                struct Waits(Witness);
                impl Drop for Waits {
                    fn drop(&mut self) {
                        sleep(Duration::from_millis(1));
                        // What is spawned now is killed, too.
                        let _ = spawn(thread::park).join();
                    }
                }
                let waits = Waits(witness);
                let child = waits.0.clone();
                spawn(move || {
                    let _held = child;
                    thread::park();
                });
                yield_now();
                begun.fetch_add(1, Ordering::SeqCst);
                match n % 3 {
                    0 => thread::park(),
                    1 => sleep(PATIENCE),
                    _ => spawn(thread::park).join().unwrap(),
                }
            })
        })
        .collect();
    while begun.load(Ordering::SeqCst) < 20 {
        sleep(Duration::from_millis(1));
    }
    let start = Instant::now();
    let shutdown = hubs.shutdown(Duration::from_millis(20));
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert_eq!((shutdown.killed, shutdown.left), (20, 0));
    assert_eq!(drops.load(Ordering::SeqCst), 40, "its own and its child's");
    assert!(joinall(handles).into_iter().all(is_killed));
}

#[test]
fn a_shutdown_kills_what_has_not_started() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(1);
    let (release, _busy) = occupy(&hubs, 0);
    let drops = Arc::new(AtomicUsize::new(0));
    let queued: Vec<_> = (0..100)
        .map(|n| {
            let witness = Witness(Arc::clone(&drops));
            let never = move || {
                drop(witness);
                unreachable!("it is killed before it starts")
            };
            if n % 2 == 0 {
                hubs.spawn(never)
            } else {
                hubs.spawn_on(0, never)
            }
        })
        .collect();
    let shutting = std::thread::spawn(move || hubs.shutdown(Duration::from_millis(10)));
    // By now the limit has passed, or nearly so; the hub is busy for longer.
    std::thread::sleep(Duration::from_millis(200));
    drop(release);
    let shutdown = shutting.join().unwrap();
    assert_eq!(shutdown.left, 0);
    assert!((100..=101).contains(&shutdown.killed), "{shutdown:?}");
    assert!(joinall(queued).into_iter().all(is_killed));
    assert_eq!(drops.load(Ordering::SeqCst), 100);
}

#[test]
fn what_never_waits_is_left_behind() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Hubs::new(2);
    let (release, busy) = occupy(&hubs, 0);
    let parked = hubs.spawn_on(1, thread::park);
    let start = Instant::now();
    let shutdown = hubs.shutdown(Duration::ZERO);
    assert!(
        start.elapsed() < Duration::from_secs(50),
        "it is not waited for"
    );
    assert_eq!(shutdown.left, 1);
    assert!(is_killed(parked.join()));
    // It goes on to its end, and then the hubs end.
    drop(release);
    busy.join().unwrap();
    hubs.join();
    assert_eq!(hubs.shutdown(PATIENCE).left, 0);
}

#[test]
fn a_drop_kills() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Builder::new().name("dropped").hubs(2).build().unwrap();
    assert_eq!(threads_called("dropped"), 2);
    let drops = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = (0..10)
        .map(|_| {
            let witness = Witness(Arc::clone(&drops));
            hubs.spawn(move || {
                let _held = witness;
                thread::park();
            })
        })
        .collect();
    drop(hubs);
    assert_eq!(drops.load(Ordering::SeqCst), 10);
    assert!(joinall(handles).into_iter().all(is_killed));
    assert_eq!(threads_called("dropped"), 0, "they are gone");
}

#[test]
fn a_drop_by_one_that_is_killed() {
    let _limit = TimeLimit::start(LIMIT);
    let drops = Arc::new(AtomicUsize::new(0));
    let witness = Witness(Arc::clone(&drops));
    let owner = spawn(move || {
        let hubs = Hubs::new(1);
        hubs.spawn(move || {
            let _held = witness;
            thread::park();
        });
        thread::park();
    });
    yield_now();
    owner.kill();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn a_drop_on_one_of_its_own_hubs() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Arc::new(Hubs::new(2));
    let drops = Arc::new(AtomicUsize::new(0));
    let other = hubs.spawn_on(0, thread::park);
    let (last, witness) = (Arc::clone(&hubs), Witness(Arc::clone(&drops)));
    let (go, gone) = mpsc::channel::<()>();
    let dropper = hubs.spawn_on(1, move || {
        let _held = witness;
        gone.recv().unwrap();
        drop(last);
        thread::park();
        unreachable!("it was killed");
    });
    drop(hubs);
    go.send(()).unwrap();
    assert!(is_killed(dropper.join()));
    assert!(is_killed(other.join()));
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn nobody_waits_for_the_end_of_its_own_hub() {
    let _limit = TimeLimit::start(LIMIT);
    let hubs = Arc::new(Hubs::new(2));
    for n in 0..3 {
        let theirs = Arc::clone(&hubs);
        let handle = hubs.spawn(move || match n {
            0 => theirs.join(),
            1 => drop(theirs.join_timeout(Duration::ZERO)),
            _ => drop(theirs.shutdown(Duration::ZERO)),
        });
        let message = handle.join().unwrap_err().downcast::<&str>().unwrap();
        assert!(message.contains("wait for itself"), "{message}");
    }
    // Those of others may be waited for.
    let inner = hubs.spawn(|| {
        let hubs = Hubs::new(1);
        let handle = hubs.spawn(|| sleep(Duration::from_millis(1)));
        hubs.join();
        assert!(handle.is_finished());
        Hubs::current().is_some()
    });
    assert!(inner.join().unwrap());
}

#[test]
fn spawns_race_with_the_end() {
    let _limit = TimeLimit::start(LIMIT);
    for round in 0..60u64 {
        let hubs = Arc::new(Hubs::new(2));
        let spawners: Vec<_> = (0..2)
            .map(|spawner| {
                let hubs = Arc::clone(&hubs);
                std::thread::spawn(move || {
                    let mut handles = Vec::new();
                    while let Ok(handle) = if handles.len() % 3 == spawner {
                        hubs.try_spawn_on(spawner, yield_now)
                    } else {
                        hubs.try_spawn(yield_now)
                    } {
                        handles.push(handle);
                        // On a busy machine the end may be long in coming.
                        if handles.len() > 300 {
                            std::thread::sleep(Duration::from_micros(50));
                        }
                    }
                    handles
                })
            })
            .collect();
        sleep(Duration::from_micros(round * 13 % 400));
        let shutdown = hubs.shutdown(Duration::from_micros(round * 7 % 200));
        assert_eq!(shutdown.left, 0);
        let mut killed = 0;
        for spawner in spawners {
            for handle in spawner.join().unwrap() {
                // Each has an end, in either way.
                assert!(handle.is_finished());
                killed += usize::from(is_killed(handle.join()));
            }
        }
        assert!(killed <= shutdown.killed, "{killed} of {}", shutdown.killed);
    }
}
