//! Configuration of a worker.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How a Connect worker runs. Names of topics and the group follow `connect-distributed.properties`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectConfig {
    /// Name of the Connect cluster (`group.id`): prefix of transactional ids.
    pub group_id: String,
    /// `host:port` under which this worker shows itself in statuses.
    pub worker_id: String,
    /// Id of the log's cluster, as `GET /` shows it.
    pub cluster_id: String,
    /// Topic of connector configurations (`config.storage.topic`), one partition, compacted.
    pub config_topic: String,
    /// Topic of source offsets (`offset.storage.topic`), compacted.
    pub offset_topic: String,
    /// Partitions that the topic of source offsets is made with; Kafka's number.
    pub offset_partitions: i32,
    /// Topic of statuses (`status.storage.topic`), compacted.
    pub status_topic: String,
    /// Partitions that the topic of statuses is made with; Kafka's number.
    pub status_partitions: i32,
    /// Converter of keys for connectors that name none. Text is what SQL expects of a single column key.
    pub key_converter: String,
    /// Converter of values for connectors that name none.
    pub value_converter: String,
    /// `schemas.enable` of the two converters above, where they are JSON. A converter that a connector names itself
    /// has Kafka's default, `true`.
    pub schemas_enable: bool,
    /// Partitions of topics that source connectors make, without `topic.creation.default.partitions`.
    pub topic_partitions: i32,
    /// Records of a source are committed together for at most this long (milliseconds): the latency that a reader
    /// of committed records sees.
    pub transaction_interval_ms: u64,
    /// …or for at most this many records,
    pub transaction_records_max: usize,
    /// …or for at most this many bytes.
    pub transaction_bytes_max: usize,
    /// A sink task flushes and commits offsets this often (milliseconds), and whenever it has read everything.
    pub offset_flush_interval_ms: u64,
    /// A sink task looks this often (milliseconds) for topics and partitions that are new.
    pub topic_refresh_interval_ms: u64,
    /// A call into a connector that takes longer (milliseconds) counts as hung: the task is failed and fenced.
    pub call_timeout_ms: u64,
    /// How long a task gets to stop (milliseconds) before its thread is left behind, fenced.
    pub stop_timeout_ms: u64,
    /// First pause before a failed task is started again (milliseconds); doubles with each failure.
    pub restart_backoff_ms: u64,
    /// Longest pause before a failed task is started again (milliseconds).
    pub restart_backoff_max_ms: u64,
    /// Restarts within an hour after which a task stays FAILED.
    pub restarts_per_hour_max: usize,
}

impl Default for ConnectConfig {
    fn default() -> Self {
        Self {
            group_id: "connect-cluster".to_owned(),
            worker_id: "127.0.0.1:8083".to_owned(),
            cluster_id: "thalweg".to_owned(),
            config_topic: "connect-configs".to_owned(),
            offset_topic: "connect-offsets".to_owned(),
            offset_partitions: 25,
            status_topic: "connect-status".to_owned(),
            status_partitions: 5,
            key_converter: "org.apache.kafka.connect.storage.StringConverter".to_owned(),
            value_converter: "org.apache.kafka.connect.json.JsonConverter".to_owned(),
            schemas_enable: false,
            topic_partitions: 1,
            transaction_interval_ms: 50,
            transaction_records_max: 50_000,
            transaction_bytes_max: 8 << 20,
            offset_flush_interval_ms: 1_000,
            topic_refresh_interval_ms: 5_000,
            call_timeout_ms: 300_000,
            stop_timeout_ms: 5_000,
            restart_backoff_ms: 1_000,
            restart_backoff_max_ms: 300_000,
            restarts_per_hour_max: 20,
        }
    }
}

/// A configuration that no worker can run with.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("connect.{key}: {reason}")]
pub struct ConfigError {
    /// The field.
    pub key: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl ConnectConfig {
    /// Checks relations that types cannot hold.
    ///
    /// # Errors
    /// The first field that cannot be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = |key: &'static str, value: i64| match value {
            1.. => Ok(()),
            _ => Err(ConfigError {
                key,
                reason: format!("has to be at least 1, not {value}"),
            }),
        };
        positive("offset_partitions", i64::from(self.offset_partitions))?;
        positive("status_partitions", i64::from(self.status_partitions))?;
        positive("topic_partitions", i64::from(self.topic_partitions))?;
        positive(
            "transaction_records_max",
            i64::try_from(self.transaction_records_max).unwrap_or(i64::MAX),
        )?;
        positive(
            "transaction_bytes_max",
            i64::try_from(self.transaction_bytes_max).unwrap_or(i64::MAX),
        )?;
        positive(
            "restart_backoff_ms",
            i64::try_from(self.restart_backoff_ms).unwrap_or(i64::MAX),
        )?;
        if self.restart_backoff_max_ms < self.restart_backoff_ms {
            return Err(ConfigError {
                key: "restart_backoff_max_ms",
                reason: format!("is below restart_backoff_ms ({})", self.restart_backoff_ms),
            });
        }
        if self.group_id.is_empty() {
            return Err(ConfigError {
                key: "group_id",
                reason: "is empty".to_owned(),
            });
        }
        Ok(())
    }
}
