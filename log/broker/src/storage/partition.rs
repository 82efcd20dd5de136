//! One partition's log: the handle that everybody shares.
//!
//! Appends are in [`super::append`], reads in [`super::read`], the periodic work in [`super::retention`].
//!
//! Invariants:
//! 1. log start ≤ last stable offset ≤ high watermark ≤ what is written; readers see all three of one moment.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use log_protocol::TopicPartition;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tracing::{debug, error, info};

use super::append::{Entry, Slot};
use super::checkpoint::Checkpoint;
use super::corruption::Corruption;
use super::durability::{Durability, SyncPool};
use super::error::StorageError;
use super::evidence::accept_loss;
use super::identity;
use super::recovery::{self, Recovered, RecoveryReport};
use super::ring::{Ring, RingBudget};
use super::segment::Segment;
use super::waiting::Pace;
use super::{OpenError, StorageOptions};
use crate::partition::{
    AbortedIndex, LeaderEpochs, LogEnds, ProducerStates, ProducerSummary, ends,
};
use crate::topic_config::{FlushLevel, TopicConfig};

/// What all partitions of a log share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// See there.
    pub(crate) options: StorageOptions,
    /// Syncs.
    pub(crate) pool: Arc<SyncPool>,
    /// Bounds the rings.
    pub(crate) rings: Arc<RingBudget>,
    /// Long work is to end soon.
    pub(crate) closing: AtomicBool,
    /// How the disk takes writes.
    pub(crate) pace: Pace,
}

/// What a partition is opened with.
#[derive(Debug, Clone)]
pub(crate) struct PartitionSeed {
    /// Its name.
    pub(crate) id: TopicPartition,
    /// Its folder; made at the first append.
    pub(crate) folder: Arc<Path>,
    /// The log is known to go to this offset at least.
    pub(crate) known_end: i64,
    /// Records below this offset are gone, whatever its files hold.
    pub(crate) known_start: i64,
    /// Only coordinators write to it.
    pub(crate) internal: bool,
    /// The epoch of this leader.
    pub(crate) leader_epoch: i32,
    /// The topic's configs, shared with the topic.
    pub(crate) config: Arc<RwLock<Arc<TopicConfig>>>,
    /// Shared by all.
    pub(crate) shared: Arc<Shared>,
}

/// What changes under the writer's lock.
#[derive(Debug)]
pub(super) struct WriterState {
    pub(super) producers: ProducerStates,
    /// One past the last offset given out.
    pub(super) end: i64,
    /// `(end offset, ms)`: compaction was through below that offset at that time.
    pub(super) cleaned: Vec<(i64, i64)>,
}

/// When the periodic work was done last, ms.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    pub(super) checkpoint_ms: i64,
    pub(super) ring_ms: i64,
    pub(super) retention_ms: i64,
    pub(super) idle_ms: i64,
    pub(super) expiry_ms: i64,
}

