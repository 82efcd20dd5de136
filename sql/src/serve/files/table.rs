//! A file as a table of DataFusion's: its rows come batch by batch from a thread of their own.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use log_api::{RecordsBuilder, TopicPartition};
use streams::{Decoder, SourceSpec};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::lines::Lines;
use super::{File, Format, wrong};
use crate::catalog::Relation;
use crate::diagnostic::{Code, Diagnostic};
use crate::serve::notice::{Notices, plural};

/// Rows of a batch at the most, and about how many bytes.
const BATCH_ROWS: usize = 8_192;
const BATCH_BYTES: usize = 4 << 20;
/// Batches that wait for whoever reads them.
const BATCHES_MAX: usize = 2;

/// The content of a file.
pub(in crate::serve) struct FileTable {
    pub(in crate::serve) relation: Arc<Relation>,
    pub(in crate::serve) file: File,
    pub(in crate::serve) notices: Notices,
}

impl fmt::Debug for FileTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileTable({})", self.relation.name())
    }
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.relation.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> BoundResult<Arc<dyn ExecutionPlan>> {
        let wanted: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.relation.columns.len()).collect(),
        };
        let (spec, places) = self.relation.source(&wanted);
        let schema = Arc::new(self.relation.schema.project(&wanted)?);
        let rows = FileRows {
            schema: Arc::clone(&schema),
            reading: Reading {
                schema: Arc::clone(&schema),
                spec,
                places,
                file: self.file.clone(),
                name: self.relation.name().to_owned(),
                notices: self.notices.clone(),
            },
        };
        let plan =
            StreamingTableExec::try_new(schema, vec![Arc::new(rows)], None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

struct FileRows {
    schema: SchemaRef,
    reading: Reading,
}

impl fmt::Debug for FileRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileRows({})", self.reading.name)
    }
}

impl PartitionStream for FileRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        let reading = self.reading.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = reading.run(&sender) {
                let error = DataFusionError::External(Box::new(error));
                // Nobody may read any more.
                let _ = sender.blocking_send(Err(error));
            }
        });
        let batches = ReceiverStream::new(receiver);
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        ))
    }
}

/// All that is needed to read.
#[derive(Clone)]
struct Reading {
    schema: SchemaRef,
    spec: SourceSpec,
    /// Where the schema's columns are among the source's.
    places: Vec<usize>,
    file: File,
    name: String,
    notices: Notices,
}

impl Reading {
    fn run(&self, sender: &mpsc::Sender<BoundResult<RecordBatch>>) -> Result<(), Diagnostic> {
        let failed = |error: String| wrong(&self.name, &error);
        let mut decoder = Decoder::new(&self.spec).map_err(|error| failed(error.to_string()))?;
        let mut lines = Lines::open(&self.file).map_err(failed)?;
        if matches!(self.file.format, Format::Csv(_)) {
            lines.next().map_err(failed)?;
        }
        let place = TopicPartition::new(self.name.as_str(), 0);
        let (mut rows, mut bad, mut first) = (0_i64, 0_u64, None);
        loop {
            let mut records = RecordsBuilder::new(place.clone(), rows);
            let (mut count, mut bytes) = (0, 0);
            while count < BATCH_ROWS && bytes < BATCH_BYTES {
                let Some(line) = lines.next().map_err(failed)? else {
                    break;
                };
                records.push(rows, 0, None, Some(line), &[]);
                rows += 1;
                count += 1;
                bytes += line.len();
            }
            if count == 0 {
                break;
            }
            let decoded = decoder.decode(&records.finish());
            bad += decoded.errors.len() as u64;
            if let (None, Some(error)) = (&first, decoded.errors.first()) {
                first = Some(format!("row {}: {}", error.offset + 1, error.reason));
            }
            let columns = self.places.iter();
            let columns = columns.map(|&place| Arc::clone(decoded.batch.column(place)));
            let options = RecordBatchOptions::new().with_row_count(Some(decoded.batch.num_rows()));
            let batch = RecordBatch::try_new_with_options(
                Arc::clone(&self.schema),
                columns.collect(),
                &options,
            );
            if sender
                .blocking_send(batch.map_err(DataFusionError::from))
                .is_err()
            {
                return Ok(());
            }
        }
        if let Some(first) = first {
            let all = plural(rows.unsigned_abs(), "row");
            let message = format!(
                "{bad} of {all} of '{}' could not be read ({first})",
                self.name
            );
            self.notices
                .say(Diagnostic::warning(Code::LeftOut, message));
        }
        Ok(())
    }
}
