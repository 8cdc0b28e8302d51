//! What a green thread waits for when it is killed, and what becomes of that.

use super::*;

/// A green thread that waits so, and whether its destructors have run; once it has got there.
fn waiting(wait: fn(&dyn Fn())) -> (JoinHandle<()>, Arc<AtomicBool>) {
    let dropped = Arc::new(AtomicBool::new(false));
    let ready = Rc::new(Cell::new(false));
    let (flag, is_ready) = (Arc::clone(&dropped), Rc::clone(&ready));
    let handle = spawn(move || {
        let _notes = OnDrop(|| flag.store(true, Ordering::Release));
        wait(&|| is_ready.set(true));
        unreachable!("nobody ends its wait");
    });
    while !ready.get() {
        yield_now();
    }
    yield_now();
    (handle, dropped)
}

#[test]
fn every_wait_is_ended_by_a_kill() {
    let _limit = TimeLimit::start(LIMIT);
    for &(name, wait) in WAITS {
        let (handle, dropped) = waiting(wait);
        assert!(!handle.is_finished(), "{name}");
        assert!(handle.kill_timeout(Duration::from_secs(30)), "{name}");
        assert!(dropped.load(Ordering::Acquire), "{name}");
        killed(handle.join());
    }
}

#[test]
fn every_wait_is_ended_by_a_kill_from_another_os_thread() {
    let _limit = TimeLimit::start(LIMIT);
    for &(name, wait) in WAITS {
        let (send, receive) = mpsc::channel();
        let hub = std::thread::spawn(move || {
            let root = thread::current();
            let (handle, dropped) = waiting(wait);
            send.send((handle, dropped, root)).unwrap();
            thread::park();
        });
        let (handle, dropped, root) = receive.recv().unwrap();
        assert!(handle.kill_timeout(Duration::from_secs(30)), "{name}");
        assert!(dropped.load(Ordering::Acquire), "{name}");
        killed(handle.join());
        root.unpark();
        hub.join().unwrap();
    }
}

#[test]
fn every_wait_is_ended_by_a_kill_before_it_begins() {
    let _limit = TimeLimit::start(LIMIT);
    for &(name, wait) in WAITS {
        let dropped = Rc::new(Cell::new(false));
        let flag = Rc::clone(&dropped);
        let handle = with_own_handle(move |own| {
            let _notes = OnDrop(|| flag.set(true));
            wait(&|| own.kill_nowait());
            unreachable!("{name}");
        });
        while !dropped.get() {
            yield_now();
        }
        killed(join_shared(handle));
    }
}

#[test]
fn a_killed_reader_takes_nothing_from_the_next() {
    let _limit = TimeLimit::start(LIMIT);
    let (near, mut far) = pair();
    let near = Rc::new(near);
    let read = |near: &Rc<TcpStream>| {
        let near = Rc::clone(near);
        spawn(move || {
            let mut byte = [0];
            (&*near).read_exact(&mut byte).unwrap();
            byte[0]
        })
    };
    // Before the byte arrives, and when it has arrived but the hub has not looked.
    for arrived in [false, true] {
        let (first, second) = (read(&near), read(&near));
        yield_now();
        if arrived {
            far.write_all(&[7]).unwrap();
        }
        first.kill_nowait();
        if !arrived {
            killed(first.join());
            far.write_all(&[7]).unwrap();
        } else {
            killed(first.join());
        }
        assert_eq!(second.join().unwrap(), 7);
    }
    // Nobody waits when the byte comes.
    let reader = read(&near);
    yield_now();
    far.write_all(&[9]).unwrap();
    reader.kill();
    sleep(Duration::from_millis(1));
    assert_eq!(read(&near).join().unwrap(), 9);
}

#[test]
fn a_byte_is_either_read_or_left() {
    let _limit = TimeLimit::start(LIMIT);
    // The byte arrives at about the moment of the kill: from another OS thread, after a random while.
    let (near, mut far) = pair();
    let near = Rc::new(near);
    let (send, receive) = mpsc::channel::<u32>();
    let writer = std::thread::spawn(move || {
        while let Ok(spins) = receive.recv() {
            for _ in 0..spins {
                std::hint::spin_loop();
            }
            far.write_all(&[1]).unwrap();
        }
    });
    let mut left = 0;
    for round in 0..300_u32 {
        let got = Rc::new(Cell::new(false));
        let (stream, flag) = (Rc::clone(&near), Rc::clone(&got));
        let reader = spawn(move || {
            (&*stream).read_exact(&mut [0]).unwrap();
            flag.set(true);
            thread::park();
        });
        yield_now();
        send.send(round * 37 % 2_000).unwrap();
        sleep(Duration::from_micros(u64::from(round % 10) * 3));
        reader.kill();
        if !got.get() {
            left += 1;
            (&*near).read_exact(&mut [0]).unwrap();
        }
    }
    drop(send);
    writer.join().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut rest = Vec::new();
    let _ = (&*near).read_to_end(&mut rest);
    assert!(rest.is_empty(), "{left} were left");
}

