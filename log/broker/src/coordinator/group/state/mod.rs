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

mod event;
mod join;
mod rebalance;

pub(crate) use event::{Command, Identity, Join, JoinReply, JoinedMember, Sync, SyncReply, Ticket};

use std::collections::BTreeMap;

use bytes::Bytes;
use log_protocol::{DecodeError, ErrorCode, Reader};

use super::record::{GroupRecord, MemberRecord};

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
        let mut group = Self::new(if record.state_since_ms >= 0 {
            record.state_since_ms
        } else {
            now
        });
        group.generation = record.generation;
        group.protocol_type = (!record.protocol_type.is_empty()).then_some(record.protocol_type);
        group.protocol = record.protocol;
        for member in record.members {
            if let Some(instance_id) = &member.instance_id {
                group
                    .instances
                    .insert(instance_id.clone(), member.member_id.clone());
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

    /// Whether a consumer of the group reads this topic; what its members subscribe to is known of consumers only.
    ///
    /// # Errors
    /// NON_EMPTY_GROUP for members that are no consumers.
    pub(crate) fn is_subscribed(&self, topic: &str) -> Result<bool, ErrorCode> {
        if self.members.is_empty() {
            return Ok(false);
        }
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let mut subscriptions = self
            .members
            .values()
            .flat_map(|member| &member.protocols)
            .map(|(_, metadata)| subscribed_topics(metadata));
        // One that cannot be read may name any topic.
        Ok(subscriptions
            .any(|topics| topics.map_or(true, |topics| topics.iter().any(|one| one == topic))))
    }

    /// Whether nothing would be lost if the group were forgotten (its offsets aside).
    pub(crate) fn is_vacant(&self) -> bool {
        self.phase == Phase::Empty && self.pending_members.is_empty()
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
        let differs =
            |given: &Option<String>, ours: &Option<String>| given.is_some() && given != ours;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
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
                let member = self
                    .members
                    .get_mut(&member_id)
                    .expect("the identity was checked");
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
        // Until now they were told of with what they had before.
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
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
            .filter_map(|(id, member)| {
                member
                    .awaiting_sync
                    .take()
                    .map(|ticket| (id.clone(), ticket))
            })
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
        if member.instance_id.is_none() && self.pending_members.remove(&member.member_id).is_some()
        {
            if self.phase == Phase::PreparingRebalance {
                self.complete_join_if_all_are_in(now, &mut commands);
            }
            return (ErrorCode::None, commands);
        }
        let member_id = match (&member.instance_id, member.member_id.is_empty()) {
            // An administrator names the instance alone.
            (Some(instance_id), true) => {
                self.instances.get(instance_id).cloned().unwrap_or_default()
            }
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
        let anonymous =
            member.generation < 0 && member.member_id.is_empty() && member.instance_id.is_none();
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
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(instance_id) = &member.instance_id {
            self.instances.remove(instance_id);
        }
        if let Some(ticket) = member.awaiting_join {
            let reply = JoinReply::refused(ErrorCode::UnknownMemberId, member_id.to_owned());
            commands.push(Command::ReplyJoin(ticket, reply));
        }
        if let Some(ticket) = member.awaiting_sync {
            commands.push(Command::ReplySync(
                ticket,
                SyncReply::refused(ErrorCode::UnknownMemberId),
            ));
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        match self.phase {
            Phase::Empty => {}
            Phase::PreparingRebalance => self.complete_join_if_all_are_in(now, commands),
            Phase::CompletingRebalance | Phase::Stable => {
                self.prepare_rebalance(limits, now, commands)
            }
        }
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
            assignment: self
                .members
                .get(member_id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        }
    }

    fn rebalance_timeout_ms(&self) -> i64 {
        self.members
            .values()
            .map(|member| i64::from(member.rebalance_timeout_ms))
            .max()
            .unwrap_or(0)
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
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    fn enter(&mut self, phase: Phase, now: i64) {
        self.phase = phase;
        self.phase_since_ms = now;
    }

    /// The invariants of the header, as code.
    fn check_invariants(&self) {
        debug_assert!(
            self.leader
                .as_ref()
                .is_none_or(|leader| self.members.contains_key(leader))
        );
        debug_assert!(self.phase != Phase::Empty || self.members.is_empty());
        debug_assert!(
            !matches!(self.phase, Phase::CompletingRebalance | Phase::Stable)
                || self.leader.is_some()
        );
        debug_assert!(self.instances.iter().all(|(instance_id, member_id)| {
            self.members
                .get(member_id)
                .is_some_and(|member| member.instance_id.as_ref() == Some(instance_id))
        }));
    }
}

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";

/// The topics of a consumer's subscription: `i16 version, [ string topic ], …` (Kafka's `ConsumerProtocolSubscription`).
fn subscribed_topics(metadata: &Bytes) -> Result<Vec<String>, DecodeError> {
    let mut reader = Reader::new(metadata.clone());
    reader.i16()?;
    let count = reader.array_length(false)?.unwrap_or(0);
    let mut topics = Vec::new();
    for _ in 0..count {
        let length = reader.string_length(false)?.unwrap_or(0);
        topics.push(reader.text(length)?);
    }
    Ok(topics)
}

#[cfg(test)]
mod tests;
