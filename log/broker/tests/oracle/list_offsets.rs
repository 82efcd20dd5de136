//! ListOffsets and OffsetForLeaderEpoch: places in a log.

use log_protocol::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use log_protocol::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use log_protocol::api::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use log_protocol::{Compression, ProducerStamp};

use super::batch::{TIME_MS, at, records};
use super::produce::to;
use super::talk::Talk;

fn list(topic: &str, partitions: Vec<ListOffsetsPartition>) -> ListOffsetsRequest {
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.to_owned(),
            partitions,
        }],
        ..ListOffsetsRequest::default()
    }
}

fn one(partition_index: i32, timestamp: i64) -> ListOffsetsPartition {
    ListOffsetsPartition {
        partition_index,
        timestamp,
        ..ListOffsetsPartition::default()
    }
}

pub(super) async fn run(talk: &mut Talk) {
    let id = talk.topic("l", 3, &[]).await;
    // Partition 0: offsets 0-2 a ms apart, 3 older, 4-6 compressed; partition 1 is empty.
    for batch in [
        records(3, Compression::None, ProducerStamp::NONE),
        at(TIME_MS - 1000),
        records(3, Compression::Gzip, ProducerStamp::NONE),
    ] {
        talk.quiet(9, to("l", id, 0, Some(batch))).await;
    }
    for timestamp in [-1, -2, -3, -4, -5, -6, -7, -100, i64::MIN] {
        for partition in [0, 1] {
            let name = format!("{timestamp} of partition {partition}");
            talk.versions(name, 1..=11, |_| list("l", vec![one(partition, timestamp)]))
                .await;
        }
    }
    for (name, timestamp) in [
        ("0", 0),
        ("the first", TIME_MS),
        ("the second", TIME_MS + 1),
        ("the older one", TIME_MS - 1000),
        ("between", TIME_MS - 500),
        ("the last", TIME_MS + 2),
        ("behind all", TIME_MS + 3),
        ("the end of time", i64::MAX),
    ] {
        for version in [1, 7, 11] {
            talk.one(
                format!("at {name}"),
                version,
                list("l", vec![one(0, timestamp)]),
            )
            .await;
        }
    }
    for (name, partition) in [("3", 3), ("-1", -1), ("of 2^31", i32::MAX)] {
        talk.versions(format!("partition {name}"), 1..=11, |_| {
            list("l", vec![one(partition, -1)])
        })
        .await;
    }
    for name in ["nowhere", "", "a/b", ".."] {
        talk.versions(format!("topic {name:?}"), 1..=11, |_| {
            list(name, vec![one(0, -1)])
        })
        .await;
    }
    for epoch in [0, 1, 7, -1, -2, i32::MAX] {
        let request = |_| {
            let mut asked = one(0, -1);
            asked.current_leader_epoch = epoch;
            list("l", vec![asked])
        };
        talk.versions(format!("leader epoch {epoch}"), 4..=11, request)
            .await;
    }
    for isolation_level in [0, 1, 2, -1, 127] {
        let request = ListOffsetsRequest {
            isolation_level,
            ..list("l", vec![one(0, -1)])
        };
        talk.one(format!("isolation level {isolation_level}"), 7, request)
            .await;
    }
    for replica_id in [0, 1, -2, -3, 99] {
        let request = ListOffsetsRequest {
            replica_id,
            ..list("l", vec![one(0, -1)])
        };
        talk.one(format!("replica {replica_id}"), 7, request).await;
    }
    for timeout_ms in [0, -1, i32::MAX] {
        let request = ListOffsetsRequest {
            timeout_ms,
            ..list("l", vec![one(0, -1)])
        };
        talk.one(format!("timeout {timeout_ms}"), 11, request).await;
    }
    talk.versions("a partition twice", 1..=11, |_| {
        list("l", vec![one(0, -1), one(0, -1)])
    })
    .await;
    talk.one(
        "a partition twice, by other times",
        7,
        list("l", vec![one(0, -1), one(0, -2)]),
    )
    .await;
    let mut twice = list("l", vec![one(0, -1)]);
    twice.topics.push(twice.topics[0].clone());
    talk.one("a topic twice", 7, twice).await;
    talk.versions("no partitions", 1..=11, |_| list("l", Vec::new()))
        .await;
    talk.versions("no topics", 1..=11, |_| ListOffsetsRequest {
        replica_id: -1,
        ..ListOffsetsRequest::default()
    })
    .await;

    let delete = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "l".to_owned(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset: 2,
            }],
        }],
        timeout_ms: 5000,
    };
    talk.quiet(2, delete).await;
    for timestamp in [-2, -3, -4, 0, TIME_MS, TIME_MS - 1000] {
        talk.one(
            format!("{timestamp} behind what was deleted"),
            8,
            list("l", vec![one(0, timestamp)]),
        )
        .await;
    }
    epochs(talk).await;
}

async fn epochs(talk: &mut Talk) {
    let request = |topic: &str, partition, current, epoch| OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic {
            topic: topic.to_owned(),
            partitions: vec![OffsetForLeaderPartition {
                partition,
                current_leader_epoch: current,
                leader_epoch: epoch,
            }],
        }],
    };
    for epoch in [0, 1, 5, -1, -2, i32::MAX] {
        for partition in [0, 1] {
            talk.versions(
                format!("end of epoch {epoch} of partition {partition}"),
                2..=4,
                |_| request("l", partition, -1, epoch),
            )
            .await;
        }
        talk.one(
            format!("end of an epoch, known {epoch}"),
            4,
            request("l", 0, epoch, 0),
        )
        .await;
    }
    talk.versions("end of an epoch of nowhere", 2..=4, |_| {
        request("nowhere", 0, -1, 0)
    })
    .await;
    talk.versions("end of an epoch of partition 9", 2..=4, |_| {
        request("l", 9, -1, 0)
    })
    .await;
    talk.versions("end of an epoch of partition -1", 2..=4, |_| {
        request("l", -1, -1, 0)
    })
    .await;
    let mut twice = request("l", 0, -1, 0);
    let again = twice.topics[0].partitions[0].clone();
    twice.topics[0].partitions.push(again);
    talk.one("end of an epoch, twice", 4, twice).await;
    talk.one(
        "end of no epochs",
        4,
        OffsetForLeaderEpochRequest::default(),
    )
    .await;
}
