//! Expressions as they would have been written: what the tables of this folder put together.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType as SqlType, Expr as SqlExpr, TimezoneInfo,
    UnaryOperator, Value,
};

use super::super::postgres::call_of;

pub(super) fn text(text: &str) -> SqlExpr {
    SqlExpr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

pub(in crate::plan) fn number(number: &str) -> SqlExpr {
    SqlExpr::Value(Value::Number(number.to_owned(), false).into())
}

pub(super) fn null() -> SqlExpr {
    SqlExpr::Value(Value::Null.into())
}

pub(super) fn text_of(expr: &SqlExpr) -> Option<&str> {
    match expr {
        SqlExpr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn nested(expr: SqlExpr) -> SqlExpr {
    SqlExpr::Nested(Box::new(expr))
}

pub(super) fn cast_to(expr: SqlExpr, data_type: SqlType) -> SqlExpr {
    SqlExpr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

/// TIMESTAMP.
pub(super) fn timestamp() -> SqlType {
    SqlType::Timestamp(None, TimezoneInfo::None)
}

/// TIMESTAMPTZ.
pub(super) fn instant() -> SqlType {
    SqlType::Timestamp(None, TimezoneInfo::Tz)
}

pub(super) fn bigint() -> SqlType {
    SqlType::BigInt(None)
}

pub(super) fn integer() -> SqlType {
    SqlType::Integer(None)
}

/// `left op right`, in parentheses; both stand for themselves.
pub(super) fn compared(left: &SqlExpr, op: BinaryOperator, right: &SqlExpr) -> SqlExpr {
    nested(SqlExpr::BinaryOp {
        left: Box::new(nested(left.clone())),
        op,
        right: Box::new(nested(right.clone())),
    })
}

pub(super) fn negated(expr: &SqlExpr) -> SqlExpr {
    nested(SqlExpr::UnaryOp {
        op: UnaryOperator::Minus,
        expr: Box::new(nested(expr.clone())),
    })
}

pub(super) fn case(cases: Vec<(SqlExpr, SqlExpr)>, otherwise: Option<SqlExpr>) -> SqlExpr {
    cases_of(None, cases, otherwise)
}

/// `CASE operand WHEN … THEN … ELSE … END`.
pub(super) fn cases_of(
    operand: Option<SqlExpr>,
    cases: Vec<(SqlExpr, SqlExpr)>,
    otherwise: Option<SqlExpr>,
) -> SqlExpr {
    let conditions = cases.into_iter();
    let conditions = conditions.map(|(condition, result)| CaseWhen { condition, result });
    SqlExpr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: operand.map(Box::new),
        conditions: conditions.collect(),
        else_result: otherwise.map(Box::new),
    }
}

/// The same arguments to another function.
pub(super) fn renamed(name: &str, args: &[SqlExpr]) -> Option<SqlExpr> {
    Some(call_of(name, args.to_vec()))
}

/// The first of the texts that a pattern found.
pub(in crate::plan) fn first_match(found: SqlExpr) -> SqlExpr {
    call_of("array_element", vec![found, number("1")])
}
