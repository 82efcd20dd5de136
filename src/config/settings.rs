//! Everything that can be set: one documented struct a component, and its defaults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::http_listeners::{self, HttpListener};
use crate::memory::{self, Available};

/// Everything that can be set. The defaults run all roles on the local machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The folder that holds everything: the log and the state of jobs. Made if it is missing.
    pub data: PathBuf,
    /// Lets other machines connect where nobody is asked who they are.
    pub insecure_bind: bool,
    /// The memory of the process.
    pub memory: MemorySettings,
    /// The Kafka protocol.
    pub kafka: KafkaSettings,
    /// The Connect runtime and its REST interface.
    pub connect: ConnectSettings,
    /// SQL over HTTP, health and metrics.
    pub http: ListenSettings,
    /// Limits of SQL statements.
    pub sql: sql::SqlConfig,
    /// The dataflow engine.
    pub streams: StreamsSettings,
    /// Limits of WASM guests.
    pub wasm: WasmSettings,
    /// What is logged, to standard error.
    pub log: LogSettings,
}

/// `memory.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MemorySettings {
    /// What the server keeps to: a size (`4GiB`), or `auto`: half of what the machine or the container has.
    pub limit: String,
}

/// `kafka.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KafkaSettings {
    /// Address of the Kafka protocol, in the clear and for this machine; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Listeners in the place of that one, as `NAME://host:port` (Kafka's `listeners`).
    pub listeners: String,
    /// Where clients of each are to connect, if not where they did (Kafka's `advertised.listeners`).
    pub advertised_listeners: String,
    /// Protocols of listeners with names of their own, as `NAME:PROTOCOL` (Kafka's `listener.security.protocol.map`).
    pub listener_security_protocol_map: String,
    /// The server's certificate and those that vouch for it: PEM, or the path of a file (Kafka's `ssl.keystore.certificate.chain`).
    pub ssl_keystore_certificate_chain: String,
    /// Its private key: PEM, or the path of a file (Kafka's `ssl.keystore.key`).
    pub ssl_keystore_key: String,
    /// Certificates of those who vouch for clients (Kafka's `ssl.truststore.certificates`).
    pub ssl_truststore_certificates: String,
    /// Whether clients show certificates: `none`, `requested`, `required` (Kafka's `ssl.client.auth`).
    pub ssl_client_auth: String,
    /// How clients may say who they are (Kafka's `sasl.enabled.mechanisms`).
    pub sasl_enabled_mechanisms: String,
    /// Path of a file with the keys of who signs tokens of OAUTHBEARER (Kafka's `sasl.oauthbearer.jwks.endpoint.url`).
    pub sasl_oauthbearer_jwks_endpoint_url: String,
    /// Who must have issued them; empty: anyone (Kafka's `sasl.oauthbearer.expected.issuer`).
    pub sasl_oauthbearer_expected_issuer: String,
    /// For one of whom they must be; empty: anyone (Kafka's `sasl.oauthbearer.expected.audience`).
    pub sasl_oauthbearer_expected_audience: String,
    /// Which claim names the user (Kafka's `sasl.oauthbearer.sub.claim.name`).
    pub sasl_oauthbearer_sub_claim_name: String,
    /// Whether rules of access are looked at: `on`, `off`, or `auto`, where any listener asks who connects.
    pub authorizer: String,
    /// Principals that no rule keeps from anything, parted by semicolons (Kafka's `super.users`).
    pub super_users: String,
    /// Whether everyone may do what no rule is about (Kafka's `allow.everyone.if.no.acl.found`).
    pub allow_everyone_if_no_acl_found: bool,
    /// Users and their passwords: `kafka.users.NAME`.
    #[serde(skip)]
    pub users: BTreeMap<String, String>,
    /// Create a topic when a client asks for one that is missing (Kafka's `auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Partitions of a topic that is created so (Kafka's `num.partitions`).
    pub num_partitions: i32,
    /// Largest request, bytes; a larger one closes its connection (Kafka's `socket.request.max.bytes`).
    pub request_bytes_max: usize,
    /// Memory for the requests of all connections that are being read or answered, bytes; a connection that finds no room waits
    /// (Kafka's `queued.max.request.bytes`).
    pub queued_request_bytes_max: usize,
    /// Responses that wait for slow readers, bytes over all connections; beyond it a fetch waits, and readers that take
    /// nothing are cut off.
    pub response_bytes_max: usize,
    /// A connection that sends nothing, or takes nothing of its answer, is closed after this, ms (Kafka's
    /// `connections.max.idle.ms`).
    pub connection_idle_ms_max: u64,
    /// How long the first rebalance of a group waits for the next member, ms; 0 not at all (Kafka's
    /// `group.initial.rebalance.delay.ms`).
    pub rebalance_delay_ms: u64,
}

/// `connect.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConnectSettings {
    /// Address of the Connect REST interface; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Listeners in the place of that one, as `PROTOCOL://address:port`: PLAINTEXT, SASL_PLAINTEXT, SASL_SSL.
    pub listeners: String,
}

/// `http.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ListenSettings {
    /// Address of `/v1/query`, `/metrics`, `/healthz`, `/readyz`; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Listeners in the place of that one, as `PROTOCOL://address:port`: PLAINTEXT, SASL_PLAINTEXT, SASL_SSL.
    pub listeners: String,
}

