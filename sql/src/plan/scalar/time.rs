//! Times that are moved and made, and intervals: Flink's `timestampadd` and `to_timestamp_ltz`, PostgreSQL's `make_…` and
//! `justify_…`.

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use chrono::{DateTime, Days, Months, NaiveDate, NaiveDateTime};

use super::super::sql_type::{instant, timestamp};
use super::super::time_pattern::micros_by_java;
use super::super::time_text::time_of;
use super::take::Takes::{AnyTime, Float, Int, Interval, Movable, Text, TextOrInt, TextOrNumber};
use super::{Answer, Line, Value, boolean, interval, line};

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
const DAY_NS: i64 = DAY_US * 1_000;
const MONTH_DAYS: i32 = 30;

pub(super) const LINES: &[Line] = &[
    // The unit is one of days or more, and a date stays one.
    line("timestampadd", &[Text, Int, Movable], moved, add),
    // The unit is one of a day, and a date becomes a time.
    line("__timestampadd", &[Text, Int, Movable], moved_in_day, add),
    line(
        "make_timestamp",
        &[Int, Int, Int, Int, Int, Float],
        |_| timestamp(),
        make_timestamp,
    ),
    line("make_time", &[Int, Int, Float], clock, make_time),
    line(
        "make_interval",
        &[Int, Int, Int, Int, Int, Int, Float],
        interval,
        make_interval,
    )
    .optional(7),
    line("justify_hours", &[Interval], interval, |args| {
        justified(args, hours)
    }),
    line("justify_days", &[Interval], interval, |args| {
        justified(args, days)
    }),
    line("justify_interval", &[Interval], interval, |args| {
        justified(args, all)
    }),
    line("isfinite", &[AnyTime], boolean, |_| Ok(Answer::Bool(true))),
    line("from_days", &[Int], |_| DataType::Date32, from_days),
    line(
        "to_timestamp_ltz",
        &[TextOrNumber, TextOrInt],
        |_| instant(),
        to_timestamp_ltz,
    )
    .optional(1),
];

fn out_of_range() -> String {
    "a time is out of range".to_owned()
}

fn moved(args: &[DataType]) -> DataType {
    args.get(2).cloned().unwrap_or_else(timestamp)
}

fn moved_in_day(args: &[DataType]) -> DataType {
    match moved(args) {
        DataType::Date32 => timestamp(),
        other => other,
    }
}

/// A length of time.
enum Length {
    Months(i32),
    Us(i64),
}

impl Length {
    /// So many of a unit.
    fn of(unit: &str, count: i64) -> Result<Self, String> {
        let months = |each: i64| {
            let months = count
                .checked_mul(each)
                .and_then(|months| i32::try_from(months).ok());
            months.map(Self::Months)
        };
        let us = |each: i64| count.checked_mul(each).map(Self::Us);
        let length = match unit {
            "year" => months(12),
            "quarter" => months(3),
            "month" => months(1),
            "week" => us(7 * DAY_US),
            "day" => us(DAY_US),
            "hour" => us(3_600 * SECOND_US),
            "minute" => us(60 * SECOND_US),
            "second" => us(SECOND_US),
            "millisecond" => us(1_000),
            "microsecond" => us(1),
            unit => return Err(format!("'{unit}' is no unit of time")),
        };
        length.ok_or_else(out_of_range)
    }

    fn behind(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        match *self {
            Self::Months(months) if months < 0 => {
                time.checked_sub_months(Months::new(months.unsigned_abs()))
            }
            Self::Months(months) => time.checked_add_months(Months::new(months.unsigned_abs())),
            Self::Us(us) => time.checked_add_signed(chrono::TimeDelta::microseconds(us)),
        }
    }
}

fn epoch_days(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

fn add<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(unit), Value::Int(count), time] = *args else {
        return Ok(Answer::Null);
    };
    let length = Length::of(unit, count)?;
    let in_day = ["hour", "minute", "second", "millisecond", "microsecond"].contains(&unit);
    let moved = match time {
        Value::Date(days) => {
            let days = u64::from(days.unsigned_abs());
            let epoch = NaiveDate::default();
            let date = match time {
                Value::Date(0..) => epoch.checked_add_days(Days::new(days)),
                _ => epoch.checked_sub_days(Days::new(days)),
            };
            let time = date.map(|date| date.and_time(chrono::NaiveTime::MIN));
            let moved = time.and_then(|time| length.behind(time));
            moved.map(|moved| match in_day {
                true => moved.and_utc().timestamp_micros(),
                false => epoch_days(moved.date()),
            })
        }
        Value::Time(us) => {
            let time = DateTime::from_timestamp_micros(us);
            let moved = time.and_then(|time| length.behind(time.naive_utc()));
            moved.map(|moved| moved.and_utc().timestamp_micros())
        }
        Value::Clock(us) => Some(match length {
            Length::Us(by) => (us + by % DAY_US).rem_euclid(DAY_US),
            Length::Months(_) => us,
        }),
        _ => return Ok(Answer::Null),
    };
    moved.map(Answer::Int).ok_or_else(out_of_range)
}

