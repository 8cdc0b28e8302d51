//! Model-checking of what several threads do at once: loom runs each model in every order of its steps (with a bounded
//! number of preemptions), and lets each load see every value that the memory model allows.
//!
//! The files under test are those of the crate itself. Around them stand `atomic`, `membarrier` and `hub`, in the place of the
//! modules of these names. An argument selects the models whose names contain it.

mod atomic;
mod coroutine;
mod hub;
mod membarrier;

#[allow(dead_code, unused_imports)]
#[path = "../../../src/biased_lock.rs"]
mod biased_lock;
#[allow(dead_code, unused_imports)]
#[path = "../../../src/hub/doorbell.rs"]
mod doorbell;
#[allow(dead_code, unused_imports)]
#[path = "../../../src/park.rs"]
mod park;
#[allow(dead_code, unused_imports)]
#[path = "../../../src/task/mod.rs"]
mod task;
#[allow(dead_code, unused_imports)]
#[path = "../../../src/unwind.rs"]
mod unwind;
#[allow(dead_code, unused_imports)]
#[path = "../../../src/wait_queue.rs"]
mod wait_queue;

mod inbox_models;
mod lock_models;
mod park_models;
mod queue_models;

use std::sync::atomic::{AtomicBool, Ordering};

use coroutine as stack;
use coroutine as timer;

/// A number that loom wants to see used by one thread at a time.
pub(crate) struct Count(loom::cell::UnsafeCell<u32>);

// SAFETY: loom reports any use that is not in order.
unsafe impl Sync for Count {}
// SAFETY: as above.
unsafe impl Send for Count {}

impl Count {
    pub(crate) fn new(first: u32) -> Count {
        Count(loom::cell::UnsafeCell::new(first))
    }

    pub(crate) fn get(&self) -> u32 {
        // SAFETY: loom reports it if another thread could write at the same time.
        self.0.with(|count| unsafe { *count })
    }

    pub(crate) fn set(&self, value: u32) {
        // SAFETY: as above.
        self.0.with_mut(|count| unsafe { *count = value });
    }

    pub(crate) fn add(&self, change: u32) {
        self.set(self.get() + change);
    }
}

/// A model, and whether it is one that has to fail.
#[derive(Clone, Copy)]
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) preemptions: Option<usize>,
    pub(crate) body: fn(),
    pub(crate) fails: bool,
}

impl Model {
    pub(crate) const fn new(name: &'static str, preemptions: Option<usize>, body: fn()) -> Model {
        Model {
            name,
            preemptions,
            body,
            fails: false,
        }
    }

    fn check(&self) -> bool {
        let body = self.body;
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = self.preemptions;
        builder.max_branches = 10_000;
        let executions = std::rc::Rc::new(std::cell::Cell::new(0_u64));
        let counted = ExecutionCount(std::rc::Rc::clone(&executions));
        let start = std::time::Instant::now();
        FAILURE_IS_EXPECTED.store(self.fails, Ordering::Relaxed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            builder.check(move || {
                counted.add();
                membarrier::MISSING.set(false);
                atomic::begin_execution();
                body();
            });
        }));
        let held = result.is_ok() != self.fails;
        let verdict = if held { "ok" } else { "FAILED" };
        let (name, executions, time) = (self.name, executions.get(), start.elapsed());
        println!("{name}: {verdict} ({executions} executions, {time:.1?})");
        held
    }
}

/// Whether the running model is one that has to fail, of which the panic need not be printed.
static FAILURE_IS_EXPECTED: AtomicBool = AtomicBool::new(false);

struct ExecutionCount(std::rc::Rc<std::cell::Cell<u64>>);

// SAFETY: loom's threads are coroutines of one OS thread.
unsafe impl Sync for ExecutionCount {}
// SAFETY: as above.
unsafe impl Send for ExecutionCount {}

impl ExecutionCount {
    fn add(&self) {
        self.0.set(self.0.get() + 1);
    }
}

fn main() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !FAILURE_IS_EXPECTED.load(Ordering::Relaxed) {
            print(panic);
        }
    }));
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let models = [
        lock_models::MODELS,
        inbox_models::MODELS,
        park_models::MODELS,
        queue_models::MODELS,
    ];
    let mut held = true;
    for model in models.concat().iter() {
        if model.name.contains(&wanted) {
            held &= model.check();
        }
    }
    std::process::exit(if held { 0 } else { 1 });
}
