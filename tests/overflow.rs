//! Stack overflow: one clear message and an abort; every other fault goes where it went before.
#![allow(unsafe_code, reason = "faults are made by unsafe code")]

#[path = "support/child.rs"]
mod child;

use std::ffi::c_int;
use std::hint::black_box;
use std::time::Duration;

use greenhub::thread::{self, Builder};

fn main() {
    child::main(
        &[
            ("recursion", recursion),
            ("large_frames", large_frames),
            ("after_a_switch", after_a_switch),
            ("on_another_hub", on_another_hub),
            ("default_size", default_size),
            ("null", null),
            ("null_with_own_handler", null_with_own_handler),
            ("main_thread", main_thread),
            ("os_thread", os_thread),
            ("backtrace", backtrace),
        ],
        &[
            ("plain_recursion_is_reported", || {
                overflows("recursion", "65536")
            }),
            ("large_frames_are_reported", || {
                overflows("large_frames", "65536")
            }),
            ("an_overflow_after_a_switch_is_reported", || {
                overflows("after_a_switch", "65536")
            }),
            ("an_overflow_on_another_hub_is_reported", || {
                overflows("on_another_hub", "65536")
            }),
            ("the_default_size_is_told", || {
                overflows("default_size", "262144")
            }),
            ("the_default_size_follows_the_environment", || {
                let ended = child::run("default_size", &[("GREENHUB_STACK_SIZE", "131072")]);
                ended.died_of(libc::SIGABRT).says(&["131072 bytes"]);
            }),
            ("a_null_pointer_is_no_overflow", || {
                child::run("null", &[])
                    .died_of(libc::SIGSEGV)
                    .is_silent_about("overflowed");
            }),
            ("a_fault_reaches_the_previous_handler", || {
                child::run("null_with_own_handler", &[])
                    .exited_with(42)
                    .is_silent_about("overflowed");
            }),
            ("an_overflow_of_the_main_thread_is_reported_by_std", || {
                let ended = child::run("main_thread", &[]);
                ended
                    .died_of(libc::SIGABRT)
                    .says(&["'main'", "has overflowed its stack"]);
                ended.is_silent_about("green thread");
            }),
            ("an_overflow_of_another_thread_is_reported_by_std", || {
                let ended = child::run("os_thread", &[]);
                ended
                    .died_of(libc::SIGABRT)
                    .says(&["'os worker'", "has overflowed its stack"]);
                ended.is_silent_about("green thread");
            }),
            (
                "a_full_backtrace_fits_the_default_stack",
                a_full_backtrace_fits_the_default_stack,
            ),
        ],
    );
}

/// Asserts the report of an overflow, with both kinds of guards.
fn overflows(scenario: &str, bytes: &str) {
    for guard in ["", "mprotect"] {
        let ended = child::run(scenario, &[("GREENHUB_STACK_GUARD", guard)]);
        ended.died_of(libc::SIGABRT);
        let id = ended
            .stdout
            .trim()
            .trim_start_matches("ThreadId(")
            .trim_end_matches(')');
        let who = format!("green thread {id} 'the deep one'");
        let size = format!("{bytes} bytes");
        ended.says(&[&who, "overflowed its stack", &size, "tests/overflow.rs:"]);
        assert!(!id.is_empty());
    }
}

/// Runs `deep` in a green thread that has said its id.
fn spawn_deep(builder: Builder, deep: fn()) {
    let body = move || {
        println!("{:?}", thread::current().id());
        deep();
    };
    let handle = builder.name("the deep one".to_owned()).spawn(body).unwrap();
    handle.join().unwrap();
}

fn recurse<const FRAME: usize>(levels: usize) -> usize {
    let frame = black_box([levels as u8; FRAME]);
    if levels == usize::MAX {
        return 0;
    }
    recurse::<FRAME>(levels + 1) + usize::from(frame[levels % FRAME])
}

fn small_frames() {
    black_box(recurse::<16>(0));
}

fn recursion() {
    spawn_deep(Builder::new().stack_size(64 << 10), small_frames);
}

fn large_frames() {
    spawn_deep(Builder::new().stack_size(64 << 10), || {
        black_box(recurse::<40_000>(0));
    });
}

fn after_a_switch() {
    // The stack was used before, and its green thread has waited on it.
    let size = || Builder::new().stack_size(64 << 10);
    size()
        .spawn(|| thread::sleep(Duration::from_millis(1)))
        .unwrap()
        .join()
        .unwrap();
    spawn_deep(size(), || {
        let other = greenhub::spawn(|| thread::sleep(Duration::from_millis(1)));
        other.join().unwrap();
        small_frames();
    });
}

fn on_another_hub() {
    std::thread::spawn(recursion).join().unwrap();
}

fn default_size() {
    spawn_deep(Builder::new(), small_frames);
}

fn read_null() {
    let null = black_box(std::ptr::null::<u8>());
    // SAFETY: there is none; the fault is what is tested.
    black_box(unsafe { null.read_volatile() });
}

fn null() {
    spawn_deep(Builder::new(), read_null);
}

fn null_with_own_handler() {
    extern "C" fn on_fault(_: c_int) {
        // SAFETY: `_exit` is async-signal-safe.
        unsafe { libc::_exit(42) };
    }
    let handler: extern "C" fn(c_int) = on_fault;
    // SAFETY: the handler has the signature that `signal` asks for, and calls only `_exit`.
    unsafe { libc::signal(libc::SIGSEGV, handler as libc::sighandler_t) };
    null();
}

fn main_thread() {
    greenhub::spawn(|| ()).join().unwrap();
    small_frames();
}

fn os_thread() {
    let builder = std::thread::Builder::new().name("os worker".to_owned());
    let deep = || {
        greenhub::spawn(|| ()).join().unwrap();
        small_frames();
    };
    builder.spawn(deep).unwrap().join().unwrap();
}

fn backtrace() {
    #[inline(never)]
    fn a_frame_to_look_for() {
        panic!("shown whole");
    }
    let size = std::env::var("SIZE")
        .ok()
        .and_then(|size| size.parse().ok());
    let builder = size.map_or_else(Builder::new, |size| Builder::new().stack_size(size));
    let handle = builder.spawn(a_frame_to_look_for).unwrap();
    assert!(handle.join().is_err());
}

fn a_full_backtrace_fits_the_default_stack() {
    let ended = child::run("backtrace", &[("RUST_BACKTRACE", "full")]);
    ended
        .exited_with(0)
        .says(&["shown whole", "stack backtrace:", "a_frame_to_look_for"]);
    ended.is_silent_about("overflowed");
}
