//! Parts of times and intervals as PostgreSQL has them: `EXTRACT(field FROM x)`, which is `date_part(field, x)`, and
//! `date_trunc(unit, time)`.
//!
//! | fields | type |
//! |---|---|
//! | epoch, second, milliseconds, julian | DOUBLE, with the fraction |
//! | microseconds | BIGINT |
//! | all others | INTEGER |

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use chrono::{Datelike, Days, Months, NaiveDate};
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::sql_type::{instant, timestamp};
use super::time::mapped;
use crate::diagnostic::{Code, Diagnostic};

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;
/// Days from the first day of the common era to 1970-01-01.
const EPOCH_DAYS: i64 = 719_163;
/// The Julian day of 1970-01-01.
const EPOCH_JULIAN: f64 = 2_440_588.0;
/// A year of an interval as its epoch counts it.
const YEAR_SECONDS: f64 = 365.25 * 86_400.0;
const MONTH_SECONDS: f64 = 30.0 * 86_400.0;

/// What EXTRACT takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Unit(Unit),
    Epoch,
    Julian,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    /// Of the zone, in seconds, minutes or hours: times are in UTC.
    Zone,
}

/// What times are cut to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Unit {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
}

impl Unit {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "microseconds" | "microsecond" | "us" | "usec" | "usecs" => Self::Microseconds,
            "milliseconds" | "millisecond" | "ms" | "msec" | "msecs" => Self::Milliseconds,
            "second" | "seconds" | "s" | "sec" | "secs" => Self::Second,
            "minute" | "minutes" | "m" | "min" | "mins" => Self::Minute,
            "hour" | "hours" | "h" | "hr" | "hrs" => Self::Hour,
            "day" | "days" | "d" => Self::Day,
            "week" | "weeks" | "w" => Self::Week,
            "month" | "months" | "mon" | "mons" => Self::Month,
            "quarter" | "qtr" => Self::Quarter,
            "year" | "years" | "y" | "yr" | "yrs" => Self::Year,
            "decade" | "decades" | "dec" | "decs" => Self::Decade,
            "century" | "centuries" | "c" | "cent" => Self::Century,
            "millennium" | "millennia" | "mil" | "mils" => Self::Millennium,
            _ => return None,
        })
    }
}

impl Field {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "epoch" => Self::Epoch,
            "julian" => Self::Julian,
            "dow" => Self::DayOfWeek,
            "isodow" => Self::IsoDayOfWeek,
            "doy" => Self::DayOfYear,
            "isoyear" => Self::IsoYear,
            "timezone" | "timezone_hour" | "timezone_minute" => Self::Zone,
            unit => Self::Unit(Unit::named(unit)?),
        })
    }

    /// Whether a time of the day has it.
    fn is_of_day(self) -> bool {
        match self {
            Self::Epoch => true,
            Self::Unit(unit) => of_day(unit, 0).is_some(),
            _ => false,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Epoch | Self::Julian | Self::Unit(Unit::Second | Unit::Milliseconds) => {
                DataType::Float64
            }
            Self::Unit(Unit::Microseconds) => DataType::Int64,
            _ => DataType::Int32,
        }
    }
}

/// Days and the microseconds of the day.
fn split(time_us: i64) -> (i64, i64) {
    (time_us.div_euclid(DAY_US), time_us.rem_euclid(DAY_US))
}

fn date_of(days: i64) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(i32::try_from(days + EPOCH_DAYS).ok()?)
}

/// The year as people count: there is none between 1 BC, which is −1, and 1.
fn counted(year: i32) -> i32 {
    if year > 0 { year } else { year - 1 }
}

/// Which span of `years` a year is in; the first begins with the year 1.
fn span_of(year: i32, years: i32) -> i32 {
    if year > 0 {
        (year + years - 1) / years
    } else {
        -((years - year) / years)
    }
}

/// A part of the day, in the unit's own measure; `None` for units of days and more.
fn of_day(unit: Unit, rest_us: i64) -> Option<f64> {
    let minute_us = (rest_us % MINUTE_US) as f64;
    Some(match unit {
        Unit::Microseconds => minute_us,
        Unit::Milliseconds => minute_us / 1e3,
        Unit::Second => minute_us / 1e6,
        Unit::Minute => (rest_us / MINUTE_US % 60) as f64,
        Unit::Hour => (rest_us / HOUR_US) as f64,
        _ => return None,
    })
}

fn of_time(field: Field, time_us: i64) -> Option<f64> {
    let (days, rest_us) = split(time_us);
    if let Field::Unit(unit) = field
        && let Some(part) = of_day(unit, rest_us)
    {
        return Some(part);
    }
    let date = date_of(days)?;
    let year = date.year();
    let week = date.iso_week();
    Some(match field {
        Field::Epoch => time_us as f64 / 1e6,
        Field::Julian => days as f64 + EPOCH_JULIAN + rest_us as f64 / DAY_US as f64,
        Field::DayOfWeek => f64::from(date.weekday().num_days_from_sunday()),
        Field::IsoDayOfWeek => f64::from(date.weekday().number_from_monday()),
        Field::DayOfYear => f64::from(date.ordinal()),
        Field::IsoYear => f64::from(counted(week.year())),
        Field::Zone => 0.0,
        Field::Unit(unit) => f64::from(match unit {
            Unit::Day => i32::try_from(date.day()).ok()?,
            Unit::Week => i32::try_from(week.week()).ok()?,
            Unit::Month => i32::try_from(date.month()).ok()?,
            Unit::Quarter => i32::try_from(date.month0()).ok()? / 3 + 1,
            Unit::Decade => year.div_euclid(10),
            Unit::Century => span_of(year, 100),
            Unit::Millennium => span_of(year, 1_000),
            _ => counted(year),
        }),
    })
}

