//! Jobs on the pool of OS threads: results, order, limits, idle threads, and whoever waits for them.

#[path = "support/child.rs"]
mod child;
#[path = "support/mod.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use greenhub::blocking::{self, Builder, Pool};
use greenhub::thread::Killed;
use greenhub::{joinall, sleep, spawn, thread, timeout, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(100);

fn main() {
    child::main(
        &[("no_thread_can_be_started", no_thread_can_be_started)],
        &[
            ("other_green_threads_run_meanwhile", || {
                limited(other_green_threads_run_meanwhile)
            }),
            ("any_thread_may_spawn_and_join", || {
                limited(any_thread_may_spawn_and_join)
            }),
            ("a_panic_is_an_error_of_join", || {
                limited(a_panic_is_an_error_of_join)
            }),
            ("jobs_begin_in_order", || limited(jobs_begin_in_order)),
            ("the_limit_is_kept", || limited(the_limit_is_kept)),
            ("threads_are_reused_and_expire", || {
                limited(threads_are_reused_and_expire)
            }),
            ("a_pool_that_is_gone_finishes_its_jobs", || {
                limited(a_pool_that_is_gone_finishes_its_jobs)
            }),
            ("a_detached_job_goes_on", || limited(a_detached_job_goes_on)),
            ("a_waiter_that_is_killed_leaves_the_job", || {
                limited(a_waiter_that_is_killed_leaves_the_job)
            }),
            ("a_queued_job_that_is_killed_never_runs", || {
                limited(a_queued_job_that_is_killed_never_runs)
            }),
            ("a_running_job_that_is_killed_is_abandoned", || {
                limited(a_running_job_that_is_killed_is_abandoned)
            }),
            ("kills_and_starts_race", || limited(kills_and_starts_race)),
            ("a_join_can_time_out", || limited(a_join_can_time_out)),
            ("jobs_do_not_keep_look_ups_waiting", || {
                limited(jobs_do_not_keep_look_ups_waiting)
            }),
            ("a_job_may_use_a_hub_of_its_own", || {
                limited(a_job_may_use_a_hub_of_its_own)
            }),
            ("a_waiter_is_told_that_no_thread_can_be_started", || {
                child::run(
                    "no_thread_can_be_started",
                    // More than the address space.
                    &[("RUST_MIN_STACK", "200000000000000")],
                )
                .exited_with(0);
            }),
        ],
    );
}

fn limited(test: fn()) {
    let _limit = TimeLimit::start(LIMIT);
    test();
}

fn pool(max_threads: usize) -> Pool {
    Builder::new().max_threads(max_threads).build()
}

/// Notes when it is dropped, and where.
#[derive(Debug)]
struct Witness(mpsc::Sender<std::thread::ThreadId>);

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.0.send(std::thread::current().id());
    }
}

fn other_green_threads_run_meanwhile() {
    let (sender, receiver) = mpsc::channel();
    let job = spawn(move || blocking::run(move || receiver.recv().unwrap()));
    let teller = spawn(move || {
        for _ in 0..10 {
            yield_now();
        }
        sender.send(7).unwrap();
    });
    assert_eq!(job.join().unwrap(), 7);
    teller.join().unwrap();
    // From the root as well.
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let counter = spawn(move || {
        while counted.fetch_add(1, Ordering::Relaxed) < 100 {
            yield_now();
        }
    });
    blocking::run(move || {
        while turns.load(Ordering::Relaxed) < 100 {
            std::thread::yield_now();
        }
    });
    counter.join().unwrap();
}

fn any_thread_may_spawn_and_join() {
    let pool = Arc::new(pool(2));
    // A thread without a hub spawns; its handle is joined by green threads of two hubs and by a plain thread.
    let theirs = Arc::clone(&pool);
    let (handles, ids) = std::thread::spawn(move || {
        let handles: Vec<_> = (0..30).map(|n| theirs.spawn(move || n)).collect();
        let ids: Vec<_> = handles.iter().map(|handle| handle.thread().id()).collect();
        (handles, ids)
    })
    .join()
    .unwrap();
    let own = spawn(|| ());
    assert!(!ids.contains(&own.thread().id()));
    assert!((1..ids.len()).all(|n| !ids[..n].contains(&ids[n])));
    let mut thirds = [Vec::new(), Vec::new(), Vec::new()];
    for (n, handle) in handles.into_iter().enumerate() {
        thirds[n % 3].push(handle);
    }
    let [here, greenly, plainly] = thirds;
    let sum = |results: Vec<thread::Result<i32>>| -> i32 {
        results.into_iter().map(Result::unwrap).sum()
    };
    let here = spawn(move || sum(joinall(here)));
    let greenly = std::thread::spawn(move || spawn(move || sum(joinall(greenly))).join().unwrap());
    let plainly = std::thread::spawn(move || sum(joinall(plainly)));
    let total = here.join().unwrap() + greenly.join().unwrap() + plainly.join().unwrap();
    assert_eq!(total, (0..30).sum());
}

