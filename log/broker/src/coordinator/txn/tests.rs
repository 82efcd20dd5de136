//! Stops in the middle of an end, and what the next start makes of it.

use std::path::Path;

use log_protocol::{BatchBuilder, Compression, ProducerStamp};

use super::*;
use crate::coordinator::group::state::Limits;
use crate::partition::AppendOrigin;
use crate::storage::{Isolation, StorageOptions};

struct Node {
    topics: Topics,
    transactions: Transactions,
}

fn open(folder: &Path) -> Node {
    let topics = Topics::open(folder, StorageOptions::default()).expect("the folder opens");
    let background = Arc::new(Background::start("test").expect("a thread"));
    let limits = Limits {
        session_timeout_ms_min: 1,
        session_timeout_ms_max: 1000,
        initial_rebalance_delay_ms: 0,
        members_max: 1,
    };
    let groups =
        Groups::open(topics.clone(), Arc::clone(&background), limits, 1000).expect("groups load");
    let transactions = Transactions::open(topics.clone(), Arc::new(groups), background, 60_000)
        .expect("transactions load");
    Node {
        topics,
        transactions,
    }
}

fn partition(node: &Node) -> (TopicPartition, Arc<Partition>) {
    let topic = node.topics.get("t").unwrap_or_else(|| {
        node.topics
            .create("t", 1, &Default::default(), false)
            .expect("created")
    });
    (
        TopicPartition::new("t", 0),
        topic.partition(0).expect("partition 0"),
    )
}

fn write(partition: &Partition, producer: Producer) {
    let mut batch = BatchBuilder::new(Compression::None);
    batch.append(1, None, Some(b"v"), &[]);
    let stamp = ProducerStamp {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        base_sequence: 0,
        transactional: true,
    };
    partition
        .append(batch.build(stamp), AppendOrigin::Client, 1)
        .expect("appended");
}

fn is_open(partition: &Partition) -> bool {
    partition.last_stable_offset() < partition.high_watermark()
}

#[tokio::test]
async fn a_decided_commit_is_finished_at_the_next_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let (name, log) = partition(&node);
    let producer = node
        .transactions
        .initialize("id", None, 1000)
        .await
        .expect("opened");
    node.transactions
        .add_partitions("id", producer, vec![name.clone()], 0)
        .await
        .expect("added");
    write(&log, producer);
    // The process dies between the decision and the markers.
    let entry = node.transactions.shared.known("id").expect("known");
    let current = entry.current().expect("initialized");
    let Ok(Ending::Prepare(decided)) = state::end(&current, producer, true, false, 1) else {
        panic!()
    };
    node.transactions
        .shared
        .append("id", Some(&decided))
        .expect("written");
    drop((entry, log, node));

    let node = open(folder.path());
    let (_, log) = partition(&node);
    assert!(!is_open(&log));
    let fetched = log
        .read(0, 1 << 20, Isolation::ReadCommitted)
        .expect("read");
    assert!(fetched.aborted.is_empty(), "it was committed");
    let ended = node.transactions.end("id", producer, true, false).await;
    assert_eq!(
        ended,
        Ok(producer),
        "a retry of the client learns that it is done"
    );
}

#[tokio::test]
async fn an_open_transaction_stays_open_and_may_be_ended() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let (name, log) = partition(&node);
    let producer = node
        .transactions
        .initialize("id", None, 1000)
        .await
        .expect("opened");
    node.transactions
        .add_partitions("id", producer, vec![name], 0)
        .await
        .expect("added");
    write(&log, producer);
    drop((log, node));
    let node = open(folder.path());
    let (_, log) = partition(&node);
    assert!(is_open(&log));
    assert_eq!(
        node.transactions.end("id", producer, true, false).await,
        Ok(producer)
    );
    assert!(!is_open(&log));
}

#[tokio::test]
async fn a_transaction_that_nobody_knows_is_aborted_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let (_, log) = partition(&node);
    write(&log, Producer { id: 4711, epoch: 0 });
    assert!(is_open(&log));
    drop((log, node));
    let node = open(folder.path());
    let (_, log) = partition(&node);
    assert!(!is_open(&log));
    let fetched = log
        .read(0, 1 << 20, Isolation::ReadCommitted)
        .expect("read");
    assert_eq!(fetched.aborted.len(), 1);
}

#[tokio::test]
async fn an_end_waits_for_no_one_but_its_own_id() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let producer = node
        .transactions
        .initialize("one", None, 1000)
        .await
        .expect("opened");
    let busy = node.transactions.shared.known("one").expect("known");
    let turn = Arc::clone(&busy.turn).lock_owned().await;
    // Another id is not held up.
    node.transactions
        .initialize("two", None, 1000)
        .await
        .expect("opened");
    assert_eq!(
        node.transactions.begin("one", producer, &[]).err(),
        Some(ErrorCode::ConcurrentTransactions)
    );
    drop(turn);
    assert!(node.transactions.begin("one", producer, &[]).is_ok());
}
