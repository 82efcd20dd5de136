//! Walks one record through every row of the table in ARCHITECTURE.md, and checks that the table's paths exist.

use serde_json::json;

use crate::fixture::process::Server;
use crate::fixture::{block_on, flights, until};

#[test]
fn one_record_from_file_to_view_to_file() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("data"));
        let input = folder.path().join("in.ndjson");
        let output = folder.path().join("out.ndjson");
        std::fs::write(&input, "{\"k\":\"a\",\"n\":7}\n").unwrap();

        // 1–2: a line becomes a SourceRecord, is converted and written with its offset in one transaction.
        server
            .create_connector(
                json!({"name": "in", "config": {"connector.class": "FileStreamSource",
                "file": input, "format": "ndjson", "topic": "t", "key.field": "k"}}),
            )
            .await;
        // 3–5: it lies in the log, and a foreign client sees it there.
        let read = || async {
            let out = std::process::Command::new("kcat")
                .args([
                    "-b",
                    &server.kafka,
                    "-t",
                    "t",
                    "-C",
                    "-e",
                    "-q",
                    "-f",
                    "%k=%s",
                ])
                .output()
                .unwrap();
            String::from_utf8(out.stdout).unwrap()
        };
        until("kcat", read, |text| text == "a={\"k\":\"a\",\"n\":7}").await;
        // 6–8: decoded, aggregated, committed with state, offsets and output.
        server
            .sql(
                "CREATE SOURCE t (k TEXT, n BIGINT) WITH (topic = 't') FORMAT PLAIN ENCODE JSON; \
                 CREATE MATERIALIZED VIEW totals AS SELECT k, sum(n) AS total FROM t GROUP BY k",
            )
            .await;
        let totals = || async { server.sql("SELECT * FROM totals").await };
        until("the view", totals, |rows| {
            *rows == [json!({"k": "a", "total": 7})]
        })
        .await;
        // 9: a sink task takes the view's change out.
        server
            .create_connector(
                json!({"name": "out", "config": {"connector.class": "FileStreamSink",
                "file": output, "format": "ndjson", "topics": "totals"}}),
            )
            .await;
        let written = || async { std::fs::read_to_string(&output).unwrap_or_default() };
        until("the file", written, |text| {
            text == "{\"k\":\"a\",\"total\":7}\n"
        })
        .await;
    });
}

#[test]
fn the_map_names_files_that_exist() {
    let text = std::fs::read_to_string(flights::root().join("ARCHITECTURE.md")).unwrap();
    let table: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("## The life of a record"))
        .filter(|line| {
            line.starts_with("| ") && line.chars().nth(2).is_some_and(|c| c.is_ascii_digit())
        })
        .collect();
    assert_eq!(table.len(), 9, "the table has nine steps");
    let mut named = 0;
    for line in table {
        for path in line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|code| code.ends_with(".rs"))
        {
            named += 1;
            assert!(
                flights::root().join(path).exists(),
                "ARCHITECTURE.md names {path}"
            );
        }
    }
    assert!(named >= 9, "only {named} files are named");
}
