//! `select!`: one arm wins, the others have not happened, and who wins is fair.

mod support;

use std::cell::{Cell, RefCell};
use std::io::{self, PipeReader, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenhub::event::Event;
use greenhub::thread::{self, JoinHandle};
use greenhub::{select, sleep, spawn, timeout, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);

/// Far later than any test runs.
const LATE: Duration = Duration::from_secs(500);

const SOON: Duration = Duration::from_millis(5);

/// Numbers that look random and are the same in every run.
fn scattered(below: u64) -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// A handle of a green thread that has finished.
fn finished<T: 'static>(value: T) -> JoinHandle<T> {
    let handle = spawn(move || value);
    handle.wait();
    handle
}

#[test]
fn the_first_to_finish_wins() {
    let _limit = TimeLimit::start(LIMIT);
    let mut slow = Some(spawn(|| {
        thread::park();
        "slow"
    }));
    let mut fast = Some(spawn(|| {
        sleep(SOON);
        7
    }));
    let won = select! {
        join(&mut slow) -> result => result.unwrap().len(),
        join(&mut fast) -> result => result.unwrap(),
    };
    assert_eq!(won, 7);
    assert!(fast.is_none());
    let slow = slow.expect("it was not joined");
    slow.thread().unpark();
    assert_eq!(slow.join().unwrap(), "slow");
}

#[test]
fn a_join_gives_whatever_the_end_was() {
    let _limit = TimeLimit::start(LIMIT);
    let panics = spawn(|| panic!("on purpose"));
    let payload = select! {
        join(panics) -> result => result.unwrap_err(),
    };
    assert_eq!(payload.downcast_ref(), Some(&"on purpose"));

    let parked = spawn(thread::park);
    yield_now();
    parked.kill_nowait();
    let payload = select! {
        join(parked) -> result => result.unwrap_err(),
        after(LATE) => unreachable!(),
    };
    assert!(payload.is::<thread::Killed>());
}

#[test]
fn a_handle_that_was_joined_cannot_win_again() {
    let _limit = TimeLimit::start(LIMIT);
    let mut none: Option<JoinHandle<u8>> = None;
    let won = select! {
        join(&mut none) => "nobody",
        after(Duration::from_millis(1)) => "the timer",
    };
    assert_eq!(won, "the timer");
}

#[test]
fn a_scoped_handle_is_joined_too() {
    let _limit = TimeLimit::start(LIMIT);
    let text = String::from("borrowed");
    thread::scope(|scope| {
        let mut handle = Some(scope.spawn(|| text.as_str()));
        let word = select! {
            join(&mut handle) -> result => result.unwrap(),
            after(LATE) => unreachable!(),
        };
        assert_eq!(word, "borrowed");
        let handle = scope.spawn(|| panic!("seen by its joiner, so not by the scope"));
        select! {
            join(handle) -> result => assert!(result.is_err()),
        }
    });
}

#[test]
fn default_runs_when_nothing_is_ready_and_never_waits() {
    let _limit = TimeLimit::start(LIMIT);
    let ran = Rc::new(Cell::new(false));
    let flag = Rc::clone(&ran);
    let mut other = Some(spawn(move || flag.set(true)));
    for _ in 0..1_000 {
        select! {
            default => {},
            join(&mut other) => unreachable!("it had no turn"),
        }
    }
    assert!(!ran.get());
    other.as_ref().unwrap().wait();
    select! {
        join(&mut other) -> result => result.unwrap(),
        default => unreachable!("an arm is ready"),
    }
    // There need not be any other arm.
    assert_eq!(select! { default => 5 }, 5);
}

#[test]
fn a_default_with_a_time_is_a_timer() {
    let _limit = TimeLimit::start(LIMIT);
    let start = Instant::now();
    let parked = spawn(thread::park);
    select! {
        wait(&parked) => unreachable!(),
        default(SOON) => assert!(start.elapsed() >= SOON),
    }
    parked.kill();
}

#[test]
fn no_timer_is_early() {
    let _limit = TimeLimit::start(LIMIT);
    let mut random = scattered(3_000);
    let parked = Rc::new(spawn(thread::park));
    let waiters: Vec<_> = (0..500)
        .map(|_| {
            let (short, long) = (random(), random() + 1_000_000);
            let parked = Rc::clone(&parked);
            spawn(move || {
                let short = Duration::from_micros(short);
                let start = Instant::now();
                select! {
                    after(Duration::from_micros(long)) => unreachable!("the other one is earlier"),
                    at(start + short) => {}
                    wait(&parked) => unreachable!(),
                }
                assert!(start.elapsed() >= short);
            })
        })
        .collect();
    for result in greenhub::joinall(waiters) {
        result.unwrap();
    }
    parked.kill();
}

