//! Green threads that catch their kill, wait while they unwind, or put the kill off.

use super::*;

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
