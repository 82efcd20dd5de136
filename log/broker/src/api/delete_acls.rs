//! DeleteAcls (key 31): removes the rules that match filters, and tells which these were.

use std::collections::BTreeSet;

use log_protocol::ErrorCode;
use log_protocol::api::delete_acls::{
    DeleteAclsFilterResult, DeleteAclsMatchingAcl, DeleteAclsRequest, DeleteAclsResponse,
};
use tracing::info;

use super::blocking;
use super::describe_acls::{Asked, check, filter};
use crate::security::SecurityRecord;
use crate::security::acl::{Acl, AclFilter, Operation};
use crate::services::Context;

type Refused = (ErrorCode, String);

pub(crate) async fn handle(ctx: &Context, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let may = check(ctx, Operation::Alter);
    let filters: Vec<Result<AclFilter, Refused>> = request
        .filters
        .into_iter()
        .map(|asked| {
            may.clone().and_then(|()| {
                filter(Asked {
                    kind: asked.resource_type_filter,
                    name: asked.resource_name_filter,
                    pattern: asked.pattern_type_filter,
                    principal: asked.principal_filter,
                    host: asked.host_filter,
                    operation: asked.operation,
                    permission: asked.permission_type,
                })
            })
        })
        .collect();
    let sound: Vec<AclFilter> = filters.iter().flatten().cloned().collect();
    let removed = if sound.is_empty() {
        Ok(Vec::new())
    } else {
        remove(ctx, sound).await
    };
    let mut removed = removed.map(Vec::into_iter);
    let filter_results = filters.into_iter().map(|filter| {
        let found = filter.and_then(|_| match &mut removed {
            Ok(removed) => Ok(removed.next().unwrap_or_default()),
            Err(refused) => Err(refused.clone()),
        });
        match found {
            Ok(acls) => DeleteAclsFilterResult {
                matching_acls: acls.into_iter().map(matching).collect(),
                ..DeleteAclsFilterResult::default()
            },
            Err((error_code, message)) => DeleteAclsFilterResult {
                error_code,
                error_message: Some(message),
                ..DeleteAclsFilterResult::default()
            },
        }
    });
    DeleteAclsResponse {
        filter_results: filter_results.collect(),
        ..DeleteAclsResponse::default()
    }
}

/// Removes what matches; returns it by filter. A rule that several match is told for the first of them.
async fn remove(ctx: &Context, filters: Vec<AclFilter>) -> Result<Vec<Vec<Acl>>, Refused> {
    let topics = ctx.services.topics.clone();
    let by = ctx.principal.to_string();
    let changed = blocking(move || {
        topics.change_security(|image| {
            let mut all = BTreeSet::new();
            let mut by_filter = Vec::with_capacity(filters.len());
            for filter in &filters {
                let matching = image.acls().iter().filter(|acl| filter.matches(acl));
                let new: Vec<Acl> = matching.filter(|acl| all.insert(*acl)).cloned().collect();
                by_filter.push(new);
            }
            for acl in &all {
                info!(?acl, by, "rule of access removed");
            }
            let acls: Vec<Acl> = all.into_iter().cloned().collect();
            let record = (!acls.is_empty()).then_some(SecurityRecord::AclsRemoved { acls });
            (record.into_iter().collect(), by_filter)
        })
    });
    changed
        .await
        .map_err(|error| (error, error.message().to_owned()))?
        .map_err(|error| (error.code(), error.to_string()))
}

fn matching(acl: Acl) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl {
        resource_type: acl.kind as i8,
        resource_name: acl.name,
        pattern_type: acl.pattern as i8,
        principal: acl.principal,
        host: acl.host,
        operation: acl.operation as i8,
        permission_type: acl.permission as i8,
        ..DeleteAclsMatchingAcl::default()
    }
}
