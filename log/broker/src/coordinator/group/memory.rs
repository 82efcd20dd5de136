//! What the group coordinator keeps in memory, and how the log changes it: at the start by replay, later by requests.

use std::collections::{BTreeSet, HashMap};

use log_protocol::{BatchHeader, ControlKind, ControlRecord, DecodeError, Record, TopicPartition};
use tokio::sync::oneshot;
use tracing::warn;

use super::offsets::Offsets;
use super::record::{GroupRecord, Key, OffsetRecord};
use super::state::{Group, JoinReply, SyncReply, Ticket};

/// All groups, and who waits for them.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) groups: HashMap<String, Entry>,
    pub(super) joins: HashMap<Ticket, oneshot::Sender<JoinReply>>,
    pub(super) syncs: HashMap<Ticket, oneshot::Sender<SyncReply>>,
    pub(super) next_ticket: Ticket,
    /// Groups in which a producer's open transaction has offsets.
    pub(super) staged: HashMap<i64, BTreeSet<String>>,
    /// Offset of the last record that memory includes, −1 before the first.
    pub(super) written: i64,
    pub(super) next_retention_check_ms: i64,
}

pub(super) struct Entry {
    pub(super) group: Group,
    pub(super) offsets: Offsets,
}

impl Entry {
    pub(super) fn new(now: i64) -> Self {
        Self {
            group: Group::new(now),
            offsets: Offsets::default(),
        }
    }
}

impl Memory {
    /// The next ticket.
    pub(super) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// An offset that was written at `log_offset`; the same for live requests and the replay.
    pub(super) fn apply_offset(
        &mut self,
        group_id: &str,
        producer_id: Option<i64>,
        log_offset: i64,
        partition: TopicPartition,
        record: Option<OffsetRecord>,
        now: i64,
    ) {
        if let Some(producer_id) = producer_id {
            self.staged
                .entry(producer_id)
                .or_default()
                .insert(group_id.to_owned());
        }
        self.groups
            .entry(group_id.to_owned())
            .or_insert_with(|| Entry::new(now))
            .offsets
            .apply(producer_id, log_offset, partition, record);
    }

    /// The marker of a producer.
    pub(super) fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        for group_id in self.staged.remove(&producer_id).unwrap_or_default() {
            if let Some(entry) = self.groups.get_mut(&group_id) {
                entry.offsets.end_transaction(producer_id, commit);
            }
        }
    }

    /// One record of `__consumer_offsets`, at the start.
    pub(super) fn replay(&mut self, header: &BatchHeader, record: &Record, now: i64) {
        self.written = record.offset;
        let Some(key) = &record.key else { return };
        if header.is_control() {
            if let Some(control) = ControlRecord::parse(key, record.value.as_deref()) {
                self.end_transaction(header.producer_id, control.kind == ControlKind::Commit);
            }
            return;
        }
        let producer_id = header.is_transactional().then_some(header.producer_id);
        let value = record.value.as_deref();
        if let Err(error) = self.replay_record(key, value, producer_id, record.offset, now) {
            // One record that nobody can read must not keep the broker from starting.
            warn!(offset = record.offset, %error, "record of __consumer_offsets skipped");
        }
    }

    fn replay_record(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        producer_id: Option<i64>,
        log_offset: i64,
        now: i64,
    ) -> Result<(), DecodeError> {
        match Key::decode(key)? {
            Key::Offset(group_id, partition) => {
                let record = value.map(OffsetRecord::decode).transpose()?;
                self.apply_offset(&group_id, producer_id, log_offset, partition, record, now);
            }
            Key::Group(group_id) => {
                let group = match value {
                    Some(value) => Group::restored(GroupRecord::decode(value)?, now),
                    None => Group::new(now),
                };
                self.groups
                    .entry(group_id)
                    .or_insert_with(|| Entry::new(now))
                    .group = group;
            }
            Key::Unknown(version) => {
                warn!(version, "record of __consumer_offsets has an unknown kind")
            }
        }
        Ok(())
    }
}
