//! A data folder that an earlier version has left, with views of every kind: it is opened, answers as it did, and goes on.
//!
//! `tests/data/folder-N.tar.gz` holds `data/` as a clean stop leaves it, and `answers.json`: what the views held. The newest
//! one is written anew by `THALWEG_WRITE_FOLDER=1 cargo test --test main upgrade`, as long as no release has its formats; one
//! of an older format never is, and stays readable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::fixture::process::{Server, server_command};
use crate::fixture::{block_on, until};

/// The formats that were ever written.
const FOLDERS: [u32; 1] = [1];

const RELATIONS: &str = "
CREATE TABLE airlines (code TEXT PRIMARY KEY, title TEXT, fleet INT) WITH (partitions = 2);
CREATE SOURCE flights (id INT, carrier TEXT, delay INT, fare DECIMAL(10, 2), tags TEXT[], at TIMESTAMP,
    WATERMARK FOR at AS at - INTERVAL '5 seconds') WITH (partitions = 1);
CREATE SOURCE crews (flight INT, name TEXT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5 seconds')
    WITH (partitions = 1)";

/// Views and their queries, one at least for every kind of state; these are in the folders.
const VIEWS: [(&str, &str); 12] = [
    (
        "everything",
        "SELECT count(*) AS flights, sum(fare) AS fares, min(delay) AS least FROM flights",
    ),
    (
        "by_title",
        "SELECT window_start, a.title, count(*) AS n, max(f.delay) AS worst, count(DISTINCT f.carrier) AS carriers \
        FROM TUMBLE(flights, at, INTERVAL '10 seconds') f LEFT JOIN airlines a ON f.carrier = a.code GROUP BY window_start, a.title",
    ),
    (
        "sliding",
        "SELECT window_start, window_end, carrier, avg(fare) AS fare \
        FROM HOP(flights, at, INTERVAL '10 seconds', INTERVAL '20 seconds') GROUP BY window_start, window_end, carrier",
    ),
    (
        "worst",
        "SELECT carrier, id, delay FROM (SELECT carrier, id, delay, \
        ROW_NUMBER() OVER (PARTITION BY carrier ORDER BY delay DESC) AS place FROM flights) r WHERE place <= 2",
    ),
    (
        "listed",
        "SELECT carrier, string_agg(CAST(id AS TEXT), ',' ORDER BY id) AS ids, array_agg(delay ORDER BY id) AS delays, \
        stddev(delay) AS spread FROM flights GROUP BY carrier",
    ),
    (
        "wide",
        "SELECT f.id, f.tags, f.fare, a.title FROM flights f JOIN airlines a ON f.carrier = a.code",
    ),
    (
        "either",
        "SELECT f.id, a.code, a.fleet FROM flights f FULL JOIN airlines a ON f.carrier = a.code AND f.delay > a.fleet",
    ),
    (
        "crewed",
        "SELECT f.id, c.name FROM flights f JOIN crews c ON f.id = c.flight \
        AND c.at BETWEEN f.at - INTERVAL '10 seconds' AND f.at + INTERVAL '10 seconds'",
    ),
    (
        "unflown",
        "SELECT code FROM airlines a WHERE NOT EXISTS (SELECT 1 FROM flights f WHERE f.carrier = a.code)",
    ),
    (
        "names",
        "SELECT title AS name FROM airlines UNION SELECT name FROM crews",
    ),
    (
        "largest",
        "SELECT code, fleet FROM airlines ORDER BY fleet DESC, code LIMIT 2",
    ),
    (
        "of_views",
        "SELECT title, sum(n) AS n FROM by_title GROUP BY title",
    ),
];

/// One that emits when windows close, and its answer where event time has reached `{}`.
const CLOSED: (&str, &str, &str) = (
    "closed",
    "SELECT window_end, carrier, count(*) AS n FROM TUMBLE(flights, at, INTERVAL '10 seconds') \
        GROUP BY window_end, carrier EMIT ON WINDOW CLOSE",
    "SELECT window_end, carrier, count(*) AS n FROM TUMBLE(flights, at, INTERVAL '10 seconds') \
        GROUP BY window_end, carrier HAVING window_end <= TIMESTAMP '{}'",
);

/// Two more views, whose jobs have several tokens.
const SPREAD: [(&str, &str); 2] = [
    (
        "spread_groups",
        "SELECT a.title, count(*) AS n FROM flights f JOIN airlines a ON f.carrier = a.code GROUP BY a.title",
    ),
    (
        "spread_rows",
        "SELECT f.id, a.title FROM flights f LEFT JOIN airlines a ON f.carrier = a.code",
    ),
];

const BEFORE: &str = "
INSERT INTO airlines VALUES ('UA', 'United', 7), ('AA', 'American', 5), ('B6', NULL, 20), ('XX', 'None', 1), ('QQ', 'Quiet', 4);
INSERT INTO flights VALUES (1, 'UA', 5, 99.50, ARRAY['a', 'b'], '2024-05-01 10:00:01'), (2, 'UA', 9, 120, NULL, '2024-05-01 10:00:02'),
    (3, 'B6', 7, 15.25, NULL, '2024-05-01 10:00:03'), (4, 'ZZ', -3, NULL, ARRAY['c', NULL], '2024-05-01 10:00:12'),
    (5, 'AA', 40, 1, ARRAY['d'], '2024-05-01 10:00:27');
INSERT INTO crews VALUES (1, 'Ada', '2024-05-01 10:00:05'), (5, 'Cy', '2024-05-01 10:00:28'), (2, 'Bo', '2024-05-01 10:00:40');
DELETE FROM airlines WHERE code = 'XX'";

/// Corrects rows on every side of the joins, fills windows that are open, and closes some.
const AFTER: &str = "
INSERT INTO airlines VALUES ('B6', 'Blue', 2), ('UA', NULL, 9), ('ZZ', 'Last', 3);
DELETE FROM airlines WHERE code = 'AA';
INSERT INTO flights VALUES (6, 'UA', 50, 3.75, ARRAY['e'], '2024-05-01 10:00:28'), (7, 'AA', 1, 2, NULL, '2024-05-01 10:00:44');
INSERT INTO crews VALUES (6, 'Di', '2024-05-01 10:00:45'), (7, 'Ed', '2024-05-01 10:00:50')";

/// Event time after [`BEFORE`], and after [`AFTER`].
const REACHED: [&str; 2] = ["2024-05-01 10:00:22", "2024-05-01 10:00:39"];

/// With so many tokens the jobs of [`SPREAD`] are made.
const TOKENS: &str = "streams.tokens=3";

fn archive(format: u32) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    data.join(format!("folder-{format}.tar.gz"))
}

