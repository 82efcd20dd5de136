//! A view for a snapshot query: the rows of one commit, read from its state batch by batch as the query asks for them, or
//! looked up where its conditions name their keys (`view_key.rs`).
//!
//! Invariants:
//! 1. However large the view is, a reader holds one batch of it; what the query gathers counts against its memory.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream;
use streams::ViewSnapshot;

use super::view_key;
use crate::catalog::Relation;
use crate::diagnostic::{Code, Diagnostic};

/// The content of a view.
pub(super) struct ViewTable {
    pub(super) relation: Arc<Relation>,
    pub(super) snapshot: Arc<ViewSnapshot>,
}

impl fmt::Debug for ViewTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewTable({})", self.relation.name())
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.relation.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> BoundResult<Vec<TableProviderFilterPushDown>> {
        let pushed =
            filters
                .iter()
                .map(|filter| match view_key::names_key(&self.relation, filter) {
                    true => TableProviderFilterPushDown::Inexact,
                    false => TableProviderFilterPushDown::Unsupported,
                });
        Ok(pushed.collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> BoundResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(wanted) => Arc::new(self.relation.schema.project(wanted)?),
            None => self.schema(),
        };
        let rows = ViewRows {
            schema: Arc::clone(&schema),
            name: self.relation.name().to_owned(),
            snapshot: Arc::clone(&self.snapshot),
            keys: view_key::keys(&self.relation, filters)?,
        };
        let plan =
            StreamingTableExec::try_new(schema, vec![Arc::new(rows)], None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// Some columns of all rows.
struct ViewRows {
    schema: SchemaRef,
    name: String,
    snapshot: Arc<ViewSnapshot>,
    /// Only the rows of these keys, if they are known.
    keys: Option<Vec<ArrayRef>>,
}

impl fmt::Debug for ViewRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewRows({})", self.name)
    }
}

impl PartitionStream for ViewRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (schema, name) = (Arc::clone(&self.schema), self.name.clone());
        let failed = move |error: &dyn fmt::Display| {
            let diagnostic =
                Diagnostic::new(Code::Engine, format!("view {name} cannot be read: {error}"))
                    .help(format!("EXPLAIN WHY {name} says more"));
            DataFusionError::External(Box::new(diagnostic))
        };
        let out = Arc::clone(&self.schema);
        if let Some(keys) = self.keys.clone() {
            let snapshot = Arc::clone(&self.snapshot);
            let found = stream::once(async move {
                let read = tokio::task::spawn_blocking(move || snapshot.rows_of(&keys));
                let batch = read.await.map_err(|error| failed(&error))?;
                project(&batch.map_err(|error| failed(&error))?, &schema)
            });
            return Box::pin(RecordBatchStreamAdapter::new(out, found));
        }
        let batches = stream::try_unfold(self.snapshot.batches(), move |mut batches| {
            let (schema, failed) = (Arc::clone(&schema), failed.clone());
            async move {
                // The state may be on disk. A thread is held for one batch, not for as long as the reader takes.
                let read = tokio::task::spawn_blocking(move || (batches.next(), batches));
                match read.await.map_err(|error| failed(&error))? {
                    (None, _) => Ok(None),
                    (Some(batch), batches) => {
                        let batch = batch.map_err(|error| failed(&error))?;
                        Ok(Some((project(&batch, &schema)?, batches)))
                    }
                }
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(out, batches))
    }
}

/// The columns of `schema`, found by name.
fn project(batch: &RecordBatch, schema: &SchemaRef) -> BoundResult<RecordBatch> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let index = batch.schema_ref().index_of(field.name())?;
            arrow::compute::cast(batch.column(index), field.data_type())
        })
        .collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let projected = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
    Ok(projected)
}
