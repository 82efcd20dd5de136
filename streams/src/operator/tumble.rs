//! Tumbling windows: adds `window_start`, `window_end` and `window_time`, and takes late rows out (see [`super::late`]).
//!
//! ```text
//! window of time t   [floor((t − offset) / size) · size + offset, + size)     half-open, offset from 1970-01-01 UTC
//! window_time        window_end − 1 ms
//! ```
//!
//! Invariant: a row whose time is NULL has no window; it goes to the error topic.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};

use super::filter::select;
use super::late::Judge;
use super::{Context, Emitter, Operator, OperatorError};
use crate::time::EVENT_TIME_LIMIT_US;
use crate::{Chunk, OperatorId, TumbleSpec};

/// See the module.
pub(super) struct Tumble {
    id: OperatorId,
    time_column: usize,
    size_us: i64,
    offset_us: i64,
    judge: Judge,
    schema: SchemaRef,
}

impl Tumble {
    pub(super) fn new(id: OperatorId, spec: &TumbleSpec, schema: SchemaRef) -> Self {
        Self {
            id,
            time_column: spec.time_column,
            size_us: spec.size_us,
            offset_us: spec.offset_us,
            judge: Judge::new(spec.grace_us, &spec.late),
            schema,
        }
    }
}

/// The column of a batch that holds its times.
pub(super) fn times_of(
    batch: &RecordBatch,
    column: usize,
    operator: OperatorId,
) -> Result<&TimestampMicrosecondArray, OperatorError> {
    batch
        .columns()
        .get(column)
        .and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| OperatorError::Columns {
            operator,
            reason: format!("column {column} is no timestamp in microseconds"),
        })
}

/// Where the windows of these times start, if one of them starts at `offset_us`.
pub(super) fn starts(times: &[i64], size_us: i64, offset_us: i64) -> Vec<i64> {
    let mut start = offset_us;
    let step = |&time: &i64| {
        // Most rows fall into the window of the row before: that saves a division.
        if time < start || time - start >= size_us {
            let before = time.saturating_sub(offset_us).div_euclid(size_us);
            start = before.saturating_mul(size_us).saturating_add(offset_us);
        }
        start
    };
    times.iter().map(step).collect()
}

/// Which rows have a window at all; `None`: all of them.
pub(super) fn timed(times: &TimestampMicrosecondArray) -> Option<BooleanArray> {
    let limits = -EVENT_TIME_LIMIT_US..=EVENT_TIME_LIMIT_US;
    if times.null_count() == 0 && times.values().iter().all(|time| limits.contains(time)) {
        return None;
    }
    let mask = BooleanBuffer::collect_bool(times.len(), |row| {
        times.is_valid(row) && limits.contains(&times.value(row))
    });
    Some(BooleanArray::new(mask, None))
}

/// The rows that have a window at all; the others are reported.
pub(super) fn only_timed(
    chunk: Chunk,
    time_column: usize,
    operator: OperatorId,
    context: &mut Context<'_>,
) -> Result<Chunk, OperatorError> {
    let Some(mask) = timed(times_of(&chunk.batch, time_column, operator)?) else {
        return Ok(chunk);
    };
    for row in (0..chunk.len()).filter(|&row| !mask.value(row) && chunk.sign(row) > 0) {
        let reason = "event time is NULL or out of range";
        context.effects.row_failed(&chunk, row, reason);
    }
    select(&chunk, &mask).map_err(|error| OperatorError::columns(operator, &error))
}

impl Operator for Tumble {
    fn on_chunk(
        &mut self,
        _port: usize,
        mut chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let columns_error = |error| OperatorError::columns(self.id, &error);
        chunk = only_timed(chunk, self.time_column, self.id, context)?;
        let times = times_of(&chunk.batch, self.time_column, self.id)?;
        let mut starts = starts(times.values(), self.size_us, self.offset_us);
        let ends_of = |starts: &[i64]| -> Vec<i64> {
            let ends = starts
                .iter()
                .map(|start| start.saturating_add(self.size_us));
            ends.collect()
        };
        let mut ends = ends_of(&starts);
        if let Some(kept) = self.judge.kept(&chunk, &ends, None, context) {
            starts = kept.values().set_indices().map(|row| starts[row]).collect();
            ends = ends_of(&starts);
            chunk = select(&chunk, &kept).map_err(columns_error)?;
        }
        let last: Vec<i64> = ends.iter().map(|end| end - 1000).collect();
        let mut columns: Vec<ArrayRef> = chunk.batch.columns().to_vec();
        for values in [starts, ends, last] {
            columns.push(Arc::new(TimestampMicrosecondArray::new(
                ScalarBuffer::from(values),
                None,
            )));
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(columns_error)?;
        out.emit(Chunk { batch, ..chunk }, context)
    }
}
