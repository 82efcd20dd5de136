//! Times that are written: the one reader of texts that become DATE, TIMESTAMP or TIMESTAMPTZ, in CAST, INSERT,
//! comparisons and literals.
//!
//! ```text
//! 2024-05-01   2024-5-1   2024/05/01   20240501   +12024-05-01
//!   then nothing, or T or blanks and   8:00   08:00:00   08:00:00.123456   08:00 PM   24:00
//!     then nothing, or perhaps blanks and   Z   UTC   +02   +0200   +02:00   Europe/Amsterdam
//! ```
//!
//! Invariants:
//! 1. A time with a zone is converted to UTC, for a TIMESTAMP as well: that has no zone, and JSON is read so too. A DATE
//!    is the day as written.
//! 2. Fractions are rounded to microseconds.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Date32Array, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::sql_type::type_name;
use super::time_zone;
use crate::diagnostic::{Code, Diagnostic};

/// Days from the first day of the common era to 1970-01-01.
const EPOCH_DAYS: i32 = 719_163;

/// A day, µs.
const DAY_US: i64 = 86_400_000_000;

/// Years that a text can name.
const YEARS: std::ops::RangeInclusive<i32> = -4_713..=294_276;

/// Whether texts of any kind are of `data_type`.
pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Whether texts can be read as `data_type` here.
pub(super) fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(_, _))
}

/// A time of day.
pub(super) fn is_clock(data_type: &DataType) -> bool {
    data_type == &DataType::Time64(TimeUnit::Microsecond)
}

/// `expr`, a text, as a time. A constant is read at once.
pub(super) fn read_expr(expr: Expr, to: &DataType) -> BoundResult<Expr> {
    if let Expr::Literal(value, _) = &expr
        && let Some(text) = value.try_as_str()
    {
        let text = ScalarValue::Utf8View(text.map(str::to_owned)).to_array()?;
        let time = ScalarValue::try_from_array(&read(&text, to)?, 0)?;
        return Ok(Expr::Literal(time, None));
    }
    let function = ReadTime {
        to: to.clone(),
        signature: Signature::exact(vec![DataType::Utf8View], Volatility::Immutable),
    };
    Ok(ScalarUDF::from(function).call(vec![expr]))
}

/// Texts as times.
///
/// # Errors
/// A text that is no time, as a [`Diagnostic`].
pub(super) fn read(texts: &ArrayRef, to: &DataType) -> BoundResult<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8View)?;
    let texts = texts.as_string_view();
    let unreadable = |text: &str| {
        let message = format!("'{text}' is no {}", type_name(to));
        let mut diagnostic = Diagnostic::new(Code::Row, message).help(match to {
            DataType::Date32 => "write it as 2024-05-01",
            DataType::Time64(_) => "write it as 08:00:00",
            _ => "write it as 2024-05-01 08:00:00, with a zone behind it if it has one: +02:00",
        });
        diagnostic.sqlstate = "22007".to_owned();
        DataFusionError::External(Box::new(diagnostic))
    };
    if to == &DataType::Date32 {
        let days = texts.iter().map(|text| {
            text.map(|text| day_of(text).ok_or_else(|| unreadable(text)))
                .transpose()
        });
        let days = days.collect::<BoundResult<Date32Array>>()?;
        return Ok(Arc::new(days));
    }
    if is_clock(to) {
        let clocks = texts.iter().map(|text| {
            text.map(|text| clock_of(text).ok_or_else(|| unreadable(text)))
                .transpose()
        });
        let clocks = clocks.collect::<BoundResult<Time64MicrosecondArray>>()?;
        return Ok(Arc::new(clocks));
    }
    let times = texts.iter().map(|text| {
        text.map(|text| time_of(text).ok_or_else(|| unreadable(text)))
            .transpose()
    });
    let times = times.collect::<BoundResult<TimestampMicrosecondArray>>()?;
    let zone = match to {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    Ok(Arc::new(times.with_timezone_opt(zone)))
}

/// A time of day, µs: `10:00`, `10:00:00.5`, `100000`, `10:00 pm`; of a whole time its own.
fn clock_of(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let written;
    let text = match (digits, text.as_bytes().get(digits)) {
        (4, None | Some(b' ' | b'+' | b'Z' | b'z')) => {
            written = format!("{}:{}", &text[..2], &text[2..]);
            written.as_str()
        }
        (6, _) => {
            written = format!("{}:{}:{}", &text[..2], &text[2..4], &text[4..]);
            written.as_str()
        }
        _ => text,
    };
    let mut reader = Reader(text);
    let midnight = DateTime::UNIX_EPOCH.naive_utc();
    let time = match reader.time(midnight.date()) {
        Some(time) => {
            reader.blanks();
            reader.zone(time)?;
            time - midnight
        }
        None => {
            let (time, _) = parse(text)?;
            time - time.date().and_time(NaiveTime::MIN)
        }
    };
    time.num_microseconds().filter(|micros| *micros < DAY_US)
}

