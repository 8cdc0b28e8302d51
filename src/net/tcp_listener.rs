//! Sockets that accept TCP connections.
//!
//! `accept` has no flag that keeps it from blocking, so the descriptor itself is put into non-blocking mode by the first
//! `accept`, whatever mode its user sees.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, sockopt};

use super::addr::{ToSocketAddrs, each_address};
use super::settings::Settings;
use super::tcp_stream::TcpStream;
use crate::hub;
use crate::io::{Direction, Done, Source};
use crate::park;
use crate::task::{Reason, Wait};

/// The wait before an `accept` that found no descriptor or no memory reports it: doubled each time, up to the limit.
const BACK_OFF: Duration = Duration::from_millis(10);
const MAX_BACK_OFF: Duration = Duration::from_secs(1);

/// Connections that wait to be accepted, as far as the system allows (`net.core.somaxconn`). A hub accepts only when it is
/// the green thread's turn, so std's 128 would soon be too few; one that finds no room is tried again after a second.
const BACKLOG: i32 = 4096;

/// A socket that listens for TCP connections: [`std::net::TcpListener`] for green threads.
///
/// Only the calling green thread waits in `accept`; several may, and are served in the order in which they came. The
/// listener may be shared with, or moved to, other OS threads.
///
/// # Differences from std
///
/// - When the process has run out of descriptors or memory, `accept` waits before it reports that: 10 ms, then twice as
///   long each time, up to 1 s, until it succeeds again. A loop that ignores errors thus does not spin. In non-blocking mode
///   it reports at once.
/// - From the first `accept` on the descriptor is in non-blocking mode. It is put back into the mode that the user sees when
///   the listener is converted to a descriptor or to std's type, unless clones of it exist. So a listener that is made from
///   a duplicate, or inherited from a process that used this crate, may turn out to be non-blocking: call
///   [`set_nonblocking(false)`](TcpListener::set_nonblocking).
///
/// # Examples
///
/// ```
/// use greenhub::net::{TcpListener, TcpStream};
/// use std::io::{Read, Write};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// greenhub::spawn(move || {
///     for stream in listener.incoming() {
///         let mut stream = stream?;
///         greenhub::spawn(move || std::io::copy(&mut stream.try_clone()?, &mut stream));
///     }
///     Ok::<(), std::io::Error>(())
/// });
/// let mut stream = TcpStream::connect(address)?;
/// stream.write_all(b"echo")?;
/// let mut answer = [0; 4];
/// stream.read_exact(&mut answer)?;
/// assert_eq!(&answer, b"echo");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpListener {
    /// Before `inner`, so that it is dropped, and the descriptor deregistered, before that is closed.
    source: Source,
    inner: std::net::TcpListener,
    shared: Arc<Shared>,
}

/// What a listener and its clones have in common.
struct Shared {
    /// Without the time-outs, which listeners do not have.
    settings: Settings,
    /// Whether the descriptor has been put into non-blocking mode.
    is_prepared: AtomicBool,
    /// How many times in a row resources were lacking.
    shortages: AtomicU32,
}

impl TcpListener {
    fn new(inner: std::net::TcpListener, settings: Settings) -> TcpListener {
        TcpListener {
            source: Source::new(inner.as_raw_fd()),
            inner,
            shared: Arc::new(Shared {
                settings,
                is_prepared: AtomicBool::new(false),
                shortages: AtomicU32::new(0),
            }),
        }
    }

