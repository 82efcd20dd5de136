//! The log under a Kafka client, beside Apache Kafka: what the broker's process costs to accept and to serve records of
//! 1 KiB, in batches and one by one.
//!
//! ```text
//! this process, core 1: librdkafka, and for records one by one plain sockets
//!                                  ──TCP──▶ thalweg server, core 0     in turns, in one run
//!                                  ──TCP──▶ Apache Kafka, core 0       (with --kafka)
//! ```
//!
//! What one side wrote is on disk before the other's turn begins: a sync of one must not wait for what the other left. With `--dir-kafka`
//! each has a disk of its own.
//!
//! A GB is 10⁹ bytes of record values before compression. CPU is the broker's process alone. The first touch of memory
//! is slow on virtual machines, and a JVM is slow before it has compiled itself: each side is warmed up, uncounted.

mod driver;
mod one_by_one;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

pub(crate) use self::driver::first_record;
use self::driver::{Driver, RECORD_BYTES, Run, Steady};
use crate::Place;
use crate::kafka::Kafka;
use crate::machine;
use crate::report::{self, figure, median, min};
use crate::server::Server;

/// Sizes of the benchmark.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Record values of one run, MiB
    #[arg(long, default_value_t = Self::default().mib, value_parser = clap::value_parser!(u64).range(1..))]
    mib: u64,
    /// Counted runs of each kind
    #[arg(long, default_value_t = Self::default().rounds, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Partitions of the topic
    #[arg(long, default_value_t = Self::default().partitions, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Records sent one by one, a second
    #[arg(long, default_value_t = Self::default().steady, value_parser = clap::value_parser!(u32).range(1..))]
    steady: u32,
    /// How long they are sent, s
    #[arg(long, default_value_t = Self::default().steady_s, value_parser = clap::value_parser!(u32).range(1..))]
    steady_s: u32,
    /// How long Apache Kafka is warmed up, s
    #[arg(long, default_value_t = Self::default().warm_up_s)]
    warm_up_s: u64,
}

impl Default for LogArgs {
    fn default() -> Self {
        Self {
            mib: 1024,
            rounds: 2,
            partitions: 1,
            steady: 5000,
            steady_s: 20,
            warm_up_s: 180,
        }
    }
}

impl LogArgs {
    fn records(&self) -> u64 {
        (self.mib << 20) / RECORD_BYTES as u64
    }
}

/// The codecs that are measured.
const CODECS: [&str; 2] = ["none", "zstd"];

/// One of the two that are compared.
struct Side {
    driver: Driver,
    first_record: Duration,
    runs: [Vec<Run>; CODECS.len()],
    steady: Vec<Steady>,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(place: &Place, args: &LogArgs) -> Result<()> {
    let cores = machine::two_cores();
    if let Some((_, driver)) = cores {
        machine::stay_on(driver)?;
    }
    let core = cores.map(|(broker, _)| broker);
    let server = Server::start_on(place, core)?;
    let thalweg = Side::new(&server.kafka, server.pid(), server.spawned, args)?;
    let jars = place.kafka.as_deref();
    let kafka = jars.map(|jars| Kafka::start(place, jars, core));
    let kafka = kafka.transpose()?;
    let mut sides = vec![thalweg];
    if let Some(kafka) = &kafka {
        sides.push(Side::new(&kafka.address, kafka.pid(), kafka.spawned, args)?);
    }
    for (number, side) in sides.iter().enumerate() {
        let warm_up = Duration::from_secs(if number == 0 { 0 } else { args.warm_up_s });
        rustix::fs::sync();
        side.warm_up(args, warm_up)?;
    }
    for round in 0..args.rounds {
        for side in &mut sides {
            rustix::fs::sync();
            side.round(args, round)?;
        }
    }
    let measured = sides.iter().map(|side| side.figures(args));
    let measured = measured.collect::<Result<Vec<_>>>()?;
    drop((sides, kafka));
    server.stop()?;
    print(args, &measured, jars);
    Ok(())
}

/// What the table says of one quantity: its name, the figure, and how many decimals are worth it.
struct Figure(String, f64, usize);

impl Side {
    fn new(address: &str, pid: u32, spawned: Instant, args: &LogArgs) -> Result<Self> {
        let first_record = first_record(address, spawned)?;
        Ok(Self {
            driver: Driver::new(address, pid, args.partitions)?,
            first_record,
            runs: Default::default(),
            steady: Vec::new(),
        })
    }

