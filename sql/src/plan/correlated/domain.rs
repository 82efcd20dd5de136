//! The rows of a subquery for each row that it is asked of: what of the query around it the subquery names is a relation,
//! its domain, and goes into the subquery as a part of a join.
//!
//! ```text
//! outer(t.a), outer(t.b)         domain: SELECT DISTINCT t.a, t.b
//!
//! Aggregate: max(u.ts)           Aggregate: domain, max(u.ts)          and a row of its own for what has none
//!   Filter: u.k < outer(t.a)  →    Join: u.k < domain.a
//!     u                              domain
//!                                    u
//! Limit: 1                       row_number() OVER (PARTITION BY domain ORDER BY …) <= 1
//! UNNEST(outer(t.list))          UNNEST(domain.list)
//! ```
//!
//! Follows Neumann, Kemper: Unnesting Arbitrary Queries (BTW 2015), section 3.
//!
//! Invariant: what an operator gives for a row of the domain, with the keys of that row beside it, is what it would give for
//! that row alone.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Column, DFSchemaRef, NullEquality, Result as BoundResult, ScalarValue, TableReference,
};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, ExprFunctionExt, GroupingSet, Join, JoinType, Limit,
    LogicalPlan, LogicalPlanBuilder, Subquery, Union, lit, when,
};

use super::super::lateral_rows::bounds;

/// Aggregates that are a number where there are no rows.
const COUNTS: &[&str] = &["count", "regr_count", "approx_distinct"];

/// What a subquery names of the query around it.
pub(super) struct Domain<'a> {
    /// The rows that the subquery is asked of.
    around: &'a LogicalPlan,
    /// Its columns that the subquery names, each once.
    outer: Vec<Column>,
    /// Numbers for names that nothing else has.
    number: &'a Cell<usize>,
}

/// A plan over the domain.
pub(super) struct Bound {
    pub plan: LogicalPlan,
    /// The columns of `plan` that are the domain's, in its order.
    pub keys: Vec<Column>,
}

impl<'a> Domain<'a> {
    /// What `subquery` names of `around`. `None`: nothing.
    pub(super) fn of(
        around: &'a LogicalPlan,
        subquery: &LogicalPlan,
        number: &'a Cell<usize>,
    ) -> BoundResult<Option<Self>> {
        let mut outer = Vec::new();
        subquery.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    if let Expr::OuterReferenceColumn(_, column) = expr
                        && around.schema().has_column(column)
                        && !outer.contains(column)
                    {
                        outer.push(column.clone());
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok((!outer.is_empty()).then_some(Self {
            around,
            outer,
            number,
        }))
    }

    /// The columns around that the keys of a plan over the domain are equal to.
    pub(super) fn outer(&self) -> &[Column] {
        &self.outer
    }

    /// Each combination of values that the query around has.
    fn rows(&self) -> BoundResult<Bound> {
        let number = self.number.get() + 1;
        self.number.set(number);
        let alias = TableReference::bare(format!("__outer_{number}"));
        let names: Vec<String> = (0..self.outer.len())
            .map(|place| format!("__outer_{number}_{place}"))
            .collect();
        let columns = self.outer.iter().cloned().zip(&names);
        let columns = columns.map(|(column, name)| Expr::Column(column).alias(name));
        let plan = LogicalPlanBuilder::from(self.around.clone())
            .project(columns.collect::<Vec<_>>())?
            .distinct()?
            .alias(alias.clone())?
            .build()?;
        let key = |name| Column::new(Some(alias.clone()), name);
        let keys = names.into_iter().map(key).collect();
        Ok(Bound { plan, keys })
    }

    fn depends(&self, plan: &LogicalPlan) -> BoundResult<bool> {
        let mut depends = false;
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                depends |= expr.exists(|expr| Ok(self.is_own(expr)))?;
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(depends)
    }

    fn is_own(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::OuterReferenceColumn(_, column) if self.outer.contains(column))
    }

