//! Keys of the change capture source: Debezium's, with Debezium's defaults.

mod keys;
mod undeclared;

use std::path::PathBuf;
use std::time::Duration;

use connect_api::{Config, ConfigMap, ConnectError, JsonMap};

pub(super) use keys::def;
pub(super) use undeclared::undeclared;

use self::undeclared::HIDING;
use super::filter::{Capture, Filter, Mask, Patterns};
use super::offset;
use super::render::{BinaryMode, DecimalMode, Rendering, TimeMode};
use super::wire::Address;
use crate::tls::{Encryption, Mode};

/// Ways on which signals come.
const CHANNELS: [&str; 2] = ["source", "kafka"];

/// In front of a table's name: its SELECT.
const SELECT_PREFIX: &str = "snapshot.select.statement.overrides.";

/// What is read at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SnapshotMode {
    Always,
    Initial,
    InitialOnly,
    NoData,
    WhenNeeded,
}

/// `publication.autocreate.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Autocreate {
    AllTables,
    Disabled,
    Filtered,
    NoTables,
}

/// What to do where the slot is ahead of the stored offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// Fail: what lies between is gone.
    TrustOffset,
    /// Go on from the slot.
    TrustSlot,
}

/// How much of its log the server may keep for the slot until somebody is told; 0 for any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LagLimits {
    /// Then a warning.
    pub(super) warn_bytes: i64,
    /// Then an error.
    pub(super) critical_bytes: i64,
}

/// Operations that give no records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) create: bool,
    pub(super) update: bool,
    pub(super) delete: bool,
    pub(super) truncate: bool,
}

/// The keys, typed.
#[derive(Debug, Clone)]
pub(super) struct SourceConfig {
    pub(super) address: Address,
    pub(super) prefix: String,
    pub(super) slot: String,
    pub(super) slot_drop_on_stop: bool,
    pub(super) publication: String,
    pub(super) autocreate: Autocreate,
    pub(super) via_root: bool,
    pub(super) capture: Capture,
    pub(super) snapshot_mode: SnapshotMode,
    pub(super) selects: Vec<(String, String)>,
    pub(super) rendering: Rendering,
    pub(super) tombstones: bool,
    pub(super) transaction_metadata: bool,
    pub(super) transaction_topic: String,
    pub(super) context_headers: bool,
    pub(super) skipped: Skipped,
    pub(super) skip_unchanged: bool,
    pub(super) heartbeat: Option<Duration>,
    pub(super) heartbeat_topic: String,
    pub(super) heartbeat_query: Option<String>,
    pub(super) mismatch: Mismatch,
    pub(super) lag: LagLimits,
    /// Schema and name of the signal table.
    pub(super) signals: Option<(String, String)>,
    /// Topic of signals.
    pub(super) signal_topic: Option<String>,
    pub(super) batch_size: usize,
    /// How often new tables are looked for.
    pub(super) discovery: Option<Duration>,
    /// Rows of a chunk of an incremental snapshot.
    pub(super) chunk_size: usize,
    /// Connections that read tables at the same time.
    pub(super) snapshot_threads: usize,
    /// Whether the server streams large transactions before they end.
    pub(super) streams_open: bool,
    /// Where these are kept until then.
    pub(super) spool_folder: PathBuf,
}

impl SourceConfig {
    /// Whether this is the signal table.
    pub(super) fn is_signals(&self, schema: &str, table: &str) -> bool {
        self.signals
            .as_ref()
            .is_some_and(|(of, name)| of == schema && name == table)
    }

    /// Whether an offset is that of the topic of signals.
    pub(super) fn letters(&self, partition: &JsonMap) -> bool {
        let topic = self.signal_topic.as_deref();
        topic.is_some_and(|topic| *partition == offset::mail_partition(&self.prefix, topic))
    }

    /// Whether schemas or tables are chosen.
    pub(super) fn is_filtered(&self) -> bool {
        !self.capture.schemas.is_all() || !self.capture.tables.is_all()
    }

