//! The order in which green threads run, as traces, and the fairness that the order alone would not give.

mod support;

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenhub::net::{TcpListener, TcpStream};
use greenhub::thread::{self, JoinHandle};
use greenhub::{joinall, sleep, spawn, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);

/// What ran, in its order.
struct Trace<T>(Rc<RefCell<Vec<T>>>);

impl<T> Clone for Trace<T> {
    fn clone(&self) -> Self {
        Trace(Rc::clone(&self.0))
    }
}

impl<T: PartialEq + Debug> Trace<T> {
    fn new() -> Self {
        Trace(Rc::new(RefCell::new(Vec::new())))
    }

    fn note(&self, what: T) {
        self.0.borrow_mut().push(what);
    }

    /// Asserts what was noted since the last call.
    #[track_caller]
    fn is(&self, expected: impl IntoIterator<Item = T>) {
        let noted = std::mem::take(&mut *self.0.borrow_mut());
        assert_eq!(noted, expected.into_iter().collect::<Vec<_>>());
    }
}

fn join_each(handles: impl IntoIterator<Item = JoinHandle<()>>) {
    for result in joinall(handles) {
        result.unwrap();
    }
}

#[test]
fn spawn_never_switches() {
    let _limit = TimeLimit::start(LIMIT);
    let trace = Trace::new();
    for i in 0..1000 {
        let trace = trace.clone();
        spawn(move || trace.note(i));
    }
    trace.is([]);
    yield_now();
    trace.is(0..1000);
}

#[test]
fn spawn_never_switches_in_a_green_thread_either() {
    let _limit = TimeLimit::start(LIMIT);
    let trace = Trace::new();
    let (outer, inner) = (trace.clone(), trace.clone());
    let handle = spawn(move || {
        outer.note("before");
        let child = spawn(move || inner.note("child"));
        outer.note("after");
        child.join().unwrap();
        outer.note("joined");
    });
    handle.join().unwrap();
    trace.is(["before", "after", "child", "joined"]);
}

#[test]
fn turns_are_taken_first_in_first_out() {
    let _limit = TimeLimit::start(LIMIT);
    let trace = Trace::new();
    let handles: Vec<_> = ["a", "b", "c"]
        .into_iter()
        .map(|name| {
            let trace = trace.clone();
            spawn(move || {
                for round in 0..3 {
                    trace.note((name, round));
                    yield_now();
                }
            })
        })
        .collect();
    for round in 0..3 {
        yield_now();
        trace.is([("a", round), ("b", round), ("c", round)]);
        trace.note(("root", round));
        trace.is([("root", round)]);
    }
    join_each(handles);
}

#[test]
fn a_child_starts_behind_all_that_were_ready() {
    let _limit = TimeLimit::start(LIMIT);
    let trace = Trace::new();
    let note = |what| {
        let trace = trace.clone();
        move || trace.note(what)
    };
    let (grandchild, mine) = (note("child of a"), note("a"));
    let a = spawn(move || {
        mine();
        spawn(grandchild);
    });
    let (b, c) = (spawn(note("b")), spawn(note("c")));
    join_each([a, b, c]);
    yield_now();
    trace.is(["a", "b", "c", "child of a"]);
}

#[test]
fn fresh_and_resumed_green_threads_keep_the_order() {
    let _limit = TimeLimit::start(LIMIT);
    let trace = Trace::new();
    let named = |name: &'static str, yields: usize| {
        let trace = trace.clone();
        spawn(move || {
            for _ in 0..yields {
                trace.note(name);
                yield_now();
            }
            trace.note(name);
        })
    };
    let first = [named("long", 2), named("short", 0)];
    yield_now();
    trace.is(["long", "short"]);
    // Workers that became idle are reused, which must not let a fresh one overtake a resumed one.
    let second = [named("new", 1), named("newer", 0)];
    yield_now();
    trace.is(["long", "new", "newer"]);
    yield_now();
    trace.is(["long", "new"]);
    join_each(first.into_iter().chain(second));
}

#[test]
fn parked_green_threads_run_in_the_order_of_their_wakes() {
    let _limit = TimeLimit::start(LIMIT);
    let trace = Trace::new();
    let handles: Vec<_> = (0..4)
        .map(|i| {
            let trace = trace.clone();
            spawn(move || {
                thread::park();
                trace.note(i);
            })
        })
        .collect();
    yield_now();
    trace.is([]);
    for i in [2, 0, 3, 1] {
        handles[i].thread().unpark();
    }
    // A second token neither moves a woken one back nor runs it twice.
    handles[2].thread().unpark();
    trace.is([]);
    yield_now();
    trace.is([2, 0, 3, 1]);
    join_each(handles);
}

#[test]
fn unpark_does_not_switch() {
    let _limit = TimeLimit::start(LIMIT);
    let trace = Trace::new();
    let inner = trace.clone();
    let handle = spawn(move || {
        thread::park();
        inner.note("woken");
    });
    yield_now();
    handle.thread().unpark();
    trace.note("waker goes on");
    handle.join().unwrap();
    trace.is(["waker goes on", "woken"]);
}

