//! PURE. JoinGroup: who may come in, under which id, and what that does to the group.
//!
//! ```text
//!                    member id   instance id
//! new, dynamic         none        none        an id to come back with (from version 4 on), or in at once
//! new, static          none        unknown     in
//! returning, static    none        known       takes the place of its predecessor, which is fenced
//! rejoining            known       same        waits, or hears the last answer again
//! ```

use bytes::Bytes;
use log_protocol::ErrorCode;

use super::{Command, Group, Join, JoinReply, Limits, Member, Phase, SyncReply};

/// A client knows a handful of assignors; what a member names is kept as long as its session.
const PROTOCOLS_MAX: usize = 100;

impl Group {
    /// A member wants in, or in again.
    pub(crate) fn join(&mut self, join: Join, limits: &Limits, now: i64) -> Vec<Command> {
        let mut commands = Vec::new();
        let ticket = join.ticket;
        let member_id = join.member_id.clone();
        if let Err(refusal) = self.try_join(join, limits, now, &mut commands) {
            let given = refusal.member_id.unwrap_or(member_id);
            commands.push(Command::ReplyJoin(
                ticket,
                JoinReply::refused(refusal.error, given),
            ));
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
            && join
                .instance_id
                .as_ref()
                .is_none_or(|id| !self.instances.contains_key(id));
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
        let protocols = 1..=PROTOCOLS_MAX;
        if join.protocol_type.is_empty() || !protocols.contains(&join.protocols.len()) {
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
                Err(Refusal {
                    error: ErrorCode::MemberIdRequired,
                    member_id: Some(fresh),
                })
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
            self.instances
                .insert(instance_id.clone(), member_id.clone());
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
        let mut member = self
            .members
            .remove(previous)
            .expect("invariant 2: an instance id names a member");
        if let Some(ticket) = member.awaiting_join.take() {
            let reply = JoinReply::refused(ErrorCode::FencedInstanceId, previous.to_owned());
            commands.push(Command::ReplyJoin(ticket, reply));
        }
        if let Some(ticket) = member.awaiting_sync.take() {
            commands.push(Command::ReplySync(
                ticket,
                SyncReply::refused(ErrorCode::FencedInstanceId),
            ));
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
        let member = self
            .members
            .get_mut(member_id)
            .expect("callers checked the member");
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
}

/// Why a join was refused, and the member id that goes with the refusal.
struct Refusal {
    error: ErrorCode,
    member_id: Option<String>,
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Self {
        Self {
            error,
            member_id: None,
        }
    }
}
