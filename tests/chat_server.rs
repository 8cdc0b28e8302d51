//! Runs the `chat_server` example as a child process and talks to it with std's blocking sockets.
//!
//! Every server listens on port 0 and prints the address that it got. Waiting is done on events (a line that comes, a
//! socket closed, the process ended), each with a limit after which the test fails.

#[path = "support/example.rs"]
mod example;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, Signal, kill_process};

use example::executable;

/// After this long something that should have happened counts as missing.
const LIMIT: Duration = Duration::from_secs(20);

/// Options with which clients may send as much as they like.
const UNLIMITED: &[&str] = &["--rate", "1e9", "--burst", "1000000"];

/// A running server; killed when the test ends, whichever way it ends.
struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(options: &[&[&str]]) -> Server {
        let mut child = Command::new(executable("chat_server"))
            .args(["--listen", "127.0.0.1:0"])
            .args(options.concat())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start chat_server");
        let mut stdout = BufReader::new(child.stdout.take().expect("a piped stdout"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("read the first line");
        let address = line.trim_end().strip_prefix("listening on ");
        let address = address.expect("the address").parse();
        Server {
            child,
            stdout,
            address: address.expect("an address with a port"),
        }
    }

    /// Connects, and reads the greeting.
    fn connect(&self) -> Client {
        let mut client = Client::new(TcpStream::connect(self.address).expect("connect"));
        client.expect("* welcome to the greenhub chat; which nickname would you like?");
        client
    }

    /// A client with a nickname, in the lobby.
    fn enter(&self, nick: &str) -> Client {
        self.connect().named(nick)
    }

    /// A client in the lobby with as small a receive buffer as there is.
    fn enter_with_small_buffer(&self, nick: &str) -> Client {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        let socket = socket.expect("a socket");
        sockopt::set_socket_recv_buffer_size(&socket, 1024).expect("set the buffer's size");
        rustix::net::connect(&socket, &self.address).expect("connect");
        let mut client = Client::new(TcpStream::from(socket));
        client.expect("* welcome to the greenhub chat; which nickname would you like?");
        client.named(nick)
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
        let read = self.stdout.read_to_string(&mut rest);
        read.expect("read the last lines");
        (status, rest)
    }

    /// Waits until the server, which is full, has forgotten a client.
    fn wait_for_room(&self) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let mut client = Client::new(TcpStream::connect(self.address).expect("connect"));
            if client.line().starts_with("* welcome") {
                return;
            }
            assert!(Instant::now() < deadline, "there is no room");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Resident memory in bytes.
    fn memory(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.child.id());
        let statm = std::fs::read_to_string(path).expect("read statm");
        let pages = statm.split(' ').nth(1).expect("the second figure");
        pages.parse::<u64>().expect("a number") * rustix::param::page_size() as u64
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn new(stream: TcpStream) -> Client {
        stream
            .set_read_timeout(Some(LIMIT))
            .expect("set_read_timeout");
        stream.set_nodelay(true).expect("set_nodelay");
        Client {
            stream: BufReader::new(stream),
        }
    }

    fn named(mut self, nick: &str) -> Client {
        self.say(nick);
        self.expect(&format!("* you are {nick}; /help lists the commands"));
        let line = self.line();
        assert!(line.starts_with("* you are in lobby"), "{line:?}");
        self
    }

    fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("send");
    }

    fn try_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line)
    }

    /// The next line, without its end.
    fn line(&mut self) -> String {
        let line = self.try_line().expect("a line");
        let line = line.strip_suffix('\n').expect("a whole line");
        line.to_owned()
    }

    #[track_caller]
    fn expect(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    /// Says a line and asserts what the answer is.
    #[track_caller]
    fn ask(&mut self, line: &str, answer: &str) {
        self.say(line);
        self.expect(answer);
    }

    /// Asserts that the server closes the connection in an orderly way, after this line.
    #[track_caller]
    fn expect_farewell(&mut self, farewell: &str) {
        self.expect(farewell);
        assert_eq!(self.try_line().expect("an orderly end"), "");
    }

    /// Reads lines up to this one.
    fn skip_to(&mut self, wanted: &str) {
        while self.line() != wanted {}
    }

    /// Breaks the connection off so that the peer gets a reset.
    fn reset(self) {
        let stream = self.stream.into_inner();
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("set linger");
    }
}

