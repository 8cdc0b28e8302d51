//! Opening a TCP connection.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::TcpStream;
use crate::io::Direction;

/// Opens a connection to one address.
pub(super) fn connect_until(
    address: &SocketAddr,
    deadline: Option<Instant>,
) -> io::Result<TcpStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    let stream = TcpStream::accepted(socket);
    match rustix::net::connect(&stream.inner, address) {
        Ok(()) => {}
        Err(rustix::io::Errno::INPROGRESS | rustix::io::Errno::INTR) => {
            stream.finish_connecting(deadline)?;
        }
        Err(error) => return Err(error.into()),
    }
    stream.inner.set_nonblocking(false)?;
    Ok(stream)
}

impl TcpStream {
    /// Waits for the outcome of a connection attempt.
    fn finish_connecting(&self, deadline: Option<Instant>) -> io::Result<()> {
        if self.source.wait(Direction::Write, deadline)?.is_err() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "connection timed out",
            ));
        }
        self.inner.take_error()?.map_or(Ok(()), Err)
    }
}
