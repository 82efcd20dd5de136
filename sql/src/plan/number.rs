//! PostgreSQL's arithmetic, put into a plan before its types are settled.
//!
//! Invariants:
//! 1. A literal with a point is exact; next to a DOUBLE, and as an argument of most functions, it is a DOUBLE.
//! 2. `+ - *` of integers fail where they would wrap around.
//! 3. Division by zero fails, of floats too. A quotient of decimals has [`QUOTIENT_DIGITS`] digits behind the point or
//!    more, and is rounded.
//! 4. A number becomes an integer by rounding: halves of floats to even, halves of decimals away from zero.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::arity::try_binary;
use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, i256,
};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

/// Digits behind the point of a quotient of decimals, at least.
const QUOTIENT_DIGITS: i8 = 16;
/// Digits of a decimal.
const DIGITS_MAX: u8 = 38;

/// Functions that compute with decimals as they are.
const EXACT: &[&str] = &[
    "abs", "ceil", "coalesce", "floor", "greatest", "least", "mod", "nullif", "nvl", "round",
    "signum", "trunc",
];

/// The rule.
#[derive(Debug)]
pub(super) struct Numbers;

impl AnalyzerRule for Numbers {
    fn name(&self) -> &str {
        "numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> BoundResult<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            let values = match &plan {
                LogicalPlan::Values(values) => Some(Arc::clone(&values.schema)),
                _ => None,
            };
            let mut place = 0;
            let rewritten = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|expr| rewrite(expr, &schema))?;
                // The types of VALUES are settled already.
                let column = values.as_ref().map(|values| {
                    let fields = values.fields();
                    fields[place % fields.len()].data_type().clone()
                });
                place += 1;
                if !rewritten.transformed {
                    return Ok(rewritten);
                }
                Ok(rewritten.update_data(|expr| match column {
                    Some(column) => Expr::Cast(Cast::new(Box::new(expr), column)),
                    None => name.restore(expr),
                }))
            })?;
            if rewritten.transformed {
                rewritten.map_data(LogicalPlan::recompute_schema)
            } else {
                Ok(rewritten)
            }
        })?;
        // Types above a changed one follow it.
        if rewritten.transformed {
            let plan = rewritten.data;
            return Ok(plan
                .transform_up(|plan| plan.recompute_schema().map(Transformed::yes))?
                .data);
        }
        Ok(rewritten.data)
    }
}

/// `expr` as it was written: with operators in place of our functions.
pub(super) fn as_written(expr: &Expr) -> Expr {
    let written = expr.clone().transform_up(|expr| {
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
            (None, [inner]) if call.func.inner().downcast_ref::<RoundEven>().is_some() => {
                Ok(Transformed::yes(inner.clone()))
            }
            _ => Ok(Transformed::no(expr)),
        }
    });
    written.map_or_else(|_| expr.clone(), |written| written.data)
}

/// Casts as an assignment does: numbers become integers by rounding, decimals the nearest double.
pub(crate) fn assign(values: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions {
        safe: false,
        ..Default::default()
    };
    let from = values.data_type();
    let exact = match (Kind::of(from), Kind::of(to)) {
        (Kind::Float, Kind::Integer) => round_even(values)?,
        (Kind::Decimal, Kind::Integer) => {
            cast_with_options(values, &DataType::Decimal128(DIGITS_MAX, 0), &options)?
        }
        (Kind::Decimal, Kind::Float) => cast_with_options(values, &DataType::Utf8, &options)?,
        _ => Arc::clone(values),
    };
    cast_with_options(&exact, to, &options)
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

fn rewrite(expr: Expr, schema: &DFSchema) -> BoundResult<Transformed<Expr>> {
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
            Transformed::new_transformed(Expr::InList(list), changed)
        }
        Expr::Case(mut case) => {
            let results = case.when_then_expr.iter_mut().map(|(_, then)| &mut **then);
            let changed = unify(results.chain(case.else_expr.as_deref_mut()), schema);
            let compared = case.when_then_expr.iter_mut().map(|(when, _)| &mut **when);
            let compared = unify(compared.chain(case.expr.as_deref_mut()), schema);
            Transformed::new_transformed(Expr::Case(case), changed || compared)
        }
        Expr::ScalarFunction(mut call) => {
            let exact = EXACT.contains(&call.name());
            let own = call.func.inner().downcast_ref::<Arithmetic>().is_some();
            let changed = match (own, exact) {
                (true, _) => false,
                (false, true) => unify(&mut call.args, schema),
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
        (Operator::Plus | Operator::Minus | Operator::Multiply, kinds) => {
            kinds == (Kind::Integer, Kind::Integer)
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
    let arithmetic = Arithmetic {
        operator: binary.op,
        signature: Signature::user_defined(Volatility::Immutable),
    };
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
        Kind::Float => {
            let round = RoundEven {
                signature: Signature::any(1, Volatility::Immutable),
            };
            ScalarUDF::from(round).call(vec![std::mem::take(expr)])
        }
        Kind::Decimal => {
            let whole = DataType::Decimal128(DIGITS_MAX, 0);
            Expr::Cast(Cast::new(Box::new(std::mem::take(expr)), whole))
        }
        Kind::Integer | Kind::Other => return false,
    };
    true
}

/// `+ - *` of integers, and `/` where a float or decimal is in it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    operator: Operator,
    signature: Signature,
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
        let exact = |data_type: &DataType| match data_type {
            decimal @ DataType::Decimal128(..) => decimal.clone(),
            DataType::Decimal256(_, scale) => DataType::Decimal128(DIGITS_MAX, *scale),
            _ => DataType::Decimal128(19, 0),
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
                DataType::Decimal128(_, left),
                DataType::Decimal128(_, right),
            ] => DataType::Decimal128(DIGITS_MAX, quotient_scale(*left, *right)),
            [left, ..] => left.clone(),
            [] => DataType::Null,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("two arguments".to_owned()));
        };
        match self.operator {
            Operator::Plus => apply(left, right, add),
            Operator::Minus => apply(left, right, sub),
            Operator::Multiply => apply(left, right, mul),
            _ => {
                let scalar = [left, right].map(|arg| matches!(arg, ColumnarValue::Scalar(_)));
                let arrays = ColumnarValue::values_to_arrays(&args.args)?;
                let quotients = quotients(&arrays[0], &arrays[1])?;
                if scalar == [true, true] {
                    return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                        &quotients, 0,
                    )?));
                }
                Ok(ColumnarValue::Array(quotients))
            }
        }
    }
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
    let (left, right) = (
        i256::from_i128(left).checked_mul(factor)?,
        i256::from_i128(right),
    );
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
    signature: Signature,
}

impl ScalarUDFImpl for RoundEven {
    fn name(&self) -> &str {
        "round_even"
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
