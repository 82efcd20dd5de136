//! Offsets of groups: committed, fetched, deleted, by clients that are in no group.

use log_protocol::Response;
use log_protocol::api::delete_groups::DeleteGroupsRequest;
use log_protocol::api::find_coordinator::FindCoordinatorRequest;
use log_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use log_protocol::api::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use log_protocol::api::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use uuid::Uuid;

use super::talk::Talk;

/// Waits until groups are coordinated: Kafka makes the topic for it when it is first asked.
pub(super) async fn await_coordinator(talk: &mut Talk) {
    let find = FindCoordinatorRequest {
        key: "any".to_owned(),
        ..FindCoordinatorRequest::default()
    };
    let all = commit("warm", -1, "", vec![]);
    for _ in 0..100_000 {
        let found = talk.quiet(3, find.clone()).await;
        let fetched = talk
            .quiet(
                5,
                OffsetFetchRequest {
                    group_id: "any".to_owned(),
                    ..OffsetFetchRequest::default()
                },
            )
            .await;
        if let (Response::FindCoordinator(found), Response::OffsetFetch(fetched)) = (found, fetched)
            && found.node_id >= 0
            && format!("{:?}", fetched.error_code) == "None"
        {
            talk.quiet(7, all.clone()).await;
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("groups are not coordinated");
}

pub(super) fn commit(
    group: &str,
    generation: i32,
    member: &str,
    topics: Vec<OffsetCommitRequestTopic>,
) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned(),
        topics,
        ..OffsetCommitRequest::default()
    }
}

pub(super) fn place(
    topic: &str,
    id: Uuid,
    partition_index: i32,
    offset: i64,
) -> OffsetCommitRequestTopic {
    OffsetCommitRequestTopic {
        name: topic.to_owned(),
        topic_id: id,
        partitions: vec![OffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset,
            ..OffsetCommitRequestPartition::default()
        }],
    }
}

/// In the form of the version.
pub(super) fn fetch(
    version: i16,
    group: &str,
    topics: Option<Vec<(&str, Uuid, Vec<i32>)>>,
) -> OffsetFetchRequest {
    if version < 8 {
        return OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: topics.map(|topics| {
                let topics = topics.into_iter();
                topics
                    .map(|(name, _, partition_indexes)| OffsetFetchRequestTopic {
                        name: name.to_owned(),
                        partition_indexes,
                    })
                    .collect()
            }),
            ..OffsetFetchRequest::default()
        };
    }
    OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            topics: topics.map(|topics| {
                let topics = topics.into_iter();
                topics
                    .map(
                        |(name, topic_id, partition_indexes)| OffsetFetchRequestTopics {
                            name: name.to_owned(),
                            topic_id,
                            partition_indexes,
                        },
                    )
                    .collect()
            }),
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    }
}

pub(super) async fn run(talk: &mut Talk) {
    let id = talk.topic("o", 3, &[]).await;
    commits(talk, id).await;
    fetches(talk, id).await;
    deletions(talk).await;
    coordinators(talk).await;
}

