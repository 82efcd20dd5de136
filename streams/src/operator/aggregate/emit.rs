//! What leaves at the end of an epoch: −old +new for every changed group.

use arrow::array::{
    Array, ArrayRef, Int8Array, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute::{concat, interleave, take_arrays};
use arrow::datatypes::SchemaRef;

use super::Aggregate;
use super::groups::{CHANGED, EMITTED, Groups, OVERFLOWED, TOUCHED};
use crate::aggregate::SubState;
use crate::operator::effects::row_text;
use crate::operator::{CHUNK_ROWS_MAX, Context, Emitter, OperatorError};
use crate::state::{Cell, Column, State};
use crate::{AggregateCall, Chunk, Emit, OperatorId};

/// Some groups as they were before they changed.
pub(super) struct Before {
    groups: usize,
    /// Results; `None` where no group of these existed.
    columns: Option<Vec<ArrayRef>>,
}

impl Aggregate {
    /// Notes which groups of these rows change for the first time in this epoch, and how they are before.
    pub(super) fn note_changes(&mut self, groups: &[u32]) {
        let from = self.changed.len();
        for &group in groups {
            let flags = &mut self.groups.flags[group as usize];
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
            .any(|&group| self.groups.flags[group as usize] & EMITTED != 0);
        let columns = existed.then(|| self.groups.results(newly, &mut Vec::new()));
        self.before.push(Before {
            groups: newly.len(),
            columns,
        });
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

    /// Brings the results of changed groups up to date.
    pub(super) fn settle(&mut self, state: &mut State) -> Result<(), OperatorError> {
        let below = SubState {
            state,
            groups: &self.groups.table,
            operator: self.id,
            cache_bytes: self.memory.cache_bytes(),
        };
        let mut accumulators = self.groups.accumulators.iter_mut();
        accumulators.try_for_each(|accumulator| accumulator.settle(&below))
    }

    pub(super) fn emit_changed(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let changed = std::mem::take(&mut self.changed);
        if changed.is_empty() {
            return Ok(());
        }
        let old = self.old_results()?;
        for &group in &changed {
            self.groups.flags[group as usize] &= !CHANGED;
            self.mark_unsaved(group);
        }
        if self.emit == Emit::Changes {
            return self.emit_rows(&changed, &old, context, out);
        }
        // What is out there already is corrected now. A group without rows when its window closed comes with the first
        // that another side brings it: its end comes no more.
        let is_out = |place: &u32| {
            let group = changed[*place as usize];
            let end = self.groups.table.window_end(group);
            self.groups.flags[group as usize] & EMITTED != 0
                || end.is_some_and(|end| end <= self.closed_until)
        };
        let corrected: Vec<u32> = (0..changed.len() as u32).filter(is_out).collect();
        let groups: Vec<u32> = corrected
            .iter()
            .map(|&place| changed[place as usize])
            .collect();
        let old = take_arrays(&old, &UInt32Array::from(corrected), None)
            .map_err(|error| OperatorError::columns(self.id, &error))?;
        self.emit_rows(&groups, &old, context, out)
    }

    /// Emits −old +new for groups in memory. `old` has a row for each of them.
    fn emit_rows(
        &mut self,
        groups: &[u32],
        old: &[ArrayRef],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let emission = self.emission();
        emission.emit(&mut self.groups, groups, old, context, out)
    }

    /// Emits the rows of groups of which nothing is out there.
    pub(super) fn emit_first(
        &mut self,
        groups: &[u32],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let nothing = self.no_results(groups.len());
        self.emit_rows(groups, &nothing, context, out)
    }

    /// Results of `count` groups that do not exist.
    pub(super) fn no_results(&self, count: usize) -> Vec<ArrayRef> {
        let nothing = |call: &AggregateCall| new_null_array(&call.output, count);
        self.calls.iter().map(nothing).collect()
    }

    pub(super) fn emission(&self) -> Emission {
        Emission {
            id: self.id,
            schema: self.schema.clone(),
            is_global: self.is_global(),
        }
    }
}

/// Makes rows of groups.
pub(super) struct Emission {
    id: OperatorId,
    schema: SchemaRef,
    /// The one group exists without rows.
    is_global: bool,
}

impl Emission {
    /// Emits −old +new for groups, where something changed. `old` has a row for each of them.
    pub(super) fn emit(
        &self,
        known: &mut Groups,
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
            if let Some(chunk) = self.changes(known, part, &old, context)? {
                out.emit(chunk, context)?;
            }
        }
        Ok(())
    }

    fn changes(
        &self,
        known: &mut Groups,
        groups: &[u32],
        old: &[ArrayRef],
        context: &mut Context<'_>,
    ) -> Result<Option<Chunk>, OperatorError> {
        const OLD: usize = 0;
        const NEW: usize = 1;
        let id = self.id;
        let columns_error = |error| OperatorError::columns(id, &error);
        let mut overflowed = Vec::new();
        let new = known.results(groups, &mut overflowed);
        let keys = known.table.columns(groups);
        let overflowed = self.report_overflow(known, groups, overflowed, &keys, &new, context);
        let old_cells: Vec<Column<'_>> = old.iter().filter_map(Column::of).collect();
        let new_cells: Vec<Column<'_>> = new.iter().filter_map(Column::of).collect();
        let mut picks: Vec<(usize, usize)> = Vec::with_capacity(groups.len() * 2);
        for (row, &group) in groups.iter().enumerate() {
            if known.rows[group as usize] < 0 {
                return Err(OperatorError::Inconsistent {
                    operator: self.id,
                    reason: format!("a group has {} rows", known.rows[group as usize]),
                });
            }
            let existed = known.flags[group as usize] & EMITTED != 0;
            let exists = (self.is_global || known.rows[group as usize] > 0)
                && overflowed.binary_search(&row).is_err();
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
                known.flags[group as usize] |= EMITTED;
            } else {
                known.flags[group as usize] &= !EMITTED;
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
        &self,
        known: &mut Groups,
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
            let flags = &mut known.flags[group as usize];
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
}

/// Whether two results are the same row's: NULL equals NULL, NaN equals NaN.
fn same(left: Cell<'_>, right: Cell<'_>) -> bool {
    match (left, right) {
        (Cell::F64(left), Cell::F64(right)) => left.to_bits() == right.to_bits(),
        (Cell::F32(left), Cell::F32(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}
