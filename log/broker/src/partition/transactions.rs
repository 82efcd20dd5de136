//! Which transactions were aborted, for readers that must pass over them.
//!
//! Invariants:
//! 1. Entries are ordered by the offset of their marker, strictly.
//! 2. No entry spans more offsets than `longest`: what a fetch looks at is bounded by what it reads, not by all that was ever aborted.
//!
//! PURE.

/// An aborted transaction as a fetch reports it: records of this producer from `first_offset` to its abort marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AbortedTransaction {
    /// The producer.
    pub(crate) producer_id: i64,
    /// Offset of its first record.
    pub(crate) first_offset: i64,
    /// Offset of the abort marker.
    pub(crate) last_offset: i64,
}

/// The aborted transactions of one partition; 24 bytes each, as long as their records are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AbortedIndex {
    entries: Vec<AbortedTransaction>,
    longest: i64,
}

impl AbortedIndex {
    /// Adds one whose marker was just written; out of order (from a file) it is dropped.
    pub(crate) fn push(&mut self, aborted: AbortedTransaction) {
        if self
            .entries
            .last()
            .is_none_or(|last| last.last_offset < aborted.last_offset)
        {
            let span = aborted.last_offset.saturating_sub(aborted.first_offset);
            self.longest = self.longest.max(span);
            self.entries.push(aborted);
        }
    }

    /// All of them, by marker.
    pub(crate) fn entries(&self) -> &[AbortedTransaction] {
        &self.entries
    }

    /// Those that have something in `[from, to)`.
    pub(crate) fn overlapping(&self, from: i64, to: i64) -> Vec<AbortedTransaction> {
        let first = self
            .entries
            .partition_point(|aborted| aborted.last_offset < from);
        // A transaction whose marker lies farther behind than any one spans has begun behind `to`, too.
        let end = self
            .entries
            .partition_point(|aborted| aborted.last_offset.saturating_sub(self.longest) < to);
        self.entries
            .get(first..end)
            .unwrap_or_default()
            .iter()
            .filter(|aborted| aborted.first_offset < to)
            .copied()
            .collect()
    }

    /// Whether a transactional record of `producer_id` at `offset` was aborted.
    pub(crate) fn covers(&self, producer_id: i64, offset: i64) -> bool {
        let first = self
            .entries
            .partition_point(|aborted| aborted.last_offset < offset);
        self.entries[first..]
            .iter()
            .filter(|aborted| aborted.producer_id == producer_id)
            .any(|aborted| aborted.first_offset <= offset)
    }

    /// Markers below `log_start` are gone.
    pub(crate) fn truncate_start(&mut self, log_start: i64) {
        self.entries
            .retain(|aborted| aborted.last_offset >= log_start);
    }

    /// Markers from `end` on were not written.
    pub(crate) fn truncate_end(&mut self, end: i64) {
        let kept = self.entries.partition_point(|one| one.last_offset < end);
        self.entries.truncate(kept);
    }

    /// Forgets those whose markers compaction removed; `markers` is sorted.
    pub(crate) fn forget(&mut self, markers: &[i64]) {
        self.entries
            .retain(|aborted| markers.binary_search(&aborted.last_offset).is_err());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_sees_the_transactions_that_reach_into_it() {
        let mut index = AbortedIndex::default();
        for (producer_id, first_offset, last_offset) in [(1, 0, 10), (2, 5, 12), (1, 20, 30)] {
            index.push(AbortedTransaction {
                producer_id,
                first_offset,
                last_offset,
            });
        }
        let producers = |from, to| {
            index
                .overlapping(from, to)
                .iter()
                .map(|a| (a.producer_id, a.first_offset))
                .collect::<Vec<_>>()
        };
        assert_eq!(producers(0, 3), [(1, 0)]);
        assert_eq!(producers(11, 15), [(2, 5)]);
        assert_eq!(producers(13, 21), [(1, 20)]);
        assert_eq!(producers(31, 99), []);
        assert!(
            index.covers(1, 7)
                && !index.covers(1, 15)
                && index.covers(1, 20)
                && !index.covers(2, 4)
        );
    }

    #[test]
    fn a_range_sees_what_a_look_at_all_of_them_sees() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut index = AbortedIndex::default();
        let mut last_offset = 0;
        for _ in 0..300 {
            last_offset += random.i64(1..20);
            let span = if random.u8(..) < 10 {
                random.i64(0..1000)
            } else {
                random.i64(0..30)
            };
            index.push(AbortedTransaction {
                producer_id: random.i64(0..5),
                first_offset: (last_offset - span).max(0),
                last_offset,
            });
        }
        for _ in 0..1000 {
            let from = random.i64(0..last_offset + 10);
            let to = from + random.i64(0..100);
            let all = index.entries().iter().copied();
            let expected: Vec<_> = all
                .filter(|one| one.last_offset >= from && one.first_offset < to)
                .collect();
            assert_eq!(index.overlapping(from, to), expected, "[{from}, {to})");
        }
    }
}
