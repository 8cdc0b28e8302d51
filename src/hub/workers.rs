//! The workers that a hub keeps: idle ones to reuse, stacks set aside for green threads that were promised one, and the
//! rule by which memory goes back to the kernel.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

use crate::coroutine::Worker;
use crate::stack::{Class, Guard, Pool, Stack};

/// Idle workers of each size that are kept however long they stay idle, so that a hub that wakes up to a little work finds
/// warm stacks.
const KEEP_IDLE: usize = 16;

/// The most workers ended at once; it bounds how long a hub that gives memory back is away from its green threads.
const RETIRE_AT_ONCE: usize = 256;

pub(super) struct Workers {
    pool: Pool,
    /// Indexed by class, in the order in which the pool names them.
    shelves: Vec<Shelf>,
    body: fn(&Worker),
}

/// What is there of one class. `idle` and `prepared` together never number less than `reserved`.
struct Shelf {
    /// The last to become idle is the first reused: its memory is the warmest.
    idle: Vec<NonNull<Worker>>,
    /// Guarded, untouched stacks for reservations.
    prepared: Vec<Stack>,
    /// Green threads that were promised a stack and have not started.
    reserved: usize,
    /// The fewest idle workers since memory was last given back: that many were never needed.
    idle_low: usize,
}

impl Shelf {
    fn unreserved(&self) -> usize {
        self.idle.len() + self.prepared.len() - self.reserved
    }

    /// Idle workers beyond those that are kept, or that back a promise.
    fn surplus(&self) -> usize {
        let promised = self.reserved.saturating_sub(self.prepared.len());
        self.idle.len().saturating_sub(promised.max(KEEP_IDLE))
    }
}

impl Workers {
    pub(super) fn new(body: fn(&Worker)) -> Self {
        Workers {
            pool: Pool::new(Guard::detect()),
            shelves: Vec::new(),
            body,
        }
    }

    /// The class of stacks with at least `size` usable bytes.
    pub(super) fn class_of(&mut self, size: usize) -> io::Result<Class> {
        let class = self.pool.class_of(size)?;
        if class.index() == self.shelves.len() {
            self.shelves.push(Shelf {
                idle: Vec::new(),
                prepared: Vec::new(),
                reserved: 0,
                idle_low: 0,
            });
        }
        Ok(class)
    }

    /// Promises a green thread of this class a stack for its start.
    pub(super) fn reserve(&mut self, class: Class) -> io::Result<()> {
        let shelf = &mut self.shelves[class.index()];
        if shelf.unreserved() == 0 {
            shelf.prepared.push(self.pool.allocate(class)?);
        }
        shelf.reserved += 1;
        Ok(())
    }

    /// A worker for a green thread that starts; `reserved` if it was promised one, and then it is there.
    pub(super) fn take(&mut self, class: Class, reserved: bool) -> io::Result<NonNull<Worker>> {
        let shelf = &mut self.shelves[class.index()];
        let stack = if reserved || shelf.unreserved() > 0 {
            shelf.reserved -= usize::from(reserved);
            match shelf.idle.pop() {
                Some(worker) => {
                    shelf.idle_low = shelf.idle_low.min(shelf.idle.len());
                    return Ok(worker);
                }
                None => shelf.prepared.pop().expect("a reservation is backed"),
            }
        } else {
            self.pool.allocate(class)?
        };
        Ok(Worker::create(stack, self.body))
    }

    /// Withdraws a promise because the green thread goes on on a worker that is already at hand.
    pub(super) fn release_reservation(&mut self, class: Class) {
        self.shelves[class.index()].reserved -= 1;
    }

    /// Takes in a worker that has become idle.
    pub(super) fn put(&mut self, worker: NonNull<Worker>) {
        // SAFETY: workers live until they are retired, which is done here and below.
        let class = unsafe { worker.as_ref() }.class();
        self.shelves[class.index()].idle.push(worker);
    }

    /// Ends an idle worker instead of keeping it.
    pub(super) fn retire(&mut self, worker: NonNull<Worker>) {
        // SAFETY: the worker is idle, and it is the hub that calls, on its own thread's stack.
        let stack = unsafe { Worker::retire(worker) };
        self.pool.free(stack);
    }

    /// Whether there are more idle workers than a quiet hub keeps.
    pub(super) fn has_surplus(&self) -> bool {
        self.shelves.iter().any(|shelf| {
            shelf.surplus() > 0 || shelf.unreserved() > 0 && !shelf.prepared.is_empty()
        })
    }

    /// Ends some of the workers that were idle all the time since the last call. Called now and then by a busy hub.
    pub(super) fn retire_unneeded(&mut self) {
        for index in 0..self.shelves.len() {
            self.free_unneeded_stacks(index);
            let shelf = &mut self.shelves[index];
            let unneeded = shelf.idle_low.min(shelf.surplus()).min(RETIRE_AT_ONCE);
            self.retire_coldest(index, unneeded);
            let shelf = &mut self.shelves[index];
            shelf.idle_low = shelf.idle.len();
        }
    }

    /// Ends workers beyond those that a quiet hub keeps, and gives back what the kept ones do not use. Returns whether more
    /// is left to do.
    pub(super) fn retire_surplus(&mut self) -> bool {
        for index in 0..self.shelves.len() {
            self.free_unneeded_stacks(index);
            let surplus = self.shelves[index].surplus().min(RETIRE_AT_ONCE);
            self.retire_coldest(index, surplus);
        }
        if self.has_surplus() {
            return true;
        }
        for worker in self.shelves.iter().flat_map(|shelf| &shelf.idle) {
            // SAFETY: the worker is idle.
            unsafe { worker.as_ref().discard_unused() };
        }
        false
    }

    /// Frees stacks that were set aside for green threads which have then started on idle workers.
    fn free_unneeded_stacks(&mut self, index: usize) {
        let shelf = &mut self.shelves[index];
        let needed = shelf.reserved.saturating_sub(shelf.idle.len());
        for stack in shelf.prepared.drain(needed.min(shelf.prepared.len())..) {
            self.pool.free(stack);
        }
    }

    fn retire_coldest(&mut self, index: usize, count: usize) {
        let coldest: Vec<_> = self.shelves[index].idle.drain(..count).collect();
        for worker in coldest {
            self.retire(worker);
        }
    }

    /// Ends every idle worker.
    pub(super) fn retire_all(&mut self) {
        for index in 0..self.shelves.len() {
            let count = self.shelves[index].idle.len();
            self.retire_coldest(index, count);
            while let Some(stack) = self.shelves[index].prepared.pop() {
                self.pool.free(stack);
            }
        }
    }
}
