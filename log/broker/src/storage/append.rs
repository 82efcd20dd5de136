//! The way in: whoever gets the partition's lock writes for all that queue up for it.
//!
//! ```text
//! append   check the batch (no lock) ─┐
//! append   check the batch (no lock) ─┤ queue ─ combining lock ─ sequence, offset, epoch ─ one pwritev ─ publish ends
//! append   check the batch (no lock) ─┘
//! ```
//!
//! Bytes are never copied on the way to disk: the sixteen bytes in front of each batch, which hold base offset and
//! leader epoch, are written from a buffer of their own, the rest from where the socket put it.
//!
//! Invariants:
//! 1. The high watermark moves only after the bytes below it are written.
//! 2. Offsets are given out under the writer's lock, without gaps.
//! 3. After a failed write nothing is appended any more: what the file holds past the high watermark is not known. A full disk is no
//!    such failure: the file is cut back to what it held, and the state to what it was.

use std::fs;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use log_protocol::{Batch, BatchHeader, ControlKind, TimestampType, control_batch};
use parking_lot::Mutex;

use super::error::StorageError;
use super::partition::{Partition, WriterState, is_full};
use super::segment::{Segment, segment_path};
use super::waiting::{lock, waiting};
use crate::partition::{
    AppendError, AppendOrigin, Appended, Before, CheckedBatch, SequenceCheck, check_batch,
};
use crate::topic_config::TopicConfig;

/// One append, checked.
#[derive(Debug)]
pub(super) struct Entry {
    batches: Vec<CheckedBatch>,
    kind: EntryKind,
    now_ms: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum EntryKind {
    Records(AppendOrigin),
    Marker(ControlKind, i32),
}

/// Where the answer to a queued append is put.
#[derive(Debug, Default)]
pub(super) struct Slot {
    answer: Mutex<Option<Result<Appended, AppendError>>>,
}

/// A batch with its place, about to be written.
#[derive(Debug)]
struct Placed {
    front: [u8; FRONT],
    batch: Batch,
    header: BatchHeader,
}

/// Base offset, length, leader epoch: what lies in front of the CRC's part, and the magic.
const FRONT: usize = 16;

impl Partition {
    /// Appends one or more batches as they came off the wire; `now_ms` is ms since 1970 UTC.
    ///
    /// Returns once the bytes are in the page cache; [`Partition::acknowledged`] waits for what the topic promises.
    /// Blocks for one write at the most.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of `bytes` is in the log then.
    pub(crate) fn append(
        &self,
        bytes: impl Into<Bytes>,
        origin: AppendOrigin,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.check_online()?;
        if self.is_internal() && origin != AppendOrigin::Coordinator {
            return Err(AppendError::Internal(self.id().clone()));
        }
        let batches = check_batch(self.id(), &bytes.into(), &self.config(), origin, now_ms)?;
        self.submit(Entry {
            batches,
            kind: EntryKind::Records(origin),
            now_ms,
        })
    }

    /// Ends a producer's transaction here: writes the marker and moves the last stable offset. Without an open
    /// transaction the marker is written all the same, as a coordinator that repeats itself needs it.
    ///
    /// # Errors
    /// [`AppendError::Marker`] if the producer or the coordinator is fenced.
    pub(crate) fn append_marker(
        &self,
        kind: ControlKind,
        producer_id: i64,
        producer_epoch: i16,
        coordinator_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.check_online()?;
        let bytes = control_batch(kind, producer_id, producer_epoch, coordinator_epoch, now_ms);
        let batch =
            Batch::parse(&bytes).map_err(|error| AppendError::Corrupt(self.id().clone(), error))?;
        let kind = EntryKind::Marker(kind, coordinator_epoch);
        self.submit(Entry {
            batches: vec![CheckedBatch { batch }],
            kind,
            now_ms,
        })
    }

    /// Runs the append under the writer's lock, together with those that queue up for it.
    fn submit(&self, entry: Entry) -> Result<Appended, AppendError> {
        if self.shared.pace.is_slow() {
            waiting(|| self.submit_here(entry))
        } else {
            self.submit_here(entry)
        }
    }

