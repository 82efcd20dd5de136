//! The native aggregates: columnar state, one slot a group.
//!
//! ```text
//! chunk ──▶ GroupTable: row → dense group number ──▶ every Accumulator: update(groups, values, signs, mask)
//!                                                    evaluate(groups) → a column, as often as wanted
//! ```
//!
//! An accumulator is called once a chunk, never once a row; the loops inside are over plain vectors.
//!
//! Invariants:
//! 1. `evaluate` changes nothing.
//! 2. `load(save(x))` is `x`: a group that was written and read back goes on as if it had never left.
//! 3. Results are those of a batch over the rows that are there: what was taken back leaves no trace. Sums of floats
//!    are kept in double-double (about 106 bits), so that order and retraction do not show in the 53 that are printed.

mod average;
mod count;
mod distinct;
mod extreme;
mod group;
mod multiset;
mod sum;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, SchemaRef};

pub(crate) use group::{GROUP_COLUMNS_MAX, GroupTable};

use crate::operator::OperatorError;
use crate::state::{Physical, State, StateError};
use crate::{AggregateCall, AggregateFunction, OperatorId};

/// The rows of a chunk, as an accumulator sees them.
pub(crate) struct Input<'a> {
    /// The group of each row.
    pub(crate) groups: &'a [u32],
    /// The argument, one value a row; `None` for `count(*)`.
    pub(crate) values: Option<&'a ArrayRef>,
    /// The sign of each row; `None` = all +1.
    pub(crate) signs: Option<&'a [i8]>,
    /// The rows that count: the filter holds, the argument is not NULL; `None` = all.
    pub(crate) mask: Option<BooleanBuffer>,
}

impl Input<'_> {
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

/// State below a group that is too large for one value: the counts of distinct values.
pub(crate) struct SubState<'a> {
    /// The task's state.
    pub(crate) state: &'a mut State,
    /// Knows the groups' keys.
    pub(crate) groups: &'a GroupTable,
    /// Names the operator in errors.
    pub(crate) operator: OperatorId,
}

/// One aggregate of one operator, for all its groups.
pub(crate) trait Accumulator: Send {
    /// Makes room for groups `0..groups`; new ones are empty.
    fn resize(&mut self, groups: usize);

    /// Takes the rows of a chunk.
    fn update(&mut self, input: &Input<'_>, below: &mut SubState<'_>) -> Result<(), OperatorError>;

    /// The results of these groups. Positions (in `groups`) whose result does not fit its type are added to
    /// `overflowed`, and are NULL in the column.
    fn evaluate(&self, groups: &[u32], overflowed: &mut Vec<usize>) -> ArrayRef;

    /// Appends the state of a group.
    fn save(&self, group: usize, out: &mut Vec<u8>);

    /// Reads the state of a group off the front.
    fn load(&mut self, group: usize, bytes: &mut &[u8]) -> Result<(), StateError>;

    /// Keeps only these groups (rising), which become `0..kept.len()`.
    fn retain(&mut self, kept: &[u32]);

    /// Bytes a group takes, about.
    fn group_bytes(&self) -> usize;
}

/// Keeps the elements at rising positions `kept`.
pub(crate) fn retain_at<T>(values: &mut Vec<T>, kept: &[u32]) {
    for (to, &from) in kept.iter().enumerate() {
        values.swap(to, from as usize);
    }
    values.truncate(kept.len());
}

/// Why an aggregate cannot be computed natively, in words for its user; `None` when it can.
pub(crate) fn unsupported(call: &AggregateCall, input: &SchemaRef) -> Option<String> {
    let data_type = match call.argument {
        None if call.function == AggregateFunction::Count && !call.distinct => {
            return (call.output != DataType::Int64).then(|| "count gives Int64".to_owned());
        }
        None => return Some(format!("{:?} needs an argument", call.function)),
        Some(argument) => input.field(argument).data_type(),
    };
    let Some(physical) = Physical::of(data_type) else {
        return Some(format!("values of type {data_type} cannot be aggregated"));
    };
    let fits = match call.function {
        AggregateFunction::Count => call.output == DataType::Int64,
        AggregateFunction::Min | AggregateFunction::Max => {
            physical != Physical::Null && call.output == *data_type
        }
        AggregateFunction::Sum => matches!(
            (data_type, &call.output),
            (
                DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64,
                DataType::Int64
            ) | (
                DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64,
                DataType::Int64 | DataType::UInt64
            ) | (DataType::Float32 | DataType::Float64, DataType::Float64)
                | (DataType::Decimal128(..), DataType::Decimal128(..))
        ),
        AggregateFunction::Avg => match (data_type, &call.output) {
            (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) => to >= from,
            (data_type, DataType::Float64) => data_type.is_integer() || data_type.is_floating(),
            _ => false,
        },
    };
    (!fits).then(|| {
        format!(
            "{:?} of {data_type} cannot give {}",
            call.function, call.output
        )
    })
}

/// Whether an aggregate counts values in the state below its groups.
pub(crate) fn keeps_values(call: &AggregateCall, append_only: bool) -> bool {
    match call.function {
        AggregateFunction::Min | AggregateFunction::Max => !append_only,
        AggregateFunction::Count | AggregateFunction::Sum | AggregateFunction::Avg => call.distinct,
    }
}

/// Builds the accumulator number `number` of an operator. `append_only`: the input never takes a row back.
pub(crate) fn accumulator(
    call: &AggregateCall,
    number: u16,
    input: &SchemaRef,
    append_only: bool,
) -> Box<dyn Accumulator> {
    let Some(argument) = call.argument else {
        return Box::new(count::Count::default());
    };
    let data_type = input.field(argument).data_type().clone();
    // Smallest and largest do not depend on how often a value is there.
    let is_extreme = matches!(
        call.function,
        AggregateFunction::Min | AggregateFunction::Max
    );
    if call.distinct && !is_extreme {
        let plain = AggregateCall {
            distinct: false,
            ..call.clone()
        };
        return Box::new(distinct::Distinct::new(
            accumulator(&plain, number, input, append_only),
            &data_type,
            number,
        ));
    }
    let largest = call.function == AggregateFunction::Max;
    match call.function {
        AggregateFunction::Count => Box::new(count::Count::default()),
        AggregateFunction::Sum => sum::of(&data_type, &call.output),
        AggregateFunction::Avg => average::of(&data_type, &call.output),
        AggregateFunction::Min | AggregateFunction::Max if append_only => {
            extreme::of(&data_type, largest)
        }
        AggregateFunction::Min | AggregateFunction::Max => {
            Box::new(multiset::OrderedMultiset::new(&data_type, largest, number))
        }
    }
}

/// The rows that count for a call: its filter holds and its argument is not NULL; `None` = all.
pub(crate) fn mask_of(
    call: &AggregateCall,
    columns: &[ArrayRef],
) -> Result<Option<BooleanBuffer>, String> {
    let not_null = match call.argument {
        Some(argument) => columns[argument]
            .logical_nulls()
            .filter(|nulls| nulls.null_count() > 0),
        None => None,
    };
    let not_null = not_null.map(|nulls| nulls.inner().clone());
    let Some(filter) = call.filter else {
        return Ok(not_null);
    };
    let filter: &BooleanArray = columns[filter].as_boolean_opt().ok_or_else(|| {
        format!(
            "the filter of an aggregate is {}, no boolean",
            columns[filter].data_type()
        )
    })?;
    let holds = match filter.nulls() {
        Some(nulls) => filter.values() & nulls.inner(),
        None => filter.values().clone(),
    };
    Ok(Some(match not_null {
        Some(not_null) => &holds & &not_null,
        None => holds,
    }))
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
