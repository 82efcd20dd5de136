//! Topics as callers describe them.

use std::collections::BTreeMap;

/// A topic to be created. Config keys are Kafka's (`cleanup.policy`, `retention.ms`, `max.message.bytes`, …) and
/// Thalweg's own `flush` (`os` | `interval` | `sync`), which other clusters do not know and never see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Name, checked by the log.
    pub name: String,
    /// Number of partitions, at least 1.
    pub partitions: i32,
    /// Configs that differ from the log's defaults.
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with the log's default configs.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self {
            name: name.into(),
            partitions,
            configs: BTreeMap::new(),
        }
    }

    /// Sets one config.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.configs.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A compacted topic of one partition, synced on every write: how Thalweg keeps its own records.
    pub fn internal_compacted(name: impl Into<String>) -> Self {
        Self::new(name, 1)
            .with("cleanup.policy", "compact")
            .with("flush", "sync")
    }
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Name.
    pub name: String,
    /// Identity that survives no re-creation (KIP-516); nil on clusters that do not tell.
    pub id: uuid::Uuid,
    /// Number of partitions.
    pub partitions: i32,
    /// Configs that were set on the topic itself.
    pub configs: BTreeMap<String, String>,
    /// Whether the topic is one that the system keeps for itself.
    pub internal: bool,
}

/// Which offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first offset that is still there.
    Earliest,
    /// The high watermark.
    Latest,
    /// The last stable offset: what a read_committed reader may reach.
    LastStable,
    /// The first record at or after this time (ms since 1970 UTC); the high watermark where there is none.
    Timestamp(i64),
}
