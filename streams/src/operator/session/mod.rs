//! Session windows: a row lies in the window of all rows of its partition that are near enough to it, by way of others.
//!
//! ```text
//! row of a chunk   ──▶ judged; its count, and the session that it begins, lengthens, joins with another or (when it goes)
//!                      shortens or splits: both in the state (`index.rs`)
//! end of an epoch  ──▶ −old +new of all rows whose session is another one now          rows leave as they come
//!                      rows of the sessions that have closed                           or they are held back until then
//! ```
//!
//! A row is late when event time has passed the end, and the grace behind it, of the session that it would begin, unless
//! another one that is open takes it: it lies inside, or right before.
//!
//! ```text
//!   late: it would make a closed one longer      ●●●●●●    ○  ●●●●●●●●●●┊          ┊ event time
//!   late: the open one began with a row that     ┊floor    ○  ●●●●●●●●●●┊
//!   was itself before event time (its floor)
//!   taken                                                  ○  ●●●●●●●●●●┊
//! ```
//!
//! Where rows are held back, a row is also late when it touches a session that has closed. So that it is known which rows
//! would touch one, the bounds of a closed session are kept as long as the next one is open and may be lengthened so far.
//! A session that begins later does not reach back there: its floor is where rows were late when it began.
//!
//! Invariants:
//! 1. Sessions of a partition are more than a gap apart, and within one no row is more than a gap behind the one before.
//! 2. At the end of an epoch every row that is there is out there with the bounds of its session; of those that are held
//!    back, every row whose session has closed.
//! 3. Of what no row that is not late can touch any more nothing is kept, and of what only decides that a row is late no
//!    rows are kept.

mod index;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;

use self::index::{Partition, Session};
use super::late::Judge;
use super::tumble::{only_timed, times_of};
use super::upsert::key_columns;
use super::{CHUNK_ROWS_MAX, Context, Emitter, Operator, OperatorError};
use crate::state::row::{self, RowReader, push_varint, read_varint};
use crate::state::{ScanOrder, State, StateError, Timers, key};
use crate::{Chunk, EdgeProperties, OperatorId, SessionSpec};

/// Timers that are dealt with at once.
const DUE_MAX: usize = 1024;
/// The last time of a timer: the one behind it is that of sessions and rows, which are none.
const LAST_DUE: i64 = i64::MAX - 1;

/// See the module.
pub(super) struct Sessions {
    id: OperatorId,
    spec: SessionSpec,
    /// Of the rows; the output has the bounds behind them.
    input: SchemaRef,
    schema: SchemaRef,
    judge: Judge,
    /// Sessions close.
    judges: bool,
    /// Rows leave when their session closes.
    holds: bool,
    timers: Timers,
    /// What this epoch has changed, where rows leave as they come.
    changed: BTreeMap<Partition, Changed>,
}

/// What an epoch has changed in a partition.
#[derive(Default)]
struct Changed {
    /// Sessions as they were before, and are not any more: last times by first ones.
    old: BTreeMap<i64, i64>,
    /// Sessions as they are now, and were not before.
    new: BTreeMap<i64, i64>,
    /// How many more of a row there are, by time and row.
    rows: BTreeMap<(i64, Vec<u8>), i64>,
}

impl Changed {
    fn replace(&mut self, gone: &[Session], come: &[Session]) {
        for session in gone {
            if self.new.get(&session.start) == Some(&session.last) {
                self.new.remove(&session.start);
            } else {
                self.old.insert(session.start, session.last);
            }
        }
        let come = come.iter().map(|session| (session.start, session.last));
        self.new.extend(come);
    }

    /// Takes out what is as it was.
    fn settle(&mut self) {
        let new = &mut self.new;
        self.old
            .retain(|start, last| match new.get(start) == Some(last) {
                true => {
                    new.remove(start);
                    false
                }
                false => true,
            });
        self.rows.retain(|_, more| *more != 0);
    }
}

/// The session of these that a time lies in.
fn around(sessions: &BTreeMap<i64, i64>, time: i64) -> bool {
    let before = sessions.range(..=time).next_back();
    before.is_some_and(|(_, last)| *last >= time)
}

