//! Deadlock: the report when nothing can ever happen again, and the silence when something can.

#[path = "support/child.rs"]
mod child;

use std::cell::RefCell;
use std::io::Read;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenhub::net::{TcpListener, ToSocketAddrs};
use greenhub::sync::{Barrier, Condvar, LazyLock, Mutex, ReentrantLock, RwLock, Semaphore};
use greenhub::thread::{self, Builder, JoinHandle};
use greenhub::{Hubs, blocking};

/// Longer than a hub waits before it looks for a deadlock.
const LONG: Duration = Duration::from_millis(400);

fn main() {
    child::main(
        &[
            ("everybody_waits", everybody_waits),
            ("root_joins", root_joins),
            ("a_cycle_of_joins", a_cycle_of_joins),
            ("a_scope_waits", a_scope_waits),
            ("a_select_waits", a_select_waits),
            ("a_select_waits_for_a_pipe", a_select_waits_for_a_pipe),
            ("a_link_is_left", a_link_is_left),
            ("caught", caught),
            ("locks_are_held", locks_are_held),
            ("a_thread_wakes_late", a_thread_wakes_late),
            ("a_thread_ends", a_thread_ends),
            ("a_timer_is_pending", a_timer_is_pending),
            ("a_socket_is_waited_for", a_socket_is_waited_for),
            ("after_a_lookup", after_a_lookup),
            ("after_a_job", after_a_job),
            ("a_job_is_joined", a_job_is_joined),
            ("a_job_wakes_late", a_job_wakes_late),
            ("beside_idle_hubs", beside_idle_hubs),
            ("a_task_of_hubs_parks", a_task_of_hubs_parks),
            ("a_task_of_hubs_parks_late", a_task_of_hubs_parks_late),
            ("hubs_are_joined", hubs_are_joined),
            ("two_roots_and_hubs", two_roots_and_hubs),
            ("a_task_of_hubs_wakes_late", a_task_of_hubs_wakes_late),
            (
                "a_task_of_hubs_waits_for_a_socket",
                a_task_of_hubs_waits_for_a_socket,
            ),
            ("other_hub_is_stuck_last", || two_hubs(LONG)),
            ("other_hub_is_stuck_first", || two_hubs(Duration::ZERO)),
            ("another_hub_wakes_late", another_hub_wakes_late),
        ],
        &[
            (
                "the_report_names_every_green_thread",
                the_report_names_every_green_thread,
            ),
            ("a_join_of_a_parked_green_thread_is_reported", || {
                reports("root_joins", &["is parked", "joins green thread"]);
            }),
            ("a_cycle_is_reported", a_cycle_is_reported),
            ("a_scope_is_reported", || {
                reports(
                    "a_scope_waits",
                    &["waits for the green threads of its scope", "'inner'"],
                );
            }),
            ("locks_are_reported_by_their_kind", || {
                reports(
                    "locks_are_held",
                    &[
                        "waits for a lock (sync::Mutex)",
                        "waits for a lock to read (sync::RwLock)",
                        "waits for a lock to write (sync::RwLock)",
                        "waits for a notification (sync::Condvar)",
                        "waits for the others at a barrier (sync::Barrier)",
                        "waits for permits (sync::Semaphore)",
                        "waits for a lock (sync::ReentrantLock)",
                        "waits for an initialisation by another (sync::Once)",
                    ],
                );
            }),
            ("a_select_is_reported", || {
                reports("a_select_waits", &["waits for the first of several things"]);
            }),
            ("no_report_while_a_select_waits_for_a_pipe", || {
                is_silent("a_select_waits_for_a_pipe")
            }),
            ("a_link_hides_no_deadlock", || {
                reports("a_link_is_left", &["is parked", "joins green thread"]);
            }),
            ("the_hub_goes_on_after_a_caught_report", || {
                child::run("caught", &[]).exited_with(0);
            }),
            ("no_report_while_a_thread_could_wake_us", || {
                is_silent("a_thread_wakes_late")
            }),
            (
                "a_report_once_that_thread_has_ended",
                a_report_once_that_thread_has_ended,
            ),
            ("no_report_while_a_timer_is_pending", || {
                is_silent("a_timer_is_pending")
            }),
            ("no_report_while_a_socket_is_waited_for", || {
                is_silent("a_socket_is_waited_for")
            }),
            ("the_blocking_pool_hides_no_deadlock", || {
                reports("after_a_lookup", &["is parked"]);
                reports("after_a_job", &["is parked"]);
            }),
            ("no_report_while_a_blocking_job_runs", || {
                is_silent("a_job_is_joined");
                is_silent("a_job_wakes_late");
            }),
            ("hubs_that_wait_for_each_other_are_reported", || {
                reports("other_hub_is_stuck_first", &["'our hub'"]);
                reports("other_hub_is_stuck_last", &["'other hub'", "'our hub'"]);
            }),
            ("hubs_hide_no_deadlock", || {
                reports("beside_idle_hubs", &["is parked"]);
                reports("a_task_of_hubs_parks", &["joins green thread"]);
                reports("a_task_of_hubs_parks_late", &["joins green thread"]);
                reports(
                    "hubs_are_joined",
                    &["waits for the green threads of its Hubs"],
                );
            }),
            ("hubs_that_are_stuck_last_have_all_roots_decide", || {
                // Whichever of the two is told first, the main one ends the process.
                reports("two_roots_and_hubs", &["'main'"]);
            }),
            ("no_report_while_hubs_could_wake_us", || {
                is_silent("a_task_of_hubs_wakes_late");
                is_silent("a_task_of_hubs_waits_for_a_socket");
            }),
            ("no_report_while_another_hub_could_wake_us", || {
                is_silent("another_hub_wakes_late")
            }),
        ],
    );
}

