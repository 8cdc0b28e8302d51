//! A queue that knows when all that was put into it has been done. It may be used from any thread if its items may.

use std::fmt;
use std::time::{Duration, Instant};

use super::container::{Container, Fifo};
use super::core::{Core, Patience};
use super::methods::{common_methods, storage_methods};
use super::{
    GetError, GetTimeoutError, Iter, NAMES, PutError, PutTimeoutError, TryGetError, TryPutError,
};

/// A [`Queue`](super::Queue) that one can wait for until everything in it is done.
///
/// An item is unfinished from when it is put until somebody who has got it calls [`task_done`](JoinableQueue::task_done). What
/// [`close_immediate`](JoinableQueue::close_immediate) takes out counts as done.
///
/// # Examples
///
/// ```
/// use greenhub::queue::JoinableQueue;
/// use greenhub::thread;
///
/// let jobs = JoinableQueue::new();
/// thread::scope(|scope| {
///     for _ in 0..2 {
///         scope.spawn(|| {
///             for job in &jobs {
///                 thread::sleep(std::time::Duration::from_micros(job));
///                 jobs.task_done();
///             }
///         });
///     }
///     (0..10).try_for_each(|job| jobs.put(job)).unwrap();
///     jobs.join();
///     // All are done, not just taken out.
///     assert_eq!(jobs.unfinished_tasks(), 0);
///     jobs.close();
/// });
/// ```
pub struct JoinableQueue<T> {
    pub(crate) core: Core<Fifo<T>>,
}

common_methods!(JoinableQueue, "JoinableQueue::<i32>::bounded(2)", []);
storage_methods!(JoinableQueue, Fifo, "the first item", []);

impl<T> JoinableQueue<T> {
    /// Reports that one item, which was got before, is done. The last one ends the wait of all who [`join`](Self::join).
    ///
    /// # Panics
    ///
    /// When it is called more often than items were put.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = greenhub::queue::JoinableQueue::new();
    /// queue.put(1).unwrap();
    /// queue.get().unwrap();
    /// assert_eq!(queue.unfinished_tasks(), 1);
    /// queue.task_done();
    /// queue.join(); // Returns at once.
    /// ```
    #[track_caller]
    pub fn task_done(&self) {
        assert!(
            self.core.finish_one(),
            "task_done was called more often than items were put"
        );
    }

    /// How many items were put and are not done.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = greenhub::queue::JoinableQueue::new();
    /// queue.put(1).unwrap();
    /// assert_eq!(queue.unfinished_tasks(), 1);
    /// ```
    #[must_use]
    pub fn unfinished_tasks(&self) -> usize {
        self.core.unfinished()
    }

    /// Waits until no item is unfinished. Returns at once if none is. An item that waits for room has not been put yet.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let queue = Rc::new(greenhub::queue::JoinableQueue::new());
    /// queue.put(1).unwrap();
    /// greenhub::spawn({
    ///     let queue = Rc::clone(&queue);
    ///     move || queue.iter().for_each(|_| queue.task_done())
    /// });
    /// queue.join();
    /// # queue.close();
    /// ```
    #[inline(always)]
    pub fn join(&self) {
        let _ = self.core.join(None);
    }

    /// As [`join`](Self::join), but waits no longer than `timeout`. Returns whether all items are done. A timeout that is too
    /// large to be represented as a point in time never passes.
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
    /// let queue = greenhub::queue::JoinableQueue::new();
    /// queue.put(1).unwrap();
    /// assert!(!queue.join_timeout(Duration::from_millis(1)));
    /// ```
    #[must_use]
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.core.join(Instant::now().checked_add(timeout)).is_ok()
    }
}
