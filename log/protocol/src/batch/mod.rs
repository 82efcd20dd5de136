//! Record batch v2: the unit that producers send, the log stores and consumers fetch, the same bytes all the way.
//!
//! ```text
//!  0  i64  base offset            ─┐ outside the CRC: the leader patches
//!  8  i32  length of what follows  │ base offset and leader epoch in place
//! 12  i32  leader epoch            │
//! 16  i8   magic, 2                │
//! 17  u32  CRC-32C of byte 21 on  ─┘
//! 21  i16  attributes: bits 0-2 compression, 3 log append time, 4 transactional, 5 control
//! 23  i32  last offset - base offset
//! 27  i64  base timestamp (ms)
//! 35  i64  max timestamp (ms)
//! 43  i64  producer id, -1 = none
//! 51  i16  producer epoch
//! 53  i32  base sequence
//! 57  i32  number of records
//! 61       records, compressed as a whole
//! ```
//!
//! A control batch holds one record that ends a transaction: key `i16 version 0, i16 type (0 abort, 1 commit)`, value `i16 version 0, i32 coordinator epoch`.
//!
//! Invariants:
//! 1. A [`Batch`] has a header of magic 2 and exactly the bytes that its length announces.
//! 2. Nothing here panics on foreign bytes; counts and lengths are believed only as far as bytes are there.
//! 3. What [`BatchBuilder`] builds passes [`Batch::validate`] and [`Batch::validate_records`].
//!
//! Follows KIP-98 and `org.apache.kafka.common.record.DefaultRecordBatch`.

use bytes::Bytes;

use crate::compression::{Compression, CompressionError};
use crate::record::{RecordBase, RecordIter, RecordParts};
use crate::scan::RecordScan;

/// Bytes before the first record.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Bytes before the part that the length field counts.
const LENGTH_END: usize = 12;
const LEADER_EPOCH: usize = 12;
const MAGIC: usize = 16;
const CRC: usize = 17;
/// Where the part begins that the CRC covers.
const ATTRIBUTES: usize = 21;
const MAX_TIMESTAMP: usize = 35;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// Why bytes are not a sound batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// There are fewer bytes than a header, or than the header announces.
    #[error("batch is cut off: {needed} bytes needed, {left} left")]
    Truncated {
        /// Bytes that the batch takes.
        needed: usize,
        /// Bytes that there are.
        left: usize,
    },
    /// A message set of before Kafka 0.11, or no batch at all.
    #[error("batch has magic {0}, only 2 is supported")]
    Magic(i8),
    /// The length field is smaller than a header.
    #[error("batch length {0} is smaller than a header")]
    Length(i32),
    /// The bytes were changed on their way.
    #[error(
        "batch at offset {base_offset} has CRC {actual:#010x}, its header says {expected:#010x}"
    )]
    Crc {
        /// The batch's base offset.
        base_offset: i64,
        /// What the header says.
        expected: u32,
        /// What its bytes give.
        actual: u32,
    },
    /// A compression code that stands for no codec.
    #[error("batch has unknown compression code {0}")]
    Codec(i16),
    /// The header's fields contradict each other.
    #[error("batch at offset {base_offset} is malformed: {reason}")]
    Header {
        /// The batch's base offset.
        base_offset: i64,
        /// Which rule they break.
        reason: &'static str,
    },
    /// A record's bytes are malformed or break a rule.
    #[error("record {index} of the batch is malformed: {reason}")]
    Record {
        /// The record's place in the batch, from 0.
        index: usize,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// There is more after the last record.
    #[error("{left} bytes follow the last record of the batch")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
    /// The content cannot be decompressed within the limit.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

/// Whose time a batch's records bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The broker's, when it appended the batch.
    LogAppendTime,
}

