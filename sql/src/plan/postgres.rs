//! Parts of a query that PostgreSQL reads otherwise than DataFusion's binder, changed before it sees them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType as SqlType, ExactNumberInfo, Expr as SqlExpr, Function,
    FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident,
    ObjectName, Query, SelectItem, SetExpr, UnaryOperator, Value, visit_expressions_mut,
};

/// PostgreSQL's name of a column that nothing names. Names are unique, so further ones are numbered.
const NAMELESS: &str = "?column?";

/// Digits of a number that a DECIMAL holds.
const DECIMAL_DIGITS_MAX: usize = 38;

/// Writes `ts AT TIME ZONE zone` as the function that it is, and numbers that no decimal holds as doubles.
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

fn function(name: &str, args: [&SqlExpr; 2]) -> SqlExpr {
    let arg = |arg: &SqlExpr| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg.clone()));
    SqlExpr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.map(arg).to_vec(),
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
