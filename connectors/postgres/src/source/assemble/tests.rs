//! What of the stream goes out, with which position, and how long a snapshot is remembered.

use std::time::Duration;

use bytes::Bytes;
use connect_api::ConfigMap;

use super::*;
use crate::source::catalog::ColumnEntry;
use crate::source::kind::Types;
use crate::source::pgoutput::{Identity, RelationColumn};
use crate::source::table::Shapes;
use crate::source::view::Range;

const TABLE: u32 = 9;

fn settings() -> ConfigMap {
    [
        ("database.hostname", "h"),
        ("database.user", "u"),
        ("database.dbname", "d"),
        ("topic.prefix", "p"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn assembler(scans: Vec<Scan>) -> Assembler {
    assembler_with(&settings(), scans)
}

fn assembler_with(config: &ConfigMap, scans: Vec<Scan>) -> Assembler {
    let config = Arc::new(SourceConfig::parse(config).unwrap());
    let rendering = config.rendering.clone();
    let envelopes = Arc::new(Envelopes::new("p", "d", rendering, true, Vec::new()));
    let column = ColumnEntry {
        column: RelationColumn {
            name: "id".to_owned(),
            type_oid: 23,
            modifier: -1,
            is_key: true,
        },
        not_null: true,
        default: None,
        key_place: Some(0),
    };
    let shapes = Shapes {
        prefix: "p",
        capture: &config.capture,
        rendering: &config.rendering,
        types: &Types::new(),
        source: envelopes.source_schema(),
    };
    let table = Table::new(&shapes, "s", "t", Identity::Default, &[column]);
    let mut assembler = Assembler::new(
        Arc::clone(&config),
        Arc::clone(&envelopes),
        Mark::default(),
        scans,
        0,
    );
    assembler.relation(TABLE, Some(Arc::new(table)));
    assembler
}

/// A transaction that inserts one row, with its id as key.
fn transaction(assembler: &mut Assembler, xid: u32, commit: u64) {
    let row = vec![Cell::Text(Bytes::from(xid.to_string()))];
    for message in [
        Message::Begin {
            final_lsn: Lsn(commit),
            commit_time: 0,
            xid,
        },
        Message::Insert {
            relation: TABLE,
            new: row,
        },
        Message::Commit {
            end_lsn: Lsn(commit + 10),
            commit_time: 0,
        },
    ] {
        assembler.message(Lsn(commit - 5), message, 0).unwrap();
    }
}

/// A transaction of one change.
fn change(assembler: &mut Assembler, xid: u32, commit: u64, change: Message) {
    let begin = Message::Begin {
        final_lsn: Lsn(commit),
        commit_time: 0,
        xid,
    };
    let end = Message::Commit {
        end_lsn: Lsn(commit + 10),
        commit_time: 0,
    };
    for message in [begin, change, end] {
        assembler.message(Lsn(commit - 5), message, 0).unwrap();
    }
}

fn row(id: &str) -> Tuple {
    vec![Cell::Text(Bytes::copy_from_slice(id.as_bytes()))]
}

fn told(assembler: &mut Assembler) -> Vec<String> {
    let taken = std::iter::from_fn(|| assembler.take(budget(100), 0));
    let shown = |record: &Record| {
        let op = match record.value.field("op") {
            Some(op) => op.to_json().to_string(),
            None => "gone".to_owned(),
        };
        format!("{op} {}", record.key.to_json())
    };
    taken
        .flat_map(|taken| taken.records)
        .map(|record| shown(&record))
        .collect()
}

/// The table was read whole by a snapshot that saw all transactions below 50.
fn read_whole() -> Scan {
    Scan {
        schema: "s".to_owned(),
        table: "t".to_owned(),
        view: Some("50:50:".to_owned()),
        high: Lsn(1000),
        range: Range::default(),
        upto: None,
        done: true,
        in_part: false,
    }
}

#[test]
fn the_end_of_a_row_is_told_though_the_snapshot_saw_it() {
    let mut assembler = assembler(vec![read_whole()]);
    let insert = |id| Message::Insert {
        relation: TABLE,
        new: row(id),
    };
    let delete = |id| Message::Delete {
        relation: TABLE,
        old: Old::Key(row(id)),
    };
    // What is only there is in the snapshot.
    change(&mut assembler, 10, 100, insert("1"));
    assert_eq!(told(&mut assembler), Vec::<String>::new());
    // An earlier read of the row may be in the topic.
    change(&mut assembler, 11, 200, delete("2"));
    assert_eq!(
        told(&mut assembler),
        [r#""d" {"id":2}"#, r#"gone {"id":2}"#]
    );
    assert!(
        assembler.scans().is_empty(),
        "a restart passes over nothing"
    );
    // It is among the snapshot's rows, which are in front of its end.
    change(&mut assembler, 12, 300, insert("2"));
    assert_eq!(told(&mut assembler), [r#""c" {"id":2}"#]);
}

#[test]
fn both_halves_of_a_moved_key_are_told_though_the_snapshot_saw_them() {
    let mut assembler = assembler(vec![read_whole()]);
    let moved = Message::Update {
        relation: TABLE,
        old: Some(Old::Key(row("3"))),
        new: row("4"),
    };
    change(&mut assembler, 10, 100, moved);
    assert_eq!(
        told(&mut assembler),
        [r#""d" {"id":3}"#, r#"gone {"id":3}"#, r#""c" {"id":4}"#]
    );
}

#[test]
fn a_truncate_is_told_though_the_snapshot_saw_it() {
    let mut config = settings();
    config.insert("skipped.operations".to_owned(), "none".to_owned());
    let mut assembler = assembler_with(&config, vec![read_whole()]);
    let truncate = Message::Truncate {
        relations: vec![TABLE],
    };
    change(&mut assembler, 10, 100, truncate);
    change(
        &mut assembler,
        11,
        200,
        Message::Insert {
            relation: TABLE,
            new: row("1"),
        },
    );
    assert_eq!(told(&mut assembler), [r#""t" null"#, r#""c" {"id":1}"#]);
}

#[test]
fn a_truncate_that_gives_no_record_says_which_rows_stay() {
    let mut assembler = assembler(vec![]);
    let truncate = Message::Truncate {
        relations: vec![TABLE],
    };
    change(&mut assembler, 10, 100, truncate);
    assert_eq!(told(&mut assembler), Vec::<String>::new());
    let kept = assembler.kept(&[TABLE], Lsn(100)).unwrap();
    assert_eq!(kept.len(), 1);
    for part in ["table s.t was truncated", "DROP TABLE, CREATE TABLE"] {
        assert!(kept[0].contains(part), "{kept:?}");
    }
}

fn budget(records_max: usize) -> PollBudget {
    PollBudget {
        records_max,
        bytes_max: usize::MAX,
        wait_max: Duration::ZERO,
    }
}

#[test]
fn what_a_snapshot_had_read_is_remembered_until_it_cannot_come_again() {
    let scan = Scan {
        schema: "s".to_owned(),
        table: "t".to_owned(),
        // It saw transaction 7, and neither 5 nor 6.
        view: Some("5:8:5,6".to_owned()),
        high: Lsn(1000),
        range: Range::default(),
        upto: None,
        done: true,
        in_part: false,
    };
    let mut assembler = assembler(vec![scan]);
    for (xid, commit) in [(5, 100), (6, 200), (7, 300)] {
        transaction(&mut assembler, xid, commit);
    }
    assembler.keepalive(Lsn(2000), 0);
    let first = assembler.take(budget(1), 0).unwrap();
    assert_eq!(first.behind.position.end, Lsn(110));
    assert_eq!(
        assembler.scans().len(),
        1,
        "a restart here brings transaction 7 again"
    );
    let second = assembler.take(budget(9), 0).unwrap();
    assert_eq!(
        second.records.len(),
        1,
        "transaction 7 is in the snapshot already"
    );
    assert_eq!(second.behind.position.end, Lsn(310));
    assert_eq!(assembler.scans().len(), 1);
    assert!(assembler.take(budget(9), 0).is_none());
    let quiet = assembler.quiet(60_000).unwrap();
    assert_eq!(quiet.position.end, Lsn(2000));
    assert_eq!(assembler.scans().len(), 0, "nothing of it comes again");
}

#[test]
fn a_unit_that_is_larger_than_the_budget_goes_out_alone() {
    let mut assembler = assembler(Vec::new());
    transaction(&mut assembler, 5, 100);
    for message in [
        Message::Begin {
            final_lsn: Lsn(200),
            commit_time: 0,
            xid: 6,
        },
        Message::Delete {
            relation: TABLE,
            old: Old::Key(vec![Cell::Text(Bytes::from_static(b"5"))]),
        },
        Message::Commit {
            end_lsn: Lsn(210),
            commit_time: 0,
        },
    ] {
        assembler.message(Lsn(195), message, 0).unwrap();
    }
    let counts: Vec<usize> = std::iter::from_fn(|| assembler.take(budget(1), 0))
        .map(|taken| taken.records.len())
        .collect();
    assert_eq!(counts, [1, 2], "a delete and its tombstone stay together");
}

#[test]
fn a_relation_that_was_never_told_is_an_error() {
    let mut assembler = assembler(Vec::new());
    let insert = Message::Insert {
        relation: 77,
        new: Vec::new(),
    };
    let error = assembler.message(Lsn(5), insert, 0).unwrap_err();
    assert!(error.to_string().contains("77"), "{error}");
}
