//! Queues: order, room, fairness, closing, and that nothing is lost to those who stop waiting.

#![allow(unsafe_code)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenhub::queue::{
    Channel, GetError, GetTimeoutError, JoinableQueue, LifoQueue, PriorityQueue, PutError,
    PutTimeoutError, Queue, TryGetError, TryPutError,
};
use greenhub::{joinall, sleep, spawn, thread, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(5);
/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(50);

/// Counts the allocations of each OS thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_round_trip_allocates_nothing() {
    let _limit = TimeLimit::start(LIMIT);
    let [there, back] = [(); 2].map(|()| Rc::new(Queue::bounded(1)));
    spawn({
        let (there, back) = (Rc::clone(&there), Rc::clone(&back));
        move || there.iter().for_each(|item: u64| back.put(item).unwrap())
    });
    let trips = |count| {
        for item in 0..count {
            there.put(item).unwrap();
            assert_eq!(back.get(), Ok(item));
        }
    };
    trips(100);
    let before = ALLOCATIONS.get();
    trips(10_000);
    assert_eq!(ALLOCATIONS.get(), before);
    // Nor does a queue that is filled and emptied.
    let queue = Queue::bounded(100);
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        (0..100).try_for_each(|item| queue.put(item)).unwrap();
        assert!((0..100).all(|item| queue.get() == Ok(item)));
    }
    assert_eq!(ALLOCATIONS.get(), before);
    there.close();
}

/// Lets green threads that were spawned, or woken, run until they wait.
fn settle() {
    for _ in 0..3 {
        yield_now();
    }
}

#[test]
fn items_leave_in_the_order_of_the_queue() {
    let (fifo, lifo, smallest) = (Queue::new(), LifoQueue::new(), PriorityQueue::new());
    for item in [3, 1, 2] {
        fifo.put(item).unwrap();
        lifo.put(item).unwrap();
        smallest.put(item).unwrap();
    }
    fifo.close();
    lifo.close();
    smallest.close();
    assert!(fifo.iter().eq([3, 1, 2]));
    assert!(lifo.iter().eq([2, 1, 3]));
    assert!(smallest.iter().eq([1, 2, 3]));
}

#[test]
fn a_queue_without_a_bound_never_makes_wait() {
    let queue = Queue::new();
    for item in 0..100_000 {
        queue.try_put(item).unwrap();
    }
    assert_eq!(queue.len(), 100_000);
    assert!(!queue.is_full());
    assert!((0..100_000).all(|item| queue.try_get() == Ok(item)));
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
}

#[test]
#[should_panic(expected = "capacity")]
fn a_capacity_of_zero_is_refused() {
    let _ = Queue::<u8>::bounded(0);
}

#[test]
fn put_waits_for_room() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::bounded(2));
    let putter = spawn({
        let queue = Rc::clone(&queue);
        move || (0..5).try_for_each(|item| queue.put(item))
    });
    settle();
    assert!(queue.is_full());
    assert_eq!(queue.len(), 2, "the third put waits");
    assert_eq!(queue.try_put(9), Err(TryPutError::Full(9)));
    for item in 0..5 {
        assert_eq!(queue.get(), Ok(item));
    }
    putter.join().unwrap().unwrap();
}

#[test]
fn getters_are_served_in_the_order_of_their_arrival() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::bounded(1));
    let getters: Vec<_> = (0..10)
        .map(|_| {
            let queue = Rc::clone(&queue);
            spawn(move || queue.get())
        })
        .collect();
    settle();
    for item in 0..10 {
        // Each goes to one who waits: a bound of 1 is in nobody's way.
        queue.try_put(item).unwrap();
    }
    assert_eq!(
        queue.try_get(),
        Err(TryGetError::Empty),
        "what somebody waits for is his"
    );
    for (item, getter) in getters.into_iter().enumerate() {
        assert_eq!(getter.join().unwrap(), Ok(item));
    }
}

