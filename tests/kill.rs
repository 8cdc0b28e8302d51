//! Kills: what they end, what they leave alone, and what everybody sees of them.

mod support;
#[path = "support/waits.rs"]
mod waits;

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use greenhub::event::Event;
use greenhub::net::{TcpListener, TcpStream, ToSocketAddrs};
use greenhub::thread::{self, JoinHandle, Killed, Outcome};
use greenhub::{killall, sleep, spawn, spawn_later, yield_now};

use support::TimeLimit;
use waits::{WAITS, unanswered};

const LIMIT: Duration = Duration::from_secs(100);
const FOREVER: Duration = Duration::from_secs(1_000);

/// Calls its function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Both ends of one connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// What a joiner got, which has to be a kill.
#[track_caller]
fn killed<T: Debug>(result: thread::Result<T>) -> Killed {
    match result.into() {
        Outcome::Killed(killed) => killed,
        other => panic!("not killed: {other:?}"),
    }
}

/// A green thread that is parked, and the number of times that its destructor has run.
fn parked() -> (JoinHandle<()>, Rc<Cell<u32>>) {
    let dropped = Rc::new(Cell::new(0));
    let count = Rc::clone(&dropped);
    let handle = spawn(move || {
        let _counts = OnDrop(move || count.set(count.get() + 1));
        loop {
            thread::park();
        }
    });
    yield_now();
    (handle, dropped)
}

#[test]
fn every_way_to_kill() {
    let _limit = TimeLimit::start(LIMIT);
    let ways: [fn(&JoinHandle<()>); 6] = [
        |handle| handle.kill(),
        |handle| handle.kill_with(7),
        |handle| assert!(handle.kill_timeout(FOREVER)),
        |handle| assert!(handle.kill_timeout(Duration::MAX)),
        |handle| {
            handle.kill_nowait();
            assert!(!handle.is_finished(), "it does not wait");
            yield_now();
        },
        |handle| killall([handle]),
    ];
    for way in ways {
        let (handle, dropped) = parked();
        way(&handle);
        assert!(handle.is_finished());
        assert_eq!(dropped.get(), 1);
        killed(handle.join());
    }
}

#[test]
fn joiners_tell_the_three_ends_apart() {
    let _limit = TimeLimit::start(LIMIT);
    let ends: [fn() -> i32; 3] = [
        || 1,
        || panic!("fails"),
        || {
            thread::park();
            unreachable!("nobody unparks it")
        },
    ];
    let [returns, panics, waits] = ends.map(spawn);
    yield_now();
    waits.kill();
    assert!(matches!(returns.join().into(), Outcome::Returned(1)));
    assert!(
        matches!(panics.join().into(), Outcome::<i32>::Panicked(payload)
        if payload.downcast_ref() == Some(&"fails"))
    );
    assert!(killed(waits.join()).payload().is_none());
}

#[test]
fn many_wait_for_the_same_death() {
    let _limit = TimeLimit::start(LIMIT);
    let (handle, dropped) = parked();
    let target = Rc::new(handle);
    let killers: Vec<_> = (0..3)
        .map(|_| {
            let target = Rc::clone(&target);
            spawn(move || target.kill())
        })
        .collect();
    for killer in killers {
        killer.join().unwrap();
    }
    assert_eq!(dropped.get(), 1);
    killed(Rc::try_unwrap(target).ok().unwrap().join());
}

#[test]
fn kill_timeout_reports_what_takes_longer() {
    let _limit = TimeLimit::start(LIMIT);
    let go_on = Rc::new(Cell::new(false));
    let flag = Rc::clone(&go_on);
    let handle = spawn(move || {
        let _waits = OnDrop(move || {
            while !flag.get() {
                sleep(Duration::from_micros(100));
            }
        });
        thread::park();
    });
    yield_now();
    let start = Instant::now();
    assert!(!handle.kill_timeout(Duration::from_millis(5)));
    assert!(start.elapsed() >= Duration::from_millis(5));
    assert!(!handle.kill_timeout(Duration::ZERO));
    assert!(!handle.is_finished());
    go_on.set(true);
    assert!(handle.kill_timeout(FOREVER));
    killed(handle.join());
}

