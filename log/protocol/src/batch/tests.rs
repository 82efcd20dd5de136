//! Record batches against a second codec, and against every damage.

use kafka_protocol::records as theirs;

use super::*;
use crate::record::Record;

const MAX: usize = 1 << 20;

/// Written by kafka-python 3.0: transactional, producer 9000 epoch 7 from sequence 41, a record with a key, a value and twice the same header, and one of nulls
/// that is a second older. (It puts leader epoch 0 where we put -1.)
const GOLDEN: &str = "00000000000000000000004c00000000029c88d76d0010000000010000013bf47b00800000013bf47b00800000000000002328\
                      00070000002900000002240000000455410664657004026802310268010e00cf0f02010100";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn golden_builder(compression: Compression) -> BatchBuilder {
    let mut builder = BatchBuilder::new(compression);
    builder.append(
        1_357_016_400_000,
        Some(b"UA"),
        Some(b"dep"),
        &[("h", Some(b"1")), ("h", None)],
    );
    builder.append(1_357_016_399_000, None, None, &[]);
    builder
}

const GOLDEN_STAMP: ProducerStamp = ProducerStamp {
    producer_id: 9000,
    producer_epoch: 7,
    base_sequence: 41,
    transactional: true,
};

#[test]
fn golden_bytes() {
    let mut built = golden_builder(Compression::None)
        .build(GOLDEN_STAMP)
        .to_vec();
    assert_eq!(built[12..16], [0xff; 4]);
    patch(&mut built, 0, 0);
    assert_eq!(built, hex(GOLDEN));
    let batch = Batch::parse(&built.into()).unwrap();
    batch.validate().unwrap();
    batch.validate_records(MAX).unwrap();
    assert_eq!(batch.header.last_sequence(), 42);
}

struct Sample {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn sample(random: &mut fastrand::Rng, distinct_headers: bool) -> Sample {
    fn bytes(random: &mut fastrand::Rng, max: usize) -> Option<Vec<u8>> {
        random.bool().then(|| {
            (0..random.usize(..max))
                .map(|_| random.u8(b'a'..b'f'))
                .collect()
        })
    }
    let headers = (0..random.usize(..4)).map(|index| {
        let name = if distinct_headers {
            format!("header-{index}")
        } else {
            "same".to_owned()
        };
        (name, bytes(random, 20))
    });
    let headers = headers.collect::<Vec<_>>();
    Sample {
        timestamp: 1_700_000_000_000 + random.i64(-5000..5000),
        key: bytes(random, 40),
        value: bytes(random, 300),
        headers,
    }
}

fn append(builder: &mut BatchBuilder, sample: &Sample) {
    let headers: Vec<(&str, Option<&[u8]>)> = sample
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref()))
        .collect();
    builder.append(
        sample.timestamp,
        sample.key.as_deref(),
        sample.value.as_deref(),
        &headers,
    );
}

fn rng() -> fastrand::Rng {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    fastrand::Rng::with_seed(seed)
}

#[test]
fn batches_round_trip_with_every_codec() {
    let mut random = rng();
    for codec in Compression::ALL {
        for count in [1, 2, 100, 3000] {
            let samples: Vec<Sample> = (0..count).map(|_| sample(&mut random, false)).collect();
            let mut builder = BatchBuilder::new(codec);
            samples
                .iter()
                .for_each(|sample| append(&mut builder, sample));
            assert_eq!(builder.len(), count);
            let size = builder.size_bytes();
            let mut bytes = builder.build(ProducerStamp::NONE).to_vec();
            assert!(codec != Compression::None || bytes.len() == size);
            patch(&mut bytes, 5000, 3);
            let batch = Batch::parse(&bytes.into()).unwrap();
            batch.validate().unwrap();
            batch.validate_records(MAX).unwrap();
            let header = batch.header;
            assert_eq!(header.compression(), Ok(codec));
            assert_eq!(
                (header.base_offset, header.partition_leader_epoch),
                (5000, 3)
            );
            assert_eq!(header.next_offset(), 5000 + count as i64);
            assert_eq!(
                header.max_timestamp,
                samples.iter().map(|sample| sample.timestamp).max().unwrap()
            );
            assert_eq!(header.total_size(), batch.bytes().len());

            let mut spans = batch.records(MAX).unwrap();
            assert_eq!(spans.remaining(), count);
            let records: Vec<Record> = batch.records(MAX).unwrap().map(Result::unwrap).collect();
            assert_eq!(records.len(), count);
            for (index, (record, sample)) in records.iter().zip(&samples).enumerate() {
                assert_eq!(record.offset, 5000 + index as i64);
                assert_eq!(record.timestamp, sample.timestamp);
                assert_eq!(record.key.as_deref(), sample.key.as_deref());
                assert_eq!(record.value.as_deref(), sample.value.as_deref());
                let headers: Vec<_> = record
                    .headers
                    .iter()
                    .map(|h| (h.name().into_owned(), h.value.map(<[u8]>::to_vec)))
                    .collect();
                assert_eq!(headers, sample.headers);
                let span = spans.next_span().unwrap().unwrap();
                assert_eq!(
                    span.value.clone().map(|range| &spans.buffer()[range]),
                    sample.value.as_deref()
                );
                assert_eq!(span.headers(spans.buffer()).count(), sample.headers.len());
            }
            assert!(spans.next_span().is_none());
        }
    }
}

