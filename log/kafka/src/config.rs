//! Which cluster, and librdkafka's own properties on top.

use std::collections::BTreeMap;
use std::time::Duration;

use log_api::Compression;
use rdkafka::ClientConfig;

/// How to reach a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Comma-separated `host:port`.
    pub bootstrap_servers: String,
    /// librdkafka's properties (`security.protocol`, `sasl.mechanism`, …); they win over what this crate sets.
    pub properties: BTreeMap<String, String>,
    /// Longest wait for one answer of the cluster.
    pub request_timeout: Duration,
}

impl KafkaConfig {
    /// Plain text, no authentication.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            properties: BTreeMap::new(),
            request_timeout: Duration::from_secs(30),
        }
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", "thalweg")
            // Its own lines on standard error would stand between ours.
            .set("log_level", "0");
        config
    }

    fn with_properties(&self, mut config: ClientConfig) -> ClientConfig {
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config
    }

    pub(crate) fn admin(&self) -> ClientConfig {
        self.with_properties(self.base())
    }

    /// A consumer that assigns by itself; `group` is needed even where none is joined.
    pub(crate) fn consumer(&self, group: &str, read_uncommitted: bool) -> ClientConfig {
        let isolation = if read_uncommitted {
            "read_uncommitted"
        } else {
            "read_committed"
        };
        let mut config = self.base();
        config
            .set("group.id", group)
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set("fetch.wait.max.ms", "100")
            // librdkafka leaves it out by itself; without it damaged bytes pass for records.
            .set("check.crcs", "true");
        self.with_properties(config)
    }

    /// A consumer that shares partitions with the other members of its group.
    pub(crate) fn member(&self, group: &str, session: Duration) -> ClientConfig {
        let session_ms = session.as_millis();
        let mut config = self.consumer(group, false);
        config
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", session_ms.to_string())
            .set("max.poll.interval.ms", session_ms.to_string())
            .set(
                "heartbeat.interval.ms",
                (session_ms / 10).max(1).to_string(),
            );
        self.with_properties(config)
    }

    /// A producer that compresses with a codec.
    pub(crate) fn producer(&self, codec: Compression) -> ClientConfig {
        let mut config = self.base();
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .set("compression.type", codec.name());
        self.with_properties(config)
    }

    pub(crate) fn transactional(
        &self,
        id: &str,
        timeout: Duration,
        codec: Compression,
    ) -> ClientConfig {
        let timeout_ms = timeout.as_millis().to_string();
        let mut config = self.producer(codec);
        config
            .set("transactional.id", id)
            .set("transaction.timeout.ms", &timeout_ms)
            .set("message.timeout.ms", &timeout_ms);
        config
    }
}
