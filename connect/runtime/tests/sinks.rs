//! Sink tasks: each record once in order, offsets behind what was put, dead letters with their origin.

use connect_api::{ConnectError, TopicPartition};
use log_api::{Admin, NewTopic};
use serde_json::json;

use crate::connectors::Mishap;
use crate::memory_log::{MemoryLog, Shared};
use crate::worker::{Harness, config};

async fn topic(log: &std::sync::Arc<MemoryLog>, name: &str, partitions: i32) {
    Shared(log.clone())
        .create_topic(NewTopic::new(name, partitions))
        .await
        .unwrap();
}

fn sink() -> serde_json::Value {
    json!({"connector.class": "KeepSink", "topics": "t"})
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_put_in_order_and_offsets_committed() {
    let log = MemoryLog::new();
    let harness = Harness::on(log.clone(), config()).await;
    harness.configure("s", sink()).await;
    harness.until_state("s", Some(0), "RUNNING").await;
    let waits = |harness: &Harness| {
        let status = harness.worker.status("s").unwrap_or_default();
        let trace = status["tasks"][0]["trace"].as_str().unwrap_or_default();
        trace.contains("waits: topic t does not exist yet")
    };
    harness
        .until("its trace says what it waits for", |_| waits(&harness))
        .await;
    // The topic comes after the connector.
    topic(&log, "t", 2).await;
    log.put("t", 0, Some("a"), Some("{\"x\":1}")).await;
    log.put("t", 0, Some("a"), None).await;
    log.put("t", 1, None, Some("[]")).await;
    let partition = TopicPartition::new("t", 0);
    log.until("offsets", |log| {
        log.committed_by("connect-s", &partition) == Some(2)
            && log.committed_by("connect-s", &TopicPartition::new("t", 1)) == Some(1)
    })
    .await;
    let mut taken = harness.script.taken.lock().clone();
    taken.sort();
    assert_eq!(
        taken,
        ["t-0@0 \"a\"={\"x\":1}", "t-0@1 \"a\"=null", "t-1@0 null=[]"]
    );
    assert!(*harness.script.flushes.lock() > 0);
    assert!(!waits(&harness), "it goes on");
    let offsets = harness.get("/connectors/s/offsets").await;
    assert_eq!(
        offsets["offsets"][0],
        json!({"partition": {"kafka_topic": "t", "kafka_partition": 0}, "offset": {"kafka_offset": 2}})
    );
    harness.worker.stop().await;

    let harness = Harness::on(log.clone(), config()).await;
    log.put("t", 0, Some("b"), Some("2")).await;
    harness
        .until("one more", |script| !script.taken.lock().is_empty())
        .await;
    assert_eq!(*harness.script.taken.lock(), ["t-0@2 \"b\"=2"]);
    harness.worker.stop().await;
}

/// Partitions and topics that come later are read from their start, beside those that were there.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_topics_that_come_later_are_read() {
    let log = MemoryLog::new();
    topic(&log, "t1", 1).await;
    log.put("t1", 0, None, Some("1")).await;
    let harness = Harness::on(log.clone(), config()).await;
    harness
        .configure(
            "s",
            json!({"connector.class": "KeepSink", "topics.regex": "t[0-9]"}),
        )
        .await;
    let taken =
        |count: usize| move |script: &crate::connectors::Script| script.taken.lock().len() == count;
    harness.until("the first", taken(1)).await;
    Shared(log.clone())
        .create_partitions("t1", 2)
        .await
        .unwrap();
    log.put("t1", 1, None, Some("2")).await;
    harness.until("the new partition's", taken(2)).await;
    topic(&log, "t2", 1).await;
    log.put("t2", 0, None, Some("3")).await;
    harness.until("the new topic's", taken(3)).await;
    assert_eq!(
        *harness.script.taken.lock(),
        ["t1-0@0 null=1", "t1-1@0 null=2", "t2-0@0 null=3"]
    );
    harness.worker.stop().await;
}

