//! What gevent documents of its semantics, as far as it is promised here, too.
//!
//! Most of it is tested where the thing itself is. This file has the rest, and says where which promise is kept:
//!
//! | gevent                                                               | test                                                     |
//! |----------------------------------------------------------------------|----------------------------------------------------------|
//! | `spawn` never switches; the order of starts is that of the spawns    | `order`: `spawn_never_switches*`, `turns_are_taken_first_in_first_out` |
//! | `sleep(0)` lets all others run that are ready                        | `timers`: `a_zero_sleep_lets_the_others_run_once`        |
//! | a loop of `sleep(0)` starves neither timers nor sockets              | `order`: `spinning_starves_no_*`                         |
//! | an idle loop does not wake                                           | `io_wait`: `an_idle_hub_does_not_wake`                   |
//! | one that is killed has finished; those who join see that it was killed | `kill`: `joiners_tell_the_three_ends_apart`            |
//! | one that is killed before its start never runs                       | `kill`: `what_was_killed_before_its_start_never_runs`    |
//! | one that ends before it next waits does not notice the kill          | `kill`: `a_kill_is_met_only_when_waiting`                |
//! | `kill(timeout=t)` returns although its target goes on                | `kill`: `kill_timeout_reports_what_takes_longer`         |
//! | `spawn_later` may be cancelled                                       | `kill`: `what_is_to_start_later_may_be_killed`           |
//! | `get(timeout=t)` leaves alone what goes on                           | `timers`: `join_timeout_gives_the_handle_back`           |
//! | links run once, in their order, also when added late                 | `links`: `links_run_once_and_in_their_order`             |
//! | a link's failure is nobody else's; links may block                   | `links`: `a_link_may_block_and_panic`                    |
//! | what was unlinked does not run                                       | `links`: `a_killed_link_does_not_run`                    |
//! | a limit of `None` never passes                                       | `timeout`: `no_limit_never_passes`                       |
//! | a limit of zero passes when control next returns to the loop         | `timeout`: `a_limit_that_has_passed_is_met_by_every_wait` |
//! | a limit is powerless while nothing waits                             | `timeout`: `what_does_not_wait_is_not_limited`           |
//! | an inner limit never swallows an outer one                           | `timeout`: `limits_nest_in_every_order`, `of_equal_deadlines_*` |
//! | a limit that was closed in time never passes                         | `timeout`: `dropped_in_time_it_does_nothing`             |
//! | a limit concerns the one that has set it                             | `timeout`: `children_have_no_part_in_their_parents_limit` |
//! | `Event.set` reaches those who wait, also if `clear` follows at once  | `event`: `set_wakes_all_who_wait_even_if_it_is_cleared_at_once` |
//! | a result has one value, and any number of readers, now and later     | `event`: `a_result_is_set_once_and_read_by_many`         |
//! | getters and putters are served in the order of their arrival         | `queue`: `getters_are_served_*`, `putters_are_served_*`  |
//! | a queue without a bound never makes wait; a full one does            | `queue`: `a_queue_without_a_bound_*`, `put_waits_for_room` |
//! | iteration ends with the queue                                        | `queue`: `closing_lets_the_rest_be_taken_out`            |
//! | a channel has no room: `put` waits for `get`                         | `queue`: `a_channel_hands_over_from_one_to_the_other`    |
//! | `JoinableQueue.join` waits for `task_done`, which may not be called too often | `queue`: `join_waits_until_all_is_done`         |
//! | semaphores are fair                                                  | `sync`: `permits_are_given_out_in_order`                 |
//! | an `RLock` belongs to a greenlet                                     | `sync`: `a_reentrant_lock_belongs_to_a_green_thread`     |
//! | members leave their group by themselves                              | `pool`: `members_leave_however_they_end`                 |
//! | `Group.join` waits for those, too, that come meanwhile               | `pool`: `join_waits_for_members_of_members`              |
//! | `Group.kill` waits until all have ended                              | `pool`: `kill_waits_for_destructors`                     |
//! | `Pool.spawn` waits for room                                          | `pool`: `no_more_than_its_size_are_at_work`              |
//! | `map` and `imap` keep the order, `imap_unordered` does not           | `pool`: `results_are_in_order`, `results_come_in_*`, `unordered_results_*` |
//! | `apply` raises what the function raises                              | `pool`: `applying_is_waiting_for_one`                    |
//! | `iwait` yields in the order of completion; `count`, `timeout`        | `wait`: `iwait_yields_in_the_order_of_completion`, `wait_ends_with_its_time` |
//! | each greenlet has locals of its own                                  | `local`: `every_green_thread_and_every_root_has_its_own` |
//! | what a thread pool's job raises is raised by `get` and `apply`       | `blocking`: `a_panic_is_an_error_of_join`                |
//! | shutting a socket down wakes those who wait for it                   | `parity`: `a_shutdown_wakes_a_blocked_reader`, `.._writer` |
//! | a descriptor's number means another descriptor once it is reused     | `io_wait`: `a_reused_number_*`, `parity`: `a_reused_descriptor_*` |
//! | a deadlock is never reported while another OS thread could wake somebody | `deadlock`: `no_report_while_*`                      |
//! | an exception names its greenlet and never ends the loop              | `panics`: `an_uncaught_panic_is_logged_with_name_and_id`, `many_green_threads_may_panic` |
//! | `switch`, `throw`, parents, dead greenlets                           | `greenlet`                                               |

