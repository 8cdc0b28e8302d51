//! The reference: an echo server as one would write it by hand for speed, with nothing but epoll and system calls.
//!
//! Every connection is registered once, edge-triggered. A short read says that the socket is drained, so that an
//! echo costs one `recv`, one `send` and its share of `epoll_wait`.

use std::net::{TcpListener, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::green_server::BUFFER_BYTES;

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// The listener's number among the descriptors registered; connections have their index.
const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    /// What the socket's send buffer had no room for. Nothing is read before it is gone.
    unsent: Vec<u8>,
}

/// What became of a connection when its events were handled.
#[derive(PartialEq)]
enum Outcome {
    Open,
    Closed,
}

impl Connection {
    /// Reads and writes until the socket is drained or takes no more.
    fn ready(&mut self, buffer: &mut [u8; BUFFER_BYTES]) -> Outcome {
        if !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            match self.send(&unsent) {
                Outcome::Open if self.unsent.is_empty() => {}
                outcome => return outcome,
            }
        }
        loop {
            match recv(&self.stream, &mut buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => return Outcome::Closed,
                Ok((length, _)) => {
                    if self.send(&buffer[..length]) == Outcome::Closed {
                        return Outcome::Closed;
                    }
                    if length < BUFFER_BYTES || !self.unsent.is_empty() {
                        return Outcome::Open;
                    }
                }
                Err(Errno::AGAIN) => return Outcome::Open,
                Err(Errno::INTR) => {}
                Err(_) => return Outcome::Closed,
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Outcome {
        while !bytes.is_empty() {
            match send(&self.stream, bytes, SendFlags::NOSIGNAL) {
                Ok(length) => bytes = &bytes[length..],
                Err(Errno::AGAIN) => {
                    self.unsent.extend_from_slice(bytes);
                    break;
                }
                Err(Errno::INTR) => {}
                Err(_) => return Outcome::Closed,
            }
        }
        Outcome::Open
    }
}

/// Accepts until nobody is waiting any more.
fn accept_all(epoll: &OwnedFd, listener: &TcpListener, connections: &mut Vec<Option<Connection>>) {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true).expect("set_nonblocking");
        stream.set_nodelay(true).expect("set_nodelay");
        let data = EventData::new_u64(connections.len() as u64);
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(epoll, &stream, data, flags).expect("epoll_ctl");
        connections.push(Some(Connection {
            stream,
            unsent: Vec::new(),
        }));
    }
}

/// Prints the address and serves until the process is killed.
pub fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    println!("{}", listener.local_addr().expect("local_addr"));
    listener.set_nonblocking(true).expect("set_nonblocking");
    let epoll = epoll::create(CreateFlags::CLOEXEC).expect("epoll_create");
    let flags = EventFlags::IN | EventFlags::ET;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), flags).expect("epoll_ctl");

    // Indices are never given out twice: the clients of a benchmark do not come and go.
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("epoll_wait: {error}"),
        }
        for event in events.drain(..) {
            if event.data.u64() == LISTENER {
                accept_all(&epoll, &listener, &mut connections);
                continue;
            }
            let slot = &mut connections[event.data.u64() as usize];
            if let Some(connection) = slot
                && connection.ready(&mut buffer) == Outcome::Closed
            {
                *slot = None;
            }
        }
    }
}
