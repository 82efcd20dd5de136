//! What a partition knows of each producer: its epoch, its last five batches, its open transaction.
//!
//! ```text
//! producer 7, epoch 2:  [seq 0..4 @10] [5..5 @15] [6..9 @16] [10..10 @20] [11..12 @21]   open since 16
//!   0..4 again  -> duplicate, answered with offset 10        13.. -> next         14.. -> out of order
//! ```
//!
//! Invariants:
//! 1. At most [`WINDOW`] batches a producer, all of its current epoch, by offset.
//! 2. `open` holds exactly the producers with `open_since`, by that offset; the first is the last stable offset.
//! 3. Replaying the log from the start, or from a snapshot, gives the state of the live partition.
//!
//! Follows KIP-98, KIP-360, KIP-890 and Kafka's `ProducerAppendInfo`. PURE.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;
use log_protocol::{BatchHeader, ControlKind};
use thiserror::Error;

use super::{AbortedTransaction, AppendOrigin};

/// Batches that are remembered to recognise a repeated one: `max.in.flight` of an idempotent producer.
const WINDOW: usize = 5;

/// Producers that a partition remembers. Beyond it those that were silent longest are forgotten, as after
/// `producer.id.expiration.ms`; producers with an open transaction are never forgotten.
const PRODUCERS_MAX: usize = 100_000;

/// One appended batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    first_sequence: i32,
    last_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
    timestamp: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    coordinator_epoch: i32,
    last_timestamp: i64,
    open_since: Option<i64>,
    window: VecDeque<Window>,
}

impl Producer {
    fn new(epoch: i16) -> Self {
        Self {
            epoch,
            coordinator_epoch: -1,
            last_timestamp: -1,
            open_since: None,
            window: VecDeque::new(),
        }
    }

    fn last_sequence(&self) -> i32 {
        self.window.back().map_or(-1, |batch| batch.last_sequence)
    }
}

/// A producer as it was before a batch of it was applied.
#[derive(Debug)]
pub(crate) struct Before {
    producer_id: i64,
    producer: Option<Producer>,
}

/// What DescribeProducers shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerSummary {
    /// The producer.
    pub(crate) producer_id: i64,
    /// Its epoch.
    pub(crate) producer_epoch: i16,
    /// Sequence number of its last record, or -1.
    pub(crate) last_sequence: i32,
    /// Timestamp of its last batch or marker, ms.
    pub(crate) last_timestamp: i64,
    /// Epoch of the coordinator that wrote its last marker, or -1.
    pub(crate) coordinator_epoch: i32,
    /// First offset of its open transaction, or -1.
    pub(crate) open_since: i64,
}

/// Whether a batch is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SequenceCheck {
    /// It is.
    Fresh,
    /// It is one of the last five; where it lies.
    Duplicate {
        /// Offset of its first record.
        base_offset: i64,
        /// Offset of its last record.
        last_offset: i64,
        /// Its timestamp, ms.
        timestamp: i64,
    },
}

/// A batch that does not follow its producer's last one.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub(crate) enum SequenceError {
    /// Batches between are missing, or it is a repetition that is not remembered any more.
    #[error(
        "producer {producer_id} epoch {producer_epoch}: sequence {found} is out of order, last was {last}"
    )]
    OutOfOrder {
        /// The producer.
        producer_id: i64,
        /// Its epoch.
        producer_epoch: i16,
        /// First sequence of the batch.
        found: i32,
        /// Last sequence in the log, or -1.
        last: i32,
    },
    /// Another instance of the producer took over.
    #[error("producer {producer_id}: epoch {found} is fenced by epoch {current}")]
    OldEpoch {
        /// The producer.
        producer_id: i64,
        /// Of the batch.
        found: i16,
        /// In the log.
        current: i16,
    },
    /// A batch outside of the producer's own open transaction.
    #[error("producer {producer_id} has an open transaction and sent a batch outside of it")]
    OpenTransaction {
        /// The producer.
        producer_id: i64,
    },
}

