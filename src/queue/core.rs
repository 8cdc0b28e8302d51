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
//! A queue may be used from any thread if its items may.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Instant;

use crate::park::TimedOut;
use crate::task::{Reason, Waker};
use crate::wait_queue::{self, Place, WaitQueue};

use super::container::Container;
use super::error::{GetTimeoutError, PutTimeoutError, TryGetError, TryPutError};

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

/// Where a waiting task keeps the item that it puts, or finds the one that it gets.
pub(crate) struct Slot<T>(UnsafeCell<Option<T>>);

impl<T> Slot<T> {
    #[inline(always)]
    pub(crate) const fn new(item: Option<T>) -> Self {
        Slot(UnsafeCell::new(item))
    }

    #[inline(always)]
    pub(crate) fn into_item(self) -> Option<T> {
        self.0.into_inner()
    }

    #[inline(always)]
    fn cargo(&self) -> *const () {
        (&raw const *self).cast()
    }

    /// Puts the item in. The slot must be empty: nothing is dropped.
    ///
    /// # Safety
    ///
    /// `cargo` must be that of a `Slot<T>` which exists and which nobody else uses.
    #[inline(always)]
    unsafe fn fill(cargo: *const (), item: Option<T>) {
        // SAFETY: the caller's contract.
        unsafe { UnsafeCell::raw_get(cargo.cast::<UnsafeCell<Option<T>>>()).write(item) };
    }

    /// Takes the item out.
    ///
    /// # Safety
    ///
    /// As for `fill`.
    #[inline(always)]
    unsafe fn empty(cargo: *const ()) -> Option<T> {
        // SAFETY: the caller's contract.
        unsafe { (*UnsafeCell::raw_get(cargo.cast::<UnsafeCell<Option<T>>>())).take() }
    }
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
        pass_on(&mut guard);
    }
}

/// Lets the next task that waits for its turn have the items to itself.
#[cold]
fn pass_on<C: Container>(guard: &mut Guard<'_, C>) {
    guard.reserved = guard.notify_one_in(TURNS);
}

