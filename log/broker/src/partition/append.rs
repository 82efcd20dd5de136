//! The rules that a batch keeps before it gets offsets, and what an append answers.
//!
//! 1. The header is sound, the CRC holds, the counts agree (`LogValidator.validateBatch`).
//! 2. A client sends exactly one batch, no control batch, nothing above `max.message.bytes` or `segment.bytes`.
//! 3. The codec decodes, and the records are as many and as the header says: what is acknowledged can be read by everybody. One pass
//!    over the records; the bytes of an uncompressed batch are in the cache from its CRC, and nothing is allocated for it. What is
//!    compressed passes through a window, unless the topic has it recompressed.
//! 4. Records of a compacted topic have keys, timestamps stay inside of what the topic allows. All records that break such a rule
//!    are told, so that a client can send the others again (KIP-467).
//! 5. The header's largest timestamp is that of the records, or the broker's clock with `LogAppendTime`: where it was not, it is
//!    set and the CRC renewed. A client's word is not taken for it, because retention deletes by it.
//!
//! Batches that this process built itself keep 3 and 5 by construction and are not walked for them.
//!
//! PURE.

use bytes::Bytes;
use log_protocol::{
    BATCH_HEADER_BYTES, Batch, BatchError, BatchHeader, Compression, CompressionError, ErrorCode,
    RecordFacts, TimestampType, TopicPartition, patch_create_time, patch_log_append_time,
};
use thiserror::Error;

use super::storage_error::StorageError;
use super::{MarkerError, SequenceError};
use crate::topic_config::TopicConfig;

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppendOrigin {
    /// A producer, over the wire.
    Client,
    /// A producer that speaks transactions of version 2 (Produce 12 and later, KIP-890): without any state its first
    /// sequence must be 0.
    ClientTransactionV2,
    /// A producer of this process, whose batches a `BatchBuilder` made; its transactions are of version 2.
    Embedded,
    /// A coordinator of this broker: no sequence numbers, any number of batches.
    Coordinator,
}

/// Where an append landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Offset of the first record; of the first append for a duplicate.
    pub(crate) base_offset: i64,
    /// Offset of the last record.
    pub(crate) last_offset: i64,
    /// The broker's time for a topic with `LogAppendTime`, else -1.
    pub(crate) log_append_time: i64,
    /// First offset that is still there.
    pub(crate) log_start_offset: i64,
    /// The batch was there already; nothing was written.
    pub(crate) duplicate: bool,
}

/// Why nothing was appended.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// The bytes are no batch.
    #[error("batch for {0} refused: {1}")]
    Corrupt(TopicPartition, BatchError),
    /// The batch breaks a rule of the protocol or the topic.
    #[error("batch for {0} refused: {1}")]
    InvalidRecord(TopicPartition, String),
    /// More than one batch of a client, or none.
    #[error("{count} batches for {partition} refused: a client sends exactly one a partition")]
    Several {
        /// Where to.
        partition: TopicPartition,
        /// How many.
        count: usize,
    },
    /// The batch is larger than `max.message.bytes`.
    #[error("batch of {bytes} bytes for {partition} exceeds max.message.bytes={max}")]
    TooLarge {
        /// Where to.
        partition: TopicPartition,
        /// Its size.
        bytes: usize,
        /// The topic's limit.
        max: usize,
    },
    /// The batch is larger than a segment may become.
    #[error("batches of {bytes} bytes for {partition} exceed segment.bytes={max}")]
    SegmentTooSmall {
        /// Where to.
        partition: TopicPartition,
        /// Their size.
        bytes: usize,
        /// The topic's limit.
        max: u64,
    },
    /// Some of its records break rules of the topic; none of the batch is taken.
    #[error(
        "batch for {partition} refused: {count} of its records break a rule of the topic, the first is record {}: {}; send the others without them",
        errors[0].index, errors[0].reason
    )]
    Records {
        /// Where to.
        partition: TopicPartition,
        /// The kind that a client is told.
        code: ErrorCode,
        /// How many.
        count: usize,
        /// The first ones of them, at least one.
        errors: Vec<RecordError>,
    },
    /// Sequence number, producer epoch or transaction state do not fit.
    #[error("batch for {0} refused: {1}")]
    Sequence(TopicPartition, SequenceError),
    /// A marker of a fenced producer or coordinator.
    #[error("transaction marker for {0} refused: {1}")]
    Marker(TopicPartition, MarkerError),
    /// The topic holds the state of the coordinators, who alone write to it.
    #[error(
        "batch for {0} refused: the topic holds the log's own state and is written by the log alone; name another topic"
    )]
    Internal(TopicPartition),
    /// The disk failed, or the partition is gone.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A record that breaks a rule of its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordError {
    /// The record's place in the batch, from 0.
    pub(crate) index: i32,
    /// Which rule.
    pub(crate) reason: String,
}