    /// `expr` with the keys in the place of what they are equal to, in subqueries inside of it as well.
    fn replaced(&self, expr: Expr, keys: &[Column]) -> BoundResult<Expr> {
        let key_of = |column: &Column| {
            let place = self.outer.iter().position(|outer| outer == column)?;
            keys.get(place).cloned()
        };
        let inside = |subquery: Subquery| -> BoundResult<Subquery> {
            let plan = Arc::unwrap_or_clone(subquery.subquery);
            let plan = plan.transform_up_with_subqueries(|node| {
                node.map_expressions(|expr| {
                    expr.transform_up(|expr| match expr {
                        Expr::OuterReferenceColumn(field, column) => match key_of(&column) {
                            Some(key) => {
                                Ok(Transformed::yes(Expr::OuterReferenceColumn(field, key)))
                            }
                            None => Ok(Transformed::no(Expr::OuterReferenceColumn(field, column))),
                        },
                        expr => Ok(Transformed::no(expr)),
                    })
                })
            })?;
            Ok(Subquery {
                outer_ref_columns: plan.data.all_out_ref_exprs(),
                subquery: Arc::new(plan.data),
                spans: subquery.spans,
            })
        };
        let replaced = expr.transform_up(|expr| {
            Ok(match expr {
                Expr::OuterReferenceColumn(field, column) => match key_of(&column) {
                    Some(key) => Transformed::yes(Expr::Column(key)),
                    None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
                },
                Expr::ScalarSubquery(value) => {
                    Transformed::yes(Expr::ScalarSubquery(inside(value)?))
                }
                Expr::InSubquery(mut test) => {
                    test.subquery = inside(test.subquery)?;
                    Transformed::yes(Expr::InSubquery(test))
                }
                Expr::Exists(mut test) => {
                    test.subquery = inside(test.subquery)?;
                    Transformed::yes(Expr::Exists(test))
                }
                Expr::SetComparison(mut test) => {
                    test.subquery = inside(test.subquery)?;
                    Transformed::yes(Expr::SetComparison(test))
                }
                expr => Transformed::no(expr),
            })
        })?;
        Ok(replaced.data)
    }

    fn all_replaced(&self, exprs: &[Expr], keys: &[Column]) -> BoundResult<Vec<Expr>> {
        let exprs = exprs.iter();
        exprs
            .map(|expr| self.replaced(expr.clone(), keys))
            .collect()
    }

    /// `plan` for each row of the domain. `None`: an operator that it does not go through.
    pub(super) fn bound(&self, plan: &LogicalPlan) -> BoundResult<Option<Bound>> {
        if let LogicalPlan::EmptyRelation(empty) = plan
            && empty.produce_one_row
        {
            return self.rows().map(Some);
        }
        if !self.depends(plan)? {
            let Bound { plan: rows, keys } = self.rows()?;
            let rows = LogicalPlanBuilder::from(rows);
            let plan = rows.cross_join(plan.clone())?.build()?;
            return Ok(Some(Bound { plan, keys }));
        }
        match plan {
            LogicalPlan::Subquery(subquery) => self.bound(&subquery.subquery),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.bound(&sort.input),
            LogicalPlan::Filter(filter) => {
                let Some(Bound { plan, keys }) = self.bound(&filter.input)? else {
                    return Ok(None);
                };
                let condition = self.replaced(filter.predicate.clone(), &keys)?;
                let plan = LogicalPlanBuilder::from(plan).filter(condition)?.build()?;
                Ok(Some(Bound { plan, keys }))
            }
            LogicalPlan::Projection(projection) => {
                let Some(Bound { plan, keys }) = self.bound(&projection.input)? else {
                    return Ok(None);
                };
                let exprs = self.all_replaced(&projection.expr, &keys)?;
                let exprs = named(exprs, &projection.schema);
                let plan = LogicalPlanBuilder::from(plan)
                    .project(exprs.chain(columns(&keys)).collect::<Vec<_>>())?
                    .build()?;
                Ok(Some(Bound { plan, keys }))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(Bound { plan, keys }) = self.bound(&alias.input)? else {
                    return Ok(None);
                };
                let plan = LogicalPlanBuilder::from(plan)
                    .alias(alias.alias.clone())?
                    .build()?;
                let key = |key: Column| Column::new(Some(alias.alias.clone()), key.name);
                let keys = keys.into_iter().map(key).collect();
                Ok(Some(Bound { plan, keys }))
            }
            LogicalPlan::Unnest(unnest) => {
                let Some(Bound { plan, keys }) = self.bound(&unnest.input)? else {
                    return Ok(None);
                };
                let (lists, options) = (unnest.exec_columns.clone(), unnest.options.clone());
                let plan = LogicalPlanBuilder::from(plan)
                    .unnest_columns_with_options(lists, options)?
                    .build()?;
                Ok(Some(Bound { plan, keys }))
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let Some(Bound { plan, keys }) = self.bound(input)? else {
                    return Ok(None);
                };
                let plan = LogicalPlanBuilder::from(plan).distinct()?.build()?;
                Ok(Some(Bound { plan, keys }))
            }
            LogicalPlan::Distinct(Distinct::On(first)) => self.first_of_each(first),
            LogicalPlan::Window(window) => {
                let Some(Bound { plan, keys }) = self.bound(&window.input)? else {
                    return Ok(None);
                };
                let calls = self.all_replaced(&window.window_expr, &keys)?.into_iter();
                let calls = calls.map(|call| per_key(call, &keys));
                let calls = calls.collect::<BoundResult<Vec<Expr>>>()?;
                let inputs = plan.schema().fields().len();
                let plan = LogicalPlanBuilder::from(plan).window(calls)?.build()?;
                let further = plan.schema().columns().into_iter().skip(inputs);
                let own = window.input.schema().columns().into_iter();
                let all = own.chain(further).map(Expr::Column).collect();
                let exprs = named(all, &window.schema).chain(columns(&keys));
                let plan = LogicalPlanBuilder::from(plan)
                    .project(exprs.collect::<Vec<_>>())?
                    .build()?;
                Ok(Some(Bound { plan, keys }))
            }
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            _ => Ok(None),
        }
    }

