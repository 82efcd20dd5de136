//! The engine's accumulators as DataFusion's functions, where its own differ from PostgreSQL and from our views.
//!
//! | call | here | DataFusion |
//! |---|---|---|
//! | `sum` of integers | fails where it does not fit | wraps around |
//! | `sum`, `avg` of floats | in double-double, in any order | in the order of the rows |
//! | `avg` of decimals | 16 digits behind the point or more, rounded half away from zero | 4 digits more, cut |
//! | `min`, `max` of floats | NaN is the greatest, infinities count | starts from the largest finite |
//!
//! Everything else (other types, DISTINCT, frames of OVER) is DataFusion's.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};
use streams::{BatchAggregate, BoundCall, NativeAggregate};

use crate::plan::sql_type::type_name;

/// What this module replaces.
pub(super) const NAMES: &[&str] = &["sum", "avg", "min", "max"];

/// Digits of a decimal.
const DIGITS_MAX: u8 = 38;
/// Digits behind the point of an average of decimals, at least, where there is room for them.
const AVERAGE_DIGITS: u8 = 16;

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactAggregate {
    inner: Arc<AggregateUDF>,
}

/// `function` with ours inside.
pub(super) fn exact(function: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(ExactAggregate { inner: function }))
}

/// The type of an average of decimals: with as many digits behind the point as PostgreSQL's has, less where digits
/// before it need the room.
fn average_type(precision: u8, scale: i8) -> DataType {
    let before = i16::from(precision) - i16::from(scale);
    let room = (i16::from(DIGITS_MAX) - before).clamp(0, i16::from(DIGITS_MAX));
    let digits = room.min(i16::from(AVERAGE_DIGITS)).max(i16::from(scale));
    DataType::Decimal128(DIGITS_MAX, i8::try_from(digits).unwrap_or(scale))
}

impl ExactAggregate {
    fn own(&self, input: &DataType, output: &DataType, distinct: bool) -> Option<BatchAggregate> {
        let function = match (self.inner.name(), input) {
            ("sum", input) if input.is_numeric() => NativeAggregate::Sum,
            ("avg", input) if input.is_numeric() => NativeAggregate::Avg,
            ("min", DataType::Float32 | DataType::Float64) => NativeAggregate::Min,
            ("max", DataType::Float32 | DataType::Float64) => NativeAggregate::Max,
            _ => return None,
        };
        let call = BoundCall {
            arguments: vec![input.clone()],
            order_by: Vec::new(),
            distinct,
            output: output.clone(),
            append_only: true,
            number: 0,
        };
        BatchAggregate::new(Arc::new(function), call)
    }

    fn own_of(&self, args: &AccumulatorArgs<'_>) -> Option<Groups> {
        let input = args.expr_fields.first()?.data_type();
        let output = args.return_field.data_type();
        let aggregate = self.own(input, output, args.is_distinct)?;
        Some(Groups {
            what: format!("{} of {}", self.inner.name(), type_name(input)),
            aggregate,
        })
    }
}

impl AggregateUDFImpl for ExactAggregate {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        self.inner.coerce_types(args)
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        match (self.name(), args) {
            ("avg", [DataType::Decimal128(precision, scale)]) => {
                Ok(average_type(*precision, *scale))
            }
            _ => self.inner.return_type(args),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> BoundResult<Box<dyn Accumulator>> {
        match self.own_of(&args) {
            Some(mut groups) => {
                groups.aggregate.resize(1);
                Ok(Box::new(One(groups)))
            }
            None => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> BoundResult<Vec<FieldRef>> {
        let own = args.input_fields.first().and_then(|input| {
            let output = args.return_field.data_type();
            self.own(input.data_type(), output, args.is_distinct)
        });
        if own.is_none() {
            return self.inner.inner().state_fields(args);
        }
        let name = format_state_name(args.name, "state");
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.own_of(&args).is_some() || self.inner.inner().groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> BoundResult<Box<dyn GroupsAccumulator>> {
        match self.own_of(&args) {
            Some(groups) => Ok(Box::new(groups)),
            None => self.inner.inner().create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> BoundResult<Box<dyn Accumulator>> {
        self.inner.inner().create_sliding_accumulator(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.inner().is_descending()
    }

    fn default_value(&self, data_type: &DataType) -> BoundResult<ScalarValue> {
        self.inner.inner().default_value(data_type)
    }
}

/// Many groups.
struct Groups {
    aggregate: BatchAggregate,
    /// What does not fit, in words.
    what: String,
}

fn failed(error: impl std::error::Error) -> DataFusionError {
    DataFusionError::Execution(error.to_string())
}

impl Groups {
    fn results(&self, count: usize) -> BoundResult<ArrayRef> {
        let overflow = || DataFusionError::Execution(format!("overflow of {}", self.what));
        self.aggregate.results(count).ok_or_else(overflow)
    }

    fn count(&self, emit_to: EmitTo) -> usize {
        match emit_to {
            EmitTo::All => self.aggregate.len(),
            EmitTo::First(count) => count,
        }
    }

    fn merge(&mut self, groups: &[u32], states: &ArrayRef) -> BoundResult<()> {
        self.aggregate
            .merge(groups, states.as_binary::<i32>())
            .map_err(failed)
    }
}

fn numbers(groups: &[usize]) -> Vec<u32> {
    groups.iter().map(|&group| group as u32).collect()
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> BoundResult<()> {
        self.aggregate.resize(total_num_groups);
        self.aggregate
            .update(&numbers(group_indices), &values[0], opt_filter)
            .map_err(failed)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> BoundResult<ArrayRef> {
        let count = self.count(emit_to);
        let results = self.results(count)?;
        self.aggregate.forget(count);
        Ok(results)
    }

    fn state(&mut self, emit_to: EmitTo) -> BoundResult<Vec<ArrayRef>> {
        let count = self.count(emit_to);
        let state = self.aggregate.save(count);
        self.aggregate.forget(count);
        Ok(vec![Arc::new(state)])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> BoundResult<()> {
        self.aggregate.resize(total_num_groups);
        self.merge(&numbers(group_indices), &values[0])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> BoundResult<Vec<ArrayRef>> {
        let rows = values[0].len();
        let mut alone = self.aggregate.fresh();
        alone.resize(rows);
        let groups: Vec<u32> = (0..rows as u32).collect();
        (alone.update(&groups, &values[0], opt_filter)).map_err(failed)?;
        Ok(vec![Arc::new(alone.save(rows))])
    }

    fn size(&self) -> usize {
        self.aggregate.size_bytes()
    }
}

/// One group.
#[derive(Debug)]
struct One(Groups);

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> BoundResult<()> {
        let groups = vec![0; values[0].len()];
        (self.0.aggregate)
            .update(&groups, &values[0], None)
            .map_err(failed)
    }

    fn evaluate(&mut self) -> BoundResult<ScalarValue> {
        ScalarValue::try_from_array(&self.0.results(1)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.aggregate.size_bytes()
    }

    fn state(&mut self) -> BoundResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::try_from_array(
            &self.0.aggregate.save(1),
            0,
        )?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> BoundResult<()> {
        let groups = vec![0; states[0].len()];
        self.0.merge(&groups, &states[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_have_sixteen_digits_where_there_is_room() {
        let scale = |precision, scale| match average_type(precision, scale) {
            DataType::Decimal128(38, scale) => scale,
            other => panic!("{other}"),
        };
        assert_eq!(scale(10, 2), 16);
        assert_eq!(scale(22, 0), 16);
        assert_eq!(scale(38, 0), 0);
        assert_eq!(scale(38, 10), 10);
        assert_eq!(scale(30, 20), 20);
    }
}
