//! In the place of `crate::atomic`: the same names on loom.
//!
//! Loom's types cannot be made in constants, belong to one execution of a model, and must be made before the threads that share
//! them. So a number of each is made when an execution begins, and each atomic of the code under test takes one at its first
//! use. What it holds is the difference to the atomic's first value.
//!
//! Loom takes sequentially consistent loads and stores for mere acquires and releases; here such stores and exchanges come with
//! the fence that an x86 processor makes of them. Dropping an atomic counts as writing to it without one: loom reports if
//! another thread may still use it.

use std::any::Any;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::HashMap;

use loom::thread::ThreadId;

pub(crate) use loom::sync::MutexGuard;
pub(crate) use loom::sync::atomic::{Ordering, fence};

/// Enough for the largest model.
const ATOMICS_OF_A_KIND: usize = 16;

std::thread_local! {
    /// The number of the running execution. All threads of a model share one OS thread.
    static EXECUTION: Cell<u64> = const { Cell::new(0) };
    /// Whether stores are exchanges. To loom, the order in which an atomic is written to is a partial one, and it does not
    /// conclude from an exchange that what it replaced, and what came after it, are in order. Where that matters, this is the
    /// way to put all writes in order; it costs some of the executions, and some of the strictness about releases.
    pub(crate) static STORES_READ: Cell<bool> = const { Cell::new(false) };
    /// Thread-local variables, by address and loom's thread.
    static LOCALS: RefCell<HashMap<(usize, ThreadId), Box<dyn Any>>> = RefCell::default();
}

/// Begins an execution of a model.
pub(crate) fn begin_execution() {
    EXECUTION.set(EXECUTION.get() + 1);
    STORES_READ.set(false);
    LOCALS.with_borrow_mut(HashMap::clear);
    AtomicBool::prepare();
    AtomicU32::prepare();
    AtomicU64::prepare();
    AtomicUsize::prepare();
    Mutex::prepare();
}

/// One of loom's types, in an atomic of the code under test.
struct Lazy<T> {
    execution: Cell<u64>,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: all threads of a model run on one OS thread, and models one after another.
unsafe impl<T> Sync for Lazy<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Lazy<T> {}

impl<T> Lazy<T> {
    const fn new() -> Self {
        Lazy {
            execution: Cell::new(0),
            value: UnsafeCell::new(None),
        }
    }

    fn get(&self, take: impl FnOnce() -> T) -> &T {
        if self.execution.replace(EXECUTION.get()) != EXECUTION.get() {
            // SAFETY: what a static took in an earlier execution is not referred to any more.
            unsafe { *self.value.get() = Some(take()) };
        }
        // SAFETY: it is replaced only in another execution.
        unsafe { (*self.value.get()).as_ref() }.expect("taken above")
    }

