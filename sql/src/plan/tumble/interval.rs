//! Lengths of time: of the text as µs, and as text.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

pub(crate) const MILLISECOND_US: i64 = 1_000;
const DAY_US: i64 = 86_400_000_000;

/// The length of an interval literal of fixed length, µs.
pub(crate) fn interval_us(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) if value.months == 0 => {
            let days = i64::from(value.days).checked_mul(DAY_US)?;
            days.checked_add(value.nanoseconds / 1_000)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(value)), _) => {
            let days = i64::from(value.days).checked_mul(DAY_US)?;
            days.checked_add(i64::from(value.milliseconds) * MILLISECOND_US)
        }
        Expr::Alias(alias) => interval_us(&alias.expr),
        _ => None,
    }
}

/// `1 hour`, `90 minutes`, `1 day`.
pub(crate) fn interval_text(us: i64) -> String {
    let units = [
        (DAY_US, "day"),
        (3_600_000_000, "hour"),
        (60_000_000, "minute"),
        (1_000_000, "second"),
        (1_000, "millisecond"),
        (1, "microsecond"),
    ];
    let (unit_us, unit) = units
        .into_iter()
        .find(|(unit_us, _)| us % unit_us == 0)
        .unwrap_or((1, "microsecond"));
    let count = us / unit_us;
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}
