//! What PostgreSQL has and DataFusion has not, written by what both have, before the binder sees it.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType as SqlType, Expr as SqlExpr, TimezoneInfo, Value,
    ValueWithSpan,
};

use super::postgres::{call_of, function};
use super::time_pattern::TIME_BY_PATTERN;

/// A function of PostgreSQL's by others.
pub(super) fn by_others(name: &str, args: &[SqlExpr]) -> Option<SqlExpr> {
    let renamed = |name: &str| Some(call_of(name, args.to_vec()));
    match (name, args) {
        // DataFusion's take the first of several only.
        ("array_remove", [_, _]) => renamed("array_remove_all"),
        ("array_replace", [_, _, _]) => renamed("array_replace_all"),
        ("array_upper", [list, dimension]) => Some(function("array_length", [list, dimension])),
        ("encode", [bytes, format]) if text_of(format)?.eq_ignore_ascii_case("base64") => {
            Some(function("encode", [bytes, &text("base64pad")]))
        }
        ("decode", [bytes, format]) if text_of(format)?.eq_ignore_ascii_case("base64") => {
            Some(function("decode", [bytes, &text("base64pad")]))
        }
        ("div", [left, right]) => {
            let [left, right] = [left, right].map(|part| Box::new(nested(part.clone())));
            let op = |left, op, right| SqlExpr::BinaryOp { left, op, right };
            let rest = op(left.clone(), BinaryOperator::Modulo, right.clone());
            let whole = op(left, BinaryOperator::Minus, Box::new(nested(rest)));
            let quotient = op(Box::new(nested(whole)), BinaryOperator::Divide, right);
            Some(nested(quotient))
        }
        ("age", [time]) => {
            let today = cast_to(
                call_of("current_date", Vec::new()),
                SqlType::Timestamp(None, TimezoneInfo::None),
            );
            Some(function("age", [&today, time]))
        }
        ("format", [pattern, values @ ..]) => {
            let values = values
                .iter()
                .map(|value| cast_to(value.clone(), SqlType::Text));
            let args = std::iter::once(pattern.clone()).chain(values).collect();
            Some(call_of("format", args))
        }
        ("regexp_substr", [value, pattern]) => {
            let group = |sign| Box::new(text(sign));
            let concat = |left, right| SqlExpr::BinaryOp {
                left,
                op: BinaryOperator::StringConcat,
                right,
            };
            let open = concat(group("("), Box::new(nested(pattern.clone())));
            let whole = concat(Box::new(open), group(")"));
            Some(first_match(function("regexp_match", [value, &whole])))
        }
        ("regexp_split_to_array", [value, pattern]) => {
            let between = text("\u{1}");
            let parts = call_of(
                "regexp_replace",
                vec![value.clone(), pattern.clone(), between.clone(), text("g")],
            );
            Some(function("string_to_array", [&parts, &between]))
        }
        ("to_timestamp", [value, pattern]) if !text_of(pattern)?.contains('%') => {
            Some(function(TIME_BY_PATTERN, [value, pattern]))
        }
        ("to_date", [value, pattern]) if !text_of(pattern)?.contains('%') => {
            let time = function(TIME_BY_PATTERN, [value, pattern]);
            Some(cast_to(time, SqlType::Date))
        }
        ("if", [condition, then, otherwise]) => Some(SqlExpr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: vec![CaseWhen {
                condition: condition.clone(),
                result: then.clone(),
            }],
            else_result: Some(Box::new(otherwise.clone())),
        }),
        ("ucase", [_]) => renamed("upper"),
        ("lcase", [_]) => renamed("lower"),
        ("len", [_]) => renamed("length"),
        ("regexp_extract", [value, pattern, place]) => {
            let groups = function("regexp_match", [value, pattern]);
            Some(call_of("array_element", vec![groups, place.clone()]))
        }
        ("date_format", [time, pattern]) if !text_of(pattern)?.contains('%') => {
            let pattern = of_java(text_of(pattern)?);
            Some(function("to_char", [time, &text(&pattern)]))
        }
        ("timestampdiff", [SqlExpr::Identifier(unit), from, to]) => {
            let seconds = match unit.value.to_lowercase().as_str() {
                "second" => "1",
                "minute" => "60",
                "hour" => "3600",
                "day" => "86400",
                "week" => "604800",
                _ => return None,
            };
            let op = |left: SqlExpr, op, right: SqlExpr| SqlExpr::BinaryOp {
                left: Box::new(left),
                op,
                right: Box::new(right),
            };
            let between = op(
                nested(to.clone()),
                BinaryOperator::Minus,
                nested(from.clone()),
            );
            let between = function("date_part", [&text("epoch"), &between]);
            let units = op(between, BinaryOperator::Divide, number(seconds));
            let whole = call_of("trunc", vec![units]);
            Some(cast_to(whole, SqlType::BigInt(None)))
        }
        ("date_trunc", [unit, time, zone]) => {
            let there = function("timezone", [zone, time]);
            let start = function("date_trunc", [unit, &there]);
            Some(function("timezone", [zone, &start]))
        }
        _ => None,
    }
}

