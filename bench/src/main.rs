//! Benchmarks of Thalweg, each beside a peer or against an aim. `README.md` in this folder says what they measure and
//! how to write the figures down.
//!
//! ```text
//! window   one process: a durable windowed job over a topic  |  plain DataFusion over the same rows in a file
//! join     one process: a durable join of a stream with a table that changes  |  DataFusion's hash join over files
//! log      this process drives a server as a Kafka client: CPU to accept and to serve  |  Apache Kafka
//! state    a server in little memory: what a row costs and what memory it takes, as state grows far beyond it
//! visible  how soon a row that was appended is seen in a view by a reader of committed records
//! idle     memory of a server without work; how soon after its start it takes a record
//! ```
//!
//! Every benchmark is bounded, ends by itself, and removes what it wrote.

mod idle;
mod join;
mod kafka;
mod log;
mod machine;
mod meter;
mod report;
mod running;
mod server;
mod state;
mod visible;
mod window;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

/// The one that the product has, so that both sides of `window` run on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Benchmarks of Thalweg
#[derive(Debug, Parser)]
#[command(
    max_term_width = 100,
    after_help = "\
Examples:
  bench window
  bench log --mib 256 --rounds 1
  bench all --dir /var/tmp"
)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    benchmark: Benchmark,
}

/// What all benchmarks share.
#[derive(Debug, Args)]
struct Place {
    /// Folder for data, on a real disk; each benchmark makes one of its own in it and removes it
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The `thalweg` program [default: beside this one]
    #[arg(long, global = true, value_name = "FILE")]
    thalweg: Option<PathBuf>,
    /// Folder with the jars of Apache Kafka, to measure it beside the log (`make bench` fetches them)
    #[arg(long, global = true, value_name = "DIR")]
    kafka: Option<PathBuf>,
    /// Folder for the data of Apache Kafka, on a disk of its own if there is one [default: that of --dir]
    #[arg(long, global = true, value_name = "DIR", requires = "kafka")]
    dir_kafka: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// CPU of a windowed job beside plain DataFusion
    Window(window::WindowArgs),
    /// CPU of a join with a table beside DataFusion's hash join
    Join(join::JoinArgs),
    /// CPU and speed of the log under a Kafka client
    Log(log::LogArgs),
    /// Cost of a row and memory, as state grows far beyond memory.limit
    State(state::StateArgs),
    /// From append to visible at read_committed
    Visible(visible::VisibleArgs),
    /// Memory of an idle server, and its start
    Idle(idle::IdleArgs),
    /// All of them with their defaults
    All,
}

fn main() -> ExitCode {
    let Arguments { place, benchmark } = Arguments::parse();
    // Warnings of the engine under test belong beside the figures that they explain.
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .init();
    println!("{}\n", machine::description());
    match run(&place, &benchmark) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(place: &Place, benchmark: &Benchmark) -> Result<()> {
    match benchmark {
        Benchmark::Window(args) => window::run(place, args),
        Benchmark::Join(args) => join::run(place, args),
        Benchmark::Log(args) => log::run(place, args),
        Benchmark::State(args) => state::run(place, args),
        Benchmark::Visible(args) => visible::run(place, args),
        Benchmark::Idle(args) => idle::run(place, args),
        Benchmark::All => {
            window::run(place, &window::WindowArgs::default())?;
            join::run(place, &join::JoinArgs::default())?;
            log::run(place, &log::LogArgs::default())?;
            state::run(place, &state::StateArgs::default())?;
            visible::run(place, &visible::VisibleArgs::default())?;
            idle::run(place, &idle::IdleArgs::default())
        }
    }
}

impl Place {
    /// A folder of a benchmark's own; it goes with the value.
    fn folder(&self) -> Result<tempfile::TempDir> {
        Self::folder_in(self.dir.as_ref())
    }

    /// The same for Apache Kafka.
    fn kafka_folder(&self) -> Result<tempfile::TempDir> {
        Self::folder_in(self.dir_kafka.as_ref().or(self.dir.as_ref()))
    }

    fn folder_in(parent: Option<&PathBuf>) -> Result<tempfile::TempDir> {
        let parent = parent.cloned().unwrap_or_else(std::env::temp_dir);
        std::fs::create_dir_all(&parent)?;
        Ok(tempfile::Builder::new()
            .prefix("thalweg-bench-")
            .tempdir_in(parent)?)
    }
}
