//! Conditions of a join that bound the time between two rows: `a.at >= b.at AND a.at < b.at + INTERVAL '1 hour'`.
//!
//! A comparison of a timestamp of each side, moved by intervals of a fixed length, is a bound on `right - left`; months have
//! none. The bounds of one pair of columns make a range, by which the engine finds matches; the others stay conditions.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, Operator, binary_expr};

/// µs of a day.
const DAY_US: i64 = 86_400_000_000;

/// `least <= right - left <= most`, µs.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub left: Column,
    pub right: Column,
    pub least: Option<i64>,
    pub most: Option<i64>,
}

/// A bound that one condition says.
struct Bound {
    left: Column,
    right: Column,
    least: Option<i64>,
    most: Option<i64>,
}

/// The parts of a condition that hold all together.
pub(super) fn conjuncts(filter: Option<&Expr>) -> Vec<Expr> {
    let mut parts = Vec::new();
    let mut open: Vec<Expr> = filter.into_iter().cloned().collect();
    while let Some(expr) = open.pop() {
        match expr {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::And,
                right,
            }) => {
                open.push(*right);
                open.push(*left);
            }
            Expr::Between(Between {
                expr,
                negated: false,
                low,
                high,
            }) => {
                open.push(binary_expr(expr.as_ref().clone(), Operator::LtEq, *high));
                open.push(binary_expr(*expr, Operator::GtEq, *low));
            }
            Expr::Literal(ScalarValue::Boolean(Some(true)), _) => {}
            other => parts.push(other),
        }
    }
    parts
}

/// Takes the range that most of `conditions` bound out of them.
pub(super) fn take_range(
    conditions: &mut Vec<Expr>,
    left: &DFSchema,
    right: &DFSchema,
) -> Option<Range> {
    let bounds: Vec<Option<Bound>> = conditions
        .iter()
        .map(|condition| bound(condition, left, right))
        .collect();
    let same = |one: &Bound, other: &Bound| one.left == other.left && one.right == other.right;
    let support = |one: &Bound| {
        bounds
            .iter()
            .flatten()
            .filter(|other| same(one, other))
            .count()
    };
    // The first of those that are bounded most often.
    let mut best: Option<&Bound> = None;
    for bound in bounds.iter().flatten() {
        if best.is_none_or(|best| support(bound) > support(best)) {
            best = Some(bound);
        }
    }
    let best = best?;
    let mut range = Range {
        left: best.left.clone(),
        right: best.right.clone(),
        least: None,
        most: None,
    };
    let mut taken = Vec::with_capacity(bounds.len());
    for bound in &bounds {
        let bound = bound.as_ref().filter(|bound| same(best, bound));
        if let Some(bound) = bound {
            range.least = range.least.max(bound.least);
            range.most = match (range.most, bound.most) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        taken.push(bound.is_some());
    }
    let mut taken = taken.into_iter();
    conditions.retain(|_| !taken.next().unwrap_or(false));
    Some(range)
}

/// What a condition says of the time between two rows, if it says nothing else.
fn bound(condition: &Expr, left: &DFSchema, right: &DFSchema) -> Option<Bound> {
    let Expr::BinaryExpr(comparison) = condition else {
        return None;
    };
    let (first, first_us) = moved(&comparison.left)?;
    let (second, second_us) = moved(&comparison.right)?;
    let of = |schema: &DFSchema, column: &Column| schema.has_column(column);
    let (from_left, op) = match (of(left, first), of(right, second)) {
        (true, true) => (true, comparison.op),
        _ if of(right, first) && of(left, second) => (false, comparison.op.swap()?),
        _ => return None,
    };
    // left + left_us  op  right + right_us
    let (left_column, left_us, right_column, right_us) = if from_left {
        (first, first_us, second, second_us)
    } else {
        (second, second_us, first, first_us)
    };
    let type_of = |schema: &DFSchema, column: &Column| {
        let data_type = Expr::Column(column.clone()).get_type(schema).ok()?;
        matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _)).then_some(data_type)
    };
    if type_of(left, left_column)? != type_of(right, right_column)? {
        return None;
    }
    let between = left_us.checked_sub(right_us)?;
    let (least, most) = match op {
        Operator::LtEq => (Some(between), None),
        Operator::Lt => (Some(between.checked_add(1)?), None),
        Operator::GtEq => (None, Some(between)),
        Operator::Gt => (None, Some(between.checked_sub(1)?)),
        _ => return None,
    };
    Some(Bound {
        left: left_column.clone(),
        right: right_column.clone(),
        least,
        most,
    })
}

