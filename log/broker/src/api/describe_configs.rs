//! DescribeConfigs (key 32): topics with all their keys, defaults among them, and the broker's settings.

use std::collections::BTreeMap;

use log_protocol::ErrorCode;
use log_protocol::api::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::Answered;
use crate::authorize::{Resource, require};
use crate::config::{BrokerConfig, millis_i64};
use crate::quorum::is_valid_name;
use crate::security::acl::Operation;
use crate::services::Context;
use crate::topic_config::{CONFIG_KEYS, ConfigKind};

/// Kinds of resources.
pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;

/// These have no configs here.
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// Where a value comes from.
const DYNAMIC_TOPIC: i8 = 1;
const DYNAMIC_BROKERS: i8 = 3;
const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

/// One config as it is.
pub(crate) struct Shown {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) source: i8,
    kind: ConfigKind,
    doc: &'static str,
    default: String,
}

impl Shown {
    /// Whether somebody has set it, for the topic or for all of them.
    pub(crate) fn is_set(&self) -> bool {
        matches!(self.source, DYNAMIC_TOPIC | STATIC_BROKER)
    }
}

pub(crate) fn handle(ctx: &Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    // Configs are hundreds of times as long as the name of their resource.
    let mut answered = Answered::default();
    let results = request
        .resources
        .iter()
        .filter(|resource| answered.may_answer((resource.resource_type, &resource.resource_name)))
        .map(|resource| {
            let shown = may(ctx, resource).and_then(|()| match resource.resource_type {
                TOPIC => topic(ctx, &resource.resource_name),
                BROKER => broker_settings(ctx, &resource.resource_name),
                BROKER_LOGGER => broker_id(ctx, &resource.resource_name).map(|()| Vec::new()),
                CLIENT_METRICS | GROUP => named(&resource.resource_name).map(|()| Vec::new()),
                other => Err((
                    ErrorCode::InvalidRequest,
                    format!("resource type {other} has no configs here"),
                )),
            });
            match shown {
                Ok(shown) => described(&request, resource, shown),
                Err((error_code, message)) => DescribeConfigsResult {
                    error_code,
                    error_message: Some(message),
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name.clone(),
                    configs: Vec::new(),
                },
            }
        })
        .collect();
    DescribeConfigsResponse {
        results,
        ..DescribeConfigsResponse::default()
    }
}

/// Whether the client may see the configs of a resource.
fn may(ctx: &Context, resource: &DescribeConfigsResource) -> Result<(), (ErrorCode, String)> {
    let guarded = match resource.resource_type {
        TOPIC => Resource::Topic(&resource.resource_name),
        _ => Resource::Cluster,
    };
    require(ctx, Operation::DescribeConfigs, guarded)
        .map_err(|error| (error, error.message().to_owned()))
}

/// Every config of a topic that sets these, by name.
pub(crate) fn topic_configs(ctx: &Context, set: &BTreeMap<String, String>) -> Vec<Shown> {
    CONFIG_KEYS
        .iter()
        .map(|key| {
            let from_broker = ctx.services.config.topic_defaults.get(key.name);
            let default = from_broker
                .cloned()
                .unwrap_or_else(|| key.default.to_owned());
            let (value, source) = match (set.get(key.name), from_broker) {
                (Some(value), _) => (value.clone(), DYNAMIC_TOPIC),
                (None, Some(value)) => (value.clone(), STATIC_BROKER),
                (None, None) => (key.default.to_owned(), source_of_default(key.name)),
            };
            Shown {
                key: key.name,
                value,
                source,
                kind: key.kind,
                doc: key.doc,
                default,
            }
        })
        .collect()
}

/// Kafka 4.3 sets this one for all brokers when a cluster is made, so that clients see it as set.
fn source_of_default(key: &str) -> i8 {
    match key {
        "min.insync.replicas" => DYNAMIC_BROKERS,
        _ => DEFAULT,
    }
}

fn topic(ctx: &Context, name: &str) -> Result<Vec<Shown>, (ErrorCode, String)> {
    match ctx.services.topics.get(name) {
        Some(topic) => Ok(topic_configs(ctx, &topic.set_configs())),
        None if !is_valid_name(name) => Err((
            ErrorCode::InvalidTopicException,
            format!("{name:?} cannot be the name of a topic"),
        )),
        None => Err((
            ErrorCode::UnknownTopicOrPartition,
            format!("topic {name} does not exist"),
        )),
    }
}

