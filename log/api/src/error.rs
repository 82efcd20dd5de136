//! What can go wrong with a log, one enum an operation.
//!
//! Every message names the object first. `retryable()` says whether the same call may succeed later without
//! anything being changed by the caller.

use log_protocol::TopicPartition;
use thiserror::Error;

/// Creating, describing, changing topics and offsets failed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum AdminError {
    /// The topic is there already; `CREATE … IF NOT EXISTS` semantics are the caller's.
    #[error("topic {0} exists already")]
    TopicExists(String),
    /// No such topic.
    #[error("topic {0} does not exist")]
    UnknownTopic(String),
    /// The name breaks Kafka's rules (`[a-zA-Z0-9._-]{1,249}`, not `.` or `..`).
    #[error("topic name {name:?} is invalid: {reason}")]
    InvalidTopic {
        /// The name as it was given.
        name: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// A config key or value that the log does not take.
    #[error("topic {topic}: {reason}")]
    InvalidConfig {
        /// The topic.
        topic: String,
        /// Key, value, and the nearest key where there is one.
        reason: String,
    },
    /// An open transaction hides the true value (UNSTABLE_OFFSET_COMMIT); ask again.
    #[error("offsets of group {0} are held by an open transaction")]
    Unstable(String),
    /// The log cannot be reached or is shutting down.
    #[error("log is not available: {0}")]
    Unavailable(String),
    /// The log refused, in its own words.
    #[error("{0}")]
    Refused(String),
}

impl AdminError {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unstable(_) | Self::Unavailable(_))
    }
}

/// Reading failed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ReadError {
    /// The topic or partition is gone or never was.
    #[error("partition {0} does not exist")]
    UnknownPartition(TopicPartition),
    /// The position is outside of what the log holds; never silently reset.
    #[error("offset {position} of {partition} is out of range: the log holds [{start}, {end})")]
    OffsetOutOfRange {
        /// Which partition.
        partition: TopicPartition,
        /// The position asked for.
        position: i64,
        /// First offset that is still there.
        start: i64,
        /// One past the last readable offset.
        end: i64,
    },
    /// Bytes in the log that no reader can make sense of.
    #[error("partition {partition} is corrupt at offset {offset}: {reason}")]
    Corrupt {
        /// Which partition.
        partition: TopicPartition,
        /// Base offset of the batch.
        offset: i64,
        /// What does not hold.
        reason: String,
    },
    /// The log cannot be reached or is shutting down.
    #[error("log is not available: {0}")]
    Unavailable(String),
}

impl ReadError {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Appending failed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum WriteError {
    /// The topic or partition is gone or never was.
    #[error("partition {0} does not exist")]
    UnknownPartition(TopicPartition),
    /// The batch exceeds the topic's `max.message.bytes`.
    #[error(
        "batch of {bytes} bytes for {partition} exceeds max.message.bytes; send smaller batches or raise it"
    )]
    TooLarge {
        /// Which partition.
        partition: TopicPartition,
        /// Size of the refused batch.
        bytes: usize,
    },
    /// The topic's rules refuse the batch (for example a compacted topic and a record without a key).
    #[error("batch for {partition} refused: {reason}")]
    Invalid {
        /// Which partition.
        partition: TopicPartition,
        /// The rule that it breaks.
        reason: String,
    },
    /// The disk failed; the partition is offline.
    #[error("partition {partition} is offline: {reason}")]
    Storage {
        /// Which partition.
        partition: TopicPartition,
        /// The system's words.
        reason: String,
    },
    /// The log cannot be reached or is shutting down.
    #[error("log is not available: {0}")]
    Unavailable(String),
}

impl WriteError {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// A transaction failed. Kafka's many codes are four classes here.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum TransactionError {
    /// Somebody else took over the transactional id: stop, discard, start again (PRODUCER_FENCED,
    /// INVALID_PRODUCER_EPOCH, ILLEGAL_GENERATION, …).
    #[error("transactional id {0} was taken over by another owner")]
    Fenced(String),
    /// The end of the transaction was asked for and no answer came: it is committed or it is not. Neither apply
    /// nor roll back; open the transactional id again and recover.
    #[error("transactional id {0}: the outcome of the commit is unknown")]
    Unknown(String),
    /// Nothing of it is visible; abort it, then it may be tried again.
    #[error("transaction aborted: {0}")]
    Aborted(String),
    /// An append inside of it was refused; abort it.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl TransactionError {
    /// Whether a new transaction with the same content may succeed, without opening the id again.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Aborted(_) => true,
            Self::Write(error) => error.retryable(),
            Self::Fenced(_) | Self::Unknown(_) => false,
        }
    }
}
