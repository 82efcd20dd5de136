//! Validation of whole configurations.

use std::sync::Arc;

use async_trait::async_trait;
use connect_api::{
    ConfigDef, ConfigKey, ConfigMap, ConfigType, ConnectError, ConnectorKind, ConnectorPlugin,
    SourceOffsets, Task, Undeclared,
};
use connect_sandbox::{Sandbox, SandboxConfig};

use super::*;
use crate::config::ConnectConfig;

struct Lines(ConnectorKind);

#[async_trait]
impl ConnectorPlugin for Lines {
    fn class(&self) -> &'static str {
        match self.0 {
            ConnectorKind::Source => "org.example.LinesSourceConnector",
            ConnectorKind::Sink => "org.example.LinesSinkConnector",
        }
    }

    fn aliases(&self) -> &'static [&'static str] {
        match self.0 {
            ConnectorKind::Source => &["LinesSource"],
            ConnectorKind::Sink => &["LinesSink"],
        }
    }

    fn kind(&self) -> ConnectorKind {
        self.0
    }

    fn config_def(&self) -> ConfigDef {
        ConfigDef::new()
            .with(ConfigKey::required("file", ConfigType::String, "File."))
            .with(ConfigKey::optional(
                "secret",
                ConfigType::Password,
                None,
                "Secret.",
            ))
            .with(ConfigKey::optional(
                "connection.url",
                ConfigType::String,
                None,
                "URL.",
            ))
    }

    fn undeclared(&self, key: &str) -> Undeclared {
        match key {
            "errors.tolerances" => Undeclared::WithoutEffect,
            "errors.tolerance.x" => Undeclared::Read,
            _ => Undeclared::Unknown,
        }
    }

    fn task_configs(&self, config: &ConfigMap, _: u32) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![config.clone()])
    }

    fn task(&self) -> Task {
        unreachable!("validation starts no task")
    }
}

fn plugins() -> Plugins {
    let sandbox = Arc::new(Sandbox::new(SandboxConfig::default()).unwrap());
    Plugins::new(
        vec![
            Arc::new(Lines(ConnectorKind::Source)),
            Arc::new(Lines(ConnectorKind::Sink)),
        ],
        sandbox,
    )
}

async fn checked(entries: &[(&str, &str)]) -> Result<ConfigInfos, Invalid> {
    let config = entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    validate(
        &plugins(),
        &ConnectConfig::default(),
        &config,
        &SourceOffsets::default(),
    )
    .await
}

const GOOD: [(&str, &str); 3] = [
    ("name", "a"),
    ("connector.class", "LinesSource"),
    ("file", "x"),
];

