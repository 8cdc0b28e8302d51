//! Everything at once, at random: green threads of one to three hubs wait for all there is to wait for, while others kill
//! them and time limits end their waits at any moment. In the end nothing may be lost, left over, or held.
//!
//! A run is named by its seed, which a failure tells; `GREENHUB_STRESS_SEED` repeats its choices (though not its timing), and
//! `GREENHUB_STRESS_MS` says how long each test takes.
//!
//! To add a kind of object: a `Thing` in `things`. What passes messages on needs a `Mailbox` there, and no more.

mod support;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as OsMutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use greenhub::event::{AsyncResult, Event};
use greenhub::generator::Generator;
use greenhub::net::{TcpListener, TcpStream};
use greenhub::pool::{Group, Pool};
use greenhub::queue::{Channel, JoinableQueue, LifoQueue, PriorityQueue, Queue};
use greenhub::sync::{Barrier, Condvar, Mutex, ReentrantLock, RwLock, Semaphore, mpsc};
use greenhub::thread::{self, JoinHandle, Outcome};
use greenhub::{Hubs, blocking, select, sleep, spawn, timeout, wait, yield_now};

use support::TimeLimit;

/// Green threads per hub that do things.
const WORKERS: usize = 24;

/// Numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        // Seeds that differ little must not begin alike.
        Random((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Mostly a few microseconds.
    fn while_(&mut self) -> Duration {
        let most = [1, 20, 100, 500][self.below(4) as usize];
        Duration::from_micros(self.below(most))
    }
}

/// Something to wait for.
trait Thing: Send + Sync {
    /// Waits in some way. May be unwound from any wait.
    fn act(&self, random: &mut Random);

    /// Asserts that nothing was lost, when all green threads have ended.
    fn check(&self) {}
}

/// A wait that leaves nothing to check.
impl<F: Fn(&mut Random) + Send + Sync> Thing for F {
    fn act(&self, random: &mut Random) {
        self(random);
    }
}

/// What became of the messages that were sent through something.
#[derive(Default)]
struct Ledger {
    next: AtomicU64,
    sent: OsMutex<HashSet<u64>>,
    received: OsMutex<HashSet<u64>>,
    /// Messages that exist.
    alive: AtomicI64,
}

/// A message. Counted while it exists.
struct Message {
    number: u64,
    ledger: Arc<Ledger>,
}

impl Ledger {
    fn message(self: &Arc<Ledger>) -> Message {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Message {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            ledger: Arc::clone(self),
        }
    }

    fn sent(&self, number: u64) {
        assert!(self.sent.lock().unwrap().insert(number));
    }

    fn received(&self, message: Message) {
        assert!(
            self.received.lock().unwrap().insert(message.number),
            "received twice"
        );
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.ledger.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

macro_rules! by_number {
    ($Message:ident) => {
        impl PartialEq for $Message {
            fn eq(&self, other: &Self) -> bool {
                self.number == other.number
            }
        }
        impl Eq for $Message {}
        impl PartialOrd for $Message {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $Message {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.number.cmp(&other.number)
            }
        }
    };
}
by_number!(Message);

/// Something that passes messages on. Whatever was sent is received exactly once, or still there.
struct Mailbox<Send, Get, TryGet> {
    ledger: Arc<Ledger>,
    /// Returns whether the message was accepted.
    send: Send,
    get: Get,
    try_get: TryGet,
}

fn mailbox<S, G, T>(send: S, get: G, try_get: T) -> Box<dyn Thing>
where
    S: Fn(Message, &mut Random) -> bool + Send + Sync + 'static,
    G: Fn(&mut Random) -> Option<Message> + Send + Sync + 'static,
    T: Fn() -> Option<Message> + Send + Sync + 'static,
{
    Box::new(Mailbox {
        ledger: Arc::default(),
        send,
        get,
        try_get,
    })
}

impl<S, G, T> Thing for Mailbox<S, G, T>
where
    S: Fn(Message, &mut Random) -> bool + Send + Sync,
    G: Fn(&mut Random) -> Option<Message> + Send + Sync,
    T: Fn() -> Option<Message> + Send + Sync,
{
    fn act(&self, random: &mut Random) {
        // Neither branch waits between the call and the note of what has come of it.
        if random.one_in(2) {
            let message = self.ledger.message();
            let number = message.number;
            if (self.send)(message, random) {
                self.ledger.sent(number);
            }
        } else if let Some(message) = (self.get)(random) {
            self.ledger.received(message);
        }
    }

    fn check(&self) {
        while let Some(message) = (self.try_get)() {
            self.ledger.received(message);
        }
        let sent = self.ledger.sent.lock().unwrap();
        let received = self.ledger.received.lock().unwrap();
        let lost: Vec<_> = sent.difference(&received).collect();
        assert!(lost.is_empty(), "sent, but lost: {lost:?}");
        let unasked: Vec<_> = received.difference(&sent).collect();
        assert!(unasked.is_empty(), "received, but not sent: {unasked:?}");
        assert_eq!(self.ledger.alive.load(Ordering::Relaxed), 0, "leaked");
    }
}

/// A queue of this library, as a mailbox.
macro_rules! queue {
    ($queue:expr) => {{
        let queue = Arc::new($queue);
        let [get, try_get] = [Arc::clone(&queue), Arc::clone(&queue)];
        mailbox(
            move |message, random| match random.below(3) {
                0 => queue.put(message).is_ok(),
                1 => queue.put_timeout(message, random.while_()).is_ok(),
                _ => queue.try_put(message).is_ok(),
            },
            move |random| match random.below(3) {
                0 => get.get().ok(),
                1 => get.get_timeout(random.while_()).ok(),
                _ => get.try_get().ok(),
            },
            move || try_get.try_get().ok(),
        )
    }};
}

/// Two queues of a kind, of which everybody waits for the first that is ready.
macro_rules! selecting {
    ($queue:expr) => {{
        let queues = Arc::new([$queue, $queue]);
        let [gets, last] = [Arc::clone(&queues), Arc::clone(&queues)];
        mailbox(
            move |message, random| {
                let queue = &queues[random.below(2) as usize];
                let pause = random.while_();
                select! {
                    put(queue, Some(message)) -> result => result.is_ok(),
                    after(pause) => false,
                }
            },
            move |random| {
                let [first, second] = &*gets;
                let pause = random.while_();
                if random.one_in(4) {
                    select! {
                        get(first) -> result => result.ok(),
                        get(second) -> result => result.ok(),
                        default => None,
                    }
                } else {
                    select! {
                        get(first) -> result => result.ok(),
                        get(second) -> result => result.ok(),
                        after(pause) => None,
                    }
                }
            },
            move || last.iter().find_map(|queue| queue.try_get().ok()),
        )
    }};
}

/// Counts who is inside, and never lets more in than fit.
struct Room {
    inside: AtomicUsize,
    fits: usize,
}

struct Inside<'a>(&'a Room);

impl Room {
    fn new(fits: usize) -> Room {
        Room {
            inside: AtomicUsize::new(0),
            fits,
        }
    }

    fn enter(&self) -> Inside<'_> {
        let before = self.inside.fetch_add(1, Ordering::AcqRel);
        assert!(before < self.fits, "{} were inside already", before);
        Inside(self)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Something that lets so many in at a time: a lock, a semaphore. `enter` acquires it, runs the function inside, and releases it.
struct Exclusion<Enter, Check> {
    room: Room,
    enter: Enter,
    check: Check,
}

fn exclusion<E, C>(fits: usize, enter: E, check: C) -> Box<dyn Thing>
where
    E: Fn(&mut Random, &dyn Fn()) + Send + Sync + 'static,
    C: Fn() + Send + Sync + 'static,
{
    Box::new(Exclusion {
        room: Room::new(fits),
        enter,
        check,
    })
}

impl<E, C> Thing for Exclusion<E, C>
where
    E: Fn(&mut Random, &dyn Fn()) + Send + Sync,
    C: Fn() + Send + Sync,
{
    fn act(&self, random: &mut Random) {
        let pause = random.while_();
        (self.enter)(random, &|| {
            let _inside = self.room.enter();
            sleep(pause);
        });
    }

    fn check(&self) {
        assert_eq!(self.room.inside.load(Ordering::Acquire), 0);
        (self.check)();
    }
}

fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

fn mutex() -> Box<dyn Thing> {
    let mutex = Arc::new(Mutex::new(()));
    let last = Arc::clone(&mutex);
    let enter = move |random: &mut Random, inside: &dyn Fn()| {
        let guard = match random.below(4) {
            0 => match mutex.try_lock() {
                Ok(guard) => guard,
                Err(greenhub::sync::TryLockError::Poisoned(error)) => error.into_inner(),
                Err(greenhub::sync::TryLockError::WouldBlock) => return,
            },
            _ => unpoisoned(mutex.lock()),
        };
        mutex.clear_poison();
        inside();
        drop(guard);
    };
    exclusion(1, enter, move || {
        let result = last.try_lock();
        let is_held = matches!(result, Err(greenhub::sync::TryLockError::WouldBlock));
        assert!(!is_held, "a lock that nobody holds");
    })
}

fn rwlock() -> Box<dyn Thing> {
    let lock = Arc::new(RwLock::new(Room::new(1)));
    let last = Arc::clone(&lock);
    let enter = move |random: &mut Random, inside: &dyn Fn()| {
        if random.one_in(3) {
            let guard = unpoisoned(lock.write());
            let _alone = guard.enter();
            inside();
        } else {
            let guard = unpoisoned(lock.read());
            assert_eq!(
                guard.inside.load(Ordering::Acquire),
                0,
                "a writer is inside"
            );
            inside();
        }
    };
    exclusion(usize::MAX, enter, move || {
        let result = last.try_write();
        let is_held = matches!(result, Err(greenhub::sync::TryLockError::WouldBlock));
        assert!(!is_held, "a lock that nobody holds");
    })
}

fn semaphore() -> Box<dyn Thing> {
    const PERMITS: usize = 3;
    let semaphore = Arc::new(Semaphore::new(PERMITS));
    let last = Arc::clone(&semaphore);
    let enter = move |random: &mut Random, inside: &dyn Fn()| {
        let permit = match random.below(4) {
            0 => semaphore.try_acquire(),
            1 => semaphore.acquire_timeout(random.while_()),
            2 => Some(semaphore.acquire_many(2)),
            _ => Some(semaphore.acquire()),
        };
        if permit.is_some() {
            inside();
        }
    };
    exclusion(PERMITS, enter, move || {
        assert_eq!(last.available(), PERMITS, "permits");
    })
}

fn reentrant_lock() -> Box<dyn Thing> {
    let lock = Arc::new(ReentrantLock::new(()));
    let last = Arc::clone(&lock);
    let enter = move |random: &mut Random, inside: &dyn Fn()| {
        let _first = lock.lock();
        if random.one_in(2) {
            yield_now();
        }
        let _second = lock.lock();
        inside();
    };
    exclusion(1, enter, move || {
        let last = Arc::clone(&last);
        // From another owner.
        let locked = std::thread::spawn(move || last.try_lock().is_some());
        assert!(locked.join().unwrap(), "a lock that nobody holds");
    })
}

/// A counter behind a lock and two conditions: a queue as one would build it with them.
fn condvar() -> Box<dyn Thing> {
    #[derive(Default)]
    struct Shared {
        items: Mutex<Vec<Message>>,
        changed: Condvar,
    }
    let shared = Arc::new(Shared::default());
    let [get, last] = [Arc::clone(&shared), Arc::clone(&shared)];
    mailbox(
        move |message, random| {
            let mut items = unpoisoned(shared.items.lock());
            while items.len() >= 3 {
                let pause = random.while_();
                if random.one_in(2) {
                    items = unpoisoned(shared.changed.wait(items));
                } else {
                    items = unpoisoned(shared.changed.wait_timeout(items, pause)).0;
                }
            }
            items.push(message);
            shared.changed.notify_all();
            true
        },
        move |_| {
            let items = unpoisoned(get.items.lock());
            let mut items = unpoisoned(get.changed.wait_while(items, |items| items.is_empty()));
            let message = items.pop();
            get.changed.notify_all();
            message
        },
        move || unpoisoned(last.items.lock()).pop(),
    )
}

fn standard_channel(bound: Option<usize>) -> Box<dyn Thing> {
    enum Sender {
        Bounded(mpsc::SyncSender<Message>),
        Unbounded(mpsc::Sender<Message>),
    }
    let (sender, receiver) = match bound {
        Some(bound) => {
            let (sender, receiver) = mpsc::sync_channel(bound);
            (Sender::Bounded(sender), receiver)
        }
        None => {
            let (sender, receiver) = mpsc::channel();
            (Sender::Unbounded(sender), receiver)
        }
    };
    let receiver = Arc::new(Mutex::new(receiver));
    let last = Arc::clone(&receiver);
    mailbox(
        move |message, random| match &sender {
            Sender::Bounded(sender) if random.one_in(2) => sender.try_send(message).is_ok(),
            Sender::Bounded(sender) => sender.send(message).is_ok(),
            Sender::Unbounded(sender) => sender.send(message).is_ok(),
        },
        move |random| {
            let receiver = unpoisoned(receiver.lock());
            match random.below(3) {
                0 => receiver.recv().ok(),
                1 => receiver.recv_timeout(random.while_()).ok(),
                _ => receiver.try_recv().ok(),
            }
        },
        move || unpoisoned(last.lock()).try_recv().ok(),
    )
}

/// A connection that passes numbers on, in order and without gaps.
struct Connection {
    writer: Mutex<(TcpStream, u8)>,
    reader: Mutex<(TcpStream, u8)>,
}

fn connection() -> Box<dyn Thing> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let reader = listener.accept().unwrap().0;
    Box::new(Connection {
        writer: Mutex::new((writer, 0)),
        reader: Mutex::new((reader, 0)),
    })
}

impl Thing for Connection {
    fn act(&self, random: &mut Random) {
        if random.one_in(2) {
            let mut writer = unpoisoned(self.writer.lock());
            let (stream, next) = &mut *writer;
            stream.write_all(&[*next]).unwrap();
            *next = next.wrapping_add(1);
        } else {
            let mut reader = unpoisoned(self.reader.lock());
            let (stream, next) = &mut *reader;
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            assert_eq!(byte[0], *next, "a byte was lost, or came twice");
            *next = next.wrapping_add(1);
        }
    }

    fn check(&self) {
        let (stream, sent) = &*unpoisoned(self.writer.lock());
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let (stream, next) = &mut *unpoisoned(self.reader.lock());
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        for byte in rest {
            assert_eq!(byte, *next);
            *next = next.wrapping_add(1);
        }
        assert_eq!(next, sent);
    }
}

/// Connections that are opened and accepted, and closed at any moment.
fn connecting() -> Box<dyn Thing> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    Box::new(move |random: &mut Random| {
        if random.one_in(2) {
            let _ = listener.accept().unwrap();
        } else {
            let mut stream = TcpStream::connect(address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_micros(200)))
                .unwrap();
            let _ = stream.read(&mut [0]);
        }
    })
}

