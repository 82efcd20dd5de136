//! Bytes on the socket: versions, limits, and what no client sends.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use log_protocol::api::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use log_protocol::api::api_versions::ApiVersionsRequest;
use log_protocol::api::describe_cluster::DescribeClusterRequest;
use log_protocol::api::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use log_protocol::api::describe_groups::DescribeGroupsRequest;
use log_protocol::api::end_txn::EndTxnRequest;
use log_protocol::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use log_protocol::api::find_coordinator::FindCoordinatorRequest;
use log_protocol::api::init_producer_id::InitProducerIdRequest;
use log_protocol::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use log_protocol::api::metadata::{MetadataRequest, MetadataRequestTopic};
use log_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use log_protocol::api::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use log_protocol::api::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use log_protocol::api::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use log_protocol::{
    ApiKey, BatchBuilder, Compression, ErrorCode, ProducerStamp, Request, RequestHeader, Response,
    decode_response, encode_request,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::{Node, PATIENCE, consume, numbered, produce};

/// A connection that speaks frames.
pub(crate) struct Wire<S = TcpStream>(S);

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("connected"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self(stream)
    }

    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// What comes next, framed or not; 0 at the end.
    pub(crate) async fn receive_bytes(&mut self) -> usize {
        let mut bytes = [0; 1024];
        let receive = self.0.read(&mut bytes);
        let received = tokio::time::timeout(PATIENCE, receive).await;
        received.expect("bytes, or an end, in time").unwrap_or(0)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("sent");
    }

    /// The next frame, without its size; `None` when the broker closes the connection.
    pub(crate) async fn receive(&mut self) -> Option<Bytes> {
        let receive = async {
            let size = self.0.read_i32().await.ok()?;
            let mut frame = vec![0; usize::try_from(size).expect("a sound size")];
            self.0.read_exact(&mut frame).await.ok()?;
            Some(Bytes::from(frame))
        };
        tokio::time::timeout(PATIENCE, receive)
            .await
            .expect("an answer, or an end, in time")
    }

    pub(crate) async fn ask(
        &mut self,
        version: i16,
        correlation: i32,
        request: impl Into<Request>,
    ) -> Response {
        let request = request.into();
        let api = request.api_key();
        let header = RequestHeader::new(api, version, correlation, Some("test".to_owned()));
        self.send(&encode_request(&header, &request).expect("a small request"))
            .await;
        let frame = self.receive().await.expect("an answer");
        let (echoed, response) = decode_response(api, version, frame).expect("a sound answer");
        assert_eq!(echoed, correlation);
        response
    }
}

/// One batch for partition 0 of `topic`.
pub(crate) fn produce_to(
    topic: &str,
    batch: Bytes,
    transactional_id: Option<&str>,
) -> ProduceRequest {
    ProduceRequest {
        transactional_id: transactional_id.map(str::to_owned),
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(batch),
            }],
            ..TopicProduceData::default()
        }],
    }
}

fn produced(response: Response) -> PartitionProduceResponse {
    match response {
        Response::Produce(mut answer) => answer.responses.remove(0).partition_responses.remove(0),
        other => panic!("{other:?}"),
    }
}

