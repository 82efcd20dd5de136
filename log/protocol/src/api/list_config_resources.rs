//! ListConfigResources: what has configs (key 74, versions 0–1, flexible; KIP-714, KIP-1142).
//!
//! - 0: subscriptions of client metrics only. - 1: every kind.

use crate::error_code::ErrorCode;

message! {
    /// Asks for resources.
    pub struct ListConfigResourcesRequest: versions 0..=1, flexible 0 {
        /// Only of these kinds; empty is any.
        resource_types: Vec<i8> [1..],
    }

    /// The resources.
    pub struct ListConfigResourcesResponse: versions 0..=1, flexible 0 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// One a resource.
        config_resources: Vec<ConfigResource>,
    }

    /// An element of `ListConfigResourcesResponse.config_resources`.
    pub struct ConfigResource {
        /// Its name.
        resource_name: String,
        /// Its kind.
        resource_type: i8 [1..] = 16,
    }
}
