//! `to_timestamp(text, pattern)` and `to_date(text, pattern)`: texts read by PostgreSQL's patterns, those of `to_char`;
//! `parse_timestamp(text, pattern)`: by Java's, those of `date_format`.
//!
//! A field takes as many digits as it has letters at most, and blanks before it; what stands between fields matches anything
//! that is no letter or digit. What is not told is the first: the month, the day, midnight.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondBuilder};
use arrow::datatypes::DataType;
use chrono::{Duration, NaiveDate};
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::sql_type::{instant, timestamp};
use super::time_java;
use super::to_char::{MONTHS, Part, is_number, parts};
use crate::diagnostic::{Code, Diagnostic};

/// The name of the function, which stands for both.
pub(super) const TIME_BY_PATTERN: &str = "time_by_pattern";
/// The name of the one that takes Java's patterns.
pub(super) const TIME_BY_JAVA: &str = "parse_timestamp";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeByPattern {
    /// Whether patterns are Java's, and then of times without a zone.
    java: bool,
    signature: Signature,
}

impl Default for TimeByPattern {
    fn default() -> Self {
        let texts = vec![DataType::Utf8View, DataType::Utf8View];
        Self {
            java: false,
            signature: Signature::exact(texts, Volatility::Immutable),
        }
    }
}

impl TimeByPattern {
    /// `parse_timestamp`.
    pub(super) fn java() -> Self {
        Self {
            java: true,
            ..Self::default()
        }
    }
}

impl ScalarUDFImpl for TimeByPattern {
    fn name(&self) -> &str {
        if self.java {
            TIME_BY_JAVA
        } else {
            TIME_BY_PATTERN
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(if self.java { timestamp() } else { instant() })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let is_constant = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
        let constant = args.args.iter().all(is_constant);
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [texts, patterns] = columns.as_slice() else {
            return Err(DataFusionError::Internal("two arguments".to_owned()));
        };
        let (texts, patterns) = (texts.as_string_view(), patterns.as_string_view());
        let mut times = TimestampMicrosecondBuilder::with_capacity(texts.len());
        for row in 0..texts.len() {
            if texts.is_null(row) || patterns.is_null(row) {
                times.append_null();
                continue;
            }
            let (text, pattern) = (texts.value(row), patterns.value(row));
            let time = match self.java {
                true => micros_by_java(text, pattern),
                false => micros(text, parts(pattern)),
            };
            times.append_value(time.map_err(|why| wrong(text, pattern, &why, self.java))?);
        }
        let times = times
            .finish()
            .with_data_type(args.return_field.data_type().clone());
        let times: ArrayRef = Arc::new(times);
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&times, 0)?),
            false => ColumnarValue::Array(times),
        })
    }
}

fn wrong(text: &str, pattern: &str, why: &str, java: bool) -> DataFusionError {
    let message = format!("'{text}' is no time as '{pattern}': {why}");
    let mut diagnostic = Diagnostic::new(Code::Row, message).help(match java {
        true => "patterns are Java's: yyyy-MM-dd HH:mm:ss",
        false => "patterns are those of to_char: YYYY-MM-DD HH24:MI:SS",
    });
    diagnostic.sqlstate = "22007".to_owned();
    DataFusionError::External(Box::new(diagnostic))
}

/// Digits of a number that nothing but its own end ends.
const NUMBER_DIGITS: usize = 9;

/// What a text tells of a time.
#[derive(Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    of_year: Option<u32>,
    hour: i64,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    before_christ: bool,
    /// Minutes east of UTC.
    offset: i64,
}

/// µs since 1970, by a pattern of Java's.
pub(super) fn micros_by_java(text: &str, pattern: &str) -> Result<i64, String> {
    let parts = time_java::parts(pattern).map_err(|error| error.to_string())?;
    micros(text, parts)
}

/// µs since 1970, UTC.
fn micros(text: &str, parts: Vec<Part>) -> Result<i64, String> {
    let mut fields = Fields::default();
    let mut rest = text;
    let mut parts = parts.into_iter().peekable();
    if text.trim().is_empty() {
        return Err("there is nothing".to_owned());
    }
    while let Some(part) = parts.next() {
        // A text may end before its pattern.
        if rest.is_empty() {
            break;
        }
        match part {
            Part::Text(between) => {
                for char in between.chars() {
                    let apart = |char: char| !char.is_alphanumeric();
                    if apart(char) {
                        rest = rest.strip_prefix(apart).unwrap_or(rest);
                    } else {
                        let mut chars = rest.chars();
                        chars.next();
                        rest = chars.as_str();
                    }
                }
            }
            Part::Ordinal(_) => {
                let mut chars = rest.chars();
                chars.nth(1);
                rest = chars.as_str();
            }
            Part::Field(field, unpadded) => {
                let ends = match parts.peek() {
                    Some(Part::Text(next)) => !next.starts_with(|char: char| char.is_ascii_digit()),
                    Some(Part::Field(next, _)) => !is_number(next),
                    Some(Part::Ordinal(_)) | None => true,
                };
                rest = fields.read(field, ends || unpadded, rest.trim_start())?;
            }
        }
    }
    fields.micros()
}

