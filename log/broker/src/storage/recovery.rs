//! What a partition's files say after a start.
//!
//! ```text
//! segments   |--- sealed ---|--- sealed ---|------ last ------|
//! checkpoint                          position ^
//! trusted    ==================================>              in it: epochs, producers, aborted transactions
//! scanned                                       ============> length, magic, CRC, offsets, leader epochs
//!                                                        ^ the first batch that is wrong, and all after it, are cut
//! ```
//!
//! 1. A compaction that was committed is finished; anything else that it left is removed.
//! 2. Without a sound checkpoint that fits the files the scan begins at the first segment.
//! 3. What is scanned rebuilds indexes, leader epochs, producers and open transactions by the code that appends use.
//!
//! Invariants:
//! 1. Only a suffix is ever cut. Segments behind a cut are set aside (`*.orphaned`), not deleted.
//! 2. Nothing below the checkpoint's offset is cut.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use log_protocol::{BatchHeader, ControlKind, TopicPartition};
use tracing::{info, warn};

use super::OpenError;
use super::checkpoint::Checkpoint;
use super::compaction;
use super::index::MemoryIndex;
use super::log_file::LogFile;
use super::segment::{Segment, build_index, segment_path};
use super::walk::{BatchWalk, WalkError};
use crate::partition::LeaderEpochs;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) log_start: i64,
    pub(super) end: i64,
    /// Below this offset everything is on disk.
    pub(super) synced: i64,
    /// As of `end`.
    pub(super) checkpoint: Checkpoint,
    pub(super) report: RecoveryReport,
}

/// What recovery did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RecoveryReport {
    /// Bytes that were read and checked.
    pub(crate) scanned_bytes: u64,
    /// Bytes that were cut or set aside.
    pub(crate) cut_bytes: u64,
}

/// Index interval while scanning: Kafka's default.
const INDEX_INTERVAL: u32 = 4096;

/// Recovers the partition in `folder`; a folder that is not there is an empty partition. No batch bears a later epoch
/// than `leader_epoch`.
pub(super) fn recover(
    folder: &Arc<Path>,
    id: &TopicPartition,
    leader_epoch: i32,
) -> Result<Recovered, OpenError> {
    let mut report = RecoveryReport::default();
    if !folder.exists() {
        return Ok(empty(report));
    }
    compaction::finish_swap(folder).map_err(OpenError::io("finish compaction in", folder))?;
    let bases = segment_bases(folder).map_err(OpenError::io("list", folder))?;
    let found = Checkpoint::read(folder);
    let log_start = found.as_ref().map_or(0, |checkpoint| checkpoint.log_start);
    let sizes = sizes(folder, &bases)?;
    let start = found.filter(|checkpoint| fits(checkpoint, &bases, &sizes));
    let trusted = start.is_some();
    let mut checkpoint = start.unwrap_or_default();
    let first_scanned = match trusted {
        true => bases.partition_point(|base| *base < checkpoint.segment_base),
        false => 0,
    };
    let mut segments = Vec::with_capacity(bases.len());
    for n in 0..first_scanned {
        segments.push(Arc::new(Segment::sealed(
            folder,
            bases[n],
            sizes[n],
            bases[n + 1],
        )));
    }
    let synced = if trusted { checkpoint.offset } else { 0 };
    let mut scan = Scan {
        checkpoint: &mut checkpoint,
        epochs: LeaderEpochs::default(),
        leader_epoch,
        end: synced,
    };
    scan.epochs = LeaderEpochs::from_entries(scan.checkpoint.leader_epochs.drain(..));
    if !trusted && let Some(first) = bases.first() {
        scan.end = *first;
    }
    for n in first_scanned..bases.len() {
        let position = if trusted && n == first_scanned {
            scan.checkpoint.position
        } else {
            0
        };
        let last = n + 1 == bases.len();
        if !scan.may_begin(bases[n], position, trusted) {
            report.cut_bytes += sizes[n..].iter().sum::<u64>();
            set_aside(folder, &bases[n..]).map_err(OpenError::io("set aside in", folder))?;
            break;
        }
        let place = Place {
            folder,
            base: bases[n],
            size: sizes[n],
            position,
            gaps: !trusted && !last,
        };
        let path = segment_path(folder, bases[n], "log");
        let scanned = scan
            .segment(&place, &path)
            .map_err(OpenError::io("scan", &path))?;
        report.scanned_bytes += scanned.size - position;
        let cut = sizes[n] - scanned.size;
        let active = last || cut > 0;
        let next = if active { scan.end } else { bases[n + 1] };
        let segment = scanned.finish(folder, bases[n], next, active, cut);
        segments.push(Arc::new(segment.map_err(OpenError::io("repair", folder))?));
        if cut > 0 {
            report.cut_bytes += cut + sizes[n + 1..].iter().sum::<u64>();
            set_aside(folder, &bases[n + 1..]).map_err(OpenError::io("set aside in", folder))?;
            break;
        }
    }
    if segments.last().is_some_and(|last| last.is_sealed()) {
        let active = Segment::create(folder, scan.end, None)
            .map_err(OpenError::io("create segment in", folder))?;
        segments.push(Arc::new(active));
    }
    let end = scan.end;
    checkpoint.leader_epochs = scan.epochs.entries().to_vec();
    if report.cut_bytes > 0 {
        warn!(partition = %id, end, cut_bytes = report.cut_bytes, "log was cut after its last sound batch");
    } else if report.scanned_bytes > 0 {
        info!(partition = %id, end, scanned_bytes = report.scanned_bytes, "log was scanned");
    }
    let log_start = segments
        .first()
        .map_or(log_start, |first| first.base_offset().max(log_start));
    if end < log_start {
        // The records up to the log's start were deleted, and what came after them is lost: begin anew there.
        set_aside(
            folder,
            &segments
                .iter()
                .map(|segment| segment.base_offset())
                .collect::<Vec<_>>(),
        )
        .map_err(OpenError::io("set aside in", folder))?;
        let mut recovered = empty(report);
        (recovered.log_start, recovered.end, recovered.synced) = (log_start, log_start, log_start);
        return Ok(recovered);
    }
    // Producers of a log without a single batch cannot be known.
    Ok(Recovered {
        segments,
        log_start,
        end,
        synced: synced.min(end),
        checkpoint,
        report,
    })
}

