//! Waiting for the first of several operations: Go's `select`, in the words of crossbeam's macro.
//!
//! [`select!`](crate::select!) takes arms of the form `operation(arguments) -> pattern => body`. The operations are the
//! functions of this module:
//!
//! | operation                             | wins when                                | result                                  |
//! |---------------------------------------|------------------------------------------|-----------------------------------------|
//! | [`get`]`(&queue)`                     | there is an item, or the queue is closed | `Result<T, `[`GetError`](crate::queue::GetError)`>` |
//! | [`put`]`(&queue, item)`               | there is room, or the queue is closed    | `Result<(), `[`PutError<T>`](crate::queue::PutError)`>` |
//! | [`recv`]`(&receiver)`                 | there is a message, or all senders are gone | `Result<T, `[`RecvError`](crate::sync::mpsc::RecvError)`>` |
//! | [`send`]`(&sender, message)`          | there is room, or the receiver is gone   | `Result<(), `[`SendError<T>`](crate::sync::mpsc::SendError)`>` |
//! | [`after`]`(duration)`, [`at`]`(instant)` | the time has come                     | `()`                                    |
//! | [`join`]`(handle)`                    | the green thread has finished            | [`thread::Result<T>`](crate::thread::Result) |
//! | [`wait`]`(&waitable)`                 | the [`Waitable`](crate::Waitable) is ready, which changes nothing about it | `()`  |
//! | [`readable`]`(&fd)`, [`writable`]`(&fd)` | a read, or write, would not block     | [`io::Result<()>`](crate::io::Result)   |
//! | `default`                             | no other arm can win at once             |                                         |
//! | `default(duration)`                   | as `after(duration)`                     |                                         |
//!
//! Exactly one arm wins. The operations of the others have not taken place: nothing has been taken, sent or joined for them.
//!
//! # Examples
//!
//! ```
//! use greenhub::select;
//! use std::time::Duration;
//!
//! let mut slow = Some(greenhub::spawn(|| greenhub::sleep(Duration::from_secs(60))));
//! let mut fast = Some(greenhub::spawn(|| 7));
//! let winner = select! {
//!     join(&mut slow) => "slow",
//!     join(&mut fast) -> result => {
//!         assert_eq!(result.unwrap(), 7);
//!         "fast"
//!     }
//!     after(Duration::from_secs(30)) => "nobody",
//! };
//! assert_eq!(winner, "fast");
//! assert!(slow.is_some() && fast.is_none(), "only the winner is joined");
//! ```
//!
//! # How it works
//!
//! An arm of the calling green thread's one wait stands in the line of each thing that could end it, in a node on the stack;
//! there is neither an allocation nor a helper per arm. Whoever ends the wait does so for one arm, to which
//! it hands over what it has (an item, room for one); whoever comes later finds the wait ended and turns to the next in
//! his line. If the wait is ended by a kill or a timeout, no arm has got anything.
#![allow(unsafe_code)]
#![allow(
    private_interfaces,
    reason = "the traits that seal the public ones cannot be named outside"
)]

mod channel;
mod descriptor;
mod join;
mod macros;
mod timer;

use std::cell::Cell;

use self::sealed::Line;
use crate::hub;
use crate::park::{self, TimedOut};
use crate::task::{self, Outcome, Reason};

pub use self::channel::{AnyQueue, AnySender, Get, Offer, Put, get, put, recv, send};
pub use self::descriptor::{Ready, readable, writable};
pub use self::join::{Join, Joinable, Wait, join, wait};
pub use self::timer::{Timer, after, at};

/// An arm of a [`select!`](crate::select!): what the functions of this module return. Made and used by the macro.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an operation of `select!`",
    note = "see the module `greenhub::select` for the operations"
)]
pub trait Arm: Line {
    /// What the body of the arm gets.
    type Output;

    /// What the arm has won, if it has.
    #[doc(hidden)]
    fn into_output(self) -> Option<Self::Output>;
}

mod sealed {
    use std::time::Instant;

    use crate::task::Waker;