/// Rows on their way out.
#[derive(Default)]
struct Leaving {
    rows: Vec<Vec<u8>>,
    signs: Vec<i8>,
    starts: Vec<i64>,
    ends: Vec<i64>,
}

impl Sessions {
    pub(super) fn new(
        id: OperatorId,
        spec: &SessionSpec,
        input: &SchemaRef,
        schema: &SchemaRef,
        rows: EdgeProperties,
    ) -> Self {
        Self {
            id,
            spec: spec.clone(),
            input: Arc::clone(input),
            schema: Arc::clone(schema),
            judge: Judge::new(spec.grace_us, &spec.late),
            judges: spec.judges(rows),
            holds: spec.holds(rows),
            timers: Timers::new(id.0),
            changed: BTreeMap::new(),
        }
    }

    /// When a session is to be looked at next.
    fn due(&self, session: Session) -> i64 {
        let waits = match self.holds && !session.has_left {
            true => 0,
            // Until no row that is not late can touch it.
            false => self.spec.gap_us,
        };
        let closes = session
            .end(self.spec.gap_us)
            .saturating_add(self.spec.grace_us);
        closes.saturating_add(waits).min(LAST_DUE)
    }

    /// Whether a session takes no rows any more once event time is there.
    fn is_closed(&self, last: i64, reached: i64) -> bool {
        let end = last.saturating_add(self.spec.gap_us);
        end.saturating_add(self.spec.grace_us) <= reached
    }

    /// Whether a row comes too late, where event time was there before it.
    fn is_late(&self, time: i64, touched: &[Session], reached: i64) -> bool {
        let is_old = self.is_closed(time, reached);
        let closed = |session: &Session| session.has_left || self.is_closed(session.last, reached);
        if (self.holds || is_old) && touched.iter().any(closed) {
            return true;
        }
        let takes = |session: &Session| session.holds(time) || session.floor < time;
        is_old && !touched.iter().any(takes)
    }

    /// The floor of the session that a row makes of those that it touches.
    fn floor(&self, touched: &[Session], reached: Option<i64>) -> i64 {
        let Some(reached) = reached else {
            return i64::MIN;
        };
        match touched.first() {
            // What was before it may be forgotten.
            Some(first) if self.is_closed(first.last, reached) => first.start,
            Some(first) => first.floor,
            None => reached
                .saturating_sub(self.spec.gap_us)
                .saturating_sub(self.spec.grace_us),
        }
    }

    /// The sessions that a row of this time touches, in their order: two at most.
    fn touched(
        &self,
        partition: &Partition,
        time: i64,
        state: &State,
    ) -> Result<Vec<Session>, StateError> {
        let mut touched = Vec::with_capacity(2);
        let before = partition.session_before(time, state)?;
        if let Some(before) = before.filter(|before| before.end(self.spec.gap_us) >= time) {
            touched.push(before);
            if before.holds(time) {
                return Ok(touched);
            }
        }
        let after = partition.session_after(time, state)?;
        let reach = time.saturating_add(self.spec.gap_us);
        touched.extend(after.filter(|after| after.start <= reach));
        Ok(touched)
    }

    fn set(&mut self, partition: &Partition, session: Session, state: &mut State) {
        // One that is longer than it was is found by its old timer, which is then set anew.
        self.set_until(partition, session, self.due(session), state);
    }

    /// Keeps a session, to be looked at again at `due`.
    fn set_until(&mut self, partition: &Partition, session: Session, due: i64, state: &mut State) {
        partition.put(session, state);
        if !self.judges {
            return;
        }
        let timer = partition.timer(due, session.start);
        self.timers.note(&timer);
        state.put(timer, Vec::new());
    }

    /// Until when a session that has closed makes rows late that would lengthen the next one to the front.
    fn parts_until(
        &self,
        partition: &Partition,
        session: Session,
        reached: i64,
        state: &State,
    ) -> Result<Option<i64>, StateError> {
        let next = partition.session_after(session.last, state)?;
        let next = next.filter(|next| {
            let is_open = !next.has_left && !self.is_closed(next.last, reached);
            is_open && next.floor < session.end(self.spec.gap_us)
        });
        Ok(next.map(|next| {
            let closes = next.end(self.spec.gap_us);
            closes.saturating_add(self.spec.grace_us).min(LAST_DUE)
        }))
    }

