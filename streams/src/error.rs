//! Why operators, and what they are made of, give up.

use arrow::error::ArrowError;
use thiserror::Error;

use crate::plan::OperatorId;
use crate::state::StateError;

/// Why an operator gave up. None of these is worth a retry with the same input, but for a store that failed.
#[derive(Debug, Clone, Error)]
pub enum OperatorError {
    /// State could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A row was taken back that was never there: an operator or the state is broken.
    #[error("operator {operator}: {reason}")]
    Inconsistent {
        /// Which operator.
        operator: OperatorId,
        /// What does not add up.
        reason: String,
    },
    /// The job was asked to end at once.
    #[error("the job was asked to end")]
    Cancelled,
    /// What a batch of rows brings forth has outgrown memory.
    #[error(
        "rows that wait to be written take {bytes} bytes, and there is room for {room}: rows that join with very many others bring forth as many at once; raise memory.limit"
    )]
    NoRoom {
        /// How much it is.
        bytes: usize,
        /// How much it may be.
        room: usize,
    },
    /// Columns are not what the plan says.
    #[error("operator {operator}: columns do not fit the plan: {reason}")]
    Columns {
        /// Which operator.
        operator: OperatorId,
        /// The difference.
        reason: String,
    },
}

impl OperatorError {
    pub(crate) fn columns(operator: OperatorId, error: &ArrowError) -> Self {
        Self::Columns {
            operator,
            reason: error.to_string(),
        }
    }
}
