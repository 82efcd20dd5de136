//! CreateAcls: add rules (key 30, versions 1–3, flexible from 2).

use crate::error_code::ErrorCode;

message! {
    /// Adds rules.
    pub struct CreateAclsRequest: versions 1..=3, flexible 2 {
        /// The rules.
        creations: Vec<AclCreation>,
    }

    /// An element of `CreateAclsRequest.creations`.
    pub struct AclCreation {
        /// Kind of the resource: 2 topic, 3 group, 4 cluster, 5 transactional id, 7 user.
        resource_type: i8,
        /// Its name.
        resource_name: String,
        /// Whether the name is taken as it is (3) or as the beginning of names (4).
        resource_pattern_type: i8 = 3,
        /// Whom it is about, as `User:name`.
        principal: String,
        /// Where they connect from, or `*`.
        host: String,
        /// The operation's number.
        operation: i8,
        /// 2 denies, 3 allows.
        permission_type: i8,
    }

    /// What became of each.
    pub struct CreateAclsResponse: versions 1..=3, flexible 2 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// In the order of the request.
        results: Vec<AclCreationResult>,
    }

    /// An element of `CreateAclsResponse.results`.
    pub struct AclCreationResult {
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
    }
}
