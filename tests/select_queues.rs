//! `select!` over queues and channels: the winner has its item, the others have lost none, whoever else is in line.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use greenhub::queue::{Channel, GetError, LifoQueue, PriorityQueue, PutError, Queue};
use greenhub::sync::mpsc;
use greenhub::thread;
use greenhub::{select, sleep, spawn, timeout, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);

/// Far later than any test runs.
const LATE: Duration = Duration::from_secs(500);

/// Numbers that look random and are the same in every run.
fn scattered(below: u64) -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

#[test]
fn an_item_goes_to_the_arm_that_waits_for_it() {
    let _limit = TimeLimit::start(LIMIT);
    let (left, right) = (Rc::new(Queue::new()), Rc::new(LifoQueue::new()));
    let putter = spawn({
        let (left, right) = (Rc::clone(&left), Rc::clone(&right));
        move || {
            for n in 0..100 {
                if n % 3 == 0 {
                    left.put(n).unwrap();
                } else {
                    right.put(n).unwrap();
                }
                if n % 5 == 0 {
                    yield_now();
                }
            }
            left.close();
            right.close();
        }
    });
    let (mut got, mut open) = (Vec::new(), [true; 2]);
    while open != [false; 2] {
        select! {
            get(&left) -> item => match item {
                Ok(n) => {
                    assert_eq!(n % 3, 0);
                    got.push(n);
                }
                Err(GetError) => open[0] = false,
            },
            get(&right) -> item => match item {
                Ok(n) => {
                    assert_ne!(n % 3, 0);
                    got.push(n);
                }
                Err(GetError) => open[1] = false,
            },
        }
    }
    putter.join().unwrap();
    got.sort_unstable();
    assert!(got.into_iter().eq(0..100));
}

#[test]
fn an_item_that_is_not_put_comes_back() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Queue::bounded(1);
    let mut item = Some(String::from("first"));
    select! {
        put(&queue, &mut item) -> result => result.unwrap(),
    }
    assert_eq!(item, None);
    let mut item = Some(String::from("second"));
    select! {
        put(&queue, &mut item) => unreachable!("it is full"),
        after(Duration::from_millis(1)) => {}
    }
    assert_eq!(item.as_deref(), Some("second"));
    let result = timeout(Duration::from_millis(1), || {
        select! {
            put(&queue, &mut item) => unreachable!("it is full"),
        }
    });
    assert!(result.is_err());
    assert_eq!(item.as_deref(), Some("second"));
    select! {
        put(&queue, &mut item) => unreachable!("it is full"),
        default => assert_eq!(item.as_deref(), Some("second")),
    }
    queue.close();
    select! {
        put(&queue, &mut item) -> result => assert_eq!(result, Err(PutError("second".into()))),
    }
    assert_eq!(item, None, "the error has it");
    // Nothing to put: the arm cannot win, even though it would fail at once.
    select! {
        put(&queue, &mut item) => unreachable!(),
        get(&queue) -> got => assert_eq!(got.as_deref(), Ok("first")),
    }
    // By value.
    let queue = PriorityQueue::new();
    select! {
        put(&queue, Some(3)) -> result => result.unwrap(),
    }
    assert_eq!(queue.get(), Ok(3));
}

#[test]
fn a_kill_gives_the_item_back_too() {
    let _limit = TimeLimit::start(LIMIT);
    let channel = Rc::new(Channel::new());
    let slot = Rc::new(RefCell::new(Vec::new()));
    let putter = spawn({
        struct GiveBack(Option<u8>, Rc<RefCell<Vec<u8>>>);
        impl Drop for GiveBack {
            fn drop(&mut self) {
                self.1.borrow_mut().extend(self.0);
            }
        }
        let (channel, mut item) = (Rc::clone(&channel), GiveBack(Some(5), Rc::clone(&slot)));
        move || {
            select! {
                put(&channel, &mut item.0) -> result => result.unwrap(),
                after(LATE) => {}
            }
        }
    });
    yield_now();
    putter.kill();
    assert_eq!(*slot.borrow(), [5]);
    assert!(channel.try_get().is_err(), "nobody puts any more");
}

#[test]
fn selects_meet_each_other_without_a_buffer() {
    let _limit = TimeLimit::start(LIMIT);
    const COUNT: u32 = 2_000;
    let (there, back) = (Rc::new(Channel::new()), Rc::new(Channel::new()));
    let echo = spawn({
        let (there, back) = (Rc::clone(&there), Rc::clone(&back));
        move || {
            let mut next = None;
            while let Some(n) = select! {
                get(&there) -> item => item.ok(),
                put(&back, &mut next) -> result => result.ok().map(|()| u32::MAX),
            } {
                if n != u32::MAX {
                    assert_eq!(next.replace(n), None);
                }
            }
            assert_eq!(next, None);
        }
    });
    for n in 0..COUNT {
        let mut item = Some(n);
        while item.is_some() {
            select! {
                put(&there, &mut item) -> result => result.unwrap(),
                get(&back) => unreachable!("all have come back"),
            }
        }
        select! {
            get(&back) -> item => assert_eq!(item, Ok(n)),
            after(LATE) => unreachable!(),
        }
    }
    there.close();
    echo.join().unwrap();
}

