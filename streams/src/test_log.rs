//! A [`Log`] in memory, for the tests of this crate: real transactions, control records, gaps, faults on demand.
//!
//! ```text
//! entries of a partition, index = offset
//!   │ data │ data (txn 7, open) │ data │ control (commit of txn 5) │ gap │ data │
//!             ▲ last stable offset                                              ▲ high watermark
//! ```
//!
//! Invariants:
//! 1. The last stable offset is the first entry of an open transaction, or the high watermark.
//! 2. An open transaction that is dropped stays open, as after a crash, until its id is opened again.
//! 3. Every commit and abort leaves one control record in each partition that the transaction wrote to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log_api::{
    Admin, AdminError, BatchBuilder, CommittedOffset, GroupDescription, Log, NewTopic,
    OffsetCommit, OffsetSpec, PartitionProgress, PollBudget, ProducerStamp, ReadError, Reader,
    ReaderOptions, Records, RecordsBuilder, Start, TopicDescription, TopicPartition, Transaction,
    TransactionError, TransactionOptions, WriteError, Writer,
};
use log_api::{GroupMember, Membership, MembershipError, MembershipOptions};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// One record as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRecord {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

#[allow(
    clippy::allow_attributes,
    dead_code,
    reason = "not every test module uses everything"
)]
impl StoredRecord {
    /// The value as text, `None` for a tombstone.
    pub(crate) fn text(&self) -> Option<&str> {
        self.value
            .as_deref()
            .map(|value| std::str::from_utf8(value).unwrap())
    }

    /// The key as text.
    pub(crate) fn key_text(&self) -> Option<&str> {
        self.key
            .as_deref()
            .map(|key| std::str::from_utf8(key).unwrap())
    }
}

/// How the next commit of a transactional id goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::allow_attributes,
    dead_code,
    reason = "not every test module uses every fault"
)]
pub(crate) enum CommitFault {
    /// Nothing becomes visible; the same content may be tried again.
    Aborted,
    /// Everything becomes visible, but the answer is lost.
    UnknownApplied,
    /// Nothing becomes visible, and the answer is lost; the transaction stays open.
    UnknownLost,
    /// Somebody else took over.
    Fenced,
}

/// The log. Clones share their content.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryLog {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<String, Topic>,
    groups: HashMap<String, BTreeMap<TopicPartition, (i64, String)>>,
    transactions: HashMap<u64, TransactionState>,
    owners: HashMap<String, Owner>,
    faults: HashMap<String, CommitFault>,
    held: HashMap<String, Arc<Notify>>,
    transactions_begun: u64,
    clock_ms: i64,
}

#[derive(Debug)]
struct Topic {
    id: uuid::Uuid,
    configs: BTreeMap<String, String>,
    partitions: Vec<Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    start: i64,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
enum Entry {
    Data {
        record: StoredRecord,
        transaction: Option<u64>,
    },
    Control,
    Gap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransactionState {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug, Default)]
struct Owner {
    epoch: u64,
    open: Option<OpenTransaction>,
}

#[derive(Debug)]
struct OpenTransaction {
    number: u64,
    bases: Vec<i64>,
    partitions: BTreeSet<TopicPartition>,
    offsets: Vec<(String, OffsetCommit)>,
}

#[allow(
    clippy::allow_attributes,
    dead_code,
    reason = "not every test module uses everything"
)]
impl MemoryLog {
    /// An empty log.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The log as engines take it.
    pub(crate) fn shared(&self) -> Arc<dyn Log> {
        Arc::new(self.clone())
    }