    pub(super) fn parse(map: &ConfigMap) -> Result<Self, ConnectError> {
        let masks = masks(map)?;
        let config = def().parse(map)?;
        let encryption = encryption(&config)?;
        check_slot_name(config.string("slot.name"))?;
        let word = |key: &str| config.string(key).to_ascii_lowercase();
        let given = |key: &str| config.get(key).filter(|value| !value.trim().is_empty());
        let filter = |name: &str| {
            Filter::parse(
                name,
                config.get(&format!("{name}.include.list")),
                config.get(&format!("{name}.exclude.list")),
            )
        };
        let prefix = config.string("topic.prefix").trim().to_owned();
        Ok(Self {
            address: Address {
                host: config.string("database.hostname").trim().to_owned(),
                port: u16::try_from(config.int("database.port")).unwrap_or(u16::MAX),
                user: config.string("database.user").to_owned(),
                password: config
                    .get("database.password")
                    .unwrap_or_default()
                    .to_owned(),
                database: config.string("database.dbname").to_owned(),
                encryption,
            },
            slot: config.string("slot.name").to_owned(),
            slot_drop_on_stop: config.boolean("slot.drop.on.stop"),
            publication: config.string("publication.name").to_owned(),
            autocreate: match word("publication.autocreate.mode").as_str() {
                "disabled" => Autocreate::Disabled,
                "filtered" => Autocreate::Filtered,
                "no_tables" => Autocreate::NoTables,
                _ => Autocreate::AllTables,
            },
            via_root: config.boolean("publish.via.partition.root"),
            capture: Capture {
                schemas: filter("schema")?,
                tables: filter("table")?,
                columns: filter("column")?,
                messages: filter("message.prefix")?,
                masks,
                keys: Capture::parse_keys(given("message.key.columns").unwrap_or_default())?,
                snapshot: match given("snapshot.include.collection.list") {
                    Some(list) => {
                        Filter::Only(Patterns::parse("snapshot.include.collection.list", list)?)
                    }
                    None => Filter::All,
                },
            },
            snapshot_mode: match word("snapshot.mode").as_str() {
                "always" => SnapshotMode::Always,
                "initial_only" => SnapshotMode::InitialOnly,
                "no_data" | "never" => SnapshotMode::NoData,
                "when_needed" => SnapshotMode::WhenNeeded,
                _ => SnapshotMode::Initial,
            },
            selects: selects(map, &config)?,
            rendering: Rendering {
                decimal: match word("decimal.handling.mode").as_str() {
                    "double" => DecimalMode::Double,
                    "string" => DecimalMode::String,
                    _ => DecimalMode::Precise,
                },
                time: match word("time.precision.mode").as_str() {
                    "adaptive_time_microseconds" => TimeMode::AdaptiveTimeMicroseconds,
                    "connect" => TimeMode::Connect,
                    "isostring" => TimeMode::IsoString,
                    "microseconds" => TimeMode::Microseconds,
                    "nanoseconds" => TimeMode::Nanoseconds,
                    _ => TimeMode::Adaptive,
                },
                clip_infinity: word("infinity.handling.mode") == "clip",
                plain_specials: word("numeric.special.text") == "postgres",
                interval_text: word("interval.handling.mode") == "string",
                hstore_map: word("hstore.handling.mode") == "map",
                binary: match word("binary.handling.mode").as_str() {
                    "base64" => BinaryMode::Base64,
                    "base64-url-safe" => BinaryMode::Base64UrlSafe,
                    "hex" => BinaryMode::Hex,
                    _ => BinaryMode::Bytes,
                },
                money_digits: config.count("money.fraction.digits"),
                unknown: config.boolean("include.unknown.datatypes"),
                placeholder: config.string("unavailable.value.placeholder").to_owned(),
            },
            tombstones: config.boolean("tombstones.on.delete"),
            transaction_metadata: config.boolean("provide.transaction.metadata"),
            transaction_topic: format!("{prefix}.{}", config.string("topic.transaction")),
            context_headers: config.boolean("extended.headers.enabled"),
            skipped: skipped(&config)?,
            skip_unchanged: config.boolean("skip.messages.without.change"),
            heartbeat: match config.int("heartbeat.interval.ms") {
                0 => None,
                ms => Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
            },
            heartbeat_topic: format!("{}.{prefix}", config.string("topic.heartbeat.prefix")),
            heartbeat_query: given("heartbeat.action.query").map(str::to_owned),
            mismatch: match word("offset.mismatch.strategy").as_str() {
                "trust_offset" => Mismatch::TrustOffset,
                _ => Mismatch::TrustSlot,
            },
            lag: LagLimits {
                warn_bytes: config.int("slot.lag.warn"),
                critical_bytes: config.int("slot.lag.critical"),
            },
            signals: signals(&config)?,
            signal_topic: signal_topic(&config, &prefix)?,
            batch_size: config.count("max.batch.size"),
            discovery: match config.int("table.discovery.interval.ms") {
                0 => None,
                ms => Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
            },
            chunk_size: config.count("incremental.snapshot.chunk.size"),
            snapshot_threads: config.count("snapshot.max.threads"),
            streams_open: streams_open(&config)?,
            spool_folder: given("slot.stream.folder")
                .map_or_else(std::env::temp_dir, PathBuf::from),
            prefix,
        })
    }
}

