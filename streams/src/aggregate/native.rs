//! The aggregates that take back a row by themselves, in a few bytes a group: `count`, `sum`, `min`, `max`, `avg`.

use arrow::datatypes::DataType;

use super::{Accumulator, AggregateFunction, BoundCall, average, count, distinct, extreme, sum};
use crate::aggregate::multiset::OrderedMultiset;
use crate::state::Physical;

/// The native aggregates. All but `Count` are NULL over nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NativeAggregate {
    /// Rows, or non-null values.
    Count,
    /// Sum; overflow is an error of the row.
    Sum,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Mean.
    Avg,
}

impl NativeAggregate {
    fn is_extreme(self) -> bool {
        matches!(self, Self::Min | Self::Max)
    }

    fn fits(self, input: &DataType, output: &DataType) -> bool {
        match self {
            Self::Count => *output == DataType::Int64,
            Self::Min | Self::Max => *input != DataType::Null && output == input,
            Self::Sum => matches!(
                (input, output),
                (
                    DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64,
                    DataType::Int64
                ) | (
                    DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64,
                    DataType::Int64 | DataType::UInt64
                ) | (DataType::Float32 | DataType::Float64, DataType::Float64)
                    | (DataType::Decimal128(..), DataType::Decimal128(..))
            ),
            Self::Avg => match (input, output) {
                (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) => to >= from,
                (input, DataType::Float64) => input.is_integer() || input.is_floating(),
                _ => false,
            },
        }
    }
}

impl AggregateFunction for NativeAggregate {
    fn name(&self) -> &str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
        }
    }

    fn describe(&self, arguments: &[String]) -> String {
        match arguments {
            [] => format!("{}(*)", self.name()),
            arguments => format!("{}({})", self.name(), arguments.join(", ")),
        }
    }

    fn shape(&self) -> Vec<u8> {
        vec![match self {
            Self::Count => 1,
            Self::Sum => 2,
            Self::Min => 3,
            Self::Max => 4,
            Self::Avg => 5,
        }]
    }

    fn check(&self, call: &BoundCall) -> Result<(), String> {
        let name = self.name();
        let input = match call.arguments.as_slice() {
            [] if *self == Self::Count && !call.distinct => {
                return if call.output == DataType::Int64 {
                    Ok(())
                } else {
                    Err("count gives Int64".to_owned())
                };
            }
            [input] => input,
            others => return Err(format!("{name} takes one argument, not {}", others.len())),
        };
        if Physical::of(input).is_none() {
            return Err(format!("values of type {input} cannot be aggregated"));
        }
        if !self.fits(input, &call.output) {
            return Err(format!("{name} of {input} cannot give {}", call.output));
        }
        Ok(())
    }

    fn keeps_values(&self, call: &BoundCall) -> bool {
        if self.is_extreme() {
            // Smallest and largest do not depend on how often a value is there.
            !call.append_only
        } else {
            call.distinct
        }
    }

    fn build(&self, call: &BoundCall) -> Box<dyn Accumulator> {
        let Some(input) = call.arguments.first() else {
            return Box::new(count::Count::default());
        };
        let largest = *self == Self::Max;
        let plain: Box<dyn Accumulator> = match self {
            Self::Count => Box::new(count::Count::default()),
            Self::Sum => sum::of(input, &call.output),
            Self::Avg => average::of(input, &call.output),
            Self::Min | Self::Max if call.append_only => extreme::of(input, largest),
            Self::Min | Self::Max => Box::new(OrderedMultiset::new(input, largest, call.number)),
        };
        if call.distinct && !self.is_extreme() {
            return Box::new(distinct::Distinct::new(plain, call));
        }
        plain
    }
}
