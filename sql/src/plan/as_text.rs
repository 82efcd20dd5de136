//! Values as PostgreSQL's texts: CAST of times and floats to TEXT, and booleans in `concat`.
//!
//! ```text
//! TIMESTAMP       2024-01-02 03:04:05.5        no T, fraction without trailing zeros, years before 1 with BC
//! TIMESTAMPTZ     2024-01-02 03:04:05.5+00
//! DOUBLE, REAL    the fewest digits that tell it; from 1e+15 (1e+06) on, and below 0.0001, with an exponent of two digits
//! ```

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDateTime};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    Case, Cast, ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use super::sql_type::{UTC, timestamp};

/// Puts the texts in the place of DataFusion's.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> BoundResult<Transformed<Expr>> {
    match expr {
        Expr::Cast(cast) if is_text(cast.field.data_type()) => {
            let from = cast.expr.get_type(schema)?;
            if !matches!(
                from,
                DataType::Timestamp(_, _) | DataType::Float32 | DataType::Float64
            ) {
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
                if arg.get_type(schema)? == DataType::Boolean {
                    let bool = std::mem::replace(arg, Expr::Literal(ScalarValue::Null, None));
                    *arg = letter(bool);
                    changed = true;
                }
            }
            Ok(Transformed::new_transformed(
                Expr::ScalarFunction(call),
                changed,
            ))
        }
        other => Ok(Transformed::no(other)),
    }
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

fn texts(values: &ArrayRef) -> BoundResult<ArrayRef> {
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
    let fraction = micros.rem_euclid(1_000_000);
    if fraction > 0 {
        let digits = format!("{fraction:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
    if zoned {
        out.push_str("+00");
    }
    if before_christ {
        out.push_str(" BC");
    }
    Ok(())
}
