//! Guard regions: the memory below a stack that faults when the stack overflows.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::map;

/// Bytes below each stack that fault. Rust code probes every page of a large frame, so one page would do for it; four also
/// stop C code that was compiled without such probes and has frames of up to 16 KiB.
const MIN_GUARD_SIZE: usize = 16 * 1024;

/// The size of a guard in whole pages, of which some systems have larger ones.
pub(super) fn guard_size() -> usize {
    MIN_GUARD_SIZE.next_multiple_of(rustix::param::page_size())
}

/// Not in the libc crate yet; the value is the kernel's ABI (`include/uapi/asm-generic/mman-common.h`).
const MADV_GUARD_INSTALL: i32 = 102;

/// How guard regions are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// `madvise(MADV_GUARD_INSTALL)`.
    Madvise,
    /// `mprotect(PROT_NONE)`.
    Mprotect,
}

impl Guard {
    /// What this kernel can do, unless the environment asks for the fallback with `GREENHUB_STACK_GUARD=mprotect`.
    pub(crate) fn detect() -> Guard {
        static DETECTED: OnceLock<Guard> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let forced =
                std::env::var_os("GREENHUB_STACK_GUARD").is_some_and(|value| value == "mprotect");
            if forced || !kernel_installs_guards() {
                Guard::Mprotect
            } else {
                Guard::Madvise
            }
        })
    }

    /// Makes a guard at `place`.
    ///
    /// # Safety
    ///
    /// The guard's bytes from `place` on must be mapped and hold nothing that is needed.
    pub(super) unsafe fn install(self, place: NonNull<c_void>) -> io::Result<()> {
        let (at, size) = (place.as_ptr(), guard_size());
        // SAFETY: the caller's contract.
        let result = unsafe {
            match self {
                Guard::Madvise => libc::madvise(at, size, MADV_GUARD_INSTALL),
                Guard::Mprotect => {
                    reserve_mappings()?;
                    libc::mprotect(at, size, libc::PROT_NONE)
                }
            }
        };
        if result != 0 {
            return Err(guard_error(self, io::Error::last_os_error()));
        }
        Ok(())
    }

    /// Notes that as many guards have been unmapped.
    pub(super) fn release(self, guards: usize) {
        if self == Guard::Mprotect {
            MAPPINGS.fetch_sub(2 * guards, Ordering::Relaxed);
        }
    }
}

fn kernel_installs_guards() -> bool {
    let page = rustix::param::page_size();
    let Ok(probe) = map(page) else { return false };
    // SAFETY: the page was just mapped, is ours alone and is unmapped right here.
    unsafe {
        let installed = libc::madvise(probe.as_ptr(), page, MADV_GUARD_INSTALL) == 0;
        libc::munmap(probe.as_ptr(), page);
        installed
    }
}

/// Mappings that the guards of this process take: with `mprotect`, each guard splits one in three.
static MAPPINGS: AtomicUsize = AtomicUsize::new(0);

/// Counts the mappings of one more guard made with `mprotect`, unless hardly any are left: at the kernel's very limit `malloc`
/// fails too, and with it the program.
fn reserve_mappings() -> io::Result<()> {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    let limit = *LIMIT.get_or_init(|| {
        let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        let limit = limit.ok().and_then(|limit| limit.trim().parse().ok());
        limit.unwrap_or(65_530)
    });
    let headroom = (limit / 16).min(4096);
    if MAPPINGS.fetch_add(2, Ordering::Relaxed) + 2 + headroom > limit {
        MAPPINGS.fetch_sub(2, Ordering::Relaxed);
        let error = io::Error::new(
            io::ErrorKind::OutOfMemory,
            format!("the process may have {limit} mappings (vm.max_map_count)"),
        );
        return Err(guard_error(Guard::Mprotect, error));
    }
    Ok(())
}

fn guard_error(guard: Guard, error: io::Error) -> io::Error {
    let advice = match guard {
        Guard::Madvise => "the process may be at its memory limit",
        Guard::Mprotect => {
            "each stack needs two mappings on a kernel before 6.13: raise the limit with \
             `sysctl -w vm.max_map_count=1048576`, run fewer green threads at once, or use a newer kernel"
        }
    };
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!("cannot guard the stack of a green thread: {error}; {advice}"),
    )
}
