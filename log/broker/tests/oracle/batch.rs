//! Batches for the cases: sound ones, and ways to make them unsound.

use bytes::Bytes;
use log_protocol::{BatchBuilder, Compression, ProducerStamp};

/// When the cases' records were written.
pub(super) const TIME_MS: i64 = 1_700_000_000_000;

/// Values `v0`, `v1`, … with keys, a ms apart.
pub(super) fn records(count: usize, codec: Compression, stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for n in 0..count {
        let (key, value) = (format!("k{n}"), format!("v{n}"));
        let time = TIME_MS + n as i64;
        builder.append(time, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    }
    builder.build(stamp)
}

/// Two records of nobody.
pub(super) fn plain() -> Bytes {
    records(2, Compression::None, ProducerStamp::NONE)
}

/// One record, at this time.
pub(super) fn at(time_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(time_ms, Some(b"k"), Some(b"v"), &[]);
    builder.build(ProducerStamp::NONE)
}

/// A batch with other bytes from `place` on, and a CRC that says so.
pub(super) fn edited(batch: &Bytes, place: usize, bytes: &[u8]) -> Bytes {
    let mut edited = batch.to_vec();
    edited[place..place + bytes.len()].copy_from_slice(bytes);
    resealed(edited)
}

/// A batch with a length and a CRC that fit its bytes.
pub(super) fn resealed(mut batch: Vec<u8>) -> Bytes {
    let length = i32::try_from(batch.len() - 12).expect("a small batch");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

/// A batch with other bytes from `place` on, whatever its CRC says.
pub(super) fn damaged(batch: &Bytes, place: usize, bytes: &[u8]) -> Bytes {
    let mut damaged = batch.to_vec();
    damaged[place..place + bytes.len()].copy_from_slice(bytes);
    damaged.into()
}

/// The stamp of a producer.
pub(super) fn stamp(id: i64, epoch: i16, sequence: i32, transactional: bool) -> ProducerStamp {
    ProducerStamp {
        producer_id: id,
        producer_epoch: epoch,
        base_sequence: sequence,
        transactional,
    }
}
