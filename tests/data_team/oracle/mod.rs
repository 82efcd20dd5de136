//! Debezium 3.6 in Apache Kafka Connect 4.3 and this program run the same connectors over the same statements: the topics and the
//! tables behind them are the same.
//!
//! ```text
//!  tables.sql ─▶ PostgreSQL ─▶ docs/connect/*.json ─┬─▶ Kafka Connect ─▶ a log ─▶ answers/   (make test-oracle)
//!  changes.sql ─▶                                   └─▶ this program  ─▶ its log ─▶ equal to answers/
//! ```
//! The two files run as they are; the other variants are the source's file with other ways of rendering. `answers/` keeps what
//! Connect wrote, so that a comparison needs no Java, and in `differences.txt` what differs, which docs/connect/postgres-source.md tells
//! ("Not like Debezium") or the handlers of REST do. Positions, times and versions are masked (`../dump.rs`).

mod rest;
mod worker;

use std::future::Future;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::worker::KafkaConnect;
use super::dump::{self, Topics};
use crate::fixture::postgres::Postgres;
use crate::fixture::process::{Server, server_command};
use crate::fixture::{block_on, until};

/// Names the folder of the jars of Connect and Debezium: then they are asked, and what they answer is kept.
const JARS: &str = "THALWEG_DEBEZIUM_JARS";

/// Has the differences written anew, without Connect.
const WRITE: &str = "THALWEG_ORACLE_WRITE";

const TABLES: &str = include_str!("tables.sql");
const CHANGES: &str = include_str!("changes.sql");

/// Ways of rendering, by prefix of the topics: what each has beside the source's file.
fn variants() -> Vec<(&'static str, Value)> {
    vec![
        ("shop", json!({})),
        (
            "bare",
            json!({
                "key.converter.schemas.enable": "false", "value.converter.schemas.enable": "false",
                "skipped.operations": "none", "provide.transaction.metadata": "true",
            }),
        ),
        (
            "text",
            json!({
                "decimal.handling.mode": "string", "time.precision.mode": "isostring", "interval.handling.mode": "string",
                "hstore.handling.mode": "map", "binary.handling.mode": "hex", "include.unknown.datatypes": "true",
                "tombstones.on.delete": "false",
            }),
        ),
        (
            "connect",
            json!({
                "decimal.handling.mode": "double", "time.precision.mode": "connect", "binary.handling.mode": "base64",
                "money.fraction.digits": "3", "value.converter.replace.null.with.default": "false",
            }),
        ),
        (
            "micro",
            json!({
                "time.precision.mode": "microseconds", "binary.handling.mode": "base64-url-safe",
                "value.converter.decimal.format": "NUMERIC", "column.exclude.list": "public.types.tx,public.customers.photo",
                "message.key.columns": "public.keyless:a;public.customers:id,name",
            }),
        ),
        // Debezium stops at a key that changes where a time that is never null is not known and has nanoseconds.
        (
            "nano",
            json!({
                "time.precision.mode": "nanoseconds", "column.exclude.list": "public.customers.made", "unavailable.value.placeholder": "[same]",
                "column.mask.with.3.chars": "public.customers.email", "column.truncate.to.2.chars": "public.customers.name",
            }),
        ),
        (
            "adaptive",
            json!({"time.precision.mode": "adaptive_time_microseconds"}),
        ),
    ]
}

