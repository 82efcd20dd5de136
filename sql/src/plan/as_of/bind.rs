//! From joins with a marked condition to as-of joins.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{
    Column, DFSchema, DataFusionError, JoinConstraint, Result as BoundResult, ScalarValue,
    internal_err,
};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Extension, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator,
};
use streams::Nearest;

use super::text::{ARRIVAL, MATCH, SYSTEM_TIME};
use super::{AsOf, Meets, is_of};
use crate::catalog::Relation;
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::relation_source::RelationSource;

/// `plan` with nodes of their own for joins with a marked condition.
///
/// # Errors
/// Conditions that such a join does not take.
pub(in crate::plan) fn as_of_joins(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Join(join) if join.filter.as_ref().is_some_and(has_mark) => {
            as_of(&join, None).map(Transformed::yes)
        }
        LogicalPlan::Filter(filter) if has_mark(&filter.predicate) => {
            placed(filter).map(Transformed::yes)
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(rewritten.data)
}

fn has_mark(condition: &Expr) -> bool {
    split_conjunction(condition)
        .into_iter()
        .any(|part| mark_of(part).is_some())
}

/// A mark and its arguments.
#[derive(Clone, Copy)]
struct Mark<'a> {
    name: &'a str,
    args: &'a [Expr],
}

fn mark_of(expr: &Expr) -> Option<Mark<'_>> {
    match expr {
        Expr::ScalarFunction(call) if [MATCH, SYSTEM_TIME, ARRIVAL].contains(&call.func.name()) => {
            Some(Mark {
                name: call.func.name(),
                args: &call.args,
            })
        }
        _ => None,
    }
}

/// Moves the marks of a WHERE to the joins that they are of.
fn placed(filter: Filter) -> BoundResult<LogicalPlan> {
    let mut plan = filter.input.as_ref().clone();
    let mut others = Vec::new();
    for part in split_conjunction(&filter.predicate) {
        match mark_of(part) {
            Some(mark) => plan = place(plan, mark)?,
            None => others.push(part.clone()),
        }
    }
    match conjunction(others) {
        Some(condition) => LogicalPlanBuilder::from(plan).filter(condition)?.build(),
        None => Ok(plan),
    }
}

/// The join with USING that `mark` is of: its last argument is a column of the right side.
fn place(plan: LogicalPlan, mark: Mark<'_>) -> BoundResult<LogicalPlan> {
    let Some(Expr::Column(column)) = mark.args.last() else {
        return internal_err!("{} does not say which join it is of", mark.name);
    };
    let LogicalPlan::Join(join) = plan else {
        return internal_err!("{} is of no join", mark.name);
    };
    if !join.right.schema().has_column(column) {
        let left = place(join.left.as_ref().clone(), mark)?;
        return with_sides(&join, left, join.right.as_ref().clone());
    }
    if matches!(join.right.as_ref(), LogicalPlan::Join(_)) {
        let right = place(join.right.as_ref().clone(), mark)?;
        return with_sides(&join, join.left.as_ref().clone(), right);
    }
    let args = &mark.args[..mark.args.len() - 1];
    as_of(&join, Some(Mark { args, ..mark }))
}

fn with_sides(join: &Join, left: LogicalPlan, right: LogicalPlan) -> BoundResult<LogicalPlan> {
    let plan = LogicalPlan::Join(join.clone());
    plan.with_new_exprs(plan.expressions(), vec![left, right])
}

fn refused(message: impl Into<String>, help: &str) -> DataFusionError {
    let diagnostic = Diagnostic::new(Code::Unsupported, message).help(help);
    DataFusionError::External(Box::new(diagnostic))
}

/// What the condition of a join says.
struct Condition<'a> {
    mark: Mark<'a>,
    /// Expressions of the left side and of the right one that are equal.
    on: Vec<(Expr, Expr)>,
    others: Vec<&'a Expr>,
}

impl<'a> Condition<'a> {
    fn of(join: &'a Join, mark: Option<Mark<'a>>) -> BoundResult<Self> {
        let (left, right) = (join.left.schema(), join.right.schema());
        let (mut on, mut others, mut mark) = (join.on.clone(), Vec::new(), mark);
        for part in join.filter.iter().flat_map(split_conjunction) {
            if let Some(found) = mark_of(part) {
                mark = Some(found);
                continue;
            }
            match part {
                Expr::BinaryExpr(BinaryExpr {
                    left: one,
                    op: Operator::Eq,
                    right: other,
                }) if is_of(one, left) && is_of(other, right) => {
                    on.push((one.as_ref().clone(), other.as_ref().clone()));
                }
                Expr::BinaryExpr(BinaryExpr {
                    left: one,
                    op: Operator::Eq,
                    right: other,
                }) if is_of(other, left) && is_of(one, right) => {
                    on.push((other.as_ref().clone(), one.as_ref().clone()));
                }
                other => others.push(other),
            }
        }
        match mark {
            Some(mark) => Ok(Self { mark, on, others }),
            None => internal_err!("a join without a mark"),
        }
    }
}