async fn commits(talk: &mut Talk, id: Uuid) {
    for offset in [0, 5, -1, -2, i64::MAX, i64::MIN] {
        talk.versions(format!("commit {offset}"), 2..=10, |_| {
            commit("simple", -1, "", vec![place("o", id, 0, offset)])
        })
        .await;
        talk.one(
            format!("after committing {offset}"),
            7,
            fetch(7, "simple", Some(vec![("o", id, vec![0])])),
        )
        .await;
    }
    for partition in [3, -1, i32::MAX] {
        talk.versions(format!("commit for partition {partition}"), 2..=10, |_| {
            commit("simple", -1, "", vec![place("o", id, partition, 1)])
        })
        .await;
    }
    let long = "n".repeat(300);
    for name in ["nowhere", "", "a/b", "..", &long] {
        let label = if name.len() > 200 { "long" } else { name };
        talk.versions(format!("commit for {label:?}"), 2..=10, |_| {
            commit(
                "odd-topics",
                -1,
                "",
                vec![place(name, Uuid::from_u128(9), 0, 1)],
            )
        })
        .await;
    }
    talk.one(
        "commit by no id",
        10,
        commit("simple", -1, "", vec![place("o", Uuid::nil(), 0, 1)]),
    )
    .await;
    for (group, generation, member) in [
        ("", -1, ""),
        ("new", 0, ""),
        ("new", 5, ""),
        ("new", -1, "somebody"),
        ("new", 3, "somebody"),
        ("new", -2, ""),
        ("simple", 0, ""),
        ("simple", 1, "somebody"),
        ("simple", -1, "somebody"),
        ("simple", -2, ""),
    ] {
        talk.versions(
            format!("commit of group {group:?}, generation {generation}, member {member:?}"),
            2..=10,
            |_| commit(group, generation, member, vec![place("o", id, 1, 1)]),
        )
        .await;
    }
    for instance in ["", "static"] {
        let request = OffsetCommitRequest {
            group_instance_id: Some(instance.to_owned()),
            ..commit("simple", -1, "", vec![place("o", id, 1, 2)])
        };
        talk.one(format!("commit of instance {instance:?}"), 7, request)
            .await;
    }
    for bytes in [0, 1, 4096, 4097, 30_000] {
        let mut topic = place("o", id, 2, 9);
        topic.partitions[0].committed_metadata = Some("m".repeat(bytes));
        let group = format!("metadata-{bytes}");
        talk.versions(
            format!("commit with metadata of {bytes} bytes"),
            2..=10,
            |_| commit(&group, -1, "", vec![topic.clone()]),
        )
        .await;
    }
    let mut wide = place("o", id, 2, 9);
    wide.partitions[0].committed_metadata = Some("ü".repeat(2100));
    talk.one(
        "commit with metadata of 2100 letters, two bytes each",
        7,
        commit("wide", -1, "", vec![wide]),
    )
    .await;
    for epoch in [0, 7, -1, -2, i32::MAX] {
        let mut topic = place("o", id, 2, 9);
        topic.partitions[0].committed_leader_epoch = epoch;
        talk.one(
            format!("commit with leader epoch {epoch}"),
            7,
            commit("epochs", -1, "", vec![topic]),
        )
        .await;
        talk.one(
            format!("after leader epoch {epoch}"),
            7,
            fetch(7, "epochs", Some(vec![("o", id, vec![2])])),
        )
        .await;
    }
    for retention in [0, -1, -2, 1000, i64::MAX] {
        let request = OffsetCommitRequest {
            retention_time_ms: retention,
            ..commit("retained", -1, "", vec![place("o", id, 0, 4)])
        };
        talk.one(format!("commit for {retention} ms"), 4, request)
            .await;
    }
    let mut twice = place("o", id, 0, 4);
    twice
        .partitions
        .push(place("o", id, 0, 6).partitions.remove(0));
    talk.one(
        "commit twice",
        7,
        commit("twice", -1, "", vec![twice.clone()]),
    )
    .await;
    talk.one(
        "commit twice, by id",
        10,
        commit("twice", -1, "", vec![twice.clone()]),
    )
    .await;
    talk.one(
        "after committing twice",
        7,
        fetch(7, "twice", Some(vec![("o", id, vec![0])])),
    )
    .await;
    let mixed = vec![
        place("o", id, 0, 1),
        place("nowhere", Uuid::from_u128(9), 0, 1),
        place("o", id, 9, 1),
    ];
    talk.versions("commit good beside bad", 2..=10, |_| {
        commit("mixed", -1, "", mixed.clone())
    })
    .await;
    talk.versions("commit no topics", 2..=10, |_| {
        commit("none", -1, "", vec![])
    })
    .await;
    let mut none = place("o", id, 0, 1);
    none.partitions.clear();
    talk.versions("commit no partitions", 2..=10, |_| {
        commit("none", -1, "", vec![none.clone()])
    })
    .await;
}

