//! A Kafka cluster as the command line administers it.
//!
//! Records go through [`log_kafka`]. Administration speaks the protocol itself: librdkafka's answers lack the broker's
//! own words, and those say what is wrong and what is near.
//!
//! ```text
//! bootstrap address ── ApiVersions, Metadata ──┬── controller    topics, configs
//!                                              └── coordinator   groups, offsets
//! ```

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::BytesMut;
use clap::Args;
use log_api::{AdminError, Log, TopicPartition};
use log_kafka::{Kafka, KafkaConfig};
use log_protocol::api::api_versions::ApiVersionsRequest;
use log_protocol::api::find_coordinator::FindCoordinatorRequest;
use log_protocol::api::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use log_protocol::api::metadata::MetadataRequest;
use log_protocol::{
    ApiKey, ErrorCode, Request, RequestHeader, Response, decode_response, encode_request,
    take_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config;
use crate::elsewhere::{self, Wanted};
use crate::exit::Failure;

/// How long to try to reach a broker before saying that nothing answers.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long a broker may take for an answer.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// In the place of a time: behind the last record.
const LATEST: i64 = -1;
/// Largest answer that is taken.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Which cluster a command speaks to.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// Address of a broker
    #[arg(
        long,
        short = 'b',
        visible_aliases = ["server", "bootstrap-server"],
        value_name = "HOST:PORT",
        global = true,
        default_value = "127.0.0.1:9092",
        env = "KAFKA_BOOTSTRAP_SERVERS"
    )]
    pub bootstrap_servers: String,
}

impl ClusterArgs {
    /// Why nobody answers, as far as it can be seen of the first address.
    async fn nobody(&self) -> anyhow::Error {
        let first = self.bootstrap_servers.split(',').next();
        let first = first.unwrap_or_default().trim();
        elsewhere::explain(first, Wanted::Kafka).await.into()
    }

    /// A log to read and write, or says that nothing answers there.
    pub(crate) async fn connect(&self) -> Result<Kafka> {
        // The client library tries for long and does not say that every address refused.
        let stream = self.open().await?;
        let spoken = Connection::new(&self.bootstrap_servers, stream).await?;
        if spoken.is_none() {
            bail!(self.nobody().await);
        }
        let config = KafkaConfig::new(&self.bootstrap_servers);
        let kafka = Kafka::connect(config)
            .with_context(|| format!("cannot use {}", self.bootstrap_servers))?;
        match timeout(CONNECT_WAIT, kafka.admin().list_topics()).await {
            Ok(Ok(_)) => Ok(kafka),
            Ok(Err(AdminError::Unavailable(_))) | Err(_) => bail!(self.nobody().await),
            Ok(Err(error)) => Err(error.into()),
        }
    }

    /// The cluster to administer.
    pub(crate) async fn cluster(&self) -> Result<Cluster> {
        let stream = self.open().await?;
        let Some(mut bootstrap) = Connection::new(&self.bootstrap_servers, stream).await? else {
            bail!(self.nobody().await);
        };
        let request = MetadataRequest {
            topics: None,
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let Response::Metadata(metadata) = bootstrap.call(request, 9).await? else {
            bail!(bootstrap.wrong_answer());
        };
        let brokers = metadata.brokers.into_iter();
        let topics = metadata.topics.into_iter();
        Ok(Cluster {
            brokers: brokers
                .map(|broker| (broker.node_id, format!("{}:{}", broker.host, broker.port)))
                .collect(),
            controller: metadata.controller_id,
            topics: topics.filter_map(|topic| topic.name).collect(),
            bootstrap,
        })
    }

    async fn open(&self) -> Result<TcpStream> {
        let addresses = self.bootstrap_servers.split(',');
        let sockets = addresses.map(|address| Box::pin(TcpStream::connect(address.trim())));
        match timeout(CONNECT_WAIT, futures::future::select_ok(sockets)).await {
            Ok(Ok((stream, _))) => Ok(stream),
            _ => Err(self.nobody().await),
        }
    }
}

/// A cluster: its brokers, and the names of its topics.
pub(crate) struct Cluster {
    brokers: BTreeMap<i32, String>,
    controller: i32,
    topics: Vec<String>,
    bootstrap: Connection,
}

impl Cluster {
    /// Every broker.
    pub(crate) async fn all(&self) -> Result<Vec<Connection>> {
        let mut all = Vec::with_capacity(self.brokers.len());
        for address in self.brokers.values() {
            all.push(Connection::open(address).await?);
        }
        Ok(all)
    }

