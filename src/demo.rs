//! `thalweg demo`: the whole job on a month of real flights, through the interfaces that users use.
//!
//! ```text
//! flights.ndjson.gz ── file source ── WASM transform `route` ──┬── topic flights ── views delays, origins
//! airlines.csv ─────── file source ── topic airlines           └── topic cancelled     └── file sink
//! ```
//!
//! In a terminal the answers grow in place under a progress bar; otherwise plain lines. It ends by itself, leaves
//! its folder for a look around, and says what to type next and how to remove it. A second run takes a folder of
//! its own.

use std::ffi::OsStr;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use crossterm::{cursor, queue, terminal};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::{Value, json};

use crate::config::ConfigArgs;
use crate::exit::Failure;
use crate::screen;
use crate::shell::{Client, Next, Outcome, Row, Rows, fitted};
use crate::start::{self, Running};

const FLIGHTS: &[u8] = include_bytes!("../demo/flights.ndjson.gz");
const AIRLINES: &str = include_str!("../demo/airlines.csv");
const STATEMENTS: &str = include_str!("../demo/flights.sql");

/// The third door: a table of the user's own PostgreSQL.
const ALLIANCES: &str = "CREATE TABLE alliances (carrier text PRIMARY KEY, alliance text); INSERT INTO alliances VALUES \
                         ('AA', 'oneworld'), ('DL', 'SkyTeam'), ('UA', 'Star Alliance')";
/// It is captured,
const CAPTURE: &str = "CREATE TABLE alliances WITH (connector = 'postgres-cdc', hostname = '127.0.0.1', \
                       username = 'postgres', database.name = 'postgres', table.name = 'alliances')";
/// joined with the flights,
const JOIN: &str = "CREATE MATERIALIZED VIEW by_alliance AS SELECT a.alliance, count(*) AS flights, \
                    avg(f.dep_delay) AS avg_delay FROM flights f JOIN alliances a ON a.carrier = f.carrier GROUP BY a.alliance";
/// and the answer is written back by the connector of this file.
const WRITTEN_BACK: &str = "by-alliance.json";

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(150);
/// The demo gives up after this long without progress.
const STALL: Duration = Duration::from_secs(60);

/// Arguments of `thalweg demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  thalweg demo --data ./demo-data")]
pub(crate) struct DemoArgs {
    /// Folder of the compiled guests of udf-examples/ (`make wasm` fills the default)
    #[arg(long, value_name = "DIR")]
    wasm_dir: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(config: &ConfigArgs, args: DemoArgs) -> Result<()> {
    start::log_to_stderr();
    let wasm = wasm_dir(args.wasm_dir)?;
    let mut settings = config.load()?.settings;
    if config.data.is_none() {
        settings.data = free_folder(Path::new(""));
    }
    if settings.data.join("log").exists() {
        bail!(
            "{} holds data already; delete it or choose another folder with --data",
            settings.data.display()
        );
    }
    // Free ports: the demo runs beside whatever else serves on this machine.
    settings.kafka.listen.set_port(0);
    settings.connect.listen.set_port(0);
    settings.http.listen.set_port(0);
    let data = settings.data.clone();
    start::runtime()?.block_on(async move {
        let started = Instant::now();
        let running = Running::start(settings).await?;
        let up = started.elapsed();
        let result = tokio::select! {
            result = Demo::new(&running, &data, &wasm).play(up) => result,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("stopped")),
        };
        running.stop().await?;
        result
    })
}

/// `thalweg-demo` in `parent`, or the first `thalweg-demo-2`, `-3` … that holds no earlier run.
fn free_folder(parent: &Path) -> PathBuf {
    let mut folder = parent.join("thalweg-demo");
    let mut run = 1;
    while folder.join("log").exists() {
        run += 1;
        folder = parent.join(format!("thalweg-demo-{run}"));
    }
    folder
}

fn wasm_dir(given: Option<PathBuf>) -> Result<PathBuf> {
    let default = || {
        let base = std::env::var_os("THALWEG_UDF_TARGET")
            .map(PathBuf::from)
            .or_else(|| {
                Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/thalweg/udf"))
            })?;
        Some(base.join("wasm32-unknown-unknown/release"))
    };
    let dir = given
        .or_else(default)
        .context("no home folder; say --wasm-dir DIR")?;
    if !dir.join("route.wasm").exists() {
        bail!(Failure::NotFound(format!(
            "{} holds no route.wasm; `make wasm` builds it, --wasm-dir names another folder",
            dir.display()
        )));
    }
    Ok(dir.canonicalize()?)
}

struct Demo<'a> {
    running: &'a Running,
    client: Client,
    data: &'a Path,
    wasm: &'a Path,
    live: bool,
}

impl<'a> Demo<'a> {
    fn new(running: &'a Running, data: &'a Path, wasm: &'a Path) -> Self {
        let client = Client::new(&running.addresses.http.to_string());
        Self {
            running,
            client,
            data,
            wasm,
            live: std::io::stdout().is_terminal(),
        }
    }

