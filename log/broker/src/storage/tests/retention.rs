//! What ages out, what is deleted, and when checkpoints are written.

use super::*;

const HOUR: i64 = 3_600_000;

/// Runs the periodic work twice: the first look only begins the intervals.
fn age(partition: &Partition, now_ms: i64) {
    partition.upkeep(now_ms - 40_000);
    partition.upkeep(now_ms);
}

#[test]
fn segments_age_out_by_time_also_the_active_one() {
    let lab = Lab::new(&[("segment.bytes", "1024"), ("retention.ms", "3600000")]);
    let partition = lab.open();
    for n in 0..20 {
        put(&partition, filled(1, 200, NOW - 5 * HOUR + n * HOUR / 4));
    }
    age(&partition, NOW);
    let start = partition.log_start_offset();
    assert!((12..=16).contains(&start), "{start}");
    let seen = all(&partition);
    assert_eq!((seen[0].offset, seen.len() as i64), (start, 20 - start));
    let error = partition
        .read(start - 1, 1, Isolation::ReadUncommitted)
        .expect_err("gone");
    assert_eq!(error.code(), log_protocol::ErrorCode::OffsetOutOfRange);
    age(&partition, NOW + 20 * HOUR);
    assert_eq!(
        (
            partition.log_start_offset(),
            partition.high_watermark(),
            partition.size_bytes()
        ),
        (20, 20, 0)
    );
    assert_eq!(put(&partition, filled(1, 1, NOW)).base_offset, 20);
    drop(partition);
    let partition = lab.open();
    assert_eq!(
        (partition.log_start_offset(), partition.high_watermark()),
        (20, 21)
    );
}

#[test]
fn segments_age_out_by_size() {
    let lab = Lab::new(&[("segment.bytes", "1024"), ("retention.bytes", "3000")]);
    let partition = lab.open();
    for _ in 0..40 {
        put(&partition, filled(1, 200, NOW));
    }
    age(&partition, NOW);
    assert!(
        (3000..4100).contains(&partition.size_bytes()),
        "{}",
        partition.size_bytes()
    );
    let disk: u64 = lab
        .files("log")
        .iter()
        .map(|file| fs::metadata(file).expect("stat").len())
        .sum();
    assert_eq!(disk, partition.size_bytes());
    lab.set(&[("cleanup.policy", "compact"), ("retention.ms", "1")]);
    let start = partition.log_start_offset();
    age(&partition, NOW + 90 * HOUR);
    assert_eq!(
        partition.log_start_offset(),
        start,
        "compacted topics keep what is old"
    );
}

#[test]
fn deleted_records_stay_deleted() {
    let lab = Lab::new(&[("segment.bytes", "1024")]);
    let partition = lab.open();
    for _ in 0..30 {
        put(&partition, filled(2, 100, NOW));
    }
    let files = lab.files("log").len();
    assert_eq!(partition.delete_records(31), Ok(31));
    assert_eq!(
        partition.delete_records(10),
        Ok(31),
        "the start never goes back"
    );
    assert!(partition.delete_records(61).is_err());
    assert!(lab.files("log").len() < files);
    // The start lies inside a batch, which is read whole.
    let fetched = partition
        .read(31, 1, Isolation::ReadUncommitted)
        .expect("read");
    assert_eq!(
        batches(&fetched.records)
            .next()
            .expect("one")
            .expect("batch")
            .header
            .base_offset,
        30
    );
    drop(partition);
    let partition = lab.open();
    assert_eq!(
        (partition.log_start_offset(), partition.high_watermark()),
        (31, 60)
    );
    assert_eq!(partition.delete_records(-1), Ok(60));
    drop(partition);
    let partition = lab.open();
    assert_eq!(
        (partition.log_start_offset(), partition.high_watermark()),
        (60, 60)
    );
    assert_eq!(put(&partition, filled(1, 1, NOW)).base_offset, 60);
}

#[test]
fn an_old_active_segment_is_sealed_and_checkpointed() {
    let lab = Lab::new(&[("segment.ms", "1000")]);
    let partition = lab.open();
    put(&partition, filled(1, 10, NOW));
    partition.upkeep(NOW + 500);
    assert_eq!(lab.files("log").len(), 1);
    partition.upkeep(NOW + 1500);
    assert_eq!(lab.files("log").len(), 2);
    assert!(lab.path().join("checkpoint").exists());
    partition.upkeep(NOW + 9000);
    assert_eq!(lab.files("log").len(), 2, "an empty one is not");
}

#[test]
fn the_tick_syncs_what_is_due() {
    let lab = Lab::new(&[("flush.ms", "500")]);
    let partition = lab.open();
    put(&partition, filled(1, 10, NOW));
    partition.tick(NOW + 100);
    assert_eq!(partition.synced_offset(), 0);
    assert!(partition.tick(NOW + 300));
    // The sync runs in the background; this one waits behind it.
    assert!(partition.durability.sync_now());
    assert_eq!(partition.synced_offset(), 1);
}

#[test]
fn records_without_a_time_age_out_by_that_of_their_file() {
    let lab = Lab::new(&[("segment.bytes", "1024"), ("retention.ms", "3600000")]);
    let partition = lab.open();
    for _ in 0..10 {
        put(&partition, filled(1, 600, -1));
    }
    let written = fs::metadata(&lab.files("log")[0]).and_then(|meta| meta.modified());
    let written = written
        .expect("a time")
        .duration_since(std::time::UNIX_EPOCH);
    let written = written.expect("after 1970").as_millis() as i64;
    age(&partition, written + HOUR / 2);
    assert_eq!(partition.log_start_offset(), 0);
    age(&partition, written + 2 * HOUR);
    assert_eq!(partition.log_start_offset(), 10);
}

#[test]
fn a_damaged_time_index_removes_nothing() {
    let damages: [fn(&Path); 3] = [
        |path| {
            let mut bytes = fs::read(path).expect("read");
            let last = bytes.len() - 12;
            bytes[last..].fill(0);
            fs::write(path, bytes).expect("write");
        },
        |path| fs::write(path, [0; 24]).expect("write"),
        |path| fs::write(path, []).expect("write"),
    ];
    for damage in damages {
        let lab = Lab::new(&[("segment.bytes", "1024"), ("retention.ms", "3600000")]);
        let partition = lab.open();
        for n in 0..10 {
            put(&partition, filled(1, 600, NOW + n));
        }
        partition.close().expect("close");
        drop(partition);
        for path in lab.files("timeindex") {
            damage(&path);
        }
        let partition = lab.open();
        age(&partition, NOW + HOUR);
        assert_eq!(partition.log_start_offset(), 0);
        let found = partition.offset_for_timestamp(NOW + 4).expect("search");
        assert_eq!(found, Some((4, NOW + 4)));
        age(&partition, NOW + 2 * HOUR);
        assert_eq!(partition.log_start_offset(), 10, "what is old goes");
    }
}
