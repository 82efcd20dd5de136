//! Transactions of both generations: opened, filled, ended, fenced, and what readers see of them.

use log_protocol::api::add_offsets_to_txn::AddOffsetsToTxnRequest;
use log_protocol::api::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use log_protocol::api::describe_producers::{DescribeProducersRequest, DescribeProducersTopic};
use log_protocol::api::describe_transactions::DescribeTransactionsRequest;
use log_protocol::api::end_txn::EndTxnRequest;
use log_protocol::api::fetch::FetchRequest;
use log_protocol::api::find_coordinator::FindCoordinatorRequest;
use log_protocol::api::init_producer_id::InitProducerIdRequest;
use log_protocol::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use log_protocol::api::list_transactions::ListTransactionsRequest;
use log_protocol::api::offset_fetch::OffsetFetchRequest;
use log_protocol::api::produce::ProduceRequest;
use log_protocol::api::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use log_protocol::{Compression, ErrorCode, Response};
use uuid::Uuid;

use super::batch::{records, stamp};
use super::fetch::from;
use super::offsets::fetch;
use super::produce::to;
use super::talk::Talk;

fn init(id: Option<&str>, timeout_ms: i32, producer: (i64, i16)) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: id.map(str::to_owned),
        transaction_timeout_ms: timeout_ms,
        producer_id: producer.0,
        producer_epoch: producer.1,
    }
}

fn add(id: &str, producer: (i64, i16), topics: &[(&str, &[i32])]) -> AddPartitionsToTxnRequest {
    let topics: Vec<_> = topics
        .iter()
        .map(|(name, partitions)| AddPartitionsToTxnTopic {
            name: (*name).to_owned(),
            partitions: partitions.to_vec(),
        })
        .collect();
    AddPartitionsToTxnRequest {
        transactions: vec![AddPartitionsToTxnTransaction {
            transactional_id: id.to_owned(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            verify_only: false,
            topics: topics.clone(),
        }],
        v3_and_below_transactional_id: id.to_owned(),
        v3_and_below_producer_id: producer.0,
        v3_and_below_producer_epoch: producer.1,
        v3_and_below_topics: topics,
    }
}

fn add_offsets(id: &str, producer: (i64, i16), group: &str) -> AddOffsetsToTxnRequest {
    AddOffsetsToTxnRequest {
        transactional_id: id.to_owned(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        group_id: group.to_owned(),
    }
}

fn end(id: &str, producer: (i64, i16), committed: bool) -> EndTxnRequest {
    EndTxnRequest {
        transactional_id: id.to_owned(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed,
    }
}

fn stage(
    id: &str,
    producer: (i64, i16),
    group: &str,
    topic: &str,
    partition: i32,
) -> TxnOffsetCommitRequest {
    TxnOffsetCommitRequest {
        transactional_id: id.to_owned(),
        group_id: group.to_owned(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: 5,
                ..TxnOffsetCommitRequestPartition::default()
            }],
        }],
        ..TxnOffsetCommitRequest::default()
    }
}

struct Topic {
    name: &'static str,
    id: Uuid,
}

impl Topic {
    fn send(
        &self,
        id: &str,
        producer: (i64, i16),
        partition: i32,
        sequence: i32,
    ) -> ProduceRequest {
        let batch = records(
            1,
            Compression::None,
            stamp(producer.0, producer.1, sequence, true),
        );
        ProduceRequest {
            transactional_id: Some(id.to_owned()),
            ..to(self.name, self.id, partition, Some(batch))
        }
    }

    fn read(&self, partition: i32, committed: bool) -> FetchRequest {
        FetchRequest {
            isolation_level: i8::from(committed),
            ..from(self.name, self.id, partition, 0)
        }
    }
}

fn producer_of(response: Option<Response>) -> (i64, i16) {
    match response {
        Some(Response::InitProducerId(made)) => (made.producer_id, made.producer_epoch),
        Some(Response::EndTxn(ended)) => (ended.producer_id, ended.producer_epoch),
        other => panic!("{other:?}"),
    }
}

/// A producer of a transactional id, ready.
async fn open(talk: &mut Talk, id: &str) -> (i64, i16) {
    // Kafka makes the topic of transactions when somebody asks who coordinates them.
    let find = FindCoordinatorRequest {
        key: id.to_owned(),
        key_type: 1,
        ..FindCoordinatorRequest::default()
    };
    for _ in 0..100_000 {
        talk.quiet(3, find.clone()).await;
        if let Response::InitProducerId(made) =
            talk.quiet(4, init(Some(id), 60_000, (-1, -1))).await
            && made.error_code == ErrorCode::None
        {
            return (made.producer_id, made.producer_epoch);
        }
        tokio::task::yield_now().await;
    }
    panic!("transactions are not coordinated");
}

