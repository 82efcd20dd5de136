//! Metadata: brokers, topics and leaders (key 3, versions 0–13, flexible from 9).
//!
//! - 1: null means all topics, an empty list none.
//! - 4: whether topics may be created by asking for them.
//! - 7: leader epochs.
//! - 10: topic ids.
//! - 12: a topic may be asked for by id, its name null.
//! - 13: an error for the whole answer (KIP-1102).

use uuid::Uuid;

use crate::error_code::ErrorCode;

message! {
    /// Asks for topics and their partitions; null means all topics, and so does an empty list in version 0.
    pub struct MetadataRequest: versions 0..=13, flexible 9 {
        /// The topics to fetch metadata for.
        topics: Option<Vec<MetadataRequestTopic>> [0.., null 1..],
        /// If this is true, the broker may auto-create topics that we requested which do not already exist, if it is configured to do so.
        allow_auto_topic_creation: bool [4..] = true,
        /// Whether to include cluster authorized operations.
        include_cluster_authorized_operations: bool [8..=10],
        /// Whether to include topic authorized operations.
        include_topic_authorized_operations: bool [8..],
    }

    /// An element of `MetadataRequest.topics`.
    pub struct MetadataRequestTopic {
        /// The topic id.
        topic_id: Uuid [10..],
        /// The topic name.
        name: Option<String> [0.., null 10..],
    }

    /// The brokers of the cluster, and the topics asked for.
    pub struct MetadataResponse: versions 0..=13, flexible 9 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32 [3..],
        /// A list of brokers present in the cluster.
        brokers: Vec<MetadataResponseBroker>,
        /// The cluster ID that responding broker belongs to.
        cluster_id: Option<String> [2..],
        /// The ID of the controller broker.
        controller_id: i32 [1..] = -1,
        /// Each topic in the response.
        topics: Vec<MetadataResponseTopic>,
        /// 32-bit bitfield to represent authorized operations for this cluster.
        cluster_authorized_operations: i32 [8..=10] = i32::MIN,
        /// The top-level error code, or 0 if there was no error.
        error_code: ErrorCode [13..],
    }

    /// An element of `MetadataResponse.brokers`.
    pub struct MetadataResponseBroker {
        /// The broker ID.
        node_id: i32,
        /// The broker hostname.
        host: String,
        /// The broker port.
        port: i32,
        /// The rack of the broker, or null if it has not been assigned to a rack.
        rack: Option<String> [1..],
    }

    /// An element of `MetadataResponse.topics`.
    pub struct MetadataResponseTopic {
        /// The topic error, or 0 if there was no error.
        error_code: ErrorCode,
        /// The topic name. Null for non-existing topics queried by ID. This is never null when ErrorCode is zero. One of Name and TopicId is always populated.
        name: Option<String>,
        /// The topic id. Zero for non-existing topics queried by name. This is never zero when ErrorCode is zero. One of Name and TopicId is always populated.
        topic_id: Uuid [10..],
        /// True if the topic is internal.
        is_internal: bool [1..],
        /// Each partition in the topic.
        partitions: Vec<MetadataResponsePartition>,
        /// 32-bit bitfield to represent authorized operations for this topic.
        topic_authorized_operations: i32 [8..] = i32::MIN,
    }

    /// An element of `MetadataResponseTopic.partitions`.
    pub struct MetadataResponsePartition {
        /// The partition error, or 0 if there was no error.
        error_code: ErrorCode,
        /// The partition index.
        partition_index: i32,
        /// The ID of the leader broker.
        leader_id: i32,
        /// The leader epoch of this partition.
        leader_epoch: i32 [7..] = -1,
        /// The set of all nodes that host this partition.
        replica_nodes: Vec<i32>,
        /// The set of nodes that are in sync with the leader for this partition.
        isr_nodes: Vec<i32>,
        /// The set of offline replicas of this partition.
        offline_replicas: Vec<i32> [5..],
    }
}