/// A column and how far it is moved, µs.
fn moved(expr: &Expr) -> Option<(&Column, i64)> {
    match expr {
        Expr::Column(column) => Some((column, 0)),
        Expr::Alias(alias) => moved(&alias.expr),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Plus,
            right,
        }) => {
            let ((column, us), by) = match (moved(left), moved(right)) {
                (Some(moved), _) => (moved, fixed_us(right)?),
                (_, Some(moved)) => (moved, fixed_us(left)?),
                _ => return None,
            };
            Some((column, us.checked_add(by)?))
        }
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Minus,
            right,
        }) => {
            let (column, us) = moved(left)?;
            Some((column, us.checked_sub(fixed_us(right)?)?))
        }
        _ => None,
    }
}

/// The length of an interval that always has the same one, µs.
fn fixed_us(expr: &Expr) -> Option<i64> {
    let value = match expr {
        Expr::Literal(value, _) => value,
        Expr::Cast(cast)
            if cast.field.data_type() == &DataType::Interval(IntervalUnit::MonthDayNano) =>
        {
            return fixed_us(&cast.expr);
        }
        Expr::Negative(inner) => return fixed_us(inner)?.checked_neg(),
        _ => return None,
    };
    match value {
        ScalarValue::IntervalMonthDayNano(Some(value)) => {
            let exact = value.months == 0 && value.nanoseconds % 1000 == 0;
            let days = i64::from(value.days).checked_mul(DAY_US)?;
            exact.then(|| days.checked_add(value.nanoseconds / 1000))?
        }
        ScalarValue::IntervalDayTime(Some(value)) => {
            let days = i64::from(value.days).checked_mul(DAY_US)?;
            days.checked_add(i64::from(value.milliseconds) * 1000)
        }
        ScalarValue::DurationMicrosecond(Some(value)) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, IntervalMonthDayNano, Schema};
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn side(name: &str) -> DFSchema {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let fields = vec![
            Field::new("at", time.clone(), true),
            Field::new("until", time, true),
            Field::new("x", DataType::Int64, true),
        ];
        DFSchema::try_from_qualified_schema(name, &Arc::new(Schema::new(fields))).unwrap()
    }

    fn interval(months: i32, days: i32, seconds: i64) -> Expr {
        let value = IntervalMonthDayNano::new(months, days, seconds * 1_000_000_000);
        lit(ScalarValue::IntervalMonthDayNano(Some(value)))
    }

    type Bounds = (String, Option<i64>, Option<i64>);

    fn range(filter: Expr) -> (Option<Bounds>, usize) {
        let mut conditions = conjuncts(Some(&filter));
        let range = take_range(&mut conditions, &side("a"), &side("b"));
        let range = range.map(|range| {
            let columns = format!("{} {}", range.left, range.right);
            (columns, range.least, range.most)
        });
        (range, conditions.len())
    }

    #[test]
    fn both_directions_and_both_sides_say_the_same() {
        let hour = 3_600_000_000;
        let wanted = Some(("a.at b.at".to_owned(), Some(1 - hour), Some(0)));
        let later = col("b.at") + interval(0, 0, 3600);
        let one = col("a.at")
            .gt_eq(col("b.at"))
            .and(col("a.at").lt(later.clone()));
        assert_eq!(range(one), (wanted.clone(), 0));
        let other = col("b.at").lt_eq(col("a.at")).and(later.gt(col("a.at")));
        assert_eq!(range(other), (wanted.clone(), 0));
        let moved = (col("a.at") - interval(0, 0, 3600)).lt(col("b.at"));
        let moved = moved.and(col("b.at").lt_eq(col("a.at"))).and(lit(true));
        assert_eq!(range(moved), (wanted, 0));
        let between = col("a.at").between(
            col("b.at") - interval(0, 1, 0),
            interval(0, 0, 5) + col("b.at"),
        );
        let wanted = Some(("a.at b.at".to_owned(), Some(-5_000_000), Some(24 * hour)));
        assert_eq!(range(between), (wanted, 0));
    }

    #[test]
    fn what_bounds_no_time_stays_a_condition() {
        let month = col("a.at").lt(col("b.at") + interval(1, 0, 0));
        assert_eq!(range(month), (None, 1));
        assert_eq!(range(col("a.x").lt(col("b.x"))), (None, 1));
        assert_eq!(range(col("a.at").lt(col("a.until"))), (None, 1));
        assert_eq!(
            range(col("a.at").not_between(col("b.at"), col("b.until"))),
            (None, 1)
        );
        // Two columns of one side: the pair that comes first, the other one is a condition.
        let within = col("a.at").between(col("b.at"), col("b.until"));
        let wanted = Some(("a.at b.at".to_owned(), None, Some(0)));
        assert_eq!(range(within), (wanted, 1));
        // The narrowest of several bounds.
        let twice = col("a.at")
            .gt(col("b.at"))
            .and(col("a.at").gt(col("b.at") + interval(0, 0, 1)));
        let wanted = Some(("a.at b.at".to_owned(), None, Some(-1_000_001)));
        assert_eq!(range(twice), (wanted, 0));
    }
}
