//! Groups: green threads that are waited for, or killed, together.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::thread::{self, JoinHandle};

use super::imap::IMap;
use super::map;
use super::members::Members;

/// Green threads that are waited for, or killed, together: gevent's `Group`.
///
/// A group holds those that have not ended; each leaves by itself. It does not keep their results: [`spawn`](Group::spawn) returns
/// a handle for that, which may be dropped. A panic of a member does nothing to the others; as any panic of a green thread, it is
/// returned by `join` of the handle and logged.
///
/// A clone is another handle to the same group, for members that spawn members. Dropping the handles kills nobody: the members go on
/// and are no longer reachable as a group.
///
/// [`thread::scope`](crate::thread::scope) is the alternative for green threads that borrow and must not outlive a block.
///
/// # Examples
///
/// ```
/// use greenhub::pool::Group;
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// let group = Group::new();
/// let count = Rc::new(Cell::new(0));
/// for _ in 0..3 {
///     let (siblings, count) = (group.clone(), Rc::clone(&count));
///     group.spawn(move || {
///         count.set(count.get() + 1);
///         siblings.spawn(move || count.set(count.get() + 10));
///     });
/// }
/// assert_eq!(group.len(), 3);
/// group.join();
/// assert_eq!(count.get(), 33);
/// assert!(group.is_empty());
/// ```
#[derive(Clone)]
pub struct Group {
    members: Rc<Members>,
}

/// What a group does for a green thread that it did not spawn.
struct Added<T>(Rc<JoinHandle<T>>);

