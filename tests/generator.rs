//! Generators: what goes in and comes out, how they end, and what interrupts them.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenhub::generator::{Generator, Yielder};
use greenhub::net::{TcpListener, TcpStream};
use greenhub::thread::{self, Killed};
use greenhub::{sleep, spawn, timeout, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(1_000);

/// Sets a flag when it is dropped, after a wait.
struct Flag(Rc<Cell<bool>>);

impl Drop for Flag {
    fn drop(&mut self) {
        yield_now();
        self.0.set(true);
    }
}

fn flag() -> (Flag, Rc<Cell<bool>>) {
    let set = Rc::new(Cell::new(false));
    (Flag(Rc::clone(&set)), set)
}

/// Counts up from zero for ever; the flag is set when that is unwound.
fn counter() -> (Generator<'static, u32>, Rc<Cell<bool>>) {
    let (flag, dropped) = flag();
    let generator = Generator::new(move |out, ()| {
        let _flag = flag;
        for n in 0.. {
            out.yield_(n);
        }
    });
    (generator, dropped)
}

fn in_both(test: fn()) {
    let _limit = TimeLimit::start(LIMIT);
    test();
    if let Err(payload) = spawn(test).join() {
        resume_unwind(payload);
    }
}

#[test]
fn a_producer_feeds_the_eaters_of_buns() {
    in_both(|| {
        let eaten = Rc::new(RefCell::new(Vec::new()));
        let eater = |name: &'static str| {
            let eaten = Rc::clone(&eaten);
            Generator::new(move |out: &Yielder<(), u32>, mut bun| -> () {
                loop {
                    eaten.borrow_mut().push((name, bun));
                    bun = out.yield_(());
                }
            })
        };
        let mut eaters = [eater("A"), eater("B")];
        for bun in 0..3 {
            for eater in &mut eaters {
                assert_eq!(eater.send(bun), Some(()));
            }
        }
        drop(eaters);
        let expected = [("A", 0), ("B", 0), ("A", 1), ("B", 1), ("A", 2), ("B", 2)];
        assert_eq!(*eaten.borrow(), expected);
        assert_eq!(Rc::strong_count(&eaten), 1, "both were unwound");
    });
}

#[test]
fn it_is_an_iterator_that_stays_at_its_end() {
    in_both(|| {
        let mut some = Generator::new(|out, ()| {
            for n in 1..=3 {
                out.yield_(n);
            }
            "result"
        });
        assert_eq!(some.by_ref().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(some.is_finished());
        assert_eq!((some.next(), some.next()), (None, None));
        assert_eq!(some.into_result(), Some("result"));
    });
}

#[test]
fn generators_nest_and_recurse() {
    in_both(|| {
        fn tree(depth: u32) -> Generator<'static, u32> {
            Generator::new(move |out, ()| {
                if depth > 0 {
                    tree(depth - 1).for_each(|n| out.yield_(n));
                    out.yield_(depth);
                    tree(depth - 1).for_each(|n| out.yield_(n));
                }
            })
        }
        assert_eq!(tree(3).collect::<Vec<_>>(), [1, 2, 1, 3, 1, 2, 1]);
        let mut two = [counter().0, counter().0];
        for n in 0..10 {
            assert_eq!(two.each_mut().map(Iterator::next), [Some(n), Some(n)]);
        }
    });
}

#[test]
fn values_sent_in_are_what_yield_returns() {
    in_both(|| {
        let mut sums = Generator::new(|out, first: u32| {
            let mut sum = first;
            while sum < 10 {
                sum += out.yield_(sum);
            }
            sum
        });
        assert_eq!(sums.send(1), Some(1));
        assert_eq!(sums.send(2), Some(3));
        assert_eq!(sums.send(30), None);
        assert_eq!(sums.result(), Some(&33));
        assert_eq!(sums.send(5), None);
    });
}

#[test]
fn nothing_runs_before_the_first_item_is_asked_for() {
    in_both(|| {
        let (flag, dropped) = flag();
        let generator = Generator::new(move |_: &Yielder<()>, ()| {
            let _flag = flag;
            unreachable!("nobody asks");
        });
        yield_now();
        drop(generator);
        assert!(dropped.get());
    });
}

#[test]
fn a_panic_of_the_body_comes_out_of_the_call() {
    in_both(|| {
        let mut bad = Generator::new(|out, ()| {
            out.yield_(1);
            panic!("meant");
        });
        assert_eq!(bad.next(), Some(1));
        let panic = catch_unwind(AssertUnwindSafe(|| bad.next())).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"meant"));
        assert!(bad.is_finished());
        assert_eq!(bad.next(), None);
        assert!(!thread::panicking());
    });
}

#[test]
fn dropping_it_half_way_unwinds_it_before_drop_returns() {
    in_both(|| {
        let (mut generator, dropped) = counter();
        assert_eq!(generator.next(), Some(0));
        drop(generator);
        assert!(dropped.get());
    });
}

