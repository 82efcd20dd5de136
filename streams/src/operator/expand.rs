//! Grouping sets: every row once for each set, with copies of the group columns, NULL where the set does not group by
//! them, and the number of the set.
//!
//! ```text
//! input columns … │ copies of the group columns │ set Int64
//! ```
//!
//! The columns themselves stay what they are: an aggregate over one that is also grouped by sees its values.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;

use super::{Context, Emitter, Operator, OperatorError};
use crate::{Chunk, ExpandSpec, OperatorId};

/// See the module.
pub(super) struct Expand {
    id: OperatorId,
    spec: ExpandSpec,
    schema: SchemaRef,
}

impl Expand {
    pub(super) fn new(id: OperatorId, spec: &ExpandSpec, schema: SchemaRef) -> Self {
        Self {
            id,
            spec: spec.clone(),
            schema,
        }
    }
}

impl Operator for Expand {
    fn on_chunk(
        &mut self,
        _port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let rows = chunk.len();
        for set in &self.spec.sets {
            let mut columns: Vec<ArrayRef> = chunk.batch.columns().to_vec();
            for (&column, &kept) in self.spec.columns.iter().zip(&set.kept) {
                let values = chunk.batch.column(column);
                columns.push(if kept {
                    Arc::clone(values)
                } else {
                    new_null_array(values.data_type(), rows)
                });
            }
            columns.push(Arc::new(Int64Array::from_value(set.number, rows)));
            let batch = RecordBatch::try_new(self.schema.clone(), columns)
                .map_err(|error| OperatorError::columns(self.id, &error))?;
            let repeated = Chunk {
                batch,
                ..chunk.clone()
            };
            out.emit(repeated, context)?;
        }
        Ok(())
    }
}
