//! What std's `LocalKey` offers for a [`Cell`] and a [`RefCell`], which spares the closure.

use std::cell::{Cell, RefCell};

use super::LocalKey;

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the value. The initialiser does not run, even if this is the first use.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// greenhub::green_local! {
    ///     static COUNT: Cell<u32> = panic!("not needed");
    /// }
    ///
    /// COUNT.set(5);
    /// assert_eq!(COUNT.get(), 5);
    /// ```
    pub fn set(&'static self, value: T) {
        self.with_or_first(Cell::new(value), |unused, cell| {
            if let Some(value) = unused {
                cell.set(value.into_inner());
            }
        });
    }

    /// A copy of the value.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// greenhub::green_local! {
    ///     static COUNT: Cell<u32> = const { Cell::new(1) };
    /// }
    ///
    /// assert_eq!(COUNT.get(), 1);
    /// ```
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value and leaves `Default::default()` in its place.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// greenhub::green_local! {
    ///     static WORD: Cell<Option<&'static str>> = const { Cell::new(Some("once")) };
    /// }
    ///
    /// assert_eq!(WORD.take(), Some("once"));
    /// assert_eq!(WORD.take(), None);
    /// ```
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Replaces the value and returns the old one.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// greenhub::green_local! {
    ///     static COUNT: Cell<u32> = const { Cell::new(1) };
    /// }
    ///
    /// assert_eq!(COUNT.replace(2), 1);
    /// assert_eq!(COUNT.get(), 2);
    /// ```
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Calls `f` with a reference to the contents.
    ///
    /// # Panics
    ///
    /// Panics if the contents are mutably borrowed, and as [`with`](LocalKey::with).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// greenhub::green_local! {
    ///     static LIST: RefCell<Vec<u32>> = RefCell::new(vec![1, 2]);
    /// }
    ///
    /// assert_eq!(LIST.with_borrow(Vec::len), 2);
    /// ```
    pub fn with_borrow<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Calls `f` with a mutable reference to the contents.
    ///
    /// # Panics
    ///
    /// Panics if the contents are borrowed, and as [`with`](LocalKey::with).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// greenhub::green_local! {
    ///     static LIST: RefCell<Vec<u32>> = RefCell::new(vec![1, 2]);
    /// }
    ///
    /// LIST.with_borrow_mut(|list| list.push(3));
    /// assert_eq!(LIST.take(), [1, 2, 3]);
    /// ```
    pub fn with_borrow_mut<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&mut T) -> R,
    {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the contents. The initialiser does not run, even if this is the first use.
    ///
    /// # Panics
    ///
    /// As [`with_borrow_mut`](LocalKey::with_borrow_mut).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// greenhub::green_local! {
    ///     static LIST: RefCell<Vec<u32>> = panic!("not needed");
    /// }
    ///
    /// LIST.set(vec![4]);
    /// assert_eq!(LIST.take(), [4]);
    /// ```
    pub fn set(&'static self, value: T) {
        self.with_or_first(RefCell::new(value), |unused, cell| {
            if let Some(value) = unused {
                *cell.borrow_mut() = value.into_inner();
            }
        });
    }

    /// Takes the contents and leaves `Default::default()` in their place.
    ///
    /// # Panics
    ///
    /// As [`with_borrow_mut`](LocalKey::with_borrow_mut).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// greenhub::green_local! {
    ///     static LIST: RefCell<Vec<u32>> = RefCell::new(vec![1, 2]);
    /// }
    ///
    /// assert_eq!(LIST.take(), [1, 2]);
    /// assert!(LIST.take().is_empty());
    /// ```
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Replaces the contents and returns the old ones.
    ///
    /// # Panics
    ///
    /// As [`with_borrow_mut`](LocalKey::with_borrow_mut).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// greenhub::green_local! {
    ///     static LIST: RefCell<Vec<u32>> = RefCell::new(vec![1, 2]);
    /// }
    ///
    /// assert_eq!(LIST.replace(vec![3]), [1, 2]);
    /// ```
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}
