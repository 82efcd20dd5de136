//! Grouping sets over expressions: what is computed becomes a column below the aggregate, of the same name. And CUBE and
//! ROLLUP within GROUPING SETS, which are the sets that they stand for.
//!
//! ```text
//! Aggregate: ROLLUP (f(x), y)     →     Aggregate: ROLLUP ("f(x)", y)
//!   t                                     Projection: t.*, f(x)
//! ```
//!
//! Rules that give an expression PostgreSQL's meaning keep its name by an alias, and none can stand in a set. GROUPING is of
//! the columns then, too.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result as BoundResult};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast::{Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::aggregate::CUBE_COLUMNS_MAX;

/// Writes out CUBE and ROLLUP among the sets of GROUPING SETS, and those over several columns together, as
/// `ROLLUP ((a, b), c)`.
pub(super) fn write_out_sets(group: &mut SqlExpr) {
    let sets = match &*group {
        SqlExpr::GroupingSets(sets) => sets.iter().flat_map(|set| written_out(set)).collect(),
        SqlExpr::Rollup(parts) if has_several(parts) => prefixes(parts),
        SqlExpr::Cube(parts) if has_several(parts) && parts.len() <= CUBE_COLUMNS_MAX => {
            subsets(parts)
        }
        _ => return,
    };
    *group = SqlExpr::GroupingSets(sets);
}

fn has_several(parts: &[Vec<SqlExpr>]) -> bool {
    parts.iter().any(|part| part.len() != 1)
}

/// The sets of ROLLUP.
fn prefixes(parts: &[Vec<SqlExpr>]) -> Vec<Vec<SqlExpr>> {
    let counts = (0..=parts.len()).rev();
    counts.map(|count| parts[..count].concat()).collect()
}

/// The sets of CUBE.
fn subsets(parts: &[Vec<SqlExpr>]) -> Vec<Vec<SqlExpr>> {
    let subset = |bits: usize| {
        let parts = parts.iter().enumerate();
        let chosen = parts.filter(|(place, _)| bits >> place & 1 == 1);
        chosen.flat_map(|(_, part)| part.clone()).collect()
    };
    (0..1_usize << parts.len()).map(subset).collect()
}

/// The sets that one stands for: itself, if it is neither CUBE nor ROLLUP.
fn written_out(set: &[SqlExpr]) -> Vec<Vec<SqlExpr>> {
    let itself = || vec![set.to_vec()];
    if let [SqlExpr::GroupingSets(sets)] = set {
        return sets.iter().flat_map(|set| written_out(set)).collect();
    }
    let [SqlExpr::Function(call)] = set else {
        return itself();
    };
    let FunctionArguments::List(list) = &call.args else {
        return itself();
    };
    let parts = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Tuple(parts))) => Some(parts.clone()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(part)) => Some(vec![part.clone()]),
        _ => None,
    });
    let Some(parts) = parts.collect::<Option<Vec<Vec<SqlExpr>>>>() else {
        return itself();
    };
    match call.name.to_string().to_lowercase().as_str() {
        "rollup" => prefixes(&parts),
        "cube" if parts.len() <= CUBE_COLUMNS_MAX => subsets(&parts),
        _ => itself(),
    }
}

/// `plan` with columns in its grouping sets.
pub(super) fn sets_of_columns(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => match computed(&aggregate) {
            exprs if exprs.is_empty() => Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
            exprs => over_columns(aggregate, &exprs).map(Transformed::yes),
        },
        node => Ok(Transformed::no(node)),
    })?;
    Ok(rewritten.data)
}

/// What is computed in the grouping sets of an aggregate.
fn computed(aggregate: &Aggregate) -> Vec<Expr> {
    let [Expr::GroupingSet(sets)] = aggregate.group_expr.as_slice() else {
        return Vec::new();
    };
    let exprs = sets.distinct_expr().into_iter();
    exprs
        .filter(|expr| !matches!(expr, Expr::Column(_)))
        .cloned()
        .collect()
}

fn over_columns(aggregate: Aggregate, computed: &[Expr]) -> BoundResult<LogicalPlan> {
    let name = |expr: &Expr| expr.schema_name().to_string();
    let column = |expr: Expr| match computed.contains(&expr) {
        true => Expr::Column(Column::new_unqualified(name(&expr))),
        false => expr,
    };
    let below = aggregate.input.schema().columns().into_iter();
    let below = below.map(Expr::Column);
    let added = computed.iter().map(|expr| expr.clone().alias(name(expr)));
    let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(aggregate.input))
        .project(below.chain(added).collect::<Vec<_>>())?;
    let group_expr = aggregate.group_expr.into_iter().map(|expr| match expr {
        Expr::GroupingSet(sets) => Expr::GroupingSet(match sets {
            GroupingSet::Rollup(list) => {
                GroupingSet::Rollup(list.into_iter().map(column).collect())
            }
            GroupingSet::Cube(list) => GroupingSet::Cube(list.into_iter().map(column).collect()),
            GroupingSet::GroupingSets(lists) => {
                let lists = lists.into_iter();
                let lists = lists.map(|list| list.into_iter().map(column).collect());
                GroupingSet::GroupingSets(lists.collect())
            }
        }),
        other => other,
    });
    let aggr_expr = aggregate.aggr_expr.into_iter().map(|expr| {
        let rewritten = expr.transform_up(|expr| match expr {
            Expr::AggregateFunction(mut call) if call.func.name() == "grouping" => {
                let args = call.params.args.into_iter();
                call.params.args = args.map(column).collect();
                Ok(Transformed::yes(Expr::AggregateFunction(call)))
            }
            expr => Ok(Transformed::no(expr)),
        })?;
        Ok(rewritten.data)
    });
    let aggr_expr = aggr_expr.collect::<BoundResult<Vec<Expr>>>()?;
    input
        .aggregate(group_expr.collect::<Vec<_>>(), aggr_expr)?
        .build()
}
