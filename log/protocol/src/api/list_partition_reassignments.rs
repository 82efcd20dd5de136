//! ListPartitionReassignments: the moves of partitions that are under way (key 46, version 0, flexible; KIP-455).

use crate::error_code::ErrorCode;

message! {
    /// Asks for moves.
    pub struct ListPartitionReassignmentsRequest: versions 0..=0, flexible 0 {
        /// Ms that it may take.
        timeout_ms: i32 = 60_000,
        /// Of these topics; null is all.
        topics: Option<Vec<ListReassignmentsTopic>>,
    }

    /// An element of `ListPartitionReassignmentsRequest.topics`.
    pub struct ListReassignmentsTopic {
        /// Its name.
        name: String,
        /// Its partitions.
        partition_indexes: Vec<i32>,
    }

    /// The moves.
    pub struct ListPartitionReassignmentsResponse: versions 0..=0, flexible 0 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// What is wrong with the request.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
        /// By topic.
        topics: Vec<OngoingTopicReassignment>,
    }

    /// An element of `ListPartitionReassignmentsResponse.topics`.
    pub struct OngoingTopicReassignment {
        /// Its name.
        name: String,
        /// By partition.
        partitions: Vec<OngoingPartitionReassignment>,
    }

    /// An element of `OngoingTopicReassignment.partitions`.
    pub struct OngoingPartitionReassignment {
        /// The partition.
        partition_index: i32,
        /// Who keeps it.
        replicas: Vec<i32>,
        /// Who is to keep it and does not yet.
        adding_replicas: Vec<i32>,
        /// Who is not to keep it any more.
        removing_replicas: Vec<i32>,
    }
}
