//! `a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k`: each row of `a` with the row of `b` that is nearest in time.
//!
//! ```text
//! text      a ASOF JOIN b MATCH_CONDITION (m) ON c   →   a LEFT JOIN b ON c AND __match_condition(m)
//! binder    a join with such a condition             →   AsOf: c, m
//! view      the engine's as-of join                      lower/as_of.rs
//! snapshot  UNION ALL of both sides in the order of time; each row of a takes the last row of b before it
//! ```
//!
//! Rows of `a` without a match come with NULLs, as in Snowflake.
//!
//! Invariant: no condition moves below the node: which row is nearest is decided among all rows of `b`.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{
    DFSchema, DFSchemaRef, DataFusionError, Result as BoundResult, internal_err,
};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Extension, Join, LogicalPlan, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, UserDefinedLogicalNodeCore, Volatility,
};
use sqlparser::ast::{
    BinaryOperator, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select, VisitMut,
    VisitorMut,
};
use streams::Nearest;

use crate::diagnostic::{Code, Diagnostic, Words};

/// The function that marks the condition on the times of both sides.
const MARK: &str = "__match_condition";

/// Writes ASOF joins as joins with a marked condition, in `query` and all queries inside of it.
///
/// # Errors
/// USING, which names columns that such a join does not merge.
pub(super) fn mark_joins(query: &mut Query, words: &Words) -> Result<(), Diagnostic> {
    match query.visit(&mut Joins) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Diagnostic::new(
            Code::Unsupported,
            "an ASOF JOIN with USING is not available",
        )
        .at(words.place("USING"))
        .help("write both columns: MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k")),
    }
}

struct Joins;

impl VisitorMut for Joins {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let joins = select.from.iter_mut().flat_map(|from| &mut from.joins);
        for join in joins {
            let JoinOperator::AsOf {
                match_condition,
                constraint,
            } = &join.join_operator
            else {
                continue;
            };
            let marked = marked(match_condition);
            let condition = match constraint {
                JoinConstraint::On(on) => SqlExpr::BinaryOp {
                    left: Box::new(SqlExpr::Nested(Box::new(on.clone()))),
                    op: BinaryOperator::And,
                    right: Box::new(marked),
                },
                JoinConstraint::None => marked,
                JoinConstraint::Using(_) | JoinConstraint::Natural => return ControlFlow::Break(()),
            };
            join.join_operator = JoinOperator::LeftOuter(JoinConstraint::On(condition));
        }
        ControlFlow::Continue(())
    }
}

