//! The way out: fetches, and the full walk that coordinators load from. Searches by time are in [`super::search`].
//!
//! ```text
//! read   ends ── caught up ──────────────────> empty
//!             └─ ring (memory) ── miss ──> segment: index, one pread, whole batches
//!                                                   or, of large ones that go to a socket, where they lie: only headers are read
//! ```
//!
//! Invariants:
//! 1. Only whole batches below the high watermark (or last stable offset) are returned, at least one if there is one.
//! 2. Returned bytes are the disk's bytes, and sound: each batch was compared with its checksum since the log was opened. A damaged one
//!    is an error to whoever reads it, and those before it are given out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use log_protocol::{BATCH_HEADER_BYTES, Batch, BatchError, BatchIter, Payload, batches};

use super::error::{FetchError, StorageError};
use super::partition::Partition;
use super::segment::{Segment, segment_path};
use super::unreadable::{Unreadable, next_of};
use super::walk::{BatchWalk, WalkError};
use crate::partition::AbortedTransaction;

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// To the high watermark.
    ReadUncommitted,
    /// To the last stable offset, and told which transactions were aborted.
    ReadCommitted,
}

/// What a fetch answers.
#[derive(Debug, Clone)]
pub(crate) struct Fetched<R = Bytes> {
    /// Whole batches as they lie on disk; the first may begin below the offset asked for.
    pub(crate) records: R,
    /// The offset behind them; the one asked for if there are none.
    pub(crate) next_offset: i64,
    /// As of the fetch.
    pub(crate) high_watermark: i64,
    /// As of the fetch.
    pub(crate) last_stable_offset: i64,
    /// As of the fetch.
    pub(crate) log_start_offset: i64,
    /// Of the range that `records` covers; empty without read_committed.
    pub(crate) aborted: Vec<AbortedTransaction>,
}

impl Fetched {
    /// The same, to be sent.
    pub(crate) fn into_payload(self) -> Fetched<Payload> {
        Fetched {
            records: self.records.into(),
            next_offset: self.next_offset,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset,
            log_start_offset: self.log_start_offset,
            aborted: self.aborted,
        }
    }
}

/// Whether a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visit {
    /// To the next.
    Continue,
    /// No more.
    Stop,
}

/// Read beyond what was asked for, to reach the batch behind the index entry: Kafka's index interval.
const SLACK_BYTES: usize = 4096;

/// Fewer bytes than that are copied to the socket: a header each would be dearer.
const SENT_BYTES_MIN: usize = 64 << 10;

/// The same of one batch, on the average.
const SENT_BATCH_BYTES_MIN: u64 = 8 << 10;

/// Reads batches of a segment, as [`read_segment`] does.
type ReadSegment<R> = fn(&Segment, i64, i64, usize) -> Result<Option<(R, i64)>, Unreadable>;

/// Bytes of one step of a full walk.
const WALK_BYTES: usize = 1 << 20;

impl Partition {
    /// Batches from `from` on, at most `bytes_max` bytes of them but at least one.
    ///
    /// `from` = the end: empty. Never blocks but for the disk.
    ///
    /// # Errors
    /// [`FetchError::OutOfRange`] outside of `[log start, high watermark]`.
    pub(crate) fn read(
        &self,
        from: i64,
        bytes_max: usize,
        isolation: Isolation,
    ) -> Result<Fetched, FetchError> {
        self.read_by(from, bytes_max, isolation, read_segment)
    }

