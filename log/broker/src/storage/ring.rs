//! The last batches of a partition in memory, for readers that wait at the tail: no system call, and no copy where one
//! batch answers.
//!
//! Filled only while somebody reads at the tail, so that a partition without readers costs nothing. All rings share one
//! budget.
//!
//! Invariants:
//! 1. Batches are contiguous and end at the log's end; a batch that does not fit empties the ring.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

/// Bytes that all rings may take together.
#[derive(Debug)]
pub(crate) struct RingBudget {
    used: AtomicUsize,
    max: usize,
}

impl RingBudget {
    /// A budget of `max` bytes.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            max,
        })
    }

    fn take(&self, bytes: usize) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|total| *total <= self.max)
            })
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Entry {
    base_offset: i64,
    next_offset: i64,
    bytes: Bytes,
}

/// One partition's ring.
#[derive(Debug)]
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    budget: Arc<RingBudget>,
}

impl Ring {
    /// An empty one.
    pub(crate) fn new(bytes_max: usize, budget: Arc<RingBudget>) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max,
            budget,
        }
    }

    /// Adds the batch that was just written.
    pub(crate) fn push(&mut self, base_offset: i64, next_offset: i64, bytes: Bytes) {
        let size = bytes.len();
        while !self.entries.is_empty() && self.bytes + size > self.bytes_max {
            self.pop();
        }
        while size <= self.bytes_max && !self.budget.take(size) {
            if self.entries.is_empty() {
                return;
            }
            self.pop();
        }
        if size > self.bytes_max {
            self.clear();
            return;
        }
        self.bytes += size;
        self.entries.push_back(Entry {
            base_offset,
            next_offset,
            bytes,
        });
    }

    /// Whole batches from the one with `from` on, below `limit`, at least one, else at most `bytes_max`; and the offset
    /// after them. `None` if the ring does not reach back to `from`.
    pub(crate) fn read(&self, from: i64, limit: i64, bytes_max: usize) -> Option<(Bytes, i64)> {
        let first = self
            .entries
            .partition_point(|entry| entry.next_offset <= from);
        if self.entries.get(first)?.base_offset > from {
            return None;
        }
        let mut last = first;
        let mut total = 0;
        for entry in self.entries.range(first..) {
            let fits = total == 0 || total + entry.bytes.len() <= bytes_max;
            if entry.base_offset >= limit || !fits {
                break;
            }
            total += entry.bytes.len();
            last += 1;
        }
        let taken = self.entries.range(first..last);
        let next = self
            .entries
            .get(last.checked_sub(1)?)
            .filter(|_| last > first)?
            .next_offset;
        if last - first == 1 {
            return Some((self.entries[first].bytes.clone(), next));
        }
        let mut joined = BytesMut::with_capacity(total);
        for entry in taken {
            joined.extend_from_slice(&entry.bytes);
        }
        Some((joined.freeze(), next))
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.budget.give_back(self.bytes);
        self.bytes = 0;
        self.entries = VecDeque::new();
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.bytes.len();
            self.budget.give_back(entry.bytes.len());
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &mut Ring, base: i64, size: usize) {
        ring.push(base, base + 10, Bytes::from(vec![base as u8; size]));
    }

    #[test]
    fn limits_of_ring_and_budget_hold() {
        let budget = RingBudget::new(250);
        let (mut one, mut two) = (
            Ring::new(200, Arc::clone(&budget)),
            Ring::new(200, Arc::clone(&budget)),
        );
        for n in 0..5 {
            push(&mut one, n * 10, 60);
        }
        assert_eq!(one.bytes, 180);
        assert_eq!(one.read(10, 99, 99), None);
        push(&mut two, 0, 60);
        push(&mut two, 10, 60);
        // The second did not fit the budget: the first made room.
        assert_eq!((two.bytes, two.read(0, 99, 99)), (60, None));
        push(&mut two, 20, 201);
        assert!(two.is_empty());
        drop(one);
        drop(two);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn reads_give_whole_batches_below_the_limit() {
        let mut ring = Ring::new(1000, RingBudget::new(1000));
        for n in 0..4 {
            push(&mut ring, n * 10, 50);
        }
        assert_eq!(
            ring.read(5, 40, 1).map(|(bytes, next)| (bytes.len(), next)),
            Some((50, 10))
        );
        assert_eq!(
            ring.read(5, 40, 120)
                .map(|(bytes, next)| (bytes.len(), next)),
            Some((100, 20))
        );
        assert_eq!(
            ring.read(15, 30, 999)
                .map(|(bytes, next)| (bytes.len(), next)),
            Some((100, 30))
        );
        assert_eq!(ring.read(40, 40, 999), None);
        assert_eq!(ring.read(10, 10, 999), None);
    }
}