#[test]
fn every_ready_arm_wins_as_often_as_any_other() {
    let _limit = TimeLimit::start(LIMIT);
    const ROUNDS: u32 = 6_000;
    let (done, parked) = (finished(()), spawn(thread::park));
    let mut wins = [0_u32; 4];
    for _ in 0..ROUNDS {
        // The arms that are not ready must not give their turns to a neighbour.
        let winner = select! {
            wait(&done) => 0,
            wait(&parked) => unreachable!(),
            wait(&done) => 1,
            wait(&parked) => unreachable!(),
            wait(&parked) => unreachable!(),
            after(Duration::ZERO) => 2,
            wait(&done) => 3,
        };
        wins[winner] += 1;
    }
    // The expected number is 1,500 with a standard deviation of 34.
    for wins in wins {
        assert!((1_300..1_700).contains(&wins), "{wins} of {ROUNDS}");
    }
    parked.kill();
}

#[test]
fn arms_that_are_always_ready_let_others_run() {
    let _limit = TimeLimit::start(LIMIT);
    let turn = Rc::new(Cell::new(false));
    let flag = Rc::clone(&turn);
    spawn(move || flag.set(true));
    let done = finished(());
    assert!(turn.replace(false));
    let flag = Rc::clone(&turn);
    spawn(move || flag.set(true));
    while !turn.get() {
        select! {
            wait(&done) => {}
        }
    }
    // Nor does such a loop escape a kill or a time limit.
    let ended = timeout(SOON, || {
        loop {
            select! {
                wait(&done) => {}
            }
        }
    });
    let Err(greenhub::Elapsed { .. }) = ended;
}

#[test]
fn arguments_are_evaluated_once_and_in_order() {
    let _limit = TimeLimit::start(LIMIT);
    let order = RefCell::new(Vec::new());
    let note = |number: u64| {
        order.borrow_mut().push(number);
        Duration::from_millis(number)
    };
    let parked = spawn(thread::park);
    select! {
        after(note(30)) => unreachable!(),
        after(note(2)) => {}
        wait({ note(40); &parked }) => unreachable!(),
    }
    assert_eq!(*order.borrow(), [30, 2, 40]);
    parked.kill();
}

#[test]
fn bodies_leave_the_code_around_the_macro() {
    let _limit = TimeLimit::start(LIMIT);
    fn returns(early: bool) -> Result<u8, String> {
        let handle = finished(Err::<u8, _>(String::from("question mark")));
        select! {
            join(handle) -> result => {
                if early {
                    return Ok(1);
                }
                let value = result.unwrap()?;
                Ok(value)
            }
        }
    }
    assert_eq!(returns(true), Ok(1));
    assert_eq!(returns(false), Err(String::from("question mark")));

    let mut rounds = 0;
    let broken = 'outer: loop {
        for step in 0..10 {
            rounds += step;
            select! {
                after(Duration::ZERO) => {
                    if step == 0 {
                        continue;
                    } else if rounds < 3 {
                        continue 'outer;
                    }
                    break 'outer rounds;
                }
            }
        }
    };
    assert_eq!(broken, 3);
}

#[test]
fn bodies_may_use_what_the_arms_have_borrowed() {
    let _limit = TimeLimit::start(LIMIT);
    let mut slot = Some(finished(String::from("taken")));
    let handle = finished(3);
    let number = select! {
        wait(&handle) => handle.join().unwrap(),
        after(LATE) => {
            slot = None;
            0
        }
    };
    assert_eq!(number, 3);
    assert!(slot.is_some());
    let mut text = select! { join(&mut slot) -> mut result => {
        slot = Some(finished(String::new()));
        result.as_mut().unwrap().push('!');
        result
    } }
    .unwrap();
    text.push('?');
    assert_eq!(text, "taken!?");
    assert!(slot.is_some());
}

#[test]
fn selects_nest() {
    let _limit = TimeLimit::start(LIMIT);
    let (left, right) = (finished(1), finished(2));
    let sum = select! {
        join(left) -> left => select! {
            join(right) -> right => left.unwrap() + right.unwrap(),
            default => unreachable!(),
        },
        after(select! { default => LATE }) => unreachable!(),
    };
    assert_eq!(sum, 3);
}

