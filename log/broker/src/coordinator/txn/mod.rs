//! The transaction coordinator's shell: runs [`state`], writes `__transaction_state`, syncs what a commit speaks of, writes the markers.
//!
//! ```text
//!  end ──▶ Prepare in memory          no later append of this producer passes the gate
//!      ──▶ sync every partition written          one group commit
//!      ──▶ append Prepare, durable               the decision
//!      ──▶ markers, offsets of groups            visible: the caller gets its answer here
//!      ──▶ sync the markers
//!      ──▶ append Complete, durable              nothing that the next transaction writes can outlive it
//! ```
//! What fails before the decision is taken back: the transaction is open as before. A partition that cannot take its marker
//! holds up the completion, not the other partitions; the tick, or the next start, goes on where it can.
//!
//! Partitions join a transaction without a sync, and what it wrote need not be on disk before its end. So after a power loss records may
//! be missing of which a producer knows nothing, and nobody can tell an id that was at rest from one whose transaction is lost whole: all
//! of them are aborted as if they had timed out ([`state::after_power_loss`]), and an end that a client still asks for is refused.
//!
//! Invariants:
//! 1. One request at a time works on a transactional id: it holds the id's turn, to the end of what it began.
//! 2. A batch of a transaction is appended while its record is held for reading, so it lies before the marker or is refused.
//! 3. Prepare is durable after all that the transaction wrote; Complete after all its markers, and before the next transaction begins.
//! 4. A request that comes over a connection which its producer has left is not carried out.
//! 5. After the start no partition that can be written to has a transaction open that the coordinator does not know.
//! 6. No transaction goes on over a power loss, unless it was decided: then it is as it was decided.

mod execution;
pub(crate) mod record;
mod speakers;
pub(crate) mod state;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use log_protocol::{BatchHeader, DecodeError, ErrorCode, Record, TopicPartition};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

pub(crate) use self::speakers::Channel;

use self::record::{Phase, TransactionRecord};
use self::speakers::Speakers;
use self::state::{Addition, Ending, Producer};
use super::group::Groups;
use super::{Background, internal_partition, replay};
use crate::OpenError;
use crate::clock::steady_ms;
use crate::quorum::Topics;
use crate::storage::{Partition, StartKind, write_lock};

/// The topic of transactional ids.
pub(crate) const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// How long a request waits for the one before it on the same id; then the client is told to come back.
const TURN_WAIT: Duration = Duration::from_secs(5);

/// `transactional.id.expiration.ms`.
const ID_EXPIRATION_MS: i64 = 7 * 24 * 3_600_000;

/// How often ids are looked through for ones that expired.
const ID_EXPIRATION_CHECK_MS: i64 = 3_600_000;

/// How often transactions that are decided and not complete are looked at.
const RETRY_MS: i64 = 1_000;

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
    next_retry_ms: Mutex<i64>,
}

struct Entry {
    id: String,
    /// Held by the request that works on this id; waiting is fair.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// `None` until the first InitProducerId is written.
    record: RwLock<Option<TransactionRecord>>,
    /// Of a decided transaction: the partitions whose marker is still to be written.
    unmarked: Mutex<BTreeSet<TopicPartition>>,
    speakers: Mutex<Speakers>,
}

