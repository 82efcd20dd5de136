//! `count(*)` and `count(x)`: how many rows count.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::{Accumulator, Input, SubState, retain_at};
use crate::error::OperatorError;
use crate::state::row::{push_zigzag, read_zigzag};
use crate::state::{StateError, fixed_array};

/// One number a group.
#[derive(Debug, Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }

    fn update(
        &mut self,
        input: &Input<'_>,
        _below: &mut SubState<'_>,
    ) -> Result<(), OperatorError> {
        let counts = self.counts.as_mut_slice();
        input.for_each(|_, group, sign| counts[group] += sign);
        Ok(())
    }

    fn evaluate(&self, groups: &[u32], _overflowed: &mut Vec<usize>) -> ArrayRef {
        let values: Vec<i64> = groups
            .iter()
            .map(|&group| self.counts[group as usize])
            .collect();
        fixed_array(&DataType::Int64, values, None)
    }

    fn save(&self, group: usize, out: &mut Vec<u8>) {
        push_zigzag(self.counts[group], out);
    }

    fn merge(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        self.counts[group] += read_zigzag(bytes)?;
        Ok(())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain_at(&mut self.counts, kept);
    }

    fn size_bytes(&self) -> usize {
        8 * self.counts.len()
    }
}