fn day_of(text: &str) -> Option<i32> {
    let (time, _) = parse(text)?;
    Some(time.date().num_days_from_ce() - EPOCH_DAYS)
}

pub(super) fn time_of(text: &str) -> Option<i64> {
    let (time, ahead) = parse(text)?;
    Some(time.checked_sub_signed(ahead)?.and_utc().timestamp_micros())
}

/// The time as written, and how far its clock is ahead of UTC.
fn parse(text: &str) -> Option<(NaiveDateTime, TimeDelta)> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("epoch") {
        return Some((DateTime::UNIX_EPOCH.naive_utc(), TimeDelta::zero()));
    }
    let mut reader = Reader(text);
    let date = reader.date()?;
    let time = match reader.0.strip_prefix(['T', 't']) {
        Some(rest) => {
            reader.0 = rest;
            reader.time(date)?
        }
        None => {
            let blanks = reader.blanks();
            if blanks && reader.0.starts_with(|next: char| next.is_ascii_digit()) {
                reader.time(date)?
            } else {
                date.and_time(NaiveTime::MIN)
            }
        }
    };
    reader.blanks();
    Some((time, reader.zone(time)?))
}

/// What is left of a text.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    /// The number that the next digits make, and how many they are.
    fn digits(&mut self) -> Option<(u32, usize)> {
        let end = (self.0)
            .find(|next: char| !next.is_ascii_digit())
            .unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        let number = digits.parse().ok()?;
        self.0 = rest;
        Some((number, end))
    }

    /// One or two digits below `limit`.
    fn two(&mut self, limit: u32) -> Option<u32> {
        let (number, digits) = self.digits()?;
        (digits <= 2 && number < limit).then_some(number)
    }

    fn skip(&mut self, char: char) -> bool {
        let rest = self.0.strip_prefix(char);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn blanks(&mut self) -> bool {
        let rest = self.0.trim_start();
        let some = rest.len() < self.0.len();
        self.0 = rest;
        some
    }

    fn date(&mut self) -> Option<NaiveDate> {
        let negative = self.skip('-');
        let signed = negative || self.skip('+');
        let (number, digits) = self.digits()?;
        if digits == 8 && !signed && !self.0.starts_with(['-', '/']) {
            let year = i32::try_from(number / 10_000).ok()?;
            return NaiveDate::from_ymd_opt(year, number / 100 % 100, number % 100);
        }
        if !(4..=6).contains(&digits) {
            return None;
        }
        let separator = if self.skip('/') {
            '/'
        } else if self.skip('-') {
            '-'
        } else {
            return None;
        };
        let month = self.two(13)?;
        let day = self.skip(separator).then(|| self.two(32))??;
        let year = i32::try_from(number).ok()?;
        let year = if negative { -year } else { year };
        YEARS.contains(&year).then_some(())?;
        NaiveDate::from_ymd_opt(year, month, day)
    }

    fn time(&mut self, date: NaiveDate) -> Option<NaiveDateTime> {
        let mut hour = self.two(25)?;
        let minute = self.skip(':').then(|| self.two(60))??;
        let (mut second, mut micros) = (0, 0);
        if self.skip(':') {
            second = self.two(61)?;
            if self.skip('.') {
                micros = self.fraction()?;
            }
        }
        let rest = self.0.trim_start();
        let half = rest.get(..2).map(str::to_ascii_lowercase);
        if let Some(half @ ("am" | "pm")) = half.as_deref() {
            (1..=12).contains(&hour).then_some(())?;
            hour = hour % 12 + if half == "pm" { 12 } else { 0 };
            self.0 = &rest[2..];
        }
        if hour == 24 && (minute, second, micros) != (0, 0, 0) {
            return None;
        }
        let seconds = i64::from(hour * 3_600 + minute * 60 + second);
        date.and_time(NaiveTime::MIN)
            .checked_add_signed(TimeDelta::seconds(seconds) + TimeDelta::microseconds(micros))
    }

    /// Microseconds of the digits behind the point.
    fn fraction(&mut self) -> Option<i64> {
        let end = (self.0)
            .find(|next: char| !next.is_ascii_digit())
            .unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        let padded: String = digits.chars().chain("000000".chars()).take(6).collect();
        let up = digits.as_bytes().get(6).is_some_and(|next| *next >= b'5');
        Some(padded.parse::<i64>().ok()? + i64::from(up))
    }

    /// How far the clock of the zone that ends the text is ahead of UTC at its time `local`.
    fn zone(&mut self, local: NaiveDateTime) -> Option<TimeDelta> {
        let zone = self.0.trim_end();
        if zone.is_empty() || ["z", "utc", "gmt"].contains(&zone.to_ascii_lowercase().as_str()) {
            return Some(TimeDelta::zero());
        }
        let east = self.skip('+');
        if !east && !self.skip('-') {
            return time_zone::ahead_at(zone, local);
        }
        let (number, digits) = self.digits()?;
        let (hour, mut minute) = match digits {
            1 | 2 => (number, 0),
            3 | 4 => (number / 100, number % 100),
            _ => return None,
        };
        let mut second = 0;
        if digits <= 2 && self.skip(':') {
            minute = self.two(60)?;
            if self.skip(':') {
                second = self.two(60)?;
            }
        }
        let ahead = TimeDelta::seconds(i64::from(hour * 3_600 + minute * 60 + second));
        (self.0.is_empty() && hour < 24 && minute < 60).then_some(if east { ahead } else { -ahead })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ReadTime {
    to: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for ReadTime {
    fn name(&self) -> &str {
        match &self.to {
            DataType::Date32 => "to_date",
            DataType::Time64(_) => "to_time",
            DataType::Timestamp(_, Some(_)) => "to_timestamptz",
            _ => "to_timestamp",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let [text] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("one argument".to_owned()));
        };
        Ok(match text {
            ColumnarValue::Array(texts) => ColumnarValue::Array(read(texts, &self.to)?),
            ColumnarValue::Scalar(text) => {
                let time = read(&text.to_array()?, &self.to)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&time, 0)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIGHT: i64 = 1_714_550_400_000_000;

    #[test]
    fn times_in_all_spellings() {
        for (text, expected) in [
            ("2024-05-01 08:00", Some(EIGHT)),
            ("2024-05-01T08:00:00", Some(EIGHT)),
            ("  2024-5-1   8:00:00.000  ", Some(EIGHT)),
            ("2024/05/01 08:00", Some(EIGHT)),
            ("20240501 08:00", Some(EIGHT)),
            ("20240501T08:00", Some(EIGHT)),
            ("2024-05-01 08:00:00Z", Some(EIGHT)),
            ("2024-05-01 08:00 UTC", Some(EIGHT)),
            ("2024-05-01 10:00:00 +02:00", Some(EIGHT)),
            ("2024-05-01 10:00+02", Some(EIGHT)),
            ("2024-05-01 10:00+0200", Some(EIGHT)),
            ("2024-05-01 03:30-04:30", Some(EIGHT)),
            ("2024-05-01 10:00 Europe/Amsterdam", Some(EIGHT)),
            ("2024-05-01 08:00 AM", Some(EIGHT)),
            ("2024-05-01 8:00pm", Some(EIGHT + 43_200_000_000)),
            ("2024-05-01 12:00 am", Some(EIGHT - 28_800_000_000)),
            ("2024-05-01", Some(EIGHT - 28_800_000_000)),
            ("2024-05-01 24:00", Some(EIGHT + 57_600_000_000)),
            ("2024-05-01 07:59:60", Some(EIGHT)),
            ("2024-05-01 08:00:00.1234564", Some(EIGHT + 123_456)),
            ("2024-05-01 08:00:00.1234565", Some(EIGHT + 123_457)),
            ("2024-05-01 07:59:59.9999999", Some(EIGHT)),
            ("2024-05-01 08:00:00.", Some(EIGHT)),
            ("epoch", Some(0)),
            ("+10000-01-01T00:00:00", Some(253_402_300_800_000_000)),
            ("10000-01-01", Some(253_402_300_800_000_000)),
            ("2024-05", None),
            ("2024-13-01", None),
            ("2023-02-29", None),
            ("24-05-01", None),
            ("2024-05/01", None),
            ("2024-05-01 08", None),
            ("2024-05-01 25:00", None),
            ("2024-05-01 24:01", None),
            ("2024-05-01 08:60", None),
            ("2024-05-01 13:00 pm", None),
            ("2024-05-01 08:00 Mars/Phobos", None),
            ("2024-05-01 08:00 +25", None),
            ("2024-05-01x08:00", None),
            ("tomorrow", None),
            ("", None),
            ("é024-05-01", None),
        ] {
            assert_eq!(time_of(text), expected, "{text}");
        }
        for (text, expected) in [
            ("08:00", Some(28_800_000_000)),
            ("0800", Some(28_800_000_000)),
            ("080000.5", Some(28_800_500_000)),
            ("8:00:00.1234567 pm", Some(72_000_123_457)),
            ("2024-05-01 08:00", Some(28_800_000_000)),
            ("08:00+02", Some(28_800_000_000)),
            ("23:59:59.9999999", None),
            ("8", None),
            ("25:00", None),
            ("noon", None),
        ] {
            assert_eq!(clock_of(text), expected, "{text}");
        }
        assert_eq!(day_of("2024-05-01 23:00 -08:00"), Some(19_844));
        assert_eq!(day_of("1969-12-31"), Some(-1));
    }
}
