//! DescribeQuorum: who keeps the metadata of the cluster (key 55, versions 0–2, flexible).
//!
//! - 1: times of fetches (KIP-836). - 2: words for errors, directories and addresses of the voters (KIP-853).

use uuid::Uuid;

use crate::error_code::ErrorCode;

message! {
    /// Names the partition of the metadata.
    pub struct DescribeQuorumRequest: versions 0..=2, flexible 0 {
        /// `__cluster_metadata`.
        topics: Vec<QuorumTopic>,
    }

    /// An element of `DescribeQuorumRequest.topics`.
    pub struct QuorumTopic {
        /// Its name.
        topic_name: String,
        /// Its partitions.
        partitions: Vec<QuorumPartition>,
    }

    /// An element of `QuorumTopic.partitions`.
    pub struct QuorumPartition {
        /// The partition.
        partition_index: i32,
    }

    /// Who keeps the metadata.
    pub struct DescribeQuorumResponse: versions 0..=2, flexible 0 {
        /// What is wrong with the request.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String> [2..],
        /// By topic.
        topics: Vec<DescribedQuorumTopic>,
        /// Where the voters are reached.
        nodes: Vec<QuorumNode> [2..],
    }

    /// An element of `DescribeQuorumResponse.topics`.
    pub struct DescribedQuorumTopic {
        /// Its name.
        topic_name: String,
        /// By partition.
        partitions: Vec<DescribedQuorumPartition>,
    }

    /// An element of `DescribedQuorumTopic.partitions`.
    pub struct DescribedQuorumPartition {
        /// The partition.
        partition_index: i32,
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String> [2..],
        /// Who leads.
        leader_id: i32,
        /// The leader's epoch.
        leader_epoch: i32,
        /// The end of what all know.
        high_watermark: i64,
        /// Who decides.
        current_voters: Vec<QuorumReplica>,
        /// Who only reads.
        observers: Vec<QuorumReplica>,
    }

    /// A keeper of the metadata.
    pub struct QuorumReplica {
        /// The node.
        replica_id: i32,
        /// Its folder.
        replica_directory_id: Uuid [2..],
        /// The end of what it has.
        log_end_offset: i64,
        /// When it last read, in Unix ms.
        last_fetch_timestamp: i64 [1..] = -1,
        /// When it last knew all, in Unix ms.
        last_caught_up_timestamp: i64 [1..] = -1,
    }

    /// An element of `DescribeQuorumResponse.nodes`.
    pub struct QuorumNode {
        /// The node.
        node_id: i32,
        /// Where it listens.
        listeners: Vec<QuorumListener>,
    }

    /// An element of `QuorumNode.listeners`.
    pub struct QuorumListener {
        /// The listener's name.
        name: String,
        /// Its host.
        host: String,
        /// Its port, an unsigned number of 16 bits.
        port: i16,
    }
}
