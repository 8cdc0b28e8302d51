//! The root task, which stands for the code on the OS thread's own stack, and the numbers that name tasks.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::num::NonZeroU64;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Remote;
use crate::stack::Class;
use crate::task::{Home, Locals, Origin, Task, TaskRef, Vtable};

/// The first id that has not been handed out.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The task that stands for the code on the OS thread's own stack.
pub(super) fn new_root(remote: &Arc<Remote>, id: NonZeroU64, class: Class) -> TaskRef {
    unsafe fn run(_: NonNull<Task>) {
        unreachable!("the root task is never started: it is what runs the hub");
    }
    unsafe fn free(task: NonNull<Task>) {
        // SAFETY: `new_root` made the allocation, and this was the last reference.
        drop(unsafe { Box::from_raw(task.as_ptr()) });
    }
    static ROOT: Vtable = Vtable { run, free };

    let home: &dyn Home = &**remote;
    let origin = Origin {
        id,
        name: std::thread::current().name().map(Box::from),
        site: Location::caller(),
        class,
        scope: ptr::null(),
        locals: Locals::new(),
    };
    let task = Box::new(Task::new(&ROOT, NonNull::from(home), remote.id, origin));
    // SAFETY: one of the two references that a task begins with. The other one is never given up while the hub exists: it
    // is dropped in `exit`.
    unsafe { TaskRef::from_raw(NonNull::from(Box::leak(task))) }
}

pub(super) fn next_id(ids: &Cell<(u64, u64)>) -> NonZeroU64 {
    /// Ids are handed to hubs in blocks, so that a spawn needs no atomic operation.
    const BLOCK: u64 = 4096;

    let (mut next, mut end) = ids.get();
    if next == end {
        next = NEXT_ID.fetch_add(BLOCK, Ordering::Relaxed);
        end = next + BLOCK;
    }
    ids.set((next + 1, end));
    NonZeroU64::new(next).expect("ids begin at 1")
}

/// An id for a task that is made on a thread without a hub.
pub(super) fn single_id() -> NonZeroU64 {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    NonZeroU64::new(id).expect("ids begin at 1")
}
