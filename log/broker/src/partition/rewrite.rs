//! A batch with other records in the place of its own: what recompression and compaction write.
//!
//! Base offset, last offset, producer fields, base timestamp and flags stay; codec, count, length, maximum timestamp and
//! CRC are new. Records are given encoded, so their bytes are copied, never encoded again.
//!
//! PURE.

use log_protocol::{BATCH_HEADER_BYTES, Batch, Compression};

const LENGTH: usize = 8;
const LENGTH_END: usize = 12;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const MAX_TIMESTAMP: usize = 35;
const RECORD_COUNT: usize = 57;
const CODEC_MASK: i16 = 0x07;

/// The batch's header over these encoded records. With no records the batch keeps its offsets and its producer's
/// sequence, and nothing else: readers pass over it.
pub(crate) fn rewrite(
    batch: &Batch,
    records: &[u8],
    record_count: i32,
    codec: Compression,
    max_timestamp: i64,
) -> Vec<u8> {
    let codec = if record_count == 0 {
        Compression::None
    } else {
        codec
    };
    let mut bytes = Vec::with_capacity(BATCH_HEADER_BYTES + records.len());
    bytes.extend_from_slice(&batch.bytes()[..BATCH_HEADER_BYTES]);
    codec.compress(records, &mut bytes);
    let length = i32::try_from(bytes.len() - LENGTH_END)
        .expect("records were taken from a batch below 2 GiB");
    let attributes = (batch.header.attributes & !CODEC_MASK) | codec.code();
    put(&mut bytes, LENGTH, &length.to_be_bytes());
    put(&mut bytes, ATTRIBUTES, &attributes.to_be_bytes());
    put(&mut bytes, MAX_TIMESTAMP, &max_timestamp.to_be_bytes());
    put(&mut bytes, RECORD_COUNT, &record_count.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[ATTRIBUTES..]);
    put(&mut bytes, CRC, &crc.to_be_bytes());
    bytes
}

fn put(bytes: &mut [u8], start: usize, field: &[u8]) {
    bytes[start..start + field.len()].copy_from_slice(field);
}

#[cfg(test)]
mod tests {
    use super::*;
    use log_protocol::{BatchBuilder, ProducerStamp};

    #[test]
    fn a_rewritten_batch_is_sound_with_every_codec() {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.append(5, Some(b"k"), Some(&[7; 300]), &[]);
        builder.append(9, Some(b"l"), None, &[("h", Some(b"v"))]);
        let batch = Batch::parse(&builder.build(ProducerStamp::NONE)).expect("built");
        for codec in Compression::ALL {
            let records = batch.bytes().slice(BATCH_HEADER_BYTES..);
            let bytes = rewrite(&batch, &records, 2, codec, 9);
            let rewritten = Batch::parse(&bytes.into()).expect("parse");
            rewritten.validate().expect("valid");
            let left: Vec<_> = batch
                .records(1 << 20)
                .expect("records")
                .map(|r| r.expect("record"))
                .collect();
            let right: Vec<_> = rewritten
                .records(1 << 20)
                .expect("records")
                .map(|r| r.expect("record"))
                .collect();
            assert_eq!(left, right, "{codec:?}");
        }
        let empty =
            Batch::parse(&rewrite(&batch, &[], 0, Compression::Zstd, 9).into()).expect("parse");
        empty.verify_crc().expect("crc");
        assert_eq!(empty.header.last_offset_delta, 1);
        assert_eq!(empty.records(10).expect("records").count(), 0);
    }
}
