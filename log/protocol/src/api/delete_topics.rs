//! DeleteTopics: remove topics (key 20, versions 1–6, flexible from 4).
//!
//! - 4: THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599).
//! - 5: a message with the error.
//! - 6: a topic may be named by its id.

use uuid::Uuid;

use crate::error_code::ErrorCode;

message! {
    /// Removes topics with all their records.
    pub struct DeleteTopicsRequest: versions 1..=6, flexible 4 {
        /// The name or topic ID of the topic.
        topics: Vec<DeleteTopicState> [6..],
        /// The names of the topics to delete.
        topic_names: Vec<String> [..=5],
        /// The length of time in milliseconds to wait for the deletions to complete.
        timeout_ms: i32,
    }

    /// An element of `DeleteTopicsRequest.topics`.
    pub struct DeleteTopicState {
        /// The topic name.
        name: Option<String>,
        /// The unique topic ID.
        topic_id: Uuid,
    }

    /// What became of each topic.
    pub struct DeleteTopicsResponse: versions 1..=6, flexible 4 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The results for each topic we tried to delete.
        responses: Vec<DeletableTopicResult>,
    }

    /// An element of `DeleteTopicsResponse.responses`.
    pub struct DeletableTopicResult {
        /// The topic name.
        name: Option<String>,
        /// The unique topic ID.
        topic_id: Uuid [6..],
        /// The deletion error, or 0 if the deletion succeeded.
        error_code: ErrorCode,
        /// The error message, or null if there was no error.
        error_message: Option<String> [5..],
    }
}