fn tar(arguments: &[&str], folder: &Path) {
    let done = Command::new("tar")
        .args(arguments)
        .current_dir(folder)
        .status();
    assert!(done.unwrap().success(), "tar {arguments:?}");
}

/// What a query answers, each row as text, ordered; or its error.
async fn rows(server: &Server, query: &str) -> Result<Vec<String>, Value> {
    let rows = server.try_sql(query).await?;
    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    rows.sort_unstable();
    Ok(rows)
}

/// Waits until a view holds these rows.
async fn holds(server: &Server, view: &str, expected: &[String]) {
    let select = format!("SELECT * FROM {view}");
    let is_it = |held: &Result<Vec<String>, Value>| held.as_deref() == Ok(expected);
    // Where it does not, `until` says what it holds.
    let _ = until(view, || rows(server, &select), is_it).await;
}

/// Waits until every view holds the batch answer of its query; gives the answers.
async fn settled(server: &Server, reached: &str) -> BTreeMap<String, Vec<String>> {
    let (closed, _, at_end) = CLOSED;
    let at_end = at_end.replace("{}", reached);
    let mut answers = BTreeMap::new();
    for (name, query) in VIEWS
        .into_iter()
        .chain(SPREAD)
        .chain([(closed, at_end.as_str())])
    {
        let expected = rows(server, query).await;
        let expected = expected.unwrap_or_else(|error| panic!("{query}: {error:#}"));
        assert!(!expected.is_empty(), "{name} has no rows");
        holds(server, name, &expected).await;
        answers.insert(name.to_owned(), expected);
    }
    answers
}

async fn write(format: u32) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let create =
        |(name, query): (&str, &str)| format!("CREATE MATERIALIZED VIEW {name} AS {query}");
    let server = Server::start(&data);
    server.sql(RELATIONS).await;
    let (closed, query, _) = CLOSED;
    for view in VIEWS.into_iter().chain([(closed, query)]) {
        server.sql(&create(view)).await;
    }
    assert!(server.terminate().0.success());
    let mut command = server_command(&data);
    command.args(["--set", TOKENS]);
    let server = Server::from_command(command);
    for view in SPREAD {
        server.sql(&create(view)).await;
    }
    server.sql(BEFORE).await;
    let answers = settled(&server, REACHED[0]).await;
    assert!(server.terminate().0.success());
    let answers = serde_json::to_string_pretty(&answers).unwrap();
    std::fs::write(folder.path().join("answers.json"), answers).unwrap();
    let archive = archive(format);
    // What the store below writes for people names the folder.
    let arguments = [
        "--exclude=LOG*",
        "--exclude=LOCK",
        "--exclude=OPTIONS-*",
        "--sort=name",
        "--owner=0",
        "--group=0",
    ];
    let file = ["-czf", archive.to_str().unwrap(), "data", "answers.json"];
    tar(&[&arguments[..], &file[..]].concat(), folder.path());
}

/// Opens the folder of `format`, after `prepare` has changed something of it.
async fn goes_on(format: u32, prepare: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    tar(&["-xzf", archive(format).to_str().unwrap()], folder.path());
    let data = folder.path().join("data");
    prepare(&data);
    let answers = std::fs::read_to_string(folder.path().join("answers.json")).unwrap();
    let answers: BTreeMap<String, Vec<String>> = serde_json::from_str(&answers).unwrap();
    let server = Server::start(&data);
    for (name, expected) in &answers {
        holds(&server, name, expected).await;
    }
    server.sql(AFTER).await;
    settled(&server, REACHED[1]).await;
    // What has gone on under this version is opened again.
    assert!(server.terminate().0.success());
    let server = Server::start(&data);
    settled(&server, REACHED[1]).await;
}

#[test]
fn a_folder_of_every_earlier_format_is_opened_and_goes_on() {
    block_on(async {
        if std::env::var_os("THALWEG_WRITE_FOLDER").is_some() {
            write(FOLDERS[FOLDERS.len() - 1]).await;
        }
        for format in FOLDERS {
            goes_on(format, |_| {}).await;
        }
    });
}

#[test]
fn a_folder_whose_state_is_lost_comes_back_from_the_changelogs() {
    block_on(async {
        for format in FOLDERS {
            let lose = |data: &Path| std::fs::remove_dir_all(data.join("streams")).unwrap();
            goes_on(format, lose).await;
        }
    });
}