/// What everybody calls who is done with the items but still has the lock.
#[inline(always)]
fn leave<C: Container>(guard: &mut Guard<'_, C>) {
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
    /// The lock, when the items are there and this task's to use.
    #[inline(always)]
    fn enter(&self, deadline: Option<Instant>) -> Result<Guard<'_, C>, TimedOut> {
        let guard = self.state.lock();
        if guard.reserved {
            return self.enter_in_turn(guard, deadline);
        }
        Ok(guard)
    }

    #[cold]
    fn enter_in_turn<'a>(
        &'a self,
        guard: Guard<'a, C>,
        deadline: Option<Instant>,
    ) -> Result<Guard<'a, C>, TimedOut> {
        guard.wait_in(TURNS, Reason::On(&TURN), deadline)?;
        Ok(self.state.lock())
    }

    /// As `enter`, for as long as it takes.
    #[inline(always)]
    fn enter_at_last(&self) -> Guard<'_, C> {
        match self.enter(None) {
            Ok(guard) => guard,
            Err(TimedOut) => unreachable!("there is no deadline"),
        }
    }

    /// Takes the items away from under the lock. They will be `len` when they come back.
    fn take_away<'a>(&'a self, mut guard: Guard<'a, C>, len: usize) -> Away<'a, C> {
        debug_assert!(guard.away.is_none(), "only one task has the items");
        guard.reserved = true;
        guard.away = Some(len);
        let items = mem::replace(&mut guard.items, C::EMPTY);
        Away { core: self, items }
    }

    /// Gives the item to a getter or adds it to the others, if there is room; or gives it back.
    #[inline(always)]
    fn accept<'a>(
        &'a self,
        mut guard: Guard<'a, C>,
        item: C::Item,
    ) -> Result<(), (Guard<'a, C>, C::Item)> {
        let Some(item) = give_to_getter(&mut guard, item) else {
            leave(&mut guard);
            return Ok(());
        };
        let len = guard.items.len();
        if len >= guard.capacity {
            return Err((guard, item));
        }
        guard.unfinished += 1;
        if C::RUNS_FOREIGN_CODE {
            self.take_away(guard, len + 1).items.push(item);
        } else {
            guard.items.push(item);
            guard.notify_all_in(PEEKERS);
            leave(&mut guard);
        }
        Ok(())
    }

    /// Takes an item, from a putter if there is no room for items.
    #[inline(always)]
    fn take<'a>(&'a self, mut guard: Guard<'a, C>) -> Result<C::Item, Guard<'a, C>> {
        let len = guard.items.len();
        let next = take_from_putter(&mut guard);
        if len == 0 {
            // Only a queue without any capacity has putters but no items.
            let Some(item) = next else {
                return Err(guard);
            };
            leave(&mut guard);
            return Ok(item);
        }
        if C::RUNS_FOREIGN_CODE {
            let len = len - usize::from(next.is_none());
            return Ok(exchange(&mut self.take_away(guard, len).items, next));
        }
        let item = exchange(&mut guard.items, next);
        leave(&mut guard);
        Ok(item)
    }

    /// Puts the item in, waiting for room until the deadline.
    #[inline(always)]
    pub(crate) fn put(
        &self,
        item: C::Item,
        deadline: Option<Instant>,
    ) -> Result<(), PutTimeoutError<C::Item>> {
        let Ok(mut guard) = self.enter(deadline) else {
            return Err(PutTimeoutError::Timeout(item));
        };
        if guard.closed {
            leave(&mut guard);
            return Err(PutTimeoutError::Closed(item));
        }
        let (mut guard, item) = match self.accept(guard, item) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        leave(&mut guard);
        let slot = Slot::new(Some(item));
        let outcome = guard.wait_with(PUTTERS, slot.cargo(), Reason::On(&self.names.put), deadline);
        match (slot.into_item(), outcome) {
            (None, _) => Ok(()),
            (Some(item), Ok(())) => Err(PutTimeoutError::Closed(item)),
            (Some(item), Err(TimedOut)) => Err(PutTimeoutError::Timeout(item)),
        }
    }

    /// Puts the item in if there is room.
    #[inline(always)]
    pub(crate) fn try_put(&self, item: C::Item) -> Result<(), TryPutError<C::Item>> {
        let mut guard = self.enter_at_last();
        if guard.closed {
            leave(&mut guard);
            return Err(TryPutError::Closed(item));
        }
        self.accept(guard, item).map_err(|(mut guard, item)| {
            leave(&mut guard);
            TryPutError::Full(item)
        })
    }

    /// Takes an item out, waiting for one until the deadline.
    #[inline(always)]
    pub(crate) fn get(&self, deadline: Option<Instant>) -> Result<C::Item, GetTimeoutError> {
        let Ok(guard) = self.enter(deadline) else {
            return Err(GetTimeoutError::Timeout);
        };
        let mut guard = match self.take(guard) {
            Ok(item) => return Ok(item),
            Err(guard) => guard,
        };
        leave(&mut guard);
        if guard.closed {
            return Err(GetTimeoutError::Closed);
        }
        let slot = Slot::new(None);
        guard
            .wait_with(GETTERS, slot.cargo(), Reason::On(&self.names.get), deadline)
            .map_err(|TimedOut| GetTimeoutError::Timeout)?;
        slot.into_item().ok_or(GetTimeoutError::Closed)
    }

    /// Takes an item out if there is one.
    #[inline(always)]
    pub(crate) fn try_get(&self) -> Result<C::Item, TryGetError> {
        let guard = self.enter_at_last();
        self.take(guard).map_err(|mut guard| {
            leave(&mut guard);
            empty_or_closed(&guard)
        })
    }

    /// Clones the item whose turn it is, if there is one.
    pub(crate) fn try_peek(&self) -> Result<C::Item, TryGetError>
    where
        C::Item: Clone,
    {
        let guard = self.enter_at_last();
        self.look(guard).map_err(|mut guard| {
            leave(&mut guard);
            empty_or_closed(&guard)
        })
    }

    /// Clones the item whose turn it is, waiting for one until the deadline.
    pub(crate) fn peek(&self, deadline: Option<Instant>) -> Result<C::Item, GetTimeoutError>
    where
        C::Item: Clone,
    {
        loop {
            let Ok(guard) = self.enter(deadline) else {
                return Err(GetTimeoutError::Timeout);
            };
            let mut guard = match self.look(guard) {
                Ok(item) => return Ok(item),
                Err(guard) => guard,
            };
            leave(&mut guard);
            if guard.closed {
                return Err(GetTimeoutError::Closed);
            }
            guard
                .wait_in(PEEKERS, Reason::On(&self.names.get), deadline)
                .map_err(|TimedOut| GetTimeoutError::Timeout)?;
        }
    }

    fn look<'a>(&'a self, guard: Guard<'a, C>) -> Result<C::Item, Guard<'a, C>>
    where
        C::Item: Clone,
    {
        let len = guard.items.len();
        if len == 0 {
            return Err(guard);
        }
        let away = self.take_away(guard, len);
        Ok(away.items.first().expect("there is an item").clone())
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
        let mut guard = self.enter_at_last();
        close(&mut guard);
        let items = mem::replace(&mut guard.items, C::EMPTY);
        guard.unfinished = guard.unfinished.saturating_sub(items.len());
        if guard.unfinished == 0 {
            guard.notify_all_in(JOINERS);
        }
        leave(&mut guard);
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

    /// Makes a task that waits for several things stand in the line of the getters. Returns false, and does not, when
    /// `try_get` has to be tried instead.
    ///
    /// When the task's wait has been ended from here, the slot has the item; if not, the queue is closed.
    ///
    /// # Safety
    ///
    /// As for `enqueue` of the wait queue, with `withdraw` in place of `retract`; and the slot must be empty, and neither move nor
    /// be looked at before that.
    #[allow(dead_code, reason = "for waiting for several things at once")]
    pub(crate) unsafe fn enlist_getter(
        &self,
        place: &Place,
        slot: &Slot<C::Item>,
        waker: Waker,
    ) -> bool {
        let mut guard = self.state.lock();
        let wait = !guard.reserved
            && !guard.closed
            && guard.items.len() == 0
            && !guard.others_wait_in(PUTTERS, waker);
        if wait {
            // SAFETY: the caller's contract.
            unsafe { guard.enqueue_with(GETTERS, place, slot.cargo(), waker) };
        }
        wait
    }

    /// Makes a task that waits for several things stand in the line of the putters. Returns false, and does not, when
    /// `try_put` has to be tried instead.
    ///
    /// When the task's wait has been ended from here, the slot is empty; if not, the queue is closed.
    ///
    /// # Safety
    ///
    /// As for `enlist_getter`, but the slot must have the item.
    #[allow(dead_code, reason = "for waiting for several things at once")]
    pub(crate) unsafe fn enlist_putter(
        &self,
        place: &Place,
        slot: &Slot<C::Item>,
        waker: Waker,
    ) -> bool {
        let mut guard = self.state.lock();
        let wait = !guard.reserved
            && !guard.closed
            && guard.items.len() >= guard.capacity
            && !guard.others_wait_in(GETTERS, waker);
        if wait {
            // SAFETY: the caller's contract.
            unsafe { guard.enqueue_with(PUTTERS, place, slot.cargo(), waker) };
        }
        wait
    }

    /// Takes a task out of the line in which it was enlisted. Returns whether it still stood there; if not, its wait was
    /// ended from here, which the slot tells, or was about to when something else had ended it.
    #[allow(dead_code, reason = "for waiting for several things at once")]
    pub(crate) fn withdraw(&self, place: &Place) -> bool {
        self.state.lock().retract(place)
    }
}

fn close<C: Container>(guard: &mut Guard<'_, C>) {
    guard.closed = true;
    guard.notify_all_in(GETTERS);
    guard.notify_all_in(PUTTERS);
    guard.notify_all_in(PEEKERS);
}

fn empty_or_closed<C: Container>(guard: &Guard<'_, C>) -> TryGetError {
    if guard.closed {
        TryGetError::Closed
    } else {
        TryGetError::Empty
    }
}

// A panic of the program's code leaves no trace in a queue: the items come back, and their order is whatever a comparison
// that panics makes of it.
impl<C> UnwindSafe for Core<C> {}
impl<C> RefUnwindSafe for Core<C> {}
