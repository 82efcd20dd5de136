//! Late rows: what comes for a window that event time has left behind goes to the late topic.
//!
//! ```text
//! late               window_end + grace <= watermark before the row
//! source ── map/filter ──┬─▶ Tumble                                judges by itself
//!                        └─▶ Late ─▶ join, aggregation ─▶ Tumble   judged before the row loses its record
//! ```
//!
//! Lateness is told of source records only, row by row, against event time as the records before it have left it: so it
//! does not depend on how rows are cut into chunks. What a table, a join or an aggregation gives is a correction of what
//! they gave before, and never late.
//!
//! Invariant: event time is never taken as less than what the last epoch ended with: a window that was closed stays
//! closed.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;
use chrono::DateTime;

use super::effects::source_of;
use super::filter::select;
use super::tumble::{starts, timed, times_of};
use super::{Context, Emitter, Operator, OperatorError, SideRecord};
use crate::{Chunk, LatePolicy, OperatorId, Origin, TumbleSpec};

/// Judges rows, as a window asks for it.
pub(super) struct Judge {
    grace_us: i64,
    late: LatePolicy,
    topic: Option<Arc<str>>,
}

impl Judge {
    pub(super) fn new(grace_us: i64, late: &LatePolicy) -> Self {
        Self {
            grace_us,
            late: late.clone(),
            topic: match late {
                LatePolicy::To(topic) => Some(Arc::from(topic.as_str())),
                LatePolicy::Drop | LatePolicy::Update => None,
            },
        }
    }

    /// Counts and reports the late rows of a chunk, whose windows end at `ends`; gives the rows to go on with, where
    /// these are not all. `repeated`: the number of the row behind each, where it is there once a window; neighbours of
    /// one number are one row to who counts.
    pub(super) fn kept(
        &self,
        chunk: &Chunk,
        ends: &[i64],
        repeated: Option<&[u32]>,
        context: &mut Context<'_>,
    ) -> Option<BooleanArray> {
        let origin = chunk.origin.as_ref()?;
        let floor = context.watermark.reached().unwrap_or(i64::MIN);
        let late = self.late_rows(origin, ends, floor)?;
        // The old row of an update stands and falls with the new one, and is not counted twice.
        let counted: Vec<usize> = late
            .set_indices()
            .filter(|&row| chunk.sign(row) > 0)
            .collect();
        let of_one_row = |left: &usize, right: &usize| {
            repeated.is_some_and(|repeated| repeated[*left] == repeated[*right])
        };
        for windows in counted.chunk_by(of_one_row) {
            self.count(origin, windows[0], windows.len(), floor, context);
        }
        if let Some(&row) = counted.last() {
            self.tell(origin, row, ends[row], floor, context);
        }
        (self.late != LatePolicy::Update).then(|| BooleanArray::new(!&late, None))
    }

    /// Event time before row `row`; `None`: it is no record that comes, and so never late.
    pub(super) fn reached(&self, chunk: &Chunk, row: usize, context: &Context<'_>) -> Option<i64> {
        let origin = chunk.origin.as_ref().filter(|_| chunk.sign(row) > 0)?;
        let floor = context.watermark.reached().unwrap_or(i64::MIN);
        Some(reached(origin, row, floor))
    }

    /// Counts and reports a row that is late for a window that ends at `end`.
    pub(super) fn report(&self, chunk: &Chunk, row: usize, end: i64, context: &mut Context<'_>) {
        let Some(origin) = &chunk.origin else { return };
        let floor = context.watermark.reached().unwrap_or(i64::MIN);
        self.count(origin, row, 1, floor, context);
        self.tell(origin, row, end, floor, context);
    }

    fn count(
        &self,
        origin: &Origin,
        row: usize,
        windows: usize,
        floor: i64,
        context: &mut Context<'_>,
    ) {
        context.effects.late += 1;
        if let Some(topic) = &self.topic {
            let record = late_record(topic, origin, row, windows, floor);
            context.effects.record(record);
        }
    }

