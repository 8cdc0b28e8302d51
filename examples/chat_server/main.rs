//! A TCP chat with rooms: two green threads per client, written as straight-line blocking code.
//!
//! ```text
//! cargo run --release --example chat_server     # then: nc 127.0.0.1 7008
//! cargo run --release --example chat_server -- --help
//! ```
//!
//! All green threads run on the main thread, so what they share is an `Rc` of cells, none of which is borrowed while something
//! waits. The parts, most of which use only those before them: `options`, `lines` (out of bytes), `protocol` (commands
//! out of lines), `bucket` (how fast a client may send), `stats`, `client` (the queue of lines for a client, and what happens when
//! it is full), `rooms` (who is where), `session` (a connection's two green threads) and `server` (accepting and stopping),
//! which know each other, `signals`.

mod bucket;
mod client;
mod lines;
mod options;
mod protocol;
mod rooms;
mod server;
mod session;
mod signals;
mod stats;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::options::Options;
use crate::server::Server;

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat_server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    raise_descriptor_limit();
    let stats = options.stats;
    let server = Server::bind(options)?;
    let stopped = Rc::clone(&server);
    signals::on_signals(move || stopped.stop())?;
    if stats {
        let server = Rc::clone(&server);
        greenhub::spawn(move || server.print_stats_every_second());
    }
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;

    server.accept_loop();
    server.drain();
    writeln!(io::stdout(), "{}", server.counters.total())?;
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
