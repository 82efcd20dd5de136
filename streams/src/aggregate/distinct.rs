//! `f(DISTINCT x)`: another accumulator that sees a value when its count becomes one, and takes it back when it
//! becomes none. The values are in the [`ValueBag`].
//!
//! Of rows that only come, values are not counted: one that is there stays, so the state is written once a value, and not
//! once a row.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take_arrays;

use super::bag::{Turn, ValueBag};
use super::seen::Seen;
use super::{Accumulator, BoundCall, Input, SubState};
use crate::error::OperatorError;
use crate::state::StateError;

/// See the module.
pub(super) struct Distinct {
    inner: Box<dyn Accumulator>,
    bag: ValueBag,
    /// Where rows only come.
    seen: Option<Seen>,
}

impl Distinct {
    pub(super) fn new(inner: Box<dyn Accumulator>, call: &BoundCall) -> Self {
        Self {
            inner,
            bag: ValueBag::new(call.number, &call.arguments, &[]),
            seen: call.append_only.then(Seen::default),
        }
    }

    /// The values that appear with these rows, or go.
    fn turns(
        &mut self,
        input: &Input<'_>,
        below: &mut SubState<'_>,
    ) -> Result<Vec<Turn>, OperatorError> {
        match &mut self.seen {
            Some(seen) => self.bag.appear(input, seen, below),
            None => Ok(self.bag.add(input, below)?.turns),
        }
    }
}

impl Accumulator for Distinct {
    fn resize(&mut self, groups: usize) {
        self.inner.resize(groups);
    }

    fn update(&mut self, input: &Input<'_>, below: &mut SubState<'_>) -> Result<(), OperatorError> {
        let turns = self.turns(input, below)?;
        if turns.is_empty() {
            return Ok(());
        }
        let rows: UInt32Array = turns
            .iter()
            .map(|turn| turn.row as u32)
            .collect::<Vec<_>>()
            .into();
        let groups: Vec<u32> = turns.iter().map(|turn| turn.group).collect();
        let signs: Vec<i8> = turns
            .iter()
            .map(|turn| if turn.appeared { 1 } else { -1 })
            .collect();
        let arguments = take_arrays(input.arguments, &rows, None)
            .map_err(|error| OperatorError::columns(below.operator, &error))?;
        let input = Input {
            groups: &groups,
            arguments: &arguments,
            order_by: &[],
            signs: Some(&signs),
            mask: None,
        };
        self.inner.update(&input, below)
    }

    fn evaluate(&self, groups: &[u32], overflowed: &mut Vec<usize>) -> ArrayRef {
        self.inner.evaluate(groups, overflowed)
    }

    fn save(&self, group: usize, out: &mut Vec<u8>) {
        self.inner.save(group, out);
    }

    fn merge(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        self.inner.merge(group, bytes)
    }

    fn retain(&mut self, kept: &[u32]) {
        self.inner.retain(kept);
        if let Some(seen) = &mut self.seen {
            seen.retain(kept);
        }
    }

    fn size_bytes(&self) -> usize {
        self.inner.size_bytes()
    }

    fn cached_bytes(&self) -> usize {
        self.seen.as_ref().map_or(0, Seen::size_bytes)
    }
}
