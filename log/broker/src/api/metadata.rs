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
use crate::authorize::{Resource, authorize, require};
use crate::quorum::{Topic, is_valid_name};
use crate::security::acl::Operation::{Create, Describe};
use crate::services::Context;

/// From this version on a topic may be asked for by id.
const TOPIC_IDS_FROM: i16 = 12;

/// From this version on an answer has an error of its own.
const ERRORS_FROM: i16 = 13;

/// Topics that one request makes by asking for them; the others it is told to ask for again. Each takes a sync of the disk.
const CREATED_MAX: usize = 100;

pub(crate) async fn handle(ctx: &Context, request: MetadataRequest) -> MetadataResponse {
    let may_create = ctx.services.config.auto_create_topics && request.allow_auto_topic_creation;
    let shown = Shown {
        ctx,
        node_id: ctx.services.config.node_id,
        with_operations: request.include_topic_authorized_operations,
    };
    let node_id = shown.node_id;
    if let Some(asked) = &request.topics
        && let Some(error) = refused_as_whole(ctx.api_version, asked)
    {
        return refused(ctx.api_version, asked, error);
    }
    let mut topics = Vec::new();
    match request.topics {
        None => topics.extend(shown.all()),
        Some(asked) if asked.is_empty() && ctx.api_version == 0 => {
            topics.extend(shown.all());
        }
        Some(mut asked) => {
            // Where one is asked for by id, those that are asked for by name alone have no answer, as in Kafka.
            if asked.iter().any(|one| !one.topic_id.is_nil()) {
                asked.retain(|one| !one.topic_id.is_nil());
            }
            // A topic is answered once, as Kafka does: its partitions are many times as long as its name.
            let mut named = HashSet::new();
            asked.retain(|one| named.insert((one.name.clone(), one.topic_id)));
            drop(named);
            let mut creations_left = if may_create { CREATED_MAX } else { 0 };
            for one in asked {
                topics.push(resolve(ctx, &shown, one, may_create, &mut creations_left).await);
            }
        }
    }
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id,
            host: ctx.advertised_host.clone(),
            port: ctx.advertised_port,
            rack: None,
        }],
        cluster_id: Some(ctx.services.topics.cluster_id().to_string()),
        controller_id: node_id,
        topics,
        cluster_authorized_operations: authorized::cluster(
            ctx,
            request.include_cluster_authorized_operations,
        ),
        ..MetadataResponse::default()
    }
}

/// What is wrong with a request so that nothing of it is answered.
fn refused_as_whole(version: i16, asked: &[MetadataRequestTopic]) -> Option<ErrorCode> {
    let is_by_id = |one: &MetadataRequestTopic| !one.topic_id.is_nil();
    if version < TOPIC_IDS_FROM {
        let is_invalid = asked.iter().any(|one| one.name.is_none() || is_by_id(one));
        return is_invalid.then_some(ErrorCode::InvalidRequest);
    }
    let is_nameless = |one: &MetadataRequestTopic| one.name.is_none();
    let is_invalid = !asked.iter().any(is_by_id) && asked.iter().any(is_nameless);
    is_invalid.then_some(ErrorCode::UnknownServerError)
}

/// Every topic refused, and nothing told of the cluster.
fn refused(
    version: i16,
    asked: &[MetadataRequestTopic],
    error_code: ErrorCode,
) -> MetadataResponse {
    let topics = asked.iter().map(|one| MetadataResponseTopic {
        error_code,
        name: Some(one.name.clone().unwrap_or_default()),
        topic_id: one.topic_id,
        ..MetadataResponseTopic::default()
    });
    MetadataResponse {
        topics: topics.collect(),
        error_code: if version >= ERRORS_FROM {
            error_code
        } else {
            ErrorCode::None
        },
        ..MetadataResponse::default()
    }
}

async fn resolve(
    ctx: &Context,
    shown: &Shown<'_>,
    asked: MetadataRequestTopic,
    may_create: bool,
    creations_left: &mut usize,
) -> MetadataResponseTopic {
    let name = asked.name.filter(|_| asked.topic_id.is_nil());
    let Some(name) = name else {
        let topic = ctx.services.topics.by_id(asked.topic_id);
        return match topic.filter(|topic| shown.may_see(topic.name())) {
            Some(topic) => shown.describe(&topic),
            // One that may not be seen is as good as none: its name is not the client's to know.
            None => MetadataResponseTopic {
                error_code: ErrorCode::UnknownTopicId,
                topic_id: asked.topic_id,
                ..MetadataResponseTopic::default()
            },
        };
    };
    if let Err(error_code) = require(ctx, Describe, Resource::Topic(&name)) {
        return MetadataResponseTopic {
            error_code,
            name: Some(name),
            ..MetadataResponseTopic::default()
        };
    }
    if let Some(topic) = ctx.services.topics.get(&name) {
        return shown.describe(&topic);
    }
    let error_code = match is_valid_name(&name) {
        false => ErrorCode::InvalidTopicException,
        true if !may_create => ErrorCode::UnknownTopicOrPartition,
        true if !authorize(ctx, Create, Resource::Cluster)
            && !authorize(ctx, Create, Resource::Topic(&name)) =>
        {
            ErrorCode::TopicAuthorizationFailed
        }
        // A client asks again for what has no leader yet.
        true if *creations_left == 0 => ErrorCode::LeaderNotAvailable,
        true => {
            *creations_left -= 1;
            match create(ctx, &name).await {
                Ok(topic) => return shown.describe(&topic),
                Err(error) => error,
            }
        }
    };
    MetadataResponseTopic {
        error_code,
        topic_authorized_operations: authorized::topic(ctx, shown.with_operations, &name),
        name: Some(name),
        ..MetadataResponseTopic::default()
    }
}

async fn create(ctx: &Context, name: &str) -> Result<Arc<Topic>, ErrorCode> {
    let topics = ctx.services.topics.clone();
    let partitions = ctx.services.config.num_partitions;
    let wanted = name.to_owned();
    let created =
        blocking(move || topics.create(&wanted, partitions, &BTreeMap::new(), false)).await?;
    match created {
        Ok(topic) => Ok(topic),
        // Somebody else was quicker.
        Err(error) => ctx.services.topics.get(name).ok_or_else(|| {
            warn!(topic = name, %error, "cannot create a topic that a client asked for");
            error.code()
        }),
    }
}

/// What is told of every topic alike.
struct Shown<'a> {
    ctx: &'a Context,
    node_id: i32,
    with_operations: bool,
}

impl Shown<'_> {
    fn may_see(&self, topic: &str) -> bool {
        authorize(self.ctx, Describe, Resource::Topic(topic))
    }

    /// Every topic that the client may see.
    fn all(&self) -> Vec<MetadataResponseTopic> {
        let topics = self.ctx.services.topics.list();
        let seen = topics.iter().filter(|topic| self.may_see(topic.name()));
        seen.map(|topic| self.describe(topic)).collect()
    }

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
            topic_authorized_operations: authorized::topic(
                self.ctx,
                self.with_operations,
                topic.name(),
            ),
        }
    }
}
