//! AddPartitionsToTxn: take partitions into a transaction (key 24, versions 0–5, flexible from 3).
//!
//! - 4: brokers only: several transactions at once, or verification alone (KIP-890).
//! - 5: TRANSACTION_ABORTABLE may be answered.

use crate::error_code::ErrorCode;

message! {
    /// Takes partitions into a transaction before they are written to.
    pub struct AddPartitionsToTxnRequest: versions 0..=5, flexible 3 {
        /// List of transactions to add partitions to.
        transactions: Vec<AddPartitionsToTxnTransaction> [4..],
        /// The transactional id corresponding to the transaction.
        v3_and_below_transactional_id: String [..=3],
        /// Current producer id in use by the transactional id.
        v3_and_below_producer_id: i64 [..=3],
        /// Current epoch associated with the producer id.
        v3_and_below_producer_epoch: i16 [..=3],
        /// The partitions to add to the transaction.
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic> [..=3],
    }

    /// An element of `AddPartitionsToTxnRequest.transactions`.
    pub struct AddPartitionsToTxnTransaction {
        /// The transactional id corresponding to the transaction.
        transactional_id: String,
        /// Current producer id in use by the transactional id.
        producer_id: i64,
        /// Current epoch associated with the producer id.
        producer_epoch: i16,
        /// Boolean to signify if we want to check if the partition is in the transaction rather than add it.
        verify_only: bool,
        /// The partitions to add to the transaction.
        topics: Vec<AddPartitionsToTxnTopic>,
    }

    /// An element of `AddPartitionsToTxnTransaction.topics`.
    pub struct AddPartitionsToTxnTopic {
        /// The name of the topic.
        name: String,
        /// The partition indexes to add to the transaction.
        partitions: Vec<i32>,
    }

    /// Whether they belong to it now.
    pub struct AddPartitionsToTxnResponse: versions 0..=5, flexible 3 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The response top level error code.
        error_code: ErrorCode [4..],
        /// Results categorized by transactional ID.
        results_by_transaction: Vec<AddPartitionsToTxnResult> [4..],
        /// The results for each topic.
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult> [..=3],
    }

    /// An element of `AddPartitionsToTxnResponse.results_by_transaction`.
    pub struct AddPartitionsToTxnResult {
        /// The transactional id corresponding to the transaction.
        transactional_id: String,
        /// The results for each topic.
        topic_results: Vec<AddPartitionsToTxnTopicResult>,
    }

    /// An element of `AddPartitionsToTxnResult.topic_results`.
    pub struct AddPartitionsToTxnTopicResult {
        /// The topic name.
        name: String,
        /// The results for each partition.
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>,
    }

    /// An element of `AddPartitionsToTxnTopicResult.results_by_partition`.
    pub struct AddPartitionsToTxnPartitionResult {
        /// The partition indexes.
        partition_index: i32,
        /// The response error code.
        partition_error_code: ErrorCode,
    }
}
