//! Generators: functions that give one value after another to whoever asks, and go on from where they were.
//!
//! A [`Generator`] is Python's, with a stack of its own: its body may give values from within nested calls, and may block. It
//! is an [`Iterator`] as long as nothing is sent in:
//!
//! ```
//! use greenhub::generator::Generator;
//!
//! let mut fibonacci = Generator::new(|out, ()| {
//!     let (mut a, mut b) = (0, 1);
//!     loop {
//!         out.yield_(a);
//!         (a, b) = (b, a + b);
//!     }
//! });
//! assert_eq!(fibonacci.by_ref().take(7).collect::<Vec<u32>>(), [0, 1, 1, 2, 3, 5, 8]);
//! assert_eq!(fibonacci.next(), Some(13));
//! ```
//!
//! With values sent in, it can be a consumer that somebody else feeds:
//!
//! ```
//! use greenhub::generator::Generator;
//! use std::cell::RefCell;
//! use std::rc::Rc;
//!
//! let eaten = Rc::new(RefCell::new(Vec::new()));
//! let consumer = |name: &'static str| {
//!     let eaten = Rc::clone(&eaten);
//!     Generator::new(move |out, mut bun: u32| {
//!         loop {
//!             eaten.borrow_mut().push(format!("{name} eats bun {bun}"));
//!             bun = out.yield_(());
//!         }
//!     })
//! };
//! let (mut ann, mut bob): (Generator<_, _, ()>, Generator<_, _, ()>) = (consumer("Ann"), consumer("Bob"));
//! for bun in 1..=2 {
//!     ann.send(bun);
//!     bob.send(bun);
//! }
//! assert_eq!(
//!     *eaten.borrow(),
//!     ["Ann eats bun 1", "Bob eats bun 1", "Ann eats bun 2", "Bob eats bun 2"],
//! );
//! ```
//!
//! # Python and greenhub
//!
//! | Python                                  | greenhub                                                             |
//! |-----------------------------------------|----------------------------------------------------------------------|
//! | `yield item`                            | [`out.yield_(item)`](Yielder::yield_)                                |
//! | `next(generator)`, `for`                | [`next`](Iterator::next), `for`                                      |
//! | `generator.send(value)`                 | [`generator.send(value)`](Generator::send)                           |
//! | `generator.send(None)` before all other | not needed: the first value sent is the body's second argument       |
//! | `StopIteration`                         | `None`                                                               |
//! | `StopIteration.value`                   | [`result`](Generator::result), [`into_result`](Generator::into_result) |
//! | `generator.close()`, `del generator`    | `drop`                                                               |
//! | `ValueError: generator already executing` | ruled out by `&mut`                                                |
//!
//! # The body is a green thread
//!
//! It is spawned when the first item is asked for, and runs only while somebody waits for an item. It has locals, a name and
//! an identity of its own: [`thread::current`] tells them apart. When it blocks, whoever waits for the
//! item waits as well, and the other green threads run. An item costs two turns in the hub's queue, one for the
//! body and one for the caller: about 400 instructions or 40 ns if nobody else is ready, twice as much as two calls of
//! [`yield_now`](crate::yield_now), and otherwise two rounds of those who are. Unwinding an unfinished generator takes some
//! 2 us.
//!
//! A kill or a time limit that ends a wait for an item passes through the body, as it would if the body were an
//! ordinary function: the body is unwound, and the generator is finished.
//!
//! # Borrowing
//!
//! The body given to [`Generator::new`] borrows nothing: it has a stack of its own, and if the generator is leaked
//! ([`std::mem::forget`], a cycle of `Rc`s), that is unwound only at the end of the OS thread. A body that borrows
//! needs a [`scope`](crate::thread::scope), which does not end before its green threads have: see [`Generator::scoped`].

mod body;

use std::fmt;
use std::iter::FusedIterator;
use std::mem;
use std::panic::{Location, resume_unwind};
use std::ptr;
use std::rc::Rc;

use crate::task::Reason;
use crate::thread::{self, Scope, Spawn};

pub use self::body::Yielder;
use self::body::{Body, CallerWoken, Exchange, run};