fn marked(condition: &SqlExpr) -> SqlExpr {
    let arg = FunctionArg::Unnamed(FunctionArgExpr::Expr(condition.clone()));
    SqlExpr::Function(Function {
        name: ObjectName::from(vec![Ident::new(MARK)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![arg],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The function that marks; nothing evaluates it.
pub(super) fn mark() -> ScalarUDF {
    ScalarUDF::from(Mark {
        signature: Signature::exact(vec![DataType::Boolean], Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Mark {
    signature: Signature,
}

impl ScalarUDFImpl for Mark {
    fn name(&self) -> &str {
        MARK
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        internal_err!("{MARK} is for the planner")
    }
}

/// Joins each row of its left input with the nearest row of the right one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AsOf {
    pub left: Arc<LogicalPlan>,
    pub right: Arc<LogicalPlan>,
    /// Expressions of the left side and of the right one that are equal.
    pub on: Vec<(Expr, Expr)>,
    pub nearest: Nearest,
    /// The times of both sides.
    pub times: (Expr, Expr),
    pub schema: DFSchemaRef,
}

/// `plan` with nodes of their own for joins with a marked condition.
///
/// # Errors
/// Conditions that such a join does not take.
pub(super) fn as_of_joins(plan: LogicalPlan) -> BoundResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Join(join) if join.filter.as_ref().is_some_and(is_marked) => {
            let node = Arc::new(AsOf::of(&join)?);
            let plan = LogicalPlan::Extension(Extension { node });
            Ok(Transformed::yes(plan))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(rewritten.data)
}

fn is_marked(filter: &Expr) -> bool {
    split_conjunction(filter)
        .into_iter()
        .any(|part| mark_of(part).is_some())
}

/// What is marked.
fn mark_of(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == MARK => call.args.first(),
        _ => None,
    }
}

fn refused(message: impl Into<String>, help: &str) -> DataFusionError {
    let diagnostic = Diagnostic::new(Code::Unsupported, message).help(help);
    DataFusionError::External(Box::new(diagnostic))
}

impl AsOf {
    fn of(join: &Join) -> BoundResult<Self> {
        let (left, right) = (join.left.schema(), join.right.schema());
        let mut on = join.on.clone();
        let mut time = None;
        for part in join.filter.iter().flat_map(split_conjunction) {
            if let Some(condition) = mark_of(part) {
                time = match condition {
                    Expr::BinaryExpr(compared) => times_of(compared, left, right),
                    _ => None,
                };
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
                other => {
                    return Err(refused(
                        format!(
                            "ON of an ASOF JOIN compares both sides with =, which {other} does not"
                        ),
                        "put a condition on one side into a subquery of it, and other conditions into WHERE",
                    ));
                }
            }
        }
        let Some((nearest, times)) = time else {
            return Err(refused(
                "MATCH_CONDITION compares a time of each side with >=, >, <= or <",
                "MATCH_CONDITION (a.ts >= b.ts)",
            ));
        };
        Ok(Self {
            left: Arc::clone(&join.left),
            right: Arc::clone(&join.right),
            on,
            nearest,
            times,
            schema: Arc::clone(&join.schema),
        })
    }

    fn over(&self, left: LogicalPlan, right: LogicalPlan) -> BoundResult<DFSchemaRef> {
        let padded = right.schema().iter().map(|(qualifier, field)| {
            let field = field.as_ref().clone().with_nullable(true);
            (qualifier.cloned(), Arc::new(field))
        });
        let kept = left.schema().iter();
        let kept = kept.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let fields: Vec<(_, Arc<Field>)> = kept.chain(padded).collect();
        let schema = DFSchema::new_with_metadata(fields, self.schema.metadata().clone())?;
        Ok(Arc::new(schema))
    }

    fn comparison(&self) -> Operator {
        match self.nearest {
            Nearest::AtOrBefore => Operator::GtEq,
            Nearest::Before => Operator::Gt,
            Nearest::AtOrAfter => Operator::LtEq,
            Nearest::After => Operator::Lt,
        }
    }
}

fn is_of(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.into_iter().all(|column| schema.has_column(column))
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

fn pair(left: &Expr, op: Operator, right: &Expr) -> Expr {
    let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
    Expr::BinaryExpr(BinaryExpr { left, op, right })
}

impl PartialOrd for AsOf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let own = (&self.on, &self.times, self.comparison());
        own.partial_cmp(&(&other.on, &other.times, other.comparison()))
    }
}

impl UserDefinedLogicalNodeCore for AsOf {
    fn name(&self) -> &str {
        "AsOf"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    // Comparisons, so that both of their sides get one type.
    fn expressions(&self) -> Vec<Expr> {
        let equal = (self.on.iter()).map(|(left, right)| pair(left, Operator::Eq, right));
        let (left, right) = &self.times;
        equal
            .chain([pair(left, self.comparison(), right)])
            .collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let fields = self.schema.fields().iter();
        fields.map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match conjunction(self.expressions()) {
            Some(condition) => write!(f, "AsOf: {condition}"),
            None => write!(f, "AsOf"),
        }
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> BoundResult<Self> {
        let Ok([left, right]) = <[LogicalPlan; 2]>::try_from(inputs) else {
            return internal_err!("an as-of join has two inputs");
        };
        // The optimizer may turn a comparison round.
        let oriented = |one: Expr, other: Expr| match is_of(&one, left.schema()) {
            true => (one, other),
            false => (other, one),
        };
        let mut sides = Vec::with_capacity(exprs.len());
        for expr in exprs {
            match expr.unalias() {
                Expr::BinaryExpr(compared) => {
                    sides.push(oriented(*compared.left, *compared.right));
                }
                other => return internal_err!("a condition of an as-of join became {other}"),
            }
        }
        let Some(times) = sides.pop() else {
            return internal_err!("an as-of join without times");
        };
        let schema = self.over(left.clone(), right.clone())?;
        Ok(Self {
            left: Arc::new(left),
            right: Arc::new(right),
            on: sides,
            nearest: self.nearest,
            times,
            schema,
        })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let count = self.left.schema().fields().len();
        let (of_left, of_right): (Vec<usize>, Vec<usize>) =
            output_columns.iter().partition(|&&column| column < count);
        let of_right = of_right.into_iter().map(|column| column - count).collect();
        let needed = |mut columns: Vec<usize>, exprs: Vec<&Expr>, plan: &LogicalPlan| {
            for expr in exprs {
                for column in expr.column_refs() {
                    columns.push(plan.schema().index_of_column(column).ok()?);
                }
            }
            columns.sort_unstable();
            columns.dedup();
            Some(columns)
        };
        let lefts = self.on.iter().map(|(left, _)| left).chain([&self.times.0]);
        let rights = self
            .on
            .iter()
            .map(|(_, right)| right)
            .chain([&self.times.1]);
        // Equal rows of the right side are told apart by all of its columns.
        let mut all: Vec<usize> = (0..self.right.schema().fields().len()).collect();
        all.extend::<Vec<usize>>(of_right);
        Some(vec![
            needed(of_left, lefts.collect(), &self.left)?,
            needed(all, rights.collect(), &self.right)?,
        ])
    }
}
