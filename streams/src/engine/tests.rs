//! Whole jobs on their threads, with RocksDB.

mod damage;

use std::sync::Arc;

use arrow::datatypes::DataType::{Int64, Utf8View};
use futures::StreamExt;

use super::*;
use crate::test_log::{CommitFault, MemoryLog};
use crate::test_plan::{PlanBuilder, SECOND, TIMESTAMP, changes, rows};
use crate::{Emit, JoinKind, KeyFormat, LatePolicy, SinkForm, SinkSpec};

fn plan() -> StreamPlan {
    let mut plan = PlanBuilder::default();
    let flights = plan.source(
        "flights",
        &[("carrier", Utf8View), ("delay", Int64), ("at", TIMESTAMP)],
        None,
    );
    let windows = plan.tumble(flights, 10 * SECOND, LatePolicy::Drop);
    let airlines = plan.source(
        "airlines",
        &[("code", Utf8View), ("title", Utf8View)],
        Some(vec![0]),
    );
    let joined = plan.join(JoinKind::Inner, (windows, "carrier"), (airlines, "code"));
    plan.aggregate(
        joined,
        &["window_end", "title"],
        &["count(*)", "sum(delay)"],
        Emit::Changes,
    );
    plan.build()
}

fn job(plan: StreamPlan, key: Vec<usize>) -> JobSpec {
    let sink = SinkSpec {
        topic: "delays".to_owned(),
        partitions: 2,
        key,
        hidden: 0,
        key_format: KeyFormat::Json,
        form: SinkForm::View,
    };
    JobSpec {
        name: "delays".to_owned(),
        plan,
        sink,
        manifest: None,
        revision: 0,
    }
}

