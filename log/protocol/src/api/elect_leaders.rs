//! ElectLeaders: has partitions led by another replica (key 43, versions 0–2, flexible from 2).
//!
//! - 1: the kind of election, and an error for all (KIP-460).

use crate::error_code::ErrorCode;

message! {
    /// Asks for elections.
    pub struct ElectLeadersRequest: versions 0..=2, flexible 2 {
        /// 0 = the preferred replica, 1 = any that lives, where none is in step.
        election_type: i8 [1..],
        /// Where; null is everywhere.
        topic_partitions: Option<Vec<ElectLeadersTopic>>,
        /// Ms that the election may take.
        timeout_ms: i32 = 60_000,
    }

    /// An element of `ElectLeadersRequest.topic_partitions`.
    pub struct ElectLeadersTopic {
        /// The topic.
        topic: String,
        /// Its partitions.
        partitions: Vec<i32>,
    }

    /// How the elections ended.
    pub struct ElectLeadersResponse: versions 0..=2, flexible 2 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// What is wrong with the request.
        error_code: ErrorCode [1..],
        /// By topic.
        replica_election_results: Vec<ReplicaElectionResult>,
    }

    /// An element of `ElectLeadersResponse.replica_election_results`.
    pub struct ReplicaElectionResult {
        /// The topic.
        topic: String,
        /// By partition.
        partition_result: Vec<ElectionPartitionResult>,
    }

    /// An element of `ReplicaElectionResult.partition_result`.
    pub struct ElectionPartitionResult {
        /// The partition.
        partition_id: i32,
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
    }
}