/// A function that is suspended between the items that it gives; see the [module's documentation](self).
///
/// It gives items of type `Y`, gets values of type `S`, and ends with a result of type `R`.
///
/// A generator that is dropped before its end is unwound: the destructors of what its body holds run before `drop`
/// returns. They may block; they cannot give items. The body of one that was never asked for an item is dropped without
/// running.
///
/// # Panics
///
/// A panic of the body comes out of the call that asked for the item, once; the generator is finished then. Dropping an
/// unfinished generator panics in programs that are built with `panic = "abort"`, because it cannot be unwound.
///
/// # Examples
///
/// ```
/// use greenhub::generator::Generator;
///
/// fn leaves(tree: &[&'static str], out: &greenhub::generator::Yielder<&'static str>) {
///     if let [first, rest @ ..] = tree {
///         out.yield_(first);
///         leaves(rest, out);
///     }
/// }
///
/// let generator = Generator::new(|out, ()| leaves(&["oak", "elm"], out));
/// assert_eq!(generator.collect::<Vec<_>>(), ["oak", "elm"]);
/// ```
pub struct Generator<'a, Y, S = (), R = ()> {
    exchange: Rc<Exchange<Y, S>>,
    stage: Stage<'a, S, R>,
    result: Option<R>,
}

/// How far a generator has come.
enum Stage<'a, S, R> {
    /// This spawns the body with the first value that is sent.
    Fresh(Box<dyn FnOnce(S) -> Body<'a, R> + 'a>),
    Started(Body<'a, R>),
    Finished,
}

const CALLER_WAITS: Reason = Reason::On(&"an item of a generator");

impl<Y: 'static, S: 'static, R: 'static> Generator<'static, Y, S, R> {
    /// A generator with this body, which gets the first value that is sent.
    ///
    /// Nothing runs, and no memory for a stack is taken, before the first item is asked for.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::generator::Generator;
    ///
    /// let countdown = Generator::new(|out, ()| (1..=3).rev().for_each(|n| out.yield_(n)));
    /// assert_eq!(countdown.collect::<Vec<_>>(), [3, 2, 1]);
    /// ```
    #[track_caller]
    pub fn new<F>(body: F) -> Self
    where
        F: FnOnce(&Yielder<Y, S>, S) -> R + 'static,
    {
        let options = Spawn::lazily(ptr::null(), Location::caller());
        Generator::with_spawner(|exchange| {
            Box::new(move |first| {
                let run = move || run(&exchange, body, first);
                Body::Detached(thread::spawn_with(run, options))
            })
        })
    }
}

impl<'a, Y: 'a, S: 'a, R: 'a> Generator<'a, Y, S, R> {
    /// A generator whose body may borrow what outlives the scope.
    ///
    /// It is dropped, like any other, before the scope ends. If it is leaked instead, the scope waits for its body, which waits
    /// for somebody to ask it: for ever, or until the deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::generator::Generator;
    ///
    /// let text = String::from("three short words");
    /// greenhub::thread::scope(|scope| {
    ///     let words = Generator::scoped(scope, |out, ()| {
    ///         text.split(' ').for_each(|word| out.yield_(word));
    ///     });
    ///     assert_eq!(words.map(str::len).collect::<Vec<_>>(), [5, 5, 5]);
    /// });
    /// ```
    #[track_caller]
    pub fn scoped<'env, F>(scope: &'a Scope<'a, 'env>, body: F) -> Self
    where
        F: FnOnce(&Yielder<Y, S>, S) -> R + 'a,
    {
        let options = Spawn::lazily(scope.address(), Location::caller());
        Generator::with_spawner(|exchange| {
            Box::new(move |first| {
                let run = move || run(&exchange, body, first);
                let spawned = scope.adopt(run, options);
                Body::Scoped(spawned.unwrap_or_else(|error| panic!("{error}")))
            })
        })
    }

    fn with_spawner<F>(spawner: F) -> Self
    where
        F: FnOnce(CallerWoken<Y, S>) -> Box<dyn FnOnce(S) -> Body<'a, R> + 'a>,
    {
        let exchange = Rc::new(Exchange::new());
        let for_body = CallerWoken(Rc::clone(&exchange));
        Generator {
            exchange,
            stage: Stage::Fresh(spawner(for_body)),
            result: None,
        }
    }
}

