//! INSERT … ON CONFLICT: a query that has the rows to write, over those that are given and those that are there.
//!
//! ```text
//! DO NOTHING       SELECT excluded.* FROM excluded WHERE NOT EXISTS (SELECT 1 FROM t WHERE t.k = excluded.k)
//! DO UPDATE SET    SELECT excluded.k, CASE WHEN t.k IS NULL THEN excluded.c ELSE … END FROM excluded LEFT JOIN t ON t.k = excluded.k
//! ```
//!
//! `excluded` is what the statement gives, in all columns of the table and as these hold it, as in PostgreSQL: a key of
//! NUMERIC(10,2) that is given as 1.004 is 1.00. Its columns have names of their own here, so that a name alone is the
//! row's that is there, in subqueries as everywhere.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr, visit_expressions_mut};
use streams::{ColumnOrigin, is_json};

use super::given;
use super::insert::{Target, Twice, only_to_default, refuse_computed};
use crate::catalog::Relation;
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::parse::statement::{ConflictAction, Name, OnConflict, Statement, Unique};
use crate::parse::{parse, split_statements};
use crate::plan::{name_text, type_name};

/// Before the names of the columns that are given.
const NEW: &str = "__new_";

/// The query that replaces that of the INSERT, and the columns that it gives.
pub(super) struct Resolved {
    pub query: Query,
    pub places: Vec<usize>,
    /// What becomes of rows of one statement that have the same key.
    pub twice: Twice,
}

/// `given` has the columns `places` of `relation`, which the conflict's expressions call `alias` where that is said.
pub(super) fn resolved(
    conflict: &OnConflict,
    target: &Target<'_>,
    alias: Option<&Name>,
    given: Query,
    places: &[usize],
) -> Result<Resolved, Diagnostic> {
    let relation = target.relation;
    check_key(conflict, relation)?;
    let name = |column: usize| name_text(relation.schema.field(column).name());
    if let Some(missing) = relation.key.iter().find(|column| !places.contains(column)) {
        let message = format!("column {} cannot be NULL", name(*missing));
        let mut diagnostic = Diagnostic::new(Code::Row, message);
        diagnostic.sqlstate = "23502".to_owned();
        return Err(diagnostic
            .at(conflict.span)
            .help("give the columns of the primary key"));
    }
    let table = name_text(alias.map_or(relation.name(), |alias| &alias.name));
    let there = format!("{} AS {table}", name_text(relation.name()));
    let same: Vec<String> = (relation.key.iter())
        .map(|&column| format!("{table}.{} = {}", name(column), new_value(relation, column)))
        .collect();
    let same = same.join(" AND ");
    let columns: Vec<String> = places.iter().map(|&column| name(column)).collect();
    let written = relation.written();
    let held = written.iter().filter_map(|&column| {
        let value = match places.contains(&column) {
            true => held(relation, column)?,
            false => absent(relation, column)?,
        };
        Some(format!("{value} AS {}", new_name(relation, column)))
    });
    let held = held.collect::<Vec<_>>().join(", ");
    let with = format!(
        "WITH __given ({}) AS (SELECT 1), excluded AS (SELECT {held} FROM __given)",
        columns.join(", ")
    );
    match &conflict.action {
        ConflictAction::Nothing => {
            let values = places.iter();
            let values = values
                .map(|&column| format!("{} AS {}", new_value(relation, column), name(column)));
            let text = format!(
                "{with} SELECT {} FROM excluded WHERE NOT EXISTS (SELECT 1 FROM {there} WHERE {same})",
                values.collect::<Vec<_>>().join(", ")
            );
            Ok(Resolved {
                query: over(given, &text)?,
                places: places.to_vec(),
                twice: Twice::First,
            })
        }
        ConflictAction::Update { assignments, only } => {
            let text = format!("{with} SELECT 1 FROM excluded LEFT JOIN {there} ON {same}");
            let mut query = over(given, &text)?;
            let values = set(relation, target, &table, assignments, places, &written)?;
            let SetExpr::Select(select) = &mut *query.body else {
                return Err(Diagnostic::new(Code::Internal, "a query without SELECT"));
            };
            select.projection = values;
            if let Some(only) = only {
                let is_new = expression(&is_new(relation, &table))?;
                select.selection = Some(Expr::BinaryOp {
                    left: Box::new(is_new),
                    op: sqlparser::ast::BinaryOperator::Or,
                    right: Box::new(Expr::Nested(Box::new(renamed(only, relation)?))),
                });
            }
            Ok(Resolved {
                query,
                places: written,
                twice: Twice::Refused,
            })
        }
    }
}

