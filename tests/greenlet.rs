//! Greenlets: who runs, what switches carry, and how they end.

mod support;

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenhub::greenlet::Greenlet;
use greenhub::thread;
use greenhub::{sleep, spawn, timeout, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(1_000);

fn in_both(test: fn()) {
    let _limit = TimeLimit::start(LIMIT);
    test();
    if let Err(payload) = spawn(test).join() {
        resume_unwind(payload);
    }
}

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

/// One that has switched back to its parent once, and holds the flag.
fn suspended() -> (Greenlet<u32>, Rc<Cell<bool>>) {
    let (flag, dropped) = flag();
    let parent = Greenlet::current();
    let greenlet = Greenlet::new(move |value| {
        let _flag = flag;
        parent.switch(value)
    });
    assert_eq!(greenlet.switch(1), 1);
    (greenlet, dropped)
}

fn message(payload: Box<dyn Any + Send>) -> &'static str {
    *payload.downcast::<&str>().unwrap()
}

#[test]
fn twelve_fifty_six_thirty_four_seventy_eight() {
    in_both(|| {
        let printed = Rc::new(RefCell::new(Vec::new()));
        let first = Rc::new(OnceCell::<Greenlet<()>>::new());
        let second = Greenlet::new({
            let (first, printed) = (Rc::clone(&first), Rc::clone(&printed));
            move |()| {
                printed.borrow_mut().push(56);
                first.get().unwrap().switch(());
                printed.borrow_mut().push(78);
            }
        });
        let for_first = second.clone();
        let start = Greenlet::new({
            let printed = Rc::clone(&printed);
            move |()| {
                printed.borrow_mut().push(12);
                for_first.switch(());
                printed.borrow_mut().push(34);
                for_first.switch(());
            }
        });
        first.set(start.clone()).unwrap();
        start.switch(());
        assert_eq!(*printed.borrow(), [12, 56, 34, 78]);
        assert!(second.is_dead(), "it has returned to its parent");
        assert!(!start.is_dead(), "nobody has switched back to it");
        start.switch(());
        assert!(start.is_dead());
    });
}

#[test]
fn values_pass_through_switch_in_both_directions() {
    in_both(|| {
        let parent = Greenlet::<String>::current();
        let child = Greenlet::new(move |mut word: String| {
            for n in 1..=2 {
                word = parent.switch(format!("{word} {n}"));
            }
            word + " last"
        });
        assert_eq!(child.switch("a".into()), "a 1");
        assert_eq!(child.switch("b".into()), "b 2");
        assert_eq!(child.switch("c".into()), "c last");
    });
}

#[test]
fn a_dead_one_stands_for_its_parent() {
    in_both(|| {
        let child = Greenlet::new(|value: u32| value + 1);
        assert_eq!(child.switch(1), 2);
        assert!(child.is_dead());
        assert_eq!(child.switch(7), 7, "the parent is the caller");
        // Seen from another greenlet, a switch to the dead one is one to the parent.
        let dead = child.clone();
        let other = Greenlet::new(move |value| dead.switch(value * 2));
        assert_eq!(other.switch(5), 10);
        assert!(!other.is_dead());
        assert_eq!(
            other.switch(6),
            6,
            "what its switch returned is what it returned"
        );
    });
}

#[test]
fn what_a_grandchild_returns_goes_to_the_child() {
    in_both(|| {
        let child = Greenlet::new(|value: u32| {
            let grandchild = Greenlet::new(|value: u32| value * 10);
            assert_eq!(grandchild.parent(), Some(Greenlet::current()));
            grandchild.switch(value + 1) + 1
        });
        assert_eq!(child.switch(1), 21);
    });
}

#[test]
fn switching_to_oneself_returns_at_once() {
    in_both(|| {
        assert_eq!(Greenlet::current().switch(3), 3);
        let child = Greenlet::new(|value: u32| Greenlet::current().switch(value + 1));
        assert_eq!(child.switch(1), 2);
        assert!(child.is_dead());
    });
}

#[test]
fn a_panic_comes_out_of_the_parents_switch() {
    in_both(|| {
        let child = Greenlet::new(|()| panic!("meant"));
        let panic = catch_unwind(AssertUnwindSafe(|| child.switch(())));
        assert_eq!(message(panic.unwrap_err()), "meant");
        assert!(child.is_dead());
    });
}

#[test]
fn what_is_thrown_unwinds_the_greenlet_and_then_its_parent() {
    in_both(|| {
        let (child, dropped) = suspended();
        let thrown = catch_unwind(AssertUnwindSafe(|| child.throw(Box::new("enough"))));
        assert_eq!(message(thrown.unwrap_err()), "enough");
        assert!(child.is_dead() && dropped.get());
        let fresh = Greenlet::new(|_: u32| unreachable!("it dies before"));
        let thrown = catch_unwind(AssertUnwindSafe(|| fresh.throw(Box::new("early"))));
        assert_eq!(message(thrown.unwrap_err()), "early");
        assert!(fresh.is_dead());
    });
}

