//! Greenlets: functions that switch to each other, explicitly and symmetrically.
//!
//! A [`Greenlet`] is that of Python's package of this name: whoever runs says who runs next, and waits until somebody
//! switches back. Nobody else decides. The classic demonstration:
//!
//! ```
//! use greenhub::greenlet::Greenlet;
//! use std::cell::{OnceCell, RefCell};
//! use std::rc::Rc;
//!
//! let printed = Rc::new(RefCell::new(Vec::new()));
//! let print = |printed: &Rc<RefCell<Vec<u32>>>| {
//!     let printed = Rc::clone(printed);
//!     move |number| printed.borrow_mut().push(number)
//! };
//! // Each has to know the other, so one of them is filled in later.
//! let first = Rc::new(OnceCell::<Greenlet<()>>::new());
//! let second = Greenlet::new({
//!     let (first, print) = (Rc::clone(&first), print(&printed));
//!     move |()| {
//!         print(56);
//!         first.get().unwrap().switch(());
//!         print(78);
//!     }
//! });
//! let _ = first.set(Greenlet::new({
//!     let print = print(&printed);
//!     move |()| {
//!         print(12);
//!         second.switch(());
//!         print(34);
//!         second.switch(());
//!     }
//! }));
//! first.get().unwrap().switch(());
//! assert_eq!(*printed.borrow(), [12, 56, 34, 78]);
//! ```
//!
//! # Values
//!
//! [`switch`](Greenlet::switch) takes a value along, and returns the one that comes with the switch back. The first switch to
//! a greenlet starts its function with the value as argument. What the function returns goes to the *parent*, the one
//! that created the greenlet, as if it had been switched to; so does a panic, which comes out of the parent's `switch`.
//!
//! Rust wants to know the type of values: greenlets that switch to each other with values of type `S` are `Greenlet<S>`.
//! An enum does where different things are said.
//!
//! # greenlet and greenhub
//!
//! | greenlet                         | greenhub                                                                       |
//! |----------------------------------|--------------------------------------------------------------------------------|
//! | `greenlet(run)`                  | [`Greenlet::new`]                                                              |
//! | `g.switch(value)`                | [`g.switch(value)`](Greenlet::switch)                                          |
//! | `g.throw(exception)`             | [`g.throw(payload)`](Greenlet::throw)                                          |
//! | `g.throw()`, `GreenletExit`      | [`g.kill()`](Greenlet::kill), which comes back to the killer                   |
//! | `g.dead`                         | [`g.is_dead()`](Greenlet::is_dead)                                             |
//! | `g.parent`                       | [`g.parent()`](Greenlet::parent); cannot be changed                            |
//! | `getcurrent()`                   | [`Greenlet::current`]                                                          |
//! | switching to a dead greenlet     | the same: switches to its parent                                               |
//! | `gr_frame`, `settrace`           | none                                                                           |
//!
//! # Green threads
//!
//! Each greenlet is a green thread, with locals and an identity of its own, and any green thread, or the root, may switch to
//! a greenlet of its OS thread: it is [`Greenlet::current`] then. What greenlet cannot have exists here: a greenlet
//! that blocks in something else than `switch`, while other green threads run. It can be switched to only when it waits in
//! `switch`; otherwise that is a panic.
//!
//! A kill or a time limit that ends a wait in `switch` concerns the one that waits. The others stay where they are, and
//! cannot switch to it any more.

mod member;

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::ptr;
use std::rc::{Rc, Weak};

use crate::hub;
use crate::park;
use crate::thread::{self, JoinHandle, Spawn};

use member::{Mail, Member, run};

/// A function that others switch to, and that switches to others; see the [module's documentation](self).
///
/// This is a handle, of which there may be more. When the last one is dropped, a greenlet that has not ended is unwound, as
/// by [`kill`](Greenlet::kill). The function of one that was never switched to is dropped without running. Greenlets
/// that own handles to each other, and one that has dropped the last handle to itself, are unwound at the end of their OS
/// thread if they do not end before.
///
/// # Examples
///
/// ```
/// use greenhub::greenlet::Greenlet;
///
/// let parent = Greenlet::<u32>::current();
/// let adder = Greenlet::new(move |mut sum| {
///     while sum < 10 {
///         sum += parent.switch(sum);
///     }
///     100
/// });
/// assert_eq!(adder.switch(3), 3);
/// assert_eq!(adder.switch(4), 7);
/// assert_eq!(adder.switch(5), 100, "that is what it returned");
/// assert!(adder.is_dead());
/// ```
pub struct Greenlet<S: 'static> {
    member: Rc<Member<S>>,
    /// None for a green thread that was not made as a greenlet.
    owner: Option<Rc<Owner<S>>>,
}

