//! Files that lose what was known to be on disk: nothing is served of a partition that is short, and no offset twice.

use super::*;
use crate::storage::FetchError;

/// A partition of several segments that was closed, and where it ends.
pub(super) fn closed(lab: &Lab) -> i64 {
    let partition = lab.open();
    for _ in 0..40 {
        put(&partition, filled(1, 100, NOW));
    }
    partition.close().expect("close");
    assert!(lab.files("log").len() > 4);
    partition.high_watermark()
}

pub(super) fn lab() -> Lab {
    Lab::new(&[("segment.bytes", "1024")])
}

/// Names and sizes of all files.
fn listing(path: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(path).expect("list");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("entry"))
        .map(|entry| (entry.path(), entry.metadata().expect("stat").len()))
        .collect();
    files.sort();
    files
}

pub(super) fn cut(file: &Path, size: u64) {
    let file = fs::OpenOptions::new().write(true).open(file).expect("open");
    file.set_len(size).expect("cut");
}

fn flip(file: &Path, at: usize) {
    let mut content = fs::read(file).expect("read");
    content[at] ^= 0x20;
    fs::write(file, content).expect("write");
}

/// It is refused, the error names `culprit`, and nothing is changed.
fn assert_damaged(lab: &Lab, path: &Path, known_end: i64, culprit: &Path, context: &str) {
    let exists = path.exists();
    let before = exists.then(|| listing(path));
    let error = lab
        .try_open(path, 0, known_end)
        .map(|_| ())
        .expect_err(context);
    assert!(
        matches!(&error, OpenError::Damaged { .. }),
        "{context}: {error}"
    );
    let text = error.to_string();
    let name = culprit.file_name().expect("a name").to_string_lossy();
    assert!(
        text.contains(&*name) && text.contains("accept-loss"),
        "{context}: {text}"
    );
    assert_eq!(exists.then(|| listing(path)), before, "{context}: {text}");
    let (_, damage) = evidence::look(path, known_end, false).expect("looked at");
    let seen_without_content = !context.starts_with("flipped") && path.join("checkpoint").exists();
    assert!(
        damage.is_some() || !seen_without_content,
        "{context}: {text}"
    );
}

#[test]
fn a_segment_that_is_removed_emptied_or_cut_after_a_clean_stop_is_damage() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let lab = lab();
    let end = closed(&lab);
    let names: Vec<_> = lab.files("log");
    for name in names {
        let size = fs::metadata(&name).expect("stat").len();
        let ways = [None, Some(0), Some(random.u64(0..size)), Some(size - 1)];
        for (way, known_end) in ways.into_iter().flat_map(|way| [(way, 0), (way, end)]) {
            let path = lab.copy("short");
            let file = path.join(name.file_name().expect("a name"));
            match way {
                None => fs::remove_file(&file).expect("remove"),
                Some(size) => cut(&file, size),
            }
            let context = format!("seed {seed} {} {way:?} {known_end}", file.display());
            assert_damaged(&lab, &path, known_end, &file, &context);
        }
    }
}

#[test]
fn without_its_folder_or_its_checkpoint_a_log_is_still_known_to_be_short() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let lab = lab();
    let end = closed(&lab);
    let path = lab.copy("gone");
    fs::remove_dir_all(&path).expect("remove");
    assert_damaged(&lab, &path, end, &path, "the folder");
    let path = lab.copy("gone");
    for file in listing(&path) {
        fs::remove_file(file.0).expect("remove");
    }
    assert_damaged(&lab, &path, end, &path, "all files");
    for name in lab.files("log") {
        let size = fs::metadata(&name).expect("stat").len();
        let at = random.u64(0..size);
        for flipped in [false, true] {
            let path = lab.copy("no-checkpoint");
            fs::remove_file(path.join("checkpoint")).expect("remove");
            let file = path.join(name.file_name().expect("a name"));
            if flipped {
                flip(&file, at as usize);
            } else {
                cut(&file, at);
            }
            let word = if flipped { "flipped" } else { "cut" };
            let context = format!("{word} seed {seed} {} at {at}", file.display());
            let error = lab.try_open(&path, 0, end).map(|_| ()).expect_err(&context);
            assert!(
                matches!(error, OpenError::Damaged { .. }),
                "{context}: {error}"
            );
        }
    }
}