#[test]
fn one_select_does_not_meet_itself() {
    let _limit = TimeLimit::start(LIMIT);
    let channel = Rc::new(Channel::new());
    for _ in 0..50 {
        select! {
            get(&channel) => unreachable!("nobody else puts"),
            put(&channel, Some(1)) => unreachable!("nobody else gets"),
            get(&channel) => unreachable!("nobody else puts"),
            after(Duration::from_micros(20)) => {}
        }
    }
    // Two that do both meet each other.
    let both = |n: u32| {
        let channel = Rc::clone(&channel);
        spawn(move || {
            select! {
                get(&channel) -> item => Some(item.unwrap()),
                put(&channel, Some(n)) -> result => {
                    result.unwrap();
                    None
                }
            }
        })
    };
    for _ in 0..50 {
        let results = greenhub::joinall([both(1), both(2)]);
        let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        assert!(matches!(results[..], [None, Some(1)] | [Some(2), None]));
    }
}

#[test]
fn channels_of_mpsc_are_selected() {
    let _limit = TimeLimit::start(LIMIT);
    let (sender, receiver) = mpsc::channel();
    let (bounded, other) = mpsc::sync_channel(0);
    let peer = spawn(move || {
        for n in 0..10 {
            sender.send(n).unwrap();
            assert_eq!(other.recv(), Ok(n * 10));
        }
        // Both ends go: `recv` and `send` win with an error.
    });
    let mut answer = None;
    let mut received = 0;
    loop {
        select! {
            recv(&receiver) -> message => match message {
                Ok(n) => {
                    received += 1;
                    answer = Some(n * 10);
                }
                Err(mpsc::RecvError) => break,
            },
            send(&bounded, &mut answer) -> result => result.unwrap(),
            after(LATE) => unreachable!(),
        }
    }
    assert_eq!(received, 10);
    peer.join().unwrap();
    select! {
        send(&bounded, Some(1)) -> result => assert_eq!(result, Err(mpsc::SendError(1))),
    }
}

#[test]
fn getters_that_select_are_in_line_with_the_others() {
    let _limit = TimeLimit::start(LIMIT);
    let (queue, other) = (Rc::new(Queue::new()), Rc::new(Queue::<u32>::new()));
    let order = Rc::new(RefCell::new(Vec::new()));
    let waiters: Vec<_> = (0..40)
        .map(|n| {
            let (queue, other) = (Rc::clone(&queue), Rc::clone(&other));
            let order = Rc::clone(&order);
            spawn(move || {
                let item = if n % 2 == 0 {
                    queue.get().unwrap()
                } else {
                    select! {
                        get(&other) => unreachable!(),
                        get(&queue) -> item => item.unwrap(),
                    }
                };
                assert_eq!(item, n, "whoever came first gets the first item");
                order.borrow_mut().push(n);
            })
        })
        .collect();
    yield_now();
    for n in 0..40 {
        queue.put(n).unwrap();
    }
    for result in greenhub::joinall(waiters) {
        result.unwrap();
    }
    assert!(order.borrow().iter().copied().eq(0..40));
}

/// What the stress moves around, and what it counts.
struct Traffic {
    queues: [Queue<u64>; 3],
    channel: Channel<u64>,
    put: AtomicU64,
    got: AtomicU64,
    got_count: AtomicU64,
    puts: AtomicU64,
}

impl Traffic {
    fn new() -> Arc<Traffic> {
        Arc::new(Traffic {
            queues: [Queue::bounded(1), Queue::bounded(3), Queue::new()],
            channel: Channel::new(),
            put: AtomicU64::new(0),
            got: AtomicU64::new(0),
            got_count: AtomicU64::new(0),
            puts: AtomicU64::new(0),
        })
    }

    fn note_got(&self, item: Result<u64, GetError>) {
        self.got.fetch_add(item.unwrap(), Ordering::Relaxed);
        self.got_count.fetch_add(1, Ordering::Relaxed);
    }

    fn note_put(&self, item: u64, result: Result<(), PutError<u64>>) {
        result.unwrap();
        self.put.fetch_add(item, Ordering::Relaxed);
        self.puts.fetch_add(1, Ordering::Relaxed);
    }

