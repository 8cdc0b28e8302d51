//! The methods that all queues have, written once.
//!
//! Each queue is a struct with a field `core`. The macros add inherent methods rather than those of a trait, so that no `use`
//! is needed and each queue's page documents all of it.

/// Putting, getting, closing and iterating. `$new` makes one with some room, for the examples.
macro_rules! common_methods {
    ($Queue:ident, $new:literal, [$($bound:tt)*]) => {
        impl<T $($bound)*> $Queue<T> {
            /// Puts an item in, waiting for room if there is none.
            ///
            /// Those who wait get their turn in the order of their arrival. A green thread that is killed while it waits has
            /// put nothing, and drops the item.
            ///
            /// # Errors
            ///
            /// When the queue is closed, also when it is closed while this waits; the item is in the error.
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
            #[doc = concat!("let queue = Rc::new(greenhub::queue::", $new, ");")]
            /// let getter = greenhub::spawn({
            ///     let queue = Rc::clone(&queue);
            ///     move || queue.get()
            /// });
            /// queue.put(1).unwrap();
            /// assert_eq!(getter.join().unwrap(), Ok(1));
            /// ```
            #[inline(always)]
            pub fn put(&self, item: T) -> Result<(), PutError<T>> {
                self.core
                    .put(item, Patience::Forever)
                    .map_err(|refused| PutError(refused.into_item()))
            }

            /// As [`put`](Self::put), but waits no longer than `timeout`. A timeout that is too large to be represented as a
            /// point in time never passes.
            ///
            /// # Errors
            ///
            /// When there was no room in time, and when the queue is closed; the item is in the error.
            ///
            /// # Panics
            ///
            /// In the root context, when a deadlock is found.
            ///
            /// # Examples
            ///
            /// ```
            /// use std::time::Duration;
            ///
            #[doc = concat!("let queue = greenhub::queue::", $new, ";")]
            /// while queue.put_timeout(1, Duration::from_millis(1)).is_ok() {}
            /// // It is full.
            /// ```
            pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
                Ok(self.core.put(item, Patience::timeout(timeout))?)
            }

            /// Puts an item in if that is possible without waiting: there is room, or somebody waits to get.
            ///
            /// # Errors
            ///
            /// When there is no room, and when the queue is closed; the item is in the error.
            ///
            /// # Examples
            ///
            /// ```
            /// use greenhub::queue::TryPutError;
            ///
            #[doc = concat!("let queue = greenhub::queue::", $new, ";")]
            /// while queue.try_put(1).is_ok() {}
            /// assert_eq!(queue.try_put(2), Err(TryPutError::Full(2)));
            /// ```
            #[inline(always)]
            pub fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
                Ok(self.core.put(item, Patience::None)?)
            }

            /// Takes an item out, waiting for one if there is none.
            ///
            /// Those who wait get an item in the order of their arrival. A green thread that is killed while it waits has taken
            /// nothing.
            ///
            /// # Errors
            ///
            /// When the queue is empty and closed, also when it is closed while this waits.
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
            #[doc = concat!("let queue = Rc::new(greenhub::queue::", $new, ");")]
            /// greenhub::spawn({
            ///     let queue = Rc::clone(&queue);
            ///     move || queue.put(7)
            /// });
            /// assert_eq!(queue.get(), Ok(7));
            /// ```
            #[inline(always)]
            pub fn get(&self) -> Result<T, GetError> {
                self.core.get(Patience::Forever).map_err(|_| GetError)
            }

            /// As [`get`](Self::get), but waits no longer than `timeout`. A timeout that is too large to be represented as a
            /// point in time never passes.
            ///
            /// # Errors
            ///
            /// When there was no item in time, and when the queue is empty and closed.
            ///
            /// # Panics
            ///
            /// In the root context, when a deadlock is found.
            ///
            /// # Examples
            ///
            /// ```
            /// use greenhub::queue::GetTimeoutError;
            /// use std::time::Duration;
            ///
            #[doc = concat!("let queue = greenhub::queue::", $new, ";")]
            /// let error = queue.get_timeout(Duration::from_millis(1)).unwrap_err();
            /// assert_eq!(error, GetTimeoutError::Timeout);
            /// ```
            pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError> {
                Ok(self.core.get(Patience::timeout(timeout))?)
            }

            /// Takes an item out if that is possible without waiting.
            ///
            /// # Errors
            ///
            /// When there is none; the error tells whether there can be one later.
            ///
            /// # Examples
            ///
            /// ```
            /// use greenhub::queue::TryGetError;
            ///
            #[doc = concat!("let queue = greenhub::queue::", $new, ";")]
            /// assert_eq!(queue.try_get(), Err(TryGetError::Empty));
            /// queue.close();
            /// assert_eq!(queue.try_get(), Err(TryGetError::Closed));
            /// ```
            #[inline(always)]
            pub fn try_get(&self) -> Result<T, TryGetError> {
                Ok(self.core.get(Patience::None)?)
            }

            /// Lets nothing be put any more. What is in the queue can still be taken out.
            ///
            /// Whoever waits to put fails, with the item; whoever waits to get fails as well, since there is nothing. Closing
            /// again does nothing.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let queue = greenhub::queue::", $new, ";")]
            /// queue.close();
            /// assert_eq!(queue.put(1).unwrap_err().into_inner(), 1);
            /// assert!(queue.get().is_err());
            /// ```
            pub fn close(&self) {
                self.core.close();
            }

            /// Whether the queue is closed.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let queue = greenhub::queue::", $new, ";")]
            /// assert!(!queue.is_closed());
            /// ```
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.core.is_closed()
            }

            /// Takes items out as they come, until the queue is empty and closed.
            ///
            /// Several may do so at the same time, and share the items.
            ///
            /// # Examples
            ///
            /// ```
            /// use std::rc::Rc;
            ///
            #[doc = concat!("let queue = Rc::new(greenhub::queue::", $new, ");")]
            /// greenhub::spawn({
            ///     let queue = Rc::clone(&queue);
            ///     move || {
            ///         (1..=3).try_for_each(|n| queue.put(n)).unwrap();
            ///         queue.close();
            ///     }
            /// });
            /// assert_eq!(queue.iter().sum::<i32>(), 6);
            /// ```
            pub fn iter(&self) -> Iter<'_, Self> {
                Iter { queue: self }
            }
        }

        impl<T $($bound)*> Iterator for Iter<'_, $Queue<T>> {
            type Item = T;

            #[inline(always)]
            fn next(&mut self) -> Option<T> {
                self.queue.get().ok()
            }
        }

        impl<'a, T $($bound)*> IntoIterator for &'a $Queue<T> {
            type Item = T;
            type IntoIter = Iter<'a, $Queue<T>>;

            fn into_iter(self) -> Iter<'a, $Queue<T>> {
                self.iter()
            }
        }
    };
}