#[test]
fn putters_are_served_in_the_order_of_their_arrival() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::bounded(1));
    queue.put(0).unwrap();
    let putters: Vec<_> = (1..10)
        .map(|item| {
            let queue = Rc::clone(&queue);
            spawn(move || queue.put(item))
        })
        .collect();
    settle();
    for item in 0..10 {
        assert_eq!(queue.try_get(), Ok(item));
        if item < 9 {
            assert_eq!(
                queue.try_put(99),
                Err(TryPutError::Full(99)),
                "the room is the next one's who waits"
            );
        }
    }
    assert!(joinall(putters).into_iter().all(|put| put.unwrap().is_ok()));
}

#[test]
fn timeouts_end_waits_and_lose_nothing() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::bounded(1));
    let start = Instant::now();
    assert_eq!(queue.get_timeout(SHORT), Err(GetTimeoutError::Timeout));
    assert!(start.elapsed() >= SHORT);
    queue.put(1).unwrap();
    assert_eq!(
        queue.put_timeout(2, SHORT),
        Err(PutTimeoutError::Timeout(2))
    );
    assert_eq!(queue.get_timeout(Duration::MAX), Ok(1));

    let impatient = spawn({
        let queue = Rc::clone(&queue);
        move || queue.get_timeout(SHORT)
    });
    let patient = spawn({
        let queue = Rc::clone(&queue);
        move || queue.get_timeout(LONG)
    });
    assert_eq!(impatient.join().unwrap(), Err(GetTimeoutError::Timeout));
    queue.put(3).unwrap();
    assert_eq!(patient.join().unwrap(), Ok(3));
}

#[test]
fn a_timeout_that_passes_while_the_item_is_on_its_way_loses_nothing() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::new());
    let getter = spawn({
        let queue = Rc::clone(&queue);
        move || queue.get_timeout(SHORT)
    });
    settle();
    queue.put(1).unwrap();
    // The getter has been given the item and not run yet.
    std::thread::sleep(2 * SHORT);
    assert_eq!(getter.join().unwrap(), Ok(1));

    // The other way round: the time is over, but the getter has not noticed.
    let getter = spawn({
        let queue = Rc::clone(&queue);
        move || queue.get_timeout(SHORT)
    });
    settle();
    std::thread::sleep(2 * SHORT);
    queue.put(2).unwrap();
    let got = getter.join().unwrap().ok();
    assert_eq!(got.or_else(|| queue.try_get().ok()), Some(2));
}

#[test]
fn closing_lets_the_rest_be_taken_out() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::bounded(2));
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    let putter = spawn({
        let queue = Rc::clone(&queue);
        move || queue.put(3)
    });
    settle();
    queue.close();
    queue.close();
    assert!(queue.is_closed());
    assert_eq!(putter.join().unwrap(), Err(PutError(3)));
    assert_eq!(queue.put(4), Err(PutError(4)));
    assert_eq!(queue.try_put(4), Err(TryPutError::Closed(4)));
    assert_eq!(queue.put_timeout(4, LONG), Err(PutTimeoutError::Closed(4)));
    assert_eq!(queue.get(), Ok(1));
    assert_eq!(queue.get_timeout(LONG), Ok(2));
    assert_eq!(queue.get(), Err(GetError));
    assert_eq!(queue.try_get(), Err(TryGetError::Closed));
    assert_eq!(queue.get_timeout(LONG), Err(GetTimeoutError::Closed));
    assert_eq!(queue.peek(), Err(GetError));
    assert_eq!(queue.iter().next(), None);
}

#[test]
fn closing_ends_the_waits_of_getters() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::<u8>::new());
    let getters: Vec<_> = (0..3)
        .map(|_| {
            let queue = Rc::clone(&queue);
            spawn(move || queue.get())
        })
        .collect();
    let peeker = spawn({
        let queue = Rc::clone(&queue);
        move || queue.peek()
    });
    settle();
    queue.close();
    for getter in getters {
        assert_eq!(getter.join().unwrap(), Err(GetError));
    }
    assert_eq!(peeker.join().unwrap(), Err(GetError));
}

