//! Conditions on the clock in queries that go on: `WHERE ts > now() - INTERVAL '1 hour'`.
//!
//! ```text
//! bound    ts > now() - INTERVAL '1 hour'      →   __now_before(ts + INTERVAL '1 hour')       the clock is before that
//!          day = current_date                  →   __now_reaches(…) AND __now_before(…)       the day, in UTC
//! lowered  all of them that a condition joins by AND: a node that lets each row come and go at its times
//! ```
//!
//! A condition is solved for the clock before types are settled. What is left of `now()` afterwards stands where nothing can
//! keep it true, and is refused (`binder.rs`). A snapshot has its own now, and does not come by here.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{
    Column, DataFusionError, Result as BoundResult, ScalarValue, internal_err,
};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use super::as_text::push_interval;
use super::sql_type::timestamp;
use super::tumble::interval_us;
use crate::diagnostic::{Code, Diagnostic};

const DAY_US: i64 = 86_400_000_000;

/// The clock is before a time.
const BEFORE: &str = "__now_before";
/// The clock has reached a time.
const REACHES: &str = "__now_reaches";

/// Functions of the clock.
pub(super) const NAMES: [&str; 5] = [
    "now",
    "current_timestamp",
    "current_date",
    "today",
    "current_time",
];

/// `plan` with conditions on the clock solved for it.
///
/// # Errors
/// Conditions that hold for no span of time that is known beforehand.
pub(super) fn solved(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Filter(mut filter) = plan else {
            return Ok(Transformed::no(plan));
        };
        if !has_clock(&filter.predicate) {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let mut parts = Vec::new();
        for part in split_conjunction(&filter.predicate) {
            match has_clock(part) {
                true => parts.extend(bounds(part)?),
                false => parts.push(part.clone()),
            }
        }
        if let Some(predicate) = conjunction(parts) {
            filter.predicate = predicate;
        }
        Ok(Transformed::yes(LogicalPlan::Filter(filter)))
    })?;
    Ok(rewritten.data)
}

fn is_clock(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if NAMES.contains(&call.func.name()))
}

fn has_clock(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(is_clock(expr))).unwrap_or(false)
}

fn refused(message: String) -> DataFusionError {
    let diagnostic = Diagnostic::new(Code::Volatile, message).help(
        "conditions that AND joins, with now() or current_date on one side: ts > now() - INTERVAL '1 hour'",
    );
    DataFusionError::External(Box::new(diagnostic))
}

/// What one condition says of the clock.
fn bounds(condition: &Expr) -> BoundResult<Vec<Expr>> {
    match condition {
        Expr::Between(between) if !between.negated => {
            let compared = |op, bound: &Expr| {
                let (left, right) = (between.expr.clone(), Box::new(bound.clone()));
                Expr::BinaryExpr(BinaryExpr { left, op, right })
            };
            let parts = [
                compared(Operator::GtEq, &between.low),
                compared(Operator::LtEq, &between.high),
            ];
            let mut all = Vec::new();
            for part in parts {
                match has_clock(&part) {
                    true => all.extend(bounds(&part)?),
                    false => all.push(part),
                }
            }
            Ok(all)
        }
        Expr::Not(inner) => match inner.as_ref() {
            Expr::BinaryExpr(compared) if compared.op.negate().is_some() => {
                let op = compared.op.negate().unwrap_or(compared.op);
                bounds(&Expr::BinaryExpr(BinaryExpr {
                    op,
                    ..compared.clone()
                }))
            }
            _ => Err(unsolved(condition)),
        },
        Expr::BinaryExpr(compared) => {
            let solved = Solved::of(compared).ok_or_else(|| unsolved(condition))?;
            solved.conditions().ok_or_else(|| unsolved(condition))
        }
        _ => Err(unsolved(condition)),
    }
}

fn unsolved(condition: &Expr) -> DataFusionError {
    let mut has_months = false;
    let written = condition.clone().transform_up(|expr| {
        let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = &expr else {
            return Ok(Transformed::no(expr));
        };
        has_months |= interval.months != 0;
        let mut text = String::new();
        push_interval(*interval, &mut text);
        let text = Column::new_unqualified(format!("INTERVAL '{text}'"));
        Ok(Transformed::yes(Expr::Column(text)))
    });
    let written = written.map_or_else(|_| condition.clone(), |written| written.data);
    let message = format!(
        "from when on, or until when, {written} holds for a row does not follow from the row alone, so a query that goes on cannot keep it true"
    );
    if !has_months {
        return refused(message);
    }
    let diagnostic = Diagnostic::new(Code::Volatile, message).help(
        "months and years are of no fixed length, so no time follows from them: write days, as in now() - INTERVAL '365 days'",
    );
    DataFusionError::External(Box::new(diagnostic))
}

