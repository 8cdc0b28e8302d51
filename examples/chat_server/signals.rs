//! SIGINT and SIGTERM, handled by a green thread.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// Calls `stop` from a green thread once for every SIGINT and SIGTERM.
///
/// The signal handler may only write to a pipe; a green thread that waits for the other end does the rest.
///
/// # Errors
///
/// Returns the error of creating the socket pair or of installing the handlers.
pub fn on_signals(stop: impl Fn() + 'static) -> io::Result<()> {
    let (mut reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    pipe::register(SIGINT, writer.try_clone()?)?;
    pipe::register(SIGTERM, writer)?;
    greenhub::spawn(move || {
        let mut signals = [0; 16];
        while greenhub::io::wait_readable(&reader, None).is_ok() {
            for _ in 0..reader.read(&mut signals).unwrap_or(0) {
                stop();
            }
        }
    });
    Ok(())
}
