//! LeaveGroup (key 13): one member, or from version 3 on several at once.

use log_protocol::ErrorCode;
use log_protocol::api::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};

use super::check_group_id;
use crate::authorize::{Resource, require};
use crate::coordinator::group::state::Identity;
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) fn handle(ctx: &Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let allowed = require(ctx, Operation::Read, Resource::Group(&request.group_id))
        .and_then(|()| check_group_id(&request.group_id));
    if let Err(error_code) = allowed {
        return LeaveGroupResponse {
            error_code,
            ..LeaveGroupResponse::default()
        };
    }
    let leave = |member_id: &str, instance_id: Option<&str>| {
        let member = Identity {
            member_id: member_id.to_owned(),
            instance_id: instance_id.map(str::to_owned),
            generation: -1,
        };
        ctx.services.groups.leave(&request.group_id, &member)
    };
    if ctx.api_version < 3 {
        let error_code = leave(&request.member_id, None);
        return LeaveGroupResponse {
            error_code,
            ..LeaveGroupResponse::default()
        };
    }
    let members = request
        .members
        .iter()
        .map(|member| MemberResponse {
            error_code: leave(&member.member_id, member.group_instance_id.as_deref()),
            member_id: member.member_id.clone(),
            group_instance_id: member.group_instance_id.clone(),
        })
        .collect();
    LeaveGroupResponse {
        error_code: ErrorCode::None,
        members,
        ..LeaveGroupResponse::default()
    }
}
