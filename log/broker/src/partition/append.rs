//! The rules that a batch keeps before it gets offsets, and what an append answers.
//!
//! 1. The header is sound, the CRC holds, the counts agree (`LogValidator.validateBatch`). Nothing is decompressed
//!    unless a topic rule needs the records: compaction (every record has a key), a lower bound of timestamps, or a
//!    `compression.type` other than the producer's.
//! 2. A client sends exactly one batch, no control batch, nothing above `max.message.bytes` or `segment.bytes`.
//! 3. Timestamps stay inside of what the topic allows; `LogAppendTime` overwrites them and renews the CRC.
//!
//! PURE.

use bytes::Bytes;
use log_protocol::{
    BATCH_HEADER_BYTES, Batch, BatchError, Compression, ErrorCode, TimestampType, TopicPartition,
    patch_log_append_time,
};
use thiserror::Error;

use super::{MarkerError, SequenceError};
use crate::quorum::TopicConfig;
use crate::storage::StorageError;

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppendOrigin {
    /// A producer, over the wire or embedded.
    Client,
    /// A producer that speaks transactions of version 2 (Produce 12 and later, KIP-890): without any state its first
    /// sequence must be 0.
    ClientTransactionV2,
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
    /// A timestamp lies outside of what the topic allows.
    #[error(
        "batch for {partition} has timestamp {timestamp}, which is more than {limit_ms} ms {side} the broker's clock"
    )]
    InvalidTimestamp {
        /// Where to.
        partition: TopicPartition,
        /// The record's, ms since 1970 UTC.
        timestamp: i64,
        /// The topic's limit.
        limit_ms: i64,
        /// "ahead of" or "behind".
        side: &'static str,
    },
    /// Sequence number, producer epoch or transaction state do not fit.
    #[error("batch for {0} refused: {1}")]
    Sequence(TopicPartition, SequenceError),
    /// A marker of a fenced producer or coordinator.
    #[error("transaction marker for {0} refused: {1}")]
    Marker(TopicPartition, MarkerError),
    /// The disk failed, or the partition is gone.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl AppendError {
    /// What a client is told.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Corrupt(_, BatchError::Magic(_)) => ErrorCode::UnsupportedForMessageFormat,
            Self::Corrupt(_, BatchError::Header { .. } | BatchError::Record { .. }) => {
                ErrorCode::InvalidRecord
            }
            Self::Corrupt(..) => ErrorCode::CorruptMessage,
            Self::InvalidRecord(..) => ErrorCode::InvalidRecord,
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::SegmentTooSmall { .. } => ErrorCode::RecordListTooLarge,
            Self::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
            Self::Sequence(_, error) => match error {
                SequenceError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
                SequenceError::OldEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                SequenceError::OpenTransaction { .. } => ErrorCode::InvalidTxnState,
            },
            Self::Marker(_, error) => match error {
                MarkerError::OldEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                MarkerError::OldCoordinator { .. } => ErrorCode::TransactionCoordinatorFenced,
            },
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
        let batch = Batch::parse(&rest).map_err(|error| checker.corrupt(error))?;
        rest = rest.slice(batch.header.total_size()..);
        checked.push(checker.check(batch)?);
    }
    match checked.len() {
        0 => Err(checker.invalid("there is no batch")),
        1 => Ok(checked),
        _ if origin == AppendOrigin::Coordinator => Ok(checked),
        _ => Err(checker.invalid("a client sends exactly one batch a partition")),
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
        let batch = match self.config.timestamp_type {
            TimestampType::LogAppendTime if !header.is_control() => self.stamp(batch)?,
            _ => {
                self.check_header_time(&batch)?;
                batch
            }
        };
        self.check_records(&batch)?;
        Ok(CheckedBatch {
            batch: self.recompress(batch)?,
        })
    }

    fn stamp(&self, batch: Batch) -> Result<Batch, AppendError> {
        let mut bytes = batch.bytes().to_vec();
        patch_log_append_time(&mut bytes, self.now_ms);
        Batch::parse(&bytes.into()).map_err(|error| self.corrupt(error))
    }

    fn check_header_time(&self, batch: &Batch) -> Result<(), AppendError> {
        let limit_ms = self.config.timestamp_after_max_ms;
        let timestamp = batch.header.max_timestamp;
        if self.origin == AppendOrigin::Coordinator
            || timestamp.saturating_sub(self.now_ms) <= limit_ms
        {
            return Ok(());
        }
        Err(AppendError::InvalidTimestamp {
            partition: self.partition.clone(),
            timestamp,
            limit_ms,
            side: "ahead of",
        })
    }

    /// Walks the records where a rule of the topic needs them.
    fn check_records(&self, batch: &Batch) -> Result<(), AppendError> {
        let needs_key = self.config.cleanup_compact && !batch.header.is_control();
        let needs_time = self.config.timestamp_before_max_ms != i64::MAX
            && self.config.timestamp_type == TimestampType::CreateTime
            && self.origin != AppendOrigin::Coordinator;
        if !needs_key && !needs_time {
            return Ok(());
        }
        let mut records = batch
            .records(self.decompressed_max())
            .map_err(|error| self.corrupt(error))?;
        let limit_ms = self.config.timestamp_before_max_ms;
        let mut expected = batch.header.base_offset;
        while let Some(span) = records.next_span() {
            let span = span.map_err(|error| self.corrupt(error))?;
            if span.offset != expected {
                return Err(self.invalid("offsets are not contiguous"));
            }
            expected = expected.wrapping_add(1);
            if needs_key && span.key.is_none() {
                return Err(self.invalid("a compacted topic takes no record without a key"));
            }
            if needs_time && self.now_ms.saturating_sub(span.timestamp) > limit_ms {
                let (partition, timestamp) = (self.partition.clone(), span.timestamp);
                return Err(AppendError::InvalidTimestamp {
                    partition,
                    timestamp,
                    limit_ms,
                    side: "behind",
                });
            }
        }
        Ok(())
    }

    fn decompressed_max(&self) -> usize {
        self.config
            .max_message_bytes
            .max(1 << 20)
            .saturating_mul(DECOMPRESSED_RATIO_MAX)
    }

    /// Brings the batch to the topic's `compression.type`.
    fn recompress(&self, batch: Batch) -> Result<Batch, AppendError> {
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
        let content = &batch.bytes()[BATCH_HEADER_BYTES..];
        let records = match found {
            Compression::None => Bytes::copy_from_slice(content),
            codec => codec
                .decompress(content, self.decompressed_max())
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
