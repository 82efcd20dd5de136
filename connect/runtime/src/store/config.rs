//! Configurations of connectors and tasks, and the states that users want.
//!
//! Writes go through one transactional id, so that a second worker with the same one fences this one, and the
//! records of one change become visible together.
//!
//! Invariants:
//! 1. Task configurations count only once the `commit-<c>` record that follows them is read.
//! 2. `open` reads to the end before anything is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connect_api::ConfigMap;
use log_api::{
    BatchBuilder, Compression, Log, TopicPartition, Transaction, TransactionError,
    TransactionOptions,
};
use serde_json::{Value as Json, json};

use super::{Follower, StoreError, compacted};

/// What a user wants of a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetState {
    /// Run.
    Started,
    /// Keep tasks, process nothing.
    Paused,
    /// Keep only the configuration and offsets.
    Stopped,
}

impl TargetState {
    /// As the records have it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::Paused => "PAUSED",
            Self::Stopped => "STOPPED",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Started, Self::Paused, Self::Stopped]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// One change of the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigRecord {
    Connector {
        name: String,
        config: Option<ConfigMap>,
    },
    Tasks {
        name: String,
        configs: Vec<ConfigMap>,
    },
    Target {
        name: String,
        state: Option<TargetState>,
    },
}

/// A connector as the topic has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredConnector {
    pub(crate) config: ConfigMap,
    pub(crate) target: TargetState,
    pub(crate) tasks: Vec<ConfigMap>,
}

pub(crate) struct ConfigStore {
    log: Arc<dyn Log>,
    partition: TopicPartition,
    options: TransactionOptions,
    transaction: Box<dyn Transaction>,
}

impl ConfigStore {
    /// Fences other writers, reads the topic to its end, and returns what it holds.
    pub(crate) async fn open(
        log: Arc<dyn Log>,
        topic: &str,
        group: &str,
    ) -> Result<(Self, BTreeMap<String, StoredConnector>), StoreError> {
        let mut follower = Follower::open(&log, compacted(topic, 1)).await?;
        let options = TransactionOptions {
            transactional_id: format!("connect-cluster-{group}"),
            timeout: Duration::from_secs(10),
        };
        let transaction =
            log.transaction(options.clone())
                .await
                .map_err(|source| StoreError::Transaction {
                    topic: topic.to_owned(),
                    source,
                })?;
        let mut image = Image::default();
        follower
            .catch_up(|records| {
                for row in 0..records.len() {
                    if let Some(key) = records
                        .key(row)
                        .and_then(|key| std::str::from_utf8(key).ok())
                    {
                        image.apply(key, records.value(row));
                    }
                }
            })
            .await?;
        let store = Self {
            log,
            partition: TopicPartition::new(topic, 0),
            options,
            transaction,
        };
        Ok((store, image.into_connectors()))
    }

    /// Writes changes together; they are on disk on return.
    pub(crate) async fn write(
        &mut self,
        records: &[ConfigRecord],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut batch = BatchBuilder::new(Compression::None);
        for record in records {
            for (key, value) in record.entries() {
                let value = value.map(|value| value.to_string());
                batch.append(
                    now_ms,
                    Some(key.as_bytes()),
                    value.as_deref().map(str::as_bytes),
                    &[],
                );
            }
        }
        let result = match self.transaction.append(&self.partition, batch).await {
            Ok(()) => self.transaction.commit().await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.recover(&error).await;
            return Err(StoreError::Transaction {
                topic: self.partition.topic.to_string(),
                source: error,
            });
        }
        Ok(())
    }

    /// Makes the next write possible.
    async fn recover(&mut self, error: &TransactionError) {
        if matches!(error, TransactionError::Unknown(_)) {
            if let Ok(transaction) = self.log.transaction(self.options.clone()).await {
                self.transaction = transaction;
            }
        } else if let Err(error) = self.transaction.abort().await {
            tracing::warn!(%error, "a transaction on the configuration topic could not be aborted");
        }
    }
}

impl ConfigRecord {
    /// Keys and values as they are written, in order.
    fn entries(&self) -> Vec<(String, Option<Json>)> {
        match self {
            Self::Connector { name, config } => {
                vec![(
                    format!("connector-{name}"),
                    config
                        .as_ref()
                        .map(|config| json!({ "properties": config })),
                )]
            }
            Self::Tasks { name, configs } => {
                let mut entries: Vec<_> = configs
                    .iter()
                    .enumerate()
                    .map(|(task, config)| {
                        (
                            format!("task-{name}-{task}"),
                            Some(json!({ "properties": config })),
                        )
                    })
                    .collect();
                entries.push((
                    format!("commit-{name}"),
                    Some(json!({ "tasks": configs.len() })),
                ));
                entries
            }
            Self::Target { name, state } => {
                let value = state.map(|state| {
                    // Workers before STOPPED was invented read `state`.
                    let old = match state {
                        TargetState::Stopped => TargetState::Paused,
                        other => other,
                    };
                    json!({ "state": old.as_str(), "state.v2": state.as_str() })
                });
                vec![(format!("target-state-{name}"), value)]
            }
        }
    }
}

/// The topic's content while it is read.
#[derive(Default)]
struct Image {
    connectors: BTreeMap<String, ConfigMap>,
    targets: BTreeMap<String, TargetState>,
    /// By connector and number, not committed yet.
    pending: BTreeMap<String, BTreeMap<usize, ConfigMap>>,
    tasks: BTreeMap<String, Vec<ConfigMap>>,
}