fn empty(report: RecoveryReport) -> Recovered {
    Recovered {
        report,
        ..Recovered::default()
    }
}

/// Base offsets of the segments, rising; removes what was left half made.
fn segment_bases(folder: &Path) -> io::Result<Vec<i64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(".tmp") {
            fs::remove_file(folder.join(name))?;
        } else if let Some(base) = name
            .strip_suffix(".log")
            .and_then(|base| base.parse::<i64>().ok())
            && base >= 0
        {
            bases.push(base);
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

fn sizes(folder: &Path, bases: &[i64]) -> Result<Vec<u64>, OpenError> {
    let size = |base: &i64| {
        let path = segment_path(folder, *base, "log");
        fs::metadata(&path)
            .map(|meta| meta.len())
            .map_err(OpenError::io("look at", &path))
    };
    bases.iter().map(size).collect()
}

fn fits(checkpoint: &Checkpoint, bases: &[i64], sizes: &[u64]) -> bool {
    bases
        .binary_search(&checkpoint.segment_base)
        .is_ok_and(|n| {
            sizes[n] >= checkpoint.position && checkpoint.offset >= checkpoint.segment_base
        })
}

fn set_aside(folder: &Path, bases: &[i64]) -> io::Result<()> {
    for base in bases {
        let path = segment_path(folder, *base, "log");
        fs::rename(&path, segment_path(folder, *base, "log.orphaned"))?;
        for ending in ["index", "timeindex"] {
            // Never evidence, so their absence is no error.
            let _ = fs::remove_file(segment_path(folder, *base, ending));
        }
    }
    super::sync_folder(folder)
}

struct Place<'a> {
    folder: &'a Path,
    base: i64,
    size: u64,
    /// Where the scan begins.
    position: u64,
    /// Whether offsets may be missing: where compaction may have been.
    gaps: bool,
}

struct Scan<'a> {
    checkpoint: &'a mut Checkpoint,
    epochs: LeaderEpochs,
    leader_epoch: i32,
    end: i64,
}

struct Scanned {
    file: Arc<LogFile>,
    index: MemoryIndex,
    /// Of sound batches.
    size: u64,
    first_timestamp: Option<i64>,
}

