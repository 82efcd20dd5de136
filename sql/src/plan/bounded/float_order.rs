//! Floats that are equal have one place in an order, and are of one partition: −0.0, which rounding gives, is 0.0, and there
//! is one NaN. DataFusion sorts floats by their bits.

use datafusion::common::Result as BoundResult;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::super::number::one_zero;

/// `plan` whose orders and partitions take floats so.
pub(super) fn by_value(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Sort(mut sort) => {
            let keys = sort.expr.iter_mut().map(|key| &mut key.expr);
            let changed = one_zero(keys, sort.input.schema());
            Ok(Transformed::new_transformed(
                LogicalPlan::Sort(sort),
                changed,
            ))
        }
        LogicalPlan::Window(window) => {
            let schema = window.input.schema().clone();
            let node = LogicalPlan::Window(window);
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let changed = expr.transform_up(|expr| {
                    let Expr::WindowFunction(mut call) = expr else {
                        return Ok(Transformed::no(expr));
                    };
                    let params = &mut call.params;
                    let order = params.order_by.iter_mut().map(|key| &mut key.expr);
                    let keys = params.partition_by.iter_mut().chain(order);
                    let changed = one_zero(keys, &schema);
                    Ok(Transformed::new_transformed(
                        Expr::WindowFunction(call),
                        changed,
                    ))
                })?;
                Ok(match changed.transformed {
                    true => changed.update_data(|expr| name.restore(expr)),
                    false => changed,
                })
            })
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(rewritten.data)
}
