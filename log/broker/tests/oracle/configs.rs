//! Configs: read, replaced, changed key by key.

use log_protocol::api::alter_configs::{self, AlterConfigsRequest};
use log_protocol::api::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use log_protocol::api::incremental_alter_configs::{self, IncrementalAlterConfigsRequest};

use super::talk::Talk;
use super::topics::CONFIGS;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

fn describe(resource_type: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
        }],
        ..DescribeConfigsRequest::default()
    }
}

pub(super) async fn run(talk: &mut Talk) {
    talk.topic(
        "configured",
        1,
        &[("max.message.bytes", "2000"), ("cleanup.policy", "compact")],
    )
    .await;
    described(talk).await;
    changed(talk).await;
    replaced(talk).await;
}

async fn described(talk: &mut Talk) {
    talk.versions("all of a topic", 1..=4, |_| {
        describe(TOPIC, "configured", None)
    })
    .await;
    let synonyms = DescribeConfigsRequest {
        include_synonyms: true,
        ..describe(
            TOPIC,
            "configured",
            Some(&[
                "max.message.bytes",
                "cleanup.policy",
                "retention.ms",
                "segment.bytes",
            ]),
        )
    };
    talk.versions("synonyms", 1..=4, |_| synonyms.clone()).await;
    let of_all = DescribeConfigsRequest {
        include_synonyms: true,
        ..describe(TOPIC, "configured", None)
    };
    talk.one("synonyms of all", 4, of_all).await;
    for (name, keys) in [
        ("no keys", &[] as &[&str]),
        ("a key", &["retention.ms"]),
        ("a key twice", &["retention.ms", "retention.ms"]),
        ("an unknown key", &["no.such.config"]),
        ("an empty key", &[""]),
        ("a key in capitals", &["Retention.ms"]),
    ] {
        talk.versions(name, 1..=4, |_| describe(TOPIC, "configured", Some(keys)))
            .await;
    }
    let keys: &[&str] = &["num.partitions"];
    for (kind, name) in [
        (TOPIC, "nowhere"),
        (TOPIC, ""),
        (TOPIC, "a/b"),
        (BROKER, "1"),
        (BROKER, ""),
        (BROKER, "2"),
        (BROKER, "x"),
        (BROKER, "-1"),
        (8, "1"),
        (8, "2"),
        (8, ""),
        (16, "metrics"),
        (16, ""),
        (GROUP, "g"),
        (GROUP, ""),
        (0, ""),
        (1, "x"),
        (3, "x"),
        (64, "x"),
        (-1, "x"),
        (127, "x"),
    ] {
        let keys = if kind == BROKER {
            keys
        } else {
            &["no.such.config"]
        };
        talk.versions(format!("kind {kind}, name {name:?}"), 1..=4, |_| {
            describe(kind, name, Some(keys))
        })
        .await;
    }
    talk.versions("nothing", 1..=4, |_| DescribeConfigsRequest::default())
        .await;
    let mut twice = describe(TOPIC, "configured", Some(&["retention.ms"]));
    twice.resources.push(twice.resources[0].clone());
    talk.one("a topic twice", 4, twice).await;
    for key in [
        "num.partitions",
        "auto.create.topics.enable",
        "log.retention.ms",
        "message.max.bytes",
        "log.segment.bytes",
        "node.id",
        "broker.id",
        "group.max.size",
        "fetch.max.bytes",
        "offsets.retention.minutes",
        "transaction.max.timeout.ms",
        "connections.max.idle.ms",
        "log.cleanup.policy",
    ] {
        talk.one(
            format!("broker's {key}"),
            4,
            describe(BROKER, "1", Some(&[key])),
        )
        .await;
    }
}

fn change(
    kind: i8,
    name: &str,
    key: &str,
    operation: i8,
    value: Option<&str>,
) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest {
        resources: vec![incremental_alter_configs::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configs: vec![incremental_alter_configs::AlterableConfig {
                name: key.to_owned(),
                config_operation: operation,
                value: value.map(str::to_owned),
            }],
        }],
        validate_only: false,
    }
}

