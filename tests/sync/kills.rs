//! Waiters and owners that are killed or run into a time limit, and what poisons a lock.

use super::*;

#[test]
fn a_killed_or_late_waiter_leaves_the_line() {
    let _limit = TimeLimit::start(LIMIT);
    for victim in 0..3 {
        let (mutex, log) = (Rc::new(Mutex::new(())), Log::default());
        let guard = mutex.lock().unwrap();
        let mut handles: Vec<_> = (0..3)
            .map(|n| {
                let (mutex, log) = (Rc::clone(&mutex), log.clone());
                spawn(move || {
                    let _guard = mutex.lock().unwrap();
                    log.note(n.to_string());
                })
            })
            .collect();
        settle();
        handles.remove(victim).kill();
        assert!(timeout(SHORT, || drop(mutex.lock())).is_err());
        assert!(is_locked(&mutex));
        drop(guard);
        assert!(joinall(handles).iter().all(Result::is_ok));
        log.says(["1 2", "0 2", "0 1"][victim]);
        assert!(mutex.try_lock().is_ok(), "free, and not poisoned");
    }
}

#[test]
fn a_waiter_that_is_killed_after_the_hand_over_has_the_lock() {
    let _limit = TimeLimit::start(LIMIT);
    let mutex = Rc::new(Mutex::new(0));
    let guard = mutex.lock().unwrap();
    let theirs = Rc::clone(&mutex);
    let first = spawn(move || {
        let mut guard = theirs.lock().unwrap();
        *guard += 1;
        yield_now();
        unreachable!("the kill is met where it next waits");
    });
    let theirs = Rc::clone(&mutex);
    let second = spawn(move || theirs.lock().is_err());
    settle();
    drop(guard);
    first.kill();
    assert!(second.join().unwrap(), "poisoned by the killed owner");
    assert_eq!(*mutex.lock().unwrap_err().into_inner(), 1);
}

#[test]
fn kills_and_time_limits_poison_what_is_held() {
    let _limit = TimeLimit::start(LIMIT);
    let (mutex, lock) = (Rc::new(Mutex::new(())), Rc::new(RwLock::new(())));
    let (theirs, also) = (Rc::clone(&mutex), Rc::clone(&lock));
    let held = spawn(move || {
        let _guards = (theirs.lock(), also.write());
        thread::park();
    });
    settle();
    held.kill();
    assert!(mutex.is_poisoned() && lock.is_poisoned());
    mutex.clear_poison();
    lock.clear_poison();

    let late = timeout(SHORT, || {
        let _guards = (mutex.lock(), lock.write());
        thread::park();
    });
    assert!(late.is_err() && mutex.is_poisoned() && lock.is_poisoned());
    lock.clear_poison();

    let reader = timeout(SHORT, || {
        let _guard = lock.read();
        thread::park();
    });
    assert!(reader.is_err() && !lock.is_poisoned());
}

#[test]
fn somebody_elses_unwinding_poisons_nothing() {
    let _limit = TimeLimit::start(LIMIT);
    for kill in [false, true] {
        let (mutex, lock) = (Rc::new(Mutex::new(0)), Rc::new(RwLock::new(0)));
        let (in_destructor, go_on) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let (told, waits) = (Rc::clone(&in_destructor), Rc::clone(&go_on));
        let unwinding = spawn(move || {
            let _slow = OnDrop(|| {
                told.set(true);
                while !waits.get() {
                    yield_now();
                }
            });
            if kill {
                thread::park();
            }
            resume_unwind(Box::new(()));
        });
        yield_now();
        if kill {
            unwinding.kill_nowait();
        }
        while !in_destructor.get() {
            yield_now();
        }
        assert!(
            std::thread::panicking(),
            "std takes it for all of the OS thread"
        );
        *mutex.lock().unwrap() += 1;
        *lock.write().unwrap() += 1;
        let (theirs, also) = (Rc::clone(&mutex), Rc::clone(&lock));
        let bystander = spawn(move || {
            let (mut one, mut other) = (theirs.lock().unwrap(), also.write().unwrap());
            yield_now();
            *one += 1;
            *other += 1;
        });
        bystander.join().unwrap();
        assert_eq!(*mutex.lock().unwrap() + *lock.read().unwrap(), 4);
        // One that is killed meanwhile does poison.
        let theirs = Rc::clone(&mutex);
        let victim = spawn(move || {
            let _guard = theirs.lock();
            thread::park();
        });
        settle();
        victim.kill();
        assert!(mutex.is_poisoned());
        go_on.set(true);
        assert!(unwinding.join().is_err());
    }
}

