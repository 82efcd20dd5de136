//! Scans over the log in memory.

use std::time::Duration;

use arrow::datatypes::DataType;
use futures::TryStreamExt;
use log_api::{BatchBuilder, Compression, TransactionOptions};

use super::*;
use crate::test_log::MemoryLog;
use crate::{ColumnOrigin, JsonEncoder, SourceColumn, ValueFormat};

fn spec(upsert: bool) -> SourceSpec {
    let column = |name: &str, data_type, origin| SourceColumn {
        name: name.to_owned(),
        data_type,
        nullable: true,
        length: None,
        origin,
    };
    SourceSpec {
        topic: "t".to_owned(),
        columns: vec![
            column("k", DataType::Utf8View, ColumnOrigin::Key),
            column("v", DataType::Int64, ColumnOrigin::Value),
        ],
        checked: Vec::new(),
        key_format: KeyFormat::String,
        value_format: ValueFormat::Json {
            timestamp_unit_us: None,
        },
        mode: if upsert {
            SourceMode::Upsert { key: vec![0] }
        } else {
            SourceMode::Append
        },
        watermark: None,
    }
}

async fn drain(stream: ScanStream) -> (Vec<String>, ScanReport) {
    let report = stream.report();
    let encoder = JsonEncoder::new(stream.schema());
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    let mut lines = Vec::new();
    for batch in &batches {
        assert!(batch.num_rows() <= BATCH_ROWS);
        encoder.encode_lines(batch, &mut lines);
    }
    let text = String::from_utf8(lines).unwrap();
    (text.lines().map(str::to_owned).collect(), report.get())
}

async fn content(log: &MemoryLog, upsert: bool) -> (Vec<String>, ScanReport) {
    drain(
        scan(log.shared(), &spec(upsert), ScanRange::Now)
            .await
            .unwrap(),
    )
    .await
}

