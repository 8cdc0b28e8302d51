//! How long the queues' calls wait, and what comes of it if it is not long enough. Plain values, for any thread.

use std::time::{Duration, Instant};

/// How long a call may wait for an item, or for room.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    None,
    Until(Instant),
    Forever,
}

impl Patience {
    /// For a call that waits no longer than `timeout`, from now.
    pub(crate) fn timeout(timeout: Duration) -> Patience {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => Patience::Until(deadline),
            None => Patience::Forever,
        }
    }

    /// When a wait ends. Every call waits for its turn, so that of one without patience does not end.
    #[inline(always)]
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Patience::Until(deadline) => Some(deadline),
            Patience::None | Patience::Forever => None,
        }
    }
}

/// Why an item was not put.
pub(crate) enum Refused<T> {
    /// There is no room, or was none in time.
    Full(T),
    Closed(T),
}

impl<T> Refused<T> {
    #[inline(always)]
    pub(crate) fn into_item(self) -> T {
        match self {
            Refused::Full(item) | Refused::Closed(item) => item,
        }
    }
}

/// Why there is no item to get or to look at.
pub(crate) enum Nothing {
    /// There is none, or was none in time.
    Empty,
    Closed,
}
