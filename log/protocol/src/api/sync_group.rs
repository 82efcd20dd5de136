//! SyncGroup: hand out a generation's assignment (key 14, versions 0–5, flexible from 4).
//!
//! - 3: static members (KIP-345).
//! - 5: type and name of the protocol, which have to match (KIP-559).

use bytes::Bytes;

use crate::error_code::ErrorCode;

message! {
    /// Waits for the assignment; the leader brings it for all.
    pub struct SyncGroupRequest: versions 0..=5, flexible 4 {
        /// The unique group identifier.
        group_id: String,
        /// The generation of the group.
        generation_id: i32,
        /// The member ID assigned by the group.
        member_id: String,
        /// The unique identifier of the consumer instance provided by end user.
        group_instance_id: Option<String> [3..],
        /// The group protocol type.
        protocol_type: Option<String> [5..],
        /// The group protocol name.
        protocol_name: Option<String> [5..],
        /// Each assignment.
        assignments: Vec<SyncGroupRequestAssignment>,
    }

    /// An element of `SyncGroupRequest.assignments`.
    pub struct SyncGroupRequestAssignment {
        /// The ID of the member to assign.
        member_id: String,
        /// The member assignment.
        assignment: Bytes,
    }

    /// What the member is to do.
    pub struct SyncGroupResponse: versions 0..=5, flexible 4 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32 [1..],
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
        /// The group protocol type.
        protocol_type: Option<String> [5..],
        /// The group protocol name.
        protocol_name: Option<String> [5..],
        /// The member assignment.
        assignment: Bytes,
    }
}
