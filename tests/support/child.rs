//! Scenarios that end their process, or need one of their own: run as a child of the test binary.
//!
//! A binary with such scenarios has `harness = false`, because a scenario must run on the main
//! thread of a process without any other thread: that is what decides about deadlocks, and what
//! std's report of a stack overflow names.
#![allow(dead_code, reason = "each test binary uses its part of this")]

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};

/// Tells a child which scenario it is.
const VARIABLE: &str = "GREENHUB_TEST_SCENARIO";

/// The longest a scenario may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How a child ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
}

impl Ended {
    /// Asserts that stderr holds each of `parts`.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "no {part:?} in:\n{}",
                self.stderr
            );
        }
        self
    }

    /// Asserts that stderr does not hold `part`.
    #[track_caller]
    pub fn is_silent_about(&self, part: &str) -> &Self {
        assert!(!self.stderr.contains(part), "{part:?} in:\n{}", self.stderr);
        self
    }

    /// Asserts that the child ended by itself with this code.
    #[track_caller]
    pub fn exited_with(&self, code: i32) -> &Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{:?}\n{}",
            self.status,
            self.stderr
        );
        self
    }

    /// Asserts that a signal ended the child.
    #[track_caller]
    pub fn died_of(&self, signal: i32) -> &Self {
        assert_eq!(
            self.status.signal(),
            Some(signal),
            "{:?}\n{}",
            self.status,
            self.stderr
        );
        self
    }
}

/// The command that runs a scenario of this binary.
pub fn command(scenario: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .env(VARIABLE, scenario)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null());
    command
}

/// Runs a scenario to its end, with these environment variables.
pub fn run(scenario: &str, variables: &[(&str, &str)]) -> Ended {
    let mut command = command(scenario);
    command.envs(variables.iter().copied());
    run_to_end(scenario, command)
}

/// Runs another program to its end.
pub fn run_to_end(scenario: &str, mut command: Command) -> Ended {
    let start = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            let stderr = stderr.join().unwrap();
            panic!("scenario {scenario} did not end within {LIMIT:?}:\n{stderr}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let elapsed = start.elapsed();
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    Ended {
        status,
        stdout,
        stderr,
        elapsed,
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A named function: a scenario, or a test.
pub type Named = (&'static str, fn());

/// The main function of a binary with scenarios: runs one as the child, or all the tests.
pub fn main(scenarios: &[Named], tests: &[Named]) {
    if let Ok(wanted) = std::env::var(VARIABLE) {
        let scenario = scenarios.iter().find(|(name, _)| *name == wanted);
        return scenario.expect("an unknown scenario").1();
    }
    let trials = tests.iter().map(|&(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
