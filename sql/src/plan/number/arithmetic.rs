//! Arithmetic as functions: what fails where DataFusion's operators wrap around, become infinite, or run out of digits.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::compute::kernels::arity::try_binary;
use arrow::compute::kernels::numeric::{add, mul, neg, sub};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, i256,
};
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

use super::super::sql_type::type_name;
use super::super::time::mapped;
use super::{DIGITS_MAX, Kind, QUOTIENT_DIGITS};

/// `+ - *` of integers and floats, `*` of decimals that are many digits, and `/` where a float or decimal is in it.
#[derive(Debug)]
pub(super) struct Arithmetic {
    pub(super) operator: Operator,
    /// Stands for the operands in the name that the planner goes by. It asks for names again and again, and those of
    /// a chain, with all operands written out, would take a time that grows with the cube of its length.
    operands: u64,
    signature: Signature,
}

impl PartialEq for Arithmetic {
    fn eq(&self, other: &Self) -> bool {
        self.operator == other.operator
    }
}

impl Eq for Arithmetic {}

impl Hash for Arithmetic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.operator.hash(state);
    }
}

impl Arithmetic {
    pub(super) fn new(operator: Operator, left: &Expr, right: &Expr) -> Self {
        let mut hasher = DefaultHasher::new();
        for operand in [left, right] {
            let own = match operand {
                Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<Self>(),
                _ => None,
            };
            match own {
                Some(own) => (own.operator, own.operands).hash(&mut hasher),
                None => operand.hash(&mut hasher),
            }
        }
        Self {
            operator,
            operands: hasher.finish(),
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        match self.operator {
            Operator::Plus => "+",
            Operator::Minus => "-",
            Operator::Multiply => "*",
            _ => "/",
        }
    }

    fn schema_name(&self, _args: &[Expr]) -> BoundResult<String> {
        Ok(format!("{} {:016x}", self.name(), self.operands))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        let [left, right] = args else {
            return Err(DataFusionError::Plan(format!(
                "{} takes two numbers",
                self.name()
            )));
        };
        let exact = |data_type: &DataType| {
            let (precision, scale) = digits(data_type);
            DataType::Decimal128(precision, scale)
        };
        let width = |data_type: &DataType| data_type.primitive_width().unwrap_or(8);
        Ok(match (Kind::of(left), Kind::of(right)) {
            (Kind::Integer, Kind::Integer) => {
                let wider = if width(left) >= width(right) {
                    left
                } else {
                    right
                };
                vec![wider.clone(), wider.clone()]
            }
            (Kind::Decimal, Kind::Decimal | Kind::Integer) | (Kind::Integer, Kind::Decimal) => {
                vec![exact(left), exact(right)]
            }
            _ if *left == DataType::Float32 && *right == DataType::Float32 => args.to_vec(),
            _ => vec![DataType::Float64, DataType::Float64],
        })
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        Ok(match args {
            [
                DataType::Decimal128(_, left_scale),
                DataType::Decimal128(_, right_scale),
            ] => {
                let scale = match (self.operator, args) {
                    (Operator::Multiply, [left, right]) => product_scale(left, right),
                    _ => quotient_scale(*left_scale, *right_scale),
                };
                DataType::Decimal128(DIGITS_MAX, scale)
            }
            [left, ..] => left.clone(),
            [] => DataType::Null,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("two arguments".to_owned()));
        };
        let floats = left.data_type().is_floating();
        match self.operator {
            Operator::Plus | Operator::Minus | Operator::Multiply if floats => {
                in_range(self.operator, left, right, args.number_rows)
            }
            Operator::Plus => apply(left, right, add),
            Operator::Minus => apply(left, right, sub),
            Operator::Multiply if left.data_type().is_integer() => apply(left, right, mul),
            _ => {
                let scalar = [left, right].map(|arg| matches!(arg, ColumnarValue::Scalar(_)));
                let arrays = ColumnarValue::values_to_arrays(&args.args)?;
                let numbers = if self.operator == Operator::Multiply {
                    products(&arrays[0], &arrays[1])?
                } else {
                    quotients(&arrays[0], &arrays[1])?
                };
                if scalar == [true, true] {
                    return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                        &numbers, 0,
                    )?));
                }
                Ok(ColumnarValue::Array(numbers))
            }
        }
    }
}

