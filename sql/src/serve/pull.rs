//! Snapshot queries: a bounded DataFusion plan over the views' states and the topics' content up to now.
//!
//! ```text
//! bound plan ── relations become providers, TUMBLE becomes a projection ── physical plan ── batches
//!                 view: snapshot of its last commit
//!                 source, table: a scan of the topic up to the offsets at the start
//! ```
//!
//! Planning (which evaluates constants, by functions of modules too) and running happen on the threads of `queries.rs`.
//! Limits, each named in its error: rows and bytes of the answer, memory of the query, time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringViewArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as BoundResult};
use datafusion::datasource::MemTable;
use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::stream::{self, StreamExt};
use log_api::Log;
use streams::{MemoryBudget, ScanError, ScanRange, SourceSpec, ViewSnapshot};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::answer::Rows;
use super::files::{File, FileTable};
use super::notice::Notices;
use super::queries::{Part, Queries};
use super::query_memory::QueryMemory;
use super::view_table::ViewTable;
use crate::catalog::{Kind, Relation};
use crate::config::SqlConfig;
use crate::diagnostic::{Code, Diagnostic, Words, translate};
use crate::plan::{
    BoundQuery, Library, Meter, WhileRead, batch_bytes, bounded, guard_plan, is_written, made_late,
    metered, settled, without_open_subqueries, written,
};

/// What a snapshot query runs with.
pub(super) struct Pull<'a> {
    pub library: &'a Library,
    pub config: &'a SqlConfig,
    pub log: &'a Arc<dyn Log>,
    pub queries: &'a Queries,
    pub memory: MemoryBudget,
    pub words: &'a Words,
    pub notices: &'a Notices,
}

impl Pull<'_> {
    /// Runs a bound query up to its first rows; the others come as they are read. `snapshots` holds the content of
    /// every view that it reads, `system` the rows of every table of the server's, `files` what
    /// relations are files.
    pub(super) async fn run(
        &self,
        bound: BoundQuery,
        snapshots: HashMap<String, Arc<ViewSnapshot>>,
        system: Vec<(String, RecordBatch)>,
        mut files: HashMap<String, File>,
    ) -> Result<(SchemaRef, Rows), Diagnostic> {
        let fail = |error: DataFusionError| translate(&error, self.words);
        let mut providers: HashMap<String, Arc<dyn TableProvider>> = HashMap::new();
        for relation in &bound.relations {
            if let Some(file) = files.remove(relation.name()) {
                let table = FileTable {
                    relation: Arc::clone(relation),
                    file,
                    notices: self.notices.clone(),
                };
                providers.insert(relation.name().to_owned(), Arc::new(table));
                continue;
            }
            let provider: Arc<dyn TableProvider> = match snapshots.get(relation.name()) {
                Some(snapshot) => Arc::new(ViewTable {
                    relation: Arc::clone(relation),
                    snapshot: Arc::clone(snapshot),
                }),
                None => Arc::new(TopicTable {
                    relation: Arc::clone(relation),
                    log: Arc::clone(self.log),
                    notices: self.notices.clone(),
                }),
            };
            providers.insert(relation.name().to_owned(), provider);
        }
        for (name, rows) in system {
            let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(fail)?;
            providers.insert(name, Arc::new(table));
        }
        let plan = bounded(bound.plan, &providers).map_err(fail)?;
        let reader = Arc::new(());
        let memory = QueryMemory::new(&self.memory, self.config.memory_bytes_max);
        let memory: Arc<dyn MemoryPool> = Arc::new(memory);
        let meter = Meter::new(Arc::downgrade(&reader), &memory);
        let state = query_state(self.library, memory, Arc::downgrade(&reader));
        let state = state.map_err(fail)?;
        let stopping = self.queries.stopping();
        let deadline = Instant::now() + Duration::from_millis(self.config.query_timeout_ms);
        let words = self.words.clone();
        let running = self.queries.start(async move {
            let plan = without_open_subqueries(state.optimize(&plan)?, &words)?;
            let plan = guard_plan(metered(plan, &meter)?)?;
            let planner = Arc::clone(state.query_planner());
            let physical = planner.create_physical_plan(&plan, &state).await?;
            execute_stream(physical, state.task_ctx())
        });
        let mut output = Output {
            schema: Arc::new(Schema::empty()),
            parts: None,
            _reader: reader,
            stopping,
            words: self.words.clone(),
            rows: 0,
            bytes: 0,
            config: self.config.clone(),
            deadline,
        };
        output.parts = Some(output.in_time(running).await?);
        // An error before the first row is the answer, not its last line.
        let first = output.next().await.transpose()?;
        let schema = Arc::clone(&output.schema);
        let rest = stream::unfold(output, |mut output| async move {
            let next = output.next().await?;
            Some((next, output))
        });
        Ok((schema, stream::iter(first.map(Ok)).chain(rest).boxed()))
    }
}

