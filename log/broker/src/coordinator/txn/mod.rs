//! The transaction coordinator's shell: runs [`state`], writes `__transaction_state`, syncs what a commit speaks of, writes the markers.
//!
//! ```text
//!  end ──▶ Prepare in memory          no later append of this producer passes the gate
//!      ──▶ sync every partition written          one group commit
//!      ──▶ append Prepare, durable               the decision
//!      ──▶ markers, offsets of groups            visible: the caller gets its answer here
//!      ──▶ sync the markers ──▶ append Complete  nothing that the next transaction writes can outlive them
//! ```
//!
//! Invariants:
//! 1. One request at a time works on a transactional id: it holds the id's turn, to the end of what it began.
//! 2. A batch of a transaction is appended while its record is held for reading, so it lies before the marker or is refused.
//! 3. Prepare is durable after all that the transaction wrote; Complete after all its markers.
//! 4. After the start no partition has a transaction open that the coordinator does not know.

pub(crate) mod record;
pub(crate) mod state;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use log_protocol::{Batch, ControlKind, ErrorCode, ProducerStamp, TopicPartition};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::{OwnedMutexGuard, oneshot};
use tracing::{error, info, warn};

use self::record::{Phase, TransactionRecord};
use self::state::{Addition, Ending, Initialization, Producer};
use super::group::{Groups, OFFSETS_TOPIC};
use super::{Background, REPLAY_BATCH_BYTES_MAX, append, durable, internal_partition, replay};
use crate::OpenError;
use crate::clock::{steady_ms, wall_ms};
use crate::quorum::Topics;
use crate::storage::Partition;

/// The topic of transactional ids.
pub(crate) const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// How long a request waits for the one before it on the same id; then the client is told to come back.
const TURN_WAIT: Duration = Duration::from_secs(5);

/// `transactional.id.expiration.ms`.
const ID_EXPIRATION_MS: i64 = 7 * 24 * 3_600_000;

/// How often ids are looked through for ones that expired.
const ID_EXPIRATION_CHECK_MS: i64 = 3_600_000;

/// A single broker is its own and only coordinator: its epoch never changes hands.
const COORDINATOR_EPOCH: i32 = 0;

/// All transactional ids of this broker.
#[derive(Clone)]
pub(crate) struct Transactions {
    shared: Arc<Shared>,
}

struct Shared {
    topics: Topics,
    groups: Arc<Groups>,
    log: Arc<Partition>,
    background: Arc<Background>,
    timeout_ms_max: i32,
    entries: Mutex<HashMap<String, Arc<Entry>>>,
    next_expiration_check_ms: Mutex<i64>,
}

struct Entry {
    id: String,
    /// Held by the request that works on this id; waiting is fair.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// `None` until the first InitProducerId is written.
    record: RwLock<Option<TransactionRecord>>,
}

/// Why a transaction could not be opened, filled or ended.
pub(crate) type Refused = ErrorCode;

/// Holds a transaction open: no end of it passes while this lives. Never kept across a wait.
pub(crate) struct Gate<'a> {
    _record: RwLockReadGuard<'a, Option<TransactionRecord>>,
}

/// A transactional id as an appender sees it.
pub(crate) struct Handle {
    entry: Arc<Entry>,
}

impl Handle {
    /// Holds the transaction open if this producer may write to `partition` in it.
    pub(crate) fn gate(
        &self,
        producer: Producer,
        partition: &TopicPartition,
    ) -> Result<Gate<'_>, Refused> {
        let record = self.entry.record.read();
        match &*record {
            Some(current) => state::verify(current, producer, partition)?,
            None => return Err(ErrorCode::InvalidProducerIdMapping),
        }
        Ok(Gate { _record: record })
    }
}

