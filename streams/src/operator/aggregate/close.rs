//! What happens when event time passes the end of a window: its groups are emitted, if they were held back, and
//! forgotten, if no row can come for them.
//!
//! ```text
//! groups in memory       by `ends`
//! groups in the state    by `timers`, some at a time, through a table of their own: what waits for the end of its
//!                        window takes no memory, however much it is
//! ```

use arrow::array::ArrayRef;

use super::groups::{CLOSED, EMITTED, SAVED, emitted, read_flags};
use super::{Aggregate, Emit};
use crate::Watermark;
use crate::operator::{Context, Emitter, OperatorError};
use crate::state::{ColumnBuilder, Due, Physical, State, StateError, key};

/// Operator, vnode and the window's end.
const KEY_HEAD_BYTES: usize = 12;
/// Groups that are read from the state at once to be emitted.
const DUE_MAX: usize = 4096;

impl Aggregate {
    pub(super) fn close_windows(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let closed = self.take_closed(context.watermark);
        if self.emit == Emit::OnWindowClose {
            let is_due = |group: &u32| {
                let flags = self.groups.flags[*group as usize];
                flags & (EMITTED | CLOSED) == 0 && self.exists(*group)
            };
            let due: Vec<u32> = closed.iter().copied().filter(is_due).collect();
            self.emit_first(&due, context, out)?;
            due.into_iter().for_each(|group| self.mark_unsaved(group));
        }
        if self.closing.drops_state {
            self.forget(&closed, context.state);
        }
        if self.closes() {
            self.close_in_state(context, out)?;
        }
        Ok(())
    }

    /// The groups in memory whose windows close now.
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

    /// Forgets groups in memory. What lies below them is found by their timers.
    fn forget(&mut self, closed: &[u32], state: &mut State) {
        for &group in closed {
            let flags = &mut self.groups.flags[group as usize];
            *flags |= CLOSED;
            self.gone += 1;
            if *flags & SAVED != 0 {
                *flags &= !SAVED;
                state.delete(self.groups.state_key(group));
            }
        }
    }

    /// Emits and forgets the closed groups that are not in memory.
    fn close_in_state(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let until = self.closed_until;
        if self.timers.lowest().is_none_or(|lowest| lowest > until) {
            return Ok(());
        }
        loop {
            let due = self.timers.take_due(until, DUE_MAX, context.state)?;
            let count = due.len();
            if self.emit == Emit::OnWindowClose {
                self.emit_due(&due, context, out)?;
            }
            if self.closing.drops_state {
                for (state_key, _) in due {
                    context.state.delete(state_key);
                }
            }
            if count < DUE_MAX {
                break;
            }
        }
        if self.closing.drops_state {
            self.cold = self.cold.and_then(|mut cold| {
                cold.first_end = self.timers.lowest()?;
                (cold.first_end <= cold.last_end).then_some(cold)
            });
        }
        Ok(())
    }

    /// Emits those of these entries that are groups, were not emitted yet and are not in memory, where they were dealt with.
    fn emit_due(
        &mut self,
        due: &[Due],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let is_pending = |flags: u8| flags & EMITTED == 0;
        let (keys, pending) = self.groups_of(due, KEY_HEAD_BYTES, is_pending)?;
        if pending.is_empty() {
            return Ok(());
        }
        let known = self.groups.table.find_all(&keys, pending.len());
        let mut read = self.empty_groups();
        let numbers = read.table.intern(&keys, pending.len()).groups;
        read.resize(read.table.len());
        let mut groups = Vec::with_capacity(pending.len());
        for ((group, known), (state_key, value)) in numbers.into_iter().zip(known).zip(pending) {
            if known.is_some() {
                continue;
            }
            read.load(group as usize, &self.calls, value)?;
            groups.push(group);
            if !self.closing.drops_state {
                (context.state).put(state_key.clone(), emitted(value.clone()));
            }
        }
        let nothing = self.no_results(groups.len());
        self.emission()
            .emit(&mut read, &groups, &nothing, context, out)
    }

    /// The group columns of those of these entries that are groups with such flags, and these entries. `head_bytes` stand
    /// before the columns in a key.
    pub(super) fn groups_of<'a>(
        &self,
        due: &'a [Due],
        head_bytes: usize,
        is_meant: impl Fn(u8) -> bool,
    ) -> Result<(Vec<ArrayRef>, Vec<&'a Due>), StateError> {
        let types = || (0..self.group_by.len()).map(|place| self.schema.field(place).data_type());
        let physicals: Vec<Physical> = types().filter_map(Physical::of).collect();
        let mut builders: Vec<ColumnBuilder> = types()
            .filter_map(|data_type| ColumnBuilder::new(data_type, due.len()))
            .collect();
        let mut pending = Vec::new();
        for entry in due {
            let (state_key, value) = entry;
            let mut columns = state_key.get(head_bytes..).unwrap_or_default();
            let mut probe = columns;
            for physical in &physicals {
                key::read_cell(*physical, &mut probe, |_| Ok(()))?;
            }
            // What follows the group's key belongs to state below it.
            if !probe.is_empty() || !is_meant(read_flags(&mut value.as_slice())?) {
                continue;
            }
            for (physical, builder) in physicals.iter().zip(&mut builders) {
                key::read_cell(*physical, &mut columns, |cell| builder.push(cell))?;
            }
            pending.push(entry);
        }
        let columns = builders.into_iter().map(ColumnBuilder::finish).collect();
        Ok((columns, pending))
    }
}
