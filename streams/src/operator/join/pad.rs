//! Rows that appear by themselves: padded with NULLs, or alone where a join only asks whether there is a match.
//!
//! A row of a watched side changes when its first match comes and when its last one goes.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int8Array, RecordBatch, RecordBatchOptions, new_null_array,
};

use super::super::{CHUNK_ROWS_MAX, Context, Emitter, OperatorError};
use super::Join;
use crate::state::row::RowReader;
use crate::{Chunk, JoinKind};

impl Join {
    /// Emits rows of side `port` as they appear by themselves, `matched` or not.
    pub(super) fn emit_alone(
        &self,
        port: usize,
        rows: &RecordBatch,
        signs: Vec<i8>,
        matched: bool,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let count = rows.num_rows();
        if count == 0 {
            return Ok(());
        }
        let own = rows.columns().iter().cloned();
        let nulls = |side: usize| {
            let fields = self.sides[side].spec.schema.fields().iter();
            fields.map(|field| new_null_array(field.data_type(), count))
        };
        let columns: Vec<ArrayRef> = match self.kind {
            JoinKind::Semi | JoinKind::Anti => own.collect(),
            JoinKind::Mark => {
                let mark: ArrayRef = Arc::new(BooleanArray::from(vec![matched; count]));
                own.chain([mark]).collect()
            }
            _ if port == 0 => own.chain(nulls(1)).collect(),
            _ => nulls(0).chain(own).collect(),
        };
        let batch = self.batch(columns, count)?;
        let diff = signs.contains(&-1).then(|| Int8Array::from(signs));
        out.emit(
            Chunk {
                diff,
                ..Chunk::inserts(batch)
            },
            context,
        )
    }

    pub(super) fn batch(
        &self,
        columns: Vec<ArrayRef>,
        count: usize,
    ) -> Result<RecordBatch, OperatorError> {
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|error| OperatorError::columns(self.id, &error))
    }

    /// Emits what changes of rows of side `port` (each once) that are `matched` now and were not, or the other way round.
    pub(super) fn turn(
        &self,
        port: usize,
        rows: &RecordBatch,
        matched: bool,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        for (sign, as_matched) in [(-1, !matched), (1, matched)] {
            if self.kind.alone(port, as_matched) {
                let signs = vec![sign; rows.num_rows()];
                self.emit_alone(port, rows, signs, as_matched, context, out)?;
            }
        }
        Ok(())
    }

    /// The same for all rows of these keys of side `port`.
    pub(super) fn turn_keys(
        &self,
        port: usize,
        slots: &[u32],
        matched: bool,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let side = &self.sides[port];
        let mut reader = RowReader::new(&side.spec.schema)?;
        for &slot in slots {
            let mut from = Some(Vec::new());
            while let Some(place) = from.take() {
                let mut failed = None;
                side.visit(context.state, slot, &place, None, |found| {
                    if reader.len() >= CHUNK_ROWS_MAX {
                        from = Some(found.place.to_vec());
                        return ControlFlow::Break(());
                    }
                    for _ in 0..found.count {
                        if let Err(error) = reader.push(found.row) {
                            failed = Some(error);
                            return ControlFlow::Break(());
                        }
                    }
                    ControlFlow::Continue(())
                })?;
                if let Some(error) = failed {
                    return Err(error.into());
                }
                if reader.len() >= CHUNK_ROWS_MAX {
                    let full = std::mem::replace(&mut reader, RowReader::new(&side.spec.schema)?);
                    self.turn_pieces(port, &full.finish(), matched, context, out)?;
                }
            }
        }
        self.turn_pieces(port, &reader.finish(), matched, context, out)
    }

    /// A row may be there more often than a chunk has rows.
    fn turn_pieces(
        &self,
        port: usize,
        rows: &RecordBatch,
        matched: bool,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        for start in (0..rows.num_rows()).step_by(CHUNK_ROWS_MAX) {
            let piece = rows.slice(start, CHUNK_ROWS_MAX.min(rows.num_rows() - start));
            self.turn(port, &piece, matched, context, out)?;
        }
        Ok(())
    }
}
