//! Session windows: a row lies in the window of all rows of its partition that are near enough to it, by way of others.
//!
//! ```text
//! chunk            ──▶ its partitions are brought into memory (`cache.rs`), where rows then find their sessions (`place.rs`)
//! row of a chunk   ──▶ judged; its count, and the session that it begins, lengthens, joins with another or (when it goes)
//!                      shortens or splits: both in the state too (`index.rs`)
//! end of an epoch  ──▶ −old +new of all rows whose session is another one now (`changed.rs`)     rows leave as they come
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

mod cache;
mod changed;
mod index;
mod leaving;
mod place;
#[cfg(test)]
mod tests;

use std::ops::Bound;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use self::cache::Cache;
use self::index::{Partition, Session, first_row, parts_of};
use self::leaving::Leaving;
use self::place::Place;
use super::late::Judge;
use super::tumble::{only_timed, times_of};
use super::upsert::key_columns;
use super::{CHUNK_ROWS_MAX, Context, Emitter, Memory, Operator, OperatorError};
use crate::state::{ScanOrder, State, StateError, Timers, key, row};
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
    cache: Cache,
}

/// The sessions that a row touches: two at most.
#[derive(Default)]
struct Touched {
    sessions: [Session; 2],
    count: usize,
}

impl Touched {
    fn push(&mut self, session: Session) {
        self.sessions[self.count] = session;
        self.count += 1;
    }

    fn sessions(&self) -> &[Session] {
        &self.sessions[..self.count]
    }
}

impl Sessions {
    pub(super) fn new(
        id: OperatorId,
        spec: &SessionSpec,
        input: &SchemaRef,
        schema: &SchemaRef,
        rows: EdgeProperties,
        memory: &Memory,
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
            cache: Cache::new(id.0, memory),
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
    fn touched(&self, place: &Place, time: i64, state: &State) -> Result<Touched, StateError> {
        let mut touched = Touched::default();
        let before = place.session_before(time, state)?;
        if let Some(before) = before.filter(|before| before.end(self.spec.gap_us) >= time) {
            touched.push(before);
            if before.holds(time) {
                return Ok(touched);
            }
        }
        let after = place.session_after(time, state)?;
        let reach = time.saturating_add(self.spec.gap_us);
        if let Some(after) = after.filter(|after| after.start <= reach) {
            touched.push(after);
        }
        Ok(touched)
    }

    fn set(&mut self, place: &mut Place, session: Session, state: &mut State) {
        // One that is longer than it was is found by its old timer, which is then set anew.
        self.set_until(place, session, self.due(session), state);
    }

    /// Keeps a session, to be looked at again at `due`.
    fn set_until(&mut self, place: &mut Place, session: Session, due: i64, state: &mut State) {
        place.put(session, state);
        if !self.judges {
            return;
        }
        let timer = place.partition.timer(due, session.start);
        self.timers.note(&timer);
        state.put(timer, Vec::new());
    }

    /// Until when a session that has closed makes rows late that would lengthen the next one to the front.
    fn parts_until(
        &self,
        place: &Place,
        session: Session,
        reached: i64,
        state: &State,
    ) -> Result<Option<i64>, StateError> {
        let next = place.session_after(session.last, state)?;
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
        place: &mut Place,
        (time, reached): (i64, Option<i64>),
        touched: &[Session],
        state: &mut State,
    ) -> Option<Session> {
        if touched.iter().any(|session| session.holds(time)) {
            return None;
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
                place.remove(old.start, state);
            }
        }
        match is_known {
            true => place.put(session, state),
            false => self.set(place, session, state),
        }
        Some(session)
    }

    /// The last row of a time has gone: what is left of its session.
    fn leave(
        &mut self,
        place: &mut Place,
        time: i64,
        session: Session,
        state: &mut State,
    ) -> Result<Vec<Session>, StateError> {
        let beside = |order| -> Result<Option<i64>, StateError> {
            let beside = place.time_beside(time, order, state)?;
            Ok(beside.filter(|beside| session.holds(*beside)))
        };
        let before = beside(ScanOrder::Descending)?;
        let after = beside(ScanOrder::Ascending)?;
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
        place.remove(session.start, state);
        for &piece in &left {
            self.set(place, piece, state);
        }
        Ok(left)
    }

