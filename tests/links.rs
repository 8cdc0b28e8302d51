//! Links: what is called at the end of a green thread.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use greenhub::thread::{self, Ending, JoinHandle};
use greenhub::{sleep, spawn, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);

type Log<T> = Rc<RefCell<Vec<T>>>;

#[test]
fn links_run_once_and_in_their_order() {
    let _limit = TimeLimit::start(LIMIT);
    let log: Log<u32> = Log::default();
    let target = spawn(thread::park);
    let early: Vec<_> = (0..100)
        .map(|n| {
            let log = Rc::clone(&log);
            target.link(move |_, _| log.borrow_mut().push(n))
        })
        .collect();
    yield_now();
    assert!(log.borrow().is_empty());
    target.thread().unpark();
    target.wait();
    let late: Vec<_> = (100..110)
        .map(|n| {
            let log = Rc::clone(&log);
            target.link(move |_, _| log.borrow_mut().push(n))
        })
        .collect();
    for result in greenhub::joinall(early.into_iter().chain(late)) {
        result.unwrap();
    }
    assert!(log.borrow().iter().copied().eq(0..110));
}

#[test]
fn links_learn_who_ended_and_how() {
    let _limit = TimeLimit::start(LIMIT);
    let ending = |target: &JoinHandle<()>| {
        let link = target.link(|thread, ending| (thread.id(), ending));
        let (id, ending) = link.join().unwrap();
        assert_eq!(id, target.thread().id());
        ending
    };
    assert_eq!(ending(&spawn(|| ())), Ending::Returned);
    assert_eq!(ending(&spawn(|| panic!("on purpose"))), Ending::Panicked);
    let killed = spawn(thread::park);
    killed.kill();
    assert_eq!(ending(&killed), Ending::Killed);
    let timed_out = spawn(|| {
        let _limit = greenhub::Timeout::start(Duration::from_millis(1));
        thread::park();
    });
    assert_eq!(ending(&timed_out), Ending::Killed);
}

#[test]
fn a_link_may_block_and_panic() {
    let _limit = TimeLimit::start(LIMIT);
    let ran = Rc::new(Cell::new(0));
    let target = spawn(|| ());
    let panics = target.link(|_, _| panic!("in a link"));
    let count = Rc::clone(&ran);
    let sleeps = target.link(move |_, _| {
        sleep(Duration::from_millis(5));
        count.set(count.get() + 1);
    });
    // Links can be linked to.
    let count = Rc::clone(&ran);
    let second = sleeps.link(move |_, ending| {
        assert_eq!(ending, Ending::Returned);
        count.set(count.get() + 1);
    });
    target.join().unwrap();
    second.join().unwrap();
    assert_eq!(ran.get(), 2);
    assert!(panics.join().is_err());
}

#[test]
fn a_detached_green_thread_keeps_its_links() {
    let _limit = TimeLimit::start(LIMIT);
    let target = spawn(|| sleep(Duration::from_millis(5)));
    let link = target.link(|_, ending| ending);
    drop(target);
    assert_eq!(link.join().unwrap(), Ending::Returned);
}

#[test]
fn a_killed_link_does_not_run() {
    let _limit = TimeLimit::start(LIMIT);
    let token = Rc::new(());
    let target = spawn(thread::park);
    let links: Vec<_> = (0..3)
        .map(|_| {
            let token = Rc::clone(&token);
            target.link(move |_, _| drop(token))
        })
        .collect();
    let unlinked = {
        let token = Rc::clone(&token);
        target.link(move |_, _| {
            drop(token);
            unreachable!("it was killed")
        })
    };
    yield_now();
    unlinked.kill();
    assert_eq!(Rc::strong_count(&token), 4, "what it owned is gone");
    target.thread().unpark();
    for result in greenhub::joinall(links) {
        result.unwrap();
    }
    assert!(unlinked.join().unwrap_err().is::<thread::Killed>());
    assert_eq!(Rc::strong_count(&token), 1);
}

#[test]
fn links_that_never_ran_end_with_their_thread() {
    let _limit = TimeLimit::start(LIMIT);
    let target = spawn(thread::park);
    let unparked = target.thread().clone();
    let other = std::thread::spawn(move || {
        struct Noisy(std::sync::mpsc::Sender<&'static str>);
        impl Drop for Noisy {
            fn drop(&mut self) {
                self.0.send("dropped").unwrap();
            }
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        let noisy = Noisy(sender);
        target.link(move |_, _| {
            let _noisy = noisy;
            unreachable!("the thread has ended before")
        });
        (target, receiver)
    });
    let (target, receiver) = other.join().unwrap();
    assert_eq!(receiver.recv(), Ok("dropped"));
    assert!(receiver.recv().is_err());
    unparked.unpark();
    target.join().unwrap();
}

#[test]
fn a_link_runs_where_it_was_made() {
    let _limit = TimeLimit::start(LIMIT);
    let target = spawn(|| {
        sleep(Duration::from_millis(10));
        std::thread::current().id()
    });
    let home = std::thread::current().id();
    let unparked = thread::current();
    let other = std::thread::spawn(move || {
        let here = Rc::new(Cell::new(None));
        let shared = Rc::clone(&here);
        let link = target.link(move |_, _| shared.set(Some(std::thread::current().id())));
        link.join().unwrap();
        assert_eq!(here.get(), Some(std::thread::current().id()));
        assert_eq!(target.join().unwrap(), home);
        unparked.unpark();
    });
    thread::park();
    other.join().unwrap();
}

#[test]
fn a_waiting_link_has_no_stack() {
    let _limit = TimeLimit::start(LIMIT);
    const COUNT: usize = 20_000;
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    let target = spawn(thread::park);
    let count = Rc::new(Cell::new(0));
    let before = resident();
    for _ in 0..COUNT {
        let count = Rc::clone(&count);
        target.link(move |_, _| count.set(count.get() + 1));
    }
    yield_now();
    // A page of stack each would be 80 MiB; other tests run at the same time.
    let grown = resident().saturating_sub(before);
    assert!(grown < 40 << 10, "grown by {grown} KiB");
    target.thread().unpark();
    let last = target.link(|_, _| ());
    last.join().unwrap();
    assert_eq!(count.get(), COUNT);
}
