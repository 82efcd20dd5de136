//! The group coordinator's shell: runs [`state`] and [`offsets`] under one short lock, writes `__consumer_offsets`, answers who waits.
//!
//! ```text
//!  join, sync ──▶ Group ──▶ commands ──▶ persist ─ durable ─▶ oneshot ──▶ the parked request
//!  commit     ──▶ sync what the offsets point past ──▶ append ──▶ Offsets ─ durable ─▶ answer
//! ```
//!
//! Invariants:
//! 1. The lock is never held across a wait; a parked request holds up nothing but its own connection.
//! 2. Memory changes in the order of the log: both happen under the lock.
//! 3. Nothing is answered from memory before the log is durable up to it.

mod expiry;
mod memory;
pub(crate) mod offsets;
pub(crate) mod record;
pub(crate) mod state;
mod told;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use log_protocol::{ErrorCode, ProducerStamp, TopicPartition};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};
use uuid::Uuid;

use self::expiry::RETENTION_CHECK_MS;
use self::memory::{Entry, Memory};
use self::record::{Key, OffsetRecord};
use self::state::{Command, Identity, Join, JoinReply, Limits, Sync, SyncReply};
use super::txn::state::Producer;
use super::{Background, append, durable, internal_partition, replay};
use crate::OpenError;
use crate::clock::steady_ms;
use crate::quorum::Topics;
use crate::storage::{Partition, lock};

pub(crate) use self::told::Description;

/// The topic of groups and offsets.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// `offset.metadata.max.bytes`.
pub(crate) const OFFSET_METADATA_BYTES_MAX: usize = 4096;

/// All groups of this broker.
pub(crate) struct Groups {
    topics: Topics,
    log: Arc<Partition>,
    background: Arc<Background>,
    limits: Limits,
    offsets_retention_ms: i64,
    /// Counts transactions with offsets that ended.
    ended: watch::Sender<u64>,
    memory: Mutex<Memory>,
}

/// What OffsetFetch says of a partition.
pub(crate) struct FetchedOffset {
    pub(crate) partition: TopicPartition,
    /// `None` where nothing is committed.
    pub(crate) record: Option<OffsetRecord>,
    /// An open transaction may still change it, and the caller asked to be told.
    pub(crate) unstable: bool,
}

impl Groups {
    /// Loads all groups from their topic.
    pub(crate) fn open(
        topics: Topics,
        background: Arc<Background>,
        limits: Limits,
        offsets_retention_ms: i64,
    ) -> Result<Self, OpenError> {
        let log = internal_partition(&topics, OFFSETS_TOPIC)?;
        let mut memory = Memory {
            written: -1,
            ..Memory::default()
        };
        let now = steady_ms();
        replay(OFFSETS_TOPIC, &log, |header, record| {
            memory.replay(header, &record, now)
        })?;
        memory
            .groups
            .retain(|_, entry| !(entry.group.is_vacant() && entry.offsets.is_empty()));
        if !memory.groups.is_empty() {
            info!(groups = memory.groups.len(), "groups loaded");
        }
        memory.next_retention_check_ms = now + RETENTION_CHECK_MS;
        let ended = watch::Sender::new(0);
        let memory = Mutex::new(memory);
        let this = Self {
            topics,
            log,
            background,
            limits,
            offsets_retention_ms,
            ended,
            memory,
        };
        // A stop may have come between the deletion of a topic and that of its offsets.
        this.forget(|topic| this.topics.get(topic).is_none());
        Ok(this)
    }

    /// The partition that holds the offsets of `group`: what AddOffsetsToTxn adds to a transaction.
    pub(crate) fn partition_of(&self, _group: &str) -> TopicPartition {
        TopicPartition::new(OFFSETS_TOPIC, 0)
    }

    /// JoinGroup; waits for the rebalance.
    pub(crate) async fn join(&self, group_id: &str, mut join: Join) -> JoinReply {
        if group_id.is_empty() {
            return JoinReply::refused(ErrorCode::InvalidGroupId, join.member_id);
        }
        let now = steady_ms();
        let member_id = join.member_id.clone();
        let prefix = join.instance_id.as_deref().unwrap_or(&join.client_id);
        join.fresh_member_id = format!("{prefix}-{}", Uuid::new_v4());
        let (sender, receiver) = oneshot::channel();
        {
            let mut memory = self.memory();
            if !member_id.is_empty() && !memory.groups.contains_key(group_id) {
                return JoinReply::refused(ErrorCode::UnknownMemberId, member_id);
            }
            join.ticket = memory.ticket();
            memory.joins.insert(join.ticket, sender);
            let is_new = !memory.groups.contains_key(group_id);
            let entry = memory
                .groups
                .entry(group_id.to_owned())
                .or_insert_with(|| Entry::new(now));
            let commands = entry.group.join(join, &self.limits, now);
            if is_new && entry.group.is_vacant() {
                // A join that is refused makes no group.
                memory.groups.remove(group_id);
            }
            self.run(&mut memory, group_id, commands);
        }
        let gone = JoinReply::refused(ErrorCode::CoordinatorNotAvailable, member_id);
        receiver.await.unwrap_or(gone)
    }

