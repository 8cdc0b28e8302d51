//! A lock for a few instructions that costs its first user's thread next to nothing.
//!
//! Most of what green threads wait for is used by the green threads of one OS thread, which run one at a time. A lock
//! is then only a matter of form, but with an ordinary one two atomic read-modify-writes cost more than the switch to
//! another green thread. This lock is *biased* to the first OS thread that takes it: that one locks and unlocks with plain
//! loads and stores. When another thread comes, it *revokes* the bias, once and for ever; then the lock is the ordinary
//! one, `raw`, for all.
//!
//! # States
//!
//! | `bias`   | the lock is held                               | set by                                       | may become       |
//! |----------|------------------------------------------------|----------------------------------------------|------------------|
//! | `FREE`   | by nobody                                      | `new`                                        | an id, `SHARED`  |
//! | an id    | while `busy` is set, by that thread            | that thread at its first `lock`, by CAS      | `SHARED`         |
//! | `SHARED` | by who holds `raw` and has seen `busy` cleared | `shared`; a thread that may not bias, by CAS; a revoker that holds `raw`, by a store | (stays) |
//!
//! The ids are those of OS threads, are never used again, and are given out only where the kernel supports `membarrier`. `busy` is
//! written by the thread of the bias alone, who sets it before it makes sure that the bias is still its own.
//!
//! # Why two threads never hold it at once
//!
//! *Two that find it `SHARED`* take `raw`. *The owner twice* would need a lock inside a lock, which is checked. *The owner and a
//! revoker:* the owner stores `busy` and then looks at `bias`; the revoker stores `SHARED` into `bias` and then looks at `busy`.
//! By `membarrier` between the two steps on either side, at least one of them sees the other's store. If the owner sees
//! `SHARED`, it clears `busy` and queues up for `raw`. If the revoker sees `busy`, it waits until that is cleared, by an owner
//! that either leaves or backs off. `busy` is cleared with release and awaited with acquire, so the revoker sees all that the
//! owner has done under the lock. *A revoker and one that finds it `SHARED`:* only who holds `raw` makes it so, and it lets go of
//! `raw` only when it unlocks, so the other gets `raw` after that. *Two revokers* queue up for `raw`; the second finds `SHARED`.
//!
//! An owner that has read its id from `bias` just before the revocation may set and clear `busy` once more after the revoker
//! has looked. That is all right: by then nobody looks at `busy` any more.
//!
//! A thread that has ended has left `busy` cleared, so its locks can be revoked as any. So can those in a forked child, where
//! only the forking thread goes on and keeps its id. (What another thread held at that moment stays locked, as with any lock.)
//!
//! # When not to
//!
//! A revocation may take many times as long as an ordinary lock (see `membarrier`). That is nothing for a lock that lives on,
//! but too much if every lock of a program is used a few times, and by two threads. Those of which one knows begin as
//! `shared`. For the rest, a thread stops to take biases when more than a small share of them is revoked.
#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::ops::{Deref, DerefMut};

use crate::atomic::{AtomicBool, AtomicU32, Mutex, MutexGuard, Ordering, back_off, thread_local};
use crate::membarrier;

const FREE: u32 = 0;
/// No lock is ever biased to it.
const NO_ID: u32 = 1;
const SHARED: u32 = u32::MAX;

/// Revocations that are all right in any case, and one for how many biases.
const REVOCATIONS_FREE: u32 = 64;
const BIASES_PER_REVOCATION: u32 = 32;

/// How often a bias has been revoked in this process.
static REVOCATIONS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The id of this OS thread, when it has one. No destructor: locks work until the very end of a thread.
    static ID: Cell<u32> = const { Cell::new(NO_ID) };
    /// The locks that this thread was the first to take.
    static FIRSTS: Cell<u32> = const { Cell::new(0) };
}

/// See the module's documentation.
pub(crate) struct BiasedLock<T> {
    /// See the table above.
    bias: AtomicU32,
    /// Whether the thread of the bias holds the lock, or is looking whether it may. Written by that thread only.
    busy: AtomicBool,
    /// The lock of all when `bias` is `SHARED`; before that, of those who want to make it so.
    raw: Mutex<()>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one thread at a time, as the module's documentation proves.
unsafe impl<T: Send> Sync for BiasedLock<T> {}

/// The locked value.
pub(crate) struct Guard<'a, T> {
    lock: &'a BiasedLock<T>,
    /// What there is to unlock: `raw` or, if this is empty, `busy`. Not `Send`, hence neither is this type.
    shared: Option<MutexGuard<'a, ()>>,
}

