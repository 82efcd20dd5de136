//! As-of joins: each left row with the right row of its key that is nearest in time.
//!
//! ```text
//!  left row  ──▶ the nearest right row, by the state ──▶ (left, right)
//!                  an answer at event time: kept until event time is past it
//!                  an answer at arrival: held until the end of the epoch, when all of its right rows are there
//!  right row ──▶ noted ──▶ end of the epoch: left rows between its neighbours ──▶ −(left, old) +(left, new)
//! ```
//!
//! State:
//!
//! ```text
//! [operator][vnode][key][time i64][row]            → [count varint]            a left row
//! [operator][vnode][time i64][key][row]            → [count varint]            a left row that waits: the keys are timers
//! [operator][vnode + 256][key][time i64][columns]  → [count varint][row]       a right row
//! ```
//!
//! The columns of a right row are written so that bytes order as values do: they break ties of time.
//!
//! Invariants:
//! 1. At the end of an epoch the output so far is the join of the inputs so far; where it waits, of the left rows that event
//!    time has passed. An answer at arrival is the join with the right rows of its epoch's end.
//! 2. Within an epoch the state holds the right rows of its beginning: what is out there follows from it.
//! 3. Where it waits, of a key's right rows that event time has passed only the last is kept, once another one comes.

mod pairs;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use self::pairs::{Keyed, Pairs};
use self::rows::{RightRow, left_prefix, right_prefix, value_of, with};
use super::upsert::key_columns;
use super::{CHUNK_ROWS_MAX, Context, Emitter, Operator, OperatorError};
use crate::state::{ScanOrder, State, StateError, Timers, key, prefix_end, row};
use crate::{Answer, AsOfSpec, Chunk, OperatorId};

/// Left rows that are looked at together.
const LEFT_ROWS_MAX: usize = CHUNK_ROWS_MAX;

/// A right row that an epoch has changed.
struct Changed {
    row: Vec<u8>,
    before: u64,
    now: u64,
}

/// The right rows of a key that an epoch has changed, by their places.
type Changes = BTreeMap<Vec<u8>, Changed>;

/// See the module.
pub(super) struct AsOf {
    id: OperatorId,
    spec: AsOfSpec,
    left: SchemaRef,
    right: SchemaRef,
    schema: SchemaRef,
    /// By key.
    changed: BTreeMap<Vec<u8>, Changes>,
    /// Left rows of this epoch that have their answer at its end.
    arrived: Vec<Arrived>,
    timers: Timers,
}

/// A left row that is not kept.
struct Arrived {
    sign: i8,
    cells: Vec<u8>,
    time: i64,
    row: Vec<u8>,
}

impl AsOf {
    pub(super) fn new(
        id: OperatorId,
        spec: &AsOfSpec,
        left: &SchemaRef,
        right: &SchemaRef,
        schema: &SchemaRef,
    ) -> Self {
        Self {
            id,
            spec: spec.clone(),
            left: Arc::clone(left),
            right: Arc::clone(right),
            schema: Arc::clone(schema),
            changed: BTreeMap::new(),
            arrived: Vec::new(),
            timers: Timers::new(id.0),
        }
    }

    fn waits(&self) -> bool {
        matches!(self.spec.answer, Answer::AtEventTime { .. })
    }

    /// What event time has passed for good, µs: rows before it come no more.
    fn passed(&self, context: &Context<'_>) -> Option<i64> {
        let grace_us = match self.spec.answer {
            Answer::AtEventTime { grace_us } => grace_us,
            Answer::Corrected | Answer::AtArrival => 0,
        };
        let reached = context.watermark.reached()?;
        // At the end of all rows nothing is within the grace.
        match reached {
            i64::MAX => Some(reached),
            reached => reached.checked_sub(grace_us),
        }
    }

    fn inconsistent(&self) -> OperatorError {
        OperatorError::Inconsistent {
            operator: self.id,
            reason: "a row was taken back that was never there".to_owned(),
        }
    }

