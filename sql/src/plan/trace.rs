//! Where a column of a bound query comes from: unchanged from a relation, from a window, or computed.

use std::sync::Arc;

use datafusion::common::Result as BoundResult;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan};

use super::as_of::AsOf;
use super::relation_source::RelationSource;
use super::session::Session;
use super::tumble::Tumble;
use crate::catalog::Relation;

/// Where a column comes from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// This column of a relation, unchanged.
    Column(Arc<Relation>, usize),
    /// A bound of a window.
    Window {
        /// The window's length, µs.
        size_us: i64,
        /// The time column below the window.
        time: Box<Origin>,
    },
    /// Anything else.
    Computed,
}

/// Where column `index` of `plan` comes from.
pub(crate) fn origin(plan: &LogicalPlan, index: usize) -> Origin {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let index = match &scan.projection {
                Some(projection) => projection.get(index).copied(),
                None => Some(index),
            };
            match (scan.source.downcast_ref::<RelationSource>(), index) {
                (Some(source), Some(index)) => Origin::Column(Arc::clone(&source.relation), index),
                _ => Origin::Computed,
            }
        }
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, index),
        LogicalPlan::Subquery(subquery) => origin(&subquery.subquery, index),
        LogicalPlan::Filter(filter) => origin(&filter.input, index),
        LogicalPlan::Limit(limit) => origin(&limit.input, index),
        LogicalPlan::Sort(sort) => origin(&sort.input, index),
        LogicalPlan::Window(window) if index < window.input.schema().fields().len() => {
            origin(&window.input, index)
        }
        LogicalPlan::Union(union) => {
            let branches = union.inputs.iter().map(|input| origin(input, index));
            branches.reduce(latest).unwrap_or(Origin::Computed)
        }
        LogicalPlan::Unnest(unnest) => match unnest.dependency_indices.get(index) {
            Some(&below)
                if unnest
                    .list_type_columns
                    .iter()
                    .all(|(place, _)| *place != below) =>
            {
                origin(&unnest.input, below)
            }
            _ => Origin::Computed,
        },
        LogicalPlan::Projection(projection) => match projection.expr.get(index) {
            Some(expr) => origin_of_expr(expr, &projection.input),
            None => Origin::Computed,
        },
        LogicalPlan::Aggregate(aggregate) => match aggregate.group_expr.get(index) {
            Some(expr) => origin_of_expr(expr, &aggregate.input),
            None => Origin::Computed,
        },
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            match join.join_type {
                JoinType::Inner | JoinType::Left | JoinType::LeftSemi if index < left => {
                    origin(&join.left, index)
                }
                JoinType::Inner | JoinType::Right if index >= left => {
                    origin(&join.right, index - left)
                }
                _ => Origin::Computed,
            }
        }
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any();
            if let Some(tumble) = node.downcast_ref::<Tumble>() {
                return of_window(index, &tumble.input, tumble.time_index(), tumble.size_us);
            }
            if let Some(session) = node.downcast_ref::<Session>() {
                // A session may have begun any time before it ends.
                if index == session.input.schema().fields().len() {
                    return Origin::Computed;
                }
                return of_window(index, &session.input, session.time_index(), session.gap_us);
            }
            if let Some(join) = node.downcast_ref::<AsOf>()
                && index < join.left.schema().fields().len()
            {
                return origin(&join.left, index);
            }
            Origin::Computed
        }
        _ => Origin::Computed,
    }
}

/// Where column `index` of windows over `input` comes from.
fn of_window(index: usize, input: &LogicalPlan, time: BoundResult<usize>, size_us: i64) -> Origin {
    if index < input.schema().fields().len() {
        return origin(input, index);
    }
    let time = time.map(|time| origin(input, time));
    Origin::Window {
        size_us,
        time: Box::new(time.unwrap_or(Origin::Computed)),
    }
}

/// Of two event times the one that stays behind further: whoever waits for it has waited for both.
fn latest(one: Origin, other: Origin) -> Origin {
    let delay = |origin: &Origin| match origin {
        Origin::Column(relation, place) => {
            let mut times = relation.times.iter();
            let time = times.find(|time| time.column == *place)?;
            Some(time.delay_us)
        }
        _ => None,
    };
    match (delay(&one), delay(&other)) {
        (Some(first), Some(second)) if first >= second => one,
        (Some(_), Some(_)) => other,
        _ => Origin::Computed,
    }
}

/// Where the values of `expr` over rows of `input` come from.
pub(crate) fn origin_of_expr(expr: &Expr, input: &LogicalPlan) -> Origin {
    match expr {
        Expr::Column(column) => match input.schema().index_of_column(column) {
            Ok(index) => origin(input, index),
            Err(_) => Origin::Computed,
        },
        Expr::Alias(alias) => origin_of_expr(&alias.expr, input),
        _ => Origin::Computed,
    }
}
