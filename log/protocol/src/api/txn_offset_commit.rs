//! TxnOffsetCommit: store a group's offsets in a transaction (key 28, versions 0–5, flexible from 3).
//!
//! - 2: leader epochs.
//! - 3: the member and its generation, which fence (KIP-447).
//! - 4: TRANSACTION_ABORTABLE may be answered (KIP-890).
//! - 5: takes the group into the transaction by itself (KIP-890).

use crate::error_code::ErrorCode;

message! {
    /// Stores offsets that count once the transaction commits.
    pub struct TxnOffsetCommitRequest: versions 0..=5, flexible 3 {
        /// The ID of the transaction.
        transactional_id: String,
        /// The ID of the group.
        group_id: String,
        /// The current producer ID in use by the transactional ID.
        producer_id: i64,
        /// The current epoch associated with the producer ID.
        producer_epoch: i16,
        /// The generation of the consumer.
        generation_id: i32 [3..] = -1,
        /// The member ID assigned by the group coordinator.
        member_id: String [3..],
        /// The unique identifier of the consumer instance provided by end user.
        group_instance_id: Option<String> [3..],
        /// Each topic that we want to commit offsets for.
        topics: Vec<TxnOffsetCommitRequestTopic>,
    }

    /// An element of `TxnOffsetCommitRequest.topics`.
    pub struct TxnOffsetCommitRequestTopic {
        /// The topic name.
        name: String,
        /// The partitions inside the topic that we want to commit offsets for.
        partitions: Vec<TxnOffsetCommitRequestPartition>,
    }

    /// An element of `TxnOffsetCommitRequestTopic.partitions`.
    pub struct TxnOffsetCommitRequestPartition {
        /// The index of the partition within the topic.
        partition_index: i32,
        /// The message offset to be committed.
        committed_offset: i64,
        /// The leader epoch of the last consumed record.
        committed_leader_epoch: i32 [2..] = -1,
        /// Any associated metadata the client wants to keep.
        committed_metadata: Option<String>,
    }

    /// Whether each partition's offset was stored.
    pub struct TxnOffsetCommitResponse: versions 0..=5, flexible 3 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The responses for each topic.
        topics: Vec<TxnOffsetCommitResponseTopic>,
    }

    /// An element of `TxnOffsetCommitResponse.topics`.
    pub struct TxnOffsetCommitResponseTopic {
        /// The topic name.
        name: String,
        /// The responses for each partition in the topic.
        partitions: Vec<TxnOffsetCommitResponsePartition>,
    }

    /// An element of `TxnOffsetCommitResponseTopic.partitions`.
    pub struct TxnOffsetCommitResponsePartition {
        /// The partition index.
        partition_index: i32,
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
    }
}
