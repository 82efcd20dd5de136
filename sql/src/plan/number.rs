//! PostgreSQL's arithmetic, put into a plan before its types are settled.
//!
//! Invariants:
//! 1. A literal with a point is exact; next to a DOUBLE, and as an argument of most functions, it is a DOUBLE.
//! 2. `+ - *` and the minus of integers fail where they would wrap around, those of floats where they would be infinite.
//! 3. Division by zero fails, of floats too. A quotient of decimals has [`QUOTIENT_DIGITS`] digits behind the point or
//!    more, and is rounded. A product of decimals has all digits that [`DIGITS_MAX`] leaves room for, at least as many
//!    behind the point as its factors, and is rounded to them.
//! 4. A number becomes an integer by rounding: halves of floats to even, halves of decimals away from zero. `round` of a
//!    float is the same.
//! 5. A number that a REAL or DOUBLE cannot hold is an error, not infinite and not zero.
//! 6. −0.0 is 0.0 to everything that compares by bits.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::compute::kernels::arity::try_binary;
use arrow::compute::kernels::numeric::{add, mul, neg, sub};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, i256,
};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

use super::json;
use super::sql_type::type_name;
use super::time::{compared_interval, mapped};
use super::time_text::{is_text, is_time, read};
use crate::diagnostic::{Code, Diagnostic};
use streams::is_json;

/// Digits behind the point of a quotient of decimals, at least.
const QUOTIENT_DIGITS: i8 = 16;
/// Digits of a decimal.
const DIGITS_MAX: u8 = 38;

/// Functions that compute with decimals as they are.
const EXACT: &[&str] = &[
    "abs", "ceil", "coalesce", "floor", "greatest", "least", "mod", "nullif", "nvl", "round",
    "signum", "trunc",
];

/// `expr` as it was written: with operators in place of our functions.
pub(super) fn as_written(expr: &Expr) -> Expr {
    let written = expr.clone().transform_up(|expr| {
        if let Expr::Literal(value, _) = &expr
            && let Some(text) = time_literal(value)
        {
            // The name of a column is shown as it stands.
            return Ok(Transformed::yes(Expr::Column(Column::new_unqualified(
                text,
            ))));
        }
        let Expr::ScalarFunction(call) = &expr else {
            return Ok(Transformed::no(expr));
        };
        let own = call.func.inner().downcast_ref::<Arithmetic>();
        match (own, call.args.as_slice()) {
            (Some(own), [left, right]) => {
                let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
                let written = BinaryExpr::new(left, own.operator, right);
                Ok(Transformed::yes(Expr::BinaryExpr(written)))
            }
            (None, [inner]) if is_silent(call) => Ok(Transformed::yes(inner.clone())),
            (None, [inner]) if call.func.inner().downcast_ref::<Negation>().is_some() => {
                let negative = Expr::Negative(Box::new(inner.clone()));
                Ok(Transformed::yes(negative))
            }
            _ => Ok(Transformed::no(expr)),
        }
    });
    written.map_or_else(|_| expr.clone(), |written| written.data)
}

/// A constant time or interval as SQL writes it.
fn time_literal(value: &ScalarValue) -> Option<String> {
    let data_type = value.data_type();
    let interval = matches!(data_type, DataType::Interval(_) | DataType::Duration(_));
    if value.is_null() || !(interval || is_time(&data_type)) {
        return None;
    }
    let text = array_value_to_string(&value.to_array().ok()?, 0).ok()?;
    Some(if interval {
        format!("INTERVAL '{text}'")
    } else {
        format!("'{text}'")
    })
}

/// Whether a function of ours was put around its argument, and is nothing that was written.
fn is_silent(call: &ScalarFunction) -> bool {
    let inner = call.func.inner();
    inner
        .downcast_ref::<RoundEven>()
        .is_some_and(|round| !round.written)
        || inner.downcast_ref::<OneZero>().is_some()
        || inner.downcast_ref::<ToFloat>().is_some()
        || compared_interval(call).is_some()
}