    /// How many hold on to it, this one among them.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.shared)
    }

    /// Makes a topic.
    pub(crate) fn create(&self, name: &str, partitions: i32) {
        self.state()
            .create(NewTopic::new(name, partitions))
            .unwrap();
        self.shared.changed.notify_waiters();
    }

    /// Gives a topic the identity that it has in a fixture.
    pub(crate) fn set_topic_id(&self, name: &str, id: uuid::Uuid) {
        let mut state = self.state();
        state.topics.get_mut(name).expect("the topic exists").id = id;
    }

    /// Appends one record outside of transactions; the timestamp is the log's clock.
    pub(crate) fn push(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&str>,
        value: Option<&str>,
    ) -> i64 {
        let timestamp_ms = self.state().clock_ms;
        self.push_record(
            topic,
            partition,
            StoredRecord {
                offset: 0,
                timestamp_ms,
                key: key.map(|key| key.as_bytes().to_vec()),
                value: value.map(|value| value.as_bytes().to_vec()),
                headers: Vec::new(),
            },
        )
    }

    /// Appends one record with everything that belongs to it; its offset is overwritten.
    pub(crate) fn push_record(&self, topic: &str, partition: i32, record: StoredRecord) -> i64 {
        let at = TopicPartition::new(topic, partition);
        let base = {
            let mut state = self.state();
            let partition = state.partition_mut(&at).expect("the topic exists");
            partition.append(vec![record], None)
        };
        self.shared.changed.notify_waiters();
        base
    }

    /// Leaves offsets without records, as compaction does.
    pub(crate) fn push_gap(&self, topic: &str, partition: i32, offsets: usize) {
        let at = TopicPartition::new(topic, partition);
        let mut state = self.state();
        let partition = state.partition_mut(&at).expect("the topic exists");
        partition
            .entries
            .extend(std::iter::repeat_n(Entry::Gap, offsets));
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// All records of a topic that a read_committed reader sees, partition after partition.
    pub(crate) fn committed_records(&self, topic: &str) -> Vec<StoredRecord> {
        let state = self.state();
        let Some(found) = state.topics.get(topic) else {
            return Vec::new();
        };
        let mut records = Vec::new();
        for partition in &found.partitions {
            let stable = partition.last_stable_offset(&state.transactions);
            for offset in partition.start..stable {
                if let Some(record) = partition.visible(offset, false, &state.transactions) {
                    records.push(record.clone());
                }
            }
        }
        records
    }

    /// The names of all topics.
    pub(crate) fn topics(&self) -> Vec<String> {
        self.state().topics.keys().cloned().collect()
    }

    /// What a group has committed, by `topic-partition`.
    pub(crate) fn group_offsets(&self, group: &str) -> BTreeMap<String, (i64, String)> {
        let state = self.state();
        let offsets = state.groups.get(group).into_iter().flatten();
        offsets
            .map(|(at, value)| (at.to_string(), value.clone()))
            .collect()
    }

    /// Sets the timestamp of the records to come, ms since 1970.
    pub(crate) fn set_clock(&self, now_ms: i64) {
        self.state().clock_ms = now_ms;
    }

    /// Makes the next commit of this transactional id go wrong.
    pub(crate) fn fail_next_commit(&self, transactional_id: &str, fault: CommitFault) {
        self.state()
            .faults
            .insert(transactional_id.to_owned(), fault);
    }

    /// Makes the next commit of this transactional id wait until the test lets it go on.
    pub(crate) fn hold_next_commit(&self, transactional_id: &str) -> Arc<Notify> {
        let let_go = Arc::<Notify>::default();
        self.state()
            .held
            .insert(transactional_id.to_owned(), Arc::clone(&let_go));
        let_go
    }

    /// A second owner takes over the id: its present owner is fenced, its open transaction aborted.
    pub(crate) fn fence(&self, transactional_id: &str) {
        self.state().take_over(transactional_id);
        self.shared.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }
}

impl State {
    fn create(&mut self, topic: NewTopic) -> Result<TopicDescription, AdminError> {
        if self.topics.contains_key(&topic.name) {
            return Err(AdminError::TopicExists(topic.name));
        }
        let partitions = (0..topic.partitions)
            .map(|_| Partition::default())
            .collect();
        let made = Topic {
            id: uuid::Uuid::new_v4(),
            configs: topic.configs,
            partitions,
        };
        self.topics.insert(topic.name.clone(), made);
        Ok(self.describe(&topic.name).expect("it was inserted above"))
    }

    fn describe(&self, name: &str) -> Option<TopicDescription> {
        let topic = self.topics.get(name)?;
        Some(TopicDescription {
            name: name.to_owned(),
            id: topic.id,
            partitions: i32::try_from(topic.partitions.len()).expect("few partitions"),
            configs: topic.configs.clone(),
            internal: name.starts_with("__"),
        })
    }

    fn partition(&self, at: &TopicPartition) -> Option<&Partition> {
        let index = usize::try_from(at.partition).ok()?;
        self.topics.get(&*at.topic)?.partitions.get(index)
    }

    fn partition_mut(&mut self, at: &TopicPartition) -> Option<&mut Partition> {
        let index = usize::try_from(at.partition).ok()?;
        self.topics.get_mut(&*at.topic)?.partitions.get_mut(index)
    }

