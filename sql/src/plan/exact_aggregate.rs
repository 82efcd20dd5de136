//! `sum`, `avg`, `min` and `max` where DataFusion's own differ from PostgreSQL and from our views.
//!
//! | call | here | DataFusion |
//! |---|---|---|
//! | `sum` of integers | fails where it does not fit | wraps around |
//! | `avg` of decimals | rounds half away from zero | cuts |
//! | `min`, `max` of floats | NaN is the greatest, infinities count | starts from the largest finite |
//!
//! Everything else (other types, DISTINCT, frames of OVER) is DataFusion's.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type, UInt64Type,
};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};

use super::exact_groups::{float_extremes, integer_sums};

/// Digits of a decimal.
const DIGITS_MAX: u8 = 38;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ExactAggregate {
    inner: Arc<AggregateUDF>,
}

/// `function` with ours inside; the same for one that we have nothing for.
pub(super) fn exact(function: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    match function.name() {
        "sum" | "avg" | "min" | "max" => {
            Arc::new(AggregateUDF::from(ExactAggregate { inner: function }))
        }
        _ => function,
    }
}

impl ExactAggregate {
    fn own(
        &self,
        input: &DataType,
        output: &DataType,
        distinct: bool,
    ) -> Option<Box<dyn Accumulator>> {
        let accumulator: Box<dyn Accumulator> = match (self.inner.name(), input) {
            ("sum", DataType::Int64) if !distinct => Box::new(IntegerSum::default()),
            ("avg", DataType::Decimal128(_, scale)) if !distinct => Box::new(DecimalAverage {
                scale: *scale,
                output: output.clone(),
                sum: 0,
                count: 0,
            }),
            (name @ ("min" | "max"), DataType::Float32 | DataType::Float64) => {
                Box::new(FloatExtreme {
                    wanted: if name == "min" {
                        Ordering::Less
                    } else {
                        Ordering::Greater
                    },
                    output: output.clone(),
                    found: None,
                })
            }
            _ => return None,
        };
        Some(accumulator)
    }

    fn own_of(&self, args: &AccumulatorArgs<'_>) -> Option<Box<dyn Accumulator>> {
        let input = args.expr_fields.first()?;
        self.own(
            input.data_type(),
            args.return_field.data_type(),
            args.is_distinct,
        )
    }