#[test]
fn killall_kills_at_once_what_takes_its_time() {
    let _limit = TimeLimit::start(LIMIT);
    let slow = Duration::from_millis(20);
    let handles: Vec<_> = (0..20)
        .map(|_| {
            spawn(move || {
                let _waits = OnDrop(move || sleep(slow));
                thread::park();
            })
        })
        .collect();
    yield_now();
    let start = Instant::now();
    killall(&handles);
    assert!(start.elapsed() < slow * 10, "one after the other");
    for handle in handles {
        killed(handle.join());
    }
    killall::<()>(&[]);
}

#[test]
fn a_payload_reaches_the_joiner() {
    let _limit = TimeLimit::start(LIMIT);
    let (handle, _) = parked();
    handle.kill_with(String::from("no longer needed"));
    handle.kill_with("too late");
    let killed = killed(handle.join());
    let payload = killed.payload().unwrap().downcast_ref::<String>();
    assert_eq!(payload.unwrap(), "no longer needed");
}

/// Counts how often it was dropped.
#[derive(Clone)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn a_payload_that_nobody_gets_is_dropped_once() {
    let _limit = TimeLimit::start(LIMIT);
    let drops = Arc::new(AtomicUsize::new(0));
    let mut expected = 0;
    let mut check = |what: &str| {
        expected += 1;
        assert_eq!(drops.load(Ordering::Acquire), expected, "{what}");
    };
    let payload = || Counted(Arc::clone(&drops));

    let (handle, _) = parked();
    handle.kill_with(payload());
    drop(handle);
    check("detached");

    let (handle, _) = parked();
    handle.kill();
    handle.kill_with(payload());
    check("the second kill");

    let handle = spawn(|| ());
    yield_now();
    handle.kill_with(payload());
    check("it had finished");
    handle.join().unwrap();

    let handle = spawn(|| while catch_unwind(yield_now).is_ok() {});
    yield_now();
    handle.kill_with(payload());
    handle.join().unwrap();
    check("it returned all the same");

    let handle = spawn(|| {
        let _ = catch_unwind(thread::park);
        panic!("instead");
    });
    yield_now();
    handle.kill_with(payload());
    assert!(!handle.join().unwrap_err().is::<Killed>());
    check("it panicked");
}

#[test]
fn what_was_killed_before_its_start_never_runs() {
    let _limit = TimeLimit::start(LIMIT);
    for kills in [1, 2] {
        let dropped = Rc::new(Cell::new(false));
        let flag = Rc::clone(&dropped);
        let capture = OnDrop(move || flag.set(true));
        let handle = spawn(move || {
            let _capture = &capture;
            unreachable!("it is killed before");
        });
        for _ in 0..kills {
            handle.kill_nowait();
        }
        assert!(!dropped.get(), "its destructors run in its own turn");
        killed::<()>(handle.join());
        assert!(dropped.get());
    }
}

#[test]
fn destructors_of_what_never_ran_may_wait() {
    let _limit = TimeLimit::start(LIMIT);
    for later in [false, true] {
        let ended = Rc::new(Cell::new(0));
        let capture = [(); 2].map(|()| {
            let ended = Rc::clone(&ended);
            OnDrop(move || {
                sleep(Duration::from_micros(10));
                ended.set(ended.get() + 1);
            })
        });
        let body = move || drop(capture);
        let handle = if later {
            spawn_later(FOREVER, body)
        } else {
            spawn(body)
        };
        handle.kill();
        killed(handle.join());
        assert_eq!(ended.get(), 2);
    }
}

