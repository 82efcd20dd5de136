//! Validation: every key of a configuration with its value, what is wrong with it, and which keys nobody knows.
//!
//! The answer has Kafka's shape (`ConfigInfos`) and one field more, `warnings`: keys that no part claims, with the
//! nearest name that one does, and keys that are recognised but have no effect. A key that is a typing error of one
//! that is not set is an error.

use std::time::Duration;

use connect_api::{
    ConfigDef, ConfigKey, ConfigMap, ConfigType, ConfigValue, ConnectError, ConnectorKind,
    ConnectorPlugin, Importance, SourceOffsets, Undeclared,
};
use serde_json::{Value as Json, json};
use thiserror::Error;

use super::settings::Settings;
use super::{Plugins, creation, is_typo, keys, names, nearest, overrides};
use crate::config::ConnectConfig;
use crate::converter::ConverterKind;
use crate::secrets::{self, Secrets};
use crate::transform::{self, PredicateKind, TransformKind, below, names as listed};

/// How long a connector may look at the world.
const LIVE_CHECK_MAX: Duration = Duration::from_secs(10);

/// A configuration that cannot even be validated.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub(crate) enum Invalid {
    #[error("Connector config {0} contains no connector type")]
    NoClass(String),
    #[error("{0}")]
    UnknownClass(String),
}

/// The outcome of a validation.
#[derive(Debug, Clone)]
pub(crate) struct ConfigInfos {
    pub(crate) class: &'static str,
    groups: Vec<String>,
    keys: Vec<(ConfigKey, ConfigValue)>,
    pub(crate) warnings: Vec<String>,
}

impl ConfigInfos {
    fn error_count(&self) -> usize {
        self.keys.iter().map(|(_, value)| value.errors.len()).sum()
    }

    /// The errors in Kafka's words for a refused configuration, or `None`.
    pub(crate) fn refusal(&self) -> Option<String> {
        let errors: Vec<&str> = self
            .keys
            .iter()
            .flat_map(|(_, value)| value.errors.iter().map(String::as_str))
            .collect();
        if errors.is_empty() {
            return None;
        }
        let mut text = format!(
            "Connector configuration is invalid and contains the following {} error(s):\n{}\nYou can also find the \
             above list of errors at the endpoint `/connector-plugins/{{connectorType}}/config/validate`",
            errors.len(),
            errors.join("\n")
        );
        if !self.warnings.is_empty() {
            text.push('\n');
            text.push_str(&self.warnings.join("\n"));
        }
        Some(text)
    }

    /// The first error, without what Kafka's texts say in front of it, and its key.
    pub(crate) fn first_error(&self) -> Option<(&str, String)> {
        let (key, error) = self
            .keys
            .iter()
            .find_map(|(_, value)| Some((value.name.as_str(), value.errors.first()?)))?;
        let in_front = format!(" configuration {key}: ");
        let short = error.split_once(&in_front).map(|(_, short)| short);
        Some((key, short.unwrap_or(error).to_owned()))
    }

    /// As `PUT /connector-plugins/{p}/config/validate` answers.
    pub(crate) fn to_json(&self) -> Json {
        let configs: Vec<Json> = self
            .keys
            .iter()
            .enumerate()
            .map(|(order, (key, value))| {
                let shown = value.value.as_ref().map(|text| match key.kind {
                    ConfigType::Password => "[hidden]",
                    _ => text.as_str(),
                });
                json!({
                    "definition": keys::key_json(key, order),
                    "value": {
                        "name": value.name,
                        "value": shown,
                        "recommended_values": value.recommended,
                        "errors": value.errors,
                        "visible": true,
                    },
                })
            })
            .collect();
        json!({
            "name": self.class,
            "error_count": self.error_count(),
            "groups": self.groups,
            "configs": configs,
            "warnings": self.warnings,
        })
    }

    /// Adds an error that a part of the connector found; the text names the key and its value, as Kafka's do.
    fn add_error(&mut self, key: &str, message: String) {
        let place = self
            .keys
            .iter_mut()
            .find(|(known, _)| known.name == key || known.aliases.contains(&key));
        let message = match &place {
            _ if message.contains(key) || message.starts_with("Invalid value ") => message,
            Some((
                known,
                ConfigValue {
                    value: Some(value), ..
                },
            )) => {
                let shown = if known.kind == ConfigType::Password {
                    "[hidden]"
                } else {
                    &without_password(value)
                };
                format!("Invalid value {shown} for configuration {key}: {message}")
            }
            _ => format!("Invalid configuration {key}: {message}"),
        };
        match place {
            Some((_, value)) => {
                if !value.errors.contains(&message) {
                    value.errors.push(message);
                }
            }
            None => {
                let value = ConfigValue {
                    name: key.to_owned(),
                    value: None,
                    recommended: Vec::new(),
                    errors: vec![message],
                };
                let definition = ConfigKey::optional(key, ConfigType::String, None, "")
                    .importance(Importance::Low);
                self.keys.push((definition, value));
            }
        }
    }

