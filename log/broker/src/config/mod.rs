//! What an operator can set about the log: the section `kafka` of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

mod listeners;

pub use self::listeners::{
    ClientAuth, ListenerConfig, Secret, SecurityConfig, SecurityProtocol, TlsConfig, TokenConfig,
    parse_advertised, parse_listeners,
};

/// Settings of the log. Names of other systems' settings stand in quotes where they mean the same.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrokerConfig {
    /// Folder of all data; made if it is not there. One process at a time.
    pub data_dir: PathBuf,
    /// This broker's number in Kafka's protocol ("node.id").
    pub node_id: i32,
    /// Where to listen ("listeners", "listener.security.protocol.map").
    pub listeners: Vec<ListenerConfig>,
    /// `host:port` that clients of a listener, by its name, are told to connect to ("advertised.listeners"); by default the address at
    /// which they already reached the broker.
    pub advertised_listeners: BTreeMap<String, String>,
    /// Who is let in, and what they may do.
    pub security: SecurityConfig,
    /// Makes topics that a client asks for ("auto.create.topics.enable").
    pub auto_create_topics: bool,
    /// Partitions of topics that are made without a number ("num.partitions").
    pub num_partitions: i32,
    /// Configs of topics that do not set them, by Kafka's topic keys, over Kafka's own defaults.
    pub topic_defaults: BTreeMap<String, String>,
    /// Largest request in bytes; a larger one closes its connection ("socket.request.max.bytes", in Kafka 100 MiB). 16 MiB:
    /// no client sends more than 1 MiB unless told to, and each connection may take so much memory.
    pub request_bytes_max: usize,
    /// Memory for the requests of all connections that are being read or answered, in bytes; a connection whose request finds no room
    /// waits ("queued.max.request.bytes", in Kafka without a bound).
    pub queued_request_bytes_max: usize,
    /// Bytes of records in one fetch response ("fetch.max.bytes").
    pub fetch_bytes_max: usize,
    /// Bytes of responses that wait for slow readers, over all connections; beyond it a fetch waits, and readers that take nothing for
    /// five seconds are cut off.
    pub response_bytes_max: usize,
    /// Connections at a time; one more is closed at once ("max.connections").
    pub connections_max: usize,
    /// Connections at a time that have not yet said who they are, where they must; one more is closed at once.
    pub connections_unauthenticated_max: usize,
    /// How long a connection may take to say who it is, TLS and SASL together; in ms.
    #[serde(with = "millis")]
    pub authentication_max: Duration,
    /// How long a client that said wrongly who it is waits for the answer, in ms ("connection.failed.authentication.delay.ms").
    #[serde(with = "millis")]
    pub authentication_failure_delay: Duration,
    /// A connection that sends no request, or takes nothing of its response, for so long is closed ("connections.max.idle.ms");
    /// in ms.
    #[serde(with = "millis")]
    pub connection_idle_max: Duration,
    /// How long the first rebalance of an empty group waits for more members, anew after each of them, in ms
    /// ("group.initial.rebalance.delay.ms", in Kafka 3000). Short, because a wait is felt by everyone; not zero, because members that
    /// start together would rebalance again with the next heartbeat.
    #[serde(with = "millis")]
    pub group_initial_rebalance_delay: Duration,
    /// Shortest session timeout that a member may ask for, in ms ("group.min.session.timeout.ms").
    #[serde(with = "millis")]
    pub group_session_timeout_min: Duration,
    /// Longest session timeout that a member may ask for, in ms ("group.max.session.timeout.ms").
    #[serde(with = "millis")]
    pub group_session_timeout_max: Duration,
    /// Members of one group ("group.max.size").
    pub group_members_max: usize,
    /// How long an empty group keeps its offsets, in ms ("offsets.retention.minutes").
    #[serde(with = "millis")]
    pub offsets_retention: Duration,
    /// Longest transaction timeout that a producer may ask for, in ms ("transaction.max.timeout.ms").
    #[serde(with = "millis")]
    pub transaction_timeout_max: Duration,
    /// Memory for recent batches, from which readers at the tail are served, in bytes over all partitions.
    pub tail_bytes_max: usize,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            node_id: 1,
            listeners: listeners::default_listeners(),
            advertised_listeners: BTreeMap::new(),
            security: SecurityConfig::default(),
            auto_create_topics: true,
            num_partitions: 1,
            topic_defaults: BTreeMap::new(),
            request_bytes_max: 16 << 20,
            queued_request_bytes_max: 20 << 20,
            fetch_bytes_max: 55 << 20,
            response_bytes_max: 8 << 20,
            connections_max: 10_000,
            connections_unauthenticated_max: 1000,
            authentication_max: Duration::from_secs(10),
            authentication_failure_delay: Duration::from_millis(100),
            connection_idle_max: Duration::from_secs(600),
            group_initial_rebalance_delay: Duration::from_millis(50),
            group_session_timeout_min: Duration::from_secs(6),
            group_session_timeout_max: Duration::from_secs(1800),
            group_members_max: 10_000,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            transaction_timeout_max: Duration::from_secs(900),
            tail_bytes_max: 16 << 20,
        }
    }
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{key} = {value}: {reason}")]
pub struct ConfigError {
    /// Name of the setting.
    pub key: &'static str,
    /// As it was given.
    pub value: String,
    /// What would be accepted.
    pub reason: &'static str,
}

