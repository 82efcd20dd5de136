//! Changelog blocks: one commit's delta as records of `_thalweg.<job>.changelog`, version 2. Each token has a partition of its
//! own, and writes to it with every commit, be its delta empty.
//!
//! ```text
//! record   key    "0"                                the token's number
//!          value  "TWCL" [version u8 = 2][kind u8: 0 = delta][commit varint][part varint][parts varint]
//!                 [header][entries]
//! header   [length varint][commit varint][sink][n varint] n × source;      in part 0 only, else length 0
//! sink     [topic id, 16 bytes; zeros: not known][partitions varint]
//! source   [operator varint][topic: length varint, bytes][topic id, 16 bytes; zeros: not known]
//!          [event time of the source, µs: 0, or 1 and zigzag]
//!          [n varint] n × ([partition varint][next offset zigzag][its watermark, µs: 0, or 1 and zigzag])
//! entry    [shared varint][rest of the key: length varint, bytes][value: 0 = deleted, length + 1, bytes]
//!          `shared` = how many bytes the key has in common with the key before it in this part
//! ```
//!
//! Invariants:
//! 1. The parts `0..parts` of a commit lie one behind the other: they were written in one transaction.
//! 2. Keys rise strictly over all parts of a commit.
//! 3. Every part but one that holds a single large entry is at most [`BLOCK_BYTES_TARGET`] long, give or take one
//!    entry.

use uuid::Uuid;

use super::row::{push_bytes, push_varint, push_zigzag, read_bytes, read_varint, read_zigzag};
use super::{Delta, StateError};

/// A part is closed once it has this many bytes; far below `max.message.bytes` of the topic.
pub(crate) const BLOCK_BYTES_TARGET: usize = 512 << 10;
/// The largest key and value together that a block takes; a row that makes a larger one becomes a row error.
pub(crate) const ENTRY_BYTES_MAX: usize = 7 << 20;

const MAGIC: &[u8; 4] = b"TWCL";
const VERSION: u8 = 2;
/// The one kind of block so far.
const DELTA: u8 = 0;

/// What a commit says besides its delta.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// Where the output goes.
    pub(crate) sink: SinkPlace,
    /// How far each source has read.
    pub(crate) sources: Vec<SourcePosition>,
}

/// The topic that the output goes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SinkPlace {
    /// Which topic of its name; nil: not known.
    pub(crate) topic_id: Uuid,
    /// Over how many partitions keys are spread. That does not follow the topic, or a key would have a row in two.
    pub(crate) partitions: i32,
}

/// How far one source has read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourcePosition {
    /// The source's operator: a plan may read a topic twice.
    pub(crate) operator: u16,
    /// Its topic.
    pub(crate) topic: String,
    /// Which topic of that name; nil: not known.
    pub(crate) topic_id: Uuid,
    /// Event time over its partitions, µs; the clock may have taken it further than any of them.
    pub(crate) event_time: Option<i64>,
    /// Number, next offset, watermark (µs) of each partition.
    pub(crate) partitions: Vec<(i32, i64, Option<i64>)>,
}

/// One part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// Number of the commit.
    pub(crate) commit: u64,
    /// Which part this is, from 0.
    pub(crate) part: u64,
    /// Of how many.
    pub(crate) parts: u64,
    /// The header's bytes; empty but in part 0.
    pub(crate) header: Vec<u8>,
    /// The entries.
    pub(crate) delta: Delta,
}

fn corrupt(reason: impl Into<String>) -> StateError {
    StateError::Corrupt {
        what: "changelog block",
        reason: reason.into(),
    }
}

fn push_time(time: Option<i64>, out: &mut Vec<u8>) {
    match time {
        None => out.push(0),
        Some(time) => {
            out.push(1);
            push_zigzag(time, out);
        }
    }
}