#[test]
fn what_was_never_known_to_be_on_disk_may_be_missing() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let lab = lab();
    let end = closed(&lab);
    let partition = lab.open();
    for _ in 0..20 {
        put(&partition, filled(1, 100, NOW));
    }
    let known = partition.known_end();
    assert_eq!(known, end);
    drop(partition);
    let path = lab.copy("torn");
    let segments = files(&path, "log");
    let last = segments.last().expect("one");
    let size = fs::metadata(last).expect("stat").len();
    cut(last, random.u64(0..size));
    let (partition, _) = lab.try_open(&path, 1, known).expect("opens");
    let now = partition.high_watermark();
    assert!((end..end + 20).contains(&now), "seed {seed}: {now}");
}

#[test]
fn an_accepted_loss_leaves_what_is_sound_and_gives_no_offset_out_again() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let lab = lab();
    let end = closed(&lab);
    let whole = all(&lab.open());
    for round in 0..30 {
        let path = lab.copy("accepted");
        let mut segments = files(&path, "log");
        for _ in 0..random.usize(1..4) {
            if segments.is_empty() {
                break;
            }
            let file = segments.swap_remove(random.usize(..segments.len()));
            match random.u8(..3) {
                0 => fs::remove_file(&file).expect("remove"),
                1 => cut(&file, 0),
                _ => cut(
                    &file,
                    random.u64(0..fs::metadata(&file).expect("stat").len()),
                ),
            }
        }
        let context = format!("seed {seed} round {round}");
        assert!(lab.try_open(&path, 0, end).is_err(), "{context}");
        fs::write(path.join("accept-loss"), "").expect("write");
        let (partition, _) = lab.try_open(&path, 1, end).expect(&context);
        assert_eq!(partition.high_watermark(), end, "{context}");
        assert!(!path.join("accept-loss").exists(), "{context}");
        let left = all(&partition);
        assert!(left.len() <= whole.len(), "{context}");
        let mut known = whole.iter();
        let is_part = left.iter().all(|one| known.any(|other| other == one));
        assert!(is_part, "{context}: {:?}", values(&left));
        assert_eq!(
            put(&partition, filled(1, 5, NOW)).base_offset,
            end,
            "{context}"
        );
        drop(partition);
        // As a killed process leaves it, and as one that stopped does.
        let (partition, _) = lab.try_open(&path, 2, end).expect(&context);
        assert_eq!(all(&partition).len(), left.len() + 1, "{context}");
        partition.close().expect("close");
        drop(partition);
        let (partition, report) = lab.try_open(&path, 2, end + 1).expect(&context);
        assert_eq!(report.scanned_bytes, 0, "{context}");
        assert_eq!(all(&partition).len(), left.len() + 1, "{context}");
    }
}

#[test]
fn what_retention_and_deletion_remove_is_not_missed() {
    let lab = Lab::with(
        &[("segment.bytes", "1024"), ("retention.bytes", "3000")],
        StorageOptions {
            retention_interval_ms: 1,
            ..StorageOptions::default()
        },
    );
    let partition = lab.open();
    for n in 0..60 {
        put(&partition, filled(1, 100, NOW));
        if n % 7 == 0 {
            partition.upkeep(NOW + n * 2_000);
        }
        if n == 50 {
            partition.delete_records(45).expect("deleted");
        }
        let path = lab.copy("killed");
        let (opened, _) = lab
            .try_open(&path, 0, partition.known_end())
            .unwrap_or_else(|error| panic!("after {n}: {error}"));
        assert_eq!(opened.high_watermark(), partition.high_watermark());
        assert_eq!(opened.log_start_offset(), partition.log_start_offset());
    }
    assert!(partition.log_start_offset() >= 45);
    // A file that is there again is below the log's start, and harms nobody.
    let path = lab.copy("killed");
    fs::write(path.join("00000000000000000000.log"), "").expect("write");
    let (opened, _) = lab
        .try_open(&path, 0, partition.known_end())
        .expect("opens");
    assert_eq!(opened.log_start_offset(), partition.log_start_offset());
}

