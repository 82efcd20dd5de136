//! Ranking: the rows of each partition in their order, of which those with the asked ranks are out there.
//!
//! ```text
//! row of a chunk   ──▶ its count in the state           the first one of a partition in an epoch: what is out there is noted
//! end of an epoch  ──▶ each partition that has changed: what should be out there now; −old +new of what differs
//! ```
//!
//! State: `[operator][vnode][partition][order][row]` → `[count varint][length of row varint]`. The order is written so that
//! bytes order as it says (`order.rs`), the row breaks ties, and so the answer does not depend on the order of arrival.
//!
//! Invariants:
//! 1. The state holds every row that is there, with its count; of input that is only added, and where ranks end, only the
//!    rows up to the last rank.
//! 2. At the end of an epoch the rows with the asked ranks are out there, each as often as it is there.

pub(super) mod order;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::upsert::key_columns;
use super::{CHUNK_ROWS_MAX, Context, Emitter, Operator, OperatorError};
use crate::state::row::{self, RowReader, push_varint, read_varint};
use crate::state::{ScanOrder, State, StateError, key, prefix_end};
use crate::{Chunk, OperatorId, Rank, TopNSpec};

/// A row with its rank, and how often it is out there.
type Ranked = BTreeMap<(u64, Vec<u8>), u64>;

/// See the module.
pub(super) struct TopN {
    id: OperatorId,
    spec: TopNSpec,
    /// Of the rows; the output has the rank behind them.
    input: SchemaRef,
    schema: SchemaRef,
    append_only: bool,
    /// What was out there of each partition that this epoch has changed, by its prefix in the state.
    changed: BTreeMap<Vec<u8>, Ranked>,
}

impl TopN {
    pub(super) fn new(
        id: OperatorId,
        spec: &TopNSpec,
        input: &SchemaRef,
        schema: &SchemaRef,
        append_only: bool,
    ) -> Self {
        Self {
            id,
            spec: spec.clone(),
            input: Arc::clone(input),
            schema: Arc::clone(schema),
            append_only,
            changed: BTreeMap::new(),
        }
    }

    fn inconsistent(&self, reason: &str) -> OperatorError {
        OperatorError::Inconsistent {
            operator: self.id,
            reason: reason.to_owned(),
        }
    }

    /// The rows of a partition that are out there, by the state. Gives also the keys of what lies behind the last rank, of
    /// input that is only added.
    fn ranked(&self, prefix: &[u8], state: &State) -> Result<(Ranked, Vec<Vec<u8>>), StateError> {
        let mut place = Place::default();
        let mut ranked = Ranked::new();
        let mut behind = Vec::new();
        let mut failed = None;
        let mut visit = |key: &[u8], value: &[u8]| {
            let entry = Entry::read(key, value, prefix.len())?;
            place.enter(&entry);
            if place.lowest(self.spec.rank) >= self.spec.ranks.end {
                if self.append_only {
                    behind.push(key.to_vec());
                    return Ok(ControlFlow::Continue(()));
                }
                return Ok(ControlFlow::Break(()));
            }
            for (rank, count) in place.ranks(self.spec.rank, entry.count) {
                if self.spec.ranks.contains(&rank) {
                    ranked.insert((rank, entry.row.to_vec()), count);
                }
            }
            place.seen += entry.count;
            Ok(ControlFlow::Continue(()))
        };
        let to = prefix_end(prefix);
        state.scan(prefix, &to, ScanOrder::Ascending, |key, value| {
            visit(key, value).unwrap_or_else(|error| {
                failed = Some(error);
                ControlFlow::Break(())
            })
        })?;
        match failed {
            Some(error) => Err(error),
            None => Ok((ranked, behind)),
        }
    }

    /// Emits rows with their signs and ranks.
    fn emit(
        &self,
        changes: &[(i8, u64, &[u8])],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        for changes in changes.chunks(CHUNK_ROWS_MAX) {
            let mut reader = RowReader::new(&self.input)?;
            for (_, _, row) in changes {
                reader.push(row)?;
            }
            let signs = changes.iter().map(|(sign, _, _)| *sign);
            let ranks = changes.iter().map(|(_, rank, _)| *rank as i64);
            let mut columns = reader.finish().columns().to_vec();
            columns.push(Arc::new(ranks.collect::<Int64Array>()) as ArrayRef);
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
                .map_err(|error| OperatorError::columns(self.id, &error))?;
            let diff = changes.iter().any(|(sign, _, _)| *sign < 0);
            let diff = diff.then(|| signs.collect::<Int8Array>());
            let chunk = Chunk {
                diff,
                ..Chunk::inserts(batch)
            };
            out.emit(chunk, context)?;
        }
        Ok(())
    }
}

