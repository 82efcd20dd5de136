//! Positions of a consumer group, as written and as read back.

use log_protocol::TopicPartition;

/// One offset to be committed for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The partition that was read.
    pub partition: TopicPartition,
    /// The next offset to read: one past the last record that counts as processed.
    pub offset: i64,
    /// Free text of at most 4096 bytes that travels with the offset (`offset.metadata.max.bytes`).
    pub metadata: String,
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// In Kafka's words: `Stable`, `Empty`, ….
    pub state: String,
    /// The next offset to read of each partition that it has committed one for, by partition.
    pub offsets: Vec<(TopicPartition, i64)>,
}

/// One offset as the group has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to read; `None` where the group never committed one.
    pub offset: Option<i64>,
    /// What was committed with it.
    pub metadata: String,
}
