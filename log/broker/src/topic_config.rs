//! Every topic config that this log knows: one table of name, type, default and meaning, and the parsed form that the
//! storage reads.
//!
//! Names and defaults are Kafka 4.3's, and Thalweg's own `flush`. The table is what DescribeConfigs shows.
//!
//! Invariants:
//! 1. Whatever [`TopicConfig::parse`] accepts is a value that the storage can work with; nothing is checked later.
//! 2. A key outside of the table is refused, with the nearest key named.

use std::collections::BTreeMap;

use log_protocol::{Compression, TimestampType};
use thiserror::Error;

/// How durable a record is before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlushLevel {
    /// In the kernel's page cache, as Kafka does: survives the death of the process, not of the machine.
    Os,
    /// As `Os`, and on disk at most this many milliseconds later.
    Interval {
        /// The upper bound.
        interval_ms: i64,
    },
    /// On disk; acknowledgements wait for a group-committed fdatasync.
    Sync,
}

/// The type of a value, in DescribeConfigs' terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigKind {
    /// `true` or `false`.
    Boolean,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// A fraction.
    Double,
    /// Text.
    String,
    /// Names, separated by commas.
    List,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConfigKey {
    /// The key.
    pub(crate) name: &'static str,
    /// Type of its value.
    pub(crate) kind: ConfigKind,
    /// Value of a topic that does not set it.
    pub(crate) default: &'static str,
    /// What it does, one sentence.
    pub(crate) doc: &'static str,
    /// Accepted and shown, but without an effect in this version.
    pub(crate) inert: bool,
}

const fn key(
    name: &'static str,
    kind: ConfigKind,
    default: &'static str,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey {
        name,
        kind,
        default,
        doc,
        inert: false,
    }
}

const fn inert(
    name: &'static str,
    kind: ConfigKind,
    default: &'static str,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey {
        name,
        kind,
        default,
        doc,
        inert: true,
    }
}

use ConfigKind::{Boolean, Double, Int, List, Long, String as Text};

/// The table, by name.
pub(crate) const CONFIG_KEYS: &[ConfigKey] = &[
    key(
        "cleanup.policy",
        List,
        "delete",
        "delete old segments, compact by key, or both.",
    ),
    inert(
        "compression.gzip.level",
        Int,
        "-1",
        "Level of gzip when the broker compresses.",
    ),
    inert(
        "compression.lz4.level",
        Int,
        "9",
        "Level of lz4 when the broker compresses.",
    ),
    key(
        "compression.type",
        Text,
        "producer",
        "producer keeps what was sent; else the broker recompresses: uncompressed, gzip, snappy, lz4, zstd.",
    ),
    inert(
        "compression.zstd.level",
        Int,
        "3",
        "Level of zstd when the broker compresses.",
    ),
    key(
        "delete.retention.ms",
        Long,
        "86400000",
        "How long a tombstone stays after compaction first saw it, in ms.",
    ),
    inert(
        "file.delete.delay.ms",
        Long,
        "60000",
        "Kafka's delay before a file is removed; here open readers keep removed files alive.",
    ),
    key(
        "flush",
        Text,
        "interval",
        "When a record is on disk: os (whenever the kernel writes it), interval (at most flush.ms or 500 ms later), sync (before it is acknowledged).",
    ),
    key(
        "flush.messages",
        Long,
        "9223372036854775807",
        "1 means flush=sync unless flush is set.",
    ),
    key(
        "flush.ms",
        Long,
        "9223372036854775807",
        "Upper bound of flush=interval, in ms.",
    ),
    inert(
        "follower.replication.throttled.replicas",
        List,
        "",
        "Replicas whose catching up is throttled.",
    ),
    key(
        "index.interval.bytes",
        Int,
        "4096",
        "One index entry for so many bytes of log.",
    ),
    inert(
        "leader.replication.throttled.replicas",
        List,
        "",
        "Replicas whose serving is throttled.",
    ),
    inert(
        "local.retention.bytes",
        Long,
        "-2",
        "Bytes kept on local disk with tiered storage.",
    ),
    inert(
        "local.retention.ms",
        Long,
        "-2",
        "Time kept on local disk with tiered storage.",
    ),
    key(
        "max.compaction.lag.ms",
        Long,
        "9223372036854775807",
        "A record is compacted at the latest this long after it was written, in ms.",
    ),
    key(
        "max.message.bytes",
        Int,
        "1048588",
        "Largest batch that is accepted, in bytes.",
    ),
    key(
        "message.timestamp.after.max.ms",
        Long,
        "3600000",
        "How far a record's timestamp may lie ahead of the broker's clock, in ms.",
    ),
    key(
        "message.timestamp.before.max.ms",
        Long,
        "9223372036854775807",
        "How far a record's timestamp may lie behind the broker's clock, in ms.",
    ),
    key(
        "message.timestamp.type",
        Text,
        "CreateTime",
        "CreateTime (the producer's) or LogAppendTime (the broker's).",
    ),
    key(
        "min.cleanable.dirty.ratio",
        Double,
        "0.5",
        "Share of the log that must be uncompacted before compaction starts.",
    ),
    key(
        "min.compaction.lag.ms",
        Long,
        "0",
        "A record stays uncompacted at least this long, in ms.",
    ),
    key(
        "min.insync.replicas",
        Int,
        "1",
        "Replicas that must have a record before acks=all is answered.",
    ),
    key(
        "preallocate",
        Boolean,
        "false",
        "Reserves the disk space of a segment when it is made.",
    ),
    inert(
        "remote.log.copy.disable",
        Boolean,
        "false",
        "Tiered storage: stop copying.",
    ),
    inert(
        "remote.log.delete.on.disable",
        Boolean,
        "false",
        "Tiered storage: delete when it is switched off.",
    ),
    inert("remote.storage.enable", Boolean, "false", "Tiered storage."),
    key(
        "retention.bytes",
        Long,
        "-1",
        "Bytes that a partition keeps, -1 = all.",
    ),
    key(
        "retention.ms",
        Long,
        "604800000",
        "How long records are kept, in ms, -1 = for ever.",
    ),
    key(
        "segment.bytes",
        Int,
        "1073741824",
        "Size at which a segment file ends, in bytes.",
    ),
    inert(
        "segment.index.bytes",
        Int,
        "10485760",
        "Largest index of a segment; ours grow with the segment.",
    ),
    key(
        "segment.jitter.ms",
        Long,
        "0",
        "Random part taken off segment.ms, so that segments do not end together.",
    ),
    key(
        "segment.ms",
        Long,
        "604800000",
        "Age at which a segment file ends, in ms.",
    ),
    inert(
        "unclean.leader.election.enable",
        Boolean,
        "false",
        "Lets a replica lead that may miss records.",
    ),
];

