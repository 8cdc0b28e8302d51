//! Mutual exclusion: a value behind a [`RawLock`] that is only ever locked for writing, with std's poisoning.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, TryLockError, TryLockResult};

use super::poison;
use super::raw_lock::RawLock;
use crate::task::Reason;

const REASON: Reason = Reason::On(&"a lock (sync::Mutex)");

/// A lock that gives one green thread, or OS thread, at a time access to a value: [`std::sync::Mutex`].
///
/// It may be held across calls that wait: others that want it are suspended meanwhile. It is handed to them in the
/// order in which they came, and nobody who comes later gets it first.
///
/// # Poisoning
///
/// As in std, a mutex is poisoned when a green thread begins to unwind while it holds the guard, because the value may
/// be half changed. That is so for a panic, and also for a green thread that is killed or runs into a timeout while it
/// holds the guard. The unwinding of another green thread of the same OS thread poisons nothing.
///
/// # Differences from std
///
/// - Fair: an unlock with waiters passes the lock to the first of them.
/// - A green thread that locks the mutex again while it holds it waits for itself; if nothing else can happen, the
///   report of the deadlock says so.
/// - A green thread that begins to panic while another one of its OS thread is suspended in a destructor during *its*
///   unwinding is not recognised as panicking, and poisons nothing; see
///   [`thread::panicking`](crate::thread::panicking).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use greenhub::sync::Mutex;
///
/// let total = Arc::new(Mutex::new(0));
/// let workers = (0..10).map(|n| {
///     let total = Arc::clone(&total);
///     greenhub::spawn(move || {
///         let mut total = total.lock().unwrap();
///         let before = *total;
///         greenhub::yield_now();
///         *total = before + n;
///     })
/// });
/// greenhub::joinall(workers);
/// assert_eq!(*total.lock().unwrap(), 45);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawLock,
    poison: poison::Flag,
    data: UnsafeCell<T>,
}

// SAFETY: whoever owns the mutex owns the value.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: a shared mutex lets one thread at a time at the value, which is as good as sending it there.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

/// The lock of a [`Mutex`], which is released when this is dropped.
///
/// Not `Send`, as std's.
///
/// # Examples
///
/// ```
/// let mutex = greenhub::sync::Mutex::new(String::new());
/// let mut text = mutex.lock().unwrap();
/// text.push('x');
/// assert!(mutex.try_lock().is_err());
/// drop(text);
/// assert_eq!(*mutex.try_lock().unwrap(), "x");
/// ```
#[must_use = "if unused the Mutex will immediately unlock"]
pub struct MutexGuard<'a, T: ?Sized + 'a> {
    lock: &'a Mutex<T>,
    poison: poison::Guard,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives shared access to the value only.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// A mutex in the unlocked state.
    ///
    /// # Examples
    ///
    /// ```
    /// static HITS: greenhub::sync::Mutex<u64> = greenhub::sync::Mutex::new(0);
    /// *HITS.lock().unwrap() += 1;
    /// assert_eq!(*HITS.lock().unwrap(), 1);
    /// ```
    #[inline]
    pub const fn new(t: T) -> Mutex<T> {
        Mutex {
            raw: RawLock::new(),
            poison: poison::Flag::new(),
            data: UnsafeCell::new(t),
        }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until it can have the lock, and takes it.
    ///
    /// A green thread that is killed or times out here unwinds without having had the lock; those behind it move up.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned; the guard is in the error.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// let mutex = greenhub::sync::Mutex::new(1);
    /// *mutex.lock().unwrap() += 1;
    /// assert_eq!(mutex.into_inner().unwrap(), 2);
    /// ```
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.raw.write(REASON);
        self.guard()
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it is not; `Poisoned`, with the guard, if the mutex is poisoned.
    ///
    /// # Examples
    ///
    /// ```
    /// let mutex = greenhub::sync::Mutex::new(());
    /// let guard = mutex.try_lock().unwrap();
    /// assert!(matches!(mutex.try_lock(), Err(std::sync::TryLockError::WouldBlock)));
    /// # drop(guard);
    /// ```
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.try_write() {
            Ok(self.guard()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// For the one who has just taken the lock.
    #[inline]
    fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        let poison = self.poison.guard();
        self.poison.wrap(MutexGuard {
            lock: self,
            poison,
            not_send: PhantomData,
        })
    }

    /// Whether the mutex is poisoned. The answer can be out of date at once if another OS thread holds the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use greenhub::sync::Mutex;
    ///
    /// let mutex = Arc::new(Mutex::new(()));
    /// let theirs = Arc::clone(&mutex);
    /// let _ = greenhub::spawn(move || {
    ///     let _guard = theirs.lock().unwrap();
    ///     panic!("half-way");
    /// }).join();
    /// assert!(mutex.is_poisoned());
    /// ```
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poison.get()
    }

    /// Declares the value to be in order again.
    ///
    /// # Examples
    ///
    /// ```
    /// # let mutex = greenhub::sync::Mutex::new(0);
    /// # std::thread::scope(|s| { let _ = s.spawn(|| { let _g = mutex.lock(); panic!() }).join(); });
    /// let mut value = mutex.lock().unwrap_or_else(|mut poisoned| {
    ///     **poisoned.get_mut() = 1;
    ///     mutex.clear_poison();
    ///     poisoned.into_inner()
    /// });
    /// *value += 1;
    /// assert!(!mutex.is_poisoned());
    /// ```
    #[inline]
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The value, of which the caller is the only owner.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned; the value is in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenhub::sync::Mutex::new(7).into_inner().unwrap(), 7);
    /// ```
    pub fn into_inner(self) -> LockResult<T>
    where
        T: Sized,
    {
        let Mutex { poison, data, .. } = self;
        poison.wrap(data.into_inner())
    }

    /// The value; nobody else can have the lock, as the borrow is exclusive.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned; the reference is in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut mutex = greenhub::sync::Mutex::new(1);
    /// *mutex.get_mut().unwrap() = 2;
    /// assert_eq!(*mutex.lock().unwrap(), 2);
    /// ```
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.wrap(self.data.get_mut())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(t: T) -> Self {
        Mutex::new(t)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut output = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => output.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => output.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => output.field("data", &"<locked>"),
        };
        output.field("poisoned", &self.is_poisoned());
        output.finish_non_exhaustive()
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// For `Condvar`, which unlocks and locks on behalf of the guard.
    #[inline]
    pub(super) fn raw(guard: &Self) -> (&'a RawLock, Reason) {
        (&guard.lock.raw, REASON)
    }

    /// The guard after `Condvar` has taken the lock again for it.
    #[inline]
    pub(super) fn retaken(guard: Self) -> LockResult<Self> {
        guard.lock.poison.wrap(guard)
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock, and is borrowed exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.done(self.poison);
        self.lock.raw.unlock_write();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