/// A partition that this process leads.
#[derive(Debug)]
pub(crate) struct Partition {
    id: TopicPartition,
    pub(super) folder: Arc<Path>,
    internal: bool,
    leader_epoch: i32,
    config: Arc<RwLock<Arc<TopicConfig>>>,
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Mutex<WriterState>,
    pub(super) queue: Mutex<Vec<(Entry, Arc<Slot>)>>,
    /// By base offset; the last one is appended to.
    pub(super) segments: RwLock<Vec<Arc<Segment>>>,
    pub(super) ends: watch::Sender<LogEnds>,
    pub(super) aborted: RwLock<AbortedIndex>,
    pub(super) epochs: RwLock<LeaderEpochs>,
    pub(super) ring: Mutex<Ring>,
    /// Somebody reads at the tail.
    pub(super) ring_wanted: AtomicBool,
    /// Somebody did since the last look.
    pub(super) ring_used: AtomicBool,
    pub(super) durability: Arc<Durability>,
    /// False where the files could not be read at the start: then nothing at all is known.
    opened: bool,
    deleted: AtomicBool,
    /// Nothing is appended any more; set under the writer's lock.
    closed: AtomicBool,
    /// Bytes of all segments.
    pub(super) size: AtomicU64,
    /// Bytes appended since the last checkpoint.
    pub(super) unsaved: AtomicU64,
    /// A segment was sealed since the last checkpoint, or that is of an older version.
    pub(super) rolled: AtomicBool,
    /// When something of the periodic work is due at the earliest, ms.
    pub(super) due_ms: AtomicI64,
    /// When compaction looks again at the earliest, ms.
    pub(super) clean_due_ms: AtomicI64,
    /// Below this offset all was compacted.
    pub(super) cleaned_to: AtomicI64,
    pub(super) corruption: Corruption,
    /// The last append found the disk full.
    is_full: AtomicBool,
    /// What was known before it was opened.
    known_end: i64,
    known_start: i64,
    /// Offset of the last checkpoint.
    checkpointed: AtomicI64,
    /// Held by whoever seals, removes or replaces segments outside of an append.
    pub(super) upkeep: Mutex<Upkeep>,
}

impl Partition {
    /// Opens the partition: recovers what is on disk. Nothing is made for one that was never written to.
    ///
    /// # Errors
    /// If its files cannot be read or cut.
    pub(crate) fn open(seed: PartitionSeed) -> Result<(Self, RecoveryReport), OpenError> {
        let compacts = seed.config.read().cleanup_compact;
        let recovered = recovery::recover(
            &seed.folder,
            &seed.id,
            seed.leader_epoch,
            seed.known_end,
            compacts,
        )?;
        let (partition, report) = Self::of(seed, recovered, true)?;
        partition.settle_loss()?;
        partition.note_identity();
        Ok((partition, report))
    }

    /// Files are as the log is now: what was asked for in case of a loss is done, and not meant for the next one.
    fn settle_loss(&self) -> Result<(), OpenError> {
        let path = accept_loss(&self.folder);
        if !path.exists() {
            return Ok(());
        }
        let saved = self.checkpoint().map_err(io::Error::other);
        saved
            .and_then(|()| fs::remove_file(&path))
            .and_then(|()| super::sync_folder(&self.folder))
            .map_err(OpenError::io("settle", &path))
    }

    /// Says in the folder whose it is, if it is there.
    pub(super) fn note_identity(&self) {
        if !self.folder.exists() {
            return;
        }
        if let Err(error) = identity::note(&self.folder) {
            // The next start tries again; until then a folder that is moved is not noticed.
            debug!(partition = %self.id, %error, "cannot note whose folder it is");
        }
    }

    /// A partition that could not be opened: every call fails with `reason`.
    pub(crate) fn offline(seed: PartitionSeed, reason: String) -> Self {
        let (partition, _) = Self::of(seed, Recovered::default(), false)
            .expect("without segments there is no file to open");
        partition.durability.go_offline(reason);
        partition
    }