fn make_timestamp<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [
        Value::Int(year),
        Value::Int(month),
        Value::Int(day),
        Value::Int(hour),
        Value::Int(minute),
        Value::Float(second),
    ] = *args
    else {
        return Ok(Answer::Null);
    };
    let outside = || "a field is out of range".to_owned();
    // There is no year 0, and a negative one is before Christ.
    let year = match year {
        0 => return Err(outside()),
        year => year + i64::from(year < 0),
    };
    let small = |number: i64| u32::try_from(number).ok();
    let date = match (i32::try_from(year), small(month), small(day)) {
        (Ok(year), Some(month), Some(day)) => NaiveDate::from_ymd_opt(year, month, day),
        _ => None,
    };
    let in_day =
        (0..24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second);
    let date = date.filter(|_| in_day).ok_or_else(outside)?;
    let of_day = (hour * 3_600 + minute * 60) * SECOND_US + (second * 1e6).round() as i64;
    let time = epoch_days(date).checked_mul(DAY_US);
    let time = time.and_then(|time| time.checked_add(of_day));
    time.map(Answer::Int).ok_or_else(outside)
}

fn clock(_: &[DataType]) -> DataType {
    DataType::Time64(TimeUnit::Microsecond)
}

fn make_time<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Int(hour), Value::Int(minute), Value::Float(second)] = *args else {
        return Ok(Answer::Null);
    };
    let in_day =
        (0..24).contains(&hour) && (0..60).contains(&minute) && (0.0..60.0).contains(&second);
    match in_day {
        true => Ok(Answer::Int(
            (hour * 3_600 + minute * 60) * SECOND_US + (second * 1e6).round() as i64,
        )),
        false => Err("a field is out of range".to_owned()),
    }
}

/// Years, months, weeks, days, hours, minutes and seconds; what is not given is none.
fn make_interval<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let whole = |place: usize| match args.get(place) {
        Some(Value::Int(number)) => i128::from(*number),
        _ => 0,
    };
    let seconds = match args.get(6) {
        Some(Value::Float(seconds)) => *seconds,
        _ => 0.0,
    };
    let seconds_us = (seconds * 1e6).round() as i128;
    let seconds_ns = seconds_us.saturating_mul(1_000);
    let clock_ns = (whole(4) * 3_600 + whole(5) * 60) * 1_000_000_000;
    let clock_ns = clock_ns.saturating_add(seconds_ns);
    let months = i32::try_from(whole(0) * 12 + whole(1));
    let days = i32::try_from(whole(2) * 7 + whole(3));
    match (months, days, i64::try_from(clock_ns)) {
        (Ok(months), Ok(days), Ok(nanoseconds)) => Ok(Answer::Interval(IntervalMonthDayNano {
            months,
            days,
            nanoseconds,
        })),
        _ => Err("an interval is out of range".to_owned()),
    }
}

fn justified<'a>(
    args: &[Value<'a>],
    justify: fn(IntervalMonthDayNano) -> Option<IntervalMonthDayNano>,
) -> Result<Answer<'a>, String> {
    let [Value::Interval(interval)] = *args else {
        return Ok(Answer::Null);
    };
    let justified = justify(interval).map(Answer::Interval);
    justified.ok_or_else(|| "an interval is out of range".to_owned())
}

/// 24 hours as a day, so that both have one sign.
fn hours(interval: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let whole = i32::try_from(interval.nanoseconds / DAY_NS).ok()?;
    let mut out = interval;
    out.days = interval.days.checked_add(whole)?;
    out.nanoseconds = interval.nanoseconds % DAY_NS;
    if out.days > 0 && out.nanoseconds < 0 {
        (out.days, out.nanoseconds) = (out.days - 1, out.nanoseconds + DAY_NS);
    } else if out.days < 0 && out.nanoseconds > 0 {
        (out.days, out.nanoseconds) = (out.days + 1, out.nanoseconds - DAY_NS);
    }
    Some(out)
}

/// 30 days as a month, so that both have one sign.
fn days(interval: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let mut out = interval;
    out.months = interval.months.checked_add(interval.days / MONTH_DAYS)?;
    out.days = interval.days % MONTH_DAYS;
    if out.months > 0 && out.days < 0 {
        (out.months, out.days) = (out.months - 1, out.days + MONTH_DAYS);
    } else if out.months < 0 && out.days > 0 {
        (out.months, out.days) = (out.months + 1, out.days - MONTH_DAYS);
    }
    Some(out)
}

