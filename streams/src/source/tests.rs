//! Sources over the log in memory.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use log_api::{Admin, OffsetCommit, Start, TopicPartition, TransactionOptions};

use super::*;
use crate::test_log::MemoryLog;
use crate::time::PartitionStatus;
use crate::{
    BatchExpr, ColumnExpr, ColumnOrigin, ExprError, KeyFormat, SourceColumn, SourceMode,
    ValueFormat,
};

fn spec() -> SourceSpec {
    let column = |name: &str, data_type| SourceColumn {
        name: name.to_owned(),
        data_type,
        nullable: true,
        length: None,
        origin: ColumnOrigin::Value,
    };
    SourceSpec {
        topic: "events".to_owned(),
        columns: vec![
            column("n", DataType::Int64),
            column("at", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ],
        checked: Vec::new(),
        key_format: KeyFormat::None,
        value_format: ValueFormat::Json {
            timestamp_unit_us: Some(1),
        },
        mode: SourceMode::Append,
        watermark: Some(WatermarkSpec::Rows {
            expr: Arc::new(ColumnExpr(1)),
            idle_advance: true,
        }),
    }
}

async fn open(log: &MemoryLog, partitions: i32, start: Start) -> Result<Source, SourceError> {
    let assignment = (0..partitions)
        .map(|index| (TopicPartition::new("events", index), start))
        .collect();
    let restored = WatermarkState::default();
    Source::open(
        log.shared(),
        &spec(),
        assignment,
        &restored,
        SourceOptions::default(),
    )
    .await
}

fn push(log: &MemoryLog, partition: i32, n: i64, at: i64) {
    log.push(
        "events",
        partition,
        None,
        Some(&format!(r#"{{"n":{n},"at":{at}}}"#)),
    );
}

async fn poll(source: &mut Source, now_ms: i64) -> Vec<SourceBatch> {
    source.poll(Duration::ZERO, now_ms).await.unwrap()
}

fn numbers(batches: &[SourceBatch]) -> Vec<i64> {
    let columns = batches
        .iter()
        .map(|batch| batch.batch.column(0).as_primitive::<Int64Type>());
    columns
        .flat_map(|column| column.values().to_vec())
        .collect()
}

#[tokio::test]
async fn rows_come_with_origin_watermark_and_position() {
    let log = MemoryLog::new();
    log.create("events", 1);
    for (n, at) in [(1, 10), (2, 30), (3, 20)] {
        push(&log, 0, n, at);
    }
    log.push("events", 0, None, Some("oops"));
    log.push("events", 0, None, None);
    push(&log, 0, 4, 40);
    let mut source = open(&log, 1, Start::Earliest).await.unwrap();
    let batches = poll(&mut source, 0).await;
    let [batch] = batches.as_slice() else {
        panic!("one batch, not {}", batches.len())
    };
    assert_eq!(numbers(&batches), [1, 2, 3, 4]);
    assert_eq!(batch.origin.rows.values(), &[0, 1, 2, 5]);
    let none = i64::MIN;
    assert_eq!(
        batch.event_time.as_ref().unwrap().row_watermarks(),
        [none, 10, 30, 30]
    );
    assert_eq!(
        batch.origin.watermarks.as_deref(),
        Some(&[none, 10, 30, 30, 30, 30][..])
    );
    assert_eq!(
        (
            batch.failures.len(),
            batch.failures[0].offset,
            batch.skipped
        ),
        (1, 3, 1)
    );
    assert_eq!(source.positions(), [(TopicPartition::new("events", 0), 6)]);
    assert_eq!(source.watermark(0), Watermark::At(40));
    let counters = SourceCounters {
        rows: 4,
        undecodable: 1,
        skipped: 1,
    };
    assert_eq!(source.counters(), counters);
    assert!(source.is_caught_up());
}

#[tokio::test]
async fn large_runs_are_handed_out_in_parts() {
    let log = MemoryLog::new();
    log.create("events", 2);
    for n in 0..25 {
        push(&log, 0, n, n);
        push(&log, 1, 100 + n, n);
    }
    let assignment = (0..2)
        .map(|i| (TopicPartition::new("events", i), Start::Earliest))
        .collect();
    let options = SourceOptions {
        rows_max: 10,
        ..SourceOptions::default()
    };
    let state = WatermarkState::default();
    let mut source = Source::open(log.shared(), &spec(), assignment, &state, options)
        .await
        .unwrap();
    let mut seen = Vec::new();
    let mut polls = 0;
    while seen.len() < 50 {
        let batches = poll(&mut source, 0).await;
        let rows: usize = batches.iter().map(|batch| batch.batch.num_rows()).sum();
        assert!((1..=10).contains(&rows));
        for batch in &batches {
            let (_, position) = source.positions()[batch.partition].clone();
            assert!(batch.next_offset <= position);
        }
        seen.extend(numbers(&batches));
        polls += 1;
    }
    assert_eq!(polls, 5);
    seen.sort_unstable();
    assert_eq!(seen, (0..25).chain(100..125).collect::<Vec<_>>());
    assert_eq!(source.watermark(0), Watermark::At(24));
}

#[tokio::test]
async fn control_records_and_gaps_move_the_position() {
    let log = MemoryLog::new();
    log.create("events", 1);
    let options = TransactionOptions {
        transactional_id: "writer".to_owned(),
        timeout: Duration::from_secs(10),
    };
    let mut transaction = log.shared().transaction(options).await.unwrap();
    let partition = TopicPartition::new("events", 0);
    let batch = || {
        let mut batch = log_api::BatchBuilder::new(log_api::Compression::None);
        batch.append(0, None, Some(br#"{"n":1,"at":5}"#), &[]);
        batch
    };
    transaction.append(&partition, batch()).await.unwrap();
    let mut source = open(&log, 1, Start::Earliest).await.unwrap();
    assert!(poll(&mut source, 0).await.is_empty());
    assert!(!source.is_caught_up(), "an open transaction hides a record");
    poll(&mut source, 5_000).await;
    assert_eq!(source.partition_times()[0].status, PartitionStatus::Active);
    transaction.commit().await.unwrap();
    transaction.append(&partition, batch()).await.unwrap();
    transaction.abort().await.unwrap();
    log.push_gap("events", 0, 3);
    assert_eq!(numbers(&poll(&mut source, 6_000).await), [1]);
    poll(&mut source, 6_100).await;
    assert_eq!(source.positions()[0].1, 7);
    assert!(source.is_caught_up());
}

#[tokio::test]
async fn idle_partitions_let_event_time_go_on() {
    let log = MemoryLog::new();
    log.create("events", 3);
    push(&log, 0, 1, 1_000_000);
    let mut source = open(&log, 3, Start::Earliest).await.unwrap();
    poll(&mut source, 0).await;
    assert_eq!(
        source.watermark(0),
        Watermark::Waiting,
        "the others may be about to start"
    );
    poll(&mut source, 100).await;
    poll(&mut source, 1_000).await;
    assert_eq!(source.watermark(1_000), Watermark::At(1_000_000));
    poll(&mut source, 1_200).await;
    assert_eq!(
        source.watermark(1_200),
        Watermark::At(1_100_000),
        "the clock, from the end of the grace"
    );
    // A second partition wakes up with an older row: judged late, and it holds from now on.
    push(&log, 2, 2, 500_000);
    let batches = poll(&mut source, 2_000).await;
    assert_eq!(
        batches[0].origin.watermarks.as_deref(),
        Some(&[1_100_000][..]),
        "no further than known"
    );
    assert_eq!(source.watermark(9_000), Watermark::At(1_100_000));
    assert!(source.partition_times()[2].holds);
    let state = source.watermark_state();
    assert_eq!(state.combined, Some(1_100_000));
    assert_eq!(state.partitions.len(), 2);
}

#[tokio::test]
async fn a_missing_topic_and_a_trimmed_offset_are_errors() {
    let log = MemoryLog::new();
    let error = open(&log, 1, Start::Earliest).await.unwrap_err();
    assert_eq!(error.to_string(), "topic events does not exist");
    log.create("events", 1);
    let error = open(&log, 2, Start::Earliest).await.unwrap_err();
    assert_eq!(error.to_string(), "partition events-1 does not exist");
    for n in 0..5 {
        push(&log, 0, n, n);
    }
    log.delete_records(vec![(TopicPartition::new("events", 0), 3)])
        .await
        .unwrap();
    let mut source = open(&log, 1, Start::Offset(1)).await.unwrap();
    let error = source.poll(Duration::ZERO, 0).await.unwrap_err();
    assert!(
        matches!(
            error,
            SourceError::OutOfRange {
                position: 1,
                start: 3,
                end: 5,
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.retryable());
}

#[tokio::test]
async fn a_poll_wakes_when_something_is_written() {
    let log = MemoryLog::new();
    log.create("events", 1);
    let mut source = open(&log, 1, Start::Latest).await.unwrap();
    let writer = async {
        tokio::task::yield_now().await;
        push(&log, 0, 7, 7);
    };
    let (batches, ()) = tokio::join!(source.poll(Duration::from_secs(60), 0), writer);
    assert_eq!(numbers(&batches.unwrap()), [7]);
}

/// Fails for every row whose number is 13.
#[derive(Debug)]
struct Unlucky;

impl BatchExpr for Unlucky {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ExprError> {
        let numbers = batch.column(0).as_primitive::<Int64Type>();
        if numbers.values().contains(&13) {
            return Err(ExprError::new("13 is unlucky"));
        }
        let zero = arrow::array::DurationMicrosecondArray::new_scalar(0);
        numeric::add(batch.column(1), &zero).map_err(|error| ExprError::new(error.to_string()))
    }
}

#[tokio::test]
async fn rows_without_a_watermark_are_failures() {
    let log = MemoryLog::new();
    log.create("events", 1);
    for n in 12..15 {
        push(&log, 0, n, n);
    }
    let mut spec = spec();
    spec.watermark = Some(WatermarkSpec::Rows {
        expr: Arc::new(Unlucky),
        idle_advance: true,
    });
    let assignment = vec![(TopicPartition::new("events", 0), Start::Earliest)];
    let (state, options) = (WatermarkState::default(), SourceOptions::default());
    let mut source = Source::open(log.shared(), &spec, assignment, &state, options)
        .await
        .unwrap();
    let batches = poll(&mut source, 0).await;
    assert_eq!(numbers(&batches), [12, 14]);
    assert_eq!(batches[0].origin.rows.values(), &[0, 2]);
    assert_eq!(
        batches[0].failures[0].reason,
        "the watermark expression failed: 13 is unlucky"
    );
}

#[tokio::test]
async fn deletes_of_a_table_have_no_event_time() {
    let log = MemoryLog::new();
    log.create("events", 1);
    log.push("events", 0, Some("1"), Some(r#"{"at":50}"#));
    log.push("events", 0, Some("1"), None);
    let mut spec = spec();
    spec.columns[0].origin = ColumnOrigin::Key;
    spec.columns[1].nullable = false;
    spec.key_format = KeyFormat::Json;
    spec.mode = SourceMode::Upsert { key: vec![0] };
    let assignment = vec![(TopicPartition::new("events", 0), Start::Earliest)];
    let (state, options) = (WatermarkState::default(), SourceOptions::default());
    let mut source = Source::open(log.shared(), &spec, assignment, &state, options)
        .await
        .unwrap();
    let batches = poll(&mut source, 0).await;
    let deleted = batches[0].deleted.as_ref().unwrap();
    assert_eq!((deleted.value(0), deleted.value(1)), (false, true));
    assert_eq!(source.watermark(0), Watermark::At(50));
}

#[tokio::test]
async fn event_time_of_a_jobs_output_comes_with_its_commits() {
    let log = MemoryLog::new();
    log.create("events", 1);
    log.create("flights", 2);
    let mut spec = spec();
    spec.watermark = Some(WatermarkSpec::Job {
        name: "hourly".to_owned(),
        input: "flights".to_owned(),
        shift_us: 7,
    });
    let assignment = vec![(TopicPartition::new("events", 0), Start::Earliest)];
    let options = SourceOptions {
        rows_max: 1,
        ..SourceOptions::default()
    };
    let state = WatermarkState::default();
    let mut source = Source::open(log.shared(), &spec, assignment, &state, options)
        .await
        .unwrap();
    let commit = async |time: i64| {
        let offset = OffsetCommit {
            partition: TopicPartition::new("flights", 0),
            offset: 1,
            metadata: event_time_text(Watermark::At(time)),
        };
        let admin = log.shared().admin();
        admin
            .commit_offsets("thalweg.hourly", vec![offset])
            .await
            .unwrap();
    };
    poll(&mut source, 0).await;
    assert_eq!(source.watermark(0), Watermark::Waiting);
    // Whatever time the rows themselves hold.
    push(&log, 0, 1, 9_000_000);
    push(&log, 0, 2, 5);
    commit(100).await;
    assert_eq!(numbers(&poll(&mut source, 1_000).await), [1]);
    assert_eq!(
        source.watermark(1_000),
        Watermark::Waiting,
        "a row of that commit is not read"
    );
    assert_eq!(numbers(&poll(&mut source, 2_000).await), [2]);
    assert_eq!(source.watermark(2_000), Watermark::At(93));
    push(&log, 0, 3, 7);
    assert_eq!(numbers(&poll(&mut source, 3_000).await), [3]);
    assert_eq!(
        source.watermark(3_000),
        Watermark::At(93),
        "not committed yet"
    );
    commit(200).await;
    poll(&mut source, 4_000).await;
    assert_eq!(source.watermark(4_000), Watermark::At(193));
    assert_eq!(source.watermark_state().combined, Some(193));
    assert!(source.partition_times().is_empty());
}