/// A child of a worker, counted until its destructors have run.
fn child(pause: Duration) -> JoinHandle<Duration> {
    let counted = Counted::new();
    spawn(move || {
        let _counted = counted;
        sleep(pause);
        pause
    })
}

fn things() -> Vec<Box<dyn Thing>> {
    let event = Event::new();
    let barrier = Barrier::new(2);
    let tokens = OsMutex::new(Vec::<thread::Thread>::new());
    let elsewhere = Hubs::new(2);
    vec![
        Box::new(|random: &mut Random| sleep(random.while_())),
        Box::new(|random: &mut Random| {
            for _ in 0..random.below(10) {
                yield_now();
            }
        }),
        Box::new(move |random: &mut Random| {
            if random.one_in(2) {
                let mut tokens = tokens.lock().unwrap();
                tokens.push(thread::current());
                let len = tokens.len();
                if len > 8 {
                    tokens.swap_remove(random.below(len as u64) as usize);
                }
                drop(tokens);
                thread::park_timeout(random.while_());
            } else if let Some(thread) = { tokens.lock().unwrap().pop() } {
                thread.unpark();
            }
        }),
        Box::new(|random: &mut Random| {
            let pause = random.while_();
            let child = child(pause);
            match random.below(4) {
                0 => assert_eq!(child.join().unwrap(), pause),
                1 => drop(child.join_timeout(random.while_())),
                2 => child.kill(),
                _ => drop(child),
            }
        }),
        Box::new(|random: &mut Random| {
            let sum = AtomicU64::new(0);
            let pauses = [(); 3].map(|()| random.while_());
            let kills = random.one_in(4);
            thread::scope(|scope| {
                for pause in pauses {
                    let sum = &sum;
                    scope.spawn(move || {
                        sleep(pause);
                        sum.fetch_add(1, Ordering::Relaxed);
                    });
                }
                if kills {
                    yield_now();
                    scope.kill();
                }
            });
            assert!(kills || sum.into_inner() == 3);
        }),
        Box::new(|random: &mut Random| {
            let pause = random.while_();
            thread::shielded(|| {
                let limited = timeout(pause, || sleep(Duration::from_micros(50)));
                let whole = timeout(Duration::from_secs(100), || sleep(pause));
                assert!(limited.is_err() || pause > Duration::ZERO);
                assert!(whole.is_ok());
            });
        }),
        Box::new(move |random: &mut Random| match random.below(3) {
            0 => event.set(),
            1 => event.clear(),
            _ => {
                let _ = event.wait_timeout(random.while_());
            }
        }),
        Box::new(|random: &mut Random| {
            let result = Arc::new(AsyncResult::new());
            let (setter, pause) = (Arc::clone(&result), random.while_());
            let counted = Counted::new();
            spawn(move || {
                let _counted = counted;
                sleep(pause);
                setter.set(pause).unwrap();
            });
            assert_eq!(*result.get(), pause);
        }),
        Box::new(move |_: &mut Random| {
            // Many arrive and are killed: it must let the others through all the same, which is for the time limits to end.
            let _ = timeout(Duration::from_micros(300), || barrier.wait());
        }),
        Box::new(|random: &mut Random| {
            let number = random.below(100);
            assert_eq!(blocking::run(move || number + 1), number + 1);
        }),
        Box::new(|random: &mut Random| {
            let pause = random.while_();
            let items = Generator::new(move |out, ()| {
                for n in 0..3 {
                    sleep(pause);
                    out.yield_(n);
                }
            });
            let taken: Vec<i32> = items.take(random.below(4) as usize).collect();
            assert!([0, 1, 2].starts_with(&taken));
        }),
        mutex(),
        rwlock(),
        semaphore(),
        reentrant_lock(),
        condvar(),
        connection(),
        connecting(),
        standard_channel(None),
        standard_channel(Some(0)),
        standard_channel(Some(2)),
        queue!(Queue::new()),
        queue!(Queue::bounded(2)),
        queue!(LifoQueue::bounded(2)),
        queue!(PriorityQueue::bounded(2)),
        queue!(JoinableQueue::bounded(2)),
        queue!(Channel::new()),
        selecting!(Queue::bounded(1)),
        selecting!(Channel::new()),
        Box::new(|random: &mut Random| {
            let children = [(); 3].map(|()| child(random.while_()));
            let ready = wait(&children, Some(2), Some(random.while_()));
            assert!(ready.iter().all(|&index| children[index].is_finished()));
        }),
        Box::new(|random: &mut Random| {
            let pauses = [(); 5].map(|()| random.while_());
            let slept = Pool::new(2).map(pauses, |pause| {
                sleep(pause);
                pause
            });
            assert_eq!(slept, pauses);
        }),
        Box::new(|random: &mut Random| {
            let group = Group::new();
            for _ in 0..3 {
                let (counted, pause) = (Counted::new(), random.while_());
                group.spawn(move || {
                    let _counted = counted;
                    sleep(pause);
                });
            }
            match random.below(3) {
                0 => group.join(),
                1 => group.kill(),
                _ => drop(group.join_timeout(random.while_())),
            }
        }),
        Box::new(move |random: &mut Random| {
            let (counted, pause) = (Counted::new(), random.while_());
            let child = elsewhere.spawn(move || {
                let _counted = counted;
                sleep(pause);
                pause
            });
            match random.below(4) {
                0 => child.kill(),
                1 => child.kill_nowait(),
                _ => assert_eq!(child.join().unwrap(), pause),
            }
        }),
    ]
}