impl Operator for TopN {
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
            if !self.changed.contains_key(&prefix) {
                let (out_there, _) = self.ranked(&prefix, context.state)?;
                self.changed.insert(prefix.clone(), out_there);
            }
            let known = match context.state.get(&state_key)? {
                Some(value) => Entry::read(&state_key, &value, prefix.len())?.count,
                None => 0,
            };
            let count = known.checked_add_signed(i64::from(chunk.sign(index)));
            match count {
                None => return Err(self.inconsistent("a row was taken back that was never there")),
                Some(0) => context.state.delete(state_key),
                Some(count) => {
                    let mut value = Vec::with_capacity(4);
                    push_varint(count, &mut value);
                    push_varint(bytes.len() as u64, &mut value);
                    context.state.put(state_key, value);
                }
            }
        }
        Ok(())
    }

    fn on_epoch_end(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        for (prefix, old) in std::mem::take(&mut self.changed) {
            let (new, behind) = self.ranked(&prefix, context.state)?;
            for key in behind {
                context.state.delete(key);
            }
            let mut changes = Vec::new();
            difference(&old, &new, -1, &mut changes);
            difference(&new, &old, 1, &mut changes);
            self.emit(&changes, context, out)?;
        }
        Ok(())
    }
}

/// What `these` have more than `those`, with `sign`.
fn difference<'a>(
    these: &'a Ranked,
    those: &Ranked,
    sign: i8,
    changes: &mut Vec<(i8, u64, &'a [u8])>,
) {
    for (row, count) in these {
        let other = those.get(row).copied().unwrap_or(0);
        for _ in other..*count {
            changes.push((sign, row.0, row.1.as_slice()));
        }
    }
}

/// One distinct row of a partition, as the state has it.
struct Entry<'a> {
    order: &'a [u8],
    row: &'a [u8],
    count: u64,
}

impl<'a> Entry<'a> {
    fn read(key: &'a [u8], mut value: &[u8], prefix: usize) -> Result<Self, StateError> {
        let count = read_varint(&mut value)?;
        let length = read_varint(&mut value)?;
        let length = usize::try_from(length).ok();
        let start = length.and_then(|length| key.len().checked_sub(length));
        match start.filter(|start| *start >= prefix) {
            Some(start) => Ok(Self {
                order: &key[prefix..start],
                row: &key[start..],
                count,
            }),
            None => Err(StateError::Corrupt {
                what: "row of a ranking",
                reason: "it is longer than its key".to_owned(),
            }),
        }
    }
}

/// Where a walk through a partition is.
#[derive(Default)]
struct Place {
    /// Rows before this one.
    seen: u64,
    /// Rows that the order puts before this one.
    before: u64,
    /// Distinct places in the order up to this one.
    steps: u64,
    order: Vec<u8>,
}

impl Place {
    fn enter(&mut self, entry: &Entry<'_>) {
        if self.steps == 0 || self.order != entry.order {
            self.order = entry.order.to_vec();
            self.before = self.seen;
            self.steps += 1;
        }
    }

    /// The rank of the row, or of its first occurrence.
    fn lowest(&self, rank: Rank) -> u64 {
        match rank {
            Rank::RowNumber => self.seen + 1,
            Rank::Rank => self.before + 1,
            Rank::DenseRank => self.steps,
        }
    }

    /// The ranks of a row that is there `count` times, each with how often it has it.
    fn ranks(&self, rank: Rank, count: u64) -> impl Iterator<Item = (u64, u64)> + use<> {
        let lowest = self.lowest(rank);
        let (numbers, each) = match rank {
            Rank::RowNumber => (lowest..lowest + count, 1),
            Rank::Rank | Rank::DenseRank => (lowest..lowest + 1, count),
        };
        numbers.map(move |number| (number, each))
    }
}
