//! Appends: rules, sequences, transactions, durability, contention.

use log_protocol::{BATCH_HEADER_BYTES, Batch, BatchHeader, ControlKind, ErrorCode};

use super::*;
use crate::partition::AppendError;
use crate::storage::log_file::full_disk;

fn refused(partition: &Partition, bytes: Bytes) -> ErrorCode {
    partition
        .append(bytes, AppendOrigin::Client, NOW)
        .expect_err("refused")
        .code()
}

#[test]
fn nothing_is_made_before_the_first_append_and_offsets_are_contiguous() {
    let lab = Lab::new(&[]);
    let partition = lab.open();
    assert!(!lab.path().exists());
    assert!(
        partition
            .read(0, 100, Isolation::ReadCommitted)
            .expect("empty")
            .records
            .is_empty()
    );
    for n in 0..5 {
        let appended = put(&partition, filled(3, 10, NOW));
        assert_eq!(
            (appended.base_offset, appended.last_offset),
            (n * 3, n * 3 + 2)
        );
        assert_eq!((appended.log_append_time, appended.duplicate), (-1, false));
    }
    assert_eq!(partition.high_watermark(), 15);
    assert_eq!(all(&partition).len(), 15);
}

#[test]
fn the_rules_of_batches_and_topics_hold() {
    let lab = Lab::new(&[("max.message.bytes", "500"), ("segment.bytes", "2000")]);
    let partition = lab.open();
    let good = filled(1, 10, NOW);
    assert_eq!(
        refused(&partition, filled(1, 600, NOW)),
        ErrorCode::MessageTooLarge
    );
    assert_eq!(
        refused(&partition, filled(1, 3000, NOW)),
        ErrorCode::RecordListTooLarge
    );
    assert_eq!(refused(&partition, Bytes::new()), ErrorCode::InvalidRecord);
    let two = [good.clone(), good.clone()].concat().into();
    assert_eq!(refused(&partition, two), ErrorCode::InvalidRecord);
    assert_eq!(
        refused(&partition, good.slice(..good.len() - 1)),
        ErrorCode::InvalidRecord
    );
    let mut placed = good.to_vec();
    placed[7] = 77;
    assert_eq!(refused(&partition, placed.into()), ErrorCode::InvalidRecord);
    let mut flipped = good.to_vec();
    flipped[70] ^= 1;
    assert_eq!(
        refused(&partition, flipped.into()),
        ErrorCode::CorruptMessage
    );
    for (magic, code) in [
        (1, ErrorCode::InvalidRecord),
        (3, ErrorCode::CorruptMessage),
    ] {
        let mut other = good.to_vec();
        other[16] = magic;
        assert_eq!(refused(&partition, other.into()), code);
    }
    assert_eq!(
        refused(&partition, filled(1, 10, NOW + 3_700_000)),
        ErrorCode::InvalidTimestamp
    );
    let control = log_protocol::control_batch(ControlKind::Commit, 1, 0, 0, NOW);
    assert_eq!(refused(&partition, control), ErrorCode::InvalidRecord);
    lab.set(&[("cleanup.policy", "compact")]);
    assert_eq!(refused(&partition, good.clone()), ErrorCode::InvalidRecord);
    lab.set(&[("message.timestamp.before.max.ms", "1000")]);
    assert_eq!(
        refused(&partition, filled(1, 10, NOW - 2000)),
        ErrorCode::InvalidTimestamp
    );
    put(&partition, good);
    assert_eq!(partition.high_watermark(), 1);
}

#[test]
fn log_append_time_and_compression_rewrite_the_batch() {
    let lab = Lab::new(&[
        ("message.timestamp.type", "LogAppendTime"),
        ("compression.type", "zstd"),
    ]);
    let partition = lab.open();
    let appended = put(&partition, filled(4, 500, 7));
    assert_eq!(appended.log_append_time, NOW);
    let fetched = partition
        .read(0, 1 << 20, Isolation::ReadCommitted)
        .expect("read");
    let batch = Batch::parse(&fetched.records).expect("batch");
    batch.validate().expect("valid");
    assert_eq!(batch.header.compression(), Ok(Compression::Zstd));
    assert!(all(&partition).iter().all(|record| record.timestamp == NOW));
    assert_eq!(all(&partition).len(), 4);
}

