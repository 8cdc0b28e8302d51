//! `biased_lock`: one thread inside at a time, and what it has done is seen by the next.

use std::sync::Arc;

use loom::thread;

use crate::biased_lock::BiasedLock;
use crate::{Count, Model, membarrier};

pub(crate) const MODELS: &[Model] = &[
    Model::new("lock: revoked while its owner uses it", None, revoked),
    Model::new(
        "lock: revoked in the owner's second turn",
        None,
        revoked_later,
    ),
    Model::new("lock: two threads that want to be first", None, first),
    Model::new("lock: two revokers and the owner", Some(4), two_revokers),
    Model::new("lock: shared from the start", None, shared),
    Model::new("lock: of a thread that has ended", None, owner_ended),
    Model {
        fails: true,
        ..Model::new("lock: must fail without the fences", None, without_fences)
    },
];

fn add(lock: &BiasedLock<Count>) {
    lock.lock().add(1);
}

fn total(lock: &BiasedLock<Count>) -> u32 {
    lock.lock().get()
}

/// A lock that is biased to the calling thread.
fn owned() -> Arc<BiasedLock<Count>> {
    let lock = Arc::new(BiasedLock::new(Count::new(0)));
    add(&lock);
    lock
}

/// Has `others` threads take the lock once while this one takes it `turns` times.
fn contend(lock: &Arc<BiasedLock<Count>>, others: u32, turns: u32) {
    let before = total(lock);
    let others: Vec<_> = (0..others)
        .map(|_| {
            let lock = Arc::clone(lock);
            thread::spawn(move || add(&lock))
        })
        .collect();
    for _ in 0..turns {
        add(lock);
    }
    let expected = before + turns + others.len() as u32;
    for other in others {
        other.join().unwrap();
    }
    assert_eq!(total(lock), expected);
}

fn revoked() {
    contend(&owned(), 1, 1);
}

fn revoked_later() {
    contend(&owned(), 1, 2);
}

fn first() {
    let lock = Arc::new(BiasedLock::new(Count::new(0)));
    let other = Arc::clone(&lock);
    let other = thread::spawn(move || add(&other));
    add(&lock);
    other.join().unwrap();
    assert_eq!(total(&lock), 2);
}

fn two_revokers() {
    contend(&owned(), 2, 1);
}

fn shared() {
    let lock = Arc::new(BiasedLock::shared(Count::new(0)));
    contend(&lock, 2, 1);
}

fn owner_ended() {
    let lock = thread::spawn(owned).join().unwrap();
    contend(&lock, 1, 1);
}

fn without_fences() {
    membarrier::MISSING.set(true);
    contend(&owned(), 1, 1);
}
