//! PURE. One classic consumer group: who its members are, when they rebalance, and what each of them is told.
//!
//! ```text
//!            join                     all joined, or the deadline               leader syncs
//!  Empty ───────────▶ PreparingRebalance ───────────▶ CompletingRebalance ───────────▶ Stable
//!    ▲                   ▲     │ nobody left             │ join, leave, expiry            │
//!    └───────────────────┼─────┘                         │                                │
//!                        └───────────────────────────────┴────────────────────────────────┘
//! ```
//! JoinGroup and SyncGroup wait. A waiting request is a [`Ticket`]: a number that the shell gave out and that comes back in a
//! [`Command`] with its answer. Time, fresh member ids and tickets come in as arguments.
//!
//! Invariants:
//! 1. The leader is a member, and there is none exactly when the group is empty or prepares its first rebalance.
//! 2. Every static member's instance id names one member, and that member carries it.
//! 3. The generation only rises, and it rises with every completed join.
//! 4. A ticket is answered exactly once.

use std::collections::BTreeMap;

use bytes::Bytes;
use log_protocol::ErrorCode;

use super::record::{GroupRecord, MemberRecord};

/// A waiting JoinGroup or SyncGroup request.
pub(crate) type Ticket = u64;

/// Where a group stands; the order of travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No members; it may still have offsets.
    Empty,
    /// Waiting for the members to (re)join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
}

impl Phase {
    /// Kafka's name of it, as ListGroups and DescribeGroups show it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// Bounds that the broker sets for all groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// `group.min.session.timeout.ms`.
    pub(crate) session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub(crate) session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub(crate) initial_rebalance_delay_ms: i64,
    /// Members of one group at most; a member more is refused with GROUP_MAX_SIZE_REACHED.
    pub(crate) members_max: usize,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    /// Protocols by falling preference, each with the member's subscription.
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    /// The member is gone once the clock passes this, unless a request of it waits.
    session_deadline_ms: i64,
    awaiting_join: Option<Ticket>,
    awaiting_sync: Option<Ticket>,
}

impl Member {
    fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }
}

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
        Self { generation: -1, ..Self::default() }
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
        Self { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
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

/// A group and its members.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    phase: Phase,
    /// Since when the phase lasts; counts for the expiry of offsets.
    phase_since_ms: i64,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Instance id → member id.
    instances: BTreeMap<String, String>,
    /// Ids that were given out and not used yet → until when they count.
    pending_members: BTreeMap<String, i64>,
    /// When the phase is forced on: the end of joining, or of syncing.
    deadline_ms: i64,
    /// While the first rebalance of an empty group gathers members.
    gathering_until_ms: Option<i64>,
}

impl Group {
    /// A group without members.
    pub(crate) fn new(now: i64) -> Self {
        Self {
            phase: Phase::Empty,
            phase_since_ms: now,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            deadline_ms: i64::MAX,
            gathering_until_ms: None,
        }
    }

    /// The group that `record` describes; its members get one session from `now` on to show up again.
    pub(crate) fn restored(record: GroupRecord, now: i64) -> Self {
        let mut group = Self::new(if record.state_since_ms >= 0 { record.state_since_ms } else { now });
        group.generation = record.generation;
        group.protocol_type = (!record.protocol_type.is_empty()).then_some(record.protocol_type);
        group.protocol = record.protocol;
        for member in record.members {
            if let Some(instance_id) = &member.instance_id {
                group.instances.insert(instance_id.clone(), member.member_id.clone());
            }
            let protocol = group.protocol.clone().unwrap_or_default();
            group.members.insert(
                member.member_id,
                Member {
                    instance_id: member.instance_id,
                    client_id: member.client_id,
                    client_host: member.client_host,
                    session_timeout_ms: member.session_timeout_ms,
                    rebalance_timeout_ms: member.rebalance_timeout_ms,
                    protocols: vec![(protocol, member.subscription)],
                    assignment: member.assignment,
                    session_deadline_ms: now + i64::from(member.session_timeout_ms),
                    awaiting_join: None,
                    awaiting_sync: None,
                },
            );
        }
        if group.members.is_empty() {
            group.protocol = None;
        } else {
            group.phase = Phase::Stable;
            group.leader = record
                .leader
                .filter(|leader| group.members.contains_key(leader))
                .or_else(|| group.members.keys().next().cloned());
        }
        group
    }

