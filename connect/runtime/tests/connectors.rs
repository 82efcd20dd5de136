//! Connectors that do what a test wants: a source of numbered lines that can panic, fail, hang; a sink that keeps
//! what it gets.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connect_api::*;
use parking_lot::Mutex;

/// What happens next in the connector; the test sets it, the task takes it.
#[derive(Debug, Clone)]
pub enum Mishap {
    Panic,
    Fail(ConnectError),
    /// Blocks the thread until the gate opens.
    Hang(Arc<std::sync::Barrier>),
}

/// Shared by the test and the tasks.
#[derive(Default)]
pub struct Script {
    pub mishaps: Mutex<Vec<Mishap>>,
    /// What `committed` was told, as positions.
    pub acknowledged: Mutex<Vec<u64>>,
    /// Records that the sink took, as `topic-partition@offset key=value`.
    pub taken: Mutex<Vec<String>>,
    /// Values that the sink cannot take.
    pub refused: Mutex<Vec<String>>,
    /// Rows that the sink rejects of the next batch, right or not.
    pub rejects: Mutex<Option<Vec<usize>>>,
    /// Records of each batch that was put.
    pub puts: Mutex<Vec<usize>>,
    /// The secret of each sink task that was started.
    pub secrets: Mutex<Vec<String>>,
    pub flushes: Mutex<usize>,
    /// How far a flush comes; all the way without it.
    pub flushed: Mutex<Option<HashMap<TopicPartition, i64>>>,
    /// Offsets that the sink stores itself, if it is to.
    pub stored: Mutex<Option<BTreeMap<TopicPartition, i64>>>,
    /// What they were stored for.
    pub incarnations: Mutex<BTreeMap<TopicPartition, String>>,
    pub open: Mutex<Vec<OpenPartition>>,
}

impl Script {
    fn mishap(&self) -> Result<(), ConnectError> {
        let next = self.mishaps.lock().pop();
        match next {
            None => Ok(()),
            Some(Mishap::Panic) => panic!("as the test wants it"),
            Some(Mishap::Fail(error)) => Err(error),
            Some(Mishap::Hang(barrier)) => {
                barrier.wait();
                Ok(())
            }
        }
    }
}

/// Emits `count` records `{"n":i}` with key `k<i mod 3>` to `topic`, then idles.
pub struct CountSource(pub Arc<Script>);

#[async_trait]
impl ConnectorPlugin for CountSource {
    fn class(&self) -> &'static str {
        "org.example.CountSourceConnector"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["CountSource"]
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Source
    }

    fn version(&self) -> &'static str {
        "1.0"
    }

    fn config_def(&self) -> ConfigDef {
        ConfigDef::new()
            .with(ConfigKey::required("topic", ConfigType::String, "Topic."))
            .with(
                ConfigKey::optional("count", ConfigType::Long, Some("10"), "Records.")
                    .rule(Rule::AtLeast(0)),
            )
            .with(ConfigKey::optional(
                "bad",
                ConfigType::Boolean,
                Some("false"),
                "Rejects number 3.",
            ))
    }

    fn task_configs(&self, config: &ConfigMap, _: u32) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![config.clone()])
    }

    fn task(&self) -> Task {
        Task::Source(Box::new(CountTask {
            script: self.0.clone(),
            config: None,
            next: 0,
        }))
    }
}

struct CountTask {
    script: Arc<Script>,
    config: Option<(Arc<str>, u64, bool)>,
    next: u64,
}

fn partition() -> JsonMap {
    JsonMap::from_iter([("source".to_owned(), "count".into())])
}

#[async_trait]
impl SourceTask for CountTask {
    async fn start(
        &mut self,
        context: TaskContext,
        offsets: SourceOffsets,
    ) -> Result<(), ConnectError> {
        let config = CountSource(self.script.clone())
            .config_def()
            .parse(&context.config)?;
        self.next = offsets
            .get(&partition())
            .and_then(|offset| offset.get("next")?.as_u64())
            .unwrap_or(0);
        self.config = Some((
            config.string("topic").into(),
            config.int("count") as u64,
            config.boolean("bad"),
        ));
        Ok(())
    }

    async fn poll(&mut self, budget: PollBudget) -> Result<Poll, ConnectError> {
        self.script.mishap()?;
        let (topic, count, bad) = self.config.clone().expect("started");
        if self.next >= count {
            tokio::time::sleep(budget.wait_max.min(Duration::from_millis(5))).await;
            return Ok(Poll::Idle);
        }
        let mut to = count.min(self.next + budget.records_max.min(4) as u64);
        let mut records = Vec::new();
        let mut rejected = Vec::new();
        for n in self.next..to {
            if bad && n == 3 && !records.is_empty() {
                to = n;
                break;
            }
            if bad && n == 3 {
                rejected.push(Rejected {
                    topic: topic.clone(),
                    raw: "three".into(),
                    message: "number 3 is bad".to_owned(),
                });
                continue;
            }
            let value = Value::json(Text::from(format!("{{\"n\":{n}}}"))).expect("JSON");
            let mut record = Record::new(topic.clone(), Value::text(format!("k{}", n % 3)), value);
            record.headers.push(Header {
                name: "h".into(),
                value: Value::Int64(n as i64),
            });
            records.push(record);
        }
        self.next = to;
        let offset = JsonMap::from_iter([("next".to_owned(), to.into())]);
        Ok(Poll::Batch {
            records,
            rejected,
            offsets: vec![SourceOffset {
                partition: partition(),
                offset,
            }],
        })
    }

