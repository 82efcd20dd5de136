//! What is known of a partition below an offset up to which everything is on disk: where a scan after a crash begins.
//!
//! ```text
//!  0  "TWCP"
//!  4  u16  version, 2
//!  6  u16  0
//!  8  u32  bytes of the payload
//! 12  u32  CRC-32C of the payload
//! 16  i64  log start offset
//!     i64  offset below which the rest holds      i64 base offset of its segment      u64 position in it
//!     u32 n, then n × (i32 leader epoch, i64 first offset)
//!     u32 n, then n × (i64 producer id, i64 first offset, i64 marker's offset)      aborted transactions
//!     u32 n, then n × (i64 end offset, i64 ms)      below that offset compaction was through at that time
//!     producers, see `partition::ProducerStates`
//!     u32 n, then n × (i64 base offset, u64 bytes)      sealed segments; not in version 1
//! ```
//! All integers are big-endian. The file is replaced as a whole. One that is missing, cut or wrong costs a scan of the
//! whole partition, never a record. What it says was synced before it was written: files that hold less are damaged (evidence).

use std::fs;
use std::io;
use std::path::Path;

use crate::partition::{AbortedTransaction, ProducerStates};

const MAGIC: [u8; 4] = *b"TWCP";
/// The version that is written; those before it are read.
const VERSION: u16 = 2;
const HEADER: usize = 16;
const NAME: &str = "checkpoint";

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// First offset that readers may see.
    pub(crate) log_start: i64,
    /// Everything below is on disk, and in what follows.
    pub(crate) offset: i64,
    /// Segment that `offset` lies in or at the end of.
    pub(crate) segment_base: i64,
    /// Where in it.
    pub(crate) position: u64,
    /// Leader epochs and their first offsets.
    pub(crate) leader_epochs: Vec<(i32, i64)>,
    /// By marker.
    pub(crate) aborted: Vec<AbortedTransaction>,
    /// `(end offset, ms)`, rising.
    pub(crate) cleaned: Vec<(i64, i64)>,
    /// Producers and open transactions.
    pub(crate) producers: ProducerStates,
    /// Base offsets and bytes of the sealed segments that do not change any more; `None`: not known.
    pub(crate) segments: Option<Vec<(i64, u64)>>,
}

impl Checkpoint {
    /// Replaces the file in `folder`; durable when it returns.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        super::replace_file(&folder.join(NAME), &self.encode())
    }

    /// The file in `folder`, if there is a sound one.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        Self::decode(&fs::read(folder.join(NAME)).ok()?)
    }

    /// Removes the file in `folder`, durably: a start scans everything.
    pub(crate) fn remove(folder: &Path) -> io::Result<()> {
        match fs::remove_file(folder.join(NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => super::sync_folder(folder),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        put(&mut payload, self.log_start);
        put(&mut payload, self.offset);
        put(&mut payload, self.segment_base);
        payload.extend_from_slice(&self.position.to_be_bytes());
        put_count(&mut payload, self.leader_epochs.len());
        for (epoch, start) in &self.leader_epochs {
            payload.extend_from_slice(&epoch.to_be_bytes());
            put(&mut payload, *start);
        }
        put_count(&mut payload, self.aborted.len());
        for aborted in &self.aborted {
            put(&mut payload, aborted.producer_id);
            put(&mut payload, aborted.first_offset);
            put(&mut payload, aborted.last_offset);
        }
        put_count(&mut payload, self.cleaned.len());
        for (end, at) in &self.cleaned {
            put(&mut payload, *end);
            put(&mut payload, *at);
        }
        self.producers.encode(&mut payload);
        let segments = self.segments.as_deref().unwrap_or_default();
        put_count(&mut payload, segments.len());
        for (base, size) in segments {
            put(&mut payload, *base);
            payload.extend_from_slice(&size.to_be_bytes());
        }
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&payload).to_be_bytes());
        bytes.extend_from_slice(&payload);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = bytes;
        let magic = take::<4>(&mut input)?;
        let version = u16::from_be_bytes(take(&mut input)?);
        let zeros = take::<2>(&mut input)?;
        let length = u32::from_be_bytes(take(&mut input)?) as usize;
        let crc = u32::from_be_bytes(take(&mut input)?);
        if (magic, zeros) != (MAGIC, [0, 0])
            || !(1..=VERSION).contains(&version)
            || input.len() != length
            || crc32c::crc32c(input) != crc
        {
            return None;
        }
        let mut checkpoint = Self {
            log_start: number(&mut input)?,
            offset: number(&mut input)?,
            segment_base: number(&mut input)?,
            position: u64::from_be_bytes(take(&mut input)?),
            ..Self::default()
        };
        for _ in 0..count(&mut input)? {
            let epoch = i32::from_be_bytes(take(&mut input)?);
            checkpoint.leader_epochs.push((epoch, number(&mut input)?));
        }
        for _ in 0..count(&mut input)? {
            checkpoint.aborted.push(AbortedTransaction {
                producer_id: number(&mut input)?,
                first_offset: number(&mut input)?,
                last_offset: number(&mut input)?,
            });
        }
        for _ in 0..count(&mut input)? {
            checkpoint
                .cleaned
                .push((number(&mut input)?, number(&mut input)?));
        }
        checkpoint.producers = ProducerStates::decode(&mut input)?;
        if version > 1 {
            let mut segments = Vec::new();
            for _ in 0..count(&mut input)? {
                segments.push((number(&mut input)?, u64::from_be_bytes(take(&mut input)?)));
            }
            checkpoint.segments = Some(segments);
        }
        input.is_empty().then_some(checkpoint)
    }
}

fn put(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u32).to_be_bytes());
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*field)
}

fn number(input: &mut &[u8]) -> Option<i64> {
    take(input).map(i64::from_be_bytes)
}

fn count(input: &mut &[u8]) -> Option<u32> {
    take(input).map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_and_every_changed_byte_is_seen() {
        let checkpoint = Checkpoint {
            log_start: 3,
            offset: 99,
            segment_base: 50,
            position: 1234,
            leader_epochs: vec![(0, 0), (4, 60)],
            aborted: vec![AbortedTransaction {
                producer_id: 7,
                first_offset: 10,
                last_offset: 20,
            }],
            cleaned: vec![(50, 1_000)],
            producers: ProducerStates::default(),
            segments: Some(vec![(0, 77), (30, 5)]),
        };
        let bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint));
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x10;
            assert_eq!(Checkpoint::decode(&wrong), None, "byte {at}");
            assert_eq!(Checkpoint::decode(&bytes[..at]), None);
        }
    }

    #[test]
    fn a_checkpoint_of_version_1_says_nothing_of_its_segments() {
        let checkpoint = Checkpoint {
            offset: 9,
            segments: Some(Vec::new()),
            ..Checkpoint::default()
        };
        let mut bytes = checkpoint.encode();
        bytes.truncate(bytes.len() - 4);
        bytes[5] = 1;
        let length = (bytes.len() - HEADER) as u32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[HEADER..]);
        bytes[12..16].copy_from_slice(&crc.to_be_bytes());
        let expected = Checkpoint {
            segments: None,
            ..checkpoint
        };
        assert_eq!(Checkpoint::decode(&bytes), Some(expected));
        bytes[5] = 3;
        assert_eq!(Checkpoint::decode(&bytes), None);
    }
}
