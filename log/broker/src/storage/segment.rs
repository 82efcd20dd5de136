//! One file of a partition: batches from its base offset on, and its index.
//!
//! ```text
//! active   appended to; index in memory             one a partition, the last
//! sealed   never changes; opened when it is read, closed when it was not for a while
//! ```
//!
//! Invariants:
//! 1. `size` covers whole batches only, and never more than was written.
//! 2. A sealed segment is replaced (compaction) or removed (retention) as a whole; who holds it reads on, its file is
//!    open.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use log_protocol::{BATCH_HEADER_BYTES, BatchHeader};
use parking_lot::{Mutex, RwLock};

use super::index::{DiskIndex, MemoryIndex};
use super::log_file::{LogFile, Replacement};
use super::walk::{BatchWalk, WalkError};

#[derive(Debug)]
enum Index {
    Memory(MemoryIndex),
    /// Opened when first needed.
    Disk(Option<Arc<DiskIndex>>),
}

/// A file of batches.
#[derive(Debug)]
pub(crate) struct Segment {
    base_offset: i64,
    folder: Arc<Path>,
    file: Mutex<Option<Arc<LogFile>>>,
    index: RwLock<Index>,
    size: AtomicU64,
    next_offset: AtomicI64,
    /// Clock of the first append, ms; `i64::MAX` while it is empty.
    first_append_ms: AtomicI64,
    /// Read since [`Segment::close_idle`] looked last.
    used: AtomicBool,
    /// The time index of a sealed segment was compared with its batches.
    latest_checked: AtomicBool,
    /// Batches below this position were compared with their checksums since the log was opened,
    checked_below: AtomicU64,
    /// and those from this one on: they were scanned at the start, or appended since.
    checked_from: AtomicU64,
    rebuilding: Mutex<()>,
}

/// The path of a segment's file with this ending.
pub(crate) fn segment_path(folder: &Path, base_offset: i64, ending: &str) -> PathBuf {
    folder.join(format!("{base_offset:020}.{ending}"))
}

impl Segment {
    /// Makes the file of a new active segment, its name durable.
    pub(crate) fn create(
        folder: &Arc<Path>,
        base_offset: i64,
        reserve: Option<u64>,
    ) -> io::Result<Self> {
        let file = LogFile::open(&segment_path(folder, base_offset, "log"))?;
        file.truncate(0)?;
        if let Some(bytes) = reserve {
            file.reserve(bytes);
        }
        super::sync_folder(folder)?;
        let index = MemoryIndex::default();
        Ok(Self::active(
            folder,
            base_offset,
            Arc::new(file),
            index,
            0,
            base_offset,
            i64::MAX,
        )
        .checked_from(0))
    }

    /// The last segment, as recovery found it.
    pub(crate) fn active(
        folder: &Arc<Path>,
        base_offset: i64,
        file: Arc<LogFile>,
        index: MemoryIndex,
        size: u64,
        next_offset: i64,
        first_append_ms: i64,
    ) -> Self {
        Self {
            base_offset,
            folder: Arc::clone(folder),
            file: Mutex::new(Some(file)),
            index: RwLock::new(Index::Memory(index)),
            size: AtomicU64::new(size),
            next_offset: AtomicI64::new(next_offset),
            first_append_ms: AtomicI64::new(first_append_ms),
            used: AtomicBool::new(false),
            latest_checked: AtomicBool::new(false),
            checked_below: AtomicU64::new(0),
            checked_from: AtomicU64::new(u64::MAX),
            rebuilding: Mutex::default(),
        }
    }

    /// A segment that does not change any more; opens nothing.
    pub(crate) fn sealed(
        folder: &Arc<Path>,
        base_offset: i64,
        size: u64,
        next_offset: i64,
    ) -> Self {
        Self {
            base_offset,
            folder: Arc::clone(folder),
            file: Mutex::new(None),
            index: RwLock::new(Index::Disk(None)),
            size: AtomicU64::new(size),
            next_offset: AtomicI64::new(next_offset),
            first_append_ms: AtomicI64::new(i64::MIN),
            used: AtomicBool::new(false),
            latest_checked: AtomicBool::new(false),
            checked_below: AtomicU64::new(0),
            checked_from: AtomicU64::new(u64::MAX),
            rebuilding: Mutex::default(),
        }
    }