    fn of(
        seed: PartitionSeed,
        recovered: Recovered,
        opened: bool,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let Recovered {
            segments,
            log_start,
            end,
            synced,
            checkpoint,
            is_old,
            report,
        } = recovered;
        let Checkpoint {
            leader_epochs,
            aborted,
            cleaned,
            producers,
            ..
        } = checkpoint;
        let cleaned_to = cleaned.last().map_or(0, |(end, _)| *end);
        let mut epochs = LeaderEpochs::from_entries(leader_epochs);
        epochs.assign(seed.leader_epoch, end);
        let mut index = AbortedIndex::default();
        aborted.into_iter().for_each(|aborted| index.push(aborted));
        // A checkpoint that is lost does not bring deleted records back.
        let log_start = log_start.max(seed.known_start.min(end));
        let now = ends(log_start, end, producers.first_open());
        let PartitionSeed {
            id,
            folder,
            known_end,
            known_start,
            internal,
            leader_epoch,
            config,
            shared,
        } = seed;
        let durability = Durability::new(id.clone(), Arc::clone(&shared.pool), end, synced);
        // What was scanned may be in the page cache only.
        for segment in segments
            .iter()
            .filter(|segment| synced < segment.next_offset())
        {
            let file = segment.file().map_err(OpenError::io("open", &folder))?;
            durability.mark(&file, i64::MIN);
        }
        let size = segments.iter().map(|segment| segment.size()).sum();
        let ring = Ring::new(
            shared.options.ring_partition_bytes_max,
            Arc::clone(&shared.rings),
        );
        let partition = Self {
            id,
            folder,
            internal,
            leader_epoch,
            config,
            shared,
            writer: Mutex::new(WriterState {
                producers,
                end,
                cleaned,
            }),
            queue: Mutex::default(),
            segments: RwLock::new(segments),
            ends: watch::Sender::new(now),
            aborted: RwLock::new(index),
            epochs: RwLock::new(epochs),
            ring: Mutex::new(ring),
            ring_wanted: AtomicBool::new(false),
            ring_used: AtomicBool::new(false),
            durability,
            opened,
            deleted: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            size: AtomicU64::new(size),
            unsaved: AtomicU64::new(0),
            rolled: AtomicBool::new(is_old),
            due_ms: AtomicI64::new(i64::MIN),
            clean_due_ms: AtomicI64::new(i64::MIN),
            cleaned_to: AtomicI64::new(cleaned_to),
            corruption: Corruption::default(),
            is_full: AtomicBool::new(false),
            known_end,
            known_start,
            checkpointed: AtomicI64::new(synced),
            upkeep: Mutex::default(),
        };
        Ok((partition, report))
    }

    /// Topic and index.
    pub(crate) fn id(&self) -> &TopicPartition {
        &self.id
    }

    /// Whether only coordinators write to it.
    pub(crate) fn is_internal(&self) -> bool {
        self.internal
    }

