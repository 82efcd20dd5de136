//! PostgreSQL's meaning of expressions, put into a plan before its types are settled. This rule walks the plan from the
//! leaves on; `time.rs` and `number.rs` change a node at a time.

use std::sync::Arc;

use datafusion::common::Result as BoundResult;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Case, Cast, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::{as_text, json, list_cast, list_nulls, number, similar, time};

/// The rule.
#[derive(Debug)]
pub(super) struct Meaning;

impl AnalyzerRule for Meaning {
    fn name(&self) -> &str {
        "meaning"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> BoundResult<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            let values = match &plan {
                LogicalPlan::Values(values) => Some(Arc::clone(&values.schema)),
                _ => None,
            };
            let mut place = 0;
            let rewritten = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = rewritten(expr, &schema)?;
                // The types of VALUES are settled already.
                let column = values.as_ref().map(|values| {
                    let fields = values.fields();
                    fields[place % fields.len()].data_type().clone()
                });
                place += 1;
                if !rewritten.transformed {
                    return Ok(rewritten);
                }
                Ok(rewritten.update_data(|expr| match column {
                    Some(column) => Expr::Cast(Cast::new(Box::new(expr), column)),
                    None => name.restore(expr),
                }))
            })?;
            if rewritten.transformed {
                rewritten.map_data(LogicalPlan::recompute_schema)
            } else {
                Ok(rewritten)
            }
        })?;
        // Types above a changed one follow it.
        if rewritten.transformed {
            let plan = rewritten.data;
            return Ok(plan
                .transform_up(|plan| plan.recompute_schema().map(Transformed::yes))?
                .data);
        }
        Ok(rewritten.data)
    }
}

/// `expr` over rows of `schema` with PostgreSQL's meaning.
pub(super) fn rewritten(expr: Expr, schema: &DFSchema) -> BoundResult<Transformed<Expr>> {
    expr.transform_up(|expr| {
        time::rewrite(expr, schema)?
            .transform_data(|expr| Ok(similar::rewrite(expr)))?
            .transform_data(|expr| json::rewrite(expr, schema))?
            .transform_data(|expr| number::rewrite(expr, schema))?
            .transform_data(|expr| Ok(list_nulls::rewrite(expr)))?
            .transform_data(|expr| list_cast::rewrite(expr, schema))?
            .transform_data(|expr| as_text::rewrite(expr, schema))?
            .transform_data(|expr| Ok(only_where_filtered(expr)))
    })
}

/// The argument of an aggregate with FILTER counts for the rows that the filter lets through, so it is not evaluated,
/// and cannot fail, on others.
fn only_where_filtered(expr: Expr) -> Transformed<Expr> {
    let Expr::AggregateFunction(mut call) = expr else {
        return Transformed::no(expr);
    };
    let Some(filter) = call.params.filter.clone() else {
        return Transformed::no(Expr::AggregateFunction(call));
    };
    let mut changed = false;
    for arg in &mut call.params.args {
        let plain = matches!(
            arg,
            Expr::Column(_) | Expr::Literal(..) | Expr::OuterReferenceColumn(..) | Expr::Case(_)
        );
        if !plain {
            let then = std::mem::replace(arg, Expr::Literal(ScalarValue::Null, None));
            let when_then = vec![(filter.clone(), Box::new(then))];
            *arg = Expr::Case(Case::new(None, when_then, None));
            changed = true;
        }
    }
    Transformed::new_transformed(Expr::AggregateFunction(call), changed)
}
