//! Waiting for several things without taking them.

mod support;

use std::rc::Rc;
use std::time::{Duration, Instant};

use greenhub::event::{AsyncResult, Event};
use greenhub::queue::{PriorityQueue, Queue};
use greenhub::sync::Semaphore;
use greenhub::thread::{self, JoinHandle};
use greenhub::{Waitable, iwait, sleep, spawn, timeout, wait, yield_now};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);

/// Far later than any test runs.
const LATE: Duration = Duration::from_secs(500);

fn sleepers<const N: usize>(millis: [u64; N]) -> [JoinHandle<u64>; N] {
    millis.map(|millis| {
        spawn(move || {
            sleep(Duration::from_millis(millis));
            millis
        })
    })
}

/// Green threads that are parked, and one that lets them end in this order.
fn parked(count: usize, order: impl IntoIterator<Item = usize>) -> Vec<JoinHandle<()>> {
    let handles: Vec<_> = (0..count).map(|_| spawn(thread::park)).collect();
    let threads: Vec<_> = order
        .into_iter()
        .map(|index| handles[index].thread().clone())
        .collect();
    spawn(move || {
        for thread in threads {
            yield_now();
            thread.unpark();
        }
    });
    handles
}

#[test]
fn wait_returns_when_as_many_as_asked_for_are_ready() {
    let _limit = TimeLimit::start(LIMIT);
    let handles = parked(4, [1, 2, 0]);
    assert_eq!(wait(&handles, Some(0), None), []);
    assert_eq!(wait(&handles, Some(1), None), [1]);
    assert_eq!(wait(&handles, Some(3), None), [1, 2, 0]);
    // Those that are ready come first, in their own order, and no more than asked for.
    assert_eq!(wait(&handles, Some(2), None), [0, 1]);
    assert_eq!(wait(&handles, Some(2), Some(Duration::ZERO)), [0, 1]);
    for (index, handle) in handles.into_iter().enumerate() {
        match index {
            3 => handle.kill(),
            _ => handle.join().unwrap(),
        }
    }
}

#[test]
fn wait_ends_with_its_time() {
    let _limit = TimeLimit::start(LIMIT);
    let handles = sleepers([5, 60_000, 60_000]);
    let (start, limit) = (Instant::now(), Duration::from_millis(30));
    assert_eq!(wait(&handles, None, Some(limit)), [0]);
    assert!(start.elapsed() >= limit);
    // A time of zero still lets what is ready run.
    let ready = spawn(|| ());
    assert_eq!(wait([&ready], None, Some(Duration::ZERO)), [0]);
    greenhub::killall(&handles);
}

#[test]
fn nothing_to_wait_for_is_no_wait() {
    let _limit = TimeLimit::start(LIMIT);
    let none: [JoinHandle<()>; 0] = [];
    assert_eq!(wait(&none, None, None), []);
    assert_eq!(wait(&none, Some(3), None), []);
    assert_eq!(iwait(&none, None, None).next(), None);
}

#[test]
fn several_types_are_waited_for_at_once() {
    let _limit = TimeLimit::start(LIMIT);
    let number = Rc::new(spawn(|| 1));
    let word = spawn(|| {
        sleep(Duration::from_millis(5));
        "word"
    });
    thread::scope(|scope| {
        let scoped = scope.spawn(|| sleep(Duration::from_millis(10)));
        let objects: [&dyn Waitable; 3] = [&scoped, &word, &number];
        assert_eq!(wait(objects, None, None), [2, 1, 0]);
        // One and the same may occur more than once.
        assert_eq!(
            wait(objects.iter().chain([&objects[0]]), None, None).len(),
            4
        );
    });
}

#[test]
fn every_kind_of_object_is_ready_in_its_own_way() {
    let _limit = TimeLimit::start(LIMIT);
    let (event, result) = (Event::new(), AsyncResult::new());
    let (queue, closed) = (Queue::new(), PriorityQueue::<u8>::new());
    let semaphore = Semaphore::new(0);
    let handle = spawn(thread::park);
    thread::scope(|scope| {
        let objects: [&dyn Waitable; 6] = [&event, &result, &queue, &closed, &semaphore, &handle];
        assert_eq!(wait(objects, None, Some(Duration::ZERO)), []);
        let waiter = scope.spawn(move || wait(objects, None, None));
        let causes: [&dyn Fn(); 6] = [
            &|| handle.thread().unpark(),
            &|| semaphore.release(),
            &|| closed.close(),
            &|| queue.put(1).unwrap(),
            &|| result.set("a result").unwrap(),
            &|| event.set(),
        ];
        for cause in causes {
            yield_now();
            assert!(!waiter.is_finished());
            cause();
            yield_now();
        }
        assert_eq!(waiter.join().unwrap(), [5, 4, 3, 2, 1, 0]);
        // Nothing was taken.
        assert!(semaphore.try_acquire().is_some());
        assert_eq!(queue.try_get(), Ok(1));
        assert!(event.is_set() && result.is_ready());
    });
}