#[path = "support/child.rs"]
mod child;
#[path = "support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenhub::event::{AsyncResult, Event};
use greenhub::pool::Group;
use greenhub::queue::{JoinableQueue, Queue};
use greenhub::sync::Semaphore;
use greenhub::thread::{self, Builder, Ending, Killed};
use greenhub::{iwait, joinall, killall, sleep, spawn, wait, yield_now};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);

/// Longer than a hub waits before it looks for a deadlock.
const LONG: Duration = Duration::from_millis(400);

fn main() {
    child::main(
        &[
            ("everybody_waits", everybody_waits),
            ("the_logger_blocks", the_logger_blocks),
            ("main_ends_first", main_ends_first),
        ],
        &[
            (
                "kill_is_idempotent_and_never_raises_in_the_killer",
                kill_is_idempotent_and_never_raises_in_the_killer,
            ),
            (
                "joinall_waits_for_all_even_if_one_fails",
                joinall_waits_for_all_even_if_one_fails,
            ),
            (
                "killall_ends_what_waits_and_what_never_started",
                killall_ends_what_waits_and_what_never_started,
            ),
            (
                "a_late_link_runs_soon_and_not_at_once",
                a_late_link_runs_soon_and_not_at_once,
            ),
            ("waking_others_never_switches", waking_others_never_switches),
            (
                "what_is_there_already_is_got_without_a_switch",
                what_is_there_already_is_got_without_a_switch,
            ),
            (
                "those_who_wait_for_an_event_go_on_in_their_order",
                those_who_wait_for_an_event_go_on_in_their_order,
            ),
            (
                "an_event_may_be_set_and_cleared_before_anybody_runs",
                an_event_may_be_set_and_cleared_before_anybody_runs,
            ),
            (
                "a_result_may_be_set_by_a_link",
                a_result_may_be_set_by_a_link,
            ),
            (
                "anybody_may_release_a_semaphore",
                anybody_may_release_a_semaphore,
            ),
            (
                "what_is_released_to_one_who_waits_is_not_free",
                what_is_released_to_one_who_waits_is_not_free,
            ),
            (
                "a_deadlock_report_says_who_waits_for_what_since_when_and_spawned_where",
                a_deadlock_report_says_who_waits_for_what_since_when_and_spawned_where,
            ),
            (
                "a_blocking_call_on_the_hub_is_a_clear_panic",
                a_blocking_call_on_the_hub_is_a_clear_panic,
            ),
            (
                "what_is_left_when_main_ends_is_unwound_and_never_goes_on",
                what_is_left_when_main_ends_is_unwound_and_never_goes_on,
            ),
        ],
    );
}

/// What happened, in its order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<&'static str>>>);

impl Log {
    fn note(&self, what: &'static str) {
        self.0.borrow_mut().push(what);
    }

    /// A green thread's body that notes this.
    fn noting(&self, what: &'static str) -> impl FnOnce() + 'static {
        let log = self.clone();
        move || log.note(what)
    }

    #[track_caller]
    fn says(&self, expected: &[&str]) {
        assert_eq!(*self.0.borrow(), expected);
    }
}

/// Calls its function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn kill_is_idempotent_and_never_raises_in_the_killer() {
    let _limit = TimeLimit::start(LIMIT);
    // They wait, swallow the kill once, panic because of it, return, and panic by themselves; or have not started.
    let swallows = || {
        let _ = catch_unwind(thread::park);
        thread::park();
    };
    let fails = || {
        let _ = catch_unwind(thread::park);
        resume_unwind(Box::new("instead of dying"));
    };
    let bodies: [fn(); 5] = [
        thread::park,
        swallows,
        fails,
        || (),
        || resume_unwind(Box::new("before the kill")),
    ];
    for started in [false, true] {
        for body in bodies {
            let handle = spawn(body);
            if started {
                yield_now();
            }
            for _ in 0..3 {
                handle.kill_nowait();
            }
            for _ in 0..3 {
                handle.kill();
                assert!(handle.is_finished());
            }
            assert!(handle.kill_timeout(Duration::ZERO), "it has ended");
            killall([&handle]);
            assert!(!thread::panicking());
            // However often it was killed, it has one end.
            let _ = handle.join();
        }
    }
}