impl Group {
    /// An empty group.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(greenhub::pool::Group::new().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Group {
        Group::with_room(usize::MAX)
    }

    pub(super) fn with_room(size: usize) -> Group {
        Group {
            members: Members::new(size),
        }
    }

    pub(super) fn members(&self) -> &Rc<Members> {
        &self.members
    }

    /// Spawns a green thread as a member.
    ///
    /// As [`thread::spawn`], it does not switch; but the group of a [`Pool`](super::Pool) waits for room, as
    /// [`Pool::spawn`](super::Pool::spawn) does.
    ///
    /// A member has left when `f` has returned or unwound and all that `f` owned has been dropped. It also leaves when it is
    /// killed before it starts, and `f` never runs.
    ///
    /// # Panics
    ///
    /// As `thread::spawn`.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenhub::pool::Group::new();
    /// let handle = group.spawn(|| 42);
    /// assert_eq!(group.len(), 1);
    /// assert_eq!(handle.join().unwrap(), 42);
    /// assert_eq!(group.len(), 0);
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let site = Location::caller();
        let seat = self.members.take_patiently();
        seat.spawn(site, f)
    }

    /// Takes in a green thread that has been spawned elsewhere, possibly on another OS thread. Its result is dropped.
    ///
    /// The member is a [link](JoinHandle::link) to it, which takes no stack, and kills it when it is killed itself. As `spawn`,
    /// the group of a [`Pool`](super::Pool) waits for room; the green thread is detached if the caller is killed meanwhile.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Group::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenhub::pool::Group::new();
    /// group.add(greenhub::spawn(greenhub::thread::park));
    /// assert_eq!(group.len(), 1);
    /// group.kill();
    /// assert_eq!(group.len(), 0);
    /// ```
    #[track_caller]
    pub fn add<T: 'static>(&self, handle: JoinHandle<T>) {
        let seat = self.members.take_patiently();
        let handle = Rc::new(handle);
        let added = Added(Rc::clone(&handle));
        seat.link(&handle, move || drop(added));
    }

    /// The number of members.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenhub::pool::Group::new();
    /// group.spawn(|| ());
    /// assert_eq!(group.len(), 1, "it has not run yet");
    /// greenhub::yield_now();
    /// assert_eq!(group.len(), 0);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no members.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(greenhub::pool::Group::new().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until all members have ended, also those that join them meanwhile: until there is a moment without members.
    ///
    /// Whoever is killed or exceeds a time limit while it waits here leaves the members as they are.
    ///
    /// # Panics
    ///
    /// Panics when a member calls it, as it would wait for itself, and in the root context when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let group = greenhub::pool::Group::new();
    /// for n in 0..10 {
    ///     group.spawn(move || greenhub::sleep(Duration::from_millis(n)));
    /// }
    /// group.join();
    /// assert!(group.is_empty());
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn join(&self) {
        let _ = self.members.wait_until_empty(None);
    }

    /// As [`join`](Group::join), but waits no longer than `timeout`. Returns whether all have ended. A timeout that is too large to be
    /// represented as a point in time never passes.
    ///
    /// # Panics
    ///
    /// As `join`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let group = greenhub::pool::Group::new();
    /// let handle = group.spawn(greenhub::thread::park);
    /// assert!(!group.join_timeout(Duration::from_millis(1)));
    /// handle.thread().unpark();
    /// assert!(group.join_timeout(Duration::from_secs(5)));
    /// ```
    #[must_use = "members may go on"]
    #[track_caller]
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        self.members.wait_until_empty(deadline).is_ok()
    }

    /// Kills all members and waits until they have ended; each as [`JoinHandle::kill`].
    ///
    /// What is spawned into the group before this returns is killed as well. A member that calls this unwinds at once, and does
    /// not wait for the others; if it is already unwinding, or in a [`shielded`](thread::shielded) section, it goes on.
    ///
    /// # Panics
    ///
    /// Panics in programs that are built with `panic = "abort"`, and in the root context when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenhub::pool::Group::new();
    /// let handle = group.spawn(greenhub::thread::park);
    /// group.kill();
    /// assert!(handle.join().unwrap_err().is::<greenhub::thread::Killed>());
    /// ```
    pub fn kill(&self) {
        let _ = self.members.kill(None);
    }

    /// As [`kill`](Group::kill), but waits no longer than `timeout`. Returns whether all members have ended.
    ///
    /// # Panics
    ///
    /// As `kill`.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenhub::pool::Group::new();
    /// group.spawn(greenhub::thread::park);
    /// assert!(group.kill_timeout(std::time::Duration::from_secs(5)));
    /// ```
    #[must_use = "members may go on"]
    pub fn kill_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        self.members.kill(deadline).is_ok()
    }

    /// As [`kill`](Group::kill), but does not wait. A member that calls it goes on until it next waits. What is spawned afterwards is
    /// not affected.
    ///
    /// # Panics
    ///
    /// Panics in programs that are built with `panic = "abort"`.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenhub::pool::Group::new();
    /// group.spawn(|| unreachable!("it never starts"));
    /// group.kill_nowait();
    /// group.join();
    /// ```
    pub fn kill_nowait(&self) {
        self.members.kill_nowait();
    }

    /// Calls `f` with each item, in a member for each, and returns the results in the order of the items when all have ended.
    ///
    /// Items are taken for as long as there is room: a group takes all of them at once, a [`Pool`](super::Pool) as many at a time as it
    /// has room for. None of the members that this makes is left when it returns or unwinds, so `f` and the items may borrow.
    /// Whoever is killed or exceeds a time limit in here kills them first.
    ///
    /// # Panics
    ///
    /// Resumes the first panic of `f`, after the members that are still at work have been killed; panics in the same way if one of
    /// them is killed by somebody else. In the root context, panics when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// let words = ["one", "three", "five"];
    /// let group = greenhub::pool::Group::new();
    /// assert_eq!(group.map(&words, |word| word.len()), [3, 5, 4]);
    /// ```
    #[track_caller]
    pub fn map<I, F, T>(&self, items: I, f: F) -> Vec<T>
    where
        I: IntoIterator,
        F: Fn(I::Item) -> T,
    {
        map::map(&self.members, items, f)
    }

    /// Calls `f` in a member and returns its result: [`map`](Group::map) for one.
    ///
    /// A member of a full [`Pool`](super::Pool) that calls this waits for room while it takes some itself.
    ///
    /// # Panics
    ///
    /// As `map`.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = greenhub::pool::Group::new();
    /// assert_eq!(group.apply(|| 6 * 7), 42);
    /// ```
    #[track_caller]
    pub fn apply<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T,
    {
        let mut results = self.map(Some(f), |f| f());
        results.pop().expect("there was one item")
    }

    /// Calls `f` with each item, in a member for each, and gives out the results in the order of the items, each as soon as it and
    /// all before it are there.
    ///
    /// Items are taken by a green thread that is not itself a member, from now on, whenever the caller waits, and never more than
    /// `maxsize` ahead: that is how many items may be at work, or have a result that has not been taken out of
    /// the iterator. `usize::MAX` is no bound; then an input without end that never waits lets nobody else run.
    ///
    /// Dropping the iterator kills what is at work, without waiting for its end, and takes no more items.
    ///
    /// # Panics
    ///
    /// Panics if `maxsize` is 0. A panic of `f` is resumed by the call of `next` that comes to its item, one of the input after the
    /// last result; `next` panics also for an item whose member was killed. The iterator can go on after that.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let group = greenhub::pool::Group::new();
    /// let results = group.imap([30, 1, 20], 3, |n| {
    ///     greenhub::sleep(Duration::from_millis(n));
    ///     n
    /// });
    /// assert!(results.eq([30, 1, 20]));
    /// ```
    #[track_caller]
    pub fn imap<I, F, T>(&self, items: I, maxsize: usize, f: F) -> IMap<T>
    where
        I: IntoIterator<IntoIter: 'static>,
        F: Fn(I::Item) -> T + 'static,
        T: 'static,
    {
        IMap::start(&self.members, items.into_iter(), maxsize, true, f)
    }

    /// As [`imap`](Group::imap), but gives out the results in the order in which they come.
    ///
    /// # Panics
    ///
    /// As `imap`; a panic of `f` counts as its result.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let group = greenhub::pool::Group::new();
    /// let results = group.imap_unordered([200, 1, 100], 3, |n| {
    ///     greenhub::sleep(Duration::from_millis(n));
    ///     n
    /// });
    /// assert!(results.eq([1, 100, 200]));
    /// ```
    #[track_caller]
    pub fn imap_unordered<I, F, T>(&self, items: I, maxsize: usize, f: F) -> IMap<T>
    where
        I: IntoIterator<IntoIter: 'static>,
        F: Fn(I::Item) -> T + 'static,
        T: 'static,
    {
        IMap::start(&self.members, items.into_iter(), maxsize, false, f)
    }
}

impl Default for Group {
    fn default() -> Self {
        Group::new()
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<T> Drop for Added<T> {
    fn drop(&mut self) {
        if !self.0.is_finished() {
            // Whoever waits for this member waits for the other one, which a kill would otherwise keep this one from doing.
            thread::shielded(|| self.0.kill());
        }
    }
}
