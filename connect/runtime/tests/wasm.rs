//! A guest in the transform chain: `udf-examples/route` and, for what must not hurt, `udf-examples/evil`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use log_api::{Admin, NewTopic};
use serde_json::json;

use crate::memory_log::{MemoryLog, Shared};
use crate::worker::{Harness, config};

/// The folder of the guests' `.wasm` files, built by cargo where their flags are configured.
static GUESTS: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../udf-examples");
    let target = std::env::var_os("THALWEG_UDF_TARGET").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/thalweg/udf"),
        PathBuf::from,
    );
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--release",
            "--target",
            "wasm32-unknown-unknown",
            "--locked",
        ])
        .current_dir(source)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    target.join("wasm32-unknown-unknown/release")
});

fn with_guest(guest: &str) -> serde_json::Value {
    json!({
        "connector.class": "KeepSink", "topics": "flights",
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": "dead",
        "errors.deadletterqueue.context.headers.enable": "true",
        "transforms": "guest",
        "transforms.guest.type": "wasm",
        "transforms.guest.module": format!("file:{}", GUESTS.join(guest).display()),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_adds_a_field_routes_and_refuses_single_records() {
    let log = MemoryLog::new();
    Shared(log.clone())
        .create_topic(NewTopic::new("flights", 1))
        .await
        .unwrap();
    for value in [
        Some(r#"{"origin":"EWR","dest":"IAH","dep_delay":2}"#),
        Some(r#"{"origin":"JFK","dest":"MIA","dep_delay":null}"#),
        Some(r#"["no flight"]"#),
        None,
        Some(r#"{"origin":"LGA","dest":"ORD","dep_delay":-3}"#),
    ] {
        log.put("flights", 0, Some("UA"), value).await;
    }
    let harness = Harness::on(log.clone(), config()).await;
    let mut settings = with_guest("route.wasm");
    settings["transforms.guest.config.route.field"] = "way".into();
    harness.configure("s", settings).await;
    harness
        .until("three records", |script| script.taken.lock().len() == 3)
        .await;
    assert_eq!(
        *harness.script.taken.lock(),
        [
            r#"flights-0@0 "UA"={"origin":"EWR","dest":"IAH","dep_delay":2,"way":"EWR-IAH"}"#,
            r#"flights-0@3 "UA"=null"#,
            r#"flights-0@4 "UA"={"origin":"LGA","dest":"ORD","dep_delay":-3,"way":"LGA-ORD"}"#,
        ]
    );
    let letters = log.records("dead");
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].value_text(), r#"["no flight"]"#);
    assert!(
        letters[1].value_text().contains("MIA"),
        "a route that leads nowhere"
    );
    let stage = letters[0]
        .headers
        .iter()
        .find(|(name, _)| name == "__connect.errors.stage")
        .unwrap();
    assert_eq!(stage.1.as_deref(), Some(&b"TRANSFORMATION"[..]));
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_guests_are_refused_when_the_connector_is_made() {
    let harness = Harness::start().await;
    let broken = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(broken.path(), b"\0asm is not all it takes").unwrap();
    let mut settings = with_guest("delay_class.wasm");
    for (module, text) in [
        (GUESTS.join("delay_class.wasm"), "transform"),
        (broken.path().to_owned(), "transforms.guest.module"),
    ] {
        settings["transforms.guest.module"] = module.to_str().unwrap().into();
        let (status, _, body) = harness
            .send("PUT", "/connectors/s/config", Some(&settings))
            .await;
        assert_eq!(status, 400, "{body}");
        let message = body["message"].as_str().unwrap();
        assert!(
            message.contains(text) || message.contains("delay_class"),
            "{message}"
        );
    }
    harness.worker.stop().await;
}

/// The poison lies in the middle of what the connector gives at once: what came before it is committed, and the trace
/// says of exactly that record where the source was.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_record_that_ends_the_run_is_committed() {
    let harness = Harness::start().await;
    let settings = json!({
        "connector.class": "CountSource", "topic": "t", "count": 20,
        "transforms": "guest",
        "transforms.guest.type": "wasm",
        "transforms.guest.module": GUESTS.join("evil.wasm"),
        "transforms.guest.config.attack": "trap",
        "transforms.guest.config.when": "\"n\":6}",
    });
    harness.configure("c", settings).await;
    let task = harness.until_state("c", Some(0), "FAILED").await;
    let values: Vec<String> = harness
        .log
        .records("t")
        .iter()
        .map(|record| record.value_text().to_owned())
        .collect();
    let mut expected: Vec<String> = (0..6).map(|n| format!("{{\"n\":{n}}}")).collect();
    expected.sort();
    let mut values = values;
    values.sort();
    assert_eq!(values, expected);
    let trace = task["trace"].as_str().unwrap();
    assert!(
        trace.contains("transform guest: ") && trace.contains("\"next\":7"),
        "{trace}"
    );
    let offsets = harness.get("/connectors/c/offsets").await;
    assert_eq!(offsets["offsets"][0]["offset"], json!({"next": 6}));
    harness.worker.stop().await;
}
