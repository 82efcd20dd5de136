//! AlterClientQuotas (key 49): sets and removes limits of users and client ids.

use std::collections::BTreeMap;

use log_protocol::ErrorCode;
use log_protocol::api::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, AlterQuotaEntity, AlterQuotaOp,
    AlterQuotaResult,
};
use tracing::info;

use super::describe_client_quotas::{CLIENT, USER};
use super::{Repeated, blocking};
use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::security::quota::{QuotaEntity, QuotaKey, Rate, Whom};
use crate::security::{QUOTAS_MAX, SecurityImage, SecurityRecord};
use crate::services::Context;

type Refused = (ErrorCode, String);

/// What a whole number may lack, as in Kafka.
const FRACTION_MAX: f64 = 1e-6;

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
    let named = request.entries.iter().map(|entry| parts(&entry.entity));
    let mut repeated = Repeated::of(named);
    for entry in request.entries {
        let parts = parts(&entry.entity);
        let Some(is_repeated) = repeated.first_time(&parts) else {
            continue;
        };
        outcomes.push(may.clone().and_then(|()| {
            if is_repeated {
                let message = "an entity is changed more than once; put all its quotas into one";
                return Err((ErrorCode::InvalidRequest, message.to_owned()));
            }
            Ok((whom(&parts)?, changes(&entry.ops)?))
        }));
        entities.push(parts);
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
        let parts = entity.into_iter();
        AlterQuotaResult {
            error_code,
            error_message,
            entity: parts
                .map(|(entity_type, entity_name)| AlterQuotaEntity {
                    entity_type,
                    entity_name,
                })
                .collect(),
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

/// The parts of an entity by their kind; of one that comes twice the last counts, as in Kafka.
fn parts(entity: &[AlterQuotaEntity]) -> BTreeMap<String, Option<String>> {
    let parts = entity.iter();
    parts
        .map(|part| (part.entity_type.clone(), part.entity_name.clone()))
        .collect()
}

fn refuse<T>(message: String) -> Result<T, Refused> {
    Err((ErrorCode::InvalidRequest, message))
}

fn whom(parts: &BTreeMap<String, Option<String>>) -> Result<QuotaEntity, Refused> {
    let mut whom = QuotaEntity {
        user: None,
        client: None,
    };
    for (kind, name) in parts {
        let of = match kind.as_str() {
            USER => &mut whom.user,
            CLIENT => &mut whom.client,
            other => {
                return refuse(format!(
                    "entity type {other:?} has no quotas here: users and client ids have"
                ));
            }
        };
        if name.as_deref() == Some("") {
            return refuse(format!("entity {kind} has an empty name"));
        }
        *of = Some(name.clone().map_or(Whom::Default, Whom::Named));
    }
    if whom.user.is_none() && whom.client.is_none() {
        return refuse("a quota needs a user or a client id".to_owned());
    }
    Ok(whom)
}

fn changes(ops: &[AlterQuotaOp]) -> Result<Changes, Refused> {
    let mut changes = Changes::new();
    for op in ops {
        let known = QuotaKey::ALL.into_iter().find(|key| key.name() == op.key);
        let key = match known {
            Some(key) => key,
            // What nobody has can be taken from anybody.
            None if op.remove => continue,
            None => {
                let names = QuotaKey::ALL.map(QuotaKey::name).join(", ");
                return refuse(format!(
                    "quota {:?} is not known: there are {names}",
                    op.key
                ));
            }
        };
        let rate = Rate::new(op.value);
        if !op.remove && rate.is_none() {
            return refuse(format!(
                "quota {} must be above 0, not {}",
                op.key, op.value
            ));
        }
        if !op.remove && key.is_whole() && op.value.fract() > FRACTION_MAX {
            return refuse(format!(
                "quota {} must be a whole number, not {}",
                op.key, op.value
            ));
        }
        if changes.insert(key, rate.filter(|_| !op.remove)).is_some() {
            return refuse(format!("quota {} is changed twice", op.key));
        }
    }
    Ok(changes)
}