#[test]
fn what_is_thrown_may_be_caught() {
    in_both(|| {
        let parent = Greenlet::current();
        let child = Greenlet::new(move |value: u32| {
            let thrown = catch_unwind(AssertUnwindSafe(|| parent.switch(value)));
            assert_eq!(message(thrown.unwrap_err()), "caught");
            parent.switch(2);
            3
        });
        assert_eq!(child.switch(1), 1);
        assert_eq!(child.throw(Box::new("caught")), 2);
        assert_eq!(child.switch(0), 3);
    });
}

#[test]
fn a_kill_comes_back_to_the_killer_when_the_greenlet_is_dead() {
    in_both(|| {
        let (child, dropped) = suspended();
        child.kill();
        assert!(child.is_dead() && dropped.get());
        child.kill();
        let (flag, dropped) = flag();
        let fresh = Greenlet::new(move |()| drop(flag));
        fresh.kill();
        assert!(fresh.is_dead() && dropped.get());
        fresh.switch(());
    });
}

#[test]
fn dropping_the_last_handle_unwinds() {
    in_both(|| {
        let (child, dropped) = suspended();
        let another = child.clone();
        drop(child);
        assert!(!dropped.get());
        drop(another);
        assert!(dropped.get());
    });
}

#[test]
fn one_that_drops_the_last_handle_to_itself_goes_on() {
    in_both(|| {
        let own = Rc::new(RefCell::new(None));
        let handle = Rc::clone(&own);
        let child = Greenlet::new(move |()| {
            handle.take();
            yield_now();
            assert!(!thread::panicking());
        });
        *own.borrow_mut() = Some(child.clone());
        let switcher = own.borrow().clone().unwrap();
        drop(child);
        switcher.switch(());
        assert!(switcher.is_dead());
    });
}

#[test]
fn one_that_waits_for_something_else_cannot_be_switched_to() {
    in_both(|| {
        let child = Rc::new(Greenlet::new(|()| sleep(Duration::from_millis(5))));
        let shared = Rc::clone(&child);
        let intruder = spawn(move || {
            let refused = catch_unwind(AssertUnwindSafe(|| shared.switch(())));
            message(refused.unwrap_err())
        });
        child.switch(());
        assert!(
            intruder
                .join()
                .unwrap()
                .contains("does not wait in `switch`")
        );
    });
}

#[test]
fn a_time_limit_ends_the_wait_of_the_one_that_waits() {
    in_both(|| {
        let (flag, dropped) = flag();
        let child = Greenlet::new(move |()| {
            let _flag = flag;
            sleep(LONG);
        });
        assert!(timeout(Duration::from_millis(2), || child.switch(())).is_err());
        assert!(!child.is_dead(), "it sleeps on");
        drop(child);
        assert!(dropped.get());
    });
}

#[test]
fn greenlets_of_different_values_are_strangers() {
    in_both(|| {
        let words = Greenlet::new(|word: &'static str| {
            let numbers = Greenlet::new(|number: usize| number + 1);
            assert!(numbers.switch(word.len()) == 4);
            assert_eq!(numbers.parent(), Some(Greenlet::current()));
            word
        });
        assert_eq!(words.switch("abc"), "abc");
    });
}

#[test]
fn one_that_owns_itself_is_unwound_with_its_os_thread() {
    let _limit = TimeLimit::start(LIMIT);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        struct Tell(std::sync::mpsc::Sender<()>);
        impl Drop for Tell {
            fn drop(&mut self) {
                self.0.send(()).unwrap();
            }
        }
        let root = Greenlet::<()>::current();
        for _ in 0..2 {
            let (tell, root) = (Tell(sender.clone()), root.clone());
            let child = Greenlet::new(move |()| {
                let _tell = tell;
                let _own = Greenlet::<()>::current();
                root.switch(());
            });
            child.switch(());
        }
    })
    .join()
    .unwrap();
    assert_eq!(receiver.try_iter().count(), 2);
}

#[test]
fn a_long_ring_comes_round() {
    in_both(|| {
        let root = Greenlet::<u32>::current();
        let mut next = root;
        for _ in 0..100 {
            let to = next;
            next = Greenlet::new(move |mut value| {
                loop {
                    value = to.switch(value + 1);
                }
            });
        }
        for _ in 0..3 {
            assert_eq!(next.switch(0), 100);
        }
    });
}
