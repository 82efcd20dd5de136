//! The aggregates of [`super::exact_aggregate`] for many groups at once: a vector of sums instead of an object a group.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion::common::Result as BoundResult;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::nulls::apply_filter_as_nulls;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

use super::exact_aggregate::{compare, overflow};

/// An `i128` that is no decimal to anybody: as wide as its type allows.
const WIDE: DataType = DataType::Decimal128(38, 0);

/// `min` (`Less`) or `max` (`Greater`) of DOUBLE, NaN being the greatest.
pub(super) fn float_extremes(wanted: Ordering) -> Box<dyn GroupsAccumulator> {
    let take = move |found: &mut f64, value: f64| {
        if compare(value, *found) == wanted {
            *found = value;
        }
    };
    let farthest = match wanted {
        Ordering::Less => f64::NAN,
        _ => f64::NEG_INFINITY,
    };
    let extremes = PrimitiveGroupsAccumulator::<Float64Type, _>::new(&DataType::Float64, take);
    Box::new(extremes.with_starting_value(farthest))
}

/// `sum` of BIGINT: sums are wide, and fail where they leave as BIGINT and do not fit.
pub(super) fn integer_sums() -> Box<dyn GroupsAccumulator> {
    // At most 2^64 values of 64 bits: never over 128.
    let add = |sum: &mut i128, value: i128| *sum = sum.wrapping_add(value);
    Box::new(IntegerSums(PrimitiveGroupsAccumulator::new(&WIDE, add)))
}

struct IntegerSums<F: Fn(&mut i128, i128) + Send + Sync + 'static>(
    PrimitiveGroupsAccumulator<Decimal128Type, F>,
);

impl<F: Fn(&mut i128, i128) + Send + Sync + 'static> GroupsAccumulator for IntegerSums<F> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> BoundResult<()> {
        let values = cast(&values[0], &WIDE)?;
        self.0
            .update_batch(&[values], group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> BoundResult<ArrayRef> {
        let wide = self.0.evaluate(emit_to)?;
        let narrow = |sum: i128| i64::try_from(sum).map_err(|_| overflow("sum of BIGINT"));
        let sums = wide
            .as_primitive::<Decimal128Type>()
            .try_unary::<_, Int64Type, _>(narrow)?;
        Ok(Arc::new(sums))
    }

    fn state(&mut self, emit_to: EmitTo) -> BoundResult<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> BoundResult<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> BoundResult<Vec<ArrayRef>> {
        Ok(vec![apply_filter_as_nulls(&values[0], opt_filter)?])
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
