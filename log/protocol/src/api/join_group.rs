//! JoinGroup: enter a round of the classic group protocol (key 11, versions 0–9, flexible from 6).
//!
//! - 1: a rebalance timeout of its own.
//! - 4: a first join is answered with MEMBER_ID_REQUIRED and the id to join with (KIP-394).
//! - 5: static members (KIP-345).
//! - 7: the protocol's type comes back (KIP-559).
//! - 8: a reason (KIP-800).
//! - 9: whether the leader may leave the assignment alone (KIP-814).

use bytes::Bytes;

use crate::error_code::ErrorCode;

message! {
    /// Enters the group, or a new generation of it.
    pub struct JoinGroupRequest: versions 0..=9, flexible 6 {
        /// The group identifier.
        group_id: String,
        /// The coordinator considers the consumer dead if it receives no heartbeat after this timeout in milliseconds.
        session_timeout_ms: i32,
        /// The maximum time in milliseconds that the coordinator will wait for each member to rejoin when rebalancing the group.
        rebalance_timeout_ms: i32 [1..] = -1,
        /// The member id assigned by the group coordinator.
        member_id: String,
        /// The unique identifier of the consumer instance provided by end user.
        group_instance_id: Option<String> [5..],
        /// The unique name for the class of protocols implemented by the group we want to join.
        protocol_type: String,
        /// The list of protocols that the member supports.
        protocols: Vec<JoinGroupRequestProtocol>,
        /// The reason why the member (re-)joins the group.
        reason: Option<String> [8..],
    }

    /// An element of `JoinGroupRequest.protocols`.
    pub struct JoinGroupRequestProtocol {
        /// The protocol name.
        name: String,
        /// The protocol metadata.
        metadata: Bytes,
    }

    /// The generation; its leader also gets the members and what they can do.
    pub struct JoinGroupResponse: versions 0..=9, flexible 6 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32 [2..],
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
        /// The generation ID of the group.
        generation_id: i32 = -1,
        /// The group protocol name.
        protocol_type: Option<String> [7..],
        /// The group protocol selected by the coordinator.
        protocol_name: Option<String>,
        /// The leader of the group.
        leader: String,
        /// True if the leader must skip running the assignment.
        skip_assignment: bool [9..],
        /// The member ID assigned by the group coordinator.
        member_id: String,
        /// The group members.
        members: Vec<JoinGroupResponseMember>,
    }

    /// An element of `JoinGroupResponse.members`.
    pub struct JoinGroupResponseMember {
        /// The group member ID.
        member_id: String,
        /// The unique identifier of the consumer instance provided by end user.
        group_instance_id: Option<String> [5..],
        /// The group member metadata.
        metadata: Bytes,
    }
}