fn a_panic_is_an_error_of_join() {
    let payload = blocking::spawn(|| panic!("in the job")).join().unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"in the job"));
    let job = spawn(|| blocking::run(|| panic!("in the other job")));
    let payload = job.join().unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"in the other job"));
    // Neither is the pool harmed, nor its counting.
    let pool = pool(1);
    assert!(pool.spawn(|| panic!("a third")).join().is_err());
    assert!(!pool.run(std::thread::panicking));
    assert_eq!(pool.threads(), 1);
}

fn jobs_begin_in_order() {
    let pool = pool(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let (start, started) = mpsc::channel::<()>();
    let first = pool.spawn(move || started.recv().unwrap());
    let jobs: Vec<_> = (0..50)
        .map(|n| {
            let order = Arc::clone(&order);
            pool.spawn(move || order.lock().unwrap().push(n))
        })
        .collect();
    assert!(pool.queued() >= 50);
    start.send(()).unwrap();
    first.join().unwrap();
    assert!(joinall(jobs).iter().all(Result::is_ok));
    assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
}

fn the_limit_is_kept() {
    const THREADS: usize = 3;
    let pool = pool(THREADS);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let jobs: Vec<_> = (0..60)
        .map(|_| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            pool.spawn(move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
                running.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    assert!(joinall(jobs).iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::SeqCst), THREADS);
    assert_eq!(pool.threads(), THREADS);
}

fn threads_are_reused_and_expire() {
    let pool = Builder::new()
        .name("tested pool")
        .keep_alive(Duration::from_millis(50))
        .build();
    assert_eq!(pool.threads(), 0);
    let me = || {
        (
            std::thread::current().id(),
            std::thread::current().name().map(String::from),
        )
    };
    let (first, name) = pool.run(me);
    assert_eq!(name.as_deref(), Some("tested pool"));
    assert_ne!(first, std::thread::current().id());
    // The next one may come before the last thread is idle again, but not always.
    while pool.run(me).0 != pool.run(me).0 {}
    let start = Instant::now();
    pool.run(me);
    while pool.threads() > 0 {
        sleep(Duration::from_millis(1));
    }
    assert!(start.elapsed() >= Duration::from_millis(50), "it was kept");
    assert_eq!(pool.run(|| 5), 5, "another one is started");
}

fn a_pool_that_is_gone_finishes_its_jobs() {
    let (start, started) = mpsc::channel::<()>();
    let pool = pool(1);
    let first = pool.spawn(move || started.recv().unwrap());
    let jobs: Vec<_> = (0..10).map(|n| pool.spawn(move || n)).collect();
    drop(pool);
    start.send(()).unwrap();
    first.join().unwrap();
    let results: i32 = joinall(jobs).into_iter().map(Result::unwrap).sum();
    assert_eq!(results, 45);
    // An idle one takes its threads with it, however patient they are.
    let (ended, end) = mpsc::channel();
    let pool = Builder::new().keep_alive(Duration::MAX).build();
    thread_local!(static LOCAL: std::cell::RefCell<Option<Witness>> = const { std::cell::RefCell::new(None) });
    pool.run(move || LOCAL.set(Some(Witness(ended))));
    assert!(end.try_recv().is_err());
    drop(pool);
    end.recv().unwrap();
}

fn a_detached_job_goes_on() {
    let (start, started) = mpsc::channel::<()>();
    let (dropped, drops) = mpsc::channel();
    let job = blocking::spawn(move || {
        started.recv().unwrap();
        Witness(dropped)
    });
    drop(job);
    assert!(drops.try_recv().is_err());
    start.send(()).unwrap();
    // The result nobody wants is dropped by the thread that made it.
    assert_ne!(drops.recv().unwrap(), std::thread::current().id());
}

fn a_waiter_that_is_killed_leaves_the_job() {
    let (start, started) = mpsc::channel::<()>();
    let (done, end) = mpsc::channel();
    let job = move || {
        started.recv().unwrap();
        Witness(done)
    };
    let waiter = spawn(move || blocking::run(job));
    yield_now();
    waiter.kill();
    assert!(waiter.join().unwrap_err().is::<Killed>());
    assert!(end.try_recv().is_err());
    start.send(()).unwrap();
    assert_ne!(end.recv().unwrap(), std::thread::current().id());
    // So does one that has no more time.
    let (start, started) = mpsc::channel::<()>();
    let (done, end) = mpsc::channel();
    let job = move || {
        started.recv().unwrap();
        Witness(done)
    };
    let elapsed = timeout(Duration::from_millis(5), || drop(blocking::run(job)));
    assert!(elapsed.is_err());
    start.send(()).unwrap();
    end.recv().unwrap();
}

fn payload_of<T>(result: thread::Result<T>) -> &'static str {
    let killed = result.err().unwrap().downcast::<Killed>().unwrap();
    *killed.into_payload().unwrap().downcast().unwrap()
}

fn a_queued_job_that_is_killed_never_runs() {
    let pool = pool(1);
    let (start, started) = mpsc::channel::<()>();
    let busy = pool.spawn(move || started.recv().unwrap());
    let (dropped, drops) = mpsc::channel();
    let witness = Witness(dropped);
    let job = pool.spawn(move || {
        let _held = witness;
        unreachable!("it was killed before")
    });
    job.kill_with("not needed");
    job.kill_with("another reason");
    assert!(job.is_finished());
    assert_eq!(drops.recv().unwrap(), std::thread::current().id());
    assert_eq!(payload_of(job.join()), "not needed");
    // From another thread, while somebody joins it here.
    let job = Arc::new(pool.spawn(|| unreachable!("it was killed before")));
    let theirs = Arc::clone(&job);
    let killer = std::thread::spawn(move || theirs.kill_nowait());
    while !job.is_finished() {
        sleep(Duration::from_micros(100));
    }
    killer.join().unwrap();
    assert!(
        Arc::into_inner(job)
            .unwrap()
            .join()
            .unwrap_err()
            .is::<Killed>()
    );
    start.send(()).unwrap();
    busy.join().unwrap();
}

fn a_running_job_that_is_killed_is_abandoned() {
    let (begin, begun) = mpsc::channel();
    let (start, started) = mpsc::channel::<()>();
    let (dropped, drops) = mpsc::channel();
    let job = blocking::spawn(move || {
        begin.send(()).unwrap();
        started.recv().unwrap();
        Witness(dropped)
    });
    begun.recv().unwrap();
    let joiner = spawn(move || {
        job.kill_with("too late");
        job.kill();
        job.join()
    });
    assert_eq!(payload_of(joiner.join().unwrap()), "too late");
    assert!(drops.try_recv().is_err());
    start.send(()).unwrap();
    assert_ne!(drops.recv().unwrap(), std::thread::current().id());
    // After its end nothing happens.
    let job = blocking::spawn(|| 5);
    while !job.is_finished() {
        sleep(Duration::from_micros(100));
    }
    job.kill();
    assert_eq!(job.join().unwrap(), 5);
}

fn kills_and_starts_race() {
    const ROUNDS: usize = 3_000;
    let pool = pool(2);
    let (ran, dropped) = (Arc::new(AtomicUsize::new(0)), mpsc::channel());
    let (mut returned, mut killed) = (0, 0);
    for round in 0..ROUNDS {
        let counter = Arc::clone(&ran);
        let witness = Witness(dropped.0.clone());
        let job = pool.spawn(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            (round, witness)
        });
        for _ in 0..round % 64 * 8 {
            std::hint::spin_loop();
        }
        job.kill_nowait();
        match job.join() {
            Ok((result, _)) => {
                assert_eq!(result, round);
                returned += 1;
            }
            Err(payload) => {
                assert!(payload.is::<Killed>());
                killed += 1;
            }
        }
    }
    assert_eq!(returned + killed, ROUNDS);
    // Each closure or result has been dropped once, by whomever.
    for _ in 0..ROUNDS {
        dropped.1.recv().unwrap();
    }
    assert!(dropped.1.try_recv().is_err());
    assert!(ran.load(Ordering::Relaxed) >= returned);
}

