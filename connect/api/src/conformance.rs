//! The suite that every source task and sink task passes. A rule that does not hold panics with its number
//! (see [`crate::SourceTask`] and [`crate::SinkTask`]).

use std::collections::HashMap;
use std::time::Duration;

use crate::{
    OpenPartition, Poll, PollBudget, PutReport, Record, SinkBatch, SinkTask, SourceOffset,
    SourceOffsets, SourceTask, TaskContext, TopicPartition,
};

/// Polls in a row without records after which a source counts as read to its present end.
const IDLE_POLLS_MAX: usize = 3;

async fn read(
    task: &mut dyn SourceTask,
    budget: PollBudget,
    polls_max: usize,
    offsets: &mut Vec<SourceOffset>,
) -> Vec<Record> {
    let mut all = Vec::new();
    let mut idle = 0;
    for _ in 0..polls_max {
        match task.poll(budget).await.expect("poll") {
            Poll::Batch {
                records,
                offsets: moved,
                ..
            } => {
                assert!(
                    records.len() <= budget.records_max,
                    "poll returns at most records_max records"
                );
                // A source may take the time of reading for the record's.
                all.extend(records.into_iter().map(|record| Record {
                    timestamp: None,
                    ..record
                }));
                for new in moved {
                    offsets.retain(|old| old.partition != new.partition);
                    offsets.push(new);
                }
                idle = 0;
            }
            Poll::Idle if idle < IDLE_POLLS_MAX => idle += 1,
            Poll::Idle | Poll::Done => break,
        }
    }
    all
}

/// Rule 2 of sources: however often the task is replaced between polls, by one that starts at the offsets of the
/// last batch, the records are the same as in one go, but for their timestamps. The source must stand still and hold at least one record.
pub async fn source_resumes_exactly(
    new_task: impl Fn() -> Box<dyn SourceTask>,
    context: &TaskContext,
) {
    let wait_max = Duration::from_millis(1);
    let large = PollBudget {
        records_max: 10_000,
        bytes_max: 1 << 20,
        wait_max,
    };
    let small = PollBudget {
        records_max: 3,
        bytes_max: 64,
        wait_max,
    };

    let mut task = new_task();
    task.start(context.clone(), SourceOffsets::default())
        .await
        .expect("start");
    let whole = read(&mut *task, large, usize::MAX, &mut Vec::new()).await;
    task.stop().await;
    assert!(!whole.is_empty(), "the suite needs a source with records");

    for polls in [1, 2, 5] {
        let mut offsets = Vec::new();
        let mut pieces = Vec::new();
        loop {
            let mut task = new_task();
            task.start(context.clone(), SourceOffsets::new(offsets.clone()))
                .await
                .expect("start");
            let piece = read(&mut *task, small, polls, &mut offsets).await;
            task.committed(&offsets).await.expect("committed");
            task.stop().await;
            if piece.is_empty() {
                break;
            }
            pieces.extend(piece);
            assert!(
                pieces.len() <= whole.len(),
                "rule 2: records come again after a restart"
            );
        }
        assert_eq!(
            pieces, whole,
            "rule 2: restarts after every {polls} polls change nothing"
        );
    }
}

/// Rule 2 of sinks: batches are put; the task is replaced without a word (a crash) before and after every `flush`;
/// going on at the offsets that `open` returns, `read_back` finds every record's effect once, equal to `expected`.
pub async fn sink_survives_crashes<T: PartialEq + std::fmt::Debug>(
    new_task: impl Fn() -> Box<dyn SinkTask>,
    context: &TaskContext,
    batches: &[SinkBatch],
    read_back: impl AsyncFn() -> T,
    expected: T,
) {
    let mut partitions: Vec<TopicPartition> = batches
        .iter()
        .flat_map(|batch| batch.positions.iter().map(|(p, _)| p.clone()))
        .collect();
    partitions.sort();
    partitions.dedup();
    let open = |incarnation: &str| -> Vec<OpenPartition> {
        let named = |partition: &TopicPartition| OpenPartition {
            partition: partition.clone(),
            incarnation: incarnation.to_owned(),
        };
        partitions.iter().map(named).collect()
    };
    let first = open("first");

    // Step 2n puts batch n and crashes; step 2n + 1 puts it, flushes, and crashes.
    for step in 0..batches.len() * 2 {
        let mut task = new_task();
        task.start(context.clone()).await.expect("start");
        let stored = task.open(&first).await.expect("open");
        for batch in batches.iter().take(step / 2 + 1) {
            put_from(&mut *task, batch, &stored).await;
        }
        if step % 2 == 1 {
            task.flush().await.expect("flush");
        }
        drop(task);
    }
    let mut task = new_task();
    task.start(context.clone()).await.expect("start");
    let stored = task.open(&first).await.expect("open");
    for (partition, position) in batches.iter().flat_map(|batch| &batch.positions) {
        let at = stored.get(partition).copied();
        assert!(
            at >= Some(*position),
            "rule 2: {partition} is stored at {at:?}, not {position}"
        );
    }
    task.close(&partitions).await.expect("close");
    let stored = task.open(&open("second")).await.expect("open");
    assert!(
        stored.is_empty(),
        "rule 2: offsets of another incarnation: {stored:?}"
    );
    task.close(&partitions).await.expect("close");
    task.stop().await;
    assert_eq!(
        read_back().await,
        expected,
        "rule 2: every record's effect is there once"
    );
}

/// Puts what `stored` does not cover yet, as the runtime does after a restart.
async fn put_from(
    task: &mut dyn SinkTask,
    batch: &SinkBatch,
    stored: &HashMap<TopicPartition, i64>,
) {
    let from = |partition: &TopicPartition| stored.get(partition).copied().unwrap_or(0);
    let rest = SinkBatch {
        records: batch
            .records
            .iter()
            .filter(|record| record.offset >= from(&record.origin))
            .cloned()
            .collect(),
        positions: batch
            .positions
            .iter()
            .filter(|(partition, position)| *position > from(partition))
            .cloned()
            .collect(),
    };
    if !rest.positions.is_empty() {
        assert_eq!(task.put(&rest).await.expect("put"), PutReport::Taken);
    }
}
