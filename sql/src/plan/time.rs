//! PostgreSQL's times and intervals.
//!
//! Invariants:
//! 1. Times meet in microseconds: a DATE or text beside a TIMESTAMP becomes one, whatever century it is of. (DataFusion
//!    lets them meet in nanoseconds, which end in 2262.)
//! 2. Intervals are compared by their length, a day as 24 hours and a month as 30 days.
//! 3. A DATE with an interval added is a TIMESTAMP.
//! 4. A constant text has the type of what it stands beside.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, TimeUnit,
};
use arrow::error::ArrowError;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::functions::expr_fn::round;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    BinaryExpr, Case, Cast, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sqlparser::ast::BinaryOperator;

use super::interval_times::times;
use super::sql_type::{instant, timestamp};
use super::time_part::{DatePart, DateTrunc, Field, Unit};
use super::time_text::{is_clock, is_text, is_time, read_expr};

const DAY_US: i64 = 86_400_000_000;
const DAY_NS: i128 = 86_400_000_000_000;
const MONTH_DAYS: i128 = 30;

/// Intervals of any kind.
fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

/// Functions whose arguments are of one type.
const UNIFORM: &[&str] = &["coalesce", "greatest", "least", "nullif", "nvl"];

/// Changes one node whose children are changed already.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> BoundResult<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(mut binary) if compares(binary.op) => {
            let sides = [&mut *binary.left, &mut *binary.right];
            let changed = meet(sides, schema)?;
            let sides = [&mut *binary.left, &mut *binary.right];
            let changed = by_length(sides, schema) || changed;
            Transformed::new_transformed(Expr::BinaryExpr(binary), changed)
        }
        Expr::BinaryExpr(binary) => arithmetic(binary, schema),
        Expr::Between(mut between) => {
            let parts = [&mut between.expr, &mut between.low, &mut between.high];
            let changed = meet(parts.map(|part| &mut **part), schema)?;
            let parts = [&mut between.expr, &mut between.low, &mut between.high];
            let changed = by_length(parts.map(|part| &mut **part), schema) || changed;
            Transformed::new_transformed(Expr::Between(between), changed)
        }
        Expr::InList(mut list) => {
            let parts = std::iter::once(&mut *list.expr).chain(&mut list.list);
            let changed = meet(parts, schema)?;
            let parts = std::iter::once(&mut *list.expr).chain(&mut list.list);
            let changed = by_length(parts, schema) || changed;
            Transformed::new_transformed(Expr::InList(list), changed)
        }
        Expr::Case(mut case) => {
            let results = case.when_then_expr.iter_mut().map(|(_, then)| &mut **then);
            let mut changed = meet(results.chain(case.else_expr.as_deref_mut()), schema)?;
            if case.expr.is_some() {
                let compared = case.when_then_expr.iter_mut().map(|(when, _)| &mut **when);
                changed |= meet(compared.chain(case.expr.as_deref_mut()), schema)?;
                let compared = case.when_then_expr.iter_mut().map(|(when, _)| &mut **when);
                changed |= by_length(compared.chain(case.expr.as_deref_mut()), schema);
            }
            Transformed::new_transformed(Expr::Case(case), changed)
        }
        Expr::ScalarFunction(call) => function(call, schema)?,
        Expr::Cast(cast)
            if is_clock(cast.field.data_type()) && is_text(&type_of(&cast.expr, schema)) =>
        {
            let to = cast.field.data_type().clone();
            Transformed::yes(read_expr(*cast.expr, &to)?)
        }
        Expr::Cast(cast) if is_time(cast.field.data_type()) => {
            if !is_text(&type_of(&cast.expr, schema)) {
                return Ok(Transformed::no(Expr::Cast(cast)));
            }
            let to = match cast.field.data_type() {
                DataType::Timestamp(_, zone) => {
                    DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
                }
                other => other.clone(),
            };
            Transformed::yes(read_expr(*cast.expr, &to)?)
        }
        other => Transformed::no(other),
    })
}

