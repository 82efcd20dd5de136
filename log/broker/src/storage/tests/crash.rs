//! Crashes: every torn tail, every changed byte, random histories with power cuts.

use log_protocol::ControlKind;

use super::*;

fn last_file(path: &Path) -> PathBuf {
    files(path, "log").pop().expect("a segment")
}

#[test]
fn a_torn_tail_is_cut_at_every_byte_of_the_last_batch() {
    let lab = Lab::new(&[]);
    let partition = lab.open();
    put(&partition, filled(2, 10, NOW));
    put(&partition, filled(3, 20, NOW));
    let sound = partition.size_bytes();
    put(&partition, filled(4, 30, NOW));
    let whole = partition.size_bytes();
    for cut in sound..whole {
        let path = lab.copy("torn");
        let file = fs::OpenOptions::new()
            .write(true)
            .open(last_file(&path))
            .expect("open");
        file.set_len(cut).expect("cut");
        let partition = lab.open_at(&path, 0);
        assert_eq!(partition.high_watermark(), 5, "cut at {cut}");
        assert_eq!(partition.size_bytes(), sound);
        assert_eq!(put(&partition, filled(1, 5, NOW)).base_offset, 5);
        drop(partition);
        assert_eq!(all(&lab.open_at(&path, 0)).len(), 6);
    }
}

#[test]
fn a_changed_byte_in_the_unsynced_tail_cuts_there() {
    let lab = Lab::new(&[]);
    let partition = lab.open();
    put(&partition, filled(2, 10, NOW));
    let sound = partition.size_bytes() as usize;
    put(&partition, filled(3, 20, NOW));
    put(&partition, filled(1, 20, NOW));
    let content = fs::read(last_file(&lab.path())).expect("read");
    let second = content.len() - filled(1, 20, NOW).len();
    for at in sound..second {
        for bit in [0x01, 0x80] {
            let path = lab.copy("flipped");
            let mut wrong = content.clone();
            wrong[at] ^= bit;
            fs::write(last_file(&path), &wrong).expect("write");
            assert_eq!(
                lab.open_at(&path, 0).high_watermark(),
                2,
                "byte {}",
                at - sound
            );
        }
    }
}

#[test]
fn garbage_and_zeros_behind_the_log_are_cut() {
    let lab = Lab::new(&[]);
    put(&lab.open(), filled(2, 10, NOW));
    let content = fs::read(last_file(&lab.path())).expect("read");
    for tail in [
        vec![0; 10],
        vec![0; 5000],
        vec![0xff; 5000],
        content.clone(),
    ] {
        let path = lab.copy("garbage");
        fs::write(last_file(&path), [content.clone(), tail].concat()).expect("write");
        let partition = lab.open_at(&path, 0);
        assert_eq!(
            (partition.high_watermark(), partition.size_bytes()),
            (2, content.len() as u64)
        );
    }
}

#[test]
fn below_a_checkpoint_nothing_is_scanned_and_without_one_everything() {
    let lab = Lab::new(&[("segment.bytes", "1024")]);
    let partition = lab.open();
    for n in 0..40 {
        put(
            &partition,
            batch_of(&[(None, Some("x"))], NOW + n, stamp(1, 0, n as i32, false)),
        );
    }
    partition.close().expect("close");
    let summary = partition.producers();
    drop(partition);
    let seed = |path: &Path| PartitionSeed {
        id: TopicPartition::new("orders", 3),
        folder: path.into(),
        known_end: 0,
        known_start: 0,
        internal: false,
        leader_epoch: 0,
        config: Arc::clone(&lab.config),
        shared: Arc::clone(&lab.shared),
    };
    let (partition, report) = Partition::open(seed(&lab.path())).expect("open");
    assert_eq!((report.scanned_bytes, report.cut_bytes), (0, 0));
    assert_eq!(partition.producers(), summary);
    let path = lab.copy("scan");
    fs::remove_file(path.join("checkpoint")).expect("remove");
    let (scanned, report) = Partition::open(seed(&path)).expect("open");
    assert_eq!(report.scanned_bytes, partition.size_bytes());
    assert_eq!(scanned.producers(), summary);
    assert_eq!(all(&scanned), all(&partition));
}

#[test]
fn a_hole_between_segments_cuts_what_is_behind_it() {
    let lab = Lab::new(&[("segment.bytes", "1024")]);
    let partition = lab.open();
    put(&partition, filled(1, 10, NOW));
    partition.checkpoint().expect("checkpoint");
    for _ in 0..40 {
        put(&partition, filled(1, 100, NOW));
    }
    drop(partition);
    let segments = lab.files("log");
    assert!(segments.len() > 4);
    // A power cut kept later files and lost a whole batch at the end of an earlier one.
    let second = fs::OpenOptions::new()
        .write(true)
        .open(&segments[1])
        .expect("open");
    let size = filled(1, 100, NOW).len() as u64;
    second
        .set_len(second.metadata().expect("stat").len() - size)
        .expect("cut");
    let partition = lab.open();
    let end = partition.high_watermark();
    assert!(end > 1 && end < 40);
    assert_eq!(all(&partition).len() as i64, end);
    assert_eq!(lab.files("orphaned").len(), segments.len() - 2);
    assert_eq!(put(&partition, filled(1, 10, NOW)).base_offset, end);
    drop(partition);
    assert_eq!(all(&lab.open()).len() as i64, end + 1);
}

