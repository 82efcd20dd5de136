//! Tumbling windows: adds `window_start`, `window_end` and `window_time`, and takes late rows out.
//!
//! ```text
//! window of time t   [floor(t / size) · size, + size)     half-open, aligned to 1970-01-01 UTC, negative times too
//! window_time        window_end − 1 ms
//! late               window_end + grace <= watermark before the row
//! ```
//!
//! Lateness is decided row by row, against event time as the rows before it have left it, so that it does not depend on
//! how rows are cut into chunks. A chunk whose rows are no source records any more (behind a join) is judged by the
//! event time at the end of the epoch before.
//!
//! Invariants:
//! 1. Event time is never taken as less than what the last epoch ended with: a window that was closed stays closed.
//! 2. A row whose time is NULL has no window: it goes to the error topic.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use chrono::DateTime;

use super::effects::source_of;
use super::filter::select;
use super::{Context, Effects, Emitter, Operator, OperatorError, SideRecord};
use crate::{Chunk, LatePolicy, OperatorId, TumbleSpec};

/// Times beyond this (±146,000 years) would overflow; they have no window.
const TIME_LIMIT_US: i64 = i64::MAX / 2;

/// See the module.
pub(super) struct Tumble {
    id: OperatorId,
    spec: TumbleSpec,
    late_topic: Option<Arc<str>>,
    schema: SchemaRef,
}

impl Tumble {
    pub(super) fn new(id: OperatorId, spec: TumbleSpec, schema: SchemaRef) -> Self {
        let late_topic = match &spec.late {
            LatePolicy::To(topic) => Some(Arc::from(topic.as_str())),
            LatePolicy::Drop | LatePolicy::Update => None,
        };
        Self {
            id,
            spec,
            late_topic,
            schema,
        }
    }

    fn starts(&self, times: &[i64]) -> Vec<i64> {
        let size = self.spec.size_us;
        let mut start = 0;
        let step = |&time: &i64| {
            // Most rows fall into the window of the row before: that saves a division.
            if time < start || time - start >= size {
                start = time.div_euclid(size) * size;
            }
            start
        };
        times.iter().map(step).collect()
    }

    /// The rows that come too late; `None`: none.
    fn late_rows(
        &self,
        chunk: &Chunk,
        starts: &[i64],
        watermark: Option<i64>,
    ) -> Option<BooleanBuffer> {
        let takes_until = self.spec.size_us.saturating_add(self.spec.grace_us);
        let floor = watermark.unwrap_or(i64::MIN);
        let running = chunk
            .origin
            .as_ref()
            .and_then(|origin| Some((&**origin.rows.values(), origin.watermarks.as_ref()?)));
        let is_late = |row: usize| {
            let reached = running.map_or(floor, |(rows, watermarks)| {
                watermarks[rows[row] as usize].max(floor)
            });
            starts[row].saturating_add(takes_until) <= reached
        };
        let earliest = starts
            .iter()
            .copied()
            .min()
            .unwrap_or(i64::MAX)
            .saturating_add(takes_until);
        let latest = running
            .and_then(|(rows, watermarks)| watermarks.get(*rows.last()? as usize))
            .map_or(floor, |&last| last.max(floor));
        // Event time only rises within a chunk: if its last value makes no row late, none is.
        if earliest > latest {
            return None;
        }
        let late = BooleanBuffer::collect_bool(starts.len(), is_late);
        late.has_true().then_some(late)
    }

    fn report_late(
        &self,
        chunk: &Chunk,
        row: usize,
        context_watermark: Option<i64>,
        effects: &mut Effects,
    ) {
        let (Some(topic), Some(origin)) = (&self.late_topic, &chunk.origin) else {
            return;
        };
        let records = &origin.records;
        let record = origin.rows.value(row) as usize;
        let reached = origin
            .watermarks
            .as_ref()
            .map_or(i64::MIN, |watermarks| watermarks[record]);
        let reached = reached.max(context_watermark.unwrap_or(i64::MIN));
        effects.record(SideRecord {
            topic: Arc::clone(topic),
            timestamp_ms: records.timestamps.value(record),
            key: records.key(record).map(<[u8]>::to_vec),
            value: records.value(record).map(<[u8]>::to_vec),
            headers: vec![
                ("thalweg.late.windows", b"1".to_vec()),
                ("thalweg.late.watermark", iso8601(reached).into_bytes()),
                (
                    "thalweg.late.source",
                    source_of(records, record).into_bytes(),
                ),
            ],
        });
    }
}

/// A time in µs as `2013-01-01T10:00:00.000000`, without trailing zeros.
pub(crate) fn iso8601(time_us: i64) -> String {
    match DateTime::from_timestamp_micros(time_us) {
        Some(time) => time.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
        None => format!("{time_us} µs"),
    }
}

/// The rows that have a window at all; `None`: all of them.
fn timed(times: &TimestampMicrosecondArray) -> Option<BooleanArray> {
    let in_range = |time: i64| (-TIME_LIMIT_US..=TIME_LIMIT_US).contains(&time);
    if times.null_count() == 0 && times.values().iter().all(|&time| in_range(time)) {
        return None;
    }
    let mask = BooleanBuffer::collect_bool(times.len(), |row| {
        times.is_valid(row) && in_range(times.value(row))
    });
    Some(BooleanArray::new(mask, None))
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
        let time_column = self.spec.time_column;
        let times_of = |batch: &RecordBatch| -> Result<TimestampMicrosecondArray, OperatorError> {
            let times = batch
                .columns()
                .get(time_column)
                .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
            times.cloned().ok_or_else(|| OperatorError::Columns {
                operator: self.id,
                reason: format!("column {time_column} is no timestamp in microseconds"),
            })
        };
        let mut times = times_of(&chunk.batch)?;
        if let Some(mask) = timed(&times) {
            for row in (0..chunk.len()).filter(|&row| !mask.value(row) && chunk.sign(row) > 0) {
                context
                    .effects
                    .row_failed(&chunk, row, "event time is NULL or out of range");
            }
            chunk = select(&chunk, &mask).map_err(columns_error)?;
            times = times_of(&chunk.batch)?;
        }
        let mut starts = self.starts(times.values());
        if let Some(late) = self.late_rows(&chunk, &starts, context.watermark) {
            for row in late.set_indices() {
                // The old row of an update stands and falls with the new one, and is not counted twice.
                if chunk.sign(row) > 0 {
                    context.effects.late += 1;
                    self.report_late(&chunk, row, context.watermark, context.effects);
                }
            }
            if self.spec.late != LatePolicy::Update {
                let kept = BooleanArray::new(!&late, None);
                starts = kept.values().set_indices().map(|row| starts[row]).collect();
                chunk = select(&chunk, &kept).map_err(columns_error)?;
            }
        }
        let size = self.spec.size_us;
        let ends: Vec<i64> = starts.iter().map(|start| start + size).collect();
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
