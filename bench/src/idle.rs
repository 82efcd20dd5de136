//! A server without work: its memory, its start, its stop.
//!
//! ```text
//! spawn ──▶ ready line ──▶ first acknowledged record ──▶ (kill)         one server
//! spawn ──▶ ready line ──▶ nothing for a while: memory ──▶ SIGTERM ──▶ gone     another one
//! spawn ──▶ many partitions are made ──▶ nothing for a while: CPU, memory       the last one
//! ```

use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::Place;
use crate::log::first_record;
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
    /// Partitions of the server that rests with them
    #[arg(long, default_value_t = Self::default().partitions, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: u32,
}

impl Default for IdleArgs {
    fn default() -> Self {
        Self {
            rounds: 5,
            settle_ms: 2000,
            partitions: 10_000,
        }
    }
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(place: &Place, args: &IdleArgs) -> Result<()> {
    let mut ready = Vec::new();
    let mut first = Vec::new();
    let mut memory: Vec<Memory> = Vec::new();
    let mut stop = Vec::new();
    for _ in 0..args.rounds {
        let server = Server::start(place)?;
        ready.push(server.ready_after.as_secs_f64() * 1e3);
        first.push(first_record(&server.kafka, server.spawned)?.as_secs_f64() * 1e3);
        drop(server);

        let server = Server::start(place)?;
        ready.push(server.ready_after.as_secs_f64() * 1e3);
        thread::sleep(Duration::from_millis(args.settle_ms));
        memory.push(machine::memory(server.pid())?);
        stop.push(server.stop()?.as_secs_f64() * 1e3);
    }
    let rest = rest(place, args.partitions)?;
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
            row("spawn to first acknowledged record, ms", &first),
            row("resident (VmRSS), MiB", &resident),
            row("anonymous (RssAnon), MiB", &anonymous),
            row("SIGTERM to exit, ms", &stop),
        ],
    );
    report::print(
        &format!("idle: a server with {} empty partitions", args.partitions),
        &["", "figure"],
        &[
            vec!["CPU, % of a core".to_owned(), figure(rest.cpu * 100.0, 2)],
            vec![
                "resident (VmRSS), MiB".to_owned(),
                figure(mib(rest.memory.resident_kib), 0),
            ],
            vec![
                "anonymous (RssAnon), MiB".to_owned(),
                figure(mib(rest.memory.anonymous_kib), 0),
            ],
        ],
    );
    Ok(())
}

/// A server that has many partitions and nothing to do.
struct Rest {
    /// Of one core.
    cpu: f64,
    memory: Memory,
}

/// Partitions of one topic.
const TOPIC_PARTITIONS: u32 = 100;
/// How long the server is watched.
const WATCHED: Duration = Duration::from_secs(20);

fn rest(place: &Place, partitions: u32) -> Result<Rest> {
    let server = Server::start(place)?;
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &server.kafka)
        .create()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for number in 0..partitions.div_ceil(TOPIC_PARTITIONS) {
        let of_topic = TOPIC_PARTITIONS.min(partitions - number * TOPIC_PARTITIONS);
        let name = format!("rest-{number}");
        let topic = NewTopic::new(&name, of_topic.cast_signed(), TopicReplication::Fixed(1));
        let created = admin.create_topics([&topic], &AdminOptions::new());
        for created in runtime.block_on(created)? {
            created.map_err(|(topic, code)| anyhow::anyhow!("topic {topic}: {code}"))?;
        }
    }
    drop(admin);
    thread::sleep(WATCHED / 4);
    let before = machine::cpu_seconds(server.pid())?;
    thread::sleep(WATCHED);
    let used = machine::cpu_seconds(server.pid())? - before;
    let memory = machine::memory(server.pid())?;
    server.stop()?;
    Ok(Rest {
        cpu: used / WATCHED.as_secs_f64(),
        memory,
    })
}