fn compares(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// Expressions without a type are refused later, with a better error.
fn type_of(expr: &Expr, schema: &DFSchema) -> DataType {
    expr.get_type(schema).unwrap_or(DataType::Null)
}

fn function(mut call: ScalarFunction, schema: &DFSchema) -> BoundResult<Transformed<Expr>> {
    let name = call.name().to_owned();
    let word = match call.args.first() {
        Some(Expr::Literal(value, _)) => value.try_as_str().flatten().map(str::to_lowercase),
        _ => None,
    };
    match (name.as_str(), call.args.len()) {
        ("date_part", 2) => {
            let field = word.as_deref().and_then(Field::named);
            if let Some(field) = field {
                return Ok(Transformed::yes(
                    ScalarUDF::from(DatePart::new(field)).call(call.args.split_off(1)),
                ));
            }
        }
        ("date_trunc", 2) => {
            let unit = word.as_deref().and_then(Unit::named);
            if let Some(unit) = unit
                && is_time(&type_of(&call.args[1], schema))
            {
                return Ok(Transformed::yes(
                    ScalarUDF::from(DateTrunc::new(unit)).call(call.args.split_off(1)),
                ));
            }
        }
        // Seconds, to the nearest µs: DataFusion counts in ns, of which there are too few for all times.
        ("to_timestamp", 1) => {
            let seconds = type_of(&call.args[0], schema);
            if seconds.is_numeric() {
                let cast = |expr, to| Expr::Cast(Cast::new(Box::new(expr), to));
                let seconds = cast(call.args.remove(0), DataType::Float64);
                let micros = seconds * Expr::Literal(ScalarValue::Float64(Some(1e6)), None);
                let micros = cast(round(vec![micros]), DataType::Int64);
                return Ok(Transformed::yes(cast(micros, timestamp())));
            }
        }
        (name, _) if UNIFORM.contains(&name) => {
            let changed = meet(&mut call.args, schema)?;
            let intervals = call
                .args
                .iter()
                .any(|arg| is_interval(&type_of(arg, schema)));
            if intervals && matches!(name, "greatest" | "least") {
                let extreme = ExtremeInterval {
                    least: name == "least",
                    signature: Signature::user_defined(Volatility::Immutable),
                };
                return Ok(Transformed::yes(ScalarUDF::from(extreme).call(call.args)));
            }
            if intervals && name == "nullif" && call.args.len() == 2 {
                let (first, second) = (call.args.remove(0), call.args.remove(0));
                let equal = length(first.clone()).eq(length(second));
                let null = Expr::Literal(ScalarValue::Null, None);
                let case = Case::new(
                    None,
                    vec![(Box::new(equal), Box::new(null))],
                    Some(Box::new(first)),
                );
                return Ok(Transformed::yes(Expr::Case(case)));
            }
            return Ok(Transformed::new_transformed(
                Expr::ScalarFunction(call),
                changed,
            ));
        }
        _ => {}
    }
    Ok(Transformed::no(Expr::ScalarFunction(call)))
}

/// Gives expressions that stand beside each other one type of times, or constant texts the type of the others.
fn meet<'a>(exprs: impl IntoIterator<Item = &'a mut Expr>, schema: &DFSchema) -> BoundResult<bool> {
    let mut exprs: Vec<(&mut Expr, DataType)> = exprs
        .into_iter()
        .map(|expr| {
            let data_type = type_of(expr, schema);
            (expr, data_type)
        })
        .collect();
    let types = || exprs.iter().map(|(_, data_type)| data_type);
    let Some(to) = meeting(types()) else {
        return Ok(false);
    };
    let mut changed = false;
    for (expr, data_type) in &mut exprs {
        let constant = matches!(expr, Expr::Literal(..));
        let moved = match (&*data_type, &to) {
            (from, to) if from == to => false,
            (from, to) if is_text(from) => is_time(to) || constant,
            (DataType::Date32 | DataType::Timestamp(_, _), to) => is_time(to),
            (DataType::Duration(_), DataType::Interval(_)) => true,
            _ => false,
        };
        if !moved {
            continue;
        }
        let taken = std::mem::take(*expr);
        **expr = match (&*data_type, &to) {
            (from, to) if is_text(from) && is_time(to) => read_expr(taken, to)?,
            (DataType::Duration(_), _) => justified(taken),
            (_, to) => Expr::Cast(Cast::new(Box::new(taken), to.clone())),
        };
        changed = true;
    }
    Ok(changed)
}

/// The type that the types have in common, where it is one of ours to decide.
pub(super) fn meeting<'a>(types: impl Iterator<Item = &'a DataType> + Clone) -> Option<DataType> {
    let any = |wanted: fn(&DataType) -> bool| types.clone().any(wanted);
    if any(|data_type| matches!(data_type, DataType::Timestamp(_, Some(_)))) {
        return Some(instant());
    }
    if any(|data_type| matches!(data_type, DataType::Timestamp(_, None))) {
        return Some(timestamp());
    }
    let mixed = any(|data_type| matches!(data_type, DataType::Interval(_)) || is_text(data_type));
    if any(is_interval) {
        return mixed.then_some(DataType::Interval(IntervalUnit::MonthDayNano));
    }
    if !any(is_text) {
        return None;
    }
    let other = types
        .clone()
        .find(|data_type| !is_text(data_type) && **data_type != DataType::Null)?;
    matches!(
        other,
        DataType::Date32
            | DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
    )
    .then(|| other.clone())
}

