//! EXISTS and IN in place of a value: in a SELECT list, under GROUP BY, in the argument of an aggregate, in ON.
//!
//! DataFusion makes joins of those in a condition only. Here each gets a column below the node that it stands in, which a
//! join fills:
//!
//! ```text
//! Projection: x, EXISTS (…)       Projection: x, mark            Aggregate: sum(CASE WHEN EXISTS (…) …)
//!   t                         →     LeftMark Join               →  Aggregate: sum(__value_1)
//!                                     t, …                           Projection: t.*, CASE … AS __value_1
//! Join: a, b ON x AND EXISTS (…)     →     Filter: EXISTS (…) over Join: a, b ON x, of an inner join
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError, Result as BoundResult};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Expr, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection,
};
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::diagnostic::{Code, Diagnostic, Words};

/// The rule.
#[derive(Debug)]
pub(super) struct ValueSubqueries;

impl OptimizerRule for ValueSubqueries {
    fn name(&self) -> &str {
        "value_subqueries"
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
        config: &dyn OptimizerConfig,
    ) -> BoundResult<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Projection(projection) if projection.expr.iter().any(is_asked) => {
                marked(projection, config).map(Transformed::yes)
            }
            LogicalPlan::Aggregate(aggregate)
                if (aggregate.group_expr.iter().chain(&aggregate.aggr_expr)).any(holds_any) =>
            {
                values_below(aggregate, config).map(Transformed::yes)
            }
            LogicalPlan::Join(join)
                if join.join_type == JoinType::Inner
                    && join.filter.as_ref().is_some_and(holds_any) =>
            {
                condition_above(join).map(Transformed::yes)
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// `plan`, if all of its subqueries have become joins or are of a single value.
///
/// # Errors
/// One that is left, which nothing evaluates.
pub(crate) fn without_open_subqueries(
    plan: LogicalPlan,
    words: &Words,
) -> BoundResult<LogicalPlan> {
    let is_open = |expr: &Expr| match expr {
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => true,
        Expr::ScalarSubquery(value) => !value.outer_ref_columns.is_empty(),
        _ => false,
    };
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| match expr.exists(|expr| Ok(is_open(expr)))? {
            true => Err(refused()),
            false => Ok(TreeNodeRecursion::Continue),
        })
    })?;
    match open_reference(&plan, words)? {
        Some(open) => Err(DataFusionError::External(Box::new(open))),
        None => Ok(plan),
    }
}

/// What is wrong with a plan that still names a column of the query around it: no join was made of its subquery.
pub(crate) fn open_reference(plan: &LogicalPlan, words: &Words) -> BoundResult<Option<Diagnostic>> {
    let is_outer = |expr: &Expr| Ok(matches!(expr, Expr::OuterReferenceColumn(..)));
    let mut condition = None;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Subquery(_)) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            if !expr.exists(is_outer)? {
                return Ok(TreeNodeRecursion::Continue);
            }
            condition = Some(matches!(
                node,
                LogicalPlan::Filter(_) | LogicalPlan::Join(_)
            ));
            Ok(TreeNodeRecursion::Stop)
        })
    })?;
    let place = |names: &[&str]| names.iter().find_map(|name| words.place(name));
    Ok(condition.map(|condition| {
        if !condition && let Some(at) = words.place("UNNEST") {
            let message = "UNNEST takes a list of the query around it apart in FROM only";
            return Diagnostic::new(Code::Unsupported, message).at(at).help(
                "write it beside its table: FROM t CROSS JOIN UNNEST(t.list) AS g (x), or LEFT JOIN UNNEST(…) AS g (x) ON true",
            );
        }
        if !condition {
            let message = "this subquery computes with a column of the query around it outside of its WHERE";
            return Diagnostic::new(Code::Unsupported, message)
                .at(place(&["LATERAL", "EXISTS"]))
                .help("compute it from the columns of a JOIN");
        }
        let message = "a condition other than = with a column of the query around it does not work in this subquery";
        Diagnostic::new(Code::Unsupported, message)
            .at(place(&["LATERAL", "EXISTS"]))
            .help("JOIN takes any condition; of each row the newest one before it: ASOF JOIN, or ROW_NUMBER() OVER (…) over the JOIN")
    }))
}

/// Whether an expression asks whether there are rows.
fn is_asked(expr: &Expr) -> bool {
    let asks = expr.exists(|expr| Ok(matches!(expr, Expr::Exists(_) | Expr::InSubquery(_))));
    asks.unwrap_or(false)
}

/// Whether an expression holds a subquery.
fn holds_any(expr: &Expr) -> bool {
    let holds = expr.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_)
        ))
    });
    holds.unwrap_or(false)
}

