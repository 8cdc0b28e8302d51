//! Where an item lies while its task waits: on that task's stack, where the other side finds it under the queue's lock.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::mem;

/// Where a waiting task keeps the item that it puts, or finds the one that it gets.
pub(crate) struct Slot<T>(UnsafeCell<Option<T>>);

impl<T> Slot<T> {
    #[inline(always)]
    pub(crate) const fn new(item: Option<T>) -> Self {
        Slot(UnsafeCell::new(item))
    }

    #[inline(always)]
    pub(crate) fn into_item(self) -> Option<T> {
        self.0.into_inner()
    }

    /// Takes the item out, or puts one in, for the owner of the slot.
    ///
    /// # Safety
    ///
    /// No task may stand in line with it.
    pub(crate) unsafe fn replace(&self, item: Option<T>) -> Option<T> {
        // SAFETY: nobody else uses the slot, by the caller's contract, and its owner is on this thread.
        unsafe { mem::replace(&mut *self.0.get(), item) }
    }

    #[inline(always)]
    pub(super) fn cargo(&self) -> *const () {
        (&raw const *self).cast()
    }

    /// Puts the item in. The slot must be empty: nothing is dropped.
    ///
    /// # Safety
    ///
    /// `cargo` must be that of a `Slot<T>` which exists and which nobody else uses.
    #[inline(always)]
    pub(super) unsafe fn fill(cargo: *const (), item: Option<T>) {
        // SAFETY: the caller's contract.
        unsafe { UnsafeCell::raw_get(cargo.cast::<UnsafeCell<Option<T>>>()).write(item) };
    }

    /// Takes the item out.
    ///
    /// # Safety
    ///
    /// As for `fill`.
    #[inline(always)]
    pub(super) unsafe fn empty(cargo: *const ()) -> Option<T> {
        // SAFETY: the caller's contract.
        unsafe { (*UnsafeCell::raw_get(cargo.cast::<UnsafeCell<Option<T>>>())).take() }
    }
}