    /// As [`Partition::read`], for somebody who sends the batches: large ones are not read but told where they lie.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn read_to_send(
        &self,
        from: i64,
        bytes_max: usize,
        isolation: Isolation,
    ) -> Result<Fetched<Payload>, FetchError> {
        self.read_by(from, bytes_max, isolation, send_segment)
    }

    fn read_by<R: Default + From<Bytes>>(
        &self,
        from: i64,
        bytes_max: usize,
        isolation: Isolation,
        read: ReadSegment<R>,
    ) -> Result<Fetched<R>, FetchError> {
        let mut fetched = self.read_nothing(from)?;
        let limit = match isolation {
            Isolation::ReadUncommitted => fetched.high_watermark,
            Isolation::ReadCommitted => fetched.last_stable_offset,
        };
        if from >= limit {
            // Somebody waits at the tail: keep what comes next in memory.
            self.ring_used.store(true, Ordering::Relaxed);
            self.ring_wanted.store(true, Ordering::Relaxed);
            return Ok(fetched);
        }
        if let Some((records, next)) = self.read_range(from, limit, bytes_max, read)? {
            fetched.records = records;
            fetched.next_offset = next;
            if isolation == Isolation::ReadCommitted {
                fetched.aborted = self.aborted.read().overlapping(from, next);
            }
        }
        Ok(fetched)
    }

    /// What [`Partition::read`] gives but for the batches: costs no disk.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn read_nothing<R: Default>(&self, from: i64) -> Result<Fetched<R>, FetchError> {
        self.check_readable()?;
        let ends = self.ends();
        if from < ends.log_start || from > ends.high_watermark {
            return Err(self.out_of_range(from));
        }
        Ok(Fetched {
            records: R::default(),
            next_offset: from,
            high_watermark: ends.high_watermark,
            last_stable_offset: ends.last_stable,
            log_start_offset: ends.log_start,
            aborted: Vec::new(),
        })
    }

    fn out_of_range(&self, from: i64) -> FetchError {
        let ends = self.ends();
        let (log_start, end) = (ends.log_start, ends.high_watermark);
        FetchError::OutOfRange {
            partition: self.id().clone(),
            from,
            log_start,
            end,
        }
    }

    /// Whole batches with something in `[from, limit)`, and the offset after them.
    fn read_range<R: From<Bytes>>(
        &self,
        from: i64,
        limit: i64,
        bytes_max: usize,
        read: ReadSegment<R>,
    ) -> Result<Option<(R, i64)>, FetchError> {
        if self.ring_wanted.load(Ordering::Relaxed)
            && let Some((found, next)) = self.ring.lock().read(from, limit, bytes_max)
        {
            self.ring_used.store(true, Ordering::Relaxed);
            return Ok(Some((found.into(), next)));
        }
        let mut from = from;
        while from < limit {
            let Some((segment, next_base)) = self.segment_for(from) else {
                return Ok(None);
            };
            match read(&segment, from, limit, bytes_max) {
                Ok(Some(found)) => return Ok(Some(found)),
                // Compaction may leave nothing between `from` and the segment's end.
                Ok(None) => match next_base {
                    Some(base) if base > from => from = base,
                    _ => return Ok(None),
                },
                Err(Unreadable {
                    error: WalkError::Io { .. },
                    ..
                }) if from < self.log_start_offset() => {
                    return Err(self.out_of_range(from));
                }
                Err(Unreadable {
                    error: WalkError::Io { source, .. },
                    ..
                }) if source.kind() == io::ErrorKind::NotFound && self.lost_file(&segment) => {
                    let offset = segment.base_offset().max(self.log_start_offset());
                    return Err(self
                        .corrupt(offset, "its file is missing".to_owned())
                        .into());
                }
                Err(unreadable) => return Err(self.unreadable(unreadable, from).into()),
            }
        }
        Ok(None)
    }

    /// The segment that `offset` lies in, and the base of the next one.
    fn segment_for(&self, offset: i64) -> Option<(Arc<Segment>, Option<i64>)> {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| segment.base_offset() <= offset);
        // An offset below the first base lies in front of the first segment's batches.
        let at = after.saturating_sub(1);
        let segment = Arc::clone(segments.get(at)?);
        Some((segment, segments.get(at + 1).map(|next| next.base_offset())))
    }

    /// Whether the file of this segment, which the log holds, is gone. While upkeep may be at it nobody can tell.
    fn lost_file(&self, segment: &Arc<Segment>) -> bool {
        let Some(_upkeep) = self.upkeep.try_lock() else {
            return false;
        };
        let segments = self.segments.read();
        self.check_readable().is_ok()
            && segments.iter().any(|held| Arc::ptr_eq(held, segment))
            && !segment_path(&self.folder, segment.base_offset(), "log").exists()
    }

    /// Visits the batches from the one with `from` on up to the high watermark, open and aborted transactions and
    /// control batches included. `from` below the log's start begins there.
    ///
    /// # Errors
    /// If the files cannot be read, or what `visit` fails with.
    pub(crate) fn for_each_batch(
        &self,
        from: i64,
        mut visit: impl FnMut(&Batch) -> Result<Visit, BatchError>,
    ) -> Result<(), StorageError> {
        let limit = self.high_watermark();
        let mut from = from.max(self.log_start_offset());
        while from < limit {
            let range = self.read_range(from, limit, WALK_BYTES, read_segment);
            let Some((bytes, next)) = range.map_err(|error| match error {
                FetchError::Storage(error) => error,
                FetchError::OutOfRange { .. } => StorageError::Read {
                    partition: self.id().clone(),
                    reason: error.to_string(),
                },
            })?
            else {
                return Ok(());
            };
            let walk: BatchIter = batches(&bytes);
            for batch in walk {
                let offset = batch
                    .as_ref()
                    .map_or(from, |batch| batch.header.base_offset);
                let visited = batch.and_then(|batch| visit(&batch));
                match visited.map_err(|error| self.corrupt(offset, error.to_string()))? {
                    Visit::Continue => {}
                    Visit::Stop => return Ok(()),
                }
            }
            from = next.max(from + 1);
        }
        Ok(())
    }

    /// The base of the first segment behind `offset`.
    pub(crate) fn next_segment(&self, offset: i64) -> Option<i64> {
        let segments = self.segments.read();
        let mut bases = segments.iter().map(|segment| segment.base_offset());
        bases.find(|base| *base > offset)
    }
}

