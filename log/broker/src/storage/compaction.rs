//! Compaction: of each key only the last record stays.
//!
//! ```text
//!            |---- cleaned before ----|------- dirty -------|  not yet   | active |
//! 1. keys                              last offset of each key, in memory
//! 2. rewrite  ============================================== records that are the last of their key
//! 3. swap     *.log.cleaned, synced -> compaction.swap (the decision) -> renamed, old ones removed
//! ```
//!
//! What goes: older records of a key; records without a key; records of aborted transactions; tombstones that were seen
//! by an earlier run at least `delete.retention.ms` ago; by the same rule markers of transactions of which nothing is
//! left. What stays: every offset (batches keep their last offset, gaps are legal), and, without records if need be, the
//! last batch of each producer that is still remembered, so that its sequence survives a rebuild, and the last batch of
//! all, so that readers come past it.
//!
//! `compaction.swap` is text: `output <base>` and `remove <base>` a line, then `end`. It is written whole or not at all.
//! Found at a start, the swap is done again from its first step; without it `*.cleaned` files are removed.
//!
//! Invariants:
//! 1. Only sealed segments below the last stable offset are touched, and a checkpoint behind them is written first.
//! 2. The first segment keeps its base, so that the log's start does not move.
//! 3. At every moment a crash leaves the old segments or the new ones.

use std::fs;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use log_protocol::{BATCH_HEADER_BYTES, Batch, BatchError, BatchHeader, Compression};
use tracing::info;

use super::error::StorageError;
use super::log_file::{LogFile, replace_file, sync_folder};
use super::partition::Partition;
use super::segment::{Segment, segment_path};
use super::unreadable::Unreadable;
use super::walk::{BatchWalk, WalkError};
use crate::partition::{AbortedIndex, ProducerStates, rewrite};
use crate::topic_config::TopicConfig;

const SWAP: &str = "compaction.swap";
const CLEANED: &str = "log.cleaned";

/// Memory of one key beside its bytes.
const KEY_OVERHEAD: usize = 48;

/// Largest content of one compressed batch; one beyond it is kept as it is.
const DECOMPRESSED_MAX: usize = 256 << 20;

/// Entries of `cleaned` that are remembered; with more, the oldest tombstones stay a little longer.
const CLEANED_MAX: usize = 256;

/// The last offset of each key of a range.
#[derive(Debug, Default)]
struct Keys {
    latest: HashMap<Box<[u8]>, i64>,
    bytes: usize,
    /// The range ends here.
    end: i64,
}

/// What is not known from the keys alone.
#[derive(Debug)]
struct Rules {
    keys: Keys,
    aborted: AbortedIndex,
    producers: ProducerStates,
    /// Offsets below were first cleaned `delete.retention.ms` ago or earlier.
    horizon: i64,
    /// Producers of whose current transaction a record is left.
    survivors: HashSet<i64>,
    /// Offsets of abort markers that are gone.
    markers: Vec<i64>,
    dropped_records: u64,
}

/// What becomes of a batch.
enum Verdict {
    Keep,
    Replace(Vec<u8>),
    Drop,
}

impl Partition {
    /// Compacts if enough is dirty. Waits for the disk; the caller holds the upkeep's lock.
    pub(super) fn compact(&self, config: &TopicConfig, now_ms: i64) -> Result<(), StorageError> {
        let Some(plan) = self.plan(config, now_ms)? else {
            return Ok(());
        };
        let Some(keys) = self.collect(&plan)? else {
            return Ok(());
        };
        let (cleaned, producers) = {
            let writer = self.writer.lock();
            (writer.cleaned.clone(), writer.producers.clone())
        };
        let mut rules = Rules {
            aborted: self.aborted.read().clone(),
            producers,
            horizon: horizon(&cleaned, now_ms, config.delete_retention_ms),
            survivors: HashSet::new(),
            markers: Vec::new(),
            dropped_records: 0,
            keys,
        };
        let sources: Vec<_> = plan
            .segments
            .into_iter()
            .filter(|segment| segment.base_offset() < rules.keys.end)
            .collect();
        let written = Output::new(self, config).run(&sources, &mut rules);
        let outputs = written.map_err(|error| {
            // What is left of them would only take space; the next start removes them too.
            let _ = remove_cleaned(&self.folder);
            self.cleaning_error(error)
        })?;
        // The files below the active segment are about to change: a scan must not begin among them, and their sizes are no promise.
        self.checkpoint_beside(rules.keys.end)?;
        if let Some(outputs) = outputs {
            self.swap(&sources, outputs)?;
        }
        self.aborted.write().forget(&rules.markers);
        {
            let mut writer = self.writer.lock();
            note_cleaned(
                &mut writer.cleaned,
                rules.keys.end,
                now_ms,
                config.delete_retention_ms,
            );
        }
        self.cleaned_to.store(rules.keys.end, Ordering::Relaxed);
        info!(partition = %self.id(), end = rules.keys.end, keys = rules.keys.latest.len(), dropped = rules.dropped_records, "compacted");
        self.checkpoint()
    }