fn read_time(bytes: &mut &[u8]) -> Result<Option<i64>, StateError> {
    match read_varint(bytes)? {
        0 => Ok(None),
        1 => read_zigzag(bytes).map(Some),
        _ => Err(corrupt("a time starts with neither 0 nor 1")),
    }
}

fn read_id(bytes: &mut &[u8]) -> Result<Uuid, StateError> {
    let (id, rest) = bytes
        .split_first_chunk::<16>()
        .ok_or_else(|| corrupt("a topic's id ends too early"))?;
    *bytes = rest;
    Ok(Uuid::from_bytes(*id))
}

impl BlockHeader {
    /// What token `token` of `tokens` says of a commit: how far the partitions are that are its own by number.
    pub(crate) fn part(&self, token: usize, tokens: usize) -> Self {
        let is_own = |partition: i32| partition.unsigned_abs() as usize % tokens == token;
        let sources = self.sources.iter().map(|source| {
            let own = source.partitions.iter();
            SourcePosition {
                partitions: own
                    .filter(|(number, ..)| is_own(*number))
                    .copied()
                    .collect(),
                ..source.clone()
            }
        });
        Self {
            sink: self.sink,
            sources: sources.collect(),
        }
    }

    /// What all tokens say of a commit together.
    pub(crate) fn whole(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut whole = Self::default();
        for part in parts {
            whole.sink = part.sink;
            for source in part.sources {
                let known = whole.sources.iter_mut();
                let known = known
                    .into_iter()
                    .find(|known| known.operator == source.operator);
                match known {
                    Some(known) => known.partitions.extend(source.partitions),
                    None => whole.sources.push(source),
                }
            }
        }
        for source in &mut whole.sources {
            source
                .partitions
                .sort_unstable_by_key(|(number, ..)| *number);
        }
        whole
    }

    /// The header's bytes: commit number first, so that a store's tag is complete in itself.
    pub(crate) fn encode(&self, commit: u64) -> Vec<u8> {
        let mut out = Vec::new();
        push_varint(commit, &mut out);
        out.extend_from_slice(self.sink.topic_id.as_bytes());
        push_varint(u64::from(self.sink.partitions.unsigned_abs()), &mut out);
        push_varint(self.sources.len() as u64, &mut out);
        for source in &self.sources {
            push_varint(u64::from(source.operator), &mut out);
            push_bytes(source.topic.as_bytes(), &mut out);
            out.extend_from_slice(source.topic_id.as_bytes());
            push_time(source.event_time, &mut out);
            push_varint(source.partitions.len() as u64, &mut out);
            for (partition, offset, watermark) in &source.partitions {
                push_varint(u64::from(partition.unsigned_abs()), &mut out);
                push_zigzag(*offset, &mut out);
                push_time(*watermark, &mut out);
            }
        }
        out
    }

    /// Reads a header; gives the commit's number with it.
    ///
    /// # Errors
    /// [`StateError::Corrupt`].
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<(u64, Self), StateError> {
        let bytes = &mut bytes;
        let commit = read_varint(bytes)?;
        let sink = SinkPlace {
            topic_id: read_id(bytes)?,
            partitions: i32::try_from(read_varint(bytes)?)
                .map_err(|_| corrupt("the number of partitions is too large"))?,
        };
        let mut header = Self {
            sink,
            sources: Vec::new(),
        };
        for _ in 0..read_varint(bytes)? {
            let operator = u16::try_from(read_varint(bytes)?)
                .map_err(|_| corrupt("an operator's number is too large"))?;
            let topic = std::str::from_utf8(read_bytes(bytes)?)
                .map_err(|_| corrupt("a topic's name is no UTF-8"))?
                .to_owned();
            let topic_id = read_id(bytes)?;
            let event_time = read_time(bytes)?;
            let mut partitions = Vec::new();
            for _ in 0..read_varint(bytes)? {
                let partition = i32::try_from(read_varint(bytes)?)
                    .map_err(|_| corrupt("a partition's number is too large"))?;
                partitions.push((partition, read_zigzag(bytes)?, read_time(bytes)?));
            }
            header.sources.push(SourcePosition {
                operator,
                topic,
                topic_id,
                event_time,
                partitions,
            });
        }
        if !bytes.is_empty() {
            return Err(corrupt("bytes follow the header"));
        }
        Ok((commit, header))
    }
}

