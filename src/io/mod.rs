//! Waiting for descriptors, and [`std::io`], whose traits and types do not block by themselves.
//!
//! # Differences from std
//!
//! Standard input and pipes are std's own and block the OS thread, hence all its green threads; wait with
//! [`wait_readable`] before reading from them.

mod source;

use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};

pub(crate) use source::{Direction, Done, Source};
pub use std::io::*;

/// Waits until `fd` is readable, has reached its end, or has an error: until a read would not block.
///
/// Works for every descriptor that `poll` knows: sockets, pipes, eventfds, terminals. Regular files are always ready. Only
/// the calling green thread waits. The descriptor may be in blocking mode, be registered elsewhere, and be waited for by
/// several green threads at once, all of which go on when it is ready.
///
/// # Errors
///
/// `TimedOut` when `deadline` has passed first; the error of duplicating or registering the descriptor when descriptors have
/// run out.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// let (mut reader, mut writer) = std::io::pipe()?;
/// greenhub::spawn(move || writer.write_all(b"x"));
/// greenhub::io::wait_readable(&reader, None)?;
/// reader.read_exact(&mut [0])?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn wait_readable(fd: impl AsFd, deadline: Option<Instant>) -> Result<()> {
    let flags = PollFlags::IN | PollFlags::RDHUP;
    wait(&fd, flags, Direction::Read, deadline)
}

/// Waits until `fd` is writable or has an error: until a write would not block.
///
/// As [`wait_readable`] in all else.
///
/// # Errors
///
/// As [`wait_readable`].
///
/// # Examples
///
/// ```
/// let (_reader, writer) = std::io::pipe()?;
/// greenhub::io::wait_writable(&writer, None)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn wait_writable(fd: impl AsFd, deadline: Option<Instant>) -> Result<()> {
    wait(&fd, PollFlags::OUT, Direction::Write, deadline)
}

fn wait(
    fd: &impl AsFd,
    flags: PollFlags,
    direction: Direction,
    deadline: Option<Instant>,
) -> Result<()> {
    if is_ready(fd, flags)? {
        return Ok(());
    }
    // A duplicate can be registered whatever is registered already, and is not affected if the original is closed.
    let own = fd.as_fd().try_clone_to_owned()?;
    let source = Source::new(own.as_raw_fd());
    loop {
        if source.wait(direction, deadline)?.is_err() {
            return Err(Error::new(
                ErrorKind::TimedOut,
                "timed out waiting for a descriptor",
            ));
        }
        // An event may tell less than that a call would not block (urgent data), or be out of date.
        source.drain(direction);
        if is_ready(&own, flags)? {
            return Ok(());
        }
    }
}

/// Whether `poll` reports one of `flags`, an error or a hang-up right now.
pub(crate) fn is_ready(fd: &impl AsFd, flags: PollFlags) -> Result<bool> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    loop {
        match rustix::event::poll(&mut [PollFd::new(fd, flags)], Some(&now)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