    /// Which segments to clean, if it is worth it.
    fn plan(&self, config: &TopicConfig, now_ms: i64) -> Result<Option<Plan>, StorageError> {
        let stable = self.last_stable_offset();
        let mut segments = self.segments.read().clone();
        segments.pop();
        let mut bound = 0;
        for segment in &segments {
            let lag_ms = config.min_compaction_lag_ms;
            let young = lag_ms > 0 && self.latest_ms(segment)?.saturating_add(lag_ms) > now_ms;
            if segment.next_offset() > stable || young {
                break;
            }
            bound += 1;
        }
        segments.truncate(bound);
        let Some(last) = segments.last() else {
            return Ok(None);
        };
        let to = last.next_offset();
        let from = self
            .writer
            .lock()
            .cleaned
            .last()
            .map_or(0, |(end, _)| *end)
            .max(self.log_start_offset());
        let dirty: Vec<_> = segments
            .iter()
            .filter(|segment| segment.next_offset() > from)
            .collect();
        let Some(oldest) = dirty.first() else {
            return Ok(None);
        };
        let lag_ms = config.max_compaction_lag_ms;
        let late = lag_ms < i64::MAX && self.latest_ms(oldest)?.saturating_add(lag_ms) < now_ms;
        let dirty_bytes: u64 = dirty.iter().map(|segment| segment.size()).sum();
        let all_bytes: u64 = segments.iter().map(|segment| segment.size()).sum();
        let ratio = dirty_bytes as f64 / (all_bytes as f64).max(1.0);
        if dirty_bytes == 0 || (ratio < config.min_cleanable_dirty_ratio && !late) {
            return Ok(None);
        }
        Ok(Some(Plan { segments, from, to }))
    }

    fn latest_ms(&self, segment: &Segment) -> Result<i64, StorageError> {
        let latest = segment
            .latest()
            .map_err(|error| self.segment_error(segment, error))?;
        Ok(latest.map_or(i64::MIN, |(timestamp, _)| timestamp))
    }

    /// The keys of the dirty range; it ends early when their memory does. `None`: the log is closing.
    fn collect(&self, plan: &Plan) -> Result<Option<Keys>, StorageError> {
        let memory = self.shared.options.compaction_memory_bytes;
        let aborted = self.aborted.read().clone();
        let mut keys = Keys {
            end: plan.from,
            ..Keys::default()
        };
        for segment in plan
            .segments
            .iter()
            .filter(|segment| segment.next_offset() > plan.from)
        {
            let walk_error = |error| self.segment_error(segment, error);
            let file = segment.file().map_err(|source| {
                walk_error(WalkError::Io {
                    position: 0,
                    source,
                })
            })?;
            let mut walk = segment.walk(&file, plan.from).map_err(walk_error)?;
            while let Some((position, batch)) = walk.next_batch().map_err(walk_error)? {
                if self.shared.closing.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                if keys.bytes > memory {
                    return Ok(Some(keys));
                }
                if batch.header.last_offset() < plan.from
                    || is_dropped_whole(&batch.header, &aborted)
                {
                    continue;
                }
                let added = if batch.header.is_control() {
                    Ok(())
                } else {
                    keys.add(&batch)
                };
                added.map_err(|reason| walk_error(WalkError::Bad { position, reason }))?;
                keys.end = keys.end.max(batch.header.next_offset());
            }
        }
        keys.end = plan.to;
        Ok(Some(keys))
    }