    fn aggregate(&self, aggregate: &Aggregate) -> BoundResult<Option<Bound>> {
        let Some(Bound { plan, keys }) = self.bound(&aggregate.input)? else {
            return Ok(None);
        };
        let own = self.all_replaced(&aggregate.group_expr, &keys)?;
        let groups: Vec<Expr> = columns(&keys).chain(own).collect();
        let calls = self.all_replaced(&aggregate.aggr_expr, &keys)?;
        let plan = LogicalPlanBuilder::from(plan)
            .aggregate(groups, calls)?
            .build()?;
        let given = plan.schema().columns().into_iter().skip(keys.len());
        let given: Vec<Expr> = given.map(Expr::Column).collect();
        if !has_group_of_all(&aggregate.group_expr) {
            let exprs = named(given, &aggregate.schema).chain(columns(&keys));
            let plan = LogicalPlanBuilder::from(plan)
                .project(exprs.collect::<Vec<_>>())?
                .build()?;
            return Ok(Some(Bound { plan, keys }));
        }
        // Over no rows it has a row as well.
        let all = self.rows()?;
        let plan = LogicalPlanBuilder::from(all.plan)
            .join_detailed(
                plan,
                JoinType::Left,
                (all.keys.clone(), keys),
                None,
                NullEquality::NullEqualsNull,
            )?
            .build()?;
        let groups = given.len() - aggregate.aggr_expr.len();
        let calls = std::iter::repeat_n(None, groups).chain(aggregate.aggr_expr.iter().map(Some));
        let values = given.into_iter().zip(calls);
        let values = values.zip(aggregate.schema.fields());
        let values = values.map(|((value, call), field)| match call.and_then(over_nothing) {
            Some(number) => {
                let number = ScalarValue::Int64(Some(number)).cast_to(field.data_type())?;
                when(value.clone().is_null(), lit(number)).otherwise(value)
            }
            None => Ok(value),
        });
        let values = values.collect::<BoundResult<Vec<Expr>>>()?;
        let exprs = named(values, &aggregate.schema).chain(columns(&all.keys));
        let plan = LogicalPlanBuilder::from(plan)
            .project(exprs.collect::<Vec<_>>())?
            .build()?;
        Ok(Some(Bound {
            plan,
            keys: all.keys,
        }))
    }