/// What a sink holds back is not committed, and comes again after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_committed_as_far_as_the_sink_says() {
    let log = MemoryLog::new();
    topic(&log, "t", 1).await;
    for n in 0..5 {
        log.put("t", 0, None, Some(&n.to_string())).await;
    }
    let partition = TopicPartition::new("t", 0);
    let harness = Harness::on(log.clone(), config()).await;
    *harness.script.flushed.lock() = Some([(partition.clone(), 3)].into());
    harness.configure("s", sink()).await;
    log.until("three", |log| {
        log.committed_by("connect-s", &partition) == Some(3)
    })
    .await;
    harness
        .until("all", |script| script.taken.lock().len() == 5)
        .await;
    harness.worker.stop().await;
    assert_eq!(log.committed_by("connect-s", &partition), Some(3));

    let harness = Harness::on(log.clone(), config()).await;
    log.until("all five", |log| {
        log.committed_by("connect-s", &partition) == Some(5)
    })
    .await;
    assert_eq!(
        *harness.script.taken.lock(),
        ["t-0@3 null=3", "t-0@4 null=4"]
    );
    // More than was put cannot be durable.
    *harness.script.flushed.lock() = Some([(partition.clone(), 9)].into());
    log.put("t", 0, None, Some("5")).await;
    let failed = harness.until_state("s", Some(0), "FAILED").await;
    let trace = failed["trace"].as_str().unwrap();
    assert!(trace.contains("contract of flush"), "{trace}");
    harness.worker.stop().await;
}

