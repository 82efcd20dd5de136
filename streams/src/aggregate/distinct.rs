//! `f(DISTINCT x)`: another accumulator that sees a value when its count becomes one, and takes it back when it
//! becomes none.
//!
//! Counts a value lie in the state below the group, as [`super::multiset`] keeps them.

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::multiset::count_values;
use super::{Accumulator, Input, SubState};
use crate::operator::OperatorError;
use crate::state::{Physical, StateError};

/// See the module.
pub(super) struct Distinct {
    inner: Box<dyn Accumulator>,
    physical: Physical,
    number: u16,
}

impl Distinct {
    pub(super) fn new(inner: Box<dyn Accumulator>, data_type: &DataType, number: u16) -> Self {
        Self {
            inner,
            physical: Physical::of(data_type).unwrap_or(Physical::Null),
            number,
        }
    }
}

impl Accumulator for Distinct {
    fn resize(&mut self, groups: usize) {
        self.inner.resize(groups);
    }

    fn update(&mut self, input: &Input<'_>, below: &mut SubState<'_>) -> Result<(), OperatorError> {
        let Some(values) = input.values else {
            return Ok(());
        };
        let turns = count_values(input, self.physical, self.number, below)?;
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
        let values = take(values, &rows, None)
            .map_err(|error| OperatorError::columns(below.operator, &error))?;
        debug_assert_eq!(values.null_count(), 0, "NULLs do not count");
        let input = Input {
            groups: &groups,
            values: Some(&values),
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

    fn load(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        self.inner.load(group, bytes)
    }

    fn retain(&mut self, kept: &[u32]) {
        self.inner.retain(kept);
    }

    fn group_bytes(&self) -> usize {
        self.inner.group_bytes()
    }
}