    fn progress(&self, at: &TopicPartition, position: i64) -> Option<PartitionProgress> {
        let partition = self.partition(at)?;
        Some(PartitionProgress {
            partition: at.clone(),
            position,
            high_watermark: partition.end(),
            last_stable_offset: partition.last_stable_offset(&self.transactions),
        })
    }

    /// Raises the epoch of the id and aborts what its last owner left open.
    fn take_over(&mut self, id: &str) -> u64 {
        let owner = self.owners.entry(id.to_owned()).or_default();
        owner.epoch += 1;
        let epoch = owner.epoch;
        if let Some(open) = owner.open.take() {
            self.end(open, TransactionState::Aborted);
        }
        epoch
    }

    fn end(&mut self, open: OpenTransaction, outcome: TransactionState) -> Vec<i64> {
        self.transactions.insert(open.number, outcome);
        for at in &open.partitions {
            if let Some(partition) = self.partition_mut(at) {
                partition.entries.push(Entry::Control);
            }
        }
        if outcome == TransactionState::Committed {
            for (group, commit) in open.offsets {
                let offsets = self.groups.entry(group).or_default();
                offsets.insert(commit.partition, (commit.offset, commit.metadata));
            }
        }
        open.bases
    }

    /// The transaction of this owner, begun if there is none.
    fn open(&mut self, id: &str, epoch: u64) -> Result<&mut OpenTransaction, TransactionError> {
        self.check_owner(id, epoch)?;
        let owner = self.owners.get_mut(id).expect("checked above");
        if owner.open.is_none() {
            self.transactions_begun += 1;
            self.transactions
                .insert(self.transactions_begun, TransactionState::Open);
        }
        Ok(owner.open.get_or_insert_with(|| OpenTransaction {
            number: self.transactions_begun,
            bases: Vec::new(),
            partitions: BTreeSet::new(),
            offsets: Vec::new(),
        }))
    }

    fn check_owner(&self, id: &str, epoch: u64) -> Result<(), TransactionError> {
        match self.owners.get(id) {
            Some(owner) if owner.epoch == epoch => Ok(()),
            _ => Err(TransactionError::Fenced(id.to_owned())),
        }
    }
}

impl Partition {
    fn end(&self) -> i64 {
        i64::try_from(self.entries.len()).expect("few records")
    }

    fn append(&mut self, records: Vec<StoredRecord>, transaction: Option<u64>) -> i64 {
        let base = self.end();
        for (offset, mut record) in (base..).zip(records) {
            record.offset = offset;
            self.entries.push(Entry::Data {
                record,
                transaction,
            });
        }
        base
    }

    fn last_stable_offset(&self, transactions: &HashMap<u64, TransactionState>) -> i64 {
        let open = self.entries.iter().position(|entry| match entry {
            Entry::Data {
                transaction: Some(number),
                ..
            } => transactions.get(number) == Some(&TransactionState::Open),
            _ => false,
        });
        open.map_or(self.end(), |index| {
            i64::try_from(index).expect("few records")
        })
    }

    fn visible(
        &self,
        offset: i64,
        uncommitted: bool,
        transactions: &HashMap<u64, TransactionState>,
    ) -> Option<&StoredRecord> {
        match self.entries.get(usize::try_from(offset).ok()?)? {
            Entry::Data {
                record,
                transaction,
            } => {
                let shown = uncommitted
                    || transaction.is_none_or(|number| {
                        transactions.get(&number) == Some(&TransactionState::Committed)
                    });
                shown.then_some(record)
            }
            Entry::Control | Entry::Gap => None,
        }
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(self.clone())
    }

    async fn reader(
        &self,
        options: ReaderOptions,
        assignment: Vec<(TopicPartition, Start)>,
    ) -> Result<Box<dyn Reader>, ReadError> {
        let mut reader = MemoryReader {
            log: self.clone(),
            options,
            positions: Vec::new(),
            next: 0,
        };
        for (at, start) in assignment {
            let position = reader.resolve(&at, start)?;
            reader.positions.push(Position {
                at,
                position,
                paused: false,
            });
        }
        Ok(Box::new(reader))
    }

    async fn writer(&self) -> Result<Arc<dyn Writer>, WriteError> {
        Ok(Arc::new(self.clone()))
    }

    async fn transaction(
        &self,
        options: TransactionOptions,
    ) -> Result<Box<dyn Transaction>, TransactionError> {
        let epoch = self.state().take_over(&options.transactional_id);
        self.shared.changed.notify_waiters();
        let id = options.transactional_id;
        Ok(Box::new(MemoryTransaction {
            log: self.clone(),
            id,
            epoch,
        }))
    }

