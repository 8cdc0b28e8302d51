//! Killing the green threads of scopes, and their owners.

use super::*;
use thread::scope;

#[test]
fn one_that_passes_a_kill_on_has_not_panicked() {
    let _limit = TimeLimit::start(LIMIT);
    let pass_on = || {
        let inner = spawn(thread::park);
        inner.kill();
        if let Err(payload) = inner.join() {
            resume_unwind(payload);
        }
    };
    thread::scope(|scope| {
        killed(scope.spawn(pass_on).join());
        scope.spawn(pass_on);
    });
}

#[test]
fn children_are_killed_one_by_one() {
    let _limit = TimeLimit::start(LIMIT);
    let dropped = Cell::new(0);
    let value = scope(|scope| {
        let wait = || {
            let _counts = OnDrop(|| dropped.set(dropped.get() + 1));
            thread::park();
        };
        let handles = [(); 3].map(|()| scope.spawn(wait));
        yield_now();
        handles[1].kill();
        assert!(handles[1].is_finished());
        assert_eq!(dropped.get(), 1);
        handles[0].kill_nowait();
        let [first, _, third] = handles;
        killed(first.join());
        third.kill();
        third.kill();
        5
    });
    assert_eq!(value, 5, "a kill is no panic of a child");
    assert_eq!(dropped.get(), 3);
}

#[test]
fn all_children_are_killed() {
    let _limit = TimeLimit::start(LIMIT);
    let ended = Cell::new(0);
    let after = scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let _counts = OnDrop(|| ended.set(ended.get() + 1));
                thread::park();
            });
        }
        // One that has not started, too.
        yield_now();
        scope.spawn(|| unreachable!("it is killed before"));
        scope.kill();
        assert_eq!(ended.get(), 0, "it does not wait");
        // What is spawned afterwards is not affected.
        scope
            .spawn(|| {
                yield_now();
                7
            })
            .join()
            .unwrap()
    });
    assert_eq!(after, 7);
    assert_eq!(ended.get(), 10);
}

#[test]
fn a_child_ends_its_siblings() {
    let _limit = TimeLimit::start(LIMIT);
    let ended = Cell::new(0);
    scope(|scope| {
        for n in 0..5 {
            let ended = &ended;
            scope.spawn(move || {
                let _counts = OnDrop(|| ended.set(ended.get() + 1));
                if n == 3 {
                    scope.kill();
                    // It goes on until it waits.
                    ended.set(ended.get() + 100);
                }
                thread::park();
            });
        }
    });
    assert_eq!(ended.get(), 104, "the last one has not started");
}

#[test]
fn the_owners_kill_ends_the_children_first() {
    let _limit = TimeLimit::start(LIMIT);
    let order = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&order);
    let owner = spawn(move || {
        let note = |what| log.borrow_mut().push(what);
        let _owner = OnDrop(|| note("owner"));
        scope(|outer| {
            let _closure = OnDrop(|| note("closure"));
            outer.spawn(|| {
                let _child = OnDrop(|| {
                    sleep(Duration::from_micros(100));
                    note("child");
                });
                scope(|inner| {
                    inner.spawn(|| {
                        let _grandchild = OnDrop(|| {
                            sleep(Duration::from_micros(100));
                            note("grandchild");
                        });
                        thread::park();
                    });
                });
            });
        });
    });
    yield_now();
    yield_now();
    yield_now();
    owner.kill();
    killed(owner.join());
    assert_eq!(*order.borrow(), ["closure", "grandchild", "child", "owner"]);
}

#[test]
fn the_owners_kill_in_the_closure_ends_the_children() {
    let _limit = TimeLimit::start(LIMIT);
    let ended = Rc::new(Cell::new(false));
    let flag = Rc::clone(&ended);
    let owner = spawn(move || {
        scope(|scope| {
            scope.spawn(|| {
                let _notes = OnDrop(|| flag.set(true));
                thread::park();
            });
            sleep(FOREVER);
        });
    });
    yield_now();
    yield_now();
    owner.kill();
    killed(owner.join());
    assert!(ended.get());
}

#[test]
fn a_shielded_scope_is_waited_for() {
    let _limit = TimeLimit::start(LIMIT);
    let ended = Rc::new(Cell::new(0));
    let count = Rc::clone(&ended);
    let owner = spawn(move || {
        thread::shielded(|| {
            scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        sleep(Duration::from_millis(1));
                        count.set(count.get() + 1);
                    });
                }
            });
        });
        assert_eq!(count.get(), 3);
        thread::park();
    });
    yield_now();
    owner.kill();
    killed(owner.join());
    assert_eq!(ended.get(), 3);
}

#[test]
fn a_shielded_child_is_waited_for() {
    let _limit = TimeLimit::start(LIMIT);
    let ended = Rc::new(Cell::new(0));
    let count = Rc::clone(&ended);
    let owner = spawn(move || {
        scope(|scope| {
            scope.spawn(|| {
                thread::shielded(|| {
                    sleep(Duration::from_millis(1));
                    count.set(count.get() + 1);
                });
                yield_now();
                unreachable!("it meets the kill here");
            });
        });
    });
    yield_now();
    yield_now();
    owner.kill();
    killed(owner.join());
    assert_eq!(ended.get(), 1);
}

#[test]
fn a_limit_that_was_dropped_on_the_way_ends_the_children_too() {
    let _limit = TimeLimit::start(LIMIT);
    let owner = spawn(|| {
        scope(|scope| {
            scope.spawn(thread::park);
            let _limit = greenhub::Timeout::start(Duration::from_micros(100));
            thread::park();
        });
    });
    let killed = killed(owner.join());
    assert!(killed.payload().unwrap().is::<greenhub::Elapsed>());
}

#[test]
fn a_child_may_be_killed_from_another_os_thread() {
    let _limit = TimeLimit::start(LIMIT);
    scope(|scope| {
        let handle = scope.spawn(thread::park);
        yield_now();
        std::thread::scope(|os| {
            os.spawn(|| handle.kill_nowait());
        });
        killed(handle.join());
    });
}
