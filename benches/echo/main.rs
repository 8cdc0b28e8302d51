//! CPU time per request of an echo server on greenhub, against a hand-written edge-triggered epoll loop.
//!
//! Both servers run as processes of their own on one core; this process makes the load from another, with the same
//! closed loop for both: a client sends its next message when it has got the last one back.

mod epoll_server;
mod green_server;
mod load;
#[path = "../rounds/mod.rs"]
mod rounds;
mod syscalls;

use std::net::SocketAddr;
use std::time::Duration;

use load::Load;
use rounds::process::{self, Part, cpu_seconds_of};
use rounds::{Comparison, Plan, heading};

/// Bytes of a message, as in most published comparisons of echo servers.
const MESSAGE_BYTES: usize = 64;

/// The most that greenhub's server may cost, as a multiple of the epoll loop.
const LIMIT: f64 = 1.10;

/// A server in a child process and the clients that are connected to it.
struct Side {
    server: Part,
    load: Load,
    /// Requests answered and seconds spent by the generator in the measured rounds.
    requests: usize,
    seconds: f64,
}

impl Side {
    fn start(server: &str, core: usize, connections: usize, in_flight: usize) -> Side {
        let mut server = Part::start(&format!("{server} {core}"));
        let address = server.line().expect("the server's address");
        let address: SocketAddr = address.parse().expect("an address");
        let load = Load::connect(address, connections, in_flight);
        Side {
            server,
            load,
            requests: 0,
            seconds: 0.0,
        }
    }

    /// Makes load for so long; returns the server's CPU time per request in microseconds.
    fn round(&mut self, duration: Duration) -> f64 {
        let before = cpu_seconds_of(self.server.pid());
        let (requests, elapsed) = self.load.run(duration);
        let spent = cpu_seconds_of(self.server.pid()) - before;
        self.requests += requests;
        self.seconds += elapsed.as_secs_f64();
        spent * 1e6 / requests as f64
    }

    fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Measures one number of connections and prints its line.
fn compare(plan: &Plan, server_core: usize, connections: usize, in_flight: usize) {
    let what = match in_flight {
        1 => format!("{connections} connections"),
        _ => format!("{connections} connections, {in_flight} in flight"),
    };
    if !plan.wants(&what) {
        return;
    }
    let mut epoll = Side::start("epoll", server_core, connections, in_flight);
    let mut green = Side::start("greenhub", server_core, connections, in_flight);
    let duration = Duration::from_millis(plan.pick(1500, 500, 20));
    let comparison: Comparison = plan.compare(|| epoll.round(duration), || green.round(duration));
    comparison.print(&what, "us CPU", Some(LIMIT));
    println!(
        "{:<44} {:>9.0} {:>9.0} requests/s",
        "",
        epoll.rate(),
        green.rate()
    );
    if plan.syscalls {
        for (name, side) in [("reference", &mut epoll), ("greenhub", &mut green)] {
            let counts = syscalls::per_request(side.server.pid(), || side.load.run(duration).0);
            println!("{:<44} {name:>9}: {counts}", "  system calls per request");
        }
    }
}

fn main() {
    process::raise_descriptor_limit();
    if let Some(part) = process::part() {
        process::pin_to(part[1].parse().expect("a core"));
        match part[0].as_str() {
            "epoll" => epoll_server::serve(),
            "greenhub" => green_server::serve(),
            other => unreachable!("no such part: {other}"),
        }
        return;
    }
    let plan = Plan::from_args();
    let (server_core, load_core) = process::two_cores();
    if server_core == load_core {
        println!("only one core: servers and generator compete for it");
    }
    process::pin_to(load_core);
    heading(
        &format!("echo, {MESSAGE_BYTES}-byte messages, server CPU time per request"),
        "edge-triggered epoll loop",
    );
    compare(&plan, server_core, 64, 1);
    compare(&plan, server_core, plan.pick(1000, 1000, 100), 1);
    compare(&plan, server_core, 64, 16);
}
