//! System calls per request of a running server, counted by `strace`.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Traces the process while `load` runs, which returns the number of requests; says how many calls each one took.
pub fn per_request(pid: u32, load: impl FnOnce() -> usize) -> String {
    let strace = Command::new("strace")
        .args(["-c", "-f", "-qq", "-p", &pid.to_string()])
        .stderr(Stdio::piped())
        .spawn();
    let Ok(strace) = strace else {
        return "strace is not installed".into();
    };
    if !wait_until_traced(pid) {
        return "strace may not attach to the server".into();
    }
    let requests = load();
    // strace detaches and prints its table when it is interrupted.
    kill_process(Pid::from_child(&strace), Signal::INT).expect("interrupt strace");
    let output = strace.wait_with_output().expect("strace");
    describe(&String::from_utf8_lossy(&output.stderr), requests)
}

fn wait_until_traced(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let tracer = status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:"));
        if tracer.is_some_and(|tracer| tracer.trim() != "0") {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Reads a table whose rows are `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn describe(table: &str, requests: usize) -> String {
    let mut described = Vec::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, calls, .., name] = fields[..]
            && let Ok(calls) = calls.parse::<f64>()
        {
            described.push(format!("{name} {:.3}", calls / requests as f64));
        }
    }
    described.join(", ")
}
