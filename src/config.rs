//! The configuration of the whole program: one documented struct a component, four layers.
//!
//! ```text
//! defaults  <  file (TOML, --config)  <  environment (THALWEG_KAFKA__LISTEN)  <  flags (--set kafka.listen=…)
//! ```
//!
//! Invariants:
//! 1. A key that no component knows is refused with the nearest known one, whatever layer it came from.
//! 2. Every value's origin can be shown.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use config::{FileFormat, Source, Value, ValueKind};
use serde::{Deserialize, Serialize};

use crate::http_listeners::{self, HttpListener};
use crate::listeners::{KAFKA_NAMES, broker_config};
use crate::memory::{self, Available};

/// Prefix of environment variables; sections are parted by two underscores.
const ENV_PREFIX: &str = "THALWEG_";

/// Keys that name users: their values are passwords.
const USERS: &str = "kafka.users.";

/// A key whose value is never shown.
const SECRET_KEY: &str = "kafka.ssl.keystore.key";

/// What is shown in its place.
const SECRET: &str = "********";

const SECTIONS: [&str; 8] = [
    "memory", "kafka", "connect", "http", "sql", "streams", "wasm", "log",
];

/// Numbers that must be at least 1.
const NOT_ZERO: [&str; 6] = [
    "kafka.num_partitions",
    "kafka.connection_idle_ms_max",
    "streams.commit_interval_ms",
    "wasm.memory_bytes_max",
    "wasm.call_deadline_ms",
    "wasm.output_bytes_max",
];

/// Everything that can be set. The defaults run all roles on the local machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The folder that holds everything: the log and the state of jobs. Made if it is missing.
    pub data: PathBuf,
    /// Lets other machines connect where nobody is asked who they are.
    pub insecure_bind: bool,
    /// The memory of the process.
    pub memory: MemorySettings,
    /// The Kafka protocol.
    pub kafka: KafkaSettings,
    /// The Connect runtime and its REST interface.
    pub connect: ConnectSettings,
    /// SQL over HTTP, health and metrics.
    pub http: ListenSettings,
    /// Limits of SQL statements.
    pub sql: sql::SqlConfig,
    /// The dataflow engine.
    pub streams: StreamsSettings,
    /// Limits of WASM guests.
    pub wasm: WasmSettings,
    /// What is logged, to standard error.
    pub log: LogSettings,
}

/// `memory.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MemorySettings {
    /// What the server keeps to: a size (`4GiB`), or `auto`: half of what the machine or the container has.
    pub limit: String,
}

/// `kafka.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KafkaSettings {
    /// Address of the Kafka protocol, in the clear and for this machine; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Listeners in the place of that one, as `NAME://host:port` (Kafka's `listeners`).
    pub listeners: String,
    /// Where clients of each are to connect, if not where they did (Kafka's `advertised.listeners`).
    pub advertised_listeners: String,
    /// Protocols of listeners with names of their own, as `NAME:PROTOCOL` (Kafka's `listener.security.protocol.map`).
    pub listener_security_protocol_map: String,
    /// The server's certificate and those that vouch for it: PEM, or the path of a file (Kafka's `ssl.keystore.certificate.chain`).
    pub ssl_keystore_certificate_chain: String,
    /// Its private key: PEM, or the path of a file (Kafka's `ssl.keystore.key`).
    pub ssl_keystore_key: String,
    /// Certificates of those who vouch for clients (Kafka's `ssl.truststore.certificates`).
    pub ssl_truststore_certificates: String,
    /// Whether clients show certificates: `none`, `requested`, `required` (Kafka's `ssl.client.auth`).
    pub ssl_client_auth: String,
    /// How clients may say who they are (Kafka's `sasl.enabled.mechanisms`).
    pub sasl_enabled_mechanisms: String,
    /// Path of a file with the keys of who signs tokens of OAUTHBEARER (Kafka's `sasl.oauthbearer.jwks.endpoint.url`).
    pub sasl_oauthbearer_jwks_endpoint_url: String,
    /// Who must have issued them; empty: anyone (Kafka's `sasl.oauthbearer.expected.issuer`).
    pub sasl_oauthbearer_expected_issuer: String,
    /// For one of whom they must be; empty: anyone (Kafka's `sasl.oauthbearer.expected.audience`).
    pub sasl_oauthbearer_expected_audience: String,
    /// Which claim names the user (Kafka's `sasl.oauthbearer.sub.claim.name`).
    pub sasl_oauthbearer_sub_claim_name: String,
    /// Whether rules of access are looked at: `on`, `off`, or `auto`, where any listener asks who connects.
    pub authorizer: String,
    /// Principals that no rule keeps from anything, parted by semicolons (Kafka's `super.users`).
    pub super_users: String,
    /// Whether everyone may do what no rule is about (Kafka's `allow.everyone.if.no.acl.found`).
    pub allow_everyone_if_no_acl_found: bool,
    /// Users and their passwords: `kafka.users.NAME`.
    #[serde(skip)]
    pub users: BTreeMap<String, String>,
    /// Create a topic when a client asks for one that is missing (Kafka's `auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Partitions of a topic that is created so (Kafka's `num.partitions`).
    pub num_partitions: i32,
    /// Largest request, bytes; a larger one closes its connection (Kafka's `socket.request.max.bytes`).
    pub request_bytes_max: usize,
    /// Memory for the requests of all connections that are being read or answered, bytes; a connection that finds no room waits
    /// (Kafka's `queued.max.request.bytes`).
    pub queued_request_bytes_max: usize,
    /// Responses that wait for slow readers, bytes over all connections; beyond it a fetch waits, and readers that take
    /// nothing are cut off.
    pub response_bytes_max: usize,
    /// A connection that sends nothing, or takes nothing of its answer, is closed after this, ms (Kafka's
    /// `connections.max.idle.ms`).
    pub connection_idle_ms_max: u64,
    /// How long the first rebalance of a group waits for the next member, ms; 0 not at all (Kafka's
    /// `group.initial.rebalance.delay.ms`).
    pub rebalance_delay_ms: u64,
}

