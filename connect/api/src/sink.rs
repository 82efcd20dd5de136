//! Sink tasks: where records go.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::{ConnectError, Progress, Record, TaskContext, TopicPartition};

/// A record with its place in the log. `record.partition` is always set.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkRecord {
    /// The record after conversion and transforms.
    pub record: Record,
    /// Where it came from (a transform may have renamed `record.topic`).
    pub origin: TopicPartition,
    /// Its offset in `origin`; several records share one when a transform made them of one.
    pub offset: i64,
}

/// Records of one or more partitions, each partition in offset order.
#[derive(Debug, Clone, Default)]
pub struct SinkBatch {
    /// The records.
    pub records: Vec<SinkRecord>,
    /// The next offset to read of every partition that this batch moves: past its records, and past records that
    /// were filtered or dead-lettered on the way. Each partition at most once.
    pub positions: Vec<(TopicPartition, i64)>,
}

/// A partition that a sink takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPartition {
    /// Which.
    pub partition: TopicPartition,
    /// Which life of it: another text once its topic was made anew, or the connector's offsets were reset or
    /// altered. What a sink stored under another text says nothing of this one.
    pub incarnation: String,
}

/// A row that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// Index into [`SinkBatch::records`].
    pub index: usize,
    /// Why, in words that name field or column.
    pub message: String,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutReport {
    /// All of it was taken, positions too.
    Taken,
    /// These rows can never be taken, ascending by index; NOTHING of the batch was applied. The runtime dead-letters
    /// the rows durably and puts the rest again with the same positions, so that no crash in between loses one.
    Rejected(Vec<RejectedRow>),
}

/// How far a sink has really come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flushed {
    /// Everything put so far survives a crash.
    All,
    /// What is before these offsets survives a crash, of each partition at most what was put; of partitions that are not
    /// named nothing more than before. A sink that gathers records into objects holds the others back: they come again
    /// after a restart.
    UpTo(HashMap<TopicPartition, i64>),
}

/// Writes one share of a connector's partitions. One task owns it; calls never overlap, and may block.
///
/// Rules:
/// 1. `start`, then `open`; `put` and `flush` only for open partitions; `close` before another `open`; `stop` last.
/// 2. A sink that stores offsets itself stores them atomically with the rows, as [`SinkBatch::positions`] has them,
///    together with the partition's incarnation, and returns from `open` those of the same incarnation (or of none):
///    then a crash anywhere neither loses nor repeats a row.
/// 3. A sink that does not gets every record at least once: offsets are committed for its group after `flush`.
#[async_trait]
pub trait SinkTask: Send {
    /// Connects and checks what can be checked.
    async fn start(&mut self, context: TaskContext) -> Result<(), ConnectError>;

    /// Takes over these partitions. Returns the next offset of those whose offsets the sink stores itself; the
    /// runtime goes on there, for the others at the group's offsets.
    async fn open(
        &mut self,
        partitions: &[OpenPartition],
    ) -> Result<HashMap<TopicPartition, i64>, ConnectError>;

    /// Takes a batch. A transient error means that nothing of it was applied (or that applying it again is
    /// harmless): the same batch comes again.
    async fn put(&mut self, batch: &SinkBatch) -> Result<PutReport, ConnectError>;

    /// Makes durable what was put, as far as it can, and says how far that is: only behind that are offsets committed
    /// for the connector's group. Kafka Connect's `preCommit`.
    async fn flush(&mut self) -> Result<Flushed, ConnectError> {
        Ok(Flushed::All)
    }

    /// How far the task is; called about once a second between other calls, and MUST return at once.
    fn progress(&self) -> Progress {
        Progress::default()
    }

    /// Gives these partitions up.
    async fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        let _ = partitions;
        Ok(())
    }

    /// Releases what the task holds.
    async fn stop(&mut self) {}
}