/// A file of `docs/connect`.
fn connector(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/connect")
        .join(file);
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The source's file with other keys, under another prefix.
fn source(prefix: &str, more: &Value) -> Value {
    let mut source = connector("shop-source.json");
    if prefix == "shop" {
        return source;
    }
    source["name"] = json!(format!("{prefix}-source"));
    let config = source["config"].as_object_mut().unwrap();
    for key in ["topic.prefix", "slot.name", "publication.name"] {
        config.insert(key.to_owned(), json!(prefix));
    }
    config.extend(more.as_object().unwrap().clone());
    source
}

/// Where the files find the database.
fn environment(database: &Postgres) -> [(&'static str, String); 5] {
    [
        ("PGHOST", "127.0.0.1".to_owned()),
        ("PGPORT", database.port().to_string()),
        ("PGDATABASE", "postgres".to_owned()),
        ("PGUSER", "postgres".to_owned()),
        ("PGPASSWORD", "not asked for".to_owned()),
    ]
}

/// Whoever runs connectors.
enum Runner {
    Ours(Server),
    Theirs(KafkaConnect, Server),
}

impl Runner {
    fn start(environment: &[(&str, String)], folder: &Path, jars: Option<&Path>) -> Self {
        let mut command = server_command(&folder.join("data"));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let server = Server::from_command(command);
        match jars {
            None => Self::Ours(server),
            Some(jars) => {
                let worker = KafkaConnect::start(jars, folder, &server.kafka, environment);
                Self::Theirs(worker, server)
            }
        }
    }

    /// Where the log is.
    fn kafka(&self) -> &str {
        match self {
            Self::Ours(server) | Self::Theirs(_, server) => &server.kafka,
        }
    }

    /// Where REST is.
    fn rest(&self) -> &str {
        match self {
            Self::Ours(server) => &server.connect,
            Self::Theirs(worker, _) => &worker.rest,
        }
    }

    /// Waits until requests are answered: Connect listens before it knows its paths.
    async fn answers(&self) {
        let url = format!("http://{}/connectors", self.rest());
        let ask = || async {
            reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status() == 200)
        };
        until("REST answers", ask, |answers| *answers).await;
    }

    async fn create(&self, connector: &Value) {
        let answer = reqwest::Client::new()
            .post(format!("http://{}/connectors", self.rest()))
            .json(connector)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        assert_eq!(status, 201, "{}", answer.text().await.unwrap());
    }
}

/// Rows of all tables that are captured.
async fn rows(database: &Postgres) -> usize {
    let sql = "SELECT (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I.%I', schemaname, tablename), \
               false, true, '')))[1]::text FROM pg_tables WHERE schemaname = 'public'";
    let counts = database.rows(sql).await.unwrap();
    // A partitioned table has the rows of its partitions.
    let parts = database.rows("SELECT count(*) FROM parts").await.unwrap();
    let number = |text: &String| text.parse::<usize>().unwrap();
    counts.iter().map(number).sum::<usize>() - number(&parts[0])
}

/// What the topics of all variants hold in the end, and the tables of the sink.
async fn run(jars: Option<&Path>) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let database = Postgres::start_logical().await;
    let client = database.connect().await;
    client.batch_execute(TABLES).await.unwrap();
    let expected = rows(&database).await;
    client.batch_execute("CREATE SCHEMA copies").await.unwrap();
    let runner = Runner::start(&environment(&database), folder.path(), jars);
    runner.answers().await;
    let variants = variants();
    for (prefix, more) in &variants {
        runner.create(&source(prefix, more)).await;
    }
    let log = dump::open(runner.kafka());
    for (prefix, _) in &variants {
        let snapshot = || async { Topics::read(&log, prefix).await.count("r") };
        until(prefix, snapshot, |count| *count >= expected).await;
        let slot = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{prefix}'");
        let active = || async { database.rows(&slot).await.unwrap() };
        until("the slot", active, |active| *active == ["t"]).await;
    }
    for transaction in CHANGES.split("-- then").skip(1) {
        let (_, statements) = transaction.split_once('\n').unwrap();
        client.batch_execute(statements).await.unwrap();
    }
    let mut found = Vec::new();
    for (prefix, _) in &variants {
        let marked = || async {
            let topics = Topics::read(&log, prefix).await;
            topics.has(&format!("{prefix}.public.marker"), "c")
        };
        let what = format!("the last change of {prefix}");
        until(&what, marked, |marked| *marked).await;
        let text = Topics::read(&log, prefix).await.print();
        found.push((format!("{prefix}.txt"), text));
    }
    runner.create(&connector("shop-sink.json")).await;
    found.push(("copies.txt".to_owned(), copies(&database).await));
    found
}

