//! What PostgreSQL has and DataFusion has not, written by what both have, before the binder sees it.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType as SqlType, ExactNumberInfo, Expr as SqlExpr,
    TimezoneInfo, Value, ValueWithSpan,
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
        // An empty one has none.
        ("array_length" | "array_upper", [list, dimension]) => {
            let length = function("array_length", [list, dimension]);
            let length = cast_to(length, SqlType::BigInt(None));
            let some = compared(&length, BinaryOperator::Gt, &number("0"));
            Some(case(vec![(some, length)], None))
        }
        // Numbers with a sign, by which an element may be taken.
        ("cardinality", [_]) | ("array_position", [_, _, ..]) => {
            let place = call_of(name, args.to_vec());
            Some(cast_to(place, SqlType::BigInt(None)))
        }
        ("array_lower", [list, dimension]) => {
            let length = function("array_length", [list, dimension]);
            let some = compared(&length, BinaryOperator::Gt, &number("0"));
            Some(case(vec![(some, number("1"))], None))
        }
        ("trim_array", [list, count]) => {
            let length = call_of("cardinality", vec![list.clone()]);
            let length = cast_to(length, SqlType::BigInt(None));
            let kept = compared(&length, BinaryOperator::Minus, count);
            Some(call_of(
                "array_slice",
                vec![
                    list.clone(),
                    number("1"),
                    cast_to(kept, SqlType::BigInt(None)),
                ],
            ))
        }
        ("array_fill", [value, SqlExpr::Array(lengths)]) => match lengths.elem.as_slice() {
            [length] => Some(function("array_repeat", [value, length])),
            _ => None,
        },
        ("ceiling", [_]) => renamed("ceil"),
        ("num_nulls", [_, ..]) => Some(counted(args, true)),
        ("num_nonnulls", [_, ..]) => Some(counted(args, false)),
        ("width_bucket", [value, low, high, count]) => Some(bucket(value, low, high, count)),
        ("make_timestamp", [year, month, day, hour, minute, second]) => {
            let parts = [year, month, day, hour, minute, second];
            let marks = ["-", "-", " ", ":", ":"];
            let mut written = vec![year.clone()];
            for (part, mark) in parts[1..].iter().zip(marks) {
                written.extend([text(mark), (*part).clone()]);
            }
            // NULL where one part is.
            let any = parts[1..].iter().fold(
                SqlExpr::IsNull(Box::new(nested(year.clone()))),
                |any, part| {
                    let null = SqlExpr::IsNull(Box::new(nested((*part).clone())));
                    compared(&any, BinaryOperator::Or, &null)
                },
            );
            let time = cast_to(
                call_of("concat", written),
                SqlType::Timestamp(None, TimezoneInfo::None),
            );
            let null = SqlExpr::Value(Value::Null.into());
            Some(case(vec![(any, null)], Some(time)))
        }
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
        ("regexp_split_to_array", [value, pattern]) if text_of(pattern) == Some("") => {
            let null = SqlExpr::Value(Value::Null.into());
            Some(function("string_to_array", [value, &null]))
        }
        ("regexp_replace", [value, pattern, with, flags @ ..]) => {
            let written = text_of(with)?;
            let own = replacement(written);
            if own == written {
                return None;
            }
            let mut args = vec![value.clone(), pattern.clone(), text(&own)];
            args.extend(flags.iter().cloned());
            Some(call_of("regexp_replace", args))
        }
        ("regexp_split_to_array", [value, pattern, flags @ ..]) => {
            let flags = match flags {
                [] => "g".to_owned(),
                [flags] => format!("g{}", text_of(flags)?),
                _ => return None,
            };
            let between = text("\u{1}");
            let parts = call_of(
                "regexp_replace",
                vec![
                    value.clone(),
                    pattern.clone(),
                    between.clone(),
                    text(&flags),
                ],
            );
            let parts = function("string_to_array", [&parts, &between]);
            // Of an empty text there is one part.
            let empty = compared(value, BinaryOperator::Eq, &text(""));
            let one = call_of("make_array", vec![text("")]);
            Some(case(vec![(empty, one)], Some(parts)))
        }
        ("to_timestamp", [value, pattern]) if !text_of(pattern)?.contains('%') => {
            Some(function(TIME_BY_PATTERN, [value, pattern]))
        }
        ("to_date", [value, pattern]) if !text_of(pattern)?.contains('%') => {
            let time = function(TIME_BY_PATTERN, [value, pattern]);
            Some(cast_to(time, SqlType::Date))
        }
        ("if", [condition, then, otherwise]) => {
            let cases = vec![(condition.clone(), then.clone())];
            Some(case(cases, Some(otherwise.clone())))
        }
        ("ucase", [_]) => renamed("upper"),
        ("lcase", [_]) => renamed("lower"),
        ("len", [_]) => renamed("length"),
        ("regexp_extract", [value, pattern, place]) => {
            let groups = function("regexp_match", [value, pattern]);
            Some(call_of("array_element", vec![groups, place.clone()]))
        }
        ("date_format", [time, pattern]) if text_of(pattern)?.contains('%') => {
            Some(function("strftime", [time, pattern]))
        }
        ("from_unixtime", [seconds, pattern]) => {
            let time = call_of("from_unixtime", vec![seconds.clone()]);
            Some(function("date_format", [&time, pattern]))
        }
        ("timestampdiff", [SqlExpr::Identifier(unit), from, to]) => {
            let months = match unit.value.to_lowercase().as_str() {
                "month" => Some("1"),
                "quarter" => Some("3"),
                "year" => Some("12"),
                _ => None,
            };
            if let Some(months) = months {
                return Some(months_between(from, to, months));
            }
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
            let time = |time: &SqlExpr| {
                cast_to(time.clone(), SqlType::Timestamp(None, TimezoneInfo::None))
            };
            let between = op(time(to), BinaryOperator::Minus, time(from));
            let between = function("date_part", [&text("epoch"), &between]);
            let units = op(between, BinaryOperator::Divide, number(seconds));
            let whole = call_of("trunc", vec![units]);
            Some(cast_to(whole, SqlType::BigInt(None)))
        }
        ("date_trunc", [SqlExpr::Value(unit), _, ..]) if unit.value == Value::Null => {
            let null = SqlExpr::Value(Value::Null.into());
            Some(cast_to(null, SqlType::Timestamp(None, TimezoneInfo::None)))
        }
        ("date_trunc", [unit, time, zone]) => {
            let there = function("timezone", [zone, time]);
            let start = function("date_trunc", [unit, &there]);
            Some(function("timezone", [zone, &start]))
        }
        _ => None,
    }
}

