//! CreateAcls (key 30): adds rules. Those that are sound are added, all at once.

use log_protocol::ErrorCode;
use log_protocol::api::create_acls::{
    AclCreation, AclCreationResult, CreateAclsRequest, CreateAclsResponse,
};
use tracing::info;

use super::blocking;
use super::describe_acls::check;
use crate::security::acl::{
    Acl, CLUSTER_NAME, Operation, Pattern, Permission, ResourceKind, canonical_host,
};
use crate::security::{ACLS_MAX, SecurityRecord};
use crate::services::Context;

type Refused = (ErrorCode, String);

pub(crate) async fn handle(ctx: &Context, request: CreateAclsRequest) -> CreateAclsResponse {
    let may = check(ctx, Operation::Alter);
    let mut outcomes: Vec<Result<Acl, Refused>> = request
        .creations
        .into_iter()
        .map(|creation| may.clone().and_then(|()| read(creation)))
        .collect();
    let acls: Vec<Acl> = outcomes.iter().flatten().cloned().collect();
    if !acls.is_empty()
        && let Err(refused) = add(ctx, acls).await
    {
        for outcome in &mut outcomes {
            *outcome = outcome.clone().and_then(|_| Err(refused.clone()));
        }
    }
    let results = outcomes.into_iter().map(|outcome| match outcome {
        Ok(_) => AclCreationResult::default(),
        Err((error_code, message)) => AclCreationResult {
            error_code,
            error_message: Some(message),
        },
    });
    CreateAclsResponse {
        results: results.collect(),
        ..CreateAclsResponse::default()
    }
}

async fn add(ctx: &Context, acls: Vec<Acl>) -> Result<(), Refused> {
    let topics = ctx.services.topics.clone();
    let by = ctx.principal.to_string();
    let changed = blocking(move || {
        topics.change_security(|image| {
            let new: Vec<Acl> = acls
                .into_iter()
                .filter(|acl| !image.acls().contains(acl))
                .collect();
            if image.acls().len() + new.len() > ACLS_MAX {
                let message =
                    format!("there would be more than {ACLS_MAX} rules; remove some first");
                return (Vec::new(), Err((ErrorCode::InvalidRequest, message)));
            }
            for acl in &new {
                info!(?acl, by, "rule of access added");
            }
            let record = (!new.is_empty()).then_some(SecurityRecord::AclsAdded { acls: new });
            (record.into_iter().collect(), Ok(()))
        })
    });
    changed
        .await
        .map_err(|error| (error, error.message().to_owned()))?
        .map_err(|error| (error.code(), error.to_string()))?
}

/// The rule, if it is one.
fn read(creation: AclCreation) -> Result<Acl, Refused> {
    let refuse = |message: String| Err((ErrorCode::InvalidRequest, message));
    let (Some(kind), Some(pattern)) = (
        ResourceKind::from_code(creation.resource_type),
        Pattern::from_code(creation.resource_pattern_type),
    ) else {
        return refuse(format!(
            "resource type {} with pattern type {} is no resource that a rule can be about",
            creation.resource_type, creation.resource_pattern_type
        ));
    };
    let (Some(operation), Some(permission)) = (
        Operation::from_code(creation.operation),
        Permission::from_code(creation.permission_type),
    ) else {
        return refuse(format!(
            "operation {} with permission type {} is nothing that a rule can say",
            creation.operation, creation.permission_type
        ));
    };
    let (name, principal, host) = (creation.resource_name, creation.principal, creation.host);
    if name.is_empty() {
        return refuse("the name of the resource is empty".to_owned());
    }
    if kind == ResourceKind::Cluster && name != CLUSTER_NAME {
        return refuse(format!(
            "the only cluster is called {CLUSTER_NAME}, not {name}"
        ));
    }
    if principal.strip_prefix("User:").is_none_or(str::is_empty) {
        return refuse(format!("principal {principal:?} is not User:name"));
    }
    if canonical_host(&host).is_none() {
        return refuse(format!(
            "host {host:?} is no address, as 127.0.0.1 or ::1 are; * is any"
        ));
    }
    Ok(Acl {
        kind,
        pattern,
        name,
        principal,
        host,
        operation,
        permission,
    })
}
