//! SaslAuthenticate: one token of a mechanism (key 36, versions 0–2, flexible from 2; KIP-152).
//!
//! - 1: how long the authentication holds (KIP-368).

use bytes::Bytes;

use crate::error_code::ErrorCode;

message! {
    /// The client's next token.
    pub struct SaslAuthenticateRequest: versions 0..=2, flexible 2 {
        /// As the mechanism has it.
        auth_bytes: Bytes,
    }

    /// The broker's next token.
    pub struct SaslAuthenticateResponse: versions 0..=2, flexible 2 {
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
        /// As the mechanism has it.
        auth_bytes: Bytes,
        /// Ms until the client has to authenticate again; 0 is never.
        session_lifetime_ms: i64 [1..],
    }
}
