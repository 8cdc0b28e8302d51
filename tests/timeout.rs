//! Time limits: around every kind of wait, nested in every order, and beside kills.

mod support;
#[path = "support/waits.rs"]
#[allow(dead_code, reason = "each test binary uses its part of this")]
mod waits;

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use greenhub::net::{TcpListener, TcpStream};
use greenhub::thread::{self, Killed, Outcome};
use greenhub::{Elapsed, Timeout, deadline, sleep, spawn, time_left, timeout, yield_now};

use support::TimeLimit;
use waits::WAITS;

const LIMIT: Duration = Duration::from_secs(100);
const FOREVER: Duration = Duration::from_secs(1_000);
const SHORT: Duration = Duration::from_millis(3);

/// The error, which only a limit makes.
static ELAPSED: LazyLock<Elapsed> = LazyLock::new(|| {
    let limited = std::thread::spawn(|| timeout(Duration::ZERO, yield_now));
    limited.join().unwrap().unwrap_err()
});

/// Calls its function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Runs the body in the root and in a green thread.
fn everywhere(body: fn()) {
    body();
    spawn(body).join().unwrap();
}

/// Both ends of one connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

#[test]
fn every_wait_is_limited() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        for &(name, wait) in WAITS {
            let start = Instant::now();
            let dropped = Cell::new(false);
            let result = timeout(SHORT, || {
                let _notes = OnDrop(|| dropped.set(true));
                wait(&|| ());
            });
            assert_eq!(result, Err(*ELAPSED), "{name}");
            assert!(start.elapsed() >= SHORT, "{name}: early");
            assert!(dropped.get(), "{name}");
            assert_eq!(time_left(), None);
        }
    });
}

#[test]
fn a_limit_that_has_passed_is_met_by_every_wait() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        for &(name, wait) in WAITS {
            assert_eq!(
                timeout(Duration::ZERO, || wait(&|| ())),
                Err(*ELAPSED),
                "{name}"
            );
            let past = Instant::now();
            assert_eq!(deadline(past, || wait(&|| ())), Err(*ELAPSED), "{name}");
        }
    });
}

#[test]
fn what_does_not_wait_is_not_limited() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        assert_eq!(timeout(Duration::ZERO, || 5), Ok(5));
        assert_eq!(deadline(Instant::now(), || "now"), Ok("now"));
        let late = timeout(Duration::from_micros(10), || {
            std::thread::sleep(SHORT);
            7
        });
        assert_eq!(late, Ok(7), "computed late");
        // The limit has passed, but it has ended.
        yield_now();
        // The wait ended before the limit passed, although the green thread ran after that.
        let other = spawn(|| std::thread::sleep(SHORT * 2));
        let late = timeout(SHORT, || {
            yield_now();
            8
        });
        assert_eq!(late, Ok(8), "notified in time");
        other.join().unwrap();
    });
}

#[test]
fn no_limit_never_passes() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        assert_eq!(timeout(None, || sleep(SHORT)), Ok(()));
        assert_eq!(timeout(Duration::MAX, || sleep(SHORT)), Ok(()));
        assert_eq!(timeout(Some(Duration::MAX), time_left), Ok(None));
        assert_eq!(
            timeout(SHORT, || timeout(None, thread::park)),
            Err(*ELAPSED)
        );
        let _limit = Timeout::start(Duration::MAX);
        sleep(SHORT);
    });
}

/// Nests limits of these durations, outermost first, around a wait; the depth of the one that passes.
fn depth_that_passes(limits: &[Duration]) -> usize {
    fn nest(limits: &[Duration], depth: usize, passed: &Cell<Option<usize>>) {
        let Some((first, rest)) = limits.split_first() else {
            thread::park();
            return;
        };
        if timeout(*first, || nest(rest, depth + 1, passed)).is_err() {
            assert_eq!(passed.replace(Some(depth)), None, "two have passed");
        }
    }
    let passed = Cell::new(None);
    nest(limits, 0, &passed);
    passed.get().expect("one has to pass")
}

