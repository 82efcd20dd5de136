//! What can go wrong with jobs, tasks and queries.

use std::time::Duration;

use log_api::{AdminError, ReadError, TransactionError, WriteError};
use thiserror::Error;

use super::{Event, InputError, JobState};
use crate::encode::{KeyEncoderError, ValueEncoderError};
use crate::operator::OperatorError;
use crate::plan::PlanError;
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::state::StateError;

/// A config that cannot work.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{field}: {reason}")]
pub struct ConfigError {
    /// Which field.
    pub field: &'static str,
    /// What it has to be.
    pub reason: String,
}

/// What can go wrong with jobs and queries, as their users see it.
#[derive(Debug, Clone, Error)]
pub enum EngineError {
    /// The config cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The job's name cannot be used.
    #[error("job name {name:?} {NAME_RULE}")]
    Name {
        /// As it was given.
        name: String,
    },
    /// A job of that name runs already.
    #[error("job {0} is running already")]
    Running(String),
    /// The plan cannot run.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The sink cannot take the plan's output.
    #[error("sink {topic}: {reason}")]
    Sink {
        /// Its topic.
        topic: String,
        /// What does not fit.
        reason: String,
    },
    /// The log refused.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// State could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The job's view cannot be read now.
    #[error("view {job} cannot be read while its job is {state}{}", .error.as_ref().map(|error| format!(": {error}")).unwrap_or_default())]
    NotReady {
        /// The job.
        job: String,
        /// Its state.
        state: JobState,
        /// Why.
        error: Option<String>,
    },
    /// A query ended.
    #[error(transparent)]
    Query(#[from] TaskError),
    /// No thread could be started.
    #[error("no thread for the job: {0}")]
    Thread(String),
    /// The job was asked to end, and computes on.
    #[error(
        "job {job} has not ended within {} s: it computes one batch of rows, and an expression in it takes long; it ends as soon as that is done, so try again later", .waited.as_secs()
    )]
    Busy {
        /// The job.
        job: String,
        /// How long it was waited for.
        waited: Duration,
    },
}

/// What a name of a job must be.
pub(crate) const NAME_RULE: &str =
    "must be 1 to 200 of the characters a-z A-Z 0-9 . _ - and not start with a dot";

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
    /// The values of a sink cannot be written in its format.
    #[error(transparent)]
    Value(#[from] ValueEncoderError),
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
    /// What rows bring forth does not fit the memory of jobs.
    #[error(
        "what was read since the last commit ({rows} rows) brings forth more than the {room} bytes of memory that there is room for{}", if *.may_pass { ": fewer are taken at a time" } else { "; raise memory.limit, or join on a condition that fewer rows meet" }
    )]
    NoRoom {
        /// Rows since the last commit; 0: event time has closed windows.
        rows: u64,
        /// How much there is.
        room: usize,
        /// They can be taken in smaller pieces, or be given more room.
        may_pass: bool,
    },
}

impl From<SinkError> for TaskError {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Key(error) => Self::Key(error),
            SinkError::Value(error) => Self::Value(error),
        }
    }
}

impl TaskError {
    /// What the life cycle makes of it.
    pub(crate) fn event(&self) -> Event {
        match self {
            Self::State(error) | Self::Operator(OperatorError::State(error)) => match error {
                StateError::Storage { .. } | StateError::Damaged { .. } => Event::Broke,
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
            Self::EntryTooLarge { may_pass: true, .. } | Self::NoRoom { may_pass: true, .. } => {
                Event::Broke
            }
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
            Self::Open(StateError::Damaged { .. })
                | Self::State(StateError::Storage { .. } | StateError::Damaged { .. })
                | Self::Operator(OperatorError::State(
                    StateError::Storage { .. } | StateError::Damaged { .. }
                ))
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
