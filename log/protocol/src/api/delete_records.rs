//! DeleteRecords: move the start of a partition (key 21, versions 0–2, flexible from 2).

use crate::error_code::ErrorCode;

message! {
    /// Removes all records before an offset; -1 means the high watermark.
    pub struct DeleteRecordsRequest: versions 0..=2, flexible 2 {
        /// Each topic that we want to delete records from.
        topics: Vec<DeleteRecordsTopic>,
        /// How long to wait for the deletion to complete, in milliseconds.
        timeout_ms: i32,
    }

    /// An element of `DeleteRecordsRequest.topics`.
    pub struct DeleteRecordsTopic {
        /// The topic name.
        name: String,
        /// Each partition that we want to delete records from.
        partitions: Vec<DeleteRecordsPartition>,
    }

    /// An element of `DeleteRecordsTopic.partitions`.
    pub struct DeleteRecordsPartition {
        /// The partition index.
        partition_index: i32,
        /// The deletion offset. -1 means that records should be truncated to the high watermark.
        offset: i64,
    }

    /// Where the partitions start now.
    pub struct DeleteRecordsResponse: versions 0..=2, flexible 2 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// Each topic that we wanted to delete records from.
        topics: Vec<DeleteRecordsTopicResult>,
    }

    /// An element of `DeleteRecordsResponse.topics`.
    pub struct DeleteRecordsTopicResult {
        /// The topic name.
        name: String,
        /// Each partition that we wanted to delete records from.
        partitions: Vec<DeleteRecordsPartitionResult>,
    }

    /// An element of `DeleteRecordsTopicResult.partitions`.
    pub struct DeleteRecordsPartitionResult {
        /// The partition index.
        partition_index: i32,
        /// The partition low water mark.
        low_watermark: i64,
        /// The deletion error code, or 0 if the deletion succeeded.
        error_code: ErrorCode,
    }
}
