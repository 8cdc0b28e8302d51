//! A TCP echo server: one green thread per connection, written as straight-line blocking code.
//!
//! It owns everything that a small production server needs around the loop "read, write back": a limit of idle
//! time, a limit of connections, a line of statistics every second and an orderly end on Ctrl-C or `SIGTERM`.
//!
//! All green threads run on the main thread, so the state that they share is an `Rc` of plain cells.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use greenhub::io::{self, ErrorKind, Read, Write};
use greenhub::net::{Shutdown, TcpListener, TcpStream};
use greenhub::thread::{self, Thread};
use greenhub::time::{Duration, Instant};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use slab::Slab;

/// Bytes read at once. The buffer lies on the stack of each connection, so that a larger one would cost every idle
/// connection more resident memory.
const BUFFER_BYTES: usize = 4096;

/// How long the acceptor waits for a connection to end after `accept` has failed, for instance for want of a
/// descriptor. Without a pause it would spin, because the listener stays readable.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Longest time that an option may give.
const SECONDS_MAX: f64 = 365.0 * 86_400.0;

/// Sends every byte back to where it came from.
///
/// Ends on Ctrl-C or SIGTERM: it stops accepting, lets the open connections finish within the grace time, closes
/// the rest and exits with status 0. A second signal cuts the grace time short.
#[derive(Parser)]
#[command(name = "echo_server", version)]
struct Options {
    /// Address to listen on; port 0 takes a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7007")]
    listen: String,

    /// Close a connection on which nothing has moved for so long
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = positive_seconds)]
    idle_limit: Duration,

    /// Accept no further connection while so many are open
    #[arg(long, value_name = "N", default_value = "10000")]
    max_connections: NonZeroUsize,

    /// Time that open connections have to finish once the server has been told to end
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    grace: Duration,

    /// Print connections, messages and bytes every second
    #[arg(long)]
    stats: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=SECONDS_MAX).contains(&value) => Ok(Duration::from_secs_f64(value)),
        Ok(_) => Err(format!("must lie between 0 and {SECONDS_MAX} seconds")),
        Err(_) => Err("is not a number of seconds".into()),
    }
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("must be more than 0".into()),
        duration => Ok(duration),
    }
}

/// Where the server is in its life; it only ever goes down this list.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// Accepting and serving.
    Running,
    /// The first signal came: no more accepting, open connections go on.
    Draining,
    /// A second signal came: open connections are closed.
    Closing,
}

struct Server {
    options: Options,
    listener: TcpListener,
    phase: Cell<Phase>,
    /// The main thread, which accepts and then drains. It parks when it has to wait for a connection to end.
    main: Thread,
    /// Every open connection, so that the end of the grace time can shut them down. Shared with the green thread that
    /// serves it rather than duplicated: a duplicate would cost a second descriptor.
    open: RefCell<Slab<Rc<TcpStream>>>,
    accepted: Cell<u64>,
    /// Reads that were echoed; a client that sends one message at a time sees one read per message.
    messages: Cell<u64>,
    bytes: Cell<u64>,
}

impl Server {
    fn bind(options: Options) -> Result<Rc<Server>, String> {
        let listener = TcpListener::bind(options.listen.as_str())
            .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
        Ok(Rc::new(Server {
            options,
            listener,
            phase: Cell::new(Phase::Running),
            main: thread::current(),
            open: RefCell::default(),
            accepted: Cell::default(),
            messages: Cell::default(),
            bytes: Cell::default(),
        }))
    }

