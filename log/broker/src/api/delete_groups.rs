//! DeleteGroups (key 42): forgets groups without members, and their offsets.

use std::collections::HashSet;

use log_protocol::ErrorCode;
use log_protocol::api::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};

use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) async fn handle(ctx: &Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    let mut named = HashSet::new();
    for group_id in request.groups_names {
        if !named.insert(group_id.clone()) {
            continue;
        }
        let deleted = match require(ctx, Operation::Delete, Resource::Group(&group_id)) {
            Ok(()) => ctx.services.groups.delete(&group_id).await,
            Err(error) => Err(error),
        };
        let error_code = deleted.err().unwrap_or(ErrorCode::None);
        results.push(DeletableGroupResult {
            group_id,
            error_code,
        });
    }
    DeleteGroupsResponse {
        results,
        ..DeleteGroupsResponse::default()
    }
}
