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
//! 2. Files that hold less than is known to have been on disk are damaged: nothing is changed, unless the loss is accepted (evidence).
//! 3. Without a sound checkpoint that fits the files the scan begins at the first segment.
//! 4. Offsets may be missing only where compaction is or was at work, or a loss was accepted; no batch reaches into the next segment.
//! 5. What is scanned rebuilds indexes, leader epochs, producers and open transactions by the code that appends use.
//!
//! Invariants:
//! 1. Only a suffix is ever cut. Segments behind a cut are set aside (`*.orphaned`), not deleted.
//! 2. Nothing below the known end is cut. Where that loss is accepted the log goes on at the known end: no offset is given out again.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use log_protocol::{BatchHeader, ControlKind, TopicPartition};
use tracing::{info, warn};

use super::OpenError;
use super::checkpoint::Checkpoint;
use super::compaction;
use super::evidence::{Damage, Files, accept_loss};
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
    /// The checkpoint on disk says less than one that is written now.
    pub(super) is_old: bool,
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

/// Whether what is known to have been on disk may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Refused,
    Accepted,
}

/// Recovers the partition in `folder`; a folder that is not there is an empty partition. No batch bears a later epoch
/// than `leader_epoch`, and the log is known to go to `known_end` at least. `compacts`: the topic is one that compaction may have been in.
///
/// # Errors
/// [`OpenError::Damaged`] where it does not, unless somebody accepted the loss.
pub(super) fn recover(
    folder: &Arc<Path>,
    id: &TopicPartition,
    leader_epoch: i32,
    known_end: i64,
    compacts: bool,
) -> Result<Recovered, OpenError> {
    let attempt = |loss| Recovery::begin(folder, leader_epoch, (known_end, compacts), loss)?.run();
    let recovered = match attempt(Loss::Refused) {
        Err(OpenError::Damaged { damage, .. }) if accept_loss(folder).exists() => {
            warn!(partition = %id, %damage, "the log goes on without what is lost, as was asked for");
            attempt(Loss::Accepted)
        }
        result => result,
    }?;
    let (end, report) = (recovered.end, &recovered.report);
    if report.cut_bytes > 0 {
        warn!(partition = %id, end, cut_bytes = report.cut_bytes, "log was cut after its last sound batch");
    } else if report.scanned_bytes > 0 {
        info!(partition = %id, end, scanned_bytes = report.scanned_bytes, "log was scanned");
    }
    Ok(recovered)
}

/// One attempt to make a log of what lies in a folder.
struct Recovery<'a> {
    folder: &'a Arc<Path>,
    loss: Loss,
    files: Files,
    /// The scan begins where a checkpoint ends.
    trusted: bool,
    /// The checkpoint on disk is of version 1.
    is_old: bool,
    log_start: i64,
    /// Below this offset everything is on disk.
    synced: i64,
    scan: Scan,
    segments: Vec<Arc<Segment>>,
    report: RecoveryReport,
}

impl<'a> Recovery<'a> {
    fn begin(
        folder: &'a Arc<Path>,
        leader_epoch: i32,
        (known_end, compacts): (i64, bool),
        loss: Loss,
    ) -> Result<Self, OpenError> {
        if folder.exists() {
            compaction::finish_swap(folder)
                .and_then(|()| remove_half_made(folder))
                .map_err(OpenError::io("finish compaction in", folder))?;
        }
        let mut files = Files::list(folder, known_end, compacts)?;
        if loss == Loss::Refused
            && let Some(damage) = files.damage(folder)
        {
            return Err(damaged(folder, damage));
        }
        let found = files.checkpoint.take();
        let log_start = found.as_ref().map_or(0, |checkpoint| checkpoint.log_start);
        let is_old = found.as_ref().is_some_and(|found| found.segments.is_none());
        let start = found.filter(|found| loss == Loss::Refused && files.fit(found));
        let trusted = start.is_some();
        // Compaction leaves gaps, but never behind a checkpoint: it writes one before it replaces segments.
        files.gaps = !trusted && (files.gaps || loss == Loss::Accepted);
        let mut checkpoint = start.unwrap_or_default();
        let synced = if trusted { checkpoint.offset } else { 0 };
        let end = match files.bases.first() {
            Some(first) if !trusted => *first,
            _ => synced,
        };
        let scan = Scan {
            epochs: LeaderEpochs::from_entries(checkpoint.leader_epochs.drain(..)),
            checkpoint,
            leader_epoch,
            end,
            stopped: String::new(),
        };
        Ok(Self {
            folder,
            loss,
            files,
            trusted,
            is_old,
            log_start,
            synced,
            scan,
            segments: Vec::new(),
            report: RecoveryReport::default(),
        })
    }

