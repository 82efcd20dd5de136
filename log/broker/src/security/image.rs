//! What the metadata log knows of security: passwords, rules, quotas; and the changes to it.
//!
//! A change is a record in the metadata log, JSON as all of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::acl::{Acl, Rules};
use super::quota::{QuotaEntity, QuotaKey, Quotas, Rate};
use super::scram::{ScramCredential, ScramMechanism, Shape};

/// Rules that there may be.
pub(crate) const ACLS_MAX: usize = 100_000;

/// Users with a password of their own that there may be.
pub(crate) const USERS_MAX: usize = 10_000;

/// Quotas that there may be.
pub(crate) const QUOTAS_MAX: usize = 10_000;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum SecurityRecord {
    /// A user has this password now.
    PasswordSet {
        user: String,
        mechanism: ScramMechanism,
        credential: ScramCredential,
    },
    /// A user has no password of this kind any more.
    PasswordRemoved {
        user: String,
        mechanism: ScramMechanism,
    },
    /// These rules are there now.
    AclsAdded { acls: Vec<Acl> },
    /// These rules are there no more.
    AclsRemoved { acls: Vec<Acl> },
    /// An entity has these limits now, and no others.
    QuotasSet {
        entity: QuotaEntity,
        limits: BTreeMap<QuotaKey, Rate>,
    },
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SecurityImage {
    passwords: BTreeMap<String, BTreeMap<ScramMechanism, ScramCredential>>,
    acls: BTreeSet<Acl>,
    quotas: Vec<(QuotaEntity, BTreeMap<QuotaKey, Rate>)>,
}

impl SecurityImage {
    /// Whether nobody ever set anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.passwords.is_empty() && self.acls.is_empty() && self.quotas.is_empty()
    }

    /// Applies a change.
    pub(crate) fn apply(&mut self, record: &SecurityRecord) {
        match record {
            SecurityRecord::PasswordSet {
                user,
                mechanism,
                credential,
            } => {
                let of_user = self.passwords.entry(user.clone()).or_default();
                of_user.insert(*mechanism, credential.clone());
            }
            SecurityRecord::PasswordRemoved { user, mechanism } => {
                if let Some(of_user) = self.passwords.get_mut(user) {
                    of_user.remove(mechanism);
                    if of_user.is_empty() {
                        self.passwords.remove(user);
                    }
                }
            }
            SecurityRecord::AclsAdded { acls } => self.acls.extend(acls.iter().cloned()),
            SecurityRecord::AclsRemoved { acls } => {
                for acl in acls {
                    self.acls.remove(acl);
                }
            }
            SecurityRecord::QuotasSet { entity, limits } => {
                self.quotas.retain(|(other, _)| other != entity);
                if !limits.is_empty() {
                    self.quotas.push((entity.clone(), limits.clone()));
                }
            }
        }
    }

    /// Users with passwords.
    pub(crate) fn passwords(&self) -> &BTreeMap<String, BTreeMap<ScramMechanism, ScramCredential>> {
        &self.passwords
    }

    /// The rules.
    pub(crate) fn acls(&self) -> &BTreeSet<Acl> {
        &self.acls
    }

    /// The limits, by entity.
    pub(crate) fn quotas(&self) -> &[(QuotaEntity, BTreeMap<QuotaKey, Rate>)] {
        &self.quotas
    }
}

/// The image as of one moment, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct SecurityView {
    pub(crate) image: SecurityImage,
    pub(crate) rules: Rules,
    pub(crate) quotas: Quotas,
    /// The shape that most passwords have, where there are any.
    shapes: BTreeMap<ScramMechanism, Shape>,
}

impl SecurityView {
    /// Of this image.
    pub(crate) fn of(image: SecurityImage) -> Self {
        let shape = |mechanism| {
            let of_users = image.passwords.values();
            let shapes = of_users.filter_map(|kinds| Some(kinds.get(&mechanism)?.shape()));
            (mechanism, Shape::most_common(shapes))
        };
        Self {
            rules: Rules::of(&image.acls),
            quotas: Quotas::of(&image.quotas),
            shapes: ScramMechanism::ALL.into_iter().map(shape).collect(),
            image,
        }
    }

    /// The shape that most passwords have.
    pub(crate) fn shape(&self, mechanism: ScramMechanism) -> Shape {
        self.shapes.get(&mechanism).copied().unwrap_or(Shape::OWN)
    }
}
