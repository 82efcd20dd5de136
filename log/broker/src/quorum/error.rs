//! What of topics is refused, and how a client hears of it.

use log_protocol::ErrorCode;
use thiserror::Error;

use crate::storage::StorageError;
use crate::topic_config::ConfigError;

/// A change of a topic was refused.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub(crate) enum TopicError {
    /// There is one of that name.
    #[error("topic {0} exists already")]
    Exists(String),
    /// There is none of that name.
    #[error("topic {0} does not exist")]
    Unknown(String),
    /// The name breaks Kafka's rules.
    #[error("topic name {name:?} is invalid: {reason}")]
    InvalidName {
        /// As it was given.
        name: String,
        /// Which rule.
        reason: &'static str,
    },
    /// There is one whose name differs in '.' and '_' alone.
    #[error("topic {name} collides with topic {other}: names must differ in more than '.' and '_'")]
    Collides {
        /// As it was given.
        name: String,
        /// The topic that there is.
        other: String,
    },
    /// A number of partitions that cannot be.
    #[error("topic {name} cannot have {partitions} partitions: {reason}")]
    InvalidPartitions {
        /// The topic.
        name: String,
        /// As it was given.
        partitions: i32,
        /// Why not.
        reason: &'static str,
    },
    /// A config key or value.
    #[error("topic {name}: {error}")]
    Config {
        /// The topic.
        name: String,
        /// Which, and why.
        error: ConfigError,
    },
    /// The metadata cannot be written.
    #[error("metadata log is offline: {0}")]
    Offline(String),
}

impl TopicError {
    /// What a client is told.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Exists(_) => ErrorCode::TopicAlreadyExists,
            Self::Unknown(_) => ErrorCode::UnknownTopicOrPartition,
            Self::InvalidName { .. } | Self::Collides { .. } => ErrorCode::InvalidTopicException,
            Self::InvalidPartitions { .. } => ErrorCode::InvalidPartitions,
            Self::Config { .. } => ErrorCode::InvalidConfig,
            Self::Offline(_) => ErrorCode::KafkaStorageError,
        }
    }
}

/// The log could not be closed cleanly; the next start scans it.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub(crate) enum CloseError {
    /// A partition could not be saved.
    #[error(transparent)]
    Partition(#[from] StorageError),
    /// The folder could not be marked.
    #[error("cannot mark the data folder as closed: {0}")]
    Mark(String),
}
