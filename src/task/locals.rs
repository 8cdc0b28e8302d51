//! Where a task keeps its green-thread locals.
//!
//! A table from the numbers of keys to values, made when the first value is stored. Values are counted references: whoever
//! uses one holds on to it, so nothing that happens to the table meanwhile, its end included, can pull it away. No
//! code of the program (initialisers, `Clone`, destructors) runs while the table is borrowed.
//!
//! The table belongs to the thread of the task's hub. When a task may be freed by another thread, which is after
//! its end, it holds no values any more.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

/// A value of one task.
pub(crate) trait Value: Any {
    /// Whether it has a destructor, so that it is gone once that has run.
    fn has_destructor(&self) -> bool;

    /// The value that a child begins with, if the key says that there is one.
    fn inherit(&self) -> Option<Rc<dyn Value>>;
}

/// What a task knows of a key.
enum Slot {
    /// It has not been used.
    Vacant,
    Held(Rc<dyn Value>),
    /// Its destructor has begun to run, or has run.
    Destroyed,
}

/// The value of a key was destroyed.
pub(crate) struct Destroyed;

/// The locals of a task. One word while there are none.
pub(crate) struct Locals(OnceCell<Box<RefCell<Vec<Slot>>>>);

impl Locals {
    pub(crate) const fn new() -> Locals {
        Locals(OnceCell::new())
    }

    /// Whether no value was ever stored.
    pub(crate) fn are_unused(&self) -> bool {
        self.0.get().is_none()
    }

    /// The value of the key with this number.
    #[inline]
    pub(crate) fn get(&self, key: usize) -> Result<Option<Rc<dyn Value>>, Destroyed> {
        let Some(slots) = self.0.get() else {
            return Ok(None);
        };
        match slots.borrow().get(key) {
            Some(Slot::Held(value)) => Ok(Some(Rc::clone(value))),
            Some(Slot::Destroyed) => Err(Destroyed),
            Some(Slot::Vacant) | None => Ok(None),
        }
    }

    /// Stores the value of a key. Returns the one that it replaces, for the caller to drop.
    #[must_use = "it may have a destructor"]
    pub(crate) fn set(&self, key: usize, value: Rc<dyn Value>) -> Option<Rc<dyn Value>> {
        let mut slots = self.0.get_or_init(Box::default).borrow_mut();
        if slots.len() <= key {
            slots.resize_with(key + 1, || Slot::Vacant);
        }
        match std::mem::replace(&mut slots[key], Slot::Held(value)) {
            Slot::Held(old) => Some(old),
            Slot::Vacant | Slot::Destroyed => None,
        }
    }

    /// Takes out a value that has a destructor. The key counts as destroyed from now on.
    pub(crate) fn take_for_destruction(&self) -> Option<Rc<dyn Value>> {
        let mut slots = self.0.get()?.borrow_mut();
        let has_destructor =
            |slot: &Slot| matches!(slot, Slot::Held(value) if value.has_destructor());
        let last = slots.iter().rposition(has_destructor)?;
        match std::mem::replace(&mut slots[last], Slot::Destroyed) {
            Slot::Held(value) => Some(value),
            Slot::Vacant | Slot::Destroyed => None,
        }
    }

    /// Drops the values without destructors, when no code of the task is going to run any more.
    pub(crate) fn clear(&self) {
        if let Some(slots) = self.0.get() {
            *slots.borrow_mut() = Vec::new();
        }
    }

    /// The locals that a child begins with. Runs the program's `Clone`s.
    pub(crate) fn inherited(&self) -> Locals {
        let child = Locals::new();
        for (key, value) in self.held() {
            if let Some(copy) = value.inherit() {
                let replaced = child.set(key, copy);
                debug_assert!(replaced.is_none(), "each key has a number of its own");
            }
        }
        child
    }

    fn held(&self) -> Vec<(usize, Rc<dyn Value>)> {
        let Some(slots) = self.0.get() else {
            return Vec::new();
        };
        let slots = slots.borrow();
        let held = slots
            .iter()
            .enumerate()
            .filter_map(|(key, slot)| match slot {
                Slot::Held(value) => Some((key, Rc::clone(value))),
                Slot::Vacant | Slot::Destroyed => None,
            });
        held.collect()
    }
}
