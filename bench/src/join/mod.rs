//! A stream of facts with the rows of a table that changes: a durable job over two topics beside DataFusion's hash join over
//! files.
//!
//! ```text
//! facts (k, v)         ──┬──▶ topic, file ─▶ JOIN ON k = id ─▶ count and sum by region
//! places (id, region)  ──┘                    ▲
//!                                             └ a part of the places move to another region when all facts are in:
//!                                               the job corrects what it said, DataFusion reads the last rows only
//! ```
//!
//! The job runs with one token and one thread, then with two of each; a turn counts from the job's start to the commit
//! that covers the last move. The first turn of each warms memory and page cache and is not counted.

mod job;
mod peer;
mod rows;

use anyhow::{Result, ensure};
use clap::Args;

use self::rows::{Answer, Rows};
use crate::Place;
use crate::meter::Cost;
use crate::report::{self, figure, min};

/// Sizes of the benchmark.
#[derive(Debug, Clone, Args)]
pub(crate) struct JoinArgs {
    /// Facts, about 100 bytes each
    #[arg(long, default_value_t = Self::default().records, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Rows of the table, one run for each number
    #[arg(long, value_delimiter = ',', default_values_t = Self::default().table_rows)]
    table_rows: Vec<u64>,
    /// Rows of the table of 1,000 that move when all facts are in
    #[arg(long, default_value_t = Self::default().moves_per_mille, value_parser = clap::value_parser!(u64).range(..=1000))]
    moves_per_mille: u64,
    /// Partitions of each topic
    #[arg(long, default_value_t = Self::default().partitions, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Time between two commits of the job, ms
    #[arg(long, default_value_t = Self::default().commit_ms)]
    commit_ms: u64,
    /// Counted turns of each side
    #[arg(long, default_value_t = Self::default().rounds, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

impl Default for JoinArgs {
    fn default() -> Self {
        Self {
            records: 5_000_000,
            table_rows: vec![100_000, 1_000_000],
            moves_per_mille: 10,
            partitions: 4,
            commit_ms: 200,
            rounds: 1,
        }
    }
}

/// Tokens and threads of the job.
const TOKENS: [usize; 2] = [1, 2];

/// Runs the benchmark and prints its tables.
pub(crate) fn run(place: &Place, args: &JoinArgs) -> Result<()> {
    for &table_rows in &args.table_rows {
        ensure!(table_rows > 0, "a table without rows joins nothing");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let folder = place.folder()?;
        let rows = Rows::new(args, table_rows);
        runtime.block_on(async {
            let bench = job::Bench::open(folder.path(), args)?;
            bench.write_facts(&rows, folder.path()).await?;
            rows.write_places(folder.path())?;
            // Jobs by their tokens, then DataFusion.
            let mut costs: [Vec<Cost>; 3] = [Vec::new(), Vec::new(), Vec::new()];
            for round in 0..=args.rounds {
                let (cost, expected) = peer::turn(folder.path()).await?;
                costs[TOKENS.len()].push(cost);
                for (side, tokens) in TOKENS.into_iter().enumerate() {
                    let name = format!("{round}-{tokens}");
                    let (cost, answer) = bench.turn(&name, tokens, &rows).await?;
                    compare(&answer, &expected)?;
                    costs[side].push(cost);
                }
            }
            bench.close().await?;
            print(args, table_rows, &rows, &costs);
            Ok::<(), anyhow::Error>(())
        })?;
    }
    Ok(())
}

/// # Errors
/// The answers differ.
fn compare(job: &[Answer], peer: &[Answer]) -> Result<()> {
    ensure!(
        job == peer,
        "the answers differ: the job says {job:?}, DataFusion {peer:?}"
    );
    Ok(())
}

fn print(args: &JoinArgs, table_rows: u64, rows: &Rows, costs: &[Vec<Cost>; 3]) {
    // The first turn warmed up.
    let cpu = |side: usize| min(costs[side].iter().skip(1).map(|cost| cost.cpu));
    let wall = |side: usize| min(costs[side].iter().skip(1).map(|cost| cost.wall));
    let row = |side: usize, name: &str| {
        vec![
            name.to_owned(),
            figure(cpu(side), 2),
            figure(args.records as f64 / 1e6 / cpu(side), 2),
            figure(wall(side), 2),
        ]
    };
    let ratio = |name: &str, cpu: f64, wall: f64| {
        vec![
            name.to_owned(),
            figure(cpu, 2),
            String::new(),
            figure(wall, 2),
        ]
    };
    let peer = TOKENS.len();
    report::print(
        &format!(
            "join: {} facts with {table_rows} rows of a table, of which {} change, {} partition(s), commit every {} ms, \
             {} round(s)",
            args.records,
            rows.moves(),
            args.partitions,
            args.commit_ms,
            args.rounds,
        ),
        &["", "CPU s (min)", "M facts / CPU s", "wall s (min)"],
        &[
            row(0, "Thalweg job, 1 token"),
            row(1, "Thalweg job, 2 tokens"),
            row(peer, "DataFusion, files"),
            ratio(
                "ratio 1 token / DataFusion",
                cpu(0) / cpu(peer),
                wall(0) / wall(peer),
            ),
            ratio(
                "ratio 1 token / 2 tokens",
                cpu(0) / cpu(1),
                wall(0) / wall(1),
            ),
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
        let args = JoinArgs {
            records: 20_000,
            table_rows: vec![100, 5_000],
            moves_per_mille: 100,
            ..JoinArgs::default()
        };
        run(&place, &args).expect("the benchmark runs and its answers agree");
    }
}
