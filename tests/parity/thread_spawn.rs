//! Spawning and joining: values, panics, names, ids, handles, and when things are dropped.

use std::any::Any;
use std::collections::HashSet;
use std::panic::{catch_unwind, panic_any, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::rt::thread::{self, Builder};
use super::run;

/// Notes its name in a shared list when it is dropped.
struct Noted(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0);
    }
}

/// Yields until `flag` is set.
fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        thread::yield_now();
    }
}

#[test]
fn join_returns_the_value() {
    run(|| {
        let text = String::from("moved in");
        let handle = thread::spawn(move || text + " and out");
        assert_eq!(handle.join().unwrap(), "moved in and out");
    });
}

#[test]
fn join_returns_a_large_value_whole() {
    run(|| {
        let handle = thread::spawn(|| {
            let mut block = [0u8; 16 * 1024];
            for (i, byte) in block.iter_mut().enumerate() {
                *byte = i as u8;
            }
            block
        });
        let block = handle.join().unwrap();
        assert!(block.iter().enumerate().all(|(i, &byte)| byte == i as u8));
    });
}

#[test]
fn join_returns_the_payload_of_a_panic() {
    run(|| {
        struct Unit;
        let literal = thread::spawn(|| -> () { panic!("static string") }).join();
        assert_eq!(
            *literal.unwrap_err().downcast::<&'static str>().unwrap(),
            "static string"
        );

        let number = std::hint::black_box(7);
        let formatted = thread::spawn(move || -> () { panic!("formatted {number}") }).join();
        assert_eq!(
            *formatted.unwrap_err().downcast::<String>().unwrap(),
            "formatted 7"
        );

        let unit = thread::spawn(|| -> () { panic_any(Unit) }).join();
        assert!(unit.unwrap_err().is::<Unit>());

        let boxed = thread::spawn(|| -> () { panic_any(Box::new(413u16) as Box<dyn Any + Send>) });
        let payload = boxed
            .join()
            .unwrap_err()
            .downcast::<Box<dyn Any + Send>>()
            .unwrap();
        assert_eq!(*payload.downcast::<u16>().unwrap(), 413);
    });
}

#[test]
fn join_returns_what_resume_unwind_was_given() {
    run(|| {
        let result: thread::Result<()> = thread::spawn(|| resume_unwind(Box::new(5u8))).join();
        assert_eq!(*result.unwrap_err().downcast::<u8>().unwrap(), 5);
    });
}

#[test]
fn a_panic_caught_inside_does_not_reach_join() {
    run(|| {
        let handle = thread::spawn(|| {
            let caught = catch_unwind(|| panic!("caught")).is_err();
            (caught, thread::panicking())
        });
        assert_eq!(handle.join().unwrap(), (true, false));
    });
}

#[test]
fn a_panic_ends_one_thread_only() {
    run(|| {
        let handles: Vec<_> = (0..20)
            .map(|i| {
                thread::spawn(move || {
                    thread::yield_now();
                    assert!(i % 2 == 0, "odd");
                    i
                })
            })
            .collect();
        for (i, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().ok(), (i % 2 == 0).then_some(i));
        }
    });
}

#[test]
fn a_thread_has_no_name_unless_the_builder_gave_one() {
    run(|| {
        let unnamed = thread::spawn(|| thread::current().name().map(str::to_owned));
        assert_eq!(unnamed.thread().name(), None);
        assert_eq!(unnamed.join().unwrap(), None);

        let long = "ada lovelace ".repeat(50);
        let named = Builder::new()
            .name(long.clone())
            .spawn(|| thread::current().name().map(str::to_owned))
            .unwrap();
        assert_eq!(named.thread().name(), Some(long.as_str()));
        assert_eq!(named.join().unwrap(), Some(long));
    });
}

