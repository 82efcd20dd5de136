//! DescribeClientQuotas: which quotas there are (key 48, versions 0–1, flexible from 1; KIP-546).

use crate::error_code::ErrorCode;

message! {
    /// Asks for the quotas that match.
    pub struct DescribeClientQuotasRequest: versions 0..=1, flexible 1 {
        /// What the entities must have.
        components: Vec<QuotaComponent>,
        /// Whether they may have nothing else.
        strict: bool,
    }

    /// An element of `DescribeClientQuotasRequest.components`.
    pub struct QuotaComponent {
        /// `user`, `client-id` or `ip`.
        entity_type: String,
        /// 0 this name, 1 the default, 2 any name.
        match_type: i8,
        /// The name, where one is asked for.
        match_name: Option<String>,
    }

    /// The quotas.
    pub struct DescribeClientQuotasResponse: versions 0..=1, flexible 1 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
        /// By entity; null on an error.
        entries: Option<Vec<QuotaEntry>>,
    }

    /// An element of `DescribeClientQuotasResponse.entries`.
    pub struct QuotaEntry {
        /// Whom it is about.
        entity: Vec<QuotaEntity>,
        /// The limits.
        values: Vec<QuotaValue>,
    }

    /// An element of `QuotaEntry.entity`.
    pub struct QuotaEntity {
        /// `user`, `client-id` or `ip`.
        entity_type: String,
        /// The name; null is the default.
        entity_name: Option<String>,
    }

    /// An element of `QuotaEntry.values`.
    pub struct QuotaValue {
        /// Which limit.
        key: String,
        /// What it is.
        value: f64,
    }
}
