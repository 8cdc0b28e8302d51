//! Pending timers: a 4-ary heap whose entries can be cancelled.
//!
//! Owns the order in which deadlines fall due and nothing else: it knows neither clocks nor tasks. The hub keeps one and
//! calls it from its own thread only. Deadlines are nanoseconds on the hub's clock.
//!
//! Insertion and cancellation are O(log n) (insertion of an ever later deadline, the common case, touches one entry), the
//! next deadline is O(1). A cancelled timer is removed at once instead of being left to fall due, so that arming and
//! cancelling 30-second time-outs at any rate keeps the memory of the timers pending at one moment, not of 30 seconds.

use slab::Slab;

/// Children per node. Four 16-byte entries are one cache line, so a level of the heap costs one miss.
const ARITY: usize = 4;

/// Capacity below which memory is never given back.
const KEEP_CAPACITY: usize = 1024;

/// Names a pending timer; stale once it has fired or was cancelled, which `cancel` notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId {
    slot: u32,
    sequence: u32,
}

/// Pending timers, each carrying a `T` that is handed back when it falls due.
pub(crate) struct Timers<T> {
    /// Heap order by (deadline, sequence): the earliest at index 0.
    heap: Vec<Entry>,
    /// What each heap entry belongs to; an entry's index never changes while it is pending.
    slots: Slab<Slot<T>>,
    /// The number of the next insertion. It makes equal deadlines fire in the order of their insertion, and it tells a
    /// reused slot from the timer that had it before.
    next_sequence: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    deadline: u64,
    sequence: u32,
    slot: u32,
}

impl Entry {
    fn is_before(&self, other: &Entry) -> bool {
        // The difference is taken modulo 2^32, so the order among equal deadlines survives a wrap of the counter.
        self.deadline < other.deadline
            || (self.deadline == other.deadline
                && (self.sequence.wrapping_sub(other.sequence) as i32) < 0)
    }
}

struct Slot<T> {
    /// Where the timer's entry stands in the heap.
    position: u32,
    sequence: u32,
    payload: T,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Timers {
            heap: Vec::new(),
            slots: Slab::new(),
            next_sequence: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Adds a timer that falls due at `deadline`.
    ///
    /// # Panics
    ///
    /// Panics when 2^32 timers are pending.
    pub(crate) fn insert(&mut self, deadline: u64, payload: T) -> TimerId {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        let position = self.heap.len();
        let slot = self.slots.insert(Slot {
            position: position as u32,
            sequence,
            payload,
        });
        let slot = u32::try_from(slot).expect("fewer than 2^32 timers are pending");
        self.heap.push(Entry {
            deadline,
            sequence,
            slot,
        });
        self.sift_up(position);
        TimerId { slot, sequence }
    }

    /// Removes a timer that has not fired. Returns its payload, or `None` when it has already fired or was cancelled.
    pub(crate) fn cancel(&mut self, id: TimerId) -> Option<T> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.sequence != id.sequence {
            return None;
        }
        let position = slot.position as usize;
        Some(self.remove(position))
    }

    /// Removes and returns the earliest timer, if its deadline is at or before `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<T> {
        if self.next_deadline()? > now {
            return None;
        }
        Some(self.remove(0))
    }

    fn remove(&mut self, position: usize) -> T {
        let entry = self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.note_position(position);
            // The entry that took the place came from the bottom, but not necessarily from below this place.
            self.sift_down(position);
            self.sift_up(position);
        }
        let payload = self.slots.remove(entry.slot as usize).payload;
        self.give_back_memory();
        payload
    }

    fn sift_up(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if !self.heap[position].is_before(&self.heap[parent]) {
                break;
            }
            self.swap(position, parent);
            position = parent;
        }
    }

    fn sift_down(&mut self, mut position: usize) {
        loop {
            let first = position * ARITY + 1;
            let children = first..(first + ARITY).min(self.heap.len());
            let mut earliest = position;
            for child in children {
                if self.heap[child].is_before(&self.heap[earliest]) {
                    earliest = child;
                }
            }
            if earliest == position {
                return;
            }
            self.swap(position, earliest);
            position = earliest;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.note_position(a);
        self.note_position(b);
    }

    fn note_position(&mut self, position: usize) {
        let slot = self.heap[position].slot as usize;
        self.slots[slot].position = position as u32;
    }

    fn give_back_memory(&mut self) {
        if self.heap.capacity() > KEEP_CAPACITY && self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(self.heap.len() * 2);
        }
        // A slab can let go only of free slots behind its last used one, so it is replaced when it is empty.
        if self.slots.is_empty() && self.slots.capacity() > KEEP_CAPACITY {
            self.slots = Slab::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_deadlines_fire_in_insertion_order() {
        let mut timers = Timers::new();
        for n in 0..100 {
            timers.insert(7, n);
        }
        let fired: Vec<_> = std::iter::from_fn(|| timers.pop_due(7)).collect();
        assert_eq!(fired, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn never_early() {
        let mut timers = Timers::new();
        timers.insert(10, ());
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(10), Some(()));
    }

    #[test]
    fn a_stale_id_cancels_nothing() {
        let mut timers = Timers::new();
        let first = timers.insert(1, 'a');
        assert_eq!(timers.pop_due(1), Some('a'));
        let second = timers.insert(2, 'b');
        assert_eq!(first.slot, second.slot, "the slot is reused");
        assert_eq!(timers.cancel(first), None);
        assert_eq!(timers.cancel(second), Some('b'));
        assert!(timers.is_empty());
    }

    /// Compares random insertions, cancellations and expiries with a sorted set.
    #[test]
    fn agrees_with_a_sorted_set() {
        use std::collections::BTreeMap;

        let mut timers = Timers::new();
        let mut model = BTreeMap::new();
        let mut ids = Vec::new();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for step in 0..20_000_u64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            match random % 4 {
                0 | 1 => {
                    let deadline = random >> 50;
                    let id = timers.insert(deadline, step);
                    model.insert((deadline, step), ());
                    ids.push((id, deadline, step));
                }
                2 if !ids.is_empty() => {
                    let (id, deadline, step) = ids.swap_remove(random as usize % ids.len());
                    let expected = model.remove(&(deadline, step)).map(|()| step);
                    assert_eq!(timers.cancel(id), expected);
                }
                _ => {
                    let now = random >> 51;
                    let expected = model.first_key_value().filter(|(key, ())| key.0 <= now);
                    let expected = expected.map(|(key, ())| *key);
                    model.retain(|key, ()| Some(*key) != expected);
                    assert_eq!(timers.pop_due(now), expected.map(|(_, step)| step));
                }
            }
            assert_eq!(
                timers.next_deadline(),
                model.first_key_value().map(|(key, ())| key.0)
            );
        }
    }

    #[test]
    fn cancelled_timers_leave_no_memory_behind() {
        let mut timers = Timers::new();
        let ids: Vec<_> = (0..100_000).map(|n| timers.insert(n, n)).collect();
        for id in ids {
            timers.cancel(id);
        }
        assert!(timers.heap.capacity() <= KEEP_CAPACITY);
        assert!(timers.slots.capacity() <= KEEP_CAPACITY);
    }
}
