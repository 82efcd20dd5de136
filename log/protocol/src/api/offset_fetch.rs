//! OffsetFetch: read a group's offsets (key 9, versions 1–10, flexible from 6).
//!
//! - 2: null asks for all topics; an error for the whole answer.
//! - 5: leader epochs.
//! - 7: waits for transactions that would change the answer (`require_stable`, KIP-447).
//! - 8: several groups in one request (KIP-709); the fields of a single group are gone.
//! - 9: members of the newer group protocol (KIP-848).
//! - 10: topics go by id.

use uuid::Uuid;

use crate::error_code::ErrorCode;

message! {
    /// Asks how far groups have come.
    pub struct OffsetFetchRequest: versions 1..=10, flexible 6 {
        /// The group to fetch offsets for.
        group_id: String [..=7],
        /// Each topic we would like to fetch offsets for, or null to fetch offsets for all topics.
        topics: Option<Vec<OffsetFetchRequestTopic>> [..=7, null 2..],
        /// Each group we would like to fetch offsets for.
        groups: Vec<OffsetFetchRequestGroup> [8..],
        /// Whether broker should hold on returning unstable offsets but set a retriable error code for the partitions.
        require_stable: bool [7..],
    }

    /// An element of `OffsetFetchRequest.topics`.
    pub struct OffsetFetchRequestTopic {
        /// The topic name.
        name: String,
        /// The partition indexes we would like to fetch offsets for.
        partition_indexes: Vec<i32>,
    }

    /// An element of `OffsetFetchRequest.groups`.
    pub struct OffsetFetchRequestGroup {
        /// The group ID.
        group_id: String,
        /// The member id.
        member_id: Option<String> [9..],
        /// The member epoch if using the new consumer protocol (KIP-848).
        member_epoch: i32 [9..] = -1,
        /// Each topic we would like to fetch offsets for, or null to fetch offsets for all topics.
        topics: Option<Vec<OffsetFetchRequestTopics>>,
    }

    /// An element of `OffsetFetchRequestGroup.topics`.
    pub struct OffsetFetchRequestTopics {
        /// The topic name.
        name: String [..=9],
        /// The topic ID.
        topic_id: Uuid [10..],
        /// The partition indexes we would like to fetch offsets for.
        partition_indexes: Vec<i32>,
    }

    /// The offsets; -1 where none was stored.
    pub struct OffsetFetchResponse: versions 1..=10, flexible 6 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32 [3..],
        /// The responses per topic.
        topics: Vec<OffsetFetchResponseTopic> [..=7],
        /// The top-level error code, or 0 if there was no error.
        error_code: ErrorCode [2..=7],
        /// The responses per group id.
        groups: Vec<OffsetFetchResponseGroup> [8..],
    }

    /// An element of `OffsetFetchResponse.topics`.
    pub struct OffsetFetchResponseTopic {
        /// The topic name.
        name: String,
        /// The responses per partition.
        partitions: Vec<OffsetFetchResponsePartition>,
    }

    /// An element of `OffsetFetchResponseTopic.partitions`.
    pub struct OffsetFetchResponsePartition {
        /// The partition index.
        partition_index: i32,
        /// The committed message offset.
        committed_offset: i64,
        /// The leader epoch.
        committed_leader_epoch: i32 [5..] = -1,
        /// The partition metadata.
        metadata: Option<String>,
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
    }

    /// An element of `OffsetFetchResponse.groups`.
    pub struct OffsetFetchResponseGroup {
        /// The group ID.
        group_id: String,
        /// The responses per topic.
        topics: Vec<OffsetFetchResponseTopics>,
        /// The group-level error code, or 0 if there was no error.
        error_code: ErrorCode,
    }

    /// An element of `OffsetFetchResponseGroup.topics`.
    pub struct OffsetFetchResponseTopics {
        /// The topic name.
        name: String [..=9],
        /// The topic ID.
        topic_id: Uuid [10..],
        /// The responses per partition.
        partitions: Vec<OffsetFetchResponsePartitions>,
    }

    /// An element of `OffsetFetchResponseTopics.partitions`.
    pub struct OffsetFetchResponsePartitions {
        /// The partition index.
        partition_index: i32,
        /// The committed message offset.
        committed_offset: i64,
        /// The leader epoch.
        committed_leader_epoch: i32 = -1,
        /// The partition metadata.
        metadata: Option<String>,
        /// The partition-level error code, or 0 if there was no error.
        error_code: ErrorCode,
    }
}
