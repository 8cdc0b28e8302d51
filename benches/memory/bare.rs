//! The reference: corosensei coroutines on stacks that are cut from one mapping, each with a guard where the kernel
//! has guards that do not split the mapping.

#![allow(unsafe_code)]

use std::num::NonZeroUsize;
use std::ptr::null_mut;

use corosensei::Coroutine;
use corosensei::stack::{Stack, StackPointer};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::Findings;

/// Bytes below each stack that may not be touched.
const GUARD_BYTES: usize = 4096;

/// `MADV_GUARD_INSTALL` of Linux 6.13.
const MADV_GUARD_INSTALL: i32 = 102;

/// A part of the mapping, which lives until the process ends.
struct Slice {
    base: StackPointer,
    limit: StackPointer,
}

// SAFETY: the memory between `limit` and `base` is mapped for good, belongs to this slice alone and is far larger than
// the required minimum; both ends are page-aligned. It lacks a guard only on kernels without `MADV_GUARD_INSTALL`,
// and the one function that runs on it uses a few hundred bytes.
unsafe impl Stack for Slice {
    fn base(&self) -> StackPointer {
        self.base
    }

    fn limit(&self) -> StackPointer {
        self.limit
    }
}

/// Cuts `count` stacks of `size` usable bytes from one mapping.
fn slices(count: usize, size: usize) -> impl Iterator<Item = Slice> {
    let spacing = size + GUARD_BYTES;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice affects no other memory.
    let mapping = unsafe {
        mmap_anonymous(
            null_mut(),
            count * spacing,
            ProtFlags::READ | ProtFlags::WRITE,
            flags,
        )
    };
    let start = mapping.expect("mmap").addr();
    (0..count).map(move |index| {
        let limit = start + index * spacing;
        // SAFETY: the first page of the slice lies inside the mapping and nothing uses it.
        unsafe {
            libc::madvise(limit as *mut libc::c_void, GUARD_BYTES, MADV_GUARD_INSTALL);
        }
        Slice {
            base: NonZeroUsize::new(limit + spacing).expect("an address"),
            limit: NonZeroUsize::new(limit).expect("an address"),
        }
    })
}

/// Creates coroutines, runs each to its first suspension, and lets each return at the end.
pub fn suspended(count: usize, stack_size: usize) -> Findings {
    let create = || {
        let mut coroutines = Vec::with_capacity(count);
        for stack in slices(count, stack_size) {
            let mut coroutine = Coroutine::<(), (), (), Slice>::with_stack(stack, |yielder, ()| {
                yielder.suspend(());
            });
            coroutine.resume(());
            coroutines.push(coroutine);
        }
        coroutines
    };
    Findings::measure(count, create, |coroutines| {
        for mut coroutine in coroutines {
            coroutine.resume(());
        }
    })
}
