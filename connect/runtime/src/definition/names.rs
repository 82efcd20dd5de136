//! Names of topics that a configuration gives: what Kafka allows, and no topic that the system keeps for itself as a
//! target.

use connect_api::{ConfigMap, ConnectorKind};

use crate::config::ConnectConfig;

/// Letters of a topic's name.
const TOPIC_LETTERS_MAX: usize = 249;

const DEAD_LETTERS: &str = "errors.deadletterqueue.topic.name";

/// What is wrong with the topics that a connector reads or writes, by key.
pub(super) fn issues(
    kind: ConnectorKind,
    worker: &ConnectConfig,
    config: &ConfigMap,
) -> Vec<(String, String)> {
    let topic = match kind {
        ConnectorKind::Source => "topic",
        ConnectorKind::Sink => "topics",
    };
    let mut issues = Vec::new();
    for key in [topic, DEAD_LETTERS] {
        let is_target = key != "topics";
        let names = config.get(key).map(String::as_str).unwrap_or_default();
        for name in names.split(',').map(str::trim) {
            // Whether one is needed is for others to say.
            let issue = match name {
                "" => None,
                _ if is_target => target_issue(name, worker),
                _ => name_issue(name),
            };
            if let Some(issue) = issue {
                let message = format!("Invalid value {name} for configuration {key}: {issue}");
                issues.push((key.to_owned(), message));
            }
        }
    }
    issues
}

/// Why records of a connector cannot go to a topic of this name, wherever the name comes from.
pub(crate) fn target_issue(name: &str, worker: &ConnectConfig) -> Option<&'static str> {
    match name {
        "" => Some("the name is empty"),
        _ if is_internal(name, worker) => Some("the system keeps this topic for itself"),
        _ => name_issue(name),
    }
}

/// Kafka's own; other names with two underscores are a connector's to use, as Debezium's `__debezium-heartbeat.…` are.
const KAFKAS_OWN: [&str; 4] = [
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
    "__cluster_metadata",
];

fn is_internal(name: &str, worker: &ConnectConfig) -> bool {
    KAFKAS_OWN.contains(&name)
        || name.starts_with("_thalweg.")
        || [
            &worker.config_topic,
            &worker.offset_topic,
            &worker.status_topic,
        ]
        .iter()
        .any(|own| *own == name)
}

fn name_issue(name: &str) -> Option<&'static str> {
    let allowed =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    if matches!(name, "." | "..") {
        Some("a topic cannot be named . or ..")
    } else if name.len() > TOPIC_LETTERS_MAX {
        Some("a topic's name has at most 249 letters")
    } else if !name.chars().all(allowed) {
        Some("a topic's name has only ASCII letters, digits and . _ -")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_systems_own_topics_are_closed_to_connectors() {
        let worker = ConnectConfig::default();
        for name in [
            "__consumer_offsets",
            "__transaction_state",
            "_thalweg.catalog",
            "connect-offsets",
        ] {
            assert!(target_issue(name, &worker).is_some(), "{name}");
        }
        for name in ["__debezium-heartbeat.shop", "orders", "connect"] {
            assert_eq!(target_issue(name, &worker), None, "{name}");
        }
    }
}
