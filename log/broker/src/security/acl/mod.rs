//! Rules of access as Kafka has them: which principal may do what with which resource, from where. PURE.
//!
//! ```text
//!  super user? ─ yes ─▶ allowed
//!      │ no
//!  rules of the resource: its name, beginnings of its name, `*`
//!      ├─ one denies ─▶ denied
//!      ├─ one allows ─▶ allowed
//!      ├─ there are some, of others ─▶ denied
//!      └─ there are none ─▶ as `allow.everyone.if.no.acl.found` says
//! ```
//! To read, write, delete or alter a thing is to see it: those allow DESCRIBE, and ALTER_CONFIGS allows DESCRIBE_CONFIGS. A denial of
//! one denies only itself. Follows Kafka's StandardAuthorizer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::Principal;

/// Every resource of a kind, as a name.
pub(crate) const ANY_NAME: &str = "*";

/// The only resource of kind [`ResourceKind::Cluster`].
pub(crate) const CLUSTER_NAME: &str = "kafka-cluster";

/// Every principal, in a rule.
const ANY_PRINCIPAL: &str = "User:*";

/// Every host, in a rule.
const ANY_HOST: &str = "*";

/// What is guarded, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResourceKind {
    /// A topic.
    Topic = 2,
    /// A consumer group.
    Group = 3,
    /// All of it.
    Cluster = 4,
    /// The id of a transactional producer.
    TransactionalId = 5,
    /// A token that stands for a user; none exist here.
    DelegationToken = 6,
    /// A user whose tokens are managed.
    User = 7,
}

impl ResourceKind {
    const ALL: [Self; 6] = [
        Self::Topic,
        Self::Group,
        Self::Cluster,
        Self::TransactionalId,
        Self::DelegationToken,
        Self::User,
    ];

    /// By its number.
    pub(crate) fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| *one as i8 == code)
    }
}

/// How the name in a rule is meant, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pattern {
    /// As it is; `*` is every name.
    Literal = 3,
    /// Every name that begins so.
    Prefixed = 4,
}

impl Pattern {
    /// By its number.
    pub(crate) fn from_code(code: i8) -> Option<Self> {
        [Self::Literal, Self::Prefixed]
            .into_iter()
            .find(|one| *one as i8 == code)
    }
}

/// What is done, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// Each of the others.
    All = 2,
    /// Read records, be in a group.
    Read = 3,
    /// Write records.
    Write = 4,
    /// Make it.
    Create = 5,
    /// Remove it.
    Delete = 6,
    /// Change it.
    Alter = 7,
    /// See that it is there.
    Describe = 8,
    /// What brokers do among themselves.
    ClusterAction = 9,
    /// See its configs.
    DescribeConfigs = 10,
    /// Change its configs.
    AlterConfigs = 11,
    /// Produce with sequence numbers; any right to write will do.
    IdempotentWrite = 12,
    /// Make tokens for a user.
    CreateTokens = 13,
    /// See tokens of a user.
    DescribeTokens = 14,
    /// Take part in two-phase commit.
    TwoPhaseCommit = 15,
}

impl Operation {
    const ALL: [Self; 14] = [
        Self::All,
        Self::Read,
        Self::Write,
        Self::Create,
        Self::Delete,
        Self::Alter,
        Self::Describe,
        Self::ClusterAction,
        Self::DescribeConfigs,
        Self::AlterConfigs,
        Self::IdempotentWrite,
        Self::CreateTokens,
        Self::DescribeTokens,
        Self::TwoPhaseCommit,
    ];

    /// By its number.
    pub(crate) fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| *one as i8 == code)
    }

    /// Whether a rule that allows `self` allows `asked`.
    fn allows(self, asked: Self) -> bool {
        let implied = match asked {
            Self::Describe => matches!(self, Self::Read | Self::Write | Self::Delete | Self::Alter),
            Self::DescribeConfigs => self == Self::AlterConfigs,
            _ => false,
        };
        implied || self.denies(asked)
    }

    /// Whether a rule that denies `self` denies `asked`.
    fn denies(self, asked: Self) -> bool {
        self == asked || self == Self::All
    }
}

/// What a rule says, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Permission {
    /// It must not be.
    Deny = 2,
    /// It may be.
    Allow = 3,
}

impl Permission {
    /// By its number.
    pub(crate) fn from_code(code: i8) -> Option<Self> {
        [Self::Deny, Self::Allow]
            .into_iter()
            .find(|one| *one as i8 == code)
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acl {
    pub(crate) kind: ResourceKind,
    pub(crate) pattern: Pattern,
    pub(crate) name: String,
    /// `User:name`, or `User:*`.
    pub(crate) principal: String,
    /// An IP address, or `*`.
    pub(crate) host: String,
    pub(crate) operation: Operation,
    pub(crate) permission: Permission,
}

/// How a filter takes names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatternFilter {
    /// The rule's name is the filter's, however the rule means it.
    Any,
    /// The rule is about the filter's name.
    Match,
    /// The rule's name is the filter's, and it means it so.
    Only(Pattern),
}

impl PatternFilter {
    /// By its number in Kafka's protocol.
    pub(crate) fn from_code(code: i8) -> Option<Self> {
        match code {
            1 => Some(Self::Any),
            2 => Some(Self::Match),
            code => Pattern::from_code(code).map(Self::Only),
        }
    }
}

/// Which rules are meant; what is `None` may be anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AclFilter {
    pub(crate) kind: Option<ResourceKind>,
    pub(crate) pattern: PatternFilter,
    pub(crate) name: Option<String>,
    pub(crate) principal: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) operation: Option<Operation>,
    pub(crate) permission: Option<Permission>,
}

