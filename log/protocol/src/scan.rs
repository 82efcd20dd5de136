//! Records that are looked at one after the other and not kept: what a log has to know of them before it takes their batch.
//!
//! ```text
//! compressed content ─▶ decoder ─▶ window ─▶ lengths, times, offsets, keys or none; what the parts hold is passed over
//! ```
//!
//! Invariants:
//! 1. However much the content decompresses to, it takes a window of memory and what the decoder keeps, which is bounded.
//! 2. What is sound to [`RecordIter`](crate::RecordIter) is sound here, and nothing else.

use std::io::Read;

use crate::batch::BatchError;
use crate::compression::{Compression, CompressionError};
use crate::primitive::{unzigzag32, unzigzag64};
use crate::record::RecordBase;

/// What of the content is in memory at a time.
const WINDOW_BYTES: usize = 32 << 10;

/// What is to be known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordFacts {
    /// Its place in the partition.
    pub offset: i64,
    /// Ms since 1970 UTC: the producer's time, or the broker's for a batch with log append time.
    pub timestamp: i64,
    /// Whether it has a key.
    pub has_key: bool,
}

/// Looks at the records of one batch in order.
pub struct RecordScan<'a> {
    content: Window<'a>,
    base: RecordBase,
    index: usize,
    count: usize,
}

impl<'a> RecordScan<'a> {
    pub(crate) fn new(
        codec: Compression,
        content: &'a [u8],
        content_max: usize,
        base: RecordBase,
        count: usize,
    ) -> Result<Self, CompressionError> {
        Ok(Self {
            content: Window {
                from: codec.reader(content, content_max)?,
                codec,
                buffer: vec![0; WINDOW_BYTES].into_boxed_slice(),
                start: 0,
                end: 0,
                left: content_max,
            },
            base,
            index: 0,
            count,
        })
    }

    fn look(&mut self) -> Result<RecordFacts, Stop> {
        let mut record = Parts {
            content: &mut self.content,
            left: usize::MAX,
        };
        let length = record.varint("length is cut off")?;
        record.left = usize::try_from(length).map_err(|_| Stop::Record("length is negative"))?;
        // The attributes are unused; readers pass over them.
        record.skip(1, "timestamp is malformed")?;
        let timestamp_delta = record.varlong("timestamp is malformed")?;
        let offset_delta = record.varint("offset is malformed")?;
        let has_key = record.part()?;
        record.part()?;
        let headers = record.varint("header count is malformed")?;
        if headers < 0 {
            return Err(Stop::Record("header count is negative"));
        }
        for _ in 0..headers {
            if !record.part()? {
                return Err(Stop::Record("header key is null"));
            }
            record.part()?;
        }
        if record.left > 0 {
            return Err(Stop::Record("record is longer than its parts"));
        }
        let time = self.base.timestamp.wrapping_add(timestamp_delta);
        Ok(RecordFacts {
            offset: self.base.offset.wrapping_add(i64::from(offset_delta)),
            timestamp: self.base.append_time.unwrap_or(time),
            has_key,
        })
    }
}

impl Iterator for RecordScan<'_> {
    type Item = Result<RecordFacts, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.count {
            return match self.content.pass_over_rest() {
                Ok(0) => None,
                Ok(left) => Some(Err(BatchError::TrailingBytes { left })),
                Err(error) => Some(Err(error.into())),
            };
        }
        let index = self.index;
        self.index += 1;
        let looked = self.look().map_err(|stop| {
            self.index = self.count;
            self.content.end();
            match stop {
                Stop::Record(reason) => BatchError::Record { index, reason },
                Stop::Content(error) => error.into(),
            }
        });
        Some(looked)
    }
}

/// Why a record cannot be read.
enum Stop {
    Record(&'static str),
    Content(CompressionError),
}

impl From<CompressionError> for Stop {
    fn from(error: CompressionError) -> Self {
        Self::Content(error)
    }
}

/// The parts of a record, inside of its length.
struct Parts<'w, 'a> {
    content: &'w mut Window<'a>,
    left: usize,
}

impl Parts<'_, '_> {
    fn varint(&mut self, reason: &'static str) -> Result<i32, Stop> {
        let value = self.unsigned(5, reason)?;
        let value = u32::try_from(value).map_err(|_| Stop::Record(reason))?;
        Ok(unzigzag32(value))
    }

    fn varlong(&mut self, reason: &'static str) -> Result<i64, Stop> {
        self.unsigned(10, reason).map(unzigzag64)
    }

    fn unsigned(&mut self, bytes_max: u32, reason: &'static str) -> Result<u64, Stop> {
        let mut value = 0;
        for place in 0..bytes_max {
            let byte = match self.left {
                0 => None,
                _ => self.content.byte()?,
            };
            let byte = byte.ok_or(Stop::Record(reason))?;
            self.left -= 1;
            let bits = u64::from(byte & 0x7f);
            // The last byte of ten has room for one bit.
            if place == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Stop::Record(reason))
    }

    /// Passes over a part; false if it is null.
    fn part(&mut self) -> Result<bool, Stop> {
        let length = self.varint("length of a part is malformed")?;
        if length == -1 {
            return Ok(false);
        }
        let length = usize::try_from(length);
        let length = length.map_err(|_| Stop::Record("length of a part is negative"))?;
        self.skip(length, "part is cut off")?;
        Ok(true)
    }

