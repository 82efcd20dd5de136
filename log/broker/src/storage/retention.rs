//! The periodic work of a partition: interval flush, checkpoints, ageing out, and DeleteRecords.
//!
//! ```text
//! every tick       a write older than the topic's flush interval -> sync in the background
//! every second     active segment still there?         segment too old -> the next one       segments sealed or a minute gone -> checkpoint
//! every 30 s       oldest segments beyond retention.ms, retention.bytes or the log's start -> removed
//! every 15 s       enough of the log dirty -> compacted, on a thread apart: it may take long, and the rest must not wait for it
//! ```
//!
//! Invariants:
//! 1. The active segment is never removed; when all of it is too old, a new one is begun first.
//! 2. The log's start moves, and a checkpoint says so, before a file is removed, oldest first.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{debug, warn};

use super::checkpoint::Checkpoint;
use super::error::{FetchError, StorageError};
use super::partition::{Partition, Upkeep};
use super::segment::Segment;
use super::walk::WalkError;
use crate::partition::ends;
use crate::topic_config::{FlushLevel, TopicConfig};

/// How often `maintain` is called at least: a flush begins this much early, so that it is done in time.
const TICK_MS: i64 = 250;
/// Periodic work of a partition that is written to, or was a moment ago.
const BUSY_MS: i64 = 1_000;
/// A ring that nobody read from for this long is emptied.
const RING_IDLE_MS: i64 = 10_000;
/// Sealed segments that nobody read from for this long are closed.
const CLOSE_IDLE_MS: i64 = 60_000;
/// How often producers are looked through for silent ones.
const EXPIRY_MS: i64 = 600_000;

impl Partition {
    /// Begins what must not wait: the sync of writes that are as old as the topic allows. Never blocks. Returns whether
    /// [`Partition::upkeep`] is due.
    pub(crate) fn tick(&self, now_ms: i64) -> bool {
        if self.durability.is_due(now_ms, 0) {
            match self.config().flush {
                // A sync that nobody waits for (acks=0) is begun here.
                FlushLevel::Sync => self.durability.request(),
                FlushLevel::Interval { interval_ms } => {
                    if self.durability.is_due(now_ms, interval_ms - TICK_MS) {
                        self.durability.request();
                    }
                }
                FlushLevel::Os => {}
            }
        }
        now_ms >= self.due_ms.load(Ordering::Relaxed) && !self.segments.read().is_empty()
    }

    /// Does the periodic work that is due, but for compaction. Waits for the disk.
    pub(crate) fn upkeep(&self, now_ms: i64) {
        if self.check_online().is_err() {
            self.due_ms.store(i64::MAX, Ordering::Relaxed);
            return;
        }
        // While it is being compacted it is left alone: the next tick asks again.
        let Some(mut upkeep) = self.upkeep.try_lock() else {
            return;
        };
        let pause = self
            .shared
            .options
            .retention_interval_ms
            .min(self.shared.options.compaction_interval_ms);
        let busy =
            self.unsaved.load(Ordering::Relaxed) > 0 || self.ring_wanted.load(Ordering::Relaxed);
        let next = now_ms + if busy { BUSY_MS.min(pause) } else { pause };
        self.due_ms.store(next, Ordering::Relaxed);
        self.run_upkeep(&mut upkeep, now_ms);
    }

    /// One kind of work that fails does not keep the others from theirs.
    fn run_upkeep(&self, upkeep: &mut Upkeep, now_ms: i64) {
        let config = self.config();
        let options = &self.shared.options;
        self.step("look", || self.look_at_active());
        self.step("roll", || self.roll_if_old(&config, now_ms));
        if passed(
            &mut upkeep.retention_ms,
            now_ms,
            options.retention_interval_ms,
        ) {
            self.step("retention", || self.retain(&config, now_ms));
        }
        if passed(&mut upkeep.idle_ms, now_ms, CLOSE_IDLE_MS) {
            self.segments
                .read()
                .iter()
                .for_each(|segment| segment.close_idle());
        }
        if passed(&mut upkeep.expiry_ms, now_ms, EXPIRY_MS) {
            self.writer
                .lock()
                .producers
                .expire(now_ms.saturating_sub(options.producer_expiration_ms));
        }
        if upkeep.ring_ms == 0 || self.ring_used.swap(false, Ordering::Relaxed) {
            upkeep.ring_ms = now_ms;
        } else if now_ms - upkeep.ring_ms >= RING_IDLE_MS
            && self.ring_wanted.load(Ordering::Relaxed)
        {
            let mut ring = self.ring.lock();
            self.ring_wanted.store(false, Ordering::Relaxed);
            ring.clear();
        }
        let unsaved = self.unsaved.load(Ordering::Relaxed);
        if unsaved == 0 && upkeep.checkpoint_ms < now_ms {
            upkeep.checkpoint_ms = now_ms;
        }
        let due = unsaved >= options.checkpoint_bytes
            || self.rolled.load(Ordering::Relaxed)
            || (unsaved > 0 && now_ms - upkeep.checkpoint_ms >= options.checkpoint_interval_ms);
        if due {
            upkeep.checkpoint_ms = now_ms;
            self.step("checkpoint", || self.checkpoint());
        }
    }

