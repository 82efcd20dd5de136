//! `to_char(ts, pattern)`: PostgreSQL's patterns for dates and times. What is no pattern stands for itself. Those for numbers
//! are in `number_text.rs`.
//!
//! The pattern is cut at its longest known prefix; `"…"` is text, `FM` takes padding from the next part.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::number_text::{Pattern, digits};
use super::sql_type::timestamp;

/// Bytes of one text; a longer one ends there.
const TEXT_BYTES_MAX: usize = 4096;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToChar {
    signature: Signature,
}

impl Default for ToChar {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        let time = match args {
            [DataType::Timestamp(_, Some(_)), _] => {
                DataType::Timestamp(TimeUnit::Microsecond, Some(super::sql_type::UTC.into()))
            }
            [
                DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64,
                _,
            ] => timestamp(),
            [DataType::Null, _] => timestamp(),
            [number, _] if number.is_integer() => DataType::Int64,
            [number, _] if number.is_decimal() => number.clone(),
            [DataType::Float32 | DataType::Float64, _] => DataType::Float64,
            _ => {
                let message = "takes a TIMESTAMP, DATE or number and a pattern";
                return Err(DataFusionError::Plan(message.to_owned()));
            }
        };
        match &args[1] {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Ok(vec![time, DataType::Utf8View])
            }
            _ => Err(DataFusionError::Plan("the pattern is a text".to_owned())),
        }
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let texts = match arrays[0].data_type().is_numeric() {
            true => of_numbers(&arrays[0], &arrays[1])?,
            false => texts(&arrays[0], &arrays[1]),
        };
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &texts, 0,
            )?));
        }
        Ok(ColumnarValue::Array(texts))
    }
}

fn of_numbers(numbers: &ArrayRef, patterns: &ArrayRef) -> BoundResult<ArrayRef> {
    let numbers = digits(numbers)?;
    let patterns = patterns.as_string_view();
    let mut texts = StringViewBuilder::with_capacity(numbers.len());
    let mut known: Option<(&str, Pattern)> = None;
    for (row, number) in numbers.iter().enumerate() {
        let Some(number) = number.as_ref().filter(|_| patterns.is_valid(row)) else {
            texts.append_null();
            continue;
        };
        let text = patterns.value(row);
        if known.as_ref().is_none_or(|(last, _)| *last != text) {
            known = Some((text, Pattern::of(text).map_err(DataFusionError::Execution)?));
        }
        texts.append_option(known.as_ref().map(|(_, pattern)| pattern.text(number)));
    }
    Ok(Arc::new(texts.finish()))
}

fn texts(times: &ArrayRef, patterns: &ArrayRef) -> ArrayRef {
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let patterns = patterns.as_string_view();
    let mut texts = StringViewBuilder::with_capacity(times.len());
    let mut known: Option<(&str, Vec<Part>)> = None;
    let mut text = String::new();
    for row in 0..times.len() {
        let time = DateTime::from_timestamp_micros(times.value(row));
        let Some(time) = time.filter(|_| times.is_valid(row) && patterns.is_valid(row)) else {
            texts.append_null();
            continue;
        };
        let pattern = patterns.value(row);
        let parts = match &mut known {
            Some((last, parts)) if *last == pattern => parts,
            known => &mut known.insert((pattern, parts(pattern))).1,
        };
        text.clear();
        for part in parts.iter() {
            part.write(time.naive_utc(), &mut text);
            if text.len() > TEXT_BYTES_MAX {
                break;
            }
        }
        texts.append_value(&text);
    }
    Arc::new(texts.finish())
}

/// A piece of a pattern.
pub(super) enum Part {
    Text(String),
    /// The pattern, and whether it goes without padding.
    Field(&'static str, bool),
}

const FIELDS: &[&str] = &[
    "YYYY", "YYY", "YY", "Y,YYY", "Y", "IYYY", "IW", "ID", "Month", "MONTH", "month", "Mon", "MON",
    "mon", "MM", "MI", "MS", "DDD", "DD", "Day", "DAY", "day", "Dy", "DY", "dy", "D", "HH24",
    "HH12", "HH", "SSSSS", "SSSS", "SS", "US", "A.M.", "P.M.", "a.m.", "p.m.", "AM", "PM", "am",
    "pm", "Q", "WW", "W", "CC", "J", "TZH", "TZM", "TZ", "OF",
];

pub(super) fn parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    let mut plain = String::new();
    let mut unpadded = false;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            (unpadded, rest) = (true, after);
            continue;
        }
        let field = FIELDS
            .iter()
            .copied()
            .filter(|field| rest.starts_with(field) || starts_like(rest, field))
            .max_by_key(|field| field.len());
        if let Some(field) = field {
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Field(field, unpadded));
            (unpadded, rest) = (false, &rest[field.len()..]);
            continue;
        }
        if first == '"' {
            let inside = &rest[1..];
            let end = inside.find('"').unwrap_or(inside.len());
            plain.push_str(&inside[..end]);
            rest = inside.get(end + 1..).unwrap_or_default();
            continue;
        }
        plain.push(first);
        rest = &rest[first.len_utf8()..];
    }
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    parts
}

