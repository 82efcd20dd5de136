//! Rows on their way out, with the bounds of their sessions.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;

use crate::operator::{CHUNK_ROWS_MAX, Context, Emitter, OperatorError};
use crate::state::row::RowReader;
use crate::{Chunk, OperatorId};

/// See the module.
pub(super) struct Leaving {
    operator: OperatorId,
    /// Of the rows; the output has the bounds behind them.
    input: SchemaRef,
    schema: SchemaRef,
    gap_us: i64,
    rows: RowReader,
    signs: Vec<i8>,
    starts: Vec<i64>,
    ends: Vec<i64>,
}

impl Leaving {
    pub(super) fn new(
        operator: OperatorId,
        gap_us: i64,
        input: &SchemaRef,
        schema: &SchemaRef,
    ) -> Result<Self, OperatorError> {
        Ok(Self {
            operator,
            input: Arc::clone(input),
            schema: Arc::clone(schema),
            gap_us,
            rows: RowReader::new(input)?,
            signs: Vec::new(),
            starts: Vec::new(),
            ends: Vec::new(),
        })
    }

    /// Puts a row of a session out so many times, or takes it back.
    pub(super) fn put_out(
        &mut self,
        row: &[u8],
        (start, last): (i64, i64),
        count: i64,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        for _ in 0..count.unsigned_abs() {
            self.rows.push(row)?;
            self.signs.push(if count < 0 { -1 } else { 1 });
            self.starts.push(start);
            self.ends.push(last.saturating_add(self.gap_us));
            if self.rows.len() >= CHUNK_ROWS_MAX {
                self.emit(context, out)?;
            }
        }
        Ok(())
    }

    /// Emits the rows that are here.
    pub(super) fn emit(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        if self.rows.len() == 0 {
            return Ok(());
        }
        let rows = std::mem::replace(&mut self.rows, RowReader::new(&self.input)?);
        let mut columns = rows.finish().columns().to_vec();
        let ends = std::mem::take(&mut self.ends);
        let last = ends.iter().map(|end| end - 1000).collect();
        for bounds in [std::mem::take(&mut self.starts), ends, last] {
            columns.push(Arc::new(TimestampMicrosecondArray::from(bounds)) as ArrayRef);
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| OperatorError::columns(self.operator, &error))?;
        let signs = std::mem::take(&mut self.signs);
        let diff = signs.contains(&-1).then(|| Int8Array::from(signs));
        let chunk = Chunk {
            diff,
            ..Chunk::inserts(batch)
        };
        out.emit(chunk, context)
    }
}
