//! Comparisons of rows, column by column, before the binder makes structs of them: a struct is compared as a whole, and
//! NULL with it.
//!
//! ```text
//! (a, b) = (c, d)     a = c AND b = d                      <>  is its negation, IN an OR of these
//! (a, b) < (c, d)     a < c OR (a = c AND b < d)           a NULL that decides gives NULL
//! (a, b) IN (SELECT c, d …)      EXISTS (… WHERE a = c AND b = d), and NULL where one of these is
//! ```
//!
//! Follows PostgreSQL 18, chapter 9.25 (row and array comparisons).

use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments,
    Ident, Query, Select, SelectItem, SetExpr, TableFactor, UnaryOperator, Value, VisitMut,
    VisitorMut,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

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

    // Before what is inside: a condition of its own needs no more than whether it is true.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Mismatch> {
        if let Some(condition) = &mut select.selection {
            return flow(members_that_are(condition));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Mismatch> {
        match written_out(expr) {
            Ok(Some(columns)) => *expr = columns,
            Ok(None) => {}
            Err(found) => return ControlFlow::Break(found),
        }
        ControlFlow::Continue(())
    }
}

fn flow(done: Result<(), Mismatch>) -> ControlFlow<Mismatch> {
    match done {
        Ok(()) => ControlFlow::Continue(()),
        Err(found) => ControlFlow::Break(found),
    }
}

/// `(a, b) IN (SELECT …)` as one of the parts that hold all together.
fn members_that_are(condition: &mut SqlExpr) -> Result<(), Mismatch> {
    match condition {
        SqlExpr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            members_that_are(left)?;
            members_that_are(right)
        }
        SqlExpr::Nested(inner) => members_that_are(inner),
        SqlExpr::InSubquery {
            expr,
            subquery,
            negated: false,
        } => {
            if let Some(row) = columns(expr) {
                let equal = equal_to_member(&row, subquery)?;
                *condition = exists(subquery, row.len(), equal);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// `expr` without rows, if it compares some.
fn written_out(expr: &SqlExpr) -> Result<Option<SqlExpr>, Mismatch> {
    Ok(match expr {
        SqlExpr::BinaryOp { left, op, right } => match (columns(left), columns(right)) {
            (Some(left), Some(right)) => compared(&left, op, &right)?,
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
            Some(row) => Some(unless(*negated, is_member(&row, subquery)?)),
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

/// Whether a row is one of those of a subquery: true, false, or NULL where a NULL leaves it open.
fn is_member(row: &[SqlExpr], subquery: &Query) -> Result<SqlExpr, Mismatch> {
    let equal = equal_to_member(row, subquery)?;
    let when = |condition: SqlExpr, result: Value| CaseWhen {
        condition: exists(subquery, row.len(), condition),
        result: SqlExpr::Value(result.into()),
    };
    let open = SqlExpr::IsNull(Box::new(nested(equal.clone())));
    Ok(SqlExpr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![when(equal, Value::Boolean(true)), when(open, Value::Null)],
        else_result: Some(Box::new(SqlExpr::Value(Value::Boolean(false).into()))),
    })
}

/// Whether a row is equal to a member that [`exists`] looks at.
fn equal_to_member(row: &[SqlExpr], subquery: &Query) -> Result<SqlExpr, Mismatch> {
    if let Some(found) = selected(&subquery.body) {
        same_number(row, found)?;
    }
    let member: Vec<SqlExpr> = (0..row.len())
        .map(|place| SqlExpr::CompoundIdentifier(vec![Ident::new(ROWS), member_column(place)]))
        .collect();
    equal(row, &member)
}

fn member_column(place: usize) -> Ident {
    Ident::new(format!("__column_{place}"))
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

/// `EXISTS (SELECT 1 FROM (subquery) AS __rows (…) WHERE condition)`.
fn exists(subquery: &Query, columns: usize, condition: SqlExpr) -> SqlExpr {
    let names: Vec<String> = (0..columns)
        .map(|place| member_column(place).value)
        .collect();
    let text = format!("SELECT 1 FROM (SELECT 1) AS {ROWS} ({})", names.join(", "));
    let mut parser = Parser::new(&GenericDialect {})
        .try_with_sql(&text)
        .expect("the text is of known words");
    let mut query = parser.parse_query().expect("the text is a query");
    if let SetExpr::Select(select) = &mut *query.body {
        select.selection = Some(condition);
        for from in &mut select.from {
            if let TableFactor::Derived { subquery: rows, .. } = &mut from.relation {
                **rows = subquery.clone();
            }
        }
    }
    SqlExpr::Exists {
        subquery: query,
        negated: false,
    }
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