/// Runs the example to its end, for options with which it must not start serving.
fn run(options: &[&str]) -> Output {
    Command::new(executable("chat_server"))
        .args(options)
        .output()
        .expect("run chat_server")
}

#[test]
fn a_conversation() {
    let server = Server::start(&[]);
    let mut alice = server.connect();
    alice.ask("/list", "! choose a nickname first");
    alice.say("alice");
    alice.expect("* you are alice; /help lists the commands");
    alice.expect("* you are in lobby, alone");
    let mut bob = server.connect();
    bob.ask("Alice", "! the nickname Alice is taken");
    bob.say("/nick bob");
    bob.expect("* you are bob; /help lists the commands");
    bob.expect("* you are in lobby with 1 other");
    alice.expect("* bob has joined");

    alice.say("hello, b\u{f6}b");
    bob.expect("[lobby] alice: hello, b\u{f6}b");
    bob.say("//look\r");
    alice.expect("[lobby] bob: /look");
    bob.ask("/msg ALICE between us", "(bob -> alice) between us");
    alice.expect("(bob -> alice) between us");
    alice.ask("/msg carol hi", "! there is no carol");

    bob.ask("/join Rust", "* you are in rust, alone");
    alice.expect("* bob has gone to rust");
    alice.ask("/list", "* rooms: lobby (1), rust (1)");
    alice.say("is anybody here?");
    alice.ask("/who", "* in lobby: alice");
    alice.ask("/who rust", "* in rust: bob");
    alice.ask("/join rust", "* you are in rust with 1 other");
    bob.expect("* alice has joined");
    bob.ask("/nick Bobby", "* you are now Bobby");
    alice.expect("* bob is now Bobby");
    alice.ask("/leave", "* you have left rust");
    bob.expect("* alice has left");
    let roomless = "! you are in no room; /list shows them, /join takes you to one";
    alice.ask("hello?", roomless);
    alice.ask("/fly", "! there is no such command; /help lists them");
    alice.ask("/msg bobby", "! usage: /msg NAME TEXT");
    alice.say("/help");
    alice.skip_to("* /quit            disconnect");
    bob.say("/quit");
    bob.expect_farewell("* goodbye");
    alice.ask("/msg bobby", "! usage: /msg NAME TEXT");
    alice.ask("/msg bobby x", "! there is no bobby");
    alice.ask("/list", "* rooms: lobby (0)");
}

#[test]
fn malformed_input_is_refused_and_reaches_nobody() {
    let server = Server::start(&[&["--max-line", "100"], UNLIMITED]);
    let mut listener = server.enter("listener");
    let mut odd = server.connect();
    let rules = "! a name has 1 to 24 of the characters a-z, A-Z, 0-9, - and _, and begins with a letter or digit";
    odd.ask("\u{2603}", rules);
    odd.ask("two words", rules);
    odd.ask(&"n".repeat(25), rules);
    odd.ask("x\x1b[31m", "! the character U+001B is not allowed");
    let mut odd = odd.named("odd");
    listener.expect("* odd has joined");

    for (bytes, answer) in [
        (
            &b"\x1b]0;title\x07\n"[..],
            "! the character U+001B is not allowed",
        ),
        (b"nul \0\n", "! the character U+0000 is not allowed"),
        (b"over\rwritten\n", "! the character U+000D is not allowed"),
        (b"\xc2\x9b2J\n", "! the character U+009B is not allowed"),
        (
            b"\xe2\x80\xaereversed\n",
            "! the character U+202E is not allowed",
        ),
        (b"\xff\xfd\x01\n", "! that is not UTF-8"),
        (b"/join \xc0\xaf\n", "! that is not UTF-8"),
        (
            b"/msg listener \x1b[2J\n",
            "! the character U+001B is not allowed",
        ),
        (b"/join ..\n", rules),
        (b"/who a/b\n", rules),
    ] {
        odd.send(bytes);
        odd.expect(answer);
    }
    odd.send(&[b'x'; 101]);
    odd.send(b"\n");
    odd.expect("! a line may have at most 100 bytes");
    odd.send(&[b'y'; 10_000]);
    odd.expect("! a line may have at most 100 bytes");
    odd.send(b"the end of the long line\n\n   \n");
    odd.say(&"z".repeat(100));
    listener.expect(&format!("[lobby] odd: {}", "z".repeat(100)));

    odd.send(&vec![b'x'; 3 << 20]);
    odd.expect("! a line may have at most 100 bytes");
    odd.expect_farewell("! disconnected: that line has no end");
    listener.expect("* odd has left (sending too much)");
}

