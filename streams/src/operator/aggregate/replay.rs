//! All groups once more, out of the state: some at a time, through a table of their own.

use super::Aggregate;
use super::groups::EMITTED;
use crate::operator::replay::{Entry, next_entries};
use crate::operator::{Context, Emitter, OperatorError};
use crate::state::key;

/// Operator and vnode: no window's end stands before the columns of groups that are given again.
const KEY_HEAD_BYTES: usize = 4;

impl Aggregate {
    /// Emits the row of every group. None of them is in memory yet, so that all are in the state.
    pub(super) fn emit_all(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        let (mut from, to) = key::operator_range(self.id.0);
        loop {
            let entries = next_entries(context.state, &mut from, &to)?;
            if entries.is_empty() {
                return Ok(());
            }
            self.emit_again(&entries, context, out)?;
        }
    }

    fn emit_again(
        &mut self,
        entries: &[Entry],
        context: &mut Context<'_>,
        out: &mut Emitter<'_>,
    ) -> Result<(), OperatorError> {
        // A group whose result was withheld has no row.
        let is_out = |flags: u8| flags & EMITTED != 0;
        let (keys, groups) = self.groups_of(entries, KEY_HEAD_BYTES, is_out)?;
        if groups.is_empty() {
            return Ok(());
        }
        let mut read = self.empty_groups();
        let numbers = read.table.intern(&keys, groups.len()).groups;
        read.resize(read.table.len());
        for (&number, (_, value)) in numbers.iter().zip(groups) {
            read.load(number as usize, &self.calls, value)?;
            read.flags[number as usize] &= !EMITTED;
        }
        let nothing = self.no_results(numbers.len());
        self.emission()
            .emit(&mut read, &numbers, &nothing, context, out)
    }
}
