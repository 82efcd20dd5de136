//! Transactions with librdkafka (the first generation of the protocol), and fencing across network and process.

use log_api::{Log, TransactionOptions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::node::{Node, PATIENCE, consume, numbered, produce};

fn transactional(node: &Node, id: &str) -> FutureProducer {
    let producer = node.producer(&[
        ("transactional.id", id),
        ("transaction.timeout.ms", "30000"),
    ]);
    producer.init_transactions(PATIENCE).expect("opened");
    producer
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_records_are_hidden_from_read_committed() {
    let node = Node::start().await;
    node.create_topic("t", 1, &[]).await;
    let producer = transactional(&node, "id");
    producer.begin_transaction().expect("begun");
    produce(&producer, "t", &numbered("committed", 3)).await;
    producer.commit_transaction(PATIENCE).expect("committed");
    producer.begin_transaction().expect("begun");
    produce(&producer, "t", &numbered("aborted", 3)).await;
    producer.abort_transaction(PATIENCE).expect("aborted");
    producer.begin_transaction().expect("begun");
    produce(&producer, "t", &numbered("again", 3)).await;
    producer.commit_transaction(PATIENCE).expect("committed");

    let committed = consume(
        &node.consumer("t", 1, &[("isolation.level", "read_committed")]),
        6,
    );
    let values: Vec<&str> = committed.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(
        values,
        [
            "committed-0",
            "committed-1",
            "committed-2",
            "again-0",
            "again-1",
            "again-2"
        ]
    );
    let all = consume(
        &node.consumer("t", 1, &[("isolation.level", "read_uncommitted")]),
        9,
    );
    assert_eq!(all.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_holds_read_committed_back_until_it_ends() {
    let node = Node::start().await;
    node.create_topic("t", 1, &[]).await;
    let producer = transactional(&node, "id");
    producer.begin_transaction().expect("begun");
    produce(&producer, "t", &numbered("open", 1)).await;
    produce(&node.producer(&[]), "t", &numbered("plain", 1)).await;
    let consumer = node.consumer(
        "t",
        1,
        &[
            ("isolation.level", "read_committed"),
            ("fetch.wait.max.ms", "60000"),
            ("socket.timeout.ms", "100000"),
        ],
    );
    assert!(
        consumer
            .poll(std::time::Duration::from_millis(300))
            .is_none(),
        "nothing is stable"
    );
    producer.commit_transaction(PATIENCE).expect("committed");
    let seen = consume(&consumer, 2);
    assert_eq!(seen[0].1, "open-0");
    assert_eq!(seen[1].1, "plain-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_become_visible_with_the_records() {
    let node = Node::start().await;
    node.create_topic("in", 1, &[]).await;
    node.create_topic("out", 1, &[]).await;
    produce(&node.producer(&[]), "in", &numbered("v", 5)).await;
    let consumer: BaseConsumer = node
        .client()
        .set("group.id", "g")
        .create()
        .expect("a consumer");
    let metadata = consumer.group_metadata().expect("metadata");
    let mut position = TopicPartitionList::new();
    position
        .add_partition_offset("in", 0, Offset::Offset(5))
        .expect("sound");
    let committed = || {
        let mut asked = TopicPartitionList::new();
        asked.add_partition("in", 0);
        consumer
            .committed_offsets(asked, PATIENCE)
            .expect("an answer")
            .elements()[0]
            .offset()
    };
    let producer = transactional(&node, "id");
    producer.begin_transaction().expect("begun");
    produce(&producer, "out", &numbered("w", 5)).await;
    producer
        .send_offsets_to_transaction(&position, &metadata, PATIENCE)
        .expect("staged");
    producer.abort_transaction(PATIENCE).expect("aborted");
    assert_eq!(committed(), Offset::Invalid);
    producer.begin_transaction().expect("begun");
    produce(&producer, "out", &numbered("w", 5)).await;
    producer
        .send_offsets_to_transaction(&position, &metadata, PATIENCE)
        .expect("staged");
    producer.commit_transaction(PATIENCE).expect("committed");
    assert_eq!(committed(), Offset::Offset(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_owner_fences_the_old_one_and_ends_its_transaction() {
    let node = Node::start().await;
    node.create_topic("t", 1, &[]).await;
    let old = transactional(&node, "id");
    old.begin_transaction().expect("begun");
    produce(&old, "t", &numbered("orphan", 2)).await;
    // The new owner lives in the broker's own process: both paths have one coordinator.
    let options = TransactionOptions {
        transactional_id: "id".into(),
        timeout: PATIENCE,
    };
    let mut new = node
        .broker
        .embedded()
        .transaction(options)
        .await
        .expect("opened");
    let mut batch = log_api::BatchBuilder::new(log_api::Compression::None);
    batch.append(1, None, Some(b"new"), &[]);
    new.append(&log_api::TopicPartition::new("t", 0), batch)
        .await
        .expect("appended");
    new.commit().await.expect("committed");
    let refused = old.commit_transaction(PATIENCE).expect_err("fenced");
    assert!(refused.to_string().contains("fenced"), "{refused}");
    let seen = consume(
        &node.consumer("t", 1, &[("isolation.level", "read_committed")]),
        1,
    );
    assert_eq!(seen[0].1, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_an_open_transaction_hidden_and_ids_fenced() {
    let node = Node::start().await;
    node.create_topic("t", 1, &[]).await;
    let producer = transactional(&node, "id");
    producer.begin_transaction().expect("begun");
    produce(&producer, "t", &numbered("open", 1)).await;
    let node = node.restart().await;
    produce(&node.producer(&[]), "t", &numbered("plain", 1)).await;
    let consumer = node.consumer("t", 1, &[("isolation.level", "read_committed")]);
    assert!(
        consumer
            .poll(std::time::Duration::from_millis(300))
            .is_none(),
        "the transaction is open still"
    );
    let successor = transactional(&node, "id");
    assert_eq!(consume(&consumer, 1)[0].1, "plain-0");
    successor.begin_transaction().expect("begun");
    produce(&successor, "t", &numbered("new", 1)).await;
    successor.commit_transaction(PATIENCE).expect("committed");
    assert_eq!(consume(&consumer, 1)[0].1, "new-0");
    drop(producer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_times_out_is_aborted() {
    let node = Node::start().await;
    node.create_topic("t", 1, &[]).await;
    let mut config = node.client();
    config
        .set("transactional.id", "slow")
        .set("transaction.timeout.ms", "1000")
        .set("linger.ms", "0");
    let producer: BaseProducer = config.create().expect("a producer");
    producer.init_transactions(PATIENCE).expect("opened");
    producer.begin_transaction().expect("begun");
    let record: BaseRecord<'_, str, str> = BaseRecord::to("t").partition(0).payload("late");
    producer.send(record).expect("queued");
    producer.flush(PATIENCE).expect("flushed");
    produce(&node.producer(&[]), "t", &numbered("plain", 1)).await;
    let consumer = node.consumer("t", 1, &[("isolation.level", "read_committed")]);
    assert_eq!(consume(&consumer, 1)[0].1, "plain-0");
    assert!(
        producer.commit_transaction(PATIENCE).is_err(),
        "its owner learns of it"
    );
}