/// `connect.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConnectSettings {
    /// Address of the Connect REST interface; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Listeners in the place of that one, as `PROTOCOL://address:port`: PLAINTEXT, SASL_PLAINTEXT, SASL_SSL.
    pub listeners: String,
}

/// `http.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ListenSettings {
    /// Address of `/v1/query`, `/metrics`, `/healthz`, `/readyz`; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Listeners in the place of that one, as `PROTOCOL://address:port`: PLAINTEXT, SASL_PLAINTEXT, SASL_SSL.
    pub listeners: String,
}

/// `streams.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StreamsSettings {
    /// Longest time between two commits of a job, ms.
    pub commit_interval_ms: u64,
    /// Stable name of this process in transactional ids.
    pub worker: String,
    /// Threads that all jobs share; 0: as many as the machine gives this process, at least two.
    pub threads: usize,
    /// Tokens of a job that is made from now on: parts of its key space that threads work on at the same time.
    pub tokens: usize,
    /// Folder for snapshots of the state of jobs, or `off`: then none are taken, and changelogs grow. The changelog behind
    /// snapshots goes, so they belong into a backup.
    pub snapshots: String,
    /// Bytes of changes between two snapshots of a job.
    pub snapshot_bytes: u64,
    /// Bytes of uncommitted changes of a job that bring its commit forward.
    pub commit_bytes: usize,
    /// Bytes of state that one operator keeps in memory, in front of the disk.
    pub operator_cache_bytes: usize,
    /// Bytes of the block cache that all jobs share, their write buffers in it.
    pub cache_bytes: usize,
    /// Bytes of a write buffer; a job has at most two.
    pub write_buffer_bytes: usize,
    /// Bytes of state that a push query may keep in memory; beyond it the query ends with an error.
    pub query_state_bytes: usize,
    /// Rows taken from a source at once.
    pub epoch_rows: usize,
    /// Bytes fetched from a source at once.
    pub fetch_bytes: usize,
    /// How long a partition must be caught up before it stops holding event time, ms.
    pub idle_grace_ms: i64,
}

/// `wasm.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WasmSettings {
    /// Linear memory of one guest instance, bytes.
    pub memory_bytes_max: usize,
    /// Longest time of one call into a guest, ms.
    pub call_deadline_ms: u64,
    /// Most bytes that one call may return.
    pub output_bytes_max: usize,
}

/// `log.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSettings {
    /// error, warn, info, debug or trace; parts may have their own: `warn,log_broker=debug`. `RUST_LOG` goes before it.
    pub level: String,
    /// Lines for people, or one JSON object a line.
    pub format: LogFormat,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: PathBuf::from("thalweg-data"),
            insecure_bind: false,
            memory: MemorySettings::default(),
            kafka: KafkaSettings::default(),
            connect: ConnectSettings::default(),
            http: ListenSettings::default(),
            sql: sql::SqlConfig::default(),
            streams: StreamsSettings::default(),
            wasm: WasmSettings::default(),
            log: LogSettings::default(),
        }
    }
}