impl Transactions {
    /// Loads all transactional ids, and ends the transactions whose end was decided before the last stop.
    pub(crate) fn open(
        topics: Topics,
        groups: Arc<Groups>,
        background: Arc<Background>,
        timeout_ms_max: i32,
    ) -> Result<Self, OpenError> {
        let log = internal_partition(&topics, TRANSACTIONS_TOPIC)?;
        let mut records: HashMap<String, TransactionRecord> = HashMap::new();
        replay(TRANSACTIONS_TOPIC, &log, |batch| replay_batch(batch, &mut records))?;
        let entries = records
            .into_iter()
            .map(|(id, record)| (id.clone(), Arc::new(Entry::new(id, Some(record)))))
            .collect();
        let this = Self {
            shared: Arc::new(Shared {
                topics,
                groups,
                log,
                background,
                timeout_ms_max,
                entries: Mutex::new(entries),
                next_expiration_check_ms: Mutex::new(steady_ms() + ID_EXPIRATION_CHECK_MS),
            }),
        };
        this.resume()?;
        this.shared.abort_orphans()?;
        Ok(this)
    }

    /// Finishes every end that was decided: the decision stands, its markers may be missing.
    fn resume(&self) -> Result<(), OpenError> {
        let decided: Vec<Arc<Entry>> = self
            .shared
            .entries
            .lock()
            .values()
            .filter(|entry| {
                let phase = entry.record.read().as_ref().map(|record| record.phase);
                matches!(phase, Some(Phase::PrepareCommit | Phase::PrepareAbort))
            })
            .cloned()
            .collect();
        for entry in decided {
            info!(transactional_id = %entry.id, "finishing a transaction that was decided before the stop");
            let shared = Arc::clone(&self.shared);
            let finished = self.shared.background.wait(async move {
                shared.write_markers(&entry)?;
                shared.complete(&entry).await
            });
            if let Some(Err(error)) = finished {
                return Err(OpenError::InternalTopic {
                    topic: TRANSACTIONS_TOPIC.to_owned(),
                    reason: format!("a decided transaction cannot be finished: {}", error.message()),
                });
            }
        }
        Ok(())
    }

    /// InitProducerId of a transactional id: fences the previous owner and ends what it left open.
    pub(crate) async fn initialize(
        &self,
        id: &str,
        expected: Option<Producer>,
        timeout_ms: i32,
    ) -> Result<Producer, Refused> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        if timeout_ms <= 0 || timeout_ms > self.shared.timeout_ms_max {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let entry = self.shared.entry(id);
        let shared = Arc::clone(&self.shared);
        self.detached(async move {
            let _turn = shared.turn(&entry).await?;
            shared.initialize(&entry, expected, timeout_ms).await
        })
        .await
    }

