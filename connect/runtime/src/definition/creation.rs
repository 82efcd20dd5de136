//! How a source makes topics that are not there (KIP-158): by the first group of `topic.creation.groups` that a topic
//! belongs to, else by `topic.creation.default`.

use std::collections::BTreeMap;

use connect_api::{ConfigMap, ConnectError};
use regex::Regex;

use crate::config::ConnectConfig;
use crate::transform::{below, names};

const DEFAULT: &str = "default";

/// What a topic is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    pub(crate) partitions: i32,
    pub(crate) configs: BTreeMap<String, String>,
}

/// The groups in order, and what counts for topics of none.
#[derive(Debug, Clone)]
pub(crate) struct TopicCreation {
    groups: Vec<Group>,
    default: TopicSettings,
}

#[derive(Debug, Clone)]
struct Group {
    include: Vec<Regex>,
    exclude: Vec<Regex>,
    settings: TopicSettings,
}

impl TopicCreation {
    /// Reads the groups of a source's configuration.
    ///
    /// # Errors
    /// [`ConnectError::Config`] with the key at fault.
    pub(super) fn parse(config: &ConfigMap, worker: &ConnectConfig) -> Result<Self, ConnectError> {
        let groups = names(config, "topic.creation.groups");
        let groups = groups.iter().filter(|group| *group != DEFAULT);
        Ok(Self {
            groups: groups
                .map(|group| Group::parse(group, config, worker))
                .collect::<Result<_, _>>()?,
            default: settings(DEFAULT, config, worker)?,
        })
    }

    /// What a topic of this name is made with.
    pub(crate) fn of(&self, topic: &str) -> &TopicSettings {
        let matches = |expressions: &[Regex]| expressions.iter().any(|one| one.is_match(topic));
        self.groups
            .iter()
            .find(|group| matches(&group.include) && !matches(&group.exclude))
            .map_or(&self.default, |group| &group.settings)
    }
}

impl Group {
    fn parse(name: &str, config: &ConfigMap, worker: &ConnectConfig) -> Result<Self, ConnectError> {
        let list = |part: &str| -> Result<Vec<Regex>, ConnectError> {
            let key = format!("topic.creation.{name}.{part}");
            let given = config.get(&key).map(String::as_str).unwrap_or_default();
            given
                .split(',')
                .map(str::trim)
                .filter(|expression| !expression.is_empty())
                .map(|expression| {
                    Regex::new(&format!("^(?:{expression})$")).map_err(|error| {
                        ConnectError::config(&key, format!("Invalid regex: {error}"))
                    })
                })
                .collect()
        };
        let include = list("include")?;
        if include.is_empty() {
            let key = format!("topic.creation.{name}.include");
            let message = format!(
                "Missing required configuration \"{key}\": expressions for the topics of the group"
            );
            return Err(ConnectError::config(key, message));
        }
        Ok(Self {
            include,
            exclude: list("exclude")?,
            settings: settings(name, config, worker)?,
        })
    }
}

/// What a group sets, and in place of partitions that it does not set, those of the default.
fn settings(
    group: &str,
    config: &ConfigMap,
    worker: &ConnectConfig,
) -> Result<TopicSettings, ConnectError> {
    let mut configs = below(config, &format!("topic.creation.{group}."));
    // One node keeps one copy; a cluster's own default is right for more.
    configs.remove("replication.factor");
    configs.remove("include");
    configs.remove("exclude");
    let partitions = match configs.remove("partitions") {
        Some(text) => partitions(&format!("topic.creation.{group}.partitions"), &text, worker)?,
        None => {
            let key = "topic.creation.default.partitions";
            match config.get(key) {
                Some(text) => partitions(key, text, worker)?,
                None => worker.topic_partitions,
            }
        }
    };
    Ok(TopicSettings {
        partitions,
        configs,
    })
}

fn partitions(key: &str, text: &str, worker: &ConnectConfig) -> Result<i32, ConnectError> {
    let wrong = |reason: &str| {
        Err(ConnectError::config(
            key,
            format!("Invalid value {text} for configuration {key}: {reason}"),
        ))
    };
    match text.trim().parse::<i32>() {
        Ok(-1) => Ok(worker.topic_partitions),
        Ok(partitions @ 1..) => Ok(partitions),
        Ok(_) => wrong("Number of partitions must be positive, or -1 to use the broker's default"),
        Err(_) => wrong("Not a number of type INT"),
    }
}

/// Whether a key below `topic.creation.` is one of a group that there is.
pub(super) fn is_of_a_group(key: &str, groups: &[String]) -> bool {
    let group = key
        .strip_prefix("topic.creation.")
        .and_then(|below| below.split_once('.'))
        .map(|(group, _)| group);
    group.is_some_and(|group| group == DEFAULT || groups.iter().any(|known| known == group))
}