/// The fixed part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes after the length field.
    pub batch_length: i32,
    /// Epoch of the leader that appended it; -1 before that.
    pub partition_leader_epoch: i32,
    /// Always 2.
    pub magic: i8,
    /// CRC-32C from the attributes on.
    pub crc: u32,
    /// Flags, see the module's picture.
    pub attributes: i16,
    /// Offset of the last record less `base_offset`.
    pub last_offset_delta: i32,
    /// Ms since 1970 UTC: what the records' timestamps are relative to.
    pub base_timestamp: i64,
    /// Ms since 1970 UTC: the latest of the records' timestamps.
    pub max_timestamp: i64,
    /// The idempotent producer, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// How many records there are; 0 for a batch that compaction emptied.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`.
    ///
    /// # Errors
    /// If there are fewer than 61 bytes, the magic is not 2, or the length is smaller than a header.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if let Some(&magic) = bytes.get(MAGIC)
            && magic != 2
        {
            return Err(BatchError::Magic(magic as i8));
        }
        let Some(header) = bytes.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Err(BatchError::Truncated {
                needed: BATCH_HEADER_BYTES,
                left: bytes.len(),
            });
        };
        let header = Self {
            base_offset: i64::from_be_bytes(part(header, 0)),
            batch_length: i32::from_be_bytes(part(header, 8)),
            partition_leader_epoch: i32::from_be_bytes(part(header, LEADER_EPOCH)),
            magic: i8::from_be_bytes(part(header, MAGIC)),
            crc: u32::from_be_bytes(part(header, CRC)),
            attributes: i16::from_be_bytes(part(header, ATTRIBUTES)),
            last_offset_delta: i32::from_be_bytes(part(header, 23)),
            base_timestamp: i64::from_be_bytes(part(header, 27)),
            max_timestamp: i64::from_be_bytes(part(header, MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(part(header, 43)),
            producer_epoch: i16::from_be_bytes(part(header, 51)),
            base_sequence: i32::from_be_bytes(part(header, 53)),
            record_count: i32::from_be_bytes(part(header, 57)),
        };
        if header.batch_length < (BATCH_HEADER_BYTES - LENGTH_END) as i32 {
            return Err(BatchError::Length(header.batch_length));
        }
        Ok(header)
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// If the code stands for none.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        let code = self.attributes & CODEC_MASK;
        Compression::from_code(code).ok_or(BatchError::Codec(code))
    }

    /// Whether the records belong to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether this ends a transaction instead of holding records.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether an idempotent producer wrote it.
    pub fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Offset of the record after the last one.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// Sequence number of the last record: sequences go from `i32::MAX` on to 0. -1 without a producer.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        ((i64::from(self.base_sequence) + i64::from(self.last_offset_delta)) & i64::from(i32::MAX))
            as i32
    }

    /// Whose time the records bear.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// As a producer's batch is read whatever its flags say: each record with the time that it bears itself.
    pub fn with_create_time(self) -> Self {
        Self {
            attributes: self.attributes & !LOG_APPEND_TIME,
            ..self
        }
    }

    /// Bytes of the whole batch, header included.
    pub fn total_size(&self) -> usize {
        self.batch_length as usize + LENGTH_END
    }

    /// The rules that a producer's batch keeps, but for an epoch below -1, as far as the header shows them (`LogValidator.validateBatch`): records, contiguous offsets, a known codec, and
    /// producer fields that agree with each other.
    ///
    /// # Errors
    /// [`BatchError::Header`] or [`BatchError::Codec`].
    pub fn validate(&self) -> Result<(), BatchError> {
        let reason = if self.record_count <= 0 {
            "it has no records"
        } else if self.last_offset_delta != self.record_count - 1 {
            "its last offset does not match its number of records"
        } else if self.has_producer() && self.producer_epoch == -1 {
            "it has a producer id without a producer epoch"
        } else if self.has_producer() && self.base_sequence < 0 && !self.is_control() {
            "it has a producer id without a sequence number"
        } else if self.is_transactional() && !self.has_producer() {
            "it is transactional without a producer id"
        } else {
            return self.compression().map(|_| ());
        };
        Err(BatchError::Header {
            base_offset: self.base_offset,
            reason,
        })
    }
}

fn part<const N: usize>(header: &[u8; BATCH_HEADER_BYTES], start: usize) -> [u8; N] {
    *header[start..]
        .first_chunk()
        .expect("every field ends inside the header")
}

