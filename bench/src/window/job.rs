//! Our side: a durable job over a topic of an embedded broker.
//!
//! ```text
//! source (ts, k, v; watermark ts − 5 s) ── tumble ── aggregate by window and key ── view and its topic
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use log_api::{Log, NewTopic, Writer};
use log_broker::{Broker, BrokerConfig};
use streams::{
    AggregateCall, AggregateSpec, BatchExpr, ColumnOrigin, Emit, Engine, EngineConfig, ExprError,
    JobSpec, KeyFormat, LatePolicy, NativeAggregate, NodeKind, OperatorId, PlanNode, SinkForm,
    SinkSpec, SourceColumn, SourceMode, SourceSpec, StreamPlan, TumbleSpec, ValueFormat,
    WatermarkSpec,
};

use super::WindowArgs;
use super::rows::{Answer, LATENESS_MS, read_answers};
use crate::meter::{Cost, Meter};
use crate::running::{committed, ends, schema};

/// The topic of the rows.
pub(super) const TOPIC: &str = "events";
/// How far the watermark stays behind event time, µs; partitions may be read that far apart.
const DELAY_US: i64 = 5 * LATENESS_MS * 1000;

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Broker and engine of this process.
pub(super) struct Bench {
    broker: Broker,
    log: Arc<dyn Log>,
    engine: Engine,
    args: WindowArgs,
}

/// What a job did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    pub(super) groups: usize,
    pub(super) rows_out: u64,
    pub(super) commits: u64,
}

impl Bench {
    /// Opens both in a folder.
    pub(super) fn open(folder: &Path, args: &WindowArgs) -> Result<Self> {
        let broker = Broker::open(BrokerConfig::in_folder(folder.join("log")))?;
        let log: Arc<dyn Log> = Arc::new(broker.embedded());
        let config = EngineConfig {
            state_dir: folder.join("streams"),
            commit_interval: Duration::from_millis(args.commit_ms),
            ..EngineConfig::default()
        };
        let engine = Engine::new(config, Arc::clone(&log))?;
        Ok(Self {
            broker,
            log,
            engine,
            args: args.clone(),
        })
    }

    /// Makes the topic of the rows and gives what writes to it.
    pub(super) async fn writer(&self) -> Result<Arc<dyn Writer>> {
        self.log
            .admin()
            .create_topic(NewTopic::new(TOPIC, self.args.partitions).with("retention.ms", "-1"))
            .await?;
        Ok(self.log.writer().await?)
    }

    /// Computes the answers once, ordered, with a job of its own that is removed afterwards.
    pub(super) async fn turn(&self, number: u32) -> Result<(Cost, Vec<Answer>, Facts)> {
        let ends = ends(&*self.log, TOPIC, self.args.partitions).await?;
        let spec = JobSpec {
            name: format!("totals-{number}"),
            plan: plan(&self.args),
            sink: SinkSpec {
                topic: format!("totals-{number}"),
                partitions: self.args.partitions,
                key: vec![0, 1, 2],
                hidden: 0,
                key_format: KeyFormat::Json,
                form: SinkForm::View,
            },
            manifest: None,
            revision: 0,
        };
        let meter = Meter::start()?;
        let job = self.engine.start(spec).await?;
        committed(&job, &ends).await?;
        let cost = meter.stop()?;

        let status = job.status();
        ensure!(
            status.late == 0 && status.undecodable == 0 && status.failed_rows == 0,
            "rows were lost: {} late, {} undecodable, {} failed",
            status.late,
            status.undecodable,
            status.failed_rows
        );
        let mut answers = Vec::new();
        for batch in job.snapshot()?.batches() {
            read_answers(&batch?, &mut answers)?;
        }
        answers.sort_unstable();
        let facts = Facts {
            groups: answers.len(),
            rows_out: status.rows_out,
            commits: status.commit.number,
        };
        job.drop_job().await?;
        Ok((cost, answers, facts))
    }

    /// Ends both.
    pub(super) async fn close(self) -> Result<()> {
        self.engine.shutdown().await;
        Ok(self.broker.close().await?)
    }
}

fn plan(args: &WindowArgs) -> StreamPlan {
    let column = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let source = vec![
        column("ts", TIMESTAMP),
        column("k", DataType::Utf8View),
        column("v", DataType::Int64),
    ];
    let window = ["window_start", "window_end", "window_time"]
        .map(|name| Field::new(name, TIMESTAMP, false));
    let tumbled: Vec<Field> = source.iter().cloned().chain(window).collect();
    let group_by = vec![3, 4, 1];
    let output: Vec<Field> = group_by
        .iter()
        .map(|&index| tumbled[index].clone())
        .chain([
            Field::new("n", DataType::Int64, false),
            column("total", DataType::Int64),
            column("largest", DataType::Int64),
        ])
        .collect();
    let call = |id, function, argument: Option<usize>| AggregateCall {
        id,
        function: Arc::new(function),
        arguments: argument.into_iter().collect(),
        order_by: Vec::new(),
        filter: None,
        distinct: false,
        output: DataType::Int64,
    };
    let columns = source
        .iter()
        .map(|field| SourceColumn {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: true,
            length: None,
            origin: ColumnOrigin::Value,
        })
        .collect();
    StreamPlan {
        nodes: vec![
            PlanNode {
                id: OperatorId(1),
                name: "1".to_owned(),
                inputs: vec![],
                schema: schema(source),
                kind: NodeKind::Source(SourceSpec {
                    topic: TOPIC.to_owned(),
                    columns,
                    checked: Vec::new(),
                    key_format: KeyFormat::None,
                    value_format: ValueFormat::Json {
                        timestamp_unit_us: Some(1000),
                    },
                    mode: SourceMode::Append,
                    // Without rows event time stands still: the last windows stay open in every run.
                    watermark: Some(WatermarkSpec::Rows {
                        expr: Arc::new(Delayed),
                        idle_advance: false,
                    }),
                }),
            },
            PlanNode {
                id: OperatorId(2),
                name: "2".to_owned(),
                inputs: vec![0],
                schema: schema(tumbled),
                kind: NodeKind::Tumble(TumbleSpec {
                    time_column: 0,
                    size_us: args.window_ms * 1000,
                    offset_us: 0,
                    grace_us: 0,
                    late: LatePolicy::Drop,
                }),
            },
            PlanNode {
                id: OperatorId(3),
                name: "3".to_owned(),
                inputs: vec![1],
                schema: schema(output),
                kind: NodeKind::Aggregate(AggregateSpec {
                    group_by,
                    aggregates: vec![
                        call(0, NativeAggregate::Count, None),
                        call(1, NativeAggregate::Sum, Some(2)),
                        call(2, NativeAggregate::Max, Some(2)),
                    ],
                    window_end: Some(1),
                    emit: Emit::Changes,
                }),
            },
        ],
    }
}

/// `ts - INTERVAL '5 seconds'`.
#[derive(Debug)]
struct Delayed;

impl BatchExpr for Delayed {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        Ok(Arc::new(times.unary::<_, TimestampMicrosecondType>(
            |time| time - DELAY_US,
        )))
    }
}