    /// Opens a listener on the first of the addresses that can be bound. Port 0 lets the system choose one.
    ///
    /// As with std, the address may be reused at once after an earlier listener has gone. Up to 4096 connections wait to be
    /// accepted (std: 128), if the system's limit `net.core.somaxconn` allows as many.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, `PermissionDenied` and whatever else the kernel says of the last address tried; `InvalidInput` if there is
    /// none.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        each_address(addr, |address| {
            let inner = std::net::TcpListener::bind(address)?;
            rustix::net::listen(&inner, BACKLOG)?;
            Ok(TcpListener::new(inner, Settings::of_new_socket()))
        })
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(listener.local_addr()?.ip().is_loopback());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// A second handle to the same listening socket.
    ///
    /// # Errors
    ///
    /// The kernel's, when descriptors have run out.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// let second = listener.try_clone()?;
    /// assert_eq!(listener.local_addr()?, second.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        let inner = self.inner.try_clone()?;
        Ok(TcpListener {
            source: Source::new(inner.as_raw_fd()),
            inner,
            shared: Arc::clone(&self.shared),
        })
    }

    /// Waits for a connection and returns it with the address of its other end.
    ///
    /// # Errors
    ///
    /// What the kernel reports, such as `ConnectionAborted` for a connection that was gone before it was accepted; after a
    /// wait (see above), the lack of descriptors (`EMFILE`, `ENFILE`) or memory. The listener goes on working.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr()?;
    /// # greenhub::spawn(move || greenhub::net::TcpStream::connect(address));
    /// let (stream, peer) = listener.accept()?;
    /// assert_eq!(stream.peer_addr()?, peer);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        if !self.shared.is_prepared.load(Ordering::Relaxed) {
            // Doing it twice at the same time does no harm.
            self.inner.set_nonblocking(true)?;
            self.shared.is_prepared.store(true, Ordering::Relaxed);
        }
        let call = || {
            let flags = SocketFlags::CLOEXEC;
            Ok(Done::Full(rustix::net::acceptfrom_with(
                &self.inner,
                flags,
            )?))
        };
        let accepted = if self.shared.settings.is_known_nonblocking() {
            call().map(Done::into_inner)
        } else {
            let accepted = self.source.transfer(Direction::Read, || Ok(None), call);
            accepted.inspect_err(|error| self.back_off(error))
        };
        let (socket, peer) = accepted?;
        self.shared.shortages.store(0, Ordering::Relaxed);
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        let stream = TcpStream::accepted(socket);
        let peer = peer.map_or_else(|| stream.peer_addr(), Ok)?;
        Ok((stream, peer))
    }

    /// Waits if `error` is one that would be met again at once.
    fn back_off(&self, error: &io::Error) {
        let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        if !lacking
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
        {
            return;
        }
        let shortages = self.shared.shortages.fetch_add(1, Ordering::Relaxed);
        let wait = BACK_OFF
            .saturating_mul(1 << shortages.min(10))
            .min(MAX_BACK_OFF);
        if hub::try_here().is_err() {
            // There are no descriptors for a hub either, hence no green threads on this OS thread that could be held up.
            std::thread::sleep(wait);
            return;
        }
        let _ = park::park(
            Wait::Open,
            Reason::BackOff,
            Some(Instant::now() + wait),
            |_| (),
            || (),
        );
    }

    /// An iterator over connections as they are accepted; it never ends.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr()?;
    /// # greenhub::spawn(move || greenhub::net::TcpStream::connect(address));
    /// let first = listener.incoming().next().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// As [`incoming`](TcpListener::incoming), but the iterator owns the listener.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr()?;
    /// # greenhub::spawn(move || greenhub::net::TcpStream::connect(address));
    /// let first = listener.into_incoming().next().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_incoming(self) -> IntoIncoming {
        IntoIncoming { listener: self }
    }

    /// Sets `IP_TTL` for the connections that will be accepted.
    ///
    /// # Errors
    ///
    /// The kernel's, for a value out of range.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_ttl(100)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.set_ttl(ttl)
    }

    /// What [`set_ttl`](TcpListener::set_ttl) has set.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(listener.ttl()? > 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.ttl()
    }

    /// Sets `IPV6_V6ONLY`, which has no effect on a bound socket.
    ///
    /// # Errors
    ///
    /// The kernel's.
    #[deprecated(note = "this option can only be set before the socket is bound")]
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        Ok(sockopt::set_ipv6_v6only(&self.inner, only_v6)?)
    }

    /// Whether only IPv6 connections are accepted.
    ///
    /// # Errors
    ///
    /// The kernel's, for a socket that is not IPv6.
    #[deprecated(note = "this option can only be set before the socket is bound")]
    pub fn only_v6(&self) -> io::Result<bool> {
        Ok(sockopt::ipv6_v6only(&self.inner)?)
    }

    /// Takes the error pending on the socket (`SO_ERROR`), if there is one.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(listener.take_error()?.is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.take_error()
    }

    /// Makes `accept`, also on clones, fail with `WouldBlock` instead of waiting, or wait again.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_nonblocking(true)?;
    /// assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        if !self.shared.is_prepared.load(Ordering::Relaxed) {
            self.inner.set_nonblocking(nonblocking)?;
        }
        self.shared.settings.set_nonblocking(nonblocking);
        Ok(())
    }

    fn into_std(self) -> std::net::TcpListener {
        let seen_as_blocking = !self.shared.settings.is_known_nonblocking();
        if seen_as_blocking && Arc::strong_count(&self.shared) == 1 {
            // Cannot fail: it worked when the mode was changed the other way.
            let _ = self.inner.set_nonblocking(false);
        }
        self.inner
    }
}

/// The iterator returned by [`TcpListener::incoming`].
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}

/// The iterator returned by [`TcpListener::into_incoming`].
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct IntoIncoming {
    listener: TcpListener,
}

impl Iterator for IntoIncoming {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for IntoIncoming {}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl UnwindSafe for TcpListener {}
impl RefUnwindSafe for TcpListener {}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl IntoRawFd for TcpListener {
    fn into_raw_fd(self) -> RawFd {
        self.into_std().into_raw_fd()
    }
}

impl FromRawFd for TcpListener {
    unsafe fn from_raw_fd(fd: RawFd) -> TcpListener {
        // SAFETY: the caller's contract.
        unsafe { std::net::TcpListener::from_raw_fd(fd) }.into()
    }
}

impl From<OwnedFd> for TcpListener {
    fn from(fd: OwnedFd) -> TcpListener {
        std::net::TcpListener::from(fd).into()
    }
}

impl From<TcpListener> for OwnedFd {
    fn from(listener: TcpListener) -> OwnedFd {
        listener.into_std().into()
    }
}

/// The listener keeps the blocking mode.
impl From<std::net::TcpListener> for TcpListener {
    fn from(listener: std::net::TcpListener) -> TcpListener {
        let settings = Settings::of_new_socket();
        // Asked now, before the first `accept` changes it. Fails only for what is no open descriptor, as `accept` will find.
        let flags = rustix::fs::fcntl_getfl(&listener).unwrap_or(OFlags::empty());
        settings.set_nonblocking(flags.contains(OFlags::NONBLOCK));
        TcpListener::new(listener, settings)
    }
}

/// The listener keeps the blocking mode that its user sees.
impl From<TcpListener> for std::net::TcpListener {
    fn from(listener: TcpListener) -> std::net::TcpListener {
        listener.into_std()
    }
}
