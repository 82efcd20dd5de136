//! Series that are taken apart as soon as they are made: a list of sixty million numbers is never whole in memory.
//!
//! ```text
//! UNNEST                                    UNNEST                  the elements of [1 … 8192], [8193 … 16384], …
//!   Projection: generate_series(1, n)   →     SeriesPieces          the row once a piece
//! ```
//!
//! The elements of the pieces are those of the list, in its order. A row whose list is empty or NULL keeps it.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result as BoundResult, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};
use futures::stream::{self, StreamExt};

use super::function::is_module;
use super::series::{self, Bounds, Lists, Series};

/// `node` over pieces, if it takes apart one series and nothing beside it.
pub(super) fn in_pieces(node: Arc<dyn ExecutionPlan>) -> BoundResult<Arc<dyn ExecutionPlan>> {
    let Some(pieces) = node.downcast_ref::<UnnestExec>().and_then(pieces_for) else {
        return Ok(node);
    };
    replace_children_if_necessary(node, vec![Arc::new(pieces)])
}

fn pieces_for(unnest: &UnnestExec) -> Option<SeriesPieces> {
    let [list] = unnest.list_column_indices() else {
        return None;
    };
    let pieces = SeriesPieces {
        projection: Arc::clone(unnest.input()),
        place: list.index_in_input_schema,
    };
    let is_flat = list.depth == 1 && unnest.struct_column_indices().is_empty();
    (is_flat && pieces.call().is_some()).then_some(pieces)
}

/// A projection whose rows come once a piece of the series at `place`.
#[derive(Debug)]
struct SeriesPieces {
    projection: Arc<dyn ExecutionPlan>,
    place: usize,
}

impl SeriesPieces {
    fn exprs(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let projection = self.projection.downcast_ref::<ProjectionExec>();
        let exprs = projection.map_or(&[][..], ProjectionExec::expr);
        exprs
            .iter()
            .map(|column| Arc::clone(&column.expr))
            .collect()
    }

    /// The name and the arguments of the series.
    fn call(&self) -> Option<(String, Vec<Arc<dyn PhysicalExpr>>)> {
        let expr = self.exprs().into_iter().nth(self.place)?;
        let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
        let is_it = series::names().any(|name| name == call.name()) && !is_module(call.fun());
        is_it.then(|| (call.name().to_owned(), call.args().to_vec()))
    }
}

impl DisplayAs for SeriesPieces {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for SeriesPieces {
    fn name(&self) -> &str {
        "SeriesPieces"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.projection.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.projection.children()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> BoundResult<TreeNodeRecursion>,
    ) -> BoundResult<TreeNodeRecursion> {
        self.projection.apply_expressions(visit)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> BoundResult<Arc<dyn ExecutionPlan>> {
        let projection = Arc::clone(&self.projection);
        Ok(Arc::new(Self {
            projection: replace_children_if_necessary(projection, children)?,
            place: self.place,
        }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> BoundResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> BoundResult<SendableRecordBatchStream> {
        let children = self.children();
        let (Some((name, args)), [input]) = (self.call(), children.as_slice()) else {
            return internal_err!("a series in pieces that is no series");
        };
        let rows_max = context.session_config().batch_size().max(1);
        let (exprs, place, schema) = (self.exprs(), self.place, self.schema());
        let input = input.execute(partition, context)?;
        let out = Arc::clone(&schema);
        let pieces = input.flat_map(move |batch| {
            let rows = batch.and_then(|batch| {
                let args = values_of(&args, None, &batch)?;
                let args: Vec<ArrayRef> = args.into_iter().flatten().collect();
                Ok(Rows {
                    columns: values_of(&exprs, Some(place), &batch)?,
                    bounds: Bounds::of(&name, &args)?,
                    schema: Arc::clone(&schema),
                    row: 0,
                    series: None,
                })
            });
            match rows {
                Ok(mut rows) => {
                    let pieces = std::iter::from_fn(move || rows.piece(rows_max).transpose());
                    stream::iter(pieces).left_stream()
                }
                Err(error) => stream::iter([Err(error)]).right_stream(),
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(out, pieces)))
    }
}

/// The values of expressions over rows, but for the one at `except`.
fn values_of(
    exprs: &[Arc<dyn PhysicalExpr>],
    except: Option<usize>,
    batch: &RecordBatch,
) -> BoundResult<Vec<Option<ArrayRef>>> {
    let values = exprs.iter().enumerate().map(|(place, expr)| {
        if Some(place) == except {
            return Ok(None);
        }
        let values = expr.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(Some(values))
    });
    values.collect()
}

/// Rows of the input, with what is left of their series.
struct Rows {
    /// `None` where the series stands.
    columns: Vec<Option<ArrayRef>>,
    bounds: Bounds,
    schema: SchemaRef,
    /// The next one.
    row: usize,
    /// What is left of that one's series, once it was begun.
    series: Option<Series>,
}

impl Rows {
    /// Rows with so many elements at most; `None` behind the last ones.
    fn piece(&mut self, rows_max: usize) -> BoundResult<Option<RecordBatch>> {
        let mut lists = Lists::of(&self.bounds.kind);
        let mut rows: Vec<u64> = Vec::new();
        while self.row < self.bounds.rows() && lists.size() < rows_max {
            rows.push(u64::try_from(self.row).unwrap_or(u64::MAX));
            let series = match self.series.take() {
                Some(series) => Some(series),
                None => self.bounds.series(self.row)?,
            };
            match series {
                Some(mut series) => {
                    let room = rows_max - lists.size();
                    lists.push(&mut series, room);
                    self.series = (!series.is_over()).then_some(series);
                }
                None => lists.push_null(),
            }
            if self.series.is_none() {
                self.row += 1;
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let lists = lists.finish()?;
        let rows = UInt64Array::from(rows);
        let columns = self.columns.iter().map(|column| match column {
            Some(column) => Ok(take(column, &rows, None)?),
            None => Ok(Arc::clone(&lists)),
        });
        let columns = columns.collect::<BoundResult<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let schema = Arc::clone(&self.schema);
        let piece = RecordBatch::try_new_with_options(schema, columns, &options)?;
        Ok(Some(piece))
    }
}
