//! Those who switch to each other: where each waits, and what it is brought.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::{Rc, Weak};

use super::Owner;
use crate::handover::Seat;
use crate::task::Reason;
use crate::thread;

/// One of those who switch to each other with values of type `S`.
pub(super) struct Member<S: 'static> {
    seat: Seat,
    mail: Cell<Option<Mail<S>>>,
    pub(super) parent: Option<Rc<Member<S>>>,
    pub(super) dead: Cell<bool>,
    /// It is killed through its handles: its parent is not to hear of it.
    pub(super) killed: Cell<bool>,
    pub(super) owner: OnceCell<Weak<Owner<S>>>,
}

/// What a switch brings.
pub(super) enum Mail<S> {
    Value(S),
    Thrown(Box<dyn Any + Send>),
}

const WAITS: Reason = Reason::On(&"somebody to switch back (greenlet::Greenlet::switch)");

crate::green_local! {
    /// What the running task is to greenlets: one member for each type of values.
    static MEMBERS: RefCell<Vec<Rc<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

impl<S: 'static> Member<S> {
    pub(super) fn new(parent: Option<Rc<Member<S>>>) -> Member<S> {
        Member {
            seat: Seat::new(),
            mail: Cell::new(None),
            parent,
            dead: Cell::new(false),
            killed: Cell::new(false),
            owner: OnceCell::new(),
        }
    }

    /// The member that the running task is.
    pub(super) fn current() -> Rc<Member<S>> {
        MEMBERS.with_borrow_mut(|members| {
            let known = members.iter().find(|member| member.is::<Member<S>>());
            let known = known.and_then(|member| Rc::clone(member).downcast().ok());
            known.unwrap_or_else(|| {
                let member = Rc::new(Member::new(None));
                members.push(Rc::<Member<S>>::clone(&member));
                member
            })
        })
    }

    /// The member, or the nearest ancestor that is not dead. A green thread that is no greenlet never counts as dead.
    pub(super) fn alive(this: &Rc<Member<S>>) -> &Rc<Member<S>> {
        let mut member = this;
        while let (true, Some(parent)) = (member.dead.get(), &member.parent) {
            member = parent;
        }
        member
    }

    /// Waits to be switched to.
    // Inlined as `Greenlet::switch` is.
    #[inline(always)]
    pub(super) fn receive(&self) -> S {
        self.seat.wait(WAITS, || ());
        let mail = self.mail.take();
        mail.expect("whoever switches leaves mail").open()
    }

    /// Wakes the member with `mail`, or gives that back if it does not wait in `switch`.
    pub(super) fn accept(&self, mail: Mail<S>) -> Result<(), Mail<S>> {
        if !self.seat.is_taken() {
            return Err(mail);
        }
        self.mail.set(Some(mail));
        if self.seat.wake() {
            return Ok(());
        }
        // It waited, but is about to unwind.
        self.mail.take().map_or(Ok(()), Err)
    }
}

impl<S> Mail<S> {
    pub(super) fn open(self) -> S {
        match self {
            Mail::Value(value) => value,
            Mail::Thrown(payload) => resume_unwind(payload),
        }
    }
}

/// What the green thread of a greenlet does.
pub(super) fn run<S: 'static>(member: &Rc<Member<S>>, f: impl FnOnce(S) -> S, first: S) {
    MEMBERS.with_borrow_mut(|members| members.push(Rc::<Member<S>>::clone(member)));
    let result = catch_unwind(AssertUnwindSafe(|| f(first)));
    member.dead.set(true);
    let mut mail = match result {
        Ok(value) => Mail::Value(value),
        Err(payload) if member.killed.get() && thread::is_interruption(&*payload) => return,
        Err(payload) => Mail::Thrown(payload),
    };
    let mut ancestor = member.parent.as_ref();
    while let Some(member) = ancestor {
        match member.accept(mail) {
            Ok(()) => return,
            Err(unaccepted) => mail = unaccepted,
        }
        ancestor = member.parent.as_ref();
    }
    // Nobody waits for it: a value is dropped, and a panic is that of this green thread.
    mail.open();
}