/// Casts as an assignment does: numbers become integers by rounding, decimals the nearest double, texts the times that
/// they name.
pub(crate) fn assign(values: &ArrayRef, to: &DataType) -> BoundResult<ArrayRef> {
    let options = CastOptions {
        safe: false,
        ..Default::default()
    };
    let from = values.data_type();
    if is_json(to) {
        return json::documents(values);
    }
    if is_text(from) && is_time(to) {
        return read(values, to);
    }
    let exact = match (Kind::of(from), Kind::of(to)) {
        (Kind::Float, Kind::Integer) => round_even(values)?,
        (Kind::Decimal, Kind::Integer) => {
            cast_with_options(values, &DataType::Decimal128(DIGITS_MAX, 0), &options)?
        }
        (Kind::Decimal, Kind::Float) => {
            return floats(
                &cast_with_options(values, &DataType::Utf8View, &options)?,
                to,
            );
        }
        (Kind::Float, Kind::Float) => return floats(values, to),
        (Kind::Other, Kind::Float) if is_text(from) => return floats(values, to),
        _ => Arc::clone(values),
    };
    Ok(cast_with_options(&exact, to, &options)?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// With a sign; the others are DataFusion's own affair.
    Integer,
    Float,
    Decimal,
    Other,
}

impl Kind {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            data_type if data_type.is_signed_integer() => Self::Integer,
            DataType::Float32 | DataType::Float64 => Self::Float,
            DataType::Decimal128(..) | DataType::Decimal256(..) => Self::Decimal,
            _ => Self::Other,
        }
    }

    /// Expressions without a type are refused later, with a better error.
    fn of_expr(expr: &Expr, schema: &DFSchema) -> Self {
        expr.get_type(schema)
            .map_or(Self::Other, |data_type| Self::of(&data_type))
    }
}

/// Whether the type of an expression is settled later, as what its branches have in common.
fn is_branch(expr: &Expr) -> bool {
    match expr {
        Expr::Case(_) => true,
        Expr::ScalarFunction(call) => matches!(
            call.name(),
            "coalesce" | "greatest" | "least" | "nullif" | "nvl"
        ),
        _ => false,
    }
}

/// Functions that can give a decimal of a digit more than they take.
const ROUNDING: &[&str] = &["ceil", "floor", "round", "trunc"];

/// Changes one node whose children are changed already.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> BoundResult<Transformed<Expr>> {
    let kind = |expr: &Expr| Kind::of_expr(expr, schema);
    Ok(match expr {
        Expr::BinaryExpr(binary) => operation(binary, schema),
        Expr::Between(mut between) => {
            let parts = [&mut between.expr, &mut between.low, &mut between.high];
            let changed = unify(parts.map(|part| &mut **part), schema);
            Transformed::new_transformed(Expr::Between(between), changed)
        }
        Expr::InList(mut list) => {
            let parts = std::iter::once(&mut *list.expr).chain(&mut list.list);
            let changed = unify(parts, schema);
            let parts = std::iter::once(&mut *list.expr).chain(&mut list.list);
            let changed = one_zero(parts, schema) || changed;
            Transformed::new_transformed(Expr::InList(list), changed)
        }
        Expr::Case(mut case) => {
            let results = case.when_then_expr.iter_mut().map(|(_, then)| &mut **then);
            let changed = unify(results.chain(case.else_expr.as_deref_mut()), schema);
            let compared = case.when_then_expr.iter_mut().map(|(when, _)| &mut **when);
            let mut compared = unify(compared.chain(case.expr.as_deref_mut()), schema);
            if case.expr.is_some() {
                let parts = case.when_then_expr.iter_mut().map(|(when, _)| &mut **when);
                compared |= one_zero(parts.chain(case.expr.as_deref_mut()), schema);
            }
            Transformed::new_transformed(Expr::Case(case), changed || compared)
        }
        Expr::Negative(inner) if kind(&inner) == Kind::Integer => {
            let negation = Negation {
                signature: Signature::numeric(1, Volatility::Immutable),
            };
            Transformed::yes(ScalarUDF::from(negation).call(vec![*inner]))
        }
        Expr::ScalarFunction(call)
            if call.name() == "round"
                && call.args.len() == 1
                && kind(&call.args[0]) == Kind::Float =>
        {
            Transformed::yes(ScalarUDF::from(RoundEven::new(true)).call(call.args))
        }
        Expr::ScalarFunction(mut call)
            if ROUNDING.contains(&call.name())
                && (call.args.first()).is_some_and(|arg| {
                    let settled = !arg.exists(|arg| Ok(is_branch(arg))).unwrap_or(true);
                    settled && kind(arg) == Kind::Decimal
                }) =>
        {
            // A number that is rounded up can have a digit more.
            let (precision, scale) = digits(&call.args[0].get_type(schema)?);
            let wide = DataType::Decimal128(DIGITS_MAX.min(precision + 1), scale);
            let arg = std::mem::take(&mut call.args[0]);
            call.args[0] = Expr::Cast(Cast::new(Box::new(arg), wide));
            // Digits in the type that the function takes them in: its own type depends on them.
            if let Some(Expr::Literal(ScalarValue::Int64(Some(places)), _)) = call.args.get(1)
                && let Ok(places) = i32::try_from(*places)
            {
                call.args[1] = Expr::Literal(ScalarValue::Int32(Some(places)), None);
            }
            Transformed::yes(Expr::ScalarFunction(call))
        }
        Expr::ScalarFunction(mut call) => {
            let exact = EXACT.contains(&call.name());
            let own = call.func.inner().downcast_ref::<Arithmetic>().is_some();
            let changed = match (own, exact) {
                (true, _) => false,
                (false, true) => {
                    let changed = unify(&mut call.args, schema);
                    (call.name() == "nullif" && one_zero(&mut call.args, schema)) || changed
                }
                (false, false) => doubles(call.args.iter_mut().filter(|arg| is_literal(arg))),
            };
            Transformed::new_transformed(Expr::ScalarFunction(call), changed)
        }
        Expr::AggregateFunction(mut call) => {
            // The fraction of a percentile.
            let further = call.params.args.iter_mut().skip(1);
            let changed = doubles(further.filter(|arg| is_literal(arg)));
            Transformed::new_transformed(Expr::AggregateFunction(call), changed)
        }
        Expr::Cast(mut cast) if Kind::of(cast.field.data_type()) == Kind::Integer => {
            let kind = kind(&cast.expr);
            let changed = rounded(&mut cast.expr, kind);
            Transformed::new_transformed(Expr::Cast(cast), changed)
        }
        Expr::Cast(cast) if Kind::of(cast.field.data_type()) == Kind::Float => {
            to_float(cast, schema)?
        }
        Expr::TryCast(mut cast) if Kind::of(cast.field.data_type()) == Kind::Integer => {
            let kind = kind(&cast.expr);
            let changed = rounded(&mut cast.expr, kind);
            Transformed::new_transformed(Expr::TryCast(cast), changed)
        }
        other => Transformed::no(other),
    })
}

