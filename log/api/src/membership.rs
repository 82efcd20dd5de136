//! Members of a consumer group: processes that share the partitions of some topics, as the group's coordinator tells them.
//!
//! ```text
//! membership ─▶ next ─▶ Assigned ──rebalance──▶ next ─▶ Revoked ─▶ next ─▶ Assigned ─▶ …     leave, or dropped: the others
//!                        work on the partitions          commit, and stop                     take over
//! ```
//!
//! The classic group protocol (KIP-62) with range assignment, so other Kafka clients may be members too. A member beats by
//! itself, but it has to ask for changes more often than its session is long: who does not is taken to hang.
//!
//! Rules that every implementation MUST keep (held by [`crate::conformance`]):
//! 1. Within a generation every partition of the topics belongs to one member.
//! 2. Who is told [`Change::Revoked`] may commit as the member that it was until it asks for the next change; the others get
//!    its partitions after that, or when the session's time is over.
//! 3. What a member of a generation that is past commits is refused, in a transaction too (KIP-447).

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log_protocol::TopicPartition;
use thiserror::Error;

/// How to be a member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipOptions {
    /// The group.
    pub group: String,
    /// Topics whose partitions the members share.
    pub topics: Vec<String>,
    /// How long a member may be silent before the others take over; the log has bounds for it (6 s to 30 min by default).
    pub session: Duration,
}

/// A member of a group in one generation: what its commits are told by.
#[derive(Clone)]
pub struct GroupMember {
    /// The group.
    pub group: String,
    /// Its id there.
    pub member_id: String,
    /// Rises with every rebalance; −1 where the client library keeps it to itself.
    pub generation: i32,
    /// What the log that gave it knows it by, besides.
    handle: Option<Arc<dyn Any + Send + Sync>>,
}

impl GroupMember {
    /// A member, by its id.
    pub fn new(group: &str, member_id: &str, generation: i32) -> Self {
        Self {
            group: group.to_owned(),
            member_id: member_id.to_owned(),
            generation,
            handle: None,
        }
    }

    /// The same, with what an implementation needs of it later.
    #[must_use]
    pub fn with_handle(self, handle: Arc<dyn Any + Send + Sync>) -> Self {
        Self {
            handle: Some(handle),
            ..self
        }
    }

    /// What [`GroupMember::with_handle`] was given, if it is a `T`.
    pub fn handle<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.handle.as_ref()?.downcast_ref()
    }
}

impl fmt::Debug for GroupMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupMember")
            .field("group", &self.group)
            .field("member_id", &self.member_id)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// What has become of a member's share.
#[derive(Debug, Clone)]
pub enum Change {
    /// These partitions are its own, in order, until [`Change::Revoked`]; there may be none.
    Assigned {
        /// By topic and number.
        partitions: Vec<TopicPartition>,
        /// Who it is now.
        member: GroupMember,
    },
    /// It has no partition any more: to be told before the next call that it has stopped.
    Revoked,
}

/// A place in a group. Dropped: as if it had left.
#[async_trait]
pub trait Membership: Send {
    /// The next change, or `None` if there is none within `wait`. Cancel safe.
    ///
    /// # Errors
    /// [`MembershipError::Unavailable`] may pass: ask again.
    async fn next(&mut self, wait: Duration) -> Result<Option<Change>, MembershipError>;

    /// Leaves the group, whose others take over at once.
    ///
    /// # Errors
    /// [`MembershipError::Unavailable`]: the others take over when the session's time is over.
    async fn leave(self: Box<Self>) -> Result<(), MembershipError>;
}

/// Being a member failed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum MembershipError {
    /// The coordinator cannot be reached.
    #[error("group {group}: {reason}")]
    Unavailable {
        /// The group.
        group: String,
        /// In the log's words.
        reason: String,
    },
    /// The coordinator refused: the session is too short or too long, the members know no protocol in common.
    #[error("group {group} refuses the member: {reason}")]
    Refused {
        /// The group.
        group: String,
        /// In the log's words.
        reason: String,
    },
}

impl MembershipError {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