    /// Values as they are stored, and no secret in what is said of them.
    fn show(&mut self, stored: &ConfigMap, secrets: &Secrets) {
        for (key, value) in &mut self.keys {
            if let Some(given) = key.given(stored) {
                let is_url = key.name == secrets::URL;
                value.value = Some(if is_url {
                    secrets::masked_url(given)
                } else {
                    given.to_owned()
                });
            }
            for error in &mut value.errors {
                *error = secrets.hide(std::mem::take(error));
            }
        }
        for warning in &mut self.warnings {
            *warning = secrets.hide(std::mem::take(warning));
        }
    }

    fn has_errors(&self) -> bool {
        self.keys.iter().any(|(_, value)| !value.errors.is_empty())
    }
}

/// Validates the configuration of a connector that goes on at `stored`.
///
/// # Errors
/// Where `connector.class` is missing or unknown.
pub(crate) async fn validate(
    plugins: &Plugins,
    worker: &ConnectConfig,
    config: &ConfigMap,
    stored_offsets: &SourceOffsets,
) -> Result<ConfigInfos, Invalid> {
    let Some(class) = config.get("connector.class") else {
        let shown = serde_json::to_string(&config.keys().collect::<Vec<_>>()).unwrap_or_default();
        return Err(Invalid::NoClass(shown));
    };
    let connector = plugins
        .connector(class)
        .ok_or_else(|| Invalid::UnknownClass(plugins.unknown_connector(class)))?;
    let stored = config;
    let (resolved, mut issues) = secrets::resolve_all(stored);
    let secrets = Secrets::of(stored, &resolved, &**connector);
    let config = &resolved;
    let mut def = keys::whole(&**connector);
    def = transforms(def, config, connector.kind(), &mut issues);
    let values = def.validate(config);
    let mut groups: Vec<String> = Vec::new();
    for group in def.keys().iter().filter_map(|key| key.group.as_ref()) {
        if !groups.contains(group) {
            groups.push(group.clone());
        }
    }
    let mut infos = ConfigInfos {
        class: connector.class(),
        groups,
        keys: def.keys().iter().cloned().zip(values).collect(),
        warnings: warnings(&def, &**connector, config),
    };
    issues.extend(typos(&def, &**connector, worker, config));
    issues.extend(names::issues(connector.kind(), worker, config));
    for (key, message) in issues {
        infos.add_error(&key, message);
    }
    if let Err(error) = Settings::parse(connector.kind(), config, worker) {
        add_unless_known(&mut infos, error);
    }
    point_out_typos(&mut infos, config);
    if !infos.has_errors() {
        check_modules(plugins, config, &mut infos).await;
        check_live(&**connector, config, stored_offsets, &mut infos).await;
    }
    infos.show(stored, &secrets);
    Ok(infos)
}

/// Has the connector look at the world.
async fn check_live(
    connector: &dyn ConnectorPlugin,
    config: &ConfigMap,
    stored: &SourceOffsets,
    infos: &mut ConfigInfos,
) {
    let checked = connector.validate_from(config, stored);
    match tokio::time::timeout(LIVE_CHECK_MAX, checked).await {
        Ok(issues) => {
            for issue in issues {
                infos.add_error(&issue.key, issue.message);
            }
        }
        Err(_) => infos.warnings.push(format!(
            "the connector's own check did not end within {} s; the values themselves are right",
            LIVE_CHECK_MAX.as_secs()
        )),
    }
}

/// A value as an error may show it: a URL without what proves who one is.
pub(super) fn without_password(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else {
        return value.to_owned();
    };
    // Up to the last @, also where a password holds one, or a / or ?, that should have been escaped.
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let shown: Vec<&str> = place
        .split_inclusive(['?', '&'])
        .filter(|part| !part.to_lowercase().contains("password"))
        .collect();
    format!("{scheme}://{}", shown.concat().trim_end_matches(['?', '&']))
}

/// Errors that single values have shown already are not told twice.
fn add_unless_known(infos: &mut ConfigInfos, error: ConnectError) {
    let (key, message) = match error {
        ConnectError::Config { key, message } => (key, message),
        other => ("connector.class".to_owned(), other.to_string()),
    };
    let told = infos
        .keys
        .iter()
        .any(|(known, value)| known.name == key && !value.errors.is_empty());
    if !told {
        infos.add_error(&key, message);
    }
}

