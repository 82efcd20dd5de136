//! Topics: made, described, grown, cut, removed.

use log_protocol::api::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use log_protocol::api::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use log_protocol::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use log_protocol::api::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use log_protocol::api::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, TopicName,
};
use log_protocol::api::metadata::{MetadataRequest, MetadataRequestTopic};
use uuid::Uuid;

use super::batch::plain;
use super::produce::to;
use super::talk::Talk;

pub(super) async fn run(talk: &mut Talk) {
    creation(talk).await;
    metadata(talk).await;
    pages(talk).await;
    partitions(talk).await;
    deleted_records(talk).await;
    deletion(talk).await;
}

fn wanted(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions,
        replication_factor,
        ..CreatableTopic::default()
    }
}

fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest {
        topics,
        ..CreateTopicsRequest::default()
    }
}

/// Only looked at: the configs of a topic that is made are compared once, in `configs`.
fn check(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest {
        validate_only: true,
        ..create(topics)
    }
}

async fn creation(talk: &mut Talk) {
    talk.topic("there", 1, &[]).await;
    talk.topic("with.dot", 1, &[]).await;
    let long = "n".repeat(250);
    let limit = "n".repeat(249);
    for (label, name) in [
        ("empty", ""),
        ("a dot", "."),
        ("two dots", ".."),
        ("three dots", "..."),
        ("a slash", "a/b"),
        ("a blank", "a b"),
        ("a letter of others", "ü"),
        ("a null byte", "a\0"),
        ("249 bytes", &limit),
        ("250 bytes", &long),
        ("there already", "there"),
        ("there but for its dot", "with_dot"),
        ("internal", "__consumer_offsets"),
        ("internal, of transactions", "__transaction_state"),
        ("internal, of metadata", "__cluster_metadata"),
    ] {
        for version in [2, 4, 5, 7] {
            talk.one(
                format!("name: {label}"),
                version,
                check(vec![wanted(name, 1, 1)]),
            )
            .await;
        }
    }
    for partitions in [0, -1, -2, i32::MIN, 10_000] {
        for version in [2, 4, 7] {
            talk.one(
                format!("{partitions} partitions"),
                version,
                check(vec![wanted("new", partitions, 1)]),
            )
            .await;
        }
    }
    for replicas in [0, -1, -2, 2, i16::MAX] {
        for version in [2, 4, 7] {
            talk.one(
                format!("{replicas} replicas"),
                version,
                check(vec![wanted("new", 1, replicas)]),
            )
            .await;
        }
    }
    talk.one(
        "default partitions and replicas",
        7,
        check(vec![wanted("new", -1, -1)]),
    )
    .await;
    talk.one("no topics", 7, check(Vec::new())).await;
    talk.one(
        "twice",
        7,
        check(vec![
            wanted("new", 1, 1),
            wanted("new", 1, 1),
            wanted("newer", 1, 1),
        ]),
    )
    .await;
    talk.one(
        "twice, otherwise",
        7,
        check(vec![wanted("new", 1, 1), wanted("new", 2, 1)]),
    )
    .await;
    talk.one(
        "good beside bad",
        7,
        check(vec![
            wanted("new", 1, 1),
            wanted("", 1, 1),
            wanted("there", 1, 1),
        ]),
    )
    .await;
    for timeout_ms in [0, -1] {
        let request = CreateTopicsRequest {
            timeout_ms,
            ..check(vec![wanted("new", 1, 1)])
        };
        talk.one(format!("timeout {timeout_ms}"), 7, request).await;
    }
    let assigned = |partitions: &[(i32, &[i32])], count, replicas| CreatableTopic {
        assignments: partitions
            .iter()
            .map(|(partition_index, brokers)| CreatableReplicaAssignment {
                partition_index: *partition_index,
                broker_ids: brokers.to_vec(),
            })
            .collect(),
        ..wanted("new", count, replicas)
    };
    for (name, topic) in [
        ("here", assigned(&[(0, &[1]), (1, &[1])], -1, -1)),
        ("and a count", assigned(&[(0, &[1])], 1, -1)),
        ("and replicas", assigned(&[(0, &[1])], -1, 1)),
        ("elsewhere", assigned(&[(0, &[7])], -1, -1)),
        ("twice here", assigned(&[(0, &[1, 1])], -1, -1)),
        ("nowhere", assigned(&[(0, &[])], -1, -1)),
        ("with a gap", assigned(&[(0, &[1]), (2, &[1])], -1, -1)),
        ("from 1 on", assigned(&[(1, &[1])], -1, -1)),
        (
            "of one partition twice",
            assigned(&[(0, &[1]), (0, &[1])], -1, -1),
        ),
        ("of partition -1", assigned(&[(-1, &[1])], -1, -1)),
        ("to broker -1", assigned(&[(0, &[-1])], -1, -1)),
    ] {
        talk.one(format!("assigned {name}"), 7, check(vec![topic]))
            .await;
    }
    let configured = |name: &str, value: Option<&str>| CreatableTopic {
        configs: vec![CreatableTopicConfig {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        }],
        ..wanted("new", 1, 1)
    };
    for (name, value) in CONFIGS {
        let shown = value.unwrap_or("null");
        talk.one(
            format!("config {name} = {shown}"),
            7,
            check(vec![configured(name, *value)]),
        )
        .await;
    }
    let mut twice = configured("retention.ms", Some("1000"));
    twice.configs.push(CreatableTopicConfig {
        name: "retention.ms".to_owned(),
        value: Some("2000".to_owned()),
    });
    talk.one("a config twice", 7, check(vec![twice])).await;
}