#[test]
fn limits_nest_in_every_order() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        let long = FOREVER;
        let ms = |n: u64| Duration::from_millis(n);
        let table: &[(&[Duration], usize)] = &[
            (&[SHORT], 0),
            (&[SHORT, long], 0),
            (&[long, SHORT], 1),
            (&[SHORT, long, long], 0),
            (&[long, SHORT, long], 1),
            (&[long, long, SHORT], 2),
            (&[ms(2), ms(40), ms(80)], 0),
            (&[ms(2), ms(80), ms(40)], 0),
            (&[ms(40), ms(2), ms(80)], 1),
            (&[ms(80), ms(2), ms(40)], 1),
            (&[ms(40), ms(80), ms(2)], 2),
            (&[ms(80), ms(40), ms(2)], 2),
            (&[ms(0), ms(0), ms(0)], 0),
            (&[long, ms(0), ms(0)], 1),
            (&[long, ms(0), long], 1),
            (&[long, long, long, long, long, SHORT, long], 5),
        ];
        for (limits, depth) in table {
            assert_eq!(depth_that_passes(limits), *depth, "{limits:?}");
        }
    });
}

#[test]
fn of_equal_deadlines_the_outermost_is_unwound_to() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        let end = Instant::now() + SHORT;
        let result = deadline(end, || deadline(end, || deadline(end, thread::park)));
        assert_eq!(result, Err(*ELAPSED));
        // Both have passed when it waits.
        let result = timeout(SHORT, || {
            let inner = timeout(SHORT / 2, || {
                std::thread::sleep(SHORT * 2);
                thread::park();
            });
            unreachable!("{inner:?}");
        });
        assert_eq!(result, Err(*ELAPSED));
    });
}

#[test]
fn one_after_the_other_passes() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        let passed = Cell::new(0);
        let result = timeout(SHORT * 4, || {
            loop {
                assert!(timeout(SHORT / 4, thread::park).is_err());
                passed.set(passed.get() + 1);
            }
        });
        assert_eq!(result, Err::<(), _>(*ELAPSED));
        assert!((1..=16).contains(&passed.get()), "{}", passed.get());
    });
}

#[test]
fn never_early() {
    let _limit = TimeLimit::start(LIMIT);
    let handles: Vec<_> = (0..200)
        .map(|n: u32| {
            spawn(move || {
                for round in 0..5 {
                    let limit = Duration::from_micros(u64::from(n * 37 + round * 101) % 3_000);
                    let start = Instant::now();
                    assert!(timeout(limit, thread::park).is_err());
                    assert!(start.elapsed() >= limit);
                    let end = Instant::now() + limit;
                    assert!(deadline(end, || timeout(FOREVER, thread::park)).is_err());
                    assert!(Instant::now() >= end);
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
}

#[test]
fn a_limit_ends_with_its_code() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        for _ in 0..3 {
            assert_eq!(timeout(SHORT, yield_now), Ok(()));
        }
        // Panics leave nothing behind either.
        let caught = catch_unwind(|| timeout(SHORT, || resume_unwind(Box::new(5))));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&5));
        sleep(SHORT * 2);
        assert_eq!(time_left(), None);
    });
}

#[test]
fn time_left_is_that_of_the_first_deadline() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        assert_eq!(time_left(), None);
        let second = Duration::from_secs(1);
        timeout(second * 10, || {
            assert!(time_left().unwrap() <= second * 10);
            timeout(second * 20, || {
                let left = time_left().unwrap();
                assert!(left <= second * 10 && left > second);
            })
            .unwrap();
            timeout(second, || {
                assert!(time_left().unwrap() <= second);
                thread::shielded(|| {
                    assert_eq!(time_left(), None, "none counts here");
                    timeout(second * 5, || assert!(time_left().unwrap() > second)).unwrap();
                });
            })
            .unwrap();
            assert!(time_left().unwrap() > second);
        })
        .unwrap();
        let passed = timeout(Duration::ZERO, time_left);
        assert_eq!(passed, Ok(Some(Duration::ZERO)));
    });
}

#[test]
fn elapsed_is_an_io_error() {
    fn reads_for_a_while(stream: &mut TcpStream) -> std::io::Result<usize> {
        timeout(SHORT, || stream.read(&mut [0]))?
    }
    let _limit = TimeLimit::start(LIMIT);
    let (mut near, mut far) = pair();
    let error = reads_for_a_while(&mut near).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.to_string(), ELAPSED.to_string());
    // The stream is as it was.
    far.write_all(&[4]).unwrap();
    assert_eq!(reads_for_a_while(&mut near).unwrap(), 1);
}

