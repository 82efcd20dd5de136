//! Parts of a query that PostgreSQL reads otherwise than DataFusion's binder, changed before it sees them.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, CeilFloorKind, CharacterLength, DataType as SqlType,
    DateTimeField, ExactNumberInfo, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, ObjectName, ObjectNamePart, Query,
    SelectItem, SetExpr, TimezoneInfo, UnaryOperator, Value, visit_expressions_mut,
};

use super::by_others::{
    by_others, by_units, ceiling, escape_by_backslash, first_match, is_list, is_text, number,
    overlap,
};
use super::grouped::write_out_sets;

/// PostgreSQL's name of a column that nothing names. Names are unique, so further ones are numbered.
const NAMELESS: &str = "?column?";

/// The longest VARCHAR, characters.
pub(crate) const LENGTH_MAX: u32 = 10_485_760;

/// Digits of a number that a DECIMAL holds.
const DECIMAL_DIGITS_MAX: usize = 38;

/// Writes `ts AT TIME ZONE zone` as the function that it is, numbers that no decimal holds as doubles, functions that
/// PostgreSQL has by those that are there, and casts to texts of a length as the cut that they make.
///
/// `is_own`: whether the catalog has a function of a name, which is then meant.
pub(super) fn rewrite_exprs(query: &mut Query, is_own: impl Fn(&str) -> bool) {
    let _: ControlFlow<()> = visit_expressions_mut(query, |expr| {
        match expr {
            SqlExpr::AtTimeZone {
                timestamp,
                time_zone,
            } => *expr = function("timezone", [&**time_zone, &**timestamp]),
            SqlExpr::Value(value) => {
                if let Value::Number(number, _) = &value.value {
                    let digits = number.bytes().filter(u8::is_ascii_digit).count();
                    if digits > DECIMAL_DIGITS_MAX || number.contains(['e', 'E']) {
                        *expr = double(number);
                    }
                }
            }
            // MySQL's words for what PostgreSQL has as operators.
            SqlExpr::RLike {
                negated,
                expr: text,
                pattern,
                ..
            } => {
                let op = if *negated {
                    BinaryOperator::PGRegexNotMatch
                } else {
                    BinaryOperator::PGRegexMatch
                };
                let (left, right) = (text.clone(), pattern.clone());
                *expr = SqlExpr::BinaryOp { left, op, right };
            }
            SqlExpr::GroupingSets(_) | SqlExpr::Rollup(_) | SqlExpr::Cube(_) => {
                write_out_sets(expr)
            }
            SqlExpr::BinaryOp {
                left,
                op: BinaryOperator::PGOverlap,
                right,
            } if is_list(left) || is_list(right) => {
                *expr = function("array_has_any", [&**left, &**right]);
            }
            SqlExpr::BinaryOp {
                left,
                op: BinaryOperator::Overlaps,
                right,
            } => {
                if let Some(overlap) = overlap(left, right) {
                    *expr = overlap;
                }
            }
            SqlExpr::UnaryOp {
                op: UnaryOperator::BitwiseNot,
                expr: bits,
            } => {
                *expr = SqlExpr::Nested(Box::new(SqlExpr::BinaryOp {
                    left: bits.clone(),
                    op: BinaryOperator::PGBitwiseXor,
                    right: Box::new(number("-1")),
                }));
            }
            SqlExpr::UnaryOp { op, expr: number } if by_name(*op).is_some() => {
                if let Some(name) = by_name(*op) {
                    *expr = call_of(name, vec![(**number).clone()]);
                }
            }
            SqlExpr::Identifier(word)
                if word.quote_style.is_none()
                    && word.value.eq_ignore_ascii_case("localtimestamp") =>
            {
                *expr = SqlExpr::Cast {
                    kind: CastKind::Cast,
                    expr: Box::new(call_of("now", Vec::new())),
                    data_type: SqlType::Timestamp(None, TimezoneInfo::None),
                    array: false,
                    format: None,
                };
            }
            SqlExpr::Like {
                pattern,
                escape_char,
                ..
            }
            | SqlExpr::ILike {
                pattern,
                escape_char,
                ..
            } => escape_by_backslash(pattern, escape_char),
            SqlExpr::Substring {
                expr: text,
                substring_from: Some(pattern),
                substring_for: None,
                ..
            } if is_text(pattern) => {
                *expr = first_match(function("regexp_match", [&**text, &**pattern]));
            }
            // Calcite's spelling of date_trunc.
            SqlExpr::Floor {
                expr: time,
                field: CeilFloorKind::DateTimeField(field),
            } if *field != DateTimeField::NoDateTime => {
                let unit = SqlExpr::Value(
                    Value::SingleQuotedString(field.to_string().to_lowercase()).into(),
                );
                *expr = function("date_trunc", [&unit, &**time]);
            }
            SqlExpr::Ceil {
                expr: time,
                field: CeilFloorKind::DateTimeField(field),
            } if *field != DateTimeField::NoDateTime => {
                *expr = ceiling(time, &field.to_string().to_lowercase());
            }
            SqlExpr::Interval(interval) if interval.leading_field.is_none() => {
                clock_read(&mut interval.value);
            }
            SqlExpr::Cast {
                expr: value,
                data_type: SqlType::Interval { .. },
                ..
            } => clock_read(value),
            SqlExpr::Function(call) => {
                let name = call.name.0.last().and_then(ObjectNamePart::as_ident);
                let is_own = name.is_some_and(|name| is_own(&name.value.to_lowercase()));
                if let (false, Some(written)) = (is_own, by_others(call)) {
                    *expr = written;
                }
            }
            SqlExpr::Cast {
                expr: value,
                data_type,
                kind,
                ..
            } => {
                if let Some((length @ 1.., pads)) = length_of(data_type) {
                    let text = SqlExpr::Cast {
                        kind: kind.clone(),
                        expr: value.clone(),
                        data_type: SqlType::Text,
                        array: false,
                        format: None,
                    };
                    *expr = shortened(text, length, pads);
                }
            }
            SqlExpr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: power,
            } if is_power(power) => {
                let mut power = std::mem::replace(&mut **power, SqlExpr::Value(Value::Null.into()));
                negate_base(&mut power);
                *expr = power;
            }
            // Bare, the sign would be put before the text, and be that of its first part alone.
            SqlExpr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: interval,
            } if matches!(**interval, SqlExpr::Interval(_)) => {
                let bare = std::mem::replace(&mut **interval, SqlExpr::Value(Value::Null.into()));
                **interval = SqlExpr::Nested(Box::new(bare));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
}

/// The function that a sign before a number is.
fn by_name(sign: UnaryOperator) -> Option<&'static str> {
    match sign {
        UnaryOperator::PGSquareRoot => Some("sqrt"),
        UnaryOperator::PGCubeRoot => Some("cbrt"),
        UnaryOperator::PGAbs => Some("abs"),
        _ => None,
    }
}

/// Writes out an interval by units.
fn clock_read(interval: &mut SqlExpr) {
    if let SqlExpr::Value(value) = interval
        && let Value::SingleQuotedString(text) = &mut value.value
        && let Some(written) = by_units(text)
    {
        *text = written;
    }
}

/// The length of a declared type of texts, and whether spaces at the end are no part of its values (CHAR).
pub(crate) fn length_of(data_type: &SqlType) -> Option<(u64, bool)> {
    let length = |length: &Option<CharacterLength>| match length {
        Some(CharacterLength::IntegerLength { length, .. }) => Some(*length),
        Some(CharacterLength::Max) | None => None,
    };
    match data_type {
        SqlType::Varchar(given)
        | SqlType::CharacterVarying(given)
        | SqlType::CharVarying(given)
        | SqlType::Nvarchar(given) => length(given).map(|length| (length, false)),
        SqlType::Char(given) | SqlType::Character(given) => {
            Some((length(given).unwrap_or(1), true))
        }
        _ => None,
    }
}

/// The first `length` characters of a text; of a CHAR without spaces at its end.
fn shortened(text: SqlExpr, length: u64, pads: bool) -> SqlExpr {
    let length = SqlExpr::Value(Value::Number(length.to_string(), false).into());
    let cut = call_of("left", vec![text, length]);
    if pads {
        call_of("rtrim", vec![cut])
    } else {
        cut
    }
}

/// Whether it is a power that no parentheses hold together.
fn is_power(expr: &SqlExpr) -> bool {
    matches!(
        expr,
        SqlExpr::BinaryOp {
            op: BinaryOperator::PGExp | BinaryOperator::BitwiseXor,
            ..
        }
    )
}

/// A sign binds closer than a power: `-2 ^ 2` is 4.
fn negate_base(power: &mut SqlExpr) {
    let mut base = power;
    while let SqlExpr::BinaryOp {
        left,
        op: BinaryOperator::PGExp | BinaryOperator::BitwiseXor,
        ..
    } = base
    {
        base = left;
    }
    let negated = std::mem::replace(base, SqlExpr::Value(Value::Null.into()));
    *base = SqlExpr::UnaryOp {
        op: UnaryOperator::Minus,
        expr: Box::new(negated),
    };
}

/// Lets numbers and texts of VALUES that go to a column of floats be floats, so that each is read exactly.
pub(crate) fn floats_in(query: &mut Query, is_float: &[bool]) {
    let SetExpr::Values(values) = &mut *query.body else {
        return;
    };
    for row in &mut values.rows {
        for (cell, _) in row.iter_mut().zip(is_float).filter(|(_, float)| **float) {
            let literal = match cell {
                SqlExpr::UnaryOp { expr, .. } => &mut **expr,
                cell => cell,
            };
            if let SqlExpr::Value(value) = &*literal
                && let Value::Number(text, _) | Value::SingleQuotedString(text) = &value.value
            {
                *literal = double(text);
            }
        }
    }
}

fn double(text: &str) -> SqlExpr {
    SqlExpr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(SqlExpr::Value(
            Value::SingleQuotedString(text.replace('_', "")).into(),
        )),
        data_type: SqlType::Double(ExactNumberInfo::None),
        array: false,
        format: None,
    }
}