/// What there is to say of a queue that stores items. `$Container` stores them in `Queue`; `$first` is the item whose turn it
/// is, in words.
macro_rules! storage_methods {
    ($Queue:ident, $Container:ident, $first:literal, [$($bound:tt)*]) => {
        impl<T> $Queue<T> {
            /// A queue with room for any number of items: putting never waits.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let queue = greenhub::queue::", stringify!($Queue), "::new();")]
            /// queue.put(1).unwrap();
            /// assert_eq!(queue.capacity(), None);
            /// ```
            #[must_use]
            pub const fn new() -> Self {
                $Queue {
                    core: Core::new($Container::NEW, usize::MAX, &NAMES),
                }
            }

            /// A queue with room for `capacity` items: putting waits while it is full.
            ///
            /// Memory for the items is allocated at once, unless that were more than 16 KiB; then it grows as it is used.
            ///
            /// # Panics
            ///
            /// When the capacity is 0. A queue that stores nothing is a [`Channel`](crate::queue::Channel).
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let queue = greenhub::queue::", stringify!($Queue), "::bounded(2);")]
            /// queue.put(1).unwrap();
            /// queue.put(2).unwrap();
            /// assert!(queue.try_put(3).is_err());
            /// ```
            #[must_use]
            pub fn bounded(capacity: usize) -> Self {
                assert!(
                    capacity > 0,
                    "a queue has a capacity of at least 1; one without is a Channel"
                );
                $Queue {
                    core: Core::new($Container::for_capacity(capacity), capacity, &NAMES),
                }
            }
        }

        impl<T $($bound)*> $Queue<T> {
            #[doc = concat!("Clones ", $first, " and leaves it in, waiting for one if the queue is empty.")]
            ///
            /// Those who wait in `get` take precedence: an item that goes to one of them is not seen here. While the item is being
            /// cloned, other calls on this queue wait for that; `clone` must not make such calls itself.
            ///
            /// # Errors
            ///
            /// When the queue is empty and closed, also when it is closed while this waits.
            ///
            /// # Panics
            ///
            /// In the root context, when a deadlock is found, and when `clone` panics.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let queue = greenhub::queue::", stringify!($Queue), "::new();")]
            /// queue.put(7).unwrap();
            /// assert_eq!(queue.peek(), Ok(7));
            /// assert_eq!(queue.len(), 1);
            /// ```
            pub fn peek(&self) -> Result<T, GetError>
            where
                T: Clone,
            {
                self.core.peek(Patience::Forever).map_err(|_| GetError)
            }

            /// As [`peek`](Self::peek), but waits no longer than `timeout`. A timeout that is too large to be represented as a
            /// point in time never passes.
            ///
            /// # Errors
            ///
            /// When there was no item in time, and when the queue is empty and closed.
            ///
            /// # Panics
            ///
            /// As `peek`.
            ///
            /// # Examples
            ///
            /// ```
            /// use std::time::Duration;
            ///
            #[doc = concat!("let queue = greenhub::queue::", stringify!($Queue), "::<i32>::new();")]
            /// assert!(queue.peek_timeout(Duration::from_millis(1)).is_err());
            /// ```
            pub fn peek_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError>
            where
                T: Clone,
            {
                Ok(self.core.peek(Patience::timeout(timeout))?)
            }

            /// As [`peek`](Self::peek), but does not wait for an item.
            ///
            /// # Errors
            ///
            /// When there is none; the error tells whether there can be one later.
            ///
            /// # Panics
            ///
            /// When `clone` panics.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let queue = greenhub::queue::", stringify!($Queue), "::new();")]
            /// assert!(queue.try_peek().is_err());
            /// queue.put(7).unwrap();
            /// assert_eq!(queue.try_peek(), Ok(7));
            /// ```
            pub fn try_peek(&self) -> Result<T, TryGetError>
            where
                T: Clone,
            {
                Ok(self.core.peek(Patience::None)?)
            }

            /// How many items there are. An item that has been given to somebody who waits for it does not count, nor does one
            /// that waits for room.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let queue = greenhub::queue::", stringify!($Queue), "::new();")]
            /// queue.put(7).unwrap();
            /// assert_eq!(queue.len(), 1);
            /// ```
            #[must_use]
            pub fn len(&self) -> usize {
                self.core.len()
            }

            /// Whether there is no item.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let queue = greenhub::queue::", stringify!($Queue), "::<i32>::new();")]
            /// assert!(queue.is_empty());
            /// ```
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether there is no room.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let queue = greenhub::queue::", stringify!($Queue), "::bounded(1);")]
            /// queue.put(7).unwrap();
            /// assert!(queue.is_full());
            /// ```
            #[must_use]
            pub fn is_full(&self) -> bool {
                self.len() >= self.core.capacity()
            }

            /// The number of items that there is room for; `None` for a queue that has no bound.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let queue = greenhub::queue::", stringify!($Queue), "::<i32>::bounded(1);")]
            /// assert_eq!(queue.capacity(), Some(1));
            /// ```
            #[must_use]
            pub fn capacity(&self) -> Option<usize> {
                match self.core.capacity() {
                    usize::MAX => None,
                    capacity => Some(capacity),
                }
            }

            /// As [`close`](Self::close), and takes out all that is left, in the order in which `get` would have returned it.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let queue = greenhub::queue::", stringify!($Queue), "::new();")]
            /// queue.put(7).unwrap();
            /// assert_eq!(queue.close_immediate(), [7]);
            /// assert!(queue.get().is_err());
            /// ```
            pub fn close_immediate(&self) -> Vec<T> {
                self.core.close_immediately().into_vec()
            }
        }

        impl<T> Default for $Queue<T> {
            /// A queue without a bound.
            fn default() -> Self {
                $Queue::new()
            }
        }

        impl<T $($bound)*> fmt::Debug for $Queue<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Queue))
                    .field("len", &self.len())
                    .field("capacity", &self.capacity())
                    .field("is_closed", &self.is_closed())
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(super) use {common_methods, storage_methods};
