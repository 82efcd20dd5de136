//! The one place where it is decided whether a request may do what it asks.
//!
//! Every handler of `api/` asks here before it answers anything about a topic, a group, a transactional id or the cluster; a test walks
//! all APIs to see that they do; so does what is served over HTTP (`guard.rs`). Code of this process (`embedded/`) is not asked: it acts
//! for the operator.

use log_protocol::ErrorCode;
use tracing::debug;

use crate::security::Principal;
use crate::security::acl::{CLUSTER_NAME, Operation, ResourceKind};
use crate::services::{Context, Services};

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    /// A topic, whether it exists or not.
    Topic(&'a str),
    /// A group.
    Group(&'a str),
    /// The id of a transactional producer.
    TransactionalId(&'a str),
    /// All of it.
    Cluster,
}

impl<'a> Resource<'a> {
    fn kind_and_name(self) -> (ResourceKind, &'a str) {
        match self {
            Self::Topic(name) => (ResourceKind::Topic, name),
            Self::Group(name) => (ResourceKind::Group, name),
            Self::TransactionalId(name) => (ResourceKind::TransactionalId, name),
            Self::Cluster => (ResourceKind::Cluster, CLUSTER_NAME),
        }
    }

    /// What a client is told that may not.
    fn refusal(self) -> ErrorCode {
        match self {
            Self::Topic(_) => ErrorCode::TopicAuthorizationFailed,
            Self::Group(_) => ErrorCode::GroupAuthorizationFailed,
            Self::TransactionalId(_) => ErrorCode::TransactionalIdAuthorizationFailed,
            Self::Cluster => ErrorCode::ClusterAuthorizationFailed,
        }
    }
}

/// Whether who asks may do that.
pub(crate) fn authorize(ctx: &Context, operation: Operation, resource: Resource<'_>) -> bool {
    let services = &ctx.services;
    authorize_as(services, &ctx.principal, ctx.host(), operation, resource)
}

/// Whether this principal, which asks from this address, may do that.
pub(crate) fn authorize_as(
    services: &Services,
    principal: &Principal,
    host: &str,
    operation: Operation,
    resource: Resource<'_>,
) -> bool {
    let access = &services.access;
    if !access.has_authorizer || access.is_super(&principal.to_string()) {
        return true;
    }
    let security = services.topics.security();
    let asked = resource.kind_and_name();
    let decided = security.rules.decide(principal, host, operation, asked);
    let may = decided.unwrap_or(access.allows_unruled);
    if !may {
        debug!(%principal, host, ?operation, ?resource, "refused");
    }
    may
}

/// The same as an error, which the client is told.
pub(crate) fn require(
    ctx: &Context,
    operation: Operation,
    resource: Resource<'_>,
) -> Result<(), ErrorCode> {
    if authorize(ctx, operation, resource) {
        Ok(())
    } else {
        Err(resource.refusal())
    }
}

/// Whether who asks may do that with any topic at all.
pub(crate) fn authorize_some_topic(ctx: &Context, operation: Operation) -> bool {
    let access = &ctx.services.access;
    if !access.has_authorizer
        || access.allows_unruled
        || access.is_super(&ctx.principal.to_string())
    {
        return true;
    }
    let security = ctx.services.topics.security();
    let kind = ResourceKind::Topic;
    let rules = &security.rules;
    rules.decide_for_some(&ctx.principal, ctx.host(), operation, kind)
}