    /// What `run` does with an arm, whatever its output is.
    pub trait Line {
        /// Wins, if that is possible at once.
        fn attempt(&self) -> bool;

        /// Puts the caller's wait in line. Returns false, and does not, when it is worth another attempt.
        ///
        /// # Safety
        ///
        /// The arm must not move, nor be attempted, before `withdraw` has been called.
        unsafe fn enlist(&self, waker: Waker) -> bool;

        /// Takes the wait, which has ended, out of the line, if it is in one. Returns whether the arm has won: the wait was
        /// ended for it, and it has been given what it was in line for. It may also have been ended for it without such a
        /// gift; then it is worth another attempt.
        fn withdraw(&self) -> bool;

        /// When the arm wins without anybody's doing.
        fn deadline(&self) -> Option<Instant> {
            None
        }

        /// Whether the world outside the process's green threads can make it win.
        fn is_external(&self) -> bool {
            false
        }
    }
}

/// Waits until one of the arms has won, in fair order, or, if `or_default`, returns whether one has at once.
///
/// The borrows are exclusive, for an arm that two green threads wait with would stand in its line twice:
///
/// ```compile_fail,E0308
/// let queue = greenhub::queue::Queue::<u32>::new();
/// let arm = greenhub::select::get(&queue);
/// greenhub::select::run(&mut [&arm], false);
/// ```
#[doc(hidden)]
pub fn run(arms: &mut [&mut dyn Line], or_default: bool) -> bool {
    if or_default {
        shuffle(arms);
        return arms.iter().any(|arm| arm.attempt());
    }
    // A green thread whose arms are always ready would otherwise never wait, hence never meet a kill. Once an arm has won it is
    // too late.
    if hub::is_interrupted() {
        park::unwind_if_interrupted();
    }
    loop {
        shuffle(arms);
        if arms.iter().any(|arm| arm.attempt()) {
            hub::count_call();
            return true;
        }
        if wait_in_all(arms) {
            return true;
        }
    }
}

/// Waits until the wait is ended for one of the arms. Returns whether that has won with it.
fn wait_in_all(arms: &[&mut dyn Line]) -> bool {
    let deadline = arms.iter().filter_map(|arm| arm.deadline()).min();
    let external = arms.iter().any(|arm| arm.is_external());
    let withdraw = || arms.iter().fold(false, |won, arm| arm.withdraw() | won);
    let outcome = park::park(
        task::Wait::Open,
        Reason::First { external },
        deadline,
        |waker| {
            // SAFETY: the arms are borrowed, and all are withdrawn below, or by what `park` calls before it unwinds.
            let all = arms.iter().all(|arm| unsafe { arm.enlist(waker) });
            if !all {
                // Something became ready just now. This wait must not go on, and must be closed like any other: if somebody has
                // ended it meanwhile for one of the arms, that one has won; if not, it ends for none.
                // SAFETY: the task is running, hence alive.
                unsafe { hub::wake(waker, Outcome::Notified) };
            }
        },
        || {
            let won = withdraw();
            debug_assert!(!won, "the wait was ended for no arm");
        },
    );
    match outcome {
        Ok(()) => withdraw(),
        Err(TimedOut) => false,
    }
}

/// Brings the arms into a random order, every one of which is equally likely.
fn shuffle(arms: &mut [&mut dyn Line]) {
    for left in (2..=arms.len()).rev() {
        arms.swap(left - 1, random_below(left));
    }
}

/// A number below `bound`, from a generator (xorshift64*) of the calling OS thread.
fn random_below(bound: usize) -> usize {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
    }
    let mut state = STATE.get();
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    STATE.set(state);
    let random = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
    // The product is below `bound << 32`. With so few arms, the bias is beyond measurement.
    ((random * bound as u64) >> 32) as usize
}

/// What the macro calls with the results of arms of which none has won.
#[doc(hidden)]
pub fn none_has_won((): ()) -> ! {
    unreachable!("`run` returns when an arm has won")
}

/// What `select! {}` does.
#[doc(hidden)]
pub fn forever() -> ! {
    loop {
        run(&mut [], false);
    }
}
