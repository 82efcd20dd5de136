//! CreateTopics: make topics (key 19, versions 2–7, flexible from 5).
//!
//! - 4: -1 means the broker's default for partitions and replicas (KIP-464).
//! - 5: the configuration that the topic got (KIP-525).
//! - 6: THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599).
//! - 7: the topic's id.

use uuid::Uuid;

use crate::error_code::ErrorCode;

message! {
    /// Makes topics, or only checks whether they could be made.
    pub struct CreateTopicsRequest: versions 2..=7, flexible 5 {
        /// The topics to create.
        topics: Vec<CreatableTopic>,
        /// How long to wait in milliseconds before timing out the request.
        timeout_ms: i32 = 60000,
        /// If true, check that the topics can be created as specified, but don't create anything.
        validate_only: bool,
    }

    /// An element of `CreateTopicsRequest.topics`.
    pub struct CreatableTopic {
        /// The topic name.
        name: String,
        /// The number of partitions to create in the topic, or -1 if we are either specifying a manual partition assignment or using the default partitions.
        num_partitions: i32,
        /// The number of replicas, or -1 for the default or a manual assignment.
        replication_factor: i16,
        /// The manual partition assignment, or the empty array if we are using automatic assignment.
        assignments: Vec<CreatableReplicaAssignment>,
        /// The custom topic configurations to set.
        configs: Vec<CreatableTopicConfig>,
    }

    /// An element of `CreatableTopic.assignments`.
    pub struct CreatableReplicaAssignment {
        /// The partition index.
        partition_index: i32,
        /// The brokers to place the partition on.
        broker_ids: Vec<i32>,
    }

    /// An element of `CreatableTopic.configs`.
    pub struct CreatableTopicConfig {
        /// The configuration name.
        name: String,
        /// The configuration value.
        value: Option<String>,
    }

    /// What became of each topic.
    pub struct CreateTopicsResponse: versions 2..=7, flexible 5 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// Results for each topic we tried to create.
        topics: Vec<CreatableTopicResult>,
    }

    /// An element of `CreateTopicsResponse.topics`.
    pub struct CreatableTopicResult {
        /// The topic name.
        name: String,
        /// The unique topic ID.
        topic_id: Uuid [7..],
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
        /// The error message, or null if there was no error.
        error_message: Option<String>,
        /// Optional topic config error returned if configs are not returned in the response.
        topic_config_error_code: ErrorCode [5.., tag 0],
        /// Number of partitions of the topic.
        num_partitions: i32 [5..] = -1,
        /// Replication factor of the topic.
        replication_factor: i16 [5..] = -1,
        /// Configuration of the topic.
        configs: Option<Vec<CreatableTopicConfigs>> [5..],
    }

    /// An element of `CreatableTopicResult.configs`.
    pub struct CreatableTopicConfigs {
        /// The configuration name.
        name: String,
        /// The configuration value.
        value: Option<String>,
        /// True if the configuration is read-only.
        read_only: bool,
        /// The configuration source.
        config_source: i8 = -1,
        /// True if this configuration is sensitive.
        is_sensitive: bool,
    }
}