/// Both, so that all parts have one sign.
fn all(interval: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let whole = i32::try_from(interval.nanoseconds / DAY_NS).ok()?;
    let mut out = interval;
    out.days = interval.days.checked_add(whole)?;
    out.nanoseconds = interval.nanoseconds % DAY_NS;
    out.months = interval.months.checked_add(out.days / MONTH_DAYS)?;
    out.days %= MONTH_DAYS;
    let below = out.days < 0 || out.days == 0 && out.nanoseconds < 0;
    let above = out.days > 0 || out.days == 0 && out.nanoseconds > 0;
    if out.months > 0 && below {
        (out.months, out.days) = (out.months - 1, out.days + MONTH_DAYS);
    } else if out.months < 0 && above {
        (out.months, out.days) = (out.months + 1, out.days - MONTH_DAYS);
    }
    if out.days > 0 && out.nanoseconds < 0 {
        (out.days, out.nanoseconds) = (out.days - 1, out.nanoseconds + DAY_NS);
    } else if out.days < 0 && out.nanoseconds > 0 {
        (out.days, out.nanoseconds) = (out.days + 1, out.nanoseconds - DAY_NS);
    }
    Some(out)
}

/// ksqlDB's: the date so many days after 1970-01-01.
fn from_days<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Int(days)] = *args else {
        return Ok(Answer::Null);
    };
    i32::try_from(days).map_err(|_| out_of_range())?;
    Ok(Answer::Int(days))
}

/// Flink's: a number of seconds (0) or milliseconds (3, as without a second argument) since 1970, or a text by Java's pattern.
fn to_timestamp_ltz<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let number = match args.first() {
        Some(Value::Int(number)) => Ok(*number as f64),
        Some(Value::Float(number)) => Ok(*number),
        Some(Value::Text(text)) => Err(*text),
        _ => return Ok(Answer::Null),
    };
    let time = match (number, args.get(1)) {
        (Ok(seconds), Some(Value::Int(0))) => whole(seconds * 1e6),
        (Ok(ms), None | Some(Value::Int(3))) => whole(ms * 1e3),
        (Ok(_), _) => return Err("a number is one of seconds, 0, or of milliseconds, 3".to_owned()),
        (Err(text), None) => time_of(text),
        (Err(text), Some(Value::Text(pattern))) => {
            return micros_by_java(text, pattern).map(Answer::Int);
        }
        (Err(_), _) => return Err("a text is read by a pattern: 'yyyy-MM-dd HH:mm:ss'".to_owned()),
    };
    time.map(Answer::Int).ok_or_else(out_of_range)
}

/// The nearest number of µs, where there is one.
fn whole(us: f64) -> Option<i64> {
    (us.abs() < 9.2e18).then(|| us.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval_of(months: i32, days: i32, hours: i64) -> IntervalMonthDayNano {
        IntervalMonthDayNano::new(months, days, hours * 3_600 * 1_000_000_000)
    }

    /// The answers are PostgreSQL's.
    #[test]
    fn intervals_are_justified() {
        let given = interval_of(0, 29, -12);
        assert_eq!(hours(given), Some(interval_of(0, 28, 12)));
        assert_eq!(hours(interval_of(0, 0, 25)), Some(interval_of(0, 1, 1)));
        assert_eq!(days(interval_of(0, 35, 0)), Some(interval_of(1, 5, 0)));
        assert_eq!(days(interval_of(1, -5, 0)), Some(interval_of(0, 25, 0)));
        assert_eq!(all(interval_of(1, 0, -1)), Some(interval_of(0, 29, 23)));
        assert_eq!(all(interval_of(-1, 2, 1)), Some(interval_of(0, -27, -23)));
    }

    #[test]
    fn times_are_moved_by_units() {
        let moved = |unit, count, time| add(&[Value::Text(unit), Value::Int(count), time]);
        // The last of January a month later is the last of February.
        let january = Value::Date(19_753);
        assert_eq!(moved("month", 1, january), Ok(Answer::Int(19_782)));
        assert_eq!(moved("day", -1, Value::Date(0)), Ok(Answer::Int(-1)));
        assert_eq!(moved("month", -1, Value::Date(-1)), Ok(Answer::Int(-32)));
        let late = Value::Clock(DAY_US - 1);
        assert_eq!(moved("microsecond", 2, late), Ok(Answer::Int(1)));
        let epoch = Value::Time(0);
        assert_eq!(moved("hour", 1, epoch), Ok(Answer::Int(3_600 * SECOND_US)));
        assert!(moved("year", i64::MAX, epoch).is_err());
        assert!(moved("fortnight", 1, epoch).is_err());
    }
}
