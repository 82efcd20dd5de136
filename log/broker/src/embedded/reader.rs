//! Reads partitions of this process: no request, no copy; wakes when an end of a partition moves.
//!
//! Invariants:
//! 1. Positions move only in a step without a wait, together with the records that they step over: a dropped poll loses nothing.
//! 2. Partitions take turns: a poll begins behind the one that the last poll ended with.
//! 3. What a poll holds is bounded, however well its records were compressed, and so is what it steps over before it lets others have the
//!    thread.

use std::sync::Arc;

use async_trait::async_trait;
use log_api::{PartitionProgress, PollBudget, ReadError, Reader, ReaderOptions, Records, Start};
use log_protocol::TopicPartition;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::{columns, find};
use crate::api::fetch::any_change;
use crate::partition::LogEnds;
use crate::services::Services;
use crate::storage::{FetchError, Isolation, Partition, StorageError};

/// How many times the bytes that a poll asks for its records may take decompressed; they are counted as a part of it.
const CONTENT_RATIO: usize = 8;

/// What one step of a partition gave.
#[derive(Default)]
struct Step {
    /// Bytes as they are counted against the poll's budget.
    bytes: usize,
    run: Option<Records>,
    /// There is more behind what was stepped over.
    more: bool,
    /// The position has moved.
    moved: bool,
}

/// What one round over the partitions gave.
#[derive(Default)]
struct Round {
    runs: Vec<Records>,
    more: bool,
    moved: bool,
}

pub(super) struct EmbeddedReader {
    isolation: Isolation,
    partition_bytes_max: usize,
    slots: Vec<Slot>,
    /// In step with `slots`; apart from them so that all can be awaited at once.
    watches: Vec<watch::Receiver<LogEnds>>,
    turn: usize,
}

struct Slot {
    name: TopicPartition,
    partition: Arc<Partition>,
    position: i64,
    paused: bool,
}

impl EmbeddedReader {
    pub(super) fn open(
        services: &Services,
        options: ReaderOptions,
        assignment: Vec<(TopicPartition, Start)>,
    ) -> Result<Self, ReadError> {
        let mut slots = Vec::with_capacity(assignment.len());
        for (name, start) in assignment {
            let partition =
                find(services, &name).ok_or_else(|| ReadError::UnknownPartition(name.clone()))?;
            partition
                .check_readable()
                .map_err(|error| read_error(&name, 0, error.into()))?;
            let position = place(&partition, start);
            slots.push(Slot {
                name,
                partition,
                position,
                paused: false,
            });
        }
        let watches = slots.iter().map(|slot| slot.partition.watch()).collect();
        let isolation = if options.read_uncommitted {
            Isolation::ReadUncommitted
        } else {
            Isolation::ReadCommitted
        };
        let partition_bytes_max = options.partition_bytes_max.max(1);
        Ok(Self {
            isolation,
            partition_bytes_max,
            slots,
            watches,
            turn: 0,
        })
    }

    /// Reads what is there now, one run a partition. Without a run there may be more to come.
    fn read(&mut self, bytes_max: usize) -> Result<Round, ReadError> {
        let count = self.slots.len();
        let mut round = Round::default();
        let mut bytes = 0;
        for ahead in 0..count {
            let index = (self.turn + ahead) % count;
            // What moves from here on wakes the next wait.
            self.watches[index].borrow_and_update();
            let room = bytes_max
                .saturating_sub(bytes)
                .min(self.partition_bytes_max);
            let step = match self.slots[index].read(self.isolation, room.max(1)) {
                Ok(step) => step,
                Err(error) if round.runs.is_empty() => return Err(error),
                // What was read goes out first: its positions have moved. The next poll begins with the error.
                Err(_) => {
                    self.turn = index;
                    break;
                }
            };
            bytes += step.bytes;
            round.more |= step.more;
            round.moved |= step.moved;
            round.runs.extend(step.run);
            if bytes >= bytes_max && !round.runs.is_empty() {
                self.turn = (index + 1) % count;
                break;
            }
        }
        Ok(round)
    }
}

