//! `RwLock`: readers together, writers alone, poisoning by writers only.

use std::panic::{RefUnwindSafe, UnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::time::Duration;

use super::rt::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use super::rt::thread;
use super::run;

/// A lock that a thread has panicked with while it wrote.
fn poisoned(value: u32) -> Arc<RwLock<u32>> {
    let lock = Arc::new(RwLock::new(value));
    let theirs = Arc::clone(&lock);
    let result = thread::spawn(move || {
        let _guard = theirs.write().unwrap();
        resume_unwind(Box::new(()));
    })
    .join();
    assert!(result.is_err());
    lock
}

#[test]
fn readers_share_and_writers_do_not() {
    run(|| {
        let lock = RwLock::new(1);
        let (one, other) = (lock.read().unwrap(), lock.try_read().unwrap());
        assert_eq!(*one + *other, 2);
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        drop(one);
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        drop(other);
        let mut writer = lock.try_write().unwrap();
        *writer = 2;
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
        drop(writer);
        assert_eq!(*lock.read().unwrap(), 2);
        *lock.write().unwrap() = 3;
        assert_eq!(lock.into_inner().unwrap(), 3);
    });
}

#[test]
fn a_mix_of_readers_and_writers() {
    run(|| {
        let lock = Arc::new(RwLock::new(0u32));
        // Readers inside, or -1 for a writer.
        let inside = Arc::new(AtomicIsize::new(0));
        let threads: Vec<_> = (0..8u32)
            .map(|n| {
                let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
                thread::spawn(move || {
                    for round in 0..100 {
                        if (round * 7 + n).is_multiple_of(5) {
                            let mut guard = lock.write().unwrap();
                            assert_eq!(inside.swap(-1, Ordering::AcqRel), 0);
                            thread::yield_now();
                            *guard += 1;
                            assert_eq!(inside.swap(0, Ordering::AcqRel), -1);
                        } else {
                            let guard = lock.read().unwrap();
                            assert!(inside.fetch_add(1, Ordering::AcqRel) >= 0);
                            let before = *guard;
                            thread::yield_now();
                            assert_eq!(*guard, before);
                            assert!(inside.fetch_sub(1, Ordering::AcqRel) > 0);
                        }
                        if round % 3 == 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*lock.read().unwrap(), 8 * 100 / 5);
    });
}

#[test]
fn a_writer_waits_for_readers_and_readers_for_a_writer() {
    run(|| {
        let lock = Arc::new(RwLock::new(0));
        let reader = lock.read().unwrap();
        let written = Arc::new(AtomicBool::new(false));
        let writer = {
            let (lock, written) = (Arc::clone(&lock), Arc::clone(&written));
            thread::spawn(move || {
                let mut guard = lock.write().unwrap();
                written.store(true, Ordering::Release);
                thread::sleep(Duration::from_millis(10));
                *guard = 1;
            })
        };
        thread::sleep(Duration::from_millis(5));
        assert!(!written.load(Ordering::Acquire));
        drop(reader);
        while !written.load(Ordering::Acquire) {
            thread::yield_now();
        }
        assert_eq!(*lock.read().unwrap(), 1);
        writer.join().unwrap();
    });
}

#[test]
fn a_panicking_writer_poisons() {
    run(|| {
        let lock = poisoned(7);
        assert!(lock.is_poisoned());
        assert_eq!(*lock.read().unwrap_err().into_inner(), 7);
        assert!(matches!(lock.try_read(), Err(TryLockError::Poisoned(_))));
        assert!(matches!(lock.try_write(), Err(TryLockError::Poisoned(_))));
        let guard = lock.write().unwrap_or_else(PoisonError::into_inner);
        assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
        drop(guard);
        lock.clear_poison();
        assert_eq!(*lock.write().unwrap(), 7);
    });
}

#[test]
fn a_panicking_reader_does_not_poison() {
    run(|| {
        let lock = Arc::new(RwLock::new(7));
        let theirs = Arc::clone(&lock);
        let result = thread::spawn(move || {
            let _guard = theirs.read().unwrap();
            resume_unwind(Box::new(()));
        })
        .join();
        assert!(result.is_err());
        assert_eq!(*lock.write().unwrap(), 7);
    });
}

#[test]
fn a_lock_taken_while_unwinding_does_not_poison() {
    struct Increments(Arc<RwLock<u32>>);
    impl Drop for Increments {
        fn drop(&mut self) {
            *self.0.write().unwrap() += 1;
        }
    }
    run(|| {
        let lock = Arc::new(RwLock::new(1));
        let theirs = Arc::clone(&lock);
        let result = thread::spawn(move || {
            let _increments = Increments(theirs);
            resume_unwind(Box::new(()));
        })
        .join();
        assert!(result.is_err());
        assert_eq!(*lock.read().unwrap(), 2);
    });
}

#[test]
fn a_downgraded_writer_is_a_reader() {
    run(|| {
        let lock = Arc::new(RwLock::new(0));
        let mut writer = lock.write().unwrap();
        let late = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || *lock.read().unwrap())
        };
        thread::yield_now();
        *writer = 1;
        let reader = RwLockWriteGuard::downgrade(writer);
        assert_eq!(late.join().unwrap(), 1);
        assert!(lock.try_write().is_err());
        assert_eq!(*reader + *lock.read().unwrap(), 2);
        drop(reader);
        assert!(lock.try_write().is_ok());
    });
}

#[test]
fn owners_need_no_lock() {
    run(|| {
        let mut lock = RwLock::new(String::from("a"));
        lock.get_mut().unwrap().push('b');
        assert_eq!(lock.into_inner().unwrap(), "ab");

        let mut lock = Arc::into_inner(poisoned(1)).unwrap();
        *lock.get_mut().unwrap_err().into_inner() = 2;
        assert_eq!(lock.into_inner().unwrap_err().into_inner(), 2);
    });
}

#[test]
fn values_may_be_unsized() {
    run(|| {
        let lock: &RwLock<[i32]> = &RwLock::new([1, 2, 3]);
        lock.write().unwrap()[0] = 4;
        assert_eq!(&*lock.read().unwrap(), &[4, 2, 3]);
    });
}

#[test]
fn it_prints_like_std() {
    run(|| {
        let lock = RwLock::new(5);
        let reader = lock.read().unwrap();
        assert_eq!(
            format!("{lock:?}"),
            "RwLock { data: 5, poisoned: false, .. }"
        );
        assert_eq!(format!("{reader:?} {reader}"), "5 5");
        drop(reader);
        let mut writer = lock.write().unwrap();
        *writer = 5;
        assert_eq!(
            format!("{lock:?}"),
            "RwLock { data: <locked>, poisoned: false, .. }"
        );
        assert_eq!(format!("{writer:?} {writer}"), "5 5");
        assert_eq!(
            format!("{:?}", poisoned(6)),
            "RwLock { data: 6, poisoned: true, .. }"
        );
    });
}

#[test]
fn it_has_the_traits_of_std() {
    fn all<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    fn sync<T: Sync>() {}
    fn is_covariant<'a, 'b>(
        guard: RwLockReadGuard<'a, &'static str>,
        _: &'b str,
    ) -> RwLockReadGuard<'a, &'b str> {
        guard
    }
    trait NotSend<A> {
        fn holds() {}
    }
    impl<T: ?Sized> NotSend<()> for T {}
    impl<T: ?Sized + Send> NotSend<u8> for T {}
    trait NotSync<A> {
        fn holds() {}
    }
    impl<T: ?Sized> NotSync<()> for T {}
    impl<T: ?Sized + Sync> NotSync<u8> for T {}
    run(|| {
        all::<RwLock<u8>>();
        sync::<(RwLockReadGuard<'static, u8>, RwLockWriteGuard<'static, u8>)>();
        // Ambiguous, hence no program, if the trait were there.
        <RwLockReadGuard<'static, u8> as NotSend<_>>::holds();
        <RwLockWriteGuard<'static, u8> as NotSend<_>>::holds();
        <RwLock<std::cell::Cell<u8>> as NotSync<_>>::holds();
        let lock = RwLock::new("x");
        assert_eq!(*is_covariant(lock.read().unwrap(), &String::from("y")), "x");
        assert_eq!(RwLock::<u8>::default().into_inner().unwrap(), 0);
        assert_eq!(RwLock::from("x").into_inner().unwrap(), "x");
    });
}
