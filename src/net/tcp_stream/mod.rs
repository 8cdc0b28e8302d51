//! TCP connections.
//!
//! The socket stays in the blocking mode that its user sees: reads and writes ask for `MSG_DONTWAIT` call by call. So a
//! descriptor that is lent or given away behaves as std's would.

mod connect;
mod convert;
mod transfer;

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, sockopt};

use connect::connect_until;

use super::addr::{ToSocketAddrs, each_address};
use super::settings::{self, Settings};
use crate::io::{Done, Source};

/// A TCP connection between a local and a remote socket: [`std::net::TcpStream`] for green threads.
///
/// Only the calling green thread waits in `connect`, `read`, `write` and `peek`. A reader and a writer may wait at the same
/// time, through `&TcpStream` or clones; several readers are served in the order in which they came.
///
/// The stream may be shared with, or moved to, other OS threads.
///
/// # Differences from std
///
/// `set_linger` and `linger` are available on stable Rust.
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
///     let (mut stream, _) = listener.accept()?;
///     stream.write_all(b"hello")
/// });
/// let mut text = String::new();
/// TcpStream::connect(address)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpStream {
    /// Before `inner`, so that it is dropped, and the descriptor deregistered, before that is closed.
    source: Source,
    inner: std::net::TcpStream,
    settings: Arc<Settings>,
}

impl TcpStream {
    fn new(inner: std::net::TcpStream, settings: Arc<Settings>) -> TcpStream {
        TcpStream {
            source: Source::new(inner.as_raw_fd()),
            inner,
            settings,
        }
    }

    /// A connection that was just accepted.
    pub(super) fn accepted(fd: OwnedFd) -> TcpStream {
        TcpStream::new(fd.into(), Arc::new(Settings::of_new_socket()))
    }

    /// Opens a connection. If `addr` yields several addresses, they are tried in order until one works.
    ///
    /// # Errors
    ///
    /// The error of the last address tried; `InvalidInput` if there is none; that of the look-up of a name.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let port = listener.local_addr()?.port();
    /// let stream = greenhub::net::TcpStream::connect(("127.0.0.1", port))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        each_address(addr, |address| connect_until(address, None))
    }

    /// Opens a connection to one address, waiting no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// `TimedOut` when the time has passed; `InvalidInput` for a `timeout` of zero; else as [`connect`](TcpStream::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let stream = greenhub::net::TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "cannot set a 0 duration timeout",
            ));
        }
        connect_until(addr, Instant::now().checked_add(timeout))
    }

    /// The address of the remote end.
    ///
    /// # Errors
    ///
    /// `NotConnected` after the connection was reset.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    /// The address of the local end.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert!(stream.local_addr()?.ip().is_loopback());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Shuts down the read half, the write half, or both, for this handle and its clones.
    ///
    /// Green threads that wait in the halves concerned go on: reads return what is left and then `Ok(0)`, writes fail with
    /// `BrokenPipe`.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the remote end is gone or, on a second call, if both halves are already shut down.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let mut stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// use std::io::Read;
    ///
    /// let handle = stream.try_clone()?;
    /// greenhub::spawn(move || handle.shutdown(std::net::Shutdown::Both));
    /// assert_eq!(stream.read(&mut [0; 8])?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner.shutdown(how)
    }

    /// A second handle to the same connection, with a descriptor of its own. Time-outs and other settings are shared.
    ///
    /// # Errors
    ///
    /// The kernel's, when descriptors have run out.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// let reader = stream.try_clone()?;
    /// assert_eq!(reader.local_addr()?, stream.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        let inner = self.inner.try_clone()?;
        Ok(TcpStream::new(inner, Arc::clone(&self.settings)))
    }

    /// Limits how long a read waits for data; `None`, the default, means for ever.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero. A read whose time has passed fails with `WouldBlock`, as std's does on Linux.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let mut stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// use std::io::{ErrorKind, Read};
    ///
    /// stream.set_read_timeout(Some(std::time::Duration::from_millis(5)))?;
    /// assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(timeout)?;
        settings::store_timeout(self.settings.read_timeout(), timeout);
        Ok(())
    }

    /// Limits how long a write waits for room; `None`, the default, means for ever.
    ///
    /// # Errors
    ///
    /// As [`set_read_timeout`](TcpStream::set_read_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_write_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(timeout)?;
        settings::store_timeout(self.settings.write_timeout(), timeout);
        Ok(())
    }

    /// The limit set by [`set_read_timeout`](TcpStream::set_read_timeout), as the kernel rounded it.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.read_timeout()?, None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.inner.read_timeout()
    }

    /// The limit set by [`set_write_timeout`](TcpStream::set_write_timeout), as the kernel rounded it.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.write_timeout()?, None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.inner.write_timeout()
    }

    /// Waits for data like a read, but leaves it to be read again.
    ///
    /// # Errors
    ///
    /// As a read.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let mut stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// use std::io::{Read, Write};
    ///
    /// let (mut peer, _) = listener.accept()?;
    /// peer.write_all(b"x")?;
    /// let mut byte = [0];
    /// assert_eq!(stream.peek(&mut byte)?, 1);
    /// assert_eq!(stream.read(&mut byte)?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        // However little there is, peeking leaves it there.
        self.read_with(|| {
            Ok(Done::Full(
                rustix::net::recv(&self.inner, &mut *buf, flags)?.1,
            ))
        })
    }

    /// Sets `SO_LINGER`: how long `close` goes on sending what has not been sent, or `None` for the system's default.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_linger(Some(std::time::Duration::ZERO))?; // Closing resets the connection.
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        Ok(sockopt::set_socket_linger(&self.inner, linger)?)
    }

    /// What [`set_linger`](TcpStream::set_linger) has set.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.linger()?, None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        Ok(sockopt::socket_linger(&self.inner)?)
    }

    /// Sets `TCP_NODELAY`: whether small writes are sent at once instead of being gathered.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_nodelay(true)?;
    /// assert!(stream.nodelay()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    /// What [`set_nodelay`](TcpStream::set_nodelay) has set.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert!(!stream.nodelay()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        self.inner.nodelay()
    }

    /// Sets `IP_TTL`: the number of hops after which a packet is dropped.
    ///
    /// # Errors
    ///
    /// The kernel's, for a value out of range.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_ttl(100)?;
    /// assert_eq!(stream.ttl()?, 100);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.set_ttl(ttl)
    }

    /// What [`set_ttl`](TcpStream::set_ttl) has set.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert!(stream.ttl()? > 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.ttl()
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
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert!(stream.take_error()?.is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.take_error()
    }

    /// Makes calls on this connection, also through clones, fail with `WouldBlock` instead of waiting, or wait again.
    ///
    /// # Errors
    ///
    /// None in practice; the call is the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let mut stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
    /// use std::io::{ErrorKind, Read};
    ///
    /// stream.set_nonblocking(true)?;
    /// assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.inner.set_nonblocking(nonblocking)?;
        self.settings.set_nonblocking(nonblocking);
        Ok(())
    }

    /// std's stream, for what takes one.
    pub(crate) fn as_std(&self) -> &std::net::TcpStream {
        &self.inner
    }
}

impl TcpStream {
    fn into_std(self) -> std::net::TcpStream {
        // The rest is dropped: with the source, the descriptor is deregistered.
        self.inner
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl UnwindSafe for TcpStream {}
impl RefUnwindSafe for TcpStream {}
