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

/// All partitions are added, or none; partitions that do not exist are told, the others then were not attempted.
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
        .filter(|name| is_client && !authorize(ctx, Operation::Write, Resource::Topic(name)))
        .cloned()
        .collect();
    let outcome = if let Err(error) = owns {
        Err(error)
    } else if !missing.is_empty() || !barred.is_empty() {
        Err(ErrorCode::OperationNotAttempted)
    } else if verify_only {
        verify(ctx, id, producer, &named_partitions)
    } else {
        ctx.services
            .transactions
            .add_partitions(id, producer, named_partitions, 0)
            .await
    };
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

fn verify(
    ctx: &Context,
    id: &str,
    producer: Producer,
    partitions: &[TopicPartition],
) -> Result<(), ErrorCode> {
    let handle = ctx.services.transactions.handle(id)?;
    partitions
        .iter()
        .try_for_each(|partition| handle.gate(producer, partition).map(drop))
}

/// Clients before version 2 know PRODUCER_FENCED by its older name.
fn for_version(error: ErrorCode, version: i16) -> ErrorCode {
    if error == ErrorCode::ProducerFenced && version < 2 {
        ErrorCode::InvalidProducerEpoch
    } else {
        error
    }
}