/// Status tells what the runtime counts, where it is asked for; Kafka's own shape stays.
#[tokio::test(flavor = "multi_thread")]
async fn status_tells_how_far_a_sink_is() {
    let log = MemoryLog::new();
    topic(&log, "t", 1).await;
    for n in 0..5 {
        log.put("t", 0, None, Some(&n.to_string())).await;
    }
    // The mark of their transaction is nothing that is to be read.
    log.mark("t", 0);
    let harness = Harness::on(log.clone(), config()).await;
    harness.configure("s", sink()).await;
    let partition = TopicPartition::new("t", 0);
    log.until("the offset behind the mark", |log| {
        log.committed_by("connect-s", &partition) == Some(6)
    })
    .await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let status = harness.get("/connectors/s/status?expand=progress").await;
        let progress = &status["tasks"][0]["progress"];
        if progress["records"] == 5 && progress["lag_records"] == 0 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status}");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let status = harness.get("/connectors/s/status").await;
    assert!(status["tasks"][0].get("progress").is_none(), "{status}");
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_stores_offsets_goes_on_at_them() {
    let log = MemoryLog::new();
    topic(&log, "t", 1).await;
    for n in 0..5 {
        log.put("t", 0, None, Some(&n.to_string())).await;
    }
    let harness = Harness::on(log.clone(), config()).await;
    *harness.script.stored.lock() = Some([(TopicPartition::new("t", 0), 3)].into());
    harness.configure("s", sink()).await;
    harness
        .until("two", |script| script.taken.lock().len() == 2)
        .await;
    assert_eq!(
        *harness.script.taken.lock(),
        ["t-0@3 null=3", "t-0@4 null=4"]
    );
    assert_eq!(
        harness.script.stored.lock().as_ref().unwrap()[&TopicPartition::new("t", 0)],
        5
    );
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_share_the_partitions() {
    let log = MemoryLog::new();
    topic(&log, "t", 5).await;
    let harness = Harness::on(log.clone(), config()).await;
    let mut settings = sink();
    settings["tasks.max"] = 3.into();
    harness.configure("s", settings).await;
    for partition in 0..5 {
        log.put("t", partition, None, Some("1")).await;
    }
    harness
        .until("all five", |script| script.taken.lock().len() == 5)
        .await;
    let mut taken = harness.script.taken.lock().clone();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 5);
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_go_to_the_dead_letter_topic_with_their_origin() {
    let log = MemoryLog::new();
    topic(&log, "t", 1).await;
    for value in ["1", "{\"x\":", "2", "3"] {
        log.put("t", 0, Some("k"), Some(value)).await;
    }
    let harness = Harness::on(log.clone(), config()).await;
    harness.script.refused.lock().push("2".to_owned());
    let mut settings = sink();
    harness.configure("s", settings.clone()).await;
    let task = harness.until_state("s", Some(0), "FAILED").await;
    let trace = task["trace"].as_str().unwrap();
    assert!(
        trace.contains("stage VALUE_CONVERTER, topic 't', partition 0, offset 1"),
        "{trace}"
    );
    assert!(harness.script.taken.lock().is_empty());

    settings["errors.tolerance"] = "all".into();
    settings["errors.deadletterqueue.topic.name"] = "dead".into();
    settings["errors.deadletterqueue.context.headers.enable"] = "true".into();
    harness.configure("s", settings).await;
    harness
        .until("the rest", |script| script.taken.lock().len() == 2)
        .await;
    assert_eq!(
        *harness.script.taken.lock(),
        ["t-0@0 \"k\"=1", "t-0@3 \"k\"=3"]
    );
    let letters = log.records("dead");
    let shown: Vec<String> = letters
        .iter()
        .map(|letter| {
            let header = |name: &str| {
                let full = format!("__connect.errors.{name}");
                let found = letter
                    .headers
                    .iter()
                    .find(|(name, _)| *name == full)
                    .unwrap();
                String::from_utf8_lossy(found.1.as_deref().unwrap()).into_owned()
            };
            format!(
                "{} {} {}-{}@{}",
                letter.value_text(),
                header("stage"),
                header("topic"),
                header("partition"),
                header("offset")
            )
        })
        .collect();
    assert_eq!(shown, ["{\"x\": VALUE_CONVERTER t-0@1", "2 TASK_PUT t-0@2"]);
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_keep_their_order_and_are_cut_to_fit() {
    let log = MemoryLog::new();
    topic(&log, "t", 1).await;
    Shared(log.clone())
        .create_topic(NewTopic::new("dead", 1).with("max.message.bytes", "1000"))
        .await
        .unwrap();
    let long = format!("\"{}\"", "x".repeat(2000));
    for value in ["1", "2", &long, "3"] {
        log.put("t", 0, None, Some(value)).await;
    }
    let harness = Harness::on(log.clone(), config()).await;
    *harness.script.refused.lock() = vec!["1".to_owned(), "2".to_owned(), long];
    let mut settings = sink();
    settings["errors.tolerance"] = "all".into();
    settings["errors.deadletterqueue.topic.name"] = "dead".into();
    harness.configure("s", settings).await;
    harness
        .until("the good one", |script| script.taken.lock().len() == 1)
        .await;
    let letters = log.records("dead");
    assert_eq!(letters[0].value_text(), "1");
    assert_eq!(letters[1].value_text(), "2");
    assert!(letters[2].value_text().len() < 1000);
    let (name, bytes) = &letters[2].headers[0];
    assert_eq!(name, "__connect.errors.truncated.value.bytes");
    assert_eq!(bytes.as_deref(), Some(&b"2002"[..]));
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_reaches_offsets_that_the_sink_stores() {
    let log = MemoryLog::new();
    topic(&log, "t", 1).await;
    log.put("t", 0, None, Some("1")).await;
    let harness = Harness::on(log.clone(), config()).await;
    *harness.script.stored.lock() = Some(Default::default());
    harness.configure("s", sink()).await;
    let taken = |count| harness.until("taken", move |script| script.taken.lock().len() == count);
    taken(1).await;
    for (method, body, count) in [
        ("DELETE", None, 2),
        (
            "PATCH",
            Some(
                json!({"offsets": [{"partition": {"kafka_topic": "t", "kafka_partition": 0}, "offset": null}]}),
            ),
            3,
        ),
    ] {
        harness.send("PUT", "/connectors/s/stop", None).await;
        harness.until_state("s", None, "STOPPED").await;
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let (status, _, answer) = harness
                .send(method, "/connectors/s/offsets", body.as_ref())
                .await;
            if status == 200 {
                let text = answer["message"].as_str().unwrap();
                assert!(text.ends_with("successfully"), "{text}");
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{answer}");
            tokio::task::yield_now().await;
        }
        harness.send("PUT", "/connectors/s/resume", None).await;
        taken(count).await;
    }
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_is_read_from_its_start() {
    for stores in [false, true] {
        let log = MemoryLog::new();
        topic(&log, "t", 1).await;
        for value in ["1", "2"] {
            log.put("t", 0, None, Some(value)).await;
        }
        let harness = Harness::on(log.clone(), config()).await;
        *harness.script.stored.lock() = stores.then(Default::default);
        harness.configure("s", sink()).await;
        let partition = TopicPartition::new("t", 0);
        log.until("offsets", |log| {
            log.committed_by("connect-s", &partition) == Some(2)
        })
        .await;
        Shared(log.clone()).delete_topic("t").await.unwrap();
        harness.worker.stop().await;

        topic(&log, "t", 1).await;
        for value in ["3", "4", "5"] {
            log.put("t", 0, None, Some(value)).await;
        }
        let script = harness.script;
        let harness = Harness::on(log.clone(), config()).await;
        *harness.script.stored.lock() = script.stored.lock().clone();
        *harness.script.incarnations.lock() = script.incarnations.lock().clone();
        harness
            .until("all of the new topic", |script| {
                script.taken.lock().len() == 3
            })
            .await;
        assert_eq!(harness.script.taken.lock()[0], "t-0@0 null=3", "{stores}");
        harness.worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_tried_again_shows_why_and_waits_while_paused() {
    let log = MemoryLog::new();
    topic(&log, "t", 1).await;
    let harness = Harness::on(log.clone(), config()).await;
    harness.configure("s", sink()).await;
    harness.until_state("s", Some(0), "RUNNING").await;
    let away = Mishap::Fail(ConnectError::Transient("the database is away".to_owned()));
    *harness.script.mishaps.lock() = vec![away];
    log.put("t", 0, None, Some("1")).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let trace = loop {
        let status = harness.worker.status("s").unwrap();
        if let Some(trace) = status["tasks"][0]["trace"].as_str() {
            assert_eq!(status["tasks"][0]["state"], "RUNNING");
            break trace.to_owned();
        }
        assert!(tokio::time::Instant::now() < deadline, "{status}");
        tokio::task::yield_now().await;
    };
    assert!(
        trace.contains("the database is away\nput failed for now; the next attempt is at "),
        "{trace}"
    );
    // Within the pause of 300 ms.
    harness.send("PUT", "/connectors/s/pause", None).await;
    harness.until_state("s", Some(0), "PAUSED").await;
    assert!(harness.script.taken.lock().is_empty());
    harness.send("PUT", "/connectors/s/resume", None).await;
    harness
        .until("the record", |script| script.taken.lock().len() == 1)
        .await;
    let task = harness.until_state("s", Some(0), "RUNNING").await;
    assert_eq!(task.get("trace"), None);
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_over_partitions_is_one_put() {
    let log = MemoryLog::new();
    topic(&log, "t", 20).await;
    for partition in 0..20 {
        log.put("t", partition, None, Some(&partition.to_string()))
            .await;
    }
    let harness = Harness::on(log.clone(), config()).await;
    harness.script.refused.lock().push("7".to_owned());
    let mut settings = sink();
    settings["errors.tolerance"] = "all".into();
    settings["errors.deadletterqueue.topic.name"] = "dead".into();
    harness.configure("s", settings).await;
    harness
        .until("19 records", |script| script.taken.lock().len() == 19)
        .await;
    assert_eq!(log.records("dead")[0].value_text(), "7");
    // The batch that was refused, and what was left of it.
    assert_eq!(*harness.script.puts.lock(), [20, 19]);
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_rejects_rows_out_of_order_fails() {
    for wrong in [&[][..], &[1, 0], &[0, 0], &[2]] {
        let log = MemoryLog::new();
        topic(&log, "t", 1).await;
        let harness = Harness::on(log.clone(), config()).await;
        *harness.script.rejects.lock() = Some(wrong.to_vec());
        let mut settings = sink();
        settings["errors.tolerance"] = "all".into();
        harness.configure("s", settings).await;
        harness.until_state("s", Some(0), "RUNNING").await;
        log.put_all("t", 0, &["1", "2"]).await;
        let task = harness.until_state("s", Some(0), "FAILED").await;
        let trace = task["trace"].as_str().unwrap();
        assert!(
            trace.contains("KeepSinkConnector breaks the contract of put"),
            "{trace}"
        );
        assert!(harness.script.taken.lock().is_empty());
        harness.worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_may_begin_at_the_end() {
    let log = MemoryLog::new();
    topic(&log, "t", 1).await;
    log.put("t", 0, None, Some("1")).await;
    let harness = Harness::on(log.clone(), config()).await;
    let mut settings = sink();
    settings["consumer.override.auto.offset.reset"] = "latest".into();
    settings["consumer.override.group.id"] = "mine".into();
    harness.configure("s", settings).await;
    let partition = TopicPartition::new("t", 0);
    // The end is committed before anything was read, so that a restart begins there too.
    log.until("the end", |log| {
        log.committed_by("mine", &partition) == Some(1)
    })
    .await;
    harness.worker.stop().await;
    log.put("t", 0, None, Some("2")).await;
    let harness = Harness::on(log.clone(), config()).await;
    harness
        .until("the second", |script| !script.taken.lock().is_empty())
        .await;
    assert_eq!(*harness.script.taken.lock(), ["t-0@1 null=2"]);
    let offsets = harness.get("/connectors/s/offsets").await;
    assert_eq!(offsets["offsets"][0]["partition"]["kafka_topic"], "t");
    let mut settings = sink();
    settings["consumer.override.auto.offset.reset"] = "none".into();
    harness.configure("n", settings).await;
    let task = harness.until_state("n", Some(0), "FAILED").await;
    assert!(
        task["trace"]
            .as_str()
            .unwrap()
            .contains("group connect-n has no offset for t-0")
    );
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_shown_to_nobody_and_survive_an_edit() {
    let harness = Harness::start().await;
    let mut settings = sink();
    settings["secret"] = "hunter22".into();
    harness.configure("s", settings).await;
    harness.until_state("s", Some(0), "RUNNING").await;
    let away = Mishap::Fail(ConnectError::Transient("hunter22 is refused".to_owned()));
    *harness.script.mishaps.lock() = vec![away];
    topic(&harness.log, "t", 1).await;
    harness.log.put("t", 0, None, Some("1")).await;
    harness
        .until("the record", |script| !script.taken.lock().is_empty())
        .await;
    for path in ["", "/config", "/tasks", "/tasks-config", "/status"] {
        let answer = harness
            .get(&format!("/connectors/s{path}"))
            .await
            .to_string();
        assert!(!answer.contains("hunter22"), "{path}: {answer}");
    }
    let mut shown = harness.get("/connectors/s/config").await;
    assert_eq!(shown["secret"], "********");
    shown["errors.tolerance"] = "all".into();
    harness.configure("s", shown).await;
    harness
        .until("started anew", |script| script.secrets.lock().len() == 2)
        .await;
    assert_eq!(*harness.script.secrets.lock(), ["hunter22", "hunter22"]);

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "from-a-file\n").unwrap();
    let place = format!("${{dir:{}:token}}", folder.path().display());
    let mut settings = sink();
    settings["secret"] = place.clone().into();
    harness.configure("s", settings).await;
    harness
        .until("started with it", |script| script.secrets.lock().len() == 3)
        .await;
    assert_eq!(harness.script.secrets.lock()[2], "from-a-file");
    assert_eq!(
        harness.get("/connectors/s/config").await["secret"],
        place.as_str()
    );
    let stored = harness.log.records("connect-configs");
    assert!(
        stored
            .iter()
            .all(|record| !record.value_text().contains("from-a-file"))
    );
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_go_through_their_converter() {
    let log = MemoryLog::new();
    topic(&log, "t", 1).await;
    log.put_with_header("t", 0, "1", ("h", "{\"a\":[1]}")).await;
    log.put_with_header("t", 0, "2", ("h", "{")).await;
    let harness = Harness::on(log.clone(), config()).await;
    let mut settings = sink();
    settings["header.converter"] = "JsonConverter".into();
    settings["header.converter.schemas.enable"] = "false".into();
    harness.configure("s", settings).await;
    let task = harness.until_state("s", Some(0), "FAILED").await;
    let trace = task["trace"].as_str().unwrap();
    assert!(
        trace.contains("stage HEADER_CONVERTER, topic 't', partition 0, offset 1"),
        "{trace}"
    );
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connector_looks_at_offsets_that_a_user_sets() {
    let log = MemoryLog::new();
    topic(&log, "t", 1).await;
    let harness = Harness::on(log.clone(), config()).await;
    let mut settings = sink();
    settings["name"] = "s".into();
    let body = json!({"name": "s", "config": settings, "initial_state": "STOPPED"});
    let (status, _, answer) = harness.send("POST", "/connectors", Some(&body)).await;
    assert_eq!(status, 201, "{answer}");
    harness.until_state("s", None, "STOPPED").await;
    for (partition, offset, expected, words) in [
        (
            json!({"kafka_topic": "t", "kafka_partition": 0}),
            json!({"kafka_offset": 0}),
            200,
            "altered successfully",
        ),
        (
            json!({"kafka_topic": "t", "kafka_partition": 0}),
            json!({"kafka_offset": 13}),
            400,
            "13 brings bad luck",
        ),
        (
            json!({"kafka_topic": "t"}),
            json!({"kafka_offset": 0}),
            400,
            "must contain the keys 'kafka_topic' and 'kafka_partition'",
        ),
        (
            json!({"kafka_topic": 1, "kafka_partition": 0}),
            json!(null),
            400,
            "Kafka topic names must be valid strings",
        ),
        (
            json!({"kafka_topic": "t", "kafka_partition": "x"}),
            json!(null),
            400,
            "Failed to parse the following Kafka partition value",
        ),
        (
            json!({"kafka_topic": "t", "kafka_partition": 0}),
            json!({"offset": 0}),
            400,
            "contain the key 'kafka_offset'",
        ),
        (
            json!({"kafka_topic": "t", "kafka_partition": 0}),
            json!({"kafka_offset": -1}),
            400,
            "Failed to parse the following Kafka offset value",
        ),
    ] {
        let body = json!({"offsets": [{"partition": partition, "offset": offset}]});
        let (status, _, answer) = harness
            .send("PATCH", "/connectors/s/offsets", Some(&body))
            .await;
        assert_eq!(status, expected, "{answer}");
        assert!(
            answer["message"].as_str().unwrap().contains(words),
            "{answer}"
        );
    }
    harness.worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_read_is_passed_over_where_errors_are_tolerated() {
    let log = MemoryLog::new();
    topic(&log, "t", 2).await;
    for n in 0..10 {
        log.put("t", 0, None, Some(&n.to_string())).await;
    }
    log.spoil("t", 0, 3..8);
    let harness = Harness::on(log.clone(), config()).await;
    harness.configure("s", sink()).await;
    let task = harness.until_state("s", Some(0), "FAILED").await;
    let trace = task["trace"].as_str().unwrap();
    assert!(
        trace.contains("stage KAFKA_CONSUME, topic 't', partition 0, offset 3"),
        "{trace}"
    );
    let before = ["t-0@0 null=0", "t-0@1 null=1", "t-0@2 null=2"];
    assert_eq!(
        *harness.script.taken.lock(),
        before,
        "what came before it is written"
    );

    *harness.script.stored.lock() = Some([(TopicPartition::new("t", 0), 3)].into());
    let mut settings = sink();
    settings["errors.tolerance"] = "all".into();
    settings["errors.deadletterqueue.topic.name"] = "dead".into();
    settings["errors.deadletterqueue.context.headers.enable"] = "true".into();
    harness.configure("s", settings).await;
    harness
        .until("the rest", |script| script.taken.lock().len() == 5)
        .await;
    assert_eq!(
        harness.script.taken.lock()[3..],
        ["t-0@8 null=8", "t-0@9 null=9"]
    );
    let letters = log.records("dead");
    assert_eq!(letters.len(), 1);
    let offset = letters[0]
        .headers
        .iter()
        .find(|(name, _)| name == "__connect.errors.offset");
    assert_eq!(offset.unwrap().1.as_deref(), Some(&b"3"[..]));
    harness.worker.stop().await;
}
