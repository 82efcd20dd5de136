//! Windows: `TUMBLE(relation, time, size)`, `HOP(relation, time, slide, size)`, `CUMULATE(relation, time, step, size)`, each
//! with an offset behind if it is not aligned to the epoch: the logical node and its meaning over bounded input (`bound.rs`),
//! how it is called (`usage.rs`), and the planner of the table factor, also of `SESSION` (`planner.rs`, `session.rs`).
//!
//! ```text
//! input columns …  │ window_start │ window_end │ window_time      window_time = window_end − 1 ms
//! ```
//!
//! A row of HOP and CUMULATE is there once for each window that its time lies in.
//!
//! Invariants:
//! 1. The time column is a requirement of the node: no rule prunes it away.
//! 2. No filter moves below the node that reads a column which only the node makes.

mod bound;
mod interval;
mod planner;
mod usage;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{
    Column, DFSchema, DFSchemaRef, DataFusionError, Result as BoundResult, UnnestOptions,
    internal_err,
};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, UserDefinedLogicalNodeCore,
};
use streams::WindowGrid;

use self::bound::{Part, WindowBound, WindowPart};
pub(super) use self::interval::MILLISECOND_US;
pub(crate) use self::interval::{interval_text, interval_us};
pub(crate) use self::planner::WindowPlanner;
use crate::diagnostic::Diagnostic;

/// What the node adds, in order.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// Puts each row into the window, or the windows, of its time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Tumble {
    pub input: Arc<LogicalPlan>,
    /// The time column of the input.
    pub time: Column,
    /// Length of a window, of the longest one, µs.
    pub size_us: i64,
    /// Windows that overlap; `None`: one begins where the one before ends.
    pub grid: Option<WindowGrid>,
    /// By how much windows are later than those that are aligned to the epoch, µs: not negative, less than from one window
    /// to the next.
    pub offset_us: i64,
    pub schema: DFSchemaRef,
}

/// Which windows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Windows {
    size_us: i64,
    grid: Option<WindowGrid>,
    offset_us: i64,
}

impl Tumble {
    fn over(input: LogicalPlan, time: Column, windows: Windows) -> BoundResult<Self> {
        let Windows {
            size_us,
            grid,
            offset_us,
        } = windows;
        Ok(Self {
            schema: with_bounds(&input, &time)?,
            input: Arc::new(input),
            time,
            size_us,
            grid,
            offset_us,
        })
    }

    fn windows(&self) -> Windows {
        Windows {
            size_us: self.size_us,
            grid: self.grid,
            offset_us: self.offset_us,
        }
    }

    /// Index of the time column in the input.
    pub(crate) fn time_index(&self) -> BoundResult<usize> {
        self.input.schema().index_of_column(&self.time)
    }

    /// The same over bounded input: a projection, of rows that are repeated where windows overlap.
    pub(crate) fn bounded(&self, input: LogicalPlan) -> BoundResult<LogicalPlan> {
        match self.grid {
            None => self.bounded_tumbling(input),
            Some(grid) => self.bounded_overlapping(input, grid),
        }
    }

    fn bounded_overlapping(
        &self,
        input: LogicalPlan,
        grid: WindowGrid,
    ) -> BoundResult<LogicalPlan> {
        let [start, end, time] = WINDOW_COLUMNS;
        let part = |part: Part, of: Expr| {
            let part = WindowPart::new(grid, self.offset_us, part);
            ScalarUDF::from(part).call(vec![of])
        };
        let inputs: Vec<Expr> = (input.schema().columns().into_iter())
            .map(Expr::Column)
            .collect();
        let mut listed = inputs.clone();
        listed.push(part(Part::Ends, Expr::Column(self.time.clone())).alias(end));
        let end_column = Column::new_unqualified(end);
        let mut columns = inputs;
        let of_end = || Expr::Column(end_column.clone());
        columns.push(part(Part::Start, of_end()).alias(start));
        columns.push(of_end());
        columns.push(part(Part::Time, of_end()).alias(time));
        LogicalPlanBuilder::from(input)
            .filter(Expr::Column(self.time.clone()).is_not_null())?
            .project(listed)?
            .unnest_column_with_options(
                end_column.clone(),
                UnnestOptions::new().with_preserve_nulls(false),
            )?
            .project(columns)?
            .build()
    }