#[test]
fn closing_immediately_takes_everything_out() {
    let smallest = PriorityQueue::new();
    let last = LifoQueue::new();
    for item in [2, 3, 1] {
        smallest.put(item).unwrap();
        last.put(item).unwrap();
    }
    assert_eq!(smallest.close_immediate(), [1, 2, 3]);
    assert_eq!(last.close_immediate(), [1, 3, 2]);
    assert_eq!(smallest.get(), Err(GetError));
    assert_eq!(last.put(4), Err(PutError(4)));
}

#[test]
fn peek_waits_and_takes_nothing() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::new());
    assert_eq!(queue.try_peek(), Err(TryGetError::Empty));
    assert_eq!(queue.peek_timeout(SHORT), Err(GetTimeoutError::Timeout));
    let peekers: Vec<_> = (0..3)
        .map(|_| {
            let queue = Rc::clone(&queue);
            spawn(move || queue.peek())
        })
        .collect();
    settle();
    queue.put(String::from("item")).unwrap();
    for peeker in peekers {
        assert_eq!(peeker.join().unwrap().unwrap(), "item");
    }
    assert_eq!(queue.get().unwrap(), "item");
}

/// Its clone lets others run, and may panic.
struct Slow {
    cloning: Rc<Cell<u32>>,
    fails: bool,
}

impl Clone for Slow {
    fn clone(&self) -> Self {
        self.cloning.set(self.cloning.get() + 1);
        sleep(SHORT);
        assert!(!self.fails, "a clone that fails");
        self.cloning.set(self.cloning.get() - 1);
        Slow {
            cloning: Rc::clone(&self.cloning),
            fails: false,
        }
    }
}

#[test]
fn others_wait_while_an_item_is_cloned() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::bounded(2));
    let cloning = Rc::new(Cell::new(0));
    let slow = |fails| Slow {
        cloning: Rc::clone(&cloning),
        fails,
    };
    queue.put(slow(false)).unwrap();
    let order = Rc::new(RefCell::new(Vec::new()));
    let peeker = spawn({
        let queue = Rc::clone(&queue);
        move || queue.peek().is_ok()
    });
    settle();
    assert_eq!(cloning.get(), 1);
    assert_eq!(queue.len(), 1, "the item is still in the queue");
    let users: Vec<_> = (0..6)
        .map(|n| {
            let (queue, order, cloning) =
                (Rc::clone(&queue), Rc::clone(&order), Rc::clone(&cloning));
            let item = slow(false);
            spawn(move || {
                match n % 3 {
                    0 => assert!(queue.try_put(item).is_ok()),
                    1 => assert!(queue.try_get().is_ok()),
                    _ => assert!(queue.try_peek().is_ok()),
                }
                assert_eq!(cloning.get(), 0, "nobody gets in between");
                order.borrow_mut().push(n);
            })
        })
        .collect();
    assert!(peeker.join().unwrap());
    assert!(joinall(users).iter().all(Result::is_ok));
    assert_eq!(*order.borrow(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_clone_that_panics_leaves_the_item_where_it_is() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::new());
    let cloning = Rc::new(Cell::new(0));
    queue
        .put(Slow {
            cloning: Rc::clone(&cloning),
            fails: true,
        })
        .unwrap();
    let peeker = spawn({
        let queue = Rc::clone(&queue);
        move || queue.peek().is_ok()
    });
    settle();
    // Waits until the peeker is done with it.
    assert!(queue.try_get().is_ok());
    assert!(peeker.join().is_err());
    assert!(queue.is_empty());
}

#[test]
fn a_get_that_times_out_while_the_items_are_away_takes_nothing() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::new());
    let cloning = Rc::new(Cell::new(0));
    queue
        .put(Slow {
            cloning,
            fails: false,
        })
        .unwrap();
    let peeker = spawn({
        let queue = Rc::clone(&queue);
        move || queue.peek().is_ok()
    });
    settle();
    let got = queue.get_timeout(Duration::from_micros(10));
    assert_eq!(got.err(), Some(GetTimeoutError::Timeout));
    assert!(peeker.join().unwrap());
    assert_eq!(queue.len(), 1);
    assert!(queue.try_get().is_ok());
}