impl<T> BiasedLock<T> {
    /// A lock for what is used mostly by one thread.
    pub(crate) const fn new(value: T) -> Self {
        BiasedLock::with_bias(FREE, value)
    }

    /// A lock for what is used by several threads soon, and by each only a few times.
    pub(crate) const fn shared(value: T) -> Self {
        BiasedLock::with_bias(SHARED, value)
    }

    const fn with_bias(bias: u32, value: T) -> Self {
        BiasedLock {
            bias: AtomicU32::new(bias),
            busy: AtomicBool::new(false),
            raw: Mutex::new(()),
            value: UnsafeCell::new(value),
        }
    }

    /// # Panics
    ///
    /// Panics when the thread of the bias holds the lock already. (A thread that holds a shared lock waits for itself.)
    #[inline(always)]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let shared = if self.enter(ID.get()) {
            None
        } else {
            self.lock_otherwise()
        };
        Guard { lock: self, shared }
    }

    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner()
    }

    /// Takes the lock if it is biased to the calling thread, whose id is `me`.
    #[inline(always)]
    fn enter(&self, me: u32) -> bool {
        if self.bias.load(Ordering::Relaxed) != me {
            return false;
        }
        if self.busy.load(Ordering::Relaxed) {
            locked_twice();
        }
        self.busy.store(true, Ordering::Relaxed);
        membarrier::light();
        if self.bias.load(Ordering::Relaxed) == me {
            return true;
        }
        self.leave();
        false
    }

    #[inline(always)]
    fn leave(&self) {
        self.busy.store(false, Ordering::Release);
    }

    #[inline(never)]
    fn lock_otherwise(&self) -> Option<MutexGuard<'_, ()>> {
        let bias = self.bias.load(Ordering::Relaxed);
        if bias == SHARED {
            return Some(self.raw.lock());
        }
        self.settle(bias)
    }

    /// Takes a lock that nobody has taken before, or that is biased to another thread.
    #[cold]
    fn settle(&self, mut bias: u32) -> Option<MutexGuard<'_, ()>> {
        if bias == FREE {
            let wanted = wanted_bias();
            // What the lock protects was published to this thread with the lock: there is nothing to acquire.
            let settled =
                self.bias
                    .compare_exchange(FREE, wanted, Ordering::Relaxed, Ordering::Relaxed);
            bias = settled.map_or_else(|current| current, |_| wanted);
        }
        if bias == ID.get() && self.enter(bias) {
            return None;
        }
        let raw = self.raw.lock();
        if self.bias.load(Ordering::Relaxed) != SHARED {
            self.revoke(&raw);
        }
        Some(raw)
    }

    /// Makes the lock, which is biased to another thread, one for all, and waits until that thread does not hold it.
    fn revoke(&self, _raw: &MutexGuard<'_, ()>) {
        debug_assert!(![FREE, ID.get()].contains(&self.bias.load(Ordering::Relaxed)));
        self.bias.store(SHARED, Ordering::Relaxed);
        membarrier::heavy();
        REVOCATIONS.fetch_add(1, Ordering::Relaxed);
        let mut round = 0;
        // The owner may have been preempted while it held the lock, so this may take a while.
        while self.busy.load(Ordering::Acquire) {
            back_off(round);
            round = round.saturating_add(1);
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and the guard, of which there is one, borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        match self.shared.take() {
            None => {
                debug_assert!(self.lock.busy.load(Ordering::Relaxed));
                self.lock.leave();
            }
            Some(raw) => unlock_raw(raw),
        }
    }
}

#[inline(never)]
fn unlock_raw(raw: MutexGuard<'_, ()>) {
    drop(raw);
}

/// What a lock that this thread is the first to take should be biased to.
fn wanted_bias() -> u32 {
    let firsts = FIRSTS.get();
    FIRSTS.set(firsts.saturating_add(1));
    let revocations = REVOCATIONS.load(Ordering::Relaxed);
    if revocations > REVOCATIONS_FREE.saturating_add(firsts / BIASES_PER_REVOCATION) {
        return SHARED;
    }
    match ID.get() {
        NO_ID => take_id(),
        id => id,
    }
}

/// Gives the calling thread an id, if biases are possible, and returns what its locks should be biased to.
fn take_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(NO_ID + 1);
    if !membarrier::is_available() {
        return SHARED;
    }
    // After four billion threads the ids have run out.
    let next = |id| (id < SHARED).then(|| id + 1);
    let taken = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    taken.map_or(SHARED, |id| {
        ID.set(id);
        id
    })
}