impl Entry {
    /// The record, to be changed. Appends of its producer that hold it open are waited for, and nobody else waits with it.
    fn change(&self) -> RwLockWriteGuard<'_, Option<TransactionRecord>> {
        write_lock(&self.record)
    }
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
        replay(TRANSACTIONS_TOPIC, &log, |header, record| {
            if let Err(error) = replay_record(header, &record, &mut records) {
                warn!(offset = record.offset, %error, "record of __transaction_state skipped");
            }
        })?;
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
                next_retry_ms: Mutex::new(0),
            }),
        };
        let undecided = this.entries_that(|record| !record.is_decided());
        this.resume();
        if this.shared.topics.start_kind() == StartKind::PowerLoss {
            this.abort_after_power_loss(undecided)?;
        }
        this.shared.abort_orphans();
        Ok(this)
    }

    fn entries_that(&self, holds: impl Fn(&TransactionRecord) -> bool) -> Vec<Arc<Entry>> {
        let entries = self.shared.entries.lock();
        let found = entries
            .values()
            .filter(|entry| entry.record.read().as_ref().is_some_and(&holds));
        found.cloned().collect()
    }

    /// Aborts what may have been open when the machine went down; durable when it returns.
    fn abort_after_power_loss(&self, entries: Vec<Arc<Entry>>) -> Result<(), OpenError> {
        if entries.is_empty() {
            return Ok(());
        }
        let ongoing = self.entries_that(|record| record.phase == Phase::Ongoing);
        warn!(
            open_transactions = ongoing.len(),
            fenced_producers = entries.len(),
            "the machine went down: open transactions are aborted, and their producers begin anew; so do those whose begin of one may be lost"
        );
        let shared = Arc::clone(&self.shared);
        let aborted = self.shared.background.wait(async move {
            let aborts = entries.iter().map(|entry| shared.abort_open(entry));
            try_join_all(aborts).await.map(drop)
        });
        match aborted {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(not_aborted(error.message())),
            None => Err(not_aborted("the thread of the coordinators ended")),
        }
    }

    /// Finishes every end that was decided: the decision stands, its markers may be missing.
    fn resume(&self) {
        for entry in self.entries_that(TransactionRecord::is_decided) {
            info!(transactional_id = %entry.id, "finishing a transaction that was decided before the stop");
            let shared = Arc::clone(&self.shared);
            self.shared
                .background
                .wait(async move { shared.finish(&entry).await });
        }
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
        let entry = self.shared.named(id)?;
        // The common case of a producer that goes on writing to the same partitions takes no turn.
        if let Some(current) = &*entry.record.read()
            && current.client_version == client_version
            && partitions
                .iter()
                .all(|one| state::verify(current, producer, one).is_ok())
        {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        self.detached(async move {
            let _turn = shared.turn(&entry).await?;
            let current = entry.current()?;
            match state::add_partitions(
                &current,
                producer,
                &partitions,
                client_version,
                steady_ms(),
            )? {
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

    /// Whether this producer may be heard over this connection. One that is not the id's current one is: it is refused for that.
    pub(crate) fn may_hear(
        &self,
        id: &str,
        producer: Producer,
        channel: Channel,
        connection: u64,
    ) -> bool {
        let Ok(entry) = self.shared.known(id) else {
            return true;
        };
        // The caller may hold the transaction open, and somebody may wait to end it.
        let record = entry.record.read_recursive();
        let is_current = record
            .as_ref()
            .is_some_and(|record| record.producer() == producer);
        !is_current || entry.speakers.lock().hear(producer, channel, connection)
    }

    /// Where a transactional id stands.
    pub(crate) fn describe(&self, id: &str) -> Option<TransactionRecord> {
        let entry = self.shared.known(id).ok()?;
        entry.record.read().clone()
    }

    /// Where all of them stand.
    pub(crate) fn list(&self) -> Vec<(String, TransactionRecord)> {
        let entries: Vec<Arc<Entry>> = self.shared.entries.lock().values().cloned().collect();
        let records = entries.iter().filter_map(|entry| {
            let record = entry.record.read().clone()?;
            Some((entry.id.clone(), record))
        });
        records.collect()
    }

    /// The transactional id, for [`Handle::gate`].
    pub(crate) fn handle(&self, id: &str) -> Result<Handle, Refused> {
        self.shared.named(id).map(|entry| Handle { entry })
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
        let entry = self.shared.named(id)?;
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
        answer
            .await
            .unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }

    /// Aborts what has been open for too long, finishes what waited for a partition, forgets ids that nobody used for long;
    /// called every 50 ms or so.
    pub(crate) fn tick(&self) {
        if self.shared.log.check_online().is_err() {
            // Nothing can be decided before the next start.
            return;
        }
        let now = steady_ms();
        let retry = self.shared.may_retry(now);
        let is_due = |entry: &Arc<Entry>| {
            let record = entry.record.read();
            let record = record.as_ref()?;
            let expired = state::abort_if_expired(record, now).is_some();
            (expired || record.is_decided()).then(|| (Arc::clone(entry), expired))
        };
        let due: Vec<_> = self
            .shared
            .entries
            .lock()
            .values()
            .filter_map(is_due)
            .collect();
        for (entry, expired) in due {
            // Whoever holds the turn is at it.
            let Ok(turn) = Arc::clone(&entry.turn).try_lock_owned() else {
                continue;
            };
            let shared = Arc::clone(&self.shared);
            if expired {
                self.shared
                    .background
                    .spawn(async move { shared.abort_expired(&entry, turn).await });
            } else if retry && shared.may_finish(&entry) {
                self.shared.background.spawn(async move {
                    shared.finish(&entry).await;
                    drop(turn);
                });
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
        self.shared
            .background
            .spawn(work)
            .await
            .unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }
}

impl Entry {
    fn new(id: String, record: Option<TransactionRecord>) -> Self {
        let unmarked = record
            .as_ref()
            .filter(|record| record.is_decided())
            .map(|record| record.partitions.iter().cloned().collect())
            .unwrap_or_default();
        Self {
            id,
            turn: Arc::default(),
            record: RwLock::new(record),
            unmarked: Mutex::new(unmarked),
            speakers: Mutex::default(),
        }
    }

    fn current(&self) -> Result<TransactionRecord, Refused> {
        self.record
            .read()
            .clone()
            .ok_or(ErrorCode::InvalidProducerIdMapping)
    }
}

impl TransactionRecord {
    /// Whether its end is decided and not complete.
    fn is_decided(&self) -> bool {
        matches!(self.phase, Phase::PrepareCommit | Phase::PrepareAbort)
    }

    fn producer(&self) -> Producer {
        Producer {
            id: self.producer_id,
            epoch: self.producer_epoch,
        }
    }
}

fn not_aborted(reason: &str) -> OpenError {
    OpenError::InternalTopic {
        topic: TRANSACTIONS_TOPIC.to_owned(),
        reason: format!("transactions cannot be aborted after the machine went down: {reason}"),
    }
}

/// Takes over what a record says. One that cannot be read leaves its id as it was.
fn replay_record(
    header: &BatchHeader,
    record: &Record,
    records: &mut HashMap<String, TransactionRecord>,
) -> Result<(), DecodeError> {
    let Some(key) = record.key.as_ref().filter(|_| !header.is_control()) else {
        return Ok(());
    };
    let Some(id) = record::decode_key(key)? else {
        return Ok(());
    };
    match &record.value {
        None => drop(records.remove(&id)),
        Some(value) => match TransactionRecord::decode(value)? {
            Some(record) => drop(records.insert(id, record)),
            None => warn!(transactional_id = %id, "transactional id in an unknown state skipped"),
        },
    }
    Ok(())
}

#[cfg(test)]
mod tests;
