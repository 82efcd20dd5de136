//! Transactions of this process: gathered in memory, then one atomic commit.
//!
//! ```text
//!  append, commit_offsets ─▶ memory                                  nothing is in the log: an abort forgets
//!  commit ─▶ begin at the coordinator ─▶ append all, stage offsets
//!         ─▶ one group sync: what was written, and what the offsets point past
//!         ─▶ end: decision durable, markers, visible
//! ```
//! Transactions are of the second generation (KIP-890): every end at the coordinator raises the producer's epoch, so sequences begin
//! at 0 each time.
//!
//! Invariants:
//! 1. While a commit is on its way and its answer is not here, the handle is of no use but to learn that.
//! 2. A commit that fails before its end is asked for is aborted before the error is returned.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;
use log_api::{
    GroupMember, OffsetCommit, Transaction, TransactionError, TransactionOptions, WriteError,
};
use log_protocol::{BatchBuilder, BatchHeader, ErrorCode, ProducerStamp, TopicPartition};

use super::find;
use super::writer::{storage_error, write_error};
use crate::clock::wall_ms;
use crate::config::millis_i32;
use crate::coordinator::group::OFFSET_METADATA_BYTES_MAX;
use crate::coordinator::group::record::OffsetRecord;
use crate::coordinator::group::state::Identity;
use crate::coordinator::txn::state::Producer;
use crate::partition::{AppendError, AppendOrigin};
use crate::services::Services;
use crate::storage::Partition;

pub(super) struct EmbeddedTransaction {
    services: Arc<Services>,
    id: Arc<str>,
    producer: Producer,
    pending: Pending,
    /// A commit was dropped while it was on its way.
    unknown: bool,
}

/// What the next commit is to do.
#[derive(Default)]
struct Pending {
    batches: Vec<(TopicPartition, Bytes)>,
    sequences: BTreeMap<TopicPartition, i32>,
    offsets: BTreeMap<String, Staged>,
}

/// Offsets of a group, and who has reached them.
#[derive(Default)]
struct Staged {
    member: Option<GroupMember>,
    commits: BTreeMap<TopicPartition, OffsetCommit>,
}

impl EmbeddedTransaction {
    pub(super) async fn open(
        services: Arc<Services>,
        options: TransactionOptions,
    ) -> Result<Self, TransactionError> {
        let id: Arc<str> = options.transactional_id.into();
        let longest = millis_i32(services.config.transaction_timeout_max);
        let timeout_ms = millis_i32(options.timeout).clamp(1, longest);
        let producer = services
            .transactions
            .initialize(&id, None, timeout_ms)
            .await
            .map_err(|error| refused(&id, error))?;
        Ok(Self {
            services,
            id,
            producer,
            pending: Pending::default(),
            unknown: false,
        })
    }

