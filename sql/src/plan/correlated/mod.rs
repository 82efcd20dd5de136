//! Subqueries that compare with the query around them otherwise than by `=` in a WHERE: what they answer becomes a relation,
//! joined with the query around by what they name of it.
//!
//! ```text
//! Projection: t.id, (SELECT max(u.ts) … WHERE u.ts < t.ts)      Projection: t.id, __answer
//!   t                                                        →    Left Join: t.ts = key, NULL to NULL
//! t CROSS JOIN LATERAL (SELECT … WHERE u.a < t.a LIMIT 1)           t
//!                                                                   the subquery over its domain (domain.rs)
//! EXISTS (q)                 (SELECT count(*) FROM q) > 0
//! x IN (SELECT y …)          CASE WHEN bool_or(x = y) THEN true WHEN count(*) > count(x = y) THEN NULL ELSE false END
//! x < ALL (SELECT y …)       the same of x < y
//! (SELECT x …), any rows     the one that there is (single.rs)
//! a LEFT JOIN b ON … EXISTS (…)      a LEFT JOIN LATERAL (SELECT * FROM b WHERE … EXISTS (…)) ON true
//! ```
//!
//! Others stay, for which DataFusion's own rules make joins that do with fewer rows.

mod domain;
mod single;

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Column, DFSchema, NullEquality, Result as BoundResult, ScalarValue, TableReference,
};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::SetQuantifier;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Case, Distinct, Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator,
    Projection, Subquery, binary_expr, lit,
};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;

use self::domain::{Bound, Domain};
use self::single::single;
use super::lateral_rows::bounds;
use super::row_value::{columns_of, members_of};

/// Before the name of a value that has the name of a column beside it.
const SINGLE: &str = "__single_";

/// `plan` without such subqueries.
pub(super) fn answered(plan: LogicalPlan, state: &SessionState) -> BoundResult<LogicalPlan> {
    let pass = Pass {
        state,
        number: Cell::new(0),
    };
    let plan = plan.transform_down_with_subqueries(filtered_first)?.data;
    pass.all(plan)
}

struct Pass<'a> {
    state: &'a SessionState,
    number: Cell<usize>,
}