/// A config that was refused.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub(crate) enum ConfigError {
    /// The table has no such key.
    #[error("unknown topic config {key:?}{}", nearest.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    UnknownKey {
        /// As it was given.
        key: String,
        /// The key that is spelled most alike, where one is near.
        nearest: Option<&'static str>,
    },
    /// A value outside of what the key takes.
    #[error("topic config {key}={value:?}: expected {expected}")]
    InvalidValue {
        /// The key.
        key: &'static str,
        /// As it was given.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
}

/// The row of `name`.
fn config_key(name: &str) -> Option<&'static ConfigKey> {
    CONFIG_KEYS.iter().find(|key| key.name == name)
}

/// A topic's configs, parsed; fields are named after the keys, with their units.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TopicConfig {
    pub(crate) cleanup_delete: bool,
    pub(crate) cleanup_compact: bool,
    /// `None` keeps the producer's.
    pub(crate) compression: Option<Compression>,
    pub(crate) delete_retention_ms: i64,
    pub(crate) flush: FlushLevel,
    pub(crate) index_interval_bytes: u32,
    pub(crate) max_compaction_lag_ms: i64,
    pub(crate) max_message_bytes: usize,
    pub(crate) timestamp_after_max_ms: i64,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) min_cleanable_dirty_ratio: f64,
    pub(crate) min_compaction_lag_ms: i64,
    pub(crate) min_insync_replicas: i32,
    pub(crate) preallocate: bool,
    /// `None` keeps everything.
    pub(crate) retention_bytes: Option<u64>,
    /// `None` keeps everything.
    pub(crate) retention_ms: Option<i64>,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: i64,
    pub(crate) segment_jitter_ms: i64,
}

/// `flush=interval` without `flush.ms`.
const FLUSH_INTERVAL_MS: i64 = 500;

/// Smallest `segment.bytes`. Kafka 4 refuses less than 1 MiB; tests and small devices want less, and nothing breaks.
const SEGMENT_BYTES_MIN: i64 = 1024;

