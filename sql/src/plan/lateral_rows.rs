//! `JOIN LATERAL (SELECT … WHERE t.k = o.k ORDER BY x LIMIT n)`: of the rows of each `k` those that are numbered up to `n`.
//!
//! ```text
//! Join                                  Join on o.k = __lateral_0
//!   o                                     o
//!   Limit n                        →      Projection: …, t.k AS __lateral_0
//!     Sort x                                Filter: __number <= n
//!       … Filter: t.k = outer(o.k)            row_number() OVER (PARTITION BY t.k ORDER BY x)
//! ```
//!
//! DataFusion makes joins of lateral subqueries without LIMIT only. A subquery that groups, looks at other rows (OVER, DISTINCT)
//! or has no order is asked over its domain (`correlated/`): above those, the condition would come too late.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, Result as BoundResult, ScalarValue, TableReference};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprFunctionExt, Join, JoinType, Limit, LogicalPlan, LogicalPlanBuilder,
    Operator, ident, lit,
};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;

use super::correlated::reaches_further;

const NUMBER: &str = "__number";

/// `plan` with such joins as joins with numbered rows.
pub(super) fn lateral_rows(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) => match numbered(&join)? {
            Some(plan) => Ok(Transformed::yes(plan)),
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        node => Ok(Transformed::no(node)),
    })
    .data()
}

/// The first rows of an order, and what is made of them.
struct FirstRows<'a> {
    /// The columns that are kept, where the order has others.
    columns: Option<&'a [Expr]>,
    order: &'a [SortExpr],
    input: &'a LogicalPlan,
    /// Rows before the first.
    skip: u64,
    fetch: Option<u64>,
}

impl<'a> FirstRows<'a> {
    fn of(plan: &'a LogicalPlan) -> Option<Self> {
        let LogicalPlan::Limit(limit) = plan else {
            return None;
        };
        let (skip, fetch) = bounds(limit)?;
        let (columns, below) = match limit.input.as_ref() {
            LogicalPlan::Projection(projection) => {
                (Some(projection.expr.as_slice()), projection.input.as_ref())
            }
            below => (None, below),
        };
        let LogicalPlan::Sort(sort) = below else {
            return None;
        };
        Some(Self {
            columns,
            order: &sort.expr,
            input: &sort.input,
            skip,
            fetch,
        })
    }

    /// Whether its columns or its order name the query around.
    fn names_outer(&self) -> bool {
        let columns = self.columns.unwrap_or_default().iter();
        let order = self.order.iter().map(|sort| &sort.expr);
        columns.chain(order).any(Expr::contains_outer)
    }
}

/// How many rows are passed over, and how many are taken. `None`: no number says it.
pub(super) fn bounds(limit: &Limit) -> Option<(u64, Option<u64>)> {
    let number = |expr: &Option<Box<Expr>>| match expr.as_deref() {
        None => Some(None),
        Some(Expr::Literal(value, _)) if value.is_null() => Some(None),
        Some(Expr::Literal(ScalarValue::Int64(Some(number)), _)) => {
            u64::try_from(*number).ok().map(Some)
        }
        Some(_) => None,
    };
    Some((number(&limit.skip)?.unwrap_or(0), number(&limit.fetch)?))
}

/// The subquery of a lateral join that compares with its other side, and what it is called.
fn lateral(plan: &LogicalPlan) -> Option<(&LogicalPlan, Option<&TableReference>)> {
    let (plan, alias) = match plan {
        LogicalPlan::SubqueryAlias(alias) => (alias.input.as_ref(), Some(&alias.alias)),
        plan => (plan, None),
    };
    match plan {
        LogicalPlan::Subquery(subquery) if !subquery.outer_ref_columns.is_empty() => {
            Some((&subquery.subquery, alias))
        }
        _ => None,
    }
}

/// Whether what `plan` names of the query around it decides on each row by itself: it may as well do so above the plan.
fn is_row_by_row(plan: &LogicalPlan) -> bool {
    if plan.all_out_ref_exprs().is_empty() {
        return true;
    }
    let passes_rows = match plan {
        LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => true,
        LogicalPlan::Join(join) => join.join_type == JoinType::Inner,
        _ => false,
    };
    passes_rows && plan.inputs().into_iter().all(is_row_by_row)
}

/// The join with numbered rows. `None`: it is none of these.
fn numbered(join: &Join) -> BoundResult<Option<LogicalPlan>> {
    let Some((subquery, alias)) = lateral(&join.right) else {
        return Ok(None);
    };
    let Some(first) = FirstRows::of(subquery) else {
        return Ok(None);
    };
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left)
        || first.names_outer()
        || !is_row_by_row(first.input)
        || reaches_further(subquery)
    {
        return Ok(None);
    }
    let mut pull_up = PullUpCorrelatedExpr::new().with_need_handle_count_bug(true);
    let rows = first.input.clone().rewrite(&mut pull_up).data()?;
    let is_open = !pull_up.can_pull_up
        || pull_up.pull_up_having_expr.is_some()
        || pull_up.pulled_up_scalar_agg;
    let pairs = pull_up
        .join_filters
        .into_iter()
        .flat_map(split_conjunction_owned);
    let pairs: Option<Vec<(Expr, Expr)>> = pairs.map(|pair| sides(pair, rows.schema())).collect();
    let Some(pairs) = pairs.filter(|pairs| !is_open && !pairs.is_empty()) else {
        return Ok(None);
    };
    let name = |place: usize| format!("__lateral_{place}");
    let number = row_number()
        .partition_by(pairs.iter().map(|(inner, _)| inner.clone()).collect())
        .order_by(first.order.to_vec())
        .build()?
        .alias(NUMBER);
    let last = first
        .fetch
        .map(|fetch| ident(NUMBER).lt_eq(lit(first.skip.saturating_add(fetch))));
    let since = (first.skip > 0).then(|| ident(NUMBER).gt(lit(first.skip)));
    let mut columns = match first.columns {
        Some(columns) => columns.to_vec(),
        None => first
            .input
            .schema()
            .columns()
            .into_iter()
            .map(Expr::Column)
            .collect(),
    };
    let keys = pairs.iter().enumerate();
    columns.extend(keys.map(|(place, (inner, _))| inner.clone().alias(name(place))));
    let mut right = LogicalPlanBuilder::from(rows).window([number])?;
    if let Some(condition) = conjunction(last.into_iter().chain(since)) {
        right = right.filter(condition)?;
    }
    right = right.project(columns)?;
    if let Some(alias) = alias {
        right = right.alias(alias.clone())?;
    }
    let right = right.build()?;
    let key = |place: usize| Expr::Column(Column::new(alias.cloned(), name(place)));
    let on = pairs.into_iter().enumerate();
    let on = on.map(|(place, (_, outer))| outer.eq(key(place)));
    let on = on.chain(join.filter.clone());
    let columns = join.schema.columns().into_iter().map(Expr::Column);
    LogicalPlanBuilder::from(Arc::clone(&join.left))
        .join_on(right, join.join_type, on)?
        .project(columns)?
        .build()
        .map(Some)
}

/// The side of an equality that is of the subquery, and the other one.
fn sides(pair: Expr, inner: &DFSchema) -> Option<(Expr, Expr)> {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = pair
    else {
        return None;
    };
    let is_inner = |expr: &Expr| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| inner.has_column(column))
    };
    match (is_inner(&left), is_inner(&right)) {
        (true, false) => Some((*left, *right)),
        (false, true) => Some((*right, *left)),
        _ => None,
    }
}