/// What the handles of a greenlet have in common.
struct Owner<S: 'static> {
    member: Rc<Member<S>>,
    stage: Cell<Stage<S>>,
}

enum Stage<S> {
    /// This spawns the greenlet's green thread with its first value.
    Fresh(Box<dyn FnOnce(S) -> JoinHandle<()>>),
    Started(JoinHandle<()>),
    Ended,
}

impl<S> Greenlet<S> {
    /// A greenlet that will run `f` when it is first switched to. Its parent is the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::greenlet::Greenlet;
    ///
    /// let double = Greenlet::new(|number: u32| number * 2);
    /// assert_eq!(double.switch(21), 42);
    /// ```
    #[track_caller]
    pub fn new<F>(f: F) -> Greenlet<S>
    where
        F: FnOnce(S) -> S + 'static,
    {
        let options = Spawn::lazily(ptr::null(), Location::caller());
        let member = Rc::new(Member::new(Some(Member::current())));
        let for_body = Rc::clone(&member);
        let start = move |first| thread::spawn_with(move || run(&for_body, f, first), options);
        let owner = Rc::new(Owner {
            member: Rc::clone(&member),
            stage: Cell::new(Stage::Fresh(Box::new(start))),
        });
        let was_set = member.owner.set(Rc::downgrade(&owner));
        debug_assert!(was_set.is_ok(), "a member is made with its owner");
        Greenlet {
            member,
            owner: Some(owner),
        }
    }

    /// The one that runs: a greenlet, or the green thread or root that takes part as one.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::greenlet::Greenlet;
    ///
    /// let root = Greenlet::<&str>::current();
    /// let child = Greenlet::new(move |_| root.switch("before the end"));
    /// assert_eq!(child.switch(""), "before the end");
    /// ```
    #[must_use]
    pub fn current() -> Greenlet<S> {
        Greenlet::of(Member::current())
    }

    fn of(member: Rc<Member<S>>) -> Greenlet<S> {
        let owner = member.owner.get().and_then(Weak::upgrade);
        Greenlet { member, owner }
    }

    /// The one that created this greenlet, and gets what it returns. None if it is no greenlet but a green thread or root.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::greenlet::Greenlet;
    ///
    /// let child = Greenlet::new(|()| ());
    /// assert_eq!(child.parent(), Some(Greenlet::current()));
    /// assert_eq!(Greenlet::<()>::current().parent(), None);
    /// ```
    #[must_use]
    pub fn parent(&self) -> Option<Greenlet<S>> {
        self.member.parent.clone().map(Greenlet::of)
    }

