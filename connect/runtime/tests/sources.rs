//! Source tasks: records and offsets together, restarts that neither lose nor repeat, dead letters.

use serde_json::json;

use crate::memory_log::MemoryLog;
use crate::worker::{Harness, config};

fn numbers(log: &MemoryLog, topic: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = log
        .records(topic)
        .iter()
        .map(|record| {
            serde_json::from_slice::<serde_json::Value>(record.value.as_ref().unwrap()).unwrap()
                    ["n"]
                    .as_u64()
                    .unwrap()
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_to_the_partition_of_their_key_with_headers() {
    let harness = Harness::start().await;
    let config = json!({
        "connector.class": "CountSource", "topic": "t", "count": 30, "topic.creation.default.partitions": "4",
        "topic.creation.default.cleanup.policy": "compact",
    });
    harness.configure("c", config).await;
    harness
        .log
        .until("30 records", |log| log.records("t").len() == 30)
        .await;
    let partitions = harness.log.partitions("t");
    assert_eq!(partitions.len(), 4);
    for (index, records) in partitions.iter().enumerate() {
        for record in records {
            let key = record.key.as_ref().unwrap();
            assert_eq!(log_api::partition_for_key(key, 4) as usize, index);
            assert_eq!(record.headers[0].0, "h");
        }
    }
    harness
        .until("acknowledged", |script| {
            script.acknowledged.lock().last() == Some(&30)
        })
        .await;
    assert_eq!(
        harness.get("/connectors/c/topics").await,
        json!({"c": {"topics": ["t"]}})
    );
    let offsets = harness.get("/connectors/c/offsets").await;
    assert_eq!(
        offsets,
        json!({"offsets": [{"partition": {"source": "count"}, "offset": {"next": 30}}]})
    );
    let stored = harness.log.records("connect-offsets");
    assert_eq!(stored[0].key_text(), r#"["c",{"source":"count"}]"#);
    assert_eq!(stored.last().unwrap().value_text(), r#"{"next":30}"#);
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_worker_goes_on_where_the_last_one_committed() {
    let log = MemoryLog::new();
    for (run, count) in [20, 50, 80].into_iter().enumerate() {
        let harness = Harness::on(log.clone(), config()).await;
        let settings = json!({"connector.class": "CountSource", "topic": "t", "count": count});
        if run > 0 {
            harness.until_state("c", Some(0), "RUNNING").await;
        }
        harness.configure("c", settings).await;
        harness
            .log
            .until("records", |log| log.records("t").len() >= count)
            .await;
        // The second worker is left behind instead of stopped: the third one fences it.
        if run != 1 {
            harness.worker.stop().await;
        } else {
            std::mem::forget(harness);
        }
    }
    assert_eq!(numbers(&log, "t"), (0..80).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_abort_are_made_again() {
    let harness = Harness::start().await;
    harness
        .configure(
            "c",
            json!({"connector.class": "CountSource", "topic": "t", "count": 0}),
        )
        .await;
    harness.until_state("c", Some(0), "RUNNING").await;
    harness.log.abort_next_commits(0);
    harness
        .configure(
            "c",
            json!({"connector.class": "CountSource", "topic": "t", "count": 40}),
        )
        .await;
    harness
        .log
        .until("40 records", |log| log.records("t").len() >= 40)
        .await;
    assert_eq!(numbers(&harness.log, "t"), (0..40).collect::<Vec<_>>());
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_transaction_restarts_the_task_at_its_offsets() {
    let harness = Harness::start().await;
    harness
        .configure(
            "c",
            json!({"connector.class": "CountSource", "topic": "t", "count": 8}),
        )
        .await;
    harness
        .log
        .until("8 records", |log| log.records("t").len() == 8)
        .await;
    // The next commits: the connector's new configuration, its tasks, and then the task's records, which abort.
    harness.worker.stop().await;
    let harness = Harness::on(harness.log.clone(), config()).await;
    harness.until_state("c", Some(0), "RUNNING").await;
    harness
        .configure(
            "d",
            json!({"connector.class": "CountSource", "topic": "d", "count": 0}),
        )
        .await;
    harness.until_state("d", Some(0), "RUNNING").await;
    harness.log.abort_next_commits(2);
    let (status, _, body) = harness
        .send(
            "PUT",
            "/connectors/d/config",
            Some(&json!({"connector.class": "CountSource", "topic": "d", "count": 5})),
        )
        .await;
    assert_eq!(status, 500, "{body}");
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("connect-configs"),
        "{body}"
    );
    let (status, ..) = harness.send("PUT", "/connectors/d/pause", None).await;
    assert_eq!(status, 500);
    harness
        .configure(
            "d",
            json!({"connector.class": "CountSource", "topic": "d", "count": 5}),
        )
        .await;
    harness
        .log
        .until("5 records", |log| log.records("d").len() == 5)
        .await;
    assert_eq!(numbers(&harness.log, "d"), (0..5).collect::<Vec<_>>());
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_piece_fails_the_task_unless_tolerated() {
    let harness = Harness::start().await;
    let settings =
        json!({"connector.class": "CountSource", "topic": "t", "count": 10, "bad": true});
    harness.configure("c", settings.clone()).await;
    let task = harness.until_state("c", Some(0), "FAILED").await;
    let trace = task["trace"].as_str().unwrap();
    assert!(
        trace.contains(
            "number 3 is bad (stage TASK_POLL, topic 't', read up to [{\"source\":\"count\"},{\"next\":7}])"
        ),
        "{trace}"
    );
    assert_eq!(
        harness.log.records("t").len(),
        3,
        "what came before it is committed, and nothing twice"
    );

    let mut tolerant = settings;
    tolerant["errors.tolerance"] = "all".into();
    tolerant["errors.deadletterqueue.topic.name"] = "dead".into();
    tolerant["errors.deadletterqueue.context.headers.enable"] = "true".into();
    harness.configure("c", tolerant).await;
    harness
        .log
        .until("9 records", |log| log.records("t").len() == 9)
        .await;
    let letters = harness.log.records("dead");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].value_text(), "three");
    let headers: Vec<String> = letters[0]
        .headers
        .iter()
        .map(|(name, value)| {
            format!(
                "{}={}",
                name,
                String::from_utf8_lossy(value.as_deref().unwrap())
            )
        })
        .collect();
    assert_eq!(
        headers,
        [
            "__connect.errors.topic=t",
            "__connect.errors.connector.name=c",
            "__connect.errors.task.id=0",
            "__connect.errors.stage=TASK_POLL",
            "__connect.errors.class.name=org.example.CountSourceConnector",
            "__connect.errors.exception.class.name=org.apache.kafka.connect.errors.DataException",
            "__connect.errors.exception.message=number 3 is bad",
            "__connect.errors.exception.stacktrace=org.apache.kafka.connect.errors.DataException: number 3 is bad",
        ]
    );
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transforms_and_converters_of_the_connector_are_used() {
    let harness = Harness::start().await;
    let settings = json!({
        "connector.class": "CountSource", "topic": "t", "count": 4,
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter": "JsonConverter",
        "transforms": "keep,add",
        "transforms.keep.type": "ReplaceField$Value",
        "transforms.keep.renames": "n:number",
        "transforms.add.type": "org.apache.kafka.connect.transforms.InsertField$Value",
        "transforms.add.static.field": "from",
        "transforms.add.static.value": "test",
    });
    harness.configure("c", settings).await;
    harness
        .log
        .until("4 records", |log| log.records("t").len() == 4)
        .await;
    let records = harness.log.records("t");
    assert_eq!(records[1].key_text(), r#"{"schema":null,"payload":"k1"}"#);
    assert_eq!(
        records[1].value_text(),
        r#"{"schema":null,"payload":{"number":1,"from":"test"}}"#
    );
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_over_the_topics_limit_is_an_error_of_that_record() {
    let harness = Harness::start().await;
    let settings = json!({
        "connector.class": "CountSource", "topic": "t", "count": 4, "errors.tolerance": "all",
        "topic.creation.default.max.message.bytes": "100",
    });
    harness.configure("c", settings).await;
    harness
        .until("all passed over", |script| {
            script.acknowledged.lock().last() == Some(&4)
        })
        .await;
    assert!(harness.log.records("t").is_empty());
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transform_cannot_route_to_topics_of_the_system() {
    for target in ["__transaction_state", "connect-offsets", "a b", ""] {
        let harness = Harness::start().await;
        let config = json!({
            "connector.class": "CountSource", "topic": "t", "count": 3, "transforms": "r",
            "transforms.r.type": "RegexRouter", "transforms.r.regex": ".*", "transforms.r.replacement": target,
        });
        harness.configure("c", config.clone()).await;
        let task = harness.until_state("c", Some(0), "FAILED").await;
        let trace = task["trace"].as_str().unwrap();
        assert!(
            trace.contains(&format!("the record cannot go to topic \"{target}\"")),
            "{trace}"
        );
        assert!(harness.log.records("connect-offsets").is_empty());

        let mut config = config;
        config["errors.tolerance"] = "all".into();
        config["errors.deadletterqueue.topic.name"] = "dead".into();
        harness.configure("c", config).await;
        harness
            .log
            .until("3 letters", |log| log.records("dead").len() == 3)
            .await;
        harness.worker.stop().await;
    }
}