impl TopicConfig {
    /// Reads what a topic sets, over `defaults` of the whole log, over the table's.
    ///
    /// # Errors
    /// The first key or value that is refused.
    pub(crate) fn parse(
        set: &BTreeMap<String, String>,
        defaults: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        for name in set.keys().chain(defaults.keys()) {
            if config_key(name).is_none() {
                return Err(ConfigError::UnknownKey {
                    key: name.clone(),
                    nearest: nearest(name),
                });
            }
        }
        let values = Values { set, defaults };
        let (cleanup_delete, cleanup_compact) = values.cleanup()?;
        for key in CONFIG_KEYS.iter().filter(|key| key.inert) {
            values.check_inert(key)?;
        }
        let min_compaction_lag_ms = values.long("min.compaction.lag.ms", 0, i64::MAX)?;
        let max_compaction_lag_ms = values.long("max.compaction.lag.ms", 1, i64::MAX)?;
        if min_compaction_lag_ms > max_compaction_lag_ms {
            return values.refuse(
                "min.compaction.lag.ms",
                "a number of at most max.compaction.lag.ms",
            );
        }
        Ok(Self {
            cleanup_delete,
            cleanup_compact,
            compression: values.compression()?,
            delete_retention_ms: values.long("delete.retention.ms", 0, i64::MAX)?,
            flush: values.flush()?,
            index_interval_bytes: values.long("index.interval.bytes", 0, i64::from(i32::MAX))?
                as u32,
            max_compaction_lag_ms,
            max_message_bytes: values.long("max.message.bytes", 0, i64::from(i32::MAX))? as usize,
            timestamp_after_max_ms: values.long("message.timestamp.after.max.ms", 0, i64::MAX)?,
            timestamp_before_max_ms: values.long("message.timestamp.before.max.ms", 0, i64::MAX)?,
            timestamp_type: values.timestamp_type()?,
            min_cleanable_dirty_ratio: values.ratio("min.cleanable.dirty.ratio")?,
            min_compaction_lag_ms,
            min_insync_replicas: values.long("min.insync.replicas", 1, i64::from(i32::MAX))? as i32,
            preallocate: values.boolean("preallocate")?,
            // Whatever is below zero keeps everything, as in Kafka.
            retention_bytes: u64::try_from(values.long("retention.bytes", i64::MIN, i64::MAX)?)
                .ok(),
            retention_ms: Some(values.long("retention.ms", -1, i64::MAX)?).filter(|ms| *ms >= 0),
            segment_bytes: values.long("segment.bytes", SEGMENT_BYTES_MIN, i64::from(i32::MAX))?
                as u64,
            segment_ms: values.long("segment.ms", 1, i64::MAX)?,
            segment_jitter_ms: values.long("segment.jitter.ms", 0, i64::MAX)?,
        })
    }
}

/// Whether a value may be given to a key now, beyond what [`TopicConfig::parse`] reads: what Kafka refuses is refused, but a topic that has such
/// a value from before still opens.
///
/// # Errors
/// The key whose value is refused.
pub(crate) fn check_new(name: &str, value: &str) -> Result<(), ConfigError> {
    let throttled = |list: &str| {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_replica = |one: &str| {
            let parts = one.split_once(':');
            parts.is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
        };
        list.is_empty() || list == "*" || list.split(',').map(str::trim).all(is_replica)
    };
    let (key, expected) = match name {
        "compression.type" if value.trim() == "none" => (
            "compression.type",
            "producer, uncompressed, gzip, snappy, lz4 or zstd",
        ),
        "leader.replication.throttled.replicas" | "follower.replication.throttled.replicas"
            if !throttled(value.trim()) =>
        {
            let row = Values::row(name);
            (row.name, "*, or a list of partition:broker")
        }
        _ => return Ok(()),
    };
    let value = value.to_owned();
    Err(ConfigError::InvalidValue {
        key,
        value,
        expected,
    })
}

/// What a topic sets over what the log sets over the table.
struct Values<'a> {
    set: &'a BTreeMap<String, String>,
    defaults: &'a BTreeMap<String, String>,
}

