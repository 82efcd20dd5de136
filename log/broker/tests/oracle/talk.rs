//! A conversation with a broker that is written down: cases, each of some requests, each request with its answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use log_protocol::api::api_versions::ApiVersionsRequest;
use log_protocol::api::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use log_protocol::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use log_protocol::api::metadata::{MetadataRequest, MetadataRequestTopic};
use log_protocol::{
    ApiKey, ErrorCode, Request, RequestHeader, Response, decode_response, encode_request,
};
use uuid::Uuid;

use super::show::{Names, show};
use crate::wire::Wire;

/// How often a broker is asked whether it has done what it does on its own: Kafka makes topics and ends transactions in its own time.
const LOOKS_MAX: usize = 5000;

/// After so long no answer is what is noted. Kafka has no answer to some requests.
const SILENCE: Duration = Duration::from_secs(10);

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The case, and the place of the request in it from the second on.
    pub(super) case: String,
    /// The version of the request.
    pub(super) version: i16,
    /// What came back.
    pub(super) answer: String,
}

pub(super) struct Talk {
    address: SocketAddr,
    wires: BTreeMap<u8, Wire>,
    correlation: i32,
    case: String,
    step: usize,
    names: Names,
    pub(super) lines: Vec<Line>,
}

impl Talk {
    pub(super) fn with(address: SocketAddr) -> Self {
        Self {
            address,
            wires: BTreeMap::new(),
            correlation: 0,
            case: String::new(),
            step: 0,
            names: Names::default(),
            lines: Vec::new(),
        }
    }

    /// Begins a case: new connections, ids by new names.
    pub(super) fn case(&mut self, name: impl Into<String>) {
        self.case = name.into();
        self.step = 0;
        self.wires.clear();
        self.names = Names::default();
    }

    /// A case of one request.
    pub(super) async fn one(
        &mut self,
        name: impl Into<String>,
        version: i16,
        request: impl Into<Request>,
    ) -> Option<Response> {
        self.case(name);
        self.ask(version, request).await
    }

    /// A case of one request, in each of these versions.
    pub(super) async fn versions<R: Into<Request>>(
        &mut self,
        name: impl Into<String>,
        versions: RangeInclusive<i16>,
        make: impl Fn(i16) -> R,
    ) {
        let name = name.into();
        for version in versions {
            self.one(name.clone(), version, make(version)).await;
        }
    }

    /// Asks over the case's first connection and notes the answer.
    pub(super) async fn ask(
        &mut self,
        version: i16,
        request: impl Into<Request>,
    ) -> Option<Response> {
        self.ask_over(0, version, request).await
    }

    /// Asks over one of the case's connections and notes the answer.
    pub(super) async fn ask_over(
        &mut self,
        wire: u8,
        version: i16,
        request: impl Into<Request>,
    ) -> Option<Response> {
        let request = request.into();
        let api = request.api_key();
        for _ in 0..LOOKS_MAX {
            let frame = self.frame(version, &request);
            let response = self.exchange(wire, api, version, &frame).await;
            // The end of the transaction before is still being written.
            if format!("{response:?}").contains("ConcurrentTransactions") {
                tokio::task::yield_now().await;
                continue;
            }
            self.note(version, response.clone());
            return response.ok().flatten();
        }
        panic!("{}: transactions stay concurrent", self.case);
    }

    /// Sends what gets no answer, and notes whether the connection goes on.
    pub(super) async fn silent(&mut self, version: i16, request: impl Into<Request>) {
        let frame = self.frame(version, &request.into());
        self.wire(0).await.send(&frame).await;
        let after = self.frame(0, &ApiVersionsRequest::default().into());
        let answer = self.exchange(0, ApiKey::ApiVersions, 0, &after).await;
        let text = match answer {
            Ok(Some(_)) => "silence",
            _ => "closed",
        };
        self.push(version, text.to_owned());
    }

    /// Sends a frame, without its size, that is made by hand, and notes the answer as one of this API and version.
    pub(super) async fn raw(&mut self, api: ApiKey, version: i16, frame: &[u8]) {
        let size = u32::try_from(frame.len()).expect("a small frame");
        let sized = [&size.to_be_bytes(), frame].concat();
        let response = self.exchange(0, api, version, &sized).await;
        self.note(version, response);
    }

    /// Asks and notes nothing.
    pub(super) async fn quiet(&mut self, version: i16, request: impl Into<Request>) -> Response {
        let request = request.into();
        let frame = self.frame(version, &request);
        let response = self.exchange(250, request.api_key(), version, &frame).await;
        let response = response.unwrap_or_else(|error| panic!("{request:?}: {error}"));
        response.unwrap_or_else(|| panic!("{request:?} is not answered"))
    }