    /// What is to be written about the group as it is now.
    pub(crate) fn record(&self) -> GroupRecord {
        let protocol = self.protocol.clone().unwrap_or_default();
        GroupRecord {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.phase_since_ms,
            members: self
                .members
                .iter()
                .map(|(member_id, member)| MemberRecord {
                    member_id: member_id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    rebalance_timeout_ms: member.rebalance_timeout_ms,
                    session_timeout_ms: member.session_timeout_ms,
                    subscription: member.metadata(&protocol),
                    assignment: member.assignment.clone(),
                })
                .collect(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn phase_since_ms(&self) -> i64 {
        self.phase_since_ms
    }

    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(crate) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Members with their metadata for the protocol in use.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Member, Bytes)> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        self.members
            .iter()
            .map(move |(member_id, member)| (member_id.as_str(), member, member.metadata(protocol)))
    }

    /// Whether nothing would be lost if the group were forgotten (its offsets aside).
    pub(crate) fn is_vacant(&self) -> bool {
        self.phase == Phase::Empty && self.pending_members.is_empty()
    }

    /// A member wants in, or in again.
    pub(crate) fn join(&mut self, join: Join, limits: &Limits, now: i64) -> Vec<Command> {
        let mut commands = Vec::new();
        let ticket = join.ticket;
        let member_id = join.member_id.clone();
        if let Err(refusal) = self.try_join(join, limits, now, &mut commands) {
            let given = refusal.member_id.unwrap_or(member_id);
            commands.push(Command::ReplyJoin(ticket, JoinReply::refused(refusal.error, given)));
        }
        self.check_invariants();
        commands
    }

    fn try_join(
        &mut self,
        join: Join,
        limits: &Limits,
        now: i64,
        commands: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        let bounds = limits.session_timeout_ms_min..=limits.session_timeout_ms_max;
        if !bounds.contains(&join.session_timeout_ms) {
            return Err(ErrorCode::InvalidSessionTimeout.into());
        }
        if !self.accepts_protocols(&join) {
            return Err(ErrorCode::InconsistentGroupProtocol.into());
        }
        let newcomer = !self.members.contains_key(&join.member_id)
            && join.instance_id.as_ref().is_none_or(|id| !self.instances.contains_key(id));
        if newcomer && self.members.len() >= limits.members_max {
            return Err(ErrorCode::GroupMaxSizeReached.into());
        }
        if join.member_id.is_empty() {
            self.join_unknown(join, limits, now, commands)
        } else {
            self.join_known(join, limits, now, commands)
        }
    }

    fn accepts_protocols(&self, join: &Join) -> bool {
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        self.protocol_type.as_deref() == Some(join.protocol_type.as_str())
            && join.protocols.iter().any(|(name, _)| {
                self.members.iter().all(|(member_id, member)| {
                    *member_id == join.member_id
                        || (join.instance_id.is_some() && member.instance_id == join.instance_id)
                        || member.protocols.iter().any(|(known, _)| known == name)
                })
            })
    }

    fn join_unknown(
        &mut self,
        join: Join,
        limits: &Limits,
        now: i64,
        commands: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        let fresh = join.fresh_member_id.clone();
        match &join.instance_id {
            None if join.member_id_required => {
                if self.pending_members.len() >= limits.members_max {
                    return Err(ErrorCode::GroupMaxSizeReached.into());
                }
                let until = now + i64::from(join.session_timeout_ms);
                self.pending_members.insert(fresh.clone(), until);
                Err(Refusal { error: ErrorCode::MemberIdRequired, member_id: Some(fresh) })
            }
            None => {
                self.admit(fresh, join, limits, now, commands);
                Ok(())
            }
            Some(instance_id) => match self.instances.get(instance_id).cloned() {
                None => {
                    self.admit(fresh, join, limits, now, commands);
                    Ok(())
                }
                Some(previous) => {
                    self.replace_static(&previous, fresh, join, limits, now, commands);
                    Ok(())
                }
            },
        }
    }

    fn join_known(
        &mut self,
        join: Join,
        limits: &Limits,
        now: i64,
        commands: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        let member_id = join.member_id.clone();
        if self.pending_members.contains_key(&member_id) {
            if join.instance_id.is_some() {
                return Err(ErrorCode::UnknownMemberId.into());
            }
            self.pending_members.remove(&member_id);
            self.admit(member_id, join, limits, now, commands);
            return Ok(());
        }
        self.member_checked(&member_id, join.instance_id.as_deref())?;
        let member = &self.members[&member_id];
        let unchanged = member.protocols == join.protocols;
        let is_leader = self.leader.as_deref() == Some(member_id.as_str());
        match self.phase {
            Phase::Empty => return Err(ErrorCode::UnknownMemberId.into()),
            // The first answer was lost: say it again.
            Phase::CompletingRebalance if unchanged => {
                self.touch(&member_id, now);
                let reply = self.join_reply(&member_id, is_leader);
                commands.push(Command::ReplyJoin(join.ticket, reply));
            }
            Phase::Stable if unchanged && !is_leader => {
                self.touch(&member_id, now);
                let reply = self.join_reply(&member_id, false);
                commands.push(Command::ReplyJoin(join.ticket, reply));
            }
            Phase::PreparingRebalance => {
                self.rejoin(&member_id, join, commands);
                self.complete_join_if_all_are_in(now, commands);
            }
            Phase::CompletingRebalance | Phase::Stable => {
                self.rejoin(&member_id, join, commands);
                self.prepare_rebalance(limits, now, commands);
            }
        }
        Ok(())
    }

    /// Takes a new member in and rebalances.
    fn admit(
        &mut self,
        member_id: String,
        join: Join,
        limits: &Limits,
        now: i64,
        commands: &mut Vec<Command>,
    ) {
        if let Some(instance_id) = &join.instance_id {
            self.instances.insert(instance_id.clone(), member_id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        let member = Member {
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            protocols: join.protocols,
            assignment: Bytes::new(),
            session_deadline_ms: now + i64::from(join.session_timeout_ms),
            awaiting_join: Some(join.ticket),
            awaiting_sync: None,
        };
        let rebalance_timeout_ms = i64::from(member.rebalance_timeout_ms);
        self.members.insert(member_id.clone(), member);
        if self.leader.is_none() {
            self.leader = Some(member_id);
        }
        if self.phase == Phase::PreparingRebalance {
            if self.gathering_until_ms.is_some() {
                self.deadline_ms = self.deadline_ms.max(now + rebalance_timeout_ms);
                let until = (now + limits.initial_rebalance_delay_ms).min(self.deadline_ms);
                self.gathering_until_ms = Some(until);
            }
            self.complete_join_if_all_are_in(now, commands);
        } else {
            self.prepare_rebalance(limits, now, commands);
        }
    }

    /// A static member came back without its member id: it gets a new one, and whoever holds the old one is fenced.
    fn replace_static(
        &mut self,
        previous: &str,
        fresh: String,
        join: Join,
        limits: &Limits,
        now: i64,
        commands: &mut Vec<Command>,
    ) {
        let mut member = self.members.remove(previous).expect("invariant 2: an instance id names a member");
        if let Some(ticket) = member.awaiting_join.take() {
            let reply = JoinReply::refused(ErrorCode::FencedInstanceId, previous.to_owned());
            commands.push(Command::ReplyJoin(ticket, reply));
        }
        if let Some(ticket) = member.awaiting_sync.take() {
            commands.push(Command::ReplySync(ticket, SyncReply::refused(ErrorCode::FencedInstanceId)));
        }
        let was_leader = self.leader.as_deref() == Some(previous);
        if was_leader {
            self.leader = Some(fresh.clone());
        }
        let protocol = self.protocol.clone().unwrap_or_default();
        let subscription_before = member.metadata(&protocol);
        let ticket = join.ticket;
        let can_skip_assignment = join.can_skip_assignment;
        if let Some(instance_id) = &join.instance_id {
            self.instances.insert(instance_id.clone(), fresh.clone());
        }
        member.session_deadline_ms = now + i64::from(join.session_timeout_ms);
        self.members.insert(fresh.clone(), member);
        self.rejoin(&fresh, join, commands);

        let same = self.members[&fresh].metadata(&protocol) == subscription_before
            && self.select_protocol().as_deref() == Some(protocol.as_str());
        match self.phase {
            Phase::Stable if same => {
                let member = self.members.get_mut(&fresh).expect("it was inserted above");
                member.awaiting_join = None;
                commands.push(Command::Persist(self.record()));
                let mut reply = self.join_reply(&fresh, was_leader && can_skip_assignment);
                if was_leader && can_skip_assignment {
                    reply.skip_assignment = true;
                } else if was_leader {
                    // A client that knows no SkipAssignment must not take itself for the leader, or it would assign.
                    reply.leader = previous.to_owned();
                }
                commands.push(Command::ReplyJoin(ticket, reply));
            }
            Phase::PreparingRebalance => self.complete_join_if_all_are_in(now, commands),
            _ => self.prepare_rebalance(limits, now, commands),
        }
    }

    /// Takes over what a join of a known member says, and lets it wait.
    fn rejoin(&mut self, member_id: &str, join: Join, commands: &mut Vec<Command>) {
        let member = self.members.get_mut(member_id).expect("callers checked the member");
        member.client_id = join.client_id;
        member.client_host = join.client_host;
        member.session_timeout_ms = join.session_timeout_ms;
        member.rebalance_timeout_ms = join.rebalance_timeout_ms;
        member.protocols = join.protocols;
        if let Some(stale) = member.awaiting_join.replace(join.ticket) {
            let reply = JoinReply::refused(ErrorCode::RebalanceInProgress, member_id.to_owned());
            commands.push(Command::ReplyJoin(stale, reply));
        }
    }

    /// A member asks for its assignment; the leader brings all of them.
    pub(crate) fn sync(&mut self, sync: Sync, now: i64) -> Vec<Command> {
        let mut commands = Vec::new();
        let ticket = sync.ticket;
        if let Err(error) = self.try_sync(sync, now, &mut commands) {
            commands.push(Command::ReplySync(ticket, SyncReply::refused(error)));
        }
        self.check_invariants();
        commands
    }

    fn try_sync(
        &mut self,
        sync: Sync,
        now: i64,
        commands: &mut Vec<Command>,
    ) -> Result<(), ErrorCode> {
        self.identity_checked(&sync.member)?;
        let differs = |given: &Option<String>, ours: &Option<String>| given.is_some() && given != ours;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let member_id = sync.member.member_id;
        self.touch(&member_id, now);
        match self.phase {
            Phase::Empty => Err(ErrorCode::UnknownMemberId),
            Phase::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            Phase::Stable => {
                commands.push(Command::ReplySync(sync.ticket, self.sync_reply(&member_id)));
                Ok(())
            }
            Phase::CompletingRebalance => {
                let member = self.members.get_mut(&member_id).expect("the identity was checked");
                if let Some(stale) = member.awaiting_sync.replace(sync.ticket) {
                    let refused = SyncReply::refused(ErrorCode::RebalanceInProgress);
                    commands.push(Command::ReplySync(stale, refused));
                }
                if self.leader.as_deref() == Some(member_id.as_str()) {
                    self.assign(sync.assignments, now, commands);
                }
                Ok(())
            }
        }
    }

    fn assign(&mut self, assignments: Vec<(String, Bytes)>, now: i64, commands: &mut Vec<Command>) {
        for (member_id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&member_id) {
                member.assignment = assignment;
            }
        }
        self.enter(Phase::Stable, now);
        self.deadline_ms = i64::MAX;
        commands.push(Command::Persist(self.record()));
        let waiting: Vec<(String, Ticket)> = self
            .members
            .iter_mut()
            .filter_map(|(id, member)| member.awaiting_sync.take().map(|ticket| (id.clone(), ticket)))
            .collect();
        for (member_id, ticket) in waiting {
            self.touch(&member_id, now);
            commands.push(Command::ReplySync(ticket, self.sync_reply(&member_id)));
        }
    }

    /// A member lives.
    pub(crate) fn heartbeat(&mut self, member: &Identity, now: i64) -> ErrorCode {
        if let Err(error) = self.identity_checked(member) {
            return error;
        }
        self.touch(&member.member_id, now);
        match self.phase {
            Phase::Empty => ErrorCode::UnknownMemberId,
            Phase::PreparingRebalance => ErrorCode::RebalanceInProgress,
            Phase::CompletingRebalance | Phase::Stable => ErrorCode::None,
        }
    }

    /// A member goes, or is told to. `member.generation` is not looked at.
    pub(crate) fn leave(
        &mut self,
        member: &Identity,
        limits: &Limits,
        now: i64,
    ) -> (ErrorCode, Vec<Command>) {
        let mut commands = Vec::new();
        if member.instance_id.is_none() && self.pending_members.remove(&member.member_id).is_some() {
            if self.phase == Phase::PreparingRebalance {
                self.complete_join_if_all_are_in(now, &mut commands);
            }
            return (ErrorCode::None, commands);
        }
        let member_id = match (&member.instance_id, member.member_id.is_empty()) {
            // An administrator names the instance alone.
            (Some(instance_id), true) => self.instances.get(instance_id).cloned().unwrap_or_default(),
            _ => member.member_id.clone(),
        };
        if let Err(error) = self.member_checked(&member_id, member.instance_id.as_deref()) {
            return (error, commands);
        }
        self.remove(&member_id, limits, now, &mut commands);
        self.check_invariants();
        (ErrorCode::None, commands)
    }

    /// Whether this caller may commit offsets; a member's session goes on with it.
    pub(crate) fn authorize_offset_commit(
        &mut self,
        member: &Identity,
        transactional: bool,
        now: i64,
    ) -> Result<(), ErrorCode> {
        let anonymous = member.generation < 0 && member.member_id.is_empty() && member.instance_id.is_none();
        if anonymous || (member.generation < 0 && self.phase == Phase::Empty) {
            return if transactional || self.phase == Phase::Empty {
                Ok(())
            } else {
                Err(ErrorCode::UnknownMemberId)
            };
        }
        self.identity_checked(member)?;
        if self.phase == Phase::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.touch(&member.member_id, now);
        Ok(())
    }

    /// Ends what has run out: sessions, ids that were never used, the wait for joins and for the assignment.
    pub(crate) fn tick(&mut self, limits: &Limits, now: i64) -> Vec<Command> {
        let mut commands = Vec::new();
        let expired: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| {
                member.session_deadline_ms <= now
                    && member.awaiting_join.is_none()
                    && member.awaiting_sync.is_none()
            })
            .map(|(member_id, _)| member_id.clone())
            .collect();
        for member_id in expired {
            self.remove(&member_id, limits, now, &mut commands);
        }
        let pending_before = self.pending_members.len();
        self.pending_members.retain(|_, until| *until > now);
        if self.gathering_until_ms.is_some_and(|until| until <= now) {
            self.gathering_until_ms = None;
            self.complete_join_if_all_are_in(now, &mut commands);
        } else if self.pending_members.len() < pending_before {
            self.complete_join_if_all_are_in(now, &mut commands);
        }
        if self.deadline_ms <= now {
            match self.phase {
                Phase::PreparingRebalance => self.complete_join(now, &mut commands),
                Phase::CompletingRebalance => self.drop_unsynced(limits, now, &mut commands),
                Phase::Empty | Phase::Stable => self.deadline_ms = i64::MAX,
            }
        }
        self.check_invariants();
        commands
    }

    fn remove(&mut self, member_id: &str, limits: &Limits, now: i64, commands: &mut Vec<Command>) {
        let Some(member) = self.members.remove(member_id) else { return };
        if let Some(instance_id) = &member.instance_id {
            self.instances.remove(instance_id);
        }
        if let Some(ticket) = member.awaiting_join {
            let reply = JoinReply::refused(ErrorCode::UnknownMemberId, member_id.to_owned());
            commands.push(Command::ReplyJoin(ticket, reply));
        }
        if let Some(ticket) = member.awaiting_sync {
            commands.push(Command::ReplySync(ticket, SyncReply::refused(ErrorCode::UnknownMemberId)));
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        match self.phase {
            Phase::Empty => {}
            Phase::PreparingRebalance => self.complete_join_if_all_are_in(now, commands),
            Phase::CompletingRebalance | Phase::Stable => self.prepare_rebalance(limits, now, commands),
        }
    }

    fn prepare_rebalance(&mut self, limits: &Limits, now: i64, commands: &mut Vec<Command>) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.awaiting_sync.take() {
                let refused = SyncReply::refused(ErrorCode::RebalanceInProgress);
                commands.push(Command::ReplySync(ticket, refused));
                member.session_deadline_ms = now + i64::from(member.session_timeout_ms);
            }
        }
        let first = self.phase == Phase::Empty && limits.initial_rebalance_delay_ms > 0;
        self.gathering_until_ms = first.then_some(now + limits.initial_rebalance_delay_ms);
        self.deadline_ms = now + self.rebalance_timeout_ms();
        self.enter(Phase::PreparingRebalance, now);
        self.complete_join_if_all_are_in(now, commands);
    }