/// Waits until somebody coordinates transactions.
pub(super) async fn await_transactions(talk: &mut Talk) {
    open(talk, "warm").await;
}

/// Topics, and partitions of each.
type Named<'a> = &'a [(&'a str, &'a [i32])];

pub(super) async fn run(talk: &mut Talk) {
    let topic = Topic {
        name: "t",
        id: talk.topic("t", 3, &[]).await,
    };
    // Of its own: Kafka takes what a producer without id writes in a transaction.
    let refused = Topic {
        name: "refused",
        id: talk.topic("refused", 1, &[]).await,
    };
    initialisation(talk).await;
    strangers(talk, &refused).await;
    first_generation(talk, &topic).await;
    second_generation(talk, &topic).await;
    fencing(talk, &topic).await;
    offsets(talk).await;
    described(talk, &topic).await;
}

async fn initialisation(talk: &mut Talk) {
    talk.versions("an idempotent producer", 0..=5, |_| init(None, 0, (-1, -1)))
        .await;
    for (name, id, timeout, producer) in [
        ("an empty id", Some(""), 60_000, (-1, -1)),
        ("a timeout of 0", Some("timeouts"), 0, (-1, -1)),
        ("a timeout of -1", Some("timeouts"), -1, (-1, -1)),
        (
            "a timeout of a quarter of an hour",
            Some("timeouts"),
            900_000,
            (-1, -1),
        ),
        ("a longer timeout", Some("timeouts"), 900_001, (-1, -1)),
        ("no timeout, idempotent", None, -1, (-1, -1)),
        ("a producer, idempotent", None, 0, (5, 0)),
        ("a producer without epoch", Some("half"), 60_000, (5, -1)),
        ("an epoch without producer", Some("half"), 60_000, (-1, 5)),
        ("producer -2", Some("half"), 60_000, (-2, 0)),
        ("epoch -2", Some("half"), 60_000, (5, -2)),
        (
            "a producer that it has not",
            Some("other"),
            60_000,
            (1 << 40, 0),
        ),
    ] {
        talk.versions(format!("init: {name}"), 3..=5, |_| {
            init(id, timeout, producer)
        })
        .await;
    }
    talk.case("init again and again");
    let first = producer_of(talk.ask(4, init(Some("again"), 60_000, (-1, -1))).await);
    let second = producer_of(talk.ask(4, init(Some("again"), 60_000, (-1, -1))).await);
    talk.ask(4, init(Some("again"), 60_000, second)).await;
    talk.ask(4, init(Some("again"), 60_000, first)).await;
    talk.ask(4, init(Some("again"), 60_000, (first.0, 77)))
        .await;
    talk.ask(4, init(Some("again"), 60_000, (first.0 + 1000, 0)))
        .await;
    talk.ask(3, init(Some("again"), 60_000, (-1, -1))).await;
    talk.ask(0, init(Some("again"), 60_000, (-1, -1))).await;
}