    /// A time that had no row has one.
    fn enter(
        &mut self,
        partition: &Partition,
        (time, reached): (i64, Option<i64>),
        touched: &[Session],
        state: &mut State,
    ) -> Vec<Session> {
        if touched.iter().any(|session| session.holds(time)) {
            return Vec::new();
        }
        let starts = touched.iter().map(|session| session.start);
        let lasts = touched.iter().map(|session| session.last);
        let session = Session {
            start: starts.fold(time, i64::min),
            last: lasts.fold(time, i64::max),
            has_left: false,
            floor: self.floor(touched, reached),
        };
        let mut is_known = false;
        for old in touched {
            if old.start == session.start {
                is_known = true;
            } else {
                partition.remove(old.start, state);
            }
        }
        match is_known {
            true => partition.put(session, state),
            false => self.set(partition, session, state),
        }
        vec![session]
    }

    /// The last row of a time has gone: what is left of its session.
    fn leave(
        &mut self,
        partition: &Partition,
        time: i64,
        session: Session,
        state: &mut State,
    ) -> Result<Vec<Session>, StateError> {
        let beside = |order, state: &State| -> Result<Option<i64>, StateError> {
            let beside = partition.time_beside(time, order, state)?;
            Ok(beside.filter(|beside| session.holds(*beside)))
        };
        let before = beside(ScanOrder::Descending, state)?;
        let after = beside(ScanOrder::Ascending, state)?;
        let piece = |start, last| Session {
            start,
            last,
            ..session
        };
        let left = match (before, after) {
            (Some(before), Some(after)) if after.saturating_sub(before) <= self.spec.gap_us => {
                return Ok(vec![session]);
            }
            (Some(before), Some(after)) => {
                vec![piece(session.start, before), piece(after, session.last)]
            }
            (Some(before), None) => vec![piece(session.start, before)],
            (None, Some(after)) => vec![piece(after, session.last)],
            (None, None) => Vec::new(),
        };
        partition.remove(session.start, state);
        for &piece in &left {
            self.set(partition, piece, state);
        }
        Ok(left)
    }

    /// Takes a row, or takes one back.
    fn take(
        &mut self,
        partition: &Partition,
        (time, sign, reached): (i64, i8, Option<i64>),
        row: &[u8],
        touched: &[Session],
        state: &mut State,
    ) -> Result<(), OperatorError> {
        let state_key = partition.row_key(time, row);
        let known = match state.get(&state_key)? {
            Some(value) => read_varint(&mut value.as_slice())?,
            None => 0,
        };
        let count = known.checked_add_signed(i64::from(sign)).ok_or_else(|| {
            OperatorError::Inconsistent {
                operator: self.id,
                reason: "a row was taken back that was never there".to_owned(),
            }
        })?;
        if count == 0 {
            state.delete(state_key);
        } else {
            let mut value = Vec::with_capacity(2);
            push_varint(count, &mut value);
            state.put(state_key, value);
        }
        let replaced = if known == 0 {
            let come = self.enter(partition, (time, reached), touched, state);
            (!come.is_empty()).then(|| (touched.to_vec(), come))
        } else if count == 0 && !partition.has_time(time, state)? {
            let gone = touched.iter().find(|session| session.holds(time)).copied();
            let gone = gone.ok_or_else(|| OperatorError::Inconsistent {
                operator: self.id,
                reason: "a row lies in no session".to_owned(),
            })?;
            Some((vec![gone], self.leave(partition, time, gone, state)?))
        } else {
            None
        };
        if self.holds {
            return Ok(());
        }
        if !self.changed.contains_key(partition) {
            self.changed.insert(partition.clone(), Changed::default());
        }
        if let Some(changed) = self.changed.get_mut(partition) {
            if let Some((gone, come)) = replaced {
                changed.replace(&gone, &come);
            }
            *changed.rows.entry((time, row.to_vec())).or_default() += i64::from(sign);
        }
        Ok(())
    }