    /// Every kind of work once at full size, and again until so much time has passed.
    fn warm_up(&self, args: &LogArgs, at_least: Duration) -> Result<()> {
        let started = Instant::now();
        for turn in 0.. {
            for codec in CODECS {
                let topic = format!("warm-up-{codec}-{turn}");
                self.driver.run(&topic, codec, args.records())?;
            }
            let topic = format!("warm-up-steady-{turn}");
            self.driver.steady(&topic, args.steady, args.steady_s)?;
            if started.elapsed() >= at_least {
                break;
            }
        }
        Ok(())
    }

    fn round(&mut self, args: &LogArgs, round: u32) -> Result<()> {
        for (codec, runs) in CODECS.iter().zip(&mut self.runs) {
            let topic = format!("{codec}-{round}");
            runs.push(self.driver.run(&topic, codec, args.records())?);
        }
        let topic = format!("steady-{round}");
        let steady = self.driver.steady(&topic, args.steady, args.steady_s)?;
        self.steady.push(steady);
        Ok(())
    }

    fn figures(&self, args: &LogArgs) -> Result<Vec<Figure>> {
        let gigabytes = (args.records() * RECORD_BYTES as u64) as f64 / 1e9;
        let mut figures = Vec::new();
        for (codec, runs) in CODECS.iter().zip(&self.runs) {
            let produce: Vec<_> = runs.iter().map(|run| run.produce).collect();
            let consume: Vec<_> = runs.iter().map(|run| run.consume).collect();
            for (direction, costs) in [("produce", produce), ("consume", consume)] {
                let cpu = min(costs.iter().map(|cost| cost.cpu)) / gigabytes;
                figures.push(Figure(format!("{direction} {codec}, CPU s/GB"), cpu, 2));
                let wall = min(costs.iter().map(|cost| cost.wall));
                let speed = gigabytes * 1e3 / wall;
                figures.push(Figure(format!("{direction} {codec}, MB/s"), speed, 0));
            }
        }
        let steady = |of: fn(&Steady) -> f64| self.steady.iter().map(of);
        let cpu = min(steady(|steady| steady.cpu_per_million));
        figures.push(Figure("one by one, CPU s/million".to_owned(), cpu, 1));
        let p50 = median(steady(|steady| steady.p50_ms));
        figures.push(Figure("one by one, p50 ms".to_owned(), p50, 3));
        let p99 = median(steady(|steady| steady.p99_ms));
        figures.push(Figure("one by one, p99 ms".to_owned(), p99, 3));
        let memory = machine::memory(self.driver.pid())?;
        let mib = |kib: u64| kib as f64 / 1024.0;
        let (resident, anonymous) = (mib(memory.resident_kib), mib(memory.anonymous_kib));
        figures.push(Figure("resident after it, MiB".to_owned(), resident, 0));
        figures.push(Figure("of it anonymous, MiB".to_owned(), anonymous, 0));
        let first = self.first_record.as_secs_f64() * 1e3;
        figures.push(Figure("start to first record, ms".to_owned(), first, 0));
        Ok(figures)
    }
}

fn print(args: &LogArgs, sides: &[Vec<Figure>], jars: Option<&Path>) {
    let rows = sides[0]
        .iter()
        .enumerate()
        .map(|(row, Figure(name, own, decimals))| {
            let peer = sides.get(1).map_or(f64::NAN, |peer| peer[row].1);
            vec![
                name.clone(),
                figure(*own, *decimals),
                figure(peer, *decimals),
                figure(own / peer, 2),
            ]
        });
    report::print(
        &format!(
            "log: {} MiB of {RECORD_BYTES} B records, {} partition(s), acks=all, {} round(s); {} records/s one by one{}",
            args.mib,
            args.partitions,
            args.rounds,
            args.steady,
            if jars.is_some() {
                ""
            } else {
                " (without --kafka there is no peer)"
            }
        ),
        &["", "Thalweg", "Kafka", "ratio"],
        &rows.collect::<Vec<_>>(),
    );
}
