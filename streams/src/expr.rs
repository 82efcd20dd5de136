//! Expressions over batches, as the engine sees them.

use arrow::array::{ArrayRef, RecordBatch};
use thiserror::Error;

/// A stateless, deterministic, vectorized expression. The sql crate implements it with its own library.
pub trait BatchExpr: Send + Sync + std::fmt::Debug {
    /// One value a row of `batch`, of the type that the plan says.
    ///
    /// # Errors
    /// [`ExprError`] when a row cannot be computed (division by zero, a failed cast). The engine then finds the rows
    /// by bisection; an implementation MAY name them in [`ExprError::rows`] to spare it that.
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError>;
}

/// Evaluation failed for at least one row.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct ExprError {
    /// The cause, in the words that a user of the query understands.
    pub message: String,
    /// The rows that failed, where the expression knows them: index and cause of each.
    pub rows: Vec<(usize, String)>,
}

impl ExprError {
    /// An error whose rows are not known.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            rows: Vec::new(),
        }
    }
}

/// The plainest expression: a column of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnExpr(pub usize);

impl BatchExpr for ColumnExpr {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
        batch
            .columns()
            .get(self.0)
            .cloned()
            .ok_or_else(|| ExprError::new(format!("column {} does not exist", self.0)))
    }
}