    /// SyncGroup; waits for the leader.
    pub(crate) async fn sync(&self, group_id: &str, mut sync: Sync) -> SyncReply {
        let (sender, receiver) = oneshot::channel();
        {
            let mut memory = self.memory();
            let ticket = memory.ticket();
            let Some(entry) = memory.groups.get_mut(group_id) else {
                return SyncReply::refused(ErrorCode::UnknownMemberId);
            };
            sync.ticket = ticket;
            let commands = entry.group.sync(sync, steady_ms());
            memory.syncs.insert(ticket, sender);
            self.run(&mut memory, group_id, commands);
        }
        receiver
            .await
            .unwrap_or(SyncReply::refused(ErrorCode::CoordinatorNotAvailable))
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(&self, group_id: &str, member: &Identity) -> ErrorCode {
        let mut memory = self.memory();
        match memory.groups.get_mut(group_id) {
            Some(entry) => entry.group.heartbeat(member, steady_ms()),
            None => ErrorCode::UnknownMemberId,
        }
    }

    /// LeaveGroup of one member.
    pub(crate) fn leave(&self, group_id: &str, member: &Identity) -> ErrorCode {
        let mut memory = self.memory();
        let Some(entry) = memory.groups.get_mut(group_id) else {
            return ErrorCode::UnknownMemberId;
        };
        let (error, commands) = entry.group.leave(member, &self.limits, steady_ms());
        self.run(&mut memory, group_id, commands);
        error
    }

    /// OffsetCommit: returns once the offsets, and before them the records that they point past, are durable.
    pub(crate) async fn commit_offsets(
        &self,
        group_id: &str,
        member: &Identity,
        offsets: Vec<(TopicPartition, OffsetRecord)>,
    ) -> Result<(), ErrorCode> {
        self.authorize(group_id, member, false)?;
        self.sync_behind(&offsets).await?;
        let written = self.write_offsets(group_id, member, None, offsets)?;
        durable(&self.log, written).await
    }

    /// TxnOffsetCommit: the offsets wait for the end of the producer's transaction, which makes them durable. `gate` holds the
    /// transaction open while they are written.
    pub(crate) async fn stage_offsets<G>(
        &self,
        group_id: &str,
        member: &Identity,
        producer: Producer,
        offsets: Vec<(TopicPartition, OffsetRecord)>,
        gate: impl FnOnce() -> Result<G, ErrorCode>,
    ) -> Result<(), ErrorCode> {
        self.authorize(group_id, member, true)?;
        self.sync_behind(&offsets).await?;
        let _held_open = gate()?;
        self.write_offsets(group_id, member, Some(producer), offsets)
            .map(drop)
    }

    /// As [`Groups::stage_offsets`] for a caller that synced the sources itself and holds the transaction open.
    pub(crate) fn stage_offsets_synced(
        &self,
        group_id: &str,
        member: &Identity,
        producer: Producer,
        offsets: Vec<(TopicPartition, OffsetRecord)>,
    ) -> Result<(), ErrorCode> {
        self.write_offsets(group_id, member, Some(producer), offsets)
            .map(drop)
    }

    /// The end of a producer's transaction, after its marker was appended to the offsets' partition.
    pub(crate) fn end_transaction(&self, producer_id: i64, commit: bool) {
        let mut memory = self.memory();
        memory.end_transaction(producer_id, commit);
        memory.written = memory.written.max(self.log.high_watermark() - 1);
        drop(memory);
        self.ended.send_modify(|count| *count += 1);
    }

    /// Wakes when a transaction with offsets has ended, and its offsets are seen.
    pub(crate) fn watch_ended_transactions(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// OffsetFetch; `partitions` `None` = all that the group has.
    pub(crate) async fn fetch_offsets(
        &self,
        group_id: &str,
        partitions: Option<Vec<TopicPartition>>,
        require_stable: bool,
    ) -> Result<Vec<FetchedOffset>, ErrorCode> {
        let (fetched, written) = {
            let memory = self.memory();
            let entry = memory.groups.get(group_id);
            let partitions = partitions.unwrap_or_else(|| {
                entry
                    .map(|entry| entry.offsets.partitions())
                    .unwrap_or_default()
            });
            let fetched = partitions
                .into_iter()
                .map(|partition| FetchedOffset {
                    record: entry.and_then(|entry| entry.offsets.get(&partition).cloned()),
                    unstable: require_stable
                        && entry.is_some_and(|entry| entry.offsets.is_unstable(&partition)),
                    partition,
                })
                .collect();
            (fetched, memory.written)
        };
        durable(&self.log, written).await?;
        Ok(fetched)
    }

    /// OffsetDelete: forgets the offsets of these partitions, but for topics that a member is subscribed to, which are the answer.
    pub(crate) async fn delete_offsets(
        &self,
        group_id: &str,
        partitions: &[TopicPartition],
    ) -> Result<HashSet<String>, ErrorCode> {
        let (subscribed, written) = {
            let mut memory = self.memory();
            self.end_what_is_due(&mut memory, group_id);
            let entry = memory
                .groups
                .get(group_id)
                .ok_or(ErrorCode::GroupIdNotFound)?;
            let topics: HashSet<&str> = partitions.iter().map(|one| &*one.topic).collect();
            let mut subscribed = HashSet::new();
            for topic in topics {
                if entry.group.is_subscribed(topic)? {
                    subscribed.insert(topic.to_owned());
                }
            }
            let mut gone: Vec<TopicPartition> = partitions
                .iter()
                .filter(|one| !subscribed.contains(&*one.topic))
                .filter(|one| entry.offsets.get(one).is_some())
                .cloned()
                .collect();
            gone.sort();
            gone.dedup();
            if !gone.is_empty() {
                self.forget_offsets(&mut memory, group_id, gone)?;
            }
            (subscribed, memory.written)
        };
        durable(&self.log, written).await?;
        Ok(subscribed)
    }

    /// DeleteGroups of one group.
    pub(crate) async fn delete(&self, group_id: &str) -> Result<(), ErrorCode> {
        let written = {
            let mut memory = self.memory();
            self.end_what_is_due(&mut memory, group_id);
            let entry = memory
                .groups
                .get(group_id)
                .ok_or(ErrorCode::GroupIdNotFound)?;
            if !entry.group.is_vacant() {
                return Err(ErrorCode::NonEmptyGroup);
            }
            let mut tombstones: Vec<(Bytes, Option<Bytes>)> = entry
                .offsets
                .partitions()
                .iter()
                .map(|partition| (Key::offset(group_id, partition), None))
                .collect();
            tombstones.push((Key::group(group_id), None));
            let written = append(&self.log, &tombstones, ProducerStamp::NONE)?;
            memory.written = written;
            memory.groups.remove(group_id);
            written
        };
        durable(&self.log, written).await
    }

    /// All groups. Who holds them may be writing: while that takes, nobody waits but for them.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    fn authorize(
        &self,
        group_id: &str,
        member: &Identity,
        transactional: bool,
    ) -> Result<(), ErrorCode> {
        let now = steady_ms();
        let mut memory = self.memory();
        match memory.groups.get_mut(group_id) {
            Some(entry) => entry
                .group
                .authorize_offset_commit(member, transactional, now),
            // A group that keeps offsets here and manages its members elsewhere.
            None if member.generation < 0 => Ok(()),
            None if transactional => Err(ErrorCode::IllegalGeneration),
            None => Err(ErrorCode::GroupIdNotFound),
        }
    }

    /// Makes durable what the offsets point past: a committed offset must never outlive its records.
    async fn sync_behind(
        &self,
        offsets: &[(TopicPartition, OffsetRecord)],
    ) -> Result<(), ErrorCode> {
        let unsynced = self.unsynced(offsets.iter().map(|(one, record)| (one, record.offset)));
        let syncs = unsynced.iter().map(|partition| partition.sync());
        try_join_all(syncs).await.map(drop).map_err(|error| {
            warn!(%error, "cannot sync the records behind an offset commit, which is refused");
            ErrorCode::KafkaStorageError
        })
    }

    /// The partitions that are not on disk up to these offsets.
    pub(crate) fn unsynced<'a>(
        &self,
        offsets: impl Iterator<Item = (&'a TopicPartition, i64)>,
    ) -> Vec<Arc<Partition>> {
        offsets
            .filter_map(|(one, offset)| {
                let partition = self.topics.get(&one.topic)?.partition(one.partition)?;
                (partition.synced_offset() < offset.min(partition.high_watermark()))
                    .then_some(partition)
            })
            .collect()
    }

    fn write_offsets(
        &self,
        group_id: &str,
        member: &Identity,
        producer: Option<Producer>,
        offsets: Vec<(TopicPartition, OffsetRecord)>,
    ) -> Result<i64, ErrorCode> {
        let now = steady_ms();
        let mut memory = self.memory();
        if offsets.is_empty() {
            return Ok(memory.written);
        }
        // Deleted since the caller looked: its offsets are forgotten already.
        if offsets
            .iter()
            .any(|(one, _)| self.topics.get(&one.topic).is_none())
        {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let known = memory.groups.contains_key(group_id);
        if !known && member.generation >= 0 {
            let gone = match producer {
                Some(_) => ErrorCode::IllegalGeneration,
                None => ErrorCode::GroupIdNotFound,
            };
            return Err(gone);
        }
        if let Some(entry) = memory.groups.get_mut(group_id) {
            entry
                .group
                .authorize_offset_commit(member, producer.is_some(), now)?;
        }
        let records: Vec<(Bytes, Option<Bytes>)> = offsets
            .iter()
            .map(|(partition, record)| (Key::offset(group_id, partition), Some(record.encode())))
            .collect();
        let stamp = producer.map_or(ProducerStamp::NONE, |producer| ProducerStamp {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: -1,
            transactional: true,
        });
        let last = append(&self.log, &records, stamp)?;
        let first = last + 1 - i64::try_from(records.len()).unwrap_or(0);
        let producer_id = producer.map(|producer| producer.id);
        for (log_offset, (partition, record)) in (first..).zip(offsets) {
            memory.apply_offset(
                group_id,
                producer_id,
                log_offset,
                partition,
                Some(record),
                now,
            );
        }
        memory.written = last;
        Ok(last)
    }

    /// Executes commands in order; what follows a write is answered once the write is durable.
    fn run(&self, memory: &mut Memory, group_id: &str, commands: Vec<Command>) {
        let mut barrier = None;
        let mut failed = false;
        let mut delayed: Vec<Delayed> = Vec::new();
        for command in commands {
            let answer = match command {
                Command::Persist(record) => {
                    let write = [(Key::group(group_id), Some(record.encode()))];
                    match append(&self.log, &write, ProducerStamp::NONE) {
                        Ok(offset) => {
                            memory.written = offset;
                            barrier = Some(offset);
                        }
                        Err(_) => failed = true,
                    }
                    continue;
                }
                Command::ReplyJoin(ticket, reply) => memory
                    .joins
                    .remove(&ticket)
                    .map(|sender| Delayed::Join(sender, reply)),
                Command::ReplySync(ticket, reply) => memory
                    .syncs
                    .remove(&ticket)
                    .map(|sender| Delayed::Sync(sender, reply)),
            };
            match answer {
                Some(answer) if failed => answer.refuse(),
                Some(answer) if barrier.is_some() => delayed.push(answer),
                Some(answer) => answer.send(),
                None => {}
            }
        }
        if let (Some(offset), false) = (barrier, delayed.is_empty()) {
            let log = Arc::clone(&self.log);
            self.background.spawn(async move {
                let written = durable(&log, offset).await.is_ok();
                for answer in delayed {
                    if written {
                        answer.send()
                    } else {
                        answer.refuse()
                    }
                }
            });
        }
    }
}

/// An answer that waits for a write.
enum Delayed {
    Join(oneshot::Sender<JoinReply>, JoinReply),
    Sync(oneshot::Sender<SyncReply>, SyncReply),
}

impl Delayed {
    /// Whoever asked may be gone by now, which is fine.
    fn send(self) {
        match self {
            Self::Join(sender, reply) => drop(sender.send(reply)),
            Self::Sync(sender, reply) => drop(sender.send(reply)),
        }
    }

    fn refuse(self) {
        let error = ErrorCode::CoordinatorNotAvailable;
        match self {
            Self::Join(sender, reply) => {
                drop(sender.send(JoinReply::refused(error, reply.member_id)))
            }
            Self::Sync(sender, _) => drop(sender.send(SyncReply::refused(error))),
        }
    }
}

#[cfg(test)]
mod tests;