#[test]
fn destructors_of_a_result_may_wait_after_a_kill() {
    let _limit = TimeLimit::start(LIMIT);
    let ended = Rc::new(Cell::new(false));
    let flag = Rc::clone(&ended);
    let (own, result) = (Rc::new(RefCell::new(None::<JoinHandle<_>>)), ended);
    let slot = Rc::clone(&own);
    let handle = spawn(move || {
        // It does not wait any more: it returns although it was killed.
        slot.borrow().as_ref().unwrap().kill_nowait();
        drop(slot.borrow_mut().take());
        OnDrop(move || {
            sleep(Duration::from_micros(10));
            flag.set(true);
        })
    });
    *own.borrow_mut() = Some(handle);
    while !result.get() {
        yield_now();
    }
}

#[test]
fn what_is_to_start_later_may_be_killed() {
    let _limit = TimeLimit::start(LIMIT);
    let handle = spawn_later(FOREVER, || unreachable!("nobody waits for so long"));
    handle.kill();
    killed::<()>(handle.join());
    // Due, but not started.
    let handle = spawn_later(Duration::from_micros(10), || unreachable!("killed first"));
    std::thread::sleep(Duration::from_millis(1));
    handle.kill();
    killed::<()>(handle.join());
}

#[test]
fn a_finished_one_keeps_its_result() {
    let _limit = TimeLimit::start(LIMIT);
    let handle = spawn(|| 5);
    yield_now();
    handle.kill();
    handle.kill_nowait();
    assert!(handle.kill_timeout(Duration::ZERO));
    killall([&handle]);
    assert_eq!(handle.join().unwrap(), 5);
}

#[test]
fn a_kill_is_met_only_when_waiting() {
    let _limit = TimeLimit::start(LIMIT);
    let handle = Rc::new(RefCell::new(None::<JoinHandle<i32>>));
    let own = Rc::clone(&handle);
    let target = spawn(move || {
        own.borrow().as_ref().unwrap().kill_nowait();
        // The result is there, so these do not wait.
        thread::current().unpark();
        thread::park();
        let ended = spawn(|| 0);
        drop(ended);
        5
    });
    *handle.borrow_mut() = Some(target);
    yield_now();
    let target = handle.borrow_mut().take().unwrap();
    assert_eq!(target.join().unwrap(), 5);
}

/// A green thread that gets its own handle.
fn with_own_handle<T: 'static>(
    f: impl FnOnce(Rc<JoinHandle<T>>) -> T + 'static,
) -> Rc<JoinHandle<T>> {
    let slot = Rc::new(RefCell::new(None));
    let own = Rc::clone(&slot);
    let handle = spawn(move || {
        let own: Rc<JoinHandle<T>> = own.borrow_mut().take().unwrap();
        f(own)
    });
    let handle = Rc::new(handle);
    *slot.borrow_mut() = Some(Rc::clone(&handle));
    handle
}

/// Waits for a green thread that may hold its own handle, and takes its result.
fn join_shared<T>(mut handle: Rc<JoinHandle<T>>) -> thread::Result<T> {
    loop {
        match Rc::try_unwrap(handle) {
            Ok(alone) => return alone.join(),
            Err(shared) => handle = shared,
        }
        yield_now();
    }
}

#[test]
fn killing_oneself_unwinds_at_once() {
    let _limit = TimeLimit::start(LIMIT);
    let ways: [fn(&JoinHandle<()>); 4] = [
        |own| own.kill(),
        |own| own.kill_with("enough"),
        |own| {
            let _ = own.kill_timeout(FOREVER);
        },
        |own| killall([own]),
    ];
    for way in ways {
        let handle = with_own_handle(move |own| {
            way(&own);
            unreachable!("it has unwound");
        });
        killed(join_shared(handle));
    }
}