#[test]
fn duplicates_answer_their_offsets_through_restarts() {
    let lab = Lab::new(&[("segment.bytes", "1024")]);
    for clean in [true, false] {
        let partition = lab.open();
        let id = i64::from(clean);
        let batch = |sequence| {
            batch_of(
                &[(None, Some("x")), (None, Some("y"))],
                NOW,
                stamp(id, 0, sequence, false),
            )
        };
        let first: Vec<_> = (0..20)
            .map(|n| put(&partition, batch(n * 2)).base_offset)
            .collect();
        if clean {
            partition.close().expect("close");
        }
        drop(partition);
        let partition = lab.open();
        for n in 15..20 {
            let again = put(&partition, batch(n * 2));
            assert_eq!(
                (again.base_offset, again.duplicate),
                (first[n as usize], true)
            );
        }
        assert_eq!(
            refused(&partition, batch(14 * 2)),
            ErrorCode::OutOfOrderSequenceNumber
        );
        assert_eq!(
            refused(&partition, batch(44)),
            ErrorCode::OutOfOrderSequenceNumber
        );
        assert_eq!(
            put(&partition, batch(40)).base_offset,
            partition.high_watermark() - 2
        );
    }
}

#[test]
fn transactions_hold_the_last_stable_offset_and_aborted_ones_are_reported() {
    let lab = Lab::new(&[("segment.bytes", "1024")]);
    let mut partition = lab.open();
    let one = |id, sequence, transactional, value| {
        batch_of(
            &[(None, Some(value))],
            NOW,
            stamp(id, 0, sequence, transactional),
        )
    };
    put(&partition, filled(1, 10, NOW)); // 0
    put(&partition, one(1, 0, true, "a0")); // 1
    put(&partition, one(2, 0, true, "b0")); // 2
    put(&partition, one(1, 1, true, "a1")); // 3
    assert_eq!(
        (partition.last_stable_offset(), partition.high_watermark()),
        (1, 4)
    );
    assert!(partition.has_open_transaction(1) && partition.has_open_transaction(2));
    let outside = partition.append(one(1, 2, false, "x"), AppendOrigin::Client, NOW);
    assert_eq!(
        outside.expect_err("open").code(),
        ErrorCode::InvalidTxnState
    );
    let abort = partition
        .append_marker(ControlKind::Abort, 1, 0, 5, NOW)
        .expect("marker"); // 4
    assert_eq!(abort.base_offset, 4);
    assert_eq!(partition.last_stable_offset(), 2);
    let fenced = partition
        .append_marker(ControlKind::Commit, 1, 0, 4, NOW)
        .expect_err("older coordinator");
    assert_eq!(fenced.code(), ErrorCode::TransactionCoordinatorFenced);
    for round in 0..3 {
        let committed = partition
            .read(0, 1 << 20, Isolation::ReadCommitted)
            .expect("read");
        assert_eq!(committed.last_stable_offset, 2, "round {round}");
        let last = batches(&committed.records)
            .last()
            .expect("some")
            .expect("batch");
        assert_eq!(last.header.last_offset(), 1);
        assert_eq!(committed.aborted.len(), 1);
        assert_eq!(
            (
                committed.aborted[0].producer_id,
                committed.aborted[0].first_offset
            ),
            (1, 1)
        );
        if round == 1 {
            partition.close().expect("close");
        }
        drop(partition);
        partition = lab.open();
    }
    partition
        .append_marker(ControlKind::Commit, 2, 0, 5, NOW)
        .expect("marker"); // 5
    assert_eq!(partition.last_stable_offset(), 6);
    let tail = partition
        .read(5, 1 << 20, Isolation::ReadCommitted)
        .expect("read");
    assert!(tail.aborted.is_empty());
    // The coordinator's own records need no sequence, but its epoch counts.
    let offsets = batch_of(&[(Some("g"), Some("1"))], NOW, stamp(3, 1, -1, true));
    partition
        .append(offsets, AppendOrigin::Coordinator, NOW)
        .expect("append");
    assert_eq!(partition.last_stable_offset(), 6);
    let summaries = partition.producers();
    assert_eq!(
        summaries
            .iter()
            .map(|s| (s.producer_id, s.open_since))
            .collect::<Vec<_>>(),
        [(1, -1), (2, -1), (3, 6)]
    );
}