fn arithmetic(mut binary: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
    if !matches!(binary.op, Operator::Plus | Operator::Minus) {
        return Transformed::no(Expr::BinaryExpr(binary));
    }
    let types = (
        type_of(&binary.left, schema),
        type_of(&binary.right, schema),
    );
    let moved = |expr: &mut Expr| {
        let date = std::mem::take(expr);
        *expr = Expr::Cast(Cast::new(Box::new(date), timestamp()));
    };
    let lengthened = |expr: &mut Expr| *expr = justified(std::mem::take(expr));
    match types {
        (DataType::Date32, right) if is_interval(&right) => moved(&mut binary.left),
        (left, DataType::Date32) if is_interval(&left) => moved(&mut binary.right),
        (DataType::Date32, DataType::Timestamp(..)) => moved(&mut binary.left),
        (DataType::Timestamp(..), DataType::Date32) => moved(&mut binary.right),
        (DataType::Duration(_), DataType::Interval(_)) => lengthened(&mut binary.left),
        (DataType::Interval(_), DataType::Duration(_)) => lengthened(&mut binary.right),
        _ => return Transformed::no(Expr::BinaryExpr(binary)),
    }
    Transformed::yes(Expr::BinaryExpr(binary))
}

/// Tells the binder of [`arithmetic`]: the types of what is around it are settled before the plan is rewritten.
#[derive(Debug)]
pub(super) struct DatesMove;

impl ExprPlanner for DatesMove {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> BoundResult<PlannerResult<RawBinaryExpr>> {
        let types = [&expr.left, &expr.right].map(|side| type_of(side, schema));
        if let Some(op) = comparison(&expr.op) {
            // No type that the binder knows takes both.
            let is_mixed = types.iter().any(is_interval) && types.iter().any(is_text);
            if !is_mixed {
                return Ok(PlannerResult::Original(expr));
            }
            let (mut left, mut right) = (expr.left, expr.right);
            meet([&mut left, &mut right], schema)?;
            let binary = BinaryExpr::new(Box::new(left), op, Box::new(right));
            return Ok(PlannerResult::Planned(Expr::BinaryExpr(binary)));
        }
        let is_number = |data_type: &DataType| data_type.is_numeric() || data_type.is_null();
        match (&expr.op, &types) {
            (BinaryOperator::Multiply, [interval, number])
                if is_interval(interval) && is_number(number) =>
            {
                return Ok(PlannerResult::Planned(times(expr.left, expr.right, false)));
            }
            (BinaryOperator::Multiply, [number, interval])
                if is_interval(interval) && is_number(number) =>
            {
                return Ok(PlannerResult::Planned(times(expr.right, expr.left, false)));
            }
            (BinaryOperator::Divide, [interval, number])
                if is_interval(interval) && is_number(number) =>
            {
                return Ok(PlannerResult::Planned(times(expr.left, expr.right, true)));
            }
            _ => {}
        }
        let op = match expr.op {
            BinaryOperator::Plus => Operator::Plus,
            BinaryOperator::Minus => Operator::Minus,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let moves = types.contains(&DataType::Date32) && types.iter().any(is_interval);
        if !moves {
            return Ok(PlannerResult::Original(expr));
        }
        let binary = BinaryExpr::new(Box::new(expr.left), op, Box::new(expr.right));
        Ok(PlannerResult::Planned(arithmetic(binary, schema).data))
    }
}

fn comparison(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// Makes intervals that are compared numbers.
fn by_length<'a>(exprs: impl IntoIterator<Item = &'a mut Expr>, schema: &DFSchema) -> bool {
    let mut changed = false;
    for expr in exprs {
        if is_interval(&type_of(expr, schema)) {
            *expr = length(std::mem::take(expr));
            changed = true;
        }
    }
    changed
}

/// The length of an interval as a number.
fn length(expr: Expr) -> Expr {
    let function = IntervalLength {
        signature: Signature::user_defined(Volatility::Immutable),
    };
    ScalarUDF::from(function).call(vec![expr])
}

/// A time between two times as the interval of days and less that PostgreSQL makes it.
fn justified(expr: Expr) -> Expr {
    let function = Justified {
        signature: Signature::user_defined(Volatility::Immutable),
    };
    ScalarUDF::from(function).call(vec![expr])
}

/// If `call` is one that stands for the comparison of intervals: what is compared.
pub(super) fn compared_interval(call: &ScalarFunction) -> Option<&Expr> {
    let inner = call.func.inner();
    let own = inner.downcast_ref::<IntervalLength>().is_some()
        || inner.downcast_ref::<Justified>().is_some();
    call.args.first().filter(|_| own)
}

fn coerced(args: &[DataType]) -> BoundResult<Vec<DataType>> {
    let coerced = |arg: &DataType| match arg {
        DataType::Duration(_) => Ok(DataType::Duration(TimeUnit::Microsecond)),
        DataType::Interval(_) | DataType::Null => {
            Ok(DataType::Interval(IntervalUnit::MonthDayNano))
        }
        _ => Err(DataFusionError::Plan("takes an INTERVAL".to_owned())),
    };
    args.iter().map(coerced).collect()
}

/// Nanoseconds of an interval.
fn length_ns(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * MONTH_DAYS + i128::from(interval.days);
    days * DAY_NS + i128::from(interval.nanoseconds)
}

fn interval_of(duration_us: i64) -> Option<IntervalMonthDayNano> {
    let days = i32::try_from(duration_us / DAY_US).ok()?;
    let rest_ns = duration_us % DAY_US * 1_000;
    Some(IntervalMonthDayNano::new(0, days, rest_ns))
}

pub(super) fn intervals_of(array: &ArrayRef) -> Result<IntervalMonthDayNanoArray, ArrowError> {
    match array.as_primitive_opt::<DurationMicrosecondType>() {
        Some(durations) => durations.try_unary(|duration_us| {
            interval_of(duration_us)
                .ok_or_else(|| ArrowError::ArithmeticOverflow("overflow of INTERVAL".to_owned()))
        }),
        None => Ok(array.as_primitive::<IntervalMonthDayNanoType>().clone()),
    }
}

/// See [`length`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalLength {
    signature: Signature,
}