/// Compared by its number, which takes a while, in which others run.
#[derive(Debug, PartialEq, Eq)]
struct Ponder(u32, Duration);

impl PartialOrd for Ponder {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ponder {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        sleep(self.1.max(other.1));
        self.0.cmp(&other.0)
    }
}

#[test]
fn comparisons_may_let_others_run() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(PriorityQueue::bounded(10));
    let users: Vec<_> = (0..50)
        .flat_map(|n| {
            let (putting, getting) = (Rc::clone(&queue), Rc::clone(&queue));
            [
                spawn(move || {
                    putting.put(Ponder(n * 37 % 50, Duration::ZERO)).unwrap();
                    None
                }),
                spawn(move || Some(getting.get().unwrap().0)),
            ]
        })
        .collect();
    let got: BTreeSet<_> = joinall(users)
        .into_iter()
        .filter_map(Result::unwrap)
        .collect();
    assert_eq!(got.len(), 50);
    assert!(queue.is_empty());
}

#[test]
fn a_priority_queue_serves_putters_that_wait() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(PriorityQueue::bounded(2));
    let putters: Vec<_> = [5, 4, 3, 2, 1]
        .into_iter()
        .map(|item| {
            let queue = Rc::clone(&queue);
            spawn(move || queue.put(item).unwrap())
        })
        .collect();
    settle();
    assert_eq!(queue.len(), 2);
    let got: Vec<_> = (0..5).map(|_| queue.get().unwrap()).collect();
    assert_eq!(got, [4, 3, 2, 1, 5]);
    assert!(joinall(putters).iter().all(Result::is_ok));
}

#[test]
fn a_channel_hands_over_from_one_to_the_other() {
    let _limit = TimeLimit::start(LIMIT);
    let channel = Rc::new(Channel::new());
    assert_eq!(channel.try_put(0), Err(TryPutError::Full(0)));
    assert_eq!(channel.try_get(), Err(TryGetError::Empty));
    let putter = spawn({
        let channel = Rc::clone(&channel);
        move || channel.put(1)
    });
    settle();
    assert!(!putter.is_finished(), "nobody has taken it");
    assert_eq!(channel.try_get(), Ok(1));
    putter.join().unwrap().unwrap();

    let getter = spawn({
        let channel = Rc::clone(&channel);
        move || channel.get()
    });
    settle();
    channel.try_put(2).unwrap();
    assert_eq!(getter.join().unwrap(), Ok(2));

    assert_eq!(
        channel.put_timeout(3, SHORT),
        Err(PutTimeoutError::Timeout(3))
    );
    assert_eq!(channel.try_get(), Err(TryGetError::Empty));
    let putter = spawn({
        let channel = Rc::clone(&channel);
        move || channel.put(4)
    });
    settle();
    channel.close();
    assert_eq!(putter.join().unwrap(), Err(PutError(4)));
    assert_eq!(channel.get(), Err(GetError));
}

#[test]
fn join_waits_until_all_is_done() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(JoinableQueue::bounded(3));
    queue.join();
    let done = Rc::new(Cell::new(0));
    for _ in 0..2 {
        let (queue, done) = (Rc::clone(&queue), Rc::clone(&done));
        spawn(move || {
            for _ in &*queue {
                yield_now();
                done.set(done.get() + 1);
                queue.task_done();
            }
        });
    }
    for item in 0..20 {
        queue.put(item).unwrap();
    }
    queue.join();
    assert_eq!(done.get(), 20);
    assert!(queue.join_timeout(Duration::ZERO));

    queue.put(1).unwrap();
    settle();
    queue.close();
    settle();
    assert_eq!(queue.unfinished_tasks(), 0);
    let panic = catch_unwind(AssertUnwindSafe(|| queue.task_done()));
    assert!(panic.is_err(), "more often than items were put");
}