/// Requests of ids and producers that there are not, or that have no transaction.
async fn strangers(talk: &mut Talk, topic: &Topic) {
    let real = open(talk, "idle").await;
    for (name, id, producer) in [
        ("an unknown id", "unknown", (real.0, real.1)),
        ("an empty id", "", (real.0, real.1)),
        ("another's producer", "idle", (real.0 + 1000, 0)),
        ("a newer epoch", "idle", (real.0, real.1 + 1)),
        ("an older epoch", "idle", (real.0, real.1 - 1)),
        ("producer -1", "idle", (-1, -1)),
    ] {
        talk.versions(format!("add: {name}"), 0..=3, |_| {
            add(id, producer, &[("t", &[0])])
        })
        .await;
        talk.versions(format!("add offsets: {name}"), 0..=4, |_| {
            add_offsets(id, producer, "g")
        })
        .await;
        talk.versions(format!("end: {name}"), 0..=5, |_| end(id, producer, true))
            .await;
        talk.versions(format!("abort: {name}"), 0..=5, |_| {
            end(id, producer, false)
        })
        .await;
        for version in [3, 9, 11, 12] {
            talk.one(
                format!("send: {name}"),
                version,
                topic.send(id, producer, 0, 0),
            )
            .await;
        }
    }
    let cases: [(&str, Named<'_>); 10] = [
        ("nowhere", &[("nowhere", &[0])]),
        ("partition 9", &[("t", &[9])]),
        ("partition -1", &[("t", &[-1])]),
        ("no name", &[("", &[0])]),
        ("no topics", &[]),
        ("no partitions", &[("t", &[])]),
        ("good beside bad", &[("t", &[0, 9]), ("nowhere", &[0])]),
        ("internal", &[("__consumer_offsets", &[0])]),
        ("a partition twice", &[("t", &[1, 1])]),
        ("a topic twice", &[("t", &[1]), ("t", &[2])]),
    ];
    for (name, topics) in cases {
        let id = format!("add-{name}");
        let producer = open(talk, &id).await;
        for version in [0, 3] {
            talk.one(format!("add {name}"), version, add(&id, producer, topics))
                .await;
        }
    }
    let producer = open(talk, "not-added").await;
    talk.case("nothing is open");
    for version in [0, 3, 4] {
        talk.ask(version, end("not-added", producer, true)).await;
        talk.ask(version, end("not-added", producer, false)).await;
    }
    for version in [3, 9, 10, 11] {
        talk.ask(version, topic.send("not-added", producer, 0, 0))
            .await;
    }
    talk.ask(3, stage("not-added", producer, "g", "t", 0)).await;
}

/// Clients that add partitions themselves.
async fn first_generation(talk: &mut Talk, topic: &Topic) {
    let producer = open(talk, "one").await;
    talk.case("a transaction of the first generation");
    talk.ask(3, add("one", producer, &[("t", &[0])])).await;
    talk.ask(3, add("one", producer, &[("t", &[0])])).await;
    talk.ask(9, topic.send("one", producer, 0, 0)).await;
    talk.ask(9, topic.send("one", producer, 0, 0)).await;
    talk.ask(9, topic.send("one", producer, 1, 0)).await;
    talk.ask(11, topic.send("one", producer, 1, 0)).await;
    talk.ask(12, topic.read(0, true)).await;
    talk.ask(12, topic.read(0, false)).await;
    let list = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 1,
        topics: vec![ListOffsetsTopic {
            name: "t".to_owned(),
            partitions: [-1, -2, -3, 0]
                .map(|timestamp| ListOffsetsPartition {
                    timestamp,
                    ..ListOffsetsPartition::default()
                })
                .into_iter()
                .take(1)
                .collect(),
        }],
        ..ListOffsetsRequest::default()
    };
    talk.ask(7, list).await;
    talk.ask(3, end("one", producer, true)).await;
    talk.ask(3, end("one", producer, true)).await;
    talk.ask(3, end("one", producer, false)).await;
    talk.ask(9, topic.send("one", producer, 0, 1)).await;
    // The next one, and it is given up.
    talk.ask(3, add("one", producer, &[("t", &[0])])).await;
    talk.ask(9, topic.send("one", producer, 0, 1)).await;
    talk.ask(3, end("one", producer, false)).await;
    talk.ask(3, end("one", producer, false)).await;
    talk.ask(3, end("one", producer, true)).await;
    settled(talk, topic, 0, 4).await;
    talk.ask(12, topic.read(0, true)).await;
    talk.ask(12, topic.read(0, false)).await;
    talk.ask(
        9,
        to(
            "t",
            topic.id,
            0,
            Some(records(
                1,
                Compression::None,
                stamp(producer.0, producer.1, 2, false),
            )),
        ),
    )
    .await;
    let producer = open(talk, "empty").await;
    talk.case("a transaction without records");
    talk.ask(3, add("empty", producer, &[("t", &[0, 1])])).await;
    talk.ask(3, end("empty", producer, true)).await;
    talk.ask(3, end("empty", producer, true)).await;
}

