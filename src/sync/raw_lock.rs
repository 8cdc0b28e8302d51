//! The lock behind [`Mutex`](super::Mutex), [`RwLock`](super::RwLock) and [`ReentrantLock`](super::ReentrantLock): a
//! word, and the line of the tasks that wait. A mutex is a reader-writer lock that nobody reads.
//!
//! # The word
//!
//! | part               | meaning                                                                            |
//! |--------------------|------------------------------------------------------------------------------------|
//! | `WRITER`, a bit    | one writer holds the lock; then there are no readers                               |
//! | `QUEUED`, a bit    | the word belongs to whoever holds the queue's lock                                 |
//! | multiples of `READER` | so many readers hold the lock                                                   |
//!
//! While `QUEUED` is clear, anybody changes the word by one compare-and-swap: these are the fast paths, and each of
//! them fails when `QUEUED` is set. Whoever finds that a fast path fails takes the queue's lock and sets `QUEUED`
//! (`claim`); from then on it alone changes the word, with plain stores. It clears the bit as it lets go of the queue
//! (`settle`), unless somebody waits. So a word without `QUEUED` means that nobody waits, and nobody can get past those
//! who do.
//!
//! # Fairness
//!
//! The lock is handed over. Who releases it ends the wait of the first in line, if that one can have the lock now, and
//! enters it into the word as an owner, in one go under the queue's lock; then that of the next, and so on. So writers
//! come in the order of their arrival, readers that arrived one after the other go together, and neither overtakes the
//! other. A waiter that leaves without the lock (it was cancelled) does the same for those behind it, as they may have
//! waited for nothing else.
//!
//! All functions may be called from any thread.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::task::Reason;
use crate::wait_queue::{Guard, WaitQueue};

const WRITER: usize = 1;
const QUEUED: usize = 2;
const READER: usize = 4;

/// See the module's documentation.
pub(super) struct RawLock {
    word: AtomicUsize,
    /// The cargo of each waiter is a number, what it will add to the word: `READER` or `WRITER`.
    queue: WaitQueue<()>,
}

impl UnwindSafe for RawLock {}
impl RefUnwindSafe for RawLock {}

impl RawLock {
    pub(super) const fn new() -> RawLock {
        RawLock {
            word: AtomicUsize::new(0),
            queue: WaitQueue::new(()),
        }
    }

    /// Locks for writing. `reason` is what deadlock reports say of a task that has to wait.
    #[inline]
    pub(super) fn write(&self, reason: Reason) {
        if !self.try_write() {
            self.acquire_contended(WRITER, reason);
        }
    }

    #[inline]
    pub(super) fn try_write(&self) -> bool {
        self.word
            .compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Ends what `write` or `try_write` began.
    #[inline]
    pub(super) fn unlock_write(&self) {
        let freed = self
            .word
            .compare_exchange(WRITER, 0, Ordering::Release, Ordering::Relaxed);
        if freed.is_err() {
            self.exchange_contended(WRITER, 0);
        }
    }

    /// Makes a writer a reader.
    pub(super) fn downgrade(&self) {
        let changed =
            self.word
                .compare_exchange(WRITER, READER, Ordering::Release, Ordering::Relaxed);
        if changed.is_err() {
            self.exchange_contended(WRITER, READER);
        }
    }

    /// Locks for reading.
    #[inline]
    pub(super) fn read(&self, reason: Reason) {
        if !self.try_read() {
            self.acquire_contended(READER, reason);
        }
    }

    /// Fails also when only readers hold the lock, if somebody waits: that would be overtaking.
    #[inline]
    pub(super) fn try_read(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & (WRITER | QUEUED) == 0 {
            let locked = word + READER;
            match self.word.compare_exchange_weak(
                word,
                locked,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(current) => word = current,
            }
        }
        false
    }

    /// Ends what `read` or `try_read` began.
    #[inline]
    pub(super) fn unlock_read(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & QUEUED == 0 {
            let freed = word - READER;
            match self
                .word
                .compare_exchange_weak(word, freed, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(current) => word = current,
            }
        }
        self.exchange_contended(READER, 0);
    }

    #[cold]
    fn acquire_contended(&self, wants: usize, reason: Reason) {
        let mut queue = self.queue.lock();
        let held = self.claim();
        if queue.first_in(0).is_none() && grants(held, wants) {
            self.settle(&mut queue, held + wants);
            return;
        }
        let leaving = Leaving(self);
        let waited = queue.wait_with(0, ptr::without_provenance(wants), reason, None);
        assert!(waited.is_ok(), "a wait without a deadline has timed out");
        std::mem::forget(leaving);
    }

    /// Replaces what the caller holds by something less.
    #[cold]
    fn exchange_contended(&self, held: usize, kept: usize) {
        let mut queue = self.queue.lock();
        let word = self.claim() - held + kept;
        self.settle(&mut queue, word);
    }

    /// Makes the word the caller's, who holds the queue's lock, and returns who holds this lock.
    fn claim(&self) -> usize {
        self.word.fetch_or(QUEUED, Ordering::Acquire) & !QUEUED
    }

    /// Lets in those who can have the lock while `held` is held, and gives the word, which was claimed, back.
    fn settle(&self, queue: &mut Guard<'_, ()>, mut held: usize) {
        while let Some(wants) = queue.first_in(0).map(<*const ()>::addr)
            && grants(held, wants)
        {
            // Fails for one that is leaving.
            if queue.notify_first_in(0) {
                held += wants;
            }
        }
        let queued = if queue.first_in(0).is_some() {
            QUEUED
        } else {
            0
        };
        // Those who were let in may run on other threads by now; they find `QUEUED` and wait for the queue's lock.
        self.word.store(held | queued, Ordering::Release);
    }
}

/// Whether a lock that is held as `held` says can be given to one who wants `wants`.
fn grants(held: usize, wants: usize) -> bool {
    held == 0 || wants == READER && held & WRITER == 0
}

/// Dropped when a wait for the lock unwinds: those behind may be able to have it now.
struct Leaving<'a>(&'a RawLock);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        let held = self.0.claim();
        self.0.settle(&mut queue, held);
    }
}
