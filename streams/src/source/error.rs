//! What ends a source.

use log_api::{ReadError, TopicPartition};
use thiserror::Error;

use crate::decode::SourceSpecError;

/// A source cannot be opened or cannot go on.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum SourceError {
    /// There is no such topic.
    #[error("topic {0} does not exist")]
    MissingTopic(String),
    /// The source cannot be decoded as it is described.
    #[error(transparent)]
    Spec(SourceSpecError),
    /// The log no longer holds, or does not hold yet, what comes next.
    #[error(
        "offset {position} of {partition} is out of range: the log holds [{start}, {end}); records between were removed by retention, or the topic was made anew"
    )]
    OutOfRange {
        /// Which partition.
        partition: TopicPartition,
        /// The position asked for.
        position: i64,
        /// First offset that is still there.
        start: i64,
        /// One past the last readable offset.
        end: i64,
    },
    /// The watermark expression does not give times.
    #[error("watermark of topic {topic}: {reason}")]
    Watermark {
        /// The topic.
        topic: String,
        /// What it gives instead.
        reason: String,
    },
    /// Reading failed.
    #[error(transparent)]
    Read(ReadError),
}

impl SourceError {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Read(error) if error.retryable())
    }
}

impl From<ReadError> for SourceError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OffsetOutOfRange {
                partition,
                position,
                start,
                end,
            } => Self::OutOfRange {
                partition,
                position,
                start,
                end,
            },
            error => Self::Read(error),
        }
    }
}
