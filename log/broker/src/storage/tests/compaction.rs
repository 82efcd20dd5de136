//! Compaction: the last of each key stays, at its offset; what was aborted goes.

use std::collections::HashMap;

use log_protocol::ControlKind;

use super::*;
use crate::storage::read::Visit;

const CONFIG: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.bytes", "1500"),
    ("min.cleanable.dirty.ratio", "0"),
    ("delete.retention.ms", "1000"),
];

fn clean(partition: &Partition, now_ms: i64) {
    partition.upkeep(now_ms - 40_000);
    partition.upkeep(now_ms);
    partition.clean(now_ms);
}

fn set(partition: &Partition, key: &str, value: Option<&str>) -> i64 {
    put(
        partition,
        batch_of(&[(Some(key), value)], NOW, ProducerStamp::NONE),
    )
    .base_offset
}

fn committed(partition: &Partition) -> Vec<Record> {
    let fetched = read_all(
        partition,
        partition.log_start_offset(),
        4000,
        Isolation::ReadCommitted,
    );
    let aborted = partition.aborted.read().clone();
    let mut kept = Vec::new();
    partition
        .for_each_batch(0, |batch| {
            let hidden = batch.header.is_transactional()
                && aborted.covers(batch.header.producer_id, batch.header.base_offset);
            if !hidden && !batch.header.is_control() {
                for record in batch.records(1 << 20)? {
                    kept.push(record?);
                }
            }
            Ok(Visit::Continue)
        })
        .expect("walk");
    kept.retain(|record| fetched.contains(record));
    kept
}

