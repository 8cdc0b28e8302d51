//! Green-thread locals: variables of which every green thread has its own.
//!
//! [`green_local!`](crate::green_local) is std's `thread_local!` for green threads, [`LocalKey`] is std's type of that name.
//! The root of an OS thread has values of its own too, like any green thread.
//!
//! ```
//! use std::cell::RefCell;
//!
//! greenhub::green_local! {
//!     static LOG: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
//! }
//!
//! let other = greenhub::spawn(|| {
//!     LOG.with_borrow_mut(|log| log.push("in a green thread"));
//!     LOG.take()
//! });
//! LOG.with_borrow_mut(|log| log.push("in the root"));
//! assert_eq!(other.join().unwrap(), ["in a green thread"]);
//! assert_eq!(LOG.take(), ["in the root"]);
//! ```
//!
//! # When values are destroyed
//!
//! When the green thread has ended, by itself, by a panic or by a kill, and before those who join it go on. The destructors
//! run on the green thread: they may block, and a kill does not end their waits. One that panics is logged, and the next
//! one runs. While and after its destructor runs, a value cannot be accessed ([`AccessError`]); values without destructors
//! stay. A value that a destructor uses for the first time is made, and destroyed as well. A green thread that
//! is killed before it starts has no values but those that it inherited.
//!
//! The values of a root are destroyed when its OS thread ends, after the last green thread on it.
//!
//! # Differences from std
//!
//! - A value lives on the heap and is found through the green thread's table: an access costs about 5 ns.
//! - An initialiser may wait; that of std's must not, see [`thread`](crate::thread#differences-from-std).
//! - std aborts the process when a destructor panics.
//! - A job on the pool of OS threads uses the values of the OS thread that happens to run it.
//! - Code that an OS thread runs after its hub has ended, in destructors of std's thread-locals, finds fresh values.
//! - A key may be declared as `inherited`; see [`Builder::inherit_locals`](crate::thread::Builder::inherit_locals).

mod cells;

use std::error::Error;
use std::fmt;
use std::mem;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::hub;
use crate::task::{Destroyed, Locals, Value};

/// Declares green-thread locals, in the form of std's `thread_local!`.
///
/// Each declaration makes a `static` of type [`LocalKey`](crate::local::LocalKey). The initialiser runs in each green
/// thread that uses the variable, when it first does. It may be written as `const { .. }`, as in std. With
/// `inherited static`, where the type must be `Clone`, the value is copied into children that are spawned with
/// [`Builder::inherit_locals`](crate::thread::Builder::inherit_locals).
///
/// # Examples
///
/// ```
/// use std::cell::{Cell, RefCell};
///
/// greenhub::green_local! {
///     /// How often this green thread has been asked.
///     pub static ASKED: Cell<u32> = const { Cell::new(0) };
///
///     /// On whose behalf it works.
///     inherited static USER: RefCell<String> = RefCell::new(String::from("nobody"));
/// }
///
/// ASKED.set(ASKED.get() + 1);
/// assert_eq!(greenhub::spawn(|| ASKED.get()).join().unwrap(), 0);
/// USER.with_borrow(|user| assert_eq!(user, "nobody"));
/// ```
#[macro_export]
macro_rules! green_local {
    () => {};
    ($(#[$attribute:meta])* $vis:vis static $name:ident: $type:ty = $init:expr $(; $($rest:tt)*)?) => {
        $(#[$attribute])*
        $vis static $name: $crate::local::LocalKey<$type> =
            $crate::local::LocalKey::new(|| $init, ::core::option::Option::None);
        $($crate::green_local! { $($rest)* })?
    };
    ($(#[$attribute:meta])* $vis:vis inherited static $name:ident: $type:ty = $init:expr $(; $($rest:tt)*)?) => {
        $(#[$attribute])*
        $vis static $name: $crate::local::LocalKey<$type> = $crate::local::LocalKey::new(
            || $init,
            ::core::option::Option::Some(::core::clone::Clone::clone),
        );
        $($crate::green_local! { $($rest)* })?
    };
}

/// A variable of which each green thread has its own; made by [`green_local!`](crate::green_local).
///
/// All methods use the value of the calling green thread, or of the root, and make it if this is its first use.
///
/// # Examples
///
/// ```
/// greenhub::green_local! {
///     static ID: greenhub::thread::ThreadId = greenhub::thread::current().id();
/// }
///
/// assert_eq!(ID.with(|id| *id), greenhub::thread::current().id());
/// let other = greenhub::spawn(|| ID.with(|id| *id));
/// assert_eq!(other.thread().id(), other.join().unwrap());
/// ```
pub struct LocalKey<T: 'static> {
    /// One more than the place of its values in the tables of tasks; zero before the first use.
    number: AtomicUsize,
    init: fn() -> T,
    copy: Option<fn(&T) -> T>,
}

/// The value of a [`LocalKey`] is being destroyed or has been, or no green thread is running: it is the hub itself that
/// calls, through the program's logger or allocator.
///
/// # Examples
///
/// ```
/// greenhub::green_local! {
///     static HELD: Held = const { Held };
/// }
///
/// struct Held;
///
/// impl Drop for Held {
///     fn drop(&mut self) {
///         assert!(HELD.try_with(|_| ()).is_err());
///     }
/// }
///
/// greenhub::spawn(|| HELD.with(|_| ())).join().unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessError;

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("already destroyed")
    }
}

impl Error for AccessError {}

/// A value and what its key says about copies.
struct Held<T> {
    value: T,
    copy: Option<fn(&T) -> T>,
}

impl<T: 'static> Value for Held<T> {
    fn has_destructor(&self) -> bool {
        mem::needs_drop::<T>()
    }

    fn inherit(&self) -> Option<Rc<dyn Value>> {
        let copy = self.copy?;
        Some(Rc::new(Held {
            value: copy(&self.value),
            copy: self.copy,
        }))
    }
}

