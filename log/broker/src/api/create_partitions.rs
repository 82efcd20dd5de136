//! CreatePartitions (key 37): raises the number of partitions; it never falls.

use log_protocol::ErrorCode;
use log_protocol::api::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

use super::{Repeated, blocking, check_time};
use crate::authorize::{Resource, require};
use crate::config::PARTITIONS_MAX;
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) async fn handle(
    ctx: &Context,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    let mut repeated = Repeated::of(request.topics.iter().map(|topic| topic.name.clone()));
    for wanted in request.topics {
        let Some(is_repeated) = repeated.first_time(&wanted.name) else {
            continue;
        };
        let outcome = if is_repeated {
            let message = format!("topic {} is named more than once", wanted.name);
            Err((ErrorCode::InvalidRequest, message))
        } else {
            grow(ctx, &wanted, request.timeout_ms, request.validate_only).await
        };
        let (error_code, error_message) = match outcome {
            Ok(()) => (ErrorCode::None, None),
            Err((error, message)) => (error, Some(message)),
        };
        results.push(CreatePartitionsTopicResult {
            name: wanted.name,
            error_code,
            error_message,
        });
    }
    CreatePartitionsResponse {
        results,
        ..CreatePartitionsResponse::default()
    }
}

async fn grow(
    ctx: &Context,
    wanted: &CreatePartitionsTopic,
    timeout_ms: i32,
    validate_only: bool,
) -> Result<(), (ErrorCode, String)> {
    let (name, total) = (wanted.name.as_str(), wanted.count);
    require(ctx, Operation::Alter, Resource::Topic(name))
        .map_err(|error| (error, error.message().to_owned()))?;
    check_time(timeout_ms)?;
    let Some(topic) = ctx.services.topics.get(name) else {
        return Err((
            ErrorCode::UnknownTopicOrPartition,
            format!("topic {name} does not exist"),
        ));
    };
    if topic.is_internal() {
        let message = format!("topic {name} is one that the log keeps for itself");
        return Err((ErrorCode::InvalidTopicException, message));
    }
    let current = i64::from(topic.partitions());
    if i64::from(total) <= current || total > PARTITIONS_MAX {
        let message = format!(
            "topic {name} has {current} partitions; the new total must be above that and at most {PARTITIONS_MAX}, not {total}"
        );
        return Err((ErrorCode::InvalidPartitions, message));
    }
    if let Some(assignments) = &wanted.assignments {
        let node_id = ctx.services.config.node_id;
        let fits = assignments.len() as i64 == i64::from(total) - current
            && assignments.iter().all(|one| one.broker_ids == [node_id]);
        if !fits {
            let message =
                format!("replicas of the new partitions can only be assigned to broker {node_id}");
            return Err((ErrorCode::InvalidReplicaAssignment, message));
        }
    }
    if validate_only {
        return Ok(());
    }
    let topics = ctx.services.topics.clone();
    let owned = name.to_owned();
    blocking(move || topics.grow(&owned, total).map(drop))
        .await
        .map_err(|error| (error, error.message().to_owned()))?
        .map_err(|error| (error.code(), error.to_string()))?;
    Ok(())
}
