//! PURE. What `__transaction_state` holds, byte for byte as Kafka writes it.
//!
//! ```text
//! key    i16 version 0: string transactional id
//! value  i16 version 0: i64 producer id, i16 producer epoch, i32 timeout (ms), i8 phase,
//!                       nullable [ string topic, [ i32 partition ] ], i64 last update (ms), i64 start (ms)
//!            version 1: the same, flexible, with tagged fields: 0 i64 previous producer id, 1 i64 next producer id,
//!                       2 i16 the client's transaction version, 3 i16 next producer epoch
//! ```
//! A null value is a tombstone. Written: version 1. Read: both.
//!
//! Follows `TransactionLogKey/Value.json` of Kafka 4.3's transaction coordinator. Deviation: tag 4 (`last_epoch`, ours) keeps the epoch
//! before the last bump, which Kafka holds in memory only, so that a retry of InitProducerId succeeds across a restart.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use log_protocol::{DecodeError, Reader, TopicPartition, Writer};

/// Where a transactional id stands; the order of travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was ever begun with this producer epoch.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// Decided: commit; markers are being written.
    PrepareCommit,
    /// Decided: abort; markers are being written.
    PrepareAbort,
    /// Committed, all markers are there.
    CompleteCommit,
    /// Aborted, all markers are there.
    CompleteAbort,
}

impl Phase {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    /// Kafka's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    fn code(self) -> i8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::PrepareCommit => 2,
            Self::PrepareAbort => 3,
            Self::CompleteCommit => 4,
            Self::CompleteAbort => 5,
        }
    }

    fn from_code(code: i8) -> Option<Self> {
        Some(match code {
            0 => Self::Empty,
            1 => Self::Ongoing,
            2 => Self::PrepareCommit,
            3 => Self::PrepareAbort,
            4 => Self::CompleteCommit,
            5 => Self::CompleteAbort,
            _ => return None,
        })
    }
}

/// A transactional id and its current transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransactionRecord {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    /// The epoch before the last bump, −1 if there was none: what a retried InitProducerId or EndTxn still carries.
    pub(crate) last_epoch: i16,
    /// The producer id before the last change of it, −1 if there was none.
    pub(crate) previous_producer_id: i64,
    pub(crate) timeout_ms: i32,
    pub(crate) phase: Phase,
    /// Partitions that the open transaction writes, `__consumer_offsets` among them.
    pub(crate) partitions: BTreeSet<TopicPartition>,
    pub(crate) last_update_ms: i64,
    /// When the open transaction began, −1 if none is open.
    pub(crate) start_ms: i64,
    /// 2 = KIP-890: the epoch rises with every end of a transaction.
    pub(crate) client_version: i16,
}

/// Reads a key: the transactional id.
pub(crate) fn decode_key(bytes: &[u8]) -> Result<Option<String>, DecodeError> {
    let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
    if reader.i16()? != 0 {
        return Ok(None);
    }
    reader
        .string_length(false)?
        .map(|length| reader.text(length))
        .transpose()
}

/// Writes a key.
pub(crate) fn encode_key(transactional_id: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + transactional_id.len());
    out.put_i16(0);
    let text = &transactional_id.as_bytes()[..transactional_id.len().min(i16::MAX as usize)];
    Writer::new(&mut out).string_length(Some(text.len()), false);
    out.put_slice(text);
    out.freeze()
}

impl TransactionRecord {
    /// Reads a value; `None` for a phase that is not known here.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        let flexible = reader.i16()? >= 1;
        let producer_id = reader.i64()?;
        let producer_epoch = reader.i16()?;
        let timeout_ms = reader.i32()?;
        let phase = Phase::from_code(reader.i8()?);
        let mut partitions = BTreeSet::new();
        for _ in 0..reader.array_length(flexible)?.unwrap_or(0) {
            let length = reader.string_length(flexible)?.unwrap_or(0);
            let topic: std::sync::Arc<str> = reader.text(length)?.into();
            for _ in 0..reader.array_length(flexible)?.unwrap_or(0) {
                partitions.insert(TopicPartition {
                    topic: topic.clone(),
                    partition: reader.i32()?,
                });
            }
            if flexible {
                reader.tagged_fields(|_, _| Ok(()))?;
            }
        }
        let last_update_ms = reader.i64()?;
        let start_ms = reader.i64()?;
        let (mut previous_producer_id, mut client_version, mut last_epoch) = (-1, 0, -1);
        if flexible {
            reader.tagged_fields(|tag, reader| {
                match tag {
                    0 => previous_producer_id = reader.i64()?,
                    2 => client_version = reader.i16()?,
                    4 => last_epoch = reader.i16()?,
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok(phase.map(|phase| Self {
            producer_id,
            producer_epoch,
            last_epoch,
            previous_producer_id,
            timeout_ms,
            phase,
            partitions,
            last_update_ms,
            start_ms,
            client_version,
        }))
    }

    /// Writes version 1.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(1);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.timeout_ms);
        out.put_i8(self.phase.code());
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for partition in &self.partitions {
            topics
                .entry(&partition.topic)
                .or_default()
                .push(partition.partition);
        }
        Writer::new(&mut out).length(Some(topics.len()), true);
        for (topic, partitions) in topics {
            Writer::new(&mut out).string_length(Some(topic.len()), true);
            out.put_slice(topic.as_bytes());
            Writer::new(&mut out).length(Some(partitions.len()), true);
            for partition in partitions {
                out.put_i32(partition);
            }
            Writer::new(&mut out).unsigned_varint(0);
        }
        out.put_i64(self.last_update_ms);
        out.put_i64(self.start_ms);
        let mut writer = Writer::new(&mut out);
        writer.unsigned_varint(3);
        writer.tagged_field(0, |writer| writer.out().put_i64(self.previous_producer_id));
        writer.tagged_field(2, |writer| writer.out().put_i16(self.client_version));
        writer.tagged_field(4, |writer| writer.out().put_i16(self.last_epoch));
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_round_trips() {
        let record = TransactionRecord {
            producer_id: 1000,
            producer_epoch: 4,
            last_epoch: 3,
            previous_producer_id: -1,
            timeout_ms: 60_000,
            phase: Phase::PrepareCommit,
            partitions: [("a", 1), ("a", 0), ("b", 2)]
                .map(|(topic, id)| TopicPartition::new(topic, id))
                .into(),
            last_update_ms: 7,
            start_ms: 5,
            client_version: 2,
        };
        let bytes = record.encode();
        assert_eq!(TransactionRecord::decode(&bytes).unwrap(), Some(record));
        for length in 0..bytes.len() {
            assert!(TransactionRecord::decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn kafkas_first_version_is_read() {
        let mut bytes = BytesMut::new();
        bytes.put_i16(0);
        bytes.put_i64(5);
        bytes.put_i16(1);
        bytes.put_i32(1000);
        bytes.put_i8(4);
        bytes.put_i32(-1);
        bytes.put_i64(8);
        bytes.put_i64(-1);
        let record = TransactionRecord::decode(&bytes).unwrap().unwrap();
        assert_eq!(
            (record.producer_id, record.phase),
            (5, Phase::CompleteCommit)
        );
        assert!(record.partitions.is_empty());
    }

    #[test]
    fn keys_round_trip() {
        assert_eq!(
            decode_key(&encode_key("job-1")).unwrap(),
            Some("job-1".into())
        );
    }
}
