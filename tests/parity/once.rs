//! `Once`, `OnceLock`, `LazyLock`: one initialiser, everybody else waits, and what a panic in it leaves behind.

use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::rt::sync::{LazyLock, Once, OnceLock, OnceState};
use super::rt::thread;
use super::run;

/// Runs `f` and asserts that it panics with a message.
fn message(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}

fn poison(once: &Once) {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        once.call_once(|| resume_unwind(Box::new(())));
    }));
    assert!(caught.is_err());
}

#[test]
fn it_runs_once() {
    run(|| {
        let once = Once::new();
        let mut runs = 0;
        assert!(!once.is_completed());
        for _ in 0..3 {
            once.call_once(|| runs += 1);
            once.call_once_force(|_| runs += 10);
        }
        assert_eq!(runs, 1);
        assert!(once.is_completed());
        once.wait();
        once.wait_force();
    });
}

#[test]
fn a_stampede_runs_it_once_and_waits_for_it() {
    run(|| {
        let once = Arc::new(Once::new());
        let runs = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..10)
            .map(|_| {
                let (once, runs) = (Arc::clone(&once), Arc::clone(&runs));
                thread::spawn(move || {
                    for _ in 0..4 {
                        thread::yield_now();
                    }
                    once.call_once(|| {
                        thread::sleep(Duration::from_millis(5));
                        runs.fetch_add(1, Ordering::AcqRel);
                    });
                    assert_eq!(runs.load(Ordering::Acquire), 1);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_panic_poisons_until_it_is_forced() {
    run(|| {
        let once = Once::new();
        poison(&once);
        assert!(!once.is_completed());
        let said = "Once instance has previously been poisoned";
        assert_eq!(message(|| once.call_once(|| unreachable!())), said);
        assert_eq!(message(|| once.wait()), said);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            once.call_once_force(|state| {
                assert!(state.is_poisoned());
                resume_unwind(Box::new(()));
            });
        }));
        assert!(caught.is_err());
        let mut runs = 0;
        once.call_once_force(|state| {
            assert!(state.is_poisoned());
            runs += 1;
        });
        once.call_once(|| runs += 1);
        assert_eq!(runs, 1);
        assert!(once.is_completed());
    });
}

#[test]
fn waiters_wait_for_the_forced_run() {
    run(|| {
        let once = Arc::new(Once::new());
        poison(&once);
        let forced = {
            let once = Arc::clone(&once);
            thread::spawn(move || {
                once.call_once_force(|state| {
                    assert!(state.is_poisoned());
                    thread::sleep(Duration::from_millis(10));
                });
            })
        };
        // It may still be poisoned or in the middle of the forced run.
        once.wait_force();
        assert!(once.is_completed());
        once.call_once(|| unreachable!());
        forced.join().unwrap();
    });
}

#[test]
fn wait_waits() {
    run(|| {
        let once = Arc::new(Once::new());
        let waiters: Vec<_> = (0..4)
            .map(|n| {
                let once = Arc::clone(&once);
                thread::spawn(move || {
                    if n % 2 == 0 {
                        once.wait();
                    } else {
                        once.wait_force();
                    }
                    assert!(once.is_completed());
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(5));
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        once.call_once(|| thread::sleep(Duration::from_millis(5)));
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn a_once_prints_like_std() {
    run(|| {
        let once = Once::new();
        assert_eq!(format!("{once:?}"), "Once { .. }");
        once.call_once_force(|state| {
            assert_eq!(format!("{state:?}"), "OnceState { poisoned: false }");
        });
    });
}

#[test]
fn a_cell_is_written_once() {
    run(|| {
        let cell = OnceLock::new();
        assert_eq!(cell.get(), None);
        assert_eq!(cell.set(1), Ok(()));
        assert_eq!(cell.set(2), Err(2));
        assert_eq!(*cell.get_or_init(|| unreachable!()), 1);
        assert_eq!(*cell.wait(), 1);
        let mut cell = cell.clone();
        *cell.get_mut().unwrap() += 1;
        assert_eq!(cell.take(), Some(2));
        assert_eq!(cell.get(), None);
        assert_eq!(cell.take(), None);
        assert_eq!(*cell.get_or_init(|| 3), 3);
        assert_eq!(cell.into_inner(), Some(3));
    });
}

#[test]
fn one_of_many_fills_the_cell() {
    run(|| {
        let cell = Arc::new(OnceLock::new());
        let calls = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let (cell, calls) = (Arc::clone(&cell), Arc::clone(&calls));
                thread::spawn(move || {
                    let value = *cell.get_or_init(|| {
                        calls.fetch_add(1, Ordering::AcqRel);
                        thread::sleep(Duration::from_millis(2));
                        n
                    });
                    assert_eq!(cell.set(99), Err(99));
                    value
                })
            })
            .collect();
        let first = *cell.wait();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), first);
        }
        assert_eq!(calls.load(Ordering::Acquire), 1);
    });
}

#[test]
fn a_panic_leaves_the_cell_empty() {
    run(|| {
        let cell = OnceLock::new();
        for _ in 0..2 {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                cell.get_or_init(|| resume_unwind(Box::new(())));
            }));
            assert!(caught.is_err());
            assert_eq!(cell.get(), None);
        }
        assert_eq!(cell.get_or_init(|| "third time"), &"third time");
    });
}

#[test]
fn waiters_try_after_a_panic() {
    run(|| {
        let cell = Arc::new(OnceLock::new());
        let first = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                cell.get_or_init(|| {
                    thread::sleep(Duration::from_millis(5));
                    resume_unwind(Box::new(()))
                });
            })
        };
        let others: Vec<_> = (0..3)
            .map(|n| {
                let cell = Arc::clone(&cell);
                thread::spawn(move || *cell.get_or_init(|| n))
            })
            .collect();
        let value = *cell.wait();
        for other in others {
            assert_eq!(other.join().unwrap(), value);
        }
        // With threads that run in parallel it may have come last, and found a value.
        let _ = first.join();
    });
}