#[test]
fn the_last_of_each_key_stays_at_its_offset() {
    let lab = Lab::new(CONFIG);
    let partition = lab.open();
    let mut last = HashMap::new();
    for n in 0..200 {
        let key = format!("k{}", n % 7);
        last.insert(key.clone(), set(&partition, &key, Some(&format!("v{n}"))));
    }
    let before = partition.size_bytes();
    let end = partition.high_watermark();
    clean(&partition, NOW + 60_000);
    assert!(
        partition.size_bytes() < before / 2,
        "{} of {before}",
        partition.size_bytes()
    );
    assert_eq!(
        (partition.high_watermark(), partition.log_start_offset()),
        (end, 0)
    );
    let partition = {
        drop(partition);
        lab.open()
    };
    let seen = all(&partition);
    for (key, offset) in &last {
        let of_key: Vec<_> = seen
            .iter()
            .filter(|record| record.key.as_deref() == Some(key.as_bytes()))
            .collect();
        assert_eq!(of_key.last().expect("kept").offset, *offset);
    }
    assert!(seen.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    // Every offset can be asked for, also those that are gone.
    for from in 0..end {
        let next = read_all(&partition, from, 1, Isolation::ReadUncommitted)
            .first()
            .map(|record| record.offset);
        assert_eq!(
            next,
            seen.iter()
                .map(|record| record.offset)
                .find(|offset| *offset >= from)
        );
    }
    let disk: u64 = lab
        .files("log")
        .iter()
        .map(|file| fs::metadata(file).expect("stat").len())
        .sum();
    assert_eq!(disk, partition.size_bytes());
}

#[test]
fn tombstones_stay_for_their_time() {
    let lab = Lab::new(CONFIG);
    let partition = lab.open();
    set(&partition, "a", Some("1"));
    let tombstone = set(&partition, "a", None);
    let fill = |partition: &Partition| {
        (0..60).for_each(|n| {
            set(partition, &format!("f{}", n % 3), Some("x"));
        })
    };
    fill(&partition);
    clean(&partition, NOW + 60_000);
    let has = |partition: &Partition| {
        all(partition)
            .iter()
            .any(|record| record.key.as_deref() == Some(b"a"))
    };
    assert!(has(&partition));
    assert_eq!(all(&partition)[0].offset, tombstone);
    fill(&partition);
    drop(partition);
    let partition = lab.open();
    clean(&partition, NOW + 120_000);
    assert!(!has(&partition));
}

#[test]
fn aborted_records_go_and_committed_ones_stay() {
    let lab = Lab::new(CONFIG);
    let partition = lab.open();
    let mut sequence = 0;
    for round in 0..30 {
        let value = format!("r{round}");
        put(
            &partition,
            batch_of(
                &[(Some("a"), Some(&value)), (Some("b"), Some(&value))],
                NOW,
                stamp(9, 0, sequence, true),
            ),
        );
        sequence += 2;
        let kind = if round % 3 == 0 {
            ControlKind::Commit
        } else {
            ControlKind::Abort
        };
        partition.append_marker(kind, 9, 0, 0, NOW).expect("marker");
    }
    let visible = committed(&partition).last().map(|record| record.offset);
    for now in [NOW + 60_000, NOW + 120_000, NOW + 180_000] {
        set(&partition, "c", Some("later"));
        clean(&partition, now);
        let a: Vec<_> = committed(&partition)
            .into_iter()
            .filter(|r| r.key.as_deref() == Some(b"a"))
            .collect();
        assert_eq!(
            a.last().map(|record| record.value.as_deref()),
            Some(Some(&b"r27"[..]))
        );
        assert!(
            committed(&partition)
                .iter()
                .any(|record| Some(record.offset) == visible)
        );
    }
    // Without its checkpoint the log says the same, and no transaction comes back to life.
    let path = lab.copy("bare");
    let _ = fs::remove_file(path.join("checkpoint"));
    let bare = lab.open_at(&path, 0);
    assert_eq!(values(&committed(&bare)), values(&committed(&partition)));
    assert_eq!(bare.last_stable_offset(), bare.high_watermark());
    assert_eq!(bare.producers()[0].last_sequence, sequence - 1);
    let again = batch_of(
        &[(Some("a"), Some("r29")), (Some("b"), Some("r29"))],
        NOW,
        stamp(9, 0, sequence - 2, true),
    );
    assert!(put(&bare, again).duplicate);
}

#[test]
fn an_open_transaction_stops_the_cleaner() {
    let lab = Lab::new(CONFIG);
    let partition = lab.open();
    put(
        &partition,
        batch_of(&[(Some("a"), Some("open"))], NOW, stamp(9, 0, 0, true)),
    );
    (0..60).for_each(|_| {
        set(&partition, "a", Some("x"));
    });
    let before = all(&partition);
    clean(&partition, NOW + 60_000);
    assert_eq!(all(&partition), before);
}

#[test]
fn a_swap_is_finished_or_forgotten_after_a_crash() {
    let lab = Lab::new(CONFIG);
    let partition = lab.open();
    (0..60).for_each(|n| {
        let _ = set(&partition, &format!("k{}", n % 3), Some(&n.to_string()));
    });
    // As the one before a swap.
    partition.checkpoint_beside(i64::MAX).expect("checkpoint");
    let whole = values(&all(&partition));
    let old = lab.copy("old");
    clean(&partition, NOW + 60_000);
    let cleaned = values(&all(&partition));
    assert!(cleaned.len() < whole.len());
    let new_files = lab.files("log");
    let bases: Vec<i64> = new_files.iter().map(|file| base(file)).collect();
    let swap_from = |decided: bool, renamed: usize| {
        let path = lab.folder.path().join(format!("swap-{decided}-{renamed}"));
        fs::create_dir_all(&path).expect("create");
        for file in fs::read_dir(&old).expect("list") {
            let file = file.expect("entry");
            fs::copy(file.path(), path.join(file.file_name())).expect("copy");
        }
        let active = *bases.last().expect("active");
        let outputs: Vec<_> = new_files
            .iter()
            .filter(|file| base(file) != active)
            .collect();
        let mut text = String::new();
        for (n, output) in outputs.iter().enumerate() {
            let name = output
                .file_name()
                .expect("name")
                .to_string_lossy()
                .into_owned();
            let target = if n < renamed {
                name
            } else {
                format!("{name}.cleaned")
            };
            fs::copy(output, path.join(target)).expect("copy");
            text += &format!("output {}\n", base(output));
        }
        for file in files(&old, "log")
            .iter()
            .filter(|file| !bases.contains(&base(file)))
        {
            text += &format!("remove {}\n", base(file));
        }
        if decided {
            fs::write(path.join("compaction.swap"), text + "end\n").expect("write");
        }
        let opened = lab.open_at(&path, 0);
        assert!(files(&path, "cleaned").is_empty() && !path.join("compaction.swap").exists());
        values(&all(&opened))
    };
    assert_eq!(swap_from(false, 0), whole);
    assert_eq!(swap_from(true, 0), cleaned);
    assert_eq!(swap_from(true, 1), cleaned);
}

fn base(path: &Path) -> i64 {
    path.file_stem()
        .and_then(|name| name.to_str())
        .expect("name")
        .parse()
        .expect("number")
}

/// Random keys, tombstones, codecs, crashes and cleanings against a map.
#[test]
fn random_updates_keep_the_last_of_each_key() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..6 {
        let memory = if round % 2 == 0 { 400 } else { 1 << 20 };
        let options = StorageOptions {
            compaction_memory_bytes: memory,
            ..StorageOptions::default()
        };
        let lab = Lab::with(CONFIG, options);
        let mut partition = lab.open();
        let mut model: HashMap<String, (i64, Option<String>)> = HashMap::new();
        let mut now = NOW;
        for step in 0..150 {
            let codec = *random.choice(&Compression::ALL[..]).expect("codecs");
            let mut builder = BatchBuilder::new(codec);
            let mut written = Vec::new();
            for _ in 0..random.usize(1..6) {
                let key = format!("k{}", random.u8(..12));
                let value = (random.u8(..5) > 0)
                    .then(|| format!("{step}-{}", "z".repeat(random.usize(..60))));
                builder.append(
                    NOW,
                    Some(key.as_bytes()),
                    value.as_deref().map(str::as_bytes),
                    &[("h", Some(b"1"))],
                );
                written.push((key, value));
            }
            let base = put(&partition, builder.build(ProducerStamp::NONE)).base_offset;
            for (n, (key, value)) in written.into_iter().enumerate() {
                model.insert(key, (base + n as i64, value));
            }
            if random.u8(..12) == 0 {
                now += 60_000;
                clean(&partition, now);
            }
            if random.u8(..20) == 0 {
                drop(partition);
                partition = lab.open();
            }
        }
        let mut seen: HashMap<String, (i64, Option<String>)> = HashMap::new();
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("text");
        for record in all(&partition) {
            assert_eq!(record.headers.len(), 1);
            seen.insert(
                text(record.key.as_ref().expect("key")),
                (record.offset, record.value.as_ref().map(text)),
            );
        }
        for (key, (offset, value)) in &model {
            match (seen.remove(key), value) {
                (Some(found), _) => assert_eq!(
                    &found,
                    &(*offset, value.clone()),
                    "seed {seed} round {round} {key}"
                ),
                (None, None) => {}
                (None, Some(_)) => panic!("seed {seed} round {round}: {key} is lost"),
            }
        }
        assert!(seen.is_empty(), "seed {seed} round {round}: {seen:?}");
    }
}

