//! Aggregate: groups rows and keeps results up to date.
//!
//! ```text
//! chunk ─▶ GroupTable ─▶ accumulators          (hot: columns in memory)
//!              │ unknown group, `cold`            ▲ load
//!              └──────────────▶ state ────────────┘        one put a changed group and commit
//! end of epoch: changed groups emit −old +new (nothing where both are equal)       emit.rs
//! window closes: the group goes from memory; from the state too where no row can come for it any more    close.rs
//! after a commit: groups that are not in use leave memory                          cache.rs
//! ```
//!
//! The old row of a group is what its accumulators gave before the first change of the epoch: it is computed then, so
//! nothing has to remember what was emitted.
//!
//! Invariants:
//! 1. A group without rows does not exist, but for the one of an aggregation without group columns.
//! 2. A group in memory that is not `UNSAVED` equals its state; one that is not in memory may be in the state only where
//!    `cold` says so, and where windows close, `timers` know its end.

mod cache;
mod close;
mod emit;
mod groups;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};

use self::cache::Cold;
use self::emit::Before;
use self::groups::{CLOSED, EMITTED, Groups, SAVED, UNSAVED};
use super::{Context, Emitter, Memory, Operator, OperatorError};
use crate::aggregate::{BoundCall, Input, SubState, mask_of};
use crate::state::{ScanOrder, State, StateError, Timers};
use crate::{AggregateCall, AggregateSpec, Chunk, Emit, OperatorId};

/// What happens when event time passes the end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closing {
    /// How long after its end a window takes rows, µs.
    pub(super) grace_us: i64,
    /// No row comes for a closed window: its state is dropped.
    pub(super) drops_state: bool,
}

/// See the module.
pub(super) struct Aggregate {
    id: OperatorId,
    group_by: Vec<usize>,
    /// Which of them is a window's end.
    window_end: Option<usize>,
    calls: Vec<AggregateCall>,
    emit: Emit,
    input: SchemaRef,
    schema: SchemaRef,
    append_only: bool,
    closing: Closing,
    memory: Memory,
    /// Whether groups keep counts of values below their own state.
    state_below: bool,
    groups: Groups,
    /// Groups with `CHANGED`, in the order of their change, and how they were before it.
    changed: Vec<u32>,
    before: Vec<Before>,
    /// Groups with `UNSAVED`.
    unsaved: Vec<u32>,
    /// Groups in memory by the end of their window.
    ends: BTreeMap<i64, Vec<u32>>,
    /// Ends of windows of which there is something in the state and not in memory.
    timers: Timers,
    /// Windows that end here or earlier are closed.
    closed_until: i64,
    /// Which groups the state may hold that are not in memory.
    cold: Option<Cold>,
    /// Groups in the table that are of no use any more.
    gone: usize,
}

impl Aggregate {
    pub(super) fn new(
        id: OperatorId,
        spec: &AggregateSpec,
        input: &SchemaRef,
        schema: &SchemaRef,
        append_only: bool,
        closing: Closing,
        memory: &Memory,
    ) -> Self {
        let keeps_values = |call: &AggregateCall| {
            let bound = BoundCall::of(call, input, append_only);
            call.function.keeps_values(&bound)
        };
        let mut aggregate = Self {
            id,
            group_by: spec.group_by.clone(),
            window_end: spec.window_end,
            calls: spec.aggregates.clone(),
            emit: spec.emit,
            input: input.clone(),
            schema: schema.clone(),
            append_only,
            closing: Closing {
                drops_state: closing.drops_state && spec.window_end.is_some(),
                ..closing
            },
            memory: memory.clone(),
            state_below: spec.aggregates.iter().any(keeps_values),
            groups: Groups::none(),
            changed: Vec::new(),
            before: Vec::new(),
            unsaved: Vec::new(),
            ends: BTreeMap::new(),
            timers: Timers::new(id.0),
            closed_until: i64::MIN,
            cold: None,
            gone: 0,
        };
        aggregate.groups = aggregate.empty_groups();
        aggregate
    }

    /// A table like that of this operator, without groups.
    fn empty_groups(&self) -> Groups {
        let field = |&column: &usize| self.input.field(column);
        let columns: Vec<(DataType, bool)> = (self.group_by.iter().map(field))
            .map(|field| (field.data_type().clone(), field.is_nullable()))
            .collect();
        let bound = |call: &AggregateCall| BoundCall::of(call, &self.input, self.append_only);
        let accumulators = (self.calls.iter()).map(|call| call.function.build(&bound(call)));
        Groups::new(self.id, &columns, self.window_end, accumulators.collect())
    }

    fn is_global(&self) -> bool {
        self.group_by.is_empty()
    }

    fn exists(&self, group: u32) -> bool {
        self.is_global() || self.groups.rows[group as usize] > 0
    }

    /// Whether the end of a window means anything.
    fn closes(&self) -> bool {
        self.closing.drops_state || self.emit == Emit::OnWindowClose
    }

