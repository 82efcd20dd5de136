//! Joins over inputs that change: both sides are kept, a change on either side corrects the output.
//!
//! ```text
//!  left chunk ──▶ left side ──▶ probe right ──▶ (left row, each match) with the left row's sign
//!  right chunk ─▶ right side ─▶ probe left  ──▶ (each match, right row) with the right row's sign
//!  outer join: a row without a match, of a side that the kind names, is padded with NULLs; the padding goes when the
//!              first match comes, and comes back when the last one goes
//!  semi, anti: a left row comes by itself as long as it has a match, or has none
//! ```
//!
//! Whether a row has a match is told by its key where nothing but the key decides; where a further condition does, the
//! matches of each row of a watched side are counted and kept with it.
//!
//! ```text
//! keyed.rs   a chunk by key        side.rs   the rows of a side, in memory and in the state   bucket.rs  those of a key
//! probe.rs   pairs                 pad.rs    rows that come by themselves                     interval.rs  ranges on time
//! stored.rs  how they lie there    numbers.rs  running numbers in place of rows
//! ```
//!
//! Invariants:
//! 1. After every chunk the output so far is the join of the inputs so far.
//! 2. A row without a key (a NULL in it, or no time) matches nothing and is never kept; if it shows, it shows at once.

mod bucket;
mod interval;
mod keyed;
mod numbers;
mod pad;
mod probe;
mod side;
mod stored;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Schema, SchemaRef};

use super::{Context, Emitter, Memory, Operator, OperatorError};
use crate::state::{State, row};
use crate::{BatchExpr, Chunk, JoinKind, JoinRange, JoinSpec, OperatorId};
use interval::Dropping;
use keyed::{KeyColumns, Keyed};
use probe::Probe;
use side::{Change, Side, SideSpec};

/// See the module.
pub(super) struct Join {
    id: OperatorId,
    kind: JoinKind,
    residual: Option<Arc<dyn BatchExpr>>,
    range: Option<JoinRange>,
    /// What comes out.
    schema: SchemaRef,
    /// What the condition reads: the columns of both sides.
    pair_schema: SchemaRef,
    sides: [Side; 2],
    hasher: foldhash::fast::RandomState,
    dropping: Dropping,
}

impl Join {
    pub(super) fn new(
        id: OperatorId,
        spec: &JoinSpec,
        schemas: [&SchemaRef; 2],
        append_only: [bool; 2],
        schema: &SchemaRef,
        memory: &Memory,
    ) -> Self {
        let side = |number: usize, keys: &[usize]| {
            let time = spec.range.as_ref();
            let spec = SideSpec {
                keys: KeyColumns {
                    columns: keys.to_vec(),
                    null_is_equal: spec.null_is_equal,
                    time: time.map(|range| [range.left, range.right][number]),
                },
                schema: schemas[number].clone(),
                append_only: append_only[number],
                degrees: spec.counts_matches(number),
            };
            Side::new(number as u8, id, spec, memory)
        };
        let fields = schemas.iter().flat_map(|schema| schema.fields()).cloned();
        Self {
            id,
            kind: spec.kind,
            residual: spec.residual.clone(),
            range: spec.range,
            schema: schema.clone(),
            pair_schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            sides: [side(0, &spec.left_keys), side(1, &spec.right_keys)],
            hasher: foldhash::fast::RandomState::default(),
            dropping: Dropping::default(),
        }
    }

    /// Whether the key alone tells if a row has a match.
    fn decides_by_key(&self) -> bool {
        self.residual.is_none() && self.range.is_none()
    }

    /// Which of these keys have rows on side `port`.
    fn present(
        &self,
        port: usize,
        slots: &[u32],
        state: &State,
    ) -> Result<Vec<bool>, OperatorError> {
        let has_rows = |&slot: &u32| Ok(self.sides[port].has_rows(state, slot)?);
        slots.iter().map(has_rows).collect()
    }

    /// Writes the chunk into its side; `matches`: how many rows each row matches.
    fn keep(
        &mut self,
        port: usize,
        chunk: &Chunk,
        keyed: &Keyed,
        slots: &[u32],
        matches: &[u64],
        state: &mut State,
    ) -> Result<(), OperatorError> {
        let columns = row::columns_of(chunk.batch.columns())?;
        let mut bytes = Vec::with_capacity(64);
        for index in 0..chunk.len() {
            let Some(number) = keyed.of_row(index) else {
                continue;
            };
            bytes.clear();
            row::push_row(&columns, index, &mut bytes);
            let change = Change {
                slot: slots[number],
                time: keyed.time(index),
                row: &bytes,
                sign: chunk.sign(index),
                degree: matches.get(index).copied().unwrap_or(0),
            };
            self.sides[port].write(state, &change)?;
        }
        Ok(())
    }

