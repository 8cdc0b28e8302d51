//! A lock that its owner may take again: a [`RawLock`], its owner, and how often the owner has it.
//!
//! The owner is a green thread, or the root of an OS thread, by its number (`hub::context`). Only the owner ever finds
//! its own number in `owner`, so that comparison needs no order among threads; what one owner does is shown to the next
//! by the lock.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};

use super::raw_lock::RawLock;
use crate::hub;
use crate::task::Reason;

const REASON: Reason = Reason::On(&"a lock (sync::ReentrantLock)");

/// A lock that the green thread that holds it may lock again: gevent's `RLock`, in the shape of std's (unstable)
/// `ReentrantLock`.
///
/// It is handed over in the order in which others came, when its owner has dropped as many guards as it has got.
/// Because its owner may have several, a guard gives only shared access to the value, and there is no poisoning.
///
/// # Examples
///
/// ```
/// use std::cell::RefCell;
/// use greenhub::sync::ReentrantLock;
///
/// static LOG: ReentrantLock<RefCell<Vec<&str>>> = ReentrantLock::new(RefCell::new(Vec::new()));
///
/// fn log(line: &'static str) {
///     LOG.lock().borrow_mut().push(line);
/// }
///
/// let both = LOG.lock();
/// log("these two lines");
/// log("stand together");
/// assert_eq!(both.borrow().len(), 2);
/// ```
pub struct ReentrantLock<T: ?Sized> {
    raw: RawLock,
    /// The owner's number, or zero.
    owner: AtomicU64,
    /// How many guards the owner has. Touched on the owner's OS thread only, where all the guards are.
    count: Cell<usize>,
    data: T,
}

// SAFETY: whoever owns the lock owns the value.
unsafe impl<T: ?Sized + Send> Send for ReentrantLock<T> {}
// SAFETY: a shared lock lets one OS thread at a time at the value and at the count, since guards stay where they were
// made.
unsafe impl<T: ?Sized + Send> Sync for ReentrantLock<T> {}

impl<T: ?Sized + UnwindSafe> UnwindSafe for ReentrantLock<T> {}
impl<T: ?Sized + RefUnwindSafe> RefUnwindSafe for ReentrantLock<T> {}

/// One hold of a [`ReentrantLock`], which ends when this is dropped.
///
/// Not `Send`, as std's.
///
/// # Examples
///
/// ```
/// let lock = greenhub::sync::ReentrantLock::new(1);
/// let (one, other) = (lock.lock(), lock.lock());
/// assert_eq!(*one + *other, 2);
/// ```
#[must_use = "if unused the ReentrantLock will immediately unlock"]
pub struct ReentrantLockGuard<'a, T: ?Sized + 'a> {
    lock: &'a ReentrantLock<T>,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives shared access to the value only.
unsafe impl<T: ?Sized + Sync> Sync for ReentrantLockGuard<'_, T> {}

impl<T> ReentrantLock<T> {
    /// A lock that nobody holds.
    ///
    /// # Examples
    ///
    /// See the type's.
    pub const fn new(t: T) -> ReentrantLock<T> {
        ReentrantLock {
            raw: RawLock::new(),
            owner: AtomicU64::new(0),
            count: Cell::new(0),
            data: t,
        }
    }

    /// The value, of which the caller is the only owner.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenhub::sync::ReentrantLock::new(1).into_inner(), 1);
    /// ```
    pub fn into_inner(self) -> T {
        self.data
    }
}

impl<T: ?Sized> ReentrantLock<T> {
    /// Takes the lock once more if the caller holds it, or waits until it can have it.
    ///
    /// A green thread that is killed or times out here unwinds without having had the lock; those behind it move up.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// See the type's.
    pub fn lock(&self) -> ReentrantLockGuard<'_, T> {
        let me = hub::context();
        if !self.is_owned_by(me) {
            self.raw.write(REASON);
            self.owner.store(me, Ordering::Relaxed);
        }
        self.guard()
    }

    /// Takes the lock if the caller holds it or nobody does.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::sync::ReentrantLock;
    ///
    /// static LOCK: ReentrantLock<()> = ReentrantLock::new(());
    /// let guard = LOCK.lock();
    /// assert!(LOCK.try_lock().is_some());
    /// assert!(greenhub::spawn(|| LOCK.try_lock().is_none()).join().unwrap());
    /// # drop(guard);
    /// ```
    pub fn try_lock(&self) -> Option<ReentrantLockGuard<'_, T>> {
        let me = hub::context();
        if !self.is_owned_by(me) {
            if !self.raw.try_write() {
                return None;
            }
            self.owner.store(me, Ordering::Relaxed);
        }
        Some(self.guard())
    }

    /// The value; nobody can hold the lock, as the borrow is exclusive.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut lock = greenhub::sync::ReentrantLock::new(1);
    /// *lock.get_mut() = 2;
    /// assert_eq!(*lock.lock(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.data
    }

    fn is_owned_by(&self, context: u64) -> bool {
        self.owner.load(Ordering::Relaxed) == context
    }

    /// One more guard for the owner.
    fn guard(&self) -> ReentrantLockGuard<'_, T> {
        self.count.set(self.count.get() + 1);
        ReentrantLockGuard {
            lock: self,
            not_send: PhantomData,
        }
    }
}

impl<T: ?Sized> Deref for ReentrantLockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lock.data
    }
}

impl<T: ?Sized> Drop for ReentrantLockGuard<'_, T> {
    fn drop(&mut self) {
        let count = self.lock.count.get() - 1;
        self.lock.count.set(count);
        if count == 0 {
            self.lock.owner.store(0, Ordering::Relaxed);
            self.lock.raw.unlock_write();
        }
    }
}

impl<T> From<T> for ReentrantLock<T> {
    fn from(t: T) -> Self {
        ReentrantLock::new(t)
    }
}

impl<T: Default> Default for ReentrantLock<T> {
    fn default() -> ReentrantLock<T> {
        ReentrantLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut output = f.debug_struct("ReentrantLock");
        match self.try_lock() {
            Some(guard) => output.field("data", &&*guard),
            None => output.field("data", &format_args!("<locked>")),
        };
        output.finish_non_exhaustive()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReentrantLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for ReentrantLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
