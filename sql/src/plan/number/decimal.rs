//! Decimals: made of floats and texts as PostgreSQL makes them.
//!
//! ```text
//! 1.005 DOUBLE    1.00500000000000   15 digits, of a REAL 6      CAST AS DECIMAL(5, 2)  1.01
//! '1.5e3'         1500               all digits that are written
//! ```
//!
//! Digits behind the scale are rounded, halves away from zero. The binary fraction of a float has more digits, which
//! nobody wrote: 1.005 is a little less than its name.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::super::sql_type::type_name;
use super::super::time::mapped;
use super::super::time_text::is_text;
use super::float::out_of_range;
use crate::diagnostic::{Code, Diagnostic};

/// Digits behind the first one of a double that count, and of a real.
const DOUBLE_DIGITS: usize = 14;
const REAL_DIGITS: usize = 5;
/// Powers of ten beyond this make every number too large, or nothing.
const EXPONENT_MAX: i64 = 10_000;

/// Whether values of a type become decimals by [`decimals`].
pub(super) fn are_read(from: &DataType) -> bool {
    matches!(from, DataType::Float32 | DataType::Float64) || is_text(from)
}

/// Floats or texts as decimals of type `to`; what cannot be one is NULL where `tries`.
///
/// # Errors
/// A text that is no number; a number that the type cannot hold.
pub(super) fn decimals(values: &ArrayRef, to: &DataType, tries: bool) -> BoundResult<ArrayRef> {
    let DataType::Decimal128(precision, scale) = *to else {
        return Ok(cast(values, to)?);
    };
    let read = |text: &str| match decimal(text, precision, scale) {
        Ok(value) => Ok(Some(value)),
        Err(_) if tries => Ok(None),
        Err(Wrong::Range) => Err(out_of_range(text.trim(), to).into()),
        Err(Wrong::Text) => Err(no_number(text, to)),
    };
    let read: BoundResult<Decimal128Array> = if is_text(values.data_type()) {
        let texts = cast(values, &DataType::Utf8View)?;
        let texts = texts.as_string_view().iter();
        texts.map(|text| text.map_or(Ok(None), read)).collect()
    } else {
        let digits = match values.data_type() {
            DataType::Float32 => REAL_DIGITS,
            _ => DOUBLE_DIGITS,
        };
        let doubles = cast(values, &DataType::Float64)?;
        let doubles = doubles.as_primitive::<Float64Type>().iter();
        let texts = doubles.map(|double| double.map(|double| format!("{double:.digits$e}")));
        texts
            .map(|text| text.map_or(Ok(None), |text| read(&text)))
            .collect()
    };
    Ok(Arc::new(read?.with_precision_and_scale(precision, scale)?))
}

/// Why a text is no decimal.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    Text,
    Range,
}

/// The value of a text in units of the last digit of a decimal.
fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128, Wrong> {
    let text = text.trim();
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().map_err(|_| Wrong::Text)?),
        None => (unsigned, 0_i64),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|digit| digit.is_ascii_digit()) {
        // NaN and Infinity are numbers of PostgreSQL that no decimal here holds.
        let known = ["nan", "inf", "infinity"];
        let is_known = known.iter().any(|name| unsigned.eq_ignore_ascii_case(name));
        return Err(if is_known { Wrong::Range } else { Wrong::Text });
    }
    // How many of the digits stand before the one behind the scale.
    let exponent = exponent.clamp(-EXPONENT_MAX, EXPONENT_MAX);
    let kept = i64::try_from(whole.len()).unwrap_or(EXPONENT_MAX) + exponent + i64::from(scale);
    let limit = 10_i128.pow(u32::from(precision));
    let mut value = 0_i128;
    let mut next = |digit: u8| {
        value = value * 10 + i128::from(digit - b'0');
        if value < limit {
            Ok(value)
        } else {
            Err(Wrong::Range)
        }
    };
    let count = usize::try_from(kept).unwrap_or(0);
    let mut value = digits().take(count).try_fold(0, |_, digit| next(digit))?;
    let missing = count.saturating_sub(whole.len() + fraction.len());
    if value != 0 {
        value = (0..missing).try_fold(value, |_, _| next(b'0'))?;
    }
    let rounds_up = kept >= 0 && digits().nth(count).is_some_and(|digit| digit >= b'5');
    value += i128::from(rounds_up);
    if value >= limit {
        return Err(Wrong::Range);
    }
    Ok(if negative { -value } else { value })
}