/// What EXPLAIN says of it.
pub(super) fn explained(conflict: &OnConflict, relation: &Relation) -> String {
    let key = key_of(relation);
    match &conflict.action {
        ConflictAction::Nothing => format!("a row whose {key} is there already stays as it is"),
        ConflictAction::Update { assignments, only } => {
            let names: Vec<&str> = (assignments.iter())
                .map(|(name, _)| name.written.as_str())
                .collect();
            let only = match only {
                Some(only) => format!(", where {only}"),
                None => String::new(),
            };
            format!(
                "a row whose {key} is there already changes in {}{only}",
                names.join(", ")
            )
        }
    }
}

/// The name that a column of `excluded` has.
fn new_name(relation: &Relation, column: usize) -> String {
    name_text(&format!("{NEW}{}", relation.schema.field(column).name()))
}

fn new_value(relation: &Relation, column: usize) -> String {
    format!("excluded.{}", new_name(relation, column))
}

/// The condition that no row with the key is there.
fn is_new(relation: &Relation, table: &str) -> String {
    let first = relation.key.first();
    let first = first.map_or_else(String::new, |&key| {
        name_text(relation.schema.field(key).name())
    });
    format!("{table}.{first} IS NULL")
}

/// The value that is given for a column, as the column holds it.
fn held(relation: &Relation, column: usize) -> Option<String> {
    let name = name_text(relation.schema.field(column).name());
    let declared = &relation.columns[column];
    let Some(to) = cast_name(&declared.data_type) else {
        return Some(name);
    };
    let value = format!("CAST({name} AS {to})");
    Some(match declared.length {
        Some(length) if length.pads => format!("rtrim({value})"),
        // -0.0 is 0.0, as a key as well.
        _ if declared.data_type.is_floating() => {
            format!("CAST({value} + CAST(0 AS DOUBLE) AS {to})")
        }
        _ => value,
    })
}

/// NULL as a value of a column. `None`: no text of its type is known.
fn absent(relation: &Relation, column: usize) -> Option<String> {
    let to = cast_name(&relation.columns[column].data_type)?;
    Some(format!("CAST(NULL AS {to})"))
}

/// A type of single values, as it is written in a CAST.
fn cast_name(data_type: &DataType) -> Option<String> {
    let single = data_type.is_numeric()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
                | DataType::Date32
                | DataType::Timestamp(..)
        );
    (single && !is_json(data_type)).then(|| type_name(data_type).to_string())
}

