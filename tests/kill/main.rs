//! Kills: what they end, what they leave alone, and what everybody sees of them.

mod hubs;
mod scopes;
#[path = "../support/mod.rs"]
mod support;
mod unwinding;
mod waiting;
#[path = "../support/waits.rs"]
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