    /// Gets from, or puts into, whatever is ready first.
    fn step(&self, choice: u64, item: u64) {
        let [one, three, many] = &self.queues;
        let patience = Duration::from_micros(choice * 10 % 70);
        match choice % 5 {
            0 => select! {
                get(one) -> got => self.note_got(got),
                get(three) -> got => self.note_got(got),
                get(&self.channel) -> got => self.note_got(got),
            },
            1 => select! {
                put(one, Some(item)) -> result => self.note_put(item, result),
                put(&self.channel, Some(item)) -> result => self.note_put(item, result),
                after(patience) => {}
            },
            2 => select! {
                get(many) -> got => self.note_got(got),
                put(three, Some(item)) -> result => self.note_put(item, result),
                get(&self.channel) -> got => self.note_got(got),
                after(patience) => {}
            },
            3 => select! {
                put(many, Some(item)) -> result => self.note_put(item, result),
                get(one) -> got => self.note_got(got),
                default => {}
            },
            _ => select! {
                get(one) -> got => self.note_got(got),
                put(&self.channel, Some(item)) -> result => self.note_put(item, result),
                get(many) -> got => self.note_got(got),
                get(&self.channel) -> got => self.note_got(got),
            },
        }
    }

    /// Green threads that take steps, of which many are killed and timed out in the middle of one.
    fn stress(self: &Arc<Self>, seed: u64) {
        let mut random = scattered(u64::MAX);
        for _ in 0..seed {
            random();
        }
        for round in 0..150 {
            let tasks: Vec<_> = (0..12)
                .map(|_| {
                    let (traffic, seed) = (Arc::clone(self), random());
                    spawn(move || {
                        let mut random = scattered(u64::MAX);
                        for _ in 0..seed % 16 {
                            random();
                        }
                        for _ in 0..20 {
                            let choice = random() ^ seed;
                            let limit = Duration::from_micros(choice % 200);
                            let _ = timeout(limit, || traffic.step(choice >> 8, choice >> 32));
                        }
                    })
                })
                .collect();
            if round % 3 == 0 {
                sleep(Duration::from_micros(random() % 300));
                for task in &tasks {
                    if random().is_multiple_of(2) {
                        task.kill_nowait();
                    }
                }
            }
            for task in tasks {
                assert!(!matches!(
                    task.join().into(),
                    thread::Outcome::Panicked::<()>(_)
                ));
            }
        }
    }

    fn check(&self) {
        for queue in &self.queues {
            while let Ok(item) = queue.try_get() {
                self.note_got(Ok(item));
            }
        }
        assert!(self.channel.try_get().is_err());
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!(load(&self.puts), load(&self.got_count));
        assert_eq!(load(&self.put), load(&self.got));
        assert!(load(&self.puts) > 1_000, "{} were put", load(&self.puts));
    }
}

#[test]
fn nothing_is_lost_on_one_hub() {
    let _limit = TimeLimit::start(LIMIT);
    let traffic = Traffic::new();
    traffic.stress(1);
    traffic.check();
}

#[test]
fn nothing_is_lost_between_hubs() {
    let _limit = TimeLimit::start(LIMIT);
    let traffic = Traffic::new();
    let others: Vec<_> = (2..5)
        .map(|seed| {
            let traffic = Arc::clone(&traffic);
            std::thread::spawn(move || traffic.stress(seed))
        })
        .collect();
    traffic.stress(1);
    for other in others {
        other.join().unwrap();
    }
    traffic.check();
}

#[test]
fn nothing_is_missed_between_the_look_and_the_wait() {
    let _limit = TimeLimit::start(LIMIT);
    const COUNT: u64 = 20_000;
    let queues = Arc::new([Queue::new(), Queue::new(), Queue::new()]);
    let got = Arc::new(AtomicU64::new(0));
    let putter = std::thread::spawn({
        let (queues, got) = (Arc::clone(&queues), Arc::clone(&got));
        let mut random = scattered(u64::MAX);
        move || {
            for n in 0..COUNT {
                // The next item comes at any moment of the other one's way into its next wait.
                let delay = random() % 100;
                let mut turns = 0;
                while got.load(Ordering::Acquire) < n {
                    turns += 1;
                    if turns % 10_000 == 0 {
                        std::thread::yield_now();
                    }
                }
                for _ in 0..delay {
                    std::hint::spin_loop();
                }
                queues[random() as usize % 3].put(n).unwrap();
            }
        }
    });
    let [first, second, third] = &*queues;
    for n in 0..COUNT {
        let item = select! {
            get(first) -> item => item,
            get(second) -> item => item,
            get(third) -> item => item,
        };
        assert_eq!(item, Ok(n));
        got.store(n + 1, Ordering::Release);
    }
    putter.join().unwrap();
}