    fn skip(&mut self, bytes: usize, reason: &'static str) -> Result<(), Stop> {
        self.left = self.left.checked_sub(bytes).ok_or(Stop::Record(reason))?;
        if self.content.skip(bytes)? {
            Ok(())
        } else {
            Err(Stop::Record(reason))
        }
    }
}

/// What of the content is in memory.
struct Window<'a> {
    from: Box<dyn Read + 'a>,
    codec: Compression,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// What more the content may hold.
    left: usize,
}

impl Window<'_> {
    /// Whether there is something in the window, or could be brought there.
    fn has_more(&mut self) -> Result<bool, CompressionError> {
        if self.start < self.end {
            return Ok(true);
        }
        let read = self.from.read(&mut self.buffer);
        let read = read.map_err(|error| self.codec.corrupt(error))?;
        self.left = match self.left.checked_sub(read) {
            Some(left) => left,
            None => return Err(self.codec.too_large(self.left)),
        };
        (self.start, self.end) = (0, read);
        Ok(read > 0)
    }

    fn byte(&mut self) -> Result<Option<u8>, CompressionError> {
        if !self.has_more()? {
            return Ok(None);
        }
        let byte = self.buffer[self.start];
        self.start += 1;
        Ok(Some(byte))
    }

    /// Passes over bytes; false if there are fewer.
    fn skip(&mut self, mut bytes: usize) -> Result<bool, CompressionError> {
        while bytes > 0 {
            if !self.has_more()? {
                return Ok(false);
            }
            let step = bytes.min(self.end - self.start);
            self.start += step;
            bytes -= step;
        }
        Ok(true)
    }

    /// Passes over all that is left, and tells how much it was.
    fn pass_over_rest(&mut self) -> Result<usize, CompressionError> {
        let mut rest = 0;
        while self.has_more()? {
            rest += self.end - self.start;
            self.start = self.end;
        }
        Ok(rest)
    }

    /// Nothing more is read.
    fn end(&mut self) {
        self.from = Box::new(std::io::empty());
        self.start = self.end;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::batch::{BATCH_HEADER_BYTES, Batch, BatchBuilder, ProducerStamp};

    const CONTENT_MAX: usize = 8 << 20;

    fn facts(batch: &Batch) -> Result<Vec<RecordFacts>, BatchError> {
        batch.scan(CONTENT_MAX)?.collect()
    }

    fn read(batch: &Batch) -> Result<Vec<RecordFacts>, BatchError> {
        let records = batch.records(CONTENT_MAX)?;
        let facts = records.map(|record| {
            record.map(|record| RecordFacts {
                offset: record.offset,
                timestamp: record.timestamp,
                has_key: record.key.is_some(),
            })
        });
        facts.collect()
    }

    fn random_batch(random: &mut fastrand::Rng, codec: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        for _ in 0..random.usize(1..60) {
            let key: Option<Vec<u8>> = random.bool().then(|| vec![b'k'; random.usize(..40)]);
            let length = random.usize(..3) * random.usize(..40_000);
            let value: Option<Vec<u8>> = random.bool().then(|| vec![b'v'; length]);
            let headers: &[(&str, Option<&[u8]>)] = match random.u8(..3) {
                0 => &[("a", None), ("b", Some(b"x"))],
                _ => &[],
            };
            let time = 1_700_000_000_000 + random.i64(-5..5_000_000);
            builder.append(time, key.as_deref(), value.as_deref(), headers);
        }
        builder.build(ProducerStamp::NONE).to_vec()
    }

    #[test]
    fn a_scan_sees_what_a_reader_sees_in_sound_and_in_damaged_batches() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for round in 0..600 {
            let codec = Compression::ALL[round % Compression::ALL.len()];
            let mut bytes = random_batch(&mut random, codec);
            let is_damaged = round >= 100;
            if is_damaged {
                let place = random.usize(BATCH_HEADER_BYTES..bytes.len());
                bytes[place] ^= 1 << random.u8(..8);
            }
            let batch = Batch::parse(&Bytes::from(bytes)).expect("a header");
            match (facts(&batch), read(&batch)) {
                (Ok(scanned), Ok(read)) => assert_eq!(scanned, read, "round {round}"),
                (Err(_), Err(_)) if is_damaged => {}
                (scanned, read) => panic!("round {round}, {codec}: {scanned:?}, {read:?}"),
            }
        }
    }

    #[test]
    fn content_beyond_the_limit_is_refused_however_small_its_batch() {
        for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
            let mut builder = BatchBuilder::new(codec);
            builder.append(0, None, Some(&vec![0; CONTENT_MAX]), &[]);
            let batch = Batch::parse(&builder.build(ProducerStamp::NONE)).expect("a batch");
            assert!(batch.bytes().len() < 60_000, "{codec}");
            let refused = facts(&batch).expect_err("too large");
            let is_too_large = matches!(
                refused,
                BatchError::Compression(CompressionError::TooLarge { .. })
            );
            assert!(is_too_large, "{codec}: {refused}");
        }
    }
}
