//! Runs the `echo_server` example as a child process and talks to it with std's blocking sockets.
//!
//! Every server listens on port 0 and prints the address that it got. Waiting is done on events (a line printed, a
//! socket closed, the process ended), each with a limit after which the test fails.

#[path = "support/example.rs"]
mod example;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use example::executable;

/// After this long something that should have happened counts as missing.
const LIMIT: Duration = Duration::from_secs(20);

/// How long to look for something that must not happen.
const QUIET: Duration = Duration::from_millis(300);

/// A running server; killed when the test ends, whichever way it ends.
struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(options: &[&str]) -> Server {
        let mut child = Command::new(executable("echo_server"))
            .args(["--listen", "127.0.0.1:0"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("start echo_server");
        let mut stdout = BufReader::new(child.stdout.take().expect("a piped stdout"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("read the first line");
        let address = line
            .trim_end()
            .strip_prefix("listening on ")
            .expect("the address");
        let address = address.parse().expect("an address with a port");
        Server {
            child,
            stdout,
            address,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connect");
        stream
            .set_read_timeout(Some(LIMIT))
            .expect("set_read_timeout");
        stream
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("send a signal");
    }

    /// Waits for the process to end and returns its status and the rest of what it printed.
    fn wait(&mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("try_wait") {
                break status;
            }
            assert!(Instant::now() < deadline, "the server has not ended");
            thread::sleep(Duration::from_millis(5));
        };
        let mut rest = String::new();
        self.stdout
            .read_to_string(&mut rest)
            .expect("read the last lines");
        (status, rest)
    }

    /// Waits until the listener refuses clients, which is the first visible effect of a signal.
    fn wait_until_refusing(&self) {
        let deadline = Instant::now() + LIMIT;
        while TcpStream::connect(self.address).is_ok() {
            assert!(Instant::now() < deadline, "the server still accepts");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends `message` and asserts that it comes back.
fn assert_echo(mut stream: &TcpStream, message: &[u8]) {
    stream.write_all(message).expect("send");
    let mut reply = vec![0; message.len()];
    stream.read_exact(&mut reply).expect("the echo");
    assert!(reply == message, "the echo differs from the message");
}

/// Asserts that the server has closed the connection, in an orderly way or by a reset.
fn assert_closed(mut stream: &TcpStream) {
    match stream.read(&mut [0; 64]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("expected a closed connection, got {other:?}"),
    }
}

/// Runs the example to its end, for options with which it must not start serving.
fn run(options: &[&str]) -> Output {
    Command::new(executable("echo_server"))
        .args(options)
        .output()
        .expect("run echo_server")
}

#[test]
fn echoes_small_messages_of_several_clients_in_turn() {
    let server = Server::start(&[]);
    let clients: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    for round in 0..10 {
        for (number, client) in clients.iter().enumerate() {
            assert_echo(
                client,
                format!("round {round} of client {number}").as_bytes(),
            );
        }
    }
}

#[test]
fn echoes_a_long_stream_and_closes_after_the_client_has() {
    let server = Server::start(&[]);
    let mut reader = server.connect();
    let mut writer = reader.try_clone().expect("try_clone");
    let sent: Vec<u8> = (0..4_000_000_u32).map(|i| ((i * 31) >> 3) as u8).collect();
    let expected = sent.clone();
    let sending = thread::spawn(move || {
        writer.write_all(&sent).expect("send");
        writer.shutdown(Shutdown::Write).expect("shutdown");
    });
    let mut received = Vec::new();
    reader
        .read_to_end(&mut received)
        .expect("receive until the end");
    sending.join().expect("the sender");
    assert!(
        received == expected,
        "{} of {} bytes",
        received.len(),
        expected.len()
    );
}

#[test]
fn idle_connection_is_closed_and_active_one_is_not() {
    let idle_limit = Duration::from_millis(600);
    let server = Server::start(&["--idle-limit", "0.6"]);
    let active = server.connect();
    let start = Instant::now();
    let idle = server.connect();
    // The active client outlives the limit several times over without ever being idle for half of it.
    while start.elapsed() < 3 * idle_limit {
        assert_echo(&active, b"still here");
        thread::sleep(idle_limit / 12);
    }
    idle.set_read_timeout(Some(Duration::from_millis(1)))
        .expect("set_read_timeout");
    assert_closed(&idle);

    let start = Instant::now();
    assert_echo(&active, b"last");
    assert_closed(&active);
    assert!(
        start.elapsed() >= idle_limit,
        "closed after {:?}",
        start.elapsed()
    );
}

#[test]
fn client_that_never_reads_is_closed_too() {
    let server = Server::start(&["--idle-limit", "0.3"]);
    let mut client = server.connect();
    client
        .set_write_timeout(Some(LIMIT))
        .expect("set_write_timeout");
    let chunk = [7; 65_536];
    let error = loop {
        if let Err(error) = client.write_all(&chunk) {
            break error;
        }
    };
    let kind = error.kind();
    assert!(
        matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{error}"
    );
}

#[test]
fn connection_beyond_the_limit_is_served_when_one_has_ended() {
    let server = Server::start(&["--max-connections", "2"]);
    let first = server.connect();
    let second = server.connect();
    assert_echo(&first, b"first");
    assert_echo(&second, b"second");

    let mut third = server.connect();
    third.write_all(b"third").expect("send");
    third
        .set_read_timeout(Some(QUIET))
        .expect("set_read_timeout");
    let error = third.read(&mut [0; 8]).expect_err("must not be served yet");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_echo(&first, b"first again");

    drop(second);
    third
        .set_read_timeout(Some(LIMIT))
        .expect("set_read_timeout");
    let mut reply = [0; 5];
    third.read_exact(&mut reply).expect("the echo");
    assert_eq!(&reply, b"third");
    assert_echo(&first, b"first to the end");
}

#[test]
fn stats_count_connections_messages_and_bytes() {
    let mut server = Server::start(&["--stats"]);
    let stays = server.connect();
    for _ in 0..3 {
        assert_echo(&stays, b"12345678");
    }
    let goes = server.connect();
    assert_echo(&goes, b"1234");
    goes.shutdown(Shutdown::Write).expect("shutdown");
    assert_closed(&goes);

    // The figures are those of some second from now on; the first lines may have been printed before.
    let deadline = Instant::now() + LIMIT;
    let mut line = String::new();
    while !line.starts_with("connections 1 open, 2 accepted | messages 4 (+") {
        assert!(Instant::now() < deadline, "last line: {line}");
        line.clear();
        server
            .stdout
            .read_line(&mut line)
            .expect("a line of statistics");
    }
    assert!(line.contains("| bytes 28 (+"), "{line}");

    let start = Instant::now();
    for _ in 0..2 {
        line.clear();
        server
            .stdout
            .read_line(&mut line)
            .expect("a line of statistics");
        assert_eq!(
            line,
            "connections 1 open, 2 accepted | messages 4 (+0) | bytes 28 (+0)\n"
        );
    }
    let elapsed = start.elapsed();
    assert!(
        elapsed > Duration::from_millis(1500) && elapsed < LIMIT,
        "two lines in {elapsed:?}"
    );
}

#[test]
fn interrupt_lets_an_open_connection_finish() {
    let mut server = Server::start(&["--grace", "60"]);
    let client = server.connect();
    assert_echo(&client, b"before");
    server.signal(Signal::INT);
    server.wait_until_refusing();
    assert_echo(&client, b"after");
    drop(client);
    let (status, output) = server.wait();
    assert_eq!(status.code(), Some(0));
    // The probes that found out when it refuses may have been accepted; they said nothing.
    assert!(
        output.ends_with(" connections, 2 messages, 11 bytes\n"),
        "{output}"
    );
}

#[test]
fn terminate_closes_what_is_left_after_the_grace_time() {
    let mut server = Server::start(&["--grace", "0.5"]);
    let client = server.connect();
    assert_echo(&client, b"hello");
    let start = Instant::now();
    server.signal(Signal::TERM);
    assert_closed(&client);
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_millis(500),
        "closed after {elapsed:?}"
    );
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn second_signal_cuts_the_grace_time_short() {
    let mut server = Server::start(&["--grace", "3600"]);
    let client = server.connect();
    assert_echo(&client, b"hello");
    server.signal(Signal::INT);
    server.wait_until_refusing();
    assert_echo(&client, b"still served");
    server.signal(Signal::INT);
    assert_closed(&client);
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn interrupt_ends_an_idle_server_and_one_that_is_full() {
    let mut idle = Server::start(&[]);
    idle.signal(Signal::INT);
    assert_eq!(idle.wait().0.code(), Some(0));

    let mut full = Server::start(&["--max-connections", "1", "--grace", "0"]);
    let client = full.connect();
    assert_echo(&client, b"hello");
    full.signal(Signal::INT);
    assert_closed(&client);
    assert_eq!(full.wait().0.code(), Some(0));
}

#[test]
fn address_in_use_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("local_addr").to_string();
    let output = run(&["--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(
        message.starts_with(&format!("echo_server: cannot listen on {address}: ")),
        "{message}"
    );
    assert!(message.contains("in use"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn address_without_a_port_is_a_clear_error() {
    let output = run(&["--listen", "localhost"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(
        message.starts_with("echo_server: cannot listen on localhost: "),
        "{message}"
    );
}

#[test]
fn invalid_options_are_refused_by_name() {
    for (options, named) in [
        (["--idle-limit", "0"], "--idle-limit"),
        (["--idle-limit", "soon"], "--idle-limit"),
        (["--grace", "1e30"], "--grace"),
        (["--grace", "NaN"], "--grace"),
        (["--max-connections", "0"], "--max-connections"),
        (["--no-such-option", "1"], "--no-such-option"),
    ] {
        let output = run(&options);
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        let message = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(message.contains(named), "{options:?}: {message}");
    }
}
