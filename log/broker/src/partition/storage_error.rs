//! Why a partition cannot do its work, and how a client hears of it. What the files said comes in as text.
//!
//! PURE.

use log_protocol::{ErrorCode, TopicPartition};
use thiserror::Error;

/// A partition cannot do its work.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub(crate) enum StorageError {
    /// A write or fsync failed, or the files could not be opened. What the disk holds is not known any more: the partition
    /// stays offline until the log is opened again.
    #[error("partition {partition} is offline: {reason}")]
    Offline {
        /// Which.
        partition: TopicPartition,
        /// The step and the system's words.
        reason: String,
    },
    /// There is no room on the disk. What could not be written is taken back; appends are tried anew as they come.
    #[error(
        "the disk is full: partition {partition} takes no records until there is room ({reason})"
    )]
    Full {
        /// Which.
        partition: TopicPartition,
        /// The step and the system's words.
        reason: String,
    },
    /// Its topic was deleted.
    #[error("partition {0} was deleted")]
    Deleted(TopicPartition),
    /// Reading failed.
    #[error("partition {partition} cannot be read: {reason}")]
    Read {
        /// Which.
        partition: TopicPartition,
        /// The step and the system's words.
        reason: String,
    },
    /// The periodic work could not write; appends are not concerned, and it is tried again.
    #[error("files of partition {partition} cannot be written: {reason}")]
    Upkeep {
        /// Which.
        partition: TopicPartition,
        /// The step and the system's words.
        reason: String,
    },
    /// Bytes in the log that are no sound batch.
    #[error("partition {partition} is corrupt at offset {offset}: {reason}")]
    Corrupt {
        /// Which.
        partition: TopicPartition,
        /// The offset that was looked for.
        offset: i64,
        /// What does not hold.
        reason: String,
    },
}

impl StorageError {
    /// What a client is told.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Offline { .. } | Self::Full { .. } | Self::Read { .. } | Self::Upkeep { .. } => {
                ErrorCode::KafkaStorageError
            }
            Self::Deleted(_) => ErrorCode::UnknownTopicOrPartition,
            Self::Corrupt { .. } => ErrorCode::CorruptMessage,
        }
    }
}