/// Asserts that the scenario ends with a panic of the root that says all of `parts`.
fn reports(scenario: &str, parts: &[&str]) {
    let ended = child::run(scenario, &[]);
    ended.exited_with(101).says(&["deadlock"]).says(parts);
}

/// Asserts that the scenario ends well, without a word about deadlocks.
fn is_silent(scenario: &str) {
    child::run(scenario, &[])
        .exited_with(0)
        .is_silent_about("deadlock");
}

fn named(name: &str, body: impl FnOnce() + 'static) -> JoinHandle<()> {
    Builder::new().name(name.to_owned()).spawn(body).unwrap()
}

fn everybody_waits() {
    let parked = named("the parked one", thread::park);
    println!("{:?}", parked.thread().id());
    named("the joining one", || parked.join().unwrap());
    greenhub::spawn(thread::park);
    thread::park();
}

fn the_report_names_every_green_thread() {
    let ended = child::run("everybody_waits", &[]);
    let id = ended
        .stdout
        .trim()
        .trim_start_matches("ThreadId(")
        .trim_end_matches(')')
        .to_owned();
    let parked = format!("green thread {id} 'the parked one' is parked");
    let joins = format!("'the joining one' joins green thread {id}");
    ended.exited_with(101).says(&[
        "deadlock",
        "main",
        &parked,
        &joins,
        "spawned at tests/deadlock.rs:",
    ]);
    // The nameless one has a line of its own.
    let lines = ended
        .stderr
        .lines()
        .filter(|line| line.contains("spawned at"))
        .count();
    assert_eq!(lines, 3, "{}", ended.stderr);
    assert!(ended.elapsed < Duration::from_secs(20));
}

fn root_joins() {
    greenhub::spawn(thread::park).join().unwrap();
}

fn a_cycle_of_joins() {
    type Slot = Rc<RefCell<Option<JoinHandle<()>>>>;
    let (left, right) = (Slot::default(), Slot::default());
    let join = |slot: &Slot| {
        let slot = Rc::clone(slot);
        move || {
            let handle = slot.borrow_mut().take().unwrap();
            handle.join().unwrap();
        }
    };
    let first = named("first", join(&right));
    let second = named("second", join(&left));
    *left.borrow_mut() = Some(first);
    *right.borrow_mut() = Some(second);
    thread::park();
}