#[tokio::test]
async fn sync_levels_promise_what_they_say() {
    let lab = Lab::new(&[("flush", "sync")]);
    let partition = lab.open();
    let appended = put(&partition, filled(2, 10, NOW));
    partition
        .acknowledged(appended.last_offset)
        .await
        .expect("synced");
    assert_eq!(partition.synced_offset(), 2);
    lab.set(&[("flush", "os")]);
    let appended = put(&partition, filled(2, 10, NOW));
    partition
        .acknowledged(appended.last_offset)
        .await
        .expect("at once");
    assert_eq!(partition.synced_offset(), 2);
    partition.sync().await.expect("synced");
    assert_eq!(partition.synced_offset(), 4);
}

#[tokio::test]
async fn a_failed_write_takes_the_partition_offline() {
    let lab = Lab::new(&[]);
    fs::write(lab.path(), b"a file where the folder belongs").expect("write");
    // Opened before the obstacle, so to say.
    let partition = lab.open_at(&lab.path().join("inside"), 0);
    let error = partition
        .append(filled(1, 1, NOW), AppendOrigin::Client, NOW)
        .expect_err("offline");
    assert!(
        matches!(&error, AppendError::Storage(StorageError::Offline { .. })),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("partition orders-3 is offline: create segment"),
        "{error}"
    );
    assert_eq!(error.code(), ErrorCode::KafkaStorageError);
    assert!(partition.sync().await.is_ok() || partition.check_online().is_err());
}

#[test]
fn what_was_acknowledged_stays_readable_when_writes_fail() {
    let lab = Lab::new(&[("segment.bytes", "1024")]);
    let partition = lab.open();
    put(&partition, filled(1, 600, NOW));
    // The next segment cannot be made.
    fs::create_dir(lab.path().join("00000000000000000001.log")).expect("create");
    for _ in 0..2 {
        assert_eq!(
            refused(&partition, filled(1, 600, NOW)),
            ErrorCode::KafkaStorageError
        );
    }
    assert_eq!(partition.high_watermark(), 1);
    assert_eq!(all(&partition).len(), 1);
    assert!(partition.max_timestamp().expect("readable").is_some());
}

#[test]
fn a_deleted_partition_refuses_and_wakes() {
    let lab = Lab::new(&[]);
    let partition = lab.open();
    put(&partition, filled(1, 1, NOW));
    let mut watch = partition.watch();
    watch.mark_unchanged();
    partition.mark_deleted();
    assert!(watch.has_changed().expect("open"));
    assert_eq!(
        refused(&partition, filled(1, 1, NOW)),
        ErrorCode::UnknownTopicOrPartition
    );
}

#[test]
fn appends_from_many_threads_interleave_whole() {
    let lab = Lab::new(&[("segment.bytes", "20000")]);
    let partition = lab.open();
    std::thread::scope(|scope| {
        for producer in 0..8i64 {
            let partition = &partition;
            scope.spawn(move || {
                for n in 0..200 {
                    let value = format!("{producer}:{n}");
                    let bytes = batch_of(
                        &[(None, Some(value.as_str())); 2],
                        NOW,
                        stamp(producer, 0, n * 2, false),
                    );
                    let appended = put(partition, bytes);
                    assert_eq!(appended.last_offset, appended.base_offset + 1);
                }
            });
        }
        for _ in 0..50 {
            let seen = all(&partition);
            assert!(
                seen.iter()
                    .enumerate()
                    .all(|(n, record)| record.offset == n as i64)
            );
        }
    });
    let seen = values(&all(&partition));
    assert_eq!(seen.len(), 3200);
    for producer in 0..8 {
        let prefix = format!("{producer}:");
        let own: Vec<_> = seen
            .iter()
            .filter_map(|(_, value)| value.strip_prefix(&prefix))
            .collect();
        let expected: Vec<_> = (0..200)
            .flat_map(|n| [n.to_string(), n.to_string()])
            .collect();
        assert_eq!(own, expected);
    }
    drop(partition);
    assert_eq!(values(&all(&lab.open())), seen);
}