/// That the columns of ON CONFLICT are the primary key.
fn check_key(conflict: &OnConflict, relation: &Relation) -> Result<(), Diagnostic> {
    if relation.key.is_empty() {
        let message = format!("{} has no primary key that could be there", relation.name());
        return Err(Diagnostic::new(Code::NoKey, message)
            .at(conflict.span)
            .help("leave ON CONFLICT out: every row is added"));
    }
    let key = match &conflict.unique {
        Unique::Columns(key) => key,
        Unique::Constraint(name) if name.name == format!("{}_pkey", relation.name()) => {
            return Ok(());
        }
        Unique::Constraint(name) => {
            let message = format!("{} has no constraint {:?}", relation.name(), name.name);
            let mut diagnostic = Diagnostic::new(Code::NoKey, message);
            diagnostic.sqlstate = "42704".to_owned();
            return Err(diagnostic.at(name.span).help(format!(
                "the primary key is its only one: ON CONFLICT ({})",
                key_of(relation)
            )));
        }
        Unique::Any if matches!(conflict.action, ConflictAction::Nothing) => return Ok(()),
        Unique::Any => {
            let message = "ON CONFLICT DO UPDATE has to name the primary key";
            return Err(Diagnostic::new(Code::Syntax, message)
                .at(conflict.span)
                .help(format!("ON CONFLICT ({})", key_of(relation))));
        }
    };
    let is_key = |named: &Name| {
        let place = relation.schema.index_of(&named.name);
        place.is_ok_and(|place| relation.key.contains(&place))
    };
    let foreign = key.iter().find(|named| !is_key(named));
    if foreign.is_none() && key.len() == relation.key.len() {
        return Ok(());
    }
    let message = format!(
        "only the primary key of {} is held to be unique",
        relation.name()
    );
    let mut diagnostic = Diagnostic::new(Code::NoKey, message);
    diagnostic.sqlstate = "42P10".to_owned();
    Err(diagnostic
        .at(foreign.map_or(Some(conflict.span), |foreign| foreign.span))
        .help(format!("ON CONFLICT ({})", key_of(relation))))
}

fn key_of(relation: &Relation) -> String {
    let names =
        (relation.key.iter()).map(|&column| name_text(relation.schema.field(column).name()));
    names.collect::<Vec<_>>().join(", ")
}

/// A query of ours, with the one that was given in the place of its first WITH.
fn over(given: Query, text: &str) -> Result<Query, Diagnostic> {
    let mut query = parsed(text)?;
    let with = query.with.as_mut();
    if let Some(first) = with.and_then(|with| with.cte_tables.first_mut()) {
        *first.query = given;
    }
    Ok(query)
}

fn expression(text: &str) -> Result<Expr, Diagnostic> {
    let text = format!("SELECT {text}");
    let query = parsed(&text)?;
    let item = match *query.body {
        SetExpr::Select(select) => select.projection.into_iter().next(),
        _ => None,
    };
    match item {
        Some(SelectItem::UnnamedExpr(expr)) => Ok(expr),
        _ => Err(Diagnostic::new(
            Code::Internal,
            format!("not an expression: {text}"),
        )),
    }
}

/// A query of ours.
fn parsed(text: &str) -> Result<Query, Diagnostic> {
    let broken = || Diagnostic::new(Code::Internal, format!("not a query: {text}"));
    let statements = split_statements(text);
    match parse(statements.first().ok_or_else(broken)?)? {
        Statement::Select(select) => Ok(*select.query.query),
        _ => Err(broken()),
    }
}

/// What each column is written with.
fn set(
    relation: &Relation,
    target: &Target<'_>,
    table: &str,
    assignments: &[(Name, Expr)],
    given: &[usize],
    written: &[usize],
) -> Result<Vec<SelectItem>, Diagnostic> {
    let assignments = given::set(relation, assignments);
    let names: Vec<Name> = assignments.iter().map(|(name, _)| name.clone()).collect();
    refuse_computed(relation, &names, only_to_default)?;
    let changed = match names.as_slice() {
        [] => Vec::new(),
        names => target.columns(names)?,
    };
    let mut of_key = names.iter().zip(&changed);
    if let Some((name, _)) = of_key.find(|(_, column)| relation.key.contains(column)) {
        let message = format!(
            "{} is of the primary key: a row keeps its key",
            name.written
        );
        return Err(Diagnostic::new(Code::Unsupported, message).at(name.span));
    }
    let is_new = is_new(relation, table);
    let items = written.iter().map(|&column| {
        let field = relation.schema.field(column);
        let new = match given.contains(&column) {
            true => new_value(relation, column),
            false => "NULL".to_owned(),
        };
        let alias = Ident::with_quote('"', field.name());
        if relation.key.contains(&column) {
            let expr = expression(&new)?;
            return Ok(SelectItem::ExprWithAlias { expr, alias });
        }
        let own = format!("{table}.{}", name_text(field.name()));
        let mut expr = expression(&format!("CASE WHEN {is_new} THEN {new} ELSE {own} END"))?;
        let value = changed.iter().position(|&place| place == column);
        if let (Some(value), Expr::Case { else_result, .. }) = (value, &mut expr) {
            *else_result = Some(Box::new(renamed(&assignments[value].1, relation)?));
        }
        Ok(SelectItem::ExprWithAlias { expr, alias })
    });
    items.collect()
}