#[test]
fn its_items_on_their_way_are_dropped_with_it() {
    in_both(|| {
        let token = Rc::new(());
        let given = Rc::clone(&token);
        let mut generator = Generator::new(move |out, _: Rc<()>| {
            loop {
                let _sent = out.yield_(Rc::clone(&given));
            }
        });
        let _: Option<Rc<()>> = generator.send(Rc::clone(&token));
        let _ = generator.send(Rc::clone(&token));
        let _: Option<()> = generator.into_result();
        assert_eq!(Rc::strong_count(&token), 1);
    });
}

#[test]
fn a_body_that_blocks_lets_others_run() {
    in_both(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let others = Rc::new(Cell::new(0));
        let count = Rc::clone(&others);
        let other = spawn(move || {
            loop {
                count.set(count.get() + 1);
                yield_now();
            }
        });
        let lengths = Generator::new(move |out, ()| {
            use std::io::Read;
            for stream in listener.incoming().take(2) {
                let mut text = String::new();
                stream.unwrap().read_to_string(&mut text).unwrap();
                sleep(Duration::from_millis(1));
                out.yield_(text.len());
            }
        });
        let client = spawn(move || {
            use std::io::Write;
            for text in ["ab", "cde"] {
                TcpStream::connect(address)
                    .unwrap()
                    .write_all(text.as_bytes())
                    .unwrap();
            }
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [2, 3]);
        assert!(others.get() > 2);
        client.join().unwrap();
        other.kill();
    });
}

#[test]
fn a_time_limit_around_a_call_unwinds_the_body_with_the_caller() {
    in_both(|| {
        let (flag, dropped) = flag();
        let mut generator = Generator::new(move |out, ()| {
            let _flag = flag;
            out.yield_(1);
            sleep(LONG);
            out.yield_(2);
        });
        assert_eq!(timeout(SHORT, || generator.next()), Ok(Some(1)));
        assert!(timeout(SHORT, || generator.next()).is_err());
        assert!(dropped.get());
        assert!(generator.is_finished());
        assert_eq!(generator.next(), None);
    });
}

#[test]
fn a_time_limit_inside_of_the_body_is_its_own() {
    in_both(|| {
        let tries = Generator::new(|out, ()| {
            for n in 0..3 {
                assert!(timeout(Duration::from_millis(1), || sleep(LONG)).is_err());
                out.yield_(n);
            }
        });
        assert_eq!(timeout(LONG, || tries.sum::<u32>()), Ok(3));
    });
}

#[test]
fn a_kill_of_the_caller_unwinds_caller_and_body() {
    in_both(|| {
        let (flag, dropped) = flag();
        let body_started = Rc::new(Cell::new(false));
        let started = Rc::clone(&body_started);
        let caller = spawn(move || {
            let mut generator = Generator::new(move |_: &Yielder<u32>, ()| {
                let _flag = flag;
                started.set(true);
                sleep(LONG);
            });
            generator.next();
        });
        while !body_started.get() {
            yield_now();
        }
        caller.kill();
        assert!(dropped.get());
        assert!(caller.join().unwrap_err().is::<Killed>());
    });
}

#[test]
fn a_caller_that_is_killed_between_two_calls_unwinds_the_body() {
    in_both(|| {
        let (mut generator, dropped) = counter();
        let asked = Rc::new(Cell::new(false));
        let flag = Rc::clone(&asked);
        let caller = spawn(move || {
            generator.next();
            flag.set(true);
            thread::park();
        });
        while !asked.get() {
            yield_now();
        }
        caller.kill();
        assert!(caller.join().is_err());
        assert!(dropped.get());
    });
}

#[test]
fn a_caller_killed_at_any_moment_loses_neither_body_nor_destructor() {
    in_both(|| {
        for turns in 0..40 {
            let (generator, dropped) = counter();
            let caller = spawn(move || {
                for n in generator {
                    if n % 3 == 0 {
                        yield_now();
                    }
                }
            });
            (0..turns).for_each(|_| yield_now());
            caller.kill();
            assert!(dropped.get(), "killed after {turns} turns");
        }
    });
}

#[test]
fn a_body_that_catches_the_unwinding_meets_it_again() {
    in_both(|| {
        let caught = Rc::new(Cell::new(0));
        let count = Rc::clone(&caught);
        let mut stubborn = Generator::new(move |out, ()| {
            for n in 0..3 {
                if catch_unwind(AssertUnwindSafe(|| out.yield_(n))).is_err() {
                    count.set(count.get() + 1);
                }
            }
        });
        assert_eq!(stubborn.next(), Some(0));
        drop(stubborn);
        assert_eq!(caught.get(), 3);
    });
}

#[test]
fn only_the_body_yields() {
    in_both(|| {
        let mut generator = Generator::new(|out: &Yielder<u32>, ()| {
            let stranger = thread::scope(|scope| scope.spawn(|| out.yield_(1)).join());
            let message = *stranger.unwrap_err().downcast::<&str>().unwrap();
            assert!(message.contains("only the body"));
            out.yield_(2);
        });
        assert_eq!(generator.next(), Some(2));
        assert_eq!(generator.next(), None);
        assert!(generator.result().is_some());
    });
}

