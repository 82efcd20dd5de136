//! Fetch: from where, how much, for whom.

use log_protocol::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use log_protocol::api::fetch::{
    FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState,
};
use log_protocol::{Compression, ProducerStamp};
use uuid::Uuid;

use super::batch::records;
use super::produce::to;
use super::talk::Talk;

/// From an offset of a partition of a topic, by name and id: the version chooses.
pub(super) fn from(topic: &str, id: Uuid, partition: i32, fetch_offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: topic.to_owned(),
            topic_id: id,
            partitions: vec![FetchPartition {
                partition,
                fetch_offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
        }],
        ..FetchRequest::default()
    }
}

pub(super) async fn run(talk: &mut Talk) {
    let id = talk.topic("f", 3, &[]).await;
    for codec in [Compression::None, Compression::None, Compression::Gzip] {
        let batch = records(2, codec, ProducerStamp::NONE);
        talk.quiet(9, to("f", id, 0, Some(batch.clone()))).await;
        talk.quiet(9, to("f", id, 2, Some(batch))).await;
    }
    places(talk, id).await;
    limits(talk, id).await;
    who(talk, id).await;
    lists(talk, id).await;
    sessions(talk, id).await;
    deleted(talk, id).await;
}

async fn places(talk: &mut Talk, id: Uuid) {
    for offset in [0, 1, 3, 5, 6, 7, -1, -2, i64::MAX, i64::MIN] {
        talk.versions(format!("offset {offset}"), 4..=18, |_| {
            from("f", id, 0, offset)
        })
        .await;
    }
    for offset in [0, 1] {
        talk.versions(
            format!("offset {offset} of an empty partition"),
            4..=18,
            |_| from("f", id, 1, offset),
        )
        .await;
    }
    for partition in [3, -1, i32::MAX] {
        talk.versions(format!("partition {partition}"), 4..=18, |_| {
            from("f", id, partition, 0)
        })
        .await;
    }
    for name in ["nowhere", "", "a/b", "..", "__consumer_offsets"] {
        talk.versions(format!("topic {name:?}"), 4..=18, |_| {
            from(name, Uuid::from_u128(9), 0, 0)
        })
        .await;
    }
    talk.versions("no id", 13..=18, |_| from("f", Uuid::nil(), 0, 0))
        .await;
}

async fn limits(talk: &mut Talk, id: Uuid) {
    let whole = || from("f", id, 0, 0);
    for bytes in [0, 1, 80, 170, -1, i32::MIN] {
        for version in [4, 12, 16] {
            let request = FetchRequest {
                max_bytes: bytes,
                ..whole()
            };
            talk.one(format!("{bytes} bytes"), version, request).await;
            let mut request = whole();
            request.topics[0].partitions[0].partition_max_bytes = bytes;
            talk.one(format!("{bytes} bytes a partition"), version, request)
                .await;
        }
    }
    for min_bytes in [0, -1, i32::MAX] {
        let request = FetchRequest {
            min_bytes,
            ..whole()
        };
        talk.one(format!("at least {min_bytes} bytes"), 12, request)
            .await;
    }
    for max_wait_ms in [-1, i32::MIN] {
        let request = FetchRequest {
            max_wait_ms,
            ..from("f", id, 0, 6)
        };
        talk.one(format!("a wait of {max_wait_ms} ms"), 12, request)
            .await;
    }
    let request = FetchRequest {
        max_wait_ms: 50,
        ..from("f", id, 0, 6)
    };
    talk.one("a wait for nothing", 12, request).await;
    let request = FetchRequest {
        max_wait_ms: i32::MAX,
        min_bytes: 0,
        ..from("f", id, 0, 6)
    };
    talk.one("no wait for no bytes", 12, request).await;
    let mut both = FetchRequest {
        max_bytes: 100,
        ..whole()
    };
    let mut second = both.topics[0].partitions[0].clone();
    second.partition = 2;
    both.topics[0].partitions.push(second);
    talk.one("two partitions in little room", 12, both).await;
}

