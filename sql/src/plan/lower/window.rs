//! Lowers windows, and carries the time column that a window reads down to the source that it comes of.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan};
use streams::{LatePolicy, NodeKind, SlideSpec, TumbleSpec, WindowGrid};

use super::{Lowering, Ordinal, Rows, plain_column, qualified};
use crate::diagnostic::Diagnostic;
use crate::plan::relation_source::RelationSource;
use crate::plan::tumble::{Tumble, WINDOW_COLUMNS};

/// A column that a window above reads as event time, and the window.
#[derive(Debug, Clone)]
pub(super) struct TimeUse {
    pub column: usize,
    pub window: TumbleSpec,
}

impl TimeUse {
    pub(super) fn at(&self, column: usize) -> Self {
        Self {
            column,
            window: self.window.clone(),
        }
    }
}

/// Which bound of which window a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) struct WindowBound {
    /// The window's place among those of the query.
    pub window: usize,
    /// From the bound to the window's end, µs. `None`: that differs from window to window, as with a start that windows of
    /// several lengths share, so the bound alone does not tell which window it is of.
    pub to_end_us: Option<i64>,
}

impl WindowBound {
    /// Whether the column is the end of the window itself.
    pub(in crate::plan) fn is_end(self) -> bool {
        self.to_end_us == Some(0)
    }

    /// Whether both columns tell the same window of one kind, and so each other.
    pub(in crate::plan) fn tells(self, other: Self) -> bool {
        self.window == other.window && self.to_end_us.is_some() && other.to_end_us.is_some()
    }
}

impl Lowering<'_> {
    pub(super) fn tumble(&mut self, tumble: &Tumble) -> Result<Rows, Diagnostic> {
        let time = TimeUse {
            column: tumble.time_index().map_err(|error| self.bound(&error))?,
            window: judged_by(tumble, self.policy.grace_us, &self.policy.late),
        };
        let window_spec = time.window.clone();
        let rows = self.lower(&tumble.input, Some(time))?;
        let time_column = self.column(&rows.schema, &tumble.time)?;
        let time_type = rows.schema.field(time_column).data_type().clone();
        let mut fields = qualified(&rows.schema);
        fields.extend(
            WINDOW_COLUMNS.map(|name| (None, Arc::new(Field::new(name, time_type.clone(), true)))),
        );
        let schema = self.schema(fields)?;
        let window = self.windows;
        self.windows += 1;
        let mut bounds = rows.bounds;
        let window_end = bounds.len() + 1;
        let to_end_us = match tumble.grid {
            Some(WindowGrid::Cumulate { .. }) => [None, Some(0), Some(1_000)],
            _ => [Some(tumble.size_us), Some(0), Some(1_000)],
        };
        bounds.extend(to_end_us.map(|to_end_us| Some(WindowBound { window, to_end_us })));
        let (kind, changes) = match tumble.grid {
            None => {
                let spec = TumbleSpec {
                    time_column,
                    ..window_spec
                };
                (NodeKind::Tumble(spec), rows.changes)
            }
            Some(grid) => {
                let spec = SlideSpec {
                    time_column,
                    grid,
                    offset_us: tumble.offset_us,
                    grace_us: self.policy.grace_us,
                    late: self.policy.late.clone(),
                };
                // A row is there once a window.
                (NodeKind::Slide(spec), rows.changes.with(window_end))
            }
        };
        let node = self.push(Ordinal::Tumble, vec![rows.node], schema.inner(), kind);
        Ok(Rows {
            node,
            schema,
            bounds,
            changes,
        })
    }

    /// Lowers the input of an operator that makes something else of records: where they are still records, those that are
    /// late for a window further up go here.
    pub(super) fn judged(
        &mut self,
        plan: &LogicalPlan,
        time: Option<TimeUse>,
    ) -> Result<Rows, Diagnostic> {
        let rows = self.lower(plan, time.clone())?;
        let Some(time) = time.filter(|_| gives_records(plan)) else {
            return Ok(rows);
        };
        let (qualifier, field) = plan.schema().qualified_field(time.column);
        let column = Column::from((qualifier, field));
        let spec = TumbleSpec {
            time_column: self.column(&rows.schema, &column)?,
            ..time.window
        };
        let schema = Arc::clone(&self.nodes[rows.node].schema);
        let kind = NodeKind::Late(spec);
        let node = self.push(Ordinal::Stateless, vec![rows.node], &schema, kind);
        Ok(Rows { node, ..rows })
    }
}

/// The windows that a row is late for before a join: of windows that overlap, the last one that it lies in.
fn judged_by(tumble: &Tumble, grace_us: i64, late: &LatePolicy) -> TumbleSpec {
    let (size_us, longer_us) = match tumble.grid {
        Some(WindowGrid::Hop { slide_us, size_us }) => (slide_us, size_us - slide_us),
        Some(WindowGrid::Cumulate { .. }) | None => (tumble.size_us, 0),
    };
    TumbleSpec {
        time_column: 0,
        size_us,
        offset_us: tumble.offset_us.rem_euclid(size_us),
        grace_us: grace_us.saturating_add(longer_us).max(0),
        late: late.clone(),
    }
}

/// The time column in the input of `exprs`.
pub(super) fn time_below(
    exprs: &[Expr],
    time: Option<TimeUse>,
    input: &LogicalPlan,
) -> Option<TimeUse> {
    let time = time?;
    let column = plain_column(exprs.get(time.column)?)?;
    let column = input.schema().index_of_column(column).ok()?;
    Some(time.at(column))
}

/// Whether the rows of `plan` are records of a topic, each as it was read.
pub(super) fn gives_records(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let source = scan.source.downcast_ref::<RelationSource>();
            source.is_some_and(|source| source.relation.key.is_empty())
        }
        LogicalPlan::SubqueryAlias(alias) => gives_records(&alias.input),
        LogicalPlan::Filter(filter) => gives_records(&filter.input),
        LogicalPlan::Projection(projection) => gives_records(&projection.input),
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| gives_records(input)),
        _ => false,
    }
}