    /// The broker that makes and changes topics.
    pub(crate) async fn controller(&self) -> Result<Connection> {
        let controller = self.brokers.get(&self.controller);
        Connection::open(controller.unwrap_or(&self.bootstrap.address)).await
    }

    /// The broker that keeps a group.
    pub(crate) async fn coordinator(&mut self, group: &str) -> Result<Connection> {
        let request = FindCoordinatorRequest {
            key: group.to_owned(),
            ..FindCoordinatorRequest::default()
        };
        let Response::FindCoordinator(found) = self.bootstrap.call(request, 3).await? else {
            bail!(self.bootstrap.wrong_answer());
        };
        refused(
            &format!("group {group}"),
            found.error_code,
            found.error_message,
        )?;
        Connection::open(&format!("{}:{}", found.host, found.port)).await
    }

    /// What its broker says against a partition.
    pub(crate) async fn fault_of(&mut self, at: &TopicPartition) -> Result<ErrorCode> {
        let asked = ListOffsetsPartition {
            partition_index: at.partition,
            timestamp: LATEST,
            ..ListOffsetsPartition::default()
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: at.topic.to_string(),
                partitions: vec![asked],
            }],
            ..ListOffsetsRequest::default()
        };
        let Response::ListOffsets(told) = self.bootstrap.call(request, 5).await? else {
            bail!(self.bootstrap.wrong_answer());
        };
        let mut partitions = told.topics.into_iter().flat_map(|topic| topic.partitions);
        match partitions.next() {
            Some(partition) => Ok(partition.error_code),
            None => bail!(self.bootstrap.wrong_answer()),
        }
    }

    /// Says that there is no such topic, and which is near.
    pub(crate) fn unknown_topic(&self, name: &str) -> anyhow::Error {
        unknown(
            "topic",
            name,
            self.topics.iter().map(String::as_str),
            "topic list",
        )
    }

    /// Fails where a topic is not there.
    pub(crate) fn known_topic(&self, name: &str) -> Result<()> {
        if self.topics.iter().any(|topic| topic == name) {
            return Ok(());
        }
        Err(self.unknown_topic(name))
    }
}

/// Says that something does not exist, which one is near, and what lists all.
pub(crate) fn unknown<'a>(
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
    list: &str,
) -> anyhow::Error {
    let help = match config::nearest(name, known) {
        Some(near) => format!(", did you mean {near}?"),
        None => format!("; `thalweg {list}` shows what there is"),
    };
    Failure::NotFound(format!("{kind} {name} does not exist{help}")).into()
}

/// An error for a code that is one: the broker's own words, or Kafka's for the code.
pub(crate) fn refused(what: &str, code: ErrorCode, message: Option<String>) -> Result<()> {
    if !code.is_error() {
        return Ok(());
    }
    let words = message.filter(|message| !message.is_empty());
    let words = words.unwrap_or_else(|| code.message().to_owned());
    let words = words.trim_end_matches('.');
    // The broker names the object itself as a rule.
    let name = what.rsplit(' ').next().unwrap_or(what);
    let text = if words.contains(name) {
        words.to_owned()
    } else {
        format!("{what}: {words}")
    };
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::GroupIdNotFound => {
            Err(Failure::NotFound(text).into())
        }
        _ => Err(anyhow!(text)),
    }
}

/// A connection to one broker; one request at a time.
pub(crate) struct Connection {
    address: String,
    stream: TcpStream,
    buffer: BytesMut,
    /// API → versions that the broker speaks.
    versions: HashMap<i16, (i16, i16)>,
    correlation_id: i32,
}