#[test]
fn a_call_from_its_own_body_is_a_panic() {
    in_both(|| {
        let shared = Rc::new(RefCell::new(None::<Generator<'static, u32>>));
        let own = Rc::clone(&shared);
        *shared.borrow_mut() = Some(Generator::new(move |out, ()| {
            let again = catch_unwind(AssertUnwindSafe(|| {
                own.borrow_mut().as_mut().unwrap().next()
            }));
            out.yield_(u32::from(again.is_err()));
        }));
        let item = shared.borrow_mut().as_mut().unwrap().next();
        assert_eq!(item, Some(1));
        shared.take();
    });
}

#[test]
fn a_scoped_body_borrows() {
    in_both(|| {
        let words = [String::from("a"), String::from("b"), String::from("c")];
        let mut seen = Vec::new();
        thread::scope(|scope| {
            let mut borrowed = Generator::scoped(scope, |out, ()| {
                for word in &words {
                    out.yield_(word.as_str());
                    seen.push(word);
                }
            });
            assert_eq!(borrowed.next(), Some("a"));
            assert_eq!(borrowed.next(), Some("b"));
        });
        assert_eq!(seen, ["a"], "and was unwound before the scope ended");
    });
}

#[test]
fn a_scoped_body_that_panics_fails_the_caller_and_not_the_scope() {
    in_both(|| {
        let value = 5;
        thread::scope(|scope| {
            let mut bad = Generator::scoped(scope, |_: &Yielder<u32>, ()| assert_eq!(value, 6));
            assert!(catch_unwind(AssertUnwindSafe(|| bad.next())).is_err());
        });
    });
}

#[test]
fn a_scope_waits_for_the_body_of_a_leaked_generator() {
    let _limit = TimeLimit::start(LIMIT);
    let dropped = Rc::new(Cell::new(false));
    let flag = Flag(Rc::clone(&dropped));
    let leaking = spawn(move || {
        let text = String::from("borrowed");
        thread::scope(|scope| {
            let text = &text;
            let mut leaked = Generator::scoped(scope, move |out, ()| {
                let _flag = flag;
                out.yield_(text.len());
            });
            assert_eq!(leaked.next(), Some(8));
            std::mem::forget(leaked);
        });
        unreachable!("the scope cannot end by itself");
    });
    sleep(SHORT);
    assert!(!leaking.is_finished() && !dropped.get());
    // A kill of whoever waits for the scope is one of the scope.
    leaking.kill();
    assert!(dropped.get());
}

#[test]
fn one_that_is_leaked_is_unwound_with_its_os_thread() {
    let _limit = TimeLimit::start(LIMIT);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        struct Tell(std::sync::mpsc::Sender<&'static str>);
        impl Drop for Tell {
            fn drop(&mut self) {
                self.0.send("unwound").unwrap();
            }
        }
        let tell = Tell(sender);
        let mut leaked = Generator::new(move |out, ()| {
            let _tell = tell;
            out.yield_(1);
        });
        assert_eq!(leaked.next(), Some(1));
        std::mem::forget(leaked);
    })
    .join()
    .unwrap();
    assert_eq!(receiver.try_recv(), Ok("unwound"));
}

#[test]
fn one_in_a_thread_local_survives_the_end_of_its_os_thread() {
    let _limit = TimeLimit::start(LIMIT);
    std::thread_local! {
        static KEPT: RefCell<Option<Generator<'static, u32>>> = const { RefCell::new(None) };
    }
    let items = std::thread::spawn(|| {
        KEPT.set(Some(counter().0));
        KEPT.with_borrow_mut(|kept| kept.as_mut().unwrap().take(2).sum::<u32>())
    });
    assert_eq!(items.join().unwrap(), 1);
}

#[test]
fn callers_may_change_from_call_to_call() {
    in_both(|| {
        let (generator, _) = counter();
        let shared = Rc::new(RefCell::new(generator));
        let handles = (0..10).map(|_| {
            let shared = Rc::clone(&shared);
            spawn(move || shared.borrow_mut().next().unwrap())
        });
        // Each borrows while it waits, which takes it one turn at a time.
        let numbers = handles.map(|handle| handle.join().unwrap());
        assert_eq!(numbers.collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn handing_over_is_fair_to_others() {
    in_both(|| {
        let (generator, _) = counter();
        let turns = Rc::new(Cell::new(0_u32));
        let count = Rc::clone(&turns);
        let other = spawn(move || {
            loop {
                count.set(count.get() + 1);
                yield_now();
            }
        });
        generator.take(1_000).for_each(drop);
        assert!(
            turns.get() >= 100,
            "{} turns during 1,000 items",
            turns.get()
        );
        other.kill();
    });
}