    async fn committed(&mut self, offsets: &[SourceOffset]) -> Result<(), ConnectError> {
        let next = offsets
            .iter()
            .filter_map(|offset| offset.offset.get("next")?.as_u64());
        self.script.acknowledged.lock().extend(next);
        Ok(())
    }
}

/// Keeps what it gets in the script.
pub struct KeepSink(pub Arc<Script>);

#[async_trait]
impl ConnectorPlugin for KeepSink {
    fn class(&self) -> &'static str {
        "org.example.KeepSinkConnector"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["KeepSink"]
    }

    fn kind(&self) -> ConnectorKind {
        ConnectorKind::Sink
    }

    fn version(&self) -> &'static str {
        "1.0"
    }

    fn config_def(&self) -> ConfigDef {
        let secret = ConfigKey::optional("secret", ConfigType::Password, None, "Secret.");
        ConfigDef::new().with(secret)
    }

    fn task_configs(
        &self,
        config: &ConfigMap,
        tasks_max: u32,
    ) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![config.clone(); tasks_max as usize])
    }

    async fn alter_offsets(
        &self,
        _: &ConfigMap,
        offsets: &[AlteredOffset],
    ) -> Result<bool, ConnectError> {
        let bad = |altered: &AlteredOffset| {
            let offset = altered.offset.as_ref()?.get("kafka_offset")?;
            (offset.as_i64() == Some(13)).then_some(())
        };
        match offsets.iter().find_map(bad) {
            None => Ok(true),
            Some(()) => Err(ConnectError::Data("13 brings bad luck".to_owned())),
        }
    }

    fn task(&self) -> Task {
        Task::Sink(Box::new(KeepTask(self.0.clone())))
    }
}

struct KeepTask(Arc<Script>);

#[async_trait]
impl SinkTask for KeepTask {
    async fn start(&mut self, context: TaskContext) -> Result<(), ConnectError> {
        self.0
            .secrets
            .lock()
            .extend(context.config.get("secret").cloned());
        Ok(())
    }

    async fn open(
        &mut self,
        partitions: &[OpenPartition],
    ) -> Result<HashMap<TopicPartition, i64>, ConnectError> {
        *self.0.open.lock() = partitions.to_vec();
        let stored = self.0.stored.lock();
        let counts = |open: &&OpenPartition| {
            let known = self.0.incarnations.lock();
            known
                .get(&open.partition)
                .is_none_or(|known| *known == open.incarnation)
        };
        let stored = |open: &OpenPartition| {
            let offset = *stored.as_ref()?.get(&open.partition)?;
            Some((open.partition.clone(), offset))
        };
        Ok(partitions
            .iter()
            .filter(counts)
            .filter_map(stored)
            .collect())
    }

    async fn put(&mut self, batch: &SinkBatch) -> Result<PutReport, ConnectError> {
        self.0.mishap()?;
        self.0.puts.lock().push(batch.records.len());
        if let Some(indexes) = &*self.0.rejects.lock() {
            let row = |index: &usize| RejectedRow {
                index: *index,
                message: "refused".to_owned(),
            };
            return Ok(PutReport::Rejected(indexes.iter().map(row).collect()));
        }
        let refused = self.0.refused.lock();
        let rejected: Vec<RejectedRow> = batch
            .records
            .iter()
            .enumerate()
            .filter(|(_, row)| refused.contains(&row.record.value.to_json().to_string()))
            .map(|(index, _)| RejectedRow {
                index,
                message: "refused".to_owned(),
            })
            .collect();
        if !rejected.is_empty() {
            return Ok(PutReport::Rejected(rejected));
        }
        for row in &batch.records {
            let SinkRecord {
                record,
                origin,
                offset,
            } = row;
            let mut line = format!(
                "{origin}@{offset} {}={}",
                record.key.to_json(),
                record.value.to_json()
            );
            if record.topic != origin.topic {
                line += &format!(" to {}", record.topic);
            }
            self.0.taken.lock().push(line);
        }
        if let Some(stored) = &mut *self.0.stored.lock() {
            stored.extend(batch.positions.iter().cloned());
            let open = self.0.open.lock().clone();
            let of_each = open.into_iter().map(|o| (o.partition, o.incarnation));
            self.0.incarnations.lock().extend(of_each);
        }
        Ok(PutReport::Taken)
    }

    async fn flush(&mut self) -> Result<Flushed, ConnectError> {
        *self.0.flushes.lock() += 1;
        Ok(match &*self.0.flushed.lock() {
            Some(offsets) => Flushed::UpTo(offsets.clone()),
            None => Flushed::All,
        })
    }
}
