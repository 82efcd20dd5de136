//! ApiVersions: which APIs a broker speaks (key 18, versions 0–4, flexible from 3).
//!
//! - 3: the client tells its name (KIP-511), features (KIP-584).
//! - 4: features whose lowest version is 0 are listed too (KIP-1022).
//!
//! The response's header is always version 0: a client that does not know the broker yet could not tell where it ends. A request of a version that does not exist
//! is answered with a body of version 0, UNSUPPORTED_VERSION, and the range of ApiVersions in it, so that the client can ask again.

use super::ApiKey;
use crate::error_code::ErrorCode;

message! {
    /// The first thing that a client asks.
    pub struct ApiVersionsRequest: versions 0..=4, flexible 3 {
        /// The name of the client.
        client_software_name: String [3..],
        /// The version of the client.
        client_software_version: String [3..],
    }

    /// The range of versions of each API, and the features of the cluster.
    pub struct ApiVersionsResponse: versions 0..=4, flexible 3 {
        /// The top-level error code.
        error_code: ErrorCode,
        /// The APIs supported by the broker.
        api_keys: Vec<ApiVersion>,
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32 [1..],
        /// Features supported by the broker. Note: in v0-v3, features with MinSupportedVersion = 0 are omitted.
        supported_features: Vec<SupportedFeatureKey> [3.., tag 0],
        /// The monotonically increasing epoch for the finalized features information.
        finalized_features_epoch: i64 [3.., tag 1] = -1,
        /// List of cluster-wide finalized features. The information is valid only if FinalizedFeaturesEpoch >= 0.
        finalized_features: Vec<FinalizedFeatureKey> [3.., tag 2],
        /// Set by a KRaft controller if the required configurations for ZK migration are present.
        zk_migration_ready: bool [3.., tag 3],
    }

    /// An element of `ApiVersionsResponse.api_keys`.
    pub struct ApiVersion {
        /// The API index.
        api_key: i16,
        /// The minimum supported version, inclusive.
        min_version: i16,
        /// The maximum supported version, inclusive.
        max_version: i16,
    }

    /// An element of `ApiVersionsResponse.supported_features`.
    pub struct SupportedFeatureKey {
        /// The name of the feature.
        name: String,
        /// The minimum supported version for the feature.
        min_version: i16,
        /// The maximum supported version for the feature.
        max_version: i16,
    }

    /// An element of `ApiVersionsResponse.finalized_features`.
    pub struct FinalizedFeatureKey {
        /// The name of the feature.
        name: String,
        /// The cluster-wide finalized max version level for the feature.
        max_version_level: i16,
        /// The cluster-wide finalized min version level for the feature.
        min_version_level: i16,
    }
}

impl ApiVersionsResponse {
    /// Success, with the ranges of `apis`.
    pub fn advertise(apis: &[ApiKey]) -> Self {
        let api_keys = apis
            .iter()
            .map(|api| {
                let (min_version, max_version) = api.advertised_versions();
                ApiVersion {
                    api_key: api.code(),
                    min_version,
                    max_version,
                }
            })
            .collect();
        Self {
            api_keys,
            ..Self::default()
        }
    }

    /// The answer to a version that does not exist: the range of ApiVersions itself, to ask again with. Encode it at version 0.
    pub fn unsupported_version() -> Self {
        Self {
            error_code: ErrorCode::UnsupportedVersion,
            ..Self::advertise(&[ApiKey::ApiVersions])
        }
    }
}
