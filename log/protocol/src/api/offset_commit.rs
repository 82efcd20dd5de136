//! OffsetCommit: store a group's offsets (key 8, versions 2–10, flexible from 8).
//!
//! - 5: without a retention time.
//! - 6: leader epochs.
//! - 7: static members (KIP-345).
//! - 9: members of the newer group protocol (KIP-848).
//! - 10: topics go by id (KIP-848).

use uuid::Uuid;

use crate::error_code::ErrorCode;

message! {
    /// Stores how far a group has come.
    pub struct OffsetCommitRequest: versions 2..=10, flexible 8 {
        /// The unique group identifier.
        group_id: String,
        /// The generation of the group if using the classic group protocol or the member epoch if using the consumer protocol.
        generation_id_or_member_epoch: i32 = -1,
        /// The member ID assigned by the group coordinator.
        member_id: String,
        /// The unique identifier of the consumer instance provided by end user.
        group_instance_id: Option<String> [7..],
        /// The time period in ms to retain the offset.
        retention_time_ms: i64 [..=4] = -1,
        /// The topics to commit offsets for.
        topics: Vec<OffsetCommitRequestTopic>,
    }

    /// An element of `OffsetCommitRequest.topics`.
    pub struct OffsetCommitRequestTopic {
        /// The topic name.
        name: String [..=9],
        /// The topic ID.
        topic_id: Uuid [10..],
        /// Each partition to commit offsets for.
        partitions: Vec<OffsetCommitRequestPartition>,
    }

    /// An element of `OffsetCommitRequestTopic.partitions`.
    pub struct OffsetCommitRequestPartition {
        /// The partition index.
        partition_index: i32,
        /// The message offset to be committed.
        committed_offset: i64,
        /// The leader epoch of this partition.
        committed_leader_epoch: i32 [6..] = -1,
        /// Any associated metadata the client wants to keep.
        committed_metadata: Option<String>,
    }

    /// Whether each partition's offset was stored.
    pub struct OffsetCommitResponse: versions 2..=10, flexible 8 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32 [3..],
        /// The responses for each topic.
        topics: Vec<OffsetCommitResponseTopic>,
    }

    /// An element of `OffsetCommitResponse.topics`.
    pub struct OffsetCommitResponseTopic {
        /// The topic name.
        name: String [..=9],
        /// The topic ID.
        topic_id: Uuid [10..],
        /// The responses for each partition in the topic.
        partitions: Vec<OffsetCommitResponsePartition>,
    }

    /// An element of `OffsetCommitResponseTopic.partitions`.
    pub struct OffsetCommitResponsePartition {
        /// The partition index.
        partition_index: i32,
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
    }
}