/// Configs and values of a topic, some of which can be.
pub(super) const CONFIGS: &[(&str, Option<&str>)] = &[
    ("", Some("1")),
    ("no.such.config", Some("1")),
    ("retention.ms", None),
    ("retention.ms", Some("")),
    ("retention.ms", Some("-1")),
    ("retention.ms", Some("-2")),
    ("retention.ms", Some("abc")),
    ("retention.ms", Some(" 7 ")),
    ("retention.ms", Some("1.5")),
    ("retention.ms", Some("9223372036854775808")),
    ("retention.bytes", Some("-2")),
    ("retention.bytes", Some("0")),
    ("cleanup.policy", Some("")),
    ("cleanup.policy", Some("delete,compact")),
    ("cleanup.policy", Some("delete, compact")),
    ("cleanup.policy", Some("delete,delete")),
    ("cleanup.policy", Some("Delete")),
    ("cleanup.policy", Some("none")),
    ("compression.type", Some("lz4")),
    ("compression.type", Some("LZ4")),
    ("compression.type", Some("none")),
    ("compression.type", Some("uncompressed")),
    ("compression.gzip.level", Some("10")),
    ("compression.gzip.level", Some("-1")),
    ("compression.zstd.level", Some("23")),
    ("compression.lz4.level", Some("0")),
    ("segment.bytes", Some("1")),
    ("segment.bytes", Some("1048575")),
    ("segment.bytes", Some("1048576")),
    ("segment.bytes", Some("2147483648")),
    ("segment.ms", Some("0")),
    ("segment.jitter.ms", Some("-1")),
    ("max.message.bytes", Some("-1")),
    ("max.message.bytes", Some("0")),
    ("min.insync.replicas", Some("0")),
    ("min.insync.replicas", Some("2")),
    ("min.cleanable.dirty.ratio", Some("1.5")),
    ("min.cleanable.dirty.ratio", Some("0")),
    ("min.compaction.lag.ms", Some("-1")),
    ("max.compaction.lag.ms", Some("0")),
    ("min.compaction.lag.ms", Some("9223372036854775807")),
    ("delete.retention.ms", Some("-1")),
    ("flush.messages", Some("0")),
    ("flush.ms", Some("-1")),
    ("index.interval.bytes", Some("-1")),
    ("segment.index.bytes", Some("3")),
    ("message.timestamp.type", Some("logappendtime")),
    ("message.timestamp.before.max.ms", Some("-1")),
    ("message.timestamp.after.max.ms", Some("-1")),
    ("message.timestamp.difference.max.ms", Some("1")),
    ("message.downconversion.enable", Some("true")),
    ("message.format.version", Some("3.0")),
    ("preallocate", Some("yes")),
    ("preallocate", Some("TRUE")),
    ("unclean.leader.election.enable", Some("true")),
    ("leader.replication.throttled.replicas", Some("*")),
    ("leader.replication.throttled.replicas", Some("0:1")),
    ("leader.replication.throttled.replicas", Some("x")),
    ("remote.storage.enable", Some("true")),
    ("local.retention.ms", Some("-3")),
    ("file.delete.delay.ms", Some("0")),
];

