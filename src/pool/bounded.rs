//! Pools: groups with room for so many members and no more.

use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::thread::JoinHandle;

use super::Group;
use super::imap::IMap;

/// A group with room for so many members and no more: gevent's `Pool`.
///
/// It dereferences to a [`Group`], for all that a group can do; what spawns into that group waits for room as well. Those who
/// wait for room get it in the order of their arrival, and only they wait: everybody else goes on.
///
/// There is room again when a member has left the group: when its closure has returned or unwound and all that it owned has been
/// dropped, or when it was killed before it started.
///
/// A member that waits for room in its own pool takes some itself meanwhile; if all do, nobody ever gets any.
///
/// # Examples
///
/// ```
/// use greenhub::pool::Pool;
/// use std::time::{Duration, Instant};
///
/// let pool = Pool::new(2);
/// let start = Instant::now();
/// for _ in 0..4 {
///     pool.spawn(|| greenhub::sleep(Duration::from_millis(10)));
///     assert!(pool.len() <= 2);
/// }
/// pool.join();
/// assert!(start.elapsed() >= Duration::from_millis(20), "two at a time");
/// ```
#[derive(Clone)]
pub struct Pool {
    group: Group,
    size: usize,
}

/// There was no room in a pool for the closure, which is given back.
///
/// # Examples
///
/// ```
/// use greenhub::pool::{Pool, PoolFull};
///
/// let pool = Pool::new(1);
/// pool.spawn(greenhub::thread::park);
/// let PoolFull(f) = pool.try_spawn(|| 42).unwrap_err();
/// assert_eq!(f(), 42);
/// ```
pub struct PoolFull<F>(pub F);