#[test]
fn leader_epochs_tell_where_each_leader_ended() {
    let lab = Lab::new(&[]);
    let partition = lab.open();
    put(&partition, filled(10, 1, NOW));
    drop(partition);
    let partition = lab.open_at(&lab.path(), 1);
    assert_eq!(partition.end_offset_for_epoch(0), (0, 10));
    put(&partition, filled(5, 1, NOW));
    assert_eq!(partition.end_offset_for_epoch(0), (0, 10));
    assert_eq!(partition.end_offset_for_epoch(1), (1, 15));
    assert_eq!(partition.end_offset_for_epoch(2), (-1, -1));
    let fetched = partition
        .read(12, 100, Isolation::ReadUncommitted)
        .expect("read");
    let batch = batches(&fetched.records)
        .next()
        .expect("one")
        .expect("batch");
    assert_eq!(batch.header.partition_leader_epoch, 1);
    drop(partition);
    let partition = lab.open_at(&lab.path(), 3);
    assert_eq!(
        (partition.end_offset_for_epoch(2), partition.leader_epoch()),
        ((1, 15), 3)
    );
}

/// Random histories against a model: whatever was synced is there after a power cut, what is there is a prefix, and the
/// state (producers, transactions, ends) is that of the prefix.
#[test]
fn random_histories_survive_power_cuts_as_prefixes() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..6 {
        let lab = Lab::new(&[("segment.bytes", "3000"), ("index.interval.bytes", "200")]);
        let mut partition = lab.open();
        let mut model: Vec<(i64, String)> = Vec::new();
        let mut sequences = [0i32; 3];
        let mut open = [false; 3];
        let mut epoch = 0;
        for step in 0..120 {
            let context = format!("seed {seed} round {round} step {step}");
            match random.u32(..100) {
                0..70 => {
                    let producer = random.usize(..3);
                    let count = random.usize(1..5);
                    let texts: Vec<_> = (0..count)
                        .map(|n| format!("{step}.{n}{}", "p".repeat(random.usize(..120))))
                        .collect();
                    let records: Vec<_> = texts
                        .iter()
                        .map(|text| (Some("k"), Some(text.as_str())))
                        .collect();
                    let id = producer as i64;
                    let mark = stamp(id, 0, sequences[producer], producer == 0);
                    let appended = partition
                        .append(
                            batch_of(&records, NOW + step, mark),
                            AppendOrigin::Client,
                            NOW,
                        )
                        .unwrap_or_else(|error| panic!("{context}: {error}"));
                    assert_eq!(
                        appended.base_offset,
                        partition.high_watermark() - count as i64,
                        "{context}"
                    );
                    sequences[producer] += count as i32;
                    open[producer] = producer == 0;
                    model.extend(
                        texts
                            .into_iter()
                            .enumerate()
                            .map(|(n, text)| (appended.base_offset + n as i64, text)),
                    );
                }
                70..78 => {
                    let kind = if random.bool() {
                        ControlKind::Commit
                    } else {
                        ControlKind::Abort
                    };
                    partition.append_marker(kind, 0, 0, 1, NOW).expect("marker");
                    open[0] = false;
                }
                78..86 => {
                    partition.checkpoint().expect("checkpoint");
                }
                86..92 => assert!(partition.durability.sync_now()),
                _ => {
                    let synced = partition.synced_offset();
                    let known = partition.known_end();
                    let (end, producers) = (partition.high_watermark(), partition.producers());
                    drop(partition);
                    let lost = random.bool();
                    if lost {
                        cut_behind(&lab.path(), synced, &mut random);
                    }
                    epoch += 1;
                    partition = lab
                        .try_open(&lab.path(), epoch, known)
                        .unwrap_or_else(|error| panic!("{context}: {error}"))
                        .0;
                    let now = partition.high_watermark();
                    assert!(
                        now >= synced && now <= end,
                        "{context}: {synced} {now} {end}"
                    );
                    if !lost {
                        assert_eq!((now, partition.producers()), (end, producers), "{context}");
                    }
                    model.retain(|(offset, _)| *offset < now);
                    for summary in partition.producers() {
                        let producer = summary.producer_id as usize;
                        sequences[producer] = summary.last_sequence + 1;
                        open[producer] = summary.open_since >= 0;
                    }
                    for producer in 0..3 {
                        if !partition
                            .producers()
                            .iter()
                            .any(|found| found.producer_id == producer as i64)
                        {
                            (sequences[producer], open[producer]) = (0, false);
                        }
                    }
                }
            }
            assert_eq!(partition.has_open_transaction(0), open[0], "{context}");
            assert_eq!(
                partition.last_stable_offset() < partition.high_watermark(),
                open[0],
                "{context}"
            );
        }
        assert_eq!(values(&all(&partition)), model, "seed {seed} round {round}");
        let from = random.i64(0..=partition.high_watermark());
        let tail: Vec<_> = model
            .iter()
            .filter(|(offset, _)| *offset >= from)
            .cloned()
            .collect();
        let seen = read_all(
            &partition,
            from,
            random.usize(1..5000),
            Isolation::ReadUncommitted,
        );
        assert_eq!(values(&seen), tail, "seed {seed} round {round} from {from}");
    }
}

/// What a power cut may do: files behind the synced offset lose a random part of their tail, or get garbage there.
fn cut_behind(path: &Path, synced: i64, random: &mut fastrand::Rng) {
    if !path.exists() {
        return;
    }
    for file in files(path, "log") {
        let content = fs::read(&file).expect("read");
        let mut keep = 0;
        let mut sizes = Vec::new();
        for batch in batches(&Bytes::from(content.clone())) {
            let batch = batch.expect("batch");
            if batch.header.next_offset() <= synced {
                keep += batch.bytes().len();
            }
            sizes.push(batch.bytes().len());
        }
        if keep < content.len() {
            let cut = random.usize(keep..=content.len());
            let mut rest = content[..cut].to_vec();
            if random.u8(..4) == 0 {
                rest.extend(std::iter::repeat_with(|| random.u8(..)).take(content.len() - cut));
            }
            fs::write(&file, rest).expect("write");
        }
    }
}
