//! OffsetCommit (key 8): stores a group's offsets, after what they point past is on disk.
//!
//! - 7: static members. - 9: members of the new group protocol. - 10: topics go by id.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use log_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use log_protocol::{ErrorCode, TopicPartition};
use uuid::Uuid;

use crate::authorize::{Resource, require};
use crate::clock::wall_ms;
use crate::coordinator::group::OFFSET_METADATA_BYTES_MAX;
use crate::coordinator::group::record::OffsetRecord;
use crate::coordinator::group::state::Identity;
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) async fn handle(ctx: &Context, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let member = Identity {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id_or_member_epoch,
    };
    let now = wall_ms();
    let may = require(ctx, Operation::Read, Resource::Group(&request.group_id));
    let mut offsets = Vec::new();
    let mut refusals: HashMap<(usize, usize), ErrorCode> = HashMap::new();
    for (at_topic, topic) in request.topics.iter().enumerate() {
        let name = if ctx.api_version >= 10 {
            ctx.services
                .topics
                .by_id(topic.topic_id)
                .map(|found| found.name().to_string())
        } else {
            Some(topic.name.clone())
        };
        for (index, one) in topic.partitions.iter().enumerate() {
            let metadata = one.committed_metadata.clone().unwrap_or_default();
            let checked = match &name {
                _ if may.is_err() => may.and(Err(ErrorCode::GroupAuthorizationFailed)),
                None => Err(ErrorCode::UnknownTopicId),
                Some(name) => require(ctx, Operation::Read, Resource::Topic(name))
                    .and_then(|()| check_partition(ctx, name, one.partition_index, &metadata)),
            };
            match checked {
                Ok(partition) => offsets.push((
                    partition,
                    OffsetRecord {
                        offset: one.committed_offset,
                        leader_epoch: one.committed_leader_epoch,
                        metadata,
                        commit_timestamp_ms: now,
                    },
                )),
                Err(error) => drop(refusals.insert((at_topic, index), error)),
            }
        }
    }
    let committed = match may {
        Ok(()) => {
            let groups = &ctx.services.groups;
            let group = &request.group_id;
            groups.commit_offsets(group, &member, offsets).await
        }
        Err(error) => Err(error),
    };
    let outcome = match committed {
        Ok(()) => ErrorCode::None,
        // Clients of the classic protocol alone do not know the other.
        Err(ErrorCode::GroupIdNotFound) if ctx.api_version < 9 => ErrorCode::IllegalGeneration,
        Err(error) => error,
    };
    let topics = request.topics.into_iter().enumerate();
    let topics = topics
        // A topic without partitions has no answer.
        .filter(|(_, topic)| !topic.partitions.is_empty())
        .map(|(at_topic, topic)| OffsetCommitResponseTopic {
            partitions: topic
                .partitions
                .iter()
                .enumerate()
                .map(|(index, one)| OffsetCommitResponsePartition {
                    partition_index: one.partition_index,
                    error_code: refusals.get(&(at_topic, index)).copied().unwrap_or(outcome),
                })
                .collect(),
            name: topic.name,
            topic_id: topic.topic_id,
        });
    let mut merged: Vec<OffsetCommitResponseTopic> = Vec::new();
    let mut places: HashMap<(String, Uuid), usize> = HashMap::new();
    for topic in topics {
        // A topic that comes twice is answered in one place.
        match places.entry((topic.name.clone(), topic.topic_id)) {
            Entry::Occupied(place) => merged[*place.get()].partitions.extend(topic.partitions),
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(topic);
            }
        }
    }
    OffsetCommitResponse {
        topics: merged,
        ..OffsetCommitResponse::default()
    }
}

/// Whether an offset can be kept for this partition.
pub(crate) fn check_partition(
    ctx: &Context,
    topic: &str,
    partition: i32,
    metadata: &str,
) -> Result<TopicPartition, ErrorCode> {
    let found = ctx
        .services
        .topics
        .get(topic)
        .and_then(|topic| topic.partition(partition));
    let found = found.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    // Kafka counts UTF-16 units, of which a text never has more than bytes.
    if metadata.encode_utf16().count() > OFFSET_METADATA_BYTES_MAX {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    Ok(found.id().clone())
}
