//! An interval times a number, and by a number, as PostgreSQL computes it: what is left of a month becomes days, of 30 each,
//! what is left of a day becomes time.
//!
//! ```text
//! dep_delay * INTERVAL '1 minute'     INTERVAL '1 month' / 2 = 15 days     make_interval(mins => 5)
//! ```
//!
//! Follows PostgreSQL 18, chapter 9.9, and its `interval_mul`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, IntervalMonthDayNanoArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNano, IntervalUnit};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::time::intervals_of;
use crate::diagnostic::{Code, Diagnostic};

const DAYS_A_MONTH: f64 = 30.0;
const SECONDS_A_DAY: f64 = 86_400.0;

/// `interval`, an interval or a time between two times, times `number`, or by it.
pub(super) fn times(interval: Expr, number: Expr, divides: bool) -> Expr {
    let function = IntervalTimes {
        divides,
        signature: Signature::user_defined(Volatility::Immutable),
    };
    ScalarUDF::from(function).call(vec![interval, number])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalTimes {
    divides: bool,
    signature: Signature,
}

impl ScalarUDFImpl for IntervalTimes {
    fn name(&self) -> &str {
        match self.divides {
            true => "interval_by",
            false => "interval_times",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        match args {
            [
                interval @ (DataType::Interval(_) | DataType::Duration(_)),
                _,
            ] => Ok(vec![interval.clone(), DataType::Float64]),
            _ => Err(DataFusionError::Plan(
                "an interval and a number are expected".to_owned(),
            )),
        }
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let constant = (args.args.iter()).all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|arg| arg.to_array(rows));
        let columns = columns.collect::<BoundResult<Vec<ArrayRef>>>()?;
        let [intervals, numbers] = columns.as_slice() else {
            return Err(DataFusionError::Internal("two arguments".to_owned()));
        };
        let products: ArrayRef = Arc::new(self.products(intervals, numbers)?);
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&products, 0)?),
            false => ColumnarValue::Array(products),
        })
    }
}

impl IntervalTimes {
    fn products(
        &self,
        intervals: &ArrayRef,
        numbers: &ArrayRef,
    ) -> BoundResult<IntervalMonthDayNanoArray> {
        let options = CastOptions {
            safe: false,
            ..Default::default()
        };
        let month_day_nano = DataType::Interval(IntervalUnit::MonthDayNano);
        let intervals = match intervals.data_type() {
            DataType::Interval(unit) if *unit != IntervalUnit::MonthDayNano => {
                cast_with_options(intervals, &month_day_nano, &options)?
            }
            DataType::Duration(_) => {
                let micros = DataType::Duration(arrow::datatypes::TimeUnit::Microsecond);
                cast_with_options(intervals, &micros, &options)?
            }
            _ => Arc::clone(intervals),
        };
        let intervals = intervals_of(&intervals)?;
        let numbers = cast_with_options(numbers, &DataType::Float64, &options)?;
        let numbers: &Float64Array = numbers.as_primitive::<Float64Type>();
        let products = intervals.iter().zip(numbers).map(|pair| match pair {
            (Some(interval), Some(number)) => self.product(interval, number).map(Some),
            _ => Ok(None),
        });
        products.collect()
    }

    fn product(
        &self,
        interval: IntervalMonthDayNano,
        number: f64,
    ) -> BoundResult<IntervalMonthDayNano> {
        if self.divides && number == 0.0 {
            return Err(DataFusionError::Execution("divide by zero".to_owned()));
        }
        let times = |part: f64| match self.divides {
            true => part / number,
            false => part * number,
        };
        let months = times(f64::from(interval.months));
        let days = times(f64::from(interval.days));
        // PostgreSQL rounds what is left of months to a millionth of a day, and of days to one of a second: 0.1 months have no dust.
        let rounded = |part: f64| (part * 1e6).round() / 1e6;
        let days_left = rounded((months - months.trunc()) * DAYS_A_MONTH);
        let day_left = days - days.trunc() + days_left - days_left.trunc();
        let seconds_left = rounded(day_left * SECONDS_A_DAY);
        let day_left = (seconds_left / SECONDS_A_DAY).trunc();
        let whole_days = days.trunc() + days_left.trunc() + day_left;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a float counts microseconds of centuries exactly"
        )]
        let own_nanos = interval.nanoseconds as f64;
        let nanos = times(own_nanos) + (seconds_left - day_left * SECONDS_A_DAY) * 1e9;
        let micros = (nanos / 1e3).round();
        let product = (|| {
            Some(IntervalMonthDayNano {
                months: whole(months.trunc())?.try_into().ok()?,
                days: whole(whole_days)?.try_into().ok()?,
                nanoseconds: whole(micros)?.checked_mul(1_000)?,
            })
        })();
        product.ok_or_else(|| {
            let mut diagnostic = Diagnostic::new(Code::Row, "overflow of INTERVAL");
            diagnostic.sqlstate = "22008".to_owned();
            DataFusionError::External(Box::new(diagnostic))
        })
    }
}

/// A whole float as a number. `None`: there is none, as of NaN.
fn whole(float: f64) -> Option<i64> {
    const MOST: f64 = 9.2e18;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is whole, and within the numbers that there are"
    )]
    (float.abs() < MOST).then_some(float as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_goes_down() {
        let interval = |months, days, seconds: f64| {
            let nanoseconds = whole(seconds * 1e9).unwrap();
            IntervalMonthDayNano {
                months,
                days,
                nanoseconds,
            }
        };
        let product = |divides, of, number| {
            let function = IntervalTimes {
                divides,
                signature: Signature::user_defined(Volatility::Immutable),
            };
            function
                .product(of, number)
                .map_err(|error| error.to_string())
        };
        for (divides, of, number, expected) in [
            (false, interval(0, 0, 60.0), 5.5, interval(0, 0, 330.0)),
            (true, interval(1, 0, 0.0), 2.0, interval(0, 15, 0.0)),
            (false, interval(1, 0, 0.0), 1.5, interval(1, 15, 0.0)),
            (false, interval(0, 1, 0.0), 0.5, interval(0, 0, 43_200.0)),
            (
                false,
                interval(0, 1, 3_600.0),
                -2.0,
                interval(0, -2, -7_200.0),
            ),
            (false, interval(0, 0, 1.0), 0.1, interval(0, 0, 0.1)),
        ] {
            assert_eq!(
                product(divides, of, number),
                Ok(expected),
                "{of:?} {number}"
            );
        }
        assert!(product(true, interval(0, 1, 0.0), 0.0).is_err());
        assert!(product(false, interval(1, 0, 0.0), 1e30).is_err());
        assert!(product(false, interval(1, 0, 0.0), f64::NAN).is_err());
    }
}