    fn submit_here(&self, entry: Entry) -> Result<Appended, AppendError> {
        if let Some(mut writer) = self.writer.try_lock() {
            let mut answers = self.write(&mut writer, vec![entry]);
            return answers.pop().expect("one answer an entry");
        }
        let slot = Arc::new(Slot::default());
        self.queue.lock().push((entry, Arc::clone(&slot)));
        // Whoever has the lock is writing, which may take.
        let mut writer = lock(&self.writer);
        if let Some(answer) = slot.answer.lock().take() {
            return answer;
        }
        let (entries, slots): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *self.queue.lock()).into_iter().unzip();
        let answers = self.write(&mut writer, entries);
        for (slot, answer) in slots.iter().zip(answers) {
            *slot.answer.lock() = Some(answer);
        }
        slot.answer
            .lock()
            .take()
            .expect("an entry stays queued until somebody with the lock answers it")
    }

    /// Gives out offsets, writes, publishes. One answer an entry, in order.
    fn write(
        &self,
        writer: &mut WriterState,
        entries: Vec<Entry>,
    ) -> Vec<Result<Appended, AppendError>> {
        if let Err(error) = self.check_open() {
            return entries.iter().map(|_| Err(error.clone().into())).collect();
        }
        let config = self.config();
        let now_ms = entries.iter().map(|entry| entry.now_ms).max().unwrap_or(0);
        let mut run = Run::default();
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            let answer = self.place(writer, entry, &config, &mut run);
            run.fail_unwritten(&mut answers);
            if matches!(&answer, Ok(appended) if run.holds(appended.last_offset)) {
                run.unwritten.push(answers.len());
            }
            answers.push(answer);
        }
        let written = self.write_run(writer, &mut run, &config, now_ms);
        run.fail_unwritten(&mut answers);
        // A write may also have failed on the way, where a segment ended.
        let failed = match written {
            Err(StorageError::Full { .. }) | Ok(()) => self.check_online(),
            failed => failed,
        };
        if let Err(error) = failed {
            // Duplicates of what was visible before are in the log; nothing else is known to be.
            let visible = self.high_watermark();
            for answer in &mut answers {
                if matches!(answer, Ok(appended) if !appended.duplicate || appended.last_offset >= visible)
                {
                    *answer = Err(error.clone().into());
                }
            }
            return answers;
        }
        self.publish(writer);
        answers
    }

    /// Checks an entry against the partition's state and puts its batches into the run.
    fn place(
        &self,
        writer: &mut WriterState,
        entry: Entry,
        config: &TopicConfig,
        run: &mut Run,
    ) -> Result<Appended, AppendError> {
        for CheckedBatch { batch } in &entry.batches {
            match entry.kind {
                EntryKind::Records(origin) => {
                    let checked = writer.producers.check(&batch.header, origin);
                    match checked
                        .map_err(|error| AppendError::Sequence(self.id().clone(), error))?
                    {
                        SequenceCheck::Fresh => {}
                        SequenceCheck::Duplicate {
                            base_offset,
                            last_offset,
                            timestamp,
                        } => {
                            // Whosever time it is, as in Kafka.
                            let log_append_time = timestamp;
                            let log_start_offset = self.log_start_offset();
                            let duplicate = true;
                            return Ok(Appended {
                                base_offset,
                                last_offset,
                                log_append_time,
                                log_start_offset,
                                duplicate,
                            });
                        }
                    }
                }
                EntryKind::Marker(_, coordinator_epoch) => writer
                    .producers
                    .check_marker(
                        batch.header.producer_id,
                        batch.header.producer_epoch,
                        coordinator_epoch,
                    )
                    .map_err(|error| AppendError::Marker(self.id().clone(), error))?,
            }
        }
        let base_offset = writer.end;
        for CheckedBatch { batch } in entry.batches {
            self.make_room(&batch, writer, run, config, entry.now_ms)?;
            if batch.header.has_producer() {
                run.undo
                    .push(writer.producers.before(batch.header.producer_id));
            }
            let mut header = batch.header;
            header.base_offset = writer.end;
            header.partition_leader_epoch = self.leader_epoch();
            match entry.kind {
                EntryKind::Marker(kind, coordinator_epoch) => {
                    let ended = writer
                        .producers
                        .apply_marker(&header, kind, coordinator_epoch);
                    if let Some(ended) = ended.filter(|ended| ended.kind == ControlKind::Abort) {
                        self.aborted.write().push(ended.range);
                    }
                }
                EntryKind::Records(_) => writer.producers.apply(&header),
            }
            writer.end = header.next_offset();
            run.push(batch, header);
        }
        let log_append_time = match (config.timestamp_type, entry.kind) {
            (TimestampType::LogAppendTime, EntryKind::Records(_)) => entry.now_ms,
            _ => -1,
        };
        let (last_offset, log_start_offset) = (writer.end - 1, self.log_start_offset());
        Ok(Appended {
            base_offset,
            last_offset,
            log_append_time,
            log_start_offset,
            duplicate: false,
        })
    }

    /// Starts a new segment if the batch does not belong into the last one any more.
    fn make_room(
        &self,
        batch: &Batch,
        writer: &mut WriterState,
        run: &mut Run,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<(), AppendError> {
        let end = writer.end;
        let active = self.segments.read().last().cloned();
        let Some(active) = active else {
            let segment = waiting(|| self.create_segment(end, config))?;
            self.segments.write().push(Arc::new(segment));
            return Ok(());
        };
        let pending = active.size() + run.bytes;
        let full =
            pending + batch.bytes().len() as u64 > config.segment_bytes.min(u64::from(u32::MAX));
        let last_offset = end + i64::from(batch.header.last_offset_delta);
        if pending > 0
            && (full || !active.can_address(last_offset) || self.is_old(&active, config, now_ms))
        {
            self.write_run(writer, run, config, now_ms)?;
            // Two files are made durable.
            waiting(|| self.roll(end, config, now_ms))?;
        }
        Ok(())
    }

    pub(super) fn is_old(&self, segment: &Segment, config: &TopicConfig, now_ms: i64) -> bool {
        let jitter = match config.segment_jitter_ms {
            0 => 0,
            // The same for one segment however often it is asked.
            range => segment
                .base_offset()
                .wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)
                .rem_euclid(range),
        };
        segment.size() > 0
            && now_ms.saturating_sub(segment.first_append_ms())
                >= config.segment_ms.saturating_sub(jitter)
    }

    /// Seals the active segment and begins the next at `end`. The caller holds the writer's lock.
    pub(super) fn roll(
        &self,
        end: i64,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<(), StorageError> {
        let active = self.segments.read().last().cloned();
        if let Some(active) = &active {
            self.check_place(active)?;
        }
        // First the next one: once the active one is sealed, nothing may be appended to it any more.
        let next = self.create_segment(end, config)?;
        if let Some(active) = active {
            let files = active.seal().map_err(|error| {
                match next.remove() {
                    Ok(()) => self.not_written("write index", &error),
                    // A start would find it where offsets do not go on.
                    Err(left) => self.fail("remove segment", &left),
                }
            })?;
            for file in files {
                self.durability.mark(&file, now_ms);
            }
        }
        self.rolled.store(true, Ordering::Relaxed);
        self.due_ms.store(i64::MIN, Ordering::Relaxed);
        self.segments.write().push(Arc::new(next));
        Ok(())
    }

    /// Takes the partition offline if the file of its active segment is not there as it was left: what else would be written to its
    /// folder were a log with a hole.
    pub(super) fn check_place(&self, active: &Segment) -> Result<(), StorageError> {
        let found = active
            .file()
            .and_then(|file| file.check_place(active.size()));
        found.or_else(|error| {
            // The files of a topic that is deleted meanwhile are to go.
            self.check_online()?;
            Err(self.fail("look at the segment", &error))
        })
    }

    fn create_segment(
        &self,
        base_offset: i64,
        config: &TopicConfig,
    ) -> Result<Segment, StorageError> {
        let create = || -> io::Result<Segment> {
            if !self.folder.exists() {
                fs::create_dir_all(&self.folder)?;
                self.note_identity();
                if let Some(parent) = self.folder.parent() {
                    super::sync_folder(parent)?;
                }
            }
            let reserve = config.preallocate.then_some(config.segment_bytes);
            Segment::create(&self.folder, base_offset, reserve)
        };
        create().map_err(|error| {
            match fs::remove_file(segment_path(&self.folder, base_offset, "log")) {
                Err(left) if left.kind() != io::ErrorKind::NotFound => {
                    self.fail("create segment", &error)
                }
                _ => self.not_written("create segment", &error),
            }
        })
    }

    /// Writes the run at the end of the active segment. If the disk is full, nothing of it is left.
    fn write_run(
        &self,
        writer: &mut WriterState,
        run: &mut Run,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<(), StorageError> {
        if run.placed.is_empty() {
            return Ok(());
        }
        let placed = std::mem::take(&mut run.placed);
        let bytes = std::mem::take(&mut run.bytes);
        let active = self
            .segments
            .read()
            .last()
            .cloned()
            .expect("room was made for every batch of the run");
        let file = active
            .file()
            .map_err(|error| self.fail("open segment", &error))?;
        let start = active.size();
        let mut slices = Vec::with_capacity(placed.len() * 2);
        for one in &placed {
            slices.push(IoSlice::new(&one.front));
            slices.push(IoSlice::new(&one.batch.bytes()[FRONT..]));
        }
        if let Err(error) = self.shared.pace.write(|| file.write_at(&mut slices, start)) {
            if !is_full(&error) {
                // The files of a topic that is deleted meanwhile are to go.
                self.check_online()?;
                return Err(self.fail("write segment", &error));
            }
            file.truncate(start)
                .map_err(|error| self.fail("cut segment", &error))?;
            run.take_back(writer);
            self.aborted.write().truncate_end(writer.end);
            let full = self.not_written("write segment", &error);
            run.failed = Some(full.clone());
            return Err(full);
        }
        self.has_room();
        run.undo.clear();
        run.unwritten.clear();
        run.first_offset = None;
        let mut position = start;
        let mut headers = Vec::with_capacity(placed.len());
        for one in &placed {
            headers.push((one.header, position));
            position += one.batch.bytes().len() as u64;
        }
        active.extend(&headers, now_ms, config.index_interval_bytes);
        self.fill_ring(&placed);
        self.durability.mark(&file, now_ms);
        self.size.fetch_add(bytes, Ordering::Relaxed);
        self.unsaved.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn fill_ring(&self, placed: &[Placed]) {
        if !self.ring_wanted.load(Ordering::Relaxed) {
            return;
        }
        let mut ring = self.ring.lock();
        // Looked at again under the lock: the ring is emptied under it, and must not be filled after that.
        if !self.ring_wanted.load(Ordering::Relaxed) {
            return;
        }
        for one in placed {
            let mut bytes = BytesMut::with_capacity(one.batch.bytes().len());
            bytes.extend_from_slice(&one.front);
            bytes.extend_from_slice(&one.batch.bytes()[FRONT..]);
            ring.push(
                one.header.base_offset,
                one.header.next_offset(),
                bytes.freeze(),
            );
        }
    }
}

/// Batches that one write takes to disk.
#[derive(Debug, Default)]
struct Run {
    placed: Vec<Placed>,
    bytes: u64,
    /// Offset of the first record that is not written.
    first_offset: Option<i64>,
    /// The producers of these batches as they were before each.
    undo: Vec<Before>,
    /// Which answers speak of these batches.
    unwritten: Vec<usize>,
    /// Why the last write of them left nothing.
    failed: Option<StorageError>,
}

impl Run {
    fn push(&mut self, batch: Batch, header: BatchHeader) {
        let mut front: [u8; FRONT] = *batch
            .bytes()
            .first_chunk()
            .expect("a batch is longer than its front");
        front[..8].copy_from_slice(&header.base_offset.to_be_bytes());
        front[12..].copy_from_slice(&header.partition_leader_epoch.to_be_bytes());
        self.bytes += batch.bytes().len() as u64;
        self.first_offset.get_or_insert(header.base_offset);
        self.placed.push(Placed {
            front,
            batch,
            header,
        });
    }

    /// Whether this offset is one of a batch that is not written.
    fn holds(&self, offset: i64) -> bool {
        self.first_offset.is_some_and(|first| offset >= first)
    }

    /// Takes back what was placed and could not be written.
    fn take_back(&mut self, writer: &mut WriterState) {
        for before in self.undo.drain(..).rev() {
            writer.producers.restore(before);
        }
        if let Some(first) = self.first_offset.take() {
            writer.end = first;
        }
    }

    /// Answers what speaks of batches that could not be written.
    fn fail_unwritten(&mut self, answers: &mut [Result<Appended, AppendError>]) {
        if let Some(error) = self.failed.take() {
            for index in self.unwritten.drain(..) {
                answers[index] = Err(error.clone().into());
            }
        }
    }
}
