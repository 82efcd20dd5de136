//! ListGroups (key 16), filtered by state from version 4 on, by type from version 5 on. Every group here is a classic one.

use log_protocol::ErrorCode;
use log_protocol::api::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use crate::authorize::{Resource, authorize};
use crate::security::acl::Operation;
use crate::services::Context;

const CLASSIC: &str = "classic";

pub(crate) fn handle(ctx: &Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let takes = |filter: &[String], value: &str| {
        filter.is_empty()
            || filter
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let sees_all = authorize(ctx, Operation::Describe, Resource::Cluster);
    let groups = ctx
        .services
        .groups
        .list()
        .into_iter()
        .filter(|group| {
            sees_all || authorize(ctx, Operation::Describe, Resource::Group(&group.group_id))
        })
        .filter(|group| {
            takes(&request.states_filter, group.phase) && takes(&request.types_filter, CLASSIC)
        })
        .map(|group| ListedGroup {
            group_id: group.group_id,
            protocol_type: group.protocol_type,
            group_state: group.phase.to_owned(),
            group_type: CLASSIC.to_owned(),
        })
        .collect();
    ListGroupsResponse {
        error_code: ErrorCode::None,
        groups,
        ..ListGroupsResponse::default()
    }
}