async fn metadata(talk: &mut Talk) {
    let id = talk.topic("m", 2, &[]).await;
    let topic = |name: Option<&str>, topic_id| MetadataRequestTopic {
        topic_id,
        name: name.map(str::to_owned),
    };
    let ask = |topics: Vec<MetadataRequestTopic>| MetadataRequest {
        topics: Some(topics),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    let nil = Uuid::nil();
    talk.versions("metadata", 1..=13, |_| ask(vec![topic(Some("m"), nil)]))
        .await;
    talk.versions("metadata of none", 1..=13, |_| ask(Vec::new()))
        .await;
    let long = "n".repeat(250);
    for name in ["nowhere", "", "a/b", "..", "with_dot", &long] {
        let label = if name.len() > 200 { "long" } else { name };
        talk.versions(format!("metadata of {label:?}"), 4..=13, |_| {
            ask(vec![topic(Some(name), nil)])
        })
        .await;
    }
    talk.versions("metadata by id", 10..=13, |_| ask(vec![topic(None, id)]))
        .await;
    talk.versions("metadata by an unknown id", 10..=13, |_| {
        ask(vec![topic(None, Uuid::from_u128(9))])
    })
    .await;
    talk.versions("metadata by no id and no name", 10..=13, |_| {
        ask(vec![topic(None, nil)])
    })
    .await;
    talk.versions("metadata by id and name", 10..=13, |_| {
        ask(vec![topic(Some("m"), id)])
    })
    .await;
    talk.versions("metadata by id and another name", 10..=13, |_| {
        ask(vec![topic(Some("there"), id)])
    })
    .await;
    talk.versions("metadata, no name", 4..=9, |_| ask(vec![topic(None, nil)]))
        .await;
    talk.versions("metadata twice", 4..=13, |_| {
        ask(vec![topic(Some("m"), nil), topic(Some("m"), nil)])
    })
    .await;
    talk.one(
        "metadata by id twice",
        12,
        ask(vec![topic(None, id), topic(None, id)]),
    )
    .await;
    talk.one(
        "metadata by name and by id",
        12,
        ask(vec![topic(None, id), topic(Some("m"), nil)]),
    )
    .await;
    let operations = |_| MetadataRequest {
        include_cluster_authorized_operations: true,
        include_topic_authorized_operations: true,
        ..ask(vec![topic(Some("m"), nil), topic(Some("nowhere"), nil)])
    };
    talk.versions("metadata with operations", 8..=13, operations)
        .await;
    for name in ["made.by.asking", "a b"] {
        let asked = MetadataRequest {
            allow_auto_topic_creation: true,
            ..ask(vec![topic(Some(name), nil)])
        };
        talk.quiet(9, asked).await;
    }
    talk.await_topic("made.by.asking", 1).await;
    talk.one(
        "metadata of what was made by asking",
        9,
        ask(vec![topic(Some("made.by.asking"), nil)]),
    )
    .await;
}

async fn pages(talk: &mut Talk) {
    for name in ["page-a", "page-b", "page-c"] {
        talk.topic(name, 3, &[]).await;
    }
    let page = |names: &[&str], response_partition_limit, cursor: Option<(&str, i32)>| {
        DescribeTopicPartitionsRequest {
            topics: names
                .iter()
                .map(|name| TopicName {
                    name: (*name).to_owned(),
                })
                .collect(),
            response_partition_limit,
            cursor: cursor.map(|(topic, partition_index)| Cursor {
                topic_name: topic.to_owned(),
                partition_index,
            }),
        }
    };
    let all = &["page-c", "page-a", "page-b"];
    for limit in [2000, 4, 3, 1, 0, -1, i32::MAX] {
        talk.one(format!("pages of {limit}"), 0, page(all, limit, None))
            .await;
    }
    for cursor in [
        ("page-a", 1),
        ("page-a", 3),
        ("page-a", -1),
        ("page-b", 0),
        ("page-b", 9),
        ("page-bb", 1),
        ("page-d", 0),
        ("", 0),
        ("page-c", 2),
    ] {
        talk.one(
            format!("pages from {cursor:?}"),
            0,
            page(all, 4, Some(cursor)),
        )
        .await;
    }
    talk.one(
        "pages of a topic twice",
        0,
        page(&["page-a", "page-a"], 10, None),
    )
    .await;
    talk.one(
        "pages of nowhere",
        0,
        page(&["nowhere", "page-a", "a/b", ""], 10, None),
    )
    .await;
    for name in ["a/b", "", ".", &"n".repeat(300)] {
        let label = name.get(..4).unwrap_or(name);
        talk.one(format!("pages of {label:?}"), 0, page(&[name], 10, None))
            .await;
    }
    talk.one(
        "pages of nowhere, from there",
        0,
        page(&["nowhere"], 10, Some(("nowhere", 0))),
    )
    .await;
}

async fn partitions(talk: &mut Talk) {
    talk.topic("grows", 2, &[]).await;
    let grow = |name: &str, count, assignments: Option<Vec<Vec<i32>>>| CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: name.to_owned(),
            count,
            assignments: assignments.map(|all| {
                let all = all.into_iter();
                all.map(|broker_ids| CreatePartitionsAssignment { broker_ids })
                    .collect()
            }),
        }],
        timeout_ms: 5000,
        validate_only: true,
    };
    for count in [0, -1, 1, 2, 3, i32::MAX] {
        talk.versions(format!("grow to {count}"), 0..=3, |_| {
            grow("grows", count, None)
        })
        .await;
    }
    for name in ["nowhere", "", "a/b", "__consumer_offsets"] {
        talk.one(format!("grow {name:?}"), 3, grow(name, 60, None))
            .await;
    }
    for (name, assignments) in [
        ("here", vec![vec![1]]),
        ("elsewhere", vec![vec![9]]),
        ("to nobody", vec![vec![]]),
        ("twice here", vec![vec![1, 1]]),
        ("too many", vec![vec![1], vec![1]]),
        ("none", vec![]),
    ] {
        talk.one(
            format!("grow, assigned {name}"),
            3,
            grow("grows", 3, Some(assignments)),
        )
        .await;
    }
    let mut twice = grow("grows", 3, None);
    twice.topics.push(twice.topics[0].clone());
    talk.one("grow twice", 3, twice).await;
    talk.one("grow nothing", 3, CreatePartitionsRequest::default())
        .await;
    for timeout_ms in [0, -1] {
        let request = CreatePartitionsRequest {
            timeout_ms,
            ..grow("grows", 3, None)
        };
        talk.one(format!("grow in {timeout_ms} ms"), 3, request)
            .await;
    }
    let done = CreatePartitionsRequest {
        validate_only: false,
        ..grow("grows", 3, None)
    };
    talk.one("grow indeed", 3, done.clone()).await;
    talk.await_topic("grows", 3).await;
    talk.one("grow again", 3, done).await;
}