/// Transforms compile and load in a thread that may block.
async fn check_modules(plugins: &Plugins, config: &ConfigMap, infos: &mut ConfigInfos) {
    for name in listed(config, "transforms") {
        let prefix = format!("transforms.{name}.");
        let own = below(config, &prefix);
        let Some(kind) = own
            .get("type")
            .and_then(|given| TransformKind::by_name(given))
        else {
            continue;
        };
        let sandbox = plugins.sandbox.clone();
        let checked =
            tokio::task::spawn_blocking(move || transform::check(kind, &name, &own, &sandbox))
                .await;
        match checked {
            Ok(Ok(())) => {}
            Ok(Err(ConnectError::Config { key, message })) => {
                infos.add_error(&format!("{prefix}{key}"), message);
            }
            Ok(Err(error)) => infos.add_error(&format!("{prefix}type"), error.to_string()),
            Err(error) => infos.add_error(
                &format!("{prefix}type"),
                format!("the check failed: {error}"),
            ),
        }
    }
}

/// The keys of the transforms and predicates that a configuration names.
fn transforms(
    mut def: ConfigDef,
    config: &ConfigMap,
    connector: ConnectorKind,
    issues: &mut Vec<(String, String)>,
) -> ConfigDef {
    for name in unique(config, "transforms", issues) {
        let prefix = format!("transforms.{name}.");
        let kind = kind_of(
            config,
            &prefix,
            "transform",
            issues,
            TransformKind::by_name,
            || {
                let mut known: Vec<String> =
                    TransformKind::ALL.iter().map(|kind| kind.class()).collect();
                known.push("wasm".to_owned());
                known
            },
        );
        let outputs = format!("{prefix}outputs");
        if connector == ConnectorKind::Sink
            && kind == Some(TransformKind::Wasm)
            && config
                .get(&outputs)
                .is_some_and(|topics| !topics.trim().is_empty())
        {
            let message = format!(
                "Invalid configuration {outputs}: a sink writes to its target, not to topics; route in a source, or \
                 leave it out"
            );
            issues.push((outputs, message));
        }
        def = own_keys(
            def,
            &prefix,
            &format!("Transforms: {name}"),
            kind.map(TransformKind::config_def),
        );
        def = own_keys_without_type(
            def,
            &prefix,
            &format!("Transforms: {name}"),
            &transform::common_def(),
        );
    }
    for name in unique(config, "predicates", issues) {
        let prefix = format!("predicates.{name}.");
        let kind = kind_of(
            config,
            &prefix,
            "predicate",
            issues,
            PredicateKind::by_name,
            || PredicateKind::ALL.iter().map(|kind| kind.class()).collect(),
        );
        def = own_keys(
            def,
            &prefix,
            &format!("Predicates: {name}"),
            kind.map(PredicateKind::config_def),
        );
    }
    for name in listed(config, "transforms") {
        let key = format!("transforms.{name}.predicate");
        if let Some(predicate) = config.get(&key)
            && !listed(config, "predicates").contains(predicate)
        {
            issues.push((
                key.clone(),
                format!("Invalid value {predicate} for configuration {key}: not in 'predicates'"),
            ));
        }
    }
    def
}

fn unique(config: &ConfigMap, key: &str, issues: &mut Vec<(String, String)>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for name in listed(config, key) {
        if unique.contains(&name) {
            issues.push((
                key.to_owned(),
                format!("Invalid value {name} for configuration {key}: Duplicate alias provided."),
            ));
        } else {
            unique.push(name);
        }
    }
    unique
}

fn kind_of<K>(
    config: &ConfigMap,
    prefix: &str,
    what: &str,
    issues: &mut Vec<(String, String)>,
    by_name: impl Fn(&str) -> Option<K>,
    known: impl Fn() -> Vec<String>,
) -> Option<K> {
    let key = format!("{prefix}type");
    let given = config.get(&key)?;
    let kind = by_name(given);
    if kind.is_none() {
        let known = known();
        let hint = match nearest(given, known.iter().map(String::as_str)) {
            Some(near) => format!("; did you mean {near}?"),
            None => format!("; there are {}", known.join(", ")),
        };
        let message = format!(
            "Invalid value {given} for configuration {key}: Class {given} could not be found as a {what}{hint}"
        );
        issues.push((key, message));
    }
    kind
}

fn own_keys(def: ConfigDef, prefix: &str, group: &str, own: Option<ConfigDef>) -> ConfigDef {
    let class = ConfigKey::required(
        format!("{prefix}type"),
        ConfigType::Class,
        "Class of this step.",
    )
    .group(group)
    .display(format!("Type of {prefix}"));
    own_keys_without_type(def.with(class), prefix, group, &own.unwrap_or_default())
}

