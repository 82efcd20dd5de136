//! CreateTopics (key 19). One broker holds everything, so a replication factor is 1 or left open.

use std::collections::BTreeMap;

use log_protocol::ErrorCode;
use log_protocol::api::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use uuid::Uuid;

use super::describe_configs::topic_configs;
use super::{Repeated, blocking, check_time};
use crate::authorize::{Resource, authorize};
use crate::config::PARTITIONS_MAX;
use crate::security::acl::Operation::{Create, DescribeConfigs};
use crate::services::Context;

/// So many partitions are too many for one request, as in Kafka.
const PARTITIONS_OF_REQUEST: i64 = 10_000;

/// What Kafka keeps its metadata in. It is none of the topics here, and must not be mistaken for one.
const METADATA_TOPIC: &str = "__cluster_metadata";

pub(crate) async fn handle(ctx: &Context, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut repeated = Repeated::of(request.topics.iter().map(|topic| topic.name.clone()));
    let makes_any = authorize(ctx, Create, Resource::Cluster);
    let refused_as_whole = refused_as_whole(ctx, &request);
    let mut topics = Vec::with_capacity(request.topics.len());
    for wanted in request.topics {
        let name = wanted.name.clone();
        let Some(is_repeated) = repeated.first_time(&name) else {
            continue;
        };
        let result = if is_repeated {
            Err((
                ErrorCode::InvalidRequest,
                format!("topic {name} is named more than once"),
            ))
        } else if !makes_any && !authorize(ctx, Create, Resource::Topic(&name)) {
            let error = ErrorCode::TopicAuthorizationFailed;
            Err((error, error.message().to_owned()))
        } else if let Some(refused) = &refused_as_whole {
            Err(refused.clone())
        } else {
            create(ctx, wanted, request.validate_only).await
        };
        topics.push(
            result.unwrap_or_else(|(error_code, message)| CreatableTopicResult {
                name,
                error_code,
                error_message: Some(message),
                configs: Some(Vec::new()),
                ..CreatableTopicResult::default()
            }),
        );
    }
    CreateTopicsResponse {
        topics,
        ..CreateTopicsResponse::default()
    }
}

/// What no topic of a request is made for: there is no time for it, or it is too much.
fn refused_as_whole(ctx: &Context, request: &CreateTopicsRequest) -> Option<(ErrorCode, String)> {
    if let Err(refused) = check_time(request.timeout_ms) {
        return Some(refused);
    }
    let partitions = request.topics.iter().map(|wanted| {
        let given = match wanted.num_partitions {
            -1 if wanted.assignments.is_empty() => ctx.services.config.num_partitions,
            count => count,
        };
        i64::from(given.max(0)) + wanted.assignments.len() as i64
    });
    let total: i64 = partitions.sum();
    (total >= PARTITIONS_OF_REQUEST).then(|| {
        let message = format!(
            "one request makes fewer than {PARTITIONS_OF_REQUEST} partitions, not {total}: make some topics by another"
        );
        (ErrorCode::PolicyViolation, message)
    })
}

async fn create(
    ctx: &Context,
    wanted: CreatableTopic,
    validate_only: bool,
) -> Result<CreatableTopicResult, (ErrorCode, String)> {
    let name = wanted.name.clone();
    if name == METADATA_TOPIC {
        let message = format!("topic {name} is kept for the metadata of the cluster");
        return Err((ErrorCode::InvalidRequest, message));
    }
    let partitions = partition_count(ctx, &wanted)?;
    let mut configs = BTreeMap::new();
    for config in wanted.configs {
        let Some(value) = config.value else {
            let message = format!("topic {name}: config {} has no value", config.name);
            return Err((ErrorCode::InvalidConfig, message));
        };
        configs.insert(config.name, value);
    }
    if validate_only {
        let checked = ctx
            .services
            .topics
            .check_create(&name, partitions, &configs);
        checked.map_err(|error| (error.code(), error.to_string()))?;
        // As a topic that is made has one; this one is nobody's.
        let id = Uuid::new_v4();
        return Ok(describe(ctx, (&name, id), partitions, &configs));
    }
    let topics = ctx.services.topics.clone();
    let created = blocking(move || topics.create(&wanted.name, partitions, &configs, false)).await;
    let topic = created
        .map_err(|error| (error, error.message().to_owned()))?
        .map_err(|error| (error.code(), error.to_string()))?;
    let named = (topic.name().as_ref(), topic.id());
    Ok(describe(ctx, named, partitions, &topic.set_configs()))
}

fn partition_count(ctx: &Context, wanted: &CreatableTopic) -> Result<i32, (ErrorCode, String)> {
    let node_id = ctx.services.config.node_id;
    if !wanted.assignments.is_empty() {
        if wanted.num_partitions != -1 || wanted.replication_factor != -1 {
            let message =
                "replica assignments and a number of partitions or replicas exclude each other";
            return Err((ErrorCode::InvalidRequest, message.to_owned()));
        }
        let count = i32::try_from(wanted.assignments.len()).unwrap_or(i32::MAX);
        let mut indexes: Vec<i32> = wanted
            .assignments
            .iter()
            .map(|one| one.partition_index)
            .collect();
        indexes.sort_unstable();
        let contiguous = indexes.iter().copied().eq(0..count);
        let here = wanted
            .assignments
            .iter()
            .all(|one| one.broker_ids == [node_id]);
        if !contiguous || !here || count > PARTITIONS_MAX {
            let message =
                format!("replicas can only be assigned to broker {node_id}, partitions from 0 on");
            return Err((ErrorCode::InvalidReplicaAssignment, message));
        }
        return Ok(count);
    }
    if !matches!(wanted.replication_factor, -1 | 1) {
        let message = format!(
            "replication factor {} is larger than the 1 broker",
            wanted.replication_factor
        );
        return Err((ErrorCode::InvalidReplicationFactor, message));
    }
    match wanted.num_partitions {
        -1 => Ok(ctx.services.config.num_partitions),
        count if (1..=PARTITIONS_MAX).contains(&count) => Ok(count),
        count => {
            let message = format!("a topic has 1 to {PARTITIONS_MAX} partitions, not {count}");
            Err((ErrorCode::InvalidPartitions, message))
        }
    }
}

fn describe(
    ctx: &Context,
    (name, topic_id): (&str, Uuid),
    partitions: i32,
    set: &BTreeMap<String, String>,
) -> CreatableTopicResult {
    if !authorize(ctx, DescribeConfigs, Resource::Topic(name)) {
        return CreatableTopicResult {
            name: name.to_owned(),
            topic_id,
            topic_config_error_code: ErrorCode::TopicAuthorizationFailed,
            ..CreatableTopicResult::default()
        };
    }
    let configs = topic_configs(ctx, set)
        .into_iter()
        // Not one of Kafka's; told where somebody has set it.
        .filter(|config| config.key != "flush" || config.is_set())
        .map(|config| CreatableTopicConfigs {
            name: config.key.to_owned(),
            value: Some(config.value),
            read_only: false,
            config_source: config.source,
            is_sensitive: false,
        })
        .collect();
    CreatableTopicResult {
        name: name.to_owned(),
        topic_id,
        num_partitions: partitions,
        replication_factor: 1,
        configs: Some(configs),
        ..CreatableTopicResult::default()
    }
}
