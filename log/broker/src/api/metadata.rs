//! Metadata (key 3): brokers, topics, leaders; makes topics that are asked for and not there, where that is allowed.
//!
//! A null list, and in version 0 an empty one, means all topics.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use log_protocol::ErrorCode;
use log_protocol::api::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use tracing::warn;

use super::{authorized, blocking};
use crate::broker::{RequestContext, Shared};
use crate::quorum::Topic;

pub(crate) async fn handle(
    broker: &Shared,
    context: &RequestContext,
    request: MetadataRequest,
) -> MetadataResponse {
    let may_create = broker.config.auto_create_topics && request.allow_auto_topic_creation;
    let shown = Shown {
        node_id: broker.config.node_id,
        operations: authorized::topic(request.include_topic_authorized_operations),
    };
    let node_id = shown.node_id;
    let mut topics = Vec::new();
    match request.topics {
        None => topics.extend(
            broker
                .topics
                .list()
                .iter()
                .map(|topic| shown.describe(topic)),
        ),
        Some(asked) if asked.is_empty() && context.api_version == 0 => {
            topics.extend(
                broker
                    .topics
                    .list()
                    .iter()
                    .map(|topic| shown.describe(topic)),
            );
        }
        Some(mut asked) => {
            // A topic is answered once, as Kafka does: its partitions are many times as long as its name.
            let mut named = HashSet::new();
            asked.retain(|one| named.insert((one.name.clone(), one.topic_id)));
            drop(named);
            for one in asked {
                topics.push(resolve(broker, &shown, one, may_create).await);
            }
        }
    }
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id,
            host: context.advertised_host.clone(),
            port: context.advertised_port,
            rack: None,
        }],
        cluster_id: Some(broker.topics.cluster_id().to_string()),
        controller_id: node_id,
        topics,
        cluster_authorized_operations: authorized::cluster(
            request.include_cluster_authorized_operations,
        ),
        ..MetadataResponse::default()
    }
}

async fn resolve(
    broker: &Shared,
    shown: &Shown,
    asked: MetadataRequestTopic,
    may_create: bool,
) -> MetadataResponseTopic {
    let Some(name) = asked.name else {
        return match broker.topics.by_id(asked.topic_id) {
            Some(topic) => shown.describe(&topic),
            None => MetadataResponseTopic {
                error_code: ErrorCode::UnknownTopicId,
                topic_id: asked.topic_id,
                ..MetadataResponseTopic::default()
            },
        };
    };
    if let Some(topic) = broker.topics.get(&name) {
        return shown.describe(&topic);
    }
    let error_code = match broker.topics.check_create(&name, 1, &BTreeMap::new()) {
        Err(refused) => refused.code(),
        Ok(()) if !may_create => ErrorCode::UnknownTopicOrPartition,
        Ok(()) => match create(broker, &name).await {
            Ok(topic) => return shown.describe(&topic),
            Err(error) => error,
        },
    };
    MetadataResponseTopic {
        error_code,
        name: Some(name),
        ..MetadataResponseTopic::default()
    }
}

async fn create(broker: &Shared, name: &str) -> Result<Arc<Topic>, ErrorCode> {
    let topics = broker.topics.clone();
    let partitions = broker.config.num_partitions;
    let wanted = name.to_owned();
    let created =
        blocking(move || topics.create(&wanted, partitions, &BTreeMap::new(), false)).await?;
    match created {
        Ok(topic) => Ok(topic),
        // Somebody else was quicker.
        Err(error) => broker.topics.get(name).ok_or_else(|| {
            warn!(topic = name, %error, "cannot create a topic that a client asked for");
            error.code()
        }),
    }
}

/// What is told of every topic alike.
struct Shown {
    node_id: i32,
    operations: i32,
}

impl Shown {
    fn describe(&self, topic: &Topic) -> MetadataResponseTopic {
        let partitions = topic
            .all()
            .iter()
            .map(|partition| MetadataResponsePartition {
                error_code: ErrorCode::None,
                partition_index: partition.id().partition,
                leader_id: self.node_id,
                leader_epoch: partition.leader_epoch(),
                replica_nodes: vec![self.node_id],
                isr_nodes: vec![self.node_id],
                offline_replicas: Vec::new(),
            })
            .collect();
        MetadataResponseTopic {
            error_code: ErrorCode::None,
            name: Some(topic.name().to_string()),
            topic_id: topic.id(),
            is_internal: topic.is_internal(),
            partitions,
            topic_authorized_operations: self.operations,
        }
    }
}
