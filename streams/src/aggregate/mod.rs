//! Aggregates: functions that plug in by a trait, and their columnar state, one slot a group.
//!
//! ```text
//! chunk ──▶ GroupTable: row → dense group number ──▶ every Accumulator: update(groups, arguments, signs, mask)
//!                                                    settle, evaluate(groups) → a column, as often as wanted
//!
//! AggregateFunction ─ build ─▶ Accumulator    native: a few numbers a group       count, sum, min, max, avg
//!                                             over a ValueBag below the group     min, max that are taken back; DISTINCT
//!                                             replay of the bag through a Fold    whatever else a library has
//! ```
//!
//! An accumulator is called once a chunk, never once a row; the loops inside are over plain vectors.
//!
//! Invariants:
//! 1. `evaluate` changes nothing.
//! 2. What `save` gives for a group and `merge` adds to an empty one is that group: one that was written and read back
//!    goes on as if it had never left.
//! 3. Results are those of a batch over the rows that are there: what was taken back leaves no trace. Sums of floats
//!    are kept in double-double (about 106 bits), so that order and retraction do not show in the 53 that are printed.

mod average;
mod bag;
mod batch;
mod count;
mod distinct;
mod encoded;
mod extreme;
mod group;
mod multiset;
mod native;
mod replay;
mod seen;
mod sum;

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Schema};

pub use bag::SortOrder;
pub use batch::BatchAggregate;
pub(crate) use group::{GROUP_COLUMNS_MAX, GroupTable};
pub use native::NativeAggregate;
pub use replay::{Fold, StartFold, replay};

use crate::error::OperatorError;
use crate::state::{State, StateError};
use crate::{AggregateCall, OperatorId};

/// A function that makes one value of the rows of a group.
pub trait AggregateFunction: fmt::Debug + Send + Sync {
    /// What EXPLAIN calls it.
    fn name(&self) -> &str;

    /// A call of it over these arguments, as EXPLAIN shows it.
    fn describe(&self, arguments: &[String]) -> String {
        format!("{}({})", self.name(), arguments.join(", "))
    }

    /// Names the function and the layout of its accumulators' state, for as long as there are logs: a job with another
    /// shape cannot use that state. The first byte is 1 to 5 for the native ones and 0 for all others.
    fn shape(&self) -> Vec<u8>;

    /// Whether it takes such arguments and gives such a result.
    ///
    /// # Errors
    /// In words for the user.
    fn check(&self, call: &BoundCall) -> Result<(), String>;

    /// Whether its accumulator keeps values in the state below a group.
    fn keeps_values(&self, call: &BoundCall) -> bool;

    /// Whether rows with a NULL among the arguments count.
    fn takes_nulls(&self) -> bool {
        false
    }

    /// The accumulator of a call that was checked.
    fn build(&self, call: &BoundCall) -> Box<dyn Accumulator>;
}

/// A call with the types of its columns.
#[derive(Debug, Clone)]
pub struct BoundCall {
    /// Types of the arguments.
    pub arguments: Vec<DataType>,
    /// Types and orders of the columns that order the rows.
    pub order_by: Vec<(DataType, SortOrder)>,
    /// Over distinct arguments only.
    pub distinct: bool,
    /// Type of the result.
    pub output: DataType,
    /// No row is ever taken back.
    pub append_only: bool,
    /// Names its state within that of the operator.
    pub number: u16,
}

impl BoundCall {
    /// The types of `call` over rows of `input`.
    pub(crate) fn of(call: &AggregateCall, input: &Schema, append_only: bool) -> Self {
        let type_of = |column: usize| input.field(column).data_type().clone();
        let order_by = call.order_by.iter();
        Self {
            arguments: call.arguments.iter().copied().map(type_of).collect(),
            order_by: order_by
                .map(|(column, order)| (type_of(*column), *order))
                .collect(),
            distinct: call.distinct,
            output: call.output.clone(),
            append_only,
            number: call.id,
        }
    }
}

/// The rows of a chunk, as an accumulator sees them.
pub struct Input<'a> {
    /// The group of each row.
    pub(crate) groups: &'a [u32],
    /// The arguments, one value a row; none for `count(*)`.
    pub(crate) arguments: &'a [ArrayRef],
    /// The columns that order the rows.
    pub(crate) order_by: &'a [ArrayRef],
    /// The sign of each row; `None` = all +1.
    pub(crate) signs: Option<&'a [i8]>,
    /// The rows that count: the filter holds, no argument is NULL where those do not count; `None` = all.
    pub(crate) mask: Option<BooleanBuffer>,
}

