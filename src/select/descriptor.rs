//! Arms that win when a descriptor is ready.
//!
//! An arm asks the kernel first. If it has to wait, it registers a duplicate of the descriptor, as `io::wait_readable` does, so that
//! it matters to nobody else's registration; nobody else waits in that line.
#![allow(unsafe_code)]

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;

use super::Arm;
use super::sealed::Line;
use crate::io::{Direction, Source, is_ready};
use crate::task::Waker;
use crate::wait_queue::Place;

/// The arm of [`readable`] and [`writable`].
pub struct Ready<'a> {
    fd: BorrowedFd<'a>,
    flags: PollFlags,
    direction: Direction,
    /// The registered duplicate; the source goes before the descriptor does.
    own: OnceCell<(Source, OwnedFd)>,
    place: Place,
    result: Cell<Option<io::Result<()>>>,
}

/// Wins when `fd` is readable, has reached its end, or has an error: when a read would not block. As
/// [`io::wait_readable`](crate::io::wait_readable) in all else.
///
/// The result is an error when the descriptor cannot be waited for, because descriptors or memory have run out.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// let (mut reader, mut writer) = std::io::pipe()?;
/// greenhub::spawn(move || writer.write_all(b"x"));
/// let mut byte = [0];
/// greenhub::select! {
///     readable(&reader) -> result => {
///         result?;
///         reader.read_exact(&mut byte)?;
///     }
///     after(Duration::from_secs(60)) => {}
/// }
/// assert_eq!(&byte, b"x");
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn readable<F: AsFd>(fd: &F) -> Ready<'_> {
    let flags = PollFlags::IN | PollFlags::RDHUP;
    Ready::new(fd.as_fd(), flags, Direction::Read)
}

/// Wins when `fd` is writable or has an error: when a write would not block. As [`readable`] in all else.
///
/// # Examples
///
/// ```
/// let (_reader, writer) = std::io::pipe()?;
/// greenhub::select! {
///     writable(&writer) -> result => result?,
///     default => unreachable!("there is room in a new pipe"),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn writable<F: AsFd>(fd: &F) -> Ready<'_> {
    Ready::new(fd.as_fd(), PollFlags::OUT, Direction::Write)
}

impl<'a> Ready<'a> {
    fn new(fd: BorrowedFd<'a>, flags: PollFlags, direction: Direction) -> Ready<'a> {
        Ready {
            fd,
            flags,
            direction,
            own: OnceCell::new(),
            place: Place::new(),
            result: Cell::new(None),
        }
    }

    fn source(&self) -> io::Result<&Source> {
        if let Some((source, _)) = self.own.get() {
            return Ok(source);
        }
        let own = self.fd.try_clone_to_owned()?;
        let source = Source::new(own.as_raw_fd());
        Ok(&self.own.get_or_init(|| (source, own)).0)
    }

    /// Notes the result. Returns whether there is one.
    fn settle(&self, result: Option<io::Result<()>>) -> bool {
        let is_settled = result.is_some();
        self.result.set(result);
        is_settled
    }
}

impl Line for Ready<'_> {
    fn attempt(&self) -> bool {
        if let Some(failed @ Err(_)) = self.result.take() {
            return self.settle(Some(failed));
        }
        // An event may tell less than that a call would not block, or be out of date. This forgets it before the kernel is
        // asked, so that a later one is not missed.
        if let Some((source, _)) = self.own.get() {
            source.drain(self.direction);
        }
        self.settle(match is_ready(&self.fd, self.flags) {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        })
    }

    unsafe fn enlist(&self, waker: Waker) -> bool {
        // SAFETY: the caller's contract.
        let enlisted = self
            .source()
            .and_then(|source| unsafe { source.enlist(self.direction, &self.place, waker) });
        enlisted.unwrap_or_else(|error| !self.settle(Some(Err(error))))
    }

    fn withdraw(&self) -> bool {
        if let Some((source, _)) = self.own.get() {
            source.withdraw(&self.place);
        }
        false
    }

    fn is_external(&self) -> bool {
        true
    }
}

impl Arm for Ready<'_> {
    type Output = io::Result<()>;

    fn into_output(self) -> Option<io::Result<()>> {
        self.result.into_inner()
    }
}

impl fmt::Debug for Ready<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("fd", &self.fd)
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}