/// What EXPLAIN shows of a query that only runs bounded.
pub(crate) fn explain_bounded(
    library: &Library,
    plan: &LogicalPlan,
    words: &Words,
) -> Result<Vec<String>, Diagnostic> {
    let optimized = made_late(plan.clone())
        .and_then(|plan| library.state.optimize(&plan))
        .map_err(|error| translate(&error, words))?;
    let mut values = values_of(&optimized).into_iter();
    let lines = optimized.display_indent().to_string();
    let lines = lines.lines().map(|line| match line.split_once("Values: ") {
        // The values are in the statement; the plan writes them as types of the planner.
        Some((indent, _)) if indent.trim().is_empty() => {
            let count = values.next().unwrap_or_default();
            let rows = if count == 1 { "row" } else { "rows" };
            format!("{indent}Values: {count} {rows}")
        }
        _ => line.to_owned(),
    });
    Ok(lines.collect())
}

/// Rows of each VALUES of a plan, from above.
fn values_of(plan: &LogicalPlan) -> Vec<usize> {
    let own = match plan {
        LogicalPlan::Values(values) => vec![values.values.len()],
        _ => Vec::new(),
    };
    let below = plan.inputs().into_iter().flat_map(values_of);
    own.into_iter().chain(below).collect()
}

fn query_state(
    library: &Library,
    memory: Arc<dyn MemoryPool>,
    reader: Weak<()>,
) -> BoundResult<SessionState> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(memory)
        .with_disk_manager_builder(disk)
        .build_arc()?;
    let mut state = SessionStateBuilder::new_from_existing(library.state.clone())
        .with_runtime_env(runtime)
        .with_physical_optimizer_rule(Arc::new(WhileRead { reader }))
        .build();
    state.mark_start_execution();
    Ok(state)
}

/// The content of a topic up to now.
struct TopicTable {
    relation: Arc<Relation>,
    log: Arc<dyn Log>,
    notices: Notices,
}

impl fmt::Debug for TopicTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicTable({})", self.relation.topic)
    }
}

#[async_trait]
impl TableProvider for TopicTable {
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
        let partition = TopicPartitions {
            schema: Arc::clone(&schema),
            spec,
            places,
            log: Arc::clone(&self.log),
            kind: self.relation.identity.kind,
            name: self.relation.name().to_owned(),
            notices: self.notices.clone(),
        };
        let plan =
            StreamingTableExec::try_new(schema, vec![Arc::new(partition)], None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// All partitions of a topic as one stream.
struct TopicPartitions {
    schema: SchemaRef,
    spec: SourceSpec,
    /// Where the schema's columns are among the source's.
    places: Vec<usize>,
    log: Arc<dyn Log>,
    kind: Kind,
    /// Of the relation, and where what the scan leaves out is told.
    name: String,
    notices: Notices,
}

impl fmt::Debug for TopicPartitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicPartitions({})", self.spec.topic)
    }
}