    /// Whether the function has returned or unwound.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::greenlet::Greenlet;
    ///
    /// let child = Greenlet::new(|()| ());
    /// assert!(!child.is_dead(), "it has not even started");
    /// child.switch(());
    /// assert!(child.is_dead());
    /// ```
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.member.dead.get()
    }

    /// Lets the greenlet go on, with `value`, and waits until somebody switches back. Returns the value that comes with that.
    ///
    /// Switching to a dead greenlet switches to its parent instead. Switching to oneself returns the value at once.
    ///
    /// # Panics
    ///
    /// Panics when the greenlet waits for something else than a switch; when the caller unwinds, which in a destructor aborts
    /// the process; with what a child has panicked with; and in the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::greenlet::Greenlet;
    ///
    /// let child = Greenlet::new(|word: String| word + ", world");
    /// assert_eq!(child.switch("hello".into()), "hello, world");
    /// assert_eq!(child.switch("dead".into()), "dead", "its parent is the caller");
    /// ```
    // Inlined for the sake of the processor's return prediction, as `Hub::switch_out` explains.
    #[inline(always)]
    pub fn switch(&self, value: S) -> S {
        self.deliver(Mail::Value(value))
    }

    /// As [`switch`](Greenlet::switch), but the greenlet unwinds with `payload` from where it waits.
    ///
    /// If it does not catch that, it is dead, and its parent gets the payload in the same way. One that has not started dies
    /// without running.
    ///
    /// # Panics
    ///
    /// As `switch`; with `payload` if the caller is the parent and nobody catches it before.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::greenlet::Greenlet;
    /// use std::panic::{AssertUnwindSafe, catch_unwind};
    ///
    /// let parent = Greenlet::<()>::current();
    /// let child = Greenlet::new(move |()| parent.switch(()));
    /// child.switch(());
    /// let thrown = catch_unwind(AssertUnwindSafe(|| child.throw(Box::new("enough"))));
    /// assert_eq!(*thrown.unwrap_err().downcast::<&str>().unwrap(), "enough");
    /// assert!(child.is_dead());
    /// ```
    pub fn throw(&self, payload: Box<dyn Any + Send>) -> S {
        self.deliver(Mail::Thrown(payload))
    }

    /// Unwinds the greenlet from where it waits, and waits until it is dead. Its parent does not hear of it.
    ///
    /// One that has not started never runs; for a dead one nothing happens. A greenlet that kills itself unwinds at once.
    ///
    /// # Panics
    ///
    /// Panics if it is no greenlet but a green thread or root; in programs that are built with `panic = "abort"`; and in
    /// the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::greenlet::Greenlet;
    ///
    /// let parent = Greenlet::<()>::current();
    /// let child = Greenlet::new(move |()| parent.switch(()));
    /// child.switch(());
    /// child.kill();
    /// assert!(child.is_dead());
    /// ```
    pub fn kill(&self) {
        let owner = self.owner.as_ref();
        owner.expect("only a greenlet can be killed").end();
        park::unwind_if_interrupted();
    }

    #[inline(always)]
    fn deliver(&self, mail: Mail<S>) -> S {
        let me = Member::current();
        match self.hand_over(&me, mail) {
            Some(own) => own.open(),
            None => me.receive(),
        }
    }

    /// Wakes or starts whoever the mail is for. Returns it if that is the caller.
    fn hand_over(&self, me: &Rc<Member<S>>, mut mail: Mail<S>) -> Option<Mail<S>> {
        if hub::is_unwinding() {
            switched_while_unwinding();
        }
        // Met now, so that nothing has been handed over if it is.
        park::unwind_if_interrupted();
        if let Some(owner) = &self.owner {
            mail = owner.start(mail)?;
        }
        let target = Member::alive(&self.member);
        if Rc::ptr_eq(target, me) {
            return Some(mail);
        }
        if target.accept(mail).is_err() {
            not_switchable();
        }
        None
    }
}

#[cold]
fn switched_while_unwinding() -> ! {
    panic!("a greenlet cannot switch while it unwinds: it would not be switched back to");
}

#[cold]
fn not_switchable() -> ! {
    panic!("cannot switch to a greenlet that does not wait in `switch`");
}

impl<S> Owner<S> {
    /// Starts the greenlet with its first value, or has it die of its first payload. Gives the mail back if it was not used
    /// for a start, but is for the one who is alive.
    fn start(&self, mail: Mail<S>) -> Option<Mail<S>> {
        match (self.stage.replace(Stage::Ended), mail) {
            (Stage::Fresh(start), Mail::Value(value)) => {
                self.stage.set(Stage::Started(start(value)));
                None
            }
            (Stage::Fresh(start), mail) => {
                self.member.dead.set(true);
                drop(start);
                Some(mail)
            }
            (stage, mail) => {
                self.stage.set(stage);
                Some(mail)
            }
        }
    }

    /// Ends the greenlet, and waits until it has ended, unless it is the caller.
    fn end(&self) {
        let Stage::Started(handle) = self.stage.replace(Stage::Ended) else {
            // What was never started is dropped here.
            self.member.dead.set(true);
            return;
        };
        self.member.killed.set(true);
        handle.kill_nowait();
        if !handle.thread().is_current() {
            drop(park::shielded(|| handle.join()));
        }
    }
}

impl<S> Drop for Owner<S> {
    fn drop(&mut self) {
        if let Stage::Started(handle) = self.stage.get_mut()
            && (handle.is_finished()
                || handle.thread().is_current()
                || !handle.thread().is_at_home())
        {
            // It has ended, or goes on for as long as it is not switched away from, or has outlived its hub.
            return;
        }
        self.end();
    }
}

impl<S> Clone for Greenlet<S> {
    fn clone(&self) -> Self {
        Greenlet {
            member: Rc::clone(&self.member),
            owner: self.owner.clone(),
        }
    }
}

/// Two handles are equal if they are handles to the same greenlet.
impl<S> PartialEq for Greenlet<S> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.member, &other.member)
    }
}

impl<S> Eq for Greenlet<S> {}

impl<S> fmt::Debug for Greenlet<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Greenlet")
            .field("dead", &self.is_dead())
            .finish_non_exhaustive()
    }
}