/// The join that a mark makes of `join`; `mark`: it did not stand in ON.
fn as_of(join: &Join, mark: Option<Mark<'_>>) -> BoundResult<LogicalPlan> {
    let condition = Condition::of(join, mark)?;
    match condition.mark.name {
        MATCH => nearest(join, condition),
        _ => temporal(join, condition),
    }
}

fn node(join: &Join, on: Vec<(Expr, Expr)>, meets: Meets) -> AsOf {
    AsOf {
        left: Arc::clone(&join.left),
        right: Arc::clone(&join.right),
        on,
        nearest: Nearest::AtOrBefore,
        times: None,
        meets,
        pads: join.join_type == JoinType::Left,
        schema: Arc::clone(&join.schema),
    }
}

fn planned(node: AsOf) -> LogicalPlan {
    let node = Arc::new(node);
    LogicalPlan::Extension(Extension { node })
}

/// `ASOF JOIN`.
fn nearest(join: &Join, mut condition: Condition<'_>) -> BoundResult<LogicalPlan> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let compared = |expr: &Expr| match expr {
        Expr::BinaryExpr(compared) => times_of(compared, left, right),
        _ => None,
    };
    let is_elsewhere = matches!(
        condition.mark.args.first(),
        Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _))
    );
    let time = if !is_elsewhere {
        condition.mark.args.first().and_then(compared)
    } else if join.join_constraint != JoinConstraint::Using {
        let place = (condition.others.iter()).position(|other| compared(other).is_some());
        place.and_then(|place| compared(condition.others.remove(place)))
    } else {
        condition.on.pop().map(|times| (Nearest::AtOrBefore, times))
    };
    if let Some(other) = condition.others.first() {
        return Err(refused(
            format!("ON of an ASOF JOIN compares both sides with =, which {other} does not"),
            "put a condition on one side into a subquery of it, and other conditions into WHERE",
        ));
    }
    let Some((nearest, times)) = time else {
        return Err(match is_elsewhere {
            true => refused(
                "an ASOF JOIN compares a time of each side with >=, >, <= or <, and its ON does not",
                "ASOF JOIN b ON a.k = b.k AND a.ts >= b.ts",
            ),
            false => refused(
                "MATCH_CONDITION compares a time of each side with >=, >, <= or <",
                "MATCH_CONDITION (a.ts >= b.ts)",
            ),
        });
    };
    Ok(planned(AsOf {
        nearest,
        times: Some(times),
        ..node(join, condition.on, Meets::Nearest)
    }))
}

/// Which right rows count, and the times of both sides.
fn times_of(
    compared: &BinaryExpr,
    left: &DFSchema,
    right: &DFSchema,
) -> Option<(Nearest, (Expr, Expr))> {
    let (one, other) = (&compared.left, &compared.right);
    let (op, times) = if is_of(one, left) && is_of(other, right) {
        (compared.op, (one, other))
    } else if is_of(other, left) && is_of(one, right) {
        (compared.op.swap()?, (other, one))
    } else {
        return None;
    };
    let nearest = match op {
        Operator::GtEq => Nearest::AtOrBefore,
        Operator::Gt => Nearest::Before,
        Operator::LtEq => Nearest::AtOrAfter,
        Operator::Lt => Nearest::After,
        _ => return None,
    };
    Some((
        nearest,
        (times.0.as_ref().clone(), times.1.as_ref().clone()),
    ))
}

/// `JOIN … FOR SYSTEM_TIME AS OF`.
fn temporal(join: &Join, condition: Condition<'_>) -> BoundResult<LogicalPlan> {
    let pads = join.join_type == JoinType::Left;
    if let (true, Some(other)) = (pads, condition.others.first()) {
        return Err(refused(
            format!(
                "ON of a LEFT JOIN with FOR SYSTEM_TIME compares both sides with =, which {other} does not"
            ),
            "conditions on what was found go into the SELECT list: CASE WHEN … THEN t.x END",
        ));
    }
    let joined = match condition.mark.name {
        ARRIVAL => planned(node(join, condition.on, Meets::Arrival)),
        _ => versions(join, condition.mark, condition.on)?,
    };
    match conjunction(condition.others.into_iter().cloned()) {
        Some(condition) => LogicalPlanBuilder::from(joined).filter(condition)?.build(),
        None => Ok(joined),
    }
}

