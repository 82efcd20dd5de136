//! PostgreSQL's ordered-set aggregates: `percentile_cont`, `percentile_disc`, `mode`, and `median` as it is known elsewhere.
//!
//! ```text
//! n values in order, without NULLs, from 0 on
//! percentile_cont(p)   at p · (n − 1), between its neighbours in proportion     DOUBLE
//! percentile_disc(p)   the first one that p · n values, or more, do not pass     the type of the values
//! mode()               the first one of those that are there most often          the type of the values
//! median(x)            percentile_cont(0.5)
//! ```
//!
//! Follows PostgreSQL 18, chapter 9.21 (ordered-set aggregates).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::compute::{SortOptions, concat, filter, is_not_null, partition, sort};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, TypeSignature,
    Volatility,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Continuous,
    Discrete,
    Mode,
    Median,
}

impl Kind {
    /// Whether results are DOUBLE, whatever the values are.
    fn is_double(self) -> bool {
        matches!(self, Self::Continuous | Self::Median)
    }

    fn takes_fraction(self) -> bool {
        matches!(self, Self::Continuous | Self::Discrete)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OrderedSet {
    kind: Kind,
    signature: Signature,
    aliases: Vec<String>,
}

/// All of them.
pub(super) fn functions() -> Vec<AggregateUDF> {
    let kinds = [Kind::Continuous, Kind::Discrete, Kind::Mode, Kind::Median];
    let function = |kind| {
        let aliases: &[&str] = match kind {
            Kind::Continuous => &["quantile_cont"],
            Kind::Discrete => &["quantile_disc"],
            Kind::Mode | Kind::Median => &[],
        };
        AggregateUDF::from(OrderedSet {
            kind,
            signature: Signature::new(TypeSignature::UserDefined, Volatility::Immutable),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        })
    };
    kinds.map(function).into()
}

impl AggregateUDFImpl for OrderedSet {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Continuous => "percentile_cont",
            Kind::Discrete => "percentile_disc",
            Kind::Mode => "mode",
            Kind::Median => "median",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        let name = self.name();
        let wanted = 1 + usize::from(self.kind.takes_fraction());
        let Some(values) = args.first().filter(|_| args.len() == wanted) else {
            let usage = match self.kind {
                Kind::Median => "median(x)",
                Kind::Mode => "mode() WITHIN GROUP (ORDER BY x)",
                Kind::Continuous | Kind::Discrete => "(0.9) WITHIN GROUP (ORDER BY x)",
            };
            return plan_err!("{name} is written {usage}");
        };
        let values = match self.kind.is_double() {
            false => values.clone(),
            true if values.is_numeric() || values.is_null() => DataType::Float64,
            true => return plan_err!("{name} takes numbers, not {values}"),
        };
        let fraction = self.kind.takes_fraction().then_some(DataType::Float64);
        Ok([values].into_iter().chain(fraction).collect())
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        Ok(match args.first() {
            Some(values) if !self.kind.is_double() => values.clone(),
            _ => DataType::Float64,
        })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> BoundResult<Box<dyn Accumulator>> {
        let fraction = match (self.kind, args.exprs.get(1)) {
            (Kind::Median, _) => Some(0.5),
            (Kind::Mode, _) | (_, None) => None,
            (_, Some(fraction)) => fraction_of(self.name(), fraction)?,
        };
        Ok(Box::new(Values {
            kind: self.kind,
            fraction,
            descending: args
                .order_bys
                .first()
                .is_some_and(|by| by.options.descending),
            data_type: args.expr_fields[0].data_type().clone(),
            parts: Vec::new(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> BoundResult<Vec<FieldRef>> {
        let values = Field::new_list_field(args.input_fields[0].data_type().clone(), true);
        let list = DataType::List(Arc::new(values));
        let name = format_state_name(args.name, "values");
        Ok(vec![Arc::new(Field::new(name, list, true))])
    }

    fn supports_within_group_clause(&self) -> bool {
        self.kind != Kind::Median
    }
}

/// The fraction of a percentile; `None` is NULL.
fn fraction_of(
    name: &str,
    expr: &Arc<dyn datafusion::physical_expr::PhysicalExpr>,
) -> BoundResult<Option<f64>> {
    let schema = Arc::new(arrow::datatypes::Schema::empty());
    let nothing = arrow::array::RecordBatch::new_empty(schema);
    let value = match expr.evaluate(&nothing) {
        Ok(ColumnarValue::Scalar(value)) => value.cast_to(&DataType::Float64)?,
        _ => return plan_err!("the fraction of {name} is a constant"),
    };
    match value {
        ScalarValue::Float64(Some(fraction)) if (0.0..=1.0).contains(&fraction) => {
            Ok(Some(fraction))
        }
        ScalarValue::Float64(None) => Ok(None),
        other => exec_err!("percentile value {other} is not between 0 and 1"),
    }
}

/// All values of a group.
#[derive(Debug)]
struct Values {
    kind: Kind,
    fraction: Option<f64>,
    descending: bool,
    data_type: DataType,
    /// Without NULLs.
    parts: Vec<ArrayRef>,
}

impl Values {
    fn sorted(&self) -> BoundResult<ArrayRef> {
        let parts: Vec<&dyn Array> = self.parts.iter().map(|part| &**part).collect();
        let all = match parts.as_slice() {
            [] => new_empty_array(&self.data_type),
            parts => concat(parts)?,
        };
        let options = SortOptions {
            descending: self.descending,
            nulls_first: false,
        };
        Ok(sort(&all, Some(options))?)
    }

    /// The place of the most frequent value.
    fn most_frequent(values: &ArrayRef) -> BoundResult<usize> {
        let runs = partition(std::slice::from_ref(values))?.ranges();
        let longest = runs.into_iter().rev().max_by_key(|run| run.len());
        Ok(longest.map_or(0, |run| run.start))
    }
}

/// The value at `fraction` of the way through values in order.
fn interpolated(values: &[f64], fraction: f64) -> f64 {
    let place = fraction * (values.len() - 1) as f64;
    let (low, high) = (place.floor(), place.ceil());
    let (first, second) = (values[low as usize], values[high as usize]);
    if first == second || low == high {
        return first;
    }
    first + (place - low) * (second - first)
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> BoundResult<()> {
        let values = match values[0].logical_null_count() {
            0 => Arc::clone(&values[0]),
            _ => filter(&values[0], &is_not_null(&values[0])?)?,
        };
        if !values.is_empty() {
            self.parts.push(values);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> BoundResult<ScalarValue> {
        let values = self.sorted()?;
        let count = values.len();
        if count == 0 {
            return ScalarValue::try_from(&self.data_type);
        }
        let place = match (self.kind, self.fraction) {
            (Kind::Mode, _) => Self::most_frequent(&values)?,
            (_, None) => return ScalarValue::try_from(&self.data_type),
            (Kind::Continuous | Kind::Median, Some(fraction)) => {
                let values = values.as_primitive::<Float64Type>().values();
                return Ok(ScalarValue::from(interpolated(values, fraction)));
            }
            (Kind::Discrete, Some(fraction)) => {
                ((fraction * count as f64).ceil() as usize).clamp(1, count) - 1
            }
        };
        ScalarValue::try_from_array(&values, place)
    }

    fn size(&self) -> usize {
        let parts = self.parts.iter();
        size_of_val(self)
            + parts
                .map(|part| part.get_array_memory_size())
                .sum::<usize>()
    }

    fn state(&mut self) -> BoundResult<Vec<ScalarValue>> {
        let list = SingleRowListArrayBuilder::new(self.sorted()?);
        Ok(vec![list.build_list_scalar()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> BoundResult<()> {
        let lists = states[0].as_list_opt::<i32>().ok_or_else(|| {
            DataFusionError::Internal("the state of an ordered set is a list".to_owned())
        })?;
        for list in lists.iter().flatten() {
            self.update_batch(&[list])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::interpolated;

    #[test]
    fn percentiles_lie_between_their_neighbours() {
        let values = [1.0, 2.0, 4.0, f64::INFINITY];
        assert_eq!(interpolated(&values, 0.0), 1.0);
        assert_eq!(interpolated(&values, 0.5), 3.0);
        assert_eq!(interpolated(&values, 0.1), 1.3);
        assert_eq!(interpolated(&values, 1.0), f64::INFINITY);
        assert_eq!(interpolated(&[7.0], 0.3), 7.0);
        assert_eq!(interpolated(&[f64::INFINITY; 2], 0.3), f64::INFINITY);
    }
}
