//! Many at once: parked green threads, pending timers, connections.

#[path = "support/child.rs"]
mod child;

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenhub::net::{TcpListener, TcpStream};
use greenhub::thread;
use greenhub::{joinall, sleep, spawn, spawn_later, yield_now};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn main() {
    child::main(
        &[
            ("parked", parked),
            ("timers", timers),
            ("never_due", never_due),
            ("echo_server", echo_server),
        ],
        &[
            ("a_hundred_thousand_park_and_wake", || succeeds("parked")),
            ("a_million_timers_fire", || succeeds("timers")),
            ("a_million_pending_timers_end_with_their_thread", || {
                let ended = child::run("never_due", &[]);
                ended.exited_with(0);
                assert_eq!(ended.stdout, "all dropped\n");
            }),
            (
                "ten_thousand_connections_are_served",
                ten_thousand_connections_are_served,
            ),
        ],
    );
}

/// Runs a scenario that needs the memory of a whole process.
fn succeeds(scenario: &str) {
    child::run(scenario, &[]).exited_with(0);
}

fn parked() {
    const MANY: usize = 100_000;
    let awake = Rc::new(Cell::new(0));
    let handles: Vec<_> = (0..MANY)
        .map(|i| {
            let awake = Rc::clone(&awake);
            spawn(move || {
                thread::park();
                awake.set(awake.get() + 1);
                i
            })
        })
        .collect();
    // Those that find no stack at once, as on kernels with costly guards, wait for one.
    yield_now();
    assert_eq!(awake.get(), 0);
    for handle in &handles {
        handle.thread().unpark();
    }
    for (i, result) in joinall(handles).into_iter().enumerate() {
        assert_eq!(result.unwrap(), i);
    }
    assert_eq!(awake.get(), MANY);
}

fn timers() {
    const MANY: u64 = 1_000_000;
    let fired = Rc::new(Cell::new(0));
    let last = Rc::new(RefCell::new(Duration::ZERO));
    let start = Instant::now();
    // All become due in the second after the slowest machine has armed them.
    let base = start + Duration::from_secs(1);
    for i in 0..MANY {
        // 7,919 and 1,000,000 have no common factor: every microsecond of the second, scattered.
        let offset = Duration::from_micros(i * 7_919 % MANY);
        let due = base + offset;
        let (fired, last) = (Rc::clone(&fired), Rc::clone(&last));
        spawn_later(due.saturating_duration_since(Instant::now()), move || {
            assert!(Instant::now() >= due);
            fired.set(fired.get() + 1);
            *last.borrow_mut() = start.elapsed();
        });
    }
    while fired.get() < MANY {
        sleep(Duration::from_millis(10));
    }
    assert!(*last.borrow() >= Duration::from_micros(1_999_999));
}

fn never_due() {
    const MANY: usize = 1_000_000;
    let dropped = Rc::new(Cell::new(0));
    struct Counts(Rc<Cell<usize>>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            if self.0.get() == MANY {
                println!("all dropped");
            }
        }
    }
    for _ in 0..MANY {
        let capture = Counts(Rc::clone(&dropped));
        spawn_later(Duration::from_secs(3_600), move || drop(capture));
    }
    // They are in nobody's way.
    let start = Instant::now();
    for _ in 0..100 {
        sleep(Duration::from_micros(100));
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(dropped.get(), 0);
}

/// The number of connections for which both ends may open descriptors.
fn connections() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .unwrap();
    // Some are needed for the hub, the listener and the standard streams.
    let spare = maximum
        .map_or(usize::MAX, |maximum| maximum as usize)
        .saturating_sub(100);
    spare.min(10_000)
}

fn echo_server() {
    connections();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let open = Rc::new(Cell::new(0));
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        open.set(open.get() + 1);
        let open = Rc::clone(&open);
        spawn(move || {
            let mut buf = [0; 64];
            loop {
                let len = stream.read(&mut buf).unwrap();
                if len == 0 {
                    break;
                }
                stream.write_all(&buf[..len]).unwrap();
            }
            open.set(open.get() - 1);
            if open.get() == 0 {
                std::process::exit(0);
            }
        });
    }
}

fn ten_thousand_connections_are_served() {
    let count = connections();
    let mut server = child::command("echo_server")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let addr: SocketAddr = lines.next().unwrap().unwrap().parse().unwrap();
    let streams: Vec<_> = (0..count)
        .map(|_| TcpStream::connect(addr).unwrap())
        .collect();
    // All are open before the first one speaks, and all speak at once.
    let clients: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(i, mut stream)| {
            spawn(move || {
                for round in 0..3u64 {
                    let sent = (i as u64 * 10 + round).to_le_bytes();
                    stream.write_all(&sent).unwrap();
                    let mut got = [0; 8];
                    stream.read_exact(&mut got).unwrap();
                    assert_eq!(got, sent);
                }
                stream
            })
        })
        .collect();
    let streams: Vec<_> = joinall(clients).into_iter().map(Result::unwrap).collect();
    assert_eq!(streams.len(), count);
    drop(streams);
    assert!(server.wait().unwrap().success());
}
