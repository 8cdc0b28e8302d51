//! The orders in which items leave a queue.
//!
//! Plain data structures that know nothing of waiting; `core` locks around them.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::mem;

/// Items in some order.
pub(crate) trait Container {
    type Item;

    /// One without items, which owns no memory.
    const EMPTY: Self;

    /// Whether adding and taking items runs code of the program, such as a comparison.
    const RUNS_FOREIGN_CODE: bool;

    fn len(&self) -> usize;

    fn push(&mut self, item: Self::Item);

    /// Takes the item out whose turn it is.
    fn pop(&mut self) -> Option<Self::Item>;

    /// As `pop`, then `push`. There must be an item. If foreign code panics, nothing has been taken out, and `item` is in.
    fn replace(&mut self, item: Self::Item) -> Self::Item;

    /// What `pop` would take out.
    fn first(&self) -> Option<&Self::Item>;

    /// All items in the order in which `pop` would have taken them out.
    fn into_vec(self) -> Vec<Self::Item>;
}

/// How many items of type `T` a queue for `capacity` makes room for at once: all, unless that were too much memory to spend on
/// what may never be used.
pub(crate) fn room_at_first<T>(capacity: usize) -> usize {
    const BYTES: usize = 16 * 1024;
    capacity.min(BYTES / mem::size_of::<T>().max(1)).max(1)
}

/// First in, first out.
pub(crate) struct Fifo<T>(VecDeque<T>);

impl<T> Fifo<T> {
    pub(crate) const NEW: Self = Fifo(VecDeque::new());

    pub(crate) fn for_capacity(capacity: usize) -> Self {
        Fifo(VecDeque::with_capacity(room_at_first::<T>(capacity)))
    }
}

impl<T> Container for Fifo<T> {
    type Item = T;

    const EMPTY: Self = Fifo::NEW;
    const RUNS_FOREIGN_CODE: bool = false;

    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    #[inline(always)]
    fn replace(&mut self, item: T) -> T {
        let first = self.0.pop_front().expect("there is an item");
        self.0.push_back(item);
        first
    }

    fn first(&self) -> Option<&T> {
        self.0.front()
    }

    fn into_vec(self) -> Vec<T> {
        self.0.into()
    }
}

/// Last in, first out.
pub(crate) struct Lifo<T>(Vec<T>);

impl<T> Lifo<T> {
    pub(crate) const NEW: Self = Lifo(Vec::new());

    pub(crate) fn for_capacity(capacity: usize) -> Self {
        Lifo(Vec::with_capacity(room_at_first::<T>(capacity)))
    }
}

impl<T> Container for Lifo<T> {
    type Item = T;

    const EMPTY: Self = Lifo::NEW;
    const RUNS_FOREIGN_CODE: bool = false;

    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn push(&mut self, item: T) {
        self.0.push(item);
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    #[inline(always)]
    fn replace(&mut self, item: T) -> T {
        mem::replace(self.0.last_mut().expect("there is an item"), item)
    }

    fn first(&self) -> Option<&T> {
        self.0.last()
    }

    fn into_vec(mut self) -> Vec<T> {
        self.0.reverse();
        self.0
    }
}

/// The smallest first; equal ones in the order in which they came.
///
/// A binary heap that moves items by exchanging them, so that none is lost when a comparison panics; std's loses the one
/// that it is about to return. The order is then undefined, as it is for a comparison that contradicts itself.
pub(crate) struct Heap<T> {
    entries: Vec<Entry<T>>,
    /// How many items there have ever been.
    arrivals: u64,
}

struct Entry<T> {
    item: T,
    arrival: u64,
}

impl<T: Ord> Entry<T> {
    fn compare(&self, other: &Self) -> Ordering {
        let order = self.item.cmp(&other.item);
        order.then(self.arrival.cmp(&other.arrival))
    }

    fn goes_before(&self, other: &Self) -> bool {
        self.compare(other).is_lt()
    }
}

impl<T> Heap<T> {
    pub(crate) const NEW: Self = Heap {
        entries: Vec::new(),
        arrivals: 0,
    };

    pub(crate) fn for_capacity(capacity: usize) -> Self {
        Heap {
            // The one that has come already when one is about to leave.
            entries: Vec::with_capacity(room_at_first::<T>(capacity) + 1),
            arrivals: 0,
        }
    }

    fn append(&mut self, item: T) {
        let arrival = self.arrivals;
        self.arrivals += 1;
        self.entries.push(Entry { item, arrival });
    }
}

impl<T: Ord> Heap<T> {
    /// Exchanges the first and the last entry, and moves the new first one to where it belongs among all but the last.
    fn move_first_to_end(&mut self) {
        let Some(last) = self.entries.len().checked_sub(1) else {
            return;
        };
        self.entries.swap(0, last);
        let rest = &mut self.entries[..last];
        let mut parent = 0;
        loop {
            let left = 2 * parent + 1;
            if left >= rest.len() {
                return;
            }
            let right = left + 1;
            let child = if right < rest.len() && rest[right].goes_before(&rest[left]) {
                right
            } else {
                left
            };
            if !rest[child].goes_before(&rest[parent]) {
                return;
            }
            rest.swap(child, parent);
            parent = child;
        }
    }
}

impl<T: Ord> Container for Heap<T> {
    type Item = T;

