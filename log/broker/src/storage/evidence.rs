//! What a partition's folder must hold: its files beside what is known to have been on disk.
//!
//! ```text
//! known from                      says
//! checkpoint, in the folder       where the log ended, the active segment's size, the sealed segments and their sizes
//! ends, beside all folders        where the log ended                                                  (known_ends)
//! ```
//! Both speak only of what was synced before they were written, so that a crash or a power cut never leaves less: what is
//! missing then was removed, cut or lost by somebody else. It is damage, and no offset of it is given out again.
//!
//! Where no checkpoint names the sealed segments, each must end where the next one begins, unless compaction may have been there.
//!
//! Invariant: nothing here writes.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::OpenError;
use super::checkpoint::Checkpoint;
use super::identity;
use super::index::MemoryIndex;
use super::log_file::LogFile;
use super::segment::segment_path;
use super::walk::{BatchWalk, WalkError};

/// Made by whoever goes on without what is lost; gone when that is settled.
pub(super) fn accept_loss(folder: &Path) -> PathBuf {
    folder.join("accept-loss")
}

/// A checkpoint that is replaced while the files are looked at is read again so often.
const LOOKS_MAX: usize = 5;

/// Something that was on disk is not there, or not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The file or folder.
    pub(crate) path: PathBuf,
    /// What is wrong with it.
    pub(crate) what: String,
    /// Below this offset everything was on disk.
    pub(crate) known_end: i64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}, and the records below offset {} were on disk",
            self.path.display(),
            self.what,
            self.known_end
        )
    }
}

/// The segments of a partition, and what is known of them.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Base offsets, rising.
    pub(super) bases: Vec<i64>,
    /// Bytes of each.
    pub(super) sizes: Vec<u64>,
    /// The sound one of the folder.
    pub(super) checkpoint: Option<Checkpoint>,
    /// Below this offset everything was on disk.
    pub(super) known_end: i64,
    /// Offsets may be missing: compaction is or was at work.
    pub(super) gaps: bool,
}

impl Files {
    /// Lists what is there; `known_end` is what the file `ends` says, and `compacts` what the topic's settings do. A folder that is not
    /// there holds nothing; one that is another partition's is refused.
    pub(super) fn list(folder: &Path, known_end: i64, compacts: bool) -> Result<Self, OpenError> {
        if let Some(owner) = identity::stranger(folder) {
            let folder = folder.to_owned();
            return Err(OpenError::Misplaced { folder, owner });
        }
        let checkpoint = Checkpoint::read(folder);
        let bases = match segment_bases(folder) {
            Ok(bases) => bases,
            // Neither is a folder below a file.
            Err(_) if !folder.exists() => Vec::new(),
            Err(error) => return Err(OpenError::io("list", folder)(error)),
        };
        let size = |base: &i64| {
            let path = segment_path(folder, *base, "log");
            fs::metadata(&path)
                .map(|meta| meta.len())
                .map_err(OpenError::io("look at", &path))
        };
        let saved = checkpoint.as_ref().map_or(0, |found| found.offset);
        let cleaned = checkpoint
            .as_ref()
            .is_some_and(|found| !found.cleaned.is_empty());
        Ok(Self {
            gaps: compacts || cleaned,
            sizes: bases.iter().map(size).collect::<Result<_, _>>()?,
            bases,
            checkpoint,
            known_end: known_end.max(saved),
        })
    }

    /// The first thing that is not as it was; of content only headers are read, and only where no checkpoint names the segments.
    pub(super) fn damage(&self, folder: &Path) -> Option<Damage> {
        let damage = |path: PathBuf, what: &str| Damage {
            path,
            what: what.to_owned(),
            known_end: self.known_end,
        };
        if self.known_end == 0 {
            return None;
        }
        if !folder.exists() {
            return Some(damage(folder.to_owned(), "is missing"));
        }
        if self.bases.is_empty() {
            return Some(damage(folder.to_owned(), "holds no segment any more"));
        }
        let sealed = self
            .checkpoint
            .as_ref()
            .and_then(|found| found.segments.as_ref());
        if sealed.is_none()
            && let Some((path, what)) = self.hole(folder)
        {
            return Some(damage(path, &what));
        }
        let checkpoint = self.checkpoint.as_ref()?;
        for (base, size) in sealed.into_iter().flatten() {
            let path = segment_path(folder, *base, "log");
            match self.size(*base) {
                None => return Some(damage(path, "is missing")),
                Some(now) if now != *size => {
                    let what = format!("has {now} bytes instead of {size}");
                    return Some(damage(path, &what));
                }
                Some(_) => {}
            }
        }
        let path = segment_path(folder, checkpoint.segment_base, "log");
        match self.size(checkpoint.segment_base) {
            // Version 1 was written after files were removed, and retention may have taken this one.
            None if sealed.is_none() && self.bases.last() >= Some(&checkpoint.offset) => None,
            None => Some(damage(path, "is missing")),
            Some(now) if now < checkpoint.position => {
                let what = format!("has {now} bytes of at least {}", checkpoint.position);
                Some(damage(path, &what))
            }
            Some(_) => None,
        }
    }

