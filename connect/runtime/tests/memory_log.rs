//! A log in memory with transactions, fencing and read_committed: what a worker needs, for tests.
//!
//! Open transactions keep their records to themselves until the commit, so that a reader never waits for one. It
//! outlives workers: starting a second worker on it is a restart.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use log_api::{
    Admin, AdminError, BatchBuilder, CommittedOffset, GroupDescription, Log, NewTopic,
    OffsetCommit, OffsetSpec, PartitionProgress, PollBudget, ProducerStamp, ReadError, Reader,
    ReaderOptions, Records, RecordsBuilder, Start, TopicDescription, TopicPartition, Transaction,
    TransactionError, TransactionOptions, WriteError, Writer,
};
use log_api::{GroupMember, Membership, MembershipError, MembershipOptions};
use parking_lot::Mutex;
use tokio::sync::watch;

/// A record as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl Written {
    pub fn key_text(&self) -> String {
        self.key.as_ref().map_or("null".into(), |bytes| {
            String::from_utf8_lossy(bytes).into_owned()
        })
    }

    pub fn value_text(&self) -> String {
        self.value.as_ref().map_or("null".into(), |bytes| {
            String::from_utf8_lossy(bytes).into_owned()
        })
    }
}

/// The time of what is no record: the mark at the end of a transaction.
const MARK: i64 = i64::MIN;

#[derive(Default)]
struct State {
    topics: BTreeMap<String, (NewTopic, Vec<Vec<Written>>)>,
    /// Topics made so far: their ids.
    made: u128,
    ids: HashMap<String, u128>,
    epochs: HashMap<String, u64>,
    groups: HashMap<String, HashMap<TopicPartition, (i64, String)>>,
    /// Commits that fail before anything is visible.
    aborts_to_come: usize,
    /// Offsets of a partition that cannot be read.
    spoilt: Option<(TopicPartition, std::ops::Range<i64>)>,
}

