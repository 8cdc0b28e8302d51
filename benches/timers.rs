//! How late sleeps end, and what arming, firing and cancelling a timer costs.

mod rounds;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use greenhub::thread;
use rounds::process::{Memory, cpu_seconds};
use rounds::{Plan, heading, percentile, verdict};

/// Microseconds by which each of `count` sleeps of 200 us ended late.
fn latenesses(count: usize, sleep: fn(Duration)) -> Vec<f64> {
    let duration = Duration::from_micros(200);
    let lateness = |_| {
        let start = Instant::now();
        sleep(duration);
        let elapsed = start.elapsed();
        assert!(elapsed >= duration, "ended early, after {elapsed:?}");
        (elapsed - duration).as_secs_f64() * 1e6
    };
    (0..count).map(lateness).collect()
}

/// Short sleeps on a hub that has nothing else to do; the reference blocks the OS thread.
fn idle_sleeps(plan: &Plan) {
    let count = plan.pick(500, 200, 10);
    let (bare, green) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let note = |all: &RefCell<Vec<f64>>, mut latenesses: Vec<f64>| {
        all.borrow_mut().extend_from_slice(&latenesses);
        percentile(&mut latenesses, 50.0)
    };
    let in_green_thread = || {
        let sleeping = greenhub::spawn(move || latenesses(count, greenhub::sleep));
        sleeping.join().expect("the green thread")
    };
    let comparison = plan.compare(
        || note(&bare, latenesses(count, std::thread::sleep)),
        || note(&green, in_green_thread()),
    );
    comparison.print("sleep(200 us), idle: median lateness", "us", None);
    let p99 = |all: &RefCell<Vec<f64>>| percentile(&mut all.borrow_mut(), 99.0);
    println!(
        "{:<44} {:>9.2} {:>9.2} us",
        "                      p99 lateness",
        p99(&bare),
        p99(&green)
    );
    let kept = verdict(comparison.subject < 100.0);
    println!("{:<44} limit 100 us {kept}", "                      median");
}

/// Numbers that look random and are the same in every run (SplitMix64).
fn random_numbers() -> impl FnMut() -> u64 {
    let mut state = 0_u64;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Many green threads, each of which sleeps once for up to a second.
///
/// Those that are due while others still get their first turn are late for that reason, so the lateness is also given
/// for those that are due after all have begun to sleep.
fn random_sleeps(what: &str, count: usize) {
    let mut random = random_numbers();
    let cpu = cpu_seconds();
    let handles: Vec<_> = (0..count)
        .map(|_| {
            let duration = Duration::from_micros(random() % 1_000_000);
            greenhub::spawn(move || {
                let start = Instant::now();
                greenhub::sleep(duration);
                (start, start + duration, Instant::now())
            })
        })
        .collect();
    let results = greenhub::joinall(handles).into_iter();
    let sleeps: Vec<_> = results
        .map(|result| result.expect("a green thread"))
        .collect();
    let cpu = (cpu_seconds() - cpu) * 1e6 / count as f64;
    println!("{what}: {cpu:.2} us CPU each");

    let last_start = sleeps
        .iter()
        .map(|&(start, ..)| start)
        .max()
        .expect("a sleep");
    let lateness = |&(_, due, end): &(Instant, Instant, Instant)| {
        end.checked_duration_since(due)
            .expect("ended early")
            .as_secs_f64()
            * 1e3
    };
    let all = sleeps.iter().map(lateness).collect();
    print_latenesses("all", all);
    let settled = sleeps.iter().filter(|&&(_, due, _)| due > last_start);
    print_latenesses(
        "due after the last one began",
        settled.map(lateness).collect(),
    );
}

fn print_latenesses(which: &str, mut milliseconds: Vec<f64>) {
    let count = milliseconds.len();
    println!(
        "  {which} ({count}): late by {:.3} ms median, {:.3} ms p99, {:.3} ms at most",
        percentile(&mut milliseconds, 50.0),
        percentile(&mut milliseconds, 99.0),
        percentile(&mut milliseconds, 100.0),
    );
}

/// A green thread waits `count` times with `wait`, and another one wakes it each time, long before any timeout.
///
/// Returns nanoseconds per wait.
fn waits(count: usize, wait: fn()) -> f64 {
    let start = Instant::now();
    let waiting = greenhub::spawn(move || {
        for _ in 0..count {
            wait();
        }
    });
    let waiter = waiting.thread().clone();
    let waking = greenhub::spawn(move || {
        for _ in 0..count {
            waiter.unpark();
            greenhub::yield_now();
        }
    });
    waiting.join().expect("the waiting green thread");
    waking.join().expect("the waking green thread");
    start.elapsed().as_nanos() as f64 / count as f64
}

/// Waits with a timeout of 30 s that are always ended early: each arms a timer and cancels it.
fn cancelled_timers(plan: &Plan) {
    let count = plan.pick(1_000_000, 200_000, 100);
    let with_timeout = || thread::park_timeout(Duration::from_secs(30));
    waits(count / 10, with_timeout);
    let before = Memory::now().resident;
    let comparison = plan.compare(|| waits(count, thread::park), || waits(count, with_timeout));
    let grown = (Memory::now().resident - before) / 1024.0;
    comparison.print("park + unpark; with a timeout of 30 s", "ns", None);
    let cost = comparison.subject - comparison.reference;
    println!(
        "{:<44} {cost:.0} ns to arm and cancel, {:.2} million waits/s; memory {grown:+.0} KiB",
        "",
        1e3 / comparison.subject
    );
}

fn main() {
    let plan = Plan::from_args();
    heading("timers", "the same without greenhub, or without a timer");
    if plan.wants("idle") {
        idle_sleeps(&plan);
    }
    if plan.wants("cancel") {
        cancelled_timers(&plan);
    }
    if plan.wants("random") {
        println!();
        for count in [
            plan.pick(10_000, 10_000, 100),
            plan.pick(100_000, 100_000, 1_000),
        ] {
            random_sleeps(&format!("{count} sleeps of 0..1000 ms at random"), count);
        }
    }
}