    async fn membership(
        &self,
        options: MembershipOptions,
    ) -> Result<Box<dyn Membership>, MembershipError> {
        Err(MembershipError::Refused {
            group: options.group,
            reason: "a log in memory has no coordinator".to_owned(),
        })
    }
}

#[async_trait]
impl Admin for MemoryLog {
    async fn create_topic(&self, topic: NewTopic) -> Result<TopicDescription, AdminError> {
        let made = self.state().create(topic);
        self.shared.changed.notify_waiters();
        made
    }

    async fn delete_topic(&self, name: &str) -> Result<(), AdminError> {
        let removed = self.state().topics.remove(name);
        self.shared.changed.notify_waiters();
        removed
            .map(|_| ())
            .ok_or_else(|| AdminError::UnknownTopic(name.to_owned()))
    }

    async fn describe_topic(&self, name: &str) -> Result<Option<TopicDescription>, AdminError> {
        Ok(self.state().describe(name))
    }

    async fn list_topics(&self) -> Result<Vec<TopicDescription>, AdminError> {
        let state = self.state();
        Ok(state
            .topics
            .keys()
            .filter_map(|name| state.describe(name))
            .collect())
    }

    async fn create_partitions(&self, name: &str, total: i32) -> Result<(), AdminError> {
        let mut state = self.state();
        let topic = state
            .topics
            .get_mut(name)
            .ok_or_else(|| AdminError::UnknownTopic(name.to_owned()))?;
        let total = usize::try_from(total)
            .unwrap_or(0)
            .max(topic.partitions.len());
        topic.partitions.resize_with(total, Partition::default);
        Ok(())
    }

    async fn offset(&self, at: &TopicPartition, spec: OffsetSpec) -> Result<i64, AdminError> {
        let state = self.state();
        let partition = state
            .partition(at)
            .ok_or_else(|| AdminError::UnknownTopic(at.topic.to_string()))?;
        Ok(match spec {
            OffsetSpec::Earliest => partition.start,
            OffsetSpec::Latest => partition.end(),
            OffsetSpec::LastStable => partition.last_stable_offset(&state.transactions),
            OffsetSpec::Timestamp(from_ms) => (partition.start..partition.end())
                .find(|&offset| {
                    partition
                        .visible(offset, true, &state.transactions)
                        .is_some_and(|record| record.timestamp_ms >= from_ms)
                })
                .unwrap_or(partition.end()),
        })
    }

    async fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<CommittedOffset>, AdminError> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.state();
                let held = state
                    .owners
                    .values()
                    .filter_map(|owner| owner.open.as_ref())
                    .any(|open| {
                        open.offsets.iter().any(|(of, commit)| {
                            of == group && partitions.contains(&commit.partition)
                        })
                    });
                if !held {
                    let offsets = state.groups.get(group);
                    return Ok(partitions
                        .iter()
                        .map(|at| {
                            let found = offsets.and_then(|offsets| offsets.get(at));
                            CommittedOffset {
                                partition: at.clone(),
                                offset: found.map(|(offset, _)| *offset),
                                metadata: found.map_or_else(String::new, |(_, text)| text.clone()),
                            }
                        })
                        .collect());
                }
            }
            changed.await;
        }
    }

    async fn commit_offsets(
        &self,
        group: &str,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), AdminError> {
        let mut state = self.state();
        let stored = state.groups.entry(group.to_owned()).or_default();
        for commit in offsets {
            stored.insert(commit.partition, (commit.offset, commit.metadata));
        }
        Ok(())
    }

    async fn groups(&self) -> Result<Vec<GroupDescription>, AdminError> {
        let state = self.state();
        let described = state.groups.iter().map(|(name, offsets)| {
            let mut offsets: Vec<(TopicPartition, i64)> = (offsets.iter())
                .map(|(partition, (offset, _))| (partition.clone(), *offset))
                .collect();
            offsets.sort();
            GroupDescription {
                name: name.clone(),
                state: "Empty".to_owned(),
                offsets,
            }
        });
        let mut described: Vec<_> = described.collect();
        described.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(described)
    }

    async fn delete_group(&self, group: &str) -> Result<(), AdminError> {
        self.state().groups.remove(group);
        Ok(())
    }

    async fn delete_records(&self, offsets: Vec<(TopicPartition, i64)>) -> Result<(), AdminError> {
        let mut state = self.state();
        for (at, below) in offsets {
            let partition = state
                .partition_mut(&at)
                .ok_or_else(|| AdminError::UnknownTopic(at.topic.to_string()))?;
            partition.start = partition.start.max(below.min(partition.end()));
        }
        Ok(())
    }
}

