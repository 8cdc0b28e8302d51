//! What must not pile up: memory of cancelled timers and ended green threads, descriptors, OS threads.

mod support;

use std::io::{Read, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use greenhub::net::{TcpListener, TcpStream, ToSocketAddrs};
use greenhub::thread;
use greenhub::{sleep, spawn, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(100);

/// The process is measured as a whole, so these tests take turns.
static TURNS: Mutex<()> = Mutex::new(());

/// Threads that the harness and the time limits may start meanwhile.
const SLACK: usize = 10;

/// The most OS threads that look names up.
const RESOLVERS: usize = 16;

fn my_turn() -> MutexGuard<'static, ()> {
    TURNS
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn entries(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// Asserts that ten times as much of the same work needs no more memory than `kib` beyond the first time.
fn needs_no_more_memory(kib: usize, times: u32, work: impl Fn(u32)) {
    work(times / 10);
    let before = resident_kib();
    work(times);
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < kib, "grown by {grown} KiB");
}

#[test]
fn cancelled_timers_leave_no_memory() {
    let _limit = TimeLimit::start(LIMIT);
    let _turn = my_turn();
    // A million forgotten entries of 16 bytes would be 16 MiB.
    needs_no_more_memory(8 << 10, 1_000_000, |rounds| {
        let waiter = spawn(move || {
            for _ in 0..rounds {
                thread::park_timeout(Duration::from_secs(1_000));
            }
        });
        for _ in 0..rounds {
            yield_now();
            waiter.thread().unpark();
        }
        waiter.join().unwrap();
    });
}

#[test]
fn ended_green_threads_leave_no_memory() {
    let _limit = TimeLimit::start(LIMIT);
    let _turn = my_turn();
    needs_no_more_memory(8 << 10, 500_000, |rounds| {
        for i in 0..rounds {
            drop(spawn(move || std::hint::black_box([i; 8])));
            if i % 100 == 0 {
                yield_now();
            }
        }
        yield_now();
    });
}

#[test]
fn read_timeouts_leave_no_memory() {
    let _limit = TimeLimit::start(LIMIT);
    let _turn = my_turn();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut far = listener.accept().unwrap().0;
    near.set_read_timeout(Some(Duration::from_secs(1_000)))
        .unwrap();
    let echo = spawn(move || {
        let mut byte = [0];
        while far.read(&mut byte).unwrap() == 1 {
            far.write_all(&byte).unwrap();
        }
    });
    needs_no_more_memory(2 << 10, 20_000, |rounds| {
        for _ in 0..rounds {
            (&near).write_all(&[1]).unwrap();
            (&near).read_exact(&mut [0]).unwrap();
        }
    });
    drop(near);
    echo.join().unwrap();
}

#[test]
fn closed_connections_leave_no_descriptor_and_no_memory() {
    let _limit = TimeLimit::start(LIMIT);
    let _turn = my_turn();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            spawn(move || {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                stream.write_all(&byte).unwrap();
            });
        }
    });
    yield_now();
    let before = entries("/proc/self/fd");
    needs_no_more_memory(4 << 10, 3_000, |rounds| {
        for _ in 0..rounds {
            let mut near = TcpStream::connect(addr).unwrap();
            near.write_all(&[1]).unwrap();
            near.read_exact(&mut [0]).unwrap();
        }
    });
    sleep(Duration::from_millis(5));
    assert!(entries("/proc/self/fd") <= before);
}

#[test]
fn ended_hubs_leave_nothing() {
    let _limit = TimeLimit::start(LIMIT);
    let _turn = my_turn();
    let hub = || {
        std::thread::spawn(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            spawn(move || drop(listener.accept()));
            spawn(thread::park);
            spawn(|| sleep(Duration::from_secs(1_000)));
            yield_now();
        })
        .join()
        .unwrap();
    };
    hub();
    let (descriptors, threads) = (entries("/proc/self/fd"), entries("/proc/self/task"));
    needs_no_more_memory(8 << 10, 300, |rounds| (0..rounds).for_each(|_| hub()));
    assert!(entries("/proc/self/fd") <= descriptors);
    // An OS thread leaves the list a little after it was joined, and the harness has threads too.
    while entries("/proc/self/task") > threads + SLACK {
        std::thread::yield_now();
    }
}

#[test]
fn lookups_leave_few_threads() {
    let _limit = TimeLimit::start(LIMIT);
    let _turn = my_turn();
    let before = entries("/proc/self/task");
    for _ in 0..300 {
        assert!(("localhost", 1).to_socket_addrs().unwrap().next().is_some());
    }
    // A thread that has just answered may not be idle again when the next look-up comes. The harness has threads as well.
    let after = entries("/proc/self/task");
    assert!(after <= before + RESOLVERS + SLACK, "{after} threads");
    let many: Vec<_> = (0..300)
        .map(|_| spawn(|| ("localhost", 1).to_socket_addrs().unwrap().count()))
        .collect();
    yield_now();
    let during = entries("/proc/self/task");
    assert!(during <= before + RESOLVERS + SLACK, "{during} threads");
    for lookup in many {
        assert!(lookup.join().unwrap() > 0);
    }
}
