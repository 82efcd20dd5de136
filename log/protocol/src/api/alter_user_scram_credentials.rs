//! AlterUserScramCredentials: set and remove SCRAM passwords (key 51, version 0, flexible; KIP-554).

use bytes::Bytes;

use crate::error_code::ErrorCode;

message! {
    /// Changes users.
    pub struct AlterUserScramCredentialsRequest: versions 0..=0, flexible 0 {
        /// What goes.
        deletions: Vec<ScramDeletion>,
        /// What comes.
        upsertions: Vec<ScramUpsertion>,
    }

    /// An element of `AlterUserScramCredentialsRequest.deletions`.
    pub struct ScramDeletion {
        /// The user.
        name: String,
        /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
        mechanism: i8,
    }

    /// An element of `AlterUserScramCredentialsRequest.upsertions`.
    pub struct ScramUpsertion {
        /// The user.
        name: String,
        /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
        mechanism: i8,
        /// Rounds of hashing.
        iterations: i32,
        /// Random bytes.
        salt: Bytes,
        /// The password, hashed with them.
        salted_password: Bytes,
    }

    /// What became of each.
    pub struct AlterUserScramCredentialsResponse: versions 0..=0, flexible 0 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// One a user.
        results: Vec<AlterScramResult>,
    }

    /// An element of `AlterUserScramCredentialsResponse.results`.
    pub struct AlterScramResult {
        /// The user.
        user: String,
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
    }
}