impl ScalarUDFImpl for IntervalLength {
    fn name(&self) -> &str {
        "interval_length"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        coerced(args)
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Decimal128(38, 0))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        mapped(&args, |array| {
            let lengths: Decimal128Array = match array.as_primitive_opt::<DurationMicrosecondType>()
            {
                Some(durations) => durations.unary(|duration_us| i128::from(duration_us) * 1_000),
                None => array
                    .as_primitive::<IntervalMonthDayNanoType>()
                    .unary(length_ns),
            };
            Ok(Arc::new(lengths.with_precision_and_scale(38, 0)?))
        })
    }
}

/// See [`justified`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct Justified {
    signature: Signature,
}

impl ScalarUDFImpl for Justified {
    fn name(&self) -> &str {
        "interval"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        coerced(args)
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        mapped(&args, |array| Ok(Arc::new(intervals_of(array)?)))
    }
}

/// `greatest` or `least` of intervals.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ExtremeInterval {
    least: bool,
    signature: Signature,
}

impl ScalarUDFImpl for ExtremeInterval {
    fn name(&self) -> &str {
        if self.least { "least" } else { "greatest" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        coerced(args)
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let columns = arrays
            .iter()
            .map(intervals_of)
            .collect::<Result<Vec<_>, _>>()?;
        let rows = columns.first().map_or(0, Array::len);
        let extreme = |row: usize| {
            let values = columns
                .iter()
                .filter(|column| column.is_valid(row))
                .map(|column| column.value(row));
            if self.least {
                values.min_by_key(|value| length_ns(*value))
            } else {
                values.max_by_key(|value| length_ns(*value))
            }
        };
        let extremes: IntervalMonthDayNanoArray = (0..rows).map(extreme).collect();
        Ok(ColumnarValue::Array(Arc::new(extremes)))
    }
}

/// The value of a function of one argument; a constant stays one.
pub(super) fn mapped(
    args: &ScalarFunctionArgs,
    map: impl FnOnce(&ArrayRef) -> BoundResult<ArrayRef>,
) -> BoundResult<ColumnarValue> {
    Ok(match args.args.as_slice() {
        [ColumnarValue::Array(array)] => ColumnarValue::Array(map(array)?),
        [ColumnarValue::Scalar(value)] => {
            let value = map(&value.to_array()?)?;
            ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?)
        }
        _ => return Err(DataFusionError::Internal("one argument".to_owned())),
    })
}