impl Scan<'_> {
    /// Whether a segment's name fits to what is before it. Compaction leaves gaps, but never behind a checkpoint: it
    /// writes one before it replaces segments.
    fn may_begin(&mut self, base: i64, position: u64, trusted: bool) -> bool {
        if position > 0 || base == self.end {
            return true;
        }
        let after_gap = !trusted && base > self.end;
        if after_gap {
            self.end = base;
        }
        after_gap
    }

    /// Checks the batches of one segment and applies them.
    fn segment(&mut self, place: &Place<'_>, path: &Path) -> io::Result<Scanned> {
        let file = Arc::new(LogFile::open(path)?);
        let mut index = trusted_index(place, &file)?;
        let mut first_timestamp = match place.position {
            0 => None,
            _ => BatchWalk::new(&file, 0, place.size)
                .next_header()
                .ok()
                .flatten()
                .map(|(_, first)| first.max_timestamp),
        };
        let mut walk = BatchWalk::new(&file, place.position, place.size);
        let mut size = place.position;
        loop {
            let (position, batch) = match walk.next_batch() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(WalkError::Bad { .. }) => break,
                Err(WalkError::Io { source, .. }) => return Err(source),
            };
            let header = &batch.header;
            if !self.is_next(header, place) || batch.verify_crc().is_err() {
                break;
            }
            let control = match batch.control() {
                Ok(control) => control,
                Err(_) => break,
            };
            self.epochs
                .assign(header.partition_leader_epoch, header.base_offset);
            match control {
                Some(marker) => {
                    let producers = &mut self.checkpoint.producers;
                    let ended =
                        producers.apply_marker(header, marker.kind, marker.coordinator_epoch);
                    if let Some(ended) = ended.filter(|ended| ended.kind == ControlKind::Abort) {
                        self.checkpoint.aborted.push(ended.range);
                    }
                }
                None => self.checkpoint.producers.apply(header),
            }
            first_timestamp.get_or_insert(header.max_timestamp);
            let relative = (header.base_offset - place.base) as u32;
            index.add(relative, position as u32, header, INDEX_INTERVAL);
            self.end = header.next_offset();
            size = walk.position();
        }
        Ok(Scanned {
            file,
            index,
            size,
            first_timestamp,
        })
    }

    /// Offsets go on where they ended, leader epochs never fall.
    fn is_next(&self, header: &BatchHeader, place: &Place<'_>) -> bool {
        let follows =
            header.base_offset == self.end || (place.gaps && header.base_offset > self.end);
        let inside = header.last_offset_delta >= 0
            && header
                .base_offset
                .checked_add(i64::from(header.last_offset_delta))
                .is_some_and(|last| last < i64::MAX)
            && header.last_offset() - place.base <= i64::from(i32::MAX);
        let earliest = self.epochs.latest().unwrap_or(0);
        follows && inside && (earliest..=self.leader_epoch).contains(&header.partition_leader_epoch)
    }
}

/// The index of what the checkpoint covers: its file if that can be right, else from the headers.
fn trusted_index(place: &Place<'_>, file: &LogFile) -> io::Result<MemoryIndex> {
    if place.position == 0 {
        return Ok(MemoryIndex::default());
    }
    let paths = ["index", "timeindex"].map(|ending| segment_path(place.folder, place.base, ending));
    if let Some(index) = MemoryIndex::load(&paths[0], &paths[1], place.position) {
        let (position, limit) = (u64::from(index.position(u32::MAX)), place.position);
        let last = BatchWalk::new(file, position, limit).next_header();
        let is_sound = last.is_ok_and(|last| {
            last.is_some_and(|(at, header)| at == index_entry(&index, place.base, &header))
        });
        if is_sound && latest_is_true(&index, place, file) {
            return Ok(index);
        }
    }
    match build_index(file, place.base, place.position, INDEX_INTERVAL) {
        Ok(index) => Ok(index),
        Err(WalkError::Io { source, .. }) => Err(source),
        Err(WalkError::Bad { position, reason }) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the batch at byte {position}, known to be on disk, is corrupt: {reason}"),
        )),
    }
}

/// Whether the batch with the largest timestamp is the one that the index names.
fn latest_is_true(index: &MemoryIndex, place: &Place<'_>, file: &LogFile) -> bool {
    let Some((timestamp, relative)) = index.latest() else {
        return place.position == 0;
    };
    let expected = place.base + i64::from(relative);
    let mut walk = BatchWalk::new(file, u64::from(index.position(relative)), place.position);
    while let Ok(Some((_, header))) = walk.next_header() {
        if header.base_offset >= expected {
            return header.base_offset == expected && header.max_timestamp == timestamp;
        }
    }
    false
}

/// Where the index says that this batch lies.
fn index_entry(index: &MemoryIndex, base: i64, header: &BatchHeader) -> u64 {
    u32::try_from(header.base_offset - base)
        .map_or(u64::MAX, |relative| u64::from(index.position(relative)))
}

impl Scanned {
    /// The segment, its file cut to what is sound.
    fn finish(
        self,
        folder: &Arc<Path>,
        base: i64,
        next: i64,
        active: bool,
        cut: u64,
    ) -> io::Result<Segment> {
        if cut > 0 {
            self.file.truncate(self.size)?;
            self.file.sync()?;
        }
        if active {
            let first_append = self
                .first_timestamp
                .filter(|timestamp| *timestamp >= 0)
                .unwrap_or(i64::MAX);
            return Ok(Segment::active(
                folder,
                base,
                self.file,
                self.index,
                self.size,
                next,
                first_append,
            ));
        }
        self.index.write(
            &segment_path(folder, base, "index"),
            &segment_path(folder, base, "timeindex"),
        )?;
        Ok(Segment::sealed(folder, base, self.size, next))
    }
}