fn fill(writer: &io::PipeWriter) {
    let flags = rustix::fs::fcntl_getfl(writer).unwrap();
    rustix::fs::fcntl_setfl(writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while rustix::io::write(writer, &[0; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(writer, flags).unwrap();
}

#[test]
fn descriptors_are_waited_for() {
    let _limit = TimeLimit::start(LIMIT);
    let (mut first_reader, mut first_writer) = io::pipe().unwrap();
    let (second_reader, second_writer) = io::pipe().unwrap();
    fill(&second_writer);
    let poke = spawn(move || {
        for _ in 0..100 {
            sleep(Duration::from_micros(50));
            first_writer.write_all(b"x").unwrap();
        }
        first_writer
    });
    let mut read = 0;
    let drain = loop {
        select! {
            readable(&first_reader) -> result => {
                result.unwrap();
                read += first_reader.read(&mut [0; 7]).unwrap();
                if read == 100 {
                    let reader: PipeReader = second_reader.try_clone().unwrap();
                    break spawn(move || (&reader).read_exact(&mut [0; 64 << 10]).unwrap());
                }
            }
            writable(&second_writer) => unreachable!("it is full"),
            after(LATE) => unreachable!(),
        }
    };
    select! {
        readable(&first_reader) => unreachable!("it is empty and open"),
        writable(&second_writer) -> result => result.unwrap(),
    }
    drain.join().unwrap();
    // The end is readable, too.
    drop(poke.join().unwrap());
    select! {
        readable(&first_reader) -> result => result.unwrap(),
        after(LATE) => unreachable!(),
    }
}

#[test]
fn a_descriptor_that_cannot_be_waited_for_is_an_error() {
    let _limit = TimeLimit::start(LIMIT);
    use std::os::fd::BorrowedFd;

    // SAFETY: it is not a descriptor at all, which is what this test is about, and nothing is done with it but asking.
    #[allow(unsafe_code)]
    let none = unsafe { BorrowedFd::borrow_raw(1_000_000) };
    select! {
        // poll(2) reports it as ready, so that a read tells what is wrong.
        readable(&none) -> result => result.unwrap(),
        after(LATE) => unreachable!(),
    }
}

#[test]
fn a_kill_in_the_middle_leaves_nothing_behind() {
    let _limit = TimeLimit::start(LIMIT);
    let target = Rc::new(spawn(thread::park));
    let (reader, _writer) = io::pipe().unwrap();
    let reader = Rc::new(reader);
    for round in 0..100 {
        let (object, reader) = (Rc::clone(&target), Rc::clone(&reader));
        let waiter = spawn(move || {
            select! {
                wait(&object) => unreachable!(),
                readable(&*reader) => unreachable!(),
                after(LATE) => unreachable!(),
            }
        });
        yield_now();
        if round % 2 == 0 {
            waiter.kill();
        } else {
            let result = timeout(Duration::from_micros(20), || waiter.wait());
            assert!(result.is_err());
            waiter.kill();
        }
    }
    // A node that was left behind would be reached here.
    target.kill();
    assert!(target.is_finished());
}

#[test]
fn a_timeout_around_it_ends_the_wait() {
    let _limit = TimeLimit::start(LIMIT);
    let parked = spawn(thread::park);
    for _ in 0..20 {
        let result = timeout(Duration::from_micros(200), || {
            select! {
                wait(&parked) => unreachable!(),
                after(LATE) => unreachable!(),
            }
        });
        assert!(result.is_err());
    }
    parked.kill();
    assert_eq!(timeout(Duration::ZERO, || select! { default => 1 }), Ok(1));
}

#[test]
fn green_threads_of_other_hubs_and_plain_threads_are_waited_for() {
    let _limit = TimeLimit::start(LIMIT);
    let (sender, receiver) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        let handles = (0..200).map(|n: u64| {
            Some(spawn(move || {
                sleep(Duration::from_micros(n * 37 % 500));
                n
            }))
        });
        let (all, all_joined) = std::sync::mpsc::channel::<()>();
        sender.send((handles.collect::<Vec<_>>(), all)).unwrap();
        // The hub has to run until the others have joined all.
        while all_joined.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            sleep(Duration::from_micros(100));
        }
    });
    let (mut handles, all) = receiver.recv().unwrap();
    let mut sum = 0;
    for pair in handles.chunks_mut(2) {
        let [left, right] = pair else { unreachable!() };
        while left.is_some() || right.is_some() {
            select! {
                join(&mut *left) -> result => sum += result.unwrap(),
                join(&mut *right) -> result => sum += result.unwrap(),
            }
        }
    }
    assert_eq!(sum, 199 * 200 / 2);
    drop(all);
    other.join().unwrap();
}

#[test]
fn a_pulse_of_an_event_is_not_missed() {
    let _limit = TimeLimit::start(LIMIT);
    let event = Rc::new(Event::new());
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let event = Rc::clone(&event);
            spawn(move || {
                select! {
                    wait(&event) => true,
                    after(LATE) => false,
                }
            })
        })
        .collect();
    yield_now();
    event.set();
    event.clear();
    for waiter in waiters {
        assert!(waiter.join().unwrap());
    }
    select! {
        wait(&event) => unreachable!("it is clear"),
        default => {}
    }
}
