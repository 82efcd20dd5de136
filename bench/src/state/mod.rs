//! State far beyond memory: groups, a join side, and sessions, each in a server with a small `memory.limit`.
//!
//! ```text
//! rows.rs   JSON rows of a case ──▶ its topics (a server of its own process)
//! CREATE MATERIALIZED VIEW ──▶ every second: rows read so far (sys.jobs), CPU and memory of the server
//!                              ──▶ a table: what a row cost in each tenth of the way  ──▶ plot.rs: two curves as SVG
//! ```
//!
//! Rows are there before the view is made, so that the CPU of a tenth is that of the job alone. What a row costs in the last
//! tenth, as a ratio to the second one, says whether it grows with the state; the first one begins with none.

mod plot;
mod rows;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use self::plot::{Line, Plot};
use crate::Place;
use crate::machine;
use crate::report::{self, figure};
use crate::server::Server;

/// Into how many parts the way is cut.
const PARTS: usize = 10;
/// How long the server rests between two looks at it.
const LOOK: Duration = Duration::from_millis(500);
/// A job that reads nothing for so long never will.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Sizes of the benchmark.
#[derive(Debug, Clone, Args)]
pub(crate) struct StateArgs {
    /// Groups, and rows of the join's side
    #[arg(long, default_value_t = Self::default().keys, value_parser = clap::value_parser!(u64).range(100..))]
    keys: u64,
    /// Keys of sessions
    #[arg(long, default_value_t = Self::default().session_keys, value_parser = clap::value_parser!(u64).range(100..))]
    session_keys: u64,
    /// What the server keeps to
    #[arg(long, default_value_t = Self::default().memory_limit)]
    memory_limit: String,
    /// Where the two curves are written
    #[arg(long, value_name = "DIR", default_value_os_t = Self::default().plots)]
    plots: PathBuf,
    /// One case alone
    #[arg(long)]
    only: Option<Case>,
}

impl Default for StateArgs {
    fn default() -> Self {
        Self {
            keys: 10_000_000,
            session_keys: 1_000_000,
            memory_limit: "512MiB".to_owned(),
            plots: PathBuf::from("docs"),
            only: None,
        }
    }
}

/// What state is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// As many groups as keys; every second row is of a group that is there.
    Groups,
    /// As many rows on one side of a join as keys; half as many rows look one of them up.
    Join,
    /// Sessions of each key, several one after the other.
    Sessions,
}

impl Case {
    const ALL: [Self; 3] = [Self::Groups, Self::Join, Self::Sessions];

    fn name(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Join => "join",
            Self::Sessions => "sessions",
        }
    }

    /// The topics that it reads.
    fn topics(self) -> &'static [&'static str] {
        match self {
            Self::Groups => &["events"],
            Self::Join => &["places", "visits"],
            Self::Sessions => &["clicks"],
        }
    }

    /// Sources over the topics, and the view.
    fn statements(self) -> [&'static str; 2] {
        match self {
            Self::Groups => [
                "CREATE SOURCE events (k BIGINT, v BIGINT) WITH (topic = 'events')",
                "SELECT k, count(*) AS n, sum(v) AS total FROM events GROUP BY k",
            ],
            Self::Join => [
                "CREATE SOURCE places (id BIGINT, region BIGINT) WITH (topic = 'places'); \
                 CREATE SOURCE visits (place BIGINT, v BIGINT) WITH (topic = 'visits')",
                "SELECT p.region, count(*) AS n, sum(w.v) AS total \
                 FROM visits w JOIN places p ON w.place = p.id GROUP BY p.region",
            ],
            Self::Sessions => [
                "CREATE SOURCE clicks (k BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) \
                 WITH (topic = 'clicks', timestamp.unit = 'ms')",
                "SELECT k, window_start, window_end, count(*) AS n \
                 FROM TABLE(SESSION(TABLE clicks PARTITION BY k, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
                 GROUP BY k, window_start, window_end",
            ],
        }
    }
}

/// The server at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    rows: u64,
    cpu: f64,
    resident_mib: f64,
    anonymous_mib: f64,
}

