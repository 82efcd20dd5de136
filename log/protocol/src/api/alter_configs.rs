//! AlterConfigs: replace configurations (key 33, versions 0–2, flexible from 2).

use crate::error_code::ErrorCode;

message! {
    /// Replaces the whole configuration of resources; IncrementalAlterConfigs changes single keys.
    pub struct AlterConfigsRequest: versions 0..=2, flexible 2 {
        /// The updates for each resource.
        resources: Vec<AlterConfigsResource>,
        /// True if we should validate the request, but not change the configurations.
        validate_only: bool,
    }

    /// An element of `AlterConfigsRequest.resources`.
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
        /// The value to set for the configuration key.
        value: Option<String>,
    }

    /// What became of each resource.
    pub struct AlterConfigsResponse: versions 0..=2, flexible 2 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The responses for each resource.
        responses: Vec<AlterConfigsResourceResponse>,
    }

    /// An element of `AlterConfigsResponse.responses`.
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