impl Slot {
    /// Reads until there is a record, nothing more, or enough was stepped over: a stretch of control batches and aborted records is no run.
    fn read(&mut self, isolation: Isolation, bytes_max: usize) -> Result<Step, ReadError> {
        let mut step = Step::default();
        while !self.paused {
            if step.bytes >= bytes_max {
                step.more = true;
                break;
            }
            let fetched = self
                .partition
                .read(self.position, bytes_max, isolation)
                .map_err(|error| read_error(&self.name, self.position, error))?;
            if fetched.records.is_empty() {
                break;
            }
            let (records, content_bytes) = columns::decode(
                &self.name,
                &fetched.records,
                self.position,
                &fetched.aborted,
                bytes_max.saturating_mul(CONTENT_RATIO),
            )?;
            step.bytes += fetched.records.len().max(content_bytes / CONTENT_RATIO);
            let moved = records.next_offset > self.position;
            step.moved |= moved;
            self.position = records.next_offset;
            if !records.is_empty() {
                step.run = Some(records);
                break;
            }
            if !moved {
                break;
            }
        }
        Ok(step)
    }
}

#[async_trait]
impl Reader for EmbeddedReader {
    async fn poll(&mut self, budget: PollBudget) -> Result<Vec<Records>, ReadError> {
        let deadline = Instant::now() + budget.wait_max;
        let mut moved = false;
        loop {
            let round = self.read(budget.bytes_max)?;
            moved |= round.moved;
            if round.runs.is_empty() && round.more {
                tokio::task::yield_now().await;
                continue;
            }
            // Whoever waits for a place in the log, and not for a record, has to see that it is reached.
            if !round.runs.is_empty() || moved || budget.wait_max.is_zero() {
                return Ok(round.runs);
            }
            if timeout_at(deadline, any_change(&mut self.watches))
                .await
                .is_err()
            {
                return Ok(self.read(budget.bytes_max)?.runs);
            }
        }
    }

    async fn progress(&mut self) -> Result<Vec<PartitionProgress>, ReadError> {
        let mut progress = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            slot.partition
                .check_readable()
                .map_err(|error| read_error(&slot.name, slot.position, error.into()))?;
            let ends = slot.partition.ends();
            progress.push(PartitionProgress {
                partition: slot.name.clone(),
                position: slot.position,
                high_watermark: ends.high_watermark,
                last_stable_offset: ends.last_stable,
            });
        }
        Ok(progress)
    }

    async fn seek(&mut self, partition: &TopicPartition, to: Start) -> Result<(), ReadError> {
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| slot.name == *partition)
            .ok_or_else(|| ReadError::UnknownPartition(partition.clone()))?;
        slot.position = place(&slot.partition, to);
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition], paused: bool) {
        for slot in &mut self.slots {
            if partitions.contains(&slot.name) {
                slot.paused = paused;
            }
        }
    }
}

fn place(partition: &Partition, start: Start) -> i64 {
    match start {
        Start::Earliest => partition.log_start_offset(),
        Start::Latest => partition.high_watermark(),
        Start::Offset(offset) => offset,
    }
}

fn read_error(name: &TopicPartition, position: i64, error: FetchError) -> ReadError {
    let partition = name.clone();
    match error {
        FetchError::OutOfRange { log_start, end, .. } => ReadError::OffsetOutOfRange {
            partition,
            position,
            start: log_start,
            end,
        },
        FetchError::Storage(StorageError::Deleted(_)) => ReadError::UnknownPartition(partition),
        FetchError::Storage(StorageError::Corrupt { offset, reason, .. }) => ReadError::Corrupt {
            partition,
            offset,
            reason,
        },
        FetchError::Storage(error) => ReadError::Unavailable(error.to_string()),
    }
}
