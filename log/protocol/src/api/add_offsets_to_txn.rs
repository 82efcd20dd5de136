//! AddOffsetsToTxn: take a group's offsets into a transaction (key 25, versions 0–4, flexible from 3).
//!
//! - 4: TRANSACTION_ABORTABLE may be answered (KIP-890).

use crate::error_code::ErrorCode;

message! {
    /// Takes the offsets of a group into a transaction before they are committed in it.
    pub struct AddOffsetsToTxnRequest: versions 0..=4, flexible 3 {
        /// The transactional id corresponding to the transaction.
        transactional_id: String,
        /// Current producer id in use by the transactional id.
        producer_id: i64,
        /// Current epoch associated with the producer id.
        producer_epoch: i16,
        /// The unique group identifier.
        group_id: String,
    }

    /// Whether they belong to it now.
    pub struct AddOffsetsToTxnResponse: versions 0..=4, flexible 3 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The response error code, or 0 if there was no error.
        error_code: ErrorCode,
    }
}