    async fn play(self, up: Duration) -> Result<()> {
        println!(
            "Thalweg serves: log, SQL and Connect in one process, up in {} ms.",
            up.as_millis()
        );
        let data = self.data.canonicalize()?;
        std::fs::write(data.join("flights.ndjson.gz"), FLIGHTS)?;
        std::fs::write(data.join("airlines.csv"), AIRLINES)?;
        let expected = departed()?;

        let statements = STATEMENTS.replace("${WASM}", &self.wasm.to_string_lossy());
        for connector in connectors(&data, self.wasm) {
            self.create_connector(&connector).await?;
        }
        for statement in sql::split_statements(&statements) {
            self.statement(statement.text).await?;
        }
        self.create_connector(&sink(&data)).await?;

        let started = Instant::now();
        self.follow(expected, started).await?;
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "\n{expected} flights joined, windowed and aggregated in {seconds:.1} s ({:.0}/s), exactly once.\n",
            expected as f64 / seconds
        );
        self.answers().await?;
        let written_back = serde_json::to_string_pretty(&written_back())?;
        std::fs::write(data.join(WRITTEN_BACK), written_back + "\n")?;
        let program = std::env::current_exe()?;
        let search = std::env::var_os("PATH").unwrap_or_default();
        println!("{}", next_steps(self.data, &program, &search));
        Ok(())
    }

    async fn create_connector(&self, connector: &Value) -> Result<()> {
        let response = reqwest::Client::new()
            .post(format!(
                "http://{}/connectors",
                self.running.addresses.connect
            ))
            .json(connector)
            .send()
            .await
            .context("post the connector")?;
        let status = response.status();
        if !status.is_success() {
            bail!(
                "connector {}: {status}: {}",
                connector["name"],
                response.text().await?
            );
        }
        println!(
            "connector {} created",
            connector["name"].as_str().unwrap_or_default()
        );
        Ok(())
    }

    async fn statement(&self, sql: &str) -> Result<()> {
        match self.client.query(sql).await? {
            Outcome::Done { message, .. } => println!("{message}"),
            Outcome::Rows(_) => {}
            Outcome::Refused(diagnostic) => bail!("{}", diagnostic.render(sql, false)),
        }
        Ok(())
    }

    /// Watches both views until each has counted every flight that left.
    async fn follow(&self, expected: u64, started: Instant) -> Result<()> {
        let bar = ProgressBar::with_draw_target(
            Some(expected),
            if self.live {
                ProgressDrawTarget::stdout()
            } else {
                ProgressDrawTarget::hidden()
            },
        );
        let style = ProgressStyle::with_template(
            "{wide_bar:.cyan} {percent:>3} %  {pos}/{len} flights  {rate}  {elapsed}",
        )?;
        let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            // A bar that cannot be drawn harms nobody.
            let _ = write!(text, "{:.0}/s", state.per_sec());
        };
        bar.set_style(style.with_key("rate", rate));
        let mut drawn = 0_u16;
        let mut last = (0, Instant::now());
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            let done = self
                .counted("delays")
                .await?
                .min(self.counted("origins").await?);
            if done != last.0 {
                last = (done, Instant::now());
                if !self.live {
                    println!(
                        "{done} of {expected} flights after {:.1} s",
                        started.elapsed().as_secs_f64()
                    );
                }
            } else if last.1.elapsed() > STALL {
                bail!(
                    "no progress for {} s at {done} of {expected} flights",
                    STALL.as_secs()
                );
            }
            if self.live {
                drawn = self.draw(drawn).await?;
                bar.set_position(done);
            }
            if done >= expected {
                bar.finish();
                return Ok(());
            }
        }
    }

    async fn counted(&self, view: &str) -> Result<u64> {
        let (_, rows) = self
            .rows(&format!("SELECT sum(flights) AS n FROM {view}"))
            .await?;
        Ok(rows
            .first()
            .and_then(|row| row.values.first()?.as_u64())
            .unwrap_or(0))
    }

    /// Draws the latest windows over what was drawn before; returns the lines drawn.
    async fn draw(&self, drawn: u16) -> Result<u16> {
        let text = self
            .table(
                "SELECT window_start, name, flights, avg_delay, class FROM delays \
                 ORDER BY window_start DESC, flights DESC LIMIT 10",
            )
            .await?;
        let mut out = std::io::stdout();
        if drawn > 0 {
            queue!(out, cursor::MoveUp(drawn))?;
        }
        queue!(
            out,
            cursor::MoveToColumn(0),
            terminal::Clear(terminal::ClearType::FromCursorDown)
        )?;
        writeln!(out, "{text}")?;
        out.flush()?;
        Ok(u16::try_from(text.lines().count()).unwrap_or(0))
    }

    async fn answers(&self) -> Result<()> {
        println!("Airlines, from view delays:");
        println!(
            "{}",
            self.table(
                "SELECT name, sum(flights) AS flights, sum(avg_delay * flights) / sum(flights) AS avg_delay \
                 FROM delays GROUP BY name ORDER BY avg_delay DESC"
            )
            .await?
        );
        println!("The worst hours of an airport, from view origins:");
        println!(
            "{}",
            self.table(
                "SELECT window_start, carrier, origin, flights, total_delay, max_delay FROM origins \
                 ORDER BY total_delay DESC LIMIT 5"
            )
            .await?
        );
        Ok(())
    }

    async fn table(&self, sql: &str) -> Result<String> {
        let (rows, held) = self.rows(sql).await?;
        Ok(fitted(&rows.columns, &held, false, screen::columns())
            .table
            .to_string())
    }

    async fn rows(&self, sql: &str) -> Result<(Rows, Vec<Row>)> {
        let mut rows = match self.client.query(sql).await? {
            Outcome::Rows(rows) => rows,
            Outcome::Refused(diagnostic) => bail!("{}", diagnostic.render(sql, false)),
            Outcome::Done { message, .. } => bail!("{sql}: answered {message:?} instead of rows"),
        };
        let mut held = Vec::new();
        loop {
            match rows.next().await? {
                Next::Row(row) => held.push(row),
                Next::Notices(_) => {}
                Next::Refused(diagnostic) => bail!("{}", diagnostic.render(sql, false)),
                Next::End => return Ok((rows, held)),
            }
        }
    }
}