    fn cleaning_error(&self, error: CleanError) -> StorageError {
        match error {
            CleanError::Walk(unreadable) => {
                let from = self.log_start_offset();
                self.unreadable(unreadable, from)
            }
            CleanError::Write(error) => StorageError::Upkeep {
                partition: self.id().clone(),
                reason: format!("write cleaned segment: {error}"),
            },
        }
    }

    /// Puts the new files in the place of the old ones.
    fn swap(
        &self,
        sources: &[Arc<Segment>],
        outputs: Vec<CleanedSegment>,
    ) -> Result<(), StorageError> {
        let bases: Vec<i64> = outputs.iter().map(|output| output.base_offset).collect();
        let removed: Vec<i64> = sources
            .iter()
            .map(|source| source.base_offset())
            .filter(|base| !bases.contains(base))
            .collect();
        let mut text = String::new();
        bases
            .iter()
            .for_each(|base| text.push_str(&format!("output {base}\n")));
        removed
            .iter()
            .for_each(|base| text.push_str(&format!("remove {base}\n")));
        text.push_str("end\n");
        let after = sources.last().map_or(0, |last| last.next_offset());
        let swapped = (|| {
            // Readers that hold an old segment go on with its open file.
            for source in sources {
                source.file()?;
            }
            replace_file(&self.folder.join(SWAP), text.as_bytes())?;
            finish_swap(&self.folder)
        })();
        swapped.map_err(|error| self.fail("swap cleaned segments", &error))?;
        let mut fresh = Vec::with_capacity(outputs.len());
        for (n, output) in outputs.iter().enumerate() {
            let next = bases.get(n + 1).copied().unwrap_or(after);
            fresh.push(Arc::new(Segment::sealed(
                &self.folder,
                output.base_offset,
                output.size,
                next,
            )));
        }
        let before: u64 = sources.iter().map(|source| source.size()).sum();
        let now: u64 = outputs.iter().map(|output| output.size).sum();
        self.size
            .fetch_sub(before.saturating_sub(now), Ordering::Relaxed);
        let mut segments = self.segments.write();
        segments.splice(..sources.len(), fresh);
        Ok(())
    }
}

#[derive(Debug)]
struct Plan {
    /// All segments that may be rewritten, the oldest first.
    segments: Vec<Arc<Segment>>,
    /// The dirty range.
    from: i64,
    to: i64,
}

impl Keys {
    fn add(&mut self, batch: &Batch) -> Result<(), BatchError> {
        let mut records = batch.records(DECOMPRESSED_MAX)?;
        while let Some(span) = records.next_span() {
            let span = span?;
            let Some(key) = span.key else { continue };
            let key = &records.buffer()[key];
            match self.latest.get_mut(key) {
                Some(latest) => *latest = (*latest).max(span.offset),
                None => {
                    self.bytes += key.len() + KEY_OVERHEAD;
                    self.latest.insert(key.into(), span.offset);
                }
            }
        }
        Ok(())
    }
}

fn is_dropped_whole(header: &BatchHeader, aborted: &AbortedIndex) -> bool {
    header.is_transactional()
        && !header.is_control()
        && aborted.covers(header.producer_id, header.base_offset)
}

impl Rules {
    /// `is_last`: no batch follows in what is rewritten.
    fn judge(&mut self, batch: &Batch, is_last: bool) -> Result<Verdict, BatchError> {
        let header = &batch.header;
        if header.base_offset >= self.keys.end {
            return Ok(Verdict::Keep);
        }
        if header.is_control() {
            return Ok(if is_last {
                Verdict::Keep
            } else {
                self.judge_marker(header)
            });
        }
        let (kept, records, latest) = if is_dropped_whole(header, &self.aborted) {
            (Vec::new(), Bytes::new(), -1)
        } else {
            self.kept_records(batch)?
        };
        let kept_count = kept.len() as i32;
        self.dropped_records += (header.record_count - kept_count).max(0) as u64;
        if kept_count > 0 && header.is_transactional() {
            self.survivors.insert(header.producer_id);
        }
        if kept_count == header.record_count && kept_count > 0 {
            return Ok(Verdict::Keep);
        }
        if kept.is_empty() {
            let needed =
                is_last || (header.has_producer() && self.producers.is_newest_batch(header));
            return Ok(match (needed, header.record_count) {
                (false, _) => Verdict::Drop,
                (true, 0) => Verdict::Keep,
                (true, _) => Verdict::Replace(rewrite(
                    batch,
                    &[],
                    0,
                    Compression::None,
                    header.max_timestamp,
                )),
            });
        }
        let mut content = Vec::with_capacity(kept.iter().map(|range| range.len()).sum());
        kept.into_iter()
            .for_each(|range| content.extend_from_slice(&records[range]));
        Ok(Verdict::Replace(rewrite(
            batch,
            &content,
            kept_count,
            header.compression()?,
            latest,
        )))
    }

