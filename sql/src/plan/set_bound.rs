//! `x > ALL (SELECT …)` and its like compare with the greatest or the least value of the subquery; `= ANY` is IN, `<> ALL`
//! is NOT IN.
//!
//! ```text
//!             no rows     x ≤ m      x > m                              m: the greatest value of ALL, the least of ANY
//! x > ALL     true        false      true, NULL where there are NULLs
//! x > ANY     false       false, NULL where there are NULLs      true
//! ```
//!
//! Row by row it would be a join of every row with every one of the subquery.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result as BoundResult, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::{InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, Case, Expr, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit,
};

use super::row_value::columns_of;

/// What the second subquery says: there are no rows, no NULLs among them, some.
const NOTHING: i64 = 0;
const VALUES: i64 = 1;

/// `plan` with such comparisons.
pub(super) fn bounds_of_sets(plan: LogicalPlan, state: &SessionState) -> BoundResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| match expr {
                Expr::SetComparison(comparison) => compared(comparison, state),
                expr => Ok(Transformed::no(expr)),
            })?;
            Ok(match changed.transformed {
                true => changed.update_data(|expr| name.restore(expr)),
                false => changed,
            })
        })
    })?;
    Ok(rewritten.data)
}

fn compared(comparison: SetComparison, state: &SessionState) -> BoundResult<Transformed<Expr>> {
    let SetComparison {
        expr,
        subquery,
        op,
        quantifier,
    } = &comparison;
    let all = matches!(quantifier, SetQuantifier::All);
    let membership = |negated| {
        let expr = expr.clone();
        let subquery = subquery.clone();
        Expr::InSubquery(InSubquery::new(expr, subquery, negated))
    };
    let wants_greatest = match op {
        Operator::Eq if !all => return Ok(Transformed::yes(membership(false))),
        Operator::NotEq if all => return Ok(Transformed::yes(membership(true))),
        // Of rows there is no greatest one.
        _ if columns_of(expr).is_some() => {
            return Ok(Transformed::no(Expr::SetComparison(comparison)));
        }
        Operator::Gt | Operator::GtEq => all,
        Operator::Lt | Operator::LtEq => !all,
        _ => return Ok(Transformed::no(Expr::SetComparison(comparison))),
    };
    let Some(value) = subquery.subquery.schema().columns().into_iter().next() else {
        return Ok(Transformed::no(Expr::SetComparison(comparison)));
    };
    let aggregate = |name: &str, of: Expr| {
        let function = state.aggregate_functions().get(name);
        function.map(|function| function.call(vec![of]))
    };
    let extreme = if wants_greatest { "max" } else { "min" };
    let (Some(bound), Some(rows), Some(values)) = (
        aggregate(extreme, Expr::Column(value.clone())),
        aggregate("count", lit(1_i64)),
        aggregate("count", Expr::Column(value)),
    ) else {
        return Ok(Transformed::no(Expr::SetComparison(comparison)));
    };
    let bound = one_value(subquery, vec![bound], |mut columns| columns.remove(0))?;
    let what = one_value(subquery, vec![rows, values], |columns| {
        let is_empty = columns[0].clone().eq(lit(0_i64));
        let is_whole = columns[0].clone().eq(columns[1].clone());
        case(
            vec![(is_empty, lit(NOTHING)), (is_whole, lit(VALUES))],
            lit(VALUES + 1),
        )
    })?;
    let holds = Expr::BinaryExpr(BinaryExpr::new(expr.clone(), *op, Box::new(bound)));
    let without_nulls = what.clone().eq(lit(VALUES));
    let null = Expr::Literal(ScalarValue::Boolean(None), None);
    let decided = holds.clone().eq(lit(!all));
    let result = case(
        vec![
            (what.eq(lit(NOTHING)), lit(all)),
            (decided, lit(!all)),
            (holds.is_not_null().and(without_nulls), lit(all)),
        ],
        null,
    );
    Ok(Transformed::yes(result))
}

fn case(branches: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let branches = branches.into_iter();
    let branches = branches.map(|(when, then)| (Box::new(when), Box::new(then)));
    Expr::Case(Case::new(
        None,
        branches.collect(),
        Some(Box::new(otherwise)),
    ))
}

/// A value of aggregates over the rows of a subquery, as a subquery.
fn one_value(
    of: &Subquery,
    aggregates: Vec<Expr>,
    value: impl FnOnce(Vec<Expr>) -> Expr,
) -> BoundResult<Expr> {
    let names = aggregates.iter().map(|expr| expr.schema_name().to_string());
    let columns = names.map(|name| Expr::Column(Column::new_unqualified(name)));
    let columns: Vec<Expr> = columns.collect();
    let plan = LogicalPlanBuilder::from(Arc::clone(&of.subquery))
        .aggregate(Vec::<Expr>::new(), aggregates)?
        .project([value(columns).alias("value")])?
        .build()?;
    Ok(Expr::ScalarSubquery(Subquery {
        subquery: Arc::new(plan),
        ..of.clone()
    }))
}