fn operation(mut binary: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
    let compares = matches!(
        binary.op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    );
    let numeric = compares || binary.op.is_numerical_operators();
    let changed = numeric && unify([&mut *binary.left, &mut *binary.right], schema);
    let kinds = (
        Kind::of_expr(&binary.left, schema),
        Kind::of_expr(&binary.right, schema),
    );
    let own = match (binary.op, kinds) {
        (Operator::Multiply, (Kind::Decimal, Kind::Integer | Kind::Decimal))
        | (Operator::Multiply, (Kind::Integer, Kind::Decimal)) => {
            let types = (binary.left.get_type(schema), binary.right.get_type(schema));
            matches!(types, (Ok(left), Ok(right)) if is_capped(&left, &right))
        }
        (Operator::Plus | Operator::Minus | Operator::Multiply, (left, right)) => {
            let float = left == Kind::Float || right == Kind::Float;
            let other = left == Kind::Other || right == Kind::Other;
            (left, right) == (Kind::Integer, Kind::Integer) || (float && !other)
        }
        (Operator::Divide, (left, right)) => {
            let inexact = |kind| matches!(kind, Kind::Float | Kind::Decimal);
            let other = left == Kind::Other || right == Kind::Other;
            !other && (inexact(left) || inexact(right))
        }
        _ => false,
    };
    if !own {
        return Transformed::new_transformed(Expr::BinaryExpr(binary), changed);
    }
    let arithmetic = Arithmetic::new(binary.op, &binary.left, &binary.right);
    Transformed::yes(ScalarUDF::from(arithmetic).call(vec![*binary.left, *binary.right]))
}

/// Makes decimals doubles if one of the expressions is a float.
fn unify<'a>(exprs: impl IntoIterator<Item = &'a mut Expr>, schema: &DFSchema) -> bool {
    let exprs: Vec<(&mut Expr, Kind)> = exprs
        .into_iter()
        .map(|expr| {
            let kind = Kind::of_expr(expr, schema);
            (expr, kind)
        })
        .collect();
    if !exprs.iter().any(|(_, kind)| *kind == Kind::Float) {
        return false;
    }
    let decimals = exprs.into_iter().filter(|(_, kind)| *kind == Kind::Decimal);
    doubles(decimals.map(|(expr, _)| expr))
}

fn is_literal(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Literal(ScalarValue::Decimal128(..) | ScalarValue::Decimal256(..), _)
    )
}

fn doubles<'a>(exprs: impl IntoIterator<Item = &'a mut Expr>) -> bool {
    let mut changed = false;
    for expr in exprs {
        changed = true;
        // The text of a literal gives the nearest double, which dividing by a power of ten may miss.
        let text = match expr {
            Expr::Literal(ScalarValue::Decimal128(Some(value), _, scale), _) => {
                Some(format!("{value}e{}", -i32::from(*scale)))
            }
            Expr::Literal(ScalarValue::Decimal256(Some(value), _, scale), _) => {
                Some(format!("{value}e{}", -i32::from(*scale)))
            }
            _ => None,
        };
        *expr = match text.and_then(|text| text.parse::<f64>().ok()) {
            Some(value) => Expr::Literal(ScalarValue::Float64(Some(value)), None),
            None => Expr::Cast(Cast::new(Box::new(std::mem::take(expr)), DataType::Float64)),
        };
    }
    changed
}

