//! Rows of SQL in a table of a database: one statement makes the job and the connector, and takes both down again.

use serde_json::json;

use crate::fixture::postgres::Postgres;
use crate::fixture::process::Server;
use crate::fixture::{block_on, until};

async fn table(database: &Postgres, sql: &str, expected: &[&str]) {
    let rows = || async { database.rows(sql).await.unwrap_or_default() };
    until(sql, rows, |rows| *rows == expected).await;
}

#[test]
fn a_view_is_kept_in_a_table_until_its_sink_is_dropped() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let database = Postgres::start().await;
        let client = database.connect().await;
        client
            .batch_execute("CREATE TABLE totals (city text PRIMARY KEY, n bigint, amount numeric(10,2), last date)")
            .await
            .unwrap();
        let mut server = Server::start(&data);
        server
            .sql(
                "CREATE TABLE trips (id BIGINT PRIMARY KEY, city TEXT, amount DECIMAL(10,2), day DATE); \
                 CREATE MATERIALIZED VIEW by_city AS \
                 SELECT city, count(*) AS n, sum(amount) AS amount, max(day) AS last FROM trips GROUP BY city",
            )
            .await;
        let options = format!(
            "host = '127.0.0.1', port = {}, user = 'postgres', database = 'postgres'",
            database.port()
        );
        let wrong = format!(
            "CREATE SINK s FROM by_city WITH (connector = 'postgres', {options}, tabel = 'totals')"
        );
        let error = server.try_sql(&wrong).await.unwrap_err();
        assert!(
            error["message"].as_str().unwrap().contains("tabel"),
            "{error}"
        );
        let made = server
            .sql(&format!(
                "CREATE SINK s FROM by_city WITH (connector = 'postgres', {options}, table = 'totals', password = 'secret')"
            ))
            .await;
        assert!(
            json!(made)
                .to_string()
                .contains("connector s takes the rows"),
            "{made:?}"
        );
        let refused = "takes no NULL in \\\"city\\\"";
        assert!(json!(made).to_string().contains(refused), "{made:?}");
        assert!(!json!(made).to_string().contains("of before"), "{made:?}");
        server
            .sql("INSERT INTO trips VALUES (1, 'Ulm', 1.50, '2024-05-01'), (2, 'Ulm', 2.00, '2024-05-02'), (3, 'Bonn', 3.00, NULL)")
            .await;
        let all = "SELECT city, n, amount, last FROM totals ORDER BY city";
        table(&database, all, &["Bonn|1|3.00|", "Ulm|2|3.50|2024-05-02"]).await;
        // The marks of the job's transactions are nothing that it lags behind.
        let status = "/connectors/s/status?expand=progress";
        let lag = || async {
            let (_, status) = server.connect("GET", status, None).await;
            status["tasks"][0]["progress"]["lag_records"].clone()
        };
        until("no lag", lag, |lag| *lag == json!(0)).await;
        server.kill();
        server = Server::start(&data);
        server.sql("DELETE FROM trips WHERE id = 3").await;
        server
            .sql("INSERT INTO trips VALUES (4, 'Ulm', 0.25, '2024-04-01')")
            .await;
        table(&database, all, &["Ulm|3|3.75|2024-05-02"]).await;
        let shown = json!(server.sql("SHOW CREATE SINK s").await).to_string();
        assert!(!shown.contains("secret"), "{shown}");
        let described = json!(server.sql("DESCRIBE s").await).to_string();
        assert!(described.contains("connector s is RUNNING"), "{described}");
        // A group of NULL and the total are rows like any other.
        server
            .sql(&format!(
                "CREATE SINK rolled AS SELECT city, sum(amount) AS amount FROM trips GROUP BY ROLLUP (city) \
                 WITH (connector = 'postgres', {options})"
            ))
            .await;
        server
            .sql("INSERT INTO trips VALUES (5, NULL, 1.00, NULL)")
            .await;
        let all = "SELECT city, amount, pg_typeof(amount) FROM rolled ORDER BY city, amount";
        let rows = ["Ulm|3.75|numeric", "|1.00|numeric", "|4.75|numeric"];
        table(&database, all, &rows).await;
        // One that cannot work says why: the rows of NULL do not fit the table's primary key.
        let why = || async { json!(server.sql("EXPLAIN WHY s").await).to_string() };
        until("the cause", why, |why| why.contains("null value in column")).await;
        for statement in ["SHOW SINKS", "SHOW JOBS"] {
            let shown = server.sql(statement).await;
            let sink = shown.iter().find(|row| row["name"] == "s").unwrap();
            let state = sink["state"].as_str().unwrap();
            assert!(
                state.starts_with("FAILED: connector s: table \"totals\": null value"),
                "{state}"
            );
        }
        let listed = "SELECT name, kind, state, failed_tasks FROM sys.connectors ORDER BY name";
        let listed = json!(server.sql(listed).await);
        assert_eq!(
            listed,
            json!([
                {"name": "rolled", "kind": "sink", "state": "RUNNING", "failed_tasks": 0},
                {"name": "s", "kind": "sink", "state": "RUNNING", "failed_tasks": 1},
            ])
        );
        server.sql("DELETE FROM trips WHERE id = 5").await;
        server.sql("DROP SINK rolled").await;
        // Rows that only come are inserted.
        server
            .sql(&format!(
                "CREATE SOURCE raw (a BIGINT, b TEXT); \
                 CREATE SINK lines AS SELECT a, b FROM raw WITH (connector = 'jdbc', url = '{}')",
                database.url()
            ))
            .await;
        server
            .sql("INSERT INTO raw VALUES (1, 'x'), (1, 'x')")
            .await;
        table(&database, "SELECT a, b FROM lines", &["1|x", "1|x"]).await;
        server.sql("DROP SINK s").await;
        server.sql("DROP SINK lines").await;
        // The topic stays: of its rows another sink tells.
        let lines = format!(
            "CREATE SINK lines AS SELECT a + 1 AS a, b FROM raw WITH (connector = 'jdbc', url = '{}')",
            database.url()
        );
        let made = json!(server.sql(&lines).await).to_string();
        assert!(made.contains("its records of before (up to "), "{made}");
        server.sql("DROP SINK lines").await;
        assert_eq!(
            server.connect("GET", "/connectors", None).await,
            (200, json!([]))
        );
    });
}