impl PartitionStream for TopicPartitions {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (schema, spec, places, log) = (
            Arc::clone(&self.schema),
            self.spec.clone(),
            self.places.clone(),
            Arc::clone(&self.log),
        );
        let (name, notices) = (self.name.clone(), self.notices.clone());
        let out = Arc::clone(&schema);
        let external = |error: streams::ScanError| {
            let diagnostic = Diagnostic::new(Code::Log, error.to_string());
            DataFusionError::External(Box::new(diagnostic))
        };
        let kind = self.kind;
        let batches = stream::once(async move {
            let scan = streams::scan(log, &spec, ScanRange::Now).await;
            let scan = scan.map_err(|error| match error {
                ScanError::MissingTopic(topic) => {
                    DataFusionError::External(Box::new(missing_topic(&topic, kind, &name)))
                }
                other => external(other),
            })?;
            notices.scan(&name, scan.report());
            Ok(scan)
        })
        .flat_map(move |scan| {
            let (schema, places) = (Arc::clone(&schema), places.clone());
            match scan {
                Ok(scan) => scan
                    .map(move |batch| {
                        let batch = batch.map_err(external)?;
                        let columns = places
                            .iter()
                            .map(|&place| Arc::clone(batch.column(place)))
                            .collect();
                        let options =
                            RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                        Ok(RecordBatch::try_new_with_options(
                            Arc::clone(&schema),
                            columns,
                            &options,
                        )?)
                    })
                    .boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(out, batches))
    }
}

/// That the topic of a relation was deleted under it.
pub(super) fn missing_topic(topic: &str, kind: Kind, name: &str) -> Diagnostic {
    let kind = kind.to_string();
    let message = format!("topic {topic} of {kind} {name} does not exist any more");
    Diagnostic::new(Code::Log, message).help(format!(
        "DROP {} {name}, or make the topic anew: thalweg topic create {topic}",
        kind.to_uppercase()
    ))
}

/// The types that answers have; a type without a place there goes out as text.
fn settled_schema(planned: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| {
        let data_type = settled(field.data_type()).unwrap_or(DataType::Utf8View);
        Field::new(field.name(), data_type, true)
    };
    Arc::new(Schema::new(
        planned.fields().iter().map(field).collect::<Vec<_>>(),
    ))
}

/// The reading end of a running query.
struct Output {
    /// Of the answer; known from the first part on.
    schema: SchemaRef,
    /// `None` at the end and after an error.
    parts: Option<mpsc::Receiver<Part>>,
    /// The query goes on as long as this is held.
    _reader: Arc<()>,
    stopping: watch::Receiver<bool>,
    words: Words,
    rows: usize,
    bytes: usize,
    config: SqlConfig,
    deadline: Instant,
}

impl Output {
    async fn next(&mut self) -> Option<Result<RecordBatch, Diagnostic>> {
        loop {
            let mut parts = self.parts.take()?;
            let part = match self.in_time(parts.recv()).await {
                Ok(part) => part,
                Err(error) => return Some(Err(error)),
            };
            let batch = match part {
                Some(Part::Planned(planned)) => {
                    self.schema = settled_schema(&planned);
                    self.parts = Some(parts);
                    continue;
                }
                Some(Part::Batch(batch)) => batch,
                Some(Part::End(Ok(()))) => return None,
                Some(Part::End(Err(error))) => return Some(Err(translate(&error, &self.words))),
                None if *self.stopping.borrow() => return Some(Err(stopped())),
                None => {
                    let message = "the query ended without an end";
                    return Some(Err(Diagnostic::new(Code::Internal, message)));
                }
            };
            let taken = self.take(&batch);
            if taken.is_ok() {
                self.parts = Some(parts);
            }
            return Some(taken);
        }
    }

    /// What `work` gives, unless the query's time is over or the server stops before.
    async fn in_time<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Diagnostic> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            _ = self.stopping.wait_for(|stop| *stop) => Err(stopped()),
            () = tokio::time::sleep_until(self.deadline) => {
                let limit_ms = self.config.query_timeout_ms;
                let message = format!("the query took longer than {limit_ms} ms");
                Err(Diagnostic::new(Code::Timeout, message)
                    .help("ask for less, or raise sql.query_timeout_ms"))
            }
        }
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<RecordBatch, Diagnostic> {
        self.rows += batch.num_rows();
        self.bytes += batch_bytes(batch);
        let limit = |what: &str, key: &str| {
            Diagnostic::new(Code::Limit, format!("the answer has more than {what}"))
                .help(format!("add LIMIT or aggregate, or raise sql.{key}"))
        };
        if self.rows > self.config.rows_max {
            return Err(limit(&format!("{} rows", self.config.rows_max), "rows_max"));
        }
        if self.bytes > self.config.answer_bytes_max {
            return Err(limit(
                &format!("{} bytes", self.config.answer_bytes_max),
                "answer_bytes_max",
            ));
        }
        settle(batch, &self.schema).map_err(|error| translate(&error.into(), &self.words))
    }
}

fn stopped() -> Diagnostic {
    Diagnostic::new(Code::Shutdown, "the server is stopping")
}

/// A batch with the columns' types as `schema` has them.
pub(crate) fn settle(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = CastOptions {
        safe: false,
        ..Default::default()
    };
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if settled(column.data_type()).is_some() {
                return cast_with_options(column, field.data_type(), &options);
            }
            if is_written(column.data_type()) {
                let texts = written(column);
                return texts.map_err(|error| ArrowError::ExternalError(Box::new(error)));
            }
            let format = FormatOptions::default();
            let texts = ArrayFormatter::try_new(column, &format)?;
            let text = |row| column.is_valid(row).then(|| texts.value(row).to_string());
            let texts: StringViewArray = (0..column.len()).map(text).collect();
            Ok(Arc::new(texts) as ArrayRef)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}
