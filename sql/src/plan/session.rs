//! Session windows: `SESSION(relation, time, gap [, PARTITION BY key, …])`: the logical node, the keys that it takes from the
//! GROUP BY above it, and its meaning over bounded input.
//!
//! ```text
//! time        0    4 5            18  20                      gap 10: rows at most so far apart are of one session
//! session     [0 ──────── 15)     [18 ───── 30)               window_start = its first row, window_end = its last one + gap
//! ```
//!
//! Invariants:
//! 1. The time and the keys are requirements of the node: no rule prunes their columns away.
//! 2. A condition moves below the node only if it keeps or drops all rows of a key: others would split sessions.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result as BoundResult, internal_err};
use datafusion::functions_aggregate::expr_fn::{max, min, sum};
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprFunctionExt, Extension, LogicalPlan, LogicalPlanBuilder,
    UserDefinedLogicalNodeCore, WindowFunctionDefinition, lit, when,
};

use super::tumble::{MILLISECOND_US, WINDOW_COLUMNS, interval_text, refused, shifted, with_bounds};
use crate::diagnostic::{Code, Diagnostic, Words};

const PREVIOUS: &str = "__previous";
const BEGINS: &str = "__begins";
const SESSION: &str = "__session";

/// Puts each row into the session of its time and key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub input: Arc<LogicalPlan>,
    /// The time column of the input.
    pub time: Column,
    /// How long a session outlasts its last row, µs.
    pub gap_us: i64,
    /// Over the input. `None`: the query does not say; what it groups by.
    pub partition_by: Option<Vec<Expr>>,
    pub schema: DFSchemaRef,
}

impl Session {
    pub(super) fn over(
        input: LogicalPlan,
        time: Column,
        gap_us: i64,
        partition_by: Option<Vec<Expr>>,
    ) -> BoundResult<Self> {
        Ok(Self {
            schema: with_bounds(&input, &time)?,
            input: Arc::new(input),
            time,
            gap_us,
            partition_by,
        })
    }

    /// Index of the time column in the input.
    pub(crate) fn time_index(&self) -> BoundResult<usize> {
        self.input.schema().index_of_column(&self.time)
    }

    /// What tells its partitions apart.
    pub(crate) fn keys(&self) -> &[Expr] {
        self.partition_by.as_deref().unwrap_or_default()
    }

    /// The same over bounded input: a session begins where the row before is more than a gap away.
    pub(crate) fn bounded(&self, input: LogicalPlan) -> BoundResult<LogicalPlan> {
        let time = || Expr::Column(self.time.clone());
        let named = |name: &str| Expr::Column(Column::new_unqualified(name));
        let keys = || self.keys().to_vec();
        let in_order = || vec![time().sort(true, false)];
        let columns: Vec<Expr> = (input.schema().columns().into_iter())
            .map(Expr::Column)
            .collect();
        let previous = lag(time(), Some(1), None)
            .partition_by(keys())
            .order_by(in_order())
            .build()?;
        let is_apart = shifted(named(PREVIOUS), self.gap_us).lt(time());
        let begins =
            when(named(PREVIOUS).is_null().or(is_apart), lit(1_i64)).otherwise(lit(0_i64))?;
        let number = over(sum(named(BEGINS)))?
            .partition_by(keys())
            .order_by(in_order())
            .build()?;
        let whole = || [keys(), vec![named(SESSION)]].concat();
        let [first, last] = [min(time()), max(time())];
        let first = over(first)?.partition_by(whole()).build()?;
        let last = over(last)?.partition_by(whole()).build()?;
        let [start, end, window_time] = WINDOW_COLUMNS;
        let mut out = columns.clone();
        out.push(named(start));
        out.push(shifted(named(end), self.gap_us).alias(end));
        out.push(shifted(named(end), self.gap_us - MILLISECOND_US).alias(window_time));
        let mut with_begins = columns;
        with_begins.push(begins.alias(BEGINS));
        LogicalPlanBuilder::from(input)
            .filter(time().is_not_null())?
            .window([previous.alias(PREVIOUS)])?
            .project(with_begins)?
            .window([number.alias(SESSION)])?
            .window([first.alias(start), last.alias(end)])?
            .project(out)?
            .build()
    }
}

/// An aggregate as a function of OVER.
fn over(aggregate: Expr) -> BoundResult<Expr> {
    match aggregate {
        Expr::AggregateFunction(call) => Ok(Expr::from(WindowFunction::new(
            WindowFunctionDefinition::AggregateUDF(call.func),
            call.params.args,
        ))),
        other => internal_err!("{other} is no aggregate"),
    }
}

impl PartialOrd for Session {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let own = (&self.time, self.gap_us, &self.partition_by);
        own.partial_cmp(&(&other.time, other.gap_us, &other.partition_by))
    }
}