/// Records of one batch that are told one by one; of a batch with more of them the rest is only counted.
const RECORD_ERRORS_MAX: usize = 10_000;

impl AppendError {
    /// The records that are to blame; empty where the batch as a whole is.
    pub(crate) fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::Records { errors, .. } => errors,
            _ => &[],
        }
    }

    /// Whether a client is told where the log begins: not where the batch was not even looked at, or the partition is not there.
    pub(crate) fn tells_start(&self) -> bool {
        match self {
            Self::Corrupt(_, BatchError::Truncated { .. } | BatchError::Magic(_)) => false,
            Self::TooLarge { .. } | Self::SegmentTooSmall { .. } | Self::Several { .. } => false,
            Self::Internal(_) | Self::Storage(_) => false,
            other => other.code() != ErrorCode::CorruptMessage,
        }
    }

    /// What a client is told.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            // As Kafka has it: of what came before version 2 it says so, of what is no batch at all it does not know it.
            Self::Corrupt(
                _,
                BatchError::Magic(0 | 1)
                | BatchError::Truncated { .. }
                | BatchError::Header { .. }
                | BatchError::Record { .. }
                | BatchError::TrailingBytes { .. },
            ) => ErrorCode::InvalidRecord,
            Self::Corrupt(_, BatchError::Compression(CompressionError::TooLarge { .. })) => {
                ErrorCode::MessageTooLarge
            }
            // As Kafka has it: CORRUPT_MESSAGE would make clients send the same bytes again.
            Self::Corrupt(_, BatchError::Compression(_) | BatchError::Codec(_)) => {
                ErrorCode::UnknownServerError
            }
            Self::Corrupt(..) => ErrorCode::CorruptMessage,
            Self::Records { code, .. } => *code,
            Self::InvalidRecord(..) | Self::Several { .. } => ErrorCode::InvalidRecord,
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::SegmentTooSmall { .. } => ErrorCode::RecordListTooLarge,
            Self::Sequence(_, error) => match error {
                SequenceError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
                SequenceError::OldEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                SequenceError::OpenTransaction { .. } => ErrorCode::InvalidTxnState,
            },
            Self::Marker(_, error) => match error {
                MarkerError::OldEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                MarkerError::OldCoordinator { .. } => ErrorCode::TransactionCoordinatorFenced,
            },
            Self::Internal(_) => ErrorCode::InvalidTopicException,
            Self::Storage(error) => error.code(),
        }
    }
}

/// A batch that may be appended: checked, and rewritten where the topic asks for it.
#[derive(Debug, Clone)]
pub(crate) struct CheckedBatch {
    /// The batch; base offset and leader epoch are patched on the way to disk.
    pub(crate) batch: Batch,
}

/// Most that the records of one batch may take decompressed, as a multiple of the topic's `max.message.bytes`;
/// beyond it the batch is refused.
const DECOMPRESSED_RATIO_MAX: usize = 64;

