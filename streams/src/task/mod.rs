//! One task of a job: sources, operators, sink, and the commit that binds them.
//!
//! ```text
//! open:   fence ─▶ restore ─▶ check ─▶ seek                                    (recovery.rs)
//! turn:   poll ─▶ graph ─▶ sink gathers ─▶ is a commit due?                    (process.rs, commit.rs decides)
//! commit: end the epoch ─▶ delta ─▶ one transaction ─▶ local store ─▶ publish
//! ```
//!
//! Whatever breaks, the task is dropped and opened again: there is no other way back.

mod commit;
mod inputs;
mod lifecycle;
mod process;
mod recovery;
mod saving;
mod search;
#[cfg(test)]
mod tests;
mod tokens;

use log_api::{AdminError, ReadError, TransactionError, WriteError};
use thiserror::Error;

pub use inputs::QueryStart;
pub(crate) use inputs::{InputError, Inputs, chunk_of, group_positions, report};
pub use lifecycle::JobState;
pub(crate) use lifecycle::{Command, Event, Lifecycle};
pub(crate) use process::{Changelog, Environment, Names, Opened, Task, Turn, group_of, job_folder};
pub(crate) use saving::SnapshotOptions;

use crate::encode::KeyEncoderError;
use crate::operator::OperatorError;
use crate::source::SourceError;
use crate::state::StateError;

/// Why a task broke.
#[derive(Debug, Clone, Error)]
pub enum TaskError {
    /// State could not be read or written.
    #[error(transparent)]
    State(StateError),
    /// The local store could not be opened: its folder is in use, or not writable.
    #[error("open the local state: {0}")]
    Open(StateError),
    /// An operator gave up.
    #[error(transparent)]
    Operator(OperatorError),
    /// A source cannot go on.
    #[error(transparent)]
    Source(SourceError),
    /// Topics or offsets could not be asked for.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The changelog could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The commit did not go through, or nobody knows.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// The view's key cannot be written.
    #[error(transparent)]
    Key(#[from] KeyEncoderError),
    /// Changelog and group disagree.
    #[error(
        "the changelog says that {partition} was read up to {changelog}, group {group} has committed {committed}: one of them was changed from outside; set the group's offset back, or drop the view and make it again"
    )]
    Mismatch {
        /// The job's group.
        group: String,
        /// Which input.
        partition: String,
        /// What the changelog says.
        changelog: i64,
        /// What the group says.
        committed: i64,
    },
    /// The changelog no longer holds what the local state lacks.
    #[error(
        "{changelog} starts at offset {start}, the state needs it from {needed} on: what was trimmed is in a snapshot that is not there; bring the folder of snapshots back, or drop the view and make it again"
    )]
    Trimmed {
        /// The changelog.
        changelog: String,
        /// Where the replay would start.
        needed: i64,
        /// What is still there.
        start: i64,
    },
    /// The state was kept by another plan.
    #[error(
        "the view's state was kept by another plan of this query ({difference}); drop the view and make it again"
    )]
    PlanChanged {
        /// What is not as it was.
        difference: String,
    },
    /// The view's topic is not the one that the state belongs to.
    #[error(
        "topic {topic} of the view {change}: what the view has written to it is gone; drop the view and make it again"
    )]
    TopicLost {
        /// The topic.
        topic: String,
        /// What happened to it.
        change: &'static str,
    },
    /// One key's state is too large for the changelog.
    #[error("the state of one key takes {bytes} bytes, at most {max} fit a changelog record")]
    EntryTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
        /// The row to blame is known or looked for, so that the job may start over.
        may_pass: bool,
    },
}

impl TaskError {
    /// What the life cycle makes of it.
    pub(crate) fn event(&self) -> Event {
        match self {
            Self::State(error) | Self::Operator(OperatorError::State(error)) => match error {
                StateError::Storage { .. } => Event::Broke,
                StateError::NewerFormat { .. }
                | StateError::Corrupt { .. }
                | StateError::TooLarge { .. } => Event::Died,
            },
            Self::Open(StateError::NewerFormat { .. }) => Event::Died,
            Self::Open(_) => Event::Broke,
            Self::Source(error) if error.retryable() => Event::Broke,
            Self::Admin(error) if error.retryable() => Event::Broke,
            Self::Read(error) if error.retryable() => Event::Broke,
            Self::Transaction(TransactionError::Fenced(_)) => Event::Fenced,
            Self::Transaction(TransactionError::Unknown(_) | TransactionError::Aborted(_)) => {
                Event::Broke
            }
            Self::Transaction(TransactionError::Write(error)) => {
                // A side topic that was deleted is made again; without the view's own, opening says so.
                let passes = error.retryable()
                    || matches!(
                        error,
                        WriteError::Storage { .. } | WriteError::UnknownPartition(_)
                    );
                if passes { Event::Broke } else { Event::Died }
            }
            Self::EntryTooLarge { may_pass: true, .. } => Event::Broke,
            _ => Event::Died,
        }
    }

    /// Whether it was asked to end, and did.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Self::Operator(OperatorError::Cancelled))
    }

    /// Whether the local store cannot be trusted any more.
    pub(crate) fn spoils_store(&self) -> bool {
        matches!(
            self,
            Self::State(StateError::Storage { .. })
                | Self::Open(StateError::Corrupt { .. })
                | Self::Operator(OperatorError::State(StateError::Storage { .. }))
        )
    }
}

impl From<StateError> for TaskError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl From<OperatorError> for TaskError {
    fn from(error: OperatorError) -> Self {
        Self::Operator(error)
    }
}

impl From<SourceError> for TaskError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<InputError> for TaskError {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Source(error) => Self::Source(error),
            InputError::Admin(error) => Self::Admin(error),
        }
    }
}