async fn refusal(more: &[(&str, &str)]) -> String {
    let infos = checked(&[&GOOD[..], more].concat()).await.unwrap();
    infos
        .refusal()
        .unwrap_or_default()
        .lines()
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_password_in_a_url_is_not_told() {
    let url = ("connection.url", "postgresql://me:s3cret@h/db?password=t0p");
    let infos = checked(&[&GOOD[..], &[url]].concat()).await.unwrap();
    let told = infos.to_json().to_string();
    assert!(
        told.contains("postgresql://me:********@h/db?password=********"),
        "{told}"
    );
    assert!(!told.contains("s3cret") && !told.contains("t0p"), "{told}");
}

#[tokio::test]
async fn wrong_values_are_refused_in_kafkas_words() {
    assert_eq!(refusal(&[]).await, "");
    assert_eq!(
        refusal(&[("tasks.max", "x")]).await,
        "Invalid value x for configuration tasks.max: Not a number of type INT"
    );
    assert_eq!(
        refusal(&[("errors.tolerance", "some")]).await,
        "Invalid value some for configuration errors.tolerance: String must be one of: none, all"
    );
    assert!(
        refusal(&[("value.converter", "JsonConvertor")])
            .await
            .ends_with(
                "could not be found; did you mean org.apache.kafka.connect.json.JsonConverter?"
            )
    );
    assert_eq!(
        refusal(&[
            ("value.converter", "JsonConverter"),
            ("value.converter.schemas.enable", "1")
        ])
        .await,
        "Invalid value 1 for configuration schemas.enable: Expected value to be either true or false"
    );
    assert!(
        refusal(&[("transforms", "a")])
            .await
            .starts_with("Missing required configuration \"transforms.a.type\"")
    );
    assert!(
        refusal(&[
            ("transforms", "a"),
            ("transforms.a.type", "InsertFeild$Value")
        ])
        .await
        .ends_with("did you mean org.apache.kafka.connect.transforms.InsertField$Value?")
    );
    assert!(
        refusal(&[("topic.creation.default.partitions", "0")])
            .await
            .contains("Number of partitions must be positive")
    );
    assert!(
        refusal(&[
            ("transforms", "w"),
            ("transforms.w.type", "wasm"),
            ("transforms.w.module", "/nowhere.wasm")
        ])
        .await
        .contains("cannot read /nowhere.wasm")
    );
}

#[tokio::test]
async fn sinks_need_topics() {
    let sink = [
        ("name", "a"),
        ("connector.class", "LinesSink"),
        ("file", "x"),
    ];
    for (more, message) in [
        (&[][..], "Must configure one of topics or topics.regex"),
        (
            &[("topics", "a"), ("topics.regex", "b")][..],
            "topics and topics.regex are mutually exclusive options, but both are set.",
        ),
        (
            &[
                ("topics", "a,b"),
                ("errors.deadletterqueue.topic.name", "b"),
            ][..],
            "Invalid value b for configuration errors.deadletterqueue.topic.name: The DLQ topic 'b' may not be included in the list of topics ('topics=a,b') consumed by the connector",
        ),
    ] {
        let refusal = checked(&[&sink[..], more].concat())
            .await
            .unwrap()
            .refusal()
            .unwrap();
        assert_eq!(refusal.lines().nth(1), Some(message));
    }
}

#[tokio::test]
async fn unknown_keys_are_warnings_with_the_nearest_name() {
    let infos = checked(
        &[
            &GOOD[..],
            &[
                ("tasks.maximum", "1"),
                ("zzz", "1"),
                ("offsets.storage.topic", "t"),
                ("secret", "s3"),
                // Near "errors.tolerance", and the connector knows them.
                ("errors.tolerances", "x"),
                ("errors.tolerance.x", "x"),
            ],
        ]
        .concat(),
    )
    .await
    .unwrap();
    assert!(infos.refusal().is_none());
    assert_eq!(
        infos.warnings,
        [
            "recognised, not supported: errors.tolerances",
            "recognised, not supported: offsets.storage.topic",
            "unknown key tasks.maximum: did you mean tasks.max?",
            "unknown key zzz: no part of this connector reads it",
        ]
    );
    let json = infos.to_json();
    assert_eq!(json["error_count"], 0);
    assert!(!json.to_string().contains("s3"), "secrets are never shown");
    assert!(
        json["groups"]
            .as_array()
            .unwrap()
            .contains(&"Error Handling".into())
    );
}

#[tokio::test]
async fn a_misspelt_required_key_is_pointed_out() {
    let infos = checked(&[
        ("name", "a"),
        ("connector.class", "LinesSource"),
        ("flie", "x"),
    ])
    .await
    .unwrap();
    assert_eq!(
        infos.refusal().unwrap().lines().nth(1),
        Some(
            "Missing required configuration \"file\" which has no default value. There is an unknown key \"flie\": \
             did you mean \"file\"?"
        )
    );
    assert!(matches!(
        checked(&[("name", "a")]).await,
        Err(Invalid::NoClass(_))
    ));
    let error = checked(&[("connector.class", "LineSource")])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("(did you mean LinesSource?)"), "{error}");
    // Neither a sink for a source, nor another system's connector because its package is alike.
    for class in [
        "org.example.LinesSourceConnectorr",
        "org.example.LineSourceConnector",
    ] {
        let error = checked(&[("connector.class", class)])
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("(did you mean org.example.LinesSourceConnector?)"),
            "{error}"
        );
    }
    for class in [
        "org.example.S3SinkConnector",
        "org.example.TablesSourceConnector",
    ] {
        let error = checked(&[("connector.class", class)])
            .await
            .unwrap_err()
            .to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }
}