#[test]
fn ids_are_unique_and_stable() {
    run(|| {
        let handles: Vec<_> = (0..100)
            .map(|_| {
                thread::spawn(|| {
                    let before = thread::current().id();
                    thread::yield_now();
                    (before, thread::current().id())
                })
            })
            .collect();
        let mut seen = HashSet::from([thread::current().id()]);
        for handle in handles {
            let outside = handle.thread().id();
            assert_eq!(handle.thread().clone().id(), outside);
            let (before, after) = handle.join().unwrap();
            assert_eq!(before, outside);
            assert_eq!(after, outside);
            assert!(seen.insert(outside), "{outside:?} was used twice");
        }
        assert_eq!(thread::current().id(), thread::current().id());
        assert_eq!(seen.len(), 101);
    });
}

#[test]
fn is_finished_tells_without_blocking() {
    run(|| {
        let go = Arc::new(AtomicBool::new(false));
        let handle = thread::spawn({
            let go = Arc::clone(&go);
            move || {
                wait_for(&go);
                1234
            }
        });
        thread::sleep(Duration::from_millis(5));
        assert!(!handle.is_finished());
        go.store(true, Ordering::Release);
        let start = Instant::now();
        while !handle.is_finished() {
            assert!(start.elapsed() < Duration::from_secs(10));
            thread::yield_now();
        }
        assert_eq!(handle.join().unwrap(), 1234);
    });
}

#[test]
fn is_finished_is_true_after_a_panic() {
    run(|| {
        let handle = thread::spawn(|| -> () { panic!("to be found out later") });
        while !handle.is_finished() {
            thread::yield_now();
        }
        assert!(handle.join().is_err());
    });
}

#[test]
fn a_dropped_handle_detaches() {
    run(|| {
        let ended = Arc::new(AtomicBool::new(false));
        drop(thread::spawn({
            let ended = Arc::clone(&ended);
            move || {
                thread::sleep(Duration::from_millis(2));
                ended.store(true, Ordering::Release);
            }
        }));
        wait_for(&ended);
    });
}

#[test]
fn a_result_nobody_wants_is_dropped() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }
    run(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let until = |n| {
            while drops.load(Ordering::Acquire) < n {
                thread::yield_now();
            }
            assert_eq!(drops.load(Ordering::Acquire), n);
        };
        let make = || {
            let result = Counted(Arc::clone(&drops));
            thread::spawn(move || result)
        };
        // The handle goes first.
        drop(make());
        until(1);
        // The thread goes first.
        let handle = make();
        while !handle.is_finished() {
            thread::yield_now();
        }
        assert_eq!(drops.load(Ordering::Acquire), 1);
        drop(handle);
        until(2);
        // A payload is a result too.
        let payload = Counted(Arc::clone(&drops));
        drop(thread::spawn(move || panic_any(payload)));
        until(3);
    });
}

#[test]
fn locals_then_captures_are_dropped_before_join_returns() {
    run(|| {
        for panics in [false, true] {
            let list = Arc::new(Mutex::new(Vec::new()));
            let noted = |name| Noted(name, Arc::clone(&list));
            let (capture, first, second) = (noted("capture"), noted("first"), noted("second"));
            let handle = thread::spawn(move || {
                let _capture = &capture;
                let _first = first;
                let _second = second;
                thread::yield_now();
                assert!(!panics, "asked to");
            });
            assert_eq!(handle.join().is_err(), panics);
            // The order of the captures among themselves is the closure's affair.
            assert_eq!(*list.lock().unwrap(), ["second", "first", "capture"]);
        }
    });
}

#[test]
fn captures_are_not_copied() {
    run(|| {
        let block = Box::new([1u8; 64]);
        let here = std::ptr::from_ref(&*block).addr();
        let handle = thread::spawn(move || std::ptr::from_ref(&*block).addr());
        assert_eq!(handle.join().unwrap(), here);
    });
}

#[test]
fn a_handle_may_be_joined_by_another_thread() {
    run(|| {
        let inner = thread::spawn(|| {
            thread::sleep(Duration::from_millis(2));
            6
        });
        let outer = thread::spawn(move || inner.join().unwrap() * 7);
        assert_eq!(outer.join().unwrap(), 42);
    });
}