/// Whole batches of one segment with something in `[from, limit)`, and the offset after them; `None` if it has none.
fn read_segment(
    segment: &Segment,
    from: i64,
    limit: i64,
    bytes_max: usize,
) -> Result<Option<(Bytes, i64)>, Unreadable> {
    let position = segment.position(from)?;
    let left = segment.size().saturating_sub(position);
    if left == 0 {
        return Ok(None);
    }
    let failed = |source| WalkError::Io { position, source };
    let file = segment.file().map_err(failed)?;
    // One read for the usual case: the batches wanted, behind at most one index interval.
    let length = bytes_max
        .saturating_add(SLACK_BYTES)
        .min(usize::try_from(left).unwrap_or(usize::MAX));
    let bytes = Bytes::from(file.read_at(position, length).map_err(failed)?);
    let mut walk = BatchWalk::over(&file, position, segment.size(), bytes.clone());
    let block_end = position + bytes.len() as u64;
    let mut start = None;
    let mut end = position;
    let mut next = from;
    let mut reached = segment.base_offset();
    loop {
        let (at, header) = match next_of(segment, &mut walk, reached) {
            Ok(Some(found)) => found,
            Ok(None) => break,
            // What lies before it is sound.
            Err(_) if start.is_some() => break,
            Err(error) => return Err(Unreadable::of(segment, &file, error)),
        };
        reached = header.next_offset();
        if header.last_offset() < from {
            continue;
        }
        if header.base_offset >= limit {
            break;
        }
        let first = *start.get_or_insert(at);
        let batch_end = at + header.total_size() as u64;
        if at > first && (batch_end - first > bytes_max as u64 || batch_end > block_end) {
            break;
        }
        (end, next) = (batch_end, header.next_offset());
        if walk.position() + BATCH_HEADER_BYTES as u64 > block_end {
            break;
        }
    }
    let Some(start) = start.filter(|start| end > *start) else {
        return Ok(None);
    };
    let (skip, wanted) = ((start - position) as usize, (end - start) as usize);
    if skip + wanted <= bytes.len() {
        let found = bytes.slice(skip..skip + wanted);
        return sound(segment, start, found, next).map(Some);
    }
    // A first batch larger than what was asked for, or far behind its index entry.
    let whole = file
        .read_at(start, wanted)
        .map_err(|source| WalkError::Io {
            position: start,
            source,
        })?;
    if whole.len() < wanted {
        let error = WalkError::Bad {
            position: start,
            reason: BatchError::Truncated {
                needed: wanted,
                left: whole.len(),
            },
        };
        return Err(Unreadable::of(segment, &file, error));
    }
    sound(segment, start, whole.into(), next).map(Some)
}

