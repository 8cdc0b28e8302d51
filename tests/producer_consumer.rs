//! Runs the `producer_consumer` example as a child process.

#[path = "support/example.rs"]
mod example;

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use example::executable;

fn run(options: &[&str]) -> Output {
    Command::new(executable("producer_consumer"))
        .args(options)
        .output()
        .expect("start producer_consumer")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn every_item_is_consumed_once_and_the_waiting_overlaps() {
    let start = Instant::now();
    let output = run(&["--items", "2000", "--consumers", "200", "--consume", "0.02"]);
    let text = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    assert!(
        text.starts_with("2000 items made, 2000 consumed, 0 lost, 0 consumed twice"),
        "{text}"
    );
    // One after the other they would take 40 s.
    assert!(start.elapsed() < Duration::from_secs(20), "{text}");
}

#[test]
fn the_queue_never_holds_more_than_it_has_room_for() {
    let options = ["--items", "500", "--consumers", "3", "--capacity", "7"];
    let output = run(&[&options[..], &["--consume", "0.001"]].concat());
    let text = stdout(&output);
    assert!(
        text.trim_end().ends_with("the queue held up to 7 of 7"),
        "{text}"
    );
}

#[test]
fn a_slow_producer_makes_consumers_wait() {
    let options = ["--items", "20", "--producers", "1", "--produce", "0.002"];
    let output = run(&[&options[..], &["--consume", "0"]].concat());
    let text = stdout(&output);
    assert!(text.starts_with("20 items made, 20 consumed"), "{text}");
}

#[test]
fn a_signal_stops_the_producers_and_drains_the_queue() {
    let mut child = Command::new(executable("producer_consumer"))
        .args(["--items", "100000000", "--consume", "0.01"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start producer_consumer");
    // It says so when it is ready to be stopped.
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("a piped stderr"));
    stderr.read_line(&mut line).expect("a line");
    assert_eq!(line, "press Ctrl-C to stop the producers\n");
    kill_process(Pid::from_child(&child), Signal::INT).expect("send a signal");
    let output = child.wait_with_output().expect("its end");
    let text = stdout(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(" 0 lost, 0 consumed twice"), "{text}");
}

#[test]
fn a_second_signal_kills_the_consumers() {
    let mut child = Command::new(executable("producer_consumer"))
        .args(["--items", "1000", "--consumers", "2", "--consume", "3600"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start producer_consumer");
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("a piped stderr"));
    stderr.read_line(&mut line).expect("a line");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("send a signal");
    line.clear();
    stderr.read_line(&mut line).expect("a line");
    assert_eq!(line, "stopping; a second signal kills the consumers\n");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("send a signal");
    let output = child.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains(" 0 consumed, "), "{output:?}");
}

#[test]
fn bad_options_are_refused_with_a_reason() {
    for (option, reason) in [
        ("--capacity=0", "--capacity"),
        ("--consume=soon", "is not a number of seconds"),
        ("--produce=-1", "must lie between"),
        ("--items=many", "--items"),
    ] {
        let output = run(&[option]);
        assert_eq!(output.status.code(), Some(2), "{option}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn help_says_what_it_does() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let text = stdout(&output);
    assert!(
        text.contains("bounded queue") && text.contains("--capacity"),
        "{text}"
    );
}
