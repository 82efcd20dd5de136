//! UnregisterBroker: takes a broker that is gone for good out of the cluster (key 64, version 0, flexible; KIP-631).

use crate::error_code::ErrorCode;

message! {
    /// Names a broker.
    pub struct UnregisterBrokerRequest: versions 0..=0, flexible 0 {
        /// The broker.
        broker_id: i32,
    }

    /// Whether it is out.
    pub struct UnregisterBrokerResponse: versions 0..=0, flexible 0 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
    }
}
