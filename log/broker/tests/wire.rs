//! Bytes on the socket: versions, limits, and what no client sends.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use log_protocol::api::api_versions::ApiVersionsRequest;
use log_protocol::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use log_protocol::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use log_protocol::api::metadata::MetadataRequest;
use log_protocol::{
    ApiKey, ErrorCode, Request, RequestHeader, Response, decode_response, encode_request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::{Node, PATIENCE, numbered, produce};

struct Wire(TcpStream);

impl Wire {
    async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("connected"))
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("sent");
    }

    /// The next frame, without its size; `None` when the broker closes the connection.
    async fn receive(&mut self) -> Option<Bytes> {
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

    async fn ask(
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

#[tokio::test(flavor = "multi_thread")]
async fn api_versions_is_answered_in_every_version() {
    let node = Node::start().await;
    let mut wire = Wire::connect(node.address).await;
    for version in 0..=4 {
        let Response::ApiVersions(answer) = wire
            .ask(version, i32::from(version), ApiVersionsRequest::default())
            .await
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
        bytes.put_slice(&encode_request(&header, &request));
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
async fn a_partition_that_is_named_again_is_refused() {
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
    let [first, second, repeated @ ..] = answer.responses[0].partitions.as_slice() else {
        panic!("too few");
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
    assert_eq!(repeated.len(), 20_000);
    assert!(
        repeated
            .iter()
            .all(|one| one.error_code == ErrorCode::InvalidRequest)
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
    let partitions = &answer.topics[0].partitions;
    assert_eq!(
        (partitions[0].error_code, partitions[0].offset),
        (ErrorCode::None, 0)
    );
    assert!(
        partitions[1..]
            .iter()
            .all(|one| one.error_code == ErrorCode::InvalidRequest)
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
    let bytes = encode_request(&header, &fetch.into());
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
    wire.send(&encode_request(&header, &request.into())).await;
    let start = std::time::Instant::now();
    node.close().await;
    assert!(
        start.elapsed() < std::time::Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(wire.receive().await, None);
}