async fn deleted_records(talk: &mut Talk) {
    let id = talk.topic("cut", 2, &[]).await;
    talk.topic("cut-compacted", 1, &[("cleanup.policy", "compact")])
        .await;
    for _ in 0..3 {
        talk.quiet(9, to("cut", id, 0, Some(plain()))).await;
    }
    let cut = |topic: &str, partition_index, offset| DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: topic.to_owned(),
            partitions: vec![DeleteRecordsPartition {
                partition_index,
                offset,
            }],
        }],
        timeout_ms: 5000,
    };
    for offset in [-2, i64::MIN, 7, i64::MAX, 0, 3, 2, 6] {
        talk.versions(format!("cut at {offset}"), 0..=2, |_| cut("cut", 0, offset))
            .await;
    }
    for offset in [-1, 0, 1] {
        talk.one(
            format!("cut an empty partition at {offset}"),
            2,
            cut("cut", 1, offset),
        )
        .await;
    }
    talk.one("cut all", 2, cut("cut", 0, -1)).await;
    for partition in [2, -1] {
        talk.one(
            format!("cut partition {partition}"),
            2,
            cut("cut", partition, 0),
        )
        .await;
    }
    for name in ["nowhere", "", "cut-compacted", "__consumer_offsets"] {
        talk.one(format!("cut {name:?}"), 2, cut(name, 0, 0)).await;
    }
    let mut twice = cut("cut", 0, 1);
    twice.topics[0].partitions.push(DeleteRecordsPartition {
        partition_index: 0,
        offset: 2,
    });
    talk.one("cut twice", 2, twice).await;
    talk.one("cut nothing", 2, DeleteRecordsRequest::default())
        .await;
    let timeless = DeleteRecordsRequest {
        timeout_ms: -1,
        ..cut("cut", 0, 6)
    };
    talk.one("cut without time", 2, timeless).await;
}

