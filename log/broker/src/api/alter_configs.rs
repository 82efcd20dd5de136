//! AlterConfigs (key 33): replaces all configs of a topic; what is not named goes back to its default.

use std::collections::BTreeMap;
use std::sync::Arc;

use log_protocol::ErrorCode;
use log_protocol::api::alter_configs::{
    AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse, AlterableConfig,
};
use tracing::info;

use super::describe_configs::{BROKER, TOPIC};
use super::{Answered, Repeated, blocking};
use crate::authorize::{Resource, require};
use crate::quorum::Topic;
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) async fn handle(ctx: &Context, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    let named = request.resources.iter();
    let repeated = Repeated::of(
        named.map(|resource| (resource.resource_type, resource.resource_name.clone())),
    );
    let mut answered = Answered::default();
    for resource in request.resources {
        let (resource_type, name) = (resource.resource_type, resource.resource_name.clone());
        let is_repeated = repeated.is_repeated(&(resource_type, name.clone()));
        if !answered.may_answer((resource_type, name.clone())) {
            continue;
        }
        let outcome = match alterable(ctx, resource_type, &name) {
            _ if is_repeated => Err(named_twice(&name)),
            Ok(topic) => match collect(resource.configs) {
                Ok(set) => replace(ctx, &topic, set, request.validate_only).await,
                Err(refused) => Err(refused),
            },
            Err(refused) => Err(refused),
        };
        let (error_code, error_message) = match outcome {
            Ok(()) => (ErrorCode::None, None),
            Err((error, message)) => (error, Some(message)),
        };
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type,
            resource_name: name,
        });
    }
    AlterConfigsResponse {
        responses,
        ..AlterConfigsResponse::default()
    }
}

/// What a resource is refused with whose changes cannot be put in an order.
pub(crate) fn named_twice(name: &str) -> (ErrorCode, String) {
    let message = format!("resource {name} is named more than once; put all its configs into one");
    (ErrorCode::InvalidRequest, message)
}

fn collect(configs: Vec<AlterableConfig>) -> Result<BTreeMap<String, String>, (ErrorCode, String)> {
    let mut set = BTreeMap::new();
    for config in configs {
        let Some(value) = config.value else {
            let message = format!("config {} has no value", config.name);
            return Err((ErrorCode::InvalidRequest, message));
        };
        if set.insert(config.name.clone(), value).is_some() {
            let message = format!("config {} is named more than once", config.name);
            return Err((ErrorCode::InvalidRequest, message));
        }
    }
    Ok(set)
}

/// The topic whose configs may be altered.
pub(crate) fn alterable(
    ctx: &Context,
    resource_type: i8,
    name: &str,
) -> Result<Arc<Topic>, (ErrorCode, String)> {
    let guarded = match resource_type {
        TOPIC => Resource::Topic(name),
        _ => Resource::Cluster,
    };
    require(ctx, Operation::AlterConfigs, guarded)
        .map_err(|error| (error, error.message().to_owned()))?;
    match resource_type {
        TOPIC if name.is_empty() => {
            let message = "the name of a topic is missing".to_owned();
            Err((ErrorCode::InvalidRequest, message))
        }
        TOPIC => ctx.services.topics.get(name).ok_or_else(|| {
            (
                ErrorCode::UnknownTopicOrPartition,
                format!("topic {name} does not exist"),
            )
        }),
        BROKER => {
            let message =
                "settings of the broker are made in its configuration and take effect at its start";
            Err((ErrorCode::InvalidRequest, message.to_owned()))
        }
        other => Err((
            ErrorCode::InvalidRequest,
            format!("resource type {other} has no configs here"),
        )),
    }
}

/// Makes `set` the configs of a topic.
pub(crate) async fn replace(
    ctx: &Context,
    topic: &Topic,
    set: BTreeMap<String, String>,
    validate_only: bool,
) -> Result<(), (ErrorCode, String)> {
    let name = topic.name().to_string();
    let mut changes: Vec<(String, Option<String>)> = topic
        .set_configs()
        .into_keys()
        .filter(|key| !set.contains_key(key))
        .map(|key| (key, None))
        .collect();
    changes.extend(set.into_iter().map(|(key, value)| (key, Some(value))));
    if changes.is_empty() {
        return Ok(());
    }
    if validate_only {
        let checked = ctx.services.topics.check_alter(&name, &changes);
        return checked.map_err(|error| (error.code(), error.to_string()));
    }
    let topics = ctx.services.topics.clone();
    let wanted = name.clone();
    blocking(move || topics.alter(&wanted, &changes).map(drop))
        .await
        .map_err(|error| (error, error.message().to_owned()))?
        .map_err(|error| (error.code(), error.to_string()))?;
    info!(topic = name, "topic configs changed");
    Ok(())
}
