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
//! State: `[operator][vnode][partition][order][row]` → `[count varint][length of row varint][n varint] n × [length, values]`.
//! The values are those that are out there, so a row is taken back as it went, whatever its functions say then.
//!
//! Invariants:
//! 1. The state holds every row that is there, with its count and, at the end of an epoch, so many values.
//! 2. At the end of an epoch every row is out there with the values that the rows around it give.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};

use super::top_n::order;
use super::upsert::key_columns;
use super::{CHUNK_ROWS_MAX, Context, Emitter, Operator, OperatorError};
use crate::state::row::{self, RowReader, push_bytes, push_varint, read_bytes, read_varint};
use crate::state::{ScanOrder, State, StateError, key, prefix_end};
use crate::{Chunk, OperatorId, OverSpec, Reach};

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
    behind: Reach,
    ahead: Reach,
    /// The first key and the last one that this epoch has changed in a partition, by its prefix in the state.
    changed: BTreeMap<Vec<u8>, (Vec<u8>, Vec<u8>)>,
}

/// A row that is there, or was before this epoch.
struct Entry {
    state_key: Vec<u8>,
    count: u64,
    /// Bytes of the row at the end of the key.
    row_bytes: usize,
    /// The values that are out there.
    values: Vec<Vec<u8>>,
}

impl Entry {
    fn read(state_key: &[u8], mut value: &[u8], prefix: usize) -> Result<Self, StateError> {
        let bytes = &mut value;
        let count = read_varint(bytes)?;
        let row_bytes = usize::try_from(read_varint(bytes)?).unwrap_or(usize::MAX);
        if row_bytes > state_key.len() - prefix.min(state_key.len()) {
            return Err(StateError::Corrupt {
                what: "row of OVER",
                reason: "it is longer than its key".to_owned(),
            });
        }
        let mut values = Vec::new();
        for _ in 0..read_varint(bytes)? {
            values.push(read_bytes(bytes)?.to_vec());
        }
        Ok(Self {
            state_key: state_key.to_vec(),
            count,
            row_bytes,
            values,
        })
    }

    fn write(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(16);
        push_varint(self.count, &mut value);
        push_varint(self.row_bytes as u64, &mut value);
        push_varint(self.values.len() as u64, &mut value);
        for values in &self.values {
            push_bytes(values, &mut value);
        }
        value
    }

    fn row(&self) -> &[u8] {
        &self.state_key[self.state_key.len() - self.row_bytes..]
    }
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
                self.live(
                    prefix,
                    ScanOrder::Descending,
                    prefix,
                    from,
                    state,
                    |state_key| {
                        last = state_key.to_vec();
                        left -= 1;
                        left > 0
                    },
                )?;
                Ok(last)
            }
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
                self.live(
                    prefix,
                    ScanOrder::Ascending,
                    &from,
                    &end,
                    state,
                    |state_key| {
                        last = behind(state_key);
                        left -= 1;
                        left > 0
                    },
                )?;
                Ok(last)
            }
            Reach::Time(us) => Ok(match time_of(prefix, to) {
                Some(time) => at_time(prefix, time.saturating_add(us).saturating_add(1)),
                None => prefix_end(prefix),
            }),
            Reach::All => Ok(prefix_end(prefix)),
        }
    }

    /// Visits the keys of rows that are there now, until `visit` says no.
    fn live(
        &self,
        prefix: &[u8],
        order: ScanOrder,
        from: &[u8],
        to: &[u8],
        state: &State,
        mut visit: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), StateError> {
        let mut failed = None;
        state.scan(from, to, order, |state_key, mut value| {
            let goes_on = match read_varint(&mut value) {
                Ok(0) => true,
                // What begins with the prefix is of the partition.
                Ok(_) => state_key.starts_with(prefix) && visit(state_key),
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
        // Who looks ahead so far sees the first change, who looks back the last.
        let affected_from = self.before(prefix, &first, self.ahead, state)?;
        let affected_to = self.behind(prefix, &last, self.behind, state)?;
        let from = self.before(prefix, &affected_from, self.behind, state)?;
        let to = self.behind(prefix, &affected_to, self.ahead, state)?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut failed = None;
        state.scan(&from, &to, ScanOrder::Ascending, |state_key, value| {
            match Entry::read(state_key, value, prefix.len()) {
                Ok(entry) => entries.push(entry),
                Err(error) => failed = Some(error),
            }
            match failed {
                None => ControlFlow::Continue(()),
                Some(_) => ControlFlow::Break(()),
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let mut values: VecDeque<Vec<u8>> = self.values(&entries, context)?.into();
        let mut leaving = Leaving::default();
        for mut entry in entries {
            let new: Vec<Vec<u8>> = (0..entry.count)
                .filter_map(|_| values.pop_front())
                .collect();
            let is_affected = (affected_from.as_slice()..affected_to.as_slice())
                .contains(&entry.state_key.as_slice());
            if !is_affected || (new == entry.values && entry.count > 0) {
                continue;
            }
            let old = std::mem::replace(&mut entry.values, new);
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

    /// The values of rows, each as often as it is there.
    fn values(
        &self,
        entries: &[Entry],
        context: &mut Context<'_>,
    ) -> Result<Vec<Vec<u8>>, OperatorError> {
        let mut reader = RowReader::new(&self.input)?;
        for entry in entries {
            for _ in 0..entry.count {
                reader.push(entry.row())?;
            }
        }
        let rows = reader.finish();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.spec.functions.len());
        for function in &self.spec.functions {
            let values = function.values.eval(&rows).and_then(|values| {
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
        let encoded = (0..rows.num_rows()).map(|index| {
            let mut bytes = Vec::with_capacity(16);
            row::push_row(&cells, index, &mut bytes);
            bytes
        });
        Ok(encoded.collect())
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
                None => Entry {
                    state_key: state_key.clone(),
                    count: 0,
                    row_bytes: bytes.len(),
                    values: Vec::new(),
                },
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