/// Asks as some software.
fn software() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "a-client".to_owned(),
        client_software_version: "1.0".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn api_versions_is_answered_in_every_version() {
    let node = Node::start().await;
    let mut wire = Wire::connect(node.address).await;
    for version in 0..=4 {
        let Response::ApiVersions(answer) = wire.ask(version, i32::from(version), software()).await
        else {
            panic!("another api answered");
        };
        assert_eq!(answer.error_code, ErrorCode::None);
        let produce = answer
            .api_keys
            .iter()
            .find(|one| one.api_key == 0)
            .expect("produce");
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
        let features: Vec<_> = answer
            .finalized_features
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(
            features,
            if version >= 3 {
                vec!["transaction.version"]
            } else {
                vec![]
            }
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_versions_request_of_the_future_gets_the_oldest_answer_with_its_range() {
    let node = Node::start().await;
    let mut wire = Wire::connect(node.address).await;
    let mut request = BytesMut::new();
    request.put_i32(8 + 2 + 1 + 3);
    request.put_i16(18);
    request.put_i16(99);
    request.put_i32(7);
    request.put_i16(-1);
    request.put_slice(&[0, 1, 1, 0]);
    wire.send(&request).await;
    let frame = wire.receive().await.expect("an answer");
    // i32 correlation id, i16 error 35, i32 count, then i16 key, i16 min, i16 max each: no tagged fields, no throttle time.
    assert_eq!(frame[..6], [0, 0, 0, 7, 0, 35]);
    let count = i32::from_be_bytes(frame[6..10].try_into().expect("four bytes"));
    assert_eq!(frame.len(), 10 + 6 * count as usize);
    let range = frame[10..]
        .chunks(6)
        .find(|entry| entry[..2] == [0, 18])
        .expect("ApiVersions is listed");
    assert_eq!(range, [0, 18, 0, 0, 0, 4]);
    // The connection lives on.
    wire.ask(3, 8, ApiVersionsRequest::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let node = Node::start().await;
    let mut wire = Wire::connect(node.address).await;
    let mut bytes = BytesMut::new();
    for correlation in 0..100 {
        let request = Request::from(MetadataRequest {
            topics: Some(Vec::new()),
            ..MetadataRequest::default()
        });
        let header = RequestHeader::new(ApiKey::Metadata, 9, correlation, None);
        bytes.put_slice(&encode_request(&header, &request).expect("a small request"));
    }
    wire.send(&bytes).await;
    for correlation in 0..100 {
        let frame = wire.receive().await.expect("an answer");
        assert_eq!(
            decode_response(ApiKey::Metadata, 9, frame)
                .expect("sound")
                .0,
            correlation
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_of_two_gibibytes_ends_the_connection_and_costs_nothing() {
    let node = Node::start().await;
    for size in [i32::MAX, -1, i32::MIN] {
        let mut wire = Wire::connect(node.address).await;
        wire.send(&size.to_be_bytes()).await;
        assert_eq!(wire.receive().await, None);
    }
    Wire::connect(node.address)
        .await
        .ask(3, 1, ApiVersionsRequest::default())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_own_connection_only() {
    let node = Node::start().await;
    let mut healthy = Wire::connect(node.address).await;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..300 {
        let mut wire = Wire::connect(node.address).await;
        let length = random.usize(0..200);
        let mut bytes = BytesMut::new();
        bytes.put_i32(length as i32);
        let mut body: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        // Most rounds name an API and a version that exist, so that the bodies are read too.
        if length >= 4 && round % 4 != 0 {
            let api = ApiKey::ALL[random.usize(..ApiKey::ALL.len())];
            let (min, max) = api.versions();
            body[..2].copy_from_slice(&api.code().to_be_bytes());
            body[2..4].copy_from_slice(&random.i16(min..=max).to_be_bytes());
            if length >= 10 {
                body[8..10].copy_from_slice(&(-1i16).to_be_bytes());
            }
        }
        bytes.put_slice(&body);
        wire.send(&bytes).await;
        wire.0.shutdown().await.expect("half closed");
        // An answer or an end; both are fine, silence is not.
        while wire.receive().await.is_some() {}
    }
    healthy.ask(3, 1, ApiVersionsRequest::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_answers_unknown_topics_at_once_and_by_id() {
    let node = Node::start().await;
    node.create_topic("known", 1, &[]).await;
    let mut wire = Wire::connect(node.address).await;
    let fetch = |topic: &str| FetchRequest {
        max_wait_ms: 60_000,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: topic.to_owned(),
            partitions: vec![FetchPartition {
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let error_of = |response: Response| match response {
        Response::Fetch(answer) => answer.responses[0].partitions[0].error_code,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        error_of(wire.ask(12, 1, fetch("nowhere")).await),
        ErrorCode::UnknownTopicOrPartition
    );
    // From version 13 on names are not sent: the nil id is nobody's.
    assert_eq!(
        error_of(wire.ask(16, 2, fetch("known")).await),
        ErrorCode::UnknownTopicId
    );
    let mut beyond = fetch("known");
    beyond.topics[0].partitions[0].fetch_offset = 5;
    assert_eq!(
        error_of(wire.ask(12, 3, beyond).await),
        ErrorCode::OffsetOutOfRange
    );
    let mut stale = fetch("known");
    stale.topics[0].partitions[0].current_leader_epoch = 1000;
    assert_eq!(
        error_of(wire.ask(12, 4, stale).await),
        ErrorCode::UnknownLeaderEpoch
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_named_again_is_answered_once() {
    let node = Node::start().await;
    node.create_topic("t", 2, &[]).await;
    produce(&node.producer(&[]), "t", &numbered("v", 1)).await;
    let mut wire = Wire::connect(node.address).await;
    let one = |partition, fetch_offset| FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let mut partitions = vec![one(0, 0), one(1, 99)];
    partitions.extend((0..20_000).map(|_| one(0, 0)));
    let fetch = FetchRequest {
        max_bytes: 1,
        topics: vec![FetchTopic {
            topic: "t".to_owned(),
            partitions,
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let Response::Fetch(answer) = wire.ask(12, 1, fetch).await else {
        panic!("another api answered");
    };
    let [first, second] = answer.responses[0].partitions.as_slice() else {
        panic!("not one answer each");
    };
    assert!(
        first
            .records
            .as_ref()
            .is_some_and(|bytes| !bytes.is_empty())
    );
    assert_eq!(
        second.error_code,
        ErrorCode::OffsetOutOfRange,
        "though there is no room left"
    );
    let list = ListOffsetsRequest {
        topics: vec![ListOffsetsTopic {
            name: "t".to_owned(),
            partitions: vec![
                ListOffsetsPartition {
                    timestamp: -3,
                    ..ListOffsetsPartition::default()
                };
                20_000
            ],
        }],
        ..ListOffsetsRequest::default()
    };
    let Response::ListOffsets(answer) = wire.ask(7, 2, list).await else {
        panic!("another api answered");
    };
    let [partition] = answer.topics[0].partitions.as_slice() else {
        panic!("not one answer");
    };
    assert_eq!(
        partition.error_code,
        ErrorCode::InvalidRequest,
        "by which time it is asked for is not clear"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_nothing_of_its_answers_is_cut_off() {
    let node = Node::with(|config| config.connection_idle_max = Duration::from_millis(300)).await;
    node.create_topic("t", 1, &[]).await;
    produce(&node.producer(&[]), "t", &["v".repeat(900_000)]).await;
    let mut wire = Wire::connect(node.address).await;
    let fetch = FetchRequest {
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: "t".to_owned(),
            partitions: vec![FetchPartition {
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let header = RequestHeader::new(ApiKey::Fetch, 12, 1, None);
    let bytes = encode_request(&header, &fetch.into()).expect("a small request");
    let flood = async { while wire.0.write_all(&bytes).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, flood)
        .await
        .expect("an end in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_does_not_wait_for_parked_fetches() {
    let node = Node::start().await;
    node.create_topic("quiet", 1, &[]).await;
    let mut wire = Wire::connect(node.address).await;
    let request = FetchRequest {
        max_wait_ms: 200_000,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: "quiet".to_owned(),
            partitions: vec![FetchPartition {
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let header = RequestHeader::new(ApiKey::Fetch, 12, 1, None);
    wire.send(&encode_request(&header, &request.into()).expect("a small request"))
        .await;
    let start = std::time::Instant::now();
    node.close().await;
    assert!(
        start.elapsed() < std::time::Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(wire.receive().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_answer_names_the_records_that_are_to_blame() {
    let node = Node::start().await;
    node.create_topic("t", 1, &[("cleanup.policy", "compact")])
        .await;
    let mut wire = Wire::connect(node.address).await;
    let mut batch = BatchBuilder::new(Compression::Lz4);
    for n in 0..100 {
        let key = (n % 10 != 0).then_some(&b"key"[..]);
        batch.append(1000, key, Some(b"value"), &[]);
    }
    let batch = batch.build(ProducerStamp::NONE);
    let answer = produced(wire.ask(8, 1, produce_to("t", batch.clone(), None)).await);
    assert_eq!(answer.error_code, ErrorCode::InvalidRecord);
    let named: Vec<_> = answer
        .record_errors
        .iter()
        .map(|one| one.batch_index)
        .collect();
    assert_eq!(named, (0..10).map(|n| n * 10).collect::<Vec<_>>());
    assert!(
        answer
            .record_errors
            .iter()
            .all(|one| one.batch_index_error_message.is_some())
    );
    assert!(
        answer
            .error_message
            .is_some_and(|text| text.contains("10 of its records"))
    );
    let older = produced(wire.ask(7, 2, produce_to("t", batch, None)).await);
    assert!(older.record_errors.is_empty());

    let mut zstd = BatchBuilder::new(Compression::Zstd);
    zstd.append(1000, Some(b"key"), None, &[]);
    let zstd = zstd.build(ProducerStamp::NONE);
    let refused = produced(wire.ask(6, 3, produce_to("t", zstd.clone(), None)).await);
    assert_eq!(refused.error_code, ErrorCode::UnsupportedCompressionType);
    let mut twice = produce_to("t", zstd, None);
    let repeated = twice.topic_data[0].partition_data[0].clone();
    twice.topic_data[0].partition_data.push(repeated);
    let Response::Produce(answer) = wire.ask(9, 4, twice).await else {
        panic!("another api answered");
    };
    let codes: Vec<_> = answer.responses[0]
        .partition_responses
        .iter()
        .map(|one| (one.error_code, one.base_offset))
        .collect();
    assert_eq!(codes, [(ErrorCode::None, 0)], "the last batch alone counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_a_hundred_thousand_times_is_answered_so_often_as_kafka_would_for_a_hundred()
{
    const TIMES: usize = 100_000;
    /// Once, and for a hundred that come again.
    const ANSWERED: usize = 101;
    let node = Node::start().await;
    node.create_topic("t", 1, &[]).await;
    let mut wire = Wire::connect(node.address).await;
    let metadata = MetadataRequest {
        topics: Some(vec![
            MetadataRequestTopic {
                name: Some("t".to_owned()),
                ..MetadataRequestTopic::default()
            };
            TIMES
        ]),
        ..MetadataRequest::default()
    };
    let Response::Metadata(answer) = wire.ask(9, 1, metadata).await else {
        panic!("another api answered");
    };
    assert_eq!(answer.topics.len(), 1);
    let configs = DescribeConfigsRequest {
        resources: vec![
            DescribeConfigsResource {
                resource_type: 2,
                resource_name: "t".to_owned(),
                configuration_keys: None,
            };
            TIMES
        ],
        ..DescribeConfigsRequest::default()
    };
    let Response::DescribeConfigs(answer) = wire.ask(4, 2, configs).await else {
        panic!("another api answered");
    };
    assert_eq!(answer.results.len(), ANSWERED);
    let groups = DescribeGroupsRequest {
        groups: vec!["g".to_owned(); TIMES],
        ..DescribeGroupsRequest::default()
    };
    let Response::DescribeGroups(answer) = wire.ask(5, 3, groups).await else {
        panic!("another api answered");
    };
    assert_eq!(answer.groups.len(), ANSWERED);
    let coordinators = FindCoordinatorRequest {
        coordinator_keys: vec![String::new(); TIMES],
        ..FindCoordinatorRequest::default()
    };
    let Response::FindCoordinator(answer) = wire.ask(4, 4, coordinators).await else {
        panic!("another api answered");
    };
    assert_eq!(answer.coordinators.len(), ANSWERED);
    // A group without a name has a coordinator, as in Kafka.
    assert_eq!(answer.coordinators[0].error_code, ErrorCode::None);
    let offsets = OffsetFetchRequest {
        group_id: "g".to_owned(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: "t".to_owned(),
            partition_indexes: vec![0; TIMES],
        }]),
        ..OffsetFetchRequest::default()
    };
    let Response::OffsetFetch(answer) = wire.ask(7, 5, offsets).await else {
        panic!("another api answered");
    };
    assert_eq!(answer.topics[0].partitions.len(), ANSWERED);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_share_one_budget_and_wait_for_it() {
    let node = Node::with(|config| {
        config.request_bytes_max = 1 << 20;
        config.queued_request_bytes_max = 1 << 20;
    })
    .await;
    node.create_topic("t", 1, &[]).await;
    let mut batch = BatchBuilder::new(Compression::None);
    batch.append(1000, None, Some(&vec![7; 700_000]), &[]);
    let request = produce_to("t", batch.build(ProducerStamp::NONE), None);
    let header = RequestHeader::new(ApiKey::Produce, 9, 1, None);
    let bytes = encode_request(&header, &request.clone().into()).expect("a small request");
    // The first takes its part of the budget, and sends no more for now.
    let mut slow = Wire::connect(node.address).await;
    slow.send(&bytes[..200_000]).await;
    // A small request needs none of it.
    let mut small = Wire::connect(node.address).await;
    small.ask(3, 1, ApiVersionsRequest::default()).await;
    let mut waiting = Wire::connect(node.address).await;
    let asked = waiting.ask(9, 2, request);
    tokio::pin!(asked);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut asked).await;
    assert!(early.is_err(), "there was no room for it");
    slow.send(&bytes[200_000..]).await;
    assert!(slow.receive().await.is_some());
    let answer = produced(
        tokio::time::timeout(PATIENCE, asked)
            .await
            .expect("an answer in time"),
    );
    assert_eq!(answer.error_code, ErrorCode::None);
    // Who goes away gives its part back.
    let mut gone = Wire::connect(node.address).await;
    gone.send(&bytes[..200_000]).await;
    drop(gone);
    slow.send(&bytes).await;
    assert!(slow.receive().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_may_not_answer_what_it_asks_for_does_not_wait_for_it() {
    let node = Node::start().await;
    node.create_topic("t", 1, &[]).await;
    produce(&node.producer(&[]), "t", &["v".repeat(5000)]).await;
    let mut wire = Wire::connect(node.address).await;
    let fetch = |min_bytes, max_bytes, fetch_offset| FetchRequest {
        max_wait_ms: 200_000,
        min_bytes,
        max_bytes,
        topics: vec![FetchTopic {
            topic: "t".to_owned(),
            partitions: vec![FetchPartition {
                fetch_offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let bytes_of = |response: Response| match response {
        Response::Fetch(answer) => answer.responses[0].partitions[0]
            .records
            .as_ref()
            .map_or(0, log_protocol::Payload::len),
        other => panic!("{other:?}"),
    };
    assert!(bytes_of(wire.ask(12, 1, fetch(1 << 20, 1000, 0)).await) > 5000);
    // Small appends add up to what is asked for at the least.
    let asked = wire.ask(12, 2, fetch(9000, 1 << 20, 1));
    let writes = async {
        let producer = node.producer(&[]);
        for _ in 0..10 {
            produce(&producer, "t", &["v".repeat(1000)]).await;
        }
    };
    let (response, ()) = futures::join!(asked, writes);
    let bytes = bytes_of(response);
    assert!((9000..12_000).contains(&bytes), "{bytes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_late_over_a_connection_that_was_left_ends_no_later_transaction() {
    let node = Node::start().await;
    for topic in ["p", "q"] {
        node.create_topic(topic, 1, &[]).await;
    }
    let mut old = Wire::connect(node.address).await;
    let init = InitProducerIdRequest {
        transactional_id: Some("id".to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    let Response::InitProducerId(producer) = old.ask(4, 1, init).await else {
        panic!("another api answered");
    };
    let (producer_id, producer_epoch) = (producer.producer_id, producer.producer_epoch);
    let add = |topic: &str| AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "id".to_owned(),
        v3_and_below_producer_id: producer_id,
        v3_and_below_producer_epoch: producer_epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: topic.to_owned(),
            partitions: vec![0],
        }],
        ..AddPartitionsToTxnRequest::default()
    };
    let added = |response: Response| match response {
        Response::AddPartitionsToTxn(answer) => {
            answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        }
        other => panic!("{other:?}"),
    };
    let write = |topic: &str, base_sequence| {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.append(1000, None, Some(b"v"), &[]);
        let stamp = ProducerStamp {
            producer_id,
            producer_epoch,
            base_sequence,
            transactional: true,
        };
        produce_to(topic, batch.build(stamp), Some("id"))
    };
    let end = |committed| EndTxnRequest {
        transactional_id: "id".to_owned(),
        producer_id,
        producer_epoch,
        committed,
    };
    let ended = |response: Response| match response {
        Response::EndTxn(answer) => answer.error_code,
        other => panic!("{other:?}"),
    };
    assert_eq!(added(old.ask(3, 2, add("p")).await), ErrorCode::None);
    let first = produced(old.ask(9, 3, write("p", 0)).await);
    assert_eq!(first.error_code, ErrorCode::None);
    // The client gives the connection up, repeats the end over a new one, and goes on.
    let mut new = Wire::connect(node.address).await;
    assert_eq!(ended(new.ask(3, 4, end(true)).await), ErrorCode::None);
    // The markers may still be on their way to the disk.
    while added(new.ask(3, 5, add("p")).await) == ErrorCode::ConcurrentTransactions {}
    let second = produced(new.ask(9, 6, write("p", 1)).await);
    assert_eq!(second.error_code, ErrorCode::None);
    // Now what was held up arrives.
    let header = RequestHeader::new(ApiKey::EndTxn, 3, 7, None);
    let late = encode_request(&header, &end(true).into()).expect("a small request");
    old.send(&late).await;
    assert_eq!(old.receive().await, None, "the connection is closed");
    assert_eq!(added(new.ask(3, 8, add("q")).await), ErrorCode::None);
    let third = produced(new.ask(9, 9, write("q", 0)).await);
    assert_eq!(third.error_code, ErrorCode::None);
    assert_eq!(ended(new.ask(3, 10, end(false)).await), ErrorCode::None);
    let consumer = node.consumer("p", 1, &[("isolation.level", "read_committed")]);
    assert_eq!(consume(&consumer, 1), [(0, "v".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_told_to_those_who_ask() {
    let node = Node::start().await;
    node.create_topic("t", 1, &[]).await;
    let mut wire = Wire::connect(node.address).await;
    for (asked, topic, cluster) in [(true, 3576, 8096), (false, i32::MIN, i32::MIN)] {
        let metadata = MetadataRequest {
            topics: None,
            include_topic_authorized_operations: asked,
            include_cluster_authorized_operations: asked,
            ..MetadataRequest::default()
        };
        let Response::Metadata(answer) = wire.ask(8, 1, metadata).await else {
            panic!("another api answered");
        };
        assert_eq!(answer.cluster_authorized_operations, cluster);
        let operations = answer
            .topics
            .iter()
            .map(|one| one.topic_authorized_operations);
        assert!(operations.clone().count() > 0);
        assert!(operations.into_iter().all(|operations| operations == topic));
        let describe = DescribeClusterRequest {
            include_cluster_authorized_operations: asked,
            ..DescribeClusterRequest::default()
        };
        let Response::DescribeCluster(answer) = wire.ask(1, 2, describe).await else {
            panic!("another api answered");
        };
        assert_eq!(answer.cluster_authorized_operations, cluster);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_offsets_of_a_group_are_forgotten() {
    let node = Node::start().await;
    node.create_topic("t", 2, &[]).await;
    let mut wire = Wire::connect(node.address).await;
    let commit = OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".to_owned(),
            partitions: (0..2)
                .map(|partition_index| OffsetCommitRequestPartition {
                    partition_index,
                    committed_offset: 5,
                    ..OffsetCommitRequestPartition::default()
                })
                .collect(),
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    wire.ask(7, 1, commit).await;
    let delete = |group: &str, partitions: &[i32]| OffsetDeleteRequest {
        group_id: group.to_owned(),
        topics: vec![OffsetDeleteRequestTopic {
            name: "t".to_owned(),
            partitions: partitions
                .iter()
                .map(|&partition_index| OffsetDeleteRequestPartition { partition_index })
                .collect(),
        }],
    };
    let Response::OffsetDelete(answer) = wire.ask(0, 2, delete("h", &[0])).await else {
        panic!("another api answered");
    };
    assert_eq!(answer.error_code, ErrorCode::GroupIdNotFound);
    let Response::OffsetDelete(answer) = wire.ask(0, 3, delete("g", &[0, 7])).await else {
        panic!("another api answered");
    };
    let codes: Vec<_> = answer.topics[0]
        .partitions
        .iter()
        .map(|one| one.error_code)
        .collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::UnknownTopicOrPartition]);
    let fetch = OffsetFetchRequest {
        group_id: "g".to_owned(),
        topics: None,
        ..OffsetFetchRequest::default()
    };
    let Response::OffsetFetch(answer) = wire.ask(7, 4, fetch).await else {
        panic!("another api answered");
    };
    let left: Vec<_> = answer.topics[0]
        .partitions
        .iter()
        .map(|one| (one.partition_index, one.committed_offset))
        .collect();
    assert_eq!(left, [(1, 5)]);
}