/// The tables of the sink, once they have what theirs have.
async fn copies(database: &Postgres) -> String {
    let mut text = String::new();
    for (table, key) in [("customers", "id"), ("orders", "customer, line")] {
        let count = |of: String| async move {
            let counted = database.rows(&format!("SELECT count(*) FROM {of}")).await;
            counted.unwrap_or_default()
        };
        let copy = format!("copies.shop_public_{table}");
        let there = count(format!("public.{table}")).await;
        until(&copy, || count(copy.clone()), |here| *here == there).await;
        text += &format!("== {copy}\n");
        let columns = format!(
            "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute \
             WHERE attrelid = '{copy}'::regclass AND attnum > 0 ORDER BY attnum"
        );
        for line in database.rows(&columns).await.unwrap() {
            text += &format!("column {line}\n");
        }
        let sql = format!("SELECT * FROM {copy} ORDER BY {key}");
        for line in database.rows(&sql).await.unwrap() {
            text += &format!("row {line}\n");
        }
    }
    text
}

fn kept(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data_team/oracle/answers")
        .join(file)
}

/// What has to go from a list of lines, and what has to come, to make it another one: as few as may be.
fn changes(from: &[String], to: &[String]) -> Vec<String> {
    // How many lines the rests have in common, by where they begin.
    let mut common = vec![vec![0_u32; to.len() + 1]; from.len() + 1];
    for (i, one) in from.iter().enumerate().rev() {
        for (j, other) in to.iter().enumerate().rev() {
            common[i][j] = match one == other {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut changes) = (0, 0, Vec::new());
    while i < from.len() || j < to.len() {
        if i < from.len() && j < to.len() && from[i] == to[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == to.len() || i < from.len() && common[i + 1][j] >= common[i][j + 1] {
            changes.push(format!("  Connect {}", from[i]));
            i += 1;
        } else {
            changes.push(format!("  here    {}", to[j]));
            j += 1;
        }
    }
    changes
}

/// Lines in which two texts differ, by their headings.
fn differences(file: &str, ours: &str, theirs: &str) -> Vec<String> {
    let mut differ = Vec::new();
    let (mut ours, mut theirs) = (dump::sections(ours), dump::sections(theirs));
    let mut names: Vec<String> = ours.keys().chain(theirs.keys()).cloned().collect();
    names.sort();
    names.dedup();
    for name in names {
        let (ours, theirs) = (
            ours.remove(&name).unwrap_or_default(),
            theirs.remove(&name).unwrap_or_default(),
        );
        let changes = changes(&theirs, &ours);
        if !changes.is_empty() {
            differ.push(format!("== {file} {name}"));
            differ.extend(changes);
        }
    }
    differ
}

/// Asks Connect, where its jars are there, and keeps what it says; then this program, and says what differs.
fn compare<F: Future<Output = Vec<(String, String)>>>(
    differ_file: &str,
    run: impl Fn(Option<PathBuf>) -> F,
) {
    let jars = std::env::var_os(JARS).map(PathBuf::from);
    let is_new = jars.is_some() || std::env::var_os(WRITE).is_some();
    if jars.is_some() {
        for (file, text) in block_on(run(jars)) {
            std::fs::write(kept(&file), text).unwrap();
        }
    }
    let mut differ = Vec::new();
    for (file, ours) in block_on(run(None)) {
        let theirs = std::fs::read_to_string(kept(&file)).unwrap();
        differ.extend(differences(&file, &ours, &theirs));
    }
    println!("{} lines differ", differ.len());
    let now = differ.join("\n") + "\n";
    if is_new {
        std::fs::write(kept(differ_file), &now).unwrap();
    }
    let known = std::fs::read_to_string(kept(differ_file)).unwrap();
    let new: Vec<&str> = now.lines().filter(|line| !known.contains(*line)).collect();
    assert!(
        known == now,
        "the differences are not those that are known; new lines:\n{}",
        new.join("\n")
    );
}

#[test]
fn topics_and_rows_are_those_of_kafka_connect_and_debezium() {
    compare("differences.txt", |jars| async move {
        run(jars.as_deref()).await
    });
}

#[test]
fn rest_answers_as_kafka_connect() {
    compare("rest-differences.txt", |jars| async move {
        let folder = tempfile::tempdir().unwrap();
        let runner = Runner::start(&[], folder.path(), jars.as_deref());
        runner.answers().await;
        let said = rest::transcript(runner.rest(), folder.path()).await;
        vec![("rest.txt".to_owned(), said)]
    });
}
