//! SyncGroup (key 14): the leader brings a generation's assignment, every member fetches its part; waits for the leader.

use log_protocol::api::sync_group::{SyncGroupRequest, SyncGroupResponse};

use crate::authorize::{Resource, require};
use crate::coordinator::group::state::{Identity, Sync};
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) async fn handle(ctx: &Context, request: SyncGroupRequest) -> SyncGroupResponse {
    if let Err(error_code) = require(ctx, Operation::Read, Resource::Group(&request.group_id)) {
        return SyncGroupResponse {
            error_code,
            ..SyncGroupResponse::default()
        };
    }
    let sync = Sync {
        member: Identity {
            member_id: request.member_id,
            instance_id: request.group_instance_id,
            generation: request.generation_id,
        },
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: request
            .assignments
            .into_iter()
            .map(|one| (one.member_id, one.assignment))
            .collect(),
        ticket: 0,
    };
    let reply = ctx.services.groups.sync(&request.group_id, sync).await;
    SyncGroupResponse {
        error_code: reply.error,
        protocol_type: reply.protocol_type,
        protocol_name: reply.protocol,
        assignment: reply.assignment,
        ..SyncGroupResponse::default()
    }
}