    fn first_of_each(&self, first: &DistinctOn) -> BoundResult<Option<Bound>> {
        let Some(Bound { plan, keys }) = self.bound(&first.input)? else {
            return Ok(None);
        };
        let on = self.all_replaced(&first.on_expr, &keys)?;
        let on = columns(&keys).chain(on).collect();
        let select = self.all_replaced(&first.select_expr, &keys)?;
        let select = named(select, &first.schema).chain(columns(&keys)).collect();
        let order = match &first.sort_expr {
            Some(order) => {
                let keys_first = columns(&keys).map(|key| key.sort(true, false));
                let order = self.order(order, &keys)?;
                Some(keys_first.chain(order).collect())
            }
            None => None,
        };
        let first = DistinctOn::try_new(on, select, order, Arc::new(plan))?;
        let plan = LogicalPlan::Distinct(Distinct::On(first));
        Ok(Some(Bound { plan, keys }))
    }

    fn order(&self, order: &[SortExpr], keys: &[Column]) -> BoundResult<Vec<SortExpr>> {
        let order = order.iter().map(|sort| {
            let expr = self.replaced(sort.expr.clone(), keys)?;
            Ok(SortExpr {
                expr,
                ..sort.clone()
            })
        });
        order.collect()
    }

    fn limit(&self, limit: &Limit) -> BoundResult<Option<Bound>> {
        let Some((skip, fetch)) = bounds(limit) else {
            return Ok(None);
        };
        let (projected, below) = match limit.input.as_ref() {
            LogicalPlan::Projection(projection)
                if matches!(projection.input.as_ref(), LogicalPlan::Sort(_)) =>
            {
                (Some(projection), projection.input.as_ref())
            }
            below => (None, below),
        };
        let (order, below) = match below {
            LogicalPlan::Sort(sort) => (sort.expr.as_slice(), sort.input.as_ref()),
            below => (&[][..], below),
        };
        let Some(Bound { plan, keys }) = self.bound(below)? else {
            return Ok(None);
        };
        let exprs = match projected {
            Some(projection) => {
                let exprs = self.all_replaced(&projection.expr, &keys)?;
                named(exprs, &projection.schema).collect()
            }
            None => columns(&below.schema().columns()).collect::<Vec<_>>(),
        };
        let name = format!("__number_{}", self.number.get());
        let number = || Expr::Column(Column::new_unqualified(name.clone()));
        let numbered = row_number().partition_by(columns(&keys).collect());
        let numbered = match self.order(order, &keys)? {
            any if any.is_empty() => numbered,
            order => numbered.order_by(order),
        };
        let numbered = numbered.build()?.alias(name.clone());
        let last = fetch.map(|fetch| number().lt_eq(lit(skip.saturating_add(fetch))));
        let since = (skip > 0).then(|| number().gt(lit(skip)));
        let mut plan = LogicalPlanBuilder::from(plan).window([numbered])?;
        if let Some(condition) = conjunction(last.into_iter().chain(since)) {
            plan = plan.filter(condition)?;
        }
        let exprs = exprs.into_iter().chain(columns(&keys));
        let plan = plan.project(exprs.collect::<Vec<_>>())?.build()?;
        Ok(Some(Bound { plan, keys }))
    }

    fn join(&self, join: &Join) -> BoundResult<Option<Bound>> {
        let (in_left, in_right) = (self.depends(&join.left)?, self.depends(&join.right)?);
        let keeps_left = matches!(
            join.join_type,
            JoinType::Inner
                | JoinType::Left
                | JoinType::LeftSemi
                | JoinType::LeftAnti
                | JoinType::LeftMark
        );
        if !keeps_left {
            return Ok(None);
        }
        let inner = join.join_type == JoinType::Inner;
        let (left, right) = if inner && in_right && !in_left {
            (None, self.bound(&join.right)?)
        } else {
            let right = if in_right {
                self.bound(&join.right)?
            } else {
                None
            };
            (self.bound(&join.left)?, right)
        };
        if (left.is_none() && right.is_none()) || (in_right && right.is_none()) {
            return Ok(None);
        }
        let keys = match (&left, &right) {
            (Some(left), _) => left.keys.clone(),
            (None, Some(right)) => right.keys.clone(),
            (None, None) => return Ok(None),
        };
        let mut conditions: Vec<Expr> = join.filter.iter().cloned().collect();
        let (mut on, mut null_equality) = (join.on.clone(), join.null_equality);
        if let (Some(left), Some(right)) = (&left, &right) {
            if join.null_equality == NullEquality::NullEqualsNothing {
                let equal = std::mem::take(&mut on).into_iter();
                conditions.extend(equal.map(|(left, right)| left.eq(right)));
            }
            null_equality = NullEquality::NullEqualsNull;
            on.extend(columns(&left.keys).zip(columns(&right.keys)));
        }
        let conditions = self.all_replaced(&conditions, &keys)?;
        let plan_of = |bound: Option<Bound>, plan: &Arc<LogicalPlan>| match bound {
            Some(bound) => Arc::new(bound.plan),
            None => Arc::clone(plan),
        };
        let joined = Join::try_new(
            plan_of(left, &join.left),
            plan_of(right, &join.right),
            on,
            conjunction(conditions),
            join.join_type,
            join.join_constraint,
            null_equality,
            join.null_aware,
        )?;
        let plan = LogicalPlan::Join(joined);
        Ok(Some(Bound { plan, keys }))
    }

