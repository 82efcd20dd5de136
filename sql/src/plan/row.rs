//! Comparisons of rows, column by column, before the binder makes structs of them: a struct is compared as a whole, and
//! NULL with it.
//!
//! ```text
//! (a, b) = (c, d)     a = c AND b = d                      <>  is its negation, IN an OR of these
//! (a, b) < (c, d)     a < c OR (a = c AND b < d)           a NULL that decides gives NULL
//! (a, b) = (SELECT c, d …)       a = (SELECT c …) AND b = (SELECT d …)
//! (a, b) IN (SELECT c, d …)      __row(a, b) IN (SELECT __row(c, d) …), which membership.rs takes apart; ANY and ALL as well
//! ```
//!
//! Follows PostgreSQL 18, chapter 9.25 (row and array comparisons).

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Query,
    SelectItem, SetExpr, TableFactor, UnaryOperator, Value, VisitMut, VisitorMut,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use super::row_value::ROW;
use crate::diagnostic::{Code, Diagnostic, Words};

/// The rows of a subquery that a row is looked for in, and its columns.
const ROWS: &str = "__rows";

/// Writes comparisons of rows out, in `query` and all queries inside of it.
///
/// # Errors
/// Rows of another number of columns.
pub(super) fn compare_columns(query: &mut Query, words: &Words) -> Result<(), Diagnostic> {
    let wrong = |found: Mismatch| {
        let message = format!(
            "a row of {} columns is compared with one of {}",
            found.left, found.right
        );
        Diagnostic::new(Code::TypeMismatch, message).at(words.place("IN"))
    };
    match query.visit(&mut Rows) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(found) => Err(wrong(found)),
    }
}

/// Numbers of columns that differ.
struct Mismatch {
    left: usize,
    right: usize,
}

struct Rows;

impl VisitorMut for Rows {
    type Break = Mismatch;

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Mismatch> {
        match written_out(expr) {
            Ok(Some(columns)) => *expr = columns,
            Ok(None) => {}
            Err(found) => return ControlFlow::Break(found),
        }
        ControlFlow::Continue(())
    }
}

/// `expr` without rows, if it compares some.
fn written_out(expr: &SqlExpr) -> Result<Option<SqlExpr>, Mismatch> {
    Ok(match expr {
        SqlExpr::BinaryOp { left, op, right } => match (columns(left), columns(right)) {
            (Some(left), Some(right)) => compared(&left, op, &right)?,
            (Some(row), None) => match &**right {
                SqlExpr::Subquery(one) => compared(&row, op, &columns_of_one(one, row.len())?)?,
                _ => None,
            },
            (None, Some(row)) => match &**left {
                SqlExpr::Subquery(one) => compared(&columns_of_one(one, row.len())?, op, &row)?,
                _ => None,
            },
            _ => None,
        },
        SqlExpr::AnyOp {
            left,
            compare_op,
            right,
            is_some,
        } => match (columns(left), &**right) {
            (Some(row), SqlExpr::Subquery(rows)) => {
                let (left, right) = marked(row, rows)?;
                Some(SqlExpr::AnyOp {
                    left,
                    compare_op: compare_op.clone(),
                    right: Box::new(SqlExpr::Subquery(right)),
                    is_some: *is_some,
                })
            }
            _ => None,
        },
        SqlExpr::AllOp {
            left,
            compare_op,
            right,
        } => match (columns(left), &**right) {
            (Some(row), SqlExpr::Subquery(rows)) => {
                let (left, right) = marked(row, rows)?;
                Some(SqlExpr::AllOp {
                    left,
                    compare_op: compare_op.clone(),
                    right: Box::new(SqlExpr::Subquery(right)),
                })
            }
            _ => None,
        },
        SqlExpr::IsDistinctFrom(left, right) => match (columns(left), columns(right)) {
            (Some(left), Some(right)) => Some(not(same(&left, &right)?)),
            _ => None,
        },
        SqlExpr::IsNotDistinctFrom(left, right) => match (columns(left), columns(right)) {
            (Some(left), Some(right)) => Some(same(&left, &right)?),
            _ => None,
        },
        SqlExpr::Between {
            expr,
            negated,
            low,
            high,
        } => match (columns(expr), columns(low), columns(high)) {
            (Some(row), Some(low), Some(high)) => {
                let from = compared(&row, &BinaryOperator::GtEq, &low)?;
                let to = compared(&row, &BinaryOperator::LtEq, &high)?;
                let between = from.zip(to).map(|(from, to)| all([from, to]));
                between.map(|between| unless(*negated, between))
            }
            _ => None,
        },
        SqlExpr::InList {
            expr,
            list,
            negated,
        } => match columns(expr) {
            Some(row) => {
                let rows: Option<Vec<Vec<SqlExpr>>> = list.iter().map(columns).collect();
                let Some(rows) = rows else { return Ok(None) };
                let equal = rows.iter().map(|other| equal(&row, other));
                let equal = equal.collect::<Result<Vec<_>, _>>()?;
                Some(unless(*negated, any(equal)))
            }
            None => None,
        },
        SqlExpr::InSubquery {
            expr,
            subquery,
            negated,
        } => match columns(expr) {
            Some(row) => {
                let (expr, subquery) = marked(row, subquery)?;
                Some(SqlExpr::InSubquery {
                    expr,
                    subquery,
                    negated: *negated,
                })
            }
            None => None,
        },
        SqlExpr::IsNull(row) => columns(row).map(|row| {
            all(row
                .into_iter()
                .map(|column| SqlExpr::IsNull(Box::new(column))))
        }),
        SqlExpr::IsNotNull(row) => columns(row).map(|row| {
            all(row
                .into_iter()
                .map(|column| SqlExpr::IsNotNull(Box::new(column))))
        }),
        _ => None,
    })
}