#[test]
fn a_joiner_runs_behind_those_that_were_ready_when_its_target_ended() {
    let _limit = TimeLimit::start(LIMIT);
    let trace = Trace::new();
    let note = |what| {
        let trace = trace.clone();
        move || trace.note(what)
    };
    let target = spawn(note("target"));
    let joined = note("joiner");
    let joiner = spawn(move || {
        target.join().unwrap();
        joined();
    });
    let (bystander, late) = (spawn(note("bystander")), note("late"));
    joiner.join().unwrap();
    bystander.join().unwrap();
    late();
    // The joiner found its target finished and did not wait at all.
    trace.is(["target", "joiner", "bystander", "late"]);

    let (slow, joined) = (note("slow"), note("joiner"));
    let target = spawn(move || {
        yield_now();
        slow();
    });
    let joiner = spawn(move || {
        target.join().unwrap();
        joined();
    });
    let yielding = note("bystander");
    let bystander = spawn(move || {
        yield_now();
        yielding();
    });
    join_each([joiner, bystander]);
    trace.is(["slow", "bystander", "joiner"]);
}

#[test]
fn joinall_keeps_the_order_of_the_handles() {
    let _limit = TimeLimit::start(LIMIT);
    let handles = (0..20u64).map(|i| {
        spawn(move || {
            sleep(Duration::from_millis(20 - i));
            assert!(i != 7, "the seventh");
            i
        })
    });
    let results = joinall(handles);
    for (i, result) in results.into_iter().enumerate() {
        assert_eq!(result.ok(), (i != 7).then_some(i as u64));
    }
    assert!(joinall(std::iter::empty::<JoinHandle<()>>()).is_empty());
}

/// Runs `body` beside two green threads that only yield.
fn beside_spinners(body: impl FnOnce()) {
    let stop = Rc::new(Cell::new(false));
    let spinners: Vec<_> = (0..2)
        .map(|_| {
            let stop = Rc::clone(&stop);
            spawn(move || {
                while !stop.get() {
                    yield_now();
                }
            })
        })
        .collect();
    body();
    stop.set(true);
    join_each(spinners);
}

#[test]
fn spinning_starves_no_timer() {
    let _limit = TimeLimit::start(LIMIT);
    beside_spinners(|| {
        for _ in 0..20 {
            let start = Instant::now();
            sleep(Duration::from_millis(2));
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    });
}

#[test]
fn spinning_starves_no_socket() {
    let _limit = TimeLimit::start(LIMIT);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        for i in 0..50 {
            stream.write_all(&[i]).unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
    });
    beside_spinners(|| {
        let mut stream: TcpStream = listener.accept().unwrap().0;
        let mut byte = [0];
        while stream.read(&mut byte).unwrap() == 1 {
            stream.write_all(&byte).unwrap();
        }
    });
    client.join().unwrap();
}

#[test]
fn spinning_starves_no_wake_up_from_another_os_thread() {
    let _limit = TimeLimit::start(LIMIT);
    beside_spinners(|| {
        let root = thread::current();
        let waker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            root.unpark();
        });
        thread::park();
        waker.join().unwrap();
    });
}

#[test]
fn endless_spawning_starves_nobody() {
    fn again(stop: Rc<Cell<bool>>, count: Rc<Cell<u64>>) {
        count.set(count.get() + 1);
        if !stop.get() {
            spawn(move || again(stop, count));
        }
    }
    let _limit = TimeLimit::start(LIMIT);
    let (stop, count) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let chain = (Rc::clone(&stop), Rc::clone(&count));
    spawn(move || again(chain.0, chain.1));
    sleep(Duration::from_millis(10));
    stop.set(true);
    assert!(count.get() > 100, "the chain has not run meanwhile");
}

#[test]
fn endless_ping_pong_starves_no_timer() {
    let _limit = TimeLimit::start(LIMIT);
    let stop = Rc::new(Cell::new(false));
    let partner: Rc<RefCell<Option<thread::Thread>>> = Rc::default();
    let (halt, other) = (Rc::clone(&stop), Rc::clone(&partner));
    let ping = spawn(move || {
        while !halt.get() {
            other.borrow().as_ref().unwrap().unpark();
            thread::park();
        }
    });
    let (halt, other) = (Rc::clone(&stop), ping.thread().clone());
    let pong = spawn(move || {
        while !halt.get() {
            thread::park();
            other.unpark();
        }
    });
    *partner.borrow_mut() = Some(pong.thread().clone());
    sleep(Duration::from_millis(10));
    stop.set(true);
    ping.thread().unpark();
    pong.thread().unpark();
    join_each([ping, pong]);
}

#[test]
fn readers_of_one_socket_are_served_first_come_first_served() {
    let _limit = TimeLimit::start(LIMIT);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = Rc::new(listener.accept().unwrap().0);
    let trace = Trace::new();
    let readers: Vec<_> = (0..5)
        .map(|i| {
            let (far, trace) = (Rc::clone(&far), trace.clone());
            spawn(move || {
                let mut byte = [0];
                (&*far).read_exact(&mut byte).unwrap();
                trace.note((i, byte[0]));
            })
        })
        .collect();
    yield_now();
    (&near).write_all(&[0, 1, 2, 3, 4]).unwrap();
    join_each(readers);
    trace.is((0..5).map(|i| (i, i as u8)));
}