impl Connection {
    async fn open(address: &str) -> Result<Self> {
        let nobody = || Failure::Server(format!("broker {address} does not answer"));
        let stream = timeout(CONNECT_WAIT, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| nobody())?.map_err(|_| nobody())?;
        let connection = Self::new(address, stream).await?;
        Ok(connection.ok_or_else(nobody)?)
    }

    /// A connection over `stream`; `None` where who is there does not speak the protocol.
    async fn new(address: &str, stream: TcpStream) -> Result<Option<Self>> {
        let mut connection = Self {
            address: address.to_owned(),
            stream,
            buffer: BytesMut::new(),
            versions: HashMap::from([(ApiKey::ApiVersions.code(), (0, 0))]),
            correlation_id: 0,
        };
        let answer = connection.call(ApiVersionsRequest::default(), 0);
        let Ok(Ok(answer)) = timeout(CONNECT_WAIT, answer).await else {
            return Ok(None);
        };
        let Response::ApiVersions(spoken) = answer else {
            bail!(connection.wrong_answer());
        };
        refused(address, spoken.error_code, None)?;
        let spoken = spoken.api_keys.iter();
        connection.versions = spoken
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        Ok(Some(connection))
    }

    /// Asks, in the highest version up to `version_max` that both sides speak.
    pub(crate) async fn call(
        &mut self,
        request: impl Into<Request>,
        version_max: i16,
    ) -> Result<Response> {
        let request = request.into();
        let api = request.api_key();
        let theirs = self.versions.get(&api.code()).copied();
        let ours = api.versions();
        let version = theirs.map_or(-1, |(_, max)| max.min(ours.1).min(version_max));
        if theirs.is_none_or(|(min, _)| version < min.max(ours.0)) {
            bail!(
                "broker {} does not speak {api} in a version known here",
                self.address
            );
        }
        self.correlation_id += 1;
        let client = Some("thalweg".to_owned());
        let header = RequestHeader::new(api, version, self.correlation_id, client);
        let exchange = async {
            let frame = encode_request(&header, &request)?;
            self.stream.write_all(&frame).await?;
            loop {
                let frame = take_frame(&mut self.buffer, ANSWER_BYTES_MAX)?;
                if let Some(frame) = frame {
                    return decode_response(api, version, frame).map_err(anyhow::Error::from);
                }
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    bail!("the connection was closed");
                }
            }
        };
        let (_, response) = timeout(ANSWER_WAIT, exchange)
            .await
            .map_err(|_| anyhow!("no answer within {} s", ANSWER_WAIT.as_secs()))
            .and_then(|answer| answer)
            .map_err(|error| {
                Failure::Server(format!("broker {}: {api}: {error:#}", self.address))
            })?;
        Ok(response)
    }

    /// The broker answered something that was not asked.
    pub(crate) fn wrong_answer(&self) -> Failure {
        Failure::Server(format!(
            "broker {} gave an answer of another kind",
            self.address
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_words_are_passed_on() {
        let says = |what: &str, message: Option<&str>| {
            let refused = refused(what, ErrorCode::InvalidConfig, message.map(str::to_owned));
            refused.expect_err("an error").to_string()
        };
        let words =
            "topic ab: unknown topic config \"retention.mss\"; did you mean \"retention.ms\"?";
        assert_eq!(says("topic ab", Some(words)), words);
        assert_eq!(
            says("topic ab", Some("Replication factor: 3 larger")),
            "topic ab: Replication factor: 3 larger"
        );
        let of_the_code = says("topic ab", None);
        assert!(of_the_code.starts_with("topic ab: "), "{of_the_code}");
        assert!(refused("topic ab", ErrorCode::None, None).is_ok());
    }

    #[test]
    fn what_does_not_exist_is_not_found_and_has_a_neighbour() {
        let error = unknown(
            "topic",
            "clciks",
            ["orders", "clicks"].into_iter(),
            "topic list",
        );
        assert_eq!(
            error.to_string(),
            "topic clciks does not exist, did you mean clicks?"
        );
        assert!(matches!(error.downcast_ref(), Some(Failure::NotFound(_))));
    }
}