/// The columns of a row that is written out: `(a, b)` or `ROW(a, b)`.
fn columns(expr: &SqlExpr) -> Option<Vec<SqlExpr>> {
    match expr {
        SqlExpr::Tuple(columns) => Some(columns.clone()),
        SqlExpr::Nested(inner) => columns(inner),
        SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case("row") => {
            let FunctionArguments::List(list) = &call.args else {
                return None;
            };
            let args = list.args.iter().map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            });
            args.collect()
        }
        _ => None,
    }
}

fn same_number(left: &[SqlExpr], right: usize) -> Result<(), Mismatch> {
    if left.len() == right {
        return Ok(());
    }
    Err(Mismatch {
        left: left.len(),
        right,
    })
}

fn compared(
    left: &[SqlExpr],
    op: &BinaryOperator,
    right: &[SqlExpr],
) -> Result<Option<SqlExpr>, Mismatch> {
    let strict = match op {
        BinaryOperator::Eq => return equal(left, right).map(Some),
        BinaryOperator::NotEq => return equal(left, right).map(|equal| Some(not(equal))),
        BinaryOperator::Lt | BinaryOperator::LtEq => BinaryOperator::Lt,
        BinaryOperator::Gt | BinaryOperator::GtEq => BinaryOperator::Gt,
        _ => return Ok(None),
    };
    same_number(left, right.len())?;
    let mut pairs = left.iter().zip(right).rev();
    let Some((a, b)) = pairs.next() else {
        return Ok(None);
    };
    let mut condition = pair(a, op.clone(), b)?;
    for (a, b) in pairs {
        let further = all([pair(a, BinaryOperator::Eq, b)?, condition]);
        condition = any([pair(a, strict.clone(), b)?, further]);
    }
    Ok(Some(condition))
}

/// A comparison of two columns, which may be rows themselves.
fn pair(a: &SqlExpr, op: BinaryOperator, b: &SqlExpr) -> Result<SqlExpr, Mismatch> {
    let plain = SqlExpr::BinaryOp {
        left: Box::new(a.clone()),
        op,
        right: Box::new(b.clone()),
    };
    Ok(nested(written_out(&plain)?.unwrap_or(plain)))
}

fn equal(left: &[SqlExpr], right: &[SqlExpr]) -> Result<SqlExpr, Mismatch> {
    same_number(left, right.len())?;
    let pairs = left.iter().zip(right);
    let equal = pairs.map(|(a, b)| pair(a, BinaryOperator::Eq, b));
    Ok(all(equal.collect::<Result<Vec<_>, _>>()?))
}