impl Pass<'_> {
    /// `plan` without such subqueries.
    fn all(&self, plan: LogicalPlan) -> BoundResult<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let node = self.of_one_row(node)?.data;
            self.node(node)
        })
        .data()
    }

    /// `node` whose subqueries in the place of a value have one row at most, and a name that the rows beside them have not.
    fn of_one_row(&self, node: LogicalPlan) -> BoundResult<Transformed<LogicalPlan>> {
        let around = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| {
                let Expr::ScalarSubquery(value) = &expr else {
                    return Ok(Transformed::no(expr));
                };
                let several = !value.outer_ref_columns.is_empty() && !is_one_row(&value.subquery);
                let one = match several {
                    true => single(&value.subquery, self.state)?,
                    false => None,
                };
                let apart = named_apart(one.as_ref().unwrap_or(value.subquery.as_ref()), &around)?;
                Ok(match apart.or(one) {
                    Some(plan) => Transformed::yes(Expr::ScalarSubquery(Subquery {
                        subquery: Arc::new(plan),
                        ..value.clone()
                    })),
                    None => Transformed::no(expr),
                })
            })?;
            Ok(match changed.transformed {
                true => changed.update_data(|expr| name.restore(expr)),
                false => changed,
            })
        })
    }

    fn node(&self, node: LogicalPlan) -> BoundResult<Transformed<LogicalPlan>> {
        match node {
            LogicalPlan::Filter(filter) if self.asks(&filter.predicate, &filter.input)? => {
                let columns = filter.input.schema().columns();
                let (input, exprs) = self.replaced(&filter.input, vec![filter.predicate])?;
                let plan = match conjunction(exprs) {
                    Some(condition) => LogicalPlanBuilder::from(input).filter(condition)?,
                    None => LogicalPlanBuilder::from(input),
                };
                let columns = columns.into_iter().map(Expr::Column);
                plan.project(columns)?.build().map(Transformed::yes)
            }
            LogicalPlan::Projection(projection)
                if self.any_asks(&projection.expr, &projection.input)? =>
            {
                self.projection(projection).map(Transformed::yes)
            }
            LogicalPlan::Aggregate(aggregate)
                if self.any_asks(&aggregate.group_expr, &aggregate.input)?
                    || self.any_asks(&aggregate.aggr_expr, &aggregate.input)? =>
            {
                self.aggregate(aggregate)
            }
            LogicalPlan::Join(join) => {
                let lateral = self.lateral(&join)?;
                match lateral.map_or_else(|| self.outer(&join), |plan| Ok(Some(plan)))? {
                    Some(plan) => Ok(Transformed::yes(plan)),
                    None => self.condition(join),
                }
            }
            node => Ok(Transformed::no(node)),
        }
    }

    fn projection(&self, projection: Projection) -> BoundResult<LogicalPlan> {
        let (input, exprs) = self.replaced(&projection.input, projection.expr)?;
        let exprs = exprs.into_iter().zip(projection.schema.iter());
        let exprs = exprs.map(|(expr, (qualifier, field))| {
            let name = field.name().clone();
            expr.unalias().alias_qualified(qualifier.cloned(), name)
        });
        LogicalPlanBuilder::from(input)
            .project(exprs.collect::<Vec<_>>())?
            .build()
    }

    /// An aggregate over columns that hold what its subqueries answer.
    fn aggregate(&self, aggregate: Aggregate) -> BoundResult<Transformed<LogicalPlan>> {
        let names: Vec<(Option<TableReference>, String)> = (aggregate.schema.iter())
            .map(|(qualifier, field)| (qualifier.cloned(), field.name().clone()))
            .collect();
        let count = aggregate.group_expr.len();
        let exprs = [aggregate.group_expr, aggregate.aggr_expr].concat();
        let (input, mut groups) = self.replaced(&aggregate.input, exprs)?;
        let calls = groups.split_off(count);
        let aggregate = LogicalPlanBuilder::from(input)
            .aggregate(groups, calls)?
            .build()?;
        let columns = aggregate.schema().columns().into_iter().zip(names);
        let columns = columns.map(|(column, (qualifier, name))| {
            Expr::Column(column).alias_qualified(qualifier, name)
        });
        LogicalPlanBuilder::from(aggregate.clone())
            .project(columns.collect::<Vec<_>>())?
            .build()
            .map(Transformed::yes)
    }

    /// An inner join's condition that asks a subquery is one on the pairs.
    fn condition(&self, mut join: Join) -> BoundResult<Transformed<LogicalPlan>> {
        let pairs = LogicalPlan::Join(join.clone());
        let asks = match (&join.filter, join.join_type) {
            (Some(filter), JoinType::Inner) => self.asks(filter, &pairs)?,
            _ => false,
        };
        if !asks {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let parts = join.filter.take().map(split_conjunction_owned);
        let mut above = Vec::new();
        let mut within = Vec::new();
        for part in parts.into_iter().flatten() {
            if self.asks(&part, &pairs)? {
                above.push(part);
            } else {
                within.push(part);
            }
        }
        join.filter = conjunction(within);
        let columns = join.schema.columns().into_iter().map(Expr::Column);
        let (input, exprs) = self.replaced(&LogicalPlan::Join(join.clone()), above)?;
        let mut plan = LogicalPlanBuilder::from(input);
        if let Some(condition) = conjunction(exprs) {
            plan = plan.filter(condition)?;
        }
        plan.project(columns)?.build().map(Transformed::yes)
    }

    fn any_asks(&self, exprs: &[Expr], input: &LogicalPlan) -> BoundResult<bool> {
        for expr in exprs {
            if self.asks(expr, input)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether an expression over `input` holds a subquery that is to be answered here.
    fn asks(&self, expr: &Expr, input: &LogicalPlan) -> BoundResult<bool> {
        expr.exists(|expr| Ok(self.scalar(expr, input)?.is_some()))
    }

    /// `input` with a column for each answer, and expressions over these.
    fn replaced(
        &self,
        input: &LogicalPlan,
        exprs: Vec<Expr>,
    ) -> BoundResult<(LogicalPlan, Vec<Expr>)> {
        let mut rows = input.clone();
        let exprs = exprs.into_iter().map(|expr| {
            let replaced = expr.transform_down(|expr| {
                let Some(question) = self.scalar(&expr, input)? else {
                    return Ok(Transformed::no(expr));
                };
                let Some((below, value)) = self.answer(&rows, input, &question)? else {
                    return Ok(Transformed::no(expr));
                };
                rows = below;
                let value = match &expr {
                    Expr::ScalarSubquery(_) => value,
                    Expr::Exists(test) if test.negated => value.eq(lit(0_i64)),
                    Expr::Exists(_) => value.gt(lit(0_i64)),
                    Expr::InSubquery(test) if test.negated => !value,
                    _ => value,
                };
                Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
            })?;
            Ok(replaced.data)
        });
        let exprs = exprs.collect::<BoundResult<Vec<Expr>>>()?;
        Ok((rows, exprs))
    }

    /// `rows`, which are `input` and further columns, with the answer to a question about each, and its column.
    fn answer(
        &self,
        rows: &LogicalPlan,
        input: &LogicalPlan,
        question: &LogicalPlan,
    ) -> BoundResult<Option<(LogicalPlan, Expr)>> {
        let Some(domain) = Domain::of(input, question, &self.number)? else {
            return Ok(None);
        };
        let Some(Bound { plan, keys }) = domain.bound(question)? else {
            return Ok(None);
        };
        // What subqueries inside of it named of the query around is now a column beside them.
        let plan = self.all(plan)?;
        let name = format!("__answer_{}", self.number.get());
        let Some(value) = question.schema().columns().into_iter().next() else {
            return Ok(None);
        };
        let own = std::iter::once(Expr::Column(value).alias(name.clone()));
        let right = LogicalPlanBuilder::from(plan)
            .project(own.chain(keys.iter().cloned().map(Expr::Column)))?
            .build()?;
        let plan = LogicalPlanBuilder::from(rows.clone())
            .join_detailed(
                right,
                JoinType::Left,
                (domain.outer().to_vec(), keys),
                None,
                NullEquality::NullEqualsNull,
            )?
            .build()?;
        let value = Expr::Column(Column::new_unqualified(name));
        Ok(Some((plan, value)))
    }

    /// The subquery of one value that answers what `expr` over `input` asks. `None`: it asks nothing, or another rule knows.
    fn scalar(&self, expr: &Expr, input: &LogicalPlan) -> BoundResult<Option<LogicalPlan>> {
        let around = input.schema();
        Ok(match expr {
            Expr::ScalarSubquery(value)
                if names_any(value, around)
                    && is_one_row(&value.subquery)
                    && !is_pulled_up(&value.subquery, false) =>
            {
                Some(value.subquery.as_ref().clone())
            }
            Expr::Exists(test)
                if names_any(&test.subquery, around)
                    && !is_pulled_up(&test.subquery.subquery, true) =>
            {
                let count = self.call("count", lit(1_i64));
                let rows = Arc::clone(&test.subquery.subquery);
                let count = LogicalPlanBuilder::from(rows).aggregate(Vec::<Expr>::new(), count)?;
                Some(count.build()?)
            }
            Expr::InSubquery(test)
                if names_any(&test.subquery, around)
                    && (columns_of(&test.expr).is_some()
                        || !is_pulled_up(&test.subquery.subquery, false)) =>
            {
                let (op, all) = (Operator::Eq, false);
                self.comparison(&test.expr, op, all, &test.subquery, around)?
            }
            Expr::SetComparison(test)
                if columns_of(&test.expr).is_some()
                    || (names_any(&test.subquery, around)
                        && !is_pulled_up(&test.subquery.subquery, false)) =>
            {
                let all = test.quantifier == SetQuantifier::All;
                self.comparison(&test.expr, test.op, all, &test.subquery, around)?
            }
            _ => None,
        })
    }

    /// `value op ANY (subquery)` or `ALL` as a subquery of one value.
    fn comparison(
        &self,
        value: &Expr,
        op: Operator,
        all: bool,
        subquery: &Subquery,
        around: &DFSchema,
    ) -> BoundResult<Option<LogicalPlan>> {
        let seen = |expr: &Expr| seen_inside(expr, around);
        let (rows, condition) = match (columns_of(value), members_of(&subquery.subquery)) {
            (Some(columns), Some((rows, members))) if columns.len() == members.len() => {
                let columns: Option<Vec<Expr>> = columns.iter().map(seen).collect();
                let Some(columns) = columns else {
                    return Ok(None);
                };
                (rows, compared(&columns, op, &members))
            }
            (None, None) => {
                let member = subquery.subquery.schema().columns().into_iter().next();
                let (Some(value), Some(member)) = (seen(value), member) else {
                    return Ok(None);
                };
                let condition = binary_expr(value, op, Expr::Column(member));
                (Arc::clone(&subquery.subquery), Some(condition))
            }
            _ => return Ok(None),
        };
        let Some(condition) = condition else {
            return Ok(None);
        };
        let name = |place: usize| format!("__compared_{place}");
        let column = |place| Expr::Column(Column::new_unqualified(name(place)));
        let decides = if all { "bool_and" } else { "bool_or" };
        let calls = [
            self.call(decides, condition.clone()),
            self.call("count", lit(1_i64)),
            self.call("count", condition),
        ];
        let calls = calls.into_iter().flatten().enumerate();
        let calls = calls.map(|(place, call)| call.alias(name(place)));
        let decided = column(0).eq(lit(!all));
        let open = column(1).gt(column(2));
        let null = Box::new(lit(ScalarValue::Boolean(None)));
        let cases = vec![
            (Box::new(decided), Box::new(lit(!all))),
            (Box::new(open), null),
        ];
        let result = Expr::Case(Case::new(None, cases, Some(Box::new(lit(all)))));
        LogicalPlanBuilder::from(rows)
            .aggregate(Vec::<Expr>::new(), calls.collect::<Vec<_>>())?
            .project([result.alias("__compared")])?
            .build()
            .map(Some)
    }

    fn call(&self, aggregate: &str, of: Expr) -> Option<Expr> {
        let function = self.state.aggregate_functions().get(aggregate);
        function.map(|function| function.call(vec![of]))
    }

    /// A join with a subquery of each row of its left side. `None`: it is none, or another rule knows.
    fn lateral(&self, join: &Join) -> BoundResult<Option<LogicalPlan>> {
        let Some(subquery) = subquery_of(&join.right) else {
            return Ok(None);
        };
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left)
            || is_pulled_up(&subquery.subquery, false)
        {
            return Ok(None);
        }
        let domain = Domain::of(&join.left, &subquery.subquery, &self.number)?;
        let Some(domain) = domain else {
            // It names what is further out: a subquery of the query around this one.
            let right = join.right.as_ref().clone().transform_up(|node| match node {
                LogicalPlan::Subquery(inner) => {
                    Ok(Transformed::yes(Arc::unwrap_or_clone(inner.subquery)))
                }
                node => Ok(Transformed::no(node)),
            });
            let mut join = join.clone();
            join.right = Arc::new(right.data()?);
            return Ok(Some(LogicalPlan::Join(join)));
        };
        let Some(Bound { plan, keys }) = domain.bound(&join.right)? else {
            return Ok(None);
        };
        let plan = self.all(plan)?;
        let columns = join.schema.columns().into_iter().map(Expr::Column);
        LogicalPlanBuilder::from(Arc::clone(&join.left))
            .join_detailed(
                plan,
                join.join_type,
                (domain.outer().to_vec(), keys),
                join.filter.clone(),
                NullEquality::NullEqualsNull,
            )?
            .project(columns)?
            .build()
            .map(Some)
    }

    /// An outer join whose condition asks a subquery: of each row that is kept those of the other side that the condition
    /// holds for are a lateral subquery. `None`: it asks none, or all rows of both sides are kept.
    fn outer(&self, join: &Join) -> BoundResult<Option<LogicalPlan>> {
        let is_asked = |filter: &Expr| filter.exists(|expr| Ok(names_outer(expr)));
        let (kept, other) = match (&join.filter, join.join_type) {
            (Some(filter), JoinType::Left) if is_asked(filter)? => (&join.left, &join.right),
            (Some(filter), JoinType::Right) if is_asked(filter)? => (&join.right, &join.left),
            _ => return Ok(None),
        };
        let of_kept = |expr: Expr| {
            expr.transform_up(|expr| match expr {
                Expr::Column(column) if kept.schema().has_column(&column) => {
                    let (_, field) = kept.schema().qualified_field_from_column(&column)?;
                    let outer = Expr::OuterReferenceColumn(Arc::clone(field), column);
                    Ok(Transformed::yes(outer))
                }
                expr => Ok(Transformed::no(expr)),
            })
            .data()
        };
        let equal = join.on.iter().cloned();
        let equal = equal.map(|(left, right)| left.eq(right));
        let parts = equal.chain(join.filter.clone()).map(of_kept);
        let parts = parts.collect::<BoundResult<Vec<Expr>>>()?;
        let mut met = LogicalPlanBuilder::from(Arc::clone(other));
        if let Some(condition) = conjunction(parts) {
            met = met.filter(condition)?;
        }
        let met = met.build()?;
        let domain = Domain::of(kept, &met, &self.number)?;
        let (met, on) = match &domain {
            Some(domain) => match domain.bound(&met)? {
                Some(Bound { plan, keys }) => (plan, (domain.outer().to_vec(), keys)),
                None => return Ok(None),
            },
            None => (met, (Vec::new(), Vec::new())),
        };
        let met = self.all(met)?;
        let anyway = domain.is_none().then(|| lit(true));
        let columns = join.schema.columns().into_iter().map(Expr::Column);
        LogicalPlanBuilder::from(Arc::clone(kept))
            .join_detailed(
                met,
                JoinType::Left,
                on,
                anyway,
                NullEquality::NullEqualsNull,
            )?
            .project(columns)?
            .build()
            .map(Some)
    }
}

/// A condition on the left side of a lateral join alone goes below it: there are fewer rows then to ask about.
fn filtered_first(node: LogicalPlan) -> BoundResult<Transformed<LogicalPlan>> {
    let LogicalPlan::Filter(filter) = &node else {
        return Ok(Transformed::no(node));
    };
    let LogicalPlan::Join(join) = filter.input.as_ref() else {
        return Ok(Transformed::no(node));
    };
    let is_lateral = subquery_of(&join.right).is_some()
        && matches!(join.join_type, JoinType::Inner | JoinType::Left);
    if !is_lateral {
        return Ok(Transformed::no(node));
    }
    let left = join.left.schema();
    let is_of_left = |part: &Expr| {
        let columns = part.column_refs();
        let plain = !part.exists(|part| Ok(is_question(part))).unwrap_or(true);
        let is_outer = |part: &Expr| Ok(matches!(part, Expr::OuterReferenceColumn(..)));
        let outer = part.exists(is_outer).unwrap_or(true);
        let owned = columns.iter().all(|column| left.has_column(column));
        plain && !outer && !columns.is_empty() && owned && !part.is_volatile()
    };
    let parts = split_conjunction_owned(filter.predicate.clone());
    let (below, above): (Vec<Expr>, Vec<Expr>) = parts.into_iter().partition(is_of_left);
    let Some(below) = conjunction(below) else {
        return Ok(Transformed::no(node));
    };
    let mut join = join.clone();
    let left = LogicalPlanBuilder::from(join.left).filter(below)?.build()?;
    join.left = Arc::new(left);
    let mut plan = LogicalPlanBuilder::from(LogicalPlan::Join(join));
    if let Some(above) = conjunction(above) {
        plan = plan.filter(above)?;
    }
    plan.build().map(Transformed::yes)
}

fn is_question(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)
    )
}

