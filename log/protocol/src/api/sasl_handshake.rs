//! SaslHandshake: agree on a mechanism (key 17, versions 0–1).
//!
//! - 1: tokens travel in SaslAuthenticate; before that as bare frames (KIP-152).

use crate::error_code::ErrorCode;

message! {
    /// Asks for a mechanism.
    pub struct SaslHandshakeRequest: versions 0..=1, flexible 2 {
        /// The mechanism's name.
        mechanism: String,
    }

    /// Whether it is offered.
    pub struct SaslHandshakeResponse: versions 0..=1, flexible 2 {
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// What is offered.
        mechanisms: Vec<String>,
    }
}
