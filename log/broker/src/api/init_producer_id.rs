//! InitProducerId (key 22): a producer id; with a transactional id also the fencing of its previous owner.

use log_protocol::ErrorCode;
use log_protocol::api::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use tracing::error;

use super::blocking;
use crate::authorize::{Resource, authorize_some_topic, require};
use crate::coordinator::txn::state::Producer;
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) async fn handle(
    ctx: &Context,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let allowed = may(ctx, &request).and_then(|()| expected(&request));
    let outcome = match (&request.transactional_id, allowed) {
        (_, Err(error)) => Err(error),
        (None, Ok(_)) => fresh(ctx).await,
        (Some(id), Ok(expected)) => {
            ctx.services
                .transactions
                .initialize(id, expected, request.transaction_timeout_ms)
                .await
        }
    };
    match outcome {
        Ok(producer) => InitProducerIdResponse {
            error_code: ErrorCode::None,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            ..InitProducerIdResponse::default()
        },
        Err(error) => InitProducerIdResponse {
            error_code: for_version(error, ctx.api_version),
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdResponse::default()
        },
    }
}

/// Clients before version 4 know PRODUCER_FENCED by its older name.
fn for_version(error: ErrorCode, version: i16) -> ErrorCode {
    if error == ErrorCode::ProducerFenced && version < 4 {
        ErrorCode::InvalidProducerEpoch
    } else {
        error
    }
}

/// A transactional id is written under its own right, anything else with the right to write any topic.
fn may(ctx: &Context, request: &InitProducerIdRequest) -> Result<(), ErrorCode> {
    match &request.transactional_id {
        Some(id) => require(ctx, Operation::Write, Resource::TransactionalId(id)),
        None if authorize_some_topic(ctx, Operation::Write) => Ok(()),
        None => require(ctx, Operation::IdempotentWrite, Resource::Cluster),
    }
}

/// What the client believes to own: an id and an epoch, or neither.
fn expected(request: &InitProducerIdRequest) -> Result<Option<Producer>, ErrorCode> {
    match (request.producer_id, request.producer_epoch) {
        (-1, -1) => Ok(None),
        (-1, _) | (_, -1) => Err(ErrorCode::InvalidRequest),
        (id, epoch) => Ok(Some(Producer { id, epoch })),
    }
}

async fn fresh(ctx: &Context) -> Result<Producer, ErrorCode> {
    let topics = ctx.services.topics.clone();
    match blocking(move || topics.next_producer_id()).await? {
        Ok(id) => Ok(Producer { id, epoch: 0 }),
        Err(error) => {
            error!(%error, "cannot give out a producer id");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }
}