#[test]
fn what_somebody_else_was_faster_to_take_is_not_ready() {
    let _limit = TimeLimit::start(LIMIT);
    let (queue, semaphore) = (Rc::new(Queue::new()), Rc::new(Semaphore::new(0)));
    let waiter = spawn({
        let (queue, semaphore) = (Rc::clone(&queue), Rc::clone(&semaphore));
        move || {
            let objects: [&dyn Waitable; 2] = [&*queue, &*semaphore];
            wait(objects, Some(1), None)
        }
    });
    yield_now();
    for _ in 0..10 {
        queue.put(1).unwrap();
        assert_eq!(queue.get(), Ok(1));
        semaphore.release();
        semaphore.acquire().forget();
        yield_now();
        assert!(!waiter.is_finished());
    }
    // One who waits for a permit gets it, and the watchers do not see it.
    let taker = spawn({
        let semaphore = Rc::clone(&semaphore);
        move || semaphore.acquire().forget()
    });
    yield_now();
    semaphore.release();
    taker.join().unwrap();
    assert!(!waiter.is_finished());
    semaphore.release();
    assert_eq!(waiter.join().unwrap(), [1]);
}

#[test]
fn a_pulse_of_an_event_counts() {
    let _limit = TimeLimit::start(LIMIT);
    let event = Rc::new(Event::new());
    let waiter = spawn({
        let event = Rc::clone(&event);
        move || wait([&event], None, None)
    });
    yield_now();
    event.set();
    event.clear();
    assert_eq!(waiter.join().unwrap(), [0]);
}

#[test]
fn permits_are_seen_by_several_that_wait_for_them() {
    let _limit = TimeLimit::start(LIMIT);
    const PERMITS: usize = 3;
    let semaphore = std::sync::Arc::new(Semaphore::new(PERMITS));
    let work = {
        let semaphore = std::sync::Arc::clone(&semaphore);
        move || {
            let tasks = (0..20).map(|_| {
                let semaphore = std::sync::Arc::clone(&semaphore);
                spawn(move || {
                    for _ in 0..50 {
                        let _permit = loop {
                            assert_eq!(wait([&semaphore], None, None), [0]);
                            if let Some(permit) = semaphore.try_acquire() {
                                break permit;
                            }
                        };
                        yield_now();
                    }
                })
            });
            for result in greenhub::joinall(tasks) {
                result.unwrap();
            }
        }
    };
    let other = std::thread::spawn(work.clone());
    work();
    other.join().unwrap();
    assert_eq!(semaphore.available(), PERMITS);
}

#[test]
fn iwait_yields_in_the_order_of_completion() {
    let _limit = TimeLimit::start(LIMIT);
    let handles = parked(4, [1, 3, 0, 2]);
    let mut seen = Vec::new();
    for index in iwait(&handles, None, None) {
        assert!(handles[index].is_finished());
        seen.push(index);
    }
    assert_eq!(seen, [1, 3, 0, 2]);
    let mut waiting = iwait(&handles, Some(2), None);
    assert_eq!(waiting.by_ref().count(), 2);
    assert_eq!(waiting.next(), None);
}

#[test]
fn iwait_ends_with_its_time_and_for_good() {
    let _limit = TimeLimit::start(LIMIT);
    let (first, second) = (spawn(|| ()), spawn(thread::park));
    let limit = Duration::from_millis(20);
    let start = Instant::now();
    let mut waiting = iwait([&first, &second], None, Some(limit));
    assert_eq!(waiting.next(), Some(0));
    assert_eq!(waiting.next(), None);
    assert!(start.elapsed() >= limit);
    second.thread().unpark();
    second.wait();
    assert_eq!(waiting.next(), None);
}

