//! Stops in the middle of an end, and what the next start makes of it.

use std::path::Path;
use std::time::Duration;

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
    topics.mark_running().expect("marked");
    Node {
        topics,
        transactions,
    }
}

fn partition(node: &Node) -> (TopicPartition, Arc<Partition>) {
    partition_of(node, "t")
}

fn partition_of(node: &Node, name: &str) -> (TopicPartition, Arc<Partition>) {
    let topic = node.topics.get(name).unwrap_or_else(|| {
        node.topics
            .create(name, 1, &Default::default(), false)
            .expect("created")
    });
    (
        TopicPartition::new(name, 0),
        topic.partition(0).expect("partition 0"),
    )
}

/// A transaction that wrote to `good` and `bad`.
async fn over_two_partitions(node: &Node) -> (Producer, Arc<Partition>, Arc<Partition>) {
    let (good_name, good) = partition_of(node, "good");
    let (bad_name, bad) = partition_of(node, "bad");
    let producer = node
        .transactions
        .initialize("id", None, 1000)
        .await
        .expect("opened");
    node.transactions
        .add_partitions("id", producer, vec![good_name, bad_name], 0)
        .await
        .expect("added");
    write(&good, producer);
    write(&bad, producer);
    (producer, good, bad)
}

/// Waits for what was begun, so that the folder can be opened again.
async fn stop(node: Node) {
    node.transactions.quiesce().await;
    node.transactions.shared.background.stop();
}

fn take_offline(partition: &Partition) {
    partition.fail("write", &std::io::Error::other("pulled"));
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

#[tokio::test]
async fn what_cannot_be_committed_is_aborted_where_it_can_be() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let (producer, good, bad) = over_two_partitions(&node).await;
    take_offline(&bad);
    assert_eq!(
        node.transactions.end("id", producer, true, false).await,
        Err(ErrorCode::TransactionAbortable)
    );
    assert_eq!(
        node.transactions.end("id", producer, false, false).await,
        Ok(producer)
    );
    assert!(!is_open(&good));
    assert_eq!(
        node.transactions.initialize("id", None, 1000).await,
        Err(ErrorCode::ConcurrentTransactions),
        "one marker is missing"
    );
    drop((good, bad));
    stop(node).await;
    let node = open(folder.path());
    assert!(!is_open(&partition_of(&node, "bad").1));
    assert!(node.transactions.initialize("id", None, 1000).await.is_ok());
}

#[tokio::test]
async fn a_marker_that_cannot_be_written_holds_up_its_own_partition_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let (producer, good, bad) = over_two_partitions(&node).await;
    bad.sync().await.expect("synced");
    take_offline(&bad);
    assert_eq!(
        node.transactions.end("id", producer, true, false).await,
        Ok(producer),
        "it is decided"
    );
    node.transactions.settled("id").await;
    assert!(!is_open(&good) && is_open(&bad));
    // Nothing is repeated while it cannot be finished; without the partition there is nothing left to wait for.
    let end = good.high_watermark();
    node.transactions.tick();
    node.transactions.settled("id").await;
    assert_eq!(good.high_watermark(), end);
    node.topics.delete("bad").expect("deleted");
    *node.transactions.shared.next_retry_ms.lock() = 0;
    node.transactions.tick();
    node.transactions.settled("id").await;
    assert_eq!(
        node.transactions.end("id", producer, true, false).await,
        Ok(producer),
        "a retry learns that it is done"
    );
    assert_eq!(good.high_watermark(), end);
}