async fn deletion(talk: &mut Talk) {
    let by_name = |names: &[&str]| DeleteTopicsRequest {
        topic_names: names.iter().map(|name| (*name).to_owned()).collect(),
        topics: names
            .iter()
            .map(|name| DeleteTopicState {
                name: Some((*name).to_owned()),
                topic_id: Uuid::nil(),
            })
            .collect(),
        timeout_ms: 5000,
    };
    let by = |name: Option<&str>, topic_id| DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: name.map(str::to_owned),
            topic_id,
        }],
        timeout_ms: 5000,
        ..DeleteTopicsRequest::default()
    };
    for name in ["nowhere", "", "a/b", ".."] {
        talk.versions(format!("delete {name:?}"), 1..=6, |_| by_name(&[name]))
            .await;
    }
    talk.versions("delete none", 1..=6, |_| by_name(&[])).await;
    let id = talk.topic("doomed", 1, &[]).await;
    let other = talk.topic("spared", 1, &[]).await;
    talk.one("delete by no id and no name", 6, by(None, Uuid::nil()))
        .await;
    talk.one("delete by an unknown id", 6, by(None, Uuid::from_u128(9)))
        .await;
    talk.one("delete by id and name", 6, by(Some("spared"), other))
        .await;
    talk.one(
        "delete by an unknown name and id",
        6,
        by(Some("nowhere"), id),
    )
    .await;
    talk.versions("delete twice", 1..=6, |_| by_name(&["spared", "spared"]))
        .await;
    for timeout_ms in [0, -1] {
        let request = DeleteTopicsRequest {
            timeout_ms,
            ..by_name(&["spared"])
        };
        talk.one(format!("delete in {timeout_ms} ms"), 6, request)
            .await;
    }
    let mut both = by(None, other);
    both.topics.push(DeleteTopicState {
        name: Some("spared".to_owned()),
        topic_id: Uuid::nil(),
    });
    talk.one("delete by name and by id", 6, both).await;
    talk.one("delete by id", 6, by(None, id)).await;
    talk.one("delete by id again", 6, by(None, id)).await;
    talk.topic("doomed-too", 1, &[]).await;
    talk.one(
        "delete beside nowhere",
        5,
        by_name(&["doomed-too", "nowhere"]),
    )
    .await;
}
