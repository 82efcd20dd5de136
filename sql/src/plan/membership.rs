//! `x IN (SELECT y …)` whose answer may be NULL, where NULL and false differ.
//!
//! A join tells whether a row has a match, which is true or false. That is enough where only what is true counts; elsewhere
//! the three answers are told apart by what there is:
//!
//! ```text
//! WHERE b OR x IN (SELECT …)             NULL counts as false
//! WHERE b AND x NOT IN (SELECT …)        a condition of its own: a join that knows NULL
//! WHERE b OR x NOT IN (SELECT …)         CASE WHEN EXISTS (… WHERE y = x) THEN true
//! FILTER (WHERE x IN (SELECT …))         NULL counts as false
//! SELECT x IN (SELECT …), CASE, …             WHEN x IS NULL AND EXISTS (…) THEN NULL
//!                                             WHEN EXISTS (… WHERE y IS NULL) THEN NULL ELSE false END
//! ```
//!
//! Of rows, `(a, b) IN (SELECT x, y …)`, the answer is NULL where no row is equal and some may be, for all that is known: one
//! of the subquery's with a NULL, which are few, or any, for a row with a NULL of its own.
//!
//! DataFusion's own join that knows NULL compares one column, so a snapshot takes the second way for a correlated NOT IN.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError, Result as BoundResult, ScalarValue, Spans};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, disjunction, merge_schema};
use datafusion::logical_expr::{
    Case, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit,
};

use super::row_value::{columns_of, members_of};
use super::trace::{Origin, origin, origin_of_expr};
use crate::diagnostic::{Code, Diagnostic};

/// The value of a subquery that another one is compared with.
const MEMBER: &str = "__member";
/// What is 1 in all rows that another one is compared with.
const ONE: &str = "__one";

/// What is asked of an expression.
#[derive(Clone, Copy)]
enum Asked {
    /// Whether it is true, or false where `negated`. `alone`: it is a condition of its own.
    Truth { negated: bool, alone: bool },
    /// What it is, NULL as well.
    Value,
}

/// `plan` in which IN tells NULL from false wherever that makes a difference.
///
/// # Errors
/// An IN whose left side is itself of a query further out, or a subquery.
pub(super) fn closed(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    rewritten(plan, |_, _| true)
}

/// The same for a plan that DataFusion runs.
pub(super) fn closed_for_batch(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    rewritten(plan, |test, negated| {
        !negated || test.subquery.outer_ref_columns.is_empty()
    })
}

