//! ListTransactions (key 66): the transactional ids that the client may see, filtered by state, producer, and how long they are open.

use log_protocol::api::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse, ListedTransaction,
};

use crate::authorize::{Resource, authorize};
use crate::clock::steady_ms;
use crate::coordinator::txn::record::Phase;
use crate::security::acl::Operation::Describe;
use crate::services::Context;

pub(crate) fn handle(ctx: &Context, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let is_state = |name: &String| Phase::ALL.iter().any(|phase| phase.name() == name);
    let unknown = request.state_filters.iter().filter(|name| !is_state(name));
    let now = steady_ms();
    let transactions = ctx.services.transactions.list().into_iter();
    let transaction_states = transactions
        .filter(|(_, record)| {
            let states = &request.state_filters;
            let producers = &request.producer_id_filters;
            let is_open_so_long = record.start_ms >= 0
                && now.saturating_sub(record.start_ms) > request.duration_filter;
            (states.is_empty() || states.iter().any(|name| name == record.phase.name()))
                && (producers.is_empty() || producers.contains(&record.producer_id))
                && (request.duration_filter < 0 || is_open_so_long)
        })
        .filter(|(id, _)| authorize(ctx, Describe, Resource::TransactionalId(id)))
        .map(|(transactional_id, record)| ListedTransaction {
            transactional_id,
            producer_id: record.producer_id,
            transaction_state: record.phase.name().to_owned(),
        });
    ListTransactionsResponse {
        unknown_state_filters: unknown.cloned().collect(),
        transaction_states: transaction_states.collect(),
        ..ListTransactionsResponse::default()
    }
}
