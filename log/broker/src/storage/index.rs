//! Where in a segment an offset or a time lies: an entry for every few KiB of log.
//!
//! ```text
//! .index       u32 offset - base offset, u32 position                      big-endian, both rising
//! .timeindex   i64 largest timestamp so far, u32 offset - base offset      of the batch that brought it
//! ```
//! The layout is Kafka's. The segment that is written to has its index in memory; files are written when it is sealed or
//! checkpointed, and sealed ones are searched in the file: an idle log holds no index in memory.
//!
//! Invariants:
//! 1. An index is never evidence: what is found in a file is compared with the batch it points to, and a wrong or
//!    missing file is rebuilt. A file is replaced as a whole, so that a crash leaves the old or the new one.
//! 2. All records before a time entry's batch have at most the timestamp of the entry before it.

use std::fs;
use std::io;
use std::path::Path;

use log_protocol::BatchHeader;

use super::log_file::{LogFile, Replacement, replace_file};

const POSITION_ENTRY: usize = 8;
const TIME_ENTRY: usize = 12;

/// The index of a segment that grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MemoryIndex {
    positions: Vec<(u32, u32)>,
    times: Vec<(i64, u32)>,
    bytes_since_entry: u64,
    /// The largest timestamp and the batch that brought it, relative to the base.
    latest: Option<(i64, u32)>,
}

impl MemoryIndex {
    /// A batch lies at `position`; `relative` is its base offset less the segment's.
    pub(crate) fn add(
        &mut self,
        relative: u32,
        position: u32,
        header: &BatchHeader,
        interval: u32,
    ) {
        if self.bytes_since_entry > u64::from(interval) {
            self.positions.push((relative, position));
            if let Some(latest) = self.latest
                && self.times.last().is_none_or(|last| last.0 < latest.0)
            {
                self.times.push(latest);
            }
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.total_size() as u64;
        if self
            .latest
            .is_none_or(|(latest, _)| latest < header.max_timestamp)
        {
            self.latest = Some((header.max_timestamp, relative));
        }
    }

    /// Position of a batch at or before `relative`.
    pub(crate) fn position(&self, relative: u32) -> u32 {
        let after = self.positions.partition_point(|entry| entry.0 <= relative);
        after
            .checked_sub(1)
            .map_or(0, |floor| self.positions[floor].1)
    }

    /// Relative offset of a batch such that all before it are older than `timestamp`.
    pub(crate) fn before_time(&self, timestamp: i64) -> u32 {
        let after = self.times.partition_point(|entry| entry.0 < timestamp);
        after.checked_sub(1).map_or(0, |floor| self.times[floor].1)
    }

    /// The largest timestamp and the relative base offset of the batch with it.
    pub(crate) fn latest(&self) -> Option<(i64, u32)> {
        self.latest
    }

    /// Replaces both files and syncs them.
    pub(crate) fn write(&self, positions: &Path, times: &Path) -> io::Result<()> {
        replace_file(positions, &self.position_bytes())?;
        replace_file(times, &self.time_bytes())
    }

    /// Writes what is to replace both files; not synced.
    pub(crate) fn prepare(
        &self,
        positions: &Path,
        times: &Path,
        ending: &str,
    ) -> io::Result<[Replacement; 2]> {
        Ok([
            Replacement::write(positions, ending, &self.position_bytes())?,
            Replacement::write(times, ending, &self.time_bytes())?,
        ])
    }

    fn position_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.positions.len() * POSITION_ENTRY);
        for (relative, position) in &self.positions {
            bytes.extend_from_slice(&relative.to_be_bytes());
            bytes.extend_from_slice(&position.to_be_bytes());
        }
        bytes
    }

    fn time_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((self.times.len() + 1) * TIME_ENTRY);
        let last = self
            .latest
            .filter(|latest| self.times.last().is_none_or(|time| time.0 < latest.0));
        for (timestamp, relative) in self.times.iter().chain(&last) {
            bytes.extend_from_slice(&timestamp.to_be_bytes());
            bytes.extend_from_slice(&relative.to_be_bytes());
        }
        bytes
    }

    /// Reads files that cover the first `size` bytes of a segment; `None` if they cannot be right.
    pub(crate) fn load(positions: &Path, times: &Path, size: u64) -> Option<Self> {
        let (positions, times) = (fs::read(positions).ok()?, fs::read(times).ok()?);
        if positions.len() % POSITION_ENTRY != 0 || times.len() % TIME_ENTRY != 0 {
            return None;
        }
        let positions: Vec<_> = positions
            .chunks_exact(POSITION_ENTRY)
            .map(position_entry)
            .collect();
        let times: Vec<_> = times.chunks_exact(TIME_ENTRY).map(time_entry).collect();
        let rising = positions
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1)
            && times
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let inside = positions.last().is_none_or(|last| u64::from(last.1) < size);
        if !rising || !inside || (size > 0 && times.is_empty()) {
            return None;
        }
        let covered = positions.last().map_or(0, |last| u64::from(last.1));
        let latest = times.last().copied();
        Some(Self {
            positions,
            times,
            bytes_since_entry: size - covered,
            latest,
        })
    }
}