#[test]
fn lines_that_come_too_fast_are_ignored_and_floods_disconnected() {
    let server = Server::start(&[&["--rate", "4", "--burst", "3"]]);
    let mut listener = server.enter("listener");
    let mut fast = server.enter("fast");
    listener.expect("* fast has joined");
    // Two lines are left of the first three.
    fast.send(b"1\n2\n3\n4\n");
    listener.expect("[lobby] fast: 1");
    listener.expect("[lobby] fast: 2");
    for _ in 0..2 {
        fast.expect("! too fast; that line was ignored");
    }
    // It goes on at the rate, which is known by trying.
    let deadline = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < deadline, "no line gets through");
        fast.say("/list");
        if fast.line() == "* rooms: lobby (2)" {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    fast.send(&b"flood\n".repeat(1000));
    fast.skip_to("! too fast; that line was ignored");
    while fast.line() == "! too fast; that line was ignored" {}
    assert_eq!(fast.try_line().expect("an orderly end"), "");
    listener.skip_to("* fast has left (sending too much)");
}

#[test]
fn idle_and_nameless_clients_are_disconnected() {
    let options = ["--idle-limit", "0.8", "--login-limit", "0.3"];
    let server = Server::start(&[&options, UNLIMITED]);
    let start = Instant::now();
    let mut nameless = server.connect();
    let mut idle = server.enter("idle");
    let mut active = server.enter("active");
    idle.expect("* active has joined");
    nameless.say("");
    nameless.expect_farewell("! disconnected: you have not chosen a nickname in time");
    assert!(start.elapsed() >= Duration::from_millis(300));
    while start.elapsed() < Duration::from_millis(1600) {
        active.say("/leave");
        active.line();
        thread::sleep(Duration::from_millis(50));
    }
    idle.expect("* active has left");
    // Half a line does not count as having said something.
    let _ = idle.stream.get_mut().write_all(b"hal");
    idle.expect_farewell("! disconnected: you have said nothing for too long");
    active.ask("/list", "* rooms: lobby (0)");
}

#[test]
fn connections_and_rooms_are_limited() {
    let server = Server::start(&[&["--max-connections", "2", "--max-rooms", "2"]]);
    let mut alice = server.enter("alice");
    let mut bob = server.enter("bob");
    alice.expect("* bob has joined");
    let mut third = Client::new(TcpStream::connect(server.address).expect("connect"));
    third.expect_farewell("! the server is full; try again later");

    alice.ask("/join one", "* you are in one, alone");
    bob.expect("* alice has gone to one");
    bob.ask(
        "/join two",
        "! there are too many rooms; join one that exists",
    );
    bob.ask("/join one", "* you are in one with 1 other");

    bob.say("/quit");
    bob.expect_farewell("* goodbye");
    drop(bob);
    server.wait_for_room();
}

