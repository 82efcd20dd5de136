//! A tumbling count, sum and max per key: a durable job over a topic beside plain DataFusion over a file.
//!
//! ```text
//! rows.rs   the same JSON rows ──┬──▶ topic (embedded broker) ──▶ job.rs: exactly-once job, RocksDB, commits
//!                                └──▶ file of JSON lines ───────▶ peer.rs: DataFusion, one partition
//!                                                                 CPU of this process, and: equal answers
//! ```
//!
//! Both run in this process, in turns: job, DataFusion, job, DataFusion, …; the first turn of each warms memory and
//! page cache and is not counted. A job counts from its start to the commit that covers the last record.

mod job;
mod peer;
mod rows;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use self::rows::{Answer, Rows};
use crate::Place;
use crate::meter::Cost;
use crate::report::{self, figure, median, min};

/// Sizes of the benchmark.
#[derive(Debug, Clone, Args)]
pub(crate) struct WindowArgs {
    /// Records, about 100 bytes each, 1 ms of event time apart
    #[arg(long, default_value_t = Self::default().records, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Different keys
    #[arg(long, default_value_t = Self::default().keys, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Window length, ms
    #[arg(long, default_value_t = Self::default().window_ms, value_parser = clap::value_parser!(i64).range(1..))]
    window_ms: i64,
    /// Partitions of the topic
    #[arg(long, default_value_t = Self::default().partitions, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Time between two commits of the job, ms
    #[arg(long, default_value_t = Self::default().commit_ms)]
    commit_ms: u64,
    /// Counted turns of each side
    #[arg(long, default_value_t = Self::default().rounds, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Run one side only, for a profiler; nothing is compared
    #[arg(long)]
    only: Option<Side>,
}

impl Default for WindowArgs {
    fn default() -> Self {
        Self {
            records: 5_000_000,
            keys: 1000,
            window_ms: 60_000,
            partitions: 4,
            commit_ms: 200,
            rounds: 2,
            only: None,
        }
    }
}

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Side {
    /// The job.
    Job,
    /// DataFusion.
    Datafusion,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(place: &Place, args: &WindowArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let folder = place.folder()?;
    runtime.block_on(async {
        let file = folder.path().join("rows.json");
        let bench = job::Bench::open(folder.path(), args)?;
        let bytes = Rows::new(args).write(&bench, &file).await?;
        let mut costs: [Vec<Cost>; 2] = [Vec::new(), Vec::new()];
        let mut facts = job::Facts::default();
        for round in 0..=args.rounds {
            let mut answers: Vec<Vec<Answer>> = Vec::new();
            if args.only != Some(Side::Datafusion) {
                let (cost, answer, ran) = bench.turn(round).await?;
                costs[0].push(cost);
                answers.push(answer);
                facts = ran;
            }
            if args.only != Some(Side::Job) {
                let (cost, answer) = peer::turn(&file, args).await?;
                costs[1].push(cost);
                answers.push(answer);
            }
            if let [job, peer] = answers.as_slice() {
                compare(job, peer)?;
            }
        }
        bench.close().await?;
        print(args, bytes, &costs, &facts);
        Ok(())
    })
}

/// # Errors
/// The answers differ; the first difference is named.
fn compare(job: &[Answer], peer: &[Answer]) -> Result<()> {
    let different = job.iter().zip(peer).find(|(job, peer)| job != peer);
    ensure!(
        different.is_none(),
        "the answers differ: (job, DataFusion) = {different:?}"
    );
    ensure!(
        job.len() == peer.len(),
        "the job has {} groups, DataFusion {}",
        job.len(),
        peer.len()
    );
    Ok(())
}

fn print(args: &WindowArgs, bytes: u64, costs: &[Vec<Cost>; 2], facts: &job::Facts) {
    // The first turn warmed up.
    let cpu = |side: usize| costs[side].iter().skip(1).map(|cost| cost.cpu);
    let wall = |side: usize| costs[side].iter().skip(1).map(|cost| cost.wall);
    let row = |side: usize, name: &str| {
        vec![
            name.to_owned(),
            figure(min(cpu(side)), 2),
            figure(median(cpu(side)), 2),
            figure(args.records as f64 / 1e6 / median(cpu(side)), 2),
            figure(min(wall(side)), 2),
        ]
    };
    let ratio = vec![
        "ratio job / DataFusion".to_owned(),
        figure(min(cpu(0)) / min(cpu(1)), 2),
        figure(median(cpu(0)) / median(cpu(1)), 2),
        String::new(),
        figure(min(wall(0)) / min(wall(1)), 2),
    ];
    report::print(
        &format!(
            "window: {} records of {} B on average, {} keys, windows of {} ms, {} partition(s), commit every {} ms, {} round(s)\n\
             job: {} groups, {} output records, {} commits",
            args.records,
            bytes / args.records,
            args.keys,
            args.window_ms,
            args.partitions,
            args.commit_ms,
            args.rounds,
            facts.groups,
            facts.rows_out,
            facts.commits,
        ),
        &[
            "",
            "CPU s (min)",
            "CPU s (median)",
            "M events / CPU s (median)",
            "wall s (min)",
        ],
        &[
            row(0, "Thalweg job, exactly-once"),
            row(1, "DataFusion, file"),
            ratio,
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_and_datafusion_agree() {
        let place = Place {
            dir: None,
            thalweg: None,
            kafka: None,
            dir_kafka: None,
        };
        let args = WindowArgs {
            records: 20_000,
            keys: 10,
            window_ms: 1000,
            rounds: 1,
            ..WindowArgs::default()
        };
        run(&place, &args).expect("the benchmark runs and its answers agree");
    }
}