#[test]
fn what_is_thrown_away_counts_as_done() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(JoinableQueue::new());
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    assert!(!queue.join_timeout(SHORT));
    let joiner = spawn({
        let queue = Rc::clone(&queue);
        move || queue.join()
    });
    settle();
    assert_eq!(queue.get(), Ok(1));
    assert_eq!(queue.close_immediate(), [2]);
    assert_eq!(queue.unfinished_tasks(), 1, "one was taken out before");
    assert!(!joiner.is_finished());
    queue.task_done();
    joiner.join().unwrap();
}

#[test]
fn a_static_queue_serves_os_threads_without_hubs_work() {
    static QUEUE: Queue<usize> = Queue::new();
    let _limit = TimeLimit::start(LIMIT);
    let threads: Vec<_> = (0..3)
        .map(|n| {
            std::thread::spawn(move || (0..1000).for_each(|i| QUEUE.put(n * 1000 + i).unwrap()))
        })
        .collect();
    let got: BTreeSet<_> = (0..3000).map(|_| QUEUE.get().unwrap()).collect();
    assert_eq!(got.len(), 3000);
    threads.into_iter().for_each(|t| t.join().unwrap());
}

/// Producers and consumers on two hubs and their roots: each item arrives once, and in the order of its producer.
fn across_hubs<Q: Sync + Send + 'static>(
    queue: Q,
    put: fn(&Q, (usize, usize)) -> bool,
    get: fn(&Q) -> Option<(usize, usize)>,
    close: fn(&Q),
) {
    const PRODUCERS: usize = 4;
    const ITEMS: usize = 2_000;
    let _limit = TimeLimit::start(LIMIT);
    let queue = Arc::new(queue);
    let left = Arc::new(AtomicUsize::new(PRODUCERS));
    let hubs: Vec<_> = (0..2)
        .map(|hub| {
            let (queue, left) = (Arc::clone(&queue), Arc::clone(&left));
            std::thread::spawn(move || {
                let producers = (0..PRODUCERS / 2).map(|n| {
                    let (queue, left) = (Arc::clone(&queue), Arc::clone(&left));
                    spawn(move || {
                        let producer = hub * PRODUCERS / 2 + n;
                        (0..ITEMS).for_each(|item| assert!(put(&queue, (producer, item))));
                        if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                            close(&queue);
                        }
                    })
                });
                let producers: Vec<_> = producers.collect();
                let consumers = (0..3).map(|_| {
                    let queue = Arc::clone(&queue);
                    spawn(move || {
                        let mut got = Vec::new();
                        while let Some(item) = get(&queue) {
                            got.push(item);
                        }
                        got
                    })
                });
                let consumers: Vec<_> = consumers.collect();
                assert!(joinall(producers).iter().all(Result::is_ok));
                joinall(consumers).into_iter().map(Result::unwrap).collect()
            })
        })
        .collect();
    let mut all = BTreeSet::new();
    for hub in hubs {
        let consumers: Vec<Vec<(usize, usize)>> = hub.join().unwrap();
        for got in consumers {
            all.extend(got);
        }
    }
    assert_eq!(all.len(), PRODUCERS * ITEMS);
}

#[test]
fn bounded_queues_work_across_hubs() {
    across_hubs(
        Queue::bounded(3),
        |q, i| q.put(i).is_ok(),
        |q| q.get().ok(),
        Queue::close,
    );
}

#[test]
fn unbounded_queues_work_across_hubs() {
    across_hubs(
        Queue::new(),
        |q, i| q.put(i).is_ok(),
        |q| q.get().ok(),
        Queue::close,
    );
}

#[test]
fn channels_work_across_hubs() {
    across_hubs(
        Channel::new(),
        |q, i| q.put(i).is_ok(),
        |q| q.get().ok(),
        Channel::close,
    );
}

#[test]
fn priority_queues_work_across_hubs() {
    across_hubs(
        PriorityQueue::bounded(5),
        |q, i| q.put(i).is_ok(),
        |q| q.get().ok(),
        PriorityQueue::close,
    );
}

