//! The one conformance suite of `log_api::Log`, against both logs: inside the process, and over TCP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::Duration;

use log_api::{
    BatchBuilder, Compression, Log, NewTopic, OffsetCommit, PollBudget, ReaderOptions, Start,
    TopicPartition, TransactionOptions,
};
use log_broker::{Broker, BrokerConfig};
use log_kafka::{Kafka, KafkaConfig};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

fn broker(folder: &tempfile::TempDir) -> Broker {
    let data_dir = folder.path().to_path_buf();
    Broker::open(BrokerConfig {
        data_dir,
        ..BrokerConfig::default()
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    log_api::conformance::run(&broker.embedded()).await;
    broker.close().await.unwrap();
}

/// Runs `test` with a client of a broker of its own; then the broker is closed, and its folder is still there.
async fn over_tcp(folder: &tempfile::TempDir, test: impl AsyncFnOnce(&Kafka)) {
    let broker = broker(folder);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn({
        let broker = broker.clone();
        async move {
            let until = async {
                let _ = stopped.await;
            };
            broker.serve(listener, until).await
        }
    });
    let kafka = Kafka::connect(KafkaConfig::new(address.to_string())).unwrap();
    test(&kafka).await;
    drop(kafka);
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    broker.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_over_tcp_conforms() {
    let folder = tempfile::tempdir().unwrap();
    over_tcp(&folder, async |kafka| {
        log_api::conformance::run(kafka).await
    })
    .await;
}

fn one(value: &str) -> BatchBuilder {
    let mut batch = BatchBuilder::new(Compression::None);
    batch.append(1, None, Some(value.as_bytes()), &[]);
    batch
}

/// Both topics have a partition 0 that ends with the marker of a transaction: the end of one is not the other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_of_topics_with_the_same_partitions_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    over_tcp(&folder, async |kafka| {
        let places = ["a", "b"].map(|topic| TopicPartition::new(topic, 0));
        for place in &places {
            let topic = NewTopic::new(&*place.topic, 1);
            kafka.admin().create_topic(topic).await.unwrap();
        }
        let options = TransactionOptions {
            transactional_id: "t".to_owned(),
            timeout: Duration::from_secs(10),
        };
        let mut transaction = kafka.transaction(options).await.unwrap();
        for place in &places {
            transaction.append(place, one("x")).await.unwrap();
        }
        transaction.commit().await.unwrap();
        let from_start = places.iter().map(|place| (place.clone(), Start::Earliest));
        let mut reader = kafka
            .reader(ReaderOptions::default(), from_start.collect())
            .await
            .unwrap();
        let budget = PollBudget {
            bytes_max: 1 << 20,
            wait_max: Duration::from_millis(100),
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let mut records = 0;
        loop {
            let runs = reader.poll(budget).await.unwrap();
            records += runs.iter().map(|run| run.len()).sum::<usize>();
            let progress = reader.progress().await.unwrap();
            if progress.iter().all(|one| one.is_caught_up()) {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{progress:?}");
        }
        assert_eq!(records, 2);
    })
    .await;
}

/// The codecs of the first batches on disk that have one.
fn codecs(folder: &std::path::Path) -> Vec<u8> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "log")
                && !path.ends_with("metadata.log")
            {
                // Low bits of the attributes, behind base offset, length, leader epoch, magic and CRC.
                let bytes = std::fs::read(path).unwrap();
                found.extend(bytes.get(22).map(|attributes| attributes & 7));
            }
        }
    }
    found.retain(|codec| *codec != 0);
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_keep_their_codec() {
    for (codec, code) in [(Compression::Lz4, 3), (Compression::Zstd, 4)] {
        let batch = || {
            let mut batch = BatchBuilder::new(codec);
            for _ in 0..100 {
                batch.append(1, None, Some(&[b'x'; 100]), &[]);
            }
            batch
        };
        let folder = tempfile::tempdir().unwrap();
        over_tcp(&folder, async |kafka| {
            let [plain, transactional] = ["plain", "transactional"];
            for topic in [plain, transactional] {
                let topic = NewTopic::new(topic, 1);
                kafka.admin().create_topic(topic).await.unwrap();
            }
            let writer = kafka.writer().await.unwrap();
            let place = TopicPartition::new(plain, 0);
            assert_eq!(writer.append(&place, batch()).await.unwrap(), 0);
            let options = TransactionOptions {
                transactional_id: "t".to_owned(),
                timeout: Duration::from_secs(10),
            };
            let mut transaction = kafka.transaction(options).await.unwrap();
            let place = TopicPartition::new(transactional, 0);
            transaction.append(&place, batch()).await.unwrap();
            for offset in [7, 8] {
                let commit = OffsetCommit {
                    partition: place.clone(),
                    offset,
                    metadata: String::new(),
                };
                transaction.commit_offsets("g", vec![commit]).await.unwrap();
                transaction.commit().await.unwrap();
            }
            let committed = kafka.admin().committed("g", &[place]).await.unwrap();
            assert_eq!(committed[0].offset, Some(8));
        })
        .await;
        assert_eq!(codecs(folder.path()), [code, code], "{codec}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_not_made_by_asking_for_it() {
    let folder = tempfile::tempdir().unwrap();
    over_tcp(&folder, async |kafka| {
        let admin = kafka.admin();
        for _ in 0..2 {
            assert_eq!(admin.describe_topic("nobody").await.unwrap(), None);
        }
        let topics = admin.list_topics().await.unwrap();
        assert!(topics.iter().all(|topic| topic.internal), "{topics:?}");
    })
    .await;
}

#[test]
fn a_wrong_property_is_named() {
    let mut config = KafkaConfig::new("127.0.0.1:1");
    config
        .properties
        .insert("security.protcol".to_owned(), "ssl".to_owned());
    let error = Kafka::connect(config).err().unwrap();
    assert!(error.to_string().contains("security.protcol"), "{error}");
}
