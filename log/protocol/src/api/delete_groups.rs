//! DeleteGroups: remove empty groups (key 42, versions 0–2, flexible from 2).

use crate::error_code::ErrorCode;

message! {
    /// Removes groups and their offsets.
    pub struct DeleteGroupsRequest: versions 0..=2, flexible 2 {
        /// The group names to delete.
        groups_names: Vec<String>,
    }

    /// What became of each group.
    pub struct DeleteGroupsResponse: versions 0..=2, flexible 2 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The deletion results.
        results: Vec<DeletableGroupResult>,
    }

    /// An element of `DeleteGroupsResponse.results`.
    pub struct DeletableGroupResult {
        /// The group id.
        group_id: String,
        /// The deletion error, or 0 if the deletion succeeded.
        error_code: ErrorCode,
    }
}