/// `+ - *` of floats. An infinite value that comes of finite ones is an error, and so is a product of zero that comes of
/// others.
fn in_range(
    operator: Operator,
    left: &ColumnarValue,
    right: &ColumnarValue,
    rows: usize,
) -> BoundResult<ColumnarValue> {
    let value = match operator {
        Operator::Plus => apply(left, right, add),
        Operator::Minus => apply(left, right, sub),
        _ => apply(left, right, mul),
    }?;
    let product = operator == Operator::Multiply;
    let doubles = |value: &ColumnarValue| -> BoundResult<ArrayRef> {
        Ok(cast(&value.to_array(rows)?, &DataType::Float64)?)
    };
    let results = match &value {
        ColumnarValue::Scalar(result) => result.to_array()?,
        ColumnarValue::Array(results) => Arc::clone(results),
    };
    let suspicious = |result: f64| result.is_infinite() || (product && result == 0.0);
    let any = match results.as_primitive_opt::<Float32Type>() {
        Some(reals) => reals
            .values()
            .iter()
            .any(|real| suspicious(f64::from(*real))),
        None => {
            let doubles = results.as_primitive::<Float64Type>().values();
            doubles.iter().any(|double| suspicious(*double))
        }
    };
    if !any {
        return Ok(value);
    }
    let (left, right, results) = (doubles(left)?, doubles(right)?, doubles(&value)?);
    let operands = (left.as_primitive::<Float64Type>().iter())
        .zip(right.as_primitive::<Float64Type>())
        .zip(results.as_primitive::<Float64Type>());
    for operand in operands {
        let ((Some(left), Some(right)), Some(result)) = operand else {
            continue;
        };
        let grown = result.is_infinite() && left.is_finite() && right.is_finite();
        let lost = product && result == 0.0 && left != 0.0 && right != 0.0;
        if grown || lost {
            let message = format!("overflow of {}", type_name(&value.data_type()));
            return Err(ArrowError::ArithmeticOverflow(message).into());
        }
    }
    Ok(value)
}

/// Precision and scale of the decimal that holds every number of a type.
pub(super) fn digits(data_type: &DataType) -> (u8, i8) {
    match data_type {
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        DataType::Decimal256(_, scale) => (DIGITS_MAX, *scale),
        DataType::Int8 => (3, 0),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        _ => (19, 0),
    }
}

/// Whether the product of two numbers may have more digits than there are.
pub(super) fn is_capped(left: &DataType, right: &DataType) -> bool {
    digits(left).0 + digits(right).0 >= DIGITS_MAX
}

/// Digits behind the point of a product: all of them if there is room beside those before the point.
fn product_scale(left: &DataType, right: &DataType) -> i8 {
    let ((left, left_scale), (right, right_scale)) = (digits(left), digits(right));
    let precision = i16::from(left) + i16::from(right);
    let scale = i16::from(left_scale) + i16::from(right_scale);
    let room = i16::from(DIGITS_MAX) - (precision - scale);
    let fitting = i8::try_from(scale.min(room)).unwrap_or(i8::MIN);
    fitting.max(left_scale).max(right_scale)
}

fn products(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let scale = product_scale(left.data_type(), right.data_type());
    let dropped = i16::from(digits(left.data_type()).1) + i16::from(digits(right.data_type()).1)
        - i16::from(scale);
    let divisor = u32::try_from(dropped)
        .ok()
        .and_then(|dropped| i256::from_i128(10).checked_pow(dropped));
    let products = try_binary::<_, _, _, Decimal128Type>(
        left.as_primitive::<Decimal128Type>(),
        right.as_primitive::<Decimal128Type>(),
        |left, right| {
            i256::from_i128(left)
                .checked_mul(i256::from_i128(right))
                .zip(divisor)
                .and_then(|(product, divisor)| rounded_quotient(product, divisor))
                .ok_or_else(too_many_digits)
        },
    )?;
    Ok(Arc::new(
        products.with_precision_and_scale(DIGITS_MAX, scale)?,
    ))
}

