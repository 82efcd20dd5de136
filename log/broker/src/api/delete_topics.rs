//! DeleteTopics (key 20), by name, or by id from version 6 on. Committed offsets of the topic go with it.

use std::collections::HashSet;

use log_protocol::ErrorCode;
use log_protocol::api::delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};
use uuid::Uuid;

use super::{Repeated, blocking, check_time};
use crate::authorize::{Resource, authorize, require};
use crate::security::acl::Operation;
use crate::services::{Context, Services};

pub(crate) async fn handle(ctx: &Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut responses = Vec::new();
    let by_name = request.topic_names.into_iter();
    let by_name = by_name.map(|name| (Some(name), Uuid::nil()));
    let asked = request.topics.into_iter();
    let asked: Vec<Named> = by_name
        .chain(asked.map(|one| (one.name, one.topic_id)))
        .collect();
    let time = check_time(request.timeout_ms);
    let mut repeated = Repeated::of(asked.iter().cloned());
    let ids: HashSet<Uuid> = asked
        .iter()
        .filter_map(|(name, id)| name.is_none().then_some(*id))
        .collect();
    let names: HashSet<String> = asked
        .iter()
        .filter(|(_, id)| id.is_nil())
        .filter_map(|(name, _)| name.clone())
        .collect();
    for named in asked {
        // A topic that is named by its name as well is refused there.
        let (name, id) = &named;
        let topic = ctx.services.topics.by_id(*id);
        if name.is_none() && topic.is_some_and(|topic| names.contains(&**topic.name())) {
            continue;
        }
        // What is named again is refused, once.
        if let Some(is_repeated) = repeated.first_time(&named) {
            responses.push(answer(ctx, named, is_repeated, &ids, &time).await);
        }
    }
    DeleteTopicsResponse {
        responses,
        ..DeleteTopicsResponse::default()
    }
}

/// How a request names a topic.
type Named = (Option<String>, Uuid);

/// What becomes of one topic; `ids` are those of topics that are named by id.
async fn answer(
    ctx: &Context,
    (name, id): Named,
    is_repeated: bool,
    ids: &HashSet<Uuid>,
    time: &Result<(), Refused>,
) -> DeletableTopicResult {
    let refused = |message: &str| Err((ErrorCode::InvalidRequest, message.to_owned()));
    match (name, id.is_nil()) {
        (None, true) => result(None, id, refused("neither a name nor an id is given")),
        (Some(name), false) => {
            let message = "a topic is named by its name or by its id, not by both";
            result(Some(name), id, refused(message))
        }
        (name, _) if is_repeated => {
            let message = "the topic is named more than once";
            result(name, id, refused(message))
        }
        (Some(name), true) => {
            let topic = ctx.services.topics.get(&name);
            let id = topic.map_or(Uuid::nil(), |topic| topic.id());
            let may = authorize(ctx, Operation::Delete, Resource::Topic(&name));
            let outcome = if may && ids.contains(&id) {
                refused("the topic is named by its id as well")
            } else {
                delete_if_allowed(ctx, &name, time).await
            };
            // Who may not delete it does not learn its id.
            let is_told = may && time.is_ok();
            let id = if is_told { id } else { Uuid::nil() };
            result(Some(name), id, outcome)
        }
        (None, false) => match ctx.services.topics.by_id(id) {
            None => {
                let message = "no topic has this id".to_owned();
                result(None, id, Err((ErrorCode::UnknownTopicId, message)))
            }
            Some(topic) => {
                let name = topic.name().to_string();
                drop(topic);
                let may_see = authorize(ctx, Operation::Describe, Resource::Topic(&name));
                let outcome = delete_if_allowed(ctx, &name, time).await;
                // The client gave an id: the name may not be its to know.
                result(may_see.then_some(name), id, outcome)
            }
        },
    }
}

type Refused = (ErrorCode, String);

async fn delete_if_allowed(
    ctx: &Context,
    name: &str,
    time: &Result<(), Refused>,
) -> Result<(), Refused> {
    require(ctx, Operation::Delete, Resource::Topic(name))
        .map_err(|error| (error, error.message().to_owned()))?;
    time.clone()?;
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
    topic_id: Uuid,
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
