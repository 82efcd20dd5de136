//! LeaveGroup: leave a group (key 13, versions 0–5, flexible from 4).
//!
//! - 3: several members in one request, by instance id too (KIP-345).
//! - 5: a reason (KIP-800).

use crate::error_code::ErrorCode;

message! {
    /// Takes members out of the group.
    pub struct LeaveGroupRequest: versions 0..=5, flexible 4 {
        /// The ID of the group to leave.
        group_id: String,
        /// The member ID to remove from the group.
        member_id: String [..=2],
        /// List of leaving member identities.
        members: Vec<MemberIdentity> [3..],
    }

    /// An element of `LeaveGroupRequest.members`.
    pub struct MemberIdentity {
        /// The member ID to remove from the group.
        member_id: String,
        /// The group instance ID to remove from the group.
        group_instance_id: Option<String>,
        /// The reason why the member left the group.
        reason: Option<String> [5..],
    }

    /// Whether they left.
    pub struct LeaveGroupResponse: versions 0..=5, flexible 4 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32 [1..],
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
        /// List of leaving member responses.
        members: Vec<MemberResponse> [3..],
    }

    /// An element of `LeaveGroupResponse.members`.
    pub struct MemberResponse {
        /// The member ID to remove from the group.
        member_id: String,
        /// The group instance ID to remove from the group.
        group_instance_id: Option<String>,
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
    }
}