impl AclFilter {
    /// Whether this rule is meant.
    pub(crate) fn matches(&self, acl: &Acl) -> bool {
        self.kind.is_none_or(|kind| kind == acl.kind)
            && self.matches_name(acl)
            && self
                .principal
                .as_ref()
                .is_none_or(|one| *one == acl.principal)
            && self.host.as_ref().is_none_or(|one| {
                let address = canonical_host(one);
                *one == acl.host || (address.is_some() && address == canonical_host(&acl.host))
            })
            && self.operation.is_none_or(|one| one == acl.operation)
            && self.permission.is_none_or(|one| one == acl.permission)
    }

    fn matches_name(&self, acl: &Acl) -> bool {
        if let PatternFilter::Only(pattern) = self.pattern
            && pattern != acl.pattern
        {
            return false;
        }
        let Some(name) = &self.name else {
            return true;
        };
        if self.pattern != PatternFilter::Match {
            return *name == acl.name;
        }
        match acl.pattern {
            Pattern::Literal => acl.name == *name || acl.name == ANY_NAME,
            Pattern::Prefixed => name.starts_with(&acl.name),
        }
    }
}

/// An address as it is compared with that of a client, whatever its spelling; `*` is any host. `None`: it is neither.
pub(crate) fn canonical_host(host: &str) -> Option<String> {
    if host == ANY_HOST {
        return Some(host.to_owned());
    }
    let address: core::net::IpAddr = host.parse().ok()?;
    Some(address.to_canonical().to_string())
}

/// What a rule says to those whom it is about.
#[derive(Debug, Clone)]
struct Entry {
    principal: String,
    host: String,
    operation: Operation,
    permission: Permission,
}

impl Entry {
    fn is_about(&self, principal: &str, host: &str) -> bool {
        (self.principal == ANY_PRINCIPAL || self.principal == principal)
            && (self.host == ANY_HOST || self.host == host)
    }
}

/// The rules about one kind of resource, by name.
#[derive(Debug, Default)]
struct OfKind {
    literal: HashMap<String, Vec<Entry>>,
    prefixed: HashMap<String, Vec<Entry>>,
    /// Lengths of what is in `prefixed`.
    lengths: BTreeSet<usize>,
}

impl OfKind {
    /// The rules about this name.
    fn about<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Entry> {
        let exact = self.literal.get(name);
        let any = self.literal.get(ANY_NAME).filter(|_| name != ANY_NAME);
        let prefixes = self
            .lengths
            .range(..=name.len())
            .filter_map(|length| self.prefixed.get(name.get(..*length)?));
        exact.into_iter().chain(any).chain(prefixes).flatten()
    }
}

/// All rules, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    by_kind: BTreeMap<ResourceKind, OfKind>,
}

impl Rules {
    /// Of these.
    pub(crate) fn of<'a>(acls: impl IntoIterator<Item = &'a Acl>) -> Self {
        let mut rules = Self::default();
        for acl in acls {
            let of_kind = rules.by_kind.entry(acl.kind).or_default();
            let by_name = match acl.pattern {
                Pattern::Literal => &mut of_kind.literal,
                Pattern::Prefixed => {
                    of_kind.lengths.insert(acl.name.len());
                    &mut of_kind.prefixed
                }
            };
            by_name.entry(acl.name.clone()).or_default().push(Entry {
                principal: acl.principal.clone(),
                host: canonical_host(&acl.host).unwrap_or_else(|| acl.host.clone()),
                operation: acl.operation,
                permission: acl.permission,
            });
        }
        rules
    }

    /// What the rules say; `None` if there are none about the resource.
    pub(crate) fn decide(
        &self,
        principal: &Principal,
        host: &str,
        operation: Operation,
        (kind, name): (ResourceKind, &str),
    ) -> Option<bool> {
        let principal = principal.to_string();
        let mut decision = None;
        for entry in self.by_kind.get(&kind)?.about(name) {
            decision.get_or_insert(false);
            if !entry.is_about(&principal, host) {
                continue;
            }
            match entry.permission {
                Permission::Deny if entry.operation.denies(operation) => return Some(false),
                Permission::Allow if entry.operation.allows(operation) => decision = Some(true),
                _ => {}
            }
        }
        decision
    }

    /// Whether there is any resource of this kind with which that may be done, however it is called.
    pub(crate) fn decide_for_some(
        &self,
        principal: &Principal,
        host: &str,
        operation: Operation,
        kind: ResourceKind,
    ) -> bool {
        let Some(of_kind) = self.by_kind.get(&kind) else {
            return false;
        };
        let principal = principal.to_string();
        let says = |entries: &[Entry], permission| {
            entries.iter().any(|entry| {
                let does = match permission {
                    Permission::Deny => entry.operation.denies(operation),
                    Permission::Allow => entry.operation.allows(operation),
                };
                entry.permission == permission && does && entry.is_about(&principal, host)
            })
        };
        let named = |names: &HashMap<String, Vec<Entry>>, permission| -> HashSet<String> {
            let names = names.iter();
            names
                .filter(|(_, entries)| says(entries, permission))
                .map(|(name, _)| name.clone())
                .collect()
        };
        let denied = named(&of_kind.literal, Permission::Deny);
        if denied.contains(ANY_NAME) {
            return false;
        }
        let denied_prefixes = named(&of_kind.prefixed, Permission::Deny);
        let is_left = |name: &String| {
            !denied_prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_str()))
        };
        let allowed = named(&of_kind.literal, Permission::Allow);
        allowed.contains(ANY_NAME)
            || allowed
                .iter()
                .any(|name| is_left(name) && !denied.contains(name))
            || named(&of_kind.prefixed, Permission::Allow)
                .iter()
                .any(is_left)
    }
}

#[cfg(test)]
mod tests;
