//! DeleteTopics (key 20), by name, or by id from version 6 on. Committed offsets of the topic go with it.

use std::collections::HashSet;

use log_protocol::ErrorCode;
use log_protocol::api::delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};

use super::blocking;
use crate::authorize::{Resource, authorize, require};
use crate::security::acl::Operation;
use crate::services::{Context, Services};

pub(crate) async fn handle(ctx: &Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut responses = Vec::new();
    if ctx.api_version >= 6 {
        let mut answered = HashSet::new();
        for asked in request.topics {
            if !answered.insert((asked.name.clone(), asked.topic_id)) {
                continue;
            }
            let name = match &asked.name {
                Some(name) => Some(name.clone()),
                None => ctx
                    .services
                    .topics
                    .by_id(asked.topic_id)
                    .map(|topic| topic.name().to_string()),
            };
            let outcome = match &name {
                Some(name)
                    if asked.name.is_none()
                        && !authorize(ctx, Operation::Describe, Resource::Topic(name)) =>
                {
                    // The client gave an id: the name is not its to know.
                    let error = ErrorCode::TopicAuthorizationFailed;
                    let refused = Err((error, error.message().to_owned()));
                    responses.push(result(None, asked.topic_id, refused));
                    continue;
                }
                Some(name) => delete_if_allowed(ctx, name).await,
                None => Err((ErrorCode::UnknownTopicId, "no topic has this id".to_owned())),
            };
            responses.push(result(name, asked.topic_id, outcome));
        }
    } else {
        // A name that comes again has its answer.
        let mut answered = HashSet::new();
        for name in request.topic_names {
            if !answered.insert(name.clone()) {
                continue;
            }
            let outcome = delete_if_allowed(ctx, &name).await;
            responses.push(result(Some(name), uuid::Uuid::nil(), outcome));
        }
    }
    DeleteTopicsResponse {
        responses,
        ..DeleteTopicsResponse::default()
    }
}

async fn delete_if_allowed(ctx: &Context, name: &str) -> Result<(), (ErrorCode, String)> {
    require(ctx, Operation::Delete, Resource::Topic(name))
        .map_err(|error| (error, error.message().to_owned()))?;
    delete(&ctx.services, name).await
}

/// Deletes a topic and the offsets that groups committed for it.
pub(crate) async fn delete(services: &Services, name: &str) -> Result<(), (ErrorCode, String)> {
    let Some(topic) = services.topics.get(name) else {
        return Err((
            ErrorCode::UnknownTopicOrPartition,
            format!("topic {name} does not exist"),
        ));
    };
    if topic.is_internal() {
        let message = format!("topic {name} is one that the log keeps for itself");
        return Err((ErrorCode::InvalidTopicException, message));
    }
    drop(topic);
    let topics = services.topics.clone();
    let wanted = name.to_owned();
    blocking(move || topics.delete(&wanted))
        .await
        .map_err(|error| (error, error.message().to_owned()))?
        .map_err(|error| (error.code(), error.to_string()))?;
    services.groups.forget_topic(name);
    Ok(())
}

fn result(
    name: Option<String>,
    topic_id: uuid::Uuid,
    outcome: Result<(), (ErrorCode, String)>,
) -> DeletableTopicResult {
    let (error_code, error_message) = match outcome {
        Ok(()) => (ErrorCode::None, None),
        Err((error, message)) => (error, Some(message)),
    };
    DeletableTopicResult {
        name,
        topic_id,
        error_code,
        error_message,
    }
}
