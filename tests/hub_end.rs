//! The end of an OS thread: its hub unwinds what still waits, and handles to it stay valid.

mod support;

use std::cell::RefCell;
use std::io::Read;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use greenhub::net::{TcpListener, TcpStream};
use greenhub::thread::{self, Killed};
use greenhub::{sleep, spawn, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(100);

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

#[test]
fn a_thread_that_ends_unwinds_what_waits_on_it() {
    thread_local! {
        static LOCAL: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }
    let _limit = TimeLimit::start(LIMIT);
    let order = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&order);
    let handles = std::thread::spawn(move || {
        let ends = |name: &'static str, wait: fn()| {
            let order = Arc::clone(&shared);
            spawn(move || {
                let _noted = OnDrop(move || {
                    // A thread-local with a destructor of its own is still there.
                    LOCAL.with_borrow_mut(|seen| seen.push(name));
                    let seen = LOCAL.with_borrow(Vec::len);
                    order.lock().unwrap().push((name, seen));
                });
                wait();
                unreachable!("nobody wakes it");
            })
        };
        let handles = [
            ends("parked", thread::park),
            ends("asleep", || sleep(Duration::from_secs(1_000))),
            ends("accepting", || {
                drop(TcpListener::bind("127.0.0.1:0").unwrap().accept());
            }),
            ends("reading", || {
                let (near, _far) = pair();
                let _ = (&near).read(&mut [0]);
            }),
            ends("joining", || spawn(thread::park).join().unwrap()),
            ends("in a scope", || {
                thread::scope(|s| {
                    s.spawn(thread::park);
                });
            }),
        ];
        sleep(Duration::from_millis(5));
        handles
    })
    .join()
    .unwrap();
    let names = [
        "parked",
        "asleep",
        "accepting",
        "reading",
        "joining",
        "in a scope",
    ];
    let expected: Vec<_> = names.into_iter().zip(1..).collect();
    assert_eq!(*order.lock().unwrap(), expected);
    for handle in handles {
        assert!(handle.is_finished());
        assert!(handle.join().unwrap_err().is::<Killed>());
    }
}

#[test]
fn what_never_started_is_dropped_without_running() {
    let _limit = TimeLimit::start(LIMIT);
    let dropped = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&dropped);
    let handles: Vec<_> = std::thread::spawn(move || {
        let make = |later| {
            let dropped = Arc::clone(&shared);
            let capture = OnDrop(move || {
                dropped.fetch_add(1, Ordering::AcqRel);
            });
            let body = move || {
                let _capture = &capture;
                unreachable!("the thread does not wait");
            };
            if later {
                greenhub::spawn_later(Duration::from_secs(1_000), body)
            } else {
                spawn(body)
            }
        };
        (0..10).map(|i| make(i % 2 == 0)).collect()
    })
    .join()
    .unwrap();
    assert_eq!(dropped.load(Ordering::Acquire), 10);
    for handle in handles {
        assert!(handle.join().unwrap_err().is::<Killed>());
    }
}

#[test]
fn destructors_may_wait_while_their_thread_ends() {
    let _limit = TimeLimit::start(LIMIT);
    let ended = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&ended);
    std::thread::spawn(move || {
        for _ in 0..3 {
            let ended = Arc::clone(&shared);
            spawn(move || {
                let _waits = OnDrop(move || {
                    sleep(Duration::from_millis(5));
                    let ended = Arc::clone(&ended);
                    spawn(move || ended.fetch_add(1, Ordering::AcqRel))
                        .join()
                        .unwrap();
                });
                thread::park();
            });
        }
        yield_now();
    })
    .join()
    .unwrap();
    assert_eq!(ended.load(Ordering::Acquire), 3);
}

#[test]
fn who_swallows_the_cancellation_meets_it_again() {
    let _limit = TimeLimit::start(LIMIT);
    let swallowed = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&swallowed);
    std::thread::spawn(move || {
        spawn(move || {
            for _ in 0..3 {
                if catch_unwind(thread::park).is_err() {
                    shared.fetch_add(1, Ordering::AcqRel);
                }
            }
            thread::park();
            unreachable!("nobody wakes it");
        });
        yield_now();
    })
    .join()
    .unwrap();
    assert_eq!(swallowed.load(Ordering::Acquire), 3);
}

#[test]
fn handles_outlive_their_hub() {
    let _limit = TimeLimit::start(LIMIT);
    let (finished, killed) = std::thread::spawn(|| {
        let finished = spawn(|| String::from("kept"));
        yield_now();
        (finished, spawn(thread::park))
    })
    .join()
    .unwrap();
    let target = killed.thread().clone();
    target.unpark();
    assert!(killed.is_finished());
    drop(killed);
    target.unpark();
    assert_eq!(finished.join().unwrap(), "kept");
}

#[test]
fn a_join_across_threads_ends_with_the_targets_thread() {
    let _limit = TimeLimit::start(LIMIT);
    let (give, take) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let owner = std::thread::spawn(move || {
        give.send(spawn(thread::park)).unwrap();
        yield_now();
        wait.recv().unwrap();
    });
    let handle = take.recv().unwrap();
    let joiner = spawn(move || handle.join().unwrap_err().is::<Killed>());
    sleep(Duration::from_millis(5));
    assert!(!joiner.is_finished());
    go.send(()).unwrap();
    assert!(joiner.join().unwrap());
    owner.join().unwrap();
}

#[test]
fn hubs_come_and_go() {
    let _limit = TimeLimit::start(LIMIT);
    let start = Instant::now();
    for _ in 0..200 {
        let inner = std::thread::spawn(|| {
            spawn(thread::park);
            spawn(|| sleep(Duration::from_secs(1_000)));
            spawn(|| 1).join().unwrap()
        });
        assert_eq!(inner.join().unwrap(), 1);
    }
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_destructor_that_panics_does_not_keep_the_others_from_theirs() {
    let _limit = TimeLimit::start(LIMIT);
    let dropped = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&dropped);
    std::thread::spawn(move || {
        for started in [true, false] {
            for _ in 0..3 {
                let dropped = Arc::clone(&shared);
                let capture = OnDrop(move || {
                    dropped.fetch_add(1, Ordering::AcqRel);
                    if !started {
                        // One that has started is unwinding, where a second panic would abort.
                        std::panic::resume_unwind(Box::new(()));
                    }
                });
                spawn(move || {
                    let _capture = &capture;
                    thread::park();
                });
            }
            if started {
                yield_now();
            }
        }
    })
    .join()
    .unwrap();
    assert_eq!(dropped.load(Ordering::Acquire), 6);
}

#[test]
fn a_destructor_of_a_thread_local_may_use_the_hub() {
    struct Asks(Arc<AtomicUsize>);
    impl Drop for Asks {
        fn drop(&mut self) {
            let handle = spawn(|| {
                sleep(Duration::from_millis(1));
                1
            });
            self.0.fetch_add(handle.join().unwrap(), Ordering::AcqRel);
        }
    }
    thread_local! {
        static BEFORE_THE_HUB: RefCell<Option<Asks>> = const { RefCell::new(None) };
        static AFTER_THE_HUB: RefCell<Option<Asks>> = const { RefCell::new(None) };
    }
    let _limit = TimeLimit::start(LIMIT);
    let asked = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&asked);
    std::thread::spawn(move || {
        BEFORE_THE_HUB.set(Some(Asks(Arc::clone(&shared))));
        spawn(thread::park);
        yield_now();
        AFTER_THE_HUB.set(Some(Asks(shared)));
    })
    .join()
    .unwrap();
    assert_eq!(asked.load(Ordering::Acquire), 2);
}
