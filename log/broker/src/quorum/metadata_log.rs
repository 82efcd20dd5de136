//! The file of metadata records.
//!
//! ```text
//!  0  "TWML"
//!  4  u16  version, 1
//!  6  u16  0
//!  8  then for each record:  u32 bytes of JSON, u32 CRC-32C of it, the JSON       (big-endian)
//! ```
//! A record is synced before it takes effect, so one that is cut off at the end was never acted upon and is removed. A
//! record that is wrong while others follow it is corruption, and the log is not opened; so is a file that lacks topics which were
//! written to: it was cut. When old records outweigh the
//! image, the file is replaced by one with a single record that holds the image.
//!
//! Space for some records is reserved behind the end, so that topics can be deleted on a full disk.
//!
//! Invariants:
//! 1. After a failed write nothing more is appended, unless the file could be cut to where it ended before.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IoSlice};
use std::path::Path;

use tracing::warn;

use super::image::{Image, MetadataRecord, TopicId};
use crate::storage::{LogFile, OpenError, replace_file};

const MAGIC: [u8; 4] = *b"TWML";
const VERSION: u16 = 1;
const HEADER: usize = 8;
const FRAME: usize = 8;

/// A log of fewer bytes is not rewritten.
const REWRITE_BYTES_MIN: usize = 256 << 10;

/// Reserved behind the end: a deletion takes about 100 bytes.
const RESERVE_BYTES: u64 = 64 << 10;

/// The open file.
#[derive(Debug)]
pub(super) struct MetadataLog {
    file: LogFile,
    size: u64,
    /// Up to here the disk has room for it.
    reserved: u64,
    /// Why nothing can be appended any more.
    offline: Option<String>,
}

impl MetadataLog {
    /// Opens the file, made if need be, and replays it. Deletions of topics that have no folder any more, which are those
    /// outside of `on_disk`, are forgotten. It must know the topics `written`.
    pub(super) fn open(
        path: &Path,
        on_disk: &BTreeSet<TopicId>,
        written: &BTreeSet<TopicId>,
    ) -> Result<(Self, Image), OpenError> {
        let mut bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(OpenError::io("read", path)(error)),
        };
        if bytes.len() < HEADER {
            if !on_disk.is_empty() {
                return Err(nothing_known(path));
            }
            // New, or the very first write was cut off.
            bytes = header();
            replace_file(path, &bytes).map_err(OpenError::io("write", path))?;
        }
        let mut image = Image::default();
        let mut size = replay(path, &bytes, &mut image)?;
        if image.cluster_id.is_empty() && !on_disk.is_empty() {
            return Err(nothing_known(path));
        }
        check_whole(path, &image, size, written)?;
        image.deleted.retain(|id| on_disk.contains(id));
        if size > REWRITE_BYTES_MIN {
            let compact = whole(&image);
            if compact.len() * 2 < size {
                replace_file(path, &compact).map_err(OpenError::io("write", path))?;
                size = compact.len();
                bytes = compact;
            }
        }
        let file = LogFile::open(path).map_err(OpenError::io("open", path))?;
        if size < bytes.len() {
            let cut_bytes = bytes.len() - size;
            warn!(path = %path.display(), cut_bytes, "metadata log was cut after its last sound record");
            file.truncate(size as u64)
                .and_then(|()| file.sync())
                .map_err(OpenError::io("cut", path))?;
        }
        let mut log = Self {
            file,
            size: size as u64,
            reserved: 0,
            offline: None,
        };
        log.reserve();
        Ok((log, image))
    }

    /// Its bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn reserve(&mut self) {
        if self.reserved < self.size + RESERVE_BYTES / 2 {
            self.reserved = self.size + RESERVE_BYTES;
            self.file.reserve(self.reserved);
        }
    }

    /// Adds a record; durable when it returns.
    pub(super) fn append(&mut self, record: &MetadataRecord) -> io::Result<()> {
        if let Some(reason) = &self.offline {
            return Err(io::Error::other(reason.clone()));
        }
        let bytes = frame(record);
        let written = self
            .file
            .write_at(&mut [IoSlice::new(&bytes)], self.size)
            .and_then(|()| self.file.sync());
        match &written {
            Ok(()) => {
                self.size += bytes.len() as u64;
                self.reserve();
            }
            Err(full)
                if full.kind() == io::ErrorKind::StorageFull
                    && self.file.truncate(self.size).is_ok() =>
            {
                self.reserved = self.size;
            }
            Err(error) => self.offline = Some(error.to_string()),
        }
        written
    }
}

