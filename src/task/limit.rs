//! What decides whether a task may be interrupted, and how far it is unwound then: a chain of limits, innermost first.
//!
//! | kind     | made by                                 | effect                                                          |
//! |----------|-----------------------------------------|-----------------------------------------------------------------|
//! | `Time`   | `timeout`, `Timeout`                    | once its deadline has passed, the task unwinds to its owner     |
//! | `Shield` | `shielded`                              | a barrier: what lies outside does not interrupt what is inside  |
//! | `Aside`  | `timeout` in a destructor, in the midst | the same, for the rest of an unwinding must not begin while one |
//! |          | of unwinding                            | of its destructors runs                                         |
//!
//! A kill lies outside of all. Of several interruptions the outermost counts that no barrier keeps away.
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

/// A link of the chain.
pub(crate) struct Limit {
    kind: Kind,
    /// Whether the deadline has passed while the limit counted.
    pub(crate) expired: Cell<bool>,
    /// The hub's timer, while it is pending.
    pub(crate) timer: Cell<Option<TimerId>>,
    /// Whether it is linked into its task.
    linked: Cell<bool>,
    outer: Cell<Option<NonNull<Limit>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The number names the limit in what is unwound with: unlike its address, never reused.
    Time {
        id: NonZeroU64,
        deadline: Instant,
    },
    Shield,
    Aside,
}

/// Why, and up to where, a task has to unwind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// Up to its end: it was killed.
    Kill,
    /// Up to the owner of the time limit with this number.
    Limit(NonZeroU64),
}

impl Limit {
    pub(crate) fn time(id: NonZeroU64, deadline: Instant) -> Limit {
        Limit::new(Kind::Time { id, deadline })
    }

    pub(crate) fn shield() -> Limit {
        Limit::new(Kind::Shield)
    }

    pub(crate) fn aside() -> Limit {
        Limit::new(Kind::Aside)
    }

    fn new(kind: Kind) -> Limit {
        Limit {
            kind,
            expired: Cell::new(false),
            timer: Cell::new(None),
            linked: Cell::new(false),
            outer: Cell::new(None),
        }
    }

    pub(crate) fn id(&self) -> Option<NonZeroU64> {
        match self.kind {
            Kind::Time { id, .. } => Some(id),
            Kind::Shield | Kind::Aside => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.kind {
            Kind::Time { deadline, .. } => Some(deadline),
            Kind::Shield | Kind::Aside => None,
        }
    }

    fn is_barrier(&self) -> bool {
        matches!(self.kind, Kind::Shield | Kind::Aside)
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
        if limit.expired.get() {
            let interrupted = self.killed.get() || self.limits().any(|limit| limit.expired.get());
            self.interrupted.set(interrupted);
            self.was_raised.set(interrupted && self.was_raised.get());
        }
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
            if limit.deadline().is_some_and(|deadline| deadline <= now) {
                limit.expired.set(true);
                limit.timer.set(None);
            }
        }
        self.limits().any(|limit| limit.expired.get())
    }

    /// What the task has to unwind for, unless a barrier keeps it away. Of several the outermost: what lies inside of it need
    /// not be unwound to separately.
    pub(crate) fn interruption(&self) -> Option<Interruption> {
        let mut outermost = None;
        for limit in self.limits() {
            if limit.is_barrier() {
                return outermost;
            }
            if limit.expired.get() {
                outermost = limit.id().map(Interruption::Limit);
            }
        }
        if self.killed.get() {
            return Some(Interruption::Kill);
        }
        outermost
    }

    /// The first of the deadlines that may interrupt the task as things stand.
    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        let inside = self.limits().take_while(|limit| !limit.is_barrier());
        inside.filter_map(Limit::deadline).min()
    }

    /// Whether the task has put an unwinding aside: see `Hub::put_unwinding_aside`.
    pub(crate) fn has_unwinding_aside(&self) -> bool {
        self.limits().any(|limit| limit.kind == Kind::Aside)
    }
}
