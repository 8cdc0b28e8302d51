//! Kills and time limits at random, after which nothing must be missing.

use super::*;

/// A generator of pseudo-random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What the stress tests share.
struct Shared {
    mutex: Mutex<()>,
    lock: RwLock<()>,
    semaphore: Semaphore,
    reentrant: ReentrantLock<()>,
    /// Who is inside each: one, any number or -1, permits, one.
    inside: [AtomicIsize; 4],
    rounds: AtomicUsize,
}

const PERMITS: usize = 4;

/// Enters one of the locks, checks that it may be there, waits a little, and leaves.
fn visit(shared: &Shared, random: &mut Random) {
    let inside = &shared.inside;
    let pause = random.below(3);
    let stay = |index: usize, weight: isize, allowed: std::ops::RangeInclusive<isize>| {
        let now = inside[index].fetch_add(weight, Ordering::AcqRel) + weight;
        // Dropped before the guard, also when this is killed here.
        let _leaves = OnDrop(|| {
            inside[index].fetch_sub(weight, Ordering::AcqRel);
        });
        assert!(allowed.contains(&now), "{now} in {index}");
        match pause {
            0 => (),
            1 => yield_now(),
            _ => sleep(Duration::from_micros(20)),
        }
    };
    match random.below(6) {
        0 | 1 => {
            let _guard = shared.mutex.lock().unwrap_or_else(PoisonError::into_inner);
            stay(0, 1, 1..=1);
        }
        2 => {
            let _guard = shared.lock.read().unwrap_or_else(PoisonError::into_inner);
            stay(1, 1, 1..=isize::MAX);
        }
        3 => {
            let _guard = shared.lock.write().unwrap_or_else(PoisonError::into_inner);
            stay(1, -1, -1..=-1);
        }
        4 => {
            let n = 1 + random.below(PERMITS as u64) as usize;
            let _permits = shared.semaphore.acquire_many(n);
            stay(2, n as isize, 1..=PERMITS as isize);
        }
        _ => {
            let _outer = shared.reentrant.lock();
            let _inner = shared.reentrant.lock();
            stay(3, 1, 1..=1);
        }
    }
    shared.rounds.fetch_add(1, Ordering::Relaxed);
}

/// Green threads that visit under time limits, and are killed at random. Returns how many were killed and came late.
fn storm(shared: &Arc<Shared>, seed: u64) -> (usize, usize) {
    const WORKERS: usize = 12;
    let late = Rc::new(Cell::new(0));
    let spawn_worker = |seed: u64| {
        let (shared, late) = (Arc::clone(shared), Rc::clone(&late));
        spawn(move || {
            let mut random = Random(seed);
            for _ in 0..60 {
                let limit = Duration::from_micros(random.below(300));
                if random.below(2) == 0 {
                    visit(&shared, &mut random);
                } else if timeout(limit, || visit(&shared, &mut random)).is_err() {
                    late.set(late.get() + 1);
                }
            }
        })
    };
    let mut random = Random(seed);
    let mut workers: Vec<_> = (0..WORKERS)
        .map(|_| spawn_worker(random.below(u64::MAX) | 1))
        .collect();
    for _ in 0..200 {
        match random.below(3) {
            0 => yield_now(),
            1 => sleep(Duration::from_micros(random.below(100))),
            _ => {
                let victim = random.below(WORKERS as u64) as usize;
                let fresh = spawn_worker(random.below(u64::MAX) | 1);
                let victim = std::mem::replace(&mut workers[victim], fresh);
                victim.kill_nowait();
                check(victim.join());
            }
        }
    }
    let mut killed = 0;
    for worker in workers {
        killed += usize::from(random.below(4) == 0 && worker.kill_timeout(LIMIT));
        check(worker.join());
    }
    (killed, late.get())
}

/// Only kills may have ended it.
fn check(result: thread::Result<()>) {
    if let Err(payload) = result {
        assert!(payload.is::<Killed>(), "a worker has panicked");
    }
}

#[test]
fn nothing_is_lost_when_waiters_are_killed_or_late() {
    let _limit = TimeLimit::start(LIMIT);
    for (hubs, seed) in [(1, 1), (1, 2), (2, 3), (3, 4)] {
        let shared = Arc::new(Shared {
            mutex: Mutex::new(()),
            lock: RwLock::new(()),
            semaphore: Semaphore::new(PERMITS),
            reentrant: ReentrantLock::new(()),
            inside: [const { AtomicIsize::new(0) }; 4],
            rounds: AtomicUsize::new(0),
        });
        let threads: Vec<_> = (0..hubs)
            .map(|n| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || storm(&shared, seed * 1_000_003 + n))
            })
            .collect();
        for thread in threads {
            let (_, late) = join_os_thread(thread);
            assert!(late > 0, "no time limit has passed");
        }
        assert!(!is_locked(&shared.mutex));
        assert!(!matches!(
            shared.lock.try_write(),
            Err(TryLockError::WouldBlock)
        ));
        assert_eq!(shared.semaphore.available(), PERMITS);
        assert!(shared.reentrant.try_lock().is_some());
        assert!(shared.rounds.load(Ordering::Relaxed) > 100);
    }
}

#[test]
fn no_notification_is_lost_when_waiters_are_killed_or_late() {
    const ITEMS: usize = 2_000;
    let _limit = TimeLimit::start(LIMIT);
    for hubs in [1, 3] {
        let items = Arc::new((Mutex::new(0usize), Condvar::new()));
        let taken = Arc::new(AtomicUsize::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let consume = {
            let (items, taken, over) = (items.clone(), taken.clone(), over.clone());
            move || {
                while !over.load(Ordering::Acquire) {
                    let left = items.0.lock().unwrap();
                    let wanted = |left: &mut usize| *left == 0 && !over.load(Ordering::Acquire);
                    let mut left = items.1.wait_while(left, wanted).unwrap();
                    if *left > 0 {
                        *left -= 1;
                        taken.fetch_add(1, Ordering::AcqRel);
                    }
                }
            }
        };
        // Each hub keeps killing its consumers, and replaces them.
        let threads: Vec<_> = (0..hubs)
            .map(|n| {
                let (consume, over) = (consume.clone(), over.clone());
                std::thread::spawn(move || {
                    let mut random = Random(77 + n);
                    let mut consumers: Vec<_> = (0..4).map(|_| spawn(consume.clone())).collect();
                    while !over.load(Ordering::Acquire) {
                        let victim = random.below(4) as usize;
                        consumers[victim].kill();
                        consumers[victim] = spawn(consume.clone());
                        sleep(Duration::from_micros(random.below(60)));
                    }
                    joinall(consumers);
                })
            })
            .collect();
        for round in 0..ITEMS {
            *items.0.lock().unwrap() += 1;
            items.1.notify_one();
            if round % 10 == 0 {
                sleep(Duration::from_micros(20));
            }
        }
        // With one notification for each item, the consumers that are there take them all.
        while taken.load(Ordering::Acquire) < ITEMS {
            sleep(Duration::from_micros(200));
        }
        {
            let _guard = items.0.lock().unwrap();
            over.store(true, Ordering::Release);
        }
        items.1.notify_all();
        for thread in threads {
            join_os_thread(thread);
        }
        assert_eq!(*items.0.lock().unwrap(), 0);
    }
}
