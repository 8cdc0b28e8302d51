//! Scoped threads: they borrow, and the scope never ends before them.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::rt::thread::{self, Builder, Scope, ScopedJoinHandle};
use super::run;

/// Long enough for a scope that does not wait to be caught.
const SHORT: Duration = Duration::from_millis(10);

#[test]
fn borrows_of_both_kinds_end_with_the_scope() {
    run(|| {
        let numbers = [1, 2, 3];
        let mut total = 0;
        let mut text = String::from("a");
        let returned = thread::scope(|s| {
            s.spawn(|| {
                thread::sleep(SHORT);
                total = numbers.iter().sum();
            });
            s.spawn(|| text.push('b'));
            let len = s.spawn(|| numbers.len());
            len.join().unwrap()
        });
        assert_eq!((returned, total, text.as_str()), (3, 6, "ab"));
    });
}

#[test]
fn a_chunked_slice_is_filled_by_one_thread_each() {
    run(|| {
        let mut table = [0u32; 64];
        thread::scope(|s| {
            for (i, chunk) in table.chunks_mut(8).enumerate() {
                s.spawn(move || {
                    for cell in chunk {
                        thread::yield_now();
                        *cell = i as u32;
                    }
                });
            }
        });
        assert!(
            table
                .iter()
                .enumerate()
                .all(|(i, &cell)| cell as usize == i / 8)
        );
    });
}

#[test]
fn threads_spawned_inside_are_joined_too() {
    run(|| {
        let ended = AtomicUsize::new(0);
        thread::scope(|s| {
            s.spawn(|| {
                s.spawn(|| {
                    s.spawn(|| {
                        thread::sleep(SHORT);
                        ended.fetch_add(1, Ordering::AcqRel);
                    });
                    ended.fetch_add(1, Ordering::AcqRel);
                });
                ended.fetch_add(1, Ordering::AcqRel);
            });
        });
        assert_eq!(ended.load(Ordering::Acquire), 3);
    });
}

#[test]
fn scopes_nest() {
    run(|| {
        let outer = AtomicUsize::new(1);
        let sum = thread::scope(|s| {
            let handle = s.spawn(|| {
                let inner = AtomicUsize::new(10);
                thread::scope(|s| {
                    for _ in 0..4 {
                        s.spawn(|| {
                            thread::sleep(Duration::from_millis(1));
                            inner.fetch_add(1, Ordering::AcqRel);
                            outer.fetch_add(1, Ordering::AcqRel);
                        });
                    }
                });
                inner.load(Ordering::Acquire)
            });
            handle.join().unwrap()
        });
        assert_eq!((sum, outer.load(Ordering::Acquire)), (14, 5));
    });
}

#[test]
fn a_joined_panic_is_the_joiners_affair() {
    run(|| {
        let survived = thread::scope(|s| {
            let handle = s.spawn(|| -> () { panic_any(7u8) });
            *handle.join().unwrap_err().downcast::<u8>().unwrap()
        });
        assert_eq!(survived, 7);
    });
}

#[test]
fn an_unjoined_panic_makes_the_scope_panic_after_all_have_ended() {
    run(|| {
        let ended = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            thread::scope(|s| {
                s.spawn(|| panic!("first"));
                s.spawn(|| {
                    thread::sleep(SHORT);
                    ended.fetch_add(1, Ordering::AcqRel);
                });
            })
        }));
        let payload = result.unwrap_err();
        assert_eq!(
            payload.downcast_ref::<&str>(),
            Some(&"a scoped thread panicked")
        );
        assert_eq!(ended.load(Ordering::Acquire), 1);
    });
}

#[test]
fn a_panic_of_the_scope_itself_waits_for_its_threads() {
    run(|| {
        let ended = AtomicBool::new(false);
        let result = catch_unwind(AssertUnwindSafe(|| {
            thread::scope(|s| -> () {
                s.spawn(|| {
                    thread::sleep(SHORT);
                    ended.store(true, Ordering::Release);
                });
                s.spawn(|| panic!("loses to the scope's own panic"));
                panic_any(11u8)
            })
        }));
        assert!(ended.load(Ordering::Acquire));
        assert_eq!(*result.unwrap_err().downcast::<u8>().unwrap(), 11);
    });
}

#[test]
fn a_result_is_dropped_before_the_scope_ends() {
    struct SpawnsWhenDropped<'scope, 'env>(&'scope Scope<'scope, 'env>, &'env AtomicBool);
    impl Drop for SpawnsWhenDropped<'_, '_> {
        fn drop(&mut self) {
            thread::sleep(Duration::from_millis(5));
            let ended = self.1;
            self.0.spawn(move || {
                thread::sleep(Duration::from_millis(5));
                ended.store(true, Ordering::Release);
            });
        }
    }
    run(|| {
        let ended = &AtomicBool::new(false);
        thread::scope(|s| {
            s.spawn(move || {
                thread::sleep(Duration::from_millis(5));
                SpawnsWhenDropped(s, ended)
            });
        });
        assert!(ended.load(Ordering::Acquire));
    });
}

#[test]
fn the_builder_names_scoped_threads() {
    run(|| {
        let text = String::from("borrowed");
        thread::scope(|s| {
            let handle: ScopedJoinHandle<'_, usize> = Builder::new()
                .name("scoped".to_owned())
                .stack_size(512 << 10)
                .spawn_scoped(s, || {
                    assert_eq!(thread::current().name(), Some("scoped"));
                    text.len()
                })
                .unwrap();
            assert_eq!(handle.thread().name(), Some("scoped"));
            assert!(format!("{handle:?}").starts_with("ScopedJoinHandle"));
            while !handle.is_finished() {
                thread::yield_now();
            }
            assert_eq!(handle.join().unwrap(), 8);
        });
    });
}

#[test]
fn scoped_threads_run_side_by_side() {
    run(|| {
        let start = Instant::now();
        thread::scope(|s| {
            for _ in 0..50 {
                s.spawn(|| thread::sleep(Duration::from_millis(100)));
            }
        });
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert!(start.elapsed() < Duration::from_secs(4));
    });
}

#[test]
fn scoped_threads_park_and_are_unparked() {
    run(|| {
        let root = thread::current();
        let flag = AtomicBool::new(false);
        thread::scope(|s| {
            let waiter = s.spawn(|| {
                while !flag.load(Ordering::Acquire) {
                    thread::park();
                }
                root.unpark();
            });
            thread::sleep(Duration::from_millis(2));
            flag.store(true, Ordering::Release);
            waiter.thread().unpark();
            thread::park();
        });
    });
}

#[test]
fn an_empty_scope_returns() {
    run(|| assert_eq!(thread::scope(|_| 3), 3));
}

#[test]
fn scope_types_cross_threads() {
    fn shared<T: Send + Sync>() {}
    fn borrows(x: &u8) -> bool {
        thread::scope(|s| s.spawn(|| *x == 42).join().unwrap())
    }
    shared::<ScopedJoinHandle<'static, u8>>();
    run(|| assert!(borrows(&42)));
}