#[test]
fn a_killed_acceptor_leaves_the_connection() {
    let _limit = TimeLimit::start(LIMIT);
    let listener = Rc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let accept = || {
        let listener = Rc::clone(&listener);
        spawn(move || listener.accept().unwrap().1)
    };
    let (first, second) = (accept(), accept());
    yield_now();
    // std's call does not let the acceptors run.
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    first.kill();
    killed(first.join());
    assert_eq!(second.join().unwrap(), client.local_addr().unwrap());
}

#[test]
fn a_killed_connect_closes_its_socket() {
    let _limit = TimeLimit::start(LIMIT);
    let (listener, queued) = unanswered();
    let address = listener.local_addr().unwrap();
    let handle = spawn(move || TcpStream::connect(address));
    yield_now();
    handle.kill();
    killed(handle.join());
    drop(queued);
    // The listener goes on to work.
    let accepting = spawn(move || {
        let listener = TcpListener::from(listener);
        rustix::net::listen(&listener, 16).unwrap();
        loop {
            let mut byte = [0];
            let (mut stream, _) = listener.accept().unwrap();
            if matches!(stream.read(&mut byte), Ok(1)) {
                return byte[0];
            }
        }
    });
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(&[3]).unwrap();
    assert_eq!(accepting.join().unwrap(), 3);
}

#[test]
fn a_token_outlives_the_kill() {
    let _limit = TimeLimit::start(LIMIT);
    for unpark_first in [false, true] {
        let parked_again = Rc::new(Cell::new(false));
        let flag = Rc::clone(&parked_again);
        let handle = spawn(move || {
            let _parks = OnDrop(|| {
                thread::park();
                flag.set(true);
            });
            thread::park();
            // Woken before it was killed: this consumes nothing.
            sleep(FOREVER);
        });
        yield_now();
        let thread = handle.thread().clone();
        if unpark_first {
            thread.unpark();
            handle.kill_nowait();
            assert!(
                !handle.kill_timeout(Duration::from_millis(1)),
                "parked in the destructor"
            );
            assert!(!parked_again.get());
        } else {
            handle.kill_nowait();
        }
        thread.unpark();
        handle.kill();
        assert!(parked_again.get());
        killed(handle.join());
    }
}

#[test]
fn a_killed_joiner_leaves_the_other_alone() {
    let _limit = TimeLimit::start(LIMIT);
    let ended = Rc::new(Cell::new(false));
    let flag = Rc::clone(&ended);
    let joiner = spawn(move || {
        let target = spawn(move || {
            sleep(Duration::from_millis(1));
            flag.set(true);
        });
        target.join().unwrap();
    });
    yield_now();
    joiner.kill();
    assert!(!ended.get());
    killed(joiner.join());
    sleep(Duration::from_millis(5));
    assert!(ended.get());
}

#[test]
fn joiners_that_are_killed_make_room_for_others() {
    let _limit = TimeLimit::start(LIMIT);
    let (target, _) = parked();
    let target = Rc::new(target);
    let waiters: Vec<_> = (0..6)
        .map(|_| {
            let target = Rc::clone(&target);
            // `kill` would end it.
            spawn(move || {
                while target.thread().name().is_none() && !target.is_finished() {
                    sleep(FOREVER);
                }
            })
        })
        .collect();
    yield_now();
    killall(waiters.iter().step_by(2));
    let killers: Vec<_> = (0..4)
        .map(|_| {
            let target = Rc::clone(&target);
            spawn(move || target.kill())
        })
        .collect();
    killers[0].kill_nowait();
    yield_now();
    killers[2].kill();
    for (index, killer) in killers.into_iter().enumerate() {
        match Outcome::from(killer.join()) {
            Outcome::Returned(()) => {}
            Outcome::Killed(_) => assert!(index % 2 == 0),
            Outcome::Panicked(_) => panic!("it panicked"),
        }
    }
    assert!(target.is_finished());
    killall(&waiters);
}
