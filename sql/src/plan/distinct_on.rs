//! DISTINCT ON as what it is: of the rows that are equal in some columns the first in an order, so those numbered 1.
//!
//! DataFusion makes it an aggregation of first values, each by itself: with ties, of different rows; and it panics where
//! the order names a column twice. Its ORDER BY is that of the rows that stay as well, so LIMIT takes the first of these.

use std::sync::Arc;

use datafusion::common::Result as BoundResult;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Distinct, DistinctOn, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, ident, lit,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The name of the number.
const NUMBER: &str = "__number";

/// The rule.
#[derive(Debug)]
pub(super) struct DistinctOnIsRank;

impl OptimizerRule for DistinctOnIsRank {
    fn name(&self) -> &str {
        "distinct_on_is_rank"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> BoundResult<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Distinct(Distinct::On(distinct)) => ranked(distinct).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        }
    }
}

/// `plan` with each DISTINCT ON that LIMIT stands above as rows in their order.
pub(super) fn limited_in_order(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Limit(mut limit) = node else {
            return Ok(Transformed::no(node));
        };
        let LogicalPlan::Distinct(Distinct::On(distinct)) = limit.input.as_ref() else {
            return Ok(Transformed::no(LogicalPlan::Limit(limit)));
        };
        limit.input = Arc::new(in_order(distinct.clone())?);
        Ok(Transformed::yes(LogicalPlan::Limit(limit)))
    })
    .data()
}

/// DISTINCT ON as the rows that are numbered 1.
pub(super) fn ranked(distinct: DistinctOn) -> BoundResult<LogicalPlan> {
    first_ones(distinct, false)
}

/// The same, in the order that it names.
pub(super) fn in_order(distinct: DistinctOn) -> BoundResult<LogicalPlan> {
    first_ones(distinct, true)
}

fn first_ones(distinct: DistinctOn, in_order: bool) -> BoundResult<LogicalPlan> {
    let order = distinct.sort_expr.unwrap_or_default();
    let number = row_number().partition_by(distinct.on_expr);
    let number = match order.is_empty() {
        true => number,
        false => number.order_by(order.clone()),
    };
    let number = number.build()?.alias(NUMBER);
    let named = distinct.select_expr.into_iter().zip(distinct.schema.iter());
    let columns = named.map(|(expr, (qualifier, field))| {
        expr.alias_qualified(qualifier.cloned(), field.name().clone())
    });
    let mut rows = LogicalPlanBuilder::from(Arc::unwrap_or_clone(distinct.input))
        .window([number])?
        .filter(ident(NUMBER).eq(lit(1_u64)))?;
    if in_order && !order.is_empty() {
        rows = rows.sort(order)?;
    }
    rows.project(columns)?.build()
}