/// `streams.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StreamsSettings {
    /// Longest time between two commits of a job, ms.
    pub commit_interval_ms: u64,
    /// Stable name of this process in transactional ids.
    pub worker: String,
    /// Threads that all jobs share; 0: as many as the machine gives this process, at least two.
    pub threads: usize,
    /// Tokens of a job that is made from now on: parts of its key space that threads work on at the same time.
    pub tokens: usize,
    /// Folder for snapshots of the state of jobs, or `off`: then none are taken, and changelogs grow. The changelog behind
    /// snapshots goes, so they belong into a backup.
    pub snapshots: String,
    /// Bytes of changes between two snapshots of a job.
    pub snapshot_bytes: u64,
    /// Bytes of uncommitted changes of a job that bring its commit forward.
    pub commit_bytes: usize,
    /// Bytes of state that one operator keeps in memory, in front of the disk.
    pub operator_cache_bytes: usize,
    /// Bytes of the block cache that all jobs share, their write buffers in it.
    pub cache_bytes: usize,
    /// Bytes of a write buffer; a job has at most two.
    pub write_buffer_bytes: usize,
    /// Bytes of state that a push query may keep in memory; beyond it the query ends with an error.
    pub query_state_bytes: usize,
    /// Rows taken from a source at once.
    pub epoch_rows: usize,
    /// Bytes fetched from a source at once.
    pub fetch_bytes: usize,
    /// How long a partition must be caught up before it stops holding event time, ms.
    pub idle_grace_ms: i64,
}

/// `wasm.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WasmSettings {
    /// Linear memory of one guest instance, bytes.
    pub memory_bytes_max: usize,
    /// Longest time of one call into a guest, ms.
    pub call_deadline_ms: u64,
    /// Most bytes that one call may return.
    pub output_bytes_max: usize,
}

/// `log.*`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSettings {
    /// error, warn, info, debug or trace; parts may have their own: `warn,log_broker=debug`. `RUST_LOG` goes before it.
    pub level: String,
    /// Lines for people, or one JSON object a line.
    pub format: LogFormat,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: PathBuf::from("thalweg-data"),
            insecure_bind: false,
            memory: MemorySettings::default(),
            kafka: KafkaSettings::default(),
            connect: ConnectSettings::default(),
            http: ListenSettings::default(),
            sql: sql::SqlConfig::default(),
            streams: StreamsSettings::default(),
            wasm: WasmSettings::default(),
            log: LogSettings::default(),
        }
    }
}

impl Settings {
    /// Where SQL, health and metrics are served.
    ///
    /// # Errors
    /// Listeners that cannot be.
    pub(crate) fn http_listeners(&self) -> Result<Vec<HttpListener>> {
        let http = &self.http;
        http_listeners::parse("http", &http.listeners, http.listen, self.insecure_bind)
    }

    /// Where Connect's REST is served.
    ///
    /// # Errors
    /// Listeners that cannot be.
    pub(crate) fn connect_listeners(&self) -> Result<Vec<HttpListener>> {
        let connect = &self.connect;
        let (listeners, listen) = (&connect.listeners, connect.listen);
        http_listeners::parse("connect", listeners, listen, self.insecure_bind)
    }
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            limit: memory::AUTO.to_owned(),
        }
    }
}

impl MemorySettings {
    /// What it comes to here, bytes.
    ///
    /// # Errors
    /// A value that is no size.
    pub(crate) fn limit_bytes(&self) -> Result<u64> {
        memory::limit_bytes(&self.limit, &Available::here())
    }
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            listen: local(9092),
            listeners: String::new(),
            advertised_listeners: String::new(),
            listener_security_protocol_map: String::new(),
            ssl_keystore_certificate_chain: String::new(),
            ssl_keystore_key: String::new(),
            ssl_truststore_certificates: String::new(),
            ssl_client_auth: "none".to_owned(),
            sasl_enabled_mechanisms: "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned(),
            sasl_oauthbearer_jwks_endpoint_url: String::new(),
            sasl_oauthbearer_expected_issuer: String::new(),
            sasl_oauthbearer_expected_audience: String::new(),
            sasl_oauthbearer_sub_claim_name: "sub".to_owned(),
            authorizer: "auto".to_owned(),
            super_users: String::new(),
            allow_everyone_if_no_acl_found: false,
            users: BTreeMap::new(),
            auto_create_topics: true,
            num_partitions: 1,
            request_bytes_max: 16 << 20,
            queued_request_bytes_max: 20 << 20,
            response_bytes_max: 8 << 20,
            connection_idle_ms_max: 600_000,
            rebalance_delay_ms: 50,
        }
    }
}

impl Default for ConnectSettings {
    fn default() -> Self {
        Self {
            listen: local(8083),
            listeners: String::new(),
        }
    }
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            listen: local(9644),
            listeners: String::new(),
        }
    }
}

/// In place of a folder: no snapshots.
const SNAPSHOTS_OFF: &str = "off";

impl StreamsSettings {
    /// The folder for snapshots, if there are to be any.
    pub(crate) fn snapshot_dir(&self) -> Option<PathBuf> {
        (self.snapshots != SNAPSHOTS_OFF).then(|| PathBuf::from(&self.snapshots))
    }
}

impl Default for StreamsSettings {
    fn default() -> Self {
        let engine = streams::EngineConfig::default();
        Self {
            commit_interval_ms: 200,
            worker: "worker-0".to_owned(),
            threads: engine.threads,
            tokens: engine.tokens,
            snapshots: SNAPSHOTS_OFF.to_owned(),
            snapshot_bytes: engine.snapshot_bytes,
            commit_bytes: engine.commit_bytes,
            operator_cache_bytes: engine.operator_cache_bytes,
            cache_bytes: engine.cache_bytes,
            write_buffer_bytes: engine.write_buffer_bytes,
            query_state_bytes: engine.query_state_bytes,
            epoch_rows: engine.epoch_rows,
            fetch_bytes: engine.fetch_bytes,
            idle_grace_ms: engine.idle_grace_ms,
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "warn".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl Default for WasmSettings {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            call_deadline_ms: 1000,
            output_bytes_max: 16 << 20,
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