async fn fetches(talk: &mut Talk, id: Uuid) {
    talk.quiet(7, commit("read", -1, "", vec![place("o", id, 0, 11)]))
        .await;
    talk.versions("fetch", 1..=10, |version| {
        fetch(version, "read", Some(vec![("o", id, vec![0, 1, 2, 9, -1])]))
    })
    .await;
    talk.versions("fetch all", 2..=10, |version| fetch(version, "read", None))
        .await;
    talk.versions("fetch of no topics", 1..=10, |version| {
        fetch(version, "read", Some(vec![]))
    })
    .await;
    talk.versions("fetch of no partitions", 1..=10, |version| {
        fetch(version, "read", Some(vec![("o", id, vec![])]))
    })
    .await;
    for group in ["", "unknown"] {
        talk.versions(format!("fetch of group {group:?}"), 1..=10, |version| {
            fetch(version, group, Some(vec![("o", id, vec![0])]))
        })
        .await;
        talk.versions(format!("fetch all of group {group:?}"), 2..=10, |version| {
            fetch(version, group, None)
        })
        .await;
    }
    for name in ["nowhere", "", "a/b"] {
        talk.versions(format!("fetch of topic {name:?}"), 1..=10, |version| {
            fetch(
                version,
                "read",
                Some(vec![(name, Uuid::from_u128(9), vec![0])]),
            )
        })
        .await;
    }
    talk.versions("fetch twice", 1..=10, |version| {
        fetch(version, "read", Some(vec![("o", id, vec![0, 0])]))
    })
    .await;
    talk.one(
        "fetch a topic twice",
        7,
        fetch(
            7,
            "read",
            Some(vec![("o", id, vec![0]), ("o", id, vec![0])]),
        ),
    )
    .await;
    let mut groups = fetch(9, "read", Some(vec![("o", id, vec![0])]));
    groups.groups.push(groups.groups[0].clone());
    groups.groups.push(OffsetFetchRequestGroup {
        group_id: "unknown".to_owned(),
        topics: None,
        ..OffsetFetchRequestGroup::default()
    });
    talk.one("fetch a group twice, and another", 9, groups)
        .await;
    talk.one("fetch of no groups", 9, OffsetFetchRequest::default())
        .await;
    for (member, epoch) in [
        (None, 0),
        (None, 3),
        (Some(""), -1),
        (Some("somebody"), -1),
        (Some("somebody"), 3),
        (Some(""), 0),
    ] {
        let mut request = fetch(9, "read", Some(vec![("o", id, vec![0])]));
        request.groups[0].member_id = member.map(str::to_owned);
        request.groups[0].member_epoch = epoch;
        talk.one(
            format!("fetch of member {member:?}, epoch {epoch}"),
            9,
            request,
        )
        .await;
    }
    for version in [7, 8] {
        let request = OffsetFetchRequest {
            require_stable: true,
            ..fetch(version, "read", Some(vec![("o", id, vec![0])]))
        };
        talk.one("fetch what is stable", version, request).await;
    }
}

async fn deletions(talk: &mut Talk) {
    let delete = |group: &str, topic: &str, partitions: &[i32]| OffsetDeleteRequest {
        group_id: group.to_owned(),
        topics: vec![OffsetDeleteRequestTopic {
            name: topic.to_owned(),
            partitions: partitions
                .iter()
                .map(|&partition_index| OffsetDeleteRequestPartition { partition_index })
                .collect(),
        }],
    };
    for (group, topic, partitions) in [
        ("", "o", &[0] as &[i32]),
        ("unknown", "o", &[0]),
        ("read", "nowhere", &[0]),
        ("read", "", &[0]),
        ("read", "o", &[]),
        ("read", "o", &[9]),
        ("read", "o", &[-1]),
        ("read", "o", &[1]),
        ("read", "o", &[0, 0]),
        ("read", "o", &[0]),
    ] {
        talk.one(
            format!("delete {partitions:?} of {topic:?} of group {group:?}"),
            0,
            delete(group, topic, partitions),
        )
        .await;
    }
    talk.one(
        "delete of no topics",
        0,
        OffsetDeleteRequest {
            group_id: "read".to_owned(),
            ..OffsetDeleteRequest::default()
        },
    )
    .await;
    talk.one("after deleting", 7, fetch(7, "read", None)).await;
    for groups in [
        &["unknown"] as &[&str],
        &[""],
        &[],
        &["simple"],
        &["simple"],
        &["twice", "twice"],
        &["epochs", "unknown", ""],
    ] {
        let request = DeleteGroupsRequest {
            groups_names: groups.iter().map(|name| (*name).to_owned()).collect(),
        };
        talk.one(format!("delete groups {groups:?}"), 2, request)
            .await;
    }
}

async fn coordinators(talk: &mut Talk) {
    let find = |key: &str, key_type, keys: &[&str]| FindCoordinatorRequest {
        key: key.to_owned(),
        key_type,
        coordinator_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    talk.versions("coordinator", 0..=6, |_| find("g", 0, &["g"]))
        .await;
    talk.versions("coordinator of an empty name", 0..=6, |_| {
        find("", 0, &[""])
    })
    .await;
    for key_type in [2, 3, -1, 127] {
        talk.versions(format!("coordinator of type {key_type}"), 1..=6, |_| {
            find("g", key_type, &["g"])
        })
        .await;
        talk.versions(
            format!("coordinator of type {key_type}, as a share"),
            1..=6,
            |_| {
                find(
                    "g:AAAAAAAAAAAAAAAAAAAAAQ:0",
                    key_type,
                    &["g:AAAAAAAAAAAAAAAAAAAAAQ:0"],
                )
            },
        )
        .await;
    }
    talk.versions("coordinators of none", 4..=6, |_| find("", 0, &[]))
        .await;
    talk.versions("coordinators twice", 4..=6, |_| {
        find("", 0, &["g", "g", "h"])
    })
    .await;
}