/// Equal, where NULL is equal to NULL.
fn same(left: &[SqlExpr], right: &[SqlExpr]) -> Result<SqlExpr, Mismatch> {
    same_number(left, right.len())?;
    let pairs = left.iter().zip(right);
    let same = pairs.map(|(a, b)| {
        let plain = SqlExpr::IsNotDistinctFrom(Box::new(a.clone()), Box::new(b.clone()));
        Ok(nested(written_out(&plain)?.unwrap_or(plain)))
    });
    Ok(all(same.collect::<Result<Vec<_>, _>>()?))
}

fn member(place: usize) -> String {
    format!("__column_{place}")
}

/// How many columns a query has, where the text alone tells it.
fn selected(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => {
            let named = |item: &SelectItem| {
                matches!(
                    item,
                    SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
                )
            };
            let all = select.projection.iter().all(named);
            all.then_some(select.projection.len())
        }
        SetExpr::Query(query) => selected(&query.body),
        SetExpr::SetOperation { left, .. } => selected(left),
        SetExpr::Values(values) => values.rows.first().map(|row| row.len()),
        _ => None,
    }
}

/// `SELECT what FROM (subquery) AS __rows (…)`.
fn from_rows(subquery: &Query, columns: usize, what: &str) -> Box<Query> {
    let names: Vec<String> = (0..columns).map(member).collect();
    let text = format!(
        "SELECT {what} FROM (SELECT 1) AS {ROWS} ({})",
        names.join(", ")
    );
    let mut parser = Parser::new(&GenericDialect {})
        .try_with_sql(&text)
        .expect("the text is of known words");
    let mut query = parser.parse_query().expect("the text is a query");
    if let SetExpr::Select(select) = &mut *query.body {
        for from in &mut select.from {
            if let TableFactor::Derived { subquery: rows, .. } = &mut from.relation {
                **rows = subquery.clone();
            }
        }
    }
    query
}

/// A row, and the rows of a subquery that it is compared with, as values that are rows.
fn marked(row: Vec<SqlExpr>, subquery: &Query) -> Result<(Box<SqlExpr>, Box<Query>), Mismatch> {
    if let Some(found) = selected(&subquery.body) {
        same_number(&row, found)?;
    }
    let names: Vec<String> = (0..row.len()).map(member).collect();
    let members = from_rows(subquery, row.len(), &format!("{ROW}({})", names.join(", ")));
    Ok((Box::new(super::postgres::call_of(ROW, row)), members))
}

/// The columns of the one row of a subquery.
fn columns_of_one(subquery: &Query, count: usize) -> Result<Vec<SqlExpr>, Mismatch> {
    if let Some(right) = selected(&subquery.body).filter(|found| *found != count) {
        return Err(Mismatch { left: count, right });
    }
    let column = |place| SqlExpr::Subquery(from_rows(subquery, count, &member(place)));
    Ok((0..count).map(column).collect())
}

fn joined(conditions: impl IntoIterator<Item = SqlExpr>, op: &BinaryOperator) -> SqlExpr {
    let joined = conditions
        .into_iter()
        .reduce(|left, right| SqlExpr::BinaryOp {
            left: Box::new(left),
            op: op.clone(),
            right: Box::new(right),
        });
    nested(joined.unwrap_or(SqlExpr::Value(Value::Null.into())))
}

fn all(conditions: impl IntoIterator<Item = SqlExpr>) -> SqlExpr {
    joined(conditions, &BinaryOperator::And)
}

fn any(conditions: impl IntoIterator<Item = SqlExpr>) -> SqlExpr {
    joined(conditions, &BinaryOperator::Or)
}

fn nested(expr: SqlExpr) -> SqlExpr {
    match expr {
        nested @ SqlExpr::Nested(_) => nested,
        other => SqlExpr::Nested(Box::new(other)),
    }
}

fn not(expr: SqlExpr) -> SqlExpr {
    SqlExpr::UnaryOp {
        op: UnaryOperator::Not,
        expr: Box::new(nested(expr)),
    }
}

fn unless(negated: bool, expr: SqlExpr) -> SqlExpr {
    if negated { not(expr) } else { nested(expr) }
}
