//! What `select!` costs: a round trip between two green threads of which one waits for two queues at once, against one that
//! waits for the only queue that it needs; and arms that need not wait, against a get from one queue.
//!
//! The times are CPU time: nothing here ever waits for the kernel.

mod rounds;

use std::hint::black_box;
use std::rc::Rc;

use greenhub::queue::Queue;
use greenhub::{select, spawn};
use rounds::process::cpu_seconds;
use rounds::{Plan, heading};

/// Nanoseconds of each of `count` round trips through two queues with room for one, with `get` at the near end.
fn round_trip(count: usize, get: impl Fn(&Queue<usize>, &Queue<usize>) -> usize + 'static) -> f64 {
    let queues = || Rc::new(Queue::bounded(1));
    let (there, back, unused) = (queues(), queues(), queues());
    let start = cpu_seconds();
    let far = spawn({
        let (there, back) = (Rc::clone(&there), Rc::clone(&back));
        move || {
            for _ in 0..count {
                let item: usize = there.get().expect("open");
                back.put(item + 1).expect("open");
            }
        }
    });
    let near = spawn(move || {
        for item in 0..count {
            there.put(black_box(item)).expect("open");
            assert_eq!(get(&back, &unused), item + 1);
        }
    });
    near.join().expect("the green thread");
    far.join().expect("the green thread");
    (cpu_seconds() - start) * 1e9 / count as f64
}

/// Nanoseconds of each of `count` items that are put and got by one green thread, which never waits.
fn without_waiting(
    count: usize,
    get: impl Fn(&Queue<usize>, &Queue<usize>) -> usize + 'static,
) -> f64 {
    let (queue, unused) = (Queue::new(), Queue::new());
    let start = cpu_seconds();
    for item in 0..count {
        queue.put(black_box(item)).expect("open");
        assert_eq!(get(&queue, &unused), item);
    }
    (cpu_seconds() - start) * 1e9 / count as f64
}

fn plain(queue: &Queue<usize>, _: &Queue<usize>) -> usize {
    queue.get().expect("open")
}

fn first_of_two(queue: &Queue<usize>, other: &Queue<usize>) -> usize {
    select! {
        get(queue) -> item => item.expect("open"),
        get(other) -> item => item.expect("open"),
    }
}

fn main() {
    let plan = Plan::from_args();
    let count = plan.pick(2_000_000, 500_000, 1_000);
    heading("select", "the same with get");
    let what = "round trip, select! of two queues";
    if plan.wants(what) {
        plan.compare(
            || round_trip(count, plain),
            || round_trip(count, first_of_two),
        )
        .print(what, "ns", None);
    }
    let what = "put and select! of two, without waiting";
    if plan.wants(what) {
        plan.compare(
            || without_waiting(count, plain),
            || without_waiting(count, first_of_two),
        )
        .print(what, "ns", None);
    }
}
