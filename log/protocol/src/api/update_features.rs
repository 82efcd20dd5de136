//! UpdateFeatures: changes what a cluster has agreed to speak (key 57, versions 0–2, flexible; KIP-584).
//!
//! - 1: the kind of change, and a trial run (KIP-778). - 2: one error for all.

use crate::error_code::ErrorCode;

message! {
    /// Asks for other versions of features.
    pub struct UpdateFeaturesRequest: versions 0..=2, flexible 0 {
        /// Ms that it may take.
        timeout_ms: i32 = 60_000,
        /// The features.
        feature_updates: Vec<FeatureUpdate>,
        /// Whether it is only to be looked at.
        validate_only: bool [1..],
    }

    /// An element of `UpdateFeaturesRequest.feature_updates`.
    pub struct FeatureUpdate {
        /// Its name.
        feature: String,
        /// Its version from now on.
        max_version_level: i16,
        /// Whether it may be an earlier one.
        allow_downgrade: bool [0..=0],
        /// 1 = a later version, 2 = an earlier one if nothing is lost by it, 3 = an earlier one.
        upgrade_type: i8 [1..] = 1,
    }

    /// What was changed.
    pub struct UpdateFeaturesResponse: versions 0..=2, flexible 0 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// Why nothing was.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
        /// By feature.
        results: Vec<UpdatableFeatureResult> [0..=1],
    }

    /// An element of `UpdateFeaturesResponse.results`.
    pub struct UpdatableFeatureResult {
        /// Its name.
        feature: String,
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
    }
}