/// One batch: its header, read, and all of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The fixed part.
    pub header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Reads the batch at the front of `bytes`; what follows it is left aside.
    ///
    /// # Errors
    /// As [`BatchHeader::parse`], and [`BatchError::Truncated`] if the batch is longer than `bytes`.
    pub fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let needed = header.total_size();
        if needed > bytes.len() {
            return Err(BatchError::Truncated {
                needed,
                left: bytes.len(),
            });
        }
        Ok(Self {
            header,
            bytes: bytes.slice(..needed),
        })
    }

    /// All bytes of the batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Compares the CRC with the bytes.
    ///
    /// # Errors
    /// [`BatchError::Crc`] if they differ.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let actual = crc32c::crc32c(&self.bytes[ATTRIBUTES..]);
        if actual == self.header.crc {
            return Ok(());
        }
        Err(BatchError::Crc {
            base_offset: self.header.base_offset,
            expected: self.header.crc,
            actual,
        })
    }

    /// The rules for a producer's batch that need no decompression: [`BatchHeader::validate`] and the CRC.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), BatchError> {
        self.header.validate()?;
        self.verify_crc()
    }

    /// Walks the records of a producer's batch: each well formed, offsets contiguous from the base, no byte left over.
    ///
    /// # Errors
    /// [`BatchError::Record`] with the first record that breaks a rule, or what [`Batch::records`] says.
    pub fn validate_records(&self, max_decompressed: usize) -> Result<(), BatchError> {
        let mut records = self.records(max_decompressed)?;
        let mut index = 0;
        while let Some(span) = records.next_span() {
            if span?.offset != self.header.base_offset.wrapping_add(index as i64) {
                return Err(BatchError::Record {
                    index,
                    reason: "offsets are not contiguous",
                });
            }
            index += 1;
        }
        Ok(())
    }

    /// The records. Those of an uncompressed batch are read where they are; others are decompressed once, to `max_decompressed` bytes at the most.
    ///
    /// # Errors
    /// If the codec is unknown, the count negative, or the content corrupt or too large.
    pub fn records(&self, max_decompressed: usize) -> Result<RecordIter, BatchError> {
        let (base, count) = self.record_base()?;
        let (buffer, position) = match self.header.compression()? {
            Compression::None => (self.bytes.clone(), BATCH_HEADER_BYTES),
            // An empty batch, as compaction leaves it behind, has no stream to decompress.
            _ if count == 0 => (Bytes::new(), 0),
            codec => (
                codec.decompress(&self.bytes[BATCH_HEADER_BYTES..], max_decompressed)?,
                0,
            ),
        };
        Ok(RecordIter::new(buffer, position, base, count))
    }

    /// The records, looked at one after the other: compressed content is not kept, and refused beyond `max_decompressed` bytes.
    ///
    /// # Errors
    /// If the codec does not exist, or the number of records is negative.
    pub fn scan(&self, max_decompressed: usize) -> Result<RecordScan<'_>, BatchError> {
        let (base, count) = self.record_base()?;
        let codec = self.header.compression()?;
        let content = match codec {
            _ if count > 0 => &self.bytes[BATCH_HEADER_BYTES..],
            Compression::None => &self.bytes[BATCH_HEADER_BYTES..],
            // An empty batch, as compaction leaves it behind, has no stream to decompress.
            _ => return Ok(RecordScan::new(Compression::None, &[], 0, base, 0)?),
        };
        Ok(RecordScan::new(
            codec,
            content,
            max_decompressed,
            base,
            count,
        )?)
    }

    /// What the header says about each record, and how many there are.
    fn record_base(&self) -> Result<(RecordBase, usize), BatchError> {
        let header = &self.header;
        let count = usize::try_from(header.record_count).map_err(|_| BatchError::Header {
            base_offset: header.base_offset,
            reason: "its record count is negative",
        })?;
        let base = RecordBase {
            offset: header.base_offset,
            timestamp: header.base_timestamp,
            append_time: (header.timestamp_type() == TimestampType::LogAppendTime)
                .then_some(header.max_timestamp),
        };
        Ok((base, count))
    }

    /// What a control batch says; none for a batch of records.
    ///
    /// # Errors
    /// If it claims to be a control batch and holds no control record.
    pub fn control(&self) -> Result<Option<ControlRecord>, BatchError> {
        if !self.header.is_control() {
            return Ok(None);
        }
        /// A control record has ten bytes of key and value; no sound one comes near this.
        const MAX_CONTROL_BYTES: usize = 4096;
        let malformed = BatchError::Record {
            index: 0,
            reason: "it is no control record",
        };
        let record = self
            .records(MAX_CONTROL_BYTES)?
            .next()
            .ok_or_else(|| malformed.clone())??;
        let parsed = record
            .key
            .as_deref()
            .and_then(|key| ControlRecord::parse(key, record.value.as_deref()));
        parsed.map(Some).ok_or(malformed)
    }
}

