//! Transcripts of REST: `tests/rest/*.json` are lists of requests with the answers that they get, in order.
//!
//! `{"request": "GET /path", "body": …, "status": 200, "location": …, "answer": …, "state": ["name", 0, "RUNNING"]}`:
//! `state` waits for a state first; `answer` is compared whole, `contains` as a subset. `UPDATE_TRANSCRIPTS=1`
//! writes the answers that came into the files.

use std::path::PathBuf;

use serde_json::Value as Json;

use crate::worker::Harness;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/rest")
}

/// Whether all of `part` is in `whole`: objects by field, lists item by item, text exactly.
fn contains(whole: &Json, part: &Json) -> bool {
    match (whole, part) {
        (Json::Object(whole), Json::Object(part)) => part
            .iter()
            .all(|(name, part)| whole.get(name).is_some_and(|whole| contains(whole, part))),
        (Json::Array(whole), Json::Array(part)) => part
            .iter()
            .all(|part| whole.iter().any(|whole| contains(whole, part))),
        _ => whole == part,
    }
}

async fn play(name: &str) {
    let path = folder().join(name);
    let mut steps: Vec<Json> =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
    let harness = Harness::start().await;
    for (number, step) in steps.iter_mut().enumerate() {
        if let Some(state) = step.get("state") {
            let task = state[1].as_u64().map(|task| task as usize);
            harness
                .until_state(state[0].as_str().unwrap(), task, state[2].as_str().unwrap())
                .await;
        }
        let request = step["request"].as_str().unwrap().to_owned();
        let (method, target) = request.split_once(' ').unwrap();
        let (status, location, answer) = match step.get("text") {
            Some(text) => {
                let kind = step
                    .get("content_type")
                    .and_then(Json::as_str)
                    .unwrap_or("application/json");
                harness
                    .raw(method, target, Some((kind, text.as_str().unwrap())))
                    .await
            }
            None => harness.send(method, target, step.get("body")).await,
        };
        if update {
            step["status"] = status.into();
            if let Some(location) = location {
                step["location"] = location.into();
            }
            if step.get("contains").is_none() {
                step["answer"] = answer;
            }
            continue;
        }
        let place = format!("{name}, step {number}, {request}");
        assert_eq!(step["status"], status, "{place}: {answer:#}");
        assert_eq!(
            step.get("location").and_then(Json::as_str),
            location.as_deref(),
            "{place}"
        );
        match step.get("contains") {
            Some(part) => assert!(contains(&answer, part), "{place}: {answer:#}"),
            None => assert_eq!(step["answer"], answer, "{place}: {answer:#}"),
        }
    }
    harness.worker.stop().await;
    if update {
        let text = serde_json::to_string_pretty(&steps).unwrap();
        std::fs::write(&path, text + "\n").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn life_of_a_connector() {
    play("life.json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_mistakes() {
    play("mistakes.json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_and_validation() {
    play("plugins.json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_stopped_connectors() {
    play("offsets.json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_of_the_log() {
    play("loggers.json").await;
}
