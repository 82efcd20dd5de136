//! Keys of the change capture source: Debezium's, with Debezium's defaults.

use std::path::PathBuf;
use std::time::Duration;

use connect_api::{
    Config, ConfigDef, ConfigKey, ConfigMap, ConfigType, ConnectError, Importance, JsonMap, Rule,
    Undeclared,
};

use super::filter::{Capture, Filter, Mask, Patterns};
use super::offset;
use super::render::{BinaryMode, DecimalMode, Rendering, TimeMode};
use super::wire::Address;
use crate::tls::{Encryption, Mode};

/// Keys of Debezium's connector that have no effect here; a task that starts with one says so.
const UNSUPPORTED: &[&str] = &[
    "connection.validation.timeout.ms",
    "converters",
    "custom.metric.tags",
    "custom.sanitize.pattern",
    "database.initial.statements",
    "database.query.timeout.ms",
    "database.sslfactory",
    "database.sslpassword",
    "database.tcpKeepAlive",
    "errors.max.retries",
    "event.processing.failure.handling.mode",
    "executor.shutdown.timeout.ms",
    "field.name.adjustment.mode",
    "flush.lsn.source",
    "guardrail.collections.limit.action",
    "guardrail.collections.max",
    "include.schema.comments",
    "incremental.snapshot.allow.schema.changes",
    "incremental.snapshot.watermarking.strategy",
    "lsn.flush.mode",
    "lsn.flush.timeout.action",
    "lsn.flush.timeout.ms",
    "max.queue.size",
    "max.queue.size.in.bytes",
    "legacy.snapshot.max.threads",
    "memory.management.schemas.class",
    "memory.management.tables.class",
    "notification.enabled.channels",
    "notification.sink.topic.name",
    "poll.interval.ms",
    "post.processors",
    "provide.offset.backlog.metrics",
    "query.fetch.size",
    "read.only",
    "replica.identity.autoset.values",
    "retriable.restart.connector.wait.ms",
    "sanitize.field.names",
    "schema.name.adjustment.mode",
    "schema.refresh.mode",
    "signal.kafka.bootstrap.servers",
    "signal.kafka.groupId",
    "signal.kafka.poll.timeout.ms",
    "signal.poll.interval.ms",
    "slot.failover",
    "slot.max.retries",
    "slot.retry.delay.ms",
    "snapshot.delay.ms",
    "snapshot.fetch.size",
    "snapshot.isolation.mode",
    "snapshot.lock.timeout.ms",
    "snapshot.locking.mode",
    "snapshot.locking.mode.custom.name",
    "snapshot.max.threads.multiplier",
    "snapshot.mode.custom.name",
    "snapshot.query.mode",
    "snapshot.query.mode.custom.name",
    "snapshot.tables.order.by.row.count",
    "sourceinfo.struct.maker",
    "statistics.metrics.enabled",
    "status.update.interval.ms",
    "streaming.delay.ms",
    "table.ignore.builtin",
    "topic.cache.size",
    "topic.delimiter",
    "topic.naming.strategy",
    "transaction.metadata.factory",
    "xmin.fetch.interval.ms",
];

/// Prefixes of keys that would hide data: to pass over them would publish what was to be hidden.
const HIDING: &[&str] = &["column.mask.", "column.truncate."];

/// Prefixes of names of which Debezium's connector has many, without effect here too.
const UNSUPPORTED_PREFIXES: &[&str] = &[
    "column.propagate.",
    "datatype.propagate.",
    "driver.",
    "internal.",
    "notification.",
    "openlineage.",
    "post.processors.",
    "schema.history.",
    "signal.consumer.",
    "snapshot.mode.configuration.based.",
];

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

fn text(name: &str, default: Option<&str>, doc: &str) -> ConfigKey {
    ConfigKey::optional(name, ConfigType::String, default, doc)
}

fn choice(name: &str, default: &str, choices: &'static [&'static str], doc: &str) -> ConfigKey {
    text(name, Some(default), doc).rule(Rule::OneOfIgnoringCase(choices))
}