#[test]
fn readers_come_to_the_end_though_nothing_is_left() {
    let lab = Lab::new(&[("segment.bytes", "1500")]);
    let partition = lab.open();
    for _ in 0..60 {
        put(&partition, filled(1, 100, NOW));
    }
    lab.set(&[CONFIG, &[("segment.ms", "1000")]].concat());
    let reaches_the_end = |partition: &Partition| {
        let fetched = partition
            .read(0, 1 << 20, Isolation::ReadCommitted)
            .expect("read");
        let last = batches(&fetched.records).last().expect("a batch");
        let header = last.expect("whole").header;
        (header.record_count, header.next_offset()) == (0, partition.high_watermark())
    };
    clean(&partition, NOW + 60_000);
    assert!(all(&partition).is_empty());
    assert!(reaches_the_end(&partition));
    drop(partition);
    let partition = lab.open();
    assert!(reaches_the_end(&partition));
    // With batches behind it, it goes too.
    set(&partition, "a", Some("1"));
    clean(&partition, NOW + 120_000);
    assert_eq!(all(&partition)[0].offset, 60);
    assert_eq!(lab.files("log").len(), 2);
}

#[test]
fn a_compaction_that_fails_does_not_keep_the_rest_from_its_work() {
    let lab = Lab::new(CONFIG);
    let partition = lab.open();
    (0..60).for_each(|n| {
        let _ = set(&partition, &format!("k{}", n % 3), Some("x"));
    });
    let first = lab.files("log").remove(0);
    let mut bytes = fs::read(&first).expect("read");
    bytes[80] ^= 1;
    fs::write(&first, bytes).expect("write");
    partition.upkeep(NOW + 20_000);
    partition.clean(NOW + 20_000);
    let checkpoint = lab.path().join("checkpoint");
    fs::remove_file(&checkpoint).expect("remove");
    set(&partition, "a", Some("1"));
    partition.upkeep(NOW + 90_000);
    partition.clean(NOW + 90_000);
    assert!(checkpoint.exists());
    assert!(partition.check_online().is_ok());
    assert!(lab.files("cleaned").is_empty());
}
