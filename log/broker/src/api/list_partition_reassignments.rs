//! ListPartitionReassignments (key 46): nothing moves where there is one broker.

use log_protocol::api::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) fn handle(
    ctx: &Context,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    match require(ctx, Operation::Describe, Resource::Cluster) {
        Ok(()) => ListPartitionReassignmentsResponse::default(),
        Err(error_code) => ListPartitionReassignmentsResponse {
            error_code,
            error_message: Some(error_code.message().to_owned()),
            ..ListPartitionReassignmentsResponse::default()
        },
    }
}