pub(super) fn function(name: &str, args: [&SqlExpr; 2]) -> SqlExpr {
    call_of(name, args.map(SqlExpr::clone).to_vec())
}

pub(super) fn call_of(name: &str, args: Vec<SqlExpr>) -> SqlExpr {
    let arg = |arg: SqlExpr| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg));
    SqlExpr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(arg).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// PostgreSQL's names for columns without one: a call is named after its function, a cast after its column. Names are
/// unique, so several calls of one function are named as they are written.
pub(super) fn name_items(query: &mut Query) {
    let SetExpr::Select(select) = &mut *query.body else {
        return;
    };
    let mut named: HashMap<String, usize> = HashMap::new();
    let plain = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => postgres_name(expr),
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    };
    for item in &select.projection {
        let name = match item {
            SelectItem::UnnamedExpr(SqlExpr::Identifier(ident)) => Some(ident.value.to_lowercase()),
            SelectItem::UnnamedExpr(SqlExpr::CompoundIdentifier(parts)) => {
                parts.last().map(|ident| ident.value.to_lowercase())
            }
            other => plain(other),
        };
        if let Some(name) = name {
            *named.entry(name).or_default() += 1;
        }
    }
    let grouped: Vec<String> = match &select.group_by {
        GroupByExpr::Expressions(exprs, _) => exprs.iter().map(ToString::to_string).collect(),
        GroupByExpr::All(_) => Vec::new(),
    };
    let mut nameless = 0;
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else {
            continue;
        };
        let Some(mut name) = postgres_name(expr) else {
            continue;
        };
        if name == NAMELESS {
            nameless += 1;
            if nameless > 1 {
                name = format!("{NAMELESS}_{nameless}");
            }
            named.insert(name.clone(), 1);
        }
        // Where several calls have one name, each is named as it is written.
        let written = expr.to_string();
        if named.get(&name).is_some_and(|calls| *calls > 1) && !named.contains_key(&written) {
            named.insert(written.clone(), 1);
            name = written;
        }
        // A name that GROUP BY means a column by stays that column's.
        if named.get(&name) == Some(&1) && !grouped.contains(&name) {
            let alias = Ident::with_quote('"', name);
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias,
            };
        }
    }
}

