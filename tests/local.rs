//! Green-thread locals: whose they are, when they are destroyed, and what children get.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use greenhub::local::{AccessError, LocalKey};
use greenhub::thread::{self, Builder, Killed};
use greenhub::{green_local, sleep, spawn, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);

/// Notes its end in a shared list; waits before that if it is told to.
#[derive(Default)]
struct Noted {
    ends: Option<(Rc<RefCell<Vec<&'static str>>>, &'static str)>,
    waits: bool,
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some((ends, name)) = self.ends.take() {
            if self.waits {
                sleep(Duration::from_millis(2));
            }
            ends.borrow_mut().push(name);
        }
    }
}

green_local! {
    static COUNT: Cell<u32> = const { Cell::new(1) };
    static NOTED: RefCell<Noted> = RefCell::default();
    static NOTED_TOO: RefCell<Noted> = RefCell::default();
}

type Ends = Rc<RefCell<Vec<&'static str>>>;

fn note(key: &'static LocalKey<RefCell<Noted>>, ends: &Ends, name: &'static str, waits: bool) {
    let ends = Some((Rc::clone(ends), name));
    key.set(Noted { ends, waits });
}

#[test]
fn every_green_thread_and_every_root_has_its_own() {
    let _limit = TimeLimit::start(LIMIT);
    let bump = || {
        for _ in 0..10 {
            COUNT.set(COUNT.get() + 1);
            yield_now();
        }
        COUNT.get()
    };
    let handles: Vec<_> = (0..5).map(|_| spawn(bump)).collect();
    let other = std::thread::spawn(move || (bump(), spawn(bump).join().unwrap()));
    assert_eq!(bump(), 11);
    for handle in handles {
        assert_eq!(handle.join().unwrap(), 11);
    }
    assert_eq!(other.join().unwrap(), (11, 11));
}

#[test]
fn a_value_stays_in_place_while_the_table_grows_and_others_run() {
    let _limit = TimeLimit::start(LIMIT);
    green_local! {
        static FIRST: String = format!("{:?}", thread::current().id());
        static A: [u64; 32] = [1; 32];
        static B: [u64; 32] = [2; 32];
        static C: [u64; 32] = [3; 32];
    }
    let handles = (0..10).map(|_| {
        spawn(|| {
            FIRST.with(|first| {
                yield_now();
                let sum: u64 = [&A, &B, &C]
                    .map(|key| key.with(|a| a.iter().sum::<u64>()))
                    .iter()
                    .sum();
                yield_now();
                assert_eq!(*first, format!("{:?}", thread::current().id()));
                sum
            })
        })
    });
    for sum in greenhub::joinall(handles) {
        assert_eq!(sum.unwrap(), 32 * 6);
    }
}

#[test]
fn destructors_have_run_and_may_have_waited_when_join_returns() {
    let _limit = TimeLimit::start(LIMIT);
    let ends = Ends::default();
    let shared = Rc::clone(&ends);
    let handle = spawn(move || {
        note(&NOTED, &shared, "local", true);
        "result"
    });
    assert_eq!(handle.join().unwrap(), "result");
    assert_eq!(*ends.borrow(), ["local"]);
}

#[test]
fn destructors_run_after_a_panic() {
    let _limit = TimeLimit::start(LIMIT);
    let ends = Ends::default();
    let shared = Rc::clone(&ends);
    let handle = spawn(move || {
        note(&NOTED, &shared, "local", true);
        panic!("meant");
    });
    assert_eq!(handle.join().unwrap_err().downcast_ref(), Some(&"meant"));
    assert_eq!(*ends.borrow(), ["local"]);
}

#[test]
fn a_kill_does_not_end_the_waits_of_destructors() {
    let _limit = TimeLimit::start(LIMIT);
    let ends = Ends::default();
    let shared = Rc::clone(&ends);
    let handle = spawn(move || {
        note(&NOTED, &shared, "first", true);
        note(&NOTED_TOO, &shared, "second", true);
        thread::park();
    });
    yield_now();
    handle.kill_nowait();
    yield_now();
    assert!(!handle.is_finished(), "its destructors wait");
    handle.kill();
    assert!(handle.join().unwrap_err().is::<Killed>());
    assert_eq!(ends.borrow().len(), 2);
}

#[test]
fn one_that_is_killed_before_it_starts_has_only_what_it_inherited() {
    let _limit = TimeLimit::start(LIMIT);
    green_local! {
        inherited static COUNTED: RefCell<Option<Rc<()>>> = const { RefCell::new(None) };
    }
    let token = Rc::new(());
    COUNTED.set(Some(Rc::clone(&token)));
    let builder = Builder::new().inherit_locals(true);
    let handle = builder
        .spawn(|| unreachable!("it is killed before"))
        .unwrap();
    assert_eq!(Rc::strong_count(&token), 3, "copied by `spawn`");
    handle.kill();
    assert_eq!(Rc::strong_count(&token), 2);
    COUNTED.set(None);
}

#[test]
fn values_that_destructors_make_are_destroyed_as_well() {
    let _limit = TimeLimit::start(LIMIT);
    struct Uses(Ends);
    impl Drop for Uses {
        fn drop(&mut self) {
            assert!(matches!(USES.try_with(|_| ()), Err(AccessError { .. })));
            assert!(catch_unwind(|| USES.with(|_| ())).is_err());
            note(&NOTED, &self.0, "made by a destructor", false);
            COUNT.set(COUNT.get() + 1);
            assert_eq!(COUNT.get(), 8, "what has no destructor is never gone");
        }
    }
    green_local! {
        static USES: RefCell<Option<Uses>> = const { RefCell::new(None) };
    }
    let ends = Ends::default();
    let shared = Rc::clone(&ends);
    spawn(move || {
        COUNT.set(7);
        USES.set(Some(Uses(shared)));
    })
    .join()
    .unwrap();
    assert_eq!(*ends.borrow(), ["made by a destructor"]);
}

