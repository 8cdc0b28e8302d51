//! The kernel's readiness queue of one hub.
//!
//! The only file that names mio, which opens the epoll instance, registers descriptors with it and wakes it from other
//! threads. Waiting itself goes to `epoll_pwait2` on mio's descriptor, because mio's own wait takes whole milliseconds and
//! a hub has sleepers that want microseconds. The layout relied on (the token is the event's data word) is checked by a
//! test below.
//!
//! Registration, deregistration and waking may be done from any thread; only the hub's thread waits.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Token};

/// The most events taken from the kernel at once.
const EVENTS: usize = 1024;

/// The token of wake-ups from other threads.
const WAKE: Token = Token(usize::MAX);

/// What an event says about a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness(u8);

impl Readiness {
    pub(crate) const NONE: Readiness = Readiness(0);
    pub(crate) const READABLE: Readiness = Readiness(1);
    pub(crate) const WRITABLE: Readiness = Readiness(2);
    /// The direction was shut down, reset, or has urgent data: a condition that is reported once but lasts.
    pub(crate) const READ_LASTS: Readiness = Readiness(4);
    pub(crate) const WRITE_LASTS: Readiness = Readiness(8);

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u8) -> Readiness {
        Readiness(bits)
    }

    pub(crate) const fn union(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Readiness) -> Readiness {
        Readiness(self.0 & !other.0)
    }

    pub(crate) const fn contains(self, other: Readiness) -> bool {
        self.0 & other.0 == other.0
    }

    fn of(flags: i32) -> Readiness {
        let mut readiness = Readiness::NONE;
        if flags & libc::EPOLLIN != 0 {
            readiness = readiness.union(Readiness::READABLE);
        }
        if flags & libc::EPOLLOUT != 0 {
            readiness = readiness.union(Readiness::WRITABLE);
        }
        // Urgent data belongs here because a read stops short at the urgent mark with more data behind it.
        if flags & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLPRI) != 0 {
            readiness = readiness.union(Readiness::READABLE.union(Readiness::READ_LASTS));
        }
        if flags & (libc::EPOLLHUP | libc::EPOLLERR) != 0 {
            readiness = readiness.union(Readiness::WRITABLE.union(Readiness::WRITE_LASTS));
        }
        readiness
    }
}

/// Events as the kernel delivered them.
pub(crate) struct Events(Vec<libc::epoll_event>);

impl Events {
    pub(crate) fn new() -> Self {
        Events(Vec::with_capacity(EVENTS))
    }

    /// The token of each event and what it says; wake-ups are left out.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Readiness)> {
        self.0
            .iter()
            .map(|event| (event.u64, Readiness::of(event.events as i32)))
            .filter(|&(token, _)| token != WAKE.0 as u64)
    }
}

/// An epoll instance and the means to wake it.
pub(crate) struct Poller {
    poll: mio::Poll,
    waker: mio::Waker,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        Ok(Poller { poll, waker })
    }

    /// Reports every change of the descriptor's readiness in both directions under `token`, beginning with what it is now.
    pub(crate) fn register(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        let token = Token(token as usize);
        debug_assert_ne!(token, WAKE);
        self.poll
            .registry()
            .register(&mut SourceFd(&fd), token, interest)
    }

    pub(crate) fn deregister(&self, fd: RawFd) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&fd))
    }

    /// Makes the current or next `wait` return.
    pub(crate) fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }

    /// Waits for events until one comes, `timeout` has passed (never earlier), or a signal handler has run.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.0.clear();
        let capacity = events.0.capacity() as i32;
        let epoll = self.poll.as_raw_fd();
        let timespec = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let timespec = timespec.as_ref().map_or(ptr::null(), ptr::from_ref);
        let no_mask = ptr::null::<libc::sigset_t>();
        // SAFETY: the buffer has room for `capacity` events; the other pointers are null or valid through the call.
        let mut count = unsafe {
            let buffer = events.0.as_mut_ptr();
            libc::syscall(
                libc::SYS_epoll_pwait2,
                epoll,
                buffer,
                capacity,
                timespec,
                no_mask,
                0,
            )
        };
        let refused = [Some(libc::ENOSYS), Some(libc::EPERM)];
        if count < 0 && refused.contains(&io::Error::last_os_error().raw_os_error()) {
            // Kernels before 5.11, and sandboxes that are as old, wait for whole milliseconds: rounded up, so that nothing is
            // early.
            let millis = timeout.map_or(-1, |timeout| {
                i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
            });
            // SAFETY: as above.
            count =
                unsafe { libc::epoll_wait(epoll, events.0.as_mut_ptr(), capacity, millis).into() };
        }
        if count >= 0 {
            // SAFETY: the kernel has written that many events.
            unsafe { events.0.set_len(count as usize) };
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    #[test]
    fn mio_puts_the_token_into_the_data_word() {
        let poller = Poller::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let token = 0x1234_5678_9abc_def0;
        poller.register(ours.as_raw_fd(), token).unwrap();
        theirs.write_all(b"x").unwrap();
        let mut events = Events::new();
        poller.wait(&mut events, None).unwrap();
        let seen: Vec<_> = events.iter().collect();
        let both = Readiness::READABLE.union(Readiness::WRITABLE);
        assert_eq!(seen, [(token, both)]);
    }

    #[test]
    fn a_hang_up_lasts() {
        let poller = Poller::new().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        poller.register(ours.as_raw_fd(), 1).unwrap();
        drop(theirs);
        let mut events = Events::new();
        poller.wait(&mut events, None).unwrap();
        let (_, readiness) = events.iter().next().unwrap();
        assert!(readiness.contains(Readiness::READ_LASTS));
        assert!(readiness.contains(Readiness::WRITE_LASTS));
    }

    #[test]
    fn a_wake_ends_the_wait_and_is_no_event() {
        let poller = Poller::new().unwrap();
        poller.wake().unwrap();
        let mut events = Events::new();
        poller.wait(&mut events, None).unwrap();
        assert_eq!(events.iter().count(), 0);
    }

    #[test]
    fn sub_millisecond_timeouts_are_neither_early_nor_rounded_away() {
        let poller = Poller::new().unwrap();
        let mut events = Events::new();
        let timeout = Duration::from_micros(300);
        let start = Instant::now();
        poller.wait(&mut events, Some(timeout)).unwrap();
        assert!(start.elapsed() >= timeout);
    }
}
