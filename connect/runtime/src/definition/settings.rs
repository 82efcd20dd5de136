//! The common keys of a connector, typed: what a task runs with.

use std::time::Duration;

use connect_api::{Config, ConfigMap, ConnectError, ConnectorKind};
use log_api::Compression;

use super::creation::TopicCreation;
use super::keys;
use super::overrides::{self, Consumer};
use crate::config::ConnectConfig;
use crate::converter::{Converter, ConverterKind, HeaderConverter, SIMPLE_HEADERS};
use crate::transform::below;

/// How errors of single records are dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorSettings {
    /// `errors.tolerance=all`.
    pub(crate) tolerate: bool,
    pub(crate) log: bool,
    pub(crate) log_messages: bool,
    pub(crate) dead_letter_topic: Option<String>,
    pub(crate) context_headers: bool,
    /// How long a retriable failure of a transform is tried again; `None` = for ever.
    pub(crate) retry_timeout: Option<Duration>,
    pub(crate) retry_delay_max: Duration,
}

/// The common keys, typed.
pub(crate) struct Settings {
    pub(crate) errors: ErrorSettings,
    pub(crate) creation: TopicCreation,
    pub(crate) compression: Compression,
    /// Topics of a sink.
    pub(crate) topics: Vec<String>,
    /// Expression for topics of a sink.
    pub(crate) topics_regex: Option<regex::Regex>,
    pub(crate) transaction_interval: Duration,
    pub(crate) consumer: Consumer,
    pub(crate) key_converter: Box<dyn Converter>,
    pub(crate) value_converter: Box<dyn Converter>,
    pub(crate) header_converter: HeaderConverter,
    /// Class names for dead letters.
    pub(crate) key_converter_class: &'static str,
    pub(crate) value_converter_class: &'static str,
}

impl Settings {
    /// Parses the common keys of a configuration.
    ///
    /// # Errors
    /// [`ConnectError::Config`] with the key at fault.
    pub(crate) fn parse(
        kind: ConnectorKind,
        config: &ConfigMap,
        worker: &ConnectConfig,
    ) -> Result<Self, ConnectError> {
        let common = keys::common(kind).parse(config)?;
        let (key_converter_class, key_converter) =
            converter("key.converter", &common, config, worker)?;
        let (value_converter_class, value_converter) =
            converter("value.converter", &common, config, worker)?;
        let header_converter = header_converter(&common, config)?;
        let (topics, topics_regex) = match kind {
            ConnectorKind::Source => (Vec::new(), None),
            ConnectorKind::Sink => topics(&common)?,
        };
        let transaction_interval = match kind {
            ConnectorKind::Source => transaction_interval(&common, config, worker)?,
            ConnectorKind::Sink => Duration::ZERO,
        };
        Ok(Self {
            errors: errors(&common),
            creation: TopicCreation::parse(config, worker)?,
            compression: overrides::compression(config)?,
            consumer: overrides::consumer(config)?,
            topics,
            topics_regex,
            transaction_interval,
            key_converter,
            value_converter,
            header_converter,
            key_converter_class,
            value_converter_class,
        })
    }
}

fn errors(common: &Config) -> ErrorSettings {
    ErrorSettings {
        tolerate: common.string("errors.tolerance") == "all",
        log: common.boolean("errors.log.enable"),
        log_messages: common.boolean("errors.log.include.messages"),
        dead_letter_topic: common
            .get("errors.deadletterqueue.topic.name")
            .map(str::trim)
            .filter(|topic| !topic.is_empty())
            .map(str::to_owned),
        context_headers: common.boolean("errors.deadletterqueue.context.headers.enable"),
        retry_timeout: u64::try_from(common.int("errors.retry.timeout"))
            .ok()
            .map(Duration::from_millis),
        retry_delay_max: Duration::from_millis(
            u64::try_from(common.int("errors.retry.delay.max.ms")).unwrap_or(1),
        ),
    }
}

/// How long what a source gives may wait for the end of its transaction; zero for no longer than its poll.
fn transaction_interval(
    common: &Config,
    config: &ConfigMap,
    worker: &ConnectConfig,
) -> Result<Duration, ConnectError> {
    let boundary = config
        .get("transaction.boundary")
        .map(|boundary| boundary.to_lowercase());
    let interval = match boundary.as_deref() {
        Some("poll") => 0,
        Some("connector") => {
            let message = "no connector here has boundaries of its own: poll, or interval";
            return Err(ConnectError::config("transaction.boundary", message));
        }
        _ if common.get("transaction.boundary.interval.ms").is_some() => {
            u64::try_from(common.int("transaction.boundary.interval.ms")).unwrap_or(0)
        }
        _ => worker.transaction_interval_ms,
    };
    Ok(Duration::from_millis(interval))
}