    /// The same for many groups; `None` where one object a group has to do.
    fn own_of_groups(&self, args: &AccumulatorArgs<'_>) -> Option<Box<dyn GroupsAccumulator>> {
        match (self.inner.name(), args.expr_fields.first()?.data_type()) {
            ("sum", DataType::Int64) if !args.is_distinct => Some(integer_sums()),
            ("min", DataType::Float64) => Some(float_extremes(Ordering::Less)),
            ("max", DataType::Float64) => Some(float_extremes(Ordering::Greater)),
            _ => None,
        }
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
        self.inner.return_type(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> BoundResult<Box<dyn Accumulator>> {
        match self.own_of(&args) {
            Some(own) => Ok(own),
            None => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> BoundResult<Vec<FieldRef>> {
        match (
            self.name(),
            args.input_fields.first().map(|field| field.data_type()),
        ) {
            ("avg", Some(DataType::Decimal128(_, scale))) if !args.is_distinct => {
                let sum = DataType::Decimal128(DIGITS_MAX, *scale);
                let field = |name: &str, data_type| {
                    Arc::new(Field::new(
                        format_state_name(args.name, name),
                        data_type,
                        true,
                    ))
                };
                Ok(vec![field("count", DataType::UInt64), field("sum", sum)])
            }
            _ => self.inner.inner().state_fields(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        match self.own_of(&args) {
            Some(_) => self.own_of_groups(&args).is_some(),
            None => self.inner.inner().groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> BoundResult<Box<dyn GroupsAccumulator>> {
        match self.own_of_groups(&args) {
            Some(own) => Ok(own),
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

#[derive(Debug, Default)]
struct IntegerSum {
    /// Of at most 2^64 values of 64 bits, so it fits.
    sum: i128,
    any: bool,
}

impl Accumulator for IntegerSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> BoundResult<()> {
        let values = values[0].as_primitive::<Int64Type>();
        self.any |= values.null_count() < values.len();
        self.sum += values.iter().flatten().map(i128::from).sum::<i128>();
        Ok(())
    }

    fn evaluate(&mut self) -> BoundResult<ScalarValue> {
        if !self.any {
            return Ok(ScalarValue::Int64(None));
        }
        let sum = i64::try_from(self.sum).map_err(|_| overflow("sum of BIGINT"))?;
        Ok(ScalarValue::Int64(Some(sum)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> BoundResult<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> BoundResult<()> {
        self.update_batch(states)
    }
}

#[derive(Debug)]
struct DecimalAverage {
    scale: i8,
    output: DataType,
    sum: i128,
    count: u64,
}

impl DecimalAverage {
    fn add(&mut self, values: &ArrayRef) -> BoundResult<()> {
        for value in values.as_primitive::<Decimal128Type>().iter().flatten() {
            let sum = self.sum.checked_add(value);
            self.sum = sum.ok_or_else(|| overflow("sum of DECIMAL"))?;
        }
        Ok(())
    }
}

impl Accumulator for DecimalAverage {
    fn update_batch(&mut self, values: &[ArrayRef]) -> BoundResult<()> {
        self.count += (values[0].len() - values[0].null_count()) as u64;
        self.add(&values[0])
    }

    fn evaluate(&mut self) -> BoundResult<ScalarValue> {
        let DataType::Decimal128(precision, scale) = self.output else {
            return Err(DataFusionError::Internal(
                "avg of a decimal is one".to_owned(),
            ));
        };
        let average = match self.count {
            0 => None,
            count => {
                let digits = u32::try_from(scale - self.scale).unwrap_or(0);
                let count = i128::from(count);
                let scaled = 10i128
                    .checked_pow(digits)
                    .and_then(|factor| self.sum.checked_mul(factor))
                    .ok_or_else(|| overflow("avg of DECIMAL"))?;
                let away = (scaled % count).abs() * 2 >= count;
                let average = scaled / count + if away { scaled.signum() } else { 0 };
                if average.unsigned_abs() >= 10u128.pow(u32::from(precision)) {
                    return Err(overflow("avg of DECIMAL"));
                }
                Some(average)
            }
        };
        Ok(ScalarValue::Decimal128(average, precision, scale))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> BoundResult<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::UInt64(Some(self.count)),
            ScalarValue::Decimal128(Some(self.sum), DIGITS_MAX, self.scale),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> BoundResult<()> {
        self.count += states[0]
            .as_primitive::<UInt64Type>()
            .iter()
            .flatten()
            .sum::<u64>();
        self.add(&states[1])
    }
}

#[derive(Debug)]
struct FloatExtreme {
    /// How the one that stays compares with the others.
    wanted: Ordering,
    output: DataType,
    found: Option<f64>,
}

impl Accumulator for FloatExtreme {
    fn update_batch(&mut self, values: &[ArrayRef]) -> BoundResult<()> {
        let values = cast(&values[0], &DataType::Float64)?;
        for value in values.as_primitive::<Float64Type>().iter().flatten() {
            if self
                .found
                .is_none_or(|found| compare(value, found) == self.wanted)
            {
                self.found = Some(value);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> BoundResult<ScalarValue> {
        ScalarValue::Float64(self.found).cast_to(&self.output)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> BoundResult<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> BoundResult<()> {
        self.update_batch(states)
    }
}

/// NaN is greater than all others and equal to itself.
pub(super) fn compare(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right)
        .unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

pub(super) fn overflow(what: &str) -> DataFusionError {
    DataFusionError::Execution(format!("overflow of {what}"))
}