    /// Offset in the file's name; no batch lies before it.
    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Bytes of whole batches.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// At or past the offset after the last batch, and not past the next segment's base.
    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset.load(Ordering::Acquire)
    }

    /// Whether nothing can be appended to it any more.
    pub(crate) fn is_sealed(&self) -> bool {
        matches!(&*self.index.read(), Index::Disk(_))
    }

    /// Whether the batches in `[start, end)` were compared with their checksums since the log was opened.
    pub(crate) fn is_checked(&self, start: u64, end: u64) -> bool {
        end <= self.checked_below.load(Ordering::Acquire)
            || start >= self.checked_from.load(Ordering::Acquire)
    }

    /// The batches in `[start, end)` are sound. Remembered where they go on from what was checked before.
    pub(crate) fn note_checked(&self, start: u64, end: u64) {
        let below = self.checked_below.load(Ordering::Acquire);
        if start > below {
            return;
        }
        self.checked_below.fetch_max(end, Ordering::AcqRel);
        if end >= self.checked_from.load(Ordering::Acquire) {
            self.checked_from.store(0, Ordering::Release);
        }
    }

    /// All from `position` on was scanned, or is appended by this process.
    pub(crate) fn checked_from(self, position: u64) -> Self {
        self.checked_from.store(position, Ordering::Release);
        self
    }

    /// Clock of the first append, ms.
    pub(crate) fn first_append_ms(&self) -> i64 {
        self.first_append_ms.load(Ordering::Relaxed)
    }

    /// Its file, opened if need be.
    pub(crate) fn file(&self) -> io::Result<Arc<LogFile>> {
        self.used.store(true, Ordering::Relaxed);
        let mut file = self.file.lock();
        if let Some(file) = &*file {
            return Ok(Arc::clone(file));
        }
        let opened = Arc::new(LogFile::open_existing(&segment_path(
            &self.folder,
            self.base_offset,
            "log",
        ))?);
        *file = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Notes batches that were written at the end: `(header with its offsets, position)` each.
    pub(crate) fn extend(&self, batches: &[(BatchHeader, u64)], now_ms: i64, interval: u32) {
        let Some((last, position)) = batches.last() else {
            return;
        };
        if let Index::Memory(index) = &mut *self.index.write() {
            for (header, position) in batches {
                let relative = (header.base_offset - self.base_offset) as u32;
                index.add(relative, *position as u32, header, interval);
            }
        }
        self.first_append_ms.fetch_min(now_ms, Ordering::Relaxed);
        self.next_offset
            .store(last.next_offset(), Ordering::Release);
        self.size
            .store(position + last.total_size() as u64, Ordering::Release);
    }

    /// Whether a batch whose last offset is `last_offset` can be addressed from this base.
    pub(crate) fn can_address(&self, last_offset: i64) -> bool {
        last_offset - self.base_offset <= i64::from(i32::MAX)
    }

    /// Writes the index files and lets go of the memory: nothing is appended any more. Returns the files, to be synced.
    pub(crate) fn seal(&self) -> io::Result<Vec<Arc<LogFile>>> {
        let mut index = self.index.write();
        let Index::Memory(memory) = &*index else {
            return Ok(Vec::new());
        };
        let files = memory.prepare(&self.path("index"), &self.path("timeindex"), ".sealed.tmp")?;
        let files = put_all(files)?;
        *index = Index::Disk(None);
        Ok(files)
    }

    /// The index as it is now, for [`Segment::save_index`]; `None` for a sealed segment, whose files are complete.
    pub(crate) fn index_snapshot(&self) -> Option<MemoryIndex> {
        match &*self.index.read() {
            Index::Memory(index) => Some(index.clone()),
            Index::Disk(_) => None,
        }
    }

    /// Writes the files of an index as it was, while appends go on; not over those of a segment that was sealed meanwhile. Returns the
    /// files, to be synced.
    pub(crate) fn save_index(&self, snapshot: &MemoryIndex) -> io::Result<Vec<Arc<LogFile>>> {
        let files = snapshot.prepare(&self.path("index"), &self.path("timeindex"), ".saved.tmp")?;
        // Held while they take their place: it cannot be sealed in between.
        let current = self.index.read();
        match &*current {
            Index::Memory(_) => put_all(files),
            Index::Disk(_) => Ok(Vec::new()),
        }
    }

    /// Position of a batch at or before `offset`.
    pub(crate) fn position(&self, offset: i64) -> Result<u64, WalkError> {
        let relative = self.relative(offset);
        if self.size() == 0 {
            return Ok(0);
        }
        if let Index::Memory(index) = &*self.index.read() {
            return Ok(u64::from(index.position(relative)));
        }
        let found = match self.disk_index() {
            Ok(index) => index.position(relative),
            // It cannot be made anew; what lies before the damage can be read from the start.
            Err(WalkError::Bad { .. }) => return Ok(0),
            Err(error) => return Err(error),
        };
        if let Ok((found, position)) = found
            && self.is_batch_at(found, u64::from(position))?
        {
            return Ok(u64::from(position));
        }
        match self.rebuild_index() {
            Ok(rebuilt) => Ok(u64::from(rebuilt.position(relative))),
            // What lies before the damage can be read from the start.
            Err(WalkError::Bad { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Offset of a batch such that all before it in this segment are older than `timestamp`.
    pub(crate) fn before_time(&self, timestamp: i64) -> Result<i64, WalkError> {
        if self.size() == 0 {
            return Ok(self.base_offset);
        }
        if let Index::Memory(index) = &*self.index.read() {
            return Ok(self.base_offset + i64::from(index.before_time(timestamp)));
        }
        let relative = match self.disk_index()?.before_time(timestamp) {
            Ok(relative) => relative,
            Err(_) => self.rebuild_index()?.before_time(timestamp),
        };
        Ok(self.base_offset + i64::from(relative))
    }

    /// The largest timestamp and the base offset of the batch that has it; `None` while it is empty.
    pub(crate) fn latest(&self) -> Result<Option<(i64, i64)>, WalkError> {
        if self.size() == 0 {
            return Ok(None);
        }
        let latest = match &*self.index.read() {
            Index::Memory(index) => Some(index.latest()),
            Index::Disk(_) => None,
        };
        let latest = match latest {
            Some(latest) => latest,
            None => match self.disk_index()?.latest() {
                Ok(latest) if self.is_latest(latest)? => Some(latest),
                _ => self.rebuild_index()?.latest(),
            },
        };
        Ok(latest.map(|(timestamp, relative)| (timestamp, self.base_offset + i64::from(relative))))
    }

    /// When something was appended last, by the file's own time; ms since 1970 UTC.
    pub(crate) fn modified_ms(&self) -> io::Result<i64> {
        self.file()?.modified_ms()
    }

    /// A walk from the batch at or before `offset`; the caller passes over those that end before it.
    pub(crate) fn walk<'a>(
        &self,
        file: &'a LogFile,
        offset: i64,
    ) -> Result<BatchWalk<'a>, WalkError> {
        Ok(BatchWalk::new(file, self.position(offset)?, self.size()))
    }

    /// Closes a sealed segment that was not read since the last call.
    pub(crate) fn close_idle(&self) {
        if !self.used.swap(false, Ordering::Relaxed)
            && let Index::Disk(index) = &mut *self.index.write()
        {
            *index = None;
            *self.file.lock() = None;
        }
    }

    /// Removes the files; who holds the segment reads on if its file is open.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for ending in ["index", "timeindex"] {
            // Never evidence, so their absence is no error.
            let _ = fs::remove_file(self.path(ending));
        }
        fs::remove_file(self.path("log"))
    }

    fn path(&self, ending: &str) -> PathBuf {
        segment_path(&self.folder, self.base_offset, ending)
    }

    fn relative(&self, offset: i64) -> u32 {
        u32::try_from((offset - self.base_offset).max(0)).unwrap_or(u32::MAX)
    }

    fn disk_index(&self) -> Result<Arc<DiskIndex>, WalkError> {
        self.used.store(true, Ordering::Relaxed);
        if let Index::Disk(Some(index)) = &*self.index.read() {
            return Ok(Arc::clone(index));
        }
        let open = || DiskIndex::open(&self.path("index"), &self.path("timeindex"));
        let opened = match open() {
            Some(index) => index,
            None => {
                self.rebuild_index()?;
                let missing = || WalkError::Io {
                    position: 0,
                    source: io::ErrorKind::NotFound.into(),
                };
                open().ok_or_else(missing)?
            }
        };
        let opened = Arc::new(opened);
        *self.index.write() = Index::Disk(Some(Arc::clone(&opened)));
        Ok(opened)
    }

    fn is_batch_at(&self, relative: u32, position: u64) -> Result<bool, WalkError> {
        if position == 0 {
            return Ok(true);
        }
        let io = |source| WalkError::Io { position, source };
        let bytes = self
            .file()
            .map_err(io)?
            .read_at(position, BATCH_HEADER_BYTES)
            .map_err(io)?;
        let expected = self.base_offset + i64::from(relative);
        Ok(
            BatchHeader::parse(&bytes).is_ok_and(|header| header.base_offset == expected)
                && position < self.size(),
        )
    }

    /// Whether the time index's last entry is what the batch that it names says. Looked at once: the file changes no more.
    fn is_latest(&self, (timestamp, relative): (i64, u32)) -> Result<bool, WalkError> {
        if self.latest_checked.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let expected = self.base_offset + i64::from(relative);
        let file = self.file().map_err(|source| WalkError::Io {
            position: 0,
            source,
        })?;
        let mut walk = self.walk(&file, expected)?;
        while let Some((_, header)) = walk.next_header()? {
            if header.base_offset >= expected {
                let is_latest = header.base_offset == expected && header.max_timestamp == timestamp;
                self.latest_checked.store(is_latest, Ordering::Relaxed);
                return Ok(is_latest);
            }
        }
        Ok(false)
    }

    /// Walks the headers and writes the index files anew.
    fn rebuild_index(&self) -> Result<MemoryIndex, WalkError> {
        // Readers that find the same damage at the same time would write over each other's files.
        let _rebuilding = self.rebuilding.lock();
        /// Kafka's default; the topic's own value only matters for the size.
        const INTERVAL: u32 = 4096;
        let io = |source| WalkError::Io {
            position: 0,
            source,
        };
        let file = self.file().map_err(io)?;
        let index = build_index(&file, self.base_offset, self.size(), INTERVAL)?;
        index
            .write(&self.path("index"), &self.path("timeindex"))
            .map_err(io)?;
        *self.index.write() = Index::Disk(None);
        Ok(index)
    }
}

fn put_all(files: [Replacement; 2]) -> io::Result<Vec<Arc<LogFile>>> {
    files
        .into_iter()
        .map(|file| file.put().map(Arc::new))
        .collect()
}

/// The index of the first `size` bytes of a file.
pub(crate) fn build_index(
    file: &LogFile,
    base_offset: i64,
    size: u64,
    interval: u32,
) -> Result<MemoryIndex, WalkError> {
    let mut index = MemoryIndex::default();
    let mut walk = BatchWalk::new(file, 0, size);
    while let Some((position, header)) = walk.next_header()? {
        let relative = u32::try_from(header.base_offset - base_offset).unwrap_or(u32::MAX);
        index.add(relative, position as u32, &header, interval);
    }
    Ok(index)
}