fn flag(name: &str, default: &str, doc: &str) -> ConfigKey {
    ConfigKey::optional(name, ConfigType::Boolean, Some(default), doc)
}

pub(super) fn def() -> ConfigDef {
    let keys = connection()
        .into_iter()
        .chain(slot_and_publication())
        .chain(filters())
        .chain(snapshot())
        .chain(rendering())
        .chain(records());
    keys.fold(ConfigDef::new(), ConfigDef::with)
}

fn connection() -> Vec<ConfigKey> {
    vec![
        ConfigKey::required(
            "database.hostname",
            ConfigType::String,
            "Host name or address of the PostgreSQL server.",
        )
        .rule(Rule::NotEmpty),
        ConfigKey::optional(
            "database.port",
            ConfigType::Int,
            Some("5432"),
            "Port of the server.",
        )
        .rule(Rule::Between(1, 65_535)),
        ConfigKey::required(
            "database.user",
            ConfigType::String,
            "User to connect as; has to have the right to replicate.",
        )
        .rule(Rule::NotEmpty),
        ConfigKey::optional(
            "database.password",
            ConfigType::Password,
            None,
            "The user's password.",
        )
        .importance(Importance::High),
        ConfigKey::required(
            "database.dbname",
            ConfigType::String,
            "Database whose changes are captured.",
        )
        .rule(Rule::NotEmpty),
        choice(
            "database.sslmode",
            "prefer",
            Mode::WORDS,
            "Whether connections are encrypted, as libpq has it: 'allow' and 'prefer' take what the server offers, 'require' \
             is always encrypted, 'verify-ca' looks who signed the server's certificate, 'verify-full' also whom it names.",
        ),
        text(
            "database.sslrootcert",
            None,
            "File in PEM of the certificates that sign the server's; 'system' for those that this machine trusts.",
        ),
        text(
            "database.sslcert",
            None,
            "File in PEM with the certificate of this client, where the server asks for one.",
        ),
        text(
            "database.sslkey",
            None,
            "File with its key, in PEM or PKCS #8, without a password.",
        ),
        ConfigKey::required(
            "topic.prefix",
            ConfigType::String,
            "Name of this source: first part of all its topics, and the key of its offset. Never change it.",
        )
        .rule(Rule::NotEmpty),
    ]
}

fn slot_and_publication() -> Vec<ConfigKey> {
    vec![
        choice(
            "plugin.name",
            "pgoutput",
            &["pgoutput"],
            "The server's output plugin; pgoutput is the one that every server has.",
        ),
        text(
            "slot.name",
            Some("debezium"),
            "Replication slot; made where it is missing.",
        )
        .rule(Rule::NotEmpty),
        flag(
            "slot.drop.on.stop",
            "false",
            "Drop the slot when the task stops; what changes until it starts again is then lost.",
        ),
        text(
            "slot.stream.params",
            None,
            "'proto_version=2;streaming=on' has the server send large transactions before they end (PostgreSQL 14 and later), \
             which then are kept on this machine's disk until their commit.",
        ),
        text(
            "slot.stream.folder",
            None,
            "Folder where they are kept; the system's folder of temporary files without it.",
        ),
        text(
            "publication.name",
            Some("dbz_publication"),
            "Publication that tells the server which tables to send.",
        )
        .rule(Rule::NotEmpty),
        choice(
            "publication.autocreate.mode",
            "all_tables",
            &["all_tables", "disabled", "filtered", "no_tables"],
            "A publication that is missing is made for all tables, not at all, for the tables of the filters (then it \
             is also kept up to them), or for no tables.",
        ),
        flag(
            "publish.via.partition.root",
            "false",
            "Changes of partitions come as changes of the partitioned table; for a publication that is made here.",
        ),
        ConfigKey::optional(
            "slot.lag.warn",
            ConfigType::Long,
            Some("1073741824"),
            "Once the server keeps more bytes of its log for the slot the connector warns; 0 for never.",
        )
        .rule(Rule::AtLeast(0)),
        ConfigKey::optional(
            "slot.lag.critical",
            ConfigType::Long,
            Some("10737418240"),
            "Once the server keeps more bytes of its log for the slot the connector tells of an error, and goes on; 0 for \
             never.",
        )
        .rule(Rule::AtLeast(0)),
        choice(
            "offset.mismatch.strategy",
            "trust_offset",
            &[
                "no_validation",
                "trust_offset",
                "trust_slot",
                "trust_greater_lsn",
            ],
            "What to do where the slot is ahead of the stored offset, so that changes are lost: 'trust_offset' fails, \
             the others go on from the slot with a warning.",
        ),
    ]
}