    /// Adds `sign` to the count of `state_key`; gives the count before and after. `row` lies behind the count.
    fn count(
        &self,
        state: &mut State,
        state_key: Vec<u8>,
        row: &[u8],
        sign: i8,
    ) -> Result<(u64, u64), OperatorError> {
        let before = match state.get(&state_key)? {
            Some(value) => rows::count_of(&value)?,
            None => 0,
        };
        let now = before
            .checked_add_signed(i64::from(sign))
            .ok_or_else(|| self.inconsistent())?;
        match now {
            0 => state.delete(state_key),
            now => state.put(state_key, value_of(now, row)),
        }
        Ok((before, now))
    }

    fn left_chunk(
        &mut self,
        chunk: &Chunk,
        timers: &mut Timers,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let keyed = Keyed::of(chunk, &self.spec.left_keys, self.spec.left_time)?;
        let columns = row::columns_of(chunk.batch.columns())?;
        let mut arrived = std::mem::take(&mut self.arrived);
        let mut pairs = Pairs::new(self)?;
        let mut cells = Vec::new();
        for index in 0..chunk.len() {
            let mut bytes = Vec::with_capacity(64);
            row::push_row(&columns, index, &mut bytes);
            cells.clear();
            let Some(time) = keyed.place(index, &mut cells) else {
                pairs.push(chunk.sign(index), &bytes, None)?;
                continue;
            };
            if self.spec.answer == Answer::AtArrival {
                arrived.push(Arrived {
                    sign: chunk.sign(index),
                    cells: cells.clone(),
                    time,
                    row: bytes,
                });
                continue;
            }
            if self.waits() {
                let state_key = rows::waiting_key(self.id.0, time, &cells, &bytes);
                timers.note(&state_key);
                let length = rows::length_of(&cells);
                self.count(context.state, state_key, &length, chunk.sign(index))?;
                continue;
            }
            let matched = self.nearest(context.state, &cells, time)?;
            pairs.push(chunk.sign(index), &bytes, matched.as_deref())?;
            let mut state_key = left_prefix(self.id.0, &cells);
            key::push_i64(time, &mut state_key);
            state_key.extend_from_slice(&bytes);
            self.count(context.state, state_key, &[], chunk.sign(index))?;
        }
        pairs.emit(context, out)?;
        self.arrived = arrived;
        Ok(())
    }

    /// Answers the left rows of this epoch by the right rows that are there now.
    fn answer_arrived(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let arrived = std::mem::take(&mut self.arrived);
        for some in arrived.chunks(CHUNK_ROWS_MAX) {
            let mut pairs = Pairs::new(self)?;
            for left in some {
                let matched = self.nearest(context.state, &left.cells, left.time)?;
                pairs.push(left.sign, &left.row, matched.as_deref())?;
            }
            pairs.emit(context, out)?;
        }
        Ok(())
    }

    fn right_chunk(
        &mut self,
        chunk: &Chunk,
        context: &mut Context<'_>,
    ) -> Result<(), OperatorError> {
        let keyed = Keyed::of(chunk, &self.spec.right_keys, self.spec.right_time)?;
        let columns = row::columns_of(chunk.batch.columns())?;
        let all: Vec<usize> = (0..self.right.fields().len()).collect();
        let ordered = key_columns(&chunk.batch, &all)?;
        let mut cells = Vec::new();
        for index in 0..chunk.len() {
            cells.clear();
            let Some(time) = keyed.place(index, &mut cells) else {
                continue;
            };
            let mut place = Vec::with_capacity(64);
            key::push_i64(time, &mut place);
            key::push_row(&ordered, index, &mut place);
            let mut bytes = Vec::with_capacity(64);
            row::push_row(&columns, index, &mut bytes);
            if self.waits() {
                let prefix = right_prefix(self.id.0, &cells);
                let state_key = [prefix.as_slice(), &place].concat();
                self.count(context.state, state_key, &bytes, chunk.sign(index))?;
                self.forget(&prefix, context)?;
                continue;
            }
            self.note(context.state, &cells, place, bytes, chunk.sign(index))?;
        }
        Ok(())
    }