#[test]
fn impatient_users_lose_nothing_across_hubs() {
    across_hubs(
        Queue::bounded(2),
        |queue, mut item| {
            loop {
                match queue.put_timeout(item, Duration::from_micros(50)) {
                    Ok(()) => return true,
                    Err(PutTimeoutError::Timeout(same)) => item = same,
                    Err(PutTimeoutError::Closed(_)) => return false,
                }
            }
        },
        |queue| {
            loop {
                match queue.get_timeout(Duration::from_micros(30)) {
                    Ok(item) => return Some(item),
                    Err(GetTimeoutError::Timeout) => (),
                    Err(GetTimeoutError::Closed) => return None,
                }
            }
        },
        Queue::close,
    );
}

/// Counts those that exist.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::AcqRel);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[test]
fn a_putter_that_is_unwound_has_put_nothing() {
    let _limit = TimeLimit::start(LIMIT);
    let count = Arc::new(AtomicUsize::new(0));
    let channel = Arc::new(Channel::new());
    std::thread::spawn({
        let (count, channel) = (Arc::clone(&count), Arc::clone(&channel));
        move || {
            spawn(move || channel.put(Counted::new(&count)));
            settle();
            // The thread ends, and with it the green thread that waits.
        }
    })
    .join()
    .unwrap();
    assert_eq!(count.load(Ordering::Acquire), 0);
    assert!(channel.try_get().is_err());
    assert_eq!(Arc::strong_count(&channel), 1);
}

#[test]
fn a_getter_that_is_unwound_has_taken_nothing() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Arc::new(Queue::new());
    std::thread::spawn({
        let queue = Arc::clone(&queue);
        move || {
            spawn(move || queue.get());
            settle();
        }
    })
    .join()
    .unwrap();
    queue.put(1).unwrap();
    assert_eq!(queue.try_get(), Ok(1));
}

#[test]
fn those_who_are_killed_while_they_wait_leave_everything_to_others() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::bounded(1));
    let getters: Vec<_> = (0..3)
        .map(|_| {
            let queue = Rc::clone(&queue);
            spawn(move || queue.get())
        })
        .collect();
    settle();
    getters[0].kill();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    let mut getters = getters.into_iter();
    assert!(getters.next().unwrap().join().is_err());
    assert_eq!(getters.next().unwrap().join().unwrap(), Ok(1));
    assert_eq!(getters.next().unwrap().join().unwrap(), Ok(2));

    queue.put(3).unwrap();
    let putters: Vec<_> = (4..6)
        .map(|item| {
            let queue = Rc::clone(&queue);
            spawn(move || queue.put(item))
        })
        .collect();
    settle();
    putters[0].kill();
    assert_eq!(queue.get(), Ok(3));
    assert_eq!(queue.get(), Ok(5));
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
}

#[test]
fn who_was_given_an_item_has_it_even_if_he_is_killed_then() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::new());
    let getter = spawn({
        let queue = Rc::clone(&queue);
        move || queue.get()
    });
    settle();
    queue.put(1).unwrap();
    getter.kill_nowait();
    assert_eq!(getter.join().unwrap(), Ok(1), "met at its next wait");

    // Killed first: then it is too late for the item.
    let getter = spawn({
        let queue = Rc::clone(&queue);
        move || queue.get()
    });
    settle();
    getter.kill_nowait();
    queue.put(2).unwrap();
    assert!(getter.join().is_err());
    assert_eq!(queue.try_get(), Ok(2));
}

#[test]
fn who_is_killed_while_he_waits_for_the_items_lets_the_next_one_have_them() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::new());
    let cloning = Rc::new(Cell::new(0));
    queue
        .put(Slow {
            cloning,
            fails: false,
        })
        .unwrap();
    let [peeker, killed] = [(); 2].map(|()| {
        let queue = Rc::clone(&queue);
        spawn(move || queue.peek().is_ok())
    });
    settle();
    let getter = spawn({
        let queue = Rc::clone(&queue);
        move || queue.get().is_ok()
    });
    settle();
    killed.kill();
    assert!(peeker.join().unwrap());
    assert!(getter.join().unwrap());
    assert!(queue.is_empty());
}