#[test]
fn nothing_is_lost_by_a_limit() {
    let _limit = TimeLimit::start(LIMIT);
    let (near, mut far) = pair();
    let writer = spawn(move || {
        for n in 0..=255_u8 {
            sleep(Duration::from_micros(u64::from(n) * 7 % 90));
            far.write_all(&[n]).unwrap();
        }
    });
    let mut received = Vec::new();
    while received.len() < 256 {
        let limit = Duration::from_micros(10 + received.len() as u64 * 13 % 70);
        let _ = timeout(limit, || {
            let mut byte = [0];
            (&near).read_exact(&mut byte).unwrap();
            received.push(byte[0]);
        });
    }
    assert_eq!(received, (0..=255).collect::<Vec<_>>());
    writer.join().unwrap();
}

#[test]
fn a_limit_inside_of_a_shielded_section_bounds_it() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        let result = thread::shielded(|| timeout(SHORT, thread::park));
        assert_eq!(result, Err(*ELAPSED));
        let order = RefCell::new(Vec::new());
        let result = timeout(SHORT, || {
            thread::shielded(|| {
                assert!(timeout(SHORT * 3, || thread::shielded(|| sleep(SHORT * 4))).is_ok());
                order.borrow_mut().push("the innermost section has ended");
                assert!(timeout(SHORT, thread::park).is_err());
                order.borrow_mut().push("the section has ended");
            });
            yield_now();
            unreachable!("the outer limit is met there");
        });
        assert_eq!(result, Err(*ELAPSED));
        assert_eq!(order.borrow().len(), 2);
    });
}

#[test]
fn a_bounded_goodbye() {
    let _limit = TimeLimit::start(LIMIT);
    let said = Rc::new(Cell::new(None));
    let result = Rc::clone(&said);
    let handle = spawn(move || {
        thread::shielded(|| {
            result.set(Some(timeout(SHORT, || sleep(FOREVER))));
        });
        thread::park();
    });
    yield_now();
    let start = Instant::now();
    handle.kill();
    assert!(start.elapsed() < FOREVER / 2);
    assert_eq!(said.get(), Some(Err(*ELAPSED)));
    assert!(handle.join().unwrap_err().is::<Killed>());
}

/// Runs `end` in a destructor of a green thread that unwinds because of a kill, then of a panic, then of a time limit.
fn while_unwinding(end: fn()) {
    let ways: [fn(&dyn Fn()); 3] = [
        |ends| {
            let _ends = OnDrop(ends);
            thread::park();
        },
        |ends| {
            let _ends = OnDrop(ends);
            resume_unwind(Box::new(5));
        },
        |ends| {
            let result = timeout(Duration::ZERO, || {
                let _ends = OnDrop(ends);
                yield_now();
            });
            assert_eq!(result, Err(*ELAPSED));
        },
    ];
    for way in ways {
        let ended = Rc::new(Cell::new(false));
        let flag = Rc::clone(&ended);
        let handle = spawn(move || {
            way(&|| {
                assert!(thread::panicking());
                end();
                assert!(thread::panicking());
                flag.set(true);
            });
        });
        yield_now();
        handle.kill();
        drop(handle.join());
        assert!(ended.get());
    }
}

#[test]
fn destructors_limit_themselves_while_unwinding() {
    let _limit = TimeLimit::start(LIMIT);
    while_unwinding(|| {
        assert_eq!(timeout(SHORT, thread::park), Err(*ELAPSED));
        assert_eq!(
            timeout(FOREVER, || timeout(SHORT, thread::park)),
            Ok(Err(*ELAPSED))
        );
        assert_eq!(
            timeout(SHORT, || timeout(FOREVER, thread::park)),
            Err(*ELAPSED)
        );
        assert_eq!(timeout(SHORT, || sleep(SHORT / 10)), Ok(()));
        timeout(FOREVER, || {
            let in_a_destructor = OnDrop(|| assert!(timeout(SHORT, thread::park).is_err()));
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _moved = in_a_destructor;
                resume_unwind(Box::new(7));
            }));
            assert!(caught.is_err());
            assert!(thread::panicking(), "of the outer one");
        })
        .unwrap();
    });
}