/// `batch` with another content, or with other fields of its header, and a CRC that fits.
fn forged(batch: &Bytes, content: &[u8], change: impl FnOnce(&mut [u8])) -> Bytes {
    let mut bytes = batch[..BATCH_HEADER_BYTES].to_vec();
    bytes.extend_from_slice(content);
    let length = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    change(&mut bytes);
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

#[test]
fn a_batch_whose_content_nobody_could_read_is_refused() {
    let lab = Lab::new(&[]);
    let partition = lab.open();
    let good = filled(3, 10, NOW);
    let records = &good[BATCH_HEADER_BYTES..];
    let refused_with = |content: &[u8], change: &dyn Fn(&mut [u8])| {
        refused(&partition, forged(&good, content, change))
    };
    let as_is = |_: &mut [u8]| {};
    for codec in &Compression::ALL[1..] {
        let code = codec.code() as u8;
        let tagged = move |bytes: &mut [u8]| bytes[22] = code;
        assert_eq!(
            refused_with(b"these are not compressed records", &tagged),
            ErrorCode::UnknownServerError,
            "{codec}"
        );
        let mut cut = Vec::new();
        codec.compress(&records[..records.len() - 1], &mut cut);
        assert_eq!(
            refused_with(&cut, &tagged),
            ErrorCode::InvalidRecord,
            "{codec}: a sound stream of a cut record"
        );
        let mut sound = Vec::new();
        codec.compress(records, &mut sound);
        put(&partition, forged(&good, &sound, tagged));
    }
    let unknown = |bytes: &mut [u8]| bytes[22] = 7;
    assert_eq!(
        refused_with(records, &unknown),
        ErrorCode::UnknownServerError
    );
    let longer = [records, &[0]].concat();
    for content in [&records[..records.len() - 1], &longer, &[], &[0xff; 40]] {
        assert_eq!(
            refused_with(content, &as_is),
            ErrorCode::InvalidRecord,
            "{content:?}"
        );
    }
    let counted = |count: i32| {
        move |bytes: &mut [u8]| {
            bytes[57..61].copy_from_slice(&count.to_be_bytes());
            bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        }
    };
    for count in [2, 4] {
        assert_eq!(
            refused_with(records, &counted(count)),
            ErrorCode::InvalidRecord,
            "{count} records announced"
        );
    }
    // The second record claims the offset of the third.
    let one = records.len() / 3;
    let mut skipped = records.to_vec();
    skipped[one + 3] += 2;
    assert_eq!(refused_with(&skipped, &as_is), ErrorCode::InvalidRecord);
    assert_eq!(partition.high_watermark(), 4 * 3);
}

#[test]
fn content_that_would_fill_the_memory_is_too_large() {
    let lab = Lab::new(&[]);
    let partition = lab.open();
    let bomb = "0".repeat(70 << 20);
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.append(NOW, None, Some(bomb.as_bytes()), &[]);
    let bytes = builder.build(ProducerStamp::NONE);
    assert!(bytes.len() < 100_000);
    assert_eq!(refused(&partition, bytes), ErrorCode::MessageTooLarge);
}

#[test]
fn every_record_that_breaks_a_rule_is_named() {
    let lab = Lab::new(&[("cleanup.policy", "compact")]);
    let partition = lab.open();
    let records: Vec<_> = (0..100)
        .map(|n| ((n % 10 != 4).then_some("key"), Some("value")))
        .collect();
    let error = partition
        .append(
            batch_of(&records, NOW, ProducerStamp::NONE),
            AppendOrigin::Client,
            NOW,
        )
        .expect_err("keyless records");
    assert_eq!(error.code(), ErrorCode::InvalidRecord);
    let named: Vec<_> = error.record_errors().iter().map(|one| one.index).collect();
    assert_eq!(named, (0..10).map(|n| n * 10 + 4).collect::<Vec<_>>());
    assert_eq!(
        error.to_string(),
        "batch for orders-3 refused: 10 of its records break a rule of the topic, the first is record 4: a compacted topic takes no record without a key; send the others without them"
    );

    lab.set(&[("message.timestamp.before.max.ms", "1000")]);
    let mut builder = BatchBuilder::new(Compression::Lz4);
    for timestamp in [NOW, NOW - 1001, -1, NOW + 3_600_001, NOW - 1000] {
        builder.append(timestamp, None, None, &[]);
    }
    let bytes = builder.build(ProducerStamp::NONE);
    for origin in [AppendOrigin::Client, AppendOrigin::Embedded] {
        let error = partition
            .append(bytes.clone(), origin, NOW)
            .expect_err("times");
        assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
        let named: Vec<_> = error.record_errors().iter().map(|one| one.index).collect();
        assert_eq!(named, [1, 3]);
        assert!(
            error.record_errors()[1]
                .reason
                .contains("ahead of the broker's clock"),
            "{error}"
        );
    }
}

#[test]
fn the_largest_timestamp_is_that_of_the_records_whatever_the_header_says() {
    for (codec, claimed) in [
        (Compression::None, -1),
        (Compression::None, 0),
        (Compression::None, NOW + 1),
        (Compression::Zstd, i64::MAX),
    ] {
        let lab = Lab::new(&[("retention.ms", "3600000")]);
        let partition = lab.open();
        let mut builder = BatchBuilder::new(codec);
        for timestamp in [NOW + 9, NOW + 5, NOW + 1] {
            builder.append(timestamp, None, Some(b"v"), &[]);
        }
        let good = builder.build(ProducerStamp::NONE);
        let claim = |bytes: &mut [u8]| {
            bytes[35..43].copy_from_slice(&claimed.to_be_bytes());
            // Also that the broker's clock gave it.
            bytes[22] |= 0x08;
        };
        put(
            &partition,
            forged(&good, &good[BATCH_HEADER_BYTES..], claim),
        );
        let fetched = partition
            .read(0, 1 << 20, Isolation::ReadUncommitted)
            .expect("read");
        let batch = Batch::parse(&fetched.records).expect("whole");
        batch.validate().expect("the CRC fits");
        let expected = BatchHeader::parse(&good).expect("built");
        assert_eq!(batch.header.max_timestamp, NOW + 9);
        assert_eq!(batch.header.attributes, expected.attributes);
        let search = |timestamp| partition.offset_for_timestamp(timestamp).expect("search");
        assert_eq!(search(NOW + 2), Some((0, NOW + 9)));
        assert_eq!(search(NOW + 10), None);
        assert_eq!(
            partition.max_timestamp().expect("search"),
            Some((0, NOW + 9))
        );
        partition.upkeep(NOW);
        partition.upkeep(NOW + 60_000);
        assert_eq!(partition.log_start_offset(), 0, "nothing is old");
    }
}

#[test]
fn a_full_disk_loses_nothing_and_keeps_the_partition_online() {
    let lab = Lab::new(&[("segment.bytes", "1024")]);
    let partition = lab.open();
    let batch = |sequence| {
        let value = "v".repeat(300);
        let records = [(None, Some(value.as_str()))];
        batch_of(&records, NOW, stamp(7, 0, sequence, true))
    };
    put(&partition, batch(0));
    for next in 1..6 {
        full_disk::set(true);
        for _ in 0..2 {
            let error = partition
                .append(batch(next), AppendOrigin::Client, NOW)
                .expect_err("full");
            assert_eq!(error.code(), ErrorCode::KafkaStorageError);
            assert!(error.to_string().contains("the disk is full"), "{error}");
        }
        let marker = partition.append_marker(ControlKind::Abort, 7, 0, 0, NOW);
        assert!(marker.is_err());
        partition.check_online().expect("online");
        assert_eq!(partition.high_watermark(), i64::from(next));
        assert_eq!(partition.last_stable_offset(), 0);
        full_disk::set(false);
        // The same sequence: what was refused left no trace in the producer's state.
        assert_eq!(put(&partition, batch(next)).base_offset, i64::from(next));
    }
    partition
        .append_marker(ControlKind::Abort, 7, 0, 0, NOW)
        .expect("marker");
    let seen = all(&partition);
    assert_eq!(seen.len(), 6);
    assert!(lab.files("log").len() > 1, "segments were begun meanwhile");
    let search = partition.offset_for_timestamp(NOW).expect("search");
    assert_eq!(search, Some((0, NOW)));
    drop(partition);
    let partition = lab.open();
    assert_eq!(all(&partition), seen);
    assert_eq!(partition.last_stable_offset(), 7);
}

#[test]
fn an_index_that_is_saved_late_takes_no_place_of_a_sealed_one() {
    let lab = Lab::new(&[("segment.bytes", "1024"), ("index.interval.bytes", "1")]);
    let partition = lab.open();
    put(&partition, filled(1, 300, NOW));
    let active = Arc::clone(partition.segments.read().last().expect("one"));
    let early = active.index_snapshot().expect("in memory");
    assert_eq!(active.save_index(&early).expect("written").len(), 2);
    for n in 1..5 {
        put(&partition, filled(1, 300, NOW + n));
    }
    assert!(active.is_sealed());
    let sealed = lab.files("timeindex").remove(0);
    let complete = fs::read(&sealed).expect("read");
    assert!(active.save_index(&early).expect("left aside").is_empty());
    assert_eq!(fs::read(&sealed).expect("read"), complete);
    assert!(lab.files("tmp").is_empty());
    assert_eq!(active.latest().expect("read"), Some((NOW + 1, 1)));
}

#[test]
fn what_only_the_log_or_nobody_may_say_of_a_batch_is_refused() {
    let batch = filled(2, 10, NOW);
    let none = |_: &mut [u8]| {};
    let stamped = |batch: &mut [u8]| batch[22] |= 0x08;
    let content = &batch[61..];
    let its = Lab::new(&[("message.timestamp.type", "LogAppendTime")]).open();
    put(&its, forged(&batch, content, none));
    assert_eq!(
        refused(&its, forged(&batch, content, stamped)),
        ErrorCode::InvalidTimestamp
    );
    let theirs = Lab::new(&[]).open();
    put(&theirs, forged(&batch, content, stamped));
    for (epoch, code) in [
        (-1i16, ErrorCode::InvalidRecord),
        (-2, ErrorCode::InvalidProducerEpoch),
        (i16::MIN, ErrorCode::InvalidProducerEpoch),
    ] {
        let of_producer = |batch: &mut [u8]| {
            batch[43..51].copy_from_slice(&5i64.to_be_bytes());
            batch[51..53].copy_from_slice(&epoch.to_be_bytes());
            batch[53..57].copy_from_slice(&0i32.to_be_bytes());
        };
        assert_eq!(refused(&theirs, forged(&batch, content, of_producer)), code);
    }
}

#[test]
fn a_compressed_batch_that_is_cut_anywhere_is_refused() {
    let lab = Lab::new(&[]);
    let partition = lab.open();
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(codec);
        for n in 0..20 {
            builder.append(NOW, None, Some(format!("value {n}").as_bytes()), &[]);
        }
        let batch = builder.build(ProducerStamp::NONE);
        put(&partition, batch.clone());
        let content = &batch[61..];
        for length in 0..content.len() {
            let cut = forged(&batch, &content[..length], |_| {});
            let appended = partition.append(cut, AppendOrigin::Client, NOW);
            assert!(
                appended.is_err(),
                "{codec}: {length} of {} bytes",
                content.len()
            );
        }
    }
}