/// Green threads that have not ended.
static ALIVE: AtomicI64 = AtomicI64::new(0);

struct Counted;

impl Counted {
    fn new() -> Counted {
        ALIVE.fetch_add(1, Ordering::AcqRel);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the hubs share.
struct World {
    things: Vec<Box<dyn Thing>>,
    /// Those who may be killed by anybody.
    workers: OsMutex<Vec<Arc<JoinHandle<()>>>>,
    /// Those who have ended.
    ended: OsMutex<Vec<Arc<JoinHandle<()>>>>,
    end: Instant,
    stopped: AtomicBool,
}

impl World {
    /// What a worker does until it is killed.
    fn work(&self, random: &mut Random) {
        struct WaitsOnDrop<'a>(&'a World, u64);

        impl Drop for WaitsOnDrop<'_> {
            fn drop(&mut self) {
                let mut random = Random::new(self.1);
                if thread::panicking() && !self.0.stopped.load(Ordering::Acquire) {
                    let thing = &self.0.things[random.below(3) as usize];
                    thing.act(&mut random);
                    let _ = timeout(random.while_(), || thing.act(&mut random));
                }
            }
        }

        while !self.stopped.load(Ordering::Acquire) {
            let thing = &self.things[random.below(self.things.len() as u64) as usize];
            let _waits = random
                .one_in(4)
                .then(|| WaitsOnDrop(self, random.below(u64::MAX)));
            match random.below(4) {
                0 => thing.act(random),
                1 => drop(timeout(random.while_(), || thing.act(random))),
                2 => {
                    let outer = random.while_();
                    let _ = timeout(outer, || timeout(random.while_(), || thing.act(random)));
                }
                _ => {
                    // Those whom nobody kills must not all wait for ever.
                    let _ = timeout(Duration::from_millis(2), || thing.act(random));
                }
            }
        }
    }

