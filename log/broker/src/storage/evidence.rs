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
//! Invariant: nothing here writes.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::OpenError;
use super::checkpoint::Checkpoint;
use super::segment::segment_path;

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
}

impl Files {
    /// Lists what is there; `known_end` is what the file `ends` says. A folder that is not there holds nothing.
    pub(super) fn list(folder: &Path, known_end: i64) -> Result<Self, OpenError> {
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
        Ok(Self {
            sizes: bases.iter().map(size).collect::<Result<_, _>>()?,
            bases,
            checkpoint,
            known_end: known_end.max(saved),
        })
    }

    /// The first thing that is not as it was; content is not read.
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
        let checkpoint = self.checkpoint.as_ref()?;
        let sealed = checkpoint.segments.as_ref()?;
        for (base, size) in sealed {
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
            None => Some(damage(path, "is missing")),
            Some(now) if now < checkpoint.position => {
                let what = format!("has {now} bytes of at least {}", checkpoint.position);
                Some(damage(path, &what))
            }
            Some(_) => None,
        }
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
pub(crate) fn look(folder: &Path, known_end: i64) -> Result<(Files, Option<Damage>), OpenError> {
    let mut looks = 1;
    loop {
        let listed = Files::list(folder, known_end);
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