    /// Where the encoded records lie that stay, what they lie in, and the largest of their timestamps.
    fn kept_records(&self, batch: &Batch) -> Result<(Vec<Range<usize>>, Bytes, i64), BatchError> {
        let mut records = batch.records(DECOMPRESSED_MAX)?;
        let mut start = if batch.header.compression()? == Compression::None {
            BATCH_HEADER_BYTES
        } else {
            0
        };
        let mut kept = Vec::new();
        let mut latest = -1;
        while let Some(span) = records.next_span() {
            let span = span?;
            let range = start..span.headers.end;
            start = range.end;
            let key = span.key.map(|key| &records.buffer()[key]);
            if self.stays(key, span.value.is_none(), span.offset) {
                latest = latest.max(span.timestamp);
                kept.push(range);
            }
        }
        Ok((kept, records.buffer().clone(), latest))
    }

    fn stays(&self, key: Option<&[u8]>, tombstone: bool, offset: i64) -> bool {
        if offset >= self.keys.end {
            return true;
        }
        let Some(key) = key else { return false };
        let is_latest = self
            .keys
            .latest
            .get(key)
            .is_none_or(|latest| offset >= *latest);
        is_latest && !(tombstone && offset < self.horizon)
    }

    /// A marker goes when nothing of its transaction is left and every reader had the time to see that.
    fn judge_marker(&mut self, header: &BatchHeader) -> Verdict {
        let survived = self.survivors.remove(&header.producer_id);
        if survived || header.base_offset >= self.horizon {
            return Verdict::Keep;
        }
        self.markers.push(header.base_offset);
        Verdict::Drop
    }
}

/// Offsets below it were cleaned for the first time at least `retention_ms` ago.
fn horizon(cleaned: &[(i64, i64)], now_ms: i64, retention_ms: i64) -> i64 {
    let old = cleaned.partition_point(|(_, at)| now_ms.saturating_sub(*at) >= retention_ms);
    old.checked_sub(1).map_or(0, |last| cleaned[last].0)
}

fn note_cleaned(cleaned: &mut Vec<(i64, i64)>, end: i64, now_ms: i64, retention_ms: i64) {
    let old = cleaned.partition_point(|(_, at)| now_ms.saturating_sub(*at) >= retention_ms);
    // Of those that are past the horizon only the last one matters.
    cleaned.drain(..old.saturating_sub(1));
    if cleaned.last().is_none_or(|(last, _)| *last < end) {
        let at = cleaned.last().map_or(now_ms, |(_, at)| now_ms.max(*at));
        cleaned.push((end, at));
    }
    if cleaned.len() > CLEANED_MAX {
        cleaned.remove(0);
    }
}

/// Cleaning cannot go on; nothing was changed.
enum CleanError {
    Walk(Unreadable),
    Write(io::Error),
}

impl From<io::Error> for CleanError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// A file that was written beside the log.
struct CleanedSegment {
    base_offset: i64,
    file: LogFile,
    size: u64,
}

/// Writes what stays into new files.
struct Output<'a> {
    partition: &'a Partition,
    segment_bytes: u64,
    files: Vec<CleanedSegment>,
    /// Batches for the last file that are not written yet.
    pending: Vec<u8>,
    changed: bool,
}

/// Bytes of one write.
const WRITE_BYTES: usize = 1 << 20;

impl<'a> Output<'a> {
    fn new(partition: &'a Partition, config: &TopicConfig) -> Self {
        let segment_bytes = config.segment_bytes.min(u64::from(u32::MAX));
        Self {
            partition,
            segment_bytes,
            files: Vec::new(),
            pending: Vec::new(),
            changed: false,
        }
    }

