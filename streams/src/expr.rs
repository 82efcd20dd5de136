//! Expressions over batches, as the engine sees them, and their evaluation row for row where a batch fails.
//!
//! ```text
//! batch ──▶ values                                        (nearly always)
//!      └──▶ error, rows named:     the others at once
//!           error, rows not named: both halves, down to single rows      a row that fails alone is bad
//! ```
//!
//! An expression may fail on a batch and yet on none of its rows: a library that computes the right side of
//! `x <> 0 AND 1 / x > 0` for all rows, where few are decided by the left one, does. So what the parts gave is kept, and
//! no batch that failed is ever tried again.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, filter_record_batch};
use arrow::error::ArrowError;
use thiserror::Error;

#[cfg(test)]
mod tests;

/// A stateless, vectorized expression, deterministic unless it says otherwise. The sql crate implements it with its own library.
pub trait BatchExpr: Send + Sync + std::fmt::Debug {
    /// One value a row of `batch`, of the type that the plan says.
    ///
    /// # Errors
    /// [`ExprError`] when a row cannot be computed (division by zero, a failed cast). The engine then finds the rows
    /// by bisection; an implementation MAY name them in [`ExprError::rows`] to spare it that. A row counts as failed
    /// only if it is named, or fails by itself.
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError>;

    /// The column of the input that it hands on as it is, if it is no more than that.
    fn column(&self) -> Option<usize> {
        None
    }

    /// Whether a row may give something else the next time, a failure say: what runs against a deadline may. What such a
    /// row gave is kept where it may be taken back.
    fn may_vary(&self) -> bool {
        false
    }
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

    fn column(&self) -> Option<usize> {
        Some(self.0)
    }
}

/// What an expression gave for the rows of a batch.
pub(crate) struct Evaluated {
    /// The values of the rows that did not fail, in order; `None` where all of them failed.
    pub(crate) values: Option<ArrayRef>,
    /// The rows that failed, rising, and why.
    pub(crate) bad: Vec<(usize, String)>,
}

impl Evaluated {
    /// Which of `rows` rows did not fail; `None`: all of them.
    pub(crate) fn good(&self, rows: usize) -> Option<BooleanArray> {
        if self.bad.is_empty() {
            return None;
        }
        let mut bad = self.bad.iter().map(|(row, _)| *row).peekable();
        let good = BooleanBuffer::collect_bool(rows, |row| bad.next_if_eq(&row).is_none());
        Some(BooleanArray::new(good, None))
    }
}

/// Evaluates `expr` for every row of `batch` that it can be evaluated for.
///
/// # Errors
/// Parts that do not fit together: the expression gives one type here and another one there.
pub(crate) fn evaluate(expr: &dyn BatchExpr, batch: &RecordBatch) -> Result<Evaluated, ArrowError> {
    let error = match expr.eval(batch) {
        Ok(values) => {
            return Ok(Evaluated {
                values: Some(values),
                bad: Vec::new(),
            });
        }
        Err(error) => error,
    };
    let mut parts = Parts {
        expr,
        done: Vec::new(),
        bad: Vec::new(),
    };
    let rows: Vec<usize> = (0..batch.num_rows()).collect();
    parts.split(batch, &rows, error)?;
    let done: Vec<&dyn Array> = parts.done.iter().map(|part| &**part).collect();
    let values = match done.as_slice() {
        [] => None,
        [_] => parts.done.pop(),
        done => Some(concat(done)?),
    };
    parts.bad.sort_unstable_by_key(|(row, _)| *row);
    Ok(Evaluated {
        values,
        bad: parts.bad,
    })
}

/// Results while a failed batch is taken apart.
struct Parts<'a> {
    expr: &'a dyn BatchExpr,
    /// Values of rows that rise from part to part.
    done: Vec<ArrayRef>,
    bad: Vec<(usize, String)>,
}

impl Parts<'_> {
    fn eval(&mut self, batch: &RecordBatch, rows: &[usize]) -> Result<(), ArrowError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        match self.expr.eval(batch) {
            Ok(values) => {
                self.done.push(values);
                Ok(())
            }
            Err(error) => self.split(batch, rows, error),
        }
    }

    /// Goes on with what is smaller than `batch`, which failed with `error`; `rows` are its rows' numbers.
    fn split(
        &mut self,
        batch: &RecordBatch,
        rows: &[usize],
        error: ExprError,
    ) -> Result<(), ArrowError> {
        let count = batch.num_rows();
        let mut is_named = vec![false; count];
        for (row, reason) in error.rows {
            if row < count && !is_named[row] {
                is_named[row] = true;
                self.bad.push((rows[row], reason));
            }
        }
        if is_named.contains(&true) {
            let rest: BooleanArray = is_named.iter().map(|named| Some(!named)).collect();
            let rows = rows.iter().zip(&is_named).filter(|(_, named)| !**named);
            let rows: Vec<usize> = rows.map(|(row, _)| *row).collect();
            return self.eval(&filter_record_batch(batch, &rest)?, &rows);
        }
        match *rows {
            [] => Ok(()),
            [row] => {
                self.bad.push((row, error.message));
                Ok(())
            }
            _ => {
                let half = count / 2;
                self.eval(&batch.slice(0, half), &rows[..half])?;
                self.eval(&batch.slice(half, count - half), &rows[half..])
            }
        }
    }
}