fn own_keys_without_type(def: ConfigDef, prefix: &str, group: &str, own: &ConfigDef) -> ConfigDef {
    own.keys().iter().fold(def, |def, key| {
        let mut key = key.clone();
        key.display_name.clone_from(&key.name);
        key.name = format!("{prefix}{}", key.name);
        key.aliases.clear();
        key.group = Some(group.to_owned());
        def.with(key)
    })
}

/// What is worth saying though nothing is wrong.
fn warnings(def: &ConfigDef, connector: &dyn ConnectorPlugin, config: &ConfigMap) -> Vec<String> {
    let mut warnings = Vec::new();
    for key in config.keys() {
        let undeclared = connector.undeclared(key);
        if keys::UNSUPPORTED.contains(&key.as_str())
            || overrides::is_without_effect(connector.kind(), key)
            || undeclared == Undeclared::WithoutEffect
        {
            warnings.push(format!("recognised, not supported: {key}"));
        } else if def.key(key).is_none()
            && undeclared == Undeclared::Unknown
            && !claimed_by_prefix(def, config, key)
        {
            let known = def.keys().iter().map(|known| known.name.as_str());
            warnings.push(match nearest(key, known) {
                Some(near) => format!("unknown key {key}: did you mean {near}?"),
                None => format!("unknown key {key}: no part of this connector reads it"),
            });
        }
    }
    warnings
}

/// Keys that differ by a letter or two from a key that some part of the connector reads and that is not set.
fn typos(
    def: &ConfigDef,
    connector: &dyn ConnectorPlugin,
    worker: &ConnectConfig,
    config: &ConfigMap,
) -> Vec<(String, String)> {
    let kind = connector.kind();
    let mut known: Vec<String> = overrides::working(kind).map(str::to_owned).collect();
    for key in def.keys() {
        let names = || std::iter::once(&*key.name).chain(key.aliases.iter().copied());
        // A required one that is missing is pointed out as such.
        if !key.required && !names().any(|name| config.contains_key(name)) {
            known.extend(names().map(str::to_owned));
        }
    }
    for (role, default) in [
        ("key.converter", &worker.key_converter),
        ("value.converter", &worker.value_converter),
    ] {
        let kind = ConverterKind::by_name(config.get(role).unwrap_or(default));
        let own = kind.map(ConverterKind::config_def).unwrap_or_default();
        known.extend(own.keys().iter().map(|key| format!("{role}.{}", key.name)));
    }
    known.retain(|name| !config.contains_key(name));
    config
        .keys()
        .filter(|key| def.key(key).is_none() && !keys::UNSUPPORTED.contains(&key.as_str()))
        .filter(|key| connector.undeclared(key) == Undeclared::Unknown)
        .filter(|key| !overrides::working(kind).any(|working| working == *key))
        .filter_map(|key| {
            let near = known.iter().filter(|meant| is_typo(key, meant));
            let meant = near.min_by_key(|meant| strsim::damerau_levenshtein(key, meant))?;
            Some((
                key.clone(),
                format!("Unknown configuration {key}: did you mean {meant}?"),
            ))
        })
        .collect()
}

fn claimed_by_prefix(def: &ConfigDef, config: &ConfigMap, key: &str) -> bool {
    let Some(prefix) = keys::PREFIXES
        .iter()
        .find(|prefix| key.starts_with(*prefix))
    else {
        return false;
    };
    match *prefix {
        "transforms." | "predicates." => {
            let rest = &key[prefix.len()..];
            let Some((name, below)) = rest.split_once('.') else {
                return false;
            };
            let is_listed = listed(config, prefix.trim_end_matches('.'))
                .iter()
                .any(|known| known == name);
            is_listed
                && (below.starts_with("config.")
                    || def.key(&format!("{prefix}{name}.{below}")).is_some()
                    || matches!(below, "whitelist" | "blacklist"))
        }
        "topic.creation." => creation::is_of_a_group(key, &listed(config, "topic.creation.groups")),
        _ => true,
    }
}

/// A required key that is missing while a similar key is unknown: probably that one.
fn point_out_typos(infos: &mut ConfigInfos, config: &ConfigMap) {
    let known: Vec<String> = infos.keys.iter().map(|(key, _)| key.name.clone()).collect();
    for (key, value) in &mut infos.keys {
        if !key.required || value.value.is_some() || value.errors.is_empty() {
            continue;
        }
        let unknown = config
            .keys()
            .map(String::as_str)
            .filter(|given| !known.iter().any(|known| known == given));
        if let Some(near) = nearest(&key.name, unknown) {
            for error in &mut value.errors {
                error.push_str(&format!(
                    " There is an unknown key \"{near}\": did you mean \"{}\"?",
                    key.name
                ));
            }
        }
    }
}