fn broker_settings(ctx: &Context, name: &str) -> Result<Vec<Shown>, (ErrorCode, String)> {
    // What is set for all brokers while they run: nothing can be.
    if name.is_empty() {
        return Ok(Vec::new());
    }
    broker_id(ctx, name)?;
    Ok(settings(&ctx.services.config))
}

/// Whether it is the name of a broker.
pub(super) fn broker_id(ctx: &Context, name: &str) -> Result<(), (ErrorCode, String)> {
    let node_id = ctx.services.config.node_id;
    if name.parse() == Ok(node_id) {
        return Ok(());
    }
    let message = format!("broker {name:?} is not part of the cluster, only {node_id} is");
    Err((ErrorCode::InvalidRequest, message))
}

/// Whether it is a name.
fn named(name: &str) -> Result<(), (ErrorCode, String)> {
    if name.is_empty() {
        let message = "the name of the resource is empty".to_owned();
        return Err((ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

/// `advertised.listeners` as Kafka writes it.
fn advertised(config: &BrokerConfig) -> String {
    let listeners = config.advertised_listeners.iter();
    let listeners = listeners.map(|(name, address)| format!("{name}://{address}"));
    listeners.collect::<Vec<_>>().join(",")
}

/// `listeners` as Kafka writes it.
fn listeners(config: &BrokerConfig) -> String {
    let listeners = config.listeners.iter().map(ToString::to_string);
    listeners.collect::<Vec<_>>().join(",")
}

/// The broker's settings by Kafka's names.
fn settings(config: &BrokerConfig) -> Vec<Shown> {
    let ours = BrokerConfig::default();
    let pairs = |config: &BrokerConfig| {
        use ConfigKind::{Boolean, Int, Long, String as Text};
        [
            ("advertised.listeners", Text, advertised(config)),
            (
                "auto.create.topics.enable",
                Boolean,
                config.auto_create_topics.to_string(),
            ),
            ("broker.id", Int, config.node_id.to_string()),
            (
                "connections.max.idle.ms",
                Long,
                millis_i64(config.connection_idle_max).to_string(),
            ),
            ("default.replication.factor", Int, "1".to_owned()),
            ("delete.topic.enable", Boolean, "true".to_owned()),
            ("fetch.max.bytes", Int, config.fetch_bytes_max.to_string()),
            (
                "group.initial.rebalance.delay.ms",
                Int,
                millis_i64(config.group_initial_rebalance_delay).to_string(),
            ),
            (
                "group.max.session.timeout.ms",
                Int,
                millis_i64(config.group_session_timeout_max).to_string(),
            ),
            ("group.max.size", Int, config.group_members_max.to_string()),
            (
                "group.min.session.timeout.ms",
                Int,
                millis_i64(config.group_session_timeout_min).to_string(),
            ),
            ("listeners", Text, listeners(config)),
            ("log.dirs", Text, config.data_dir.display().to_string()),
            ("max.connections", Int, config.connections_max.to_string()),
            ("node.id", Int, config.node_id.to_string()),
            ("num.partitions", Int, config.num_partitions.to_string()),
            (
                "offsets.retention.minutes",
                Int,
                (config.offsets_retention.as_secs() / 60).to_string(),
            ),
            (
                "queued.max.request.bytes",
                Long,
                config.queued_request_bytes_max.to_string(),
            ),
            (
                "socket.request.max.bytes",
                Int,
                config.request_bytes_max.to_string(),
            ),
            (
                "transaction.max.timeout.ms",
                Int,
                millis_i64(config.transaction_timeout_max).to_string(),
            ),
        ]
    };
    pairs(config)
        .into_iter()
        .zip(pairs(&ours))
        .map(|((key, kind, value), (_, _, default))| {
            // Who runs a broker has given it its id.
            let is_given = value != default || matches!(key, "broker.id" | "node.id");
            let source = if is_given { STATIC_BROKER } else { DEFAULT };
            Shown {
                key,
                value,
                source,
                kind,
                doc: "",
                default,
            }
        })
        .chain(defaults_of_topics(config))
        .collect()
}

/// What topics have that do not set it, by the names that the broker's settings have for it.
fn defaults_of_topics(config: &BrokerConfig) -> impl Iterator<Item = Shown> {
    CONFIG_KEYS.iter().filter_map(|key| {
        let from_broker = config.topic_defaults.get(key.name);
        Some(Shown {
            key: broker_name(key.name)?,
            value: from_broker.map_or(key.default, String::as_str).to_owned(),
            source: if from_broker.is_some() {
                STATIC_BROKER
            } else {
                source_of_default(key.name)
            },
            kind: key.kind,
            doc: key.doc,
            default: key.default.to_owned(),
        })
    })
}

fn described(
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
    shown: Vec<Shown>,
) -> DescribeConfigsResult {
    let wanted = |key: &str| match &resource.configuration_keys {
        None => true,
        // Another way to ask for all.
        Some(keys) if keys.is_empty() => true,
        Some(keys) => keys.iter().any(|one| one == key),
    };
    let read_only = resource.resource_type == BROKER;
    let configs = shown
        .into_iter()
        .filter(|config| wanted(config.key))
        .map(|config| DescribeConfigsResourceResult {
            name: config.key.to_owned(),
            read_only,
            config_source: config.source,
            is_sensitive: false,
            synonyms: if request.include_synonyms {
                synonyms(&config, read_only)
            } else {
                Vec::new()
            },
            config_type: kind_code(config.kind),
            documentation: request.include_documentation.then(|| config.doc.to_owned()),
            value: Some(config.value),
        })
        .collect();
    DescribeConfigsResult {
        error_code: ErrorCode::None,
        error_message: None,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs,
    }
}

/// The values that would apply, the one that does first.
fn synonyms(config: &Shown, broker: bool) -> Vec<DescribeConfigsSynonym> {
    let mut synonyms = Vec::new();
    if config.source != DEFAULT {
        synonyms.push(DescribeConfigsSynonym {
            name: config.key.to_owned(),
            value: Some(config.value.clone()),
            source: config.source,
        });
    }
    let name = if broker {
        Some(config.key)
    } else {
        broker_name(config.key)
    };
    if let Some(name) = name {
        synonyms.push(DescribeConfigsSynonym {
            name: name.to_owned(),
            value: Some(config.default.clone()),
            source: DEFAULT,
        });
    }
    synonyms
}

/// The setting of the broker that a topic's config falls back to. Those that Kafka keeps in hours there are without a value in ms.
fn broker_name(key: &'static str) -> Option<&'static str> {
    Some(match key {
        "cleanup.policy" => "log.cleanup.policy",
        "delete.retention.ms" => "log.cleaner.delete.retention.ms",
        "file.delete.delay.ms" => "log.segment.delete.delay.ms",
        "flush.messages" => "log.flush.interval.messages",
        "index.interval.bytes" => "log.index.interval.bytes",
        "local.retention.bytes" => "log.local.retention.bytes",
        "local.retention.ms" => "log.local.retention.ms",
        "max.compaction.lag.ms" => "log.cleaner.max.compaction.lag.ms",
        "max.message.bytes" => "message.max.bytes",
        "message.timestamp.after.max.ms" => "log.message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms" => "log.message.timestamp.before.max.ms",
        "message.timestamp.type" => "log.message.timestamp.type",
        "min.cleanable.dirty.ratio" => "log.cleaner.min.cleanable.ratio",
        "min.compaction.lag.ms" => "log.cleaner.min.compaction.lag.ms",
        "preallocate" => "log.preallocate",
        "retention.bytes" => "log.retention.bytes",
        "segment.bytes" => "log.segment.bytes",
        "segment.index.bytes" => "log.index.size.max.bytes",
        "compression.type"
        | "compression.gzip.level"
        | "compression.lz4.level"
        | "compression.zstd.level"
        | "min.insync.replicas"
        | "unclean.leader.election.enable" => key,
        _ => return None,
    })
}

fn kind_code(kind: ConfigKind) -> i8 {
    match kind {
        ConfigKind::Boolean => 1,
        ConfigKind::String => 2,
        ConfigKind::Int => 3,
        ConfigKind::Long => 5,
        ConfigKind::Double => 6,
        ConfigKind::List => 7,
    }
}