    /// Accepts until [`stop`](Server::stop) is called.
    fn accept_loop(self: &Rc<Self>) {
        while self.phase.get() == Phase::Running {
            if self.open.borrow().len() >= self.options.max_connections.get() {
                thread::park();
                continue;
            }
            match self.listener.accept() {
                Ok((stream, _)) => self.start(stream),
                Err(_) if self.phase.get() != Phase::Running => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    eprintln!("echo_server: cannot accept: {error}");
                    thread::park_timeout(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Serves one connection in a green thread of its own.
    fn start(self: &Rc<Self>, stream: TcpStream) {
        self.accepted.update(|count| count + 1);
        let stream = Rc::new(stream);
        let key = self.open.borrow_mut().insert(Rc::clone(&stream));
        let server = Rc::clone(self);
        greenhub::spawn(move || {
            // A connection that fails, times out or is reset ends like one that is closed: there is nobody to tell.
            let _ = server.echo(&stream);
            server.open.borrow_mut().remove(key);
            server.main.unpark();
        });
    }

    fn echo(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.options.idle_limit))?;
        stream.set_write_timeout(Some(self.options.idle_limit))?;
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let length = match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            stream.write_all(&buffer[..length])?;
            self.messages.update(|count| count + 1);
            self.bytes.update(|count| count + length as u64);
        }
    }

    /// Handles one signal: the first ends the accept loop, the second the grace time.
    fn stop(&self) {
        match self.phase.get() {
            Phase::Running => {
                self.phase.set(Phase::Draining);
                // Shutting a listener down refuses further clients at once and fails the `accept` that is waiting.
                if let Err(error) =
                    rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both)
                {
                    eprintln!("echo_server: cannot shut the listener down: {error}");
                }
            }
            Phase::Draining | Phase::Closing => self.phase.set(Phase::Closing),
        }
        self.main.unpark();
    }

    /// Waits for the open connections within the grace time, then closes what is left.
    fn drain(&self) {
        let deadline = Instant::now() + self.options.grace;
        while self.phase.get() == Phase::Draining && !self.open.borrow().is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
        for (_, stream) in self.open.borrow().iter() {
            // Fails only if the peer has just gone, and then the reader knows already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        while !self.open.borrow().is_empty() {
            thread::park();
        }
    }

    fn print_stats_every_second(&self) {
        let mut due = Instant::now();
        let (mut messages, mut bytes) = (0, 0);
        loop {
            due += Duration::from_secs(1);
            thread::sleep_until(due);
            let written = writeln!(
                io::stdout(),
                "connections {} open, {} accepted | messages {} (+{}) | bytes {} (+{})",
                self.open.borrow().len(),
                self.accepted.get(),
                self.messages.get(),
                self.messages.get() - messages,
                self.bytes.get(),
                self.bytes.get() - bytes,
            );
            if written.is_err() {
                // Nobody reads the statistics any more; that is no reason to stop serving.
                return;
            }
            (messages, bytes) = (self.messages.get(), self.bytes.get());
        }
    }
}

/// Calls [`Server::stop`] from a green thread once for every SIGINT and SIGTERM.
///
/// The signal handler may only write to a pipe; a green thread that waits for the other end does the rest.
fn stop_on_signals(server: &Rc<Server>) -> io::Result<()> {
    let (mut reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGINT, writer.try_clone()?)?;
    signal_hook::low_level::pipe::register(SIGTERM, writer)?;
    let server = Rc::clone(server);
    greenhub::spawn(move || {
        let mut signals = [0; 16];
        while io::wait_readable(&reader, None).is_ok() {
            for _ in 0..reader.read(&mut signals).unwrap_or(0) {
                server.stop();
            }
        }
    });
    Ok(())
}

/// Raises the soft limit of open descriptors to the hard one: the usual soft limit of 1,024 is from the days of
/// `select`, and every connection needs a descriptor.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Refused only by unusual sandboxes; the server then works within the limit that it has.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    raise_descriptor_limit();
    let stats = options.stats;
    let server = Server::bind(options)?;
    stop_on_signals(&server)?;
    if stats {
        let server = Rc::clone(&server);
        greenhub::spawn(move || server.print_stats_every_second());
    }
    writeln!(
        io::stdout(),
        "listening on {}",
        server.listener.local_addr()?
    )?;

    server.accept_loop();
    server.drain();
    let (accepted, messages, bytes) = (
        server.accepted.get(),
        server.messages.get(),
        server.bytes.get(),
    );
    writeln!(
        io::stdout(),
        "served {accepted} connections, {messages} messages, {bytes} bytes"
    )?;
    Ok(())
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_server: {error}");
            ExitCode::FAILURE
        }
    }
}
