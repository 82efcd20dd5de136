//! Source tasks: where records come from.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{ConnectError, Progress, Record, TaskContext};

/// A JSON object: a source's partition or offset, in the connector's own words.
pub type JsonMap = serde_json::Map<String, serde_json::Value>;

/// How far a source has read one of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceOffset {
    /// Which part of the source, e.g. `{"filename": "flights.ndjson"}`.
    pub partition: JsonMap,
    /// Where to go on, e.g. `{"position": 4096}`.
    pub offset: JsonMap,
}

/// What is stored for a connector when one of its tasks starts.
#[derive(Debug, Clone, Default)]
pub struct SourceOffsets(Vec<SourceOffset>);

impl SourceOffsets {
    /// These offsets.
    pub fn new(offsets: Vec<SourceOffset>) -> Self {
        Self(offsets)
    }

    /// The offset of this partition (objects compare whatever the order of their fields).
    pub fn get(&self, partition: &JsonMap) -> Option<&JsonMap> {
        self.0
            .iter()
            .find(|stored| &stored.partition == partition)
            .map(|stored| &stored.offset)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &SourceOffset> {
        self.0.iter()
    }
}

/// Upper bounds of one poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollBudget {
    /// At most this many records.
    pub records_max: usize,
    /// Return once about this many bytes are gathered.
    pub bytes_max: usize,
    /// Return at the latest after this long while there is nothing.
    pub wait_max: Duration,
}

/// A piece of the source that could not be made into a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Topic that the record would have gone to, with the raw bytes as its value: the body of the dead letter.
    pub topic: std::sync::Arc<str>,
    /// The bytes at fault, as the source has them.
    pub raw: Bytes,
    /// Which, where and why.
    pub message: String,
}

/// What a poll found.
#[derive(Debug, Clone, PartialEq)]
pub enum Poll {
    /// Records, and where the source stands after them.
    Batch {
        /// Records in source order.
        records: Vec<Record>,
        /// Pieces before them that are no records: a batch ends before such a piece, so that what came earlier is
        /// written whatever becomes of it.
        rejected: Vec<Rejected>,
        /// Where to resume once everything of this batch is in the log; only partitions that moved.
        offsets: Vec<SourceOffset>,
    },
    /// Nothing now.
    Idle,
    /// A bounded source is read to its end and nothing will ever come.
    Done,
}

/// A topic of the log by which a task is told something while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The topic; its first partition is read. One that is missing is made.
    pub topic: String,
    /// Behind what was told before; `None` from the start on.
    pub position: Option<i64>,
}

/// A record of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
}

/// Reads one share of a source. One task owns it; calls never overlap. Calls may block: every task has a thread of
/// its own.
///
/// Rules:
/// 1. `start` comes first and once; `stop` last, and only then. A task that failed is dropped after `stop`.
/// 2. What `poll` returned is written in one log transaction with its offsets, or offered again after a restart:
///    resuming from `offsets` MUST continue exactly behind the records returned with them.
/// 3. `committed` says that these offsets and everything before them is on disk. Only here may a source acknowledge
///    upstream (a replication slot, a queue).
/// 4. Mail comes between polls, in order, again after a restart: how far a task was told it stores among its own offsets,
///    in the batch that has what became of it.
#[async_trait]
pub trait SourceTask: Send {
    /// Opens the source at the stored offsets.
    async fn start(
        &mut self,
        context: TaskContext,
        offsets: SourceOffsets,
    ) -> Result<(), ConnectError>;

    /// The next records within the budget. MUST return by `wait_max` when there is nothing. Dropping the future
    /// before it ends (pause, stop) MUST lose nothing: the same records come with the next poll or after a restart.
    async fn poll(&mut self, budget: PollBudget) -> Result<Poll, ConnectError>;

    /// Where the task wants to be told things; asked once, behind `start`.
    fn mailbox(&self) -> Option<Mailbox> {
        None
    }

    /// Takes what came into the mailbox; most often nothing. MUST return at once.
    fn deliver(&mut self, mail: Vec<Mail>) {
        drop(mail);
    }

    /// Everything up to these offsets is durable.
    async fn committed(&mut self, offsets: &[SourceOffset]) -> Result<(), ConnectError> {
        let _ = offsets;
        Ok(())
    }

    /// How far the task is; called about once a second between other calls, and MUST return at once.
    fn progress(&self) -> Progress {
        Progress::default()
    }

    /// What the task waits for outside of the log, in words (`file /a does not exist yet`): asked where a poll found
    /// nothing, and shown as the task's trace. MUST return at once.
    fn waits_for(&self) -> Option<String> {
        None
    }

    /// Releases what the task holds.
    async fn stop(&mut self) {}
}
