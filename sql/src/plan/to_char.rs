//! `to_char(ts, pattern)`: PostgreSQL's patterns for dates and times. What is no pattern stands for itself. Those for numbers
//! are in `number_text.rs`.
//!
//! The pattern is cut at its longest known prefix; `"…"` is text, `FM` takes padding from the next part, `TH` behind a number
//! makes it one of an order. `date_format` is the same by Java's patterns (`time_java.rs`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::number_text::{Pattern, digits};
use super::sql_type::timestamp;
use super::time_java;

/// Bytes of one text; a longer one ends there.
const TEXT_BYTES_MAX: usize = 4096;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToChar {
    /// Whether patterns are Java's, and then of times alone.
    java: bool,
    signature: Signature,
}

impl ToChar {
    /// `date_format`.
    pub(super) fn java() -> Self {
        Self {
            java: true,
            ..Self::default()
        }
    }
}

impl Default for ToChar {
    fn default() -> Self {
        Self {
            java: false,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        if self.java { "date_format" } else { "to_char" }
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
            [DataType::Time32(_) | DataType::Time64(_), _] if self.java => {
                DataType::Time64(TimeUnit::Microsecond)
            }
            [_, _] if self.java => {
                let message = "takes a TIMESTAMP, DATE or TIME and a pattern of Java's";
                return Err(DataFusionError::Plan(message.to_owned()));
            }
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
        let texts = match arrays[0].data_type() {
            number if number.is_numeric() => of_numbers(&arrays[0], &arrays[1])?,
            // A time of the day is one of the first day that there is.
            DataType::Time64(_) => {
                let us = cast(&arrays[0], &DataType::Int64)?;
                texts(&cast(&us, &timestamp())?, &arrays[1], self.java)?
            }
            _ => texts(&arrays[0], &arrays[1], self.java)?,
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
    let doubles = numbers.as_primitive_opt::<Float64Type>();
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
        let double = doubles.map(|doubles| doubles.value(row));
        texts.append_option(match (&known, double) {
            (Some((_, pattern)), None) => Some(pattern.text(number)),
            (Some((_, pattern)), Some(double)) if double.is_finite() => {
                Some(pattern.text_of(double))
            }
            // No number of digits is enough.
            (Some((text, pattern)), Some(double)) if !text.to_uppercase().contains("EEEE") => {
                Some(pattern.text_of(f64::MAX.copysign(double)))
            }
            _ => None,
        });
    }
    Ok(Arc::new(texts.finish()))
}

fn texts(times: &ArrayRef, patterns: &ArrayRef, java: bool) -> BoundResult<ArrayRef> {
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
            known => {
                let parts = match java {
                    true => time_java::parts(pattern)?,
                    false => parts(pattern),
                };
                &mut known.insert((pattern, parts)).1
            }
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
    Ok(Arc::new(texts.finish()))
}

/// A piece of a pattern.
#[derive(Debug, PartialEq)]
pub(super) enum Part {
    Text(String),
    /// The pattern, and whether it goes without padding.
    Field(&'static str, bool),
    /// The two letters that make the number before them one of an order, and whether they are large.
    Ordinal(bool),
}

const FIELDS: &[&str] = &[
    "YYYY", "YYY", "YY", "Y,YYY", "Y", "IYYY", "IYY", "IY", "I", "IDDD", "IW", "ID", "Month",
    "MONTH", "month", "Mon", "MON", "mon", "MM", "MI", "MS", "DDD", "DD", "Day", "DAY", "day",
    "Dy", "DY", "dy", "D", "HH24", "HH12", "HH", "SSSSS", "SSSS", "SS", "US", "A.M.", "P.M.",
    "a.m.", "p.m.", "AM", "PM", "am", "pm", "Q", "WW", "W", "CC", "J", "TZH", "TZM", "TZ", "OF",
    "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "RM", "rm", "B.C.", "A.D.", "b.c.", "a.d.", "BC",
    "AD", "bc", "ad",
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
        // The language is English, and the language's names are without padding.
        if let Some(after) = rest.strip_prefix("TM") {
            (unpadded, rest) = (true, after);
            continue;
        }
        if let Some(after) = rest.strip_prefix("FX") {
            rest = after;
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
            for (letters, large) in [("TH", true), ("th", false)] {
                if let Some(after) = rest.strip_prefix(letters).filter(|_| is_number(field)) {
                    parts.push(Part::Ordinal(large));
                    rest = after;
                    break;
                }
            }
            continue;
        }
        if let Some(after) = rest.strip_prefix("\\\"") {
            plain.push('"');
            rest = after;
            continue;
        }
        if first == '"' {
            let mut inside = rest[1..].chars();
            while let Some(char) = inside.next().filter(|char| *char != '"') {
                plain.extend(if char == '\\' {
                    inside.next()
                } else {
                    Some(char)
                });
            }
            rest = inside.as_str();
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

/// Whether a field is one of digits.
pub(super) fn is_number(field: &str) -> bool {
    let small = field.contains(|char: char| char.is_ascii_lowercase());
    let name = matches!(
        field,
        "MONTH" | "MON" | "DAY" | "DY" | "AM" | "PM" | "TZ" | "RM" | "BC" | "AD" | "OF"
    );
    !small && !name && !field.contains('.')
}

/// Numbers have the same patterns in small letters; names keep the letters' case.
fn starts_like(rest: &str, field: &str) -> bool {
    let numeric = field
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && !matches!(
            field,
            "MONTH" | "MON" | "DAY" | "DY" | "AM" | "PM" | "TZ" | "RM" | "BC" | "AD"
        );
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
const ROMAN: [&str; 12] = [
    "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII",
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
            Self::Ordinal(large) => {
                let letters = ordinal(out);
                match large {
                    true => out.push_str(&letters.to_uppercase()),
                    false => out.push_str(letters),
                }
                return;
            }
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
        let before_christ = time.year() < 1;
        let year = match i64::from(time.year()) {
            year @ 1.. => year,
            year => 1 - year,
        };
        let iso_year = i64::from(time.iso_week().year());
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
            "IYYY" => number(iso_year, 4),
            "IYY" => number(iso_year.rem_euclid(1_000), 3),
            "IY" => number(iso_year.rem_euclid(100), 2),
            "I" => number(iso_year.rem_euclid(10), 1),
            "IDDD" => {
                let week = i64::from(time.iso_week().week0());
                number(week * 7 + i64::from(time.weekday().number_from_monday()), 3)
            }
            "FF1" => number(micros / 100_000, 1),
            "FF2" => number(micros / 10_000, 2),
            "FF3" => number(micros / 1_000, 3),
            "FF4" => number(micros / 100, 4),
            "FF5" => number(micros / 10, 5),
            "FF6" => number(micros, 6),
            "RM" | "rm" => {
                let roman = ROMAN[time.month0() as usize];
                let roman = match field {
                    "rm" => roman.to_lowercase(),
                    _ => roman.to_owned(),
                };
                let width = if unpadded { 0 } else { 4 };
                format!("{roman:width$}")
            }
            "BC" | "AD" => if before_christ { "BC" } else { "AD" }.to_owned(),
            "bc" | "ad" => if before_christ { "bc" } else { "ad" }.to_owned(),
            "B.C." | "A.D." => if before_christ { "B.C." } else { "A.D." }.to_owned(),
            "b.c." | "a.d." => if before_christ { "b.c." } else { "a.d." }.to_owned(),
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

/// The letters that make the number at the end of a text one of an order.
fn ordinal(text: &str) -> &'static str {
    let mut digits = text.bytes().rev().take_while(u8::is_ascii_digit);
    let last = digits.next();
    match (digits.next(), last) {
        (Some(b'1'), _) => "th",
        (_, Some(b'1')) => "st",
        (_, Some(b'2')) => "nd",
        (_, Some(b'3')) => "rd",
        _ => "th",
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
            ("FF1 FF3 FF6 RM|rm BC", "0 006 006007 I   |i    AD"),
            ("DDth FMDDTH HH12th", "01st 1ST 10th"),
            (
                "\\\"x\\\" \"a\\\"b\" IDDD TMMonth",
                "\"x\" a\"b 002 January",
            ),
        ] {
            let mut out = String::new();
            for part in parts(pattern) {
                part.write(time.naive_utc(), &mut out);
            }
            assert_eq!(out, text, "{pattern}");
        }
    }
}
