//! DescribeClientQuotas (key 48): the limits that match a filter. Entities are users and client ids; addresses are not limited here.

use std::collections::HashSet;

use log_protocol::ErrorCode;
use log_protocol::api::describe_client_quotas::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, QuotaComponent,
    QuotaEntity as Described, QuotaEntry, QuotaValue,
};

use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::security::quota::{QuotaEntity, Whom};
use crate::services::Context;

/// Kinds of entities.
pub(crate) const USER: &str = "user";
pub(crate) const CLIENT: &str = "client-id";
pub(crate) const IP: &str = "ip";

/// Ways to ask for one.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

pub(crate) fn handle(
    ctx: &Context,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let allowed = require(ctx, Operation::DescribeConfigs, Resource::Cluster)
        .map_err(|error| (error, error.message().to_owned()));
    let checked = allowed.and_then(|()| check(&request.components));
    if let Err((error_code, message)) = checked {
        return DescribeClientQuotasResponse {
            error_code,
            error_message: Some(message),
            ..DescribeClientQuotasResponse::default()
        };
    }
    let security = ctx.services.topics.security();
    let entries = security
        .image
        .quotas()
        .iter()
        .filter(|(entity, _)| matches(entity, &request.components, request.strict))
        .map(|(entity, limits)| QuotaEntry {
            entity: parts(entity)
                .map(|(kind, whom)| Described {
                    entity_type: kind.to_owned(),
                    entity_name: name_of(whom),
                })
                .collect(),
            values: limits
                .iter()
                .map(|(key, rate)| QuotaValue {
                    key: key.name().to_owned(),
                    value: rate.value(),
                })
                .collect(),
        })
        .collect();
    DescribeClientQuotasResponse {
        entries: Some(entries),
        ..DescribeClientQuotasResponse::default()
    }
}

fn name_of(whom: &Whom) -> Option<String> {
    match whom {
        Whom::Default => None,
        Whom::Named(name) => Some(name.clone()),
    }
}

fn parts(entity: &QuotaEntity) -> impl Iterator<Item = (&'static str, &Whom)> {
    let user = entity.user.iter().map(|whom| (USER, whom));
    user.chain(entity.client.iter().map(|whom| (CLIENT, whom)))
}

fn check(components: &[QuotaComponent]) -> Result<(), (ErrorCode, String)> {
    let mut kinds = HashSet::new();
    for component in components {
        let kind = component.entity_type.as_str();
        if kind.is_empty() {
            let message = "an entity type is empty: user and client-id are known";
            return Err((ErrorCode::InvalidRequest, message.to_owned()));
        }
        if ![USER, CLIENT, IP].contains(&kind) {
            let message = format!("entity type {kind:?} is not known: user and client-id are");
            return Err((ErrorCode::UnsupportedVersion, message));
        }
        if !kinds.insert(kind) {
            let message = format!("entity type {kind} is asked for twice");
            return Err((ErrorCode::InvalidRequest, message));
        }
        let is_sound = match component.match_type {
            EXACT => component.match_name.is_some(),
            DEFAULT | SPECIFIED => component.match_name.is_none(),
            _ => false,
        };
        if !is_sound {
            let message = format!(
                "match type {} of {kind} has no such name",
                component.match_type
            );
            return Err((ErrorCode::InvalidRequest, message));
        }
    }
    if kinds.contains(IP) && kinds.len() > 1 {
        let message = "no quota is of an address and of a user or client id";
        return Err((ErrorCode::InvalidRequest, message.to_owned()));
    }
    Ok(())
}

fn matches(entity: &QuotaEntity, components: &[QuotaComponent], strict: bool) -> bool {
    let has = |component: &QuotaComponent| {
        let mut parts = parts(entity);
        parts.any(|(kind, whom)| {
            kind == component.entity_type
                && match component.match_type {
                    EXACT => {
                        name_of(whom) == component.match_name && component.match_name.is_some()
                    }
                    DEFAULT => *whom == Whom::Default,
                    _ => true,
                }
        })
    };
    components.iter().all(has) && (!strict || parts(entity).count() == components.len())
}
