//! InitProducerId: become an idempotent or transactional producer (key 22, versions 0–5, flexible from 2).
//!
//! - 3: goes on with a known id and epoch (KIP-360).
//! - 4: PRODUCER_FENCED may be answered (KIP-588).
//! - 5: TRANSACTION_ABORTABLE may be answered (KIP-890).
//!
//! Kafka marks version 6 (two-phase commit, KIP-939) unstable; it is left out.

use crate::error_code::ErrorCode;

message! {
    /// Asks for a producer id, and fences earlier producers of the same transactional id.
    pub struct InitProducerIdRequest: versions 0..=5, flexible 2 {
        /// The transactional id, or null if the producer is not transactional.
        transactional_id: Option<String>,
        /// The time in ms to wait before aborting idle transactions sent by this producer. This is only relevant if a TransactionalId has been defined.
        transaction_timeout_ms: i32,
        /// The producer id. This is used to disambiguate requests if a transactional id is reused following its expiration.
        producer_id: i64 [3..] = -1,
        /// The producer's current epoch. This will be checked against the producer epoch on the broker, and the request will return an error if they do not match.
        producer_epoch: i16 [3..] = -1,
    }

    /// The id and epoch to write with.
    pub struct InitProducerIdResponse: versions 0..=5, flexible 2 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// The error code, or 0 if there was no error.
        error_code: ErrorCode,
        /// The current producer id.
        producer_id: i64 = -1,
        /// The current epoch associated with the producer id.
        producer_epoch: i16,
    }
}
