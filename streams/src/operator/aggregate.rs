//! Aggregate: groups rows and keeps results up to date.
//!
//! ```text
//! chunk ─▶ GroupTable ─▶ accumulators          (hot: columns in memory)
//!              │ unknown group, `cold`            ▲ load
//!              └──────────────▶ state ────────────┘        one put a changed group and commit
//! end of epoch: changed groups emit −old +new (nothing where both are equal)
//! window closes: the group goes from memory; from the state too where no row can come for it any more
//! ```
//!
//! The old row of a group is what its accumulators gave before the first change of the epoch: it is computed then, so
//! nothing has to remember what was emitted.
//!
//! State, by group key, version 2:
//! `[version u8][flags varint: 1 = emitted, 2 = overflowed][rows zigzag] n × ([call varint][length varint, accumulator])`.
//! An aggregate that is unknown here is passed over, one that is not there yet is empty.
//!
//! Invariants:
//! 1. A group without rows does not exist, but for the one of an aggregation without group columns.
//! 2. A group in memory that is not `UNSAVED` equals its state; one that is not in memory may be in the state only where
//!    `cold` says so.
//! 3. With [`Emit::OnWindowClose`], groups that have not been emitted are always in memory.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::array::{
    Array, ArrayRef, Int8Array, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute::{concat, interleave, take_arrays};
use arrow::datatypes::{DataType, SchemaRef};

use super::{CHUNK_ROWS_MAX, Context, Emitter, Memory, Operator, OperatorError};
use crate::aggregate::{
    Accumulator, GroupTable, Input, SubState, accumulator, keeps_values, mask_of, retain_at,
};
use crate::operator::effects::row_text;
use crate::state::row::{
    push_bytes, push_varint, push_zigzag, read_bytes, read_exact, read_varint, read_zigzag,
};
use crate::state::{
    Cell, Column, ColumnBuilder, Physical, ScanOrder, State, StateError, key, prefix_end,
};
use crate::{AggregateCall, AggregateSpec, Chunk, Emit, OperatorId, Watermark};

/// Changed since the last emission.
const CHANGED: u8 = 1;
/// Changed since the last commit.
const UNSAVED: u8 = 1 << 1;
/// Its row is out there.
const EMITTED: u8 = 1 << 2;
/// The state has it.
const SAVED: u8 = 1 << 3;
/// Its window is closed for good: it is to be forgotten.
const CLOSED: u8 = 1 << 4;
/// Changed in the running commit: not evicted at its end.
const TOUCHED: u8 = 1 << 5;
/// A result does not fit its type, and that was said.
const OVERFLOWED: u8 = 1 << 6;

/// Layout of a group's state.
const VERSION: u8 = 2;

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
    calls: Vec<AggregateCall>,
    emit: Emit,
    schema: SchemaRef,
    closing: Closing,
    memory: Memory,
    /// Whether groups keep counts of values below their own state.
    state_below: bool,
    groups: GroupTable,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// Rows of each group.
    rows: Vec<i64>,
    flags: Vec<u8>,
    /// Groups with `CHANGED`, in the order of their change, and how they were before it.
    changed: Vec<u32>,
    before: Vec<Before>,
    /// Groups with `UNSAVED`.
    unsaved: Vec<u32>,
    /// Groups by the end of their window.
    ends: BTreeMap<i64, Vec<u32>>,
    /// Windows that end here or earlier are closed.
    closed_until: i64,
    /// Which groups the state may hold that are not in memory.
    cold: Option<Cold>,
    /// Groups in the table that are of no use any more.
    gone: usize,
}

/// Groups whose window ends in here may be in the state without being in memory: what event time has passed is not
/// looked for again. Groups without a window are all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cold {
    first_end: i64,
    last_end: i64,
}

impl Cold {
    const ALL: Self = Self {
        first_end: i64::MIN,
        last_end: i64::MAX,
    };

    fn holds(self, window_end: Option<i64>) -> bool {
        window_end.is_none_or(|end| (self.first_end..=self.last_end).contains(&end))
    }

    fn with(known: Option<Self>, window_end: i64) -> Self {
        let known = known.unwrap_or(Self {
            first_end: window_end,
            last_end: window_end,
        });
        Self {
            first_end: known.first_end.min(window_end),
            last_end: known.last_end.max(window_end),
        }
    }
}