fn filters() -> Vec<ConfigKey> {
    let list = |name: &str, what: &str| {
        ConfigKey::optional(
            name,
            ConfigType::String,
            None,
            format!("Regular expressions, separated by commas, that match the whole of {what}."),
        )
    };
    vec![
        list("schema.include.list", "the schemas to capture"),
        list("schema.exclude.list", "the schemas to leave out"),
        list(
            "table.include.list",
            "schema.table of the tables to capture",
        ),
        list(
            "table.exclude.list",
            "schema.table of the tables to leave out",
        ),
        ConfigKey::optional(
            "table.discovery.interval.ms",
            ConfigType::Int,
            Some("10000"),
            "How often tables that are new and pass the filters are looked for, with publication.autocreate.mode=filtered; they are \
             captured, and read first. 0 for only at the start.",
        )
        .rule(Rule::AtLeast(0)),
        list(
            "column.include.list",
            "schema.table.column of the columns to capture",
        ),
        list(
            "column.exclude.list",
            "schema.table.column of the columns to leave out",
        ),
        list("message.prefix.include.list", "the prefixes of logical messages to capture"),
        list("message.prefix.exclude.list", "the prefixes of logical messages to leave out"),
        text(
            "message.key.columns",
            None,
            "Columns of the record's key in place of the primary key: schema.table:column,column;…",
        ),
    ]
}

fn snapshot() -> Vec<ConfigKey> {
    vec![
        choice(
            "snapshot.mode",
            "initial",
            &[
                "always",
                "initial",
                "initial_only",
                "no_data",
                "never",
                "when_needed",
            ],
            "'initial': tables are read once, then changes are streamed; 'always': at every start; 'initial_only': \
             read, then done; 'no_data' ('never'): only changes; 'when_needed': as 'initial', and again when the \
             stored position is no longer on the server.",
        ),
        text(
            "snapshot.include.collection.list",
            None,
            "Regular expressions of the captured tables that a snapshot reads; all by default.",
        ),
        text(
            "snapshot.select.statement.overrides",
            None,
            "Tables (schema.table) whose snapshot is read by the SELECT that \
             snapshot.select.statement.overrides.<schema.table> gives.",
        ),
        ConfigKey::optional(
            "snapshot.max.threads",
            ConfigType::Int,
            Some("1"),
            "Connections that read tables at the same time under one snapshot: large ones in ranges of their primary key, others \
             beside each other.",
        )
        .rule(Rule::Between(1, 64)),
    ]
}

fn rendering() -> Vec<ConfigKey> {
    vec![
        choice(
            "decimal.handling.mode",
            "precise",
            &["precise", "double", "string"],
            "How numeric and money are rendered.",
        ),
        choice(
            "time.precision.mode",
            "adaptive",
            &[
                "adaptive",
                "adaptive_time_microseconds",
                "connect",
                "isostring",
                "microseconds",
                "nanoseconds",
            ],
            "How dates and times without a zone are rendered.",
        ),
        choice(
            "interval.handling.mode",
            "numeric",
            &["numeric", "string"],
            "Intervals as microseconds or as ISO 8601.",
        ),
        choice(
            "hstore.handling.mode",
            "json",
            &["json", "map"],
            "hstore as JSON text or as a map.",
        ),
        choice(
            "binary.handling.mode",
            "bytes",
            &["bytes", "base64", "base64-url-safe", "hex"],
            "How bytea is rendered.",
        ),
        ConfigKey::optional(
            "money.fraction.digits",
            ConfigType::Int,
            Some("2"),
            "Digits of money behind the point.",
        )
        .rule(Rule::Between(0, 20)),
        flag(
            "include.unknown.datatypes",
            "false",
            "Columns of types that are not known are sent as the bytes of their text.",
        ),
        text(
            "unavailable.value.placeholder",
            Some("__debezium_unavailable_value"),
            "Stands for a large value that did not change and that the server does not send.",
        ),
    ]
}