/// What to type after the demo, in a shell whose `PATH` is `search`, and how to remove what it left.
fn next_steps(data: &Path, program: &Path, search: &OsStr) -> String {
    let data = shell_word(data);
    let mut text = format!("Everything stays in {data}. Try next:\n");
    if let Some(folder) = program.parent()
        && !std::env::split_paths(search).any(|on_path| on_path == folder)
    {
        text += &format!("  export PATH=\"{}:$PATH\"\n", folder.display());
    }
    text + &format!(
        "  thalweg sql --data {data}
    SELECT name, max(avg_delay) FROM delays GROUP BY name ORDER BY 2 DESC;
    SELECT * FROM delays EMIT CHANGES;
    EXPLAIN WHY delays;
  thalweg server --data {data}     then: kcat -b 127.0.0.1:9092 -t delays -C -e | head
A table of your PostgreSQL (wal_level = logical) joined with the flights, and written back to it:
  psql -h 127.0.0.1 -U postgres -c \"{ALLIANCES}\"
  thalweg sql --data {data}
    {CAPTURE};
    {JOIN};
  thalweg connect apply {data}/{WRITTEN_BACK}     in another terminal, while the shell is open
  DROP TABLE alliances CASCADE;    in the shell, at the end: until then a slot keeps your PostgreSQL's WAL
When you are done with it: rm -rf {data}"
    )
}

/// A path as one word of a shell's line.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    if text
        .chars()
        .all(|c| c.is_alphanumeric() || "/._-+".contains(c))
    {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// How many of the month's flights left: the others go to the side topic.
fn departed() -> Result<u64> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(FLIGHTS).read_to_string(&mut text)?;
    Ok(text
        .lines()
        .filter(|line| !line.contains("\"dep_delay\":null"))
        .count() as u64)
}

fn connectors(data: &Path, wasm: &Path) -> [Value; 2] {
    [
        json!({"name": "airlines", "config": {
            "connector.class": "FileStreamSource",
            "file": data.join("airlines.csv"),
            "format": "csv",
            "topic": "airlines",
            "key.field": "carrier",
        }}),
        json!({"name": "flights", "config": {
            "connector.class": "FileStreamSource",
            "file": data.join("flights.ndjson.gz"),
            "format": "ndjson",
            "topic": "flights",
            "key.field": "carrier",
            "topic.creation.default.partitions": "4",
            "topic.creation.default.replication.factor": "1",
            "transforms": "route",
            "transforms.route.type": "wasm",
            "transforms.route.module": wasm.join("route.wasm"),
            "transforms.route.outputs": "cancelled",
        }}),
    ]
}

fn written_back() -> Value {
    json!({"name": "by-alliance", "config": {
        "connector.class": "PostgresSink",
        "connection.url": "postgresql://postgres@127.0.0.1:5432/postgres",
        "topics": "by_alliance",
        "insert.mode": "upsert",
        "primary.key.mode": "record_key",
        "primary.key.fields": "alliance",
        "delete.enabled": "true",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
    }})
}

fn sink(data: &Path) -> Value {
    json!({"name": "delays-file", "config": {
        "connector.class": "FileStreamSink",
        "file": data.join("delays.ndjson"),
        "format": "ndjson",
        "topics": "delays",
    }})
}

#[cfg(test)]
mod tests;