    const EMPTY: Self = Heap::NEW;
    const RUNS_FOREIGN_CODE: bool = true;

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn push(&mut self, item: T) {
        self.append(item);
        let mut child = self.entries.len() - 1;
        while child > 0 {
            let parent = (child - 1) / 2;
            if !self.entries[child].goes_before(&self.entries[parent]) {
                return;
            }
            self.entries.swap(child, parent);
            child = parent;
        }
    }

    fn pop(&mut self) -> Option<T> {
        self.move_first_to_end();
        self.entries.pop().map(|entry| entry.item)
    }

    fn replace(&mut self, item: T) -> T {
        self.append(item);
        self.pop().expect("there is an item")
    }

    fn first(&self) -> Option<&T> {
        self.entries.first().map(|entry| &entry.item)
    }

    fn into_vec(mut self) -> Vec<T> {
        self.entries.sort_by(Entry::compare);
        let entries = self.entries.into_iter();
        entries.map(|entry| entry.item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    fn all<C: Container>(mut container: C) -> Vec<C::Item> {
        std::iter::from_fn(|| container.pop()).collect()
    }

    #[test]
    fn each_order() {
        let (mut fifo, mut lifo, mut heap) = (Fifo::EMPTY, Lifo::EMPTY, Heap::EMPTY);
        for item in [3, 1, 4, 1, 5] {
            fifo.push(item);
            lifo.push(item);
            heap.push(item);
        }
        assert_eq!(fifo.first(), Some(&3));
        assert_eq!(fifo.replace(9), 3);
        assert_eq!(all(fifo), [1, 4, 1, 5, 9]);
        assert_eq!(lifo.first(), Some(&5));
        assert_eq!(lifo.replace(9), 5);
        assert_eq!(all(lifo), [9, 1, 4, 1, 3]);
        assert_eq!(heap.first(), Some(&1));
        assert_eq!(heap.replace(0), 1);
        assert_eq!(all(heap), [0, 1, 3, 4, 5]);
    }

    #[test]
    fn into_vec_is_the_order_of_pop() {
        let (mut lifo, mut heap) = (Lifo::EMPTY, Heap::EMPTY);
        for item in [(2, 'a'), (1, 'b'), (2, 'c')] {
            lifo.push(item);
            heap.push(item);
        }
        assert_eq!(lifo.into_vec(), [(2, 'c'), (1, 'b'), (2, 'a')]);
        assert_eq!(heap.into_vec(), [(1, 'b'), (2, 'a'), (2, 'c')]);
    }

    /// Compared by its rank alone; every so often the comparison panics.
    struct Touchy {
        rank: u32,
        name: u32,
        patience: Rc<Cell<u32>>,
    }

    impl Ord for Touchy {
        fn cmp(&self, other: &Self) -> Ordering {
            let left = self.patience.get().checked_sub(1);
            self.patience.set(left.expect("out of patience"));
            self.rank.cmp(&other.rank)
        }
    }

    impl PartialOrd for Touchy {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Touchy {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Touchy {}

    #[test]
    fn equal_items_leave_in_the_order_of_arrival() {
        let patience = Rc::new(Cell::new(u32::MAX));
        let mut heap = Heap::EMPTY;
        for name in 0..100 {
            heap.push(Touchy {
                rank: name % 3,
                name,
                patience: Rc::clone(&patience),
            });
        }
        let left: Vec<_> = all(heap)
            .iter()
            .map(|item| (item.rank, item.name))
            .collect();
        assert!(left.is_sorted(), "{left:?}");
        assert_eq!(left.len(), 100);
    }

    #[test]
    fn a_comparison_that_panics_loses_nothing() {
        for limit in 0..40 {
            let patience = Rc::new(Cell::new(u32::MAX));
            let item = |name| Touchy {
                rank: name * 7 % 10,
                name,
                patience: Rc::clone(&patience),
            };
            let mut heap = Heap::EMPTY;
            (0..9).for_each(|name| heap.push(item(name)));
            patience.set(limit);
            let mut out = Vec::new();
            let _ = catch_unwind(AssertUnwindSafe(|| {
                heap.push(item(9));
                out.push(heap.replace(item(10)));
                while let Some(item) = heap.pop() {
                    out.push(item);
                }
            }));
            let pushed = 9 + heap.arrivals - 9;
            let mut names: Vec<_> = out.iter().map(|item| item.name).collect();
            names.extend(heap.entries.iter().map(|entry| entry.item.name));
            names.sort_unstable();
            assert_eq!(names.len() as u64, pushed, "with {limit} comparisons");
            names.dedup();
            assert_eq!(names.len() as u64, pushed, "with {limit} comparisons");
        }
    }
}
