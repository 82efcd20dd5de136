//! DescribeAcls (key 29): the rules that match a filter, by resource.

use std::collections::BTreeMap;

use log_protocol::ErrorCode;
use log_protocol::api::describe_acls::{
    AclDescription, DescribeAclsRequest, DescribeAclsResource, DescribeAclsResponse,
};

use crate::authorize::{Resource, require};
use crate::security::acl::{AclFilter, Operation, PatternFilter, Permission, ResourceKind};
use crate::services::Context;

/// "Any" of kinds, operations and permissions.
const ANY: i8 = 1;

pub(crate) fn handle(ctx: &Context, request: DescribeAclsRequest) -> DescribeAclsResponse {
    let filter = check(ctx, Operation::Describe).and_then(|()| {
        filter(Asked {
            kind: request.resource_type_filter,
            name: request.resource_name_filter,
            pattern: request.pattern_type_filter,
            principal: request.principal_filter,
            host: request.host_filter,
            operation: request.operation,
            permission: request.permission_type,
        })
    });
    let filter = match filter {
        Ok(filter) => filter,
        Err((error_code, message)) => {
            return DescribeAclsResponse {
                error_code,
                error_message: Some(message),
                ..DescribeAclsResponse::default()
            };
        }
    };
    let security = ctx.services.topics.security();
    let mut resources: BTreeMap<_, Vec<AclDescription>> = BTreeMap::new();
    for acl in security
        .image
        .acls()
        .iter()
        .filter(|acl| filter.matches(acl))
    {
        let resource = (acl.kind, acl.pattern, acl.name.as_str());
        resources.entry(resource).or_default().push(AclDescription {
            principal: acl.principal.clone(),
            host: acl.host.clone(),
            operation: acl.operation as i8,
            permission_type: acl.permission as i8,
        });
    }
    let resources =
        resources
            .into_iter()
            .map(|((kind, pattern, name), acls)| DescribeAclsResource {
                resource_type: kind as i8,
                resource_name: name.to_owned(),
                pattern_type: pattern as i8,
                acls,
            });
    DescribeAclsResponse {
        resources: resources.collect(),
        ..DescribeAclsResponse::default()
    }
}

/// Whether who asks may see or change rules, and whether there are any.
pub(crate) fn check(ctx: &Context, operation: Operation) -> Result<(), (ErrorCode, String)> {
    if !ctx.services.access.has_authorizer {
        let message = "rules of access are not looked at: no listener asks who connects, or authorizer is off";
        return Err((ErrorCode::SecurityDisabled, message.to_owned()));
    }
    require(ctx, operation, Resource::Cluster).map_err(|error| (error, error.message().to_owned()))
}

/// A filter as it came.
pub(crate) struct Asked {
    pub(crate) kind: i8,
    pub(crate) name: Option<String>,
    pub(crate) pattern: i8,
    pub(crate) principal: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) operation: i8,
    pub(crate) permission: i8,
}

/// The filter, if its numbers are known.
pub(crate) fn filter(asked: Asked) -> Result<AclFilter, (ErrorCode, String)> {
    let unknown = |what: &str, code: i8| {
        let message = format!("{what} {code} of the filter is not known");
        (ErrorCode::InvalidRequest, message)
    };
    let any_or = |code: i8, known: bool, what: &str| {
        if code == ANY || known {
            Ok(())
        } else {
            Err(unknown(what, code))
        }
    };
    let kind = ResourceKind::from_code(asked.kind);
    let operation = Operation::from_code(asked.operation);
    let permission = Permission::from_code(asked.permission);
    any_or(asked.kind, kind.is_some(), "resource type")?;
    any_or(asked.operation, operation.is_some(), "operation")?;
    any_or(asked.permission, permission.is_some(), "permission type")?;
    let pattern = PatternFilter::from_code(asked.pattern)
        .ok_or_else(|| unknown("pattern type", asked.pattern))?;
    Ok(AclFilter {
        kind,
        pattern,
        name: asked.name,
        principal: asked.principal,
        host: asked.host,
        operation,
        permission,
    })
}
