//! Two fences that order like a sequentially consistent pair, of which only the rarely needed one costs anything.
//!
//! Dekker's pattern (each side stores its own flag, then looks at the other's) needs a full fence between the two on both
//! sides. With `light` on one side and `heavy` on the other it holds as well: `heavy` has the kernel execute a full fence on
//! every processor that runs a thread of this process, at some point of what that thread does. Either the `light` side had
//! stored its flag before that point, and the `heavy` side sees it afterwards; or its look comes after that point, and it
//! sees what the other side stored before. `light` only keeps the compiler from exchanging the two. Threads that do not
//! run, or have ended, went through such a fence when they were switched out.
//!
//! The kernel wants to be asked once for each process. That is a microsecond while the process has one thread, and some 10 ms
//! later on, in which the asking thread waits; so it is done before `main`. `heavy` is a fraction of a microsecond, plus an
//! interrupt for each processor that runs another thread of the process: 1 to 20 microseconds. A forked child inherits the
//! permission.
//!
//! Where the kernel refuses (before Linux 4.14, or behind a filter of system calls), whoever would use `light` must use
//! something else. `GREENHUB_BIASED_LOCKS=off` forces that, which is how it is tested.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{Ordering, compiler_fence};

use rustix::thread::{MembarrierCommand, membarrier};

use crate::unwind::AbortOnUnwind;

/// Asks early; see above. Nothing depends on its being called: `is_available` asks again.
// SAFETY: the section holds functions of this type, which the C library calls. This one makes a system call and uses nothing
// that would have to be set up before.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = {
    extern "C" fn register() {
        let _ = membarrier(MembarrierCommand::RegisterPrivateExpedited);
    }
    register
};

/// Whether the fences work.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let refused = std::env::var_os("GREENHUB_BIASED_LOCKS").is_some_and(|value| value == "off");
        // The barrier is tried as well: a filter may let one command through and not the other.
        !refused
            && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
            && membarrier(MembarrierCommand::PrivateExpedited).is_ok()
    })
}

/// The side that is free. Only after `is_available` has said yes.
#[inline(always)]
pub(crate) fn light() {
    compiler_fence(Ordering::SeqCst);
}

/// The side that pays for both. Only after `is_available` has said yes.
#[cold]
pub(crate) fn heavy() {
    if membarrier(MembarrierCommand::PrivateExpedited).is_err() {
        // A program can forbid itself the call later on. There is no other way to make sure of what the threads on the
        // other side have done, and going on without would be a data race.
        drop(AbortOnUnwind(
            "the system call membarrier was allowed at first and is refused now; set GREENHUB_BIASED_LOCKS=off",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn can_be_asked_again_and_from_several_threads() {
        let here = is_available();
        let there = std::thread::spawn(is_available).join().unwrap();
        assert_eq!(here, there);
        if here {
            light();
            heavy();
        }
    }
}