impl Settings {
    /// Where SQL, health and metrics are served.
    ///
    /// # Errors
    /// Listeners that cannot be.
    pub(crate) fn http_listeners(&self) -> Result<Vec<HttpListener>> {
        let http = &self.http;
        http_listeners::parse("http", &http.listeners, http.listen, self.insecure_bind)
    }

    /// Where Connect's REST is served.
    ///
    /// # Errors
    /// Listeners that cannot be.
    pub(crate) fn connect_listeners(&self) -> Result<Vec<HttpListener>> {
        let connect = &self.connect;
        let (listeners, listen) = (&connect.listeners, connect.listen);
        http_listeners::parse("connect", listeners, listen, self.insecure_bind)
    }
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            limit: memory::AUTO.to_owned(),
        }
    }
}

impl MemorySettings {
    /// What it comes to here, bytes.
    ///
    /// # Errors
    /// A value that is no size.
    pub(crate) fn limit_bytes(&self) -> Result<u64> {
        memory::limit_bytes(&self.limit, &Available::here())
    }
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            listen: local(9092),
            listeners: String::new(),
            advertised_listeners: String::new(),
            listener_security_protocol_map: String::new(),
            ssl_keystore_certificate_chain: String::new(),
            ssl_keystore_key: String::new(),
            ssl_truststore_certificates: String::new(),
            ssl_client_auth: "none".to_owned(),
            sasl_enabled_mechanisms: "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned(),
            sasl_oauthbearer_jwks_endpoint_url: String::new(),
            sasl_oauthbearer_expected_issuer: String::new(),
            sasl_oauthbearer_expected_audience: String::new(),
            sasl_oauthbearer_sub_claim_name: "sub".to_owned(),
            authorizer: "auto".to_owned(),
            super_users: String::new(),
            allow_everyone_if_no_acl_found: false,
            users: BTreeMap::new(),
            auto_create_topics: true,
            num_partitions: 1,
            request_bytes_max: 16 << 20,
            queued_request_bytes_max: 20 << 20,
            response_bytes_max: 8 << 20,
            connection_idle_ms_max: 600_000,
            rebalance_delay_ms: 50,
        }
    }
}

impl Default for ConnectSettings {
    fn default() -> Self {
        Self {
            listen: local(8083),
            listeners: String::new(),
        }
    }
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            listen: local(9644),
            listeners: String::new(),
        }
    }
}

/// In place of a folder: no snapshots.
const SNAPSHOTS_OFF: &str = "off";

impl StreamsSettings {
    /// The folder for snapshots, if there are to be any.
    pub(crate) fn snapshot_dir(&self) -> Option<PathBuf> {
        (self.snapshots != SNAPSHOTS_OFF).then(|| PathBuf::from(&self.snapshots))
    }
}