    /// The new files, synced; `None` if nothing was to be removed.
    fn run(
        mut self,
        sources: &[Arc<Segment>],
        rules: &mut Rules,
    ) -> Result<Option<Vec<CleanedSegment>>, CleanError> {
        let Some(first) = sources.first() else {
            return Ok(None);
        };
        self.begin(first.base_offset())?;
        let last = sources.iter().rposition(|source| source.size() > 0);
        for (n, source) in sources.iter().enumerate() {
            self.copy(source, Some(n) == last, rules)?;
        }
        self.flush()?;
        let folder = &self.partition.folder;
        if !self.changed {
            for output in &self.files {
                fs::remove_file(segment_path(folder, output.base_offset, CLEANED))?;
            }
            return Ok(None);
        }
        for output in &self.files {
            output.file.sync()?;
        }
        sync_folder(folder)?;
        Ok(Some(self.files))
    }

    fn copy(
        &mut self,
        source: &Segment,
        is_last: bool,
        rules: &mut Rules,
    ) -> Result<(), CleanError> {
        let file = source.file()?;
        let walk_error = |error| CleanError::Walk(Unreadable::of(source, &file, error));
        let mut walk = BatchWalk::new(&file, 0, source.size());
        while let Some((position, batch)) = walk.next_batch().map_err(walk_error)? {
            batch
                .verify_crc()
                .map_err(|reason| walk_error(WalkError::Bad { position, reason }))?;
            let is_last = is_last && walk.position() >= source.size();
            match rules
                .judge(&batch, is_last)
                .map_err(|reason| walk_error(WalkError::Bad { position, reason }))?
            {
                Verdict::Keep => self.put(&batch.header, batch.bytes())?,
                Verdict::Replace(bytes) => {
                    self.changed = true;
                    self.put(&batch.header, &bytes)?;
                }
                Verdict::Drop => self.changed = true,
            }
        }
        Ok(())
    }

    fn begin(&mut self, base_offset: i64) -> io::Result<()> {
        self.flush()?;
        let file = LogFile::open(&segment_path(&self.partition.folder, base_offset, CLEANED))?;
        file.truncate(0)?;
        self.files.push(CleanedSegment {
            base_offset,
            file,
            size: 0,
        });
        Ok(())
    }

    fn put(&mut self, header: &BatchHeader, bytes: &[u8]) -> io::Result<()> {
        let current = self.files.last().expect("a file was begun first");
        let size = current.size + self.pending.len() as u64;
        let full = size > 0 && size + bytes.len() as u64 > self.segment_bytes;
        if full || header.last_offset() - current.base_offset > i64::from(i32::MAX) {
            self.begin(header.base_offset)?;
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= WRITE_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(current) = self.files.last_mut() else {
            return Ok(());
        };
        if self.pending.is_empty() {
            return Ok(());
        }
        current
            .file
            .write_at(&mut [IoSlice::new(&self.pending)], current.size)?;
        current.size += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

/// Finishes a swap that was decided, or removes what an undecided one left. Done twice it does nothing more.
pub(super) fn finish_swap(folder: &Path) -> io::Result<()> {
    let path = folder.join(SWAP);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return remove_cleaned(folder),
        Err(error) => return Err(error),
    };
    for line in text.lines() {
        match line
            .split_once(' ')
            .map(|(word, base)| (word, base.parse::<i64>()))
        {
            Some(("output", Ok(base))) => {
                remove_index(folder, base);
                rename_if_there(
                    &segment_path(folder, base, CLEANED),
                    &segment_path(folder, base, "log"),
                )?;
            }
            Some(("remove", Ok(base))) => {
                remove_index(folder, base);
                remove_if_there(&segment_path(folder, base, "log"))?;
            }
            _ if line == "end" => {}
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "compaction.swap is malformed",
                ));
            }
        }
    }
    sync_folder(folder)?;
    fs::remove_file(&path)?;
    sync_folder(folder)
}

fn remove_cleaned(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "cleaned") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn remove_index(folder: &Path, base: i64) {
    for ending in ["index", "timeindex"] {
        // Never evidence, so their absence is no error.
        let _ = fs::remove_file(segment_path(folder, base, ending));
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
