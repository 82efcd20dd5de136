//! The log under a Kafka client: server CPU a GB to accept and to serve records of 1 KiB, and speed.
//!
//! ```text
//! this process: librdkafka producer ──TCP──▶ thalweg server ──TCP──▶ librdkafka consumer: this process
//!                                            CPU from /proc
//! ```
//!
//! A GB is 10⁹ bytes of record values before compression. The driver shares the machine's cores with the server, so the
//! speed is that of both; the CPU is the server's alone. The first touch of memory is slow on virtual machines: a
//! warm-up of the same size comes first, and is not counted.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

use crate::Place;
use crate::machine;
use crate::report::{self, figure, median, min};
use crate::server::Server;

/// Bytes of one record's value.
const RECORD_BYTES: usize = 1024;
/// Different values, so many that a compressed batch does not hold one twice.
const VALUES: usize = 16 * 1024;
/// A client that hears nothing for so long gives up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Sizes of the benchmark.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Record values of one run, MiB
    #[arg(long, default_value_t = Self::default().mib, value_parser = clap::value_parser!(u64).range(1..))]
    mib: u64,
    /// Record values of the warm-up, MiB; 0 for none [default: as --mib]
    #[arg(long)]
    warm_up_mib: Option<u64>,
    /// Counted runs of each kind
    #[arg(long, default_value_t = Self::default().rounds, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Partitions of the topic
    #[arg(long, default_value_t = Self::default().partitions, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
}

impl Default for LogArgs {
    fn default() -> Self {
        Self {
            mib: 1024,
            warm_up_mib: None,
            rounds: 2,
            partitions: 1,
        }
    }
}

/// What one direction cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    server_cpu: f64,
    wall: f64,
}

/// What one run cost.
#[derive(Debug, Clone, Copy)]
struct Run {
    produce: Cost,
    consume: Cost,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(place: &Place, args: &LogArgs) -> Result<()> {
    let server = Server::start(place)?;
    let driver = Driver::new(&server, args.partitions)?;
    let records = |mib: u64| (mib << 20) / RECORD_BYTES as u64;
    let warm_up = records(args.warm_up_mib.unwrap_or(args.mib));
    if warm_up > 0 {
        driver.run("warm-up", "none", warm_up)?;
    }
    let mut runs: Vec<(&str, Vec<Run>)> = vec![("none", Vec::new()), ("zstd", Vec::new())];
    for round in 0..args.rounds {
        for (codec, runs) in &mut runs {
            runs.push(driver.run(&format!("{codec}-{round}"), codec, records(args.mib))?);
        }
    }
    drop(driver);
    server.stop()?;

    let bytes = (records(args.mib) * RECORD_BYTES as u64) as f64;
    let mut rows = Vec::new();
    for (codec, runs) in &runs {
        let produce: Vec<Cost> = runs.iter().map(|run| run.produce).collect();
        let consume: Vec<Cost> = runs.iter().map(|run| run.consume).collect();
        for (direction, costs) in [("produce", produce), ("consume", consume)] {
            let cpu = || costs.iter().map(|cost| cost.server_cpu / (bytes / 1e9));
            rows.push(vec![
                format!("{direction}, {codec}"),
                figure(min(cpu()), 2),
                figure(median(cpu()), 2),
                figure(bytes / 1e6 / min(costs.iter().map(|cost| cost.wall)), 0),
            ]);
        }
    }
    report::print(
        &format!(
            "log: {} MiB of {RECORD_BYTES} B records, {} partition(s), acks=all, {} round(s)",
            args.mib, args.partitions, args.rounds
        ),
        &["", "server CPU s/GB (min)", "(median)", "MB/s (best)"],
        &rows,
    );
    Ok(())
}

/// Drives one server.
struct Driver<'a> {
    server: &'a Server,
    partitions: i32,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    values: Vec<String>,
}

impl<'a> Driver<'a> {
    fn new(server: &'a Server, partitions: i32) -> Result<Self> {
        Ok(Self {
            server,
            partitions,
            admin: client(server).create()?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            values: values(VALUES),
        })
    }

    /// Produces and consumes `records` through a topic of their own.
    fn run(&self, topic: &str, codec: &str, records: u64) -> Result<Run> {
        let new = NewTopic::new(topic, self.partitions, TopicReplication::Fixed(1));
        let created = self
            .runtime
            .block_on(self.admin.create_topics([&new], &AdminOptions::new()))?;
        outcome(created)?;
        let produce = self.measured(|| self.produce(topic, codec, records))?;
        let consume = self.measured(|| self.consume(topic, records))?;
        let deleted = self
            .runtime
            .block_on(self.admin.delete_topics(&[topic], &AdminOptions::new()))?;
        outcome(deleted)?;
        Ok(Run { produce, consume })
    }

    fn measured(&self, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
        let cpu = machine::cpu_seconds(self.server.pid())?;
        let started = Instant::now();
        work()?;
        let wall = started.elapsed().as_secs_f64();
        Ok(Cost {
            server_cpu: machine::cpu_seconds(self.server.pid())? - cpu,
            wall,
        })
    }

    fn produce(&self, topic: &str, codec: &str, records: u64) -> Result<()> {
        let producer: BaseProducer<Deliveries> = client(self.server)
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
        let consumer: BaseConsumer = client(self.server)
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

fn client(server: &Server) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &server.kafka);
    config
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
    use super::*;

    #[test]
    fn values_are_json_of_one_size() {
        for value in values(100) {
            assert_eq!(value.len(), RECORD_BYTES);
            serde_json::from_str::<serde_json::Value>(&value).expect("JSON");
        }
    }
}
