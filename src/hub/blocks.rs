//! Memory for tasks: blocks of one size that are kept for the next task instead of being freed.
//!
//! Spawning and ending a green thread is otherwise mostly the price of `malloc` and `free`; and after a burst of green
//! threads the C library returns the memory, only to have the next burst fault it in again page by page. Every hub keeps
//! the blocks of tasks that end on its thread. A quiet hub frees most of them.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

/// Room for a task with a closure of about eight words; larger ones are allocated and freed directly.
const BLOCK: Layout = match Layout::from_size_align(320, 16) {
    Ok(layout) => layout,
    Err(_) => panic!("the size is no multiple of the alignment"),
};

/// The most blocks kept while the hub is busy, and when it is quiet.
const MOST: usize = 1 << 17;
const KEEP: usize = 256;

/// A list of free blocks, linked through them.
pub(super) struct Blocks {
    first: Cell<Option<NonNull<Free>>>,
    len: Cell<usize>,
}

struct Free {
    next: Option<NonNull<Free>>,
}

impl Blocks {
    pub(super) const fn new() -> Self {
        Blocks {
            first: Cell::new(None),
            len: Cell::new(0),
        }
    }

    /// Uninitialised memory for `layout`.
    pub(super) fn allocate(&self, layout: Layout) -> NonNull<u8> {
        if fits(layout)
            && let Some(first) = self.pop()
        {
            return first;
        }
        let layout = real(layout);
        // SAFETY: a task is not of size zero.
        let memory = unsafe { alloc(layout) };
        NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
    }

    /// Takes back memory that was allocated for `layout`, by any hub.
    ///
    /// # Safety
    ///
    /// It must have come from `allocate`, and not be used any more.
    pub(super) unsafe fn free(&self, memory: NonNull<u8>, layout: Layout) {
        if !fits(layout) || self.len.get() == MOST {
            // SAFETY: the caller's contract.
            unsafe { free(memory, layout) };
            return;
        }
        let block = memory.cast::<Free>();
        // SAFETY: a block has room for the link and is aligned for it, and nobody uses it.
        unsafe {
            block.write(Free {
                next: self.first.replace(Some(block)),
            });
        }
        self.len.set(self.len.get() + 1);
    }

    fn pop(&self) -> Option<NonNull<u8>> {
        let first = self.first.get()?;
        // SAFETY: listed blocks hold a link.
        self.first.set(unsafe { first.as_ref() }.next);
        self.len.set(self.len.get() - 1);
        Some(first.cast())
    }

    /// Frees all but a few blocks.
    pub(super) fn give_back_memory(&self) {
        self.shrink_to(KEEP);
    }

    fn shrink_to(&self, len: usize) {
        while self.len.get() > len
            && let Some(block) = self.pop()
        {
            // SAFETY: blocks have this layout, and this one is no longer listed.
            unsafe { dealloc(block.as_ptr(), BLOCK) };
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// Frees memory on a thread that has no hub.
///
/// # Safety
///
/// As for `Blocks::free`.
pub(super) unsafe fn free(memory: NonNull<u8>, layout: Layout) {
    // SAFETY: the caller's contract; `allocate` used the same layout.
    unsafe { dealloc(memory.as_ptr(), real(layout)) };
}

fn fits(layout: Layout) -> bool {
    layout.size() <= BLOCK.size() && layout.align() <= BLOCK.align()
}

/// What is asked of the allocator for `layout`.
fn real(layout: Layout) -> Layout {
    if fits(layout) { BLOCK } else { layout }
}
