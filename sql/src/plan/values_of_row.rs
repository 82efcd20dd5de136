//! `FROM t, LATERAL (VALUES (t.a, 1), (t.b, 2)) AS v (x, y)`: rows made of columns of the query around are queries without
//! FROM, of which the rules for subqueries know what to do.
//!
//! ```text
//! (VALUES (t.a, 1), (t.b, 2))   →   (SELECT t.a AS column1, 1 AS column2 UNION ALL SELECT t.b, 2)
//! ```

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr as SqlExpr, Ident, Query, SelectItem, SetExpr, SetOperator, SetQuantifier, TableFactor,
    Values, VisitMut, VisitorMut, visit_expressions,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

/// Writes such VALUES out, in `query` and all queries inside of it.
pub(super) fn values_as_queries(query: &mut Query) {
    let _: ControlFlow<()> = query.visit(&mut Rows);
}

struct Rows;

impl VisitorMut for Rows {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, .. } = factor
            && let SetExpr::Values(values) = &*subquery.body
            && let Some(body) = written_out(values)
        {
            *subquery.body = body;
        }
        ControlFlow::Continue(())
    }
}

/// `None`: the values name no column, so they are rows of their own.
fn written_out(values: &Values) -> Option<SetExpr> {
    let names_column = visit_expressions(values, |expr| match expr {
        SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    if names_column.is_continue() {
        return None;
    }
    let rows = values.rows.iter().map(|row| {
        let mut select = without_from();
        if let SetExpr::Select(select) = &mut select {
            let cells = row.iter().cloned().enumerate();
            let cells = cells.map(|(place, expr)| SelectItem::ExprWithAlias {
                expr,
                alias: Ident::new(format!("column{}", place + 1)),
            });
            select.projection = cells.collect();
        }
        select
    });
    rows.reduce(|above, below| SetExpr::SetOperation {
        op: SetOperator::Union,
        set_quantifier: SetQuantifier::All,
        left: Box::new(above),
        right: Box::new(below),
    })
}

fn without_from() -> SetExpr {
    let parser = Parser::new(&GenericDialect {}).try_with_sql("SELECT 1");
    let mut parser = parser.expect("the text is of known words");
    let query = parser.parse_query().expect("the text is a query");
    *query.body
}