/// A transaction marker that comes too late.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub(crate) enum MarkerError {
    /// The producer's epoch was raised meanwhile.
    #[error("producer {producer_id}: epoch {found} is fenced by epoch {current}")]
    OldEpoch {
        /// The producer.
        producer_id: i64,
        /// Of the marker.
        found: i16,
        /// In the log.
        current: i16,
    },
    /// Another coordinator took over.
    #[error("coordinator epoch {found} is fenced by {current} (producer {producer_id})")]
    OldCoordinator {
        /// The producer.
        producer_id: i64,
        /// Of the marker.
        found: i32,
        /// In the log.
        current: i32,
    },
}

/// A transaction that a marker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompletedTransaction {
    /// How it ended.
    pub(crate) kind: ControlKind,
    /// Where it lies.
    pub(crate) range: AbortedTransaction,
}

/// The producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProducerStates {
    producers: HashMap<i64, Producer>,
    open: BTreeMap<i64, i64>,
}

impl ProducerStates {
    /// Whether a batch may come next.
    ///
    /// # Errors
    /// [`SequenceError`]; all of them end what the producer is doing.
    pub(crate) fn check(
        &self,
        header: &BatchHeader,
        origin: AppendOrigin,
    ) -> Result<SequenceCheck, SequenceError> {
        if !header.has_producer() {
            return Ok(SequenceCheck::Fresh);
        }
        let producer_id = header.producer_id;
        let Some(producer) = self.producers.get(&producer_id) else {
            let must_start = header.is_transactional()
                && matches!(
                    origin,
                    AppendOrigin::ClientTransactionV2 | AppendOrigin::Embedded
                );
            if must_start && header.base_sequence != 0 {
                return Err(out_of_order(header, -1));
            }
            return Ok(SequenceCheck::Fresh);
        };
        if header.producer_epoch < producer.epoch {
            let (found, current) = (header.producer_epoch, producer.epoch);
            return Err(SequenceError::OldEpoch {
                producer_id,
                found,
                current,
            });
        }
        if origin != AppendOrigin::Coordinator
            && let Some(duplicate) = check_sequence(header, producer)?
        {
            return Ok(duplicate);
        }
        if producer.open_since.is_some() && !header.is_transactional() {
            return Err(SequenceError::OpenTransaction { producer_id });
        }
        Ok(SequenceCheck::Fresh)
    }

    /// A batch of records lies in the log; its header has its offsets. Never fails: recovery applies what is there.
    pub(crate) fn apply(&mut self, header: &BatchHeader) {
        if !header.has_producer() {
            return;
        }
        self.make_room(header.producer_id);
        let producer = self
            .producers
            .entry(header.producer_id)
            .or_insert_with(|| Producer::new(header.producer_epoch));
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.window.clear();
        }
        producer.last_timestamp = header.max_timestamp;
        if header.base_sequence >= 0 {
            if producer.window.len() == WINDOW {
                producer.window.pop_front();
            }
            producer.window.push_back(Window {
                first_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                last_offset: header.last_offset(),
                offset_delta: header.last_offset_delta,
                timestamp: header.max_timestamp,
            });
        }
        if header.is_transactional() && producer.open_since.is_none() {
            producer.open_since = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
    }

    /// What [`ProducerStates::restore`] needs to take back what is applied next for this producer.
    pub(crate) fn before(&self, producer_id: i64) -> Before {
        Before {
            producer_id,
            producer: self.producers.get(&producer_id).cloned(),
        }
    }

    /// Takes back what was applied since; several are taken back in the reverse order.
    pub(crate) fn restore(&mut self, before: Before) {
        let Before {
            producer_id,
            producer,
        } = before;
        let opened = producer.as_ref().and_then(|producer| producer.open_since);
        let undone = match producer {
            Some(producer) => self.producers.insert(producer_id, producer),
            None => self.producers.remove(&producer_id),
        };
        if let Some(offset) = undone.and_then(|undone| undone.open_since) {
            self.open.remove(&offset);
        }
        if let Some(offset) = opened {
            self.open.insert(offset, producer_id);
        }
    }