impl Fields {
    /// Reads a field at the start of a text, and gives the rest of it. `whole`: it has all of the digits there.
    fn read<'a>(&mut self, field: &str, whole: bool, text: &'a str) -> Result<&'a str, String> {
        let upper = field.to_ascii_uppercase();
        match upper.as_str() {
            "MONTH" | "MON" => {
                let full = upper == "MONTH";
                let named = |name: &str| {
                    let name = if full { name } else { &name[..3] };
                    let start = text.get(..name.len());
                    start.is_some_and(|start| start.eq_ignore_ascii_case(name))
                };
                let Some(place) = MONTHS.iter().position(|name| named(name)) else {
                    return Err("there is no name of a month".to_owned());
                };
                self.month = u32::try_from(place + 1).ok();
                let length = if full { MONTHS[place].len() } else { 3 };
                return Ok(&text[length..]);
            }
            "DAY" | "DY" => return Ok(text.trim_start_matches(char::is_alphabetic)),
            "AM" | "PM" | "A.M." | "P.M." => {
                let plain = text.get(..upper.len()).map(|half| half.replace('.', ""));
                self.afternoon = match plain.map(|half| half.to_ascii_uppercase()).as_deref() {
                    Some("AM") => Some(false),
                    Some("PM") => Some(true),
                    _ => return Err("there is neither AM nor PM".to_owned()),
                };
                return Ok(&text[upper.len()..]);
            }
            "BC" | "AD" | "B.C." | "A.D." => {
                let plain = text.get(..upper.len()).map(|era| era.replace('.', ""));
                self.before_christ = match plain.map(|era| era.to_ascii_uppercase()).as_deref() {
                    Some("AD") => false,
                    Some("BC") => true,
                    _ => return Err("there is neither AD nor BC".to_owned()),
                };
                return Ok(&text[upper.len()..]);
            }
            "TZH" | "OF" => {
                let negative = text.starts_with('-');
                let (hours, rest) = digits(text.trim_start_matches(['+', '-']), 2)?;
                self.offset = if negative { -hours * 60 } else { hours * 60 };
                return Ok(rest);
            }
            _ => {}
        }
        let fraction = matches!(upper.as_str(), "MS" | "US") || upper.starts_with("FF");
        let most = match upper.as_str() {
            _ if whole && !fraction && !upper.starts_with("TZ") => NUMBER_DIGITS,
            "YYYY" | "IYYY" => 4,
            "YYY" | "DDD" | "MS" => 3,
            "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => 6,
            "SSSS" | "SSSSS" => 5,
            "Y" | "D" | "Q" => 1,
            _ => 2,
        };
        let (number, rest) = digits(text, most)?;
        let small = u32::try_from(number).map_err(|_| "a number is too large".to_owned())?;
        let length = u32::try_from(text.len() - rest.len()).unwrap_or(0);
        match upper.as_str() {
            "YYYY" => self.year = i32::try_from(number).ok(),
            // As PostgreSQL has it: the year nearest to 2020.
            "YY" if length > 2 => self.year = i32::try_from(number).ok(),
            "YY" => self.year = i32::try_from(number + if number < 70 { 2000 } else { 1900 }).ok(),
            "MM" => self.month = Some(small),
            "DD" => self.day = Some(small),
            "DDD" => self.of_year = Some(small),
            "HH24" | "HH12" | "HH" => self.hour = number,
            "MI" => self.minute = number,
            "SS" => self.second = number,
            "SSSS" | "SSSSS" => self.second = number,
            "MS" => self.micros = number * 10_i64.pow(3 - length.min(3)) * 1_000,
            "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
                self.micros = number * 10_i64.pow(6 - length.min(6));
            }
            "TZM" => self.offset += number * if self.offset < 0 { -1 } else { 1 },
            _ => {
                return Err(format!(
                    "{field} in a pattern that is read is not available"
                ));
            }
        }
        Ok(rest)
    }

    fn micros(&self) -> Result<i64, String> {
        let outside = || "a field is out of range".to_owned();
        let in_range = (0..24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..86_400).contains(&self.second);
        let hour = match self.afternoon {
            None => self.hour,
            Some(_) if !(1..=12).contains(&self.hour) => return Err(outside()),
            Some(afternoon) => self.hour % 12 + if afternoon { 12 } else { 0 },
        };
        let year = match (self.year.unwrap_or(1), self.before_christ) {
            (0, _) => return Err(outside()),
            (year, false) => year,
            (year, true) => 1 - year,
        };
        let date = match self.of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day),
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1)),
        };
        let (Some(date), true) = (date, in_range) else {
            return Err(outside());
        };
        let midnight = date.and_time(chrono::NaiveTime::MIN).and_utc();
        let of_day = Duration::minutes(hour * 60 + self.minute - self.offset)
            + Duration::seconds(self.second)
            + Duration::microseconds(self.micros);
        let time = midnight.checked_add_signed(of_day).ok_or_else(outside)?;
        Ok(time.timestamp_micros())
    }
}

