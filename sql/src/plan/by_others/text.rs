//! Functions of texts, and of conditions.

use sqlparser::ast::{
    BinaryOperator, DataType as SqlType, Expr as SqlExpr, FunctionArguments, ObjectNamePart,
};

use super::super::postgres::{call_of, function};
use super::Written;
use super::write::{
    case, cases_of, cast_to, compared, first_match, nested, null, number, renamed, text, text_of,
};

pub(super) const TABLE: &[Written] = &[
    ("ucase", |args| of_one("upper", args)),
    ("lcase", |args| of_one("lower", args)),
    ("len", |args| of_one("length", args)),
    ("startswith", |args| of_two("starts_with", args)),
    ("endswith", |args| of_two("ends_with", args)),
    ("elt", elt),
    ("field", field),
    ("if", choice),
    ("encode", encode),
    ("decode", decode),
    ("format", format),
    ("regexp", regexp),
    ("regexp_extract", regexp_extract),
    ("regexp_substr", regexp_substr),
    ("regexp_split_to_array", regexp_split),
    ("regexp_replace", regexp_replace),
];

fn of_one(name: &str, args: &[SqlExpr]) -> Option<SqlExpr> {
    renamed(name, args).filter(|_| args.len() == 1)
}

fn of_two(name: &str, args: &[SqlExpr]) -> Option<SqlExpr> {
    renamed(name, args).filter(|_| args.len() == 2)
}

/// The n-th of the texts behind.
fn elt(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [place, first, others @ ..] = args else {
        return None;
    };
    let all = std::iter::once(first).chain(others);
    let cases = (1..).zip(all);
    let cases = cases.map(|(place, value): (usize, _)| (number(&place.to_string()), value.clone()));
    Some(cases_of(Some(nested(place.clone())), cases.collect(), None))
}

/// Which of the values behind is equal to the first, from 1; 0 without.
fn field(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [wanted, first, others @ ..] = args else {
        return None;
    };
    let all = std::iter::once(first).chain(others);
    let cases = all.zip(1..);
    let cases = cases.map(|(value, place): (_, usize)| (value.clone(), number(&place.to_string())));
    let operand = Some(nested(wanted.clone()));
    Some(cases_of(operand, cases.collect(), Some(number("0"))))
}

fn choice(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [condition, then, otherwise] = args else {
        return None;
    };
    let cases = vec![(condition.clone(), then.clone())];
    Some(case(cases, Some(otherwise.clone())))
}

/// Whether an expression is a digest, whose text is of digits where PostgreSQL has bytes.
fn is_digest(expr: &SqlExpr) -> bool {
    let SqlExpr::Function(call) = expr else {
        return false;
    };
    let name = call.name.0.last().and_then(ObjectNamePart::as_ident);
    let is_one = |name: &str| ["sha224", "sha256", "sha384", "sha512"].contains(&name);
    name.is_some_and(|name| is_one(&name.value.to_lowercase()))
        && matches!(call.args, FunctionArguments::List(_))
}

fn encode(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [bytes, format] = args else {
        return None;
    };
    let written = text_of(format)?.to_lowercase();
    if is_digest(bytes) {
        // Of bytes it is bytes, of a text digits already.
        let digits = call_of("__digits", vec![bytes.clone()]);
        return Some(match written.as_str() {
            "hex" => digits,
            _ => {
                let bytes = function("decode", [&digits, &text("hex")]);
                function("encode", [&bytes, &text(coding(&written))])
            }
        });
    }
    (written == "base64").then(|| function("encode", [bytes, &text(coding(&written))]))
}

fn decode(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [bytes, format] = args else {
        return None;
    };
    let written = text_of(format)?.to_lowercase();
    (written == "base64").then(|| function("decode", [bytes, &text(coding(&written))]))
}

/// The library's name of a coding.
fn coding(name: &str) -> &str {
    match name {
        "base64" => "base64pad",
        other => other,
    }
}

fn format(args: &[SqlExpr]) -> Option<SqlExpr> {
    let (pattern, values) = args.split_first()?;
    let values = values
        .iter()
        .map(|value| cast_to(value.clone(), SqlType::Text));
    let args = std::iter::once(pattern.clone()).chain(values).collect();
    Some(call_of("format", args))
}

fn regexp(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [value, pattern] = args else {
        return None;
    };
    Some(compared(value, BinaryOperator::PGRegexMatch, pattern))
}

/// Flink's: a group of the first match, 0 is all of it, as without a number.
fn regexp_extract(args: &[SqlExpr]) -> Option<SqlExpr> {
    let (value, pattern, place) = match args {
        [value, pattern] => return regexp_substr(&[value.clone(), pattern.clone()]),
        [value, pattern, place] => (value, pattern, place),
        _ => return None,
    };
    let groups = call_of("regexp_match", vec![value.clone(), in_group(pattern)]);
    let behind = compared(place, BinaryOperator::Plus, &number("1"));
    Some(call_of("array_element", vec![groups, behind]))
}

/// A pattern whose first group is all of it.
fn in_group(pattern: &SqlExpr) -> SqlExpr {
    let concat = |left, right| SqlExpr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::StringConcat,
        right: Box::new(right),
    };
    concat(concat(text("("), nested(pattern.clone())), text(")"))
}

fn regexp_substr(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [value, pattern] = args else {
        return None;
    };
    let groups = call_of("regexp_match", vec![value.clone(), in_group(pattern)]);
    Some(first_match(groups))
}

fn regexp_split(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [value, pattern, flags @ ..] = args else {
        return None;
    };
    if flags.is_empty() && text_of(pattern) == Some("") {
        return Some(function("string_to_array", [value, &null()]));
    }
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

fn regexp_replace(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [value, pattern, with, flags @ ..] = args else {
        return None;
    };
    let written = text_of(with)?;
    let own = replacement(written);
    if own == written {
        return None;
    }
    let mut args = vec![value.clone(), pattern.clone(), text(&own)];
    args.extend(flags.iter().cloned());
    Some(call_of("regexp_replace", args))
}

/// What `regexp_replace` puts in the place of a match, as the library has it: `\&` is the whole match, `$` a letter as others.
fn replacement(text: &str) -> String {
    text.replace('$', "$$").replace("\\&", "${0}")
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
}