    /// AddPartitionsToTxn. `client_version` 2 = the client raises its epoch with every transaction.
    pub(crate) async fn add_partitions(
        &self,
        id: &str,
        producer: Producer,
        partitions: Vec<TopicPartition>,
        client_version: i16,
    ) -> Result<(), Refused> {
        let entry = self.shared.known(id)?;
        // The common case of a producer that goes on writing to the same partitions takes no turn.
        if let Some(current) = &*entry.record.read()
            && current.client_version == client_version
            && partitions.iter().all(|one| state::verify(current, producer, one).is_ok())
        {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        self.detached(async move {
            let _turn = shared.turn(&entry).await?;
            let current = entry.current()?;
            match state::add_partitions(&current, producer, &partitions, client_version, steady_ms())? {
                Addition::Already => Ok(()),
                Addition::Write(next) => shared.write_early(&entry, next),
            }
        })
        .await
    }

    /// As [`Transactions::add_partitions`] for the only user of this id, and without a hop to another thread.
    pub(crate) fn begin(
        &self,
        id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
    ) -> Result<Handle, Refused> {
        let entry = self.shared.known(id)?;
        let _turn = Arc::clone(&entry.turn)
            .try_lock_owned()
            .map_err(|_| ErrorCode::ConcurrentTransactions)?;
        let current = entry.current()?;
        match state::add_partitions(&current, producer, partitions, 2, steady_ms())? {
            Addition::Already => {}
            Addition::Write(next) => self.shared.write_early(&entry, next)?,
        }
        Ok(Handle { entry })
    }

    /// The transactional id, for [`Handle::gate`].
    pub(crate) fn handle(&self, id: &str) -> Result<Handle, Refused> {
        self.shared.known(id).map(|entry| Handle { entry })
    }

    /// Waits until no request works on this id, so that the next one need not.
    pub(crate) async fn settled(&self, id: &str) {
        if let Ok(entry) = self.shared.known(id) {
            drop(entry.turn.lock().await);
        }
    }

    /// EndTxn; returns once the outcome is durable and visible. The producer to go on with is the answer.
    pub(crate) async fn end(
        &self,
        id: &str,
        producer: Producer,
        commit: bool,
        raise_epoch: bool,
    ) -> Result<Producer, Refused> {
        let entry = self.shared.known(id)?;
        let shared = Arc::clone(&self.shared);
        let (visible, answer) = oneshot::channel();
        self.shared.background.spawn(async move {
            let outcome = async {
                let turn = shared.turn(&entry).await?;
                let current = entry.current()?;
                match state::end(&current, producer, commit, raise_epoch, steady_ms())? {
                    Ending::Already => Ok((current.producer(), None)),
                    Ending::Prepare(next) => {
                        shared.decide(&entry, next).await?;
                        Ok((entry.current()?.producer(), Some(turn)))
                    }
                }
            };
            match outcome.await {
                Ok((next, turn)) => {
                    let completed = shared.complete_after(&entry, turn, next, visible).await;
                    if let Err(error) = completed {
                        error!(transactional_id = %entry.id, error = error.message(), "cannot complete a transaction");
                    }
                }
                Err(refused) => drop(visible.send(Err(refused))),
            }
        });
        answer.await.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }

    /// Aborts what has been open for too long, forgets ids that nobody used for long; called every 100 ms or so.
    pub(crate) fn tick(&self) {
        let now = steady_ms();
        let entries: Vec<Arc<Entry>> = self.shared.entries.lock().values().cloned().collect();
        for entry in entries {
            let expired =
                entry.record.read().as_ref().is_some_and(|record| state::abort_if_expired(record, now).is_some());
            if expired && let Ok(turn) = Arc::clone(&entry.turn).try_lock_owned() {
                let shared = Arc::clone(&self.shared);
                self.shared.background.spawn(async move { shared.abort_expired(&entry, turn).await });
            }
        }
        let mut next_check_ms = self.shared.next_expiration_check_ms.lock();
        if *next_check_ms <= now {
            *next_check_ms = now + ID_EXPIRATION_CHECK_MS;
            self.shared.forget_unused(now);
        }
    }

    /// Waits until every end that was decided is complete.
    pub(crate) async fn quiesce(&self) {
        let entries: Vec<Arc<Entry>> = self.shared.entries.lock().values().cloned().collect();
        for entry in entries {
            drop(entry.turn.lock().await);
        }
    }

    /// Runs `work` to its end though the caller may be dropped while it waits.
    async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refused>> + Send + 'static,
    ) -> Result<T, Refused> {
        self.shared.background.spawn(work).await.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }
}

impl Entry {
    fn new(id: String, record: Option<TransactionRecord>) -> Self {
        Self { id, turn: Arc::default(), record: RwLock::new(record) }
    }

    fn current(&self) -> Result<TransactionRecord, Refused> {
        self.record.read().clone().ok_or(ErrorCode::InvalidProducerIdMapping)
    }
}

impl TransactionRecord {
    fn producer(&self) -> Producer {
        Producer { id: self.producer_id, epoch: self.producer_epoch }
    }
}

impl Shared {
    fn entry(&self, id: &str) -> Arc<Entry> {
        let mut entries = self.entries.lock();
        let new = || Arc::new(Entry::new(id.to_owned(), None));
        Arc::clone(entries.entry(id.to_owned()).or_insert_with(new))
    }

    fn known(&self, id: &str) -> Result<Arc<Entry>, Refused> {
        self.entries.lock().get(id).cloned().ok_or(ErrorCode::InvalidProducerIdMapping)
    }

    async fn turn(&self, entry: &Entry) -> Result<OwnedMutexGuard<()>, Refused> {
        tokio::time::timeout(TURN_WAIT, Arc::clone(&entry.turn).lock_owned())
            .await
            .map_err(|_| ErrorCode::ConcurrentTransactions)
    }

    async fn initialize(
        &self,
        entry: &Entry,
        mut expected: Option<Producer>,
        timeout_ms: i32,
    ) -> Result<Producer, Refused> {
        loop {
            let current = entry.record.read().clone();
            let fresh = self.fresh_producer_id(current.as_ref())?;
            match state::initialize(current.as_ref(), expected, timeout_ms, fresh, steady_ms())? {
                Initialization::Already => {
                    return current.map(|record| record.producer()).ok_or(ErrorCode::UnknownServerError);
                }
                Initialization::Write(next) => {
                    let producer = next.producer();
                    self.write(entry, next).await?;
                    return Ok(producer);
                }
                Initialization::AbortFirst(next) => {
                    self.decide(entry, next).await?;
                    self.complete(entry).await?;
                    expected = None;
                }
            }
        }
    }

