//! What switching, spawning and joining cost, against one resume and suspend of a bare corosensei coroutine.
//!
//! The times are CPU time: nothing here ever waits for the kernel, and other processes that want the core do not
//! count.

mod rounds;

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::hint::black_box;
use std::rc::Rc;

use corosensei::Coroutine;
use rounds::process::cpu_seconds;
use rounds::{Plan, heading, verdict};

/// Nanoseconds of each of `count` operations that began when `cpu_seconds` was `start`.
fn each_since(start: f64, count: usize) -> f64 {
    (cpu_seconds() - start) * 1e9 / count as f64
}

/// The reference: the cost of a resume and the suspend that answers it, as corosensei's own benchmark measures it.
fn bare_pair(count: usize) -> f64 {
    let mut identity = Coroutine::<usize, usize, Infallible>::new(|yielder, mut input| {
        loop {
            input = yielder.suspend(input);
        }
    });
    let start = cpu_seconds();
    for _ in 0..count {
        black_box(identity.resume(black_box(0)));
    }
    each_since(start, count)
}

/// A second reference: two bare coroutines that take turns, out of a queue and behind a type-erased call, which is the least
/// that any scheduler of arbitrary closures does. The first one resumes a single coroutine that the optimiser can see
/// into, from a loop that contains nothing else.
fn bare_turns(count: usize) -> f64 {
    let mut queue: VecDeque<Box<dyn FnMut() -> bool>> = VecDeque::new();
    for _ in 0..2 {
        let mut turns = Coroutine::<(), (), ()>::new(move |yielder, ()| {
            for _ in 0..count / 2 {
                yielder.suspend(());
            }
        });
        queue.push_back(Box::new(move || turns.resume(()).as_yield().is_some()));
    }
    let start = cpu_seconds();
    while let Some(mut turn) = queue.pop_front() {
        if turn() {
            queue.push_back(turn);
        }
    }
    each_since(start, count)
}

/// Runs `body` in a green thread and returns its result.
fn in_green_thread(body: impl FnOnce() -> f64 + 'static) -> f64 {
    greenhub::spawn(body).join().expect("the green thread")
}

/// Two green threads that yield to each other; the cost of each yield.
fn yield_between_two(count: usize) -> f64 {
    let yields = move || {
        for _ in 0..count / 2 {
            greenhub::yield_now();
        }
    };
    let start = cpu_seconds();
    let handles = [greenhub::spawn(yields), greenhub::spawn(yields)];
    for handle in handles {
        handle.join().expect("the green thread");
    }
    each_since(start, count)
}

/// One green thread after the other, each spawned and joined.
fn spawn_then_join(count: usize) -> f64 {
    let start = cpu_seconds();
    for i in 0..count {
        let result = greenhub::spawn(move || black_box(i)).join();
        assert_eq!(result.expect("the green thread"), i);
    }
    each_since(start, count)
}

/// All green threads spawned, then all joined; `batches` times, since one batch takes but a few milliseconds.
fn spawn_all_then_join(count: usize, batches: usize) -> f64 {
    let start = cpu_seconds();
    for _ in 0..batches {
        let mut handles = Vec::with_capacity(count);
        for i in 0..count {
            handles.push(greenhub::spawn(move || black_box(i)));
        }
        for (i, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().expect("the green thread"), i);
        }
    }
    each_since(start, count * batches)
}

/// How many stacks `count` green threads need that are all spawned before the first runs.
///
/// Asked of the green threads themselves: each reports the address of a local variable. Addresses within one page's
/// distance belong to one stack, since every green thread here runs the same shallow function.
fn stacks_used(count: usize) -> usize {
    let addresses = Rc::new(RefCell::new(BTreeSet::new()));
    let tasks = (0..count).map(|_| {
        let addresses = Rc::clone(&addresses);
        greenhub::spawn(move || {
            let local = 0_u8;
            let address = black_box(&raw const local).addr();
            addresses.borrow_mut().insert(address);
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        task.join().expect("the green thread");
    }
    let addresses: Vec<usize> = addresses.borrow().iter().copied().collect();
    1 + addresses
        .windows(2)
        .filter(|pair| pair[1] - pair[0] > 4096)
        .count()
}

fn main() {
    let plan = Plan::from_args();
    let pairs = plan.pick(5_000_000, 1_000_000, 1_000);
    let tasks = plan.pick(1_000_000, 200_000, 1_000);
    let batch = plan.pick(100_000, 100_000, 1_000);
    let batches = plan.pick(10, 2, 1);
    heading("switch", "resume + suspend of a bare corosensei coroutine");

    let what = "yield_now, two green threads";
    if plan.wants(what) {
        plan.compare(|| bare_pair(pairs), || yield_between_two(pairs))
            .print(what, "ns", Some(1.8));
    }
    let what = "the same, against coroutines in a queue";
    if plan.wants(what) {
        plan.compare(|| bare_turns(pairs), || yield_between_two(pairs))
            .print(what, "ns", None);
    }
    let what = "spawn + join, in a green thread";
    if plan.wants(what) {
        plan.compare(
            || bare_pair(pairs),
            || in_green_thread(move || spawn_then_join(tasks)),
        )
        .print(what, "ns", Some(14.0));
    }
    let what = "spawn + join, from the main thread";
    if plan.wants(what) {
        plan.compare(|| bare_pair(pairs), || spawn_then_join(tasks))
            .print(what, "ns", Some(14.0));
    }
    let what = format!("{batch} spawned, then joined, each");
    if plan.wants(&what) {
        plan.compare(|| bare_pair(pairs), || spawn_all_then_join(batch, batches))
            .print(&what, "ns", Some(16.0));
        let stacks = stacks_used(batch);
        println!(
            "{:<44} {stacks} stacks, limit 8 {}",
            "",
            verdict(stacks <= 8)
        );
    }
}
