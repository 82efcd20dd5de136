//! OffsetDelete: forget a group's offsets (key 47, version 0; KIP-496).

use crate::error_code::ErrorCode;

message! {
    /// Asks a group's coordinator to forget offsets.
    pub struct OffsetDeleteRequest: versions 0..=0, flexible 1 {
        /// The unique group identifier.
        group_id: String,
        /// The topics to delete offsets for.
        topics: Vec<OffsetDeleteRequestTopic>,
    }

    /// An element of `OffsetDeleteRequest.topics`.
    pub struct OffsetDeleteRequestTopic {
        /// The topic name.
        name: String,
        /// Each partition to delete offsets for.
        partitions: Vec<OffsetDeleteRequestPartition>,
    }

    /// An element of `OffsetDeleteRequestTopic.partitions`.
    pub struct OffsetDeleteRequestPartition {
        /// The partition index.
        partition_index: i32,
    }

    /// What became of each offset.
    pub struct OffsetDeleteResponse: versions 0..=0, flexible 1 {
        /// The top-level error code, or 0 if there was no error.
        error_code: ErrorCode,
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The responses for each topic.
        topics: Vec<OffsetDeleteResponseTopic>,
    }

    /// An element of `OffsetDeleteResponse.topics`.
    pub struct OffsetDeleteResponseTopic {
        /// The topic name.
        name: String,
        /// The responses for each partition in the topic.
        partitions: Vec<OffsetDeleteResponsePartition>,
    }

    /// An element of `OffsetDeleteResponseTopic.partitions`.
    pub struct OffsetDeleteResponsePartition {
        /// The partition index.
        partition_index: i32,
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
    }
}