/// A subquery of one value by another name, where one beside it has its own. `None`: there is no such one.
fn named_apart(value: &LogicalPlan, around: &DFSchema) -> BoundResult<Option<LogicalPlan>> {
    let [field] = value.schema().fields().as_ref() else {
        return Ok(None);
    };
    let mut columns = around.iter();
    if !columns.any(|(qualifier, column)| qualifier.is_none() && column.name() == field.name()) {
        return Ok(None);
    }
    let column = Expr::Column(Column::from(value.schema().qualified_field(0)));
    let name = format!("{SINGLE}{}", field.name());
    LogicalPlanBuilder::from(value.clone())
        .project([column.alias(name)])?
        .build()
        .map(Some)
}

/// Whether an expression is a subquery that names columns of the query around it.
fn names_outer(expr: &Expr) -> bool {
    let subquery = match expr {
        Expr::ScalarSubquery(value) => value,
        Expr::InSubquery(test) => &test.subquery,
        Expr::Exists(test) => &test.subquery,
        Expr::SetComparison(test) => &test.subquery,
        _ => return false,
    };
    !subquery.outer_ref_columns.is_empty()
}

/// `a op b` of rows, column by column.
fn compared(left: &[Expr], op: Operator, right: &[Expr]) -> Option<Expr> {
    let pairs = || left.iter().cloned().zip(right.iter().cloned());
    let equal = || conjunction(pairs().map(|(a, b)| a.eq(b)));
    let strict = match op {
        Operator::Eq => return equal(),
        Operator::NotEq => return equal().map(|equal| !equal),
        Operator::Lt | Operator::LtEq => Operator::Lt,
        Operator::Gt | Operator::GtEq => Operator::Gt,
        _ => return None,
    };
    let mut pairs = pairs().rev();
    let (a, b) = pairs.next()?;
    let last = binary_expr(a, op, b);
    Some(pairs.fold(last, |further, (a, b)| {
        let before = binary_expr(a.clone(), strict, b.clone());
        before.or(a.eq(b).and(further))
    }))
}

