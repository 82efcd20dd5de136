//! AlterUserScramCredentials (key 51): sets and removes passwords in the metadata log. The client hashes them; only what checks a proof is
//! kept.

use std::collections::BTreeMap;

use log_protocol::ErrorCode;
use log_protocol::api::alter_user_scram_credentials::{
    AlterScramResult, AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
    ScramUpsertion,
};
use tracing::info;

use super::blocking;
use crate::authorize::{Resource, require};
use crate::security::acl::Operation;
use crate::security::scram::{ITERATIONS_RANGE, ScramCredential, ScramMechanism};
use crate::security::{SecurityImage, SecurityRecord, USERS_MAX};
use crate::services::Context;

/// Longest name of a user.
const NAME_BYTES_MAX: usize = 1000;

/// Longest salt that a client may send.
const SALT_BYTES_MAX: usize = 1000;

type Refused = (ErrorCode, String);

/// A change of one user.
enum Change {
    Remove(ScramMechanism),
    Set(ScramMechanism, ScramCredential),
}

pub(crate) async fn handle(
    ctx: &Context,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let changes = match require(ctx, Operation::Alter, Resource::Cluster) {
        Ok(()) => read(request),
        Err(error) => refused_for_all(&request, error),
    };
    let topics = ctx.services.topics.clone();
    let by = ctx.principal.to_string();
    let names: Vec<String> = changes.keys().cloned().collect();
    let changed = blocking(move || {
        topics.change_security(|image| {
            let mut records = Vec::new();
            let mut outcomes = BTreeMap::new();
            let mut users = image.passwords().len();
            for (user, changes) in changes {
                let outcome = changes.and_then(|changes| decide(image, &user, changes, &mut users));
                let outcome = outcome.map(|new| {
                    info!(user, by, "password changed");
                    records.extend(new);
                });
                outcomes.insert(user, outcome);
            }
            (records, outcomes)
        })
    });
    let outcomes = match changed.await {
        Ok(Ok(outcomes)) => outcomes,
        Ok(Err(error)) => all(names, &(error.code(), error.to_string())),
        Err(error) => all(names, &(error, error.message().to_owned())),
    };
    let results = outcomes.into_iter().map(|(user, outcome)| match outcome {
        Ok(()) => AlterScramResult {
            user,
            ..AlterScramResult::default()
        },
        Err((error_code, message)) => AlterScramResult {
            user,
            error_code,
            error_message: Some(message),
        },
    });
    AlterUserScramCredentialsResponse {
        results: results.collect(),
        ..AlterUserScramCredentialsResponse::default()
    }
}

fn all(names: Vec<String>, refused: &Refused) -> BTreeMap<String, Result<(), Refused>> {
    let names = names.into_iter();
    names.map(|name| (name, Err(refused.clone()))).collect()
}

type Changes = BTreeMap<String, Result<Vec<Change>, Refused>>;

fn refused_for_all(request: &AlterUserScramCredentialsRequest, error: ErrorCode) -> Changes {
    let deleted = request.deletions.iter().map(|one| &one.name);
    let set = request.upsertions.iter().map(|one| &one.name);
    deleted
        .chain(set)
        .map(|name| (name.clone(), Err((error, error.message().to_owned()))))
        .collect()
}

/// The changes by user. A user of whom anything is wrong is refused as a whole.
fn read(request: AlterUserScramCredentialsRequest) -> Changes {
    let mut changes: Changes = BTreeMap::new();
    let mut add = |name: String, change: Result<Change, Refused>| {
        let of_user = changes
            .entry(name.clone())
            .or_insert_with(|| Ok(Vec::new()));
        let change = match of_user {
            Ok(others) => change.and_then(|change| {
                let is_again = |other: &Change| mechanism_of(other) == mechanism_of(&change);
                if others.iter().any(is_again) {
                    let message = format!("user {name} is changed twice in the same way");
                    return Err((ErrorCode::DuplicateResource, message));
                }
                others.push(change);
                Ok(())
            }),
            Err(_) => Ok(()),
        };
        if let Err(refused) = change {
            *of_user = Err(refused);
        }
    };
    for one in request.deletions {
        let mechanism = mechanism(one.mechanism).and_then(|mechanism| {
            check_name(&one.name)?;
            Ok(Change::Remove(mechanism))
        });
        add(one.name, mechanism);
    }
    for one in request.upsertions {
        let set = set(&one);
        add(one.name, set);
    }
    changes
}

fn mechanism_of(change: &Change) -> ScramMechanism {
    match change {
        Change::Remove(mechanism) | Change::Set(mechanism, _) => *mechanism,
    }
}

fn mechanism(code: i8) -> Result<ScramMechanism, Refused> {
    ScramMechanism::from_code(code).ok_or_else(|| {
        let message = format!("mechanism {code} is not known: 1 is SCRAM-SHA-256, 2 SCRAM-SHA-512");
        (ErrorCode::UnsupportedSaslMechanism, message)
    })
}

fn check_name(name: &str) -> Result<(), Refused> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let message = format!("the name of a user has 1 to {NAME_BYTES_MAX} bytes");
        return Err((ErrorCode::UnacceptableCredential, message));
    }
    Ok(())
}

fn set(upsertion: &ScramUpsertion) -> Result<Change, Refused> {
    let mechanism = mechanism(upsertion.mechanism)?;
    check_name(&upsertion.name)?;
    let unacceptable = |message: String| Err((ErrorCode::UnacceptableCredential, message));
    let iterations = u32::try_from(upsertion.iterations).unwrap_or(0);
    if !ITERATIONS_RANGE.contains(&iterations) {
        let (least, most) = (ITERATIONS_RANGE.start(), ITERATIONS_RANGE.end());
        return unacceptable(format!(
            "a password is hashed in {least} to {most} rounds, not {}",
            upsertion.iterations
        ));
    }
    if upsertion.salt.is_empty() || upsertion.salt.len() > SALT_BYTES_MAX {
        return unacceptable(format!("a salt has 1 to {SALT_BYTES_MAX} bytes"));
    }
    if upsertion.salted_password.len() != mechanism.hash_bytes() {
        return unacceptable(format!(
            "a password that was hashed for {} has {} bytes, not {}",
            mechanism.name(),
            mechanism.hash_bytes(),
            upsertion.salted_password.len()
        ));
    }
    let salt = upsertion.salt.to_vec();
    let salted = &upsertion.salted_password;
    let credential = ScramCredential::of_salted(mechanism, salted, salt, iterations);
    Ok(Change::Set(mechanism, credential))
}

fn decide(
    image: &SecurityImage,
    user: &str,
    changes: Vec<Change>,
    users: &mut usize,
) -> Result<Vec<SecurityRecord>, Refused> {
    let known = image.passwords().get(user);
    let mut records = Vec::with_capacity(changes.len());
    for change in changes {
        let user = user.to_owned();
        records.push(match change {
            Change::Remove(mechanism) => {
                if known.is_none_or(|known| !known.contains_key(&mechanism)) {
                    let name = mechanism.name();
                    let message = format!("user {user} has no {name} password in the metadata log");
                    return Err((ErrorCode::ResourceNotFound, message));
                }
                SecurityRecord::PasswordRemoved { user, mechanism }
            }
            Change::Set(mechanism, credential) => {
                if known.is_none() && *users >= USERS_MAX {
                    let message = format!("there are {USERS_MAX} users; remove some first");
                    return Err((ErrorCode::UnacceptableCredential, message));
                }
                SecurityRecord::PasswordSet {
                    user,
                    mechanism,
                    credential,
                }
            }
        });
    }
    *users += usize::from(known.is_none());
    Ok(records)
}