#[test]
fn a_kill_while_a_destructor_limits_itself_is_put_off() {
    let _limit = TimeLimit::start(LIMIT);
    let results = Rc::new(RefCell::new(Vec::new()));
    let notes = Rc::clone(&results);
    let handle = spawn(move || {
        let _ends = OnDrop(|| {
            notes.borrow_mut().push(timeout(SHORT, || sleep(SHORT / 4)));
            notes.borrow_mut().push(timeout(SHORT, thread::park));
        });
        let _ = timeout(SHORT / 2, thread::park);
        thread::park();
    });
    yield_now();
    while !handle.is_finished() {
        handle.kill_nowait();
        sleep(SHORT / 10);
        assert!(!thread::panicking());
    }
    assert!(handle.join().unwrap_err().is::<Killed>());
    assert_eq!(*results.borrow(), [Ok(()), Err(*ELAPSED)]);
}

#[test]
fn an_outer_limit_that_passes_while_an_inner_one_unwinds_is_put_off() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        let steps = Cell::new(0);
        let result = timeout(SHORT, || {
            let inner = timeout(SHORT / 3, || {
                let _waits = OnDrop(|| {
                    sleep(SHORT * 2);
                    steps.set(steps.get() + 1);
                });
                thread::park();
            });
            assert_eq!(inner, Err(*ELAPSED));
            steps.set(steps.get() + 1);
            yield_now();
            unreachable!("the outer one is met there");
        });
        assert_eq!(result, Err(*ELAPSED));
        assert_eq!(steps.get(), 2);
    });
}

#[test]
fn a_kill_passes_through_limits() {
    let _limit = TimeLimit::start(LIMIT);
    let bodies: [fn(); 4] = [
        || {
            let _ = timeout(FOREVER, thread::park);
        },
        || {
            let _ = timeout(FOREVER, || timeout(FOREVER, thread::park));
        },
        || {
            let _ = timeout(FOREVER, || {
                let _limit = Timeout::start(FOREVER);
                thread::park();
            });
        },
        // A limit that has passed does not take the kill for its own, nor keep it away.
        || {
            let _ = timeout(Duration::ZERO, || {
                let _ = catch_unwind(thread::park);
                thread::shielded(thread::park);
            });
        },
    ];
    for body in bodies {
        let handle = spawn(move || {
            body();
            thread::park();
            unreachable!("it is killed");
        });
        yield_now();
        handle.kill_nowait();
        handle.thread().unpark();
        let Outcome::Killed(killed) = handle.join().into() else {
            panic!("not killed");
        };
        assert!(killed.payload().is_none());
    }
}

#[test]
fn a_kill_after_the_limit_has_passed_is_met_behind_it() {
    let _limit = TimeLimit::start(LIMIT);
    let seen = Rc::new(Cell::new(None));
    let result = Rc::clone(&seen);
    let handle = spawn(move || {
        let limited = timeout(SHORT, || {
            let _waits = OnDrop(|| sleep(SHORT * 2));
            thread::park();
        });
        result.set(Some(limited));
        yield_now();
        unreachable!("the kill is met there");
    });
    sleep(SHORT * 2);
    handle.kill();
    assert_eq!(seen.get(), Some(Err(*ELAPSED)));
    assert!(handle.join().unwrap_err().is::<Killed>());
}

#[test]
fn what_was_caught_in_between_is_met_again() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        let met = Cell::new(0);
        let result = timeout(SHORT, || {
            for _ in 0..3 {
                let caught = catch_unwind(thread::park).unwrap_err();
                assert!(thread::is_interruption(&*caught));
                met.set(met.get() + 1);
            }
            let inner = timeout(FOREVER, thread::park);
            unreachable!("{inner:?}");
        });
        assert_eq!(result, Err(*ELAPSED));
        assert_eq!(met.get(), 3);
        // All is forgotten.
        yield_now();
    });
}

#[test]
fn others_run_while_one_catches_its_limit_in_a_loop() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        let stop = Rc::new(Cell::new(false));
        let flag = Rc::clone(&stop);
        let other = spawn(move || {
            sleep(SHORT * 2);
            flag.set(true);
        });
        let result = timeout(SHORT, || {
            while !stop.get() {
                let _ = catch_unwind(thread::park);
            }
        });
        assert_eq!(result, Ok(()));
        other.join().unwrap();
    });
}