/// Some groups as they were before they changed.
struct Before {
    groups: usize,
    /// Results; `None` where no group of these existed.
    columns: Option<Vec<ArrayRef>>,
}

impl Aggregate {
    pub(super) fn new(
        id: OperatorId,
        spec: &AggregateSpec,
        input: &SchemaRef,
        schema: &SchemaRef,
        append_only: bool,
        closing: Closing,
        memory: Memory,
    ) -> Self {
        let columns: Vec<(DataType, bool)> = spec
            .group_by
            .iter()
            .map(|&column| {
                (
                    input.field(column).data_type().clone(),
                    input.field(column).is_nullable(),
                )
            })
            .collect();
        let accumulators = spec
            .aggregates
            .iter()
            .map(|call| accumulator(call, call.id, input, append_only))
            .collect();
        Self {
            id,
            group_by: spec.group_by.clone(),
            calls: spec.aggregates.clone(),
            emit: spec.emit,
            schema: schema.clone(),
            closing: Closing {
                drops_state: closing.drops_state && spec.window_end.is_some(),
                ..closing
            },
            memory,
            state_below: spec
                .aggregates
                .iter()
                .any(|call| keeps_values(call, append_only)),
            groups: GroupTable::new(id.0, &columns, spec.window_end),
            accumulators,
            rows: Vec::new(),
            flags: Vec::new(),
            changed: Vec::new(),
            before: Vec::new(),
            unsaved: Vec::new(),
            ends: BTreeMap::new(),
            closed_until: i64::MIN,
            cold: None,
            gone: 0,
        }
    }

    fn is_global(&self) -> bool {
        self.group_by.is_empty()
    }

    fn exists(&self, group: u32) -> bool {
        self.is_global() || self.rows[group as usize] > 0
    }

    /// Makes room for the groups that the table has got, from `known` on, and brings them in from the state.
    fn admit(&mut self, known: usize, state: &State) -> Result<(), StateError> {
        let count = self.groups.len();
        if count == known {
            return Ok(());
        }
        self.rows.resize(count, 0);
        self.flags.resize(count, 0);
        self.accumulators
            .iter_mut()
            .for_each(|accumulator| accumulator.resize(count));
        for group in known as u32..count as u32 {
            if let Some(end) = self.groups.window_end(group) {
                self.ends.entry(end).or_default().push(group);
            }
        }
        let Some(cold) = self.cold else {
            return Ok(());
        };
        let looked_for: Vec<u32> = (known as u32..count as u32)
            .filter(|&group| cold.holds(self.groups.window_end(group)))
            .collect();
        let keys: Vec<Vec<u8>> = looked_for
            .iter()
            .map(|&group| self.state_key(group))
            .collect();
        for (group, value) in looked_for.into_iter().zip(state.get_many(&keys)?) {
            if let Some(value) = value {
                self.load(group as usize, &value)?;
            }
        }
        Ok(())
    }

    fn state_key(&self, group: u32) -> Vec<u8> {
        let mut state_key = Vec::with_capacity(64);
        self.groups.state_key(group, &mut state_key);
        state_key
    }

    fn load(&mut self, group: usize, mut value: &[u8]) -> Result<(), StateError> {
        let bytes = &mut value;
        let flags = read_flags(bytes)?;
        self.rows[group] = read_zigzag(bytes)?;
        while !bytes.is_empty() {
            let id = read_varint(bytes)?;
            let mut saved = read_bytes(bytes)?;
            let call = self.calls.iter().position(|call| u64::from(call.id) == id);
            if let Some(call) = call {
                self.accumulators[call].load(group, &mut saved)?;
            }
        }
        self.flags[group] |= SAVED | flags;
        Ok(())
    }

    fn save(&self, group: u32) -> Vec<u8> {
        let flags = self.flags[group as usize];
        let mut value = Vec::with_capacity(64);
        value.push(VERSION);
        let said = u64::from(flags & EMITTED != 0) | u64::from(flags & OVERFLOWED != 0) << 1;
        push_varint(said, &mut value);
        push_zigzag(self.rows[group as usize], &mut value);
        let mut saved = Vec::with_capacity(32);
        for (call, accumulator) in self.calls.iter().zip(&self.accumulators) {
            saved.clear();
            accumulator.save(group as usize, &mut saved);
            push_varint(u64::from(call.id), &mut value);
            push_bytes(&saved, &mut value);
        }
        value
    }