#[test]
fn killing_oneself_without_waiting_goes_on_until_the_next_wait() {
    let _limit = TimeLimit::start(LIMIT);
    let got_on = Rc::new(Cell::new(false));
    let flag = Rc::clone(&got_on);
    let handle = with_own_handle(move |own| {
        own.kill_nowait();
        flag.set(true);
        yield_now();
        unreachable!("it meets the kill here");
    });
    killed(join_shared(handle));
    assert!(got_on.get());
}

#[test]
fn killing_oneself_in_a_shielded_section_is_put_off() {
    let _limit = TimeLimit::start(LIMIT);
    let got_on = Rc::new(Cell::new(false));
    let flag = Rc::clone(&got_on);
    let handle = with_own_handle(move |own| {
        thread::shielded(|| {
            own.kill();
            assert!(!own.kill_timeout(Duration::ZERO));
            sleep(Duration::from_micros(10));
            flag.set(true);
        });
        thread::park();
        unreachable!("it meets the kill here");
    });
    killed(join_shared(handle));
    assert!(got_on.get());
}

#[test]
fn killing_oneself_in_a_destructor_while_unwinding_is_put_off() {
    let _limit = TimeLimit::start(LIMIT);
    let got_on = Rc::new(Cell::new(0));
    let flag = Rc::clone(&got_on);
    let handle = with_own_handle(move |own| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _kills = OnDrop(|| {
                own.kill();
                sleep(Duration::from_micros(10));
                flag.set(flag.get() + 1);
            });
            resume_unwind(Box::new(3_u8));
        }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&3_u8));
        flag.set(flag.get() + 1);
        thread::park();
        unreachable!("it meets the kill here");
    });
    killed(join_shared(handle));
    assert_eq!(got_on.get(), 2);
}

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

#[test]
fn a_swallowed_kill_is_met_again() {
    let _limit = TimeLimit::start(LIMIT);
    let met = Rc::new(Cell::new(0));
    let count = Rc::clone(&met);
    let handle = spawn(move || {
        for wait in [thread::park, yield_now, || sleep(FOREVER), thread::park] {
            let payload = catch_unwind(wait).unwrap_err();
            assert!(thread::is_interruption(&*payload));
            assert!(!thread::panicking());
            count.set(count.get() + 1);
        }
        thread::park();
    });
    yield_now();
    handle.kill();
    assert_eq!(met.get(), 4);
    killed(handle.join());
}

#[test]
fn one_that_swallows_all_kills_does_not_keep_the_others_from_running() {
    let _limit = TimeLimit::start(LIMIT);
    let give_up = Rc::new(Cell::new(false));
    let flag = Rc::clone(&give_up);
    // The loop of a server that lets no panic of a request end it.
    let handle = spawn(move || {
        while !flag.get() {
            let _ = catch_unwind(thread::park);
        }
    });
    yield_now();
    assert!(!handle.kill_timeout(Duration::from_millis(5)));
    give_up.set(true);
    handle.join().unwrap();
}

#[test]
fn one_that_swallows_all_kills_holds_no_lock_while_others_run() {
    let _limit = TimeLimit::start(LIMIT);
    let event = Rc::new(Event::new());
    let shared = Rc::clone(&event);
    let handle = spawn(
        move || {
            while catch_unwind(AssertUnwindSafe(|| shared.wait())).is_err() {}
        },
    );
    yield_now();
    handle.kill_nowait();
    for _ in 0..10 {
        yield_now();
        assert!(!event.wait_timeout(Duration::from_micros(10)));
    }
    event.set();
    handle.join().unwrap();
}

#[test]
fn a_swallowed_kill_is_met_again_while_another_unwinds() {
    let _limit = TimeLimit::start(LIMIT);
    let go_on = Rc::new(Cell::new(false));
    let flag = Rc::clone(&go_on);
    let slow = spawn(move || {
        let _waits = OnDrop(move || {
            while !flag.get() {
                yield_now();
            }
        });
        thread::park();
    });
    yield_now();
    slow.kill_nowait();
    yield_now();
    let handle = spawn(|| {
        assert!(catch_unwind(thread::park).is_err());
        assert!(!thread::panicking());
        thread::park();
    });
    yield_now();
    assert!(handle.kill_timeout(Duration::from_secs(30)));
    killed(handle.join());
    go_on.set(true);
    slow.kill();
    assert!(!thread::panicking());
}

