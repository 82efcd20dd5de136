//! DescribeConfigs: read configurations (key 32, versions 1–4, flexible from 4).
//!
//! - 3: type and documentation of a key (KIP-569).

use crate::error_code::ErrorCode;

message! {
    /// Asks for the configuration of resources: 2 topics, 4 brokers, 8 broker loggers.
    pub struct DescribeConfigsRequest: versions 1..=4, flexible 4 {
        /// The resources whose configurations we want to describe.
        resources: Vec<DescribeConfigsResource>,
        /// True if we should include all synonyms.
        include_synonyms: bool,
        /// True if we should include configuration documentation.
        include_documentation: bool [3..],
    }

    /// An element of `DescribeConfigsRequest.resources`.
    pub struct DescribeConfigsResource {
        /// The resource type.
        resource_type: i8,
        /// The resource name.
        resource_name: String,
        /// The configuration keys to list, or null to list all configuration keys.
        configuration_keys: Option<Vec<String>>,
    }

    /// The configurations, with sources and synonyms.
    pub struct DescribeConfigsResponse: versions 1..=4, flexible 4 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The results for each resource.
        results: Vec<DescribeConfigsResult>,
    }

    /// An element of `DescribeConfigsResponse.results`.
    pub struct DescribeConfigsResult {
        /// The error code, or 0 if we were able to successfully describe the configurations.
        error_code: ErrorCode,
        /// The error message, or null if we were able to successfully describe the configurations.
        error_message: Option<String>,
        /// The resource type.
        resource_type: i8,
        /// The resource name.
        resource_name: String,
        /// Each listed configuration.
        configs: Vec<DescribeConfigsResourceResult>,
    }

    /// An element of `DescribeConfigsResult.configs`.
    pub struct DescribeConfigsResourceResult {
        /// The configuration name.
        name: String,
        /// The configuration value.
        value: Option<String>,
        /// True if the configuration is read-only.
        read_only: bool,
        /// The configuration source.
        config_source: i8 = -1,
        /// True if this configuration is sensitive.
        is_sensitive: bool,
        /// The synonyms for this configuration key.
        synonyms: Vec<DescribeConfigsSynonym>,
        /// The configuration data type. Type can be one of the following values - BOOLEAN, STRING, INT, SHORT, LONG, DOUBLE, LIST, CLASS, PASSWORD.
        config_type: i8 [3..],
        /// The configuration documentation.
        documentation: Option<String> [3..],
    }

    /// An element of `DescribeConfigsResourceResult.synonyms`.
    pub struct DescribeConfigsSynonym {
        /// The synonym name.
        name: String,
        /// The synonym value.
        value: Option<String>,
        /// The synonym source.
        source: i8,
    }
}