/// As [`read_segment`] for somebody who sends them.
fn send_segment(
    segment: &Segment,
    from: i64,
    limit: i64,
    bytes_max: usize,
) -> Result<Option<(Payload, i64)>, Unreadable> {
    if let Some(found) = lying(segment, from, limit, bytes_max) {
        return Ok(Some(found));
    }
    let read = read_segment(segment, from, limit, bytes_max)?;
    Ok(read.map(|(bytes, next)| (bytes.into(), next)))
}

/// Where the batches wanted lie, and the offset after them, if they are large and known to be sound. What does not hold is told by a read.
fn lying(segment: &Segment, from: i64, limit: i64, bytes_max: usize) -> Option<(Payload, i64)> {
    let position = segment.position(from).ok()?;
    let file = segment.file().ok()?;
    let mut walk = BatchWalk::of_large(&file, position, segment.size());
    let (mut start, mut end, mut next) = (None, position, from);
    let mut reached = segment.base_offset();
    let mut count = 0;
    while let Ok(Some((at, header))) = next_of(segment, &mut walk, reached) {
        reached = header.next_offset();
        if header.last_offset() < from {
            continue;
        }
        if header.base_offset >= limit {
            break;
        }
        let first = *start.get_or_insert(at);
        let batch_end = at + header.total_size() as u64;
        if at > first && batch_end - first > bytes_max as u64 {
            break;
        }
        (end, next) = (batch_end, header.next_offset());
        count += 1;
        if end - first < count * SENT_BATCH_BYTES_MIN {
            return None;
        }
    }
    let start = start?;
    let length = usize::try_from(end - start).ok()?;
    let is_sound = segment.is_checked(start, end) && file.size().ok()? >= end;
    let is_sent = is_sound && length >= SENT_BYTES_MIN;
    is_sent.then(|| (Payload::File(file.range(start, length)), next))
}

/// Batches that lie at `start`, and the offset after them; cut before the first one that its checksum does not fit to.
fn sound(
    segment: &Segment,
    start: u64,
    found: Bytes,
    next: i64,
) -> Result<(Bytes, i64), Unreadable> {
    let end = start + found.len() as u64;
    if segment.is_checked(start, end) {
        return Ok((found, next));
    }
    let (mut length, mut next_sound) = (0, next);
    for batch in batches(&found) {
        let batch = batch.map_err(|reason| WalkError::Bad {
            position: start,
            reason,
        })?;
        match batch.verify_crc() {
            Ok(()) => {
                length += batch.bytes().len();
                next_sound = batch.header.next_offset();
            }
            Err(_) if length > 0 => return Ok((found.slice(..length), next_sound)),
            Err(reason) => {
                return Err(Unreadable {
                    offset: Some(batch.header.base_offset),
                    error: WalkError::Bad {
                        position: start,
                        reason,
                    },
                });
            }
        }
    }
    segment.note_checked(start, end);
    Ok((found, next))
}
