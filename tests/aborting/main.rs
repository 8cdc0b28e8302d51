//! A program that is built with `panic = "abort"`; its argument says what it does.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenhub::net::{TcpListener, TcpStream, ToSocketAddrs};
use greenhub::queue::Queue;
use greenhub::sync::Mutex;
use greenhub::thread;
use greenhub::{
    Timeout, deadline, joinall, killall, sleep, spawn, spawn_later, timeout, yield_now,
};

const SHORT: Duration = Duration::from_millis(2);

fn main() {
    match std::env::args().nth(1).unwrap().as_str() {
        "works" => works(),
        "kill" => spawn(thread::park).kill(),
        "kill of one that has finished" => {
            let handle = spawn(|| ());
            yield_now();
            handle.kill();
        }
        "kill_nowait" => spawn(thread::park).kill_nowait(),
        "kill_with" => spawn(thread::park).kill_with(5),
        "kill_timeout" => drop(spawn(thread::park).kill_timeout(SHORT)),
        "killall" => killall(&[spawn(thread::park)]),
        "kill of a scope" => thread::scope(|scope| {
            scope.spawn(thread::park);
            scope.kill();
        }),
        "kill in a scope" => thread::scope(|scope| scope.spawn(thread::park).kill()),
        "kill from another thread" => {
            let handle = spawn(thread::park);
            std::thread::spawn(move || handle.kill()).join().unwrap();
        }
        "timeout" => drop(timeout(SHORT, yield_now).is_ok()),
        "deadline" => drop(deadline(Instant::now(), yield_now).is_ok()),
        "Timeout" => drop(Timeout::start(SHORT)),
        "panic" => {
            let _ = spawn(|| panic!("as everywhere")).join();
        }
        scenario => unreachable!("no scenario {scenario}"),
    }
}

/// All that needs no unwinding.
fn works() {
    let sleepers: Vec<_> = (0..10)
        .map(|n| {
            spawn(move || {
                sleep(SHORT);
                n
            })
        })
        .collect();
    let sum: i32 = joinall(sleepers).into_iter().map(Result::unwrap).sum();
    assert_eq!(sum, 45);
    assert_eq!(spawn_later(SHORT, || 3).join().unwrap(), 3);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let echo = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        stream.write_all(&byte).unwrap();
    });
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&[7]).unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    assert_eq!(byte, [7]);
    echo.join().unwrap();
    stream.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(stream.read(&mut byte).unwrap(), 0);
    assert!(("localhost", 1).to_socket_addrs().unwrap().next().is_some());

    let mut total = 0;
    thread::scope(|scope| {
        scope.spawn(|| total += 1);
    });
    assert_eq!(total, 1);

    // What limits a single call, or nothing at all, unwinds nothing.
    thread::park_timeout(SHORT);
    let parked = spawn(thread::park).join_timeout(SHORT).unwrap_err();
    assert_eq!(timeout(None, || 5), Ok(5));
    assert_eq!(thread::shielded(|| 6), 6);
    parked.thread().unpark();
    parked.join().unwrap();

    // A thread that ends leaves what waits on it as it is.
    std::thread::spawn(|| {
        drop(spawn(thread::park));
        yield_now();
    })
    .join()
    .unwrap();
    drop(spawn(thread::park));
    yield_now();

    // Nothing is handed to what is left so.
    let (queue, lock) = (Arc::new(Queue::new()), Arc::new(Mutex::new(0)));
    let guard = lock.lock().unwrap();
    let (theirs, their_lock) = (Arc::clone(&queue), Arc::clone(&lock));
    std::thread::spawn(move || {
        spawn(move || theirs.get());
        spawn(move || *their_lock.lock().unwrap() += 1);
        yield_now();
    })
    .join()
    .unwrap();
    queue.put(7).unwrap();
    assert_eq!(queue.try_get(), Ok(7));
    drop(guard);
    assert_eq!(*lock.try_lock().unwrap(), 0);
    println!("all works");
}