    /// Takes a row, or takes one back.
    fn take(
        &mut self,
        place: &mut Place,
        (time, sign, reached): (i64, i8, Option<i64>),
        row: &[u8],
        touched: &[Session],
        state: &mut State,
    ) -> Result<(), OperatorError> {
        // Every row lies in a session: one that lies in none was not there.
        let known = match touched.iter().any(|session| session.holds(time)) {
            true => place.count(row, state)?,
            false => 0,
        };
        let count = known.checked_add_signed(i64::from(sign)).ok_or_else(|| {
            OperatorError::Inconsistent {
                operator: self.id,
                reason: "a row was taken back that was never there".to_owned(),
            }
        })?;
        place.set_count(row, count, state);
        if !self.holds {
            place.changed.count(row, i64::from(sign));
        }
        if known == 0 {
            let come = self.enter(place, (time, reached), touched, state);
            if let Some(come) = come.filter(|_| !self.holds) {
                place.changed.replace(touched, &[come]);
            }
        } else if count == 0 && !place.has_time(time, state)? {
            let gone = touched.iter().find(|session| session.holds(time)).copied();
            let gone = gone.ok_or_else(|| OperatorError::Inconsistent {
                operator: self.id,
                reason: "a row lies in no session".to_owned(),
            })?;
            let left = self.leave(place, time, gone, state)?;
            if !self.holds {
                place.changed.replace(&[gone], &left);
            }
        }
        Ok(())
    }

    /// Judges a row of a chunk, and takes it unless it is late.
    fn on_row(
        &mut self,
        place: &mut Place,
        (chunk, index): (&Chunk, usize),
        row: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), OperatorError> {
        let (time, _) = parts_of(row)?;
        let touched = self.touched(place, time, context.state)?;
        let reached = self.judge.reached(chunk, index, context);
        if let Some(reached) = reached
            && self.is_late(time, touched.sessions(), reached)
        {
            let end = time.saturating_add(self.spec.gap_us);
            self.judge.report(chunk, index, end, context);
            if self.judges {
                return Ok(());
            }
        }
        place.is_touched = true;
        let taken = (time, chunk.sign(index), reached);
        self.take(place, taken, row, touched.sessions(), context.state)
    }

    /// −old +new of the rows whose session is another one now.
    fn emit_changed(
        &self,
        place: &mut Place,
        leaving: &mut Leaving,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let mut changed = std::mem::take(&mut place.changed);
        changed.settle();
        for (&start, &last) in &changed.old {
            let session = (start, last);
            walk(place, session, context, |row, count, context| {
                let (_, columns) = parts_of(row)?;
                let more = changed.rows.get(row);
                let before = i64::try_from(count).unwrap_or(i64::MAX) - more.unwrap_or(&0);
                leaving.put_out(columns, session, -before, context, out)
            })?;
            // Rows that are not there any more.
            let (from, to) = (first_row(start), first_row(last.saturating_add(1)));
            let within = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
            for (row, &more) in changed.rows.range::<[u8], _>(within) {
                if more < 0 && place.count(row, context.state)? == 0 {
                    let (_, columns) = parts_of(row)?;
                    leaving.put_out(columns, session, more, context, out)?;
                }
            }
        }
        // Rows that come or go within sessions that stay as they are.
        for (row, &more) in &changed.rows {
            let (time, columns) = parts_of(row)?;
            if changed.moves(time) {
                continue;
            }
            let session = place.session_before(time, context.state)?;
            let session = session.ok_or_else(|| OperatorError::Inconsistent {
                operator: self.id,
                reason: "a row lies in no session".to_owned(),
            })?;
            let session = (session.start, session.last);
            leaving.put_out(columns, session, more, context, out)?;
        }
        for (&start, &last) in &changed.new {
            let session = (start, last);
            walk(place, session, context, |row, count, context| {
                let (_, columns) = parts_of(row)?;
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                leaving.put_out(columns, session, count, context, out)
            })?;
        }
        Ok(())
    }

    fn leaving(&self) -> Result<Leaving, OperatorError> {
        Leaving::new(self.id, self.spec.gap_us, &self.input, &self.schema)
    }

