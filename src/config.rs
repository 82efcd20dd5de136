//! The configuration of the whole program: one documented struct a component, four layers.
//!
//! ```text
//! defaults  <  file (TOML, --config)  <  environment (THALWEG_KAFKA__LISTEN)  <  flags (--set kafka.listen=…)
//! ```
//!
//! Invariants:
//! 1. A key that no component knows is refused with the nearest known one, whatever layer it came from.
//! 2. Every value's origin can be shown.

mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use config::{FileFormat, Source, Value, ValueKind};

use crate::http_listeners;
use crate::listeners::{KAFKA_NAMES, broker_config};
pub(crate) use settings::{KafkaSettings, LogFormat, LogSettings, Settings};

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
    use std::net::SocketAddr;

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
