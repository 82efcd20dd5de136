//! `Embedded`: the rules of `log_api::Log` in this process.

use std::time::Duration;

use log_api::{
    AdminError, BatchBuilder, Compression, Log, NewTopic, OffsetCommit, OffsetSpec, PollBudget,
    ReadError, Reader, ReaderOptions, Records, Start, TopicPartition, TransactionError,
    TransactionOptions, WriteError,
};
use log_broker::{Broker, BrokerConfig, OpenError};
use tempfile::TempDir;

const PATIENT: PollBudget = PollBudget {
    bytes_max: 1 << 20,
    wait_max: Duration::from_secs(20),
};
const AT_ONCE: PollBudget = PollBudget {
    bytes_max: 1 << 20,
    wait_max: Duration::ZERO,
};

fn open(folder: &TempDir) -> Broker {
    Broker::open(BrokerConfig::in_folder(folder.path())).expect("the broker opens")
}

fn batch(values: &[&str]) -> BatchBuilder {
    let mut batch = BatchBuilder::new(Compression::None);
    for value in values {
        batch.append(1000, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    batch
}

fn values(runs: &[Records]) -> Vec<String> {
    runs.iter()
        .flat_map(|run| {
            (0..run.len())
                .map(|row| String::from_utf8_lossy(run.value(row).unwrap_or_default()).into_owned())
        })
        .collect()
}

async fn reader(log: &impl Log, partition: &TopicPartition) -> Box<dyn Reader> {
    log.reader(
        ReaderOptions::default(),
        vec![(partition.clone(), Start::Earliest)],
    )
    .await
    .expect("a reader")
}

fn options(id: &str) -> TransactionOptions {
    TransactionOptions {
        transactional_id: id.to_owned(),
        timeout: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn what_is_written_is_read_and_followed() {
    let folder = TempDir::new().unwrap();
    let broker = open(&folder);
    let log = broker.embedded();
    log.admin()
        .create_topic(NewTopic::new("t", 1))
        .await
        .unwrap();
    let partition = TopicPartition::new("t", 0);
    let writer = log.writer().await.unwrap();
    assert_eq!(writer.append(&partition, batch(&["a", "b"])).await, Ok(0));
    let mut reader = reader(&log, &partition).await;
    assert_eq!(values(&reader.poll(PATIENT).await.unwrap()), ["a", "b"]);
    assert!(reader.progress().await.unwrap()[0].is_caught_up());
    let following = tokio::spawn(async move {
        let runs = reader.poll(PATIENT).await.unwrap();
        (values(&runs), reader)
    });
    tokio::task::yield_now().await;
    assert_eq!(writer.append(&partition, batch(&["c"])).await, Ok(2));
    writer.sync(std::slice::from_ref(&partition)).await.unwrap();
    let (seen, mut reader) = following.await.unwrap();
    assert_eq!(seen, ["c"]);
    reader.seek(&partition, Start::Offset(1)).await.unwrap();
    assert_eq!(values(&reader.poll(AT_ONCE).await.unwrap()), ["b", "c"]);
    reader.seek(&partition, Start::Offset(99)).await.unwrap();
    let error = reader.poll(AT_ONCE).await.unwrap_err();
    assert!(
        matches!(
            error,
            ReadError::OffsetOutOfRange {
                position: 99,
                start: 0,
                end: 3,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn partitions_take_turns_and_pause() {
    let folder = TempDir::new().unwrap();
    let broker = open(&folder);
    let log = broker.embedded();
    log.admin()
        .create_topic(NewTopic::new("t", 2))
        .await
        .unwrap();
    let [zero, one] = [0, 1].map(|index| TopicPartition::new("t", index));
    let writer = log.writer().await.unwrap();
    for n in 0..3 {
        writer
            .append(&zero, batch(&[&format!("zero-{n}")]))
            .await
            .unwrap();
        writer
            .append(&one, batch(&[&format!("one-{n}")]))
            .await
            .unwrap();
    }
    let assignment = vec![
        (zero.clone(), Start::Earliest),
        (one.clone(), Start::Earliest),
    ];
    let small = ReaderOptions {
        partition_bytes_max: 1,
        ..ReaderOptions::default()
    };
    let mut reader = log.reader(small, assignment).await.unwrap();
    let tiny = PollBudget {
        bytes_max: 1,
        wait_max: Duration::ZERO,
    };
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.extend(values(&reader.poll(tiny).await.unwrap()));
    }
    assert_eq!(seen, ["zero-0", "one-0", "zero-1", "one-1"]);
    reader.pause(std::slice::from_ref(&zero), true);
    assert_eq!(values(&reader.poll(AT_ONCE).await.unwrap()), ["one-2"]);
    assert!(reader.poll(AT_ONCE).await.unwrap().is_empty());
    reader.pause(std::slice::from_ref(&zero), false);
    assert_eq!(values(&reader.poll(AT_ONCE).await.unwrap()), ["zero-2"]);
}

#[tokio::test]
async fn a_transaction_is_visible_as_a_whole_with_its_offsets() {
    let folder = TempDir::new().unwrap();
    let broker = open(&folder);
    let log = broker.embedded();
    let admin = log.admin();
    admin.create_topic(NewTopic::new("in", 1)).await.unwrap();
    admin.create_topic(NewTopic::new("out", 2)).await.unwrap();
    let source = TopicPartition::new("in", 0);
    let [zero, one] = [0, 1].map(|index| TopicPartition::new("out", index));
    log.writer()
        .await
        .unwrap()
        .append(&source, batch(&["x", "y", "z"]))
        .await
        .unwrap();
    let mut transaction = log.transaction(options("job")).await.unwrap();
    let commit = |offset| {
        vec![OffsetCommit {
            partition: source.clone(),
            offset,
            metadata: "m".into(),
        }]
    };

    transaction
        .append(&zero, batch(&["dropped"]))
        .await
        .unwrap();
    transaction.commit_offsets("g", commit(1)).await.unwrap();
    transaction.abort().await.unwrap();
    for round in 0..5i64 {
        transaction.append(&zero, batch(&["a", "b"])).await.unwrap();
        transaction.append(&one, batch(&["c"])).await.unwrap();
        transaction.append(&zero, batch(&["d"])).await.unwrap();
        transaction.commit_offsets("g", commit(1)).await.unwrap();
        transaction
            .commit_offsets("g", commit(2 + round))
            .await
            .unwrap();
        let offsets = transaction.commit().await.unwrap();
        // A marker lies behind each transaction.
        assert_eq!(offsets, [round * 4, round * 2, round * 4 + 2]);
        let committed = admin
            .committed("g", std::slice::from_ref(&source))
            .await
            .unwrap();
        assert_eq!(
            (committed[0].offset, committed[0].metadata.as_str()),
            (Some(2 + round), "m")
        );
    }
    assert_eq!(transaction.commit().await, Ok(vec![]), "nothing to commit");
    let mut reader = reader(&log, &zero).await;
    let seen = values(&reader.poll(PATIENT).await.unwrap());
    assert_eq!(seen.len(), 15);
    let progress = reader.progress().await.unwrap();
    assert_eq!(
        (progress[0].position, progress[0].last_stable_offset),
        (20, 20)
    );
    assert_eq!(admin.offset(&zero, OffsetSpec::LastStable).await, Ok(20));
}

#[tokio::test]
async fn a_new_owner_of_a_transactional_id_fences_the_old_one() {
    let folder = TempDir::new().unwrap();
    let broker = open(&folder);
    let log = broker.embedded();
    log.admin()
        .create_topic(NewTopic::new("t", 1))
        .await
        .unwrap();
    let partition = TopicPartition::new("t", 0);
    let mut old = log.transaction(options("id")).await.unwrap();
    old.append(&partition, batch(&["old"])).await.unwrap();
    let mut new = log.transaction(options("id")).await.unwrap();
    assert_eq!(
        old.commit().await,
        Err(TransactionError::Fenced("id".to_owned()))
    );
    new.append(&partition, batch(&["new"])).await.unwrap();
    assert_eq!(new.commit().await, Ok(vec![0]));
    assert_eq!(
        values(&reader(&log, &partition).await.poll(AT_ONCE).await.unwrap()),
        ["new"]
    );
}

#[tokio::test]
async fn a_dropped_commit_is_done_or_not_but_never_half() {
    let folder = TempDir::new().unwrap();
    let broker = open(&folder);
    let log = broker.embedded();
    log.admin()
        .create_topic(NewTopic::new("t", 1))
        .await
        .unwrap();
    let partition = TopicPartition::new("t", 0);
    let mut transaction = log.transaction(options("id")).await.unwrap();
    transaction.append(&partition, batch(&["a"])).await.unwrap();
    {
        let mut commit = std::pin::pin!(transaction.commit());
        let _ = futures::poll!(commit.as_mut());
    }
    assert_eq!(
        transaction.commit().await,
        Err(TransactionError::Unknown("id".to_owned()))
    );
    // Opening the id again settles it.
    let mut again = log.transaction(options("id")).await.unwrap();
    let seen = values(&reader(&log, &partition).await.poll(AT_ONCE).await.unwrap());
    assert!(seen.is_empty() || seen == ["a"], "{seen:?}");
    again.append(&partition, batch(&["b"])).await.unwrap();
    again.commit().await.unwrap();
}

#[tokio::test]
async fn refusals_name_their_object() {
    let folder = TempDir::new().unwrap();
    let broker = open(&folder);
    let log = broker.embedded();
    let admin = log.admin();
    let topic = NewTopic::new("t", 1)
        .with("cleanup.policy", "compact")
        .with("max.message.bytes", "500");
    let described = admin.create_topic(topic.clone()).await.unwrap();
    assert_eq!((described.partitions, described.internal), (1, false));
    assert_eq!(
        admin.create_topic(topic).await,
        Err(AdminError::TopicExists("t".to_owned()))
    );
    let bad_name = admin
        .create_topic(NewTopic::new("a/b", 1))
        .await
        .unwrap_err();
    assert!(
        matches!(bad_name, AdminError::InvalidTopic { .. }),
        "{bad_name}"
    );
    let bad_config = admin
        .create_topic(NewTopic::new("u", 1).with("retention.mz", "1"))
        .await
        .unwrap_err();
    assert!(
        bad_config.to_string().contains("retention.ms"),
        "{bad_config}"
    );
    assert_eq!(admin.describe_topic("u").await, Ok(None));
    assert_eq!(
        admin.delete_topic("u").await,
        Err(AdminError::UnknownTopic("u".to_owned()))
    );

    let partition = TopicPartition::new("t", 0);
    let writer = log.writer().await.unwrap();
    let mut keyless = BatchBuilder::new(Compression::None);
    keyless.append(1, None, Some(b"v"), &[]);
    let error = writer.append(&partition, keyless).await.unwrap_err();
    assert!(matches!(error, WriteError::Invalid { .. }), "{error}");
    let large = "x".repeat(1000);
    let error = writer
        .append(&partition, batch(&[&large]))
        .await
        .unwrap_err();
    assert!(matches!(error, WriteError::TooLarge { .. }), "{error}");
    let nowhere = TopicPartition::new("t", 7);
    let error = writer.append(&nowhere, batch(&["v"])).await;
    assert_eq!(error, Err(WriteError::UnknownPartition(nowhere.clone())));
    let assignment = vec![(nowhere.clone(), Start::Earliest)];
    let error = log.reader(ReaderOptions::default(), assignment).await.err();
    assert_eq!(error, Some(ReadError::UnknownPartition(nowhere)));
}

#[tokio::test]
async fn offsets_of_groups_and_deleted_topics() {
    let folder = TempDir::new().unwrap();
    let broker = open(&folder);
    let log = broker.embedded();
    let admin = log.admin();
    admin.create_topic(NewTopic::new("t", 2)).await.unwrap();
    let [zero, one] = [0, 1].map(|index| TopicPartition::new("t", index));
    let commit = OffsetCommit {
        partition: zero.clone(),
        offset: 7,
        metadata: String::new(),
    };
    admin.commit_offsets("g", vec![commit]).await.unwrap();
    let committed = admin
        .committed("g", &[one.clone(), zero.clone()])
        .await
        .unwrap();
    assert_eq!(
        committed.iter().map(|one| one.offset).collect::<Vec<_>>(),
        [None, Some(7)]
    );
    // A topic of the same name is another topic.
    let mut reader = reader(&log, &zero).await;
    admin.delete_topic("t").await.unwrap();
    assert_eq!(
        reader.poll(PATIENT).await.unwrap_err(),
        ReadError::UnknownPartition(zero.clone())
    );
    admin.create_topic(NewTopic::new("t", 2)).await.unwrap();
    assert_eq!(
        admin
            .committed("g", std::slice::from_ref(&zero))
            .await
            .unwrap()[0]
            .offset,
        None
    );
    admin.create_partitions("t", 3).await.unwrap();
    assert!(admin.create_partitions("t", 3).await.is_err());
    admin.delete_group("g").await.unwrap();
    admin.delete_group("never").await.unwrap();
    let names: Vec<String> = admin
        .list_topics()
        .await
        .unwrap()
        .into_iter()
        .map(|topic| topic.name)
        .collect();
    assert_eq!(names, ["__consumer_offsets", "__transaction_state", "t"]);
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_one_process_holds_the_folder() {
    let folder = TempDir::new().unwrap();
    let broker = open(&folder);
    let partition = TopicPartition::new("t", 0);
    {
        let log = broker.embedded();
        log.admin()
            .create_topic(NewTopic::new("t", 1))
            .await
            .unwrap();
        let mut transaction = log.transaction(options("id")).await.unwrap();
        transaction.append(&partition, batch(&["a"])).await.unwrap();
        let commit = OffsetCommit {
            partition: partition.clone(),
            offset: 1,
            metadata: "here".into(),
        };
        transaction.commit_offsets("g", vec![commit]).await.unwrap();
        transaction.commit().await.unwrap();
    }
    let error = Broker::open(BrokerConfig::in_folder(folder.path()))
        .err()
        .expect("the folder is in use");
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(
        error
            .to_string()
            .contains(&format!("pid {}", std::process::id())),
        "{error}"
    );
    let start = std::time::Instant::now();
    broker.close().await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    drop(broker);

    let broker = open(&folder);
    let log = broker.embedded();
    assert_eq!(
        values(&reader(&log, &partition).await.poll(AT_ONCE).await.unwrap()),
        ["a"]
    );
    let committed = log
        .admin()
        .committed("g", std::slice::from_ref(&partition))
        .await
        .unwrap();
    assert_eq!(
        (committed[0].offset, committed[0].metadata.as_str()),
        (Some(1), "here")
    );
    let mut transaction = log.transaction(options("id")).await.unwrap();
    transaction.append(&partition, batch(&["b"])).await.unwrap();
    assert_eq!(transaction.commit().await, Ok(vec![2]));
}

#[tokio::test]
async fn a_folder_of_a_newer_version_and_one_that_is_no_folder_are_refused() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("format"), "thalweg log format 99\n").unwrap();
    let error = Broker::open(BrokerConfig::in_folder(folder.path()))
        .err()
        .expect("newer");
    assert!(error.to_string().contains("format 99"), "{error}");
    let file = folder.path().join("format");
    let error = Broker::open(BrokerConfig::in_folder(&file))
        .err()
        .expect("a file");
    assert!(error.to_string().contains("format"), "{error}");
    let invalid = BrokerConfig {
        num_partitions: 0,
        ..BrokerConfig::in_folder(folder.path())
    };
    let error = Broker::open(invalid).err().expect("invalid");
    assert_eq!(
        error.to_string(),
        "invalid setting num_partitions = 0: must be from 1 to 10000"
    );
}

#[tokio::test]
async fn the_rules_of_every_log_hold() {
    let folder = TempDir::new().unwrap();
    let broker = open(&folder);
    log_api::conformance::run(&broker.embedded()).await;
}

#[tokio::test]
async fn the_logs_own_topics_are_written_by_the_log_alone() {
    let folder = TempDir::new().expect("a temporary folder");
    let broker = open(&folder);
    let log = broker.embedded();
    log.admin()
        .create_topic(NewTopic::new("t", 1))
        .await
        .expect("created");
    let good = TopicPartition::new("t", 0);
    for name in ["__transaction_state", "__consumer_offsets"] {
        let partition = TopicPartition::new(name, 0);
        let written = log
            .writer()
            .await
            .expect("a writer")
            .append(&partition, batch(&["v"]))
            .await
            .expect_err("refused");
        assert!(
            written.to_string().contains("written by the log alone"),
            "{written}"
        );
        let mut transaction = log.transaction(options("id")).await.expect("opened");
        transaction
            .append(&good, batch(&["v"]))
            .await
            .expect("appended");
        let refused = transaction.append(&partition, batch(&["v"])).await;
        assert!(
            matches!(
                refused,
                Err(TransactionError::Write(WriteError::Invalid { .. }))
            ),
            "{refused:?}"
        );
        transaction.commit().await.expect("the rest is committed");
    }
    broker.close().await.expect("closed");
    drop((broker, log));
    open(&folder);
}