    fn union(&self, union: &Union) -> BoundResult<Option<Bound>> {
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let Some(Bound { plan, keys }) = self.bound(input)? else {
                return Ok(None);
            };
            let own = input.schema().columns();
            let exprs = columns(&own).chain(columns(&keys));
            let plan = LogicalPlanBuilder::from(plan)
                .project(exprs.collect::<Vec<_>>())?
                .build()?;
            inputs.push(Arc::new(plan));
        }
        let plan = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
        let all = plan.schema().columns().into_iter();
        let keys: Vec<Column> = all.skip(union.schema.fields().len()).collect();
        let own = plan.schema().columns().into_iter();
        let own = own.take(union.schema.fields().len()).map(Expr::Column);
        let exprs = named(own.collect(), &union.schema).chain(columns(&keys));
        let plan = LogicalPlanBuilder::from(plan)
            .project(exprs.collect::<Vec<_>>())?
            .build()?;
        Ok(Some(Bound { plan, keys }))
    }
}

fn columns(columns: &[Column]) -> impl Iterator<Item = Expr> + '_ {
    columns.iter().cloned().map(Expr::Column)
}

/// Expressions under the names that a plan gave them.
fn named(exprs: Vec<Expr>, schema: &DFSchemaRef) -> impl Iterator<Item = Expr> + use<> {
    let schema = Arc::clone(schema);
    exprs.into_iter().enumerate().map(move |(place, expr)| {
        let (qualifier, field) = schema.qualified_field(place);
        match &expr {
            Expr::Column(column)
                if column.name == *field.name() && column.relation.as_ref() == qualifier =>
            {
                expr
            }
            _ => expr
                .unalias()
                .alias_qualified(qualifier.cloned(), field.name().clone()),
        }
    })
}

/// Whether one of the groups is that of all rows, which is there without rows as well.
fn has_group_of_all(groups: &[Expr]) -> bool {
    let mut sets = groups.iter().map(|group| match group {
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => sets.iter().any(Vec::is_empty),
        Expr::GroupingSet(_) => true,
        _ => false,
    });
    groups.is_empty() || sets.any(|has| has)
}

/// What an aggregate is over no rows, if it is not NULL.
fn over_nothing(call: &Expr) -> Option<i64> {
    match call {
        Expr::Alias(alias) => over_nothing(&alias.expr),
        // No column is one of the group of all rows: a bit is set for each.
        Expr::AggregateFunction(call) if call.func.name() == "grouping" => {
            Some((1 << call.params.args.len().min(31)) - 1)
        }
        Expr::AggregateFunction(call) => COUNTS.contains(&call.func.name()).then_some(0),
        _ => None,
    }
}

/// A function of OVER whose partitions are parted by the keys, too.
fn per_key(call: Expr, keys: &[Column]) -> BoundResult<Expr> {
    let parted = call.transform_down(|expr| match expr {
        Expr::WindowFunction(mut call) => {
            call.params.partition_by.extend(columns(keys));
            Ok(Transformed::new(
                Expr::WindowFunction(call),
                true,
                TreeNodeRecursion::Jump,
            ))
        }
        expr => Ok(Transformed::no(expr)),
    })?;
    Ok(parted.data)
}