#[test]
fn destructors_wait_in_every_way_while_unwinding() {
    let _limit = TimeLimit::start(LIMIT);
    let ends: [fn(); 9] = [
        || sleep(Duration::from_micros(100)),
        || thread::park_timeout(Duration::from_micros(100)),
        yield_now,
        || assert_eq!(spawn(|| 3).join().unwrap(), 3),
        || {
            let (mut near, mut far) = pair();
            let echo = spawn(move || {
                let mut byte = [0];
                far.read_exact(&mut byte).unwrap();
                far.write_all(&byte).unwrap();
            });
            near.write_all(&[5]).unwrap();
            near.read_exact(&mut [0]).unwrap();
            echo.join().unwrap();
        },
        || {
            let sum = Cell::new(0);
            thread::scope(|scope| {
                for n in 0..3 {
                    let sum = &sum;
                    scope.spawn(move || {
                        sleep(Duration::from_micros(10));
                        sum.set(sum.get() + n);
                    });
                }
            });
            assert_eq!(sum.get(), 3);
        },
        || {
            let (other, dropped) = parked();
            other.kill();
            assert_eq!(dropped.get(), 1);
        },
        || assert!(("localhost", 1).to_socket_addrs().unwrap().next().is_some()),
        || thread::shielded(|| sleep(Duration::from_micros(10))),
    ];
    for end in ends {
        let ended = Rc::new(Cell::new(0));
        let count = Rc::clone(&ended);
        let handle = spawn(move || {
            let [_first, _second] = [(); 2].map(|()| {
                let count = Rc::clone(&count);
                OnDrop(move || {
                    assert!(thread::panicking());
                    end();
                    assert!(thread::panicking());
                    count.set(count.get() + 1);
                })
            });
            thread::park();
        });
        yield_now();
        // Killed again and again while it unwinds.
        while !handle.is_finished() {
            handle.kill_nowait();
            assert!(!thread::panicking());
            yield_now();
        }
        killed(handle.join());
        assert_eq!(ended.get(), 2);
    }
}

#[test]
fn many_unwind_interleaved() {
    let _limit = TimeLimit::start(LIMIT);
    let order = Rc::new(RefCell::new(Vec::new()));
    let handles: Vec<_> = (0..4)
        .map(|n| {
            let order = Rc::clone(&order);
            spawn(move || {
                let note = |what: &'static str| {
                    assert!(thread::panicking());
                    yield_now();
                    assert!(thread::panicking());
                    order.borrow_mut().push((what, n));
                };
                let _outer = OnDrop(|| note("outer"));
                let _inner = OnDrop(|| note("inner"));
                thread::park();
            })
        })
        .collect();
    yield_now();
    for handle in &handles {
        handle.kill_nowait();
        assert!(!thread::panicking());
    }
    yield_now();
    assert!(order.borrow().is_empty(), "all wait in a destructor");
    assert!(!thread::panicking());
    assert!(!spawn(thread::panicking).join().unwrap());
    for handle in handles {
        killed(handle.join());
    }
    let expected = ["inner", "outer"]
        .into_iter()
        .flat_map(|what| (0..4).map(move |n| (what, n)));
    assert_eq!(*order.borrow(), expected.collect::<Vec<_>>());
    assert!(!thread::panicking());
}

#[test]
fn one_that_is_killed_while_it_panics_has_panicked() {
    let _limit = TimeLimit::start(LIMIT);
    let handle = spawn(|| {
        let _waits = OnDrop(|| sleep(Duration::from_micros(100)));
        panic!("first");
    });
    yield_now();
    handle.kill_with("second");
    let payload = handle.join().unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"first"));
}

