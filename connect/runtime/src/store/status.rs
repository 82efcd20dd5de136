//! Statuses of connectors and tasks, and the topics that a connector uses.
//!
//! Statuses say what was, for tools that read the topic; a worker that starts does not believe them. Topics in use
//! are read back. Writes are not awaited by anybody: a task of its own appends them in order, leaves out what is
//! there already, and joins what has piled up into one batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use log_api::{BatchBuilder, Compression, Log, TopicPartition, Writer, partition_for_key};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Follower, StoreError, compacted};

/// Changes that may wait to be written; more are dropped with a warning (the topic is for information).
const QUEUE_MAX: usize = 10_000;

/// One change of the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StatusRecord {
    Connector {
        name: String,
        state: &'static str,
        trace: Option<String>,
        generation: u64,
    },
    Task {
        name: String,
        task: u32,
        state: &'static str,
        trace: Option<String>,
        generation: u64,
    },
    Topic {
        name: String,
        topic: String,
        task: u32,
    },
    /// These keys are gone.
    Gone(Gone),
}

/// What is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gone {
    Connector(String),
    Task(String, u32),
    Topic(String, String),
}

pub(crate) struct StatusStore {
    queue: mpsc::Sender<(String, Option<Vec<u8>>)>,
    writing: Option<JoinHandle<()>>,
    worker_id: String,
    /// What was queued last under each key.
    last: HashMap<String, Option<Vec<u8>>>,
}

impl StatusStore {
    /// Opens the topic; returns the topics in use by connector.
    pub(crate) async fn open(
        log: &Arc<dyn Log>,
        topic: &str,
        partitions: i32,
        worker_id: &str,
    ) -> Result<(Self, BTreeMap<String, BTreeSet<String>>), StoreError> {
        let mut follower = Follower::open(log, compacted(topic, partitions)).await?;
        let mut last = HashMap::new();
        follower
            .catch_up(|records| {
                for row in 0..records.len() {
                    let key = records
                        .key(row)
                        .and_then(|key| std::str::from_utf8(key).ok());
                    if let Some(key) = key {
                        last.insert(key.to_owned(), records.value(row).map(<[u8]>::to_vec));
                    }
                }
            })
            .await?;
        let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (key, value) in &last {
            if value.is_some()
                && let Some((topic, connector)) = key
                    .strip_prefix("status-topic-")
                    .and_then(|rest| rest.split_once(":connector-"))
            {
                used.entry(connector.to_owned())
                    .or_default()
                    .insert(topic.to_owned());
            }
        }
        let writer = log.writer().await.map_err(|source| StoreError::Write {
            topic: topic.to_owned(),
            source,
        })?;
        let (queue, changes) = mpsc::channel(QUEUE_MAX);
        let writing = tokio::spawn(write(
            writer,
            topic.into(),
            follower.partition_count(),
            changes,
        ));
        Ok((
            Self {
                queue,
                writing: Some(writing),
                worker_id: worker_id.to_owned(),
                last,
            },
            used,
        ))
    }

    /// Writes a change soon, unless the topic says so already.
    pub(crate) fn publish(&mut self, record: &StatusRecord, now_ms: i64) {
        let (key, value) = self.entry(record, now_ms);
        match record {
            // The time of discovery differs each time; the first one stands.
            StatusRecord::Topic { .. } if self.last.get(&key).is_some_and(Option::is_some) => {
                return;
            }
            _ if self.last.get(&key) == Some(&value) => return,
            _ => {}
        }
        if value.is_none() && !self.last.contains_key(&key) {
            return;
        }
        match self.queue.try_send((key.clone(), value.clone())) {
            Ok(()) if value.is_none() => {
                self.last.remove(&key);
            }
            Ok(()) => {
                self.last.insert(key, value);
            }
            Err(error) => tracing::warn!(key, %error, "a status could not be queued"),
        }
    }

    /// Returns once everything queued is written, or the log is gone.
    pub(crate) async fn close(mut self) {
        let writing = self.writing.take();
        drop(self.queue);
        if let Some(writing) = writing {
            let _ = writing.await;
        }
    }

    fn entry(&self, record: &StatusRecord, now_ms: i64) -> (String, Option<Vec<u8>>) {
        let status = |state: &str, trace: &Option<String>, generation: u64| {
            let value = json!({
                "state": state,
                "trace": trace,
                "worker_id": self.worker_id,
                "generation": generation,
            });
            Some(value.to_string().into_bytes())
        };
        match record {
            StatusRecord::Connector {
                name,
                state,
                trace,
                generation,
            } => (
                format!("status-connector-{name}"),
                status(state, trace, *generation),
            ),
            StatusRecord::Task {
                name,
                task,
                state,
                trace,
                generation,
            } => (
                format!("status-task-{name}-{task}"),
                status(state, trace, *generation),
            ),
            StatusRecord::Topic { name, topic, task } => {
                let value = json!({ "topic": {
                    "name": topic,
                    "connector": name,
                    "task": task,
                    "discoverTimestamp": now_ms,
                } });
                (topic_key(topic, name), Some(value.to_string().into_bytes()))
            }
            StatusRecord::Gone(Gone::Connector(name)) => (format!("status-connector-{name}"), None),
            StatusRecord::Gone(Gone::Task(name, task)) => {
                (format!("status-task-{name}-{task}"), None)
            }
            StatusRecord::Gone(Gone::Topic(name, topic)) => (topic_key(topic, name), None),
        }
    }
}

fn topic_key(topic: &str, connector: &str) -> String {
    format!("status-topic-{topic}:connector-{connector}")
}

async fn write(
    writer: Arc<dyn Writer>,
    topic: Arc<str>,
    partitions: i32,
    mut changes: mpsc::Receiver<(String, Option<Vec<u8>>)>,
) {
    let mut waiting = Vec::new();
    while changes.recv_many(&mut waiting, 500).await > 0 {
        let mut batches: BTreeMap<i32, BatchBuilder> = BTreeMap::new();
        let now_ms = crate::now_ms();
        for (key, value) in waiting.drain(..) {
            batches
                .entry(partition_for_key(key.as_bytes(), partitions))
                .or_insert_with(|| BatchBuilder::new(Compression::None))
                .append(now_ms, Some(key.as_bytes()), value.as_deref(), &[]);
        }
        for (partition, batch) in batches {
            let partition = TopicPartition::new(Arc::clone(&topic), partition);
            if let Err(error) = writer.append(&partition, batch).await {
                tracing::warn!(%partition, %error, "a status was not written");
            }
        }
    }
}
