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
//! 6. A float becomes a decimal by the digits that name it, 15 of a DOUBLE and 6 of a REAL: 1.005 is 1.01.
//! 7. −0.0 is 0.0 to everything that compares by bits.

mod arithmetic;
mod decimal;
mod float;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef};
use arrow::util::display::array_value_to_string;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator, ScalarUDF};

use self::arithmetic::{Arithmetic, Negation, digits, is_capped};
use self::decimal::{ToDecimal, are_read, decimals};
use self::float::{OneZero, RoundEven, ToFloat, floats, round_even};
use super::declared::is_declared;
use super::json;
use super::sql_type::type_name;
use super::time::compared_interval;
use super::time_text::{is_clock, is_text, is_time, read};
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

/// Functions that write numbers, with the digits that these have.
const WRITTEN: &[&str] = &["concat", "concat_ws", "format", "to_char"];

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
        || inner.downcast_ref::<ToDecimal>().is_some()
        || is_declared(&call.func)
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
    if is_text(from) && (is_time(to) || is_clock(to)) {
        return read(values, to);
    }
    // Arrow makes a list of each value, of NULL too.
    if matches!(to, DataType::List(_)) && !from.is_list() {
        if values.logical_null_count() == values.len() {
            return Ok(new_null_array(to, values.len()));
        }
        return Err(no_list(from));
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
        (_, Kind::Decimal) if are_read(from) => return decimals(values, to, false),
        (Kind::Other, Kind::Float) if is_text(from) => return floats(values, to),
        _ => Arc::clone(values),
    };
    Ok(cast_with_options(&exact, to, &options)?)
}

fn no_list(from: &DataType) -> DataFusionError {
    let message = format!("a value of type {} is no array", type_name(from));
    let diagnostic = Diagnostic::new(Code::TypeMismatch, message)
        .help("an array is written ARRAY[a, b], an empty one ARRAY[]::TEXT[]");
    DataFusionError::External(Box::new(diagnostic))
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
            Transformed::yes(ScalarUDF::from(Negation::new()).call(vec![*inner]))
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
                (false, false) if WRITTEN.contains(&call.name()) => false,
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
        Expr::Cast(cast) if is_read(&cast.expr, &cast.field, schema) => {
            let to = ToDecimal::new(cast.field.data_type().clone(), false);
            Transformed::yes(ScalarUDF::from(to).call(vec![*cast.expr]))
        }
        Expr::TryCast(cast) if is_read(&cast.expr, &cast.field, schema) => {
            let to = ToDecimal::new(cast.field.data_type().clone(), true);
            Transformed::yes(ScalarUDF::from(to).call(vec![*cast.expr]))
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

/// Whether a float or text becomes a decimal by its digits.
fn is_read(expr: &Expr, to: &FieldRef, schema: &DFSchema) -> bool {
    let to_decimal = matches!(to.data_type(), DataType::Decimal128(..));
    to_decimal && expr.get_type(schema).is_ok_and(|from| are_read(&from))
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

/// Lets −0.0 be 0.0, and NaN the one NaN, where floats are looked up or sorted by their bits.
pub(super) fn one_zero<'a>(
    exprs: impl IntoIterator<Item = &'a mut Expr>,
    schema: &DFSchema,
) -> bool {
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
        *expr = ScalarUDF::from(OneZero::new()).call(vec![std::mem::take(expr)]);
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
    Ok(Transformed::yes(
        ScalarUDF::from(ToFloat::new(to)).call(vec![*cast.expr]),
    ))
}