/// Partitions of one topic at most; more is refused with INVALID_PARTITIONS.
pub(crate) const PARTITIONS_MAX: i32 = 10_000;

/// Bytes that a request may be allowed to have, because lengths in the protocol are 32 bits.
const REQUEST_BYTES_LIMIT: usize = 1 << 30;

impl BrokerConfig {
    /// Settings for a folder, all else at its default.
    pub fn in_folder(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            ..Self::default()
        }
    }

    /// Checks each setting and how they fit.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |key, value: String, reason| Err(ConfigError { key, value, reason });
        if self.data_dir.as_os_str().is_empty() {
            return refuse("data_dir", String::new(), "name a folder");
        }
        if self.node_id < 0 {
            return refuse("node_id", self.node_id.to_string(), "must be 0 or more");
        }
        if !(1..=PARTITIONS_MAX).contains(&self.num_partitions) {
            return refuse(
                "num_partitions",
                self.num_partitions.to_string(),
                "must be from 1 to 10000",
            );
        }
        if !(1024..=REQUEST_BYTES_LIMIT).contains(&self.request_bytes_max) {
            let value = self.request_bytes_max.to_string();
            return refuse("request_bytes_max", value, "must be from 1 KiB to 1 GiB");
        }
        if self.queued_request_bytes_max < self.request_bytes_max {
            let value = self.queued_request_bytes_max.to_string();
            return refuse(
                "queued_request_bytes_max",
                value,
                "must be at least request_bytes_max",
            );
        }
        if self.response_bytes_max < 1024 {
            let value = self.response_bytes_max.to_string();
            return refuse("response_bytes_max", value, "must be at least 1 KiB");
        }
        if !(1024..=REQUEST_BYTES_LIMIT).contains(&self.fetch_bytes_max) {
            let value = self.fetch_bytes_max.to_string();
            return refuse("fetch_bytes_max", value, "must be from 1 KiB to 1 GiB");
        }
        if self.connections_max == 0 {
            return refuse("connections_max", "0".to_owned(), "must be at least 1");
        }
        if self.connections_unauthenticated_max == 0 {
            let key = "connections_unauthenticated_max";
            return refuse(key, "0".to_owned(), "must be at least 1");
        }
        if self.group_session_timeout_min > self.group_session_timeout_max {
            let value = format!("{} ms", self.group_session_timeout_min.as_millis());
            return refuse(
                "group_session_timeout_min",
                value,
                "must not exceed group_session_timeout_max",
            );
        }
        listeners::validate(&self.listeners, &self.advertised_listeners, &self.security)
    }
}

/// Host and port of `host:port`; an IPv6 host may stand in brackets.
pub(crate) fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() {
        None
    } else {
        Some((host, port.parse().ok()?))
    }
}

/// A duration as ms, in 31 bits where Kafka's protocol has them.
pub(crate) fn millis_i32(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// A duration as ms.
pub(crate) fn millis_i64(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Durations are numbers of ms in the configuration.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(BrokerConfig::default().validate(), Ok(()));
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = serde_json::from_str::<BrokerConfig>(r#"{"num_partition": 3}"#).unwrap_err();
        assert!(error.to_string().contains("num_partition"), "{error}");
        let config: BrokerConfig = serde_json::from_str(r#"{"offsets_retention": 1500}"#).unwrap();
        assert_eq!(config.offsets_retention, Duration::from_millis(1500));
    }

    #[test]
    fn settings_are_checked() {
        for broken in [
            BrokerConfig {
                num_partitions: 0,
                ..BrokerConfig::default()
            },
            BrokerConfig {
                request_bytes_max: 1 << 40,
                ..BrokerConfig::default()
            },
            BrokerConfig {
                queued_request_bytes_max: 1 << 20,
                ..BrokerConfig::default()
            },
            BrokerConfig {
                connections_max: 0,
                ..BrokerConfig::default()
            },
            BrokerConfig {
                advertised_listeners: BTreeMap::from([("PLAINTEXT".into(), "nowhere".into())]),
                ..BrokerConfig::default()
            },
        ] {
            assert!(broken.validate().is_err(), "{broken:?}");
        }
        assert_eq!(split_address("[::1]:9092"), Some(("::1", 9092)));
    }
}