/// An expression over `around`, as a subquery names its columns. `None`: it asks a subquery itself.
fn seen_inside(expr: &Expr, around: &DFSchema) -> Option<Expr> {
    let named = expr.clone().transform_up(|expr| match expr {
        Expr::Column(column) => {
            let (_, field) = around.qualified_field_from_column(&column)?;
            let outer = Expr::OuterReferenceColumn(Arc::clone(field), column);
            Ok(Transformed::yes(outer))
        }
        other => Ok(Transformed::no(other)),
    });
    let named = named.data().ok()?;
    let plain = !named.exists(|expr| Ok(is_question(expr))).ok()?;
    plain.then_some(named)
}

/// The subquery on the right side of a lateral join.
fn subquery_of(plan: &LogicalPlan) -> Option<&Subquery> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => subquery_of(&alias.input),
        LogicalPlan::Projection(projection) => subquery_of(&projection.input),
        LogicalPlan::Subquery(subquery) if !subquery.outer_ref_columns.is_empty() => Some(subquery),
        _ => None,
    }
}

/// Whether a subquery names a column of `around`.
fn names_any(subquery: &Subquery, around: &DFSchema) -> bool {
    let mut named = false;
    let walked = subquery.subquery.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            named |= expr.exists(|expr| {
                Ok(matches!(expr, Expr::OuterReferenceColumn(_, column) if around.has_column(column)))
            })?;
            Ok(TreeNodeRecursion::Continue)
        })
    });
    walked.is_ok() && named
}

