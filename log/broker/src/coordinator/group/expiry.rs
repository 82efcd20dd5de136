//! What ends by itself: sessions and rounds that run out of time, offsets that nobody uses any more, those of topics that are gone.

use bytes::Bytes;
use log_protocol::{ErrorCode, ProducerStamp, TopicPartition};

use super::memory::Memory;
use super::record::Key;
use super::{Groups, append};
use crate::clock::{steady_ms, wall_ms};

/// `offsets.retention.check.interval.ms`.
pub(super) const RETENTION_CHECK_MS: i64 = 600_000;

/// Groups whose offsets run out in one tick; those that are left do in the next. Their tombstones are written under the lock.
pub(super) const EXPIRED_AT_ONCE_MAX: usize = 100;

impl Groups {
    /// Forgets the offsets of a deleted topic, so that a new topic of that name starts afresh.
    pub(crate) fn forget_topic(&self, topic: &str) {
        self.forget(|one| one == topic);
    }

    pub(super) fn forget(&self, is_gone: impl Fn(&str) -> bool) {
        let mut memory = self.memory();
        let groups: Vec<String> = memory.groups.keys().cloned().collect();
        for group_id in groups {
            let Some(entry) = memory.groups.get(&group_id) else {
                continue;
            };
            let gone: Vec<TopicPartition> = entry
                .offsets
                .partitions()
                .into_iter()
                .filter(|one| is_gone(&one.topic))
                .collect();
            if !gone.is_empty() {
                self.expire(&mut memory, &group_id, gone);
            }
        }
    }

    /// Ends what has run out; called every 50 ms or so.
    pub(crate) fn tick(&self) {
        let now = steady_ms();
        let mut memory = self.memory();
        self.end_all_that_is_due(&mut memory);
        if memory.next_retention_check_ms <= now {
            let are_left = self.expire_offsets(&mut memory, now);
            let pause_ms = if are_left { 0 } else { RETENTION_CHECK_MS };
            memory.next_retention_check_ms = now + pause_ms;
        }
    }

    pub(super) fn end_all_that_is_due(&self, memory: &mut Memory) {
        let now = steady_ms();
        let mut due = Vec::new();
        for (group_id, entry) in &mut memory.groups {
            let commands = entry.group.tick(&self.limits, now);
            if !commands.is_empty() {
                due.push((group_id.clone(), commands));
            }
        }
        for (group_id, commands) in due {
            self.run(memory, &group_id, commands);
        }
    }

    /// Ends what has run out in one group, so that what is told of it, or done to it, does not depend on when the tick came last.
    pub(super) fn end_what_is_due(&self, memory: &mut Memory, group_id: &str) {
        if let Some(entry) = memory.groups.get_mut(group_id) {
            let commands = entry.group.tick(&self.limits, steady_ms());
            self.run(memory, group_id, commands);
        }
    }

    /// Forgets offsets that nobody has used for long; whether more of them are to be forgotten, and can be.
    fn expire_offsets(&self, memory: &mut Memory, now: i64) -> bool {
        let before_ms = wall_ms() - self.offsets_retention_ms;
        let unused = memory.groups.iter().filter(|(_, entry)| {
            entry.group.is_vacant()
                && (entry.group.protocol_type().is_none()
                    || entry.group.phase_since_ms() < now - self.offsets_retention_ms)
        });
        let mut due = unused.filter_map(|(group_id, entry)| {
            let expired = entry.offsets.expired(before_ms);
            let is_due = !expired.is_empty() || entry.offsets.is_empty();
            is_due.then(|| (group_id.clone(), expired))
        });
        let now_due: Vec<_> = due.by_ref().take(EXPIRED_AT_ONCE_MAX).collect();
        let are_left = due.next().is_some();
        let expired = now_due
            .into_iter()
            .all(|(group_id, partitions)| self.expire(memory, &group_id, partitions));
        expired && are_left
    }

    /// Forgets these offsets, and the group if it was nothing but that. False: it cannot be written.
    fn expire(&self, memory: &mut Memory, group_id: &str, partitions: Vec<TopicPartition>) -> bool {
        if !partitions.is_empty() && self.forget_offsets(memory, group_id, partitions).is_err() {
            return false;
        }
        let Some(entry) = memory.groups.get_mut(group_id) else {
            return true;
        };
        if entry.group.is_vacant() && entry.offsets.is_empty() {
            let tombstone = [(Key::group(group_id), None)];
            let Ok(written) = append(&self.log, &tombstone, ProducerStamp::NONE) else {
                return false;
            };
            memory.written = written;
            memory.groups.remove(group_id);
        }
        true
    }

    pub(super) fn forget_offsets(
        &self,
        memory: &mut Memory,
        group_id: &str,
        partitions: Vec<TopicPartition>,
    ) -> Result<(), ErrorCode> {
        let tombstones: Vec<(Bytes, Option<Bytes>)> = partitions
            .iter()
            .map(|partition| (Key::offset(group_id, partition), None))
            .collect();
        let written = append(&self.log, &tombstones, ProducerStamp::NONE)?;
        memory.written = written;
        if let Some(entry) = memory.groups.get_mut(group_id) {
            for partition in partitions {
                entry.offsets.apply(None, written, partition, None);
            }
        }
        Ok(())
    }
}