impl<'a> Values<'a> {
    fn explicit(&self, name: &str) -> Option<&'a str> {
        self.set
            .get(name)
            .or_else(|| self.defaults.get(name))
            .map(String::as_str)
    }

    fn row(name: &str) -> &'static ConfigKey {
        config_key(name).expect("callers name keys of the table")
    }

    fn text(&self, name: &str) -> &'a str {
        self.explicit(name)
            .unwrap_or(Self::row(name).default)
            .trim()
    }

    fn refuse<T>(&self, name: &str, expected: &'static str) -> Result<T, ConfigError> {
        let key = Self::row(name).name;
        Err(ConfigError::InvalidValue {
            key,
            value: self.text(name).to_owned(),
            expected,
        })
    }

    fn long(&self, name: &str, min: i64, max: i64) -> Result<i64, ConfigError> {
        match self.text(name).parse::<i64>() {
            Ok(value) if value < min => match min {
                -1 => self.refuse(name, "a number of at least -1"),
                0 => self.refuse(name, "a number of at least 0"),
                1 => self.refuse(name, "a number of at least 1"),
                _ => self.refuse(name, "a number of at least 1024"),
            },
            Ok(value) if value > max => self.refuse(name, "a number below 2147483648"),
            Ok(value) => Ok(value),
            Err(_) => self.refuse(name, "a whole number"),
        }
    }

    fn boolean(&self, name: &str) -> Result<bool, ConfigError> {
        match self.text(name) {
            text if text.eq_ignore_ascii_case("true") => Ok(true),
            text if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => self.refuse(name, "true or false"),
        }
    }

    fn ratio(&self, name: &str) -> Result<f64, ConfigError> {
        match self.text(name).parse::<f64>() {
            Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
            _ => self.refuse(name, "a number from 0 to 1"),
        }
    }

    fn cleanup(&self) -> Result<(bool, bool), ConfigError> {
        let (mut delete, mut compact) = (false, false);
        for policy in self.text("cleanup.policy").split(',').map(str::trim) {
            match policy {
                "delete" => delete = true,
                "compact" => compact = true,
                // Kafka 4 takes an empty list: neither policy, all is kept.
                "" => {}
                _ => {
                    return self.refuse(
                        "cleanup.policy",
                        "delete, compact or both, separated by a comma",
                    );
                }
            }
        }
        Ok((delete, compact))
    }

    fn compression(&self) -> Result<Option<Compression>, ConfigError> {
        match self.text("compression.type") {
            "producer" => Ok(None),
            "uncompressed" | "none" => Ok(Some(Compression::None)),
            text => match Compression::ALL
                .into_iter()
                .find(|codec| codec.name() == text)
            {
                Some(codec) => Ok(Some(codec)),
                None => self.refuse(
                    "compression.type",
                    "producer, uncompressed, gzip, snappy, lz4 or zstd",
                ),
            },
        }
    }

    fn timestamp_type(&self) -> Result<TimestampType, ConfigError> {
        match self.text("message.timestamp.type") {
            "CreateTime" => Ok(TimestampType::CreateTime),
            "LogAppendTime" => Ok(TimestampType::LogAppendTime),
            _ => self.refuse("message.timestamp.type", "CreateTime or LogAppendTime"),
        }
    }

    fn flush(&self) -> Result<FlushLevel, ConfigError> {
        let messages = self.long("flush.messages", 1, i64::MAX)?;
        let interval_ms = match self.long("flush.ms", 0, i64::MAX)? {
            i64::MAX => FLUSH_INTERVAL_MS,
            given => given,
        };
        let level = match self.explicit("flush").map(str::trim) {
            Some("os") => FlushLevel::Os,
            Some("sync") => FlushLevel::Sync,
            Some("interval") => FlushLevel::Interval { interval_ms },
            Some(_) => return self.refuse("flush", "os, interval or sync"),
            None if messages == 1 || interval_ms == 0 => FlushLevel::Sync,
            None => FlushLevel::Interval { interval_ms },
        };
        Ok(level)
    }

    /// A key without an effect takes the values that Kafka takes all the same: a slip is to be seen where it is made.
    fn check_inert(&self, key: &ConfigKey) -> Result<(), ConfigError> {
        let name = key.name;
        let range = |min, max, expected| match self.text(name).parse::<i64>() {
            Ok(value) if (min..=max).contains(&value) => Ok(()),
            _ => self.refuse(name, expected),
        };
        match name {
            "compression.gzip.level" if self.text(name) == "-1" => Ok(()),
            "compression.gzip.level" => range(1, 9, "-1, or a number from 1 to 9"),
            "compression.lz4.level" => range(1, 17, "a number from 1 to 17"),
            "compression.zstd.level" => range(-131_072, 22, "a number from -131072 to 22"),
            "file.delete.delay.ms" => range(0, i64::MAX, "a number of at least 0"),
            "segment.index.bytes" => range(4, i64::from(i32::MAX), "a number from 4 to 2147483647"),
            "local.retention.bytes" | "local.retention.ms" => {
                range(-2, i64::MAX, "a number of at least -2")
            }
            "remote.storage.enable" if self.boolean(name)? => {
                self.refuse(name, "false: this log has no tiered storage")
            }
            _ => match key.kind {
                Boolean => self.boolean(name).map(drop),
                Int | Long => self.long(name, i64::MIN, i64::MAX).map(drop),
                Double => self.ratio(name).map(drop),
                Text | List => Ok(()),
            },
        }
    }
}

