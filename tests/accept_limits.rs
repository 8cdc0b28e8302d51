//! Running out of descriptors: an accept loop neither spins nor ends, and recovers.

#[path = "support/child.rs"]
mod child;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// So few descriptors does the server have, and so many clients come.
const DESCRIPTORS: u64 = 40;
const CLIENTS: usize = 60;

/// How long the server is out of descriptors.
const SIEGE: Duration = Duration::from_millis(500);

fn main() {
    child::main(
        &[
            ("server", server),
            ("without_descriptors", without_descriptors),
        ],
        &[
            (
                "an_accept_loop_without_descriptors_waits",
                an_accept_loop_without_descriptors_waits,
            ),
            ("no_descriptor_left_is_an_error", || {
                child::run("without_descriptors", &[]).exited_with(0);
            }),
        ],
    );
}

/// Leaves the process no more than `descriptors`.
fn limit_descriptors(descriptors: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(descriptors),
            maximum,
        },
    )
    .unwrap();
}

/// The processor time that this process has used.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Echoes until its stdin ends, as a careless server would: it goes on after every error.
fn server() {
    use greenhub::net::TcpListener;
    limit_descriptors(DESCRIPTORS);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let mut out_of_descriptors = None;
    for stream in listener.incoming() {
        let mut stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                assert_eq!(
                    error.raw_os_error(),
                    Some(rustix::io::Errno::MFILE.raw_os_error())
                );
                out_of_descriptors.get_or_insert_with(|| (Instant::now(), processor_time()));
                continue;
            }
        };
        greenhub::spawn(move || {
            let mut byte = [0];
            while stream.read(&mut byte).is_ok_and(|len| len == 1) {
                if byte == [b'q'] {
                    let (since, used) = out_of_descriptors.unwrap();
                    println!(
                        "{} {}",
                        since.elapsed().as_millis(),
                        (processor_time() - used).as_millis()
                    );
                    std::process::exit(0);
                }
                stream.write_all(&byte).unwrap();
            }
        });
    }
}

fn an_accept_loop_without_descriptors_waits() {
    let mut server = child::command("server")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let addr: SocketAddr = lines.next().unwrap().unwrap().parse().unwrap();
    let connect = || {
        let stream = std::net::TcpStream::connect(addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    };
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect()).collect();
    // Those that got in are served all the time.
    let start = Instant::now();
    while start.elapsed() < SIEGE {
        (&clients[0]).write_all(&[1]).unwrap();
        (&clients[0]).read_exact(&mut [0]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    // A descriptor that comes free lets the next one in, without another connection to announce it.
    drop(clients.into_iter().take(CLIENTS - 10).collect::<Vec<_>>());
    let late = connect();
    (&late).write_all(&[2]).unwrap();
    (&late).read_exact(&mut [0]).unwrap();
    (&late).write_all(b"q").unwrap();
    let report = lines.next().unwrap().unwrap();
    let mut numbers = report
        .split(' ')
        .map(|number| number.parse::<u64>().unwrap());
    let (wall, used) = (numbers.next().unwrap(), numbers.next().unwrap());
    assert!(server.wait().unwrap().success());
    assert!(wall >= SIEGE.as_millis() as u64 / 2, "it never ran out");
    // A spinning loop would have used nearly all of it.
    assert!(used < wall / 3, "{used} ms of processor time in {wall} ms");
}

fn without_descriptors() {
    use greenhub::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let near = TcpStream::connect(addr).unwrap();
    let far = listener.accept().unwrap().0;
    limit_descriptors(DESCRIPTORS);
    let fillers: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    assert!(!fillers.is_empty());
    let is_exhausted = |error: std::io::Error| {
        error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())
    };
    assert!(is_exhausted(TcpStream::connect(addr).unwrap_err()));
    assert!(is_exhausted(
        TcpStream::connect_timeout(&addr, SIEGE).unwrap_err()
    ));
    assert!(is_exhausted(TcpListener::bind("127.0.0.1:0").unwrap_err()));
    assert!(is_exhausted(near.try_clone().unwrap_err()));
    // What is open works on, waiting included.
    let reader = greenhub::spawn(move || {
        let mut byte = [0];
        (&far).read_exact(&mut byte).map(|()| (byte, far))
    });
    greenhub::yield_now();
    (&near).write_all(&[4]).unwrap();
    let (byte, far) = reader.join().unwrap().unwrap();
    assert_eq!(byte, [4]);
    // A hub needs descriptors of its own; a thread that cannot have them is told so.
    let refused = std::thread::spawn(|| {
        let spawned = greenhub::thread::Builder::new().spawn(|| ());
        spawned.map(drop).unwrap_err()
    });
    assert_ne!(refused.join().unwrap().kind(), ErrorKind::InvalidInput);
    drop((far, fillers));
    assert!(TcpStream::connect(addr).is_ok());
}
