//! Who is in a group, and who waits for that to change.
//!
//! A member is in the register from before its spawn until its closure has returned or unwound and all that the closure owned
//! has been dropped. What takes it out is its `Seat`, which is the last thing that its closure owns: no green thread has
//! to watch it, and a member that is killed before it starts leaves as well, because its closure is dropped. After that
//! a green thread only hands over its result.
//!
//! # Room
//!
//! `free` counts the seats that may still be taken; a group without limit begins with more than there can ever be. A seat that
//! is given back goes to the first one who waits in the line `ROOM`, without being counted as free in between. So while
//! somebody waits there nothing is free and nobody can overtake; and one who waits and is killed, or no longer waits, is
//! passed over, so that no seat is lost. Those in the line `AVAILABLE` take no seat: they are all woken when there is a
//! free one, and look.
//!
//! Everything here happens on the thread that made the group.

use std::panic::{Location, RefUnwindSafe};
use std::rc::Rc;
use std::time::Instant;

use slab::Slab;

use crate::park::{self, TimedOut};
use crate::task::Reason;
use crate::thread::{self, JoinHandle, Scope, Thread};
use crate::unwind::require_unwinding;
use crate::wait_queue::WaitQueue;

/// The line of those who wait for a seat.
const ROOM: usize = 0;
/// The line of those who wait until there is a free seat.
const AVAILABLE: usize = 1;
/// The line of those who wait until there are no members.
const EMPTY: usize = 2;

/// Registers larger than this are made anew when nobody is left in them, so that a burst leaves no memory behind.
const KEPT: usize = 64;

pub(super) struct Members {
    register: WaitQueue<Register, 3>,
}

struct Register {
    /// By seat. `None` while the green thread is being spawned.
    members: Slab<Option<Thread>>,
    /// The seats that may still be taken.
    free: usize,
    /// The calls of `kill` that wait for the end of the members: new ones share the lot of the others.
    kills: usize,
}

/// The place of a member, which it leaves by dropping this.
pub(super) struct Seat {
    members: Rc<Members>,
    key: usize,
}

/// What a member runs. The order of the fields is that in which they are dropped if it never runs.
pub(super) struct Member<F> {
    f: F,
    seat: Seat,
}

impl RefUnwindSafe for Members {}

impl Members {
    pub(super) fn new(size: usize) -> Rc<Members> {
        let register = WaitQueue::new(Register {
            members: Slab::new(),
            free: size,
            kills: 0,
        });
        Rc::new(Members { register })
    }

    pub(super) fn len(&self) -> usize {
        self.register.lock().members.len()
    }

    pub(super) fn free(&self) -> usize {
        self.register.lock().free
    }

    /// Takes a seat, and waits for one if none is free.
    #[inline(always)]
    pub(super) fn take(self: &Rc<Self>, deadline: Option<Instant>) -> Result<Seat, TimedOut> {
        let mut register = self.register.lock();
        if register.free > 0 {
            register.free -= 1;
        } else {
            register.wait_in(ROOM, Reason::On(&"room in a pool (pool::Pool)"), deadline)?;
            // The seat was not counted as free before it came to this one.
            register = self.register.lock();
        }
        Ok(self.sit_down(&mut register))
    }

    /// As `take`, for as long as it takes.
    #[inline(always)]
    pub(super) fn take_patiently(self: &Rc<Self>) -> Seat {
        match self.take(None) {
            Ok(seat) => seat,
            Err(TimedOut) => unreachable!("there is no deadline"),
        }
    }

    /// Takes a seat if one is free.
    pub(super) fn try_take(self: &Rc<Self>) -> Option<Seat> {
        let mut register = self.register.lock();
        register.free = register.free.checked_sub(1)?;
        Some(self.sit_down(&mut register))
    }

    fn sit_down(self: &Rc<Self>, register: &mut Register) -> Seat {
        Seat {
            members: Rc::clone(self),
            key: register.members.insert(None),
        }
    }

    /// Waits until a seat is free, and leaves it so.
    pub(super) fn wait_available(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        loop {
            let register = self.register.lock();
            if register.free > 0 {
                return Ok(());
            }
            let reason = Reason::On(&"room in a pool (Pool::wait_available)");
            register.wait_in(AVAILABLE, reason, deadline)?;
        }
    }

