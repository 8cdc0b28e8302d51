//! Many readers or one writer: a value behind a [`RawLock`], with std's poisoning.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::{LockResult, TryLockError, TryLockResult};

use super::poison;
use super::raw_lock::RawLock;
use crate::task::Reason;

const READ: Reason = Reason::On(&"a lock to read (sync::RwLock)");
const WRITE: Reason = Reason::On(&"a lock to write (sync::RwLock)");

/// A lock that lets in many readers, or one writer: [`std::sync::RwLock`].
///
/// # Fairness
///
/// Those who want the lock get it in the order in which they came; readers that came one after the other share it. So a
/// reader that comes while a writer waits is let in after that writer, and neither readers nor writers can be starved.
/// As std warns, this means that a green thread that already reads and wants to read again may wait for ever: behind a
/// writer, which waits for the first read to end.
///
/// # Poisoning
///
/// As in std, the lock is poisoned when a green thread begins to unwind while it holds it for *writing*, be it because
/// of a panic or because it is killed or runs into a timeout. The unwinding of another green thread of the same OS
/// thread poisons nothing.
///
/// # Differences from std
///
/// The fairness, which std leaves to the platform; and the limit that [`Mutex`](super::Mutex) names.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
/// use greenhub::sync::RwLock;
///
/// let table = Rc::new(RwLock::new(vec![1, 2, 3]));
/// let first = table.read().unwrap();
/// let second = table.read().unwrap();
/// let theirs = Rc::clone(&table);
/// let writer = greenhub::spawn(move || theirs.write().unwrap().push(4));
/// greenhub::yield_now();
/// assert_eq!(first.len() + second.len(), 6);
/// assert!(table.try_read().is_err(), "a writer waits");
/// drop((first, second));
/// writer.join().unwrap();
/// assert_eq!(table.read().unwrap().len(), 4);
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawLock,
    poison: poison::Flag,
    data: UnsafeCell<T>,
}

// SAFETY: whoever owns the lock owns the value.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: a shared lock lets several threads share the value, or one have it for itself.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

/// A [`RwLock`] locked for reading, which ends when this is dropped.
///
/// Not `Send`, as std's.
///
/// # Examples
///
/// ```
/// let lock = greenhub::sync::RwLock::new("text");
/// assert_eq!(lock.read().unwrap().len(), 4);
/// ```
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockReadGuard<'a, T: ?Sized + 'a> {
    // No reference: a guard that is an argument lets go of the value before the call ends. Covariant, as std's.
    data: NonNull<T>,
    raw: &'a RawLock,
}

// SAFETY: a shared guard gives shared access to the value only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