/// A part of an interval; `None` where it has none.
fn of_interval(field: Field, months: i32, days: i64, rest_us: i64) -> Option<f64> {
    if let Field::Unit(unit) = field
        && let Some(part) = of_day(unit, rest_us)
    {
        return Some(part);
    }
    let years = months / 12;
    Some(match field {
        Field::Epoch => {
            f64::from(years) * YEAR_SECONDS
                + f64::from(months % 12) * MONTH_SECONDS
                + days as f64 * 86_400.0
                + rest_us as f64 / 1e6
        }
        Field::Unit(Unit::Day) => days as f64,
        Field::Unit(Unit::Month) => f64::from(months % 12),
        Field::Unit(Unit::Quarter) => f64::from(months % 12 / 3 + 1),
        Field::Unit(Unit::Year) => f64::from(years),
        Field::Unit(Unit::Decade) => f64::from(years / 10),
        Field::Unit(Unit::Century) => f64::from(years / 100),
        Field::Unit(Unit::Millennium) => f64::from(years / 1_000),
        _ => return None,
    })
}

/// `EXTRACT(field FROM x)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DatePart {
    field: Field,
    signature: Signature,
}

impl DatePart {
    pub(super) fn new(field: Field) -> Self {
        Self {
            field,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    fn parts(&self, array: &ArrayRef) -> BoundResult<ArrayRef> {
        let missing = |what: &str| {
            let message = format!("{what} has no such part: {:?}", self.field).to_lowercase();
            DataFusionError::External(Box::new(Diagnostic::new(Code::Row, message)))
        };
        let part = |row: usize| -> BoundResult<Option<f64>> {
            if array.is_null(row) {
                return Ok(None);
            }
            let part = if let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() {
                of_time(self.field, times.value(row)).ok_or_else(|| missing("a time"))?
            } else if let Some(clocks) = array.as_primitive_opt::<Time64MicrosecondType>() {
                of_interval(self.field, 0, 0, clocks.value(row))
                    .ok_or_else(|| missing("a time of the day"))?
            } else if let Some(durations) = array.as_primitive_opt::<DurationMicrosecondType>() {
                let us = durations.value(row);
                of_interval(self.field, 0, us / DAY_US, us % DAY_US)
                    .ok_or_else(|| missing("an interval"))?
            } else {
                let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                let rest_us = value.nanoseconds / 1_000;
                of_interval(self.field, value.months, i64::from(value.days), rest_us)
                    .ok_or_else(|| missing("an interval"))?
            };
            Ok(Some(part))
        };
        let parts = (0..array.len())
            .map(part)
            .collect::<BoundResult<Float64Array>>()?;
        Ok(match self.field.data_type() {
            DataType::Float64 => Arc::new(parts),
            DataType::Int64 => Arc::new(Int64Array::from_iter(
                parts.iter().map(|part| part.map(|part| part as i64)),
            )),
            _ => Arc::new(Int32Array::from_iter(
                parts.iter().map(|part| part.map(|part| part as i32)),
            )),
        })
    }
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        "date_part"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        Ok(vec![match args {
            [DataType::Timestamp(_, Some(_))] => instant(),
            [DataType::Timestamp(_, None) | DataType::Date32 | DataType::Null] => timestamp(),
            [DataType::Interval(_)] => DataType::Interval(IntervalUnit::MonthDayNano),
            [DataType::Duration(_)] => DataType::Duration(TimeUnit::Microsecond),
            [DataType::Time32(_) | DataType::Time64(_)] if self.field.is_of_day() => {
                DataType::Time64(TimeUnit::Microsecond)
            }
            _ => {
                let message = "takes a DATE, TIMESTAMP, TIMESTAMPTZ or INTERVAL, and of a TIME hours and less";
                return Err(DataFusionError::Plan(message.to_owned()));
            }
        }])
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(self.field.data_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        mapped(&args, |array| self.parts(array))
    }
}

/// `date_trunc(unit, time)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateTrunc {
    unit: Unit,
    signature: Signature,
}

impl DateTrunc {
    pub(super) fn new(unit: Unit) -> Self {
        Self {
            unit,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

/// The first day of the unit that `date` is in; `None` before the first day that there is.
fn first_day(unit: Unit, date: NaiveDate) -> Option<NaiveDate> {
    let (year, month0) = (date.year(), date.month0());
    let first = |year: i32| NaiveDate::from_ymd_opt(year, 1, 1);
    match unit {
        Unit::Week => {
            date.checked_sub_days(Days::new(u64::from(date.weekday().num_days_from_monday())))
        }
        Unit::Month => date.with_day(1),
        Unit::Quarter => date
            .with_day(1)?
            .checked_sub_months(Months::new(month0 % 3)),
        Unit::Year => first(year),
        Unit::Decade => first(year.div_euclid(10) * 10),
        Unit::Century => first((year - 1).div_euclid(100) * 100 + 1),
        Unit::Millennium => first((year - 1).div_euclid(1_000) * 1_000 + 1),
        _ => Some(date),
    }
}

fn truncated(unit: Unit, time_us: i64) -> Option<i64> {
    let step_us = match unit {
        Unit::Microseconds => 1,
        Unit::Milliseconds => 1_000,
        Unit::Second => SECOND_US,
        Unit::Minute => MINUTE_US,
        Unit::Hour => HOUR_US,
        Unit::Day => DAY_US,
        _ => {
            let date = first_day(unit, date_of(split(time_us).0)?)?;
            let days = i64::from(date.num_days_from_ce()) - EPOCH_DAYS;
            return days.checked_mul(DAY_US);
        }
    };
    time_us.checked_sub(time_us.rem_euclid(step_us))
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        "date_trunc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        Ok(vec![match args {
            [DataType::Timestamp(_, Some(_))] => instant(),
            [DataType::Timestamp(_, None) | DataType::Date32 | DataType::Null] => timestamp(),
            _ => {
                let message = "takes a DATE, TIMESTAMP or TIMESTAMPTZ";
                return Err(DataFusionError::Plan(message.to_owned()));
            }
        }])
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        Ok(args.first().cloned().unwrap_or_else(timestamp))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        mapped(&args, |array| {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            let cut = times.try_unary::<_, TimestampMicrosecondType, _>(|time_us| {
                truncated(self.unit, time_us).ok_or_else(|| {
                    let message = format!("a time is out of range: {time_us} µs");
                    DataFusionError::External(Box::new(Diagnostic::new(Code::Row, message)))
                })
            })?;
            Ok(Arc::new(cut.with_data_type(array.data_type().clone())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDateTime;

    fn us(text: &str) -> i64 {
        let time: NaiveDateTime = text.parse().expect("a time");
        time.and_utc().timestamp_micros()
    }

    #[test]
    fn times_of_all_centuries_are_cut() {
        for (unit, time, expected) in [
            ("week", "9999-12-31T23:59:59", "9999-12-27T00:00:00"),
            ("month", "9999-12-31T23:59:59", "9999-12-01T00:00:00"),
            ("quarter", "1600-05-31T01:00:00", "1600-04-01T00:00:00"),
            ("year", "1600-05-31T01:00:00", "1600-01-01T00:00:00"),
            ("decade", "2024-05-31T01:00:00", "2020-01-01T00:00:00"),
            ("century", "2000-05-31T01:00:00", "1901-01-01T00:00:00"),
            ("millennium", "2001-05-31T01:00:00", "2001-01-01T00:00:00"),
            ("hour", "1960-05-31T01:59:59.5", "1960-05-31T01:00:00"),
            (
                "ms",
                "1960-05-31T01:59:59.123456",
                "1960-05-31T01:59:59.123",
            ),
        ] {
            let unit = Unit::named(unit).expect("a unit");
            assert_eq!(
                truncated(unit, us(time)),
                Some(us(expected)),
                "{unit:?} {time}"
            );
        }
    }

    #[test]
    fn parts_are_those_of_postgresql() {
        for (field, time, expected) in [
            ("second", "2024-05-01T08:00:58.123456", 58.123456),
            ("milliseconds", "2024-05-01T08:00:58.123456", 58_123.456),
            ("microseconds", "2024-05-01T08:00:58.123456", 58_123_456.0),
            ("epoch", "9999-12-31T23:59:59.5", 253_402_300_799.5),
            ("dow", "2024-05-05T00:00:00", 0.0),
            ("isodow", "2024-05-05T00:00:00", 7.0),
            ("doy", "2024-12-31T00:00:00", 366.0),
            ("week", "2021-01-01T00:00:00", 53.0),
            ("isoyear", "2021-01-01T00:00:00", 2020.0),
            ("century", "2000-01-01T00:00:00", 20.0),
            ("julian", "2000-01-01T12:00:00", 2_451_545.5),
        ] {
            let named = Field::named(field).expect("a field");
            assert_eq!(of_time(named, us(time)), Some(expected), "{field} {time}");
        }
        let thirty_hours_us = 30 * HOUR_US + 750_000;
        for (field, expected) in [("day", 1.0), ("hour", 6.0), ("second", 0.75)] {
            let named = Field::named(field).expect("a field");
            let part = of_interval(named, 0, thirty_hours_us / DAY_US, thirty_hours_us % DAY_US);
            assert_eq!(part, Some(expected), "{field}");
        }
        assert_eq!(
            of_interval(Field::Epoch, 14, 1, 500_000),
            Some(36_828_000.5)
        );
    }
}