/// The join with the version of a time, with the columns of `join`.
fn versions(join: &Join, mark: Mark<'_>, on: Vec<(Expr, Expr)>) -> BoundResult<LogicalPlan> {
    let Some(time) = mark.args.first() else {
        return internal_err!("{} without a time", mark.name);
    };
    if !is_of(time, join.left.schema()) {
        return Err(refused(
            format!("FOR SYSTEM_TIME AS OF takes a time of the left side, which {time} is not"),
            "FROM f JOIN t FOR SYSTEM_TIME AS OF f.ts ON f.k = t.k",
        ));
    }
    let (right, version_time) = records_of(&join.right, &on)?;
    let as_of = AsOf {
        right: Arc::new(right),
        times: Some((time.clone(), version_time)),
        ..node(join, on, Meets::Version)
    };
    let as_of = AsOf {
        schema: as_of.over(as_of.left.as_ref().clone(), as_of.right.as_ref().clone())?,
        ..as_of
    };
    let columns = join.schema.columns().into_iter().map(Expr::Column);
    LogicalPlanBuilder::from(planned(as_of))
        .project(columns)?
        .build()
}

/// All records of the relation that `plan` is, with what orders those of one time, and the column of their event time.
fn records_of(plan: &LogicalPlan, on: &[(Expr, Expr)]) -> BoundResult<(LogicalPlan, Expr)> {
    let (scan, alias) = match plan {
        LogicalPlan::SubqueryAlias(alias) => (alias.input.as_ref(), Some(&alias.alias)),
        plan => (plan, None),
    };
    let source = match scan {
        LogicalPlan::TableScan(scan) => scan.source.downcast_ref::<RelationSource>(),
        _ => None,
    };
    let (LogicalPlan::TableScan(scan), Some(source)) = (scan, source) else {
        return Err(refused(
            "FOR SYSTEM_TIME AS OF reads the versions of a source or table, by its name",
            "ASOF JOIN … MATCH_CONDITION (a.ts >= b.ts) takes any query",
        ));
    };
    let relation = &source.relation;
    check_versions(relation, on)?;
    let versions = Arc::new(relation.versions());
    let Some(time) = versions.times.first() else {
        return internal_err!("versions without a time");
    };
    let time = versions.schema.field(time.column).name().clone();
    let source = Arc::new(RelationSource { relation: versions });
    let mut plan = LogicalPlanBuilder::scan(scan.table_name.clone(), source, None)?;
    if let Some(alias) = alias {
        plan = plan.alias(alias.clone())?;
    }
    let qualifier = alias.unwrap_or(&scan.table_name).clone();
    Ok((
        plan.build()?,
        Expr::Column(Column::new(Some(qualifier), time)),
    ))
}

fn check_versions(relation: &Relation, on: &[(Expr, Expr)]) -> BoundResult<()> {
    let name = relation.name();
    if relation.view.is_some() {
        return Err(refused(
            format!(
                "{name} is a view, which keeps its rows as they are now, and no versions of them"
            ),
            "ASOF JOIN … MATCH_CONDITION (a.ts >= b.ts) finds the row that is nearest in time",
        ));
    }
    if relation.times.is_empty() {
        return Err(refused(
            format!("{name} declares no event time, so nothing tells from when a version is valid"),
            "declare it: WATERMARK FOR ts AS ts - INTERVAL '5 seconds'; or take the records' own time with INCLUDE timestamp AS c",
        ));
    }
    if matches!(relation.value_format, streams::ValueFormat::Debezium { .. }) {
        return Err(refused(
            format!("the records of {name} tell what happened to a row, and are no versions of it"),
            "a source over the same topic reads its records as they are",
        ));
    }
    let compared = |column: &usize| {
        let key = relation.schema.field(*column).name();
        on.iter()
            .any(|(_, right)| matches!(right, Expr::Column(column) if column.name == *key))
    };
    if relation.key.iter().all(compared) {
        return Ok(());
    }
    let key: Vec<&str> = (relation.key.iter())
        .map(|&column| relation.schema.field(column).name().as_str())
        .collect();
    Err(refused(
        format!(
            "{name} has versions of each row, so ON compares its primary key ({})",
            key.join(", ")
        ),
        "ASOF JOIN … MATCH_CONDITION (a.ts >= b.ts) finds the nearest row whatever ON compares",
    ))
}