    fn complete_join_if_all_are_in(&mut self, now: i64, commands: &mut Vec<Command>) {
        let all_in = self.pending_members.is_empty()
            && self.members.values().all(|member| member.awaiting_join.is_some());
        if self.phase == Phase::PreparingRebalance
            && self.gathering_until_ms.is_none()
            && (all_in || self.members.is_empty())
        {
            self.complete_join(now, commands);
        }
    }

    /// Ends the wait for joins: whoever is absent is out, but for static members, which keep their place for a session.
    fn complete_join(&mut self, now: i64, commands: &mut Vec<Command>) {
        self.gathering_until_ms = None;
        let absent: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.awaiting_join.is_none() && member.instance_id.is_none())
            .map(|(member_id, _)| member_id.clone())
            .collect();
        for member_id in absent {
            self.members.remove(&member_id);
        }
        if self.members.is_empty() {
            self.generation += 1;
            self.protocol = None;
            self.leader = None;
            self.deadline_ms = i64::MAX;
            self.enter(Phase::Empty, now);
            commands.push(Command::Persist(self.record()));
            return;
        }
        let Some(joined) = self.members.iter().find(|(_, member)| member.awaiting_join.is_some()) else {
            // Static members only, and none of them is back yet: go on waiting for their sessions.
            self.deadline_ms = now + self.rebalance_timeout_ms();
            return;
        };
        let leader_is_in = self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader))
            .is_some_and(|leader| leader.awaiting_join.is_some());
        if !leader_is_in {
            self.leader = Some(joined.0.clone());
        }
        self.generation += 1;
        self.protocol = self.select_protocol();
        self.deadline_ms = now + self.rebalance_timeout_ms();
        self.enter(Phase::CompletingRebalance, now);
        let mut tickets = Vec::with_capacity(self.members.len());
        for (member_id, member) in &mut self.members {
            member.assignment = Bytes::new();
            if let Some(ticket) = member.awaiting_join.take() {
                member.session_deadline_ms = now + i64::from(member.session_timeout_ms);
                tickets.push((member_id.clone(), ticket));
            }
        }
        for (member_id, ticket) in tickets {
            let is_leader = self.leader.as_ref() == Some(&member_id);
            commands.push(Command::ReplyJoin(ticket, self.join_reply(&member_id, is_leader)));
        }
    }

    /// The assignment did not come in time: who has not asked for it is out, the rest joins again.
    fn drop_unsynced(&mut self, limits: &Limits, now: i64, commands: &mut Vec<Command>) {
        let absent: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.awaiting_sync.is_none())
            .map(|(member_id, _)| member_id.clone())
            .collect();
        for member_id in absent {
            if let Some(instance_id) = self.members.remove(&member_id).and_then(|gone| gone.instance_id) {
                self.instances.remove(&instance_id);
            }
        }
        if self.leader.as_ref().is_none_or(|leader| !self.members.contains_key(leader)) {
            self.leader = self.members.keys().next().cloned();
        }
        self.prepare_rebalance(limits, now, commands);
    }

    /// The protocol that all members know and most prefer; ties go to the first by name.
    fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        let known_to_all = |name: &str| {
            self.members
                .values()
                .all(|member| member.protocols.iter().any(|(known, _)| known == name))
        };
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| known_to_all(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.iter().find(|(_, count)| **count == most).map(|(name, _)| (*name).to_owned())
    }

    fn join_reply(&self, member_id: &str, with_members: bool) -> JoinReply {
        let members = if with_members {
            self.members()
                .map(|(member_id, member, metadata)| JoinedMember {
                    member_id: member_id.to_owned(),
                    instance_id: member.instance_id.clone(),
                    metadata,
                })
                .collect()
        } else {
            Vec::new()
        };
        JoinReply {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members,
        }
    }

    fn sync_reply(&self, member_id: &str) -> SyncReply {
        SyncReply {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(member_id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    fn touch(&mut self, member_id: &str, now: i64) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.session_deadline_ms = now + i64::from(member.session_timeout_ms);
        }
    }

    fn identity_checked(&self, member: &Identity) -> Result<(), ErrorCode> {
        self.member_checked(&member.member_id, member.instance_id.as_deref())?;
        if member.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok(())
    }

    fn member_checked(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.instances.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(holder) if holder != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn enter(&mut self, phase: Phase, now: i64) {
        self.phase = phase;
        self.phase_since_ms = now;
    }

    /// The invariants of the header, as code.
    fn check_invariants(&self) {
        debug_assert!(self.leader.as_ref().is_none_or(|leader| self.members.contains_key(leader)));
        debug_assert!(self.phase != Phase::Empty || self.members.is_empty());
        debug_assert!(
            !matches!(self.phase, Phase::CompletingRebalance | Phase::Stable) || self.leader.is_some()
        );
        debug_assert!(self.instances.iter().all(|(instance_id, member_id)| {
            self.members
                .get(member_id)
                .is_some_and(|member| member.instance_id.as_ref() == Some(instance_id))
        }));
    }
}

/// Why a join was refused, and the member id that goes with the refusal.
struct Refusal {
    error: ErrorCode,
    member_id: Option<String>,
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Self {
        Self { error, member_id: None }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