/// The key that is spelled most alike, if at most a third of it differs.
fn nearest(name: &str) -> Option<&'static str> {
    let (key, distance) = CONFIG_KEYS
        .iter()
        .map(|key| (key.name, edit_distance(name, key.name)))
        .min_by_key(|(_, distance)| *distance)?;
    (distance * 3 <= key.len()).then_some(key)
}

/// Levenshtein's distance; names longer than any key are not compared.
fn edit_distance(left: &str, right: &str) -> usize {
    const NAME_BYTES_MAX: usize = 64;
    if left.len() > NAME_BYTES_MAX {
        return left.len();
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<TopicConfig, ConfigError> {
        let set = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        TopicConfig::parse(&set, &BTreeMap::new())
    }

    #[test]
    fn the_tables_defaults_parse_and_names_are_sorted() {
        let config = parse(&[]).expect("defaults");
        assert_eq!(config.flush, FlushLevel::Interval { interval_ms: 500 });
        assert_eq!(config.retention_ms, Some(604_800_000));
        assert_eq!(config.retention_bytes, None);
        assert!(
            CONFIG_KEYS
                .windows(2)
                .all(|pair| pair[0].name < pair[1].name)
        );
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = parse(&[("retention.mz", "1")]).expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "unknown topic config \"retention.mz\"; did you mean \"retention.ms\"?"
        );
        let error = parse(&[("colour", "1")]).expect_err("unknown");
        assert_eq!(error.to_string(), "unknown topic config \"colour\"");
    }

    #[test]
    fn kafkas_flush_keys_map_to_levels() {
        assert_eq!(
            parse(&[("flush.messages", "1")]).expect("ok").flush,
            FlushLevel::Sync
        );
        assert_eq!(
            parse(&[("flush.ms", "50")]).expect("ok").flush,
            FlushLevel::Interval { interval_ms: 50 }
        );
        let both = parse(&[("flush", "os"), ("flush.messages", "1")]).expect("ok");
        assert_eq!(both.flush, FlushLevel::Os);
        assert!(parse(&[("flush", "never")]).is_err());
    }

    #[test]
    fn values_outside_of_the_key_are_refused() {
        for (key, value) in [
            ("cleanup.policy", "shred"),
            ("segment.bytes", "10"),
            ("retention.ms", "-2"),
            ("min.cleanable.dirty.ratio", "2"),
            ("preallocate", "maybe"),
            ("compression.type", "brotli"),
            ("max.message.bytes", "99999999999"),
            ("remote.storage.enable", "perhaps"),
            ("remote.storage.enable", "true"),
            ("compression.gzip.level", "55"),
            ("compression.gzip.level", "0"),
            ("compression.lz4.level", "0"),
            ("compression.lz4.level", "18"),
            ("compression.zstd.level", "23"),
            ("segment.index.bytes", "3"),
            ("file.delete.delay.ms", "-1"),
            ("local.retention.ms", "-3"),
        ] {
            assert!(parse(&[(key, value)]).is_err(), "{key}={value}");
        }
        for (key, value) in [
            ("compression.gzip.level", "-1"),
            ("compression.gzip.level", "9"),
            ("compression.zstd.level", "-131072"),
            ("segment.index.bytes", "4"),
            ("remote.storage.enable", "false"),
        ] {
            assert!(parse(&[(key, value)]).is_ok(), "{key}={value}");
        }
        for (key, value) in [
            ("compression.type", "none"),
            ("leader.replication.throttled.replicas", "x"),
            ("follower.replication.throttled.replicas", "0:1,2"),
        ] {
            assert!(check_new(key, value).is_err(), "{key}={value}");
            assert!(parse(&[(key, value)]).is_ok(), "{key}={value} from before");
        }
        for value in ["", "*", "0:1", "0:1, 2:3"] {
            let key = "leader.replication.throttled.replicas";
            assert_eq!(check_new(key, value), Ok(()), "{value}");
        }
        let lags = |min, max| {
            parse(&[
                ("min.compaction.lag.ms", min),
                ("max.compaction.lag.ms", max),
            ])
        };
        assert!(lags("5", "5").is_ok());
        assert_eq!(
            lags("6", "5").expect_err("never compacted").to_string(),
            "topic config min.compaction.lag.ms=\"6\": expected a number of at most max.compaction.lag.ms"
        );
        let config = parse(&[("cleanup.policy", "compact, delete")]).expect("both");
        assert!(config.cleanup_compact && config.cleanup_delete);
    }
}
