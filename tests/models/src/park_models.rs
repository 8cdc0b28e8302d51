//! `Task::word` and `Task::token` through `park`: no token and no wake-up is lost, and none counts twice. `Task::home_id`: one
//! claim succeeds.

use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use loom::thread;

use crate::atomic::{AtomicBool, Ordering};
use crate::hub::{self, Killed, ModelTask};
use crate::task::{Task, Vtable};
use crate::{Count, Model, park};

pub(crate) const MODELS: &[Model] = &[
    Model::new("park: one unpark", None, unparked),
    Model::new("park: two that unpark", Some(3), unparked_twice),
    Model::new(
        "park: a token that comes while the time runs out",
        Some(4),
        timed_out,
    ),
    Model::new("park: unparked or killed", Some(4), killed),
    Model::new(
        "task: claimed by a hub, a thread, or its killer",
        Some(4),
        claimed,
    ),
];

/// What the one that unparks has written is seen by the one that was parked.
fn unparked() {
    let task = ModelTask::new();
    let data = Arc::new(Count::new(0));
    let written = Arc::clone(&data);
    let other = thread::spawn(move || {
        written.set(1);
        park::unpark(task.task());
    });
    task.run(|| park::park_for_token(None)).unwrap();
    assert_eq!(data.get(), 1);
    other.join().unwrap();
}

fn unparked_twice() {
    let task = ModelTask::new();
    let flags = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let threads = [0, 1].map(|i| {
        let flags = Arc::clone(&flags);
        thread::spawn(move || {
            flags[i].store(true, Ordering::Relaxed);
            park::unpark(task.task());
        })
    });
    task.run(|| {
        while !flags.iter().all(|flag| flag.load(Ordering::Relaxed)) {
            park::park_for_token(None);
        }
    })
    .unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn timed_out() {
    let task = ModelTask::new();
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let other = thread::spawn(move || {
        set.store(true, Ordering::Relaxed);
        park::unpark(task.task());
    });
    task.run(|| {
        park::park_for_token(Some(Instant::now()));
        while !flag.load(Ordering::Relaxed) {
            park::park_for_token(None);
        }
    })
    .unwrap();
    other.join().unwrap();
}

/// Either ends the wait.
fn killed() {
    let task = ModelTask::doomed();
    let other = thread::spawn(move || park::unpark(task.task()));
    let result = task.run(|| park::park_for_token(None));
    assert!(matches!(result, Ok(()) | Err(Killed)));
    other.join().unwrap();
}

/// Whoever claims a task without a home has it for itself.
fn claimed() {
    const TABLE: &Vtable = &Vtable {
        // SAFETY: the task is the first field.
        run: |task| unsafe { task.cast::<Homeless>().as_ref() }.closure.add(1),
        free: |_| (),
    };
    let task = ModelTask::new();
    let homeless: &Homeless = Box::leak(Box::new(Homeless {
        task: Task::without_home(TABLE, hub::origin()),
        closure: Count::new(0),
    }));
    let killer = thread::spawn(|| homeless.task.withdraw(None).is_ok());
    let other = thread::spawn(|| homeless.task.run_on_os_thread());
    // SAFETY: nobody else adopts it.
    if unsafe { homeless.task.adopt_by(NonNull::from(task.home()), 7) } {
        homeless.closure.add(1);
    }
    killer.join().unwrap();
    other.join().unwrap();
    assert_eq!(homeless.closure.get(), 1);
}

#[repr(C)]
struct Homeless {
    task: Task,
    /// How often the closure has been taken.
    closure: Count,
}
