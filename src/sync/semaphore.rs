//! Semaphores: a number of permits, and the line of those who wait for some.
//!
//! Each waiter says how many it wants. Whoever gives permits back deals them out to the first in line as long as there
//! are enough for it, under the queue's lock; so permits are never up for grabs while somebody waits, and one that
//! wants many is not overtaken by those who want few. A waiter that leaves without permits (it was cancelled, or its
//! time was up) deals on behalf of those behind it. All functions may be called from any thread.
//!
//! Who only waits to see a permit (`wait`, `select!`) stands in a line of its own, which is told when one is left over.
#![allow(unsafe_code)]

use std::fmt;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::time::{Duration, Instant};

use crate::park::TimedOut;
use crate::task::Reason;
use crate::wait_queue::{Guard, Place, WaitQueue, Whom};

/// Bounds how many do something at once: gevent's `BoundedSemaphore`, but without the bound on its releases.
///
/// Permits are given out in the order in which they were asked for. One that asks for many waits until there are that
/// many, and those who come later wait behind it, even if there is enough for them.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use greenhub::sync::Semaphore;
///
/// let semaphore = Rc::new(Semaphore::new(3));
/// let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
/// let tasks = (0..10).map(|_| {
///     let (semaphore, running, most) = (Rc::clone(&semaphore), Rc::clone(&running), Rc::clone(&most));
///     greenhub::spawn(move || {
///         let _permit = semaphore.acquire();
///         running.set(running.get() + 1);
///         most.set(most.get().max(running.get()));
///         greenhub::yield_now();
///         running.set(running.get() - 1);
///     })
/// });
/// greenhub::joinall(tasks);
/// assert_eq!(most.get(), 3);
/// ```
pub struct Semaphore {
    /// The permits that nobody has. The cargo of each waiter is a number, that of the permits it wants.
    permits: WaitQueue<usize, 2>,
}

/// The lines of those who want permits, and of those who wait to see one.
const TAKERS: usize = 0;
const WATCHERS: usize = 1;

impl UnwindSafe for Semaphore {}
impl RefUnwindSafe for Semaphore {}

/// Permits of a [`Semaphore`], which are given back when this is dropped, on whatever thread.
///
/// # Examples
///
/// ```
/// let semaphore = greenhub::sync::Semaphore::new(2);
/// let permit = semaphore.acquire();
/// assert_eq!(semaphore.available(), 1);
/// drop(permit);
/// assert_eq!(semaphore.available(), 2);
/// ```
#[must_use = "if unused the permits are given back at once"]
pub struct SemaphoreGuard<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

