//! EndTxn (key 26): commits or aborts; from version 5 on the producer's epoch rises with it (KIP-890).

use log_protocol::ErrorCode;
use log_protocol::api::end_txn::{EndTxnRequest, EndTxnResponse};

use crate::authorize::{Resource, require};
use crate::coordinator::txn::state::Producer;
use crate::security::acl::Operation;
use crate::services::Context;

/// From this version on every end raises the epoch.
const RAISES_EPOCH_FROM: i16 = 5;

pub(crate) async fn handle(ctx: &Context, request: EndTxnRequest) -> EndTxnResponse {
    let id = &request.transactional_id;
    if let Err(error_code) = require(ctx, Operation::Write, Resource::TransactionalId(id)) {
        return EndTxnResponse {
            error_code,
            ..EndTxnResponse::default()
        };
    }
    let producer = Producer {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let raise_epoch = ctx.api_version >= RAISES_EPOCH_FROM;
    let ended = ctx
        .services
        .transactions
        .end(id, producer, request.committed, raise_epoch)
        .await;
    match ended {
        Ok(next) => EndTxnResponse {
            error_code: ErrorCode::None,
            producer_id: next.id,
            producer_epoch: next.epoch,
            ..EndTxnResponse::default()
        },
        Err(error) => {
            // Clients before version 2 know PRODUCER_FENCED by its older name.
            let fenced = error == ErrorCode::ProducerFenced && ctx.api_version < 2;
            let error_code = if fenced {
                ErrorCode::InvalidProducerEpoch
            } else {
                error
            };
            EndTxnResponse {
                error_code,
                ..EndTxnResponse::default()
            }
        }
    }
}
