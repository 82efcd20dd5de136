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
    /// The topic is not the one that was read before: its offsets mean other records.
    #[error(
        "topic {0} was deleted and made anew since it was read; drop the view and make it again"
    )]
    Replaced(String),
    /// The topic is not as it was when it was opened.
    #[error("topic {topic} {change}: reading has to start over")]
    Altered {
        /// The topic.
        topic: String,
        /// What became of it.
        change: String,
    },
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
    /// Whether the source may be opened again, now or later: a topic that is not there may come.
    pub fn retryable(&self) -> bool {
        match self {
            Self::MissingTopic(_)
            | Self::Altered { .. }
            | Self::Read(ReadError::UnknownPartition(_)) => true,
            Self::Read(error) => error.retryable(),
            _ => false,
        }
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
