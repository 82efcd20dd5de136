//! IncrementalAlterConfigs: change single keys of configurations (key 44, versions 0–1, flexible from 1).

use crate::error_code::ErrorCode;

message! {
    /// Changes keys: 0 set, 1 delete, 2 append, 3 subtract (KIP-339).
    pub struct IncrementalAlterConfigsRequest: versions 0..=1, flexible 1 {
        /// The incremental updates for each resource.
        resources: Vec<AlterConfigsResource>,
        /// True if we should validate the request, but not change the configurations.
        validate_only: bool,
    }

    /// An element of `IncrementalAlterConfigsRequest.resources`.
    pub struct AlterConfigsResource {
        /// The resource type.
        resource_type: i8,
        /// The resource name.
        resource_name: String,
        /// The configurations.
        configs: Vec<AlterableConfig>,
    }

    /// An element of `AlterConfigsResource.configs`.
    pub struct AlterableConfig {
        /// The configuration key name.
        name: String,
        /// The type (Set, Delete, Append, Subtract) of operation.
        config_operation: i8,
        /// The value to set for the configuration key.
        value: Option<String>,
    }

    /// What became of each resource.
    pub struct IncrementalAlterConfigsResponse: versions 0..=1, flexible 1 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The responses for each resource.
        responses: Vec<AlterConfigsResourceResponse>,
    }

    /// An element of `IncrementalAlterConfigsResponse.responses`.
    pub struct AlterConfigsResourceResponse {
        /// The resource error code.
        error_code: ErrorCode,
        /// The resource error message, or null if there was no error.
        error_message: Option<String>,
        /// The resource type.
        resource_type: i8,
        /// The resource name.
        resource_name: String,
    }
}
