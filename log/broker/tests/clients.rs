//! Topics, produce, fetch and offsets with librdkafka.

use rdkafka::admin::{AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::node::{Node, PATIENCE, consume, next, numbered, produce};

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_comes_back_as_it_was_sent() {
    let node = Node::start().await;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        node.create_topic(&topic, 1, &[]).await;
        let producer = node.producer(&[("compression.type", codec), ("linger.ms", "5")]);
        let values: Vec<String> = (0..200)
            .map(|n| format!("{n}-{}", "long and dull ".repeat(20)))
            .collect();
        let offsets = produce(&producer, &topic, &values).await;
        assert_eq!(offsets, (0..200).collect::<Vec<i64>>());
        let seen = consume(&node.consumer(&topic, 1, &[]), 200);
        assert_eq!(seen, (0i64..).zip(values).collect::<Vec<_>>(), "{codec}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_level_of_acknowledgement_works() {
    let node = Node::start().await;
    node.create_topic("acks", 1, &[("flush", "sync")]).await;
    for acks in ["0", "1", "all"] {
        let producer = node.producer(&[("acks", acks)]);
        produce(&producer, "acks", &numbered(acks, 10)).await;
        producer.flush(PATIENCE).expect("flushed");
        let consumer = node.consumer("acks", 1, &[]);
        let expected = match acks {
            "0" => 10,
            "1" => 20,
            _ => 30,
        };
        assert_eq!(consume(&consumer, expected).len(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotent_producers_keep_order_without_gaps() {
    let node = Node::start().await;
    node.create_topic("idempotent", 1, &[]).await;
    let producer = node.producer(&[("enable.idempotence", "true"), ("batch.num.messages", "3")]);
    let values = numbered("v", 500);
    produce(&producer, "idempotent", &values).await;
    let seen = consume(&node.consumer("idempotent", 1, &[]), 500);
    assert_eq!(seen, (0i64..).zip(values).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_headers_timestamps_and_tombstones_round_trip() {
    let node = Node::start().await;
    node.create_topic("shape", 1, &[("cleanup.policy", "compact")])
        .await;
    let producer = node.producer(&[]);
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "h",
            value: Some("1"),
        })
        .insert(Header {
            key: "h",
            value: Some("2"),
        })
        .insert(Header::<&str> {
            key: "null",
            value: None,
        });
    let record = FutureRecord::to("shape")
        .key("k")
        .payload("v")
        .timestamp(1_234_567)
        .headers(headers);
    producer.send(record, PATIENCE).await.expect("acknowledged");
    let tombstone: FutureRecord<'_, str, str> = FutureRecord::to("shape").key("k");
    producer
        .send(tombstone, PATIENCE)
        .await
        .expect("acknowledged");
    let keyless: FutureRecord<'_, str, str> = FutureRecord::to("shape").payload("v");
    let (refused, _) = producer
        .send(keyless, PATIENCE)
        .await
        .expect_err("a compacted topic needs keys");
    assert_eq!(
        refused.rdkafka_error_code(),
        Some(RDKafkaErrorCode::InvalidRecord)
    );

    let consumer = node.consumer("shape", 1, &[]);
    let message = next(&consumer);
    assert_eq!(
        (message.key(), message.payload()),
        (Some(&b"k"[..]), Some(&b"v"[..]))
    );
    assert_eq!(message.timestamp().to_millis(), Some(1_234_567));
    let headers: Vec<_> = message
        .headers()
        .expect("headers")
        .iter()
        .map(|one| (one.key, one.value))
        .collect();
    assert_eq!(
        headers,
        [("h", Some(&b"1"[..])), ("h", Some(b"2")), ("null", None)]
    );
    assert_eq!(next(&consumer).payload(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_beyond_the_topics_limit_is_refused() {
    let node = Node::start().await;
    node.create_topic("small", 1, &[("max.message.bytes", "2000")])
        .await;
    let producer = node.producer(&[]);
    let large = "x".repeat(5000);
    let record: FutureRecord<'_, str, str> = FutureRecord::to("small").payload(&large);
    let (refused, _) = producer
        .send(record, PATIENCE)
        .await
        .expect_err("too large");
    assert_eq!(
        refused.rdkafka_error_code(),
        Some(RDKafkaErrorCode::MessageSizeTooLarge)
    );
    produce(&producer, "small", &numbered("fits", 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_appear_when_they_are_used() {
    let node = Node::with(|config| config.num_partitions = 3).await;
    let producer = node.producer(&[]);
    produce(&producer, "fresh", &numbered("v", 1)).await;
    let metadata = producer
        .client()
        .fetch_metadata(Some("fresh"), PATIENCE)
        .expect("metadata");
    assert_eq!(metadata.topics()[0].partitions().len(), 3);
    assert_eq!(metadata.brokers()[0].port(), i32::from(node.address.port()));

    let strict = Node::with(|config| config.auto_create_topics = false).await;
    let metadata = strict
        .producer(&[])
        .client()
        .fetch_metadata(Some("fresh"), PATIENCE);
    let error = metadata.expect("metadata").topics()[0]
        .error()
        .map(RDKafkaErrorCode::from);
    assert_eq!(error, Some(RDKafkaErrorCode::UnknownTopicOrPartition));
}

#[tokio::test(flavor = "multi_thread")]
async fn administration_of_topics() {
    let node = Node::start().await;
    let admin = node.admin();
    let options = AdminOptions::new();
    node.create_topic("t", 1, &[("retention.ms", "5000")]).await;
    let again = rdkafka::admin::NewTopic::new("t", 1, rdkafka::admin::TopicReplication::Fixed(1));
    let results = admin
        .create_topics([&again], &options)
        .await
        .expect("an answer");
    assert_eq!(
        results,
        [Err(("t".to_owned(), RDKafkaErrorCode::TopicAlreadyExists))]
    );
    let unknown = again.set("retention.mz", "1");
    let renamed = rdkafka::admin::NewTopic {
        name: "u",
        ..unknown
    };
    let results = admin
        .create_topics([&renamed], &options)
        .await
        .expect("an answer");
    assert_eq!(
        results,
        [Err(("u".to_owned(), RDKafkaErrorCode::InvalidConfig))]
    );

    let grown = admin
        .create_partitions([&NewPartitions::new("t", 4)], &options)
        .await
        .expect("an answer");
    assert_eq!(grown, [Ok("t".to_owned())]);
    let alter = AlterConfig::new(ResourceSpecifier::Topic("t")).set("cleanup.policy", "compact");
    assert!(
        admin
            .alter_configs([&alter], &options)
            .await
            .expect("an answer")[0]
            .is_ok()
    );
    let described = admin
        .describe_configs([&ResourceSpecifier::Topic("t")], &options)
        .await
        .expect("an answer");
    let configs = described
        .into_iter()
        .next()
        .expect("one resource")
        .expect("described")
        .entry_map_of();
    assert_eq!(configs["cleanup.policy"], "compact");
    assert_eq!(
        configs["retention.ms"], "604800000",
        "alter replaces all configs"
    );
    let broker = admin
        .describe_configs([&ResourceSpecifier::Broker(1)], &options)
        .await
        .expect("an answer");
    assert_eq!(
        broker.into_iter().next().unwrap().unwrap().entry_map_of()["num.partitions"],
        "1"
    );

    let metadata = admin
        .inner()
        .fetch_metadata(None, PATIENCE)
        .expect("metadata");
    let topic = metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == "t")
        .expect("listed");
    assert_eq!(topic.partitions().len(), 4);
    let deleted = admin
        .delete_topics(&["t", "__consumer_offsets"], &options)
        .await
        .expect("an answer");
    assert_eq!(deleted[0], Ok("t".to_owned()));
    assert!(deleted[1].is_err(), "the log's own topics stay");
}

trait EntryMap {
    fn entry_map_of(&self) -> std::collections::HashMap<String, String>;
}

impl EntryMap for rdkafka::admin::ConfigResource {
    fn entry_map_of(&self) -> std::collections::HashMap<String, String> {
        self.entries
            .iter()
            .map(|entry| (entry.name.clone(), entry.value.clone().unwrap_or_default()))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_time_and_at_the_ends() {
    let node = Node::start().await;
    node.create_topic("times", 1, &[]).await;
    for codec in ["none", "lz4"] {
        let producer = node.producer(&[("compression.type", codec), ("linger.ms", "20")]);
        let sends = (0..10i64).map(|n| {
            let record: FutureRecord<'_, str, str> = FutureRecord::to("times")
                .partition(0)
                .payload("v")
                .timestamp(1000 + n * 10);
            producer.send(record, PATIENCE)
        });
        for sent in futures::future::join_all(sends).await {
            sent.expect("acknowledged");
        }
    }
    let consumer = node.consumer("times", 1, &[]);
    assert_eq!(
        consumer
            .fetch_watermarks("times", 0, PATIENCE)
            .expect("watermarks"),
        (0, 20)
    );
    let find = |time: i64| {
        let mut wanted = TopicPartitionList::new();
        wanted
            .add_partition_offset("times", 0, Offset::Offset(time))
            .expect("sound");
        let found = consumer
            .offsets_for_times(wanted, PATIENCE)
            .expect("an answer");
        found.elements()[0].offset()
    };
    assert_eq!(find(0), Offset::Offset(0));
    assert_eq!(find(1041), Offset::Offset(5));
    assert_eq!(find(1090), Offset::Offset(9));
    assert_eq!(find(1091), Offset::End);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_at_the_end_is_woken_by_an_append() {
    let node = Node::start().await;
    node.create_topic("tail", 1, &[]).await;
    // A wait far beyond the test's patience: only a wake-up can end it.
    let consumer = node.consumer(
        "tail",
        1,
        &[
            ("fetch.wait.max.ms", "60000"),
            ("socket.timeout.ms", "100000"),
        ],
    );
    let producer = node.producer(&[]);
    for n in 0..5 {
        produce(&producer, "tail", &[format!("v-{n}")]).await;
        assert_eq!(consume(&consumer, 1), [(n, format!("v-{n}"))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_are_out_of_range() {
    let node = Node::start().await;
    node.create_topic("cut", 1, &[]).await;
    let producer = node.producer(&[]);
    produce(&producer, "cut", &numbered("v", 10)).await;
    let mut before = TopicPartitionList::new();
    before
        .add_partition_offset("cut", 0, Offset::Offset(4))
        .expect("sound");
    node.admin()
        .delete_records(&before, &AdminOptions::new())
        .await
        .expect("deleted");
    let consumer = node.consumer("cut", 1, &[]);
    assert_eq!(consume(&consumer, 1)[0].0, 4);
    assert_eq!(
        consumer
            .fetch_watermarks("cut", 0, PATIENCE)
            .expect("watermarks"),
        (4, 10)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_records_topics_and_sequences() {
    let node = Node::start().await;
    node.create_topic("kept", 2, &[("retention.ms", "-1")])
        .await;
    let producer = node.producer(&[("enable.idempotence", "true")]);
    produce(&producer, "kept", &numbered("before", 50)).await;
    drop(producer);
    let node = node.restart().await;
    let producer = node.producer(&[("enable.idempotence", "true")]);
    let offsets = produce(&producer, "kept", &numbered("after", 50)).await;
    assert_eq!(offsets[0], 50);
    let seen = consume(&node.consumer("kept", 1, &[]), 100);
    assert_eq!(seen[49], (49, "before-49".to_owned()));
    assert_eq!(seen[50], (50, "after-0".to_owned()));
    let metadata = node
        .admin()
        .inner()
        .fetch_metadata(Some("kept"), PATIENCE)
        .expect("metadata");
    assert_eq!(metadata.topics()[0].partitions().len(), 2);
}
