//! OffsetForLeaderEpoch: where an epoch ended (key 23, versions 2–4, flexible from 4).
//!
//! - 3: replica id and -1 for consumers (KIP-392).

use crate::error_code::ErrorCode;

message! {
    /// Asks for the end of leader epochs, to find where logs part ways.
    pub struct OffsetForLeaderEpochRequest: versions 2..=4, flexible 4 {
        /// The broker ID of the follower, of -1 if this request is from a consumer.
        replica_id: i32 [3..] = -2,
        /// Each topic to get offsets for.
        topics: Vec<OffsetForLeaderTopic>,
    }

    /// An element of `OffsetForLeaderEpochRequest.topics`.
    pub struct OffsetForLeaderTopic {
        /// The topic name.
        topic: String,
        /// Each partition to get offsets for.
        partitions: Vec<OffsetForLeaderPartition>,
    }

    /// An element of `OffsetForLeaderTopic.partitions`.
    pub struct OffsetForLeaderPartition {
        /// The partition index.
        partition: i32,
        /// An epoch used to fence consumers/replicas with old metadata.
        current_leader_epoch: i32 = -1,
        /// The epoch to look up an offset for.
        leader_epoch: i32,
    }

    /// The ends of the epochs.
    pub struct OffsetForLeaderEpochResponse: versions 2..=4, flexible 4 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// Each topic we fetched offsets for.
        topics: Vec<OffsetForLeaderTopicResult>,
    }

    /// An element of `OffsetForLeaderEpochResponse.topics`.
    pub struct OffsetForLeaderTopicResult {
        /// The topic name.
        topic: String,
        /// Each partition in the topic we fetched offsets for.
        partitions: Vec<EpochEndOffset>,
    }

    /// An element of `OffsetForLeaderTopicResult.partitions`.
    pub struct EpochEndOffset {
        /// The error code 0, or if there was no error.
        error_code: ErrorCode,
        /// The partition index.
        partition: i32,
        /// The leader epoch of the partition.
        leader_epoch: i32 = -1,
        /// The end offset of the epoch.
        end_offset: i64 = -1,
    }
}
