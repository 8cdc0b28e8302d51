//! Green threads that belong together: [`Group`] waits for its members or kills them as one, and [`Pool`] is a group with
//! room for so many and no more.
//!
//! What is spawned into a group is an ordinary green thread with an ordinary [`JoinHandle`](crate::thread::JoinHandle), through which
//! its result or its panic is obtained. It leaves the group by itself when it ends.
//!
//! Both map a function over a series of items, each in a green thread of its own: [`map`](Group::map) returns all results,
//! [`imap`](Pool::imap) gives them out one by one, in order, and [`imap_unordered`](Pool::imap_unordered) as they come.
//!
//! Groups and pools are handles: a clone is another handle to the same group. They stay on their OS thread (they are neither `Send`
//! nor `Sync`), and so do their members; neither closures nor items nor results have to be `Send`.
//!
//! # Differences from gevent
//!
//! - `map` returns, or unwinds, when no green thread of its own is left. So what it maps may borrow from the caller, and the first
//!   panic ends the rest.
//! - Dropping an `imap` half-way kills what it has at work.
//! - `imap` always has a bound on how far it runs ahead of the one who takes the results.
//! - There is no `starmap`: a closure takes a tuple apart by itself.
//!
//! # Examples
//!
//! ```
//! use greenhub::pool::Pool;
//! use std::time::Duration;
//!
//! let pool = Pool::new(10);
//! let squares = pool.map(1..=100, |n: u32| {
//!     greenhub::sleep(Duration::from_millis(1));
//!     n * n
//! });
//! assert_eq!(squares.len(), 100);
//! assert_eq!(squares[9], 100);
//! ```

mod bounded;
mod group;
mod imap;
mod map;
mod members;

use std::any::Any;
use std::panic::resume_unwind;

pub use bounded::{Pool, PoolFull};
pub use group::Group;
pub use imap::IMap;

/// Why there is no result.
enum Failure {
    /// The code that was to give it panicked, with this payload.
    Panicked(Box<dyn Any + Send>),
    /// Its green thread was killed.
    Killed,
}

impl Failure {
    /// Passes it on to the one who wants the result.
    #[track_caller]
    fn raise(self) -> ! {
        match self {
            Failure::Panicked(payload) => resume_unwind(payload),
            Failure::Killed => panic!("a green thread was killed before it had a result"),
        }
    }
}
