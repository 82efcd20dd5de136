//! Ranking: the rows of each partition in their order, of which those with the asked ranks are out there.
//!
//! ```text
//! rows only come, and ranks end    ──▶ the best rows of each partition, in memory in front of the state       best.rs
//! any other                        ──▶ all rows, in the state                                                 stored.rs
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

mod best;
pub(super) mod order;
mod rank;
mod stored;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use self::best::Best;
use self::rank::Ranked;
use self::stored::Stored;
use super::{CHUNK_ROWS_MAX, Context, Emitter, Memory, Operator, OperatorError};
use crate::aggregate::GROUP_COLUMNS_MAX;
use crate::state::row::{RowReader, push_varint, read_varint};
use crate::state::{State, StateError};
use crate::{Chunk, OperatorId, TopNSpec};

/// So many ranks of a partition are kept in memory, at most: what is out there is compared row by row.
const RANKS_AT_HAND_MAX: u64 = 10_000;

/// See the module.
pub(super) struct TopN {
    rows: Rows,
    output: Output,
}

/// Where the rows are.
enum Rows {
    Best(Box<Best>),
    Stored(Stored),
}

impl TopN {
    pub(super) fn new(
        id: OperatorId,
        spec: &TopNSpec,
        input: &SchemaRef,
        schema: &SchemaRef,
        append_only: bool,
        memory: &Memory,
    ) -> Self {
        let fits =
            spec.ranks.end <= RANKS_AT_HAND_MAX && spec.partition_by.len() <= GROUP_COLUMNS_MAX;
        let rows = match append_only && fits {
            true => Rows::Best(Box::new(Best::new(id, spec, input, memory))),
            false => Rows::Stored(Stored::new(id, spec, append_only)),
        };
        Self {
            rows,
            output: Output {
                id,
                input: Arc::clone(input),
                schema: Arc::clone(schema),
            },
        }
    }
}

impl Operator for TopN {
    fn open(&mut self, state: &State) -> Result<(), OperatorError> {
        match &mut self.rows {
            Rows::Best(best) => Ok(best.open(state)?),
            Rows::Stored(_) => Ok(()),
        }
    }

    fn on_chunk(
        &mut self,
        _port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        _out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        match &mut self.rows {
            Rows::Best(best) => best.take(&chunk, context.state),
            Rows::Stored(stored) => stored.take(&chunk, context.state),
        }
    }

    fn on_epoch_end(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let mut rows = self.output.none()?;
        match &mut self.rows {
            Rows::Best(best) => {
                for group in best.take_changed() {
                    let (old, new) = best.end_epoch(group);
                    self.output.changes(&old, &new, &mut rows, context, out)?;
                }
            }
            Rows::Stored(stored) => {
                for (prefix, old) in stored.take_changed() {
                    let new = stored.end_epoch(&prefix, context.state)?;
                    self.output.changes(&old, &new, &mut rows, context, out)?;
                }
            }
        }
        self.output.emit(rows, context, out)
    }

    fn on_commit(&mut self, state: &mut State) -> Result<(), OperatorError> {
        if let Rows::Best(best) = &mut self.rows {
            best.save(state);
        }
        Ok(())
    }

    fn after_commit(&mut self) {
        if let Rows::Best(best) = &mut self.rows {
            best.shrink();
        }
    }

    fn dirty_bytes(&self) -> usize {
        match &self.rows {
            Rows::Best(best) => best.unsaved_bytes(),
            Rows::Stored(_) => 0,
        }
    }

    fn size_bytes(&self) -> usize {
        match &self.rows {
            Rows::Best(best) => best.size_bytes(),
            Rows::Stored(_) => 0,
        }
    }
}

/// Makes chunks of what has changed.
struct Output {
    id: OperatorId,
    /// Of the rows; the output has the rank behind them.
    input: SchemaRef,
    schema: SchemaRef,
}

/// Rows of the output that are not emitted yet.
struct Changes {
    rows: RowReader,
    ranks: Vec<i64>,
    signs: Vec<i8>,
}

impl Output {
    fn none(&self) -> Result<Changes, StateError> {
        Ok(Changes {
            rows: RowReader::new(&self.input)?,
            ranks: Vec::new(),
            signs: Vec::new(),
        })
    }

    /// Says what differs in one partition.
    fn changes(
        &self,
        old: &[Ranked],
        new: &[Ranked],
        changes: &mut Changes,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        for (sign, ranked) in rank::difference(old, new) {
            if changes.signs.len() == CHUNK_ROWS_MAX {
                let full = std::mem::replace(changes, self.none()?);
                self.emit(full, context, out)?;
            }
            changes.rows.push(ranked.placed.row())?;
            changes.ranks.push(ranked.rank as i64);
            changes.signs.push(sign);
        }
        Ok(())
    }

    fn emit(
        &self,
        changes: Changes,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let mut columns = changes.rows.finish().columns().to_vec();
        columns.push(Arc::new(Int64Array::from(changes.ranks)) as ArrayRef);
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| OperatorError::columns(self.id, &error))?;
        let takes_back = changes.signs.iter().any(|sign| *sign < 0);
        let diff = takes_back.then(|| Int8Array::from(changes.signs));
        let chunk = Chunk {
            diff,
            ..Chunk::inserts(batch)
        };
        out.emit(chunk, context)
    }
}

/// One distinct row of a partition, as the state has it.
struct Entry<'a> {
    /// Its place in the order, and the row.
    placed: &'a [u8],
    order_bytes: usize,
    count: u64,
}

impl<'a> Entry<'a> {
    /// Reads an entry whose key begins with the `prefix_bytes` of its partition.
    fn read(key: &'a [u8], mut value: &[u8], prefix_bytes: usize) -> Result<Self, StateError> {
        let count = read_varint(&mut value)?;
        let length = read_varint(&mut value)?;
        let placed = &key[prefix_bytes..];
        let length = usize::try_from(length).ok();
        let order_bytes = length.and_then(|length| placed.len().checked_sub(length));
        match order_bytes {
            Some(order_bytes) => Ok(Self {
                placed,
                order_bytes,
                count,
            }),
            None => Err(StateError::Corrupt {
                what: "row of a ranking",
                reason: "it is longer than its key".to_owned(),
            }),
        }
    }

    /// The value of a row that has so many bytes.
    fn value(count: u64, row_bytes: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(4);
        push_varint(count, &mut value);
        push_varint(row_bytes as u64, &mut value);
        value
    }
}