    /// Lets the rows of closed sessions go: out, where they were held back, and from the state.
    fn close(
        &mut self,
        place: &mut Place,
        (session, reached): (Session, i64),
        leaving: &mut Leaving,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let times = (session.start, session.last);
        if self.holds && !session.has_left {
            walk(place, times, context, |row, count, context| {
                let (_, columns) = parts_of(row)?;
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                leaving.put_out(columns, times, count, context, out)
            })?;
        }
        if !session.has_left {
            place.forget_rows(times, CHUNK_ROWS_MAX, context.state)?;
        }
        let left = Session {
            has_left: true,
            ..session
        };
        // That it was there is of use as long as a row may touch it that is not late, or is late because it does.
        let parts = self.parts_until(place, left, reached, context.state)?;
        let until = parts.map_or(self.due(left), |parts| parts.max(self.due(left)));
        match until > reached {
            true => self.set_until(place, left, until, context.state),
            false => place.remove(session.start, context.state),
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
        let mut leaving = self.leaving()?;
        loop {
            let due = (self.timers).take_due(reached.min(LAST_DUE), DUE_MAX, context.state)?;
            let count = due.len();
            for (timer, _) in due {
                let (partition, start) = Partition::of_timer(&timer)?;
                context.state.delete(timer);
                let number = self.cache.number(&partition);
                let mut place = match number {
                    Some(number) => self.cache.lend(number),
                    None => Place::new(partition),
                };
                match place.session(start, context.state)? {
                    Some(session) if self.due(session) <= reached => {
                        self.close(&mut place, (session, reached), &mut leaving, context, out)?;
                    }
                    Some(session) => self.set(&mut place, session, context.state),
                    None => {}
                }
                if let Some(number) = number {
                    self.cache.give_back(number, place);
                }
            }
            if count < DUE_MAX {
                return leaving.emit(context, out);
            }
        }
    }
}

impl Operator for Sessions {
    fn open(&mut self, state: &State) -> Result<(), OperatorError> {
        if self.judges {
            self.timers.open(state)?;
        }
        Ok(self.cache.open(state)?)
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
        let places = self.cache.admit(&by, chunk.len(), context.state)?;
        let mut bytes = Vec::new();
        for (index, number) in places.into_iter().enumerate() {
            bytes.clear();
            key::push_i64(times.value(index), &mut bytes);
            row::push_row(&columns, index, &mut bytes);
            let mut place = self.cache.lend(number);
            self.on_row(&mut place, (&chunk, index), &bytes, context)?;
            self.cache.give_back(number, place);
        }
        Ok(())
    }

    fn on_epoch_end(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let changed = self.cache.take_changed();
        if !changed.is_empty() {
            let mut leaving = self.leaving()?;
            for number in changed {
                let mut place = self.cache.lend(number);
                self.emit_changed(&mut place, &mut leaving, context, out)?;
                place.is_listed = false;
                self.cache.give_back(number, place);
            }
            leaving.emit(context, out)?;
        }
        match context.watermark.reached() {
            Some(reached) if self.judges => self.close_due(reached, context, out),
            _ => Ok(()),
        }
    }

    fn on_commit(&mut self, state: &mut State) -> Result<(), OperatorError> {
        self.cache.save(state);
        Ok(())
    }

    fn after_commit(&mut self) {
        self.cache.shrink();
    }

    fn dirty_bytes(&self) -> usize {
        self.cache.waiting() * 64
    }

    fn size_bytes(&self) -> usize {
        self.cache.size_bytes()
    }
}

/// Visits the rows of a session, from its first time to its last.
fn walk(
    place: &Place,
    times: (i64, i64),
    context: &mut Context<'_>,
    mut visit: impl FnMut(&[u8], u64, &mut Context<'_>) -> Result<(), OperatorError>,
) -> Result<(), OperatorError> {
    if let Some(mut rows) = place.held_rows(times) {
        return rows.try_for_each(|(row, count)| visit(row, count, context));
    }
    let mut behind: Option<Vec<u8>> = None;
    loop {
        let page =
            (place.partition).page(times, behind.as_deref(), CHUNK_ROWS_MAX, context.state)?;
        for (row, count) in &page {
            visit(row, *count, context)?;
        }
        let is_full = page.len() == CHUNK_ROWS_MAX;
        behind = page.into_iter().next_back().map(|(row, _)| row);
        if !is_full {
            return Ok(());
        }
    }
}
