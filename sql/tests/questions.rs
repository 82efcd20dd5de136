//! `questions/*.slt`: what an analyst asks of the flights, each question as a view and as a snapshot. The answers are
//! PostgreSQL's over the same rows.
//!
//! January's flights, with the weather around them, and all planes, airports and airlines; `FLIGHTS=year` reads all flights
//! and all weather, and compares views with snapshots only. Numbers are compared to nine digits. In `changes.slt` the views
//! stay, rows of the tables below them change and go, and the same questions are asked again.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use flate2::read::GzDecoder;
use log_api::{BatchBuilder, Compression, TopicPartition};
use sql::Answer;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use crate::fixture::{Fixture, texts};

/// The relations, and the files of their rows.
const SCHEMA: &str = "
CREATE SOURCE flights (
  scheduled TIMESTAMP, carrier TEXT, flight INTEGER, tailnum TEXT, origin TEXT, dest TEXT,
  dep_delay DOUBLE, arr_delay DOUBLE, air_time DOUBLE, distance INTEGER,
  WATERMARK FOR scheduled AS scheduled - INTERVAL '24 hours'
) WITH (topic = 'flights', partitions = 1) FORMAT PLAIN ENCODE JSON;
CREATE SOURCE weather (
  origin TEXT, time_hour TIMESTAMP, temp DOUBLE, wind_speed DOUBLE, wind_gust DOUBLE, precip DOUBLE, visib DOUBLE,
  WATERMARK FOR time_hour AS time_hour - INTERVAL '1 hour'
) WITH (topic = 'weather', partitions = 1) FORMAT PLAIN ENCODE JSON;
CREATE TABLE planes (
  tailnum TEXT PRIMARY KEY, year INTEGER, type TEXT, manufacturer TEXT, model TEXT, engines INTEGER, seats INTEGER
) WITH (topic = 'planes', partitions = 1);
CREATE TABLE airports (
  faa TEXT PRIMARY KEY, name TEXT, lat DOUBLE, lon DOUBLE, alt INTEGER, tz INTEGER
) WITH (topic = 'airports', partitions = 1);
CREATE TABLE airlines (carrier TEXT PRIMARY KEY, name TEXT) WITH (topic = 'airlines', partitions = 1);
SET create.wait = '600s'
";

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

fn text(file: &str) -> String {
    let mut text = String::new();
    let opened = std::fs::File::open(data(file)).expect("data of the tests");
    match Path::new(file).extension().is_some_and(|end| end == "gz") {
        true => GzDecoder::new(opened).read_to_string(&mut text),
        false => { opened }.read_to_string(&mut text),
    }
    .expect("a text");
    text
}

/// The rows of a CSV file as JSON, NA as null; texts are quoted where `texts` names their column.
fn objects(csv: &str, texts: &[&str]) -> Vec<String> {
    let mut lines = csv.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let object = |line: &str| {
        let fields = names.iter().zip(cells(line)).map(|(name, cell)| {
            let value = match cell.as_str() {
                "NA" | "" => "null".to_owned(),
                _ if texts.contains(name) => format!("\"{cell}\""),
                _ => cell,
            };
            format!("\"{name}\":{value}")
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    };
    lines.map(object).collect()
}

/// The cells of a line, of which some hold commas between quotes.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for sign in line.chars() {
        match sign {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            sign => cells.last_mut().expect("there is one").push(sign),
        }
    }
    cells
}

/// The text of a field of such an object.
fn key(object: &str, name: &str) -> String {
    let from = object.find(&format!("\"{name}\":\"")).expect("the field") + name.len() + 4;
    let rest = &object[from..];
    rest[..rest.find('"').expect("its end")].to_owned()
}

async fn load(fixture: &Fixture, topic: &str, rows: &[String], key_column: Option<&str>) {
    // Of this time, so that no retention takes them.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(0));
    let writer = fixture.log().writer().await.expect("a writer");
    let partition = TopicPartition::new(topic, 0);
    for rows in rows.chunks(2_000) {
        let mut batch = BatchBuilder::new(Compression::None);
        for row in rows {
            let key = key_column.map(|column| key(row, column));
            let key = key.as_ref().map(String::as_bytes);
            batch.append(now_ms, key, Some(row.as_bytes()), &[]);
        }
        writer.append(&partition, batch).await.expect("an append");
    }
}

fn is_year() -> bool {
    std::env::var("FLIGHTS").is_ok_and(|flights| flights == "year")
}

async fn flights() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.run(SCHEMA).await;
    let whole_year = is_year();
    let file = match whole_year {
        true => "tests/data/flights.ndjson.gz",
        false => "demo/flights.ndjson.gz",
    };
    let flights: Vec<String> = text(file).lines().map(str::to_owned).collect();
    load(&fixture, "flights", &flights, None).await;
    let mut weather = objects(&text("tests/data/weather.csv.gz"), &["origin", "time_hour"]);
    let is_winter = |row: &String| key(row, "time_hour").as_str() < "2013-03";
    weather.retain(|row| whole_year || is_winter(row));
    // The file has one airport after the other, and what comes an hour too late is late.
    weather.sort_by_key(|row| key(row, "time_hour"));
    load(&fixture, "weather", &weather, None).await;
    let columns = ["tailnum", "type", "manufacturer", "model", "engine"];
    let planes = objects(&text("tests/data/planes.csv.gz"), &columns);
    load(&fixture, "planes", &planes, Some("tailnum")).await;
    let columns = ["faa", "name", "dst", "tzone"];
    let airports = objects(&text("tests/data/airports.csv.gz"), &columns);
    load(&fixture, "airports", &airports, Some("faa")).await;
    let airlines = objects(&text("demo/airlines.csv"), &["carrier", "name"]);
    load(&fixture, "airlines", &airlines, Some("carrier")).await;
    fixture
}