#[test]
fn a_destructor_that_panics_keeps_neither_the_others_nor_the_result() {
    let _limit = TimeLimit::start(LIMIT);
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("meant: a destructor of a local");
        }
    }
    green_local! {
        static BAD: RefCell<Option<Bad>> = const { RefCell::new(None) };
    }
    let ends = Ends::default();
    let shared = Rc::clone(&ends);
    let handle = spawn(move || {
        note(&NOTED, &shared, "before", false);
        BAD.set(Some(Bad));
        note(&NOTED_TOO, &shared, "after", false);
        5
    });
    assert_eq!(handle.join().unwrap(), 5);
    assert_eq!(ends.borrow().len(), 2);
}

#[test]
fn the_result_of_a_detached_one_may_still_use_locals() {
    let _limit = TimeLimit::start(LIMIT);
    struct Uses(Ends);
    impl Drop for Uses {
        fn drop(&mut self) {
            note(&NOTED, &self.0, "made by the result", false);
        }
    }
    let ends = Ends::default();
    let shared = Rc::clone(&ends);
    drop(spawn(move || Uses(shared)));
    yield_now();
    assert_eq!(*ends.borrow(), ["made by the result"]);
}

#[test]
fn the_roots_values_end_with_the_os_thread_and_after_its_green_threads() {
    let _limit = TimeLimit::start(LIMIT);
    static SEEN: AtomicU32 = AtomicU32::new(0);
    struct Last(Arc<AtomicU32>);
    impl Drop for Last {
        fn drop(&mut self) {
            // It may wait, and spawn, as any destructor may.
            sleep(Duration::from_millis(1));
            let ended = Arc::clone(&self.0);
            spawn(move || SEEN.store(ended.load(Ordering::Relaxed), Ordering::Relaxed))
                .join()
                .unwrap();
        }
    }
    struct Ends(Arc<AtomicU32>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    green_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }
    std::thread::spawn(|| {
        let ended = Arc::new(AtomicU32::new(0));
        LAST.set(Some(Last(Arc::clone(&ended))));
        let guard = Ends(ended);
        spawn(move || {
            let _guard = guard;
            thread::park();
        });
        yield_now();
    })
    .join()
    .unwrap();
    assert_eq!(SEEN.load(Ordering::Relaxed), 1);
}

#[test]
fn children_inherit_on_request_what_is_declared_so() {
    let _limit = TimeLimit::start(LIMIT);
    green_local! {
        /// Documented, visible in the crate, inherited.
        pub(crate) inherited static PATH: RefCell<Vec<&'static str>> = RefCell::new(vec!["unset"]);
        static OWN: Cell<u32> = const { Cell::new(0) }
    }
    PATH.set(vec!["root"]);
    OWN.set(5);
    let inherit = || Builder::new().inherit_locals(true);
    let child = inherit().spawn(move || {
        PATH.with_borrow_mut(|path| path.push("child"));
        let grandchild = inherit().spawn(|| PATH.take()).unwrap();
        // What the parent does later is no concern of the child's.
        PATH.with_borrow_mut(|path| path.push("later"));
        (grandchild.join().unwrap(), PATH.take(), OWN.get())
    });
    let (grandchild, child, own) = child.unwrap().join().unwrap();
    assert_eq!(grandchild, ["root", "child"]);
    assert_eq!(child, ["root", "child", "later"]);
    assert_eq!(own, 0);
    assert_eq!(spawn(|| PATH.take()).join().unwrap(), ["unset"]);
    let scoped = thread::scope(|scope| {
        let child = inherit().spawn_scoped(scope, || PATH.take());
        child.unwrap().join().unwrap()
    });
    assert_eq!(scoped, ["root"]);
    assert_eq!(PATH.take(), ["root"]);
}

#[test]
fn an_initialiser_may_use_other_keys_wait_and_fail() {
    let _limit = TimeLimit::start(LIMIT);
    green_local! {
        static TRIES: Cell<u32> = const { Cell::new(0) };
        static SLOW: u32 = {
            TRIES.set(TRIES.get() + 1);
            sleep(Duration::from_millis(1));
            assert!(TRIES.get() > 1, "meant: the first try fails");
            TRIES.get()
        };
    }
    let handles = (0..3).map(|_| {
        spawn(|| {
            assert!(catch_unwind(AssertUnwindSafe(|| SLOW.with(|_| ()))).is_err());
            SLOW.with(|tries| *tries)
        })
    });
    for tries in greenhub::joinall(handles) {
        assert_eq!(tries.unwrap(), 2);
    }
}

#[test]
fn many_green_threads_leave_no_value_behind() {
    let _limit = TimeLimit::start(LIMIT);
    green_local! {
        static TOKEN: RefCell<Option<Rc<()>>> = const { RefCell::new(None) };
    }
    let token = Rc::new(());
    let mut handles = Vec::new();
    for n in 0..1_000 {
        let token = Rc::clone(&token);
        handles.push(spawn(move || {
            TOKEN.set(Some(token));
            if n % 3 == 0 {
                thread::park();
            }
            assert_ne!(n % 3, 1, "meant");
        }));
    }
    yield_now();
    for (n, handle) in handles.into_iter().enumerate() {
        if n % 3 == 0 {
            handle.kill();
        }
        assert_eq!(handle.join().is_ok(), n % 3 == 2);
    }
    assert_eq!(Rc::strong_count(&token), 1);
}