#[tokio::test]
async fn typing_errors_of_keys_are_refused() {
    for (key, value, meant) in [
        ("task.max", "1", "tasks.max"),
        ("secert", "s", "secret"),
        ("error.tolerance", "all", "errors.tolerance"),
        (
            "value.converter.schema.enable",
            "false",
            "value.converter.schemas.enable",
        ),
    ] {
        assert_eq!(
            refusal(&[(key, value)]).await,
            format!("Unknown configuration {key}: did you mean {meant}?")
        );
    }
    // What is set already cannot have been meant.
    assert_eq!(refusal(&[("tasks.max", "1"), ("task.max", "1")]).await, "");
    let step = [
        ("transforms", "a"),
        ("transforms.a.type", "InsertField$Value"),
        ("transforms.a.static.field", "f"),
        ("transforms.a.static.valeu", "v"),
    ];
    assert!(
        refusal(&step)
            .await
            .contains("did you mean transforms.a.static.value?")
    );
}

#[tokio::test]
async fn topics_are_topics_and_no_internal_one_is_a_target() {
    for (topic, issue) in [
        ("a b", "only ASCII letters, digits and . _ -"),
        ("..", "cannot be named . or .."),
        ("connect-configs", "the system keeps this topic for itself"),
        (
            "__consumer_offsets",
            "the system keeps this topic for itself",
        ),
        ("_thalweg.catalog", "the system keeps this topic for itself"),
    ] {
        let text = refusal(&[("topic", topic)]).await;
        assert!(text.contains(issue), "{text}");
    }
    let long = "x".repeat(250);
    assert!(
        refusal(&[("topic", &long)])
            .await
            .contains("at most 249 letters")
    );
    let dead = refusal(&[("errors.deadletterqueue.topic.name", "connect-offsets")]).await;
    assert!(dead.contains("for itself"), "{dead}");
}

#[tokio::test]
async fn a_transform_of_a_sink_has_no_outputs() {
    let infos = checked(&[
        ("name", "a"),
        ("connector.class", "LinesSink"),
        ("file", "x"),
        ("topics", "t"),
        ("transforms", "w"),
        ("transforms.w.type", "wasm"),
        ("transforms.w.module", "/nowhere.wasm"),
        ("transforms.w.outputs", "side"),
    ])
    .await
    .unwrap();
    assert!(
        infos
            .refusal()
            .unwrap()
            .contains("a sink writes to its target")
    );
}

#[test]
fn urls_in_errors_have_no_password() {
    for (value, shown) in [
        (
            "postgresql://u:p@ss@host/db?x=1",
            "postgresql://host/db?x=1",
        ),
        (
            "jdbc:postgresql://h/db?user=u&password=p",
            "jdbc:postgresql://h/db?user=u",
        ),
        ("postgresql://u:p/s?s@host/db", "postgresql://host/db"),
        ("/a/file@home", "/a/file@home"),
    ] {
        assert_eq!(super::validate::without_password(value), shown);
    }
}

#[tokio::test]
async fn keys_of_clients_work_or_are_warned_of() {
    let sink = [
        ("name", "a"),
        ("connector.class", "LinesSink"),
        ("file", "x"),
        ("topics", "t"),
    ];
    let more = [
        ("consumer.override.auto.offset.reset", "latest"),
        ("consumer.override.max.poll.records", "5"),
        ("admin.override.client.id", "c"),
        ("producer.override.compression.type", "lz4"),
    ];
    let infos = checked(&[&sink[..], &more].concat()).await.unwrap();
    assert_eq!(infos.refusal(), None);
    assert_eq!(
        infos.warnings,
        [
            "recognised, not supported: admin.override.client.id",
            "recognised, not supported: consumer.override.max.poll.records",
            "recognised, not supported: producer.override.compression.type",
        ]
    );
    for (key, value, issue) in [
        (
            "consumer.override.auto.offset.reset",
            "newest",
            "must be one of: earliest, latest, none",
        ),
        (
            "consumer.override.isolation.level",
            "none",
            "must be one of: read_committed",
        ),
        (
            "consumer.override.auto.ofset.reset",
            "latest",
            "did you mean consumer.override.auto.offset.reset?",
        ),
        (
            "header.converter",
            "JsonConvertor",
            "did you mean org.apache.kafka.connect.json.JsonConverter?",
        ),
    ] {
        let refusal = checked(&[&sink[..], &[(key, value)]].concat())
            .await
            .unwrap()
            .refusal();
        assert!(
            refusal.as_deref().unwrap_or_default().contains(issue),
            "{refusal:?}"
        );
    }
}

