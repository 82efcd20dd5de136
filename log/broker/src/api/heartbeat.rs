//! Heartbeat (key 12): keeps a member's session, and tells it of a rebalance.

use log_protocol::api::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::check_group_id;
use crate::authorize::{Resource, require};
use crate::coordinator::group::state::Identity;
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) fn handle(ctx: &Context, request: HeartbeatRequest) -> HeartbeatResponse {
    let allowed = require(ctx, Operation::Read, Resource::Group(&request.group_id))
        .and_then(|()| check_group_id(&request.group_id));
    if let Err(error_code) = allowed {
        return HeartbeatResponse {
            error_code,
            ..HeartbeatResponse::default()
        };
    }
    let member = Identity {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
    };
    let error_code = ctx.services.groups.heartbeat(&request.group_id, &member);
    HeartbeatResponse {
        error_code,
        ..HeartbeatResponse::default()
    }
}
