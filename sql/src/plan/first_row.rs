//! `(SELECT x … ORDER BY y LIMIT 1)` in place of a value: the first x in the order of y, which is an aggregate.
//!
//! A subquery that is compared with the query around it becomes a join over groups, and of groups only an aggregate has one
//! row.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result as BoundResult, ScalarValue};
use datafusion::functions_aggregate::expr_fn::first_value;
use datafusion::logical_expr::{
    Expr, Limit, LogicalPlan, LogicalPlanBuilder, Projection, Sort, Subquery,
};

/// `plan` with such subqueries as aggregates.
pub(super) fn first_rows(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| {
            expr.transform_up(|expr| {
                let Expr::ScalarSubquery(value) = &expr else {
                    return Ok(Transformed::no(expr));
                };
                Ok(match first_row(&value.subquery)? {
                    Some(first) => Transformed::yes(Expr::ScalarSubquery(Subquery {
                        subquery: Arc::new(first),
                        ..value.clone()
                    })),
                    None => Transformed::no(expr),
                })
            })
        })
    })?;
    Ok(rewritten.data)
}

/// The first row as an aggregate. `None`: it is no first row of an order.
fn first_row(plan: &LogicalPlan) -> BoundResult<Option<LogicalPlan>> {
    let LogicalPlan::Limit(limit) = plan else {
        return Ok(None);
    };
    let [field] = plan.schema().fields().as_ref() else {
        return Ok(None);
    };
    if !is_one(limit) {
        return Ok(None);
    }
    let (value, sort) = match limit.input.as_ref() {
        LogicalPlan::Sort(sort) => {
            let columns = sort.input.schema().columns().into_iter().next();
            (columns.map(Expr::Column), sort)
        }
        LogicalPlan::Projection(Projection { expr, input, .. }) => match input.as_ref() {
            LogicalPlan::Sort(sort) => (expr.first().cloned(), sort),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let (
        Some(value),
        Sort {
            expr: order,
            fetch: None,
            input,
        },
    ) = (value, sort)
    else {
        return Ok(None);
    };
    let first = first_value(value.unalias_nested().data, order.clone());
    let name = first.schema_name().to_string();
    let first = LogicalPlanBuilder::from(Arc::clone(input))
        .aggregate(Vec::<Expr>::new(), [first])?
        .project([Expr::Column(Column::new_unqualified(name)).alias(field.name())])?
        .build()?;
    Ok(Some(first))
}

fn is_one(limit: &Limit) -> bool {
    let number = |expr: &Option<Box<Expr>>| match expr.as_deref() {
        Some(Expr::Literal(ScalarValue::Int64(number), _)) => *number,
        _ => None,
    };
    let skips = limit.skip.is_some() && number(&limit.skip) != Some(0);
    number(&limit.fetch) == Some(1) && !skips
}
