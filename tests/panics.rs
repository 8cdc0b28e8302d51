//! A panic ends its green thread, is told to the joiner, and disturbs nobody else.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use greenhub::thread::{self, Builder};
use greenhub::{joinall, sleep, spawn, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);

/// Calls its function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Asserts that the calling thread's hub still works.
fn the_hub_works() {
    let handle = spawn(|| {
        sleep(Duration::from_micros(100));
        spawn(|| 21).join().unwrap() * 2
    });
    assert_eq!(handle.join().unwrap(), 42);
}

#[test]
fn a_payload_need_not_be_joined() {
    let _limit = TimeLimit::start(LIMIT);
    drop(spawn(|| panic!("nobody joins")));
    let detached = spawn(|| -> () { panic!("nobody joins either") });
    yield_now();
    drop(detached);
    the_hub_works();
}

#[test]
fn many_green_threads_may_panic() {
    let _limit = TimeLimit::start(LIMIT);
    // `resume_unwind` prints nothing.
    let handles: Vec<_> = (0..5_000u32)
        .map(|i| {
            spawn(move || {
                if i % 3 == 0 {
                    yield_now();
                }
                resume_unwind(Box::new(i));
            })
        })
        .collect();
    for (i, result) in joinall(handles).into_iter().enumerate() {
        assert_eq!(*result.unwrap_err().downcast::<u32>().unwrap(), i as u32);
    }
    the_hub_works();
}

#[test]
fn a_panicking_destructor_of_a_local_is_returned() {
    let _limit = TimeLimit::start(LIMIT);
    let handle = spawn(|| {
        let _local = OnDrop(|| panic_any(1u8));
    });
    assert_eq!(*handle.join().unwrap_err().downcast::<u8>().unwrap(), 1);
    the_hub_works();
}

#[test]
fn a_panicking_destructor_of_a_capture_is_returned() {
    let _limit = TimeLimit::start(LIMIT);
    let capture = OnDrop(|| panic_any(2u8));
    let handle = spawn(move || {
        let _ = &capture;
    });
    assert_eq!(*handle.join().unwrap_err().downcast::<u8>().unwrap(), 2);
    the_hub_works();
}

#[test]
fn a_panicking_destructor_of_a_result_ends_nothing() {
    let _limit = TimeLimit::start(LIMIT);
    let drops = Rc::new(Cell::new(0));
    let bad = || {
        let drops = Rc::clone(&drops);
        OnDrop(move || {
            drops.set(drops.get() + 1);
            resume_unwind(Box::new(()));
        })
    };
    // Dropped by the green thread, because its handle is gone.
    let result = bad();
    drop(spawn(move || result));
    yield_now();
    assert_eq!(drops.get(), 1);
    // Dropped with the handle, whose owner is not to blame either.
    let result = bad();
    let handle = spawn(move || result);
    yield_now();
    drop(handle);
    assert_eq!(drops.get(), 2);
    the_hub_works();
}

#[test]
fn a_green_thread_that_joins_itself_panics() {
    let _limit = TimeLimit::start(LIMIT);
    let slot: Rc<RefCell<Option<thread::JoinHandle<()>>>> = Rc::default();
    let outcome = Rc::new(RefCell::new(None));
    let (mine, told) = (Rc::clone(&slot), Rc::clone(&outcome));
    let handle = spawn(move || {
        let me = mine.borrow_mut().take().unwrap();
        let caught = catch_unwind(AssertUnwindSafe(|| me.join())).map(drop);
        *told.borrow_mut() = Some(caught);
    });
    *slot.borrow_mut() = Some(handle);
    yield_now();
    let payload = outcome.borrow_mut().take().unwrap().unwrap_err();
    assert!(
        payload
            .downcast::<String>()
            .unwrap()
            .contains("join itself")
    );
    the_hub_works();
}

#[test]
fn a_joiner_that_panics_leaves_its_target_alone() {
    let _limit = TimeLimit::start(LIMIT);
    let ended = Rc::new(Cell::new(false));
    let flag = Rc::clone(&ended);
    let target = spawn(move || {
        sleep(Duration::from_millis(2));
        flag.set(true);
    });
    let joiner = spawn(move || {
        let _target = target;
        panic!("with the handle in its hands");
    });
    assert!(joiner.join().is_err());
    assert!(!ended.get());
    while !ended.get() {
        yield_now();
    }
}