/// The number of at most so many digits that a text starts with, and what is behind it.
fn digits(text: &str, most: usize) -> Result<(i64, &str), String> {
    let end = text.find(|char: char| !char.is_ascii_digit());
    let end = end.unwrap_or(text.len()).min(most);
    let (digits, rest) = text.split_at(end);
    let number = digits.parse();
    number
        .map(|number| (number, rest))
        .map_err(|_| "a number is missing".to_owned())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    /// The answers are PostgreSQL's.
    #[test]
    fn texts_are_read_by_their_pattern() {
        for (text, pattern, time) in [
            ("2024-05-01", "YYYY-MM-DD", "2024-05-01 00:00:00"),
            (
                "01/05/2024 23:05",
                "DD/MM/YYYY HH24:MI",
                "2024-05-01 23:05:00",
            ),
            (
                "20240501 070809",
                "YYYYMMDD HH24MISS",
                "2024-05-01 07:08:09",
            ),
            ("5 Mar 2000", "DD Mon YYYY", "2000-03-05 00:00:00"),
            ("March 5, 2000", "Month DD, YYYY", "2000-03-05 00:00:00"),
            ("12:30 AM 2024", "HH12:MI AM YYYY", "2024-01-01 00:30:00"),
            ("1:30 pm 2024", "HH12:MI am YYYY", "2024-01-01 13:30:00"),
            (
                "2024-05-01T07:08:09.5",
                "YYYY-MM-DD\"T\"HH24:MI:SS.MS",
                "2024-05-01 07:08:09.500",
            ),
            ("24.12.99", "DD.MM.YY", "1999-12-24 00:00:00"),
            ("2024-366", "YYYY-DDD", "2024-12-31 00:00:00"),
            ("44 BC", "YYYY BC", "-0043-01-01 00:00:00"),
            ("2024 05.12", "YYYY SS.FF3", "2024-01-01 00:00:05.120"),
            ("12024-01-01", "YYYY-MM-DD", "+12024-01-01 00:00:00"),
            ("2024-05", "FXYYYY-MM-DD", "2024-05-01 00:00:00"),
            ("2024 1st", "YYYY DDth", "2024-01-01 00:00:00"),
            (
                "2024-05-01 12:00 +02",
                "YYYY-MM-DD HH24:MI TZH",
                "2024-05-01 10:00:00",
            ),
        ] {
            let read = micros(text, parts(pattern)).expect(text);
            let read = DateTime::from_timestamp_micros(read)
                .expect("a time")
                .naive_utc();
            assert_eq!(read.to_string(), time, "{text} {pattern}");
        }
        for (text, pattern) in [
            ("2024-02-30", "YYYY-MM-DD"),
            ("x", "YYYY"),
            ("25:00", "HH24:MI"),
            ("13:00 PM", "HH12:MI PM"),
            ("5 Foo 2000", "DD Mon YYYY"),
        ] {
            assert!(micros(text, parts(pattern)).is_err(), "{text} {pattern}");
        }
    }

    #[test]
    fn texts_are_read_by_patterns_of_java() {
        for (text, pattern, time) in [
            (
                "2024-05-01 13:14:15",
                "yyyy-MM-dd HH:mm:ss",
                "2024-05-01 13:14:15",
            ),
            ("2024", "yyyy", "2024-01-01 00:00:00"),
            ("20240501T0102", "yyyyMMdd'T'HHmm", "2024-05-01 01:02:00"),
            (
                "1 May 2024 01:02 PM",
                "d MMM yyyy hh:mm a",
                "2024-05-01 13:02:00",
            ),
        ] {
            let read = micros_by_java(text, pattern).expect(text);
            let read = DateTime::from_timestamp_micros(read).expect("a time");
            assert_eq!(read.naive_utc().to_string(), time, "{text} {pattern}");
        }
        let unknown = micros_by_java("2024", "YYYY").expect_err("a week's year");
        assert!(unknown.contains("YYYY in the pattern"), "{unknown}");
    }
}