#[test]
fn who_is_killed_while_he_compares_gives_the_items_back() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(PriorityQueue::new());
    queue.put(Ponder(2, Duration::ZERO)).unwrap();
    let putter = spawn({
        let queue = Rc::clone(&queue);
        move || queue.put(Ponder(1, LONG))
    });
    settle();
    putter.kill();
    assert!(putter.join().is_err());
    let mut left = [queue.get().unwrap().0, queue.get().unwrap().0];
    left.sort_unstable();
    assert_eq!(left, [1, 2], "nothing is lost");
}

#[test]
fn a_time_limit_around_a_call_takes_nothing_out() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Rc::new(Queue::new());
    assert!(greenhub::timeout(SHORT, || queue.get()).is_err());
    queue.put(1).unwrap();
    assert_eq!(queue.try_get(), Ok(1));
}

#[test]
fn a_destructor_may_use_the_queue_while_its_green_thread_unwinds() {
    struct Reports(Arc<Queue<&'static str>>);
    impl Drop for Reports {
        fn drop(&mut self) {
            // Full: this waits, in the middle of unwinding.
            self.0.put("unwound").unwrap();
        }
    }
    let _limit = TimeLimit::start(LIMIT);
    let queue = Arc::new(Queue::bounded(1));
    queue.put("full").unwrap();
    let unwinding = spawn({
        let queue = Arc::clone(&queue);
        move || {
            let _reports = Reports(queue);
            panic!("on purpose");
        }
    });
    settle();
    assert_eq!(queue.get(), Ok("full"));
    assert_eq!(queue.get(), Ok("unwound"));
    assert!(unwinding.join().is_err());
}

#[test]
fn items_are_dropped_with_the_queue() {
    let count = Arc::new(AtomicUsize::new(0));
    let queue = Queue::new();
    for _ in 0..3 {
        assert!(queue.put(Counted::new(&count)).is_ok());
    }
    drop(queue.get().unwrap());
    assert_eq!(count.load(Ordering::Acquire), 2);
    drop(queue);
    assert_eq!(count.load(Ordering::Acquire), 0);
}

#[test]
fn an_items_destructor_may_use_the_queue() {
    struct PutsBack(Rc<Queue<Option<PutsBack>>>);
    impl Drop for PutsBack {
        fn drop(&mut self) {
            let _ = self.0.try_put(None);
            assert!(self.0.len() <= 2);
        }
    }
    let queue = Rc::new(Queue::new());
    queue.put(Some(PutsBack(Rc::clone(&queue)))).unwrap();
    queue.put(Some(PutsBack(Rc::clone(&queue)))).unwrap();
    drop(queue.get().unwrap());
    drop(queue.close_immediate());
    assert_eq!(queue.try_get().err(), Some(TryGetError::Closed));
}

#[test]
fn scoped_green_threads_may_borrow_a_queue_of_borrows() {
    let _limit = TimeLimit::start(LIMIT);
    let text = String::from("to be borrowed");
    let queue = Queue::bounded(1);
    let words = thread::scope(|scope| {
        let getter = scope.spawn(|| queue.iter().collect::<Vec<&str>>());
        text.split(' ')
            .try_for_each(|word| queue.put(word))
            .unwrap();
        queue.close();
        getter.join().unwrap()
    });
    assert_eq!(words, ["to", "be", "borrowed"]);
}

#[test]
fn an_os_thread_wakes_a_green_thread() {
    let _limit = TimeLimit::start(LIMIT);
    let queue = Arc::new(Queue::new());
    let ran = Arc::new(AtomicBool::new(false));
    let getter = spawn({
        let queue = Arc::clone(&queue);
        move || queue.get()
    });
    settle();
    let other = std::thread::spawn({
        let ran = Arc::clone(&ran);
        move || {
            ran.store(true, Ordering::Release);
            queue.put(5).unwrap();
        }
    });
    assert_eq!(getter.join().unwrap(), Ok(5));
    assert!(ran.load(Ordering::Acquire));
    other.join().unwrap();
}