#[test]
fn a_scope_ends_before_the_limit_is_met() {
    let _limit = TimeLimit::start(LIMIT);
    everywhere(|| {
        let order = RefCell::new(Vec::new());
        let result = timeout(SHORT, || {
            thread::scope(|scope| {
                for n in 0..3 {
                    let order = &order;
                    scope.spawn(move || {
                        let _notes = OnDrop(|| {
                            sleep(SHORT / 10);
                            order.borrow_mut().push(n);
                        });
                        // Its own limit is another one.
                        timeout(FOREVER, thread::park).unwrap();
                    });
                }
            });
        });
        assert_eq!(result, Err(*ELAPSED));
        assert_eq!(*order.borrow(), [0, 1, 2]);
    });
}

#[test]
fn children_have_no_part_in_their_parents_limit() {
    let _limit = TimeLimit::start(LIMIT);
    let child = timeout(SHORT, || {
        spawn(|| {
            assert_eq!(time_left(), None);
            sleep(SHORT * 2);
            5
        })
    })
    .unwrap();
    assert_eq!(child.join().unwrap(), 5);
}

#[test]
fn many_limits_leave_no_memory() {
    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }
    let _limit = TimeLimit::start(LIMIT);
    let work = |rounds| {
        for _ in 0..rounds {
            timeout(FOREVER, || timeout(FOREVER, yield_now))
                .unwrap()
                .unwrap();
            drop(Timeout::start(FOREVER));
            let (first, second) = (Timeout::start(FOREVER), Timeout::start(FOREVER));
            drop(first);
            drop(second);
        }
    };
    work(10_000);
    let before = resident_kib();
    work(100_000);
    // Half a million timers of 40 bytes would be 20 MiB; the tests beside this one need some, too.
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 12 << 10, "grown by {grown} KiB");
}

mod guards {
    use super::*;

    /// Runs `f` and says which of the limits ended it, if one did.
    fn ended_by(limits: &[&Timeout], f: impl FnOnce()) -> Option<usize> {
        let payload = catch_unwind(AssertUnwindSafe(f)).err()?;
        match limits.iter().position(|limit| limit.caught(&*payload)) {
            Some(index) => Some(index),
            None => resume_unwind(payload),
        }
    }

    #[test]
    fn it_unwinds_its_green_thread() {
        let _limit = TimeLimit::start(LIMIT);
        everywhere(|| {
            let start = Instant::now();
            let limit = Timeout::start(SHORT);
            assert!(!limit.is_expired());
            assert_eq!(ended_by(&[&limit], thread::park), Some(0));
            assert!(limit.is_expired());
            assert!(start.elapsed() >= SHORT);
            // It goes on until it is dropped.
            assert_eq!(ended_by(&[&limit], thread::park), Some(0));
            drop(limit);
            yield_now();
        });
    }

    #[test]
    fn uncaught_it_ends_the_green_thread() {
        let _limit = TimeLimit::start(LIMIT);
        let handle = spawn(|| {
            let _limit = Timeout::start(SHORT);
            thread::park();
        });
        let Outcome::Killed(killed) = handle.join().into() else {
            panic!("not killed");
        };
        assert!(killed.payload().unwrap().is::<Elapsed>());
    }

    #[test]
    fn dropped_in_time_it_does_nothing() {
        let _limit = TimeLimit::start(LIMIT);
        everywhere(|| {
            for _ in 0..3 {
                let limit = Timeout::start(SHORT);
                yield_now();
                drop(limit);
            }
            sleep(SHORT * 2);
            // In no order.
            let mut limits: Vec<_> = (0..6).map(|_| Timeout::start(SHORT)).collect();
            for index in [3, 0, 2, 2, 0, 0] {
                drop(limits.remove(index));
                assert_eq!(time_left().is_some(), !limits.is_empty());
            }
            sleep(SHORT * 2);
        });
    }

