//! `FETCH FIRST n ROWS ONLY`, the standard's LIMIT, as the LIMIT that it is.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Fetch, LimitClause, Query, Value, VisitMut, VisitorMut};

use crate::diagnostic::{Code, Diagnostic};

/// Writes FETCH as LIMIT, in the query and in all that stand in it.
///
/// # Errors
/// A FETCH that no LIMIT says.
pub(super) fn limit_fetched(query: &mut Query) -> Result<(), Diagnostic> {
    match query.visit(&mut Fetches) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refused) => Err(refused),
    }
}

struct Fetches;

impl VisitorMut for Fetches {
    type Break = Diagnostic;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Diagnostic> {
        let Some(fetch) = query.fetch.take() else {
            return ControlFlow::Continue(());
        };
        match limit(fetch, query.limit_clause.take()) {
            Ok(clause) => {
                query.limit_clause = Some(clause);
                ControlFlow::Continue(())
            }
            Err(refused) => ControlFlow::Break(refused),
        }
    }
}

fn limit(fetch: Fetch, beside: Option<LimitClause>) -> Result<LimitClause, Diagnostic> {
    let refused = |what: &str, help: &str| {
        Err(Diagnostic::new(Code::Unsupported, format!("{what} is not available")).help(help))
    };
    if fetch.with_ties {
        let help = "FETCH FIRST n ROWS ONLY works; rank() <= n in an outer query keeps rows that are equal";
        return refused("FETCH … WITH TIES", help);
    }
    if fetch.percent {
        return refused("FETCH … PERCENT", "FETCH FIRST n ROWS ONLY works");
    }
    let one = || Expr::Value(Value::Number("1".to_owned(), false).into());
    let rows = fetch.quantity.unwrap_or_else(one);
    match beside {
        None => Ok(LimitClause::LimitOffset {
            limit: Some(rows),
            offset: None,
            limit_by: Vec::new(),
        }),
        Some(LimitClause::LimitOffset {
            limit: None,
            offset,
            limit_by,
        }) => Ok(LimitClause::LimitOffset {
            limit: Some(rows),
            offset,
            limit_by,
        }),
        Some(_) => Err(
            Diagnostic::new(Code::Syntax, "LIMIT and FETCH say the same twice")
                .help("take one of them away"),
        ),
    }
}