    /// The epoch that batches are stamped with.
    pub(crate) fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// The topic's configs as they are now.
    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.config.read())
    }

    /// Log start, last stable offset and high watermark, of one moment.
    pub(crate) fn ends(&self) -> LogEnds {
        *self.ends.borrow()
    }

    /// First offset that is still there.
    pub(crate) fn log_start_offset(&self) -> i64 {
        self.ends().log_start
    }

    /// One past the last visible record.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.ends().high_watermark
    }

    /// What read_committed may reach.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.ends().last_stable
    }

    /// Wakes when one of the ends moves, and when the partition is deleted or goes offline.
    pub(crate) fn watch(&self) -> watch::Receiver<LogEnds> {
        self.ends.subscribe()
    }

    /// Bytes of all segments.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Offset below which everything is on disk.
    pub(crate) fn synced_offset(&self) -> i64 {
        self.durability.synced()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a start may expect the log to end at least.
    pub(crate) fn known_end(&self) -> i64 {
        self.known_end
            .max(self.checkpointed.load(Ordering::Relaxed))
    }

    /// Where a start may expect the log to begin at the earliest.
    pub(crate) fn known_start(&self) -> i64 {
        self.known_start.max(self.log_start_offset())
    }

    /// Waits until `last_offset` is as durable as the topic's `flush` promises before an answer: at once for `os` and
    /// `interval`, after a group-committed fdatasync for `sync`. Cancel safe.
    ///
    /// # Errors
    /// [`StorageError::Offline`] if the sync failed.
    pub(crate) async fn acknowledged(&self, last_offset: i64) -> Result<(), StorageError> {
        if self.config.read().flush != FlushLevel::Sync {
            return self.check_online();
        }
        self.synced_to(last_offset + 1).await
    }

    /// Waits until everything appended so far is on disk, whatever the topic's level. Cancel safe.
    ///
    /// # Errors
    /// [`StorageError::Offline`] if the sync failed.
    pub(crate) async fn sync(&self) -> Result<(), StorageError> {
        self.synced_to(self.high_watermark()).await
    }

    async fn synced_to(&self, offset: i64) -> Result<(), StorageError> {
        if self.opened && self.durability.wait(offset).await {
            Ok(())
        } else {
            Err(self.offline_error())
        }
    }

    #[cfg(test)]
    pub(crate) fn has_open_transaction(&self, producer_id: i64) -> bool {
        self.writer.lock().producers.has_open(producer_id)
    }

    /// All producers that are remembered (DescribeProducers).
    pub(crate) fn producers(&self) -> Vec<ProducerSummary> {
        self.writer.lock().producers.summaries()
    }

    /// OffsetForLeaderEpoch: the largest epoch up to `leader_epoch` and where it ends, `(-1, -1)` if not known.
    pub(crate) fn end_offset_for_epoch(&self, leader_epoch: i32) -> (i32, i64) {
        self.epochs
            .read()
            .end_offset(leader_epoch, self.high_watermark())
    }

    /// The topic is gone: every call fails from now on, and who waits is woken.
    pub(crate) fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
        self.ring.lock().clear();
        self.ends.send_modify(|_| {});
    }

    /// What of it is known to be unreadable, if anything is.
    pub(crate) fn trouble(&self) -> Option<StorageError> {
        match self.check_online() {
            Err(error @ StorageError::Offline { .. }) => Some(error),
            Err(_) => None,
            Ok(()) => self.corruption.first(&self.id, self.log_start_offset()),
        }
    }

    /// Whether its files could be read at the start.
    pub(crate) fn is_opened(&self) -> bool {
        self.opened
    }

    /// Whether the partition can be read: one that went offline still has what is visible.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_readable(&self) -> Result<(), StorageError> {
        if self.opened && !self.deleted.load(Ordering::Acquire) {
            Ok(())
        } else {
            self.check_online()
        }
    }

    /// Whether the partition can do all its work.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_online(&self) -> Result<(), StorageError> {
        if self.deleted.load(Ordering::Acquire) {
            return Err(StorageError::Deleted(self.id.clone()));
        }
        if self.durability.offline().is_some() {
            Err(self.offline_error())
        } else {
            Ok(())
        }
    }

    pub(super) fn check_open(&self) -> Result<(), StorageError> {
        if self.closed.load(Ordering::Acquire) {
            Err(self.offline_error())
        } else {
            self.check_online()
        }
    }

    pub(super) fn offline_error(&self) -> StorageError {
        let reason = self
            .durability
            .offline()
            .unwrap_or("the log is closed")
            .to_owned();
        StorageError::Offline {
            partition: self.id.clone(),
            reason,
        }
    }

    /// Takes the partition offline.
    pub(crate) fn fail(&self, step: &str, error: &io::Error) -> StorageError {
        self.durability.fail(format!("{step}: {error}"));
        self.ends.send_modify(|_| {});
        self.offline_error()
    }

    /// A write failed and nothing of it is left in the files. Without room on the disk the partition goes on, else it is taken
    /// offline.
    pub(super) fn not_written(&self, step: &str, error: &io::Error) -> StorageError {
        if !is_full(error) {
            return self.fail(step, error);
        }
        if !self.is_full.swap(true, Ordering::Relaxed) {
            error!(partition = %self.id, step, %error, "the disk is full: records are refused until there is room");
        }
        StorageError::Full {
            partition: self.id.clone(),
            reason: format!("{step}: {error}"),
        }
    }

    /// A write went through.
    pub(super) fn has_room(&self) {
        if self.is_full.load(Ordering::Relaxed) && self.is_full.swap(false, Ordering::Relaxed) {
            info!(partition = %self.id, "the disk has room again, records are taken");
        }
    }

    /// Moves the ends to what is written, and wakes who waits for it. The caller holds the writer's lock.
    pub(super) fn publish(&self, writer: &WriterState) {
        self.durability.written(writer.end);
        self.ends.send_if_modified(|now| {
            let next = ends(now.log_start, writer.end, writer.producers.first_open());
            let moved = *now != next;
            *now = next;
            moved
        });
    }

    /// Writes a checkpoint of all that is appended so far, after syncing it.
    pub(super) fn checkpoint(&self) -> Result<(), StorageError> {
        self.checkpoint_beside(i64::MIN)
    }

    /// The same, but promises nothing of the sealed segments below `changing`, which are about to be replaced.
    pub(super) fn checkpoint_beside(&self, changing: i64) -> Result<(), StorageError> {
        let Some(active) = self.segments.read().last().cloned() else {
            return Ok(());
        };
        // Appends wait for a copy of what is in memory, and not for the disk.
        let (mut checkpoint, active, index) = {
            let writer = self.writer.lock();
            let active_now = self.segments.read().last().cloned().unwrap_or(active);
            self.unsaved.store(0, Ordering::Relaxed);
            self.rolled.store(false, Ordering::Relaxed);
            let checkpoint = Checkpoint {
                log_start: 0,
                offset: writer.end,
                segment_base: active_now.base_offset(),
                position: active_now.size(),
                leader_epochs: self.epochs.read().entries().to_vec(),
                aborted: self.aborted.read().entries().to_vec(),
                cleaned: writer.cleaned.clone(),
                producers: writer.producers.clone(),
                segments: Some(self.sealed_from(changing)),
            };
            let index = active_now.index_snapshot();
            (checkpoint, active_now, index)
        };
        if let Some(index) = index {
            let files = active
                .save_index(&index)
                .map_err(|error| self.not_saved("write index", &error))?;
            for file in files {
                self.durability.mark(&file, i64::MAX);
            }
        }
        if !self.durability.sync_now() {
            return Err(self.offline_error());
        }
        checkpoint.log_start = self.log_start_offset();
        checkpoint
            .write(&self.folder)
            .map_err(|error| self.not_saved("write checkpoint", &error))?;
        self.checkpointed
            .store(checkpoint.offset, Ordering::Relaxed);
        Ok(())
    }

    /// Base offsets and bytes of the sealed segments from `from` on that hold something behind the log's start.
    fn sealed_from(&self, from: i64) -> Vec<(i64, u64)> {
        let from_start = self.log_start_offset();
        let segments = self.segments.read();
        let sealed = &segments[..segments.len().saturating_sub(1)];
        let stays = |segment: &&Arc<Segment>| {
            segment.base_offset() >= from && segment.next_offset() > from_start
        };
        let sealed = sealed.iter().filter(stays);
        sealed
            .map(|segment| (segment.base_offset(), segment.size()))
            .collect()
    }

    /// A checkpoint failed, on a full disk for example. It can be done without: the one before stays, and the next upkeep
    /// tries again.
    fn not_saved(&self, step: &str, error: &io::Error) -> StorageError {
        self.rolled.store(true, Ordering::Relaxed);
        StorageError::Upkeep {
            partition: self.id.clone(),
            reason: format!("{step}: {error}"),
        }
    }

    /// Everything to disk, so that the next start needs no scan. Later appends are refused; reads go on.
    pub(crate) fn close(&self) -> Result<(), StorageError> {
        if self.deleted.load(Ordering::Acquire) || !self.opened {
            return Ok(());
        }
        self.check_online()?;
        let _upkeep = self.upkeep.lock();
        {
            let _writer = self.writer.lock();
            self.closed.store(true, Ordering::Release);
        }
        let changed = self.unsaved.load(Ordering::Relaxed) > 0
            || self.rolled.load(Ordering::Relaxed)
            || self.checkpointed.load(Ordering::Relaxed) != self.high_watermark();
        if changed { self.checkpoint() } else { Ok(()) }
    }
}

/// Whether a write failed for want of room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