impl Image {
    fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        let value: Option<Json> = match value.map(serde_json::from_slice).transpose() {
            Ok(value) => value,
            Err(error) => {
                tracing::warn!(key, %error, "a record of the configuration topic is no JSON; it is left out");
                return;
            }
        };
        if let Some(name) = key.strip_prefix("connector-") {
            match value.as_ref().and_then(properties) {
                Some(config) => {
                    self.connectors.insert(name.to_owned(), config);
                }
                None => {
                    self.connectors.remove(name);
                    self.tasks.remove(name);
                    self.pending.remove(name);
                }
            }
        } else if let Some(name) = key.strip_prefix("target-state-") {
            let state = value.as_ref().and_then(|value| {
                value
                    .get("state.v2")
                    .or_else(|| value.get("state"))
                    .and_then(Json::as_str)
            });
            match state.and_then(TargetState::parse) {
                Some(state) => {
                    self.targets.insert(name.to_owned(), state);
                }
                None => {
                    self.targets.remove(name);
                }
            }
        } else if let Some(task) = key.strip_prefix("task-") {
            if let Some((name, number)) = task.rsplit_once('-')
                && let Ok(number) = number.parse()
                && let Some(config) = value.as_ref().and_then(properties)
            {
                self.pending
                    .entry(name.to_owned())
                    .or_default()
                    .insert(number, config);
            }
        } else if let Some(name) = key.strip_prefix("commit-") {
            let count = value
                .as_ref()
                .and_then(|value| value.get("tasks"))
                .and_then(Json::as_u64);
            self.commit(name, usize::try_from(count.unwrap_or(0)).unwrap_or(0));
        }
    }

    /// Invariant 1. Compaction may have taken older task records away: whoever misses one keeps none, and the tasks
    /// are planned again.
    fn commit(&mut self, name: &str, count: usize) {
        let pending = self.pending.remove(name).unwrap_or_default();
        let mut tasks = self.tasks.remove(name).unwrap_or_default();
        for (number, config) in pending {
            if number < tasks.len() {
                tasks[number] = config;
            } else if number == tasks.len() {
                tasks.push(config);
            }
        }
        tasks.truncate(count);
        if tasks.len() < count {
            tasks.clear();
        }
        self.tasks.insert(name.to_owned(), tasks);
    }

    fn into_connectors(mut self) -> BTreeMap<String, StoredConnector> {
        self.connectors
            .into_iter()
            .map(|(name, config)| {
                let target = self.targets.remove(&name).unwrap_or(TargetState::Started);
                let tasks = self.tasks.remove(&name).unwrap_or_default();
                (
                    name,
                    StoredConnector {
                        config,
                        target,
                        tasks,
                    },
                )
            })
            .collect()
    }
}

fn properties(value: &Json) -> Option<ConfigMap> {
    let properties = value.get("properties")?.as_object()?;
    Some(
        properties
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(value: &str) -> ConfigMap {
        [("k".to_owned(), value.to_owned())].into()
    }

    fn replay(records: &[ConfigRecord]) -> Image {
        let mut image = Image::default();
        for record in records {
            for (key, value) in record.entries() {
                image.apply(
                    &key,
                    value
                        .map(|value| value.to_string())
                        .as_deref()
                        .map(str::as_bytes),
                );
            }
        }
        image
    }

    #[test]
    fn records_are_kafka_connects() {
        let tasks = ConfigRecord::Tasks {
            name: "c".to_owned(),
            configs: vec![config("1")],
        };
        let shown: Vec<String> = tasks
            .entries()
            .into_iter()
            .chain(
                ConfigRecord::Target {
                    name: "c".to_owned(),
                    state: Some(TargetState::Stopped),
                }
                .entries(),
            )
            .chain(
                ConfigRecord::Connector {
                    name: "c".to_owned(),
                    config: None,
                }
                .entries(),
            )
            .map(|(key, value)| {
                format!(
                    "{key} {}",
                    value.map_or("-".to_owned(), |value| value.to_string())
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                r#"task-c-0 {"properties":{"k":"1"}}"#,
                r#"commit-c {"tasks":1}"#,
                r#"target-state-c {"state":"PAUSED","state.v2":"STOPPED"}"#,
                "connector-c -",
            ]
        );
    }

    #[test]
    fn tasks_count_once_committed() {
        let connector = ConfigRecord::Connector {
            name: "a-b".to_owned(),
            config: Some(config("c")),
        };
        let tasks = ConfigRecord::Tasks {
            name: "a-b".to_owned(),
            configs: vec![config("0"), config("1")],
        };
        let mut image = replay(&[connector, tasks]);
        image.apply("task-a-b-0", Some(br#"{"properties":{"k":"new"}}"#));
        image.apply("session-key", Some(b"{}"));
        image.apply("garbage", Some(b"{"));
        let stored = image.into_connectors().remove("a-b").unwrap();
        assert_eq!(stored.tasks, [config("0"), config("1")]);
        assert_eq!(stored.target, TargetState::Started);
    }

    #[test]
    fn deleted_connectors_leave_nothing() {
        let name = || "c".to_owned();
        let image = replay(&[
            ConfigRecord::Connector {
                name: name(),
                config: Some(config("c")),
            },
            ConfigRecord::Tasks {
                name: name(),
                configs: vec![config("0")],
            },
            ConfigRecord::Target {
                name: name(),
                state: Some(TargetState::Paused),
            },
            ConfigRecord::Connector {
                name: name(),
                config: None,
            },
            ConfigRecord::Target {
                name: name(),
                state: None,
            },
            ConfigRecord::Connector {
                name: name(),
                config: Some(config("d")),
            },
        ]);
        let stored = image.into_connectors().remove("c").unwrap();
        assert_eq!(
            (stored.tasks.len(), stored.target),
            (0, TargetState::Started)
        );
    }
}
