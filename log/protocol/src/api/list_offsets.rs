//! ListOffsets: the offset for a time (key 2, versions 1–11, flexible from 6).
//!
//! - 2: isolation level.
//! - 4: leader epochs.
//! - 7: -3, the largest timestamp (KIP-734).
//! - 8: -4, the earliest local offset (KIP-405).
//! - 9: -5, the last tiered offset (KIP-1005).
//! - 11: -6, the earliest offset yet to be uploaded (KIP-1023).

use crate::error_code::ErrorCode;

message! {
    /// Asks for the first offset at or after a timestamp; -1 means the latest, -2 the earliest offset, -3 the record with the largest timestamp.
    pub struct ListOffsetsRequest: versions 1..=11, flexible 6 {
        /// The broker ID of the requester, or -1 if this request is being made by a normal consumer.
        replica_id: i32,
        /// This setting controls the visibility of transactional records.
        isolation_level: i8 [2..],
        /// Each topic in the request.
        topics: Vec<ListOffsetsTopic>,
        /// The timeout to await a response in milliseconds for requests that require reading from remote storage for topics enabled with tiered storage.
        timeout_ms: i32 [10..],
    }

    /// An element of `ListOffsetsRequest.topics`.
    pub struct ListOffsetsTopic {
        /// The topic name.
        name: String,
        /// Each partition in the request.
        partitions: Vec<ListOffsetsPartition>,
    }

    /// An element of `ListOffsetsTopic.partitions`.
    pub struct ListOffsetsPartition {
        /// The partition index.
        partition_index: i32,
        /// The current leader epoch.
        current_leader_epoch: i32 [4..] = -1,
        /// The current timestamp.
        timestamp: i64,
    }

    /// The offsets, each with the timestamp of its record.
    pub struct ListOffsetsResponse: versions 1..=11, flexible 6 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32 [2..],
        /// Each topic in the response.
        topics: Vec<ListOffsetsTopicResponse>,
    }

    /// An element of `ListOffsetsResponse.topics`.
    pub struct ListOffsetsTopicResponse {
        /// The topic name.
        name: String,
        /// Each partition in the response.
        partitions: Vec<ListOffsetsPartitionResponse>,
    }

    /// An element of `ListOffsetsTopicResponse.partitions`.
    pub struct ListOffsetsPartitionResponse {
        /// The partition index.
        partition_index: i32,
        /// The partition error code, or 0 if there was no error.
        error_code: ErrorCode,
        /// The timestamp associated with the returned offset.
        timestamp: i64 = -1,
        /// The returned offset.
        offset: i64 = -1,
        /// The leader epoch associated with the returned offset.
        leader_epoch: i32 [4..] = -1,
    }
}
