//! Map: one output column an expression. Rows on which an expression fails go to the job's error topic; the others flow
//! on.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::compute::filter;
use arrow::datatypes::SchemaRef;

use super::filter::select;
use super::{Context, Emitter, Operator, OperatorError};
use crate::expr::{Evaluated, evaluate};
use crate::{BatchExpr, Chunk, OperatorId};

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
}

impl Operator for Map {
    fn on_chunk(
        &mut self,
        _port: usize,
        mut chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let columns_error = |error| OperatorError::columns(self.id, &error);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.exprs.len());
        for (expr, field) in self.exprs.iter().zip(self.schema.fields()) {
            let evaluated = evaluate(&**expr, &chunk.batch).map_err(columns_error)?;
            let good = evaluated.good(chunk.len());
            chunk = good_rows(chunk, &evaluated, context).map_err(columns_error)?;
            if let Some(good) = good {
                let kept = columns.iter().map(|column| filter(column, &good));
                columns = kept.collect::<Result<_, _>>().map_err(columns_error)?;
            }
            let values = evaluated.values;
            columns.push(values.unwrap_or_else(|| new_empty_array(field.data_type())));
            if chunk.is_empty() {
                return Ok(());
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(chunk.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(columns_error)?;
        out.emit(Chunk { batch, ..chunk }, context)
    }
}

/// Sends the rows of `chunk` that failed to the error topic and gives the others.
pub(super) fn good_rows(
    chunk: Chunk,
    evaluated: &Evaluated,
    context: &mut Context<'_>,
) -> Result<Chunk, arrow::error::ArrowError> {
    for (row, reason) in &evaluated.bad {
        // A row that is taken back failed in the same way when it came, and was reported then.
        if chunk.sign(*row) > 0 {
            context.effects.row_failed(&chunk, *row, reason);
        }
    }
    match evaluated.good(chunk.len()) {
        Some(good) => select(&chunk, &good),
        None => Ok(chunk),
    }
}