#[cold]
fn locked_twice() -> ! {
    panic!("a short lock was taken by a thread that holds it already");
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    /// A lock that is biased to the calling thread, if biases are possible.
    fn own<T>(value: T) -> BiasedLock<T> {
        let me = match ID.get() {
            NO_ID => take_id(),
            id => id,
        };
        BiasedLock::with_bias(me, value)
    }

    fn bias<T>(lock: &BiasedLock<T>) -> u32 {
        lock.bias.load(Ordering::Relaxed)
    }

    #[test]
    fn stays_with_its_owner_until_another_thread_comes() {
        let lock = own(0);
        let before = bias(&lock);
        for _ in 0..3 {
            *lock.lock() += 1;
            assert_eq!(bias(&lock), before);
        }
        thread::scope(|scope| scope.spawn(|| *lock.lock() += 1).join().unwrap());
        assert_eq!(bias(&lock), SHARED);
        *lock.lock() += 1;
        assert_eq!(lock.into_inner(), 5);
    }

    #[test]
    fn shared_from_the_start_is_biased_to_nobody() {
        let lock = BiasedLock::shared(0);
        *lock.lock() += 1;
        assert_eq!(bias(&lock), SHARED);
        assert_eq!(lock.into_inner(), 1);
    }

    #[test]
    fn a_revoker_waits_until_the_owner_has_left() {
        let lock = own(false);
        let mut value = lock.lock();
        thread::scope(|scope| {
            let revoker = scope.spawn(|| *lock.lock());
            while ID.get() != NO_ID && bias(&lock) != SHARED {
                thread::yield_now();
            }
            *value = true;
            drop(value);
            assert!(revoker.join().unwrap());
        });
    }

    #[test]
    fn the_lock_of_a_thread_that_has_ended_can_be_taken() {
        let lock = thread::spawn(|| {
            let lock = own(1);
            *lock.lock() += 1;
            lock
        });
        let lock = lock.join().unwrap();
        *lock.lock() += 1;
        assert_eq!(bias(&lock), SHARED);
        assert_eq!(*lock.lock(), 3);
    }

    #[test]
    fn a_lock_inside_a_lock_is_noticed() {
        let lock = own(());
        if bias(&lock) == SHARED {
            return;
        }
        let outer = lock.lock();
        assert!(catch_unwind(AssertUnwindSafe(|| lock.lock())).is_err());
        drop(outer);
        drop(lock.lock());
    }

    /// No increment is lost to a revocation, wherever in its turns the owner is.
    #[test]
    fn excludes_each_other_while_revoked() {
        const ROUNDS: usize = 3000;
        const TURNS: usize = 200;
        for revokers in [1, 2] {
            let round = AtomicUsize::new(0);
            let arrived = AtomicUsize::new(0);
            let meet = |number| {
                if arrived.fetch_add(1, Ordering::SeqCst) == number * (1 + revokers) - 1 {
                    round.store(number, Ordering::SeqCst);
                }
                (0..)
                    .take_while(|_| round.load(Ordering::SeqCst) < number)
                    .for_each(back_off);
            };
            let locks: Vec<_> = (0..ROUNDS).map(|_| own(0)).collect();
            thread::scope(|scope| {
                for revoker in 0..revokers {
                    let (meet, locks) = (&meet, &locks);
                    scope.spawn(move || {
                        for (number, lock) in (1..).zip(locks) {
                            meet(number);
                            (0..(number * 7 + revoker) % 50).for_each(|_| std::hint::spin_loop());
                            *lock.lock() += 1;
                        }
                    });
                }
                for (number, lock) in (1..).zip(&locks) {
                    meet(number);
                    (0..TURNS).for_each(|_| *lock.lock() += 1);
                }
            });
            for lock in locks {
                assert_eq!(lock.into_inner(), TURNS + revokers);
            }
        }
    }

    #[test]
    fn threads_stop_to_take_biases_that_are_revoked() {
        for _ in 0..=REVOCATIONS_FREE {
            let lock = own(());
            thread::scope(|scope| scope.spawn(|| drop(lock.lock())).join().unwrap());
        }
        let lock = BiasedLock::new(());
        thread::scope(|scope| {
            scope.spawn(|| drop(lock.lock())).join().unwrap();
            assert_eq!(bias(&lock), SHARED);
        });
    }
}
