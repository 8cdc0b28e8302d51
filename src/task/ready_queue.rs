//! The queue of tasks that are ready to run.
#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use super::Task;

/// A queue of tasks in order of arrival. A task stands in at most one.
///
/// A ring of pointers rather than a list through the tasks: the address of the next task then does not depend on a load
/// from the one before, which the next turn would have to wait for. Its two counters only grow, so that each is
/// written by one of `push` and `pop` alone, and indexing takes a mask; both are measurable in `yield_now`.
pub(crate) struct ReadyQueue {
    /// Places for a power of two of tasks. Borrowed within single methods only, which call nothing that comes back here.
    places: UnsafeCell<Box<[MaybeUninit<NonNull<Task>>]>>,
    /// Tasks taken out so far, and put in so far.
    popped: Cell<usize>,
    pushed: Cell<usize>,
}

impl ReadyQueue {
    pub(crate) fn new() -> Self {
        ReadyQueue {
            places: UnsafeCell::new(Box::new_uninit_slice(Self::FEWEST_PLACES)),
            popped: Cell::new(0),
            pushed: Cell::new(0),
        }
    }

    const FEWEST_PLACES: usize = 64;

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.popped.get() == self.pushed.get()
    }

    fn len(&self) -> usize {
        self.pushed.get().wrapping_sub(self.popped.get())
    }

    /// The place of the task that is, was or will be the `count`th.
    #[inline(always)]
    fn place(&self, count: usize) -> *mut MaybeUninit<NonNull<Task>> {
        // SAFETY: nobody holds a reference to the places while this one exists. The index is below their number, which is a
        // power of two.
        unsafe {
            let places = &mut *self.places.get();
            let mask = places.len() - 1;
            places.as_mut_ptr().add(count & mask)
        }
    }

    #[inline(always)]
    pub(crate) fn first(&self) -> Option<NonNull<Task>> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: the queue is not empty, so the place holds a task.
        Some(unsafe { (*self.place(self.popped.get())).assume_init() })
    }

    /// Adds a task, which must not be queued already: the wait word sees to that. Queued tasks stay alive because only the
    /// hub ends tasks, and takes them out first.
    #[inline(always)]
    pub(crate) fn push(&self, task: NonNull<Task>) {
        // SAFETY: as in `place`.
        if self.len() == unsafe { &*self.places.get() }.len() {
            self.resize(self.len() * 2);
        }
        let pushed = self.pushed.get();
        // SAFETY: the place exists and is free, for the queue is not full.
        unsafe { *self.place(pushed) = MaybeUninit::new(task) };
        self.pushed.set(pushed.wrapping_add(1));
    }

    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<NonNull<Task>> {
        let first = self.first()?;
        self.popped.set(self.popped.get().wrapping_add(1));
        Some(first)
    }

    /// Gives back the memory of an empty queue that was long.
    pub(crate) fn give_back_memory(&self) {
        if self.is_empty() {
            self.resize(Self::FEWEST_PLACES);
        }
    }

    /// Moves the tasks to as many places, a power of two that holds them.
    #[cold]
    fn resize(&self, places: usize) {
        let mut moved = Box::new_uninit_slice(places);
        for offset in 0..self.len() {
            let count = self.popped.get().wrapping_add(offset);
            // SAFETY: these places hold the queued tasks.
            moved[count & (places - 1)] = unsafe { *self.place(count) };
        }
        // SAFETY: as in `place`.
        unsafe { *self.places.get() = moved };
    }
}