#[test]
fn a_lock_can_be_waited_for_while_unwinding() {
    let _limit = TimeLimit::start(LIMIT);
    let mutex = Rc::new(Mutex::new(0));
    let guard = mutex.lock().unwrap();
    let theirs = Rc::clone(&mutex);
    let unwinding = spawn(move || {
        let _last = OnDrop(|| *theirs.lock().unwrap() += 1);
        thread::park();
    });
    settle();
    unwinding.kill_nowait();
    settle();
    assert!(!unwinding.is_finished());
    drop(guard);
    assert!(unwinding.join().is_err());
    assert_eq!(*mutex.lock().unwrap(), 1);
}

#[test]
fn a_notification_outlives_its_receiver() {
    let _limit = TimeLimit::start(LIMIT);
    let pair = Rc::new((Mutex::new(()), Condvar::new()));
    let waiter = || {
        let pair = Rc::clone(&pair);
        spawn(move || drop(pair.1.wait(pair.0.lock().unwrap()).unwrap()))
    };
    let (first, second) = (waiter(), waiter());
    settle();
    // Killed before it runs, and before it gets the mutex.
    let guard = pair.0.lock().unwrap();
    pair.1.notify_one();
    settle();
    first.kill();
    drop(guard);
    second.join().unwrap();
    assert!(!is_locked(&pair.0) && !pair.0.is_poisoned());
}

#[test]
fn a_timed_out_wait_has_the_mutex_again() {
    let _limit = TimeLimit::start(LIMIT);
    let pair = Rc::new((Mutex::new(0), Condvar::new()));
    let theirs = Rc::clone(&pair);
    let busy = Duration::from_millis(20);
    let start = Instant::now();
    let waiter = spawn(move || {
        let guard = theirs.0.lock().unwrap();
        let (guard, result) = theirs.1.wait_timeout(guard, SHORT).unwrap();
        (*guard, result.timed_out())
    });
    yield_now();
    let mut guard = pair.0.lock().unwrap();
    sleep(busy);
    *guard = 1;
    drop(guard);
    assert_eq!(waiter.join().unwrap(), (1, true));
    assert!(start.elapsed() >= busy);
}

#[test]
fn a_killed_waiter_does_not_count_at_a_barrier() {
    let _limit = TimeLimit::start(LIMIT);
    let barrier = Rc::new(Barrier::new(3));
    let waiter = || {
        let barrier = Rc::clone(&barrier);
        spawn(move || barrier.wait().is_leader())
    };
    let (killed, first) = (waiter(), waiter());
    settle();
    killed.kill();
    let second = waiter();
    settle();
    assert!(!first.is_finished() && !second.is_finished());
    assert!(barrier.wait().is_leader());
    assert!(!first.join().unwrap() && !second.join().unwrap());
    // The next round counts from zero.
    let (first, second) = (waiter(), waiter());
    settle();
    assert!(!first.is_finished() && !second.is_finished());
    assert!(timeout(SHORT, thread::park).is_err());
    assert!(barrier.wait().is_leader());
    joinall([first, second]);
}

#[test]
fn a_killed_initialiser_is_replaced() {
    let _limit = TimeLimit::start(LIMIT);
    let cell = Rc::new(OnceLock::new());
    let theirs = Rc::clone(&cell);
    let first = spawn(move || {
        theirs.get_or_init(|| {
            thread::park();
            0
        });
    });
    yield_now();
    let waiters: Vec<_> = (1..4)
        .map(|n| {
            let cell = Rc::clone(&cell);
            spawn(move || *cell.get_or_init(|| n))
        })
        .collect();
    settle();
    first.kill();
    let values: Vec<_> = joinall(waiters).into_iter().map(Result::unwrap).collect();
    assert_eq!(values, [1, 1, 1], "the next in line");
}

#[test]
fn a_killed_closure_poisons_its_once() {
    let _limit = TimeLimit::start(LIMIT);
    let once = Rc::new(Once::new());
    let theirs = Rc::clone(&once);
    let first = spawn(move || theirs.call_once(thread::park));
    yield_now();
    let theirs = Rc::clone(&once);
    let waiter = spawn(move || catch_unwind(AssertUnwindSafe(|| theirs.call_once(|| ()))).is_err());
    let theirs = Rc::clone(&once);
    let killed = spawn(move || theirs.call_once(|| unreachable!()));
    settle();
    killed.kill();
    first.kill();
    assert!(waiter.join().unwrap());
    once.call_once_force(|state| assert!(state.is_poisoned()));

    let lazy = Rc::new(LazyLock::new(thread::park));
    let theirs = Rc::clone(&lazy);
    assert!(timeout(SHORT, || LazyLock::force(&theirs)).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| LazyLock::force(&lazy))).is_err());
}