/// Gives what a query selects names of which no two are the same, for one whose columns are known by their places.
pub(crate) fn by_place(query: &mut Query) {
    names_apart(&mut query.body);
}

fn names_apart(body: &mut SetExpr) {
    match body {
        SetExpr::Query(query) => by_place(query),
        SetExpr::SetOperation { left, right, .. } => {
            names_apart(left);
            names_apart(right);
        }
        SetExpr::Select(select) => {
            let mut names = HashSet::new();
            for (place, item) in select.projection.iter_mut().enumerate() {
                let (name, expr) = match item {
                    SelectItem::ExprWithAlias { expr, alias } => (alias.value.clone(), expr),
                    SelectItem::UnnamedExpr(expr) => {
                        let name = match expr {
                            SqlExpr::CompoundIdentifier(parts) => parts.last().cloned(),
                            SqlExpr::Identifier(name) => Some(name.clone()),
                            _ => None,
                        };
                        (
                            name.map_or_else(|| expr.to_string(), |name| name.value),
                            expr,
                        )
                    }
                    _ => continue,
                };
                if !names.insert(name.to_lowercase()) {
                    let alias = Ident::with_quote('"', format!("__place_{place}"));
                    let expr = expr.clone();
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
            }
        }
        _ => {}
    }
}

fn postgres_name(expr: &SqlExpr) -> Option<String> {
    match expr {
        SqlExpr::Function(function) => function
            .name
            .0
            .last()?
            .as_ident()
            .map(|ident| ident.value.to_lowercase()),
        SqlExpr::Cast { expr, .. } => match &**expr {
            SqlExpr::Identifier(ident) => Some(ident.value.to_lowercase()),
            SqlExpr::CompoundIdentifier(parts) => {
                parts.last().map(|ident| ident.value.to_lowercase())
            }
            other => postgres_name(other),
        },
        SqlExpr::Nested(inner) => postgres_name(inner),
        SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => None,
        // A field has its own name, an element that of its array.
        SqlExpr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(SqlExpr::Identifier(field)) => Some(field),
                _ => None,
            });
            let of = match &**root {
                SqlExpr::Identifier(column) => Some(column),
                SqlExpr::CompoundIdentifier(parts) => parts.last(),
                _ => None,
            };
            let name = field.or(of).map(|name| name.value.to_lowercase());
            Some(name.unwrap_or_else(|| NAMELESS.to_owned()))
        }
        named => Some(
            match named {
                SqlExpr::Case { .. } => "case",
                SqlExpr::Extract { .. } => "extract",
                SqlExpr::Substring { .. } => "substring",
                SqlExpr::Position { .. } => "position",
                SqlExpr::Trim { .. } => "btrim",
                SqlExpr::Ceil { .. } => "ceil",
                SqlExpr::Floor { .. } => "floor",
                SqlExpr::AtTimeZone { .. } => "timezone",
                SqlExpr::Exists { .. } => "exists",
                _ => NAMELESS,
            }
            .to_owned(),
        ),
    }
}
