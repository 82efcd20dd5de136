//! AlterPartitionReassignments: moves partitions to other brokers (key 45, versions 0–1, flexible; KIP-455).
//!
//! - 1: whether the number of replicas may change.

use crate::error_code::ErrorCode;

message! {
    /// Says which brokers are to keep which partitions.
    pub struct AlterPartitionReassignmentsRequest: versions 0..=1, flexible 0 {
        /// Ms that it may take to begin.
        timeout_ms: i32 = 60_000,
        /// Whether the number of replicas may change.
        allow_replication_factor_change: bool [1..] = true,
        /// The topics.
        topics: Vec<ReassignableTopic>,
    }

    /// An element of `AlterPartitionReassignmentsRequest.topics`.
    pub struct ReassignableTopic {
        /// Its name.
        name: String,
        /// Its partitions.
        partitions: Vec<ReassignablePartition>,
    }

    /// An element of `ReassignableTopic.partitions`.
    pub struct ReassignablePartition {
        /// The partition.
        partition_index: i32,
        /// Who is to keep it; null gives up a move that is under way.
        replicas: Option<Vec<i32>>,
    }

    /// What was begun.
    pub struct AlterPartitionReassignmentsResponse: versions 0..=1, flexible 0 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// Whether the number of replicas was allowed to change.
        allow_replication_factor_change: bool [1..] = true,
        /// What is wrong with the request.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
        /// By topic.
        responses: Vec<ReassignableTopicResponse>,
    }

    /// An element of `AlterPartitionReassignmentsResponse.responses`.
    pub struct ReassignableTopicResponse {
        /// The topic.
        name: String,
        /// By partition.
        partitions: Vec<ReassignablePartitionResponse>,
    }

    /// An element of `ReassignableTopicResponse.partitions`.
    pub struct ReassignablePartitionResponse {
        /// The partition.
        partition_index: i32,
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
    }
}
