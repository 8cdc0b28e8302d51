//! Who comes first: nobody overtakes those who wait.

use super::*;

#[test]
fn a_mutex_is_handed_over_in_order() {
    let _limit = TimeLimit::start(LIMIT);
    let (mutex, log) = (Rc::new(Mutex::new(())), Log::default());
    let guard = mutex.lock().unwrap();
    let handles: Vec<_> = (0..4)
        .map(|n| {
            let (mutex, log) = (Rc::clone(&mutex), log.clone());
            spawn(move || {
                let _guard = mutex.lock().unwrap();
                log.note(n.to_string());
                yield_now();
            })
        })
        .collect();
    settle();
    drop(guard);
    // It belongs to the first in line, although that one has not run yet.
    assert!(is_locked(&mutex));
    drop(mutex.lock().unwrap());
    log.note("root");
    joinall(handles);
    log.says("0 1 2 3 root");
    assert!(!is_locked(&mutex));
}

#[test]
fn nobody_starves_behind_a_loop() {
    let _limit = TimeLimit::start(LIMIT);
    let (mutex, log) = (Rc::new(Mutex::new(())), Log::default());
    let handles = ["a", "b"].map(|name| {
        let (mutex, log) = (Rc::clone(&mutex), log.clone());
        spawn(move || {
            for _ in 0..4 {
                let _guard = mutex.lock().unwrap();
                yield_now();
                log.note(name);
            }
        })
    });
    joinall(handles);
    log.says("a b a b a b a b");
}

/// Spawns readers (`r`) and writers (`w`) in this order, each of which notes when it comes in and when it goes.
fn queue_up(lock: &Rc<RwLock<()>>, log: &Log, kinds: &str) -> Vec<JoinHandle<()>> {
    let spawn_one = |(n, kind)| {
        let (lock, log) = (Rc::clone(lock), log.clone());
        spawn(move || {
            let _guards = match kind {
                'r' => (Some(lock.read().unwrap()), None),
                _ => (None, Some(lock.write().unwrap())),
            };
            log.note(format!("+{kind}{n}"));
            yield_now();
            log.note(format!("-{kind}{n}"));
        })
    };
    let handles = kinds.chars().enumerate().map(spawn_one).collect();
    settle();
    handles
}

#[test]
fn readers_and_writers_come_in_order() {
    let _limit = TimeLimit::start(LIMIT);
    let (lock, log) = (Rc::new(RwLock::new(())), Log::default());
    let writer = lock.write().unwrap();
    let handles = queue_up(&lock, &log, "rrwrwwr");
    drop(writer);
    assert!(lock.try_read().is_err(), "somebody waits");
    assert!(joinall(handles).iter().all(Result::is_ok));
    log.says("+r0 +r1 -r0 -r1 +w2 -w2 +r3 -r3 +w4 -w4 +w5 -w5 +r6 -r6");
    assert!(lock.try_write().is_ok());
}

#[test]
fn a_reader_does_not_overtake_a_waiting_writer() {
    let _limit = TimeLimit::start(LIMIT);
    let (lock, log) = (Rc::new(RwLock::new(())), Log::default());
    let reader = lock.read().unwrap();
    let handles = queue_up(&lock, &log, "wrr");
    log.says("");
    drop(reader);
    joinall(handles);
    log.says("+w0 -w0 +r1 +r2 -r1 -r2");
}

#[test]
fn readers_move_up_when_the_writer_before_them_leaves() {
    let _limit = TimeLimit::start(LIMIT);
    let (lock, log) = (Rc::new(RwLock::new(())), Log::default());
    let reader = lock.read().unwrap();
    let mut handles = queue_up(&lock, &log, "wrrw");
    handles.remove(0).kill();
    settle();
    log.says("+r1 +r2 -r1 -r2");
    drop(reader);
    assert!(joinall(handles).iter().all(Result::is_ok));

    let (reader, log) = (lock.read().unwrap(), Log::default());
    let late = {
        let lock = Rc::clone(&lock);
        spawn(move || timeout(SHORT, || drop(lock.write())).is_err())
    };
    settle();
    let handles = queue_up(&lock, &log, "r");
    assert!(late.join().unwrap());
    joinall(handles);
    log.says("+r0 -r0");
    drop(reader);
    assert!(lock.try_write().is_ok());
}

#[test]
fn downgrading_lets_in_the_readers_that_are_first_in_line() {
    let _limit = TimeLimit::start(LIMIT);
    let (lock, log) = (Rc::new(RwLock::new(())), Log::default());
    let writer = lock.write().unwrap();
    let handles = queue_up(&lock, &log, "rrwr");
    let reader = RwLockWriteGuard::downgrade(writer);
    settle();
    log.says("+r0 +r1 -r0 -r1");
    drop(reader);
    joinall(handles);
    log.says("+r0 +r1 -r0 -r1 +w2 -w2 +r3 -r3");
}

#[test]
fn a_condvar_notifies_in_order() {
    let _limit = TimeLimit::start(LIMIT);
    let (pair, log) = (Rc::new((Mutex::new(()), Condvar::new())), Log::default());
    let mut handles: Vec<_> = (0..4)
        .map(|n| {
            let (pair, log) = (Rc::clone(&pair), log.clone());
            spawn(move || {
                let _guard = pair.1.wait(pair.0.lock().unwrap()).unwrap();
                log.note(n.to_string());
            })
        })
        .collect();
    settle();
    let killed = handles.remove(1);
    killed.kill();
    assert!(!pair.0.is_poisoned(), "it had let go of the mutex");
    pair.1.notify_one();
    settle();
    log.says("0");
    // The killed one does not count.
    pair.1.notify_one();
    settle();
    log.says("0 2");
    pair.1.notify_all();
    joinall(handles);
    log.says("0 2 3");
}