/// The clock, or its day, and how far it is moved.
struct Side {
    is_day: bool,
    shift_us: i64,
}

impl Side {
    /// The clock as `expr` has it.
    fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
                ("now" | "current_timestamp", _) => Some(Self::now()),
                ("current_date" | "today", _) => Some(Self::now().day()?),
                ("date_trunc", [Expr::Literal(unit, _), of]) => {
                    let unit = unit.try_as_str().flatten()?;
                    unit.eq_ignore_ascii_case("day")
                        .then(|| Self::of(of)?.day())?
                }
                _ => None,
            },
            Expr::Cast(cast) => match cast.field.data_type() {
                DataType::Date32 => Self::of(&cast.expr)?.day(),
                DataType::Timestamp(_, _) => Self::of(&cast.expr),
                _ => None,
            },
            Expr::Alias(alias) => Self::of(&alias.expr),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let (side, by) = match op {
                    Operator::Plus if has_clock(right) => (right, length_us(left)?),
                    Operator::Plus => (left, length_us(right)?),
                    Operator::Minus => (left, length_us(right)?.checked_neg()?),
                    _ => return None,
                };
                let side = Self::of(side)?;
                Some(Self {
                    shift_us: side.shift_us.checked_add(by)?,
                    ..side
                })
            }
            _ => None,
        }
    }

    fn now() -> Self {
        Self {
            is_day: false,
            shift_us: 0,
        }
    }

    /// The day of it. One that was moved before is another clock.
    fn day(self) -> Option<Self> {
        (self.shift_us == 0).then_some(Self {
            is_day: true,
            ..self
        })
    }
}

/// A length of time that is written out, µs.
fn length_us(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(days)), _) => days.checked_mul(DAY_US),
        Expr::Cast(cast) => length_us(&cast.expr),
        Expr::Negative(inner) => length_us(inner)?.checked_neg(),
        expr => interval_us(expr),
    }
}

/// `clock op other`, with the clock alone on its side.
struct Solved {
    op: Operator,
    clock: Side,
    other: Expr,
}

impl Solved {
    fn of(compared: &BinaryExpr) -> Option<Self> {
        let BinaryExpr { left, op, right } = compared;
        let (clock, op, other) = match (has_clock(left), has_clock(right)) {
            (true, false) => (left, *op, right),
            (false, true) => (right, op.swap()?, left),
            _ => return None,
        };
        // `now() - ts < length`: how old a row is.
        if let Expr::BinaryExpr(BinaryExpr {
            left: minuend,
            op: Operator::Minus,
            right: subtrahend,
        }) = clock.as_ref()
            && length_us(subtrahend).is_none()
        {
            let by = length_us(other)?;
            return match (has_clock(minuend), has_clock(subtrahend)) {
                (true, false) => Self::moved(op, minuend, subtrahend, by),
                (false, true) => Self::moved(op.swap()?, subtrahend, minuend, by.checked_neg()?),
                _ => None,
            };
        }
        Some(Self {
            op,
            clock: Side::of(clock)?,
            other: other.as_ref().clone(),
        })
    }

    /// `clock op other + by`.
    fn moved(op: Operator, clock: &Expr, other: &Expr, by: i64) -> Option<Self> {
        let clock = Side::of(clock)?;
        Some(Self {
            op,
            clock: Side {
                shift_us: clock.shift_us.checked_sub(by)?,
                ..clock
            },
            other: other.clone(),
        })
    }

    /// The conditions on the clock itself.
    fn conditions(&self) -> Option<Vec<Expr>> {
        // A day is compared as its beginning: until the day of a time is over, from when on it is reached.
        let (over, reached) = match self.clock.is_day {
            true => (Rounding::NextDay, Rounding::DayOrNext),
            false => (Rounding::NextMicrosecond, Rounding::None),
        };
        let bound = |name: &'static str, rounding| self.bound(name, rounding);
        Some(match self.op {
            Operator::Lt => vec![bound(BEFORE, reached)],
            Operator::LtEq => vec![bound(BEFORE, over)],
            Operator::Gt => vec![bound(REACHES, over)],
            Operator::GtEq => vec![bound(REACHES, reached)],
            Operator::Eq if self.clock.is_day => vec![bound(REACHES, reached), bound(BEFORE, over)],
            _ => return None,
        })
    }

