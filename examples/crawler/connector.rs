//! ureq over greenhub: name lookup, connections and their timeouts.
//!
//! ureq asks a [`Resolver`] for addresses and a [`Connector`] for a byte transport, and does the rest of
//! HTTP itself in plain blocking calls. Those calls end here, in `greenhub::net`, where they suspend one
//! green thread instead of the OS thread; ureq notices nothing of it.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::Instant;

use greenhub::net::{TcpStream, ToSocketAddrs};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

/// Resolves names with greenhub's [`ToSocketAddrs`], which asks the system's resolver off the hub.
#[derive(Debug)]
pub struct GreenResolver;

/// The most addresses that ureq keeps of one host.
const ADDRESSES_MAX: usize = 16;

impl Resolver for GreenResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let authority = uri.authority().ok_or(Error::HostNotFound)?;
        let default_port = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => 443,
            _ => 80,
        };
        let host = authority.host().to_owned();
        let address = format!("{host}:{}", authority.port_u16().unwrap_or(default_port));
        let lookup = greenhub::spawn(move || address.to_socket_addrs());
        let found = match timeout.not_zero() {
            Some(limit) => lookup
                .join_timeout(*limit)
                .map_err(|_| Error::Timeout(timeout.reason))?,
            None => lookup.join(),
        };
        let found = match found {
            Ok(found) => found.map_err(|error| lookup_failed(&host, &error))?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let mut addresses = self.empty();
        let family = config.ip_family();
        let wanted = family.keep_wanted(found).take(ADDRESSES_MAX);
        wanted.for_each(|address| addresses.push(address));
        match addresses.is_empty() {
            true => Err(Error::HostNotFound),
            false => Ok(addresses),
        }
    }
}

/// A name that does not resolve, told apart from a connection that fails.
#[derive(Debug)]
pub struct LookupError(String);

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LookupError {}

fn lookup_failed(host: &str, error: &io::Error) -> Error {
    Error::Other(Box::new(LookupError(format!("{host}: {error}"))))
}

/// Opens connections with `greenhub::net::TcpStream`.
#[derive(Debug)]
pub struct GreenConnector;

impl<In: Transport> Connector<In> for GreenConnector {
    type Out = GreenTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _chained: Option<In>,
    ) -> Result<Option<GreenTransport>, Error> {
        let started = Instant::now();
        let mut last_error = Error::HostNotFound;
        for (index, address) in details.addrs.iter().enumerate() {
            let limit = details.timeout.not_zero();
            let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
            // A host with several addresses must not spend all its time on a first one that is dead.
            let addresses_left = (details.addrs.len() - index) as u32;
            let connected = match left {
                Some(left) if left.is_zero() => Err(io::ErrorKind::TimedOut.into()),
                Some(left) => TcpStream::connect_timeout(address, left / addresses_left),
                None => TcpStream::connect(address),
            };
            match connected {
                Ok(stream) => {
                    stream.set_nodelay(details.config.no_delay())?;
                    return Ok(Some(GreenTransport::new(stream, details.config)));
                }
                Err(error) if is_timeout(&error) => {
                    last_error = Error::Timeout(details.timeout.reason);
                }
                Err(error) => last_error = Error::Io(error),
            }
        }
        Err(last_error)
    }
}

/// One connection: ureq's buffers around a green `TcpStream`.
pub struct GreenTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl GreenTransport {
    fn new(stream: TcpStream, config: &Config) -> GreenTransport {
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        GreenTransport { stream, buffers }
    }
}

impl fmt::Debug for GreenTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GreenTransport")
            .field("stream", &self.stream)
            .finish()
    }
}

impl Transport for GreenTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let limit = timeout.not_zero().map(|limit| *limit);
        self.stream.set_write_timeout(limit)?;
        let output = &self.buffers.output()[..amount];
        self.stream
            .write_all(output)
            .map_err(|error| io_failed(error, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let limit = timeout.not_zero().map(|limit| *limit);
        self.stream.set_read_timeout(limit)?;
        let input = self.buffers.input_append_buf();
        let amount = self
            .stream
            .read(input)
            .map_err(|error| io_failed(error, timeout.reason))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// An idle connection is open while a read would block: an end, an error or bytes that nobody asked
    /// for make it useless for a further request.
    ///
    /// ureq calls this with its connection pool locked. Another green thread that wants the pool would
    /// block the OS thread, so this one must not switch: it asks the kernel, past greenhub.
    fn is_open(&mut self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(&self.stream, &mut [0], flags), Err(Errno::AGAIN))
    }
}

fn io_failed(error: io::Error, reason: Timeout) -> Error {
    match is_timeout(&error) {
        true => Error::Timeout(reason),
        false => Error::Io(error),
    }
}

/// A read or write past its time limit is `WouldBlock` on Linux, a connect past it `TimedOut`.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