    /// Bytes that [`Partition::clean`] has not looked at yet; 0 where it has nothing to do, or not yet.
    pub(crate) fn dirty_bytes(&self, now_ms: i64) -> u64 {
        if now_ms < self.clean_due_ms.load(Ordering::Relaxed) {
            return 0;
        }
        let segments = self.segments.read();
        // Of thousands of small partitions nothing else is looked at.
        if segments.len() < 2 || !self.config().cleanup_compact {
            return 0;
        }
        let Some((_, sealed)) = segments
            .split_last()
            .filter(|(_, sealed)| !sealed.is_empty())
        else {
            return 0;
        };
        let cleaned = self.cleaned_to.load(Ordering::Relaxed);
        sealed
            .iter()
            .filter(|segment| segment.next_offset() > cleaned)
            .map(|segment| segment.size())
            .sum()
    }

    /// Compacts if enough is dirty. May take long.
    pub(crate) fn clean(&self, now_ms: i64) {
        let _upkeep = self.upkeep.lock();
        let next = now_ms + self.shared.options.compaction_interval_ms;
        self.clean_due_ms.store(next, Ordering::Relaxed);
        let config = self.config();
        if !config.cleanup_compact {
            return;
        }
        let compacted = self
            .check_online()
            .and_then(|()| self.compact(&config, now_ms));
        if let Err(StorageError::Corrupt { .. }) = &compacted {
            // It was told, and does not mend by itself.
            self.clean_due_ms.store(i64::MAX, Ordering::Relaxed);
        } else {
            self.step("compaction", || compacted);
        }
    }

    fn step(&self, step: &str, work: impl FnOnce() -> Result<(), StorageError>) {
        if let Err(error) = self.check_online().and_then(|()| work()) {
            warn!(partition = %self.id(), step, %error, "upkeep failed, trying again later");
        }
    }

    /// Whether what is appended to is still there: a partition that nobody writes to is told of as well.
    fn look_at_active(&self) -> Result<(), StorageError> {
        let active = self.segments.read().last().cloned();
        active.map_or(Ok(()), |active| self.check_place(&active))
    }

    /// Begins a new segment where the active one reached `segment.ms`, so that it can age out and be compacted.
    fn roll_if_old(&self, config: &TopicConfig, now_ms: i64) -> Result<(), StorageError> {
        let is_old = |partition: &Self| {
            let segments = partition.segments.read();
            segments
                .last()
                .is_some_and(|active| partition.is_old(active, config, now_ms))
        };
        if !is_old(self) {
            return Ok(());
        }
        let writer = self.writer.lock();
        if is_old(self) {
            self.roll(writer.end, config, now_ms)
        } else {
            Ok(())
        }
    }

    /// Removes the oldest segments that the topic does not keep.
    fn retain(&self, config: &TopicConfig, now_ms: i64) -> Result<(), StorageError> {
        let log_start = self.log_start_offset();
        let segments = self.segments.read().clone();
        let mut total: u64 = segments.iter().map(|segment| segment.size()).sum();
        let mut gone = 0;
        for segment in &segments {
            let is_last = gone + 1 == segments.len();
            let below = segment.next_offset() <= log_start && !is_last;
            let old = config.cleanup_delete && self.is_expired(segment, config, now_ms)?;
            let large = config.cleanup_delete
                && config
                    .retention_bytes
                    .is_some_and(|max| total.saturating_sub(segment.size()) >= max)
                && !is_last;
            if !(below || old || large) {
                break;
            }
            if is_last && segment.size() == 0 {
                break;
            }
            total = total.saturating_sub(segment.size());
            gone += 1;
        }
        if gone == 0 {
            return Ok(());
        }
        if gone == segments.len() {
            let writer = self.writer.lock();
            let last = segments.last().expect("counted above");
            if last.next_offset() != writer.end {
                // Written to meanwhile: the next look decides.
                gone -= 1;
            } else {
                self.roll(writer.end, config, now_ms)?;
            }
        }
        let gone = &segments[..gone];
        if let Some(last) = gone.last() {
            self.move_start(last.next_offset());
            self.promise_no_more()?;
        }
        self.remove_segments(gone)
    }