    fn spawn_worker(self: &Arc<World>, seed: u64) -> Arc<JoinHandle<()>> {
        let world = Arc::clone(self);
        let counted = Counted::new();
        let handle = spawn(move || {
            let _counted = counted;
            world.work(&mut Random::new(seed));
        });
        Arc::new(handle)
    }

    /// What the root of a hub does: sees to it that there are workers, and kills them.
    fn run_hub(self: &Arc<World>, mut random: Random) {
        let mut own = Vec::new();
        while Instant::now() < self.end {
            own.retain(|worker: &Arc<JoinHandle<()>>| !worker.is_finished());
            while own.len() < WORKERS {
                let worker = self.spawn_worker(random.below(u64::MAX));
                self.workers.lock().unwrap().push(Arc::clone(&worker));
                own.push(worker);
            }
            for _ in 0..4 {
                self.kill_somebody(&mut random);
            }
            sleep(random.while_());
        }
        // The others still kill, and are killed.
        self.stopped.store(true, Ordering::Release);
        for worker in &own {
            worker.kill();
        }
        let patience = Instant::now() + Duration::from_secs(20);
        while ALIVE.load(Ordering::Acquire) > 0 {
            assert!(Instant::now() < patience, "green threads do not end");
            sleep(Duration::from_millis(1));
        }
    }

