//! The side of a generator that gives: its body, and the green thread that this runs on.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::handover::Seat;
use crate::hub;
use crate::park;
use crate::task::Reason;
use crate::thread::{self, JoinHandle, ScopedJoinHandle};

/// The side of a generator on which its body gives items.
///
/// # Examples
///
/// ```
/// use greenhub::generator::Generator;
///
/// let mut doubled = Generator::new(|out, mut number: u32| -> () {
///     loop {
///         number = out.yield_(number * 2);
///     }
/// });
/// assert_eq!(doubled.send(4), Some(8));
/// assert_eq!(doubled.send(5), Some(10));
/// ```
pub struct Yielder<Y, S = ()> {
    exchange: Rc<Exchange<Y, S>>,
    /// The body's green thread, by its number.
    owner: NonZeroU64,
}

/// What the body and those who ask it have in common. At most one of them runs; the other one sits in its seat.
pub(super) struct Exchange<Y, S> {
    pub(super) caller: Seat,
    pub(super) body: Seat,
    pub(super) input: Cell<Option<S>>,
    pub(super) item: Cell<Option<Y>>,
}

impl<Y, S> Exchange<Y, S> {
    pub(super) fn new() -> Exchange<Y, S> {
        Exchange {
            caller: Seat::new(),
            body: Seat::new(),
            input: Cell::new(None),
            item: Cell::new(None),
        }
    }
}

/// The green thread that runs the body. What the body panics with is part of its result: it is passed on to the caller,
/// hence nothing to be logged as uncaught.
pub(super) enum Body<'a, R> {
    Detached(JoinHandle<thread::Result<R>>),
    Scoped(ScopedJoinHandle<'a, thread::Result<R>>),
}

const BODY_WAITS: Reason = Reason::On(&"somebody to ask its generator for an item");

impl<Y, S> Yielder<Y, S> {
    /// Gives an item to the caller, and waits until there is another call. Returns the value that was sent with that.
    ///
    /// The body is unwound from here when the generator is dropped.
    ///
    /// # Panics
    ///
    /// Panics when it is called while the body unwinds, which from a destructor aborts the process, and when another green thread
    /// than the body's calls it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::generator::Generator;
    ///
    /// let mut echo = Generator::new(|out, first: &'static str| {
    ///     let second = out.yield_(first);
    ///     out.yield_(second);
    /// });
    /// assert_eq!(echo.send("one"), Some("one"));
    /// assert_eq!(echo.send("two"), Some("two"));
    /// ```
    // Inlined as `Generator::send` is.
    #[inline(always)]
    pub fn yield_(&self, item: Y) -> S {
        if !self.may_yield() {
            refuse_to_yield();
        }
        let exchange = &*self.exchange;
        exchange.item.set(Some(item));
        exchange.body.wait(BODY_WAITS, || {
            exchange.caller.wake();
        });
        let sent = exchange.input.take();
        sent.expect("whoever asks for an item has sent a value")
    }

    /// Whether this is the body, and not unwinding: then there is no caller to count on.
    #[inline(always)]
    fn may_yield(&self) -> bool {
        let hub = hub::here();
        let task = hub.running();
        self.owner == task.id && !hub.is_unwinding(task)
    }
}

#[cold]
fn refuse_to_yield() -> ! {
    panic!("only the body of a generator can yield an item, and not while it unwinds");
}

/// The body's share of the exchange: wakes the caller when the body is gone, whether it has run or not.
pub(super) struct CallerWoken<Y, S>(pub(super) Rc<Exchange<Y, S>>);

impl<Y, S> Drop for CallerWoken<Y, S> {
    fn drop(&mut self) {
        self.0.caller.wake();
    }
}

/// What the green thread of a generator does.
pub(super) fn run<Y, S, R, F>(exchange: &CallerWoken<Y, S>, body: F, first: S) -> thread::Result<R>
where
    F: FnOnce(&Yielder<Y, S>, S) -> R,
{
    let yielder = Yielder {
        exchange: Rc::clone(&exchange.0),
        owner: hub::here().running().id,
    };
    catch_unwind(AssertUnwindSafe(|| body(&yielder, first)))
}

impl<R> Body<'_, R> {
    /// Waits, whatever happens, for the green thread, which is about to end.
    pub(super) fn join(self) -> thread::Result<thread::Result<R>> {
        park::shielded(|| match self {
            Body::Detached(handle) => handle.join(),
            Body::Scoped(handle) => handle.join(),
        })
    }

    /// Kills the green thread and waits for its end.
    pub(super) fn end(self) {
        let body = match &self {
            Body::Detached(handle) => handle.thread(),
            Body::Scoped(handle) => handle.thread(),
        };
        // A body cannot wait for itself, which it gets to do when its OS thread ends while its generator is in its reach; and
        // nothing can be done for one that has outlived its hub.
        if body.is_current() || !body.is_at_home() {
            return;
        }
        match &self {
            Body::Detached(handle) => handle.kill_nowait(),
            Body::Scoped(handle) => handle.kill_nowait(),
        }
        drop(self.join());
    }
}

impl<Y, S> fmt::Debug for Yielder<Y, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yielder").finish_non_exhaustive()
    }
}
