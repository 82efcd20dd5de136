//! DescribeGroups: a group's state and members (key 15, versions 0–6, flexible from 5).
//!
//! - 3: authorized operations (KIP-430).
//! - 4: static members (KIP-345).
//! - 6: GROUP_ID_NOT_FOUND with a message, where earlier versions describe a dead group (KIP-1043).

use bytes::Bytes;

use crate::error_code::ErrorCode;

message! {
    /// Asks for classic groups.
    pub struct DescribeGroupsRequest: versions 0..=6, flexible 5 {
        /// The names of the groups to describe.
        groups: Vec<String>,
        /// Whether to include authorized operations.
        include_authorized_operations: bool [3..],
    }

    /// Their states and members.
    pub struct DescribeGroupsResponse: versions 0..=6, flexible 5 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32 [1..],
        /// Each described group.
        groups: Vec<DescribedGroup>,
    }

    /// An element of `DescribeGroupsResponse.groups`.
    pub struct DescribedGroup {
        /// The describe error, or 0 if there was no error.
        error_code: ErrorCode,
        /// The describe error message, or null if there was no error.
        error_message: Option<String> [6..],
        /// The group ID string.
        group_id: String,
        /// The group state string, or the empty string.
        group_state: String,
        /// The group protocol type, or the empty string.
        protocol_type: String,
        /// The group protocol data, or the empty string.
        protocol_data: String,
        /// The group members.
        members: Vec<DescribedGroupMember>,
        /// 32-bit bitfield to represent authorized operations for this group.
        authorized_operations: i32 [3..] = i32::MIN,
    }

    /// An element of `DescribedGroup.members`.
    pub struct DescribedGroupMember {
        /// The member id.
        member_id: String,
        /// The unique identifier of the consumer instance provided by end user.
        group_instance_id: Option<String> [4..],
        /// The client ID used in the member's latest join group request.
        client_id: String,
        /// The client host.
        client_host: String,
        /// The metadata corresponding to the current group protocol in use.
        member_metadata: Bytes,
        /// The current assignment provided by the group leader.
        member_assignment: Bytes,
    }
}