    /// What it has taken in this execution.
    fn get_mut(&mut self) -> Option<&mut T> {
        let is_current = self.execution.get() == EXECUTION.get();
        self.value.get_mut().as_mut().filter(|_| is_current)
    }
}

fn fence_after(order: Ordering) {
    if order == Ordering::SeqCst {
        fence(order);
    }
}

/// Defines `prepare`, which makes the objects of an execution, and `take`, which hands one out.
macro_rules! prepared {
    ($type:ty, $new:expr) => {
        fn prepare() {
            let fresh = (0..ATOMICS_OF_A_KIND).map(|_| $new).collect();
            Self::with_prepared(|prepared| *prepared = fresh);
        }

        fn take() -> $type {
            Self::with_prepared(|prepared| prepared.pop().expect("more atomics than expected"))
        }

        fn with_prepared<R>(f: impl FnOnce(&mut Vec<$type>) -> R) -> R {
            std::thread_local! {
                static PREPARED: RefCell<Vec<$type>> = const { RefCell::new(Vec::new()) };
            }
            PREPARED.with_borrow_mut(f)
        }
    };
}

/// What is in one of loom's atomics.
macro_rules! prepared_value {
    (AtomicU8) => {
        u8
    };
    (AtomicU32) => {
        u32
    };
    (AtomicU64) => {
        u64
    };
    (AtomicUsize) => {
        usize
    };
}

macro_rules! atomic {
    ($name:ident, $value:ty, $loom:tt, $plus:expr, $minus:expr $(, $arithmetic:ident)*) => {
        pub(crate) struct $name {
            first: $value,
            atomic: Lazy<loom::sync::atomic::$loom>,
        }

        impl Drop for $name {
            fn drop(&mut self) {
                if !std::thread::panicking() && let Some(atomic) = self.atomic.get_mut() {
                    atomic.with_mut(|_| ());
                }
            }
        }

        #[allow(dead_code)]
        impl $name {
            prepared!(loom::sync::atomic::$loom, loom::sync::atomic::$loom::new(0));

            pub(crate) const fn new(first: $value) -> Self {
                $name { first, atomic: Lazy::new() }
            }

            fn get(&self) -> &loom::sync::atomic::$loom {
                self.atomic.get(Self::take)
            }

            fn decode(&self, difference: prepared_value!($loom)) -> $value {
                $plus(self.first, difference)
            }

            fn encode(&self, value: $value) -> prepared_value!($loom) {
                $minus(value, self.first)
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.decode(self.get().load(order))
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                if STORES_READ.get() {
                    self.get().swap(self.encode(value), order);
                } else {
                    self.get().store(self.encode(value), order);
                }
                fence_after(order);
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                let old = self.decode(self.get().swap(self.encode(value), order));
                fence_after(order);
                old
            }

            pub(crate) fn compare_exchange(
                &self, old: $value, new: $value, success: Ordering, failure: Ordering,
            ) -> Result<$value, $value> {
                let (old, new) = (self.encode(old), self.encode(new));
                let result = self.get().compare_exchange(old, new, success, failure);
                result.map(|old| self.decode(old)).map_err(|current| self.decode(current))
            }

            pub(crate) fn compare_exchange_weak(
                &self, old: $value, new: $value, success: Ordering, failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(old, new, success, failure)
            }

            pub(crate) fn fetch_update(
                &self, set: Ordering, fetch: Ordering, mut update: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let update = |old| update(self.decode(old)).map(|new| self.encode(new));
                let result = self.get().fetch_update(set, fetch, update);
                result.map(|old| self.decode(old)).map_err(|current| self.decode(current))
            }

            $(pub(crate) fn $arithmetic(&self, value: $value, order: Ordering) -> $value {
                self.decode(self.get().$arithmetic(value, order))
            })*
        }
    };
}

atomic!(
    AtomicBool,
    bool,
    AtomicU8,
    |first, difference| first != (difference == 1),
    |value, first| u8::from(value != first)
);
atomic!(
    AtomicU32,
    u32,
    AtomicU32,
    u32::wrapping_add,
    u32::wrapping_sub,
    fetch_add
);
atomic!(
    AtomicU64,
    u64,
    AtomicU64,
    u64::wrapping_add,
    u64::wrapping_sub,
    fetch_add
);
atomic!(
    AtomicUsize,
    usize,
    AtomicUsize,
    usize::wrapping_add,
    usize::wrapping_sub,
    fetch_add,
    fetch_sub
);

/// As parking_lot's, of nothing.
pub(crate) struct Mutex<T>(Lazy<loom::sync::Mutex<T>>);

impl Mutex<()> {
    prepared!(loom::sync::Mutex<()>, loom::sync::Mutex::new(()));

    pub(crate) const fn new((): ()) -> Self {
        Mutex(Lazy::new())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        let mutex = self.0.get(Self::take);
        mutex.lock().expect("no model panics under a lock")
    }
}

/// A thread-local variable of loom's threads.
pub(crate) struct Local<T> {
    pub(crate) first: T,
}

impl<T: Copy + 'static> Local<T> {
    fn place(&self) -> (usize, ThreadId) {
        (
            std::ptr::from_ref(self).addr(),
            loom::thread::current().id(),
        )
    }

    pub(crate) fn get(&self) -> T {
        let place = self.place();
        LOCALS.with_borrow(|locals| {
            let value = locals.get(&place);
            value.map_or(self.first, |value| *value.downcast_ref().expect("its type"))
        })
    }

    pub(crate) fn set(&self, value: T) {
        let place = self.place();
        LOCALS.with_borrow_mut(|locals| locals.insert(place, Box::new(value)));
    }
}

macro_rules! local {
    ($($(#[$attribute:meta])* static $name:ident: Cell<$type:ty> = const { Cell::new($first:expr) };)*) => {
        $($(#[$attribute])*
        static $name: $crate::atomic::Local<$type> = $crate::atomic::Local { first: $first };)*
    };
}
pub(crate) use local as thread_local;

pub(crate) fn back_off(_round: u32) {
    loom::thread::yield_now();
}
