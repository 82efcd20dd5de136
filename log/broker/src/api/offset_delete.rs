//! OffsetDelete (key 47): forgets single offsets of a group (KIP-496), but for topics that its members are subscribed to.

use log_protocol::ErrorCode;
use log_protocol::api::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};

use crate::authorize::{Resource, authorize, require};
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) async fn handle(ctx: &Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    if let Err(error_code) = require(ctx, Operation::Delete, Resource::Group(&request.group_id)) {
        return OffsetDeleteResponse {
            error_code,
            ..OffsetDeleteResponse::default()
        };
    }
    if request.group_id.is_empty() {
        return OffsetDeleteResponse {
            error_code: ErrorCode::InvalidGroupId,
            ..OffsetDeleteResponse::default()
        };
    }
    let may_read = |topic: &str| authorize(ctx, Operation::Read, Resource::Topic(topic));
    let mut known = Vec::new();
    for topic in request.topics.iter().filter(|topic| may_read(&topic.name)) {
        let found = ctx.services.topics.get(&topic.name);
        for one in &topic.partitions {
            let partition = found
                .as_ref()
                .and_then(|found| found.partition(one.partition_index));
            known.extend(partition.map(|partition| partition.id().clone()));
        }
    }
    let refused = match ctx
        .services
        .groups
        .delete_offsets(&request.group_id, &known)
        .await
    {
        Ok(refused) => refused,
        Err(error_code) => {
            return OffsetDeleteResponse {
                error_code,
                ..OffsetDeleteResponse::default()
            };
        }
    };
    // A topic without partitions has no answer.
    let topics = request.topics.into_iter();
    let topics = topics.filter(|topic| !topic.partitions.is_empty());
    let topics = topics.map(|topic| {
        let found = ctx.services.topics.get(&topic.name);
        let code = |partition: i32| match &found {
            _ if !may_read(&topic.name) => ErrorCode::TopicAuthorizationFailed,
            Some(found) if found.partition(partition).is_some() => {
                if refused.contains(&topic.name) {
                    ErrorCode::GroupSubscribedToTopic
                } else {
                    ErrorCode::None
                }
            }
            _ => ErrorCode::UnknownTopicOrPartition,
        };
        let partitions = topic.partitions.iter();
        OffsetDeleteResponseTopic {
            partitions: partitions
                .map(|one| OffsetDeleteResponsePartition {
                    partition_index: one.partition_index,
                    error_code: code(one.partition_index),
                })
                .collect(),
            name: topic.name.clone(),
        }
    });
    OffsetDeleteResponse {
        topics: topics.collect(),
        ..OffsetDeleteResponse::default()
    }
}