/// The values of a commit's changelog records, in order; at least one, also for an empty delta.
pub(crate) fn encode_blocks(commit: u64, header: &[u8], delta: &Delta) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = vec![Vec::new()];
    let mut previous: &[u8] = &[];
    for (key, value) in &delta.entries {
        let size = key.len() + value.as_ref().map_or(0, Vec::len);
        let body = bodies.last_mut().expect("there is one from the start");
        let body = if !body.is_empty() && body.len() + size > BLOCK_BYTES_TARGET {
            previous = &[];
            bodies.push(Vec::with_capacity(BLOCK_BYTES_TARGET.max(size + 64)));
            bodies.last_mut().expect("pushed above")
        } else {
            body
        };
        let shared = previous
            .iter()
            .zip(key)
            .take_while(|(left, right)| left == right)
            .count();
        push_varint(shared as u64, body);
        push_bytes(&key[shared..], body);
        match value {
            None => push_varint(0, body),
            Some(value) => {
                push_varint(value.len() as u64 + 1, body);
                body.extend_from_slice(value);
            }
        }
        previous = key;
    }
    let parts = bodies.len() as u64;
    bodies
        .into_iter()
        .enumerate()
        .map(|(part, body)| {
            let header = if part == 0 { header } else { &[] };
            let mut out = Vec::with_capacity(body.len() + header.len() + 32);
            out.extend_from_slice(MAGIC);
            out.extend_from_slice(&[VERSION, DELTA]);
            push_varint(commit, &mut out);
            push_varint(part as u64, &mut out);
            push_varint(parts, &mut out);
            push_bytes(header, &mut out);
            out.extend_from_slice(&body);
            out
        })
        .collect()
}