/// What the file says, and how many bytes at its end say nothing; for a look from outside. A file that lost topics is refused here, too.
pub(super) fn read(
    path: &Path,
    on_disk: &BTreeSet<TopicId>,
    written: &BTreeSet<TopicId>,
) -> Result<(Image, u64), OpenError> {
    let bytes = fs::read(path).map_err(OpenError::io("read", path))?;
    let mut image = Image::default();
    let size = match bytes.len() {
        HEADER.. => replay(path, &bytes, &mut image)?,
        _ if on_disk.is_empty() => 0,
        _ => return Err(nothing_known(path)),
    };
    check_whole(path, &image, size, written)?;
    Ok((image, (bytes.len() - size) as u64))
}

/// The first record is older than any partition.
fn nothing_known(path: &Path) -> OpenError {
    OpenError::CorruptMetadata {
        path: path.to_owned(),
        position: 0,
        reason: "it is empty or missing, and there are partitions".to_owned(),
    }
}

/// A topic that was written to was made by a record that was synced, and stays known until its folders are gone.
fn check_whole(
    path: &Path,
    image: &Image,
    size: usize,
    written: &BTreeSet<TopicId>,
) -> Result<(), OpenError> {
    let unknown = |id: &&TopicId| !image.topics.contains_key(id) && !image.deleted.contains(id);
    let lost: Vec<_> = written.iter().filter(unknown).collect();
    let Some(first) = lost.first() else {
        return Ok(());
    };
    let reason = format!(
        "its end is lost: {} topics that were written to are in no record, such as that of partitions/{}-* (to go on without \
         them, move their folders away)",
        lost.len(),
        first.0.simple()
    );
    Err(OpenError::CorruptMetadata {
        path: path.to_owned(),
        position: size as u64,
        reason,
    })
}

fn header() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

fn frame(record: &MetadataRecord) -> Vec<u8> {
    let json = serde_json::to_vec(record).expect("records are plain data with text keys");
    let mut bytes = Vec::with_capacity(FRAME + json.len());
    bytes.extend_from_slice(&(json.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&json).to_be_bytes());
    bytes.extend_from_slice(&json);
    bytes
}

fn whole(image: &Image) -> Vec<u8> {
    let mut bytes = header();
    bytes.extend_from_slice(&frame(&MetadataRecord::Image {
        image: image.clone(),
    }));
    bytes
}

/// Applies all records; returns how many bytes are sound.
fn replay(path: &Path, bytes: &[u8], image: &mut Image) -> Result<usize, OpenError> {
    let corrupt = |position: usize, reason: String| OpenError::CorruptMetadata {
        path: path.to_owned(),
        position: position as u64,
        reason,
    };
    let version = u16::from_be_bytes([bytes[4], bytes[5]]);
    if bytes[..4] != MAGIC {
        return Err(corrupt(0, "it does not begin with TWML".to_owned()));
    }
    if version > VERSION {
        let folder = path.parent().unwrap_or(path).to_owned();
        return Err(OpenError::NewerFormat {
            folder,
            found: u32::from(version),
            supported: u32::from(VERSION),
        });
    }
    let mut position = HEADER;
    while position < bytes.len() {
        let Some((json, crc)) = frame_at(bytes, position) else {
            // Its length reaches beyond the end: cut off there, unless the length is what is wrong.
            if has_record_behind(bytes, position) {
                return Err(corrupt(position, "a record has a wrong length".to_owned()));
            }
            break;
        };
        let end = position + FRAME + json.len();
        if json.is_empty() && bytes[position..].iter().all(|byte| *byte == 0) {
            // The file grew before its content was on disk.
            break;
        }
        if crc32c::crc32c(json) != crc {
            if end == bytes.len() && !has_record_behind(bytes, position) {
                break;
            }
            return Err(corrupt(position, "a record has a wrong CRC".to_owned()));
        }
        let record =
            serde_json::from_slice(json).map_err(|error| corrupt(position, error.to_string()))?;
        image.apply(&record);
        position = end;
    }
    Ok(position)
}