    fn bounded_tumbling(&self, input: LogicalPlan) -> BoundResult<LogicalPlan> {
        let mut columns: Vec<Expr> = input
            .schema()
            .columns()
            .into_iter()
            .map(Expr::Column)
            .collect();
        let shifts = [0, self.size_us, self.size_us - MILLISECOND_US];
        for (name, shift_us) in WINDOW_COLUMNS.into_iter().zip(shifts) {
            let bound = WindowBound::new(self.size_us, self.offset_us, shift_us);
            let bound = ScalarUDF::from(bound);
            columns.push(
                bound
                    .call(vec![Expr::Column(self.time.clone())])
                    .alias(name),
            );
        }
        LogicalPlanBuilder::from(input)
            .filter(Expr::Column(self.time.clone()).is_not_null())?
            .project(columns)?
            .build()
    }
}

/// The columns of `input` and those of a window behind them.
pub(super) fn with_bounds(input: &LogicalPlan, time: &Column) -> BoundResult<DFSchemaRef> {
    let input = input.schema();
    let mut fields: Vec<_> = input
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
        .collect();
    let time_field = input.field(input.index_of_column(time)?);
    for name in WINDOW_COLUMNS {
        let field = Field::new(name, time_field.data_type().clone(), false);
        fields.push((None, Arc::new(field)));
    }
    let schema = DFSchema::new_with_metadata(fields, input.metadata().clone())?;
    Ok(Arc::new(schema))
}

/// A time moved by so many µs.
pub(super) fn shifted(time: Expr, shift_us: i64) -> Expr {
    ScalarUDF::from(WindowBound::new(1, 0, shift_us)).call(vec![time])
}

impl PartialOrd for Tumble {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let own = (&self.time, self.size_us, self.grid, self.offset_us);
        Some(own.cmp(&(&other.time, other.size_us, other.grid, other.offset_us)))
    }
}

impl UserDefinedLogicalNodeCore for Tumble {
    fn name(&self) -> &str {
        "Tumble"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![Expr::Column(self.time.clone())]
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        WINDOW_COLUMNS.into_iter().map(str::to_owned).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = interval_text(self.size_us);
        match self.grid {
            None => write!(f, "Tumble: {} by {size}", self.time),
            Some(WindowGrid::Hop { slide_us, .. }) => {
                let slide = interval_text(slide_us);
                write!(f, "Hop: {} by {slide} of {size}", self.time)
            }
            Some(WindowGrid::Cumulate { step_us, .. }) => {
                let step = interval_text(step_us);
                write!(f, "Cumulate: {} by {step} to {size}", self.time)
            }
        }
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> BoundResult<Self> {
        let time = match exprs.into_iter().next() {
            Some(Expr::Column(column)) => column,
            Some(Expr::Alias(alias)) => match *alias.expr {
                Expr::Column(column) => column,
                other => return internal_err!("the time of TUMBLE became {other}"),
            },
            other => return internal_err!("the time of TUMBLE became {other:?}"),
        };
        match inputs.pop() {
            Some(input) => Self::over(input, time, self.windows()),
            None => internal_err!("TUMBLE without input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inputs = self.input.schema().fields().len();
        let mut needed: Vec<usize> = output_columns
            .iter()
            .copied()
            .filter(|&column| column < inputs)
            .collect();
        needed.push(self.time_index().ok()?);
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

pub(super) fn refused(diagnostic: Diagnostic) -> DataFusionError {
    DataFusionError::External(Box::new(diagnostic))
}