    /// Whether a marker may be written.
    ///
    /// # Errors
    /// [`MarkerError`]: its writer is fenced.
    pub(crate) fn check_marker(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        coordinator_epoch: i32,
    ) -> Result<(), MarkerError> {
        let Some(producer) = self.producers.get(&producer_id) else {
            return Ok(());
        };
        if producer_epoch < producer.epoch {
            return Err(MarkerError::OldEpoch {
                producer_id,
                found: producer_epoch,
                current: producer.epoch,
            });
        }
        if coordinator_epoch < producer.coordinator_epoch {
            let (found, current) = (coordinator_epoch, producer.coordinator_epoch);
            return Err(MarkerError::OldCoordinator {
                producer_id,
                found,
                current,
            });
        }
        Ok(())
    }

    /// A marker lies in the log. Returns the transaction that it ended, if one was open.
    pub(crate) fn apply_marker(
        &mut self,
        header: &BatchHeader,
        kind: ControlKind,
        coordinator_epoch: i32,
    ) -> Option<CompletedTransaction> {
        let producer_id = header.producer_id;
        self.make_room(producer_id);
        let producer = self
            .producers
            .entry(producer_id)
            .or_insert_with(|| Producer::new(header.producer_epoch));
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.window.clear();
        }
        producer.coordinator_epoch = producer.coordinator_epoch.max(coordinator_epoch);
        producer.last_timestamp = header.max_timestamp;
        let first_offset = producer.open_since.take()?;
        self.open.remove(&first_offset);
        let range = AbortedTransaction {
            producer_id,
            first_offset,
            last_offset: header.base_offset,
        };
        Some(CompletedTransaction { kind, range })
    }

    /// First offset of the oldest open transaction.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.open.first_key_value().map(|(offset, _)| *offset)
    }

    #[cfg(test)]
    pub(crate) fn has_open(&self, producer_id: i64) -> bool {
        self.producers
            .get(&producer_id)
            .is_some_and(|producer| producer.open_since.is_some())
    }

    /// Whether `last_sequence` at `last_offset` is the newest that is known of its producer: what compaction must keep.
    pub(crate) fn is_newest_batch(&self, header: &BatchHeader) -> bool {
        self.producers
            .get(&header.producer_id)
            .and_then(|producer| producer.window.back())
            .is_some_and(|batch| batch.last_offset == header.last_offset())
    }

    /// Forgets producers that were silent since before `before_ms` and have nothing open.
    pub(crate) fn expire(&mut self, before_ms: i64) {
        self.producers.retain(|_, producer| {
            producer.open_since.is_some() || producer.last_timestamp >= before_ms
        });
    }

    /// All producers, by id.
    pub(crate) fn summaries(&self) -> Vec<ProducerSummary> {
        let mut summaries: Vec<_> = self
            .producers
            .iter()
            .map(|(id, producer)| ProducerSummary {
                producer_id: *id,
                producer_epoch: producer.epoch,
                last_sequence: producer.last_sequence(),
                last_timestamp: producer.last_timestamp,
                coordinator_epoch: producer.coordinator_epoch,
                open_since: producer.open_since.unwrap_or(-1),
            })
            .collect();
        summaries.sort_unstable_by_key(|summary| summary.producer_id);
        summaries
    }

    fn make_room(&mut self, producer_id: i64) {
        if self.producers.len() < PRODUCERS_MAX || self.producers.contains_key(&producer_id) {
            return;
        }
        // A tenth at once, so that the search is paid once in ten thousand new producers.
        let mut silent: Vec<i64> = self
            .producers
            .values()
            .filter(|producer| producer.open_since.is_none())
            .map(|producer| producer.last_timestamp)
            .collect();
        if silent.is_empty() {
            return;
        }
        let nth = (PRODUCERS_MAX / 10).min(silent.len() - 1);
        let (_, before, _) = silent.select_nth_unstable(nth);
        let before = before.saturating_add(1);
        self.expire(before);
    }
}