async fn who(talk: &mut Talk, id: Uuid) {
    for isolation_level in [0, 1, 2, -1, 127] {
        let request = |_| FetchRequest {
            isolation_level,
            ..from("f", id, 0, 0)
        };
        talk.versions(
            format!("isolation level {isolation_level}"),
            4..=18,
            request,
        )
        .await;
    }
    for epoch in [0, 1, 5, -1, -2, i32::MAX] {
        let request = |_| {
            let mut request = from("f", id, 0, 4);
            request.topics[0].partitions[0].current_leader_epoch = epoch;
            request
        };
        talk.versions(format!("leader epoch {epoch}"), 9..=18, request)
            .await;
        let request = |_| {
            let mut request = from("f", id, 0, 4);
            request.topics[0].partitions[0].last_fetched_epoch = epoch;
            request
        };
        talk.versions(format!("last fetched epoch {epoch}"), 12..=18, request)
            .await;
    }
    for replica_id in [-2, 0, 1, 99] {
        let request = |_| FetchRequest {
            replica_id,
            replica_state: ReplicaState {
                replica_id,
                replica_epoch: -1,
            },
            ..from("f", id, 0, 4)
        };
        talk.versions(format!("replica {replica_id}"), 4..=18, request)
            .await;
    }
    let request = FetchRequest {
        rack_id: "elsewhere".to_owned(),
        ..from("f", id, 0, 4)
    };
    talk.one("a rack", 12, request).await;
    for cluster in ["", "another"] {
        let request = FetchRequest {
            cluster_id: Some(cluster.to_owned()),
            ..from("f", id, 0, 4)
        };
        talk.one(format!("cluster {cluster:?}"), 12, request).await;
    }
}

async fn lists(talk: &mut Talk, id: Uuid) {
    let mut twice = from("f", id, 0, 0);
    let mut again = twice.topics[0].partitions[0].clone();
    again.fetch_offset = 4;
    twice.topics[0].partitions.push(again);
    talk.versions("a partition twice", 4..=18, |_| twice.clone())
        .await;
    let mut twice = from("f", id, 0, 4);
    twice.topics.push(from("f", id, 0, 4).topics.remove(0));
    talk.versions("a topic twice", 4..=18, |_| twice.clone())
        .await;
    let mut mixed = from("f", id, 0, 4);
    mixed
        .topics
        .push(from("nowhere", Uuid::from_u128(9), 0, 0).topics.remove(0));
    mixed.topics[0].partitions.push(FetchPartition {
        partition: 9,
        ..FetchPartition::default()
    });
    talk.versions("good beside bad", 4..=18, |_| mixed.clone())
        .await;
    let mut none = from("f", id, 0, 0);
    none.topics[0].partitions.clear();
    talk.versions("no partitions", 4..=18, |_| none.clone())
        .await;
    none.topics.clear();
    talk.versions("no topics", 4..=18, |_| none.clone()).await;
}

async fn sessions(talk: &mut Talk, id: Uuid) {
    for (session_id, session_epoch) in [
        (0, 0),
        (0, -1),
        (0, 1),
        (77, 0),
        (77, 1),
        (77, -1),
        (-1, 0),
        (-1, 1),
    ] {
        let request = |_| FetchRequest {
            session_id,
            session_epoch,
            ..from("f", id, 0, 4)
        };
        talk.versions(
            format!("session {session_id}, epoch {session_epoch}"),
            7..=18,
            request,
        )
        .await;
    }
    let request = FetchRequest {
        forgotten_topics_data: vec![ForgottenTopic {
            topic: "f".to_owned(),
            topic_id: id,
            partitions: vec![0, 0, 9],
        }],
        ..from("f", id, 0, 4)
    };
    talk.one("forgotten without a session", 12, request).await;
}

async fn deleted(talk: &mut Talk, id: Uuid) {
    let delete = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "f".to_owned(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 2,
                offset: 3,
            }],
        }],
        timeout_ms: 5000,
    };
    talk.quiet(2, delete).await;
    for offset in [0, 2, 3, 4] {
        talk.one(
            format!("offset {offset}, 3 is the first"),
            12,
            from("f", id, 2, offset),
        )
        .await;
    }
}