/// Checks everything that does not depend on the partition's state.
///
/// # Errors
/// The first rule that is broken, naming it.
pub(crate) fn check_batch(
    partition: &TopicPartition,
    bytes: &Bytes,
    config: &TopicConfig,
    origin: AppendOrigin,
    now_ms: i64,
) -> Result<Vec<CheckedBatch>, AppendError> {
    if bytes.len() as u64 > config.segment_bytes {
        let max = config.segment_bytes;
        return Err(AppendError::SegmentTooSmall {
            partition: partition.clone(),
            bytes: bytes.len(),
            max,
        });
    }
    let checker = Checker {
        partition,
        config,
        origin,
        now_ms,
    };
    let mut rest = bytes.clone();
    let mut checked = Vec::with_capacity(1);
    while !rest.is_empty() {
        let batch = match Batch::parse(&rest) {
            // What follows the batch and is none is passed over, as Kafka does.
            Err(BatchError::Truncated { .. }) if !checked.is_empty() => break,
            parsed => parsed.map_err(|error| checker.corrupt(error))?,
        };
        rest = rest.slice(batch.header.total_size()..);
        checked.push(checker.check(batch)?);
    }
    match checked.len() {
        0 => Err(checker.invalid("there is no batch")),
        1 => Ok(checked),
        _ if origin == AppendOrigin::Coordinator => Ok(checked),
        count => Err(AppendError::Several {
            partition: partition.clone(),
            count,
        }),
    }
}

struct Checker<'a> {
    partition: &'a TopicPartition,
    config: &'a TopicConfig,
    origin: AppendOrigin,
    now_ms: i64,
}