/// `None` if the batch follows its producer's last one.
fn check_sequence(
    header: &BatchHeader,
    producer: &Producer,
) -> Result<Option<SequenceCheck>, SequenceError> {
    if header.producer_epoch != producer.epoch {
        // A new epoch counts from 0.
        return if header.base_sequence == 0 {
            Ok(None)
        } else {
            Err(out_of_order(header, -1))
        };
    }
    let repeated = producer.window.iter().find(|batch| {
        batch.first_sequence == header.base_sequence
            && batch.last_sequence == header.last_sequence()
    });
    if let Some(batch) = repeated {
        return Ok(Some(SequenceCheck::Duplicate {
            base_offset: batch.last_offset - i64::from(batch.offset_delta),
            last_offset: batch.last_offset,
            timestamp: batch.timestamp,
        }));
    }
    let last = producer.last_sequence();
    let next = if last == i32::MAX { 0 } else { last + 1 };
    if header.base_sequence == next {
        Ok(None)
    } else {
        Err(out_of_order(header, last))
    }
}

fn out_of_order(header: &BatchHeader, last: i32) -> SequenceError {
    SequenceError::OutOfOrder {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        found: header.base_sequence,
        last,
    }
}

/// The snapshot: `u32 count`, then for each producer, by id, big-endian:
/// `i64 id, i16 epoch, i32 coordinator epoch, i64 last timestamp, i64 open since (-1 none), u8 batches`, then for each
/// batch `i32 first sequence, i32 last sequence, i64 last offset, i32 offset delta, i64 timestamp`.
impl ProducerStates {
    /// Appends the snapshot to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut ids: Vec<i64> = self.producers.keys().copied().collect();
        ids.sort_unstable();
        out.extend_from_slice(&(ids.len() as u32).to_be_bytes());
        for id in ids {
            let producer = &self.producers[&id];
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&producer.epoch.to_be_bytes());
            out.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
            out.extend_from_slice(&producer.last_timestamp.to_be_bytes());
            out.extend_from_slice(&producer.open_since.unwrap_or(-1).to_be_bytes());
            out.push(producer.window.len() as u8);
            for batch in &producer.window {
                out.extend_from_slice(&batch.first_sequence.to_be_bytes());
                out.extend_from_slice(&batch.last_sequence.to_be_bytes());
                out.extend_from_slice(&batch.last_offset.to_be_bytes());
                out.extend_from_slice(&batch.offset_delta.to_be_bytes());
                out.extend_from_slice(&batch.timestamp.to_be_bytes());
            }
        }
    }

    /// Reads a snapshot; `None` if the bytes are not one.
    pub(crate) fn decode(input: &mut &[u8]) -> Option<Self> {
        let mut states = Self::default();
        let count = u32::from_be_bytes(take(input)?);
        for _ in 0..count {
            let id = i64::from_be_bytes(take(input)?);
            let mut producer = Producer::new(i16::from_be_bytes(take(input)?));
            producer.coordinator_epoch = i32::from_be_bytes(take(input)?);
            producer.last_timestamp = i64::from_be_bytes(take(input)?);
            producer.open_since =
                Some(i64::from_be_bytes(take(input)?)).filter(|offset| *offset >= 0);
            let [batches] = take(input)?;
            if usize::from(batches) > WINDOW {
                return None;
            }
            for _ in 0..batches {
                producer.window.push_back(Window {
                    first_sequence: i32::from_be_bytes(take(input)?),
                    last_sequence: i32::from_be_bytes(take(input)?),
                    last_offset: i64::from_be_bytes(take(input)?),
                    offset_delta: i32::from_be_bytes(take(input)?),
                    timestamp: i64::from_be_bytes(take(input)?),
                });
            }
            if let Some(offset) = producer.open_since {
                states.open.insert(offset, id);
            }
            states.producers.insert(id, producer);
        }
        Some(states)
    }
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*field)
}

#[cfg(test)]
mod tests;
