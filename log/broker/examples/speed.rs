//! Scratch.
use std::time::{Duration, Instant};
use log_api::*;
use log_broker::{Broker, BrokerConfig};
#[tokio::main]
async fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let _ = std::fs::remove_dir_all(&dir);
    let broker = Broker::open(BrokerConfig::in_folder(dir)).unwrap();
    let log = broker.embedded();
    log.admin().create_topic(NewTopic::new("in", 4)).await.unwrap();
    log.admin().create_topic(NewTopic::new("out", 8)).await.unwrap();
    let w = log.writer().await.unwrap();
    let t = Instant::now();
    let value = vec![b'x'; 100];
    for round in 0..1000 { for p in 0..4 {
        let mut b = BatchBuilder::new(Compression::None);
        for i in 0..500 { b.append(round * 1000 + i, Some(b"key"), Some(&value), &[]); }
        w.append(&TopicPartition::new("in", p), b).await.unwrap();
    } }
    println!("write 2M records {:?}", t.elapsed());
    for _ in 0..2 {
    let t = Instant::now();
    let mut r = log.reader(ReaderOptions::default(), (0..4).map(|p| (TopicPartition::new("in", p), Start::Earliest)).collect()).await.unwrap();
    let mut n = 0; let mut bytes = 0usize;
    while n < 2_000_000 { for run in r.poll(PollBudget { bytes_max: 1 << 20, wait_max: Duration::from_secs(1) }).await.unwrap() { n += run.len(); bytes += run.values.total_buffer_bytes_used(); } }
    println!("read {n} {bytes} in {:?}", t.elapsed());
    }
    let mut tx = log.transaction(TransactionOptions { transactional_id: "t".into(), timeout: Duration::from_secs(60) }).await.unwrap();
    let mut times = vec![];
    for _ in 0..50 {
        for p in 0..8 { let mut b = BatchBuilder::new(Compression::None); for i in 0..100 { b.append(i, Some(b"key"), Some(&value), &[]); } tx.append(&TopicPartition::new("out", p), b).await.unwrap(); }
        tx.commit_offsets("g", (0..4).map(|p| OffsetCommit { partition: TopicPartition::new("in", p), offset: 5, metadata: String::new() }).collect()).await.unwrap();
        let t = Instant::now(); tx.commit().await.unwrap(); times.push(t.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times.sort(); println!("commit p50 {:?} p99 {:?}", times[25], times[49]);
    let t = Instant::now(); broker.close().await.unwrap(); println!("close {:?}", t.elapsed());
}