#[tokio::test]
async fn append_gives_every_record() {
    let log = MemoryLog::new();
    log.create("t", 3);
    log.push("t", 0, Some("a"), Some(r#"{"v":1}"#));
    log.push("t", 0, Some("a"), Some(r#"{"v":2}"#));
    log.push("t", 2, None, Some(r#"{"v":3}"#));
    log.push("t", 2, Some("b"), Some(r#"{"v":"x"}"#));
    log.push("t", 2, Some("b"), None);
    let (rows, report) = content(&log, false).await;
    assert_eq!(
        rows,
        [
            r#"{"k":"a","v":1}"#,
            r#"{"k":"a","v":2}"#,
            r#"{"k":null,"v":3}"#
        ]
    );
    assert_eq!((report.records, report.rows), (5, 3));
    assert_eq!((report.undecodable, report.skipped), (1, 1));
    let (partition, offset, reason) = report.first_failure.unwrap();
    assert_eq!((partition.to_string().as_str(), offset), ("t-2", 1));
    assert_eq!(reason, r#"column "v" is BIGINT, found the text "x""#);
}

#[tokio::test]
async fn an_empty_topic_is_empty_and_a_missing_one_an_error() {
    let log = MemoryLog::new();
    let error = scan(log.shared(), &spec(false), ScanRange::Now)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "topic t does not exist");
    log.create("t", 2);
    for upsert in [false, true] {
        assert_eq!(content(&log, upsert).await.0, Vec::<String>::new());
    }
}

#[tokio::test]
async fn upsert_keeps_the_last_row_of_each_key() {
    let log = MemoryLog::new();
    log.create("t", 2);
    let long = "a key that does not fit into a view";
    for (partition, key, value) in [
        (0, "a", Some(r#"{"v":1}"#)),
        (1, long, Some(r#"{"v":2}"#)),
        (0, "b", Some(r#"{"v":3}"#)),
        (0, "a", Some(r#"{"v":4}"#)),
        (0, "b", None),
        (1, "c", None),
        (1, "d", Some(r#"{"v":5}"#)),
        (1, "d", None),
        (1, "d", Some(r#"{"v":6}"#)),
        (1, long, Some("oops")),
    ] {
        log.push("t", partition, Some(key), value);
    }
    let (mut rows, report) = content(&log, true).await;
    rows.sort();
    let long_row = format!(r#"{{"k":"{long}","v":2}}"#);
    assert_eq!(
        rows,
        [&long_row, r#"{"k":"a","v":4}"#, r#"{"k":"d","v":6}"#]
    );
    assert_eq!(
        (report.records, report.rows, report.undecodable),
        (10, 3, 1)
    );
}

#[tokio::test]
async fn ends_where_the_topic_ended_at_the_start() {
    let log = MemoryLog::new();
    log.create("t", 2);
    log.push("t", 0, Some("a"), Some(r#"{"v":1}"#));
    let options = TransactionOptions {
        transactional_id: "writer".to_owned(),
        timeout: Duration::from_secs(10),
    };
    let mut transaction = log.shared().transaction(options).await.unwrap();
    let batch = |value: &[u8]| {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.append(0, None, Some(value), &[]);
        batch
    };
    let partition = TopicPartition::new("t", 0);
    // Ends with control records and a gap, which bring no row.
    transaction
        .append(&partition, batch(br#"{"v":2}"#))
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    transaction
        .append(&partition, batch(br#"{"v":3}"#))
        .await
        .unwrap();
    transaction.abort().await.unwrap();
    log.push_gap("t", 0, 2);
    let stream = scan(log.shared(), &spec(false), ScanRange::Now)
        .await
        .unwrap();
    log.push("t", 0, Some("a"), Some(r#"{"v":4}"#));
    log.push("t", 1, Some("a"), Some(r#"{"v":5}"#));
    let (rows, report) = drain(stream).await;
    assert_eq!(rows, [r#"{"k":"a","v":1}"#, r#"{"k":null,"v":2}"#]);
    assert_eq!(
        report.ends,
        [(partition.clone(), 7), (TopicPartition::new("t", 1), 0)]
    );
    // An open transaction hides what comes after it.
    transaction
        .append(&partition, batch(br#"{"v":6}"#))
        .await
        .unwrap();
    log.push("t", 0, Some("a"), Some(r#"{"v":7}"#));
    let (rows, _) = content(&log, false).await;
    assert_eq!(
        rows.len(),
        4,
        "1, 2, 4 and, of the other partition, 5: {rows:?}"
    );
}

#[tokio::test]
async fn many_rows_come_in_batches() {
    let log = MemoryLog::new();
    log.create("t", 2);
    for n in 0..20_000 {
        let key = (n % 300).to_string();
        log.push("t", n % 2, Some(&key), Some(&format!(r#"{{"v":{n}}}"#)));
    }
    let (rows, _) = content(&log, false).await;
    assert_eq!(rows.len(), 20_000);
    let (rows, _) = content(&log, true).await;
    assert_eq!(rows.len(), 300);
    assert!(rows.contains(&r#"{"k":"299","v":19799}"#.to_owned()));
}

#[test]
fn a_table_lets_go_of_replaced_rows() {
    let spec = spec(true);
    let mut decoder = Decoder::new(&spec).unwrap();
    let keys = KeyEncoder::new(decoder.schema(), &[0], KeyFormat::Json).unwrap();
    let mut table = Table::new("t".to_owned(), keys, 7);
    let mut offset = 0;
    for _ in 0..40 {
        let mut records = log_api::RecordsBuilder::new(TopicPartition::new("t", 0), offset);
        for row in 0..5000i64 {
            let (key, value) = (format!("{}", row % 50), format!(r#"{{"v":{offset}}}"#));
            records.push(offset, 0, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
            offset += 1;
        }
        table.apply(0, decoder.decode(&records.finish())).unwrap();
        assert!(table.stored_rows <= SLACK_ROWS + 100 + 5000);
    }
    let batches = table.finish().unwrap();
    assert_eq!(
        batches
            .iter()
            .map(|batch| batch.num_rows())
            .collect::<Vec<_>>(),
        [7, 7, 7, 7, 7, 7, 7, 1]
    );
}

#[tokio::test]
async fn keys_in_two_partitions_are_counted_once() {
    let log = MemoryLog::new();
    log.create("t", 3);
    for (partition, key, value) in [
        (0, "a", Some(r#"{"v":1}"#)),
        (1, "b", Some(r#"{"v":2}"#)),
        (1, "b", Some(r#"{"v":3}"#)),
    ] {
        log.push("t", partition, Some(key), value);
    }
    let (_, report) = content(&log, true).await;
    assert_eq!((report.scattered, report.scattered_key), (0, None));
    for _ in 0..3 {
        log.push("t", 2, Some("a"), Some(r#"{"v":4}"#));
        log.push("t", 1, Some("a"), Some(r#"{"v":5}"#));
    }
    let (_, report) = content(&log, true).await;
    assert_eq!(report.scattered, 1);
    let (key, [one, other]) = report.scattered_key.unwrap();
    assert_eq!(key, r#"{"k":"a"}"#);
    assert_ne!(one, other);
    // Records of an append-only topic have no key that counts.
    let (_, report) = content(&log, false).await;
    assert_eq!(report.scattered, 0);
}