    fn tell(&self, origin: &Origin, row: usize, end: i64, floor: i64, context: &mut Context<'_>) {
        let record = origin.rows.value(row) as usize;
        context.effects.last_late = Some(format!(
            "{}: its window closed at {}, event time was {}",
            source_of(&origin.records, record),
            iso8601(end.saturating_add(self.grace_us)),
            iso8601(reached(origin, row, floor)),
        ));
    }

    /// The rows that come too late; `None`: none.
    fn late_rows(&self, origin: &Origin, ends: &[i64], floor: i64) -> Option<BooleanBuffer> {
        let earliest = ends.iter().copied().min()?;
        // Event time only rises within a chunk: if its last value makes no row late, none is.
        let latest = reached(origin, ends.len() - 1, floor);
        if earliest.saturating_add(self.grace_us) > latest {
            return None;
        }
        let late = BooleanBuffer::collect_bool(ends.len(), |row| {
            ends[row].saturating_add(self.grace_us) <= reached(origin, row, floor)
        });
        late.has_true().then_some(late)
    }
}

/// Event time before row `row`, µs.
fn reached(origin: &Origin, row: usize, floor: i64) -> i64 {
    match &origin.watermarks {
        Some(watermarks) => watermarks[origin.rows.value(row) as usize].max(floor),
        None => floor,
    }
}

fn late_record(
    topic: &Arc<str>,
    origin: &Origin,
    row: usize,
    windows: usize,
    floor: i64,
) -> SideRecord {
    let records = &origin.records;
    let record = origin.rows.value(row) as usize;
    let watermark = iso8601(reached(origin, row, floor));
    SideRecord {
        topic: Arc::clone(topic),
        timestamp_ms: records.timestamps.value(record),
        key: records.key(record).map(<[u8]>::to_vec),
        value: records.value(record).map(<[u8]>::to_vec),
        headers: vec![
            ("thalweg.late.windows", windows.to_string().into_bytes()),
            ("thalweg.late.watermark", watermark.into_bytes()),
            (
                "thalweg.late.source",
                source_of(records, record).into_bytes(),
            ),
        ],
    }
}

/// A time in µs as `2013-01-01T10:00:00.000000`, without trailing zeros.
pub(crate) fn iso8601(time_us: i64) -> String {
    match DateTime::from_timestamp_micros(time_us) {
        Some(time) => time.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
        None => format!("{time_us} µs"),
    }
}

/// Takes late rows out before what comes next makes them unrecognizable.
pub(super) struct Late {
    id: OperatorId,
    time_column: usize,
    size_us: i64,
    offset_us: i64,
    judge: Judge,
}

impl Late {
    pub(super) fn new(id: OperatorId, spec: &TumbleSpec) -> Self {
        Self {
            id,
            time_column: spec.time_column,
            size_us: spec.size_us,
            offset_us: spec.offset_us,
            judge: Judge::new(spec.grace_us, &spec.late),
        }
    }
}

impl Operator for Late {
    fn on_chunk(
        &mut self,
        _port: usize,
        mut chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let times = times_of(&chunk.batch, self.time_column, self.id)?;
        let starts = starts(times.values(), self.size_us, self.offset_us).into_iter();
        let mut ends: Vec<i64> = starts
            .map(|start| start.saturating_add(self.size_us))
            .collect();
        if let Some(timed) = timed(times) {
            // A row without a window is for the window to refuse.
            let untimed = !timed.values();
            untimed.set_indices().for_each(|row| ends[row] = i64::MAX);
        }
        if let Some(kept) = self.judge.kept(&chunk, &ends, None, context) {
            chunk =
                select(&chunk, &kept).map_err(|error| OperatorError::columns(self.id, &error))?;
        }
        out.emit(chunk, context)
    }
}
