//! ApiVersions (key 18): what this broker speaks. Finalized features unlock behaviour in clients, so only what works is told.

use log_protocol::api::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use log_protocol::{ApiKey, ErrorCode};

use crate::services::Context;

/// KIP-890: producers raise their epoch with every transaction.
const TRANSACTION_VERSION: &str = "transaction.version";

/// What clients of this broker may count on, each in one version.
pub(crate) const FEATURES: &[(&str, i16)] = &[(TRANSACTION_VERSION, 2)];

/// From this version on clients say what software they are.
const SOFTWARE_FROM: i16 = 3;

pub(crate) fn handle(ctx: &Context, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let says = [
        &request.client_software_name,
        &request.client_software_version,
    ];
    if ctx.api_version >= SOFTWARE_FROM && !says.into_iter().all(|text| is_software(text)) {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest,
            ..ApiVersionsResponse::default()
        };
    }
    let api_keys = ApiKey::ALL
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
    // Clients of versions 0 to 3 take a minimum of 0 for an error (KAFKA-17011).
    let supported_features = if ctx.api_version >= 4 {
        let features = FEATURES.iter().map(|(name, version)| SupportedFeatureKey {
            name: (*name).to_owned(),
            min_version: 0,
            max_version: *version,
        });
        features.collect()
    } else {
        Vec::new()
    };
    ApiVersionsResponse {
        api_keys,
        supported_features,
        finalized_features_epoch: 0,
        finalized_features: FEATURES
            .iter()
            .map(|(name, version)| FinalizedFeatureKey {
                name: (*name).to_owned(),
                max_version_level: *version,
                min_version_level: *version,
            })
            .collect(),
        ..ApiVersionsResponse::default()
    }
}

/// Whether a name or a version of software is one (KIP-511): letters and digits, with dots and dashes between them.
fn is_software(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric();
    let ends = [text.bytes().next(), text.bytes().last()];
    ends.into_iter().all(|end| end.is_some_and(is_plain))
        && text
            .bytes()
            .all(|byte| is_plain(byte) || matches!(byte, b'.' | b'-'))
}