#[tokio::test]
async fn a_decided_commit_of_an_offline_partition_survives_the_next_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let (producer, good, bad) = over_two_partitions(&node).await;
    bad.sync().await.expect("synced");
    take_offline(&bad);
    node.transactions
        .end("id", producer, true, false)
        .await
        .expect("decided");
    drop((good, bad));
    stop(node).await;
    let node = open(folder.path());
    let (_, bad) = partition_of(&node, "bad");
    assert!(!is_open(&bad));
    let fetched = bad
        .read(0, 1 << 20, Isolation::ReadCommitted)
        .expect("read");
    assert!(fetched.aborted.is_empty(), "it was committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_does_not_end_holds_up_the_end_of_its_transaction_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let (name, log) = partition(&node);
    let transactions = &node.transactions;
    let producer = transactions
        .initialize("stuck", None, 1000)
        .await
        .expect("opened");
    transactions
        .add_partitions("stuck", producer, vec![name.clone()], 2)
        .await
        .expect("added");
    write(&log, producer);
    let handle = transactions.handle("stuck").expect("known");
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (held, is_held) = tokio::sync::oneshot::channel();
    let append = std::thread::spawn(move || {
        let gate = handle.gate(producer, &name).map(|_gate| {
            held.send(()).expect("somebody waits");
            released.recv()
        });
        gate.expect("open").expect("let go");
    });
    is_held.await.expect("the gate is held");
    let ending = transactions.clone();
    let ended = tokio::spawn(async move { ending.end("stuck", producer, true, true).await });
    for id in ["a", "b", "c"] {
        let other = transactions.initialize(id, None, 1000);
        let other = tokio::time::timeout(Duration::from_secs(30), other).await;
        other.expect("others get on").expect("opened");
    }
    release.send(()).expect("the append waits");
    ended.await.expect("it ran").expect("committed");
    append.join().expect("the append ended");
    assert!(!is_open(&log));
}

#[tokio::test]
async fn a_timed_out_producer_goes_on_and_an_aborted_transaction_is_not_committed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let (name, log) = partition(&node);
    let transactions = &node.transactions;
    let producer = transactions
        .initialize("id", None, 1000)
        .await
        .expect("opened");
    transactions
        .add_partitions("id", producer, vec![name], 2)
        .await
        .expect("added");
    write(&log, producer);
    let entry = transactions.shared.known("id").expect("known");
    if let Some(record) = &mut *entry.record.write() {
        record.start_ms = 0;
    }
    transactions.tick();
    transactions.settled("id").await;
    assert!(!is_open(&log));
    let raised = Producer {
        epoch: producer.epoch + 1,
        ..producer
    };
    assert_eq!(
        transactions.end("id", producer, true, true).await,
        Err(ErrorCode::InvalidTxnState)
    );
    assert_eq!(
        transactions.end("id", producer, false, true).await,
        Ok(raised)
    );
    assert_eq!(
        transactions.initialize("id", Some(producer), 1000).await,
        Ok(raised)
    );
    assert_eq!(
        transactions.end("", producer, false, true).await,
        Err(ErrorCode::InvalidRequest)
    );
    drop(entry);
}

#[tokio::test]
async fn what_nobody_can_read_keeps_neither_the_log_nor_other_ids_from_starting() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let producer = node
        .transactions
        .initialize("id", None, 1000)
        .await
        .expect("opened");
    let unreadable: [(&[u8], Option<&[u8]>); 3] = [
        (b"k", Some(b"v")),
        (b"", None),
        (b"\0\0\0\x02id", Some(b"\0")),
    ];
    let mut batch = BatchBuilder::new(Compression::None);
    for (key, value) in unreadable {
        batch.append(1, Some(key), value, &[]);
    }
    // A content that is none, with a CRC that fits.
    let mut garbage = batch.clone().build(ProducerStamp::NONE).to_vec();
    garbage[61..].fill(0xff);
    let crc = crc32c::crc32c(&garbage[21..]);
    garbage[17..21].copy_from_slice(&crc.to_be_bytes());
    let log = Arc::clone(&node.transactions.shared.log);
    for bytes in [batch.build(ProducerStamp::NONE), garbage.into()] {
        log.append(bytes, AppendOrigin::Coordinator, 1)
            .expect("appended");
    }
    drop(log);
    stop(node).await;
    let node = open(folder.path());
    let again = node.transactions.initialize("id", None, 1000).await;
    assert_eq!(
        again,
        Ok(Producer {
            epoch: producer.epoch + 1,
            ..producer
        })
    );
}

