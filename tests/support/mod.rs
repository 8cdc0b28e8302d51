//! What several test binaries share: the time limit that turns a hang into a failure.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Aborts the process, naming the test, if it is not dropped in time.
///
/// A test of blocking calls fails by hanging as often as by a wrong value, and libtest would wait
/// for ever. The watcher is an OS thread, so that it works when every hub is stuck.
pub struct TimeLimit {
    /// Dropped with the limit, which is what the watcher waits for.
    _running: Sender<()>,
}

impl TimeLimit {
    /// Starts the clock for the test that runs on the calling OS thread.
    pub fn start(limit: Duration) -> TimeLimit {
        let (running, watched) = channel();
        let name = std::thread::current().name().unwrap_or("?").to_owned();
        std::thread::spawn(move || {
            if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                // Written directly: libtest would keep what `eprintln` prints, and lose it here.
                let message = format!("test {name} did not end within {limit:?}\n");
                let _ = std::io::stderr().write_all(message.as_bytes());
                std::process::abort();
            }
        });
        TimeLimit { _running: running }
    }
}