/// Reads the batches of `bytes` one behind the other. A batch that is cut off at the end, as a fetch may leave it, ends the iteration; an error ends it too.
pub fn batches(bytes: &Bytes) -> BatchIter {
    BatchIter {
        bytes: bytes.clone(),
    }
}

/// See [`batches`].
#[derive(Debug, Clone)]
pub struct BatchIter {
    bytes: Bytes,
}

impl BatchIter {
    /// Bytes that no batch was read from yet; after the end, those of a batch that is cut off.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }
}

impl Iterator for BatchIter {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        match Batch::parse(&self.bytes) {
            Ok(batch) => {
                self.bytes = self.bytes.slice(batch.header.total_size()..);
                Some(Ok(batch))
            }
            Err(BatchError::Truncated { .. }) => None,
            Err(error) => {
                self.bytes = Bytes::new();
                Some(Err(error))
            }
        }
    }
}

/// The producer's fields of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerStamp {
    /// The producer, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
}

impl ProducerStamp {
    /// Neither idempotent nor transactional.
    pub const NONE: Self = Self {
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        transactional: false,
    };
}

impl Default for ProducerStamp {
    fn default() -> Self {
        Self::NONE
    }
}

/// Grows one batch; records are encoded as they come, into one buffer.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    compression: Compression,
    /// Space for the header, then the records.
    buffer: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch that [`build`](Self::build) will compress as a whole.
    pub fn new(compression: Compression) -> Self {
        Self::with_capacity(compression, 0)
    }

    /// As [`new`](Self::new), with room for so many bytes of encoded records.
    pub fn with_capacity(compression: Compression, bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(BATCH_HEADER_BYTES + bytes);
        buffer.resize(BATCH_HEADER_BYTES, 0);
        Self {
            compression,
            buffer,
            count: 0,
            base_timestamp: -1,
            max_timestamp: -1,
        }
    }

    /// Adds a record with the next offset. `timestamp_ms` is ms since 1970 UTC; headers keep their order and may repeat.
    ///
    /// # Panics
    /// If the batch would grow beyond 2 GiB or `i32::MAX` records: callers bound it by [`size_bytes`](Self::size_bytes).
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        if self.count == 0 {
            self.base_timestamp = timestamp_ms;
            self.max_timestamp = timestamp_ms;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        let timestamp_delta = timestamp_ms.wrapping_sub(self.base_timestamp);
        RecordParts {
            timestamp_delta,
            offset_delta: self.count,
            key,
            value,
            headers,
        }
        .encode(&mut self.buffer);
        self.count = self
            .count
            .checked_add(1)
            .expect("a batch stays below i32::MAX records");
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no record yet. An empty batch builds, but no broker takes it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far, header included and before compression.
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The codec, and the records without one: for clients that compress by themselves.
    pub fn into_uncompressed(mut self) -> (Compression, Self) {
        let codec = std::mem::take(&mut self.compression);
        (codec, self)
    }

    /// The finished batch: compressed, base offset 0, leader epoch -1, CRC set.
    pub fn build(self, stamp: ProducerStamp) -> Bytes {
        let flags = if stamp.transactional {
            TRANSACTIONAL
        } else {
            0
        };
        self.seal(stamp, flags)
    }

    fn seal(self, stamp: ProducerStamp, flags: i16) -> Bytes {
        let mut batch = match self.compression {
            Compression::None => self.buffer,
            codec => {
                let mut batch = Vec::with_capacity(BATCH_HEADER_BYTES + self.buffer.len() / 2);
                batch.resize(BATCH_HEADER_BYTES, 0);
                codec.compress(&self.buffer[BATCH_HEADER_BYTES..], &mut batch);
                batch
            }
        };
        let length = i32::try_from(batch.len() - LENGTH_END).expect("a batch stays below 2 GiB");
        put(&mut batch, 0, &0i64.to_be_bytes());
        put(&mut batch, 8, &length.to_be_bytes());
        put(&mut batch, LEADER_EPOCH, &(-1i32).to_be_bytes());
        put(&mut batch, MAGIC, &[2]);
        put(
            &mut batch,
            ATTRIBUTES,
            &(self.compression.code() | flags).to_be_bytes(),
        );
        put(&mut batch, 23, &(self.count - 1).to_be_bytes());
        put(&mut batch, 27, &self.base_timestamp.to_be_bytes());
        put(&mut batch, MAX_TIMESTAMP, &self.max_timestamp.to_be_bytes());
        put(&mut batch, 43, &stamp.producer_id.to_be_bytes());
        put(&mut batch, 51, &stamp.producer_epoch.to_be_bytes());
        put(&mut batch, 53, &stamp.base_sequence.to_be_bytes());
        put(&mut batch, 57, &self.count.to_be_bytes());
        set_crc(&mut batch);
        batch.into()
    }
}