#[test]
fn clients_go_in_every_way() {
    let server = Server::start(&[]);
    let mut listener = server.enter("listener");
    // Whoever closes only its own side still gets its answers.
    let mut half = server.enter("half");
    listener.expect("* half has joined");
    half.send(b"hello\n/who\nincomple");
    half.stream
        .get_ref()
        .shutdown(Shutdown::Write)
        .expect("shutdown");
    half.expect("* in lobby: listener, half");
    half.expect_farewell("* goodbye");
    listener.expect("[lobby] half: hello");
    listener.expect("* half has left (quit)");

    let mut broken = server.enter("broken");
    listener.expect("* broken has joined");
    broken.send(b"whole\nin the middle of a li");
    listener.expect("[lobby] broken: whole");
    broken.reset();
    listener.expect("* broken has left (connection lost)");

    server.connect().reset();
    drop(server.connect());
    let _silent = server.connect();
    listener.ask("/who", "* in lobby: listener");
}

/// Lines that the talker says while one client does not read.
const TALK: usize = 12_000;

fn slow_options(policy: &'static str) -> [&'static str; 6] {
    ["--slow", policy, "--queue", "50", "--send-buffer", "2048"]
}

/// Has a client say many lines while `stalled` reads none of them, and asserts that another one gets each at once and that
/// the server's memory does not grow. Returns the talker.
fn talk_past_a_stalled_client(server: &Server) -> (Client, Client, Client) {
    let stalled = server.enter_with_small_buffer("stalled");
    let mut talker = server.enter("talker");
    let mut reader = server.enter("reader");
    talker.expect("* reader has joined");
    let padding = "x".repeat(900);
    let mut memory = 0;
    let mut slowest = Duration::ZERO;
    for number in 0..TALK {
        let start = Instant::now();
        talker.say(&format!("{number} {padding}"));
        let line = loop {
            let line = reader.line();
            if !line.starts_with("* stalled has left") {
                break line;
            }
        };
        slowest = slowest.max(start.elapsed());
        let expected = format!("[lobby] talker: {number} {padding}");
        assert!(line == expected, "{number} became {line}");
        if number == TALK / 10 {
            memory = server.memory();
        }
    }
    assert!(slowest < Duration::from_secs(2), "a line took {slowest:?}");
    // Ten megabytes were sent to nobody in the meantime.
    let growth = server.memory().saturating_sub(memory);
    assert!(growth < 2 << 20, "memory grew by {growth} bytes");
    (stalled, talker, reader)
}

/// What a client that was stalled finds when it reads again.
struct Found {
    received: Vec<usize>,
    missed: usize,
}

/// Reads until all lines are accounted for, and asserts that each gap is announced where it is, with its length.
fn catch_up(stalled: &mut Client) -> Found {
    let (mut next, mut received, mut missed) = (0, Vec::new(), 0);
    while next < TALK {
        let line = stalled.line();
        if let Some(rest) = line.strip_prefix("! you read too slowly: ") {
            let gap: usize = rest.split(' ').next().unwrap().parse().expect("a number");
            missed += gap;
            next += gap;
        } else if let Some(rest) = line.strip_prefix("[lobby] talker: ") {
            let number: usize = rest.split(' ').next().unwrap().parse().expect("a number");
            assert_eq!(number, next, "after {missed} missed");
            received.push(number);
            next += 1;
        } else {
            assert!(line.ends_with(" has joined"), "{line}");
        }
    }
    assert_eq!(next, TALK);
    Found { received, missed }
}

#[test]
fn a_slow_client_misses_the_oldest_lines() {
    let server = Server::start(&[&slow_options("drop-oldest"), UNLIMITED]);
    let (mut stalled, mut talker, _reader) = talk_past_a_stalled_client(&server);
    let found = catch_up(&mut stalled);
    assert!(found.missed > TALK / 2, "{} missed", found.missed);
    assert!(
        found.received.ends_with(&[TALK - 2, TALK - 1]),
        "it has the newest"
    );
    talker.say("and on");
    stalled.expect("[lobby] talker: and on");
    stalled.say("I am back");
    talker.expect("[lobby] stalled: I am back");
}

