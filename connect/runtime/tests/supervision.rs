//! What becomes of tasks whose connector panics, fails, or hangs, while REST goes on answering.

use std::sync::{Arc, Barrier};

use connect_api::ConnectError;
use serde_json::json;

use crate::connectors::Mishap;
use crate::memory_log::MemoryLog;
use crate::worker::{Harness, config};

fn source(count: u32) -> serde_json::Value {
    json!({"connector.class": "CountSource", "topic": "t", "count": count})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_restarts_the_task_and_nothing_is_lost_or_repeated() {
    let harness = Harness::start().await;
    harness
        .script
        .mishaps
        .lock()
        .extend([Mishap::Panic, Mishap::Panic]);
    harness.configure("c", source(20)).await;
    harness
        .log
        .until("20 records", |log| log.records("t").len() >= 20)
        .await;
    assert_eq!(harness.log.records("t").len(), 20);
    harness.until_state("c", Some(0), "RUNNING").await;
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_panics_are_quarantined_until_a_restart_is_asked_for() {
    let harness = Harness::start().await;
    harness.script.mishaps.lock().extend(vec![Mishap::Panic; 4]);
    harness.configure("c", source(5)).await;
    let task = harness.until_state("c", Some(0), "FAILED").await;
    let trace = task["trace"].as_str().unwrap();
    assert!(
        trace.contains("the connector panicked: as the test wants it"),
        "{trace}"
    );
    assert!(
        trace.contains("Not restarted: 3 restarts within an hour"),
        "{trace}"
    );
    let (status, ..) = harness
        .send("POST", "/connectors/c/tasks/0/restart", None)
        .await;
    assert_eq!(status, 204);
    harness
        .log
        .until("5 records", |log| log.records("t").len() == 5)
        .await;
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_errors_are_tried_again_in_place() {
    let harness = Harness::start().await;
    let away = ConnectError::Transient("the source is away".to_owned());
    harness.script.mishaps.lock().push(Mishap::Fail(away));
    harness.configure("c", source(5)).await;
    harness
        .log
        .until("5 records", |log| log.records("t").len() == 5)
        .await;
    let generations = harness.log.records("connect-status");
    let states: Vec<String> = generations
        .iter()
        .filter(|record| record.key_text() == "status-task-c-0")
        .map(|record| {
            let status: serde_json::Value =
                serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
            status["state"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(!states.contains(&"FAILED".to_owned()), "{states:?}");
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fatal_error_stays_with_its_trace() {
    let harness = Harness::start().await;
    harness
        .script
        .mishaps
        .lock()
        .push(Mishap::Fail(ConnectError::Fatal(
            "no such table".to_owned(),
        )));
    harness.configure("c", source(5)).await;
    let task = harness.until_state("c", Some(0), "FAILED").await;
    assert_eq!(
        task["trace"],
        "org.apache.kafka.connect.errors.ConnectException: no such table"
    );
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_hangs_is_left_behind_and_the_herder_answers() {
    let log = MemoryLog::new();
    let short = connect_runtime::ConnectConfig {
        call_timeout_ms: 50,
        ..config()
    };
    let harness = Harness::on(log.clone(), short).await;
    let gate = Arc::new(Barrier::new(2));
    harness
        .script
        .mishaps
        .lock()
        .push(Mishap::Hang(gate.clone()));
    harness.configure("c", source(10)).await;
    log.until("10 records of the second run", |log| {
        log.records("t").len() >= 10
    })
    .await;
    harness.until_state("c", Some(0), "RUNNING").await;
    // The first run wakes up: it is fenced, and adds nothing.
    tokio::task::spawn_blocking(move || gate.wait())
        .await
        .unwrap();
    harness
        .configure(
            "d",
            json!({"connector.class": "CountSource", "topic": "d", "count": 3}),
        )
        .await;
    log.until("another connector", |log| log.records("d").len() == 3)
        .await;
    assert_eq!(log.records("t").len(), 10);
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_in_less_than_a_second_whatever_its_tasks_do() {
    let harness = Harness::start().await;
    let gate = Arc::new(Barrier::new(2));
    harness
        .script
        .mishaps
        .lock()
        .push(Mishap::Hang(gate.clone()));
    harness.configure("c", source(10)).await;
    harness
        .until("the task hangs", |script| script.mishaps.lock().is_empty())
        .await;
    let started = std::time::Instant::now();
    harness.worker.stop().await;
    assert!(started.elapsed() < std::time::Duration::from_secs(1));
    gate.wait();
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_and_states_survive_a_restart() {
    let log = MemoryLog::new();
    let harness = Harness::on(log.clone(), config()).await;
    harness.configure("a", source(3)).await;
    harness
        .configure(
            "b",
            json!({"connector.class": "CountSource", "topic": "b", "count": 3}),
        )
        .await;
    harness.configure("gone", source(0)).await;
    log.until("records", |log| {
        log.records("t").len() == 3 && log.records("b").len() == 3
    })
    .await;
    assert_eq!(
        harness.send("PUT", "/connectors/a/pause", None).await.0,
        202
    );
    assert_eq!(harness.send("PUT", "/connectors/b/stop", None).await.0, 204);
    assert_eq!(
        harness.send("DELETE", "/connectors/gone", None).await.0,
        204
    );
    harness.worker.stop().await;

    let harness = Harness::on(log.clone(), config()).await;
    assert_eq!(harness.get("/connectors").await, json!(["a", "b"]));
    harness.until_state("a", Some(0), "PAUSED").await;
    harness.until_state("b", None, "STOPPED").await;
    assert_eq!(
        harness.get("/connectors/a/topics").await,
        json!({"a": {"topics": ["t"]}})
    );
    assert_eq!(harness.get("/connectors/a/config").await["count"], "3");

    // Offsets can be reset now that b is stopped, and then it reads all again.
    let (status, _, body) = harness.send("DELETE", "/connectors/b/offsets", None).await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("have been reset successfully")
    );
    assert_eq!(
        harness.get("/connectors/b/offsets").await,
        json!({"offsets": []})
    );
    assert_eq!(
        harness.send("PUT", "/connectors/b/resume", None).await.0,
        202
    );
    log.until("all again", |log| log.records("b").len() == 6)
        .await;
    harness.worker.stop().await;
}
