//! DescribeUserScramCredentials: who has a SCRAM password (key 50, version 0, flexible; KIP-554).

use crate::error_code::ErrorCode;

message! {
    /// Asks for users.
    pub struct DescribeUserScramCredentialsRequest: versions 0..=0, flexible 0 {
        /// Their names; null is all of them.
        users: Option<Vec<ScramUserName>>,
    }

    /// An element of `DescribeUserScramCredentialsRequest.users`.
    pub struct ScramUserName {
        /// The name.
        name: String,
    }

    /// The users.
    pub struct DescribeUserScramCredentialsResponse: versions 0..=0, flexible 0 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
        /// One a user.
        results: Vec<ScramUser>,
    }

    /// An element of `DescribeUserScramCredentialsResponse.results`.
    pub struct ScramUser {
        /// The name.
        user: String,
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
        /// What the user has.
        credential_infos: Vec<ScramCredentialInfo>,
    }

    /// An element of `ScramUser.credential_infos`.
    pub struct ScramCredentialInfo {
        /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
        mechanism: i8,
        /// Rounds of hashing.
        iterations: i32,
    }
}