#[test]
fn uncompressed_records_are_slices_of_the_batch() {
    let bytes = golden_builder(Compression::None).build(ProducerStamp::NONE);
    let batch = Batch::parse(&bytes).unwrap();
    let record = batch.records(0).unwrap().next().unwrap().unwrap();
    let range = bytes.as_ptr_range();
    assert!(range.contains(&record.value.unwrap().as_ptr()));
    assert_eq!(record.headers.last("h"), Some(None));
}

fn their_compression(codec: Compression) -> theirs::Compression {
    match codec {
        Compression::None => theirs::Compression::None,
        Compression::Gzip => theirs::Compression::Gzip,
        Compression::Snappy => theirs::Compression::Snappy,
        Compression::Lz4 => theirs::Compression::Lz4,
        Compression::Zstd => theirs::Compression::Zstd,
    }
}

/// Ours is read by the second codec, and what it writes is read by ours.
#[test]
fn agrees_with_the_second_codec() {
    let mut random = rng();
    for codec in Compression::ALL {
        let samples: Vec<Sample> = (0..200).map(|_| sample(&mut random, true)).collect();
        let mut builder = BatchBuilder::new(codec);
        samples
            .iter()
            .for_each(|sample| append(&mut builder, sample));
        let ours = builder.build(ProducerStamp {
            transactional: false,
            ..GOLDEN_STAMP
        });
        let set = theirs::RecordBatchDecoder::decode(&mut ours.clone()).unwrap();
        assert_eq!(set.compression, their_compression(codec));
        assert_eq!(set.records.len(), samples.len());
        for (index, (record, sample)) in set.records.iter().zip(&samples).enumerate() {
            assert_eq!(
                (record.offset, record.timestamp),
                (index as i64, sample.timestamp)
            );
            assert_eq!(
                (record.producer_id, record.producer_epoch, record.sequence),
                (9000, 7, 41 + index as i32)
            );
            assert_eq!(
                (record.key.as_deref(), record.value.as_deref()),
                (sample.key.as_deref(), sample.value.as_deref())
            );
            assert_eq!(record.headers.len(), sample.headers.len());
        }

        let mut again = bytes::BytesMut::new();
        let options = theirs::RecordEncodeOptions {
            version: 2,
            compression: their_compression(codec),
        };
        theirs::RecordBatchEncoder::encode(&mut again, &set.records, &options).unwrap();
        let mut read = 0;
        for batch in batches(&again.freeze()) {
            let batch = batch.unwrap();
            batch.validate().unwrap();
            for (record, sample) in batch.records(MAX).unwrap().zip(&samples[read..]) {
                let record = record.unwrap();
                assert_eq!(
                    (record.timestamp, record.value.as_deref()),
                    (sample.timestamp, sample.value.as_deref())
                );
                read += 1;
            }
        }
        assert_eq!(read, samples.len());
    }
}

#[test]
fn batches_are_read_one_behind_the_other() {
    let one = golden_builder(Compression::None).build(ProducerStamp::NONE);
    let mut bytes = [&one[..], &one[..], &one[..one.len() - 1]].concat();
    let mut iter = batches(&bytes.clone().into());
    assert_eq!(iter.by_ref().filter(Result::is_ok).count(), 2);
    assert_eq!(iter.remaining(), one.len() - 1);
    bytes[one.len() + 16] = 1;
    let results: Vec<_> = batches(&bytes.into()).collect();
    assert_eq!(results.len(), 2);
    assert_eq!(results[1], Err(BatchError::Magic(1)));
}