fn no_number(text: &str, to: &DataType) -> DataFusionError {
    let message = format!("'{text}' is no {}", type_name(to));
    let mut diagnostic = Diagnostic::new(Code::Row, message);
    diagnostic.sqlstate = "22P02".to_owned();
    DataFusionError::External(Box::new(diagnostic))
}

/// See [`decimals`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToDecimal {
    to: DataType,
    tries: bool,
    signature: Signature,
}

impl ToDecimal {
    pub(super) fn new(to: DataType, tries: bool) -> Self {
        Self {
            to,
            tries,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ToDecimal {
    fn name(&self) -> &str {
        "to_decimal"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        mapped(&args, |array| decimals(array, &self.to, self.tries))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array, StringArray};

    use super::*;

    fn texts(values: ArrayRef, precision: u8, scale: i8) -> Vec<String> {
        let to = DataType::Decimal128(precision, scale);
        let decimals = decimals(&values, &to, true).expect("decimals");
        let decimals = decimals.as_primitive::<arrow::datatypes::Decimal128Type>();
        let text = |row| match decimals.is_null(row) {
            true => "-".to_owned(),
            false => decimals.value_as_string(row),
        };
        (0..decimals.len()).map(text).collect()
    }

    /// The answers are PostgreSQL's to `CAST(x AS NUMERIC(5, 2))`.
    #[test]
    fn floats_are_rounded_by_the_digits_that_name_them() {
        let doubles = [
            1.005,
            -1.005,
            0.285,
            2.675,
            4.35,
            0.1,
            2.5,
            1e-7,
            999.994,
            999.995,
            1e300,
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            0.004_999_999_999_999_999,
        ];
        let decimals = texts(Arc::new(Float64Array::from(doubles.to_vec())), 5, 2);
        let expected = [
            "1.01", "-1.01", "0.29", "2.68", "4.35", "0.10", "2.50", "0.00", "999.99", "-", "-",
            "0.00", "0.00", "-", "-", "0.01",
        ];
        assert_eq!(decimals, expected);
        let reals = Float32Array::from(vec![1.005, 0.1, 16_777_217.0, 123.456]);
        let decimals = texts(Arc::new(reals), 12, 3);
        assert_eq!(decimals, ["1.005", "0.100", "16777200.000", "123.456"]);
    }

    #[test]
    fn texts_are_decimals_with_and_without_an_exponent() {
        let written = [
            "1e3",
            "1.5E-2",
            " 7 ",
            "+5",
            ".5",
            "5.",
            "0.005",
            "-0.005",
            "0.0049",
            "99999.994",
            "99999.995",
            "1e99999999999999999999",
            "1e400",
            "0e400",
            "1e-400",
            "123e-3",
            "",
            ".",
            "-",
            "1_000",
            "0x1F",
            "abc",
            "NaN",
            "1e",
            "--1",
        ];
        let decimals = texts(Arc::new(StringArray::from(written.to_vec())), 7, 2);
        let expected = [
            "1000.00", "0.02", "7.00", "5.00", "0.50", "5.00", "0.01", "-0.01", "0.00", "99999.99",
            "-", "-", "-", "0.00", "0.00", "0.12", "-", "-", "-", "-", "-", "-", "-", "-", "-",
        ];
        assert_eq!(decimals, expected);
        let wrong = |text: &str| decimal(text, 7, 2).expect_err("no decimal");
        assert_eq!(wrong("99999.995"), Wrong::Range);
        assert_eq!(wrong("NaN"), Wrong::Range);
        assert_eq!(wrong("1,5"), Wrong::Text);
    }
}