    /// Notes what becomes of a right row.
    fn note(
        &mut self,
        state: &State,
        cells: &[u8],
        place: Vec<u8>,
        row: Vec<u8>,
        sign: i8,
    ) -> Result<(), OperatorError> {
        let id = self.id.0;
        let changes = self.changed.entry(cells.to_vec()).or_default();
        let changed = match changes.entry(place) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                let state_key = [right_prefix(id, cells).as_slice(), new.key()].concat();
                let before = match state.get(&state_key)? {
                    Some(value) => rows::count_of(&value)?,
                    None => 0,
                };
                new.insert(Changed {
                    row,
                    before,
                    now: before,
                })
            }
        };
        match changed.now.checked_add_signed(i64::from(sign)) {
            Some(now) => changed.now = now,
            None => return Err(self.inconsistent()),
        }
        Ok(())
    }

    /// Forgets the right rows of a key that no left row can meet any more.
    fn forget(&self, prefix: &[u8], context: &mut Context<'_>) -> Result<(), OperatorError> {
        let Some(passed_us) = self.passed(context) else {
            return Ok(());
        };
        // Left rows to come are at this time or later: of the right rows before it they meet the last one at most.
        let mut end = prefix.to_vec();
        key::push_i64(passed_us, &mut end);
        let mut passed = Vec::new();
        context
            .state
            .scan(prefix, &end, ScanOrder::Descending, |state_key, _| {
                passed.push(state_key.to_vec());
                ControlFlow::Continue(())
            })?;
        for state_key in passed.into_iter().skip(1) {
            context.state.delete(state_key);
        }
        Ok(())
    }

    /// The nearest right row by the state.
    fn nearest(
        &self,
        state: &State,
        cells: &[u8],
        time: i64,
    ) -> Result<Option<Vec<u8>>, StateError> {
        let prefix = right_prefix(self.id.0, cells);
        let (ahead, equal) = (
            self.spec.nearest.is_ahead(),
            self.spec.nearest.takes_equal(),
        );
        // The bound between what counts and what does not lies before this time, or behind it.
        let bound = if ahead == equal {
            Some(time)
        } else {
            time.checked_add(1)
        };
        let bound = bound.map(|bound| {
            let mut place = prefix.clone();
            key::push_i64(bound, &mut place);
            place
        });
        let end = prefix_end(&prefix);
        let (from, to, order) = match (ahead, bound) {
            (false, bound) => (prefix, bound.unwrap_or(end), ScanOrder::Descending),
            (true, Some(bound)) => (bound, end, ScanOrder::Ascending),
            (true, None) => return Ok(None),
        };
        let mut found = None;
        state.scan(&from, &to, order, |_, value| {
            found = Some(rows::row_of(value).map(<[u8]>::to_vec));
            ControlFlow::Break(())
        })?;
        found.transpose()
    }

    /// Corrects the answers of the left rows of a key, and writes its right rows.
    fn correct(
        &self,
        cells: &[u8],
        changes: Changes,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        // Another copy of a row that stays is no change, and may lie outside of the rows that are read.
        let turned =
            |(_, changed): &(&Vec<u8>, &Changed)| (changed.before == 0) != (changed.now == 0);
        let mut places = changes.iter().filter(turned);
        let first = places.next().map(|(place, _)| place);
        let last = places.next_back().map(|(place, _)| place).or(first);
        if let (Some(first), Some(last)) = (first, last) {
            let prefix = right_prefix(self.id.0, cells);
            let old = rows::between(context.state, &prefix, first, last)?;
            let new = with(&old, changes.iter().filter(turned));
            let from = old.first().filter(|row| row.place < *first);
            let to = old.last().filter(|row| row.place > *last);
            let range = (from.map(|row| row.time), to.map(|row| row.time));
            self.match_again(cells, range, [&old, &new], context, out)?;
        }
        for (place, changed) in changes {
            let state_key = [right_prefix(self.id.0, cells).as_slice(), &place].concat();
            match changed.now {
                0 => context.state.delete(state_key),
                now => context.state.put(state_key, value_of(now, &changed.row)),
            }
        }
        Ok(())
    }

    /// Takes back what the left rows in a range of time had of the old right rows, and gives them what they have of the new
    /// ones.
    fn match_again(
        &self,
        cells: &[u8],
        (from, to): (Option<i64>, Option<i64>),
        [old, new]: [&[RightRow]; 2],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let prefix = left_prefix(self.id.0, cells);
        let place = |time: i64| {
            let mut place = prefix.clone();
            key::push_i64(time, &mut place);
            place
        };
        let mut next = from.map_or_else(|| prefix.clone(), place);
        let end = match to.and_then(|to| to.checked_add(1)) {
            Some(end) => place(end),
            None => prefix_end(&prefix),
        };
        loop {
            let lefts = rows::lefts(context.state, &next, &end, prefix.len(), LEFT_ROWS_MAX)?;
            let mut pairs = Pairs::new(self)?;
            for left in &lefts {
                let [old, new] = [old, new].map(|rights| self.nearest_of(rights, left.time));
                if old.map(|row| &row.place) == new.map(|row| &row.place) {
                    continue;
                }
                for (sign, right) in [(-1, old), (1, new)] {
                    let right = right.map(|right| right.row.as_slice());
                    for _ in 0..left.count {
                        pairs.push(sign, &left.row, right)?;
                    }
                }
                if pairs.len() >= CHUNK_ROWS_MAX {
                    std::mem::replace(&mut pairs, Pairs::new(self)?).emit(context, out)?;
                }
            }
            pairs.emit(context, out)?;
            match lefts.last() {
                Some(last) if lefts.len() == LEFT_ROWS_MAX => {
                    next.clone_from(&last.state_key);
                    next.push(0);
                }
                _ => return Ok(()),
            }
        }
    }

    /// The nearest of right rows in their order.
    fn nearest_of<'a>(&self, rights: &'a [RightRow], time: i64) -> Option<&'a RightRow> {
        let (ahead, equal) = (
            self.spec.nearest.is_ahead(),
            self.spec.nearest.takes_equal(),
        );
        let bound = if ahead == equal {
            rights.partition_point(|right| right.time < time)
        } else {
            rights.partition_point(|right| right.time <= time)
        };
        if ahead {
            rights.get(bound)
        } else {
            bound.checked_sub(1).map(|place| &rights[place])
        }
    }

    /// Gives the left rows that event time has passed their answers.
    fn settle(
        &self,
        timers: &mut Timers,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        // A right row at the very time of event time may still come.
        let passed_us = self.passed(context).and_then(|at| at.checked_sub(1));
        let Some(until) = passed_us else {
            return Ok(());
        };
        loop {
            let due = timers.take_due(until, LEFT_ROWS_MAX, context.state)?;
            let is_last = due.len() < LEFT_ROWS_MAX;
            let mut pairs = Pairs::new(self)?;
            for (state_key, value) in due {
                let left = rows::Waiting::read(&state_key, &value)?;
                let matched = self.nearest(context.state, left.cells, left.time)?;
                for _ in 0..left.count {
                    pairs.push(1, left.row, matched.as_deref())?;
                }
                context.state.delete(state_key);
            }
            pairs.emit(context, out)?;
            if is_last {
                return Ok(());
            }
        }
    }
}

impl Operator for AsOf {
    fn open(&mut self, state: &State) -> Result<(), OperatorError> {
        if self.waits() {
            self.timers.open(state)?;
        }
        Ok(())
    }

    fn on_chunk(
        &mut self,
        port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        if port == 1 {
            return self.right_chunk(&chunk, context);
        }
        let mut timers = std::mem::replace(&mut self.timers, Timers::new(self.id.0));
        let done = self.left_chunk(&chunk, &mut timers, context, out);
        self.timers = timers;
        done
    }

    fn on_epoch_end(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        if self.waits() {
            let mut timers = std::mem::replace(&mut self.timers, Timers::new(self.id.0));
            let done = self.settle(&mut timers, context, out);
            self.timers = timers;
            return done;
        }
        for (cells, changes) in std::mem::take(&mut self.changed) {
            self.correct(&cells, changes, context, out)?;
        }
        self.answer_arrived(context, out)
    }
}
