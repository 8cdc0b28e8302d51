//! Mapping a function over a series of items, to the end.
//!
//! The green threads are those of a scope, so none of them is left when `map` returns or unwinds, and what they run may borrow. The
//! first that gives no result kills the others.

use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;

use crate::thread::{self, Scope};
use crate::wait_queue::WaitQueue;

use super::Failure;
use super::members::Members;

/// What there is of the results.
struct Progress<T> {
    results: Vec<Option<T>>,
    /// The first one.
    failure: Option<Failure>,
}

/// One item's share of the results, which it leaves when this is dropped.
struct Share<'scope, 'env, T> {
    progress: &'scope WaitQueue<Progress<T>>,
    scope: &'scope Scope<'scope, 'env>,
    index: usize,
    /// Whether there is a result, or a failure that says more than that there is none.
    is_settled: bool,
}

/// Kills what is at work when the caller of `map` unwinds.
struct KillOnUnwind<'scope, 'env>(&'scope Scope<'scope, 'env>);

/// See `Group::map`.
#[track_caller]
pub(super) fn map<I, F, T>(members: &Rc<Members>, items: I, f: F) -> Vec<T>
where
    I: IntoIterator,
    F: Fn(I::Item) -> T,
{
    let site = Location::caller();
    let items = items.into_iter();
    let progress = WaitQueue::new(Progress {
        results: Vec::with_capacity(items.size_hint().0),
        failure: None,
    });
    thread::scope(|scope| {
        let unwinding = KillOnUnwind(scope);
        let f = &f;
        for (index, item) in items.enumerate() {
            let seat = members.take_patiently();
            let mut known = progress.lock();
            if known.failure.is_some() {
                break;
            }
            known.results.push(None);
            drop(known);
            let share = Share {
                progress: &progress,
                scope,
                index,
                is_settled: false,
            };
            seat.spawn_scoped(scope, site, move || share.contribute(|| f(item)));
        }
        std::mem::forget(unwinding);
    });
    let Progress { results, failure } = progress.into_inner();
    if let Some(failure) = failure {
        drop(results);
        failure.raise();
    }
    let all = results
        .into_iter()
        .map(|result| result.expect("all have ended without failure"));
    all.collect()
}

impl<T> Share<'_, '_, T> {
    fn contribute(mut self, f: impl FnOnce() -> T) {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(value) => {
                self.is_settled = true;
                self.progress.lock().results[self.index] = Some(value);
            }
            Err(payload) if thread::is_interruption(&*payload) => resume_unwind(payload),
            Err(payload) => {
                self.is_settled = true;
                self.fail(Failure::Panicked(payload));
            }
        }
    }

    fn fail(&self, failure: Failure) {
        let mut progress = self.progress.lock();
        if progress.failure.is_none() {
            progress.failure = Some(failure);
            drop(progress);
            self.scope.kill();
        }
    }
}

impl<T> Drop for Share<'_, '_, T> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.fail(Failure::Killed);
        }
    }
}

impl Drop for KillOnUnwind<'_, '_> {
    fn drop(&mut self) {
        self.0.kill();
    }
}