/// Gives an appended batch its place: base offset and leader epoch. Both lie outside the CRC.
///
/// # Panics
/// If `batch` is shorter than a header: it was parsed before.
pub fn patch(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    put(batch, 0, &base_offset.to_be_bytes());
    put(batch, LEADER_EPOCH, &leader_epoch.to_be_bytes());
}

/// Gives an appended batch the broker's time, for a topic with `message.timestamp.type=LogAppendTime`, and a new CRC.
///
/// # Panics
/// If `batch` is shorter than a header: it was parsed before.
pub fn patch_log_append_time(batch: &mut [u8], timestamp_ms: i64) {
    let attributes =
        i16::from_be_bytes([batch[ATTRIBUTES], batch[ATTRIBUTES + 1]]) | LOG_APPEND_TIME;
    put(batch, ATTRIBUTES, &attributes.to_be_bytes());
    put(batch, MAX_TIMESTAMP, &timestamp_ms.to_be_bytes());
    set_crc(batch);
}

/// Gives an appended batch the latest of its records' own times, for a topic with `message.timestamp.type=CreateTime`, and a new CRC. Not every client
/// computes it (sarama 1.45.0 leaves -1), and time indexes, retention and searches by time live on it.
///
/// # Panics
/// If `batch` is shorter than a header: it was parsed before.
pub fn patch_create_time(batch: &mut [u8], max_timestamp_ms: i64) {
    let attributes =
        i16::from_be_bytes([batch[ATTRIBUTES], batch[ATTRIBUTES + 1]]) & !LOG_APPEND_TIME;
    put(batch, ATTRIBUTES, &attributes.to_be_bytes());
    put(batch, MAX_TIMESTAMP, &max_timestamp_ms.to_be_bytes());
    set_crc(batch);
}

fn put(batch: &mut [u8], start: usize, bytes: &[u8]) {
    batch[start..start + bytes.len()].copy_from_slice(bytes);
}

fn set_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[ATTRIBUTES..]);
    put(batch, CRC, &crc.to_be_bytes());
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlKind {
    /// Its records are to be passed over.
    Abort,
    /// Its records count.
    Commit,
}

/// What a control batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ControlRecord {
    /// How the transaction ended.
    pub kind: ControlKind,
    /// Epoch of the coordinator that wrote it; fences older ones.
    pub coordinator_epoch: i32,
}

impl ControlRecord {
    /// Reads the record's key and value; none if they are not an end marker. Higher versions read alike: they may only add.
    pub fn parse(key: &[u8], value: Option<&[u8]>) -> Option<Self> {
        let kind = match key.get(..4)? {
            [_, _, 0, 0] => ControlKind::Abort,
            [_, _, 0, 1] => ControlKind::Commit,
            _ => return None,
        };
        let epoch = value?.get(2..)?.first_chunk::<4>()?;
        Some(Self {
            kind,
            coordinator_epoch: i32::from_be_bytes(*epoch),
        })
    }
}

/// The batch that ends a producer's transaction on a partition.
pub fn control_batch(
    kind: ControlKind,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
    timestamp_ms: i64,
) -> Bytes {
    let key = [0, 0, 0, if kind == ControlKind::Commit { 1 } else { 0 }];
    let mut value = [0; 6];
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    let mut builder = BatchBuilder::with_capacity(Compression::None, 32);
    builder.append(timestamp_ms, Some(&key), Some(&value), &[]);
    let stamp = ProducerStamp {
        producer_id,
        producer_epoch,
        base_sequence: -1,
        transactional: true,
    };
    builder.seal(stamp, TRANSACTIONAL | CONTROL)
}

#[cfg(test)]
mod tests;