/// Whether a subquery has one row at most, whatever there is.
fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_one_row(&alias.input),
        LogicalPlan::Sort(sort) => is_one_row(&sort.input),
        LogicalPlan::Filter(filter) => is_one_row(&filter.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Limit(limit) => matches!(bounds(limit), Some((_, Some(0 | 1)))),
        _ => false,
    }
}

/// Whether DataFusion's own rules make a join of a subquery, and one that answers the same.
fn is_pulled_up(plan: &LogicalPlan, exists: bool) -> bool {
    let mut pull_up = PullUpCorrelatedExpr::new()
        .with_need_handle_count_bug(!exists)
        .with_exists_sub_query(exists);
    let Ok(pulled) = plan.clone().rewrite(&mut pull_up).data() else {
        return false;
    };
    let schema = pulled.schema();
    let mut named = pull_up.join_filters.iter().flat_map(Expr::column_refs);
    let is_there = named.all(|column| schema.has_column_with_unqualified_name(&column.name));
    pull_up.can_pull_up
        && is_there
        && !reaches_further(plan)
        && !looks_over_outer(plan)
        && !(exists && counts_outer(plan))
        && aggregates(plan) <= usize::from(!exists)
}

/// Whether functions of OVER, DISTINCT ON, sets of groups or a join that is no inner one look at rows that a name of the query
/// around chooses: pulled up, the choice would come after them.
fn looks_over_outer(plan: &LogicalPlan) -> bool {
    let is_chosen = |plan: &LogicalPlan| !plan.all_out_ref_exprs().is_empty();
    let looks = |node: &LogicalPlan| {
        Ok(match node {
            LogicalPlan::Window(window) => is_chosen(&window.input),
            LogicalPlan::Distinct(Distinct::On(first)) => is_chosen(&first.input),
            LogicalPlan::Aggregate(aggregate) => {
                let is_sets = |group: &Expr| matches!(group, Expr::GroupingSet(_));
                aggregate.group_expr.iter().any(is_sets) && is_chosen(&aggregate.input)
            }
            LogicalPlan::Join(join) => match join.join_type {
                JoinType::Inner => false,
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                    is_chosen(&join.right)
                }
                _ => is_chosen(&join.left) || is_chosen(&join.right),
            },
            _ => false,
        })
    };
    plan.exists(looks).unwrap_or(true)
}

