//! From append to visible: rows come at a steady rate, go through a view, and a reader of committed records sees them.
//!
//! ```text
//! send, with the clock in the record ──▶ topic ──▶ view (exactly-once, commits of 50 ms) ──▶ its topic ──▶ read_committed: clock − sent
//! ```
//!
//! CPU is that of the server alone. The row that waits longest for a commit waits for a whole interval.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::Place;
use crate::machine;
use crate::report::{self, figure};
use crate::server::Server;

const VIEW: &str = "seen";
/// A reader that hears nothing for so long gives up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The first rows open segments and warm caches.
const WARM_SECONDS: u64 = 2;

/// Sizes of the benchmark.
#[derive(Debug, Clone, Args)]
pub(crate) struct VisibleArgs {
    /// Rows a second
    #[arg(long, default_value_t = Self::default().rate, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How long, s
    #[arg(long, default_value_t = Self::default().seconds, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Time between two commits of the view, ms
    #[arg(long, default_value_t = Self::default().commit_ms, value_parser = clap::value_parser!(u64).range(1..))]
    commit_ms: u64,
}

impl Default for VisibleArgs {
    fn default() -> Self {
        Self {
            rate: 5_000,
            seconds: 30,
            commit_ms: 50,
        }
    }
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(place: &Place, args: &VisibleArgs) -> Result<()> {
    let commits = format!("streams.commit_interval_ms={}", args.commit_ms);
    let server = Server::start_with(place, &[&commits])?;
    server.sql(&format!(
        "CREATE SOURCE sent (id BIGINT, at_us BIGINT) WITH (topic = 'sent'); \
         CREATE MATERIALIZED VIEW {VIEW} AS SELECT id, at_us FROM sent WHERE id >= 0"
    ))?;
    let rows = u64::from(args.rate) * (args.seconds + WARM_SECONDS);
    let clock = Instant::now();
    let stopped = AtomicBool::new(false);
    let mut cpu = 0.0;
    let latencies = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&server.kafka, rows, clock, &stopped));
        let sent = send(&server, args.rate, rows, clock);
        if sent.is_err() {
            stopped.store(true, Ordering::Relaxed);
        }
        let read = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
        cpu = machine::cpu_seconds(server.pid())? - sent?;
        read
    })?;
    server.stop()?;
    let mut latencies: Vec<u64> = latencies
        .into_iter()
        .skip(args.rate as usize * WARM_SECONDS as usize)
        .collect();
    latencies.sort_unstable();
    let quantile = |of_thousand: usize| {
        let at = (latencies.len() * of_thousand / 1000).min(latencies.len() - 1);
        latencies[at] as f64 / 1e3
    };
    report::print(
        &format!(
            "visible: {} rows a second for {} s, commits of {} ms",
            args.rate, args.seconds, args.commit_ms
        ),
        &[
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "largest ms",
            "CPU, % of a core",
        ],
        &[vec![
            figure(quantile(500), 1),
            figure(quantile(990), 1),
            figure(quantile(999), 1),
            figure(quantile(1000), 1),
            figure(cpu / args.seconds as f64 * 100.0, 1),
        ]],
    );
    Ok(())
}

/// Sends rows at their time; gives the server's CPU when it was warm.
fn send(server: &Server, rate: u32, rows: u64, clock: Instant) -> Result<f64> {
    let producer: BaseProducer = client(&server.kafka)
        .set("linger.ms", "1")
        .set("acks", "all")
        .create()?;
    let mut cpu = machine::cpu_seconds(server.pid())?;
    let started = clock.elapsed();
    for number in 0..rows {
        let due = started + Duration::from_nanos(number * 1_000_000_000 / u64::from(rate));
        while let Some(early) = due.checked_sub(clock.elapsed()) {
            producer.poll(early.min(Duration::from_millis(1)));
        }
        if number == u64::from(rate) * WARM_SECONDS {
            cpu = machine::cpu_seconds(server.pid())?;
        }
        let value = format!(
            r#"{{"id":{number},"at_us":{}}}"#,
            clock.elapsed().as_micros()
        );
        let record: BaseRecord<'_, (), str> = BaseRecord::to("sent").payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(SILENCE_MAX)?;
    Ok(cpu)
}

/// Reads the view's topic; gives what each row took, µs, in the order of their coming.
fn read(address: &str, rows: u64, clock: Instant, stopped: &AtomicBool) -> Result<Vec<u64>> {
    let consumer: BaseConsumer = client(address)
        .set("group.id", "visible")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(VIEW), SILENCE_MAX)?;
    let topic = metadata.topics().first().context("the view has a topic")?;
    let mut partitions = TopicPartitionList::new();
    for partition in topic.partitions() {
        partitions.add_partition_offset(VIEW, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    let mut latencies = Vec::new();
    let mut heard = Instant::now();
    while (latencies.len() as u64) < rows {
        ensure!(!stopped.load(Ordering::Relaxed), "the sender gave up");
        match consumer.poll(Duration::from_millis(100)) {
            Some(record) => {
                let record = record?;
                let now = u64::try_from(clock.elapsed().as_micros())?;
                let row: serde_json::Value =
                    serde_json::from_slice(record.payload().context("a row has a value")?)?;
                let sent = row["at_us"].as_u64().context("a row has its time")?;
                latencies.push(now.saturating_sub(sent));
                heard = Instant::now();
            }
            None if heard.elapsed() > SILENCE_MAX => {
                bail!("{} of {rows} rows were seen", latencies.len());
            }
            None => {}
        }
    }
    Ok(latencies)
}

fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    config
}
