//! What is asked of the brokers of a cluster: who leads, who keeps what, what they have agreed to speak.

use log_protocol::Response;
use log_protocol::api::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use log_protocol::api::describe_quorum::{DescribeQuorumRequest, QuorumPartition, QuorumTopic};
use log_protocol::api::elect_leaders::{ElectLeadersRequest, ElectLeadersTopic};
use log_protocol::api::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListReassignmentsTopic,
};
use log_protocol::api::unregister_broker::UnregisterBrokerRequest;
use log_protocol::api::update_features::{FeatureUpdate, UpdateFeaturesRequest};

use super::talk::Talk;

pub(super) async fn run(talk: &mut Talk) {
    talk.topic("led", 2, &[]).await;
    elections(talk).await;
    moves(talk).await;
    quorum(talk).await;
    features(talk).await;
    talk.one(
        "a broker that there is not is taken out",
        0,
        UnregisterBrokerRequest { broker_id: 9 },
    )
    .await;
}

async fn elections(talk: &mut Talk) {
    let elect = |election_type, topics: Option<&[(&str, &[i32])]>| ElectLeadersRequest {
        election_type,
        topic_partitions: topics.map(|topics| {
            let topics = topics.iter().map(|(topic, partitions)| ElectLeadersTopic {
                topic: (*topic).to_owned(),
                partitions: partitions.to_vec(),
            });
            topics.collect()
        }),
        ..ElectLeadersRequest::default()
    };
    for kind in [0, 1, 2, -1] {
        for (name, topics) in [
            ("everywhere", None),
            ("nowhere", Some(&[] as &[(&str, &[i32])])),
            ("of a topic", Some(&[("led", &[0, 1])])),
            (
                "of what there is not",
                Some(&[("led", &[7, -1]), ("no", &[0])]),
            ),
            ("without partitions", Some(&[("led", &[]), ("", &[0])])),
            ("twice", Some(&[("led", &[0, 0])])),
        ] {
            let first = i16::from(kind != 0);
            talk.versions(format!("elect {name}, as {kind}"), first..=2, |_| {
                elect(kind, topics)
            })
            .await;
        }
    }
}

async fn moves(talk: &mut Talk) {
    let cases: [(&str, &str, i32, Option<&[i32]>); 10] = [
        ("to where it is", "led", 0, Some(&[1])),
        ("to a broker that there is not", "led", 0, Some(&[2])),
        ("to two", "led", 0, Some(&[1, 2])),
        ("twice to one", "led", 0, Some(&[1, 1])),
        ("to nobody", "led", 0, Some(&[])),
        ("to broker -1", "led", 0, Some(&[-1])),
        ("no more", "led", 0, None),
        ("of partition 9", "led", 9, Some(&[1])),
        ("of no topic", "no", 0, Some(&[1])),
        ("no more of no topic", "", 0, None),
    ];
    for (name, topic, partition_index, replicas) in cases {
        talk.versions(format!("move {name}"), 0..=1, |_| {
            AlterPartitionReassignmentsRequest {
                topics: vec![ReassignableTopic {
                    name: topic.to_owned(),
                    partitions: vec![ReassignablePartition {
                        partition_index,
                        replicas: replicas.map(<[i32]>::to_vec),
                    }],
                }],
                ..AlterPartitionReassignmentsRequest::default()
            }
        })
        .await;
    }
    talk.one(
        "move, and as many replicas as before",
        1,
        AlterPartitionReassignmentsRequest {
            allow_replication_factor_change: false,
            ..AlterPartitionReassignmentsRequest::default()
        },
    )
    .await;
    for (name, topics) in [
        ("all", None),
        ("none", Some(vec![])),
        ("of a topic", Some(vec!["led"])),
        ("of no topic", Some(vec!["no"])),
    ] {
        let topics = topics.map(|topics: Vec<&str>| {
            let topics = topics.into_iter().map(|name| ListReassignmentsTopic {
                name: name.to_owned(),
                partition_indexes: vec![0, 9],
            });
            topics.collect()
        });
        let list = ListPartitionReassignmentsRequest {
            topics,
            ..ListPartitionReassignmentsRequest::default()
        };
        talk.one(format!("moves, {name}"), 0, list).await;
    }
}

async fn quorum(talk: &mut Talk) {
    let describe = |topic: &str, partitions: &[i32]| DescribeQuorumRequest {
        topics: vec![QuorumTopic {
            topic_name: topic.to_owned(),
            partitions: partitions
                .iter()
                .map(|index| QuorumPartition {
                    partition_index: *index,
                })
                .collect(),
        }],
    };
    for (name, topic, partitions) in [
        ("another topic", "led", &[0] as &[i32]),
        ("another partition", "__cluster_metadata", &[1]),
        ("two partitions", "__cluster_metadata", &[0, 1]),
        ("no partition", "__cluster_metadata", &[]),
    ] {
        talk.versions(format!("quorum of {name}"), 0..=2, |_| {
            describe(topic, partitions)
        })
        .await;
    }
    talk.versions("quorum of nothing", 0..=2, |_| {
        DescribeQuorumRequest::default()
    })
    .await;
    for version in 0..=2 {
        // How long the metadata is differs.
        let Response::DescribeQuorum(mut told) = talk
            .quiet(version, describe("__cluster_metadata", &[0]))
            .await
        else {
            panic!("another api answered");
        };
        for partition in told.topics.iter_mut().flat_map(|one| &mut one.partitions) {
            partition.leader_epoch = 0;
            partition.high_watermark = 0;
            for voter in &mut partition.current_voters {
                voter.log_end_offset = 0;
                voter.replica_directory_id = uuid::Uuid::nil();
            }
        }
        talk.case("quorum");
        talk.note_answer(version, told.into());
    }
}

async fn features(talk: &mut Talk) {
    for (feature, level, kind) in [
        ("transaction.version", 2, 1),
        ("transaction.version", 3, 1),
        ("transaction.version", -1, 1),
        ("transaction.version", 1, 1),
        ("transaction.version", 2, 0),
        ("no.such.feature", 1, 1),
        ("no.such.feature", 0, 1),
        ("", 1, 1),
    ] {
        talk.versions(
            format!("feature {feature:?} to {level} as {kind}"),
            1..=2,
            |_| UpdateFeaturesRequest {
                feature_updates: vec![FeatureUpdate {
                    feature: feature.to_owned(),
                    max_version_level: level,
                    upgrade_type: kind,
                    ..FeatureUpdate::default()
                }],
                validate_only: true,
                ..UpdateFeaturesRequest::default()
            },
        )
        .await;
    }
    talk.versions("no features", 0..=2, |_| UpdateFeaturesRequest::default())
        .await;
}
