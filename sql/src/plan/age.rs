//! `age(later, earlier)`: years, months, days and the time of day between two times, as a calendar counts them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoBuilder};
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::sql_type::{UTC, timestamp};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Age {
    signature: Signature,
}

impl Default for Age {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Age {
    fn name(&self) -> &str {
        "age"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        let [later, earlier] = args else {
            return Err(DataFusionError::Plan("takes two times".to_owned()));
        };
        let with_zone = |data_type: &DataType| matches!(data_type, DataType::Timestamp(_, Some(_)));
        let known = |data_type: &DataType| {
            matches!(
                data_type,
                DataType::Timestamp(..) | DataType::Date32 | DataType::Null
            ) || super::time_text::is_text(data_type)
        };
        if !known(later) || !known(earlier) {
            return Err(DataFusionError::Plan("takes two times".to_owned()));
        }
        let time = match with_zone(later) || with_zone(earlier) {
            true => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            false => timestamp(),
        };
        Ok(vec![time.clone(), time])
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let is_constant = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
        let constant = args.args.iter().all(is_constant);
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [later, earlier] = columns.as_slice() else {
            return Err(DataFusionError::Internal("two arguments".to_owned()));
        };
        let later = later.as_primitive::<TimestampMicrosecondType>();
        let earlier = earlier.as_primitive::<TimestampMicrosecondType>();
        let mut ages = IntervalMonthDayNanoBuilder::with_capacity(later.len());
        for row in 0..later.len() {
            let both = later.is_valid(row) && earlier.is_valid(row);
            ages.append_option(match both {
                true => age(later.value(row), earlier.value(row)),
                false => None,
            });
        }
        let ages: ArrayRef = Arc::new(ages.finish());
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&ages, 0)?),
            false => ColumnarValue::Array(ages),
        })
    }
}

/// The age of two times, µs since 1970; `None`: no calendar has them.
fn age(later: i64, earlier: i64) -> Option<IntervalMonthDayNano> {
    if later < earlier {
        let age = between(later, earlier)?;
        return Some(IntervalMonthDayNano::new(
            -age.months,
            -age.days,
            -age.nanoseconds,
        ));
    }
    between(earlier, later)
}

fn between(from: i64, to: i64) -> Option<IntervalMonthDayNano> {
    let time = |micros| Some(DateTime::from_timestamp_micros(micros)?.naive_utc());
    let (from, to): (NaiveDateTime, NaiveDateTime) = (time(from)?, time(to)?);
    let of_day = |time: &NaiveDateTime| {
        i64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(time.nanosecond())
    };
    let mut nanoseconds = of_day(&to) - of_day(&from);
    let mut days = i64::from(to.day()) - i64::from(from.day());
    let mut months = (to.year() - from.year()) * 12 + i32::try_from(to.month()).ok()?
        - i32::try_from(from.month()).ok()?;
    if nanoseconds < 0 {
        nanoseconds += 86_400_000_000_000;
        days -= 1;
    }
    if days < 0 {
        // The days that are left of the month that it began in.
        days += i64::from(from.date().num_days_in_month());
        months -= 1;
    }
    let days = i32::try_from(days).ok()?;
    Some(IntervalMonthDayNano::new(months, days, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").expect("a time");
        time.and_utc().timestamp_micros()
    }

    /// The answers are PostgreSQL's.
    #[test]
    fn ages_are_counted_by_the_calendar() {
        for (later, earlier, months, days, hours) in [
            ("2024-06-15 00:00:00", "2024-02-03 07:00:00", 4, 11, 17),
            ("2024-03-01 00:00:00", "2024-01-31 00:00:00", 1, 1, 0),
            ("2023-03-01 00:00:00", "2023-02-28 12:00:00", 0, 0, 12),
            ("2024-02-29 00:00:00", "2023-02-28 00:00:00", 12, 1, 0),
            ("2024-01-31 00:00:00", "2024-03-01 00:00:00", -1, -1, 0),
            ("2001-04-10 00:00:00", "1957-06-13 00:00:00", 525, 27, 0),
            ("2024-05-05 05:00:00", "2024-05-05 05:00:00", 0, 0, 0),
        ] {
            let expected = IntervalMonthDayNano::new(months, days, hours * 3_600_000_000_000);
            let age = age(micros(later), micros(earlier)).expect("an age");
            assert_eq!(age, expected, "{later} {earlier}");
        }
    }
}
