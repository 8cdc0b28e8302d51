//! How long the hub goes on resuming green threads before it looks at events, messages and timers.
//!
//! After `BATCH_TURNS` turns, or after `BATCH_TIME`, whoever is still ready. The count bounds the delay of I/O by cheap turns
//! (1,024 of 10 ns are 10 us, against which the system call of about half a microsecond is small); the time bounds it
//! when turns are long. The clock is not read at every turn, which would multiply the price of a cheap one: it is
//! read after 1, 2, 4 ... 64 turns, and from 1 again when a stride took long.

use std::cell::Cell;

/// The most turns between two looks at events, messages and timers.
const BATCH_TURNS: u32 = 1024;

/// The longest time between them, as far as green threads that do not let others run allow it.
const BATCH_TIME: u64 = 5_000_000;

/// The most turns between two readings of the clock, and the time in nanoseconds beyond which a stride was long.
const MAX_STRIDE: u32 = 64;
const LONG_STRIDE: u64 = 500_000;

/// How many turns are left before the loop has to look at events.
pub(super) struct Batch {
    /// Turns before the clock has to be read.
    turns: Cell<u32>,
    /// Turns beyond those.
    left: Cell<u32>,
    stride: Cell<u32>,
    began: Cell<u64>,
    checked: Cell<u64>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Batch {
            turns: Cell::new(1),
            left: Cell::new(BATCH_TURNS - 1),
            stride: Cell::new(1),
            began: Cell::new(0),
            checked: Cell::new(0),
        }
    }

    pub(super) fn begin(&self, now: u64) {
        let stride = self.stride.get();
        self.turns.set(stride);
        self.left.set(BATCH_TURNS - stride);
        self.began.set(now);
        self.checked.set(now);
    }

    #[inline]
    pub(super) fn take_turn(&self, clock: impl FnOnce() -> u64) -> bool {
        match self.turns.get() {
            0 => self.next_stride(clock()),
            turns => {
                self.turns.set(turns - 1);
                true
            }
        }
    }

    #[cold]
    fn next_stride(&self, now: u64) -> bool {
        let was_long = now - self.checked.get() > LONG_STRIDE;
        let stride = if was_long {
            1
        } else {
            (self.stride.get() * 2).min(MAX_STRIDE)
        };
        self.stride.set(stride);
        self.checked.set(now);
        if self.left.get() == 0 || now - self.began.get() >= BATCH_TIME {
            return false;
        }
        let granted = stride.min(self.left.get());
        self.left.set(self.left.get() - granted);
        self.turns.set(granted - 1);
        true
    }
}