#[test]
fn shielded_sections_end_before_the_kill() {
    let _limit = TimeLimit::start(LIMIT);
    let steps = Rc::new(Cell::new(0));
    let count = Rc::clone(&steps);
    let handle = spawn(move || {
        let step = || {
            sleep(Duration::from_micros(10));
            count.set(count.get() + 1);
        };
        thread::shielded(|| {
            step();
            thread::shielded(step);
            step();
            // What unwinds out of a section ends it.
            let caught = catch_unwind(|| thread::shielded(|| resume_unwind(Box::new(()))));
            assert!(caught.is_err());
            step();
        });
        step();
        unreachable!("it meets the kill there");
    });
    yield_now();
    handle.kill();
    assert_eq!(steps.get(), 4);
    killed(handle.join());
}

mod scopes {
    use super::*;
    use thread::scope;

    #[test]
    fn one_that_passes_a_kill_on_has_not_panicked() {
        let _limit = TimeLimit::start(LIMIT);
        let pass_on = || {
            let inner = spawn(thread::park);
            inner.kill();
            if let Err(payload) = inner.join() {
                resume_unwind(payload);
            }
        };
        thread::scope(|scope| {
            killed(scope.spawn(pass_on).join());
            scope.spawn(pass_on);
        });
    }

    #[test]
    fn children_are_killed_one_by_one() {
        let _limit = TimeLimit::start(LIMIT);
        let dropped = Cell::new(0);
        let value = scope(|scope| {
            let wait = || {
                let _counts = OnDrop(|| dropped.set(dropped.get() + 1));
                thread::park();
            };
            let handles = [(); 3].map(|()| scope.spawn(wait));
            yield_now();
            handles[1].kill();
            assert!(handles[1].is_finished());
            assert_eq!(dropped.get(), 1);
            handles[0].kill_nowait();
            let [first, _, third] = handles;
            killed(first.join());
            third.kill();
            third.kill();
            5
        });
        assert_eq!(value, 5, "a kill is no panic of a child");
        assert_eq!(dropped.get(), 3);
    }

