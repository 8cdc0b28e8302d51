//! Where a kill or a time limit ends the process: programs that cannot unwind, and frames that must not be unwound.

#[path = "support/child.rs"]
mod child;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use greenhub::thread;
use greenhub::{Timeout, sleep, spawn, yield_now};

const SIGABRT: i32 = 6;

fn main() {
    child::main(
        &[
            ("panic_while_unwinding", panic_while_unwinding),
            ("kill_through_c", || kill_through_c(false)),
            ("kill_through_c_shielded", || kill_through_c(true)),
            ("limit_of_the_root", limit_of_the_root),
        ],
        &[
            ("a_panic_in_a_destructor_during_a_kill_aborts", || {
                child::run("panic_while_unwinding", &[])
                    .died_of(SIGABRT)
                    .says(&["in the destructor", "panic in a destructor during cleanup"]);
            }),
            ("a_kill_through_c_frames_aborts", || {
                child::run("kill_through_c", &[])
                    .died_of(SIGABRT)
                    .says(&["panic in a function that cannot unwind"]);
            }),
            ("a_shielded_callback_of_c_is_not_unwound", || {
                child::run("kill_through_c_shielded", &[]).exited_with(0);
            }),
            ("an_uncaught_limit_of_the_root_ends_the_program", || {
                child::run("limit_of_the_root", &[])
                    .exited_with(101)
                    .is_silent_about("panicked");
            }),
            ("without_unwinding_the_rest_works", || {
                let ended = aborting("works");
                ended.exited_with(0);
                assert_eq!(ended.stdout, "all works\n");
            }),
            ("without_unwinding_kills_are_refused", || {
                for scenario in [
                    "kill",
                    "kill of one that has finished",
                    "kill_nowait",
                    "kill_with",
                    "kill_timeout",
                    "killall",
                    "kill of a scope",
                    "kill in a scope",
                    "kill from another thread",
                ] {
                    aborting(scenario)
                        .died_of(SIGABRT)
                        .says(&["a kill ends code by unwinding it", "panic = \"abort\""]);
                }
            }),
            ("without_unwinding_time_limits_are_refused", || {
                for scenario in ["timeout", "deadline", "Timeout"] {
                    aborting(scenario).died_of(SIGABRT).says(&[
                        "a time limit ends code by unwinding it",
                        "panic = \"abort\"",
                    ]);
                }
            }),
            ("without_unwinding_a_panic_ends_the_program", || {
                aborting("panic").died_of(SIGABRT).says(&["as everywhere"]);
            }),
        ],
    );
}

/// Calls its function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn panic_while_unwinding() {
    let handle = spawn(|| {
        let _panics = OnDrop(|| panic!("in the destructor"));
        thread::park();
    });
    yield_now();
    handle.kill();
}

fn kill_through_c(shielded: bool) {
    extern "C" fn waits(_: *const libc::c_void, _: *const libc::c_void) -> libc::c_int {
        sleep(Duration::from_millis(2));
        0
    }
    extern "C" fn waits_shielded(a: *const libc::c_void, b: *const libc::c_void) -> libc::c_int {
        thread::shielded(|| waits(a, b))
    }
    let callback = if shielded { waits_shielded } else { waits };
    let handle = spawn(move || {
        sort(callback);
        thread::park();
        unreachable!("the kill is met there");
    });
    yield_now();
    handle.kill();
    assert!(handle.join().unwrap_err().is::<thread::Killed>());
}

type Compare = extern "C" fn(*const libc::c_void, *const libc::c_void) -> libc::c_int;

/// C code that calls back.
fn sort(compare: Compare) {
    let mut numbers = [2, 1];
    // SAFETY: the array has two elements of this size, and the function compares without looking at them.
    #[allow(unsafe_code)]
    unsafe {
        libc::qsort(
            numbers.as_mut_ptr().cast(),
            numbers.len(),
            size_of::<i32>(),
            Some(std::mem::transmute::<
                Compare,
                unsafe extern "C" fn(_, _) -> _,
            >(compare)),
        );
    }
}

fn limit_of_the_root() {
    let _limit = Timeout::start(Duration::from_millis(2));
    thread::park();
}

/// Runs a scenario of `aborting/main.rs`, in a program that is built with `panic = "abort"`.
fn aborting(scenario: &str) -> child::Ended {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(PROGRAM.get_or_init(build_aborting));
    command
        .arg(scenario)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null());
    child::run_to_end(scenario, command)
}

/// Builds a package of its own, since the profile of a test binary cannot be one that aborts; with the versions of the
/// dependencies that this one has been built with, so that nothing is fetched.
fn build_aborting() -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aborting");
    std::fs::create_dir_all(&package).unwrap();
    let manifest = format!(
        "[package]\nname = \"aborting\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [workspace]\n\
         [[bin]]\nname = \"aborting\"\npath = {:?}\n\
         [dependencies]\ngreenhub = {{ path = {ours:?} }}\n\
         [profile.dev]\npanic = \"abort\"\ndebug = false\n",
        ours.join("tests/aborting/main.rs"),
    );
    std::fs::write(package.join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(ours.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--offline", "--quiet", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(package.join("target"))
        .env_remove("RUSTFLAGS");
    let built = cargo.output().unwrap();
    let stderr = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{stderr}");
    package.join("target/debug/aborting")
}
