//! DescribeTransactions: the state of transactions (key 65, version 0, flexible; KIP-664).

use crate::error_code::ErrorCode;

message! {
    /// Asks for transactions.
    pub struct DescribeTransactionsRequest: versions 0..=0, flexible 0 {
        /// Their ids.
        transactional_ids: Vec<String>,
    }

    /// Their states.
    pub struct DescribeTransactionsResponse: versions 0..=0, flexible 0 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// One an id.
        transaction_states: Vec<DescribedTransaction>,
    }

    /// An element of `DescribeTransactionsResponse.transaction_states`.
    pub struct DescribedTransaction {
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// Its id.
        transactional_id: String,
        /// Its state.
        transaction_state: String,
        /// How long it may be open, ms.
        transaction_timeout_ms: i32,
        /// When it began, ms since 1970; -1 not.
        transaction_start_time_ms: i64,
        /// Its producer's id.
        producer_id: i64,
        /// Its producer's epoch.
        producer_epoch: i16,
        /// What it has written to.
        topics: Vec<DescribedTransactionTopic>,
    }

    /// An element of `DescribedTransaction.topics`.
    pub struct DescribedTransactionTopic {
        /// The topic.
        topic: String,
        /// Its partitions.
        partitions: Vec<i32>,
    }
}