    fn bound(&self, name: &'static str, rounding: Rounding) -> Expr {
        let other = Expr::Cast(Cast::new(Box::new(self.other.clone()), timestamp()));
        let time = ScalarUDF::from(Moved {
            by_us: self.clock.shift_us.saturating_neg(),
            rounding,
            signature: Signature::exact(vec![timestamp()], Volatility::Immutable),
        });
        let condition = ScalarUDF::from(Condition {
            name,
            signature: Signature::exact(vec![timestamp()], Volatility::Volatile),
        });
        condition.call(vec![time.call(vec![other])])
    }
}

/// Whether a function is a solved condition.
pub(super) fn is_solved(name: &str) -> bool {
    name == BEFORE || name == REACHES
}

/// When the clock lets rows come and go.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub from: Vec<Expr>,
    pub until: Vec<Expr>,
}

/// What a condition says of the clock, and what else it says.
pub(super) fn times(predicate: &Expr) -> Option<(Times, Option<Expr>)> {
    let (mut times, mut others) = (Times::default(), Vec::new());
    for part in split_conjunction(predicate) {
        match part {
            Expr::ScalarFunction(call) if call.func.name() == BEFORE => {
                times.until.extend(call.args.first().cloned());
            }
            Expr::ScalarFunction(call) if call.func.name() == REACHES => {
                times.from.extend(call.args.first().cloned());
            }
            other => others.push(other.clone()),
        }
    }
    let some = !times.from.is_empty() || !times.until.is_empty();
    some.then(|| (times, conjunction(others)))
}

/// Says of the clock how it lies to a time; nothing evaluates it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Condition {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Condition {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        internal_err!("{} is for the planner", self.name)
    }
}

/// What is made of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Rounding {
    None,
    NextMicrosecond,
    /// The day that begins after it.
    NextDay,
    /// The day that begins with it, or after it.
    DayOrNext,
}

/// A time moved and rounded; one beyond all times stays at the last.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Moved {
    by_us: i64,
    rounding: Rounding,
    signature: Signature,
}

impl Moved {
    fn of(&self, time: i64) -> i64 {
        let time = time.saturating_add(self.by_us);
        let day = time.div_euclid(DAY_US).saturating_mul(DAY_US);
        match self.rounding {
            Rounding::None => time,
            Rounding::NextMicrosecond => time.saturating_add(1),
            Rounding::NextDay => day.saturating_add(DAY_US),
            Rounding::DayOrNext if day == time => day,
            Rounding::DayOrNext => day.saturating_add(DAY_US),
        }
    }
}

impl ScalarUDFImpl for Moved {
    fn name(&self) -> &str {
        "clock_time"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(timestamp())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let rows = args.number_rows;
        let Some(time) = args.args.into_iter().next() else {
            return internal_err!("clock_time without argument");
        };
        let time = time.into_array(rows)?;
        let times = time.as_primitive::<TimestampMicrosecondType>();
        let moved: TimestampMicrosecondArray = times.unary(|time| self.of(time));
        let moved: ArrayRef = Arc::new(moved);
        Ok(ColumnarValue::Array(moved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moved_and_rounded() {
        let moved = |by_us, rounding, time| {
            let signature = Signature::any(1, Volatility::Immutable);
            let moved = Moved {
                by_us,
                rounding,
                signature,
            };
            moved.of(time)
        };
        assert_eq!(moved(5, Rounding::None, 1), 6);
        assert_eq!(moved(0, Rounding::NextMicrosecond, i64::MAX), i64::MAX);
        assert_eq!(moved(0, Rounding::NextDay, DAY_US), 2 * DAY_US);
        assert_eq!(moved(0, Rounding::DayOrNext, DAY_US), DAY_US);
        assert_eq!(moved(1, Rounding::DayOrNext, DAY_US), 2 * DAY_US);
        assert_eq!(moved(0, Rounding::DayOrNext, -1), 0);
        assert_eq!(moved(0, Rounding::NextDay, -DAY_US - 1), -DAY_US);
    }
}
