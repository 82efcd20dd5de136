//! Parts of a query that PostgreSQL reads otherwise than DataFusion's binder, changed before it sees them.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, CharacterLength, DataType as SqlType, DateTimeField,
    ExactNumberInfo, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident,
    ObjectName, Query, SelectItem, SetExpr, TimezoneInfo, UnaryOperator, Value,
    visit_expressions_mut,
};

use super::by_others::{
    by_others, ceiling, escape_by_backslash, first_match, is_list, is_text, number, overlap,
    without_clock,
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
pub(super) fn rewrite_exprs(query: &mut Query) {
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
                if let Some(written) = spelled_out(call) {
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

/// Writes out the `12:30:00` of an interval.
fn clock_read(interval: &mut SqlExpr) {
    if let SqlExpr::Value(value) = interval
        && let Value::SingleQuotedString(text) = &mut value.value
        && let Some(written) = without_clock(text)
    {
        *text = written;
    }
}

/// A call of a function that PostgreSQL has, by others: `mod(a, b)` is `a % b`, `json_agg(x)` is `to_json(array_agg(x))`.
fn spelled_out(call: &Function) -> Option<SqlExpr> {
    let [part] = call.name.0.as_slice() else {
        return None;
    };
    let name = part.as_ident()?.value.to_lowercase();
    match name.as_str() {
        "mod" => {
            let FunctionArguments::List(list) = &call.args else {
                return None;
            };
            let [
                FunctionArg::Unnamed(FunctionArgExpr::Expr(left)),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(right)),
            ] = list.args.as_slice()
            else {
                return None;
            };
            let nested = |expr: &SqlExpr| Box::new(SqlExpr::Nested(Box::new(expr.clone())));
            Some(SqlExpr::Nested(Box::new(SqlExpr::BinaryOp {
                left: nested(left),
                op: BinaryOperator::Modulo,
                right: nested(right),
            })))
        }
        "json_agg" | "jsonb_agg" if matches!(&call.args, FunctionArguments::List(list) if !list.args.is_empty()) =>
        {
            let mut list = call.clone();
            let mut ident = part.as_ident()?.clone();
            ident.value = "array_agg".to_owned();
            list.name = ObjectName::from(vec![ident]);
            Some(call_of("to_json", vec![SqlExpr::Function(list)]))
        }
        // Flink's and ksqlDB's names of aggregates.
        "listagg" | "collect_list" if matches!(&call.args, FunctionArguments::List(list) if !list.args.is_empty()) =>
        {
            let mut aggregate = call.clone();
            let mut ident = part.as_ident()?.clone();
            let texts = name == "listagg";
            ident.value = if texts { "string_agg" } else { "array_agg" }.to_owned();
            aggregate.name = ObjectName::from(vec![ident]);
            if let (true, FunctionArguments::List(list)) = (texts, &mut aggregate.args)
                && list.args.len() == 1
            {
                let comma = Value::SingleQuotedString(",".to_owned());
                let comma = FunctionArgExpr::Expr(SqlExpr::Value(comma.into()));
                list.args.push(FunctionArg::Unnamed(comma));
            }
            if let (true, FunctionArguments::List(list)) = (texts, &mut aggregate.args)
                && !aggregate.within_group.is_empty()
            {
                let order = std::mem::take(&mut aggregate.within_group);
                list.clauses.push(FunctionArgumentClause::OrderBy(order));
            }
            Some(SqlExpr::Function(aggregate))
        }
        "make_interval" => made_interval(call),
        name => by_others(name, &plain_args(call)?),
    }
}

/// `make_interval(days => 3, hours => x)`: a sum of units, which are named or stand in their order.
fn made_interval(call: &Function) -> Option<SqlExpr> {
    const UNITS: &[(&str, &str)] = &[
        ("years", "year"),
        ("months", "month"),
        ("weeks", "week"),
        ("days", "day"),
        ("hours", "hour"),
        ("mins", "minute"),
        ("secs", "second"),
    ];
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    let unit_of = |name: &Ident| {
        let mut units = UNITS.iter();
        let unit = units.find(|(unit, _)| name.value.eq_ignore_ascii_case(unit));
        unit.map(|(_, unit)| *unit)
    };
    let parts = list.args.iter().enumerate().map(|(place, arg)| {
        let (unit, count) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(count)) => (UNITS.get(place)?.1, count),
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(count),
                ..
            } => (unit_of(name)?, count),
            FunctionArg::ExprNamed {
                name: SqlExpr::Identifier(name),
                arg: FunctionArgExpr::Expr(count),
                ..
            } => (unit_of(name)?, count),
            _ => return None,
        };
        let one = SqlExpr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(SqlExpr::Value(
                Value::SingleQuotedString(format!("1 {unit}")).into(),
            )),
            data_type: SqlType::Interval {
                fields: None,
                precision: None,
            },
            array: false,
            format: None,
        };
        Some(SqlExpr::Nested(Box::new(SqlExpr::BinaryOp {
            left: Box::new(SqlExpr::Nested(Box::new(count.clone()))),
            op: BinaryOperator::Multiply,
            right: Box::new(one),
        })))
    });
    let parts = parts.collect::<Option<Vec<SqlExpr>>>()?;
    let sum = parts.into_iter().reduce(|sum, part| SqlExpr::BinaryOp {
        left: Box::new(sum),
        op: BinaryOperator::Plus,
        right: Box::new(part),
    });
    sum.map(|sum| SqlExpr::Nested(Box::new(sum)))
}

/// The arguments of a call that has nothing but these.
fn plain_args(call: &Function) -> Option<Vec<SqlExpr>> {
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    let plain = call.over.is_none()
        && call.filter.is_none()
        && call.within_group.is_empty()
        && list.clauses.is_empty()
        && list.duplicate_treatment.is_none();
    let args = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    if plain { args.collect() } else { None }
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

/// PostgreSQL's names for columns without one: a call is named after its function, a cast after its column.
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