impl<Y, S, R> Generator<'_, Y, S, R> {
    /// Sends a value in and waits for the next item. `None` when the body has ended instead; its result is then available.
    ///
    /// The first value starts the body, which gets it as its second argument. Later ones are what
    /// [`yield_`](Yielder::yield_) returns. A value sent to a finished generator is dropped.
    ///
    /// When a kill or a time limit ends the waiting, the generator is unwound with the caller, and finished.
    ///
    /// # Panics
    ///
    /// Resumes the panic of the body. In the root context, panics when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::generator::Generator;
    ///
    /// let mut average = Generator::new(|out, first: f64| {
    ///     let (mut sum, mut count) = (first, 1.0);
    ///     while sum < 100.0 {
    ///         sum += out.yield_(sum / count);
    ///         count += 1.0;
    ///     }
    ///     count
    /// });
    /// assert_eq!(average.send(10.0), Some(10.0));
    /// assert_eq!(average.send(20.0), Some(15.0));
    /// assert_eq!(average.send(70.0), None);
    /// assert_eq!(average.result(), Some(&3.0));
    /// ```
    // Inlined for the sake of the processor's return prediction, as `Hub::switch_out` explains.
    #[inline(always)]
    pub fn send(&mut self, value: S) -> Option<Y> {
        if matches!(self.stage, Stage::Started(_)) {
            self.exchange.input.set(Some(value));
        } else {
            self.start(value)?;
        }
        let interrupted = CloseOnUnwind(self);
        let exchange = &*interrupted.0.exchange;
        exchange.caller.wait(CALLER_WAITS, || {
            // Nobody is there if it was spawned just now, or was unwound with its OS thread.
            exchange.body.wake();
        });
        mem::forget(interrupted);
        match self.exchange.item.take() {
            Some(item) => Some(item),
            None => {
                self.finish();
                None
            }
        }
    }

    /// Spawns the body of a fresh generator.
    #[cold]
    fn start(&mut self, first: S) -> Option<()> {
        match mem::replace(&mut self.stage, Stage::Finished) {
            Stage::Fresh(spawn) => {
                self.stage = Stage::Started(spawn(first));
                Some(())
            }
            _ => None,
        }
    }

    /// Takes the result of a body that has ended.
    #[cold]
    fn finish(&mut self) {
        if let Stage::Started(body) = mem::replace(&mut self.stage, Stage::Finished) {
            match body.join() {
                Ok(Ok(result)) => self.result = Some(result),
                Ok(Err(payload)) if !thread::is_interruption(&*payload) => resume_unwind(payload),
                // Its OS thread ends, or somebody else has killed it.
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Unwinds the body, unless it has ended, and waits for its end.
    #[cold]
    fn close(&mut self) {
        if let Stage::Started(body) = mem::replace(&mut self.stage, Stage::Finished) {
            body.end();
        }
        drop((self.exchange.input.take(), self.exchange.item.take()));
    }

    /// Whether the body has ended, as a call has found out, or was unwound.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::generator::Generator;
    ///
    /// let mut one = Generator::new(|out, ()| out.yield_(1));
    /// one.next();
    /// assert!(!one.is_finished(), "the body is still in its only yield");
    /// one.next();
    /// assert!(one.is_finished());
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Finished)
    }

    /// What the body returned. `None` before its end, and if it did not return.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::generator::Generator;
    ///
    /// let mut none = Generator::new(|_: &greenhub::generator::Yielder<u32>, ()| "result");
    /// assert_eq!(none.result(), None);
    /// assert_eq!(none.next(), None);
    /// assert_eq!(none.result(), Some(&"result"));
    /// ```
    #[must_use]
    pub fn result(&self) -> Option<&R> {
        self.result.as_ref()
    }

    /// As [`result`](Generator::result), by value. A body that has not ended is unwound, as by `drop`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenhub::generator::Generator;
    ///
    /// let mut lines = Generator::new(|out, ()| {
    ///     out.yield_("a line");
    ///     String::from("the rest")
    /// });
    /// lines.by_ref().for_each(drop);
    /// assert_eq!(lines.into_result().unwrap(), "the rest");
    /// ```
    #[must_use]
    pub fn into_result(mut self) -> Option<R> {
        self.result.take()
    }
}

impl<Y, R> Iterator for Generator<'_, Y, (), R> {
    type Item = Y;

    #[inline(always)]
    fn next(&mut self) -> Option<Y> {
        self.send(())
    }
}

impl<Y, R> FusedIterator for Generator<'_, Y, (), R> {}

impl<Y, S, R> Drop for Generator<'_, Y, S, R> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Unwinds the body of a generator whose caller unwinds out of its call.
struct CloseOnUnwind<'g, 'a, Y, S, R>(&'g mut Generator<'a, Y, S, R>);

impl<Y, S, R> Drop for CloseOnUnwind<'_, '_, Y, S, R> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<Y, S, R> fmt::Debug for Generator<'_, Y, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