fn too_many_digits() -> ArrowError {
    ArrowError::ArithmeticOverflow(format!(
        "overflow of DECIMAL: the result has more than {DIGITS_MAX} digits; CAST a number to DOUBLE, or to a DECIMAL of \
         fewer digits behind the point"
    ))
}

fn quotient_scale(left: i8, right: i8) -> i8 {
    left.max(right).max(QUOTIENT_DIGITS)
}

fn quotients(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    fn floats<T: ArrowPrimitiveType>(
        left: &ArrayRef,
        right: &ArrayRef,
        divide: impl Fn(T::Native, T::Native) -> Option<T::Native>,
    ) -> Result<ArrayRef, ArrowError> {
        let quotients = try_binary::<_, _, _, T>(
            left.as_primitive::<T>(),
            right.as_primitive::<T>(),
            |left, right| divide(left, right).ok_or(ArrowError::DivideByZero),
        )?;
        Ok(Arc::new(quotients))
    }
    match (left.data_type(), right.data_type()) {
        (DataType::Decimal128(_, left_scale), DataType::Decimal128(_, right_scale)) => {
            let scale = quotient_scale(*left_scale, *right_scale);
            let shift = i32::from(scale) - i32::from(*left_scale) + i32::from(*right_scale);
            let factor = u32::try_from(shift)
                .ok()
                .and_then(|shift| i256::from_i128(10).checked_pow(shift));
            let quotients = try_binary::<_, _, _, Decimal128Type>(
                left.as_primitive::<Decimal128Type>(),
                right.as_primitive::<Decimal128Type>(),
                |left, right| {
                    if right == 0 {
                        return Err(ArrowError::DivideByZero);
                    }
                    factor
                        .and_then(|factor| quotient(left, factor, right))
                        .ok_or_else(too_many_digits)
                },
            )?;
            Ok(Arc::new(
                quotients.with_precision_and_scale(DIGITS_MAX, scale)?,
            ))
        }
        (DataType::Float32, _) => floats::<Float32Type>(left, right, |left, right| {
            (right != 0.0 || left.is_nan()).then(|| left / right)
        }),
        _ => floats::<Float64Type>(left, right, |left, right| {
            (right != 0.0 || left.is_nan()).then(|| left / right)
        }),
    }
}

/// `left · factor / right`, rounded half away from zero; `None` where it has too many digits.
fn quotient(left: i128, factor: i256, right: i128) -> Option<i128> {
    rounded_quotient(
        i256::from_i128(left).checked_mul(factor)?,
        i256::from_i128(right),
    )
}

fn rounded_quotient(left: i256, right: i256) -> Option<i128> {
    let quotient = left.checked_div(right)?;
    let rest = left.checked_rem(right)?.checked_abs()?;
    let away = rest.checked_add(rest)? >= right.checked_abs()?;
    let one = match (away, left.is_negative() == right.is_negative()) {
        (false, _) => i256::ZERO,
        (true, true) => i256::ONE,
        (true, false) => i256::MINUS_ONE,
    };
    let rounded = quotient.checked_add(one)?.to_i128()?;
    let limit = 10i128.pow(u32::from(DIGITS_MAX));
    (-limit < rounded && rounded < limit).then_some(rounded)
}

/// The minus of an integer.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Negation {
    signature: Signature,
}

impl Negation {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::numeric(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Negation {
    fn name(&self) -> &str {
        "-"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> BoundResult<DataType> {
        Ok(args.first().cloned().unwrap_or(DataType::Int64))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        mapped(&args, |array| Ok(neg(array)?))
    }
}
