//! Carries out what [`super::state`] decides: writes, syncs, markers. Whoever calls holds the turn of the transactional id.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use log_protocol::{ControlKind, ErrorCode, ProducerStamp, TopicPartition};
use tokio::sync::{OwnedMutexGuard, oneshot};
use tracing::{error, warn};

use super::record::{self, Phase, TransactionRecord};
use super::state::{self, Initialization, Producer};
use super::{COORDINATOR_EPOCH, Entry, ID_EXPIRATION_MS, RETRY_MS, Refused, Shared, TURN_WAIT};
use crate::clock::{steady_ms, wall_ms};
use crate::coordinator::group::OFFSETS_TOPIC;
use crate::coordinator::{append, durable};
use crate::storage::Partition;

impl Shared {
    pub(super) fn entry(&self, id: &str) -> Arc<Entry> {
        let mut entries = self.entries.lock();
        let new = || Arc::new(Entry::new(id.to_owned(), None));
        Arc::clone(entries.entry(id.to_owned()).or_insert_with(new))
    }

    pub(super) fn known(&self, id: &str) -> Result<Arc<Entry>, Refused> {
        self.entries
            .lock()
            .get(id)
            .cloned()
            .ok_or(ErrorCode::InvalidProducerIdMapping)
    }

    /// As [`Shared::known`], where the request must name an id.
    pub(super) fn named(&self, id: &str) -> Result<Arc<Entry>, Refused> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.known(id)
    }

    pub(super) async fn turn(&self, entry: &Entry) -> Result<OwnedMutexGuard<()>, Refused> {
        tokio::time::timeout(TURN_WAIT, Arc::clone(&entry.turn).lock_owned())
            .await
            .map_err(|_| ErrorCode::ConcurrentTransactions)
    }

    pub(super) async fn initialize(
        &self,
        entry: &Entry,
        expected: Option<Producer>,
        timeout_ms: i32,
    ) -> Result<Producer, Refused> {
        loop {
            let current = entry.record.read().clone();
            let fresh = self.fresh_producer_id(current.as_ref())?;
            match state::initialize(current.as_ref(), expected, timeout_ms, fresh, steady_ms())? {
                Initialization::Already => {
                    return current
                        .map(|record| record.producer())
                        .ok_or(ErrorCode::UnknownServerError);
                }
                Initialization::Write(next) => {
                    let producer = next.producer();
                    self.write(entry, next).await?;
                    return Ok(producer);
                }
                Initialization::AbortFirst(next) => {
                    self.decide(entry, next).await?;
                    self.complete(entry).await?;
                }
            }
        }
    }

    pub(super) fn fresh_producer_id(
        &self,
        current: Option<&TransactionRecord>,
    ) -> Result<i64, Refused> {
        if !state::needs_producer_id(current) {
            return Ok(-1);
        }
        self.topics.next_producer_id().map_err(|error| {
            error!(%error, "cannot give out a producer id");
            ErrorCode::CoordinatorNotAvailable
        })
    }

    pub(super) fn append(
        &self,
        id: &str,
        record: Option<&TransactionRecord>,
    ) -> Result<i64, Refused> {
        let write: [(Bytes, Option<Bytes>); 1] = [(
            record::encode_key(id),
            record.map(TransactionRecord::encode),
        )];
        append(&self.log, &write, ProducerStamp::NONE)
    }

    /// Writes a record, then takes it as the state.
    pub(super) async fn write(
        &self,
        entry: &Entry,
        next: TransactionRecord,
    ) -> Result<(), Refused> {
        let offset = self.append(&entry.id, Some(&next))?;
        durable(&self.log, offset).await?;
        *entry.change() = Some(next);
        Ok(())
    }

    /// As [`Shared::write`], without a wait for the disk: for partitions that join a transaction. If the machine dies, their records may
    /// survive and this may not; [`Shared::abort_orphans`] then ends what nobody knows of, and [`Shared::abort_open`] lets nobody go on
    /// with it. So a transaction costs no sync before its end.
    pub(super) fn write_early(
        &self,
        entry: &Entry,
        next: TransactionRecord,
    ) -> Result<(), Refused> {
        self.append(&entry.id, Some(&next))?;
        *entry.change() = Some(next);
        Ok(())
    }

    /// Aborts what is open in a partition and unknown to the coordinator.
    pub(super) fn abort_orphans(&self) {
        let entries = self.entries.lock();
        let mut known: HashMap<i64, TransactionRecord> = HashMap::new();
        for entry in entries.values() {
            if let Some(record) = &*entry.record.read()
                && (record.phase == Phase::Ongoing || record.is_decided())
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
                    if let Err(error) = partition.append_marker(
                        ControlKind::Abort,
                        id,
                        epoch,
                        COORDINATOR_EPOCH,
                        wall_ms(),
                    ) {
                        error!(%error, producer_id = id, "cannot abort it, the next start tries again");
                        continue;
                    }
                    if &*partition.id().topic == OFFSETS_TOPIC {
                        self.groups.end_transaction(id, false);
                    }
                }
            }
        }
    }

    /// Makes the end of a transaction durable, and visible where its partitions can take the marker; [`Shared::complete`] is
    /// still to come. If it fails the transaction is open as before.
    pub(super) async fn decide(
        &self,
        entry: &Entry,
        next: TransactionRecord,
    ) -> Result<(), Refused> {
        // From here on the gate is closed: nothing of this producer lands behind the sync or the marker.
        let before = entry.change().replace(next.clone());
        let decided = async {
            if next.phase == Phase::PrepareCommit {
                self.sync(&next)
                    .await
                    .map_err(|_| ErrorCode::TransactionAbortable)?;
            }
            let offset = self.append(&entry.id, Some(&next))?;
            durable(&self.log, offset).await
        };
        if let Err(error) = decided.await {
            // A record that reached the log all the same counts at the next start: until then its partition is offline, so
            // that nothing else can be decided.
            *entry.change() = before;
            return Err(error);
        }
        *entry.unmarked.lock() = next.partitions.iter().cloned().collect();
        self.write_markers(entry)
    }

    pub(super) async fn sync(&self, record: &TransactionRecord) -> Result<(), Refused> {
        let partitions = self.partitions(record);
        try_join_all(partitions.iter().map(|(_, partition)| partition.sync()))
            .await
            .map(drop)
            .map_err(|error| {
                error!(%error, "cannot sync what a transaction wrote");
                ErrorCode::KafkaStorageError
            })
    }

    pub(super) fn partitions(
        &self,
        record: &TransactionRecord,
    ) -> Vec<(TopicPartition, Arc<Partition>)> {
        record
            .partitions
            .iter()
            // A topic that was deleted meanwhile took its part of the transaction with it.
            .filter_map(|one| {
                Some((
                    one.clone(),
                    self.topics.get(&one.topic)?.partition(one.partition)?,
                ))
            })
            .collect()
    }

    /// Writes the markers that are missing, where the partition takes them.
    pub(super) fn write_markers(&self, entry: &Entry) -> Result<(), Refused> {
        let record = entry.current()?;
        let commit = record.phase == Phase::PrepareCommit;
        let kind = if commit {
            ControlKind::Commit
        } else {
            ControlKind::Abort
        };
        let missing = std::mem::take(&mut *entry.unmarked.lock());
        let mut failed = BTreeSet::new();
        for (name, partition) in self.partitions(&record) {
            if !missing.contains(&name) {
                continue;
            }
            let (id, epoch) = (record.producer_id, record.producer_epoch);
            if let Err(error) =
                partition.append_marker(kind, id, epoch, COORDINATOR_EPOCH, wall_ms())
            {
                error!(%error, transactional_id = %entry.id, partition = %name, "cannot write a transaction marker, trying again when the partition is back");
                failed.insert(name);
                continue;
            }
            if &*name.topic == OFFSETS_TOPIC {
                self.groups.end_transaction(record.producer_id, commit);
            }
        }
        *entry.unmarked.lock() = failed;
        Ok(())
    }

    /// Whether nothing holds up a decided transaction any more: a partition that did may be gone with its topic.
    pub(super) fn may_finish(&self, entry: &Entry) -> bool {
        let Ok(record) = entry.current() else {
            return false;
        };
        self.partitions(&record)
            .iter()
            .all(|(_, partition)| partition.check_online().is_ok())
    }

    /// Whether it is time to look at those that are not complete.
    pub(super) fn may_retry(&self, now: i64) -> bool {
        let mut next_retry_ms = self.next_retry_ms.lock();
        let due = *next_retry_ms <= now;
        if due {
            *next_retry_ms = now + RETRY_MS;
        }
        due
    }

    /// Goes on with a decided transaction.
    pub(super) async fn finish(&self, entry: &Entry) {
        let finished = async {
            self.write_markers(entry)?;
            self.complete(entry).await
        };
        if let Err(error) = finished.await {
            warn!(transactional_id = %entry.id, error = error.message(), "a decided transaction is not complete yet");
        }
    }

    /// Syncs the markers and writes that the transaction is complete. Durable when it returns: a start that does not know of it writes
    /// markers once more, and they would be those of the next transaction.
    pub(super) async fn complete(&self, entry: &Entry) -> Result<(), Refused> {
        if !entry.unmarked.lock().is_empty() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let next = self.completed(entry)?;
        self.sync(&entry.current()?).await?;
        self.write(entry, next).await
    }

    /// Aborts what may have been open when the machine went down.
    pub(super) async fn abort_open(&self, entry: &Entry) -> Result<(), Refused> {
        let Some(next) = state::after_power_loss(&entry.current()?, steady_ms()) else {
            return Ok(());
        };
        if !next.partitions.is_empty() {
            self.decide(entry, next).await?;
            if let Err(error) = self.complete(entry).await {
                // A partition that is offline holds it up; the tick goes on with it.
                warn!(transactional_id = %entry.id, error = error.message(), "an aborted transaction is not complete yet");
            }
            return Ok(());
        }
        // Nothing was written that is known of: the end of it is one record.
        let fresh = self.fresh_producer_id(Some(&next))?;
        self.write(entry, state::complete(&next, fresh, steady_ms()))
            .await
    }

    pub(super) fn completed(&self, entry: &Entry) -> Result<TransactionRecord, Refused> {
        let current = entry.current()?;
        let fresh = self.fresh_producer_id(Some(&current))?;
        Ok(state::complete(&current, fresh, steady_ms()))
    }

    /// Answers, then completes. When the epochs of the producer id are used up, the answer has to wait for the new id.
    pub(super) async fn complete_after(
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

    pub(super) async fn abort_expired(&self, entry: &Entry, _turn: OwnedMutexGuard<()>) {
        let Ok(current) = entry.current() else { return };
        let Some(next) = state::abort_if_expired(&current, steady_ms()) else {
            return;
        };
        warn!(transactional_id = %entry.id, timeout_ms = current.timeout_ms, "transaction timed out and is aborted");
        let aborted = async {
            self.decide(entry, next).await?;
            self.complete(entry).await
        };
        if let Err(error) = aborted.await {
            error!(transactional_id = %entry.id, error = error.message(), "cannot abort a transaction that timed out");
        }
    }

    pub(super) fn forget_unused(&self, now: i64) {
        self.entries.lock().retain(|id, entry| {
            let unused = match &*entry.record.read() {
                None => true,
                Some(record) => {
                    matches!(
                        record.phase,
                        Phase::Empty | Phase::CompleteCommit | Phase::CompleteAbort
                    ) && record.last_update_ms < now - ID_EXPIRATION_MS
                }
            };
            let idle = Arc::strong_count(entry) == 1 && entry.turn.try_lock().is_ok();
            !(unused && idle && self.append(id, None).is_ok())
        });
    }
}
