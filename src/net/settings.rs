//! What the user has set on a socket and every wait has to know: time-outs and blocking mode.
//!
//! The kernel holds these too (`SO_RCVTIMEO`, `SO_SNDTIMEO`, `O_NONBLOCK`), where duplicates of the descriptor share them,
//! and where they survive a conversion to std's types and back. This is the copy that saves asking at each wait. A socket
//! that came from outside is asked once, at its first wait.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

const BLOCKING: u8 = 0;
const NONBLOCKING: u8 = 1;
const UNKNOWN: u8 = 2;

/// No time-out, in nanoseconds; and one that the kernel has to be asked for.
const NEVER: u64 = u64::MAX;
const ASK: u64 = u64::MAX - 1;

/// Shared by a socket and its clones.
pub(super) struct Settings {
    mode: AtomicU8,
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
}

impl Settings {
    /// Those of a socket that this crate has just made.
    pub(super) fn of_new_socket() -> Settings {
        Settings {
            mode: AtomicU8::new(BLOCKING),
            read_timeout: AtomicU64::new(NEVER),
            write_timeout: AtomicU64::new(NEVER),
        }
    }

    /// Those of a socket that came from outside.
    pub(super) fn unknown() -> Settings {
        Settings {
            mode: AtomicU8::new(UNKNOWN),
            read_timeout: AtomicU64::new(ASK),
            write_timeout: AtomicU64::new(ASK),
        }
    }

    /// Whether the user has asked for non-blocking calls.
    pub(super) fn is_nonblocking(&self, fd: impl AsFd) -> io::Result<bool> {
        if self.is_unknown() {
            let flags = rustix::fs::fcntl_getfl(fd)?;
            self.set_nonblocking(flags.contains(OFlags::NONBLOCK));
        }
        Ok(self.is_known_nonblocking())
    }

    /// Whether the kernel has not been asked yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.mode.load(Ordering::Relaxed) == UNKNOWN
    }

    /// As far as known without asking the kernel.
    pub(super) fn is_known_nonblocking(&self) -> bool {
        self.mode.load(Ordering::Relaxed) == NONBLOCKING
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) {
        self.mode.store(u8::from(nonblocking), Ordering::Relaxed);
    }

    pub(super) fn read_timeout(&self) -> &AtomicU64 {
        &self.read_timeout
    }

    pub(super) fn write_timeout(&self) -> &AtomicU64 {
        &self.write_timeout
    }
}

/// Stores a time-out that the kernel has accepted.
pub(super) fn store_timeout(cell: &AtomicU64, timeout: Option<Duration>) {
    let nanos = timeout.map_or(NEVER, |timeout| {
        u64::try_from(timeout.as_nanos()).map_or(ASK - 1, |nanos| nanos.min(ASK - 1))
    });
    cell.store(nanos, Ordering::Relaxed);
}

/// The end of a wait that begins now; `ask` is the kernel's word for a time-out that is not known.
pub(super) fn deadline(
    cell: &AtomicU64,
    ask: impl FnOnce() -> io::Result<Option<Duration>>,
) -> io::Result<Option<Instant>> {
    if cell.load(Ordering::Relaxed) == ASK {
        store_timeout(cell, ask()?);
    }
    match cell.load(Ordering::Relaxed) {
        NEVER => Ok(None),
        nanos => Ok(Instant::now().checked_add(Duration::from_nanos(nanos))),
    }
}