impl Checker<'_> {
    fn corrupt(&self, error: BatchError) -> AppendError {
        AppendError::Corrupt(self.partition.clone(), error)
    }

    fn invalid(&self, reason: impl Into<String>) -> AppendError {
        AppendError::InvalidRecord(self.partition.clone(), reason.into())
    }

    fn check(&self, batch: Batch) -> Result<CheckedBatch, AppendError> {
        let header = &batch.header;
        batch.verify_crc().map_err(|error| self.corrupt(error))?;
        match self.origin {
            AppendOrigin::Coordinator => {
                if header.record_count <= 0 || header.last_offset_delta != header.record_count - 1 {
                    return Err(
                        self.invalid("its last offset does not match its number of records")
                    );
                }
            }
            _ => {
                header.validate().map_err(|error| self.corrupt(error))?;
                if header.is_control() {
                    return Err(self.invalid("clients do not write control batches"));
                }
                if header.has_producer() && header.producer_epoch < -1 {
                    // As Kafka has it: older than any that there may be.
                    let error = SequenceError::OldEpoch {
                        producer_id: header.producer_id,
                        found: header.producer_epoch,
                        current: -1,
                    };
                    return Err(AppendError::Sequence(self.partition.clone(), error));
                }
                if header.base_offset != 0 {
                    return Err(self.invalid("its first offset is not 0"));
                }
                let bytes = batch.bytes().len();
                let max = self.config.max_message_bytes;
                if bytes > max {
                    return Err(AppendError::TooLarge {
                        partition: self.partition.clone(),
                        bytes,
                        max,
                    });
                }
            }
        }
        let content = self.check_content(&batch)?;
        let batch = self.set_time(batch, content.max_timestamp)?;
        Ok(CheckedBatch {
            batch: self.recompress(batch, content.records)?,
        })
    }

    /// Walks the records, as far as it is not known what they hold.
    fn check_content(&self, batch: &Batch) -> Result<Content, AppendError> {
        let header = &batch.header;
        let rules = self.record_rules(header);
        let is_ours = matches!(
            self.origin,
            AppendOrigin::Embedded | AppendOrigin::Coordinator
        );
        if is_ours && !rules.look_at_each(header) {
            return Ok(Content {
                max_timestamp: header.max_timestamp,
                records: None,
            });
        }
        let mut plain = batch.clone();
        plain.header = header.with_create_time();
        let found = header.compression().map_err(|error| self.corrupt(error))?;
        let is_rewritten = self
            .config
            .compression
            .is_some_and(|wanted| wanted != found);
        if found != Compression::None && !is_rewritten {
            let facts = plain.scan(self.decompressed_max());
            let facts = facts.map_err(|error| self.corrupt(error))?;
            return Ok(Content {
                max_timestamp: self.check_records(header, &rules, facts)?,
                records: None,
            });
        }
        let mut records = plain
            .records(self.decompressed_max())
            .map_err(|error| self.corrupt(error))?;
        let facts = std::iter::from_fn(|| {
            let span = records.next_span()?;
            Some(span.map(|span| RecordFacts {
                offset: span.offset,
                timestamp: span.timestamp,
                has_key: span.key.is_some(),
            }))
        });
        let max_timestamp = self.check_records(header, &rules, facts)?;
        let buffer = records.buffer();
        let records = match found {
            Compression::None => buffer.slice(BATCH_HEADER_BYTES..),
            _ => buffer.clone(),
        };
        Ok(Content {
            max_timestamp,
            records: Some(records),
        })
    }

    /// Whether all records keep the rules; the latest time that one bears, -1 if none does.
    fn check_records(
        &self,
        header: &BatchHeader,
        rules: &RecordRules,
        facts: impl Iterator<Item = Result<RecordFacts, BatchError>>,
    ) -> Result<i64, AppendError> {
        let mut broken = Broken::default();
        let mut max_timestamp = -1;
        for (index, one) in (0..).zip(facts) {
            let one = one.map_err(|error| self.corrupt(error))?;
            if one.offset != header.base_offset.wrapping_add(i64::from(index)) {
                let reason = "its offset does not follow that of the record before it";
                broken.push(index, ErrorCode::InvalidRecord, || reason.to_owned());
            } else if rules.key && !one.has_key {
                let reason = "a compacted topic takes no record without a key";
                broken.push(index, ErrorCode::InvalidRecord, || reason.to_owned());
            } else if rules.refuses_stamp(one.timestamp) {
                let reason = "its batch claims to bear the time of the broker";
                broken.push(index, ErrorCode::InvalidTimestamp, || reason.to_owned());
            } else if !rules.allow_time(one.timestamp) {
                broken.push(index, ErrorCode::InvalidTimestamp, || {
                    rules.time_reason(one.timestamp)
                });
            }
            max_timestamp = max_timestamp.max(one.timestamp);
        }
        if let Some(code) = broken.code {
            return Err(AppendError::Records {
                partition: self.partition.clone(),
                code,
                count: broken.count,
                errors: broken.errors,
            });
        }
        Ok(max_timestamp)
    }

    fn record_rules(&self, header: &BatchHeader) -> RecordRules {
        let timed = self.config.timestamp_type == TimestampType::CreateTime
            && self.origin != AppendOrigin::Coordinator;
        RecordRules {
            key: self.config.cleanup_compact
                && !header.is_control()
                && self.origin != AppendOrigin::Coordinator,
            is_stamped: header.timestamp_type() == TimestampType::LogAppendTime
                && self.origin != AppendOrigin::Coordinator,
            is_timed: timed,
            now_ms: self.now_ms,
            before_max_ms: if timed {
                self.config.timestamp_before_max_ms
            } else {
                i64::MAX
            },
            after_max_ms: if timed {
                self.config.timestamp_after_max_ms
            } else {
                i64::MAX
            },
        }
    }

    /// Puts the time into the header that readers and retention go by.
    fn set_time(&self, batch: Batch, max_timestamp: i64) -> Result<Batch, AppendError> {
        let header = &batch.header;
        let append_time = match self.config.timestamp_type {
            _ if header.is_control() => return Ok(batch),
            TimestampType::LogAppendTime => true,
            TimestampType::CreateTime
                if header.timestamp_type() == TimestampType::CreateTime
                    && header.max_timestamp == max_timestamp =>
            {
                return Ok(batch);
            }
            TimestampType::CreateTime => false,
        };
        let mut bytes = batch.bytes().to_vec();
        if append_time {
            patch_log_append_time(&mut bytes, self.now_ms);
        } else {
            patch_create_time(&mut bytes, max_timestamp);
        }
        Batch::parse(&bytes.into()).map_err(|error| self.corrupt(error))
    }

    fn decompressed_max(&self) -> usize {
        self.config
            .max_message_bytes
            .max(1 << 20)
            .saturating_mul(DECOMPRESSED_RATIO_MAX)
    }

    /// Brings the batch to the topic's `compression.type`.
    fn recompress(&self, batch: Batch, records: Option<Bytes>) -> Result<Batch, AppendError> {
        let (Some(wanted), false) = (self.config.compression, batch.header.is_control()) else {
            return Ok(batch);
        };
        let found = batch
            .header
            .compression()
            .map_err(|error| self.corrupt(error))?;
        if found == wanted {
            return Ok(batch);
        }
        let content = batch.bytes().slice(BATCH_HEADER_BYTES..);
        let records = match (records, found) {
            (Some(records), _) => records,
            (None, Compression::None) => content,
            (None, codec) => codec
                .decompress(&content, self.decompressed_max())
                .map_err(|error| self.corrupt(error.into()))?,
        };
        let rewritten = super::rewrite::rewrite(
            &batch,
            &records,
            batch.header.record_count,
            wanted,
            batch.header.max_timestamp,
        );
        Batch::parse(&rewritten.into()).map_err(|error| self.corrupt(error))
    }
}

