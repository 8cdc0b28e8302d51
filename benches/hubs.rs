//! What several hubs are worth: the time of work that computes on one hub and on two, and what a message from one hub to
//! another costs, against two OS threads.
//!
//! The times are elapsed ones: with two OS threads, waiting is a part of the cost.

mod rounds;

use std::hint::black_box;
use std::sync::mpsc;
use std::time::Instant;

use greenhub::Hubs;
use greenhub::thread::Thread;
use rounds::{Plan, heading};

/// Nanoseconds of each of `count` operations that began at `start`.
fn each_since(start: Instant, count: usize) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / count as f64
}

/// Work that keeps a core busy and shares nothing: some nanoseconds for each round.
fn compute(rounds: usize) -> u64 {
    (0..rounds as u64).fold(1, |state, round| {
        black_box(state.wrapping_mul(6_364_136_223_846_793_005) ^ round)
    })
}

/// Milliseconds for `tasks` of `rounds` rounds each.
fn fan_out(hubs: &Hubs, tasks: usize, rounds: usize) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..tasks)
        .map(|_| hubs.spawn(move || compute(rounds)))
        .collect();
    for task in tasks {
        black_box(task.join().expect("the green thread"));
    }
    start.elapsed().as_secs_f64() * 1e3
}

/// Nanoseconds for each of `tasks` that do nothing, spawned by one of their hubs.
fn spawn_all(hubs: &Hubs, tasks: usize) -> f64 {
    let start = Instant::now();
    for task in 0..tasks {
        hubs.spawn(move || black_box(task));
    }
    hubs.join();
    each_since(start, tasks)
}

/// The reference: a number goes to and fro between two OS threads, through two channels of std.
fn round_trip_of_threads(count: usize) -> f64 {
    let (there, at_there) = mpsc::channel::<usize>();
    let (back, at_back) = mpsc::channel();
    let far = std::thread::spawn(move || {
        for item in at_there {
            back.send(item + 1).expect("the receiver waits");
        }
    });
    let start = Instant::now();
    for item in 0..count {
        there.send(item).expect("the receiver waits");
        assert_eq!(at_back.recv(), Ok(item + 1));
    }
    let each = each_since(start, count);
    drop(there);
    far.join().expect("the thread");
    each
}

/// The same between green threads of two hubs, through channels of greenhub.
fn round_trip_of_hubs(hubs: &Hubs, count: usize) -> f64 {
    let (there, at_there) = greenhub::sync::mpsc::channel::<usize>();
    let (back, at_back) = greenhub::sync::mpsc::channel();
    hubs.spawn_on(0, move || {
        for item in at_there {
            back.send(item + 1).expect("the receiver waits");
        }
    });
    let near = hubs.spawn_on(1, move || {
        let start = Instant::now();
        for item in 0..count {
            there.send(item).expect("the receiver waits");
            assert_eq!(at_back.recv(), Ok(item + 1));
        }
        each_since(start, count)
    });
    near.join().expect("the green thread")
}

/// Two green threads on two hubs that wake each other by `unpark`.
fn round_trip_of_parks(hubs: &Hubs, count: usize) -> f64 {
    let (tell, told) = mpsc::channel::<Thread>();
    let far = hubs.spawn_on(0, move || {
        let near = told.recv().expect("the other tells");
        for _ in 0..count {
            greenhub::thread::park();
            near.unpark();
        }
    });
    let far_thread = far.thread().clone();
    let near = hubs.spawn_on(1, move || {
        tell.send(greenhub::thread::current())
            .expect("the other waits");
        let start = Instant::now();
        for _ in 0..count {
            far_thread.unpark();
            greenhub::thread::park();
        }
        each_since(start, count)
    });
    far.join().expect("the green thread");
    near.join().expect("the green thread")
}

fn main() {
    let plan = Plan::from_args();
    let (one, two) = (Hubs::new(1), Hubs::new(2));

    heading("hubs, computing", "the same on one hub");
    for (tasks, rounds) in [(16, 20_000_000), (10_000, 20_000)] {
        let rounds = plan.pick(rounds, rounds / 4, rounds / 1_000);
        let what = format!("{tasks} tasks on two hubs");
        if plan.wants(&what) {
            plan.compare(
                || fan_out(&one, tasks, rounds),
                || fan_out(&two, tasks, rounds),
            )
            .print(&what, "ms", Some(0.56));
        }
    }
    let tasks = plan.pick(1_000_000, 200_000, 1_000);
    let what = format!("{tasks} empty tasks on two hubs, each");
    if plan.wants(&what) {
        plan.compare(|| spawn_all(&one, tasks), || spawn_all(&two, tasks))
            .print(&what, "ns", None);
    }

    let trips = plan.pick(100_000, 20_000, 100);
    heading("hubs, round trips", "two OS threads with std::sync::mpsc");
    let what = "sync::mpsc between two hubs";
    if plan.wants(what) {
        plan.compare(
            || round_trip_of_threads(trips),
            || round_trip_of_hubs(&two, trips),
        )
        .print(what, "ns", None);
    }
    let what = "park and unpark between two hubs";
    if plan.wants(what) {
        plan.compare(
            || round_trip_of_threads(trips),
            || round_trip_of_parks(&two, trips),
        )
        .print(what, "ns", None);
    }
}