#[test]
fn a_cell_drops_its_value() {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }
    run(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        drop(OnceLock::<Counts>::new());
        drop(OnceLock::from(Counts(Arc::clone(&drops))));
        assert_eq!(drops.load(Ordering::Acquire), 1);
        let count = Counts(Arc::clone(&drops));
        drop(LazyLock::new(move || count));
        assert_eq!(drops.load(Ordering::Acquire), 2);
    });
}

#[test]
fn a_cell_may_refer_to_what_dies_with_it() {
    // Compiles only if dropping the cell does not count as a use of its value.
    struct Holder<'a>(OnceLock<&'a Holder<'a>>);
    run(|| {
        let holder = Holder(OnceLock::new());
        assert!(holder.0.set(&holder).is_ok());
        assert!(holder.0.get().is_some());
    });
}

#[test]
fn a_cell_has_the_traits_of_std() {
    fn all<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    trait NotSync<A> {
        fn holds() {}
    }
    impl<T: ?Sized> NotSync<()> for T {}
    impl<T: ?Sized + Sync> NotSync<u8> for T {}
    run(|| {
        all::<(Once, OnceLock<String>, LazyLock<String>)>();
        fn sends<T: Send>() {}
        sends::<OnceState>();
        <OnceLock<std::cell::Cell<u8>> as NotSync<_>>::holds();
        let cell = OnceLock::from(5);
        assert_eq!(cell, OnceLock::from(5));
        assert_ne!(cell, OnceLock::default());
        assert_eq!(format!("{cell:?}"), "OnceLock(5)");
        assert_eq!(format!("{:?}", OnceLock::<u8>::new()), "OnceLock(<uninit>)");
    });
}

#[test]
fn a_lazy_value_is_made_at_its_first_use() {
    run(|| {
        let calls = AtomicUsize::new(0);
        let mut lazy = LazyLock::new(|| {
            calls.fetch_add(1, Ordering::AcqRel);
            92
        });
        assert_eq!(format!("{lazy:?}"), "LazyLock(<uninit>)");
        assert_eq!(
            (LazyLock::get(&lazy), calls.load(Ordering::Acquire)),
            (None, 0)
        );
        assert_eq!(LazyLock::get_mut(&mut lazy), None);
        assert_eq!((*lazy, *LazyLock::force(&lazy)), (92, 92));
        *lazy += 1;
        *LazyLock::force_mut(&mut lazy) += 1;
        *LazyLock::get_mut(&mut lazy).unwrap() += 1;
        assert_eq!(LazyLock::get(&lazy), Some(&95));
        assert_eq!(format!("{lazy:?}"), "LazyLock(95)");
        assert_eq!(calls.load(Ordering::Acquire), 1);
        assert_eq!(*LazyLock::<u8>::default(), 0);
        let mut other = LazyLock::new(|| 1);
        *LazyLock::force_mut(&mut other) += 1;
        assert_eq!(*other, 2);
    });
}

#[test]
fn a_static_lazy_value_is_shared() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    static WORDS: LazyLock<Vec<String>> = LazyLock::new(|| {
        CALLS.fetch_add(1, Ordering::AcqRel);
        thread::sleep(Duration::from_millis(2));
        vec!["a".into(), "b".into()]
    });
    run(|| {
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(|| WORDS.concat())).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), "ab");
        }
        assert_eq!(CALLS.load(Ordering::Acquire), 1);
    });
}

#[test]
fn a_panic_poisons_a_lazy_value() {
    run(|| {
        let said = "LazyLock instance has previously been poisoned";
        let mut lazy: LazyLock<u8> = LazyLock::new(|| resume_unwind(Box::new(())));
        let caught = catch_unwind(AssertUnwindSafe(|| {
            LazyLock::force(&lazy);
        }));
        assert!(caught.is_err());
        for _ in 0..2 {
            assert_eq!(message(|| assert_ne!(*lazy, 0)), said);
            let force_mut = || {
                LazyLock::force_mut(&mut lazy);
            };
            assert_eq!(message(force_mut), said);
            assert_eq!(LazyLock::get(&lazy), None);
        }
    });
}
