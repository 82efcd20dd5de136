//! Map: one output column an expression. Where an expression fails, the rows that make it fail are found, by bisection
//! unless it names them, and go to the job's error topic; the others flow on.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::filter::select;
use super::{Context, Emitter, Operator, OperatorError};
use crate::{BatchExpr, Chunk, ExprError, OperatorId};

/// See the module.
pub(super) struct Map {
    id: OperatorId,
    exprs: Vec<Arc<dyn BatchExpr>>,
    schema: SchemaRef,
}

impl Map {
    pub(super) fn new(id: OperatorId, exprs: Vec<Arc<dyn BatchExpr>>, schema: SchemaRef) -> Self {
        Self { id, exprs, schema }
    }

    /// All columns, or the expression that failed and how.
    fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, (usize, ExprError)> {
        let eval = |(index, expr): (usize, &Arc<dyn BatchExpr>)| {
            expr.eval(batch).map_err(|error| (index, error))
        };
        self.exprs.iter().enumerate().map(eval).collect()
    }
}

impl Operator for Map {
    fn on_chunk(
        &mut self,
        _port: usize,
        mut chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        // Every round takes the bad rows of one more expression out.
        for _ in 0..=self.exprs.len() {
            match self.columns(&chunk.batch) {
                Ok(columns) => {
                    let options = RecordBatchOptions::new().with_row_count(Some(chunk.len()));
                    let batch =
                        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
                            .map_err(|error| OperatorError::columns(self.id, &error))?;
                    return out.emit(Chunk { batch, ..chunk }, context);
                }
                Err((index, error)) => {
                    match good_rows(chunk, &*self.exprs[index], error, context, self.id)? {
                        Some(rest) => chunk = rest,
                        None => return Ok(()),
                    }
                }
            }
        }
        Err(OperatorError::Inconsistent {
            operator: self.id,
            reason: "an expression fails on rows that it took before".to_owned(),
        })
    }
}

/// Sends the rows on which `expr` fails to the error topic and gives the rest; `None` when there is none.
pub(super) fn good_rows(
    chunk: Chunk,
    expr: &dyn BatchExpr,
    error: ExprError,
    context: &mut Context<'_>,
    id: OperatorId,
) -> Result<Option<Chunk>, OperatorError> {
    let mut bad: Vec<(usize, String)> = error.rows;
    bad.retain(|(row, _)| *row < chunk.len());
    if bad.is_empty() {
        bisect(&chunk.batch, expr, 0, error.message, &mut bad);
    }
    let mut keep = BooleanBufferBuilder::new(chunk.len());
    keep.append_n(chunk.len(), true);
    for (row, reason) in &bad {
        keep.set_bit(*row, false);
        // A row that is taken back failed in the same way when it came, and was reported then.
        if chunk.sign(*row) > 0 {
            context.effects.row_failed(&chunk, *row, reason);
        }
    }
    let mask = BooleanArray::new(keep.finish(), None);
    if mask.true_count() == 0 {
        return Ok(None);
    }
    retain(id, &chunk, &mask).map(Some)
}

/// The failing rows of `batch`, which starts at row `first` of the chunk and is known to fail with `message`.
fn bisect(
    batch: &RecordBatch,
    expr: &dyn BatchExpr,
    first: usize,
    message: String,
    bad: &mut Vec<(usize, String)>,
) {
    if batch.num_rows() <= 1 {
        bad.push((first, message));
        return;
    }
    let half = batch.num_rows() / 2;
    for (from, length) in [(0, half), (half, batch.num_rows() - half)] {
        let part = batch.slice(from, length);
        if let Err(error) = expr.eval(&part) {
            bisect(&part, expr, first + from, error.message, bad);
        }
    }
}

/// [`select`] with the operator's name on the error.
pub(super) fn retain(
    id: OperatorId,
    chunk: &Chunk,
    mask: &BooleanArray,
) -> Result<Chunk, OperatorError> {
    select(chunk, mask).map_err(|error| OperatorError::columns(id, &error))
}