/// A pattern of Java's for times, as Flink and ksqlDB take it, as one of PostgreSQL's.
fn of_java(pattern: &str) -> String {
    const FIELDS: &[(&str, &str)] = &[
        ("yyyy", "YYYY"),
        ("yy", "YY"),
        ("MMMM", "FMMonth"),
        ("MMM", "Mon"),
        ("MM", "MM"),
        ("M", "FMMM"),
        ("dd", "DD"),
        ("d", "FMDD"),
        ("EEEE", "FMDay"),
        ("EEE", "Dy"),
        ("HH", "HH24"),
        ("H", "FMHH24"),
        ("hh", "HH12"),
        ("mm", "MI"),
        ("ss", "SS"),
        ("SSSSSS", "US"),
        ("SSS", "MS"),
        ("a", "AM"),
    ];
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(inside) = rest.strip_prefix('\'') {
            let end = inside.find('\'').unwrap_or(inside.len());
            out += &format!("\"{}\"", &inside[..end]);
            rest = inside.get(end + 1..).unwrap_or_default();
        } else if let Some((java, own)) = FIELDS.iter().find(|(java, _)| rest.starts_with(java)) {
            out += own;
            rest = &rest[java.len()..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// `(a, b) OVERLAPS (c, d)`: whether two spans of time have an instant in common; of each the ends come in any order, and the
/// second may be a length.
pub(super) fn overlap(left: &SqlExpr, right: &SqlExpr) -> Option<SqlExpr> {
    let ends = |span: &SqlExpr| {
        let SqlExpr::Tuple(ends) = span else {
            return None;
        };
        let [from, to] = ends.as_slice() else {
            return None;
        };
        let to = match to {
            SqlExpr::Interval(_) => SqlExpr::BinaryOp {
                left: Box::new(from.clone()),
                op: BinaryOperator::Plus,
                right: Box::new(to.clone()),
            },
            to => to.clone(),
        };
        Some([
            function("least", [from, &to]),
            function("greatest", [from, &to]),
        ])
    };
    let [[from, to], [other_from, other_to]] = [ends(left)?, ends(right)?];
    let compared = |left: &SqlExpr, op, right: &SqlExpr| SqlExpr::BinaryOp {
        left: Box::new(left.clone()),
        op,
        right: Box::new(right.clone()),
    };
    let joined = |left, op, right| {
        nested(SqlExpr::BinaryOp {
            left: Box::new(left),
            op,
            right: Box::new(right),
        })
    };
    let begins = compared(&from, BinaryOperator::Lt, &other_to);
    let ends = compared(&other_from, BinaryOperator::Lt, &to);
    let crossed = joined(begins, BinaryOperator::And, ends);
    let same = compared(&from, BinaryOperator::Eq, &other_from);
    Some(joined(crossed, BinaryOperator::Or, same))
}

/// Writes the pattern of a LIKE with an escape of its own with the backslash, the only one that DataFusion knows.
pub(super) fn escape_by_backslash(pattern: &mut SqlExpr, escape: &mut Option<ValueWithSpan>) {
    let sign = match escape.as_ref().map(|escape| &escape.value) {
        Some(Value::SingleQuotedString(sign)) => sign.clone(),
        _ => return,
    };
    let (Some(written), true) = (text_of(pattern), sign.chars().count() <= 1 && sign != "\\")
    else {
        return;
    };
    let mut out = String::new();
    let mut escaped = false;
    for char in written.chars() {
        if !escaped && sign.starts_with(char) {
            escaped = true;
            continue;
        }
        if escaped || char == '\\' {
            out.push('\\');
        }
        out.push(char);
        escaped = false;
    }
    *pattern = text(&out);
    *escape = None;
}

/// The first of the texts that a pattern found.
pub(super) fn first_match(found: SqlExpr) -> SqlExpr {
    call_of("array_element", vec![found, number("1")])
}

fn text(text: &str) -> SqlExpr {
    SqlExpr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

pub(super) fn number(number: &str) -> SqlExpr {
    SqlExpr::Value(Value::Number(number.to_owned(), false).into())
}

fn text_of(expr: &SqlExpr) -> Option<&str> {
    match expr {
        SqlExpr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a list is written here, or computed: between columns `&&` may also be C's AND.
pub(super) fn is_list(expr: &SqlExpr) -> bool {
    matches!(
        expr,
        SqlExpr::Array(_) | SqlExpr::Cast { .. } | SqlExpr::Function(_)
    )
}

pub(super) fn is_text(expr: &SqlExpr) -> bool {
    text_of(expr).is_some()
}

fn nested(expr: SqlExpr) -> SqlExpr {
    SqlExpr::Nested(Box::new(expr))
}

fn cast_to(expr: SqlExpr, data_type: SqlType) -> SqlExpr {
    SqlExpr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_java_are_written_as_those_of_postgresql() {
        for (java, own) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "YYYY-MM-DD HH24:MI:SS.MS"),
            ("EEE, d MMM yyyy hh:mm a", "Dy, FMDD Mon YYYY HH12:MI AM"),
            ("yyyy-MM-dd'T'HH", "YYYY-MM-DD\"T\"HH24"),
        ] {
            assert_eq!(of_java(java), own);
        }
    }
}
