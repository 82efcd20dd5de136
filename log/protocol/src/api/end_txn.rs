//! EndTxn: commit or abort a transaction (key 26, versions 0–5, flexible from 3).
//!
//! - 4: TRANSACTION_ABORTABLE may be answered (KIP-890).
//! - 5: the producer's epoch rises with each transaction, and comes back (KIP-890).

use crate::error_code::ErrorCode;

message! {
    /// Ends the transaction.
    pub struct EndTxnRequest: versions 0..=5, flexible 3 {
        /// The ID of the transaction to end.
        transactional_id: String,
        /// The producer ID.
        producer_id: i64,
        /// The current epoch associated with the producer.
        producer_epoch: i16,
        /// True if the transaction was committed, false if it was aborted.
        committed: bool,
    }

    /// Whether its end is decided.
    pub struct EndTxnResponse: versions 0..=5, flexible 3 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
        /// The producer ID.
        producer_id: i64 [5..] = -1,
        /// The current epoch associated with the producer.
        producer_epoch: i16 [5..] = -1,
    }
}
