//! DeleteGroups (key 42): forgets groups without members, and their offsets.

use std::collections::HashSet;

use log_protocol::ErrorCode;
use log_protocol::api::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};

use crate::services::Context;

pub(crate) async fn handle(ctx: &Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    let mut named = HashSet::new();
    for group_id in request.groups_names {
        if !named.insert(group_id.clone()) {
            continue;
        }
        let error_code = match ctx.services.groups.delete(&group_id).await {
            Ok(()) => ErrorCode::None,
            Err(error) => error,
        };
        results.push(DeletableGroupResult {
            group_id,
            error_code,
        });
    }
    DeleteGroupsResponse {
        throttle_time_ms: 0,
        results,
    }
}
