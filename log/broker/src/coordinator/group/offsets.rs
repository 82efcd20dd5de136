//! PURE. The offsets of one group: what is committed, and what open transactions hold back.
//!
//! ```text
//!  OffsetCommit ──────────────────────────────▶ committed ──▶ OffsetFetch
//!  TxnOffsetCommit ──▶ pending[producer id] ──▶ │ commit marker
//!                                               ✗ abort marker
//! ```
//! Live requests and the replay of `__consumer_offsets` at start go through the same methods with the same log offsets, so they cannot
//! diverge.
//!
//! Invariants:
//! 1. Of two commits of a partition the one that lies later in the log wins, whenever its transaction ends.
//! 2. An aborted transaction leaves nothing.

use std::collections::BTreeMap;

use log_protocol::TopicPartition;

use super::record::OffsetRecord;

/// A committed offset and where in the log it was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placed {
    log_offset: i64,
    record: OffsetRecord,
}

/// Offsets of a group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offsets {
    committed: BTreeMap<TopicPartition, Placed>,
    pending: BTreeMap<i64, BTreeMap<TopicPartition, Placed>>,
}

impl Offsets {
    /// A record of the log at `log_offset`; with a producer it waits for that producer's marker.
    pub(crate) fn apply(
        &mut self,
        producer_id: Option<i64>,
        log_offset: i64,
        partition: TopicPartition,
        record: Option<OffsetRecord>,
    ) {
        match (record, producer_id) {
            (Some(record), None) => self.settle(partition, Placed { log_offset, record }),
            (Some(record), Some(producer_id)) => {
                self.pending
                    .entry(producer_id)
                    .or_default()
                    .insert(partition, Placed { log_offset, record });
            }
            // What lies before it in the log is gone, also what still waited for its marker.
            (None, _) => {
                self.committed.remove(&partition);
                self.pending.retain(|_, staged| {
                    staged.remove(&partition);
                    !staged.is_empty()
                });
            }
        }
    }

    /// The marker of a producer's transaction.
    pub(crate) fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let staged = self.pending.remove(&producer_id).unwrap_or_default();
        for (partition, placed) in staged.into_iter().filter(|_| commit) {
            self.settle(partition, placed);
        }
    }

    fn settle(&mut self, partition: TopicPartition, placed: Placed) {
        if self
            .committed
            .get(&partition)
            .is_none_or(|current| current.log_offset <= placed.log_offset)
        {
            self.committed.insert(partition, placed);
        }
    }

    /// What is committed for a partition.
    pub(crate) fn get(&self, partition: &TopicPartition) -> Option<&OffsetRecord> {
        self.committed.get(partition).map(|placed| &placed.record)
    }

    /// All that is committed, in order.
    pub(crate) fn committed(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        let committed = self.committed.iter();
        committed.map(|(partition, placed)| (partition, placed.record.offset))
    }

    /// Whether an open transaction may still change the offset (KIP-447).
    pub(crate) fn is_unstable(&self, partition: &TopicPartition) -> bool {
        self.pending
            .values()
            .any(|staged| staged.contains_key(partition))
    }

    /// Partitions with a committed or a pending offset, in order.
    pub(crate) fn partitions(&self) -> Vec<TopicPartition> {
        let mut partitions: Vec<TopicPartition> = self
            .committed
            .keys()
            .chain(self.pending.values().flat_map(BTreeMap::keys))
            .cloned()
            .collect();
        partitions.sort();
        partitions.dedup();
        partitions
    }

    /// Partitions whose offset is older than `before_ms` and not held by a transaction.
    pub(crate) fn expired(&self, before_ms: i64) -> Vec<TopicPartition> {
        self.committed
            .iter()
            .filter(|(partition, placed)| {
                placed.record.commit_timestamp_ms < before_ms && !self.is_unstable(partition)
            })
            .map(|(partition, _)| partition.clone())
            .collect()
    }

    /// Whether there is nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> OffsetRecord {
        OffsetRecord {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
            commit_timestamp_ms: offset,
        }
    }

    fn offset_of(offsets: &Offsets, partition: &TopicPartition) -> Option<i64> {
        offsets.get(partition).map(|record| record.offset)
    }

    #[test]
    fn a_transaction_shows_nothing_before_its_commit_marker() {
        let partition = TopicPartition::new("t", 0);
        let mut offsets = Offsets::default();
        offsets.apply(None, 0, partition.clone(), Some(at(5)));
        offsets.apply(Some(9), 1, partition.clone(), Some(at(10)));
        assert_eq!(offset_of(&offsets, &partition), Some(5));
        assert!(offsets.is_unstable(&partition));
        offsets.end_transaction(9, true);
        assert_eq!(offset_of(&offsets, &partition), Some(10));
        assert!(!offsets.is_unstable(&partition));
    }

    #[test]
    fn an_abort_leaves_nothing() {
        let partition = TopicPartition::new("t", 0);
        let mut offsets = Offsets::default();
        offsets.apply(Some(9), 1, partition.clone(), Some(at(10)));
        offsets.end_transaction(9, false);
        offsets.end_transaction(9, true);
        assert!(offsets.is_empty());
    }

    #[test]
    fn a_tombstone_takes_what_waited_for_its_marker_with_it() {
        let partition = TopicPartition::new("t", 0);
        let mut offsets = Offsets::default();
        offsets.apply(Some(9), 1, partition.clone(), Some(at(10)));
        offsets.apply(None, 2, partition.clone(), None);
        assert!(!offsets.is_unstable(&partition));
        offsets.end_transaction(9, true);
        assert!(offsets.is_empty());
    }

    #[test]
    fn the_later_place_in_the_log_wins_though_its_transaction_ends_first() {
        let partition = TopicPartition::new("t", 0);
        let mut offsets = Offsets::default();
        offsets.apply(Some(9), 1, partition.clone(), Some(at(10)));
        offsets.apply(None, 2, partition.clone(), Some(at(20)));
        offsets.end_transaction(9, true);
        assert_eq!(offset_of(&offsets, &partition), Some(20));
    }
}