/// How many of some values are NULL, or are not.
fn counted(values: &[SqlExpr], nulls: bool) -> SqlExpr {
    let one = values.iter().map(|value| {
        let value = Box::new(nested(value.clone()));
        let is_one = match nulls {
            true => SqlExpr::IsNull(value),
            false => SqlExpr::IsNotNull(value),
        };
        case(vec![(is_one, number("1"))], Some(number("0")))
    });
    let sum = one.reduce(|sum, one| compared(&sum, BinaryOperator::Plus, &one));
    nested(sum.unwrap_or_else(|| number("0")))
}

/// Into which of so many parts of equal width a value falls: 0 before the first, one more behind the last. The bounds may
/// stand the other way round.
fn bucket(value: &SqlExpr, low: &SqlExpr, high: &SqlExpr, count: &SqlExpr) -> SqlExpr {
    let op = |left: &SqlExpr, op, right: &SqlExpr| compared(left, op, right);
    let double = |expr: &SqlExpr| cast_to(expr.clone(), SqlType::Double(ExactNumberInfo::None));
    let behind = op(count, BinaryOperator::Plus, &number("1"));
    let within = |from: &SqlExpr, to: &SqlExpr| {
        let part = op(&double(value), BinaryOperator::Minus, &double(from));
        let parts = op(&part, BinaryOperator::Multiply, count);
        let width = op(&double(to), BinaryOperator::Minus, &double(from));
        let place = call_of("floor", vec![op(&parts, BinaryOperator::Divide, &width)]);
        let place = cast_to(place, SqlType::BigInt(None));
        op(&place, BinaryOperator::Plus, &number("1"))
    };
    let upward = case(
        vec![
            (op(value, BinaryOperator::Lt, low), number("0")),
            (op(value, BinaryOperator::GtEq, high), behind.clone()),
        ],
        Some(within(low, high)),
    );
    let downward = case(
        vec![
            (op(value, BinaryOperator::Gt, low), number("0")),
            (op(value, BinaryOperator::LtEq, high), behind),
        ],
        Some(within(low, high)),
    );
    let is_known = |expr: &SqlExpr| SqlExpr::IsNotNull(Box::new(nested(expr.clone())));
    let known = compared(&is_known(value), BinaryOperator::And, &is_known(count));
    let up = compared(
        &op(low, BinaryOperator::Lt, high),
        BinaryOperator::And,
        &known,
    );
    let down = compared(
        &op(low, BinaryOperator::Gt, high),
        BinaryOperator::And,
        &known,
    );
    nested(case(vec![(up, upward), (down, downward)], None))
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
            SqlExpr::Interval(_)
            | SqlExpr::Cast {
                data_type: SqlType::Interval { .. },
                ..
            } => SqlExpr::BinaryOp {
                left: Box::new(from.clone()),
                op: BinaryOperator::Plus,
                right: Box::new(to.clone()),
            },
            to => to.clone(),
        };
        let null = |end: &SqlExpr| SqlExpr::IsNull(Box::new(nested(end.clone())));
        let open = compared(&null(from), BinaryOperator::Or, &null(&to));
        let last = function("greatest", [from, &to]);
        let null = SqlExpr::Value(Value::Null.into());
        Some([
            function("least", [from, &to]),
            case(vec![(open, null)], Some(last)),
        ])
    };
    let [[from, to], [other_from, other_to]] = [ends(left)?, ends(right)?];
    let less = |left: &SqlExpr, right: &SqlExpr| compared(left, BinaryOperator::Lt, right);
    // No span ends before it begins: that is there for the NULL that an open end makes of it.
    let either = |one: SqlExpr, other: SqlExpr| compared(&one, BinaryOperator::Or, &other);
    let later = either(less(&from, &other_to), less(&to, &from));
    let earlier = either(less(&other_from, &to), less(&other_to, &other_from));
    let closed = |from, to| compared(to, BinaryOperator::GtEq, from);
    let both = compared(
        &closed(&from, &to),
        BinaryOperator::And,
        &closed(&other_from, &other_to),
    );
    let same = compared(&from, BinaryOperator::Eq, &other_from);
    let cases = vec![
        (less(&other_from, &from), later),
        (less(&from, &other_from), earlier),
        (same, both),
    ];
    Some(nested(case(cases, None)))
}

