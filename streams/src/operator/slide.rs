//! Overlapping windows: a row is repeated for every window that its time lies in, with `window_start`, `window_end` and
//! `window_time`. Lateness is judged window by window (see [`super::late`]): a row may be late for one and not the next.
//!
//! Invariants:
//! 1. All windows of one row leave in one chunk, by rising end.
//! 2. A row whose time is NULL has no window; it goes to the error topic. One that lies in a gap between windows is
//!    filtered.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::filter::select;
use super::late::Judge;
use super::tumble::{only_timed, times_of};
use super::{CHUNK_ROWS_MAX, Context, Emitter, Operator, OperatorError};
use crate::{Chunk, OperatorId, Origin, SlideSpec, WindowGrid};

/// See the module.
pub(super) struct Slide {
    id: OperatorId,
    time_column: usize,
    grid: WindowGrid,
    offset_us: i64,
    judge: Judge,
    schema: SchemaRef,
}

/// Rows to be repeated, with their windows.
#[derive(Default)]
struct Windows {
    rows: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
}

impl Slide {
    pub(super) fn new(id: OperatorId, spec: &SlideSpec, schema: SchemaRef) -> Self {
        Self {
            id,
            time_column: spec.time_column,
            grid: spec.grid,
            offset_us: spec.offset_us,
            judge: Judge::new(spec.grace_us, &spec.late),
            schema,
        }
    }

    fn emit(
        &self,
        chunk: &Chunk,
        windows: Windows,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let columns_error = |error| OperatorError::columns(self.id, &error);
        let Windows {
            rows,
            mut starts,
            mut ends,
        } = windows;
        let mut repeated =
            take_rows(chunk, &UInt32Array::from(rows.clone())).map_err(columns_error)?;
        if let Some(kept) = self.judge.kept(&repeated, &ends, Some(&rows), context) {
            let pick = |of: &[i64]| kept.values().set_indices().map(|row| of[row]).collect();
            (starts, ends) = (pick(&starts), pick(&ends));
            repeated = select(&repeated, &kept).map_err(columns_error)?;
        }
        let last = ends.iter().map(|end| end - 1000).collect();
        let mut columns: Vec<ArrayRef> = repeated.batch.columns().to_vec();
        for values in [starts, ends, last] {
            columns.push(Arc::new(TimestampMicrosecondArray::from(values)));
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(columns_error)?;
        out.emit(Chunk { batch, ..repeated }, context)
    }
}

/// The rows of a chunk at these places.
fn take_rows(chunk: &Chunk, rows: &UInt32Array) -> Result<Chunk, ArrowError> {
    let diff = match &chunk.diff {
        Some(diff) => Some(take(diff, rows, None)?.as_primitive().clone()),
        None => None,
    };
    let origin = match &chunk.origin {
        Some(origin) => Some(Origin {
            rows: take(&origin.rows, rows, None)?.as_primitive().clone(),
            ..origin.clone()
        }),
        None => None,
    };
    Ok(Chunk {
        batch: take_record_batch(&chunk.batch, rows)?,
        diff,
        origin,
    })
}

impl Operator for Slide {
    fn on_chunk(
        &mut self,
        _port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let chunk = only_timed(chunk, self.time_column, self.id, context)?;
        let times = times_of(&chunk.batch, self.time_column, self.id)?.clone();
        let mut windows = Windows::default();
        for (row, &time) in times.values().iter().enumerate() {
            let from = windows.ends.len();
            for (start, end) in self.grid.windows_of(time - self.offset_us) {
                windows.rows.push(row as u32);
                windows.starts.push(start + self.offset_us);
                windows.ends.push(end + self.offset_us);
            }
            if windows.ends.len() == from && chunk.sign(row) > 0 {
                context.effects.filtered += 1;
            }
            if windows.ends.len() >= CHUNK_ROWS_MAX {
                self.emit(&chunk, std::mem::take(&mut windows), context, out)?;
            }
        }
        if windows.rows.is_empty() {
            return Ok(());
        }
        self.emit(&chunk, windows, context, out)
    }
}