/// A [`RwLock`] locked for writing, which ends when this is dropped.
///
/// Not `Send`, as std's.
///
/// # Examples
///
/// ```
/// let lock = greenhub::sync::RwLock::new(1);
/// *lock.write().unwrap() += 1;
/// assert_eq!(*lock.read().unwrap(), 2);
/// ```
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockWriteGuard<'a, T: ?Sized + 'a> {
    lock: &'a RwLock<T>,
    poison: poison::Guard,
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives shared access to the value only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// A lock that nobody holds.
    ///
    /// # Examples
    ///
    /// ```
    /// static NAMES: greenhub::sync::RwLock<Vec<String>> = greenhub::sync::RwLock::new(Vec::new());
    /// assert!(NAMES.read().unwrap().is_empty());
    /// ```
    #[inline]
    pub const fn new(t: T) -> RwLock<T> {
        RwLock {
            raw: RawLock::new(),
            poison: poison::Flag::new(),
            data: UnsafeCell::new(t),
        }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until it can read, and locks the value for that.
    ///
    /// A green thread that is killed or times out here unwinds without having had the lock; those behind it move up.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the guard is in the error.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = greenhub::sync::RwLock::new(1);
    /// let (one, other) = (lock.read().unwrap(), lock.read().unwrap());
    /// assert_eq!(*one + *other, 2);
    /// ```
    #[inline]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.raw.read(READ);
        self.poison.wrap(self.read_guard())
    }

    /// Locks the value for reading if that takes no waiting: nobody writes, and nobody waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it would have to wait; `Poisoned`, with the guard, if the lock is poisoned.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = greenhub::sync::RwLock::new(1);
    /// let guard = lock.write().unwrap();
    /// assert!(lock.try_read().is_err());
    /// drop(guard);
    /// assert_eq!(*lock.try_read().unwrap(), 1);
    /// ```
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.raw.try_read() {
            Ok(self.poison.wrap(self.read_guard())?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Waits until it can write, and locks the value for that.
    ///
    /// A green thread that is killed or times out here unwinds without having had the lock; those behind it move up.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the guard is in the error.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = greenhub::sync::RwLock::new(1);
    /// *lock.write().unwrap() = 2;
    /// assert_eq!(lock.into_inner().unwrap(), 2);
    /// ```
    #[inline]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.raw.write(WRITE);
        self.poison.wrap(self.write_guard())
    }

    /// Locks the value for writing if nobody holds the lock.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody does; `Poisoned`, with the guard, if the lock is poisoned.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = greenhub::sync::RwLock::new(1);
    /// let guard = lock.read().unwrap();
    /// assert!(lock.try_write().is_err());
    /// # drop(guard);
    /// ```
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self.raw.try_write() {
            Ok(self.poison.wrap(self.write_guard())?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// For one who has just locked it for reading.
    #[inline]
    fn read_guard(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard {
            // SAFETY: a cell's address is not null.
            data: unsafe { NonNull::new_unchecked(self.data.get()) },
            raw: &self.raw,
        }
    }

    /// For one who has just locked it for writing.
    #[inline]
    fn write_guard(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard {
            lock: self,
            poison: self.poison.guard(),
            not_send: PhantomData,
        }
    }

    /// Whether the lock is poisoned. The answer can be out of date at once if another OS thread holds the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!greenhub::sync::RwLock::new(()).is_poisoned());
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
    /// # let lock = greenhub::sync::RwLock::new(0);
    /// # std::thread::scope(|s| { let _ = s.spawn(|| { let _g = lock.write(); panic!() }).join(); });
    /// assert!(lock.read().is_err());
    /// lock.clear_poison();
    /// assert!(lock.read().is_ok());
    /// ```
    #[inline]
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The value, of which the caller is the only owner.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the value is in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenhub::sync::RwLock::new(7).into_inner().unwrap(), 7);
    /// ```
    pub fn into_inner(self) -> LockResult<T>
    where
        T: Sized,
    {
        let RwLock { poison, data, .. } = self;
        poison.wrap(data.into_inner())
    }

    /// The value; nobody else can hold the lock, as the borrow is exclusive.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the reference is in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut lock = greenhub::sync::RwLock::new(1);
    /// *lock.get_mut().unwrap() = 2;
    /// assert_eq!(*lock.read().unwrap(), 2);
    /// ```
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.wrap(self.data.get_mut())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(t: T) -> Self {
        RwLock::new(t)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut output = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => output.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => output.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => output.field("data", &format_args!("<locked>")),
        };
        output.field("poisoned", &self.is_poisoned());
        output.finish_non_exhaustive()
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Turns a write lock into a read lock, so that nobody can write in between. Readers that are first in line are let
    /// in.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut writer = lock.write().unwrap();
    /// *writer = 2;
    /// let reader = RwLockWriteGuard::downgrade(writer);
    /// assert_eq!(*reader, *lock.read().unwrap());
    /// ```
    pub fn downgrade(s: Self) -> RwLockReadGuard<'a, T> {
        let lock = ManuallyDrop::new(s).lock;
        lock.raw.downgrade();
        lock.read_guard()
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock for reading, and borrows it, hence the value lives.
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock for writing.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock for writing, and is borrowed exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.raw.unlock_read();
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.done(self.poison);
        self.lock.raw.unlock_write();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
