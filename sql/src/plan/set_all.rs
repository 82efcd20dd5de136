//! EXCEPT ALL and INTERSECT ALL count: of a row that is there m times on the left and n times on the right, m − n or the
//! lesser of both are in the answer.
//!
//! DataFusion makes them an anti or semi join on all columns, which only tells whether a row is on the right at all. Here
//! equal rows are numbered on either side, and the join goes by the number too: the third of equal rows on the left meets
//! the third on the right, or none.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, NullEquality, Result as BoundResult};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, Join, JoinType, LogicalPlan, LogicalPlanBuilder,
};

/// The names of the numbers.
const NUMBERS: [&str; 2] = ["__nth", "__nth_there"];

/// `plan` with sets that count. To be called before anything else makes joins of it.
pub(super) fn counted(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Join(join) if is_set(&join) => set(join).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(rewritten.data)
}

/// Whether it stands for a set operation: no other syntax lets NULL equal NULL.
fn is_set(join: &Join) -> bool {
    let is_kind = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti);
    let counts = !matches!(join.left.as_ref(), LogicalPlan::Distinct(_));
    is_kind && counts && join.null_equality == NullEquality::NullEqualsNull
}

fn set(join: Join) -> BoundResult<LogicalPlan> {
    let columns = join.left.schema().columns();
    let [left_number, right_number] = NUMBERS;
    let left = numbered(&join.left, left_number)?;
    let right = numbered(&join.right, right_number)?;
    let mut on = join.on;
    on.push((
        Expr::Column(Column::from_name(left_number)),
        Expr::Column(Column::from_name(right_number)),
    ));
    let joined = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        join.filter,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    LogicalPlanBuilder::from(LogicalPlan::Join(joined))
        .project(columns.into_iter().map(Expr::Column))?
        .build()
}

/// The rows with which one of its equals each is.
fn numbered(rows: &Arc<LogicalPlan>, name: &str) -> BoundResult<LogicalPlan> {
    let columns = rows.schema().columns();
    let number = row_number()
        .partition_by(columns.into_iter().map(Expr::Column).collect())
        .build()?
        .alias(name);
    LogicalPlanBuilder::from(Arc::clone(rows))
        .window([number])?
        .build()
}