impl Default for StreamsSettings {
    fn default() -> Self {
        let engine = streams::EngineConfig::default();
        Self {
            commit_interval_ms: 200,
            worker: "worker-0".to_owned(),
            threads: engine.threads,
            tokens: engine.tokens,
            snapshots: SNAPSHOTS_OFF.to_owned(),
            snapshot_bytes: engine.snapshot_bytes,
            commit_bytes: engine.commit_bytes,
            operator_cache_bytes: engine.operator_cache_bytes,
            cache_bytes: engine.cache_bytes,
            write_buffer_bytes: engine.write_buffer_bytes,
            query_state_bytes: engine.query_state_bytes,
            epoch_rows: engine.epoch_rows,
            fetch_bytes: engine.fetch_bytes,
            idle_grace_ms: engine.idle_grace_ms,
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "warn".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl Default for WasmSettings {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            call_deadline_ms: 1000,
            output_bytes_max: 16 << 20,
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// This file.
    File(PathBuf),
    /// This variable.
    Environment(String),
    /// A flag on the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// The settings and, for every dotted key, where its value came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What the program runs with.
    pub settings: Settings,
    /// Dotted key → value as text and origin, all keys.
    pub keys: BTreeMap<String, (String, Origin)>,
}

/// What was typed: the file and the `--set` flags, in order.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE", env = "THALWEG_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set one value, e.g. --set kafka.listen=127.0.0.1:19092 (may be repeated)
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Let other machines connect where nobody is asked who they are
    #[arg(long, global = true)]
    pub insecure_bind: bool,
    /// Folder for all data (short for --set data=DIR)
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl ConfigArgs {
    /// Reads all layers.
    pub(crate) fn load(&self) -> Result<Loaded> {
        let mut layers: Vec<(String, Value, Origin)> = Vec::new();
        if let Some(path) = &self.config {
            layers.extend(file_layer(path)?);
        }
        layers.extend(environment_layer(std::env::vars()));
        for flag in &self.set {
            let Some((key, value)) = flag.split_once('=') else {
                bail!("--set {flag}: expected KEY=VALUE, for example kafka.listen=127.0.0.1:19092");
            };
            layers.push((
                key.trim().to_owned(),
                Value::from(value.trim()),
                Origin::Flag,
            ));
        }
        if self.insecure_bind {
            layers.push(("insecure_bind".to_owned(), Value::from(true), Origin::Flag));
        }
        if let Some(data) = &self.data {
            let data = data.to_string_lossy().into_owned();
            layers.push(("data".to_owned(), Value::from(data), Origin::Flag));
        }
        merge(layers)
    }
}

fn merge(layers: Vec<(String, Value, Origin)>) -> Result<Loaded> {
    let mut keys = default_keys()?;
    let mut builder = config::Config::builder();
    let mut users = BTreeMap::new();
    for (key, value, origin) in layers {
        if let Some(user) = key.strip_prefix(USERS) {
            users.insert(user.to_owned(), text(&value));
            keys.insert(key, (SECRET.to_owned(), origin));
            continue;
        }
        if !keys.contains_key(&key) {
            let nearest = nearest(&key, keys.keys().map(String::as_str))
                .map(|name| format!(", did you mean {name}?"))
                .unwrap_or_default();
            bail!("unknown key {key} ({origin}){nearest}");
        }
        let shown = if key == SECRET_KEY {
            SECRET.to_owned()
        } else {
            text(&value)
        };
        keys.insert(key.clone(), (shown, origin));
        builder = builder
            .set_override(field(&key), value)
            .with_context(|| format!("key {key}"))?;
    }
    let mut settings: Settings = builder.build()?.try_deserialize().map_err(|error| {
        let culprit = keys
            .iter()
            .find(|(key, _)| error.to_string().contains(&format!("`{}`", field(key))));
        match culprit {
            Some((key, (value, origin))) => {
                anyhow::anyhow!("{key} = {value:?} ({origin}) is not valid: {error}")
            }
            None => anyhow::anyhow!("configuration is not valid: {error}"),
        }
    })?;
    settings.kafka.users = users;
    if settings.kafka.listeners.is_empty()
        && !settings.kafka.listen.ip().is_loopback()
        && !settings.insecure_bind
    {
        bail!(
            "kafka.listen = {}: other machines could connect without saying who they are; name listeners in \
             kafka.listeners that ask them, for example SASL_SSL://0.0.0.0:9093, or say --insecure-bind",
            settings.kafka.listen
        );
    }
    broker_config(&settings.kafka, settings.insecure_bind)?;
    settings.memory.limit_bytes()?;
    // Programs of this machine look for the server there.
    if let Some(nearest) = http_listeners::nearest(&settings.http_listeners()?) {
        settings.http.listen = nearest.address;
    }
    settings.connect_listeners()?;
    let level = &settings.log.level;
    if !is_level(level) {
        let origin = keys
            .get("log.level")
            .map_or(Origin::Default, |(_, from)| from.clone());
        bail!(
            "log.level = {level:?} ({origin}) is not valid: expected error, warn, info, debug, trace or off, or \
             parts with their own such as warn,log_broker=debug"
        );
    }
    for key in NOT_ZERO {
        let number = keys.get(key).map(|(value, _)| value.parse::<i64>());
        if let Some(Ok(..1)) = number {
            bail!("{key}: must be at least 1");
        }
    }
    Ok(Loaded { settings, keys })
}

/// The filter itself would take a mistyped level for the name of a part.
fn is_level(text: &str) -> bool {
    text.split(',').all(|part| {
        let level = part.rsplit('=').next().unwrap_or(part).trim();
        ["error", "warn", "info", "debug", "trace", "off"].contains(&level)
    })
}

fn file_layer(path: &Path) -> Result<Vec<(String, Value, Origin)>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read configuration file {}", path.display()))?;
    let map = config::File::from_str(&text, FileFormat::Toml)
        .collect()
        .with_context(|| format!("configuration file {}", path.display()))?;
    let mut flat = Vec::new();
    flatten("", map, &mut flat);
    Ok(flat
        .into_iter()
        .map(|(key, value)| (key, value, Origin::File(path.to_path_buf())))
        .collect())
}

fn environment_layer(
    variables: impl Iterator<Item = (String, String)>,
) -> Vec<(String, Value, Origin)> {
    variables
        .filter_map(|(name, value)| {
            let rest = name.strip_prefix(ENV_PREFIX)?;
            let key = rest.to_ascii_lowercase().replace("__", ".");
            // Others (THALWEG_CONFIG, …) belong to tools. With one underscore for two a name is meant as a setting, and refused.
            let section = key.split(['.', '_']).next().unwrap_or_default();
            (SECTIONS.contains(&section)
                || key.contains('.')
                || key == "data"
                || key == "insecure_bind")
                .then(|| (key, Value::from(value), Origin::Environment(name)))
        })
        .collect()
}

fn flatten(prefix: &str, map: config::Map<String, Value>, out: &mut Vec<(String, Value)>) {
    for (name, value) in map {
        let key = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value.kind {
            ValueKind::Table(table) => flatten(&key, table, out),
            _ => out.push((key, value)),
        }
    }
}

fn default_keys() -> Result<BTreeMap<String, (String, Origin)>> {
    let mut keys = BTreeMap::new();
    let defaults = serde_json::to_value(Settings::default())?;
    let mut stack = vec![(String::new(), defaults)];
    while let Some((prefix, value)) = stack.pop() {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    let key = if prefix.is_empty() {
                        name
                    } else {
                        format!("{prefix}.{name}")
                    };
                    stack.push((key, value));
                }
            }
            serde_json::Value::String(value) => {
                keys.insert(prefix, (value, Origin::Default));
            }
            value => {
                keys.insert(prefix, (value.to_string(), Origin::Default));
            }
        }
    }
    // Keys that Kafka has are called as there.
    for name in KAFKA_NAMES {
        let key = format!("kafka.{name}");
        if let Some(value) = keys.remove(&field(&key)) {
            keys.insert(key, value);
        }
    }
    Ok(keys)
}