    /// Makes room for the groups that the table has got, from `known` on, and brings them in from the state.
    fn admit(&mut self, known: usize, state: &State) -> Result<(), StateError> {
        let count = self.groups.table.len();
        if count == known {
            return Ok(());
        }
        self.groups.resize(count);
        for group in known as u32..count as u32 {
            if let Some(end) = self.groups.table.window_end(group) {
                self.ends.entry(end).or_default().push(group);
                if self.state_below && self.closes() {
                    self.timers.note(&self.groups.state_key(group));
                }
            }
        }
        let Some(cold) = self.cold else {
            return Ok(());
        };
        let looked_for: Vec<u32> = (known as u32..count as u32)
            .filter(|&group| cold.holds(self.groups.table.window_end(group)))
            .collect();
        let keys: Vec<Vec<u8>> = looked_for
            .iter()
            .map(|&group| self.groups.state_key(group))
            .collect();
        for (group, value) in looked_for.into_iter().zip(state.get_many(&keys)?) {
            if let Some(value) = value {
                self.groups.load(group as usize, &self.calls, &value)?;
            }
        }
        Ok(())
    }

    /// Deletes a group's value and what lies below it.
    fn delete_state(&mut self, group: u32, state: &mut State) -> Result<(), StateError> {
        let state_key = self.groups.state_key(group);
        if self.state_below {
            let mut keys = Vec::new();
            state.scan_prefix(&state_key, ScanOrder::Ascending, |below, _| {
                keys.push(below.to_vec());
                ControlFlow::Continue(())
            })?;
            keys.into_iter().for_each(|below| state.delete(below));
        }
        self.groups.flags[group as usize] &= !SAVED;
        state.delete(state_key);
        Ok(())
    }

    fn mark_unsaved(&mut self, group: u32) {
        let flags = &mut self.groups.flags[group as usize];
        if *flags & UNSAVED == 0 {
            *flags |= UNSAVED;
            self.unsaved.push(group);
        }
    }
}

impl Operator for Aggregate {
    fn open(&mut self, state: &State) -> Result<(), OperatorError> {
        self.cold = self.find_cold(state)?;
        if self.is_global() {
            let interned = self.groups.table.intern(&[], 0);
            self.admit(interned.known, state)?;
            if self.groups.flags[0] & EMITTED == 0 {
                self.note_changes(&[0]);
            }
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
        let columns = chunk.batch.columns();
        let pick = |picked: &mut dyn Iterator<Item = usize>| -> Vec<ArrayRef> {
            picked.map(|column| columns[column].clone()).collect()
        };
        let keys = pick(&mut self.group_by.iter().copied());
        let interned = self.groups.table.intern(&keys, chunk.len());
        self.admit(interned.known, context.state)?;
        self.note_changes(&interned.groups);
        let groups = interned.groups.as_slice();
        let signs: Option<&[i8]> = chunk.diff.as_ref().map(|diff| &**diff.values());
        let Groups {
            table,
            accumulators,
            rows,
            ..
        } = &mut self.groups;
        let all = Input {
            groups,
            arguments: &[],
            order_by: &[],
            signs,
            mask: None,
        };
        all.for_each(|_, group, sign| rows[group] += sign);
        // Half of what the groups may take, for all calls together.
        let cache_bytes = self.memory.cache_bytes() / 2 / self.calls.len().max(1);
        for (call, accumulator) in self.calls.iter().zip(accumulators) {
            let mask = mask_of(call, columns).map_err(|reason| OperatorError::Columns {
                operator: self.id,
                reason,
            })?;
            let input = Input {
                arguments: &pick(&mut call.arguments.iter().copied()),
                order_by: &pick(&mut call.order_by.iter().map(|(column, _)| *column)),
                mask,
                ..all
            };
            let mut below = SubState {
                state: context.state,
                groups: table,
                operator: self.id,
                cache_bytes,
            };
            accumulator.update(&input, &mut below)?;
        }
        Ok(())
    }

    fn replay(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        self.emit_all(context, out)
    }

    fn on_epoch_end(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        self.settle(context.state)?;
        self.emit_changed(context, out)?;
        self.close_windows(context, out)
    }

    fn on_commit(&mut self, state: &mut State) -> Result<(), OperatorError> {
        debug_assert!(self.changed.is_empty(), "an epoch ends before its commit");
        for group in std::mem::take(&mut self.unsaved) {
            self.groups.flags[group as usize] &= !UNSAVED;
            if self.groups.flags[group as usize] & CLOSED != 0 {
                continue;
            }
            if !self.exists(group) {
                self.gone += 1;
                if self.groups.flags[group as usize] & SAVED != 0 {
                    self.delete_state(group, state)?;
                }
                continue;
            }
            let value = self.groups.save(group, &self.calls);
            self.groups.flags[group as usize] |= SAVED;
            state.put_last(self.groups.state_key(group), value);
        }
        Ok(())
    }

    fn after_commit(&mut self) {
        self.shrink();
    }

    fn dirty_bytes(&self) -> usize {
        (self.changed.len() + self.unsaved.len()) * (64 + 16 * self.calls.len())
    }

    fn size_bytes(&self) -> usize {
        let accumulators = self.groups.accumulators.iter();
        let cached: usize = accumulators
            .map(|accumulator| accumulator.cached_bytes())
            .sum();
        self.groups.size_bytes() + cached
    }
}
