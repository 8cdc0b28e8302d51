//! Ctrl-C: the first asks the crawl to stop, the second ends the process.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGINT;
use signal_hook::{flag, low_level};

/// The exit status of a process that a second Ctrl-C ended: 128 and the signal's number, as in a shell.
const INTERRUPTED: i32 = 130;

/// Calls `stop` on a green thread of this hub at every Ctrl-C but the second, which ends the process.
///
/// # Errors
///
/// Returns the error of creating the socket pair or of installing the handlers.
pub fn on_interrupt(stop: impl Fn() + 'static) -> io::Result<()> {
    let was_interrupted = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(SIGINT, INTERRUPTED, Arc::clone(&was_interrupted))?;
    flag::register(SIGINT, was_interrupted)?;
    let (mut receiver, sender) = UnixStream::pair()?;
    low_level::pipe::register(SIGINT, sender)?;
    receiver.set_nonblocking(true)?;
    greenhub::spawn(move || {
        while greenhub::io::wait_readable(&receiver, None).is_ok() {
            // One signal is one byte; an error only means that another wake-up took it.
            let _ = receiver.read(&mut [0; 64]);
            stop();
        }
    });
    Ok(())
}