/// What the walk over a batch's records found.
struct Content {
    /// The latest time that a record bears, -1 if none does.
    max_timestamp: i64,
    /// The records, decompressed; `None` if they were not walked.
    records: Option<Bytes>,
}

/// What the topic asks of each record.
struct RecordRules {
    key: bool,
    /// The batch says that its times are the broker's.
    is_stamped: bool,
    /// The topic keeps the times of producers.
    is_timed: bool,
    now_ms: i64,
    before_max_ms: i64,
    after_max_ms: i64,
}

impl RecordRules {
    /// Whether a header that can be believed does not show that all records keep the rules.
    fn look_at_each(&self, header: &BatchHeader) -> bool {
        self.key
            || self.is_stamped
            || self.before_max_ms != i64::MAX
            || !self.allow_time(header.max_timestamp)
    }

    /// As Kafka has it: a client does not stamp for the broker, but where its times count all the same.
    fn refuses_stamp(&self, timestamp: i64) -> bool {
        self.is_stamped && (!self.is_timed || timestamp == -1)
    }

    /// A record without a time, -1, is taken always.
    fn allow_time(&self, timestamp: i64) -> bool {
        timestamp == -1
            || (timestamp.saturating_sub(self.now_ms) <= self.after_max_ms
                && self.now_ms.saturating_sub(timestamp) <= self.before_max_ms)
    }

    fn time_reason(&self, timestamp: i64) -> String {
        let (side, key, limit_ms) = if timestamp > self.now_ms {
            ("ahead of", "after", self.after_max_ms)
        } else {
            ("behind", "before", self.before_max_ms)
        };
        format!(
            "timestamp {timestamp} is more than {limit_ms} ms {side} the broker's clock (message.timestamp.{key}.max.ms)"
        )
    }
}

/// Records of one batch that break rules.
#[derive(Default)]
struct Broken {
    code: Option<ErrorCode>,
    count: usize,
    errors: Vec<RecordError>,
}

impl Broken {
    /// Notes a record; a time that is refused decides what the batch is refused for, as in Kafka.
    fn push(&mut self, index: i32, code: ErrorCode, reason: impl FnOnce() -> String) {
        if self.code.is_none() || code == ErrorCode::InvalidTimestamp {
            self.code = Some(code);
        }
        self.count += 1;
        if self.errors.len() < RECORD_ERRORS_MAX {
            let reason = reason();
            self.errors.push(RecordError { index, reason });
        }
    }
}