    /// −old +new of the rows whose session is another one now.
    fn emit_changed(
        &self,
        partition: &Partition,
        mut changed: Changed,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        changed.settle();
        let mut leaving = Leaving::default();
        for (&start, &last) in &changed.old {
            let session = (start, last);
            self.walk(partition, session, context, |row_key, count, context| {
                let (time, row) = partition.row_of(row_key)?;
                let more = changed.rows.get(&(time, row.to_vec()));
                let before = i64::try_from(count).unwrap_or(i64::MAX) - more.unwrap_or(&0);
                self.put_out(&mut leaving, row, session, -before, context, out)
            })?;
            // Rows that are not there any more.
            let within = (start, Vec::new())..(last.saturating_add(1), Vec::new());
            for ((time, row), &more) in changed.rows.range(within) {
                if more < 0 && context.state.get(&partition.row_key(*time, row))?.is_none() {
                    self.put_out(&mut leaving, row, session, more, context, out)?;
                }
            }
        }
        // Rows that come or go within sessions that stay as they are.
        for ((time, row), &more) in &changed.rows {
            if around(&changed.old, *time) || around(&changed.new, *time) {
                continue;
            }
            let session = partition.session_before(*time, context.state)?;
            let session = session.ok_or_else(|| OperatorError::Inconsistent {
                operator: self.id,
                reason: "a row lies in no session".to_owned(),
            })?;
            let session = (session.start, session.last);
            self.put_out(&mut leaving, row, session, more, context, out)?;
        }
        for (&start, &last) in &changed.new {
            let session = (start, last);
            self.walk(partition, session, context, |row_key, count, context| {
                let (_, row) = partition.row_of(row_key)?;
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.put_out(&mut leaving, row, session, count, context, out)
            })?;
        }
        self.emit(leaving, context, out)
    }