    /// Emits the rows of the chunk that come by themselves.
    fn emit_own(
        &self,
        port: usize,
        chunk: &Chunk,
        matches: &[u64],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        for matched in [false, true] {
            if !self.kind.alone(port, matched) {
                continue;
            }
            let rows = (0..chunk.len()).filter(|&row| (matches[row] > 0) == matched);
            let rows: Vec<u32> = rows.map(|row| row as u32).collect();
            let signs = rows.iter().map(|&row| chunk.sign(row as usize)).collect();
            let batch: RecordBatch = if rows.len() == chunk.len() {
                chunk.batch.clone()
            } else {
                take_record_batch(&chunk.batch, &UInt32Array::from(rows))
                    .map_err(|error| OperatorError::columns(self.id, &error))?
            };
            self.emit_alone(port, &batch, signs, matched, context, out)?;
        }
        Ok(())
    }
}

/// The slots of the keys whose presence turned to `now`.
fn turned(slots: &[u32], before: &[bool], after: &[bool], now: bool) -> Vec<u32> {
    let changes = slots.iter().zip(before.iter().zip(after));
    let turned = changes.filter(|(_, (before, after))| **before != now && **after == now);
    turned.map(|(slot, _)| *slot).collect()
}

impl Operator for Join {
    fn open(&mut self, state: &State) -> Result<(), OperatorError> {
        Ok(Side::open(&mut self.sides, state)?)
    }

    fn on_chunk(
        &mut self,
        port: usize,
        chunk: Chunk,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        self.sides.iter_mut().for_each(Side::trim);
        let keyed = self.sides[port].keyed(&chunk.batch, &self.hasher)?;
        let other = 1 - port;
        let by_key = self.decides_by_key();
        let turns = self.kind.watches(other) && by_key;
        let own_slots = if self.sides[port].spec.append_only && !turns {
            self.sides[port].touch(&keyed)
        } else {
            self.sides[port].load(context.state, &keyed, true)?
        };
        let is_probed = self.kind.pairs() || self.kind.watches(port) || !by_key;
        let slots = if is_probed || turns {
            self.sides[other].load(context.state, &keyed, false)?
        } else {
            Vec::new()
        };
        let mut gone = Vec::new();
        if turns {
            let before = self.present(port, &own_slots, context.state)?;
            self.keep(port, &chunk, &keyed, &own_slots, &[], context.state)?;
            let after = self.present(port, &own_slots, context.state)?;
            let come = turned(&slots, &before, &after, true);
            gone = turned(&slots, &before, &after, false);
            self.turn_keys(other, &come, true, context, out)?;
        }
        let matches = if is_probed {
            let probe = Probe {
                port,
                chunk: &chunk,
                keyed: &keyed,
                slots: &slots,
            };
            self.probe(&probe, context, out)?
        } else {
            vec![0; chunk.len()]
        };
        self.emit_own(port, &chunk, &matches, context, out)?;
        self.turn_keys(other, &gone, false, context, out)?;
        if !turns {
            self.keep(port, &chunk, &keyed, &own_slots, &matches, context.state)?;
        }
        Ok(())
    }

    fn on_epoch_end(
        &mut self,
        context: &mut Context<'_>,
        _out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        self.dropping.reach(context.watermark);
        Ok(())
    }

    fn on_commit(&mut self, state: &mut State) -> Result<(), OperatorError> {
        let due = self.range.and_then(|range| self.dropping.due(&range));
        for side in &mut self.sides {
            side.commit(state, due.is_some());
        }
        if let Some(before) = due {
            for (side, before) in self.sides.iter_mut().zip(before) {
                side.drop_before(state, before)?;
            }
        }
        Ok(())
    }

    fn dirty_bytes(&self) -> usize {
        self.sides.iter().map(Side::dirty_bytes).sum()
    }

    fn size_bytes(&self) -> usize {
        self.sides.iter().map(Side::size_bytes).sum()
    }
}
