//! The main job, end to end: a real year of flights from a file through connector, transform, log, joins and
//! windows, to snapshots, a live query, a file and a database; every answer equals the batch's.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;

use crate::fixture::process::{Server, signal, thalweg};
use crate::fixture::{block_on, flights, postgres::Postgres, truth, until};

#[test]
fn a_year_of_flights_equals_the_batch() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let postgres = Postgres::start().await;
        let server = Server::start(&folder.path().join("data"));
        let input = flights::year();
        let departed = flights::departed(&input);

        // A live query from before the first row: it follows, and ends when the client goes.
        for connector in flights::sources(&input) {
            server.create_connector(connector).await;
        }
        server.sql(&flights::statements()).await;
        let mut live = thalweg()
            .args([
                "sql",
                "--server",
                &server.http,
                "-c",
                "SELECT * FROM delays EMIT CHANGES",
                "-o",
                "json",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let file = folder.path().join("delays.ndjson");
        for connector in flights::sinks(&file, &postgres.url()) {
            server.create_connector(connector).await;
        }

        flights::wait_for_views(&server, departed).await;
        let delays = truth::datafusion(&input, &truth::delays()).await;
        let origins = truth::datafusion(&input, &truth::origins()).await;
        for (view, batch, expected) in [
            ("delays", truth::delays(), &delays),
            ("origins", truth::origins(), &origins),
        ] {
            let rows = server.sql(&format!("SELECT * FROM {view}")).await;
            truth::assert_equal(view, &truth::normalised(&rows), expected);
            let rows = truth::postgres(&postgres, &input, &batch).await;
            truth::assert_equal("PostgreSQL", &rows, expected);
        }

        // The side topic holds what the transform took out, the flights carry what it added.
        server.sql("CREATE SOURCE cancelled (carrier TEXT, dest TEXT) WITH (topic = 'cancelled') FORMAT PLAIN ENCODE JSON").await;
        let cancelled = &server.sql("SELECT count(*) AS n FROM cancelled").await[0]["n"];
        assert_eq!(
            cancelled.as_u64().unwrap() + departed,
            flights::lines(&input).len() as u64
        );
        let routes = server
            .sql("SELECT count(*) AS n FROM flights WHERE route = origin || '-' || dest")
            .await;
        assert_eq!(routes[0]["n"].as_u64(), Some(departed));

        // Both sinks come to the same rows.
        sinks_agree(&postgres, &file, &delays).await;

        // The live query has shown changes that come to the same count.
        let mut first = String::new();
        let mut shown = BufReader::new(live.stdout.take().unwrap());
        shown.read_line(&mut first).unwrap();
        assert!(
            first.starts_with("{\"diff\":1,\"row\":{\"window_start\":"),
            "{first}"
        );
        signal(&live, Signal::INT);
        std::io::copy(&mut shown, &mut std::io::sink()).unwrap();
        assert!(
            live.wait().unwrap().success(),
            "Ctrl-C ends a live query without harm"
        );

        let why = format!("{:?}", server.sql("EXPLAIN WHY delays").await);
        assert!(
            why.contains("0 late, 0 undecodable") && why.contains("event time"),
            "{why}"
        );
    });
}

/// Waits until file and database hold these rows, then checks that no row stands there twice.
pub(crate) async fn sinks_agree(postgres: &Postgres, file: &std::path::Path, expected: &[String]) {
    until(
        "the file sink",
        || async { truth::replayed(file) == expected },
        |equal| *equal,
    )
    .await;
    let sql = "SELECT window_start, window_end, name, flights, avg_delay, class FROM delays";
    let rows = || async {
        let mut rows = postgres.rows(sql).await.unwrap_or_default();
        // Timestamps arrive as the text of the JSON where the table was made by the sink.
        rows.iter_mut()
            .for_each(|row| *row = row.replacen('T', " ", 2));
        rows.sort();
        rows
    };
    until(
        "the PostgreSQL sink",
        || async { rows().await == expected },
        |equal| *equal,
    )
    .await;
}

#[test]
fn an_airline_that_arrives_late_or_changes_corrects_the_view() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        server
            .sql(
                "CREATE SOURCE trips (ts TIMESTAMP, k TEXT, WATERMARK FOR ts AS ts - INTERVAL '1 minute') \
                   WITH (topic = 'trips') FORMAT PLAIN ENCODE JSON; \
                 CREATE TABLE names (k TEXT PRIMARY KEY, name TEXT) WITH (topic = 'names') FORMAT UPSERT ENCODE JSON; \
                 CREATE MATERIALIZED VIEW v AS SELECT window_start, n.name, count(*) AS n \
                   FROM TUMBLE(trips, ts, INTERVAL '1 hour') t JOIN names n ON t.k = n.k GROUP BY window_start, n.name;",
            )
            .await;
        let row = |name: &str, n: u64| serde_json::json!([{"window_start": "2024-01-01T10:00:00", "name": name, "n": n}]);
        let view = || async { serde_json::Value::Array(server.sql("SELECT * FROM v").await) };
        server.sql("INSERT INTO trips VALUES ('2024-01-01T10:05:00', 'a'), ('2024-01-01T10:06:00', 'a')").await;
        server.sql("INSERT INTO names VALUES ('a', 'Alpha')").await;
        until("the late row joins", view, |rows| *rows == row("Alpha", 2)).await;
        server.sql("INSERT INTO names VALUES ('a', 'Beta')").await;
        until("the change corrects", view, |rows| *rows == row("Beta", 2)).await;
    });
}