#[test]
fn log_append_time_is_patched_with_a_new_crc() {
    let mut bytes = golden_builder(Compression::Zstd)
        .build(ProducerStamp::NONE)
        .to_vec();
    patch_log_append_time(&mut bytes, 42);
    let batch = Batch::parse(&bytes.into()).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(batch.header.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(batch.header.compression(), Ok(Compression::Zstd));
    assert!(
        batch
            .records(MAX)
            .unwrap()
            .all(|record| record.unwrap().timestamp == 42)
    );
}

#[test]
fn control_batches_say_how_a_transaction_ended() {
    for kind in [ControlKind::Commit, ControlKind::Abort] {
        let bytes = control_batch(kind, 9, 2, 11, 1000);
        let batch = Batch::parse(&bytes).unwrap();
        batch.validate().unwrap();
        assert!(batch.header.is_control() && batch.header.is_transactional());
        assert_eq!(
            (
                batch.header.producer_id,
                batch.header.producer_epoch,
                batch.header.base_sequence
            ),
            (9, 2, -1)
        );
        assert_eq!(
            batch.control(),
            Ok(Some(ControlRecord {
                kind,
                coordinator_epoch: 11
            }))
        );
    }
    let plain = golden_builder(Compression::None).build(ProducerStamp::NONE);
    assert_eq!(Batch::parse(&plain).unwrap().control(), Ok(None));
}

/// Changes a sound batch, restores its CRC, and tells what the check says.
fn broken(change: impl FnOnce(&mut [u8])) -> BatchError {
    let mut bytes = golden_builder(Compression::None)
        .build(GOLDEN_STAMP)
        .to_vec();
    change(&mut bytes);
    set_crc(&mut bytes);
    let batch = Batch::parse(&bytes.into()).unwrap();
    batch
        .validate()
        .and_then(|()| batch.validate_records(MAX))
        .unwrap_err()
}

#[test]
fn each_rule_is_checked() {
    let reason = |error| match error {
        BatchError::Header { reason, .. } | BatchError::Record { reason, .. } => reason,
        error => panic!("{error}"),
    };
    assert_eq!(
        reason(broken(|b| put(b, 57, &0i32.to_be_bytes()))),
        "it has no records"
    );
    assert_eq!(
        reason(broken(|b| put(b, 57, &(-1i32).to_be_bytes()))),
        "it has no records"
    );
    assert_eq!(
        reason(broken(|b| put(b, 23, &7i32.to_be_bytes()))),
        "its last offset does not match its number of records"
    );
    assert_eq!(
        reason(broken(|b| put(b, 51, &(-1i16).to_be_bytes()))),
        "it has a producer id without a producer epoch"
    );
    assert_eq!(
        reason(broken(|b| put(b, 53, &(-1i32).to_be_bytes()))),
        "it has a producer id without a sequence number"
    );
    assert_eq!(
        reason(broken(|b| put(b, 43, &(-1i64).to_be_bytes()))),
        "it is transactional without a producer id"
    );
    assert_eq!(
        broken(|b| put(b, 21, &7i16.to_be_bytes())),
        BatchError::Codec(7)
    );
    // One record fewer than there are bytes for; one more; the first one's offset moved.
    let counted = |count: i32| {
        broken(|b| {
            put(b, 57, &count.to_be_bytes());
            put(b, 23, &(count - 1).to_be_bytes());
        })
    };
    assert_eq!(counted(1), BatchError::TrailingBytes { left: 8 });
    assert_eq!(
        counted(3),
        BatchError::Record {
            index: 2,
            reason: "length is cut off"
        }
    );
    assert_eq!(
        counted(i32::MAX),
        BatchError::Record {
            index: 2,
            reason: "length is cut off"
        }
    );
    assert_eq!(reason(broken(|b| b[64] = 2)), "offsets are not contiguous");

    let mut bytes = golden_builder(Compression::None)
        .build(GOLDEN_STAMP)
        .to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    assert!(matches!(
        Batch::parse(&bytes.into()).unwrap().validate(),
        Err(BatchError::Crc { .. })
    ));
    let mut short = [0u8; 61];
    short[16] = 2;
    assert_eq!(BatchHeader::parse(&short), Err(BatchError::Length(0)));
    assert!(matches!(
        BatchHeader::parse(&short[..60]),
        Err(BatchError::Truncated { .. })
    ));
}

#[test]
fn sequences_wrap_to_zero() {
    let bytes = golden_builder(Compression::None).build(ProducerStamp {
        base_sequence: i32::MAX,
        ..GOLDEN_STAMP
    });
    assert_eq!(Batch::parse(&bytes).unwrap().header.last_sequence(), 0);
}

#[test]
fn foreign_bytes_never_panic() {
    let mut random = rng();
    for codec in Compression::ALL {
        let good = golden_builder(codec).build(GOLDEN_STAMP);
        for _ in 0..3000 {
            let mut bytes = good.to_vec();
            for _ in 0..random.usize(1..5) {
                let index = random.usize(8..bytes.len());
                bytes[index] = *random
                    .choice(&[0, 1, 0x7f, 0x80, 0xff, random.clone().u8(..)])
                    .unwrap();
            }
            bytes.truncate(random.usize(50..=bytes.len()));
            for batch in batches(&bytes.into()) {
                let Ok(batch) = batch else { break };
                let _ = (
                    batch.validate(),
                    batch.validate_records(MAX),
                    batch.control(),
                    batch.header.last_sequence(),
                );
                if let Ok(records) = batch.records(MAX) {
                    for record in records.flatten() {
                        assert!(record.headers.iter().count() == record.headers.len());
                    }
                }
            }
        }
    }
}
