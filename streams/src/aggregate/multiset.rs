//! `min(x)` and `max(x)` over input that takes rows back: all values in the [`ValueBag`], in memory only the best one.
//!
//! Invariant: the best one is the first or last entry of the bag.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::bag::ValueBag;
use super::encoded::EncodedValues;
use super::{Accumulator, Input, SubState};
use crate::error::OperatorError;
use crate::state::{ScanOrder, StateError};

/// See the module.
#[derive(Debug)]
pub(super) struct OrderedMultiset {
    best: EncodedValues,
    bag: ValueBag,
    largest: bool,
}

impl OrderedMultiset {
    pub(super) fn new(data_type: &DataType, largest: bool, number: u16) -> Self {
        Self {
            best: EncodedValues::new(data_type, None),
            bag: ValueBag::new(number, std::slice::from_ref(data_type), &[]),
            largest,
        }
    }
}

impl Accumulator for OrderedMultiset {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups);
    }

    fn update(&mut self, input: &Input<'_>, below: &mut SubState<'_>) -> Result<(), OperatorError> {
        let mut lost: Vec<u32> = Vec::new();
        for turn in self.bag.add(input, below)?.turns {
            let group = turn.group as usize;
            if turn.appeared {
                self.best.improve(group, &turn.entry, self.largest);
            } else if self.best.get(group) == Some(turn.entry.as_slice()) {
                lost.push(turn.group);
            }
        }
        let order = if self.largest {
            ScanOrder::Descending
        } else {
            ScanOrder::Ascending
        };
        lost.sort_unstable();
        lost.dedup();
        for group in lost {
            let edge = self.bag.edge(below, group, order)?;
            self.best
                .set(group as usize, edge.map(Vec::into_boxed_slice));
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32], _overflowed: &mut Vec<usize>) -> ArrayRef {
        self.best.column(groups)
    }

    fn save(&self, group: usize, out: &mut Vec<u8>) {
        self.best.save(group, out);
    }

    fn merge(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        if let Some(value) = self.best.read(bytes)? {
            self.best.improve(group, &value, self.largest);
        }
        Ok(())
    }

    fn retain(&mut self, kept: &[u32]) {
        self.best.retain(kept);
    }

    fn size_bytes(&self) -> usize {
        self.best.size_bytes()
    }
}
