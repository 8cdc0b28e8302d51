//! Every kind of wait there is, for tests that end waits from outside.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc as os_mpsc};
use std::time::{Duration, Instant};

use greenhub::event::{AsyncResult, Event};
use greenhub::generator::Generator;
use greenhub::greenlet::Greenlet;
use greenhub::net::{TcpListener, TcpStream, ToSocketAddrs};
use greenhub::pool::{Group, Pool};
use greenhub::queue::{Channel, JoinableQueue, LifoQueue, PriorityQueue, Queue};
use greenhub::sync::{
    Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, ReentrantLock, RwLock, Semaphore, mpsc,
};
use greenhub::thread;
use greenhub::{Hubs, blocking, select, sleep, spawn, timeout, yield_now};

const FOREVER: Duration = Duration::from_secs(1_000);

/// Calls its function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Both ends of one connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// An address on loopback that does not answer: its listener's queue is full.
pub fn unanswered() -> (std::net::TcpListener, Vec<std::net::TcpStream>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    loop {
        match std::net::TcpStream::connect_timeout(&address, Duration::from_millis(20)) {
            Ok(stream) => queued.push(stream),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                return (listener, queued);
            }
        }
    }
}

/// A wait that nobody ends, by its name. It calls the function when it has made its preparations, which may wait, too.
pub type Wait = (&'static str, fn(&dyn Fn()));

pub const WAITS: &[Wait] = &[
    ("park", |ready| {
        ready();
        thread::park();
    }),
    ("park_timeout", |ready| {
        ready();
        thread::park_timeout(FOREVER);
    }),
    ("sleep", |ready| {
        ready();
        sleep(FOREVER);
    }),
    ("sleep_until", |ready| {
        ready();
        thread::sleep_until(Instant::now() + FOREVER);
    }),
    ("yield_now", |ready| {
        ready();
        loop {
            yield_now();
        }
    }),
    ("read", |ready| {
        let (mut near, _far) = pair();
        ready();
        let _ = near.read(&mut [0]);
    }),
    ("read with a time-out", |ready| {
        let (mut near, _far) = pair();
        near.set_read_timeout(Some(FOREVER)).unwrap();
        ready();
        let _ = near.read(&mut [0]);
    }),
    ("peek", |ready| {
        let (near, _far) = pair();
        ready();
        let _ = near.peek(&mut [0]);
    }),
    ("write", |ready| {
        let (mut near, _far) = pair();
        ready();
        while near.write(&[0; 1 << 16]).is_ok() {}
    }),
    ("accept", |ready| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        ready();
        let _ = listener.accept();
    }),
    ("connect", |ready| {
        let (listener, _queued) = unanswered();
        let address = listener.local_addr().unwrap();
        ready();
        let _ = TcpStream::connect(address);
    }),
    ("connect_timeout", |ready| {
        let (listener, _queued) = unanswered();
        let address = listener.local_addr().unwrap();
        ready();
        let _ = TcpStream::connect_timeout(&address, FOREVER);
    }),
    ("wait_readable", |ready| {
        let (reader, _writer) = std::io::pipe().unwrap();
        ready();
        let _ = greenhub::io::wait_readable(reader.as_fd(), None);
    }),
    ("wait_writable", |ready| {
        let (near, _far) = pair();
        near.set_nonblocking(true).unwrap();
        while (&near).write(&[0; 1 << 16]).is_ok() {}
        ready();
        let _ = greenhub::io::wait_writable(near.as_fd(), Some(Instant::now() + FOREVER));
    }),
    ("join", |ready| {
        let other = spawn(thread::park);
        ready();
        let _ = other.join();
    }),
    ("join_timeout", |ready| {
        let other = spawn(thread::park);
        ready();
        let _ = other.join_timeout(FOREVER);
    }),
    ("kill of one that does not die", |ready| {
        let other = spawn(|| thread::shielded(|| sleep(Duration::from_millis(200))));
        yield_now();
        ready();
        other.kill();
    }),
    ("join on another hub", |ready| {
        let (send, receive) = os_mpsc::channel();
        let (end, ended) = os_mpsc::channel::<()>();
        let remote = std::thread::spawn(move || {
            send.send(spawn(thread::park)).unwrap();
            let _ = ended.recv();
        });
        let _ends = OnDrop(|| {
            let _ = end.send(());
        });
        let handle = receive.recv().unwrap();
        ready();
        let _ = handle.join();
        drop(remote);
    }),
    ("end of a scope", |ready| {
        ready();
        thread::scope(|scope| {
            scope.spawn(thread::park);
        });
    }),
    ("join in a scope", |ready| {
        ready();
        thread::scope(|scope| {
            let handle = scope.spawn(thread::park);
            scope.spawn(|| sleep(FOREVER));
            let _ = handle.join();
        });
    }),
    ("look-ups of a name", |ready| {
        ready();
        loop {
            let _ = ("localhost", 1).to_socket_addrs();
        }
    }),
    ("input and output that never waits", |ready| {
        let (mut near, mut far) = pair();
        ready();
        loop {
            near.write_all(&[1]).unwrap();
            far.read_exact(&mut [0]).unwrap();
        }
    }),
    ("inside of time limits", |ready| {
        ready();
        let _ = timeout(FOREVER, || timeout(FOREVER * 2, thread::park));
    }),
    ("a destructor without unwinding", |ready| {
        ready();
        drop(OnDrop(thread::park));
    }),
    ("a job on another OS thread", |ready| {
        let (_send, receive) = os_mpsc::channel::<()>();
        ready();
        let _ = blocking::run(move || receive.recv());
    }),
    ("join of such a job", |ready| {
        let (_send, receive) = os_mpsc::channel::<()>();
        let job = blocking::spawn(move || receive.recv());
        ready();
        let _ = job.join();
    }),
    ("lock of a mutex", |ready| {
        let mutex = Mutex::new(());
        let _held = mutex.lock();
        ready();
        let _ = mutex.lock();
    }),
    ("read lock", |ready| {
        let lock = RwLock::new(());
        let _held = lock.write();
        ready();
        let _ = lock.read();
    }),
    ("write lock", |ready| {
        let lock = RwLock::new(());
        let _held = lock.read();
        ready();
        let _ = lock.write();
    }),
    ("reentrant lock", |ready| {
        let lock = Arc::new(ReentrantLock::new(()));
        let shared = Arc::clone(&lock);
        let holder = spawn(move || {
            let _held = shared.lock();
            thread::park();
        });
        let _ends = OnDrop(|| holder.kill_nowait());
        yield_now();
        ready();
        let _ = lock.lock();
    }),
    ("wait for a condition", |ready| {
        let (mutex, condition) = (Mutex::new(()), Condvar::new());
        let guard = mutex.lock().unwrap();
        ready();
        let _ = condition.wait(guard);
    }),
    ("wait for a condition with a time-out", |ready| {
        let (mutex, condition) = (Mutex::new(()), Condvar::new());
        let guard = mutex.lock().unwrap();
        ready();
        let _ = condition.wait_timeout_while(guard, FOREVER, |()| true);
    }),
    ("barrier", |ready| {
        let barrier = Barrier::new(2);
        ready();
        barrier.wait();
    }),
    ("once", |ready| {
        let once = Arc::new(Once::new());
        let shared = Arc::clone(&once);
        let other = spawn(move || shared.call_once(thread::park));
        let _ends = OnDrop(|| other.kill_nowait());
        yield_now();
        ready();
        once.call_once(|| unreachable!("the other one does it"));
    }),
    ("inside of once", |ready| {
        ready();
        Once::new().call_once(thread::park);
    }),
    ("lock that is initialised once", |ready| {
        let lock = Arc::new(OnceLock::new());
        let shared = Arc::clone(&lock);
        let other = spawn(move || *shared.get_or_init(thread::park));
        let _ends = OnDrop(|| other.kill_nowait());
        yield_now();
        ready();
        lock.get_or_init(|| unreachable!("the other one does it"));
    }),
    ("inside of a lazy lock", |ready| {
        let lazy = LazyLock::new(thread::park);
        ready();
        *lazy
    }),
    ("semaphore", |ready| {
        let semaphore = Semaphore::new(1);
        ready();
        let _ = semaphore.acquire_many(2);
    }),
    ("semaphore with a time-out", |ready| {
        let semaphore = Semaphore::new(0);
        ready();
        let _ = semaphore.acquire_timeout(FOREVER);
    }),
    ("receive", |ready| {
        let (_sender, receiver) = mpsc::channel::<()>();
        ready();
        let _ = receiver.recv();
    }),
    ("receive with a time-out", |ready| {
        let (_sender, receiver) = mpsc::channel::<()>();
        ready();
        let _ = receiver.recv_timeout(FOREVER);
    }),
    ("send", |ready| {
        let (sender, _receiver) = mpsc::sync_channel(0);
        ready();
        let _ = sender.send(());
    }),
    ("get", |ready| {
        let queue = Queue::<()>::new();
        ready();
        let _ = queue.get();
    }),
    ("peek into a queue", |ready| {
        let queue = PriorityQueue::<()>::new();
        ready();
        let _ = queue.peek();
    }),
    ("get with a time-out", |ready| {
        let queue = LifoQueue::<()>::new();
        ready();
        let _ = queue.get_timeout(FOREVER);
    }),
    ("put", |ready| {
        let queue = Queue::bounded(1);
        queue.put(1).unwrap();
        ready();
        let _ = queue.put(2);
    }),
    ("get of a channel", |ready| {
        let channel = Channel::<()>::new();
        ready();
        let _ = channel.get();
    }),
    ("put into a channel", |ready| {
        let channel = Channel::new();
        ready();
        let _ = channel.put(());
    }),
    ("join of a queue", |ready| {
        let queue = JoinableQueue::new();
        queue.put(()).unwrap();
        ready();
        queue.join();
    }),
    ("event", |ready| {
        let event = Event::new();
        ready();
        event.wait();
    }),
    ("result", |ready| {
        let result = AsyncResult::<()>::new();
        ready();
        result.get();
    }),
    ("the first of several", |ready| {
        let (queue, channel) = (Queue::<()>::new(), Channel::new());
        let (reader, _writer) = std::io::pipe().unwrap();
        let child = spawn(thread::park);
        let _ends = OnDrop(|| child.kill_nowait());
        ready();
        select! {
            get(&queue) => {},
            put(&channel, Some(())) => {},
            readable(&reader) => {},
            wait(&child) => {},
            after(FOREVER) => {},
        }
    }),
    ("several objects", |ready| {
        let (event, result) = (Event::new(), AsyncResult::<()>::new());
        ready();
        let objects: [&dyn greenhub::Waitable; 2] = [&event, &result];
        greenhub::wait(objects, None, None);
    }),
    ("pool that is full", |ready| {
        let pool = Pool::new(1);
        pool.spawn(thread::park);
        let _ends = OnDrop(|| pool.kill_nowait());
        ready();
        pool.spawn(|| ());
    }),
    ("end of a group", |ready| {
        let group = Group::new();
        group.spawn(thread::park);
        let _ends = OnDrop(|| group.kill_nowait());
        ready();
        group.join();
    }),
    ("map of a pool", |ready| {
        ready();
        Pool::new(2).map(0..5, |_| thread::park());
    }),
    ("item of a generator", |ready| {
        let mut items =
            Generator::new(|_: &greenhub::generator::Yielder<(), ()>, ()| thread::park());
        ready();
        items.next();
    }),
    ("switch to a greenlet", |ready| {
        let other = Greenlet::new(|()| thread::park());
        ready();
        other.switch(());
    }),
    ("end of other hubs", |ready| {
        let hubs = Hubs::new(1);
        let _parked = hubs.spawn(thread::park);
        ready();
        hubs.join();
    }),
];