fn a_cycle_is_reported() {
    let ended = child::run("a_cycle_of_joins", &[]);
    ended
        .exited_with(101)
        .says(&["'first' joins green thread", "'second' joins green thread"]);
}

fn a_scope_waits() {
    thread::scope(|s| {
        Builder::new()
            .name("inner".to_owned())
            .spawn_scoped(s, thread::park)
            .unwrap();
    });
}

fn a_select_waits() {
    let parked = greenhub::spawn(thread::park);
    greenhub::select! {
        wait(&parked) => {}
    }
}

/// Nothing in this process can end the wait, and no timer is pending.
fn a_select_waits_for_a_pipe() {
    let mut sleep = std::process::Command::new("sleep")
        .arg(LONG.as_secs_f64().to_string())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = sleep.stdout.take().unwrap();
    let parked = greenhub::spawn(thread::park);
    greenhub::select! {
        wait(&parked) => unreachable!(),
        readable(&pipe) -> result => result.unwrap(),
    }
    assert!(sleep.wait().unwrap().success());
    parked.kill();
}

fn a_link_is_left() {
    let parked = greenhub::spawn(thread::park);
    parked.link(|_, _| ());
    parked.join().unwrap();
}

fn caught() {
    let report = catch_unwind(thread::park).unwrap_err();
    assert!(report.downcast::<String>().unwrap().contains("deadlock"));
    let handle = greenhub::spawn(|| {
        thread::sleep(Duration::from_millis(1));
        7
    });
    assert_eq!(handle.join().unwrap(), 7);
    assert!(
        catch_unwind(thread::park).is_err(),
        "the second deadlock is found as well"
    );
}

fn locks_are_held() {
    static MUTEX: Mutex<()> = Mutex::new(());
    static LOCK: RwLock<()> = RwLock::new(());
    static CONDVAR: Condvar = Condvar::new();
    static BARRIER: Barrier = Barrier::new(10);
    static SEMAPHORE: Semaphore = Semaphore::new(0);
    static REENTRANT: ReentrantLock<()> = ReentrantLock::new(());
    static LAZY: LazyLock<()> = LazyLock::new(thread::park);
    let guards = (MUTEX.lock(), LOCK.write(), REENTRANT.lock());
    greenhub::spawn(|| drop(LOCK.read()));
    greenhub::spawn(|| drop(LOCK.write()));
    greenhub::spawn(|| {
        let mutex = Mutex::new(());
        drop(CONDVAR.wait(mutex.lock().unwrap()));
    });
    greenhub::spawn(|| BARRIER.wait());
    greenhub::spawn(|| SEMAPHORE.acquire().forget());
    greenhub::spawn(|| drop(REENTRANT.lock()));
    greenhub::spawn(|| LazyLock::force(&LAZY));
    greenhub::spawn(|| LazyLock::force(&LAZY));
    let report = catch_unwind(|| drop(MUTEX.lock())).unwrap_err();
    // The root has left the line.
    drop(guards);
    drop(MUTEX.try_lock().unwrap());
    std::panic::resume_unwind(report);
}

fn a_thread_wakes_late() {
    let parked = greenhub::spawn(thread::park);
    let target = parked.thread().clone();
    std::thread::spawn(move || {
        std::thread::sleep(LONG);
        target.unpark();
    });
    parked.join().unwrap();
}

fn a_thread_ends() {
    std::thread::spawn(|| std::thread::sleep(LONG));
    let start = Instant::now();
    let report = catch_unwind(thread::park).unwrap_err();
    assert!(
        start.elapsed() >= LONG,
        "reported while the thread could still wake us"
    );
    std::panic::resume_unwind(report);
}

fn a_report_once_that_thread_has_ended() {
    let ended = child::run("a_thread_ends", &[]);
    ended.exited_with(101).says(&["deadlock"]);
    ended.is_silent_about("could still wake us");
}

fn a_timer_is_pending() {
    let root = thread::current();
    greenhub::spawn_later(LONG, move || root.unpark());
    thread::park();
    thread::park_timeout(LONG);
    thread::sleep(LONG);
}