async fn changed(talk: &mut Talk) {
    let names = [
        ("set", 0),
        ("delete", 1),
        ("append", 2),
        ("subtract", 3),
        ("operation 4", 4),
        ("operation -1", -1),
    ];
    for (label, operation) in names {
        for (key, value) in [
            ("retention.ms", Some("5000")),
            ("retention.ms", None),
            ("retention.ms", Some("")),
            ("cleanup.policy", Some("delete")),
            ("cleanup.policy", Some("delete")),
            ("cleanup.policy", Some("none")),
            ("cleanup.policy", None),
            ("no.such.config", Some("1")),
            ("", Some("1")),
        ] {
            let shown = value.unwrap_or("null");
            talk.one(
                format!("{label} {key} {shown}"),
                1,
                change(TOPIC, "configured", key, operation, value),
            )
            .await;
        }
        // What it has come to.
        let keys: &[&str] = &["cleanup.policy", "retention.ms"];
        talk.one(
            format!("after {label}"),
            4,
            describe(TOPIC, "configured", Some(keys)),
        )
        .await;
    }
    for (key, value) in CONFIGS {
        let shown = value.unwrap_or("null");
        let request = IncrementalAlterConfigsRequest {
            validate_only: true,
            ..change(TOPIC, "configured", key, 0, *value)
        };
        talk.one(format!("check {key} = {shown}"), 1, request).await;
    }
    for (kind, name) in [
        (TOPIC, "nowhere"),
        (TOPIC, ""),
        (TOPIC, "__consumer_offsets"),
        (BROKER, "9"),
        (BROKER, "x"),
        (0, ""),
        (1, "x"),
        (3, "x"),
        (64, "x"),
        (-1, "x"),
    ] {
        for version in [0, 1] {
            talk.one(
                format!("change kind {kind}, name {name:?}"),
                version,
                change(kind, name, "retention.ms", 0, Some("5000")),
            )
            .await;
        }
    }
    let mut twice = change(TOPIC, "configured", "retention.ms", 0, Some("5000"));
    let again = twice.resources[0].configs[0].clone();
    twice.resources[0].configs.push(again);
    talk.one("a key twice in one change", 1, twice.clone())
        .await;
    twice.resources[0].configs.pop();
    twice.resources.push(twice.resources[0].clone());
    talk.one("a topic twice in one change", 1, twice).await;
    let mut none = change(TOPIC, "configured", "retention.ms", 0, None);
    none.resources[0].configs.clear();
    talk.one("no keys to change", 1, none.clone()).await;
    none.resources.clear();
    talk.one("nothing to change", 1, none).await;
    let mut half = change(TOPIC, "configured", "segment.ms", 0, Some("7777"));
    half.resources[0].configs.extend(
        change(TOPIC, "", "segment.bytes", 0, Some("1"))
            .resources
            .remove(0)
            .configs,
    );
    talk.one("good beside bad", 1, half).await;
    talk.one(
        "after good beside bad",
        4,
        describe(TOPIC, "configured", Some(&["segment.ms", "segment.bytes"])),
    )
    .await;
}

async fn replaced(talk: &mut Talk) {
    let replace = |kind, name: &str, configs: &[(&str, Option<&str>)]| AlterConfigsRequest {
        resources: vec![alter_configs::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configs: configs
                .iter()
                .map(|(name, value)| alter_configs::AlterableConfig {
                    name: (*name).to_owned(),
                    value: value.map(str::to_owned),
                })
                .collect(),
        }],
        validate_only: false,
    };
    for (label, configs) in [
        ("one", &[("retention.ms", Some("6000"))] as &[_]),
        ("null", &[("retention.ms", None)]),
        ("unknown", &[("no.such.config", Some("1"))]),
        ("bad", &[("retention.ms", Some("x"))]),
        (
            "twice",
            &[("retention.ms", Some("1")), ("retention.ms", Some("2"))],
        ),
        ("nothing", &[]),
    ] {
        talk.versions(format!("replace by {label}"), 0..=2, |_| {
            replace(TOPIC, "configured", configs)
        })
        .await;
        let keys: &[&str] = &["retention.ms", "max.message.bytes"];
        talk.one(
            format!("after replacing by {label}"),
            4,
            describe(TOPIC, "configured", Some(keys)),
        )
        .await;
    }
    for (kind, name) in [
        (TOPIC, "nowhere"),
        (TOPIC, ""),
        (BROKER, "9"),
        (0, ""),
        (3, "x"),
    ] {
        talk.one(
            format!("replace kind {kind}, name {name:?}"),
            2,
            replace(kind, name, &[]),
        )
        .await;
    }
    talk.one("replace nothing", 2, AlterConfigsRequest::default())
        .await;
}