fn joinall_waits_for_all_even_if_one_fails() {
    let _limit = TimeLimit::start(LIMIT);
    let bodies: [fn() -> u32; 3] = [
        || resume_unwind(Box::new("the first fails")),
        || {
            thread::park();
            2
        },
        || {
            sleep(Duration::from_millis(5));
            3
        },
    ];
    let handles = bodies.map(spawn);
    handles[1].kill_nowait();
    let results = joinall(handles);
    let [Err(failure), Err(death), Ok(3)] = &results[..] else {
        panic!("{results:?}");
    };
    assert_eq!(failure.downcast_ref(), Some(&"the first fails"));
    assert!(death.is::<Killed>());
}

fn killall_ends_what_waits_and_what_never_started() {
    let _limit = TimeLimit::start(LIMIT);
    let ran = Rc::new(Cell::new(0));
    let spawn_one = || {
        let ran = Rc::clone(&ran);
        spawn(move || {
            ran.set(ran.get() + 1);
            thread::park();
        })
    };
    let mut handles = vec![spawn_one(), spawn_one()];
    yield_now();
    handles.push(spawn_one());
    killall(&handles);
    assert!(handles.iter().all(|handle| handle.is_finished()));
    assert_eq!(ran.get(), 2, "the last one never ran");
}

fn a_late_link_runs_soon_and_not_at_once() {
    let _limit = TimeLimit::start(LIMIT);
    let log = Log::default();
    let target = spawn(|| ());
    target.wait();
    let link = target.link({
        let log = log.clone();
        move |_, _| log.note("link")
    });
    log.note("linked");
    link.join().unwrap();
    log.says(&["linked", "link"]);
}

/// Everything that ends somebody's wait only makes that one ready: who calls it goes on first.
fn waking_others_never_switches() {
    let _limit = TimeLimit::start(LIMIT);
    let event = Rc::new(Event::new());
    let result = Rc::new(AsyncResult::new());
    let queue = Rc::new(Queue::new());
    let full = Rc::new(Queue::bounded(1));
    full.put(0).unwrap();
    let jobs = Rc::new(JoinableQueue::new());
    jobs.put(0).unwrap();
    let semaphore = Rc::new(Semaphore::new(0));
    let parked = spawn(thread::park);
    let parked_thread = parked.thread().clone();
    let killed = spawn(thread::park);

    // A wait, and what ends it.
    type Pair = (Box<dyn FnOnce()>, Box<dyn FnOnce()>);
    fn pair<T: 'static>(object: &Rc<T>, wait: fn(&T), end: fn(&T)) -> Pair {
        let (ours, theirs) = (Rc::clone(object), Rc::clone(object));
        (
            Box::new(move || wait(&theirs)),
            Box::new(move || end(&ours)),
        )
    }
    let killed = Rc::new(killed);
    let pairs: Vec<Pair> = vec![
        pair(&event, |event| event.wait(), |event| event.set()),
        pair(
            &result,
            |result| assert_eq!(*result.get(), 1),
            |result| result.set(1).unwrap(),
        ),
        pair(
            &queue,
            |queue| assert_eq!(queue.get(), Ok(2)),
            |queue| queue.put(2).unwrap(),
        ),
        pair(
            &full,
            |full| full.put(3).unwrap(),
            |full| assert_eq!(full.get(), Ok(0)),
        ),
        pair(&jobs, |jobs| jobs.join(), |jobs| jobs.task_done()),
        pair(
            &semaphore,
            |semaphore| semaphore.acquire().forget(),
            |semaphore| semaphore.release(),
        ),
        pair(
            &killed,
            |killed| killed.wait(),
            |killed| killed.kill_nowait(),
        ),
        (
            Box::new(move || parked.join().unwrap()),
            Box::new(move || parked_thread.unpark()),
        ),
    ];
    let runs = Rc::new(Cell::new(0));
    let (waits, ends): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let waiters: Vec<_> = waits
        .into_iter()
        .map(|wait| {
            let runs = Rc::clone(&runs);
            spawn(move || {
                wait();
                runs.set(runs.get() + 1);
            })
        })
        .collect();
    yield_now();
    assert_eq!(runs.get(), 0, "all of them wait");
    let count = ends.len();
    for end in ends {
        end();
        assert_eq!(runs.get(), 0, "the one who wakes goes on");
    }
    for result in joinall(waiters) {
        result.unwrap();
    }
    assert_eq!(runs.get(), count);
}

