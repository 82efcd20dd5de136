//! InitProducerId (key 22): a producer id; with a transactional id also the fencing of its previous owner.

use log_protocol::ErrorCode;
use log_protocol::api::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use tracing::error;

use super::blocking;
use crate::coordinator::txn::state::Producer;
use crate::services::Context;

pub(crate) async fn handle(
    ctx: &Context,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let outcome = match (&request.transactional_id, expected(&request)) {
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
            throttle_time_ms: 0,
            error_code: ErrorCode::None,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
        },
        Err(error_code) => InitProducerIdResponse {
            throttle_time_ms: 0,
            error_code,
            producer_id: -1,
            producer_epoch: -1,
        },
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