fn encryption(config: &Config) -> Result<Encryption, ConnectError> {
    let given = |key: &str| {
        let value = config.get(key).map(str::trim);
        value.filter(|value| !value.is_empty())
    };
    let encryption = Encryption {
        mode: Mode::of(config.string("database.sslmode")).unwrap_or_default(),
        root: given("database.sslrootcert").map(str::to_owned),
        certificate: given("database.sslcert").map(PathBuf::from),
        key: given("database.sslkey").map(PathBuf::from),
    };
    match encryption.check() {
        Ok(()) => Ok(encryption),
        Err(issue) => Err(ConnectError::config(
            format!("database.{}", issue.parameter),
            issue.message,
        )),
    }
}

/// The server's own rule.
fn check_slot_name(name: &str) -> Result<(), ConnectError> {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if plain && name.len() < 64 {
        return Ok(());
    }
    Err(ConnectError::config(
        "slot.name",
        format!(
            "\"{name}\" cannot be the name of a slot: lower case letters, digits and _ can, up to 63"
        ),
    ))
}

fn skipped(config: &Config) -> Result<Skipped, ConnectError> {
    let mut skipped = Skipped::default();
    let operations = config.list("skipped.operations");
    for operation in &operations {
        match operation.as_str() {
            "c" => skipped.create = true,
            "u" => skipped.update = true,
            "d" => skipped.delete = true,
            "t" => skipped.truncate = true,
            "none" if operations.len() == 1 => {}
            other => {
                return Err(ConnectError::config(
                    "skipped.operations",
                    format!("\"{other}\" is no operation: there are c, u, d, t, or none alone"),
                ));
            }
        }
    }
    Ok(skipped)
}

/// `proto_version=2;streaming=on`, as Debezium passes parameters on to the server.
fn streams_open(config: &Config) -> Result<bool, ConnectError> {
    const KEY: &str = "slot.stream.params";
    let (mut version, mut streaming) = (1, false);
    let params = config.get(KEY).unwrap_or_default().split(';');
    for param in params.map(str::trim).filter(|param| !param.is_empty()) {
        let (name, value) = param.split_once('=').unwrap_or((param, ""));
        match (name.trim(), value.trim()) {
            ("proto_version", "1") => version = 1,
            ("proto_version", "2") => version = 2,
            ("streaming", "off" | "false") => streaming = false,
            ("streaming", "on" | "true") => streaming = true,
            _ => {
                let message = format!(
                    "\"{param}\" is not known: there are proto_version (1, 2) and streaming (off, on), with semicolons between \
                     them"
                );
                return Err(ConnectError::config(KEY, message));
            }
        }
    }
    match (version, streaming) {
        (1, true) => Err(ConnectError::config(
            KEY,
            "streaming needs the second version of the protocol: proto_version=2;streaming=on",
        )),
        (_, streaming) => Ok(streaming),
    }
}

/// The topic of signals, where it is a channel.
fn signal_topic(config: &Config, prefix: &str) -> Result<Option<String>, ConnectError> {
    const KEY: &str = "signal.enabled.channels";
    let channels = config.list(KEY);
    if let Some(unknown) = channels
        .iter()
        .find(|channel| !CHANNELS.contains(&channel.as_str()))
    {
        let message = format!(
            "signals come through source (the table) and kafka (the topic), not through {unknown}"
        );
        return Err(ConnectError::config(KEY, message));
    }
    let given = config.get("signal.kafka.topic").map(str::trim);
    let given = given.filter(|topic| !topic.is_empty());
    let topic = || given.map_or_else(|| format!("{prefix}-signal"), str::to_owned);
    Ok(channels
        .iter()
        .any(|channel| channel == "kafka")
        .then(topic))
}

