//! Green threads of several hubs, and OS threads, that share locks.

use super::*;

#[test]
fn an_initialiser_that_needs_itself_panics() {
    let _limit = TimeLimit::start(LIMIT);
    fn in_every_context(f: fn()) {
        let told = |f: fn()| {
            let payload = catch_unwind(f).unwrap_err();
            let text = payload.downcast_ref::<&str>().copied().unwrap_or_default();
            assert!(text.contains("waits for its own end"), "{text}");
        };
        told(f);
        spawn(move || told(f)).join().unwrap();
        // Here the hub comes into being in the middle of it.
        join_os_thread(std::thread::spawn(move || told(f)));
    }
    in_every_context(|| {
        let once = Once::new();
        once.call_once(|| {
            yield_now();
            once.call_once(|| ());
        });
    });
    in_every_context(|| {
        let once = Once::new();
        once.call_once(|| {
            yield_now();
            once.wait_force();
        });
    });
    in_every_context(|| {
        let cell = OnceLock::new();
        cell.get_or_init(|| {
            yield_now();
            *cell.get_or_init(|| 1)
        });
    });
    in_every_context(|| {
        let cell = Rc::new(OnceLock::<LazyLock<u8, Box<dyn FnOnce() -> u8>>>::new());
        let its_own = Rc::clone(&cell);
        let lazy = LazyLock::new(Box::new(move || {
            yield_now();
            **its_own.get().unwrap()
        }) as Box<dyn FnOnce() -> u8>);
        LazyLock::force(cell.get_or_init(|| lazy));
    });
}

#[test]
fn a_root_keeps_its_reentrant_lock_when_its_hub_appears() {
    let _limit = TimeLimit::start(LIMIT);
    static LOCK: ReentrantLock<u8> = ReentrantLock::new(1);
    let os_thread = std::thread::spawn(|| {
        let first = LOCK.lock();
        assert!(spawn(|| LOCK.try_lock().is_none()).join().unwrap());
        let second = LOCK.lock();
        drop(first);
        assert!(spawn(|| LOCK.try_lock().is_none()).join().unwrap());
        drop(second);
        assert!(spawn(|| LOCK.try_lock().is_some()).join().unwrap());
    });
    join_os_thread(os_thread);
}

#[test]
fn locks_work_between_hubs_and_os_threads() {
    const ROUNDS: usize = 300;
    let _limit = TimeLimit::start(LIMIT);
    let shared = Arc::new((
        Mutex::new(0),
        RwLock::new(0),
        ReentrantLock::new(Cell::new(0)),
    ));
    let semaphore = Arc::new(Semaphore::new(2));
    let inside = Arc::new(AtomicUsize::new(0));
    let work = {
        let (shared, semaphore, inside) = (shared.clone(), semaphore.clone(), inside.clone());
        move || {
            for round in 0..ROUNDS {
                *shared.0.lock().unwrap() += 1;
                *shared.1.write().unwrap() += 1;
                let seen = shared.1.read().unwrap();
                if round % 16 == 0 {
                    yield_now();
                }
                drop(seen);
                let counter = shared.2.lock();
                let again = shared.2.lock();
                again.set(counter.get() + 1);
                drop((counter, again));
                let _permit = semaphore.acquire();
                assert!(inside.fetch_add(1, Ordering::AcqRel) < 2);
                if round % 8 == 0 {
                    yield_now();
                }
                inside.fetch_sub(1, Ordering::AcqRel);
            }
        }
    };
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let work = work.clone();
            std::thread::spawn(move || {
                if n % 2 == 0 {
                    work();
                } else {
                    let greens: Vec<_> = (0..3).map(|_| spawn(work.clone())).collect();
                    assert!(joinall(greens).iter().all(Result::is_ok));
                }
            })
        })
        .collect();
    let greens: Vec<_> = (0..3).map(|_| spawn(work.clone())).collect();
    assert!(joinall(greens).iter().all(Result::is_ok));
    for thread in threads {
        join_os_thread(thread);
    }
    let all = (1 + 3 + 1 + 3 + 3) * ROUNDS;
    assert_eq!(*shared.0.lock().unwrap(), all);
    assert_eq!(*shared.1.read().unwrap(), all);
    assert_eq!(shared.2.lock().get(), all);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn meeting_points_work_between_hubs_and_os_threads() {
    const ROUNDS: usize = 100;
    let _limit = TimeLimit::start(LIMIT);
    let barrier = Arc::new(Barrier::new(5));
    let turn = Arc::new((Mutex::new(0), Condvar::new()));
    let cell = Arc::new(OnceLock::new());
    let led = Arc::new(AtomicUsize::new(0));
    let work = {
        let (barrier, turn, led) = (barrier.clone(), turn.clone(), led.clone());
        move |mine: usize| {
            let from = *cell.get_or_init(|| {
                sleep(SHORT);
                0
            });
            for round in from..ROUNDS {
                let guard = turn.0.lock().unwrap();
                let mut guard = turn
                    .1
                    .wait_while(guard, |turn| *turn != 5 * round + mine)
                    .unwrap();
                *guard += 1;
                turn.1.notify_all();
                drop(guard);
                led.fetch_add(usize::from(barrier.wait().is_leader()), Ordering::AcqRel);
            }
        }
    };
    let threads: Vec<_> = (0..2)
        .map(|n| {
            let work = work.clone();
            std::thread::spawn(move || {
                if n == 0 {
                    return work(0);
                }
                let second = work.clone();
                let greens = [spawn(move || work(1)), spawn(move || second(2))];
                assert!(joinall(greens).iter().all(Result::is_ok));
            })
        })
        .collect();
    let second = work.clone();
    let greens = [spawn(move || work(3)), spawn(move || second(4))];
    assert!(joinall(greens).iter().all(Result::is_ok));
    for thread in threads {
        join_os_thread(thread);
    }
    assert_eq!(*turn.0.lock().unwrap(), 5 * ROUNDS);
    assert_eq!(led.load(Ordering::Acquire), ROUNDS);
}
