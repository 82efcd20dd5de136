//! `GROUP BY ()`: all rows are one group, even where there are none. That is what an aggregate without GROUP BY does, so
//! the clause is taken away before DataFusion's binder, which knows no empty group, sees it.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, Query, Select, SetExpr, VisitMut, VisitorMut, visit_expressions,
};

use crate::diagnostic::{Code, Diagnostic};

/// Takes empty groups out of a query and of all that stand in it.
///
/// # Errors
/// One whose SELECT has no aggregate: nothing else would say then that there is one row.
pub(super) fn plain_groups(
    query: &mut Query,
    is_aggregate: impl Fn(&str) -> bool,
) -> Result<(), Diagnostic> {
    match query.visit(&mut Groups(is_aggregate)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refused) => Err(refused),
    }
}

struct Groups<F>(F);

impl<F: Fn(&str) -> bool> VisitorMut for Groups<F> {
    type Break = Diagnostic;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Diagnostic> {
        self.of_body(&mut query.body)
    }
}

impl<F: Fn(&str) -> bool> Groups<F> {
    fn of_body(&self, body: &mut SetExpr) -> ControlFlow<Diagnostic> {
        match body {
            SetExpr::Select(select) => self.of_select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.of_body(left)?;
                self.of_body(right)
            }
            // What stands in parentheses is visited as a query.
            _ => ControlFlow::Continue(()),
        }
    }

    fn of_select(&self, select: &mut Select) -> ControlFlow<Diagnostic> {
        let GroupByExpr::Expressions(groups, _) = &mut select.group_by else {
            return ControlFlow::Continue(());
        };
        let before = groups.len();
        groups.retain(|group| !matches!(group, Expr::Tuple(parts) if parts.is_empty()));
        let emptied = groups.is_empty() && before > 0;
        if emptied && !self.aggregates(select) {
            let message =
                "GROUP BY () makes one group of all rows, and nothing is computed over it";
            return ControlFlow::Break(
                Diagnostic::new(Code::Unsupported, message)
                    .help("add an aggregate like count(*), or take GROUP BY () away"),
            );
        }
        ControlFlow::Continue(())
    }

    /// Whether the SELECT list or HAVING calls an aggregate.
    fn aggregates(&self, select: &Select) -> bool {
        let is_aggregate = |expr: &Expr| match expr {
            Expr::Function(call) if call.over.is_none() => {
                let name = call.name.0.last().and_then(|part| part.as_ident());
                name.is_some_and(|name| (self.0)(&name.value.to_lowercase()))
            }
            _ => false,
        };
        let found = |expr: &Expr| match is_aggregate(expr) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        visit_expressions(&select.projection, found).is_break()
            || visit_expressions(&select.having, found).is_break()
    }
}
