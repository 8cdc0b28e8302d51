//! What waiting for each other costs, against the switches that it takes, and what locks cost that nobody has to wait
//! for, against parking_lot's.
//!
//! The times are CPU time: nothing here ever waits for the kernel.

mod rounds;

use std::hint::black_box;
use std::rc::Rc;

use greenhub::queue::Queue;
use rounds::process::cpu_seconds;
use rounds::{Plan, heading};

/// Nanoseconds of each of `count` operations that began when `cpu_seconds` was `start`.
fn each_since(start: f64, count: usize) -> f64 {
    (cpu_seconds() - start) * 1e9 / count as f64
}

/// The reference: two green threads that yield to each other; the cost of a yield of each.
fn two_yields(count: usize) -> f64 {
    let yields = move || {
        for _ in 0..count {
            greenhub::yield_now();
        }
    };
    let start = cpu_seconds();
    for handle in [greenhub::spawn(yields), greenhub::spawn(yields)] {
        handle.join().expect("the green thread");
    }
    each_since(start, count)
}

/// Two green threads that send a number to and fro through two queues with room for one: the cost of a round trip.
fn queue_round_trip(count: usize) -> f64 {
    let there = Rc::new(Queue::bounded(1));
    let back = Rc::new(Queue::bounded(1));
    let start = cpu_seconds();
    let far = greenhub::spawn({
        let (there, back) = (Rc::clone(&there), Rc::clone(&back));
        move || {
            for _ in 0..count {
                let item: usize = there.get().expect("open");
                back.put(item + 1).expect("open");
            }
        }
    });
    let near = greenhub::spawn(move || {
        for item in 0..count {
            there.put(black_box(item)).expect("open");
            assert_eq!(back.get(), Ok(item + 1));
        }
    });
    near.join().expect("the green thread");
    far.join().expect("the green thread");
    each_since(start, count)
}

/// Nanoseconds of each of `count` calls of `f`.
fn each(count: usize, mut f: impl FnMut()) -> f64 {
    let start = cpu_seconds();
    for _ in 0..count {
        f();
    }
    each_since(start, count)
}

/// Locks that nobody else wants.
fn uncontended_locks(plan: &Plan) {
    let count = plan.pick(50_000_000, 10_000_000, 1_000);
    heading("sync", "parking_lot");

    let what = "Mutex lock+unlock uncontended";
    if plan.wants(what) {
        let theirs = parking_lot::Mutex::new(0u64);
        let ours = greenhub::sync::Mutex::new(0u64);
        plan.compare(
            || each(count, || *black_box(&theirs).lock() += 1),
            || each(count, || *black_box(&ours).lock().expect("no panic") += 1),
        )
        .print(what, "ns", Some(2.0));
    }

    let theirs = parking_lot::RwLock::new(0u64);
    let ours = greenhub::sync::RwLock::new(0u64);
    let (theirs, ours) = (black_box(&theirs), black_box(&ours));
    let what = "RwLock write+unlock uncontended";
    if plan.wants(what) {
        plan.compare(
            || each(count, || *theirs.write() += 1),
            || each(count, || *ours.write().expect("no panic") += 1),
        )
        .print(what, "ns", Some(2.0));
    }
    let what = "RwLock read+unlock uncontended";
    if plan.wants(what) {
        plan.compare(
            || each(count, || _ = black_box(*theirs.read())),
            || each(count, || _ = black_box(*ours.read().expect("no panic"))),
        )
        .print(what, "ns", Some(2.0));
    }
}

/// Queues through which two green threads take turns.
fn round_trips(plan: &Plan) {
    let trips = plan.pick(2_000_000, 500_000, 1_000);
    heading("sync", "two yield_nows between two green threads");

    let what = "round trip through two Queue::bounded(1)";
    if plan.wants(what) {
        plan.compare(|| two_yields(trips), || queue_round_trip(trips))
            .print(what, "ns", Some(2.5));
    }
}

fn main() {
    let plan = Plan::from_args();
    round_trips(&plan);
    uncontended_locks(&plan);
}
