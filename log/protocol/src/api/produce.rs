//! Produce: append record batches (key 0, versions 3–13, flexible from 9).
//!
//! - 7: batches may be compressed with zstd (KIP-110).
//! - 8: errors a record, and a message (KIP-467).
//! - 10: the current leader and its address come with the error (KIP-951).
//! - 11: TRANSACTION_ABORTABLE may be answered (KIP-890).
//! - 12: in a transaction, adds the partition to it by itself (KIP-890, transactions of the second generation).
//! - 13: topics go by id.
//!
//! Versions 0–2 are advertised and refused: without them librdkafka before 2.8 does not compress (KAFKA-18659).

use bytes::Bytes;
use uuid::Uuid;

use crate::error_code::ErrorCode;

message! {
    /// Asks the leaders of partitions to append one batch each.
    pub struct ProduceRequest: versions 3..=13, flexible 9 {
        /// The transactional ID, or null if the producer is not transactional.
        transactional_id: Option<String>,
        /// The number of acknowledgments the producer requires the leader to have received before considering a request complete.
        acks: i16,
        /// The timeout to await a response in milliseconds.
        timeout_ms: i32,
        /// Each topic to produce to.
        topic_data: Vec<TopicProduceData>,
    }

    /// An element of `ProduceRequest.topic_data`.
    pub struct TopicProduceData {
        /// The topic name.
        name: String [..=12],
        /// The unique topic ID.
        topic_id: Uuid [13..],
        /// Each partition to produce to.
        partition_data: Vec<PartitionProduceData>,
    }

    /// An element of `TopicProduceData.partition_data`.
    pub struct PartitionProduceData {
        /// The partition index.
        index: i32,
        /// The record data to be produced.
        records: Option<Bytes>,
    }

    /// Where the batches lie now, or why they were refused. Not sent for `acks` 0.
    pub struct ProduceResponse: versions 3..=13, flexible 9 {
        /// Each produce response.
        responses: Vec<TopicProduceResponse>,
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// Endpoints for all current-leaders enumerated in PartitionProduceResponses, with errors NOT_LEADER_OR_FOLLOWER.
        node_endpoints: Vec<NodeEndpoint> [10.., tag 0],
    }

    /// An element of `ProduceResponse.responses`.
    pub struct TopicProduceResponse {
        /// The topic name.
        name: String [..=12],
        /// The unique topic ID.
        topic_id: Uuid [13..],
        /// Each partition that we produced to within the topic.
        partition_responses: Vec<PartitionProduceResponse>,
    }

    /// An element of `TopicProduceResponse.partition_responses`.
    pub struct PartitionProduceResponse {
        /// The partition index.
        index: i32,
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
        /// The base offset.
        base_offset: i64,
        /// The timestamp returned by broker after appending the messages.
        log_append_time_ms: i64 = -1,
        /// The log start offset.
        log_start_offset: i64 [5..] = -1,
        /// The batch indices of records that caused the batch to be dropped.
        record_errors: Vec<BatchIndexAndErrorMessage> [8..],
        /// The global error message summarizing the common root cause of the records that caused the batch to be dropped.
        error_message: Option<String> [8..],
        /// The leader broker that the producer should use for future requests.
        current_leader: LeaderIdAndEpoch [10.., tag 0],
    }

    /// An element of `PartitionProduceResponse.record_errors`.
    pub struct BatchIndexAndErrorMessage {
        /// The batch index of the record that caused the batch to be dropped.
        batch_index: i32,
        /// The error message of the record that caused the batch to be dropped.
        batch_index_error_message: Option<String>,
    }

    /// The leader broker that the producer should use for future requests.
    pub struct LeaderIdAndEpoch {
        /// The ID of the current leader or -1 if the leader is unknown.
        leader_id: i32 = -1,
        /// The latest known leader epoch.
        leader_epoch: i32 = -1,
    }

    /// An element of `ProduceResponse.node_endpoints`.
    pub struct NodeEndpoint {
        /// The ID of the associated node.
        node_id: i32,
        /// The node's hostname.
        host: String,
        /// The node's port.
        port: i32,
        /// The rack of the node, or null if it has not been assigned to a rack.
        rack: Option<String>,
    }
}