    fn kill_somebody(self: &Arc<World>, random: &mut Random) {
        let Some(victim) = self.take_victim(random) else {
            return;
        };
        let killer = spawn({
            let (how, pause) = (random.below(4), random.while_());
            let world = Arc::clone(self);
            move || {
                match how {
                    0 => victim.kill(),
                    1 => victim.kill_nowait(),
                    2 => drop(victim.kill_timeout(pause)),
                    _ => drop(timeout(pause, || victim.kill())),
                }
                world.ended.lock().unwrap().push(victim);
            }
        });
        if random.one_in(4) {
            killer.kill();
        }
    }

    fn take_victim(&self, random: &mut Random) -> Option<Arc<JoinHandle<()>>> {
        let mut workers = self.workers.lock().unwrap();
        if workers.is_empty() {
            return None;
        }
        let index = random.below(workers.len() as u64) as usize;
        if workers[index].is_finished() || random.one_in(2) {
            Some(workers.swap_remove(index))
        } else {
            Some(Arc::clone(&workers[index]))
        }
    }

    /// Asserts that no worker has panicked. A handle that somebody else holds, too, is looked at with that one.
    fn check(self) {
        let ended = self.ended.into_inner().unwrap();
        for handle in ended.into_iter().chain(self.workers.into_inner().unwrap()) {
            if let Some(handle) = Arc::into_inner(handle)
                && let Outcome::Panicked(payload) = handle.join().into()
            {
                std::panic::resume_unwind(payload);
            }
        }
        for thing in self.things {
            thing.check();
        }
    }
}