    /// Before files go: no start may miss them.
    fn promise_no_more(&self) -> Result<(), StorageError> {
        match self.checkpoint() {
            // A full disk is what removing helps against: then nothing is promised, and the next start scans all.
            Err(StorageError::Upkeep { .. }) => Checkpoint::remove(&self.folder)
                .map_err(|error| self.fail("remove checkpoint", &error)),
            result => result,
        }
    }

    fn is_expired(
        &self,
        segment: &Segment,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<bool, StorageError> {
        let Some(keep_ms) = config.retention_ms else {
            return Ok(false);
        };
        let walk_error = |error| self.segment_error(segment, error);
        let latest = match segment.latest() {
            // Damage, which must not keep what is older than it from going: the file's own time counts.
            Err(error @ WalkError::Bad { .. }) => {
                walk_error(error);
                Some((-1, segment.base_offset()))
            }
            latest => latest.map_err(walk_error)?,
        };
        let Some((latest, _)) = latest else {
            return Ok(false);
        };
        // Where no record has a time, the file's own counts, as in Kafka.
        let latest = match latest {
            0.. => latest,
            _ => segment.modified_ms().map_err(|source| {
                walk_error(WalkError::Io {
                    position: 0,
                    source,
                })
            })?,
        };
        Ok(now_ms.saturating_sub(latest) > keep_ms)
    }

    /// Removes these segments, the oldest ones, which lie below the log's start and in no checkpoint.
    fn remove_segments(&self, gone: &[Arc<Segment>]) -> Result<(), StorageError> {
        self.segments
            .write()
            .retain(|segment| !gone.iter().any(|removed| Arc::ptr_eq(removed, segment)));
        for segment in gone {
            self.size.fetch_sub(segment.size(), Ordering::Relaxed);
            debug!(partition = %self.id(), base_offset = segment.base_offset(), "segment removed");
            segment
                .remove()
                .map_err(|error| self.fail("remove segment", &error))?;
        }
        Ok(())
    }

    fn move_start(&self, log_start: i64) {
        let writer = self.writer.lock();
        self.ends.send_if_modified(|now| {
            let next = ends(
                log_start.max(now.log_start),
                writer.end,
                writer.producers.first_open(),
            );
            let moved = *now != next;
            *now = next;
            moved
        });
        let log_start = self.ends().log_start;
        self.aborted.write().truncate_start(log_start);
        self.epochs.write().truncate_start(log_start);
    }

    /// DeleteRecords: everything below `before` is gone, durably; -1 means the high watermark. Returns the log's start.
    /// Waits for the disk.
    ///
    /// # Errors
    /// [`FetchError::OutOfRange`] above the high watermark.
    pub(crate) fn delete_records(&self, before: i64) -> Result<i64, FetchError> {
        self.check_online()?;
        let upkeep = self.upkeep.lock();
        let now = self.ends();
        let before = if before == -1 {
            now.high_watermark
        } else {
            before
        };
        if before < 0 || before > now.high_watermark {
            let (partition, log_start, end) =
                (self.id().clone(), now.log_start, now.high_watermark);
            return Err(FetchError::OutOfRange {
                partition,
                from: before,
                log_start,
                end,
            });
        }
        if before > now.log_start {
            self.move_start(before);
            self.checkpoint()?;
            let segments = self.segments.read().clone();
            let sealed = &segments[..segments.len().saturating_sub(1)];
            let gone = sealed.partition_point(|segment| segment.next_offset() <= before);
            self.remove_segments(&sealed[..gone])?;
        }
        drop(upkeep);
        Ok(self.log_start_offset())
    }
}

/// Whether `every_ms` passed since `last_ms`, which then is now. The first look only begins the time.
fn passed(last_ms: &mut i64, now_ms: i64, every_ms: i64) -> bool {
    if *last_ms == 0 {
        *last_ms = now_ms;
    }
    let due = now_ms - *last_ms >= every_ms;
    if due {
        *last_ms = now_ms;
    }
    due
}
