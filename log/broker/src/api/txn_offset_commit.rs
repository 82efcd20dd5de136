//! TxnOffsetCommit (key 28): offsets that become visible with the end of a transaction.
//!
//! - 3: the member and its generation, which fence it (KIP-447). - 5: takes the offsets' partition into the transaction by itself.

use std::collections::HashMap;

use log_protocol::api::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};
use log_protocol::{ErrorCode, TopicPartition};

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

type Offsets = Vec<(TopicPartition, OffsetRecord)>;

/// Why offsets cannot be kept, by the places of topic and partition in the request.
type Refusals = HashMap<(usize, usize), ErrorCode>;

pub(crate) async fn handle(
    ctx: &Context,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let (offsets, refusals) = checked(ctx, &request);
    let committed = match may(ctx, &request) {
        // Nothing is left of it.
        Ok(()) if offsets.is_empty() => Ok(()),
        Ok(()) => commit(ctx, &request, offsets).await,
        Err(error) => Err(error),
    };
    let outcome = match committed {
        Ok(()) => ErrorCode::None,
        // Clients know a fenced producer by this name here.
        Err(ErrorCode::ProducerFenced) => ErrorCode::InvalidProducerEpoch,
        Err(error) => error,
    };
    let code = |place: (usize, usize)| match refusals.get(&place) {
        Some(refusal) if committed.is_ok() => *refusal,
        _ => outcome,
    };
    let topics = request.topics.into_iter().enumerate();
    let topics = topics.map(|(at_topic, topic)| TxnOffsetCommitResponseTopic {
        partitions: topic
            .partitions
            .iter()
            .enumerate()
            .map(|(index, one)| TxnOffsetCommitResponsePartition {
                partition_index: one.partition_index,
                error_code: code((at_topic, index)),
            })
            .collect(),
        name: topic.name,
    });
    TxnOffsetCommitResponse {
        topics: topics.collect(),
        ..TxnOffsetCommitResponse::default()
    }
}

/// Whether the client may commit for this group in this transaction at all.
fn may(ctx: &Context, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
    let id = Resource::TransactionalId(&request.transactional_id);
    require(ctx, Operation::Write, id)?;
    require(ctx, Operation::Read, Resource::Group(&request.group_id))?;
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    Ok(())
}

/// The offsets that can be kept, and by their places in the request why the others cannot. Whoever learns of one that cannot aborts.
fn checked(ctx: &Context, request: &TxnOffsetCommitRequest) -> (Offsets, Refusals) {
    let now = wall_ms();
    let (mut offsets, mut refusals) = (Vec::new(), HashMap::new());
    for (at_topic, topic) in request.topics.iter().enumerate() {
        let allowed = require(ctx, Operation::Read, Resource::Topic(&topic.name));
        for (index, one) in topic.partitions.iter().enumerate() {
            let metadata = one.committed_metadata.clone().unwrap_or_default();
            let partition = allowed
                .and_then(|()| check_partition(ctx, &topic.name, one.partition_index, &metadata));
            match partition {
                Ok(partition) => {
                    let record = OffsetRecord {
                        offset: one.committed_offset,
                        leader_epoch: one.committed_leader_epoch,
                        metadata,
                        commit_timestamp_ms: now,
                    };
                    offsets.push((partition, record));
                }
                Err(error) => drop(refusals.insert((at_topic, index), error)),
            }
        }
    }
    (offsets, refusals)
}

async fn commit(
    ctx: &Context,
    request: &TxnOffsetCommitRequest,
    offsets: Offsets,
) -> Result<(), ErrorCode> {
    let producer = Producer {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let member = Identity {
        member_id: request.member_id.clone(),
        instance_id: request.group_instance_id.clone(),
        generation: request.generation_id,
    };
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
