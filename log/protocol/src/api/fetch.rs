//! Fetch: read record batches (key 1, versions 4–18, flexible from 12).
//!
//! - 4: isolation level, last stable offset and aborted transactions.
//! - 7: fetch sessions (KIP-227).
//! - 9: the leader epoch that the client knows (KIP-320).
//! - 10: batches may be compressed with zstd.
//! - 11: rack and preferred replica (KIP-392).
//! - 12: diverging epochs (KIP-595).
//! - 13: topics go by id.
//! - 15: the replica's epoch (KIP-903).
//! - 16: the new leader's address comes with the error (KIP-951).
//! - 17: the follower's directory (KIP-853).
//! - 18: the follower's high watermark (KIP-1166).
//!
//! `records` slices the frame on reading, and is spliced into it on writing, or sent from its file: no byte is copied.

use uuid::Uuid;

use crate::error_code::ErrorCode;
use crate::payload::Payload;

message! {
    /// Asks the leaders of partitions for batches from given offsets on, waiting for them if there are none.
    pub struct FetchRequest: versions 4..=18, flexible 12 {
        /// The clusterId if known. This is used to validate metadata fetches prior to broker registration.
        cluster_id: Option<String> [12.., tag 0],
        /// The broker ID of the follower, of -1 if this request is from a consumer.
        replica_id: i32 [..=14] = -1,
        /// The state of the replica in the follower.
        replica_state: ReplicaState [15.., tag 1],
        /// The maximum time in milliseconds to wait for the response.
        max_wait_ms: i32,
        /// The minimum bytes to accumulate in the response.
        min_bytes: i32,
        /// The maximum bytes to fetch. See KIP-74 for cases where this limit may not be honored.
        max_bytes: i32 = i32::MAX,
        /// This setting controls the visibility of transactional records.
        isolation_level: i8,
        /// The fetch session ID.
        session_id: i32 [7..],
        /// The fetch session epoch, which is used for ordering requests in a session.
        session_epoch: i32 [7..] = -1,
        /// The topics to fetch.
        topics: Vec<FetchTopic>,
        /// In an incremental fetch request, the partitions to remove.
        forgotten_topics_data: Vec<ForgottenTopic> [7..],
        /// Rack ID of the consumer making this request.
        rack_id: String [11..],
    }

    /// The state of the replica in the follower.
    pub struct ReplicaState {
        /// The replica ID of the follower, or -1 if this request is from a consumer.
        replica_id: i32 = -1,
        /// The epoch of this follower, or -1 if not available.
        replica_epoch: i64 = -1,
    }

    /// An element of `FetchRequest.topics`.
    pub struct FetchTopic {
        /// The name of the topic to fetch.
        topic: String [..=12],
        /// The unique topic ID.
        topic_id: Uuid [13..],
        /// The partitions to fetch.
        partitions: Vec<FetchPartition>,
    }

    /// An element of `FetchTopic.partitions`.
    pub struct FetchPartition {
        /// The partition index.
        partition: i32,
        /// The current leader epoch of the partition.
        current_leader_epoch: i32 [9..] = -1,
        /// The message offset.
        fetch_offset: i64,
        /// The epoch of the last fetched record or -1 if there is none.
        last_fetched_epoch: i32 [12..] = -1,
        /// The earliest available offset of the follower replica. The field is only used when the request is sent by the follower.
        log_start_offset: i64 [5..] = -1,
        /// The maximum bytes to fetch from this partition. See KIP-74 for cases where this limit may not be honored.
        partition_max_bytes: i32,
        /// The directory id of the follower fetching.
        replica_directory_id: Uuid [17.., tag 0],
        /// The high-watermark known by the replica. -1 if the high-watermark is not known and `i64::MAX` if the feature is not supported.
        high_watermark: i64 [18.., tag 1] = i64::MAX,
    }

    /// An element of `FetchRequest.forgotten_topics_data`.
    pub struct ForgottenTopic {
        /// The topic name.
        topic: String [..=12],
        /// The unique topic ID.
        topic_id: Uuid [13..],
        /// The partitions indexes to forget.
        partitions: Vec<i32>,
    }

    /// The batches, whole, from the one that holds the asked offset on.
    pub struct FetchResponse: versions 4..=18, flexible 12 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The top level response error code.
        error_code: ErrorCode [7..],
        /// The fetch session ID, or 0 if this is not part of a fetch session.
        session_id: i32 [7..],
        /// The response topics.
        responses: Vec<FetchableTopicResponse>,
        /// Endpoints for all current-leaders enumerated in PartitionData, with errors NOT_LEADER_OR_FOLLOWER & FENCED_LEADER_EPOCH.
        node_endpoints: Vec<NodeEndpoint> [16.., tag 0],
    }

    /// An element of `FetchResponse.responses`.
    pub struct FetchableTopicResponse {
        /// The topic name.
        topic: String [..=12],
        /// The unique topic ID.
        topic_id: Uuid [13..],
        /// The topic partitions.
        partitions: Vec<PartitionData>,
    }

    /// An element of `FetchableTopicResponse.partitions`.
    pub struct PartitionData {
        /// The partition index.
        partition_index: i32,
        /// The error code, or 0 if there was no fetch error.
        error_code: ErrorCode,
        /// The high watermark.
        high_watermark: i64,
        /// The last stable offset (or LSO) of the partition.
        last_stable_offset: i64 = -1,
        /// The current log start offset.
        log_start_offset: i64 [5..] = -1,
        /// Where the logs part, if the request's last fetched epoch and offset are not in the leader's log.
        diverging_epoch: EpochEndOffset [12.., tag 0],
        /// The current leader of the partition.
        current_leader: LeaderIdAndEpoch [12.., tag 1],
        /// The snapshot to fetch instead, if the offset lies before the start of the log (metadata only).
        snapshot_id: SnapshotId [12.., tag 2],
        /// The aborted transactions.
        aborted_transactions: Option<Vec<AbortedTransaction>>,
        /// The preferred read replica for the consumer to use on its next fetch request.
        preferred_read_replica: i32 [11..] = -1,
        /// The record data.
        records: Option<Payload>,
    }

    /// Where the logs part, if the request's last fetched epoch and offset are not in the leader's log.
    pub struct EpochEndOffset {
        /// The largest epoch.
        epoch: i32 = -1,
        /// The end offset of the epoch.
        end_offset: i64 = -1,
    }

    /// The current leader of the partition.
    pub struct LeaderIdAndEpoch {
        /// The ID of the current leader or -1 if the leader is unknown.
        leader_id: i32 = -1,
        /// The latest known leader epoch.
        leader_epoch: i32 = -1,
    }

    /// The snapshot to fetch instead, if the offset lies before the start of the log (metadata only).
    pub struct SnapshotId {
        /// The end offset of the epoch.
        end_offset: i64 = -1,
        /// The largest epoch.
        epoch: i32 = -1,
    }

    /// An element of `PartitionData.aborted_transactions`.
    pub struct AbortedTransaction {
        /// The producer id associated with the aborted transaction.
        producer_id: i64,
        /// The first offset in the aborted transaction.
        first_offset: i64,
    }

    /// An element of `FetchResponse.node_endpoints`.
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