fn stress(name: &str, hubs: u64) {
    /// `ALIVE` is for one at a time.
    static TURNS: OsMutex<()> = OsMutex::new(());
    let _turn = unpoisoned(TURNS.lock());
    let variable = |name| {
        std::env::var(name)
            .ok()
            .map(|value: String| value.parse().unwrap())
    };
    let seed: u64 = variable("GREENHUB_STRESS_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().as_nanos() as u64
    });
    let duration = Duration::from_millis(variable("GREENHUB_STRESS_MS").unwrap_or(1_000));
    // The name is what a panic, and the time limit, tell.
    let root = std::thread::Builder::new().name(format!("{name}, GREENHUB_STRESS_SEED={seed}"));
    let run = move || {
        let _limit = TimeLimit::start(Duration::from_secs(60) + duration);
        let world = Arc::new(World {
            things: things(),
            workers: OsMutex::default(),
            ended: OsMutex::default(),
            end: Instant::now() + duration,
            stopped: AtomicBool::new(false),
        });
        let others: Vec<_> = (1..hubs)
            .map(|index| {
                let world = Arc::clone(&world);
                std::thread::spawn(move || world.run_hub(Random::new(seed + index)))
            })
            .collect();
        world.run_hub(Random::new(seed));
        for other in others {
            other.join().unwrap();
        }
        let world = Arc::into_inner(world).expect("all who used it have ended");
        world.check();
    };
    root.spawn(run).unwrap().join().unwrap();
}

#[test]
fn one_hub() {
    stress("one hub", 1);
}

#[test]
fn two_hubs() {
    stress("two hubs", 2);
}

#[test]
fn three_hubs() {
    stress("three hubs", 3);
}