    /// Notes which groups of these rows change for the first time in this epoch, and how they are before.
    fn note_changes(&mut self, groups: &[u32]) {
        let from = self.changed.len();
        for &group in groups {
            let flags = &mut self.flags[group as usize];
            if *flags & CHANGED == 0 {
                *flags |= CHANGED | TOUCHED;
                self.changed.push(group);
            }
        }
        let newly = &self.changed[from..];
        if newly.is_empty() {
            return;
        }
        let existed = newly
            .iter()
            .any(|&group| self.flags[group as usize] & EMITTED != 0);
        let columns = existed.then(|| self.results(newly, &mut Vec::new()));
        self.before.push(Before {
            groups: newly.len(),
            columns,
        });
    }

    fn results(&self, groups: &[u32], overflowed: &mut Vec<usize>) -> Vec<ArrayRef> {
        self.accumulators
            .iter()
            .map(|accumulator| accumulator.evaluate(groups, overflowed))
            .collect()
    }

    /// How the changed groups were before, one column an aggregate.
    fn old_results(&mut self) -> Result<Vec<ArrayRef>, OperatorError> {
        let before = std::mem::take(&mut self.before);
        if before.iter().all(|before| before.columns.is_none()) {
            let count = before.iter().map(|before| before.groups).sum();
            return Ok(self
                .calls
                .iter()
                .map(|call| new_null_array(&call.output, count))
                .collect());
        }
        self.calls
            .iter()
            .enumerate()
            .map(|(number, call)| {
                let parts: Vec<ArrayRef> = before
                    .iter()
                    .map(|before| match &before.columns {
                        Some(columns) => columns[number].clone(),
                        None => new_null_array(&call.output, before.groups),
                    })
                    .collect();
                let parts: Vec<&dyn Array> = parts.iter().map(|part| &**part).collect();
                concat(&parts).map_err(|error| OperatorError::columns(self.id, &error))
            })
            .collect()
    }

    /// Emits −old +new for groups, where something changed. `old` has a row for each of them.
    fn emit_rows(
        &mut self,
        groups: &[u32],
        old: &[ArrayRef],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        // Two rows a group at most.
        for from in (0..groups.len()).step_by(CHUNK_ROWS_MAX / 2) {
            let part = &groups[from..groups.len().min(from + CHUNK_ROWS_MAX / 2)];
            let old: Vec<ArrayRef> = old
                .iter()
                .map(|column| column.slice(from, part.len()))
                .collect();
            if let Some(chunk) = self.changes(part, &old, context)? {
                out.emit(chunk, context)?;
            }
        }
        Ok(())
    }