fn rounded(expr: &mut Expr, kind: Kind) -> bool {
    *expr = match kind {
        Kind::Float => ScalarUDF::from(RoundEven::new(false)).call(vec![std::mem::take(expr)]),
        Kind::Decimal => {
            let whole = DataType::Decimal128(DIGITS_MAX, 0);
            Expr::Cast(Cast::new(Box::new(std::mem::take(expr)), whole))
        }
        Kind::Integer | Kind::Other => return false,
    };
    true
}

/// Lets −0.0 be 0.0 where floats are looked up by their bits.
fn one_zero<'a>(exprs: impl IntoIterator<Item = &'a mut Expr>, schema: &DFSchema) -> bool {
    let mut changed = false;
    for expr in exprs {
        let harmless = match expr {
            Expr::Literal(ScalarValue::Float64(value), _) => {
                value.is_none_or(|value| value.to_bits() != (-0.0f64).to_bits())
            }
            Expr::Literal(..) => true,
            _ => false,
        };
        if harmless || Kind::of_expr(expr, schema) != Kind::Float {
            continue;
        }
        let function = OneZero {
            signature: Signature::uniform(
                1,
                vec![DataType::Float64, DataType::Float32],
                Volatility::Immutable,
            ),
        };
        *expr = ScalarUDF::from(function).call(vec![std::mem::take(expr)]);
        changed = true;
    }
    changed
}

/// A cast to a float that fails where the value does not fit.
fn to_float(cast: Cast, schema: &DFSchema) -> BoundResult<Transformed<Expr>> {
    let to = cast.field.data_type().clone();
    let from = cast.expr.get_type(schema).unwrap_or(DataType::Null);
    let narrowed =
        to == DataType::Float32 && matches!(Kind::of(&from), Kind::Float | Kind::Decimal);
    if from == to || !(is_text(&from) || narrowed) {
        return Ok(Transformed::no(Expr::Cast(cast)));
    }
    if let Expr::Literal(value, _) = &*cast.expr {
        let float = floats(&value.to_array()?, &to)?;
        let float = ScalarValue::try_from_array(&float, 0)?;
        return Ok(Transformed::yes(Expr::Literal(float, None)));
    }
    let function = ToFloat {
        to,
        signature: Signature::any(1, Volatility::Immutable),
    };
    Ok(Transformed::yes(
        ScalarUDF::from(function).call(vec![*cast.expr]),
    ))
}

/// Numbers or texts as floats.
///
/// # Errors
/// A text that is no number; a number that the type cannot hold.
fn floats(values: &ArrayRef, to: &DataType) -> BoundResult<ArrayRef> {
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

fn out_of_range(number: &str, to: &DataType) -> ArrowError {
    ArrowError::ArithmeticOverflow(format!("{number} does not fit a {}", type_name(to)))
}

/// `+ - *` of integers and floats, `*` of decimals that are many digits, and `/` where a float or decimal is in it.
#[derive(Debug)]
struct Arithmetic {
    operator: Operator,
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
    fn new(operator: Operator, left: &Expr, right: &Expr) -> Self {
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
fn digits(data_type: &DataType) -> (u8, i8) {
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
fn is_capped(left: &DataType, right: &DataType) -> bool {
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
                .ok_or_else(|| ArrowError::ArithmeticOverflow("overflow of DECIMAL".to_owned()))
        },
    )?;
    Ok(Arc::new(
        products.with_precision_and_scale(DIGITS_MAX, scale)?,
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
                        .ok_or_else(|| {
                            ArrowError::ArithmeticOverflow("overflow of DECIMAL".to_owned())
                        })
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

/// Floats to whole numbers, halves to even.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RoundEven {
    /// Whether it stands in the query: as `round`.
    written: bool,
    signature: Signature,
}

impl RoundEven {
    fn new(written: bool) -> Self {
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

fn round_even(values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let doubles = cast(values, &DataType::Float64)?;
    let doubles = doubles.as_primitive::<Float64Type>();
    Ok(Arc::new(
        doubles.unary::<_, Float64Type>(f64::round_ties_even),
    ))
}

/// The minus of an integer.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Negation {
    signature: Signature,
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

/// See [`one_zero`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct OneZero {
    signature: Signature,
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
            // −0.0 + 0.0 is 0.0.
            Ok(match array.as_primitive_opt::<Float32Type>() {
                Some(reals) => Arc::new(reals.unary::<_, Float32Type>(|real| real + 0.0)),
                None => {
                    let doubles = array.as_primitive::<Float64Type>();
                    Arc::new(doubles.unary::<_, Float64Type>(|double| double + 0.0))
                }
            })
        })
    }
}

/// See [`floats`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToFloat {
    to: DataType,
    signature: Signature,
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