fn signals(config: &Config) -> Result<Option<(String, String)>, ConnectError> {
    const KEY: &str = "signal.data.collection";
    match config
        .get(KEY)
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        None => Ok(None),
        Some(name) => match name.split_once('.') {
            Some((schema, table)) => Ok(Some((schema.to_owned(), table.to_owned()))),
            None => Err(ConnectError::config(
                KEY,
                format!("\"{name}\" is not of the form schema.table"),
            )),
        },
    }
}

/// Keys whose names tell how columns are hidden.
fn masks(map: &ConfigMap) -> Result<Vec<(Patterns, Mask)>, ConnectError> {
    map.iter()
        .filter(|(key, _)| HIDING.iter().any(|prefix| key.starts_with(prefix)))
        .map(|(key, columns)| match Mask::of_key(key) {
            Some(mask) => Ok((Patterns::parse(key, columns)?, mask)),
            None => Err(ConnectError::config(
                key,
                "columns can be hidden with column.mask.with.<n>.chars and column.truncate.to.<n>.chars; in other ways \
                 they cannot, and are not sent in the clear instead",
            )),
        })
        .collect()
}

fn selects(map: &ConfigMap, config: &Config) -> Result<Vec<(String, String)>, ConnectError> {
    const KEY: &str = "snapshot.select.statement.overrides";
    config
        .list(KEY)
        .into_iter()
        .map(|table| {
            let key = format!("{KEY}.{table}");
            match map.get(&key) {
                Some(select) => Ok((table, select.clone())),
                None => Err(ConnectError::config(
                    KEY,
                    format!("{table} is listed, and {key} gives no SELECT for it"),
                )),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(more: &[(&str, &str)]) -> ConfigMap {
        [
            ("database.hostname", "db"),
            ("database.user", "u"),
            ("database.dbname", "d"),
            ("topic.prefix", "p"),
        ]
        .iter()
        .chain(more)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
    }

    fn refused(more: &[(&str, &str)]) -> String {
        SourceConfig::parse(&map(more)).unwrap_err().to_string()
    }

    #[test]
    fn debeziums_defaults() {
        let config = SourceConfig::parse(&map(&[])).unwrap();
        assert_eq!(config.slot, "debezium");
        assert_eq!(config.publication, "dbz_publication");
        assert_eq!(config.autocreate, Autocreate::AllTables);
        assert_eq!(config.snapshot_mode, SnapshotMode::Initial);
        assert!(config.skipped.truncate && !config.skipped.create && config.tombstones);
        assert_eq!(config.heartbeat, None);
        assert_eq!(config.transaction_topic, "p.transaction");
        assert_eq!(config.heartbeat_topic, "__debezium-heartbeat.p");
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        for (key, value) in [
            ("plugin.name", "decoderbufs"),
            ("database.sslmode", "encrypted"),
            ("slot.name", "My-Slot"),
            ("skipped.operations", "c,x"),
            ("snapshot.mode", "custom"),
            ("time.precision.mode", "structured"),
            ("column.mask.hash.SHA-256.with.salt.x", "public.t.secret"),
            ("column.truncate.to.few.chars", "public.t.secret"),
            ("snapshot.select.statement.overrides", "public.t"),
            ("table.include.list", "("),
            ("signal.data.collection", "signals"),
            ("signal.enabled.channels", "source,jmx"),
            ("slot.stream.params", "streaming=on"),
            ("slot.stream.params", "two_phase=on"),
        ] {
            let message = refused(&[(key, value)]);
            assert!(message.contains(key), "{message}");
        }
    }

    #[test]
    fn connections_are_encrypted_as_libpq_has_it() {
        let of = |more: &[(&str, &str)]| {
            let config = SourceConfig::parse(&map(more)).unwrap();
            config.address.encryption
        };
        assert_eq!(of(&[]), Encryption::default());
        let full = of(&[
            ("database.sslmode", "Verify-Full"),
            ("database.sslrootcert", "system"),
        ]);
        assert_eq!(full.mode, Mode::VerifyFull);
        let lacking = refused(&[("database.sslmode", "verify-ca")]);
        assert!(lacking.starts_with("database.sslrootcert"), "{lacking}");
    }
}