impl UserDefinedLogicalNodeCore for Session {
    fn name(&self) -> &str {
        "Session"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let time = Expr::Column(self.time.clone());
        [vec![time], self.keys().to_vec()].concat()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let fields = self.schema.fields().iter();
        let mut prevented: HashSet<String> = fields.map(|field| field.name().clone()).collect();
        for key in self.keys() {
            let Expr::Column(column) = key else { continue };
            let named = self.schema.fields().iter();
            if named.filter(|field| *field.name() == column.name).count() == 1 {
                prevented.remove(&column.name);
            }
        }
        prevented
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Session: {} by {}",
            self.time,
            interval_text(self.gap_us)
        )
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> BoundResult<Self> {
        let mut exprs = exprs.into_iter().map(Expr::unalias);
        let time = match exprs.next() {
            Some(Expr::Column(column)) => column,
            other => return internal_err!("the time of SESSION became {other:?}"),
        };
        let keys = self.partition_by.as_ref().map(|_| exprs.collect());
        match inputs.pop() {
            Some(input) => Self::over(input, time, self.gap_us, keys),
            None => internal_err!("SESSION without input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let inputs = schema.fields().len();
        let mut needed: Vec<usize> = output_columns
            .iter()
            .copied()
            .filter(|&column| column < inputs)
            .collect();
        for expr in self.expressions() {
            for column in expr.column_refs() {
                needed.push(schema.index_of_column(column).ok()?);
            }
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// The plan with keys for its sessions that name none: what the query groups by, besides the bounds of the session.
///
/// # Errors
/// A GROUP BY above a session that it is not clear to be the session's own.
pub(super) fn keyed_by_groups(plan: LogicalPlan, words: &Words) -> BoundResult<LogicalPlan> {
    let keyed = plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::Aggregate(aggregate) = node else {
            return Ok(Transformed::no(node));
        };
        if !has_open(&aggregate.input)? {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        let groups = aggregate.group_expr.clone();
        let is_plain = !groups
            .iter()
            .any(|group| matches!(group, Expr::GroupingSet(_)));
        let input = match is_plain {
            true => keyed(&aggregate.input, groups)?,
            false => aggregate.input.as_ref().clone(),
        };
        if has_open(&input)? {
            let message = "it is not clear by which columns SESSION tells the sessions apart";
            return Err(refused(
                Diagnostic::new(Code::Unsupported, message)
                    .at(words.place("SESSION"))
                    .help("name them: SESSION(t, ts, INTERVAL '10 minutes', PARTITION BY k)"),
            ));
        }
        let Aggregate {
            group_expr,
            aggr_expr,
            ..
        } = aggregate;
        let aggregate = Aggregate::try_new(Arc::new(input), group_expr, aggr_expr)?;
        Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
    })?;
    Ok(keyed.data)
}

/// Whether there is a session below that names no keys.
fn has_open(plan: &LogicalPlan) -> BoundResult<bool> {
    let mut found = false;
    plan.apply(|node| {
        if let LogicalPlan::Extension(extension) = node
            && let Some(session) = extension.node.as_any().downcast_ref::<Session>()
        {
            found |= session.partition_by.is_none();
        }
        Ok(match (found, node) {
            (true, _) => TreeNodeRecursion::Stop,
            // Another GROUP BY is nearer to what is below it.
            (false, LogicalPlan::Aggregate(_)) => TreeNodeRecursion::Jump,
            (false, _) => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

/// `plan` with these keys, which are over its rows, at the session that gives them.
fn keyed(plan: &LogicalPlan, groups: Vec<Expr>) -> BoundResult<LogicalPlan> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let groups = over_input(groups, plan.schema(), |place| {
                projection.expr[place].clone().unalias()
            })?;
            let input = keyed(&projection.input, groups)?;
            plan.with_new_exprs(plan.expressions(), vec![input])
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let groups = over_input(groups, plan.schema(), |place| {
                Expr::Column(Column::from(alias.input.schema().qualified_field(place)))
            })?;
            let input = keyed(&alias.input, groups)?;
            plan.with_new_exprs(Vec::new(), vec![input])
        }
        LogicalPlan::Filter(filter) => {
            let input = keyed(&filter.input, groups)?;
            plan.with_new_exprs(plan.expressions(), vec![input])
        }
        LogicalPlan::Extension(extension) => {
            let Some(session) = extension.node.as_any().downcast_ref::<Session>() else {
                return Ok(plan.clone());
            };
            if session.partition_by.is_some() {
                return Ok(plan.clone());
            }
            let of_window = |group: &Expr| {
                let columns = group.column_refs();
                let mut columns = columns.iter();
                columns.any(|column| WINDOW_COLUMNS.contains(&column.name.as_str()))
            };
            let keys = groups
                .into_iter()
                .filter(|group| !of_window(group))
                .collect();
            let session = Session {
                partition_by: Some(keys),
                ..session.clone()
            };
            Ok(LogicalPlan::Extension(Extension {
                node: Arc::new(session),
            }))
        }
        other => Ok(other.clone()),
    }
}

/// Expressions over rows of `schema` as such over the rows that these are made of.
fn over_input(
    exprs: Vec<Expr>,
    schema: &DFSchema,
    made_of: impl Fn(usize) -> Expr,
) -> BoundResult<Vec<Expr>> {
    let replaced = exprs.into_iter().map(|expr| {
        let replaced = expr.transform_up(|expr| match &expr {
            Expr::Column(column) => {
                let place = schema.index_of_column(column)?;
                Ok(Transformed::yes(made_of(place)))
            }
            _ => Ok(Transformed::no(expr)),
        })?;
        Ok(replaced.data)
    });
    replaced.collect()
}
