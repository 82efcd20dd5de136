//! DescribeGroups (key 15): state, members, assignments. A group that is not there is "Dead"; from version 6 on that is an error.

use log_protocol::ErrorCode;
use log_protocol::api::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use super::{Answered, authorized};
use crate::authorize::{Resource, authorize};
use crate::coordinator::group::Description;
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) fn handle(ctx: &Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let asked = request.include_authorized_operations;
    let mut answered = Answered::default();
    let groups = request
        .groups
        .into_iter()
        .filter(|group_id| answered.may_answer(group_id.clone()))
        .map(|group_id| match ctx.services.groups.describe(&group_id) {
            _ if !authorize(ctx, Operation::Describe, Resource::Group(&group_id)) => {
                DescribedGroup {
                    error_code: ErrorCode::GroupAuthorizationFailed,
                    group_id,
                    ..DescribedGroup::default()
                }
            }
            Some(description) => DescribedGroup {
                authorized_operations: authorized::group(ctx, asked, &group_id),
                ..described(group_id, description)
            },
            None => dead(ctx, group_id),
        })
        .collect();
    DescribeGroupsResponse {
        groups,
        ..DescribeGroupsResponse::default()
    }
}

fn described(group_id: String, description: Description) -> DescribedGroup {
    DescribedGroup {
        error_code: ErrorCode::None,
        group_id,
        group_state: description.phase.to_owned(),
        protocol_type: description.protocol_type,
        protocol_data: description.protocol,
        members: description
            .members
            .into_iter()
            .map(|member| DescribedGroupMember {
                member_id: member.member_id,
                group_instance_id: member.instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                member_metadata: member.metadata,
                member_assignment: member.assignment,
            })
            .collect(),
        ..DescribedGroup::default()
    }
}

fn dead(ctx: &Context, group_id: String) -> DescribedGroup {
    let (error_code, error_message) = if ctx.api_version >= 6 {
        (
            ErrorCode::GroupIdNotFound,
            Some(format!("group {group_id} does not exist")),
        )
    } else {
        (ErrorCode::None, None)
    };
    let group_state = "Dead".to_owned();
    DescribedGroup {
        error_code,
        error_message,
        group_id,
        group_state,
        ..DescribedGroup::default()
    }
}
