//! `x = ANY (list)` and `x <> ANY (list)` with PostgreSQL's three answers: NULL where a NULL of the list decides.
//!
//! ```text
//! x = ANY (list)      NOT x <> ALL (list)
//! x <> ANY (list)     NOT x = ALL (list)
//! WHERE x = ANY (list) AND …      array_has(list, x): NULL counts as false, and a constant list names keys
//! ```
//!
//! x LIKE ANY (ARRAY['a%', 'b%'])      x LIKE 'a%' OR x LIKE 'b%'; ALL is AND
//!
//! DataFusion's binder tells NULL from false for ALL, not for these.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Query,
    Select, UnaryOperator, Value, VisitMut, VisitorMut,
};

use super::postgres::call_of;

/// Writes such comparisons by others, in `query` and all queries inside of it.
pub(super) fn compare_with_lists(query: &mut Query) {
    let _: ControlFlow<()> = query.visit(&mut Lists);
}

struct Lists;

impl VisitorMut for Lists {
    type Break = ();

    // Before what is inside: a condition of its own needs no more than whether it is true.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if let Some(condition) = &mut select.selection {
            members_that_are(condition);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        if let Some(likes) = likes(expr) {
            *expr = likes;
            return ControlFlow::Continue(());
        }
        let SqlExpr::AnyOp {
            left,
            compare_op,
            right,
            ..
        } = &*expr
        else {
            return ControlFlow::Continue(());
        };
        let negated = match compare_op {
            BinaryOperator::Eq => BinaryOperator::NotEq,
            BinaryOperator::NotEq => BinaryOperator::Eq,
            _ => return ControlFlow::Continue(()),
        };
        if is_list(right) {
            let all = SqlExpr::AllOp {
                left: left.clone(),
                compare_op: negated,
                right: right.clone(),
            };
            *expr = SqlExpr::Nested(Box::new(SqlExpr::UnaryOp {
                op: UnaryOperator::Not,
                expr: Box::new(SqlExpr::Nested(Box::new(all))),
            }));
        }
        ControlFlow::Continue(())
    }
}

/// `x = ANY (list)` as a part of a condition where NULL counts as false.
fn members_that_are(condition: &mut SqlExpr) {
    match condition {
        SqlExpr::BinaryOp {
            left,
            op: BinaryOperator::And | BinaryOperator::Or,
            right,
        } => {
            members_that_are(left);
            members_that_are(right);
        }
        SqlExpr::Nested(inner) => members_that_are(inner),
        SqlExpr::AnyOp {
            left,
            compare_op: BinaryOperator::Eq,
            right,
            ..
        } if is_list(right) => {
            *condition = call_of("array_has", vec![(**right).clone(), (**left).clone()]);
        }
        _ => {}
    }
}

/// A text that is like any or all of the patterns of a list, by each of them. `None`: it is no such thing.
fn likes(expr: &SqlExpr) -> Option<SqlExpr> {
    let (SqlExpr::Like { any, pattern, .. } | SqlExpr::ILike { any, pattern, .. }) = expr else {
        return None;
    };
    let (op, patterns) = match (any, &**pattern) {
        (true, SqlExpr::Nested(list)) => (BinaryOperator::Or, list_of(list)?),
        (true, list) => (BinaryOperator::Or, list_of(list)?),
        (false, SqlExpr::Function(call)) if call.name.to_string().eq_ignore_ascii_case("all") => {
            let FunctionArguments::List(args) = &call.args else {
                return None;
            };
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(list))] = args.args.as_slice() else {
                return None;
            };
            (BinaryOperator::And, list_of(list)?)
        }
        _ => return None,
    };
    let each = patterns.iter().map(|each| {
        let mut like = expr.clone();
        if let SqlExpr::Like { any, pattern, .. } | SqlExpr::ILike { any, pattern, .. } = &mut like
        {
            *any = false;
            **pattern = each.clone();
        }
        SqlExpr::Nested(Box::new(like))
    });
    let all = each.reduce(|left, right| SqlExpr::BinaryOp {
        left: Box::new(left),
        op: op.clone(),
        right: Box::new(right),
    })?;
    Some(SqlExpr::Nested(Box::new(all)))
}

/// The values of a list that is written out.
fn list_of(list: &SqlExpr) -> Option<&[SqlExpr]> {
    match list {
        SqlExpr::Array(list) => Some(&list.elem),
        SqlExpr::Tuple(list) => Some(list),
        _ => None,
    }
}

/// Whether it is a list that has a type, not a subquery.
fn is_list(right: &SqlExpr) -> bool {
    let is_null = matches!(right, SqlExpr::Value(value) if value.value == Value::Null);
    !is_null && !matches!(right, SqlExpr::Subquery(_))
}