    fn fresh_producer_id(&self, current: Option<&TransactionRecord>) -> Result<i64, Refused> {
        if !state::needs_producer_id(current) {
            return Ok(-1);
        }
        self.topics.next_producer_id().map_err(|error| {
            error!(%error, "cannot give out a producer id");
            ErrorCode::CoordinatorNotAvailable
        })
    }

    fn append(&self, id: &str, record: Option<&TransactionRecord>) -> Result<i64, Refused> {
        let write: [(Bytes, Option<Bytes>); 1] = [(record::encode_key(id), record.map(TransactionRecord::encode))];
        append(&self.log, &write, ProducerStamp::NONE)
    }

    /// Writes a record, then takes it as the state.
    async fn write(&self, entry: &Entry, next: TransactionRecord) -> Result<(), Refused> {
        let offset = self.append(&entry.id, Some(&next))?;
        durable(&self.log, offset).await?;
        *entry.record.write() = Some(next);
        Ok(())
    }

    /// As [`Shared::write`], without a wait for the disk: for partitions that join a transaction. If the machine dies, their records may
    /// survive and this may not; [`Shared::abort_orphans`] then ends what nobody knows of. So a transaction costs no sync before its end.
    fn write_early(&self, entry: &Entry, next: TransactionRecord) -> Result<(), Refused> {
        self.append(&entry.id, Some(&next))?;
        *entry.record.write() = Some(next);
        Ok(())
    }