#[test]
fn a_slow_client_misses_the_newest_lines() {
    let server = Server::start(&[&slow_options("drop-newest"), UNLIMITED]);
    let (mut stalled, mut talker, _reader) = talk_past_a_stalled_client(&server);
    let found = catch_up(&mut stalled);
    assert!(found.missed > TALK / 2, "{} missed", found.missed);
    assert!(found.received.len() >= 50, "what was in the queue");
    assert!(
        found.received.last() < Some(&(TALK / 2)),
        "{:?}",
        found.received.last()
    );
    talker.say("and on");
    stalled.expect("[lobby] talker: and on");
}

#[test]
fn a_slow_client_is_disconnected_and_told_why_if_it_reads_in_time() {
    let server = Server::start(&[&slow_options("disconnect"), &["--grace", "3600"], UNLIMITED]);
    let (mut stalled, mut talker, _reader) = talk_past_a_stalled_client(&server);
    talker.expect("* stalled has left (reading too slowly)");
    talker.ask("/who", "* in lobby: talker, reader");
    stalled.skip_to("! disconnected: you are reading too slowly");
    assert_eq!(stalled.try_line().expect("an orderly end"), "");
}

#[test]
fn a_slow_client_that_never_reads_makes_room_after_the_grace_time() {
    let options = ["--grace", "0.3", "--max-connections", "3"];
    let server = Server::start(&[&slow_options("disconnect"), &options, UNLIMITED]);
    let (_stalled, mut talker, _reader) = talk_past_a_stalled_client(&server);
    talker.expect("* stalled has left (reading too slowly)");
    server.wait_for_room();
}

/// Asserts that the server has broken off the connection of a client that has not read all of what it was sent.
fn assert_cut(client: &Client) {
    let mut fds = [PollFd::new(client.stream.get_ref(), PollFlags::empty())];
    let limit = LIMIT.try_into().expect("a time");
    assert_eq!(poll(&mut fds, Some(&limit)), Ok(1), "it is not cut");
    let events = fds[0].revents();
    assert!(events.contains(PollFlags::ERR), "{events:?}");
}

#[test]
fn many_clients_in_one_room_all_hear_the_same() {
    const CLIENTS: usize = 100;
    const LINES: usize = 12;
    // Each says more at once than a queue holds, and yet nobody misses anything: all writers have their turn.
    let options = ["--queue", "8", "--send-buffer", "4000000"];
    let server = Server::start(&[&options, UNLIMITED]);
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|number| server.enter(&format!("n{number}")))
        .collect();
    for client in &mut clients {
        client.send("hello\n".repeat(LINES).as_bytes());
    }
    let mut orders = Vec::new();
    for (number, client) in clients.iter_mut().enumerate() {
        let mut heard = Vec::new();
        while heard.len() < (CLIENTS - 1) * LINES {
            let line = client.line();
            match line.strip_prefix("[lobby] ") {
                Some(said) => heard.push(said.to_owned()),
                None => assert!(line.ends_with(" has joined"), "{line}"),
            }
        }
        let own = format!("n{number}: hello");
        assert!(!heard.contains(&own), "nobody hears himself");
        orders.push(heard);
    }
    let without_two = |order: &[String], number: usize| -> Vec<String> {
        let left_out = ["n0: hello".to_owned(), format!("n{number}: hello")];
        let kept = order.iter().filter(|line| !left_out.contains(line));
        kept.cloned().collect()
    };
    for (number, order) in orders.iter().enumerate() {
        let (ours, first) = (without_two(order, number), without_two(&orders[0], number));
        assert!(ours == first, "{number} heard it in another order");
    }
}

