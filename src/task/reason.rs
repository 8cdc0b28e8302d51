//! Why a task waits: what deadlock reports print, and what decides whether there can be one.

use std::fmt;
use std::num::NonZeroU64;
use std::os::fd::RawFd;

/// What a task waits for, as deadlock reports tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It was spawned or let others run, and has not had its turn.
    Turn,
    /// `spawn_later`: the time of its start.
    Start,
    /// Memory for a stack.
    Stack,
    /// `sleep`.
    Sleep,
    /// `thread::park`.
    Park,
    /// The end of the green thread with this id.
    Join(NonZeroU64),
    /// The end of the green threads of a scope.
    Scope,
    /// Readiness of a descriptor.
    Readable(RawFd),
    Writable(RawFd),
    /// A job on the pool of OS threads, by its name; behind a second reference to keep this type, and so each task, small.
    Job(&'static &'static str),
    /// The back-off of a listener that cannot accept.
    BackOff,
    /// Something that another task does, by its name; the second reference as above.
    On(&'static &'static str),
    /// The first of several things, some of which the outside world may bring about.
    First {
        external: bool,
    },
}

impl Reason {
    /// Whether the wait can be ended by the world outside the process's green threads.
    pub(crate) fn is_external(self) -> bool {
        matches!(
            self,
            Reason::Readable(_)
                | Reason::Writable(_)
                | Reason::Job(_)
                | Reason::First { external: true }
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Turn => f.write_str("waits for its turn to run"),
            Reason::Start => f.write_str("waits for the time of its start"),
            Reason::Stack => f.write_str("waits for a stack: the kernel gives no more memory"),
            Reason::Sleep => f.write_str("sleeps"),
            Reason::Park => f.write_str("is parked (thread::park)"),
            Reason::Join(id) => write!(f, "joins green thread {id}"),
            Reason::Scope => f.write_str("waits for the green threads of its scope"),
            Reason::Readable(fd) => write!(f, "waits until descriptor {fd} is readable"),
            Reason::Writable(fd) => write!(f, "waits until descriptor {fd} is writable"),
            Reason::Job(what) => write!(f, "waits for {what} on the blocking pool"),
            Reason::BackOff => f.write_str("waits before it accepts again"),
            Reason::On(what) => write!(f, "waits for {what}"),
            Reason::First { .. } => f.write_str("waits for the first of several things"),
        }
    }
}
