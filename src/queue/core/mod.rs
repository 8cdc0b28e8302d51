//! What all queues and channels are made of: items, and the tasks that wait to put and to get.
//!
//! # Handing over
//!
//! Nobody waits in `GETTERS` unless there are no items, and nobody in `PUTTERS` unless there is no room. Everybody else restores
//! that before he lets go of the lock: who puts gives the item to the getter that has waited longest, and who gets makes
//! the room available by moving the item of the putter that has waited longest into the queue. So each item and each bit
//! of room goes to the task that is due, which has no need of the lock once it is woken; a task that comes later cannot
//! take it away. An item travels through a `Slot` on the stack of the one who waits:
//!
//! | line      | slot while waiting | woken with it empty                  | woken with it full    |
//! |-----------|--------------------|--------------------------------------|-----------------------|
//! | `GETTERS` | empty              | the queue is closed                  | that is the item      |
//! | `PUTTERS` | the item           | it has been put                      | the queue is closed   |
//!
//! A wait that ends otherwise (time, cancellation) leaves the slot as it was: nothing has been got, or nothing put.
//!
//! # Code of the program
//!
//! Comparing and cloning items runs code of the program, which must not happen under the lock. The items are then *away*: one
//! task has them to itself, without the lock, and gives them back. `reserved` is set from then on until nobody waits in
//! `TURNS`: it is passed on from one to the next, so that whoever comes when the items are away, or promised to another,
//! queues up. A task of `TURNS` that is woken owns the items and finds `reserved` set; whoever is done passes it on.
//!
//! A call that finds the items reserved goes through `enter_in_turn`, and then does the same as others, with `IN_TURN`.
//!
//! A queue may be used from any thread if its items may.
#![allow(unsafe_code)]

mod enlist;
mod patience;
mod slot;

use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Instant;

use crate::park::TimedOut;
use crate::task::Reason;
use crate::wait_queue::{self, WaitQueue};

use super::container::Container;

pub(crate) use patience::{Nothing, Patience, Refused};
pub(crate) use slot::Slot;

/// Tasks that wait for an item to take.
const GETTERS: usize = 0;
/// Tasks that wait for room.
const PUTTERS: usize = 1;
/// Tasks that wait until somebody else is done with the items.
const TURNS: usize = 2;
/// Tasks that wait for an item to look at. They look again when they are woken.
const PEEKERS: usize = 3;
/// Tasks that wait until everything is done.
const JOINERS: usize = 4;
const LINES: usize = 5;

type Guard<'a, C> = wait_queue::Guard<'a, State<C>, LINES>;

/// See the module's documentation.
pub(crate) struct Core<C> {
    state: WaitQueue<State<C>, LINES>,
    names: &'static Names,
}

/// What deadlock reports say of those who wait.
pub(crate) struct Names {
    pub(crate) get: &'static str,
    pub(crate) put: &'static str,
}

const TURN: &str = "another green thread that looks at the items of a queue";
const DONE: &str = "everything in a queue to be done (queue::JoinableQueue)";

struct State<C> {
    items: C,
    /// The length that the items will have when they are back, while they are away.
    away: Option<usize>,
    /// Whether one task has the items to itself; see above.
    reserved: bool,
    /// Whether nothing may be put any more.
    closed: bool,
    capacity: usize,
    /// Items that were put and have not been reported as done.
    unfinished: usize,
}

impl<C: Container> State<C> {
    fn len(&self) -> usize {
        self.away.unwrap_or_else(|| self.items.len())
    }
}

/// The items, while one task has them to itself. They go back when this is dropped.
struct Away<'a, C: Container> {
    core: &'a Core<C>,
    items: C,
}

impl<C: Container> Drop for Away<'_, C> {
    fn drop(&mut self) {
        let mut guard = self.core.state.lock();
        mem::swap(&mut guard.items, &mut self.items);
        guard.away = None;
        if guard.items.len() > 0 {
            guard.notify_all_in(PEEKERS);
        }
        pass_on(guard);
    }
}

// Guards are passed by value to what is not inlined: one whose address is taken has to live in memory, and moving it from one
// place to another there costs more than the lock.

