//! ListGroups: the groups of a broker (key 16, versions 0–5, flexible from 3).
//!
//! - 4: filter by state (KIP-518).
//! - 5: filter by type (KIP-848).

use crate::error_code::ErrorCode;

message! {
    /// Asks for the groups that this broker coordinates.
    pub struct ListGroupsRequest: versions 0..=5, flexible 3 {
        /// The states of the groups we want to list. If empty, all groups are returned with their state.
        states_filter: Vec<String> [4..],
        /// The types of the groups we want to list. If empty, all groups are returned with their type.
        types_filter: Vec<String> [5..],
    }

    /// The groups.
    pub struct ListGroupsResponse: versions 0..=5, flexible 3 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32 [1..],
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
        /// Each group in the response.
        groups: Vec<ListedGroup>,
    }

    /// An element of `ListGroupsResponse.groups`.
    pub struct ListedGroup {
        /// The group ID.
        group_id: String,
        /// The group protocol type.
        protocol_type: String,
        /// The group state name.
        group_state: String [4..],
        /// The group type name.
        group_type: String [5..],
    }
}