fn what_is_there_already_is_got_without_a_switch() {
    let _limit = TimeLimit::start(LIMIT);
    let finished = spawn(|| 1);
    finished.wait();
    let event = Event::new();
    event.set();
    let result = AsyncResult::from(2);
    let queue = Queue::bounded(1);
    queue.put(3).unwrap();
    let semaphore = Semaphore::new(1);
    let jobs = JoinableQueue::<u8>::new();
    let group = Group::new();

    let others = Log::default();
    let other = spawn(others.noting("ran"));
    event.wait();
    assert!(event.wait_timeout(Duration::ZERO));
    assert_eq!(*result.get(), 2);
    assert_eq!(queue.get(), Ok(3));
    queue.put(4).unwrap();
    drop(semaphore.acquire());
    jobs.join();
    group.join();
    assert_eq!(wait([&finished], None, None), [0]);
    assert_eq!(iwait([&event], None, None).next(), Some(0));
    finished.kill();
    assert_eq!(finished.join().unwrap(), 1);
    others.says(&[]);
    other.join().unwrap();
}

fn those_who_wait_for_an_event_go_on_in_their_order() {
    let _limit = TimeLimit::start(LIMIT);
    let (log, event, result) = (
        Log::default(),
        Rc::new(Event::new()),
        Rc::new(AsyncResult::new()),
    );
    let waiters: Vec<_> = ["first", "second", "third"]
        .into_iter()
        .map(|name| {
            let (log, event, result) = (log.clone(), Rc::clone(&event), Rc::clone(&result));
            spawn(move || {
                event.wait();
                log.note(name);
                result.get();
                log.note(name);
            })
        })
        .collect();
    yield_now();
    event.set();
    yield_now();
    log.says(&["first", "second", "third"]);
    result.set(()).unwrap();
    joinall(waiters);
    log.says(&["first", "second", "third", "first", "second", "third"]);
}

/// All that one who has waited knows is that the flag was set at least once.
fn an_event_may_be_set_and_cleared_before_anybody_runs() {
    let _limit = TimeLimit::start(LIMIT);
    let event = Rc::new(Event::new());
    let waiter = spawn({
        let event = Rc::clone(&event);
        move || (event.wait_timeout(LIMIT), event.is_set())
    });
    yield_now();
    for _ in 0..3 {
        event.set();
        event.clear();
    }
    // One who comes now waits for the next time.
    assert!(!event.wait_timeout(Duration::from_millis(1)));
    assert_eq!(waiter.join().unwrap(), (true, false));
}

fn a_result_may_be_set_by_a_link() {
    let _limit = TimeLimit::start(LIMIT);
    let bodies: [(fn(), Ending); 2] = [
        (|| (), Ending::Returned),
        (|| resume_unwind(Box::new(())), Ending::Panicked),
    ];
    for (body, expected) in bodies {
        let result = Rc::new(AsyncResult::new());
        spawn(body).link({
            let result = Rc::clone(&result);
            move |_, ending| result.set(ending).unwrap()
        });
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let result = Rc::clone(&result);
                spawn(move || *result.get())
            })
            .collect();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), expected);
        }
    }
}

/// A semaphore does not know who has acquired it.
fn anybody_may_release_a_semaphore() {
    let _limit = TimeLimit::start(LIMIT);
    let semaphore = Rc::new(Semaphore::new(1));
    let acquire = |semaphore: &Rc<Semaphore>| {
        let semaphore = Rc::clone(semaphore);
        spawn(move || semaphore.acquire().forget())
    };
    acquire(&semaphore).join().unwrap();
    assert_eq!(
        semaphore.available(),
        0,
        "its green thread has ended, not its permit"
    );
    let next = acquire(&semaphore);
    yield_now();
    assert!(!next.is_finished());
    semaphore.release();
    next.join().unwrap();
    // Also more often than it was acquired: it is the unbounded one of the two.
    semaphore.release();
    semaphore.release();
    assert_eq!(semaphore.available(), 2);
}

fn what_is_released_to_one_who_waits_is_not_free() {
    let _limit = TimeLimit::start(LIMIT);
    let semaphore = Rc::new(Semaphore::new(0));
    let waiter = spawn({
        let semaphore = Rc::clone(&semaphore);
        move || semaphore.acquire().forget()
    });
    yield_now();
    semaphore.release();
    // It has not run yet, but the permit is its own.
    assert_eq!(semaphore.available(), 0);
    assert!(semaphore.try_acquire().is_none());
    assert!(
        semaphore
            .acquire_timeout(Duration::from_millis(1))
            .is_none()
    );
    waiter.join().unwrap();
}