    fn changes(
        &mut self,
        groups: &[u32],
        old: &[ArrayRef],
        context: &mut Context<'_>,
    ) -> Result<Option<Chunk>, OperatorError> {
        const OLD: usize = 0;
        const NEW: usize = 1;
        let id = self.id;
        let columns_error = |error| OperatorError::columns(id, &error);
        let mut overflowed = Vec::new();
        let new = self.results(groups, &mut overflowed);
        let keys = self.groups.columns(groups);
        let overflowed = self.report_overflow(groups, overflowed, &keys, &new, context);
        let old_cells: Vec<Column<'_>> = old.iter().filter_map(Column::of).collect();
        let new_cells: Vec<Column<'_>> = new.iter().filter_map(Column::of).collect();
        let mut picks: Vec<(usize, usize)> = Vec::with_capacity(groups.len() * 2);
        for (row, &group) in groups.iter().enumerate() {
            if self.rows[group as usize] < 0 {
                return Err(OperatorError::Inconsistent {
                    operator: self.id,
                    reason: format!("a group has {} rows", self.rows[group as usize]),
                });
            }
            let existed = self.flags[group as usize] & EMITTED != 0;
            let exists = self.exists(group) && overflowed.binary_search(&row).is_err();
            let equal = || {
                old_cells
                    .iter()
                    .zip(&new_cells)
                    .all(|(old, new)| same(old.cell(row), new.cell(row)))
            };
            if existed && exists && equal() {
                continue;
            }
            if existed {
                picks.push((OLD, row));
            }
            if exists {
                picks.push((NEW, row));
                self.flags[group as usize] |= EMITTED;
            } else {
                self.flags[group as usize] &= !EMITTED;
            }
        }
        if picks.is_empty() {
            return Ok(None);
        }
        let rows: UInt32Array = picks
            .iter()
            .map(|(_, row)| *row as u32)
            .collect::<Vec<_>>()
            .into();
        let mut columns = take_arrays(&keys, &rows, None).map_err(columns_error)?;
        for (old, new) in old.iter().zip(&new) {
            columns.push(interleave(&[&**old, &**new], &picks).map_err(columns_error)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(columns_error)?;
        let signs: Vec<i8> = picks
            .iter()
            .map(|(which, _)| if *which == NEW { 1 } else { -1 })
            .collect();
        let diff = signs.contains(&-1).then(|| Int8Array::from(signs));
        Ok(Some(Chunk {
            diff,
            ..Chunk::inserts(batch)
        }))
    }

    /// Results that do not fit their type: the group's row is withheld until it fits again, and the error topic says so
    /// when that begins. Gives the places of these groups, rising.
    fn report_overflow(
        &mut self,
        groups: &[u32],
        mut overflowed: Vec<usize>,
        keys: &[ArrayRef],
        new: &[ArrayRef],
        context: &mut Context<'_>,
    ) -> Vec<usize> {
        overflowed.sort_unstable();
        overflowed.dedup();
        let mut begins = Vec::new();
        for (place, &group) in groups.iter().enumerate() {
            let flags = &mut self.flags[group as usize];
            let before = *flags & OVERFLOWED != 0;
            match overflowed.binary_search(&place) {
                Ok(_) if !before => {
                    *flags |= OVERFLOWED;
                    begins.push(place);
                }
                Ok(_) => {}
                Err(_) => *flags &= !OVERFLOWED,
            }
        }
        if begins.is_empty() {
            return overflowed;
        }
        let columns: Vec<ArrayRef> = keys.iter().chain(new).cloned().collect();
        if let Ok(batch) = RecordBatch::try_new(self.schema.clone(), columns) {
            let chunk = Chunk::inserts(batch);
            for row in begins {
                let reason = format!(
                    "an aggregate does not fit its type in {}",
                    row_text(&chunk, row)
                );
                context.effects.output_failed(None, reason);
            }
        }
        overflowed
    }

    /// The groups whose windows close now.
    fn take_closed(&mut self, watermark: Watermark) -> Vec<u32> {
        let Some(reached) = watermark.reached() else {
            return Vec::new();
        };
        let until = reached
            .saturating_sub(self.closing.grace_us)
            .max(self.closed_until);
        self.closed_until = until;
        if self
            .ends
            .first_key_value()
            .is_none_or(|(&end, _)| end > until)
        {
            return Vec::new();
        }
        let open = self.ends.split_off(&until.saturating_add(1));
        std::mem::replace(&mut self.ends, open)
            .into_values()
            .flatten()
            .collect()
    }

    /// Forgets the state of everything that ended at or before `closed_until`, in memory (`closed`) or not.
    fn drop_closed(
        &mut self,
        closed: &[u32],
        cold_from: i64,
        state: &mut State,
    ) -> Result<(), StateError> {
        for &group in closed {
            self.flags[group as usize] |= CLOSED;
            self.gone += 1;
            if self.state_below || self.flags[group as usize] & SAVED != 0 {
                self.delete_state(group, state)?;
            }
        }
        match self.cold {
            Some(cold) if cold.first_end <= self.closed_until => self.drop_cold(cold_from, state),
            _ => Ok(()),
        }
    }

    /// Forgets the state of closed groups that are not in memory. The window's end is the head of their keys: one range a
    /// vnode. Where it ends is the next one that will close.
    fn drop_cold(&mut self, from: i64, state: &mut State) -> Result<(), StateError> {
        let until = self.closed_until;
        let mut next: Option<i64> = None;
        for vnode in 0..key::VNODES as u16 {
            let mut prefix = self.id.0.to_be_bytes().to_vec();
            prefix.extend_from_slice(&vnode.to_be_bytes());
            let mut first = prefix.clone();
            key::push_i64(from, &mut first);
            let mut closed = Vec::new();
            state.scan(
                &first,
                &prefix_end(&prefix),
                ScanOrder::Ascending,
                |state_key, _| match window_end_of(state_key) {
                    Some(end) if end <= until => {
                        closed.push(state_key.to_vec());
                        ControlFlow::Continue(())
                    }
                    end => {
                        next = end.into_iter().chain(next).min();
                        ControlFlow::Break(())
                    }
                },
            )?;
            closed
                .into_iter()
                .for_each(|state_key| state.delete(state_key));
        }
        self.cold = self.cold.and_then(|cold| {
            let first_end = next.filter(|&next| next <= cold.last_end)?;
            Some(Cold { first_end, ..cold })
        });
        Ok(())
    }

    /// Deletes a group's value and what lies below it.
    fn delete_state(&mut self, group: u32, state: &mut State) -> Result<(), StateError> {
        let state_key = self.state_key(group);
        if self.state_below {
            let mut keys = Vec::new();
            state.scan_prefix(&state_key, ScanOrder::Ascending, |below, _| {
                keys.push(below.to_vec());
                ControlFlow::Continue(())
            })?;
            keys.into_iter().for_each(|below| state.delete(below));
        }
        self.flags[group as usize] &= !SAVED;
        state.delete(state_key);
        Ok(())
    }

    /// Which windows the state holds groups of.
    fn find_cold(&self, state: &State) -> Result<Option<Cold>, StateError> {
        let mut cold = None;
        let (from, to) = key::operator_range(self.id.0);
        state.scan(&from, &to, ScanOrder::Ascending, |_, _| {
            cold = Some(Cold::ALL);
            ControlFlow::Break(())
        })?;
        if cold.is_none() || !self.closing.drops_state {
            return Ok(cold);
        }
        let mut found = None;
        for vnode in 0..key::VNODES as u16 {
            let mut prefix = self.id.0.to_be_bytes().to_vec();
            prefix.extend_from_slice(&vnode.to_be_bytes());
            for order in [ScanOrder::Ascending, ScanOrder::Descending] {
                state.scan_prefix(&prefix, order, |state_key, _| {
                    if let Some(end) = window_end_of(state_key) {
                        found = Some(Cold::with(found, end));
                    }
                    ControlFlow::Break(())
                })?;
            }
        }
        Ok(found)
    }

    /// Brings in the groups that were not emitted yet, for [`Emit::OnWindowClose`].
    fn load_pending(&mut self, state: &State) -> Result<(), StateError> {
        let physicals: Vec<(DataType, Physical)> = self
            .group_by
            .iter()
            .enumerate()
            .filter_map(|(place, _)| {
                let data_type = self.schema.field(place).data_type().clone();
                let physical = Physical::of(&data_type)?;
                Some((data_type, physical))
            })
            .collect();
        let mut builders: Vec<ColumnBuilder> = physicals
            .iter()
            .filter_map(|(data_type, _)| ColumnBuilder::new(data_type, 16))
            .collect();
        let mut found = 0;
        let mut failed = None;
        let (from, to) = key::operator_range(self.id.0);
        state.scan(&from, &to, ScanOrder::Ascending, |state_key, value| {
            let mut columns = state_key.get(12..).unwrap_or_default();
            let read = (|| {
                let mut probe = columns;
                for (_, physical) in &physicals {
                    key::read_cell(*physical, &mut probe, |_| Ok(()))?;
                }
                // What follows the group's key belongs to state below it.
                if !probe.is_empty() || read_flags(&mut &*value)? & EMITTED != 0 {
                    return Ok(());
                }
                for ((_, physical), builder) in physicals.iter().zip(&mut builders) {
                    key::read_cell(*physical, &mut columns, |cell| builder.push(cell))?;
                }
                found += 1;
                Ok(())
            })();
            match read {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let columns: Vec<ArrayRef> = builders.into_iter().map(ColumnBuilder::finish).collect();
        let interned = self.groups.intern(&columns, found);
        self.admit(interned.known, state)
    }

    /// What is cold once any of the groups in memory may have left it.
    fn cold_with_all(&self) -> Option<Cold> {
        if !self.closing.drops_state {
            return Some(Cold::ALL);
        }
        // As in the keys: a group without a window's end lies behind all others.
        let ends = (0..self.groups.len() as u32)
            .map(|group| self.groups.window_end(group).unwrap_or(i64::MAX))
            .filter(|&end| end > self.closed_until);
        ends.fold(self.cold, |cold, end| Some(Cold::with(cold, end)))
    }

    /// Gives up groups that are of no use, and, over the limit, such as did not change in this commit.
    fn shrink(&mut self) {
        let bytes_each = 32
            + self
                .accumulators
                .iter()
                .map(|accumulator| accumulator.group_bytes())
                .sum::<usize>();
        let bytes = self.groups.size_bytes() + self.groups.len() * bytes_each;
        let over = bytes > self.memory.cache_bytes;
        if self.is_global() || !(over || self.gone * 4 > self.groups.len().max(64)) {
            self.flags.iter_mut().for_each(|flags| *flags &= !TOUCHED);
            return;
        }
        let useful = |group: u32| {
            let flags = self.flags[group as usize];
            flags & CLOSED == 0 && self.rows[group as usize] > 0
        };
        let pending = |group: u32| {
            self.emit == Emit::OnWindowClose && self.flags[group as usize] & EMITTED == 0
        };
        let mut kept: Vec<u32> = (0..self.groups.len() as u32)
            .filter(|&group| useful(group))
            .collect();
        if over && kept.len() * (bytes / self.groups.len().max(1)) > self.memory.cache_bytes {
            let hot = kept
                .iter()
                .filter(|&&group| self.flags[group as usize] & TOUCHED != 0)
                .count();
            let hot_fits = hot * (bytes / self.groups.len().max(1)) <= self.memory.cache_bytes / 2;
            kept.retain(|&group| {
                pending(group) || (hot_fits && self.flags[group as usize] & TOUCHED != 0)
            });
            self.cold = self.cold_with_all();
        }
        self.groups.retain(&kept);
        self.accumulators
            .iter_mut()
            .for_each(|accumulator| accumulator.retain(&kept));
        retain_at(&mut self.rows, &kept);
        retain_at(&mut self.flags, &kept);
        self.flags.iter_mut().for_each(|flags| *flags &= !TOUCHED);
        self.gone = 0;
        self.ends.clear();
        for group in 0..self.groups.len() as u32 {
            if let Some(end) = self.groups.window_end(group)
                && end > self.closed_until
            {
                self.ends.entry(end).or_default().push(group);
            }
        }
    }
}

/// The end of the window that a group's state key begins with.
fn window_end_of(state_key: &[u8]) -> Option<i64> {
    let end: &[u8; 8] = state_key.get(4..)?.first_chunk()?;
    Some((u64::from_be_bytes(*end) ^ (1 << 63)) as i64)
}

/// Reads the head of a group's state: its flags, as they are in memory.
fn read_flags(bytes: &mut &[u8]) -> Result<u8, StateError> {
    let version = read_exact(1, bytes)?[0];
    if version != VERSION {
        return Err(StateError::Corrupt {
            what: "state of a group",
            reason: format!("it has version {version}, this program knows {VERSION}"),
        });
    }
    let said = read_varint(bytes)?;
    let emitted = if said & 1 != 0 { EMITTED } else { 0 };
    Ok(emitted | if said & 2 != 0 { OVERFLOWED } else { 0 })
}

/// Whether two results are the same row's: NULL equals NULL, NaN equals NaN.
fn same(left: Cell<'_>, right: Cell<'_>) -> bool {
    match (left, right) {
        (Cell::F64(left), Cell::F64(right)) => left.to_bits() == right.to_bits(),
        (Cell::F32(left), Cell::F32(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}

impl Operator for Aggregate {
    fn open(&mut self, state: &State) -> Result<(), OperatorError> {
        self.cold = self.find_cold(state)?;
        if self.is_global() {
            let interned = self.groups.intern(&[], 0);
            self.admit(interned.known, state)?;
            if self.flags[0] & EMITTED == 0 {
                self.note_changes(&[0]);
            }
        } else if self.emit == Emit::OnWindowClose && self.cold.is_some() {
            self.load_pending(state)?;
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
        let keys: Vec<ArrayRef> = self
            .group_by
            .iter()
            .map(|&column| columns[column].clone())
            .collect();
        let interned = self.groups.intern(&keys, chunk.len());
        self.admit(interned.known, context.state)?;
        self.note_changes(&interned.groups);
        let groups = interned.groups.as_slice();
        let signs: Option<&[i8]> = chunk.diff.as_ref().map(|diff| &**diff.values());
        let rows = self.rows.as_mut_slice();
        Input {
            groups,
            values: None,
            signs,
            mask: None,
        }
        .for_each(|_, group, sign| rows[group] += sign);
        for (call, accumulator) in self.calls.iter().zip(&mut self.accumulators) {
            let mask = mask_of(call, columns).map_err(|reason| OperatorError::Columns {
                operator: self.id,
                reason,
            })?;
            let values = call.argument.map(|argument| &columns[argument]);
            let mut below = SubState {
                state: context.state,
                groups: &self.groups,
                operator: self.id,
            };
            accumulator.update(
                &Input {
                    groups,
                    values,
                    signs,
                    mask,
                },
                &mut below,
            )?;
        }
        Ok(())
    }

    fn on_epoch_end(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let changed = std::mem::take(&mut self.changed);
        if !changed.is_empty() {
            let old = self.old_results()?;
            for &group in &changed {
                let flags = &mut self.flags[group as usize];
                *flags &= !CHANGED;
                if *flags & UNSAVED == 0 {
                    *flags |= UNSAVED;
                    self.unsaved.push(group);
                }
            }
            match self.emit {
                Emit::Changes => self.emit_rows(&changed, &old, context, out)?,
                Emit::OnWindowClose => {
                    // Only what is out there already can be corrected now.
                    let corrected: Vec<u32> = (0..changed.len() as u32)
                        .filter(|&place| {
                            self.flags[changed[place as usize] as usize] & EMITTED != 0
                        })
                        .collect();
                    let groups: Vec<u32> = corrected
                        .iter()
                        .map(|&place| changed[place as usize])
                        .collect();
                    let old = take_arrays(&old, &UInt32Array::from(corrected), None)
                        .map_err(|error| OperatorError::columns(self.id, &error))?;
                    self.emit_rows(&groups, &old, context, out)?;
                }
            }
        }
        let closed_before = self.closed_until;
        let closed = self.take_closed(context.watermark);
        if self.emit == Emit::OnWindowClose {
            let due: Vec<u32> = closed
                .iter()
                .copied()
                .filter(|&group| {
                    self.flags[group as usize] & (EMITTED | CLOSED) == 0 && self.exists(group)
                })
                .collect();
            let nothing: Vec<ArrayRef> = self
                .calls
                .iter()
                .map(|call| new_null_array(&call.output, due.len()))
                .collect();
            self.emit_rows(&due, &nothing, context, out)?;
            for group in due {
                if self.flags[group as usize] & UNSAVED == 0 {
                    self.flags[group as usize] |= UNSAVED;
                    self.unsaved.push(group);
                }
            }
        }
        if self.closing.drops_state && self.closed_until > closed_before {
            self.drop_closed(&closed, closed_before, context.state)?;
        }
        Ok(())
    }

    fn on_commit(&mut self, state: &mut State) -> Result<(), OperatorError> {
        debug_assert!(self.changed.is_empty(), "an epoch ends before its commit");
        for group in std::mem::take(&mut self.unsaved) {
            self.flags[group as usize] &= !UNSAVED;
            if self.flags[group as usize] & CLOSED != 0 {
                continue;
            }
            if !self.exists(group) {
                self.gone += 1;
                if self.flags[group as usize] & SAVED != 0 {
                    self.delete_state(group, state)?;
                }
                continue;
            }
            let value = self.save(group);
            self.flags[group as usize] |= SAVED;
            state.put_last(self.state_key(group), value);
        }
        Ok(())
    }

    fn after_commit(&mut self) {
        self.shrink();
    }

    fn dirty_bytes(&self) -> usize {
        (self.changed.len() + self.unsaved.len()) * (64 + 16 * self.calls.len())
    }
}