#[test]
fn catch_unwind_works_across_switches() {
    let _limit = TimeLimit::start(LIMIT);
    let handles: Vec<_> = (0..50u64)
        .map(|i| {
            spawn(move || {
                let caught = catch_unwind(|| {
                    sleep(Duration::from_micros(i * 37 % 100));
                    yield_now();
                    resume_unwind(Box::new(i));
                });
                sleep(Duration::from_micros(50));
                *caught.unwrap_err().downcast::<u64>().unwrap()
            })
        })
        .collect();
    for (i, result) in joinall(handles).into_iter().enumerate() {
        assert_eq!(result.unwrap(), i as u64);
    }
}

#[test]
fn others_are_not_panicking_while_one_waits_in_a_destructor() {
    let _limit = TimeLimit::start(LIMIT);
    let unwinding = Rc::new(Cell::new(false));
    let flag = Rc::clone(&unwinding);
    let handle = spawn(move || {
        let _waits = OnDrop(move || {
            flag.set(true);
            sleep(Duration::from_millis(10));
            assert!(thread::panicking());
            flag.set(false);
        });
        panic!("unwinds slowly");
    });
    yield_now();
    assert!(unwinding.get());
    assert!(!thread::panicking(), "the root");
    assert!(
        !spawn(thread::panicking).join().unwrap(),
        "a fresh green thread"
    );
    assert!(unwinding.get());
    assert!(handle.join().is_err());
}

#[test]
fn two_green_threads_unwind_interleaved() {
    let _limit = TimeLimit::start(LIMIT);
    let order = Rc::new(RefCell::new(Vec::new()));
    let handles: Vec<_> = (0..3)
        .map(|i| {
            let order = Rc::clone(&order);
            spawn(move || {
                let note = |what: &'static str| order.borrow_mut().push((what, i));
                let _outer = OnDrop(|| note("outer"));
                let _inner = OnDrop(|| {
                    note("inner");
                    yield_now();
                });
                resume_unwind(Box::new(i));
            })
        })
        .collect();
    for (i, result) in joinall(handles).into_iter().enumerate() {
        assert_eq!(*result.unwrap_err().downcast::<i32>().unwrap(), i as i32);
    }
    let expected = ["inner", "outer"]
        .into_iter()
        .flat_map(|what| (0..3).map(move |i| (what, i)));
    assert_eq!(*order.borrow(), expected.collect::<Vec<_>>());
    the_hub_works();
}

#[test]
fn the_root_may_panic_with_green_threads_alive() {
    let _limit = TimeLimit::start(LIMIT);
    let ended = Rc::new(Cell::new(false));
    let flag = Rc::clone(&ended);
    let other = spawn(move || {
        sleep(Duration::from_millis(1));
        flag.set(true);
    });
    let caught = catch_unwind(AssertUnwindSafe(|| {
        // The root drives its hub from within the unwinding.
        let _waits = OnDrop(|| {
            assert!(thread::panicking());
            sleep(Duration::from_millis(5));
        });
        resume_unwind(Box::new(()));
    }));
    assert!(caught.is_err());
    assert!(ended.get());
    other.join().unwrap();
}

/// Keeps what is logged, because libtest shows only what is printed.
struct Kept;

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn an_uncaught_panic_is_logged_with_name_and_id() {
    let _limit = TimeLimit::start(LIMIT);
    log::set_logger(&Kept).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let builder = Builder::new().name("unlucky".to_owned());
    let handle = builder.spawn(|| panic!("number {}", 13)).unwrap();
    let id = format!("{:?}", handle.thread().id());
    let number = id
        .trim_start_matches("ThreadId(")
        .trim_end_matches(')')
        .to_owned();
    assert!(handle.join().is_err());
    let logged = LOGGED.lock().unwrap();
    let found = logged.iter().any(|line| {
        line.contains("'unlucky'") && line.contains(&number) && line.contains("number 13")
    });
    assert!(found, "{logged:?}");
}