#[test]
fn retention_frees_a_full_disk_and_promises_nothing_meanwhile() {
    let lab = Lab::with(
        &[("segment.bytes", "1024"), ("retention.bytes", "2000")],
        StorageOptions {
            retention_interval_ms: 1,
            ..StorageOptions::default()
        },
    );
    let partition = lab.open();
    for _ in 0..40 {
        put(&partition, filled(1, 100, NOW));
    }
    partition.checkpoint().expect("checkpoint");
    let known = partition.known_end();
    let before = lab.files("log").len();
    partition.upkeep(NOW);
    // Where the checkpoint is to go lies something that it cannot replace.
    let blocked = lab.path().join("checkpoint.tmp");
    fs::create_dir(&blocked).expect("made");
    partition.upkeep(NOW + 10_000);
    assert!(lab.files("log").len() < before, "segments went");
    assert!(!lab.path().join("checkpoint").exists());
    fs::remove_dir(&blocked).expect("removed");
    let path = lab.copy("killed");
    let (opened, _) = lab.try_open(&path, 0, known).expect("opens");
    assert_eq!(opened.log_start_offset(), partition.log_start_offset());
    partition.upkeep(NOW + 20_000);
    assert!(lab.path().join("checkpoint").exists(), "written again");
}

/// Reads from the start until something is wrong: what was read, and the error.
pub(super) fn read_until_error(
    partition: &Partition,
    bytes_max: usize,
) -> (Vec<i64>, Option<FetchError>) {
    let mut offsets = Vec::new();
    let mut from = partition.log_start_offset();
    loop {
        match partition.read(from, bytes_max, Isolation::ReadUncommitted) {
            Ok(fetched) if fetched.records.is_empty() => return (offsets, None),
            Ok(fetched) => {
                for batch in batches(&fetched.records) {
                    let batch = batch.expect("whole batches");
                    batch.verify_crc().expect("only sound ones");
                    offsets.extend(batch.header.base_offset..batch.header.next_offset());
                }
                from = fetched.next_offset;
            }
            Err(error) => return (offsets, Some(error)),
        }
    }
}

#[test]
fn a_read_ends_with_an_error_at_a_damaged_batch_wherever_it_lies() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let lab = lab();
    let end = closed(&lab);
    let mut told = 0;
    for round in 0..200 {
        let path = lab.copy("overwritten");
        let segments = files(&path, "log");
        let file = &segments[random.usize(..segments.len())];
        let mut content = fs::read(file).expect("read");
        if content.is_empty() {
            continue;
        }
        let at = random.usize(..content.len());
        let mut hit = 0;
        let mut start = 0;
        for batch in batches(&Bytes::from(content.clone())) {
            let batch = batch.expect("batch");
            if start <= at {
                hit = batch.header.base_offset;
            }
            start += batch.bytes().len();
        }
        let stop = (at + random.usize(1..13)).min(content.len());
        content[at..stop].fill(b'X');
        fs::write(file, content).expect("write");
        let context = format!("seed {seed} round {round}: byte {at} of {}", file.display());
        // Where the index has to be made anew it is found at once.
        let Ok((partition, _)) = lab.try_open(&path, 0, end) else {
            continue;
        };
        for bytes_max in [1, random.usize(1..2000), 1 << 20] {
            let (offsets, error) = read_until_error(&partition, bytes_max);
            let read_to = offsets.len() as i64;
            assert!(offsets.into_iter().eq(0..read_to), "{context}");
            // Base offset and leader epoch, in front of a batch, are in no checksum.
            if error.is_none() && read_to == end {
                continue;
            }
            told += 1;
            let error = error.expect(&context);
            assert_eq!(
                error.code(),
                log_protocol::ErrorCode::CorruptMessage,
                "{context}: {error}"
            );
            assert_eq!(read_to, hit, "{context}: {error}");
            // Wherever in it a read begins, the place is the same.
            let inside = partition.read(hit, bytes_max, Isolation::ReadUncommitted);
            assert_eq!(inside.map(|_| ()), Err(error.clone()), "{context}");
            let trouble = partition.trouble().expect("told").to_string();
            assert!(
                trouble.contains(&format!("orders-3 is corrupt at offset {hit}")),
                "{trouble}"
            );
        }
        if random.bool() && partition.delete_records(end).is_ok() {
            assert_eq!(partition.trouble(), None, "{context}: it is gone");
        }
    }
    assert!(told > 100, "seed {seed}: {told}");
}

#[test]
fn retention_takes_a_damaged_segment_by_the_time_of_its_file() {
    let lab = Lab::with(
        &[("segment.bytes", "1024"), ("retention.ms", "1000")],
        StorageOptions {
            retention_interval_ms: 1,
            ..StorageOptions::default()
        },
    );
    let end = closed(&lab);
    let first = lab.files("log").remove(0);
    flip(&first, 16);
    fs::remove_file(first.with_extension("timeindex")).expect("remove");
    let (partition, _) = lab.try_open(&lab.path(), 0, end).expect("open");
    let modified = fs::metadata(&first)
        .expect("stat")
        .modified()
        .expect("time");
    let modified = modified
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    let later = modified.as_millis() as i64 + 10_000;
    partition.upkeep(later);
    partition.upkeep(later + 10_000);
    assert!(!first.exists(), "{:?}", lab.files("log"));
    assert_eq!(partition.log_start_offset(), end);
}

