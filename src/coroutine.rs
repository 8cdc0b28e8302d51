//! Workers: coroutines that run one green thread after another on the same stack.
//!
//! The only file that names corosensei. A worker is created on a stack from the hub's pool, is resumed by the hub alone,
//! and suspends itself either because the green thread on it has to wait (`Suspended::Waiting`) or because that one has
//! ended and no fresh one could follow directly (`Suspended::Idle`). An idle worker has nothing on its stack that needs
//! dropping; it is kept for the next green thread, or told to leave its body, after which its stack is free.
//!
//! Workers never leave the OS thread that created them.
#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr::{self, NonNull};

use corosensei::{CoroutineResult, Yielder};

use crate::stack::{self, Class, Stack};

/// Why a worker gave up control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspended {
    /// The green thread that runs on it waits, or lets others run.
    Waiting,
    /// No green thread runs on it.
    Idle,
    /// Its body has returned; it can only be taken apart.
    Finished,
}

/// A coroutine and its stack.
pub(crate) struct Worker {
    /// Borrowed mutably by `resume` for as long as the coroutine runs, so nothing that runs on the coroutine may touch it.
    coroutine: UnsafeCell<corosensei::Coroutine<(), Suspended, (), GreenStack>>,
    /// What suspends the coroutine; it lives at the base of the coroutine's stack and is set when that is first entered.
    yielder: Cell<*const Yielder<(), Suspended>>,
    /// Set to make an idle worker leave its body when it is next resumed.
    leaving: Cell<bool>,
    class: Class,
    /// The usable memory of the stack and the guard below it, for those who must not touch `coroutine`.
    limit: NonNull<u8>,
    size: usize,
    guard: Range<usize>,
    /// An address on the stack below which nothing was in use when the worker last became idle.
    idle_depth: Cell<usize>,
}

impl Worker {
    /// Creates a worker that will run `body`, which must not unwind, on `stack`. It lives until `retire`.
    pub(crate) fn create(stack: Stack, body: fn(&Worker)) -> NonNull<Worker> {
        let place = NonNull::from(Box::leak(Box::<Worker>::new_uninit())).cast::<Worker>();
        let (class, limit, guard) = (stack.class(), stack.limit(), stack.guard());
        let size = stack.size();
        let coroutine = corosensei::Coroutine::with_stack(GreenStack(stack), move |yielder, ()| {
            // SAFETY: the body runs only through `resume`, which borrows the initialised worker for longer; only the
            // `coroutine` cell is borrowed mutably meanwhile.
            let worker = unsafe { place.as_ref() };
            worker.yielder.set(yielder);
            body(worker);
        });
        let worker = Worker {
            coroutine: UnsafeCell::new(coroutine),
            yielder: Cell::new(ptr::null()),
            leaving: Cell::new(false),
            class,
            limit,
            size,
            guard,
            idle_depth: Cell::new(0),
        };
        // SAFETY: the place was just allocated for a `Worker`.
        unsafe { place.write(worker) };
        place
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// Usable bytes of the stack.
    pub(crate) fn stack_size(&self) -> usize {
        self.size
    }

    /// The addresses below the stack that fault when it overflows.
    pub(crate) fn guard(&self) -> &Range<usize> {
        &self.guard
    }

    /// Runs the worker until it suspends or its body returns.
    ///
    /// # Safety
    ///
    /// The worker must be suspended (or new), and the caller must be the hub, running on the stack of the OS thread that
    /// created it.
    #[inline(always)]
    pub(crate) unsafe fn resume(&self) -> Suspended {
        // SAFETY: the worker is suspended, so no other borrow of the coroutine exists; while it runs, the code on it uses
        // the yielder and never this cell.
        let coroutine = unsafe { &mut *self.coroutine.get() };
        match coroutine.resume(()) {
            CoroutineResult::Yield(why) => why,
            CoroutineResult::Return(()) => Suspended::Finished,
        }
    }

    /// Gives control back to the hub until it resumes this worker, because the green thread on it waits.
    ///
    /// # Safety
    ///
    /// The caller must run on this worker's stack.
    #[inline(always)]
    pub(crate) unsafe fn wait(&self) {
        // SAFETY: code runs on the worker's stack, so its body has been entered, which set the pointer; the yielder stays
        // in place until the body returns.
        unsafe { (*self.yielder.get()).suspend(Suspended::Waiting) };
    }

    /// Gives control back to the hub for want of a green thread to run. Returns whether there is one now; otherwise the
    /// body has to return.
    ///
    /// # Safety
    ///
    /// The caller must be the worker's body.
    pub(crate) unsafe fn idle(&self) -> bool {
        let marker = 0_u8;
        self.idle_depth.set((&raw const marker).addr());
        // SAFETY: as in `wait`.
        unsafe { (*self.yielder.get()).suspend(Suspended::Idle) };
        !self.leaving.get()
    }

    /// Gives the memory that an idle worker's stack does not use back to the kernel.
    ///
    /// # Safety
    ///
    /// The worker must be idle.
    pub(crate) unsafe fn discard_unused(&self) {
        let page = rustix::param::page_size();
        let limit = self.limit.addr().get();
        // The frames that suspend the worker lie below the marker; they fit in a page by far.
        let used_from = (self.idle_depth.get() - page) & !(page - 1);
        if used_from > limit {
            // SAFETY: the range lies inside the stack and below everything in use on it.
            unsafe { stack::discard(self.limit, used_from - limit) };
        }
    }

    /// Ends an idle worker and returns its stack.
    ///
    /// # Safety
    ///
    /// As for [`resume`](Worker::resume); the worker must be idle and not be used again.
    pub(crate) unsafe fn retire(this: NonNull<Worker>) -> Stack {
        // SAFETY: the worker lives until the end of this function, by the caller's contract.
        let worker = unsafe { this.as_ref() };
        worker.leaving.set(true);
        // SAFETY: the caller's contract.
        let suspended = unsafe { worker.resume() };
        assert_eq!(
            suspended,
            Suspended::Finished,
            "an idle worker leaves when told to"
        );
        // SAFETY: `create` made the allocation, and nobody uses the worker again.
        let worker = unsafe { Box::from_raw(this.as_ptr()) };
        worker.coroutine.into_inner().into_stack().0
    }
}

struct GreenStack(Stack);

// SAFETY: `stack::Pool` hands out stacks of at least `MIN_SIZE` (16 KiB) usable bytes that begin at a cache line's
// boundary, with a guard region directly below; `limit` includes it. The memory stays mapped while the `Stack` exists.
unsafe impl corosensei::stack::Stack for GreenStack {
    fn base(&self) -> NonZeroUsize {
        self.0.base().addr()
    }

    fn limit(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.0.guard().start).expect("no stack lies at address zero")
    }
}
