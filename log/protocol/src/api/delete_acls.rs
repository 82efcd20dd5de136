//! DeleteAcls: remove rules (key 31, versions 1–3, flexible from 2).

use crate::error_code::ErrorCode;

message! {
    /// Removes the rules that match.
    pub struct DeleteAclsRequest: versions 1..=3, flexible 2 {
        /// What to remove.
        filters: Vec<DeleteAclsFilter>,
    }

    /// An element of `DeleteAclsRequest.filters`.
    pub struct DeleteAclsFilter {
        /// Kind of the resource; 1 is any.
        resource_type_filter: i8,
        /// Its name; null is any.
        resource_name_filter: Option<String>,
        /// How names are taken: 1 any way, 2 all that match the name, 3 literally, 4 as a beginning.
        pattern_type_filter: i8 = 3,
        /// Whom it is about; null is anyone.
        principal_filter: Option<String>,
        /// Where they connect from; null is anywhere.
        host_filter: Option<String>,
        /// The operation; 1 is any.
        operation: i8,
        /// Whether it denies or allows; 1 is either.
        permission_type: i8,
    }

    /// What was removed.
    pub struct DeleteAclsResponse: versions 1..=3, flexible 2 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// In the order of the request.
        filter_results: Vec<DeleteAclsFilterResult>,
    }

    /// An element of `DeleteAclsResponse.filter_results`.
    pub struct DeleteAclsFilterResult {
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
        /// The rules that were removed.
        matching_acls: Vec<DeleteAclsMatchingAcl>,
    }

    /// An element of `DeleteAclsFilterResult.matching_acls`.
    pub struct DeleteAclsMatchingAcl {
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// The same in words.
        error_message: Option<String>,
        /// Kind of the resource: 2 topic, 3 group, 4 cluster, 5 transactional id, 7 user.
        resource_type: i8,
        /// Its name.
        resource_name: String,
        /// Whether the name is taken as it is (3) or as the beginning of names (4).
        pattern_type: i8 = 3,
        /// Whom it is about, as `User:name`.
        principal: String,
        /// Where they connect from, or `*`.
        host: String,
        /// The operation's number.
        operation: i8,
        /// 2 denies, 3 allows.
        permission_type: i8,
    }
}
