//! Rows that are there while the clock is between two times of theirs: they come when it reaches the first, and go when it
//! reaches the second.
//!
//! ```text
//!              from               until
//!  ── not yet ──┼── there (+1) ────┼── gone (−1) ──▶ clock
//! ```
//!
//! State:
//!
//! ```text
//! [operator][vnode][time i64][row] → [count varint][0][until i64]     a row that is not there yet
//!                                    [count varint][1]                one that is, and goes then
//! [operator]clock                  → [time i64]                       what the clock was at the last commit
//! ```
//!
//! The clock is that of the turn (`Effects::clock_us`), and never falls, restarts included: a row that has gone stays away.
//! What goes no more, or has gone, is not kept.
//!
//! Invariants:
//! 1. At the end of an epoch the rows that are out are those of the input for which from <= clock < until.
//! 2. The state holds exactly the rows of the input that have still to come or to go.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int8Array};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};

use super::filter::select;
use super::{CHUNK_ROWS_MAX, Context, Emitter, Operator, OperatorError};
use crate::state::row::{self, RowReader, push_varint, read_varint};
use crate::state::{State, StateError, Timers, key};
use crate::{Chunk, OperatorId, VisibleSpec};

/// What the state calls the clock.
const CLOCK: &str = "clock";

const COMES: u8 = 0;
const GOES: u8 = 1;

/// See the module.
pub(super) struct Visible {
    id: OperatorId,
    spec: VisibleSpec,
    schema: SchemaRef,
    /// What rows were judged by last; `None`: none was.
    clock: Option<i64>,
    timers: Timers,
}

/// What is to happen to a row.
enum Event {
    /// It comes, and goes then.
    Comes(i64),
    Goes,
}

impl Visible {
    pub(super) fn new(id: OperatorId, spec: &VisibleSpec, schema: &SchemaRef) -> Self {
        Self {
            id,
            spec: spec.clone(),
            schema: Arc::clone(schema),
            clock: None,
            timers: Timers::new(id.0),
        }
    }

