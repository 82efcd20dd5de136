//! ListTransactions: which transactions there are (key 66, versions 0–2, flexible; KIP-664).
//!
//! - 1: those that run for long (KIP-994).
//! - 2: those whose ids match (KIP-1152).

use crate::error_code::ErrorCode;

message! {
    /// Asks for transactions.
    pub struct ListTransactionsRequest: versions 0..=2, flexible 0 {
        /// Only in these states; empty is any.
        state_filters: Vec<String>,
        /// Only of these producers; empty is any.
        producer_id_filters: Vec<i64>,
        /// Only those that are open for longer, ms; -1 is any.
        duration_filter: i64 [1..] = -1,
        /// Only those whose id matches this regular expression as a whole; null and empty are any.
        transactional_id_pattern: Option<String> [2..],
    }

    /// The transactions.
    pub struct ListTransactionsResponse: versions 0..=2, flexible 0 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// States of the request that do not exist.
        unknown_state_filters: Vec<String>,
        /// One a transaction.
        transaction_states: Vec<ListedTransaction>,
    }

    /// An element of `ListTransactionsResponse.transaction_states`.
    pub struct ListedTransaction {
        /// Its id.
        transactional_id: String,
        /// Its producer's id.
        producer_id: i64,
        /// Its state.
        transaction_state: String,
    }
}
