//! What waiting for each other costs, against the switches that it takes.
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

fn main() {
    let plan = Plan::from_args();
    let trips = plan.pick(2_000_000, 500_000, 1_000);
    heading("sync", "two yield_nows between two green threads");

    let what = "round trip through two Queue::bounded(1)";
    if plan.wants(what) {
        plan.compare(|| two_yields(trips), || queue_round_trip(trips))
            .print(what, "ns", Some(2.5));
    }
}
