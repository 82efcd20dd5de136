//! Joins of each row of `a` with one row of `b`: the nearest in time, the version that was valid then, or what is there when
//! the row comes. The logical node; how it is written and bound lies beside it.
//!
//! ```text
//! text      a ASOF JOIN b MATCH_CONDITION (m) ON c            →   a LEFT JOIN b ON c AND __match_condition(m)      text.rs
//!           a JOIN b FOR SYSTEM_TIME AS OF a.ts ON c          →   a JOIN b ON c AND __system_time(a.ts)
//!           a JOIN b FOR SYSTEM_TIME AS OF PROCTIME() ON c    →   a JOIN b ON c AND __arrival(TRUE)
//! binder    a join with such a condition                      →   AsOf                                             bind.rs
//! view      the engine's as-of join                                                                         lower/as_of.rs
//! snapshot  UNION ALL of both sides in the order of time; each row of a takes the last row of b before it
//! ```
//!
//! A version is a record of `b`, from its event time to that of the next one with its key. Of several records of one time the
//! last one counts, so they are read with their offsets, in a column that no query names.
//!
//! Invariant: no condition moves below the node: which row is nearest is decided among all rows of `b`.

mod bind;
mod text;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{DFSchema, DFSchemaRef, Result as BoundResult, internal_err};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, LogicalPlan, Operator, UserDefinedLogicalNodeCore,
};
use streams::Nearest;

pub(super) use bind::as_of_joins;
pub(super) use text::{mark_joins, marks};

/// Which row of the right side a left row meets, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Meets {
    /// The nearest in time, as both sides are now.
    Nearest,
    /// The version that was valid at its time: the right side are all records.
    Version,
    /// The row that is there when the left row comes, for good.
    Arrival,
}

/// Joins each row of its left input with the nearest row of the right one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AsOf {
    pub left: Arc<LogicalPlan>,
    pub right: Arc<LogicalPlan>,
    /// Expressions of the left side and of the right one that are equal.
    pub on: Vec<(Expr, Expr)>,
    pub nearest: Nearest,
    /// The times of both sides. `None`: the left row meets what is there when it comes.
    pub times: Option<(Expr, Expr)>,
    pub meets: Meets,
    /// Whether left rows without a match come, with NULLs.
    pub pads: bool,
    pub schema: DFSchemaRef,
}

impl AsOf {
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

fn pair(left: &Expr, op: Operator, right: &Expr) -> Expr {
    let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
    Expr::BinaryExpr(BinaryExpr { left, op, right })
}

impl PartialOrd for AsOf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let key = |node: &Self| (node.comparison(), node.meets, node.pads);
        let own = (&self.on, &self.times, key(self));
        own.partial_cmp(&(&other.on, &other.times, key(other)))
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
        let times = (self.times.iter()).map(|(left, right)| pair(left, self.comparison(), right));
        equal.chain(times).collect()
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
        let times = match &self.times {
            Some(_) => sides.pop(),
            None => None,
        };
        let schema = self.over(left.clone(), right.clone())?;
        Ok(Self {
            left: Arc::new(left),
            right: Arc::new(right),
            on: sides,
            nearest: self.nearest,
            times,
            meets: self.meets,
            pads: self.pads,
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
        let pairs = || self.on.iter().chain(&self.times);
        let lefts = pairs().map(|(left, _)| left);
        let rights = pairs().map(|(_, right)| right);
        // Rows of the right side that are equally near are told apart by all of its columns.
        let mut all: Vec<usize> = match self.meets {
            Meets::Arrival => Vec::new(),
            Meets::Nearest | Meets::Version => (0..self.right.schema().fields().len()).collect(),
        };
        all.extend::<Vec<usize>>(of_right);
        Some(vec![
            needed(of_left, lefts.collect(), &self.left)?,
            needed(all, rights.collect(), &self.right)?,
        ])
    }
}