pub struct MemoryLog {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

impl MemoryLog {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Arc::default(),
            changed: watch::channel(0).0,
        })
    }

    /// All records of a topic, partition by partition.
    pub fn records(&self, topic: &str) -> Vec<Written> {
        let state = self.state.lock();
        state
            .topics
            .get(topic)
            .map(|(_, partitions)| partitions.concat())
            .unwrap_or_default()
    }

    /// Records of each partition.
    pub fn partitions(&self, topic: &str) -> Vec<Vec<Written>> {
        self.state
            .lock()
            .topics
            .get(topic)
            .map(|(_, partitions)| partitions.clone())
            .unwrap_or_default()
    }

    /// Returns once `met` holds; panics after ten seconds.
    pub async fn until(&self, what: &str, met: impl Fn(&Self) -> bool) {
        let mut changes = self.changed.subscribe();
        let wait = async {
            while !met(self) {
                changes.changed().await.expect("the log is there");
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    pub async fn put(&self, topic: &str, partition: i32, key: Option<&str>, value: Option<&str>) {
        let mut batch = BatchBuilder::new(log_api::Compression::None);
        batch.append(1000, key.map(str::as_bytes), value.map(str::as_bytes), &[]);
        self.append(&TopicPartition::new(topic, partition), batch)
            .expect("the topic is there");
    }

    /// The mark of a transaction: an offset without a record.
    pub fn mark(&self, topic: &str, partition: i32) {
        let mark = Written {
            timestamp: MARK,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        let partition = TopicPartition::new(topic, partition);
        let appended = self.state.lock().append(&partition, vec![mark]);
        appended.expect("the topic is there");
        self.changed.send_modify(|version| *version += 1);
    }

    /// Several records at once.
    pub async fn put_all(&self, topic: &str, partition: i32, values: &[&str]) {
        let mut batch = BatchBuilder::new(log_api::Compression::None);
        for value in values {
            batch.append(1000, None, Some(value.as_bytes()), &[]);
        }
        self.append(&TopicPartition::new(topic, partition), batch)
            .expect("the topic is there");
    }

    pub async fn put_with_header(
        &self,
        topic: &str,
        partition: i32,
        value: &str,
        (name, header): (&str, &str),
    ) {
        let mut batch = BatchBuilder::new(log_api::Compression::None);
        let headers = [(name, Some(header.as_bytes()))];
        batch.append(1000, None, Some(value.as_bytes()), &headers);
        self.append(&TopicPartition::new(topic, partition), batch)
            .expect("the topic is there");
    }

    pub fn committed_by(&self, group: &str, partition: &TopicPartition) -> Option<i64> {
        self.state
            .lock()
            .groups
            .get(group)
            .and_then(|offsets| offsets.get(partition).map(|(offset, _)| *offset))
    }

    /// From here on these offsets cannot be read, and neither can what is read together with them.
    pub fn spoil(&self, topic: &str, partition: i32, offsets: std::ops::Range<i64>) {
        self.state.lock().spoilt = Some((TopicPartition::new(topic, partition), offsets));
    }

    pub fn abort_next_commits(&self, count: usize) {
        self.state.lock().aborts_to_come = count;
    }

    fn append(&self, partition: &TopicPartition, batch: BatchBuilder) -> Result<i64, WriteError> {
        let base = self.state.lock().append(partition, decode(batch))?;
        self.changed.send_modify(|version| *version += 1);
        Ok(base)
    }
}

impl State {
    fn append(
        &mut self,
        partition: &TopicPartition,
        records: Vec<Written>,
    ) -> Result<i64, WriteError> {
        let place = self
            .topics
            .get_mut(&*partition.topic)
            .and_then(|(_, partitions)| partitions.get_mut(partition.partition as usize))
            .ok_or_else(|| WriteError::UnknownPartition(partition.clone()))?;
        let base = place.len() as i64;
        place.extend(records);
        Ok(base)
    }

    fn describe(&self, name: &str) -> Option<TopicDescription> {
        self.topics
            .get(name)
            .map(|(new, partitions)| TopicDescription {
                name: name.to_owned(),
                id: uuid::Uuid::from_u128(self.ids.get(name).copied().unwrap_or(0)),
                partitions: partitions.len() as i32,
                configs: new.configs.clone(),
                internal: name.starts_with("connect-"),
            })
    }
}

/// Reads what a builder wrote: uncompressed v2 records behind 61 bytes of header.
fn decode(batch: BatchBuilder) -> Vec<Written> {
    let count = batch.len();
    let bytes = batch.build(ProducerStamp::NONE);
    let base_timestamp = i64::from_be_bytes(bytes[27..35].try_into().unwrap());
    let mut at = 61;
    let varint = |at: &mut usize| {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = bytes[*at];
            *at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        (value >> 1) as i64 ^ -((value & 1) as i64)
    };
    let slice = |at: &mut usize| {
        let length = varint(at);
        (length >= 0).then(|| {
            let slice = bytes.slice(*at..*at + length as usize);
            *at += length as usize;
            slice
        })
    };
    (0..count)
        .map(|_| {
            varint(&mut at);
            at += 1;
            let timestamp = base_timestamp + varint(&mut at);
            varint(&mut at);
            let key = slice(&mut at);
            let value = slice(&mut at);
            let headers = (0..varint(&mut at))
                .map(|_| {
                    let name = slice(&mut at).unwrap();
                    (String::from_utf8(name.to_vec()).unwrap(), slice(&mut at))
                })
                .collect();
            Written {
                timestamp,
                key,
                value,
                headers,
            }
        })
        .collect()
}

/// The log as workers hold it.
#[derive(Clone)]
pub struct Shared(pub Arc<MemoryLog>);

#[async_trait]
impl Log for Shared {
    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(self.clone())
    }

    async fn reader(
        &self,
        _: ReaderOptions,
        assignment: Vec<(TopicPartition, Start)>,
    ) -> Result<Box<dyn Reader>, ReadError> {
        let mut reader = MemoryReader {
            log: self.0.clone(),
            changes: self.0.changed.subscribe(),
            positions: Vec::new(),
        };
        for (partition, start) in assignment {
            reader.positions.push((partition.clone(), 0));
            reader.seek(&partition, start).await?;
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
        let id = options.transactional_id;
        let mut state = self.0.state.lock();
        let epoch = state.epochs.entry(id.clone()).or_insert(0);
        *epoch += 1;
        Ok(Box::new(MemoryTransaction {
            log: self.0.clone(),
            epoch: *epoch,
            id,
            batches: Vec::new(),
            offsets: Vec::new(),
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
impl Admin for Shared {
    async fn create_topic(&self, topic: NewTopic) -> Result<TopicDescription, AdminError> {
        let name = topic.name.clone();
        let mut state = self.0.state.lock();
        if state.topics.contains_key(&name) {
            return Err(AdminError::TopicExists(name));
        }
        let partitions = vec![Vec::new(); topic.partitions as usize];
        state.made += 1;
        let id = state.made;
        state.ids.insert(name.clone(), id);
        state.topics.insert(name.clone(), (topic, partitions));
        let described = state.describe(&name).expect("just made");
        drop(state);
        self.0.changed.send_modify(|version| *version += 1);
        Ok(described)
    }

    async fn delete_topic(&self, name: &str) -> Result<(), AdminError> {
        let removed = self.0.state.lock().topics.remove(name);
        self.0.changed.send_modify(|version| *version += 1);
        removed
            .map(|_| ())
            .ok_or_else(|| AdminError::UnknownTopic(name.to_owned()))
    }

    async fn describe_topic(&self, name: &str) -> Result<Option<TopicDescription>, AdminError> {
        Ok(self.0.state.lock().describe(name))
    }

    async fn list_topics(&self) -> Result<Vec<TopicDescription>, AdminError> {
        let state = self.0.state.lock();
        Ok(state
            .topics
            .keys()
            .filter_map(|name| state.describe(name))
            .collect())
    }

    async fn create_partitions(&self, name: &str, total: i32) -> Result<(), AdminError> {
        let mut state = self.0.state.lock();
        let (_, partitions) = state
            .topics
            .get_mut(name)
            .ok_or_else(|| AdminError::UnknownTopic(name.to_owned()))?;
        partitions.resize(total as usize, Vec::new());
        Ok(())
    }

    async fn offset(
        &self,
        partition: &TopicPartition,
        spec: OffsetSpec,
    ) -> Result<i64, AdminError> {
        let state = self.0.state.lock();
        let records = state
            .topics
            .get(&*partition.topic)
            .and_then(|(_, partitions)| partitions.get(partition.partition as usize))
            .ok_or_else(|| AdminError::UnknownTopic(partition.topic.to_string()))?;
        Ok(match spec {
            OffsetSpec::Earliest => 0,
            _ => records.len() as i64,
        })
    }

    async fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<CommittedOffset>, AdminError> {
        let state = self.0.state.lock();
        let offsets = state.groups.get(group);
        Ok(partitions
            .iter()
            .map(|partition| {
                let found = offsets.and_then(|offsets| offsets.get(partition).cloned());
                let (offset, metadata) = found.unzip();
                CommittedOffset {
                    partition: partition.clone(),
                    offset,
                    metadata: metadata.unwrap_or_default(),
                }
            })
            .collect())
    }

    async fn commit_offsets(
        &self,
        group: &str,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), AdminError> {
        let mut state = self.0.state.lock();
        let group = state.groups.entry(group.to_owned()).or_default();
        group.extend(
            offsets
                .into_iter()
                .map(|commit| (commit.partition, (commit.offset, commit.metadata))),
        );
        drop(state);
        self.0.changed.send_modify(|version| *version += 1);
        Ok(())
    }

    async fn groups(&self) -> Result<Vec<GroupDescription>, AdminError> {
        Err(AdminError::Refused("not here".to_owned()))
    }

    async fn delete_group(&self, group: &str) -> Result<(), AdminError> {
        self.0.state.lock().groups.remove(group);
        Ok(())
    }

    async fn delete_records(&self, _: Vec<(TopicPartition, i64)>) -> Result<(), AdminError> {
        Err(AdminError::Refused("not here".to_owned()))
    }
}

#[async_trait]
impl Writer for Shared {
    async fn append(
        &self,
        partition: &TopicPartition,
        batch: BatchBuilder,
    ) -> Result<i64, WriteError> {
        self.0.append(partition, batch)
    }

    async fn sync(&self, _: &[TopicPartition]) -> Result<(), WriteError> {
        Ok(())
    }
}

struct MemoryReader {
    log: Arc<MemoryLog>,
    changes: watch::Receiver<u64>,
    positions: Vec<(TopicPartition, i64)>,
}

impl MemoryReader {
    /// What there is, and whether marks alone were stepped over.
    fn read(&mut self, bytes_max: usize) -> Result<(Vec<Records>, bool), ReadError> {
        let state = self.log.state.lock();
        let (mut runs, mut moved) = (Vec::new(), false);
        for (partition, position) in &mut self.positions {
            let records = state
                .topics
                .get(&*partition.topic)
                .and_then(|(_, partitions)| partitions.get(partition.partition as usize))
                .ok_or_else(|| ReadError::UnknownPartition(partition.clone()))?;
            let mut end = records.len() as i64;
            if let Some((_, spoilt)) = state.spoilt.as_ref().filter(|(of, _)| of == partition)
                && *position < spoilt.end
            {
                if bytes_max > 1 || spoilt.contains(position) {
                    return Err(ReadError::Corrupt {
                        partition: partition.clone(),
                        offset: spoilt.start,
                        reason: "spoilt".to_owned(),
                    });
                }
                end = spoilt.start;
            }
            if *position > end {
                return Err(ReadError::OffsetOutOfRange {
                    partition: partition.clone(),
                    position: *position,
                    start: 0,
                    end,
                });
            }
            let is_mark = |offset: i64| records[offset as usize].timestamp == MARK;
            while *position < end && is_mark(*position) {
                (*position, moved) = (*position + 1, true);
            }
            end = (*position..end)
                .find(|offset| is_mark(*offset))
                .unwrap_or(end);
            if *position < end {
                let mut builder = RecordsBuilder::new(partition.clone(), *position);
                for (offset, record) in (*position..end).zip(&records[*position as usize..]) {
                    let headers: Vec<(&str, Option<&[u8]>)> = record
                        .headers
                        .iter()
                        .map(|(name, value)| (name.as_str(), value.as_deref()))
                        .collect();
                    builder.push(
                        offset,
                        record.timestamp,
                        record.key.as_deref(),
                        record.value.as_deref(),
                        &headers,
                    );
                }
                *position = end;
                runs.push(builder.finish());
            }
        }
        Ok((runs, moved))
    }
}

#[async_trait]
impl Reader for MemoryReader {
    async fn poll(&mut self, budget: PollBudget) -> Result<Vec<Records>, ReadError> {
        let deadline = tokio::time::Instant::now() + budget.wait_max;
        loop {
            self.changes.borrow_and_update();
            let (runs, moved) = self.read(budget.bytes_max)?;
            if !runs.is_empty()
                || moved
                || tokio::time::timeout_at(deadline, self.changes.changed())
                    .await
                    .is_err()
            {
                return Ok(runs);
            }
        }
    }

    async fn progress(&mut self) -> Result<Vec<PartitionProgress>, ReadError> {
        let state = self.log.state.lock();
        Ok(self
            .positions
            .iter()
            .map(|(partition, position)| {
                let end = state
                    .topics
                    .get(&*partition.topic)
                    .and_then(|(_, partitions)| partitions.get(partition.partition as usize))
                    .map_or(0, |records| records.len() as i64);
                PartitionProgress {
                    partition: partition.clone(),
                    position: *position,
                    high_watermark: end,
                    last_stable_offset: end,
                }
            })
            .collect())
    }

    async fn seek(&mut self, partition: &TopicPartition, to: Start) -> Result<(), ReadError> {
        let end = {
            let state = self.log.state.lock();
            state
                .topics
                .get(&*partition.topic)
                .and_then(|(_, partitions)| partitions.get(partition.partition as usize))
                .map(|records| records.len() as i64)
                .ok_or_else(|| ReadError::UnknownPartition(partition.clone()))?
        };
        let position = match to {
            Start::Earliest => 0,
            Start::Latest => end,
            Start::Offset(offset) => offset,
        };
        for place in self
            .positions
            .iter_mut()
            .filter(|(present, _)| present == partition)
        {
            place.1 = position;
        }
        Ok(())
    }

    fn pause(&mut self, _: &[TopicPartition], _: bool) {}
}

struct MemoryTransaction {
    log: Arc<MemoryLog>,
    id: String,
    epoch: u64,
    batches: Vec<(TopicPartition, Vec<Written>)>,
    offsets: Vec<(String, Vec<OffsetCommit>)>,
}

#[async_trait]
impl Transaction for MemoryTransaction {
    async fn append(
        &mut self,
        partition: &TopicPartition,
        batch: BatchBuilder,
    ) -> Result<(), TransactionError> {
        self.batches.push((partition.clone(), decode(batch)));
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
        self.offsets.push((group.to_owned(), offsets));
        Ok(())
    }

    async fn commit(&mut self) -> Result<Vec<i64>, TransactionError> {
        let (batches, offsets) = (
            std::mem::take(&mut self.batches),
            std::mem::take(&mut self.offsets),
        );
        let bases = {
            let mut state = self.log.state.lock();
            if state.epochs.get(&self.id) != Some(&self.epoch) {
                return Err(TransactionError::Fenced(self.id.clone()));
            }
            if state.aborts_to_come > 0 {
                state.aborts_to_come -= 1;
                return Err(TransactionError::Aborted("as the test wants it".to_owned()));
            }
            let mut bases = Vec::new();
            for (partition, records) in batches {
                bases.push(state.append(&partition, records)?);
            }
            for (group, offsets) in offsets {
                let group = state.groups.entry(group).or_default();
                group.extend(
                    offsets
                        .into_iter()
                        .map(|commit| (commit.partition, (commit.offset, commit.metadata))),
                );
            }
            bases
        };
        self.log.changed.send_modify(|version| *version += 1);
        Ok(bases)
    }

    async fn abort(&mut self) -> Result<(), TransactionError> {
        self.batches.clear();
        self.offsets.clear();
        Ok(())
    }
}