/// The converter that `key` names with its own keys, or the worker's.
pub(super) fn converter(
    key: &str,
    common: &Config,
    config: &ConfigMap,
    worker: &ConnectConfig,
) -> Result<(&'static str, Box<dyn Converter>), ConnectError> {
    let mut own = below(config, &format!("{key}."));
    let class = match common.get(key) {
        Some(class) => class.to_owned(),
        None => {
            own.entry("schemas.enable".to_owned())
                .or_insert_with(|| worker.schemas_enable.to_string());
            match key {
                "key.converter" => worker.key_converter.clone(),
                _ => worker.value_converter.clone(),
            }
        }
    };
    let kind = ConverterKind::by_name(&class).ok_or_else(|| unknown_converter(key, &class))?;
    let built = kind.build(&own).map_err(|error| within(key, error))?;
    Ok((kind.class(), built))
}

/// The converter of headers that the configuration names.
fn header_converter(common: &Config, config: &ConfigMap) -> Result<HeaderConverter, ConnectError> {
    let key = "header.converter";
    let class = common.string(key);
    let own = below(config, "header.converter.");
    HeaderConverter::build(class, &own)
        .ok_or_else(|| unknown_converter(key, class))?
        .map_err(|error| within(key, error))
}

/// An error of a key below this one.
fn within(key: &str, error: ConnectError) -> ConnectError {
    match error {
        ConnectError::Config {
            key: below,
            message,
        } => ConnectError::Config {
            key: format!("{key}.{below}"),
            message,
        },
        other => other,
    }
}

fn unknown_converter(key: &str, class: &str) -> ConnectError {
    let simple = (key == "header.converter").then_some(SIMPLE_HEADERS);
    let known: Vec<&str> = ConverterKind::ALL
        .iter()
        .map(|kind| kind.class())
        .chain(simple)
        .collect();
    let hint = match super::nearest(class, known.iter().copied()) {
        Some(near) => format!("; did you mean {near}?"),
        None => format!("; there are {}", known.join(", ")),
    };
    ConnectError::config(
        key,
        format!(
            "Invalid value {class} for configuration {key}: Class {class} could not be found{hint}"
        ),
    )
}

fn topics(common: &Config) -> Result<(Vec<String>, Option<regex::Regex>), ConnectError> {
    let topics = common.list("topics");
    let regex = common.get("topics.regex").filter(|regex| !regex.is_empty());
    let regex = match (topics.is_empty(), regex) {
        (true, None) => {
            return Err(ConnectError::config(
                "topics",
                "Must configure one of topics or topics.regex",
            ));
        }
        (false, Some(_)) => {
            return Err(ConnectError::config(
                "topics",
                "topics and topics.regex are mutually exclusive options, but both are set.",
            ));
        }
        (_, None) => None,
        (_, Some(regex)) => Some(regex::Regex::new(&format!("^(?:{regex})$")).map_err(
            |error| ConnectError::config("topics.regex", format!("Invalid regex: {error}")),
        )?),
    };
    let dead_letters = common
        .get("errors.deadletterqueue.topic.name")
        .unwrap_or_default();
    if topics.iter().any(|topic| topic == dead_letters) {
        return Err(ConnectError::config(
            "errors.deadletterqueue.topic.name",
            format!(
                "The DLQ topic '{dead_letters}' may not be included in the list of topics ('topics={}') consumed by \
                 the connector",
                topics.join(",")
            ),
        ));
    }
    Ok((topics, regex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_of_a_source_end_where_its_keys_say() {
        let worker = ConnectConfig {
            transaction_interval_ms: 70,
            ..ConnectConfig::default()
        };
        let interval = |pairs: &[(&str, &str)]| {
            let needed = [("name", "n"), ("connector.class", "c")];
            let config: ConfigMap = needed
                .iter()
                .chain(pairs)
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            let settings = Settings::parse(ConnectorKind::Source, &config, &worker)?;
            Ok::<_, ConnectError>(settings.transaction_interval.as_millis())
        };
        let of = "transaction.boundary";
        let ms = ("transaction.boundary.interval.ms", "5");
        assert_eq!(interval(&[]), Ok(70));
        assert_eq!(interval(&[ms]), Ok(5));
        assert_eq!(interval(&[(of, "interval")]), Ok(70));
        assert_eq!(interval(&[(of, "INTERVAL"), ms]), Ok(5));
        assert_eq!(interval(&[(of, "poll"), ms]), Ok(0));
        let refused = interval(&[(of, "connector")]).unwrap_err().to_string();
        assert!(
            refused.starts_with(of) && refused.contains("interval"),
            "{refused}"
        );
    }
}