fn a_join_can_time_out() {
    let (start, started) = mpsc::channel::<()>();
    let job = blocking::spawn(move || started.recv().unwrap());
    let begin = Instant::now();
    let job = job.join_timeout(Duration::from_millis(5)).unwrap_err();
    assert!(begin.elapsed() >= Duration::from_millis(5));
    assert!(!job.is_finished());
    start.send(()).unwrap();
    job.join().unwrap();
}

fn jobs_do_not_keep_look_ups_waiting() {
    use greenhub::net::ToSocketAddrs;
    let (start, started) = mpsc::channel::<()>();
    let started = Arc::new(Mutex::new(started));
    let jobs: Vec<_> = (0..40)
        .map(|_| {
            let started = Arc::clone(&started);
            blocking::spawn(move || started.lock().unwrap().recv().unwrap())
        })
        .collect();
    assert!(("localhost", 1).to_socket_addrs().unwrap().next().is_some());
    for _ in &jobs {
        start.send(()).unwrap();
    }
    assert!(joinall(jobs).iter().all(Result::is_ok));
}

fn a_job_may_use_a_hub_of_its_own() {
    let ran = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ran);
    let sum = blocking::run(move || {
        let parts: Vec<_> = (0..10)
            .map(|n| {
                spawn(move || {
                    sleep(Duration::from_micros(100));
                    n
                })
            })
            .collect();
        flag.store(true, Ordering::Relaxed);
        joinall(parts).into_iter().map(Result::unwrap).sum::<i32>()
    });
    assert_eq!(sum, 45);
    assert!(ran.load(Ordering::Relaxed));
}

fn no_thread_can_be_started() {
    let (dropped, drops) = mpsc::channel();
    let witness = Witness(dropped);
    let error = blocking::shared()
        .try_spawn(move || drop(witness))
        .expect_err("there is no room for its stack");
    assert!(error.to_string().contains("no thread"), "{error}");
    assert_eq!(drops.recv().unwrap(), std::thread::current().id());
    let refused = catch_unwind(AssertUnwindSafe(|| blocking::run(|| ())));
    let message = refused.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("no thread"), "{message}");
    // The pool is as it was.
    assert_eq!(blocking::shared().queued(), 0);
    assert_eq!(blocking::shared().threads(), 0);
}
