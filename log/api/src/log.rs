//! The contract of a log: admin, reader, writer, transaction; who shares in a group is in `membership.rs`.
//!
//! ```text
//! offsets of one partition
//!    0 ........ start ............... last stable ....... high watermark ...... end
//!    trimmed    | read_committed reads this  | read_uncommitted reads on |  not yet visible
//! ```
//!
//! Rules that every implementation MUST keep (held by [`crate::conformance`]):
//! 1. A record that was acknowledged is read back by every later reader, after a crash too (as far as the topic's
//!    `flush` level promises).
//! 2. A reader with `read_committed` never shows a record of an open or aborted transaction, and never stalls on
//!    control batches or gaps: its position reaches the last stable offset.
//! 3. Records of one partition come in offset order, each once.
//! 4. Opening a transactional id fences its previous owner before it returns.
//! 5. All that a transaction wrote, and its offsets, become visible together or never.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log_protocol::{BatchBuilder, TopicPartition};

use crate::{
    AdminError, CommittedOffset, GroupDescription, GroupMember, Membership, MembershipError,
    MembershipOptions, NewTopic, OffsetCommit, OffsetSpec, ReadError, Records, TopicDescription,
    TransactionError, WriteError,
};

/// A log: Thalweg's own inside this process, or any Kafka cluster.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Topics, configs, offsets.
    fn admin(&self) -> Arc<dyn Admin>;

    /// A reader of these partitions from these places.
    ///
    /// # Errors
    /// [`ReadError::UnknownPartition`] if one of them does not exist.
    async fn reader(
        &self,
        options: ReaderOptions,
        assignment: Vec<(TopicPartition, Start)>,
    ) -> Result<Box<dyn Reader>, ReadError>;

    /// A writer outside of transactions; idempotent where the log is remote.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`].
    async fn writer(&self) -> Result<Arc<dyn Writer>, WriteError>;

    /// Opens a transactional id: fences its previous owner and ends what that one left open (InitProducerId).
    ///
    /// # Errors
    /// [`TransactionError::Aborted`] where it may be tried again.
    async fn transaction(
        &self,
        options: TransactionOptions,
    ) -> Result<Box<dyn Transaction>, TransactionError>;

    /// Becomes a member of a group; the first share comes with [`Membership::next`].
    ///
    /// # Errors
    /// [`MembershipError::Refused`] for options that no group takes.
    async fn membership(
        &self,
        options: MembershipOptions,
    ) -> Result<Box<dyn Membership>, MembershipError>;
}

/// Topics, configs and the offsets of groups.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Creates a topic.
    async fn create_topic(&self, topic: NewTopic) -> Result<TopicDescription, AdminError>;

    /// Deletes a topic and its records.
    async fn delete_topic(&self, name: &str) -> Result<(), AdminError>;

    /// One topic, or `None`.
    async fn describe_topic(&self, name: &str) -> Result<Option<TopicDescription>, AdminError>;

    /// All topics, internal ones too, ordered by name.
    async fn list_topics(&self) -> Result<Vec<TopicDescription>, AdminError>;

    /// Raises the number of partitions.
    async fn create_partitions(&self, name: &str, total: i32) -> Result<(), AdminError>;

    /// The offset that `spec` means in this partition now.
    async fn offset(&self, partition: &TopicPartition, spec: OffsetSpec)
    -> Result<i64, AdminError>;

    /// What a group has committed for these partitions, in the order asked. Waits until no open transaction holds
    /// an offset of them (KIP-447 `require_stable`).
    async fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<CommittedOffset>, AdminError>;

    /// Commits offsets of a group without members, outside of a transaction.
    async fn commit_offsets(
        &self,
        group: &str,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), AdminError>;

    /// All groups, those without members too, by name. What an open transaction commits does not show.
    async fn groups(&self) -> Result<Vec<GroupDescription>, AdminError>;

    /// Forgets a group and its offsets; a group that never was is fine.
    async fn delete_group(&self, group: &str) -> Result<(), AdminError>;

    /// Removes all records below these offsets (DeleteRecords).
    async fn delete_records(&self, offsets: Vec<(TopicPartition, i64)>) -> Result<(), AdminError>;
}

/// Where a reader starts in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The first offset that is still there.
    Earliest,
    /// The high watermark at the time of the call.
    Latest,
    /// This offset.
    Offset(i64),
}