    /// Lets come and go what is due by now; gives what the clock is.
    fn advance(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<i64, OperatorError> {
        let now = context.effects.clock_us();
        let now = self.clock.map_or(now, |clock| clock.max(now));
        self.clock = Some(now);
        loop {
            let due = self.timers.take_due(now, CHUNK_ROWS_MAX, context.state)?;
            let is_last = due.len() < CHUNK_ROWS_MAX;
            let mut rows = RowReader::new(&self.schema)?;
            let mut signs = Vec::new();
            for (state_key, value) in due {
                let (count, event) = read(&value)?;
                let row = state_key.get(12..).ok_or_else(corrupt)?;
                context.state.delete(state_key.clone());
                let sign = match event {
                    Event::Comes(until) if until <= now => continue,
                    Event::Comes(until) => {
                        self.keep(context.state, until, row, &Event::Goes, count)?;
                        1
                    }
                    Event::Goes => -1,
                };
                for _ in 0..count {
                    signs.push(sign);
                    rows.push(row)?;
                }
            }
            if !signs.is_empty() {
                let chunk = Chunk {
                    diff: Some(Int8Array::from(signs)),
                    ..Chunk::inserts(rows.finish())
                };
                out.emit(chunk, context)?;
            }
            if is_last {
                return Ok(now);
            }
        }
    }

    /// Adds to how often an event is to happen to a row.
    fn keep(
        &mut self,
        state: &mut State,
        at: i64,
        row: &[u8],
        event: &Event,
        count: i64,
    ) -> Result<(), OperatorError> {
        // What goes at the end of time stays.
        if at == i64::MAX {
            return Ok(());
        }
        let mut state_key = Vec::with_capacity(row.len() + 12);
        key::start(self.id.0, row, &mut state_key);
        key::push_i64(at, &mut state_key);
        state_key.extend_from_slice(row);
        let before = match state.get(&state_key)? {
            Some(value) => read(&value)?.0,
            None => 0,
        };
        match before + count {
            ..0 => Err(OperatorError::Inconsistent {
                operator: self.id,
                reason: "a row was taken back that was never there".to_owned(),
            }),
            0 => {
                state.delete(state_key);
                Ok(())
            }
            now => {
                self.timers.note(&state_key);
                state.put(state_key, value_of(now, event));
                Ok(())
            }
        }
    }
}

fn corrupt() -> StateError {
    StateError::Corrupt {
        what: "row that waits for the clock",
        reason: "it ends too early".to_owned(),
    }
}

fn value_of(count: i64, event: &Event) -> Vec<u8> {
    let mut value = Vec::with_capacity(12);
    push_varint(count.unsigned_abs(), &mut value);
    match event {
        Event::Comes(until) => {
            value.push(COMES);
            value.extend_from_slice(&until.to_be_bytes());
        }
        Event::Goes => value.push(GOES),
    }
    value
}

fn read(mut value: &[u8]) -> Result<(i64, Event), StateError> {
    let count = i64::try_from(read_varint(&mut value)?).map_err(|_| corrupt())?;
    match value.split_first() {
        Some((&COMES, until)) => {
            let until: &[u8; 8] = until.first_chunk().ok_or_else(corrupt)?;
            Ok((count, Event::Comes(i64::from_be_bytes(*until))))
        }
        Some((&GOES, _)) => Ok((count, Event::Goes)),
        _ => Err(corrupt()),
    }
}

/// For each row the latest or the earliest time of some columns; `None` where one is NULL.
fn bounds(
    chunk: &Chunk,
    columns: &[usize],
    none: i64,
    choose: fn(i64, i64) -> i64,
) -> Vec<Option<i64>> {
    let mut bounds = vec![Some(none); chunk.len()];
    for &column in columns {
        let times = chunk.batch.column(column);
        let times = times.as_primitive::<TimestampMicrosecondType>();
        for (row, bound) in bounds.iter_mut().enumerate() {
            let time = times.is_valid(row).then(|| times.value(row));
            *bound = bound.zip(time).map(|(bound, time)| choose(bound, time));
        }
    }
    bounds
}

impl Operator for Visible {
    fn open(&mut self, state: &State) -> Result<(), OperatorError> {
        if let Some(clock) = state.get(&key::whole(self.id.0, CLOCK))? {
            let clock: &[u8; 8] = clock.first_chunk().ok_or_else(corrupt)?;
            self.clock = Some(i64::from_be_bytes(*clock));
        }
        self.timers.open(state)?;
        Ok(())
    }

    fn on_chunk(
        &mut self,
        _port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let now = self.advance(context, out)?;
        let from = bounds(&chunk, &self.spec.from, i64::MIN, i64::max);
        let until = bounds(&chunk, &self.spec.until, i64::MAX, i64::min);
        let columns = row::columns_of(chunk.batch.columns())?;
        let mut there = Vec::with_capacity(chunk.len());
        for (row, bounds) in from.into_iter().zip(until).enumerate() {
            let Some((from, until)) = bounds
                .0
                .zip(bounds.1)
                .filter(|(from, until)| *until > now && from < until)
            else {
                context.effects.filtered += u64::from(chunk.sign(row) > 0);
                there.push(false);
                continue;
            };
            there.push(from <= now);
            let (at, event) = match from <= now {
                true => (until, Event::Goes),
                false => (from, Event::Comes(until)),
            };
            if at < i64::MAX {
                let mut bytes = Vec::with_capacity(64);
                row::push_row(&columns, row, &mut bytes);
                self.keep(
                    context.state,
                    at,
                    &bytes,
                    &event,
                    i64::from(chunk.sign(row)),
                )?;
            }
        }
        let there = BooleanArray::from(there);
        if there.true_count() == 0 {
            return Ok(());
        }
        let there =
            select(&chunk, &there).map_err(|error| OperatorError::columns(self.id, &error))?;
        out.emit(there, context)
    }

    fn on_epoch_end(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        self.advance(context, out).map(|_| ())
    }

    fn on_commit(&mut self, state: &mut State) -> Result<(), OperatorError> {
        if let Some(clock) = self.clock {
            let clock = clock.to_be_bytes().to_vec();
            state.put(key::whole(self.id.0, CLOCK), clock);
        }
        Ok(())
    }

    fn due_us(&self) -> Option<i64> {
        self.timers.lowest()
    }
}
