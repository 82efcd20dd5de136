//! Functions of numbers.

use sqlparser::ast::{BinaryOperator, DataType as SqlType, ExactNumberInfo, Expr as SqlExpr};

use super::super::postgres::function;
use super::Written;
use super::write::{cast_to, compared, renamed, text_of};

pub(super) const TABLE: &[Written] = &[
    ("mod", |args| match args {
        [left, right] => Some(compared(left, BinaryOperator::Modulo, right)),
        _ => None,
    }),
    ("div", |args| match args {
        [left, right] => {
            let rest = compared(left, BinaryOperator::Modulo, right);
            let whole = compared(left, BinaryOperator::Minus, &rest);
            Some(compared(&whole, BinaryOperator::Divide, right))
        }
        _ => None,
    }),
    ("ceiling", |args| match args {
        [_] => renamed("ceil", args),
        _ => None,
    }),
    ("truncate", |args| match args {
        [_] | [_, _] => renamed("trunc", args),
        _ => None,
    }),
    ("to_number", to_number),
];

/// Digits of a DECIMAL.
const DIGITS_MAX: u64 = 38;

/// By PostgreSQL's pattern, which says how many digits are behind the point.
fn to_number(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [value, pattern] = args else {
        return None;
    };
    let written = text_of(pattern)?.to_ascii_uppercase();
    let behind = written
        .split_once(['.', 'D'])
        .map_or("", |(_, behind)| behind);
    let digits = behind.bytes().filter(|byte| matches!(byte, b'9' | b'0'));
    let digits = u64::try_from(digits.count()).ok()?.min(DIGITS_MAX);
    let digits = i64::try_from(digits).ok()?;
    let number = function("__to_number", [value, pattern]);
    let exact = ExactNumberInfo::PrecisionAndScale(DIGITS_MAX, digits);
    Some(cast_to(number, SqlType::Decimal(exact)))
}
