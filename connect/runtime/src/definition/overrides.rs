//! `consumer.override.*`, `producer.override.*`, `admin.override.*`: settings of the clients that Kafka's worker makes
//! for a connector. Here no client is made: what has a meaning without one works, and the others are named in warnings.

use connect_api::{ConfigMap, ConnectError, ConnectorKind};
use log_api::Compression;

/// Keys that work, by kind of connector.
const WORKING: [(ConnectorKind, &[&str]); 2] = [
    (ConnectorKind::Source, &[COMPRESSION]),
    (ConnectorKind::Sink, &[OFFSET_RESET, ISOLATION, GROUP]),
];

const COMPRESSION: &str = "producer.override.compression.type";
const OFFSET_RESET: &str = "consumer.override.auto.offset.reset";
const ISOLATION: &str = "consumer.override.isolation.level";
const GROUP: &str = "consumer.override.group.id";

/// Where a sink begins in partitions that its group has no offset for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OffsetReset {
    Earliest,
    Latest,
    /// Nowhere: that is an error.
    None,
}

/// How a sink reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Consumer {
    pub(crate) offset_reset: OffsetReset,
    /// Shows records of open and aborted transactions too. Kafka's consumers do unless told otherwise; this worker
    /// does only if told so.
    pub(crate) read_uncommitted: bool,
}

/// The consumer group that keeps the offsets of a sink.
pub(crate) fn group(connector: &str, config: &ConfigMap) -> String {
    match config.get(GROUP).map(|group| group.trim()) {
        None | Some("") => format!("connect-{connector}"),
        Some(group) => group.to_owned(),
    }
}

/// The setting of a sink's reader.
///
/// # Errors
/// [`ConnectError::Config`] with the key at fault.
pub(super) fn consumer(config: &ConfigMap) -> Result<Consumer, ConnectError> {
    let reset = config
        .get(OFFSET_RESET)
        .map_or("earliest", |value| value.trim());
    let offset_reset = match reset.to_ascii_lowercase().as_str() {
        "earliest" => OffsetReset::Earliest,
        "latest" => OffsetReset::Latest,
        "none" => OffsetReset::None,
        _ => return Err(wrong(OFFSET_RESET, reset, "earliest, latest, none")),
    };
    let isolation = config
        .get(ISOLATION)
        .map_or("read_committed", |value| value.trim());
    let read_uncommitted = match isolation.to_ascii_lowercase().as_str() {
        "read_committed" => false,
        "read_uncommitted" => true,
        _ => {
            return Err(wrong(
                ISOLATION,
                isolation,
                "read_committed, read_uncommitted",
            ));
        }
    };
    Ok(Consumer {
        offset_reset,
        read_uncommitted,
    })
}

/// How a source's records are compressed.
///
/// # Errors
/// [`ConnectError::Config`] with the key at fault.
pub(super) fn compression(config: &ConfigMap) -> Result<Compression, ConnectError> {
    let Some(name) = config.get(COMPRESSION) else {
        return Ok(Compression::None);
    };
    Compression::ALL
        .into_iter()
        .find(|codec| codec.name() == name)
        .ok_or_else(|| wrong(COMPRESSION, name, "none, gzip, snappy, lz4, zstd"))
}

fn wrong(key: &str, value: &str, right: &str) -> ConnectError {
    ConnectError::config(
        key,
        format!("Invalid value {value} for configuration {key}: String must be one of: {right}"),
    )
}

/// The keys that work for a kind of connector.
pub(super) fn working(kind: ConnectorKind) -> impl Iterator<Item = &'static str> {
    WORKING
        .iter()
        .filter(move |(of, _)| *of == kind)
        .flat_map(|(_, keys)| keys.iter().copied())
}

/// Whether a key is one of these prefixes' that has no effect.
pub(super) fn is_without_effect(kind: ConnectorKind, key: &str) -> bool {
    !working(kind).any(|working| working == key)
        && [
            "consumer.override.",
            "producer.override.",
            "admin.override.",
        ]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}
