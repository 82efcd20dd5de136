//! InitProducerId (key 22): a producer id; with a transactional id also the fencing of its previous owner.

use log_protocol::ErrorCode;
use log_protocol::api::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use tracing::error;

use super::blocking;
use crate::broker::Shared;
use crate::coordinator::txn::state::Producer;

pub(crate) async fn handle(
    broker: &Shared,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let outcome = match &request.transactional_id {
        None => fresh(broker).await,
        Some(id) => {
            let expected =
                (request.producer_id >= 0 && request.producer_epoch >= 0).then_some(Producer {
                    id: request.producer_id,
                    epoch: request.producer_epoch,
                });
            broker
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

async fn fresh(broker: &Shared) -> Result<Producer, ErrorCode> {
    let topics = broker.topics.clone();
    match blocking(move || topics.next_producer_id()).await? {
        Ok(id) => Ok(Producer { id, epoch: 0 }),
        Err(error) => {
            error!(%error, "cannot give out a producer id");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }
}
