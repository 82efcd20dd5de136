//! AddOffsetsToTxn (key 25): takes the partition of a group's offsets into a transaction, before TxnOffsetCommit.

use log_protocol::ErrorCode;
use log_protocol::api::add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use crate::authorize::{Resource, require};
use crate::coordinator::txn::state::Producer;
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) async fn handle(
    ctx: &Context,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let allowed = require(
        ctx,
        Operation::Write,
        Resource::TransactionalId(&request.transactional_id),
    )
    .and_then(|()| require(ctx, Operation::Read, Resource::Group(&request.group_id)));
    if let Err(error_code) = allowed {
        return AddOffsetsToTxnResponse {
            error_code,
            ..AddOffsetsToTxnResponse::default()
        };
    }
    let producer = Producer {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let partition = ctx.services.groups.partition_of(&request.group_id);
    let id = &request.transactional_id;
    let error_code = match ctx
        .services
        .transactions
        .add_partitions(id, producer, vec![partition], 0)
        .await
    {
        Ok(()) => ErrorCode::None,
        // Clients before version 2 know PRODUCER_FENCED by its older name.
        Err(ErrorCode::ProducerFenced) if ctx.api_version < 2 => ErrorCode::InvalidProducerEpoch,
        Err(error) => error,
    };
    AddOffsetsToTxnResponse {
        error_code,
        ..AddOffsetsToTxnResponse::default()
    }
}
