//! DescribeTopicPartitions (key 75): topics by name, page by page. An answer holds so many partitions as it may, and where the next begins.

use std::collections::BTreeSet;

use log_protocol::ErrorCode;
use log_protocol::api::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribedPartition,
    DescribedTopic,
};

use super::authorized;
use crate::authorize::{Resource, authorize};
use crate::quorum::{Topic, is_valid_name};
use crate::security::acl::Operation::Describe;
use crate::services::Context;

/// Partitions in one answer at most ("max.request.partition.size.limit").
const PARTITIONS_MAX: usize = 2000;

pub(crate) fn handle(
    ctx: &Context,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let all = request.topics.is_empty();
    let mut names: BTreeSet<String> = if all {
        let topics = ctx.services.topics.list();
        topics
            .iter()
            .map(|topic| topic.name().to_string())
            .collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name).collect()
    };
    let mut first = 0;
    if let Some(cursor) = &request.cursor {
        // A page begins with one of the topics that are asked for.
        let is_known = all || names.contains(&cursor.topic_name);
        if !is_known || cursor.partition_index < 0 {
            return refused(names, ErrorCode::InvalidRequest);
        }
        names = names.split_off(&cursor.topic_name);
        if names.contains(&cursor.topic_name) {
            first = usize::try_from(cursor.partition_index).unwrap_or(0);
        }
    }
    // Nothing of a request with such a name is answered, as in Kafka.
    if names.contains("") {
        return refused(names, ErrorCode::UnknownServerError);
    }
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut left = limit.clamp(1, PARTITIONS_MAX);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        let may = authorize(ctx, Describe, Resource::Topic(&name));
        if !may && all {
            continue;
        }
        if left == 0 {
            response.next_cursor = Some(Cursor {
                topic_name: name,
                partition_index: 0,
            });
            break;
        }
        let topic = ctx.services.topics.get(&name).filter(|_| may);
        let Some(topic) = topic else {
            // It takes room as well: names alone are bounded by the request.
            left -= 1;
            response.topics.push(DescribedTopic {
                error_code: match may {
                    false => ErrorCode::TopicAuthorizationFailed,
                    true if is_valid_name(&name) => ErrorCode::UnknownTopicOrPartition,
                    true => ErrorCode::InvalidTopicException,
                },
                topic_authorized_operations: authorized::topic(ctx, may, &name),
                name: Some(name),
                ..DescribedTopic::default()
            });
            continue;
        };
        let partitions = partitions(ctx, &topic, first, left);
        let next = first + partitions.len();
        left -= partitions.len();
        first = 0;
        response.topics.push(DescribedTopic {
            error_code: ErrorCode::None,
            topic_id: topic.id(),
            is_internal: topic.is_internal(),
            partitions,
            topic_authorized_operations: authorized::topic(ctx, true, &name),
            name: Some(name.clone()),
        });
        if next < usize::try_from(topic.partitions()).unwrap_or(0) {
            response.next_cursor = Some(Cursor {
                topic_name: name,
                partition_index: i32::try_from(next).unwrap_or(i32::MAX),
            });
            break;
        }
    }
    response
}

/// Every topic refused.
fn refused(names: BTreeSet<String>, error_code: ErrorCode) -> DescribeTopicPartitionsResponse {
    let topics = names.into_iter().map(|name| DescribedTopic {
        error_code,
        name: Some(name),
        ..DescribedTopic::default()
    });
    DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        ..DescribeTopicPartitionsResponse::default()
    }
}

fn partitions(ctx: &Context, topic: &Topic, first: usize, limit: usize) -> Vec<DescribedPartition> {
    let node_id = ctx.services.config.node_id;
    let partitions = topic.all().into_iter().skip(first).take(limit);
    partitions
        .map(|partition| DescribedPartition {
            error_code: ErrorCode::None,
            partition_index: partition.id().partition,
            leader_id: node_id,
            leader_epoch: partition.leader_epoch(),
            replica_nodes: vec![node_id],
            isr_nodes: vec![node_id],
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            offline_replicas: Vec::new(),
        })
        .collect()
}
