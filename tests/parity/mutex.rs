//! `Mutex`: exclusion, poisoning, and what can be seen without the lock.

use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::rt::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use super::rt::thread;
use super::run;

/// A mutex that a thread has panicked with.
fn poisoned(value: u32) -> Arc<Mutex<u32>> {
    let mutex = Arc::new(Mutex::new(value));
    let theirs = Arc::clone(&mutex);
    let result = thread::spawn(move || {
        let _guard = theirs.lock().unwrap();
        resume_unwind(Box::new(()));
    })
    .join();
    assert!(result.is_err());
    mutex
}

#[test]
fn the_lock_is_free_when_the_guard_is_gone() {
    run(|| {
        let mutex = Mutex::new(1);
        for _ in 0..3 {
            *mutex.lock().unwrap() += 1;
        }
        let guard = mutex.try_lock().unwrap();
        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
        drop(guard);
        assert_eq!(*mutex.try_lock().unwrap(), 4);
    });
}

#[test]
fn increments_of_many_threads_add_up() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 200;
    run(|| {
        static TOTAL: Mutex<usize> = Mutex::new(0);
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                thread::spawn(move || {
                    for round in 0..ROUNDS {
                        let mut total = TOTAL.lock().unwrap();
                        let seen = *total;
                        if (round + n) % 7 == 0 {
                            thread::yield_now();
                        }
                        *total = seen + 1;
                        drop(total);
                        if (round + n) % 5 == 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*TOTAL.lock().unwrap(), THREADS * ROUNDS);
    });
}

#[test]
fn one_at_a_time_also_across_waits() {
    run(|| {
        let mutex = Arc::new(Mutex::new(()));
        let inside = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..5)
            .map(|_| {
                let (mutex, inside) = (Arc::clone(&mutex), Arc::clone(&inside));
                thread::spawn(move || {
                    let _guard = mutex.lock().unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::AcqRel), 0);
                    thread::sleep(Duration::from_millis(2));
                    assert_eq!(inside.fetch_sub(1, Ordering::AcqRel), 1);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_panic_with_the_guard_poisons() {
    run(|| {
        let mutex = poisoned(7);
        assert!(mutex.is_poisoned());
        assert_eq!(*mutex.lock().unwrap_err().into_inner(), 7);
        match mutex.try_lock() {
            Err(TryLockError::Poisoned(error)) => assert_eq!(**error.get_ref(), 7),
            other => panic!("{other:?}"),
        }
        // A poisoned mutex is still a lock.
        let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
        drop(guard);
        mutex.clear_poison();
        assert!(!mutex.is_poisoned());
        assert_eq!(*mutex.lock().unwrap(), 7);
    });
}

#[test]
fn a_caught_panic_poisons_too() {
    run(|| {
        let mutex = Mutex::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let mut guard = mutex.lock().unwrap();
            *guard = 1;
            resume_unwind(Box::new(()));
        }));
        assert!(caught.is_err());
        assert_eq!(*mutex.lock().unwrap_err().into_inner(), 1);
    });
}

#[test]
fn a_panic_without_the_guard_does_not_poison() {
    run(|| {
        let mutex = Arc::new(Mutex::new(0));
        let theirs = Arc::clone(&mutex);
        let result = thread::spawn(move || {
            *theirs.lock().unwrap() += 1;
            resume_unwind(Box::new(()));
        })
        .join();
        assert!(result.is_err());
        assert_eq!(*mutex.lock().unwrap(), 1);
    });
}

#[test]
fn a_lock_taken_while_unwinding_does_not_poison() {
    struct Increments(Arc<Mutex<u32>>);
    impl Drop for Increments {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    run(|| {
        let mutex = Arc::new(Mutex::new(1));
        let theirs = Arc::clone(&mutex);
        let result = thread::spawn(move || {
            let _increments = Increments(theirs);
            resume_unwind(Box::new(()));
        })
        .join();
        assert!(result.is_err());
        assert_eq!(*mutex.lock().unwrap(), 2);
    });
}

#[test]
fn waiters_learn_of_the_poison() {
    run(|| {
        let mutex = Arc::new(Mutex::new(()));
        let held = Arc::new(AtomicBool::new(false));
        let owner = {
            let (mutex, held) = (Arc::clone(&mutex), Arc::clone(&held));
            thread::spawn(move || {
                let _guard = mutex.lock().unwrap();
                held.store(true, Ordering::Release);
                thread::sleep(Duration::from_millis(10));
                resume_unwind(Box::new(()));
            })
        };
        while !held.load(Ordering::Acquire) {
            thread::yield_now();
        }
        assert!(mutex.lock().is_err());
        assert!(owner.join().is_err());
    });
}

#[test]
fn owners_need_no_lock() {
    run(|| {
        let mut mutex = Mutex::new(String::from("a"));
        mutex.get_mut().unwrap().push('b');
        assert_eq!(mutex.into_inner().unwrap(), "ab");

        let mut mutex = Arc::into_inner(poisoned(1)).unwrap();
        *mutex.get_mut().unwrap_err().into_inner() = 2;
        assert_eq!(mutex.into_inner().unwrap_err().into_inner(), 2);
    });
}

#[test]
fn the_value_is_dropped_once() {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }
    run(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let inner = Mutex::new(Counts(Arc::clone(&drops))).into_inner().unwrap();
        assert_eq!(drops.load(Ordering::Acquire), 0);
        drop(inner);
        drop(Mutex::new(Counts(Arc::clone(&drops))));
        assert_eq!(drops.load(Ordering::Acquire), 2);
    });
}

#[test]
fn values_may_be_unsized() {
    run(|| {
        let mutex: &Mutex<[i32]> = &Mutex::new([1, 2, 3]);
        mutex.lock().unwrap()[0] = 4;
        assert_eq!(&*mutex.lock().unwrap(), &[4, 2, 3]);
        let shown: Box<Mutex<dyn std::fmt::Debug + Send>> = Box::new(Mutex::new(5));
        assert_eq!(format!("{:?}", &*shown.lock().unwrap()), "5");
    });
}

#[test]
fn it_prints_like_std() {
    run(|| {
        let mutex = Mutex::new(5);
        assert_eq!(
            format!("{mutex:?}"),
            "Mutex { data: 5, poisoned: false, .. }"
        );
        let guard = mutex.lock().unwrap();
        assert_eq!(
            format!("{mutex:?}"),
            "Mutex { data: \"<locked>\", poisoned: false, .. }"
        );
        assert_eq!(format!("{guard:?} {guard}"), "5 5");
        drop(guard);
        assert_eq!(
            format!("{:?}", poisoned(6)),
            "Mutex { data: 6, poisoned: true, .. }"
        );
        assert_eq!(
            poisoned(6).lock().unwrap_err().to_string(),
            "poisoned lock: another task failed inside"
        );
    });
}

#[test]
fn it_has_the_traits_of_std() {
    fn all<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    fn sync<T: Sync>() {}
    trait NotSend<A> {
        fn holds() {}
    }
    impl<T: ?Sized> NotSend<()> for T {}
    impl<T: ?Sized + Send> NotSend<u8> for T {}
    run(|| {
        all::<Mutex<std::cell::RefCell<u8>>>();
        sync::<MutexGuard<'static, u8>>();
        // Ambiguous, hence no program, if the guard were `Send`.
        <MutexGuard<'static, u8> as NotSend<_>>::holds();
        assert_eq!(Mutex::<u8>::default().into_inner().unwrap(), 0);
        assert_eq!(Mutex::from("x").into_inner().unwrap(), "x");
    });
}