/// Whether LIMIT or OFFSET decides on whether there are rows that a name of the query around chooses: only a LIMIT of all that
/// EXISTS asks for does not.
fn counts_outer(plan: &LogicalPlan) -> bool {
    let counts = |node: &LogicalPlan| {
        Ok(matches!(node, LogicalPlan::Limit(_)) && !node.all_out_ref_exprs().is_empty())
    };
    match plan {
        LogicalPlan::Limit(limit) if matches!(bounds(limit), Some((0, Some(1..) | None))) => {
            counts_outer(&limit.input)
        }
        LogicalPlan::Projection(projection) => counts_outer(&projection.input),
        plan => plan.exists(counts).unwrap_or(true),
    }
}

/// Whether a subquery inside of `plan` names a column of none of its own relations.
pub(super) fn reaches_further(plan: &LogicalPlan) -> bool {
    let mut further = false;
    let walked = plan.apply(|node| {
        let inputs = node.inputs();
        let schema = merge_schema(&inputs);
        node.apply_subqueries(|inside| {
            inside.apply_with_subqueries(|node| {
                node.apply_expressions(|expr| {
                    further |= expr.exists(|expr| {
                        Ok(matches!(expr, Expr::OuterReferenceColumn(_, column)
                            if !schema.has_column(column) && !is_inside(inside, column)))
                    })?;
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })
    });
    walked.is_err() || further
}

/// Whether a column is one of a relation somewhere in `plan`.
fn is_inside(plan: &LogicalPlan, column: &Column) -> bool {
    let mut inside = false;
    let walked = plan.apply_with_subqueries(|node| {
        inside |= node.schema().has_column(column);
        Ok(match inside {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    walked.is_ok() && inside
}

/// How many aggregates there are over what a subquery names of the query around it: a row of their own, for no rows,
/// is lost below the second one, and nobody asks whether there is one.
fn aggregates(plan: &LogicalPlan) -> usize {
    let below = plan.inputs().into_iter().map(aggregates).sum::<usize>();
    let counts = match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let outer = aggregate.input.all_out_ref_exprs();
            !outer.is_empty() && (aggregate.group_expr.is_empty() || below > 0)
        }
        _ => false,
    };
    below + usize::from(counts)
}
