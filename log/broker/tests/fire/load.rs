//! Clients of librdkafka that write until they are told to stop, and keep a ledger; and what readers see afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::ledger::{Ledger, Outcome, Seen, Sent};

/// Topics of the two kinds of load.
pub(super) const SENT: &str = "sent";
pub(super) const MOVED: &str = "moved";
pub(super) const PARTITIONS: i32 = 3;

/// Longest wait of a client for one answer; whatever happens to the broker takes less.
const WAIT: Duration = Duration::from_secs(60);

/// Records that are on their way at a time.
const IN_FLIGHT: usize = 100;

/// How far the load is, and whether it is to end.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stop: AtomicBool,
    /// Acknowledgements and commits.
    done: AtomicUsize,
    /// Of these, transactions that were committed.
    committed: AtomicUsize,
}

impl Progress {
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn step(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until so much more was done.
    pub(super) fn await_more(&self, count: usize) {
        await_more(&self.done, count);
    }

    /// Waits until so many more transactions were committed.
    pub(super) fn await_commits(&self, count: usize) {
        await_more(&self.committed, count);
    }
}

fn await_more(counter: &AtomicUsize, count: usize) {
    let start = Instant::now();
    let until = counter.load(Ordering::Relaxed) + count;
    while counter.load(Ordering::Relaxed) < until {
        assert!(start.elapsed() < 2 * WAIT, "the load does not get on");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

pub(super) fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address)
        .set("broker.address.family", "v4")
        .set("reconnect.backoff.ms", "5")
        .set("reconnect.backoff.max.ms", "50")
        .set("retry.backoff.ms", "5")
        .set("retry.backoff.max.ms", "50")
        .set("socket.timeout.ms", "2000")
        .set("request.timeout.ms", "1000")
        .set("message.timeout.ms", "120000")
        .set("topic.metadata.refresh.fast.interval.ms", "20")
        .set("linger.ms", "1");
    config
}

/// Writes in order, idempotently, into all partitions; returns what was sent.
pub(super) async fn idempotent(address: String, progress: Arc<Progress>) -> Ledger {
    let producer: FutureProducer = client(&address)
        .set("enable.idempotence", "true")
        .create()
        .expect("a producer");
    let mut ledger = Ledger::default();
    let mut n = 0;
    while progress.goes_on() {
        let mut deliveries = Vec::with_capacity(IN_FLIGHT);
        for _ in 0..IN_FLIGHT {
            let sent: Sent = (n % PARTITIONS, format!("s{n}"));
            let record: FutureRecord<'_, (), String> =
                FutureRecord::to(SENT).partition(sent.0).payload(&sent.1);
            let delivery = producer.send_result(record).expect("there is room");
            deliveries.push((sent.clone(), delivery));
            n += 1;
        }
        for (sent, delivery) in deliveries {
            let acknowledged = match delivery.await.expect("the producer is there") {
                Ok(delivery) => Some(delivery.offset),
                Err(_) => None,
            };
            if acknowledged.is_some() {
                progress.step();
            }
            ledger.sent.push((sent, acknowledged));
        }
    }
    ledger
}

/// The group whose offset each transaction commits: its own number.
const MOVER: &str = "mover";

fn of_group(address: &str) -> BaseConsumer {
    client(address)
        .set("group.id", MOVER)
        .set("isolation.level", "read_committed")
        .create()
        .expect("a consumer")
}

fn place_of_offset(offset: Offset) -> TopicPartitionList {
    let mut place = TopicPartitionList::new();
    place
        .add_partition_offset(MOVED, 0, offset)
        .expect("a sound offset");
    place
}

/// The offset that the transactions left behind.
pub(super) fn offset(address: &str) -> Option<i64> {
    let group = of_group(address);
    let start = Instant::now();
    loop {
        match group.committed_offsets(place_of_offset(Offset::Invalid), WAIT) {
            Ok(committed) => {
                let elements = committed.elements();
                let offset = elements.first().expect("one partition").offset();
                return offset.to_raw().filter(|offset| *offset >= 0);
            }
            Err(error) => assert!(start.elapsed() < 2 * WAIT, "no offset: {error}"),
        }
    }
}

/// Moves records into all partitions in transactions, a part of which it gives up; returns what became of them.
pub(super) fn transactional(address: &str, seed: u64, progress: &Progress) -> Ledger {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut ledger = Ledger::default();
    let mut n = 0;
    let group = of_group(address).group_metadata().expect("a group");
    'producers: loop {
        // Fences whoever had the id, and ends what was left open.
        let producer = initialized(address);
        while progress.goes_on() {
            let records: Vec<Sent> = (0..PARTITIONS)
                .map(|partition| (partition, format!("t{n}-{partition}")))
                .collect();
            let offset = place_of_offset(Offset::Offset(n));
            n += 1;
            let commits = random.u8(..4) > 0;
            let (outcome, is_usable) = transact(&producer, &records, (&offset, &group), commits);
            ledger.transactions.push((records, outcome));
            if outcome == Outcome::Committed {
                progress.committed.fetch_add(1, Ordering::Relaxed);
            }
            progress.step();
            if !is_usable {
                continue 'producers;
            }
        }
        drop(producer);
        // Nothing stays open behind the readers' back.
        drop(initialized(address));
        return ledger;
    }
}