fn a_socket_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let acceptor = greenhub::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.read_to_end(&mut Vec::new()).unwrap()
    });
    // Another process could connect at any time; here the parent's patience stands for it.
    let joined = acceptor.join_timeout(LONG);
    assert!(joined.is_err());
    let client = greenhub::net::TcpStream::connect(addr).unwrap();
    let dropper = greenhub::spawn_later(LONG, move || drop(client));
    assert_eq!(joined.unwrap_err().join().unwrap(), 0);
    dropper.join().unwrap();
}

fn after_a_lookup() {
    assert!(("localhost", 1).to_socket_addrs().unwrap().next().is_some());
    greenhub::spawn(thread::park);
    thread::park();
}

fn after_a_job() {
    assert_eq!(blocking::run(|| 5), 5);
    greenhub::spawn(thread::park);
    thread::park();
}

fn a_job_is_joined() {
    blocking::spawn(|| std::thread::sleep(LONG)).join().unwrap();
    blocking::run(|| std::thread::sleep(LONG));
}

fn a_job_wakes_late() {
    // The second time by a thread that had been idle.
    for _ in 0..2 {
        let root = thread::current();
        blocking::spawn(move || {
            std::thread::sleep(LONG);
            root.unpark();
        });
        thread::park();
    }
}

fn beside_idle_hubs() {
    let hubs = Hubs::new(3);
    assert_eq!(hubs.spawn(|| 5).join().unwrap(), 5);
    thread::park();
}

fn a_task_of_hubs_parks() {
    Hubs::new(2).spawn(thread::park).join().unwrap();
}

/// Its hub gets stuck when the root has already been.
fn a_task_of_hubs_parks_late() {
    let hubs = Hubs::new(2);
    let late = hubs.spawn(|| {
        std::thread::sleep(LONG);
        thread::sleep(LONG);
        thread::park();
    });
    late.join().unwrap();
}

fn hubs_are_joined() {
    let hubs = Hubs::new(1);
    hubs.spawn(thread::park);
    hubs.join();
}

fn two_roots_and_hubs() {
    let hubs = Hubs::new(2);
    let late = hubs.spawn(|| {
        thread::sleep(LONG);
        thread::park();
    });
    std::thread::spawn(|| named("other root", thread::park).join().unwrap());
    named("main", move || late.join().unwrap()).join().unwrap();
}

fn a_task_of_hubs_wakes_late() {
    let hubs = Hubs::new(2);
    for computes in [true, false] {
        let root = thread::current();
        hubs.spawn(move || {
            if computes {
                std::thread::sleep(LONG);
            } else {
                thread::sleep(LONG);
            }
            root.unpark();
        });
        thread::park();
    }
    // Stuck hubs take injected work like others.
    thread::sleep(LONG);
    assert_eq!(hubs.spawn(|| 5).join().unwrap(), 5);
}

fn a_task_of_hubs_waits_for_a_socket() {
    let hubs = Hubs::new(2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let acceptor = hubs.spawn(move || drop(listener.accept().unwrap()));
    // This thread of the process is the only one that may connect: it looks to greenhub like one that can wake nobody,
    // because its root is stuck while the other hubs are.
    let joined = acceptor.join_timeout(LONG).unwrap_err();
    let client = std::thread::spawn(move || {
        std::thread::sleep(LONG);
        greenhub::net::TcpStream::connect(addr)
    });
    joined.join().unwrap();
    client.join().unwrap().unwrap();
}

/// Two hubs that can only wake each other; the one on the other thread gets stuck after `delay`.
fn two_hubs(delay: Duration) {
    std::thread::spawn(move || {
        thread::sleep(delay);
        named("other hub", thread::park).join().unwrap();
    });
    thread::sleep(LONG - delay);
    named("our hub", thread::park).join().unwrap();
}

fn another_hub_wakes_late() {
    let root = thread::current();
    std::thread::spawn(move || {
        thread::sleep(LONG);
        root.unpark();
        thread::sleep(LONG);
    });
    thread::park();
}