    fn run(mut self) -> Result<Recovered, OpenError> {
        let count = self.files.bases.len();
        let first_scanned = if self.trusted {
            let base = self.scan.checkpoint.segment_base;
            self.files.bases.partition_point(|found| *found < base)
        } else {
            0
        };
        for n in 0..first_scanned {
            let (bases, sizes) = (&self.files.bases, &self.files.sizes);
            let sealed = Segment::sealed(self.folder, bases[n], sizes[n], bases[n + 1]);
            self.segments.push(Arc::new(sealed));
        }
        for n in first_scanned..count {
            let position = if self.trusted && n == first_scanned {
                self.scan.checkpoint.position
            } else {
                0
            };
            if !self.scan_segment(n, position)? {
                break;
            }
        }
        self.finish()
    }

    /// Scans one segment from `position` on. False: nothing behind it belongs to the log.
    fn scan_segment(&mut self, n: usize, position: u64) -> Result<bool, OpenError> {
        let (base, size) = (self.files.bases[n], self.files.sizes[n]);
        let path = segment_path(self.folder, base, "log");
        // Of what retention was removing any part may be left.
        let gap = self.files.gaps || (!self.trusted && base <= self.log_start);
        if !self.scan.may_begin(base, position, gap) {
            let what = format!(
                "begins at offset {base}, and the log before it ends at {}",
                self.scan.end
            );
            self.check_loss(&path, &what)?;
            self.set_aside_from(n)?;
            return Ok(false);
        }
        let following = self.files.bases.get(n + 1).copied();
        let last = following.is_none();
        let place = Place {
            folder: self.folder,
            base,
            size,
            position,
            gaps: self.files.gaps && !last,
            limit: following.unwrap_or(i64::MAX),
        };
        let scanned = match self.scan.segment(&place, &path) {
            Ok(scanned) => scanned,
            Err(WalkError::Io { source, .. }) => return Err(OpenError::io("scan", &path)(source)),
            // Below the checkpoint.
            Err(error @ WalkError::Bad { .. }) => {
                let what = format!("is corrupt at {error}");
                return Err(self.damaged(&path, what));
            }
        };
        self.report.scanned_bytes += scanned.size - position;
        let cut = size - scanned.size;
        if cut > 0 {
            let what = format!("is corrupt at byte {}: {}", scanned.size, self.scan.stopped);
            self.check_loss(&path, &what)?;
            self.report.cut_bytes += cut;
        }
        // With a loss that is accepted, sound segments behind it stay.
        let goes_on = cut == 0 || self.loss == Loss::Accepted;
        let short = last && self.scan.end < self.floor();
        if self.loss == Loss::Accepted && scanned.size == 0 && (short || !last) {
            set_aside(self.folder, &[base]).map_err(OpenError::io("set aside in", self.folder))?;
            return Ok(true);
        }
        let active = (last && !short) || !goes_on;
        let next = match following {
            Some(next) if !active => next,
            _ => self.scan.end,
        };
        let segment = scanned
            .finish(self.folder, base, next, active, cut)
            .map_err(OpenError::io("repair", self.folder))?
            .checked_from(position);
        self.segments.push(Arc::new(segment));
        if !goes_on {
            self.set_aside_from(n + 1)?;
        }
        Ok(goes_on)
    }

    /// The log must not end below this offset.
    fn floor(&self) -> i64 {
        self.files.known_end.max(self.log_start)
    }

    /// What was scanned ends here: whether that is all that was known to be on disk.
    fn check_loss(&self, path: &Path, what: &str) -> Result<(), OpenError> {
        if self.loss == Loss::Accepted || self.scan.end >= self.floor() {
            return Ok(());
        }
        Err(self.damaged(path, what.to_owned()))
    }

    fn damaged(&self, path: &Path, what: String) -> OpenError {
        let damage = Damage {
            path: path.to_owned(),
            what,
            known_end: self.floor(),
        };
        damaged(self.folder, damage)
    }

    fn set_aside_from(&mut self, n: usize) -> Result<(), OpenError> {
        self.report.cut_bytes += self.files.sizes[n..].iter().sum::<u64>();
        set_aside(self.folder, &self.files.bases[n..])
            .map_err(OpenError::io("set aside in", self.folder))
    }

