//! DescribeProducers: who writes to partitions (key 61, version 0, flexible; KIP-664).

use crate::error_code::ErrorCode;

message! {
    /// Asks for partitions.
    pub struct DescribeProducersRequest: versions 0..=0, flexible 0 {
        /// By topic.
        topics: Vec<DescribeProducersTopic>,
    }

    /// An element of `DescribeProducersRequest.topics`.
    pub struct DescribeProducersTopic {
        /// The topic.
        name: String,
        /// Its partitions.
        partition_indexes: Vec<i32>,
    }

    /// Their producers.
    pub struct DescribeProducersResponse: versions 0..=0, flexible 0 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// By topic.
        topics: Vec<DescribedProducersTopic>,
    }

    /// An element of `DescribeProducersResponse.topics`.
    pub struct DescribedProducersTopic {
        /// The topic.
        name: String,
        /// Its partitions.
        partitions: Vec<DescribedProducersPartition>,
    }

    /// An element of `DescribedProducersTopic.partitions`.
    pub struct DescribedProducersPartition {
        /// The partition.
        partition_index: i32,
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
        /// Who writes to it.
        active_producers: Vec<ActiveProducer>,
    }

    /// An element of `DescribedProducersPartition.active_producers`.
    pub struct ActiveProducer {
        /// Its id.
        producer_id: i64,
        /// Its epoch.
        producer_epoch: i32,
        /// Sequence number of its last record.
        last_sequence: i32 = -1,
        /// When it last wrote, ms since 1970.
        last_timestamp: i64 = -1,
        /// Its coordinator's epoch.
        coordinator_epoch: i32,
        /// Where its open transaction begins; -1 has none.
        current_txn_start_offset: i64 = -1,
    }
}