/// Lets the next task that waits for its turn have the items to itself.
#[cold]
fn pass_on<C>(mut guard: Guard<'_, C>) -> Guard<'_, C> {
    guard.reserved = guard.notify_one_in(TURNS);
    guard
}

/// What everybody calls who is done with the items but still has the lock. `IN_TURN` says that the items were his alone.
#[inline(always)]
fn leave<const IN_TURN: bool, C>(guard: Guard<'_, C>) -> Guard<'_, C> {
    if IN_TURN {
        return pass_on(guard);
    }
    guard
}

#[cold]
fn wake_peekers<C>(mut guard: Guard<'_, C>) {
    guard.notify_all_in(PEEKERS);
    if guard.reserved {
        pass_on(guard);
    }
}

/// Gives the item to the getter that has waited longest, or back.
#[inline(always)]
fn give_to_getter<C: Container>(guard: &mut Guard<'_, C>, item: C::Item) -> Option<C::Item> {
    let mut item = Some(item);
    while let Some(cargo) = guard.first_in(GETTERS) {
        // SAFETY: a getter has lent out an empty slot, which is there while the lock is held. A wait that is ended from here
        // has its slot left alone from then on.
        unsafe {
            Slot::fill(cargo, item);
            if guard.notify_first_in(GETTERS) {
                guard.unfinished += 1;
                return None;
            }
            item = Slot::empty(cargo);
        }
    }
    item
}

/// Takes the item of the putter that has waited longest.
#[inline(always)]
fn take_from_putter<C: Container>(guard: &mut Guard<'_, C>) -> Option<C::Item> {
    while let Some(cargo) = guard.first_in(PUTTERS) {
        // SAFETY: as in `give_to_getter`; a putter's slot has its item.
        unsafe {
            let item = Slot::empty(cargo);
            if guard.notify_first_in(PUTTERS) {
                guard.unfinished += 1;
                return item;
            }
            Slot::fill(cargo, item);
        }
    }
    None
}

/// Takes out the item whose turn it is, and puts the next one in, if there is one.
#[inline(always)]
fn exchange<C: Container>(items: &mut C, next: Option<C::Item>) -> C::Item {
    match next {
        Some(next) => items.replace(next),
        None => items.pop().expect("there is an item"),
    }
}

impl<C> Core<C> {
    pub(crate) const fn new(items: C, capacity: usize, names: &'static Names) -> Self {
        let state = State {
            items,
            away: None,
            reserved: false,
            closed: false,
            capacity,
            unfinished: 0,
        };
        Core {
            state: WaitQueue::new(state),
            names,
        }
    }
}

impl<C: Container> Core<C> {
    /// Waits until the items are there and this task's to use.
    #[cold]
    fn enter_in_turn<'a>(
        &'a self,
        guard: Guard<'a, C>,
        patience: Patience,
    ) -> Option<Guard<'a, C>> {
        let outcome = guard.wait_in(TURNS, Reason::On(&TURN), patience.deadline());
        outcome.is_ok().then(|| self.state.lock())
    }

    /// Takes the items away from under the lock. They will be `len` when they come back.
    fn take_away<'a>(&'a self, mut guard: Guard<'a, C>, len: usize) -> Away<'a, C> {
        debug_assert!(guard.away.is_none(), "only one task has the items");
        guard.reserved = true;
        guard.away = Some(len);
        let items = mem::replace(&mut guard.items, C::EMPTY);
        Away { core: self, items }
    }

    /// Puts the item in, when there is room.
    #[inline(always)]
    pub(crate) fn put(&self, item: C::Item, patience: Patience) -> Result<(), Refused<C::Item>> {
        let guard = self.state.lock();
        if guard.reserved {
            return self.put_in_turn(guard, item, patience);
        }
        self.put_now::<false>(guard, item, patience)
    }

    #[cold]
    fn put_in_turn<'a>(
        &'a self,
        guard: Guard<'a, C>,
        item: C::Item,
        patience: Patience,
    ) -> Result<(), Refused<C::Item>> {
        match self.enter_in_turn(guard, patience) {
            Some(guard) => self.put_now::<true>(guard, item, patience),
            None => Err(Refused::Full(item)),
        }
    }

    #[inline(always)]
    fn put_now<'a, const IN_TURN: bool>(
        &'a self,
        mut guard: Guard<'a, C>,
        item: C::Item,
        patience: Patience,
    ) -> Result<(), Refused<C::Item>> {
        if guard.closed {
            leave::<IN_TURN, _>(guard);
            return Err(Refused::Closed(item));
        }
        let Some(item) = give_to_getter(&mut guard, item) else {
            leave::<IN_TURN, _>(guard);
            return Ok(());
        };
        let len = guard.items.len();
        if len < guard.capacity {
            self.store::<IN_TURN>(guard, item, len);
            return Ok(());
        }
        let guard = leave::<IN_TURN, _>(guard);
        if let Patience::None = patience {
            return Err(Refused::Full(item));
        }
        let slot = Slot::new(Some(item));
        let reason = Reason::On(&self.names.put);
        let outcome = guard.wait_with(PUTTERS, slot.cargo(), reason, patience.deadline());
        match (slot.into_item(), outcome) {
            (None, _) => Ok(()),
            (Some(item), Ok(())) => Err(Refused::Closed(item)),
            (Some(item), Err(TimedOut)) => Err(Refused::Full(item)),
        }
    }

    /// Adds an item to the `len` others.
    #[inline(always)]
    fn store<'a, const IN_TURN: bool>(
        &'a self,
        mut guard: Guard<'a, C>,
        item: C::Item,
        len: usize,
    ) {
        guard.unfinished += 1;
        if C::RUNS_FOREIGN_CODE {
            self.take_away(guard, len + 1).items.push(item);
            return;
        }
        guard.items.push(item);
        if guard.first_in(PEEKERS).is_some() {
            wake_peekers(guard);
        } else {
            leave::<IN_TURN, _>(guard);
        }
    }

    /// Takes an item out, when there is one.
    #[inline(always)]
    pub(crate) fn get(&self, patience: Patience) -> Result<C::Item, Nothing> {
        let guard = self.state.lock();
        if guard.reserved {
            return self.get_in_turn(guard, patience);
        }
        self.get_now::<false>(guard, patience)
    }

    #[cold]
    fn get_in_turn<'a>(
        &'a self,
        guard: Guard<'a, C>,
        patience: Patience,
    ) -> Result<C::Item, Nothing> {
        match self.enter_in_turn(guard, patience) {
            Some(guard) => self.get_now::<true>(guard, patience),
            None => Err(Nothing::Empty),
        }
    }

    #[inline(always)]
    fn get_now<'a, const IN_TURN: bool>(
        &'a self,
        mut guard: Guard<'a, C>,
        patience: Patience,
    ) -> Result<C::Item, Nothing> {
        let len = guard.items.len();
        let next = take_from_putter(&mut guard);
        if len > 0 {
            return Ok(self.take_out::<IN_TURN>(guard, next, len));
        }
        // Only a queue without any capacity has putters but no items.
        if let Some(item) = next {
            leave::<IN_TURN, _>(guard);
            return Ok(item);
        }
        let guard = leave::<IN_TURN, _>(guard);
        if guard.closed {
            return Err(Nothing::Closed);
        }
        if let Patience::None = patience {
            return Err(Nothing::Empty);
        }
        let slot = Slot::new(None);
        let reason = Reason::On(&self.names.get);
        guard
            .wait_with(GETTERS, slot.cargo(), reason, patience.deadline())
            .map_err(|TimedOut| Nothing::Empty)?;
        slot.into_item().ok_or(Nothing::Closed)
    }

    /// Takes one of the `len` items out, and puts the next one in, if there is one.
    #[inline(always)]
    fn take_out<'a, const IN_TURN: bool>(
        &'a self,
        mut guard: Guard<'a, C>,
        next: Option<C::Item>,
        len: usize,
    ) -> C::Item {
        if C::RUNS_FOREIGN_CODE {
            let len = len - usize::from(next.is_none());
            return exchange(&mut self.take_away(guard, len).items, next);
        }
        let item = exchange(&mut guard.items, next);
        leave::<IN_TURN, _>(guard);
        item
    }

    /// Clones the item whose turn it is, when there is one.
    pub(crate) fn peek(&self, patience: Patience) -> Result<C::Item, Nothing>
    where
        C::Item: Clone,
    {
        loop {
            let mut guard = self.state.lock();
            if guard.reserved {
                guard = self.enter_in_turn(guard, patience).ok_or(Nothing::Empty)?;
            }
            let len = guard.items.len();
            if len > 0 {
                let away = self.take_away(guard, len);
                return Ok(away.items.first().expect("there is an item").clone());
            }
            if guard.reserved {
                guard = pass_on(guard);
            }
            if guard.closed {
                return Err(Nothing::Closed);
            }
            if let Patience::None = patience {
                return Err(Nothing::Empty);
            }
            let reason = Reason::On(&self.names.get);
            guard
                .wait_in(PEEKERS, reason, patience.deadline())
                .map_err(|TimedOut| Nothing::Empty)?;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.state.lock().capacity
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Lets nothing be put any more. Whoever waits to put fails, and so does whoever waits to get.
    pub(crate) fn close(&self) {
        close(&mut self.state.lock());
    }

    /// Closes, and takes out what is left.
    pub(crate) fn close_immediately(&self) -> C {
        let mut guard = self.state.lock();
        if guard.reserved {
            let entered = self.enter_in_turn(guard, Patience::Forever);
            guard = entered.expect("there is no deadline");
        }
        close(&mut guard);
        let items = mem::replace(&mut guard.items, C::EMPTY);
        guard.unfinished = guard.unfinished.saturating_sub(items.len());
        if guard.unfinished == 0 {
            guard.notify_all_in(JOINERS);
        }
        if guard.reserved {
            pass_on(guard);
        }
        items
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.state.lock().unfinished
    }

    /// Counts one item as done. Fails when all are.
    pub(crate) fn finish_one(&self) -> bool {
        let mut guard = self.state.lock();
        let Some(unfinished) = guard.unfinished.checked_sub(1) else {
            return false;
        };
        guard.unfinished = unfinished;
        if unfinished == 0 {
            guard.notify_all_in(JOINERS);
        }
        true
    }

    /// Waits until all items are done.
    pub(crate) fn join(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        let guard = self.state.lock();
        if guard.unfinished == 0 {
            return Ok(());
        }
        guard.wait_in(JOINERS, Reason::On(&DONE), deadline)
    }
}

fn close<C: Container>(guard: &mut Guard<'_, C>) {
    guard.closed = true;
    guard.notify_all_in(GETTERS);
    guard.notify_all_in(PUTTERS);
    guard.notify_all_in(PEEKERS);
}

// A panic of the program's code leaves no trace in a queue: the items come back, and their order is whatever a comparison
// that panics makes of it.
impl<C> UnwindSafe for Core<C> {}
impl<C> RefUnwindSafe for Core<C> {}
