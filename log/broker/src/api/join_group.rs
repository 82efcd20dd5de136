//! JoinGroup (key 11): enters a round of the classic group protocol; waits for the other members.
//!
//! - 0: the session timeout is the rebalance timeout too.
//! - 4: a first join only yields a member id (KIP-394).
//! - 5: static members (KIP-345).
//! - 9: a static leader that comes back need not assign (KIP-814).

use log_protocol::api::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};

use crate::authorize::{Resource, require};
use crate::coordinator::group::state::Join;
use crate::security::acl::Operation;
use crate::services::Context;

/// From this version on the protocol's name may be null.
const NULL_PROTOCOL_FROM: i16 = 7;

pub(crate) async fn handle(ctx: &Context, request: JoinGroupRequest) -> JoinGroupResponse {
    let version = ctx.api_version;
    if let Err(error_code) = require(ctx, Operation::Read, Resource::Group(&request.group_id)) {
        return JoinGroupResponse {
            error_code,
            protocol_name: (version < NULL_PROTOCOL_FROM).then(String::new),
            member_id: request.member_id,
            ..JoinGroupResponse::default()
        };
    }
    let rebalance_timeout_ms = if request.rebalance_timeout_ms < 0 {
        request.session_timeout_ms
    } else {
        request.rebalance_timeout_ms
    };
    let join = Join {
        member_id: request.member_id,
        fresh_member_id: String::new(),
        member_id_required: version >= 4 && request.group_instance_id.is_none(),
        instance_id: request.group_instance_id,
        client_id: ctx.client_id.clone(),
        client_host: ctx.client_host.clone(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type,
        protocols: request
            .protocols
            .into_iter()
            .map(|one| (one.name, one.metadata))
            .collect(),
        can_skip_assignment: version >= 9,
        ticket: 0,
    };
    let reply = ctx.services.groups.join(&request.group_id, join).await;
    let protocol_name = if version >= NULL_PROTOCOL_FROM {
        reply.protocol
    } else {
        Some(reply.protocol.unwrap_or_default())
    };
    JoinGroupResponse {
        error_code: reply.error,
        generation_id: reply.generation,
        protocol_type: reply.protocol_type,
        protocol_name,
        leader: reply.leader,
        skip_assignment: reply.skip_assignment,
        member_id: reply.member_id,
        members: reply
            .members
            .into_iter()
            .map(|member| JoinGroupResponseMember {
                member_id: member.member_id,
                group_instance_id: member.instance_id,
                metadata: member.metadata,
            })
            .collect(),
        ..JoinGroupResponse::default()
    }
}
