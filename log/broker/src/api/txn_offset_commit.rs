//! TxnOffsetCommit (key 28): offsets that become visible with the end of a transaction.
//!
//! - 3: the member and its generation, which fence it (KIP-447). - 5: takes the offsets' partition into the transaction by itself.

use log_protocol::ErrorCode;
use log_protocol::api::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};

use super::offset_commit::check_partition;
use crate::authorize::{Resource, require};
use crate::clock::wall_ms;
use crate::coordinator::group::record::OffsetRecord;
use crate::coordinator::group::state::Identity;
use crate::coordinator::txn::Channel;
use crate::coordinator::txn::state::Producer;
use crate::security::acl::Operation;
use crate::services::Context;

/// From this version on the offsets' partition need not be added before.
const ADDS_PARTITION_FROM: i16 = 5;

pub(crate) async fn handle(
    ctx: &Context,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let outcome = match commit(ctx, &request).await {
        Ok(()) => ErrorCode::None,
        // Clients know a fenced producer by this name here.
        Err(ErrorCode::ProducerFenced) => ErrorCode::InvalidProducerEpoch,
        Err(error) => error,
    };
    let topics = request
        .topics
        .into_iter()
        .map(|topic| TxnOffsetCommitResponseTopic {
            partitions: topic
                .partitions
                .iter()
                .map(|one| TxnOffsetCommitResponsePartition {
                    partition_index: one.partition_index,
                    error_code: outcome,
                })
                .collect(),
            name: topic.name,
        })
        .collect();
    TxnOffsetCommitResponse {
        topics,
        ..TxnOffsetCommitResponse::default()
    }
}

/// All offsets, or none: a transaction with half of its offsets is of no use to anyone.
async fn commit(ctx: &Context, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
    require(
        ctx,
        Operation::Write,
        Resource::TransactionalId(&request.transactional_id),
    )?;
    require(ctx, Operation::Read, Resource::Group(&request.group_id))?;
    for topic in &request.topics {
        require(ctx, Operation::Read, Resource::Topic(&topic.name))?;
    }
    let producer = Producer {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let member = Identity {
        member_id: request.member_id.clone(),
        instance_id: request.group_instance_id.clone(),
        generation: request.generation_id,
    };
    let now = wall_ms();
    let mut offsets = Vec::new();
    for topic in &request.topics {
        for one in &topic.partitions {
            let metadata = one.committed_metadata.clone().unwrap_or_default();
            let partition = check_partition(ctx, &topic.name, one.partition_index, &metadata)?;
            let record = OffsetRecord {
                offset: one.committed_offset,
                leader_epoch: one.committed_leader_epoch,
                metadata,
                commit_timestamp_ms: now,
            };
            offsets.push((partition, record));
        }
    }
    let (id, group_id) = (&request.transactional_id, &request.group_id);
    let partition = ctx.services.groups.partition_of(group_id);
    if ctx.api_version >= ADDS_PARTITION_FROM {
        ctx.services
            .transactions
            .add_partitions(id, producer, vec![partition.clone()], 2)
            .await?;
    }
    let transaction = ctx.services.transactions.handle(id)?;
    ctx.services
        .groups
        .stage_offsets(group_id, &member, producer, offsets, || {
            let gate = transaction.gate(producer, &partition)?;
            // Looked at again: the wait for the disk may have outlived the transaction.
            let (channel, connection) = (Channel::Offsets, ctx.connection);
            if ctx
                .services
                .transactions
                .may_hear(id, producer, channel, connection)
            {
                Ok(gate)
            } else {
                Err(ErrorCode::NetworkException)
            }
        })
        .await
}