impl Block {
    /// Reads the value of one changelog record.
    ///
    /// # Errors
    /// [`StateError::Corrupt`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| corrupt("it does not start with TWCL"))?;
        let (&[version, kind], mut rest) = rest
            .split_first_chunk()
            .ok_or_else(|| corrupt("it ends too early"))?;
        if version < VERSION {
            return Err(corrupt(format!(
                "it has version {version}, this program knows {VERSION}: an older program wrote it; drop the view and make it again"
            )));
        }
        if version > VERSION || kind != DELTA {
            return Err(corrupt(format!(
                "it has version {version} and kind {kind}, this program knows {VERSION} and {DELTA}: a newer program wrote it"
            )));
        }
        let bytes = &mut rest;
        let commit = read_varint(bytes)?;
        let part = read_varint(bytes)?;
        let parts = read_varint(bytes)?;
        if part >= parts {
            return Err(corrupt(format!("it is part {part} of {parts}")));
        }
        let header = read_bytes(bytes)?.to_vec();
        let mut entries: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        while !bytes.is_empty() {
            let previous: &[u8] = entries.last().map_or(&[], |(key, _)| key);
            let shared = usize::try_from(read_varint(bytes)?).unwrap_or(usize::MAX);
            let mut key = previous
                .get(..shared)
                .ok_or_else(|| corrupt("a key shares more than there is"))?
                .to_vec();
            key.extend_from_slice(read_bytes(bytes)?);
            if !entries.is_empty() && *previous >= *key {
                return Err(corrupt("keys do not rise"));
            }
            let value = match read_varint(bytes)? {
                0 => None,
                length => {
                    let length = usize::try_from(length - 1)
                        .map_err(|_| corrupt("a length is too large"))?;
                    Some(super::row::read_exact(length, bytes)?.to_vec())
                }
            };
            entries.push((key, value));
        }
        Ok(Self {
            commit,
            part,
            parts,
            header,
            delta: Delta { entries },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BlockHeader {
        BlockHeader {
            sink: SinkPlace {
                topic_id: Uuid::from_u128(9),
                partitions: 4,
            },
            sources: vec![SourcePosition {
                operator: 2,
                topic: "flights".to_owned(),
                topic_id: Uuid::from_u128(7),
                event_time: None,
                partitions: vec![(3, 17, Some(-1))],
            }],
        }
    }

    /// These bytes are in logs: a change here is a new version.
    #[test]
    fn golden_vector() {
        let delta = Delta {
            entries: vec![
                (b"aab".to_vec(), Some(b"x".to_vec())),
                (b"aac".to_vec(), None),
                (b"b".to_vec(), Some(vec![])),
            ],
        };
        let blocks = encode_blocks(5, &header().encode(5), &delta);
        assert_eq!(blocks.len(), 1);
        let hex: String = blocks[0].iter().map(|byte| format!("{byte:02x}")).collect();
        let header = [
            "05",
            "00000000000000000000000000000009",
            "04",
            "01",
            "02",
            "07666c6967687473",
            "00000000000000000000000000000007",
            "00",
            "01",
            "03",
            "22",
            "0101",
        ];
        let entries = [
            "00", "03616162", "02", "78", "02", "0163", "00", "00", "0162", "01",
        ];
        assert_eq!(
            hex,
            format!(
                "5457434c0200050001{:02x}{}{}",
                50,
                header.concat(),
                entries.concat()
            )
        );
        assert_eq!(
            BlockHeader::decode(&Block::decode(&blocks[0]).unwrap().header).unwrap(),
            (5, self::header())
        );
    }

    #[test]
    fn large_deltas_are_split_and_numbered() {
        let entries = (0..4000u32)
            .map(|n| {
                (
                    n.to_be_bytes().to_vec(),
                    (n % 7 != 0).then(|| vec![n as u8; 300]),
                )
            })
            .collect();
        let delta = Delta { entries };
        let values = encode_blocks(9, &header().encode(9), &delta);
        assert!(values.len() > 1);
        let mut read = Vec::new();
        for (part, value) in values.iter().enumerate() {
            assert!(value.len() <= BLOCK_BYTES_TARGET + 1024);
            let block = Block::decode(value).unwrap();
            assert_eq!(
                (block.commit, block.part, block.parts),
                (9, part as u64, values.len() as u64)
            );
            assert_eq!(block.header.is_empty(), part > 0);
            read.extend(block.delta.entries);
        }
        assert_eq!(read, delta.entries);
    }

    #[test]
    fn an_empty_delta_is_a_header() {
        let values = encode_blocks(1, &header().encode(1), &Delta::default());
        assert_eq!(values.len(), 1);
        assert!(Block::decode(&values[0]).unwrap().delta.entries.is_empty());
    }

    #[test]
    fn torn_blocks_are_errors() {
        let delta = Delta {
            entries: vec![(b"aab".to_vec(), Some(b"xyz".to_vec()))],
        };
        let whole = &encode_blocks(5, &header().encode(5), &delta)[0];
        for end in 0..whole.len() {
            // Cut right behind the header, a block is a whole block without entries.
            if let Ok(block) = Block::decode(&whole[..end]) {
                assert!(block.delta.entries.is_empty());
            }
        }
        let mut newer = whole.clone();
        let reason = |bytes: &[u8]| Block::decode(bytes).unwrap_err().to_string();
        newer[4] = 3;
        assert!(reason(&newer).contains("newer program"));
        newer[4] = 1;
        assert!(reason(&newer).contains("older program"));
        newer[4..6].copy_from_slice(&[2, 1]);
        assert!(reason(&newer).contains("kind 1"));
        for seed in 0..200u64 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut bytes = whole.clone();
            for _ in 0..3 {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            let _ = Block::decode(&bytes).map(|block| BlockHeader::decode(&block.header));
        }
    }
}