impl<T: 'static> LocalKey<T> {
    /// For the macro.
    #[doc(hidden)]
    pub const fn new(init: fn() -> T, copy: Option<fn(&T) -> T>) -> LocalKey<T> {
        LocalKey {
            number: AtomicUsize::new(0),
            init,
            copy,
        }
    }

    /// Calls `f` with a reference to the value.
    ///
    /// `f` may wait: other green threads have values of their own.
    ///
    /// # Panics
    ///
    /// Panics where [`try_with`](LocalKey::try_with) fails.
    ///
    /// # Examples
    ///
    /// ```
    /// greenhub::green_local! {
    ///     static NAME: String = String::from("unnamed");
    /// }
    ///
    /// assert_eq!(NAME.with(|name| name.len()), 7);
    /// ```
    pub fn with<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        match self.try_with(f) {
            Ok(result) => result,
            Err(error) => inaccessible(error),
        }
    }

    /// As [`with`](LocalKey::with), but reports that there is no value.
    ///
    /// # Errors
    ///
    /// [`AccessError`] while and after the value's destructor runs, and in code that the hub itself calls, such as a logger.
    ///
    /// # Panics
    ///
    /// Panics when this is the OS thread's first call and its hub cannot be created. Panics of the initialiser come out of
    /// here, and the next use tries again.
    ///
    /// # Examples
    ///
    /// ```
    /// greenhub::green_local! {
    ///     static NAME: String = String::from("unnamed");
    /// }
    ///
    /// assert_eq!(NAME.try_with(String::len), Ok(7));
    /// ```
    pub fn try_with<F, R>(&'static self, f: F) -> Result<R, AccessError>
    where
        F: FnOnce(&T) -> R,
    {
        let held = match self.find()? {
            Some(held) => held,
            None => self.store((self.init)()),
        };
        Ok(f(&held.value))
    }

    /// Calls `f` with the value, which is `first` if it has not been used before; otherwise `f` gets that back.
    fn with_or_first<R>(&'static self, first: T, f: impl FnOnce(Option<T>, &T) -> R) -> R {
        match self.find() {
            Ok(Some(held)) => f(Some(first), &held.value),
            Ok(None) => f(None, &self.store(first).value),
            Err(error) => inaccessible(error),
        }
    }

    /// The running task's value, which the result keeps in place whatever happens to the table.
    #[inline]
    fn find(&'static self) -> Result<Option<Rc<Held<T>>>, AccessError> {
        let hub = hub::here();
        let task = hub.try_running().ok_or(AccessError)?;
        match task.locals.get(self.number()) {
            Ok(value) => Ok(value.map(downcast)),
            Err(Destroyed) => Err(AccessError),
        }
    }

    /// Makes `value` the running task's.
    #[cold]
    fn store(&'static self, value: T) -> Rc<Held<T>> {
        let copy = self.copy;
        let held = Rc::new(Held { value, copy });
        let hub = hub::here();
        let stored = Rc::clone(&held);
        // There is an older value if the initialiser itself used the key. As in std, it makes room.
        drop(hub.running().locals.set(self.number(), stored));
        held
    }

    /// The place of this key's values in the tables.
    #[inline]
    fn number(&self) -> usize {
        match self.number.load(Ordering::Relaxed) {
            0 => self.take_number(),
            number => number - 1,
        }
    }

    #[cold]
    fn take_number(&self) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let fresh = NEXT.fetch_add(1, Ordering::Relaxed);
        let taken = self
            .number
            .compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed);
        taken.map_or_else(|earlier| earlier - 1, |_| fresh - 1)
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// A value that was found under the number of a key, as the type of that key.
#[inline]
fn downcast<T: 'static>(value: Rc<dyn Value>) -> Rc<Held<T>> {
    let value: Rc<dyn std::any::Any> = value;
    value
        .downcast()
        .unwrap_or_else(|_| unreachable!("a number belongs to one key"))
}

#[cold]
fn inaccessible(error: AccessError) -> ! {
    panic!(
        "cannot access a green-thread local while or after it is destroyed, or from the hub itself: {error}"
    )
}

/// The locals that a child of the running task begins with.
pub(crate) fn for_child(inherit: bool) -> Locals {
    match hub::here().try_running() {
        Some(parent) if inherit => parent.locals.inherited(),
        _ => Locals::new(),
    }
}