    /// Makes a topic and waits until it can be used; returns its id.
    pub(super) async fn topic(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Uuid {
        let mut configs = configs.to_vec();
        // What the cases write is old.
        configs.push(("retention.ms", "-1"));
        let create = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: name.to_owned(),
                num_partitions: partitions,
                replication_factor: 1,
                configs: configs
                    .into_iter()
                    .map(|(name, value)| CreatableTopicConfig {
                        name: name.to_owned(),
                        value: Some(value.to_owned()),
                    })
                    .collect(),
                ..CreatableTopic::default()
            }],
            ..CreateTopicsRequest::default()
        };
        match self.quiet(5, create).await {
            Response::CreateTopics(made) => {
                assert_eq!(made.topics[0].error_code, ErrorCode::None, "{made:?}");
            }
            other => panic!("{other:?}"),
        }
        self.await_topic(name, partitions).await
    }

    /// Waits until a topic can be used; returns its id.
    pub(super) async fn await_topic(&mut self, name: &str, partitions: i32) -> Uuid {
        let list = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: name.to_owned(),
                partitions: (0..partitions)
                    .map(|partition_index| ListOffsetsPartition {
                        partition_index,
                        timestamp: -2,
                        ..ListOffsetsPartition::default()
                    })
                    .collect(),
            }],
            ..ListOffsetsRequest::default()
        };
        let mut looks = 0;
        while !matches!(
            self.quiet(7, list.clone()).await,
            Response::ListOffsets(found)
                if found.topics[0].partitions.iter().all(|one| one.error_code == ErrorCode::None)
        ) {
            looks += 1;
            assert!(looks < LOOKS_MAX, "topic {name} does not come up");
            tokio::task::yield_now().await;
        }
        self.topic_id(name).await
    }

    pub(super) async fn topic_id(&mut self, name: &str) -> Uuid {
        let metadata = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(name.to_owned()),
                ..MetadataRequestTopic::default()
            }]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        match self.quiet(12, metadata).await {
            Response::Metadata(metadata) => metadata.topics[0].topic_id,
            other => panic!("{other:?}"),
        }
    }

    fn frame(&mut self, version: i16, request: &Request) -> Bytes {
        self.correlation += 1;
        let client = Some("oracle".to_owned());
        let header = RequestHeader::new(request.api_key(), version, self.correlation, client);
        encode_request(&header, request).expect("a small request")
    }

    async fn wire(&mut self, number: u8) -> &mut Wire {
        if !self.wires.contains_key(&number) {
            let wire = Wire::connect(self.address).await;
            self.wires.insert(number, wire);
        }
        self.wires.get_mut(&number).expect("just connected")
    }

    /// The answer to a frame; `None` when the connection is closed instead.
    async fn exchange(
        &mut self,
        number: u8,
        api: ApiKey,
        version: i16,
        frame: &[u8],
    ) -> Result<Option<Response>, String> {
        let wire = self.wire(number).await;
        let sent = wire.try_send(frame).await;
        let received = match sent {
            Ok(()) => match tokio::time::timeout(SILENCE, wire.receive()).await {
                Ok(received) => received,
                Err(_) => {
                    self.wires.remove(&number);
                    return Err("silence".to_owned());
                }
            },
            Err(_) => None,
        };
        let Some(received) = received else {
            self.wires.remove(&number);
            return Ok(None);
        };
        decode_response(api, version, received)
            .map(|(_, response)| Some(response))
            .map_err(|error| format!("unreadable: {error}"))
    }

    fn note(&mut self, version: i16, response: Result<Option<Response>, String>) {
        let answer = match response {
            Ok(Some(response)) => show(response, &mut self.names),
            Ok(None) => "closed".to_owned(),
            Err(error) => error,
        };
        self.push(version, answer);
    }

    /// Notes an answer from which was taken what differs anyway.
    pub(super) fn note_answer(&mut self, version: i16, response: Response) {
        self.note(version, Ok(Some(response)));
    }

    /// Notes what was made of an answer.
    pub(super) fn note_text(&mut self, version: i16, text: String) {
        self.push(version, text);
    }

    fn push(&mut self, version: i16, answer: String) {
        self.step += 1;
        let case = if self.step == 1 {
            self.case.clone()
        } else {
            format!("{} ({})", self.case, self.step)
        };
        self.lines.push(Line {
            case,
            version,
            answer,
        });
    }
}