impl Semaphore {
    /// A semaphore with so many permits.
    ///
    /// # Examples
    ///
    /// ```
    /// static CONNECTIONS: greenhub::sync::Semaphore = greenhub::sync::Semaphore::new(100);
    /// assert_eq!(CONNECTIONS.available(), 100);
    /// ```
    #[must_use]
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore {
            permits: WaitQueue::new(permits),
        }
    }

    /// Waits for a permit.
    ///
    /// A green thread that is killed or times out here unwinds without a permit; those behind it move up.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// See the type's.
    #[inline(always)]
    pub fn acquire(&self) -> SemaphoreGuard<'_> {
        self.acquire_many(1)
    }

    /// Waits until it can have `n` permits at once.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = greenhub::sync::Semaphore::new(5);
    /// let _many = semaphore.acquire_many(4);
    /// assert_eq!(semaphore.available(), 1);
    /// ```
    #[inline(always)]
    pub fn acquire_many(&self, n: usize) -> SemaphoreGuard<'_> {
        let acquired = self.acquire_until(n, None);
        acquired.expect("a wait without a deadline ends with permits")
    }

    /// Waits for a permit, but no longer than `timeout`. One that is too long for a point in time never passes.
    ///
    /// Returns `None` when there was none in time.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let semaphore = greenhub::sync::Semaphore::new(1);
    /// let _permit = semaphore.acquire();
    /// assert!(semaphore.acquire_timeout(Duration::from_millis(1)).is_none());
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<SemaphoreGuard<'_>> {
        self.acquire_until(1, Instant::now().checked_add(timeout))
            .ok()
    }

    /// Takes a permit if that takes no waiting: there is one, and nobody waits.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = greenhub::sync::Semaphore::new(1);
    /// let permit = semaphore.try_acquire().unwrap();
    /// assert!(semaphore.try_acquire().is_none());
    /// # drop(permit);
    /// ```
    pub fn try_acquire(&self) -> Option<SemaphoreGuard<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes `n` permits if that takes no waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = greenhub::sync::Semaphore::new(2);
    /// assert!(semaphore.try_acquire_many(3).is_none());
    /// assert!(semaphore.try_acquire_many(2).is_some());
    /// ```
    pub fn try_acquire_many(&self, n: usize) -> Option<SemaphoreGuard<'_>> {
        self.take(&mut self.permits.lock(), n)
    }

    /// Gives one permit back, or adds one: gevent's `release`. For permits whose guards were
    /// [forgotten](SemaphoreGuard::forget).
    ///
    /// # Panics
    ///
    /// If there would be more permits than a `usize` can count.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = greenhub::sync::Semaphore::new(1);
    /// semaphore.acquire().forget();
    /// assert_eq!(semaphore.available(), 0);
    /// semaphore.release();
    /// assert_eq!(semaphore.available(), 1);
    /// ```
    pub fn release(&self) {
        self.add_permits(1);
    }

    /// Adds `n` permits, which go to those who wait, in their order.
    ///
    /// # Panics
    ///
    /// If there would be more permits than a `usize` can count.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = greenhub::sync::Semaphore::new(0);
    /// semaphore.add_permits(10);
    /// assert_eq!(semaphore.available(), 10);
    /// ```
    pub fn add_permits(&self, n: usize) {
        let mut permits = self.permits.lock();
        let Some(sum) = permits.checked_add(n) else {
            drop(permits);
            panic!("a semaphore cannot have more than {} permits", usize::MAX);
        };
        *permits = sum;
        deal(&mut permits);
    }

    /// The permits that nobody has. Those who wait may want more than that.
    ///
    /// # Examples
    ///
    /// See [`acquire_many`](Semaphore::acquire_many).
    #[must_use]
    pub fn available(&self) -> usize {
        *self.permits.lock()
    }

    /// Whether a permit can be had at once.
    pub(crate) fn is_ready(&self) -> bool {
        let permits = self.permits.lock();
        *permits > 0 && permits.first_in(TAKERS).is_none()
    }

    /// Has somebody notified when a permit can be had. Returns false, and does not, if one can be had at once.
    ///
    /// # Safety
    ///
    /// As for `enqueue` of the wait queue, with `unwatch` in place of `retract`.
    pub(crate) unsafe fn watch(&self, place: &Place, whom: Whom) -> bool {
        let mut permits = self.permits.lock();
        let wait = *permits == 0 || permits.first_in(TAKERS).is_some();
        if wait {
            // SAFETY: the caller's contract.
            unsafe { permits.enqueue(WATCHERS, place, whom) };
        }
        wait
    }

    /// Takes back a `watch`. Returns whether nobody had been notified.
    pub(crate) fn unwatch(&self, place: &Place) -> bool {
        self.permits.lock().retract(place)
    }

    #[inline(always)]
    fn acquire_until(
        &self,
        n: usize,
        deadline: Option<Instant>,
    ) -> Result<SemaphoreGuard<'_>, TimedOut> {
        let mut permits = self.permits.lock();
        if let Some(guard) = self.take(&mut permits, n) {
            return Ok(guard);
        }
        let leaving = Leaving(self);
        let reason = Reason::On(&"permits (sync::Semaphore)");
        permits.wait_with(TAKERS, ptr::without_provenance(n), reason, deadline)?;
        mem::forget(leaving);
        Ok(self.guard(n))
    }

    #[inline]
    fn take(&self, permits: &mut Guard<'_, usize, 2>, n: usize) -> Option<SemaphoreGuard<'_>> {
        if permits.first_in(TAKERS).is_some() || **permits < n {
            return None;
        }
        **permits -= n;
        Some(self.guard(n))
    }

    fn guard(&self, permits: usize) -> SemaphoreGuard<'_> {
        SemaphoreGuard {
            semaphore: self,
            permits,
        }
    }
}

/// Gives permits to those who wait, as far as they go.
fn deal(permits: &mut Guard<'_, usize, 2>) {
    while let Some(wanted) = permits.first_in(TAKERS).map(<*const ()>::addr)
        && wanted <= **permits
    {
        // Fails for one that is leaving.
        if permits.notify_first_in(TAKERS) {
            **permits -= wanted;
        }
    }
    if **permits > 0 && permits.first_in(TAKERS).is_none() {
        permits.notify_all_in(WATCHERS);
    }
}

/// Dropped when a wait ends without permits: there may be enough for those behind.
struct Leaving<'a>(&'a Semaphore);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        deal(&mut self.0.permits.lock());
    }
}

impl SemaphoreGuard<'_> {
    /// Keeps the permits from being given back: there are fewer of them until [`Semaphore::add_permits`] adds some.
    ///
    /// # Examples
    ///
    /// See [`Semaphore::release`].
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for SemaphoreGuard<'_> {
    fn drop(&mut self) {
        self.semaphore.add_permits(self.permits);
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SemaphoreGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphoreGuard")
            .field("permits", &self.permits)
            .finish_non_exhaustive()
    }
}