#[test]
fn what_is_ready_when_the_time_is_up_counts() {
    let _limit = TimeLimit::start(LIMIT);
    let end = Instant::now() + Duration::from_millis(10);
    let handles: Vec<_> = (0..3)
        .map(|_| spawn(move || thread::sleep_until(end)))
        .collect();
    let parked = spawn(thread::park);
    yield_now();
    let waiting = iwait(
        handles.iter().chain([&parked]),
        None,
        Some(Duration::from_millis(20)),
    );
    // The hub sees that both points in time have passed, in one look at its timers.
    spawn_blocking_nap(Duration::from_millis(30));
    assert!(waiting.eq(0..3));
    parked.kill();
}

/// A green thread that keeps the hub from looking at anything for a while.
fn spawn_blocking_nap(nap: Duration) {
    spawn(move || std::thread::sleep(nap));
}

#[test]
fn ten_thousand_are_waited_for_in_linear_time() {
    let _limit = TimeLimit::start(LIMIT);
    let handles = parked(10_000, 0..10_000);
    assert!(iwait(&handles, None, None).eq(0..10_000));

    // Each is ready when the one before has been reported. With work proportional to the number each time, this would take
    // a hundred times as long for the long list as for a hundred short ones.
    let run = |count: usize| {
        let events: Vec<_> = (0..count).map(|_| Event::new()).collect();
        let start = Instant::now();
        let mut waiting = iwait(&events, None, None);
        for (n, event) in events.iter().enumerate() {
            event.set();
            assert_eq!(waiting.next(), Some(n));
        }
        assert_eq!(waiting.next(), None);
        start.elapsed()
    };
    let linear = (0..10).any(|_| {
        let many: Duration = (0..100).map(|_| run(100)).sum();
        run(10_000) < many * 20
    });
    assert!(linear);
}

#[test]
fn a_wait_that_is_given_up_leaves_nothing_behind() {
    let _limit = TimeLimit::start(LIMIT);
    let handles: Rc<Vec<_>> = Rc::new((0..50).map(|_| spawn(thread::park)).collect());
    for _ in 0..20 {
        let ours = Rc::clone(&handles);
        let killed = spawn(move || wait(ours.iter(), None, None));
        yield_now();
        killed.kill();
        assert!(
            timeout(Duration::from_micros(50), || wait(
                handles.iter(),
                None,
                None
            ))
            .is_err()
        );
        drop(iwait(handles.iter(), None, None));
        // Forgetting it is no way to leave something behind that is gone.
        std::mem::forget(iwait(handles.iter(), None, None));
    }
    greenhub::killall(handles.iter());
}

#[test]
fn several_wait_for_the_same_things() {
    let _limit = TimeLimit::start(LIMIT);
    let handles = Rc::new(sleepers([20, 10]));
    let waiters: Vec<_> = (0..10)
        .map(|_| {
            let handles = Rc::clone(&handles);
            spawn(move || wait(handles.iter(), None, None))
        })
        .collect();
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), [1, 0]);
    }
}

#[test]
fn green_threads_of_another_hub_are_waited_for() {
    let _limit = TimeLimit::start(LIMIT);
    const COUNT: u64 = 2_000;
    let (sender, receiver) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        let handles: Vec<_> = (0..COUNT)
            .map(|n| spawn(move || sleep(Duration::from_micros(n * 7_919 % 5_000))))
            .collect();
        let (all, all_waited) = std::sync::mpsc::channel::<()>();
        sender.send((handles, all)).unwrap();
        // The hub has to run until the others have seen all of it.
        while all_waited.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            sleep(Duration::from_micros(100));
        }
    });
    let (handles, all) = receiver.recv().unwrap();
    let mut seen: Vec<_> = iwait(&handles, None, None).collect();
    drop(all);
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..COUNT as usize));
    other.join().unwrap();
}

#[test]
fn a_handle_can_be_waited_for_and_kept() {
    let _limit = TimeLimit::start(LIMIT);
    let handle = Rc::new(spawn(|| {
        sleep(Duration::from_millis(20));
        3
    }));
    assert!(!handle.wait_timeout(Duration::from_millis(1)));
    let others: Vec<_> = (0..3)
        .map(|_| {
            let handle = Rc::clone(&handle);
            spawn(move || handle.wait())
        })
        .collect();
    assert!(handle.wait_timeout(LATE));
    handle.wait();
    for result in greenhub::joinall(others) {
        result.unwrap();
    }
    assert_eq!(Rc::into_inner(handle).unwrap().join().unwrap(), 3);
}
