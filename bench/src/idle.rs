//! A server without work: its memory, its start, its stop.
//!
//! ```text
//! spawn ──▶ ready line ──▶ first acknowledged record ──▶ (kill)         one server
//! spawn ──▶ ready line ──▶ nothing for a while: memory ──▶ SIGTERM ──▶ gone     another one
//! ```

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::Place;
use crate::log::Deliveries;
use crate::machine::{self, Memory};
use crate::report::{self, figure, median, min};
use crate::server::Server;

/// Sizes of the benchmark.
#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    /// Servers to start for each figure
    #[arg(long, default_value_t = Self::default().rounds, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Time without work before memory is looked at, ms
    #[arg(long, default_value_t = Self::default().settle_ms)]
    settle_ms: u64,
}

impl Default for IdleArgs {
    fn default() -> Self {
        Self {
            rounds: 5,
            settle_ms: 2000,
        }
    }
}

/// A record that is not acknowledged by then never will be.
const RECORD_WAIT: Duration = Duration::from_secs(30);

/// Runs the benchmark and prints its table.
pub(crate) fn run(place: &Place, args: &IdleArgs) -> Result<()> {
    let mut ready = Vec::new();
    let mut first_record = Vec::new();
    let mut memory: Vec<Memory> = Vec::new();
    let mut stop = Vec::new();
    for _ in 0..args.rounds {
        let server = Server::start(place)?;
        ready.push(server.ready_after.as_secs_f64() * 1e3);
        first_record.push(send_one(&server)?.as_secs_f64() * 1e3);
        drop(server);

        let server = Server::start(place)?;
        ready.push(server.ready_after.as_secs_f64() * 1e3);
        thread::sleep(Duration::from_millis(args.settle_ms));
        memory.push(machine::memory(server.pid())?);
        stop.push(server.stop()?.as_secs_f64() * 1e3);
    }
    let mib = |kib: u64| kib as f64 / 1024.0;
    let resident: Vec<f64> = memory
        .iter()
        .map(|memory| mib(memory.resident_kib))
        .collect();
    let anonymous: Vec<f64> = memory
        .iter()
        .map(|memory| mib(memory.anonymous_kib))
        .collect();
    let row = |name: &str, values: &[f64]| {
        let values = values.iter().copied();
        vec![
            name.to_owned(),
            figure(min(values.clone()), 1),
            figure(median(values.clone()), 1),
            figure(values.fold(f64::NAN, f64::max), 1),
        ]
    };
    report::print(
        "idle: a fresh server on an empty folder",
        &["", "min", "median", "max"],
        &[
            row("spawn to ready line, ms", &ready),
            row("spawn to first acknowledged record, ms", &first_record),
            row("resident (VmRSS), MiB", &resident),
            row("anonymous (RssAnon), MiB", &anonymous),
            row("SIGTERM to exit, ms", &stop),
        ],
    );
    Ok(())
}

/// Sends one record to a topic that is not there yet; gives the time from the server's start to the acknowledgement.
fn send_one(server: &Server) -> Result<Duration> {
    let producer: BaseProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", &server.kafka)
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
            return Ok(server.spawned.elapsed());
        }
        if asked.elapsed() > RECORD_WAIT {
            bail!("no acknowledgement within {} s", RECORD_WAIT.as_secs());
        }
    }
}
