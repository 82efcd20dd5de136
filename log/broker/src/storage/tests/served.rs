//! Files that are changed from outside while the partition is served: nothing more is acknowledged into them, and damage is told where it
//! begins.

use super::damage::{base_of, closed, cut, lab, read_until_error};
use super::*;

#[test]
fn a_file_that_is_cut_or_removed_while_it_is_served_is_damage_and_nothing_is_written_behind_it() {
    let lab = lab();
    let end = closed(&lab);
    let names = lab.files("log");
    let partition = lab.open();
    let gone = &names[2];
    fs::remove_file(gone).expect("remove");
    let (offsets, error) = read_until_error(&partition, 1 << 20);
    assert_eq!(offsets.len() as i64, base_of(gone));
    assert_eq!(
        error.expect("told").code(),
        log_protocol::ErrorCode::CorruptMessage
    );
    let trouble = partition.trouble().expect("told").to_string();
    assert!(trouble.contains("its file is missing"), "{trouble}");

    let path = lab.path();
    fs::remove_dir_all(&path).expect("remove");
    let end_now = closed(&lab);
    assert_eq!(end_now, end);
    let partition = lab.open();
    let last = lab.files("log").pop().expect("one");
    let size = fs::metadata(&last).expect("stat").len();
    for left in [size - 1, 1] {
        cut(&last, left);
        let from = base_of(&last);
        let mut from = from;
        let error = loop {
            match partition.read(from, 1 << 20, Isolation::ReadUncommitted) {
                Ok(fetched) => {
                    assert!(!fetched.records.is_empty(), "an empty answer at {from}");
                    from = fetched.next_offset;
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), log_protocol::ErrorCode::CorruptMessage);
    }
    let refused = partition.append(filled(1, 5, NOW), AppendOrigin::Client, NOW);
    assert_eq!(
        refused.map(|_| ()).expect_err("offline").code(),
        log_protocol::ErrorCode::KafkaStorageError
    );
    assert_eq!(fs::metadata(&last).expect("stat").len(), 1);
}

/// What somebody does to a file that is written to.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Remove,
    MoveAway,
    Replace,
    RemoveFolder,
    Cut,
}

impl Deed {
    const ALL: [Self; 5] = [
        Self::Remove,
        Self::MoveAway,
        Self::Replace,
        Self::RemoveFolder,
        Self::Cut,
    ];

    fn is_done_to(self, file: &Path) {
        let aside = file.with_extension("aside");
        let done = match self {
            Self::Remove => fs::remove_file(file),
            Self::MoveAway => fs::rename(file, aside),
            Self::Replace => fs::copy(file, &aside).and_then(|_| fs::rename(aside, file)),
            Self::RemoveFolder => fs::remove_dir_all(file.parent().expect("a folder")),
            Self::Cut => {
                cut(file, 10);
                Ok(())
            }
        };
        done.expect("done");
    }

    fn words(self) -> &'static str {
        match self {
            Self::Remove | Self::MoveAway | Self::RemoveFolder => "the file was removed",
            Self::Replace => "another file is in its place",
            Self::Cut => "the file was cut: it has 10 bytes of ",
        }
    }
}

/// What the partition does next.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// It is written to.
    Append,
    /// It is written to, and the batch belongs into the next segment.
    AppendBehind,
    /// Nobody writes.
    Upkeep,
}

#[test]
fn nothing_is_acknowledged_into_a_file_that_is_not_there_any_more() {
    for deed in Deed::ALL {
        for next in [Next::Append, Next::AppendBehind, Next::Upkeep] {
            let lab = Lab::new(&[("segment.bytes", "2000")]);
            let partition = lab.open();
            for _ in 0..3 {
                put(&partition, filled(1, 100, NOW));
            }
            let end = partition.high_watermark();
            let active = lab.files("log").pop().expect("one");
            deed.is_done_to(&active);
            let files = active.parent().expect("a folder");
            let before = fs::read_dir(files).map(Iterator::count).ok();
            let size = match next {
                Next::Append => 100,
                Next::AppendBehind => 1_900,
                Next::Upkeep => {
                    partition.upkeep(NOW);
                    0
                }
            };
            let context = format!("{deed:?} {next:?}");
            let trouble = partition.trouble().map(|error| error.to_string());
            match next {
                Next::Upkeep => {}
                _ => {
                    let refused = partition.append(filled(1, size, NOW), AppendOrigin::Client, NOW);
                    let error = refused.map(drop).expect_err(&context);
                    let code = error.code();
                    assert_eq!(
                        code,
                        log_protocol::ErrorCode::KafkaStorageError,
                        "{context}"
                    );
                    assert_eq!(trouble, None, "{context}");
                }
            }
            let trouble = partition.trouble().expect(&context).to_string();
            assert!(trouble.contains(deed.words()), "{context}: {trouble}");
            assert_eq!(partition.high_watermark(), end, "{context}");
            let after = fs::read_dir(files).map(Iterator::count).ok();
            assert_eq!(after, before, "{context}: a file was made beside it");
        }
    }
}

#[test]
fn a_cut_is_told_once_and_at_the_first_batch_that_is_not_whole() {
    for at in [0, 1, 60, 61, 500, 1_000] {
        let lab = Lab::new(&[("index.interval.bytes", "4096")]);
        let partition = lab.open();
        let mut starts = Vec::new();
        for _ in 0..100 {
            starts.push(partition.size_bytes());
            put(&partition, filled(1, 1_000, NOW));
        }
        let file = lab.files("log").pop().expect("one");
        cut(&file, starts[49] + at);
        let mut told: Vec<_> = [99, 70, 50, 49]
            .into_iter()
            .map(|from| partition.read(from, 1 << 20, Isolation::ReadUncommitted))
            .map(|read| read.map(drop).expect_err("cut").to_string())
            .collect();
        told.push(partition.trouble().expect("told").to_string());
        assert!(told[0].contains("offset 49"), "{told:?}");
        let byte = format!("byte {}:", starts[49]);
        assert!(told[0].contains(&byte), "{told:?}");
        assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
        let (before, error) = read_until_error(&partition, 3_000);
        assert_eq!((before.len(), error.is_some()), (49, true), "cut at {at}");
    }
}

#[test]
fn what_is_searched_by_time_tells_a_cut_where_a_read_does() {
    let lab = Lab::new(&[("segment.bytes", "20000")]);
    let partition = lab.open();
    for at in 0..60 {
        put(&partition, filled(1, 1_000, NOW + at));
    }
    let sealed = lab.files("log").remove(0);
    for ending in ["index", "timeindex"] {
        fs::remove_file(sealed.with_extension(ending)).expect("remove");
    }
    cut(&sealed, 5_000);
    let searched = partition.offset_for_timestamp(NOW + 30).map(drop);
    let searched = searched.expect_err("its index is made anew").to_string();
    let read = partition.read(10, 1 << 20, Isolation::ReadUncommitted);
    assert_eq!(read.map(drop).expect_err("cut").to_string(), searched);
    assert!(searched.contains("offset 4"), "{searched}");
}