/// The field that a key is kept in.
fn field(key: &str) -> String {
    match key.strip_prefix("kafka.") {
        Some(name) if KAFKA_NAMES.contains(&name) => {
            format!("kafka.{}", name.replace('.', "_"))
        }
        _ => key.to_owned(),
    }
}

fn text(value: &Value) -> String {
    value
        .clone()
        .into_string()
        .unwrap_or_else(|_| value.to_string())
}

/// The candidate that was most likely meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(word, candidate),
                candidate,
            )
        })
        .filter(|(score, _)| *score > 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(set: &[&str]) -> ConfigArgs {
        ConfigArgs {
            set: set.iter().map(|s| (*s).to_owned()).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn later_layers_win_and_say_where_they_came_from() {
        let file = tempfile::NamedTempFile::new().expect("temp file");
        std::fs::write(
            file.path(),
            "[kafka]\nlisten = \"127.0.0.1:1\"\nnum_partitions = 3\n",
        )
        .expect("write");
        let args = ConfigArgs {
            config: Some(file.path().into()),
            ..args(&["kafka.listen=127.0.0.1:2"])
        };
        let loaded = args.load().expect("valid");
        assert_eq!(
            loaded.settings.kafka.listen,
            SocketAddr::from(([127, 0, 0, 1], 2))
        );
        assert_eq!(loaded.settings.kafka.num_partitions, 3);
        assert_eq!(loaded.keys["kafka.listen"].1, Origin::Flag);
        assert_eq!(
            loaded.keys["kafka.num_partitions"].1,
            Origin::File(file.path().into())
        );
        assert_eq!(
            loaded.keys["http.listen"],
            ("127.0.0.1:9644".to_owned(), Origin::Default)
        );
    }

    #[test]
    fn environment_names_have_sections() {
        let layer = environment_layer(
            [
                ("THALWEG_KAFKA__LISTEN", "127.0.0.1:3"),
                ("THALWEG_CONFIG", "x"),
                ("PATH", "y"),
            ]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        assert_eq!(layer.len(), 1);
        assert_eq!(layer[0].0, "kafka.listen");
        let loaded = merge(layer).expect("valid");
        assert_eq!(loaded.settings.kafka.listen.port(), 3);
    }

    #[test]
    fn a_variable_with_one_underscore_is_refused() {
        let name = "THALWEG_KAFKA_LISTEN".to_owned();
        let layer = environment_layer([(name, "127.0.0.1:3".to_owned())].into_iter());
        assert_eq!(
            merge(layer).expect_err("unknown").to_string(),
            "unknown key kafka_listen (environment THALWEG_KAFKA_LISTEN), did you mean kafka.listen?"
        );
    }

    /// A default as the guide shows it.
    fn shown(key: &str, value: &str) -> String {
        let mib = value
            .parse::<u64>()
            .ok()
            .filter(|bytes| bytes % (1 << 20) == 0);
        match mib.filter(|_| key.contains("bytes")) {
            Some(bytes) => format!("{} MiB", bytes >> 20),
            None => format!("`{value}`"),
        }
    }

    #[test]
    fn the_guide_lists_every_key_with_its_default() {
        let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let guide = std::fs::read_to_string(guide).expect("the guide");
        let keys = default_keys().expect("defaults");
        for (key, (value, _)) in &keys {
            let row = format!("| `{key}` | {} | ", shown(key, value));
            assert!(
                guide.contains(&row),
                "docs/configuration.md has no row {row}"
            );
        }
        let rows = guide.lines().filter_map(|line| line.strip_prefix("| `"));
        for key in rows.filter_map(|row| row.split('`').next()) {
            assert!(
                keys.contains_key(key),
                "docs/configuration.md tells of {key}, which does not exist"
            );
        }
    }

    #[test]
    fn a_number_that_may_not_be_zero_is_refused_by_its_key() {
        let error = args(&["kafka.num_partitions=-1"]).load();
        assert_eq!(
            error.expect_err("too small").to_string(),
            "kafka.num_partitions: must be at least 1"
        );
    }

    #[test]
    fn a_mistyped_log_level_is_refused() {
        for level in ["info", "warn,log_broker=debug", "off"] {
            assert!(
                args(&[&format!("log.level={level}")]).load().is_ok(),
                "{level}"
            );
        }
        let error = args(&["log.level=wran"]).load().expect_err("no level");
        let expected = "log.level = \"wran\" (flag) is not valid: expected error, warn";
        assert!(error.to_string().starts_with(expected), "{error}");
        let error = args(&["log.format=xml"]).load().expect_err("no format");
        assert!(error.to_string().contains("log.format"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest() {
        let error = args(&["kafka.lisen=127.0.0.1:1"])
            .load()
            .expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "unknown key kafka.lisen (flag), did you mean kafka.listen?"
        );
    }

    #[test]
    fn a_wrong_value_names_key_value_and_origin() {
        let error = args(&["kafka.listen=nowhere"]).load().expect_err("invalid");
        assert!(error.to_string().contains("nowhere"), "{error}");
    }

    #[test]
    fn other_machines_connect_only_where_the_operator_says_so() {
        for key in ["kafka.listen", "connect.listen", "http.listen"] {
            let open = format!("{key}=0.0.0.0:1234");
            let error = args(&[&open]).load().expect_err("not loopback").to_string();
            let begins = format!("{key} = 0.0.0.0:1234: other machines could connect");
            assert!(error.starts_with(&begins), "{error}");
            assert!(error.ends_with("or say --insecure-bind"), "{error}");
            let said = ConfigArgs {
                insecure_bind: true,
                ..args(&[&open])
            };
            assert!(said.load().is_ok(), "{key}");
        }
    }

    #[test]
    fn listeners_have_kafkas_names_and_secrets_are_not_shown() {
        let file = tempfile::NamedTempFile::new().expect("temp file");
        let text = "[kafka]\nlisteners = \"SASL_PLAINTEXT://127.0.0.1:0\"\nsuper.users = \"User:anna\"\n\
                    ssl.keystore.key = \"hush\"\n[kafka.users]\nanna = \"hush\"\n\"b.c\" = \"hush\"\n";
        std::fs::write(file.path(), text).expect("written");
        let args = ConfigArgs {
            config: Some(file.path().into()),
            ..args(&["kafka.allow.everyone.if.no.acl.found=true"])
        };
        let loaded = args.load().expect("sound");
        let kafka = &loaded.settings.kafka;
        assert_eq!(kafka.super_users, "User:anna");
        assert!(kafka.allow_everyone_if_no_acl_found);
        let users: Vec<&str> = kafka.users.keys().map(String::as_str).collect();
        assert_eq!(users, ["anna", "b.c"]);
        assert!(
            loaded
                .keys
                .values()
                .all(|(value, _)| !value.contains("hush"))
        );
    }
}