#[async_trait]
impl Writer for MemoryLog {
    async fn append(
        &self,
        partition: &TopicPartition,
        batch: BatchBuilder,
    ) -> Result<i64, WriteError> {
        let records = stored_records(batch);
        let base = {
            let mut state = self.state();
            state
                .partition_mut(partition)
                .ok_or_else(|| WriteError::UnknownPartition(partition.clone()))?
                .append(records, None)
        };
        self.shared.changed.notify_waiters();
        Ok(base)
    }

    async fn sync(&self, _partitions: &[TopicPartition]) -> Result<(), WriteError> {
        Ok(())
    }
}

struct MemoryTransaction {
    log: MemoryLog,
    id: String,
    epoch: u64,
}

#[async_trait]
impl Transaction for MemoryTransaction {
    async fn append(
        &mut self,
        at: &TopicPartition,
        batch: BatchBuilder,
    ) -> Result<(), TransactionError> {
        let records = stored_records(batch);
        let mut state = self.log.state();
        if state.partition(at).is_none() {
            return Err(WriteError::UnknownPartition(at.clone()).into());
        }
        let number = state.open(&self.id, self.epoch)?.number;
        let base = state
            .partition_mut(at)
            .expect("checked above")
            .append(records, Some(number));
        let open = state.open(&self.id, self.epoch)?;
        open.bases.push(base);
        open.partitions.insert(at.clone());
        drop(state);
        self.log.shared.changed.notify_waiters();
        Ok(())
    }

    async fn commit_offsets_of(
        &mut self,
        member: &GroupMember,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), TransactionError> {
        self.commit_offsets(&member.group, offsets).await
    }

    async fn commit_offsets(
        &mut self,
        group: &str,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), TransactionError> {
        let mut state = self.log.state();
        let open = state.open(&self.id, self.epoch)?;
        open.offsets
            .extend(offsets.into_iter().map(|commit| (group.to_owned(), commit)));
        Ok(())
    }

    async fn commit(&mut self) -> Result<Vec<i64>, TransactionError> {
        let held = self.log.state().held.remove(&self.id);
        if let Some(let_go) = held {
            let_go.notified().await;
        }
        let mut state = self.log.state();
        state.check_owner(&self.id, self.epoch)?;
        let fault = state.faults.remove(&self.id);
        let open = state
            .owners
            .get_mut(&self.id)
            .and_then(|owner| owner.open.take());
        let result = match (fault, open) {
            (Some(CommitFault::Fenced), open) => {
                state.owners.get_mut(&self.id).expect("checked above").open = open;
                state.take_over(&self.id);
                Err(TransactionError::Fenced(self.id.clone()))
            }
            (Some(CommitFault::UnknownLost), open) => {
                state.owners.get_mut(&self.id).expect("checked above").open = open;
                Err(TransactionError::Unknown(self.id.clone()))
            }
            (_, None) => Ok(Vec::new()),
            (None, Some(open)) => Ok(state.end(open, TransactionState::Committed)),
            (Some(CommitFault::UnknownApplied), Some(open)) => {
                state.end(open, TransactionState::Committed);
                Err(TransactionError::Unknown(self.id.clone()))
            }
            (Some(CommitFault::Aborted), Some(open)) => {
                state.end(open, TransactionState::Aborted);
                Err(TransactionError::Aborted(
                    "the test asked for it".to_owned(),
                ))
            }
        };
        drop(state);
        self.log.shared.changed.notify_waiters();
        result
    }

    async fn abort(&mut self) -> Result<(), TransactionError> {
        let mut state = self.log.state();
        state.check_owner(&self.id, self.epoch)?;
        if let Some(open) = state
            .owners
            .get_mut(&self.id)
            .and_then(|owner| owner.open.take())
        {
            state.end(open, TransactionState::Aborted);
        }
        drop(state);
        self.log.shared.changed.notify_waiters();
        Ok(())
    }
}

struct MemoryReader {
    log: MemoryLog,
    options: ReaderOptions,
    positions: Vec<Position>,
    next: usize,
}

struct Position {
    at: TopicPartition,
    position: i64,
    paused: bool,
}

