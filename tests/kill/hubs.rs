//! Kills from other OS threads, whatever the hub does at the moment.

use super::*;

/// An OS thread whose root waits until it is unparked, with a parked green thread on it.
fn hub() -> (std::thread::JoinHandle<()>, thread::Thread, JoinHandle<()>) {
    let (send, receive) = mpsc::channel();
    let hub = std::thread::spawn(move || {
        let (handle, _) = parked();
        send.send((thread::current(), handle)).unwrap();
        thread::park();
    });
    let (root, handle) = receive.recv().unwrap();
    (hub, root, handle)
}

#[test]
fn an_idle_hub_kills() {
    let _limit = TimeLimit::start(LIMIT);
    let (hub, root, handle) = hub();
    // After a tenth of a second it waits for as long as it takes.
    std::thread::sleep(Duration::from_millis(150));
    handle.kill_with("from afar");
    assert!(killed(handle.join()).payload().unwrap().is::<&str>());
    root.unpark();
    hub.join().unwrap();
}

#[test]
fn a_busy_hub_kills() {
    let _limit = TimeLimit::start(LIMIT);
    let (send, receive) = mpsc::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let hub = std::thread::spawn(move || {
        let spinner = spawn(|| {
            loop {
                yield_now();
            }
        });
        send.send(spinner).unwrap();
        while !flag.load(Ordering::Acquire) {
            yield_now();
        }
    });
    let spinner: JoinHandle<()> = receive.recv().unwrap();
    spinner.kill();
    killed(spinner.join());
    stop.store(true, Ordering::Release);
    hub.join().unwrap();
}

#[test]
fn green_threads_of_two_hubs_kill_each_other() {
    let _limit = TimeLimit::start(LIMIT);
    for _ in 0..50 {
        let (hub, root, there) = hub();
        let (send, receive) = mpsc::channel::<JoinHandle<()>>();
        let other = std::thread::spawn(move || {
            let here = receive.recv().unwrap();
            here.kill();
            killed(here.join());
        });
        let here = spawn(move || {
            let _kills = OnDrop(move || there.kill());
            loop {
                thread::park();
            }
        });
        yield_now();
        send.send(here).unwrap();
        while !other.is_finished() {
            sleep(Duration::from_micros(50));
        }
        other.join().unwrap();
        root.unpark();
        hub.join().unwrap();
    }
}

#[test]
fn a_hub_that_has_ended_has_killed_already() {
    let _limit = TimeLimit::start(LIMIT);
    let (hub, root, handle) = hub();
    root.unpark();
    hub.join().unwrap();
    handle.kill_with("too late");
    assert!(handle.is_finished());
    assert!(killed(handle.join()).payload().is_none());
}

#[test]
fn a_hub_may_end_at_the_moment_of_the_kill() {
    let _limit = TimeLimit::start(LIMIT);
    let drops = Arc::new(AtomicUsize::new(0));
    const ROUNDS: usize = 300;
    for round in 0..ROUNDS {
        let (hub, root, handle) = hub();
        root.unpark();
        for _ in 0..round * 13 % 997 {
            std::hint::spin_loop();
        }
        handle.kill_with(Counted(Arc::clone(&drops)));
        killed(handle.join());
        hub.join().unwrap();
    }
    assert_eq!(
        drops.load(Ordering::Acquire),
        ROUNDS,
        "every payload is dropped"
    );
}

#[test]
fn two_kill_one() {
    let _limit = TimeLimit::start(LIMIT);
    for _ in 0..100 {
        let (hub, root, handle) = hub();
        std::thread::scope(|os| {
            for _ in 0..2 {
                os.spawn(|| handle.kill());
            }
        });
        assert!(handle.is_finished());
        killed(handle.join());
        root.unpark();
        hub.join().unwrap();
    }
}

#[test]
fn a_kill_races_with_the_end() {
    let _limit = TimeLimit::start(LIMIT);
    let (send, receive) = mpsc::channel();
    let hub = std::thread::spawn(move || {
        for round in 0..2_000_u64 {
            let handle = spawn(move || {
                thread::park_timeout(Duration::from_micros(round % 60));
                round
            });
            if send.send((round, handle)).is_err() {
                return;
            }
            yield_now();
        }
        sleep(Duration::from_millis(1));
    });
    let mut kills = 0;
    for (round, handle) in receive {
        handle.kill();
        match handle.join().into() {
            Outcome::Returned(value) => assert_eq!(value, round),
            Outcome::Killed(_) => kills += 1,
            Outcome::Panicked(_) => unreachable!("it does not panic"),
        }
    }
    hub.join().unwrap();
    assert!(kills > 0);
}
