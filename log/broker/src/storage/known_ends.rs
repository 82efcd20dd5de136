//! The file `ends`: where each partition's log ended when it was last known to be on disk.
//!
//! ```text
//! thalweg log ends 1
//! <topic id>-<partition> <end offset>      a line each, only of partitions that were written to
//! crc <CRC-32C of all lines before, hexadecimal>
//! ```
//! A partition's own checkpoint says the same, but goes with its folder. The file is replaced as a whole, after the
//! checkpoints that it speaks of; a log is never shorter than it says.
//!
//! Invariant: without the file, or with one that is cut or wrong, nothing is claimed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use tracing::warn;

const HEAD: &str = "thalweg log ends 1\n";
const NAME: &str = "ends";

/// End offsets by the name of a partition's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KnownEnds(BTreeMap<String, i64>);

impl KnownEnds {
    /// What the log in `folder` is known to hold.
    pub(crate) fn read(folder: &Path) -> Self {
        let path = folder.join(NAME);
        match fs::read_to_string(&path) {
            Ok(text) => Self::decode(&text).unwrap_or_else(|| {
                warn!(path = %path.display(), "the file is damaged and is written anew; until then a partition's own checkpoint says where it ended");
                Self::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                warn!(path = %path.display(), %error, "the file cannot be read; a partition's own checkpoint says where it ended");
                Self::default()
            }
        }
    }

    /// Replaces the file in `folder`; durable when it returns.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        super::replace_file(&folder.join(NAME), self.encode().as_bytes())
    }

    /// Notes where a partition ends; one that was never written to is left out.
    pub(crate) fn set(&mut self, partition: &Path, end: i64) {
        if end > 0
            && let Some(name) = partition.file_name()
        {
            self.0.insert(name.to_string_lossy().into_owned(), end);
        }
    }

    /// Where a partition, named by its folder, ends at least.
    pub(crate) fn of(&self, partition: &Path) -> i64 {
        let name = partition.file_name().and_then(|name| name.to_str());
        name.and_then(|name| self.0.get(name)).copied().unwrap_or(0)
    }

    fn encode(&self) -> String {
        let mut text = HEAD.to_owned();
        for (partition, end) in &self.0 {
            text += &format!("{partition} {end}\n");
        }
        let crc = crc32c::crc32c(text.as_bytes());
        text + &format!("crc {crc:08x}\n")
    }

    fn decode(text: &str) -> Option<Self> {
        let (content, crc) = text.strip_suffix('\n')?.rsplit_once("crc ")?;
        if u32::from_str_radix(crc, 16).ok()? != crc32c::crc32c(content.as_bytes()) {
            return None;
        }
        let line = |line: &str| {
            let (partition, end) = line.split_once(' ')?;
            Some((partition.to_owned(), end.parse().ok()?))
        };
        let lines = content.strip_prefix(HEAD)?.lines().map(line);
        Some(Self(lines.collect::<Option<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_come_back_and_a_file_that_is_cut_or_changed_claims_nothing() {
        let mut ends = KnownEnds::default();
        ends.set(Path::new("/log/partitions/6b1d-0"), 100_260);
        ends.set(Path::new("/log/partitions/6b1d-1"), 0);
        ends.set(Path::new("/log/partitions/77aa-12"), 3);
        let text = ends.encode();
        assert_eq!(KnownEnds::decode(&text).as_ref(), Some(&ends));
        assert_eq!(ends.of(Path::new("elsewhere/6b1d-0")), 100_260);
        assert_eq!(ends.of(Path::new("elsewhere/6b1d-1")), 0);
        for at in 0..text.len() {
            assert_eq!(KnownEnds::decode(&text[..at]), None, "cut at {at}");
            let mut wrong = text.clone().into_bytes();
            wrong[at] ^= 1;
            let wrong = String::from_utf8(wrong).expect("ascii");
            assert_eq!(KnownEnds::decode(&wrong), None, "byte {at}");
        }
    }

    #[test]
    fn without_a_file_nothing_is_claimed() {
        let folder = tempfile::tempdir().expect("tempdir");
        assert_eq!(KnownEnds::read(folder.path()), KnownEnds::default());
        fs::write(folder.path().join(NAME), "thalweg log ends 1\n").expect("write");
        assert_eq!(KnownEnds::read(folder.path()), KnownEnds::default());
    }
}
