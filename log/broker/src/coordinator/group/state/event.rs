//! PURE. What goes into a group and what comes out: requests as the group sees them, answers, commands.

use bytes::Bytes;
use log_protocol::ErrorCode;

use crate::coordinator::group::record::GroupRecord;

/// A waiting JoinGroup or SyncGroup request.
pub(crate) type Ticket = u64;

/// JoinGroup, as the group sees it.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// Empty on the first join.
    pub(crate) member_id: String,
    /// The id to give out if the member has none yet.
    pub(crate) fresh_member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// From version 4 on: the first join only yields an id (KIP-394).
    pub(crate) member_id_required: bool,
    /// From version 9 on: a static leader that comes back learns that it need not assign.
    pub(crate) can_skip_assignment: bool,
    pub(crate) ticket: Ticket,
}

/// SyncGroup, as the group sees it.
#[derive(Debug, Clone)]
pub(crate) struct Sync {
    pub(crate) member: Identity,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignments: Vec<(String, Bytes)>,
    pub(crate) ticket: Ticket,
}

/// Who speaks: member, instance and generation, as most requests carry them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) generation: i32,
}

impl Identity {
    /// A consumer that manages its partitions itself: no member, generation −1.
    pub(crate) fn standalone() -> Self {
        Self {
            generation: -1,
            ..Self::default()
        }
    }
}

/// The answer to a JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinReply {
    pub(crate) error: ErrorCode,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) skip_assignment: bool,
    pub(crate) member_id: String,
    /// Filled for the leader only.
    pub(crate) members: Vec<JoinedMember>,
}

impl JoinReply {
    /// A refusal.
    pub(crate) fn refused(error: ErrorCode, member_id: String) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

/// A member, as the leader learns of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) metadata: Bytes,
}

/// The answer to a SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyncReply {
    pub(crate) error: ErrorCode,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

impl SyncReply {
    /// A refusal.
    pub(crate) fn refused(error: ErrorCode) -> Self {
        Self {
            error,
            protocol_type: None,
            protocol: None,
            assignment: Bytes::new(),
        }
    }
}

/// What the shell must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Write this record; the commands after it wait until it is durable.
    Persist(GroupRecord),
    /// Answer a JoinGroup.
    ReplyJoin(Ticket, JoinReply),
    /// Answer a SyncGroup.
    ReplySync(Ticket, SyncReply),
}
