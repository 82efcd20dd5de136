//! DescribeCluster: the brokers of a cluster (key 60, versions 0–2, flexible from 0).
//!
//! - 1: brokers or controllers (KIP-919).
//! - 2: fenced brokers too (KIP-1073).

use crate::error_code::ErrorCode;

message! {
    /// Asks for brokers, or for controllers.
    pub struct DescribeClusterRequest: versions 0..=2, flexible 0 {
        /// Whether to include cluster authorized operations.
        include_cluster_authorized_operations: bool,
        /// The endpoint type to describe. 1=brokers, 2=controllers.
        endpoint_type: i8 [1..] = 1,
        /// Whether to include fenced brokers when listing brokers.
        include_fenced_brokers: bool [2..],
    }

    /// The cluster's id and its brokers.
    pub struct DescribeClusterResponse: versions 0..=2, flexible 0 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The top-level error code, or 0 if there was no error.
        error_code: ErrorCode,
        /// The top-level error message, or null if there was no error.
        error_message: Option<String>,
        /// The endpoint type that was described. 1=brokers, 2=controllers.
        endpoint_type: i8 [1..] = 1,
        /// The cluster ID that responding broker belongs to.
        cluster_id: String,
        /// The ID of the controller. When handled by a controller, returns the current voter leader ID.
        controller_id: i32 = -1,
        /// Each broker in the response.
        brokers: Vec<DescribeClusterBroker>,
        /// 32-bit bitfield to represent authorized operations for this cluster.
        cluster_authorized_operations: i32 = i32::MIN,
    }

    /// An element of `DescribeClusterResponse.brokers`.
    pub struct DescribeClusterBroker {
        /// The broker ID.
        broker_id: i32,
        /// The broker hostname.
        host: String,
        /// The broker port.
        port: i32,
        /// The rack of the broker, or null if it has not been assigned to a rack.
        rack: Option<String>,
        /// Whether the broker is fenced.
        is_fenced: bool [2..],
    }
}
