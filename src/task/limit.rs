//! The time limits that a task is subject to, innermost first.
//!
//! A limit lives where its owner keeps it (on the stack of the task that it belongs to, or in a box) and is linked into its
//! task for as long as it counts. Only the thread of the task's hub touches any of this.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::num::NonZeroU64;
use std::ptr::{self, NonNull};
use std::time::Instant;

use super::Task;
use crate::timer::TimerId;

/// A point in time after which a task unwinds up to the owner of the limit.
pub(crate) struct Limit {
    /// Names the limit in what is unwound with: unlike its address, never reused.
    pub(crate) id: NonZeroU64,
    pub(crate) deadline: Instant,
    /// Whether the deadline has passed while the limit counted.
    pub(crate) expired: Cell<bool>,
    /// The hub's timer, while it is pending.
    pub(crate) timer: Cell<Option<TimerId>>,
    /// Whether it is linked into its task.
    pub(crate) linked: Cell<bool>,
    outer: Cell<Option<NonNull<Limit>>>,
}

impl Limit {
    pub(crate) fn new(id: NonZeroU64, deadline: Instant) -> Limit {
        Limit {
            id,
            deadline,
            expired: Cell::new(false),
            timer: Cell::new(None),
            linked: Cell::new(false),
            outer: Cell::new(None),
        }
    }
}

impl Task {
    /// Makes `limit` the innermost one.
    ///
    /// # Safety
    ///
    /// The limit must stay in place until it has been unlinked.
    pub(crate) unsafe fn link_limit(&self, limit: &Limit) {
        limit.outer.set(self.limit.get());
        limit.linked.set(true);
        self.limit.set(Some(NonNull::from(limit)));
    }

    /// Takes a limit out, if it is still in.
    pub(crate) fn unlink_limit(&self, limit: &Limit) {
        if !limit.linked.replace(false) {
            return;
        }
        let outer = limit.outer.take();
        if self.limit.get() == Some(NonNull::from(limit)) {
            self.limit.set(outer);
        } else {
            let inner = self.limits().find(|inner| {
                let next = inner.outer.get();
                next.is_some_and(|next| ptr::eq(next.as_ptr(), limit))
            });
            inner.expect("it is linked").outer.set(outer);
        }
        self.interrupted
            .set(self.killed.get() || self.limits().any(|limit| limit.expired.get()));
    }

    /// The limits, innermost first.
    pub(crate) fn limits(&self) -> impl Iterator<Item = &Limit> {
        // SAFETY: linked limits are in place, by the contract of `link_limit`.
        let follow = |limit: NonNull<Limit>| unsafe { limit.as_ref() };
        std::iter::successors(self.limit.get().map(follow), move |limit| {
            limit.outer.get().map(follow)
        })
    }

    /// Notes which limits have passed. Returns whether there are any.
    pub(crate) fn expire_limits(&self, now: Instant) -> bool {
        for limit in self.limits() {
            if limit.deadline <= now {
                limit.expired.set(true);
                limit.timer.set(None);
            }
        }
        self.limits().any(|limit| limit.expired.get())
    }

    /// The outermost limit that has passed: what lies inside of it need not be unwound to separately.
    pub(crate) fn outermost_expired_limit(&self) -> Option<&Limit> {
        self.limits().filter(|limit| limit.expired.get()).last()
    }
}