fn compared(left: &SqlExpr, op: BinaryOperator, right: &SqlExpr) -> SqlExpr {
    nested(SqlExpr::BinaryOp {
        left: Box::new(left.clone()),
        op,
        right: Box::new(right.clone()),
    })
}

fn case(cases: Vec<(SqlExpr, SqlExpr)>, otherwise: Option<SqlExpr>) -> SqlExpr {
    let conditions = cases.into_iter();
    let conditions = conditions.map(|(condition, result)| CaseWhen { condition, result });
    SqlExpr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: conditions.collect(),
        else_result: otherwise.map(Box::new),
    }
}

/// How many times so many whole months lie between two times.
fn months_between(from: &SqlExpr, to: &SqlExpr, months: &str) -> SqlExpr {
    let age = function("age", [to, from]);
    let part = |unit: &str| function("date_part", [&text(unit), &age]);
    let years = compared(&part("year"), BinaryOperator::Multiply, &number("12"));
    let all = compared(&years, BinaryOperator::Plus, &part("month"));
    let times = compared(&all, BinaryOperator::Divide, &number(months));
    cast_to(call_of("trunc", vec![times]), SqlType::BigInt(None))
}

/// `ts`, if a unit of time begins there, or the next time that one does: Calcite's `CEIL(ts TO unit)`.
pub(super) fn ceiling(time: &SqlExpr, unit: &str) -> SqlExpr {
    let start = function("date_trunc", [&text(unit), time]);
    let length = cast_to(
        text(&format!("1 {unit}")),
        SqlType::Interval {
            fields: None,
            precision: None,
        },
    );
    let next = compared(&start, BinaryOperator::Plus, &length);
    let begins = compared(&start, BinaryOperator::Eq, time);
    nested(case(vec![(begins, start)], Some(next)))
}

/// What `regexp_replace` puts in the place of a match, as the library has it: `\&` is the whole match, `$` a letter as others.
fn replacement(text: &str) -> String {
    text.replace('$', "$$").replace("\\&", "${0}")
}

/// An interval with `12:30:00` in it, without. `None`: there is none.
pub(super) fn without_clock(interval: &str) -> Option<String> {
    let mut found = false;
    let words = interval.split_whitespace().map(|word| {
        if !word.contains(':') {
            return Some(word.to_owned());
        }
        found = true;
        let (sign, clock) = match word.strip_prefix('-') {
            Some(clock) => ("-", clock),
            None => ("", word.strip_prefix('+').unwrap_or(word)),
        };
        let parts: Vec<&str> = clock.split(':').collect();
        let is_number = |part: &&str| {
            let digits = part.bytes().filter(|byte| *byte != b'.');
            part.bytes()
                .next()
                .is_some_and(|byte| byte.is_ascii_digit())
                && digits.clone().all(|byte| byte.is_ascii_digit())
                && part.len() - digits.count() <= 1
        };
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(is_number) {
            return None;
        }
        let units = ["hours", "minutes", "seconds"];
        let parts = parts.iter().zip(units);
        let parts = parts.map(|(number, unit)| format!("{sign}{number} {unit}"));
        Some(parts.collect::<Vec<_>>().join(" "))
    });
    let words = words.collect::<Option<Vec<String>>>()?;
    found.then(|| words.join(" "))
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
    fn what_stands_for_a_match_is_written_as_the_library_has_it() {
        for (own, written) in [("<\\&>", "<${0}>"), ("$1", "$$1"), ("\\1-\\2", "\\1-\\2")] {
            assert_eq!(replacement(own), written);
        }
    }

    #[test]
    fn clocks_in_intervals_are_hours_minutes_and_seconds() {
        for (text, written) in [
            (
                "1 day 12:30:00",
                Some("1 day 12 hours 30 minutes 00 seconds"),
            ),
            ("-01:02:03.5", Some("-01 hours -02 minutes -03.5 seconds")),
            ("+2:05", Some("2 hours 05 minutes")),
            ("1 day", None),
            ("1:2:3:4", None),
            ("a:b", None),
            ("12:", None),
        ] {
            assert_eq!(without_clock(text).as_deref(), written, "{text}");
        }
    }
}