#[test]
fn threads_spawn_threads() {
    fn sum(depth: u32) -> u32 {
        if depth == 0 {
            return 1;
        }
        let left = thread::spawn(move || sum(depth - 1));
        let right = thread::spawn(move || sum(depth - 1));
        left.join().unwrap() + right.join().unwrap()
    }
    run(|| assert_eq!(sum(7), 128));
}

#[test]
fn a_child_outlives_its_parent() {
    run(|| {
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        let parent = thread::spawn(move || {
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(2));
                flag.store(true, Ordering::Release);
            });
        });
        parent.join().unwrap();
        wait_for(&ended);
    });
}

#[test]
fn a_destructor_may_spawn_and_block_while_its_thread_panics() {
    struct Blocks(Arc<AtomicUsize>);
    impl Drop for Blocks {
        fn drop(&mut self) {
            let ended = Arc::clone(&self.0);
            thread::sleep(Duration::from_millis(2));
            thread::spawn(move || ended.fetch_add(1, Ordering::AcqRel))
                .join()
                .unwrap();
        }
    }
    run(|| {
        let ended = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..4)
            .map(|_| {
                let local = Blocks(Arc::clone(&ended));
                thread::spawn(move || {
                    let _local = local;
                    panic!("unwinds through a blocking destructor");
                })
            })
            .collect();
        for handle in handles {
            let payload = handle.join().unwrap_err();
            assert!(payload.is::<&'static str>());
        }
        assert_eq!(ended.load(Ordering::Acquire), 4);
        assert!(!thread::panicking());
    });
}

#[test]
fn panicking_is_true_in_destructors_of_the_unwinding_thread_only() {
    struct Asks(Arc<Mutex<Vec<bool>>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            let mut answers = vec![thread::panicking()];
            answers.push(thread::spawn(thread::panicking).join().unwrap());
            answers.push(thread::panicking());
            self.0.lock().unwrap().extend(answers);
        }
    }
    run(|| {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let local = Asks(Arc::clone(&answers));
        let handle = thread::spawn(move || {
            let _local = local;
            panic!("asked");
        });
        assert!(handle.join().is_err());
        assert_eq!(*answers.lock().unwrap(), [true, false, true]);
        assert!(!thread::panicking());
    });
}

#[test]
fn a_larger_stack_holds_a_deeper_recursion() {
    fn deep(levels: usize) -> usize {
        let frame = std::hint::black_box([levels as u8; 4096]);
        if levels == 0 {
            return 0;
        }
        deep(levels - 1) + usize::from(frame[levels % 4096] == levels as u8)
    }
    run(|| {
        let handle = Builder::new()
            .stack_size(8 << 20)
            .spawn(|| deep(700))
            .unwrap();
        assert_eq!(handle.join().unwrap(), 700);
    });
}

#[test]
fn handles_and_builders_print() {
    run(|| {
        let handle = Builder::new()
            .name("printed".to_owned())
            .spawn(|| ())
            .unwrap();
        assert!(format!("{handle:?}").starts_with("JoinHandle"));
        assert!(format!("{:?}", handle.thread()).contains("printed"));
        assert!(format!("{:?}", handle.thread().id()).starts_with("ThreadId("));
        assert!(format!("{:?}", Builder::new()).starts_with("Builder"));
        handle.join().unwrap();
    });
}

#[test]
fn handles_cross_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    fn safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    shared::<thread::JoinHandle<u8>>();
    shared::<thread::JoinHandle<std::cell::Cell<u8>>>();
    shared::<thread::Thread>();
    shared::<thread::ThreadId>();
    shared::<thread::Builder>();
    safe::<thread::Thread>();
    safe::<thread::ThreadId>();
    safe::<thread::Builder>();
    assert!(thread::available_parallelism().unwrap().get() >= 1);
}
