//! The server's life: it accepts, it stops, it sees its clients out.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use greenhub::io::{self, ErrorKind, Write};
use greenhub::net::{TcpListener, TcpStream};
use greenhub::thread::{self, JoinHandle, Thread};
use greenhub::time::{Duration, Instant};
use rustix::net::sockopt;

use crate::client::{Client, ClientId, End};
use crate::options::Options;
use crate::rooms::Rooms;
use crate::session::Session;
use crate::stats::{Counters, Snapshot};

/// How long the acceptor waits for a connection to end after `accept` has failed. Without a pause it could spin, because the
/// listener stays readable.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Where the server is in its life; it only ever goes down this list.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// Accepting and serving.
    Running,
    /// The first signal came: clients take what is left for them.
    Draining,
    /// A second signal came: their connections are cut.
    Closing,
}

/// An open connection.
struct Open {
    client: Rc<Client>,
    /// The green thread that owns it.
    session: JoinHandle<()>,
}

pub struct Server {
    pub options: Options,
    listener: TcpListener,
    phase: Cell<Phase>,
    /// The main thread, which accepts and then drains. It parks when it has to wait for a connection to end.
    main: Thread,
    next_id: Cell<ClientId>,
    open: RefCell<BTreeMap<ClientId, Open>>,
    pub rooms: RefCell<Rooms>,
    pub counters: Rc<Counters>,
}

impl Server {
    pub fn bind(options: Options) -> Result<Rc<Server>, String> {
        let listener = TcpListener::bind(options.listen.as_str())
            .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
        Ok(Rc::new(Server {
            rooms: RefCell::new(Rooms::new(options.max_rooms.get())),
            options,
            listener,
            phase: Cell::new(Phase::Running),
            main: thread::current(),
            next_id: Cell::new(0),
            open: RefCell::default(),
            counters: Rc::default(),
        }))
    }

    pub fn local_addr(&self) -> io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until [`stop`](Server::stop) is called.
    pub fn accept_loop(self: &Rc<Self>) {
        while self.phase.get() == Phase::Running {
            match self.listener.accept() {
                Ok((stream, _))
                    if self.open.borrow().len() < self.options.max_connections.get() =>
                {
                    self.start(stream);
                }
                Ok((stream, _)) => self.turn_away(&stream),
                Err(_) if self.phase.get() != Phase::Running => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    eprintln!("chat_server: cannot accept: {error}");
                    thread::park_timeout(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn start(self: &Rc<Self>, stream: TcpStream) {
        self.counters.accepted.update(|count| count + 1);
        // Both fail only if the peer has just gone, which its reader will find out.
        let _ = stream.set_nodelay(true);
        let _ = sockopt::set_socket_send_buffer_size(&stream, self.options.send_buffer as usize);
        let id = self.next_id.replace(self.next_id.get() + 1);
        let (queue, policy) = (self.options.queue.get(), self.options.slow);
        let client = Rc::new(Client::new(id, queue, policy, Rc::clone(&self.counters)));
        let session = Session {
            server: Rc::clone(self),
            client: Rc::clone(&client),
            stream: Rc::new(stream),
        };
        let session = greenhub::spawn(move || session.run());
        self.open.borrow_mut().insert(id, Open { client, session });
    }

    fn turn_away(&self, mut stream: &TcpStream) {
        self.counters.refused.update(|count| count + 1);
        // A new connection has room for a line, so this does not wait; if it would, the peer goes without.
        let _ = stream.set_nonblocking(true);
        let _ = stream.write_all(b"! the server is full; try again later\n");
    }

    /// A connection has ended.
    pub fn forget(&self, id: ClientId) {
        let gone = self.open.borrow_mut().remove(&id);
        drop(gone);
        self.main.unpark();
    }

    /// Lets a client that is being disconnected have no more than the grace time to take what is left for it.
    pub fn limit_farewell(self: &Rc<Self>, id: ClientId) {
        if self.open.borrow().contains_key(&id) {
            let server = Rc::clone(self);
            greenhub::spawn_later(self.options.grace, move || {
                if let Some(open) = server.open.borrow().get(&id) {
                    open.session.kill_nowait();
                }
            });
        }
    }

    /// Handles one signal: the first ends the accept loop, the second the grace time.
    pub fn stop(&self) {
        match self.phase.get() {
            Phase::Running => {
                self.phase.set(Phase::Draining);
                // Shutting a listener down refuses further clients at once and fails the `accept` that is waiting.
                if let Err(error) =
                    rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both)
                {
                    eprintln!("chat_server: cannot shut the listener down: {error}");
                }
            }
            Phase::Draining | Phase::Closing => self.phase.set(Phase::Closing),
        }
        self.main.unpark();
    }

    /// Bids every client farewell, waits within the grace time until they have taken what is left for them, then cuts the
    /// connections that are still open.
    pub fn drain(&self) {
        let deadline = Instant::now() + self.options.grace;
        for open in self.open.borrow().values() {
            open.client.end(End::Stop);
        }
        while self.phase.get() == Phase::Draining && !self.open.borrow().is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
        let left = std::mem::take(&mut *self.open.borrow_mut());
        greenhub::killall(left.values().map(|open| &open.session));
    }

    /// Prints a line of statistics every second, until nobody reads them.
    pub fn print_stats_every_second(&self) {
        let mut due = Instant::now();
        let mut before = Snapshot::of(&self.counters);
        loop {
            due += Duration::from_secs(1);
            thread::sleep_until(due);
            let now = Snapshot::of(&self.counters);
            let written = {
                let rooms = self.rooms.borrow();
                writeln!(
                    io::stdout(),
                    "clients {} open, {} named | rooms {} | {}",
                    self.open.borrow().len(),
                    rooms.people(),
                    rooms.rooms(),
                    now.since(&before),
                )
            };
            if written.is_err() {
                // That nobody reads them is no reason to stop serving.
                return;
            }
            before = now;
        }
    }
}
