//! Floats: made of numbers and texts, rounded, and told apart as PostgreSQL does.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::super::sql_type::type_name;
use super::super::time::mapped;
use super::super::time_text::is_text;
use crate::diagnostic::{Code, Diagnostic};

/// Numbers or texts as floats.
///
/// # Errors
/// A text that is no number; a number that the type cannot hold.
pub(super) fn floats(values: &ArrayRef, to: &DataType) -> BoundResult<ArrayRef> {
    if is_text(values.data_type()) {
        let texts = cast(values, &DataType::Utf8View)?;
        let texts = texts.as_string_view().iter();
        return Ok(if to == &DataType::Float32 {
            let parsed = texts.map(|text| text.map(|text| parsed::<f32>(text, to)).transpose());
            Arc::new(parsed.collect::<BoundResult<Float32Array>>()?)
        } else {
            let parsed = texts.map(|text| text.map(|text| parsed::<f64>(text, to)).transpose());
            Arc::new(parsed.collect::<BoundResult<Float64Array>>()?)
        });
    }
    let doubles = cast(values, &DataType::Float64)?;
    if to != &DataType::Float32 || values.data_type() == to {
        return Ok(cast(&doubles, to)?);
    }
    let doubles = doubles.as_primitive::<Float64Type>();
    let narrowed = doubles.try_unary::<_, Float32Type, _>(|double| {
        let real = double as f32;
        let lost = (real.is_infinite() && double.is_finite()) || (real == 0.0 && double != 0.0);
        if lost {
            return Err(out_of_range(&double.to_string(), to));
        }
        Ok(real)
    })?;
    Ok(Arc::new(narrowed))
}

/// The float that a text names.
fn parsed<F: std::str::FromStr + Into<f64> + Copy>(text: &str, to: &DataType) -> BoundResult<F> {
    let trimmed = text.trim();
    let value: F = trimmed.parse().map_err(|_| {
        let message = format!("'{text}' is no {}", type_name(to));
        let mut diagnostic = Diagnostic::new(Code::Row, message);
        diagnostic.sqlstate = "22P02".to_owned();
        DataFusionError::External(Box::new(diagnostic))
    })?;
    let double: f64 = value.into();
    let mantissa = trimmed.split(['e', 'E']).next().unwrap_or_default();
    let zero = !mantissa.contains(|digit| matches!(digit, '1'..='9'));
    let number = mantissa.contains(|digit: char| digit.is_ascii_digit());
    if number && (double.is_infinite() || (double == 0.0 && !zero)) {
        return Err(out_of_range(trimmed, to).into());
    }
    Ok(value)
}

pub(super) fn out_of_range(number: &str, to: &DataType) -> ArrowError {
    ArrowError::ArithmeticOverflow(format!("{number} does not fit a {}", type_name(to)))
}

/// Floats to whole numbers, halves to even.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct RoundEven {
    /// Whether it stands in the query: as `round`.
    pub(super) written: bool,
    signature: Signature,
}

impl RoundEven {
    pub(super) fn new(written: bool) -> Self {
        Self {
            written,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for RoundEven {
    fn name(&self) -> &str {
        if self.written { "round" } else { "round_even" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        Ok(match args.args.as_slice() {
            [ColumnarValue::Scalar(value)] => {
                let rounded = round_even(&value.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&rounded, 0)?)
            }
            [ColumnarValue::Array(values)] => ColumnarValue::Array(round_even(values)?),
            _ => return Err(DataFusionError::Internal("one argument".to_owned())),
        })
    }
}

pub(super) fn round_even(values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let doubles = cast(values, &DataType::Float64)?;
    let doubles = doubles.as_primitive::<Float64Type>();
    Ok(Arc::new(
        doubles.unary::<_, Float64Type>(f64::round_ties_even),
    ))
}

/// See [`super::one_zero`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OneZero {
    signature: Signature,
}

impl OneZero {
    pub(super) fn new() -> Self {
        let floats = vec![DataType::Float64, DataType::Float32];
        Self {
            signature: Signature::uniform(1, floats, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for OneZero {
    fn name(&self) -> &str {
        "one_zero"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        Ok(args.first().cloned().unwrap_or(DataType::Float64))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        mapped(&args, |array| {
            // −0.0 + 0.0 is 0.0; NaN − NaN may have a sign.
            let real = |real: f32| if real.is_nan() { f32::NAN } else { real + 0.0 };
            let double = |double: f64| match double.is_nan() {
                true => f64::NAN,
                false => double + 0.0,
            };
            Ok(match array.as_primitive_opt::<Float32Type>() {
                Some(reals) => Arc::new(reals.unary::<_, Float32Type>(real)),
                None => {
                    let doubles = array.as_primitive::<Float64Type>();
                    Arc::new(doubles.unary::<_, Float64Type>(double))
                }
            })
        })
    }
}

/// See [`floats`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToFloat {
    to: DataType,
    signature: Signature,
}

impl ToFloat {
    pub(super) fn new(to: DataType) -> Self {
        Self {
            to,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ToFloat {
    fn name(&self) -> &str {
        "to_float"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        mapped(&args, |array| floats(array, &self.to))
    }
}
