//! SyncGroup (key 14): the leader brings a generation's assignment, every member fetches its part; waits for the leader.

use log_protocol::ErrorCode;
use log_protocol::api::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::check_group_id;
use crate::authorize::{Resource, require};
use crate::coordinator::group::state::{Identity, Sync};
use crate::security::acl::Operation;
use crate::services::Context;

/// From this version on a member says by which protocol its generation is assigned.
const NAMES_PROTOCOL_FROM: i16 = 5;

pub(crate) async fn handle(ctx: &Context, request: SyncGroupRequest) -> SyncGroupResponse {
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    let allowed = if ctx.api_version >= NAMES_PROTOCOL_FROM && !names_protocol {
        Err(ErrorCode::InconsistentGroupProtocol)
    } else {
        require(ctx, Operation::Read, Resource::Group(&request.group_id))
            .and_then(|()| check_group_id(&request.group_id))
    };
    if let Err(error_code) = allowed {
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
