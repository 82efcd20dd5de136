//! Predicates: which records a step is for.

use connect_api::{ConfigDef, ConfigKey, ConfigMap, ConfigType, ConnectError, Record, Rule};
use regex::Regex;

use super::{APACHE, below, names, regex_router};

/// A kind of predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PredicateKind {
    HasHeaderKey,
    RecordIsTombstone,
    TopicNameMatches,
}

impl PredicateKind {
    pub(crate) const ALL: [Self; 3] = [
        Self::HasHeaderKey,
        Self::RecordIsTombstone,
        Self::TopicNameMatches,
    ];

    pub(crate) fn class(self) -> String {
        format!("{APACHE}predicates.{self:?}")
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| name == kind.class() || name == format!("{kind:?}"))
    }

    /// Its keys, below `predicates.<name>.`.
    pub(crate) fn config_def(self) -> ConfigDef {
        let text = |name: &str, documentation: &str| {
            ConfigDef::new().with(
                ConfigKey::required(name, ConfigType::String, documentation).rule(Rule::NotEmpty),
            )
        };
        match self {
            Self::HasHeaderKey => text("name", "The header name."),
            Self::RecordIsTombstone => ConfigDef::new(),
            Self::TopicNameMatches => text(
                "pattern",
                "A Java regular expression for matching against the name of a record's topic.",
            ),
        }
    }
}

/// A predicate, configured.
pub(crate) enum Predicate {
    HasHeaderKey(String),
    RecordIsTombstone,
    TopicNameMatches(Regex),
}

impl Predicate {
    /// The predicate that a connector's configuration has under this name.
    pub(crate) fn build(name: &str, config: &ConfigMap) -> Result<Self, ConnectError> {
        if !names(config, "predicates")
            .iter()
            .any(|present| present == name)
        {
            return Err(ConnectError::config(
                "predicates",
                format!("{name} is not among them, but a transform uses it"),
            ));
        }
        let prefix = format!("predicates.{name}.");
        let own = below(config, &prefix);
        let given = own.get("type").map(String::as_str).unwrap_or_default();
        let kind = PredicateKind::by_name(given).ok_or_else(|| {
            ConnectError::config(
                format!("{prefix}type"),
                format!("{given} is no known predicate"),
            )
        })?;
        let parsed = kind.config_def().parse(&own)?;
        Ok(match kind {
            PredicateKind::HasHeaderKey => Self::HasHeaderKey(parsed.string("name").to_owned()),
            PredicateKind::RecordIsTombstone => Self::RecordIsTombstone,
            PredicateKind::TopicNameMatches => Self::TopicNameMatches(regex_router::whole(
                &format!("{prefix}pattern"),
                parsed.string("pattern"),
            )?),
        })
    }

    /// Whether it picks this record.
    pub(crate) fn test(&self, record: &Record) -> bool {
        match self {
            Self::HasHeaderKey(name) => record
                .headers
                .iter()
                .any(|header| header.name.as_str() == name),
            Self::RecordIsTombstone => record.value.is_null(),
            Self::TopicNameMatches(whole) => whole.is_match(&record.topic),
        }
    }
}
