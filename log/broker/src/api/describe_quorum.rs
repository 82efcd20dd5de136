//! DescribeQuorum (key 55): this broker is the only voter, and always caught up with itself.

use log_protocol::ErrorCode;
use log_protocol::api::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, DescribedQuorumPartition, DescribedQuorumTopic,
    QuorumListener, QuorumNode, QuorumReplica,
};
use uuid::Uuid;

use crate::authorize::{Resource, require};
use crate::clock::wall_ms;
use crate::security::acl::Operation;
use crate::services::Context;

/// Kafka's name of the topic of metadata, which has one partition.
const METADATA_TOPIC: &str = "__cluster_metadata";

pub(crate) fn handle(ctx: &Context, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    if let Err(error_code) = require(ctx, Operation::Describe, Resource::Cluster) {
        return DescribeQuorumResponse {
            error_code,
            error_message: Some(error_code.message().to_owned()),
            ..DescribeQuorumResponse::default()
        };
    }
    let is_metadata = match request.topics.as_slice() {
        [topic] if topic.topic_name == METADATA_TOPIC => {
            matches!(topic.partitions.as_slice(), [partition] if partition.partition_index == 0)
        }
        _ => false,
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter();
        let partitions = partitions.map(|partition| match is_metadata {
            true => metadata(ctx),
            false => unknown(partition.partition_index),
        });
        DescribedQuorumTopic {
            partitions: partitions.collect(),
            topic_name: topic.topic_name,
        }
    });
    let listener = QuorumListener {
        name: "CONTROLLER".to_owned(),
        host: ctx.advertised_host.clone(),
        port: wire_port(ctx.advertised_port),
    };
    let node = QuorumNode {
        node_id: ctx.services.config.node_id,
        listeners: vec![listener],
    };
    DescribeQuorumResponse {
        topics: topics.collect(),
        nodes: if is_metadata { vec![node] } else { Vec::new() },
        ..DescribeQuorumResponse::default()
    }
}

/// As the wire has it: 16 bits without a sign.
fn wire_port(port: i32) -> i16 {
    u16::try_from(port).unwrap_or(0).cast_signed()
}

fn metadata(ctx: &Context) -> DescribedQuorumPartition {
    let node_id = ctx.services.config.node_id;
    let end = ctx.services.topics.metadata_end();
    let now = wall_ms();
    DescribedQuorumPartition {
        leader_id: node_id,
        leader_epoch: 1,
        high_watermark: end,
        current_voters: vec![QuorumReplica {
            replica_id: node_id,
            replica_directory_id: Uuid::nil(),
            log_end_offset: end,
            last_fetch_timestamp: now,
            last_caught_up_timestamp: now,
        }],
        ..DescribedQuorumPartition::default()
    }
}

fn unknown(partition_index: i32) -> DescribedQuorumPartition {
    let error_code = ErrorCode::UnknownTopicOrPartition;
    DescribedQuorumPartition {
        partition_index,
        error_code,
        error_message: Some(error_code.message().to_owned()),
        ..DescribedQuorumPartition::default()
    }
}
