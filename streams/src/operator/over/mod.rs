//! OVER: the rows of each partition in their order, each with the values that functions give it of the rows around it.
//!
//! ```text
//! row of a chunk   ──▶ its count in the state
//! end of an epoch  ──▶ each partition that has changed:   … ●●●●●●●●●○○●○●●●●●●● …       ○ changed
//!                        rows that may have other values        ├───────────┤            as far as functions look
//!                        rows that are read to tell         ├───────────────────┤        as far again
//!                      −old +new of what differs
//! ```
//!
//! An aggregate over all rows up to one goes on from what it had seen with the row before (`running.rs`), so a change reads
//! the rows from there on only; what a row is in the state says `entry.rs`.
//!
//! Invariants:
//! 1. The state holds every row that is there, with its count and, at the end of an epoch, so many values.
//! 2. At the end of an epoch every row is out there with the values that the rows around it give.

mod entry;
mod running;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};

use self::entry::Entry;
use self::running::{Run, Running};
use super::top_n::order;
use super::upsert::key_columns;
use super::{CHUNK_ROWS_MAX, Context, Emitter, Operator, OperatorError};
use crate::state::row::{self, RowReader};
use crate::state::{ScanOrder, State, StateError, key, prefix_end};
use crate::{Chunk, OperatorId, OverSpec, OverValues, Reach};

/// Length of a rising time in the order, and the byte before it that says that it is none.
const TIME_BYTES: usize = 8;

/// See the module.
pub(super) struct Over {
    id: OperatorId,
    spec: OverSpec,
    /// Of the rows; the output has the values behind them.
    input: SchemaRef,
    /// Of the values.
    results: SchemaRef,
    schema: SchemaRef,
    /// How far functions look that are computed of the rows around one.
    behind: Reach,
    ahead: Reach,
    running: Option<Running>,
    /// The first key and the last one that this epoch has changed in a partition, by its prefix in the state.
    changed: BTreeMap<Vec<u8>, (Vec<u8>, Vec<u8>)>,
}

/// What the functions give a row.
struct Given {
    values: Vec<u8>,
    /// What the running aggregates have seen with it.
    seen: Vec<u8>,
}

/// Rows on their way out, with their values.
#[derive(Default)]
struct Leaving {
    rows: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
    signs: Vec<i8>,
}

impl Over {
    pub(super) fn new(
        id: OperatorId,
        spec: &OverSpec,
        input: &SchemaRef,
        schema: &SchemaRef,
    ) -> Self {
        let (behind, ahead) = spec.reach();
        let results = schema.fields().iter().skip(input.fields().len());
        Self {
            id,
            spec: spec.clone(),
            input: Arc::clone(input),
            results: Arc::new(Schema::new(results.cloned().collect::<Vec<_>>())),
            schema: Arc::clone(schema),
            behind,
            ahead,
            running: Running::of(id, spec, input),
            changed: BTreeMap::new(),
        }
    }

    /// The key from which on rows are within reach before `from`, a key of the partition.
    fn before(
        &self,
        prefix: &[u8],
        from: &[u8],
        reach: Reach,
        state: &State,
    ) -> Result<Vec<u8>, StateError> {
        match reach {
            Reach::Rows(0) => Ok(from.to_vec()),
            Reach::Rows(count) => {
                let mut last = from.to_vec();
                let mut left = count;
                let rows = (prefix, from);
                self.entries(ScanOrder::Descending, rows, prefix, state, |entry| {
                    if entry.count > 0 {
                        last = entry.state_key;
                        left -= 1;
                    }
                    left > 0
                })?;
                Ok(last)
            }
            Reach::Peers => self.peers_before(prefix, from, state),
            Reach::Time(us) => Ok(match time_of(prefix, from) {
                Some(time) => at_time(prefix, time.saturating_sub(us)),
                None => prefix.to_vec(),
            }),
            Reach::All => Ok(prefix.to_vec()),
        }
    }

    /// The end of the keys within reach behind `to`, a key of the partition; it is not one of them.
    fn behind(
        &self,
        prefix: &[u8],
        to: &[u8],
        reach: Reach,
        state: &State,
    ) -> Result<Vec<u8>, StateError> {
        let behind = |state_key: &[u8]| [state_key, &[0]].concat();
        match reach {
            Reach::Rows(0) => Ok(behind(to)),
            Reach::Rows(count) => {
                let mut last = behind(to);
                let mut left = count;
                let (from, end) = (last.clone(), prefix_end(prefix));
                let rows = (from.as_slice(), end.as_slice());
                self.entries(ScanOrder::Ascending, rows, prefix, state, |entry| {
                    if entry.count > 0 {
                        last = behind(&entry.state_key);
                        left -= 1;
                    }
                    left > 0
                })?;
                Ok(last)
            }
            Reach::Peers => {
                let last =
                    self.nearest(ScanOrder::Descending, (prefix, &behind(to)), prefix, state)?;
                Ok(last.map_or_else(
                    || behind(to),
                    |last| behind(to).max(prefix_end(last.place())),
                ))
            }
            Reach::Time(us) => Ok(match time_of(prefix, to) {
                Some(time) => at_time(prefix, time.saturating_add(us).saturating_add(1)),
                None => prefix_end(prefix),
            }),
            Reach::All => Ok(prefix_end(prefix)),
        }
    }

