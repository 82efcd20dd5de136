//! Our side: a durable job over two topics of an embedded broker.
//!
//! ```text
//! facts (k, v) ───────────────┐
//!                             join ── aggregate by region ── view and its topic
//! places (id, region; upsert) ┘
//! ```

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow::datatypes::{DataType, Field};
use log_api::{
    BatchBuilder, Compression, Log, NewTopic, TopicPartition, Writer, partition_for_key,
};
use log_broker::{Broker, BrokerConfig};
use streams::{
    AggregateCall, AggregateSpec, ColumnOrigin, Emit, Engine, EngineConfig, JobSpec, JoinKind,
    JoinSpec, KeyFormat, NativeAggregate, NodeKind, OperatorId, PlanNode, SinkForm, SinkSpec,
    SourceColumn, SourceMode, SourceSpec, StreamPlan, ValueFormat,
};

use super::JoinArgs;
use super::rows::{Answer, Rows, facts_file, read_answers};
use crate::meter::{Cost, Meter};
use crate::running::{committed, ends, schema};

/// The topic of the facts.
const FACTS: &str = "facts";
/// Bytes of records in one batch of a topic.
const BATCH_BYTES: usize = 64 << 10;

/// Broker of this process, and where engines keep their state.
pub(super) struct Bench {
    broker: Broker,
    log: Arc<dyn Log>,
    state: PathBuf,
    args: JoinArgs,
}

impl Bench {
    /// Opens the broker in a folder.
    pub(super) fn open(folder: &Path, args: &JoinArgs) -> Result<Self> {
        let broker = Broker::open(BrokerConfig::in_folder(folder.join("log")))?;
        let log: Arc<dyn Log> = Arc::new(broker.embedded());
        Ok(Self {
            broker,
            log,
            state: folder.join("streams"),
            args: args.clone(),
        })
    }

    /// Writes the facts to their topic and their file.
    pub(super) async fn write_facts(&self, rows: &Rows, folder: &Path) -> Result<()> {
        let mut topic = TopicWriter::create(&*self.log, FACTS, self.args.partitions).await?;
        let mut file = BufWriter::with_capacity(1 << 20, File::create(facts_file(folder))?);
        for (key, row) in rows.facts() {
            topic.append(key, &row).await?;
            writeln!(file, "{row}")?;
        }
        topic.finish().await?;
        file.into_inner().context("write the file")?.sync_all()?;
        Ok(())
    }

    /// Computes the answers once, ordered, with a job of its own that is removed afterwards.
    pub(super) async fn turn(
        &self,
        name: &str,
        tokens: usize,
        rows: &Rows,
    ) -> Result<(Cost, Vec<Answer>)> {
        let partitions = self.args.partitions;
        let places = format!("places-{name}");
        let mut topic = TopicWriter::create(&*self.log, &places, partitions).await?;
        for (key, row) in rows.places() {
            topic.append(key, &row).await?;
        }
        topic.finish().await?;
        let engine = Engine::new(
            EngineConfig {
                state_dir: self.state.clone(),
                commit_interval: Duration::from_millis(self.args.commit_ms),
                tokens,
                threads: tokens,
                ..EngineConfig::default()
            },
            Arc::clone(&self.log),
        )?;
        let spec = JobSpec {
            name: format!("totals-{name}"),
            plan: plan(&places),
            sink: SinkSpec {
                topic: format!("totals-{name}"),
                partitions: 1,
                key: vec![0],
                hidden: 0,
                key_format: KeyFormat::Json,
                form: SinkForm::View,
            },
            manifest: None,
            revision: 0,
        };

        let meter = Meter::start()?;
        let job = engine.start(spec).await?;
        let mut all = ends(&*self.log, FACTS, partitions).await?;
        all.extend(ends(&*self.log, &places, partitions).await?);
        committed(&job, &all).await?;
        for (key, row) in rows.moved() {
            topic.append(key, &row).await?;
        }
        topic.finish().await?;
        committed(&job, &ends(&*self.log, &places, partitions).await?).await?;
        let cost = meter.stop()?;

        let status = job.status();
        ensure!(
            status.undecodable == 0 && status.failed_rows == 0,
            "rows were lost: {} undecodable, {} failed",
            status.undecodable,
            status.failed_rows
        );
        let mut answers = Vec::new();
        for batch in job.snapshot()?.batches() {
            read_answers(&batch?, &mut answers)?;
        }
        answers.sort_unstable();
        job.drop_job().await?;
        engine.shutdown().await;
        self.log.admin().delete_topic(&places).await?;
        Ok((cost, answers))
    }