    fn finish(mut self) -> Result<Recovered, OpenError> {
        let last = self.segments.last().map(|last| last.base_offset());
        let path = last.map_or_else(
            || self.folder.to_path_buf(),
            |base| segment_path(self.folder, base, "log"),
        );
        self.check_loss(&path, &format!("ends at offset {}", self.scan.end))?;
        self.scan.end = self.scan.end.max(self.floor());
        let Self {
            folder,
            mut segments,
            scan,
            ..
        } = self;
        let is_active = segments.last().is_some_and(|last| !last.is_sealed());
        if !is_active && scan.end > 0 {
            let active = Segment::create(folder, scan.end, None)
                .map_err(OpenError::io("create segment in", folder))?;
            segments.push(Arc::new(active));
        }
        let first = segments.first().map_or(0, |first| first.base_offset());
        let mut checkpoint = scan.checkpoint;
        checkpoint.leader_epochs = scan.epochs.entries().to_vec();
        // Producers of a log without a single batch cannot be known.
        Ok(Recovered {
            segments,
            log_start: self.log_start.max(first),
            end: scan.end,
            synced: self.synced,
            checkpoint,
            is_old: self.is_old,
            report: self.report,
        })
    }
}

fn damaged(folder: &Path, damage: Damage) -> OpenError {
    OpenError::Damaged {
        folder: folder.to_owned(),
        damage,
    }
}

/// Removes files that were being written.
fn remove_half_made(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| name.ends_with(".tmp")) {
            fs::remove_file(folder.join(name))?;
        }
    }
    Ok(())
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
    /// The next segment begins there.
    limit: i64,
}

struct Scan {
    checkpoint: Checkpoint,
    epochs: LeaderEpochs,
    leader_epoch: i32,
    end: i64,
    /// Why the last segment is not sound to its end.
    stopped: String,
}

struct Scanned {
    file: Arc<LogFile>,
    index: MemoryIndex,
    /// Of sound batches.
    size: u64,
    first_timestamp: Option<i64>,
}

impl Scan {
    /// Whether a segment's name fits to what is before it; `gap`: offsets may be missing in between.
    fn may_begin(&mut self, base: i64, position: u64, gap: bool) -> bool {
        if position > 0 || base == self.end {
            return true;
        }
        let after_gap = gap && base > self.end;
        if after_gap {
            self.end = base;
        }
        after_gap
    }

    /// Checks the batches of one segment and applies them.
    fn segment(&mut self, place: &Place<'_>, path: &Path) -> Result<Scanned, WalkError> {
        let open = LogFile::open(path).map_err(|source| WalkError::Io {
            position: 0,
            source,
        });
        let file = Arc::new(open?);
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
                Err(WalkError::Bad { reason, .. }) => {
                    self.stopped = reason.to_string();
                    break;
                }
                Err(error) => return Err(error),
            };
            let header = &batch.header;
            let checked = self
                .check_next(header, place)
                .and_then(|()| batch.verify_crc().map_err(|error| error.to_string()))
                .and_then(|()| batch.control().map_err(|error| error.to_string()));
            let control = match checked {
                Ok(control) => control,
                Err(reason) => {
                    self.stopped = reason;
                    break;
                }
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
    fn check_next(&self, header: &BatchHeader, place: &Place<'_>) -> Result<(), String> {
        let follows =
            header.base_offset == self.end || (place.gaps && header.base_offset > self.end);
        let inside = header.last_offset_delta >= 0
            && header
                .base_offset
                .checked_add(i64::from(header.last_offset_delta))
                .is_some_and(|last| last < place.limit)
            && header.last_offset() - place.base <= i64::from(i32::MAX);
        let earliest = self.epochs.latest().unwrap_or(0);
        let epoch = header.partition_leader_epoch;
        if follows && !inside && header.last_offset() >= place.limit {
            let (base, limit) = (header.base_offset, place.limit);
            Err(format!(
                "offset {base} begins a batch that reaches into the next segment, which begins at {limit}"
            ))
        } else if !(follows && inside) {
            let base = header.base_offset;
            Err(format!("offset {base} where {} is due", self.end))
        } else if !(earliest..=self.leader_epoch).contains(&epoch) {
            let latest = self.leader_epoch;
            Err(format!(
                "leader epoch {epoch}, and not {earliest} to {latest}"
            ))
        } else {
            Ok(())
        }
    }
}

/// The index of what the checkpoint covers: its file if that can be right, else from the headers.
fn trusted_index(place: &Place<'_>, file: &LogFile) -> Result<MemoryIndex, WalkError> {
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
    build_index(file, place.base, place.position, INDEX_INTERVAL)
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