    /// Waits until there is a moment without members.
    #[track_caller]
    pub(super) fn wait_until_empty(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        let register = self.register.lock();
        if register.members.is_empty() {
            return Ok(());
        }
        if register.includes_caller() {
            drop(register);
            panic!("a member cannot wait for the end of its own group: it would wait for ever");
        }
        let reason = Reason::On(&"the end of all members of a group (pool::Group)");
        register.wait_in(EMPTY, reason, deadline)
    }

    /// Kills all members without waiting.
    pub(super) fn kill_nowait(&self) {
        require_unwinding("a kill");
        for (_, member) in &self.register.lock().members {
            if let Some(member) = member {
                member.kill_nowait();
            }
        }
    }

    /// Kills all members, and those that join them meanwhile, and waits for their end. A member that calls this unwinds; one
    /// that may not be unwound does not wait, as it would for itself.
    pub(super) fn kill(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        struct Killing<'a>(&'a Members);

        impl Drop for Killing<'_> {
            fn drop(&mut self) {
                self.0.register.lock().kills -= 1;
            }
        }

        self.kill_nowait();
        let mut register = self.register.lock();
        register.kills += 1;
        let includes_caller = register.includes_caller();
        drop(register);
        let _killing = Killing(self);
        if includes_caller {
            park::unwind_if_interrupted();
            return Err(TimedOut);
        }
        self.wait_until_empty(deadline)
    }

    /// Makes a member known that has just been spawned for a seat.
    pub(super) fn admit(&self, key: usize, member: &Thread) {
        let mut register = self.register.lock();
        if register.kills > 0 {
            member.kill_nowait();
        }
        register.members[key] = Some(member.clone());
    }
}

impl Register {
    fn includes_caller(&self) -> bool {
        let mut members = self
            .members
            .iter()
            .filter_map(|(_, member)| member.as_ref());
        members.any(Thread::is_current)
    }
}

impl Seat {
    pub(super) fn key(&self) -> usize {
        self.key
    }

    /// What the green thread that takes this seat has to run.
    pub(super) fn member<F>(self, f: F) -> Member<F> {
        Member { f, seat: self }
    }

    /// Spawns a member, on behalf of the code at `site`.
    pub(super) fn spawn<F, T>(self, site: &'static Location<'static>, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let (members, key) = (Rc::clone(&self.members), self.key);
        let member = self.member(f);
        let handle = thread::spawn_at(site, move || member.run());
        members.admit(key, handle.thread());
        handle
    }

    /// Spawns a member that starts when the green thread of `handle` has ended.
    #[track_caller]
    pub(super) fn link<F, T>(self, handle: &JoinHandle<T>, f: F)
    where
        F: FnOnce() + 'static,
    {
        let (members, key) = (Rc::clone(&self.members), self.key);
        let member = self.member(f);
        let link = handle.link(move |_, _| member.run());
        members.admit(key, link.thread());
    }

    /// Spawns a member that may borrow what outlives the scope.
    pub(super) fn spawn_scoped<'scope, F>(
        self,
        scope: &'scope Scope<'scope, '_>,
        site: &'static Location<'static>,
        f: F,
    ) where
        F: FnOnce() + 'scope,
    {
        let (members, key) = (Rc::clone(&self.members), self.key);
        let member = self.member(f);
        let handle = scope.spawn_at(site, move || member.run());
        members.admit(key, handle.thread());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut register = self.members.register.lock();
        let member = register.members.remove(self.key);
        if !register.notify_one_in(ROOM) {
            register.free += 1;
            register.notify_all_in(AVAILABLE);
        }
        if register.members.is_empty() {
            register.notify_all_in(EMPTY);
            if register.members.capacity() > KEPT {
                register.members = Slab::new();
            }
        }
        // To let go of a green thread may be to free it, with what the program has left in it.
        drop(register);
        drop(member);
    }
}

impl<F> Member<F> {
    pub(super) fn run<T>(self) -> T
    where
        F: FnOnce() -> T,
    {
        let Member { f, seat: _seat } = self;
        f()
    }
}