fn marked(projection: Projection, config: &dyn OptimizerConfig) -> BoundResult<LogicalPlan> {
    let mut input = projection.input;
    let mut exprs = Vec::with_capacity(projection.expr.len());
    for (expr, (qualifier, field)) in projection.expr.into_iter().zip(projection.schema.iter()) {
        if !is_asked(&expr) {
            exprs.push(expr);
            continue;
        }
        let (below, value) = joined(input, expr.unalias_nested().data, config)?;
        input = below;
        exprs.push(value.alias_qualified(qualifier.cloned(), field.name().clone()));
    }
    LogicalPlanBuilder::from(input).project(exprs)?.build()
}

/// The joins that answer what `expr` asks, and `expr` over their columns.
fn joined(
    input: Arc<LogicalPlan>,
    expr: Expr,
    config: &dyn OptimizerConfig,
) -> BoundResult<(Arc<LogicalPlan>, Expr)> {
    // A condition like this one becomes a filter over joins, and the part of it that is sought stays as it is.
    let condition = Filter::try_new(expr.is_null(), input)?;
    let rule = DecorrelatePredicateSubquery::new();
    let mut plan = rule.rewrite(LogicalPlan::Filter(condition), config)?.data;
    loop {
        match plan {
            LogicalPlan::Projection(projection) => plan = Arc::unwrap_or_clone(projection.input),
            LogicalPlan::Filter(filter) => {
                return match filter.predicate {
                    Expr::IsNull(value) if !is_asked(&value) => Ok((filter.input, *value)),
                    _ => Err(refused()),
                };
            }
            _ => return Err(refused()),
        }
    }
}

fn refused() -> DataFusionError {
    let message = "this subquery compares rows with the query around it in a way that no join does";
    let diagnostic = Diagnostic::new(Code::Unsupported, message).help(
        "compare columns in its WHERE, below any aggregate and without LIMIT, or write a JOIN",
    );
    DataFusionError::External(Box::new(diagnostic))
}

/// The parts of an aggregation's expressions that hold subqueries, as columns of a projection below it.
fn values_below(aggregate: Aggregate, config: &dyn OptimizerConfig) -> BoundResult<LogicalPlan> {
    let names = (aggregate.schema.iter())
        .map(|(qualifier, field)| (qualifier.cloned(), field.name().clone()))
        .collect::<Vec<_>>();
    let mut columns: Vec<Expr> = (aggregate.input.schema().columns().into_iter())
        .map(Expr::Column)
        .collect();
    let mut below: Vec<(Expr, Column)> = Vec::new();
    let mut moved = |expr: Expr| -> BoundResult<Expr> {
        let replaced = expr.transform_down(|expr| {
            let inside = matches!(
                expr,
                Expr::AggregateFunction(_) | Expr::Alias(_) | Expr::GroupingSet(_)
            );
            if inside || !holds_any(&expr) {
                return Ok(Transformed::no(expr));
            }
            let known = below.iter().find(|(other, _)| *other == expr);
            let column = match known {
                Some((_, column)) => column.clone(),
                None => {
                    let name = config.alias_generator().next("__value");
                    let column = Column::new_unqualified(name.clone());
                    columns.push(expr.clone().alias(name));
                    below.push((expr, column.clone()));
                    column
                }
            };
            let column = Expr::Column(column);
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        })?;
        Ok(replaced.data)
    };
    let groups = aggregate.group_expr.into_iter().map(&mut moved);
    let groups = groups.collect::<BoundResult<Vec<_>>>()?;
    let calls = aggregate.aggr_expr.into_iter().map(&mut moved);
    let calls = calls.collect::<BoundResult<Vec<_>>>()?;
    let input = LogicalPlanBuilder::from(aggregate.input)
        .project(columns)?
        .build()?;
    let aggregate = Aggregate::try_new(Arc::new(input), groups, calls)?;
    let renamed: Vec<Expr> = (aggregate.schema.columns().into_iter().zip(names))
        .map(|(column, (qualifier, name))| Expr::Column(column).alias_qualified(qualifier, name))
        .collect();
    LogicalPlanBuilder::from(LogicalPlan::Aggregate(aggregate))
        .project(renamed)?
        .build()
}

/// The parts of an inner join's condition that hold subqueries, as a condition on the pairs.
fn condition_above(mut join: Join) -> BoundResult<LogicalPlan> {
    let parts = join.filter.take().map(split_conjunction_owned);
    let (above, within): (Vec<Expr>, Vec<Expr>) = parts.into_iter().flatten().partition(holds_any);
    join.filter = conjunction(within);
    let mut plan = LogicalPlanBuilder::from(LogicalPlan::Join(join));
    if let Some(condition) = conjunction(above) {
        plan = plan.filter(condition)?;
    }
    plan.build()
}