/// Writes IN out where its answer may be NULL and matters, or where no join takes it as a condition of its own:
/// `is_join` tells that of an IN, and of one that is negated.
fn rewritten(
    plan: LogicalPlan,
    is_join: impl Fn(&InSubquery, bool) -> bool + Copy,
) -> BoundResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let asked = match node {
            LogicalPlan::Filter(_) | LogicalPlan::Join(_) => Asked::Truth {
                negated: false,
                alone: true,
            },
            _ => Asked::Value,
        };
        let holder = Holder {
            inputs: node.inputs().into_iter().cloned().collect(),
            is_join,
        };
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let is_subquery = |expr: &Expr| matches!(expr, Expr::InSubquery(_) | Expr::Exists(_));
            if !expr.exists(|expr| Ok(is_subquery(expr)))? {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            let closed = holder.closed(expr, asked)?;
            Ok(closed.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(rewritten.data)
}

/// The node that an expression stands in.
struct Holder<F> {
    inputs: Vec<LogicalPlan>,
    is_join: F,
}

impl<F: Fn(&InSubquery, bool) -> bool> Holder<F> {
    fn closed(&self, expr: Expr, asked: Asked) -> BoundResult<Transformed<Expr>> {
        match (expr, asked) {
            (Expr::InSubquery(mut test), _) => {
                let value = self.closed(*test.expr, Asked::Value)?;
                let changed = value.transformed;
                test.expr = Box::new(value.data);
                if let Some(row) = RowTest::of(&test) {
                    return self.row(&row, asked).map(Transformed::yes);
                }
                let (takes_null, joins) = match asked {
                    Asked::Truth {
                        negated,
                        alone: true,
                    } => (true, (self.is_join)(&test, test.negated != negated)),
                    Asked::Truth { negated, .. } => (test.negated == negated, true),
                    Asked::Value => (false, true),
                };
                let open = Open::of(&test, &self.inputs);
                if joins && (takes_null || !open.any()) {
                    return Ok(Transformed::new_transformed(
                        Expr::InSubquery(test),
                        changed,
                    ));
                }
                self.written_out(&test, open).map(Transformed::yes)
            }
            // Whether there is any row is asked of one row.
            (Expr::Exists(test), _) if is_of_many(&test) => {
                let any = exists(&test.subquery.subquery, None)?;
                Ok(Transformed::yes(if test.negated { !any } else { any }))
            }
            (Expr::AggregateFunction(mut call), _) if call.params.filter.is_some() => {
                let asked = Asked::Truth {
                    negated: false,
                    alone: false,
                };
                let filter = call.params.filter.take();
                let filter = filter
                    .map(|filter| self.closed(*filter, asked))
                    .transpose()?;
                let call = Expr::AggregateFunction(call);
                let mut closed = call.map_children(|child| self.closed(child, Asked::Value))?;
                if let (Expr::AggregateFunction(call), Some(filter)) = (&mut closed.data, filter) {
                    closed.transformed |= filter.transformed;
                    call.params.filter = Some(Box::new(filter.data));
                }
                Ok(closed)
            }
            (Expr::Not(inner), Asked::Truth { negated, alone }) => {
                let asked = Asked::Truth {
                    negated: !negated,
                    alone,
                };
                let inner = self.closed(*inner, asked)?;
                Ok(inner.update_data(|inner| Expr::Not(Box::new(inner))))
            }
            (expr @ Expr::BinaryExpr(_), Asked::Truth { negated, alone }) if is_junction(&expr) => {
                // NOT (a OR b) are two conditions too.
                let is_and = matches!(&expr, Expr::BinaryExpr(parts) if parts.op == Operator::And);
                let asked = Asked::Truth {
                    negated,
                    alone: alone && is_and != negated,
                };
                expr.map_children(|part| self.closed(part, asked))
            }
            (expr @ Expr::Alias(_), asked) => expr.map_children(|inner| self.closed(inner, asked)),
            (expr, _) => expr.map_children(|child| self.closed(child, Asked::Value)),
        }
    }

    /// `(a, b) IN (SELECT x, y …)` as what there is of its subquery, of which no join of DataFusion's knows NULL.
    fn row(&self, test: &RowTest<'_>, asked: Asked) -> BoundResult<Expr> {
        let values = test.values.iter().map(|value| self.as_seen_inside(value));
        let values = values.collect::<BoundResult<Vec<Expr>>>()?;
        let column = |place| Expr::Column(Column::new_unqualified(place));
        let members = || (0..values.len()).map(|place| column(member_name(place)));
        let pairs = || members().zip(values.iter().cloned());
        let exists = |condition| exists_among(&test.rows, &test.members, condition);
        let equal = exists(conjunction(pairs().map(|(member, value)| member.eq(value))))?;
        let takes_null = matches!(asked, Asked::Truth { negated, .. } if negated == test.negated);
        let mut parts = vec![equal];
        if !takes_null {
            let open = || pairs().map(|(member, value)| member.eq(value).is_not_false());
            let is_open = |expr: &Expr, plan: &LogicalPlan| may_be_null(expr, &[plan]);
            if test
                .members
                .iter()
                .any(|member| is_open(member, &test.rows))
            {
                let nulls = disjunction(members().map(Expr::is_null));
                parts.push(exists(conjunction(open().chain(nulls)))?);
            }
            let inputs: Vec<&LogicalPlan> = self.inputs.iter().collect();
            if test.values.iter().any(|value| may_be_null(value, &inputs)) {
                // Equal for the few rows with a NULL only, so that others meet nothing.
                let nulls = disjunction(values.iter().cloned().map(Expr::is_null));
                let some = Case::new(None, some_if(nulls), None);
                let key = column(ONE.to_owned()).eq(Expr::Case(some));
                parts.push(exists(conjunction(open().chain([key])))?);
            }
        }
        if let Asked::Truth { .. } = asked {
            let found = if test.negated {
                conjunction(parts.into_iter().map(|part| !part))
            } else {
                disjunction(parts)
            };
            return Ok(found.unwrap_or_else(|| lit(test.negated)));
        }
        let unknown = disjunction(parts.split_off(1));
        let equal = parts.remove(0);
        let Some(unknown) = unknown else {
            return Ok(if test.negated { !equal } else { equal });
        };
        let null = Box::new(lit(ScalarValue::Boolean(None)));
        let cases = vec![
            (Box::new(equal), Box::new(lit(!test.negated))),
            (Box::new(unknown), null),
        ];
        let missed = Some(Box::new(lit(test.negated)));
        Ok(Expr::Case(Case::new(None, cases, missed)))
    }

    /// `x IN (SELECT y …)` as what there is of its subquery.
    fn written_out(&self, test: &InSubquery, open: Open) -> BoundResult<Expr> {
        let values = &test.subquery.subquery;
        let value = self.as_seen_inside(&test.expr)?;
        let member = || Expr::Column(Column::new_unqualified(MEMBER));
        let equal = exists(values, Some(member().eq(value)))?;
        if !open.any() {
            return Ok(if test.negated { !equal } else { equal });
        }
        let null = || Box::new(lit(ScalarValue::Boolean(None)));
        let (met, missed) = (lit(!test.negated), lit(test.negated));
        let mut cases = vec![(Box::new(equal), Box::new(met))];
        if open.value {
            let nothing = test.expr.as_ref().clone().is_null();
            cases.push((Box::new(nothing.and(exists(values, None)?)), null()));
        }
        if open.members {
            let unknown = exists(values, Some(member().is_null()))?;
            cases.push((Box::new(unknown), null()));
        }
        Ok(Expr::Case(Case::new(None, cases, Some(Box::new(missed)))))
    }

    /// An expression of this node, as a subquery inside of it names its columns.
    fn as_seen_inside(&self, expr: &Expr) -> BoundResult<Expr> {
        let inputs: Vec<&LogicalPlan> = self.inputs.iter().collect();
        let schema = merge_schema(&inputs);
        let named = expr.clone().transform_up(|expr| match expr {
            Expr::Column(column) => {
                let (_, field) = schema.qualified_field_from_column(&column)?;
                let outer = Expr::OuterReferenceColumn(Arc::clone(field), column);
                Ok(Transformed::yes(outer))
            }
            Expr::OuterReferenceColumn(..)
            | Expr::ScalarSubquery(_)
            | Expr::InSubquery(_)
            | Expr::Exists(_) => Err(refused()),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(named.data)
    }
}

fn refused() -> DataFusionError {
    let message = "IN (SELECT …) may be NULL here, and its left side is of another query";
    let diagnostic = Diagnostic::new(Code::Unsupported, message)
        .help("compute the left side in a subquery in FROM, or use EXISTS");
    DataFusionError::External(Box::new(diagnostic))
}

fn is_of_many(test: &Exists) -> bool {
    let is_one = matches!(test.subquery.subquery.as_ref(), LogicalPlan::Distinct(_));
    test.subquery.outer_ref_columns.is_empty() && !is_one
}

fn is_junction(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryExpr(parts) if matches!(parts.op, Operator::And | Operator::Or))
}

/// The names of the values of rows that others are compared with.
fn member_name(place: usize) -> String {
    format!("{MEMBER}_{place}")
}

/// `CASE WHEN nulls THEN 1`.
fn some_if(nulls: Option<Expr>) -> Vec<(Box<Expr>, Box<Expr>)> {
    let nulls = nulls.into_iter();
    nulls
        .map(|nulls| (Box::new(nulls), Box::new(lit(1_i64))))
        .collect()
}

/// `(a, b) IN (SELECT x, y …)`.
struct RowTest<'a> {
    values: &'a [Expr],
    rows: Arc<LogicalPlan>,
    /// Over `rows`.
    members: Vec<Expr>,
    negated: bool,
}

impl<'a> RowTest<'a> {
    fn of(test: &'a InSubquery) -> Option<Self> {
        let values = columns_of(&test.expr)?;
        let (rows, members) = members_of(&test.subquery.subquery)?;
        (values.len() == members.len()).then_some(Self {
            values,
            rows,
            members,
            negated: test.negated,
        })
    }
}

/// Whether there is a row of `rows` whose `members`, by their names, meet a condition.
fn exists_among(
    rows: &Arc<LogicalPlan>,
    members: &[Expr],
    condition: Option<Expr>,
) -> BoundResult<Expr> {
    let columns = members.iter().cloned().enumerate();
    let columns = columns.map(|(place, member)| member.alias(member_name(place)));
    let columns = columns.chain([lit(1_i64).alias(ONE)]);
    let mut rows =
        LogicalPlanBuilder::from(Arc::clone(rows)).project(columns.collect::<Vec<_>>())?;
    if let Some(condition) = condition {
        rows = rows.filter(condition)?;
    }
    let rows = rows.build()?;
    Ok(Expr::Exists(Exists {
        subquery: Subquery {
            outer_ref_columns: rows.all_out_ref_exprs(),
            subquery: Arc::new(rows),
            spans: Spans::new(),
        },
        negated: false,
    }))
}

fn may_be_null(expr: &Expr, inputs: &[&LogicalPlan]) -> bool {
    expr.nullable(&merge_schema(inputs)).unwrap_or(true)
        && !inputs
            .iter()
            .any(|input| is_never_null(&origin_of_expr(expr, input)))
}

/// What may be NULL in `x IN (SELECT y …)`.
#[derive(Clone, Copy)]
struct Open {
    /// x
    value: bool,
    /// y
    members: bool,
}

impl Open {
    fn of(test: &InSubquery, inputs: &[LogicalPlan]) -> Self {
        let schemas: Vec<&LogicalPlan> = inputs.iter().collect();
        let value = may_be_null(&test.expr, &schemas);
        let subquery = test.subquery.subquery.as_ref();
        let first = subquery.schema().fields().first();
        let members =
            first.is_none_or(|field| field.is_nullable()) && !is_never_null(&origin(subquery, 0));
        Self { value, members }
    }

    fn any(self) -> bool {
        self.value || self.members
    }
}

/// Whether this is a column that its relation never has NULL in.
fn is_never_null(origin: &Origin) -> bool {
    let Origin::Column(relation, place) = origin else {
        return false;
    };
    let name = relation.schema.field(*place).name();
    let mut columns = relation.columns.iter();
    columns.any(|column| &column.name == name && !column.nullable)
}

/// Whether there is a row of `values` for which `condition` holds.
fn exists(values: &Arc<LogicalPlan>, condition: Option<Expr>) -> BoundResult<Expr> {
    let first = values.schema().iter().next();
    let member = match first {
        Some(first) => Expr::Column(Column::from(first)),
        None => lit(true),
    };
    let rows = LogicalPlanBuilder::from(Arc::clone(values)).project([member.alias(MEMBER)])?;
    let rows = match condition {
        Some(condition) => rows.filter(condition)?.build()?,
        None => rows.build()?,
    };
    let outer_ref_columns = rows.all_out_ref_exprs();
    let rows = if outer_ref_columns.is_empty() {
        LogicalPlanBuilder::from(rows)
            .project([lit(true).alias(MEMBER)])?
            .distinct()?
            .build()?
    } else {
        rows
    };
    Ok(Expr::Exists(Exists {
        subquery: Subquery {
            subquery: Arc::new(rows),
            outer_ref_columns,
            spans: Spans::new(),
        },
        negated: false,
    }))
}
