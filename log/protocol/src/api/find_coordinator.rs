//! FindCoordinator: who keeps a group or a transaction (key 10, versions 0–6, flexible from 3).
//!
//! - 1: the kind of key.
//! - 4: several keys in one request (KIP-699); the fields of a single key are gone.
//! - 5: TRANSACTION_ABORTABLE may be answered (KIP-890).
//! - 6: share groups (KIP-932).

use crate::error_code::ErrorCode;

message! {
    /// Asks which broker coordinates the keys, by their kind: 0 groups, 1 transactions, 2 share groups.
    pub struct FindCoordinatorRequest: versions 0..=6, flexible 3 {
        /// The coordinator key.
        key: String [..=3],
        /// The coordinator key type. (group, transaction, share).
        key_type: i8 [1..],
        /// The coordinator keys.
        coordinator_keys: Vec<String> [4..],
    }

    /// The brokers, one a key.
    pub struct FindCoordinatorResponse: versions 0..=6, flexible 3 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32 [1..],
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode [..=3],
        /// The error message, or null if there was no error.
        error_message: Option<String> [1..=3],
        /// The node id.
        node_id: i32 [..=3],
        /// The host name.
        host: String [..=3],
        /// The port.
        port: i32 [..=3],
        /// Each coordinator result in the response.
        coordinators: Vec<Coordinator> [4..],
    }

    /// An element of `FindCoordinatorResponse.coordinators`.
    pub struct Coordinator {
        /// The coordinator key.
        key: String,
        /// The node id.
        node_id: i32,
        /// The host name.
        host: String,
        /// The port.
        port: i32,
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
        /// The error message, or null if there was no error.
        error_message: Option<String>,
    }
}