impl Pool {
    /// An empty pool with room for `size` members.
    ///
    /// # Panics
    ///
    /// Panics if `size` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenhub::pool::Pool::new(8).free_count(), 8);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn new(size: usize) -> Pool {
        assert!(size > 0, "a pool without room could never run anything");
        Pool {
            group: Group::with_room(size),
            size,
        }
    }

    /// How many members there is room for in all.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenhub::pool::Pool::new(8).size(), 8);
    /// ```
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Waits until there is room, and spawns a green thread as a member; see [`Group::spawn`].
    ///
    /// A caller that is killed, or exceeds a time limit, while it waits for room has spawned nothing, and takes no room.
    ///
    /// # Panics
    ///
    /// As [`thread::spawn`](crate::thread::spawn), and in the root context when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::pool::Pool::new(1);
    /// let first = pool.spawn(|| 1);
    /// let second = pool.spawn(|| 2);
    /// assert!(first.is_finished(), "only then was there room for the second");
    /// assert_eq!(second.join().unwrap(), 2);
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        self.group.spawn(f)
    }

    /// As [`spawn`](Pool::spawn), but does not wait.
    ///
    /// # Errors
    ///
    /// [`PoolFull`] with the closure when there is no room.
    ///
    /// # Panics
    ///
    /// As [`thread::spawn`](crate::thread::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::pool::Pool::new(1);
    /// assert!(pool.try_spawn(|| ()).is_ok());
    /// assert!(pool.try_spawn(|| ()).is_err());
    /// pool.join();
    /// ```
    #[track_caller]
    pub fn try_spawn<F, T>(&self, f: F) -> Result<JoinHandle<T>, PoolFull<F>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        match self.group.members().try_take() {
            Some(seat) => Ok(seat.spawn(Location::caller(), f)),
            None => Err(PoolFull(f)),
        }
    }

    /// As [`spawn`](Pool::spawn), but waits for room no longer than `timeout`. A timeout that is too large to be represented as a point in
    /// time never passes.
    ///
    /// # Errors
    ///
    /// [`PoolFull`] with the closure when there was no room in time.
    ///
    /// # Panics
    ///
    /// As `spawn`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = greenhub::pool::Pool::new(1);
    /// pool.spawn(greenhub::thread::park);
    /// assert!(pool.spawn_timeout(Duration::from_millis(1), || ()).is_err());
    /// pool.kill();
    /// assert!(pool.spawn_timeout(Duration::from_millis(1), || ()).is_ok());
    /// ```
    #[track_caller]
    pub fn spawn_timeout<F, T>(&self, timeout: Duration, f: F) -> Result<JoinHandle<T>, PoolFull<F>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let site = Location::caller();
        match self
            .group
            .members()
            .take(Instant::now().checked_add(timeout))
        {
            Ok(seat) => Ok(seat.spawn(site, f)),
            Err(_) => Err(PoolFull(f)),
        }
    }

    /// Waits until there is room, and takes none. The room is still there when this returns, and until the caller next waits: a
    /// [`spawn`](Pool::spawn) up to then goes through at once.
    ///
    /// This is for those who do not want to begin what they cannot go on with: a server waits here before it accepts, so that
    /// connections stay with the kernel while the pool is full. Those who wait in `spawn` come first.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::pool::Pool::new(1);
    /// pool.spawn(|| ());
    /// assert!(pool.is_full());
    /// pool.wait_available();
    /// assert!(pool.try_spawn(|| ()).is_ok());
    /// ```
    #[inline(always)]
    pub fn wait_available(&self) {
        let _ = self.group.members().wait_available(None);
    }

    /// As [`wait_available`](Pool::wait_available), but waits no longer than `timeout`. Returns whether there is room.
    ///
    /// # Panics
    ///
    /// As `wait_available`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = greenhub::pool::Pool::new(1);
    /// assert!(pool.wait_available_timeout(Duration::ZERO));
    /// pool.spawn(greenhub::thread::park);
    /// assert!(!pool.wait_available_timeout(Duration::from_millis(1)));
    /// ```
    #[must_use = "there may be no room"]
    pub fn wait_available_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        self.group.members().wait_available(deadline).is_ok() || !self.is_full()
    }

    /// How many more members there is room for. Room that has been given to somebody who waited for it does not count, even before he
    /// has made use of it.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::pool::Pool::new(3);
    /// pool.spawn(|| ());
    /// assert_eq!(pool.free_count(), 2);
    /// ```
    #[must_use]
    pub fn free_count(&self) -> usize {
        self.group.members().free()
    }

    /// Whether [`spawn`](Pool::spawn) would wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::pool::Pool::new(1);
    /// pool.spawn(|| ());
    /// assert!(pool.is_full());
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.free_count() == 0
    }

    /// As [`Group::imap`], with room for the results of twice as many items as the pool has members: at most [`size`](Pool::size) items
    /// are at work, and no more than twice as many have been taken from the input and not been given out.
    ///
    /// # Panics
    ///
    /// As `Group::imap`.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::pool::Pool::new(10);
    /// let mut squares = pool.imap(0_u64.., |n| n * n);
    /// assert_eq!(squares.nth(1_000), Some(1_000_000));
    /// ```
    #[track_caller]
    pub fn imap<I, F, T>(&self, items: I, f: F) -> IMap<T>
    where
        I: IntoIterator<IntoIter: 'static>,
        F: Fn(I::Item) -> T + 'static,
        T: 'static,
    {
        self.group.imap(items, self.size.saturating_mul(2), f)
    }

    /// As [`imap`](Pool::imap), but gives out the results in the order in which they come.
    ///
    /// # Panics
    ///
    /// As [`Group::imap_unordered`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenhub::pool::Pool::new(10);
    /// let mut squares: Vec<_> = pool.imap_unordered(0..100, |n| n * n).collect();
    /// squares.sort();
    /// assert_eq!(squares[99], 9801);
    /// ```
    #[track_caller]
    pub fn imap_unordered<I, F, T>(&self, items: I, f: F) -> IMap<T>
    where
        I: IntoIterator<IntoIter: 'static>,
        F: Fn(I::Item) -> T + 'static,
        T: 'static,
    {
        let maxsize = self.size.saturating_mul(2);
        self.group.imap_unordered(items, maxsize, f)
    }
}

impl Deref for Pool {
    type Target = Group;

    fn deref(&self) -> &Group {
        &self.group
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("size", &self.size)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for PoolFull<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolFull(..)")
    }
}

impl<F> fmt::Display for PoolFull<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool is full")
    }
}

impl<F> Error for PoolFull<F> {}
