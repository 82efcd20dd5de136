//! Heartbeat: stay in a group (key 12, versions 0–4, flexible from 4).
//!
//! - 3: static members (KIP-345).

use crate::error_code::ErrorCode;

message! {
    /// Says that a member lives.
    pub struct HeartbeatRequest: versions 0..=4, flexible 4 {
        /// The group id.
        group_id: String,
        /// The generation of the group.
        generation_id: i32,
        /// The member ID.
        member_id: String,
        /// The unique identifier of the consumer instance provided by end user.
        group_instance_id: Option<String> [3..],
    }

    /// Whether the member is to go on, or to join again.
    pub struct HeartbeatResponse: versions 0..=4, flexible 4 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32 [1..],
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
    }
}