#[tokio::test]
async fn placeholders_are_looked_up_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("number"), "s3cr3t-number").unwrap();
    let place = format!("${{dir:{}:number}}", folder.path().display());
    let infos = checked(&[&GOOD[..], &[("tasks.max", &place)]].concat())
        .await
        .unwrap();
    let shown = infos.to_json().to_string() + &infos.refusal().unwrap();
    assert!(!shown.contains("s3cr3t"), "{shown}");
    assert!(
        infos.refusal().unwrap().contains(&format!(
            "Invalid value {place} for configuration tasks.max"
        )),
        "{shown}"
    );
    let missing = refusal(&[("secret", "${env:THALWEG_HAS_NO_SUCH_NAME}")]).await;
    assert!(
        missing.contains("no text variable THALWEG_HAS_NO_SUCH_NAME"),
        "{missing}"
    );
    std::fs::write(folder.path().join("number"), "3").unwrap();
    assert_eq!(refusal(&[("tasks.max", &place)]).await, "");
}

#[test]
fn topics_are_made_by_the_first_group_that_they_belong_to() {
    let parse = |entries: &[(&str, &str)]| {
        let config = entries
            .iter()
            .map(|(key, value)| (format!("topic.creation.{key}"), (*value).to_owned()))
            .collect();
        TopicCreation::parse(&config, &ConnectConfig::default())
    };
    let creation = parse(&[
        ("groups", "large, compacted"),
        ("default.partitions", "2"),
        ("default.retention.ms", "5"),
        ("large.include", "big.*,huge"),
        ("large.exclude", "big-not"),
        ("large.partitions", "9"),
        ("large.replication.factor", "3"),
        ("compacted.include", ".*-table,big-not"),
        ("compacted.cleanup.policy", "compact"),
    ])
    .unwrap();
    let made = |topic: &str| {
        let settings = creation.of(topic);
        let configs: Vec<String> = settings
            .configs
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        format!("{} {}", settings.partitions, configs.join(" "))
    };
    assert_eq!(made("big-table"), "9 ");
    assert_eq!(made("huge"), "9 ");
    assert_eq!(made("big-not"), "2 cleanup.policy=compact");
    assert_eq!(made("a-table"), "2 cleanup.policy=compact");
    assert_eq!(made("hugely"), "2 retention.ms=5");
    for (entries, key) in [
        (&[("groups", "g")][..], "topic.creation.g.include"),
        (
            &[("groups", "g"), ("g.include", "(")],
            "topic.creation.g.include",
        ),
        (
            &[("groups", "g"), ("g.include", "x"), ("g.partitions", "0")],
            "topic.creation.g.partitions",
        ),
    ] {
        let error = parse(entries).unwrap_err();
        assert!(
            matches!(&error, ConnectError::Config { key: named, .. } if named == key),
            "{error}"
        );
    }
}

#[tokio::test]
async fn keys_of_groups_that_are_not_listed_are_warned_of() {
    let keys = [
        ("topic.creation.groups", "g"),
        ("topic.creation.g.include", "x"),
        ("topic.creation.default.partitions", "1"),
        ("topic.creation.other.partitions", "1"),
    ];
    let infos = checked(&[&GOOD[..], &keys].concat()).await.unwrap();
    assert_eq!(infos.refusal(), None);
    assert_eq!(infos.warnings.len(), 1, "{:?}", infos.warnings);
    assert!(infos.warnings[0].contains("topic.creation.other.partitions"));
}