fn everybody_waits() {
    let waits: [(&str, fn()); 4] = [
        ("for an event", || Event::new().wait()),
        ("for a result", || *AsyncResult::new().get()),
        ("for an item", || Queue::new().get().unwrap()),
        ("for the others", || {
            let group = Group::new();
            group.spawn(thread::park);
            group.join();
        }),
    ];
    for (name, wait) in waits {
        Builder::new().name(name.to_owned()).spawn(wait).unwrap();
    }
    yield_now();
    sleep(LONG);
    Event::new().wait();
}

fn a_deadlock_report_says_who_waits_for_what_since_when_and_spawned_where() {
    let ended = child::run("everybody_waits", &[]);
    ended.exited_with(101);
    let lines: Vec<_> = ended.stderr.lines().map(str::trim).collect();
    let line = |parts: &[&str]| {
        let found = lines
            .iter()
            .find(|line| parts.iter().all(|part| line.contains(part)));
        *found.unwrap_or_else(|| panic!("no line with {parts:?} in:\n{}", ended.stderr))
    };
    // "for 405.2ms", as durations print themselves.
    let since = |line: &str| {
        let (_, rest) = line.rsplit_once(", for ").unwrap();
        let (number, unit) = rest.split_at(rest.find(|c: char| c.is_ascii_alphabetic()).unwrap());
        let unit = match unit.split(';').next().unwrap() {
            "s" => 1.0,
            "ms" => 1e-3,
            other => panic!("{other}"),
        };
        Duration::from_secs_f64(number.parse::<f64>().unwrap() * unit)
    };
    let root = since(line(&[
        "the root (main)",
        "an event to be set (event::Event)",
    ]));
    for (name, what) in [
        ("'for an event'", "an event to be set (event::Event)"),
        ("'for a result'", "a result (event::AsyncResult)"),
        ("'for an item'", "(queue"),
        ("'for the others'", "(pool::Group)"),
    ] {
        let line = line(&["green thread", name, what, "spawned at tests/gevent.rs:"]);
        // They have waited since before the root fell asleep, for about `LONG` longer.
        assert!(since(line) >= root + LONG / 2, "{line}\n{root:?}");
    }
    // The member of the group has no name, but a place.
    line(&["is parked (thread::park)", "spawned at tests/gevent.rs:"]);
}

/// More than the scenario below allows itself.
const STACK_TOO_LARGE: u64 = 1 << 36;

/// Blocks in the green thread that logs, or on the hub.
struct Blocking;

impl log::Log for Blocking {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("logs {}", record.args());
        sleep(Duration::from_millis(1));
        eprintln!("has logged");
    }

    fn flush(&self) {}
}

/// The hub itself logs that it cannot have a stack.
fn the_logger_blocks() {
    log::set_logger(&Blocking).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let limit = Rlimit {
        current: Some(STACK_TOO_LARGE / 2),
        ..getrlimit(Resource::As)
    };
    setrlimit(Resource::As, limit).unwrap();
    let other = Builder::new().stack_size(64 * 1024);
    let other = other.spawn(|| sleep(Duration::from_millis(5))).unwrap();
    let too_large = spawn(|| unreachable!("there is no memory for its stack"));
    other.join().unwrap();
    assert!(!too_large.is_finished());
    println!("the hub goes on");
    std::process::exit(0);
}

fn a_blocking_call_on_the_hub_is_a_clear_panic() {
    let stack = STACK_TOO_LARGE.to_string();
    let ended = child::run("the_logger_blocks", &[("GREENHUB_STACK_SIZE", &stack)]);
    ended
        .exited_with(0)
        .says(&[
            "logs green threads have to wait",
            "a blocking call was made by code that runs on the hub",
        ])
        .is_silent_about("has logged");
    assert_eq!(ended.stdout, "the hub goes on\n");
}

fn main_ends_first() {
    spawn(|| {
        let _unwound = OnDrop(|| println!("unwound"));
        thread::park();
        println!("went on");
    });
    spawn(|| {
        let _unwound = OnDrop(|| println!("unwound"));
        sleep(Duration::from_millis(1));
        println!("went on");
    });
    yield_now();
    spawn(|| println!("started"));
}

fn what_is_left_when_main_ends_is_unwound_and_never_goes_on() {
    let ended = child::run("main_ends_first", &[]);
    ended.exited_with(0);
    assert_eq!(ended.stdout, "unwound\nunwound\n");
}