#[test]
fn a_signal_bids_everybody_farewell_and_what_is_left_is_sent() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut server = Server::start(&[&["--grace", "60"], UNLIMITED]);
        let mut alice = server.enter("alice");
        let mut bob = server.enter("bob");
        let mut nameless = server.connect();
        alice.expect("* bob has joined");
        for n in 0..100 {
            bob.say(&format!("line {n}"));
        }
        bob.ask("/who", "* in lobby: alice, bob");
        server.signal(signal);
        for n in 0..100 {
            alice.expect(&format!("[lobby] bob: line {n}"));
        }
        let farewell = "* the server is shutting down; goodbye";
        alice.expect_farewell(farewell);
        bob.expect_farewell(farewell);
        nameless.expect_farewell(farewell);
        assert!(
            TcpStream::connect(server.address).is_err(),
            "it still accepts"
        );
        let (status, output) = server.wait();
        assert_eq!(status.code(), Some(0));
        // Sent: 3 welcomes, 2 names accepted, 1 joining, 100 lines, 1 answer.
        let expected =
            "served 3 clients, turned 0 away, 103 lines received, 107 messages sent, 0 dropped\n";
        assert_eq!(output, expected);
    }
}

#[test]
fn the_rest_is_cut_after_the_grace_time_or_at_the_second_signal() {
    for (grace, is_signalled_twice) in [("0.5", false), ("3600", true)] {
        let options = slow_options("drop-oldest");
        let mut server = Server::start(&[&options, &["--grace", grace], UNLIMITED]);
        let (stalled, mut talker, mut reader) = talk_past_a_stalled_client(&server);
        let start = Instant::now();
        server.signal(Signal::TERM);
        talker.expect_farewell("* the server is shutting down; goodbye");
        reader.expect_farewell("* the server is shutting down; goodbye");
        if is_signalled_twice {
            assert!(server.child.try_wait().expect("try_wait").is_none());
            server.signal(Signal::TERM);
        }
        let (status, output) = server.wait();
        assert_eq!(status.code(), Some(0));
        assert!(
            output.starts_with("served 3 clients, turned 0 away, "),
            "{output}"
        );
        assert_cut(&stalled);
        assert!(is_signalled_twice || start.elapsed() >= Duration::from_millis(500));
    }
}

#[test]
fn a_signal_ends_a_server_without_clients() {
    let mut server = Server::start(&[]);
    server.signal(Signal::INT);
    let (status, output) = server.wait();
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        output,
        "served 0 clients, turned 0 away, 0 lines received, 0 messages sent, 0 dropped\n"
    );
}

#[test]
fn stats_count_clients_rooms_and_lines() {
    let mut server = Server::start(&[&["--stats"]]);
    let mut alice = server.enter("alice");
    alice.ask("/join x", "* you are in x, alone");
    let _nameless = server.connect();
    // The figures are those of some second from now on; the first lines may have been printed before.
    let deadline = Instant::now() + LIMIT;
    let mut line = String::new();
    while !line.starts_with("clients 2 open, 1 named | rooms 2 | received 2 (+0) | sent 4 (+0) |") {
        assert!(Instant::now() < deadline, "last line: {line}");
        line.clear();
        let read = server.stdout.read_line(&mut line);
        read.expect("a line of statistics");
    }
    assert!(line.ends_with(" | dropped 0 (+0)\n"), "{line}");
}

#[test]
fn address_in_use_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("local_addr").to_string();
    let output = run(&["--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(
        message.starts_with(&format!("chat_server: cannot listen on {address}: ")),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn invalid_options_are_refused_by_name() {
    for (option, value) in [
        ("--idle-limit", "0"),
        ("--login-limit", "soon"),
        ("--grace", "1e30"),
        ("--max-connections", "0"),
        ("--max-rooms", "0"),
        ("--max-line", "79"),
        ("--rate", "0"),
        ("--rate", "NaN"),
        ("--burst", "0"),
        ("--queue", "0"),
        ("--send-buffer", "1"),
        ("--slow", "sometimes"),
        ("--no-such-option", "1"),
    ] {
        let output = run(&[option, value]);
        assert_eq!(output.status.code(), Some(2), "{option} {value}");
        let message = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(message.contains(option), "{option} {value}: {message}");
    }
}
