//! The commands of README.md, run as they stand there, in a clean folder, against a server on free ports.

use std::process::Command;

use crate::fixture::postgres::Postgres;
use crate::fixture::process::{Server, thalweg};
use crate::fixture::{block_on, flights, until, wasm};

/// The code block of that name.
pub(crate) fn block(name: &str) -> String {
    let text = std::fs::read_to_string(flights::root().join("README.md")).unwrap();
    let start = format!("```sh {name}\n");
    let from = text
        .find(&start)
        .unwrap_or_else(|| panic!("README.md has no block {name}"))
        + start.len();
    let length = text[from..].find("```").unwrap();
    text[from..from + length].to_owned()
}

/// Runs a block line by line as bash would; every command must succeed. Returns what it printed.
fn run(server: &Server, folder: &std::path::Path, name: &str) -> String {
    let script = block(name)
        .replace("127.0.0.1:9092", &server.kafka)
        .replace("127.0.0.1:8083", &server.connect);
    let commands = script.lines().filter(|line| !line.is_empty()).count();
    assert!(commands <= 6, "door {name} has {commands} commands");
    let binary = std::path::Path::new(thalweg().get_program())
        .parent()
        .unwrap()
        .to_owned();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(folder)
        .env("PATH", path)
        .env("THALWEG_HTTP__LISTEN", &server.http)
        .env("WASM", wasm("delay_class").parent().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{name}: {text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn three_doors() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        assert!(block("server").starts_with("thalweg server --data "));
        let server = Server::start(&folder.path().join("data"));

        let text = run(&server, folder.path(), "sql");
        assert!(
            text.contains("{\"diff\":1,\"row\":{\"customer\":\"ada\""),
            "{text}"
        );
        let spent = server.sql("SELECT * FROM spent ORDER BY customer").await;
        let expected = [
            serde_json::json!({"customer": "ada", "n": 2, "total": 15.0}),
            serde_json::json!({"customer": "bob", "n": 1, "total": 3.0}),
        ];
        assert_eq!(spent, expected);

        let text = run(&server, folder.path(), "wasm");
        assert!(
            text.ends_with("{\"a\":\"early\",\"b\":\"very late\"}\n"),
            "{text}"
        );

        let text = run(&server, folder.path(), "connect");
        assert!(
            text.ends_with("a {\"k\":\"a\",\"n\":1}\nb {\"k\":\"b\",\"n\":2}\n"),
            "{text}"
        );
        let output = folder.path().join("output.ndjson");
        let written = || async { std::fs::read_to_string(&output).unwrap_or_default() };
        until("the sink", written, |text| {
            text == "{\"k\":\"a\",\"n\":1}\n{\"k\":\"b\",\"n\":2}\n"
        })
        .await;
    });
}

#[test]
fn the_guide_to_sql_runs_as_it_stands() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        let text = std::fs::read_to_string(flights::root().join("docs/sql.md")).unwrap();
        let blocks: Vec<&str> = text
            .split("```sql\n")
            .skip(1)
            .map(|block| block.split("```").next().unwrap())
            .collect();
        assert!(!blocks.is_empty(), "docs/sql.md shows no SQL");
        for block in blocks {
            server.sql(block).await;
        }
        server
            .sql("INSERT INTO trips VALUES ('2024-01-01T10:05:00', 'ams', 7)")
            .await;
        let hourly = || async { server.sql("SELECT name, trips, fare FROM hourly").await };
        let row = serde_json::json!({"name": "Amsterdam", "trips": 1, "fare": 7.0});
        until("the view", hourly, |rows| *rows == [row.clone()]).await;
    });
}

#[test]
fn the_error_in_the_readme_is_the_one_that_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let text = std::fs::read_to_string(flights::root().join("README.md")).unwrap();
    let from = text.find("```\nerror[").unwrap() + 4;
    let expected = text[from..].split("```").next().unwrap();
    let create = block("sql")
        .lines()
        .next()
        .unwrap()
        .split('"')
        .nth(1)
        .unwrap()
        .to_owned();
    assert!(server.shell(&create).status.success());
    let output = server.shell("SELECT custmer FROM orders");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
}

#[test]
fn the_demo_prints_its_answers_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let output = thalweg()
        .arg("demo")
        .arg("--data")
        .arg(folder.path().join("demo"))
        .arg("--wasm-dir")
        .arg(wasm("route").parent().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let departed = flights::departed(&flights::month());
    assert!(
        text.contains(&format!(
            "{departed} flights joined, windowed and aggregated"
        )),
        "{text}"
    );
    assert!(text.contains("ExpressJet Airlines Inc."), "{text}");
    assert!(text.contains("Try next:"), "{text}");
    block_on(third_door(&folder.path().join("demo"), &text));
}

/// The lines that the demo ends with, as they stand there but for the port of the database.
async fn third_door(data: &std::path::Path, told: &str) {
    let database = Postgres::start_logical().await;
    let port = database.port();
    let line = |start: &str| {
        let found = told
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with(start));
        found
            .unwrap_or_else(|| panic!("{told}\nhas no line {start}"))
            .to_owned()
    };
    let setup = line("psql ");
    let setup = setup.split('"').nth(1).unwrap();
    database.connect().await.batch_execute(setup).await.unwrap();
    let server = Server::start(data);
    let capture = line("CREATE TABLE alliances");
    let here = format!("hostname = '127.0.0.1', port = {port}");
    server
        .sql(&capture.replace("hostname = '127.0.0.1'", &here))
        .await;
    server
        .sql(&line("CREATE MATERIALIZED VIEW by_alliance"))
        .await;
    let apply = line("thalweg connect apply ");
    let file = apply.split_whitespace().nth(3).unwrap();
    let json = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, json.replace("5432", &port.to_string())).unwrap();
    let applied = thalweg()
        .args(["connect", "--server", &server.connect, "apply", file])
        .output()
        .unwrap();
    assert!(applied.status.success(), "{applied:?}");
    let rows = "SELECT alliance, flights FROM by_alliance ORDER BY alliance COLLATE \"C\"";
    let month = flights::month();
    let flown = |carrier: &str| flights::departed_of(&month, carrier);
    let expected = [
        format!("SkyTeam|{}", flown("DL")),
        format!("Star Alliance|{}", flown("UA")),
        format!("oneworld|{}", flown("AA")),
    ];
    let written = || async { database.rows(rows).await.unwrap_or_default() };
    until("the rows in PostgreSQL", written, |rows| *rows == expected).await;
    // A carrier changes its alliance.
    let client = database.connect().await;
    let change = "UPDATE alliances SET alliance = 'oneworld' WHERE carrier = 'UA'";
    client.batch_execute(change).await.unwrap();
    let expected = [
        expected[0].clone(),
        format!("oneworld|{}", flown("AA") + flown("UA")),
    ];
    until("the change in PostgreSQL", written, |rows| {
        *rows == expected
    })
    .await;
}
