//! Functions of arrays and maps.

use sqlparser::ast::{BinaryOperator, Expr as SqlExpr};

use super::super::postgres::{call_of, function};
use super::Written;
use super::write::{bigint, case, cast_to, compared, number, renamed, text};

pub(super) const TABLE: &[Written] = &[
    // DataFusion's take the first of several only.
    ("array_remove", |args| match args {
        [_, _] => renamed("array_remove_all", args),
        _ => None,
    }),
    ("array_replace", |args| match args {
        [_, _, _] => renamed("array_replace_all", args),
        _ => None,
    }),
    // Numbers with a sign, by which an element may be taken.
    ("cardinality", |args| match args {
        [_] => Some(cast_to(renamed("cardinality", args)?, bigint())),
        _ => None,
    }),
    ("array_position", |args| match args {
        [_, _, ..] => Some(cast_to(renamed("array_position", args)?, bigint())),
        _ => None,
    }),
    ("array_length", length),
    ("array_upper", length),
    ("array_lower", lower),
    ("array_dims", dimensions),
    ("slice", |args| match args {
        [_, _, _] => renamed("array_slice", args),
        _ => None,
    }),
    ("array_fill", fill),
    ("trim_array", trim),
    ("map_from_arrays", map),
    ("as_map", map),
];

/// An empty one has none.
fn length(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [list, dimension] = args else {
        return None;
    };
    let length = cast_to(function("array_length", [list, dimension]), bigint());
    let some = compared(&length, BinaryOperator::Gt, &number("0"));
    Some(case(vec![(some, length)], None))
}

fn lower(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [list, dimension] = args else {
        return None;
    };
    let length = function("array_length", [list, dimension]);
    let some = compared(&length, BinaryOperator::Gt, &number("0"));
    Some(case(vec![(some, number("1"))], None))
}

/// As PostgreSQL writes them: `[1:2]`.
fn dimensions(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [list] = args else {
        return None;
    };
    let length = call_of("array_length", vec![list.clone(), number("1")]);
    let some = compared(&length, BinaryOperator::Gt, &number("0"));
    let lengths = call_of("__list_lengths", vec![list.clone()]);
    let lengths = call_of("array_to_string", vec![lengths, text("][1:")]);
    let all = call_of("concat", vec![text("[1:"), lengths, text("]")]);
    Some(case(vec![(some, all)], None))
}

/// Of one dimension.
fn fill(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [value, SqlExpr::Array(lengths)] = args else {
        return None;
    };
    match lengths.elem.as_slice() {
        [length] => Some(function("array_repeat", [value, length])),
        _ => None,
    }
}

fn trim(args: &[SqlExpr]) -> Option<SqlExpr> {
    let [list, count] = args else {
        return None;
    };
    let length = cast_to(call_of("cardinality", vec![list.clone()]), bigint());
    let last = call_of("__trimmed", vec![length, count.clone()]);
    Some(call_of(
        "array_slice",
        vec![list.clone(), number("1"), last],
    ))
}

fn map(args: &[SqlExpr]) -> Option<SqlExpr> {
    match args {
        [_, _] => renamed("map", args),
        _ => None,
    }
}
