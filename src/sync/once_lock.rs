//! A value that is written once, by whoever comes first.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::Once;

/// A cell that is written once and then only read: [`std::sync::OnceLock`].
///
/// The closure that makes the value may wait; others that come meanwhile are suspended until it is done. If it panics,
/// is killed or runs into a timeout, the cell remains empty, and the next in line tries.
///
/// # Differences from std
///
/// A closure that initialises the same cell panics; std leaves open what happens.
///
/// # Examples
///
/// ```
/// use greenhub::sync::OnceLock;
///
/// static GREETING: OnceLock<String> = OnceLock::new();
/// assert!(GREETING.get().is_none());
/// assert_eq!(GREETING.get_or_init(|| String::from("hello")), "hello");
/// assert_eq!(GREETING.get_or_init(|| unreachable!()), "hello");
/// ```
pub struct OnceLock<T> {
    /// Completed when the value is there. Poisoned means no more than not completed.
    once: Once,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: threads that share the cell share the value, once it is there, and one of them may have made it for another
// to drop.
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}

impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}
impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// An empty cell.
    ///
    /// # Examples
    ///
    /// See the type's.
    #[must_use]
    #[inline]
    pub const fn new() -> OnceLock<T> {
        OnceLock {
            once: Once::new(),
            value: UnsafeCell::new(None),
        }
    }

    /// The value, if it is there. Never waits.
    ///
    /// # Examples
    ///
    /// See the type's.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.once.is_completed() {
            // SAFETY: nobody writes after the completion, which happened before this.
            unsafe { &*self.value.get() }.as_ref()
        } else {
            None
        }
    }

    /// The value, if it is there, to change it.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut cell = greenhub::sync::OnceLock::from(1);
    /// *cell.get_mut().unwrap() = 2;
    /// assert_eq!(cell.into_inner(), Some(2));
    /// ```
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }

    /// Waits until somebody has written the value.
    ///
    /// # Panics
    ///
    /// If called by the closure that is to make the value, and, in the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use greenhub::sync::OnceLock;
    ///
    /// let cell = Rc::new(OnceLock::new());
    /// let theirs = Rc::clone(&cell);
    /// greenhub::spawn(move || theirs.set(5));
    /// assert_eq!(*cell.wait(), 5);
    /// ```
    #[inline]
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.written()
    }

    /// Writes the value, unless the cell has one. Waits if somebody is about to write it.
    ///
    /// # Errors
    ///
    /// Gives `value` back if the cell has one.
    ///
    /// # Panics
    ///
    /// If called by the closure that is to make the value, and, in the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// let cell = greenhub::sync::OnceLock::new();
    /// assert_eq!(cell.set(1), Ok(()));
    /// assert_eq!(cell.set(2), Err(2));
    /// ```
    #[inline]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value; if there is none, `f` makes it. Waits if somebody is about to write it.
    ///
    /// # Panics
    ///
    /// If `f` does, if called by the closure that is to make the value, and, in the root context, when a deadlock is
    /// found.
    ///
    /// # Examples
    ///
    /// See the type's.
    #[inline]
    pub fn get_or_init<F>(&self, f: F) -> &T
    where
        F: FnOnce() -> T,
    {
        if let Some(value) = self.get() {
            return value;
        }
        self.initialise(f);
        self.written()
    }

    #[cold]
    fn initialise<F>(&self, f: F)
    where
        F: FnOnce() -> T,
    {
        self.once.call_once_force(|_| {
            let value = f();
            // SAFETY: nobody reads before the completion, and the closures of one `Once` run one at a time, until one
            // completes.
            unsafe { *self.value.get() = Some(value) };
        });
    }

    /// The value, which is known to be there.
    #[inline]
    fn written(&self) -> &T {
        self.get().expect("a completed cell has a value")
    }

    /// The value, if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenhub::sync::OnceLock::<u8>::new().into_inner(), None);
    /// ```
    #[inline]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value, if there is one, and leaves the cell as a new one.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut cell = greenhub::sync::OnceLock::from(1);
    /// assert_eq!(cell.take(), Some(1));
    /// assert_eq!(cell.set(2), Ok(()));
    /// ```
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> Self {
        let cell = OnceLock::new();
        let _ = cell.set(value);
        cell
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> OnceLock<T> {
        self.get()
            .map_or_else(OnceLock::new, |value| OnceLock::from(value.clone()))
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &OnceLock<T>) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut output = f.debug_tuple("OnceLock");
        match self.get() {
            Some(value) => output.field(value),
            None => output.field(&format_args!("<uninit>")),
        };
        output.finish()
    }
}