    #[test]
    fn all_children_are_killed() {
        let _limit = TimeLimit::start(LIMIT);
        let ended = Cell::new(0);
        let after = scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let _counts = OnDrop(|| ended.set(ended.get() + 1));
                    thread::park();
                });
            }
            // One that has not started, too.
            yield_now();
            scope.spawn(|| unreachable!("it is killed before"));
            scope.kill();
            assert_eq!(ended.get(), 0, "it does not wait");
            // What is spawned afterwards is not affected.
            scope
                .spawn(|| {
                    yield_now();
                    7
                })
                .join()
                .unwrap()
        });
        assert_eq!(after, 7);
        assert_eq!(ended.get(), 10);
    }

    #[test]
    fn a_child_ends_its_siblings() {
        let _limit = TimeLimit::start(LIMIT);
        let ended = Cell::new(0);
        scope(|scope| {
            for n in 0..5 {
                let ended = &ended;
                scope.spawn(move || {
                    let _counts = OnDrop(|| ended.set(ended.get() + 1));
                    if n == 3 {
                        scope.kill();
                        // It goes on until it waits.
                        ended.set(ended.get() + 100);
                    }
                    thread::park();
                });
            }
        });
        assert_eq!(ended.get(), 104, "the last one has not started");
    }

    #[test]
    fn the_owners_kill_ends_the_children_first() {
        let _limit = TimeLimit::start(LIMIT);
        let order = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&order);
        let owner = spawn(move || {
            let note = |what| log.borrow_mut().push(what);
            let _owner = OnDrop(|| note("owner"));
            scope(|outer| {
                let _closure = OnDrop(|| note("closure"));
                outer.spawn(|| {
                    let _child = OnDrop(|| {
                        sleep(Duration::from_micros(100));
                        note("child");
                    });
                    scope(|inner| {
                        inner.spawn(|| {
                            let _grandchild = OnDrop(|| {
                                sleep(Duration::from_micros(100));
                                note("grandchild");
                            });
                            thread::park();
                        });
                    });
                });
            });
        });
        yield_now();
        yield_now();
        yield_now();
        owner.kill();
        killed(owner.join());
        assert_eq!(*order.borrow(), ["closure", "grandchild", "child", "owner"]);
    }

    #[test]
    fn the_owners_kill_in_the_closure_ends_the_children() {
        let _limit = TimeLimit::start(LIMIT);
        let ended = Rc::new(Cell::new(false));
        let flag = Rc::clone(&ended);
        let owner = spawn(move || {
            scope(|scope| {
                scope.spawn(|| {
                    let _notes = OnDrop(|| flag.set(true));
                    thread::park();
                });
                sleep(FOREVER);
            });
        });
        yield_now();
        yield_now();
        owner.kill();
        killed(owner.join());
        assert!(ended.get());
    }

    #[test]
    fn a_shielded_scope_is_waited_for() {
        let _limit = TimeLimit::start(LIMIT);
        let ended = Rc::new(Cell::new(0));
        let count = Rc::clone(&ended);
        let owner = spawn(move || {
            thread::shielded(|| {
                scope(|scope| {
                    for _ in 0..3 {
                        scope.spawn(|| {
                            sleep(Duration::from_millis(1));
                            count.set(count.get() + 1);
                        });
                    }
                });
            });
            assert_eq!(count.get(), 3);
            thread::park();
        });
        yield_now();
        owner.kill();
        killed(owner.join());
        assert_eq!(ended.get(), 3);
    }

    #[test]
    fn a_shielded_child_is_waited_for() {
        let _limit = TimeLimit::start(LIMIT);
        let ended = Rc::new(Cell::new(0));
        let count = Rc::clone(&ended);
        let owner = spawn(move || {
            scope(|scope| {
                scope.spawn(|| {
                    thread::shielded(|| {
                        sleep(Duration::from_millis(1));
                        count.set(count.get() + 1);
                    });
                    yield_now();
                    unreachable!("it meets the kill here");
                });
            });
        });
        yield_now();
        yield_now();
        owner.kill();
        killed(owner.join());
        assert_eq!(ended.get(), 1);
    }

    #[test]
    fn a_limit_that_was_dropped_on_the_way_ends_the_children_too() {
        let _limit = TimeLimit::start(LIMIT);
        let owner = spawn(|| {
            scope(|scope| {
                scope.spawn(thread::park);
                let _limit = greenhub::Timeout::start(Duration::from_micros(100));
                thread::park();
            });
        });
        let killed = killed(owner.join());
        assert!(killed.payload().unwrap().is::<greenhub::Elapsed>());
    }

    #[test]
    fn a_child_may_be_killed_from_another_os_thread() {
        let _limit = TimeLimit::start(LIMIT);
        scope(|scope| {
            let handle = scope.spawn(thread::park);
            yield_now();
            std::thread::scope(|os| {
                os.spawn(|| handle.kill_nowait());
            });
            killed(handle.join());
        });
    }
}

mod hubs {
    use super::*;

    /// An OS thread whose root waits until it is unparked, with a parked green thread on it.
    fn hub() -> (std::thread::JoinHandle<()>, thread::Thread, JoinHandle<()>) {
        let (send, receive) = mpsc::channel();
        let hub = std::thread::spawn(move || {
            let (handle, _) = parked();
            send.send((thread::current(), handle)).unwrap();
            thread::park();
        });
        let (root, handle) = receive.recv().unwrap();
        (hub, root, handle)
    }

    #[test]
    fn an_idle_hub_kills() {
        let _limit = TimeLimit::start(LIMIT);
        let (hub, root, handle) = hub();
        // After a tenth of a second it waits for as long as it takes.
        std::thread::sleep(Duration::from_millis(150));
        handle.kill_with("from afar");
        assert!(killed(handle.join()).payload().unwrap().is::<&str>());
        root.unpark();
        hub.join().unwrap();
    }

