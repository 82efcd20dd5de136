//! AddPartitionsToTxn (key 24): takes partitions into a transaction. Versions 4 and up are what brokers send each other: several
//! transactions at once, and `verify_only`.

use std::collections::HashSet;
use std::sync::Arc;

use log_protocol::api::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
};
use log_protocol::{ErrorCode, TopicPartition};

use crate::authorize::{Resource, authorize, require};
use crate::coordinator::txn::Handle;
use crate::coordinator::txn::state::Producer;
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) async fn handle(
    ctx: &Context,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if ctx.api_version < 4 {
        let producer = Producer {
            id: request.v3_and_below_producer_id,
            epoch: request.v3_and_below_producer_epoch,
        };
        let id = request.v3_and_below_transactional_id;
        let results = add(ctx, &id, producer, request.v3_and_below_topics, false).await;
        return AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: results,
            ..AddPartitionsToTxnResponse::default()
        };
    }
    // What brokers say to each other.
    if let Err(error_code) = require(ctx, Operation::ClusterAction, Resource::Cluster) {
        return AddPartitionsToTxnResponse {
            error_code,
            ..AddPartitionsToTxnResponse::default()
        };
    }
    let mut results = Vec::with_capacity(request.transactions.len());
    for one in request.transactions {
        let producer = Producer {
            id: one.producer_id,
            epoch: one.producer_epoch,
        };
        let id = one.transactional_id;
        let topic_results = add(ctx, &id, producer, one.topics, one.verify_only).await;
        results.push(AddPartitionsToTxnResult {
            transactional_id: id,
            topic_results,
        });
    }
    AddPartitionsToTxnResponse {
        results_by_transaction: results,
        ..AddPartitionsToTxnResponse::default()
    }
}

/// All partitions are added, or none; partitions that do not exist are told, the others then were not attempted. Where they are only looked
/// at, each has an answer of its own.
async fn add(
    ctx: &Context,
    id: &str,
    producer: Producer,
    topics: Vec<AddPartitionsToTxnTopic>,
    verify_only: bool,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let named_partitions: Vec<TopicPartition> = topics
        .iter()
        .flat_map(|topic| {
            let name: Arc<str> = topic.name.as_str().into();
            topic
                .partitions
                .iter()
                .map(move |partition| TopicPartition {
                    topic: Arc::clone(&name),
                    partition: *partition,
                })
        })
        .collect();
    let missing: HashSet<TopicPartition> = named_partitions
        .iter()
        .filter(|one| {
            let topic = ctx.services.topics.get(&one.topic);
            topic
                .and_then(|topic| topic.partition(one.partition))
                .is_none()
        })
        .cloned()
        .collect();
    // Brokers were looked at as such: their word is for producers of others.
    let is_client = ctx.api_version < 4;
    let owns = if is_client {
        require(ctx, Operation::Write, Resource::TransactionalId(id))
    } else {
        Ok(())
    };
    let barred: HashSet<String> = topics
        .iter()
        .map(|topic| &topic.name)
        .filter(|name| is_client && !may_write(ctx, name))
        .cloned()
        .collect();
    let outcome = if let Err(error) = owns {
        Err(error)
    } else if !missing.is_empty() || !barred.is_empty() {
        Err(ErrorCode::OperationNotAttempted)
    } else if verify_only {
        Ok(())
    } else {
        ctx.services
            .transactions
            .add_partitions(id, producer, named_partitions, 0)
            .await
    };
    let verifying = (verify_only && outcome.is_ok()).then(|| ctx.services.transactions.handle(id));
    let outcome = match outcome {
        Ok(()) => ErrorCode::None,
        Err(error) => for_version(error, ctx.api_version),
    };
    let mut results = Vec::with_capacity(topics.len());
    for topic in topics {
        let name: Arc<str> = topic.name.as_str().into();
        let results_by_partition = topic.partitions.into_iter().map(|partition_index| {
            let partition = TopicPartition {
                topic: Arc::clone(&name),
                partition: partition_index,
            };
            AddPartitionsToTxnPartitionResult {
                partition_error_code: if owns.is_err() {
                    outcome
                } else if barred.contains(&*name) {
                    ErrorCode::TopicAuthorizationFailed
                } else if missing.contains(&partition) {
                    ErrorCode::UnknownTopicOrPartition
                } else if let Some(handle) = &verifying {
                    verified(handle, producer, &partition)
                } else {
                    outcome
                },
                partition_index,
            }
        });
        results.push(AddPartitionsToTxnTopicResult {
            results_by_partition: results_by_partition.collect(),
            name: topic.name,
        });
    }
    results
}

/// Whether the partition belongs to the open transaction, as one broker tells another.
fn verified(
    handle: &Result<Handle, ErrorCode>,
    producer: Producer,
    partition: &TopicPartition,
) -> ErrorCode {
    let handle = handle.as_ref().map_err(|error| *error);
    match handle.and_then(|handle| handle.gate(producer, partition).map(drop)) {
        Ok(()) => ErrorCode::None,
        Err(ErrorCode::InvalidTxnState) => ErrorCode::TransactionAbortable,
        Err(error) => error,
    }
}

/// Whether a client may take partitions of this topic into its transactions: not those that only coordinators write.
fn may_write(ctx: &Context, name: &str) -> bool {
    let is_internal = ctx.services.topics.get(name);
    let is_internal = is_internal.is_some_and(|topic| topic.is_internal());
    !is_internal && authorize(ctx, Operation::Write, Resource::Topic(name))
}

/// Clients before version 2 know PRODUCER_FENCED by its older name.
fn for_version(error: ErrorCode, version: i16) -> ErrorCode {
    if error == ErrorCode::ProducerFenced && version < 2 {
        ErrorCode::InvalidProducerEpoch
    } else {
        error
    }
}