    #[test]
    fn guards_and_scoped_limits_mix() {
        let _limit = TimeLimit::start(LIMIT);
        everywhere(|| {
            // Started inside, dropped outside.
            let limit = timeout(FOREVER, || Timeout::start(SHORT)).unwrap();
            assert_eq!(ended_by(&[&limit], thread::park), Some(0));
            drop(limit);
            // Started outside, dropped inside.
            let limit = Timeout::start(SHORT);
            let result = timeout(SHORT * 3, || {
                drop(limit);
                thread::park();
            });
            assert_eq!(result, Err(*ELAPSED));
            // The outer one wins when both have passed.
            let outer = Timeout::start(SHORT);
            let ended = ended_by(&[&outer], || {
                let inner = timeout(SHORT / 2, || {
                    std::thread::sleep(SHORT * 2);
                    thread::park();
                });
                unreachable!("{inner:?}");
            });
            assert_eq!(ended, Some(0));
            drop(outer);
            yield_now();
        });
    }

    #[test]
    fn started_in_a_shielded_section_it_counts_there() {
        let _limit = TimeLimit::start(LIMIT);
        everywhere(|| {
            let outer = Timeout::start(Duration::ZERO);
            let kept = thread::shielded(|| {
                let inner = Timeout::start(SHORT);
                assert_eq!(ended_by(&[&outer, &inner], thread::park), Some(1));
                inner
            });
            // Another section is a barrier for both.
            thread::shielded(|| sleep(SHORT));
            drop(outer);
            assert_eq!(ended_by(&[&kept], yield_now), Some(0));
            drop(kept);
            yield_now();
        });
    }

    #[test]
    fn another_green_thread_may_drop_it() {
        let _limit = TimeLimit::start(LIMIT);
        let (slot, other) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(false)));
        let (given, started) = (Rc::clone(&slot), Rc::clone(&other));
        let handle = spawn(move || {
            *given.borrow_mut() = Some(Timeout::start(SHORT));
            started.set(true);
            sleep(SHORT * 3);
            5
        });
        while !other.get() {
            yield_now();
        }
        drop(slot.borrow_mut().take());
        assert_eq!(handle.join().unwrap(), 5);
    }

    #[test]
    fn it_outlives_its_green_thread() {
        let _limit = TimeLimit::start(LIMIT);
        let limits: Vec<_> = (0..10)
            .map(|n| {
                spawn(move || Timeout::start(SHORT * (n % 3)))
                    .join()
                    .unwrap()
            })
            .collect();
        for _ in 0..50 {
            spawn(yield_now).join().unwrap();
        }
        sleep(SHORT * 4);
        assert!(limits.iter().all(Timeout::is_expired));
        drop(limits);
        sleep(SHORT);
    }

    #[test]
    fn forgotten_it_goes_on() {
        let _limit = TimeLimit::start(LIMIT);
        let handle = spawn(|| {
            std::mem::forget(Timeout::start(SHORT));
            std::mem::forget(Timeout::start(FOREVER));
            assert!(catch_unwind(thread::park).is_err());
            assert!(catch_unwind(thread::park).is_err());
            6
        });
        assert_eq!(handle.join().unwrap(), 6);
        // In the root, of a thread that ends.
        std::thread::spawn(|| {
            std::mem::forget(Timeout::start(SHORT));
            spawn(|| drop(OnDrop(|| sleep(SHORT * 2))));
            assert!(catch_unwind(thread::park).is_err());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn it_may_be_kept_in_a_thread_local() {
        thread_local! {
            static KEPT: RefCell<Vec<Timeout>> = const { RefCell::new(Vec::new()) };
        }
        let _limit = TimeLimit::start(LIMIT);
        std::thread::spawn(|| {
            let keep = || KEPT.with_borrow_mut(|kept| kept.push(Timeout::start(FOREVER)));
            keep();
            spawn(keep);
            spawn(move || {
                keep();
                thread::park();
            });
            yield_now();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_a_limit_releases_is_usable() {
        let _limit = TimeLimit::start(LIMIT);
        let cell = Rc::new(RefCell::new(0));
        for _ in 0..3 {
            let shared = Rc::clone(&cell);
            let handle = spawn(move || {
                let _limit = Timeout::start(SHORT);
                let mut held = shared.borrow_mut();
                *held += 1;
                thread::park();
            });
            assert!(handle.join().unwrap_err().is::<Killed>());
        }
        assert_eq!(*cell.borrow(), 3);
    }
}
