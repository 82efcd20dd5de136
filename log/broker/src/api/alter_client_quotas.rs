//! AlterClientQuotas (key 49): sets and removes limits of users and client ids.

use std::collections::BTreeMap;

use log_protocol::ErrorCode;
use log_protocol::api::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, AlterQuotaEntity, AlterQuotaOp,
    AlterQuotaResult,
};
use tracing::info;

use super::blocking;
use super::describe_client_quotas::{CLIENT, USER};
use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::security::quota::{QuotaEntity, QuotaKey, Rate, Whom};
use crate::security::{QUOTAS_MAX, SecurityImage, SecurityRecord};
use crate::services::Context;

type Refused = (ErrorCode, String);

/// What becomes of each limit that is named; `None` is taken away.
type Changes = BTreeMap<QuotaKey, Option<Rate>>;

pub(crate) async fn handle(
    ctx: &Context,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let may = require(ctx, Operation::AlterConfigs, Resource::Cluster)
        .map_err(|error| (error, error.message().to_owned()));
    let mut entities = Vec::with_capacity(request.entries.len());
    let mut outcomes = Vec::with_capacity(request.entries.len());
    for entry in request.entries {
        outcomes.push(may.clone().and_then(|()| read(&entry.entity, &entry.ops)));
        entities.push(entry.entity);
    }
    let sound: Vec<(QuotaEntity, Changes)> = outcomes.iter().flatten().cloned().collect();
    let written = if request.validate_only || sound.is_empty() {
        Ok(())
    } else {
        write(ctx, sound).await
    };
    let entries = entities.into_iter().zip(outcomes).map(|(entity, outcome)| {
        let (error_code, error_message) = match outcome.and_then(|_| written.clone()) {
            Ok(()) => (ErrorCode::None, None),
            Err((error, message)) => (error, Some(message)),
        };
        AlterQuotaResult {
            error_code,
            error_message,
            entity,
        }
    });
    AlterClientQuotasResponse {
        entries: entries.collect(),
        ..AlterClientQuotasResponse::default()
    }
}

async fn write(ctx: &Context, changes: Vec<(QuotaEntity, Changes)>) -> Result<(), Refused> {
    let topics = ctx.services.topics.clone();
    let by = ctx.principal.to_string();
    let changed = blocking(move || {
        topics.change_security(|image| {
            if image.quotas().len() + changes.len() > QUOTAS_MAX {
                let message =
                    format!("there would be more than {QUOTAS_MAX} quotas; remove some first");
                return (Vec::new(), Err((ErrorCode::InvalidRequest, message)));
            }
            let mut now = BTreeMap::new();
            for (entity, changes) in changes {
                let limits = now
                    .entry(entity)
                    .or_insert_with_key(|entity| limits_of(image, entity));
                for (key, rate) in changes {
                    match rate {
                        Some(rate) => limits.insert(key, rate),
                        None => limits.remove(&key),
                    };
                }
            }
            let records = now.into_iter().map(|(entity, limits)| {
                info!(?entity, ?limits, by, "quota changed");
                SecurityRecord::QuotasSet { entity, limits }
            });
            (records.collect(), Ok(()))
        })
    });
    changed
        .await
        .map_err(|error| (error, error.message().to_owned()))?
        .map_err(|error| (error.code(), error.to_string()))?
}

fn limits_of(image: &SecurityImage, entity: &QuotaEntity) -> BTreeMap<QuotaKey, Rate> {
    let mut quotas = image.quotas().iter();
    let known = quotas.find(|(other, _)| other == entity);
    known.map(|(_, limits)| limits.clone()).unwrap_or_default()
}

fn read(
    entity: &[AlterQuotaEntity],
    ops: &[AlterQuotaOp],
) -> Result<(QuotaEntity, Changes), Refused> {
    let refuse = |message: String| Err((ErrorCode::InvalidRequest, message));
    let mut whom = QuotaEntity {
        user: None,
        client: None,
    };
    for part in entity {
        let of = match part.entity_type.as_str() {
            USER => &mut whom.user,
            CLIENT => &mut whom.client,
            other => {
                return refuse(format!(
                    "entity type {other:?} has no quotas here: users and client ids have"
                ));
            }
        };
        let name = part.entity_name.clone();
        if of
            .replace(name.map_or(Whom::Default, Whom::Named))
            .is_some()
        {
            return refuse(format!("entity type {} is named twice", part.entity_type));
        }
    }
    if whom.user.is_none() && whom.client.is_none() {
        return refuse("a quota needs a user or a client id".to_owned());
    }
    let mut changes = Changes::new();
    for op in ops {
        let known = QuotaKey::ALL.into_iter().find(|key| key.name() == op.key);
        let Some(key) = known else {
            let names = QuotaKey::ALL.map(QuotaKey::name).join(", ");
            return refuse(format!(
                "quota {:?} is not known: there are {names}",
                op.key
            ));
        };
        let rate = Rate::new(op.value);
        if !op.remove && rate.is_none() {
            return refuse(format!(
                "quota {} must be above 0, not {}",
                op.key, op.value
            ));
        }
        if changes.insert(key, rate.filter(|_| !op.remove)).is_some() {
            return refuse(format!("quota {} is changed twice", op.key));
        }
    }
    Ok((whom, changes))
}
