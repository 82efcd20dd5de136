//! Drives one broker, with librdkafka but for records one by one, and counts what its process uses meanwhile.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

use super::one_by_one::{self, Plan};
use crate::machine;
use crate::meter::Cost;

/// Bytes of one record's value.
pub(super) const RECORD_BYTES: usize = 1024;
/// Different values, so many that a compressed batch does not hold one twice.
const VALUES: usize = 16 * 1024;
/// A client that hears nothing for so long gives up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What one run cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) produce: Cost,
    pub(super) consume: Cost,
}

/// What records sent one by one cost, at a rate that both sides keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steady {
    pub(super) cpu_per_million: f64,
    /// From the send to its acknowledgement.
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// Drives one broker.
pub(super) struct Driver {
    address: String,
    pid: u32,
    partitions: i32,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    values: Vec<String>,
}

impl Driver {
    pub(super) fn new(address: &str, pid: u32, partitions: i32) -> Result<Self> {
        Ok(Self {
            address: address.to_owned(),
            pid,
            partitions,
            admin: client(address).create()?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            values: values(VALUES),
        })
    }

    /// The broker's process.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Produces and consumes `records` through a topic of their own.
    pub(super) fn run(&self, topic: &str, codec: &str, records: u64) -> Result<Run> {
        self.with_topic(topic, || {
            Ok(Run {
                produce: self.measured(|| self.produce(topic, codec, records))?,
                consume: self.measured(|| self.consume(topic, records))?,
            })
        })
    }

    /// Sends so many records a second, each in a batch of its own, for so many seconds.
    pub(super) fn steady(&self, topic: &str, rate: u32, seconds: u32) -> Result<Steady> {
        self.with_topic(topic, || {
            let mut latencies = Vec::new();
            let cost = self.measured(|| {
                let plan = Plan {
                    topic,
                    values: &self.values,
                    rate,
                    records: rate.saturating_mul(seconds),
                };
                latencies = one_by_one::send(&self.address, plan)?;
                Ok(())
            })?;
            latencies.sort_unstable();
            let quantile = |of_hundred: usize| {
                let at = (latencies.len() * of_hundred / 100).min(latencies.len() - 1);
                latencies[at].as_secs_f64() * 1e3
            };
            Ok(Steady {
                cpu_per_million: cost.cpu / (latencies.len() as f64 / 1e6),
                p50_ms: quantile(50),
                p99_ms: quantile(99),
            })
        })
    }

    /// Makes a topic, works with it, and removes it.
    fn with_topic<T>(&self, topic: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let new = NewTopic::new(topic, self.partitions, TopicReplication::Fixed(1));
        let created = self
            .runtime
            .block_on(self.admin.create_topics([&new], &AdminOptions::new()))?;
        outcome(created)?;
        let worked = work()?;
        let deleted = self
            .runtime
            .block_on(self.admin.delete_topics(&[topic], &AdminOptions::new()))?;
        outcome(deleted)?;
        Ok(worked)
    }

    fn measured(&self, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
        let cpu = machine::cpu_seconds(self.pid)?;
        let started = Instant::now();
        work()?;
        let wall = started.elapsed().as_secs_f64();
        Ok(Cost {
            cpu: machine::cpu_seconds(self.pid)? - cpu,
            wall,
        })
    }

    fn produce(&self, topic: &str, codec: &str, records: u64) -> Result<()> {
        let producer: BaseProducer<Deliveries> = client(&self.address)
            .set("acks", "all")
            .set("compression.type", codec)
            .set("linger.ms", "20")
            .set("batch.size", "1000000")
            .set("batch.num.messages", "100000")
            .set("queue.buffering.max.messages", "100000")
            .set("message.timeout.ms", SILENCE_MAX.as_millis().to_string())
            .create_with_context(Deliveries::default())?;
        for number in 0..records {
            let value = self.values[number as usize % self.values.len()].as_str();
            let partition = (number % self.partitions as u64) as i32;
            let mut record = BaseRecord::<(), str>::to(topic)
                .partition(partition)
                .payload(value);
            loop {
                match producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                        record = refused;
                        producer.poll(Duration::from_millis(10));
                    }
                    Err((error, _)) => return Err(error).context("produce"),
                }
            }
            if number.is_multiple_of(1024) {
                producer.poll(Duration::ZERO);
                producer.context().check()?;
            }
        }
        producer.flush(SILENCE_MAX).context("flush the producer")?;
        let deliveries = producer.context();
        deliveries.check()?;
        let delivered = deliveries.delivered();
        if delivered != records {
            bail!("{delivered} of {records} records were acknowledged");
        }
        Ok(())
    }

    fn consume(&self, topic: &str, records: u64) -> Result<()> {
        let consumer: BaseConsumer = client(&self.address)
            .set("group.id", "bench")
            .set("enable.auto.commit", "false")
            .set("check.crcs", "false")
            .set("fetch.message.max.bytes", "8000000")
            .set("queued.max.messages.kbytes", "65536")
            .create()?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..self.partitions {
            assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        let mut seen = 0;
        while seen < records {
            let Some(message) = consumer.poll(SILENCE_MAX) else {
                bail!(
                    "{seen} of {records} records came, then nothing for {} s",
                    SILENCE_MAX.as_secs()
                );
            };
            let message = message.context("consume")?;
            if message.payload_len() != RECORD_BYTES {
                bail!(
                    "record {} of {topic} has {} bytes",
                    message.offset(),
                    message.payload_len()
                );
            }
            seen += 1;
        }
        Ok(())
    }
}

fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    config
}

/// Sends one record to a topic that is not there yet; gives the time from the broker's start to the acknowledgement.
///
/// # Errors
/// The record is refused, or not acknowledged in time.
pub(crate) fn first_record(address: &str, spawned: Instant) -> Result<Duration> {
    let producer: BaseProducer<Deliveries> = client(address)
        .set("acks", "all")
        .set("linger.ms", "0")
        // librdkafka looks again for a topic that was just made only after this.
        .set("topic.metadata.refresh.fast.interval.ms", "10")
        .create_with_context(Deliveries::default())?;
    let record = BaseRecord::to("first").key("key").payload("value");
    producer
        .send(record)
        .map_err(|(error, _)| error)
        .context("send a record")?;
    let asked = Instant::now();
    loop {
        producer.poll(Duration::from_millis(10));
        let deliveries = producer.context();
        deliveries.check()?;
        if deliveries.delivered() == 1 {
            return Ok(spawned.elapsed());
        }
        if asked.elapsed() > SILENCE_MAX {
            bail!("no acknowledgement within {} s", SILENCE_MAX.as_secs());
        }
    }
}

fn outcome(results: Vec<std::result::Result<String, (String, RDKafkaErrorCode)>>) -> Result<()> {
    for result in results {
        result.map_err(|(topic, code)| anyhow::anyhow!("topic {topic}: {code}"))?;
    }
    Ok(())
}

/// JSON of exactly [`RECORD_BYTES`], the same in every run: words that repeat and numbers that do not.
fn values(count: usize) -> Vec<String> {
    const WORDS: [&str; 8] = [
        "departed",
        "arrived",
        "cancelled",
        "boarding",
        "Newark",
        "La Guardia",
        "on time",
        "delayed",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    let value = |id: usize| {
        let mut text = format!("{{\"id\":{id}");
        let mut field = 0;
        // The longest field below, and what ends the object.
        while text.len() + 64 < RECORD_BYTES {
            field += 1;
            let word = WORDS[random.usize(..WORDS.len())];
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                ",\"field_{field}\":\"{word}\",\"value_{field}\":{}",
                random.u32(..)
            );
        }
        let _ = write!(text, ",\"pad\":\"");
        while text.len() < RECORD_BYTES - 2 {
            text.push(random.alphanumeric());
        }
        text + "\"}"
    };
    (0..count).map(value).collect()
}

/// Counts what was acknowledged, and keeps the first refusal.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    delivered: AtomicU64,
    failure: OnceLock<String>,
}

impl Deliveries {
    /// Records acknowledged so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// # Errors
    /// A record was refused.
    pub(crate) fn check(&self) -> Result<()> {
        match self.failure.get() {
            Some(failure) => bail!("a record was refused: {failure}"),
            None => Ok(()),
        }
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                // Only the first one is told.
                let _ = self.failure.set(error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use log_broker::{Broker, BrokerConfig};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn records_one_by_one_are_all_timed() {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (address, stop, serving, broker) = runtime.block_on(async {
            let broker = Broker::open(BrokerConfig::in_folder(folder.path())).expect("opened");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("bound").to_string();
            let (stop, stopped) = oneshot::channel();
            let server = broker.clone();
            let serving = tokio::spawn(async move { server.serve(listener, stopped).await });
            (address, stop, serving, broker)
        });
        let driver = Driver::new(&address, std::process::id(), 1).expect("a driver");
        let plan = Plan {
            topic: "t",
            values: &driver.values,
            rate: 100_000,
            records: 300,
        };
        let timed = driver.with_topic("t", || one_by_one::send(&address, plan));
        assert_eq!(timed.expect("all are acknowledged").len(), 300);
        stop.send(()).expect("it serves");
        runtime.block_on(async {
            serving.await.expect("joined").expect("served");
            broker.close().await.expect("closed");
        });
    }

    #[test]
    fn values_are_json_of_one_size() {
        for value in values(100) {
            assert_eq!(value.len(), RECORD_BYTES);
            serde_json::from_str::<serde_json::Value>(&value).expect("JSON");
        }
    }
}
