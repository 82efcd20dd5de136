//! DescribeTransactions (key 65): where transactional ids stand. Topics that the client may not see are left out.

use std::collections::BTreeMap;

use log_protocol::ErrorCode;
use log_protocol::api::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, DescribedTransaction,
    DescribedTransactionTopic,
};

use super::Answered;
use crate::authorize::{Resource, authorize, require};
use crate::security::acl::Operation::Describe;
use crate::services::Context;

pub(crate) fn handle(
    ctx: &Context,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut answered = Answered::default();
    let ids = request.transactional_ids.into_iter();
    let transaction_states =
        ids.filter(|id| answered.may_answer(id.clone()))
            .map(|transactional_id| {
                describe(ctx, &transactional_id).unwrap_or_else(|error_code| DescribedTransaction {
                    error_code,
                    transactional_id,
                    ..DescribedTransaction::default()
                })
            });
    DescribeTransactionsResponse {
        transaction_states: transaction_states.collect(),
        ..DescribeTransactionsResponse::default()
    }
}

fn describe(ctx: &Context, id: &str) -> Result<DescribedTransaction, ErrorCode> {
    require(ctx, Describe, Resource::TransactionalId(id))?;
    if id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let record = ctx.services.transactions.describe(id);
    let record = record.ok_or(ErrorCode::TransactionalIdNotFound)?;
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in &record.partitions {
        if authorize(ctx, Describe, Resource::Topic(&partition.topic)) {
            let partitions = topics.entry(&partition.topic).or_default();
            partitions.push(partition.partition);
        }
    }
    Ok(DescribedTransaction {
        error_code: ErrorCode::None,
        transactional_id: id.to_owned(),
        transaction_state: record.phase.name().to_owned(),
        transaction_timeout_ms: record.timeout_ms,
        transaction_start_time_ms: record.start_ms,
        producer_id: record.producer_id,
        producer_epoch: record.producer_epoch,
        topics: topics
            .into_iter()
            .map(|(topic, partitions)| DescribedTransactionTopic {
                topic: topic.to_owned(),
                partitions,
            })
            .collect(),
    })
}