impl Input<'_> {
    /// The first argument.
    pub(crate) fn argument(&self) -> Option<&ArrayRef> {
        self.arguments.first()
    }

    /// Calls `visit(row, group, sign)` for every row that counts.
    #[inline]
    pub(crate) fn for_each(&self, mut visit: impl FnMut(usize, usize, i64)) {
        match (&self.mask, self.signs) {
            (None, None) => {
                for (row, &group) in self.groups.iter().enumerate() {
                    visit(row, group as usize, 1);
                }
            }
            (None, Some(signs)) => {
                for (row, (&group, &sign)) in self.groups.iter().zip(signs).enumerate() {
                    visit(row, group as usize, i64::from(sign));
                }
            }
            (Some(mask), signs) => {
                for row in mask.set_indices() {
                    visit(
                        row,
                        self.groups[row] as usize,
                        signs.map_or(1, |signs| i64::from(signs[row])),
                    );
                }
            }
        }
    }
}

/// State below a group that is too large for one value: its values with their counts.
pub struct SubState<'a> {
    /// The task's state.
    pub(crate) state: &'a mut State,
    /// Knows the groups' keys.
    pub(crate) groups: &'a GroupTable,
    /// Names the operator in errors.
    pub(crate) operator: OperatorId,
    /// So many bytes of it an accumulator may keep in memory besides.
    pub(crate) cache_bytes: usize,
}

/// One aggregate of one operator, for all its groups.
pub trait Accumulator: Send + Sync {
    /// Makes room for groups `0..groups`; new ones are empty.
    fn resize(&mut self, groups: usize);

    /// Takes the rows of a chunk.
    ///
    /// # Errors
    /// From the state below the groups.
    fn update(&mut self, input: &Input<'_>, below: &mut SubState<'_>) -> Result<(), OperatorError>;

    /// Brings results up to date that are computed from the state below the groups. Called before the groups that have
    /// changed are evaluated, and before a commit.
    ///
    /// # Errors
    /// From the state below the groups.
    fn settle(&mut self, _below: &SubState<'_>) -> Result<(), OperatorError> {
        Ok(())
    }

    /// The results of these groups. Positions (in `groups`) whose result does not fit its type are added to
    /// `overflowed`, and are NULL in the column.
    fn evaluate(&self, groups: &[u32], overflowed: &mut Vec<usize>) -> ArrayRef;

    /// Appends the state of a group, without what lies below it.
    fn save(&self, group: usize, out: &mut Vec<u8>);

    /// Reads the state of a group off the front and adds it to that of `group`. One with values below it is only ever
    /// added to an empty group.
    ///
    /// # Errors
    /// [`StateError::Corrupt`].
    fn merge(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError>;

    /// Keeps only these groups (rising), which become `0..kept.len()`.
    fn retain(&mut self, kept: &[u32]);

    /// Bytes that all groups take, about.
    fn size_bytes(&self) -> usize;

    /// Bytes that it keeps in memory of what lies below the groups, about.
    fn cached_bytes(&self) -> usize {
        0
    }
}

/// Keeps the elements at rising positions `kept`.
pub(crate) fn retain_at<T>(values: &mut Vec<T>, kept: &[u32]) {
    for (to, &from) in kept.iter().enumerate() {
        values.swap(to, from as usize);
    }
    values.truncate(kept.len());
}

/// The rows that count for a call: its filter holds, and no argument is NULL where those do not count; `None` = all.
pub(crate) fn mask_of(
    call: &AggregateCall,
    columns: &[ArrayRef],
) -> Result<Option<BooleanBuffer>, String> {
    let mut mask: Option<BooleanBuffer> = None;
    let mut only = |rows: &BooleanBuffer| {
        mask = Some(match mask.take() {
            Some(mask) => &mask & rows,
            None => rows.clone(),
        });
    };
    if !call.function.takes_nulls() {
        for &argument in &call.arguments {
            let nulls = columns[argument].logical_nulls();
            if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
                only(nulls.inner());
            }
        }
    }
    if let Some(filter) = call.filter {
        let filter: &BooleanArray = columns[filter].as_boolean_opt().ok_or_else(|| {
            let data_type = columns[filter].data_type();
            format!("the filter of an aggregate is {data_type}, no boolean")
        })?;
        only(filter.values());
        if let Some(nulls) = filter.nulls() {
            only(nulls.inner());
        }
    }
    Ok(mask)
}

/// An array of one `i64`-like or wider type with the given values, NULL where `None`.
pub(crate) fn nullable<N: arrow::datatypes::ArrowNativeType>(
    data_type: &DataType,
    values: impl Iterator<Item = Option<N>>,
) -> ArrayRef {
    let mut present = Vec::new();
    let values: Vec<N> = values
        .map(|value| {
            present.push(value.is_some());
            value.unwrap_or_default()
        })
        .collect();
    let nulls = present.contains(&false).then(|| present.into());
    crate::state::fixed_array(data_type, values, nulls)
}

/// An array type that callers name often.
pub(crate) type Columns = Vec<Arc<dyn Array>>;
