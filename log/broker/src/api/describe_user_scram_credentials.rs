//! DescribeUserScramCredentials (key 50): who has a password in the metadata log, and with how many rounds. Those of the configuration are
//! not told.

use std::collections::HashSet;

use log_protocol::ErrorCode;
use log_protocol::api::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse, ScramCredentialInfo,
    ScramUser,
};

use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::services::Context;

pub(crate) fn handle(
    ctx: &Context,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    if let Err(error_code) = require(ctx, Operation::Describe, Resource::Cluster) {
        return DescribeUserScramCredentialsResponse {
            error_code,
            error_message: Some(error_code.message().to_owned()),
            ..DescribeUserScramCredentialsResponse::default()
        };
    }
    let security = ctx.services.topics.security();
    let passwords = security.image.passwords();
    let names: Vec<String> = match request.users {
        Some(asked) if !asked.is_empty() => {
            let mut named = HashSet::new();
            let names = asked.into_iter().map(|one| one.name);
            names.filter(|name| named.insert(name.clone())).collect()
        }
        _ => passwords.keys().cloned().collect(),
    };
    let results = names.into_iter().map(|user| match passwords.get(&user) {
        Some(credentials) => ScramUser {
            user,
            credential_infos: credentials
                .iter()
                .map(|(mechanism, credential)| ScramCredentialInfo {
                    mechanism: mechanism.code(),
                    iterations: i32::try_from(credential.iterations()).unwrap_or(i32::MAX),
                })
                .collect(),
            ..ScramUser::default()
        },
        None => ScramUser {
            error_code: ErrorCode::ResourceNotFound,
            error_message: Some(format!("user {user} has no password in the metadata log")),
            user,
            ..ScramUser::default()
        },
    });
    DescribeUserScramCredentialsResponse {
        results: results.collect(),
        ..DescribeUserScramCredentialsResponse::default()
    }
}