/// Rows that would come back into their own query by a table that is captured are refused, however far around.
#[test]
fn a_sink_does_not_feed_its_own_query() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let database = Postgres::start_logical().await;
        let client = database.connect().await;
        client
            .batch_execute("CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY, n int);")
            .await
            .unwrap();
        let server = Server::start(folder.path());
        for table in ["a", "b"] {
            server
                .sql(&format!(
                    "CREATE TABLE {table} WITH (connector = 'postgres-cdc', hostname = '127.0.0.1', port = {}, username = 'postgres', \
                     database.name = 'postgres', table.name = '{table}')",
                    database.port()
                ))
                .await;
        }
        server
            .sql("CREATE MATERIALIZED VIEW more AS SELECT id, n + 1 AS n FROM a; CREATE MATERIALIZED VIEW most AS SELECT id, n FROM more")
            .await;
        let sink = |name: &str, from: &str, table: &str| {
            format!(
                "CREATE SINK {name} AS SELECT id, n FROM {from} WITH (connector = 'postgres', host = 'localhost', port = {}, \
                 user = 'postgres', database = 'postgres', table = '{table}')",
                database.port()
            )
        };
        let url = format!(
            "CREATE SINK s AS SELECT id, n FROM a WITH (connector = 'jdbc', url = 'jdbc:postgresql://127.0.0.1:{}/postgres?user=postgres', \
             table = 'public.a')",
            database.port()
        );
        // A table that lacks what the rows need is not to get it for rows that it must not have.
        let grouped = sink(
            "s",
            "(SELECT n AS id, count(*) AS n FROM a GROUP BY n) AS g",
            "a",
        );
        for statement in [
            sink("s", "a", "a"),
            sink("s", "most", "public.a"),
            url,
            grouped,
        ] {
            let error = server.try_sql(&statement).await.unwrap_err();
            let message = error["message"].as_str().unwrap();
            assert!(
                message.contains(
                    "would come back into this query: connector a captures what is written there"
                ),
                "{error:#}"
            );
            let at = error["span"]["start"]["column"].as_u64().unwrap() as usize - 1;
            assert!(
                statement[at..].starts_with("'a'") || statement[at..].starts_with("'public.a'")
            );
        }
        // Whatever leads to the table, and whatever its server is called.
        client
            .batch_execute(
                "CREATE VIEW over_a AS SELECT id, n FROM a; CREATE VIEW over_that AS SELECT id, n FROM over_a; \
                 CREATE TABLE rows_of_a (id int PRIMARY KEY, n int); \
                 CREATE RULE to_a AS ON INSERT TO rows_of_a DO ALSO INSERT INTO a VALUES (new.id, new.n) ON CONFLICT DO NOTHING; \
                 CREATE TABLE parts (id int PRIMARY KEY, n int) PARTITION BY RANGE (id); \
                 CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (100)",
            )
            .await
            .unwrap();
        for (name, table, via_root) in [("of_part", "part", false), ("of_parts", "parts", true)] {
            server
                .sql(&format!(
                    "CREATE TABLE {name} WITH (connector = 'postgres-cdc', hostname = '127.0.0.1', port = {}, username = 'postgres', \
                     database.name = 'postgres', table.name = '{table}', publish.via.partition.root = '{via_root}')",
                    database.port()
                ))
                .await;
        }
        let host =
            |statement: String, host: &str| statement.replace("'localhost'", &format!("'{host}'"));
        for (statement, source) in [
            (sink("s", "a", "over_a"), "a"),
            (sink("s", "most", "over_that"), "a"),
            (sink("s", "a", "rows_of_a"), "a"),
            (sink("s", "of_part", "parts"), "of_part"),
            (sink("s", "of_parts", "part"), "of_parts"),
            (host(sink("s", "a", "a"), "127.1"), "a"),
        ] {
            let error = server.try_sql(&statement).await.unwrap_err();
            let message = error["message"].as_str().unwrap();
            assert!(
                message.contains(&format!(
                    "connector {source} captures what is written there"
                )),
                "{statement}: {error:#}"
            );
        }
        server.sql("DROP TABLE of_part; DROP TABLE of_parts").await;
        // Neither do two of them feed each other.
        server.sql(&sink("there", "a", "b")).await;
        let error = server.try_sql(&sink("back", "b", "a")).await.unwrap_err();
        assert!(error.to_string().contains("would come back"), "{error:#}");
        // Another schema, or a table that nobody captures, is another one.
        client.batch_execute("CREATE SCHEMA other").await.unwrap();
        server.sql(&sink("back", "b", "other.a")).await;
        // Nor does a view come to feed itself by another query.
        server
            .sql("CREATE MATERIALIZED VIEW kept AS SELECT id, n FROM most")
            .await;
        server.sql(&sink("kept_there", "kept", "b")).await;
        let error = server
            .try_sql("CREATE OR REPLACE MATERIALIZED VIEW kept AS SELECT id, n FROM b")
            .await
            .unwrap_err();
        assert!(error.to_string().contains("would come back"), "{error:#}");
        // What a view lacks it cannot be given.
        client
            .batch_execute("CREATE VIEW lacking AS SELECT id FROM parts")
            .await
            .unwrap();
        let error = server
            .try_sql(&sink("lacks", "b", "lacking"))
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("has no column n, and a view is given none"),
            "{error:#}"
        );
        server
            .sql("DROP SINK kept_there; DROP MATERIALIZED VIEW kept")
            .await;
        let (_, connectors) = server.connect("GET", "/connectors", None).await;
        assert_eq!(connectors, json!(["a", "b", "back", "there"]));
        // A statement lets jobs go on; what lets a stopped connector go on it tells.
        let paused = json!(server.sql("ALTER SINK back PAUSE").await).to_string();
        assert!(paused.contains("what it wrote stays"), "{paused}");
        let (status, _) = server.connect("PUT", "/connectors/there/stop", None).await;
        assert_eq!(status, 204);
        let resumed = || async {
            let resumed = server.try_sql("ALTER SINK there RESUME").await;
            resumed.err().unwrap_or_default().to_string()
        };
        until("the stopped connector", resumed, |told| {
            told.contains("thalweg connect resume there")
        })
        .await;
    });
}