    /// Aborts what is open in a partition and unknown to the coordinator.
    fn abort_orphans(&self) -> Result<(), OpenError> {
        let entries = self.entries.lock();
        let mut known: HashMap<i64, TransactionRecord> = HashMap::new();
        for entry in entries.values() {
            if let Some(record) = &*entry.record.read()
                && record.phase == Phase::Ongoing
            {
                known.insert(record.producer_id, record.clone());
            }
        }
        for topic in self.topics.list() {
            for partition in topic.all() {
                for producer in partition.producers() {
                    let is_known = known
                        .get(&producer.producer_id)
                        .is_some_and(|record| record.partitions.contains(partition.id()));
                    if producer.open_since < 0 || is_known {
                        continue;
                    }
                    let (id, epoch) = (producer.producer_id, producer.producer_epoch);
                    warn!(partition = %partition.id(), producer_id = id, "aborting a transaction that the coordinator does not know");
                    partition
                        .append_marker(ControlKind::Abort, id, epoch, COORDINATOR_EPOCH, wall_ms())
                        .map_err(|error| OpenError::InternalTopic {
                            topic: TRANSACTIONS_TOPIC.to_owned(),
                            reason: error.to_string(),
                        })?;
                    if &*partition.id().topic == OFFSETS_TOPIC {
                        self.groups.end_transaction(id, false);
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes the end of a transaction durable and visible; [`Shared::complete`] is still to come.
    async fn decide(&self, entry: &Entry, next: TransactionRecord) -> Result<(), Refused> {
        let commit = next.phase == Phase::PrepareCommit;
        // From here on the gate is closed: nothing of this producer lands behind the sync or the marker.
        *entry.record.write() = Some(next.clone());
        if commit {
            self.sync(&next).await?;
        }
        let offset = self.append(&entry.id, Some(&next))?;
        durable(&self.log, offset).await?;
        self.write_markers(entry)
    }

    async fn sync(&self, record: &TransactionRecord) -> Result<(), Refused> {
        let partitions = self.partitions(record);
        try_join_all(partitions.iter().map(|(_, partition)| partition.sync())).await.map(drop).map_err(|error| {
            error!(%error, "cannot sync what a transaction wrote");
            ErrorCode::KafkaStorageError
        })
    }

    fn partitions(&self, record: &TransactionRecord) -> Vec<(TopicPartition, Arc<Partition>)> {
        record
            .partitions
            .iter()
            // A topic that was deleted meanwhile took its part of the transaction with it.
            .filter_map(|one| Some((one.clone(), self.topics.get(&one.topic)?.partition(one.partition)?)))
            .collect()
    }

    fn write_markers(&self, entry: &Entry) -> Result<(), Refused> {
        let record = entry.current()?;
        let commit = record.phase == Phase::PrepareCommit;
        let kind = if commit { ControlKind::Commit } else { ControlKind::Abort };
        for (name, partition) in self.partitions(&record) {
            let (id, epoch) = (record.producer_id, record.producer_epoch);
            if let Err(error) = partition.append_marker(kind, id, epoch, COORDINATOR_EPOCH, wall_ms()) {
                error!(%error, transactional_id = %entry.id, partition = %name, "cannot write a transaction marker");
                return Err(error.code());
            }
            if &*name.topic == OFFSETS_TOPIC {
                self.groups.end_transaction(record.producer_id, commit);
            }
        }
        Ok(())
    }

    /// Syncs the markers and writes that the transaction is complete.
    async fn complete(&self, entry: &Entry) -> Result<(), Refused> {
        let next = self.completed(entry)?;
        self.sync(&entry.current()?).await?;
        self.append(&entry.id, Some(&next))?;
        *entry.record.write() = Some(next);
        Ok(())
    }

    fn completed(&self, entry: &Entry) -> Result<TransactionRecord, Refused> {
        let current = entry.current()?;
        let fresh = self.fresh_producer_id(Some(&current))?;
        Ok(state::complete(&current, fresh, steady_ms()))
    }

    /// Answers, then completes. When the epochs of the producer id are used up, the answer has to wait for the new id.
    async fn complete_after(
        &self,
        entry: &Entry,
        turn: Option<OwnedMutexGuard<()>>,
        next: Producer,
        visible: oneshot::Sender<Result<Producer, Refused>>,
    ) -> Result<(), Refused> {
        // Whoever asked may be gone by now, which is fine: the decision stands.
        if turn.is_none() {
            let _ = visible.send(Ok(next));
            return Ok(());
        }
        if state::needs_producer_id(Some(&entry.current()?)) {
            self.complete(entry).await?;
            let _ = visible.send(Ok(entry.current()?.producer()));
            return Ok(());
        }
        let _ = visible.send(Ok(next));
        self.complete(entry).await
    }

    async fn abort_expired(&self, entry: &Entry, _turn: OwnedMutexGuard<()>) {
        let Ok(current) = entry.current() else { return };
        let Some(next) = state::abort_if_expired(&current, steady_ms()) else { return };
        warn!(transactional_id = %entry.id, timeout_ms = current.timeout_ms, "transaction timed out and is aborted");
        let aborted = async {
            self.decide(entry, next).await?;
            self.complete(entry).await
        };
        if let Err(error) = aborted.await {
            error!(transactional_id = %entry.id, error = error.message(), "cannot abort a transaction that timed out");
        }
    }

    fn forget_unused(&self, now: i64) {
        self.entries.lock().retain(|id, entry| {
            let unused = match &*entry.record.read() {
                None => true,
                Some(record) => {
                    matches!(record.phase, Phase::Empty | Phase::CompleteCommit | Phase::CompleteAbort)
                        && record.last_update_ms < now - ID_EXPIRATION_MS
                }
            };
            let idle = Arc::strong_count(entry) == 1 && entry.turn.try_lock().is_ok();
            !(unused && idle && self.append(id, None).is_ok())
        });
    }
}

fn replay_batch(
    batch: &Batch,
    records: &mut HashMap<String, TransactionRecord>,
) -> Result<(), String> {
    if batch.header.is_control() {
        return Ok(());
    }
    for record in batch.records(REPLAY_BATCH_BYTES_MAX).map_err(|error| error.to_string())? {
        let record = record.map_err(|error| error.to_string())?;
        let Some(key) = &record.key else { continue };
        let Some(id) = record::decode_key(key).map_err(|error| error.to_string())? else { continue };
        match &record.value {
            None => drop(records.remove(&id)),
            Some(value) => match TransactionRecord::decode(value).map_err(|error| error.to_string())? {
                Some(record) => drop(records.insert(id, record)),
                None => warn!(transactional_id = %id, "transactional id in an unknown state skipped"),
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
