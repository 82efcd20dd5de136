//! Any aggregate that can be computed in one go over its values: they are kept in the [`ValueBag`], and replayed in order,
//! each as often as it is there, when the group has changed.
//!
//! An evaluation costs as much as the group has rows, once an epoch. That is the price for taking back rows of any
//! aggregate there is; what can take back a row by itself is native.
//!
//! State of a group: its result in the encoding of keys behind the length; empty where there is no result. A result
//! that was given is taken back as it was, whatever a later version would compute from the values.
//!
//! Invariant: after [`Accumulator::settle`] every result is that of the values in the bag.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::bag::ValueBag;
use super::encoded::EncodedValues;
use super::{Accumulator, BoundCall, Input, SubState};
use crate::error::OperatorError;
use crate::state::{Column, ColumnBuilder, Physical, StateError, key};

/// Rows that are handed to a [`Fold`] at once.
const ROWS_MAX: usize = 8192;

/// Computes one aggregate over all values of a group, once.
pub trait Fold {
    /// Takes more rows, one array an argument.
    ///
    /// # Errors
    /// In words for the user: the group has no result.
    fn update(&mut self, arguments: &[ArrayRef]) -> Result<(), String>;

    /// The result, as an array of one row of the call's type.
    ///
    /// # Errors
    /// In words for the user: the group has no result.
    fn result(&mut self) -> Result<ArrayRef, String>;
}

/// Starts a [`Fold`] for each group and evaluation.
pub trait StartFold: fmt::Debug + Send + Sync {
    /// A fold that has seen no rows.
    ///
    /// # Errors
    /// In words for the user.
    fn start(&self) -> Result<Box<dyn Fold>, String>;
}

/// The accumulator that replays its values through a [`Fold`].
pub fn replay(call: &BoundCall, start: Arc<dyn StartFold>) -> Box<dyn Accumulator> {
    let physical = Physical::of(&call.output).unwrap_or(Physical::Null);
    let nothing = (start.start()).and_then(|mut fold| encoded(&mut *fold, physical));
    Box::new(Replay {
        results: EncodedValues::new(&call.output, nothing.ok()),
        bag: ValueBag::new(call.number, &call.arguments, &call.order_by),
        distinct: call.distinct,
        stale: Vec::new(),
        physical,
        start,
        output: call.output.clone(),
    })
}

struct Replay {
    /// None: it does not fit its type.
    results: EncodedValues,
    bag: ValueBag,
    distinct: bool,
    /// Groups whose values have changed since their result was computed, maybe more than once.
    stale: Vec<u32>,
    physical: Physical,
    start: Arc<dyn StartFold>,
    output: DataType,
}

/// The result of a fold in the encoding of keys.
fn encoded(fold: &mut dyn Fold, physical: Physical) -> Result<Box<[u8]>, String> {
    let result = fold.result()?;
    let cells = Column::of(&result).ok_or("its result cannot be kept")?;
    let mut bytes = Vec::new();
    key::push_cell(physical, cells.cell(0), &mut bytes);
    Ok(bytes.into())
}

fn flush(fold: &mut dyn Fold, builders: Vec<ColumnBuilder>) -> Result<(), String> {
    let columns: Vec<ArrayRef> = builders.into_iter().map(ColumnBuilder::finish).collect();
    fold.update(&columns)
}

impl Replay {
    /// The result of a group's values; `Err` in the inner one: there is none.
    fn compute(
        &self,
        group: u32,
        below: &SubState<'_>,
    ) -> Result<Result<Box<[u8]>, String>, StateError> {
        let mut fold = match self.start.start() {
            Ok(fold) => fold,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut builders = self.bag.builders(16);
        let mut rows = 0;
        let mut corrupt = None;
        let mut outcome = Ok(());
        self.bag.visit(below, group, |arguments, count| {
            for _ in 0..if self.distinct { 1 } else { count } {
                if let Err(error) = self.bag.push(arguments, &mut builders) {
                    corrupt = Some(error);
                    return ControlFlow::Break(());
                }
                rows += 1;
                if rows == ROWS_MAX {
                    rows = 0;
                    let full = std::mem::replace(&mut builders, self.bag.builders(16));
                    outcome = flush(&mut *fold, full);
                    if outcome.is_err() {
                        return ControlFlow::Break(());
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        if let Some(error) = corrupt {
            return Err(error);
        }
        if rows > 0 {
            outcome = outcome.and_then(|()| flush(&mut *fold, builders));
        }
        Ok(outcome.and_then(|()| encoded(&mut *fold, self.physical)))
    }
}

impl Accumulator for Replay {
    fn resize(&mut self, groups: usize) {
        self.results.resize(groups);
    }

    fn update(&mut self, input: &Input<'_>, below: &mut SubState<'_>) -> Result<(), OperatorError> {
        self.stale.extend(self.bag.add(input, below)?.groups);
        Ok(())
    }

    fn settle(&mut self, below: &SubState<'_>) -> Result<(), OperatorError> {
        let mut stale = std::mem::take(&mut self.stale);
        stale.sort_unstable();
        stale.dedup();
        for group in stale {
            let result = self.compute(group, below)?;
            self.results.set(group as usize, result.ok());
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32], overflowed: &mut Vec<usize>) -> ArrayRef {
        let missing = (groups.iter().enumerate())
            .filter(|&(_, &group)| self.results.get(group as usize).is_none());
        overflowed.extend(missing.map(|(place, _)| place));
        self.results.column(groups)
    }

    fn save(&self, group: usize, out: &mut Vec<u8>) {
        self.results.save(group, out);
    }

    fn merge(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError> {
        let result = self.results.read(bytes)?;
        self.results.set(group, result);
        Ok(())
    }

    fn retain(&mut self, kept: &[u32]) {
        debug_assert!(self.stale.is_empty(), "results are settled before a commit");
        self.results.retain(kept);
    }

    fn size_bytes(&self) -> usize {
        self.results.size_bytes()
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replay({:?} as {})", self.start, self.output)
    }
}
