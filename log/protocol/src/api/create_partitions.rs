//! CreatePartitions: give topics more partitions (key 37, versions 0–3, flexible from 2).
//!
//! - 3: THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599).

use crate::error_code::ErrorCode;

message! {
    /// Raises the number of partitions.
    pub struct CreatePartitionsRequest: versions 0..=3, flexible 2 {
        /// Each topic that we want to create new partitions inside.
        topics: Vec<CreatePartitionsTopic>,
        /// The time in ms to wait for the partitions to be created.
        timeout_ms: i32,
        /// If true, then validate the request, but don't actually increase the number of partitions.
        validate_only: bool,
    }

    /// An element of `CreatePartitionsRequest.topics`.
    pub struct CreatePartitionsTopic {
        /// The topic name.
        name: String,
        /// The new partition count.
        count: i32,
        /// The new partition assignments.
        assignments: Option<Vec<CreatePartitionsAssignment>>,
    }

    /// An element of `CreatePartitionsTopic.assignments`.
    pub struct CreatePartitionsAssignment {
        /// The assigned broker IDs.
        broker_ids: Vec<i32>,
    }

    /// What became of each topic.
    pub struct CreatePartitionsResponse: versions 0..=3, flexible 2 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The partition creation results for each topic.
        results: Vec<CreatePartitionsTopicResult>,
    }

    /// An element of `CreatePartitionsResponse.results`.
    pub struct CreatePartitionsTopicResult {
        /// The topic name.
        name: String,
        /// The result error, or zero if there was no error.
        error_code: ErrorCode,
        /// The result message, or null if there was no error.
        error_message: Option<String>,
    }
}