/// The files of a sealed segment.
#[derive(Debug)]
pub(crate) struct DiskIndex {
    positions: LogFile,
    position_count: usize,
    times: LogFile,
    time_count: usize,
}

impl DiskIndex {
    /// Opens both files of a segment that is not empty; `None` if one is missing or has an impossible size.
    pub(crate) fn open(positions: &Path, times: &Path) -> Option<Self> {
        let (positions, times) = (
            LogFile::open_existing(positions).ok()?,
            LogFile::open_existing(times).ok()?,
        );
        let (position_bytes, time_bytes) =
            (positions.size().ok()? as usize, times.size().ok()? as usize);
        let sound = position_bytes.is_multiple_of(POSITION_ENTRY)
            && time_bytes.is_multiple_of(TIME_ENTRY)
            && time_bytes > 0;
        sound.then_some(Self {
            positions,
            position_count: position_bytes / POSITION_ENTRY,
            times,
            time_count: time_bytes / TIME_ENTRY,
        })
    }

    /// The entry at or before `relative`, `(0, 0)` before the first.
    pub(crate) fn position(&self, relative: u32) -> io::Result<(u32, u32)> {
        floor(self.position_count, (0, 0), |n| {
            let bytes = self
                .positions
                .read_at((n * POSITION_ENTRY) as u64, POSITION_ENTRY)?;
            whole(&bytes, POSITION_ENTRY)?;
            let entry = position_entry(&bytes);
            Ok((entry, entry.0 <= relative))
        })
    }

    /// See [`MemoryIndex::before_time`].
    pub(crate) fn before_time(&self, timestamp: i64) -> io::Result<u32> {
        let entry = floor(self.time_count, (0, 0), |n| {
            let entry = self.time(n)?;
            Ok((entry, entry.0 < timestamp))
        })?;
        Ok(entry.1)
    }

    /// See [`MemoryIndex::latest`].
    pub(crate) fn latest(&self) -> io::Result<(i64, u32)> {
        self.time(self.time_count - 1)
    }

    fn time(&self, n: usize) -> io::Result<(i64, u32)> {
        let bytes = self.times.read_at((n * TIME_ENTRY) as u64, TIME_ENTRY)?;
        whole(&bytes, TIME_ENTRY)?;
        Ok(time_entry(&bytes))
    }
}

fn whole(bytes: &[u8], length: usize) -> io::Result<()> {
    if bytes.len() == length {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// The last of `count` entries for which the probe says true.
fn floor<T: Copy>(
    count: usize,
    none: T,
    mut probe: impl FnMut(usize) -> io::Result<(T, bool)>,
) -> io::Result<T> {
    let (mut low, mut high, mut found) = (0, count, none);
    while low < high {
        let middle = low + (high - low) / 2;
        match probe(middle)? {
            (entry, true) => (found, low) = (entry, middle + 1),
            (_, false) => high = middle,
        }
    }
    Ok(found)
}

fn position_entry(bytes: &[u8]) -> (u32, u32) {
    let entry: [u8; POSITION_ENTRY] = bytes.try_into().expect("chunks have the entry's length");
    let [a, b, c, d, e, f, g, h] = entry;
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}

fn time_entry(bytes: &[u8]) -> (i64, u32) {
    let (timestamp, relative) = bytes
        .split_first_chunk::<8>()
        .expect("chunks have the entry's length");
    let relative: [u8; 4] = relative.try_into().expect("chunks have the entry's length");
    (i64::from_be_bytes(*timestamp), u32::from_be_bytes(relative))
}

#[cfg(test)]
mod tests {
    use super::*;
    use log_protocol::{BatchBuilder, Compression, ProducerStamp};

    fn header(timestamp: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.append(timestamp, None, Some(&[0; 1000]), &[]);
        BatchHeader::parse(&builder.build(ProducerStamp::NONE)).expect("built")
    }

    #[test]
    fn files_answer_as_memory_does_and_load_again() {
        let mut index = MemoryIndex::default();
        let mut position = 0;
        for n in 0..200u32 {
            let header = header(1000 + i64::from(n ^ 3));
            index.add(n, position, &header, 4096);
            position += header.total_size() as u32;
        }
        let folder = tempfile::tempdir().expect("tempdir");
        let (positions, times) = (folder.path().join("a"), folder.path().join("b"));
        index.write(&positions, &times).expect("write");
        let disk = DiskIndex::open(&positions, &times).expect("open");
        for n in 0..200 {
            assert_eq!(disk.position(n).expect("read").1, index.position(n));
            let time = 1000 + i64::from(n);
            assert_eq!(
                disk.before_time(time).expect("read"),
                index.before_time(time)
            );
            // Invariant 2: nothing before the answer is as young as `time`.
            assert!((0..index.before_time(time)).all(|older| 1000 + i64::from(older ^ 3) < time));
        }
        assert_eq!(disk.latest().expect("read"), (1199, 196));
        let loaded = MemoryIndex::load(&positions, &times, u64::from(position)).expect("load");
        assert_eq!(loaded.positions, index.positions);
        assert_eq!(loaded.latest(), index.latest());
        assert_eq!(MemoryIndex::load(&positions, &times, 10), None);
        fs::write(&positions, [1, 2, 3]).expect("write");
        assert!(DiskIndex::open(&positions, &times).is_none());
    }
}
