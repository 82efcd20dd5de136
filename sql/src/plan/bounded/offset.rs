//! OFFSET below something that orders its rows.
//!
//! DataFusion's physical planner moves an order that is asked for above through an offset, and then leaves out the first
//! rows of another order. Numbers of rows cannot be moved, so an offset within a query becomes a condition on them.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result as BoundResult, ScalarValue};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, Limit, LogicalPlan, LogicalPlanBuilder, Sort, ident, lit,
};

/// The name of the number.
const NUMBER: &str = "__place";

/// `plan` without offsets below others of its nodes.
pub(super) fn numbered(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    // Nothing is above the last one.
    if let LogicalPlan::Limit(limit) = plan {
        let input = numbered_below(Arc::unwrap_or_clone(limit.input))?;
        return Ok(LogicalPlan::Limit(Limit {
            input: Arc::new(input),
            ..limit
        }));
    }
    numbered_below(plan)
}

fn numbered_below(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Limit(limit) = &plan else {
            return Ok(Transformed::no(plan));
        };
        let (Some(skip), Some(fetch)) = (number(&limit.skip), number(&limit.fetch)) else {
            return Ok(Transformed::no(plan));
        };
        if skip == 0 {
            return Ok(Transformed::no(plan));
        }
        let end = limit.fetch.as_ref().map(|_| skip.saturating_add(fetch));
        match ordered(&limit.input, skip, end)? {
            Some(numbered) => Ok(Transformed::yes(numbered)),
            None => Ok(Transformed::no(plan)),
        }
    })?;
    Ok(rewritten.data)
}

/// A number that is written out; 0 where there is none.
fn number(expr: &Option<Box<Expr>>) -> Option<u64> {
    match expr.as_deref() {
        None => Some(0),
        Some(Expr::Literal(ScalarValue::Int64(Some(number)), _)) => u64::try_from(*number).ok(),
        Some(_) => None,
    }
}

/// The rows after the first `skip` of an order, up to the `end`th. `None`: there is no order.
fn ordered(plan: &LogicalPlan, skip: u64, end: Option<u64>) -> BoundResult<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Sort(sort) => places(sort, skip, end).map(Some),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            let inputs = plan.inputs();
            let Some(below) = inputs.first() else {
                return Ok(None);
            };
            let Some(input) = ordered(below, skip, end)? else {
                return Ok(None);
            };
            plan.with_new_exprs(plan.expressions(), vec![input])
                .map(Some)
        }
        _ => Ok(None),
    }
}

fn places(sort: &Sort, skip: u64, end: Option<u64>) -> BoundResult<LogicalPlan> {
    let columns = sort.input.schema().columns();
    let place = row_number()
        .order_by(sort.expr.clone())
        .build()?
        .alias(NUMBER);
    let mut condition = ident(NUMBER).gt(lit(skip));
    if let Some(end) = end {
        condition = condition.and(ident(NUMBER).lt_eq(lit(end)));
    }
    LogicalPlanBuilder::from(Arc::clone(&sort.input))
        .window([place])?
        .filter(condition)?
        .project(columns.into_iter().map(Expr::Column))?
        .sort(sort.expr.clone())?
        .build()
}