struct Rig {
    log: MemoryLog,
    folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let log = MemoryLog::new();
        log.create("flights", 2);
        log.create("airlines", 1);
        Self {
            log,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn engine(&self) -> Engine {
        let config = EngineConfig {
            state_dir: self.folder.path().to_owned(),
            commit_interval: Duration::from_millis(20),
            ..EngineConfig::default()
        };
        Engine::new(config, self.log.shared()).unwrap()
    }

    fn flight(&self, partition: i32, carrier: &str, delay: i64) {
        let value = format!(r#"{{"carrier":"{carrier}","delay":{delay},"at":1}}"#);
        self.log.push("flights", partition, None, Some(&value));
    }

    /// Waits until the job has committed everything that is in the log.
    async fn settled(&self, job: &JobHandle) {
        let mut positions = Vec::new();
        for (topic, partitions) in [("flights", 2), ("airlines", 1)] {
            for number in 0..partitions {
                let partition = log_api::TopicPartition::new(topic, number);
                let end = self
                    .log
                    .shared()
                    .admin()
                    .offset(&partition, log_api::OffsetSpec::Latest)
                    .await
                    .unwrap();
                positions.push((partition, end));
            }
        }
        let is_input = |info: &crate::CommitInfo| {
            info.number > 0 && info.positions.len() == positions.len() && info.covers(&positions)
        };
        job.commits().wait_for(is_input).await.unwrap();
    }
}

fn view(job: &JobHandle) -> Vec<String> {
    let mut view: Vec<String> = job
        .snapshot()
        .unwrap()
        .batches()
        .flat_map(|batch| rows(&batch.unwrap()))
        .collect();
    view.sort();
    view
}

#[tokio::test]
async fn a_job_lives_through_restarts_and_is_dropped() {
    let rig = Rig::new();
    let engine = rig.engine();
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    assert_eq!(handle.status().state, JobState::Running);
    assert!(view(&handle).is_empty());
    assert!(matches!(
        engine.start(job(plan(), vec![0, 1])).await,
        Err(EngineError::Running(_))
    ));

    rig.log
        .push("airlines", 0, Some("UA"), Some(r#"{"title":"United"}"#));
    rig.flight(0, "UA", 5);
    rig.flight(1, "UA", 6);
    rig.settled(&handle).await;
    assert_eq!(view(&handle), ["10 United 2 11"]);
    let snapshot = handle.snapshot().unwrap();
    assert!(snapshot.commit().number > 0);

    engine.shutdown().await;
    assert_eq!(handle.status().state, JobState::Stopped);
    assert!(matches!(
        handle.snapshot(),
        Err(EngineError::NotReady { .. })
    ));
    // A reader may go on with what it holds. (It also keeps the store open, so let it go before the next start.)
    assert_eq!(
        snapshot
            .batches()
            .map(|batch| batch.unwrap().num_rows())
            .sum::<usize>(),
        1
    );
    drop(snapshot);

    let engine = rig.engine();
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    assert_eq!(
        view(&handle),
        ["10 United 2 11"],
        "at once, before anything new is read"
    );
    rig.log
        .push("airlines", 0, Some("UA"), Some(r#"{"title":"Untied"}"#));
    rig.flight(0, "UA", 1);
    rig.settled(&handle).await;
    assert_eq!(view(&handle), ["10 Untied 3 12"]);
    let why = handle.why().to_string();
    assert!(
        why.starts_with("delays is running and has written"),
        "{why}"
    );

    rig.log.push("flights", 0, None, Some("{no json"));
    rig.settled(&handle).await;
    assert!(rig.log.topics().contains(&"delays.errors".to_owned()));
    let before = handle.why();
    assert_eq!(before.undecodable, 1);

    engine.shutdown().await;
    let engine = rig.engine();
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    let after = handle.why();
    assert_eq!(
        (after.rows_in, after.rows_out, after.undecodable),
        (before.rows_in, before.rows_out, 1),
        "a restart forgets nothing"
    );
    assert!(after.last_failure.is_some());
    assert_eq!(after.last_failure, before.last_failure);
    rig.log.create("delays.late", 1);
    handle.drop_job().await.unwrap();
    assert!(!rig.folder.path().join("delays").exists());
    assert_eq!(rig.log.topics(), ["airlines", "flights"]);
    assert!(rig.log.group_offsets("thalweg.delays").is_empty());
}

#[tokio::test]
async fn a_total_over_nothing_is_there_once_the_job_is() {
    let rig = Rig::new();
    let mut total = PlanBuilder::default();
    let flights = total.source("flights", &[("delay", Int64)], None);
    total.aggregate(flights, &[], &["count(*)"], Emit::Changes);
    let config = EngineConfig {
        state_dir: rig.folder.path().to_owned(),
        // No commit by the clock comes before the view is looked at.
        commit_interval: Duration::from_secs(60),
        ..EngineConfig::default()
    };
    let engine = Engine::new(config, rig.log.shared()).unwrap();
    let handle = engine.start(job(total.build(), vec![0])).await.unwrap();
    assert_eq!(view(&handle), ["0"]);
}

#[tokio::test]
async fn nobody_holds_the_log_after_a_shutdown() {
    let rig = Rig::new();
    for _ in 0..20 {
        let engine = rig.engine();
        let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
        rig.flight(0, "UA", 5);
        engine.shutdown().await;
        drop((engine, handle));
        assert_eq!(rig.log.holders(), 1);
    }
}

#[tokio::test]
async fn a_thread_comes_back_from_a_commit_without_an_answer() {
    let rig = Rig::new();
    let engine = rig.engine();
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    rig.log
        .push("airlines", 0, Some("UA"), Some(r#"{"title":"United"}"#));
    rig.log
        .fail_next_commit("thalweg.delays.0", CommitFault::UnknownApplied);
    rig.flight(0, "UA", 5);
    rig.flight(1, "UA", 6);
    rig.settled(&handle).await;
    assert_eq!(view(&handle), ["10 United 2 11"]);
    engine.shutdown().await;
}

#[tokio::test]
async fn a_view_whose_topic_is_gone_fails_and_gives_no_rows() {
    let rig = Rig::new();
    let engine = rig.engine();
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    rig.log
        .push("airlines", 0, Some("UA"), Some(r#"{"title":"United"}"#));
    rig.flight(0, "UA", 5);
    rig.flight(1, "UA", 6);
    rig.settled(&handle).await;
    engine.shutdown().await;
    let admin = rig.log.shared().admin();
    admin.delete_topic("delays").await.unwrap();

    let lost = |handle: &JobHandle, what: &str| {
        assert_eq!(handle.status().state, JobState::Failed);
        let error = handle.snapshot().unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    lost(&handle, "topic delays of the view was deleted");
    assert!(admin.describe_topic("delays").await.unwrap().is_none());
    // One of the same name is not the same.
    rig.log.create("delays", 3);
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    lost(&handle, "topic delays of the view was made anew");
    engine.drop_job("delays", Some("delays")).await.unwrap();
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    rig.settled(&handle).await;
    assert_eq!(view(&handle), ["10 United 2 11"]);
    engine.shutdown().await;
}

#[tokio::test]
async fn keys_stay_in_their_partitions_when_the_topic_gets_more() {
    let rig = Rig::new();
    let engine = rig.engine();
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    rig.log
        .push("airlines", 0, Some("UA"), Some(r#"{"title":"United"}"#));
    rig.flight(0, "UA", 5);
    rig.flight(1, "UA", 6);
    rig.settled(&handle).await;
    engine.shutdown().await;
    let admin = rig.log.shared().admin();
    let before = admin.describe_topic("delays").await.unwrap().unwrap();
    admin
        .create_partitions("delays", before.partitions + 40)
        .await
        .unwrap();

    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    rig.flight(1, "UA", 7);
    rig.settled(&handle).await;
    engine.shutdown().await;
    let mut places: Vec<_> = Vec::new();
    for partition in 0..before.partitions + 40 {
        let partition = log_api::TopicPartition::new("delays", partition);
        let end = admin
            .offset(&partition, log_api::OffsetSpec::Latest)
            .await
            .unwrap();
        places.extend((end > 0).then_some(partition.partition));
    }
    assert_eq!(places.len(), 1, "one key is in one partition: {places:?}");
    assert!(places[0] < before.partitions);
}

#[tokio::test]
async fn rows_that_are_read_again_are_counted_once() {
    let rig = Rig::new();
    let engine = rig.engine();
    rig.log
        .fail_next_commit("thalweg.delays.0", CommitFault::Aborted);
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    rig.log
        .push("airlines", 0, Some("UA"), Some(r#"{"title":"United"}"#));
    rig.flight(0, "UA", 5);
    rig.flight(1, "UA", 6);
    rig.settled(&handle).await;
    assert_eq!(handle.status().rows_in, 3);
    engine.shutdown().await;
}

#[tokio::test]
async fn a_job_that_cannot_work_says_why() {
    let rig = Rig::new();
    let engine = rig.engine();
    let error = engine.start(job(plan(), vec![])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "sink delays: rows of this view change, so it needs a key"
    );
    let error = engine
        .start(JobSpec {
            name: "../x".to_owned(),
            ..job(plan(), vec![0])
        })
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("must be 1 to 200 of the characters"),
        "{error}"
    );

    // State of another plan: the job fails, says so, and stays failed.
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    rig.flight(0, "UA", 5);
    rig.flight(1, "UA", 5);
    rig.log
        .push("airlines", 0, Some("UA"), Some(r#"{"title":"United"}"#));
    rig.settled(&handle).await;
    handle.stop().await.unwrap();
    let handle = engine.start(job(plan(), vec![0])).await.unwrap();
    assert_eq!(handle.status().state, JobState::Failed);
    assert!(
        handle
            .why()
            .to_string()
            .contains("was kept by another plan")
    );
    handle.drop_job().await.unwrap();
}

#[derive(Debug)]
struct Panics;

impl crate::BatchExpr for Panics {
    fn eval(
        &self,
        _batch: &arrow::array::RecordBatch,
    ) -> Result<arrow::array::ArrayRef, crate::ExprError> {
        panic!("a bug")
    }
}

#[tokio::test]
async fn a_panic_ends_the_job_and_not_the_process() {
    let rig = Rig::new();
    let engine = rig.engine();
    let mut plan = PlanBuilder::default();
    let flights = plan.source("flights", &[("carrier", Utf8View), ("delay", Int64)], None);
    plan.map(flights, vec![("x", Int64, Arc::new(Panics))]);
    let handle = engine.start(job(plan.build(), vec![])).await.unwrap();
    rig.flight(0, "UA", 5);
    handle
        .states()
        .wait_for(|state| *state == JobState::Failed)
        .await
        .unwrap();
    assert_eq!(
        handle.status().error.as_deref(),
        Some("internal error: a bug")
    );
    engine.shutdown().await;
}

#[tokio::test]
async fn output_without_a_key_is_numbered() {
    let rig = Rig::new();
    let engine = rig.engine();
    let mut plan = PlanBuilder::default();
    plan.source("flights", &[("carrier", Utf8View), ("delay", Int64)], None);
    let plan = plan.build();
    let handle = engine.start(job(plan.clone(), vec![])).await.unwrap();
    for delay in 0..5 {
        rig.flight(0, "UA", delay);
    }
    handle
        .commits()
        .wait_for(|info| info.positions.iter().any(|(_, offset)| *offset == 5))
        .await
        .unwrap();
    handle.stop().await.unwrap();
    let handle = engine.start(job(plan, vec![])).await.unwrap();
    rig.flight(0, "UA", 5);
    handle
        .commits()
        .wait_for(|info| info.positions.iter().any(|(_, offset)| *offset == 6))
        .await
        .unwrap();
    let batches = handle.snapshot().unwrap().batches();
    let found: Vec<String> = batches.flat_map(|batch| rows(&batch.unwrap())).collect();
    assert_eq!(found, ["UA 0", "UA 1", "UA 2", "UA 3", "UA 4", "UA 5"]);
    assert_eq!(rig.log.committed_records("delays").len(), 6);
    engine.shutdown().await;
}

#[tokio::test]
async fn a_push_query_follows_and_ends_when_dropped() {
    let rig = Rig::new();
    let engine = rig.engine();
    rig.log
        .push("airlines", 0, Some("UA"), Some(r#"{"title":"United"}"#));
    rig.flight(0, "UA", 5);
    let mut stream = engine.query(plan(), QueryStart::Earliest);
    let mut seen = Vec::new();
    while seen.is_empty() {
        seen.extend(changes(&[stream.next().await.unwrap().unwrap()]));
    }
    assert_eq!(seen, ["+ 10 United 1 5"]);
    rig.flight(0, "UA", 6);
    let chunk = stream.next().await.unwrap().unwrap();
    assert_eq!(changes(&[chunk]), ["- 10 United 1 5", "+ 10 United 2 11"]);
    drop(stream);
    assert!(
        rig.log.topics().iter().all(|topic| !topic.starts_with('_')),
        "nothing is written"
    );

    let mut missing = PlanBuilder::default();
    missing.source("missing", &[("carrier", Utf8View)], None);
    let mut stream = engine.query(missing.build(), QueryStart::Latest);
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "topic missing does not exist");
    assert!(stream.next().await.is_none());
}

/// Gives its input back, and counts how often it was asked.
#[derive(Debug)]
struct Counted(tokio::sync::watch::Sender<u64>);

impl crate::BatchExpr for Counted {
    fn eval(
        &self,
        batch: &arrow::array::RecordBatch,
    ) -> Result<arrow::array::ArrayRef, crate::ExprError> {
        self.0.send_modify(|count| *count += 1);
        Ok(Arc::clone(batch.column(0)))
    }
}

/// Tens of millions of pairs of one batch each.
#[tokio::test]
async fn a_job_in_the_middle_of_a_batch_is_dropped() {
    const ROWS: i64 = 8_000;
    let rig = Rig::new();
    let engine = rig.engine();
    for delay in 0..ROWS {
        rig.flight(0, "UA", delay);
    }
    let mut plan = PlanBuilder::default();
    let columns = [("carrier", Utf8View), ("delay", Int64)];
    let left = plan.source("flights", &columns, None);
    let right = plan.source("flights", &columns, None);
    let pairs = plan.join(JoinKind::Inner, (left, "carrier"), (right, "carrier"));
    let (count, mut counted) = tokio::sync::watch::channel(0);
    plan.map(pairs, vec![("x", Utf8View, Arc::new(Counted(count)))]);
    let handle = engine.start(job(plan.build(), vec![])).await.unwrap();
    counted.wait_for(|count| *count > 0).await.unwrap();
    handle.drop_job().await.unwrap();
    let chunks = *counted.borrow();
    assert!(
        chunks < (ROWS * ROWS / 8192) as u64,
        "it did not compute to the end"
    );
    assert_eq!(handle.status().state, JobState::Stopped);
    assert_eq!(rig.log.topics(), ["airlines", "flights"]);
}

/// Does not look up before it is let go.
#[derive(Debug)]
struct Blocks {
    began: tokio::sync::watch::Sender<bool>,
    go_on: parking_lot::Mutex<std::sync::mpsc::Receiver<()>>,
}

impl crate::BatchExpr for Blocks {
    fn eval(
        &self,
        batch: &arrow::array::RecordBatch,
    ) -> Result<arrow::array::ArrayRef, crate::ExprError> {
        self.began.send_replace(true);
        let _ = self.go_on.lock().recv();
        Ok(Arc::clone(batch.column(0)))
    }
}

#[tokio::test]
async fn a_job_that_does_not_look_up_is_not_waited_for_without_bound() {
    let rig = Rig::new();
    let engine = rig.engine();
    let (began, mut has_begun) = tokio::sync::watch::channel(false);
    let (let_go, go_on) = std::sync::mpsc::channel();
    let mut plan = PlanBuilder::default();
    let flights = plan.source("flights", &[("carrier", Utf8View), ("delay", Int64)], None);
    let blocks = Blocks {
        began,
        go_on: parking_lot::Mutex::new(go_on),
    };
    plan.map(flights, vec![("x", Utf8View, Arc::new(blocks))]);
    let handle = engine.start(job(plan.build(), vec![])).await.unwrap();
    rig.flight(0, "UA", 5);
    has_begun.wait_for(|begun| *begun).await.unwrap();

    let error = handle
        .end_within(Duration::from_millis(20))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("job delays has not ended within"),
        "{error}"
    );
    assert!(rig.log.topics().contains(&"delays".to_owned()));
    // It ends as soon as it can, and then it can be dropped.
    drop(let_go);
    engine.drop_job("delays", Some("delays")).await.unwrap();
    assert_eq!(rig.log.topics(), ["airlines", "flights"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn jobs_that_rest_cost_no_threads_and_no_turns() {
    const JOBS: usize = 40;
    let rig = Rig::new();
    rig.log.create("quiet", 2);
    let config = EngineConfig {
        state_dir: rig.folder.path().to_owned(),
        commit_interval: Duration::from_millis(20),
        idle_grace_ms: 1,
        worker: "rest".to_owned(),
        threads: 2,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config, rig.log.shared()).unwrap();
    let mut resting = Vec::new();
    for number in 0..JOBS {
        let mut plan = PlanBuilder::default();
        plan.source("quiet", &[("carrier", Utf8View), ("at", TIMESTAMP)], None);
        let mut spec = job(plan.build(), vec![]);
        spec.name = format!("rests-{number}");
        spec.sink.topic = spec.name.clone();
        resting.push(engine.start(spec).await.unwrap());
    }
    for partition in 0..2 {
        let row = r#"{"carrier":"UA","at":1}"#;
        rig.log.push("quiet", partition, None, Some(row));
    }
    for handle in &resting {
        let rows = |info: &crate::CommitInfo| info.positions.iter().all(|(_, offset)| *offset == 1);
        handle.commits().wait_for(rows).await.unwrap();
        handle.rests().wait_for(|rests| *rests).await.unwrap();
    }
    let turns = |handles: &[JobHandle]| -> Vec<u64> {
        handles.iter().map(|handle| handle.status().turns).collect()
    };
    let before = turns(&resting);

    let busy = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    rig.log
        .push("airlines", 0, Some("UA"), Some(r#"{"title":"United"}"#));
    for delay in 0..20 {
        rig.flight(delay % 2, "UA", i64::from(delay));
        if delay > 0 {
            rig.settled(&busy).await;
        }
    }
    assert!(busy.status().turns >= 20);
    assert_eq!(
        turns(&resting),
        before,
        "nobody looks for work that is not there"
    );

    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let own = threads.filter(|thread| {
        let name = thread.as_ref().unwrap().path().join("comm");
        std::fs::read_to_string(name).is_ok_and(|name| name.trim() == "streams-rest")
    });
    // Those of the pool, and the few that stood in while one opened a store.
    let own = own.count();
    assert!(
        (2..JOBS / 4).contains(&own),
        "{own} threads for {JOBS} jobs"
    );
    engine.shutdown().await;
}

/// The rig's engine, with a snapshot after every few bytes.
fn saving_engine(rig: &Rig, snapshots: &str) -> Engine {
    let config = EngineConfig {
        state_dir: rig.folder.path().join("state"),
        snapshot_dir: Some(rig.folder.path().join(snapshots)),
        snapshot_bytes: 1,
        commit_interval: Duration::from_millis(20),
        tokens: 2,
        ..EngineConfig::default()
    };
    Engine::new(config, rig.log.shared()).unwrap()
}

#[tokio::test]
async fn state_comes_back_from_a_snapshot_and_the_changelog_behind_it() {
    const ROUNDS_MAX: i64 = 2_000;
    let rig = Rig::new();
    let admin = rig.log.shared().admin();
    let engine = saving_engine(&rig, "snapshots");
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    rig.log
        .push("airlines", 0, Some("UA"), Some(r#"{"title":"United"}"#));
    rig.flight(1, "UA", 0);
    let mut rounds = 0;
    let mut starts = [0, 0];
    while starts.contains(&0) {
        rounds += 1;
        assert!(rounds < ROUNDS_MAX, "the changelog is never trimmed");
        rig.flight(0, "UA", 1);
        rig.settled(&handle).await;
        for (token, start) in (0..).zip(&mut starts) {
            let changelog = log_api::TopicPartition::new("_thalweg.delays.changelog", token);
            let earliest = admin
                .offset(&changelog, log_api::OffsetSpec::Earliest)
                .await;
            *start = earliest.unwrap();
        }
    }
    let expected = [format!("10 United {} {rounds}", rounds + 1)];
    assert_eq!(view(&handle), expected);
    engine.shutdown().await;

    std::fs::remove_dir_all(rig.folder.path().join("state")).unwrap();
    let engine = saving_engine(&rig, "snapshots");
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    assert_eq!(
        handle.status().state,
        JobState::Running,
        "{}",
        handle.status()
    );
    assert_eq!(view(&handle), expected);
    rig.flight(0, "UA", 1);
    rig.settled(&handle).await;
    assert_eq!(
        view(&handle),
        [format!("10 United {} {}", rounds + 2, rounds + 1)]
    );
    engine.shutdown().await;

    // A store that lost its list of files is an empty one, and lacks what only snapshots have.
    for token in ["t0", "t1"] {
        let store = rig.folder.path().join("state/delays").join(token);
        std::fs::remove_file(store.join("g0/CURRENT")).unwrap();
    }
    let engine = saving_engine(&rig, "snapshots");
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    assert_eq!(
        view(&handle),
        [format!("10 United {} {}", rounds + 2, rounds + 1)]
    );
    engine.shutdown().await;

    std::fs::remove_dir_all(rig.folder.path().join("state")).unwrap();
    let engine = saving_engine(&rig, "elsewhere");
    let handle = engine.start(job(plan(), vec![0, 1])).await.unwrap();
    let status = handle.status();
    assert_eq!(status.state, JobState::Failed);
    let error = status.error.unwrap();
    assert!(
        error.contains("bring the folder of snapshots back"),
        "{error}"
    );
    engine.shutdown().await;

    let engine = saving_engine(&rig, "snapshots");
    engine.drop_job("delays", Some("delays")).await.unwrap();
    assert!(!rig.folder.path().join("snapshots").join("delays").exists());
}

#[test]
fn config_is_checked() {
    assert_eq!(EngineConfig::default().validate(), Ok(()));
    let slow = EngineConfig {
        commit_interval: Duration::from_secs(61),
        ..EngineConfig::default()
    };
    assert_eq!(slow.validate().unwrap_err().field, "commit_interval");
    let unnamed = EngineConfig {
        worker: "a b".to_owned(),
        ..EngineConfig::default()
    };
    assert_eq!(unnamed.validate().unwrap_err().field, "worker");
    let shards = EngineConfig {
        tokens: TOKENS_MAX + 1,
        ..EngineConfig::default()
    };
    assert_eq!(shards.validate().unwrap_err().field, "tokens");
    let many = EngineConfig {
        threads: THREADS_MAX + 1,
        ..EngineConfig::default()
    };
    assert_eq!(many.validate().unwrap_err().field, "threads");
    let read: EngineConfig =
        serde_json::from_str(r#"{"commit_interval": "1s", "worker": "w"}"#).unwrap();
    assert_eq!(read.commit_interval, Duration::from_secs(1));
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(written["commit_interval"], "1000ms");
    assert!(serde_json::from_str::<EngineConfig>(r#"{"commit_intervall": 1}"#).is_err());
    assert!(serde_json::from_str::<EngineConfig>(r#"{"commit_interval": "soon"}"#).is_err());
}

#[test]
fn names_become_no_paths() {
    for name in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a b",
        ".hidden",
        &"x".repeat(201),
    ] {
        assert!(!is_name(name), "{name}");
    }
    assert!(is_name("delays_by.carrier-2"));
}