#[test]
fn a_condvar_works_with_several_mutexes() {
    let _limit = TimeLimit::start(LIMIT);
    let shared = Rc::new((Mutex::new(1), Mutex::new(2), Condvar::new()));
    let handles = [0, 1].map(|n| {
        let shared = Rc::clone(&shared);
        spawn(move || {
            let mutex = if n == 0 { &shared.0 } else { &shared.1 };
            *shared.2.wait(mutex.lock().unwrap()).unwrap()
        })
    });
    settle();
    shared.2.notify_all();
    let values = joinall(handles).into_iter().map(Result::unwrap);
    assert_eq!(values.collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn permits_are_given_out_in_order() {
    let _limit = TimeLimit::start(LIMIT);
    let (semaphore, log) = (Rc::new(Semaphore::new(2)), Log::default());
    let both = semaphore.acquire_many(2);
    let handles: Vec<_> = [1, 3, 1, 2]
        .into_iter()
        .map(|n| {
            let (semaphore, log) = (Rc::clone(&semaphore), log.clone());
            spawn(move || {
                semaphore.acquire_many(n).forget();
                log.note(n.to_string());
            })
        })
        .collect();
    settle();
    drop(both);
    settle();
    // One has taken a permit; the other is too few for the next, and not for those behind it.
    log.says("1");
    assert_eq!(semaphore.available(), 1);
    assert!(semaphore.try_acquire().is_none());
    semaphore.add_permits(1);
    settle();
    log.says("1");
    semaphore.release();
    settle();
    log.says("1 3");
    semaphore.add_permits(4);
    joinall(handles);
    log.says("1 3 1 2");
    assert_eq!(semaphore.available(), 1);
    assert!(semaphore.try_acquire_many(2).is_none());
    assert!(semaphore.try_acquire_many(0).is_some());
}

#[test]
fn permits_go_to_those_behind_one_that_leaves() {
    let _limit = TimeLimit::start(LIMIT);
    let semaphore = Rc::new(Semaphore::new(1));
    let wants = |n| {
        let semaphore = Rc::clone(&semaphore);
        spawn(move || drop(semaphore.acquire_many(n)))
    };
    let (many, one) = (wants(5), wants(1));
    settle();
    assert!(!one.is_finished());
    many.kill();
    one.join().unwrap();

    let permit = semaphore.acquire();
    let theirs = Rc::clone(&semaphore);
    let late = spawn(move || theirs.acquire_timeout(SHORT).is_none());
    let next = {
        yield_now();
        wants(1)
    };
    assert!(late.join().unwrap());
    drop(permit);
    next.join().unwrap();
    assert!(semaphore.acquire_timeout(Duration::MAX).is_some());
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn a_semaphore_does_not_count_beyond_its_range() {
    let _limit = TimeLimit::start(LIMIT);
    let semaphore = Semaphore::new(usize::MAX);
    assert!(catch_unwind(|| semaphore.release()).is_err());
    assert_eq!(semaphore.available(), usize::MAX);
    assert_eq!(
        format!("{:?} {:?}", Semaphore::new(1), Semaphore::new(2).acquire()),
        "Semaphore { available: 1, .. } SemaphoreGuard { permits: 1, .. }"
    );
}

#[test]
fn a_reentrant_lock_that_an_ended_thread_has_leaked_stays_locked() {
    let _limit = TimeLimit::start(LIMIT);
    let lock = ReentrantLock::new(());
    let on_a_thread = |f: &(dyn Fn() + Sync)| {
        std::thread::scope(|scope| scope.spawn(f).join().unwrap());
    };
    on_a_thread(&|| std::mem::forget(lock.lock()));
    for _ in 0..10 {
        // Their thread-locals mostly lie where those of the owner were.
        on_a_thread(&|| assert!(lock.try_lock().is_none()));
    }
}

#[test]
fn a_reentrant_lock_belongs_to_a_green_thread() {
    let _limit = TimeLimit::start(LIMIT);
    let (lock, log) = (Rc::new(ReentrantLock::new(Cell::new(0))), Log::default());
    let handles = ["a", "b", "c"].map(|name| {
        let (lock, log) = (Rc::clone(&lock), log.clone());
        spawn(move || {
            let outer = lock.lock();
            yield_now();
            for _ in 0..2 {
                let inner = lock.lock();
                yield_now();
                inner.set(inner.get() + 1);
                log.note(name);
            }
            assert!(lock.try_lock().is_some());
            drop(outer);
        })
    });
    settle();
    assert!(joinall(handles).iter().all(Result::is_ok));
    log.says("a a b b c c");
    let mine = lock.lock();
    assert_eq!(format!("{lock:?} {mine:?}"), {
        "ReentrantLock { data: Cell { value: 6 }, .. } Cell { value: 6 }"
    });
    let theirs = Rc::clone(&lock);
    let other = spawn(move || (format!("{theirs:?}"), theirs.try_lock().is_none()));
    assert_eq!(other.join().unwrap(), {
        ("ReentrantLock { data: <locked>, .. }".to_owned(), true)
    });
    let theirs = Rc::clone(&lock);
    let killed = spawn(move || drop(theirs.lock()));
    settle();
    killed.kill();
    drop(mine);
    let theirs = Rc::clone(&lock);
    spawn(move || theirs.lock().get()).join().unwrap();
}