    /// Visits the rows of a session, from its first time to its last, as the state has them.
    fn walk(
        &self,
        partition: &Partition,
        times: (i64, i64),
        context: &mut Context<'_>,
        mut visit: impl FnMut(&[u8], u64, &mut Context<'_>) -> Result<(), OperatorError>,
    ) -> Result<(), OperatorError> {
        let mut behind: Option<Vec<u8>> = None;
        loop {
            let page = partition.page(times, behind.as_deref(), CHUNK_ROWS_MAX, context.state)?;
            for (row_key, count) in &page {
                visit(row_key, *count, context)?;
            }
            let is_full = page.len() == CHUNK_ROWS_MAX;
            behind = page.into_iter().next_back().map(|(row_key, _)| row_key);
            if !is_full {
                return Ok(());
            }
        }
    }

    /// Puts a row of a session out so many times, or takes it back.
    fn put_out(
        &self,
        leaving: &mut Leaving,
        row: &[u8],
        (start, last): (i64, i64),
        count: i64,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        for _ in 0..count.unsigned_abs() {
            leaving.rows.push(row.to_vec());
            leaving.signs.push(if count < 0 { -1 } else { 1 });
            leaving.starts.push(start);
            leaving.ends.push(last.saturating_add(self.spec.gap_us));
            if leaving.rows.len() >= CHUNK_ROWS_MAX {
                self.emit(std::mem::take(leaving), context, out)?;
            }
        }
        Ok(())
    }

    fn emit(
        &self,
        leaving: Leaving,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        if leaving.rows.is_empty() {
            return Ok(());
        }
        let mut reader = RowReader::new(&self.input)?;
        for row in &leaving.rows {
            reader.push(row)?;
        }
        let mut columns = reader.finish().columns().to_vec();
        let last = leaving.ends.iter().map(|end| end - 1000).collect();
        for bounds in [leaving.starts, leaving.ends, last] {
            columns.push(Arc::new(TimestampMicrosecondArray::from(bounds)) as ArrayRef);
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| OperatorError::columns(self.id, &error))?;
        let diff = leaving.signs.contains(&-1);
        let diff = diff.then(|| Int8Array::from(leaving.signs));
        let chunk = Chunk {
            diff,
            ..Chunk::inserts(batch)
        };
        out.emit(chunk, context)
    }

    /// Lets the rows of closed sessions go: out, where they were held back, and from the state.
    fn close(
        &mut self,
        partition: &Partition,
        session: Session,
        reached: i64,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let times = (session.start, session.last);
        if self.holds && !session.has_left {
            let mut leaving = Leaving::default();
            self.walk(partition, times, context, |row_key, count, context| {
                let (_, row) = partition.row_of(row_key)?;
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.put_out(&mut leaving, row, times, count, context, out)
            })?;
            self.emit(leaving, context, out)?;
        }
        let mut has_rows = !session.has_left;
        while has_rows {
            let page = partition.page(times, None, CHUNK_ROWS_MAX, context.state)?;
            has_rows = page.len() == CHUNK_ROWS_MAX;
            for (row_key, _) in page {
                context.state.delete(row_key);
            }
        }
        let left = Session {
            has_left: true,
            ..session
        };
        // That it was there is of use as long as a row may touch it that is not late, or is late because it does.
        let parts = self.parts_until(partition, left, reached, context.state)?;
        let until = parts.map_or(self.due(left), |parts| parts.max(self.due(left)));
        match until > reached {
            true => self.set_until(partition, left, until, context.state),
            false => partition.remove(session.start, context.state),
        }
        Ok(())
    }

    /// Deals with the sessions whose timers are due.
    fn close_due(
        &mut self,
        reached: i64,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        loop {
            let due = (self.timers).take_due(reached.min(LAST_DUE), DUE_MAX, context.state)?;
            let count = due.len();
            for (timer, _) in due {
                let (partition, start) = Partition::of_timer(&timer)?;
                context.state.delete(timer);
                let Some(session) = partition.session(start, context.state)? else {
                    continue;
                };
                if self.due(session) <= reached {
                    self.close(&partition, session, reached, context, out)?;
                } else {
                    self.set(&partition, session, context.state);
                }
            }
            if count < DUE_MAX {
                return Ok(());
            }
        }
    }
}

impl Operator for Sessions {
    fn open(&mut self, state: &State) -> Result<(), OperatorError> {
        if self.judges {
            self.timers.open(state)?;
        }
        Ok(())
    }

    fn on_chunk(
        &mut self,
        _port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        _out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let chunk = only_timed(chunk, self.spec.time_column, self.id, context)?;
        let times = times_of(&chunk.batch, self.spec.time_column, self.id)?;
        let by = key_columns(&chunk.batch, &self.spec.partition_by)?;
        let columns = row::columns_of(chunk.batch.columns())?;
        let (mut cells, mut bytes) = (Vec::new(), Vec::new());
        for index in 0..chunk.len() {
            cells.clear();
            key::push_row(&by, index, &mut cells);
            let partition = Partition::new(self.id.0, &cells);
            let (time, sign) = (times.value(index), chunk.sign(index));
            let touched = self.touched(&partition, time, context.state)?;
            let reached = self.judge.reached(&chunk, index, context);
            if let Some(reached) = reached
                && self.is_late(time, &touched, reached)
            {
                let end = time.saturating_add(self.spec.gap_us);
                self.judge.report(&chunk, index, end, context);
                if self.judges {
                    continue;
                }
            }
            bytes.clear();
            row::push_row(&columns, index, &mut bytes);
            let row = (time, sign, reached);
            self.take(&partition, row, &bytes, &touched, context.state)?;
        }
        Ok(())
    }

    fn on_epoch_end(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        for (partition, changed) in std::mem::take(&mut self.changed) {
            self.emit_changed(&partition, changed, context, out)?;
        }
        match context.watermark.reached() {
            Some(reached) if self.judges => self.close_due(reached, context, out),
            _ => Ok(()),
        }
    }

    fn dirty_bytes(&self) -> usize {
        let rows = self.changed.values().map(|changed| changed.rows.len());
        rows.sum::<usize>() * 64
    }
}