    #[test]
    fn a_busy_hub_kills() {
        let _limit = TimeLimit::start(LIMIT);
        let (send, receive) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let hub = std::thread::spawn(move || {
            let spinner = spawn(|| {
                loop {
                    yield_now();
                }
            });
            send.send(spinner).unwrap();
            while !flag.load(Ordering::Acquire) {
                yield_now();
            }
        });
        let spinner: JoinHandle<()> = receive.recv().unwrap();
        spinner.kill();
        killed(spinner.join());
        stop.store(true, Ordering::Release);
        hub.join().unwrap();
    }

    #[test]
    fn green_threads_of_two_hubs_kill_each_other() {
        let _limit = TimeLimit::start(LIMIT);
        for _ in 0..50 {
            let (hub, root, there) = hub();
            let (send, receive) = mpsc::channel::<JoinHandle<()>>();
            let other = std::thread::spawn(move || {
                let here = receive.recv().unwrap();
                here.kill();
                killed(here.join());
            });
            let here = spawn(move || {
                let _kills = OnDrop(move || there.kill());
                loop {
                    thread::park();
                }
            });
            yield_now();
            send.send(here).unwrap();
            while !other.is_finished() {
                sleep(Duration::from_micros(50));
            }
            other.join().unwrap();
            root.unpark();
            hub.join().unwrap();
        }
    }

    #[test]
    fn a_hub_that_has_ended_has_killed_already() {
        let _limit = TimeLimit::start(LIMIT);
        let (hub, root, handle) = hub();
        root.unpark();
        hub.join().unwrap();
        handle.kill_with("too late");
        assert!(handle.is_finished());
        assert!(killed(handle.join()).payload().is_none());
    }

    #[test]
    fn a_hub_may_end_at_the_moment_of_the_kill() {
        let _limit = TimeLimit::start(LIMIT);
        let drops = Arc::new(AtomicUsize::new(0));
        const ROUNDS: usize = 300;
        for round in 0..ROUNDS {
            let (hub, root, handle) = hub();
            root.unpark();
            for _ in 0..round * 13 % 997 {
                std::hint::spin_loop();
            }
            handle.kill_with(Counted(Arc::clone(&drops)));
            killed(handle.join());
            hub.join().unwrap();
        }
        assert_eq!(
            drops.load(Ordering::Acquire),
            ROUNDS,
            "every payload is dropped"
        );
    }

    #[test]
    fn two_kill_one() {
        let _limit = TimeLimit::start(LIMIT);
        for _ in 0..100 {
            let (hub, root, handle) = hub();
            std::thread::scope(|os| {
                for _ in 0..2 {
                    os.spawn(|| handle.kill());
                }
            });
            assert!(handle.is_finished());
            killed(handle.join());
            root.unpark();
            hub.join().unwrap();
        }
    }

    #[test]
    fn a_kill_races_with_the_end() {
        let _limit = TimeLimit::start(LIMIT);
        let (send, receive) = mpsc::channel();
        let hub = std::thread::spawn(move || {
            for round in 0..2_000_u64 {
                let handle = spawn(move || {
                    thread::park_timeout(Duration::from_micros(round % 60));
                    round
                });
                if send.send((round, handle)).is_err() {
                    return;
                }
                yield_now();
            }
            sleep(Duration::from_millis(1));
        });
        let mut kills = 0;
        for (round, handle) in receive {
            handle.kill();
            match handle.join().into() {
                Outcome::Returned(value) => assert_eq!(value, round),
                Outcome::Killed(_) => kills += 1,
                Outcome::Panicked(_) => unreachable!("it does not panic"),
            }
        }
        hub.join().unwrap();
        assert!(kills > 0);
    }
}