/// Waits until the markers of a partition are written: that it is stable up to an offset.
async fn settled(talk: &mut Talk, topic: &Topic, partition: i32, until: i64) {
    for _ in 0..100_000 {
        if let Response::Fetch(fetched) = talk.quiet(12, topic.read(partition, true)).await
            && fetched.responses[0].partitions[0].last_stable_offset >= until
        {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the transaction is not ended");
}

/// Clients whose batches add their partitions (KIP-890).
async fn second_generation(talk: &mut Talk, topic: &Topic) {
    let mut producer = open(talk, "two").await;
    talk.case("a transaction of the second generation");
    talk.ask(12, topic.send("two", producer, 1, 0)).await;
    talk.ask(12, topic.send("two", producer, 1, 1)).await;
    talk.ask(12, topic.send("two", producer, 1, 1)).await;
    talk.ask(12, topic.send("two", producer, 1, 5)).await;
    let before = producer;
    producer = producer_of(talk.ask(5, end("two", producer, true)).await);
    talk.ask(5, end("two", before, true)).await;
    talk.ask(5, end("two", before, false)).await;
    talk.ask(12, topic.send("two", before, 1, 2)).await;
    settled(talk, topic, 1, 3).await;
    talk.ask(12, topic.send("two", producer, 1, 7)).await;
    talk.ask(12, topic.send("two", producer, 1, 0)).await;
    let before = producer;
    producer = producer_of(talk.ask(5, end("two", producer, false)).await);
    talk.ask(5, end("two", before, false)).await;
    talk.ask(5, end("two", before, true)).await;
    settled(talk, topic, 1, 5).await;
    talk.ask(12, topic.read(1, true)).await;
    talk.ask(12, topic.read(1, false)).await;
    talk.case("an abort of nothing");
    let next = producer_of(talk.ask(5, end("two", producer, false)).await);
    talk.ask(5, end("two", next, true)).await;
    talk.ask(5, end("two", producer, true)).await;
    let producer = open(talk, "two-first").await;
    talk.case("a first sequence that is not 0");
    talk.ask(12, topic.send("two-first", producer, 2, 3)).await;
    talk.ask(12, topic.send("two-first", producer, 9, 0)).await;
    talk.ask(12, topic.send("two-first", producer, -1, 0)).await;
    for (name, request) in [
        ("verify", verify("two-first", producer, &[("t", &[2, 1])])),
        (
            "verify another's",
            verify("unknown", producer, &[("t", &[2])]),
        ),
        (
            "verify another epoch",
            verify("two-first", (producer.0, 9), &[("t", &[2])]),
        ),
    ] {
        talk.versions(name, 4..=5, |_| request.clone()).await;
    }
}

fn verify(id: &str, producer: (i64, i16), topics: &[(&str, &[i32])]) -> AddPartitionsToTxnRequest {
    let mut request = add(id, producer, topics);
    request.transactions[0].verify_only = true;
    request
}

async fn fencing(talk: &mut Talk, topic: &Topic) {
    let old = open(talk, "fenced").await;
    talk.case("a producer is followed by another");
    talk.ask(3, add("fenced", old, &[("t", &[2])])).await;
    talk.ask(9, topic.send("fenced", old, 2, 0)).await;
    let new = open(talk, "fenced").await;
    for version in [0, 1, 2, 3] {
        talk.ask(version, add("fenced", old, &[("t", &[2])])).await;
        talk.ask(version, add_offsets("fenced", old, "g")).await;
        talk.ask(version, end("fenced", old, true)).await;
        talk.ask(version, stage("fenced", old, "g", "t", 0)).await;
    }
    for version in [5, 9, 11, 12] {
        talk.ask(version, topic.send("fenced", old, 2, 1)).await;
    }
    talk.ask(5, end("fenced", old, false)).await;
    talk.ask(4, init(Some("fenced"), 60_000, old)).await;
    talk.ask(2, init(Some("fenced"), 60_000, old)).await;
    talk.ask(3, end("fenced", new, true)).await;
}

async fn offsets(talk: &mut Talk) {
    for (id, committed) in [("staged", true), ("unstaged", false)] {
        let producer = open(talk, id).await;
        let group = format!("g-{id}");
        talk.case(format!("offsets in a transaction, {id}"));
        talk.ask(3, add_offsets(id, producer, &group)).await;
        talk.ask(3, stage(id, producer, &group, "t", 0)).await;
        talk.ask(3, stage(id, producer, &group, "t", 9)).await;
        talk.ask(3, stage(id, producer, &group, "nowhere", 0)).await;
        let mut beside = stage(id, producer, &group, "t", 0);
        let mut bad = beside.topics[0].partitions[0].clone();
        bad.partition_index = 9;
        beside.topics[0].partitions.push(bad);
        beside
            .topics
            .extend(stage(id, producer, &group, "nowhere", 0).topics);
        talk.ask(3, beside).await;
        let stable = OffsetFetchRequest {
            require_stable: true,
            ..fetch(7, &group, Some(vec![("t", Uuid::nil(), vec![0])]))
        };
        talk.ask(7, stable.clone()).await;
        talk.ask(6, fetch(6, &group, Some(vec![("t", Uuid::nil(), vec![0])])))
            .await;
        talk.ask(7, fetch(7, &group, None)).await;
        talk.ask(3, end(id, producer, committed)).await;
        for _ in 0..100_000 {
            let answer = talk.quiet(7, stable.clone()).await;
            if !format!("{answer:?}").contains("Unstable") {
                break;
            }
            tokio::task::yield_now().await;
        }
        talk.ask(7, stable).await;
    }
    let producer = open(talk, "odd").await;
    talk.case("odd offsets in a transaction");
    talk.ask(3, add_offsets("odd", producer, "")).await;
    talk.ask(3, add_offsets("odd", producer, "g-odd")).await;
    for (generation, member, instance) in [
        (-1, "somebody", None),
        (0, "", None),
        (3, "somebody", None),
        (-1, "", Some("i")),
    ] {
        let request = TxnOffsetCommitRequest {
            generation_id: generation,
            member_id: member.to_owned(),
            group_instance_id: instance.map(str::to_owned),
            ..stage("odd", producer, "g-odd", "t", 0)
        };
        talk.ask(3, request).await;
    }
    let mut large = stage("odd", producer, "g-odd", "t", 0);
    large.topics[0].partitions[0].committed_metadata = Some("m".repeat(5000));
    talk.ask(3, large).await;
    let mut none = stage("odd", producer, "g-odd", "t", 0);
    none.topics.clear();
    talk.ask(3, none).await;
    talk.ask(3, stage("odd", producer, "", "t", 0)).await;
    talk.ask(3, stage("odd", producer, "g-other", "t", 0)).await;
    talk.ask(5, stage("odd", producer, "g-other", "t", 0)).await;
    talk.ask(5, stage("odd", (producer.0, 9), "g-other", "t", 0))
        .await;
    talk.ask(5, stage("unknown", producer, "g-other", "t", 0))
        .await;
    talk.ask(0, end("odd", producer, false)).await;
}

async fn described(talk: &mut Talk, topic: &Topic) {
    let producer = open(talk, "seen").await;
    talk.case("what is told of an open transaction");
    talk.ask(3, add("seen", producer, &[("t", &[1])])).await;
    talk.ask(9, topic.send("seen", producer, 1, 0)).await;
    let describe = |ids: &[&str]| DescribeTransactionsRequest {
        transactional_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    talk.ask(0, describe(&["seen"])).await;
    talk.ask(0, describe(&["unknown", ""])).await;
    talk.ask(0, describe(&["seen", "seen"])).await;
    talk.ask(0, describe(&[])).await;
    let producers = |topics: &[(&str, &[i32])]| DescribeProducersRequest {
        topics: topics
            .iter()
            .map(|(name, partitions)| DescribeProducersTopic {
                name: (*name).to_owned(),
                partition_indexes: partitions.to_vec(),
            })
            .collect(),
    };
    talk.ask(0, producers(&[("t", &[1])])).await;
    talk.ask(
        0,
        producers(&[("t", &[9, -1]), ("nowhere", &[0]), ("", &[0])]),
    )
    .await;
    talk.ask(0, producers(&[("t", &[])])).await;
    talk.ask(0, producers(&[])).await;
    let list = |states: &[&str], ids: &[i64], duration| ListTransactionsRequest {
        state_filters: states.iter().map(|state| (*state).to_owned()).collect(),
        producer_id_filters: ids.to_vec(),
        duration_filter: duration,
        ..ListTransactionsRequest::default()
    };
    talk.ask(1, list(&[], &[producer.0], -1)).await;
    talk.ask(0, list(&["Ongoing"], &[producer.0], -1)).await;
    talk.ask(1, list(&["Empty"], &[producer.0], -1)).await;
    talk.ask(1, list(&["no such state", "Ongoing"], &[producer.0], -1))
        .await;
    talk.ask(1, list(&[], &[1 << 50, -1], -1)).await;
    talk.ask(1, list(&[], &[producer.0], 600_000)).await;
    talk.ask(1, list(&[], &[producer.0], -2)).await;
    for pattern in ["", "seen", "se", "se.*", "(seen", "nobody|seen"] {
        let request = ListTransactionsRequest {
            transactional_id_pattern: Some(pattern.to_owned()),
            ..list(&[], &[producer.0], -1)
        };
        talk.ask(2, request).await;
    }
    talk.ask(3, end("seen", producer, true)).await;
}
