//! The files `ends` and `starts`: where each partition's log ended and began when that was last known to be on disk.
//!
//! ```text
//! thalweg log ends 1
//! <topic id>-<partition> <end offset>      a line each, only of partitions that were written to
//! crc <CRC-32C of all lines before, hexadecimal>
//!
//! thalweg log starts 1
//! <topic id>-<partition> <log start>       the same, only of those whose first records are gone
//! crc …
//! ```
//! A partition's own checkpoint says the same, but goes with its folder. A file is replaced as a whole, after the
//! checkpoints that it speaks of; a log is never shorter than it says, and records below its start are not served again.
//!
//! Invariant: without the file, or with one that is cut or wrong, nothing is claimed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use tracing::warn;

/// Offsets by the name of a partition's folder.
type Offsets = BTreeMap<String, i64>;

/// The first word of what a file is about, and its name.
const ENDS: &str = "ends";
const STARTS: &str = "starts";

/// Where logs end and begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KnownEnds {
    ends: Offsets,
    starts: Offsets,
}

impl KnownEnds {
    /// What the log in `folder` is known to hold.
    pub(crate) fn read(folder: &Path) -> Self {
        Self {
            ends: read(folder, ENDS),
            starts: read(folder, STARTS),
        }
    }

    /// Replaces the files in `folder`; durable when it returns.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        if !self.starts.is_empty() {
            let text = encode(STARTS, &self.starts);
            super::replace_file(&folder.join(STARTS), text.as_bytes())?;
        }
        super::replace_file(&folder.join(ENDS), encode(ENDS, &self.ends).as_bytes())
    }

    /// Notes where a partition begins and ends; one that was never written to is left out.
    pub(crate) fn set(&mut self, partition: &Path, start: i64, end: i64) {
        let Some(name) = partition.file_name() else {
            return;
        };
        let name = name.to_string_lossy();
        for (offsets, offset) in [(&mut self.ends, end), (&mut self.starts, start)] {
            if offset > 0 {
                offsets.insert(name.clone().into_owned(), offset);
            }
        }
    }

    /// Where a partition, named by its folder, ends at least.
    pub(crate) fn of(&self, partition: &Path) -> i64 {
        look_up(&self.ends, partition)
    }

    /// Where a partition, named by its folder, begins at the earliest.
    pub(crate) fn start_of(&self, partition: &Path) -> i64 {
        look_up(&self.starts, partition)
    }
}

fn look_up(offsets: &Offsets, partition: &Path) -> i64 {
    let name = partition.file_name().and_then(|name| name.to_str());
    name.and_then(|name| offsets.get(name))
        .copied()
        .unwrap_or(0)
}

fn read(folder: &Path, what: &str) -> Offsets {
    let path = folder.join(what);
    match fs::read_to_string(&path) {
        Ok(text) => decode(what, &text).unwrap_or_else(|| {
            warn!(path = %path.display(), "the file is damaged and is written anew; until then a partition's own checkpoint says what is in it");
            Offsets::default()
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Offsets::default(),
        Err(error) => {
            warn!(path = %path.display(), %error, "the file cannot be read; a partition's own checkpoint says what is in it");
            Offsets::default()
        }
    }
}

fn head(what: &str) -> String {
    format!("thalweg log {what} 1\n")
}

fn encode(what: &str, offsets: &Offsets) -> String {
    let mut text = head(what);
    for (partition, offset) in offsets {
        text += &format!("{partition} {offset}\n");
    }
    let crc = crc32c::crc32c(text.as_bytes());
    text + &format!("crc {crc:08x}\n")
}

fn decode(what: &str, text: &str) -> Option<Offsets> {
    let (content, crc) = text.strip_suffix('\n')?.rsplit_once("crc ")?;
    if u32::from_str_radix(crc, 16).ok()? != crc32c::crc32c(content.as_bytes()) {
        return None;
    }
    let line = |line: &str| {
        let (partition, offset) = line.split_once(' ')?;
        Some((partition.to_owned(), offset.parse().ok()?))
    };
    let lines = content.strip_prefix(&*head(what))?.lines().map(line);
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_come_back_and_a_file_that_is_cut_or_changed_claims_nothing() {
        let mut known = KnownEnds::default();
        known.set(Path::new("/log/partitions/6b1d-0"), 0, 100_260);
        known.set(Path::new("/log/partitions/6b1d-1"), 0, 0);
        known.set(Path::new("/log/partitions/77aa-12"), 2, 3);
        let folder = tempfile::tempdir().expect("tempdir");
        known.write(folder.path()).expect("written");
        assert_eq!(KnownEnds::read(folder.path()), known);
        assert_eq!(known.of(Path::new("elsewhere/6b1d-0")), 100_260);
        assert_eq!(known.of(Path::new("elsewhere/6b1d-1")), 0);
        assert_eq!(known.start_of(Path::new("elsewhere/6b1d-0")), 0);
        assert_eq!(known.start_of(Path::new("elsewhere/77aa-12")), 2);
        let text = fs::read_to_string(folder.path().join(ENDS)).expect("there");
        assert_eq!(decode(STARTS, &text), None);
        for at in 0..text.len() {
            assert_eq!(decode(ENDS, &text[..at]), None, "cut at {at}");
            let mut wrong = text.clone().into_bytes();
            wrong[at] ^= 1;
            let wrong = String::from_utf8(wrong).expect("ascii");
            assert_eq!(decode(ENDS, &wrong), None, "byte {at}");
        }
    }

    #[test]
    fn without_a_file_nothing_is_claimed() {
        let folder = tempfile::tempdir().expect("tempdir");
        assert_eq!(KnownEnds::read(folder.path()), KnownEnds::default());
        fs::write(folder.path().join(ENDS), "thalweg log ends 1\n").expect("write");
        assert_eq!(KnownEnds::read(folder.path()), KnownEnds::default());
    }
}