fn initialized(address: &str) -> FutureProducer {
    let start = Instant::now();
    loop {
        let producer: FutureProducer = client(address)
            .set("transactional.id", "mover")
            .set("transaction.timeout.ms", "60000")
            .set("message.timeout.ms", "60000")
            .create()
            .expect("a producer");
        match producer.init_transactions(WAIT) {
            Ok(()) => return producer,
            Err(error) => assert!(start.elapsed() < 2 * WAIT, "no producer id: {error}"),
        }
    }
}

/// One transaction: how it ended, and whether the producer can go on.
fn transact(
    producer: &FutureProducer,
    records: &[Sent],
    (offset, group): (&TopicPartitionList, &ConsumerGroupMetadata),
    commits: bool,
) -> (Outcome, bool) {
    if producer.begin_transaction().is_err() {
        return (Outcome::Aborted, false);
    }
    let deliveries: Vec<_> = records
        .iter()
        .map(|(partition, value)| {
            let record: FutureRecord<'_, (), String> =
                FutureRecord::to(MOVED).partition(*partition).payload(value);
            producer.send_result(record).map_err(|(error, _)| error)
        })
        .collect();
    let staged = retried(|| producer.send_offsets_to_transaction(offset, group, WAIT));
    let asks = commits && staged.is_ok() && deliveries.iter().all(Result::is_ok);
    if asks {
        match retried(|| producer.commit_transaction(WAIT)) {
            Ok(()) => return (Outcome::Committed, true),
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {}
            Err(_) => return (Outcome::Unknown, false),
        }
    }
    match retried(|| producer.abort_transaction(WAIT)) {
        Ok(()) => (Outcome::Aborted, true),
        Err(_) if asks => (Outcome::Unknown, false),
        // Nobody has asked for a commit that could still come.
        Err(_) => (Outcome::Aborted, false),
    }
}

fn retried(mut step: impl FnMut() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    let start = Instant::now();
    loop {
        match step() {
            Err(KafkaError::Transaction(error))
                if error.is_retriable() && start.elapsed() < 2 * WAIT => {}
            ended => return ended,
        }
    }
}

/// What readers of committed records see of a topic.
pub(super) fn seen(address: &str, topic: &str) -> Seen {
    let consumer: BaseConsumer = client(address)
        .set("group.id", "judge")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment
            .add_partition_offset(topic, partition, Offset::Beginning)
            .expect("a sound offset");
    }
    consumer.assign(&assignment).expect("an assignment");
    let mut seen: Seen = BTreeMap::new();
    let mut ended = 0;
    let start = Instant::now();
    while ended < PARTITIONS {
        assert!(start.elapsed() < 2 * WAIT, "the log has no end");
        match consumer.poll(WAIT) {
            Some(Ok(message)) => {
                let value = message.payload().unwrap_or_default().to_vec();
                let value = String::from_utf8(value).expect("text");
                let records = seen.entry(message.partition()).or_default();
                records.push((message.offset(), value));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            )))
            | None => {}
            Some(Err(error)) => panic!("{topic}: {error}"),
        }
    }
    seen
}