/// Opens the folder as after another boot.
fn open_after_power_loss(folder: &Path) -> Node {
    std::fs::write(folder.join("state"), "running another-boot\n").expect("written");
    open(folder)
}

/// A transaction of one partition, which is open.
async fn begun(node: &Node, client_version: i16) -> (Producer, Arc<Partition>) {
    let (name, log) = partition(node);
    let transactions = &node.transactions;
    let producer = transactions
        .initialize("id", None, 1000)
        .await
        .expect("opened");
    transactions
        .add_partitions("id", producer, vec![name], client_version)
        .await
        .expect("added");
    write(&log, producer);
    (producer, log)
}

#[tokio::test]
async fn an_end_that_was_lost_with_its_transaction_is_not_that_of_the_one_before() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let (producer, log) = begun(&node, 0).await;
    let committed = node.transactions.end("id", producer, true, false).await;
    assert_eq!(committed, Ok(producer));
    drop(log);
    stop(node).await;
    // The next one was begun, filled and is to be committed; nothing of it has come to the disk.
    let node = open_after_power_loss(folder.path());
    let repeated = node.transactions.end("id", producer, true, false).await;
    assert_eq!(repeated, Err(ErrorCode::ProducerFenced));
    let raised = node.transactions.initialize("id", None, 1000).await;
    assert!(raised.is_ok_and(|raised| raised.epoch > producer.epoch));
    stop(node).await;
    // What was raised is on disk, and a killed process raises nothing.
    let node = open(folder.path());
    let repeated = node.transactions.end("id", producer, true, false).await;
    assert_eq!(repeated, Err(ErrorCode::ProducerFenced));
}

#[tokio::test]
async fn a_transaction_that_was_open_when_the_power_went_is_aborted() {
    for (client_version, refused) in [
        (0, ErrorCode::ProducerFenced),
        (2, ErrorCode::InvalidTxnState),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let node = open(folder.path());
        let (producer, log) = begun(&node, client_version).await;
        drop(log);
        stop(node).await;
        let node = open_after_power_loss(folder.path());
        let (_, log) = partition(&node);
        assert!(!is_open(&log));
        let ended = log.read(0, 1 << 20, Isolation::ReadCommitted);
        assert_eq!(ended.expect("read").aborted.len(), 1);
        let end = node
            .transactions
            .end("id", producer, true, client_version == 2);
        assert_eq!(end.await, Err(refused));
    }
}

#[tokio::test]
async fn what_was_decided_stands_after_a_power_loss_and_its_client_learns_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let (producer, log) = begun(&node, 0).await;
    let entry = node.transactions.shared.known("id").expect("known");
    let current = entry.current().expect("initialized");
    let Ok(Ending::Prepare(decided)) = state::end(&current, producer, true, false, 1) else {
        panic!()
    };
    node.transactions
        .shared
        .append("id", Some(&decided))
        .expect("written");
    drop((entry, log));
    stop(node).await;
    let node = open_after_power_loss(folder.path());
    assert!(!is_open(&partition(&node).1));
    let repeated = node.transactions.end("id", producer, true, false).await;
    assert_eq!(repeated, Ok(producer));
}

#[tokio::test]
async fn a_transaction_is_complete_on_disk_before_the_next_one_begins() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = open(folder.path());
    let (producer, _log) = begun(&node, 0).await;
    let committed = node.transactions.end("id", producer, true, false).await;
    assert_eq!(committed, Ok(producer));
    node.transactions.settled("id").await;
    let log = &node.transactions.shared.log;
    assert_eq!(log.synced_offset(), log.high_watermark());
}
