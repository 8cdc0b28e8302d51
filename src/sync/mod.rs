//! What of [`std::sync`] does not block.
//!
//! Between green threads of one OS thread, `Rc`, `Cell` and `RefCell` do what locks do between OS threads: no other green
//! thread runs before the running one waits.

pub mod mpsc;

pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, Weak, atomic};
