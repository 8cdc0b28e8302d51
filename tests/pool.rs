//! Groups and pools: who is in them, who waits for whom, and what becomes of both when green threads are killed.

mod support;

#[path = "pool/bounded.rs"]
mod bounded;
#[path = "pool/group.rs"]
mod group;
#[path = "pool/imap.rs"]
mod imap;
#[path = "pool/map.rs"]
mod map;
#[path = "pool/stress.rs"]
mod stress;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use greenhub::yield_now;

const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(1_000);
const SHORT: Duration = Duration::from_millis(2);

/// Lets everything run that is ready, and what that makes ready.
fn settle() {
    for _ in 0..10 {
        yield_now();
    }
}

/// What happened, in the order in which it did.
#[derive(Clone, Default)]
struct Trace(Rc<RefCell<Vec<u32>>>);

impl Trace {
    fn note(&self, event: u32) {
        self.0.borrow_mut().push(event);
    }

    fn take(&self) -> Vec<u32> {
        self.0.take()
    }
}

/// How many are at work, and how many there have been at most.
#[derive(Clone, Default)]
struct Gauge(Rc<(Cell<usize>, Cell<usize>)>);

impl Gauge {
    /// Counts one more until the result is dropped.
    fn enter(&self) -> Gauged {
        let (now, most) = &*self.0;
        now.set(now.get() + 1);
        most.set(most.get().max(now.get()));
        Gauged(self.clone())
    }

    fn now(&self) -> usize {
        self.0.0.get()
    }

    fn most(&self) -> usize {
        self.0.1.get()
    }
}

struct Gauged(Gauge);

impl Drop for Gauged {
    fn drop(&mut self) {
        let now = &self.0.0.0;
        now.set(now.get() - 1);
    }
}

/// Runs a closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