/// Asks every question twice.
struct Both {
    fixture: Arc<Fixture>,
    /// What the names of its views begin with.
    name: String,
    /// The views that stay, by their questions; `None`: a view goes when it has answered.
    views: Option<HashMap<String, String>>,
    asked: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

impl Both {
    async fn rows(&self, sql: &str) -> Result<(usize, Vec<Vec<String>>), Failed> {
        let sql = format!("SET read_your_writes = on; SET create.wait = '600s'; {sql}");
        let answers = self.fixture.server.execute(&sql).await;
        let answers =
            answers.map_err(|error| Failed(format!("{} {}", error.code, error.message)))?;
        match answers.into_iter().next_back() {
            Some(Answer::Rows {
                columns, batches, ..
            }) => {
                let mut rows = texts(&batches);
                rows.iter_mut().flatten().for_each(nine_digits);
                rows.sort();
                Ok((columns.len(), rows))
            }
            _ => Ok((0, Vec::new())),
        }
    }

    /// The rows of a view that is this question.
    async fn of_view(&mut self, sql: &str) -> Result<(usize, Vec<Vec<String>>), Failed> {
        let known = self.views.as_ref().and_then(|views| views.get(sql));
        if let Some(view) = known {
            return self.rows(&format!("SELECT * FROM {view}")).await;
        }
        self.asked += 1;
        let view = format!("{}_{}", self.name, self.asked);
        self.rows(&format!("CREATE MATERIALIZED VIEW {view} AS {sql}"))
            .await?;
        let rows = self.rows(&format!("SELECT * FROM {view}")).await?;
        match &mut self.views {
            Some(views) => _ = views.insert(sql.to_owned(), view),
            None => _ = self.rows(&format!("DROP MATERIALIZED VIEW {view}")).await?,
        }
        Ok(rows)
    }
}

/// What one of both has and the other has not.
fn same(view: &[Vec<String>], snapshot: &[Vec<String>]) -> Result<(), Failed> {
    if view == snapshot {
        return Ok(());
    }
    let only = |these: &[Vec<String>], those: &[Vec<String>]| {
        let only = these.iter().filter(|row| !those.contains(row));
        only.take(5).cloned().collect::<Vec<_>>()
    };
    Err(Failed(format!(
        "{} rows of the view, {} of the snapshot; only the view has {:?}, only the snapshot {:?}",
        view.len(),
        snapshot.len(),
        only(view, snapshot),
        only(snapshot, view)
    )))
}

/// A number to nine digits.
fn nine_digits(cell: &mut String) {
    let is_number = cell.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    if let (true, Ok(number)) = (is_number, cell.parse::<f64>()) {
        let rounded: f64 = format!("{number:.8e}").parse().unwrap_or(number);
        *cell = (rounded + 0.0).to_string();
    }
}

#[async_trait]
impl AsyncDB for Both {
    type Error = Failed;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failed> {
        let asks = ["SELECT", "WITH", "("];
        if !asks.iter().any(|word| sql.starts_with(word)) {
            self.rows(sql).await?;
            return Ok(DBOutput::StatementComplete(0));
        }
        let (columns, rows) = self.of_view(sql).await?;
        // When windows close is of no meaning to a snapshot.
        if !sql.contains("EMIT ON WINDOW CLOSE") {
            let (_, snapshot) = self.rows(sql).await?;
            same(&rows, &snapshot)?;
        }
        Ok(DBOutput::Rows {
            types: vec![DefaultColumnType::Any; columns],
            rows,
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "thalweg"
    }
}

/// Asks the questions of some files; gives what was wrong.
async fn ask(fixture: Arc<Fixture>, files: Vec<PathBuf>) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let name = file
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let records = sqllogictest::parse_file::<DefaultColumnType>(&file).expect("questions");
        let made = || async {
            Ok(Both {
                fixture: Arc::clone(&fixture),
                views: (name == "changes").then(HashMap::new),
                name: name.clone(),
                asked: 0,
            })
        };
        let mut runner = Runner::new(made);
        for record in records {
            if let Err(error) = runner.run_async(record).await {
                wrong.push(error.to_string());
            }
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_have_the_answers_of_postgresql() {
    let fixture = Arc::new(flights().await);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/questions");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of questions")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let some = files.split_off(files.len() / 2);
    let [one, other] = [files, some].map(|files| tokio::spawn(ask(Arc::clone(&fixture), files)));
    let mut wrong = one.await.expect("questions");
    wrong.extend(other.await.expect("questions"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
