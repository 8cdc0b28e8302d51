//! `sleep` and `yield_now`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::rt::thread;
use super::rt::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use super::run;

#[test]
fn sleep_is_never_early() {
    run(|| {
        for micros in [0, 1, 50, 200, 999, 1_000, 1_001, 2_500, 7_000, 30_000] {
            let wanted = Duration::from_micros(micros);
            for _ in 0..5 {
                let start = Instant::now();
                thread::sleep(wanted);
                assert!(start.elapsed() >= wanted, "slept {:?}", start.elapsed());
            }
        }
    });
}

#[test]
fn sleeps_run_side_by_side() {
    run(|| {
        let start = Instant::now();
        let sleepers: Vec<_> = (0..100)
            .map(|_| thread::spawn(|| thread::sleep(Duration::from_millis(100))))
            .collect();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "one after the other"
        );
    });
}

#[test]
fn the_shorter_sleep_ends_first() {
    run(|| {
        let order = Arc::new(Mutex::new(Vec::new()));
        let sleepers: Vec<_> = [150, 50, 100, 0]
            .into_iter()
            .map(|millis| {
                let order = Arc::clone(&order);
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(millis));
                    order.lock().unwrap().push(millis);
                })
            })
            .collect();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 50, 100, 150]);
    });
}

#[test]
fn yield_now_lets_others_run() {
    run(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let turns = Arc::new(AtomicUsize::new(0));
        let spinner = thread::spawn({
            let (stop, turns) = (Arc::clone(&stop), Arc::clone(&turns));
            move || {
                while !stop.load(Ordering::Acquire) {
                    turns.fetch_add(1, Ordering::AcqRel);
                    thread::yield_now();
                }
            }
        });
        while turns.load(Ordering::Acquire) < 50 {
            thread::yield_now();
        }
        stop.store(true, Ordering::Release);
        spinner.join().unwrap();
    });
}

#[test]
fn time_is_stds() {
    let now: std::time::Instant = Instant::now();
    let gap: std::time::Duration = Duration::from_nanos(1);
    assert!(now + gap > now);
    assert!(SystemTime::now() > UNIX_EPOCH);
}