/// An expression in which `excluded.c` has the name that it has here; a computed column is what it is computed from.
///
/// # Errors
/// A column that the table does not have.
fn renamed(expr: &Expr, relation: &Relation) -> Result<Expr, Diagnostic> {
    let mut expr = expr.clone();
    let found = visit_expressions_mut(&mut expr, |expr| {
        let Expr::CompoundIdentifier(parts) = expr else {
            return ControlFlow::Continue(());
        };
        let [first, column, ..] = parts.as_slice() else {
            return ControlFlow::Continue(());
        };
        if folded(first) != "excluded" {
            return ControlFlow::Continue(());
        }
        match of_excluded(column, relation) {
            Ok(value) => {
                *expr = value;
                ControlFlow::Continue(())
            }
            Err(refused) => ControlFlow::Break(refused),
        }
    });
    match found {
        ControlFlow::Break(refused) => Err(refused),
        ControlFlow::Continue(()) => Ok(expr),
    }
}

/// A column of the rows that are given.
fn of_excluded(column: &Ident, relation: &Relation) -> Result<Expr, Diagnostic> {
    let name = folded(column);
    let place = relation.schema.index_of(&name).ok();
    match place.map(|place| &relation.columns[place].origin) {
        Some(ColumnOrigin::Value | ColumnOrigin::Key) => Ok(new_column(&name, column)),
        Some(ColumnOrigin::Computed(computation)) => {
            let value = computed(&computation.text, relation)?;
            Ok(Expr::Nested(Box::new(value)))
        }
        _ => {
            let message = format!("column {name:?} of excluded does not exist");
            let known = |column: usize| relation.schema.field(column).name().as_str();
            let names: Vec<&str> = relation.written().into_iter().map(known).collect();
            let unknown = Diagnostic::new(Code::UnknownColumn, message)
                .at(Span::known(column.span))
                .suggest_nearest(&name, names.iter().copied());
            Err(match unknown.suggestion.is_some() {
                true => unknown,
                false => unknown.help(format!("there are {}", names.join(", "))),
            })
        }
    }
}

fn new_column(name: &str, at: &Ident) -> Expr {
    let column = Ident::with_quote_and_span('"', at.span, format!("{NEW}{name}"));
    Expr::CompoundIdentifier(vec![Ident::new("excluded"), column])
}

/// What a column is computed from, over the rows that are given.
fn computed(text: &str, relation: &Relation) -> Result<Expr, Diagnostic> {
    let mut expr = expression(text)?;
    let is_known = |name: &str| relation.schema.index_of(name).is_ok();
    let _: ControlFlow<()> = visit_expressions_mut(&mut expr, |expr| {
        let column = match &*expr {
            Expr::Identifier(column) => Some(column),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column, ..] if folded(table) == relation.name() => Some(column),
                _ => None,
            },
            _ => None,
        };
        let column = column.filter(|column| is_known(&folded(column)));
        if let Some(column) = column.cloned() {
            *expr = new_column(&folded(&column), &column);
        }
        ControlFlow::Continue(())
    });
    Ok(expr)
}

fn folded(word: &Ident) -> String {
    match word.quote_style {
        Some(_) => word.value.clone(),
        None => word.value.to_lowercase(),
    }
}