/// How to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderOptions {
    /// Shows records of open and aborted transactions too. Off by default.
    pub read_uncommitted: bool,
    /// Upper bound of bytes fetched from one partition in one poll (a single larger batch still comes whole).
    pub partition_bytes_max: usize,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            read_uncommitted: false,
            partition_bytes_max: 1 << 20,
        }
    }
}

/// Upper bounds of one poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollBudget {
    /// Return once about this many bytes are gathered.
    pub bytes_max: usize,
    /// Wait at most this long while there is nothing.
    pub wait_max: Duration,
}

/// Where a reader stands in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionProgress {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to read, past control batches and gaps.
    pub position: i64,
    /// As last seen.
    pub high_watermark: i64,
    /// As last seen; below the high watermark while a transaction is open.
    pub last_stable_offset: i64,
}

impl PartitionProgress {
    /// Nothing more to read now, and no open transaction hides anything.
    pub fn is_caught_up(&self) -> bool {
        self.position >= self.last_stable_offset && self.last_stable_offset >= self.high_watermark
    }
}

/// Reads assigned partitions in offset order. One task owns a reader.
#[async_trait]
pub trait Reader: Send {
    /// The next records, at most one element a partition and fetched batch run; partitions take turns. Empty when
    /// the wait ran out, or where a position has moved past control records and gaps alone. Wakes when something becomes
    /// readable.
    ///
    /// Cancel safe: a dropped future loses no record.
    async fn poll(&mut self, budget: PollBudget) -> Result<Vec<Records>, ReadError>;

    /// Where the reader stands, in the order of the assignment, with the log's ends as they are now.
    async fn progress(&mut self) -> Result<Vec<PartitionProgress>, ReadError>;

    /// Goes on from another place.
    async fn seek(&mut self, partition: &TopicPartition, to: Start) -> Result<(), ReadError>;

    /// Stops (`true`) or resumes (`false`) reading these partitions; positions stay.
    fn pause(&mut self, partitions: &[TopicPartition], paused: bool);
}

/// Appends outside of transactions. Shared; calls for one partition take effect in call order.
#[async_trait]
pub trait Writer: Send + Sync {
    /// Appends one batch; returns the offset of its first record once it is acknowledged at the topic's durability.
    async fn append(
        &self,
        partition: &TopicPartition,
        batch: BatchBuilder,
    ) -> Result<i64, WriteError>;

    /// Returns once everything acknowledged so far to these partitions is on disk, whatever the topic's `flush`
    /// level (a foreign cluster: once it is acknowledged by all in-sync replicas).
    async fn sync(&self, partitions: &[TopicPartition]) -> Result<(), WriteError>;
}

/// How to open a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionOptions {
    /// Stable name of the owner, the same after its restart.
    pub transactional_id: String,
    /// How long an open transaction may stay without an end before the log aborts it.
    pub timeout: Duration,
}

/// One transaction after another under one transactional id. The first append or offset begins one.
#[async_trait]
pub trait Transaction: Send {
    /// Adds one batch. Nothing of it is visible, or counts as durable, before the commit.
    async fn append(
        &mut self,
        partition: &TopicPartition,
        batch: BatchBuilder,
    ) -> Result<(), TransactionError>;

    /// Adds offsets of a group without members (TxnOffsetCommit). The last value for a partition wins.
    async fn commit_offsets(
        &mut self,
        group: &str,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), TransactionError>;

    /// Adds offsets that a member of a group has reached. If its generation is past when they are written, the transaction
    /// is refused as [`TransactionError::Fenced`], here or by its commit.
    async fn commit_offsets_of(
        &mut self,
        member: &GroupMember,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), TransactionError>;

    /// Ends the transaction. Returns the offset of the first record of every `append`, in call order, once all of
    /// it is durable (synced on the built-in log whatever the topics' `flush` level). Without appends and offsets:
    /// nothing happens.
    ///
    /// # Errors
    /// [`TransactionError::Unknown`]: open the id again and find out.
    async fn commit(&mut self) -> Result<Vec<i64>, TransactionError>;

    /// Discards everything since the last end; a transaction that never began is fine.
    async fn abort(&mut self) -> Result<(), TransactionError>;
}