    fn usable(&self) -> Result<(), TransactionError> {
        if self.unknown {
            Err(TransactionError::Unknown(self.id.to_string()))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl Transaction for EmbeddedTransaction {
    async fn append(
        &mut self,
        partition: &TopicPartition,
        batch: BatchBuilder,
    ) -> Result<(), TransactionError> {
        self.usable()?;
        let found = find(&self.services, partition)
            .ok_or_else(|| WriteError::UnknownPartition(partition.clone()))?;
        if found.is_internal() {
            // Told now: at the commit it would take the whole transaction with it.
            let refused = AppendError::Internal(partition.clone());
            return Err(write_error(partition, batch.size_bytes(), refused).into());
        }
        if batch.is_empty() {
            let reason = "there is no record in it".to_owned();
            return Err(WriteError::Invalid {
                partition: partition.clone(),
                reason,
            }
            .into());
        }
        let base_sequence = self.pending.sequences.get(partition).copied().unwrap_or(0);
        let bytes = batch.build(ProducerStamp {
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            base_sequence,
            transactional: true,
        });
        if bytes.len() > found.config().max_message_bytes {
            let (partition, bytes) = (partition.clone(), bytes.len());
            return Err(WriteError::TooLarge { partition, bytes }.into());
        }
        let next = BatchHeader::parse(&bytes)
            .map_or(0, |header| header.last_sequence().wrapping_add(1).max(0));
        self.pending.sequences.insert(partition.clone(), next);
        self.pending.batches.push((partition.clone(), bytes));
        Ok(())
    }

    async fn commit_offsets(
        &mut self,
        group: &str,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), TransactionError> {
        self.usable()?;
        let aborted = |reason: String| Err(TransactionError::Aborted(reason));
        for commit in &offsets {
            if find(&self.services, &commit.partition).is_none() {
                return Err(WriteError::UnknownPartition(commit.partition.clone()).into());
            }
            if commit.metadata.len() > OFFSET_METADATA_BYTES_MAX {
                return aborted(format!(
                    "offset metadata for {} exceeds 4096 bytes",
                    commit.partition
                ));
            }
        }
        let staged = self.pending.offsets.entry(group.to_owned()).or_default();
        staged.commits.extend(
            offsets
                .into_iter()
                .map(|commit| (commit.partition.clone(), commit)),
        );
        Ok(())
    }

    async fn commit_offsets_of(
        &mut self,
        member: &GroupMember,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), TransactionError> {
        self.commit_offsets(&member.group, offsets).await?;
        let staged = self.pending.offsets.entry(member.group.clone());
        staged.or_default().member = Some(member.clone());
        Ok(())
    }

    async fn commit(&mut self) -> Result<Vec<i64>, TransactionError> {
        self.usable()?;
        let pending = std::mem::take(&mut self.pending);
        if pending.batches.is_empty() && pending.offsets.values().all(Staged::is_empty) {
            return Ok(Vec::new());
        }
        self.unknown = true;
        let commit = Commit {
            services: Arc::clone(&self.services),
            id: Arc::clone(&self.id),
            producer: self.producer,
            pending,
        };
        // On a task of its own: a caller that is dropped leaves no transaction half done.
        let Ok((producer, outcome)) = tokio::spawn(commit.run()).await else {
            return Err(TransactionError::Unknown(self.id.to_string()));
        };
        self.unknown = matches!(outcome, Err(TransactionError::Unknown(_)));
        self.producer = producer;
        outcome
    }

    async fn abort(&mut self) -> Result<(), TransactionError> {
        self.usable()?;
        self.pending = Pending::default();
        Ok(())
    }
}

impl Staged {
    fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }
}

struct Commit {
    services: Arc<Services>,
    id: Arc<str>,
    producer: Producer,
    pending: Pending,
}

impl Commit {
    /// Returns the producer to go on with, and the outcome.
    async fn run(mut self) -> (Producer, Result<Vec<i64>, TransactionError>) {
        let pending = std::mem::take(&mut self.pending);
        let transactions = self.services.transactions.clone();
        // The markers of the transaction before may still be on their way to the disk.
        transactions.settled(&self.id).await;
        let written = self.write(pending).await;
        let commit = written.is_ok();
        let ended = transactions
            .end(&self.id, self.producer, commit, true)
            .await;
        match (written, ended) {
            (Ok(offsets), Ok(next)) => (next, Ok(offsets)),
            (Ok(_), Err(error)) => (self.producer, Err(self.end_error(error))),
            (Err(error), Ok(next)) => (next, Err(error)),
            // It could not be aborted either; the coordinator does it when the id is opened again, or in time.
            (Err(error), Err(ended)) if is_fenced(ended) => {
                let _ = error;
                (
                    self.producer,
                    Err(TransactionError::Fenced(self.id.to_string())),
                )
            }
            (Err(error), Err(_)) => (self.producer, Err(error)),
        }
    }

    async fn write(&self, pending: Pending) -> Result<Vec<i64>, TransactionError> {
        let services = &*self.services;
        let staged: Vec<(String, Staged)> = pending
            .offsets
            .into_iter()
            .filter(|(_, staged)| !staged.is_empty())
            .collect();
        let mut targets: Vec<TopicPartition> = pending
            .batches
            .iter()
            .map(|(partition, _)| partition.clone())
            .collect();
        targets.extend(
            staged
                .iter()
                .map(|(group, _)| services.groups.partition_of(group)),
        );
        targets.sort();
        targets.dedup();
        let handle = services
            .transactions
            .begin(&self.id, self.producer, &targets)
            .map_err(|error| refused(&self.id, error))?;
        let now_ms = wall_ms();
        let mut offsets = Vec::with_capacity(pending.batches.len());
        let mut to_sync: BTreeMap<TopicPartition, Arc<Partition>> = BTreeMap::new();
        for (name, bytes) in pending.batches {
            let partition =
                find(services, &name).ok_or_else(|| WriteError::UnknownPartition(name.clone()))?;
            let size = bytes.len();
            let gate = handle
                .gate(self.producer, &name)
                .map_err(|error| refused(&self.id, error))?;
            let appended = partition
                .append(bytes, AppendOrigin::Embedded, now_ms)
                .map_err(|error| write_error(&name, size, error))?;
            drop(gate);
            offsets.push(appended.base_offset);
            to_sync.insert(name, partition);
        }
        for (group, staged) in staged {
            let positions = staged
                .commits
                .iter()
                .map(|(name, commit)| (name, commit.offset));
            for behind in services.groups.unsynced(positions) {
                to_sync.insert(behind.id().clone(), behind);
            }
            self.stage(services, &handle, &group, staged, now_ms)?;
        }
        let syncs = to_sync.iter().map(|(name, partition)| async move {
            partition
                .sync()
                .await
                .map_err(|error| storage_error(name, &error))
        });
        try_join_all(syncs).await?;
        Ok(offsets)
    }

    fn stage(
        &self,
        services: &Services,
        handle: &crate::coordinator::txn::Handle,
        group: &str,
        staged: Staged,
        now_ms: i64,
    ) -> Result<(), TransactionError> {
        let identity = staged
            .member
            .map_or_else(Identity::standalone, |member| Identity {
                member_id: member.member_id,
                instance_id: None,
                generation: member.generation,
            });
        let offsets = staged
            .commits
            .into_iter()
            .map(|(partition, commit)| {
                let record = OffsetRecord {
                    offset: commit.offset,
                    leader_epoch: -1,
                    metadata: commit.metadata,
                    commit_timestamp_ms: now_ms,
                };
                (partition, record)
            })
            .collect();
        let target = services.groups.partition_of(group);
        let _gate = handle
            .gate(self.producer, &target)
            .map_err(|error| refused(&self.id, error))?;
        services
            .groups
            .stage_offsets_synced(group, &identity, self.producer, offsets)
            .map_err(|error| refused(&self.id, error))
    }

    fn end_error(&self, error: ErrorCode) -> TransactionError {
        match error {
            // Nobody decided: whoever works on this id goes on for too long.
            ErrorCode::ConcurrentTransactions => refused(&self.id, error),
            error if is_fenced(error) => TransactionError::Fenced(self.id.to_string()),
            _ => TransactionError::Unknown(self.id.to_string()),
        }
    }
}

fn is_fenced(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::ProducerFenced
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::InvalidTxnState
            // Its place in the group is that of another one.
            | ErrorCode::IllegalGeneration
            | ErrorCode::UnknownMemberId
            | ErrorCode::FencedInstanceId
    )
}

fn refused(id: &str, error: ErrorCode) -> TransactionError {
    if is_fenced(error) {
        TransactionError::Fenced(id.to_owned())
    } else {
        TransactionError::Aborted(format!("transactional id {id}: {}", error.message()))
    }
}
