//! DescribeTopicPartitions: topics, page by page (key 75, version 0, flexible; KIP-966).

use uuid::Uuid;

use crate::error_code::ErrorCode;

message! {
    /// Asks for topics.
    pub struct DescribeTopicPartitionsRequest: versions 0..=0, flexible 0 {
        /// Their names; empty is all.
        topics: Vec<TopicName>,
        /// Partitions in one answer.
        response_partition_limit: i32 = 2000,
        /// Where the last answer ended.
        cursor: Option<Cursor>,
    }

    /// An element of `DescribeTopicPartitionsRequest.topics`.
    pub struct TopicName {
        /// The name.
        name: String,
    }

    /// Where an answer ended.
    pub struct Cursor {
        /// The topic to go on with.
        topic_name: String,
        /// Its partition to go on with.
        partition_index: i32,
    }

    /// The topics.
    pub struct DescribeTopicPartitionsResponse: versions 0..=0, flexible 0 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// By name.
        topics: Vec<DescribedTopic>,
        /// Where to go on; null at the end.
        next_cursor: Option<Cursor>,
    }

    /// An element of `DescribeTopicPartitionsResponse.topics`.
    pub struct DescribedTopic {
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// Its name.
        name: Option<String>,
        /// Its id.
        topic_id: Uuid,
        /// Whether the broker keeps it for itself.
        is_internal: bool,
        /// Its partitions.
        partitions: Vec<DescribedPartition>,
        /// What the client may do with it, as bits.
        topic_authorized_operations: i32 = i32::MIN,
    }

    /// An element of `DescribedTopic.partitions`.
    pub struct DescribedPartition {
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The partition.
        partition_index: i32,
        /// Its leader.
        leader_id: i32,
        /// The leader's epoch.
        leader_epoch: i32 = -1,
        /// Who keeps it.
        replica_nodes: Vec<i32>,
        /// Who is in step.
        isr_nodes: Vec<i32>,
        /// Who may lead without loss.
        eligible_leader_replicas: Option<Vec<i32>>,
        /// Who could last.
        last_known_elr: Option<Vec<i32>>,
        /// Who is gone.
        offline_replicas: Vec<i32>,
    }
}
