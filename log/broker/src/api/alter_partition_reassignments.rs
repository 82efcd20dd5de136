//! AlterPartitionReassignments (key 45): every partition lies on the only broker, and can be moved to none but this.

use log_protocol::ErrorCode;
use log_protocol::api::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};

use crate::authorize::{Resource, require};
use crate::quorum::Topic;
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) fn handle(
    ctx: &Context,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    if let Err(error_code) = require(ctx, Operation::Alter, Resource::Cluster) {
        return AlterPartitionReassignmentsResponse {
            error_code,
            error_message: Some(error_code.message().to_owned()),
            ..AlterPartitionReassignmentsResponse::default()
        };
    }
    let node_id = ctx.services.config.node_id;
    let responses = request.topics.into_iter().map(|wanted| {
        let topic = ctx.services.topics.get(&wanted.name);
        let partitions = wanted.partitions.into_iter().map(|wanted| {
            let (error_code, error_message) = match check(topic.as_deref(), &wanted, node_id) {
                Ok(()) => (ErrorCode::None, None),
                Err((error, message)) => (error, Some(message)),
            };
            ReassignablePartitionResponse {
                partition_index: wanted.partition_index,
                error_code,
                error_message,
            }
        });
        ReassignableTopicResponse {
            partitions: partitions.collect(),
            name: wanted.name,
        }
    });
    AlterPartitionReassignmentsResponse {
        responses: responses.collect(),
        ..AlterPartitionReassignmentsResponse::default()
    }
}

/// Whether the partition lies where it is wanted.
fn check(
    topic: Option<&Topic>,
    wanted: &ReassignablePartition,
    node_id: i32,
) -> Result<(), (ErrorCode, String)> {
    let index = wanted.partition_index;
    if topic.and_then(|topic| topic.partition(index)).is_none() {
        let message = format!("there is no partition {index} of that topic");
        return Err((ErrorCode::UnknownTopicOrPartition, message));
    }
    match &wanted.replicas {
        None => Err((
            ErrorCode::NoReassignmentInProgress,
            format!("partition {index} is not being moved"),
        )),
        Some(replicas) if *replicas == [node_id] => Ok(()),
        Some(replicas) => Err((
            ErrorCode::InvalidReplicaAssignment,
            format!("{replicas:?} are not brokers of this cluster: it has broker {node_id} alone"),
        )),
    }
}