    /// The key from which on the rows lie that the order does not tell apart from the first one at `from` or behind.
    fn peers_before(
        &self,
        prefix: &[u8],
        from: &[u8],
        state: &State,
    ) -> Result<Vec<u8>, StateError> {
        let rows = (from, prefix_end(prefix));
        let first = self.nearest(ScanOrder::Ascending, (rows.0, &rows.1), prefix, state)?;
        let place = first.as_ref().map_or(from, |first| first.place().min(from));
        Ok(place.to_vec())
    }

    /// The first row of the partition in this order and range that the state has, be it gone since this epoch began.
    fn nearest(
        &self,
        order: ScanOrder,
        (from, to): (&[u8], &[u8]),
        prefix: &[u8],
        state: &State,
    ) -> Result<Option<Entry>, StateError> {
        let mut found = None;
        self.entries(order, (from, to), prefix, state, |entry| {
            found = Some(entry);
            false
        })?;
        Ok(found)
    }

    /// Visits the rows of the partition in a range, those too that are gone since this epoch began, until `visit` says no.
    fn entries(
        &self,
        order: ScanOrder,
        (from, to): (&[u8], &[u8]),
        prefix: &[u8],
        state: &State,
        mut visit: impl FnMut(Entry) -> bool,
    ) -> Result<(), StateError> {
        let mut failed = None;
        state.scan(from, to, order, |state_key, value| {
            // What begins with the prefix is of the partition.
            if !state_key.starts_with(prefix) {
                return ControlFlow::Break(());
            }
            let goes_on = match Entry::read(state_key, value, prefix.len()) {
                Ok(entry) => visit(entry),
                Err(error) => {
                    failed = Some(error);
                    false
                }
            };
            match goes_on {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// Brings the values of a partition up to date.
    fn settle(
        &self,
        prefix: &[u8],
        (first, last): (Vec<u8>, Vec<u8>),
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let state = &*context.state;
        let end = prefix_end(prefix);
        // Who looks ahead so far sees the first change, who looks back the last.
        let mut affected_from = self.before(prefix, &first, self.ahead, state)?;
        let mut affected_to = self.behind(prefix, &last, self.behind, state)?;
        if self.running.is_some() {
            affected_from = affected_from.min(self.peers_before(prefix, &first, state)?);
            affected_to = end.clone();
        }
        let mut from = self.before(prefix, &affected_from, self.behind, state)?;
        let to = (self.behind(prefix, &affected_to, self.ahead, state)?).min(end);
        let mut seen = Vec::new();
        if self.running.is_some() {
            from = self.peers_before(prefix, &from, state)?;
            let rows = (prefix, from.as_slice());
            self.entries(ScanOrder::Descending, rows, prefix, state, |entry| {
                let is_there = entry.count > 0;
                if is_there {
                    seen = entry.seen;
                }
                !is_there
            })?;
        }
        let mut entries: Vec<Entry> = Vec::new();
        let rows = (from.as_slice(), to.as_slice());
        self.entries(ScanOrder::Ascending, rows, prefix, state, |entry| {
            entries.push(entry);
            true
        })?;
        let mut given = self.given(&entries, &seen, context)?.into_iter();
        let mut leaving = Leaving::default();
        for mut entry in entries {
            let mut new = Vec::new();
            let mut seen = Vec::new();
            for _ in 0..entry.count {
                if let Some(given) = given.next() {
                    new.push(given.values);
                    seen = given.seen;
                }
            }
            let is_affected = (affected_from.as_slice()..affected_to.as_slice())
                .contains(&entry.state_key.as_slice());
            let is_same = new == entry.values && seen == entry.seen;
            if !is_affected || (is_same && entry.count > 0) {
                continue;
            }
            let old = std::mem::replace(&mut entry.values, new);
            entry.seen = seen;
            let mut come = entry.values.clone();
            for values in old {
                match come.iter().position(|other| *other == values) {
                    Some(place) => {
                        come.swap_remove(place);
                    }
                    None => leaving.push(-1, &entry, values),
                }
            }
            for values in come {
                leaving.push(1, &entry, values);
            }
            match entry.count {
                0 => context.state.delete(entry.state_key.clone()),
                _ => context.state.put(entry.state_key.clone(), entry.write()),
            }
            if leaving.rows.len() >= CHUNK_ROWS_MAX {
                self.emit(std::mem::take(&mut leaving), context, out)?;
            }
        }
        self.emit(leaving, context, out)
    }

    /// What is given to rows, to each as often as it is there; `before`: what running aggregates had seen before.
    fn given(
        &self,
        entries: &[Entry],
        before: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Vec<Given>, OperatorError> {
        let mut reader = RowReader::new(&self.input)?;
        let mut peers: Vec<u32> = Vec::with_capacity(entries.len());
        let mut last: Option<(&[u8], u32)> = None;
        for entry in entries {
            let number = match last {
                Some((place, number)) if place == entry.place() => number,
                Some((_, number)) => number + 1,
                None => 0,
            };
            for _ in 0..entry.count {
                reader.push(entry.row())?;
                peers.push(number);
                last = Some((entry.place(), number));
            }
        }
        let rows = reader.finish();
        let run = match &self.running {
            Some(running) => running.run(&rows, &peers, before, context)?,
            None => Run {
                values: Vec::new(),
                seen: vec![Vec::new(); rows.num_rows()],
            },
        };
        let mut running = run.values.into_iter().peekable();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.spec.functions.len());
        for (place, function) in self.spec.functions.iter().enumerate() {
            let OverValues::Around { values, .. } = &function.values else {
                let ours = running.next_if(|(of, _)| *of == place);
                columns.extend(ours.map(|(_, values)| values));
                continue;
            };
            let values = values.eval(&rows).and_then(|values| {
                match values.len() == rows.num_rows() && *values.data_type() == function.output {
                    true => Ok(values),
                    false => Err(crate::ExprError::new("it gives other values than planned")),
                }
            });
            columns.push(values.unwrap_or_else(|error| {
                let reason = format!("{}: {error}", function.name);
                context.effects.output_failed(None, reason);
                new_null_array(&function.output, rows.num_rows())
            }));
        }
        let cells = row::columns_of(&columns)?;
        let given = run.seen.into_iter().enumerate().map(|(index, seen)| {
            let mut values = Vec::with_capacity(16);
            row::push_row(&cells, index, &mut values);
            Given { values, seen }
        });
        Ok(given.collect())
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
        let mut rows = RowReader::new(&self.input)?;
        let mut values = RowReader::new(&self.results)?;
        for (row, results) in leaving.rows.iter().zip(&leaving.values) {
            rows.push(row)?;
            values.push(results)?;
        }
        let mut columns = rows.finish().columns().to_vec();
        columns.extend(values.finish().columns().iter().cloned());
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
}

impl Leaving {
    fn push(&mut self, sign: i8, entry: &Entry, values: Vec<u8>) {
        self.rows.push(entry.row().to_vec());
        self.values.push(values);
        self.signs.push(sign);
    }
}

/// The time by which a key of a partition is ordered; `None`: it is NULL.
fn time_of(prefix: &[u8], state_key: &[u8]) -> Option<i64> {
    let order = state_key.get(prefix.len()..)?;
    // A value, and one that is not NULL: see `top_n/order.rs` and `state/key.rs`.
    let time: &[u8; TIME_BYTES] = order.strip_prefix(&[1, 1])?.first_chunk()?;
    Some((u64::from_be_bytes(*time) ^ (1 << 63)) as i64)
}

/// Where the rows of a time begin.
fn at_time(prefix: &[u8], time: i64) -> Vec<u8> {
    let mut state_key = prefix.to_vec();
    state_key.extend_from_slice(&[1, 1]);
    key::push_i64(time, &mut state_key);
    state_key
}

impl Operator for Over {
    fn on_chunk(
        &mut self,
        _port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        _out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let partition = key_columns(&chunk.batch, &self.spec.partition_by)?;
        let by: Vec<usize> = self.spec.order_by.iter().map(|by| by.column).collect();
        let by = key_columns(&chunk.batch, &by)?;
        let columns = row::columns_of(chunk.batch.columns())?;
        let (mut cells, mut bytes) = (Vec::new(), Vec::new());
        for index in 0..chunk.len() {
            cells.clear();
            key::push_row(&partition, index, &mut cells);
            let mut prefix = Vec::with_capacity(cells.len() + 4);
            key::start(self.id.0, &cells, &mut prefix);
            prefix.extend_from_slice(&cells);
            bytes.clear();
            row::push_row(&columns, index, &mut bytes);
            let mut state_key = prefix.clone();
            order::push(&by, &self.spec.order_by, index, &mut state_key);
            state_key.extend_from_slice(&bytes);
            let mut entry = match context.state.get(&state_key)? {
                Some(value) => Entry::read(&state_key, &value, prefix.len())?,
                None => Entry::new(state_key.clone(), bytes.len()),
            };
            let count = entry.count.checked_add_signed(i64::from(chunk.sign(index)));
            entry.count = count.ok_or_else(|| OperatorError::Inconsistent {
                operator: self.id,
                reason: "a row was taken back that was never there".to_owned(),
            })?;
            // One that has gone stays until what is out there of it was taken back.
            context.state.put(state_key.clone(), entry.write());
            match self.changed.get_mut(&prefix) {
                None => {
                    self.changed.insert(prefix, (state_key.clone(), state_key));
                }
                Some((first, _)) if state_key < *first => *first = state_key,
                Some((_, last)) if state_key > *last => *last = state_key,
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn on_epoch_end(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        for (prefix, keys) in std::mem::take(&mut self.changed) {
            self.settle(&prefix, keys, context, out)?;
        }
        Ok(())
    }
}