fn records() -> Vec<ConfigKey> {
    vec![
        flag(
            "tombstones.on.delete",
            "true",
            "A delete is followed by a record without a value.",
        ),
        flag(
            "provide.transaction.metadata",
            "false",
            "Records tell their place in their transaction; begin and end go to a topic of their own.",
        ),
        text(
            "topic.transaction",
            Some("transaction"),
            "That topic is <topic.prefix>.<this>.",
        )
        .rule(Rule::NotEmpty),
        flag(
            "extended.headers.enabled",
            "true",
            "Records have headers that name connector, task and run.",
        ),
        text(
            "skipped.operations",
            Some("t"),
            "Operations that give no records: c, u, d, t separated by commas, or none.",
        ),
        flag(
            "skip.messages.without.change",
            "false",
            "An update that changed no captured column gives no record; needs REPLICA IDENTITY FULL.",
        ),
        ConfigKey::optional(
            "heartbeat.interval.ms",
            ConfigType::Int,
            Some("0"),
            "A heartbeat record at this interval; 0 for none. The slot moves without it.",
        )
        .rule(Rule::AtLeast(0)),
        text(
            "topic.heartbeat.prefix",
            Some("__debezium-heartbeat"),
            "Heartbeats go to <this>.<topic.prefix>.",
        )
        .alias(&["heartbeat.topics.prefix"])
        .rule(Rule::NotEmpty),
        text(
            "heartbeat.action.query",
            None,
            "A statement that is run with every heartbeat.",
        ),
        text(
            "signal.data.collection",
            None,
            "Table (schema.table) with the columns id, type, data, whose new rows are signals: execute-snapshot, stop-snapshot, \
             pause-snapshot, resume-snapshot, log.",
        ),
        ConfigKey::optional(
            "incremental.snapshot.chunk.size",
            ConfigType::Int,
            Some("1024"),
            "Rows that an incremental snapshot reads at a time.",
        )
        .rule(Rule::Between(1, 1_000_000)),
        ConfigKey::optional(
            "signal.enabled.channels",
            ConfigType::List,
            Some("source"),
            "Where signals come from: 'source', the table; 'kafka', the topic.",
        ),
        text(
            "signal.kafka.topic",
            None,
            "Topic of signals, with signal.enabled.channels=kafka: <topic.prefix>-signal without it. Its records have topic.prefix as \
             their key and {\"type\": …, \"data\": …} as their value.",
        ),
        ConfigKey::optional(
            "max.batch.size",
            ConfigType::Int,
            Some("2048"),
            "At most this many records at a time.",
        )
        .rule(Rule::Between(1, 1_000_000)),
    ]
}

/// What becomes of a key that is not declared.
pub(super) fn undeclared(key: &str) -> Undeclared {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    if begins(HIDING) || key.starts_with(SELECT_PREFIX) {
        Undeclared::Read
    } else if UNSUPPORTED.contains(&key) || begins(UNSUPPORTED_PREFIXES) {
        Undeclared::WithoutEffect
    } else {
        Undeclared::Unknown
    }
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

    #[test]
    fn keys_without_effect_are_known_and_are_none_of_ours() {
        for (key, expected) in [
            ("max.queue.size", Undeclared::WithoutEffect),
            ("driver.socketTimeout", Undeclared::WithoutEffect),
            ("column.mask.with.3.chars", Undeclared::Read),
            (
                "snapshot.select.statement.overrides.public.t",
                Undeclared::Read,
            ),
            ("slot.nmae", Undeclared::Unknown),
        ] {
            assert_eq!(undeclared(key), expected, "{key}");
        }
        for key in def().keys() {
            assert_eq!(undeclared(&key.name), Undeclared::Unknown, "{}", key.name);
        }
    }
}