impl MemoryReader {
    fn resolve(&self, at: &TopicPartition, start: Start) -> Result<i64, ReadError> {
        let state = self.log.state();
        let partition = state
            .partition(at)
            .ok_or_else(|| ReadError::UnknownPartition(at.clone()))?;
        Ok(match start {
            Start::Earliest => partition.start,
            Start::Latest => partition.end(),
            Start::Offset(offset) => offset,
        })
    }

    fn gather(&mut self, budget: &PollBudget) -> Result<Vec<Records>, ReadError> {
        let state = self.log.state();
        let mut runs = Vec::new();
        let mut bytes_all = 0;
        let count = self.positions.len();
        let uncommitted = self.options.read_uncommitted;
        for turn in 0..count {
            let index = (self.next + turn) % count;
            let position = &mut self.positions[index];
            if position.paused || bytes_all >= budget.bytes_max {
                continue;
            }
            let partition = state
                .partition(&position.at)
                .ok_or_else(|| ReadError::UnknownPartition(position.at.clone()))?;
            if position.position < partition.start || position.position > partition.end() {
                return Err(ReadError::OffsetOutOfRange {
                    partition: position.at.clone(),
                    position: position.position,
                    start: partition.start,
                    end: partition.end(),
                });
            }
            let end = if uncommitted {
                partition.end()
            } else {
                partition.last_stable_offset(&state.transactions)
            };
            let mut run = RecordsBuilder::new(position.at.clone(), position.position);
            let (mut bytes, mut next) = (0, position.position);
            while next < end && (bytes == 0 || bytes < self.options.partition_bytes_max) {
                if let Some(record) = partition.visible(next, uncommitted, &state.transactions) {
                    let headers: Vec<(&str, Option<&[u8]>)> = record
                        .headers
                        .iter()
                        .map(|(name, value)| (name.as_str(), value.as_deref()))
                        .collect();
                    let (key, value) = (record.key.as_deref(), record.value.as_deref());
                    run.push(record.offset, record.timestamp_ms, key, value, &headers);
                    bytes += 16 + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
                }
                next += 1;
            }
            if next > position.position {
                position.position = next;
                bytes_all += bytes;
                let mut run = run.finish();
                run.next_offset = next;
                runs.push(run);
            }
        }
        self.next = if count == 0 {
            0
        } else {
            (self.next + 1) % count
        };
        Ok(runs)
    }
}

#[async_trait]
impl Reader for MemoryReader {
    async fn poll(&mut self, budget: PollBudget) -> Result<Vec<Records>, ReadError> {
        let deadline = tokio::time::Instant::now() + budget.wait_max;
        let log = self.log.clone();
        loop {
            let changed = log.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let runs = self.gather(&budget)?;
            if !runs.is_empty() || budget.wait_max == Duration::ZERO {
                return Ok(runs);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    async fn progress(&mut self) -> Result<Vec<PartitionProgress>, ReadError> {
        let state = self.log.state();
        self.positions
            .iter()
            .map(|position| {
                state
                    .progress(&position.at, position.position)
                    .ok_or_else(|| ReadError::UnknownPartition(position.at.clone()))
            })
            .collect()
    }

    async fn seek(&mut self, partition: &TopicPartition, to: Start) -> Result<(), ReadError> {
        let position = self.resolve(partition, to)?;
        match self
            .positions
            .iter_mut()
            .find(|position| position.at == *partition)
        {
            Some(found) => found.position = position,
            None => return Err(ReadError::UnknownPartition(partition.clone())),
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition], paused: bool) {
        for position in &mut self.positions {
            if partitions.contains(&position.at) {
                position.paused = paused;
            }
        }
    }
}

/// The records of a batch, as they were pushed.
fn stored_records(batch: BatchBuilder) -> Vec<StoredRecord> {
    let bytes = batch.build(ProducerStamp::NONE);
    let batch = log_protocol::Batch::parse(&bytes).expect("it was built above");
    let records = batch.records(1 << 30).expect("it was built above");
    records
        .map(|record| {
            let record = record.expect("it was built above");
            let headers = record.headers.iter();
            StoredRecord {
                offset: record.offset,
                timestamp_ms: record.timestamp,
                key: record.key.as_deref().map(<[u8]>::to_vec),
                value: record.value.as_deref().map(<[u8]>::to_vec),
                headers: headers
                    .map(|header| (header.name().into_owned(), header.value.map(<[u8]>::to_vec)))
                    .collect(),
            }
        })
        .collect()
}