/// Makes the checkpoint in `path` one that does not name the segments, as version 1 is.
fn forget_segments(path: &Path) {
    let file = path.join("checkpoint");
    let mut bytes = fs::read(&file).expect("read");
    let known = checkpoint::Checkpoint::read(path).expect("sound").segments;
    bytes.truncate(bytes.len() - 4 - known.expect("named").len() * 16);
    bytes[5] = 1;
    let length = (bytes.len() - 16) as u32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_be_bytes());
    fs::write(&file, bytes).expect("write");
    let read = checkpoint::Checkpoint::read(path).expect("still sound");
    assert_eq!(read.segments, None);
}

#[test]
fn a_hole_between_segments_is_damage_though_no_checkpoint_names_them() {
    let lab = lab();
    let end = closed(&lab);
    let names = lab.files("log");
    let count = names.len();
    for old in [false, true] {
        let prepare = || {
            let path = lab.copy("hole");
            if old {
                forget_segments(&path);
            } else {
                fs::remove_file(path.join("checkpoint")).expect("remove");
            }
            path
        };
        let whole = prepare();
        let (partition, _) = lab.try_open(&whole, 1, end).expect("whole");
        assert_eq!(all(&partition).len() as i64, end);
        partition.upkeep(NOW);
        drop(partition);
        let now = checkpoint::Checkpoint::read(&whole).and_then(|found| found.segments);
        assert_eq!(
            now.is_some(),
            old,
            "one of an older version is replaced at once"
        );
        for (n, name) in names.iter().enumerate() {
            // Where nothing says where the log begins, retention may have taken the first.
            if n == 0 && !old {
                continue;
            }
            for (way, emptied) in [("removed", false), ("emptied", true)] {
                let path = prepare();
                let file = path.join(name.file_name().expect("a name"));
                if emptied {
                    cut(&file, 0);
                } else {
                    fs::remove_file(&file).expect("remove");
                }
                let context = format!("{way} {} of {count}, old {old}", file.display());
                let error = lab.try_open(&path, 1, end).map(|_| ()).expect_err(&context);
                assert!(
                    matches!(error, OpenError::Damaged { .. }),
                    "{context}: {error}"
                );
                let (_, seen) = evidence::look(&path, end, false).expect("looked at");
                assert!(seen.is_some() || n + 1 == count, "{context}");
                let before = listing(&path);
                // Compaction may have taken what lies in between.
                let (_, seen) = evidence::look(&path, end, true).expect("looked at");
                assert!(seen.is_none() || n == 0 || n + 1 == count, "{context}");
                assert_eq!(listing(&path), before, "{context}");
            }
        }
    }
}

#[test]
fn an_accepted_loss_passes_over_swapped_segments_and_keeps_those_behind() {
    let lab = lab();
    let end = closed(&lab);
    let path = lab.copy("swapped");
    let segments = files(&path, "log");
    let [one, other] = [&segments[1], &segments[2]];
    let [first, second] = [one, other].map(|file| fs::read(file).expect("read"));
    fs::write(one, second).expect("write");
    fs::write(other, first).expect("write");
    for ending in ["index", "timeindex"] {
        for file in files(&path, ending) {
            fs::remove_file(file).expect("remove");
        }
    }
    fs::remove_file(path.join("checkpoint")).expect("remove");
    assert!(lab.try_open(&path, 0, end).is_err());
    fs::write(path.join("accept-loss"), "").expect("write");
    let (partition, _) = lab.try_open(&path, 1, end).expect("accepted");
    let lost = segments[1..4].iter().map(|file| base_of(file));
    let [from, _, to] = lost.collect::<Vec<_>>()[..] else {
        panic!("three")
    };
    let left: Vec<_> = all(&partition).iter().map(|record| record.offset).collect();
    let expected: Vec<_> = (0..from).chain(to..end).collect();
    assert_eq!(left, expected);
    drop(partition);
    let (partition, _) = lab.try_open(&path, 2, end).expect("again");
    assert_eq!(all(&partition).len(), expected.len());
}

pub(super) fn base_of(file: &Path) -> i64 {
    let name = file.file_stem().and_then(|name| name.to_str());
    name.expect("a name").parse().expect("a number")
}