/// Runs the benchmark, prints its tables and writes its curves.
pub(crate) fn run(place: &Place, args: &StateArgs) -> Result<()> {
    let (mut costs, mut sizes) = (Vec::new(), Vec::new());
    for case in Case::ALL {
        if args.only.is_some_and(|only| only != case) {
            continue;
        }
        let looks = look(place, args, case)?;
        let parts = parts(&looks);
        print(args, case, &parts);
        let million = |look: &Look| look.rows as f64 / 1e6;
        costs.push(Line {
            name: case.name(),
            points: parts
                .iter()
                .map(|part| (part.rows / 1e6, part.us))
                .collect(),
        });
        sizes.push(Line {
            name: case.name(),
            points: looks
                .iter()
                .map(|look| (million(look), look.resident_mib))
                .collect(),
        });
    }
    std::fs::create_dir_all(&args.plots)?;
    let title = |what: &str| format!("{what}, memory.limit = {}", args.memory_limit);
    let plots = [
        ("state-cost.svg", "CPU of a row", "µs a row", costs),
        (
            "state-memory.svg",
            "Memory of the server",
            "MiB resident",
            sizes,
        ),
    ];
    for (file, what, y, lines) in plots {
        let plot = Plot {
            title: &title(what),
            x: "million rows read",
            y,
            lines: &lines,
        };
        write(&args.plots.join(file), &plot.svg())?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// Looks at a server while a view of the case reads all rows.
fn look(place: &Place, args: &StateArgs, case: Case) -> Result<Vec<Look>> {
    let limit = format!("memory.limit={}", args.memory_limit);
    let server = Server::start_with(place, &[&limit])?;
    let rows = rows::write(&server.kafka, case, args)?;
    let [sources, query] = case.statements();
    server.sql(sources)?;
    let mut looks = vec![look_at(&server, 0)?];
    server.sql(&format!(
        "CREATE MATERIALIZED VIEW answers WITH (wait = off) AS {query}"
    ))?;
    let mut heard = Instant::now();
    loop {
        thread::sleep(LOOK);
        let job =
            server.sql("SELECT rows_in, state, error FROM sys.jobs WHERE name = 'answers'")?;
        let job = job.last().context("the view has a job")?;
        let read = job["rows_in"].as_u64().unwrap_or(0);
        let last = looks.last().map_or(0, |look| look.rows);
        if read > last {
            heard = Instant::now();
            looks.push(look_at(&server, read)?);
        }
        if read >= rows {
            break;
        }
        if heard.elapsed() > SILENCE_MAX {
            bail!("{}: {read} of {rows} rows are read: {job}", case.name());
        }
    }
    server.stop()?;
    Ok(looks)
}

fn look_at(server: &Server, rows: u64) -> Result<Look> {
    let memory = machine::memory(server.pid())?;
    let mib = |kib: u64| kib as f64 / 1024.0;
    Ok(Look {
        rows,
        cpu: machine::cpu_seconds(server.pid())?,
        resident_mib: mib(memory.resident_kib),
        anonymous_mib: mib(memory.anonymous_kib),
    })
}

/// What a part of the way took.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Read up to its end.
    rows: f64,
    /// CPU of a row.
    us: f64,
    resident_mib: f64,
    anonymous_mib: f64,
}

/// The way in parts, each with what a row cost in it.
fn parts(looks: &[Look]) -> Vec<Part> {
    let all = looks.last().map_or(0, |look| look.rows);
    let mut parts = Vec::new();
    let mut from = looks.first().copied().unwrap_or_default();
    for number in 1..=PARTS as u64 {
        let until = all * number / PARTS as u64;
        let Some(to) = looks
            .iter()
            .find(|look| look.rows >= until && look.rows > from.rows)
        else {
            continue;
        };
        parts.push(Part {
            rows: to.rows as f64,
            us: (to.cpu - from.cpu) * 1e6 / (to.rows - from.rows) as f64,
            resident_mib: to.resident_mib,
            anonymous_mib: to.anonymous_mib,
        });
        from = *to;
    }
    parts
}

fn print(args: &StateArgs, case: Case, parts: &[Part]) {
    let row = |part: &Part| {
        vec![
            figure(part.rows / 1e6, 2),
            figure(part.us, 2),
            figure(part.resident_mib, 0),
            figure(part.anonymous_mib, 0),
        ]
    };
    let rows: Vec<Vec<String>> = parts.iter().map(row).collect();
    let cost = |part: Option<&Part>| part.map_or(f64::NAN, |part| part.us);
    let growth = cost(parts.last()) / cost(parts.get(1));
    report::print(
        &format!(
            "state: {}, {} keys, memory.limit = {}; a row at the end costs {} times as much as behind the first tenth",
            case.name(),
            match case {
                Case::Sessions => args.session_keys,
                Case::Groups | Case::Join => args.keys,
            },
            args.memory_limit,
            figure(growth, 2),
        ),
        &[
            "million rows",
            "CPU µs/row",
            "resident MiB",
            "anonymous MiB",
        ],
        &rows,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_what_was_used_between_looks() {
        let look = |rows, cpu| Look {
            rows,
            cpu,
            ..Look::default()
        };
        let looks = [look(0, 1.0), look(50, 1.5), look(55, 1.6), look(100, 2.5)];
        let parts = parts(&looks);
        let of = |part: &Part| (part.rows.round(), part.us.round());
        assert_eq!(
            parts.iter().map(of).collect::<Vec<_>>(),
            [(50.0, 10_000.0), (55.0, 20_000.0), (100.0, 20_000.0)]
        );
        assert!(super::parts(&[]).is_empty());
    }
}