/// Numbers have the same patterns in small letters; names keep the letters' case.
fn starts_like(rest: &str, field: &str) -> bool {
    let numeric = field
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && !matches!(field, "MONTH" | "MON" | "DAY" | "DY" | "AM" | "PM" | "TZ");
    numeric
        && rest
            .get(..field.len())
            .is_some_and(|start| start == field.to_ascii_lowercase())
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
/// Names are padded to the longest, as PostgreSQL does.
const NAME_CHARS: usize = 9;
/// The Julian day of day 1 of the common era.
const JULIAN_DAY_ONE: i64 = 1_721_426;

impl Part {
    fn write(&self, time: NaiveDateTime, out: &mut String) {
        let (field, unpadded) = match self {
            Self::Text(text) => return out.push_str(text),
            Self::Field(field, unpadded) => (*field, *unpadded),
        };
        let number = |value: i64, digits: usize| {
            if unpadded {
                value.to_string()
            } else {
                format!("{value:0digits$}")
            }
        };
        let name = |name: &str, short: bool| {
            let name = if short { &name[..3] } else { name };
            let name = match field.as_bytes() {
                [_, second, ..] if second.is_ascii_uppercase() => name.to_uppercase(),
                [first, ..] if first.is_ascii_lowercase() => name.to_lowercase(),
                _ => name.to_owned(),
            };
            let width = if short || unpadded { 0 } else { NAME_CHARS };
            format!("{name:width$}")
        };
        let year = i64::from(time.year());
        let month = MONTHS[time.month0() as usize];
        let weekday = time.weekday().num_days_from_sunday();
        let day = DAYS[weekday as usize];
        let hour_12 = i64::from(time.hour12().1);
        let micros = i64::from(time.nanosecond() / 1_000 % 1_000_000);
        let seconds = i64::from(time.num_seconds_from_midnight());
        out.push_str(&match field {
            "YYYY" => number(year, 4),
            "Y,YYY" => format!("{},{:03}", year / 1_000, year % 1_000),
            "YYY" => number(year % 1_000, 3),
            "YY" => number(year % 100, 2),
            "Y" => number(year % 10, 1),
            "IYYY" => number(i64::from(time.iso_week().year()), 4),
            "IW" => number(i64::from(time.iso_week().week()), 2),
            "ID" => number(i64::from(time.weekday().number_from_monday()), 1),
            "Month" | "MONTH" | "month" => name(month, false),
            "Mon" | "MON" | "mon" => name(month, true),
            "MM" => number(i64::from(time.month()), 2),
            "MI" => number(i64::from(time.minute()), 2),
            "DDD" => number(i64::from(time.ordinal()), 3),
            "DD" => number(i64::from(time.day()), 2),
            "Day" | "DAY" | "day" => name(day, false),
            "Dy" | "DY" | "dy" => name(day, true),
            "D" => number(i64::from(weekday) + 1, 1),
            "HH24" => number(i64::from(time.hour()), 2),
            "HH12" | "HH" => number(hour_12, 2),
            "SSSSS" | "SSSS" => number(seconds, 0),
            "SS" => number(i64::from(time.second()), 2),
            "MS" => number(micros / 1_000, 3),
            "US" => number(micros, 6),
            "AM" | "PM" => if time.hour12().0 { "PM" } else { "AM" }.to_owned(),
            "am" | "pm" => if time.hour12().0 { "pm" } else { "am" }.to_owned(),
            "A.M." | "P.M." => if time.hour12().0 { "P.M." } else { "A.M." }.to_owned(),
            "a.m." | "p.m." => if time.hour12().0 { "p.m." } else { "a.m." }.to_owned(),
            "Q" => number(i64::from(time.month0()) / 3 + 1, 1),
            "WW" => number(i64::from(time.ordinal0()) / 7 + 1, 2),
            "W" => number(i64::from(time.day0()) / 7 + 1, 1),
            "CC" => number((year + 99) / 100, 2),
            "J" => number(i64::from(time.num_days_from_ce()) + JULIAN_DAY_ONE - 1, 0),
            "TZ" => "UTC".to_owned(),
            "TZH" | "OF" => "+00".to_owned(),
            _ => "00".to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_postgresql() {
        let time = DateTime::from_timestamp_micros(1_357_034_405_006_007).expect("a time");
        for (pattern, text) in [
            ("YYYY-MM-DD HH24:MI", "2013-01-01 10:00"),
            ("yyyy-mm-dd hh24:mi:ss", "2013-01-01 10:00:05"),
            ("SS.MS SS.US", "05.006 05.006007"),
            ("HH12:MI AM, HH pm", "10:00 AM, 10 am"),
            ("Day, DD Month|MON|dy", "Tuesday  , 01 January  |JAN|tue"),
            ("FMDay, FMDD FMMonth", "Tuesday, 1 January"),
            ("DDD D Q IYYY-IW", "001 3 1 2013-01"),
            ("YYYY\"T\"HH24\"h\"MI", "2013T10h00"),
            ("xyz é", "x3z é"),
        ] {
            let mut out = String::new();
            for part in parts(pattern) {
                part.write(time.naive_utc(), &mut out);
            }
            assert_eq!(out, text, "{pattern}");
        }
    }
}