/// What the frame at `position` holds, and its CRC; `None` if it reaches beyond the end.
fn frame_at(bytes: &[u8], position: usize) -> Option<(&[u8], u32)> {
    let ([a, b, c, d, e, f, g, h], rest) = bytes.get(position..)?.split_first_chunk::<FRAME>()?;
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    Some((rest.get(..length)?, u32::from_be_bytes([*e, *f, *g, *h])))
}

/// Whether a sound record begins anywhere behind `damage`.
fn has_record_behind(bytes: &[u8], damage: usize) -> bool {
    (damage + 1..bytes.len()).any(|position| {
        frame_at(bytes, position)
            .is_some_and(|(json, crc)| json.first() == Some(&b'{') && crc32c::crc32c(json) == crc)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<(MetadataLog, Image), OpenError> {
        MetadataLog::open(path, &BTreeSet::new(), &BTreeSet::new())
    }

    #[test]
    fn a_cut_last_record_is_removed_and_a_wrong_one_before_it_refused() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("metadata.log");
        let (mut log, _) = open(&path).expect("new");
        for end in [1000, 2000] {
            log.append(&MetadataRecord::ProducerIds { end })
                .expect("append");
        }
        let whole = fs::read(&path).expect("read");
        let first_end = HEADER
            + FRAME
            + u32::from_be_bytes([whole[8], whole[9], whole[10], whole[11]]) as usize;
        for cut in first_end..whole.len() {
            fs::write(&path, &whole[..cut]).expect("write");
            let (mut log, image) = open(&path).expect("torn");
            assert_eq!(image.producer_ids_end, 1000, "cut at {cut}");
            log.append(&MetadataRecord::ProducerIds { end: 3000 })
                .expect("append");
            assert_eq!(open(&path).expect("again").1.producer_ids_end, 3000);
        }
        let mut wrong = whole.clone();
        wrong[first_end - 2] ^= 1;
        fs::write(&path, &wrong).expect("write");
        assert!(matches!(
            open(&path),
            Err(OpenError::CorruptMetadata { .. })
        ));
        // However long the damaged record claims to be, the one behind it is not given up.
        for at in 8..12 {
            for bit in 0..8 {
                let mut wrong = whole.clone();
                wrong[at] ^= 1 << bit;
                fs::write(&path, &wrong).expect("write");
                let error = open(&path).expect_err("corrupt").to_string();
                assert!(error.contains("at byte 8"), "{error}");
                assert_eq!(fs::read(&path).expect("read"), wrong, "nothing was cut");
            }
        }
        let mut grown = whole.clone();
        grown.resize(whole.len() + 100, 0);
        fs::write(&path, &grown).expect("write");
        assert_eq!(open(&path).expect("torn").1.producer_ids_end, 2000);
        let mut newer = whole;
        newer[5] = 9;
        fs::write(&path, &newer).expect("write");
        assert!(matches!(
            open(&path),
            Err(OpenError::NewerFormat { found: 9, .. })
        ));
    }

    #[test]
    fn a_long_history_is_replaced_by_its_image() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("metadata.log");
        let mut bytes = header();
        for n in 1..10_000 {
            bytes.extend_from_slice(&frame(&MetadataRecord::ProducerIds { end: n * 1000 }));
        }
        fs::write(&path, &bytes).expect("write");
        let (_, image) = open(&path).expect("open");
        assert!(fs::metadata(&path).expect("stat").len() < 1000);
        assert_eq!(open(&path).expect("again").1, image);
    }
}
