//! Reads: limits, the ring, indexes that are gone or wrong, searches by time.

use log_protocol::ControlKind;

use super::*;
use crate::storage::read::Visit;

fn build(lab: &Lab) -> Partition {
    let partition = lab.open();
    for n in 0..60i64 {
        // Timestamps go up and down.
        put(
            &partition,
            filled(1 + (n % 3) as i32, 100, NOW + (n * 7) % 50),
        );
    }
    partition
}

#[test]
fn every_offset_is_found_with_any_limit() {
    let lab = Lab::new(&[("segment.bytes", "4000"), ("index.interval.bytes", "300")]);
    let partition = build(&lab);
    assert!(lab.files("log").len() > 3);
    let whole = all(&partition);
    assert_eq!(whole.len() as i64, partition.high_watermark());
    for from in 0..=partition.high_watermark() {
        for bytes_max in [0, 1, 150, 1000, 1 << 20] {
            let seen = read_all(&partition, from, bytes_max, Isolation::ReadUncommitted);
            assert_eq!(seen, whole[from as usize..], "from {from} max {bytes_max}");
        }
        let limited = partition
            .read(from, 700, Isolation::ReadUncommitted)
            .expect("read")
            .records
            .len();
        assert!(limited <= 700, "{limited}");
    }
    let error = partition
        .read(
            partition.high_watermark() + 1,
            1,
            Isolation::ReadUncommitted,
        )
        .expect_err("beyond");
    assert_eq!(error.code(), log_protocol::ErrorCode::OffsetOutOfRange);
    assert!(partition.read(-1, 1, Isolation::ReadUncommitted).is_err());
}

#[test]
fn a_batch_larger_than_the_limit_comes_whole() {
    let lab = Lab::new(&[]);
    let partition = lab.open();
    put(&partition, filled(1, 100_000, NOW));
    put(&partition, filled(1, 300_000, NOW));
    let fetched = partition
        .read(1, 10, Isolation::ReadUncommitted)
        .expect("read");
    assert_eq!(fetched.records.len(), filled(1, 300_000, NOW).len());
}

#[test]
fn the_ring_answers_what_the_disk_would() {
    let lab = Lab::with(
        &[],
        StorageOptions {
            ring_partition_bytes_max: 2000,
            ..StorageOptions::default()
        },
    );
    let partition = lab.open();
    let mut watch = partition.watch();
    put(&partition, filled(2, 50, NOW));
    assert!(partition.ring.lock().is_empty(), "nobody waits");
    let end = partition.high_watermark();
    assert!(
        partition
            .read(end, 100, Isolation::ReadCommitted)
            .expect("tail")
            .records
            .is_empty()
    );
    watch.mark_unchanged();
    for _ in 0..30 {
        put(&partition, filled(2, 50, NOW));
    }
    assert!(watch.has_changed().expect("open"));
    assert!(!partition.ring.lock().is_empty());
    for from in 0..partition.high_watermark() {
        for bytes_max in [1, 500, 100_000] {
            let fast = partition
                .ring
                .lock()
                .read(from, partition.high_watermark(), bytes_max);
            let seen = partition
                .read(from, bytes_max, Isolation::ReadUncommitted)
                .expect("read")
                .records;
            if let Some((bytes, _)) = fast {
                assert_eq!(bytes, seen);
            }
            let file = fs::read(&lab.files("log")[0]).expect("file");
            let first = batches(&seen).next().expect("one").expect("batch");
            let at = file
                .windows(8)
                .position(|bytes| bytes == first.header.base_offset.to_be_bytes())
                .expect("found");
            assert_eq!(seen, file[at..at + seen.len()]);
        }
    }
    // Nobody came for a while: the ring is given back.
    partition.upkeep(NOW);
    partition.upkeep(NOW + 1_000);
    partition.upkeep(NOW + 20_000);
    assert!(partition.ring.lock().is_empty());
    put(&partition, filled(2, 50, NOW));
    assert!(partition.ring.lock().is_empty());
}

#[test]
fn indexes_that_are_gone_or_wrong_are_rebuilt() {
    let lab = Lab::new(&[("segment.bytes", "4000"), ("index.interval.bytes", "300")]);
    let partition = build(&lab);
    let whole = all(&partition);
    let by_time = |partition: &Partition| -> Vec<_> {
        (0..60)
            .map(|ms| partition.offset_for_timestamp(NOW + ms).expect("search"))
            .collect()
    };
    let times = by_time(&partition);
    partition.close().expect("close");
    drop(partition);
    let damage: [&dyn Fn(&Path); 4] = [
        &|path| fs::remove_file(path).expect("remove"),
        &|path| fs::write(path, [7; 5]).expect("write"),
        &|path| fs::write(path, []).expect("write"),
        &|path| {
            let mut bytes = fs::read(path).expect("read");
            bytes
                .iter_mut()
                .skip(4)
                .step_by(8)
                .for_each(|byte| *byte ^= 0x55);
            fs::write(path, bytes).expect("write");
        },
    ];
    for (n, damage) in damage.iter().enumerate() {
        let path = lab.copy("damaged");
        let indexes = files(&path, "index");
        assert!(indexes.len() > 3);
        indexes.iter().for_each(|file| damage(file));
        if n < 3 {
            files(&path, "timeindex")
                .iter()
                .for_each(|file| damage(file));
        }
        let partition = lab.open_at(&path, 0);
        for from in (0..whole.len()).rev() {
            let seen = partition
                .read(from as i64, 1, Isolation::ReadUncommitted)
                .expect("read");
            let batch = batches(&seen.records).next().expect("one").expect("batch");
            assert!(
                (batch.header.base_offset..=batch.header.last_offset()).contains(&(from as i64))
            );
        }
        assert_eq!(by_time(&partition), times, "damage {n}");
        assert_eq!(all(&partition), whole);
    }
}

