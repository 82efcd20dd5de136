//! OffsetFetch (key 9): what groups have committed; null topics mean all that a group has.
//!
//! - 2: null topics. - 7: `require_stable` (KIP-447). - 8: several groups. - 10: topics go by id.

use std::collections::BTreeMap;
use std::sync::Arc;

use log_protocol::api::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use log_protocol::{ErrorCode, TopicPartition};
use uuid::Uuid;

use super::Answered;
use crate::authorize::{Resource, authorize, require};
use crate::coordinator::group::FetchedOffset;
use crate::security::acl::Operation::Describe;
use crate::services::Context;

/// From this version on several groups are asked for at once.
const GROUPS_FROM: i16 = 8;

/// From this version on topics go by id.
const TOPIC_IDS_FROM: i16 = 10;

pub(crate) async fn handle(ctx: &Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let stable = request.require_stable;
    if ctx.api_version >= GROUPS_FROM {
        let mut groups = Vec::with_capacity(request.groups.len());
        let mut answered = Answered::default();
        for group in request.groups {
            if !answered.may_answer(group.group_id.clone()) {
                continue;
            }
            groups.push(fetch(ctx, ctx.api_version, group, stable).await);
        }
        return OffsetFetchResponse {
            groups,
            ..OffsetFetchResponse::default()
        };
    }
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics: request.topics.map(|topics| {
            topics
                .into_iter()
                .map(|topic| OffsetFetchRequestTopics {
                    name: topic.name,
                    topic_id: Uuid::nil(),
                    partition_indexes: topic.partition_indexes,
                })
                .collect()
        }),
        ..OffsetFetchRequestGroup::default()
    };
    let fetched = fetch(ctx, ctx.api_version, group, stable).await;
    OffsetFetchResponse {
        error_code: fetched.error_code,
        topics: fetched.topics.into_iter().map(plain).collect(),
        ..OffsetFetchResponse::default()
    }
}

fn plain(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|one| OffsetFetchResponsePartition {
                partition_index: one.partition_index,
                committed_offset: one.committed_offset,
                committed_leader_epoch: one.committed_leader_epoch,
                metadata: one.metadata,
                error_code: one.error_code,
            })
            .collect(),
    }
}

async fn fetch(
    ctx: &Context,
    version: i16,
    group: OffsetFetchRequestGroup,
    stable: bool,
) -> OffsetFetchResponseGroup {
    let group_id = group.group_id;
    let may = require(ctx, Describe, Resource::Group(&group_id));
    let topics = match group.topics {
        _ if may.is_err() => may.and(Err(ErrorCode::GroupAuthorizationFailed)),
        None => fetch_all(ctx, &group_id, stable).await,
        Some(topics) => fetch_some(ctx, version, &group_id, topics, stable).await,
    };
    match topics {
        Ok(topics) => OffsetFetchResponseGroup {
            group_id,
            topics,
            error_code: ErrorCode::None,
        },
        Err(error_code) => OffsetFetchResponseGroup {
            group_id,
            topics: Vec::new(),
            error_code,
        },
    }
}

async fn fetch_all(
    ctx: &Context,
    group_id: &str,
    stable: bool,
) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
    let mut topics: BTreeMap<String, Vec<OffsetFetchResponsePartitions>> = BTreeMap::new();
    for one in ctx
        .services
        .groups
        .fetch_offsets(group_id, None, stable)
        .await?
    {
        // A partition that has only staged offsets is told of only when the caller waits for them.
        if (one.record.is_some() || one.unstable)
            && authorize(ctx, Describe, Resource::Topic(&one.partition.topic))
        {
            topics
                .entry(one.partition.topic.to_string())
                .or_default()
                .push(answer(one));
        }
    }
    Ok(topics
        .into_iter()
        .map(|(name, partitions)| OffsetFetchResponseTopics {
            topic_id: ctx
                .services
                .topics
                .get(&name)
                .map_or(Uuid::nil(), |topic| topic.id()),
            name,
            partitions,
        })
        .collect())
}

async fn fetch_some(
    ctx: &Context,
    version: i16,
    group_id: &str,
    asked: Vec<OffsetFetchRequestTopics>,
    stable: bool,
) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
    let mut topics = Vec::with_capacity(asked.len());
    // The metadata of an offset may be a thousand times as long as the number of its partition.
    let mut answered: Answered<TopicPartition> = Answered::default();
    for topic in asked {
        let name = if version >= TOPIC_IDS_FROM {
            ctx.services
                .topics
                .by_id(topic.topic_id)
                .map(|found| Arc::clone(found.name()))
        } else {
            Some(topic.name.as_str().into())
        };
        let partitions = match name {
            None => topic
                .partition_indexes
                .into_iter()
                .map(unknown_topic)
                .collect(),
            Some(name) if !authorize(ctx, Describe, Resource::Topic(&name)) => topic
                .partition_indexes
                .into_iter()
                .map(|index| none(index, ErrorCode::TopicAuthorizationFailed))
                .collect(),
            Some(name) => {
                let wanted: Vec<TopicPartition> = topic
                    .partition_indexes
                    .into_iter()
                    .map(|partition| TopicPartition {
                        topic: Arc::clone(&name),
                        partition,
                    })
                    .filter(|partition| answered.may_answer(partition.clone()))
                    .collect();
                let fetched = ctx
                    .services
                    .groups
                    .fetch_offsets(group_id, Some(wanted), stable)
                    .await?;
                fetched.into_iter().map(answer).collect()
            }
        };
        topics.push(OffsetFetchResponseTopics {
            name: topic.name,
            topic_id: topic.topic_id,
            partitions,
        });
    }
    Ok(topics)
}

fn answer(fetched: FetchedOffset) -> OffsetFetchResponsePartitions {
    let partition_index = fetched.partition.partition;
    if fetched.unstable {
        return none(partition_index, ErrorCode::UnstableOffsetCommit);
    }
    match fetched.record {
        None => none(partition_index, ErrorCode::None),
        Some(record) => OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: record.offset,
            committed_leader_epoch: record.leader_epoch,
            metadata: Some(record.metadata),
            error_code: ErrorCode::None,
        },
    }
}

fn unknown_topic(partition_index: i32) -> OffsetFetchResponsePartitions {
    none(partition_index, ErrorCode::UnknownTopicId)
}

fn none(partition_index: i32, error_code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code,
    }
}
