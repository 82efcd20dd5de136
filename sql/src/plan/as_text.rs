//! Values as PostgreSQL's texts: CAST of times, floats, intervals and arrays to TEXT, and what is joined by `||` and `concat`.
//!
//! ```text
//! TIMESTAMP       2024-01-02 03:04:05.5        no T, fraction without trailing zeros, years before 1 with BC
//! TIMESTAMPTZ     2024-01-02 03:04:05.5+00
//! TIME            03:04:05.5
//! DOUBLE, REAL    the fewest digits that tell it; from 1e+15 (1e+06) on, and below 0.0001, with an exponent of two digits
//! INTERVAL        1 year 2 mons -3 days +04:05:06.5
//! arrays          {1,NULL,"a b"}: quotes where a value is empty, is the word NULL, or holds blanks or one of {}",\
//! ```

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, IntervalMonthDayNano, IntervalUnit, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, Datelike, NaiveDateTime};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    BinaryExpr, Case, Cast, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::list_cast;
use super::sql_type::{UTC, timestamp};
use super::time::intervals_of;

/// Puts the texts in the place of DataFusion's.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> BoundResult<Transformed<Expr>> {
    match expr {
        Expr::Cast(cast) if is_text(cast.field.data_type()) => {
            let from = cast.expr.get_type(schema)?;
            if !is_written(&from) {
                return Ok(Transformed::no(Expr::Cast(cast)));
            }
            let text = ScalarUDF::from(AsText::default()).call(vec![*cast.expr]);
            let data_type = cast.field.data_type().clone();
            Ok(Transformed::yes(match data_type {
                DataType::Utf8View => text,
                other => Expr::Cast(Cast::new(Box::new(text), other)),
            }))
        }
        Expr::ScalarFunction(mut call) if matches!(call.func.name(), "concat" | "concat_ws") => {
            let mut changed = false;
            for arg in &mut call.args {
                let data_type = arg.get_type(schema)?;
                if data_type == DataType::Boolean {
                    let bool = std::mem::replace(arg, Expr::Literal(ScalarValue::Null, None));
                    *arg = letter(bool);
                    changed = true;
                } else if is_joined(&data_type) {
                    changed |= written_out(arg, schema)?;
                }
            }
            Ok(Transformed::new_transformed(
                Expr::ScalarFunction(call),
                changed,
            ))
        }
        Expr::ScalarFunction(mut call) if call.func.name() == "array_to_string" => {
            let list = call.args.first().map(|list| list.get_type(schema));
            let changed = matches!(list.transpose()?, Some(DataType::List(element))
                if is_joined(element.data_type()));
            if changed {
                let own = &mut call.args[0];
                let list = std::mem::replace(own, Expr::Literal(ScalarValue::Null, None));
                *own = list_cast::shown(list);
            }
            Ok(Transformed::new_transformed(
                Expr::ScalarFunction(call),
                changed,
            ))
        }
        // Its values are cast to texts before.
        Expr::ScalarFunction(mut call) if call.func.name() == "format" => {
            let mut changed = false;
            for arg in &mut call.args {
                if let Expr::Cast(cast) = arg
                    && cast.expr.get_type(schema)? == DataType::Boolean
                {
                    *arg = letter((*cast.expr).clone());
                    changed = true;
                }
            }
            Ok(Transformed::new_transformed(
                Expr::ScalarFunction(call),
                changed,
            ))
        }
        Expr::BinaryExpr(BinaryExpr {
            mut left,
            op: Operator::StringConcat,
            mut right,
        }) => {
            let types = [left.get_type(schema)?, right.get_type(schema)?];
            let changed = match types {
                [text, other] if is_text(&text) && is_joined(&other) => {
                    written_out(&mut right, schema)?
                }
                [other, text] if is_text(&text) && is_joined(&other) => {
                    written_out(&mut left, schema)?
                }
                _ => false,
            };
            let joined = Expr::BinaryExpr(BinaryExpr::new(left, Operator::StringConcat, right));
            Ok(Transformed::new_transformed(joined, changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Whether values of a type have a text of ours.
pub(crate) fn is_written(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, _) | DataType::Float32 | DataType::Float64 => true,
        DataType::Time32(_) | DataType::Time64(_) => true,
        DataType::Interval(_) | DataType::Duration(_) => true,
        DataType::List(element) => {
            is_written(element.data_type()) || !element.data_type().is_nested()
        }
        _ => false,
    }
}

/// Whether a value becomes a text where it is joined with texts.
fn is_joined(data_type: &DataType) -> bool {
    let is_list = matches!(data_type, DataType::List(_));
    data_type.is_decimal() || data_type == &DataType::Boolean || (is_written(data_type) && !is_list)
}

/// Casts a value to a text.
fn written_out(value: &mut Expr, schema: &DFSchema) -> BoundResult<bool> {
    let own = std::mem::replace(value, Expr::Literal(ScalarValue::Null, None));
    let text = Cast::new(Box::new(own), DataType::Utf8View);
    *value = rewrite(Expr::Cast(text), schema)?.data;
    Ok(true)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// `t` or `f`, as a boolean is written out.
fn letter(bool: Expr) -> Expr {
    let text = |text: &str| {
        Box::new(Expr::Literal(
            ScalarValue::Utf8View(Some(text.into())),
            None,
        ))
    };
    let is_true = (Box::new(bool.clone()), text("t"));
    let is_false = (Box::new(Expr::Not(Box::new(bool))), text("f"));
    Expr::Case(Case::new(None, vec![is_true, is_false], None))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AsText {
    signature: Signature,
}

impl Default for AsText {
    fn default() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for AsText {
    fn name(&self) -> &str {
        "as_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let rows = args.number_rows;
        let mut args = args.args.into_iter();
        let Some(value) = args.next() else {
            return Err(DataFusionError::Internal("as_text of nothing".to_owned()));
        };
        let is_scalar = matches!(value, ColumnarValue::Scalar(_));
        let values = value.into_array(if is_scalar { 1 } else { rows })?;
        let texts = texts(&values)?;
        if is_scalar {
            return ScalarValue::try_from_array(&texts, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(texts))
    }
}

/// Values of such a type as texts.
pub(crate) fn texts(values: &ArrayRef) -> BoundResult<ArrayRef> {
    let mut out = StringViewBuilder::with_capacity(values.len());
    let mut text = String::new();
    let mut push = |row: usize, write: &dyn Fn(&mut String) -> BoundResult<()>| {
        if values.is_null(row) {
            out.append_null();
            return Ok(());
        }
        text.clear();
        write(&mut text)?;
        out.append_value(&text);
        Ok::<(), DataFusionError>(())
    };
    match values.data_type() {
        DataType::Float64 => {
            let floats = values.as_primitive::<Float64Type>();
            for row in 0..values.len() {
                let value = floats.value(row);
                push(row, &|text| {
                    push_float(&format!("{value:e}"), &value.to_string(), 15, text);
                    Ok(())
                })?;
            }
        }
        DataType::Float32 => {
            let floats = values.as_primitive::<Float32Type>();
            for row in 0..values.len() {
                let value = floats.value(row);
                push(row, &|text| {
                    push_float(&format!("{value:e}"), &value.to_string(), 6, text);
                    Ok(())
                })?;
            }
        }
        DataType::Timestamp(_, zone) => {
            let micros = match zone {
                Some(_) => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
                None => timestamp(),
            };
            let times = cast(values, &micros)?;
            let times = times.as_primitive::<TimestampMicrosecondType>();
            for row in 0..values.len() {
                push(row, &|text| {
                    push_time(times.value(row), zone.is_some(), text)
                })?;
            }
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let clocks = cast(values, &DataType::Time64(TimeUnit::Microsecond))?;
            let clocks = clocks.as_primitive::<Time64MicrosecondType>();
            for row in 0..values.len() {
                push(row, &|text| {
                    push_clock(clocks.value(row), text);
                    Ok(())
                })?;
            }
        }
        DataType::Interval(_) | DataType::Duration(_) => {
            let unit = match values.data_type() {
                DataType::Duration(_) => DataType::Duration(TimeUnit::Microsecond),
                _ => DataType::Interval(IntervalUnit::MonthDayNano),
            };
            let intervals = intervals_of(&cast(values, &unit)?)?;
            for row in 0..values.len() {
                push(row, &|text| {
                    push_interval(intervals.value(row), text);
                    Ok(())
                })?;
            }
        }
        DataType::List(_) => {
            let lists = values.as_list::<i32>();
            let elements = lists.values();
            let is_list = matches!(elements.data_type(), DataType::List(_));
            let elements = match elements.data_type() {
                DataType::Boolean => {
                    let letters = elements.as_boolean().iter();
                    let letter = |bool| if bool { "t" } else { "f" };
                    let letters = letters.map(|bool| bool.map(letter));
                    Arc::new(letters.collect::<StringViewArray>())
                }
                other if is_written(other) => texts(elements)?,
                _ => cast(elements, &DataType::Utf8View)?,
            };
            let elements = elements.as_string_view();
            for row in 0..values.len() {
                let offsets = lists.value_offsets();
                let places = offsets[row] as usize..offsets[row + 1] as usize;
                push(row, &|text| {
                    text.push('{');
                    for place in places.clone() {
                        if place > places.start {
                            text.push(',');
                        }
                        match elements.is_valid(place) {
                            true if is_list => text.push_str(elements.value(place)),
                            true => push_element(elements.value(place), text),
                            false => text.push_str("NULL"),
                        }
                    }
                    text.push('}');
                    Ok(())
                })?;
            }
        }
        other => {
            return Err(DataFusionError::Internal(format!("as_text of {other}")));
        }
    }
    Ok(Arc::new(out.finish()))
}

/// `scientific` and `plain` are the same shortest digits; from 10 to the `digits` on the first is written.
fn push_float(scientific: &str, plain: &str, digits: i32, out: &mut String) {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        // Not a number, or without end.
        out.push_str(match plain {
            "inf" => "Infinity",
            "-inf" => "-Infinity",
            other => other,
        });
        return;
    };
    let power: i32 = exponent.parse().unwrap_or_default();
    if (-4..digits).contains(&power) {
        out.push_str(plain);
        return;
    }
    let sign = if power < 0 { '-' } else { '+' };
    let _ = write!(out, "{mantissa}e{sign}{:02}", power.abs());
}

/// A value in an array.
fn push_element(value: &str, out: &mut String) {
    let special = |char: char| char.is_whitespace() || matches!(char, '{' | '}' | '"' | ',' | '\\');
    if !value.is_empty() && !value.eq_ignore_ascii_case("null") && !value.contains(special) {
        out.push_str(value);
        return;
    }
    out.push('"');
    for char in value.chars() {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
}

/// Writes an interval as PostgreSQL does.
pub(super) fn push_interval(interval: IntervalMonthDayNano, out: &mut String) {
    let IntervalMonthDayNano {
        months,
        days,
        nanoseconds,
    } = interval;
    let parts = [(months / 12, "year"), (months % 12, "mon"), (days, "day")];
    let mut before = false;
    let start = out.len();
    for (number, unit) in parts.into_iter().filter(|(number, _)| *number != 0) {
        let blank = if out.len() > start { " " } else { "" };
        let sign = if before && number > 0 { "+" } else { "" };
        let several = if number == 1 { "" } else { "s" };
        let _ = write!(out, "{blank}{sign}{number} {unit}{several}");
        before = number < 0;
    }
    let micros = nanoseconds / 1_000;
    if micros == 0 && out.len() > start {
        return;
    }
    let blank = if out.len() > start { " " } else { "" };
    let sign = match micros < 0 {
        true => "-",
        false if before => "+",
        false => "",
    };
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let _ = write!(out, "{blank}{sign}{hour:02}:{minute:02}:{second:02}");
    push_fraction(micros % 1_000_000, out);
}

fn push_fraction(micros: u64, out: &mut String) {
    if micros > 0 {
        let digits = format!("{micros:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
}

/// A time of the day, in µs since midnight.
fn push_clock(micros: i64, out: &mut String) {
    let seconds = micros.div_euclid(1_000_000);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let _ = write!(out, "{hours:02}:{minutes:02}:{:02}", seconds % 60);
    push_fraction(micros.rem_euclid(1_000_000).unsigned_abs(), out);
}

fn push_time(micros: i64, zoned: bool, out: &mut String) -> BoundResult<()> {
    let Some(time) = DateTime::from_timestamp_micros(micros) else {
        let message = format!("a timestamp of {micros} µs since 1970 is out of range for a text");
        return Err(DataFusionError::Execution(message));
    };
    let time: NaiveDateTime = time.naive_utc();
    let (year, before_christ) = match time.year() {
        year @ 1.. => (year, false),
        year => (1 - year, true),
    };
    let _ = write!(out, "{year:04}{}", time.format("-%m-%d %H:%M:%S"));
    push_fraction(micros.rem_euclid(1_000_000).unsigned_abs(), out);
    if zoned {
        out.push_str("+00");
    }
    if before_christ {
        out.push_str(" BC");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers are PostgreSQL's.
    #[test]
    fn intervals_and_elements_are_written_as_postgresql_does() {
        let second = 1_000_000_000;
        for (months, days, seconds, text) in [
            (1, 1, 43_200, "1 mon 1 day 12:00:00"),
            (0, 0, 0, "00:00:00"),
            (0, 29, 43_200, "29 days 12:00:00"),
            (-14, 3, -4, "-1 years -2 mons +3 days -00:00:04"),
            (0, -1, 7_200, "-1 days +02:00:00"),
            (24, 0, 0, "2 years"),
        ] {
            let mut out = String::new();
            let interval = IntervalMonthDayNano::new(months, days, seconds * second);
            push_interval(interval, &mut out);
            assert_eq!(out, text);
        }
        for (value, text) in [
            ("a", "a"),
            ("a b", "\"a b\""),
            ("", "\"\""),
            ("Null", "\"Null\""),
            ("a\"\\", "\"a\\\"\\\\\""),
        ] {
            let mut out = String::new();
            push_element(value, &mut out);
            assert_eq!(out, text);
        }
    }
}
