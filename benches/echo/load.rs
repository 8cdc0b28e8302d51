//! The load generator: many clients in one epoll loop, each of which keeps a fixed number of messages in flight.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::MESSAGE_BYTES;

/// How long a reply may take before the run counts as failed.
const REPLY_LIMIT: rustix::event::Timespec = rustix::event::Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

struct Client {
    stream: TcpStream,
    /// Bytes sent that have not come back.
    outstanding: usize,
    /// Bytes received of a message that is not complete.
    partial: usize,
}

/// Connected clients.
pub struct Load {
    epoll: OwnedFd,
    clients: Vec<Client>,
    in_flight: usize,
    /// What the clients send, in a row; every message is the same.
    messages: Vec<u8>,
}

impl Load {
    /// Connects `connections` clients and has each echo one message, so that the server has accepted them all.
    pub fn connect(address: SocketAddr, connections: usize, in_flight: usize) -> Load {
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("epoll_create");
        let clients = (0..connections).map(|index| {
            let stream = TcpStream::connect(address).expect("connect");
            stream.set_nodelay(true).expect("set_nodelay");
            stream.set_nonblocking(true).expect("set_nonblocking");
            let flags = EventFlags::IN | EventFlags::ET;
            epoll::add(&epoll, &stream, EventData::new_u64(index as u64), flags)
                .expect("epoll_ctl");
            Client {
                stream,
                outstanding: 0,
                partial: 0,
            }
        });
        let clients = clients.collect();
        let message: Vec<u8> = (0..MESSAGE_BYTES).map(|i| b'!' + i as u8).collect();
        let mut load = Load {
            epoll,
            clients,
            in_flight,
            messages: message.repeat(in_flight),
        };
        load.run(Duration::ZERO);
        load
    }

    /// Keeps every client's messages in flight for so long, then waits for the last ones.
    ///
    /// Returns how many came back and how long that took.
    pub fn run(&mut self, duration: Duration) -> (usize, Duration) {
        let start = Instant::now();
        for client in &mut self.clients {
            client.send(&self.messages[..self.in_flight * MESSAGE_BYTES]);
        }
        let mut waiting = self.clients.len();
        let mut replies = 0;
        let mut events = Vec::with_capacity(1024);
        let mut buffer = vec![0; self.messages.len()];
        while waiting > 0 {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&REPLY_LIMIT)) {
                Ok(0) => panic!("{waiting} clients wait for a reply that does not come"),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => panic!("epoll_wait: {error}"),
            }
            let over = start.elapsed() >= duration;
            for event in events.drain(..) {
                let client = &mut self.clients[event.data.u64() as usize];
                let complete = client.receive(&mut buffer, &self.messages);
                replies += complete;
                if !over && complete > 0 {
                    client.send(&self.messages[..complete * MESSAGE_BYTES]);
                } else if complete > 0 && client.outstanding == 0 {
                    waiting -= 1;
                }
            }
        }
        (replies, start.elapsed())
    }
}

impl Client {
    /// Never more than a few messages, for which the send buffer always has room.
    fn send(&mut self, messages: &[u8]) {
        let sent = send(&self.stream, messages, SendFlags::NOSIGNAL).expect("send");
        assert_eq!(sent, messages.len(), "the send buffer is full");
        self.outstanding += sent;
    }

    /// Takes what has arrived, checks it and returns how many messages are now complete.
    fn receive(&mut self, buffer: &mut [u8], messages: &[u8]) -> usize {
        let length = match recv(&self.stream, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => panic!("the server has closed a connection"),
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return 0,
            Err(error) => panic!("recv: {error}"),
        };
        assert!(length <= self.outstanding, "more came back than was sent");
        let until_end = length.min(messages.len() - self.partial);
        let (first, second) = buffer[..length].split_at(until_end);
        let intact = first == &messages[self.partial..][..until_end]
            && second == &messages[..length - until_end];
        assert!(intact, "what came back differs from what was sent");
        self.outstanding -= length;
        let complete = (self.partial + length) / MESSAGE_BYTES;
        self.partial = (self.partial + length) % MESSAGE_BYTES;
        complete
    }
}
