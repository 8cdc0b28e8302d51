//! `wait_readable` and `wait_writable` on whatever has a descriptor, and what an idle hub costs.

mod support;

use std::cell::RefCell;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenhub::io::{wait_readable, wait_writable};
use greenhub::net::{TcpListener, TcpStream};
use greenhub::thread;
use greenhub::{joinall, sleep, spawn, yield_now};

use rustix::event::{EventfdFlags, eventfd};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(10))
}

/// Far later than any test runs.
fn late() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(50))
}

fn is_timed_out(result: io::Result<()>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::TimedOut)
}

/// Writes until the pipe is full.
fn fill(writer: &PipeWriter) {
    let flags = rustix::fs::fcntl_getfl(writer).unwrap();
    rustix::fs::fcntl_setfl(writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while rustix::io::write(writer, &[0; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(writer, flags).unwrap();
}

#[test]
fn a_pipe_becomes_readable() {
    let _limit = TimeLimit::start(LIMIT);
    let (mut reader, mut writer) = io::pipe().unwrap();
    let waiter = spawn(move || {
        wait_readable(&reader, None).unwrap();
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        byte
    });
    yield_now();
    assert!(!waiter.is_finished());
    writer.write_all(&[3]).unwrap();
    assert_eq!(waiter.join().unwrap(), [3]);
}

#[test]
fn a_deadline_ends_the_wait() {
    let _limit = TimeLimit::start(LIMIT);
    let (reader, writer) = io::pipe().unwrap();
    for _ in 0..3 {
        let deadline = soon();
        assert!(is_timed_out(wait_readable(&reader, deadline)));
        assert!(Instant::now() >= deadline.unwrap());
    }
    fill(&writer);
    let deadline = soon();
    assert!(is_timed_out(wait_writable(&writer, deadline)));
    assert!(Instant::now() >= deadline.unwrap());
}

#[test]
fn what_is_ready_stays_ready_until_it_is_read() {
    let _limit = TimeLimit::start(LIMIT);
    let (mut reader, mut writer) = io::pipe().unwrap();
    writer.write_all(&[1, 2]).unwrap();
    // Waiting takes nothing away, however often it is done, and whatever the deadline is.
    for _ in 0..5 {
        wait_readable(&reader, late()).unwrap();
        wait_readable(&reader, Some(Instant::now())).unwrap();
        wait_writable(&writer, late()).unwrap();
    }
    reader.read_exact(&mut [0]).unwrap();
    wait_readable(&reader, late()).unwrap();
    // What others drain is not ready any more.
    reader.read_exact(&mut [0]).unwrap();
    assert!(is_timed_out(wait_readable(&reader, soon())));
    writer.write_all(&[3]).unwrap();
    wait_readable(&reader, late()).unwrap();
}

#[test]
fn a_full_pipe_becomes_writable() {
    let _limit = TimeLimit::start(LIMIT);
    let (mut reader, writer): (PipeReader, PipeWriter) = io::pipe().unwrap();
    wait_writable(&writer, late()).unwrap();
    fill(&writer);
    let waiter = spawn(move || wait_writable(&writer, late()).map(|()| writer));
    yield_now();
    assert!(!waiter.is_finished());
    reader.read_exact(&mut [0; 64 << 10]).unwrap();
    waiter.join().unwrap().unwrap();
}

#[test]
fn an_eventfd_wakes_its_waiter_again_and_again() {
    let _limit = TimeLimit::start(LIMIT);
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    let event: Rc<OwnedFd> = Rc::new(event);
    let signals = Rc::clone(&event);
    let waiter = spawn(move || {
        let mut sum = 0;
        while sum < 20 {
            wait_readable(&*event, late()).unwrap();
            let mut count = [0; 8];
            rustix::io::read(&*event, &mut count).unwrap();
            sum += u64::from_ne_bytes(count);
        }
        sum
    });
    for _ in 0..20 {
        yield_now();
        rustix::io::write(&*signals, &1u64.to_ne_bytes()).unwrap();
    }
    assert_eq!(waiter.join().unwrap(), 20);
}

#[test]
fn a_hang_up_ends_every_wait() {
    let _limit = TimeLimit::start(LIMIT);
    let (reader, writer) = io::pipe().unwrap();
    let waiter = spawn(move || {
        wait_readable(&reader, late()).unwrap();
        // It stays so.
        wait_readable(&reader, late()).unwrap();
    });
    yield_now();
    drop(writer);
    waiter.join().unwrap();

    let (reader, writer) = io::pipe().unwrap();
    fill(&writer);
    let waiter = spawn(move || wait_writable(&writer, late()));
    yield_now();
    drop(reader);
    waiter.join().unwrap().unwrap();
}

#[test]
fn regular_files_are_always_ready() {
    let _limit = TimeLimit::start(LIMIT);
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    wait_readable(&file, None).unwrap();
    wait_readable(&file, Some(Instant::now())).unwrap();
    let null = std::fs::File::options()
        .write(true)
        .open("/dev/null")
        .unwrap();
    wait_writable(&null, None).unwrap();
}

#[test]
fn sockets_of_both_kinds_are_waited_for() {
    let _limit = TimeLimit::start(LIMIT);
    let (left, mut right) = UnixStream::pair().unwrap();
    let waiter = spawn(move || {
        wait_readable(&left, late()).unwrap();
        (&left).read(&mut [0; 8]).unwrap()
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let acceptor = spawn(move || {
        wait_readable(&listener, late()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        wait_writable(&stream, late()).unwrap();
        wait_readable(&stream, late()).unwrap();
        (&stream).read(&mut [0; 8]).unwrap()
    });
    yield_now();
    right.write_all(&[1, 2]).unwrap();
    let mut client = TcpStream::connect(addr).unwrap();
    yield_now();
    client.write_all(&[1, 2, 3]).unwrap();
    assert_eq!(waiter.join().unwrap(), 2);
    assert_eq!(acceptor.join().unwrap(), 3);
}

#[test]
fn several_wait_for_one_descriptor_at_once() {
    let _limit = TimeLimit::start(LIMIT);
    let (left, right) = UnixStream::pair().unwrap();
    let (left, woken) = (Rc::new(left), Rc::new(RefCell::new(Vec::new())));
    let waiters: Vec<_> = (0..4)
        .map(|i| {
            let (left, woken) = (Rc::clone(&left), Rc::clone(&woken));
            spawn(move || {
                wait_readable(&*left, late()).unwrap();
                woken.borrow_mut().push(i);
            })
        })
        .collect();
    let writable = Rc::clone(&left);
    spawn(move || wait_writable(&*writable, late()))
        .join()
        .unwrap()
        .unwrap();
    assert!(woken.borrow().is_empty());
    // Nobody reads: every waiter is to know.
    (&right).write_all(&[1]).unwrap();
    for result in joinall(waiters) {
        result.unwrap();
    }
    assert_eq!(*woken.borrow(), [0, 1, 2, 3]);
}

#[test]
fn a_reused_number_is_another_descriptor() {
    let _limit = TimeLimit::start(LIMIT);
    for _ in 0..20 {
        let (reader, writer) = io::pipe().unwrap();
        (&writer).write_all(&[1]).unwrap();
        wait_readable(&reader, late()).unwrap();
        drop((reader, writer));
        // The same numbers, not ready.
        let (reader, _writer) = io::pipe().unwrap();
        assert!(is_timed_out(wait_readable(
            &reader,
            Some(Instant::now() + Duration::from_millis(1))
        )));
    }
}

#[test]
fn one_descriptor_is_waited_for_on_two_hubs() {
    let _limit = TimeLimit::start(LIMIT);
    let (reader, mut writer) = io::pipe().unwrap();
    let reader = std::sync::Arc::new(reader);
    let theirs = std::sync::Arc::clone(&reader);
    let root = thread::current();
    let other = std::thread::spawn(move || {
        let result = spawn(move || wait_readable(&*theirs, late()))
            .join()
            .unwrap();
        root.unpark();
        result
    });
    let ours = spawn(move || wait_readable(&*reader, late()));
    sleep(Duration::from_millis(5));
    writer.write_all(&[1]).unwrap();
    ours.join().unwrap().unwrap();
    thread::park();
    other.join().unwrap().unwrap();
}

/// How often the calling OS thread has gone to sleep.
fn sleeps_so_far() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("voluntary_ctxt_switches"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_idle_hub_does_not_wake() {
    let _limit = TimeLimit::start(LIMIT);
    let (reader, _writer) = io::pipe().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..100 {
        spawn(thread::park);
    }
    spawn(move || wait_readable(&reader, None));
    spawn(move || drop(listener.accept()));
    yield_now();
    let before = sleeps_so_far();
    sleep(Duration::from_millis(1_000));
    // One sleep is ours; once in a quiet while the hub tidies up.
    let sleeps = sleeps_so_far() - before;
    assert!(sleeps <= 4, "{sleeps} sleeps");
}