    /// Ends the broker.
    pub(super) async fn close(self) -> Result<()> {
        Ok(self.broker.close().await?)
    }
}

/// Writes rows to a topic by key.
struct TopicWriter {
    writer: Arc<dyn Writer>,
    partitions: Vec<TopicPartition>,
    batches: Vec<BatchBuilder>,
}

impl TopicWriter {
    async fn create(log: &dyn Log, topic: &str, partitions: i32) -> Result<Self> {
        log.admin()
            .create_topic(NewTopic::new(topic, partitions).with("retention.ms", "-1"))
            .await?;
        let partitions: Vec<TopicPartition> = (0..partitions)
            .map(|number| TopicPartition::new(topic, number))
            .collect();
        Ok(Self {
            writer: log.writer().await?,
            batches: partitions.iter().map(|_| batch()).collect(),
            partitions,
        })
    }

    async fn append(&mut self, key: u64, row: &str) -> Result<()> {
        let key = key.to_string();
        let count = i32::try_from(self.partitions.len())?;
        let at = usize::try_from(partition_for_key(key.as_bytes(), count))?;
        self.batches[at].append(0, Some(key.as_bytes()), Some(row.as_bytes()), &[]);
        if self.batches[at].size_bytes() >= BATCH_BYTES {
            self.send(at).await?;
        }
        Ok(())
    }

    async fn send(&mut self, at: usize) -> Result<()> {
        let full = std::mem::replace(&mut self.batches[at], batch());
        self.writer.append(&self.partitions[at], full).await?;
        Ok(())
    }

    /// Everything is in the log when this returns.
    async fn finish(&mut self) -> Result<()> {
        for at in 0..self.batches.len() {
            if !self.batches[at].is_empty() {
                self.send(at).await?;
            }
        }
        self.writer.sync(&self.partitions).await?;
        Ok(())
    }
}

fn batch() -> BatchBuilder {
    BatchBuilder::with_capacity(Compression::None, BATCH_BYTES + 1024)
}

fn plan(places: &str) -> StreamPlan {
    let column = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let facts = vec![column("k", DataType::Int64), column("v", DataType::Int64)];
    let table = vec![
        column("id", DataType::Int64),
        column("region", DataType::Utf8View),
    ];
    let joined: Vec<Field> = facts.iter().chain(&table).cloned().collect();
    let output = vec![
        joined[3].clone(),
        Field::new("n", DataType::Int64, false),
        column("total", DataType::Int64),
    ];
    let call = |id, function, argument: Option<usize>| AggregateCall {
        id,
        function: Arc::new(function),
        arguments: argument.into_iter().collect(),
        order_by: Vec::new(),
        filter: None,
        distinct: false,
        output: DataType::Int64,
    };
    let source = |topic: &str, fields: &[Field], mode: SourceMode| {
        let columns = fields.iter().map(|field| SourceColumn {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: true,
            length: None,
            origin: ColumnOrigin::Value,
        });
        NodeKind::Source(SourceSpec {
            topic: topic.to_owned(),
            columns: columns.collect(),
            checked: Vec::new(),
            key_format: KeyFormat::None,
            value_format: ValueFormat::Json {
                timestamp_unit_us: None,
            },
            mode,
            watermark: None,
        })
    };
    let node = |id: u16, inputs: Vec<usize>, fields: Vec<Field>, kind: NodeKind| PlanNode {
        id: OperatorId(id),
        name: id.to_string(),
        inputs,
        schema: schema(fields),
        kind,
    };
    let upsert = SourceMode::Upsert { key: vec![0] };
    let join = JoinSpec {
        kind: JoinKind::Inner,
        left_keys: vec![0],
        right_keys: vec![0],
        null_is_equal: false,
        range: None,
        residual: None,
    };
    let aggregate = AggregateSpec {
        group_by: vec![3],
        aggregates: vec![
            call(0, NativeAggregate::Count, None),
            call(1, NativeAggregate::Sum, Some(1)),
        ],
        window_end: None,
        emit: Emit::Changes,
    };
    let facts_source = source(FACTS, &facts, SourceMode::Append);
    let places_source = source(places, &table, upsert);
    StreamPlan {
        nodes: vec![
            node(1, vec![], facts, facts_source),
            node(2, vec![], table, places_source),
            node(3, vec![0, 1], joined, NodeKind::Join(join)),
            node(4, vec![2], output, NodeKind::Aggregate(aggregate)),
        ],
    }
}
