//! ListTransactions (key 66): the transactional ids that the client may see, filtered by state, producer, how long they are open, and a
//! pattern of their ids.

use log_protocol::ErrorCode;
use log_protocol::api::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse, ListedTransaction,
};
use regex::{Regex, RegexBuilder};

use crate::authorize::{Resource, authorize};
use crate::clock::steady_ms;
use crate::coordinator::txn::record::Phase;
use crate::security::acl::Operation::Describe;
use crate::services::Context;

/// What a compiled pattern may take of memory.
const PATTERN_BYTES_MAX: usize = 1 << 20;

pub(crate) fn handle(ctx: &Context, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let is_state = |name: &String| Phase::ALL.iter().any(|phase| phase.name() == name);
    let unknown = request.state_filters.iter().filter(|name| !is_state(name));
    let pattern = request.transactional_id_pattern.as_deref();
    let pattern = match pattern.filter(|text| !text.is_empty()).map(whole) {
        None => None,
        Some(Ok(pattern)) => Some(pattern),
        Some(Err(_)) => {
            return ListTransactionsResponse {
                error_code: ErrorCode::InvalidRegularExpression,
                ..ListTransactionsResponse::default()
            };
        }
    };
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
        .filter(|(id, _)| pattern.as_ref().is_none_or(|pattern| pattern.is_match(id)))
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

/// A pattern that is matched by a text as a whole.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    // As it is, before anything is put around it that would close its brackets.
    let bounded = |pattern: &str| {
        RegexBuilder::new(pattern)
            .size_limit(PATTERN_BYTES_MAX)
            .build()
    };
    bounded(pattern)?;
    bounded(&format!(r"\A(?:{pattern})\z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_ids() {
        let matches = |pattern, id| whole(pattern).expect("a pattern").is_match(id);
        assert!(matches("a|ab", "ab"));
        assert!(!matches("a", "ab"));
        assert!(matches("orders-.*", "orders-1"));
        for broken in ["(", "a)|(b", "[", &"(a{1000}){1000}".repeat(10)] {
            assert!(whole(broken).is_err(), "{broken}");
        }
    }
}
