//! AlterClientQuotas: set and remove quotas (key 49, versions 0–1, flexible from 1; KIP-546).

use crate::error_code::ErrorCode;

message! {
    /// Changes quotas.
    pub struct AlterClientQuotasRequest: versions 0..=1, flexible 1 {
        /// The changes, by entity.
        entries: Vec<AlterQuotaEntry>,
        /// Only look whether they could be made.
        validate_only: bool,
    }

    /// An element of `AlterClientQuotasRequest.entries`.
    pub struct AlterQuotaEntry {
        /// Whom it is about.
        entity: Vec<AlterQuotaEntity>,
        /// The changes.
        ops: Vec<AlterQuotaOp>,
    }

    /// An element of `AlterQuotaEntry.entity`.
    pub struct AlterQuotaEntity {
        /// `user`, `client-id` or `ip`.
        entity_type: String,
        /// The name; null is the default.
        entity_name: Option<String>,
    }

    /// An element of `AlterQuotaEntry.ops`.
    pub struct AlterQuotaOp {
        /// Which limit.
        key: String,
        /// What it becomes.
        value: f64,
        /// Whether it is taken away instead.
        remove: bool,
    }

    /// What became of each.
    pub struct AlterClientQuotasResponse: versions 0..=1, flexible 1 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// In the order of the request.
        entries: Vec<AlterQuotaResult>,
    }

    /// An element of `AlterClientQuotasResponse.entries`.
    pub struct AlterQuotaResult {
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
        /// Whom it is about.
        entity: Vec<AlterQuotaEntity>,
    }
}
