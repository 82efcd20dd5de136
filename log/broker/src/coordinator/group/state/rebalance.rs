//! PURE. A round of the group: from the call to join again to the answers of the joins.

use std::collections::BTreeMap;

use log_protocol::ErrorCode;

use super::{Command, Group, Limits, Phase, SyncReply};

impl Group {
    pub(super) fn prepare_rebalance(
        &mut self,
        limits: &Limits,
        now: i64,
        commands: &mut Vec<Command>,
    ) {
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

    pub(super) fn complete_join_if_all_are_in(&mut self, now: i64, commands: &mut Vec<Command>) {
        let all_in = self.pending_members.is_empty()
            && self
                .members
                .values()
                .all(|member| member.awaiting_join.is_some());
        if self.phase == Phase::PreparingRebalance
            && self.gathering_until_ms.is_none()
            && (all_in || self.members.is_empty())
        {
            self.complete_join(now, commands);
        }
    }

    /// Ends the wait for joins: whoever is absent is out, but for static members, which keep their place for a session.
    pub(super) fn complete_join(&mut self, now: i64, commands: &mut Vec<Command>) {
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
        let Some(joined) = self
            .members
            .iter()
            .find(|(_, member)| member.awaiting_join.is_some())
        else {
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
            if let Some(ticket) = member.awaiting_join.take() {
                member.session_deadline_ms = now + i64::from(member.session_timeout_ms);
                tickets.push((member_id.clone(), ticket));
            }
        }
        for (member_id, ticket) in tickets {
            let is_leader = self.leader.as_ref() == Some(&member_id);
            commands.push(Command::ReplyJoin(
                ticket,
                self.join_reply(&member_id, is_leader),
            ));
        }
    }

    /// The assignment did not come in time: who has not asked for it is out, the rest joins again.
    pub(super) fn drop_unsynced(&mut self, limits: &Limits, now: i64, commands: &mut Vec<Command>) {
        let absent: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.awaiting_sync.is_none())
            .map(|(member_id, _)| member_id.clone())
            .collect();
        for member_id in absent {
            if let Some(instance_id) = self
                .members
                .remove(&member_id)
                .and_then(|gone| gone.instance_id)
            {
                self.instances.remove(&instance_id);
            }
        }
        if self
            .leader
            .as_ref()
            .is_none_or(|leader| !self.members.contains_key(leader))
        {
            self.leader = self.members.keys().next().cloned();
        }
        self.prepare_rebalance(limits, now, commands);
    }

    /// The protocol that all members know and most prefer; ties go to the first by name.
    pub(super) fn select_protocol(&self) -> Option<String> {
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
        votes
            .iter()
            .find(|(_, count)| **count == most)
            .map(|(name, _)| (*name).to_owned())
    }
}