#[test]
fn a_search_by_time_finds_the_exact_record() {
    let lab = Lab::new(&[
        ("segment.bytes", "4000"),
        ("index.interval.bytes", "300"),
        ("compression.type", "lz4"),
    ]);
    let partition = build(&lab);
    let whole = all(&partition);
    for ms in -3..70 {
        let expected = whole
            .iter()
            .find(|record| record.timestamp >= NOW + ms)
            .map(|record| (record.offset, record.timestamp));
        assert_eq!(
            partition.offset_for_timestamp(NOW + ms).expect("search"),
            expected,
            "{ms}"
        );
    }
    let latest = whole
        .iter()
        .map(|record| record.timestamp)
        .max()
        .expect("some");
    let first = whole
        .iter()
        .find(|record| record.timestamp == latest)
        .expect("one");
    assert_eq!(
        partition.max_timestamp().expect("search"),
        Some((first.offset, latest))
    );
    assert_eq!(
        lab.open_at(&lab.copy("empty").join("none"), 0)
            .max_timestamp(),
        Ok(None)
    );
}

#[test]
fn the_full_walk_sees_markers_and_stops_when_told() {
    let lab = Lab::new(&[("segment.bytes", "1024")]);
    let partition = lab.open();
    for n in 0..30 {
        put(
            &partition,
            batch_of(&[(Some("k"), Some("v"))], NOW, stamp(1, 0, n, true)),
        );
        partition
            .append_marker(log_protocol::ControlKind::Commit, 1, 0, 0, NOW)
            .expect("marker");
    }
    let (mut records, mut markers) = (0, 0);
    let count = |batch: &log_protocol::Batch| {
        if batch.header.is_control() {
            markers += 1
        } else {
            records += 1
        }
        Ok(Visit::Continue)
    };
    partition.for_each_batch(10, count).expect("walk");
    assert_eq!((records, markers), (25, 25));
    let mut seen = 0;
    let stop = |_: &log_protocol::Batch| {
        seen += 1;
        Ok(if seen == 3 {
            Visit::Stop
        } else {
            Visit::Continue
        })
    };
    partition.for_each_batch(0, stop).expect("walk");
    assert_eq!(seen, 3);
}

#[test]
fn the_newest_record_is_found_behind_a_newer_marker() {
    let lab = Lab::new(&[("segment.bytes", "1024")]);
    let partition = lab.open();
    let long = "v".repeat(400);
    for round in 0..4 {
        let records = [(None, Some("a")), (None, Some(long.as_str()))];
        let at = NOW + round * 100;
        put(
            &partition,
            batch_of(&records, at, stamp(9, 0, round as i32 * 2, true)),
        );
        partition
            .append_marker(ControlKind::Commit, 9, 0, 0, at + 50)
            .expect("marker");
    }
    assert_eq!(
        partition.max_timestamp().expect("read"),
        Some((10, NOW + 301))
    );
}

#[test]
fn what_is_sent_from_a_file_is_what_a_read_gives() {
    use std::os::unix::fs::FileExt;

    use log_protocol::Payload;

    let lab = Lab::new(&[
        ("segment.bytes", "500000"),
        ("index.interval.bytes", "4096"),
    ]);
    let partition = lab.open();
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..200 {
        let size = if random.u8(..4) == 0 { 100 } else { 20_000 };
        put(&partition, filled(random.i32(1..4), size, NOW));
    }
    let isolation = Isolation::ReadUncommitted;
    let same = |from, bytes_max| {
        let read = partition.read(from, bytes_max, isolation).expect("read");
        let sent = partition.read_to_send(from, bytes_max, isolation);
        let sent = sent.expect("where they lie");
        assert_eq!(sent.next_offset, read.next_offset, "{from} {bytes_max}");
        match sent.records {
            Payload::Bytes(bytes) => {
                assert_eq!(bytes, read.records);
                false
            }
            Payload::File(range) => {
                let mut bytes = vec![0; range.length];
                let file = &range.file;
                file.read_exact_at(&mut bytes, range.position)
                    .expect("the range is there");
                assert_eq!(bytes, read.records, "{from} {bytes_max}");
                true
            }
        }
    };
    let end = partition.high_watermark();
    let from_files = (0..300).filter(|_| same(random.i64(0..=end), random.usize(..300_000)));
    assert!(from_files.count() > 30);
    // A file that was cut is read, which tells of it.
    let cut = lab.files("log").first().cloned().expect("a segment");
    let file = fs::OpenOptions::new().write(true).open(cut).expect("open");
    file.set_len(150_000).expect("cut");
    let cut = partition.read_to_send(0, 300_000, isolation);
    assert!(cut.map_or(true, |sent| sent.records.bytes().is_some()));
}
