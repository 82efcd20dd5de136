//! What a worker remembers: configurations, source offsets, statuses, in compacted topics of Kafka Connect's own
//! formats, so that a Java worker can take over and give back.
//!
//! | topic | key → value (JSON) |
//! |---|---|
//! | `connect-configs` | `connector-<c>` → `{"properties":{}}` · `task-<c>-<n>` → `{"properties":{}}` · `commit-<c>` → `{"tasks":n}` · `target-state-<c>` → `{"state","state.v2"}` |
//! | `connect-offsets` | `["<c>",{partition}]` → `{offset}` |
//! | `connect-status` | `status-connector-<c>`, `status-task-<c>-<n>` → `{"state","trace","worker_id","generation"}` · `status-topic-<t>:connector-<c>` → `{"topic":{}}` |
//!
//! A null value deletes. Keys of other kinds (sessions, loggers, restarts) are stepped over.

mod config;
mod offset;
mod resets;
mod status;

use std::time::Duration;

use log_api::{
    Admin, AdminError, Log, NewTopic, OffsetSpec, PollBudget, ReadError, Reader, ReaderOptions,
    Records, Start, TopicDescription, TopicPartition, TransactionError, WriteError,
};
use thiserror::Error;

pub(crate) use config::{ConfigRecord, ConfigStore, StoredConnector, TargetState};
pub(crate) use offset::OffsetStore;
pub(crate) use resets::Resets;
pub(crate) use status::{Gone, StatusRecord, StatusStore};

/// Reading or writing one of the worker's topics failed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub(crate) enum StoreError {
    #[error("topic {topic}: {source}")]
    Admin { topic: String, source: AdminError },
    #[error("topic {topic}: {source}")]
    Read { topic: String, source: ReadError },
    #[error("topic {topic}: {source}")]
    Write { topic: String, source: WriteError },
    #[error("topic {topic}: {source}")]
    Transaction {
        topic: String,
        source: TransactionError,
    },
}

impl StoreError {
    /// Whether what was to be kept is over the topic's limit.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::Write {
                source: WriteError::TooLarge { .. },
                ..
            } | Self::Transaction {
                source: TransactionError::Write(WriteError::TooLarge { .. }),
                ..
            }
        )
    }

    /// Whether it may work later.
    pub(crate) fn retryable(&self) -> bool {
        match self {
            Self::Admin { source, .. } => source.retryable(),
            Self::Read { source, .. } => source.retryable(),
            Self::Write { source, .. } => source.retryable(),
            Self::Transaction { source, .. } => {
                source.retryable() || matches!(source, TransactionError::Unknown(_))
            }
        }
    }
}

/// The topic as it is, made as `new` says if it was not there.
pub(crate) async fn ensure_topic(
    admin: &dyn Admin,
    new: NewTopic,
) -> Result<TopicDescription, AdminError> {
    if let Some(present) = admin.describe_topic(&new.name).await? {
        return Ok(present);
    }
    let name = new.name.clone();
    match admin.create_topic(new).await {
        Err(AdminError::TopicExists(_)) => admin
            .describe_topic(&name)
            .await?
            .ok_or(AdminError::UnknownTopic(name)),
        other => other,
    }
}

/// A compacted topic that is synced on every write.
fn compacted(name: &str, partitions: i32) -> NewTopic {
    NewTopic {
        partitions,
        ..NewTopic::internal_compacted(name)
    }
}

/// Reads a topic from its start and, later, on from where it stood.
struct Follower {
    log: std::sync::Arc<dyn Log>,
    topic: String,
    reader: Box<dyn Reader>,
    partitions: Vec<TopicPartition>,
}

impl Follower {
    /// Makes the topic if it is not there, and stands at its start.
    async fn open(log: &std::sync::Arc<dyn Log>, new: NewTopic) -> Result<Self, StoreError> {
        let topic = new.name.clone();
        let described =
            ensure_topic(&*log.admin(), new)
                .await
                .map_err(|source| StoreError::Admin {
                    topic: topic.clone(),
                    source,
                })?;
        let partitions: Vec<TopicPartition> = (0..described.partitions)
            .map(|index| TopicPartition::new(&*topic, index))
            .collect();
        let assignment = partitions
            .iter()
            .map(|partition| (partition.clone(), Start::Earliest))
            .collect();
        let reader = log
            .reader(ReaderOptions::default(), assignment)
            .await
            .map_err(|source| StoreError::Read {
                topic: topic.clone(),
                source,
            })?;
        Ok(Self {
            log: std::sync::Arc::clone(log),
            topic,
            reader,
            partitions,
        })
    }

    fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// Reads what was committed before the call. A transaction that is open then is waited for: it belongs to a
    /// task that ends it within its interval, or to one that the log ends for it.
    async fn catch_up(&mut self, mut each: impl FnMut(&Records)) -> Result<(), StoreError> {
        let admin = self.log.admin();
        let mut ends = Vec::with_capacity(self.partitions.len());
        for partition in &self.partitions {
            let end = admin
                .offset(partition, OffsetSpec::Latest)
                .await
                .map_err(|source| StoreError::Admin {
                    topic: self.topic.clone(),
                    source,
                })?;
            ends.push((partition.clone(), end));
        }
        let read = |source| StoreError::Read {
            topic: self.topic.clone(),
            source,
        };
        loop {
            let progress = self.reader.progress().await.map_err(read)?;
            let behind = ends.iter().any(|(partition, end)| {
                progress
                    .iter()
                    .find(|progress| &progress.partition == partition)
                    .is_some_and(|progress| progress.position < *end)
            });
            if !behind {
                return Ok(());
            }
            let budget = PollBudget {
                bytes_max: 4 << 20,
                wait_max: Duration::from_millis(100),
            };
            for records in self.reader.poll(budget).await.map_err(read)? {
                each(&records);
            }
        }
    }
}
