//! UpdateFeatures (key 57): the features of this broker have one version each, which cannot be changed.

use std::ops::RangeInclusive;

use log_protocol::ErrorCode;
use log_protocol::api::update_features::{
    FeatureUpdate, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use super::api_versions::FEATURES;
use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::services::Context;

/// The kinds of changes: to a later version, to an earlier one safely, to an earlier one.
const UPGRADE_TYPES: RangeInclusive<i8> = 1..=3;

/// From this version on there is one error for all.
const ONE_ERROR_FROM: i16 = 2;

pub(crate) fn handle(ctx: &Context, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    let allowed = require(ctx, Operation::Alter, Resource::Cluster);
    let allowed = allowed.map_err(|error| (error, error.message().to_owned()));
    let mut updates = request.feature_updates.iter();
    if let Err((error_code, message)) = allowed.and_then(|()| updates.try_for_each(check)) {
        return UpdateFeaturesResponse {
            error_code,
            error_message: Some(message),
            ..UpdateFeaturesResponse::default()
        };
    }
    let updates = request.feature_updates.into_iter();
    let results = updates.map(|update| UpdatableFeatureResult {
        feature: update.feature,
        ..UpdatableFeatureResult::default()
    });
    UpdateFeaturesResponse {
        results: if ctx.api_version < ONE_ERROR_FROM {
            results.collect()
        } else {
            Vec::new()
        },
        ..UpdateFeaturesResponse::default()
    }
}

/// Whether the feature has that version already.
fn check(update: &FeatureUpdate) -> Result<(), (ErrorCode, String)> {
    let FeatureUpdate {
        feature,
        max_version_level: wanted,
        upgrade_type,
        ..
    } = update;
    if !UPGRADE_TYPES.contains(upgrade_type) {
        let message = format!("{upgrade_type} is no kind of change: 1 to 3 are");
        return Err((ErrorCode::InvalidUpdateVersion, message));
    }
    let message = match FEATURES.iter().find(|(name, _)| name == feature) {
        Some((_, version)) if version == wanted => return Ok(()),
        Some((_, version)) => {
            format!("{feature} is {version} here and cannot be changed to {wanted}")
        }
        None => format!("there is no feature {feature} here"),
    };
    Err((ErrorCode::InvalidUpdateVersion, message))
}