    /// A place between two segments, or before the first, where records that were on disk are not any more.
    fn hole(&self, folder: &Path) -> Option<(PathBuf, String)> {
        let log_start = self.checkpoint.as_ref().map(|found| found.log_start);
        if let (Some(start), Some(first)) = (log_start, self.bases.first())
            && *first > start
        {
            let what = format!("is the first segment, and the log begins at offset {start}");
            return Some((segment_path(folder, *first, "log"), what));
        }
        let seams = self.bases.windows(2).zip(&self.sizes);
        let mut seams = seams.filter(|(pair, _)| !self.gaps && pair[1] > log_start.unwrap_or(0));
        seams.find_map(|(pair, size)| {
            let path = segment_path(folder, pair[0], "log");
            // A file that cannot be read says so when it is.
            let (end, is_whole) = end_of(folder, pair[0], *size)?;
            if end >= pair[1] || end >= self.known_end {
                None
            } else if is_whole && *size > 0 {
                Some((segment_path(folder, end, "log"), "is missing".to_owned()))
            } else {
                let what = format!(
                    "ends at offset {end}, and the next segment begins at {}",
                    pair[1]
                );
                Some((path, what))
            }
        })
    }

    /// Files of the segments in `folder`, and up to which byte each is known to have been on disk.
    pub(crate) fn segments(&self, folder: &Path) -> Vec<(PathBuf, u64)> {
        let known = |(base, size): (&i64, &u64)| {
            let known = match &self.checkpoint {
                Some(checkpoint) if *base == checkpoint.segment_base => checkpoint.position,
                Some(checkpoint) if *base < checkpoint.segment_base => *size,
                _ => 0,
            };
            (segment_path(folder, *base, "log"), known)
        };
        self.bases.iter().zip(&self.sizes).map(known).collect()
    }

    /// Below this offset everything was on disk.
    pub(crate) fn known_end(&self) -> i64 {
        self.known_end
    }

    /// Whether a scan may begin where the checkpoint ends.
    pub(super) fn fit(&self, checkpoint: &Checkpoint) -> bool {
        self.size(checkpoint.segment_base)
            .is_some_and(|size| size >= checkpoint.position)
            && checkpoint.offset >= checkpoint.segment_base
    }

    fn size(&self, base: i64) -> Option<u64> {
        let found = self.bases.binary_search(&base).ok()?;
        Some(self.sizes[found])
    }
}

/// As [`Files::list`] and [`Files::damage`] for a folder that a server may be using: what changes meanwhile is no damage.
pub(crate) fn look(
    folder: &Path,
    known_end: i64,
    compacts: bool,
) -> Result<(Files, Option<Damage>), OpenError> {
    let mut looks = 1;
    loop {
        let listed = Files::list(folder, known_end, compacts);
        let is_sound = matches!(&listed, Ok(files) if files.damage(folder).is_none());
        let before = listed
            .as_ref()
            .ok()
            .and_then(|files| files.checkpoint.as_ref());
        if is_sound || looks == LOOKS_MAX || Checkpoint::read(folder).as_ref() == before {
            let files = listed?;
            let damage = files.damage(folder);
            return Ok((files, damage));
        }
        looks += 1;
    }
}

/// The offset behind the last whole batch of a segment, and whether nothing lies behind that. Begins where its index says that the last
/// batches are, if a batch is there.
fn end_of(folder: &Path, base: i64, size: u64) -> Option<(i64, bool)> {
    let file = LogFile::open_existing(&segment_path(folder, base, "log")).ok()?;
    let walk_from = |position: u64| {
        let mut walk = BatchWalk::new(&file, position, size);
        let mut end = base;
        loop {
            match walk.next_header() {
                Ok(Some((_, header))) => end = header.last_offset().saturating_add(1),
                Ok(None) => return Some((end, true)),
                Err(WalkError::Bad { .. }) => return Some((end, false)),
                Err(WalkError::Io { .. }) => return None,
            }
        }
    };
    let paths = ["index", "timeindex"].map(|ending| segment_path(folder, base, ending));
    let index = MemoryIndex::load(&paths[0], &paths[1], size);
    let near = index.and_then(|index| walk_from(u64::from(index.position(u32::MAX))));
    match near {
        Some((end, true)) => Some((end, true)),
        _ => walk_from(0),
    }
}

/// Base offsets of the segments, rising.
fn segment_bases(folder: &Path) -> io::Result<Vec<i64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(base) = name
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
